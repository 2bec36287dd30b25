/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Device side of virtqueues against a driver that writes whatever it likes into
 * the ring's memory, also while the device reads it (from the map callback), and
 * makes memory come and go.
 *
 * Invariants: no access outside of the memory; nothing but the used ring (split)
 * or the descriptor ring and the event suppression (packed) is written; what is
 * popped is well formed; never more out than the ring has entries; each result is
 * one that is documented.
 */
#include "input.h"

#include <errno.h>
#include <string.h>

#include <viommu/virtq.h>

#include "virtq/wire.h"

#define RAM_BASE   0x7000ull
#define RAM_LEN	   0x4000u
#define DESC_OFF   0x0u /* 64 entries at most */
#define DRIVER_OFF 0x800u
#define DEVICE_OFF 0x1000u
#define TABLE_OFF  0x2000u
#define SIZE_MAX_  64u
#define BUFS_MAX   80u

struct state {
	struct input in;
	uint8_t *ram, *before; /* and a copy, to compare */
	unsigned piece;	       /* bytes; 0: all in one */
	bool hidden;	       /* the upper half is out of reach */
	bool mutate;	       /* the driver writes while the device reads */
	struct viommu_virtq vq;
	struct viommu_virtq_config cfg;
	struct viommu_chain out[SIZE_MAX_];
	unsigned out_nr, entries; /* popped and not pushed: chains, ring entries */
	bool last_was_pop;
};

/* The driver stores something where it may matter. */
static void scribble(struct state *s)
{
	static const uint16_t places[] = {DESC_OFF, DRIVER_OFF, DEVICE_OFF, TABLE_OFF};
	uint8_t kind = input_u8(&s->in);
	uint32_t off = places[kind & 3] + input_below(&s->in, 0x440);
	uint64_t value = input_u64(&s->in);

	memcpy(&s->ram[off], &value, 1u << (kind >> 2 & 3));
}

static int map(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
	       struct viommu_span *out)
{
	struct state *s = opaque;
	uint64_t off = addr - RAM_BASE, room;

	FUZZ_CHECK(len && perm);
	if (s->mutate && s->in.len)
		scribble(s);
	if (off >= RAM_LEN || (s->hidden && off >= RAM_LEN / 2))
		return -EFAULT;
	room = s->piece ? s->piece - off % s->piece : RAM_LEN;
	if (room > RAM_LEN - off)
		room = RAM_LEN - off;
	out->hva = s->ram + off;
	out->len = room < len ? room : len;
	return 0;
}

static void start(struct state *s)
{
	static const unsigned pieces[] = {0, 4096, 512, 24};
	uint8_t flags = input_u8(&s->in);
	uint16_t size = 1 + input_u8(&s->in) % SIZE_MAX_;
	struct viommu_ring_mem mem = {map, s};

	s->cfg.packed = flags & 1;
	s->cfg.event_idx = flags & 2;
	s->cfg.indirect = flags & 4;
	s->mutate = flags & 8;
	s->piece = pieces[flags >> 4 & 3];
	while (!s->cfg.packed && (size & (size - 1)))
		size &= size - 1;
	s->cfg.size = size;
	s->cfg.desc = RAM_BASE + DESC_OFF;
	s->cfg.driver = RAM_BASE + DRIVER_OFF;
	s->cfg.device = RAM_BASE + DEVICE_OFF;
	FUZZ_CHECK(!viommu_virtq_init(&s->vq, &s->cfg, mem));
}

static void check_chain(const struct viommu_chain *chain,
			const struct viommu_virtq_buf *bufs)
{
	uint64_t readable = 0, writable = 0;

	FUZZ_CHECK(chain->buf_nr <= BUFS_MAX && chain->readable_nr <= chain->buf_nr);
	for (unsigned i = 0; i < chain->buf_nr; i++) {
		FUZZ_CHECK(bufs[i].len);
		FUZZ_CHECK(bufs[i].addr + (bufs[i].len - 1) >= bufs[i].addr);
		FUZZ_CHECK(bufs[i].writable == (i >= chain->readable_nr));
		if (bufs[i].writable)
			writable += bufs[i].len;
		else
			readable += bufs[i].len;
	}
	FUZZ_CHECK(readable == chain->readable_len && writable == chain->writable_len);
	FUZZ_CHECK(readable + writable <= 1ull << 32);
}

