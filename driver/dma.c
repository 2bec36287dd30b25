/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The DMA calls: addresses from the allocator, mappings of whole units, strict
 * or lazy removal. */
#include "drv.h"

/* A range whose first mapping was unmapped lazily; in drv_range.flags. */
#define RANGE_ZOMBIE (1u << 31)
/* Addresses tried when a reserved region appears under the allocator's feet. */
#define MAP_TRIES 4u

static const struct {
	uint32_t entries;
	uint64_t ns;
} mode_default[] = {
	[VIOMMU_DRV_LAZY_CPU] = {256, 10ull * 1000 * 1000},
	[VIOMMU_DRV_LAZY_SINGLE] = {32768, 1000ull * 1000 * 1000},
};

/* ---- mapping ---- */

static uint64_t unit_mask(const struct drv_dma *dma)
{
	return (1ull << dma->iova.unit_lg2) - 1;
}

/* Bytes of whole units that the piece touches; 0: it wraps around. */
static uint64_t piece_size(const struct drv_dma *dma, const struct viommu_drv_sg *piece)
{
	uint64_t mask = unit_mask(dma), last = piece->pa + (piece->len - 1);

	if (!piece->len || last < piece->pa)
		return 0;
	return (last | mask) - (piece->pa & ~mask) + 1;
}

static int total_size(const struct drv_dma *dma, const struct viommu_drv_sg *sg,
		      unsigned nr, uint64_t *total)
{
	*total = 0;
	for (unsigned i = 0; i < nr; i++) {
		uint64_t size = piece_size(dma, &sg[i]);

		if (!size || *total + size < *total)
			return err(EINVAL, "an empty piece, or too much");
		*total += size;
	}
	return *total ? 0 : err(EINVAL, "nothing to map");
}

/* Whether `next` goes on where `piece` ends, so that one mapping does. */
static bool continues(const struct drv_dma *dma, const struct viommu_drv_sg *piece,
		      const struct viommu_drv_sg *next)
{
	return piece->pa + piece->len == next->pa && !(next->pa & unit_mask(dma));
}

/* Queues (or, without sync_map, does) the mappings of all pieces from `base`. */
static int map_pieces(struct viommu_drv_domain *domain, struct viommu_drv_sg *sg,
		      unsigned nr, unsigned flags, uint64_t base,
		      struct viommu_drv_batch *batch)
{
	const struct drv_dma *dma = &domain->dma;
	uint64_t mask = unit_mask(dma), at = base;
	int r = 0;

	for (unsigned i = 0; !r && i < nr;) {
		uint64_t pa = sg[i].pa & ~mask, start = at;

		do {
			sg[i].iova = at + (sg[i].pa & mask);
			at += piece_size(dma, &sg[i++]);
		} while (i < nr && continues(dma, &sg[i - 1], &sg[i]));
		r = viommu_drv_map(domain, start, at - 1, pa, flags, batch);
		if (!r && !dma->sync_map)
			r = viommu_drv_sync(domain->drv, batch);
	}
	return r;
}

/* Removes the mappings in a range for good; the addresses stay taken. */
static int remove_mappings(struct viommu_drv_domain *domain, uint64_t base, uint64_t len)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	int r = viommu_drv_unmap(domain, base, base + len - 1, &batch);
	int sync = viommu_drv_sync(domain->drv, &batch);

	return r < 0 ? r : sync;
}

/* The same, and the addresses are free, or lost. */
static int unmap_strict(struct viommu_drv_domain *domain, uint64_t base, uint64_t len)
{
	int r = remove_mappings(domain, base, len);

	if (r)
		drv_dma_lose(domain, base,
			     base + drv_iova_size(&domain->dma.iova, len) - 1);
	else
		drv_iova_free(&domain->dma.iova, base, len);
	return r;
}

