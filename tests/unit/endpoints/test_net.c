/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The network card on its loopback: rings, headers, offloads, filters, limits. */
#include "vnic.h"

#include <errno.h>

#include "endpoints/net/internal.h"

#define LOOPBACK "backend=loopback,mac=" VNIC_MAC

static const uint8_t own_mac[6] = {0x52, 0x54, 0x00, 0x01, 0x02, 0x03};
static const uint64_t guest_offloads =
	BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
	BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) |
	BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6);
/* For frames longer than an MTU would allow. */
static const uint64_t mtu = BIT(VIRTIO_NET_F_MTU);
static struct rng rng;

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_next(&rng);
}

/* Any bytes to ourselves, but no VLAN's frame: the card filters that. */
static void fill_frame(uint8_t *frame, size_t len)
{
	fill(frame, len);
	memcpy(frame, own_mac, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
}

static struct vnic_flow to_self(void)
{
	struct vnic_flow f = {.src = 0x0a000001,
			      .dst = 0x0a000002,
			      .sport = 1000,
			      .dport = 2000,
			      .seq = 0xfffff000,
			      .flags = 0x18};

	memcpy(f.to, own_mac, 6);
	f.from[5] = 9;
	return f;
}

static void send_plain(struct vnic *v, unsigned pair, const uint8_t *frame, size_t len)
{
	struct virtio_net_hdr h = {0};

	vnic_send(v, pair, &h, frame, len, 0);
}

/* ---- what the driver sees first ---- */

static void test_identity(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK ",mtu=9000,queues=3",
				     (struct vdrv_shape){.iommu = true});

	(void)state;
	assert_int_equal(guest_config(v->drv.g, 0, 4), 0x10411af4);
	assert_int_equal(guest_config(v->drv.g, 10, 2), 0x0200);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(vdrv_config(&v->drv, i, 1), own_mac[i]);
	assert_int_equal(vdrv_config(&v->drv, 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(vdrv_config(&v->drv, 8, 2), 3);
	assert_int_equal(vdrv_config(&v->drv, 10, 2), 9000);
	assert_true(v->drv.features & BIT(VIRTIO_NET_F_MQ));
	assert_true(v->drv.features & BIT(33));
	vnic_destroy(v);
}

static void test_offers(void **state)
{
	static const struct {
		const char *options;
		uint64_t has, lacks;
	} cases[] = {
		{LOOPBACK, BIT(15) | BIT(0) | BIT(1) | BIT(28) | BIT(34) | BIT(40),
		 BIT(22)},
		{LOOPBACK ",mergeable=off", BIT(0), BIT(15)},
		{LOOPBACK ",offload=off", BIT(15), BIT(0) | BIT(1) | BIT(2) | BIT(11)},
		{LOOPBACK ",packed=off,queues=2", BIT(22), BIT(34)},
		{LOOPBACK ",indirect=off", BIT(34), BIT(28)},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vnic *v =
			vnic_plug(cases[i].options, (struct vdrv_shape){.iommu = true});

		assert_true((vdrv_offered(&v->drv) & cases[i].has) == cases[i].has);
		assert_false(vdrv_offered(&v->drv) & cases[i].lacks);
		vnic_destroy(v);
	}
}

static void test_options(void **state)
{
	static const char *const bad[] = {
		"backend=what",
		"backend=loopback,mac=1:2:3:4:5:6",
		"backend=loopback,mac=01:00:00:00:00:00",
		"backend=loopback,mac=52:54:00:01:02:0x3",
		"backend=loopback,mtu=67",
		"backend=loopback,mtu=65536",
		"backend=loopback,queues=0",
		"backend=loopback,queues=32",
		"backend=loopback,queue-size=2",
		"backend=loopback,queue-size=100",
		"backend=loopback,queue-size=2048",
		"backend=tap",
		"backend=tap,ifname=,queues=1",
		"backend=tap,ifname=a,fd=3",
		"backend=tap,ifname=much-too-long-a-name",
		"backend=tap,fd=99999",
		"backend=tap,fd=x",
		"backend=user,hostfwd=tcp:10.0.0.1:80-:80",
		"backend=user,hostfwd=sctp:127.0.0.1:80-:80",
		"backend=user,hostfwd=tcp:127.0.0.1:0-:80",
		"backend=user,hostfwd=tcp:127.0.0.1:99999-:80",
		"backend=user,hostfwd=tcp:127.0.0.1:80-:80x",
		"backend=user,restrict=perhaps",
	};
	static const char *const good[] = {"backend=null,queues=31,mtu=68",
					   "backend=null,queue-size=4,mtu=65535",
					   "backend=null,queue-size=1024"};
	struct guest *g = guest_create(true);

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(guest_endpoint(g, "net", bad[i]), -EINVAL);
		assert_true(g->said[0]);
	}
	guest_destroy(g);
	for (unsigned i = 0; i < 3; i++) {
		g = guest_create(true);
		assert_int_equal(guest_endpoint(g, "net", good[i]), 0);
		guest_destroy(g);
	}
}

/* Every allocation fails in turn: nothing leaks. */
static void test_no_memory(void **state)
{
	(void)state;
	guest_check_lack_of_memory("net", LOOPBACK);
	guest_check_lack_of_memory("net", "backend=user");
}

/* ---- frames there and back ---- */

struct tally {
	unsigned frames;
	size_t payload;
};

/* Takes all that came; the payloads must make up the one that was sent. */
static struct tally collect(struct vnic *v, const struct vnic_flow *f,
			    const uint8_t *payload, bool summed)
{
	static uint8_t got[VNIC_FRAME];
	struct tally t = {0, 0};
	struct virtio_net_hdr h;
	size_t len, at, n;

	while ((len = vnic_receive(v, 0, &h, got, 0)) != 0) {
		at = vnic_payload(got, len, &n);
		assert_memory_equal(got + at, payload + t.payload, n);
		assert_memory_equal(got, f->to, 6);
		t.frames++;
		t.payload += n;
		if (summed) {
			assert_int_equal(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
			assert_int_equal(h.gso_type, 0);
			assert_true(vnic_sums_right(got, len));
		}
	}
	return t;
}

/* Sent as a series; comes back as one or as many. */
static void one_series(struct vnic *v, struct vnic_flow f, size_t n, unsigned gso_size)
{
	static uint8_t payload[65000], frame[VNIC_FRAME];
	bool takes = (v->drv.features & guest_offloads) == guest_offloads;
	struct virtio_net_hdr h;
	struct tally t;
	size_t len;
	unsigned l4;

	fill(payload, n);
	len = vnic_build(frame, &f, payload, n, true, &l4);
	h = vnic_header(&f, l4, gso_size);
	vnic_send(v, 0, &h, frame, len, rng_chance(&rng, 50) ? len / 40 + 7 : 0);
	t = collect(v, &f, payload, !takes);
	assert_int_equal(t.payload, n);
	assert_int_equal(t.frames,
			 takes || !gso_size ? 1 : (n + gso_size - 1) / gso_size);
}

/* Of a series that comes back cut: with all its headers (IPv6 behind a VLAN tag) a
 * segment of 1460 bytes takes two buffers of 1536. */
#define SEGMENTS_MAX (VDRV_SIZE / 2)

static void exchange(struct vnic *v, unsigned rounds, uint32_t buffer)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct vnic_flow f = to_self();
		unsigned gso =
			rng_chance(&rng, 60) ? 1000 + (unsigned)rng_below(&rng, 460) : 0;

		f.udp = rng_chance(&rng, 50);
		f.ipv6 = rng_chance(&rng, 50);
		f.vlans = (unsigned)rng_below(&rng, 2);
		vnic_post(v, 0, VDRV_SIZE - drvq_out_nr(&v->drv.q[0]), buffer, 1);
		one_series(v, f, 1 + rng_below(&rng, gso ? SEGMENTS_MAX * gso : 1400),
			   gso);
	}
}

