/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Endpoints as the embedder sees them: struct space plus probe_size. */
#include "base/err.h"
#include "base/log.h"
#include "device/device.h"

/* Bytes that PROBE needs for the endpoint; -ENOSPC if they can never fit. */
static int probe_need(const struct viommu_device *dev,
		      const struct viommu_endpoint_config *config, uint32_t *need)
{
	uint32_t room = dev->probe_fixed ? dev->probe_size : LIMIT_PROBE_SIZE;

	*need = 0;
	if (!device_offers(dev, VIRTIO_IOMMU_F_PROBE))
		return 0;
	if (config->resv_nr > room / PROTO_RESV_MEM_LEN) {
		log_error(&dev->log,
			  "endpoint %u: %u reserved regions do not fit a probe_size of "
			  "%u bytes",
			  config->id, config->resv_nr, room);
		return err(ENOSPC, "reserved regions do not fit probe_size");
	}
	*need = config->resv_nr * PROTO_RESV_MEM_LEN;
	return 0;
}

int viommu_endpoint_add(struct viommu_device *dev,
			const struct viommu_endpoint_config *config,
			struct viommu_endpoint **out)
{
	uint32_t need;
	int r = probe_need(dev, config, &need);

	if (r)
		return r;
	r = space_endpoint_add(dev->space, config, out);
	if (r || need <= dev->probe_size)
		return r;
	dev->probe_size = need;
	if (dev->ops.config_changed)
		dev->ops.config_changed(dev->opaque);
	return 0;
}

int viommu_endpoint_add_alias(struct viommu_endpoint *ep, uint32_t id)
{
	return space_endpoint_alias(ep, id);
}

void viommu_endpoint_remove(struct viommu_endpoint *ep)
{
	if (ep)
		space_endpoint_remove(ep);
}

void viommu_endpoint_reset(struct viommu_endpoint *ep)
{
	space_endpoint_reset(ep);
}
