/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "core_kit.h"

static void on_fault(void *opaque, const struct space_fault *fault)
{
	struct core_kit *k = opaque;

	k->fault = *fault;
	k->faults_nr++;
}

static void on_released(void *opaque)
{
	((struct core_kit *)opaque)->released_nr++;
}

void core_kit_init(struct core_kit *k, const struct space_config *cfg)
{
	static const struct space_config standard = {
		.granule = 4096,
		.input_last = UINT64_MAX,
	};
	const struct space_ops ops = {.fault = on_fault, .released = on_released};

	memset(k, 0, sizeof(*k));
	test_alloc_init(&k->ta);
	k->ram = calloc(1, CORE_RAM_LEN);
	assert_int_equal(
		space_create(cfg ? cfg : &standard, &ops, k, &k->ta.ops, NULL, &k->space),
		0);
	assert_int_equal(viommu_mem_create(&k->ta.ops, &k->mem), 0);
	assert_int_equal(viommu_mem_add(k->mem, CORE_RAM_GPA, CORE_RAM_LEN, k->ram, 0),
			 0);
}

void core_kit_done(struct core_kit *k)
{
	space_destroy(k->space);
	viommu_mem_destroy(k->mem);
	free(k->ram);
	assert_int_equal(k->ta.live, 0);
}

struct viommu_endpoint *core_kit_endpoint(struct core_kit *k, uint32_t id)
{
	struct viommu_endpoint_config cfg = {.id = id};
	struct viommu_endpoint *ep;

	assert_int_equal(space_endpoint_add(k->space, &cfg, &ep), 0);
	return ep;
}

struct viommu_dma *core_kit_dma(struct core_kit *k, struct viommu_endpoint *ep,
				const struct viommu_dma_ops *ops, void *opaque)
{
	struct viommu_dma *dma;

	assert_int_equal(viommu_dma_create(ep, k->mem, &k->ta.ops, ops, opaque, &dma), 0);
	return dma;
}

void core_kit_expect_fault(struct core_kit *k, uint8_t reason, uint32_t flags,
			   uint64_t address)
{
	assert_int_equal(k->faults_nr, 1);
	assert_int_equal(k->fault.reason, reason);
	assert_int_equal(k->fault.flags, flags | VIRTIO_IOMMU_FAULT_F_ADDRESS);
	assert_int_equal(k->fault.address, address);
	k->faults_nr = 0;
}

int core_kit_unmap(struct core_kit *k, uint32_t domain, uint64_t start, uint64_t last)
{
	unsigned removed;

	return space_unmap(k->space, domain, start, last, &removed);
}

struct space_counts core_kit_counts(struct core_kit *k)
{
	struct space_counts counts;

	space_get_counts(k->space, &counts);
	return counts;
}
