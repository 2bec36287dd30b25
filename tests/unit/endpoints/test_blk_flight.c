/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The virtio disk with requests under way: resets, unmaps, limits. The disk is
 * one that answers when the test says so.
 */
#include "vdisk.h"

#include <errno.h>
#include <unistd.h>

#include "endpoints/blk/internal.h"
#include "endpoints/block/internal.h"
#include "endpoints/util.h"

#define MEM_DISK "backend=mem,size=8M"

static const struct vdrv_shape behind_iommu = {.iommu = true, .indirect = true};

/* ---- a disk that answers when it is told to ---- */

static struct {
	unsigned started, cancels, waits;
	bool cancel_works;
	bool answer_on_wait; /* what a wait brings */
	unsigned most_pieces;
	struct block_list list;
} slow;

static void slow_start(struct block *b, struct block_io *io)
{
	slow.started++;
	if (io->iov_nr > slow.most_pieces)
		slow.most_pieces = io->iov_nr;
	(void)b;
	block_list_push(&slow.list, io);
}

static void slow_kick(struct block *b)
{
	(void)b;
}

static void answer(struct block *b, unsigned nr, int res)
{
	struct block_io *io;

	while (nr-- && (io = block_list_pop(&slow.list)) != NULL) {
		io->result = res;
		block_list_push(&b->finished, io);
	}
}

static void slow_cancel(struct block *b, struct block_io *victim)
{
	struct block_list rest = {NULL, NULL};
	struct block_io *io;

	slow.cancels++;
	if (!slow.cancel_works)
		return;
	while ((io = block_list_pop(&slow.list)) != NULL) {
		io->result = -ECANCELED;
		block_list_push(io == victim ? &b->finished : &rest, io);
	}
	slow.list = rest;
}

static void slow_wait(struct block *b, unsigned timeout_ms)
{
	slow.waits++;
	if (slow.answer_on_wait)
		answer(b, 1, 0);
	else
		usleep(timeout_ms * 1000);
}

static const struct block_engine slow_engine = {
	.name = "slow",
	.start = slow_start,
	.kick = slow_kick,
	.cancel = slow_cancel,
	.wait = slow_wait,
};

static struct blk *blk_of(struct vdisk *v)
{
	return container_of(v->drv.g->ep, struct blk, ep);
}

static struct block *disk(struct vdisk *v)
{
	return blk_of(v)->block;
}

static struct vdisk *make(const char *options, struct vdrv_shape shape)
{
	struct vdisk *v = vdisk_create(options, shape);

	memset(&slow, 0, sizeof(slow));
	disk(v)->engine = &slow_engine;
	return v;
}

static void turn(struct vdisk *v)
{
	endpoint_poll(v->drv.g->ep, 64);
	vdisk_collect(v);
}

static void send_read(struct vdisk *v, unsigned queue, struct vdisk_req *req,
		      uint64_t offset)
{
	const struct vdrv_part part = {offset, 4096};

	vdisk_send(v, queue, req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
}

static uint8_t status(struct vdisk *v, const struct vdisk_req *req)
{
	return *(uint8_t *)guest_at(v->drv.g, req->status);
}

/* ---- tests ---- */

static void completions_come_in_any_order(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct vdrv_shape shape = {.iommu = true, .packed = packed};
		struct vdisk *v = make(MEM_DISK, shape);
		struct vdisk_req reqs[3];
		struct block_io *first;

		for (unsigned i = 0; i < 3; i++)
			send_read(v, 0, &reqs[i], VDISK_DATA + i * 4096);
		turn(v);
		assert_int_equal(slow.started, 3);
		assert_true(endpoint_busy(v->drv.g->ep));
		assert_int_equal(guest_stat(v->drv.g, "in_flight"), 3);
		first = block_list_pop(&slow.list);
		answer(disk(v), 1, 0);
		turn(v);
		assert_false(reqs[0].done);
		assert_true(reqs[1].done);
		block_list_push(&slow.list, first);
		answer(disk(v), 2, -EIO);
		turn(v);
		assert_int_equal(status(v, &reqs[0]), VIRTIO_BLK_S_IOERR);
		assert_int_equal(status(v, &reqs[1]), VIRTIO_BLK_S_OK);
		assert_int_equal(status(v, &reqs[2]), VIRTIO_BLK_S_IOERR);
		assert_false(endpoint_busy(v->drv.g->ep));
		vdisk_destroy(v);
	}
}

