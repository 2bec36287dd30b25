/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What one access costs a device: IOTLB hits, bypass, no IOMMU, against an array
 * of pages indexed with a bounds check, which is the least that can be done. */
#include <stdlib.h>

#include <viommu/dma.h>

#include "core_rig.h"

#define ROUNDS	  9u
#define OPS	  (1u << 20)
#define HOT	  64u	/* pages in use */
#define SEQUENCE  4096u /* accesses, in random order */
#define BASE	  0x10000000ull
#define LARGE	  0x4000000000ull
#define LARGE_LEN (1ull << 30)
#define STREAM	  0x8000000000ull
#define STREAM_NR 16384u /* pages */

struct bench {
	struct core_rig rig;
	struct viommu_dma *bare; /* no IOMMU */
	uint64_t near[SEQUENCE], wide[SEQUENCE], gpa[SEQUENCE];
	char *page[HOT];
};

static int setup(struct bench *b)
{
	int rc = core_rig_init(&b->rig);

	rc = rc ? rc
		: viommu_dma_create(NULL, b->rig.mem, &b->rig.alloc.ops, NULL, NULL,
				    &b->bare);
	for (unsigned i = 0; i < HOT && !rc; i++)
		rc = space_map(b->rig.space, 1, BASE + i * 4096ull,
			       BASE + i * 4096ull + 4095, i * 8192ull,
			       VIOMMU_READ | VIOMMU_WRITE);
	rc = rc ? rc
		: space_map(b->rig.space, 1, LARGE, LARGE + LARGE_LEN - 1, 1ull << 32,
			    VIOMMU_READ | VIOMMU_WRITE);
	for (unsigned i = 0; i < STREAM_NR && !rc; i++)
		rc = space_map(b->rig.space, 1, STREAM + i * 4096ull,
			       STREAM + i * 4096ull + 4095, (2ull << 32) + i * 4096ull,
			       VIOMMU_READ | VIOMMU_WRITE);
	for (unsigned i = 0; i < HOT; i++)
		b->page[i] = (char *)(i * 8192ul);
	for (unsigned i = 0; i < SEQUENCE; i++) {
		b->near[i] = BASE + random64() % (HOT * 4096ull);
		b->wide[i] = LARGE + random64() % LARGE_LEN;
		b->gpa[i] = random64() % LARGE_LEN;
	}
	return rc;
}

static void teardown(struct bench *b)
{
	viommu_dma_destroy(b->bare);
	core_rig_done(&b->rig);
}

static double array_index(const struct bench *b)
{
	uint64_t start = cpu_ns(), sum = 0;

	for (unsigned i = 0; i < OPS; i++) {
		uint64_t iova = b->near[i % SEQUENCE], index = (iova - BASE) >> 12;

		if (index >= HOT)
			abort();
		sum += (uintptr_t)(b->page[index] + (iova & 4095));
	}
	keep(sum);
	return (double)(cpu_ns() - start) / OPS;
}

static double translate(struct viommu_dma *dma, const uint64_t *iova)
{
	uint64_t start = cpu_ns(), sum = 0;
	struct viommu_span span;

	viommu_dma_begin(dma);
	for (unsigned i = 0; i < OPS; i++) {
		if (!viommu_dma_reach(dma, iova[i % SEQUENCE], 8, VIOMMU_READ, &span))
			sum += (uintptr_t)span.hva;
	}
	viommu_dma_end(dma);
	keep(sum);
	return (double)(cpu_ns() - start) / OPS;
}

static double translate_call(struct viommu_dma *dma, const uint64_t *iova)
{
	uint64_t start = cpu_ns(), sum = 0;
	struct viommu_span span;

	viommu_dma_begin(dma);
	for (unsigned i = 0; i < OPS; i++)
		if (!viommu_dma_translate(dma, iova[i % SEQUENCE], 8, VIOMMU_READ, &span))
			sum += (uintptr_t)span.hva;
	viommu_dma_end(dma);
	keep(sum);
	return (double)(cpu_ns() - start) / OPS;
}

static double translate_section(struct viommu_dma *dma, const uint64_t *iova)
{
	uint64_t start = cpu_ns(), sum = 0;
	struct viommu_span span;

	for (unsigned i = 0; i < OPS; i++) {
		viommu_dma_begin(dma);
		if (!viommu_dma_reach(dma, iova[i % SEQUENCE], 8, VIOMMU_READ, &span))
			sum += (uintptr_t)span.hva;
		viommu_dma_end(dma);
	}
	keep(sum);
	return (double)(cpu_ns() - start) / OPS;
}

static double sequential(struct viommu_dma *dma, double *hits)
{
	uint64_t start = cpu_ns(), sum = 0;
	struct viommu_dma_stats old, now;
	struct viommu_span span;
	double ns;

	viommu_dma_get_stats(dma, &old);
	viommu_dma_begin(dma);
	for (unsigned i = 0; i < STREAM_NR; i++)
		if (!viommu_dma_reach(dma, STREAM + i * 4096ull, 8, VIOMMU_READ, &span))
			sum += (uintptr_t)span.hva;
	viommu_dma_end(dma);
	keep(sum);
	ns = (double)(cpu_ns() - start) / STREAM_NR;
	viommu_dma_get_stats(dma, &now);
	*hits = (double)(now.hits - old.hits) / STREAM_NR;
	return ns;
}

static double bypass(struct bench *b)
{
	double ns;

	if (space_detach(b->rig.space, 1, 8))
		abort();
	space_set_bypass(b->rig.space, true);
	ns = translate(b->rig.dma, b->gpa);
	if (space_attach(b->rig.space, 1, 8, false))
		abort();
	return ns;
}

struct access_result measure_access(void)
{
	struct bench *b = calloc(1, sizeof(*b));
	double v[8][ROUNDS], hits = 0;
	struct access_result r;

	if (setup(b))
		abort();
	for (unsigned i = 0; i < ROUNDS; i++) {
		v[0][i] = array_index(b);
		v[1][i] = translate(b->rig.dma, b->near);
		v[2][i] = translate_section(b->rig.dma, b->near);
		v[3][i] = translate(b->rig.dma, b->wide);
		v[4][i] = translate(b->bare, b->gpa);
		v[6][i] = translate_call(b->rig.dma, b->near);
		v[7][i] = sequential(b->rig.dma, &hits);
	}
	for (unsigned i = 0; i < ROUNDS; i++)
		v[5][i] = bypass(b);
	r = (struct access_result){.array = median(v[0], ROUNDS),
				   .hit = median(v[1], ROUNDS),
				   .call = median(v[6], ROUNDS),
				   .hit_section = median(v[2], ROUNDS),
				   .large = median(v[3], ROUNDS),
				   .no_iommu = median(v[4], ROUNDS),
				   .bypass = median(v[5], ROUNDS),
				   .sequential = median(v[7], ROUNDS),
				   .sequential_hits = hits};
	teardown(b);
	free(b);
	return r;
}
