/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "naive.h"

#include <errno.h>
#include <stddef.h>

static struct naive_endpoint *find_endpoint(const struct naive *n, uint32_t id)
{
	for (unsigned i = 0; i < n->endpoint_nr; i++)
		if (n->endpoint[i].id == id)
			return (struct naive_endpoint *)&n->endpoint[i];
	return NULL;
}

static const struct naive_domain *find_domain(const struct naive *n, uint32_t id)
{
	for (unsigned i = 0; i < n->domain_nr; i++)
		if (n->domain[i].id == id)
			return &n->domain[i];
	return NULL;
}

static bool overlap(uint64_t a, uint64_t a_last, uint64_t b, uint64_t b_last)
{
	return a <= b_last && b <= a_last;
}

static bool feature(const struct naive *n, unsigned bit)
{
	return n->features >> bit & 1;
}

/* A domain without endpoints ceases to exist, and its mappings with it. */
static void sweep(struct naive *n, uint32_t domain)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n->endpoint_nr; i++)
		if (n->endpoint[i].attached && n->endpoint[i].domain == domain)
			return;
	for (unsigned i = 0; i < n->mapping_nr; i++)
		if (n->mapping[i].domain != domain)
			n->mapping[kept++] = n->mapping[i];
	n->mapping_nr = kept;
	kept = 0;
	for (unsigned i = 0; i < n->domain_nr; i++)
		if (n->domain[i].id != domain)
			n->domain[kept++] = n->domain[i];
	n->domain_nr = kept;
}

static bool resv_collides(const struct naive *n, const struct naive_endpoint *ep,
			  uint32_t domain)
{
	for (unsigned i = 0; i < n->mapping_nr; i++)
		for (unsigned j = 0; j < ep->resv_nr; j++)
			if (n->mapping[i].domain == domain &&
			    overlap(n->mapping[i].start, n->mapping[i].last,
				    ep->resv[j].start, ep->resv[j].last))
				return true;
	return false;
}

/* Whether leaving its domain would end that domain. */
static bool alone(const struct naive *n, const struct naive_endpoint *ep)
{
	for (unsigned i = 0; i < n->endpoint_nr; i++)
		if (&n->endpoint[i] != ep && n->endpoint[i].attached &&
		    n->endpoint[i].domain == ep->domain)
			return false;
	return true;
}

static int attach(struct naive *n, const struct proto_request *req)
{
	uint32_t known = feature(n, VIRTIO_IOMMU_F_BYPASS_CONFIG) ? 1 : 0;
	struct naive_endpoint *ep = find_endpoint(n, req->endpoint);
	const struct naive_domain *d = find_domain(n, req->domain);
	bool bypass = req->flags & 1;
	uint32_t old;

	if (req->reserved_set || req->flags & ~known)
		return -EINVAL;
	if (!ep)
		return -ENOENT;
	if (req->domain < n->domain_first || req->domain > n->domain_last)
		return -ERANGE;
	if (d && d->bypass != bypass)
		return -EINVAL;
	if (ep->attached && ep->domain == req->domain)
		return 0;
	if (d && resv_collides(n, ep, req->domain))
		return -EOPNOTSUPP;
	if (!d && n->domain_nr >= n->max_domains && !(ep->attached && alone(n, ep)))
		return -ENOMEM;
	old = ep->domain;
	if (ep->attached) {
		ep->attached = false;
		sweep(n, old);
	}
	if (!d)
		n->domain[n->domain_nr++] = (struct naive_domain){req->domain, bypass};
	ep->attached = true;
	ep->domain = req->domain;
	return 0;
}

static int detach(struct naive *n, const struct proto_request *req)
{
	struct naive_endpoint *ep = find_endpoint(n, req->endpoint);

	if (!ep)
		return -ENOENT;
	if (!ep->attached || ep->domain != req->domain)
		return -EINVAL;
	ep->attached = false;
	sweep(n, req->domain);
	return 0;
}

static bool map_out_of_range(const struct naive *n, const struct proto_request *req)
{
	uint64_t mask = n->granule - 1;

	if ((req->start & mask) || (req->gpa & mask) || ((req->last + 1) & mask))
		return true;
	if (req->last < req->start)
		return true;
	if (req->start < n->input_start || req->last > n->input_last)
		return true;
	return req->gpa + (req->last - req->start) < req->gpa;
}

