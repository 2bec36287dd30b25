/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* One test a normative statement about devices and packed rings; each is named
 * after its id in virtio_statements.json. What follows them are the rules for
 * event suppression, which the standard gives in prose. */
#include <errno.h>

#include "ring_kit.h"

#include "virtq/wire.h"

static struct viommu_virtq_buf bufs[64];
static struct viommu_chain chain;

static int pop(struct kit *kit)
{
	return viommu_virtq_pop(&kit->vq, &chain, bufs, 64);
}

static bool serve(struct kit *kit, uint16_t id, unsigned nr)
{
	kit_chain(kit, id, nr, 0);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
	return viommu_virtq_publish(&kit->vq);
}

static uint16_t entry_id(struct kit *kit, unsigned i)
{
	return (uint16_t)kit_get(kit, KIT_DESC + 16ull * i + 12, 2);
}

static uint32_t entry_len(struct kit *kit, unsigned i)
{
	return (uint32_t)kit_get(kit, KIT_DESC + 16ull * i + 8, 4);
}

/* Entries that are there but behind one that is not are not looked at. */
static void virtio_device_packed_01(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, false);

	(void)state;
	kit_packed(kit, KIT_DATA, 8, 0, KIT_RAW); /* not available yet */
	kit_chain(kit, 1, 1, 0);
	assert_int_equal(pop(kit), 0);
	kit->next = 0;
	kit_chain(kit, 0, 1, 0);
	kit->next = 2;
	kit_chain(kit, 2, 2, 0);
	for (uint16_t i = 0; i < 3; i++) {
		assert_int_equal(pop(kit), 1);
		assert_int_equal(chain.id, i);
	}
	assert_int_equal(chain.ring_slots, 2);
	kit_destroy(kit);
}

static void virtio_device_packed_02(void **state)
{
	static const unsigned order[] = {2, 0, 3, 1};
	struct kit *kit = kit_create_ring(8, true, false, false);
	struct viommu_chain out[4];
	unsigned at = 0;

	(void)state;
	for (uint16_t i = 0; i < 4; i++) {
		kit_chain(kit, i, 1 + i % 2, 0);
		assert_int_equal(pop(kit), 1);
		out[i] = chain;
	}
	for (unsigned i = 0; i < 4; i++) {
		struct viommu_chain *c = &out[order[i]];

		assert_int_equal(viommu_virtq_push(&kit->vq, c, order[i]), 0);
		viommu_virtq_publish(&kit->vq);
		assert_true(packed_is_used(kit_packed_flags(kit, at), true));
		assert_int_equal(entry_id(kit, at), order[i]);
		at += c->ring_slots;
	}
	kit_destroy(kit);
}

/* In a batch all but the first entry may be seen at any time; the first one is
 * shown last, and nothing is looked at before it. */
static void virtio_device_packed_03(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, false);

	(void)state;
	for (uint16_t i = 0; i < 3; i++) {
		kit_chain(kit, i, 1, 1);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(viommu_virtq_push(&kit->vq, &chain, i + 1u), 0);
		assert_false(packed_is_used(kit_packed_flags(kit, 0), true));
	}
	viommu_virtq_publish(&kit->vq);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(packed_is_used(kit_packed_flags(kit, 2 * i), true));
		assert_int_equal(entry_id(kit, 2 * i), i);
		assert_int_equal(entry_len(kit, 2 * i), i + 1);
	}
	kit_destroy(kit);
}

static void virtio_device_packed_desc_01(void **state)
{
	struct kit *kit = kit_create_ring(8, true, true, true);
	size_t tables = KIT_TABLES - KIT_BASE;
	uint8_t *before = malloc(KIT_LEN);

	(void)state;
	assert_non_null(before);
	kit_chain(kit, 0, 3, 1);
	memcpy(before, kit->pieces[0].hva, KIT_LEN);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 16), 0);
	viommu_virtq_publish(&kit->vq);
	viommu_virtq_enable_notify(&kit->vq);
	assert_memory_equal(before + tables, kit->pieces[0].hva + tables,
			    KIT_LEN - tables);
	assert_memory_equal(before + (KIT_DRIVER - KIT_BASE),
			    kit->pieces[0].hva + (KIT_DRIVER - KIT_BASE), 16);
	free(before);
	kit_destroy(kit);
}

