/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "vnic.h"

#include <poll.h>

struct vnic *vnic_plug(const char *options, struct vdrv_shape shape)
{
	struct vnic *v = calloc(1, sizeof(*v));

	vdrv_boot(&v->drv, shape);
	assert_int_equal(guest_map(v->drv.g, 0, VNIC_HOLE, RW), 0);
	vdrv_plug(&v->drv, "net", options);
	return v;
}

void vnic_init(struct vnic *v)
{
	v->next_tx = VNIC_TX;
	v->next_rx = VNIC_RX;
	vdrv_init(&v->drv, 2 * v->drv.shape.queues + 1);
}

struct vnic *vnic_create(const char *options, struct vdrv_shape shape)
{
	struct vnic *v = vnic_plug(options, shape);

	vnic_init(v);
	return v;
}

void vnic_destroy(struct vnic *v)
{
	vdrv_unplug(&v->drv);
	free(v);
}

struct vnic_buffer *vnic_add(struct vnic *v, unsigned queue,
			     const struct vdrv_part *parts, unsigned readable_nr,
			     unsigned writable_nr)
{
	struct vnic_buffer *b = &v->buffers[v->next_buffer++ % 4096];

	*b = (struct vnic_buffer){.offset = parts[0].offset};
	vdrv_add(&v->drv, queue, parts, readable_nr, writable_nr, b);
	return b;
}

void vnic_post(struct vnic *v, unsigned pair, unsigned nr, uint32_t len, unsigned cuts)
{
	struct vdrv_part parts[VDRV_SIZE];

	for (; nr; nr--) {
		if (v->next_rx + len > VNIC_HOLE)
			v->next_rx = VNIC_RX;
		for (unsigned i = 0; i < cuts; i++) {
			parts[i].offset = v->next_rx + len / cuts * i;
			parts[i].len = i + 1 == cuts ? len - len / cuts * i : len / cuts;
		}
		v->next_rx += (len + 7) & ~7u;
		vnic_add(v, 2 * pair, parts, 0, cuts);
	}
	vdrv_publish(&v->drv, 2 * pair);
}

void vnic_reap(struct vnic *v, unsigned pair)
{
	struct drvq_used used;

	while (drvq_poll(&v->drv.q[2 * pair + 1], &used) > 0) {
		assert_int_equal(used.len, 0);
		((struct vnic_buffer *)used.cookie)->used = true;
	}
	assert_false(v->drv.q[2 * pair + 1].broken);
}

void vnic_send(struct vnic *v, unsigned pair, const struct virtio_net_hdr *header,
	       const void *frame, size_t len, size_t piece)
{
	size_t total = VNIC_HEADER + len, done = 0;
	struct vdrv_part parts[VDRV_SIZE];
	unsigned nr = 0;
	uint8_t *at;

	if (v->next_tx + total > VNIC_TX + VNIC_TX_LEN)
		v->next_tx = VNIC_TX;
	at = guest_at(v->drv.g, v->next_tx);
	memcpy(at, header, VNIC_HEADER);
	memcpy(at + VNIC_HEADER, frame, len);
	for (; done < total; nr++) {
		size_t n = piece ? piece : nr ? total : VNIC_HEADER;

		if (n > total - done || nr + 1 == VDRV_SIZE)
			n = total - done;
		parts[nr] = (struct vdrv_part){v->next_tx + done, (uint32_t)n};
		done += n;
	}
	v->next_tx += total;
	vnic_add(v, 2 * pair + 1, parts, nr, 0);
	vdrv_publish(&v->drv, 2 * pair + 1);
	guest_run(v->drv.g, 0);
	vnic_reap(v, pair);
}

static size_t take_frame(struct vnic *v, unsigned pair, struct virtio_net_hdr *header,
			 uint8_t *frame)
{
	struct drvq *q = &v->drv.q[2 * pair];
	struct drvq_used used;
	struct vnic_buffer *b;
	unsigned nr = 1;
	size_t len = 0;

	for (unsigned i = 0; i < nr; i++) {
		int r = drvq_poll(q, &used);

		assert_false(q->broken);
		if (!r && !i)
			return 0;
		assert_int_equal(r, 1);
		b = used.cookie;
		b->used = true;
		if (!used.len)
			return take_frame(v, pair, header, frame);
		assert_true(len + used.len <= VNIC_FRAME + VNIC_HEADER);
		memcpy(frame + len, guest_at(v->drv.g, b->offset), used.len);
		len += used.len;
		if (i)
			continue;
		assert_true(used.len >= VNIC_HEADER);
		memcpy(header, frame, VNIC_HEADER);
		nr = header->num_buffers;
		assert_in_range(nr, 1, VDRV_SIZE);
	}
	memmove(frame, frame + VNIC_HEADER, len - VNIC_HEADER);
	return len - VNIC_HEADER;
}

