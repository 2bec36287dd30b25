/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Device side: the rules that hold for both formats, each tried on both. */
#include <errno.h>

#include "ring_kit.h"

#include "virtq/wire.h"

static struct viommu_virtq_buf bufs[VIOMMU_VIRTQ_CHAIN_MAX + 8];
static struct viommu_chain chain;

static int pop(struct kit *kit)
{
	return viommu_virtq_pop(&kit->vq, &chain, bufs, VIOMMU_VIRTQ_CHAIN_MAX + 8);
}

static void push(struct kit *kit, uint32_t len)
{
	assert_int_equal(viommu_virtq_push(&kit->vq, &chain, len), 0);
}

/* Entry i of an indirect table in either format. */
static void table_desc(struct kit *kit, uint64_t table, unsigned i, uint64_t addr,
		       uint32_t len, uint16_t flags)
{
	if (kit->cfg.packed)
		kit_desc(kit, table, i, addr, len, 0, flags & ~RING_F_NEXT);
	else
		kit_desc(kit, table, i, addr, len, flags, (uint16_t)(i + 1));
}

/* Makes one descriptor available that points to a table. */
static void offer_table(struct kit *kit, uint64_t table, uint32_t len, uint16_t flags)
{
	if (kit->cfg.packed) {
		kit_packed(kit, table, len, 5, RING_F_INDIRECT | flags);
	} else {
		kit_desc(kit, KIT_DESC, 1, table, len, RING_F_INDIRECT | flags, 2);
		kit_avail(kit, 1);
	}
}

static void offer_buf(struct kit *kit, uint64_t addr, uint32_t len, uint16_t flags)
{
	if (kit->cfg.packed) {
		kit_packed(kit, addr, len, 6, flags);
	} else {
		kit_desc(kit, KIT_DESC, 0, addr, len, flags, 1);
		kit_avail(kit, 0);
	}
}

/* The broken chain comes out as -EBADMSG, can be given back, and the next one
 * is served as if nothing had been. */
static void expect_bad_then_good(struct kit *kit)
{
	assert_int_equal(pop(kit), -EBADMSG);
	assert_int_not_equal(chain.ring_slots, 0);
	push(kit, 0);
	viommu_virtq_publish(&kit->vq);
	assert_int_equal(pop(kit), 0);
	kit_chain(kit, 3, 1, 1);
	assert_int_equal(pop(kit), 1);
	assert_int_equal(chain.id, 3);
	assert_int_equal(chain.buf_nr, 2);
	push(kit, 16);
	viommu_virtq_publish(&kit->vq);
}

static const bool formats[] = {false, true};
#define for_each_format(packed)                                                          \
	for (unsigned f_ = 0, packed; f_ < 2 && (packed = formats[f_], true); f_++)

static void init_checks_the_size(void **state)
{
	struct viommu_virtq_config cfg = {
		.desc = 0x1000, .driver = 0x20000, .device = 0x30000};
	struct viommu_ring_mem mem = {0};
	struct viommu_virtq vq;

	(void)state;
	for_each_format (packed) {
		cfg.packed = packed;
		cfg.size = 0;
		assert_int_equal(viommu_virtq_init(&vq, &cfg, mem), -EINVAL);
		cfg.size = VIOMMU_VIRTQ_SIZE_MAX;
		assert_int_equal(viommu_virtq_init(&vq, &cfg, mem), 0);
		cfg.size = VIOMMU_VIRTQ_SIZE_MAX + 1;
		assert_int_equal(viommu_virtq_init(&vq, &cfg, mem), -EINVAL);
		cfg.size = 2 * VIOMMU_VIRTQ_SIZE_MAX;
		assert_int_equal(viommu_virtq_init(&vq, &cfg, mem), -EINVAL);
		cfg.size = 7;
		assert_int_equal(viommu_virtq_init(&vq, &cfg, mem), packed ? 0 : -EINVAL);
		cfg.size = 1;
		assert_int_equal(viommu_virtq_init(&vq, &cfg, mem), 0);
	}
}

static int try_areas(bool packed, uint64_t desc, uint64_t driver, uint64_t device)
{
	struct viommu_virtq_config cfg = {.size = 8,
					  .packed = packed,
					  .event_idx = true,
					  .desc = desc,
					  .driver = driver,
					  .device = device};
	struct viommu_virtq vq;

	return viommu_virtq_init(&vq, &cfg, (struct viommu_ring_mem){0});
}

