/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A guest for endpoint tests: memory, a virtio-iommu device with one endpoint
 * attached to a domain, and the PCI function of the endpoint under test, whose
 * registers tests reach as a guest does.
 *
 * Without an IOMMU addresses are guest-physical; with one, address A is mapped by
 * the test: GUEST_IOVA + gpa by convention, so that a device that uses one for
 * the other fails.
 */
#ifndef VIOMMU_TESTS_GUEST_H
#define VIOMMU_TESTS_GUEST_H

#include "test.h"

#include <viommu/device.h>
#include <viommu/dma.h>
#include <viommu/mem.h>
#include <viommu/pci.h>
#include <viommu/proto.h>

#include "endpoints/endpoint.h"
#include "test_alloc.h"

#define GUEST_GPA      0x40000000ull /* where memory starts */
#define GUEST_LEN      (16u << 20)
#define GUEST_IOVA     0x7000000000ull
#define GUEST_DOMAIN   1u
#define GUEST_ENDPOINT 8u
#define GUEST_VECTORS  8u

#define R	       VIRTIO_IOMMU_MAP_F_READ
#define W	       VIRTIO_IOMMU_MAP_F_WRITE
#define RW	       (R | W)

struct guest {
	struct test_alloc alloc;
	struct viommu_log log;
	char said[512]; /* the last message */
	struct viommu_mem *mem;
	uint8_t *ram;
	struct viommu_device *dev; /* NULL: no IOMMU */
	struct viommu_endpoint *iommu;
	struct endpoint *ep;
	unsigned irqs[GUEST_VECTORS];
	unsigned wakes;		    /* of the endpoint */
	void (*wake)(void *opaque); /* what else to do then; may be NULL */
	void *wake_opaque;
	uint64_t now_ns;
	/* A request that is parked. */
	uint8_t parked_in[64], parked_out[4];
	struct iovec in, out;
};

struct guest *guest_create(bool with_iommu);
/* The endpoint under test; MSI-X is switched on and the bus mastered. */
int guest_endpoint(struct guest *g, const char *type, const char *options);
void guest_destroy(struct guest *g);
/* Makes an endpoint while one allocation after the other fails: -ENOMEM, and
 * nothing is left over. */
void guest_check_lack_of_memory(const char *type, const char *options);

/* Where iova points to by the convention above. */
static inline uint64_t guest_iova(const struct guest *g, uint64_t offset)
{
	return (g->dev ? GUEST_IOVA : GUEST_GPA) + offset;
}
static inline void *guest_at(struct guest *g, uint64_t offset)
{
	return g->ram + offset;
}

/* Requests of the guest's IOMMU driver; the result is VIRTIO_IOMMU_S_*, or
 * GUEST_PARKED. No effect without an IOMMU. */
#define GUEST_PARKED 0x100u
unsigned guest_map(struct guest *g, uint64_t offset, uint64_t len, uint32_t flags);
unsigned guest_map_at(struct guest *g, uint64_t iova, uint64_t offset, uint64_t len,
		      uint32_t flags);
unsigned guest_unmap(struct guest *g, uint64_t offset, uint64_t len);
/* Asks for the parked request again. */
unsigned guest_unpark(struct guest *g);
/* Takes all fault events; *last (may be NULL) is the last of them. */
unsigned guest_faults(struct guest *g, struct virtio_iommu_fault *last);

/* Configuration space and BARs of the function. */
uint64_t guest_config(struct guest *g, unsigned offset, unsigned len);
void guest_set_config(struct guest *g, unsigned offset, unsigned len, uint64_t value);
uint64_t guest_reg(struct guest *g, unsigned bar, uint64_t offset, unsigned len);
void guest_set_reg(struct guest *g, unsigned bar, uint64_t offset, unsigned len,
		   uint64_t value);
void guest_bus_master(struct guest *g, bool on);
/* Offset of the capability, 0: none. start 0: the first. */
unsigned guest_find_cap(struct guest *g, uint8_t id, unsigned after);

/* One turn after the other until there is nothing to do; sleeps as an event loop
 * does while transfers or a timer are under way, at most ms in all. Result:
 * whether anything was done. */
bool guest_run(struct guest *g, unsigned ms);

uint64_t guest_stat(struct guest *g, const char *name);

#endif
