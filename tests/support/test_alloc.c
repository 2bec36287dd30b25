/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "test_alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lies before what is handed out, at the block's own alignment. */
struct block {
	size_t len, align;
	uint64_t magic;
};
#define BLOCK_MAGIC 0x616c6c6f63617465ull

static size_t head_len(size_t align)
{
	return align > sizeof(struct block)
		       ? align
		       : (sizeof(struct block) + align - 1) / align * align;
}

static void *count_alloc(void *opaque, size_t len, size_t align)
{
	struct test_alloc *ta = opaque;
	size_t head, total;
	char *base;
	struct block *b;

	ta->calls++;
	if (ta->watch)
		ta->watch(ta->watcher);
	if (ta->fail_nth &&
	    (ta->calls == ta->fail_nth || (ta->fail_after && ta->calls > ta->fail_nth)))
		return NULL;
	if (align < _Alignof(max_align_t))
		align = _Alignof(max_align_t);
	head = head_len(align);
	total = (head + len + align - 1) / align * align;
	base = aligned_alloc(align, total);
	if (!base)
		return NULL;
	memset(base, 0xa5, total); /* nobody may count on zeroes */
	b = (struct block *)(base + head - sizeof(*b));
	*b = (struct block){.len = len, .align = align, .magic = BLOCK_MAGIC};
	ta->live++;
	ta->live_len += len;
	return base + head;
}

static void count_free(void *opaque, void *p, size_t len)
{
	struct test_alloc *ta = opaque;
	struct block *b;
	size_t head;

	if (!p)
		return;
	b = (struct block *)((char *)p - sizeof(*b));
	if (b->magic != BLOCK_MAGIC || b->len != len) {
		fprintf(stderr, "free(%p, %zu): was allocated with %zu bytes\n", p, len,
			b->len);
		abort();
	}
	head = head_len(b->align);
	b->magic = 0;
	ta->live--;
	ta->live_len -= len;
	free((char *)p - head);
}

void test_alloc_init(struct test_alloc *ta)
{
	*ta = (struct test_alloc){.ops = {count_alloc, count_free, ta}};
}

void test_alloc_fail(struct test_alloc *ta, unsigned long nth)
{
	ta->calls = 0;
	ta->fail_nth = nth;
}
