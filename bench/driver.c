/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * driver [-o FILE] [-r ROUNDS] [-t MS] [-s] [-c LINE]...
 * driver [-s] -n OPS -c LINE
 * driver -l
 * -s: split rings; -c: this line of the table only (0: the first); may be given again
 * -n: so many operations in one thread, the device works where the driver waits: for
 *     tools that count instructions and lines (tools/bench-driver-lines, callgrind)
 * -l: what a cache line takes from one CPU to the other
 *
 * The published matrix of modes in one process: driver threads map a buffer, an
 * emulated disk on the device thread copies it through the DMA API, the driver
 * unmaps. Each thread keeps DEPTH operations in flight and submits up to SUBMIT of
 * them together, which with +map is one wait. Buffers of 64 KiB come in one
 * piece, and in a second set of rows as 16 scattered pages. Cells take turns, ROUNDS
 * times over; the table and the file have medians and the spread (highest less lowest, of
 * the median).
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "driver_rig.h"

#define DEPTH	    16u
#define SUBMIT	    8u	/* operations submitted together */
#define BUFFERS	    64u /* of a thread, used in turns: more than caches hold */
#define ROUNDS_MAX  51u
#define EXTRAS_NR   5u /* runs of what is not in the matrix */
#define SAMPLES_MAX (1u << 20)
#define RW	    (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define PAGE	    4096u

enum path { PATH_NONE, PATH_BYPASS, PATH_DOMAIN };

static const struct mode {
	const char *name;
	enum path path;
	enum viommu_drv_mode mode;
	bool sync_map;
} modes[] = {
	{"none", PATH_NONE, VIOMMU_DRV_STRICT, true},
	{"bypass", PATH_BYPASS, VIOMMU_DRV_STRICT, true},
	{"lazy single +map", PATH_DOMAIN, VIOMMU_DRV_LAZY_SINGLE, true},
	{"lazy per-CPU +map", PATH_DOMAIN, VIOMMU_DRV_LAZY_CPU, true},
	{"lazy single", PATH_DOMAIN, VIOMMU_DRV_LAZY_SINGLE, false},
	{"lazy per-CPU", PATH_DOMAIN, VIOMMU_DRV_LAZY_CPU, false},
	{"strict +map", PATH_DOMAIN, VIOMMU_DRV_STRICT, true},
	{"strict", PATH_DOMAIN, VIOMMU_DRV_STRICT, false},
};
#define MODES_NR (sizeof(modes) / sizeof(modes[0]))

static const unsigned threads_of[] = {1, 4};
static const unsigned size_of[] = {65536, 4096};

/* One round of one cell. */
struct result {
	double ops_per_s, p50_us, p99_us;
	double requests_per_op, notifications_per_op, unmaps_per_op, window_ms;
};

struct cell {
	const struct mode *mode;
	unsigned threads, size, pieces;
	bool chosen; /* to be measured */
	struct result round[ROUNDS_MAX];
};

struct worker {
	struct rig *rig;
	const struct cell *cell;
	unsigned index, pieces_nr;
	uint64_t end_ns;  /* of the round, or */
	uint64_t ops_max; /* operations to do, 0: no count */
	uint64_t ops;
	uint32_t *sample; /* ns, of the first SAMPLES_MAX operations */
	unsigned samples_nr;
	struct {
		struct viommu_drv_sg sg[RIG_PIECES_MAX];
		uint64_t started_ns;
	} op[BUFFERS];
	int error;
};

/* ---- one thread ---- */

static int map_op(struct worker *w, unsigned slot, struct viommu_drv_batch *batch)
{
	struct viommu_drv_sg *sg = w->op[slot].sg;

	if (w->cell->mode->path != PATH_NONE)
		return viommu_drv_dma_queue_sg(w->rig->drv_ep, sg, w->pieces_nr, RW,
					       batch);
	for (unsigned i = 0; i < w->pieces_nr; i++)
		sg[i].iova = sg[i].pa;
	return 0;
}

static void post(struct worker *w, unsigned slot, uint32_t number)
{
	struct rig_ring *ring = &w->rig->ring[w->index];
	struct rig_command *c = &ring->command[number % RIG_RING];

	for (unsigned i = 0; i < w->pieces_nr; i++)
		c->iova[i] = w->op[slot].sg[i].iova;
	c->pieces_nr = w->pieces_nr;
	c->len = (uint32_t)w->op[slot].sg[0].len;
	/* Pairs with the acquire in serve_disk(): the command is whole. */
	store_release(&ring->posted, number + 1);
}

