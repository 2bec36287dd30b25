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

/* A window on ring memory; internal. */
struct viommu_ring_window {
	uint8_t *hva;
	uint64_t addr, len;
};

/* Fields are the implementation's. May be moved while no window is in use. */
struct viommu_virtq {
	struct viommu_virtq_config cfg;
	struct viommu_ring_mem mem;
	struct viommu_ring_window desc, driver, device;
	uint16_t avail_idx, used_idx; /* next to take / next to give back */
	uint16_t published_idx;	      /* used_idx when last published */
	bool avail_wrap, used_wrap;   /* packed */
	bool enabled, broken, notify_off;
	uint16_t signalled_idx;
	bool signalled_valid;
	uint64_t pending_head; /* packed: first entry not yet published */
	uint64_t reserved[6];
};

/* Result: 0; -EINVAL: size 0, not a power of two (split), over the limit, or
 * an area not aligned as the standard asks or wrapping around. */
VIOMMU_API int viommu_virtq_init(struct viommu_virtq *vq,
				 const struct viommu_virtq_config *cfg,
				 struct viommu_ring_mem mem);

/* A buffer of a chain; addr is in the ring memory's addresses. */
struct viommu_virtq_buf {
	uint64_t addr;
	uint32_t len;
	uint32_t writable; /* 0: device-readable, 1: device-writable */
};
/* A chain: readable buffers first, then writable ones. Keep it until pushed;
 * chains may be pushed in any order. */
struct viommu_chain {
	uint16_t id;	     /* head index (split) or buffer id (packed) */
	uint16_t ring_slots; /* ring entries it takes up */
	uint16_t buf_nr, readable_nr;
	uint64_t readable_len, writable_len; /* bytes */
};

/* Forgets the windows of the last turn. */
VIOMMU_API void viommu_virtq_begin(struct viommu_virtq *vq);

/*
 * Takes the next chain.
 * 1: taken. 0: none. -EBADMSG: the driver made a chain that cannot be walked
 * (loop, index out of range, bad indirect table, readable after writable,
 * too long); it is taken, chain->id is set: push it with length 0.
 * -EFAULT: ring memory cannot be reached now; nothing taken. -EIO: the ring
 * itself makes no sense (available index jumped past the size); the ring is
 * broken until it is initialised again. -E2BIG: more than `max` buffers; as
 * -EBADMSG.
 */
VIOMMU_API int viommu_virtq_pop(struct viommu_virtq *vq, struct viommu_chain *chain,
				struct viommu_virtq_buf *bufs, unsigned max);

/* Gives the last popped chain back to the ring as if never popped. */
VIOMMU_API void viommu_virtq_unpop(struct viommu_virtq *vq,
				   const struct viommu_chain *chain);

/* Gives a chain back with `len` bytes written; the driver sees it at the next
 * publish. 0; -EFAULT: ring memory cannot be reached, nothing given back. */
VIOMMU_API int viommu_virtq_push(struct viommu_virtq *vq,
				 const struct viommu_chain *chain, uint32_t len);

/* Shows the driver all that was pushed, with one store. true: the driver asks
 * for an interrupt. */
VIOMMU_API bool viommu_virtq_publish(struct viommu_virtq *vq);

/* Whether the driver has made something available (one load). */
VIOMMU_API bool viommu_virtq_has_work(struct viommu_virtq *vq);

/* Asks the driver (not) to notify. enable returns true if something became
 * available meanwhile: then it has to be handled, no kick will come for it. */
VIOMMU_API void viommu_virtq_disable_notify(struct viommu_virtq *vq);
VIOMMU_API bool viommu_virtq_enable_notify(struct viommu_virtq *vq);

/* Ring position, for save and restore while nothing is popped or unpublished. */
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