static void what_is_above_the_limit_stays_in_the_ring(void **state)
{
	struct vdisk *v = make(MEM_DISK ",in-flight=4", behind_iommu);
	struct vdisk_req reqs[6];

	(void)state;
	for (unsigned i = 0; i < 6; i++)
		send_read(v, 0, &reqs[i], VDISK_DATA);
	turn(v);
	assert_int_equal(slow.started, 4);
	assert_int_equal(guest_stat(v->drv.g, "in_flight"), 4);
	/* One answer, one more taken. */
	answer(disk(v), 1, 0);
	turn(v);
	assert_int_equal(slow.started, 5);
	answer(disk(v), 6, 0);
	turn(v);
	answer(disk(v), 6, 0);
	turn(v);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(status(v, &reqs[i]), VIRTIO_BLK_S_OK);
	assert_int_equal(guest_stat(v->drv.g, "in_flight_peak"), 4);
	vdisk_destroy(v);
}

static void long_requests_take_several_steps(void **state)
{
	struct vdisk *v = make(MEM_DISK, behind_iommu);
	const unsigned pages = BLK_PIECES_MAX + 10;
	const uint64_t iova = 0x10000000;
	struct vdrv_part part;
	struct vdisk_req req;

	(void)state;
	/* Every second page, so that no two pieces are one. */
	for (unsigned i = 0; i < pages; i++)
		assert_int_equal(guest_map_at(v->drv.g, iova + i * 4096,
					      VDISK_DATA + i * 8192ull, 4096, RW),
				 0);
	part = (struct vdrv_part){iova - GUEST_IOVA, pages * 4096};
	vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
	for (unsigned i = 0; i < 60 && !req.done; i++) {
		turn(v);
		answer(disk(v), 1, 0);
	}
	assert_int_equal(status(v, &req), VIRTIO_BLK_S_OK);
	assert_int_equal(req.len, pages * 4096 + 1);
	assert_true(slow.started >= 2);
	assert_true(slow.most_pieces <= BLK_PIECES_MAX);
	vdisk_destroy(v);
}

static void long_requests_move_the_right_bytes(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, behind_iommu);
	const unsigned pages = BLK_PIECES_MAX * 2 + 10;
	const uint64_t iova = 0x10000001;
	uint8_t *ram = guest_at(v->drv.g, VDISK_DATA);

	(void)state;
	for (unsigned i = 0; i < pages + 1; i++)
		assert_int_equal(guest_map_at(v->drv.g, (iova & ~4095ull) + i * 4096,
					      VDISK_DATA + i * 8192ull, 4096, RW),
				 0);
	for (unsigned i = 0; i < (pages + 1) * 8192; i++)
		ram[i] = (uint8_t)(i * 31 + (i >> 12));
	assert_int_equal(vdisk_write(v, 0, iova - GUEST_IOVA, pages * 4096), 0);
	for (unsigned i = 0; i < pages; i++) {
		uint8_t *back = guest_at(v->drv.g, VDISK_DATA + (7 << 20));
		uint8_t *from = ram + i * 8192ull;

		if (VDISK_DATA + i * 8192ull + 16384 > VDISK_DATA + (7 << 20))
			break;
		assert_int_equal(vdisk_read(v, i * 8, VDISK_DATA + (7 << 20), 4096), 0);
		assert_memory_equal(back, from + 1, 4095);
		assert_int_equal(back[4095], from[8192]);
	}
	vdisk_destroy(v);
}

