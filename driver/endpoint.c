/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Endpoints and what PROBE says of them ("PROBE request", "PROBE properties"). */
#include "drv.h"

#include "proto/proto.h"

static void insert_sorted(struct viommu_drv_resv *resv, unsigned nr,
			  const struct viommu_drv_resv *one)
{
	unsigned i;

	for (i = nr; i > 0 && resv[i - 1].start > one->start; i--)
		resv[i] = resv[i - 1];
	resv[i] = *one;
}

int drv_probe_parse(const uint8_t *props, size_t len, struct viommu_drv_resv *resv,
		    unsigned max)
{
	struct proto_property prop;
	struct proto_resv_mem mem;
	unsigned nr = 0;
	size_t pos = 0;
	int r;

	/* Ends: each turn moves pos on by at least a header. */
	while ((r = proto_next_property(props, len, &pos, &prop)) > 0) {
		/* "MUST ignore a property whose reserved bits are not zero",
		 * SHOULD skip what it does not know. */
		if (prop.reserved_set || prop.type != VIRTIO_IOMMU_PROBE_T_RESV_MEM)
			continue;
		if (proto_decode_resv_mem(&prop, &mem))
			return err(EIO, "RESV_MEM makes no sense");
		if (nr == LIMIT_DRV_RESV_REGIONS)
			return err(EIO, "too many reserved regions");
		if (nr < max)
			insert_sorted(resv, nr,
				      &(struct viommu_drv_resv){
					      .start = mem.start,
					      .last = mem.last,
					      .kind = mem.subtype
							      ? VIOMMU_DRV_RESV_MSI
							      : VIOMMU_DRV_RESV_RESERVED,
				      });
		nr++;
	}
	return r ? err(EIO, "the list of properties makes no sense") : (int)nr;
}

/* Keeps the regions of a reply; props is the driver's own copy. */
static int keep_regions(struct viommu_drv_endpoint *ep, const uint8_t *props, size_t len)
{
	int nr = drv_probe_parse(props, len, NULL, 0);

	if (nr <= 0)
		return nr;
	ep->resv = drv_alloc(ep->drv, (unsigned)nr * sizeof(*ep->resv));
	if (!ep->resv)
		return err(ENOMEM, "reserved regions");
	ep->resv_nr = nr;
	return drv_probe_parse(props, len, ep->resv, ep->resv_nr) < 0 ? -EIO : 0;
}

static int probe_endpoint(struct viommu_drv_endpoint *ep)
{
	const uint32_t head_len = sizeof(struct virtio_iommu_req_probe);
	struct virtio_iommu_req_probe req = {.head.type = VIRTIO_IOMMU_T_PROBE,
					     .endpoint = le32(ep->id)};
	struct viommu_drv *drv = ep->drv;
	uint32_t size;
	uint8_t *props;
	int r = drv_probe_prepare(drv, &size);

	if (r || !size)
		return r;
	props = drv_alloc(drv, size);
	if (!props)
		return err(ENOMEM, "copy of the properties");
	drv_zero(drv->probe, drv->probe_len);
	drv_copy(drv->probe, &req, sizeof(req));
	r = drv_reqq_probe(&drv->reqq[0], head_len,
			   size + sizeof(struct virtio_iommu_req_tail));
	if (!r) {
		/* Copied once, looked at only after. */
		drv_copy(props, (const uint8_t *)drv->probe + head_len, size);
		r = keep_regions(ep, props, size);
		drv_count(&drv->probe_bad, r == -EIO);
	}
	drv_free(drv, props, size);
	return r;
}

static struct viommu_drv_endpoint *find_endpoint(struct viommu_drv *drv, uint32_t id)
{
	struct viommu_drv_endpoint *ep = drv->endpoints;

	while (ep && ep->id != id)
		ep = ep->next;
	return ep;
}

static void free_endpoint(struct viommu_drv_endpoint *ep)
{
	drv_free(ep->drv, ep->resv, ep->resv_nr * sizeof(*ep->resv));
	drv_free(ep->drv, ep, sizeof(*ep));
}

int viommu_drv_endpoint_create(struct viommu_drv *drv,
			       const struct viommu_drv_endpoint_config *config,
			       struct viommu_drv_endpoint **out)
{
	struct viommu_drv_endpoint *ep;
	int r;

	if (find_endpoint(drv, config->id))
		return err(EEXIST, "endpoint id");
	ep = drv_alloc(drv, sizeof(*ep));
	if (!ep)
		return err(ENOMEM, "endpoint");
	ep->drv = drv;
	ep->id = config->id;
	ep->dma_last = config->dma_last ? config->dma_last : UINT64_MAX;
	ep->untrusted = config->untrusted;
	ep->group = config->group;
	if (drv->platform.untrusted)
		ep->untrusted |= drv->platform.untrusted(drv->platform_opaque, ep->id);
	r = probe_endpoint(ep);
	if (r) {
		free_endpoint(ep);
		return r;
	}
	ep->next = drv->endpoints;
	drv->endpoints = ep;
	*out = ep;
	return 0;
}

int viommu_drv_endpoint_destroy(struct viommu_drv_endpoint *ep)
{
	struct viommu_drv_endpoint **link;
	int r;

	if (!ep)
		return 0;
	r = ep->domain ? viommu_drv_detach(ep) : 0;
	if (ep->domain)
		drv_domain_unlink(ep, false);
	for (link = &ep->drv->endpoints; *link != ep; link = &(*link)->next)
		;
	*link = ep->next;
	free_endpoint(ep);
	return r;
}

const struct viommu_drv_resv *
viommu_drv_endpoint_resv(const struct viommu_drv_endpoint *ep, unsigned *nr)
{
	*nr = ep->resv_nr;
	return ep->resv;
}

int viommu_drv_endpoint_msi(const struct viommu_drv_endpoint *ep, uint64_t *start,
			    uint64_t *last)
{
	for (unsigned i = 0; i < ep->resv_nr; i++) {
		if (ep->resv[i].kind != VIOMMU_DRV_RESV_MSI)
			continue;
		*start = ep->resv[i].start;
		*last = ep->resv[i].last;
		return 0;
	}
	return err(ENOENT, "no MSI region");
}

struct viommu_drv_domain *viommu_drv_endpoint_domain(const struct viommu_drv_endpoint *ep)
{
	return load_relaxed(&ep->domain);
}