static int unmap_op(struct worker *w, unsigned slot)
{
	if (w->cell->mode->path == PATH_NONE)
		return 0;
	return viommu_drv_dma_unmap_sg(w->rig->drv_ep, w->op[slot].sg, w->pieces_nr);
}

static void finish(struct worker *w, unsigned slot)
{
	uint64_t now;
	int r = unmap_op(w, slot);

	now = rig_now();
	if (r)
		w->error = r;
	if (w->samples_nr < SAMPLES_MAX)
		w->sample[w->samples_nr++] = (uint32_t)(now - w->op[slot].started_ns);
	w->ops++;
}

static void prepare(struct worker *w, const uint64_t *pa)
{
	unsigned each = w->cell->size / w->pieces_nr;

	for (unsigned d = 0; d < BUFFERS; d++)
		for (unsigned i = 0; i < w->pieces_nr; i++)
			/* Apart from one another: no two can be one mapping. */
			w->op[d].sg[i] = (struct viommu_drv_sg){
				.pa = pa[d] + 2ull * i * each,
				.len = each,
			};
}

/* Maps and posts as many operations as there is room for; returns how many. */
static unsigned submit(struct worker *w, uint32_t posted, unsigned room)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	unsigned nr = room < SUBMIT ? room : SUBMIT;
	int r = 0;

	for (unsigned i = 0; !r && i < nr; i++) {
		w->op[(posted + i) % BUFFERS].started_ns = rig_now();
		r = map_op(w, (posted + i) % BUFFERS, &batch);
	}
	if (!r)
		r = viommu_drv_sync(w->rig->drv, &batch);
	w->error = r;
	for (unsigned i = 0; !r && i < nr; i++)
		post(w, (posted + i) % BUFFERS, posted + i);
	return r ? 0 : nr;
}

static void *work(void *opaque)
{
	struct worker *w = opaque;
	struct rig_ring *ring = &w->rig->ring[w->index];
	uint32_t posted = ring->posted, reaped = posted;
	bool more = true;

	rig_pin(0);
	rig_set_cpu(w->index);
	while (more || posted != reaped) {
		/* Pairs with the release in serve_disk(): the status is there. */
		uint32_t done = load_acquire(&ring->done);

		for (; reaped != done; reaped++) {
			w->error = w->error ? w->error
					    : ring->command[reaped % RIG_RING].status;
			finish(w, reaped % BUFFERS);
		}
		more = more && !w->error &&
		       (w->ops_max ? w->ops < w->ops_max : rig_now() < w->end_ns);
		if (more && DEPTH - (posted - reaped) >= SUBMIT)
			posted += submit(w, posted, DEPTH - (posted - reaped));
		else
			rig_idle(w->rig);
		rig_tick(w->rig);
	}
	return NULL;
}

/* ---- one round of a cell ---- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void percentiles(struct worker *w, unsigned nr, struct result *out)
{
	static uint32_t all[RIG_THREADS_MAX * SAMPLES_MAX];
	size_t n = 0;

	for (unsigned i = 0; i < nr; i++) {
		memcpy(all + n, w[i].sample, w[i].samples_nr * sizeof(*all));
		n += w[i].samples_nr;
	}
	if (!n)
		return;
	qsort(all, n, sizeof(*all), compare_u32);
	out->p50_us = all[n / 2] / 1e3;
	out->p99_us = all[n * 99 / 100] / 1e3;
}

static struct viommu_drv_domain *enter_mode(struct rig *rig, const struct mode *mode)
{
	const struct viommu_drv_domain_config config = {
		.bypass = mode->path == PATH_BYPASS,
		.mode = mode->mode,
		.no_sync_map = !mode->sync_map,
	};
	struct viommu_drv_domain *domain;

	rig->dma = mode->path == PATH_NONE ? rig->dma_direct : rig->dma_behind;
	if (mode->path == PATH_NONE)
		return NULL;
	if (viommu_drv_domain_create(rig->drv, &config, &domain) ||
	    viommu_drv_attach(domain, rig->drv_ep))
		abort();
	return domain;
}

/* Runs all threads for a while; operations done. */
static uint64_t run_workers(struct cell *cell, struct worker *w, unsigned ms)
{
	pthread_t thread[RIG_THREADS_MAX];
	uint64_t ops = 0;

	uint64_t end = rig_now() + ms * 1000000ull;

	for (unsigned i = 0; i < cell->threads; i++) {
		w[i].ops = w[i].samples_nr = 0;
		w[i].end_ns = end;
		if (pthread_create(&thread[i], NULL, work, &w[i]))
			abort();
	}
	for (unsigned i = 0; i < cell->threads; i++) {
		pthread_join(thread[i], NULL);
		ops += w[i].ops;
		if (w[i].error) {
			fprintf(stderr, "%s: error %d\n", cell->mode->name, w[i].error);
			exit(1);
		}
	}
	return ops;
}

