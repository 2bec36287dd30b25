/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Opens a backend and hands calls on to its engine. */
#include <stdio.h>

#include "endpoints/block/internal.h"
#include "endpoints/util.h"

enum backend { BACKEND_FILE, BACKEND_MEMORY, BACKEND_NULL };
static const char *const backend_names[] = {"file", "mem", "null", NULL};
enum io_choice { IO_AUTO, IO_URING, IO_SYNC };
static const char *const io_names[] = {"auto", "uring", "sync", NULL};

static int prepare_zeroes(struct block *b)
{
	b->zeroes = endpoint_alloc(b->alloc, BLOCK_ZERO_LEN, 4096);
	if (!b->zeroes)
		return endpoint_err(b->log, ENOMEM, "%s: out of memory", b->name);
	for (unsigned i = 0; i < BLOCK_ZERO_IOV_NR; i++)
		b->zero_iov[i] = (struct iovec){b->zeroes, BLOCK_ZERO_LEN};
	return 0;
}

static int choose_engine(struct block *b, unsigned choice)
{
	int r;

	if (choice != IO_SYNC) {
		b->engine = &block_uring;
		r = b->engine->create(b);
		if (!r)
			return 0;
		b->engine = NULL;
		if (choice == IO_URING)
			return endpoint_err(b->log, -r,
					    "%s: io_uring cannot be used (%s); allow it "
					    "(sysctl kernel.io_uring_disabled, seccomp) "
					    "or use io=sync",
					    b->name, strerror(-r));
		endpoint_log(b->log, VIOMMU_LOG_WARN,
			     "%s: io_uring cannot be used (%s): requests run one at a "
			     "time on the endpoint's thread",
			     b->name, strerror(-r));
	}
	b->engine = &block_sync;
	b->info.blocks = true;
	return 0;
}

static int open_file(struct block *b, const struct options *o)
{
	unsigned choice = IO_AUTO;
	int r = options_choice(o, "io", io_names, &choice);

	if (!r && options_get(o, "size"))
		r = endpoint_err(b->log, EINVAL,
				 "%s: size= is for backend=mem and null; a file has its "
				 "own size",
				 b->name);
	if (!r)
		r = block_file_open(b, o);
	if (!r)
		r = prepare_zeroes(b);
	if (!r)
		r = choose_engine(b, choice);
	return r;
}

static int open_sized(struct block *b, const struct options *o, bool null)
{
	uint64_t size = 0;
	int r;

	if (options_get(o, "path"))
		return endpoint_err(b->log, EINVAL, "%s: path= is for backend=file",
				    b->name);
	r = options_size(o, "size", BLOCK_SECTOR, 1ull << 60, &size);
	if (r)
		return r;
	if (!size)
		return endpoint_err(b->log, EINVAL, "%s: needs size=, e.g. size=1G",
				    b->name);
	b->info.capacity = size & ~(uint64_t)(BLOCK_SECTOR - 1);
	b->info.discard = b->info.zero_unmap = true;
	b->info.null = null;
	if (null)
		return options_bool(o, "read-zeroes", &b->info.read_zeroes);
	b->engine = &block_memory;
	return block_ram_open(b, b->info.capacity);
}

static int open_backend(struct block *b, const struct options *o)
{
	unsigned backend = BACKEND_FILE;
	bool discard = true;
	int r = options_choice(o, "backend", backend_names, &backend);

	if (!r)
		r = options_bool(o, "read-only", &b->info.read_only);
	if (!r)
		r = options_bool(o, "discard", &discard);
	if (!r)
		r = backend == BACKEND_FILE ? open_file(b, o)
					    : open_sized(b, o, backend == BACKEND_NULL);
	if (!discard)
		b->info.discard = b->info.zero_unmap = false;
	b->info.engine = b->engine ? b->engine->name : "null";
	return r;
}

int block_open(const struct options *o, const struct viommu_alloc *alloc,
	       unsigned inflight, block_done_fn *done, void *opaque, struct block **out)
{
	struct block *b = endpoint_alloc(alloc, sizeof(*b), _Alignof(struct block));
	int r;

	if (!b)
		return endpoint_err(o->log, ENOMEM, "%s: out of memory", o->who);
	b->alloc = alloc;
	b->log = o->log;
	snprintf(b->name, sizeof(b->name), "%s", o->who);
	b->inflight_max = inflight;
	b->done = done;
	b->opaque = opaque;
	b->fd = b->buffered_fd = -1;
	b->info.logical = b->info.physical = BLOCK_SECTOR;
	r = open_backend(b, o);
	if (r) {
		block_close(b);
		return r;
	}
	*out = b;
	return 0;
}

void block_close(struct block *b)
{
	const struct viommu_alloc *alloc;

	if (!b)
		return;
	alloc = b->alloc;
	if (b->engine && b->engine->destroy)
		b->engine->destroy(b);
	block_file_close(b);
	block_ram_close(b);
	endpoint_free(alloc, b->zeroes, BLOCK_ZERO_LEN);
	endpoint_free(alloc, b, sizeof(*b));
}

