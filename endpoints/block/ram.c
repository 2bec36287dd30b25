/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* backend=mem: a disk in this process's memory, empty at the start. */
#include <errno.h>
#include <sys/mman.h>

#include "endpoints/block/internal.h"
#include "endpoints/util.h"

#define PAGE_LEN 4096ull

int block_ram_open(struct block *b, uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return endpoint_err(b->log, errno, "%s: cannot reserve %llu bytes: %s",
				    b->name, (unsigned long long)bytes, strerror(errno));
	b->ram = p;
	b->ram_len = bytes;
	return 0;
}

void block_ram_close(struct block *b)
{
	if (b->ram)
		munmap(b->ram, b->ram_len);
}

int block_ram_resize(struct block *b, uint64_t bytes)
{
	void *p = mremap(b->ram, b->ram_len, bytes, MREMAP_MAYMOVE);

	if (p == MAP_FAILED)
		return endpoint_err(b->log, errno, "%s: cannot resize to %llu bytes: %s",
				    b->name, (unsigned long long)bytes, strerror(errno));
	b->ram = p;
	b->ram_len = bytes;
	return 0;
}

/* Whole pages go back to the system and read as zeroes from then on. */
static void zero(uint8_t *p, uint64_t len)
{
	uintptr_t at = (uintptr_t)p;
	uint64_t head = -at & (PAGE_LEN - 1), pages;

	if (head > len)
		head = len;
	pages = (len - head) & ~(PAGE_LEN - 1);
	memset(p, 0, head);
	if (pages && madvise(p + head, pages, MADV_DONTNEED))
		memset(p + head, 0, pages);
	memset(p + head + pages, 0, len - head - pages);
}

static void move(const struct block *b, struct block_io *io)
{
	uint8_t *at = b->ram + io->offset;

	for (unsigned i = 0; i < io->iov_nr; i++) {
		const struct iovec *v = &io->iov[i];

		if (io->op == BLOCK_READ)
			memcpy(v->iov_base, at, v->iov_len);
		else
			memcpy(at, v->iov_base, v->iov_len);
		at += v->iov_len;
	}
	io->done = io->len;
}

static int execute(const struct block *b, struct block_io *io)
{
	/* The disk may have shrunk since the request was checked. */
	if (io->op != BLOCK_FLUSH &&
	    (io->offset > b->ram_len || io->len > b->ram_len - io->offset))
		return -EIO;
	if (io->op == BLOCK_READ || io->op == BLOCK_WRITE)
		move(b, io);
	else if (io->op != BLOCK_FLUSH)
		zero(b->ram + io->offset, io->len);
	return 0;
}

static void start(struct block *b, struct block_io *io)
{
	block_list_push(&b->pending, io);
}

static void kick(struct block *b)
{
	struct block_io *io;
	uint64_t moved = 0;

	while (moved < BLOCK_KICK_LEN && (io = block_list_pop(&b->pending)) != NULL) {
		io->result = io->cancelled ? -ECANCELED : execute(b, io);
		io->stage = STAGE_FINISHED;
		block_list_push(&b->finished, io);
		moved += io->done;
	}
}

const struct block_engine block_memory = {
	.name = "memory",
	.start = start,
	.kick = kick,
};
