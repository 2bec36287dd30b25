/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the hunts for stale translations share: pages that carry a tag, or poison. */
#ifndef TESTS_MODEL_SOAK_H
#define TESTS_MODEL_SOAK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_LEN   4096u
#define PAGE_WORDS (PAGE_LEN / 8)
#define IOVA_BASE  0x10000ull
#define GPA_BASE   (1ull << 32)
#define POISON	   0xdeaddeaddeaddeadull
#define WORDS	   16u /* of a page that are looked at: tag, then scratch */
#define SCRATCH	   8u  /* first word that readers write, one each */

static inline void stale(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "STALE: %s (%#llx, %#llx)\n", what, (unsigned long long)a,
		(unsigned long long)b);
	abort();
}

static inline uint64_t *words_of(uint64_t *ram, int page)
{
	return ram + (size_t)page * PAGE_WORDS;
}

static inline void poison_words(uint64_t *words)
{
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = POISON;
}

/* what: the complaint if somebody wrote there. */
static inline void check_poison_words(const uint64_t *words, const char *what, int page)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (words[i] != POISON)
			stale(what, (uint64_t)page, i);
}

/* A page that a reader reached at an address: the tag's low byte. */
static inline void check_tag(uint64_t tag, unsigned index)
{
	if (tag == POISON)
		stale("poison read", tag, index);
	if ((tag & 0xff) != index)
		stale("another address", tag, index);
}

#endif
