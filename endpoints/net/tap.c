/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A TAP device of the host's kernel, one descriptor a queue pair. Frames carry the
 * virtio header across, so what guest and kernel leave to each other stays undone.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "endpoints/net/backend.h"
#include "endpoints/net/proto.h"
#include "endpoints/util.h"

#define BIT(n)	      (1ull << (n))

#define TAP_PAIRS_MAX 31u
/* Since Linux 6.2; older headers lack them. */
#define TAP_F_USO4 0x20u
#define TAP_F_USO6 0x40u

/* A frame that was read and not yet handed over. */
struct tap_frame {
	struct virtio_net_hdr header;
	uint8_t *at; /* in bytes of struct tap */
	size_t len;  /* 0: none */
};

struct tap {
	struct net_backend b;
	int fd[TAP_PAIRS_MAX]; /* host->pairs of them, ours */
	unsigned attached;     /* queues that the kernel uses */
	uint32_t gone;	       /* bit n: fd[n] leads nowhere any more */
	bool uso;	       /* the kernel knows it */
	unsigned first;	       /* where the next turn begins */
	bool running;	       /* host->state->running, when it last changed */
	uint64_t errors, stale;
	struct tap_frame frame[NET_BATCH_MAX];
	unsigned frames_nr;
	size_t bytes_len; /* of all of them */
	uint8_t bytes[NET_BATCH_LEN + NET_FRAME_MAX];
};

static struct tap *to_tap(struct net_backend *b)
{
	return container_of(b, struct tap, b);
}

/* ---- frames ---- */

static bool send_frame(struct net_backend *b, unsigned pair, struct net_frame *frame)
{
	struct tap *t = to_tap(b);
	const struct net_meta *m = &frame->meta;
	struct virtio_net_hdr header = {
		.flags = m->flags,
		.gso_type = m->gso_type,
		.hdr_len = htole16(m->hdr_len),
		.gso_size = htole16(m->gso_size),
		.csum_start = htole16(m->csum_start),
		.csum_offset = htole16(m->csum_offset),
	};

	/* A queue that the kernel does not use takes no frames. */
	if (pair >= t->attached)
		pair = 0;
	frame->iov[-1] = (struct iovec){&header, sizeof(header)};
	if (writev(t->fd[pair], frame->iov - 1, (int)frame->iov_nr + 1) >= 0)
		return true;
	t->errors++;
	return false;
}

/* What the kernel says of a frame; nothing of it is out of range. */
static bool read_meta(const struct virtio_net_hdr *h, size_t len, struct net_meta *out)
{
	*out = (struct net_meta){
		.flags = h->flags &
			 (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID),
		.gso_type = h->gso_type,
		.hdr_len = le16toh(h->hdr_len),
		.gso_size = le16toh(h->gso_size),
		.csum_start = le16toh(h->csum_start),
		.csum_offset = le16toh(h->csum_offset),
	};
	return offload_check(out, len, UINT64_MAX);
}

static bool is_gone(const struct tap *t, unsigned pair)
{
	return t->gone >> pair & 1;
}

/* The interface was deleted, or the queue could not be attached: the descriptor
 * says at once and for ever that there is something, and never gives it. */
static void give_up(struct tap *t, unsigned pair)
{
	t->gone |= 1u << pair;
	t->errors++;
	endpoint_log(t->b.host->log, VIOMMU_LOG_WARN,
		     "%s: queue %u has no interface any more", t->b.host->name, pair);
}

/* false: there is none. */
static bool read_frame(struct tap *t, unsigned pair)
{
	struct tap_frame *f = &t->frame[t->frames_nr];
	struct iovec iov[2] = {{&f->header, sizeof(f->header)},
			       {t->bytes + t->bytes_len, NET_FRAME_MAX}};
	ssize_t n = readv(t->fd[pair], iov, 2);

	if (n < 0) {
		if (errno == EBADFD)
			give_up(t, pair);
		return false;
	}
	f->at = t->bytes + t->bytes_len;
	f->len = n > (ssize_t)sizeof(f->header) ? (size_t)n - sizeof(f->header) : 0;
	t->bytes_len += f->len;
	t->frames_nr++;
	return true;
}

static void hand_over(struct tap *t, unsigned pair, struct tap_frame *f)
{
	struct iovec iov[2] = {{0}, {f->at, f->len}};
	struct net_frame frame = {.iov = iov + 1, .iov_nr = 1, .len = f->len};

	if (f->len && read_meta(&f->header, f->len, &frame.meta))
		t->b.host->receive(t->b.host->opaque, (int)pair, &frame);
	else
		t->errors++;
}

