/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Inside of the IOMMU device. A request goes: message (where its bytes are) ->
 * one copy -> proto_decode_request() -> check -> struct space -> reply.
 *
 * Threads: all control side, but fault_record() and the `released` callback,
 * which run on any thread and touch only `faults`, `counters.fault*` and `woken`.
 */
#ifndef VIOMMU_LIB_DEVICE_H
#define VIOMMU_LIB_DEVICE_H

#include <viommu/device.h>

#include "base/compiler.h"
#include "base/limits.h"
#include "domain/domain.h"
#include "proto/proto.h"

/* ---- faults: bounded queue of many producers and one consumer ---- */

struct fault_cell {
	uint64_t ready; /* ticket + 1 of the fault in `fault`; atomic */
	struct proto_fault fault;
};

struct fault_queue {
	uint64_t room_taken; /* places taken or being tried for; atomic */
	uint64_t next;	     /* next ticket of a producer; atomic */
	uint64_t head;	     /* next ticket to consume; consumer's */
	struct fault_cell cell[LIMIT_FAULTS_PENDING];
	/* Rate limit, one word an endpoint that used some of its rate lately:
	 * endpoint id in the upper half, in the lower the time in us (modulo
	 * 2^32) up to which its rate is used. Atomic. */
	uint64_t source[LIMIT_FAULT_SOURCES];
};

/* Takes a fault of an endpoint with `rate` a second. 0; -EAGAIN: over the rate;
 * -ENOSPC: the queue is full. Any thread. */
int fault_queue_put(struct fault_queue *q, const struct proto_fault *fault, uint32_t rate,
		    uint64_t now_ns);
/* The oldest fault, or NULL; stays until fault_queue_drop(). One consumer. */
const struct proto_fault *fault_queue_peek(struct fault_queue *q);
void fault_queue_drop(struct fault_queue *q);

/* ---- messages: where the bytes of a request are ---- */

/* A chain of a ring, or plain buffers reached through identity_mem. */
struct message {
	const struct viommu_ring_mem *mem;
	const struct viommu_virtq_buf *readable, *writable;
	unsigned readable_nr, writable_nr;
	uint64_t writable_len; /* bytes */
};

/* A position in the writable part; moves forward only. */
struct message_cursor {
	const struct message *msg;
	unsigned index;	 /* of the buffer */
	uint64_t offset; /* in the buffer */
};

/* Memory whose addresses are pointers of this process. */
extern const struct viommu_ring_mem identity_mem;

/* Copies the first `len` bytes of the readable part, or what there is. Bytes
 * copied, or -EFAULT. */
int message_read(const struct message *msg, uint8_t *buf, unsigned len);
/* Where the first `len` bytes of the writable part are, if they are in one piece;
 * else, or if they cannot be reached, NULL. */
uint8_t *message_direct(const struct message *msg, uint32_t len);
/* 0 if the first `len` bytes of the writable part can be reached; -EFAULT. */
int message_check(const struct message *msg, uint64_t len);
/* Writes at the cursor; data NULL: zeroes. 0; -EFAULT. */
int message_write(struct message_cursor *at, const uint8_t *data, uint64_t len);

/* ---- the device ---- */

enum park_phase {
	PARK_NONE,
	PARK_HOLD, /* executed; the reply waits for held pages */
	PARK_PUSH, /* replied; the ring could not be reached to give it back */
};

/* The one request whose end is still to come. */
struct parked {
	enum park_phase phase;
	struct proto_request req;
	uint64_t since_ns;	   /* when it was parked */
	uint64_t found_ns;	   /* from_ring: when its batch was found */
	uint32_t used;		   /* PARK_PUSH: used length */
	bool from_ring;		   /* else from viommu_device_request() */
	struct viommu_chain chain; /* from_ring */
	struct viommu_virtq_buf tail[PROTO_TAIL_LEN]; /* where the tail goes */
	unsigned tail_nr;
	const struct iovec *in, *out; /* plain: to know the request again */
	unsigned in_nr, out_nr;
};

