/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* MAP, UNMAP, and what becomes of mappings that transfers still hold. */
#include "base/err.h"
#include "base/log.h"
#include "domain/space.h"

/* ---- map ---- */

static int check_range(const struct space *s, uint64_t start, uint64_t last)
{
	uint64_t mask = s->cfg.granule - 1;

	if (last < start)
		return err(ERANGE, "virt_end < virt_start");
	if ((start & mask) || (last & mask) != mask)
		return err(ERANGE, "not aligned to the granule");
	return 0;
}

static int check_map(const struct space *s, uint64_t start, uint64_t last, uint64_t gpa)
{
	if (gpa & (s->cfg.granule - 1))
		return err(ERANGE, "phys_start is not aligned to the granule");
	if (gpa > UINT64_MAX - (last - start))
		return err(ERANGE, "guest-physical range wraps around");
	if (start < s->cfg.input_start || last > s->cfg.input_last)
		return err(ERANGE, "outside the input range");
	return 0;
}

static void tell_map(const struct domain *d, uint64_t start, uint64_t last, uint64_t gpa,
		     uint32_t flags)
{
	const struct viommu_endpoint *ep;
	const struct context *ctx;

	list_for_each (ep, &d->endpoints, in_domain)
		list_for_each (ctx, &ep->contexts, in_endpoint)
			if (ctx->ops && ctx->ops->map)
				ctx->ops->map(ctx->opaque, start, last, gpa,
					      flags & (VIOMMU_READ | VIOMMU_WRITE));
}

static void reap_lost(struct space *s);

/* Memory for one mapping, in the quota. Nothing changes but the pools' size; that too
 * only when space_refill() could not or was not called. */
static int reserve(struct space *s)
{
	int rc;

	if (unlikely(s->counts.mappings + s->lost_nr >= s->cfg.max_mappings)) {
		reap_lost(s);
		if (s->counts.mappings + s->lost_nr >= s->cfg.max_mappings)
			return err(ENOMEM, "mapping quota");
	}
	rc = pool_reserve(&s->mappings, 1);
	return rc ? rc : range_pools_reserve(&s->nodes);
}

static struct viommu_mapping *mapping_new(struct space *s, uint64_t gpa, uint32_t flags)
{
	struct viommu_mapping *m = pool_take(&s->mappings);

	m->gpa = gpa;
	m->state = flags << MAPPING_FLAGS_SHIFT;
	/* Relaxed: a stale cached translation may be compared with it meanwhile;
	 * it never equals a value that was live before. */
	store_relaxed(&m->generation, (m->generation + 1) & ~1u);
	return m;
}

static int map_checked(struct space *s, struct domain *d, const struct range *r,
		       uint64_t gpa, uint32_t flags)
{
	struct viommu_mapping *m;
	int rc = reserve(s);

	if (rc)
		return rc;
	m = mapping_new(s, gpa, flags);
	rc = range_tree_insert(&d->view.tree, r->start, r->last, m);
	if (unlikely(rc)) {
		store_relaxed(&m->generation, m->generation | 1); /* see above */
		pool_give(&s->mappings, m);
		return err(EINVAL, "overlaps a mapping");
	}
	d->mappings_nr++;
	s->counts.mappings++;
	s->counts.mapped_bytes += r->last - r->start + 1;
	if (unlikely(d->view.tree.limbo.replaced_nr))
		domain_poll_limbo(s, d);
	if (unlikely(d->mirrors_nr))
		tell_map(d, r->start, r->last, gpa, flags);
	return 0;
}

int space_map(struct space *s, uint32_t domain, uint64_t start, uint64_t last,
	      uint64_t gpa, uint32_t flags)
{
	struct domain *d = domain_find(s, domain);
	struct range r = {start, last, NULL};
	int rc;

	if (!d)
		return err(ENOENT, "map: no such domain");
	if (d->view.kind == VIEW_BYPASS)
		return err(EINVAL, "map: bypass domain");
	rc = check_range(s, start, last);
	if (!rc)
		rc = check_map(s, start, last, gpa);
	if (rc)
		return rc;
	if (domain_reserved(d, start, last))
		return err(EINVAL, "map: overlaps a reserved region");
	space_settle(s);
	return map_checked(s, d, &r, gpa, flags);
}

/* ---- replaced nodes of MAP ---- */

#define LIMBO_BATCH 32u

static bool sections_passed(const struct domain *d)
{
	const struct viommu_endpoint *ep;
	const struct context *ctx;

	list_for_each (ep, &d->endpoints, in_domain)
		list_for_each (ctx, &ep->contexts, in_endpoint)
			if (!section_passed(&ctx->section, ctx->limbo_seen))
				return false;
	return true;
}

