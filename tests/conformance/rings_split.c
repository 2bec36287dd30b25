/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* One test a normative statement about devices and split rings; each is named
 * after its id in virtio_statements.json. */
#include <errno.h>

#include "ring_kit.h"

#include "virtq/wire.h"

static struct viommu_virtq_buf bufs[64];
static struct viommu_chain chain;

static int pop(struct kit *kit)
{
	return viommu_virtq_pop(&kit->vq, &chain, bufs, 64);
}

/* One chain from the driver to the driver; whether it is to be interrupted. */
static bool serve(struct kit *kit, uint32_t len)
{
	kit_chain(kit, 0, 1, 1);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, len), 0);
	return viommu_virtq_publish(&kit->vq);
}

/* The bytes of a request, however it is cut: `cuts` of them say where. */
static void gather(struct kit *kit, const unsigned *cuts, unsigned nr, uint8_t *out)
{
	unsigned at = 0;

	for (unsigned i = 0; i <= nr; i++) {
		unsigned to = i < nr ? cuts[i] : 24;

		kit_desc(kit, KIT_DESC, i, KIT_DATA + at, to - at,
			 i < nr ? RING_F_NEXT : 0, (uint16_t)(i + 1));
		at = to;
	}
	kit_avail(kit, 0);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(chain.readable_len, 24);
	at = 0;
	for (unsigned i = 0; i < chain.buf_nr; i++) {
		kit_read(kit, bufs[i].addr, out + at, bufs[i].len);
		at += bufs[i].len;
	}
	assert_int_equal(at, 24);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
	viommu_virtq_publish(&kit->vq);
}

static void virtio_device_framing_01(void **state)
{
	static const unsigned cuts[][5] = {{0}, {1}, {4, 20}, {1, 2, 3, 23}, {8, 8, 8}};
	static const unsigned nr[] = {0, 1, 2, 4, 3};
	struct kit *kit = kit_create_ring(8, false, false, false);
	uint8_t data[24], got[24];

	(void)state;
	for (unsigned i = 0; i < 24; i++)
		data[i] = (uint8_t)(i * 7 + 1);
	kit_write(kit, KIT_DATA, data, 24);
	for (unsigned i = 0; i < 5; i++) {
		memset(got, 0, sizeof(got));
		gather(kit, cuts[i], nr[i], got);
		assert_memory_equal(got, data, 24);
	}
	kit_destroy(kit);
}

/* The cap is VIOMMU_VIRTQ_CHAIN_MAX, or what the caller takes: refused in one
 * piece, and the ring goes on. */
static void virtio_device_framing_02(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	kit_chain(kit, 0, 3, 2);
	assert_int_equal(viommu_virtq_pop(&kit->vq, &chain, bufs, 4), -E2BIG);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
	kit_chain(kit, 0, 2, 2);
	assert_int_equal(viommu_virtq_pop(&kit->vq, &chain, bufs, 4), 1);
	kit_destroy(kit);
}

/* What lies in memory but the used ring is the same after a whole turn. */
static void unchanged_but_used(struct kit *kit, const uint8_t *before)
{
	const uint8_t *now = kit->pieces[0].hva;

	assert_memory_equal(before, now, KIT_DEVICE - KIT_BASE);
	assert_memory_equal(before + (KIT_TABLES - KIT_BASE),
			    now + (KIT_TABLES - KIT_BASE),
			    KIT_LEN - (KIT_TABLES - KIT_BASE));
}

static void virtio_device_split_desc_01(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, true);
	uint8_t *before = malloc(KIT_LEN);

	(void)state;
	assert_non_null(before);
	kit_chain(kit, 0, 3, 1);
	memcpy(before, kit->pieces[0].hva, KIT_LEN);
	assert_int_equal(pop(kit), 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(bufs[i].writable, 0);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 16), 0);
	viommu_virtq_publish(&kit->vq);
	viommu_virtq_enable_notify(&kit->vq);
	unchanged_but_used(kit, before);
	free(before);
	kit_destroy(kit);
}

