/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the files of the driver share.
 *
 * Locks, by rank (a lower one is taken first):
 *   1 domain->lock  mappings, reserved regions, endpoints of one domain, and
 *                   the order in which its requests enter the ring
 *   2 iova locks    free addresses (iova.h); never with a domain lock held
 *   2 flush lock    one flush queue (flush.h); never with a domain lock held
 *   3 reqq->lock    ring and requests of one request queue
 *   3 events.lock   the event queue
 * The lists of domains and endpoints belong to control calls, which the caller
 * serialises. Nothing waits for the device with a lock held.
 */
#ifndef VIOMMU_DRV_INTERNAL_H
#define VIOMMU_DRV_INTERNAL_H

#include <viommu/proto.h>

#include "viommu_drv.h"

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"
#include "base/limits.h"
#include "virtq/driver.h"

#include "dma.h"
#include "tree.h"

/* A request's place in shared memory: what the device reads and writes. */
struct drv_wire {
	union {
		struct virtio_iommu_req_attach attach;
		struct virtio_iommu_req_detach detach;
		struct virtio_iommu_req_map map;
		struct virtio_iommu_req_unmap unmap;
	};
	struct virtio_iommu_req_tail tail;
	uint8_t unused[24]; /* one request, one cache line */
};
_Static_assert(sizeof(struct drv_wire) == 64, "a request is a cache line");

/* A request as the driver remembers it, out of the device's reach. */
struct drv_request {
	struct drv_request *next;	/* free list */
	struct viommu_drv_batch *batch; /* who waits; NULL: nobody any more */
	uint64_t start, last;		/* range it is about, for the report */
	const uint8_t *status;		/* in shared memory, read once */
	uint32_t writable_len;		/* bytes the reply must have */
	uint8_t type;			/* VIRTIO_IOMMU_T_* */
};

/* A ring with its memory. */
struct drv_ring {
	struct drvq q;
	uint16_t index, size; /* virtqueue number, entries */
	uint16_t table_nr;    /* descriptors of an indirect table, 0: none */
	bool packed;
	void *mem; /* shared: areas, tables, then `extra` bytes */
	uint64_t mem_pa;
	size_t mem_len;
	uint64_t extra;		 /* offset of the user's part in mem */
	struct drvq_slot *slots; /* private */
};

struct drv_reqq {
	struct viommu_drv *drv;
	struct viommu_drv_lock lock;
	struct drv_ring ring;
	struct drv_request *requests; /* as many as fit into the ring */
	unsigned requests_nr;
	struct drv_request *free;
	int broken;	    /* 0, -ETIMEDOUT, -EIO; atomic, set under the lock */
	bool told;	    /* the owner was told of the quarantine */
	bool polled;	    /* the device wanted no kick when last asked */
	bool kick_due;	    /* it wanted one since */
	uint32_t hidden_nr; /* requests in the ring and not published */
	/* Counters, written under the lock. */
	uint64_t posted, maps, unmaps, notifications, failed, syncs;
};

struct drv_events {
	struct viommu_drv_lock lock;
	struct drv_ring ring;
	bool closed; /* the device broke the rules */
	uint64_t faults, bad;
};

/* The device's, as of its configuration; do not change after the start. */
struct drv_limits {
	uint64_t granule;		  /* bytes */
	uint64_t input_start, input_last; /* iova, whole granules */
	uint32_t domain_first, domain_last;
};

struct viommu_drv {
	struct viommu_drv_platform platform;
	void *platform_opaque;
	struct viommu_drv_transport transport;
	void *transport_opaque;
	struct viommu_drv_config config;
	struct viommu_drv_events ops;
	void *ops_opaque;

	uint64_t features; /* negotiated */
	struct drv_limits limits;
	uint32_t next_domain; /* where the search for a number starts */

	struct drv_reqq *reqq;
	unsigned reqq_nr;
	struct drv_events events;

	/* One PROBE at a time: request, properties and tail. */
	void *probe;
	uint64_t probe_pa;
	size_t probe_len;
	uint64_t probe_bad, resets;

	struct viommu_drv_domain *domains;
	/* Destroyed, but something may still be attached to that number in the
	 * device: nothing is left of them but that. */
	struct viommu_drv_domain *retired;
	struct viommu_drv_endpoint *endpoints;
	bool stuck; /* the device did not reset: it may reach shared memory */
};

struct viommu_drv_endpoint {
	struct viommu_drv *drv;
	struct viommu_drv_endpoint *next;
	uint32_t id;
	uint64_t dma_last; /* highest iova it can put out */
	bool untrusted;
	uint32_t group;			  /* 0: isolated */
	struct viommu_drv_domain *domain; /* atomic; written by control calls */
	struct viommu_drv_resv *resv;	  /* sorted; NULL: none */
	unsigned resv_nr;
};

struct viommu_drv_domain {
	struct viommu_drv *drv;
	struct viommu_drv_domain *next;
	struct drv_reqq *reqq; /* where all its requests go */
	uint32_t id;
	bool bypass;
	struct viommu_drv_lock lock;
	struct drv_tree mappings; /* as the device should have them */
	struct drv_tree resv;	  /* of all endpoints it ever had */
	/*
	 * Which mappings the device was told: all (told_all), or those that
	 * start below told_below while a replay walks upwards.
	 */
	bool told_all;
	uint64_t told_below;
	unsigned endpoints_nr, untrusted_nr;
	/* Endpoints that are gone without the device having let go of them:
	 * they may reach what it was told, until a reset. */
	unsigned ghosts_nr;
	struct drv_dma dma;
};

static inline uintptr_t drv_lock(const struct viommu_drv *drv,
				 struct viommu_drv_lock *lock)
{
	return drv->platform.lock ? drv->platform.lock(drv->platform_opaque, lock) : 0;
}

