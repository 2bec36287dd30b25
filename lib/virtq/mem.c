/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Ring memory: each area of a ring keeps the last piece of it that was mapped.
 * Nearly always that is all of the area, and is mapped once a turn.
 */
#include "virtq/ring.h"

/* Maps the first piece of [addr, end of the area). */
static bool map_from(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr)
{
	uint64_t len = w->size - (addr - w->base);
	struct viommu_span span;

	w->len = 0;
	if (vq->mem.map(vq->mem.opaque, addr, len, w->perm, &span))
		return false;
	w->hva = span.hva;
	w->addr = addr;
	w->len = span.len < len ? span.len : len;
	return true;
}

static bool holds(const struct viommu_ring_window *w, uint64_t addr, uint64_t len)
{
	uint64_t off = addr - w->addr;

	return off < w->len && w->len - off >= len;
}

/* An indirect table out of reach is the chain's fault, not the ring's. */
static __attribute__((cold, noinline)) void *
note_unreached(struct viommu_virtq *vq, const struct viommu_ring_window *w)
{
	vq->unreached |= w == &vq->desc || w == &vq->driver || w == &vq->device;
	return NULL;
}

void *window_map(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr,
		 uint64_t len)
{
	/* The whole area first, so that in the common case one call serves a
	 * turn; then from the place that is asked for. An area whose beginning
	 * is out of reach is so as a whole: one blocked access, one fault. */
	if (!w->len && !map_from(vq, w, w->base))
		return note_unreached(vq, w);
	if (!holds(w, addr, len) && addr != w->addr && !map_from(vq, w, addr))
		return note_unreached(vq, w);
	return holds(w, addr, len) ? w->hva + (addr - w->addr) : NULL;
}

int window_copy(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr,
		void *out, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		const uint8_t *p = window_at(vq, w, addr + i, 1);

		if (!p)
			return err(EFAULT, "descriptor out of reach");
		/* Ordered by the caller's acquire of what made it available. */
		((uint8_t *)out)[i] = load_relaxed(p);
	}
	return 0;
}

int desc_read(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr,
	      struct ring_desc *out)
{
	const uint64_t *p = window_at(vq, w, addr, RING_DESC_LEN);
	uint64_t words[2];

	if (!p || ((uintptr_t)p & (sizeof(*p) - 1))) {
		if (!w->len || window_copy(vq, w, addr, words, RING_DESC_LEN))
			return err(EFAULT, "descriptor out of reach");
		p = words;
	}
	desc_fetch(p, out);
	return 0;
}
