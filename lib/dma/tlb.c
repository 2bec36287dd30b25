/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Misses of the IOTLB, and accesses that go nowhere. */
#include <viommu/proto.h>

#include "base/err.h"
#include "base/probe.h"
#include "dma/dma_context.h"

static uint32_t fault_flags(unsigned perm)
{
	return (perm & VIOMMU_READ ? VIRTIO_IOMMU_FAULT_F_READ : 0) |
	       (perm & VIOMMU_WRITE ? VIRTIO_IOMMU_FAULT_F_WRITE : 0) |
	       VIRTIO_IOMMU_FAULT_F_ADDRESS;
}

static void no_memory(struct viommu_dma *dma, uint64_t iova, unsigned perm)
{
	count(&dma->no_memory);
	context_fault(&dma->ctx, VIRTIO_IOMMU_FAULT_R_UNKNOWN, fault_flags(perm), iova);
}

void dma_blocked(struct viommu_dma *dma, uint64_t iova, unsigned perm)
{
	if (dma->view->kind == VIEW_BYPASS) {
		no_memory(dma, iova, perm);
		return;
	}
	count(&dma->faults);
	context_fault(&dma->ctx,
		      dma->view->kind == VIEW_BLOCKED ? VIRTIO_IOMMU_FAULT_R_DOMAIN
						      : VIRTIO_IOMMU_FAULT_R_MAPPING,
		      fault_flags(perm), iova);
}

static struct viommu_dma_entry *page_slot(struct viommu_dma *dma, uint64_t iova)
{
	return &dma->fast.entry[(iova >> dma->fast.shift) & dma->fast.mask];
}

static struct viommu_dma_entry *mid_slot(struct viommu_dma *dma, uint64_t iova)
{
	return &dma->mids[(iova >> TLB_MID_LG2) & (TLB_MIDS - 1)];
}

static struct viommu_dma_entry *large_slot(struct viommu_dma *dma, uint64_t iova)
{
	return &dma->larges[(iova >> TLB_LARGE_LG2) & (TLB_LARGES - 1)];
}

/* ---- several mappings as one ---- */

/* Whether b goes on where a ends, in both address spaces and with its rights. */
static bool goes_on(const struct range *a, const struct range *b)
{
	const struct viommu_mapping *from = a->value, *to = b->value;

	return a->last + 1 == b->start && to->gpa > from->gpa &&
	       to->gpa - from->gpa == b->start - a->start &&
	       mapping_flags(to) == mapping_flags(from);
}

/* A merged entry of the same place died though its mapping here did not: others
 * of the leaf come and go. Then one that stands for itself lasts longer. */
static bool is_restless(struct viommu_dma *dma, uint64_t iova,
			const struct viommu_dma_entry *e, const uint32_t *generation_now)
{
	const struct viommu_dma_entry *old = page_slot(dma, iova);

	return old->generation_now == generation_now && iova - old->iova < old->size &&
	       old->gpa - old->iova == e->gpa - e->iova;
}

/* Widens e and *last by the neighbours in the leaf: at most 14. r: what iova is
 * in, at `place`. */
static void merge(struct viommu_dma *dma, uint64_t iova, const struct range *r,
		  const struct range_place *place, struct viommu_dma_entry *e,
		  uint64_t *last)
{
	struct range_place lower = *place, higher = *place;
	struct range first = *r, final = *r, beside;
	const uint32_t *generation_now;
	uint32_t generation;

	generation_now = range_place_generation(place, &generation);
	if (!generation_now || is_restless(dma, iova, e, generation_now))
		return;
	while (range_place_lower(&lower, &beside) && goes_on(&beside, &first))
		first = beside;
	while (range_place_higher(&higher, &beside) && goes_on(&final, &beside))
		final = beside;
	if (first.start == final.start)
		return;
	e->iova = first.start;
	e->gpa = ((const struct viommu_mapping *)first.value)->gpa;
	e->perm |= ENTRY_MERGED;
	e->generation_now = generation_now;
	e->generation = generation;
	*last = final.last;
}

/* ---- misses ---- */

/* What iova is mapped to, before memory is looked at: e's iova, gpa, perm,
 * mapping, and *last. False: blocked. */
static bool find_mapping(struct viommu_dma *dma, uint64_t iova, unsigned perm, bool one,
			 struct viommu_dma_entry *e, uint64_t *last)
{
	const struct viommu_mapping *m;
	struct range_place place;
	struct range r;
	bool adjoined;

