/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A live device: requests in plain buffers and through rings, accesses and held
 * pages of its endpoints, configuration writes, resets, endpoints that come and
 * go, saved state that is restored whole or damaged.
 *
 * Invariants: a used length is 0, 4 or that of a PROBE, and never more than there
 * was room; nothing behind it is written; a request that was refused left the
 * state as it was; what was saved can be restored and then saves the same.
 */
#include "input.h"

#include <errno.h>
#include <string.h>

#include <viommu/device.h>

#include "proto/proto.h"

#define RAM_LEN	     0x8000u
#define RING_AT	     0x4000u /* descriptors; rings behind them */
#define RING_SIZE    16u
#define ENDPOINTS_NR 4u
#define PROBE_ROOM   72u

struct endpoint {
	struct viommu_endpoint *ep; /* NULL: not there now */
	struct viommu_dma *dma;
	struct iovec iov[8];
	struct viommu_hold hold[8];
	struct viommu_sg sg;
};

struct state {
	struct input in;
	uint8_t *ram;
	struct viommu_mem *mem;
	struct viommu_device *dev;
	struct endpoint endpoint[ENDPOINTS_NR];
	struct viommu_virtq vq[VIOMMU_QUEUES_NR];
	uint16_t avail[VIOMMU_QUEUES_NR];
	uint64_t now;
	bool hidden; /* ring memory above the first 4 KiB is out of reach */
};

static void *heap_alloc(void *opaque, size_t len, size_t align)
{
	(void)opaque;
	align = align < sizeof(void *) ? sizeof(void *) : align;
	return aligned_alloc(align, (len + align - 1) / align * align);
}

static void heap_free(void *opaque, void *p, size_t len)
{
	(void)opaque;
	(void)len;
	free(p);
}

static const struct viommu_alloc heap = {heap_alloc, heap_free, NULL};

static uint64_t now(void *opaque)
{
	return ((struct state *)opaque)->now;
}

static int map(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
	       struct viommu_span *out)
{
	struct state *s = opaque;

	FUZZ_CHECK(len && perm);
	if (addr >= RAM_LEN || (s->hidden && addr >= 0x1000 && addr < RING_AT))
		return -EFAULT;
	out->hva = s->ram + addr;
	out->len = len < RAM_LEN - addr ? len : RAM_LEN - addr;
	return 0;
}

/* ---- endpoints ---- */

static void add_endpoint(struct state *s, uint32_t id)
{
	struct viommu_resv resv[2] = {{0x3000, 0x3fff, VIOMMU_RESV_MSI},
				      {0x9000, 0x9fff, VIOMMU_RESV_RESERVED}};
	struct viommu_endpoint_config config = {
		.id = id, .resv = resv, .resv_nr = id % 3};
	struct endpoint *e = &s->endpoint[id];

	FUZZ_CHECK(!viommu_endpoint_add(s->dev, &config, &e->ep));
	FUZZ_CHECK(!viommu_dma_create(e->ep, s->mem, &heap, NULL, NULL, &e->dma));
	e->sg = (struct viommu_sg){
		.iov = e->iov, .iov_max = 8, .hold = e->hold, .hold_max = 8};
}

static void remove_endpoint(struct state *s, uint32_t id)
{
	struct endpoint *e = &s->endpoint[id];

	if (!e->ep)
		return;
	viommu_dma_put(e->dma, &e->sg);
	viommu_dma_destroy(e->dma);
	viommu_endpoint_remove(e->ep);
	e->ep = NULL;
}

static void access_memory(struct state *s, uint8_t kind)
{
	struct endpoint *e = &s->endpoint[kind % ENDPOINTS_NR];
	uint64_t iova = input_u16(&s->in);
	unsigned perm = 1 + kind / 4 % 3;
	uint8_t buf[64];

	if (!e->ep)
		return;
	if (kind & 0x80)
		viommu_dma_get(e->dma, iova, 1 + input_u8(&s->in) * 16u, perm, &e->sg);
	else if (kind & 0x40)
		viommu_dma_put(e->dma, &e->sg);
	else
		viommu_dma_read(e->dma, iova, buf, sizeof(buf));
}

/* ---- requests ---- */

