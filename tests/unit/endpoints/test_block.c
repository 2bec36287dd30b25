/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Block backends: the same I/O over each of them, and the step machine fed with
 * results that real disks rarely give.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "endpoints/block/block.h"
#include "endpoints/block/internal.h"
#include "endpoints/util.h"
#include "test_alloc.h"

#define DISK_LEN (4u << 20)

struct kit {
	struct test_alloc alloc;
	struct options *o;
	struct block *b;
	struct viommu_log log;
	char said[512];
	char path[64];
	unsigned done_nr;
	int done_res;
	uint8_t *data; /* 1 MiB, aligned */
};

static void sink(void *opaque, enum viommu_log_level level, const char *msg)
{
	struct kit *k = opaque;

	(void)level;
	snprintf(k->said, sizeof(k->said), "%s", msg);
}

static void done(void *opaque, struct block_io *io, int res)
{
	struct kit *k = opaque;

	(void)io;
	k->done_nr++;
	k->done_res = res;
}

static struct kit *make(void)
{
	struct kit *k = calloc(1, sizeof(*k));
	int fd;

	test_alloc_init(&k->alloc);
	k->log = (struct viommu_log){sink, k, VIOMMU_LOG_DEBUG};
	k->o = calloc(1, sizeof(*k->o));
	k->data = aligned_alloc(4096, 1 << 20);
	memset(k->data, 0, 1 << 20);
	strcpy(k->path, "/tmp/viommu-block-XXXXXX");
	fd = mkstemp(k->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_LEN), 0);
	close(fd);
	return k;
}

static void drop(struct kit *k)
{
	block_close(k->b);
	assert_int_equal(k->alloc.live, 0);
	unlink(k->path);
	free(k->data);
	free(k->o);
	free(k);
}

