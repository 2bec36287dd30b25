/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* backend=file: raw images and block devices. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "endpoints/block/internal.h"
#include "endpoints/util.h"

#define LOCK_TRIES   20
#define LOCK_WAIT_US 20000

static int fail(const struct block *b, const char *what, const char *path)
{
	int e = errno;

	return endpoint_err(b->log, e, "%s: cannot %s '%s': %s", b->name, what, path,
			    strerror(e));
}

static int check_type(struct block *b, const struct stat *st, const char *path)
{
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return endpoint_err(b->log, EINVAL,
				    "%s: '%s' is neither a file nor a block device",
				    b->name, path);
	b->device = S_ISBLK(st->st_mode);
	b->info.optimal = b->device ? 0 : (uint32_t)st->st_blksize;
	return 0;
}

/* Two writers on one image destroy it. A process that was killed may keep its
 * lock for a moment: the kernel ends its io_uring in the background. */
static int lock(struct block *b, const char *path)
{
	int how = (b->info.read_only ? LOCK_SH : LOCK_EX) | LOCK_NB, r, tries = 0;

	while ((r = flock(b->fd, how)) != 0 && errno == EWOULDBLOCK &&
	       tries++ < LOCK_TRIES)
		usleep(LOCK_WAIT_US);
	if (!r)
		return 0;
	if (errno != EWOULDBLOCK)
		return fail(b, "lock", path);
	return endpoint_err(b->log, EBUSY,
			    "%s: '%s' is in use by somebody else; two may share it only "
			    "if both say read-only=on",
			    b->name, path);
}

static void find_dio_alignment(struct block *b)
{
	int logical = BLOCK_SECTOR;

	b->dio_mem = b->dio_offset = BLOCK_SECTOR;
	if (b->device && !ioctl(b->fd, BLKSSZGET, &logical) && logical > 0)
		b->dio_mem = b->dio_offset = (uint32_t)logical;
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (!statx(b->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) &&
	    (sx.stx_mask & STATX_DIOALIGN) && sx.stx_dio_offset_align) {
		b->dio_mem = sx.stx_dio_mem_align;
		b->dio_offset = sx.stx_dio_offset_align;
	}
#endif
}

/* The same file without O_DIRECT, or the only one where O_DIRECT is refused. */
static int open_direct(struct block *b, const char *path, int flags)
{
	b->fd = open(path, flags | O_DIRECT);
	if (b->fd < 0 && errno == EINVAL) {
		endpoint_log(b->log, VIOMMU_LOG_WARN,
			     "%s: '%s' does not take O_DIRECT: cache=writeback is used",
			     b->name, path);
		b->fd = open(path, flags);
		return b->fd < 0 ? fail(b, "open", path) : 0;
	}
	if (b->fd < 0)
		return fail(b, "open", path);
	b->buffered_fd = open(path, flags);
	if (b->buffered_fd < 0)
		return fail(b, "open", path);
	b->direct = true;
	find_dio_alignment(b);
	return 0;
}