struct device_counters {
	uint64_t requests[VIOMMU_REQUEST_TYPES_NR][VIOMMU_STATUS_NR];
	uint64_t unanswered;
	uint64_t events_sent, parked, config_writes_ignored;
	/* Written by any thread; atomic. */
	uint64_t fault[3], events_dropped, events_limited;
};

/* What one call of viommu_device_process() takes from the request queue. */
struct batch {
	uint64_t found_ns; /* when its first request was found; 0: none was yet */
	uint64_t left_ns;  /* since when requests are known to wait for the next
			    * batch; 0: not known */
	uint32_t nr[VIOMMU_REQUEST_TYPES_NR]; /* answered */
};

struct tracer {
	void (*fn)(void *opaque,
		   const struct viommu_request_info *info); /* may be NULL */
	void *opaque;
	uint64_t from_ns; /* duration of the next reply starts here */
};

struct viommu_device {
	struct viommu_device_config cfg; /* defaults filled in */
	struct viommu_device_ops ops;
	void *opaque; /* of ops */
	struct viommu_alloc alloc;
	struct viommu_log log;
	struct space *space;
	uint64_t features;   /* negotiated; 0 before FEATURES_OK */
	bool probe_fixed;    /* probe_size was given at creation */
	uint32_t probe_size; /* as in the configuration space; never shrinks */
	uint32_t probe_seen; /* last value the driver read; 0: none yet */
	struct viommu_virtq *queue[VIOMMU_QUEUES_NR]; /* the caller's */
	bool broken[VIOMMU_QUEUES_NR];		      /* ring found broken and reported */
	struct parked parked;
	bool impatient; /* the last parked request timed out */
	uint32_t woken; /* wake() was called since the last process; atomic */
	struct batch batch;
	struct tracer tracer;
	struct device_counters counters;
	struct fault_queue faults;
	struct viommu_virtq_buf bufs[VIOMMU_VIRTQ_CHAIN_MAX]; /* of the chain at hand */
	struct viommu_device_histograms histograms;
};

static inline bool device_negotiated(const struct viommu_device *dev, unsigned feature)
{
	return dev->features & (1ull << feature);
}

static inline bool device_offers(const struct viommu_device *dev, unsigned feature)
{
	return dev->cfg.features & (1ull << feature);
}

/*
 * Executes one request up to its reply. 0: done, *used is the used length.
 * -EINPROGRESS: executed, the reply waits (dev->parked is filled but for where
 * the request came from). Whoever asked may see the reply after space_settle().
 */
int request_handle(struct viommu_device *dev, const struct message *msg, uint32_t *used);

/*
 * The end of the parked request, if it is due: writes the tail through `mem`.
 * 0: *used is the used length, nothing is parked any more; -EINPROGRESS: not yet.
 */
int request_finish(struct viommu_device *dev, const struct viommu_ring_mem *mem,
		   uint32_t *used);

/* The request goes back as it came: used length 0. req NULL: it is not known. */
void request_unanswered(struct viommu_device *dev, const struct proto_request *req);

/* ---- looking inside ---- */

/* The first request of a batch was found. */
void batch_open(struct viommu_device *dev);
/* Replies of the batch, if there is one, were published; `more` is known to wait. */
void batch_close(struct viommu_device *dev, bool more);
/* The parked request of the ring was answered. */
void batch_late(struct viommu_device *dev, const struct parked *p);

/* Tells who traces: a request was answered with `error`, or not at all. req NULL:
 * it is not known. */
void trace_request(struct viommu_device *dev, const struct proto_request *req, int error,
		   bool answered);

/* A ring makes no sense any more, nothing can be reported through it: says so,
 * once. */
void device_report_broken(struct viommu_device *dev, unsigned queue);

/* Forgets the parked request and all recorded faults (reset). */
void request_abandon(struct viommu_device *dev);
void fault_abandon(struct viommu_device *dev);

/* ops of struct space; any thread. */
void fault_record(void *opaque, const struct space_fault *fault);
void device_wake(struct viommu_device *dev);

/* Reports up to *budget faults through the event queue; VIOMMU_WORK_*. */
unsigned fault_report(struct viommu_device *dev, unsigned *budget);

uint32_t crc32_le(uint32_t crc, const void *buf, size_t len);

#endif
