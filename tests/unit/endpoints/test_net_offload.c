/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Checksums and segmentation, against known values and a naive computation. */
#include "vnic.h"

#include "endpoints/net/offload.h"

static struct rng rng;

/* RFC 1071, section 3: 0001 f203 f4f5 f6f7 sum up to ddf2. */
static void test_rfc1071(void **state)
{
	const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
	uint16_t sum = checksum_fold(checksum_add(0, bytes, sizeof(bytes)));

	(void)state;
	assert_memory_equal(&sum, "\xdd\xf2", 2);
	/* In pieces, and with an odd tail. */
	sum = checksum_fold(checksum_add(checksum_add(0, bytes, 2), bytes + 2, 6));
	assert_memory_equal(&sum, "\xdd\xf2", 2);
	sum = checksum_fold(checksum_add(0, bytes, 3));
	assert_memory_equal(&sum, "\xf2\x01", 2);
}

/* A header whose checksum, b861, has long been known. */
static void test_ipv4_header(void **state)
{
	const uint8_t header[20] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40,
				    0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
				    0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
	uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, header, 20));

	(void)state;
	assert_memory_equal(&sum, "\xb8\x61", 2);
}

static struct vnic_flow random_flow(void)
{
	struct vnic_flow f = {
		.ipv6 = rng_chance(&rng, 50),
		.udp = rng_chance(&rng, 50),
		.src = (uint32_t)rng_next(&rng),
		.dst = (uint32_t)rng_next(&rng),
		.sport = (uint16_t)rng_next(&rng),
		.dport = (uint16_t)rng_next(&rng),
		.seq = (uint32_t)rng_next(&rng),
		.flags = (uint8_t)rng_next(&rng),
		.vlans = (unsigned)rng_below(&rng, 3),
	};

	return f;
}

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_next(&rng);
}

static struct net_meta to_meta(struct virtio_net_hdr h)
{
	return (struct net_meta){h.flags,    h.gso_type,   h.hdr_len,
				 h.gso_size, h.csum_start, h.csum_offset};
}

static void test_partial(void **state)
{
	static uint8_t payload[3000], frame[4000], right[4000];
	unsigned l4;

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		struct vnic_flow f = random_flow();
		size_t n = rng_below(&rng, sizeof(payload)), len;
		struct net_meta meta;

		fill(payload, n);
		len = vnic_build(right, &f, payload, n, false, &l4);
		assert_true(vnic_sums_right(right, len));
		vnic_build(frame, &f, payload, n, true, &l4);
		meta = to_meta(vnic_header(&f, l4, 0));
		assert_true(offload_check(&meta, len, UINT64_MAX));
		offload_checksum(frame, len, &meta);
		assert_memory_equal(frame, right, len);
	}
}

