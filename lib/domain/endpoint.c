/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Endpoints, their aliases, reserved regions and DMA contexts. */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "domain/space.h"

/* Sorted by start; few, so insertion sort. */
static void sort_resv(struct viommu_resv *resv, unsigned nr)
{
	for (unsigned i = 1; i < nr; i++) {
		struct viommu_resv r = resv[i];
		unsigned j = i;

		for (; j && resv[j - 1].start > r.start; j--)
			resv[j] = resv[j - 1];
		resv[j] = r;
	}
}

/* The standard: at most one MSI region, no overlaps. */
static int check_resv(const struct viommu_resv *resv, unsigned nr)
{
	unsigned msi_nr = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (resv[i].start > resv[i].last)
			return err(EINVAL, "reserved region: start > last");
		if (i && resv[i].start <= resv[i - 1].last)
			return err(EINVAL, "reserved regions overlap");
		if (resv[i].kind != VIOMMU_RESV_RESERVED &&
		    resv[i].kind != VIOMMU_RESV_MSI)
			return err(EINVAL, "reserved region: unknown kind");
		msi_nr += resv[i].kind == VIOMMU_RESV_MSI;
	}
	return msi_nr > 1 ? err(EINVAL, "two MSI regions") : 0;
}

static int copy_resv(struct viommu_endpoint *ep, const struct viommu_endpoint_config *cfg)
{
	size_t len = cfg->resv_nr * sizeof(*ep->resv);

	if (!cfg->resv_nr)
		return 0;
	ep->resv = space_alloc(ep->space, len);
	if (!ep->resv)
		return err(ENOMEM, "no memory for reserved regions");
	memcpy(ep->resv, cfg->resv, len);
	ep->resv_nr = cfg->resv_nr;
	sort_resv(ep->resv, ep->resv_nr);
	return check_resv(ep->resv, ep->resv_nr);
}

static void free_endpoint(struct viommu_endpoint *ep)
{
	space_free(ep->space, ep->resv, ep->resv_nr * sizeof(*ep->resv));
	space_free(ep->space, ep, sizeof(*ep));
}

static int insert_id(struct viommu_endpoint *ep, uint32_t id)
{
	int rc = range_pools_reserve(&ep->space->nodes);

	if (!rc)
		rc = range_tree_insert(&ep->space->endpoints, id, id, ep);
	/* no reader but us */
	space_settle_nodes(ep->space, &ep->space->endpoints.limbo);
	return rc;
}

static void remove_id(struct viommu_endpoint *ep, uint32_t id)
{
	range_tree_remove(&ep->space->endpoints, id, id);
	/* no reader but us */
	space_settle_nodes(ep->space, &ep->space->endpoints.limbo);
}

int space_endpoint_add(struct space *s, const struct viommu_endpoint_config *cfg,
		       struct viommu_endpoint **out)
{
	struct viommu_endpoint *ep;
	int rc;

	if (space_endpoint_find(s, cfg->id))
		return err(EEXIST, "endpoint id is taken");
	if (s->counts.endpoints >= s->cfg.max_endpoints)
		return err(ENOSPC, "too many endpoints");
	if (cfg->resv_nr > LIMIT_RESV_REGIONS)
		return err(ENOSPC, "too many reserved regions");
	ep = space_alloc(s, sizeof(*ep));
	if (!ep)
		return err(ENOMEM, "no memory for an endpoint");
	memset(ep, 0, sizeof(*ep));
	ep->space = s;
	ep->id = cfg->id;
	list_init(&ep->in_domain);
	list_init(&ep->contexts);
	rc = copy_resv(ep, cfg);
	if (!rc)
		rc = insert_id(ep, ep->id);
	if (rc) {
		free_endpoint(ep);
		return rc;
	}
	s->counts.endpoints++;
	*out = ep;
	return 0;
}

int space_endpoint_alias(struct viommu_endpoint *ep, uint32_t id)
{
	int rc;

	if (space_endpoint_find(ep->space, id))
		return err(EEXIST, "endpoint id is taken");
	if (ep->aliases_nr == LIMIT_ENDPOINT_ALIASES)
		return err(ENOSPC, "too many aliases");
	rc = insert_id(ep, id);
	if (!rc)
		ep->alias[ep->aliases_nr++] = id;
	return rc;
}

void space_endpoint_remove(struct viommu_endpoint *ep)
{
	if (!ep)
		return;
	if (ep->domain)
		(void)space_detach(ep->space, ep->domain->id, ep->id);
	for (uint32_t i = 0; i < ep->aliases_nr; i++)
		remove_id(ep, ep->alias[i]);
	remove_id(ep, ep->id);
	ep->space->counts.endpoints--;
	free_endpoint(ep);
}

