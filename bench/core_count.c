/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * bench_core_count OP COUNT: does one operation COUNT times in run_OP(), beside
 * 65536 mappings, for a tool that counts instructions (tools/bench-count). Without
 * arguments: lists the operations.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "core_rig.h"

#define MAPPINGS 65536u
/* Where there is no cloning there is nothing to switch off. */
#if __has_attribute(noclone)
#define noinline __attribute__((noinline, noclone))
#else
#define noinline __attribute__((noinline))
#endif

struct bench {
	struct core_rig rig;
	uint64_t *page; /* MAPPINGS mapped ones, then as many spare ones */
};

static noinline void run_map(struct bench *b, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		uint64_t iova = b->page[MAPPINGS + i];

		if (space_map(b->rig.space, 1, iova, iova + 4095, 0, VIOMMU_READ))
			abort();
	}
}

static noinline void run_unmap(struct bench *b, unsigned nr)
{
	unsigned removed;

	for (unsigned i = 0; i < nr; i++)
		space_unmap(b->rig.space, 1, b->page[i], b->page[i] + 4095, &removed);
}

/* As the device does for a batch of requests. */
static noinline void run_unmap_batch(struct bench *b, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		space_unmap_later(b->rig.space, 1, b->page[i], b->page[i] + 4095);
		if (i % 64 == 63)
			space_settle(b->rig.space);
	}
}

static noinline void run_lookup(struct bench *b, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (!tlb_fill(b->rig.dma, b->page[i], VIOMMU_READ))
			abort();
}

static noinline void run_hit(struct bench *b, unsigned nr)
{
	struct viommu_span span;

	for (unsigned i = 0; i < nr; i++)
		if (!viommu_dma_reach(b->rig.dma, b->page[0] + i % 4096, 1, 1, &span))
			keep((uintptr_t)span.hva);
}

static noinline void run_hit_call(struct bench *b, unsigned nr)
{
	struct viommu_span span;

	for (unsigned i = 0; i < nr; i++)
		if (!viommu_dma_translate(b->rig.dma, b->page[0] + i % 4096, 1, 1, &span))
			keep((uintptr_t)span.hva);
}

static noinline void run_section(struct bench *b, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		viommu_dma_end(b->rig.dma);
		viommu_dma_begin(b->rig.dma);
	}
}

static noinline void run_get_put(struct bench *b, unsigned nr)
{
	struct iovec iov;
	struct viommu_hold hold;
	struct viommu_sg sg = {&iov, 0, 1, &hold, 0, 1, 0};

	for (unsigned i = 0; i < nr; i++) {
		if (viommu_dma_get(b->rig.dma, b->page[0], 4096, 1, &sg))
			abort();
		viommu_dma_put(b->rig.dma, &sg);
	}
}

static noinline void run_sg16(struct bench *b, unsigned nr)
{
	struct iovec iov[16];

	for (unsigned i = 0; i < nr; i++)
		if (viommu_dma_sg(b->rig.dma, 1ull << 60, 65536, 1, iov, 16) != 16)
			abort();
}

static const struct {
	const char *name;
	void (*run)(struct bench *b, unsigned nr);
} ops[] = {
	{"map", run_map},	  {"unmap", run_unmap},
	{"lookup", run_lookup},	  {"unmap_batch", run_unmap_batch},
	{"hit", run_hit},	  {"hit_call", run_hit_call},
	{"section", run_section}, {"get_put", run_get_put},
	{"sg16", run_sg16},
};

static int setup(struct bench *b)
{
	int rc = core_rig_init(&b->rig);

	b->page = make_pages(RANDOM, 2 * MAPPINGS);
	for (unsigned i = 0; i < MAPPINGS && !rc; i++)
		rc = space_map(b->rig.space, 1, b->page[i], b->page[i] + 4095,
			       (uint64_t)i << 13, VIOMMU_READ);
	for (uint64_t i = 0; i < 16 && !rc; i++)
		rc = space_map(b->rig.space, 1, (1ull << 60) + (i << 12),
			       (1ull << 60) + (i << 12) + 4095, i << 13, VIOMMU_READ);
	return rc;
}

static int run(const char *name, unsigned nr)
{
	static struct bench b;

	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		if (strcmp(ops[i].name, name))
			continue;
		if (setup(&b))
			return 1;
		if (strncmp(name, "unmap", 5) && strcmp(name, "map"))
			viommu_dma_begin(b.rig.dma);
		ops[i].run(&b, nr);
		return 0;
	}
	fprintf(stderr, "bench_core_count: no operation `%s'\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	unsigned nr = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;

	if (argc > 1)
		return run(argv[1], nr < MAPPINGS ? nr : MAPPINGS);
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++)
		puts(ops[i].name);
	return 0;
}
