/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Inside of the network endpoint: device.c (queues and turns), create.c (options
 * and life), config.c (features and configuration space), control.c (control
 * queue), tx.c and rx.c (frames from and to the guest), backlog.c (frames that
 * wait for receive buffers), chain.c (bytes of a chain).
 */
#ifndef ENDPOINTS_NET_INTERNAL_H
#define ENDPOINTS_NET_INTERNAL_H

#include <viommu/dma.h>

#include "endpoints/endpoint.h"
#include "endpoints/latency.h"
#include "endpoints/net/backend.h"
#include "endpoints/net/filter.h"
#include "endpoints/net/offload.h"
#include "endpoints/net/proto.h"
#include "endpoints/virtio/virtio.h"

/* Limits, each with a test at it and one past it. */
#define NET_PAIRS_MAX	   31u		/* two queues each, and the control queue */
#define NET_IOV_MAX	   1023u	/* pieces of a frame sent: dropped */
#define NET_CONTROL_MAX	   64u		/* commands of a turn; more in the next one */
#define NET_BACKLOG_LEN	   (1u << 20)	/* bytes of frames that wait: dropped */
#define NET_BACKLOG_FRAMES 1024u	/* frames that wait: dropped */
#define NET_SECTION_LEN	   (256u << 10) /* bytes copied in a section; more in the next */
#define NET_SEGMENT_LEN	   256u		/* what a segment made in software counts for */
#define NET_SLOTS_MAX	   64u		/* frames sent in a turn, of all queues */
#define NET_MTU_MIN	   68u
#define NET_MTU_MAX	   65535u

#define NET_HEADER_LEN	   ((unsigned)sizeof(struct virtio_net_hdr))

enum net_role { ROLE_RX, ROLE_TX, ROLE_CONTROL, ROLE_NONE };

struct net;

/* Receive buffers taken from the ring and not yet filled, in the ring's order. */
struct net_rack {
	struct viommu_chain *chain;   /* queue_size of them */
	struct viommu_virtq_buf *buf; /* their writable buffers: net_rack_bufs() */
	unsigned chains_nr, bufs_nr;
	unsigned slots; /* ring entries of the chains */
	uint64_t room;	/* bytes */
	bool starved;	/* the ring had no buffer when one was wanted */
};

/* A frame taken from the guest, to be sent after the section. */
struct net_slot {
	struct virtio_queue *queue;
	unsigned pair;
	struct net_meta meta;
	size_t len;		       /* bytes of the frame */
	uint8_t *copy;		       /* in the arena, or NULL: */
	struct viommu_chain chain;     /* not yet given back */
	struct viommu_virtq_buf *bufs; /* its buffers, net->bufs_max of them */
};

struct net_waiting {
	uint32_t offset, len; /* in the backlog's bytes */
	int pair;
	struct net_meta meta;
};

/* A first-in first-out store; memory only if the back end needs it. */
struct net_backlog {
	uint8_t *bytes;		   /* NET_BACKLOG_LEN */
	struct net_waiting *frame; /* NET_BACKLOG_FRAMES */
	unsigned first, nr;
	uint32_t tail; /* where the next one goes */
};

struct net_stats {
	uint64_t tx_frames, tx_bytes, rx_frames, rx_bytes;
	uint64_t tx_dropped;  /* the back end would not have them */
	uint64_t rx_dropped;  /* no buffers, no driver, link down */
	uint64_t rx_too_big;  /* no buffers that could ever hold them */
	uint64_t rx_filtered; /* not for this guest */
	uint64_t rx_backlog;  /* had to wait for buffers */
	uint64_t blocked;     /* memory out of reach: the frame is lost */
	uint64_t checksums;   /* computed in software */
	uint64_t segmented;   /* frames cut in software */
	uint64_t rx_merged;   /* frames spread over several buffers */
	uint64_t commands, commands_refused;
	uint64_t polls;
};

struct net {
	struct endpoint ep;
	struct virtio_dev virtio;
	struct net_backend *backend;
	struct net_host host;
	struct net_state state;

	/* Set at creation. */
	unsigned pairs, bufs_max;
	bool mergeable, offload, indirect;
	uint8_t mac[6];

	/* Set by the driver; reset clears them. */
	bool announce; /* the driver is asked to announce itself */
	struct net_filter filter;
	uint8_t flow_pair[256]; /* by hash: the pair that a flow was last sent on */

	bool link_up; /* the operator's choice */
	bool in_section;
	size_t section_len; /* bytes copied in this section */

	unsigned first_pair; /* where the next turn begins */

	/* Sending. */
	struct net_slot *slot; /* NET_SLOTS_MAX */
	unsigned slots_nr;
	struct viommu_virtq_buf *slot_bufs;
	uint8_t *arena; /* copies: NET_SECTION_LEN and a longest frame */
	size_t arena_len;
	struct iovec *tx_iov; /* NET_IOV_MAX and one for a header in front */
	struct viommu_hold *tx_hold;
	struct segmenter tx_cut; /* of its own: an answer may be cut meanwhile */

