/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A device owned by this process through VFIO type1, used within its mappings
 * and outside of them. Each check prints "check=NAME verdict=ok|bad ...".
 */
#include "dmatest.h"
#include "vblk.h"
#include "vfio.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define PAGE	 4096u
#define RW_IOVA	 0x100000ull
#define RW_LEN	 0x10000u
#define RO_IOVA	 0x200000ull
#define WO_IOVA	 0x300000ull
#define FAR_IOVA 0x40000000ull /* never mapped */
#define VECTORS	 2
#define SAMPLE	 256u /* of the device's buffer: each word is a round trip */

static const char usage[] =
	"Usage: vfiotest --device ADDRESS dmatest|hold|blk|badblk\n"
	"  dmatest   transfers, access rights, faults, MSI-X and FLR of a dmatest "
	"device\n"
	"  hold      an unmap waits for a transfer that holds its pages (two CPUs)\n"
	"  blk       virtio-blk: write, read, flush, and a buffer that is not mapped\n"
	"  badblk    virtio-blk: chains that are none\n"
	"The device must be bound to vfio-pci. Exit: 0 all ok, 1 not, 2 wrong use.\n";

static int bad_checks;

static void check(const char *name, int ok, const char *more, uint64_t value)
{
	printf("check=%s verdict=%s %s=%" PRIu64 "\n", name, ok ? "ok" : "bad", more,
	       value);
	fflush(stdout);
	bad_checks += !ok;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void *pages(size_t len)
{
	void *va;

	if (posix_memalign(&va, PAGE, len))
		return NULL;
	memset(va, 0, len);
	return va;
}

static void fill_pattern(uint8_t *data, size_t len, unsigned int seed)
{
	size_t at;

	for (at = 0; at < len; at++)
		data[at] = (uint8_t)(at * 7 + (at >> 8) + seed);
}

/* ---- dmatest */

struct bench {
	struct vfio v;
	struct dmatest d;
	uint8_t *rw;
	uint8_t *ro;
	uint8_t *wo;
	int fds[VECTORS];
};

static uint32_t run(struct bench *b, uint32_t command, uint64_t iova, uint64_t iova2,
		    uint64_t len, struct dmatest_result *r)
{
	const struct dmatest_op op = {
		.command = command,
		.iova = iova,
		.iova2 = iova2,
		.len = len,
		.pattern = 0xa5a5a5a5a5a5a5a5u,
	};

	return dmatest_run(&b->d, &op, r) ? ETIMEDOUT : r->error;
}

static int open_bench(struct bench *b, const char *address)
{
	b->rw = pages(RW_LEN);
	b->ro = pages(PAGE);
	b->wo = pages(PAGE);
	if (!b->rw || !b->ro || !b->wo || vfio_open(&b->v, address) || vfio_enable(&b->v))
		return -EIO;
	b->d.bar = vfio_bar(&b->v, 0, DMATEST_BAR_LEN);
	if (!b->d.bar || dmatest_check(&b->d))
		return -ENODEV;
	if (vfio_map(&b->v, b->rw, RW_IOVA, RW_LEN, VFIO_RW) ||
	    vfio_map(&b->v, b->ro, RO_IOVA, PAGE, VFIO_DMA_MAP_FLAG_READ) ||
	    vfio_map(&b->v, b->wo, WO_IOVA, PAGE, VFIO_DMA_MAP_FLAG_WRITE))
		return -EIO;
	return 0;
}

static void transfers(struct bench *b)
{
	uint8_t first[SAMPLE], last[SAMPLE];
	struct dmatest_result r;
	uint64_t sum = 0;
	size_t at;
	uint32_t err;

	fill_pattern(b->rw, RW_LEN, 1);
	for (at = 0; at < RW_LEN; at++)
		sum += b->rw[at];
	err = run(b, DT_READ, RW_IOVA, 0, RW_LEN, &r);
	dmatest_store(&b->d, 0, first, SAMPLE);
	dmatest_store(&b->d, RW_LEN - SAMPLE, last, SAMPLE);
	check("read",
	      !err && r.done == RW_LEN && !memcmp(first, b->rw, SAMPLE) &&
		      !memcmp(last, b->rw + RW_LEN - SAMPLE, SAMPLE),
	      "error", err);

	err = run(b, DT_SUM, RW_IOVA, 0, RW_LEN, &r);
	check("sum", !err && r.value == sum, "error", err);

	fill_pattern(first, SAMPLE, 9);
	dmatest_load(&b->d, 0, first, SAMPLE);
	err = run(b, DT_WRITE, RW_IOVA + 3 * PAGE, 0, PAGE, &r);
	check("write", !err && !memcmp(b->rw + 3 * PAGE, first, SAMPLE), "error", err);

	err = run(b, DT_COPY, RW_IOVA + 3 * PAGE, RW_IOVA + 5 * PAGE, PAGE, &r);
	check("copy", !err && !memcmp(b->rw + 5 * PAGE, first, SAMPLE), "error", err);

	err = run(b, DT_FILL, RW_IOVA + 1, 0, PAGE - 2, &r);
	check("fill",
	      !err && b->rw[1] == 0xa5 && b->rw[PAGE - 2] == 0xa5 &&
		      b->rw[PAGE - 1] != 0xa5 && b->rw[0] != 0xa5,
	      "error", err);
}

static void rights(struct bench *b)
{
	struct dmatest_result r;
	uint32_t err;

	fill_pattern(b->ro, PAGE, 3);
	err = run(b, DT_READ, RO_IOVA, 0, PAGE, &r);
	check("read-of-readable", !err, "error", err);
	err = run(b, DT_FILL, RO_IOVA, 0, PAGE, &r);
	check("write-of-readable", err == DT_EFAULT && b->ro[0] == 3, "error", err);
	err = run(b, DT_FILL, WO_IOVA, 0, PAGE, &r);
	check("write-of-writable", !err && b->wo[0] == 0xa5, "error", err);
	err = run(b, DT_READ, WO_IOVA, 0, PAGE, &r);
	check("read-of-writable", err == DT_EFAULT, "error", err);
	err = run(b, DT_COPY, WO_IOVA, RW_IOVA, PAGE, &r);
	check("copy-from-writable", err == DT_EFAULT, "error", err);
	err = run(b, DT_COPY, RW_IOVA, RO_IOVA, PAGE, &r);
	check("copy-to-readable", err == DT_EFAULT && b->ro[0] == 3, "error", err);
}

static void outside(struct bench *b)
{
	struct dmatest_result r;
	uint32_t err;

	err = run(b, DT_READ, FAR_IOVA, 0, PAGE, &r);
	check("unmapped", err == DT_EFAULT && r.fault == FAR_IOVA, "fault", r.fault);
	err = run(b, DT_SUM, RW_IOVA + RW_LEN - PAGE, 0, 2 * PAGE, &r);
	check("past-the-end", err == DT_EFAULT && r.fault == RW_IOVA + RW_LEN, "fault",
	      r.fault);
	err = run(b, DT_SUM, RW_IOVA - 1, 0, 2, &r);
	check("before-the-start", err == DT_EFAULT && r.fault == RW_IOVA - 1, "fault",
	      r.fault);
	err = run(b, DT_FILL, UINT64_MAX - 4095, 0, 2 * PAGE, &r);
	check("wraps-around", err == DT_EFAULT || err == DT_ERANGE, "error", err);
	err = run(b, DT_SUM, RW_IOVA, 0, DMATEST_MAX_LEN + 1, &r);
	check("too-long", err == DT_ERANGE, "error", err);
	err = run(b, 99, RW_IOVA, 0, PAGE, &r);
	check("no-such-command", err == DT_EINVAL, "error", err);
	err = run(b, DT_SUM, RW_IOVA, 0, RW_LEN, &r);
	check("works-after-faults", !err, "error", err);
}

static void unmapped_again(struct bench *b)
{
	struct dmatest_result r;
	uint32_t err;

	vfio_unmap(&b->v, WO_IOVA, PAGE);
	b->wo[0] = 0;
	err = run(b, DT_FILL, WO_IOVA, 0, PAGE, &r);
	check("after-unmap", err == DT_EFAULT && !b->wo[0], "error", err);
	vfio_map(&b->v, b->wo, WO_IOVA, PAGE, VFIO_RW);
	err = run(b, DT_FILL, WO_IOVA, 0, PAGE, &r);
	check("mapped-again", !err && b->wo[0] == 0xa5, "error", err);
}

/* Waits for an eventfd up to a second; the count, 0 when none came. */
static uint64_t wait_event(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	uint64_t count = 0;

	if (poll(&poller, 1, 1000) == 1 && read(fd, &count, 8) != 8)
		count = 0;
	return count;
}

static void interrupts(struct bench *b, const char *when)
{
	struct dmatest_op op = {.command = DT_RAISE};
	struct dmatest_result r;
	char name[64];
	uint64_t count;

	for (op.pattern = 0; op.pattern < VECTORS; op.pattern++) {
		dmatest_run(&b->d, &op, &r);
		count = wait_event(b->fds[op.pattern]);
		snprintf(name, sizeof(name), "msix-%" PRIu64 "%s", op.pattern, when);
		check(name, count == 1, "events", count);
	}
}

static void completion_interrupt(struct bench *b)
{
	struct dmatest_result r;
	uint64_t count;

	dmatest_set32(&b->d, DT_IRQ, 1);
	run(b, DT_SUM, RW_IOVA, 0, PAGE, &r);
	count = wait_event(b->fds[1]);
	check("msix-on-completion", count == 1, "events", count);
	dmatest_set32(&b->d, DT_IRQ, DT_NO_IRQ);
}

static void flr(struct bench *b)
{
	struct dmatest_result r;
	uint32_t err;

	dmatest_set32(&b->d, DT_SCRATCH, 0x12345678);
	check("scratch", dmatest_get32(&b->d, DT_SCRATCH) == 0x12345678, "value",
	      dmatest_get32(&b->d, DT_SCRATCH));
	check("reset", !vfio_reset(&b->v), "done", 1);
	vfio_enable(&b->v);
	check("reset-clears", dmatest_get32(&b->d, DT_SCRATCH) == 0, "value",
	      dmatest_get32(&b->d, DT_SCRATCH));
	err = run(b, DT_SUM, RW_IOVA, 0, PAGE, &r);
	check("works-after-reset", !err, "error", err);
}

static int test_dmatest(const char *address)
{
	struct bench b;
	int at;

	if (open_bench(&b, address))
		return 1;
	transfers(&b);
	rights(&b);
	outside(&b);
	unmapped_again(&b);
	for (at = 0; at < VECTORS; at++)
		b.fds[at] = eventfd(0, EFD_CLOEXEC);
	check("msix-setup", !vfio_msix(&b.v, b.fds, VECTORS), "vectors", VECTORS);
	interrupts(&b, "");
	completion_interrupt(&b);
	flr(&b);
	vfio_msix(&b.v, NULL, 0);
	vfio_msix(&b.v, b.fds, VECTORS);
	interrupts(&b, "-after-reset");
	vfio_close(&b.v);
	return 0;
}

/* ---- hold: the unmap of held pages */

#define HOLD_MS 200

static void *release_later(void *arg)
{
	const struct dmatest_op op = {.command = DT_RELEASE};
	struct bench *b = arg;

	usleep(HOLD_MS * 1000);
	dmatest_start(&b->d, &op);
	return NULL;
}

/* The unmapping CPU spins in the kernel meanwhile, so it takes two. */
static int test_hold(const char *address)
{
	struct dmatest_result r;
	pthread_t thread;
	struct bench b;
	uint64_t start, spent;
	uint32_t err;

	if (open_bench(&b, address))
		return 1;
	err = run(&b, DT_HOLD, RW_IOVA, 0, RW_LEN, &r);
	check("hold", !err, "error", err);
	if (pthread_create(&thread, NULL, release_later, &b))
		return 1;
	start = now_ms();
	vfio_unmap(&b.v, RW_IOVA, RW_LEN);
	spent = now_ms() - start;
	pthread_join(thread, NULL);
	check("unmap-waits", spent >= HOLD_MS / 2, "ms", spent);
	err = run(&b, DT_SUM, RW_IOVA, 0, PAGE, &r);
	check("gone-after-hold", err == DT_EFAULT, "error", err);
	vfio_close(&b.v);
	return 0;
}

/* ---- virtio-blk */

#define DATA_IOVA 0x2000000ull
#define DATA_LEN  0x10000u
#define SECTORS	  (DATA_LEN / 512)

static void bad_buffers(struct vblk *b, uint8_t *data, uint64_t sector)
{
	int status;

	memset(data, 0x77, DATA_LEN);
	status = vblk_request(b, VBLK_READ, sector, FAR_IOVA, PAGE);
	check("read-to-unmapped", status == 1, "status", (uint64_t)status);
	status = vblk_request(b, VBLK_WRITE, sector, FAR_IOVA, PAGE);
	check("write-from-unmapped", status == 1, "status", (uint64_t)status);
	status =
		vblk_request(b, VBLK_READ, sector, DATA_IOVA + DATA_LEN - PAGE, 2 * PAGE);
	check("read-past-the-end", status == 1, "status", (uint64_t)status);
	status = vblk_request(b, VBLK_READ, vblk_sectors(b), DATA_IOVA, PAGE);
	check("read-past-capacity", status == 1, "status", (uint64_t)status);
}

/* Writes the disk's last 64 KiB, reads them back, restores what was there. */
static void good_buffers(struct vblk *b, uint8_t *data, uint64_t sector, const char *when)
{
	static uint8_t old[DATA_LEN], want[DATA_LEN];
	char name[64];
	int status;

	status = vblk_request(b, VBLK_READ, sector, DATA_IOVA, DATA_LEN);
	memcpy(old, data, DATA_LEN);
	fill_pattern(want, DATA_LEN, 5);
	memcpy(data, want, DATA_LEN);
	if (!status)
		status = vblk_request(b, VBLK_WRITE, sector, DATA_IOVA, DATA_LEN);
	memset(data, 0, DATA_LEN);
	if (!status)
		status = vblk_request(b, VBLK_READ, sector, DATA_IOVA, DATA_LEN);
	snprintf(name, sizeof(name), "write-read%s", when);
	check(name, !status && !memcmp(data, want, DATA_LEN), "status", (uint64_t)status);
	memcpy(data, old, DATA_LEN);
	status = vblk_request(b, VBLK_WRITE, sector, DATA_IOVA, DATA_LEN);
	if (!status)
		status = vblk_request(b, VBLK_FLUSH, 0, 0, 0);
	snprintf(name, sizeof(name), "flush%s", when);
	check(name, !status, "status", (uint64_t)status);
}

static int open_blk(struct vfio *v, struct vblk *b, uint8_t *data, const char *address)
{
	if (!data || vfio_open(v, address) ||
	    vfio_map(v, data, DATA_IOVA, DATA_LEN, VFIO_RW))
		return -EIO;
	return vblk_open(b, v);
}

/* Chains that are none, and what comes of them; after a reset the queue works. */
enum { GIVEN_BACK = 0xff, IS_IOERR = 1, NEEDS_RESET = -EPIPE };
static const struct malformed {
	const char *name;
	struct vblk_desc desc[3]; /* flags: 1 next, 2 device writes, 4 indirect */
	uint16_t step;
	int status;
} malformed[] = {
	{"loop", {{VBLK_HEADER_IOVA, 16, 1, 1}, {DATA_IOVA, 512, 3, 0}}, 1, GIVEN_BACK},
	{"loop-of-one", {{DATA_IOVA, 512, 3, 0}}, 1, GIVEN_BACK},
	{"next-out-of-range", {{VBLK_HEADER_IOVA, 16, 1, 40000}}, 1, GIVEN_BACK},
	{"not-negotiated", {{DATA_IOVA, 512, 4, 0}}, 1, GIVEN_BACK},
	{"nothing-writable",
	 {{VBLK_HEADER_IOVA, 16, 1, 1}, {DATA_IOVA, 512, 0, 0}},
	 1,
	 GIVEN_BACK},
	{"short-header",
	 {{VBLK_HEADER_IOVA, 8, 1, 1}, {VBLK_STATUS_IOVA, 1, 2, 0}},
	 1,
	 IS_IOERR},
	{"header-unmapped",
	 {{FAR_IOVA, 16, 1, 1}, {VBLK_STATUS_IOVA, 1, 2, 0}},
	 1,
	 IS_IOERR},
	{"status-unmapped",
	 {{VBLK_HEADER_IOVA, 16, 1, 1}, {FAR_IOVA, 1, 2, 0}},
	 1,
	 GIVEN_BACK},
	{"past-the-last-address",
	 {{VBLK_HEADER_IOVA, 16, 1, 1},
	  {UINT64_MAX - 7, 512, 3, 2},
	  {VBLK_STATUS_IOVA, 1, 2, 0}},
	 1,
	 GIVEN_BACK},
	{"index-jumps", {{VBLK_HEADER_IOVA, 16, 1, 1}}, 5000, NEEDS_RESET},
};

static void malformed_chain(struct vblk *b, const struct malformed *m)
{
	uint16_t at;
	int status;

	if (vblk_restart(b)) {
		check(m->name, 0, "restart", 0);
		return;
	}
	for (at = 0; at < 3; at++)
		vblk_put_desc(b, at, m->desc[at]);
	status = vblk_offer(b, 0, m->step);
	check(m->name, status == m->status, "status", (uint64_t)(int64_t)status);
}

static int test_badblk(const char *address)
{
	uint8_t *data = pages(DATA_LEN);
	struct vfio v;
	struct vblk b;
	size_t i;

	if (open_blk(&v, &b, data, address))
		return 1;
	for (i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		malformed_chain(&b, &malformed[i]);
		check("restart", !vblk_restart(&b), "after", i);
		good_buffers(&b, data, vblk_sectors(&b) - SECTORS, "-after");
	}
	vblk_stop(&b);
	vfio_close(&v);
	return 0;
}

static int test_blk(const char *address)
{
	uint8_t *data = pages(DATA_LEN);
	uint64_t sector;
	struct vfio v;
	struct vblk b;

	if (open_blk(&v, &b, data, address))
		return 1;
	sector = vblk_sectors(&b) - SECTORS;
	check("open", vblk_sectors(&b) > SECTORS, "sectors", vblk_sectors(&b));
	good_buffers(&b, data, sector, "");
	bad_buffers(&b, data, sector);
	good_buffers(&b, data, sector, "-after-faults");
	vblk_stop(&b);
	vfio_close(&v);
	return 0;
}

int main(int argc, char **argv)
{
	int ret = 2;

	if (argc == 4 && !strcmp(argv[1], "--device")) {
		if (!strcmp(argv[3], "dmatest"))
			ret = test_dmatest(argv[2]);
		else if (!strcmp(argv[3], "hold"))
			ret = test_hold(argv[2]);
		else if (!strcmp(argv[3], "blk"))
			ret = test_blk(argv[2]);
		else if (!strcmp(argv[3], "badblk"))
			ret = test_badblk(argv[2]);
	}
	if (ret == 2)
		fputs(usage, stderr);
	else
		printf("bad_checks=%d\n", bad_checks);
	return ret ? ret : bad_checks != 0;
}