/* options may have one %s: the path. */
static int open_block(struct kit *k, const char *options)
{
	char text[256];

	/* The formats are this file's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), options, k->path);
#pragma GCC diagnostic pop
	assert_int_equal(options_parse(k->o, "disk", text, &k->log), 0);
	return block_open(k->o, &k->alloc.ops, 8, done, k, &k->b);
}

static int run(struct kit *k, struct block_io *io)
{
	unsigned before = k->done_nr;

	block_start(k->b, io);
	for (unsigned i = 0; k->done_nr == before && i < 1000; i++) {
		block_kick(k->b);
		block_settle(k->b);
		block_reap(k->b);
		if (k->done_nr == before)
			block_wait(k->b, 100);
	}
	assert_int_equal(k->done_nr, before + 1);
	return k->done_res;
}

static int move(struct kit *k, enum block_op op, uint64_t offset, void *buf, size_t len)
{
	struct iovec iov[2] = {{buf, len / 2}, {(uint8_t *)buf + len / 2, len - len / 2}};
	struct block_io io = {
		.op = op, .offset = offset, .len = len, .iov = iov, .iov_nr = 2};

	return run(k, &io);
}

static int plain(struct kit *k, enum block_op op, uint64_t offset, uint64_t len,
		 bool unmap, bool durable)
{
	struct block_io io = {.op = op,
			      .offset = offset,
			      .len = len,
			      .may_unmap = unmap,
			      .durable = durable};

	return run(k, &io);
}

static bool all_are(const uint8_t *p, size_t len, uint8_t value)
{
	while (len--)
		if (*p++ != value)
			return false;
	return true;
}

/* Writes 256 KiB, reads back, zeroes and discards parts of it. */
static void exercise(struct kit *k)
{
	uint8_t *d = k->data;
	const size_t len = 256 << 10;

	memset(d, 0xa5, len);
	assert_int_equal(move(k, BLOCK_WRITE, 8192, d, len), 0);
	assert_int_equal(plain(k, BLOCK_FLUSH, 0, 0, false, false), 0);
	memset(d, 0, len);
	assert_int_equal(move(k, BLOCK_READ, 8192, d, len), 0);
	assert_true(all_are(d, len, 0xa5));
	assert_int_equal(plain(k, BLOCK_ZEROES, 8192 + 512, 100 << 10, false, true), 0);
	assert_int_equal(
		plain(k, BLOCK_ZEROES, 8192 + (128 << 10), 70 << 10, true, false), 0);
	assert_int_equal(plain(k, BLOCK_DISCARD, 8192 + (200 << 10), 8192, false, false),
			 0);
	assert_int_equal(move(k, BLOCK_READ, 8192, d, len), 0);
	assert_true(all_are(d, 512, 0xa5));
	assert_true(all_are(d + 512, 100 << 10, 0));
	assert_int_equal(d[512 + (100 << 10)], 0xa5);
	assert_true(all_are(d + (128 << 10), 70 << 10, 0));
	assert_int_equal(d[len - 1], 0xa5);
}

/* Buffers that direct I/O does not take. */
static void exercise_unaligned(struct kit *k)
{
	uint8_t *d = k->data + 4096 + 3;

	memset(d, 0x5a, 3000);
	assert_int_equal(move(k, BLOCK_WRITE, 1 << 20, d, 1536), 0);
	memset(d, 0, 3000);
	assert_int_equal(move(k, BLOCK_READ, 1 << 20, d, 1536), 0);
	assert_true(all_are(d, 1536, 0x5a));
	assert_int_equal(d[1536], 0);
}

static void each_backend_moves_data(void **state)
{
	static const char *const kinds[] = {"path=%s",
					    "path=%s,io=sync",
					    "path=%s,cache=none",
					    "backend=mem,size=4M",
					    "path=%s,cache=none,io=sync",
					    NULL};

	(void)state;
	for (unsigned i = 0; kinds[i]; i++) {
		struct kit *k = make();

		assert_int_equal(open_block(k, kinds[i]), 0);
		assert_int_equal(block_info(k->b)->capacity, DISK_LEN);
		exercise(k);
		exercise_unaligned(k);
		drop(k);
	}
}

static void io_uring_is_what_auto_takes_here(void **state)
{
	struct kit *k = make();
	int r = open_block(k, "path=%s,io=uring");

	(void)state;
	if (r) { /* not allowed here: said so, and how to go on */
		assert_non_null(strstr(k->said, "io=sync"));
		drop(k);
		skip();
	}
	assert_string_equal(block_info(k->b)->engine, "io_uring");
	assert_true(block_fd(k->b) >= 0);
	assert_false(block_arm(k->b));
	block_disarm(k->b);
	drop(k);
}

/* As in a container whose filter does not know io_uring. */
static bool forbid_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* In a child of its own. 0: all is well. */
static int try_without_io_uring(void)
{
	struct kit *k = make();
	struct iovec iov = {k->data, 4096};
	struct block_io io = {.op = BLOCK_WRITE, .len = 4096, .iov = &iov, .iov_nr = 1};

	if (!forbid_io_uring())
		return 77;
	if (open_block(k, "path=%s,io=uring") != -EPERM || !strstr(k->said, "io=sync"))
		return 1;
	if (open_block(k, "path=%s") || strcmp(block_info(k->b)->engine, "sync"))
		return 2;
	if (!strstr(k->said, "one at a time"))
		return 3;
	block_start(k->b, &io);
	block_kick(k->b);
	if (block_reap(k->b) != 1 || k->done_res)
		return 4;
	unlink(k->path);
	return 0;
}

static void forbidden_io_uring_is_said_and_gone_around(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	if (!child)
		_exit(try_without_io_uring());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void zeroes_fall_back_to_writing(void **state)
{
	(void)state;
	for (unsigned direct = 0; direct < 2; direct++) {
		struct kit *k = make();
		uint8_t *d = k->data;

		assert_int_equal(open_block(k, direct ? "path=%s,cache=none" : "path=%s"),
				 0);
		k->b->no_punch = k->b->no_zero_range = true;
		memset(d, 0x77, 512 << 10);
		assert_int_equal(move(k, BLOCK_WRITE, 0, d, 512 << 10), 0);
		/* More than one write's worth, and a tail. */
		assert_int_equal(
			plain(k, BLOCK_ZEROES, 512, (300 << 10) + 512, true, true), 0);
		assert_int_equal(plain(k, BLOCK_DISCARD, 0, 512, false, false), 0);
		assert_int_equal(move(k, BLOCK_READ, 0, d, 512 << 10), 0);
		assert_true(all_are(d, 512, 0x77));
		assert_true(all_are(d + 512, (300 << 10) + 512, 0));
		assert_int_equal(d[1024 + (300 << 10)], 0x77);
		drop(k);
	}
}

static void file_cut_behind_our_back_is_an_error(void **state)
{
	struct kit *k = make();

	(void)state;
	assert_int_equal(open_block(k, "path=%s"), 0);
	assert_int_equal(truncate(k->path, 4096 + 512), 0);
	assert_int_equal(move(k, BLOCK_READ, 4096, k->data, 4096), -EIO);
	assert_int_equal(move(k, BLOCK_READ, 8192, k->data, 4096), -EIO);
	assert_int_equal(move(k, BLOCK_READ, 4096, k->data, 512), 0);
	drop(k);
}

static void resizes(void **state)
{
	struct kit *k = make();

	(void)state;
	assert_int_equal(open_block(k, "path=%s"), 0);
	assert_int_equal(block_resize(k->b, 8u << 20), 0);
	assert_int_equal(block_info(k->b)->capacity, 8u << 20);
	assert_int_equal(truncate(k->path, 12345), 0);
	assert_int_equal(block_resize(k->b, 0), 0);
	assert_int_equal(block_info(k->b)->capacity, 12345 / 512 * 512);
	assert_int_equal(block_resize(k->b, 1000), -EINVAL);
	drop(k);

	k = make();
	assert_int_equal(open_block(k, "backend=mem,size=1M"), 0);
	assert_int_equal(block_resize(k->b, 2u << 20), 0);
	assert_int_equal(move(k, BLOCK_WRITE, 1 << 20, k->data, 1 << 20), 0);
	drop(k);
}

static void wrong_options_are_refused(void **state)
{
	static const char *const bad[] = {
		"backend=floppy",
		"backend=mem",
		"backend=null",
		"backend=null,size=1G,path=%s",
		"path=%s,size=1G",
		"path=/nonexistent/disk",
		"path=/tmp",
		"path=/dev/null",
		"path=%s,io=magic",
		"path=%s,cache=some",
		"backend=file",
		"path=",
		NULL,
	};

	(void)state;
	for (unsigned i = 0; bad[i]; i++) {
		struct kit *k = make();

		assert_true(open_block(k, bad[i]) < 0);
		assert_non_null(strstr(k->said, "disk:"));
		drop(k);
	}
}

static void image_in_use_is_refused(void **state)
{
	struct kit *k = make();
	struct block *first;

	(void)state;
	assert_int_equal(open_block(k, "path=%s"), 0);
	first = k->b;
	k->b = NULL;
	assert_int_equal(open_block(k, "path=%s"), -EBUSY);
	assert_int_equal(open_block(k, "path=%s,read-only=on"), -EBUSY);
	block_close(first);
	assert_int_equal(open_block(k, "path=%s,read-only=on"), 0);
	first = k->b;
	k->b = NULL;
	assert_int_equal(open_block(k, "path=%s,read-only=on"), 0);
	block_close(first);
	drop(k);
}

static void open_survives_lack_of_memory(void **state)
{
	struct kit *k = make();

	(void)state;
	for (unsigned long nth = 1; nth < 10; nth++) {
		test_alloc_fail(&k->alloc, nth);
		if (!open_block(k, "path=%s,io=uring"))
			break;
		assert_int_equal(k->alloc.live, 0);
	}
	test_alloc_fail(&k->alloc, 0);
	drop(k);
}

/* ---- much to do, in parts ---- */

#define BIG_LEN (20u << 20)

/* One kick and what it finished. */
static void kick_once(struct kit *k)
{
	block_kick(k->b);
	block_reap(k->b);
}

/* A disk of 32 MiB in memory, all 0x5a. */
static struct kit *make_big(void)
{
	struct kit *k = make();

	assert_int_equal(open_block(k, "backend=mem,size=32M"), 0);
	memset(k->b->ram, 0x5a, 32u << 20);
	return k;
}

/* Zeroing leaves the thread to others after a while and goes on from there; what
 * comes after it still sees it done. */
static void zeroing_takes_turns(void **state)
{
	static const enum block_op op[] = {BLOCK_ZEROES, BLOCK_DISCARD};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct kit *k = make_big();
		struct block_io io = {.op = op[i / 2],
				      .durable = i % 2,
				      .offset = 1536,
				      .len = BIG_LEN + 512};
		struct iovec iov = {k->data, 4096};
		struct block_io after = {.op = BLOCK_READ,
					 .offset = BIG_LEN,
					 .len = 4096,
					 .iov = &iov,
					 .iov_nr = 1};
		const uint8_t *at = k->b->ram + io.offset;

		block_start(k->b, &io);
		block_start(k->b, &after);
		for (unsigned n = 1; n <= BIG_LEN / BLOCK_KICK_LEN; n++) {
			kick_once(k);
			assert_true(all_are(at, n * BLOCK_KICK_LEN, 0));
			assert_int_equal(at[n * BLOCK_KICK_LEN], 0x5a);
			assert_int_equal(k->done_nr, 0);
			assert_true(block_has_more(k->b));
			assert_true(block_arm(k->b));
		}
		kick_once(k);
		assert_int_equal(k->done_nr, 2);
		assert_int_equal(k->done_res, 0);
		assert_false(block_has_more(k->b));
		assert_true(all_are(at, io.len, 0));
		assert_int_equal(at[-1], 0x5a);
		assert_int_equal(at[io.len], 0x5a);
		assert_int_equal(after.result, 0);
		assert_true(all_are(k->data, 1536 + 512, 0));
		assert_int_equal(k->data[1536 + 512], 0x5a);
		drop(k);
	}
}

static void transfers_take_turns(void **state)
{
	static const enum block_op op[] = {BLOCK_WRITE, BLOCK_READ};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct kit *k = make_big();
		struct iovec iov[20];
		struct block_io io = {
			.op = op[i], .offset = 512, .len = 10u << 20, .iov = iov};
		unsigned kicks = 0;

		/* Pieces that do not end where a part does. */
		for (uint64_t left = io.len; left; left -= iov[io.iov_nr++].iov_len)
			iov[io.iov_nr] =
				(struct iovec){k->data, left < 999936 ? left : 999936};
		memset(k->data, 0x77, 1 << 20);
		block_start(k->b, &io);
		for (; !k->done_nr && kicks < 10; kicks++)
			kick_once(k);
		assert_int_equal(k->done_res, 0);
		assert_int_equal(kicks, 3);
		assert_int_equal(k->data[999935], op[i] == BLOCK_READ ? 0x5a : 0x77);
		assert_int_equal(k->b->ram[511], 0x5a);
		assert_true(all_are(k->b->ram + 512, io.len,
				    op[i] == BLOCK_READ ? 0x5a : 0x77));
		assert_int_equal(k->b->ram[512 + io.len], 0x5a);
		drop(k);
	}
}

