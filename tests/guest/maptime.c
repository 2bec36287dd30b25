/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * How long VFIO type1 takes to map and to unmap, and how much of that is the
 * virtio-iommu's request queue. Three parts, each printed as KEY=VALUE lines:
 *
 * total   the two ioctls on one 4 KiB page, seen from outside: median, 99th
 *         percentile and minimum in ns. Nothing is traced.
 * share   the same again with the kernel's function_graph tracer on one leaf
 *         function at a time, so that the tracer's work for other functions
 *         is not inside what is measured. viommu_iotlb_sync_map and
 *         viommu_iotlb_sync are the request's round trip: kick, device, reply.
 *         vfio_pin_pages_remote and vfio_unpin_pages_remote are the pinning.
 *         floor_ns is what the tracer reports for a near-empty function,
 *         getppid(), called between the ioctls of each round, so that a mood of
 *         the machine falls on both; it is part of median_ns. Of two calls the
 *         second counts, which is the faster one. quiet_ns is leaf less floor
 *         in the tenth of the rounds with the least of both.
 * runs    no tracer: one ioctl over the same number of pages, once physically
 *         contiguous (one request) and once scattered (one request per run),
 *         both with 4 KiB page-table entries. The difference per run is one
 *         iommu_map: building a request, round trip and bookkeeping.
 */
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE	  4096ul
#define IOVA	  0x10000000ull
#define HUGE_LEN  (2ul << 20)
#define RUN_PAGES 256
#define TRACING	  "/sys/kernel/tracing/"
#define FLOOR	  "sys_getppid" /* with a prefix that depends on the kernel */
#define TENTHS	  10

static const char usage[] =
	"Usage: maptime --device ADDRESS [--count N] [--live N] [--part NAME]\n"
	"  --count N   rounds per figure (2000)\n"
	"  --live N    other mappings that exist meanwhile (0)\n"
	"  --part P    total, share or runs only\n"
	"The device must be bound to vfio-pci.\n";

