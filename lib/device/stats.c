/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What an operator can see. */
#include <string.h>

#include "base/atomic.h"
#include "device/device.h"

void viommu_device_get_stats(const struct viommu_device *dev,
			     struct viommu_device_stats *out)
{
	const struct device_counters *c = &dev->counters;
	struct space_counts counts;

	_Static_assert(sizeof(out->requests) == sizeof(c->requests), "same shape");
	space_get_counts(dev->space, &counts);
	*out = (struct viommu_device_stats){
		.unanswered = c->unanswered,
		.domains = counts.domains,
		.endpoints = counts.endpoints,
		.mappings = counts.mappings,
		.mapped_bytes = counts.mapped_bytes,
		.events_sent = c->events_sent,
		.parked = c->parked,
		.hold_timeouts = counts.hold_timeouts,
		.config_writes_ignored = c->config_writes_ignored,
	};
	memcpy(out->requests, c->requests, sizeof(out->requests));
	/* relaxed: counters, read for their value alone */
	for (unsigned i = 0; i < ARRAY_LEN(c->fault); i++)
		out->faults[i] = load_relaxed(&c->fault[i]);
	out->events_dropped = load_relaxed(&c->events_dropped);
	out->events_limited = load_relaxed(&c->events_limited);
}

void viommu_device_visit_endpoints(struct viommu_device *dev,
				   bool (*visit)(void *opaque,
						 const struct viommu_endpoint_info *),
				   void *opaque)
{
	space_visit_endpoints(dev->space, visit, opaque);
}

void viommu_device_visit_mappings(struct viommu_device *dev,
				  bool (*visit)(void *opaque,
						const struct viommu_mapping_info *),
				  void *opaque)
{
	space_visit_mappings(dev->space, visit, opaque);
}