void space_endpoint_reset(struct viommu_endpoint *ep)
{
	endpoint_set_view(ep, endpoint_view(ep), false);
	section_fence();
	endpoint_wait_sections(ep);
}

struct viommu_endpoint *space_endpoint_find(struct space *s, uint32_t id)
{
	struct range r;

	return range_tree_find(&s->endpoints, id, &r) ? r.value : NULL;
}

struct space *endpoint_space(struct viommu_endpoint *ep)
{
	return ep->space;
}

const struct viommu_resv *endpoint_resv(const struct viommu_endpoint *ep, unsigned *nr)
{
	*nr = ep->resv_nr;
	return ep->resv;
}

const struct view *endpoint_view(const struct viommu_endpoint *ep)
{
	if (ep->domain)
		return &ep->domain->view;
	return ep->space->cfg.bypass ? &view_bypass : &view_blocked;
}

void endpoint_set_view(struct viommu_endpoint *ep, const struct view *view, bool leaves)
{
	struct context *ctx;

	list_for_each (ctx, &ep->contexts, in_endpoint) {
		/* In this order; pairs with the acquires of the context's
		 * refresh(): who sees the epoch sees the view, and who counts
		 * its holds under the new attachment uses the new view. */
		store_release(&ctx->view, view);
		store_release(&ctx->attachment, ctx->attachment + leaves);
		store_release(&ctx->space_epoch, ctx->space_epoch + 1);
	}
}

void endpoint_wait_sections(struct viommu_endpoint *ep)
{
	struct context *ctx;

	list_for_each (ctx, &ep->contexts, in_endpoint)
		section_wait(&ctx->section);
}

/* ---- contexts ---- */

/* A context in pushed mode hears of the mappings that are there already. */
static void tell_mappings(struct context *ctx, struct domain *d)
{
	struct range r;
	uint64_t at = 0;

	while (range_tree_at_or_above(&d->view.tree, at, &r)) {
		const struct viommu_mapping *m = r.value;

		ctx->ops->map(ctx->opaque, r.start, r.last, m->gpa,
			      mapping_flags(m) & (VIOMMU_READ | VIOMMU_WRITE));
		if (r.last == UINT64_MAX)
			return;
		at = r.last + 1;
	}
}

static bool is_mirror(const struct context *ctx)
{
	return ctx->ops && (ctx->ops->map || ctx->ops->unmap);
}

void context_enter_domain(struct context *ctx, struct domain *d)
{
	if (!is_mirror(ctx))
		return;
	d->mirrors_nr++;
	if (ctx->ops->map)
		tell_mappings(ctx, d);
}

void context_exit_domain(struct context *ctx, struct domain *d)
{
	if (!is_mirror(ctx))
		return;
	d->mirrors_nr--;
	if (ctx->ops->unmap)
		ctx->ops->unmap(ctx->opaque, 0, UINT64_MAX);
}

int context_join(struct context *ctx, struct viommu_endpoint *ep)
{
	list_init(&ctx->in_endpoint);
	list_init(&ctx->in_waiting);
	ctx->endpoint = ep;
	ctx->view = ep ? endpoint_view(ep) : &view_bypass;
	if (!ep)
		return 0;
	if (ep->contexts_nr == LIMIT_DMA_CONTEXTS)
		return err(ENOSPC, "too many DMA contexts on the endpoint");
	ep->contexts_nr++;
	list_add(&ep->contexts, &ctx->in_endpoint);
	if (ep->domain)
		context_enter_domain(ctx, ep->domain);
	return 0;
}

void context_leave(struct context *ctx)
{
	struct viommu_endpoint *ep = ctx->endpoint;

	list_del(&ctx->in_waiting);
	if (!ep)
		return;
	if (ep->domain && is_mirror(ctx))
		ep->domain->mirrors_nr--;
	ep->hits += context_served(ctx, false);
	ep->misses += ctx->misses;
	ep->contexts_nr--;
	list_del(&ctx->in_endpoint);
}

void context_fault(struct context *ctx, uint8_t reason, uint32_t flags, uint64_t address)
{
	struct viommu_endpoint *ep = ctx->endpoint;
	struct space_fault fault;

	if (!ep)
		return;
	add_relaxed(&ep->faults, 1); /* a counter, no pair */
	fault = (struct space_fault){reason, flags, ep->id, address};
	if (ep->space->ops.fault)
		ep->space->ops.fault(ep->space->opaque, &fault);
}

void context_released(struct context *ctx)
{
	struct viommu_endpoint *ep = ctx->endpoint;

	if (!ep)
		return;
	/* Pairs with reap_lost(): who sees it sees the hold gone. */
	store_release(&ep->space->let_go, 1);
	if (ep->space->ops.released)
		ep->space->ops.released(ep->space->opaque);
}
