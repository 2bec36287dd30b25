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
#include "input.h"

#include <string.h>
#include <sys/uio.h>

#include <viommu/dma.h>
#include <viommu/mem.h>
#include <viommu/pci.h>

#include "endpoints/endpoint.h"
#include "endpoints/net/internal.h"

#define GPA	     0x10000ull /* two regions with a hole between them */
#define REGION_LEN   0x4000u
#define REGION_STEP  0x6000u
#define RING_ENTRIES 16u
#define QUEUES	     5u
#define QUEUE_OFF(q) ((q)*0x400u)
#define DRIVER_OFF   0x100u
#define DEVICE_OFF   0x200u
#define HEAD_OFF     0x1400u /* 16 headers or commands, 32 bytes each */
#define FRAME_OFF    0x1600u
#define RX_OFF	     0x2000u

enum {
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_ENABLE = 28,
	QUEUE_DESC = 32,
	NOTIFY = 0x3000,
};

struct state {
	struct input in;
	struct viommu_alloc alloc;
	struct viommu_mem *mem;
	struct endpoint *ep;
	uint8_t *ram[2];
	bool present; /* the second region */
	bool packed;
	uint8_t next[QUEUES]; /* descriptor that the driver uses next */
};

static void *fuzz_alloc(void *opaque, size_t len, size_t align)
{
	(void)opaque;
	return aligned_alloc(align, (len + align - 1) / align * align);
}

static void fuzz_free(void *opaque, void *p, size_t len)
{
	(void)opaque;
	(void)len;
	free(p);
}

static void set(struct state *s, uint64_t at, unsigned len, uint64_t value)
{
	viommu_pci_bar_write(s->ep->function, 0, at, &value, len);
}

static void set_up_queue(struct state *s, unsigned q)
{
	set(s, QUEUE_SELECT, 2, q);
	set(s, QUEUE_SIZE, 2, RING_ENTRIES);
	set(s, QUEUE_DESC, 8, GPA + QUEUE_OFF(q));
	set(s, QUEUE_DESC + 8, 8, GPA + QUEUE_OFF(q) + DRIVER_OFF);
	set(s, QUEUE_DESC + 16, 8, GPA + QUEUE_OFF(q) + DEVICE_OFF);
	set(s, QUEUE_ENABLE, 2, 1);
	s->next[q] = 0;
}

/* The common configuration is at the start of BAR 0. */
static void set_up_driver(struct state *s)
{
	uint64_t features = 1ull << 32 | 1ull << 33 | (uint64_t)s->packed << 34 |
			    (input_u32(&s->in) & 0x30ffb9afu);
	uint32_t command = 6;

	if (input_u8(&s->in) & 1)
		features |= 7ull << 54;
	viommu_pci_config_write(s->ep->function, 4, &command, 2);
	set(s, 20, 1, 3);
	set(s, 8, 4, 0);
	set(s, 12, 4, (uint32_t)features);
	set(s, 8, 4, 1);
	set(s, 12, 4, features >> 32);
	set(s, 20, 1, 11);
	for (unsigned q = 0; q < QUEUES; q++)
		set_up_queue(s, q);
	set(s, 20, 1, 15);
}

static struct state *make(const uint8_t *data, size_t len)
{
	static const char *const cards[] = {
		"backend=loopback,queue-size=16",
		"backend=loopback,queue-size=16,mergeable=off",
		"backend=loopback,queue-size=16,queues=2",
		"backend=null,queue-size=16,queues=2",
	};
	struct state *s = calloc(1, sizeof(*s));
	struct endpoint_env env;
	uint8_t kind;

	s->in = (struct input){data, len};
	s->alloc = (struct viommu_alloc){fuzz_alloc, fuzz_free, NULL};
	FUZZ_CHECK(!viommu_mem_create(&s->alloc, &s->mem));
	for (unsigned i = 0; i < 2; i++) {
		s->ram[i] = calloc(1, REGION_LEN);
		FUZZ_CHECK(!viommu_mem_add(s->mem, GPA + i * REGION_STEP, REGION_LEN,
					   s->ram[i], 0));
	}
	s->present = true;
	kind = input_u8(&s->in);
	s->packed = kind & 4;
	env = (struct endpoint_env){.name = "f", .mem = s->mem, .alloc = &s->alloc};
	FUZZ_CHECK(!endpoint_create("net", &env, cards[kind & 3], &s->ep));
	set_up_driver(s);
	return s;
}

