/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What virtio endpoints do alike (endpoints/virtio): rings that are broken, asleep
 * or out of reach, of a disk and of a card. */
#include "vdisk.h"
#include "vnic.h"

#define MEM_DISK "backend=mem,size=8M"
#define LOOPBACK "backend=loopback,mac=" VNIC_MAC

static const struct vdrv_shape plain = {0};
static const uint8_t own_mac[6] = {0x52, 0x54, 0x00, 0x01, 0x02, 0x03};

static void check_still_works(struct vdisk *v)
{
	assert_int_equal(vdisk_write(v, 3, VDISK_DATA, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(vdisk_read(v, 3, VDISK_DATA, 4096), VIRTIO_BLK_S_OK);
}

/* A loop in the descriptor table, and an index that jumps. */
static void broken_disk_needs_a_reset(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, plain);
	uint8_t *desc = guest_at(v->drv.g, VDRV_RING(0)), *avail = desc + 0x4000;
	uint16_t next = 0x0001, idx = 1;

	(void)state;
	memset(desc, 0, 16);
	desc[8] = 16;
	memcpy(desc + 12, &next, 2); /* NEXT, to itself */
	memcpy(avail + 2, &idx, 2);
	vdrv_kick(&v->drv, 0);
	guest_run(v->drv.g, 100);
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 1);
	assert_false(vdrv_needs_reset(&v->drv));
	idx = 1000;
	memcpy(avail + 2, &idx, 2);
	vdrv_kick(&v->drv, 0);
	guest_run(v->drv.g, 100);
	assert_true(vdrv_needs_reset(&v->drv));
	assert_int_equal(v->drv.g->irqs[0], 1);
	vdrv_reset(&v->drv);
	vdisk_init(v);
	assert_int_equal(vdisk_read(v, 0, VDISK_DATA, 512), VIRTIO_BLK_S_OK);
	vdisk_destroy(v);
}

/* The first ring's areas, descriptors, driver's, device's, and where they end. */
static const uint64_t areas[] = {0, 0x4000, 0x8000, VDRV_RING(1)};
enum { AREA_DESC, AREA_DRIVER, AREA_DEVICE, AREAS };

static void map_area(struct vdisk *v, unsigned i)
{
	assert_int_equal(guest_map(v->drv.g, areas[i], areas[i + 1] - areas[i], RW), 0);
}

static void unmap_area(struct vdisk *v, unsigned i)
{
	assert_int_equal(guest_unmap(v->drv.g, areas[i], areas[i + 1] - areas[i]), 0);
}

/* A disk whose ring areas are mapped one by one. */
static struct vdisk *create_in_areas(unsigned format)
{
	const struct vdrv_shape shape = {
		.iommu = true, .packed = format & 1, .event_idx = format >> 1};
	struct vdisk *v = vdisk_create(MEM_DISK, shape);

	assert_int_equal(guest_unmap(v->drv.g, 0, VDISK_DATA), 0);
	for (unsigned i = 0; i < AREAS; i++)
		map_area(v, i);
	assert_int_equal(guest_map(v->drv.g, areas[AREAS], VDISK_DATA - areas[AREAS], RW),
			 0);
	check_still_works(v);
	return v;
}

/* The driver has kicked, and may have been told not to do so again. */
static void disk_goes_on_without_a_kick(void **state)
{
	const struct vdrv_part part = {VDISK_DATA, 512};
	struct vdisk_req req;

	(void)state;
	for (unsigned i = 0; i < 4 * AREAS; i++) {
		unsigned format = i & 3, area = i >> 2;
		struct vdisk *v = create_in_areas(format);

		if (area == AREA_DEVICE && !(format & 1)) {
			vdisk_destroy(v); /* answers_without_a_ring_need_a_reset() */
			continue;
		}
		unmap_area(v, area);
		vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
		vdrv_kick(&v->drv, 0);
		guest_run(v->drv.g, 0);
		assert_int_not_equal(guest_faults(v->drv.g, NULL), 0);
		map_area(v, area);
		assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_OK);
		assert_false(vdrv_needs_reset(&v->drv));
		/* Also the notifications are as they should be. */
		for (unsigned k = 0; k < 3; k++) {
			guest_run(v->drv.g, 100);
			check_still_works(v);
		}
		vdisk_destroy(v);
	}
}

