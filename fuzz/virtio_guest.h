/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The guest of a virtio endpoint under fuzzing: two regions of memory, of which the
 * second one comes and goes, rings in the first, and a driver that does what the
 * input says.
 */
#ifndef VIOMMU_FUZZ_VIRTIO_GUEST_H
#define VIOMMU_FUZZ_VIRTIO_GUEST_H

#include "input.h"

#include <viommu/mem.h>
#include <viommu/pci.h>

#include "endpoints/endpoint.h"
#include "endpoints/virtio/virtio.h"

/* Two regions with a hole between them. */
#define GPA	    0x10000ull
#define REGION_LEN  0x4000u
#define REGION_STEP 0x6000u

/* Rings, in the first region: descriptors, driver's and device's area. */
#define RING_ENTRIES 16u
#define RINGS	     5u
#define RING_OFF(q)  ((q)*0x400u)
#define DRIVER_OFF   0x100u
#define DEVICE_OFF   0x200u
#define OWN_OFF	     RING_OFF(RINGS) /* from here on, the target's */

/* Of descriptors. */
#define NEXT	 1u
#define WRITE	 2u
#define INDIRECT 4u

struct guest {
	struct input in;
	struct viommu_alloc alloc;
	struct viommu_mem *mem;
	struct endpoint *ep;
	struct virtio_dev *dev; /* inside ep */
	uint8_t *ram[2];
	bool present; /* the second region */
	bool packed;
	uint8_t next[RINGS]; /* descriptor that the driver uses next */
};

/* in and packed are set; dev is to be. */
void guest_boot(struct guest *g, const char *type, const char *options);
void guest_halt(struct guest *g);
/* Negotiates and sets up the first `queues` rings. */
void guest_start(struct guest *g, uint64_t features, unsigned queues);
/* Resets the function and clears the rings. */
void guest_reset(struct guest *g);

/* The next descriptor of a queue, made available in packed rings. */
void guest_put(struct guest *g, unsigned q, uint64_t addr, uint32_t len, uint16_t flags);
/* The descriptor that is put next. */
uint16_t guest_next(const struct guest *g, unsigned q);
/* A chain that begins there, in split rings. */
void guest_offer(struct guest *g, unsigned q, uint16_t head);
void guest_kick(struct guest *g, unsigned q);

/* One thing that no driver, or no VMM, should do; all consume input. */
void guest_scribble(struct guest *g);	    /* any 8 bytes of the first region */
void guest_touch_register(struct guest *g); /* any access to BAR 0 */
void guest_touch_config(struct guest *g);   /* any write to configuration space */
void guest_move_memory(struct guest *g);    /* the second region goes or comes */
void guest_break_ring(struct guest *g);	    /* a word of a ring, or where it is */

/* It is time for rings that were out of reach. */
void guest_wait(struct guest *g);

#endif
