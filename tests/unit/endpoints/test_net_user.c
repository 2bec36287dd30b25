/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The network card on user-mode networking: a guest made of single frames talks
 * to sockets on the host's loopback. */
#include "vnic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "endpoints/net/internal.h"

#define GUEST_IP 0x0a00020fu
#define HOST_IP	 0x0a000202u
#define PATIENCE 2000u /* ms; only a failure takes that long */

static const uint8_t own_mac[6] = {0x52, 0x54, 0x00, 0x01, 0x02, 0x03};
static struct rng rng;

struct talk {
	struct vnic *v;
	struct vnic_flow flow; /* from the guest */
	uint8_t frame[VNIC_FRAME], got[VNIC_FRAME];
	struct virtio_net_hdr header; /* of got */
	size_t len;
	int fd; /* the host's end, or its listening socket */
};

static int make_socket(int type, uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, type, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

/* A frame for us, other than ARP; the next one within ms. */
static bool next_frame(struct talk *t, unsigned ms)
{
	t->len = vnic_receive(t->v, 0, &t->header, t->got, ms);
	return t->len != 0;
}

static void post(struct talk *t, unsigned nr)
{
	unsigned out = drvq_out_nr(&t->v->drv.q[0]);

	if (out < nr)
		vnic_post(t->v, 0, nr - out, 1536, 1);
}

/* Asks who has the host's address; libslirp learns ours by that. */
static void arp(struct talk *t)
{
	static const uint8_t who[28] = {0, 1, 8, 0, 6,	4, 0, 1,  0x52, 0x54,
					0, 1, 2, 3, 10, 0, 2, 15, 0,	0,
					0, 0, 0, 0, 10, 0, 2, 2};
	struct virtio_net_hdr h = {0};
	uint8_t frame[42];

	memset(frame, 0xff, 6);
	memcpy(frame + 6, own_mac, 6);
	frame[12] = 8;
	frame[13] = 6;
	memcpy(frame + 14, who, sizeof(who));
	post(t, 8);
	vnic_send(t->v, 0, &h, frame, sizeof(frame), 0);
	assert_true(next_frame(t, PATIENCE));
	assert_int_equal(t->got[21], 2);
	memcpy(t->flow.to, t->got + 22, 6);
	memcpy(t->flow.from, own_mac, 6);
}

static struct talk *talk_of(const char *options, struct vdrv_shape shape, bool udp,
			    uint16_t port)
{
	struct talk *t = calloc(1, sizeof(*t));
	char all[160];

	snprintf(all, sizeof(all), "backend=user,mac=" VNIC_MAC "%s", options);
	shape.iommu = true;
	t->v = vnic_create(all, shape);
	t->flow = (struct vnic_flow){.udp = udp,
				     .src = GUEST_IP,
				     .dst = HOST_IP,
				     .sport = 4321,
				     .dport = port,
				     .seq = 0xffffff00u};
	arp(t);
	return t;
}

static struct talk *talk_to(const char *options, uint64_t without, bool udp,
			    uint16_t port)
{
	return talk_of(options, (struct vdrv_shape){.without = without}, udp, port);
}

static void end(struct talk *t)
{
	vnic_destroy(t->v);
	free(t);
}

/* With partial checksums, as a series if it is longer than a segment. */
static void say_on(struct talk *t, unsigned pair, const void *payload, size_t len)
{
	bool sums = t->v->drv.features & BIT(VIRTIO_NET_F_CSUM);
	struct virtio_net_hdr h = {0};
	unsigned l4;
	size_t n = vnic_build(t->frame, &t->flow, payload, len, sums, &l4);

	if (sums)
		h = vnic_header(&t->flow, l4, len > 1460 ? 1460 : 0);
	vnic_send(t->v, pair, &h, t->frame, n, 0);
}

static void say(struct talk *t, const void *payload, size_t len)
{
	post(t, 48);
	say_on(t, 0, payload, len);
}

/* The checksums are right, or become so as the header says. */
static void check_sums(struct talk *t)
{
	const struct virtio_net_hdr *h = &t->header;
	struct net_meta meta = {h->flags,    h->gso_type,   h->hdr_len,
				h->gso_size, h->csum_start, h->csum_offset};

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		assert_true(offload_check(&meta, t->len, UINT64_MAX));
		offload_checksum(t->got, t->len, &meta);
	}
	assert_true(vnic_sums_right(t->got, t->len));
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- UDP ---- */

/* Where the guest's datagram came from. */
static struct sockaddr_in heard(int fd)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t byte;

	assert_int_equal(recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&from, &len), 1);
	return from;
}