static void run_round(struct rig *rig, struct cell *cell, struct worker *w, unsigned ms,
		      struct result *out)
{
	struct viommu_drv_domain *domain = enter_mode(rig, cell->mode);
	struct viommu_drv_stats before, after;
	struct viommu_drv_dma_stats dma = {0};
	uint64_t ops, start;
	double seconds;

	/* Caches and address stocks are as in the middle of a long run. */
	run_workers(cell, w, ms / 4 + 1);
	viommu_drv_get_stats(rig->drv, &before);
	start = rig_now();
	ops = run_workers(cell, w, ms);
	seconds = (double)(rig_now() - start) / 1e9;
	if (domain && cell->mode->path == PATH_DOMAIN)
		viommu_drv_dma_flush(domain);
	viommu_drv_get_stats(rig->drv, &after);
	if (domain)
		viommu_drv_dma_get_stats(domain, &dma);
	percentiles(w, cell->threads, out);
	out->ops_per_s = (double)ops / seconds;
	out->requests_per_op = (double)(after.requests - before.requests) / (double)ops;
	out->unmaps_per_op = (double)(after.unmaps - before.unmaps) / (double)ops;
	out->notifications_per_op =
		(double)(after.notifications - before.notifications) / (double)ops;
	out->window_ms = (double)dma.window_ns / 1e6;
	if (domain) {
		if (viommu_drv_detach(rig->drv_ep))
			abort();
		viommu_drv_domain_destroy(domain);
	}
}

/* ---- one page, nothing in flight ---- */

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Median of map and unmap of one page, strict, in us. */
static double strict_page_us(struct rig *rig, uint64_t pa)
{
	enum { NR = 20000 };
	static uint64_t ns[NR];
	struct viommu_drv_domain *domain = enter_mode(rig, &modes[6]);

	rig_pin(0);
	for (unsigned i = 0; i < NR; i++) {
		uint64_t start = rig_now(), iova;

		if (viommu_drv_dma_map(rig->drv_ep, pa, PAGE, RW, &iova) ||
		    viommu_drv_dma_unmap(rig->drv_ep, iova, PAGE))
			abort();
		ns[i] = rig_now() - start;
	}
	qsort(ns, NR, sizeof(*ns), compare_u64);
	viommu_drv_detach(rig->drv_ep);
	viommu_drv_domain_destroy(domain);
	return (double)ns[NR / 2] / 1e3;
}

/* 64 GiB of static maps in pieces of `each`: set-up and teardown in us. */
static void map_static(struct rig *rig, uint64_t each, double *up_us, double *down_us)
{
	const uint64_t all = 64ull << 30;
	struct viommu_drv_domain *domain = enter_mode(rig, &modes[6]);
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	uint64_t start = rig_now();

	/* Every other address, so that nothing can merge. */
	for (uint64_t at = 0; at < all; at += each)
		if (viommu_drv_map(domain, 2 * at, 2 * at + each - 1, at, RW, &batch))
			abort();
	if (viommu_drv_sync(rig->drv, &batch))
		abort();
	*up_us = (double)(rig_now() - start) / 1e3;
	start = rig_now();
	if (viommu_drv_unmap(domain, 0, UINT64_MAX, &batch) < 0 ||
	    viommu_drv_sync(rig->drv, &batch))
		abort();
	*down_us = (double)(rig_now() - start) / 1e3;
	viommu_drv_detach(rig->drv_ep);
	viommu_drv_domain_destroy(domain);
}

