/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The allocator is not called between the arrival of a request and the publication
 * of its reply, however the mappings grow: through a ring, SPACE_RESERVE requests at
 * a time. When it has no memory, requests live on the reserve, then they are
 * answered NOMEM, and all goes on when there is memory again.
 */
#include "device_kit.h"

#include "base/errno.h"
#include "domain/domain.h"
#include "domain/range_tree.h"

#define ENDPOINT 1u
#define DOMAIN	 1u

struct fixture {
	struct device_kit kit;
	struct kit_ring ring;
	struct rng rng;
	struct kit_transfer t[SPACE_RESERVE];
	bool arrived;		   /* requests were shown to the device */
	unsigned in_path, between; /* calls of the allocator */
};

static void watch(void *opaque)
{
	struct fixture *f = opaque;

	if (f->arrived && !drvq_has_used(&f->ring.q))
		f->in_path++;
	else
		f->between++;
}

static void give_ring(struct fixture *f)
{
	kit_ring_init(&f->ring, &f->kit, VIOMMU_QUEUE_REQUEST,
		      (struct kit_ring_kind){.size = 128});
	f->kit.ta.watcher = f;
	f->kit.ta.watch = watch;
}

static void start(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	device_kit_init(&f->kit, NULL);
	f->rng = rng_init(test_seed());
	device_kit_endpoint(&f->kit, ENDPOINT, NULL, 0);
	assert_int_equal(kit_attach(&f->kit, DOMAIN, ENDPOINT, 0), 0);
	give_ring(f);
}

static void finish(struct fixture *f)
{
	kit_ring_done(&f->ring, &f->kit, VIOMMU_QUEUE_REQUEST);
	device_kit_done(&f->kit);
}

static void add(struct fixture *f, unsigned i, uint8_t type, uint64_t page)
{
	struct proto_request req = {.type = type,
				    .domain = DOMAIN,
				    .start = page << 12,
				    .last = (page << 12) + 0xfff,
				    .flags = VIRTIO_IOMMU_MAP_F_READ};

	if (type == VIRTIO_IOMMU_T_UNMAP)
		req.flags = 0;
	f->t[i] = (struct kit_transfer){.out_len = PROTO_TAIL_LEN};
	f->t[i].in_len = proto_encode_request(f->t[i].in, &req);
	assert_int_equal(kit_ring_add(&f->ring, &f->t[i], &f->rng, 1), 0);
}

/* The device answers the nr that were added, at once. Returns how many were answered
 * NOMEM, which are the last ones. */
static unsigned serve(struct fixture *f, unsigned nr)
{
	unsigned refused = 0;

	drvq_publish(&f->ring.q);
	f->arrived = true;
	(void)viommu_device_process(f->kit.dev, SPACE_RESERVE);
	f->arrived = false;
	assert_int_equal(kit_ring_collect(&f->ring), nr);
	for (unsigned i = 0; i < nr; i++) {
		int r = proto_decode_tail(f->t[i].out);

		assert_int_equal(f->t[i].used, PROTO_TAIL_LEN);
		if (r)
			assert_int_equal(r, -ENOMEM);
		else
			assert_int_equal(refused, 0);
		refused += r != 0;
	}
	return refused;
}

/* Where the nth mapping goes. */
typedef uint64_t (*pattern)(struct fixture *f, uint64_t nth);

static uint64_t rising(struct fixture *f, uint64_t nth)
{
	(void)f;
	return nth * 2;
}

static uint64_t falling(struct fixture *f, uint64_t nth)
{
	(void)f;
	return (1ull << 30) - nth;
}

static uint64_t anywhere(struct fixture *f, uint64_t nth)
{
	/* no page twice: the lower bits count */
	return rng_below(&f->rng, 1 << 20) << 20 | nth;
}

/* Into full leaves, each under another full node: after rising ones. */
#define FULL	  (32u << 10)
#define LEAF_STEP (31u * 15u * 2u)
static uint64_t into_full(struct fixture *f, uint64_t nth)
{
	if (nth < FULL)
		return rising(f, nth);
	nth -= FULL;
	return 1 + (nth * LEAF_STEP) % (2 * FULL) + nth * LEAF_STEP / (2 * FULL) * 30;
}