static void test_matrix(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		struct vdrv_shape shape = {
			.iommu = i & 1,
			.packed = i & 2,
			.event_idx = i & 4,
			.indirect = i & 8,
			.without = (i & 16 ? guest_offloads : 0) | mtu |
				   BIT(VIRTIO_NET_F_CTRL_VLAN),
		};
		bool big = !(i & 32);
		struct vnic *v;
		unsigned long calls;

		if (big)
			shape.without |= BIT(VIRTIO_NET_F_MRG_RXBUF);
		v = vnic_create(LOOPBACK, shape);
		calls = v->drv.g->alloc.calls;
		exchange(v, 12, big ? 65550 : 1536);
		assert_int_equal(guest_stat(v->drv.g, "malformed"), 0);
		assert_int_equal(guest_stat(v->drv.g, "rx_dropped"), 0);
		assert_int_equal(guest_stat(v->drv.g, "rx_too_big"), 0);
		assert_int_equal(guest_stat(v->drv.g, "blocked"), 0);
		assert_int_equal(v->drv.g->alloc.calls, calls); /* none on the way */
		vnic_destroy(v);
	}
}

/* As many segments as there are buffers for, and one more. */
static void test_series_limit(void **state)
{
	struct vnic *v = vnic_create(
		LOOPBACK, (struct vdrv_shape){.iommu = true,
					      .without = guest_offloads | mtu |
							 BIT(VIRTIO_NET_F_CTRL_VLAN)});
	struct vnic_flow f = to_self();
	const uint8_t payload[1460] = {0};
	uint8_t frame[VNIC_FRAME];
	struct virtio_net_hdr h;
	struct tally t;
	unsigned l4;
	size_t len;

	(void)state;
	f.ipv6 = true;
	f.vlans = 1;
	vnic_post(v, 0, VDRV_SIZE, 1536, 1);
	one_series(v, f, SEGMENTS_MAX * sizeof(payload), sizeof(payload));
	assert_int_equal(guest_stat(v->drv.g, "rx_merged"), SEGMENTS_MAX);
	vnic_post(v, 0, VDRV_SIZE - 2, 1536, 1);
	one_series(v, f, (SEGMENTS_MAX - 1) * sizeof(payload), sizeof(payload));
	assert_int_equal(guest_stat(v->drv.g, "rx_dropped"), 0);
	len = vnic_build(frame, &f, payload, sizeof(payload), true, &l4);
	h = vnic_header(&f, l4, 0);
	vnic_send(v, 0, &h, frame, len, 0);
	t = collect(v, &f, payload, true);
	assert_int_equal(t.frames, 0);
	assert_int_equal(guest_stat(v->drv.g, "rx_dropped"), 1);
	vnic_destroy(v);
}

