/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/device.h - the virtio-iommu device (VIRTIO 1.4, "IOMMU Device").
 *
 * A VMM creates a device, adds endpoints, gives it two virtqueues (or feeds it
 * plain request buffers, if it has rings of its own) and calls
 * viommu_device_process() when there may be work. Devices behind it reach guest
 * memory through viommu/dma.h.
 *
 * Threads: everything here is control side (viommu/base.h).
 */
#ifndef VIOMMU_DEVICE_H
#define VIOMMU_DEVICE_H

#include <sys/uio.h>

#include <viommu/base.h>
#include <viommu/histogram.h>
#include <viommu/virtq.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_device;
struct viommu_endpoint;

/* Which of the standard's features to offer (VIRTIO_IOMMU_F_* bits, proto.h). */
#define VIOMMU_DEVICE_FEATURES_DEFAULT                                                   \
	((1ull << 0) | (1ull << 1) | (1ull << 2) | (1ull << 4) | (1ull << 5) |           \
	 (1ull << 6))

struct viommu_device_config {
	uint64_t features;		    /* 0: VIOMMU_DEVICE_FEATURES_DEFAULT */
	uint64_t page_size_mask;	    /* 0: all ones from 4 KiB up */
	uint64_t input_start, input_last;   /* both 0: the whole 64-bit space */
	uint32_t domain_first, domain_last; /* both 0: the whole 32-bit space */
	uint32_t probe_size;	  /* 0: grows to what the endpoints need (>= 512) */
	bool boot_bypass;	  /* config.bypass at creation and system reset */
	uint32_t hold_timeout_ms; /* 0: 2000. See viommu_device_process() */
	/* Quotas; 0: the maximum of lib/base/limits.h. */
	uint32_t max_mappings; /* of the device, all domains */
	uint32_t max_domains;
	uint32_t max_endpoints;
	uint32_t fault_rate; /* fault events a second an endpoint; 0: 100 */
};

struct viommu_fault_info {
	uint32_t endpoint;
	uint8_t reason; /* VIRTIO_IOMMU_FAULT_R_* */
	uint32_t flags; /* VIRTIO_IOMMU_FAULT_F_* */
	uint64_t address;
};

struct viommu_device_ops {
	/* There is something for viommu_device_process(): a fault, a release
	 * of held pages. Called on any thread, at most once until processed.
	 * May be NULL for one who polls. */
	void (*wake)(void *opaque);
	/* Monotonic time in ns. Needed. Called on any thread. */
	uint64_t (*now_ns)(void *opaque);
	/* The configuration space changed (probe_size grew). May be NULL. */
	void (*config_changed)(void *opaque);
	/* An error that cannot be reported otherwise: set DEVICE_NEEDS_RESET.
	 * Never caused by one bad request. May be NULL. */
	void (*needs_reset)(void *opaque);
	/* A fault was recorded and will be reported to the guest if it takes
	 * reports; not called for what is over the rate or finds no room. Any
	 * thread, inside of DMA sections: must not wait. May be NULL. */
	void (*fault)(void *opaque, const struct viommu_fault_info *fault);
	/* The same clock, as read last before viommu_device_process() was called: when
	 * the requests of that call were found. Saves a reading before each batch is
	 * answered. Called on the control side. May be NULL. */
	uint64_t (*turn_ns)(void *opaque);
};

/* Result: 0, -EINVAL (which field: logged), -ENOMEM. */
VIOMMU_API int viommu_device_create(const struct viommu_device_config *config,
				    const struct viommu_device_ops *ops, void *opaque,
				    const struct viommu_alloc *alloc,
				    const struct viommu_log *log,
				    struct viommu_device **out);
/* Endpoints and DMA contexts must be gone. NULL is allowed. */
VIOMMU_API void viommu_device_destroy(struct viommu_device *dev);

/* Features offered, transport bits (VERSION_1, rings) not included. */
VIOMMU_API uint64_t viommu_device_features(const struct viommu_device *dev);
/* The driver's choice, at FEATURES_OK; bits 24-49 are the transport's and are
 * ignored. -EINVAL: a bit was not offered. */
VIOMMU_API int viommu_device_set_features(struct viommu_device *dev, uint64_t features);

/* Configuration space (40 bytes). Reads past the end give zeroes; writes to
 * anything but a permitted value of the bypass byte are ignored and counted. */
VIOMMU_API void viommu_device_config_read(struct viommu_device *dev, uint32_t offset,
					  void *buf, uint32_t len);
VIOMMU_API void viommu_device_config_write(struct viommu_device *dev, uint32_t offset,
					   const void *buf, uint32_t len);

