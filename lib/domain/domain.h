/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Domains, endpoints and mappings: what the requests of the IOMMU device change,
 * and what translations read. Knows no wire format and no rings.
 *
 * Threads: all calls are control side (viommu/base.h); what translations read
 * is published so that readers never block.
 *
 * Every call checks everything first and changes nothing when it fails.
 */
#ifndef VIOMMU_LIB_DOMAIN_H
#define VIOMMU_LIB_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>

#include <viommu/base.h>
#include <viommu/device.h>

struct space; /* all domains and endpoints of one device */

struct space_config {
	uint64_t granule; /* lowest bit of page_size_mask */
	uint64_t input_start, input_last;
	bool bypass; /* of unattached endpoints */
	uint32_t max_mappings, max_domains, max_endpoints;
};

/* A blocked access; as in the fault event. */
struct space_fault {
	uint8_t reason; /* VIRTIO_IOMMU_FAULT_R_* */
	uint32_t flags; /* VIRTIO_IOMMU_FAULT_F_* */
	uint32_t endpoint;
	uint64_t address;
};

struct space_ops {
	/* An access was blocked. Called on the DMA side (any thread). */
	void (*fault)(void *opaque, const struct space_fault *fault);
	/* A hold that a control call waits for was released (any thread). */
	void (*released)(void *opaque);
};

int space_create(const struct space_config *cfg, const struct space_ops *ops,
		 void *opaque, const struct viommu_alloc *alloc,
		 const struct viommu_log *log, struct space **out);
void space_destroy(struct space *s);

/* Bypass of unattached endpoints. No section of the old kind is open on return;
 * transfers that hold pages go on until they let go. */
void space_set_bypass(struct space *s, bool bypass);
bool space_get_bypass(const struct space *s);

/*
 * Removals (unmap, detach, attach that leaves a domain, reset): on return no new
 * translation finds the mappings and no section that could have seen them is
 * open. If transfers still hold pages of them, the result is -EINPROGRESS and
 * space_pending() stays true until they let go (revoke callbacks were made).
 * space_give_up() stops waiting: it logs and counts who still holds, and what
 * is held stays pinned until released. One removal at a time may be pending:
 * the caller makes no other removal before it is over.
 */
bool space_pending(struct space *s);
void space_give_up(struct space *s);

/* 0; -ENOENT: no such endpoint. -EINVAL: bypass does not match the domain.
 * -ENOSPC/-ENOMEM: domain quota or memory. -EOPNOTSUPP: reserved regions of the
 * endpoint collide with mappings of the domain. -EINPROGRESS as above (done). */
int space_attach(struct space *s, uint32_t domain, uint32_t endpoint, bool bypass);
/* 0; -ENOENT: no such endpoint; -EINVAL: not attached to that domain. */
int space_detach(struct space *s, uint32_t domain, uint32_t endpoint);
/*
 * flags: VIRTIO_IOMMU_MAP_F_*. 0; -ERANGE: not aligned to the granule, last <=
 * start (a single byte with granule 1 is allowed), gpa wraps around, or outside
 * the input range; -EINVAL: overlaps a mapping or a reserved region of an
 * endpoint in the domain, or a bypass domain; -ENOENT: no such domain;
 * -ENOMEM: quota or memory.
 */
int space_map(struct space *s, uint32_t domain, uint64_t start, uint64_t last,
	      uint64_t gpa, uint32_t flags);
/* 0; -ENOENT; -EINVAL: bypass domain; -ERANGE: would split a mapping, nothing
 * was removed; -EINPROGRESS as above. *removed: number of mappings. */
int space_unmap(struct space *s, uint32_t domain, uint64_t start, uint64_t last,
		unsigned *removed);

/*
 * space_unmap() of requests that are answered together: does not wait for the
 * sections that may still use what it removed, nor tell those that mirror
 * mappings. Nothing may be answered before space_settle() (or another call on the
 * space, which settles first). A mapping that is held when it is removed is
 * settled at once, and all others with it: -EINPROGRESS is about this one.
 */
int space_unmap_later(struct space *s, uint32_t domain, uint64_t start, uint64_t last);
void space_settle(struct space *s);

/*
 * Memory for the next SPACE_RESERVE MAPs, whatever they are: the allocator is called
 * here, between requests, and not by them. When it has none the requests get by with
 * what is left, then ask it themselves: -ENOMEM comes no sooner. 0, -ENOMEM.
 */
#define SPACE_RESERVE 64u
int space_refill(struct space *s);

/* All domains and attachments gone, endpoints stay. As the removals above. */
int space_reset(struct space *s);

/* Endpoints (viommu/device.h says what each checks). */
int space_endpoint_add(struct space *s, const struct viommu_endpoint_config *cfg,
		       struct viommu_endpoint **out);
int space_endpoint_alias(struct viommu_endpoint *ep, uint32_t id);
void space_endpoint_remove(struct viommu_endpoint *ep);
void space_endpoint_reset(struct viommu_endpoint *ep);
/* NULL: no such endpoint. Aliases are found too. */
struct viommu_endpoint *space_endpoint_find(struct space *s, uint32_t id);
struct space *endpoint_space(struct viommu_endpoint *ep);
/* For embedding layers: the device that owns the space (set once, opaque). */
void space_set_owner(struct space *s, void *owner);
void *space_get_owner(struct space *s);

/* The reserved regions of an endpoint, sorted by start. */
const struct viommu_resv *endpoint_resv(const struct viommu_endpoint *ep, unsigned *nr);

/* For save, stat and tests, in ascending order of domain id / start / id. */
struct space_domain_info {
	uint32_t id;
	bool bypass;
	uint32_t endpoints, mappings;
};
void space_visit_domains(struct space *s,
			 bool (*visit)(void *opaque, const struct space_domain_info *),
			 void *opaque);
void space_visit_mappings(struct space *s,
			  bool (*visit)(void *opaque, const struct viommu_mapping_info *),
			  void *opaque);
void space_visit_endpoints(struct space *s,
			   bool (*visit)(void *opaque,
					 const struct viommu_endpoint_info *),
			   void *opaque);

struct space_counts {
	uint64_t domains, endpoints, mappings, mapped_bytes;
	uint64_t hold_timeouts;
};
void space_get_counts(const struct space *s, struct space_counts *out);

#endif
