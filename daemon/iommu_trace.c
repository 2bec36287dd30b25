/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Tells traces of requests. The IOMMU's thread. */
#include "iommu.h"
#include "iommu_internal.h"

static void on_request(void *opaque, const struct viommu_request_info *info)
{
	struct iommu *iommu = opaque;

	/* The last one has gone: back to a branch that is not taken. */
	if (!traces_add(iommu->traces, info))
		viommu_device_set_trace(iommu->device, NULL, NULL);
}

struct search {
	uint32_t endpoint;
	bool attached;
	uint32_t domain;
};

static bool look_at(void *opaque, const struct viommu_endpoint_info *info)
{
	struct search *search = opaque;

	if (info->id != search->endpoint)
		return true;
	search->attached = info->attached;
	search->domain = info->domain;
	return false;
}

void iommu_trace(struct iommu *iommu, struct traces *traces, unsigned place,
		 const struct trace_filter *filter)
{
	struct search search = {.endpoint = filter->endpoint};

	if (filter->one_endpoint)
		viommu_device_visit_endpoints(iommu->device, look_at, &search);
	trace_ring_begin(&traces->ring[place], filter,
			 search.attached ? &search.domain : NULL);
	iommu->traces = traces;
	viommu_device_set_trace(iommu->device, on_request, iommu);
}
