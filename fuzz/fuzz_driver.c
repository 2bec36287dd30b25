/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The guest driver against a device that answers what it likes: features,
 * configuration, replies, probe properties and fault reports come from the
 * input, and now and then it writes anywhere into the memory it shares.
 *
 * Invariants: no access outside of what was allocated; every call ends, within
 * its time by the driver's clock; all memory comes back; a page that a strict
 * unmap gave back is not handed out twice.
 */
#include "input.h"

#include <string.h>

#include <viommu/proto.h>
#include <viommu/virtq.h>
#include <viommu_drv.h>

#define QUEUES	   4u
#define SHARED_MAX 64u
#define TIMEOUT_NS 100000u
#define HELD_MAX   32u
#define RW	   (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)

struct state {
	struct input in;
	uint64_t features, accepted, now_ns;
	uint8_t status;
	struct virtio_iommu_config config;
	struct viommu_virtq vq[QUEUES];
	bool ready[QUEUES];
	struct {
		uint8_t *p;
		size_t len;
	} shared[SHARED_MAX];
	long live; /* bytes the driver owns */
	struct viommu_drv_timer *timer;
	bool honest; /* the input is used up: serve, so that the end is reached */
};

static void *drv_alloc_mem(void *opaque, size_t len, size_t align)
{
	struct state *s = opaque;
	void *p = NULL;

	if (len > 1u << 22 || posix_memalign(&p, align < 16 ? 16 : align, len))
		return NULL;
	s->live += (long)len;
	return p;
}

static void drv_free_mem(void *opaque, void *p, size_t len)
{
	((struct state *)opaque)->live -= (long)len;
	free(p);
}

static void *drv_alloc_shared(void *opaque, size_t len, size_t align, uint64_t *pa)
{
	struct state *s = opaque;

	for (unsigned i = 0; i < SHARED_MAX; i++) {
		if (s->shared[i].p)
			continue;
		s->shared[i].p = drv_alloc_mem(opaque, len, align);
		s->shared[i].len = len;
		*pa = (uintptr_t)s->shared[i].p;
		return s->shared[i].p;
	}
	return NULL;
}

static void drv_free_shared(void *opaque, void *p, size_t len)
{
	struct state *s = opaque;

	for (unsigned i = 0; i < SHARED_MAX; i++)
		if (s->shared[i].p == p) {
			FUZZ_CHECK(s->shared[i].len == len);
			s->shared[i].p = NULL;
			drv_free_mem(opaque, p, len);
			return;
		}
	FUZZ_CHECK(!"not shared memory");
}

static uint64_t drv_now(void *opaque)
{
	return ((struct state *)opaque)->now_ns += 100;
}

static int timer_arm(void *opaque, struct viommu_drv_timer *timer, uint64_t delay_ns)
{
	(void)delay_ns;
	((struct state *)opaque)->timer = timer;
	return 0;
}

static void timer_cancel(void *opaque, struct viommu_drv_timer *timer)
{
	(void)timer;
	((struct state *)opaque)->timer = NULL;
}

/* ---- the device ---- */

static int ring_map(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
		    struct viommu_span *out)
{
	struct state *s = opaque;

	(void)perm;
	for (unsigned i = 0; i < SHARED_MAX; i++) {
		uint64_t at = (uintptr_t)s->shared[i].p;

		if (!at || addr < at || addr - at >= s->shared[i].len)
			continue;
		out->hva = (void *)(uintptr_t)addr;
		out->len = s->shared[i].len - (addr - at);
		out->len = out->len < len ? out->len : len;
		return 0;
	}
	return -14;
}

/* Writes a few bytes anywhere into shared memory. */
static void scribble(struct state *s)
{
	unsigned i = input_below(&s->in, SHARED_MAX);
	uint32_t at;

	if (!s->shared[i].p)
		i = 0;
	if (!s->shared[i].p)
		return;
	at = input_u16(&s->in) % s->shared[i].len;
	for (unsigned n = input_below(&s->in, 8); n > 0 && at < s->shared[i].len; n--)
		s->shared[i].p[at++] = input_u8(&s->in);
}