/* A UDP sum of 0 is sent as ffff: the payload is chosen to make it so. */
static void test_udp_zero(void **state)
{
	uint8_t payload[2] = {0, 0}, frame[100], right[100];
	struct vnic_flow f = {.udp = true, .src = 0x0a000001, .dst = 0x0a000002};
	struct net_meta meta;
	unsigned l4, sum;
	size_t len;

	(void)state;
	vnic_build(frame, &f, payload, 2, false, &l4);
	sum = (unsigned)(frame[l4 + 6] << 8 | frame[l4 + 7]);
	payload[0] = (uint8_t)(sum >> 8);
	payload[1] = (uint8_t)sum;
	len = vnic_build(right, &f, payload, 2, false, &l4);
	assert_int_equal(right[l4 + 6] << 8 | right[l4 + 7], 0xffff);
	vnic_build(frame, &f, payload, 2, true, &l4);
	meta = to_meta(vnic_header(&f, l4, 0));
	offload_checksum(frame, len, &meta);
	assert_memory_equal(frame, right, len);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

struct cut {
	const uint8_t *frame;
	size_t len;
	const uint8_t *payload;
	size_t payload_len, size;
	const struct vnic_flow *flow;
};

static void check_segment(const struct cut *c, const uint8_t *got, size_t len,
			  size_t done, unsigned index)
{
	size_t n, at = vnic_payload(got, len, &n);
	unsigned l4 = vnic_l4(got), l3 = l4 - (c->flow->ipv6 ? 40 : 20);
	size_t want = c->payload_len - done < c->size ? c->payload_len - done : c->size;
	bool last = done + want == c->payload_len;

	assert_int_equal(n, want);
	assert_memory_equal(got + at, c->payload + done, n);
	assert_true(vnic_sums_right(got, len));
	if (!c->flow->ipv6)
		assert_int_equal(got[l3 + 4] << 8 | got[l3 + 5],
				 (0xfffe + index) & 0xffff);
	if (c->flow->udp) {
		assert_int_equal(got[l4 + 4] << 8 | got[l4 + 5], n + 8);
		return;
	}
	assert_int_equal(get32(got + l4 + 4), (uint32_t)(c->flow->seq + done));
	assert_int_equal(got[l4 + 13],
			 c->flow->flags & ~(last ? 0 : 0x09) & ~(index ? 0x80 : 0));
}

static unsigned cut_all(const struct cut *c, uint8_t gso_type)
{
	static struct segmenter s;
	static uint8_t got[VNIC_FRAME];
	struct iovec part[2];
	size_t done = 0, n;
	unsigned nr = 0;

	assert_true(segment_begin(&s, c->frame, c->len, gso_type, c->size));
	for (; segment_next(&s, part); nr++) {
		memcpy(got, part[0].iov_base, part[0].iov_len);
		if (part[1].iov_len)
			memcpy(got + part[0].iov_len, part[1].iov_base, part[1].iov_len);
		n = part[0].iov_len + part[1].iov_len;
		check_segment(c, got, n, done, nr);
		done += part[1].iov_len;
	}
	assert_int_equal(done, c->payload_len);
	return nr;
}

static void test_segments(void **state)
{
	static uint8_t payload[65000], frame[VNIC_FRAME];
	unsigned l4;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		struct vnic_flow f = random_flow();
		size_t n = rng_below(&rng, i & 1 ? sizeof(payload) : 3000);
		size_t size = n / NET_SEGMENTS_MAX + 1 + rng_below(&rng, 2000);
		struct cut c = {frame, 0, payload, n, size, &f};
		unsigned nr;

		fill(payload, n);
		c.len = vnic_build(frame, &f, payload, n, true, &l4);
		nr = cut_all(&c, vnic_header(&f, l4, 1).gso_type);
		assert_int_equal(nr, n ? (n + size - 1) / size : 1);
	}
}

/* As many segments as allowed, and one more. */
static void test_segments_limit(void **state)
{
	static uint8_t payload[2 * NET_SEGMENTS_MAX + 4], frame[VNIC_FRAME];
	struct vnic_flow f = {.seq = 1};
	struct cut c = {frame, 0, payload, 2 * NET_SEGMENTS_MAX, 2, &f};
	struct segmenter s;
	unsigned l4;

	(void)state;
	c.len = vnic_build(frame, &f, payload, c.payload_len, true, &l4);
	assert_int_equal(cut_all(&c, VIRTIO_NET_HDR_GSO_TCPV4), NET_SEGMENTS_MAX);
	c.len = vnic_build(frame, &f, payload, c.payload_len + 2, true, &l4);
	assert_false(segment_begin(&s, frame, c.len, VIRTIO_NET_HDR_GSO_TCPV4, 2));
}

/* Where a fragment says that it belongs, and whether it is the last one. */
static void check_fragment(const struct vnic_flow *f, const uint8_t *ip, size_t len,
			   size_t done, bool last, uint32_t id)
{
	const uint8_t *own = ip + 40;

	if (!f->ipv6) {
		assert_int_equal(ip[2] << 8 | ip[3], 20 + len);
		assert_int_equal(ip[4] << 8 | ip[5], 0xfffe);
		assert_int_equal(ip[6] << 8 | ip[7], done / 8 | (last ? 0 : 0x2000));
		assert_int_equal(checksum_fold(checksum_add(0, ip, 20)), 0xffff);
		return;
	}
	assert_int_equal(ip[4] << 8 | ip[5], 8 + len);
	assert_int_equal(ip[6], 44);
	assert_int_equal(own[0], f->udp ? 17 : 6);
	assert_int_equal(own[1], 0);
	assert_int_equal(own[2] << 8 | own[3], done | (last ? 0 : 1));
	assert_int_equal(get32(own + 4), id);
}