/* Buffers lie where there is no memory: taking and giving back never looks. */
static void virtio_device_split_desc_02(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	kit_desc(kit, KIT_DESC, 0, 0x10, 4096, RING_F_WRITE, 0);
	kit_avail(kit, 0);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(bufs[0].addr, 0x10);
	assert_int_equal(bufs[0].writable, 1);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 4096), 0);
	assert_true(viommu_virtq_publish(&kit->vq));
	kit_destroy(kit);
}

static void virtio_device_split_indirect_01(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, true);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		kit_desc(kit, KIT_TABLES, 0, KIT_DATA, 8, RING_F_NEXT, 1);
		kit_desc(kit, KIT_TABLES, 1, KIT_DATA, 4, RING_F_WRITE, 0);
		kit_desc(kit, KIT_DESC, 0, KIT_TABLES, 32,
			 RING_F_INDIRECT | (i ? RING_F_WRITE : 0), 0);
		kit_avail(kit, 0);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(chain.readable_nr, 1);
		assert_int_equal(chain.buf_nr, 2);
		assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 4), 0);
	}
	kit_destroy(kit);
}

static void virtio_device_split_indirect_02(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, true);

	(void)state;
	kit_desc(kit, KIT_DESC, 3, KIT_DATA, 8, RING_F_NEXT, 5);
	kit_desc(kit, KIT_DESC, 5, KIT_DATA + 8, 8, RING_F_NEXT, 1);
	kit_desc(kit, KIT_DESC, 1, KIT_TABLES, 48, RING_F_INDIRECT, 0);
	/* The table's own links count, not its order. */
	kit_desc(kit, KIT_TABLES, 0, KIT_DATA + 16, 8, RING_F_NEXT, 2);
	kit_desc(kit, KIT_TABLES, 2, KIT_DATA + 24, 4, RING_F_WRITE | RING_F_NEXT, 1);
	kit_desc(kit, KIT_TABLES, 1, KIT_DATA + 28, 4, RING_F_WRITE, 0);
	kit_avail(kit, 3);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(chain.id, 3);
	assert_int_equal(chain.buf_nr, 5);
	assert_int_equal(chain.readable_nr, 3);
	assert_int_equal(bufs[2].addr, KIT_DATA + 16);
	assert_int_equal(bufs[3].addr, KIT_DATA + 24);
	assert_int_equal(bufs[4].addr, KIT_DATA + 28);
	kit_destroy(kit);
}

static void virtio_device_split_used_notify_01(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	for (unsigned event = 0; event < 8; event++) {
		kit_put(kit, kit_used_event(kit), 2, event);
		assert_true(serve(kit, 16));
	}
	kit_put(kit, KIT_DRIVER, 2, 1);
	for (unsigned event = 0; event < 16; event++) {
		kit_put(kit, kit_used_event(kit), 2, event);
		assert_false(serve(kit, 16));
	}
	kit_destroy(kit);
}

static void virtio_device_split_used_notify_02(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	kit_put(kit, KIT_DRIVER, 2, 1);
	for (unsigned i = 0; i < 20; i++)
		assert_false(serve(kit, 16));
	/* The other bits are reserved. */
	kit_put(kit, KIT_DRIVER, 2, 0xffff);
	assert_false(serve(kit, 16));
	kit_destroy(kit);
}

static void virtio_device_split_used_notify_03(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		assert_true(serve(kit, 16));
	kit_put(kit, KIT_DRIVER, 2, 0xfffe);
	assert_true(serve(kit, 16));
	assert_false(viommu_virtq_publish(&kit->vq)); /* nothing new */
	kit_destroy(kit);
}

static void virtio_device_split_used_notify_04(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, false);

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		kit_put(kit, KIT_DRIVER, 2, 1);
		kit_put(kit, kit_used_event(kit), 2, i);
		assert_true(serve(kit, 16));
	}
	kit_destroy(kit);
}

static void virtio_device_split_used_notify_05(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, false);

	(void)state;
	/* Around the 16-bit index, and within a batch. */
	for (uint32_t i = 0; i < 65536 + 40; i += 4) {
		uint32_t event = i + i / 4 % 4;

		kit_put(kit, kit_used_event(kit), 2, event & 0xffff);
		for (unsigned n = 0; n < 4; n++) {
			kit_chain(kit, 0, 1, 0);
			assert_int_equal(pop(kit), 1);
			assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
		}
		assert_true(viommu_virtq_publish(&kit->vq));
	}
	kit_destroy(kit);
}