static void tell(int fd, const struct sockaddr_in *to, const void *data, size_t len)
{
	assert_int_equal(
		sendto(fd, data, len, 0, (const struct sockaddr *)to, sizeof(*to)), len);
}

static void test_udp(void **state)
{
	uint8_t payload[1400], back[1500];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint16_t port;
	int fd = make_socket(SOCK_DGRAM, &port);
	struct talk *t = talk_to("", 0, true, port);
	size_t at, n;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		size_t len = 1 + rng_below(&rng, sizeof(payload));

		memset(payload, (int)i, len);
		say(t, payload, len);
		assert_int_equal(recvfrom(fd, back, sizeof(back), 0,
					  (struct sockaddr *)&from, &from_len),
				 len);
		assert_memory_equal(back, payload, len);
		back[0] ^= 0xff;
		sendto(fd, back, len, 0, (struct sockaddr *)&from, from_len);
		assert_true(next_frame(t, PATIENCE));
		assert_int_equal(t->header.flags, VIRTIO_NET_HDR_F_DATA_VALID);
		check_sums(t);
		at = vnic_payload(t->got, t->len, &n);
		assert_int_equal(n, len);
		assert_memory_equal(t->got + at, back, len);
	}
	close(fd);
	end(t);
}

/* A series of datagrams is cut for libslirp. */
static void test_udp_series(void **state)
{
	uint8_t payload[10000], back[2000];
	uint16_t port;
	int fd = make_socket(SOCK_DGRAM, &port);
	struct talk *t = talk_to("", 0, true, port);

	(void)state;
	for (unsigned i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)rng_next(&rng);
	say(t, payload, sizeof(payload));
	for (size_t done = 0; done < sizeof(payload); done += 1460) {
		ssize_t want = sizeof(payload) - done < 1460
				       ? (ssize_t)(sizeof(payload) - done)
				       : 1460;

		assert_int_equal(recv(fd, back, sizeof(back), 0), want);
		assert_memory_equal(back, payload + done, want);
	}
	assert_int_equal(guest_stat(t->v->drv.g, "segmented"), 1);
	close(fd);
	end(t);
}

/* As many sockets as allowed, and one more. */
static void test_sockets_limit(void **state)
{
	uint16_t port;
	int fd = make_socket(SOCK_DGRAM, &port);
	struct talk *t = talk_to("", 0, true, port);
	uint8_t byte;

	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		t->flow.sport = (uint16_t)(5000 + i);
		say(t, "x", 1);
	}
	assert_int_equal(guest_stat(t->v->drv.g, "user_sockets"), 256);
	assert_int_equal(guest_stat(t->v->drv.g, "user_refused"), 0);
	t->flow.sport++;
	say(t, "x", 1);
	assert_int_equal(guest_stat(t->v->drv.g, "user_sockets"), 256);
	assert_int_equal(guest_stat(t->v->drv.g, "user_refused"), 1);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_true(endpoint_timeout_ms(t->v->drv.g->ep) <=
		    5); /* more than can be watched */
	close(fd);
	end(t);
}

/* The pieces of a datagram that is longer than the MTU. Result: its bytes behind
 * the IP header; they are in `out`. */
static size_t take_fragments(struct talk *t, uint8_t *out, unsigned mtu)
{
	size_t done = 0, n, header;
	bool more = true;

	while (more) {
		const uint8_t *ip = t->got + 14;

		post(t, 48);
		assert_true(next_frame(t, PATIENCE));
		assert_true(t->len <= 14 + mtu);
		assert_int_equal(t->header.flags | t->header.gso_type, 0);
		header = (size_t)(ip[0] & 15) * 4;
		n = (size_t)(ip[2] << 8 | ip[3]) - header;
		assert_int_equal(14 + header + n, t->len);
		assert_int_equal((ip[6] << 8 | ip[7]) & 0x1fff, done / 8);
		more = ip[6] & 0x20;
		assert_true(!more || n % 8 == 0);
		memcpy(out + done, ip + header, n);
		done += n;
	}
	return done;
}

