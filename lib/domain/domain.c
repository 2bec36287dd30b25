/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Domains, and which endpoints are in them. */
#include <string.h>

#include "base/err.h"
#include "domain/space.h"

struct domain *domain_find_slow(struct space *s, uint32_t id)
{
	struct range r;

	if (!range_tree_find(&s->domains, id, &r))
		return NULL;
	s->recent = r.value;
	return s->recent;
}

int domain_create(struct space *s, uint32_t id, bool bypass, struct domain **out)
{
	struct domain *d = space_alloc(s, sizeof(*d));
	int rc;

	if (!d)
		return err(ENOMEM, "no memory for a domain");
	memset(d, 0, sizeof(*d));
	d->id = id;
	d->view.kind = bypass ? VIEW_BYPASS : VIEW_MAPPED;
	d->view.tree.pools = &s->nodes;
	list_init(&d->endpoints);
	rc = range_pools_reserve(&s->nodes);
	if (!rc)
		rc = range_tree_insert(&s->domains, id, id, d);
	space_settle_nodes(s, &s->domains.limbo); /* no reader but us */
	if (rc) {
		space_free(s, d, sizeof(*d));
		return rc;
	}
	s->counts.domains++;
	*out = d;
	return 0;
}

void domain_destroy(struct space *s, struct domain *d)
{
	range_tree_remove(&s->domains, d->id, d->id);
	space_settle_nodes(s, &s->domains.limbo); /* no reader but us */
	space_settle_nodes(s, &d->closed);
	space_settle_nodes(s, &d->view.tree.limbo);
	space_free(s, d->resv, d->resv_room * sizeof(*d->resv));
	if (s->recent == d)
		s->recent = NULL;
	s->counts.domains--;
	space_free(s, d, sizeof(*d));
}

void domain_wait_sections(struct domain *d)
{
	struct viommu_endpoint *ep;

	section_fence();
	list_for_each (ep, &d->endpoints, in_domain)
		endpoint_wait_sections(ep);
}

/* ---- reserved regions ---- */