/* Headers and frames in any layout of the buffers. */
static void test_layouts(void **state)
{
	static uint8_t frame[VNIC_FRAME], got[VNIC_FRAME];
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	struct virtio_net_hdr h = {0}, back;

	(void)state;
	for (size_t piece = 1; piece < 80; piece++) {
		size_t len = 14 + rng_below(&rng, 1000);

		fill_frame(frame, len);
		vnic_post(v, 0, 1, 1100, (unsigned)(1 + piece % 20));
		vnic_send(v, 0, &h, frame, len, piece);
		assert_int_equal(vnic_receive(v, 0, &back, got, 0), len);
		assert_memory_equal(got, frame, len);
		assert_int_equal(back.num_buffers, 1);
		assert_int_equal(back.flags, 0);
	}
	assert_int_equal(guest_stat(v->drv.g, "tx_frames"), 79);
	assert_int_equal(guest_stat(v->drv.g, "rx_frames"), 79);
	vnic_destroy(v);
}

/* As many receive buffers as the ring has, and one more. */
static void test_merge_limit(void **state)
{
	static uint8_t frame[VNIC_FRAME], got[VNIC_FRAME];
	struct vnic *v =
		vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true, .without = mtu});
	size_t len = 64 * 100 - VNIC_HEADER;
	struct virtio_net_hdr h;

	(void)state;
	fill_frame(frame, len + 1);
	vnic_post(v, 0, VDRV_SIZE, 100, 1);
	send_plain(v, 0, frame, len);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), len);
	assert_memory_equal(got, frame, len);
	assert_int_equal(h.num_buffers, VDRV_SIZE);
	vnic_post(v, 0, VDRV_SIZE, 100, 1);
	send_plain(v, 0, frame, len + 1);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	assert_int_equal(guest_stat(v->drv.g, "rx_too_big"), 1);
	/* All buffers are still on offer. */
	send_plain(v, 0, frame, len);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), len);
	/* Few buffers: it may be sent again when there are more. */
	vnic_post(v, 0, 3, 100, 1);
	send_plain(v, 0, frame, 400);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	assert_int_equal(guest_stat(v->drv.g, "rx_dropped"), 1);
	send_plain(v, 0, frame, 200);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 200);
	assert_int_equal(h.num_buffers, 3);
	vnic_destroy(v);
}

static void test_big_packets(void **state)
{
	static uint8_t frame[VNIC_FRAME], got[VNIC_FRAME];
	struct vnic *v =
		vnic_create(LOOPBACK ",mergeable=off",
			    (struct vdrv_shape){.iommu = true, .indirect = true});
	struct virtio_net_hdr h;

	(void)state;
	memcpy(frame, own_mac, 6);
	vnic_post(v, 0, 4, 1000, 19);
	send_plain(v, 0, frame, 1000 - VNIC_HEADER + 1);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	assert_int_equal(guest_stat(v->drv.g, "rx_too_big"), 1);
	send_plain(v, 0, frame, 1000 - VNIC_HEADER);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 1000 - VNIC_HEADER);
	assert_int_equal(h.num_buffers, 1);
	vnic_destroy(v);
}

/* The longest frame, and one byte more. */
static void test_frame_limit(void **state)
{
	static uint8_t frame[VNIC_FRAME], got[VNIC_FRAME];
	struct vnic *v =
		vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true, .without = mtu});
	struct virtio_net_hdr h;

	(void)state;
	fill_frame(frame, sizeof(frame));
	vnic_post(v, 0, VDRV_SIZE, 1536, 1);
	send_plain(v, 0, frame, NET_FRAME_MAX + 1);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 1);
	send_plain(v, 0, frame, NET_FRAME_MAX);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), NET_FRAME_MAX);
	assert_memory_equal(got, frame, NET_FRAME_MAX);
	send_plain(v, 0, frame, NET_ETH_LEN - 1);
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 2);
	vnic_post(v, 0, 1, 1536, 1);
	send_plain(v, 0, frame, NET_ETH_LEN);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), NET_ETH_LEN);
	vnic_destroy(v);
}

/* "The device MUST NOT pass received packets that exceed mtu (plus low level
 * ethernet header length) size with gso_type NONE". */