size_t vnic_receive(struct vnic *v, unsigned pair, struct virtio_net_hdr *header,
		    uint8_t *frame, unsigned ms)
{
	struct pollfd fds[ENDPOINT_FDS_MAX];
	size_t len;
	int nr;

	for (unsigned i = 0;; i++) {
		guest_run(v->drv.g, 0);
		len = take_frame(v, pair, header, frame);
		if (len || i >= ms)
			return len;
		nr = endpoint_fds(v->drv.g->ep, fds, ENDPOINT_FDS_MAX);
		poll(fds, (nfds_t)nr, 1);
	}
}

uint8_t vnic_control(struct vnic *v, uint8_t class, uint8_t command, const void *data,
		     size_t len)
{
	struct vdrv_part parts[3] = {{VNIC_CONTROL, 2},
				     {VNIC_CONTROL + 16, (uint32_t)len},
				     {VNIC_CONTROL + 8, 1}};
	unsigned queue =
		v->drv.features & BIT(VIRTIO_NET_F_MQ) ? 2 * v->drv.shape.queues : 2;
	struct drvq_used used;
	uint8_t *at = guest_at(v->drv.g, VNIC_CONTROL);

	at[0] = class;
	at[1] = command;
	at[8] = 0xff;
	memcpy(at + 16, data, len);
	if (!len)
		parts[1] = parts[2];
	vnic_add(v, queue, parts, len ? 2 : 1, 1);
	vdrv_publish(&v->drv, queue);
	guest_run(v->drv.g, 0);
	assert_int_equal(drvq_poll(&v->drv.q[queue], &used), 1);
	assert_int_equal(used.len, 1);
	return at[8];
}

bool vnic_comes_back(struct vnic *v, const uint8_t *mac, unsigned vlan)
{
	uint8_t frame[60] = {0}, got[VNIC_FRAME];
	struct virtio_net_hdr h;

	memcpy(frame, mac, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	if (vlan) {
		frame[12] = 0x81;
		frame[13] = 0;
		frame[14] = (uint8_t)(vlan >> 8);
		frame[15] = (uint8_t)vlan;
	}
	vnic_post(v, 0, 1, 2048, 1);
	vnic_send(v, 0, &(struct virtio_net_hdr){0}, frame, sizeof(frame), 0);
	if (!vnic_receive(v, 0, &h, got, 0))
		return false;
	assert_memory_equal(got, frame, sizeof(frame));
	return true;
}

/* ---- frames ---- */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* One byte after the other, the first one counts 256. */
static unsigned naive_sum(unsigned sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (unsigned)p[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return sum;
}

static unsigned pseudo(const uint8_t *ip, bool ipv6, uint8_t protocol, size_t l4_len)
{
	uint8_t tail[8] = {0};
	unsigned sum = ipv6 ? naive_sum(0, ip + 8, 32) : naive_sum(0, ip + 12, 8);

	put32(tail, (uint32_t)l4_len);
	tail[7] = protocol;
	return naive_sum(sum, tail, 8);
}

static unsigned build_ip(uint8_t *ip, const struct vnic_flow *f, size_t l4_len)
{
	uint8_t protocol = f->udp ? 17 : 6;

	if (f->ipv6) {
		memset(ip, 0, 40);
		ip[0] = 0x60;
		put16(ip + 4, (unsigned)l4_len);
		ip[6] = protocol;
		ip[7] = 64;
		ip[8] = ip[24] = 0xfe;
		ip[9] = ip[25] = 0xc0;
		put32(ip + 20, f->src);
		put32(ip + 36, f->dst);
		return 40;
	}
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned)(20 + l4_len));
	put16(ip + 4, 0xfffe);
	ip[8] = 64;
	ip[9] = protocol;
	put32(ip + 12, f->src);
	put32(ip + 16, f->dst);
	put16(ip + 10, naive_sum(0, ip, 20) ^ 0xffff);
	return 20;
}