static void note_sections(struct domain *d)
{
	struct viommu_endpoint *ep;
	struct context *ctx;

	section_fence();
	list_for_each (ep, &d->endpoints, in_domain)
		list_for_each (ctx, &ep->contexts, in_endpoint)
			ctx->limbo_seen = section_peek(&ctx->section);
}

/* Two batches: one gathers, one waits for the sections seen when it was closed.
 * A context that joins meanwhile cannot see what was replaced before. */
void domain_poll_limbo(struct space *s, struct domain *d)
{
	struct range_limbo *gathering = &d->view.tree.limbo;

	if (d->closed.replaced_nr && sections_passed(d))
		space_settle_nodes(s, &d->closed);
	if (d->closed.replaced_nr || gathering->replaced_nr < LIMBO_BATCH)
		return;
	d->closed = *gathering;
	*gathering = (struct range_limbo){0};
	note_sections(d);
}

/* ---- removal ---- */

/* From here on every cached translation of the removed mappings is dead. */
static void kill_removed(struct space *s, struct domain *d)
{
	struct range_limbo *limbo = &d->view.tree.limbo;
	struct range_leaf *leaf;
	unsigned slot, bits;

	range_limbo_for_each(limbo, leaf, slot, bits)
	{
		struct viommu_mapping *m = leaf->entry[slot].value;

		/* Relaxed: the fence before the wait for sections orders it. */
		store_relaxed(&m->generation, m->generation + 1);
		s->counts.mapped_bytes -= leaf->entry[slot].last - leaf->start[slot] + 1;
	}
}

/* After 2^31 lives a mapping has the generation of its first one, as a leaf has
 * after 2^31 losses: whoever might still remember that one forgets everything. */
void space_flush_contexts(struct space *s)
{
	struct range r;
	uint64_t id;

	for (id = 0; range_tree_at_or_above(&s->endpoints, id, &r); id = r.start + 1)
		endpoint_set_view(r.value, endpoint_view(r.value), false);
	section_fence();
	for (id = 0; range_tree_at_or_above(&s->endpoints, id, &r); id = r.start + 1)
		endpoint_wait_sections(r.value);
	s->nodes.wrapped = false;
}

static void mapping_free(struct space *s, struct viommu_mapping *m)
{
	if (unlikely(m->generation == UINT32_MAX))
		space_flush_contexts(s);
	pool_give(&s->mappings, m);
}

static void revoke(struct viommu_endpoint *ep, uint64_t start, uint64_t last)
{
	struct context *ctx;

	list_for_each (ctx, &ep->contexts, in_endpoint) {
		/* Pairs with the context's release when it lets go; stale values
		 * only cost a needless call. */
		if (!load_acquire(&ctx->held[0]) && !load_acquire(&ctx->held[1]))
			continue;
		if (ctx->ops && ctx->ops->revoke)
			ctx->ops->revoke(ctx->opaque, start, last);
	}
}

/* No new hold can come: no section that found the mapping is open. */
static bool is_held(struct viommu_mapping *m)
{
	/* Pairs with the release that drops a hold: the transfer is over. */
	if (likely(!(load_acquire(&m->state) & MAPPING_HOLDS)))
		return false;
	/* Pairs with the same: one of us sees the other, so the last one to let
	 * go sees that somebody waits. */
	return or_full(&m->state, MAPPING_WAITED) & MAPPING_HOLDS;
}

static void settle_held(struct space *s, struct domain *d, struct viommu_mapping *m,
			const struct range *r, bool wait)
{
	struct viommu_mapping **list = wait ? &s->pending : &s->lost;
	struct viommu_endpoint *ep;

	m->gpa = (uint64_t)(uintptr_t)*list;
	*list = m;
	if (!wait) {
		s->lost_nr++;
		return;
	}
	list_for_each (ep, &d->endpoints, in_domain)
		revoke(ep, r->start, r->last);
}

static void tell_unmap(const struct domain *d, uint64_t start, uint64_t last)
{
	const struct viommu_endpoint *ep;
	const struct context *ctx;

	list_for_each (ep, &d->endpoints, in_domain)
		list_for_each (ctx, &ep->contexts, in_endpoint)
			if (ctx->ops && ctx->ops->unmap)
				ctx->ops->unmap(ctx->opaque, start, last);
}

