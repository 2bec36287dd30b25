/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Ours: MAP and UNMAP as the device makes them, with one DMA context; lookups
 * are misses of the IOTLB, from iova to host pointer, each in a section. */
#include <stdlib.h>
#include <sys/mman.h>

#include "core.h"
#include "dma/dma_context.h"
#include "domain/domain.h"

#define DOMAIN	 1u
#define ENDPOINT 8u
#define MEM_LEN	 (1ull << 40) /* never touched */

struct ours {
	struct counted_alloc alloc;
	struct space *space;
	struct viommu_endpoint *ep;
	struct viommu_mem *mem;
	struct viommu_dma *dma;
};

static void *create(void)
{
	struct space_config cfg = {.granule = 4096, .input_last = UINT64_MAX};
	struct viommu_endpoint_config ep = {.id = ENDPOINT};
	struct ours *o = malloc(sizeof(*o));
	int rc;

	counted_alloc_init(&o->alloc);
	rc = space_create(&cfg, NULL, NULL, &o->alloc.ops, NULL, &o->space);
	rc = rc ? rc : space_endpoint_add(o->space, &ep, &o->ep);
	rc = rc ? rc : viommu_mem_create(&o->alloc.ops, &o->mem);
	rc = rc ? rc : viommu_mem_add(o->mem, 0, MEM_LEN, (void *)(1ul << 32), 0);
	rc = rc ? rc
		: viommu_dma_create(o->ep, o->mem, &o->alloc.ops, NULL, NULL, &o->dma);
	rc = rc ? rc : space_attach(o->space, DOMAIN, ENDPOINT, false);
	if (rc)
		abort();
	return o;
}

static void destroy(void *t)
{
	struct ours *o = t;

	viommu_dma_destroy(o->dma);
	viommu_mem_destroy(o->mem);
	space_endpoint_remove(o->ep);
	space_destroy(o->space);
	free(o);
}

static void map(void *t, uint64_t iova, uint64_t gpa)
{
	struct ours *o = t;

	if (space_map(o->space, DOMAIN, iova, iova + (1u << PAGE_LG2) - 1, gpa,
		      VIOMMU_READ | VIOMMU_WRITE))
		abort();
}

static void unmap(void *t, uint64_t iova)
{
	struct ours *o = t;
	unsigned removed;

	if (space_unmap(o->space, DOMAIN, iova, iova + (1u << PAGE_LG2) - 1, &removed) ||
	    removed != 1)
		abort();
}

static uint64_t lookup(void *t, uint64_t iova)
{
	struct ours *o = t;
	const struct viommu_dma_entry *e;
	uint64_t hva = 0;

	viommu_dma_begin(o->dma);
	e = tlb_fill(o->dma, iova, VIOMMU_READ);
	if (e)
		hva = (uintptr_t)e->hva + (iova - e->iova);
	viommu_dma_end(o->dma);
	return hva;
}

static size_t bytes(void *t)
{
	return ((struct ours *)t)->alloc.live_len;
}

const struct table table_space = {"viommu", create, destroy, map, unmap, lookup, bytes};
