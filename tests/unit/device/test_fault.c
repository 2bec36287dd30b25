/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The queue of faults: order, limits, rate, and several threads at once. */
#include <errno.h>
#include <pthread.h>

#include "base/atomic.h"
#include "device/device.h"
#include "device_kit.h"
#include "fake_space.h"

#define SECOND 1000000000ull
#define START  (100 * SECOND)

static struct fault_queue *new_queue(void)
{
	return calloc(1, sizeof(struct fault_queue));
}

static int put(struct fault_queue *q, uint32_t endpoint, uint32_t rate, uint64_t now)
{
	struct proto_fault fault = {.endpoint = endpoint, .address = now};

	return fault_queue_put(q, &fault, rate, now);
}

static void keeps_the_order(void **state)
{
	struct fault_queue *q = new_queue();

	(void)state;
	for (uint32_t round = 0; round < 5; round++) {
		assert_null(fault_queue_peek(q));
		for (uint32_t i = 0; i < 100; i++)
			assert_int_equal(put(q, i, 1000, START + round), 0);
		for (uint32_t i = 0; i < 100; i++) {
			assert_int_equal(fault_queue_peek(q)->endpoint, i);
			assert_int_equal(fault_queue_peek(q)->endpoint, i);
			fault_queue_drop(q);
		}
	}
	free(q);
}

static void holds_as_many_as_it_may(void **state)
{
	struct fault_queue *q = new_queue();

	(void)state;
	for (uint32_t i = 0; i < LIMIT_FAULTS_PENDING; i++)
		assert_int_equal(put(q, 1, LIMIT_FAULT_RATE, START), 0);
	assert_int_equal(put(q, 1, LIMIT_FAULT_RATE, START), -ENOSPC);
	fault_queue_drop(q);
	assert_int_equal(put(q, 1, LIMIT_FAULT_RATE, START), 0);
	assert_int_equal(put(q, 1, LIMIT_FAULT_RATE, START), -ENOSPC);
	free(q);
}

/* A second's worth at once, then one each time one is due. */
static void limits_the_rate(void **state)
{
	struct fault_queue *q = new_queue();
	uint64_t now = START;

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(put(q, 7, 100, now), 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(put(q, 7, 100, now), -EAGAIN);
		now += SECOND / 100 - 1000;
		assert_int_equal(put(q, 7, 100, now), -EAGAIN);
		now += 1000;
		assert_int_equal(put(q, 7, 100, now), 0);
		assert_int_equal(put(q, 8, 100, now), 0); /* another's is its own */
		fault_queue_drop(q);
		fault_queue_drop(q);
	}
	now += 10 * SECOND; /* idle: the whole second's worth is back, no more */
	for (int i = 0; i < 100; i++)
		assert_int_equal(put(q, 7, 100, now), 0);
	assert_int_equal(put(q, 7, 100, now), -EAGAIN);
	free(q);
}

/* The clock is kept modulo 2^32 us: nothing happens where it wraps. */
static void limits_the_rate_where_the_clock_wraps(void **state)
{
	struct fault_queue *q = new_queue();
	uint64_t now = (1ull << 32) * 1000 - SECOND / 2;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(put(q, 7, 10, now), 0);
	assert_int_equal(put(q, 7, 10, now), -EAGAIN);
	for (int i = 0; i < 10; i++) {
		now += SECOND / 10;
		assert_int_equal(put(q, 7, 10, now), 0);
		assert_int_equal(put(q, 7, 10, now), -EAGAIN);
	}
	free(q);
}

static void one_event_a_second(void **state)
{
	struct fault_queue *q = new_queue();

	(void)state;
	assert_int_equal(put(q, 7, 1, START), 0);
	assert_int_equal(put(q, 7, 1, START + SECOND - 1000), -EAGAIN);
	assert_int_equal(put(q, 7, 1, START + SECOND), 0);
	free(q);
}

static void knows_so_many_sources(void **state)
{
	struct fault_queue *q = new_queue();

	(void)state;
	for (uint32_t id = 0; id < LIMIT_FAULT_SOURCES; id++) {
		assert_int_equal(put(q, id * 977, 10, START), 0);
		fault_queue_drop(q);
	}
	assert_int_equal(put(q, 12345, 10, START), -EAGAIN);
	for (uint32_t id = 0; id < LIMIT_FAULT_SOURCES; id++) { /* still known */
		assert_int_equal(put(q, id * 977, 10, START), 0);
		fault_queue_drop(q);
	}
	assert_int_equal(put(q, 12345, 10, START + SECOND), 0);
	free(q);
}

