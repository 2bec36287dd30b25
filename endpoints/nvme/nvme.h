/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Inside of the NVMe controller.
 *
 *   regs.c      registers, doorbells, enabling, resets
 *   queue.c     submission and completion queues, shadow doorbells, interrupts
 *   batch.c     how many completions share an interrupt
 *   data.c      PRP lists and SGLs -> pages held, or bytes copied
 *   admin.c     the admin command set; features.c, identify.c, log.c its parts
 *   io.c        the NVM command set
 *   nvme.c      options, namespaces, the endpoint
 *
 * Life of a command: queue.c fetches it from a submission queue inside a DMA
 * section and finds it a request; admin.c or io.c answers it at once or starts
 * block I/O on held pages; request_complete() releases the pages and posts the
 * completion, or parks it while the completion queue is full.
 *
 * Threads: the endpoint's one thread.
 */
#ifndef ENDPOINTS_NVME_NVME_H
#define ENDPOINTS_NVME_NVME_H

#include <viommu/dma.h>

#include "endpoints/block/block.h"
#include "endpoints/endpoint.h"
#include "endpoints/latency.h"
#include "endpoints/nvme/batch.h"
#include "endpoints/nvme/spec.h"
#include "endpoints/types.h"
#include "endpoints/util.h"

#define NVME_IO_QUEUES_MAX  64u	  /* pairs; option queues=, default 16 */
#define NVME_QUEUE_LEN_MAX  1024u /* entries: CAP.MQES + 1 */
#define NVME_NAMESPACES_MAX 8u
#define NVME_REQUESTS_NR                                                                 \
	1024u			/* commands under way; more stay in their queue. The     \
				 * last one is for the flush of a shutdown */
#define NVME_PAGE	  4096u /* the one memory page size offered */
#define NVME_MDTS	  7u	/* 2^7 pages: 512 KiB a command */
#define NVME_TRANSFER_MAX (NVME_PAGE << NVME_MDTS)
/* Pieces of one transfer: a page each, one more if the first is not aligned. */
#define NVME_PIECES_MAX	      ((1u << NVME_MDTS) + 2)
#define NVME_AERS_MAX	      4u    /* AERL + 1 */
#define NVME_EVENTS_MAX	      8u    /* events not yet reported; more are dropped */
#define NVME_ERROR_LOG_NR     16u   /* ELPE + 1 */
#define NVME_DSM_RANGES_MAX   256u  /* of one Dataset Management command */
#define NVME_SGL_SEGMENTS_MAX 64u   /* segments of one command: invalid beyond */
#define NVME_SGL_ENTRIES_MAX  2048u /* descriptors of one command: likewise */
#define NVME_ABORTS_MAX	      4u    /* ACL + 1; all are answered at once */
#define NVME_DRAIN_MS                                                                    \
	4000u /* longest wait for the disk in a reset: a VMM gives                       \
	       * a device up whose answer takes 5 s */

struct nvme;

struct nvme_cq {
	bool live;
	bool irq_enabled;
	uint32_t posted; /* completions since the last turn's end */
	struct nvme_batch batch;
	uint8_t phase; /* 1 in the first pass */
	uint16_t id, vector;
	uint16_t users;	     /* submission queues on it */
	uint32_t len;	     /* entries */
	uint32_t head, tail; /* head: the driver's, as last seen */
	uint64_t iova;
	struct nvme_request *parked, **parked_end; /* wait to be posted */
};

struct nvme_sq {
	bool live;
	uint16_t id, cq;
	uint32_t len;
	uint32_t head, tail; /* tail: the driver's, as last seen */
	uint32_t under_way;  /* fetched and not answered */
	uint64_t iova;
};

struct nvme_namespace {
	struct block *block; /* NULL: no such namespace */
	uint32_t id;	     /* from 1 */
	uint8_t lba_lg2;     /* log2 of the block size, bytes */
	uint64_t blocks;     /* capacity */
	uint64_t read_units, written_units, reads, writes; /* for SMART */
};

