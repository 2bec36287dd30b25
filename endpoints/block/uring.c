/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * io_uring straight between the file and the caller's memory. Submission and
 * completion touch shared memory only; one io_uring_enter a kick.
 */
#include <errno.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "endpoints/block/internal.h"
#include "endpoints/util.h"

enum { FILE_MAIN, FILE_BUFFERED }; /* indices of the registered files */

struct uring {
	struct io_uring ring;
	int eventfd;
	bool armed;		   /* completions signal the eventfd */
	struct block_list backlog; /* no submission entry was free */
};

static int init_ring(struct block *b, struct uring *u)
{
	/* Two entries an I/O: itself and a cancellation. COOP_TASKRUN: the kernel
	 * does not interrupt this thread for each completion; TASKRUN_FLAG tells
	 * settle() that it is worth entering. Kernels before 5.19 know neither. */
	unsigned flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	int r = io_uring_queue_init(2 * b->inflight_max, &u->ring, flags);

	if (r == -EINVAL)
		r = io_uring_queue_init(2 * b->inflight_max, &u->ring, 0);
	return r;
}

static int register_all(struct block *b, struct uring *u)
{
	int files[] = {
		[FILE_MAIN] = b->fd,
		[FILE_BUFFERED] = b->buffered_fd,
	};
	int r = io_uring_register_files(&u->ring, files, b->buffered_fd >= 0 ? 2 : 1);

	if (!r)
		r = io_uring_register_eventfd(&u->ring, u->eventfd);
	if (!r)
		r = io_uring_cq_eventfd_toggle(&u->ring, false);
	return r;
}

static int create(struct block *b)
{
	struct uring *u = endpoint_alloc(b->alloc, sizeof(*u), _Alignof(struct uring));
	int r;

	if (!u)
		return -ENOMEM;
	u->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = u->eventfd < 0 ? -errno : init_ring(b, u);
	if (!r) {
		r = register_all(b, u);
		if (r)
			io_uring_queue_exit(&u->ring);
	}
	if (r) {
		if (u->eventfd >= 0)
			close(u->eventfd);
		endpoint_free(b->alloc, u, sizeof(*u));
		return r;
	}
	b->uring = u;
	return 0;
}

static void destroy(struct block *b)
{
	struct uring *u = b->uring;

	io_uring_queue_exit(&u->ring);
	close(u->eventfd);
	endpoint_free(b->alloc, u, sizeof(*u));
}

static void prepare(struct io_uring_sqe *sqe, const struct step *s)
{
	int fd = s->buffered ? FILE_BUFFERED : FILE_MAIN;

	switch (s->kind) {
	case STEP_READV:
		io_uring_prep_readv2(sqe, fd, s->iov, s->iov_nr, s->offset, s->flags);
		break;
	case STEP_WRITEV:
		io_uring_prep_writev2(sqe, fd, s->iov, s->iov_nr, s->offset, s->flags);
		break;
	case STEP_FSYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case STEP_FALLOCATE:
		io_uring_prep_fallocate(sqe, fd, s->flags, (off_t)s->offset,
					(off_t)s->len);
		break;
	}
}

static void start(struct block *b, struct block_io *io)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&b->uring->ring);
	struct step step;

	if (!sqe) {
		block_list_push(&b->uring->backlog, io);
		return;
	}
	block_next_step(b, io, &step);
	prepare(sqe, &step);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE | (io->retries ? IOSQE_ASYNC : 0u));
	io_uring_sqe_set_data(sqe, io);
	io->issued = true;
}

static void kick(struct block *b)
{
	struct uring *u = b->uring;
	struct block_io *io;

	/* Refused (-EBUSY, -EAGAIN): the entries stay for the next kick. */
	if (io_uring_sq_ready(&u->ring) && io_uring_submit(&u->ring) < 0)
		return;
	if (likely(!u->backlog.first))
		return;
	while (io_uring_sq_space_left(&u->ring) &&
	       (io = block_list_pop(&u->backlog)) != NULL)
		start(b, io);
	io_uring_submit(&u->ring);
}

static void settle(struct block *b)
{
	struct io_uring *ring = &b->uring->ring;

	if (IO_URING_READ_ONCE(*ring->sq.kflags) &
	    (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
		io_uring_get_events(ring);
}

/* One completion. true: its I/O is over and was told so. */
static bool complete(struct block *b, const struct io_uring_cqe *cqe)
{
	struct block_io *io = io_uring_cqe_get_data(cqe);

	if (!io) /* of a cancellation */
		return false;
	io->issued = false;
	if (!block_advance(b, io, cqe->res)) {
		start(b, io);
		return false;
	}
	b->done(b->opaque, io, io->result);
	return true;
}

static unsigned reap(struct block *b)
{
	struct io_uring *ring = &b->uring->ring;
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0, nr = 0;

	io_uring_for_each_cqe(ring, head, cqe)
	{
		seen++;
		nr += complete(b, cqe);
	}
	io_uring_cq_advance(ring, seen);
	return nr;
}

static void cancel(struct block *b, struct block_io *io)
{
	struct io_uring *ring = &b->uring->ring;
	struct io_uring_sqe *sqe;

	if (!io->issued)
		return;
	sqe = io_uring_get_sqe(ring);
	if (!sqe) {
		io_uring_submit(ring);
		sqe = io_uring_get_sqe(ring);
	}
	if (!sqe)
		return; /* it will end by itself */
	io_uring_prep_cancel(sqe, io, 0);
	io_uring_sqe_set_data(sqe, NULL);
}

static void wait_some(struct block *b, unsigned timeout_ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000ll,
	};
	struct io_uring_cqe *cqe;

	io_uring_submit_and_wait_timeout(&b->uring->ring, &cqe, 1, &ts, NULL);
}

static bool arm(struct block *b)
{
	struct uring *u = b->uring;
	uint64_t count;

	if (!u->armed) {
		/* What is left from last time would end the sleep at once. */
		if (read(u->eventfd, &count, sizeof(count)) < 0)
			count = 0;
		io_uring_cq_eventfd_toggle(&u->ring, true);
		u->armed = true;
	}
	settle(b);
	return io_uring_cq_ready(&u->ring) || io_uring_sq_ready(&u->ring) ||
	       u->backlog.first;
}

static void disarm(struct block *b)
{
	struct uring *u = b->uring;

	if (u->armed)
		io_uring_cq_eventfd_toggle(&u->ring, false);
	u->armed = false;
}

static int event_fd(const struct block *b)
{
	return b->uring->eventfd;
}

const struct block_engine block_uring = {
	.name = "io_uring",
	.create = create,
	.destroy = destroy,
	.start = start,
	.kick = kick,
	.settle = settle,
	.reap = reap,
	.cancel = cancel,
	.wait = wait_some,
	.arm = arm,
	.disarm = disarm,
	.fd = event_fd,
};