static void test_mtu_limit(void **state)
{
	static uint8_t frame[VNIC_FRAME], got[VNIC_FRAME];
	const struct vdrv_shape shape = {.iommu = true};
	struct vnic *v = vnic_create(LOOPBACK ",mtu=1000", shape);
	unsigned too_big = 0;
	struct virtio_net_hdr h;

	(void)state;
	for (unsigned tags = 0; tags <= 2; tags++) {
		size_t len = 1014 + 4 * tags;

		fill_frame(frame, sizeof(frame));
		for (unsigned i = 0; i < tags; i++) {
			frame[12 + 4 * i] = i + 1 < tags ? 0x88 : 0x81;
			frame[13 + 4 * i] = i + 1 < tags ? 0xa8 : 0x00;
			memset(frame + 14 + 4 * i, 0, 2);
		}
		/* VLAN 0, which the driver wants then. */
		assert_int_equal(vnic_control(v, 2, 0, "\0\0", 2), VIRTIO_NET_OK);
		vnic_post(v, 0, 2, 1536, 1);
		send_plain(v, 0, frame, len + 1);
		assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
		assert_int_equal(guest_stat(v->drv.g, "rx_too_big"), ++too_big);
		send_plain(v, 0, frame, len);
		assert_int_equal(vnic_receive(v, 0, &h, got, 0), len);
	}
	/* Tags without anything behind them are no long frame. */
	send_plain(v, 0, frame, 18);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 18);
	vnic_destroy(v);
}

/* Nor segments that are too long, cut here for a guest that takes no series. */
static void test_mtu_series(void **state)
{
	static uint8_t payload[4000], frame[VNIC_FRAME], got[VNIC_FRAME];
	struct vnic *v = vnic_create(
		LOOPBACK, (struct vdrv_shape){.iommu = true, .without = guest_offloads});
	struct vnic_flow f = to_self();
	struct virtio_net_hdr h;
	unsigned l4;
	size_t len = vnic_build(frame, &f, payload, 4000, true, &l4);

	(void)state;
	vnic_post(v, 0, 8, 1536, 1);
	h = vnic_header(&f, l4, 1460);
	vnic_send(v, 0, &h, frame, len, 0);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 1514);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 1514);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 54 + 4000 - 2 * 1460);
	h = vnic_header(&f, l4, 1461);
	vnic_send(v, 0, &h, frame, len, 0);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 54 + 4000 - 2 * 1461);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	assert_int_equal(guest_stat(v->drv.g, "rx_too_big"), 2);
	vnic_destroy(v);
}

static void test_null(void **state)
{
	uint8_t frame[100] = {0}, got[200];
	struct vnic *v = vnic_create("backend=null", (struct vdrv_shape){.iommu = true});
	struct virtio_net_hdr h;

	(void)state;
	vnic_post(v, 0, 4, 1536, 1);
	for (unsigned i = 0; i < 200; i++)
		send_plain(v, 0, frame, sizeof(frame));
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	assert_int_equal(guest_stat(v->drv.g, "tx_frames"), 200);
	assert_int_equal(guest_stat(v->drv.g, "tx_bytes"), 20000);
	assert_int_equal(drvq_out_nr(&v->drv.q[1]), 0);
	vnic_destroy(v);
}

/* Several interrupts are one: a batch is published at once. */
static void test_batch(void **state)
{
	uint8_t frame[60] = {0}, got[VNIC_FRAME];
	struct vdrv_part part = {VNIC_TX, VNIC_HEADER + sizeof(frame)};
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	struct virtio_net_hdr h;
	unsigned irqs = v->drv.g->irqs[1];

	(void)state;
	memcpy(frame, own_mac, 6);
	memset(guest_at(v->drv.g, VNIC_TX), 0, VNIC_HEADER);
	memcpy(guest_at(v->drv.g, VNIC_TX + VNIC_HEADER), frame, sizeof(frame));
	vnic_post(v, 0, VDRV_SIZE, 128, 1);
	for (unsigned i = 0; i < VDRV_SIZE; i++)
		vnic_add(v, 1, &part, 1, 0);
	assert_true(drvq_publish(&v->drv.q[1]));
	guest_run(v->drv.g, 0);
	for (unsigned i = 0; i < VDRV_SIZE; i++)
		assert_int_equal(vnic_receive(v, 0, &h, got, 0), sizeof(frame));
	assert_int_equal(v->drv.g->irqs[1], irqs + 1);
	vnic_destroy(v);
}

/* ---- several queues ---- */

static void test_pairs(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK ",queues=3",
				     (struct vdrv_shape){.iommu = true, .queues = 3});
	uint8_t frame[60] = {0}, got[VNIC_FRAME];
	struct virtio_net_hdr h;
	uint16_t pairs;

	(void)state;
	memcpy(frame, own_mac, 6);
	/* Before the driver says so there is one. */
	vnic_post(v, 0, 1, 100, 1);
	vnic_post(v, 1, 4, 100, 1);
	vnic_post(v, 2, 4, 100, 1);
	send_plain(v, 1, frame, sizeof(frame));
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), sizeof(frame));
	pairs = 4;
	assert_int_equal(vnic_control(v, 4, 0, &pairs, 2), VIRTIO_NET_ERR);
	pairs = 0;
	assert_int_equal(vnic_control(v, 4, 0, &pairs, 2), VIRTIO_NET_ERR);
	pairs = 3;
	assert_int_equal(vnic_control(v, 4, 0, &pairs, 1), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 4, 0, &pairs, 2), VIRTIO_NET_OK);
	for (unsigned i = 1; i < 3; i++) {
		send_plain(v, i, frame, sizeof(frame));
		assert_int_equal(vnic_receive(v, i, &h, got, 0), sizeof(frame));
	}
	vnic_destroy(v);
}