/* ---- results ---- */

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The median of one field over the rounds, and its spread. */
static double median(const struct cell *cell, unsigned rounds, size_t field,
		     double *spread)
{
	double v[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++)
		v[i] = *(const double *)((const char *)&cell->round[i] + field);
	qsort(v, rounds, sizeof(*v), compare_double);
	if (spread)
		*spread = v[rounds / 2] > 0 ? (v[rounds - 1] - v[0]) / v[rounds / 2] : 0;
	return v[rounds / 2];
}

#define MEDIAN(cell, rounds, field)                                                      \
	median(cell, rounds, offsetof(struct result, field), NULL)

/* The median of the rounds' own shares: each against its neighbour in time. */
static double share(const struct cell *cell, const struct cell *none, unsigned rounds)
{
	double v[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++)
		v[i] = cell->round[i].ops_per_s / none->round[i].ops_per_s;
	qsort(v, rounds, sizeof(*v), compare_double);
	return v[rounds / 2];
}

static void print_row(FILE *json, const struct cell *cell, const struct cell *none,
		      unsigned rounds, bool last)
{
	double spread,
		ops = median(cell, rounds, offsetof(struct result, ops_per_s), &spread);

	printf("%-18s %7u %6u %11.0f %5.0f %% %6.1f %% %9.1f %9.1f %8.3f %8.3f %7.3f "
	       "%9.2f\n",
	       cell->mode->name, cell->threads, cell->size, ops, spread * 100,
	       share(cell, none, rounds) * 100, MEDIAN(cell, rounds, p50_us),
	       MEDIAN(cell, rounds, p99_us), MEDIAN(cell, rounds, requests_per_op),
	       MEDIAN(cell, rounds, unmaps_per_op),
	       MEDIAN(cell, rounds, notifications_per_op),
	       MEDIAN(cell, rounds, window_ms));
	if (!json)
		return;
	fprintf(json,
		"  {\"mode\": \"%s\", \"threads\": %u, \"size\": %u, \"ops_per_s\": "
		"%.1f, "
		"\"share_of_none\": %.4f, \"p50_us\": %.3f, \"p99_us\": %.3f, "
		"\"requests_per_op\": %.4f, \"notifications_per_op\": %.4f, "
		"\"window_ms\": %.4f}%s\n",
		cell->mode->name, cell->threads, cell->size, ops,
		share(cell, none, rounds), MEDIAN(cell, rounds, p50_us),
		MEDIAN(cell, rounds, p99_us), MEDIAN(cell, rounds, requests_per_op),
		MEDIAN(cell, rounds, notifications_per_op),
		MEDIAN(cell, rounds, window_ms), last ? "" : ",");
}

/* What has no place in a row. */
static void print_detail(FILE *json, const struct cell *cell, unsigned rounds, bool last)
{
	double spread;

	median(cell, rounds, offsetof(struct result, ops_per_s), &spread);
	fprintf(json,
		"  {\"mode\": \"%s\", \"threads\": %u, \"size\": %u, \"pieces\": %u, "
		"\"spread\": %.4f, \"unmaps_per_op\": %.4f}%s\n",
		cell->mode->name, cell->threads, cell->size, cell->pieces, spread,
		MEDIAN(cell, rounds, unmaps_per_op), last ? "" : ",");
}

/* The matrix, then its 64 KiB half with scattered buffers. */
#define ROWS_NR	 (2 * 2 * MODES_NR)
#define CELLS_NR (ROWS_NR + 2 * MODES_NR)
static struct cell cells[CELLS_NR];

static void make_cells(void)
{
	for (unsigned n = 0; n < CELLS_NR; n++) {
		cells[n].mode = &modes[n % MODES_NR];
		cells[n].threads = threads_of[n / MODES_NR % 2];
		cells[n].size = n < ROWS_NR ? size_of[n / (2 * MODES_NR)] : 65536;
		cells[n].pieces = n < ROWS_NR ? 1 : RIG_PIECES_MAX;
	}
}

static void print_rows(FILE *json, unsigned from, unsigned to, unsigned rounds)
{
	for (unsigned i = from; i < to; i++)
		if (cells[i].chosen)
			print_row(json, &cells[i], &cells[i - i % MODES_NR], rounds,
				  i + 1 == to);
}

