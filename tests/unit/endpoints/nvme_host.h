/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A driver for NVMe tests, on the guest of guest.h: queues at fixed places in
 * guest memory, one command at a time unless a test does it by hand. */
#ifndef VIOMMU_TESTS_NVME_HOST_H
#define VIOMMU_TESTS_NVME_HOST_H

#include "guest.h"

#include "endpoints/nvme/nvme.h"

/* Offsets in guest memory. */
#define HOST_ASQ       0x001000u
#define HOST_ACQ       0x002000u
#define HOST_SQ	       0x010000u /* I/O queues: 64 KiB each */
#define HOST_CQ	       0x100000u
#define HOST_SHADOW    0x003000u
#define HOST_EVENT     0x004000u
#define HOST_PAGE      0x005000u /* identify data and the like */
#define HOST_LIST      0x006000u /* PRP lists, SGLs: two pages */
#define HOST_DATA      0x400000u /* up to the end */
#define HOST_QUEUE_LEN 8u	 /* admin and I/O queues' entries */

struct host_queue {
	unsigned id;
	uint32_t len, sq_tail, cq_head;
	uint8_t phase;
	uint16_t next_cid;
	bool shadow;
};

struct host {
	struct guest *g;
	struct host_queue queue[3]; /* admin, two I/O pairs */
};

/* A controller with `options`, all memory mapped, enabled. */
struct host host_create(bool with_iommu, const char *options);
void host_destroy(struct host *h);
void host_enable(struct host *h);
/* Creates I/O queue pair id (1 or 2) with interrupt vector id. */
void host_add_queue(struct host *h, unsigned id);

/* Puts a command into the ring without telling the device. Its cid. */
uint16_t host_put(struct host *h, unsigned queue, struct nvme_cmd cmd);
void host_ring(struct host *h, unsigned queue);
/* Twice as many of a command as its completion queue has room for; none is taken. */
void host_overfill(struct host *h, unsigned queue, struct nvme_cmd cmd);
/* The next completion, if there is one; its head is given back. */
bool host_take(struct host *h, unsigned queue, struct nvme_cqe *out);
/* All three: status without the phase, DW0 in *result (may be NULL). */
uint16_t host_command(struct host *h, unsigned queue, struct nvme_cmd cmd,
		      uint32_t *result);

/* Data of a command at HOST_DATA + offset, by PRPs; builds the list it needs. */
void host_prp(struct host *h, struct nvme_cmd *cmd, uint64_t offset, uint32_t len);
uint16_t host_rw(struct host *h, uint8_t opcode, uint64_t lba, uint32_t blocks,
		 uint64_t offset);

#endif
