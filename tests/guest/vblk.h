/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A virtio-blk driver in user space: one split queue, one request at a time. */
#ifndef GUEST_VBLK_H
#define GUEST_VBLK_H

#include "vfio.h"

#define VBLK_RING_IOVA 0x1000000ull /* three pages: rings, header, status */

/* struct virtio_blk_req's type */
#define VBLK_READ  0
#define VBLK_WRITE 1
#define VBLK_FLUSH 4

struct vblk {
	struct vfio *v;
	volatile uint8_t *common;
	volatile uint8_t *notify;
	volatile uint8_t *config;
	uint8_t *ring; /* at VBLK_RING_IOVA */
	uint16_t queue_size;
	uint16_t avail;
	uint64_t features;
};

/* Finds the structures, negotiates, starts queue 0. 0 or -errno. */
int vblk_open(struct vblk *b, struct vfio *v);
uint64_t vblk_sectors(struct vblk *b);
/*
 * One request of len bytes at `iova`. Returns virtio-blk's status (0 OK, 1
 * IOERR, 2 UNSUPP), -ETIMEDOUT, or -EPIPE when the device needs a reset.
 */
int vblk_request(struct vblk *b, uint32_t type, uint64_t sector, uint64_t iova,
		 uint32_t len);
void vblk_stop(struct vblk *b);

/* For drivers that get it wrong: a descriptor as it is written, and a chain that
 * is offered with an index `step` further on. vblk_offer() returns what
 * vblk_request() does; the status byte is 0xff if the device left it alone. */
#define VBLK_HEADER_IOVA (VBLK_RING_IOVA + 0x2000)
#define VBLK_STATUS_IOVA (VBLK_RING_IOVA + 0x2040)
struct vblk_desc {
	uint64_t iova;
	uint32_t len;
	uint16_t flags, next;
};
void vblk_put_desc(struct vblk *b, uint16_t at, struct vblk_desc desc);
int vblk_offer(struct vblk *b, uint16_t head, uint16_t step);
/* Resets the device and starts queue 0 with an empty ring. */
int vblk_restart(struct vblk *b);

#endif