/* Reads some, then hands them over together. false: there are no more. */
static bool receive_some(struct tap *t, unsigned pair, unsigned budget)
{
	const struct net_host *host = t->b.host;
	bool more = true;

	t->frames_nr = 0;
	t->bytes_len = 0;
	while (more && t->frames_nr < budget && t->frames_nr < NET_BATCH_MAX &&
	       t->bytes_len < NET_BATCH_LEN)
		more = !is_gone(t, pair) && read_frame(t, pair);
	if (!t->frames_nr)
		return false;
	host->receive_begin(host->opaque);
	for (unsigned i = 0; i < t->frames_nr; i++)
		hand_over(t, pair, &t->frame[i]);
	host->receive_end(host->opaque);
	return more;
}

static unsigned poll_tap(struct net_backend *b, unsigned budget, bool *more)
{
	struct tap *t = to_tap(b);
	const struct net_host *host = b->host;
	unsigned nr = 0;

	for (unsigned i = 0; i < t->attached; i++) {
		unsigned pair = (t->first + i) % t->attached, n = 0;
		bool left = true;

		while (left && n < budget && host->may_receive(host->opaque)) {
			left = receive_some(t, pair, budget - n);
			n += t->frames_nr;
		}
		*more |= n == budget;
		nr += n;
	}
	t->first = (t->first + 1) % t->attached;
	return nr;
}

/* What the kernel has kept from before the guest was there, or its cable. */
static void drop_stale(struct tap *t, unsigned pair)
{
	struct virtio_net_hdr header;
	struct iovec iov[2] = {{&header, sizeof(header)}, {t->bytes, 1}};

	for (unsigned i = 0; i < NET_STALE_MAX && readv(t->fd[pair], iov, 2) >= 0; i++)
		t->stale++;
}

/* ---- waiting ---- */

static int fds(struct net_backend *b, struct pollfd *out, unsigned max)
{
	struct tap *t = to_tap(b);
	unsigned nr = 0;

	if (!b->host->may_receive(b->host->opaque))
		return 0;
	for (unsigned i = 0; i < t->attached && nr < max; i++)
		if (!is_gone(t, i))
			out[nr++] = (struct pollfd){.fd = t->fd[i], .events = POLLIN};
	return (int)nr;
}

/* ---- what the guest takes ---- */

