/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A guest and its host in one process: libviommu and an emulated disk on the
 * device thread, which polls; the driver library on the caller's threads.
 */
#ifndef BENCH_DRIVER_RIG_H
#define BENCH_DRIVER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/device.h>
#include <viommu/dma.h>
#include <viommu_drv.h>

#define RIG_THREADS_MAX 4u
#define RIG_RING	64u /* operations a thread can have in flight */
#define RIG_PIECES_MAX	16u
#define RIG_MEMORY_LEN	(64u << 20)
#define RIG_DISK_LEN	(64u << 20)

/* What the emulated disk is told: write these pieces of memory. */
struct rig_command {
	uint64_t iova[RIG_PIECES_MAX];
	uint32_t len; /* bytes of each */
	uint32_t pieces_nr;
	int status; /* result: 0 or negative */
};

/* One producer, one consumer each way. */
struct rig_ring {
	uint32_t posted __attribute__((aligned(64))); /* atomic; driver's */
	uint32_t done __attribute__((aligned(64)));   /* atomic; device's */
	struct rig_command command[RIG_RING] __attribute__((aligned(64)));
};

struct rig {
	/* ---- host ---- */
	struct viommu_device *iommu;
	struct viommu_mem *mem;
	struct viommu_endpoint *ep;
	struct viommu_dma *dma_behind, *dma_direct;
	struct viommu_dma *dma; /* which one the disk uses; set while idle */
	struct viommu_virtq vq[VIOMMU_QUEUES_NR];
	uint64_t features;
	uint8_t status;
	uint32_t running; /* atomic: the device thread's life */
	uint32_t side;	  /* 1: the device is at work, for who traces memory */
	uint32_t pause;	  /* atomic: asked for by control calls */
	uint32_t paused;  /* atomic */
	uint8_t *disk;
	uint64_t disk_at;
	struct rig_ring ring[RIG_THREADS_MAX];

	/* ---- both, and nobody writes it while something is measured ---- */
	uint8_t *memory __attribute__((aligned(64))); /* the guest's; physical addresses
						       * are offsets in it */
	size_t memory_used;
	struct viommu_drv *drv;
	struct viommu_drv_endpoint *drv_ep;
	bool alone; /* no device thread */

	/* ---- guest ---- */
	struct viommu_drv_timer *timer __attribute__((aligned(64))); /* guarded by
								      * timer_lock */
	uint64_t timer_due;
	uint32_t timer_lock;
};

/* split: split rings, where packed ones are the driver's choice. alone: no device
 * thread; the device has its turn where the driver's only one waits. */
struct rig *rig_create(bool split, bool alone);
void rig_destroy(struct rig *rig);
/* Guest memory that is never given back; its physical address. */
uint64_t rig_memory(struct rig *rig, size_t len, size_t align);
/* A driver's thread has nothing to do. */
void rig_idle(struct rig *rig);
/* Nanoseconds for a cache line from one CPU to the other: of a round trip, half. */
double rig_hop_ns(void);
/* Runs the guest's timer if it is due. */
void rig_tick(struct rig *rig);
/* The guest's CPU of the calling thread. */
void rig_set_cpu(unsigned cpu);
/* Pins the calling thread to a host CPU, if there is one. */
void rig_pin(unsigned host_cpu);
/* Nanoseconds; alone: of a clock that moves a little with each look, so that tools
 * which slow the program down change nothing. */
uint64_t rig_now(void);
/* Where that clock is: no part of what is looked at. */
const uint64_t *rig_clock(void);

#endif
