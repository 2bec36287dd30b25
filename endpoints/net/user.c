/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * User-mode networking: libslirp ends the guest's TCP and UDP here and opens
 * sockets of the host for them. It takes whole TCP packets of any length, so that
 * segmentation is never done on the way out; on the way in, a guest that takes
 * series of segments is given long ones (see raise_mss()).
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <slirp/libslirp.h>

#include "endpoints/net/backend.h"
#include "endpoints/net/proto.h"
#include "endpoints/util.h"

#define BIT(n) (1ull << (n))

/* Limits, each with a test at it and one past it. */
/* Connections: frames that open more are dropped, the host's wait. */
#define USER_SOCKETS_MAX  256u
#define USER_FORWARDS_MAX 16u  /* of hostfwd: -EINVAL */
#define USER_FDS_MAX	  512u /* sockets looked at in a turn */
#define USER_TIMERS_MAX	  8u

/* Between two looks at the sockets while nothing is sent: a look is a system
 * call, and turns may follow each other at once. */
#define USER_LOOK_NS 20000
/* While there are more sockets than a sleep can watch. */
#define USER_CROWDED_MS 5
/* What libslirp sends in one packet to a guest that takes series of segments. It
 * never sends more than 32 KiB; its window is 64 KiB. */
#define USER_SERIES_LEN 32768u

struct timer {
	bool used, set;
	SlirpTimerId id;
	void *opaque;
	int64_t expires_ms;
};

struct user {
	struct net_backend b;
	Slirp *slirp;
	struct pollfd fds[USER_FDS_MAX];
	unsigned fds_nr;
	unsigned sockets;		 /* connections that libslirp has */
	int listener[USER_FORWARDS_MAX]; /* that take connections of the host */
	unsigned listeners_nr;
	bool sent;	 /* something was sent since the last look */
	int64_t next_ns; /* of the next look */
	unsigned handed; /* frames given to the guest in this turn */
	int first, left; /* sockets of this look and the next begin here */
	struct timer timer[USER_TIMERS_MAX];
	uint8_t head[NET_HEADERS_MAX];
	struct fragmenter cut;
	uint32_t packets; /* that were cut, or might have been */
	uint64_t refused, complaints;
};

static struct user *to_user(struct net_backend *b)
{
	return container_of(b, struct user, b);
}

static int64_t now_ns(void *opaque)
{
	struct timespec ts;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- called by libslirp ---- */

/* libslirp knows no MTU but its own, which is large for the sake of TCP. */
static bool send_fragments(struct user *u, const void *buf, size_t len)
{
	struct iovec iov[3];
	struct net_frame frame = {.iov = iov + 1, .iov_nr = 2};

	if (!fragment_begin(&u->cut, buf, len, u->b.host->state->mtu, u->packets++))
		return false;
	while (fragment_next(&u->cut, frame.iov)) {
		frame.len = frame.iov[0].iov_len + frame.iov[1].iov_len;
		u->b.host->receive(u->b.host->opaque, -1, &frame);
	}
	return true;
}

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct user *u = opaque;
	struct iovec iov[3];
	struct net_frame frame = {.iov = iov + 1, .iov_nr = 1, .len = len};
	size_t head_len;

	iov[1] = (struct iovec){(void *)(uintptr_t)buf, len};
	offload_describe(buf, len, u->b.host->state->mtu, &frame.meta, u->head,
			 &head_len);
	if (head_len) {
		iov[1] = (struct iovec){u->head, head_len};
		iov[2] = (struct iovec){(uint8_t *)(uintptr_t)buf + head_len,
					len - head_len};
		frame.iov_nr = 2;
	}
	u->handed++;
	if (!frame.meta.gso_type && send_fragments(u, buf, len))
		return (ssize_t)len;
	u->b.host->receive(u->b.host->opaque, -1, &frame);
	return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque)
{
	struct user *u = opaque;

	u->complaints++;
	endpoint_log(u->b.host->log, VIOMMU_LOG_DEBUG, "%s: %s", u->b.host->name, msg);
}

static void *new_timer(SlirpTimerId id, void *timer_opaque, void *opaque)
{
	struct user *u = opaque;

	for (unsigned i = 0; i < USER_TIMERS_MAX; i++) {
		struct timer *t = &u->timer[i];

		if (t->used)
			continue;
		*t = (struct timer){.used = true, .id = id, .opaque = timer_opaque};
		return t;
	}
	return NULL;
}