static void init_checks_the_areas(void **state)
{
	uint64_t top = UINT64_MAX;

	(void)state;
	assert_int_equal(try_areas(false, 16, 2, 4), 0);
	assert_int_equal(try_areas(false, 8, 2, 4), -EINVAL);
	assert_int_equal(try_areas(false, 16, 1, 4), -EINVAL);
	assert_int_equal(try_areas(false, 16, 2, 2), -EINVAL);
	assert_int_equal(try_areas(true, 16, 4, 4), 0);
	assert_int_equal(try_areas(true, 8, 4, 4), -EINVAL);
	assert_int_equal(try_areas(true, 16, 2, 4), -EINVAL);
	assert_int_equal(try_areas(true, 16, 4, 2), -EINVAL);
	/* The last byte of the address space may be used, none behind it. */
	assert_int_equal(try_areas(true, top - 127, 4, 4), 0);
	assert_int_equal(try_areas(true, top - 111, 4, 4), -EINVAL);
	assert_int_equal(try_areas(true, 16, top - 3, 4), 0);
	assert_int_equal(try_areas(false, 16, top - 21, 4), 0);
	assert_int_equal(try_areas(false, 16, top - 19, 4), -EINVAL);
	assert_int_equal(try_areas(false, 16, 2, top - 71), 0);
	assert_int_equal(try_areas(false, 16, 2, top - 67), -EINVAL);
}

static void empty_ring_has_no_work(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(4, packed, true, true);

		assert_int_equal(pop(kit), 0);
		assert_false(viommu_virtq_has_work(&kit->vq));
		assert_false(viommu_virtq_publish(&kit->vq));
		kit_chain(kit, 0, 1, 0);
		assert_true(viommu_virtq_has_work(&kit->vq));
		assert_int_equal(pop(kit), 1);
		assert_false(viommu_virtq_has_work(&kit->vq));
		kit_destroy(kit);
	}
}

/* The areas are mapped once a turn, not once a chain. */
static void windows_last_a_turn(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, true, true);
		unsigned maps;

		viommu_virtq_begin(&kit->vq);
		for (uint16_t i = 0; i < 4; i++) {
			kit_chain(kit, i, 1, 0);
			assert_int_equal(pop(kit), 1);
			push(kit, 0);
		}
		viommu_virtq_publish(&kit->vq);
		maps = kit->maps;
		assert_in_range(maps, 1, 3);
		viommu_virtq_begin(&kit->vq);
		kit_chain(kit, 4, 1, 0);
		assert_int_equal(pop(kit), 1);
		assert_true(kit->maps > maps);
		kit_destroy(kit);
	}
}

static void bad_indirect_tables(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
	} cases[] = {
		{KIT_TABLES, 0, 0},		  /* empty */
		{KIT_TABLES, 8, 0},		  /* half a descriptor */
		{KIT_TABLES, 33, 0},		  /* two and a bit */
		{KIT_TABLES, 32, RING_F_NEXT},	  /* both flags */
		{0x1234567890, 32, 0},		  /* no memory there */
		{KIT_BASE + KIT_LEN - 16, 32, 0}, /* runs out of memory */
		{UINT64_MAX - 15, 32, 0},	  /* wraps around */
	};

	(void)state;
	for_each_format (packed) {
		for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct kit *kit = kit_create_ring(8, packed, false, true);
			uint64_t last = KIT_BASE + KIT_LEN - 16;

			table_desc(kit, KIT_TABLES, 0, KIT_DATA, 8, RING_F_NEXT);
			table_desc(kit, KIT_TABLES, 1, KIT_DATA, 8, 0);
			table_desc(kit, last, 0, KIT_DATA, 8, RING_F_NEXT);
			offer_table(kit, cases[i].addr, cases[i].len, cases[i].flags);
			if (packed && (cases[i].flags & RING_F_NEXT))
				kit_packed(kit, KIT_DATA, 8, 5, 0);
			expect_bad_then_good(kit);
			kit_destroy(kit);
		}
	}
}

/* Each call of map that fails is a fault the guest gets to see: one a table. */
static void one_fault_a_table(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);
		unsigned maps;

		kit_chain(kit, 3, 1, 0);
		assert_int_equal(pop(kit), 1);
		push(kit, 0);
		maps = kit->maps;
		offer_table(kit, 0x1234567890, 32, 0);
		assert_int_equal(pop(kit), -EBADMSG);
		assert_int_equal(kit->maps, maps + 1);
		kit_destroy(kit);
	}
}