/* What is longer than the guest's MTU comes in fragments. */
static void test_udp_long(void **state)
{
	static const unsigned mtus[] = {1500, 68, 9000};
	static uint8_t data[65000], back[66000];
	uint16_t port;
	int fd = make_socket(SOCK_DGRAM, &port);
	char options[16];

	(void)state;
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rng_next(&rng);
	for (unsigned i = 0; i < 3; i++) {
		struct talk *t;
		struct sockaddr_in from;

		snprintf(options, sizeof(options), ",mtu=%u", mtus[i]);
		t = talk_to(options, 0, true, port);
		say(t, "x", 1);
		from = heard(fd);
		for (size_t len = mtus[i] - 28 + 1; len <= sizeof(data); len *= 3) {
			tell(fd, &from, data, len);
			assert_int_equal(take_fragments(t, back, mtus[i]), 8 + len);
			assert_memory_equal(back + 8, data, len);
		}
		tell(fd, &from, data, mtus[i] - 28);
		post(t, 48);
		assert_true(next_frame(t, PATIENCE));
		assert_int_equal(t->header.flags, VIRTIO_NET_HDR_F_DATA_VALID);
		check_sums(t);
		end(t);
	}
	close(fd);
}

/* ---- DHCP ---- */

static void test_dhcp(void **state)
{
	struct talk *t = talk_to("", 0, true, 67);
	uint8_t request[300] = {1, 1, 6, 0, 1, 2, 3, 4};
	const uint8_t tail[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
	size_t at, n;

	(void)state;
	memcpy(request + 28, own_mac, 6);
	memcpy(request + 236, tail, sizeof(tail));
	memset(t->flow.to, 0xff, 6);
	t->flow.src = 0;
	t->flow.dst = 0xffffffff;
	t->flow.sport = 68;
	say(t, request, sizeof(request));
	assert_true(next_frame(t, PATIENCE));
	check_sums(t);
	at = vnic_payload(t->got, t->len, &n);
	assert_int_equal(t->got[at], 2);
	assert_int_equal(get32(t->got + at + 16), GUEST_IP);
	end(t);
}

/* ---- TCP ---- */

/* The three first packets; t->fd becomes the host's end. */
static void establish(struct talk *t, int listener)
{
	static const uint8_t mss[4] = {2, 4, 0x05, 0xb4};

	t->flow.flags = 0x02;
	t->flow.options = mss;
	t->flow.options_len = 4;
	say(t, "", 0);
	assert_true(next_frame(t, PATIENCE));
	check_sums(t);
	assert_int_equal(t->got[vnic_l4(t->got) + 13] & 0x3f, 0x12);
	t->flow.options_len = 0;
	t->flow.seq++;
	t->flow.ack = get32(t->got + vnic_l4(t->got) + 4) + 1;
	t->flow.flags = 0x10;
	say(t, "", 0);
	t->fd = accept(listener, NULL, NULL);
	assert_true(t->fd >= 0);
}

/* The guest sends; the host reads meanwhile. */
static void send_all(struct talk *t, const uint8_t *data, size_t len)
{
	uint8_t back[65536];
	size_t done = 0, n;
	ssize_t r;

	t->flow.flags = 0x18;
	while (done < len) {
		n = len - done < 30000 ? len - done : 30000;
		say(t, data + done, n);
		t->flow.seq += (uint32_t)n;
		for (size_t got = 0; got < n; got += (size_t)r) {
			r = recv(t->fd, back, n - got, 0);
			assert_true(r > 0);
			assert_memory_equal(back, data + done + got, r);
		}
		done += n;
		while (next_frame(t, 0))
			check_sums(t);
	}
}

struct came {
	size_t bytes;
	unsigned frames, series;
};

/* One frame of the stream; what is no next piece of it is no progress. */
static void take_data(struct talk *t, const uint8_t *data, struct came *c)
{
	size_t n, at = vnic_payload(t->got, t->len, &n);

	check_sums(t);
	if (get32(t->got + vnic_l4(t->got) + 4) != t->flow.ack || !n)
		return;
	assert_memory_equal(t->got + at, data + c->bytes, n);
	c->bytes += n;
	c->frames++;
	if (t->header.gso_type) {
		assert_int_equal(t->header.gso_size, 1460);
		c->series++;
	} else {
		assert_true(t->len <= 1514);
	}
	t->flow.ack += (uint32_t)n;
	t->flow.flags = 0x10;
	say(t, "", 0);
}

/* The host sends, the guest takes and acknowledges. */
static struct came receive_all(struct talk *t, const uint8_t *data, size_t len)
{
	struct came c = {0};
	size_t sent = 0;
	ssize_t r;

	while (c.bytes < len) {
		r = sent < len ? send(t->fd, data + sent, len - sent, MSG_DONTWAIT) : 0;
		sent += r > 0 ? (size_t)r : 0;
		post(t, 48);
		assert_true(next_frame(t, PATIENCE));
		take_data(t, data, &c);
	}
	return c;
}

/* Connections that end give their place back. */
static void test_sockets_end(void **state)
{
	uint16_t port;
	int listener = make_socket(SOCK_STREAM, &port);
	struct talk *t = talk_to("", 0, false, port);
	struct linger now = {1, 0};

	(void)state;
	assert_int_equal(listen(listener, 1), 0);
	for (unsigned i = 0; i < 300; i++) {
		establish(t, listener);
		/* One side or the other resets. */
		if (i & 1) {
			setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
			close(t->fd);
			for (unsigned k = 0; k < 10 && next_frame(t, 1); k++)
				post(t, 48);
		} else {
			t->flow.flags = 0x04;
			say(t, "", 0);
			close(t->fd);
		}
		t->flow.sport++;
		while (next_frame(t, 0))
			post(t, 48);
	}
	assert_true(guest_stat(t->v->drv.g, "user_sockets") < 8);
	assert_int_equal(guest_stat(t->v->drv.g, "user_refused"), 0);
	close(listener);
	end(t);
}

static uint8_t *noise(size_t len)
{
	uint8_t *p = malloc(len);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_next(&rng);
	return p;
}

static void tcp_both_ways(uint64_t without)
{
	uint16_t port;
	int listener = make_socket(SOCK_STREAM, &port);
	struct talk *t = talk_to("", without, false, port);
	uint8_t *data = noise(300000);
	struct came c;

	assert_int_equal(listen(listener, 1), 0);
	establish(t, listener);
	if (!without)
		send_all(t, data, 300000);
	c = receive_all(t, data, 300000);
	assert_int_equal(c.bytes, 300000);
	if (without) {
		assert_int_equal(c.series, 0);
		assert_true(c.frames >= 300000 / 1460);
	} else {
		assert_true(c.series > 0);
		assert_true(c.frames < 100);
		assert_int_equal(guest_stat(t->v->drv.g, "segmented"), 0);
	}
	assert_int_equal(guest_stat(t->v->drv.g, "rx_dropped"), 0);
	assert_int_equal(guest_stat(t->v->drv.g, "malformed"), 0);
	free(data);
	close(t->fd);
	close(listener);
	end(t);
}

static void test_tcp(void **state)
{
	(void)state;
	tcp_both_ways(0);
}

static void test_tcp_plain(void **state)
{
	(void)state;
	tcp_both_ways(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
		      BIT(VIRTIO_NET_F_MRG_RXBUF));
}

/* Until `nr` frames wait, and whatever more comes at once. */
static void wait_backlog(struct talk *t, unsigned nr)
{
	for (unsigned i = 0; i < PATIENCE && guest_stat(t->v->drv.g, "rx_backlog") < nr;
	     i++)
		assert_false(next_frame(t, 1));
	assert_true(guest_stat(t->v->drv.g, "rx_backlog") >= nr);
}

/* Without receive buffers frames wait, and come when there are some. */
static void test_backlog(void **state)
{
	uint16_t port;
	int listener = make_socket(SOCK_STREAM, &port);
	struct talk *t = talk_to("", 0, false, port);
	uint8_t *data = noise(40000);
	struct came c = {0};

	(void)state;
	assert_int_equal(listen(listener, 1), 0);
	establish(t, listener);
	/* Buffers that are there hold too little. */
	vdrv_reset_queue(&t->v->drv, 0);
	vnic_post(t->v, 0, 2, 1536, 1);
	assert_int_equal(send(t->fd, data, 40000, 0), 40000);
	wait_backlog(t, 1);
	assert_int_equal(endpoint_timeout_ms(t->v->drv.g->ep), -1);
	while (c.bytes < 40000) {
		post(t, 60);
		assert_true(next_frame(t, PATIENCE));
		take_data(t, data, &c);
	}
	assert_int_equal(guest_stat(t->v->drv.g, "rx_dropped"), 0);
	free(data);
	close(t->fd);
	close(listener);
	end(t);
}

/* "The device MUST NOT queue packets on receive queues greater than
 * virtqueue_pairs": nor those that waited for buffers of such a queue. */
static void test_fewer_pairs(void **state)
{
	uint16_t port, pairs = 2;
	int fd = make_socket(SOCK_DGRAM, &port);
	struct talk *t =
		talk_of(",queues=2", (struct vdrv_shape){.queues = 2}, true, port);
	struct sockaddr_in from;

	(void)state;
	assert_int_equal(vnic_control(t->v, 4, 0, &pairs, 2), VIRTIO_NET_OK);
	say_on(t, 1, "x", 1);
	from = heard(fd);
	tell(fd, &from, "y", 1);
	wait_backlog(t, 1);
	pairs = 1;
	assert_int_equal(vnic_control(t->v, 4, 0, &pairs, 2), VIRTIO_NET_OK);
	vnic_post(t->v, 1, 4, 1536, 1);
	post(t, 4);
	assert_true(next_frame(t, 0));
	close(fd);
	end(t);
}

/* A cable that is out delivers nothing, then or later. */
static void test_unplugged_backlog(void **state)
{
	uint16_t port;
	int fd = make_socket(SOCK_DGRAM, &port);
	struct talk *t = talk_to("", 0, true, port);
	struct endpoint *ep = t->v->drv.g->ep;
	struct sockaddr_in from;

	(void)state;
	say(t, "x", 1);
	from = heard(fd);
	vdrv_reset_queue(&t->v->drv, 0);
	tell(fd, &from, "y", 1);
	wait_backlog(t, 1);
	assert_int_equal(endpoint_control(ep, "link", "state=off"), 0);
	post(t, 4);
	assert_false(next_frame(t, 0));
	assert_int_equal(guest_stat(t->v->drv.g, "rx_dropped"), 1);
	assert_int_equal(endpoint_control(ep, "link", "state=on"), 0);
	assert_false(next_frame(t, 0));
	tell(fd, &from, "z", 1);
	assert_true(next_frame(t, PATIENCE));
	close(fd);
	end(t);
}

/* More in the sockets than can wait: it stays there. */
static void test_backlog_of_many(void **state)
{
	enum { FLOWS = 40, LEN = 30000 };
	uint16_t port;
	int fd = make_socket(SOCK_DGRAM, &port);
	struct talk *t = talk_to("", 0, true, port);
	struct sockaddr_in from[FLOWS];
	uint8_t *data = noise(LEN);
	unsigned came = 0;

	(void)state;
	for (unsigned i = 0; i < FLOWS; i++) {
		t->flow.sport++;
		say(t, "x", 1);
		from[i] = heard(fd);
	}
	vdrv_reset_queue(&t->v->drv, 0);
	for (unsigned i = 0; i < FLOWS; i++)
		tell(fd, &from[i], data, LEN);
	wait_backlog(t, 1);
	assert_int_equal(guest_stat(t->v->drv.g, "rx_dropped"), 0);
	for (; came < FLOWS; came++) {
		post(t, 48);
		assert_true(next_frame(t, PATIENCE));
	}
	assert_int_equal(guest_stat(t->v->drv.g, "rx_dropped"), 0);
	free(data);
	close(fd);
	end(t);
}

/* However few buffers there are, each socket has its turn. */
static void test_fair_sockets(void **state)
{
	enum { FLOWS = 4, EACH = 8 };
	unsigned came[FLOWS] = {0};
	struct sockaddr_in from[FLOWS];
	uint16_t port;
	int fd = make_socket(SOCK_DGRAM, &port);
	struct talk *t = talk_to("", 0, true, port);

	(void)state;
	for (unsigned i = 0; i < FLOWS; i++) {
		t->flow.sport = (uint16_t)(5000 + i);
		say(t, "x", 1);
		from[i] = heard(fd);
	}
	vdrv_reset_queue(&t->v->drv, 0);
	for (unsigned i = 0; i < FLOWS * EACH; i++)
		tell(fd, &from[i % FLOWS], "y", 1);
	for (unsigned i = 0; i < 4 * FLOWS; i++) {
		post(t, 1);
		assert_true(next_frame(t, PATIENCE));
		came[t->got[vnic_l4(t->got) + 3] - 5000 % 256]++;
	}
	for (unsigned i = 0; i < FLOWS; i++)
		assert_int_not_equal(came[i], 0);
	close(fd);
	end(t);
}

static void test_hostfwd(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char options[80];
	struct talk *t;
	uint16_t port;
	int fd = make_socket(SOCK_STREAM, &port);

	(void)state;
	close(fd);
	snprintf(options, sizeof(options), ",hostfwd=tcp:127.0.0.1:%u-:7", port);
	t = talk_to(options, 0, false, port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	a.sin_port = htons(port);
	connect(fd, (struct sockaddr *)&a, sizeof(a));
	assert_true(next_frame(t, PATIENCE));
	check_sums(t);
	assert_int_equal(t->got[vnic_l4(t->got) + 13] & 0x3f, 0x02);
	assert_int_equal(t->got[vnic_l4(t->got) + 3], 7);
	assert_int_equal(guest_stat(t->v->drv.g, "user_sockets"), 1);
	close(fd);
	end(t);
}

/* A connection to a forwarded port that the guest does not answer. */
static int dial(struct talk *t, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	connect(fd, (struct sockaddr *)&a, sizeof(a));
	post(t, 8);
	next_frame(t, 10);
	return fd;
}

/* As many connections from the host as allowed, and one more, which waits until
 * another one ends. */
static void test_forwarded_limit(void **state)
{
	char options[80];
	struct talk *t;
	uint16_t port;
	int fds[257], probe = make_socket(SOCK_STREAM, &port);

	(void)state;
	close(probe);
	snprintf(options, sizeof(options), ",hostfwd=tcp:127.0.0.1:%u-:7", port);
	t = talk_to(options, 0, false, port);
	for (unsigned i = 0; i < 256; i++) {
		fds[i] = dial(t, port);
		assert_int_equal(guest_stat(t->v->drv.g, "user_sockets"), i + 1);
	}
	memcpy(&t->flow.dport, t->got + vnic_l4(t->got), 2);
	t->flow.dport = ntohs(t->flow.dport);
	fds[256] = dial(t, port);
	assert_int_equal(guest_stat(t->v->drv.g, "user_sockets"), 256);
	/* The guest refuses the last one. */
	t->flow.sport = 7;
	t->flow.ack = get32(t->got + vnic_l4(t->got) + 4) + 1;
	t->flow.flags = 0x14;
	say(t, "", 0);
	assert_true(next_frame(t, PATIENCE));
	assert_int_equal(t->got[vnic_l4(t->got) + 13] & 0x3f, 0x02);
	assert_int_equal(guest_stat(t->v->drv.g, "user_sockets"), 256);
	for (unsigned i = 0; i < 257; i++)
		close(fds[i]);
	end(t);
}

static void test_forwards_limit(void **state)
{
	char options[17 * 40] = "backend=user,hostfwd=";
	struct guest *g = guest_create(false);

	(void)state;
	for (unsigned i = 0; i < 17; i++)
		snprintf(options + strlen(options), 40, "%sudp:127.77.1.%u:4444-:7",
			 i ? "+" : "", i + 1);
	assert_int_equal(guest_endpoint(g, "net", options), -EINVAL);
	*strrchr(options, '+') = '\0';
	assert_int_equal(guest_endpoint(g, "net", options), 0);
	guest_destroy(g);
}

/* A reset in mid-stream, then the next connection. */
static void test_reset(void **state)
{
	uint16_t port;
	int listener = make_socket(SOCK_STREAM, &port);
	struct talk *t = talk_to("", 0, false, port);
	uint8_t *data = noise(100000);

	(void)state;
	assert_int_equal(listen(listener, 1), 0);
	for (unsigned i = 0; i < 5; i++) {
		establish(t, listener);
		if (send(t->fd, data, 100000, MSG_DONTWAIT) > 0)
			next_frame(t, i);
		vdrv_reset(&t->v->drv);
		guest_run(t->v->drv.g, 0);
		vnic_init(t->v);
		close(t->fd);
		t->flow.sport++;
		arp(t);
		while (next_frame(t, 2))
			post(t, 48);
	}
	establish(t, listener);
	assert_int_equal(receive_all(t, data, 100000).bytes, 100000);
	free(data);
	close(t->fd);
	close(listener);
	end(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_udp_series),
		cmocka_unit_test(test_udp_long),
		cmocka_unit_test(test_sockets_limit),
		cmocka_unit_test(test_sockets_end),
		cmocka_unit_test(test_dhcp),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_tcp_plain),
		cmocka_unit_test(test_backlog),
		cmocka_unit_test(test_fewer_pairs),
		cmocka_unit_test(test_unplugged_backlog),
		cmocka_unit_test(test_backlog_of_many),
		cmocka_unit_test(test_fair_sockets),
		cmocka_unit_test(test_hostfwd),
		cmocka_unit_test(test_forwarded_limit),
		cmocka_unit_test(test_forwards_limit),
		cmocka_unit_test(test_reset),
	};

	rng = rng_init(test_seed());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