static bool map_overlaps(const struct naive *n, const struct proto_request *req)
{
	for (unsigned i = 0; i < n->mapping_nr; i++)
		if (n->mapping[i].domain == req->domain &&
		    overlap(n->mapping[i].start, n->mapping[i].last, req->start,
			    req->last))
			return true;
	for (unsigned i = 0; i < n->endpoint_nr; i++) {
		const struct naive_endpoint *ep = &n->endpoint[i];

		for (unsigned j = 0; j < ep->resv_nr; j++)
			if (ep->attached && ep->domain == req->domain &&
			    overlap(ep->resv[j].start, ep->resv[j].last, req->start,
				    req->last))
				return true;
	}
	return false;
}

static int map(struct naive *n, const struct proto_request *req)
{
	uint32_t known = feature(n, VIRTIO_IOMMU_F_MMIO) ? 7 : 3;
	const struct naive_domain *d = find_domain(n, req->domain);

	if (!feature(n, VIRTIO_IOMMU_F_MAP_UNMAP))
		return -EOPNOTSUPP;
	if (req->flags & ~known)
		return -EINVAL;
	if (!d)
		return -ENOENT;
	if (d->bypass)
		return -EINVAL;
	if (map_out_of_range(n, req))
		return -ERANGE;
	if (map_overlaps(n, req))
		return -EINVAL;
	if (n->mapping_nr >= n->max_mappings)
		return -ENOMEM;
	n->mapping[n->mapping_nr++] = (struct naive_mapping){
		req->domain, req->flags, req->start, req->last, req->gpa};
	return 0;
}

static int unmap(struct naive *n, const struct proto_request *req)
{
	const struct naive_domain *d = find_domain(n, req->domain);
	unsigned kept = 0;

	if (!feature(n, VIRTIO_IOMMU_F_MAP_UNMAP))
		return -EOPNOTSUPP;
	if (req->last < req->start)
		return -ERANGE;
	if (!d)
		return -ENOENT;
	if (d->bypass)
		return -EINVAL;
	for (unsigned i = 0; i < n->mapping_nr; i++) {
		const struct naive_mapping *m = &n->mapping[i];

		if (m->domain == req->domain &&
		    overlap(m->start, m->last, req->start, req->last) &&
		    (m->start < req->start || m->last > req->last))
			return -ERANGE;
	}
	for (unsigned i = 0; i < n->mapping_nr; i++) {
		const struct naive_mapping *m = &n->mapping[i];

		if (m->domain != req->domain ||
		    !overlap(m->start, m->last, req->start, req->last))
			n->mapping[kept++] = *m;
	}
	n->mapping_nr = kept;
	return 0;
}

int naive_request(struct naive *n, const struct proto_request *req)
{
	switch (req->type) {
	case VIRTIO_IOMMU_T_ATTACH:
		return attach(n, req);
	case VIRTIO_IOMMU_T_DETACH:
		return detach(n, req);
	case VIRTIO_IOMMU_T_MAP:
		return map(n, req);
	case VIRTIO_IOMMU_T_UNMAP:
		return unmap(n, req);
	default:
		return find_endpoint(n, req->endpoint) ? 0 : -ENOENT;
	}
}

struct naive_access naive_translate(const struct naive *n, uint32_t endpoint,
				    uint64_t iova, uint32_t perm)
{
	struct naive_endpoint *ep = find_endpoint(n, endpoint);
	const struct naive_domain *d;

	if (!ep->attached)
		return (struct naive_access){n->bypass, iova,
					     VIRTIO_IOMMU_FAULT_R_DOMAIN};
	d = find_domain(n, ep->domain);
	if (d->bypass)
		return (struct naive_access){true, iova, 0};
	for (unsigned i = 0; i < n->mapping_nr; i++) {
		const struct naive_mapping *m = &n->mapping[i];

		if (m->domain == ep->domain && m->start <= iova && iova <= m->last &&
		    (m->flags & perm) == perm)
			return (struct naive_access){true, m->gpa + (iova - m->start), 0};
	}
	return (struct naive_access){false, 0, VIRTIO_IOMMU_FAULT_R_MAPPING};
}

void naive_reset(struct naive *n)
{
	n->domain_nr = 0;
	n->mapping_nr = 0;
	for (unsigned i = 0; i < n->endpoint_nr; i++)
		n->endpoint[i].attached = false;
}