static void settle_removed(struct space *s, struct domain *d, bool wait)
{
	struct range_limbo *limbo = &d->view.tree.limbo;
	struct range_leaf *leaf;
	unsigned slot, bits;

	range_limbo_for_each(limbo, leaf, slot, bits)
	{
		struct range r = {leaf->start[slot], leaf->entry[slot].last, NULL};
		struct viommu_mapping *m = leaf->entry[slot].value;

		if (unlikely(d->mirrors_nr))
			tell_unmap(d, r.start, r.last);
		if (unlikely(is_held(m)))
			settle_held(s, d, m, &r, wait);
		else
			mapping_free(s, m);
	}
}

/* What is in limbo is dead and can no longer be found: see that it is no longer in
 * use. */
static void settle(struct space *s, struct domain *d, uint32_t removed, bool wait)
{
	struct range_tree *tree = &d->view.tree;

	domain_wait_sections(d);
	d->mappings_nr -= removed;
	s->counts.mappings -= removed;
	settle_removed(s, d, wait);
	space_settle_nodes(s, &tree->limbo);
	if (unlikely(d->closed.replaced_nr))
		space_settle_nodes(s, &d->closed);
}

uint32_t domain_remove(struct space *s, struct domain *d, uint64_t start, uint64_t last,
		       bool wait)
{
	uint32_t removed = range_tree_remove(&d->view.tree, start, last);

	if (removed) {
		kill_removed(s, d);
		settle(s, d, removed, wait);
	}
	return removed;
}

void space_settle(struct space *s)
{
	struct domain *d = s->unsettled;

	if (likely(!d))
		return;
	s->unsettled = NULL;
	settle(s, d, s->unsettled_nr, true);
}

/* The one mapping that is exactly [start, last], out of the tree. NULL: nothing was
 * done. What was taken out before need not be settled. */
static struct viommu_mapping *take_out(struct space *s, struct domain *d, uint64_t start,
				       uint64_t last)
{
	struct range_tree *tree = &d->view.tree;
	struct viommu_mapping *m = range_tree_remove_one(tree, start, last);
	struct range r;

	if (likely(m))
		return m;
	if (!range_pools_can_remove(&s->nodes) || !range_tree_find(tree, start, &r) ||
	    r.start != start || r.last != last)
		return NULL;
	(void)range_tree_remove(tree, start, last);
	return r.value;
}

/* One mapping that was taken out. Returns whether it is held. From here on no hold
 * of it succeeds. */
static bool kill_one(struct space *s, struct viommu_mapping *m, uint64_t start,
		     uint64_t last)
{
	/* Relaxed: the exchange below and the fence before the wait for sections
	 * order it. */
	store_relaxed(&m->generation, m->generation + 1);
	s->counts.mapped_bytes -= last - start + 1;
	/* Pairs with hold_mapping(): either we see the hold, or who takes it sees
	 * the generation. */
	return or_full(&m->state, 0) & MAPPING_HOLDS;
}

int space_unmap(struct space *s, uint32_t domain, uint64_t start, uint64_t last,
		unsigned *removed)
{
	struct domain *d = domain_find(s, domain);

	*removed = 0;
	if (!d)
		return err(ENOENT, "unmap: no such domain");
	if (d->view.kind == VIEW_BYPASS)
		return err(EINVAL, "unmap: bypass domain");
	if (last < start)
		return err(ERANGE, "unmap: virt_end < virt_start");
	space_settle(s);
	space_reap(s);
	if (likely(range_tree_remove_one(&d->view.tree, start, last))) {
		*removed = 1;
		kill_removed(s, d);
		settle(s, d, 1, true);
		return space_removal_result(s);
	}
	if (range_tree_cuts(&d->view.tree, start, last))
		return err(ERANGE, "unmap: would split a mapping");
	*removed = domain_remove(s, d, start, last, true);
	return space_removal_result(s);
}

int space_unmap_later(struct space *s, uint32_t domain, uint64_t start, uint64_t last)
{
	struct domain *d = domain_find(s, domain);
	struct viommu_mapping *m = NULL;
	unsigned removed;

	if (unlikely(s->unsettled != d))
		space_settle(s);
	space_reap(s);
	if (likely(d && d->view.kind == VIEW_MAPPED && last >= start))
		m = take_out(s, d, start, last);
	if (unlikely(!m))
		return space_unmap(s, domain, start, last, &removed);
	s->unsettled_nr = s->unsettled ? s->unsettled_nr + 1 : 1;
	s->unsettled = d;
	if (likely(!kill_one(s, m, start, last)))
		return 0;
	space_settle(s);
	return space_removal_result(s);
}

/* ---- holds that removals wait for ---- */

