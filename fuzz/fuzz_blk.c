/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The virtio disk against a driver that writes what it likes into rings,
 * headers, registers and configuration space, and whose memory comes and goes.
 *
 * Invariants: no access outside of guest memory (address sanitizer); never more
 * under way than allowed; with nothing under way no page is held; after a reset
 * nothing is under way.
 */
#include "virtio_guest.h"

#include <string.h>

#include "endpoints/blk/internal.h"

#define HEAD_OFF OWN_OFF /* 16 of them, 64 bytes each */
#define INFLIGHT 4u

static void set_up_driver(struct guest *g)
{
	guest_start(g, input_u32(&g->in) & 0x30007e64u, 2);
}

static struct guest *make(const uint8_t *data, size_t len)
{
	static const char *const disks[] = {
		"backend=mem,size=64K,queue-size=16,in-flight=4",
		"backend=null,size=1M,queue-size=16,in-flight=4",
		"backend=mem,size=64K,queue-size=16,in-flight=4,read-only=on",
		"backend=null,size=1M,queue-size=16,in-flight=4,read-zeroes=on,queues=2"};
	struct guest *g = calloc(1, sizeof(*g));
	uint8_t kind;

	g->in = (struct input){data, len};
	kind = input_u8(&g->in);
	g->packed = kind & 4;
	guest_boot(g, "blk", disks[kind & 3]);
	g->dev = &to_blk(g->ep)->virtio;
	set_up_driver(g);
	return g;
}

/* An address that may well be memory. */
static uint64_t some_address(struct guest *g)
{
	uint8_t kind = input_u8(&g->in);
	uint64_t at = GPA + input_u16(&g->in) % (2 * REGION_STEP);

	if (kind < 128)
		return GPA + HEAD_OFF + 64 * (kind & 15) + (kind & 64 ? 32 : 0);
	return kind == 255 ? input_u64(&g->in) : at;
}

static uint32_t some_length(struct guest *g)
{
	static const uint32_t usual[] = {16, 1, 512, 1024, 4096, 20, 32, 48};
	uint8_t kind = input_u8(&g->in);

	if (kind < 200)
		return usual[kind & 7];
	return kind == 255 ? input_u32(&g->in) : kind;
}

static void write_head(struct guest *g)
{
	uint8_t i = input_u8(&g->in) & 15;
	struct virtio_blk_head head = {.type = input_u8(&g->in) & 15,
				       .sector = input_u8(&g->in)};

	if (head.sector == 255)
		head.sector = input_u64(&g->in);
	memcpy(g->ram[0] + HEAD_OFF + 64 * i, &head, sizeof(head));
}

/* A header, what the input says, and a status. */
static void send_request(struct guest *g)
{
	uint8_t kind = input_u8(&g->in), q = kind >> 7;
	uint16_t head = guest_next(g, q);
	uint64_t at = GPA + HEAD_OFF + 64 * (kind & 15);

	guest_put(g, q, at, 16, NEXT);
	for (unsigned nr = kind >> 4 & 7; nr; nr--) {
		uint16_t flags = input_u8(&g->in) & 3 ? WRITE : 0;
		uint64_t addr = some_address(g);

		guest_put(g, q, addr, some_length(g), NEXT | flags);
	}
	guest_put(g, q, at + 32, 1, WRITE);
	guest_offer(g, q, head);
	guest_kick(g, q);
}

static void reset(struct guest *g)
{
	guest_reset(g);
	FUZZ_CHECK(!endpoint_busy(g->ep));
	set_up_driver(g);
}

static void check(struct guest *g)
{
	struct blk *blk = to_blk(g->ep);
	struct viommu_dma_stats stats;

	viommu_dma_get_stats(blk->virtio.dma, &stats);
	FUZZ_CHECK(blk->inflight <= INFLIGHT && !blk->lost);
	FUZZ_CHECK(blk->inflight || !stats.held);
}

static void step(struct guest *g, uint8_t op)
{
	switch (op & 15) {
	case 0:
		guest_touch_register(g);
		break;
	case 1:
		guest_touch_config(g);
		break;
	case 2:
		guest_move_memory(g);
		break;
	case 3:
		reset(g);
		break;
	case 4:
		guest_scribble(g);
		break;
	case 5:
		endpoint_arm(g->ep);
		break;
	case 6:
		endpoint_control(g->ep, "resize", op & 16 ? "size=32K" : "size=64K");
		break;
	case 7:
	case 8:
		write_head(g);
		break;
	case 9:
		guest_break_ring(g);
		break;
	case 10:
		guest_wait(g);
		/* fallthrough */
	case 11:
	case 12:
		endpoint_poll(g->ep, op >> 4);
		break;
	default:
		send_request(g);
	}
	check(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct guest *g = make(data, len);

	while (g->in.len)
		step(g, input_u8(&g->in));
	for (unsigned i = 0; i < 100 && endpoint_busy(g->ep); i++) {
		endpoint_poll(g->ep, 4);
		check(g);
	}
	FUZZ_CHECK(!endpoint_busy(g->ep));
	guest_halt(g);
	free(g);
	return 0;
}
