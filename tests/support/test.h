/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * For every test: cmocka with what it needs, and random numbers from a seed that
 * is printed, so that a failure can be run again (VIOMMU_SEED=...).
 */
#ifndef VIOMMU_TESTS_TEST_H
#define VIOMMU_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct rng {
	uint64_t state; /* never 0 */
};

/* The seed of this run: from the environment, else from the clock; printed. */
static inline uint64_t test_seed(void)
{
	const char *given = getenv("VIOMMU_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given ? strtoull(given, NULL, 0)
		     : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
	printf("VIOMMU_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

static inline struct rng rng_init(uint64_t seed)
{
	return (struct rng){seed * 0x9e3779b97f4a7c15u | 1};
}

/* xorshift64* */
static inline uint64_t rng_next(struct rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 0x2545f4914f6cdd1du;
}

/* 0 .. n - 1 */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return (rng_next(r) >> 16) % n;
}

static inline bool rng_chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

#endif
