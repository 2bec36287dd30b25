/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The guest's side of any virtio device, for tests: registers through the PCI
 * function, rings through the driver half of lib/virtq, memory through the
 * guest's IOMMU. What is sent is the business of vdisk.h and vnic.h.
 */
#ifndef VIOMMU_TESTS_VDRV_H
#define VIOMMU_TESTS_VDRV_H

#include "guest.h"

#include "endpoints/virtio/virtio.h"
#include "virtq/driver.h"

#define VDRV_QUEUES 7u
#define VDRV_SIZE   64u /* entries of each ring */

/* Offsets in guest memory; from VDRV_DATA on it is the device's. */
#define VDRV_RING(q)  ((q)*0x10000ull)
#define VDRV_OWN      0x70000ull /* 64 KiB: the device's too */
#define VDRV_TABLE(q) (0x80000ull + (q)*0x10000ull)
#define VDRV_OWN2     0xf0000ull /* as VDRV_OWN */
#define VDRV_DATA     0x100000ull

/* Areas of a ring. */
#define VDRV_AREA_DRIVER 0x4000u
#define VDRV_AREA_DEVICE 0x8000u
#define VDRV_AREA_LEN	 0x10000u

struct vdrv_shape {
	bool iommu, packed, event_idx, indirect;
	unsigned queues;  /* of a disk, pairs of a card; 0: 1 */
	uint64_t without; /* feature bits that the driver does not accept */
};

struct vdrv {
	struct guest *g;
	struct vdrv_shape shape;
	unsigned queues_nr; /* set up */
	struct drvq q[VDRV_QUEUES];
	struct drvq_slot slots[VDRV_QUEUES][VDRV_SIZE];
	uint64_t features;		 /* accepted */
	unsigned common, notify, device; /* offsets in BAR 0 */
};

/* The guest that the device will be in; then the device. */
void vdrv_boot(struct vdrv *v, struct vdrv_shape shape);
void vdrv_plug(struct vdrv *v, const char *type, const char *options);
void vdrv_unplug(struct vdrv *v);

/* Brings the driver up with queues_nr queues. */
void vdrv_init(struct vdrv *v, unsigned queues_nr);
void vdrv_reset(struct vdrv *v);
void vdrv_reset_queue(struct vdrv *v, unsigned queue);

/* Registers. */
uint64_t vdrv_offered(struct vdrv *v);
uint8_t vdrv_status(struct vdrv *v);
bool vdrv_needs_reset(struct vdrv *v);
uint64_t vdrv_config(struct vdrv *v, unsigned offset, unsigned len);
void vdrv_set_config(struct vdrv *v, unsigned offset, unsigned len, uint64_t value);
void vdrv_kick(struct vdrv *v, unsigned queue);

/* Any chain; parts are offsets in guest memory, readable ones first. Nothing is
 * published. */
struct vdrv_part {
	uint64_t offset;
	uint32_t len;
};
void vdrv_add(struct vdrv *v, unsigned queue, const struct vdrv_part *parts,
	      unsigned readable_nr, unsigned writable_nr, void *cookie);
/* Makes what was added available; kicks if the device asks for it. */
void vdrv_publish(struct vdrv *v, unsigned queue);

#endif