static size_t make_request(struct state *s, uint8_t in[PROTO_REQUEST_MAX + 8])
{
	uint8_t shape = input_u8(&s->in);
	struct proto_request req = {.type = (uint8_t)(1 + shape % 5)};
	size_t len;

	memset(in, 0, PROTO_REQUEST_MAX + 8);
	if (shape >= 0xe0) { /* whatever */
		len = input_below(&s->in, PROTO_REQUEST_MAX + 9);
		for (size_t i = 0; i < len; i++)
			in[i] = input_u8(&s->in);
		return len;
	}
	req.domain = input_u8(&s->in) & 3;
	req.endpoint = input_u8(&s->in) % (ENDPOINTS_NR + 1);
	req.flags = input_u8(&s->in) & 0x0f;
	req.start = (uint64_t)input_u8(&s->in) << 12;
	req.last = req.start + ((uint64_t)input_u8(&s->in) << 12) + 0xfff;
	req.gpa = (uint64_t)(input_u8(&s->in) & 7) << 12;
	len = proto_encode_request(in, &req);
	if (shape >= 0xc0)
		in[input_below(&s->in, (uint32_t)len)] = input_u8(&s->in);
	if (shape >= 0xa0)
		len = input_below(&s->in, PROTO_REQUEST_MAX + 9);
	return len;
}

struct blob {
	uint8_t *bytes; /* NULL: a request is parked */
	size_t len;
};

static struct blob save(struct state *s)
{
	struct blob b = {NULL, 0};
	int r = viommu_device_save(s->dev, NULL, &b.len);

	if (r == -EBUSY)
		return b;
	FUZZ_CHECK(r == -ENOSPC);
	b.bytes = malloc(b.len);
	FUZZ_CHECK(!viommu_device_save(s->dev, b.bytes, &b.len));
	return b;
}

static void check_reply(const struct blob *before, const struct blob *after,
			const uint8_t *out, size_t out_len, size_t used)
{
	static const uint8_t fill[256] = {0};

	FUZZ_CHECK(used <= out_len && (!used || used >= PROTO_TAIL_LEN));
	FUZZ_CHECK(used <= PROBE_ROOM + PROTO_TAIL_LEN);
	FUZZ_CHECK(!memcmp(out + used, fill, out_len - used));
	if (!used || out[used - PROTO_TAIL_LEN] != VIRTIO_IOMMU_S_OK) {
		FUZZ_CHECK(before->len == after->len);
		FUZZ_CHECK(!memcmp(before->bytes, after->bytes, after->len));
	}
}

static void plain_request(struct state *s)
{
	uint8_t in[PROTO_REQUEST_MAX + 8], out[128] = {0};
	size_t in_len = make_request(s, in), out_len = PROTO_TAIL_LEN, used = 0, split;
	struct iovec iov[4];
	struct blob before = save(s), after;
	int r;

	if (in[0] == VIRTIO_IOMMU_T_PROBE)
		out_len += PROBE_ROOM;
	if (input_u8(&s->in) >= 0xe0)
		out_len = input_below(&s->in, sizeof(out));
	split = in_len ? input_below(&s->in, (uint32_t)in_len) : 0;
	iov[0] = (struct iovec){in, split};
	iov[1] = (struct iovec){in + split, in_len - split};
	iov[2] = (struct iovec){out, out_len / 3};
	iov[3] = (struct iovec){out + out_len / 3, out_len - out_len / 3};
	r = viommu_device_request(s->dev, iov, 2, iov + 2, 2, &used);
	FUZZ_CHECK(r == 0 || r == -EINPROGRESS || r == -EBUSY);
	if (r == -EINPROGRESS) { /* buffers go out of scope: see it through */
		s->now += 5000000000ull;
		FUZZ_CHECK(!viommu_device_request(s->dev, iov, 2, iov + 2, 2, &used));
		FUZZ_CHECK(used == PROTO_TAIL_LEN);
		FUZZ_CHECK(out[0] == VIRTIO_IOMMU_S_DEVERR);
	} else if (!r) {
		after = save(s);
		check_reply(&before, &after, out, out_len, used);
		free(after.bytes);
	}
	free(before.bytes);
}

static void give_ring(struct state *s, unsigned queue)
{
	uint64_t at = RING_AT + queue * 0x1000u;
	struct viommu_virtq_config cfg = {.size = RING_SIZE,
					  .indirect = true,
					  .event_idx = queue,
					  .desc = at,
					  .driver = at + 0x400,
					  .device = at + 0x800};
	struct viommu_ring_mem mem = {map, s};

	memset(s->ram + at, 0, 0x1000);
	s->avail[queue] = 0;
	FUZZ_CHECK(!viommu_virtq_init(&s->vq[queue], &cfg, mem));
	FUZZ_CHECK(!viommu_device_set_queue(s->dev, queue, &s->vq[queue]));
}