static void virtio_device_split_used_notify_06(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, false);

	(void)state;
	for (uint16_t i = 0; i < 100; i++) {
		/* Just passed, just ahead, and far away. */
		static const uint16_t away[] = {0xffff, 1, 0x8000};

		kit_put(kit, kit_used_event(kit), 2, (uint16_t)(i + away[i % 3]));
		assert_false(serve(kit, 16));
	}
	kit_destroy(kit);
}

static void virtio_device_split_used_01(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);
	uint32_t id, len;

	(void)state;
	for (uint16_t i = 0; i < 20; i++) {
		kit_chain(kit, i % 4, 1, 1);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(viommu_virtq_push(&kit->vq, &chain, i + 1u), 0);
		/* The entry is there, whole, while the index still stands. */
		kit_used(kit, i, &id, &len);
		assert_int_equal(id, i % 4);
		assert_int_equal(len, i + 1u);
		assert_int_equal(kit_used_idx(kit), i);
		viommu_virtq_publish(&kit->vq);
		assert_int_equal(kit_used_idx(kit), i + 1);
	}
	kit_destroy(kit);
}

/* The caller writes buffers before it pushes; nothing is shown by push. */
static void virtio_device_split_used_02(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	kit_chain(kit, 0, 0, 2);
	assert_int_equal(pop(kit), 1);
	for (unsigned i = 0; i < chain.buf_nr; i++) {
		kit_write(kit, bufs[i].addr, "0123456789abcdef", 16);
		assert_int_equal(kit_used_idx(kit), 0);
	}
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 32), 0);
	assert_int_equal(kit_used_idx(kit), 0);
	viommu_virtq_publish(&kit->vq);
	assert_int_equal(kit_used_idx(kit), 1);
	kit_destroy(kit);
}

static void virtio_device_split_used_03(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);
	uint32_t id, len;

	(void)state;
	kit_chain(kit, 2, 0, 2);
	assert_int_equal(pop(kit), 1);
	kit_write(kit, bufs[0].addr, "0123456789abcdef", 16);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
	viommu_virtq_publish(&kit->vq);
	kit_used(kit, 0, &id, &len);
	assert_int_equal(len, 0);
	kit_destroy(kit);
}

static void virtio_device_split_avail_notify_01(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		viommu_virtq_disable_notify(&kit->vq);
		assert_int_equal(kit_get(kit, KIT_DEVICE, 2), 1);
		serve(kit, 16);
		assert_false(viommu_virtq_enable_notify(&kit->vq));
		assert_int_equal(kit_get(kit, KIT_DEVICE, 2), 0);
	}
	kit_destroy(kit);
}

static void virtio_device_split_avail_notify_02(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	viommu_virtq_disable_notify(&kit->vq);
	assert_int_equal(kit_get(kit, KIT_DEVICE, 2), 1);
	/* No kick comes for it, so that enabling has to find it. */
	kit_chain(kit, 0, 1, 0);
	assert_true(viommu_virtq_enable_notify(&kit->vq));
	assert_int_equal(kit_get(kit, KIT_DEVICE, 2), 0);
	kit_destroy(kit);
}

static void virtio_device_split_avail_notify_03(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, false);

	(void)state;
	/* Left over by whoever used the memory before. */
	kit_put(kit, KIT_DEVICE, 2, 1);
	viommu_virtq_disable_notify(&kit->vq);
	assert_int_equal(kit_get(kit, KIT_DEVICE, 2), 0);
	for (unsigned i = 0; i < 6; i++) {
		serve(kit, 16);
		viommu_virtq_enable_notify(&kit->vq);
		assert_int_equal(kit_get(kit, KIT_DEVICE, 2), 0);
		viommu_virtq_disable_notify(&kit->vq);
		assert_int_equal(kit_get(kit, KIT_DEVICE, 2), 0);
	}
	kit_destroy(kit);
}

