/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "base/pool.h"

#include <string.h>

#include "base/err.h"

/* At the start of each chunk; objects follow at the pool's alignment. */
struct pool_chunk {
	struct pool_chunk *next;
	size_t len; /* bytes, header included */
};

#define CHUNK_ALIGN (2 * CACHE_LINE)

void pool_init(struct pool *p, const struct viommu_alloc *alloc, uint32_t object_len,
	       uint32_t align)
{
	memset(p, 0, sizeof(*p));
	p->alloc = alloc;
	p->align = align;
	p->object_len = (object_len + align - 1) & ~(align - 1);
	p->chunk_len = POOL_CHUNK_MIN;
}

void pool_destroy(struct pool *p)
{
	while (p->chunks) {
		struct pool_chunk *chunk = p->chunks;

		p->chunks = chunk->next;
		p->alloc->free(p->alloc->opaque, chunk, chunk->len);
	}
	pool_init(p, p->alloc, p->object_len, p->align);
}

/* What is left of the fresh objects goes to the free ones: one run at a time. */
static void retire_fresh(struct pool *p)
{
	while (p->fresh != p->fresh_end) {
		char *object = p->fresh;

		p->fresh += p->object_len;
		*(void **)object = p->free;
		p->free = object;
	}
}

/* The largest chunks are aligned to their size, so that an embedder's allocator
 * can back them with huge pages. */
static int add_chunk(struct pool *p)
{
	size_t len = p->chunk_len;
	size_t head = CHUNK_ALIGN > p->align ? CHUNK_ALIGN : p->align;
	size_t nr = (len - head) / p->object_len;
	struct pool_chunk *chunk;

	chunk = p->alloc->alloc(p->alloc->opaque, len,
				len == POOL_CHUNK_MAX ? len : CHUNK_ALIGN);
	if (!chunk)
		return err(ENOMEM, "no memory for a pool");
	memset(chunk, 0, len);
	chunk->len = len;
	chunk->next = p->chunks;
	p->chunks = chunk;
	p->total_len += len;
	retire_fresh(p);
	p->fresh = (char *)chunk + head;
	p->fresh_end = p->fresh + nr * p->object_len;
	p->free_nr += (uint32_t)nr;
	if (p->chunk_len < POOL_CHUNK_MAX)
		p->chunk_len *= 2;
	return 0;
}

int pool_grow(struct pool *p, uint32_t nr)
{
	while (p->free_nr < nr) {
		int rc = add_chunk(p);

		if (rc)
			return rc;
	}
	return 0;
}