static void test_fragments(void **state)
{
	static uint8_t payload[65000], frame[VNIC_FRAME], back[VNIC_FRAME];
	static struct fragmenter cut;
	struct iovec part[2];
	unsigned l4;

	(void)state;
	fill(payload, sizeof(payload));
	for (unsigned i = 0; i < 300; i++) {
		struct vnic_flow f = random_flow();
		size_t l3 = 14 + 4 * f.vlans, head = f.ipv6 ? 48 : 20, done = 0;
		unsigned mtu = 68 + (unsigned)rng_below(&rng, i & 1 ? 60 : 9000);
		size_t n = 1 + rng_below(&rng, sizeof(payload) - 1), len;

		len = vnic_build(frame, &f, payload, n, false, &l4);
		if (len - l3 <= mtu)
			continue;
		assert_true(fragment_begin(&cut, frame, len, mtu, i));
		while (fragment_next(&cut, part)) {
			assert_int_equal(part[0].iov_len, l3 + head);
			assert_memory_equal(part[0].iov_base, frame, l3);
			assert_true(head + part[1].iov_len <= mtu);
			memcpy(back + done, part[1].iov_base, part[1].iov_len);
			check_fragment(&f, (uint8_t *)part[0].iov_base + l3,
				       part[1].iov_len, done,
				       l4 + done + part[1].iov_len == len, i);
			done += part[1].iov_len;
			/* As few as can be. */
			assert_true(l4 + done == len || head + part[1].iov_len + 8 > mtu);
		}
		assert_int_equal(l4 + done, len);
		assert_memory_equal(back, frame + l4, done);
	}
}

static void test_fragments_refused(void **state)
{
	static uint8_t payload[2000], frame[VNIC_FRAME];
	struct vnic_flow f = {.udp = true};
	struct fragmenter cut;
	unsigned l4;
	size_t len;

	(void)state;
	for (unsigned ipv6 = 0; ipv6 < 2; ipv6++) {
		unsigned least = ipv6 ? 56 : 28;

		f.ipv6 = ipv6;
		len = vnic_build(frame, &f, payload, sizeof(payload), false, &l4);
		/* It fits, Ethernet's padding aside. */
		assert_false(fragment_begin(&cut, frame, len + 8, (unsigned)len - 14, 1));
		assert_true(fragment_begin(&cut, frame, len, (unsigned)len - 15, 1));
		/* Nothing would fit. */
		assert_false(fragment_begin(&cut, frame, len, least - 1, 1));
		assert_true(fragment_begin(&cut, frame, len, least, 1));
		/* May not be cut, or was. */
		frame[20] = ipv6 ? 44 : 0x40;
		assert_false(fragment_begin(&cut, frame, len, 1500, 1));
	}
	frame[12] = 0x88;
	assert_false(fragment_begin(&cut, frame, len, 1500, 1));
}

static void test_whole(void **state)
{
	static uint8_t payload[65000], frame[VNIC_FRAME];
	struct vnic_flow f = {.seq = 5, .flags = 0x18};
	struct cut c = {frame, 0, payload, 65000, 65495, &f};
	unsigned l4;

	(void)state;
	fill(payload, sizeof(payload));
	c.len = vnic_build(frame, &f, payload, c.payload_len, true, &l4);
	assert_int_equal(cut_all(&c, VIRTIO_NET_HDR_GSO_TCPV4), 1);
}