static void print_all(FILE *json, unsigned rounds)
{
	printf("%-18s %7s %6s %11s %7s %8s %9s %9s %8s %8s %7s %9s\n", "mode", "threads",
	       "size", "ops/s", "spread", "of none", "p50 us", "p99 us", "req/op",
	       "unmap/op", "ntf/op", "window ms");
	if (json)
		fprintf(json, " \"rows\": [\n");
	print_rows(json, 0, ROWS_NR, rounds);
	printf("the same, buffers of %u scattered pages\n", RIG_PIECES_MAX);
	if (json)
		fprintf(json, " ],\n \"scattered\": [\n");
	print_rows(json, ROWS_NR, CELLS_NR, rounds);
	if (!json)
		return;
	fprintf(json, " ],\n \"details\": [\n");
	for (unsigned i = 0; i < CELLS_NR; i++)
		print_detail(json, &cells[i], rounds, i + 1 == CELLS_NR);
	fprintf(json, " ],\n");
}

static void make_workers(struct rig *rig, struct worker *w)
{
	for (unsigned i = 0; i < RIG_THREADS_MAX; i++) {
		w[i].rig = rig;
		w[i].index = i;
		w[i].sample = malloc(SAMPLES_MAX * sizeof(*w[i].sample));
		if (!w[i].sample)
			abort();
	}
}

/* Buffers for each operation in flight, of the size of the cell. */
static void place_buffers(const struct cell *cell, struct worker *w,
			  uint64_t pa[RIG_THREADS_MAX][BUFFERS])
{
	for (unsigned i = 0; i < cell->threads; i++) {
		w[i].cell = cell;
		w[i].pieces_nr = cell->pieces;
		prepare(&w[i], pa[i]);
	}
}

/* The medians of that. */
static void static_maps(struct rig *rig, uint64_t each, double *up_us, double *down_us)
{
	double up[EXTRAS_NR], down[EXTRAS_NR];

	for (unsigned i = 0; i < EXTRAS_NR; i++)
		map_static(rig, each, &up[i], &down[i]);
	qsort(up, EXTRAS_NR, sizeof(*up), compare_double);
	qsort(down, EXTRAS_NR, sizeof(*down), compare_double);
	*up_us = up[EXTRAS_NR / 2];
	*down_us = down[EXTRAS_NR / 2];
}

static void print_extras(FILE *json, struct rig *rig, uint64_t pa)
{
	static const uint64_t each[] = {64ull << 30, 1ull << 30, 2ull << 20};
	double page[EXTRAS_NR], up, down;

	for (unsigned i = 0; i < EXTRAS_NR; i++)
		page[i] = strict_page_us(rig, pa);
	qsort(page, EXTRAS_NR, sizeof(*page), compare_double);
	printf("\nstrict map and unmap of one page: %.2f us (%.2f .. %.2f)\n",
	       page[EXTRAS_NR / 2], page[0], page[EXTRAS_NR - 1]);
	if (json)
		fprintf(json, " \"strict_page_us\": %.3f,\n \"static_64g\": [\n",
			page[EXTRAS_NR / 2]);
	for (unsigned i = 0; i < 3; i++) {
		static_maps(rig, each[i], &up, &down);
		printf("64 GiB in %llu requests: set up in %.1f us, taken down in %.1f "
		       "us\n",
		       (64ull << 30) / each[i], up, down);
		if (json)
			fprintf(json,
				"  {\"requests\": %llu, \"setup_us\": %.1f, "
				"\"teardown_us\": %.1f}%s\n",
				(64ull << 30) / each[i], up, down, i == 2 ? "" : ",");
	}
}

struct options {
	unsigned rounds, ms;
	const char *file;
	bool split;
	bool some;    /* only the chosen cells */
	bool line;    /* nothing but how long a cache line takes */
	uint64_t ops; /* to be counted in the first cell chosen; 0: measure */
};

static bool parse(int argc, char **argv, struct options *o)
{
	int opt;

	*o = (struct options){.rounds = 5, .ms = 60};
	make_cells();
	while ((opt = getopt(argc, argv, "o:r:t:sc:n:l")) != -1) {
		if (opt == 'o')
			o->file = optarg;
		else if (opt == 'r')
			o->rounds = (unsigned)atoi(optarg);
		else if (opt == 't')
			o->ms = (unsigned)atoi(optarg);
		else if (opt == 's')
			o->split = true;
		else if (opt == 'l')
			o->line = true;
		else if (opt == 'n')
			o->ops = strtoull(optarg, NULL, 0);
		else if (opt == 'c' && (unsigned)atoi(optarg) < CELLS_NR)
			o->some = cells[atoi(optarg)].chosen = true;
		else
			return false;
	}
	for (unsigned i = 0; !o->some && i < CELLS_NR; i++)
		cells[i].chosen = true;
	return o->rounds && o->rounds <= ROUNDS_MAX && o->ms && optind == argc &&
	       !(o->file && o->some) && (!o->ops || o->some);
}