static int open_path(struct block *b, const char *path, bool direct)
{
	int flags = (b->info.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC, r;
	struct stat st;

	/* Looked at before it is opened: opening a FIFO may wait for ever. */
	if (stat(path, &st))
		return fail(b, "find", path);
	r = check_type(b, &st, path);
	if (r)
		return r;
	if (direct)
		return open_direct(b, path, flags);
	b->fd = open(path, flags);
	return b->fd < 0 ? fail(b, "open", path) : 0;
}

/* ---- descriptors that somebody opened for us ---- */

/* A duplicate, ours; or -EINVAL. */
static int adopt(struct block *b, const char *text, long fd, int *out)
{
	int flags = fd >= 0 && fd <= INT_MAX ? fcntl((int)fd, F_GETFL) : -1, r;
	struct stat st;

	if (flags < 0 || fstat((int)fd, &st))
		return endpoint_err(b->log, EINVAL, "%s: fd=%s: there is no such one",
				    b->name, text);
	r = check_type(b, &st, text);
	if (r)
		return r;
	if ((flags & O_ACCMODE) != O_RDWR &&
	    !(b->info.read_only && (flags & O_ACCMODE) == O_RDONLY))
		return endpoint_err(b->log, EINVAL,
				    "%s: fd=%s is not open for reading and writing; "
				    "read-only=on does without writing",
				    b->name, text);
	*out = fcntl((int)fd, F_DUPFD_CLOEXEC, 0);
	return *out < 0 ? fail(b, "duplicate", text) : 0;
}

/* "N", or with cache=none "N+M": with O_DIRECT, and without. */
static int take_fds(struct block *b, const char *text, bool direct)
{
	char *end;
	long fd = strtol(text, &end, 10);
	bool good = end != text && *end == (direct ? '+' : 0);
	int r = 0;

	if (good)
		r = adopt(b, text, fd, &b->fd);
	if (good && !r && direct) {
		text = end + 1;
		fd = strtol(text, &end, 10);
		good = end != text && !*end;
		r = good ? adopt(b, text, fd, &b->buffered_fd) : 0;
	}
	if (!good)
		return endpoint_err(b->log, EINVAL,
				    "%s: fd= is one number, or two (fd=5+6) with "
				    "cache=none",
				    b->name);
	if (r || !direct)
		return r;
	b->direct = fcntl(b->fd, F_GETFL) & O_DIRECT;
	if (b->direct)
		find_dio_alignment(b);
	return 0;
}

static void find_block_sizes(struct block *b)
{
	unsigned physical = 0, optimal = 0;
	int logical = 0;

	if (!b->device)
		return;
	if (!ioctl(b->fd, BLKSSZGET, &logical) && logical >= (int)BLOCK_SECTOR)
		b->info.logical = (uint32_t)logical;
	if (!ioctl(b->fd, BLKPBSZGET, &physical) && physical >= b->info.logical)
		b->info.physical = physical;
	if (!ioctl(b->fd, BLKIOOPT, &optimal))
		b->info.optimal = optimal;
}

int block_file_size(struct block *b, uint64_t *out)
{
	struct stat st;

	if (b->device)
		return ioctl(b->fd, BLKGETSIZE64, out) ? fail(b, "size", "the device")
						       : 0;
	if (fstat(b->fd, &st))
		return fail(b, "size", "the file");
	*out = (uint64_t)st.st_size;
	return 0;
}

static int take_size(struct block *b, const char *path)
{
	uint64_t size;
	int r = block_file_size(b, &size);

	if (r)
		return r;
	b->info.capacity = size & ~(uint64_t)(BLOCK_SECTOR - 1);
	if (b->info.capacity == size)
		return 0;
	endpoint_log(b->log, VIOMMU_LOG_WARN,
		     "%s: the last %u bytes of '%s' are no whole sector and out of reach",
		     b->name, (unsigned)(size % BLOCK_SECTOR), path);
	return 0;
}

static const char *const cache_names[] = {"writeback", "none", NULL};

int block_file_open(struct block *b, const struct options *options)
{
	const char *path = options_get(options, "path"), *fd = options_get(options, "fd");
	unsigned direct = 0;
	int r;

	if (!path == !fd || (path && !*path))
		return endpoint_err(b->log, EINVAL,
				    "%s: needs path=FILE (or fd=N), or backend=mem or "
				    "null",
				    b->name);
	r = options_choice(options, "cache", cache_names, &direct);
	if (!r)
		r = path ? open_path(b, path, direct) : take_fds(b, fd, direct);
	if (!r)
		r = lock(b, path ? path : fd);
	if (r)
		return r;
	b->info.discard = b->info.zero_unmap = !b->info.read_only;
	find_block_sizes(b);
	return take_size(b, path ? path : fd);
}

void block_file_close(struct block *b)
{
	if (b->fd >= 0) {
		flock(b->fd, LOCK_UN); /* an io_uring may outlive the descriptor */
		close(b->fd);
	}
	if (b->buffered_fd >= 0)
		close(b->buffered_fd);
}

int block_file_resize(struct block *b, uint64_t bytes)
{
	if (b->device)
		return endpoint_err(b->log, EINVAL,
				    "%s: a block device has its own size; say resize "
				    "without size",
				    b->name);
	if (b->info.read_only)
		return endpoint_err(b->log, EINVAL, "%s: is read-only", b->name);
	return ftruncate(b->fd, (off_t)bytes) ? fail(b, "resize", "the file") : 0;
}