/* What is cancelled ends with the next kick, half done or not begun, and nothing of
 * it is done any more. */
static void parts_left_can_be_cancelled(void **state)
{
	struct kit *k = make_big();
	struct block_io io[] = {
		{.op = BLOCK_ZEROES, .len = BIG_LEN},
		{.op = BLOCK_ZEROES, .offset = 24u << 20, .len = 4096},
		{.op = BLOCK_ZEROES, .offset = 25u << 20, .len = 4096},
	};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		block_start(k->b, &io[i]);
	kick_once(k);
	/* One behind it: it need not wait until that is done. */
	block_cancel(k->b, &io[1]);
	kick_once(k);
	assert_int_equal(k->done_nr, 1);
	assert_int_equal(io[1].result, -ECANCELED);
	block_cancel(k->b, &io[0]);
	kick_once(k);
	assert_int_equal(k->done_nr, 3);
	assert_int_equal(io[0].result, -ECANCELED);
	assert_int_equal(io[2].result, 0);
	assert_true(all_are(k->b->ram, 2 * BLOCK_KICK_LEN, 0));
	assert_true(all_are(k->b->ram + 2 * BLOCK_KICK_LEN,
			    (24u << 20) + 4096 - 2 * BLOCK_KICK_LEN, 0x5a));
	assert_true(all_are(k->b->ram + (25u << 20), 4096, 0));
	assert_false(block_has_more(k->b));
	drop(k);
}

