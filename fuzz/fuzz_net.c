/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The network card on its loopback against a driver that writes what it likes into
 * rings, headers, frames, commands and registers, and whose memory comes and goes;
 * or (first byte 255) the offload functions against any frame.
 *
 * Invariants: no access outside of guest memory or frames (address sanitizer);
 * between turns nothing is held or half sent; the buffers kept for frames are no
 * more than the ring has; segments are what they say they are.
 */
#include "virtio_guest.h"

#include <string.h>

#include "endpoints/net/internal.h"

#define HEAD_OFF  OWN_OFF /* 16 headers or commands, 32 bytes each */
#define FRAME_OFF 0x1600u
#define RX_OFF	  0x2000u

static void set_up_driver(struct guest *g)
{
	uint64_t features = input_u32(&g->in) & 0x30ffb9afu;

	if (input_u8(&g->in) & 1)
		features |= 7ull << 54;
	guest_start(g, features, RINGS);
}

static struct guest *make(const uint8_t *data, size_t len)
{
	static const char *const cards[] = {
		"backend=loopback,queue-size=16",
		"backend=loopback,queue-size=16,mergeable=off",
		"backend=loopback,queue-size=16,queues=2",
		"backend=null,queue-size=16,queues=2",
	};
	struct guest *g = calloc(1, sizeof(*g));
	uint8_t kind;

	g->in = (struct input){data, len};
	kind = input_u8(&g->in);
	g->packed = kind & 4;
	guest_boot(g, "net", cards[kind & 3]);
	g->dev = &to_net(g->ep)->virtio;
	set_up_driver(g);
	return g;
}

/* ---- what a driver does, more or less ---- */

static const uint8_t templates[2][58] = {
	{0, 0, 0, 0, 0,	 0, 0, 0, 0,  0, 0,    9,    8,	 0, 0x45, 0, 0, 60,
	 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0,    1,    10, 0, 0,	  2, 0, 7,
	 0, 8, 0, 0, 0,	 1, 0, 0, 0,  2, 0x50, 0x18, 1,	 1, 0,	  0, 0, 0},
	{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 30, 17, 64},
};

/* A frame that is nearly one, its header, and the chain of both. */
static void send_frame(struct guest *g)
{
	uint8_t kind = input_u8(&g->in), q = kind & 1 ? 3 : 1, i = kind >> 4;
	struct virtio_net_hdr header = {
		.flags = input_u8(&g->in) & 3,
		.gso_type = input_u8(&g->in) & 0x87,
		.gso_size = input_u8(&g->in),
		.csum_start = (uint16_t)(input_u8(&g->in) & 63),
		.csum_offset = (uint16_t)(input_u8(&g->in) & 31),
	};
	uint16_t len = (uint16_t)(input_u16(&g->in) % 0x980), head;
	unsigned repeats = kind & 8 ? input_u8(&g->in) % 12 : 0;
	uint8_t *frame = g->ram[0] + FRAME_OFF;

	memcpy(frame, templates[kind >> 1 & 1], sizeof(templates[0]));
	frame[16 + input_u8(&g->in) % 40] = input_u8(&g->in);
	if (!(kind & 4)) { /* lengths that fit */
		frame[kind & 2 ? 18 : 16] = (uint8_t)((len - (kind & 2 ? 54 : 14)) >> 8);
		frame[kind & 2 ? 19 : 17] = (uint8_t)(len - (kind & 2 ? 54 : 14));
	}
	memcpy(g->ram[0] + HEAD_OFF + 32 * i, &header, sizeof(header));
	head = guest_next(g, q);
	guest_put(g, q, GPA + HEAD_OFF + 32 * i, 12, NEXT);
	guest_put(g, q, GPA + FRAME_OFF, len, repeats ? NEXT : 0);
	while (repeats--)
		guest_put(g, q, GPA + RX_OFF, 0x1800, repeats ? NEXT : 0);
	guest_offer(g, q, head);
	guest_kick(g, q);
}

static void post_buffers(struct guest *g)
{
	uint8_t kind = input_u8(&g->in), q = kind & 1 ? 2 : 0;
	uint32_t len = input_u16(&g->in) % 0x2000;

	for (unsigned nr = (kind >> 1 & 7) + 1; nr; nr--) {
		uint16_t head = guest_next(g, q);
		uint64_t at = kind & 0x40 ? GPA + REGION_STEP : GPA + RX_OFF;

		if (kind & 0x80)
			guest_put(g, q, at, 20, WRITE | NEXT);
		guest_put(g, q, at + 64, len, WRITE);
		guest_offer(g, q, head);
	}
	guest_kick(g, q);
}

static void command(struct guest *g)
{
	uint8_t i = input_u8(&g->in) & 15, q = i & 1 ? 4 : 2;
	uint8_t *at = g->ram[0] + HEAD_OFF + 32 * i;
	uint16_t head = guest_next(g, q);

	at[0] = input_u8(&g->in) & 7;
	at[1] = input_u8(&g->in) & 7;
	for (unsigned k = 2; k < 16; k++)
		at[k] = input_u8(&g->in);
	guest_put(g, q, GPA + HEAD_OFF + 32 * i, 2, NEXT);
	guest_put(g, q, GPA + HEAD_OFF + 32 * i + 2, input_u8(&g->in) & 15, NEXT);
	guest_put(g, q, GPA + HEAD_OFF + 32 * i + 30, 1, WRITE);
	guest_offer(g, q, head);
	guest_kick(g, q);
}

