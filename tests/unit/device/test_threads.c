/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Endpoints at work on threads of their own, most of it refused, while the control
 * side maps, unmaps, detaches and reports. For the thread sanitizer.
 */
#include <errno.h>
#include <pthread.h>

#include <viommu/dma.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "device_kit.h"

#define THREADS 3u
#define PAGES	16u
#define RAM_LEN (PAGES * 0x1000ull)
#define ROUNDS	600u

struct worker {
	struct viommu_dma *dma;
	uint32_t *stop;		   /* atomic */
	uint64_t blocked, allowed; /* atomic */
	uint64_t seed;
};

/* Reads a byte here and there; holds it across the section sometimes. */
static void *work(void *opaque)
{
	struct worker *w = opaque;
	struct rng rng = rng_init(w->seed);
	struct iovec iov[2];
	struct viommu_hold hold[2];
	struct viommu_sg sg = {.iov = iov, .iov_max = 2, .hold = hold, .hold_max = 2};

	/* relaxed: the join orders what matters */
	while (!load_relaxed(w->stop)) {
		uint64_t iova = rng_below(&rng, 2 * PAGES) << 12;
		uint8_t byte;
		int r;

		if (rng_chance(&rng, 20)) {
			r = viommu_dma_get(w->dma, iova, 8, VIOMMU_READ, &sg);
			viommu_dma_put(w->dma, &sg);
		} else {
			r = viommu_dma_read(w->dma, iova, &byte, 1);
		}
		/* relaxed: only to see that something happens */
		add_relaxed(r ? &w->blocked : &w->allowed, 1);
	}
	return NULL;
}

/* Whether each worker has seen both; a busy machine may not have run it yet. */
static bool all_saw_both(struct worker w[THREADS])
{
	for (unsigned i = 0; i < THREADS; i++) /* relaxed: as in work() */
		if (!load_relaxed(&w[i].blocked) || !load_relaxed(&w[i].allowed))
			return false;
	return true;
}

static uint64_t thread_clock(void *opaque)
{
	(void)opaque;
	return 1000000000; /* stands still, so a hold never runs out of time */
}

/* Sends a request and sees it through, parked or not. */
static int send(struct viommu_device *dev, const struct proto_request *req)
{
	uint8_t in[PROTO_REQUEST_MAX], tail[PROTO_TAIL_LEN];
	struct iovec i = {in, proto_encode_request(in, req)}, o = {tail, sizeof(tail)};
	size_t written;
	int r;

	do {
		r = viommu_device_request(dev, &i, 1, &o, 1, &written);
	} while (r == -EINPROGRESS);
	assert_int_equal(r, 0);
	assert_int_equal(written, PROTO_TAIL_LEN);
	return proto_decode_tail(tail);
}

static void control(struct viommu_device *dev, struct rng *rng)
{
	struct proto_request req = {.domain = 1};
	uint8_t event[24];

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t page = rng_below(rng, PAGES) << 12;

		req.start = page;
		req.last = page + 0xfff;
		req.gpa = page;
		req.flags = VIRTIO_IOMMU_MAP_F_READ;
		req.type =
			rng_chance(rng, 60) ? VIRTIO_IOMMU_T_MAP : VIRTIO_IOMMU_T_UNMAP;
		send(dev, &req);
		req.type = VIRTIO_IOMMU_T_DETACH;
		req.endpoint = (uint32_t)rng_below(rng, THREADS);
		req.flags = 0;
		if (rng_chance(rng, 10)) {
			send(dev, &req);
			req.type = VIRTIO_IOMMU_T_ATTACH;
			assert_int_equal(send(dev, &req), 0);
		}
		while (viommu_device_next_event(dev, event))
			assert_true(event[8] < THREADS);
	}
}

static void faults_and_requests(void **state)
{
	struct viommu_device_config config = {.fault_rate = 1000000};
	struct viommu_device_ops ops = {.now_ns = thread_clock};
	struct viommu_device_stats stats;
	struct worker w[THREADS];
	struct viommu_endpoint *ep[THREADS];
	pthread_t thread[THREADS];
	struct viommu_device *dev;
	struct viommu_mem *mem;
	struct test_alloc ta;
	struct rng rng = rng_init(test_seed());
	uint8_t *ram = calloc(1, RAM_LEN);
	uint64_t blocked = 0, allowed = 0;
	uint32_t stop = 0;

	(void)state;
	test_alloc_init(&ta);
	assert_int_equal(viommu_mem_create(&ta.ops, &mem), 0);
	assert_int_equal(viommu_mem_add(mem, 0, RAM_LEN, ram, 0), 0);
	assert_int_equal(viommu_device_create(&config, &ops, NULL, &ta.ops, NULL, &dev),
			 0);
	viommu_device_set_features(dev, viommu_device_features(dev));
	for (uint32_t i = 0; i < THREADS; i++) {
		struct proto_request req = {
			.type = VIRTIO_IOMMU_T_ATTACH, .domain = 1, .endpoint = i};

		assert_int_equal(
			viommu_endpoint_add(
				dev, &(struct viommu_endpoint_config){.id = i}, &ep[i]),
			0);
		assert_int_equal(send(dev, &req), 0);
		w[i] = (struct worker){.stop = &stop, .seed = rng_next(&rng)};
		assert_int_equal(
			viommu_dma_create(ep[i], mem, &ta.ops, NULL, NULL, &w[i].dma), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
	do {
		control(dev, &rng);
	} while (!all_saw_both(w));
	store_relaxed(&stop, 1); /* relaxed: see work() */
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		blocked += w[i].blocked;
		allowed += w[i].allowed;
		viommu_dma_destroy(w[i].dma);
	}
	viommu_device_get_stats(dev, &stats);
	assert_int_equal(stats.faults[0] + stats.faults[1] + stats.faults[2], blocked);
	assert_true(allowed);
	viommu_device_destroy(dev);
	assert_int_equal(viommu_mem_remove(mem, 0, RAM_LEN), 0);
	viommu_mem_destroy(mem);
	assert_int_equal(ta.live, 0);
	free(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_and_requests),
	};

	return cmocka_run_group_tests_name("device threads", tests, NULL, NULL);
}