static void a_disk_that_shrinks_ends_parts_left(void **state)
{
	struct kit *k = make_big();
	struct block_io io = {.op = BLOCK_ZEROES, .len = BIG_LEN};

	(void)state;
	block_start(k->b, &io);
	kick_once(k);
	assert_int_equal(block_resize(k->b, 8u << 20), 0);
	kick_once(k);
	assert_int_equal(k->done_nr, 1);
	assert_int_equal(k->done_res, -EIO);
	drop(k);
}

/* The same where zeroes have to be written with system calls. */
static void written_zeroes_take_turns(void **state)
{
	struct kit *k = make();
	struct block_io io = {.op = BLOCK_ZEROES, .durable = true, .len = BIG_LEN};
	unsigned kicks = 0;

	(void)state;
	assert_int_equal(truncate(k->path, 32u << 20), 0);
	assert_int_equal(open_block(k, "path=%s,io=sync"), 0);
	k->b->no_zero_range = true;
	block_start(k->b, &io);
	for (; !k->done_nr && kicks < 20; kicks++) {
		kick_once(k);
		assert_true(io.done <= (kicks + 1) * BLOCK_KICK_LEN);
	}
	assert_int_equal(k->done_res, 0);
	assert_true(kicks >= BIG_LEN / BLOCK_KICK_LEN);
	k->done_nr = 0;
	block_start(k->b, &io);
	kick_once(k);
	block_cancel(k->b, &io);
	kick_once(k);
	assert_int_equal(k->done_nr, 1);
	assert_int_equal(k->done_res, -ECANCELED);
	drop(k);
}

