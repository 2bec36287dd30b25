/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Wire format of the block device (VIRTIO 1.4, "Block Device"), little-endian. */
#ifndef ENDPOINTS_BLK_PROTO_H
#define ENDPOINTS_BLK_PROTO_H

#include <stdint.h>

#define VIRTIO_ID_BLOCK		  2

#define VIRTIO_BLK_F_SEG_MAX	  2
#define VIRTIO_BLK_F_RO		  5
#define VIRTIO_BLK_F_BLK_SIZE	  6
#define VIRTIO_BLK_F_FLUSH	  9
#define VIRTIO_BLK_F_TOPOLOGY	  10
#define VIRTIO_BLK_F_CONFIG_WCE	  11
#define VIRTIO_BLK_F_MQ		  12
#define VIRTIO_BLK_F_DISCARD	  13
#define VIRTIO_BLK_F_WRITE_ZEROES 14

#define VIRTIO_F_RING_RESET	  40

#define VIRTIO_BLK_T_IN		  0
#define VIRTIO_BLK_T_OUT	  1
#define VIRTIO_BLK_T_FLUSH	  4
#define VIRTIO_BLK_T_GET_ID	  8
#define VIRTIO_BLK_T_DISCARD	  11
#define VIRTIO_BLK_T_WRITE_ZEROES 13

#define VIRTIO_BLK_S_OK		  0
#define VIRTIO_BLK_S_IOERR	  1
#define VIRTIO_BLK_S_UNSUPP	  2

#define VIRTIO_BLK_ID_LEN	  20
#define VIRTIO_BLK_ZEROES_F_UNMAP (1u << 0) /* of a segment */

struct virtio_blk_head {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct virtio_blk_segment { /* of DISCARD and WRITE_ZEROES */
	uint64_t sector;
	uint32_t sectors_nr;
	uint32_t flags;
};

struct virtio_blk_config {
	uint64_t capacity; /* sectors */
	uint32_t size_max;
	uint32_t seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp; /* log2(physical / logical) */
	uint8_t alignment_offset;
	uint16_t min_io_size; /* logical blocks */
	uint32_t opt_io_size; /* logical blocks */
	uint8_t writeback;
	uint8_t unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors;
	uint32_t max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors;
	uint32_t max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
};

#endif /* ENDPOINTS_BLK_PROTO_H */