static void counts_what_it_does_not_report(void **state)
{
	struct viommu_device_config config = {.fault_rate = 3};
	struct viommu_device_stats stats;
	struct device_kit kit;
	uint8_t event[24];
	struct space *space;

	(void)state;
	device_kit_init(&kit, &config);
	space = kit.dev->space;
	device_kit_endpoint(&kit, 1, NULL, 0);
	for (int i = 0; i < 5; i++)
		fake_space_fault(space, 1, 0x1000, VIRTIO_IOMMU_FAULT_R_MAPPING);
	fake_space_fault(space, 9, 0, 77); /* no such endpoint, odd reason */
	assert_int_equal(kit.wakes, 1);	   /* once, until processed */
	viommu_device_process(kit.dev, 1);
	fake_space_fault(space, 1, 0x1000, VIRTIO_IOMMU_FAULT_R_DOMAIN);
	assert_int_equal(kit.wakes, 1);
	kit.now_ns += SECOND;
	fake_space_fault(space, 1, 0x1000, VIRTIO_IOMMU_FAULT_R_DOMAIN);
	assert_int_equal(kit.wakes, 2);
	for (int i = 0; i < 4; i++)
		assert_true(viommu_device_next_event(kit.dev, event));
	assert_false(viommu_device_next_event(kit.dev, event));
	stats = device_kit_stats(&kit);
	assert_int_equal(stats.faults[VIRTIO_IOMMU_FAULT_R_UNKNOWN], 1);
	assert_int_equal(stats.faults[VIRTIO_IOMMU_FAULT_R_DOMAIN], 2);
	assert_int_equal(stats.faults[VIRTIO_IOMMU_FAULT_R_MAPPING], 5);
	assert_int_equal(stats.events_sent, 4);
	assert_int_equal(stats.events_limited, 3);
	/* The owner is told of all that were taken, whoever they name. */
	assert_int_equal(kit.faults_told, 5);
	assert_int_equal(kit.last_fault.endpoint, 1);
	assert_int_equal(kit.last_fault.reason, VIRTIO_IOMMU_FAULT_R_DOMAIN);
	assert_int_equal(kit.last_fault.address, 0x1000);
	assert_int_equal(stats.events_dropped, 1);
	device_kit_done(&kit);
}

static void reset_forgets_faults(void **state)
{
	struct device_kit kit;
	uint8_t event[24];

	(void)state;
	device_kit_init(&kit, NULL);
	device_kit_endpoint(&kit, 1, NULL, 0);
	fake_space_fault(kit.dev->space, 1, 0, VIRTIO_IOMMU_FAULT_R_MAPPING);
	viommu_device_reset(kit.dev);
	assert_false(viommu_device_next_event(kit.dev, event));
	assert_int_equal(device_kit_stats(&kit).events_dropped, 1);
	device_kit_done(&kit);
}

/* ---- threads ---- */

#define THREADS	   3u
#define PER_THREAD 20000u

struct producer {
	struct fault_queue *q;
	uint32_t id;
	uint32_t taken; /* as put said */
};

static void *produce(void *opaque)
{
	struct producer *p = opaque;

	for (uint32_t i = 0; i < PER_THREAD; i++) {
		struct proto_fault fault = {.endpoint = p->id,
					    .flags = i,
					    .address = (uint64_t)i * (p->id + 1)};

		/* time goes on fast enough for the rate not to matter */
		if (!fault_queue_put(p->q, &fault, LIMIT_FAULT_RATE, START + i * 1000u))
			p->taken++;
	}
	return NULL;
}