/* Where what is on two sides lies, and the operations that were done. */
static void count(struct rig *rig, uint64_t ops)
{
	static struct worker worker[RIG_THREADS_MAX];
	static uint64_t pa[RIG_THREADS_MAX][BUFFERS];
	struct viommu_drv_domain *domain;
	struct cell *cell = cells;

	while (!cell->chosen)
		cell++;
	printf("code %p clock %p side %p disk %p memory %p", (void *)(uintptr_t)work,
	       (const void *)rig_clock(), (void *)&rig->side, (void *)rig->ring,
	       (void *)rig->memory);
	make_workers(rig, worker);
	for (unsigned d = 0; d < BUFFERS; d++)
		pa[0][d] = rig_memory(rig, 2 * 65536, PAGE);
	printf(" buffers %p\n", (void *)(rig->memory + pa[0][0]));
	fflush(stdout);
	domain = enter_mode(rig, cell->mode);
	worker[0].ops_max = ops;
	cell->threads = 1;
	place_buffers(cell, worker, pa);
	/* On this thread's stack, which is known to be nobody's business. */
	work(&worker[0]);
	if (worker[0].error)
		abort();
	printf("operations %llu\n", (unsigned long long)worker[0].ops);
	if (domain && viommu_drv_detach(rig->drv_ep))
		abort();
	viommu_drv_domain_destroy(domain);
	for (unsigned i = 0; i < RIG_THREADS_MAX; i++)
		free(worker[i].sample);
}

/* Cells take turns, forwards and backwards, so that what disturbs the machine meets all
 * of them. */
static void measure(struct rig *rig, const struct options *o)
{
	static struct worker workers[RIG_THREADS_MAX];
	static uint64_t pa[RIG_THREADS_MAX][BUFFERS];

	make_workers(rig, workers);
	for (unsigned i = 0; i < RIG_THREADS_MAX; i++)
		for (unsigned d = 0; d < BUFFERS; d++)
			pa[i][d] = rig_memory(rig, 2 * 65536, PAGE);
	for (unsigned round = 0; round < o->rounds; round++)
		for (unsigned i = 0; i < CELLS_NR; i++) {
			unsigned n = round & 1 ? CELLS_NR - 1 - i : i;
			struct cell *cell = &cells[n];

			if (!cell->chosen)
				continue;
			place_buffers(cell, workers, pa);
			run_round(rig, cell, workers, o->ms, &cell->round[round]);
		}
	for (unsigned i = 0; i < RIG_THREADS_MAX; i++)
		free(workers[i].sample);
}

int main(int argc, char **argv)
{
	struct options o;
	struct rig *rig;
	FILE *json = NULL;

	if (!parse(argc, argv, &o) || (o.file && !(json = fopen(o.file, "w")))) {
		fprintf(stderr, "usage: driver [-o FILE] [-r ROUNDS] [-t MS] [-s] [-c "
				"LINE]...\n       driver [-s] -n OPS -c LINE\n"
				"       driver -l\n");
		return 2;
	}
	if (o.line) {
		printf("a cache line to the other CPU: %.1f ns\n", rig_hop_ns());
		return 0;
	}
	rig = rig_create(o.split, o.ops);
	if (o.ops) {
		count(rig, o.ops);
		rig_destroy(rig);
		return 0;
	}
	measure(rig, &o);
	if (json)
		fprintf(json,
			"{\"rounds\": %u, \"ms\": %u, \"depth\": %u, \"ring\": \"%s\",\n",
			o.rounds, o.ms, DEPTH, o.split ? "split" : "packed");
	print_all(json, o.rounds);
	if (!o.some)
		print_extras(json, rig, rig_memory(rig, PAGE, PAGE));
	if (json) {
		fprintf(json, " ]}\n");
		fclose(json);
	}
	rig_destroy(rig);
	return 0;
}
