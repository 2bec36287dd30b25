/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A virtio-blk driver for tests. */
#ifndef VIOMMU_TESTS_VDISK_H
#define VIOMMU_TESTS_VDISK_H

#include "vdrv.h"

#include "endpoints/blk/proto.h"

/* Offsets in guest memory. [0, VDISK_DATA) is mapped, [VDISK_DATA, VDISK_RO) too,
 * [VDISK_RO, VDISK_HOLE) for reading only, what is behind is not. */
#define VDISK_HEADS VDRV_OWN
#define VDISK_DATA  VDRV_DATA
#define VDISK_RO    0x900000ull
#define VDISK_HOLE  0xa00000ull

struct vdisk {
	struct vdrv drv;
	unsigned next_head;
};

/* A guest with a blk endpoint, the driver up. */
struct vdisk *vdisk_create(const char *options, struct vdrv_shape shape);
/* The same in two steps. */
struct vdisk *vdisk_plug(const char *options, struct vdrv_shape shape);
void vdisk_init(struct vdisk *v);
/* Maps what vdisk_create() maps. */
void vdisk_map(struct vdisk *v);
void vdisk_destroy(struct vdisk *v);

/* The head of a request, and where its status goes, by the driver's choice. */
struct vdisk_req {
	uint64_t head, status; /* offsets */
	uint32_t len;	       /* used length, when done */
	bool done;
};
/*
 * Sends a request; data as offset and length, behind the head (readable) or
 * before the status (writable). Makes it available and kicks.
 */
void vdisk_send(struct vdisk *v, unsigned queue, struct vdisk_req *req, uint32_t type,
		uint64_t sector, const struct vdrv_part *parts, unsigned parts_nr,
		bool writable);
/* Parts as they are, iovas computed; no head, no status. */
void vdisk_send_raw(struct vdisk *v, unsigned queue, struct vdisk_req *req,
		    const struct vdrv_part *parts, unsigned readable_nr,
		    unsigned writable_nr);
/* Prepares head and status of a request without sending it. */
void vdisk_prepare(struct vdisk *v, struct vdisk_req *req, uint32_t type,
		   uint64_t sector);
/* Takes what was used; how many. */
unsigned vdisk_collect(struct vdisk *v);
/* Runs the endpoint until req is done; its status byte, 0xff: untouched. */
uint8_t vdisk_finish(struct vdisk *v, struct vdisk_req *req);

/* Send and finish. */
uint8_t vdisk_do(struct vdisk *v, uint32_t type, uint64_t sector, uint64_t offset,
		 uint32_t len, uint32_t *used);
#define vdisk_read(v, sector, offset, len)                                               \
	vdisk_do(v, VIRTIO_BLK_T_IN, sector, offset, len, NULL)
#define vdisk_write(v, sector, offset, len)                                              \
	vdisk_do(v, VIRTIO_BLK_T_OUT, sector, offset, len, NULL)

#endif
