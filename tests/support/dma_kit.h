/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Guest memory and accesses to it by an endpoint, on top of a device_kit. */
#ifndef TESTS_DMA_KIT_H
#define TESTS_DMA_KIT_H

#include <viommu/dma.h>

#include "device_kit.h"

#define RAM_GPA 0x100000ull
#define RAM_LEN 0x100000ull

struct dma_kit {
	struct device_kit kit;
	struct viommu_mem *mem;
	uint8_t *ram; /* RAM_LEN bytes at gpa RAM_GPA */
};

void dma_kit_init(struct dma_kit *d, const struct viommu_device_config *config);
void dma_kit_done(struct dma_kit *d);

/* One access of one byte through a context of its own: 0 or -EFAULT. A write
 * stores 0x77. */
int dma_kit_access(struct dma_kit *d, struct viommu_endpoint *ep, uint64_t iova,
		   unsigned perm);

#endif