/* ---- the step machine, without a disk ---- */

static struct block machine(void)
{
	return (struct block){
		.info = {.discard = true}, .dio_mem = 512, .dio_offset = 512};
}

static void short_transfers_go_on(void **state)
{
	struct block b = machine();
	uint8_t buf[4096];
	struct iovec iov[2] = {{buf, 1024}, {buf + 1024, 3072}};
	struct block_io io = {
		.op = BLOCK_READ, .offset = 512, .len = 4096, .iov = iov, .iov_nr = 2};
	struct step s;

	(void)state;
	block_next_step(&b, &io, &s);
	assert_int_equal(s.kind, STEP_READV);
	assert_int_equal(s.offset, 512);
	assert_false(block_advance(&b, &io, 1500));
	block_next_step(&b, &io, &s);
	assert_int_equal(s.offset, 512 + 1500);
	assert_int_equal(s.len, 4096 - 1500);
	assert_int_equal(s.iov_nr, 1);
	assert_ptr_equal(s.iov[0].iov_base, buf + 1500);
	assert_false(block_advance(&b, &io, -EAGAIN));
	assert_true(block_advance(&b, &io, 4096 - 1500));
	assert_int_equal(io.result, 0);
}

static void retries_are_bounded(void **state)
{
	struct block b = machine();
	struct iovec iov = {&b, 512};
	struct block_io io = {.op = BLOCK_WRITE, .len = 512, .iov = &iov, .iov_nr = 1};
	unsigned n = 0;

	(void)state;
	while (!block_advance(&b, &io, -EAGAIN))
		n++;
	assert_int_equal(n, BLOCK_RETRIES_MAX);
	assert_int_equal(io.result, -EAGAIN);
}

