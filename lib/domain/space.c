/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The space as a whole: creation, bypass, counts, and walks over it. */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "domain/space.h"

const struct view view_blocked = {.kind = VIEW_BLOCKED};
const struct view view_bypass = {.kind = VIEW_BYPASS};

static bool config_valid(const struct space_config *cfg)
{
	return is_pow2(cfg->granule) && cfg->input_start <= cfg->input_last &&
	       cfg->max_mappings <= LIMIT_MAPPINGS && cfg->max_domains <= LIMIT_DOMAINS &&
	       cfg->max_endpoints <= LIMIT_ENDPOINTS;
}

static uint32_t quota(uint32_t asked, uint32_t limit)
{
	return asked ? asked : limit;
}

int space_create(const struct space_config *cfg, const struct space_ops *ops,
		 void *opaque, const struct viommu_alloc *alloc,
		 const struct viommu_log *log, struct space **out)
{
	struct space *s;
	int rc;

	if (!config_valid(cfg))
		return err(EINVAL, "granule, input range or quota");
	s = alloc->alloc(alloc->opaque, sizeof(*s), CACHE_LINE);
	if (!s)
		return err(ENOMEM, "no memory for a space");
	memset(s, 0, sizeof(*s));
	s->cfg = *cfg;
	s->cfg.max_mappings = quota(cfg->max_mappings, LIMIT_MAPPINGS);
	s->cfg.max_domains = quota(cfg->max_domains, LIMIT_DOMAINS);
	s->cfg.max_endpoints = quota(cfg->max_endpoints, LIMIT_ENDPOINTS);
	if (ops)
		s->ops = *ops;
	s->opaque = opaque;
	s->alloc = *alloc;
	s->log = log;
	range_pools_init(&s->nodes, &s->alloc);
	pool_init(&s->mappings, &s->alloc, sizeof(struct viommu_mapping),
		  sizeof(struct viommu_mapping));
	s->domains.pools = &s->nodes;
	s->endpoints.pools = &s->nodes;
	list_init(&s->waiting);
	rc = space_refill(s);
	if (rc) {
		space_destroy(s);
		return rc;
	}
	*out = s;
	return 0;
}

int space_refill(struct space *s)
{
	int mappings = pool_reserve(&s->mappings, SPACE_RESERVE);
	int nodes = range_pools_refill(&s->nodes, SPACE_RESERVE);

	return mappings ? mappings : nodes;
}

void space_destroy(struct space *s)
{
	struct viommu_alloc alloc;
	struct range r;

	if (!s)
		return;
	space_reset(s);
	while (range_tree_at_or_above(&s->endpoints, 0, &r))
		space_endpoint_remove(r.value);
	pool_destroy(&s->mappings);
	range_pools_destroy(&s->nodes);
	alloc = s->alloc;
	alloc.free(alloc.opaque, s, sizeof(*s));
}

void space_set_owner(struct space *s, void *owner)
{
	s->owner = owner;
}

void *space_get_owner(struct space *s)
{
	return s->owner;
}

bool space_get_bypass(const struct space *s)
{
	return s->cfg.bypass;
}

/* Aliases have entries of their own in the tree: each endpoint once. */
static struct viommu_endpoint *next_endpoint(struct space *s, uint64_t *id)
{
	struct range r;

	while (range_tree_at_or_above(&s->endpoints, *id, &r)) {
		struct viommu_endpoint *ep = r.value;

		*id = r.start + 1;
		if (ep->id == r.start)
			return ep;
	}
	return NULL;
}

static struct domain *next_domain(struct space *s, uint64_t *id)
{
	struct range r;

	if (!range_tree_at_or_above(&s->domains, *id, &r))
		return NULL;
	*id = r.start + 1;
	return r.value;
}

void space_set_bypass(struct space *s, bool bypass)
{
	struct viommu_endpoint *ep;
	uint64_t id;

	if (s->cfg.bypass == bypass)
		return;
	s->cfg.bypass = bypass;
	for (id = 0; (ep = next_endpoint(s, &id));)
		if (!ep->domain)
			endpoint_set_view(ep, endpoint_view(ep), false);
	section_fence();
	for (id = 0; (ep = next_endpoint(s, &id));)
		if (!ep->domain)
			endpoint_wait_sections(ep);
}

int space_reset(struct space *s)
{
	struct viommu_endpoint *ep;
	uint64_t id;

	for (id = 0; (ep = next_endpoint(s, &id));)
		if (ep->domain)
			(void)space_detach(s, ep->domain->id, ep->id);
	return space_removal_result(s);
}

void space_visit_domains(struct space *s,
			 bool (*visit)(void *opaque, const struct space_domain_info *),
			 void *opaque)
{
	struct domain *d;
	uint64_t id = 0;

	while ((d = next_domain(s, &id))) {
		struct space_domain_info info = {
			.id = d->id,
			.bypass = d->view.kind == VIEW_BYPASS,
			.endpoints = d->endpoints_nr,
			.mappings = d->mappings_nr,
		};

		if (!visit(opaque, &info))
			return;
	}
}

static bool visit_domain_mappings(struct domain *d,
				  bool (*visit)(void *opaque,
						const struct viommu_mapping_info *),
				  void *opaque)
{
	struct range r;
	uint64_t at = 0;

	while (range_tree_at_or_above(&d->view.tree, at, &r)) {
		const struct viommu_mapping *m = r.value;
		struct viommu_mapping_info info = {
			.domain = d->id,
			.start = r.start,
			.last = r.last,
			.gpa = m->gpa,
			.flags = mapping_flags(m),
		};

		if (!visit(opaque, &info))
			return false;
		if (r.last == UINT64_MAX)
			break;
		at = r.last + 1;
	}
	return true;
}

void space_visit_mappings(struct space *s,
			  bool (*visit)(void *opaque, const struct viommu_mapping_info *),
			  void *opaque)
{
	struct domain *d;
	uint64_t id = 0;

	while ((d = next_domain(s, &id)))
		if (!visit_domain_mappings(d, visit, opaque))
			return;
}

static void endpoint_info(const struct viommu_endpoint *ep,
			  struct viommu_endpoint_info *info)
{
	const struct context *ctx;

	*info = (struct viommu_endpoint_info){
		.id = ep->id,
		.attached = ep->domain,
		.bypass = endpoint_view(ep)->kind == VIEW_BYPASS,
		.domain = ep->domain ? ep->domain->id : 0,
		.faults = load_relaxed(&ep->faults), /* a counter, no pair */
		.hits = ep->hits,
		.misses = ep->misses,
	};
	list_for_each (ctx, &ep->contexts, in_endpoint) {
		/* counters, no pair */
		info->hits += context_served(ctx, false);
		info->misses += load_relaxed(&ctx->misses);
	}
}

void space_visit_endpoints(struct space *s,
			   bool (*visit)(void *opaque,
					 const struct viommu_endpoint_info *),
			   void *opaque)
{
	struct viommu_endpoint *ep;
	uint64_t id = 0;

	while ((ep = next_endpoint(s, &id))) {
		struct viommu_endpoint_info info;

		endpoint_info(ep, &info);
		if (!visit(opaque, &info))
			return;
	}
}

void space_get_counts(const struct space *s, struct space_counts *out)
{
	*out = s->counts;
}
