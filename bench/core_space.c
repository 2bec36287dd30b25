/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Ours: MAP and UNMAP as the device makes them, with one DMA context; lookups
 * are misses of the IOTLB, from iova to host pointer, each in a section. */
#include <stdlib.h>

#include "core_rig.h"

static void *create(void)
{
	struct core_rig *rig = malloc(sizeof(*rig));

	if (!rig || core_rig_init(rig))
		abort();
	return rig;
}

static void destroy(void *t)
{
	core_rig_done(t);
	free(t);
}

static void map(void *t, uint64_t iova, uint64_t gpa)
{
	struct core_rig *rig = t;

	if (space_map(rig->space, CORE_DOMAIN, iova, iova + (1u << PAGE_LG2) - 1, gpa,
		      VIOMMU_READ | VIOMMU_WRITE))
		abort();
}

static void unmap(void *t, uint64_t iova)
{
	struct core_rig *rig = t;
	unsigned removed;

	if (space_unmap(rig->space, CORE_DOMAIN, iova, iova + (1u << PAGE_LG2) - 1,
			&removed) ||
	    removed != 1)
		abort();
}

static uint64_t lookup(void *t, uint64_t iova)
{
	struct core_rig *rig = t;
	const struct viommu_dma_entry *e;
	uint64_t hva = 0;

	viommu_dma_begin(rig->dma);
	e = tlb_fill(rig->dma, iova, VIOMMU_READ);
	if (e)
		hva = (uintptr_t)e->hva + (iova - e->iova);
	viommu_dma_end(rig->dma);
	return hva;
}

static size_t bytes(void *t)
{
	return ((struct core_rig *)t)->alloc.live_len;
}

const struct table table_space = {"viommu", create, destroy, map, unmap, lookup, bytes};