/* Addresses for a mapping; those that wait for a flush are not lost to it. */
static int take_addresses(struct viommu_drv_domain *domain, uint64_t len, uint64_t limit,
			  uint64_t *base)
{
	int r = drv_iova_alloc(&domain->dma.iova, len, limit, base);

	if (r != -ENOSPC || !drv_flush_for_room(domain))
		return r;
	return drv_iova_alloc(&domain->dma.iova, len, limit, base);
}

/* batch: the caller's, who syncs; NULL: done on return. */
static int map_domain(struct viommu_drv_domain *domain, uint64_t limit,
		      struct viommu_drv_sg *sg, unsigned nr, unsigned flags,
		      struct viommu_drv_batch *batch)
{
	struct viommu_drv_batch own = VIOMMU_DRV_BATCH_INIT;
	struct drv_iova *iova = &domain->dma.iova;
	uint64_t total, base;
	int r = total_size(&domain->dma, sg, nr, &total);

	if (r)
		return r;
	for (unsigned i = 0; i < MAP_TRIES; i++) {
		r = take_addresses(domain, total, limit, &base);
		if (r)
			return r;
		r = map_pieces(domain, sg, nr, flags, base, batch ? batch : &own);
		if (!batch) {
			int sync = viommu_drv_sync(domain->drv, &own);

			r = r ? r : sync;
		}
		if (!r) {
			add_relaxed(&drv_iova_this_cpu(iova)->maps, 1);
			return 0;
		}
		/* What was mapped goes; a failure of that shows as lost bytes. */
		if (r != -EBUSY) {
			(void)unmap_strict(domain, base, total);
			/* The device, or the record, has no room for it, and may
			 * hold what was unmapped lazily. */
			if (r == -ENOMEM && !batch && drv_flush_for_room(domain))
				continue;
			return r;
		}
		/* A region was reserved after the address left the tree: the
		 * address is not used again. */
		(void)remove_mappings(domain, base, total);
	}
	return r;
}

static int map_bypass(const struct viommu_drv_endpoint *ep, struct viommu_drv_sg *sg,
		      unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		if (!sg[i].len || sg[i].pa + (sg[i].len - 1) < sg[i].pa)
			return err(EINVAL, "an empty piece, or it wraps around");
		if (sg[i].pa + (sg[i].len - 1) > ep->dma_last)
			return err(ERANGE, "out of the endpoint's reach");
		sg[i].iova = sg[i].pa;
	}
	return nr ? 0 : err(EINVAL, "nothing to map");
}

static struct viommu_drv_domain *domain_of(const struct viommu_drv_endpoint *ep)
{
	/* Pairs with the release in link_endpoint(). */
	return load_acquire(&ep->domain);
}

int viommu_drv_dma_queue_sg(struct viommu_drv_endpoint *ep, struct viommu_drv_sg *sg,
			    unsigned nr, unsigned flags, struct viommu_drv_batch *batch)
{
	struct viommu_drv_domain *domain = domain_of(ep);

	if (!domain)
		return err(ENXIO, "not attached");
	if (domain->bypass)
		return map_bypass(ep, sg, nr);
	return map_domain(domain, ep->dma_last, sg, nr, flags, batch);
}

int viommu_drv_dma_map_sg(struct viommu_drv_endpoint *ep, struct viommu_drv_sg *sg,
			  unsigned nr, unsigned flags)
{
	return viommu_drv_dma_queue_sg(ep, sg, nr, flags, NULL);
}

int viommu_drv_dma_map(struct viommu_drv_endpoint *ep, uint64_t pa, uint64_t len,
		       unsigned flags, uint64_t *iova)
{
	struct viommu_drv_sg sg = {.pa = pa, .len = len};
	int r = viommu_drv_dma_map_sg(ep, &sg, 1, flags);

	if (!r)
		*iova = sg.iova;
	return r;
}

