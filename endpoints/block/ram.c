/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* backend=mem: a disk in this process's memory, empty at the start. */
#include <errno.h>
#include <limits.h>
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

/* The first len bytes of what is left. */
static void move(uint8_t *at, const struct block_io *io, uint64_t len)
{
	for (const struct iovec *v = io->iov; len; v++) {
		uint64_t n = v->iov_len < len ? v->iov_len : len;

		if (io->op == BLOCK_READ)
			memcpy(v->iov_base, at, n);
		else
			memcpy(at, v->iov_base, n);
		at += n;
		len -= n;
	}
}

/* A part as a system call would have done it. */
static int64_t execute(const struct block *b, struct block_io *io, uint64_t max)
{
	uint64_t len = io->len - io->done;
	uint8_t *at = b->ram + io->offset + io->done;

	if (io->op == BLOCK_FLUSH || io->stage == STAGE_SYNC)
		return 0;
	/* The disk may have shrunk since the request was checked, or begun. */
	if (io->offset > b->ram_len || io->len > b->ram_len - io->offset)
		return -EIO;
	if (len > max)
		len = max;
	if (io->op == BLOCK_READ || io->op == BLOCK_WRITE)
		move(at, io, len);
	else
		zero(at, len);
	return (int64_t)len;
}

static void start(struct block *b, struct block_io *io)
{
	if (io->op == BLOCK_DISCARD || io->op == BLOCK_ZEROES)
		io->stage = STAGE_WRITE_ZEROES; /* can be done in parts */
	block_list_push(&b->pending, io);
}

static void kick(struct block *b)
{
	block_run_pending(b, execute, UINT_MAX);
}

const struct block_engine block_memory = {
	.name = "memory",
	.start = start,
	.kick = kick,
};
