/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The dmatest device as a guest program sees it: registers in BAR0. */
#ifndef GUEST_DMATEST_H
#define GUEST_DMATEST_H

#include <stdint.h>

#define DMATEST_ID	   "494f:0dc8"
#define DMATEST_MAGIC	   0x54414d44u
#define DMATEST_BAR_LEN	   0x20000
#define DMATEST_BUFFER	   0x10000 /* offset of the device's own memory */
#define DMATEST_BUFFER_LEN 0x10000
#define DMATEST_MAX_LEN	   (1u << 20)

enum dmatest_reg {
	DT_MAGIC = 0x00,
	DT_VERSION = 0x04,
	DT_FEATURES = 0x08,
	DT_SCRATCH = 0x0c,
	DT_IOVA = 0x10,
	DT_IOVA2 = 0x18,
	DT_LEN = 0x20,
	DT_PATTERN = 0x28,
	DT_COMMAND = 0x30,
	DT_STATUS = 0x34,
	DT_ERROR = 0x38,
	DT_RESULT = 0x40,
	DT_DONE = 0x48,
	DT_FAULT_IOVA = 0x50,
	DT_COMPLETED = 0x58,
	DT_IRQ = 0x5c,
};

enum dmatest_command {
	DT_READ = 1,
	DT_WRITE,
	DT_FILL,
	DT_SUM,
	DT_COPY,
	DT_RAISE,
	DT_HOLD,
	DT_RELEASE,
};

enum dmatest_status { DT_IDLE, DT_BUSY, DT_OK, DT_FAILED };

#define DT_NO_IRQ 0xffffffffu
#define DT_EFAULT 14
#define DT_EINVAL 22
#define DT_ERANGE 34

struct dmatest {
	volatile uint8_t *bar;
};

struct dmatest_op {
	uint32_t command; /* enum dmatest_command */
	uint64_t iova;
	uint64_t iova2;	  /* COPY: where to */
	uint64_t len;	  /* bytes */
	uint64_t pattern; /* FILL: the value, RAISE: the vector */
};

struct dmatest_result {
	uint32_t error; /* 0 or one of DT_E* */
	uint64_t value; /* SUM */
	uint64_t done;	/* bytes */
	uint64_t fault; /* IOVA of a blocked access */
};

uint32_t dmatest_get32(struct dmatest *d, unsigned int reg);
uint64_t dmatest_get64(struct dmatest *d, unsigned int reg);
void dmatest_set32(struct dmatest *d, unsigned int reg, uint32_t value);
void dmatest_set64(struct dmatest *d, unsigned int reg, uint64_t value);
/* Starts without waiting. */
void dmatest_start(struct dmatest *d, const struct dmatest_op *op);
/* Waits up to 5 s. 0 or -ETIMEDOUT; an error of the device is in r->error. */
int dmatest_wait(struct dmatest *d, struct dmatest_result *r);
int dmatest_run(struct dmatest *d, const struct dmatest_op *op, struct dmatest_result *r);
/* 0 when the registers are a dmatest's, else -ENODEV. */
int dmatest_check(struct dmatest *d);
/* To and from the device's buffer, from byte `at`; multiples of 4. */
void dmatest_load(struct dmatest *d, uint32_t at, const void *data, uint32_t len);
void dmatest_store(struct dmatest *d, uint32_t at, void *data, uint32_t len);

#endif