int viommu_drv_dma_map_virt(struct viommu_drv_endpoint *ep, const void *p, uint64_t len,
			    unsigned flags, uint64_t *iova)
{
	const struct viommu_drv *drv = ep->drv;

	if (!drv->platform.virt_to_phys)
		return err(EINVAL, "the platform has no virt_to_phys");
	return viommu_drv_dma_map(ep, drv->platform.virt_to_phys(drv->platform_opaque, p),
				  len, flags, iova);
}

/* ---- unmapping ---- */

/* Whether [base, last] is what a map call made and nobody took back; marks it.
 * The mark keeps a second unmap from freeing the addresses twice. */
static bool claim_mapping(struct viommu_drv_domain *domain, uint64_t base, uint64_t last)
{
	uintptr_t state = drv_lock(domain->drv, &domain->lock);
	struct drv_range *first = drv_tree_find(&domain->mappings, base), *end = first;
	bool ok = first && first->start == base && !(first->flags & RANGE_ZOMBIE);

	if (ok && first->last != last) {
		end = drv_tree_find(&domain->mappings, last);
		ok = end && end->last == last && !(end->flags & RANGE_ZOMBIE);
	}
	if (ok)
		first->flags |= RANGE_ZOMBIE;
	drv_unlock(domain->drv, &domain->lock, state);
	return ok;
}

static int unmap_range(struct viommu_drv_domain *domain, uint64_t base, uint64_t len,
		       bool strict)
{
	struct drv_iova *iova = &domain->dma.iova;
	int r = 1;

	if (!claim_mapping(domain, base, base + len - 1))
		return err(EINVAL, "was not mapped like this");
	add_relaxed(&drv_iova_this_cpu(iova)->unmaps, 1);
	if (!strict && load_relaxed(&domain->dma.mode) != VIOMMU_DRV_STRICT) {
		r = drv_flush_add(domain, base, base + drv_iova_size(iova, len) - 1);
		if (r > 0)
			add_relaxed(&domain->dma.fallback, 1);
	}
	return r > 0 ? unmap_strict(domain, base, len) : r;
}

static int dma_unmap(struct viommu_drv_endpoint *ep, uint64_t iova, uint64_t len,
		     bool strict)
{
	struct viommu_drv_domain *domain = domain_of(ep);
	struct viommu_drv_sg piece = {.pa = iova, .len = len};
	uint64_t size;

	if (!domain)
		return err(ENXIO, "not attached");
	if (domain->bypass)
		return 0;
	size = piece_size(&domain->dma, &piece);
	if (!size)
		return err(EINVAL, "empty, or wraps around");
	return unmap_range(domain, iova & ~unit_mask(&domain->dma), size, strict);
}

int viommu_drv_dma_unmap(struct viommu_drv_endpoint *ep, uint64_t iova, uint64_t len)
{
	return dma_unmap(ep, iova, len, false);
}

int viommu_drv_dma_unmap_sg(struct viommu_drv_endpoint *ep,
			    const struct viommu_drv_sg *sg, unsigned nr)
{
	struct viommu_drv_domain *domain = domain_of(ep);
	uint64_t total;
	int r;

	if (!domain)
		return err(ENXIO, "not attached");
	if (domain->bypass)
		return 0;
	r = total_size(&domain->dma, sg, nr, &total);
	if (r)
		return r;
	return unmap_range(domain, sg[0].iova & ~unit_mask(&domain->dma), total, false);
}

