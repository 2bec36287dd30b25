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

void *window_map(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr,
		 uint64_t len)
{
	/* The whole area first, so that in the common case one call serves a
	 * turn; then from the place that is asked for. */
	if (!w->len && map_from(vq, w, w->base) && holds(w, addr, len))
		return w->hva + (addr - w->addr);
	if (!map_from(vq, w, addr) || !holds(w, addr, len))
		return NULL;
	return w->hva;
}

/* Words are assembled from bytes, from as many pieces as it takes. */
static int copy_bytes(struct viommu_virtq *vq, struct viommu_ring_window *w,
		      uint64_t addr, uint8_t *out, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		const uint8_t *p = window_at(vq, w, addr + i, 1);

		if (!p)
			return err(EFAULT, "descriptor out of reach");
		/* Ordered by the caller's acquire of what made it available. */
		out[i] = load_relaxed(p);
	}
	return 0;
}

static void unpack(struct ring_desc *out, uint64_t first, uint64_t second)
{
	out->addr = le64(first);
	second = le64(second);
	out->len = (uint32_t)second;
	out->lo = (uint16_t)(second >> 32);
	out->hi = (uint16_t)(second >> 48);
}

int desc_read(struct viommu_virtq *vq, struct viommu_ring_window *w, uint64_t addr,
	      struct ring_desc *out)
{
	union {
		uint64_t words[2];
		uint8_t bytes[RING_DESC_LEN];
	} raw;
	uint64_t off = addr - w->addr;
	const uint64_t *p = NULL;

	if (off < w->len && w->len - off >= RING_DESC_LEN)
		p = (const void *)(w->hva + off);
	else
		p = window_map(vq, w, addr, RING_DESC_LEN);
	if (likely(p && !((uintptr_t)p & (sizeof(*p) - 1)))) {
		/* The second word holds the flags of a packed descriptor, so it
		 * goes first: acquire pairs with the driver's release store of
		 * them. Otherwise the address could be that of an earlier lap. */
		raw.words[1] = load_acquire(&p[1]);
		raw.words[0] = load_relaxed(&p[0]);
	} else if (copy_bytes(vq, w, addr + 8, raw.bytes + 8, 8)) {
		return err(EFAULT, "descriptor out of reach");
	} else {
		/* As above; the flags were read bytewise. */
		fence_acquire();
		if (copy_bytes(vq, w, addr, raw.bytes, 8))
			return err(EFAULT, "descriptor out of reach");
	}
	unpack(out, raw.words[0], raw.words[1]);
	return 0;
}