static inline void drv_unlock(const struct viommu_drv *drv, struct viommu_drv_lock *lock,
			      uintptr_t state)
{
	if (drv->platform.unlock)
		drv->platform.unlock(drv->platform_opaque, lock, state);
}

static inline void drv_lock_init(const struct viommu_drv *drv,
				 struct viommu_drv_lock *lock)
{
	*lock = (struct viommu_drv_lock){{0}};
	if (drv->platform.lock_init)
		drv->platform.lock_init(drv->platform_opaque, lock);
}

static inline uint64_t drv_now(const struct viommu_drv *drv)
{
	return drv->platform.now_ns(drv->platform_opaque);
}

static inline bool drv_has(const struct viommu_drv *drv, unsigned bit)
{
	return drv->features >> bit & 1;
}

/* Adds to a counter that one thread at a time writes and any thread reads; both
 * sides relaxed, a reader may see an old value. */
static inline void drv_count(uint64_t *counter, uint64_t n)
{
	store_relaxed(counter, *counter + n);
}

/* Memory from the platform, zeroed; NULL: none. */
void *drv_alloc(const struct viommu_drv *drv, size_t len);
void drv_free(const struct viommu_drv *drv, void *p, size_t len);
void drv_relax(const struct viommu_drv *drv, unsigned spins);
void drv_zero(void *p, size_t len);
void drv_copy(void *to, const void *from, size_t len);

/* A bounded wait. */
struct drv_wait {
	uint64_t deadline; /* ns; 0: not started */
	unsigned spins;
};
/* One turn of it; true: time is up. Looks at the clock now and then. */
bool drv_wait_turn(const struct viommu_drv *drv, struct drv_wait *wait);

/* ---- ring.c ---- */

/* Allocates a ring of at most `size` entries and `extra_each` bytes of shared
 * memory for each; tables of table_nr descriptors. 0, -ENOMEM, -ENODEV. */
int drv_ring_alloc(struct viommu_drv *drv, struct drv_ring *ring, uint16_t index,
		   uint16_t size, size_t extra_each);
/* Makes it empty and tells the device where it is. 0, -EINVAL, the transport's. */
int drv_ring_start(struct viommu_drv *drv, struct drv_ring *ring);
void drv_ring_free(struct viommu_drv *drv, struct drv_ring *ring);
/* Publishes what was added; true: kick is needed. */
bool drv_ring_publish(struct viommu_drv *drv, struct drv_ring *ring);
void drv_ring_kick(struct viommu_drv *drv, struct drv_ring *ring);

/* ---- request.c ---- */

int drv_reqq_init(struct drv_reqq *rq, struct viommu_drv *drv, uint16_t index);
/* After the device's reset: all requests are free again. */
int drv_reqq_start(struct drv_reqq *rq);
void drv_reqq_fini(struct drv_reqq *rq);

/*
 * Takes a free request. 0; -EAGAIN: none is free, release your locks, call
 * drv_reqq_wait_room() and try again; -EIO, -ETIMEDOUT: quarantined.
 * From taking to posting the caller holds its domain's lock, or is a control
 * call: viommu_drv_reset() counts on it.
 */
int drv_reqq_take(struct drv_reqq *rq, struct drv_request **req);
void drv_reqq_untake(struct drv_reqq *rq, struct drv_request *req);
int drv_reqq_wait_room(struct drv_reqq *rq);
/* The place to write a taken request to; never read it back. */
struct drv_wire *drv_reqq_wire(struct drv_reqq *rq, struct drv_request *req);
/* Puts a taken request with readable_len bytes into the ring, for `batch`. */
void drv_reqq_post(struct drv_reqq *rq, struct drv_request *req, uint32_t readable_len,
		   struct viommu_drv_batch *batch);
/* One request in the probe buffer of the driver, from start to end. */
int drv_reqq_probe(struct drv_reqq *rq, uint32_t readable_len, uint32_t writable_len);
/* Publishes, waits for the batch; its error. */
int drv_reqq_sync(struct drv_reqq *rq, struct viommu_drv_batch *batch);
/* Nothing is sent any more, whoever waits gets `error`. */
void drv_reqq_quarantine(struct drv_reqq *rq, int error);

/* ---- others ---- */

/* Makes the probe buffer fit probe_size, 0: there is nothing to ask for.
 * 0, -ENOMEM, -EIO, -ETIMEDOUT. */
int drv_probe_prepare(struct viommu_drv *drv, uint32_t *probe_size);

/* Parses PROBE's properties: all reserved regions, the first `max` of them
 * sorted into resv. props is the driver's own copy. Result: how many there are;
 * -EIO. */
int drv_probe_parse(const uint8_t *props, size_t len, struct viommu_drv_resv *resv,
		    unsigned max);

int drv_events_init(struct viommu_drv *drv);
/* Makes the ring empty and tells the device where it is; closed until the start.
 * As drv_ring_start(). */
int drv_events_prepare(struct viommu_drv *drv);
/* Gives the device all buffers; after DRIVER_OK. */
void drv_events_start(struct viommu_drv *drv);
void drv_events_fini(struct viommu_drv *drv);

/* Takes an endpoint out of its domain, in the record only. gone: the device has
 * said that it cannot reach the domain any more. */
void drv_domain_unlink(struct viommu_drv_endpoint *ep, bool gone);
/* The device was reset or will not be used any more. */
void drv_domain_free_retired(struct viommu_drv *drv);
/* Attach requests and replay, for a device that was reset. */
int drv_domain_rebuild(struct viommu_drv_domain *domain);
/* The device knows nothing of the domain any more. */
void drv_domain_forget_told(struct viommu_drv_domain *domain);

#endif
