/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "dmatest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 5000

uint32_t dmatest_get32(struct dmatest *d, unsigned int reg)
{
	return *(volatile uint32_t *)(d->bar + reg);
}

uint64_t dmatest_get64(struct dmatest *d, unsigned int reg)
{
	return dmatest_get32(d, reg) | (uint64_t)dmatest_get32(d, reg + 4) << 32;
}

void dmatest_set32(struct dmatest *d, unsigned int reg, uint32_t value)
{
	*(volatile uint32_t *)(d->bar + reg) = value;
}

void dmatest_set64(struct dmatest *d, unsigned int reg, uint64_t value)
{
	dmatest_set32(d, reg, (uint32_t)value);
	dmatest_set32(d, reg + 4, (uint32_t)(value >> 32));
}

void dmatest_start(struct dmatest *d, const struct dmatest_op *op)
{
	dmatest_set64(d, DT_IOVA, op->iova);
	dmatest_set64(d, DT_IOVA2, op->iova2);
	dmatest_set64(d, DT_LEN, op->len);
	dmatest_set64(d, DT_PATTERN, op->pattern);
	dmatest_set32(d, DT_COMMAND, op->command);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int dmatest_wait(struct dmatest *d, struct dmatest_result *r)
{
	uint64_t end = now_ms() + WAIT_MS;
	uint32_t status;

	for (;;) {
		status = dmatest_get32(d, DT_STATUS);
		if (status != DT_BUSY)
			break;
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(100);
	}
	r->error = dmatest_get32(d, DT_ERROR);
	r->value = dmatest_get64(d, DT_RESULT);
	r->done = dmatest_get64(d, DT_DONE);
	r->fault = dmatest_get64(d, DT_FAULT_IOVA);
	if (status == DT_FAILED && !r->error)
		r->error = EIO;
	return 0;
}

int dmatest_run(struct dmatest *d, const struct dmatest_op *op, struct dmatest_result *r)
{
	dmatest_start(d, op);
	return dmatest_wait(d, r);
}

int dmatest_check(struct dmatest *d)
{
	uint32_t magic = dmatest_get32(d, DT_MAGIC);

	if (magic == DMATEST_MAGIC && dmatest_get32(d, DT_VERSION) == 1)
		return 0;
	fprintf(stderr, "not a dmatest device: magic %#x\n", magic);
	return -ENODEV;
}

/* Four bytes at a time: the device takes no memcpy's odd accesses. */
void dmatest_load(struct dmatest *d, uint32_t at, const void *data, uint32_t len)
{
	uint32_t done, word;

	for (done = 0; done < len; done += 4) {
		memcpy(&word, (const char *)data + done, 4);
		dmatest_set32(d, DMATEST_BUFFER + at + done, word);
	}
}

void dmatest_store(struct dmatest *d, uint32_t at, void *data, uint32_t len)
{
	uint32_t done, word;

	for (done = 0; done < len; done += 4) {
		word = dmatest_get32(d, DMATEST_BUFFER + at + done);
		memcpy((char *)data + done, &word, 4);
	}
}