static void grow(struct fixture *f, pattern page, uint64_t nr)
{
	for (uint64_t n = 0; n < nr; n += SPACE_RESERVE) {
		for (unsigned i = 0; i < SPACE_RESERVE; i++)
			add(f, i, VIRTIO_IOMMU_T_MAP, page(f, n + i));
		assert_int_equal(serve(f, SPACE_RESERVE), 0);
	}
	assert_int_equal(kit_mappings_nr(&f->kit), nr);
}

/* in_section: a reader is in a section all the while, so that nothing that MAPs
 * replace comes back. */
static void grow_in(pattern page, bool in_section, uint64_t nr)
{
	struct fixture f;
	struct viommu_mem *mem;
	struct viommu_dma *dma;
	struct viommu_endpoint *ep;

	start(&f);
	ep = device_kit_endpoint(&f.kit, 2, NULL, 0);
	assert_int_equal(kit_attach(&f.kit, DOMAIN, 2, 0), 0);
	assert_int_equal(viommu_mem_create(&f.kit.ta.ops, &mem), 0);
	assert_int_equal(viommu_dma_create(ep, mem, &f.kit.ta.ops, NULL, NULL, &dma), 0);
	f.between = 0;
	if (in_section)
		viommu_dma_begin(dma);
	grow(&f, page, nr);
	if (in_section)
		viommu_dma_end(dma);
	assert_true(f.between > 3); /* it did grow */
	assert_int_equal(f.in_path, 0);
	viommu_dma_destroy(dma);
	viommu_mem_destroy(mem);
	finish(&f);
}

static void growing_maps(void **state)
{
	(void)state;
	for (int in_section = 0; in_section < 2; in_section++) {
		grow_in(rising, in_section, 48u << 10);
		grow_in(falling, in_section, 48u << 10);
		grow_in(anywhere, in_section, 48u << 10);
		grow_in(into_full, in_section, FULL + 4096);
	}
}

/* UNMAPs need none at all, also of what leaves holes everywhere. */
static void unmaps_and_maps(void **state)
{
	struct fixture f;
	uint64_t nr = 16u << 10;

	(void)state;
	start(&f);
	for (uint64_t n = 0; n < nr; n += SPACE_RESERVE / 2) {
		for (unsigned i = 0; i < SPACE_RESERVE; i++) {
			uint64_t page = rng_below(&f.rng, nr);

			/* NOENT and INVAL are no answers of the allocator's */
			add(&f, i, i % 2 ? VIRTIO_IOMMU_T_UNMAP : VIRTIO_IOMMU_T_MAP,
			    page);
		}
		drvq_publish(&f.ring.q);
		f.arrived = true;
		(void)viommu_device_process(f.kit.dev, SPACE_RESERVE);
		f.arrived = false;
		assert_int_equal(kit_ring_collect(&f.ring), SPACE_RESERVE);
	}
	assert_int_equal(f.in_path, 0);
	finish(&f);
}

/* Nor do the first requests of a device that was restored. */
static void after_restore(void **state)
{
	struct fixture f;
	struct kit_blob blob;

	(void)state;
	start(&f);
	grow(&f, rising, 15 * SPACE_RESERVE); /* nearly a chunk of mappings */
	blob = device_kit_save(&f.kit);
	kit_ring_done(&f.ring, &f.kit, VIOMMU_QUEUE_REQUEST);
	viommu_device_destroy(f.kit.dev);
	assert_int_equal(device_kit_create(&f.kit, NULL), 0);
	device_kit_endpoint(&f.kit, ENDPOINT, NULL, 0);
	assert_int_equal(viommu_device_restore(f.kit.dev, blob.bytes, blob.len), 0);
	free(blob.bytes);
	give_ring(&f);
	for (unsigned i = 0; i < SPACE_RESERVE; i++)
		add(&f, i, VIRTIO_IOMMU_T_MAP, (1 << 20) + i * 64);
	assert_int_equal(serve(&f, SPACE_RESERVE), 0);
	assert_int_equal(f.in_path, 0);
	finish(&f);
}