struct nvme_request {
	struct nvme *nvme;
	struct nvme_request *next; /* free list, or parked at a completion queue */
	struct nvme_sq *sq;
	struct nvme_namespace *ns;
	uint16_t cid, sq_id, cq_id;
	uint16_t status;	   /* enum nvme_status */
	uint32_t result;	   /* dw0 of the completion */
	uint64_t taken_ns;	   /* the turn it was taken in */
	bool started;		   /* block I/O is under way */
	bool lost;		   /* a reset did not wait for it any longer */
	bool compare;		   /* read into the bounce buffer, then compared */
	uint16_t flush_next;	   /* index of the namespace to be flushed next */
	uint16_t dsm_next, dsm_nr; /* ranges of a DSM command still to discard */
	struct nvme_cmd cmd;	   /* our copy */
	struct block_io io;
	struct viommu_sg sg; /* over the arrays below */
	struct iovec iov[NVME_PIECES_MAX];
	struct viommu_hold hold[NVME_PIECES_MAX];
};

struct nvme_error_entry {
	uint64_t count; /* 0: unused */
	uint16_t sq, cid, status;
	uint64_t lba;
	uint32_t nsid;
};

struct nvme_stats {
	uint64_t reads, writes, flushes, others, admin, bytes_read, bytes_written;
	uint64_t errors, blocked, doorbells, shadow_polls, interrupts, resets, fatal;
};

struct nvme_options {
	unsigned queues, queue_len, block_len;
	bool shadow_doorbells, sgl, batch;
	char serial[21], model[41];
};

struct nvme {
	struct endpoint ep;
	struct viommu_dma *dma;
	struct nvme_options opt;

	/* Registers (spec.h). */
	uint32_t cc, csts, aqa, intm;
	uint64_t asq, acq;

	struct nvme_sq sq[NVME_IO_QUEUES_MAX + 1]; /* 0: admin */
	struct nvme_cq cq[NVME_IO_QUEUES_MAX + 1];
	uint16_t queues_granted; /* pairs the driver may create */
	unsigned top;		 /* no queue above this one has been live */
	unsigned next_sq;	 /* where the next turn starts: round robin */
	bool completed;		 /* something was posted in this turn */
	unsigned parked;	 /* requests that wait at completion queues */
	unsigned batching;	 /* queues with completions that wait for others */

	bool shadow; /* Doorbell Buffer Config was accepted */
	uint64_t shadow_iova, event_iova;

	struct nvme_namespace ns[NVME_NAMESPACES_MAX]; /* index: nsid - 1 */

	/* Asynchronous events. */
	struct nvme_request *aer[NVME_AERS_MAX]; /* wait for an event */
	unsigned aer_nr;
	uint32_t event[NVME_EVENTS_MAX];
	unsigned event_nr;
	uint32_t event_masked; /* types reported and not yet read, a bit each */
	uint32_t changed_ns;   /* a bit a namespace, until the log is read */

	/* Features, as set. */
	uint32_t feat_arbitration, feat_temperature[2], feat_error_recovery;
	uint32_t feat_coalescing, feat_atomicity, feat_async_events, feat_power;
	bool write_cache;

	struct nvme_error_entry error_log[NVME_ERROR_LOG_NR];
	uint64_t error_count;
	uint64_t power_on_ns; /* CLOCK_MONOTONIC at creation */
	struct nvme_stats stats;
	struct latency latency;

	struct nvme_request *request; /* NVME_REQUESTS_NR */
	struct nvme_request *free;
	unsigned under_way; /* block I/Os, but those that are lost */
	unsigned lost;	    /* the disk has them since before a reset */
	unsigned drain_ms;  /* NVME_DRAIN_MS; less in tests */
	bool enable_due;    /* CC.EN is set; waits until none is lost */
	struct nvme_request *bounce_user;
	uint8_t *bounce; /* NVME_TRANSFER_MAX bytes: Compare, DSM */
	struct iovec bounce_iov;
	uint8_t page[NVME_IDENTIFY_LEN]; /* being built for the guest */
};

static inline struct nvme *to_nvme(struct endpoint *ep)
{
	return container_of(ep, struct nvme, ep);
}

/* A command's outcome. */
#define NVME_PENDING 0xffffu /* request_complete() follows later */
#define NVME_RETRY   0xfffeu /* leave it in its queue for the next turn */

/* regs.c */
uint64_t nvme_bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len);
void nvme_bar_write(void *opaque, unsigned bar, uint64_t offset, unsigned len,
		    uint64_t value);
/* As power-on: no queues, no transfers, registers at their defaults. */
void nvme_reset(struct nvme *n);
/* Enables a controller that had to wait for lost requests. */
void nvme_enable_late(struct nvme *n);
/* The controller cannot go on; only a reset helps (CSTS.CFS). */
void nvme_fatal(struct nvme *n, const char *why);