/* Index of the first region that ends at or after x. */
static unsigned resv_search(const struct domain *d, uint64_t x)
{
	unsigned low = 0, high = d->resv_nr;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (d->resv[middle].last < x)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool domain_reserved(const struct domain *d, uint64_t start, uint64_t last)
{
	unsigned i = resv_search(d, start);

	return i < d->resv_nr && d->resv[i].start <= last;
}

int domain_resv_reserve(struct space *s, struct domain *d,
			const struct viommu_endpoint *more)
{
	const struct viommu_endpoint *ep;
	struct viommu_resv *resv;
	unsigned room = more->resv_nr;

	list_for_each (ep, &d->endpoints, in_domain)
		room += ep->resv_nr;
	if (room <= d->resv_room)
		return 0;
	resv = space_alloc(s, room * sizeof(*resv));
	if (!resv)
		return err(ENOMEM, "no memory for reserved regions");
	if (d->resv_nr)
		memcpy(resv, d->resv, d->resv_nr * sizeof(*resv));
	space_free(s, d->resv, d->resv_room * sizeof(*resv));
	d->resv = resv;
	d->resv_room = room;
	return 0;
}

/* Inserts one region into the sorted, disjoint ones, joining those it meets. */
static void resv_merge(struct domain *d, struct viommu_resv r)
{
	unsigned from = resv_search(d, r.start), to = from;

	for (; to < d->resv_nr && d->resv[to].start <= r.last; to++) {
		if (d->resv[to].start < r.start)
			r.start = d->resv[to].start;
		if (d->resv[to].last > r.last)
			r.last = d->resv[to].last;
	}
	memmove(&d->resv[from + 1], &d->resv[to], (d->resv_nr - to) * sizeof(*d->resv));
	d->resv[from] = r;
	d->resv_nr = d->resv_nr - (to - from) + 1;
}

void domain_resv_rebuild(struct domain *d)
{
	const struct viommu_endpoint *ep;

	d->resv_nr = 0;
	list_for_each (ep, &d->endpoints, in_domain)
		for (unsigned i = 0; i < ep->resv_nr; i++)
			resv_merge(d, ep->resv[i]);
}

/* ---- attach and detach ---- */

/* The endpoint leaves its domain, the last one takes the domain along. New
 * accesses see `next`. The holds of its contexts are waited for. */
static void leave(struct viommu_endpoint *ep, const struct view *next)
{
	struct domain *d = ep->domain;
	struct context *ctx;

	endpoint_set_view(ep, next, true);
	domain_wait_sections(d);
	endpoint_wait_holds(ep);
	list_for_each (ctx, &ep->contexts, in_endpoint)
		context_exit_domain(ctx, d);
	list_del(&ep->in_domain);
	ep->domain = NULL;
	if (--d->endpoints_nr) {
		domain_resv_rebuild(d);
		return;
	}
	domain_remove(ep->space, d, 0, UINT64_MAX, false);
	domain_destroy(ep->space, d);
}

/* In no domain the endpoint reached all of memory, and will not any more. */
static void leave_bypass(struct viommu_endpoint *ep, const struct view *next)
{
	endpoint_set_view(ep, next, true);
	section_fence();
	endpoint_wait_sections(ep);
	endpoint_wait_holds(ep);
}

static void enter(struct viommu_endpoint *ep, struct domain *d)
{
	struct context *ctx;

	ep->domain = d;
	d->endpoints_nr++;
	list_add(&d->endpoints, &ep->in_domain);
	domain_resv_rebuild(d);
	endpoint_set_view(ep, &d->view, false);
	section_fence();
	endpoint_wait_sections(ep);
	list_for_each (ctx, &ep->contexts, in_endpoint)
		context_enter_domain(ctx, d);
}

static bool resv_collide(const struct viommu_endpoint *ep, const struct domain *d)
{
	for (unsigned i = 0; i < ep->resv_nr; i++) {
		const struct viommu_resv *resv = &ep->resv[i];
		struct range r;

		if (range_tree_at_or_below(&d->view.tree, resv->last, &r) &&
		    r.last >= resv->start)
			return true;
	}
	return false;
}

/* The domain to attach to: as it is, or new. Changes nothing on failure. */
static int get_domain(struct space *s, uint32_t id, const struct viommu_endpoint *ep,
		      bool bypass, struct domain **out)
{
	struct domain *d = domain_find(s, id);
	bool frees_one = ep->domain && ep->domain->endpoints_nr == 1;
	int rc;

	if (d) {
		if ((d->view.kind == VIEW_BYPASS) != bypass)
			return err(EINVAL, "bypass does not match the domain");
		if (ep->domain != d && resv_collide(ep, d))
			return err(EOPNOTSUPP, "mappings in reserved regions");
		*out = d;
		return domain_resv_reserve(s, d, ep);
	}
	if (s->counts.domains - frees_one >= s->cfg.max_domains)
		return err(ENOSPC, "too many domains");
	rc = domain_create(s, id, bypass, &d);
	if (rc)
		return rc;
	rc = domain_resv_reserve(s, d, ep);
	if (rc)
		domain_destroy(s, d);
	else
		*out = d;
	return rc;
}

int space_attach(struct space *s, uint32_t domain, uint32_t endpoint, bool bypass)
{
	struct viommu_endpoint *ep = space_endpoint_find(s, endpoint);
	struct domain *d;
	int rc;

	if (!ep)
		return err(ENOENT, "attach: no such endpoint");
	rc = get_domain(s, domain, ep, bypass, &d);
	if (rc || ep->domain == d)
		return rc;
	space_settle(s);
	space_reap(s);
	if (ep->domain)
		leave(ep, &d->view);
	else if (s->cfg.bypass && !bypass)
		leave_bypass(ep, &d->view);
	enter(ep, d);
	return space_removal_result(s);
}

int space_detach(struct space *s, uint32_t domain, uint32_t endpoint)
{
	struct viommu_endpoint *ep = space_endpoint_find(s, endpoint);

	if (!ep)
		return err(ENOENT, "detach: no such endpoint");
	if (!ep->domain || ep->domain->id != domain)
		return err(EINVAL, "detach: not attached to that domain");
	space_settle(s);
	space_reap(s);
	leave(ep, s->cfg.bypass ? &view_bypass : &view_blocked);
	return space_removal_result(s);
}