/* Without MQ the control queue is the third one, whatever the device has. */
static void test_control_place(void **state)
{
	struct vnic *v = vnic_create(
		LOOPBACK ",queues=3",
		(struct vdrv_shape){.iommu = true, .without = BIT(VIRTIO_NET_F_MQ)});
	uint8_t on = 1;

	(void)state;
	assert_int_equal(vnic_control(v, 0, 0, &on, 1), VIRTIO_NET_OK);
	vnic_destroy(v);
}

/* ---- control queue ---- */

static void test_modes(void **state)
{
	static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
	static const uint8_t multi[6] = {1, 0, 0x5e, 0, 0, 1},
			     other[6] = {2, 0, 0, 0, 0, 7};
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	uint8_t on = 1, off = 0;

	(void)state;
	assert_true(vnic_comes_back(v, other, 0)); /* promiscuous at first */
	assert_int_equal(vnic_control(v, 0, 0, &off, 1), VIRTIO_NET_OK);
	assert_false(vnic_comes_back(v, other, 0));
	assert_false(vnic_comes_back(v, multi, 0));
	assert_true(vnic_comes_back(v, own_mac, 0));
	assert_true(vnic_comes_back(v, broadcast, 0));
	assert_int_equal(vnic_control(v, 0, 1, &on, 1), VIRTIO_NET_OK);
	assert_true(vnic_comes_back(v, multi, 0));
	assert_int_equal(vnic_control(v, 0, 3, &on, 1), VIRTIO_NET_OK);
	assert_false(vnic_comes_back(v, multi, 0));
	assert_int_equal(vnic_control(v, 0, 2, &on, 1), VIRTIO_NET_OK);
	assert_true(vnic_comes_back(v, other, 0));
	assert_int_equal(vnic_control(v, 0, 4, &on, 1), VIRTIO_NET_OK);
	assert_false(vnic_comes_back(v, own_mac, 0));
	assert_int_equal(vnic_control(v, 0, 5, &on, 1), VIRTIO_NET_OK);
	assert_false(vnic_comes_back(v, broadcast, 0));
	assert_int_equal(vnic_control(v, 0, 6, &on, 1), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 0, 0, &on, 0), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 9, 0, &on, 1), VIRTIO_NET_ERR);
	assert_int_equal(guest_stat(v->drv.g, "commands_refused"), 3);
	assert_int_equal(guest_stat(v->drv.g, "rx_filtered"), 5);
	/* A reset forgets all that. */
	vdrv_reset(&v->drv);
	vnic_init(v);
	assert_true(vnic_comes_back(v, other, 0));
	vnic_destroy(v);
}

/* Tables of n unicast and m multicast addresses, the last ones other than 0. */
static uint8_t set_tables(struct vnic *v, uint32_t n, uint32_t m, size_t short_by)
{
	static uint8_t data[8 + 6 * 300];

	memset(data, 0, sizeof(data));
	memcpy(data, &n, 4);
	if (n)
		memcpy(data + 4 + 6 * (n - 1), "\x02\0\0\0\0\x07", 6);
	memcpy(data + 4 + 6 * n, &m, 4);
	if (m)
		memcpy(data + 8 + 6 * (n + m - 1), "\x01\0\x5e\0\0\x01", 6);
	return vnic_control(v, 1, 0, data, 8 + 6 * (n + m) - short_by);
}

static void test_tables(void **state)
{
	static const uint8_t multi[6] = {1, 0, 0x5e, 0, 0, 1},
			     other[6] = {2, 0, 0, 0, 0, 7};
	static const uint8_t third[6] = {2, 0, 0, 0, 0, 8};
	/* Times 6 it is 2 in 32 bits, and 2 bytes follow. */
	static const uint8_t wraps[10] = {0xab, 0xaa, 0xaa, 0x2a};
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	uint8_t off = 0;

	(void)state;
	assert_int_equal(vnic_control(v, 0, 0, &off, 1), VIRTIO_NET_OK);
	assert_int_equal(set_tables(v, 1, 1, 0), VIRTIO_NET_OK);
	assert_true(vnic_comes_back(v, other, 0));
	assert_true(vnic_comes_back(v, multi, 0));
	assert_false(vnic_comes_back(v, third, 0));
	/* Refused as a whole. */
	assert_int_equal(set_tables(v, 2, 2, 1), VIRTIO_NET_ERR);
	assert_int_equal(set_tables(v, 2, 0, 4), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 1, 0, wraps, sizeof(wraps)), VIRTIO_NET_ERR);
	assert_true(vnic_comes_back(v, multi, 0));
	/* Full, and one more: then all of that kind pass. */
	assert_int_equal(set_tables(v, NET_MACS_MAX, NET_MACS_MAX, 0), VIRTIO_NET_OK);
	assert_true(vnic_comes_back(v, other, 0));
	assert_false(vnic_comes_back(v, third, 0));
	assert_int_equal(set_tables(v, NET_MACS_MAX + 1, 0, 0), VIRTIO_NET_OK);
	assert_true(vnic_comes_back(v, third, 0));
	assert_false(vnic_comes_back(v, multi, 0));
	assert_int_equal(set_tables(v, 0, NET_MACS_MAX + 1, 0), VIRTIO_NET_OK);
	assert_false(vnic_comes_back(v, third, 0));
	assert_true(vnic_comes_back(v, multi, 0));
	/* The device's own address. */
	assert_int_equal(vnic_control(v, 1, 1, third, 6), VIRTIO_NET_OK);
	assert_int_equal(vdrv_config(&v->drv, 5, 1), 8);
	assert_true(vnic_comes_back(v, third, 0));
	assert_false(vnic_comes_back(v, own_mac, 0));
	assert_int_equal(vnic_control(v, 1, 1, third, 5), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 1, 2, third, 6), VIRTIO_NET_ERR);
	vdrv_reset(&v->drv);
	assert_int_equal(vdrv_config(&v->drv, 5, 1), 3);
	vnic_destroy(v);
}

