/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What is measured: a space with one endpoint in domain CORE_DOMAIN, and a DMA
 * context over 1 TiB of memory that is never touched. */
#ifndef BENCH_CORE_RIG_H
#define BENCH_CORE_RIG_H

#include "core.h"
#include "dma/dma_context.h"
#include "domain/domain.h"

#define CORE_DOMAIN   1u
#define CORE_ENDPOINT 8u

struct core_rig {
	struct counted_alloc alloc;
	struct space *space;
	struct viommu_endpoint *ep;
	struct viommu_mem *mem;
	struct viommu_dma *dma;
};

/* 0 or what failed gave. */
int core_rig_init(struct core_rig *rig);
void core_rig_done(struct core_rig *rig);

#endif
