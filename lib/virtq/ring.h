/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Inside of the device side of virtqueues: windows on ring memory, and the parts
 * that split and packed rings do differently.
 */
#ifndef VIOMMU_LIB_VIRTQ_RING_H
#define VIOMMU_LIB_VIRTQ_RING_H

#include <viommu/virtq.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"
#include "virtq/wire.h"

/* What the driver was last told about notifications. After init and restore,
 * and when the word could not be reached, it is unknown. */
enum { NOTIFY_UNKNOWN, NOTIFY_OFF, NOTIFY_ON };

/* ---- mem.c: windows ---- */

/* Maps the piece of the area that holds [addr, addr + len). NULL: it cannot be
 * reached (then w->len is 0), or it is not one piece. */
void *window_map(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr,
		 uint64_t len);

/* [addr, addr + len) of the area, in one piece; NULL as window_map(). */
static inline void *window_at(struct viommu_virtq *vq, struct viommu_ring_window *w,
			      uint64_t addr, uint64_t len)
{
	uint64_t off = addr - w->addr;

	if (likely(off < w->len && w->len - off >= len))
		return w->hva + off;
	return window_map(vq, w, addr, len);
}

/*
 * The whole area, if it is one piece at an address where words can be accessed at
 * once: the common case, in which a walk checks nothing but its index. NULL: go
 * piece by piece, or, if w->len is 0, it cannot be reached.
 */
static inline const uint8_t *window_whole(struct viommu_virtq *vq,
					  struct viommu_ring_window *w)
{
	if (unlikely(!w->len))
		window_map(vq, w, w->base, 1);
	if (unlikely(w->addr != w->base || w->len != w->size || ((uintptr_t)w->hva & 7)))
		return NULL;
	return w->hva;
}

/* A shared word of `len` bytes. A mapping may put it at an address where it
 * could not be accessed at once: then it counts as out of reach. */
static inline void *word_at(struct viommu_virtq *vq, struct viommu_ring_window *w,
			    uint64_t addr, uint64_t len)
{
	void *p = window_at(vq, w, addr, len);

	if (likely(!((uintptr_t)p & (len - 1))))
		return p;
	vq->unreached = true;
	return NULL;
}

static inline struct viommu_ring_window window_init(uint64_t base, uint64_t size,
						    unsigned perm)
{
	return (struct viommu_ring_window){.base = base, .size = size, .perm = perm};
}

/* Copies byte by byte, each fetched once, from as many pieces as it takes.
 * 0; -EFAULT. */
int window_copy(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr,
		void *out, unsigned len);

/* A descriptor at an aligned place, each word fetched once. */
static inline void desc_fetch(const uint64_t *p, struct ring_desc *out)
{
	/* Ordered by the caller's acquire of what made it available. */
	uint64_t second = le64(load_relaxed(&p[1]));

	out->addr = le64(load_relaxed(&p[0]));
	out->len = (uint32_t)second;
	out->lo = (uint16_t)(second >> 32);
	out->hi = (uint16_t)(second >> 48);
}

/* A descriptor, each word fetched once, of split rings and indirect tables, which
 * may lie at any address and over several pieces. 0; -EFAULT. */
int desc_read(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr,
	      struct ring_desc *out);

/* ---- chain.c: what a chain adds up to, and the rules for it ---- */

struct chain_walk {
	struct viommu_virtq *vq;
	struct viommu_chain *chain;
	struct viommu_virtq_buf *bufs; /* room for max, the caller's */
	unsigned max;
	int error; /* first rule that was broken, -errno; 0: none */
};

/* VIRTIO 1.4, "The Virtqueue Descriptor Table": no chain above 2^32 bytes. */
#define CHAIN_LEN_MAX (1ull << 32)

/* A buffer that is empty, or breaks a rule: the first one goes into walk->error. */
void walk_refuse(struct chain_walk *walk, uint64_t addr, uint32_t len, bool writable);

/* Appends a buffer, if all is well with it. */
static inline void walk_add(struct chain_walk *walk, uint64_t addr, uint32_t len,
			    bool writable)
{
	struct viommu_chain *chain = walk->chain;
	uint64_t total = chain->readable_len + chain->writable_len + len;

	if (unlikely(!len || chain->buf_nr >= walk->max ||
		     chain->buf_nr == VIOMMU_VIRTQ_CHAIN_MAX || addr + (len - 1) < addr ||
		     total > CHAIN_LEN_MAX ||
		     (!writable && chain->buf_nr > chain->readable_nr))) {
		walk_refuse(walk, addr, len, writable);
		return;
	}
	walk->bufs[chain->buf_nr++] = (struct viommu_virtq_buf){addr, len, writable};
	if (writable) {
		chain->writable_len += len;
	} else {
		chain->readable_nr++;
		chain->readable_len += len;
	}
}

/* The window on the table that `desc` points to, checked, and window_whole() of
 * it. 0; -EBADMSG. */
int walk_table(struct chain_walk *walk, const struct ring_desc *desc,
	       struct viommu_ring_window *table, const uint8_t **whole);

/* ---- split.c, packed.c: as the public calls of the same names ---- */

int split_pop(struct viommu_virtq *vq, struct chain_walk *walk);
void split_unpop(struct viommu_virtq *vq);
int split_push(struct viommu_virtq *vq, uint16_t id, uint32_t len);
bool split_publish(struct viommu_virtq *vq);
bool split_has_work(struct viommu_virtq *vq);
void split_disable_notify(struct viommu_virtq *vq);
/* false: the word cannot be reached. */
bool split_arm_notify(struct viommu_virtq *vq);

int packed_pop(struct viommu_virtq *vq, struct chain_walk *walk);
void packed_unpop(struct viommu_virtq *vq, uint16_t slots);
int packed_push(struct viommu_virtq *vq, const struct viommu_chain *chain, uint32_t len);
bool packed_publish(struct viommu_virtq *vq);
bool packed_has_work(struct viommu_virtq *vq);
void packed_disable_notify(struct viommu_virtq *vq);
bool packed_arm_notify(struct viommu_virtq *vq);

#endif