static void finish(struct state *s)
{
	endpoint_destroy(s->ep);
	viommu_mem_destroy(s->mem);
	free(s->ram[0]);
	free(s->ram[1]);
	free(s);
}

/* ---- what a driver does, more or less ---- */

#define NEXT  1u
#define WRITE 2u

/* The next descriptor of a queue. first: made available at the end only. */
static void put_desc(struct state *s, unsigned q, uint64_t addr, uint32_t len,
		     uint16_t flags)
{
	uint8_t i = s->next[q] % RING_ENTRIES;
	uint8_t *desc = s->ram[0] + QUEUE_OFF(q) + 16 * i;
	uint16_t other = (uint16_t)((i + 1) % RING_ENTRIES);

	/* AVAIL and USED of packed descriptors are bits 7 and 15. */
	if (s->packed) {
		flags |= s->next[q] / RING_ENTRIES & 1 ? 0x8000 : 0x80;
		other = i;
	}
	memcpy(desc, &addr, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, s->packed ? &other : &flags, 2);
	memcpy(desc + 14, s->packed ? &flags : &other, 2);
	s->next[q]++;
}

static void offer(struct state *s, unsigned q, uint16_t head)
{
	uint8_t *avail = s->ram[0] + QUEUE_OFF(q) + DRIVER_OFF;
	uint16_t idx;

	if (s->packed)
		return;
	memcpy(&idx, avail + 2, 2);
	memcpy(avail + 4 + 2 * (idx % RING_ENTRIES), &head, 2);
	idx++;
	memcpy(avail + 2, &idx, 2);
}

static void kick(struct state *s, unsigned q)
{
	set(s, NOTIFY + 4 * q, 2, q);
}

static const uint8_t templates[2][58] = {
	{0, 0, 0, 0, 0,	 0, 0, 0, 0,  0, 0,    9,    8,	 0, 0x45, 0, 0, 60,
	 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0,    1,    10, 0, 0,	  2, 0, 7,
	 0, 8, 0, 0, 0,	 1, 0, 0, 0,  2, 0x50, 0x18, 1,	 1, 0,	  0, 0, 0},
	{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 30, 17, 64},
};

/* A frame that is nearly one, its header, and the chain of both. */
static void send_frame(struct state *s)
{
	uint8_t kind = input_u8(&s->in), q = kind & 1 ? 3 : 1, i = kind >> 4;
	struct virtio_net_hdr header = {
		.flags = input_u8(&s->in) & 3,
		.gso_type = input_u8(&s->in) & 0x87,
		.gso_size = input_u8(&s->in),
		.csum_start = (uint16_t)(input_u8(&s->in) & 63),
		.csum_offset = (uint16_t)(input_u8(&s->in) & 31),
	};
	uint16_t len = (uint16_t)(input_u16(&s->in) % 0x980), head;
	unsigned repeats = kind & 8 ? input_u8(&s->in) % 12 : 0;
	uint8_t *frame = s->ram[0] + FRAME_OFF;

	memcpy(frame, templates[kind >> 1 & 1], sizeof(templates[0]));
	frame[16 + input_u8(&s->in) % 40] = input_u8(&s->in);
	if (!(kind & 4)) { /* lengths that fit */
		frame[kind & 2 ? 18 : 16] = (uint8_t)((len - (kind & 2 ? 54 : 14)) >> 8);
		frame[kind & 2 ? 19 : 17] = (uint8_t)(len - (kind & 2 ? 54 : 14));
	}
	memcpy(s->ram[0] + HEAD_OFF + 32 * i, &header, sizeof(header));
	head = s->next[q] % RING_ENTRIES;
	put_desc(s, q, GPA + HEAD_OFF + 32 * i, 12, NEXT);
	put_desc(s, q, GPA + FRAME_OFF, len, repeats ? NEXT : 0);
	while (repeats--)
		put_desc(s, q, GPA + RX_OFF, 0x1800, repeats ? NEXT : 0);
	offer(s, q, head);
	kick(s, q);
}