static void test_check(void **state)
{
	const uint64_t all = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
			     BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_USO);
	struct net_meta m = {0};

	(void)state;
	assert_true(offload_check(&m, NET_ETH_LEN, 0));
	assert_false(offload_check(&m, NET_ETH_LEN - 1, all));
	assert_true(offload_check(&m, NET_FRAME_MAX, 0));
	assert_false(offload_check(&m, NET_FRAME_MAX + 1, all));
	m = (struct net_meta){.flags = 1, .csum_start = 34, .csum_offset = 16};
	assert_true(offload_check(&m, 52, all));
	assert_false(offload_check(&m, 51, all));
	assert_false(offload_check(&m, 52, all & ~BIT(VIRTIO_NET_F_CSUM)));
	m.csum_start = 0xffff;
	m.csum_offset = 0xffff;
	assert_false(offload_check(&m, NET_FRAME_MAX, all));
	m = (struct net_meta){.flags = 1, .csum_start = 13};
	assert_false(offload_check(&m, 1000, all));
	m = (struct net_meta){.gso_type = 1, .gso_size = 100};
	assert_false(offload_check(&m, 1000, all)); /* without NEEDS_CSUM */
	m = (struct net_meta){.flags = 1, .csum_start = 34, .gso_type = 1};
	assert_false(offload_check(&m, 1000, all)); /* without a size */
	m.gso_size = 100;
	assert_true(offload_check(&m, 1000, all));
	assert_false(offload_check(&m, 1000, all & ~BIT(VIRTIO_NET_F_HOST_TSO4)));
	m.gso_type = 0x81;
	assert_false(offload_check(&m, 1000, all));
	assert_true(offload_check(&m, 1000, all | BIT(VIRTIO_NET_F_HOST_ECN)));
	m.gso_type = 3; /* UFO is not offered */
	assert_false(offload_check(&m, 1000, UINT64_MAX));
	m.gso_type = 1;
	m.gso_size = 4;
	assert_true(offload_check(&m, 4 * NET_SEGMENTS_MAX + 3, all));
	assert_false(offload_check(&m, 4 * NET_SEGMENTS_MAX + 4, all));
}

/* 64 KiB in the smallest segments that Linux makes, 8 bytes, are no mistake. */
static void test_smallest_segments(void **state)
{
	static uint8_t payload[65535 - 20 - 60], frame[VNIC_FRAME];
	const uint8_t options[40] = {1};
	struct vnic_flow f = {.seq = 1, .options = options, .options_len = 40};
	struct cut c = {frame, 0, payload, sizeof(payload), 8, &f};
	struct net_meta m;
	unsigned l4;

	(void)state;
	c.len = vnic_build(frame, &f, payload, sizeof(payload), true, &l4);
	m = to_meta(vnic_header(&f, l4, 8));
	assert_true(offload_check(&m, c.len, UINT64_MAX));
	assert_int_equal(cut_all(&c, m.gso_type), (sizeof(payload) + 7) / 8);
}

/* What is cut short or contradicts itself has no layout; sanitizers watch. */
static void test_parse(void **state)
{
	uint8_t payload[64] = {0}, frame[300];
	struct net_layout at;
	unsigned l4;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		struct vnic_flow f = random_flow();
		size_t len = vnic_build(frame, &f, payload, 40, false, &l4), cut;
		uint8_t *copy;

		assert_true(offload_parse(frame, len, &at));
		assert_int_equal(at.l4, l4);
		assert_int_equal(at.end, len);
		frame[rng_below(&rng, len)] ^= (uint8_t)rng_next(&rng);
		cut = rng_below(&rng, len + 1);
		copy = malloc(cut + !cut);
		memcpy(copy, frame, cut);
		if (offload_parse(copy, cut, &at))
			assert_true(at.end <= cut && (!at.l4 || at.payload <= at.end));
		offload_flow_hash(copy, cut);
		offload_opens_flow(copy, cut);
		offload_raise_mss(copy, cut, f.ipv6, 9000);
		free(copy);
	}
}

