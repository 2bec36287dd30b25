/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/dma.h - what an emulated device uses to reach guest memory.
 *
 * A DMA context belongs to one endpoint and one thread (a device with several
 * queues on several threads makes one context each). It caches translations;
 * contexts share nothing that a translation writes.
 *
 * Two ways to use memory:
 *   in a section   viommu_dma_begin() .. viommu_dma_end(). Pointers from
 *                  viommu_dma_translate() and viommu_dma_sg() are good until
 *                  the end. A section is short: no system call that can sleep,
 *                  no waiting. UNMAP and DETACH wait for sections under way.
 *   held           viommu_dma_get() pins the pages of a transfer that outlives
 *                  the section (an io_uring request) until viommu_dma_put().
 *                  An UNMAP of just those pages is answered when they are
 *                  released; all else goes on. Cost: one atomic add a mapping.
 *
 * A context on a NULL endpoint (no IOMMU) or on an endpoint in bypass takes
 * guest-physical addresses, at the price of one predictable branch.
 */
#ifndef VIOMMU_DMA_H
#define VIOMMU_DMA_H

#include <sys/uio.h>

#include <viommu/base.h>
#include <viommu/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_dma;
struct viommu_endpoint; /* viommu/device.h */
struct viommu_mapping;	/* one MAP request; opaque */

/* A piece of guest memory in this process. */
struct viommu_span {
	void *hva;
	uint64_t len; /* bytes from hva on, never more than was asked for */
};

/* What a device may want to hear of its endpoint's mappings. All optional,
 * called on the control side while the request is being processed. */
struct viommu_dma_ops {
	/*
	 * [start, last] was unmapped (or all was, by a detach) while somebody
	 * holds pages of it and this context holds pages: if some of them are in
	 * the range, finish or cancel, and put them (from here, or later). The
	 * request is not answered before that, or before the device's
	 * hold_timeout_ms.
	 */
	void (*revoke)(void *opaque, uint64_t start, uint64_t last);
	/* A mapping was added / removed. Contexts that mirror mappings (pushed
	 * mode) set these; others ask on demand by translating. On attach, map
	 * is called for each mapping that is there already; on detach, unmap is
	 * called once with the whole space. */
	void (*map)(void *opaque, uint64_t start, uint64_t last, uint64_t gpa,
		    unsigned perm);
	void (*unmap)(void *opaque, uint64_t start, uint64_t last);
};

/*
 * ep NULL: no IOMMU, addresses are guest-physical. ops may be NULL. Control
 * side. Result: 0, -ENOMEM, -ENOSPC (too many contexts on the endpoint).
 */
VIOMMU_API int viommu_dma_create(struct viommu_endpoint *ep, struct viommu_mem *mem,
				 const struct viommu_alloc *alloc,
				 const struct viommu_dma_ops *ops, void *opaque,
				 struct viommu_dma **out);

/* Nothing may be held and no section open. NULL is allowed. Control side. */
VIOMMU_API void viommu_dma_destroy(struct viommu_dma *dma);

/* Sections do not nest. DMA side. A control-side call that removes something
 * waits for the sections of the contexts it affects: a thread must not make one
 * while it has such a section open. */
VIOMMU_API void viommu_dma_begin(struct viommu_dma *dma);
VIOMMU_API void viommu_dma_end(struct viommu_dma *dma);

/*
 * The first contiguous piece of [iova, iova + len) with permission `perm`
 * (VIOMMU_READ, VIOMMU_WRITE or both), inside a section. len > 0. The piece is
 * as long as one mapping and one memory region allow, or longer where mappings go
 * on from each other in memory; ask again for the rest.
 * Result: 0; -EFAULT: blocked by the IOMMU (a fault is recorded) or no memory
 * there. *out is not written on failure.
 */
VIOMMU_API int viommu_dma_translate(struct viommu_dma *dma, uint64_t iova, uint64_t len,
				    unsigned perm, struct viommu_span *out);

/*
 * viommu_dma_translate() with its most frequent case inlined: for devices that
 * translate per descriptor. The structs are the library's; they are here for
 * this function only, change with the library's version, and nothing but
 * viommu_dma_reach() may look into them.
 */
#define VIOMMU_DMA_ENTRIES 256u
struct viommu_dma_entry {
	uint64_t iova, size; /* size 0: empty */
	char *hva;	     /* of iova */
	const uint32_t *generation_now;
	uint32_t generation; /* good while *generation_now is this */
	uint32_t perm;
	uint64_t gpa; /* of iova */
	const void *region;
	uint64_t unused; /* room for an address-space tag */
};
struct viommu_dma_fast {
	uint32_t shift, mask;
	uint64_t served;
	uint64_t unused[6];
	struct viommu_dma_entry entry[VIOMMU_DMA_ENTRIES];
};

