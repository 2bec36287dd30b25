/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What a context translates against a table of pages: mappings of one to four
 * pages that mostly go on from each other, with rights and memory regions that end
 * in between, so that what is cached is of several mappings, cut where it must be.
 */
#include "core_kit.h"

#include "dma/dma_context.h"

#define PAGE	  4096ull
#define IOVAS	  96u
#define RAM_PAGES ((unsigned)(CORE_RAM_LEN / PAGE))
#define IOVA_BASE 0x40000000ull
#define EP	  8u
#define DOMAIN	  1u
#define HOLDS	  8u

struct page {
	bool mapped;
	unsigned first, nr; /* of its mapping */
	unsigned ram;	    /* page of guest memory */
	unsigned perm;
};

static struct core_kit k;
static struct viommu_dma *dma;
static struct page table[IOVAS];
static struct rng rng;
static unsigned merged; /* translations of more than one mapping */

static uint64_t iova_of(unsigned i)
{
	return IOVA_BASE + i * PAGE;
}

/* Guest memory is two regions whose pages go on in the host's. */
static unsigned region_of(unsigned ram)
{
	return ram < RAM_PAGES / 2;
}

static void begin(uint64_t seed)
{
	const uint64_t half = CORE_RAM_LEN / 2;

	core_kit_init(&k, NULL);
	assert_int_equal(viommu_mem_remove(k.mem, CORE_RAM_GPA, CORE_RAM_LEN), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(viommu_mem_add(k.mem, CORE_RAM_GPA + i * half, half,
						k.ram + i * half, 0),
				 0);
	dma = core_kit_dma(&k, core_kit_endpoint(&k, EP), NULL, NULL);
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	memset(table, 0, sizeof(table));
	rng = rng_init(seed);
}

static void end(void)
{
	viommu_dma_destroy(dma);
	core_kit_done(&k);
}

static bool room(unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		if (i >= IOVAS || table[i].mapped)
			return false;
	return true;
}

/* Where memory goes on from that of a neighbour, or anywhere. */
static unsigned pick_ram(unsigned i, unsigned nr)
{
	if (i && table[i - 1].mapped && rng_chance(&rng, 80))
		return table[i - 1].ram + 1;
	if (i + nr < IOVAS && table[i + nr].mapped && table[i + nr].ram >= nr &&
	    rng_chance(&rng, 80))
		return table[i + nr].ram - nr;
	return (unsigned)rng_below(&rng, RAM_PAGES - 4);
}

static void map(void)
{
	unsigned i = (unsigned)rng_below(&rng, IOVAS);
	unsigned nr = 1 + (unsigned)rng_below(&rng, 4), ram = pick_ram(i, nr);
	unsigned perm = rng_chance(&rng, 80) ? CORE_RW : 1 + (unsigned)rng_below(&rng, 2);

	if (!room(i, nr) || ram + nr > RAM_PAGES)
		return;
	assert_int_equal(space_map(k.space, DOMAIN, iova_of(i), iova_of(i + nr) - 1,
				   CORE_RAM_GPA + ram * PAGE, perm),
			 0);
	for (unsigned j = 0; j < nr; j++)
		table[i + j] = (struct page){true, i, nr, ram + j, perm};
}

static void unmap_pages(unsigned first, unsigned last, int want)
{
	assert_int_equal(
		core_kit_unmap(&k, DOMAIN, iova_of(first), iova_of(last + 1) - 1), want);
	for (unsigned i = first; i <= last; i++)
		table[i].mapped = false;
}

/* One mapping, or all up to the end of another. */
static void unmap(void)
{
	unsigned i = (unsigned)rng_below(&rng, IOVAS);
	unsigned j = rng_chance(&rng, 80) ? i : (unsigned)rng_below(&rng, IOVAS);

	if (j >= i && table[i].mapped && table[j].mapped)
		unmap_pages(table[i].first, table[j].first + table[j].nr - 1, 0);
}

/* A translation reaches what the table says: at least what its mapping has in the
 * region, and nothing that the table has otherwise. */
static void check_span(unsigned i, uint64_t offset, uint64_t len, unsigned perm,
		       const struct viommu_span *span)
{
	unsigned mapping_end = table[i].first + table[i].nr;
	unsigned last = i + (unsigned)((offset + span->len - 1) / PAGE);
	uint64_t least = -offset;

	for (unsigned j = i; j < mapping_end; j++)
		if (region_of(table[j].ram) == region_of(table[i].ram))
			least += PAGE;
	assert_true(span->len <= len);
	assert_true(span->len >= (len < least ? len : least));
	assert_ptr_equal(span->hva, k.ram + table[i].ram * PAGE + offset);
	for (unsigned j = i; j <= last; j++) {
		assert_true(j < IOVAS && table[j].mapped);
		assert_int_equal(table[j].ram - table[i].ram, j - i);
		assert_int_equal(table[j].perm & perm, perm);
		assert_int_equal(region_of(table[j].ram), region_of(table[i].ram));
	}
	merged += last >= mapping_end;
}

static void translate(void)
{
	unsigned i = (unsigned)rng_below(&rng, IOVAS);
	unsigned perm = 1 + (unsigned)rng_below(&rng, 3);
	uint64_t offset = rng_below(&rng, PAGE), len = 1 + rng_below(&rng, 20 * PAGE);
	bool allowed = table[i].mapped && (table[i].perm & perm) == perm;
	struct viommu_span span;
	int rc;

	viommu_dma_begin(dma);
	rc = viommu_dma_reach(dma, iova_of(i) + offset, len, perm, &span);
	viommu_dma_end(dma);
	assert_int_equal(rc, allowed ? 0 : -EFAULT);
	if (allowed)
		check_span(i, offset, len, perm, &span);
}

/* Pages are held mapping by mapping, whatever is cached: the UNMAP of a held one
 * waits, that of its neighbour does not. */
static void hold(void)
{
	unsigned i = (unsigned)rng_below(&rng, IOVAS), other;
	struct viommu_hold holds[HOLDS];
	struct iovec iov[HOLDS];
	struct viommu_sg sg = {iov, 0, HOLDS, holds, 0, HOLDS, 0};

	if (!table[i].mapped || !(table[i].perm & VIOMMU_READ))
		return;
	assert_int_equal(viommu_dma_get(dma, iova_of(i), PAGE, VIOMMU_READ, &sg), 0);
	assert_int_equal(sg.hold_nr, 1);
	other = table[i].first + table[i].nr;
	if (other < IOVAS && table[other].mapped)
		unmap_pages(other, other + table[other].nr - 1, 0);
	unmap_pages(table[i].first, other - 1, -EINPROGRESS);
	viommu_dma_put(dma, &sg);
	assert_false(space_pending(k.space));
}

static void random_operations(void **state)
{
	(void)state;
	begin(test_seed());
	for (unsigned n = 0; n < 100000; n++) {
		unsigned what = (unsigned)rng_below(&rng, 100);

		if (what < 30)
			map();
		else if (what < 40)
			unmap();
		else if (what < 42)
			hold();
		else
			translate();
	}
	assert_true(merged > 1000); /* else this tests nothing */
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
