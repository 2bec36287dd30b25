/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Drives a dmatest device that no driver owns, through its BAR in sysfs.
 * Whatever it does is then outside of any mapping: "forbidden" tries each
 * command on this process's own memory and checks that none gets through.
 */
#include "dmatest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE   4096
#define SAMPLE 256 /* of the device's buffer: each word is a round trip */
#define SECRET 0x5a

static const char usage[] =
	"Usage: dmatest-cli --device ADDRESS COMMAND [ARGUMENTS]\n"
	"  info                      print the identification registers\n"
	"  forbidden                 each DMA command on our own memory: all must be "
	"blocked\n"
	"  read IOVA LEN             memory to the device's buffer\n"
	"  write IOVA LEN            the device's buffer to memory\n"
	"  fill IOVA LEN VALUE       VALUE to memory\n"
	"  sum IOVA LEN              sum of the bytes\n"
	"  copy IOVA IOVA2 LEN       memory to memory\n"
	"  raise VECTOR              an MSI-X interrupt\n"
	"Prints KEY=VALUE lines. Exit: 0 done, 1 the device said no (or, for\n"
	"forbidden, yes), 2 wrong use.\n";

static const char *const names[] = {
	[DT_READ] = "read", [DT_WRITE] = "write",     [DT_FILL] = "fill",
	[DT_SUM] = "sum",   [DT_COPY] = "copy",	      [DT_RAISE] = "raise",
	[DT_HOLD] = "hold", [DT_RELEASE] = "release",
};

/* Writes a short file of the function's sysfs folder. */
static int sysfs_write(const char *address, const char *file, off_t at, const void *data,
		       size_t len)
{
	char path[160];
	ssize_t done;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", address, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	done = pwrite(fd, data, len, at);
	close(fd);
	return done == (ssize_t)len ? 0 : -EIO;
}

/* Lets the function decode memory and start DMA, and maps its BAR0. */
static int open_device(struct dmatest *d, const char *address)
{
	const uint16_t command = 2 | 4; /* memory, bus master */
	char path[160];
	void *bar;
	int fd;

	if (sysfs_write(address, "enable", 0, "1", 1))
		fprintf(stderr, "dmatest-cli: enable refused\n");
	if (sysfs_write(address, "config", 4, &command, 2))
		fprintf(stderr, "dmatest-cli: config write refused\n");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", address);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror(path);
		return -errno;
	}
	bar = mmap(NULL, DMATEST_BAR_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (bar == MAP_FAILED) {
		perror("mmap of BAR0");
		return -errno;
	}
	d->bar = bar;
	return dmatest_check(d);
}

static int info(struct dmatest *d)
{
	printf("magic=%#x version=%u features=%#x completed=%u\n",
	       dmatest_get32(d, DT_MAGIC), dmatest_get32(d, DT_VERSION),
	       dmatest_get32(d, DT_FEATURES), dmatest_get32(d, DT_COMPLETED));
	return 0;
}

/* The guest-physical address behind one of our pages, 0 when unknown. */
static uint64_t physical(const void *va)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, 8, (off_t)((uintptr_t)va / PAGE * 8)) != 8)
		entry = 0;
	close(fd);
	return (entry & ((1ull << 55) - 1)) * PAGE;
}

static int all_bytes(const uint8_t *data, uint8_t value, size_t len)
{
	size_t at;

	for (at = 0; at < len; at++)
		if (data[at] != value)
			return 0;
	return 1;
}

/* One command on our page; 0 when it was blocked and left no trace. */
static int try_forbidden(struct dmatest *d, const struct dmatest_op *op,
			 const uint8_t *page)
{
	struct dmatest_result r;
	uint8_t taken[SAMPLE] = {0};
	const char *verdict = "blocked";

	dmatest_load(d, 0, taken, SAMPLE);
	if (dmatest_run(d, op, &r)) {
		printf("command=%s verdict=timeout\n", names[op->command]);
		return 1;
	}
	dmatest_store(d, 0, taken, SAMPLE);
	if (r.error != DT_EFAULT)
		verdict = "not-blocked";
	else if (!all_bytes(page, SECRET, PAGE))
		verdict = "memory-changed";
	else if (!all_bytes(taken, 0, SAMPLE))
		verdict = "memory-leaked";
	printf("command=%s iova=%#" PRIx64 " error=%u fault=%#" PRIx64 " done=%" PRIu64
	       " verdict=%s\n",
	       names[op->command], op->iova, r.error, r.fault, r.done, verdict);
	return strcmp(verdict, "blocked") != 0;
}

static int forbidden(struct dmatest *d)
{
	struct dmatest_op op = {.len = PAGE};
	uint8_t *page;
	int bad = 0;

	if (posix_memalign((void **)&page, PAGE, 2 * PAGE))
		return 1;
	memset(page, SECRET, 2 * PAGE);
	if (mlock(page, 2 * PAGE))
		perror("mlock");
	op.iova = physical(page);
	op.iova2 = physical(page + PAGE);
	if (!op.iova) {
		fprintf(stderr, "dmatest-cli: no physical address (not root?)\n");
		return 1;
	}
	for (op.command = DT_READ; op.command <= DT_COPY; op.command++)
		bad += try_forbidden(d, &op, page);
	printf("blocked=%d through=%d\n", DT_COPY - bad, bad);
	return bad != 0;
}

static uint64_t number(char **argv, int at)
{
	return argv[at] ? strtoull(argv[at], NULL, 0) : 0;
}

static int single(struct dmatest *d, uint32_t command, char **argv)
{
	struct dmatest_op op = {.command = command, .iova = number(argv, 0)};
	struct dmatest_result r;

	if (command == DT_RAISE) {
		op.pattern = op.iova;
	} else if (command == DT_COPY) {
		op.iova2 = number(argv, 1);
		op.len = argv[1] ? number(argv, 2) : 0;
	} else {
		op.len = argv[0] ? number(argv, 1) : 0;
		op.pattern = argv[0] && argv[1] ? number(argv, 2) : 0;
	}
	if (dmatest_run(d, &op, &r)) {
		printf("command=%s error=timeout\n", names[command]);
		return 1;
	}
	printf("command=%s iova=%#" PRIx64 " len=%" PRIu64 " error=%u done=%" PRIu64
	       " result=%" PRIu64 " fault=%#" PRIx64 "\n",
	       names[command], op.iova, op.len, r.error, r.done, r.value, r.fault);
	return r.error != 0;
}

int main(int argc, char **argv)
{
	struct dmatest d;
	uint32_t command;

	if (argc < 4 || strcmp(argv[1], "--device")) {
		fputs(usage, stderr);
		return 2;
	}
	if (open_device(&d, argv[2]))
		return 1;
	if (!strcmp(argv[3], "info"))
		return info(&d);
	if (!strcmp(argv[3], "forbidden"))
		return forbidden(&d);
	for (command = DT_READ; command <= DT_RELEASE; command++)
		if (!strcmp(argv[3], names[command]))
			return single(&d, command, argv + 4);
	fputs(usage, stderr);
	return 2;
}
