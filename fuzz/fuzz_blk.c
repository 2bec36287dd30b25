/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The virtio disk against a driver that writes what it likes into rings,
 * headers, registers and configuration space, and whose memory comes and goes.
 *
 * Invariants: no access outside of guest memory (address sanitizer); never more
 * under way than allowed; with nothing under way no page is held; after a reset
 * nothing is under way.
 */
#include "input.h"

#include <string.h>
#include <sys/uio.h>

#include <viommu/dma.h>
#include <viommu/mem.h>
#include <viommu/pci.h>

#include "endpoints/blk/internal.h"
#include "endpoints/endpoint.h"
#include "endpoints/util.h"

#define GPA	     0x10000ull /* two regions with a hole between them */
#define REGION_LEN   0x4000u
#define REGION_STEP  0x6000u
#define RING_ENTRIES 16u
#define DESC_OFF     0x0u
#define DRIVER_OFF   0x400u
#define DEVICE_OFF   0x800u
#define HEAD_OFF     0xc00u /* 16 of them, 64 bytes each */
#define INFLIGHT     4u

enum { QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_ENABLE = 28, QUEUE_DESC = 32 };

struct state {
	struct input in;
	struct viommu_alloc alloc;
	struct viommu_mem *mem;
	struct endpoint *ep;
	uint8_t *ram[2];
	bool present; /* the second region */
	bool packed;
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

/* The common configuration is at the start of BAR 0. */
static void set_up_driver(struct state *s)
{
	uint64_t features = 1ull << 32 | 1ull << 33 | (uint64_t)s->packed << 34 |
			    (input_u32(&s->in) & 0x30007e64u);
	uint32_t command = 6;

	viommu_pci_config_write(s->ep->function, 4, &command, 2);
	set(s, 20, 1, 3);
	set(s, 8, 4, 0);
	set(s, 12, 4, (uint32_t)features);
	set(s, 8, 4, 1);
	set(s, 12, 4, features >> 32);
	set(s, 20, 1, 11);
	set(s, QUEUE_SELECT, 2, 0);
	set(s, QUEUE_SIZE, 2, RING_ENTRIES);
	set(s, QUEUE_DESC, 8, GPA + DESC_OFF);
	set(s, QUEUE_DESC + 8, 8, GPA + DRIVER_OFF);
	set(s, QUEUE_DESC + 16, 8, GPA + DEVICE_OFF);
	set(s, QUEUE_ENABLE, 2, 1);
	set(s, 20, 1, 15);
}

static struct state *make(const uint8_t *data, size_t len)
{
	static const char *const disks[] = {
		"backend=mem,size=64K,queue-size=16,in-flight=4",
		"backend=null,size=1M,queue-size=16,in-flight=4",
		"backend=mem,size=64K,queue-size=16,in-flight=4,read-only=on",
		"backend=null,size=1M,queue-size=16,in-flight=4,read-zeroes=on,queues=2"};
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
	FUZZ_CHECK(!endpoint_create("blk", &env, disks[kind & 3], &s->ep));
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

/* An address that may well be memory. */
static uint64_t some_address(struct state *s)
{
	uint8_t kind = input_u8(&s->in);
	uint64_t at = GPA + input_u16(&s->in) % (2 * REGION_STEP);

	if (kind < 128)
		return GPA + HEAD_OFF + 64 * (kind & 15) + (kind & 64 ? 32 : 0);
	return kind == 255 ? input_u64(&s->in) : at;
}

static uint32_t some_length(struct state *s)
{
	static const uint32_t usual[] = {16, 1, 512, 1024, 4096, 20, 32, 48};
	uint8_t kind = input_u8(&s->in);

	if (kind < 200)
		return usual[kind & 7];
	return kind == 255 ? input_u32(&s->in) : kind;
}

static void write_desc(struct state *s)
{
	uint8_t i = input_u8(&s->in) % RING_ENTRIES;
	uint8_t *desc = s->ram[0] + DESC_OFF + 16 * i;
	uint64_t addr = some_address(s);
	uint32_t len = some_length(s);
	uint16_t flags = input_u8(&s->in), other = input_u8(&s->in) % 18;

	flags = (uint16_t)((flags & 7) | (s->packed ? (flags & 0x18) << 11 : 0));
	/* AVAIL and USED of packed descriptors are bits 7 and 15. */
	if (s->packed)
		flags = (uint16_t)((flags & 7) | (flags & 0x4000 ? 0x80 : 0) |
				   (flags & 0x8000 ? 0x8000 : 0));
	memcpy(desc, &addr, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, s->packed ? &other : &flags, 2);
	memcpy(desc + 14, s->packed ? &flags : &other, 2);
}

static void offer(struct state *s)
{
	uint8_t *avail = s->ram[0] + DRIVER_OFF;
	uint16_t head = input_u8(&s->in) % RING_ENTRIES, idx;

	memcpy(&idx, avail + 2, 2);
	memcpy(avail + 4 + 2 * (idx % RING_ENTRIES), &head, 2);
	idx++;
	memcpy(avail + 2, &idx, 2);
}

static void write_head(struct state *s)
{
	uint8_t i = input_u8(&s->in) & 15;
	struct virtio_blk_head head = {.type = input_u8(&s->in) & 15,
				       .sector = input_u8(&s->in)};

	if (head.sector == 255)
		head.sector = input_u64(&s->in);
	memcpy(s->ram[0] + HEAD_OFF + 64 * i, &head, sizeof(head));
}

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

static void touch_config(struct state *s)
{
	uint32_t value = input_u32(&s->in);

	viommu_pci_config_write(s->ep->function, input_u8(&s->in), &value, 4);
}

/* The VMM takes the second region away or gives it back. */
static void move_memory(struct state *s)
{
	uint64_t gpa = GPA + REGION_STEP;

	if (!s->present) {
		s->present = !viommu_mem_add(s->mem, gpa, REGION_LEN, s->ram[1], 0);
		return;
	}
	/* Memory that is held stays; nothing else can be wrong here. */
	viommu_mem_remove(s->mem, gpa, REGION_LEN);
	while (viommu_mem_busy(s->mem, gpa, REGION_LEN))
		endpoint_poll(s->ep, 4);
	s->present = false;
}

static void reset(struct state *s)
{
	endpoint_reset(s->ep);
	FUZZ_CHECK(!endpoint_busy(s->ep));
	memset(s->ram[0], 0, HEAD_OFF);
	set_up_driver(s);
}

static void check(struct state *s)
{
	struct blk *blk = container_of(s->ep, struct blk, ep);
	struct viommu_dma_stats stats;

	viommu_dma_get_stats(blk->virtio.dma, &stats);
	FUZZ_CHECK(blk->inflight <= INFLIGHT && !blk->lost);
	FUZZ_CHECK(blk->inflight || !stats.held);
}

static void step(struct state *s, uint8_t op)
{
	switch (op & 15) {
	case 0:
		touch_register(s);
		break;
	case 1:
		touch_config(s);
		break;
	case 2:
		move_memory(s);
		break;
	case 3:
		reset(s);
		break;
	case 4:
		scribble(s);
		break;
	case 5:
		endpoint_arm(s->ep);
		break;
	case 6:
		endpoint_control(s->ep, "resize", op & 16 ? "size=32K" : "size=64K");
		break;
	case 7:
	case 8:
		write_head(s);
		break;
	case 9:
	case 10:
		offer(s);
		break;
	case 11:
	case 12:
		endpoint_poll(s->ep, op >> 4);
		break;
	default:
		write_desc(s);
	}
	check(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct state *s = make(data, len);

	while (s->in.len)
		step(s, input_u8(&s->in));
	for (unsigned i = 0; i < 100 && endpoint_busy(s->ep); i++) {
		endpoint_poll(s->ep, 4);
		check(s);
	}
	FUZZ_CHECK(!endpoint_busy(s->ep));
	finish(s);
	return 0;
}
