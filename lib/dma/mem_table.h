/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Inside lib/dma: the guest-memory table as readers see it. */
#ifndef VIOMMU_LIB_MEM_TABLE_H
#define VIOMMU_LIB_MEM_TABLE_H

#include <viommu/mem.h>

#include "base/atomic.h"
#include "base/limits.h"
#include "base/list.h"

#define MEM_PAGE_LG2 12u /* of dirty bitmaps */

struct mem_region {
	uint64_t gpa, last;
	uint8_t *hva;	 /* NULL: out of reach */
	uint64_t *dirty; /* bit per page, the caller's; NULL: not tracked */
	uint32_t flags;	 /* VIOMMU_MEM_* */
	uint32_t slot;	 /* stays the same in later tables; index of hold counts */
};

/* Never changes once published: replaced as a whole. */
struct mem_table {
	uint32_t nr, room;
	struct mem_region region[]; /* sorted by gpa */
};

/* A slot's region was removed and may still be held. */
struct mem_leaving {
	uint64_t gpa, len; /* len 0: none */
};

struct viommu_mem {
	struct viommu_alloc alloc;
	struct mem_table *table;		/* published; never NULL */
	struct list contexts;			/* struct viommu_dma */
	uint64_t slots[LIMIT_MEM_REGIONS / 64]; /* taken */
	struct mem_leaving leaving[LIMIT_MEM_REGIONS];
	bool tracked; /* a region has a bitmap; read by contexts */
};

static inline const struct mem_table *mem_table(const struct viommu_mem *mem)
{
	/* Pairs with the release that publishes a table: its contents are there. */
	return load_acquire(&mem->table);
}

/* The region that contains gpa; NULL: none. */
const struct mem_region *mem_find(const struct mem_table *table, uint64_t gpa);

/* Sets the bits of pages first .. last. */
void mem_mark_pages(uint64_t *dirty, uint64_t first, uint64_t last);

#endif
