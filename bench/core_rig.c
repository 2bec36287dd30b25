/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "core_rig.h"

#define MEM_LEN	 (1ull << 40)
#define MEM_BASE (1ul << 32)

int core_rig_init(struct core_rig *rig)
{
	struct space_config cfg = {.granule = 4096, .input_last = UINT64_MAX};
	struct viommu_endpoint_config ep = {.id = CORE_ENDPOINT};
	const struct viommu_alloc *alloc = &rig->alloc.ops;
	int rc;

	counted_alloc_init(&rig->alloc);
	rc = space_create(&cfg, NULL, NULL, alloc, NULL, &rig->space);
	rc = rc ? rc : space_endpoint_add(rig->space, &ep, &rig->ep);
	rc = rc ? rc : viommu_mem_create(alloc, &rig->mem);
	rc = rc ? rc : viommu_mem_add(rig->mem, 0, MEM_LEN, (void *)MEM_BASE, 0);
	rc = rc ? rc : viommu_dma_create(rig->ep, rig->mem, alloc, NULL, NULL, &rig->dma);
	return rc ? rc : space_attach(rig->space, CORE_DOMAIN, CORE_ENDPOINT, false);
}

void core_rig_done(struct core_rig *rig)
{
	viommu_dma_destroy(rig->dma);
	viommu_mem_destroy(rig->mem);
	space_endpoint_remove(rig->ep);
	space_destroy(rig->space);
}
