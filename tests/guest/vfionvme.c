/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * An NVMe controller owned by this process through VFIO, one owner after the
 * other, well behaved and not. Each check prints "check=NAME verdict=ok|bad ...".
 */
#include "vnvme.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DATA_IOVA 0x2000000ull
#define DATA_LEN  0x100000u /* pattern in the first, buffer in the second half */
#define HALF	  (DATA_LEN / 2)
#define FAR_IOVA  0x40000000ull /* never mapped */
#define PLACE	  2048u		/* block that owners leave data at */
#define RANDOM_NR 1000u		/* commands made of random numbers */
#define SETTLE_US 300000u	/* in which a device that still writes would */
#define WAIT_MS	  5000u

static const char usage[] =
	"Usage: vfionvme --device ADDRESS first|second|malformed\n"
	"  first      writes, reads, compares; a reset with commands under way; leaves\n"
	"             the controller enabled, with commands under way\n"
	"  second     finds nothing of the first but its data\n"
	"  malformed  commands, lists, queues and doorbells that are wrong\n"
	"The device must be bound to vfio-pci. Exit: 0 all ok, 1 not, 2 wrong use.\n";

struct owner {
	struct vfio v;
	struct vnvme n;
	uint8_t *data;	/* at DATA_IOVA */
	int vectors[3]; /* eventfds of the admin queue and of both I/O queues */
};

static int bad_checks;

static void check(const char *name, int ok, const char *more, int64_t value)
{
	printf("check=%s verdict=%s %s=%" PRId64 "\n", name, ok ? "ok" : "bad", more,
	       value);
	fflush(stdout);
	bad_checks += !ok;
}

static void status_is(const char *name, int status, int wanted)
{
	check(name, status == wanted, "status", status);
}

static void fill_pattern(uint8_t *data, size_t len, unsigned int seed)
{
	size_t at;

	for (at = 0; at < len; at++)
		data[at] = (uint8_t)(at * 13 + (at >> 9) + seed);
}

static int open_owner(struct owner *o, const char *address)
{
	if (posix_memalign((void **)&o->data, VNVME_PAGE, DATA_LEN))
		return -ENOMEM;
	memset(o->data, 0, DATA_LEN);
	if (vfio_open(&o->v, address) ||
	    vfio_map(&o->v, o->data, DATA_IOVA, DATA_LEN, VFIO_RW))
		return -EIO;
	return vnvme_open(&o->n, &o->v);
}

static int start(struct owner *o)
{
	int ret = vnvme_enable(&o->n);

	if (!ret)
		ret = vnvme_add_queue(&o->n, 1);
	return ret ? ret : vnvme_add_queue(&o->n, 2);
}

/* The same, with the vectors of both queues. */
static int start_with_msix(struct owner *o)
{
	int i, ret;

	for (i = 0; i < 3; i++)
		o->vectors[i] = eventfd(0, EFD_CLOEXEC);
	ret = vfio_msix(&o->v, o->vectors, 3);
	return ret ? ret : start(o);
}

/* Reads what is at PLACE and compares it with the pattern of a seed. */
static void place_holds(struct owner *o, const char *name, unsigned int seed)
{
	int status;

	memset(o->data + HALF, 0xee, HALF);
	fill_pattern(o->data, HALF, seed);
	status = vnvme_io(&o->n, VNVME_READ, PLACE, DATA_IOVA + HALF, HALF);
	check(name, !status && !memcmp(o->data, o->data + HALF, HALF), "status", status);
}

static void write_place(struct owner *o, const char *name, unsigned int seed)
{
	fill_pattern(o->data, HALF, seed);
	status_is(name, vnvme_io(&o->n, VNVME_WRITE, PLACE, DATA_IOVA, HALF), 0);
}

/* As many reads of 512 KiB as the queue takes, all into the second half. */
static void submit_many(struct owner *o)
{
	struct vnvme_cmd cmd = {.opcode = VNVME_READ, .nsid = 1};
	unsigned int i;

	vnvme_data(&o->n, &cmd, DATA_IOVA + HALF, HALF);
	cmd.cdw10 = PLACE;
	for (i = 0; i < VNVME_LEN - 1; i++)
		vnvme_put(&o->n, 1, &cmd);
	vnvme_ring(&o->n, 1);
}

