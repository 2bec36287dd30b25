/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Driver and device on a thread each, in shared memory, with notification both
 * ways: each sleeps when its ring tells it that it may, and a lost notification
 * hangs the test (its time-out is the check). Data goes through the buffers, so
 * that a missing order shows as a race under the thread sanitizer, or as wrong
 * data without it.
 */
#include <pthread.h>
#include <semaphore.h>

#include "ring_kit.h"

#include "virtq/driver.h"

#define CHAINS_MAX 64u

/* cmocka's checks belong to the main thread. */
#define CHECK(condition)                                                                 \
	do {                                                                             \
		if (!(condition)) {                                                      \
			fprintf(stderr, "%d: broken: %s\n", __LINE__, #condition);       \
			abort();                                                         \
		}                                                                        \
	} while (0)

struct shared {
	struct kit *kit;
	struct drvq q;
	struct drvq_slot slots[DRVQ_SIZE_MAX];
	sem_t kick, interrupt;
	unsigned long total; /* chains to send */
	unsigned long kicks, interrupts;
	struct {
		uint64_t in, out;
		uint64_t sent; /* what the driver wrote into `in` */
		bool busy;
	} data[CHAINS_MAX]; /* buffers, at KIT_DATA for the device */
};

/* ---- device ---- */

static uint64_t *host(struct shared *s, uint64_t addr)
{
	return (uint64_t *)((char *)s->data + (addr - KIT_DATA));
}

static bool serve_some(struct shared *s, unsigned long *done)
{
	struct viommu_virtq *vq = &s->kit->vq;
	struct viommu_virtq_buf bufs[2];
	struct viommu_chain held = {0}, chain;
	bool any = false;

	viommu_virtq_begin(vq);
	while (viommu_virtq_pop(vq, &chain, bufs, 2) == 1) {
		CHECK(chain.buf_nr == 2);
		*host(s, bufs[1].addr) = *host(s, bufs[0].addr) * 3 + 1;
		any = true;
		++*done;
		/* Every other one is given back after its successor. */
		if (!held.ring_slots && *done % 2) {
			held = chain;
			continue;
		}
		CHECK(viommu_virtq_push(vq, &chain, 8) == 0);
		if (held.ring_slots)
			CHECK(viommu_virtq_push(vq, &held, 8) == 0);
		held.ring_slots = 0;
	}
	if (held.ring_slots)
		CHECK(viommu_virtq_push(vq, &held, 8) == 0);
	if (viommu_virtq_publish(vq)) {
		s->interrupts++;
		sem_post(&s->interrupt);
	}
	return any;
}

static void *device_main(void *arg)
{
	struct shared *s = arg;
	unsigned long done = 0;

	while (done < s->total) {
		if (serve_some(s, &done))
			continue;
		if (viommu_virtq_enable_notify(&s->kit->vq))
			continue;
		sem_wait(&s->kick);
		if (done % 3 == 0)
			viommu_virtq_disable_notify(&s->kit->vq);
	}
	return NULL;
}

/* ---- driver ---- */

static void complete(struct shared *s, const struct drvq_used *used)
{
	unsigned long i = (unsigned long)(uintptr_t)used->cookie;

	assert_true(s->data[i].busy);
	assert_int_equal(used->len, 8);
	assert_int_equal(s->data[i].out, s->data[i].sent * 3 + 1);
	s->data[i].busy = false;
}

static unsigned long collect(struct shared *s)
{
	struct drvq_used used;
	unsigned long nr = 0;
	int r;

	while ((r = drvq_poll(&s->q, &used)) == 1) {
		complete(s, &used);
		nr++;
	}
	assert_int_equal(r, 0);
	return nr;
}

static bool send_one(struct shared *s, struct rng *rng)
{
	struct drvq_buf bufs[2];
	unsigned i = 0;

	while (i < CHAINS_MAX && s->data[i].busy)
		i++;
	if (i == CHAINS_MAX)
		return false;
	s->data[i].sent = s->data[i].in = rng_next(rng);
	bufs[0] = (struct drvq_buf){KIT_DATA + sizeof(s->data[0]) * i, 8};
	bufs[1] = (struct drvq_buf){bufs[0].addr + 8, 8};
	if (drvq_add(&s->q, bufs, 1, 1, (void *)(uintptr_t)i))
		return false;
	s->data[i].busy = true;
	return true;
}

static void send_all(struct shared *s, struct rng *rng)
{
	unsigned long sent = 0, done = 0;

	while (done < s->total) {
		unsigned burst = 1 + (unsigned)rng_below(rng, 20);

		while (sent < s->total && burst-- && send_one(s, rng))
			sent++;
		if (drvq_publish(&s->q)) {
			s->kicks++;
			sem_post(&s->kick);
		}
		done += collect(s);
		if (done == s->total || rng_chance(rng, 30))
			continue;
		if (drvq_out_nr(&s->q) && !drvq_enable_notify(&s->q))
			sem_wait(&s->interrupt);
		if (rng_chance(rng, 50))
			drvq_disable_notify(&s->q);
	}
}

static void run(uint16_t size, bool packed, bool event_idx, uint16_t table_nr)
{
	struct shared *s = calloc(1, sizeof(*s));
	struct rng rng = rng_init(test_seed());
	struct drvq_config cfg;
	pthread_t device;
	uint8_t *ram;

	assert_non_null(s);
	s->kit = kit_create_ring(size, packed, event_idx, table_nr > 0);
	ram = s->kit->pieces[0].hva;
	cfg = (struct drvq_config){
		.size = size,
		.packed = packed,
		.event_idx = event_idx,
		.desc = ram + (KIT_DESC - KIT_BASE),
		.driver = ram + (KIT_DRIVER - KIT_BASE),
		.device = ram + (KIT_DEVICE - KIT_BASE),
		.slots = s->slots,
		.tables = ram + (KIT_TABLES - KIT_BASE),
		.tables_dma = KIT_TABLES,
		.table_nr = table_nr,
	};
	assert_int_equal(drvq_init(&s->q, &cfg), 0);
	sem_init(&s->kick, 0, 0);
	sem_init(&s->interrupt, 0, 0);
	s->total = size < 8 ? 4000 : 20000;
	assert_int_equal(pthread_create(&device, NULL, device_main, s), 0);
	send_all(s, &rng);
	pthread_join(device, NULL);
	printf("%s%s%s: %lu chains, %lu kicks, %lu interrupts\n",
	       packed ? "packed" : "split", event_idx ? " event_idx" : "",
	       table_nr ? " indirect" : "", s->total, s->kicks, s->interrupts);
	sem_destroy(&s->kick);
	sem_destroy(&s->interrupt);
	kit_destroy(s->kit);
	free(s);
}

static void split_threads(void **state)
{
	(void)state;
	run(64, false, false, 0);
	run(64, false, true, 4);
	run(2, false, true, 0);
}

static void packed_threads(void **state)
{
	(void)state;
	run(64, true, false, 0);
	run(33, true, true, 4);
	run(3, true, true, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_threads),
		cmocka_unit_test(packed_threads),
	};

	return cmocka_run_group_tests_name("virtq threads", tests, NULL, NULL);
}