static void free_timer(void *timer, void *opaque)
{
	(void)opaque;
	if (timer)
		((struct timer *)timer)->used = false;
}

static void set_timer(void *timer, int64_t expires_ms, void *opaque)
{
	struct timer *t = timer;

	(void)opaque;
	if (!t)
		return;
	t->expires_ms = expires_ms;
	t->set = true;
}

static void add_socket(int fd, void *opaque)
{
	(void)fd;
	((struct user *)opaque)->sockets++;
}

static void remove_socket(int fd, void *opaque)
{
	struct user *u = opaque;

	(void)fd;
	if (u->sockets)
		u->sockets--;
}

/* Nobody feeds libslirp but we, on this thread. */
static void ignore_notify(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = now_ns,
	.timer_new_opaque = new_timer,
	.timer_free = free_timer,
	.timer_mod = set_timer,
	.register_poll_fd = add_socket,
	.unregister_poll_fd = remove_socket,
	.notify = ignore_notify,
};

/* ---- sockets and timers ---- */

static bool is_listener(const struct user *u, int fd)
{
	for (unsigned i = 0; i < u->listeners_nr; i++)
		if (u->listener[i] == fd)
			return true;
	return false;
}

static int add_poll(int fd, int events, void *opaque)
{
	struct user *u = opaque;
	short wanted = 0;

	if (u->fds_nr == USER_FDS_MAX ||
	    (unlikely(u->sockets >= USER_SOCKETS_MAX) && is_listener(u, fd)))
		return -1;
	if (events & SLIRP_POLL_IN)
		wanted |= POLLIN;
	if (events & SLIRP_POLL_OUT)
		wanted |= POLLOUT;
	if (events & SLIRP_POLL_PRI)
		wanted |= POLLPRI;
	u->fds[u->fds_nr] = (struct pollfd){.fd = fd, .events = wanted};
	return (int)u->fds_nr++;
}

/* One socket gives up to 64 KiB at once: what came from those before this one may
 * have used up the guest's buffers. The next look goes on here. */
static int get_revents(int index, void *opaque)
{
	struct user *u = opaque;
	int events = 0;
	short got;

	if (index < 0 || (unsigned)index >= u->fds_nr)
		return 0;
	if (index < u->first)
		return 0;
	if (!u->b.host->may_receive(u->b.host->opaque)) {
		if (!u->left)
			u->left = index;
		return 0;
	}
	got = u->fds[index].revents;
	if (got & POLLIN)
		events |= SLIRP_POLL_IN;
	if (got & POLLOUT)
		events |= SLIRP_POLL_OUT;
	if (got & POLLPRI)
		events |= SLIRP_POLL_PRI;
	if (got & POLLERR)
		events |= SLIRP_POLL_ERR;
	if (got & POLLHUP)
		events |= SLIRP_POLL_HUP;
	return events;
}

/* Asks what to wait for. Result: for how long at most, -1: no limit. */
static int list_sockets(struct user *u)
{
	uint32_t timeout = UINT32_MAX;

	u->fds_nr = 0;
	slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
	return timeout > INT32_MAX ? -1 : (int)timeout;
}

static void fire_timers(struct user *u, int64_t now)
{
	for (unsigned i = 0; i < USER_TIMERS_MAX; i++) {
		struct timer *t = &u->timer[i];

		if (!t->used || !t->set || t->expires_ms > now / 1000000)
			continue;
		t->set = false;
		slirp_handle_timer(u->slirp, t->id, t->opaque);
	}
}

static unsigned look(struct net_backend *b, unsigned budget, bool *more)
{
	struct user *u = to_user(b);
	int64_t now = now_ns(NULL);

	(void)budget;
	(void)more;
	/* What cannot reach the guest stays in the sockets. */
	if ((!u->sent && now < u->next_ns) || !b->host->may_receive(b->host->opaque))
		return 0;
	u->sent = false;
	u->next_ns = now + USER_LOOK_NS;
	u->handed = 0;
	u->first = u->left;
	u->left = 0;
	list_sockets(u);
	slirp_pollfds_poll(u->slirp, poll(u->fds, u->fds_nr, 0) < 0, get_revents, u);
	fire_timers(u, now);
	return u->handed;
}