static void virtio_device_split_avail_notify_04(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, false);

	(void)state;
	for (uint16_t i = 0; i < 20; i++) {
		uint16_t event;

		assert_false(viommu_virtq_enable_notify(&kit->vq));
		event = (uint16_t)kit_get(kit, kit_avail_event(kit), 2);
		assert_int_equal(event, i);
		assert_true(split_event_hit(event, i + 1, i));
		/* Switched off before the index was passed: no kick for it. */
		viommu_virtq_disable_notify(&kit->vq);
		event = (uint16_t)kit_get(kit, kit_avail_event(kit), 2);
		assert_false(split_event_hit(event, i + 1, i));
		serve(kit, 16);
	}
	kit_destroy(kit);
}

static void virtio_device_split_avail_notify_05(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, false);

	(void)state;
	/* A kick makes the caller look; looking at nothing changes nothing. */
	for (unsigned i = 0; i < 10; i++) {
		assert_false(viommu_virtq_has_work(&kit->vq));
		assert_int_equal(pop(kit), 0);
		assert_false(viommu_virtq_publish(&kit->vq));
	}
	serve(kit, 16);
	assert_int_equal(pop(kit), 0);
	assert_int_equal(kit_used_idx(kit), 1);
	kit_destroy(kit);
}

/* Queue reset: the device forgets the ring by initialising it again. */
static void virtio_device_queue_reset_02(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, false);
	struct viommu_virtq_state pos;

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		serve(kit, 16);
	kit_chain(kit, 0, 1, 1);
	assert_int_equal(pop(kit), 1); /* still out at the reset */
	kit_ring(kit, 8, false, true, false);
	viommu_virtq_save(&kit->vq, &pos);
	assert_int_equal(pos.avail_idx, 0);
	assert_int_equal(pos.used_idx, 0);
	assert_true(pos.avail_wrap && pos.used_wrap);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), -EINVAL);
	assert_true(serve(kit, 16));
	assert_int_equal(kit_used_idx(kit), 1);
	kit_destroy(kit);
}

static void virtio_device_queue_reset_03(void **state)
{
	struct kit *kit = kit_create_ring(8, false, true, false);

	(void)state;
	for (unsigned i = 0; i < 9; i++)
		serve(kit, 16);
	kit_ring(kit, 4, false, false, false);
	for (unsigned i = 0; i < 9; i++)
		assert_true(serve(kit, 16));
	assert_int_equal(kit_used_idx(kit), 9);
	kit_destroy(kit);
}

/* What drivers must not do (virtio-driver-*), and what becomes of it here. */

static void refuse(struct kit *kit)
{
	assert_int_equal(pop(kit), -EBADMSG);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
	assert_true(viommu_virtq_publish(&kit->vq));
	assert_true(serve(kit, 16));
}

static void virtio_driver_framing_01_violated(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	kit_desc(kit, KIT_DESC, 0, KIT_DATA, 8, RING_F_WRITE | RING_F_NEXT, 1);
	kit_desc(kit, KIT_DESC, 1, KIT_DATA, 8, 0, 0);
	kit_avail(kit, 0);
	refuse(kit);
	kit_destroy(kit);
}

static void virtio_driver_split_indirect_03_violated(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	/* A loop is the only way to a longer chain. */
	for (unsigned i = 0; i < 8; i++)
		kit_desc(kit, KIT_DESC, i, KIT_DATA, 8, RING_F_NEXT, (i + 1) % 8);
	kit_avail(kit, 3);
	refuse(kit);
	kit_desc(kit, KIT_DESC, 5, KIT_DATA, 8, RING_F_NEXT, 5);
	kit_avail(kit, 5);
	refuse(kit);
	kit_destroy(kit);
}

static void virtio_driver_split_desc_01_violated(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	kit_desc(kit, KIT_DESC, 0, 0, UINT32_MAX, RING_F_NEXT, 1);
	kit_desc(kit, KIT_DESC, 1, 0, 2, 0, 0);
	kit_avail(kit, 0);
	refuse(kit);
	/* An index outside of the table: next, and head. */
	kit_desc(kit, KIT_DESC, 0, 0, 8, RING_F_NEXT, 8);
	kit_avail(kit, 0);
	refuse(kit);
	kit_avail(kit, 8);
	refuse(kit);
	kit_avail(kit, 0xffff);
	refuse(kit);
	kit_destroy(kit);
}

