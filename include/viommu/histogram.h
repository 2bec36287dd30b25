/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/histogram.h - how often a number had which value, to within a quarter.
 *
 * Buckets are log-linear: one a value below 8, then four for every power of two.
 * Adding costs a few instructions and nothing is allocated; whoever adds owns the
 * histogram, others get copies of it.
 *
 * Threads: one at a time.
 */
#ifndef VIOMMU_HISTOGRAM_H
#define VIOMMU_HISTOGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The last bucket also takes what is larger: 2^37 ns are 137 s. */
#define VIOMMU_HISTOGRAM_BUCKETS 144

struct viommu_histogram {
	uint64_t nr;				   /* values */
	uint64_t sum, max;			   /* of the values, exact */
	uint64_t bucket[VIOMMU_HISTOGRAM_BUCKETS]; /* values */
};

/* The bucket of a value. */
static inline unsigned viommu_histogram_bucket(uint64_t value)
{
	unsigned lg2, i;

	if (value < 4)
		return (unsigned)value;
	lg2 = 63 - (unsigned)__builtin_clzll(value);
	i = (lg2 - 1) * 4 + (unsigned)((value >> (lg2 - 2)) & 3);
	return i < VIOMMU_HISTOGRAM_BUCKETS ? i : VIOMMU_HISTOGRAM_BUCKETS - 1;
}

/* The smallest value of a bucket; the next one's less one is its largest. */
static inline uint64_t viommu_histogram_first(unsigned bucket)
{
	if (bucket < 4)
		return bucket;
	return (uint64_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

/* Adds `value` as if it had come `nr` times. */
static inline void viommu_histogram_add(struct viommu_histogram *h, uint64_t value,
					uint64_t nr)
{
	h->nr += nr;
	h->sum += value * nr;
	if (value > h->max)
		h->max = value;
	h->bucket[viommu_histogram_bucket(value)] += nr;
}

/* What `permille` of 1000 values are not above (500: the median), to within the
 * width of its bucket; 0 without values. */
static inline uint64_t viommu_histogram_at(const struct viommu_histogram *h,
					   unsigned permille)
{
	uint64_t left = h->nr / 1000 * permille + (h->nr % 1000 * permille + 999) / 1000;
	unsigned i;

	for (i = 0; i + 1 < VIOMMU_HISTOGRAM_BUCKETS; i++) {
		if (h->bucket[i] && h->bucket[i] >= left)
			break;
		left -= h->bucket[i];
	}
	if (i + 1 == VIOMMU_HISTOGRAM_BUCKETS || h->max < viommu_histogram_first(i + 1))
		return h->max;
	return viommu_histogram_first(i + 1) - 1;
}

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_HISTOGRAM_H */