static unsigned build_l4(uint8_t *p, const struct vnic_flow *f, size_t len)
{
	put16(p, f->sport);
	put16(p + 2, f->dport);
	if (f->udp) {
		put16(p + 4, (unsigned)(8 + len));
		put16(p + 6, 0);
		return 8;
	}
	put32(p + 4, f->seq);
	put32(p + 8, f->ack);
	p[12] = (uint8_t)((20 + f->options_len) / 4 << 4);
	p[13] = f->flags;
	put16(p + 14, 0xffff);
	put32(p + 16, 0);
	if (f->options_len)
		memcpy(p + 20, f->options, f->options_len);
	return 20 + f->options_len;
}

size_t vnic_build(uint8_t *frame, const struct vnic_flow *f, const void *payload,
		  size_t len, bool partial, unsigned *l4)
{
	size_t l4_len = len + (f->udp ? 8 : 20 + f->options_len);
	unsigned at = 12, sum, header;
	uint8_t *ip, *field;

	memcpy(frame, f->to, 6);
	memcpy(frame + 6, f->from, 6);
	for (unsigned i = 0; i < f->vlans; i++, at += 4)
		put32(frame + at, 0x81000007u);
	put16(frame + at, f->ipv6 ? 0x86dd : 0x0800);
	ip = frame + at + 2;
	*l4 = at + 2 + build_ip(ip, f, l4_len);
	header = build_l4(frame + *l4, f, len);
	memcpy(frame + *l4 + header, payload, len);
	field = frame + *l4 + (f->udp ? 6 : 16);
	sum = pseudo(ip, f->ipv6, f->udp ? 17 : 6, l4_len);
	if (!partial)
		sum = naive_sum(sum, frame + *l4, l4_len) ^ 0xffff;
	put16(field, !partial && f->udp && !sum ? 0xffff : sum);
	return *l4 + l4_len;
}

struct virtio_net_hdr vnic_header(const struct vnic_flow *f, unsigned l4,
				  unsigned gso_size)
{
	uint8_t type = f->udp	 ? VIRTIO_NET_HDR_GSO_UDP_L4
		       : f->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
				 : VIRTIO_NET_HDR_GSO_TCPV4;

	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = gso_size ? type : VIRTIO_NET_HDR_GSO_NONE,
		.hdr_len = (uint16_t)(l4 + (f->udp ? 8 : 20 + f->options_len)),
		.gso_size = (uint16_t)gso_size,
		.csum_start = (uint16_t)l4,
		.csum_offset = f->udp ? 6 : 16,
	};
}

static unsigned l3_of(const uint8_t *frame)
{
	unsigned at = 14;

	while (frame[at - 2] == 0x81 && !frame[at - 1])
		at += 4;
	return at;
}

unsigned vnic_l4(const uint8_t *frame)
{
	unsigned at = l3_of(frame);

	return at + (frame[at] >> 4 == 6 ? 40 : 20);
}

static size_t l4_len_of(const uint8_t *frame)
{
	const uint8_t *ip = frame + l3_of(frame);

	return ip[0] >> 4 == 6 ? (size_t)(ip[4] << 8 | ip[5])
			       : (size_t)(ip[2] << 8 | ip[3]) - 20;
}

bool vnic_sums_right(const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + l3_of(frame);
	bool ipv6 = ip[0] >> 4 == 6;
	unsigned l4 = vnic_l4(frame), sum;
	size_t l4_len = l4_len_of(frame);

	if (l4 + l4_len > len || (!ipv6 && naive_sum(0, ip, 20) != 0xffff))
		return false;
	sum = pseudo(ip, ipv6, ipv6 ? ip[6] : ip[9], l4_len);
	return naive_sum(sum, frame + l4, l4_len) == 0xffff;
}

size_t vnic_payload(const uint8_t *frame, size_t len, size_t *payload_len)
{
	const uint8_t *ip = frame + l3_of(frame);
	uint8_t protocol = ip[0] >> 4 == 6 ? ip[6] : ip[9];
	unsigned l4 = vnic_l4(frame);
	unsigned header = protocol == 17 ? 8 : (unsigned)(frame[l4 + 12] >> 4) * 4;

	assert_true(l4 + l4_len_of(frame) <= len);
	*payload_len = l4_len_of(frame) - header;
	return l4 + header;
}