/* One allocation fails, any: no request does. Who needs it meanwhile tries again. */
static void each_refill_fails(void **state)
{
	unsigned long nth = 0, calls;

	(void)state;
	do {
		struct fixture f;

		start(&f);
		test_alloc_fail(&f.kit.ta, ++nth);
		grow(&f, anywhere, 8u << 10);
		calls = f.kit.ta.calls;
		finish(&f);
	} while (calls >= nth);
	assert_true(nth > 6);
}

/* All of them fail from some time on. */
static void memory_runs_out(void **state)
{
	uint64_t before, n = 0;
	struct fixture f;
	unsigned refused;

	(void)state;
	start(&f);
	grow(&f, anywhere, 4096);
	f.kit.ta.fail_after = true;
	test_alloc_fail(&f.kit.ta, 1);
	before = kit_mappings_nr(&f.kit);
	do {
		for (unsigned i = 0; i < SPACE_RESERVE; i++)
			add(&f, i, VIRTIO_IOMMU_T_MAP, anywhere(&f, (1 << 19) + n++));
		refused = serve(&f, SPACE_RESERVE);
	} while (!refused);
	/* the reserve was there */
	assert_true(n > 2 * SPACE_RESERVE);
	assert_int_equal(kit_mappings_nr(&f.kit), before + n - refused);
	/* What is there can be removed, and room that is given back be used. */
	add(&f, 0, VIRTIO_IOMMU_T_UNMAP, 1ull << 50);
	assert_int_equal(serve(&f, 1), 0);
	test_alloc_fail(&f.kit.ta, 0);
	f.in_path = 0;
	add(&f, 0, VIRTIO_IOMMU_T_MAP, 1ull << 50);
	assert_int_equal(serve(&f, 1), 0);
	for (unsigned i = 0; i < SPACE_RESERVE; i++)
		add(&f, i, VIRTIO_IOMMU_T_MAP, anywhere(&f, (1 << 19) + n++));
	assert_int_equal(serve(&f, SPACE_RESERVE), 0);
	finish(&f);
}

/* ---- what the reserve of nodes is made of ---- */

static void insert(struct range_tree *t, uint64_t page)
{
	assert_int_equal(range_tree_insert(t, page, page, t), 0);
}

/* Insertions into leaves that are full, each below another node that is nearly full,
 * nothing settled: the most that as many of them take. */
static unsigned most_inners(struct range_tree *t, uint64_t full)
{
	const uint64_t step = 2 * RANGE_LEAF_MAX * (RANGE_INNER_MAX - 1);
	unsigned most = 0, nr = 0;
	uint32_t before = 0;

	for (uint64_t first = 1; first < 8 * RANGE_LEAF_MAX; first += 2 * RANGE_LEAF_MAX)
		for (uint64_t page = first; page < 2 * full; page += step) {
			if (!(nr++ % SPACE_RESERVE)) {
				range_tree_settle(t);
				assert_int_equal(range_pools_refill(t->pools, 1000), 0);
				before = t->pools->inner.free_nr;
			}
			insert(t, page);
			if (before - t->pools->inner.free_nr > most)
				most = before - t->pools->inner.free_nr;
		}
	range_tree_settle(t);
	return most;
}

static void series_of_insertions(void **state)
{
	const uint64_t full = 128u << 10;
	struct range_pools pools;
	struct range_tree t = {.pools = &pools};
	struct test_alloc ta;
	unsigned most;

	(void)state;
	test_alloc_init(&ta);
	range_pools_init(&pools, &ta.ops);
	for (uint64_t n = 0; n < full; n++) {
		assert_int_equal(range_pools_reserve(&pools), 0);
		insert(&t, 2 * n);
		range_tree_settle(&t);
	}
	most = most_inners(&t, full);
	assert_in_range(most, 2 * SPACE_RESERVE,
			RANGE_INSERT_INNERS + RANGE_SERIES_INNERS * SPACE_RESERVE);
	range_pools_destroy(&pools);
	assert_int_equal(ta.live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(growing_maps),	   cmocka_unit_test(unmaps_and_maps),
		cmocka_unit_test(after_restore),   cmocka_unit_test(each_refill_fails),
		cmocka_unit_test(memory_runs_out), cmocka_unit_test(series_of_insertions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
