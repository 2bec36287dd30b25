/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* An allocator that counts, checks what free is given, and fails on demand. */
#ifndef TESTS_TEST_ALLOC_H
#define TESTS_TEST_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#include <viommu/base.h>

struct test_alloc {
	unsigned long calls;	     /* of alloc, since fail_nth was set */
	unsigned long fail_nth;	     /* 1: the next call fails; 0: none does */
	bool fail_after;	     /* and all later ones fail too */
	unsigned long live;	     /* allocations not freed */
	size_t live_len;	     /* their bytes */
	void (*watch)(void *opaque); /* told of each call of alloc; may be NULL */
	void *watcher;		     /* its opaque */
	struct viommu_alloc ops;
};

/* Ready for use; ops.opaque points at ta, which must not move. */
void test_alloc_init(struct test_alloc *ta);
/* The nth call of alloc from now on returns NULL. 0: none. */
void test_alloc_fail(struct test_alloc *ta, unsigned long nth);

#endif