static void reset_waits_for_the_disk(void **state)
{
	(void)state;
	for (unsigned works = 0; works < 2; works++) {
		struct vdisk *v = make(MEM_DISK, behind_iommu);
		struct vdisk_req reqs[3];

		slow.cancel_works = works;
		slow.answer_on_wait = true;
		for (unsigned i = 0; i < 3; i++)
			send_read(v, 0, &reqs[i], VDISK_DATA);
		turn(v);
		vdrv_reset(&v->drv);
		assert_int_equal(slow.cancels, 3);
		assert_null(slow.list.first);
		assert_int_equal(guest_stat(v->drv.g, "in_flight"), 0);
		/* Neither status nor ring were touched, and all can be unmapped. */
		assert_int_equal(status(v, &reqs[0]), 0xff);
		assert_int_equal(vdisk_collect(v), 0);
		assert_int_equal(guest_unmap(v->drv.g, VDISK_DATA, VDISK_RO - VDISK_DATA),
				 VIRTIO_IOMMU_S_OK);
		vdisk_destroy(v);
	}
}

static void device_is_usable_right_after_reset(void **state)
{
	struct vdisk *v = make(MEM_DISK, behind_iommu);
	struct vdisk_req req;

	(void)state;
	slow.cancel_works = true;
	for (unsigned i = 0; i < 20; i++) {
		vdisk_init(v);
		send_read(v, 0, &req, VDISK_DATA);
		turn(v);
		vdrv_reset(&v->drv);
	}
	vdisk_init(v);
	send_read(v, 0, &req, VDISK_DATA);
	turn(v);
	answer(disk(v), 1, 0);
	turn(v);
	assert_int_equal(status(v, &req), VIRTIO_BLK_S_OK);
	assert_int_equal(guest_stat(v->drv.g, "resets"), 20);
	vdisk_destroy(v);
}

static void requests_the_disk_lost_keep_the_device_off(void **state)
{
	struct vdisk *v = make(MEM_DISK, behind_iommu);
	struct vdisk_req req;

	(void)state;
	blk_of(v)->drain_ms = 20;
	send_read(v, 0, &req, VDISK_DATA);
	turn(v);
	vdrv_reset(&v->drv);
	assert_non_null(strstr(v->drv.g->said, "has not answered"));
	assert_int_equal(blk_of(v)->lost, 1);
	assert_true(endpoint_busy(v->drv.g->ep));
	/* Its pages are still the disk's. */
	assert_int_equal(guest_unmap(v->drv.g, VDISK_DATA, VDISK_RO - VDISK_DATA),
			 GUEST_PARKED);
	answer(disk(v), 1, 0);
	endpoint_poll(v->drv.g->ep, 64);
	assert_int_equal(blk_of(v)->lost, 0);
	assert_int_equal(guest_unpark(v->drv.g), VIRTIO_IOMMU_S_OK);
	vdisk_init(v);
	assert_int_equal(guest_map(v->drv.g, VDISK_DATA, VDISK_RO - VDISK_DATA, RW), 0);
	send_read(v, 0, &req, VDISK_DATA);
	turn(v);
	answer(disk(v), 1, 0);
	turn(v);
	assert_int_equal(status(v, &req), VIRTIO_BLK_S_OK);
	vdisk_destroy(v);
}

static void a_lost_disk_is_waited_for_once(void **state)
{
	const struct vdrv_shape shape = {.iommu = true, .queues = 2};
	struct vdisk *v = make("backend=mem,size=8M,queues=2", shape);
	struct vdisk_req reqs[2];

	(void)state;
	blk_of(v)->drain_ms = 20;
	send_read(v, 0, &reqs[0], VDISK_DATA);
	send_read(v, 1, &reqs[1], VDISK_DATA);
	turn(v);
	vdrv_reset(&v->drv);
	assert_int_equal(slow.waits, 1);
	assert_int_equal(blk_of(v)->lost, 2);
	slow.answer_on_wait = true;
	vdisk_destroy(v);
}

