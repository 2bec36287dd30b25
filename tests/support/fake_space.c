/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "fake_space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int space_create(const struct space_config *cfg, const struct space_ops *ops,
		 void *opaque, const struct viommu_alloc *alloc,
		 const struct viommu_log *log, struct space **out)
{
	struct space *s = alloc->alloc(alloc->opaque, sizeof(*s), 64);

	(void)log;
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->ops = *ops;
	s->opaque = opaque;
	s->alloc = *alloc;
	s->model = (struct naive){
		.features = ~0ull,
		.granule = cfg->granule,
		.input_start = cfg->input_start,
		.input_last = cfg->input_last,
		.domain_last = UINT32_MAX,
		.max_mappings = cfg->max_mappings < NAIVE_MAPPINGS ? cfg->max_mappings
								   : NAIVE_MAPPINGS,
		.max_domains = cfg->max_domains < NAIVE_DOMAINS ? cfg->max_domains
								: NAIVE_DOMAINS,
		.bypass = cfg->bypass,
	};
	*out = s;
	return 0;
}

void space_destroy(struct space *s)
{
	struct viommu_alloc alloc = s->alloc;

	alloc.free(alloc.opaque, s, sizeof(*s));
}

void space_set_bypass(struct space *s, bool bypass)
{
	s->model.bypass = bypass;
}

bool space_get_bypass(const struct space *s)
{
	return s->model.bypass;
}

bool space_pending(struct space *s)
{
	return s->pending;
}

void space_give_up(struct space *s)
{
	s->give_ups++;
	s->pending = false;
}

void fake_space_release(struct space *s)
{
	s->pending = false;
	s->ops.released(s->opaque);
}

void fake_space_fault(struct space *s, uint32_t endpoint, uint64_t address,
		      uint8_t reason)
{
	struct space_fault fault = {
		reason, VIRTIO_IOMMU_FAULT_F_WRITE | VIRTIO_IOMMU_FAULT_F_ADDRESS,
		endpoint, address};

	s->ops.fault(s->opaque, &fault);
}

static int ask(struct space *s, const struct proto_request *req)
{
	int r = s->fail;

	s->fail = 0;
	return r ? r : naive_request(&s->model, req);
}

static int removal(struct space *s, int r)
{
	if (r || !s->hold)
		return r;
	s->pending = true;
	return -EINPROGRESS;
}

int space_attach(struct space *s, uint32_t domain, uint32_t endpoint, bool bypass)
{
	struct proto_request req = {.type = VIRTIO_IOMMU_T_ATTACH,
				    .domain = domain,
				    .endpoint = endpoint,
				    .flags = bypass};

	return ask(s, &req);
}

int space_detach(struct space *s, uint32_t domain, uint32_t endpoint)
{
	struct proto_request req = {
		.type = VIRTIO_IOMMU_T_DETACH, .domain = domain, .endpoint = endpoint};

	return removal(s, ask(s, &req));
}

int space_map(struct space *s, uint32_t domain, uint64_t start, uint64_t last,
	      uint64_t gpa, uint32_t flags)
{
	struct proto_request req = {.type = VIRTIO_IOMMU_T_MAP,
				    .domain = domain,
				    .start = start,
				    .last = last,
				    .gpa = gpa,
				    .flags = flags};

	return ask(s, &req);
}

int space_unmap(struct space *s, uint32_t domain, uint64_t start, uint64_t last,
		unsigned *removed)
{
	struct proto_request req = {.type = VIRTIO_IOMMU_T_UNMAP,
				    .domain = domain,
				    .start = start,
				    .last = last};
	unsigned before = s->model.mapping_nr;
	int r = ask(s, &req);

	*removed = before - s->model.mapping_nr;
	return removal(s, r);
}

int space_unmap_later(struct space *s, uint32_t domain, uint64_t start, uint64_t last)
{
	unsigned removed;

	return space_unmap(s, domain, start, last, &removed);
}

void space_settle(struct space *s)
{
	(void)s;
}

int space_refill(struct space *s)
{
	(void)s;
	return 0;
}

int space_reset(struct space *s)
{
	s->resets++;
	naive_reset(&s->model);
	return removal(s, 0);
}

int space_endpoint_add(struct space *s, const struct viommu_endpoint_config *cfg,
		       struct viommu_endpoint **out)
{
	struct naive_endpoint *n = &s->model.endpoint[s->model.endpoint_nr];
	struct viommu_endpoint *ep = &s->endpoint[s->model.endpoint_nr];

