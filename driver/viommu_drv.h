/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu_drv.h - a portable guest driver for virtio-iommu (VIRTIO 1.4, "IOMMU
 * Device"): for kernels, unikernels, firmware and user-space drivers.
 *
 * Freestanding C11. What it needs of its surroundings are two ops structs: the
 * platform (memory, locks, time) and the transport (how to talk to one virtio
 * device: viommu_drv_pci.h has one for virtio-pci).
 *
 * Layers, each usable without the ones above:
 *   requests  viommu_drv_map() and viommu_drv_unmap() queue, one
 *             viommu_drv_sync() sends and collects every status;
 *   domains   endpoints, probing, attach and detach, bookkeeping of mappings,
 *             replay after attach and after a reset of the device;
 *   DMA       viommu_drv_dma_map() and friends: addresses are chosen for the
 *             caller; strict and lazy modes.
 *
 * Conventions
 *   Errors     0 or a count on success, a negative errno value on failure; the
 *              values are listed with each call.
 *   Addresses  iova: what an endpoint puts on the bus. pa: an address in the
 *              guest's physical memory. Ranges are closed, [start, last].
 *   Threads    "Control": the caller serialises these calls of one driver with
 *              one another; they may wait for the device and for memory.
 *              "Data": any thread, any time, together with everything but
 *              the destruction of the object; no memory allocation on the
 *              steady path; waits for the device only where it says so.
 *   Device     Is not trusted: it can refuse service, but cannot make the
 *              driver touch memory that was not given to the device.
 *   Waiting    Is bounded by request_timeout_ns. A queue whose device stalled
 *              (-ETIMEDOUT) or answered nonsense (-EIO) is quarantined: what it
 *              was given is not used again and each call on it fails with the
 *              same error, until viommu_drv_reset().
 */
#ifndef VIOMMU_DRV_H
#define VIOMMU_DRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- platform ---- */

/* Room for one lock of the platform's; the driver never looks inside. */
struct viommu_drv_lock {
	uintptr_t word[8];
};

/* Room for one timer of the platform's; zeroed before its first use. */
struct viommu_drv_timer {
	uintptr_t word[8];
};

struct viommu_drv_platform {
	/*
	 * Memory for the driver's own use, aligned to `align` (a power of two),
	 * not zeroed; NULL: there is none. free gets back what was asked for.
	 * Needed. Called by control calls, and by map when bookkeeping grows:
	 * must not sleep if mapping is done where sleeping is forbidden, and
	 * must not call the driver (a lock of it is held).
	 */
	void *(*alloc)(void *opaque, size_t len, size_t align);
	void (*free)(void *opaque, void *p, size_t len);

	/*
	 * Memory shared with a device: contiguous in physical memory and
	 * coherent with the device. *pa is its physical address. Needed. Called
	 * by control calls and viommu_drv_dma_alloc().
	 */
	void *(*alloc_shared)(void *opaque, size_t len, size_t align, uint64_t *pa);
	void (*free_shared)(void *opaque, void *p, size_t len);

	/* The physical address of *p; needed by the _virt calls only. */
	uint64_t (*virt_to_phys)(void *opaque, const void *p);

	/*
	 * Locks that may be taken where the data calls are used (a spin lock
	 * with interrupts off in most kernels). lock's result is handed to the
	 * matching unlock. All NULL: the driver is used by one thread only.
	 */
	void (*lock_init)(void *opaque, struct viommu_drv_lock *lock);
	uintptr_t (*lock)(void *opaque, struct viommu_drv_lock *lock);
	void (*unlock)(void *opaque, struct viommu_drv_lock *lock, uintptr_t state);

	/* The current CPU, below cpus_nr; a hint, the caller may migrate at any
	 * time. NULL: one CPU. */
	unsigned (*cpu)(void *opaque);
	unsigned cpus_nr; /* 0: 1 */

	/* Monotonic time in ns; any thread. Needed. */
	uint64_t (*now_ns)(void *opaque);
	/* Called over and over while the driver waits. NULL: the CPU's pause
	 * instruction. `spins` counts the calls of one wait: a platform with
	 * threads may yield when it grows. */
	void (*relax)(void *opaque, unsigned spins);

	/* Orders ring memory against a kick and against the device where CPU
	 * barriers do not reach it (VIRTIO_F_ORDER_PLATFORM). NULL: they do. */
	void (*device_barrier)(void *opaque);

	/*
	 * Asks for one call of viommu_drv_timer(timer) about delay_ns from now,
	 * on any thread that may make data calls; a second arm before that moves
	 * the time. 0, or negative: there is no timer now (the driver flushes at
	 * once instead). NULL: there are no timers, and no lazy mode. Called
	 * with no lock held.
	 */
	int (*timer_arm)(void *opaque, struct viommu_drv_timer *timer, uint64_t delay_ns);
	/* On return viommu_drv_timer(timer) does not run and will not. Needed
	 * with timer_arm. */
	void (*timer_cancel)(void *opaque, struct viommu_drv_timer *timer);

	/* Whether the host says the endpoint is untrusted (a firmware table, a
	 * slot that is open to the outside). The standard has no field for it.
	 * NULL: it does not say. */
	bool (*untrusted)(void *opaque, uint32_t endpoint);
};

/* ---- transport ---- */

/* What the transport has to tell the device about one queue. */
struct viommu_drv_queue_setup {
	uint16_t index;		       /* virtqueue number */
	uint16_t size;		       /* entries */
	uint64_t desc, driver, device; /* physical addresses of the ring areas */
};

/*
 * One virtio device. Called with the driver's locks held at times: must not
 * call back. Results come from the device and are not trusted.
 */
struct viommu_drv_transport {
	uint64_t (*get_features)(void *opaque);
	void (*set_features)(void *opaque, uint64_t features);
	uint8_t (*get_status)(void *opaque);
	void (*set_status)(void *opaque, uint8_t status);
	/* Device configuration; at most 8 bytes, natural width and alignment. */
	void (*config_read)(void *opaque, uint32_t offset, void *buf, uint32_t len);
	void (*config_write)(void *opaque, uint32_t offset, const void *buf,
			     uint32_t len);
	uint32_t (*config_generation)(void *opaque);
	/* The most entries the queue may have; 0: there is no such queue. */
	uint16_t (*queue_max)(void *opaque, uint16_t index);
	/* 0 or a negative errno value, which ends the initialisation. */
	int (*queue_setup)(void *opaque, const struct viommu_drv_queue_setup *setup);
	void (*kick)(void *opaque, uint16_t index);
	/* Request queues the device has; 0: one, as the standard says. Queue i
	 * is virtqueue 2 * i; a domain stays on one queue. */
	uint16_t request_queues_nr;
};

/* ---- driver ---- */

struct viommu_drv;
struct viommu_drv_domain;
struct viommu_drv_endpoint;

enum viommu_drv_fault_reason {
	VIOMMU_DRV_FAULT_UNKNOWN,
	VIOMMU_DRV_FAULT_DOMAIN,  /* the endpoint is not attached */
	VIOMMU_DRV_FAULT_MAPPING, /* no mapping, or not with this permission */
};
#define VIOMMU_DRV_FAULT_READ	 (1u << 0) /* the access was a read */
#define VIOMMU_DRV_FAULT_WRITE	 (1u << 1)
#define VIOMMU_DRV_FAULT_ADDRESS (1u << 2) /* address is valid */
struct viommu_drv_fault {
	enum viommu_drv_fault_reason reason;
	uint32_t flags;	   /* VIOMMU_DRV_FAULT_* */
	uint32_t endpoint; /* as the device says: may be unknown to the driver */
	uint64_t address;  /* iova, if flags say so; else 0 */
};

/* What the driver tells; each may be NULL. No lock is held. */
struct viommu_drv_events {
	/* A blocked access, from viommu_drv_poll_events(). */
	void (*fault)(void *opaque, const struct viommu_drv_fault *fault);
	/*
	 * A lazy flush failed: [start, last] of the domain may still be
	 * reachable. Its addresses are not used again before a reset, its pages
	 * should not be either.
	 */
	void (*flush_failed)(void *opaque, struct viommu_drv_domain *domain,
			     uint64_t start, uint64_t last, int error);
	/* A queue was quarantined: -ETIMEDOUT or -EIO. Called once a reset. */
	void (*quarantined)(void *opaque, int error);
};

/* Zero is a good choice everywhere. */
struct viommu_drv_config {
	uint64_t request_timeout_ns; /* 0: 10 s. Above the device's hold timeout */
	uint16_t queue_size;	     /* entries; 0: 256, or what the device allows */
	uint16_t events_nr;	     /* event buffers; 0: 32 */
	bool no_packed, no_indirect, no_event_idx; /* do not accept these */
	bool no_map_unmap; /* bypass domains only: do not accept MAP_UNMAP */
	bool take_bypass;  /* write config.bypass = bypass, where negotiated */
	bool bypass;	   /* of endpoints that are not attached */
};

/*
 * Resets the device, negotiates, sets up the queues and starts it. Control;
 * waits. Result: 0; -EINVAL: a needed op is missing; -ENODEV: the device does
 * not offer VERSION_1 or MAP_UNMAP, or refuses what was negotiated (it is left
 * with FAILED); -ENOMEM; -ETIMEDOUT: it does not finish its reset; -EIO: its
 * configuration makes no sense (no page size, ranges that are empty).
 * platform, transport and events are copied; their opaques must outlive it.
 */
int viommu_drv_create(const struct viommu_drv_platform *platform, void *platform_opaque,
		      const struct viommu_drv_transport *transport,
		      void *transport_opaque, const struct viommu_drv_config *config,
		      struct viommu_drv **out);
/* Resets the device. Domains and endpoints must be gone. NULL is allowed. */
void viommu_drv_destroy(struct viommu_drv *drv);

/* Where faults and asynchronous errors go. Before the first domain. Control. */
void viommu_drv_set_events(struct viommu_drv *drv, const struct viommu_drv_events *events,
			   void *opaque);

/*
 * Resets the device and rebuilds it: queues, attachments, mappings. The way out
 * of a quarantine. Data calls under way fail. Result: 0; as viommu_drv_create();
 * or the first error of an attach or map that was replayed: the device is then
 * left quarantined with -EIO, call again or give it up. Control; waits.
 */
int viommu_drv_reset(struct viommu_drv *drv);

/* 0: all queues serve. -ETIMEDOUT, -EIO: quarantined. Data. */
int viommu_drv_health(struct viommu_drv *drv);

/* Takes what is in the event queue; at most a queue full. Call it from the
 * queue's interrupt, or now and then. Result: events handled, or -EIO: the
 * event queue made no sense and is closed until reset, or is being reset. Data. */
int viommu_drv_poll_events(struct viommu_drv *drv);

/* Bits negotiated, and the device's limits. Data. */
uint64_t viommu_drv_features(const struct viommu_drv *drv);
uint64_t viommu_drv_granule(const struct viommu_drv *drv); /* bytes, a power of two */

/* Counters since creation; values may lag. Data. */
struct viommu_drv_stats {
	uint64_t requests;	/* given to the device, all types */
	uint64_t maps, unmaps;	/* of them */
	uint64_t notifications; /* kicks of a request queue */
	uint64_t failed;	/* answered with an error */
	uint64_t syncs;		/* waits for an answer */
	uint64_t faults;	/* handed to the handler */
	uint64_t events_bad;	/* events ignored: length or reserved bytes */
	uint64_t probe_bad;	/* probe properties ignored as malformed */
	uint64_t resets;
};
void viommu_drv_get_stats(struct viommu_drv *drv, struct viommu_drv_stats *out);

/* ---- endpoints ---- */

enum viommu_drv_resv_kind { VIOMMU_DRV_RESV_RESERVED, VIOMMU_DRV_RESV_MSI };
struct viommu_drv_resv {
	uint64_t start, last;
	enum viommu_drv_resv_kind kind;
};

struct viommu_drv_endpoint_config {
	uint32_t id;	   /* as the platform's topology says */
	uint64_t dma_last; /* highest iova the endpoint can put out; 0: all */
	bool untrusted;	   /* strict, whatever is asked */
	uint32_t group;	   /* endpoints that cannot be isolated from one another
			    * have the same; 0: it can be */
};

/*
 * Makes an endpoint known and probes it, if the device can. It starts
 * unattached. Result: 0; -EEXIST: id taken; -ENOENT: the device does not know
 * it; -ENOMEM; -EIO: the device's properties make no sense (lengths, regions
 * that run backwards), or it failed; -ETIMEDOUT. Control; waits.
 */
int viommu_drv_endpoint_create(struct viommu_drv *drv,
			       const struct viommu_drv_endpoint_config *config,
			       struct viommu_drv_endpoint **out);
/* Detaches it first. NULL is allowed. 0, or the detach's error: the endpoint
 * is gone all the same, but the device may let it reach the domain, which is
 * treated as if something were attached, until a reset. Control; waits. */
int viommu_drv_endpoint_destroy(struct viommu_drv_endpoint *ep);

/* The regions that must not be mapped, sorted by start. Data. */
const struct viommu_drv_resv *
viommu_drv_endpoint_resv(const struct viommu_drv_endpoint *ep, unsigned *nr);
/* The region of message-signalled interrupts that the device handles itself.
 * -ENOENT: there is none, the caller maps its doorbell (VIOMMU_DRV_MMIO). Data. */
int viommu_drv_endpoint_msi(const struct viommu_drv_endpoint *ep, uint64_t *start,
			    uint64_t *last);
/* The domain it is attached to, or NULL. Control. */
struct viommu_drv_domain *
viommu_drv_endpoint_domain(const struct viommu_drv_endpoint *ep);

/* ---- domains ---- */

enum viommu_drv_mode {
	VIOMMU_DRV_STRICT,	/* unmap returns when no endpoint can reach it */
	VIOMMU_DRV_LAZY_CPU,	/* flush queue per CPU: 256 entries, 10 ms */
	VIOMMU_DRV_LAZY_SINGLE, /* one flush queue: 32768 entries, 1 s */
};

struct viommu_drv_domain_config {
	bool bypass; /* identity, no mappings; needs BYPASS_CONFIG */
	/* For the DMA calls. */
	enum viommu_drv_mode mode;
	bool no_sync_map;		/* wait for each MAP request, to compare */
	uint32_t flush_entries;		/* 0: as the mode says. At most 1 << 20 */
	uint64_t flush_ns;		/* 0: as the mode says */
	uint64_t iova_first, iova_last; /* both 0: all the device allows */
};

/*
 * An empty domain without endpoints; the device hears of it when the first one
 * is attached. Result: 0; -ENOMEM; -ENOSPC: no domain number left; -EINVAL;
 * -EOPNOTSUPP: bypass without BYPASS_CONFIG, mappings without MAP_UNMAP.
 * Control.
 */
int viommu_drv_domain_create(struct viommu_drv *drv,
			     const struct viommu_drv_domain_config *config,
			     struct viommu_drv_domain **out);
/* No endpoint may be attached; mappings are forgotten. The number is free, but for
 * a domain that an endpoint was destroyed in without the device letting go of it:
 * then it is not used again before a reset. NULL is allowed. Control. */
void viommu_drv_domain_destroy(struct viommu_drv_domain *domain);
uint32_t viommu_drv_domain_id(const struct viommu_drv_domain *domain);

/*
 * Attaches; an endpoint that is attached elsewhere moves. The first endpoint of
 * a domain makes all mappings known to the device. Result: 0; -EBUSY: a mapping
 * lies in a reserved region of the endpoint, or another one of its group is
 * attached to another domain; -EOPNOTSUPP, -ENOENT, -EINVAL,
 * -ENOMEM: refused by the device; -EIO, -ETIMEDOUT. On failure the endpoint is
 * attached where it was; if the device refused that too, nowhere; if it did not
 * even let go of a domain whose mappings it refused, to that:
 * viommu_drv_endpoint_domain() tells. Reserved
 * regions stay reserved in the domain after a detach. An untrusted endpoint
 * makes the domain strict until viommu_drv_domain_set_mode() after its detach.
 * Control; waits.
 */
int viommu_drv_attach(struct viommu_drv_domain *domain, struct viommu_drv_endpoint *ep);
/* 0: it cannot reach the domain's mappings any more. -ENOENT: not attached.
 * -EIO, -ETIMEDOUT: it may. Unmap first what was mapped for it. Control; waits. */
int viommu_drv_detach(struct viommu_drv_endpoint *ep);

/* ---- requests ---- */

#define VIOMMU_DRV_READ	 (1u << 0) /* endpoints may read */
#define VIOMMU_DRV_WRITE (1u << 1) /* endpoints may write */
#define VIOMMU_DRV_MMIO	 (1u << 2) /* target is device registers; needs F_MMIO */

/*
 * Requests sent together. Lives on the caller's stack, belongs to one thread,
 * starts as VIOMMU_DRV_BATCH_INIT and may not be left before viommu_drv_sync().
 */
struct viommu_drv_batch {
	uint32_t pending; /* internal */
	/* The first failure so far, 0: none; written while requests are out, so
	 * what counts is sync's result. Sync leaves 0. */
	int error;
	/* Range of the request that failed, 0 and 0 for a failure without one;
	 * valid after a sync that failed, until the batch is used again. */
	uint64_t fail_start, fail_last;
	struct viommu_drv_domain *domain; /* internal */
};
#define VIOMMU_DRV_BATCH_INIT                                                            \
	{                                                                                \
		0, 0, 0, 0, NULL                                                         \
	}

/*
 * Records a mapping and queues the request for it; nothing is sent while the
 * domain has no endpoint. Result: 0; -EINVAL: flags, last <= start, bypass
 * domain; -ERANGE: not aligned to the granule, outside the input range, pa
 * wraps around; -EBUSY: in a reserved region of an endpoint; -EEXIST: overlaps
 * a mapping; -ENOMEM; -EOPNOTSUPP: MMIO without the feature; -EIO, -ETIMEDOUT:
 * quarantined. On failure nothing is recorded. Data; waits if the ring is full.
 * All requests of a batch must be for one domain: -EINVAL.
 */
int viommu_drv_map(struct viommu_drv_domain *domain, uint64_t start, uint64_t last,
		   uint64_t pa, unsigned flags, struct viommu_drv_batch *batch);

/*
 * Forgets all mappings in [start, last] and queues one UNMAP for them; holes
 * are fine. Result: number of mappings, 0 if there were none (nothing is sent);
 * -ERANGE: would cut a mapping, nothing changed; -EINVAL; -EIO, -ETIMEDOUT:
 * quarantined, the mappings are forgotten but may be reachable. Data; waits if
 * the ring is full.
 */
int viommu_drv_unmap(struct viommu_drv_domain *domain, uint64_t start, uint64_t last,
		     struct viommu_drv_batch *batch);

/*
 * Sends what is queued, with one notification at most, and waits for the
 * batch's own requests. Result: 0, or the first failure, with the range in the
 * batch: -EOPNOTSUPP, -EINVAL, -ERANGE, -ENOENT, -EFAULT, -ENOMEM as the device
 * said, -EREMOTEIO: DEVERR, -EIO: IOERR, no answer in the reply or nonsense;
 * -ETIMEDOUT. A mapping whose request failed stays recorded: unmap it.
 * An empty batch costs nothing. The batch is empty again on return.  Data; waits.
 */
int viommu_drv_sync(struct viommu_drv *drv, struct viommu_drv_batch *batch);

/* The mapping at iova: its physical address. 0, -ENOENT. Data. */
int viommu_drv_lookup(struct viommu_drv_domain *domain, uint64_t iova, uint64_t *pa);

/* ---- DMA ---- */

/* A piece of memory; pieces are mapped in one go, to adjacent iovas where the
 * pieces end on pages. iova is filled in. */
struct viommu_drv_sg {
	uint64_t pa, len; /* bytes, any alignment, len > 0 */
	uint64_t iova;
};

/*
 * Maps [pa, pa + len) for the endpoint's domain at an address the endpoint can
 * reach. An endpoint in a bypass domain gets pa itself. flags: VIOMMU_DRV_READ,
 * WRITE, MMIO. Result: 0; -EINVAL; -ENXIO: not attached; -ENOSPC: no addresses left
 * below the endpoint's limit, after a flush of what was unmapped lazily (a flush
 * that runs on the same CPU is not waited for: this call may have interrupted it);
 * -ENOMEM, likewise (dma_queue_sg: its sync tells); -ERANGE: bypass and out of the
 * endpoint's reach; the device's errors as for viommu_drv_sync(). On failure
 * nothing is mapped. Data; waits.
 */
int viommu_drv_dma_map(struct viommu_drv_endpoint *ep, uint64_t pa, uint64_t len,
		       unsigned flags, uint64_t *iova);
int viommu_drv_dma_map_sg(struct viommu_drv_endpoint *ep, struct viommu_drv_sg *sg,
			  unsigned nr, unsigned flags);
/*
 * As dma_map_sg, but only queued: an operation that submits several buffers maps
 * them all with one viommu_drv_sync(), and uses the addresses after it. If that
 * fails, each buffer that was queued is taken back with dma_unmap_sg. batch NULL:
 * as dma_map_sg. Data; waits if the ring is full.
 */
int viommu_drv_dma_queue_sg(struct viommu_drv_endpoint *ep, struct viommu_drv_sg *sg,
			    unsigned nr, unsigned flags, struct viommu_drv_batch *batch);
/* As dma_map for a pointer, through the platform's virt_to_phys; the buffer
 * must be contiguous in physical memory. */
int viommu_drv_dma_map_virt(struct viommu_drv_endpoint *ep, const void *p, uint64_t len,
			    unsigned flags, uint64_t *iova);

/*
 * Takes back exactly what one of the calls above gave. Strict: 0 means no
 * endpoint can reach it. Lazy: 0 means it will be so after a flush. -EINVAL: was
 * not mapped like this, nothing changed. The device's errors: the pages may
 * still be reachable and should not be used again before a reset of the device;
 * the addresses will not be. Data; waits (lazy: when the queue is full).
 */
int viommu_drv_dma_unmap(struct viommu_drv_endpoint *ep, uint64_t iova, uint64_t len);
int viommu_drv_dma_unmap_sg(struct viommu_drv_endpoint *ep,
			    const struct viommu_drv_sg *sg, unsigned nr);

/* Shared memory that stays mapped for reading and writing. Errors as dma_map.
 * dma_free: on failure the memory is not given back to the platform, because
 * a device may reach it. */
int viommu_drv_dma_alloc(struct viommu_drv_endpoint *ep, size_t len, void **p,
			 uint64_t *iova);
int viommu_drv_dma_free(struct viommu_drv_endpoint *ep, void *p, size_t len,
			uint64_t iova);

/* Empties all flush queues of the domain: on return with 0, whatever was
 * unmapped before the call cannot be reached, but for what flush_failed told
 * before it. Data; waits, also for flushes of other threads: not where it may
 * have interrupted one. */
int viommu_drv_dma_flush(struct viommu_drv_domain *domain);

/*
 * Changes the mode at run time: drains first. flush_entries and flush_ns as in
 * the domain's config. Result: the mode that is in force, which is
 * VIOMMU_DRV_STRICT if an untrusted endpoint is attached, memory is short or
 * there is no timer; or the error of the drain, and the mode is then strict.
 * Control; waits.
 */
int viommu_drv_domain_set_mode(struct viommu_drv_domain *domain,
			       enum viommu_drv_mode mode, uint32_t flush_entries,
			       uint64_t flush_ns);
/* The mode in force. Data. */
enum viommu_drv_mode viommu_drv_domain_mode(const struct viommu_drv_domain *domain);

/* The platform's timer calls this. Data; waits. */
void viommu_drv_timer(struct viommu_drv_timer *timer);

struct viommu_drv_dma_stats {
	uint64_t maps, unmaps;	  /* calls that succeeded */
	uint64_t flushes;	  /* of a queue: full, timer or demand */
	uint64_t flushed;	  /* unmaps that they carried */
	uint64_t flush_requests;  /* UNMAP requests that took */
	uint64_t strict_fallback; /* lazy unmaps done strictly */
	uint64_t window_ns;	  /* longest from unmap to the end of its flush */
	uint64_t lost_bytes;	  /* addresses given up after failures */
};
void viommu_drv_dma_get_stats(struct viommu_drv_domain *domain,
			      struct viommu_drv_dma_stats *out);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_DRV_H */
