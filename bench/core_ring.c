/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Requests through a split ring in shared memory, the driver's side of it and
 * the device: all there is between a guest's store and the reply it reads, but
 * for the kick.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <viommu/device.h>
#include <viommu/proto.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "core.h"
#include "virtq/driver.h"

#define ROUNDS	 9u
#define BATCHES	 200u
#define BATCH	 64u
#define SYNCS	 2000u
#define RING	 256u
#define MAPPINGS 4096u /* that are there already */
#define MEM_LEN	 (1ull << 20)
#define MEM_GPA	 (1ull << 30)
#define AREA	 16384u /* bytes for each part of the ring */

struct slot {
	union {
		struct virtio_iommu_req_map map;
		struct virtio_iommu_req_unmap unmap;
		struct virtio_iommu_req_attach attach;
		uint8_t bytes[48];
	} in;
	struct virtio_iommu_req_tail tail;
	uint8_t unused[12];
};

struct bench {
	struct counted_alloc alloc;
	struct viommu_device *dev;
	struct viommu_endpoint *ep[2]; /* in domains 1 and 2 */
	struct viommu_mem *mem;
	struct viommu_dma *ring_dma; /* without IOMMU */
	struct viommu_virtq vq;
	char *ram; /* MEM_LEN bytes at MEM_GPA */
	struct drvq q;
	struct drvq_slot slots[RING];
	bool stop; /* atomic */
};

