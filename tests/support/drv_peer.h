/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the guest driver's tests stand on: a platform whose memory, clock and
 * timers the test commands, and a virtio-iommu device made for tests. The
 * device answers by a naive model of the standard, which fails the test when
 * the driver sends what it must not, or as a script says.
 *
 * Physical addresses are pointers. The device works when the driver waits or
 * kicks; with `threaded` it works when the test's own thread calls peer_work().
 */
#ifndef VIOMMU_TESTS_DRV_PEER_H
#define VIOMMU_TESTS_DRV_PEER_H

#include <pthread.h>

#include <viommu/proto.h>
#include <viommu/virtq.h>
#include <viommu_drv.h>

#include "test.h"

#define PEER_QUEUES    4u
#define PEER_LOG       4096u
#define PEER_MAPPINGS  65536u
#define PEER_ENDPOINTS 64u
#define PEER_SHARED    256u
#define PEER_TIMERS    16u
#define PEER_PROPS_LEN 512u

struct peer;

/* A request as the device read it. */
struct peer_request {
	uint8_t bytes[96];
	uint32_t in_len, out_len; /* device-readable, device-writable bytes */
	uint8_t type;		  /* first byte */
	uint8_t queue;		  /* virtqueue it came by */
};

/* An answer; the script may change it. */
struct peer_reply {
	uint8_t status;
	uint8_t reserved[3]; /* of the tail */
	uint32_t used;	     /* length to report */
	bool drop;	     /* never answer */
	bool untouched;	     /* answer without writing a byte */
	bool twice;	     /* give it back a second time */
	bool other_id;	     /* give `id` back instead of its own */
	uint16_t id;
};

/* A request that the device works on. */
#define PEER_TAKEN 16u
#define PEER_BUFS  8u
struct peer_taken {
	struct viommu_chain chain;
	struct viommu_virtq_buf bufs[PEER_BUFS];
};

struct peer_mapping {
	uint32_t domain, flags;
	uint64_t start, last, pa;
};

struct peer_timer {
	struct viommu_drv_timer *timer;
	uint64_t due_ns; /* 0: not armed */
};

struct peer {
	/* ---- the device ---- */
	uint64_t offered, accepted;
	uint8_t status;
	struct virtio_iommu_config config;
	uint32_t generation;
	unsigned bypass_reads; /* of the configuration's byte */
	bool config_moves;     /* the generation changes with each reading */
	bool refuse_features, stuck_reset;
	uint16_t queue_max[PEER_QUEUES];
	int queue_error; /* result of queue_setup */
	struct viommu_drv_queue_setup setup[PEER_QUEUES];
	bool ready[PEER_QUEUES];
	struct viommu_virtq vq[PEER_QUEUES];
	uint16_t last_id[PEER_QUEUES]; /* given back last */
	uint8_t props[PEER_PROPS_LEN]; /* of every endpoint */
	bool unknown_endpoints;	       /* PROBE and ATTACH: NOENT */
	bool cannot_move;	       /* ATTACH of an attached endpoint: UNSUPP */

	/* The naive model. */
	struct peer_mapping mappings[PEER_MAPPINGS];
	unsigned mappings_nr;
	struct {
		uint32_t id, domain;
		bool bypass;
	} endpoints[PEER_ENDPOINTS];
	unsigned endpoints_nr;
	unsigned wrong; /* requests that a correct driver would not send */

	/* Called after the model; NULL: none. */
	void (*script)(struct peer *peer, const struct peer_request *req,
		       struct peer_reply *reply);
	void *script_arg;
	bool stalled;		/* takes no requests */
	unsigned stalled_queue; /* takes none of this one; 0: does not count */
	unsigned answer_limit;	/* requests answered in a turn; 0: all */
	/* Answers in any order, and some UNMAPs much later; NULL: as asked. */
	struct rng *shuffle;
	struct peer_taken held[PEER_QUEUES][PEER_TAKEN];
	unsigned held_nr[PEER_QUEUES];
	bool blind;		  /* MAP and UNMAP pass by the model */
	bool silent_log;	  /* do not log requests */
	struct peer_request *log; /* PEER_LOG of them */
	unsigned log_nr;
	unsigned kicks[PEER_QUEUES], resets, config_writes_nr;
	struct {
		uint32_t offset, len;
		uint8_t value;
	} config_writes[16];

	/* ---- the platform ---- */
	struct viommu_drv_platform platform;
	struct viommu_drv_transport transport;
	bool threaded, real_clock;
	uint64_t now_ns, tick_ns; /* the clock, and what each reading adds */
	unsigned cpu;
	long allocs, fail_alloc; /* calls; the nth fails, 0: none */
	long live;		 /* bytes not given back */
	struct {
		uint8_t *p;
		size_t len;
	} shared[PEER_SHARED];
	struct peer_timer timers[PEER_TIMERS];
	bool no_timer;		     /* arming fails */
	pthread_mutex_t lock;	     /* of the timers */
	pthread_mutex_t device_lock; /* of the device's state and its model */

	/* ---- what the driver told ---- */
	struct viommu_drv *drv;
	struct viommu_drv_fault faults[64];
	unsigned faults_nr, flush_failed_nr, quarantined_nr;
	int quarantine_error;
	uint64_t flush_failed_bytes;
};

struct peer *peer_create(void);
/* Destroys the driver if there is one; fails the test on a leak. */
void peer_destroy(struct peer *peer);
/* The same after an endpoint and its domain; fails too if the device found the driver
 * wrong. */
void peer_end(struct peer *peer, struct viommu_drv_endpoint *ep,
	      struct viommu_drv_domain *domain);
/* The driver on this device. */
int peer_start(struct peer *peer, const struct viommu_drv_config *config);
struct peer *peer_create_started(void);

/* A turn of the device. */
void peer_work(struct peer *peer);
/* Gives an id back, whether it is out or not. */
void peer_give_back(struct peer *peer, unsigned queue, uint16_t id, uint32_t len);
/* Fires what is due. */
void peer_run_timers(struct peer *peer);
/* Puts bytes into the event queue; false: no buffer. len: the length reported. */
bool peer_send_event(struct peer *peer, const void *bytes, size_t bytes_len,
		     uint32_t len);

/* Properties for PROBE. */
size_t peer_add_prop(struct peer *peer, size_t at, uint16_t type, uint16_t len,
		     const void *value);
size_t peer_add_resv(struct peer *peer, size_t at, uint8_t subtype, uint64_t start,
		     uint64_t last);

/* Requests of a type in the log, and the nth of them. */
unsigned peer_count(const struct peer *peer, uint8_t type);
const struct peer_request *peer_nth(const struct peer *peer, uint8_t type, unsigned n);
/* The model's mapping of an address; NULL: none. */
const struct peer_mapping *peer_lookup(struct peer *peer, uint32_t domain, uint64_t iova);
unsigned peer_mapped(struct peer *peer, uint32_t domain);

/* An endpoint with this id, and an attached one in a new domain. */
struct viommu_drv_endpoint *peer_endpoint(struct peer *peer, uint32_t id);
struct viommu_drv_domain *peer_domain(struct peer *peer,
				      const struct viommu_drv_domain_config *config);

#endif
