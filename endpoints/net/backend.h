/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Where the frames of a network endpoint go to and come from. Knows no rings and
 * no guest addresses: frames are iovecs that are good for the call.
 *
 * Threads: the endpoint's.
 */
#ifndef ENDPOINTS_NET_BACKEND_H
#define ENDPOINTS_NET_BACKEND_H

#include <poll.h>

#include "endpoints/net/offload.h"
#include "endpoints/options.h"

/* Frames of a queue of the kernel's that are dropped when the guest comes back: more
 * are delivered. */
#define NET_STALE_MAX 4096u
/* Frames, and bytes of all but the last one, that are read from the kernel and then
 * handed over together: more are handed over after them. */
#define NET_BATCH_MAX 16u
#define NET_BATCH_LEN (64u << 10)

struct net_backend;

struct net_frame {
	struct net_meta meta;
	struct iovec *iov; /* the first one free for a header in front of the frame:
			    * iov[-1] may be written */
	unsigned iov_nr;
	size_t len; /* bytes in iov */
};

/* How a back end wants the frames that the guest sends. */
enum net_handover {
	NET_INSIDE, /* in the guest's memory, inside the DMA section */
	NET_HELD,   /* in the guest's memory, held, outside of sections */
	NET_COPIED, /* a copy in one piece that may be changed, outside of sections */
};

/* What of the device's state concerns a back end; it may ask at any time. */
struct net_state {
	uint64_t offloads; /* bits VIRTIO_NET_F_GUEST_*: what the guest takes */
	unsigned pairs;	   /* queue pairs in use, 1 .. as configured */
	unsigned mtu;
	bool running; /* the driver is there, and the link is up */
};

/* Given to a back end at creation; the endpoint's. */
struct net_host {
	const char *name;
	const struct viommu_alloc *alloc;
	const struct viommu_log *log;
	const struct net_state *state;
	unsigned pairs; /* configured */
	/*
	 * A frame for the guest, on the queue pair it arrived on or (-1) the one
	 * that its flow belongs to. Always taken over or dropped.
	 */
	void (*receive)(void *opaque, int pair, struct net_frame *frame);
	/* Frames between the two share a section: no system calls. In poll(). */
	void (*receive_begin)(void *opaque);
	void (*receive_end)(void *opaque);
	/* Whether a frame handed over now would reach the guest at once. */
	bool (*may_receive)(void *opaque);
	void *opaque;
};

struct net_backend_ops {
	const char *name;
	enum net_handover handover;
	/* Frames longer than the MTU may come as one if they are TCP and have
	 * right checksums (else: takes says what needs no software). */
	bool whole_tcp;
	/* Result: 0, -EINVAL, -ENOMEM, or what system calls said; logged. */
	int (*open)(const struct net_host *host, const struct options *options,
		    struct net_backend **out);
	void (*close)(struct net_backend *b);
	/* Sends a frame. false: dropped. */
	bool (*send)(struct net_backend *b, unsigned pair, struct net_frame *frame);
	/* Outside of sections: hands over up to `budget` frames. Result: how
	 * many. *more: there are others. May be NULL. */
	unsigned (*poll)(struct net_backend *b, unsigned budget, bool *more);
	/* net_state changed. May be NULL. */
	void (*changed)(struct net_backend *b);
	int (*fds)(struct net_backend *b, struct pollfd *fds, unsigned max);
	int (*timeout_ms)(struct net_backend *b);
	/* Counters of its own. May be NULL. */
	void (*stats)(struct net_backend *b, endpoint_stat_fn *visit, void *opaque);
};

struct net_backend {
	const struct net_backend_ops *ops;
	const struct net_host *host;
	/* What the guest may leave to the other side: bits VIRTIO_NET_F_CSUM,
	 * HOST_*. The rest is done in software. */
	uint64_t takes;
};

extern const struct net_backend_ops net_loopback, net_null, net_tap, net_user;

/* Options of the back ends, for --help. */
#define NET_BACKEND_OPTIONS                                                              \
	{"backend", "user|tap|loopback|null", "where frames go (default: user)"},        \
		{"hostfwd", "PROTO:ADDR:PORT-:PORT",                                     \
		 "backend=user: a port of the host's loopback that leads to the guest, " \
		 "e.g. tcp:127.0.0.1:2222-:22; several are joined with '+'"},            \
		{"restrict", "on|off",                                                   \
		 "backend=user: no way from the guest to the host and beyond, "          \
		 "forwarded "                                                            \
		 "ports excepted (default: off)"},                                       \
		{"ipv6", "on|off", "backend=user: IPv6 too (default: off)"},             \
		{"ifname", "NAME", "backend=tap: the interface"},                        \
	{                                                                                \
		"fd", "N+N", "backend=tap: open descriptors of it, one a queue pair"     \
	}

#endif /* ENDPOINTS_NET_BACKEND_H */