static void indirect_needs_the_feature(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, false);

		table_desc(kit, KIT_TABLES, 0, KIT_DATA, 8, 0);
		offer_table(kit, KIT_TABLES, 16, 0);
		expect_bad_then_good(kit);
		kit_destroy(kit);
	}
}

static void no_table_inside_a_table(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);

		table_desc(kit, KIT_TABLES, 0, KIT_TABLES + 64, 16, RING_F_INDIRECT);
		table_desc(kit, KIT_TABLES + 64, 0, KIT_DATA, 8, 0);
		offer_table(kit, KIT_TABLES, 16, 0);
		expect_bad_then_good(kit);
		kit_destroy(kit);
	}
}

static void readable_after_writable(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);

		table_desc(kit, KIT_TABLES, 0, KIT_DATA, 8, RING_F_WRITE | RING_F_NEXT);
		table_desc(kit, KIT_TABLES, 1, KIT_DATA, 8, 0);
		offer_table(kit, KIT_TABLES, 32, 0);
		expect_bad_then_good(kit);
		kit_destroy(kit);
	}
}

static void buffer_may_end_at_the_top(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);

		offer_buf(kit, UINT64_MAX - 15, 16, 0);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(bufs[0].addr, UINT64_MAX - 15);
		push(kit, 0);
		offer_buf(kit, UINT64_MAX - 15, 17, 0);
		expect_bad_then_good(kit);
		kit_destroy(kit);
	}
}

static void chain_of_2_32_bytes_is_the_longest(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);

		table_desc(kit, KIT_TABLES, 0, 0, UINT32_MAX, RING_F_NEXT);
		table_desc(kit, KIT_TABLES, 1, 0, 1, RING_F_WRITE);
		offer_table(kit, KIT_TABLES, 32, 0);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(chain.readable_len, UINT32_MAX);
		assert_int_equal(chain.writable_len, 1);
		push(kit, 0);
		table_desc(kit, KIT_TABLES, 1, 0, 2, RING_F_WRITE);
		offer_table(kit, KIT_TABLES, 32, 0);
		expect_bad_then_good(kit);
		kit_destroy(kit);
	}
}

static void chain_max_buffers(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);
		unsigned nr = VIOMMU_VIRTQ_CHAIN_MAX;

		for (unsigned i = 0; i <= nr; i++)
			table_desc(kit, KIT_TABLES, i, KIT_DATA + i, 1,
				   i + 1 < nr ? RING_F_NEXT : 0);
		offer_table(kit, KIT_TABLES, 16 * nr, 0);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(chain.buf_nr, nr);
		assert_int_equal(bufs[nr - 1].addr, KIT_DATA + nr - 1);
		push(kit, 0);
		table_desc(kit, KIT_TABLES, nr - 1, KIT_DATA, 1, RING_F_NEXT);
		offer_table(kit, KIT_TABLES, 16 * (nr + 1), 0);
		expect_bad_then_good(kit);
		kit_destroy(kit);
	}
}

/* Half of it in the ring, half in a table behind it: the chain counts. */
static void chain_max_over_both_tables(void **state)
{
	struct kit *kit = kit_create_ring(8, false, false, true);
	unsigned nr = VIOMMU_VIRTQ_CHAIN_MAX - 3;

	(void)state;
	for (unsigned more = 0; more < 2; more++) {
		for (unsigned i = 0; i < 3; i++)
			kit_desc(kit, KIT_DESC, i, KIT_DATA, 1, RING_F_NEXT,
				 (uint16_t)(i + 1));
		for (unsigned i = 0; i < nr + more; i++)
			table_desc(kit, KIT_TABLES, i, KIT_DATA, 1,
				   i + 1 < nr + more ? RING_F_NEXT : 0);
		kit_desc(kit, KIT_DESC, 3, KIT_TABLES, 16 * (nr + more), RING_F_INDIRECT,
			 0);
		kit_avail(kit, 0);
		assert_int_equal(pop(kit), more ? -EBADMSG : 1);
		if (!more)
			assert_int_equal(chain.buf_nr, VIOMMU_VIRTQ_CHAIN_MAX);
		push(kit, 0);
	}
	kit_destroy(kit);
}

