/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Inside of a block backend: the step machine and its engines. */
#ifndef ENDPOINTS_BLOCK_INTERNAL_H
#define ENDPOINTS_BLOCK_INTERNAL_H

#include "endpoints/block/block.h"

/* One system call's worth of an I/O. */
enum step_kind { STEP_READV, STEP_WRITEV, STEP_FSYNC, STEP_FALLOCATE };
struct step {
	enum step_kind kind;
	bool buffered; /* which descriptor */
	int flags;     /* RWF_* or FALLOC_FL_* */
	uint64_t offset, len;
	const struct iovec *iov;
	unsigned iov_nr;
};

struct block_list {
	struct block_io *first, *last;
};

/* Who makes the system calls. Meanings as in block.h. */
struct block_engine {
	const char *name;
	int (*create)(struct block *b);
	void (*destroy)(struct block *b);
	void (*start)(struct block *b, struct block_io *io);
	void (*kick)(struct block *b);
	void (*settle)(struct block *b);
	unsigned (*reap)(struct block *b);
	void (*cancel)(struct block *b, struct block_io *io);
	void (*wait)(struct block *b, unsigned timeout_ms);
	bool (*arm)(struct block *b);
	void (*disarm)(struct block *b);
	int (*fd)(const struct block *b);
};
extern const struct block_engine block_uring, block_sync, block_memory;

#define BLOCK_ZERO_IOV_NR 16u

/* sync and memory: a kick that has moved or zeroed this much, or made so many system
 * calls, leaves the rest for the next one, so that one endpoint does not keep its
 * thread from others. */
#define BLOCK_KICK_LEN (4u << 20)
#define BLOCK_KICK_NR  32u

struct uring; /* uring.c */

struct block {
	struct block_info info;
	const struct block_engine *engine;
	const struct viommu_alloc *alloc;
	const struct viommu_log *log;
	char name[32]; /* whose backend, for messages */
	unsigned inflight_max;
	block_done_fn *done;
	void *opaque;

	/* Files and devices. */
	int fd;			      /* O_DIRECT if asked for, else buffered */
	int buffered_fd;	      /* O_DIRECT only: takes what is not aligned */
	bool direct, device;	      /* O_DIRECT is in use; a block device */
	uint32_t dio_mem, dio_offset; /* alignment of direct I/O, bytes */
	bool no_punch, no_zero_range; /* the file system said so */
	uint8_t *zeroes;	      /* BLOCK_ZERO_LEN zero bytes */
	struct iovec zero_iov[BLOCK_ZERO_IOV_NR]; /* all at zeroes */

	/* backend=mem */
	uint8_t *ram;
	uint64_t ram_len;

	/* sync and memory: started; all: over and not yet reaped. */
	struct block_list pending, finished;
	bool cancelled; /* something was, since the last kick */
	struct uring *uring;
};

/* The next system call of an I/O that is not finished. */
void block_next_step(const struct block *b, struct block_io *io, struct step *out);
/* Takes a system call's result. true: the I/O is finished, io->result is set. */
bool block_advance(struct block *b, struct block_io *io, int64_t res);

void block_list_push(struct block_list *l, struct block_io *io);
struct block_io *block_list_pop(struct block_list *l);

/* For engines that execute in kick(): what is pending, one after the other, a part at
 * a time: at most `steps` of them, and BLOCK_KICK_LEN bytes if a step heeds `max`. */
typedef int64_t block_step_fn(const struct block *b, struct block_io *io, uint64_t max);
void block_run_pending(struct block *b, block_step_fn *step, unsigned steps);

/* File backend: opens, finds sizes and alignments. */
int block_file_open(struct block *b, const struct options *options);
void block_file_close(struct block *b);
int block_file_size(struct block *b, uint64_t *out);
int block_file_resize(struct block *b, uint64_t bytes);

/* Memory backend. */
int block_ram_open(struct block *b, uint64_t bytes);
void block_ram_close(struct block *b);
int block_ram_resize(struct block *b, uint64_t bytes);

#endif /* ENDPOINTS_BLOCK_INTERNAL_H */