static void pop(struct state *s)
{
	struct viommu_virtq_buf bufs[BUFS_MAX];
	struct viommu_chain chain;
	unsigned max = input_u8(&s->in) % (BUFS_MAX + 1);
	int r = viommu_virtq_pop(&s->vq, &chain, bufs, max);

	FUZZ_CHECK(r == 1 || r == 0 || r == -EBADMSG || r == -E2BIG || r == -EFAULT ||
		   r == -EIO);
	s->last_was_pop = r == 1 || r == -EBADMSG || r == -E2BIG;
	if (r == 1)
		check_chain(&chain, bufs);
	if (r == 1)
		FUZZ_CHECK(chain.buf_nr <= max);
	if (!s->last_was_pop)
		return;
	FUZZ_CHECK(chain.ring_slots);
	s->entries += chain.ring_slots;
	FUZZ_CHECK(s->entries <= s->cfg.size && s->out_nr < s->cfg.size);
	s->out[s->out_nr++] = chain;
}

static void push(struct state *s)
{
	unsigned i;

	if (!s->out_nr)
		return;
	i = input_below(&s->in, s->out_nr);
	if (viommu_virtq_push(&s->vq, &s->out[i], input_u32(&s->in)))
		return;
	s->entries -= s->out[i].ring_slots;
	s->out[i] = s->out[--s->out_nr];
	s->last_was_pop = false;
}

static void unpop(struct state *s)
{
	if (!s->last_was_pop)
		return;
	s->out_nr--;
	viommu_virtq_unpop(&s->vq, &s->out[s->out_nr]);
	s->entries -= s->out[s->out_nr].ring_slots;
	s->last_was_pop = false;
}

static void move(struct state *s)
{
	struct viommu_virtq_state pos;
	struct viommu_ring_mem mem = s->vq.mem;

	viommu_virtq_publish(&s->vq);
	viommu_virtq_save(&s->vq, &pos);
	if (s->out_nr)
		return;
	FUZZ_CHECK(!viommu_virtq_init(&s->vq, &s->cfg, mem));
	FUZZ_CHECK(!viommu_virtq_restore(&s->vq, &pos));
}

/* Puts a likely next step of a driver into memory. */
static void offer(struct state *s)
{
	uint8_t kind = input_u8(&s->in);
	uint32_t i = input_u8(&s->in) % s->cfg.size;
	uint8_t *desc = &s->ram[(kind & 1 ? TABLE_OFF : DESC_OFF) + 16 * i];
	uint64_t addr = RAM_BASE + (kind & 2 ? TABLE_OFF : input_u16(&s->in));
	uint32_t len = kind & 4 ? 16 * (input_u8(&s->in) % 70) : input_u8(&s->in);
	uint16_t flags = input_u8(&s->in) & 7, other = input_u8(&s->in), idx;

	if (s->cfg.packed)
		flags |= packed_avail_flags(!(kind & 8));
	memcpy(desc, &addr, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, s->cfg.packed ? &other : &flags, 2);
	memcpy(desc + 14, s->cfg.packed ? &flags : &other, 2);
	if (s->cfg.packed || (kind & 16))
		return;
	memcpy(&idx, &s->ram[DRIVER_OFF + 2], 2);
	other = (uint16_t)i;
	memcpy(&s->ram[DRIVER_OFF + 4 + 2 * (idx % s->cfg.size)], &other, 2);
	idx++;
	memcpy(&s->ram[DRIVER_OFF + 2], &idx, 2);
}

static void device_step(struct state *s, unsigned op)
{
	switch (op) {
	case 0:
		pop(s);
		break;
	case 1:
		push(s);
		break;
	case 2:
		unpop(s);
		break;
	case 3:
		viommu_virtq_publish(&s->vq);
		break;
	case 4:
		viommu_virtq_enable_notify(&s->vq);
		break;
	case 5:
		viommu_virtq_disable_notify(&s->vq);
		break;
	case 6:
		viommu_virtq_has_work(&s->vq);
		break;
	default:
		move(s);
	}
}

/* The device's step, and whether it wrote what is not its own. */
static void checked_step(struct state *s, unsigned op)
{
	static const size_t kept[] = {DEVICE_OFF, RAM_LEN - TABLE_OFF};
	size_t from = s->cfg.packed ? DRIVER_OFF : 0;

	if (s->mutate) {
		device_step(s, op);
		return;
	}
	memcpy(s->before, s->ram, RAM_LEN);
	device_step(s, op);
	FUZZ_CHECK(!memcmp(s->before + from, s->ram + from, kept[0] - from));
	FUZZ_CHECK(!memcmp(s->before + TABLE_OFF, s->ram + TABLE_OFF, kept[1]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return 0;
	s->in = (struct input){data, len};
	s->ram = calloc(1, RAM_LEN);
	s->before = malloc(RAM_LEN);
	start(s);
	while (s->in.len) {
		uint8_t op = input_u8(&s->in) & 15;

		if (op < 8)
			checked_step(s, op);
		else if (op < 12)
			offer(s);
		else if (op == 12)
			viommu_virtq_begin(&s->vq);
		else if (op == 13)
			s->hidden = !s->hidden;
		else
			scribble(s);
	}
	free(s->ram);
	free(s->before);
	free(s);
	return 0;
}