/* Empty buffers are no buffers, but they do not make a table endless either. */
static void chain_max_counts_empty_buffers(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);
		unsigned nr = VIOMMU_VIRTQ_CHAIN_MAX + 1;

		for (unsigned i = 0; i < nr; i++)
			table_desc(kit, KIT_TABLES, i, KIT_DATA, 0, RING_F_NEXT);
		table_desc(kit, KIT_TABLES, nr - 1, KIT_DATA, 0, 0);
		offer_table(kit, KIT_TABLES, 16 * nr, 0);
		expect_bad_then_good(kit);
		kit_destroy(kit);
	}
}

static void empty_buffers_are_left_out(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);

		table_desc(kit, KIT_TABLES, 0, 0, 0, RING_F_NEXT);
		table_desc(kit, KIT_TABLES, 1, KIT_DATA, 8, RING_F_NEXT);
		table_desc(kit, KIT_TABLES, 2, 0, 0, RING_F_WRITE | RING_F_NEXT);
		table_desc(kit, KIT_TABLES, 3, KIT_DATA + 8, 4,
			   RING_F_WRITE | RING_F_NEXT);
		table_desc(kit, KIT_TABLES, 4, UINT64_MAX, 0, RING_F_WRITE);
		offer_table(kit, KIT_TABLES, 80, 0);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(chain.buf_nr, 2);
		assert_int_equal(chain.readable_nr, 1);
		assert_int_equal(bufs[0].len, 8);
		assert_int_equal(bufs[1].len, 4);
		push(kit, 4);
		/* Nothing but empty ones: a chain without a byte. */
		offer_buf(kit, KIT_DATA, 0, RING_F_WRITE);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(chain.buf_nr, 0);
		push(kit, 0);
		kit_destroy(kit);
	}
}

static void too_many_for_the_caller(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, true);
		struct viommu_virtq_buf two[2];

		kit_chain(kit, 0, 1, 1);
		assert_int_equal(viommu_virtq_pop(&kit->vq, &chain, two, 2), 1);
		push(kit, 0);
		kit_chain(kit, 0, 2, 1);
		assert_int_equal(viommu_virtq_pop(&kit->vq, &chain, two, 2), -E2BIG);
		/* All of it was taken, so that all of it goes back. */
		assert_int_equal(chain.ring_slots, packed ? 3 : 1);
		viommu_virtq_unpop(&kit->vq, &chain);
		assert_int_equal(pop(kit), 1);
		assert_int_equal(chain.buf_nr, 3);
		push(kit, 0);
		kit_chain(kit, 0, 1, 0);
		assert_int_equal(viommu_virtq_pop(&kit->vq, &chain, NULL, 0), -E2BIG);
		push(kit, 0);
		kit_destroy(kit);
	}
}

/* Memory that goes away: nothing is taken, nothing is lost. */
static void ring_out_of_reach_comes_back(void **state)
{
	static const uint64_t areas[] = {KIT_DESC, KIT_DRIVER, KIT_DEVICE};

	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create(4096);

		kit_ring(kit, 8, packed, false, false);
		kit_chain(kit, 0, 1, 1);
		/* Where the ring says that there is something, ... */
		kit_hide(kit, packed ? KIT_DESC : KIT_DRIVER, 16, true);
		assert_false(viommu_virtq_has_work(&kit->vq));
		assert_int_equal(pop(kit), -EFAULT);
		assert_true(viommu_virtq_unreached(&kit->vq));
		kit_hide(kit, packed ? KIT_DESC : KIT_DRIVER, 16, false);
		/* ... and what. */
		kit_hide(kit, KIT_DESC, 16, true);
		assert_int_equal(pop(kit), -EFAULT);
		kit_hide(kit, KIT_DESC, 16, false);
		viommu_virtq_begin(&kit->vq);
		assert_int_equal(pop(kit), 1);
		assert_false(viommu_virtq_unreached(&kit->vq));
		viommu_virtq_begin(&kit->vq);
		for (unsigned i = 0; i < 3; i++)
			kit_hide(kit, areas[i], 16, true);
		assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 16), -EFAULT);
		viommu_virtq_begin(&kit->vq);
		assert_false(viommu_virtq_enable_notify(&kit->vq));
		assert_true(viommu_virtq_unreached(&kit->vq));
		for (unsigned i = 0; i < 3; i++)
			kit_hide(kit, areas[i], 16, false);
		push(kit, 16);
		viommu_virtq_begin(&kit->vq);
		for (unsigned i = 0; i < 3; i++)
			kit_hide(kit, areas[i], 16, true);
		assert_false(viommu_virtq_publish(&kit->vq));
		assert_true(viommu_virtq_unreached(&kit->vq));
		for (unsigned i = 0; i < 3; i++)
			kit_hide(kit, areas[i], 16, false);
		assert_true(viommu_virtq_publish(&kit->vq));
		kit_destroy(kit);
	}
}