static void one_queue_is_reset_alone(void **state)
{
	const struct vdrv_shape shape = {.iommu = true, .queues = 2};
	struct vdisk *v = make("backend=mem,size=8M,queues=2", shape);
	struct vdisk_req reqs[2];

	(void)state;
	slow.cancel_works = true;
	send_read(v, 0, &reqs[0], VDISK_DATA);
	send_read(v, 1, &reqs[1], VDISK_DATA + 4096);
	turn(v);
	/* queue_select 1, queue_reset 1 (RING_RESET). */
	guest_set_reg(v->drv.g, 0, v->drv.common + 22, 2, 1);
	guest_set_reg(v->drv.g, 0, v->drv.common + 58, 2, 1);
	assert_int_equal(guest_stat(v->drv.g, "in_flight"), 1);
	answer(disk(v), 1, 0);
	turn(v);
	assert_int_equal(status(v, &reqs[0]), VIRTIO_BLK_S_OK);
	assert_int_equal(status(v, &reqs[1]), 0xff);
	vdisk_destroy(v);
}

static void unmap_waits_for_the_transfer(void **state)
{
	struct vdisk *v = make(MEM_DISK, behind_iommu);
	struct vdisk_req req;

	(void)state;
	/* A mapping of its own. */
	assert_int_equal(guest_map(v->drv.g, VDISK_HOLE, 4096, RW), 0);
	assert_int_equal(guest_map(v->drv.g, VDISK_HOLE + 4096, 4096, RW), 0);
	send_read(v, 0, &req, VDISK_HOLE);
	turn(v);
	/* Others are not concerned. */
	assert_int_equal(guest_unmap(v->drv.g, VDISK_HOLE + 4096, 4096),
			 VIRTIO_IOMMU_S_OK);
	assert_int_equal(v->drv.g->wakes, 0);
	assert_int_equal(guest_unmap(v->drv.g, VDISK_HOLE, 4096), GUEST_PARKED);
	/* The endpoint was told, and asks the disk to stop. */
	assert_int_equal(v->drv.g->wakes, 1);
	turn(v);
	assert_int_equal(slow.cancels, 1);
	assert_int_equal(guest_unpark(v->drv.g), GUEST_PARKED);
	answer(disk(v), 1, 0);
	turn(v);
	assert_int_equal(status(v, &req), VIRTIO_BLK_S_OK);
	assert_int_equal(guest_unpark(v->drv.g), VIRTIO_IOMMU_S_OK);
	vdisk_destroy(v);
}

static void unmap_cancels_what_can_be_cancelled(void **state)
{
	struct vdisk *v = make(MEM_DISK, behind_iommu);
	struct vdisk_req reqs[2];

	(void)state;
	slow.cancel_works = true;
	assert_int_equal(guest_map(v->drv.g, VDISK_HOLE, 4096, RW), 0);
	send_read(v, 0, &reqs[0], VDISK_HOLE);
	send_read(v, 0, &reqs[1], VDISK_DATA);
	turn(v);
	assert_int_equal(guest_unmap(v->drv.g, VDISK_HOLE, 4096), GUEST_PARKED);
	turn(v);
	assert_int_equal(guest_unpark(v->drv.g), VIRTIO_IOMMU_S_OK);
	assert_int_equal(status(v, &reqs[0]), VIRTIO_BLK_S_IOERR);
	assert_false(reqs[1].done);
	assert_int_equal(guest_stat(v->drv.g, "cancelled"), 1);
	answer(disk(v), 1, 0);
	turn(v);
	assert_int_equal(status(v, &reqs[1]), VIRTIO_BLK_S_OK);
	vdisk_destroy(v);
}

static void more_revokes_than_are_noted_cancel_all(void **state)
{
	struct vdisk *v = make(MEM_DISK, behind_iommu);
	struct vdisk_req reqs[BLK_REVOKES_MAX + 1];
	const unsigned nr = BLK_REVOKES_MAX + 1;

	(void)state;
	for (unsigned i = 0; i < nr; i++) {
		assert_int_equal(guest_map(v->drv.g, VDISK_HOLE + i * 4096ull, 4096, RW),
				 0);
		send_read(v, 0, &reqs[i], VDISK_HOLE + i * 4096ull);
	}
	turn(v);
	/* One UNMAP of many mappings; the endpoint hears of each. */
	assert_int_equal(guest_unmap(v->drv.g, VDISK_HOLE, nr * 4096), GUEST_PARKED);
	slow.cancel_works = true;
	turn(v);
	assert_int_equal(slow.cancels, nr);
	assert_int_equal(guest_unpark(v->drv.g), VIRTIO_IOMMU_S_OK);
	vdisk_destroy(v);
}