static void reset(struct guest *g)
{
	guest_reset(g);
	set_up_driver(g);
}

static void check(struct guest *g)
{
	struct net *net = to_net(g->ep);
	struct viommu_dma_stats stats;

	viommu_dma_get_stats(net->virtio.dma, &stats);
	FUZZ_CHECK(!stats.held && !net->in_section && !net->slots_nr && !net->backlog.nr);
	for (unsigned i = 0; i < net->pairs; i++) {
		const struct net_rack *k = &net->rack[i];

		FUZZ_CHECK(k->slots <= net->virtio.queue_size &&
			   k->chains_nr <= k->slots);
		FUZZ_CHECK(k->bufs_nr <= net_rack_bufs(net));
		FUZZ_CHECK(k->chains_nr ? k->room > 0 : !k->room);
	}
}

static void step(struct guest *g, uint8_t op)
{
	switch (op & 15) {
	case 0:
		guest_touch_register(g);
		break;
	case 1:
		guest_move_memory(g);
		break;
	case 2:
		reset(g);
		break;
	case 3:
		guest_scribble(g);
		break;
	case 4:
		endpoint_arm(g->ep);
		break;
	case 5:
		endpoint_control(g->ep, "link", op & 16 ? "state=on" : "state=off");
		break;
	case 6:
	case 7:
		command(g);
		break;
	case 8:
	case 9:
	case 10:
		post_buffers(g);
		break;
	case 11:
		guest_wait(g);
		/* fallthrough */
	case 12:
		endpoint_poll(g->ep, op >> 4);
		break;
	case 13:
		guest_break_ring(g);
		break;
	default:
		send_frame(g);
	}
	check(g);
}

/* ---- offloads alone ---- */

static void cut(const uint8_t *frame, size_t len, uint8_t gso_type, size_t size)
{
	static struct segmenter s;
	struct iovec part[2];
	struct net_layout at;
	uint8_t *copy;
	size_t n;

	if (!segment_begin(&s, frame, len, gso_type, size))
		return;
	for (unsigned i = 0; segment_next(&s, part); i++) {
		FUZZ_CHECK(i <= NET_SEGMENTS_MAX);
		n = part[0].iov_len + part[1].iov_len;
		copy = malloc(n);
		memcpy(copy, part[0].iov_base, part[0].iov_len);
		memcpy(copy + part[0].iov_len, part[1].iov_base, part[1].iov_len);
		FUZZ_CHECK(offload_parse(copy, n, &at) && at.l4 && at.end == n);
		FUZZ_CHECK(at.payload == part[0].iov_len);
		free(copy);
	}
}

static void cut_fragments(const uint8_t *frame, size_t len, unsigned mtu)
{
	static struct fragmenter f;
	struct iovec part[2];
	struct net_layout at;
	uint8_t *copy;
	size_t n;

	if (!fragment_begin(&f, frame, len, mtu, 1))
		return;
	for (unsigned i = 0; fragment_next(&f, part); i++) {
		FUZZ_CHECK(i <= 65535 / 8);
		n = part[0].iov_len + part[1].iov_len;
		copy = malloc(n);
		memcpy(copy, part[0].iov_base, part[0].iov_len);
		memcpy(copy + part[0].iov_len, part[1].iov_base, part[1].iov_len);
		FUZZ_CHECK(offload_parse(copy, n, &at) && at.end == n);
		FUZZ_CHECK(n - at.l3 <= mtu);
		free(copy);
	}
}

static int try_offloads(const uint8_t *data, size_t len)
{
	uint8_t head[NET_HEADERS_MAX], *frame;
	struct input in = {data, len};
	uint8_t kind = input_u8(&in), gso = input_u8(&in);
	uint16_t size = input_u16(&in);
	struct net_meta meta = {1, gso, 0, size, input_u16(&in), input_u8(&in)};
	size_t head_len;

	/* A copy of its own, so that a byte too far is seen. */
	frame = malloc(in.len + !in.len);
	memcpy(frame, in.data, in.len);
	offload_raise_mss(frame, in.len, kind & 1, size);
	offload_flow_hash(frame, in.len);
	offload_opens_flow(frame, in.len);
	offload_describe(frame, in.len, size, &meta, head, &head_len);
	meta = (struct net_meta){1, gso, 0, size, meta.csum_start, meta.csum_offset};
	cut(frame, in.len, gso, kind & 2 ? size : 0);
	cut_fragments(frame, in.len, size);
	if (offload_check(&meta, in.len, UINT64_MAX))
		offload_checksum(frame, in.len, &meta);
	free(frame);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct guest *g;

	if (len && data[0] == 255)
		return try_offloads(data + 1, len - 1);
	g = make(data, len);
	while (g->in.len)
		step(g, input_u8(&g->in));
	for (unsigned i = 0; i < 20 && endpoint_poll(g->ep, 64); i++)
		check(g);
	guest_halt(g);
	free(g);
	return 0;
}