static void test_vlans(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	uint16_t id = 5;

	(void)state;
	assert_false(vnic_comes_back(v, own_mac, 5));
	assert_int_equal(vnic_control(v, 2, 0, &id, 2), VIRTIO_NET_OK);
	assert_true(vnic_comes_back(v, own_mac, 5));
	assert_true(vnic_comes_back(v, own_mac, 0x6005)); /* with a priority */
	assert_false(vnic_comes_back(v, own_mac, 6));
	assert_int_equal(vnic_control(v, 2, 1, &id, 2), VIRTIO_NET_OK);
	assert_false(vnic_comes_back(v, own_mac, 5));
	id = NET_VLANS_MAX - 1;
	assert_int_equal(vnic_control(v, 2, 0, &id, 2), VIRTIO_NET_OK);
	id = NET_VLANS_MAX;
	assert_int_equal(vnic_control(v, 2, 0, &id, 2), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 2, 2, &id, 2), VIRTIO_NET_ERR);
	vnic_destroy(v);
}

static void test_guest_offloads(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	static uint8_t payload[5000], frame[VNIC_FRAME];
	struct vnic_flow f = to_self();
	struct virtio_net_hdr h;
	uint64_t offloads = 0;
	size_t len;
	unsigned l4;

	(void)state;
	len = vnic_build(frame, &f, payload, 5000, true, &l4);
	h = vnic_header(&f, l4, 1000);
	vnic_post(v, 0, 32, 1536, 1);
	vnic_send(v, 0, &h, frame, len, 0);
	assert_int_equal(collect(v, &f, payload, false).frames, 1);
	assert_int_equal(vnic_control(v, 5, 0, &offloads, 8), VIRTIO_NET_OK);
	vnic_send(v, 0, &h, frame, len, 0);
	assert_int_equal(collect(v, &f, payload, true).frames, 5);
	assert_int_equal(guest_stat(v->drv.g, "segmented"), 1);
	offloads = BIT(VIRTIO_NET_F_GUEST_CSUM);
	assert_int_equal(vnic_control(v, 5, 0, &offloads, 8), VIRTIO_NET_OK);
	offloads = BIT(VIRTIO_NET_F_MRG_RXBUF); /* not an offload */
	assert_int_equal(vnic_control(v, 5, 0, &offloads, 8), VIRTIO_NET_ERR);
	vnic_destroy(v);
}

static void test_unnegotiated(void **state)
{
	struct vdrv_shape shape = {.iommu = true,
				   .without = BIT(VIRTIO_NET_F_CTRL_RX) |
					      BIT(VIRTIO_NET_F_CTRL_VLAN) |
					      BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
					      BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |
					      BIT(VIRTIO_NET_F_GUEST_ANNOUNCE)};
	struct vnic *v = vnic_create(LOOPBACK, shape);
	uint8_t data[16] = {0};

	(void)state;
	assert_int_equal(vnic_control(v, 0, 0, data, 1), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 1, 0, data, 8), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 1, 1, data, 6), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 2, 0, data, 2), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 3, 0, data, 0), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 4, 0, data, 2), VIRTIO_NET_ERR);
	assert_int_equal(vnic_control(v, 5, 0, data, 8), VIRTIO_NET_ERR);
	assert_true(vnic_comes_back(v, own_mac, 5)); /* VLANs are nobody's business */
	vnic_destroy(v);
}

/* ---- the operator ---- */

