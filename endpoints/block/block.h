/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Where the data of a disk endpoint is: a file or block device, memory, or
 * nowhere. Knows no virtio and no guest addresses: memory comes as iovecs that
 * the caller keeps valid until the I/O is done.
 *
 * Life of an I/O: block_start() (memory only, may be in a DMA section),
 * block_kick() (one system call for all started), block_settle() (lets the
 * kernel deliver completions), block_reap() (memory only: calls done()).
 *
 * Threads: one thread per object at a time.
 */
#ifndef ENDPOINTS_BLOCK_BLOCK_H
#define ENDPOINTS_BLOCK_BLOCK_H

#include <sys/uio.h>

#include <viommu/base.h>

#include "endpoints/options.h"

#define BLOCK_SECTOR	  512u	/* unit of capacities and alignments */
#define BLOCK_IOV_MAX	  1024u /* iovecs of one I/O, the kernel's UIO_MAXIOV */
#define BLOCK_RETRIES_MAX 16u	/* EAGAIN, EINTR in a row before an I/O fails */
#define BLOCK_ZERO_LEN	  65536u

struct block;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_ZEROES };

/* What an I/O does next; the backend's. */
enum block_stage { STAGE_MAIN, STAGE_WRITE_ZEROES, STAGE_SYNC, STAGE_FINISHED };

struct block_io {
	enum block_op op;
	bool durable;	      /* WRITE, ZEROES: on stable storage when done */
	bool may_unmap;	      /* ZEROES */
	uint64_t offset, len; /* bytes, multiples of BLOCK_SECTOR */
	struct iovec *iov;    /* READ, WRITE: len bytes; changed while under way */
	unsigned iov_nr;

	/* The backend's. */
	enum block_stage stage;
	uint64_t done; /* bytes transferred or zeroed */
	unsigned retries;
	int result;
	struct iovec tail;     /* the last write of zeroes */
	bool buffered;	       /* direct I/O was refused for this one */
	bool issued;	       /* the kernel has it */
	bool cancelled;	       /* somebody asked to cancel it */
	struct block_io *next; /* in a list of the backend */
};

struct block_info {
	uint64_t capacity;	    /* bytes, a multiple of BLOCK_SECTOR */
	uint32_t logical, physical; /* block sizes, bytes */
	uint32_t optimal;	    /* bytes, 0: not known */
	bool read_only;
	bool discard;	    /* DISCARD does something */
	bool zero_unmap;    /* ZEROES may deallocate */
	bool null;	    /* moves no data: I/O need not be started at all */
	bool read_zeroes;   /* null: reads fill with zeroes */
	bool blocks;	    /* a kick waits for the storage */
	const char *engine; /* "io_uring", "sync", "memory", "null" */
};

/* res: 0 or -errno (-ECANCELED: cancelled). */
typedef void block_done_fn(void *opaque, struct block_io *io, int res);

/* For --help; endpoints append this to their own. */
#define BLOCK_OPTIONS                                                                    \
	{"backend", "file|mem|null", "where the data is (default: file)"},               \
		{"path", "PATH", "backend=file: raw image or block device"},             \
		{"fd", "N", "in place of path: a descriptor viommud was started with"},  \
		{"size", "SIZE", "backend=mem and null: capacity, e.g. 1G"},             \
		{"cache", "writeback|none",                                              \
		 "none: O_DIRECT, past the page cache (default: writeback)"},            \
		{"io", "auto|uring|sync",                                                \
		 "auto: io_uring, or plain system calls where it is not allowed"},       \
		{"read-only", "on|off", "refuse writes (default: off)"},                 \
		{"discard", "on|off", "pass DISCARD on to the file (default: on)"},      \
	{                                                                                \
		"read-zeroes", "on|off",                                                 \
			"backend=null: reads give zeroes instead of leaving memory as "  \
			"it is"                                                          \
	}

/*
 * Opens a backend from options. inflight: I/Os under way at a time, at most.
 * Result: 0, -EINVAL, -ENOMEM, or why the file or io_uring cannot be used.
 */
int block_open(const struct options *options, const struct viommu_alloc *alloc,
	       unsigned inflight, block_done_fn *done, void *opaque, struct block **out);
/* Nothing may be under way. NULL is allowed. */
void block_close(struct block *b);

const struct block_info *block_info(const struct block *b);

/* At most `inflight` I/Os at a time; memory only. */
void block_start(struct block *b, struct block_io *io);
/* Hands what was started to the kernel, or does a part of it; may make system calls. */
void block_kick(struct block *b);
/* Has the kernel post what it has finished; may make a system call. */
void block_settle(struct block *b);
/* Calls done() for what has finished; memory only. Result: how many. */
unsigned block_reap(struct block *b);
/* Asks for an early end; done() follows in any case. Takes effect at a kick. */
void block_cancel(struct block *b, struct block_io *io);
/* Sleeps until something can be reaped, at most that long. */
void block_wait(struct block *b, unsigned timeout_ms);

/* Whether a kick or reap has something to do at once. */
bool block_has_more(const struct block *b);

/* Descriptor that signals completions while armed, -1: none is needed. */
int block_fd(const struct block *b);
/* true: something can be reaped already. */
bool block_arm(struct block *b);
void block_disarm(struct block *b);

/* bytes 0: take over the size the file has now; else also change it (files,
 * memory, null). Result: 0, -EINVAL, -ENOMEM, or what the file system says. */
int block_resize(struct block *b, uint64_t bytes);

#endif /* ENDPOINTS_BLOCK_BLOCK_H */