/* A chain of two or more descriptors, nearly always well formed. */
static void add_chain(struct state *s, unsigned queue)
{
	uint8_t *at = s->ram + RING_AT + queue * 0x1000u, kind = input_u8(&s->in);
	unsigned nr = 1 + kind % 4, head = input_u8(&s->in) % RING_SIZE;
	uint16_t index = s->avail[queue]++;

	if (!queue)
		make_request(s, s->ram + head * 0x80u);
	for (unsigned i = 0; i < nr; i++) {
		unsigned slot = (head + i) % RING_SIZE;
		uint64_t addr = head * 0x80u + i * 0x20u;
		uint32_t len = i ? 36 : 20;
		uint16_t flags =
			(uint16_t)((i + 1 < nr) | (i + 1 == nr || queue ? 2 : 0));
		uint16_t next = (uint16_t)((slot + 1) % RING_SIZE);

		if (kind & 0x80)
			addr = input_u16(&s->in);
		if (kind & 0x40)
			len = input_u8(&s->in);
		if (kind & 0x20)
			flags = input_u8(&s->in) & 7;
		memcpy(at + slot * 16u, &addr, 8);
		memcpy(at + slot * 16u + 8, &len, 4);
		memcpy(at + slot * 16u + 12, &flags, 2);
		memcpy(at + slot * 16u + 14, &next, 2);
	}
	at[0x400 + 4 + index % RING_SIZE * 2] = (uint8_t)head;
	memcpy(at + 0x400 + 2, &s->avail[queue], 2);
}

/* ---- the rest ---- */

static void save_and_restore(struct state *s)
{
	struct blob b = save(s), again;
	uint8_t damage = input_u8(&s->in);

	if (!b.bytes)
		return;
	if (damage) {
		b.bytes[input_below(&s->in, (uint32_t)b.len)] ^= damage;
		FUZZ_CHECK(viommu_device_restore(s->dev, b.bytes, b.len));
	} else {
		FUZZ_CHECK(!viommu_device_restore(s->dev, b.bytes, b.len));
		again = save(s);
		FUZZ_CHECK(again.len == b.len && !memcmp(b.bytes, again.bytes, b.len));
		free(again.bytes);
	}
	viommu_device_set_features(s->dev, viommu_device_features(s->dev));
	free(b.bytes);
}

static void other(struct state *s, uint8_t kind)
{
	uint8_t event[24], value = input_u8(&s->in);

	switch (kind % 8) {
	case 0:
		viommu_device_config_write(s->dev, value & 0x40 ? value : 36, &value, 1);
		break;
	case 1:
		viommu_device_reset(s->dev);
		viommu_device_set_features(
			s->dev, value & 1 ? value : viommu_device_features(s->dev));
		break;
	case 2:
		save_and_restore(s);
		break;
	case 3:
		remove_endpoint(s, value % ENDPOINTS_NR);
		break;
	case 4:
		if (!s->endpoint[value % ENDPOINTS_NR].ep)
			add_endpoint(s, value % ENDPOINTS_NR);
		break;
	case 5:
		viommu_device_next_event(s->dev, event);
		break;
	case 6:
		s->hidden = value & 1;
		s->now += (uint64_t)value << 24;
		break;
	case 7:
		give_ring(s, value & 1);
		break;
	}
}

static void set_up(struct state *s)
{
	struct viommu_device_config config = {.page_size_mask = 0xff000,
					      .probe_size = PROBE_ROOM,
					      .input_last = 0xfffff,
					      .max_mappings = 20,
					      .max_domains = 3,
					      .max_endpoints = 8};
	struct viommu_device_ops ops = {.now_ns = now};

	s->ram = aligned_alloc(0x1000, RAM_LEN);
	memset(s->ram, 0, RAM_LEN);
	FUZZ_CHECK(!viommu_mem_create(&heap, &s->mem));
	FUZZ_CHECK(!viommu_mem_add(s->mem, 0, RAM_LEN / 2, s->ram, 0));
	FUZZ_CHECK(!viommu_device_create(&config, &ops, s, &heap, NULL, &s->dev));
	viommu_device_set_features(s->dev, viommu_device_features(s->dev));
	for (uint32_t id = 0; id < ENDPOINTS_NR; id++)
		add_endpoint(s, id);
}

static void tear_down(struct state *s)
{
	for (uint32_t id = 0; id < ENDPOINTS_NR; id++)
		remove_endpoint(s, id);
	viommu_device_destroy(s->dev);
	FUZZ_CHECK(!viommu_mem_remove(s->mem, 0, RAM_LEN / 2));
	viommu_mem_destroy(s->mem);
	free(s->ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct state s = {.in = {data, len}};

	set_up(&s);
	for (unsigned step = 0; s.in.len && step < 400; step++) {
		uint8_t op = input_u8(&s.in);

		if (op < 0x80)
			plain_request(&s);
		else if (op < 0xa0)
			access_memory(&s, input_u8(&s.in));
		else if (op < 0xc0)
			add_chain(&s, op >= 0xb8);
		else if (op < 0xe0)
			viommu_device_process(s.dev, op & 7);
		else
			other(&s, op);
	}
	tear_down(&s);
	return 0;
}