/* Buffers lie where there is no memory: taking and giving back never looks. */
static void virtio_device_packed_desc_02(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, false);

	(void)state;
	kit_packed(kit, 0x10, 4096, 3, RING_F_WRITE);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 4096), 0);
	assert_true(viommu_virtq_publish(&kit->vq));
	assert_int_equal(entry_len(kit, 0), 4096);
	kit_destroy(kit);
}

static void virtio_device_packed_desc_03(void **state)
{
	/* Of the four states of both bits, one is available in each lap. */
	static const uint16_t bits[] = {0, RING_F_AVAIL, RING_F_USED,
					RING_F_AVAIL | RING_F_USED};
	struct kit *kit = kit_create_ring(1, true, false, false);

	(void)state;
	for (unsigned lap = 0; lap < 4; lap++) {
		bool wrap = !(lap % 2);

		for (unsigned i = 0; i < 4; i++) {
			bool avail = bits[i] == (wrap ? RING_F_AVAIL : RING_F_USED);

			kit_desc(kit, KIT_DESC, 0, KIT_DATA, 8, 0, bits[i]);
			assert_int_equal(viommu_virtq_has_work(&kit->vq), avail);
			assert_int_equal(pop(kit), avail);
			if (avail)
				viommu_virtq_unpop(&kit->vq, &chain);
		}
		kit_desc(kit, KIT_DESC, 0, KIT_DATA, 8, 0, packed_avail_flags(wrap));
		assert_int_equal(pop(kit), 1);
		assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
		viommu_virtq_publish(&kit->vq);
	}
	kit_destroy(kit);
}

/* In the middle of a list: an entry whose bit did not change is not used. */
static void virtio_device_packed_desc_03_list(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, false);

	(void)state;
	kit_packed(kit, KIT_DATA, 8, 4, RING_F_NEXT);
	assert_int_equal(pop(kit), -EBADMSG);
	assert_int_equal(chain.ring_slots, 1);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
	viommu_virtq_publish(&kit->vq);
	serve(kit, 5, 1);
	assert_true(packed_is_used(kit_packed_flags(kit, 1), true));
	kit_destroy(kit);
}

static void virtio_device_packed_desc_04(void **state)
{
	struct kit *kit = kit_create_ring(4, true, true, false);
	uint8_t before[64], after[64];

	(void)state;
	serve(kit, 0, 2);
	serve(kit, 1, 1);
	/* The driver owns them now and may use them for anything. */
	kit_put(kit, KIT_DESC, 8, 0x1122334455667788);
	kit_put(kit, KIT_DESC + 32, 8, 0x99);
	kit_read(kit, KIT_DESC, before, 48);
	viommu_virtq_publish(&kit->vq);
	viommu_virtq_enable_notify(&kit->vq);
	viommu_virtq_disable_notify(&kit->vq);
	assert_int_equal(pop(kit), 0);
	kit_read(kit, KIT_DESC, after, 48);
	assert_memory_equal(before, after, 48);
	kit_destroy(kit);
}

static void virtio_device_packed_sg_01(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, true);

	(void)state;
	/* Over the end of the ring, where the wrap counter turns. */
	serve(kit, 0, 6);
	kit_chain(kit, 9, 3, 1);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(chain.id, 9);
	assert_int_equal(chain.ring_slots, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(bufs[i].addr, KIT_DATA + 16 * i);
		assert_int_equal(bufs[i].writable, i == 3);
	}
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 16), 0);
	viommu_virtq_publish(&kit->vq);
	assert_true(packed_is_used(kit_packed_flags(kit, 6), true));
	/* A table has no links: its order counts. */
	for (unsigned i = 0; i < 3; i++)
		kit_desc(kit, KIT_TABLES, i, KIT_DATA + 100 * i, 8, 77, 0);
	kit_packed(kit, KIT_TABLES, 48, 2, RING_F_INDIRECT);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(chain.id, 2);
	assert_int_equal(chain.ring_slots, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(bufs[i].addr, KIT_DATA + 100 * i);
	kit_destroy(kit);
}

static void virtio_device_packed_sg_02(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, false);

	(void)state;
	kit_chain(kit, 1, 5, 0);
	assert_int_equal(viommu_virtq_pop(&kit->vq, &chain, bufs, 4), -E2BIG);
	assert_int_equal(chain.ring_slots, 5);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
	viommu_virtq_publish(&kit->vq);
	serve(kit, 2, 1);
	assert_int_equal(entry_id(kit, 5), 2);
	kit_destroy(kit);
}

