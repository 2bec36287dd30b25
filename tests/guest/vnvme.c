/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "vnvme.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_LEN	    0x4000u
#define WAIT_MS	    5000u
#define SECTOR_LEN  512u
#define SQ_PAGE(id) (2 * (id))
#define CQ_PAGE(id) (2 * (id) + 1)

uint32_t vnvme_get(struct vnvme *n, unsigned int at)
{
	return *(volatile uint32_t *)(n->bar + at);
}

void vnvme_set(struct vnvme *n, unsigned int at, uint32_t value)
{
	*(volatile uint32_t *)(n->bar + at) = value;
}

static uint64_t page_iova(unsigned int page)
{
	return VNVME_IOVA + page * VNVME_PAGE;
}

int vnvme_open(struct vnvme *n, struct vfio *v)
{
	*n = (struct vnvme){.v = v};
	if (posix_memalign((void **)&n->mem, VNVME_PAGE, VNVME_PAGES * VNVME_PAGE))
		return -ENOMEM;
	memset(n->mem, 0, VNVME_PAGES * VNVME_PAGE);
	n->bar = vfio_bar(v, 0, BAR_LEN);
	if (!n->bar)
		return -ENODEV;
	if (vfio_enable(v))
		return -EIO;
	return vfio_map(v, n->mem, VNVME_IOVA, VNVME_PAGES * VNVME_PAGE, VFIO_RW);
}

void vnvme_close(struct vnvme *n)
{
	vfio_unmap(n->v, VNVME_IOVA, VNVME_PAGES * VNVME_PAGE);
	free(n->mem);
	n->mem = NULL;
}

static int wait_ready(struct vnvme *n, uint32_t wanted)
{
	unsigned int spent;

	for (spent = 0; spent < WAIT_MS; spent++) {
		uint32_t csts = vnvme_get(n, VNVME_CSTS);

		if (csts & VNVME_CFS && wanted)
			return -EPIPE;
		if ((csts & VNVME_RDY) == wanted)
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

static void init_queue(struct vnvme *n, unsigned int id)
{
	n->queue[id] = (struct vnvme_queue){.phase = 1};
	memset(n->mem + SQ_PAGE(id) * VNVME_PAGE, 0, 2 * VNVME_PAGE);
}

int vnvme_enable(struct vnvme *n)
{
	int ret;

	vnvme_set(n, VNVME_CC, 0);
	ret = wait_ready(n, 0);
	if (ret)
		return ret;
	init_queue(n, 0);
	vnvme_set(n, VNVME_AQA, (VNVME_LEN - 1) * 0x10001u);
	vnvme_set(n, VNVME_ASQ, (uint32_t)page_iova(SQ_PAGE(0)));
	vnvme_set(n, VNVME_ASQ + 4, 0);
	vnvme_set(n, VNVME_ASQ + 8, (uint32_t)page_iova(CQ_PAGE(0)));
	vnvme_set(n, VNVME_ASQ + 12, 0);
	vnvme_set(n, VNVME_CC, 1 | 6u << 16 | 4u << 20);
	return wait_ready(n, VNVME_RDY);
}

int vnvme_add_queue(struct vnvme *n, unsigned int id)
{
	struct vnvme_cmd cmd = {.opcode = VNVME_CREATE_CQ,
				.prp1 = page_iova(CQ_PAGE(id)),
				.cdw10 = id | (VNVME_LEN - 1) << 16,
				.cdw11 = 3 | id << 16};
	int status;

	init_queue(n, id);
	status = vnvme_command(n, 0, &cmd, NULL);
	if (status)
		return status;
	cmd.opcode = VNVME_CREATE_SQ;
	cmd.prp1 = page_iova(SQ_PAGE(id));
	cmd.cdw11 = 1 | id << 16;
	return vnvme_command(n, 0, &cmd, NULL);
}

void vnvme_put(struct vnvme *n, unsigned int queue, const struct vnvme_cmd *cmd)
{
	struct vnvme_queue *q = &n->queue[queue];
	struct vnvme_cmd *at =
		(struct vnvme_cmd *)(n->mem + SQ_PAGE(queue) * VNVME_PAGE) + q->tail;

	*at = *cmd;
	at->cid = q->cid++;
	q->tail = (q->tail + 1) % VNVME_LEN;
}

void vnvme_ring(struct vnvme *n, unsigned int queue)
{
	/* The entries must be there before the device hears of them. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vnvme_set(n, VNVME_DOORBELL + queue * 8, n->queue[queue].tail);
}

int vnvme_take(struct vnvme *n, unsigned int queue, unsigned int wait_ms,
	       uint32_t *result)
{
	struct vnvme_queue *q = &n->queue[queue];
	struct vnvme_cqe *at =
		(struct vnvme_cqe *)(n->mem + CQ_PAGE(queue) * VNVME_PAGE) + q->head;
	unsigned int spent;
	uint16_t status;

	for (spent = 0;; spent++) {
		/* Pairs with the device's release of the phase after the rest. */
		status = __atomic_load_n(&at->status, __ATOMIC_ACQUIRE);
		if ((status & 1) == q->phase)
			break;
		if (spent >= wait_ms * 10)
			return vnvme_get(n, VNVME_CSTS) & VNVME_CFS ? -EPIPE : -ETIMEDOUT;
		usleep(100);
	}
	if (result)
		*result = at->result;
	if (++q->head == VNVME_LEN) {
		q->head = 0;
		q->phase ^= 1;
	}
	vnvme_set(n, VNVME_DOORBELL + queue * 8 + 4, q->head);
	return status >> 1 & 0x7ff;
}

int vnvme_command(struct vnvme *n, unsigned int queue, const struct vnvme_cmd *cmd,
		  uint32_t *result)
{
	vnvme_put(n, queue, cmd);
	vnvme_ring(n, queue);
	return vnvme_take(n, queue, WAIT_MS, result);
}

void vnvme_data(struct vnvme *n, struct vnvme_cmd *cmd, uint64_t iova, uint32_t len)
{
	uint64_t *list = (uint64_t *)(n->mem + VNVME_LIST * VNVME_PAGE);
	uint32_t at;

	cmd->prp1 = iova;
	cmd->prp2 = len > VNVME_PAGE ? iova + VNVME_PAGE : 0;
	cmd->cdw12 = len / SECTOR_LEN - 1;
	if (len <= 2 * VNVME_PAGE)
		return;
	for (at = VNVME_PAGE; at < len; at += VNVME_PAGE)
		list[at / VNVME_PAGE - 1] = iova + at;
	cmd->prp2 = page_iova(VNVME_LIST);
}

int vnvme_io(struct vnvme *n, uint8_t opcode, uint64_t lba, uint64_t iova, uint32_t len)
{
	struct vnvme_cmd cmd = {.opcode = opcode, .nsid = 1};

	vnvme_data(n, &cmd, iova, len);
	cmd.cdw10 = (uint32_t)lba;
	cmd.cdw11 = (uint32_t)(lba >> 32);
	return vnvme_command(n, 1, &cmd, NULL);
}