/* Extension headers: as many as allowed, and one more. */
static void test_extensions(void **state)
{
	uint8_t frame[400] = {0};
	struct net_layout at;

	(void)state;
	for (unsigned nr = 0; nr <= NET_EXTENSIONS + 1; nr++) {
		uint8_t *ip = frame + 14, *p = ip + 40;

		memset(frame, 0, sizeof(frame));
		frame[12] = 0x86;
		frame[13] = 0xdd;
		ip[0] = 0x60;
		ip[5] = (uint8_t)(8 * nr + 20);
		ip[6] = nr ? 60 : 6;
		for (unsigned i = 0; i < nr; i++, p += 8)
			p[0] = i + 1 < nr ? 60 : 6;
		p[12] = 0x50;
		assert_int_equal(offload_parse(frame, 14 + 40 + 8 * nr + 20, &at),
				 nr <= NET_EXTENSIONS);
		if (nr <= NET_EXTENSIONS)
			assert_int_equal(at.l4, p - frame);
	}
}

static void test_headers_limit(void **state)
{
	uint8_t frame[600] = {0};
	struct net_layout at;

	(void)state;
	/* One option header of 8 * (n + 1) bytes, then TCP of 20: 14 + 40 + it. */
	for (unsigned n = 21; n <= 23; n++) {
		uint8_t *ip = frame + 14, *p = ip + 40;
		size_t ext = 8 * (n + 1), l4 = 54 + ext;

		memset(frame, 0, sizeof(frame));
		frame[12] = 0x86;
		frame[13] = 0xdd;
		ip[0] = 0x60;
		ip[5] = (uint8_t)(ext + 20);
		ip[6] = 0;
		p[0] = 6;
		p[1] = (uint8_t)n;
		p[ext + 12] = 0x50;
		assert_int_equal(offload_parse(frame, l4 + 20, &at),
				 l4 + 20 <= NET_HEADERS_MAX);
	}
}

static void test_mss(void **state)
{
	const uint8_t options[] = {1, 1, 4, 2, 2, 4, 5, 0xb4}; /* 1460 */
	const uint8_t odd[] = {1, 2, 4, 5, 0xb4, 0, 0, 0};
	const uint8_t *const variants[] = {options, odd};
	uint8_t frame[200], before[200];
	unsigned l4;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct vnic_flow f = {.ipv6 = i & 1,
				      .flags = 2,
				      .options = variants[i / 2],
				      .options_len = 8,
				      .seq = (uint32_t)rng_next(&rng)};
		size_t len = vnic_build(frame, &f, "", 0, false, &l4);
		const uint8_t *value = frame + l4 + 20 + (i < 2 ? 6 : 3);

		memcpy(before, frame, len);
		offload_raise_mss(frame, len, !f.ipv6, 32768);
		offload_raise_mss(frame, len, f.ipv6, 1460);
		assert_memory_equal(frame, before, len);
		offload_raise_mss(frame, len, f.ipv6, 32768);
		assert_int_equal(value[0] << 8 | value[1], 32768);
		assert_true(vnic_sums_right(frame, len));
		/* Not a SYN: nothing happens. */
		f.flags = 0x10;
		len = vnic_build(frame, &f, "", 0, false, &l4);
		memcpy(before, frame, len);
		offload_raise_mss(frame, len, f.ipv6, 32768);
		assert_memory_equal(frame, before, len);
	}
}

static void test_describe(void **state)
{
	static uint8_t payload[30000], frame[VNIC_FRAME];
	struct vnic_flow f = {.seq = 9, .flags = 0x18, .src = 1, .dst = 2};
	uint8_t head[NET_HEADERS_MAX];
	struct net_meta meta;
	size_t head_len, len;
	unsigned l4;

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		f.ipv6 = v6;
		len = vnic_build(frame, &f, payload, 30000, false, &l4);
		offload_describe(frame, len, 1500, &meta, head, &head_len);
		assert_int_equal(meta.gso_type, v6 ? 4 : 1);
		assert_int_equal(meta.gso_size, v6 ? 1440 : 1460);
		assert_int_equal(head_len, l4 + 20);
		/* What the guest is to see becomes the same by its own sum. */
		memcpy(frame, head, head_len);
		assert_false(vnic_sums_right(frame, len));
		assert_true(offload_check(&meta, len, UINT64_MAX));
		offload_checksum(frame, len, &meta);
		assert_true(vnic_sums_right(frame, len));
		/* It fits: only the sums are vouched for. */
		len = vnic_build(frame, &f, payload, v6 ? 1440 : 1460, false, &l4);
		offload_describe(frame, len, 1500, &meta, head, &head_len);
		assert_int_equal(meta.flags, VIRTIO_NET_HDR_F_DATA_VALID);
		assert_int_equal(meta.gso_type, 0);
		assert_int_equal(head_len, 0);
	}
	memset(frame, 0, sizeof(frame));
	offload_describe(frame, 60, 1500, &meta, head, &head_len);
	assert_int_equal(meta.flags, 0);
}