/* Whether to interrupt cannot be read: one too many does no harm. */
static void interrupt_word_out_of_reach(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create(4096);

		kit_ring(kit, 8, packed, true, false);
		kit_chain(kit, 0, 1, 1);
		assert_int_equal(pop(kit), 1);
		push(kit, 16);
		viommu_virtq_begin(&kit->vq);
		kit_hide(kit, KIT_DRIVER, 16, true);
		assert_true(viommu_virtq_publish(&kit->vq));
		kit_destroy(kit);
	}
}

/* A table over three pieces, at every offset of its descriptors to them. */
static void table_spans_pieces(void **state)
{
	(void)state;
	for_each_format (packed) {
		for (unsigned shift = 0; shift <= 16; shift++) {
			uint64_t table = KIT_TABLES + 512 - 72 + shift;
			struct kit *kit = kit_create(256);

			kit_ring(kit, 8, packed, false, true);
			for (unsigned i = 0; i < 36; i++)
				table_desc(kit, table, i, KIT_DATA + 32 * i, 32,
					   i + 1 < 36 ? RING_F_NEXT : 0);
			offer_table(kit, table, 36 * 16, 0);
			assert_int_equal(pop(kit), 1);
			assert_int_equal(chain.buf_nr, 36);
			for (unsigned i = 0; i < 36; i++)
				assert_int_equal(bufs[i].addr, KIT_DATA + 32 * i);
			kit_destroy(kit);
		}
	}
}

/* All areas of a big ring in small pieces, filled to the brim, several laps. */
static void areas_span_pieces(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create(1024);

		kit_ring(kit, 512, packed, true, false);
		for (unsigned lap = 0; lap < 3; lap++) {
			for (uint16_t i = 0; i < 512; i++)
				kit_chain(kit, i, 1, 0);
			for (uint16_t i = 0; i < 512; i++) {
				assert_int_equal(pop(kit), 1);
				assert_int_equal(chain.id, i);
				push(kit, 0);
			}
			assert_int_equal(pop(kit), 0);
			viommu_virtq_publish(&kit->vq);
		}
		kit_destroy(kit);
	}
}

/* 24-byte pieces cut shared words in two: such a word cannot be accessed at once
 * and counts as out of reach; nothing is read beyond a piece. */
static void words_cut_in_two(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create(257);

		kit_ring(kit, 64, packed, true, true);
		for (uint16_t i = 0; i < 32; i++)
			kit_chain(kit, i, 1, 0);
		for (unsigned i = 0; i < 32; i++) {
			int r = pop(kit);

			assert_true(r == 1 || r == -EFAULT);
			if (r < 0)
				break;
			r = viommu_virtq_push(&kit->vq, &chain, 1);
			assert_true(r == 0 || r == -EFAULT);
			viommu_virtq_publish(&kit->vq);
		}
		kit_destroy(kit);
	}
}

static void unpop_gives_back(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(4, packed, false, false);

		/* Over the end of the ring: the wrap counter has to go back too. */
		for (unsigned i = 0; i < 9; i++) {
			kit_chain(kit, (uint16_t)(i % 3), 2, 1);
			assert_int_equal(pop(kit), 1);
			viommu_virtq_unpop(&kit->vq, &chain);
			assert_true(viommu_virtq_has_work(&kit->vq));
			assert_int_equal(pop(kit), 1);
			assert_int_equal(chain.id, i % 3);
			assert_int_equal(chain.buf_nr, 3);
			push(kit, 0);
			viommu_virtq_publish(&kit->vq);
			assert_int_equal(pop(kit), 0);
		}
		kit_destroy(kit);
	}
}

static void push_needs_a_pop(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(4, packed, false, false);
		struct viommu_chain fake = {.id = 1, .ring_slots = 1};

		assert_int_equal(viommu_virtq_push(&kit->vq, &fake, 0), -EINVAL);
		kit_chain(kit, 0, 1, 0);
		assert_int_equal(pop(kit), 1);
		push(kit, 0);
		assert_int_equal(viommu_virtq_push(&kit->vq, &chain, 0), -EINVAL);
		fake.ring_slots = 0;
		assert_int_equal(viommu_virtq_push(&kit->vq, &fake, 0), -EINVAL);
		viommu_virtq_unpop(&kit->vq, &chain); /* nothing is out: ignored */
		assert_int_equal(pop(kit), 0);
		kit_destroy(kit);
	}
}

