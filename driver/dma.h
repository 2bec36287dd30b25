/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The DMA layer's part of a domain: addresses, mode, flush queues. */
#ifndef VIOMMU_DRV_DMA_H
#define VIOMMU_DRV_DMA_H

#include "iova.h"

/* An unmapped range that waits for its flush. */
struct drv_flush_entry {
	uint64_t start, last; /* addresses as allocated */
};

/*
 * A ring of such ranges, in the order of their unmapping. It has room for twice
 * what makes it "full", so that it takes more while the first half is flushed.
 */
struct drv_flush {
	struct viommu_drv_lock lock; /* of everything here */
	struct drv_flush_entry *entries;
	uint32_t size, head, nr; /* ring: room, oldest, in use */
	uint32_t full;		 /* entries that start a flush */
	uint32_t taken;		 /* the oldest ones, which are being flushed */
	unsigned flusher;	 /* CPU of whoever flushes, when it began */
	bool flushing, accepting;
	bool again;	    /* whoever flushes does so once more */
	uint64_t failures;  /* flushes that failed, and */
	int error;	    /* the last one's */
	uint64_t oldest_ns; /* when the first one behind `taken` came */
	uint64_t flushes, flushed, requests, window_ns; /* counters */
};

struct drv_dma {
	struct drv_iova iova;
	enum viommu_drv_mode mode; /* atomic; written by control calls */
	bool sync_map;
	struct drv_flush *queues; /* one a CPU; the single mode uses the first */
	uint64_t flush_ns;	  /* atomic */
	struct viommu_drv_timer timer;
	uint32_t armed;		     /* atomic; 1: the timer will call */
	uint64_t fallback;	     /* atomic: lazy unmaps that were done strictly */
	struct viommu_drv_lock lock; /* of what follows */
	struct drv_tree lost;	     /* may still be reachable, see flush_failed */
	uint64_t lost_bytes;
};

int drv_dma_init(struct viommu_drv_domain *domain,
		 const struct viommu_drv_domain_config *config);
void drv_dma_fini(struct viommu_drv_domain *domain);
/* Drains, and every unmap from now on is strict. 0, or the drain's error. */
int drv_dma_force_strict(struct viommu_drv_domain *domain);
/* Nothing of the domain is reachable: all waiting and lost ranges are free. */
void drv_dma_after_reset(struct viommu_drv_domain *domain);
/* [start, last] may be reachable: never hand it out before a reset. */
void drv_dma_lose(struct viommu_drv_domain *domain, uint64_t start, uint64_t last);

/* ---- flush.c ---- */

/* Queues a range. 0: queued (and perhaps flushed); 1: unmap it strictly;
 * negative: queued, and the flush it started failed. */
int drv_flush_add(struct viommu_drv_domain *domain, uint64_t start, uint64_t last);
/* Flushes what holds addresses back, and mappings in the device. Waits as a request
 * does; not for a flush that the caller may have interrupted. false: nothing was
 * queued. */
bool drv_flush_for_room(struct viommu_drv_domain *domain);
/* Starts the mode's queues. 0; -ENOMEM. */
int drv_flush_start(struct viommu_drv_domain *domain, unsigned queues_nr, uint32_t full);
/* Nothing is queued any more; flushes. */
int drv_flush_stop(struct viommu_drv_domain *domain);

#endif