static void post_buffers(struct state *s)
{
	uint8_t kind = input_u8(&s->in), q = kind & 1 ? 2 : 0;
	uint32_t len = input_u16(&s->in) % 0x2000;

	for (unsigned nr = (kind >> 1 & 7) + 1; nr; nr--) {
		uint16_t head = s->next[q] % RING_ENTRIES;
		uint64_t at = kind & 0x40 ? GPA + REGION_STEP : GPA + RX_OFF;

		if (kind & 0x80)
			put_desc(s, q, at, 20, WRITE | NEXT);
		put_desc(s, q, at + 64, len, WRITE);
		offer(s, q, head);
	}
	kick(s, q);
}

static void command(struct state *s)
{
	uint8_t i = input_u8(&s->in) & 15, q = i & 1 ? 4 : 2;
	uint8_t *at = s->ram[0] + HEAD_OFF + 32 * i;
	uint16_t head = s->next[q] % RING_ENTRIES;

	at[0] = input_u8(&s->in) & 7;
	at[1] = input_u8(&s->in) & 7;
	for (unsigned k = 2; k < 16; k++)
		at[k] = input_u8(&s->in);
	put_desc(s, q, GPA + HEAD_OFF + 32 * i, 2, NEXT);
	put_desc(s, q, GPA + HEAD_OFF + 32 * i + 2, input_u8(&s->in) & 15, NEXT);
	put_desc(s, q, GPA + HEAD_OFF + 32 * i + 30, 1, WRITE);
	offer(s, q, head);
	kick(s, q);
}

/* ---- what no driver does ---- */

static void scribble(struct state *s)
{
	uint64_t value = input_u64(&s->in);
	uint16_t at = input_u16(&s->in) % (REGION_LEN - 8);

	memcpy(s->ram[0] + at, &value, 8);
}

static void touch_register(struct state *s)
{
	static const unsigned lens[] = {1, 2, 4, 8};
	uint8_t kind = input_u8(&s->in);
	unsigned len = lens[kind & 3];
	uint64_t at = input_u16(&s->in) & 0x7fff, value = input_u64(&s->in);

	if (kind & 4)
		viommu_pci_bar_read(s->ep->function, 0, at, &value, len);
	else
		viommu_pci_bar_write(s->ep->function, 0, at, &value, len);
}

/* The VMM takes the second region away or gives it back. */
static void move_memory(struct state *s)
{
	uint64_t gpa = GPA + REGION_STEP;

	if (s->present)
		FUZZ_CHECK(!viommu_mem_remove(s->mem, gpa, REGION_LEN));
	else
		FUZZ_CHECK(!viommu_mem_add(s->mem, gpa, REGION_LEN, s->ram[1], 0));
	s->present = !s->present;
}

static void reset(struct state *s)
{
	endpoint_reset(s->ep);
	memset(s->ram[0], 0, HEAD_OFF);
	set_up_driver(s);
}

static void check(struct state *s)
{
	struct net *net = to_net(s->ep);
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

static void step(struct state *s, uint8_t op)
{
	switch (op & 15) {
	case 0:
		touch_register(s);
		break;
	case 1:
		move_memory(s);
		break;
	case 2:
		reset(s);
		break;
	case 3:
		scribble(s);
		break;
	case 4:
		endpoint_arm(s->ep);
		break;
	case 5:
		endpoint_control(s->ep, "link", op & 16 ? "state=on" : "state=off");
		break;
	case 6:
	case 7:
		command(s);
		break;
	case 8:
	case 9:
	case 10:
		post_buffers(s);
		break;
	case 11:
	case 12:
		endpoint_poll(s->ep, op >> 4);
		break;
	default:
		send_frame(s);
	}
	check(s);
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
	if (offload_check(&meta, in.len, UINT64_MAX))
		offload_checksum(frame, in.len, &meta);
	free(frame);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct state *s;

	if (len && data[0] == 255)
		return try_offloads(data + 1, len - 1);
	s = make(data, len);
	while (s->in.len)
		step(s, input_u8(&s->in));
	for (unsigned i = 0; i < 20 && endpoint_poll(s->ep, 64); i++)
		check(s);
	finish(s);
	return 0;
}
