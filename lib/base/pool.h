/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Pools of objects of one size. Memory comes in chunks that double up to 2 MiB
 * and goes back when the pool is destroyed, so an address that held an object
 * of the pool always holds one (readers may look at dead objects). Taking and
 * giving never call the allocator; pool_reserve() does, ahead of time.
 *
 * One thread at a time.
 */
#ifndef VIOMMU_LIB_POOL_H
#define VIOMMU_LIB_POOL_H

#include <viommu/base.h>

#include "base/compiler.h"

#define POOL_CHUNK_MIN (16u << 10) /* bytes */
#define POOL_CHUNK_MAX (2u << 20)

struct pool_chunk;

struct pool {
	const struct viommu_alloc *alloc;
	uint32_t object_len; /* bytes, a multiple of align */
	uint32_t align;	     /* bytes, a power of two up to CACHE_LINE * 2 */
	uint32_t free_nr;    /* objects that can be taken without the allocator */
	uint32_t chunk_len;  /* bytes of the next chunk */
	void *free;	     /* given back, linked through their first word */
	char *fresh;	     /* never taken, zeroed, up to fresh_end */
	char *fresh_end;
	struct pool_chunk *chunks;
	uint64_t total_len; /* bytes taken from the allocator */
};

void pool_init(struct pool *p, const struct viommu_alloc *alloc, uint32_t object_len,
	       uint32_t align);
void pool_destroy(struct pool *p);

/* Makes sure that nr objects can be taken. 0, -ENOMEM. */
int pool_grow(struct pool *p, uint32_t nr);
static inline int pool_reserve(struct pool *p, uint32_t nr)
{
	return likely(p->free_nr >= nr) ? 0 : pool_grow(p, nr);
}

/* NULL when none is left. The first word of an object is overwritten while it
 * is in the pool; the rest stays as it was when it was given (zeroes at first). */
static inline void *pool_take(struct pool *p)
{
	void *object = p->free;

	if (likely(object)) {
		p->free = *(void **)object;
	} else {
		if (p->fresh == p->fresh_end)
			return NULL;
		object = p->fresh;
		p->fresh += p->object_len;
	}
	p->free_nr--;
	return object;
}

static inline void pool_give(struct pool *p, void *object)
{
	*(void **)object = p->free;
	p->free = object;
	p->free_nr++;
}

#endif