/* queue.c */
/* Whether a queue of len entries would go on at address 0. */
static inline bool nvme_queue_wraps(uint64_t iova, uint32_t len, unsigned entry_len)
{
	return iova + ((uint64_t)len * entry_len - 1) < iova;
}
void nvme_sq_init(struct nvme *n, unsigned id, uint64_t iova, uint32_t len, uint16_t cq);
void nvme_cq_init(struct nvme *n, unsigned id, uint64_t iova, uint32_t len);
void nvme_sq_doorbell(struct nvme *n, unsigned id, uint32_t tail);
void nvme_cq_doorbell(struct nvme *n, unsigned id, uint32_t head);
/* Doorbells are in memory from now on. false: not within the device's reach; nothing
 * has changed. */
bool nvme_shadow_set(struct nvme *n, uint64_t shadow, uint64_t event);
/* Whether queues are served: commands fetched, events told. */
bool nvme_is_running(const struct nvme *n);
unsigned nvme_queues_poll(struct nvme *n, unsigned budget);
bool nvme_queues_arm(struct nvme *n);
void nvme_queues_interrupt(struct nvme *n);
/* Before a sleep: completions that wait for others wait no longer. */
void nvme_queues_tell(struct nvme *n);
void nvme_update_intx(struct nvme *n);
/* Gives the request back with its status; pages are released. */
void nvme_request_complete(struct nvme *n, struct nvme_request *rq);
void nvme_request_free(struct nvme *n, struct nvme_request *rq);
/* The requests that wait for room in a completion queue vanish: those of sq, or all:
 * NULL. */
void nvme_cq_forget(struct nvme *n, struct nvme_cq *cq, const struct nvme_sq *sq);
/* All requests are free but those that are lost; nothing else is under way. */
void nvme_requests_init(struct nvme *n);

/* data.c: result: enum nvme_status. */
uint16_t nvme_data_hold(struct nvme *n, struct nvme_request *rq, uint32_t len,
			unsigned perm);
uint16_t nvme_data_to_guest(struct nvme *n, struct nvme_request *rq, const void *buf,
			    uint32_t len);
uint16_t nvme_data_from_guest(struct nvme *n, struct nvme_request *rq, void *buf,
			      uint32_t len);
void nvme_data_release(struct nvme *n, struct nvme_request *rq);

/* admin.c, features.c, identify.c, log.c, io.c: result: enum nvme_status, or
 * NVME_PENDING, NVME_RETRY. */
uint16_t nvme_admin_command(struct nvme *n, struct nvme_request *rq);
uint16_t nvme_get_features(struct nvme *n, struct nvme_request *rq);
uint16_t nvme_set_features(struct nvme *n, struct nvme_request *rq);
void nvme_features_reset(struct nvme *n);
/* Whether the temperature is at or beyond a threshold that the driver set. */
bool nvme_temperature_is_critical(const struct nvme *n);
#define NVME_TEMPERATURE 300u /* kelvin, always */
uint16_t nvme_identify(struct nvme *n, struct nvme_request *rq);
uint16_t nvme_get_log_page(struct nvme *n, struct nvme_request *rq);
void nvme_log_error(struct nvme *n, const struct nvme_request *rq, uint16_t status);
/* Queues an asynchronous event. */
void nvme_event(struct nvme *n, uint32_t event);
void nvme_events_report(struct nvme *n);
uint16_t nvme_io_command(struct nvme *n, struct nvme_request *rq);
void nvme_io_done(void *opaque, struct block_io *io, int res);
/* Ends the block I/O of a queue, or all: sq NULL. What the disk does not give back in
 * drain_ms is lost: it keeps its pages, and its request, until the disk answers. */
void nvme_io_drain(struct nvme *n, const struct nvme_sq *sq);
/* Hands I/O to the disks and takes what they have finished. */
void nvme_io_turn(struct nvme *n);
/* Sleeps until the disks have something, for a moment at most. */
void nvme_io_wait(struct nvme *n);
/* Puts what was written on stable storage, then CSTS.SHST says so. */
void nvme_io_shutdown(struct nvme *n);

/* NULL: not an active namespace. */
static inline struct nvme_namespace *nvme_ns(struct nvme *n, uint32_t nsid)
{
	if (nsid < 1 || nsid > NVME_NAMESPACES_MAX || !n->ns[nsid - 1].block)
		return NULL;
	return &n->ns[nsid - 1];
}

#endif /* ENDPOINTS_NVME_NVME_H */
