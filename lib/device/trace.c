/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* How long requests took, and who is told of each. */
#include "device/device.h"

static uint64_t turn_ns(struct viommu_device *dev)
{
	return dev->ops.turn_ns ? dev->ops.turn_ns(dev->opaque)
				: dev->ops.now_ns(dev->opaque);
}

void batch_open(struct viommu_device *dev)
{
	struct batch *b = &dev->batch;
	uint64_t left_ns = b->left_ns;

	*b = (struct batch){
		.found_ns = left_ns ? left_ns : turn_ns(dev),
	};
	dev->tracer.from_ns = b->found_ns;
}

/* The embedder's clock: taken for monotonic, survived if it is not. */
static uint64_t since(uint64_t now_ns, uint64_t from_ns)
{
	return now_ns > from_ns ? now_ns - from_ns : 0;
}

void batch_close(struct viommu_device *dev, bool more)
{
	struct viommu_device_histograms *h = &dev->histograms;
	struct batch *b = &dev->batch;
	uint64_t now_ns = dev->ops.now_ns(dev->opaque);
	uint64_t took_ns = since(now_ns, b->found_ns);
	uint32_t nr = 0;

	for (unsigned type = 0; type < VIOMMU_REQUEST_TYPES_NR; type++) {
		if (!b->nr[type])
			continue;
		viommu_histogram_add(&h->latency_ns[type], took_ns, b->nr[type]);
		nr += b->nr[type];
	}
	if (nr)
		viommu_histogram_add(&h->batch, nr, 1);
	b->found_ns = 0;
	b->left_ns = more ? now_ns : 0;
}

void batch_late(struct viommu_device *dev, const struct parked *p)
{
	uint64_t now_ns = dev->ops.now_ns(dev->opaque);

	viommu_histogram_add(&dev->histograms.latency_ns[p->req.type],
			     since(now_ns, p->found_ns), 1);
}

void viommu_device_get_histograms(const struct viommu_device *dev,
				  struct viommu_device_histograms *out)
{
	*out = dev->histograms;
}

void viommu_device_set_trace(struct viommu_device *dev,
			     void (*trace)(void *opaque,
					   const struct viommu_request_info *info),
			     void *opaque)
{
	dev->tracer = (struct tracer){trace, opaque, dev->ops.now_ns(dev->opaque)};
}

void trace_request(struct viommu_device *dev, const struct proto_request *req, int error,
		   bool answered)
{
	static const struct proto_request unknown;
	const struct parked *p = &dev->parked;
	bool parked = req == &p->req;
	uint64_t now_ns = dev->ops.now_ns(dev->opaque);
	uint64_t from_ns = parked ? p->since_ns : dev->tracer.from_ns;
	struct viommu_request_info info;

	if (!req)
		req = &unknown;
	info = (struct viommu_request_info){
		.time_ns = now_ns,
		.duration_ns = since(now_ns, from_ns),
		.start = req->start,
		.last = req->last,
		.gpa = req->gpa,
		.domain = req->domain,
		.endpoint = req->endpoint,
		.flags = req->flags,
		.type = req->type,
		.status = answered ? proto_errno_to_status(error) : 0,
		.answered = answered,
		.parked = parked,
	};
	dev->tracer.from_ns = now_ns;
	dev->tracer.fn(dev->tracer.opaque, &info);
}
