/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What a DMA context shares with the endpoint it belongs to. lib/dma embeds it.
 *
 * Fields are written by one side only. The control side changes `view` and
 * `attachment`, then `space_epoch`; the context compares the epoch when it opens
 * a section, so that a section sees one view from beginning to end.
 */
#ifndef VIOMMU_LIB_CONTEXT_H
#define VIOMMU_LIB_CONTEXT_H

#include <viommu/dma.h>

#include "base/list.h"
#include "base/section.h"
#include "domain/range_tree.h"

/* One MAP request. Pool memory: an address that was a mapping stays one. */
struct viommu_mapping {
	uint64_t gpa; /* of the first byte; link in a list once removed and settled */
	uint32_t generation; /* even: mapped; odd: removed. A cached translation is
			      * good while it is what it was */
	uint32_t state;	     /* holds, MAPPING_* */
};

/* Of viommu_mapping.state: the low bits count holds. */
#define MAPPING_FLAGS_SHIFT 29 /* VIRTIO_IOMMU_MAP_F_*, 3 bits */
#define MAPPING_WAITED	    (1u << 28)
#define MAPPING_HOLDS	    (MAPPING_WAITED - 1)

static inline uint32_t mapping_flags(const struct viommu_mapping *m)
{
	/* No pair: the flags do not change while a reader can find the mapping. */
	return load_relaxed(&m->state) >> MAPPING_FLAGS_SHIFT;
}

/* What an endpoint's addresses mean. */
enum view_kind {
	VIEW_BLOCKED, /* unattached, no bypass */
	VIEW_BYPASS,  /* addresses are guest-physical */
	VIEW_MAPPED,  /* through the domain's mappings */
};
struct view {
	enum view_kind kind;
	struct range_tree tree; /* VIEW_MAPPED; values: struct viommu_mapping */
};

struct context {
	/* Written by the context's thread, read by the control side. */
	struct section section;
	uint32_t held[2];	/* holds, by lowest bit of the attachment they were
				 * taken under */
	bool bypassing;		/* the view it uses is VIEW_BYPASS */
	const uint64_t *served; /* translations that did not look anything up */
	uint64_t served_old;	/* `served` when the view was taken up */
	uint64_t hits_old, bypassed_old; /* under earlier views */
	uint64_t misses;

	/* Written by the control side of the space. */
	uint32_t space_epoch cache_aligned; /* changes when `view` does */
	uint32_t attachment;		    /* counts departures: from a domain, and
					     * from bypass into one */
	uint32_t waited;		    /* a removal waits for held[] */
	uint32_t wait_for;		    /* index into held[] */
	const struct view *view;

	/* Written by the control side of the memory table. */
	uint32_t mem_epoch; /* changes when the table does */

	/* Control side only. */
	struct viommu_endpoint *endpoint; /* NULL: no IOMMU */
	struct list in_endpoint, in_waiting;
	uint32_t limbo_seen;		  /* section_peek() when limbo was closed */
	const struct viommu_dma_ops *ops; /* NULL: none */
	void *opaque;
};

/* Any thread; values may lag. */
static inline uint64_t context_served(const struct context *ctx, bool bypassed)
{
	uint64_t old = load_relaxed(bypassed ? &ctx->bypassed_old : &ctx->hits_old);

	/* counters with one writer, no pairs */
	if (load_relaxed(&ctx->bypassing) != bypassed)
		return old;
	return old + load_relaxed(ctx->served) - load_relaxed(&ctx->served_old);
}

extern const struct view view_blocked, view_bypass;

/* Joins an endpoint (ctx->ops and ctx->opaque are set). 0, -ENOSPC. */
int context_join(struct context *ctx, struct viommu_endpoint *ep);
void context_leave(struct context *ctx);

/* The context's thread: an access was blocked. */
void context_fault(struct context *ctx, uint8_t reason, uint32_t flags, uint64_t address);
/* The context's thread: a hold that a removal waits for was released. */
void context_released(struct context *ctx);

#endif