int viommu_drv_dma_alloc(struct viommu_drv_endpoint *ep, size_t len, void **p,
			 uint64_t *iova)
{
	struct viommu_drv *drv = ep->drv;
	struct viommu_drv_domain *domain = domain_of(ep);
	uint64_t pa, mask;
	size_t whole;
	void *mem;
	int r;

	if (!domain || !len)
		return domain ? err(EINVAL, "no length") : err(ENXIO, "not attached");
	/* Whole units: nothing else may be seen by the device. */
	mask = domain->bypass ? CACHE_LINE - 1 : unit_mask(&domain->dma);
	whole = (len + mask) & ~mask;
	if (whole < len)
		return err(EINVAL, "too long");
	mem = drv->platform.alloc_shared(drv->platform_opaque, whole, mask + 1, &pa);
	if (!mem)
		return err(ENOMEM, "shared memory");
	r = viommu_drv_dma_map(ep, pa, whole, VIOMMU_DRV_READ | VIOMMU_DRV_WRITE, iova);
	if (r) {
		/* It may have been mapped for a moment: only a mapping that was
		 * seen to go leaves the memory free. */
		if (!viommu_drv_health(drv))
			drv->platform.free_shared(drv->platform_opaque, mem, whole);
		return r;
	}
	*p = mem;
	return 0;
}

int viommu_drv_dma_free(struct viommu_drv_endpoint *ep, void *p, size_t len,
			uint64_t iova)
{
	struct viommu_drv *drv = ep->drv;
	struct viommu_drv_domain *domain = domain_of(ep);
	uint64_t mask;
	size_t whole;
	int r;

	if (!domain)
		return err(ENXIO, "not attached");
	mask = domain->bypass ? CACHE_LINE - 1 : unit_mask(&domain->dma);
	whole = (len + mask) & ~mask;
	/* The memory goes back at once, so the device must not reach it. */
	r = dma_unmap(ep, iova, whole, true);
	if (!r)
		drv->platform.free_shared(drv->platform_opaque, p, whole);
	return r;
}

/* ---- modes ---- */

int drv_dma_force_strict(struct viommu_drv_domain *domain)
{
	store_relaxed(&domain->dma.mode, VIOMMU_DRV_STRICT);
	return drv_flush_stop(domain);
}

/* The mode that is in force after asking for one. */
static enum viommu_drv_mode start_mode(struct viommu_drv_domain *domain,
				       enum viommu_drv_mode mode, uint32_t entries,
				       uint64_t ns)
{
	const struct viommu_drv *drv = domain->drv;
	unsigned queues = mode == VIOMMU_DRV_LAZY_CPU ? drv->platform.cpus_nr : 1;

	if (mode == VIOMMU_DRV_STRICT || domain->bypass || domain->untrusted_nr ||
	    !drv->platform.timer_arm)
		return VIOMMU_DRV_STRICT;
	store_relaxed(&domain->dma.flush_ns, ns ? ns : mode_default[mode].ns);
	if (drv_flush_start(domain, queues,
			    entries ? entries : mode_default[mode].entries))
		return VIOMMU_DRV_STRICT;
	store_relaxed(&domain->dma.mode, mode);
	return mode;
}

int viommu_drv_domain_set_mode(struct viommu_drv_domain *domain,
			       enum viommu_drv_mode mode, uint32_t flush_entries,
			       uint64_t flush_ns)
{
	int r;

	if (mode > VIOMMU_DRV_LAZY_SINGLE || flush_entries > LIMIT_DRV_FLUSH_ENTRIES)
		return err(EINVAL, "no such mode, or too many entries");
	r = drv_dma_force_strict(domain);
	if (r)
		return r;
	return start_mode(domain, mode, flush_entries, flush_ns);
}

enum viommu_drv_mode viommu_drv_domain_mode(const struct viommu_drv_domain *domain)
{
	return load_relaxed(&domain->dma.mode);
}

/* ---- life ---- */

static int init_iova(struct viommu_drv_domain *domain,
		     const struct viommu_drv_domain_config *config)
{
	const struct viommu_drv *drv = domain->drv;
	uint64_t first = drv->limits.input_start, last = drv->limits.input_last;

	if (config->iova_last) {
		first = config->iova_first > first ? config->iova_first : first;
		last = config->iova_last < last ? config->iova_last : last;
	}
	return drv_iova_init(&domain->dma.iova, drv, first, last);
}