struct times {
	uint64_t *map; /* ns, one per round */
	uint64_t *unmap;
	unsigned int nr;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t percentile(uint64_t *values, unsigned int nr, unsigned int percent)
{
	if (!nr)
		return 0;
	qsort(values, nr, sizeof(*values), compare);
	return values[(uint64_t)(nr - 1) * percent / 100];
}

static int times_init(struct times *t, unsigned int nr)
{
	t->map = calloc(nr, sizeof(*t->map));
	t->unmap = calloc(nr, sizeof(*t->unmap));
	t->nr = nr;
	return t->map && t->unmap ? 0 : -ENOMEM;
}

static void times_free(struct times *t)
{
	free(t->map);
	free(t->unmap);
}

/* Maps and unmaps len bytes t->nr times; beside each, two calls of FLOOR. */
static int measure(struct vfio *v, void *va, uint64_t len, struct times *t)
{
	uint64_t start, middle;
	unsigned int round;

	for (round = 0; round < t->nr; round++) {
		syscall(SYS_getppid);
		syscall(SYS_getppid);
		start = now_ns();
		if (vfio_map(v, va, IOVA, len, VFIO_RW))
			return -EIO;
		middle = now_ns();
		if (vfio_unmap(v, IOVA, len))
			return -EIO;
		t->map[round] = middle - start;
		t->unmap[round] = now_ns() - middle;
	}
	return 0;
}

static void print_times(const char *what, struct times *t)
{
	printf("part=%s count=%u map_ns=%" PRIu64 " map_p99_ns=%" PRIu64
	       " map_min_ns=%" PRIu64 " unmap_ns=%" PRIu64 " unmap_p99_ns=%" PRIu64
	       " unmap_min_ns=%" PRIu64 "\n",
	       what, t->nr, percentile(t->map, t->nr, 50), percentile(t->map, t->nr, 99),
	       percentile(t->map, t->nr, 0), percentile(t->unmap, t->nr, 50),
	       percentile(t->unmap, t->nr, 99), percentile(t->unmap, t->nr, 0));
}

/* ---- share: the function_graph tracer */

static int trace_write(const char *file, const char *text)
{
	char path[128];
	ssize_t done;
	int fd, ret = 0;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* A list is taken word by word. */
	for (done = 1; done > 0 && *text; text += done)
		done = write(fd, text, strlen(text));
	if (done < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Durations of the traced calls of one leaf function, in ns; at most max. */
static unsigned int trace_durations(const char *name, uint64_t *out, unsigned int max)
{
	FILE *trace = fopen(TRACING "trace", "r");
	char line[256], *unit, *number;
	unsigned int nr = 0;

	if (!trace)
		return 0;
	while (nr < max && fgets(line, sizeof(line), trace)) {
		unit = strstr(line, " us ");
		if (line[0] == '#' || !unit || !strstr(unit, name))
			continue;
		number = unit;
		while (number > line && strchr("0123456789.", number[-1]))
			number--;
		out[nr++] = (uint64_t)(strtod(number, NULL) * 1000 + 0.5);
	}
	fclose(trace);
	return nr;
}

/* What one traced run gave: the calls of the leaf and of FLOOR in it. */
struct traced {
	uint64_t *leaf, *floor; /* ns */
	unsigned int nr_leaf, nr_floor;
};

static int traced_init(struct traced *tr, unsigned int max)
{
	tr->leaf = calloc(max, sizeof(*tr->leaf));
	tr->floor = calloc(max, sizeof(*tr->floor));
	return tr->leaf && tr->floor ? 0 : -ENOMEM;
}

static void traced_free(struct traced *tr)
{
	free(tr->leaf);
	free(tr->floor);
}

/* Traces one function and FLOOR over t->nr rounds. */
static int trace_function(struct vfio *v, void *va, const char *name, struct times *t,
			  struct traced *tr)
{
	char filter[128];
	unsigned int i;
	int ret;

	snprintf(filter, sizeof(filter), "%s *" FLOOR, name);
	trace_write("current_tracer", "nop");
	trace_write("buffer_size_kb", "8192");
	ret = trace_write("set_ftrace_filter", filter);
	if (ret)
		return ret;
	ret = trace_write("current_tracer", "function_graph");
	if (ret)
		return ret;
	trace_write("trace", "");
	trace_write("tracing_on", "1");
	ret = measure(v, va, PAGE, t);
	trace_write("tracing_on", "0");
	tr->nr_leaf = trace_durations(name, tr->leaf, 4 * t->nr);
	tr->nr_floor = trace_durations(FLOOR, tr->floor, 4 * t->nr) / 2;
	for (i = 0; i < tr->nr_floor; i++)
		tr->floor[i] = tr->floor[2 * i + 1];
	trace_write("current_tracer", "nop");
	trace_write("set_ftrace_filter", "");
	return ret;
}

/* Leaf less floor in the tenth of the run with the least of both. Reorders both. */
static uint64_t quiet(struct traced *tr)
{
	unsigned int i, leaves = tr->nr_leaf / TENTHS, floors = tr->nr_floor / TENTHS;
	uint64_t best = UINT64_MAX, net = 0, leaf, floor;

	for (i = 0; i < TENTHS; i++) {
		leaf = percentile(tr->leaf + i * leaves, leaves, 50);
		floor = percentile(tr->floor + i * floors, floors, 50);
		if (leaf + floor >= best)
			continue;
		best = leaf + floor;
		net = leaf > floor ? leaf - floor : 0;
	}
	return net;
}

struct leaf {
	const char *function;
	const char *what;
};

static const struct leaf leaves[] = {
	{"viommu_iotlb_sync_map", "map_request"},
	{"viommu_map_pages", "map_build"},
	{"vfio_pin_pages_remote", "map_pin"},
	{"viommu_iotlb_sync", "unmap_request"},
	{"viommu_unmap_pages", "unmap_build"},
	{"vfio_unpin_pages_remote", "unmap_unpin"},
};

static int share(struct vfio *v, void *va, unsigned int count)
{
	const struct leaf *leaf;
	struct traced tr;
	struct times t;
	uint64_t net;

	if (traced_init(&tr, 4 * count) || times_init(&t, count))
		return -ENOMEM;
	for (leaf = leaves; leaf < leaves + sizeof(leaves) / sizeof(*leaf); leaf++) {
		if (trace_function(v, va, leaf->function, &t, &tr) || !tr.nr_leaf) {
			printf("part=share what=%s function=%s calls=0\n", leaf->what,
			       leaf->function);
			continue;
		}
		net = quiet(&tr); /* while they are in order */
		printf("part=share what=%s function=%s calls_per_op=%.2f "
		       "median_ns=%" PRIu64 " p99_ns=%" PRIu64 " min_ns=%" PRIu64
		       " floor_ns=%" PRIu64 " quiet_ns=%" PRIu64 "\n",
		       leaf->what, leaf->function, (double)tr.nr_leaf / count,
		       percentile(tr.leaf, tr.nr_leaf, 50),
		       percentile(tr.leaf, tr.nr_leaf, 99),
		       percentile(tr.leaf, tr.nr_leaf, 0),
		       percentile(tr.floor, tr.nr_floor, 50), net);
	}
	times_free(&t);
	traced_free(&tr);
	return 0;
}

/* ---- runs: contiguous against scattered pages */

static uint64_t frame(const void *va)
{
	static int fd = -1;
	uint64_t entry = 0;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &entry, 8, (off_t)((uintptr_t)va / PAGE * 8)) != 8)
		return 0;
	return entry & ((1ull << 55) - 1);
}

/* How many physically contiguous runs a range has. */
static unsigned int count_runs(const uint8_t *va, unsigned int pages)
{
	unsigned int at, runs = 1;

	for (at = 1; at < pages; at++)
		runs += frame(va + at * PAGE) != frame(va + (at - 1) * PAGE) + 1;
	return runs;
}

/* One huge page, then mapped by small entries: contiguous 4 KiB pages. */
static uint8_t *contiguous(void)
{
	uint8_t *va = mmap(NULL, 2 * HUGE_LEN, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (va == MAP_FAILED)
		return NULL;
	va = (uint8_t *)(((uintptr_t)va + HUGE_LEN - 1) & ~(HUGE_LEN - 1));
	madvise(va, HUGE_LEN, MADV_HUGEPAGE);
	memset(va, 1, HUGE_LEN);
	mprotect(va + HUGE_LEN - PAGE, PAGE, PROT_READ); /* splits the entry */
	return va;
}

/* Every other page of a file, side by side in our address space. */
static uint8_t *scattered(void)
{
	size_t len = RUN_PAGES * PAGE, at;
	int fd = memfd_create("scattered", MFD_CLOEXEC);
	uint8_t *va, *page;

	if (fd < 0 || ftruncate(fd, (off_t)(2 * len)))
		return NULL;
	va = mmap(NULL, 2 * len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (va == MAP_FAILED)
		return NULL;
	memset(va, 1, 2 * len);
	va = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (at = 0; va != MAP_FAILED && at < len; at += PAGE) {
		page = mmap(va + at, PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, (off_t)(2 * at));
		if (page == MAP_FAILED)
			return NULL;
	}
	close(fd);
	return va == MAP_FAILED ? NULL : va;
}

static int runs(struct vfio *v, unsigned int count)
{
	uint8_t *one = contiguous(), *many = scattered();
	unsigned int few_runs, many_runs, nr = count / 20 + 10;
	struct times t, u;
	int64_t more;

	if (!one || !many || times_init(&t, nr) || times_init(&u, nr))
		return -ENOMEM;
	few_runs = count_runs(one, RUN_PAGES);
	many_runs = count_runs(many, RUN_PAGES);
	if (measure(v, one, RUN_PAGES * PAGE, &t) ||
	    measure(v, many, RUN_PAGES * PAGE, &u))
		return -EIO;
	more = (int64_t)(percentile(u.map, nr, 50) - percentile(t.map, nr, 50));
	printf("part=runs pages=%u few_runs=%u many_runs=%u few_map_ns=%" PRIu64
	       " many_map_ns=%" PRIu64 " few_unmap_ns=%" PRIu64 " many_unmap_ns=%" PRIu64,
	       RUN_PAGES, few_runs, many_runs, percentile(t.map, nr, 50),
	       percentile(u.map, nr, 50), percentile(t.unmap, nr, 50),
	       percentile(u.unmap, nr, 50));
	if (many_runs > few_runs)
		printf(" iommu_map_ns=%" PRId64, more / (int64_t)(many_runs - few_runs));
	printf("\n");
	times_free(&t);
	times_free(&u);
	return 0;
}

/* ---- main */

struct options {
	const char *device;
	const char *part;
	unsigned int count;
	unsigned int live;
};

static int parse(int argc, char **argv, struct options *o)
{
	int at;

	*o = (struct options){.count = 2000};
	for (at = 1; at + 1 < argc; at += 2) {
		if (!strcmp(argv[at], "--device"))
			o->device = argv[at + 1];
		else if (!strcmp(argv[at], "--part"))
			o->part = argv[at + 1];
		else if (!strcmp(argv[at], "--count"))
			o->count = (unsigned int)atoi(argv[at + 1]);
		else if (!strcmp(argv[at], "--live"))
			o->live = (unsigned int)atoi(argv[at + 1]);
		else
			return -EINVAL;
	}
	return at == argc && o->device && o->count > 0 ? 0 : -EINVAL;
}

static int wanted(const struct options *o, const char *part)
{
	return !o->part || !strcmp(o->part, part);
}

/* Other mappings, each of its own page, 8 KiB apart so that none merge. */
static int map_others(struct vfio *v, unsigned int nr)
{
	uint8_t *va = mmap(NULL, (nr + 1) * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	unsigned int at;

	if (va == MAP_FAILED)
		return -ENOMEM;
	for (at = 0; at < nr; at++)
		if (vfio_map(v, va + at * PAGE, 2 * IOVA + at * 2 * PAGE, PAGE, VFIO_RW))
			return -EIO;
	return 0;
}

static int run_parts(struct vfio *v, const struct options *o)
{
	struct times plain;
	void *va;

	if (posix_memalign(&va, PAGE, PAGE) || times_init(&plain, o->count))
		return -ENOMEM;
	memset(va, 1, PAGE);
	if (measure(v, va, PAGE, &plain)) /* warms up */
		return -EIO;
	if (measure(v, va, PAGE, &plain))
		return -EIO;
	if (wanted(o, "total"))
		print_times("total", &plain);
	if (wanted(o, "share"))
		share(v, va, o->count);
	if (wanted(o, "runs"))
		return runs(v, o->count);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o;
	struct vfio v;

	if (parse(argc, argv, &o)) {
		fputs(usage, stderr);
		return 2;
	}
	if (vfio_open(&v, o.device) || map_others(&v, o.live))
		return 1;
	return run_parts(&v, &o) ? 1 : 0;
}
