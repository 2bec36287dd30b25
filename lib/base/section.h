/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Sections: how a removal knows that no reader can still see what it took out.
 *
 * A reader opens a section before it looks and closes it when it no longer uses
 * what it found. A writer makes things unreachable, then waits until each
 * reader is outside or has opened a new section since. Readers never wait and
 * write nothing but their own word. A section is short and never sleeps, so the
 * wait is bounded by the scheduler. docs/decisions/sections.md has the figures
 * against the alternatives.
 */
#ifndef VIOMMU_LIB_SECTION_H
#define VIOMMU_LIB_SECTION_H

#include "base/atomic.h"
#include "base/compiler.h"

struct section {
	uint32_t count; /* odd: open. Written by the reader only */
};

static inline bool section_is_open(const struct section *s)
{
	return load_relaxed(&s->count) & 1; /* reader's own word, no pair */
}

static inline void section_open(struct section *s)
{
	store_relaxed(&s->count, s->count + 1);
	/* Pairs with section_fence(): either the writer sees the section open
	 * and waits, or what we load from here on is what the writer stored. */
	fence_full();
}

static inline void section_close(struct section *s)
{
	/* Pairs with the acquire in section_passed(): what we used is no longer
	 * in use when the writer sees the section closed and reuses it. */
	store_release(&s->count, s->count + 1);
}

/* The writer's half of section_open()'s fence: after making things unreachable,
 * before section_peek(). */
void section_fence(void);

/* What the word is now; 0: the reader is outside. */
static inline uint32_t section_peek(const struct section *s)
{
	/* Pairs with section_close(), see there. */
	uint32_t count = load_acquire(&s->count);

	return count & 1 ? count : 0;
}

/* Whether the section seen by section_peek() is over. */
static inline bool section_passed(const struct section *s, uint32_t seen)
{
	/* Pairs with section_close(), see there. */
	return !seen || load_acquire(&s->count) != seen;
}

/* Waits for it. Must not be called by the thread that has the section open. */
void section_wait_slow(const struct section *s, uint32_t seen);
static inline void section_wait(const struct section *s)
{
	uint32_t seen = section_peek(s);

	if (unlikely(seen))
		section_wait_slow(s, seen);
}

#endif
