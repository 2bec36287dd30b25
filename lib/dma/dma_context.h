/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Inside lib/dma: a DMA context and its cache of translations (IOTLB). */
#ifndef VIOMMU_LIB_DMA_CONTEXT_H
#define VIOMMU_LIB_DMA_CONTEXT_H

#include <viommu/dma.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "dma/mem_table.h"
#include "domain/context.h"

/*
 * A cached translation, struct viommu_dma_entry, is a piece of one mapping that
 * lies in one memory region, whole, or of several mappings of one leaf that go on
 * from each other in both address spaces. Good while the mapping's generation, or
 * the leaf's, is what it was; the context's epochs, compared when a section opens, cover
 * everything else (attachment, bypass, memory table). An address-space tag, when there
 * are several spaces an endpoint, joins `iova` in the comparison. perm has no WRITE where
 * writes are tracked; region is good while the epoch lasts.
 */

/* Small pieces by page; pieces that are larger than a page by the 64 KiB too that
 * they were reached in, from where the pages are served; pieces of 2 MiB and more
 * by the 2 MiB. In bypass the first table alone is used, by the GiB. */
#define TLB_PAGES      VIOMMU_DMA_ENTRIES
#define TLB_PAGE_LG2   12u
#define TLB_MIDS       64u
#define TLB_MID_LG2    16u
#define TLB_LARGES     64u
#define TLB_LARGE_LG2  21u
#define TLB_BYPASSES   8u
#define TLB_BYPASS_LG2 30u

/* Writes in the open section to pages that are tracked; marked at its end. */
#define DIRTY_LOG_MAX 32u
struct dirty_range {
	uint64_t *dirty;
	uint64_t first, last; /* pages, for mem_mark_pages() */
};

struct viommu_dma {
	struct viommu_dma_fast fast cache_aligned; /* first: viommu_dma_reach() */
	struct viommu_dma_entry mids[TLB_MIDS];
	struct viommu_dma_entry larges[TLB_LARGES];
	struct viommu_dma_entry scratch; /* what must not be cached */
	struct context ctx;

	/* The context's thread only. */
	uint32_t space_epoch, mem_epoch; /* seen last */
	uint32_t attachment;
	uint32_t dirty_nr;
	bool dirty_all; /* more than the log can tell */
	const struct view *view;
	struct viommu_mem *mem;
	uint64_t faults, no_memory, held; /* as in struct viommu_dma_stats */
	struct dirty_range dirty_log[DIRTY_LOG_MAX];

	/* Written by the context's thread, read by the memory table's. */
	uint32_t region_held[LIMIT_MEM_REGIONS]; /* holds, by slot */

	/* Control side. */
	struct viommu_alloc alloc;
	struct list in_mem;
};

/* Of viommu_dma_entry.perm: several mappings; the generation is a leaf's. */
#define ENTRY_MERGED (1u << 31)

/* The mapping of addresses that are not translated; never removed. */
extern const struct viommu_mapping no_mapping;

/* Not of a merged entry. NULL in bypass and without an IOMMU. */
static inline struct viommu_mapping *entry_mapping(const struct viommu_dma_entry *e)
{
	if (e->generation_now == &no_mapping.generation)
		return NULL;
	return (struct viommu_mapping *)container_of(e->generation_now,
						     struct viommu_mapping, generation);
}

static inline const struct mem_region *entry_region(const struct viommu_dma_entry *e)
{
	return e->region;
}

static inline bool tlb_hit(const struct viommu_dma_entry *e, uint64_t iova, unsigned perm)
{
	/* Relaxed: when the mapping was removed before this section opened, the
	 * fence in section_open() makes its new generation visible; when it is
	 * being removed now, the removal waits for this section. */
	return iova - e->iova < e->size && !(perm & ~e->perm) &&
	       load_relaxed(e->generation_now) == e->generation;
}

static inline void count(uint64_t *counter)
{
	store_relaxed(counter, *counter + 1); /* one writer, no pair */
}

/* Finds what iova maps to and caches it. The entry is good until the next call.
 * NULL: blocked or no memory, recorded. */
const struct viommu_dma_entry *tlb_fill(struct viommu_dma *dma, uint64_t iova,
					unsigned perm);

/* The same when it is not in the first or the last table. */
const struct viommu_dma_entry *tlb_reach_slow(struct viommu_dma *dma, uint64_t iova,
					      unsigned perm);
/* The same; the entry is of one mapping, which the caller means to hold. */
const struct viommu_dma_entry *tlb_reach_one(struct viommu_dma *dma, uint64_t iova,
					     unsigned perm);

/* Inside a section. */
static inline const struct viommu_dma_entry *tlb_reach(struct viommu_dma *dma,
						       uint64_t iova, unsigned perm)
{
	const struct viommu_dma_entry *e =
		&dma->fast.entry[(iova >> dma->fast.shift) & dma->fast.mask];

	if (unlikely(!tlb_hit(e, iova, perm))) {
		e = &dma->larges[(iova >> TLB_LARGE_LG2) & (TLB_LARGES - 1)];
		if (!tlb_hit(e, iova, perm))
			return tlb_reach_slow(dma, iova, perm);
	}
	count(&dma->fast.served);
	return e;
}

/* A blocked access. */
void dma_blocked(struct viommu_dma *dma, uint64_t iova, unsigned perm);

/* A write of len bytes to what e maps iova to, when writes to it are tracked. */
void dma_log_write(struct viommu_dma *dma, const struct viommu_dma_entry *e,
		   uint64_t iova, uint64_t len);
static inline void dma_wrote(struct viommu_dma *dma, const struct viommu_dma_entry *e,
			     uint64_t iova, uint64_t len, unsigned perm)
{
	/* What is tracked is not cached for writing, so that a hit costs no look. */
	if (unlikely(e == &dma->scratch) && (perm & VIOMMU_WRITE) &&
	    entry_region(e)->dirty)
		dma_log_write(dma, e, iova, len);
}

/* Opens a section unless one is open; whether it did. */
static inline bool dma_enter(struct viommu_dma *dma)
{
	if (section_is_open(&dma->ctx.section))
		return false;
	viommu_dma_begin(dma);
	return true;
}

static inline void dma_exit(struct viommu_dma *dma, bool entered)
{
	if (entered)
		viommu_dma_end(dma);
}

/* iova + len may reach the end of the space, not go past it. */
static inline bool wraps(uint64_t iova, uint64_t len)
{
	return len && iova > UINT64_MAX - (len - 1);
}

#endif
