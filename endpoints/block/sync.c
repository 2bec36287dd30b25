/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Plain system calls on the endpoint's thread, where io_uring is not allowed:
 * correct, but one request at a time, and the thread waits for the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "endpoints/block/internal.h"

static int64_t call(const struct block *b, const struct step *s)
{
	int fd = s->buffered ? b->buffered_fd : b->fd;
	off_t offset = (off_t)s->offset;
	int64_t r = -1;

	switch (s->kind) {
	case STEP_READV:
		r = preadv2(fd, s->iov, (int)s->iov_nr, offset, s->flags);
		break;
	case STEP_WRITEV:
		r = pwritev2(fd, s->iov, (int)s->iov_nr, offset, s->flags);
		break;
	case STEP_FSYNC:
		r = fdatasync(fd);
		break;
	case STEP_FALLOCATE:
		r = fallocate(fd, s->flags, offset, (off_t)s->len);
		break;
	}
	return r < 0 ? -errno : r;
}

static void start(struct block *b, struct block_io *io)
{
	block_list_push(&b->pending, io);
}

/* max: a transfer is one call, however long. */
static int64_t next_call(const struct block *b, struct block_io *io, uint64_t max)
{
	struct step step;

	(void)max;
	block_next_step(b, io, &step);
	return call(b, &step);
}

static void kick(struct block *b)
{
	block_run_pending(b, next_call, BLOCK_KICK_NR);
}

const struct block_engine block_sync = {
	.name = "sync",
	.start = start,
	.kick = kick,
};