static void restore_checks_the_position(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, false);
		struct viommu_virtq_state pos = {3, 3, true, true}, back;

		assert_int_equal(viommu_virtq_restore(&kit->vq, &pos), 0);
		viommu_virtq_save(&kit->vq, &back);
		assert_memory_equal(&pos, &back, sizeof(pos));
		pos.used_idx = 2; /* a chain was out */
		assert_int_equal(viommu_virtq_restore(&kit->vq, &pos), -EINVAL);
		pos = (struct viommu_virtq_state){3, 3, false, true};
		assert_int_equal(viommu_virtq_restore(&kit->vq, &pos), -EINVAL);
		pos = (struct viommu_virtq_state){3, 3, false, false};
		assert_int_equal(viommu_virtq_restore(&kit->vq, &pos),
				 packed ? 0 : -EINVAL);
		pos = (struct viommu_virtq_state){7, 7, true, true};
		assert_int_equal(viommu_virtq_restore(&kit->vq, &pos), 0);
		pos = (struct viommu_virtq_state){8, 8, true, true};
		assert_int_equal(viommu_virtq_restore(&kit->vq, &pos),
				 packed ? -EINVAL : 0);
		kit_destroy(kit);
	}
}

static void restored_ring_goes_on(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(4, packed, true, false);
		struct viommu_virtq_state pos;

		for (uint16_t i = 0; i < 7; i++) {
			kit_chain(kit, i % 4, 1, 0);
			assert_int_equal(pop(kit), 1);
			push(kit, 0);
			viommu_virtq_publish(&kit->vq);
			viommu_virtq_save(&kit->vq, &pos);
			assert_int_equal(
				viommu_virtq_init(&kit->vq, &kit->cfg, kit_mem(kit)), 0);
			assert_int_equal(viommu_virtq_restore(&kit->vq, &pos), 0);
			assert_int_equal(pop(kit), 0);
		}
		kit_destroy(kit);
	}
}

/* What the driver was told is not part of a position: it is told again. */
static void restore_forgets_notification(void **state)
{
	(void)state;
	for_each_format (packed) {
		struct kit *kit = kit_create_ring(8, packed, false, false);
		struct viommu_virtq_state pos;

		viommu_virtq_disable_notify(&kit->vq);
		viommu_virtq_save(&kit->vq, &pos);
		kit_put(kit, KIT_DEVICE, 4, 0); /* memory from elsewhere */
		assert_int_equal(viommu_virtq_restore(&kit->vq, &pos), 0);
		viommu_virtq_disable_notify(&kit->vq);
		assert_int_equal(kit_get(kit, KIT_DEVICE, 4), packed ? 1u << 16 : 1);
		kit_destroy(kit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_checks_the_size),
		cmocka_unit_test(init_checks_the_areas),
		cmocka_unit_test(empty_ring_has_no_work),
		cmocka_unit_test(windows_last_a_turn),
		cmocka_unit_test(bad_indirect_tables),
		cmocka_unit_test(one_fault_a_table),
		cmocka_unit_test(indirect_needs_the_feature),
		cmocka_unit_test(no_table_inside_a_table),
		cmocka_unit_test(readable_after_writable),
		cmocka_unit_test(buffer_may_end_at_the_top),
		cmocka_unit_test(chain_of_2_32_bytes_is_the_longest),
		cmocka_unit_test(chain_max_buffers),
		cmocka_unit_test(chain_max_over_both_tables),
		cmocka_unit_test(chain_max_counts_empty_buffers),
		cmocka_unit_test(empty_buffers_are_left_out),
		cmocka_unit_test(too_many_for_the_caller),
		cmocka_unit_test(ring_out_of_reach_comes_back),
		cmocka_unit_test(interrupt_word_out_of_reach),
		cmocka_unit_test(table_spans_pieces),
		cmocka_unit_test(areas_span_pieces),
		cmocka_unit_test(words_cut_in_two),
		cmocka_unit_test(unpop_gives_back),
		cmocka_unit_test(push_needs_a_pop),
		cmocka_unit_test(restore_checks_the_position),
		cmocka_unit_test(restored_ring_goes_on),
		cmocka_unit_test(restore_forgets_notification),
	};

	return cmocka_run_group_tests_name("virtq device", tests, NULL, NULL);
}