/* Fills the writable part of a chain with input, the status last. */
static uint32_t fill(struct state *s, const struct viommu_chain *chain,
		     const struct viommu_virtq_buf *bufs)
{
	for (unsigned b = chain->readable_nr; b < chain->buf_nr; b++) {
		struct viommu_span span;

		if (ring_map(s, bufs[b].addr, bufs[b].len, 2, &span))
			continue;
		for (uint64_t i = 0; i < span.len; i++)
			((uint8_t *)span.hva)[i] = s->honest ? 0 : input_u8(&s->in);
	}
	if (!s->honest && input_below(&s->in, 8) == 0)
		return input_u16(&s->in);
	return (uint32_t)chain->writable_len;
}

static void serve(struct state *s, unsigned queue)
{
	struct viommu_virtq *vq = &s->vq[queue];
	struct viommu_virtq_buf bufs[8];
	struct viommu_chain chain;
	unsigned budget = s->honest ? 256 : input_below(&s->in, 4);

	if (!s->ready[queue])
		return;
	viommu_virtq_begin(vq);
	while (budget-- > 0 && viommu_virtq_pop(vq, &chain, bufs, 8) == 1)
		if (viommu_virtq_push(vq, &chain, fill(s, &chain, bufs)))
			break;
	viommu_virtq_publish(vq);
}

static void device_turn(struct state *s)
{
	s->honest = !s->in.len;
	if (s->honest || input_below(&s->in, 4))
		serve(s, 0);
	if (!s->honest && !input_below(&s->in, 6))
		scribble(s);
	if (!s->honest && !input_below(&s->in, 6))
		serve(s, 1);
}

static void relax(void *opaque, unsigned spins)
{
	(void)spins;
	device_turn(opaque);
}

/* ---- the transport ---- */

static uint64_t get_features(void *opaque)
{
	return ((struct state *)opaque)->features;
}

static void set_features(void *opaque, uint64_t features)
{
	((struct state *)opaque)->accepted = features;
}

static uint8_t get_status(void *opaque)
{
	return ((struct state *)opaque)->status;
}

static void set_status(void *opaque, uint8_t status)
{
	struct state *s = opaque;

	if (!status)
		memset(s->ready, 0, sizeof(s->ready));
	s->status = status;
}

static void config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	struct state *s = opaque;

	FUZZ_CHECK(offset + len <= sizeof(s->config));
	memcpy(buf, (uint8_t *)&s->config + offset, len);
}

static void config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	(void)opaque;
	FUZZ_CHECK(offset == 36 && len == 1 && *(const uint8_t *)buf < 2);
}

static uint32_t config_generation(void *opaque)
{
	struct state *s = opaque;

	return s->in.len && !input_below(&s->in, 16) ? input_u8(&s->in) : 0;
}

static uint16_t queue_max(void *opaque, uint16_t index)
{
	(void)opaque;
	return index < QUEUES ? 16 : 0;
}

static int queue_setup(void *opaque, const struct viommu_drv_queue_setup *setup)
{
	struct state *s = opaque;
	const struct viommu_virtq_config cfg = {
		.size = setup->size,
		.packed = s->accepted >> 34 & 1,
		.event_idx = s->accepted >> 29 & 1,
		.indirect = s->accepted >> 28 & 1,
		.desc = setup->desc,
		.driver = setup->driver,
		.device = setup->device,
	};

	s->ready[setup->index] = true;
	return viommu_virtq_init(&s->vq[setup->index], &cfg,
				 (struct viommu_ring_mem){ring_map, s});
}

static void kick(void *opaque, uint16_t index)
{
	FUZZ_CHECK(index < QUEUES);
	device_turn(opaque);
}

/* ---- the guest ---- */

struct guest {
	struct viommu_drv *drv;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	struct {
		uint64_t iova, len; /* len 0: empty */
	} held[HELD_MAX];
};

/* What is handed out overlaps nothing that is held. */
static void hold(struct guest *g, unsigned i, uint64_t iova, uint64_t len)
{
	for (unsigned k = 0; k < HELD_MAX; k++)
		FUZZ_CHECK(!g->held[k].len ||
			   (iova >> 12) >
				   ((g->held[k].iova + g->held[k].len - 1) >> 12) ||
			   ((iova + len - 1) >> 12) < (g->held[k].iova >> 12));
	g->held[i].iova = iova;
	g->held[i].len = len;
}