static uint64_t now_ns(void *opaque)
{
	struct timespec ts;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void check(int rc)
{
	if (rc)
		abort();
}

static struct slot *slot_at(struct bench *b, unsigned i)
{
	return (struct slot *)(b->ram + 3 * AREA) + i;
}

static uint64_t dma_address(struct bench *b, const void *p)
{
	return MEM_GPA + (uint64_t)((const char *)p - b->ram);
}

static void add(struct bench *b, struct slot *s, size_t in_len)
{
	const struct drvq_buf bufs[] = {
		{dma_address(b, &s->in), (uint32_t)in_len},
		{dma_address(b, &s->tail), sizeof(s->tail)},
	};

	check(drvq_add(&b->q, bufs, 1, 1, s));
}

static unsigned process(struct bench *b)
{
	unsigned work;

	viommu_dma_begin(b->ring_dma);
	work = viommu_device_process(b->dev, BATCH);
	viommu_dma_end(b->ring_dma);
	return work;
}

/* Everything that is used comes back; status of each must be `status`. */
static unsigned collect(struct bench *b, uint8_t status)
{
	struct drvq_used used;
	unsigned nr = 0;

	for (; drvq_poll(&b->q, &used) > 0; nr++) {
		const struct slot *s = used.cookie;

		if (used.len && s->tail.status != status)
			abort();
	}
	return nr;
}

/* One request, handled in this thread. */
static void request(struct bench *b, size_t in_len)
{
	add(b, slot_at(b, 0), in_len);
	drvq_publish(&b->q);
	process(b);
	if (collect(b, VIRTIO_IOMMU_S_OK) != 1)
		abort();
}

static void fill_map(struct slot *s, uint64_t page)
{
	s->in.map = (struct virtio_iommu_req_map){
		.head.type = VIRTIO_IOMMU_T_MAP,
		.domain = 1,
		.virt_start = page << PAGE_LG2,
		.virt_last = (page << PAGE_LG2) + (1u << PAGE_LG2) - 1,
		.phys_start = MEM_GPA,
		.flags = VIRTIO_IOMMU_MAP_F_READ,
	};
}

static void unmap_range(struct bench *b, uint64_t first, uint64_t last)
{
	slot_at(b, 0)->in.unmap = (struct virtio_iommu_req_unmap){
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = 1,
		.virt_start = first << PAGE_LG2,
		.virt_last = ((last + 1) << PAGE_LG2) - 1,
	};
	request(b, sizeof(struct virtio_iommu_req_unmap));
}

static void setup_ring(struct bench *b)
{
	const struct viommu_virtq_config cfg = {.size = RING,
						.desc = MEM_GPA,
						.driver = MEM_GPA + AREA,
						.device = MEM_GPA + 2 * AREA};
	const struct drvq_config driver = {.size = RING,
					   .desc = b->ram,
					   .driver = b->ram + AREA,
					   .device = b->ram + 2 * AREA,
					   .slots = b->slots};

	check(viommu_virtq_init(&b->vq, &cfg, viommu_ring_mem_dma(b->ring_dma)));
	check(drvq_init(&b->q, &driver));
	check(viommu_device_set_queue(b->dev, VIOMMU_QUEUE_REQUEST, &b->vq));
}

static void setup(struct bench *b)
{
	const struct viommu_device_ops ops = {.now_ns = now_ns};
	const struct viommu_device_config cfg = {0};

	counted_alloc_init(&b->alloc);
	b->ram = mmap(NULL, MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	check(b->ram == MAP_FAILED);
	check(viommu_device_create(&cfg, &ops, b, &b->alloc.ops, NULL, &b->dev));
	check(viommu_device_set_features(b->dev, viommu_device_features(b->dev)));
	for (uint32_t i = 0; i < 2; i++) {
		const struct viommu_endpoint_config ep = {.id = 8 + i};

		check(viommu_endpoint_add(b->dev, &ep, &b->ep[i]));
	}
	check(viommu_mem_create(&b->alloc.ops, &b->mem));
	check(viommu_mem_add(b->mem, MEM_GPA, MEM_LEN, b->ram, 0));
	check(viommu_dma_create(NULL, b->mem, &b->alloc.ops, NULL, NULL, &b->ring_dma));
	setup_ring(b);
	for (uint32_t i = 0; i < 2; i++) {
		slot_at(b, 0)->in.attach = (struct virtio_iommu_req_attach){
			.head.type = VIRTIO_IOMMU_T_ATTACH,
			.domain = 1 + i,
			.endpoint = 8 + i};
		request(b, sizeof(struct virtio_iommu_req_attach));
	}
	for (uint64_t i = 0; i < MAPPINGS; i++) {
		fill_map(slot_at(b, 0), 1000000 + 3 * i);
		request(b, sizeof(struct virtio_iommu_req_map));
	}
}

static void teardown(struct bench *b)
{
	viommu_device_set_queue(b->dev, VIOMMU_QUEUE_REQUEST, NULL);
	viommu_dma_destroy(b->ring_dma);
	viommu_mem_destroy(b->mem);
	viommu_endpoint_remove(b->ep[0]);
	viommu_endpoint_remove(b->ep[1]);
	viommu_device_destroy(b->dev);
	munmap(b->ram, MEM_LEN);
}

/* What a batch is made of: requests of no known type, which are given back as
 * they are; UNMAP in an empty domain, well-formed but with nothing to do; MAP. */
enum kind { UNKNOWN, NOOP, MAP };

static size_t fill(struct slot *s, enum kind kind, unsigned i)
{
	switch (kind) {
	case UNKNOWN:
		memset(&s->in, 0xff, sizeof(s->in));
		return sizeof(struct virtio_iommu_req_head);
	case NOOP:
		s->in.unmap =
			(struct virtio_iommu_req_unmap){.head.type = VIRTIO_IOMMU_T_UNMAP,
							.domain = 2,
							.virt_last = 4095};
		return sizeof(s->in.unmap);
	default:
		fill_map(s, 1000001 + 3 * i);
		return sizeof(s->in.map);
	}
}

/* A batch from the driver's first store to its last load, in ns of CPU time. */
static uint64_t batch(struct bench *b, enum kind kind)
{
	size_t in_len = 0;
	uint64_t start;

	for (unsigned i = 0; i < BATCH; i++)
		in_len = fill(slot_at(b, i), kind, i);
	start = cpu_ns();
	for (unsigned i = 0; i < BATCH; i++)
		add(b, slot_at(b, i), in_len);
	drvq_publish(&b->q);
	process(b);
	if (collect(b, VIRTIO_IOMMU_S_OK) != BATCH)
		abort();
	return cpu_ns() - start;
}

/* Million requests a second. */
static double batches(struct bench *b, enum kind kind)
{
	uint64_t ns = 0;

	for (unsigned i = 0; i < BATCHES; i++) {
		ns += batch(b, kind);
		if (kind != MAP)
			continue;
		for (unsigned j = 0; j < BATCH; j++)
			unmap_range(b, 1000001 + 3 * j, 1000001 + 3 * j);
	}
	return BATCHES * BATCH * 1000.0 / (double)ns;
}

/* ---- a device that polls on a thread of its own ---- */

static void run_on(unsigned nr)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(nr, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *device(void *arg)
{
	struct bench *b = arg;

	run_on(1);
	while (!load_relaxed(&b->stop))
		if (!(process(b) & VIOMMU_WORK_DONE))
			cpu_relax();
	return NULL;
}

static void wait_reply(struct bench *b)
{
	drvq_publish(&b->q);
	while (!collect(b, VIRTIO_IOMMU_S_OK))
		cpu_relax();
}

/* Wall time: half of the round trips were faster. */
static double map_sync_us(struct bench *b)
{
	static double us[SYNCS];
	cpu_set_t before;
	pthread_t thread;

	sched_getaffinity(0, sizeof(before), &before);
	run_on(0);
	pthread_create(&thread, NULL, device, b);
	for (unsigned i = 0; i < SYNCS; i++) {
		struct slot *s = slot_at(b, 0);
		uint64_t start;

		fill_map(s, 1000001 + 3 * i);
		start = now_ns(NULL);
		add(b, s, sizeof(s->in.map));
		wait_reply(b);
		us[i] = (double)(now_ns(NULL) - start) / 1000.0;
	}
	store_relaxed(&b->stop, true);
	pthread_join(thread, NULL);
	sched_setaffinity(0, sizeof(before), &before);
	return median(us, SYNCS);
}

struct ring_result measure_ring(void)
{
	struct bench *b = calloc(1, sizeof(*b));
	double unknown[ROUNDS], noop[ROUNDS], map[ROUNDS];
	struct ring_result r;

	setup(b);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unknown[i] = batches(b, UNKNOWN);
		noop[i] = batches(b, NOOP);
		map[i] = batches(b, MAP);
	}
	r = (struct ring_result){.unknown_mops = median(unknown, ROUNDS),
				 .noop_mops = median(noop, ROUNDS),
				 .map_batch_mops = median(map, ROUNDS),
				 .map_sync_us = map_sync_us(b)};
	teardown(b);
	free(b);
	return r;
}