	/* Receiving. */
	struct net_rack *rack;		 /* one a pair */
	struct viommu_chain *rx_chain;	 /* theirs */
	struct viommu_virtq_buf *rx_buf; /* theirs */
	uint8_t *flat;			 /* NET_FRAME_MAX: to compute in */
	struct segmenter rx_cut;
	struct net_backlog backlog;

	struct net_stats stats;
	struct latency latency; /* of sending: LATENCY_WRITE */
};

static inline unsigned net_queues_nr(const struct net *net)
{
	return 2 * net->pairs + 1;
}
static inline struct virtio_queue *net_rx(struct net *net, unsigned pair)
{
	return &net->virtio.queue[2 * pair];
}
static inline struct virtio_queue *net_tx(struct net *net, unsigned pair)
{
	return &net->virtio.queue[2 * pair + 1];
}
/* A frame may spread over that many buffers, whatever chains they are in: a chain
 * has no more than the ring has entries. */
static inline unsigned net_rack_bufs(const struct net *net)
{
	return 2 * net->virtio.queue_size;
}
/* Without MQ the control queue is the third one. */
static inline unsigned net_control_index(const struct net *net)
{
	return net->virtio.features & BIT(VIRTIO_NET_F_MQ) ? 2 * net->pairs : 2;
}

static inline struct net *to_net(struct endpoint *ep)
{
	return container_of(ep, struct net, ep);
}
static inline struct net *virtio_to_net(struct virtio_dev *dev)
{
	return container_of(dev, struct net, virtio);
}

/* ---- config.c: as struct virtio_ops says ---- */
uint64_t net_features(const struct virtio_dev *dev);
uint64_t net_accept(struct virtio_dev *dev, uint64_t features);
void net_config(const struct virtio_dev *dev, void *config);
/* The bits that VIRTIO_NET_CTRL_GUEST_OFFLOADS is about. */
uint64_t net_offloads_mask(void);
/* Tells the back end what changed in net->state. */
void net_state_changed(struct net *net);

/* ---- chain.c: inside a section ---- */

/* Reads bytes [offset, offset + len) of a row of buffers; -EINVAL: it has fewer.
 * -EFAULT */
int chain_read(struct net *net, const struct viommu_virtq_buf *bufs, unsigned nr,
	       size_t offset, void *buf, size_t len);
/* The same as pieces of memory. Result: their number; -EFAULT, -E2BIG. */
int chain_map(struct net *net, const struct viommu_virtq_buf *bufs, unsigned nr,
	      size_t offset, struct iovec *iov, unsigned max);
/* The same, held; needs no section. */
int chain_hold(struct net *net, const struct viommu_virtq_buf *bufs, unsigned nr,
	       size_t offset, struct viommu_sg *sg);
/* Writes the pieces of src into the buffers, from their start on; -EFAULT.
 * There is room. */
int chain_write(struct net *net, const struct viommu_virtq_buf *bufs, unsigned nr,
		const struct iovec *src, unsigned src_nr);

/* ---- device.c ---- */
extern const struct virtio_ops net_virtio_ops;
/* A section of DMA. */
void net_begin(struct net *net);
void net_end(struct net *net);

/* ---- control.c: inside a section ---- */
unsigned control_take(struct net *net, bool *more);

/* ---- tx.c ---- */
/* Inside a section: takes up to `budget` frames of a queue. */
unsigned tx_take(struct net *net, unsigned pair, unsigned budget, bool *more);
/* Outside: sends what was taken. Result: chains that now can be given back. */
unsigned tx_send(struct net *net);
/* Inside: gives them back. */
void tx_give_back(struct net *net);

/* ---- rx.c ---- */
/* Any time; opens a section if there is none. Never keeps pointers. */
void rx_frame(struct net *net, int pair, struct net_frame *frame);
/* Inside a section: what waited. */
unsigned rx_flush(struct net *net);
void rx_drop_waiting(struct net *net);
bool rx_may(const struct net *net);
/* The pair's queue is off: its buffers are the driver's again. */
void rx_forget(struct net *net, unsigned pair);

/* ---- backlog.c ---- */
/* false: no room. iov without the headers that the ring adds. */
bool backlog_put(struct net_backlog *b, int pair, const struct net_frame *frame);
static inline struct net_waiting *backlog_first(const struct net_backlog *b)
{
	return b->nr ? &b->frame[b->first] : NULL;
}
void backlog_drop_first(struct net_backlog *b);
void backlog_clear(struct net_backlog *b);

/* ---- create.c ---- */
extern const struct endpoint_option net_options[];
int net_create(const struct endpoint_env *env, const struct options *options,
	       struct endpoint **out);
void net_destroy(struct endpoint *ep);

/* ---- operator.c ---- */
int net_command(struct endpoint *ep, const char *verb, const struct options *args);
void net_visit_stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque);
void net_visit_latencies(struct endpoint *ep, endpoint_latency_fn *visit, void *opaque);

#endif /* ENDPOINTS_NET_INTERNAL_H */