static void rings_out_of_reach_need_a_reset(void **state)
{
	struct vdisk *v = create_in_areas(0);
	const struct vdrv_part part = {VDISK_DATA, 512};
	struct vdisk_req req;

	(void)state;
	unmap_area(v, AREA_DESC);
	vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
	for (unsigned i = 0; i < 1000 && !vdrv_needs_reset(&v->drv); i++)
		guest_run(v->drv.g, 100);
	assert_true(vdrv_needs_reset(&v->drv));
	assert_int_equal(v->drv.g->irqs[0], 1);
	assert_int_equal(guest_faults(v->drv.g, NULL), 1 + VIRTIO_RETRIES_MAX);
	/* No new attempt but for a kick. */
	assert_int_equal(endpoint_timeout_ms(v->drv.g->ep), -1);
	for (unsigned i = 0; i < 100; i++)
		endpoint_poll(v->drv.g->ep, 64);
	assert_int_equal(guest_faults(v->drv.g, NULL), 0);
	vdrv_kick(&v->drv, 0);
	endpoint_poll(v->drv.g->ep, 64);
	assert_int_equal(guest_faults(v->drv.g, NULL), 1);
	vdrv_reset(&v->drv);
	map_area(v, AREA_DESC);
	vdisk_init(v);
	check_still_works(v);
	vdisk_destroy(v);
}

/* What the driver waits for, it will never get. */
static void answers_without_a_ring_need_a_reset(void **state)
{
	const struct vdrv_part part = {VDISK_DATA, 512};
	struct vdisk_req req;

	(void)state;
	for (unsigned format = 0; format < 4; format += 2) {
		struct vdisk *v = create_in_areas(format);

		unmap_area(v, AREA_DEVICE);
		vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
		guest_run(v->drv.g, 100);
		assert_int_equal(guest_stat(v->drv.g, "lost"), 1);
		assert_true(vdrv_needs_reset(&v->drv));
		vdrv_reset(&v->drv);
		map_area(v, AREA_DEVICE);
		vdisk_init(v);
		check_still_works(v);
		vdisk_destroy(v);
	}
}

/* Firmware leaves its rings behind, and an IOMMU driver takes the memory away:
 * a disk that sleeps must not look at them, whatever else goes on. */
static void sleeping_disk_leaves_the_rings_alone(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct vdrv_shape shape = {.iommu = true, .packed = packed};
		struct vdisk *v = vdisk_create(MEM_DISK, shape);

		check_still_works(v);
		assert_false(guest_run(v->drv.g, 10));
		assert_int_equal(guest_unmap(v->drv.g, 0, VDISK_DATA), VIRTIO_IOMMU_S_OK);
		for (unsigned i = 0; i < 20; i++) {
			assert_int_equal(endpoint_poll(v->drv.g->ep, 64), 0);
			assert_false(endpoint_arm(v->drv.g->ep));
			vdrv_config(&v->drv, 0, 8);
		}
		assert_int_equal(guest_faults(v->drv.g, NULL), 0);
		assert_int_equal(guest_map(v->drv.g, 0, VDISK_DATA, RW), 0);
		check_still_works(v);
		vdisk_destroy(v);
	}
}

/* Rings out of reach: nothing is lost but time. */
static void card_loses_nothing_but_time(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	uint8_t frame[60] = {0}, got[VNIC_FRAME];
	struct virtio_net_hdr h;

	(void)state;
	memcpy(frame, own_mac, 6);
	vnic_post(v, 0, 4, 1536, 1);
	assert_int_equal(guest_unmap(v->drv.g, 0, VNIC_HOLE), 0);
	vnic_send(v, 0, &(struct virtio_net_hdr){0}, frame, sizeof(frame), 0);
	vdrv_kick(&v->drv, 1);
	guest_run(v->drv.g, 0);
	assert_true(guest_faults(v->drv.g, NULL) >= 1);
	assert_int_equal(guest_map(v->drv.g, 0, VNIC_HOLE, RW), 0);
	vdrv_kick(&v->drv, 1);
	vdrv_kick(&v->drv, 0);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), sizeof(frame));
	vnic_reap(v, 0);
	assert_int_equal(drvq_out_nr(&v->drv.q[1]), 0);
	vnic_destroy(v);
}

/* Rings that sleep are not looked at: they may be gone with a firmware. */
static void sleeping_card_leaves_the_rings_alone(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});

	(void)state;
	guest_run(v->drv.g, 0);
	assert_int_equal(guest_unmap(v->drv.g, 0, VNIC_HOLE), 0);
	for (unsigned i = 0; i < 5; i++)
		guest_run(v->drv.g, 0);
	assert_int_equal(guest_faults(v->drv.g, NULL), 0);
	assert_int_equal(guest_map(v->drv.g, 0, VNIC_HOLE, RW), 0);
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_destroy(v);
}

