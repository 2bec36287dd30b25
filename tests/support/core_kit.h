/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Domains and guest memory without a device, and what they reported. */
#ifndef TESTS_CORE_KIT_H
#define TESTS_CORE_KIT_H

#include <viommu/dma.h>
#include <viommu/proto.h>

#include "base/errno.h"
#include "base/limits.h"
#include "domain/domain.h"
#include "test.h"
#include "test_alloc.h"

#define CORE_RAM_GPA 0x100000ull
#define CORE_RAM_LEN 0x100000ull
#define CORE_RW	     (VIOMMU_READ | VIOMMU_WRITE)

struct core_kit {
	struct test_alloc ta;
	struct space *space;
	struct viommu_mem *mem;
	uint8_t *ram; /* CORE_RAM_LEN bytes at gpa CORE_RAM_GPA, bytes are 0 */
	struct space_fault fault; /* the last one */
	unsigned faults_nr, released_nr;
	char log[256]; /* last message */
};

/* cfg NULL: granule 4096, whole space, no bypass. */
void core_kit_init(struct core_kit *k, const struct space_config *cfg);
/* Also checks that nothing was leaked. Endpoints may be left, contexts not. */
void core_kit_done(struct core_kit *k);

struct viommu_endpoint *core_kit_endpoint(struct core_kit *k, uint32_t id);
struct viommu_dma *core_kit_dma(struct core_kit *k, struct viommu_endpoint *ep,
				const struct viommu_dma_ops *ops, void *opaque);
/* The last fault, once: asserts that there was one since the last call. */
void core_kit_expect_fault(struct core_kit *k, uint8_t reason, uint32_t flags,
			   uint64_t address);
/* Removes what is in [start, last] and gives the result. */
int core_kit_unmap(struct core_kit *k, uint32_t domain, uint64_t start, uint64_t last);
struct space_counts core_kit_counts(struct core_kit *k);

#endif