static void impossible_results_are_errors(void **state)
{
	struct block b = machine();
	struct iovec iov = {&b, 512};
	struct block_io io = {.op = BLOCK_READ, .len = 512, .iov = &iov, .iov_nr = 1};

	(void)state;
	assert_true(block_advance(&b, &io, 513));
	assert_int_equal(io.result, -EIO);
}

static void refused_direct_io_is_repeated_buffered(void **state)
{
	struct block b = machine();
	uint8_t *p = aligned_alloc(4096, 4096);
	struct iovec iov = {p, 4096};
	struct block_io io = {.op = BLOCK_WRITE, .len = 4096, .iov = &iov, .iov_nr = 1};
	struct step s;

	(void)state;
	b.direct = true;
	block_next_step(&b, &io, &s);
	assert_false(s.buffered);
	assert_false(block_advance(&b, &io, -EINVAL));
	block_next_step(&b, &io, &s);
	assert_true(s.buffered);
	assert_true(block_advance(&b, &io, -EINVAL));
	assert_int_equal(io.result, -EINVAL);
	free(p);
}

static void unsupported_zeroing_writes_and_syncs(void **state)
{
	struct block b = machine();
	struct block_io io = {.op = BLOCK_ZEROES, .len = 1024, .durable = true};
	struct step s;

	(void)state;
	block_next_step(&b, &io, &s);
	assert_int_equal(s.kind, STEP_FALLOCATE);
	assert_false(block_advance(&b, &io, -EOPNOTSUPP));
	assert_true(b.no_zero_range);
	block_next_step(&b, &io, &s);
	assert_int_equal(s.kind, STEP_WRITEV);
	assert_int_equal(s.len, 1024);
	assert_false(block_advance(&b, &io, 1024));
	block_next_step(&b, &io, &s);
	assert_int_equal(s.kind, STEP_FSYNC);
	assert_true(block_advance(&b, &io, 0));
	assert_int_equal(io.result, 0);
}

static void discard_is_a_hint_but_errors_are_told(void **state)
{
	struct block b = machine();
	struct block_io io = {.op = BLOCK_DISCARD, .len = 1024};

	(void)state;
	assert_true(block_advance(&b, &io, -EOPNOTSUPP));
	assert_int_equal(io.result, 0);
	assert_true(b.no_punch);
	io = (struct block_io){.op = BLOCK_DISCARD, .len = 1024};
	assert_true(block_advance(&b, &io, -EIO));
	assert_int_equal(io.result, -EIO);
	io = (struct block_io){.op = BLOCK_FLUSH};
	assert_true(block_advance(&b, &io, -EIO));
	assert_int_equal(io.result, -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_backend_moves_data),
		cmocka_unit_test(io_uring_is_what_auto_takes_here),
		cmocka_unit_test(forbidden_io_uring_is_said_and_gone_around),
		cmocka_unit_test(zeroes_fall_back_to_writing),
		cmocka_unit_test(file_cut_behind_our_back_is_an_error),
		cmocka_unit_test(resizes),
		cmocka_unit_test(wrong_options_are_refused),
		cmocka_unit_test(image_in_use_is_refused),
		cmocka_unit_test(open_survives_lack_of_memory),
		cmocka_unit_test(zeroing_takes_turns),
		cmocka_unit_test(transfers_take_turns),
		cmocka_unit_test(parts_left_can_be_cancelled),
		cmocka_unit_test(a_disk_that_shrinks_ends_parts_left),
		cmocka_unit_test(written_zeroes_take_turns),
		cmocka_unit_test(short_transfers_go_on),
		cmocka_unit_test(retries_are_bounded),
		cmocka_unit_test(impossible_results_are_errors),
		cmocka_unit_test(refused_direct_io_is_repeated_buffered),
		cmocka_unit_test(unsupported_zeroing_writes_and_syncs),
		cmocka_unit_test(discard_is_a_hint_but_errors_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