static void destroy_waits_for_the_disk(void **state)
{
	struct vdisk *v = make(MEM_DISK, behind_iommu);
	struct vdisk_req req;

	(void)state;
	blk_of(v)->drain_ms = 0;
	slow.answer_on_wait = true;
	send_read(v, 0, &req, VDISK_DATA);
	turn(v);
	vdisk_destroy(v);
}

static void function_reset_in_mid_flight(void **state)
{
	struct vdisk *v = make(MEM_DISK, behind_iommu);
	struct vdisk_req req;

	(void)state;
	slow.cancel_works = true;
	send_read(v, 0, &req, VDISK_DATA);
	turn(v);
	endpoint_reset(v->drv.g->ep);
	assert_int_equal(guest_stat(v->drv.g, "in_flight"), 0);
	assert_int_equal(vdrv_status(&v->drv), 0);
	vdisk_destroy(v);
}

/* A driver that has taken bus mastering away is gone, and what was its memory may be
 * somebody else's: nothing is written there and no interrupt is raised, nor when the
 * next driver masters the bus and has not yet reset the device. */
static void a_driver_without_bus_mastering_is_gone(void **state)
{
	static uint8_t before[VDISK_DATA];
	const struct vdrv_shape shape = {.iommu = true, .queues = 2};

	(void)state;
	for (unsigned ended = 0; ended < 3; ended++) {
		struct vdisk *v = make("backend=mem,size=8M,queues=2", shape);
		struct guest *g = v->drv.g;
		struct vdisk_req reqs[4];

		slow.cancel_works = ended == 1;
		slow.answer_on_wait = true;
		for (unsigned i = 0; i < 4; i++)
			send_read(v, i & 1, &reqs[i], VDISK_DATA + i * 4096);
		turn(v);
		assert_int_equal(slow.started, 4);
		memcpy(before, guest_at(g, 0), sizeof(before));
		if (ended == 2)
			answer(disk(v), 4, 0);
		guest_bus_master(g, false);
		assert_int_equal(slow.cancels, ended == 2 ? 2 : 4);
		assert_int_equal(guest_stat(g, "in_flight"), 0);
		guest_run(g, 10);
		assert_int_equal(endpoint_control(g->ep, "resize", "size=4M"), 0);
		guest_bus_master(g, true);
		vdrv_kick(&v->drv, 0);
		guest_run(g, 10);
		assert_int_equal(endpoint_control(g->ep, "resize", "size=8M"), 0);
		assert_memory_equal(before, guest_at(g, 0), sizeof(before));
		for (unsigned i = 0; i < GUEST_VECTORS; i++)
			assert_int_equal(g->irqs[i], 0);
		vdrv_reset(&v->drv);
		vdisk_init(v);
		send_read(v, 1, &reqs[0], VDISK_DATA);
		turn(v);
		answer(disk(v), 1, 0);
		turn(v);
		assert_int_equal(status(v, &reqs[0]), VIRTIO_BLK_S_OK);
		vdisk_destroy(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(completions_come_in_any_order),
		cmocka_unit_test(what_is_above_the_limit_stays_in_the_ring),
		cmocka_unit_test(long_requests_take_several_steps),
		cmocka_unit_test(long_requests_move_the_right_bytes),
		cmocka_unit_test(reset_waits_for_the_disk),
		cmocka_unit_test(device_is_usable_right_after_reset),
		cmocka_unit_test(requests_the_disk_lost_keep_the_device_off),
		cmocka_unit_test(a_lost_disk_is_waited_for_once),
		cmocka_unit_test(one_queue_is_reset_alone),
		cmocka_unit_test(unmap_waits_for_the_transfer),
		cmocka_unit_test(unmap_cancels_what_can_be_cancelled),
		cmocka_unit_test(more_revokes_than_are_noted_cancel_all),
		cmocka_unit_test(destroy_waits_for_the_disk),
		cmocka_unit_test(function_reset_in_mid_flight),
		cmocka_unit_test(a_driver_without_bus_mastering_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