	if (space_endpoint_find(s, cfg->id))
		return -EEXIST;
	if (s->model.endpoint_nr == NAIVE_ENDPOINTS || cfg->resv_nr > NAIVE_RESV)
		return -ENOSPC;
	*n = (struct naive_endpoint){.id = cfg->id, .resv_nr = cfg->resv_nr};
	*ep = (struct viommu_endpoint){
		.space = s, .resv_nr = cfg->resv_nr, .id = cfg->id};
	for (unsigned i = 0; i < cfg->resv_nr; i++) {
		ep->resv[i] = cfg->resv[i];
		n->resv[i] =
			(struct proto_resv_mem){(uint8_t)cfg->resv[i].kind,
						cfg->resv[i].start, cfg->resv[i].last};
	}
	s->model.endpoint_nr++;
	*out = ep;
	return 0;
}

int space_endpoint_alias(struct viommu_endpoint *ep, uint32_t id)
{
	(void)ep;
	(void)id;
	return -ENOSPC; /* the model has none */
}

void space_endpoint_remove(struct viommu_endpoint *ep)
{
	ep->id = UINT32_MAX; /* nobody asks for that one */
	ep->space->model.endpoint[ep - ep->space->endpoint].id = UINT32_MAX;
}

void space_endpoint_reset(struct viommu_endpoint *ep)
{
	(void)ep;
}

struct viommu_endpoint *space_endpoint_find(struct space *s, uint32_t id)
{
	for (unsigned i = 0; i < s->model.endpoint_nr; i++)
		if (s->endpoint[i].id == id)
			return &s->endpoint[i];
	return NULL;
}

struct space *endpoint_space(struct viommu_endpoint *ep)
{
	return ep->space;
}

void space_set_owner(struct space *s, void *owner)
{
	s->owner = owner;
}

void *space_get_owner(struct space *s)
{
	return s->owner;
}

const struct viommu_resv *endpoint_resv(const struct viommu_endpoint *ep, unsigned *nr)
{
	*nr = ep->resv_nr;
	return ep->resv;
}

static int by_domain_and_start(const void *a, const void *b)
{
	const struct naive_mapping *x = a, *y = b;

	if (x->domain != y->domain)
		return x->domain < y->domain ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

void space_visit_mappings(struct space *s,
			  bool (*visit)(void *opaque, const struct viommu_mapping_info *),
			  void *opaque)
{
	struct naive *n = &s->model;

	qsort(n->mapping, n->mapping_nr, sizeof(n->mapping[0]), by_domain_and_start);
	for (unsigned i = 0; i < n->mapping_nr; i++) {
		struct viommu_mapping_info info = {
			n->mapping[i].domain, n->mapping[i].start, n->mapping[i].last,
			n->mapping[i].gpa, n->mapping[i].flags};

		if (!visit(opaque, &info))
			return;
	}
}

static const struct naive_endpoint *after(const struct naive *n, int64_t id)
{
	const struct naive_endpoint *best = NULL;

	for (unsigned i = 0; i < n->endpoint_nr; i++) {
		const struct naive_endpoint *ep = &n->endpoint[i];

		if (ep->id > id && (!best || ep->id < best->id))
			best = ep;
	}
	return best;
}

void space_visit_endpoints(struct space *s,
			   bool (*visit)(void *opaque,
					 const struct viommu_endpoint_info *),
			   void *opaque)
{
	const struct naive *n = &s->model;
	const struct naive_endpoint *ep;

	for (int64_t id = -1; (ep = after(n, id)); id = ep->id) {
		struct viommu_endpoint_info info = {.id = ep->id,
						    .attached = ep->attached,
						    .bypass = n->bypass,
						    .domain = ep->domain};

		for (unsigned i = 0; ep->attached && i < n->domain_nr; i++)
			if (n->domain[i].id == ep->domain)
				info.bypass = n->domain[i].bypass;
		if (!visit(opaque, &info))
			return;
	}
}

void space_get_counts(const struct space *s, struct space_counts *out)
{
	*out = (struct space_counts){.domains = s->model.domain_nr,
				     .endpoints = s->model.endpoint_nr,
				     .mappings = s->model.mapping_nr,
				     .hold_timeouts = s->give_ups};
}