static void virtio_driver_split_avail_01_violated(void **state)
{
	static const uint16_t jumps[] = {9, 0x8000, 0xffff};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct kit *kit = kit_create_ring(8, false, false, false);

		serve(kit, 16);
		kit_put(kit, KIT_DRIVER + 2, 2, (uint16_t)(kit->next + jumps[i]));
		assert_int_equal(pop(kit), -EIO);
		/* Broken until it is set up again, whatever the index says. */
		kit_put(kit, KIT_DRIVER + 2, 2, kit->next + 1u);
		assert_int_equal(pop(kit), -EIO);
		assert_false(viommu_virtq_has_work(&kit->vq));
		assert_false(viommu_virtq_enable_notify(&kit->vq));
		kit_ring(kit, 8, false, false, false);
		assert_true(serve(kit, 16));
		kit_destroy(kit);
	}
}

/* Back behind what was taken and not yet given back. */
static void virtio_driver_split_avail_01_backwards(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, false);

	(void)state;
	for (uint16_t i = 0; i < 3; i++) {
		kit_chain(kit, i, 1, 0);
		assert_int_equal(pop(kit), 1);
	}
	kit_put(kit, KIT_DRIVER + 2, 2, 2);
	assert_int_equal(pop(kit), -EIO);
	kit_destroy(kit);
}

/* As many as there are entries are no jump; with one that is out, one is. */
static void virtio_driver_split_avail_01_limit(void **state)
{
	struct kit *kit = kit_create_ring(4, false, false, false);

	(void)state;
	for (uint16_t i = 0; i < 4; i++)
		kit_chain(kit, i, 1, 0);
	for (uint16_t i = 0; i < 4; i++)
		assert_int_equal(pop(kit), 1);
	assert_int_equal(pop(kit), 0);
	kit_chain(kit, 0, 1, 0);
	assert_int_equal(pop(kit), -EIO);
	kit_destroy(kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(virtio_device_framing_01),
		cmocka_unit_test(virtio_device_framing_02),
		cmocka_unit_test(virtio_device_split_desc_01),
		cmocka_unit_test(virtio_device_split_desc_02),
		cmocka_unit_test(virtio_device_split_indirect_01),
		cmocka_unit_test(virtio_device_split_indirect_02),
		cmocka_unit_test(virtio_device_split_used_notify_01),
		cmocka_unit_test(virtio_device_split_used_notify_02),
		cmocka_unit_test(virtio_device_split_used_notify_03),
		cmocka_unit_test(virtio_device_split_used_notify_04),
		cmocka_unit_test(virtio_device_split_used_notify_05),
		cmocka_unit_test(virtio_device_split_used_notify_06),
		cmocka_unit_test(virtio_device_split_used_01),
		cmocka_unit_test(virtio_device_split_used_02),
		cmocka_unit_test(virtio_device_split_used_03),
		cmocka_unit_test(virtio_device_split_avail_notify_01),
		cmocka_unit_test(virtio_device_split_avail_notify_02),
		cmocka_unit_test(virtio_device_split_avail_notify_03),
		cmocka_unit_test(virtio_device_split_avail_notify_04),
		cmocka_unit_test(virtio_device_split_avail_notify_05),
		cmocka_unit_test(virtio_device_queue_reset_02),
		cmocka_unit_test(virtio_device_queue_reset_03),
		cmocka_unit_test(virtio_driver_framing_01_violated),
		cmocka_unit_test(virtio_driver_split_indirect_03_violated),
		cmocka_unit_test(virtio_driver_split_desc_01_violated),
		cmocka_unit_test(virtio_driver_split_avail_01_violated),
		cmocka_unit_test(virtio_driver_split_avail_01_backwards),
		cmocka_unit_test(virtio_driver_split_avail_01_limit),
	};

	return cmocka_run_group_tests_name("rings: split", tests, NULL, NULL);
}