static int fds(struct net_backend *b, struct pollfd *out, unsigned max)
{
	struct user *u = to_user(b);

	if (!b->host->may_receive(b->host->opaque))
		return 0;
	list_sockets(u);
	if (max > u->fds_nr)
		max = u->fds_nr;
	memcpy(out, u->fds, max * sizeof(*out));
	return (int)max;
}

static int sooner(int a, int64_t b)
{
	if (b < 0)
		b = 0;
	return a < 0 || b < a ? (int)(b < INT32_MAX ? b : INT32_MAX) : a;
}

static int timeout_ms(struct net_backend *b)
{
	struct user *u = to_user(b);
	int timeout;

	if (!b->host->may_receive(b->host->opaque))
		return -1;
	timeout = list_sockets(u);
	if (u->fds_nr > ENDPOINT_FDS_MAX)
		timeout = sooner(timeout, USER_CROWDED_MS);
	for (unsigned i = 0; i < USER_TIMERS_MAX; i++)
		if (u->timer[i].used && u->timer[i].set)
			timeout = sooner(timeout,
					 u->timer[i].expires_ms - now_ns(NULL) / 1000000);
	return timeout;
}

/* ---- from the guest ---- */

/*
 * libslirp's segments are as long as the guest's SYN allows. A guest that takes a
 * series in one frame allows more than its MTU in effect: it is told about each
 * series as if it had come as segments of the size it asked for.
 */
static void raise_mss(const struct user *u, uint8_t *bytes, size_t len)
{
	uint64_t offloads = u->b.host->state->offloads;

	if (offloads & BIT(VIRTIO_NET_F_GUEST_TSO4))
		offload_raise_mss(bytes, len, false, USER_SERIES_LEN);
	if (offloads & BIT(VIRTIO_NET_F_GUEST_TSO6))
		offload_raise_mss(bytes, len, true, USER_SERIES_LEN);
}

static bool send_frame(struct net_backend *b, unsigned pair, struct net_frame *frame)
{
	struct user *u = to_user(b);
	uint8_t *bytes = frame->iov[0].iov_base;

	(void)pair;
	if (unlikely(u->sockets >= USER_SOCKETS_MAX) &&
	    offload_opens_flow(bytes, frame->len)) {
		u->refused++;
		return false;
	}
	raise_mss(u, bytes, frame->len);
	u->sent = true;
	slirp_input(u->slirp, bytes, (int)frame->len);
	return true;
}

/* ---- options ---- */

static int bad_forward(const struct net_host *host, const char *text)
{
	return endpoint_err(
		host->log, EINVAL,
		"%s: hostfwd=%s: write PROTO:ADDRESS:PORT-:PORT with PROTO tcp "
		"or udp and an address of 127.0.0.0/8, e.g. "
		"tcp:127.0.0.1:2222-:22",
		host->name, text);
}

static int add_forward(struct user *u, const char *text)
{
	const struct net_host *host = u->b.host;
	struct in_addr from, any = {.s_addr = INADDR_ANY};
	unsigned host_port, guest_port;
	char proto[4], address[16], end;
	bool udp;

	if (sscanf(text, "%3[a-z]:%15[0-9.]:%5u-:%5u%c", proto, address, &host_port,
		   &guest_port, &end) != 4)
		return bad_forward(host, text);
	udp = !strcmp(proto, "udp");
	if ((!udp && strcmp(proto, "tcp")) || !inet_aton(address, &from) ||
	    ntohl(from.s_addr) >> 24 != 127 || !host_port || host_port > 65535 ||
	    !guest_port || guest_port > 65535)
		return bad_forward(host, text);
	if (slirp_add_hostfwd(u->slirp, udp, from, (int)host_port, any, (int)guest_port))
		return endpoint_err(host->log, errno ? errno : EADDRINUSE,
				    "%s: hostfwd=%s: %s", host->name, text,
				    strerror(errno));
	return 0;
}