const struct block_info *block_info(const struct block *b)
{
	return &b->info;
}

/* Where an I/O begins, given what is known of the file system by now. */
static enum block_stage first_stage(const struct block *b, const struct block_io *io)
{
	if ((io->op == BLOCK_DISCARD || io->op == BLOCK_ZEROES) && !io->len)
		return STAGE_FINISHED;
	if (io->op == BLOCK_DISCARD && (b->no_punch || !b->info.discard))
		return STAGE_FINISHED;
	if (io->op == BLOCK_ZEROES && (io->may_unmap ? b->no_punch : b->no_zero_range))
		return STAGE_WRITE_ZEROES;
	return STAGE_MAIN;
}

static void start_null(struct block *b, struct block_io *io)
{
	bool zero = io->op == BLOCK_READ && b->info.read_zeroes;

	for (unsigned i = 0; zero && i < io->iov_nr; i++)
		memset(io->iov[i].iov_base, 0, io->iov[i].iov_len);
	block_list_push(&b->finished, io);
}

void block_start(struct block *b, struct block_io *io)
{
	io->stage = first_stage(b, io);
	io->done = 0;
	io->retries = 0;
	io->result = 0;
	io->buffered = io->issued = io->cancelled = false;
	io->next = NULL;
	if (io->stage == STAGE_FINISHED)
		block_list_push(&b->finished, io);
	else if (!b->engine)
		start_null(b, io);
	else
		b->engine->start(b, io);
}

/* What was cancelled is over, wherever it stands. */
static void drop_cancelled(struct block *b)
{
	struct block_list all = b->pending;
	struct block_io *io;

	b->cancelled = false;
	b->pending = (struct block_list){NULL, NULL};
	while ((io = block_list_pop(&all)) != NULL) {
		if (io->cancelled)
			io->result = -ECANCELED;
		block_list_push(io->cancelled ? &b->finished : &b->pending, io);
	}
}

void block_run_pending(struct block *b, block_step_fn *step, unsigned steps)
{
	struct block_io *io;
	uint64_t moved = 0, before;

	if (unlikely(b->cancelled))
		drop_cancelled(b);
	while (steps-- && moved < BLOCK_KICK_LEN && (io = b->pending.first) != NULL) {
		before = io->done;
		/* Until it is over it stays the first: order is kept. */
		if (block_advance(b, io, step(b, io, BLOCK_KICK_LEN - moved)))
			block_list_push(&b->finished, block_list_pop(&b->pending));
		moved += io->done - before;
	}
}

void block_kick(struct block *b)
{
	if (b->engine)
		b->engine->kick(b);
}

void block_settle(struct block *b)
{
	if (b->engine && b->engine->settle)
		b->engine->settle(b);
}

unsigned block_reap(struct block *b)
{
	struct block_list finished = b->finished;
	struct block_io *io;
	unsigned nr = 0;

	/* What done() starts and is over at once belongs to the next call. */
	b->finished = (struct block_list){NULL, NULL};
	while ((io = block_list_pop(&finished)) != NULL) {
		b->done(b->opaque, io, io->result);
		nr++;
	}
	if (b->engine && b->engine->reap)
		nr += b->engine->reap(b);
	return nr;
}

void block_cancel(struct block *b, struct block_io *io)
{
	if (io->cancelled)
		return;
	io->cancelled = b->cancelled = true;
	if (b->engine && b->engine->cancel)
		b->engine->cancel(b, io);
}

bool block_has_more(const struct block *b)
{
	return b->pending.first || b->finished.first;
}

void block_wait(struct block *b, unsigned timeout_ms)
{
	if (!block_has_more(b) && b->engine && b->engine->wait)
		b->engine->wait(b, timeout_ms);
}

int block_fd(const struct block *b)
{
	return b->engine && b->engine->fd ? b->engine->fd(b) : -1;
}

bool block_arm(struct block *b)
{
	bool ready = b->engine && b->engine->arm && b->engine->arm(b);

	return ready || block_has_more(b);
}

void block_disarm(struct block *b)
{
	if (b->engine && b->engine->disarm)
		b->engine->disarm(b);
}

int block_resize(struct block *b, uint64_t bytes)
{
	uint64_t now = b->info.capacity;
	int r = 0;

	if (bytes % BLOCK_SECTOR)
		return endpoint_err(b->log, EINVAL, "%s: size is no multiple of %u",
				    b->name, BLOCK_SECTOR);
	if (b->fd >= 0) {
		r = bytes ? block_file_resize(b, bytes) : 0;
		if (!r)
			r = block_file_size(b, &now);
	} else if (bytes) {
		r = b->ram ? block_ram_resize(b, bytes) : 0;
		now = bytes;
	}
	if (!r)
		b->info.capacity = now & ~(uint64_t)(BLOCK_SECTOR - 1);
	return r;
}