static void test_flow(void **state)
{
	struct vnic_flow f = {.src = 7, .dst = 9, .sport = 80, .dport = 1234}, back = f;
	uint8_t a[100], b[100];
	unsigned l4;
	size_t len;

	(void)state;
	back.src = f.dst;
	back.dst = f.src;
	back.sport = f.dport;
	back.dport = f.sport;
	f.flags = 2;
	len = vnic_build(a, &f, "", 0, false, &l4);
	vnic_build(b, &back, "", 0, false, &l4);
	assert_int_equal(offload_flow_hash(a, len), offload_flow_hash(b, len));
	assert_int_not_equal(offload_flow_hash(a, len), 0);
	assert_true(offload_opens_flow(a, len));
	assert_false(offload_opens_flow(b, len));
	a[12] = 0x12;
	assert_int_equal(offload_flow_hash(a, len), 0);
}

/* ---- turns ---- */

/* Twice the same series in the ring. */
static void add_series(struct vnic *v, bool udp)
{
	static uint8_t payload[60000];
	struct vdrv_part parts[2] = {{VNIC_TX, VNIC_HEADER}, {VNIC_TX + VNIC_HEADER, 0}};
	uint8_t *at = guest_at(v->drv.g, VNIC_TX);
	struct vnic_flow f = {.udp = udp, .src = 0x0a00020f, .dst = 0x0a000202};
	struct virtio_net_hdr h;
	unsigned l4;

	parts[1].len = (uint32_t)vnic_build(at + VNIC_HEADER, &f, payload,
					    sizeof(payload), true, &l4);
	h = vnic_header(&f, l4, 8);
	memcpy(at, &h, sizeof(h));
	vnic_add(v, 1, parts, 2, 0);
	vnic_add(v, 1, parts, 2, 0);
	vdrv_publish(&v->drv, 1);
}

/* A series that is cut into thousands takes a turn of its own, whether it is cut on
 * the way out (user: UDP) or in. */
static void test_long_series_take_turns(void **state)
{
	(void)state;
	for (unsigned out = 0; out < 2; out++) {
		const struct vdrv_shape shape = {.iommu = true,
						 .without = BIT(VIRTIO_NET_F_GUEST_CSUM)};
		struct vnic *v = vnic_create(
			out ? "backend=user,restrict=on" : "backend=loopback", shape);

		add_series(v, out);
		for (unsigned left = 2; left--;) {
			endpoint_poll(v->drv.g->ep, 64);
			vnic_reap(v, 0);
			assert_int_equal(drvq_out_nr(&v->drv.q[1]), left);
		}
		assert_int_equal(guest_stat(v->drv.g, "malformed"), 0);
		assert_int_equal(guest_stat(v->drv.g, "segmented"), 2);
		vnic_destroy(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc1071),
		cmocka_unit_test(test_ipv4_header),
		cmocka_unit_test(test_partial),
		cmocka_unit_test(test_udp_zero),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_segments_limit),
		cmocka_unit_test(test_smallest_segments),
		cmocka_unit_test(test_long_series_take_turns),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_fragments_refused),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_headers_limit),
		cmocka_unit_test(test_mss),
		cmocka_unit_test(test_describe),
		cmocka_unit_test(test_flow),
	};

	rng = rng_init(test_seed());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