static inline int viommu_dma_reach(struct viommu_dma *dma, uint64_t iova, uint64_t len,
				   unsigned perm, struct viommu_span *out)
{
	struct viommu_dma_fast *fast = (struct viommu_dma_fast *)dma;
	const struct viommu_dma_entry *e =
		&fast->entry[(iova >> fast->shift) & fast->mask];
	uint64_t offset = iova - e->iova, left = e->size - offset;

	if (__builtin_expect(offset >= e->size || (perm & ~e->perm) ||
				     __atomic_load_n(e->generation_now,
						     __ATOMIC_RELAXED) != e->generation,
			     0))
		return viommu_dma_translate(dma, iova, len, perm, out);
	__atomic_store_n(&fast->served, fast->served + 1, __ATOMIC_RELAXED);
	out->hva = e->hva + offset;
	out->len = len < left ? len : left;
	return 0;
}

/*
 * All pieces of [iova, iova + len) inside a section, adjacent ones merged.
 * Result: number of iovecs written (>= 1, 0 if len is 0); -EFAULT; -E2BIG: more
 * than max pieces. All or nothing.
 */
VIOMMU_API int viommu_dma_sg(struct viommu_dma *dma, uint64_t iova, uint64_t len,
			     unsigned perm, struct iovec *iov, unsigned max);

/*
 * A batch: the buffers of a descriptor chain, in the order in which the device uses
 * them. Any number of segments, of any length; such of 0 bytes are skipped.
 */
struct viommu_dma_seg {
	uint64_t iova, len; /* bytes */
	unsigned perm;	    /* VIOMMU_READ, VIOMMU_WRITE or both */
};

/*
 * All pieces of nr segments inside a section, in order. Pieces that are adjacent in
 * memory are joined, but not across a change of permission: what the driver lets
 * the device read and what it lets it write stay apart.
 * Result: number of iovecs written (0 if there are no bytes); -EFAULT: a fault is
 * recorded with the address of the first blocked byte; -E2BIG: more than max
 * pieces. All or nothing: on failure *failed is the index of the segment at fault,
 * and what iov holds means nothing. *failed is written on failure only.
 */
VIOMMU_API int viommu_dma_sg_batch(struct viommu_dma *dma,
				   const struct viommu_dma_seg *seg, unsigned nr,
				   struct iovec *iov, unsigned max, unsigned *failed);

/*
 * Copies. Outside a section, open sections of their own, at most 64 KiB long
 * each. Result: 0, -EFAULT: what lies before the first byte that cannot be
 * reached may have been transferred.
 */
VIOMMU_API int viommu_dma_read(struct viommu_dma *dma, uint64_t iova, void *buf,
			       size_t len);
VIOMMU_API int viommu_dma_write(struct viommu_dma *dma, uint64_t iova, const void *buf,
				size_t len);

/* Pages in use by a transfer. The caller owns both arrays. */
struct viommu_hold {
	struct viommu_mapping *mapping; /* NULL in bypass or without IOMMU */
	uint64_t dirty_gpa;		/* first guest byte, for dirty tracking */
	uint64_t dirty_len;		/* 0: not held for writing */
	uint32_t region;		/* slot in the memory table */
	uint32_t attachment;		/* of the endpoint when it was taken */
};
struct viommu_sg {
	struct iovec *iov;
	unsigned iov_nr, iov_max;
	struct viommu_hold *hold;
	unsigned hold_nr, hold_max;
	uint64_t len; /* bytes in iov */
};

/*
 * Appends [iova, iova + len) to sg and holds its pages; needs no section.
 * Result: 0; -EFAULT; -E2BIG: an array is full. On failure sg is as before.
 */
VIOMMU_API int viommu_dma_get(struct viommu_dma *dma, uint64_t iova, uint64_t len,
			      unsigned perm, struct viommu_sg *sg);
/*
 * viommu_dma_get() of nr segments: appends all of them to sg, joined as
 * viommu_dma_sg_batch() does and never with what sg had before, and holds their
 * pages; needs no section, opens one at most. Segments need not be of different
 * pages. Errors are as for viommu_dma_get(); *failed is the index of the segment at
 * fault, written on failure only, and sg is as before: nothing stays held.
 */
VIOMMU_API int viommu_dma_get_batch(struct viommu_dma *dma,
				    const struct viommu_dma_seg *seg, unsigned nr,
				    struct viommu_sg *sg, unsigned *failed);
/* Releases all of sg and empties it. Same thread as viommu_dma_get(). */
VIOMMU_API void viommu_dma_put(struct viommu_dma *dma, struct viommu_sg *sg);

/* Counters of one context; any thread may read, values may lag. */
struct viommu_dma_stats {
	uint64_t hits;	    /* translations served by the IOTLB */
	uint64_t misses;    /* translations that looked the mapping up */
	uint64_t bypassed;  /* translations without an IOMMU or in bypass */
	uint64_t faults;    /* accesses blocked by the IOMMU */
	uint64_t no_memory; /* accesses to a gpa without reachable memory */
	uint64_t held;	    /* holds taken now */
};
VIOMMU_API void viommu_dma_get_stats(const struct viommu_dma *dma,
				     struct viommu_dma_stats *out);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_DMA_H */