static void map_or_unmap(struct state *s, struct guest *g)
{
	unsigned i = input_below(&s->in, HELD_MAX);
	uint64_t iova, len = 1 + input_u16(&s->in);

	if (g->held[i].len) {
		(void)viommu_drv_dma_unmap(g->ep, g->held[i].iova, g->held[i].len);
		g->held[i].len = 0;
	} else if (!viommu_drv_dma_map(g->ep, input_u32(&s->in), len, RW, &iova)) {
		hold(g, i, iova, len);
	}
}

static void raw_requests(struct state *s, struct guest *g)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	/* Far from what the DMA calls hand out. */
	uint64_t base = (1ull << 40) + input_u16(&s->in) * 4096ull;
	uint64_t len = (1 + input_below(&s->in, 16)) * 4096ull;

	for (unsigned n = input_below(&s->in, 24); n > 0; n--, base += len)
		(void)viommu_drv_map(g->domain, base, base + len - 1, base, RW, &batch);
	(void)viommu_drv_unmap(g->domain, 1ull << 40, base, &batch);
	(void)viommu_drv_sync(g->drv, &batch);
}

static void step(struct state *s, struct guest *g)
{
	uint64_t start = s->now_ns;

	switch (input_below(&s->in, 12)) {
	case 0:
		(void)viommu_drv_attach(g->domain, g->ep);
		break;
	case 1:
		(void)viommu_drv_reset(g->drv);
		break;
	case 2:
		(void)viommu_drv_poll_events(g->drv);
		break;
	case 3:
		(void)viommu_drv_domain_set_mode(
			g->domain, (enum viommu_drv_mode)input_below(&s->in, 3),
			input_below(&s->in, 9), 0);
		break;
	case 4:
		if (s->timer)
			viommu_drv_timer(s->timer);
		break;
	case 5:
		raw_requests(s, g);
		break;
	default:
		map_or_unmap(s, g);
	}
	/* A call waits a few times at most; a rebuild once for each part. */
	FUZZ_CHECK(s->now_ns - start < 100u * TIMEOUT_NS);
}

static void use(struct state *s, struct guest *g)
{
	const struct viommu_drv_endpoint_config config = {.id = 1};
	const struct viommu_drv_domain_config domain = {.mode = VIOMMU_DRV_LAZY_CPU,
							.flush_entries = 4};

	if (viommu_drv_endpoint_create(g->drv, &config, &g->ep))
		return;
	if (!viommu_drv_domain_create(g->drv, &domain, &g->domain)) {
		(void)viommu_drv_attach(g->domain, g->ep);
		for (unsigned n = 0; n < 200 && s->in.len; n++)
			step(s, g);
	}
	(void)viommu_drv_endpoint_destroy(g->ep);
	viommu_drv_domain_destroy(g->domain);
}

static void start_device(struct state *s)
{
	/* Mostly a plausible device, so that the driver starts. */
	s->features = 1ull << 32 | 0x7f | (uint64_t)input_below(&s->in, 8) << 28 |
		      (uint64_t)input_below(&s->in, 2) << 34;
	s->config = (struct virtio_iommu_config){
		.page_size_mask = ~0ull << input_below(&s->in, 20),
		.input_last = UINT64_MAX >> input_below(&s->in, 24),
		.domain_last = UINT32_MAX,
		.probe_size = input_u16(&s->in) % 256,
	};
	if (!input_below(&s->in, 16))
		s->config.page_size_mask = input_u64(&s->in);
	if (!input_below(&s->in, 16))
		s->config.input_start = input_u64(&s->in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct viommu_drv_platform platform = {
		.alloc = drv_alloc_mem,
		.free = drv_free_mem,
		.alloc_shared = drv_alloc_shared,
		.free_shared = drv_free_shared,
		.now_ns = drv_now,
		.relax = relax,
		.timer_arm = timer_arm,
		.timer_cancel = timer_cancel,
	};
	static const struct viommu_drv_transport transport = {get_features,
							      set_features,
							      get_status,
							      set_status,
							      config_read,
							      config_write,
							      config_generation,
							      queue_max,
							      queue_setup,
							      kick,
							      0};
	const struct viommu_drv_config config = {
		.request_timeout_ns = TIMEOUT_NS, .queue_size = 16, .events_nr = 8};
	struct state s = {.in = {data, len}};
	struct guest g = {0};

	start_device(&s);
	if (!viommu_drv_create(&platform, &s, &transport, &s, &config, &g.drv)) {
		use(&s, &g);
		viommu_drv_destroy(g.drv);
	}
	FUZZ_CHECK(s.live == 0);
	return 0;
}