/* Frees those of a list that were let go; returns what remains. */
static struct viommu_mapping *reap(struct space *s, struct viommu_mapping *list,
				   uint32_t *left_nr)
{
	struct viommu_mapping *left = NULL;

	*left_nr = 0;
	while (list) {
		struct viommu_mapping *m = list;

		list = (struct viommu_mapping *)(uintptr_t)m->gpa;
		/* Pairs with the release that drops a hold. */
		if (!(load_acquire(&m->state) & MAPPING_HOLDS)) {
			mapping_free(s, m);
			continue;
		}
		m->gpa = (uint64_t)(uintptr_t)left;
		left = m;
		++*left_nr;
	}
	return left;
}

/* All of them; costs nothing when none was let go since the last time. */
static void reap_lost(struct space *s)
{
	uint32_t lost_nr, seen_nr;

	/* Pairs with context_released(): the hold is gone when we look. */
	if (!load_relaxed(&s->let_go) || !exchange_full(&s->let_go, 0))
		return;
	s->lost = reap(s, s->lost, &lost_nr);
	s->lost_seen = reap(s, s->lost_seen, &seen_nr);
	s->lost_nr = lost_nr + seen_nr;
}

void space_reap_some(struct space *s)
{
	if (!s->lost) {
		s->lost = s->lost_seen;
		s->lost_seen = NULL;
	}
	for (unsigned i = 0; i < LOST_STEPS && s->lost; i++) {
		struct viommu_mapping *m = s->lost;

		s->lost = (struct viommu_mapping *)(uintptr_t)m->gpa;
		/* Pairs with the release that drops a hold. */
		if (load_acquire(&m->state) & MAPPING_HOLDS) {
			m->gpa = (uint64_t)(uintptr_t)s->lost_seen;
			s->lost_seen = m;
		} else {
			mapping_free(s, m);
			s->lost_nr--;
		}
	}
}

static bool context_drained(const struct context *ctx)
{
	/* Pairs with the context's release when it lets go. */
	return !load_acquire(&ctx->held[ctx->wait_for]);
}

static void stop_waiting(struct context *ctx)
{
	store_relaxed(&ctx->waited, 0); /* a needless wake-up does no harm */
	list_del(&ctx->in_waiting);
}

void endpoint_wait_holds(struct viommu_endpoint *ep)
{
	struct context *ctx;

	list_for_each (ctx, &ep->contexts, in_endpoint) {
		/* holds of the attachment before the present one */
		ctx->wait_for = (ctx->attachment - 1) & 1;
		store_relaxed(&ctx->waited, 1); /* ordered by the fence below */
		list_del(&ctx->in_waiting);
		list_add(&ep->space->waiting, &ctx->in_waiting);
	}
	revoke(ep, 0, UINT64_MAX);
	/* Pairs with the fence in the context's put: either we see its holds
	 * gone, or it sees that we wait. */
	fence_full();
}

bool space_pending(struct space *s)
{
	struct context *ctx, *tmp;
	uint32_t nr;

	s->pending = reap(s, s->pending, &nr);
	list_for_each_safe (ctx, tmp, &s->waiting, in_waiting)
		if (context_drained(ctx))
			stop_waiting(ctx);
	return s->pending || !list_empty(&s->waiting);
}

int space_removal_result(struct space *s)
{
	if (likely(!s->pending && list_empty(&s->waiting)))
		return 0;
	return space_pending(s) ? err(EINPROGRESS, "transfers hold pages") : 0;
}

static bool log_holder(struct space *s, const struct viommu_endpoint *ep)
{
	const struct context *ctx;
	uint64_t held = 0;

	list_for_each (ctx, &ep->contexts, in_endpoint)
		held += load_acquire(&ctx->held[0]) /* as context_drained() */
			+ load_acquire(&ctx->held[1]);
	if (!held)
		return false;
	log_warn(s->log, "endpoint 0x%x still holds %llu pieces of unmapped memory",
		 ep->id, (unsigned long long)held);
	return true;
}

void space_give_up(struct space *s)
{
	struct context *ctx, *tmp;
	struct range r;
	uint64_t id = 0;

	if (!space_pending(s))
		return;
	while (range_tree_at_or_above(&s->endpoints, id, &r)) {
		const struct viommu_endpoint *ep = r.value;

		if (ep->id == r.start)
			(void)log_holder(s, ep);
		id = r.start + 1;
	}
	while (s->pending) {
		struct viommu_mapping *m = s->pending;

		s->pending = (struct viommu_mapping *)(uintptr_t)m->gpa;
		m->gpa = (uint64_t)(uintptr_t)s->lost;
		s->lost = m;
		s->lost_nr++;
	}
	list_for_each_safe (ctx, tmp, &s->waiting, in_waiting)
		stop_waiting(ctx);
	s->counts.hold_timeouts++;
}