static unsigned tun_offloads(uint64_t offloads)
{
	unsigned f = 0;

	if (!(offloads & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		return 0;
	f = TUN_F_CSUM;
	if (offloads & BIT(VIRTIO_NET_F_GUEST_TSO4))
		f |= TUN_F_TSO4;
	if (offloads & BIT(VIRTIO_NET_F_GUEST_TSO6))
		f |= TUN_F_TSO6;
	if ((f & (TUN_F_TSO4 | TUN_F_TSO6)) && (offloads & BIT(VIRTIO_NET_F_GUEST_ECN)))
		f |= TUN_F_TSO_ECN;
	/* The kernel wants both or neither. */
	if (offloads & BIT(VIRTIO_NET_F_GUEST_USO4) &&
	    offloads & BIT(VIRTIO_NET_F_GUEST_USO6))
		f |= TAP_F_USO4 | TAP_F_USO6;
	return f;
}

static void attach_queues(struct tap *t, unsigned pairs)
{
	struct ifreq ifr;

	for (unsigned i = 1; i < t->b.host->pairs; i++) {
		bool want = i < pairs, have = i < t->attached;

		if (want == have)
			continue;
		memset(&ifr, 0, sizeof(ifr));
		ifr.ifr_flags = want ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
		if (ioctl(t->fd[i], TUNSETQUEUE, &ifr))
			endpoint_log(t->b.host->log, VIOMMU_LOG_WARN,
				     "%s: queue %u of the interface: %s", t->b.host->name,
				     i, strerror(errno));
		else
			t->gone &= ~(1u << i);
	}
	t->attached = pairs;
}

/* Failure is no harm: what the guest does not take is done in software. */
static void changed(struct net_backend *b)
{
	struct tap *t = to_tap(b);
	unsigned f = tun_offloads(b->host->state->offloads);

	/* The first queue is never detached: the interface was deleted. */
	if (is_gone(t, 0))
		return;
	if (!t->uso)
		f &= ~(TAP_F_USO4 | TAP_F_USO6);
	if (ioctl(t->fd[0], TUNSETOFFLOAD, (unsigned long)f))
		endpoint_log(b->host->log, VIOMMU_LOG_WARN,
			     "%s: offloads of the interface: %s", b->host->name,
			     strerror(errno));
	attach_queues(t, b->host->state->pairs);
	if (b->host->state->running && !t->running)
		for (unsigned i = 0; i < t->attached; i++)
			drop_stale(t, i);
	t->running = b->host->state->running;
}

/* ---- opening ---- */

static int sys_err(const struct tap *t, const char *what)
{
	return endpoint_err(t->b.host->log, errno, "%s: %s: %s", t->b.host->name, what,
			    strerror(errno));
}

static int open_queue(struct tap *t, unsigned i, const char *name)
{
	struct ifreq ifr;

	memset(&ifr, 0, sizeof(ifr));
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (t->b.host->pairs > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	strcpy(ifr.ifr_name, name);
	t->fd[i] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd[i] < 0)
		return sys_err(t, "/dev/net/tun");
	if (ioctl(t->fd[i], TUNSETIFF, &ifr))
		return sys_err(t, name);
	return 0;
}

static int open_queues(struct tap *t, const char *name)
{
	int r = 0;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return endpoint_err(t->b.host->log, EINVAL,
				    "%s: ifname=%s is no name of an interface",
				    t->b.host->name, name);
	for (unsigned i = 0; !r && i < t->b.host->pairs; i++)
		r = open_queue(t, i, name);
	return r;
}

/* A copy of a descriptor that the program was started with. */
static int take_fd(struct tap *t, unsigned i, long fd)
{
	struct ifreq ifr;
	int flags;

	memset(&ifr, 0, sizeof(ifr));
	t->fd[i] = fd < 0 || fd > INT32_MAX ? -1 : fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
	if (t->fd[i] < 0 || ioctl(t->fd[i], TUNGETIFF, &ifr))
		return endpoint_err(t->b.host->log, EINVAL,
				    "%s: descriptor %ld is no TAP device",
				    t->b.host->name, fd);
	if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
	    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
		return endpoint_err(t->b.host->log, EINVAL,
				    "%s: descriptor %ld must be opened with IFF_TAP, "
				    "IFF_NO_PI and IFF_VNET_HDR",
				    t->b.host->name, fd);
	flags = fcntl(t->fd[i], F_GETFL);
	if (flags < 0 || fcntl(t->fd[i], F_SETFL, flags | O_NONBLOCK))
		return sys_err(t, "O_NONBLOCK");
	return 0;
}

static int take_fds(struct tap *t, const char *text)
{
	unsigned i = 0;
	char *end;
	long fd;
	int r;

	for (;; i++, text = end + 1) {
		fd = strtol(text, &end, 10);
		if (end == text || (*end && *end != '+') || i == t->b.host->pairs)
			break;
		r = take_fd(t, i, fd);
		if (r)
			return r;
		if (!*end && i + 1 == t->b.host->pairs)
			return 0;
		if (!*end)
			break;
	}
	return endpoint_err(t->b.host->log, EINVAL,
			    "%s: fd= needs %u descriptors, one a queue pair, e.g. fd=5+6",
			    t->b.host->name, t->b.host->pairs);
}

static int prepare(struct tap *t)
{
	int len = sizeof(struct virtio_net_hdr), little = 1;

	for (unsigned i = 0; i < t->b.host->pairs; i++) {
		if (ioctl(t->fd[i], TUNSETVNETHDRSZ, &len))
			return sys_err(t, "TUNSETVNETHDRSZ");
		/* Kernels that cannot be told are of the same endianness. */
		(void)ioctl(t->fd[i], TUNSETVNETLE, &little);
	}
	t->attached = t->b.host->pairs;
	t->uso = !ioctl(t->fd[0], TUNSETOFFLOAD,
			(unsigned long)(TUN_F_CSUM | TAP_F_USO4 | TAP_F_USO6));
	t->b.takes = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
		     BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN);
	if (t->uso)
		t->b.takes |= BIT(VIRTIO_NET_F_HOST_USO);
	changed(&t->b);
	return 0;
}

static void close_tap(struct net_backend *b)
{
	struct tap *t = to_tap(b);

	for (unsigned i = 0; i < TAP_PAIRS_MAX; i++)
		if (t->fd[i] >= 0)
			close(t->fd[i]);
	endpoint_free(b->host->alloc, t, sizeof(*t));
}

static int start(struct tap *t, const struct options *o)
{
	const char *name = options_get(o, "ifname"), *list = options_get(o, "fd");
	int r;

	if (!name == !list)
		return endpoint_err(o->log, EINVAL,
				    "%s: backend=tap needs ifname=NAME or fd=N", o->who);
	r = name ? open_queues(t, name) : take_fds(t, list);
	return r ? r : prepare(t);
}

static int open_tap(const struct net_host *host, const struct options *options,
		    struct net_backend **out)
{
	struct tap *t = endpoint_alloc(host->alloc, sizeof(*t), 64);
	int r;

	if (!t)
		return endpoint_err(host->log, ENOMEM, "%s: out of memory", host->name);
	t->b.ops = &net_tap;
	t->b.host = host;
	for (unsigned i = 0; i < TAP_PAIRS_MAX; i++)
		t->fd[i] = -1;
	r = start(t, options);
	if (r) {
		close_tap(&t->b);
		return r;
	}
	*out = &t->b;
	return 0;
}

static void stats(struct net_backend *b, endpoint_stat_fn *visit, void *opaque)
{
	visit(opaque, "tap_errors", to_tap(b)->errors);
	visit(opaque, "tap_stale", to_tap(b)->stale);
}

const struct net_backend_ops net_tap = {
	.name = "TAP",
	.handover = NET_HELD,
	.open = open_tap,
	.close = close_tap,
	.send = send_frame,
	.poll = poll_tap,
	.changed = changed,
	.fds = fds,
	.stats = stats,
};