/*
 * Device reset (status 0): domains, mappings, features and rings are gone,
 * config.bypass stays. System reset: also config.bypass returns to its boot
 * value. Both return with no translation reachable that was there before;
 * transfers that hold pages are revoked, and a reset does not wait for them.
 */
VIOMMU_API void viommu_device_reset(struct viommu_device *dev);
VIOMMU_API void viommu_device_system_reset(struct viommu_device *dev);

enum { VIOMMU_QUEUE_REQUEST = 0, VIOMMU_QUEUE_EVENT = 1, VIOMMU_QUEUES_NR = 2 };

/* Gives the device a ring, or takes it away (NULL). The ring stays the
 * caller's and must live until taken away or reset. -EINVAL: no such queue. */
VIOMMU_API int viommu_device_set_queue(struct viommu_device *dev, unsigned queue,
				       struct viommu_virtq *vq);

/* What viommu_device_process() found, or'ed. */
#define VIOMMU_WORK_DONE (1u << 0) /* requests answered or faults reported */
#define VIOMMU_WORK_MORE (1u << 1) /* budget used up, call again */
#define VIOMMU_WORK_PARKED                                                               \
	(1u << 2)			     /* a request waits for held pages; wake()   \
					      * follows, or call again in 1 ms */
#define VIOMMU_WORK_NOTIFY_REQUEST (1u << 3) /* interrupt the driver: queue 0 */
#define VIOMMU_WORK_NOTIFY_EVENT   (1u << 4) /* interrupt the driver: queue 1 */

/*
 * Handles up to `budget` requests in ring order and reports recorded faults.
 * All replies of a call are published at once. Memory for what the next 64 requests
 * map is taken from the allocator after that, so that no request waits for it; when
 * there is none, a MAP tries again, and is answered NOMEM if there still is none.
 *
 * An UNMAP, DETACH or ATTACH that takes away pages (of bypass: all pages) that
 * a transfer holds parks the queue. When hold_timeout_ms has gone by since, it
 * is answered DEVERR: the mappings are gone for every new access, the endpoint
 * that still holds pages is named in the log and counted (hold_timeouts), and
 * pages stay pinned until it lets go. Requests that are parked after that wait
 * for a hundredth of the time only, until one of them is released in time.
 */
VIOMMU_API unsigned viommu_device_process(struct viommu_device *dev, unsigned budget);

/*
 * One request in plain buffers, for a VMM with rings of its own. in: what the
 * driver wrote, out: where the reply goes. Copied once.
 * 0: done, *written is the used length (0: the buffer was left alone, as the
 * standard asks). -EINPROGRESS: parked; the buffers must stay, call again with
 * the same arguments after wake() (or in 1 ms: a time-out wakes nobody). -EBUSY:
 * another request is parked. -E2BIG: more than VIOMMU_VIRTQ_CHAIN_MAX buffers.
 * To keep the allocator out of MAPs, call viommu_device_process() after 64 of them.
 */
VIOMMU_API int viommu_device_request(struct viommu_device *dev, const struct iovec *in,
				     unsigned in_nr, const struct iovec *out,
				     unsigned out_nr, size_t *written);

/*
 * The next fault event in wire format (24 bytes), for a VMM with rings of its
 * own. false: there is none. Not to be mixed with an event queue.
 */
VIOMMU_API bool viommu_device_next_event(struct viommu_device *dev, uint8_t event[24]);

/* ---- endpoints ---- */

/* Wire values of VIRTIO_IOMMU_RESV_MEM_T_*. */
enum viommu_resv_kind { VIOMMU_RESV_RESERVED = 0, VIOMMU_RESV_MSI = 1 };
struct viommu_resv {
	uint64_t start, last;
	enum viommu_resv_kind kind;
};

struct viommu_endpoint_config {
	uint32_t id; /* as in the topology description (VIOT, device tree) */
	const struct viommu_resv *resv; /* copied */
	unsigned resv_nr;
	bool untrusted; /* a hint for guests that can ask; see stat */
};

/*
 * An endpoint may join at any time; it starts unattached.
 * Result: 0, -EEXIST (id taken), -EINVAL (regions overlap, two MSI regions,
 * start > last), -ENOSPC (quota, or PROBE's properties do not fit a fixed
 * probe_size), -ENOMEM.
 */
VIOMMU_API int viommu_endpoint_add(struct viommu_device *dev,
				   const struct viommu_endpoint_config *config,
				   struct viommu_endpoint **out);