	if (dma->view->kind == VIEW_BYPASS) {
		*e = (struct viommu_dma_entry){.generation_now = &no_mapping.generation,
					       .perm = VIOMMU_READ | VIOMMU_WRITE};
		*last = UINT64_MAX;
		return true;
	}
	if (dma->view->kind == VIEW_BLOCKED ||
	    !range_tree_find_place(&dma->view->tree, iova, &r, &place, &adjoined))
		return false;
	m = r.value;
	e->iova = r.start;
	e->gpa = m->gpa;
	e->perm = mapping_flags(m) & (VIOMMU_READ | VIOMMU_WRITE);
	e->generation_now = &m->generation;
	/* Relaxed: see tlb_hit(). Read before anything is cached; if the mapping
	 * is being removed the entry is born dead or is not cached. */
	e->generation = load_relaxed(&m->generation);
	*last = r.last;
	if (adjoined && !one)
		merge(dma, iova, &r, &place, e, last);
	return !(perm & ~e->perm);
}

/* Cuts e to the memory region that iova's memory is in. False: no memory. */
static bool find_memory(const struct viommu_dma *dma, uint64_t iova, unsigned perm,
			struct viommu_dma_entry *e, uint64_t last)
{
	uint64_t before = iova - e->iova, after = last - iova, gpa = e->gpa + before;
	const struct mem_region *region = mem_find(mem_table(dma->mem), gpa);

	if (!region || !region->hva)
		return false;
	if (region->flags & VIOMMU_MEM_READONLY)
		e->perm &= ~VIOMMU_WRITE;
	if (perm & ~e->perm)
		return false;
	if (before > gpa - region->gpa)
		before = gpa - region->gpa;
	if (after > region->last - gpa)
		after = region->last - gpa;
	e->iova = iova - before;
	e->gpa = gpa - before;
	e->size = before + after + 1;
	e->hva = (char *)region->hva + (e->gpa - region->gpa);
	e->region = region;
	return true;
}

static void store(struct viommu_dma_entry *slot, const struct viommu_dma_entry *e)
{
	*slot = *e;
	if (entry_region(e)->dirty)
		slot->perm &= ~VIOMMU_WRITE; /* each write must be seen */
}

static void cache(struct viommu_dma *dma, uint64_t iova, const struct viommu_dma_entry *e)
{
	if (e->generation & 1)
		return; /* being removed: good for this section only */
	if (dma->view->kind == VIEW_MAPPED && e->size >= 1ull << TLB_LARGE_LG2) {
		store(large_slot(dma, iova), e);
		return;
	}
	store(page_slot(dma, iova), e);
	if (dma->view->kind == VIEW_MAPPED && e->size > 1ull << TLB_PAGE_LG2)
		store(mid_slot(dma, iova), e);
}

static inline const struct viommu_dma_entry *fill(struct viommu_dma *dma, uint64_t iova,
						  unsigned perm, bool one)
{
	struct viommu_dma_entry *e = &dma->scratch;
	uint64_t last;

	if (unlikely(!find_mapping(dma, iova, perm, one, e, &last))) {
		dma_blocked(dma, iova, perm);
		return NULL;
	}
	if (unlikely(!find_memory(dma, iova, perm, e, last))) {
		no_memory(dma, iova, perm);
		return NULL;
	}
	count(dma->ctx.bypassing ? &dma->fast.served : &dma->ctx.misses);
	(void)PROBE4(tlb_miss, dma, iova, e->gpa + (iova - e->iova), perm);
	cache(dma, iova, e);
	return e;
}

const struct viommu_dma_entry *tlb_fill(struct viommu_dma *dma, uint64_t iova,
					unsigned perm)
{
	return fill(dma, iova, perm, false);
}

const struct viommu_dma_entry *tlb_reach_slow(struct viommu_dma *dma, uint64_t iova,
					      unsigned perm)
{
	const struct viommu_dma_entry *e = mid_slot(dma, iova);

	if (!tlb_hit(e, iova, perm))
		return fill(dma, iova, perm, false);
	*page_slot(dma, iova) = *e;
	count(&dma->fast.served);
	return e;
}

static bool hits_one(const struct viommu_dma_entry *e, uint64_t iova, unsigned perm)
{
	return tlb_hit(e, iova, perm) && !(e->perm & ENTRY_MERGED);
}

const struct viommu_dma_entry *tlb_reach_one(struct viommu_dma *dma, uint64_t iova,
					     unsigned perm)
{
	const struct viommu_dma_entry *e = page_slot(dma, iova);

	if (!hits_one(e, iova, perm)) {
		e = large_slot(dma, iova);
		if (!hits_one(e, iova, perm))
			return fill(dma, iova, perm, true);
	}
	count(&dma->fast.served);
	return e;
}
