/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What a reader keeps of its rate while another thread maps and unmaps in the
 * same domain as fast as it can. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <viommu/dma.h>

#include "base/atomic.h"
#include "core_rig.h"

#define ROUNDS	     9u
#define MAPPINGS     4096u
#define HOT	     200u /* of them, translated */
#define TRANSLATIONS (1u << 20)
#define BASE	     0x10000000ull
#define WRITER	     0x8000000000ull
#define WRITER_PAGES 4096u

struct bench {
	struct core_rig rig;
	unsigned batch;		/* mappings that the writer removes together */
	bool go, running, stop; /* atomic */
	uint64_t pairs, writer_ns;
};

static int setup(struct bench *b)
{
	int rc = core_rig_init(&b->rig);

	for (uint64_t i = 0; i < MAPPINGS && !rc; i++)
		rc = space_map(b->rig.space, 1, BASE + i * 4096, BASE + i * 4096 + 4095,
			       i * 8192, VIOMMU_READ | VIOMMU_WRITE);
	return rc;
}

/* On processors of their own, else they take turns and do not meet. */
static void run_on(unsigned nr)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(nr, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Maps and unmaps pages, as the device does for a batch of requests of each kind:
 * the UNMAPs are answered together. */
static void write_batch(struct bench *b, uint64_t first)
{
	for (unsigned i = 0; i < b->batch; i++) {
		uint64_t iova = WRITER + (first + i * 61) % WRITER_PAGES * 4096;

		space_map(b->rig.space, 1, iova, iova + 4095, 0, VIOMMU_READ);
	}
	for (unsigned i = 0; i < b->batch; i++) {
		uint64_t iova = WRITER + (first + i * 61) % WRITER_PAGES * 4096;

		space_unmap_later(b->rig.space, 1, iova, iova + 4095);
	}
	space_settle(b->rig.space);
}

static void *writer(void *arg)
{
	struct bench *b = arg;
	uint64_t start = 0, done = 0;

	run_on(1);
	store_relaxed(&b->running, true);
	while (!load_relaxed(&b->stop)) {
		if (!load_relaxed(&b->go)) {
			cpu_relax();
			start = 0;
			continue;
		}
		if (!start)
			start = cpu_ns();
		write_batch(b, random64());
		done += b->batch;
		if (done < 1024)
			continue;
		b->pairs += done;
		done = 0;
		b->writer_ns += cpu_ns() - start;
		start = cpu_ns();
	}
	return NULL;
}

/* Million translations a second of this thread's CPU time. */
static double read_rate(struct bench *b, unsigned section)
{
	uint64_t start = cpu_ns(), sum = 0, x = 1;
	struct viommu_span span;

	for (unsigned i = 0; i < TRANSLATIONS / section; i++) {
		viommu_dma_begin(b->rig.dma);
		for (unsigned j = 0; j < section; j++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			if (!viommu_dma_reach(b->rig.dma, BASE + (x >> 33) % HOT * 4096,
					      8, VIOMMU_READ, &span))
				sum += (uintptr_t)span.hva;
		}
		viommu_dma_end(b->rig.dma);
	}
	keep(sum);
	return (double)TRANSLATIONS * 1000.0 / (double)(cpu_ns() - start);
}

struct readers_result measure_readers(unsigned section, unsigned batch)
{
	struct bench *b = calloc(1, sizeof(*b));
	double alone[ROUNDS], with[ROUNDS];
	struct readers_result r;
	pthread_t thread;

	b->batch = batch;
	if (setup(b))
		abort();
	run_on(0);
	read_rate(b, section); /* warm */
	for (unsigned i = 0; i < ROUNDS; i++)
		alone[i] = read_rate(b, section);
	pthread_create(&thread, NULL, writer, b);
	while (!load_relaxed(&b->running))
		sched_yield();
	store_relaxed(&b->go, true);
	for (unsigned i = 0; i < ROUNDS; i++)
		with[i] = read_rate(b, section);
	store_relaxed(&b->stop, true);
	pthread_join(thread, NULL);
	r = (struct readers_result){median(alone, ROUNDS), median(with, ROUNDS),
				    (double)b->pairs * 1000.0 /
					    (double)(b->writer_ns + 1)};
	core_rig_done(&b->rig);
	free(b);
	return r;
}