int drv_dma_init(struct viommu_drv_domain *domain,
		 const struct viommu_drv_domain_config *config)
{
	const struct viommu_drv *drv = domain->drv;
	struct drv_dma *dma = &domain->dma;
	int r;

	dma->sync_map = !config->no_sync_map;
	drv_lock_init(drv, &dma->lock);
	drv_tree_init(&dma->lost, &drv->platform, drv->platform_opaque);
	if (domain->bypass)
		return 0;
	r = init_iova(domain, config);
	dma->queues = drv_alloc(drv, drv->platform.cpus_nr * sizeof(*dma->queues));
	if (!r && !dma->queues)
		r = err(ENOMEM, "flush queues");
	if (r) {
		drv_dma_fini(domain);
		return r;
	}
	for (unsigned i = 0; i < drv->platform.cpus_nr; i++)
		drv_lock_init(drv, &dma->queues[i].lock);
	(void)start_mode(domain, config->mode, config->flush_entries, config->flush_ns);
	return 0;
}

void drv_dma_fini(struct viommu_drv_domain *domain)
{
	struct drv_dma *dma = &domain->dma;

	/* Nothing is attached: this sends nothing and cannot fail, but for what an
	 * endpoint may reach that the device did not let go of, and that is told. */
	(void)drv_dma_force_strict(domain);
	drv_free(domain->drv, dma->queues,
		 domain->drv->platform.cpus_nr * sizeof(*dma->queues));
	drv_iova_fini(&dma->iova);
	drv_tree_fini(&dma->lost);
}

void drv_dma_lose(struct viommu_drv_domain *domain, uint64_t start, uint64_t last)
{
	struct drv_dma *dma = &domain->dma;
	uintptr_t state = drv_lock(domain->drv, &dma->lock);

	dma->lost_bytes += last - start + 1;
	/* Without memory it is lost for good, which is safe. */
	(void)drv_tree_unite(&dma->lost, start, last);
	drv_unlock(domain->drv, &dma->lock, state);
}

/* Takes one range off the lost ones. */
static bool pop_lost(struct viommu_drv_domain *domain, struct drv_range *out)
{
	struct drv_dma *dma = &domain->dma;
	uintptr_t state = drv_lock(domain->drv, &dma->lock);
	const struct drv_range *range = drv_tree_find(&dma->lost, 0);

	if (range) {
		*out = *range;
		drv_tree_remove(&dma->lost, out->start, out->last, NULL);
		dma->lost_bytes -= out->last - out->start + 1;
	}
	drv_unlock(domain->drv, &dma->lock, state);
	return range;
}

void drv_dma_after_reset(struct viommu_drv_domain *domain)
{
	struct drv_range range;

	if (domain->bypass)
		return;
	(void)viommu_drv_dma_flush(domain);
	while (pop_lost(domain, &range))
		drv_iova_free_range(&domain->dma.iova, range.start, range.last);
}

void viommu_drv_dma_get_stats(struct viommu_drv_domain *domain,
			      struct viommu_drv_dma_stats *out)
{
	const struct viommu_drv *drv = domain->drv;
	struct drv_dma *dma = &domain->dma;
	uintptr_t state;

	*out = (struct viommu_drv_dma_stats){
		.strict_fallback = load_relaxed(&dma->fallback),
	};
	for (unsigned i = 0; dma->queues && i < drv->platform.cpus_nr; i++) {
		struct drv_flush *q = &dma->queues[i];

		state = drv_lock(drv, &q->lock);
		out->maps += load_relaxed(&dma->iova.cpu[i].maps);
		out->unmaps += load_relaxed(&dma->iova.cpu[i].unmaps);
		out->flushes += q->flushes;
		out->flushed += q->flushed;
		out->flush_requests += q->requests;
		if (q->window_ns > out->window_ns)
			out->window_ns = q->window_ns;
		drv_unlock(drv, &q->lock, state);
	}
	state = drv_lock(drv, &dma->lock);
	out->lost_bytes = dma->lost_bytes;
	drv_unlock(drv, &dma->lock, state);
}
