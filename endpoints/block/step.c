/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What an I/O needs of the kernel, one call after the other: transfers that come
 * back short are continued, zeroing that the file system cannot do is done by
 * writing, and what has to be durable is followed by a sync.
 */
#include <linux/falloc.h>

#include "endpoints/block/internal.h"
#include "endpoints/util.h"

static bool iov_aligned(const struct iovec *iov, unsigned nr, uint32_t align)
{
	uintptr_t bits = 0;

	for (unsigned i = 0; i < nr; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return !(bits & (align - 1));
}

/* Direct I/O takes aligned memory and offsets only; the rest goes through the
 * page cache, which the kernel keeps coherent with direct I/O. */
static bool takes_buffered(const struct block *b, const struct block_io *io,
			   const struct step *s)
{
	if (!b->direct)
		return false;
	return io->buffered || ((s->offset | s->len) & (b->dio_offset - 1)) ||
	       !iov_aligned(s->iov, s->iov_nr, b->dio_mem);
}

static void transfer_step(const struct block *b, const struct block_io *io,
			  struct step *s)
{
	s->kind = io->op == BLOCK_READ ? STEP_READV : STEP_WRITEV;
	s->flags = io->durable ? RWF_DSYNC : 0;
	s->offset = io->offset + io->done;
	s->len = io->len - io->done;
	s->iov = io->iov;
	s->iov_nr = io->iov_nr;
	s->buffered = takes_buffered(b, io, s);
}

/* All of zero_iov is the same zeroes over and over; the tail has its own iovec. */
static void zero_write_step(const struct block *b, struct block_io *io, struct step *s)
{
	uint64_t left = io->len - io->done, nr = left / BLOCK_ZERO_LEN;

	s->kind = STEP_WRITEV;
	s->offset = io->offset + io->done;
	if (nr) {
		s->iov = b->zero_iov;
		s->iov_nr = nr < BLOCK_ZERO_IOV_NR ? (unsigned)nr : BLOCK_ZERO_IOV_NR;
		s->len = (uint64_t)s->iov_nr * BLOCK_ZERO_LEN;
	} else {
		io->tail = (struct iovec){b->zeroes, left};
		s->iov = &io->tail;
		s->iov_nr = 1;
		s->len = left;
	}
	s->buffered = takes_buffered(b, io, s);
}

static void allocate_step(const struct block_io *io, struct step *s)
{
	bool punch = io->op == BLOCK_DISCARD || io->may_unmap;

	s->kind = STEP_FALLOCATE;
	s->flags = FALLOC_FL_KEEP_SIZE |
		   (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	s->offset = io->offset;
	s->len = io->len;
}

void block_next_step(const struct block *b, struct block_io *io, struct step *s)
{
	*s = (struct step){.kind = STEP_FSYNC};
	if (io->stage == STAGE_WRITE_ZEROES)
		zero_write_step(b, io, s);
	else if (io->stage == STAGE_SYNC || io->op == BLOCK_FLUSH)
		return;
	else if (io->op == BLOCK_READ || io->op == BLOCK_WRITE)
		transfer_step(b, io, s);
	else
		allocate_step(io, s);
}

/* Drops the first n bytes of the iovecs. */
static void consume(struct block_io *io, uint64_t n)
{
	while (io->iov_nr && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->iov_nr--;
	}
	if (io->iov_nr) {
		io->iov->iov_base = (uint8_t *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
	}
}

static bool finish(struct block_io *io, int result)
{
	io->result = result;
	io->stage = STAGE_FINISHED;
	return true;
}

/* All bytes are there; zeroes that must last still need a sync. */
static bool finish_data(struct block_io *io)
{
	if (io->op != BLOCK_ZEROES || !io->durable)
		return finish(io, 0);
	io->stage = STAGE_SYNC;
	return false;
}

static bool advance_transfer(struct block_io *io, int64_t res)
{
	if (res == 0) /* the file ends here: it was cut behind our back */
		return finish(io, -EIO);
	if ((uint64_t)res > io->len - io->done)
		return finish(io, -EIO);
	io->done += (uint64_t)res;
	io->retries = 0;
	if (io->stage == STAGE_MAIN)
		consume(io, (uint64_t)res);
	return io->done == io->len ? finish_data(io) : false;
}

static bool is_unsupported(int64_t res)
{
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL || res == -ENODEV;
}

/* DISCARD is a hint; ZEROES is not. */
static bool cannot_allocate(struct block *b, struct block_io *io, int64_t res)
{
	if (res != -EINVAL) {
		if (io->op == BLOCK_DISCARD || io->may_unmap)
			b->no_punch = true;
		else
			b->no_zero_range = true;
	}
	if (io->op == BLOCK_DISCARD)
		return finish(io, 0);
	io->stage = STAGE_WRITE_ZEROES;
	return false;
}

static bool is_transfer(const struct block_io *io)
{
	return io->stage == STAGE_WRITE_ZEROES || io->op == BLOCK_READ ||
	       io->op == BLOCK_WRITE;
}

static bool advance_error(struct block *b, struct block_io *io, int64_t res)
{
	bool transfer = is_transfer(io) && io->stage != STAGE_SYNC;

	if ((res == -EAGAIN || res == -EINTR) && !io->cancelled &&
	    io->retries++ < BLOCK_RETRIES_MAX)
		return false;
	/* Alignment rules differ by file system and are not always told. */
	if (res == -EINVAL && transfer && b->direct && !io->buffered) {
		io->buffered = true;
		return false;
	}
	if (io->stage == STAGE_MAIN && !transfer && io->op != BLOCK_FLUSH &&
	    is_unsupported(res))
		return cannot_allocate(b, io, res);
	return finish(io, res == -EINTR && io->cancelled ? -ECANCELED : (int)res);
}

bool block_advance(struct block *b, struct block_io *io, int64_t res)
{
	if (res < 0)
		return advance_error(b, io, res);
	if (io->cancelled && is_transfer(io) && io->done + (uint64_t)res < io->len)
		return finish(io, -ECANCELED);
	if (io->stage == STAGE_SYNC || io->op == BLOCK_FLUSH)
		return finish(io, 0);
	if (is_transfer(io))
		return advance_transfer(io, res);
	return finish_data(io);
}

void block_list_push(struct block_list *l, struct block_io *io)
{
	io->next = NULL;
	if (l->last)
		l->last->next = io;
	else
		l->first = io;
	l->last = io;
}

struct block_io *block_list_pop(struct block_list *l)
{
	struct block_io *io = l->first;

	if (io) {
		l->first = io->next;
		if (!l->first)
			l->last = NULL;
	}
	return io;
}