/* The queues of both directions and the data buffer stay as they are. */
static void nothing_comes(struct owner *o, const char *name)
{
	uint8_t *mem = o->n.mem;
	size_t at, changed = 0;

	memset(mem, 0xcc, VNVME_PAGES * VNVME_PAGE);
	memset(o->data + HALF, 0xcc, HALF);
	usleep(SETTLE_US);
	for (at = 0; at < VNVME_PAGES * VNVME_PAGE; at++)
		changed += mem[at] != 0xcc;
	for (at = HALF; at < DATA_LEN; at++)
		changed += o->data[at] != 0xcc;
	check(name, !changed, "bytes", (int64_t)changed);
}

static void registers_are_reset(struct owner *o, const char *name)
{
	uint32_t set = vnvme_get(&o->n, VNVME_CC) | vnvme_get(&o->n, VNVME_CSTS) |
		       vnvme_get(&o->n, VNVME_AQA) | vnvme_get(&o->n, VNVME_ASQ);

	check(name, !set, "bits", set);
}

/* ---- the first owner */

static void interrupts(struct owner *o)
{
	struct pollfd poller = {.events = POLLIN};
	int fds[2], i;

	for (i = 0; i < 2; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	poller.fd = fds[1];
	check("msix-setup", !vfio_msix(&o->v, fds, 2), "vectors", 2);
	/* Queue 1 has vector 1, and wants it anew: vectors were off. */
	status_is("enable-with-msix", vnvme_enable(&o->n), 0);
	status_is("queue-with-vector", vnvme_add_queue(&o->n, 1), 0);
	status_is("read-with-msix",
		  vnvme_io(&o->n, VNVME_READ, PLACE, DATA_IOVA + HALF, 4096), 0);
	check("msix", poll(&poller, 1, 1000) == 1, "vector", 1);
	vfio_msix(&o->v, NULL, 0);
	for (i = 0; i < 2; i++)
		close(fds[i]);
}

static void reset_under_load(struct owner *o)
{
	int round;

	for (round = 0; round < 3; round++) {
		submit_many(o);
		check("reset-in-mid-io", !vfio_reset(&o->v), "round", round);
		vfio_enable(&o->v);
		registers_are_reset(o, "reset-clears-registers");
		nothing_comes(o, "nothing-after-reset");
		status_is("enable-after-reset", vnvme_enable(&o->n), 0);
		status_is("queue-after-reset", vnvme_add_queue(&o->n, 1), 0);
		place_holds(o, "data-after-reset", 1);
	}
}

static int test_first(struct owner *o)
{
	if (start_with_msix(o))
		return 1;
	write_place(o, "write", 1);
	place_holds(o, "read", 1);
	status_is("compare", vnvme_io(&o->n, VNVME_COMPARE, PLACE, DATA_IOVA, HALF), 0);
	o->data[HALF - 1] ^= 1;
	status_is("compare-other", vnvme_io(&o->n, VNVME_COMPARE, PLACE, DATA_IOVA, HALF),
		  0x285);
	vfio_msix(&o->v, NULL, 0);
	interrupts(o);
	vfio_msix(&o->v, o->vectors, 3);
	reset_under_load(o);
	vnvme_command(&o->n, 1, &(struct vnvme_cmd){.opcode = VNVME_FLUSH, .nsid = 1},
		      NULL);
	submit_many(o); /* and away */
	return 0;
}

/* ---- the second owner */

static int test_second(struct owner *o)
{
	registers_are_reset(o, "nothing-of-the-first");
	vnvme_set(&o->n, VNVME_DOORBELL + 8, 5);
	nothing_comes(o, "old-queues-are-gone");
	if (start_with_msix(o))
		return 1;
	place_holds(o, "data-of-the-first", 1);
	write_place(o, "write", 2);
	place_holds(o, "read", 2);
	status_is("flush",
		  vnvme_command(&o->n, 1,
				&(struct vnvme_cmd){.opcode = VNVME_FLUSH, .nsid = 1},
				NULL),
		  0);
	check("reset", !vfio_reset(&o->v), "done", 1);
	return 0;
}

/* ---- one that knows nothing of NVMe */

static void bad_io(struct owner *o)
{
	struct vnvme_cmd cmd = {.opcode = VNVME_READ, .nsid = 1};
	struct vnvme_cmd good;

	vnvme_data(&o->n, &cmd, DATA_IOVA, 16384);
	good = cmd;
	cmd.prp1 = FAR_IOVA;
	status_is("unmapped-prp1", vnvme_command(&o->n, 1, &cmd, NULL), 0x04);
	cmd = good;
	cmd.prp2 = FAR_IOVA;
	status_is("unmapped-list", vnvme_command(&o->n, 1, &cmd, NULL), 0x04);
	cmd.prp2 = UINT64_MAX - 7;
	check("list-at-the-end", vnvme_command(&o->n, 1, &cmd, NULL) > 0, "wanted", 1);
	cmd.prp2 = good.prp2 + 4;
	status_is("list-offset", vnvme_command(&o->n, 1, &cmd, NULL), 0x13);
	cmd = good;
	cmd.prp1 += 2;
	status_is("prp1-offset", vnvme_command(&o->n, 1, &cmd, NULL), 0x13);
	cmd = good;
	cmd.cdw12 = 0xffff;
	status_is("over-mdts", vnvme_command(&o->n, 1, &cmd, NULL), 0x02);
	cmd = good;
	cmd.cdw11 = 0xffffffff;
	status_is("past-the-end", vnvme_command(&o->n, 1, &cmd, NULL), 0x80);
	cmd = good;
	cmd.nsid = 9;
	status_is("no-namespace", vnvme_command(&o->n, 1, &cmd, NULL), 0x0b);
	cmd = good;
	cmd.opcode = 0x7f;
	status_is("no-opcode", vnvme_command(&o->n, 1, &cmd, NULL), 0x01);
	cmd = good;
	cmd.flags = 1;
	status_is("fused", vnvme_command(&o->n, 1, &cmd, NULL), 0x02);
	cmd = good;
	cmd.flags = 1 << 6;
	cmd.prp2 = 0x5000000000000000ull | 4096;
	status_is("sgl-type", vnvme_command(&o->n, 1, &cmd, NULL), 0x11);
	place_holds(o, "works-after-bad-commands", 2);
}

static void bad_queues(struct owner *o)
{
	struct vnvme_cmd cmd = {.opcode = VNVME_CREATE_CQ, .prp1 = DATA_IOVA};

	cmd.cdw11 = 1;
	cmd.cdw10 = 3;
	status_is("queue-of-1", vnvme_command(&o->n, 0, &cmd, NULL), 0x102);
	cmd.cdw10 = 3 | 1024u << 16;
	status_is("queue-of-1025", vnvme_command(&o->n, 0, &cmd, NULL), 0x102);
	cmd.cdw10 = 0xff | 63u << 16;
	status_is("queue-255", vnvme_command(&o->n, 0, &cmd, NULL), 0x101);
	cmd.cdw10 = 1 | 63u << 16;
	status_is("queue-twice", vnvme_command(&o->n, 0, &cmd, NULL), 0x101);
	cmd.cdw10 = 3 | 63u << 16;
	cmd.cdw11 = 1 | 99u << 16;
	status_is("vector-99", vnvme_command(&o->n, 0, &cmd, NULL), 0x108);
	cmd.prp1 += 8;
	cmd.cdw11 = 1;
	status_is("queue-offset", vnvme_command(&o->n, 0, &cmd, NULL), 0x13);
	cmd.opcode = VNVME_CREATE_SQ;
	cmd.prp1 = DATA_IOVA;
	cmd.cdw11 = 1 | 7u << 16;
	status_is("no-completion-queue", vnvme_command(&o->n, 0, &cmd, NULL), 0x100);
	cmd.opcode = 0x04;
	cmd.cdw10 = 1;
	status_is("delete-in-use", vnvme_command(&o->n, 0, &cmd, NULL), 0x10c);
	place_holds(o, "works-after-bad-queues", 2);
}

/* An event must come of it; the error log makes room for the next. */
static void event_comes(struct owner *o, const char *name, uint32_t wanted)
{
	struct vnvme_cmd cmd = {.opcode = VNVME_GET_LOG,
				.cdw10 = 1 | 15u << 16,
				.prp1 = VNVME_IOVA + (VNVME_LIST + 1) * VNVME_PAGE};
	uint32_t event = 0;
	int status = vnvme_take(&o->n, 0, WAIT_MS, &event);

	check(name, !status && event == wanted, "event", event);
	vnvme_command(&o->n, 0, &cmd, NULL);
}

static void bad_doorbells(struct owner *o)
{
	const struct vnvme_cmd aer = {.opcode = VNVME_AER};
	unsigned int i;

	for (i = 0; i < 3; i++)
		vnvme_put(&o->n, 0, &aer);
	vnvme_ring(&o->n, 0);
	vnvme_set(&o->n, VNVME_DOORBELL + 8, VNVME_LEN);
	event_comes(o, "tail-past-the-queue", 0x010100);
	vnvme_set(&o->n, VNVME_DOORBELL + 8 * 40, 1);
	event_comes(o, "doorbell-of-no-queue", 0x010000);
	vnvme_set(&o->n, VNVME_DOORBELL + 8 + 4, 0xffffffff);
	event_comes(o, "head-past-the-queue", 0x010100);
	vnvme_set(&o->n, VNVME_DOORBELL + 8 * 400, 1);
	place_holds(o, "works-after-bad-doorbells", 2);
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8 ^ *state << 17;
}

/* Whatever it is, it is answered; reads and compares only, as the disk's content
 * is checked afterwards. */
static void random_commands(struct owner *o)
{
	static const uint8_t opcodes[] = {VNVME_READ, VNVME_COMPARE, VNVME_FLUSH, 0x55};
	uint32_t seed = 20240601, i, unanswered = 0, refused = 0;
	union {
		struct vnvme_cmd cmd;
		uint32_t word[16];
	} u;
	int status;

	for (i = 0; i < RANDOM_NR && !unanswered; i++) {
		unsigned int j;

		for (j = 0; j < 16; j++)
			u.word[j] = next_random(&seed);
		u.cmd.opcode = opcodes[i % 4];
		u.cmd.nsid = i % 5 ? 1 : u.cmd.nsid;
		u.cmd.flags &= i % 3 ? 0 : 0xff;
		u.cmd.prp1 = DATA_IOVA + (u.cmd.prp1 & 0x1ffffc);
		u.cmd.prp2 = i & 8 ? DATA_IOVA + (u.cmd.prp2 & 0x1ffff8) : u.cmd.prp2;
		u.cmd.cdw11 = 0;
		u.cmd.cdw10 &= 0xffff;
		u.cmd.cdw12 &= 0x3ff;
		status = vnvme_command(&o->n, 1, &u.cmd, NULL);
		unanswered += status < 0;
		refused += status > 0;
	}
	check("random-commands", !unanswered && refused > RANDOM_NR / 10, "refused",
	      refused);
}

/* A queue that the device cannot reach ends the controller, until a reset. */
static void queue_out_of_reach(struct owner *o)
{
	struct vnvme_cmd cmd = {.opcode = VNVME_CREATE_SQ,
				.prp1 = FAR_IOVA,
				.cdw10 = 3 | 63u << 16,
				.cdw11 = 1 | 1u << 16};

	status_is("queue-out-of-reach", vnvme_command(&o->n, 0, &cmd, NULL), 0);
	vnvme_set(&o->n, VNVME_DOORBELL + 8 * 3, 1);
	check("is-fatal", vnvme_take(&o->n, 1, 200, NULL) == -EPIPE, "csts",
	      vnvme_get(&o->n, VNVME_CSTS));
	status_is("restart", start(o), 0);
	place_holds(o, "works-after-fatal", 2);
	vnvme_set(&o->n, VNVME_CC, 0);
	vnvme_set(&o->n, VNVME_CC, 1 | 5u << 7);
	check("page-size-refused", vnvme_get(&o->n, VNVME_CSTS) == VNVME_CFS, "csts",
	      vnvme_get(&o->n, VNVME_CSTS));
	status_is("restart-again", start(o), 0);
	place_holds(o, "works-after-refusal", 2);
}

static int test_malformed(struct owner *o)
{
	if (start_with_msix(o))
		return 1;
	write_place(o, "write", 2);
	bad_io(o);
	bad_queues(o);
	bad_doorbells(o);
	random_commands(o);
	place_holds(o, "works-after-random-commands", 2);
	queue_out_of_reach(o);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(struct owner *o);
	} tests[] = {{"first", test_first},
		     {"second", test_second},
		     {"malformed", test_malformed}};
	struct owner o = {0};
	unsigned int i;
	int ret = 2;

	for (i = 0; argc == 4 && !strcmp(argv[1], "--device") && i < 3; i++) {
		if (!strcmp(argv[3], tests[i].name))
			ret = open_owner(&o, argv[2]) ? 1 : tests[i].run(&o);
	}
	if (ret == 2)
		fputs(usage, stderr);
	else
		printf("bad_checks=%d\n", bad_checks);
	return ret ? ret : bad_checks != 0;
}