static int add_forwards(struct user *u, const char *list)
{
	char text[64];
	size_t len;
	int r = 0;

	for (unsigned i = 0; !r && list && *list; i++) {
		len = strcspn(list, "+");
		if (i == USER_FORWARDS_MAX)
			return endpoint_err(u->b.host->log, EINVAL,
					    "%s: more than %u ports in hostfwd",
					    u->b.host->name, USER_FORWARDS_MAX);
		if (len >= sizeof(text))
			return bad_forward(u->b.host, list);
		memcpy(text, list, len);
		text[len] = '\0';
		r = add_forward(u, text);
		list += len + (list[len] != '\0');
	}
	return r;
}

/* There are no other sockets yet. */
static void find_listeners(struct user *u)
{
	list_sockets(u);
	for (unsigned i = 0; i < u->fds_nr && u->listeners_nr < USER_FORWARDS_MAX; i++) {
		int fd = u->fds[i].fd, on = 0;
		socklen_t len = sizeof(on);

		if (!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) && on)
			u->listener[u->listeners_nr++] = fd;
	}
}

/* 10.0.2.0/24 and fec0::/64, as guests of QEMU know them. */
static void fill_config(SlirpConfig *c, bool restricted, bool ipv6, const char *name)
{
	*c = (SlirpConfig){
		.version = 4,
		.restricted = restricted,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(0x0a000200),
		.vnetmask.s_addr = htonl(0xffffff00),
		.vhost.s_addr = htonl(0x0a000202),
		.vnameserver.s_addr = htonl(0x0a000203),
		.vdhcp_start.s_addr = htonl(0x0a00020f),
		.in6_enabled = ipv6,
		.vprefix_len = 64,
		.vhostname = name,
		/* The most it knows, both ways: see raise_mss() and whole_tcp. */
		.if_mtu = 65521,
		.if_mru = 65521,
	};
	inet_pton(AF_INET6, "fec0::", &c->vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &c->vhost6);
	inet_pton(AF_INET6, "fec0::3", &c->vnameserver6);
}

static void close_user(struct net_backend *b)
{
	struct user *u = to_user(b);

	if (u->slirp)
		slirp_cleanup(u->slirp);
	endpoint_free(b->host->alloc, u, sizeof(*u));
}

/* A program that has locked itself in already says so here, not by connections
 * that fail. */
static int check_sockets(const struct user *u)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return endpoint_err(u->b.host->log, errno,
				    "%s: sockets cannot be opened: %s; a system call "
				    "filter allows them only if an endpoint with "
				    "backend=user is there from the start",
				    u->b.host->name, strerror(errno));
	close(fd);
	return 0;
}

static int start(struct user *u, const struct options *o)
{
	bool restricted = false, ipv6 = false;
	SlirpConfig config;
	int r = options_bool(o, "restrict", &restricted);

	if (!r)
		r = options_bool(o, "ipv6", &ipv6);
	if (!r)
		r = check_sockets(u);
	if (r)
		return r;
	fill_config(&config, restricted, ipv6, u->b.host->name);
	u->slirp = slirp_new(&config, &callbacks, u);
	if (!u->slirp)
		return endpoint_err(u->b.host->log, EINVAL,
				    "%s: libslirp %s does not start", u->b.host->name,
				    slirp_version_string());
	r = add_forwards(u, options_get(o, "hostfwd"));
	if (!r)
		find_listeners(u);
	return r;
}

static int open_user(const struct net_host *host, const struct options *options,
		     struct net_backend **out)
{
	struct user *u = endpoint_alloc(host->alloc, sizeof(*u), 64);
	int r;

	if (!u)
		return endpoint_err(host->log, ENOMEM, "%s: out of memory", host->name);
	u->b.ops = &net_user;
	u->b.host = host;
	r = start(u, options);
	if (r) {
		close_user(&u->b);
		return r;
	}
	*out = &u->b;
	return 0;
}

static void stats(struct net_backend *b, endpoint_stat_fn *visit, void *opaque)
{
	const struct user *u = to_user(b);

	visit(opaque, "user_sockets", u->sockets);
	visit(opaque, "user_refused", u->refused);
	visit(opaque, "user_complaints", u->complaints);
}

const struct net_backend_ops net_user = {
	.name = "user-mode networking",
	.handover = NET_COPIED,
	.whole_tcp = true,
	.open = open_user,
	.close = close_user,
	.send = send_frame,
	.poll = look,
	.fds = fds,
	.timeout_ms = timeout_ms,
	.stats = stats,
};