/* An available index that jumps: DEVICE_NEEDS_RESET. */
static void broken_card_needs_a_reset(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	uint16_t idx = VDRV_SIZE + 1;

	(void)state;
	memcpy((uint8_t *)guest_at(v->drv.g, VDRV_RING(1) + 0x4000) + 2, &idx, 2);
	vdrv_kick(&v->drv, 1);
	guest_run(v->drv.g, 0);
	assert_true(vdrv_needs_reset(&v->drv));
	vdrv_reset(&v->drv);
	vnic_init(v);
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_destroy(v);
}

/* Out of reach for a moment: goes on without a kick. */
static void card_goes_on_without_a_kick(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	const struct virtio_net_hdr h = {0};
	uint8_t got[VNIC_FRAME], frame[60] = {0};
	struct virtio_net_hdr back;

	(void)state;
	assert_true(vnic_comes_back(v, own_mac, 0));
	assert_int_equal(guest_unmap(v->drv.g, 0, VNIC_HOLE), 0);
	vnic_post(v, 0, 1, 1536, 1);
	memcpy(frame, own_mac, 6);
	vnic_send(v, 0, &h, frame, sizeof(frame), 0);
	assert_int_not_equal(guest_faults(v->drv.g, NULL), 0);
	assert_int_equal(guest_map(v->drv.g, 0, VNIC_HOLE, RW), 0);
	assert_int_equal(vnic_receive(v, 0, &back, got, 10000), sizeof(frame));
	assert_false(vdrv_needs_reset(&v->drv));
	vnic_destroy(v);
}

/* Without bus mastering the driver is gone: nothing is taken or written, and no
 * interrupt raised, before the next one resets the device. */
static void card_without_bus_mastering_is_quiet(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	const struct virtio_net_hdr h = {0};
	uint8_t frame[60] = {0};

	(void)state;
	memcpy(frame, own_mac, sizeof(own_mac));
	vnic_post(v, 0, 1, 1536, 1);
	guest_bus_master(v->drv.g, false);
	for (unsigned on = 0; on < 2; on++) {
		assert_int_equal(endpoint_control(v->drv.g->ep, "link", "state=off"), 0);
		assert_int_equal(endpoint_control(v->drv.g->ep, "link", "state=on"), 0);
		vnic_send(v, 0, &h, frame, sizeof(frame), 0);
		vdrv_kick(&v->drv, 1);
		assert_int_equal(endpoint_control(v->drv.g->ep, "announce", NULL),
				 -EAGAIN);
		guest_run(v->drv.g, 0);
		assert_int_equal(drvq_out_nr(&v->drv.q[1]), on + 1);
		guest_bus_master(v->drv.g, true);
	}
	for (unsigned i = 0; i < GUEST_VECTORS; i++)
		assert_int_equal(v->drv.g->irqs[i], 0);
	vdrv_reset(&v->drv);
	vnic_init(v);
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_destroy(v);
}

/* Off and on again with no turn between. */
static void card_sees_a_driver_that_left_for_a_moment(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	const struct virtio_net_hdr h = {0};
	uint8_t frame[60] = {0};

	(void)state;
	memcpy(frame, own_mac, sizeof(own_mac));
	vnic_post(v, 0, 1, 1536, 1);
	guest_bus_master(v->drv.g, false);
	guest_bus_master(v->drv.g, true);
	assert_int_equal(endpoint_control(v->drv.g->ep, "link", "state=off"), 0);
	assert_int_equal(endpoint_control(v->drv.g->ep, "link", "state=on"), 0);
	vnic_send(v, 0, &h, frame, sizeof(frame), 0);
	vdrv_kick(&v->drv, 1);
	guest_run(v->drv.g, 0);
	assert_int_equal(drvq_out_nr(&v->drv.q[1]), 1);
	for (unsigned i = 0; i < GUEST_VECTORS; i++)
		assert_int_equal(v->drv.g->irqs[i], 0);
	vdrv_reset(&v->drv);
	vnic_init(v);
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_destroy(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(broken_disk_needs_a_reset),
		cmocka_unit_test(disk_goes_on_without_a_kick),
		cmocka_unit_test(rings_out_of_reach_need_a_reset),
		cmocka_unit_test(answers_without_a_ring_need_a_reset),
		cmocka_unit_test(sleeping_disk_leaves_the_rings_alone),
		cmocka_unit_test(card_loses_nothing_but_time),
		cmocka_unit_test(sleeping_card_leaves_the_rings_alone),
		cmocka_unit_test(broken_card_needs_a_reset),
		cmocka_unit_test(card_goes_on_without_a_kick),
		cmocka_unit_test(card_without_bus_mastering_is_quiet),
		cmocka_unit_test(card_sees_a_driver_that_left_for_a_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
