/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "dma_kit.h"

void dma_kit_init(struct dma_kit *d, const struct viommu_device_config *config)
{
	device_kit_init(&d->kit, config);
	d->ram = calloc(1, RAM_LEN);
	assert_int_equal(viommu_mem_create(&d->kit.ta.ops, &d->mem), 0);
	assert_int_equal(viommu_mem_add(d->mem, RAM_GPA, RAM_LEN, d->ram, 0), 0);
}

void dma_kit_done(struct dma_kit *d)
{
	assert_int_equal(viommu_mem_remove(d->mem, RAM_GPA, RAM_LEN), 0);
	viommu_mem_destroy(d->mem);
	free(d->ram);
	device_kit_done(&d->kit);
}

int dma_kit_access(struct dma_kit *d, struct viommu_endpoint *ep, uint64_t iova,
		   unsigned perm)
{
	struct viommu_dma *dma;
	uint8_t byte = 0x77;
	int r;

	assert_int_equal(viommu_dma_create(ep, d->mem, &d->kit.ta.ops, NULL, NULL, &dma),
			 0);
	if (perm == VIOMMU_WRITE)
		r = viommu_dma_write(dma, iova, &byte, 1);
	else
		r = viommu_dma_read(dma, iova, &byte, 1);
	viommu_dma_destroy(dma);
	return r;
}