/* The id of a list is that of its last entry. */
static void packed_id_is_in_the_last_entry(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, false);

	(void)state;
	kit_packed(kit, KIT_DATA, 8, 11, RING_F_NEXT);
	kit_packed(kit, KIT_DATA, 8, 12, RING_F_NEXT);
	kit_packed(kit, KIT_DATA, 8, 13, 0);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(chain.id, 13);
	kit_destroy(kit);
}

/* WRITE in a used entry says that the length counts. */
static void packed_used_write_flag(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, false);

	(void)state;
	kit_chain(kit, 0, 1, 1);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 7), 0);
	viommu_virtq_publish(&kit->vq);
	assert_int_equal(kit_packed_flags(kit, 0) & RING_F_WRITE, RING_F_WRITE);
	serve(kit, 1, 1);
	assert_int_equal(kit_packed_flags(kit, 2) & RING_F_WRITE, 0);
	kit_destroy(kit);
}

static void packed_list_longer_than_the_ring(void **state)
{
	struct kit *kit = kit_create_ring(4, true, false, false);

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		kit_packed(kit, KIT_DATA, 8, (uint16_t)i, RING_F_NEXT);
	assert_int_equal(pop(kit), -EBADMSG);
	assert_int_equal(chain.ring_slots, 4);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
	viommu_virtq_publish(&kit->vq);
	serve(kit, 1, 4);
	kit_destroy(kit);
}

/* A list that runs on into entries that are out. */
static void packed_list_into_what_is_out(void **state)
{
	struct kit *kit = kit_create_ring(4, true, false, false);

	(void)state;
	kit_chain(kit, 0, 2, 0);
	assert_int_equal(pop(kit), 1);
	for (unsigned i = 0; i < 4; i++)
		kit_packed(kit, KIT_DATA, 8, 1, RING_F_NEXT);
	assert_int_equal(pop(kit), -EBADMSG);
	assert_int_equal(chain.ring_slots, 2);
	kit_destroy(kit);
}

/* An entry that is out is made available again: the ring makes no sense. */
static void packed_entry_reused_while_out(void **state)
{
	struct kit *kit = kit_create_ring(2, true, false, false);

	(void)state;
	kit_chain(kit, 0, 2, 0);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(pop(kit), 0);
	kit_chain(kit, 0, 1, 0);
	assert_int_equal(pop(kit), -EIO);
	assert_int_equal(pop(kit), -EIO);
	assert_false(viommu_virtq_has_work(&kit->vq));
	kit_ring(kit, 2, true, false, false);
	assert_true(serve(kit, 0, 1));
	kit_destroy(kit);
}

static void virtio_driver_packed_indirect_01_violated(void **state)
{
	struct kit *kit = kit_create_ring(8, true, false, true);

	(void)state;
	/* NEXT in a table is reserved and has no effect; a table is refused. */
	kit_desc(kit, KIT_TABLES, 0, KIT_DATA, 8, 0, RING_F_NEXT | RING_F_AVAIL);
	kit_desc(kit, KIT_TABLES, 1, KIT_DATA, 8, 0, RING_F_WRITE | RING_F_NEXT);
	kit_packed(kit, KIT_TABLES, 32, 2, RING_F_INDIRECT);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(chain.buf_nr, 2);
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 8), 0);
	kit_desc(kit, KIT_TABLES, 1, KIT_TABLES + 64, 16, 0, RING_F_INDIRECT);
	kit_packed(kit, KIT_TABLES, 32, 2, RING_F_INDIRECT);
	assert_int_equal(pop(kit), -EBADMSG);
	kit_destroy(kit);
}

static void virtio_driver_packed_indirect_02_violated(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 2; first++) {
		struct kit *kit = kit_create_ring(8, true, false, true);

		kit_desc(kit, KIT_TABLES, 0, KIT_DATA, 8, 0, 0);
		if (first)
			kit_packed(kit, KIT_TABLES, 16, 2, RING_F_INDIRECT | RING_F_NEXT);
		kit_packed(kit, KIT_DATA, 8, 2, first ? 0 : RING_F_NEXT);
		if (!first)
			kit_packed(kit, KIT_TABLES, 16, 2, RING_F_INDIRECT);
		assert_int_equal(pop(kit), -EBADMSG);
		assert_int_equal(chain.ring_slots, 2);
		assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), 0);
		viommu_virtq_publish(&kit->vq);
		assert_true(serve(kit, 3, 1));
		kit_destroy(kit);
	}
}

/* ---- event suppression ---- */

#define EVENT(kind, off, wrap) ((uint32_t)(kind) << 16 | (off) | ((wrap) ? 0x8000u : 0))