/* Whole faults, each thread's in its order, none twice, none lost that was taken. */
static void many_threads(void **state)
{
	struct fault_queue *q = new_queue();
	struct producer p[THREADS];
	pthread_t thread[THREADS];
	uint32_t next[THREADS] = {0}, got[THREADS] = {0};
	unsigned idle = 0;

	(void)state;
	for (uint32_t i = 0; i < THREADS; i++) {
		p[i] = (struct producer){.q = q, .id = i};
		assert_int_equal(pthread_create(&thread[i], NULL, produce, &p[i]), 0);
	}
	while (idle < 2) {
		const struct proto_fault *fault = fault_queue_peek(q);

		if (!fault) { /* once more after all have ended */
			if (!idle)
				for (uint32_t i = 0; i < THREADS; i++)
					pthread_join(thread[i], NULL);
			idle++;
			continue;
		}
		assert_true(fault->endpoint < THREADS);
		assert_true(fault->flags >= next[fault->endpoint]);
		assert_true(fault->address ==
			    (uint64_t)fault->flags * (fault->endpoint + 1));
		next[fault->endpoint] = fault->flags + 1;
		got[fault->endpoint]++;
		fault_queue_drop(q);
		if (idle)
			idle = 1;
	}
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(got[i], p[i].taken);
	free(q);
}

/*
 * Regression, for the thread sanitizer: at the brim the unit of room and the ticket
 * of one producer may come from different sides of a drop. One that took its unit
 * before the drop and its ticket after somebody who took the unit of that drop got
 * the cell just given back, with nothing that ordered it after the consumer's read.
 */
#define BRIM_THREADS 6u
#define BRIM_DROPS   100000u

struct brim {
	struct fault_queue *q;
	uint32_t *stop; /* atomic */
};

static void *press(void *opaque)
{
	struct brim *b = opaque;
	uint64_t now = START;

	/* relaxed: the join orders what matters */
	while (!load_relaxed(b->stop)) {
		put(b->q, 1, LIMIT_FAULT_RATE, now);
		now += SECOND; /* so that the rate does not matter */
	}
	return NULL;
}

static void a_full_queue_under_pressure(void **state)
{
	uint32_t stop = 0;
	struct brim b = {.q = new_queue(), .stop = &stop};
	pthread_t thread[BRIM_THREADS];

	(void)state;
	for (uint32_t i = 0; i < BRIM_THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, press, &b), 0);
	for (uint32_t drops = 0; drops < BRIM_DROPS;) {
		if (!fault_queue_peek(b.q))
			continue;
		fault_queue_drop(b.q);
		drops++;
	}
	store_relaxed(&stop, 1); /* relaxed: see press() */
	for (uint32_t i = 0; i < BRIM_THREADS; i++)
		pthread_join(thread[i], NULL);
	free(b.q);
}

static void *record(void *opaque)
{
	struct device_kit *kit = opaque;

	for (unsigned i = 0; i < 2000; i++)
		fake_space_fault(kit->dev->space, 1, i, VIRTIO_IOMMU_FAULT_R_MAPPING);
	return NULL;
}

/* No sleeping consumer is left behind: a wake follows each fault that may have
 * been missed. */
static void faults_while_processing(void **state)
{
	struct viommu_device_config config = {.fault_rate = LIMIT_FAULT_RATE};
	struct viommu_device_stats stats;
	pthread_t thread[THREADS];
	struct device_kit kit;
	uint8_t event[24];
	uint64_t taken = 0;

	(void)state;
	device_kit_init(&kit, &config);
	kit.dev->ops.fault = NULL; /* the kit's is for one thread */
	device_kit_endpoint(&kit, 1, NULL, 0);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, record, &kit), 0);
	for (unsigned i = 0; i < 20000; i++) {
		viommu_device_process(kit.dev, 8);
		taken += viommu_device_next_event(kit.dev, event);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	viommu_device_process(kit.dev, 8);
	while (viommu_device_next_event(kit.dev, event))
		taken++;
	stats = device_kit_stats(&kit);
	assert_int_equal(stats.faults[VIRTIO_IOMMU_FAULT_R_MAPPING], THREADS * 2000);
	assert_int_equal(taken + stats.events_dropped + stats.events_limited,
			 THREADS * 2000);
	assert_int_equal(stats.events_sent, taken);
	device_kit_done(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_order),
		cmocka_unit_test(holds_as_many_as_it_may),
		cmocka_unit_test(limits_the_rate),
		cmocka_unit_test(limits_the_rate_where_the_clock_wraps),
		cmocka_unit_test(one_event_a_second),
		cmocka_unit_test(knows_so_many_sources),
		cmocka_unit_test(counts_what_it_does_not_report),
		cmocka_unit_test(reset_forgets_faults),
		cmocka_unit_test(many_threads),
		cmocka_unit_test(a_full_queue_under_pressure),
		cmocka_unit_test(faults_while_processing),
	};

	return cmocka_run_group_tests_name("device faults", tests, NULL, NULL);
}
