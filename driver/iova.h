/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Addresses for DMA. Small sizes are rounded up to powers of two and come from
 * per-CPU stocks: first what was freed last, then the next of a run of adjacent
 * addresses, so that what is unmapped together often lies together. The rest
 * is a tree of free ranges.
 *
 * Locks: a CPU's stock, then the tree; none is held on return.
 */
#ifndef VIOMMU_DRV_IOVA_H
#define VIOMMU_DRV_IOVA_H

#include "tree.h"

#define IOVA_ORDERS 9u	/* 1 to 256 units, 1 MiB with 4 KiB units */
#define IOVA_STACK  32u /* freed addresses a CPU keeps of each size */
#define IOVA_RUN    64u /* addresses taken from the tree at a time */

struct drv_iova_cpu {
	struct viommu_drv_lock lock;
	struct {
		uint64_t next;	 /* of the run */
		uint32_t run_nr; /* left in the run */
		uint32_t stack_nr;
		uint64_t stack[IOVA_STACK];
	} stock[IOVA_ORDERS];
	uint64_t maps, unmaps; /* atomic: calls, for statistics */
} __attribute__((aligned(64)));

struct drv_iova {
	const struct viommu_drv *drv;
	unsigned unit_lg2;    /* of the unit: granule, but at least 4 KiB */
	uint64_t first, last; /* what may be handed out */
	struct drv_iova_cpu *cpu;
	struct viommu_drv_lock lock; /* of what follows */
	struct drv_tree free;
	uint64_t window_last; /* preferred part: 4 GiB, doubled when full */
	uint64_t next;	      /* where the next search starts */
	uint64_t lost;	      /* bytes that did not find a place in the tree */
};

int drv_iova_init(struct drv_iova *iova, const struct viommu_drv *drv, uint64_t first,
		  uint64_t last);
void drv_iova_fini(struct drv_iova *iova);

/* Bytes that an allocation of `len` bytes takes up. */
uint64_t drv_iova_size(const struct drv_iova *iova, uint64_t len);

/* `len` bytes (a multiple of the unit) that end at or below `limit`, aligned to
 * the power of two at or below their size. 0, -ENOSPC, -ENOMEM. */
int drv_iova_alloc(struct drv_iova *iova, uint64_t len, uint64_t limit, uint64_t *start);
void drv_iova_free(struct drv_iova *iova, uint64_t start, uint64_t len);
/* Gives back any range, past the stocks. */
void drv_iova_free_range(struct drv_iova *iova, uint64_t start, uint64_t last);

/* [start, last] is not handed out from now on. 0, -ENOMEM. */
int drv_iova_reserve(struct drv_iova *iova, uint64_t start, uint64_t last);

struct drv_iova_cpu *drv_iova_this_cpu(struct drv_iova *iova);

#endif