static void driver_event_kinds(void **state)
{
	struct kit *kit = kit_create_ring(4, true, false, false);

	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		kit_put(kit, KIT_DRIVER, 4, EVENT(0, i, 1));
		assert_true(serve(kit, 0, 1));
		kit_put(kit, KIT_DRIVER, 4, EVENT(1, 0, 0));
		assert_false(serve(kit, 0, 1));
		/* Only with event indices; without, one too many. */
		kit_put(kit, KIT_DRIVER, 4, EVENT(2, 3, 0));
		assert_true(serve(kit, 0, 1));
		kit_put(kit, KIT_DRIVER, 4, EVENT(3, 0, 0));
		assert_true(serve(kit, 0, 1));
	}
	kit_destroy(kit);
}

/* Every place of the event in two laps, for batches of every size at every
 * position: an interrupt exactly if the batch goes over the place. */
static void driver_event_places(void **state)
{
	const unsigned size = 5;

	(void)state;
	for (unsigned start = 0; start < 2 * size; start++) {
		for (unsigned batch = 1; batch <= size; batch++) {
			for (unsigned event = start; event < start + 2 * size; event++) {
				struct kit *kit = kit_create_ring(5, true, true, false);
				bool wrap = !(event / size % 2);

				kit_put(kit, KIT_DRIVER, 4, EVENT(1, 0, 0));
				for (unsigned i = 0; i < start; i++)
					serve(kit, 0, 1);
				kit_put(kit, KIT_DRIVER, 4, EVENT(2, event % size, wrap));
				for (unsigned i = 0; i < batch; i++) {
					kit_chain(kit, 0, 1, 0);
					assert_int_equal(pop(kit), 1);
					viommu_virtq_push(&kit->vq, &chain, 0);
				}
				/* Further ahead than a lap cannot be said. */
				if (event < start + size)
					assert_int_equal(viommu_virtq_publish(&kit->vq),
							 event < start + batch);
				kit_destroy(kit);
			}
		}
	}
}

static void device_event_words(void **state)
{
	struct kit *kit = kit_create_ring(4, true, false, false);

	(void)state;
	viommu_virtq_disable_notify(&kit->vq);
	assert_int_equal(kit_get(kit, KIT_DEVICE, 4), EVENT(1, 0, 0));
	kit_chain(kit, 0, 1, 0);
	assert_true(viommu_virtq_enable_notify(&kit->vq));
	assert_int_equal(kit_get(kit, KIT_DEVICE, 4), EVENT(0, 0, 0));
	kit_destroy(kit);
	kit = kit_create_ring(3, true, true, false);
	for (unsigned i = 0; i < 9; i++) {
		assert_false(viommu_virtq_enable_notify(&kit->vq));
		assert_int_equal(kit_get(kit, KIT_DEVICE, 4),
				 EVENT(2, i % 3, !(i / 3 % 2)));
		viommu_virtq_disable_notify(&kit->vq);
		assert_int_equal(kit_get(kit, KIT_DEVICE, 4), EVENT(1, 0, 0));
		serve(kit, 0, 1);
	}
	kit_destroy(kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(virtio_device_packed_01),
		cmocka_unit_test(virtio_device_packed_02),
		cmocka_unit_test(virtio_device_packed_03),
		cmocka_unit_test(virtio_device_packed_desc_01),
		cmocka_unit_test(virtio_device_packed_desc_02),
		cmocka_unit_test(virtio_device_packed_desc_03),
		cmocka_unit_test(virtio_device_packed_desc_03_list),
		cmocka_unit_test(virtio_device_packed_desc_04),
		cmocka_unit_test(virtio_device_packed_sg_01),
		cmocka_unit_test(virtio_device_packed_sg_02),
		cmocka_unit_test(packed_id_is_in_the_last_entry),
		cmocka_unit_test(packed_used_write_flag),
		cmocka_unit_test(packed_list_longer_than_the_ring),
		cmocka_unit_test(packed_list_into_what_is_out),
		cmocka_unit_test(packed_entry_reused_while_out),
		cmocka_unit_test(virtio_driver_packed_indirect_01_violated),
		cmocka_unit_test(virtio_driver_packed_indirect_02_violated),
		cmocka_unit_test(driver_event_kinds),
		cmocka_unit_test(driver_event_places),
		cmocka_unit_test(device_event_words),
	};

	return cmocka_run_group_tests_name("rings: packed", tests, NULL, NULL);
}
