/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Inside of the virtio block endpoint: create.c (options and life), device.c
 * (turns), config.c (features and configuration space), request.c (from chain to
 * status byte), operator.c (commands and counters).
 */
#ifndef ENDPOINTS_BLK_INTERNAL_H
#define ENDPOINTS_BLK_INTERNAL_H

#include <pthread.h>

#include <viommu/dma.h>

#include "endpoints/blk/proto.h"
#include "endpoints/block/block.h"
#include "endpoints/endpoint.h"
#include "endpoints/latency.h"
#include "endpoints/virtio/virtio.h"

/* Limits, each with a test at it and one past it. */
#define BLK_DATA_MAX	    (32u << 20)	 /* bytes of one request: IOERR */
#define BLK_SEGMENTS_MAX    16u		 /* of a DISCARD or WRITE_ZEROES: IOERR */
#define BLK_DISCARD_SECTORS (4u << 20)	 /* of one segment (2 GiB): IOERR */
#define BLK_ZEROES_SECTORS  (128u << 10) /* of one segment (64 MiB): IOERR */
#define BLK_INFLIGHT_MAX    1024u	 /* more stay in the rings */
#define BLK_REVOKES_MAX	    8u		 /* noted ranges; more count as all */
/* Told to the driver; longer chains are served too. */
#define BLK_SEG_MAX 254u
/* Pieces of guest memory in one system call; longer requests take several. */
#define BLK_PIECES_MAX 256u
/* A reset waits this long for the disk: QEMU gives up on a reply after 5 s. */
#define BLK_DRAIN_MS 4000u

struct blk;

/* A place in a chain's buffers. */
struct cursor {
	uint16_t buf;  /* index into bufs */
	uint32_t skip; /* bytes of that buffer that are behind it */
	uint64_t left; /* bytes up to the end of the data */
};

enum request_state { REQUEST_FREE, REQUEST_POPPED, REQUEST_STARTED, REQUEST_LOST };

struct request {
	struct block_io io; /* first: done() gets it */
	struct virtio_queue *queue;
	struct request *next; /* free */
	enum request_state state;
	enum latency_kind kind;
	uint64_t taken_ns; /* the turn it was taken in */
	uint32_t type;
	uint64_t sector;
	uint64_t status_addr;
	struct cursor data; /* what is not yet transferred */
	uint64_t data_len;  /* all of it */
	uint64_t written;   /* bytes of guest memory, from the first writable one */
	struct viommu_chain chain;
	unsigned segment_nr, segment_at; /* DISCARD, WRITE_ZEROES */
	struct virtio_blk_segment segment[BLK_SEGMENTS_MAX];
	struct viommu_sg sg;	       /* held for io */
	struct viommu_virtq_buf *bufs; /* blk->bufs_max of them */
};

struct blk_stats {
	uint64_t reads, writes, flushes, get_ids, discards, write_zeroes, unknown;
	uint64_t read_bytes, write_bytes;
	uint64_t errors;  /* answered IOERR */
	uint64_t blocked; /* of those: memory out of reach */
	uint64_t cancelled;
	uint64_t polls, inflight_peak;
};

struct revoked {
	uint64_t start, last; /* iova */
};

/* Ranges that were unmapped while held; written on the control side. */
struct revokes {
	pthread_mutex_t lock; /* protects nr and range */
	bool pending;	      /* atomic hint: nr != 0 */
	unsigned nr;	      /* BLK_REVOKES_MAX + 1: everything */
	struct revoked range[BLK_REVOKES_MAX];
};

struct blk {
	struct endpoint ep;
	struct virtio_dev virtio;
	struct block *block;
	const struct block_info *info;

	/* Set at creation. */
	unsigned queues_nr, bufs_max, inflight_max;
	unsigned drain_ms; /* BLK_DRAIN_MS */
	bool indirect;
	char serial[VIRTIO_BLK_ID_LEN];

	bool writeback; /* the disk's cache: on, a WRITE need not be durable */

	unsigned first_queue;	 /* where the next turn begins */
	struct request *request; /* inflight_max of them */
	struct request *free;
	unsigned inflight; /* taken from a ring, not given back */
	unsigned queue_inflight[VIOMMU_VIRTIO_QUEUES_MAX]; /* the same, of each */
	unsigned lost; /* the disk has them, no ring does */
	struct viommu_virtq_buf *bufs;
	struct iovec *iovs;
	struct viommu_hold *holds;
	struct revokes revokes;
	struct blk_stats stats;
	struct latency latency;
};

static inline struct blk *to_blk(struct endpoint *ep)
{
	return container_of(ep, struct blk, ep);
}
static inline struct blk *virtio_to_blk(struct virtio_dev *dev)
{
	return container_of(dev, struct blk, virtio);
}

/* ---- config.c: as struct virtio_ops says ---- */
uint64_t blk_features(const struct virtio_dev *dev);
uint64_t blk_accept(struct virtio_dev *dev, uint64_t features);
void blk_config(const struct virtio_dev *dev, void *config);
void blk_config_write(struct virtio_dev *dev, uint32_t offset, const void *buf,
		      uint32_t len);

/* ---- request.c: all inside a DMA section unless said otherwise ---- */

/* Takes up a popped chain: answers it, or starts its I/O. */
void request_begin(struct blk *blk, struct request *req);
/* Its I/O is over: goes on, or answers. */
void request_done(struct blk *blk, struct request *req, int res);
/* Whether its data lies in [start, last]. Any time. */
bool request_overlaps(const struct request *req, uint64_t start, uint64_t last);

/* ---- device.c ---- */
extern const struct virtio_ops blk_virtio_ops;
/* Back to the pool; unget: without having been counted. */
void request_put(struct blk *blk, struct request *req);
void request_unget(struct blk *blk, struct request *req);
/* Ends all that is under way, however long the disk takes. */
void blk_stop(struct blk *blk);

/* ---- create.c ---- */
extern const struct endpoint_option blk_options[];
int blk_create(const struct endpoint_env *env, const struct options *options,
	       struct endpoint **out);
void blk_destroy(struct endpoint *ep);

/* ---- operator.c ---- */
int blk_command(struct endpoint *ep, const char *verb, const struct options *args);
void blk_visit_stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque);
void blk_visit_latencies(struct endpoint *ep, endpoint_latency_fn *visit, void *opaque);

#endif /* ENDPOINTS_BLK_INTERNAL_H */