static void test_link(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	unsigned irqs = v->drv.g->irqs[0];

	(void)state;
	assert_int_equal(endpoint_control(v->drv.g->ep, "link", "state=off"), 0);
	assert_int_equal(v->drv.g->irqs[0], irqs + 1);
	assert_int_equal(vdrv_config(&v->drv, 6, 2), 0);
	assert_false(vnic_comes_back(v, own_mac, 0));
	assert_int_equal(guest_stat(v->drv.g, "tx_dropped"), 1);
	assert_int_equal(endpoint_control(v->drv.g->ep, "link", "state=on"), 0);
	assert_int_equal(vdrv_config(&v->drv, 6, 2),
			 VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(vnic_control(v, 3, 0, "", 0), VIRTIO_NET_OK);
	assert_int_equal(vdrv_config(&v->drv, 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_true(vnic_comes_back(v, own_mac, 0));
	assert_int_equal(endpoint_control(v->drv.g->ep, "announce", NULL), 0);
	assert_int_equal(vdrv_config(&v->drv, 6, 2),
			 VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	vdrv_reset(&v->drv);
	assert_int_equal(endpoint_control(v->drv.g->ep, "announce", NULL), -EAGAIN);
	assert_int_equal(endpoint_control(v->drv.g->ep, "link", "state=maybe"), -EINVAL);
	assert_int_equal(endpoint_control(v->drv.g->ep, "fly", NULL), -EOPNOTSUPP);
	vnic_destroy(v);
}

/* ---- what goes wrong ---- */

static void test_bad_headers(void **state)
{
	static const struct virtio_net_hdr bad[] = {
		{.flags = 1, .csum_start = 60},
		{.flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff},
		{.flags = 1, .csum_start = 4},
		{.gso_type = 1, .gso_size = 100},
		{.flags = 1, .csum_start = 20, .gso_type = 1},
		{.flags = 1, .csum_start = 20, .gso_type = 2, .gso_size = 100},
		{.flags = 1, .csum_start = 20, .gso_type = 3, .gso_size = 100},
		{.flags = 1, .csum_start = 20, .gso_type = 0x7f, .gso_size = 100},
	};
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	uint8_t frame[60] = {0}, got[VNIC_FRAME];
	struct vdrv_part part = {VNIC_TX, VNIC_HEADER - 1};
	struct virtio_net_hdr h;

	(void)state;
	vnic_post(v, 0, 8, 1536, 1);
	memcpy(frame, own_mac, 6);
	for (unsigned i = 0; i < 8; i++)
		vnic_send(v, 0, &bad[i], frame, sizeof(frame), 0);
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 8);
	/* A chain shorter than a header, and one that is written to. */
	vnic_add(v, 1, &part, 1, 0);
	vnic_add(v, 1, &part, 0, 1);
	drvq_publish(&v->drv.q[1]);
	vdrv_kick(&v->drv, 1);
	guest_run(v->drv.g, 0);
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 10);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	vnic_reap(v, 0);
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_destroy(v);
}

/* A series that is none, for a guest that wants single frames. */
static void test_bad_series(void **state)
{
	struct vnic *v = vnic_create(
		LOOPBACK, (struct vdrv_shape){.iommu = true, .without = guest_offloads});
	struct virtio_net_hdr h = {.flags = 1,
				   .csum_start = 34,
				   .csum_offset = 16,
				   .gso_type = 1,
				   .gso_size = 9};
	uint8_t frame[600] = {0}, got[VNIC_FRAME];

	(void)state;
	memcpy(frame, own_mac, 6);
	vnic_post(v, 0, 8, 1536, 1);
	vnic_send(v, 0, &h, frame, sizeof(frame), 0);
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 1);
	assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_destroy(v);
}

/* Buffers that are not mapped: that frame is lost, a fault is recorded. */
static void test_unmapped(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	struct vdrv_part tx[2] = {{VNIC_TX, VNIC_HEADER}, {VNIC_HOLE + 0x1000, 60}};
	struct vdrv_part rx = {VNIC_HOLE + 0x2000, 1536};
	struct virtio_iommu_fault fault;

	(void)state;
	vnic_post(v, 0, 1, 1536, 1);
	memset(guest_at(v->drv.g, VNIC_TX), 0, VNIC_HEADER);
	vnic_add(v, 1, tx, 2, 0);
	drvq_publish(&v->drv.q[1]);
	vdrv_kick(&v->drv, 1);
	guest_run(v->drv.g, 0);
	vnic_reap(v, 0);
	assert_int_equal(drvq_out_nr(&v->drv.q[1]), 0);
	assert_int_equal(guest_stat(v->drv.g, "blocked"), 1);
	assert_int_equal(guest_faults(v->drv.g, &fault), 1);
	assert_int_equal(fault.address, guest_iova(v->drv.g, VNIC_HOLE + 0x1000));
	assert_true(vnic_comes_back(v, own_mac, 0)); /* takes the buffer from before */
	/* Its own buffer is behind the bad one. */
	drvq_take_back(&v->drv.q[0], &(void *){NULL});
	vdrv_reset(&v->drv);
	vnic_init(v);
	vnic_add(v, 0, &rx, 0, 1);
	assert_false(vnic_comes_back(v, own_mac, 0));
	assert_int_equal(guest_stat(v->drv.g, "blocked"), 2);
	assert_int_equal(guest_faults(v->drv.g, &fault), 1);
	assert_int_equal(fault.address, guest_iova(v->drv.g, VNIC_HOLE + 0x2000));
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_destroy(v);
}

/* One buffer for both directions: the frame overlaps where it goes to. */
static void test_overlap(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	struct vdrv_part tx = {VNIC_TX, VNIC_HEADER + 600}, rx = {VNIC_TX + 5, 2000};
	uint8_t frame[600], *at = guest_at(v->drv.g, VNIC_TX);

	(void)state;
	fill_frame(frame, sizeof(frame));
	memset(at, 0, VNIC_HEADER);
	memcpy(at + VNIC_HEADER, frame, sizeof(frame));
	vnic_add(v, 0, &rx, 0, 1);
	drvq_publish(&v->drv.q[0]);
	vnic_add(v, 1, &tx, 1, 0);
	drvq_publish(&v->drv.q[1]);
	vdrv_kick(&v->drv, 1);
	guest_run(v->drv.g, 0);
	assert_int_equal(guest_stat(v->drv.g, "rx_frames"), 1);
	vnic_destroy(v);
}

/* The control queue's buffers, likewise. */
static void test_unmapped_control(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	struct vdrv_part parts[3] = {
		{VNIC_CONTROL, 2}, {VNIC_CONTROL, 1}, {VNIC_HOLE, 1}};
	struct drvq_used used;
	uint8_t on = 1;

	(void)state;
	memset(guest_at(v->drv.g, VNIC_CONTROL), 0, 4);
	vnic_add(v, 2, parts, 2, 1);
	vnic_add(v, 2, parts, 2, 0); /* nowhere for the ack */
	drvq_publish(&v->drv.q[2]);
	vdrv_kick(&v->drv, 2);
	guest_run(v->drv.g, 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(drvq_poll(&v->drv.q[2], &used), 1);
		assert_int_equal(used.len, 0);
	}
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 1);
	assert_int_equal(guest_stat(v->drv.g, "blocked"), 1);
	assert_int_equal(vnic_control(v, 0, 0, &on, 1), VIRTIO_NET_OK);
	vnic_destroy(v);
}

