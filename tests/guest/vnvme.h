/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* An NVMe driver in user space: admin queue, two I/O queue pairs, one command at
 * a time or as many as a queue takes. */
#ifndef GUEST_VNVME_H
#define GUEST_VNVME_H

#include "vfio.h"

#define VNVME_PAGE  4096u
#define VNVME_IOVA  0x1000000ull /* ten pages: queues and VNVME_LIST */
#define VNVME_PAGES 10u
#define VNVME_LIST  8u	/* page for PRP lists; the next is for data */
#define VNVME_LEN   64u /* entries of each queue */

/* Registers. */
#define VNVME_CC       0x14
#define VNVME_CSTS     0x1c
#define VNVME_AQA      0x24
#define VNVME_ASQ      0x28
#define VNVME_DOORBELL 0x1000
#define VNVME_RDY      1u
#define VNVME_CFS      2u

/* Opcodes. */
#define VNVME_CREATE_SQ 0x01
#define VNVME_GET_LOG	0x02
#define VNVME_CREATE_CQ 0x05
#define VNVME_IDENTIFY	0x06
#define VNVME_AER	0x0c
#define VNVME_FLUSH	0x00
#define VNVME_WRITE	0x01
#define VNVME_READ	0x02
#define VNVME_COMPARE	0x05

struct vnvme_cmd {
	uint8_t opcode, flags;
	uint16_t cid;
	uint32_t nsid;
	uint64_t reserved, mptr, prp1, prp2;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

struct vnvme_cqe {
	uint32_t result, reserved;
	uint16_t sq_head, sq_id, cid, status;
};

struct vnvme_queue {
	uint32_t tail, head;
	uint16_t cid;
	uint8_t phase;
};

struct vnvme {
	struct vfio *v;
	volatile uint8_t *bar;
	uint8_t *mem; /* at VNVME_IOVA */
	struct vnvme_queue queue[3];
};

uint32_t vnvme_get(struct vnvme *n, unsigned int at);
void vnvme_set(struct vnvme *n, unsigned int at, uint32_t value);

/* Maps memory and registers; the controller is not touched. 0 or -errno. */
int vnvme_open(struct vnvme *n, struct vfio *v);
void vnvme_close(struct vnvme *n);
/* Enables the controller with a new admin queue. 0 or -errno. */
int vnvme_enable(struct vnvme *n);
/* Creates I/O queue pair 1 or 2, interrupts on vector id. Status or -errno. */
int vnvme_add_queue(struct vnvme *n, unsigned int id);

/* Puts a command into a queue, tells the device, takes a completion. Status is
 * NVMe's without the "more" and "do not retry" bits, -ETIMEDOUT, or -EPIPE when
 * the controller is in fatal state. *result (may be NULL) is DW0. */
void vnvme_put(struct vnvme *n, unsigned int queue, const struct vnvme_cmd *cmd);
void vnvme_ring(struct vnvme *n, unsigned int queue);
int vnvme_take(struct vnvme *n, unsigned int queue, unsigned int wait_ms,
	       uint32_t *result);
int vnvme_command(struct vnvme *n, unsigned int queue, const struct vnvme_cmd *cmd,
		  uint32_t *result);

/* A command on len bytes at `iova`, by PRPs, from block lba on; len is 4096 to
 * 512 KiB, iova on a page. */
void vnvme_data(struct vnvme *n, struct vnvme_cmd *cmd, uint64_t iova, uint32_t len);
int vnvme_io(struct vnvme *n, uint8_t opcode, uint64_t lba, uint64_t iova, uint32_t len);

#endif