/* Another id for the same endpoint (DMA aliases). -EEXIST, -ENOSPC, -ENOMEM. */
VIOMMU_API int viommu_endpoint_add_alias(struct viommu_endpoint *ep, uint32_t id);
/* Detaches and forgets it; its DMA contexts must be gone. NULL is allowed. */
VIOMMU_API void viommu_endpoint_remove(struct viommu_endpoint *ep);
/* The device behind it was reset: its cached translations are dropped. The
 * attachment stays, as the driver's view of it does. */
VIOMMU_API void viommu_endpoint_reset(struct viommu_endpoint *ep);

/* ---- state ---- */

/*
 * The whole state as one versioned, checksummed blob: features, bypass,
 * domains, mappings, attachments, ring positions are the caller's (virtq.h).
 * save: *len is the room on entry, the size on return. 0, -ENOSPC (*len says
 * what is needed), -EBUSY (a request is parked).
 * restore: into a device with the same configuration and endpoints; begins with a
 * system reset, so rings are given afterwards. Recorded faults that were not yet
 * reported are not part of the state. -EINVAL (damaged, with the reason logged),
 * -EOPNOTSUPP (unknown version), -ENOENT (endpoint missing), -ERANGE (does not fit this
 * device's configuration), -ENOMEM; on failure the device is as after a system reset.
 */
VIOMMU_API int viommu_device_save(struct viommu_device *dev, void *buf, size_t *len);
VIOMMU_API int viommu_device_restore(struct viommu_device *dev, const void *buf,
				     size_t len);

/* ---- looking inside ---- */

#define VIOMMU_REQUEST_TYPES_NR 6 /* index 0: unknown types; 1..5: proto.h */
#define VIOMMU_STATUS_NR	9 /* index: VIRTIO_IOMMU_S_* */
struct viommu_device_stats {
	uint64_t requests[VIOMMU_REQUEST_TYPES_NR][VIOMMU_STATUS_NR];
	uint64_t unanswered; /* returned with used length 0 */
	uint64_t domains, endpoints, mappings, mapped_bytes; /* now */
	uint64_t faults[3];				     /* recorded, by reason */
	uint64_t events_sent, events_dropped, events_limited;
	uint64_t parked, hold_timeouts;
	uint64_t config_writes_ignored;
};
VIOMMU_API void viommu_device_get_stats(const struct viommu_device *dev,
					struct viommu_device_stats *out);

/*
 * How requests of the ring went. Latency is from when viommu_device_process() found
 * the request, or the first of its batch, in the ring (or, at the end of the call
 * before, saw that it would be left over) to when the reply was published; waiting
 * for held pages is part of it. A batch is what one call answered. Two readings of
 * the clock a batch; requests of viommu_device_request() are not in here.
 */
struct viommu_device_histograms {
	struct viommu_histogram latency_ns[VIOMMU_REQUEST_TYPES_NR];
	struct viommu_histogram batch; /* requests */
};
VIOMMU_API void viommu_device_get_histograms(const struct viommu_device *dev,
					     struct viommu_device_histograms *out);

/* One request that has been answered, or given back unanswered. What its type has
 * no field for is zero. */
struct viommu_request_info {
	uint64_t time_ns;     /* of the reply, by ops.now_ns() */
	uint64_t duration_ns; /* since it was found, or the reply before it in the
			       * batch was written */
	uint64_t start, last, gpa;
	uint32_t domain, endpoint, flags;
	uint8_t type;	/* VIRTIO_IOMMU_T_*; 0: unknown */
	uint8_t status; /* VIRTIO_IOMMU_S_*, if answered */
	bool answered;	/* else used length 0 */
	bool parked;	/* its reply waited for held pages */
};
/*
 * From now on `trace` is told of each request, on the control side, just before
 * its reply is published; NULL: nobody is. It must not call the device, except this
 * function. Costs one branch a request while nobody is told.
 */
VIOMMU_API void viommu_device_set_trace(
	struct viommu_device *dev,
	void (*trace)(void *opaque, const struct viommu_request_info *info),
	void *opaque);

/* The domains and mappings, in order; visiting must not change the device.
 * A visitor that returns false ends the walk. */
struct viommu_endpoint_info {
	uint32_t id;
	bool attached, bypass;
	uint32_t domain; /* valid if attached */
	uint64_t faults;
	uint64_t hits, misses; /* IOTLB, all contexts */
};
struct viommu_mapping_info {
	uint32_t domain;
	uint64_t start, last, gpa;
	uint32_t flags;
};
VIOMMU_API void viommu_device_visit_endpoints(
	struct viommu_device *dev,
	bool (*visit)(void *opaque, const struct viommu_endpoint_info *), void *opaque);
VIOMMU_API void viommu_device_visit_mappings(
	struct viommu_device *dev,
	bool (*visit)(void *opaque, const struct viommu_mapping_info *), void *opaque);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_DEVICE_H */
