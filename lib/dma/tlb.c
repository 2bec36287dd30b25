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

/* What iova is mapped to, before memory is looked at: e's iova, gpa, perm,
 * mapping, and *last. False: blocked. */
static bool find_mapping(const struct viommu_dma *dma, uint64_t iova, unsigned perm,
			 struct viommu_dma_entry *e, uint64_t *last)
{
	const struct viommu_mapping *m;
	struct range r;

	if (dma->view->kind == VIEW_BYPASS) {
		*e = (struct viommu_dma_entry){.generation_now = &no_mapping.generation,
					       .perm = VIOMMU_READ | VIOMMU_WRITE};
		*last = UINT64_MAX;
		return true;
	}
	if (dma->view->kind == VIEW_BLOCKED ||
	    !range_tree_find(&dma->view->tree, iova, &r))
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

static void cache(struct viommu_dma *dma, uint64_t iova, const struct viommu_dma_entry *e)
{
	struct viommu_dma_entry *slot =
		&dma->fast.entry[(iova >> dma->fast.shift) & dma->fast.mask];

	if (e->generation & 1)
		return; /* being removed: good for this section only */
	if (dma->view->kind == VIEW_MAPPED && e->size >= 1ull << TLB_LARGE_LG2)
		slot = &dma->larges[(iova >> TLB_LARGE_LG2) & (TLB_LARGES - 1)];
	*slot = *e;
	if (entry_region(e)->dirty)
		slot->perm &= ~VIOMMU_WRITE; /* each write must be seen */
}

const struct viommu_dma_entry *tlb_fill(struct viommu_dma *dma, uint64_t iova,
					unsigned perm)
{
	struct viommu_dma_entry *e = &dma->scratch;
	uint64_t last;

	if (unlikely(!find_mapping(dma, iova, perm, e, &last))) {
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
