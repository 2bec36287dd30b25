/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* DMA contexts: life, sections, counters. */
#include <string.h>

#include "base/err.h"
#include "dma/dma_context.h"

const struct viommu_mapping no_mapping;

/* What was served so far was served under the view that ends. */
static void close_counts(struct context *ctx, bool bypassing)
{
	uint64_t nr = *ctx->served - ctx->served_old;
	uint64_t *old = ctx->bypassing ? &ctx->bypassed_old : &ctx->hits_old;

	/* counters with one writer, no pairs */
	store_relaxed(old, *old + nr);
	store_relaxed(&ctx->served_old, *ctx->served);
	store_relaxed(&ctx->bypassing, bypassing);
}

/* Forgets every translation and takes up the view that is in force now. */
static void refresh(struct viommu_dma *dma)
{
	/* In this order; pairs with the releases of endpoint_set_view() and of
	 * the memory table's publish(), see there. */
	dma->space_epoch = load_acquire(&dma->ctx.space_epoch);
	dma->mem_epoch = load_acquire(&dma->ctx.mem_epoch);
	dma->attachment = load_acquire(&dma->ctx.attachment);
	dma->view = load_acquire(&dma->ctx.view);
	close_counts(&dma->ctx, dma->view->kind == VIEW_BYPASS);
	for (unsigned i = 0; i < TLB_PAGES; i++)
		dma->fast.entry[i].size = 0;
	for (unsigned i = 0; i < TLB_MIDS; i++)
		dma->mids[i].size = 0;
	for (unsigned i = 0; i < TLB_LARGES; i++)
		dma->larges[i].size = 0;
	if (dma->view->kind == VIEW_MAPPED) {
		dma->fast.shift = TLB_PAGE_LG2;
		dma->fast.mask = TLB_PAGES - 1;
	} else {
		dma->fast.shift = TLB_BYPASS_LG2;
		dma->fast.mask = TLB_BYPASSES - 1;
	}
}

static void init_tlb(struct viommu_dma *dma)
{
	for (unsigned i = 0; i < TLB_PAGES; i++)
		dma->fast.entry[i].generation_now = &no_mapping.generation;
	for (unsigned i = 0; i < TLB_MIDS; i++)
		dma->mids[i].generation_now = &no_mapping.generation;
	for (unsigned i = 0; i < TLB_LARGES; i++)
		dma->larges[i].generation_now = &no_mapping.generation;
	refresh(dma);
}

int viommu_dma_create(struct viommu_endpoint *ep, struct viommu_mem *mem,
		      const struct viommu_alloc *alloc, const struct viommu_dma_ops *ops,
		      void *opaque, struct viommu_dma **out)
{
	struct viommu_dma *dma = alloc->alloc(alloc->opaque, sizeof(*dma), CACHE_LINE);
	int rc;

	if (!dma)
		return err(ENOMEM, "no memory for a DMA context");
	memset(dma, 0, sizeof(*dma));
	dma->alloc = *alloc;
	dma->mem = mem;
	dma->ctx.ops = ops;
	dma->ctx.opaque = opaque;
	dma->ctx.served = &dma->fast.served;
	rc = context_join(&dma->ctx, ep);
	if (rc) {
		alloc->free(alloc->opaque, dma, sizeof(*dma));
		return rc;
	}
	list_add(&mem->contexts, &dma->in_mem);
	init_tlb(dma);
	*out = dma;
	return 0;
}

void viommu_dma_destroy(struct viommu_dma *dma)
{
	struct viommu_alloc alloc;

	if (!dma)
		return;
	context_leave(&dma->ctx);
	list_del(&dma->in_mem);
	alloc = dma->alloc;
	alloc.free(alloc.opaque, dma, sizeof(*dma));
}

void viommu_dma_begin(struct viommu_dma *dma)
{
	section_open(&dma->ctx.section);
	/* Pairs with the releases named in refresh(). */
	if (unlikely(load_acquire(&dma->ctx.space_epoch) != dma->space_epoch ||
		     load_acquire(&dma->ctx.mem_epoch) != dma->mem_epoch))
		refresh(dma);
}

static void mark_all(struct viommu_dma *dma)
{
	const struct mem_table *table = mem_table(dma->mem);

	for (uint32_t i = 0; i < table->nr; i++) {
		const struct mem_region *r = &table->region[i];

		if (r->dirty)
			mem_mark_pages(r->dirty, 0, (r->last - r->gpa) >> MEM_PAGE_LG2);
	}
	dma->dirty_all = false;
}

/* After the writes, before the section ends: the bitmap may be taken away then. */
static void mark_logged(struct viommu_dma *dma)
{
	for (uint32_t i = 0; i < dma->dirty_nr; i++)
		mem_mark_pages(dma->dirty_log[i].dirty, dma->dirty_log[i].first,
			       dma->dirty_log[i].last);
	dma->dirty_nr = 0;
	if (unlikely(dma->dirty_all))
		mark_all(dma);
}

void viommu_dma_end(struct viommu_dma *dma)
{
	if (unlikely(dma->dirty_nr))
		mark_logged(dma);
	section_close(&dma->ctx.section);
}

/* The log is full: covers more than was written. */
static void widen_log(struct viommu_dma *dma, const struct dirty_range *r)
{
	for (uint32_t i = 0; i < dma->dirty_nr; i++) {
		struct dirty_range *have = &dma->dirty_log[i];

		if (have->dirty != r->dirty)
			continue;
		have->first = have->first < r->first ? have->first : r->first;
		have->last = have->last > r->last ? have->last : r->last;
		return;
	}
	dma->dirty_all = true;
}

void dma_log_write(struct viommu_dma *dma, const struct viommu_dma_entry *e,
		   uint64_t iova, uint64_t len)
{
	uint64_t offset = e->gpa + (iova - e->iova) - entry_region(e)->gpa;
	struct dirty_range r = {entry_region(e)->dirty, offset >> MEM_PAGE_LG2,
				(offset + len - 1) >> MEM_PAGE_LG2};

	if (dma->dirty_nr == DIRTY_LOG_MAX)
		widen_log(dma, &r);
	else
		dma->dirty_log[dma->dirty_nr++] = r;
}

void viommu_dma_get_stats(const struct viommu_dma *dma, struct viommu_dma_stats *out)
{
	/* Counters with one writer, no pairs; but `held` pairs with the release that
	 * lets go of pages: at 0, all that was written is marked. */
	*out = (struct viommu_dma_stats){
		.hits = context_served(&dma->ctx, false),
		.misses = load_relaxed(&dma->ctx.misses),
		.bypassed = context_served(&dma->ctx, true),
		.faults = load_relaxed(&dma->faults),
		.no_memory = load_relaxed(&dma->no_memory),
		.held = load_acquire(&dma->held),
	};
}
