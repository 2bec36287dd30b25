/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/virtq.h - the device side of virtqueues, split and packed (VIRTIO 1.4,
 * "Basic Facilities of a Virtio Device" / "Split Virtqueues", "Packed
 * Virtqueues").
 *
 * A ring reaches its memory through struct viommu_ring_mem, so that the same
 * code serves a ring in guest-physical memory and one behind an IOMMU. Nothing
 * is allocated; the guest is not trusted; every shared word is fetched once.
 *
 * Use, per turn, inside a DMA section if the memory is behind one:
 *     viommu_virtq_begin(vq);
 *     while ((r = viommu_virtq_pop(vq, &chain, bufs, max)) > 0) {
 *             ...
 *             viommu_virtq_push(vq, &chain, used_len);
 *     }
 *     if (viommu_virtq_publish(vq))
 *             interrupt the driver;
 *
 * Threads: one thread per ring at a time.
 */
#ifndef VIOMMU_VIRTQ_H
#define VIOMMU_VIRTQ_H

#include <viommu/base.h>
#include <viommu/dma.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIOMMU_VIRTQ_SIZE_MAX  1024u /* entries; packed rings: any number up to it */
#define VIOMMU_VIRTQ_CHAIN_MAX 1024u /* buffers in one chain, indirect or not */

/* Reaches ring memory: the first piece of [addr, addr + len), as
 * viommu_dma_translate(). Pieces are used until the next begin. */
struct viommu_ring_mem {
	int (*map)(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
		   struct viommu_span *out);
	void *opaque;
};
/* A ring reached through a DMA context; the caller opens the sections. */
VIOMMU_API struct viommu_ring_mem viommu_ring_mem_dma(struct viommu_dma *dma);

struct viommu_virtq_config {
	uint16_t size; /* split: a power of two */
	bool packed, event_idx, indirect;
	uint64_t desc, driver, device; /* ring areas, in the memory's addresses */
};

/* One area of a ring, and the piece of it that is mapped now; internal. */
struct viommu_ring_window {
	uint64_t base, size; /* the area, in the ring memory's addresses */
	unsigned perm;	     /* VIOMMU_READ and VIOMMU_WRITE: what for */
	uint8_t *hva;	     /* the piece; len 0: none */
	uint64_t addr, len;
};

/* Fields are the implementation's. May be moved while no window is in use. */
struct viommu_virtq {
	struct viommu_virtq_config cfg;
	struct viommu_ring_mem mem;
	struct viommu_ring_window desc, driver, device;
	/* Next to take / next to give back. Split: free-running indices; packed:
	 * positions in the ring, each with its wrap counter. */
	uint16_t avail_idx, used_idx;
	bool avail_wrap, used_wrap;
	uint16_t in_flight; /* ring entries popped and not pushed, <= size */
	uint16_t seen_idx;  /* split: the driver's index when last looked at */
	/* What was pushed and not published. Split: from published_idx on;
	 * packed: pending_slots entries from pending_idx on, whose flags word is
	 * stored by publish. */
	uint16_t published_idx;
	uint16_t pending_slots, pending_idx, pending_flags;
	uint16_t armed_idx;   /* split: avail_event as last written */
	uint8_t notify_state; /* what the driver was last told; enum in ring.h */
	bool broken;	      /* the ring made no sense; until initialised again */
	bool unreached;	      /* viommu_virtq_unreached() */
};

/* Does not touch ring memory. Result: 0; -EINVAL: size 0, not a power of two
 * (split), over the limit, or an area not aligned as the standard asks or
 * wrapping around. */
VIOMMU_API int viommu_virtq_init(struct viommu_virtq *vq,
				 const struct viommu_virtq_config *cfg,
				 struct viommu_ring_mem mem);

/* A buffer of a chain; addr is in the ring memory's addresses. len > 0: a buffer
 * of no bytes is legal and left out. */
struct viommu_virtq_buf {
	uint64_t addr;
	uint32_t len;
	uint32_t writable; /* 0: device-readable, 1: device-writable */
};
/* A chain: readable buffers first, then writable ones, at most 2^32 bytes. Keep
 * it until pushed; chains may be pushed in any order. No more than `size` are
 * ever out; a hostile driver may have the same id out more than once. */
struct viommu_chain {
	uint16_t id;	     /* head index (split) or buffer id (packed) */
	uint16_t ring_slots; /* ring entries it takes up; split: 1 */
	uint16_t buf_nr, readable_nr;
	uint64_t readable_len, writable_len; /* bytes */
};

/* Forgets the windows of the last turn. */
VIOMMU_API void viommu_virtq_begin(struct viommu_virtq *vq);

/* Whether, since the last begin, a part of the ring was out of reach: then a call
 * below may have done less than it says, and is to be repeated when memory has
 * changed. Nothing tells when: neither a kick nor the driver need come. */
static inline bool viommu_virtq_unreached(const struct viommu_virtq *vq)
{
	return vq->unreached;
}

/*
 * Takes the next chain.
 * 1: taken. 0: none. -EBADMSG: the driver made a chain that cannot be walked
 * (loop, index out of range, bad or unreachable indirect table, readable after
 * writable, too long); it is taken, chain->id is set and the rest of chain
 * means nothing: push it with length 0. -E2BIG: more than `max` buffers; as
 * -EBADMSG. -EFAULT: ring memory cannot be reached now; nothing taken: try
 * again when memory has changed. -EIO: the ring itself makes no sense (more
 * made available than it has entries); it is broken until it is initialised
 * again.
 */
VIOMMU_API int viommu_virtq_pop(struct viommu_virtq *vq, struct viommu_chain *chain,
				struct viommu_virtq_buf *bufs, unsigned max);

/* Gives the last popped chain back to the ring as if never popped, after -E2BIG
 * too; nothing may have been pushed since. */
VIOMMU_API void viommu_virtq_unpop(struct viommu_virtq *vq,
				   const struct viommu_chain *chain);

/* Gives a chain back with `len` bytes written; the driver sees it at the next
 * publish. 0; -EFAULT: ring memory cannot be reached, nothing given back;
 * -EINVAL: more than was popped. */
VIOMMU_API int viommu_virtq_push(struct viommu_virtq *vq,
				 const struct viommu_chain *chain, uint32_t len);

/* Shows the driver all that was pushed, with one store. true: the driver asks
 * for an interrupt. If ring memory cannot be reached, what was pushed stays
 * unpublished until the next call. */
VIOMMU_API bool viommu_virtq_publish(struct viommu_virtq *vq);

/* Whether the driver has made something available (one load). false if the ring
 * is broken or that word cannot be reached now. true does not mean that pop can
 * reach the rest: stop at its -EFAULT. */
VIOMMU_API bool viommu_virtq_has_work(struct viommu_virtq *vq);

/* Asks the driver (not) to notify; repeating either costs nothing. enable returns
 * true if something became available meanwhile: then it has to be handled, no
 * kick will come for it. false and viommu_virtq_unreached(): the driver was not
 * asked, or could not be looked at; call it again. A fresh ring is notified, with
 * event_idx at its first entry only. */
VIOMMU_API void viommu_virtq_disable_notify(struct viommu_virtq *vq);
VIOMMU_API bool viommu_virtq_enable_notify(struct viommu_virtq *vq);

/* Ring position, for save and restore while nothing is popped or unpublished.
 * restore: after init. 0; -EINVAL: not a position this ring can be at. */
struct viommu_virtq_state {
	uint16_t avail_idx, used_idx;
	bool avail_wrap, used_wrap;
};
VIOMMU_API void viommu_virtq_save(const struct viommu_virtq *vq,
				  struct viommu_virtq_state *out);
VIOMMU_API int viommu_virtq_restore(struct viommu_virtq *vq,
				    const struct viommu_virtq_state *state);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_VIRTQ_H */