/* Receive buffers that hold nothing, or cannot be walked, are given back. */
static void test_bad_buffers(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	struct vdrv_part part = {VNIC_RX, 64};

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		vnic_add(v, 0, &part, 1, 0);
	assert_true(vnic_comes_back(v, own_mac, 0));
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 20);
	/* Among the buffers of one frame. */
	vnic_add(v, 0, &part, 0, 1);
	vnic_add(v, 0, &part, 1, 0);
	drvq_publish(&v->drv.q[0]);
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_add(v, 0, &part, 0, 1);
	vnic_add(v, 0, &part, 1, 0);
	drvq_publish(&v->drv.q[0]);
	{
		uint8_t frame[200] = {0}, got[VNIC_FRAME];
		struct virtio_net_hdr h;

		memcpy(frame, own_mac, 6);
		send_plain(v, 0, frame, sizeof(frame));
		assert_int_equal(vnic_receive(v, 0, &h, got, 0), 0);
	}
	/* The good one waits for another frame. */
	assert_int_equal(drvq_out_nr(&v->drv.q[0]), 1);
	assert_true(vnic_comes_back(v, own_mac, 0));
	assert_int_equal(drvq_out_nr(&v->drv.q[0]), 0);
	vnic_destroy(v);
}

static void test_resets(void **state)
{
	struct vnic *v = vnic_create(LOOPBACK, (struct vdrv_shape){.iommu = true});
	struct vdrv_part part = {VNIC_TX, VNIC_HEADER + 60};

	(void)state;
	memset(guest_at(v->drv.g, VNIC_TX), 0, part.len);
	for (unsigned i = 0; i < 20; i++) {
		vnic_post(v, 0, 8, 1536, 1);
		for (unsigned k = 0; k < 30; k++)
			vnic_add(v, 1, &part, 1, 0);
		drvq_publish(&v->drv.q[1]);
		vdrv_kick(&v->drv, 1);
		if (i & 1)
			endpoint_poll(v->drv.g->ep, 5);
		if (i & 2) {
			vdrv_reset(&v->drv);
			endpoint_poll(v->drv.g->ep, 64);
		} else {
			endpoint_reset(v->drv.g->ep);
			endpoint_poll(v->drv.g->ep, 64);
			guest_bus_master(v->drv.g, true);
		}
		vnic_init(v);
	}
	/* One queue alone. */
	vnic_post(v, 0, 8, 1536, 1);
	vdrv_reset_queue(&v->drv, 0);
	vdrv_reset_queue(&v->drv, 1);
	assert_true(vnic_comes_back(v, own_mac, 0));
	vnic_destroy(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_series_limit),
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_merge_limit),
		cmocka_unit_test(test_big_packets),
		cmocka_unit_test(test_frame_limit),
		cmocka_unit_test(test_mtu_limit),
		cmocka_unit_test(test_mtu_series),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_control_place),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_vlans),
		cmocka_unit_test(test_guest_offloads),
		cmocka_unit_test(test_unnegotiated),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_bad_headers),
		cmocka_unit_test(test_bad_series),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_unmapped),
		cmocka_unit_test(test_unmapped_control),
		cmocka_unit_test(test_bad_buffers),
		cmocka_unit_test(test_resets),
	};

	rng = rng_init(test_seed());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
