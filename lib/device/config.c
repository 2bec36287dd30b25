/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Configuration space (VIRTIO 1.4, "IOMMU Device" / "Device configuration
 * layout"). */
#include <string.h>

#include "device/device.h"

#define AT_PROBE_SIZE offsetof(struct virtio_iommu_config, probe_size)
#define AT_BYPASS     offsetof(struct virtio_iommu_config, bypass)

static void present(const struct viommu_device *dev, uint8_t buf[PROTO_CONFIG_LEN])
{
	const struct viommu_device_config *c = &dev->cfg;
	struct virtio_iommu_config config = {
		.page_size_mask = c->page_size_mask,
		.input_start = c->input_start,
		.input_last = c->input_last,
		.domain_first = c->domain_first,
		.domain_last = c->domain_last,
		.probe_size = dev->probe_size,
		.bypass = space_get_bypass(dev->space),
	};

	proto_encode_config(buf, &config);
}

void viommu_device_config_read(struct viommu_device *dev, uint32_t offset, void *buf,
			       uint32_t len)
{
	uint8_t config[PROTO_CONFIG_LEN];
	uint32_t part = 0;

	memset(buf, 0, len);
	if (offset < PROTO_CONFIG_LEN)
		part = PROTO_CONFIG_LEN - offset;
	if (part > len)
		part = len;
	if (!part)
		return;
	present(dev, config);
	memcpy(buf, config + offset, part);
	/* PROBE goes by what the driver was last told; the first byte of the
	 * field will do, since drivers read fields whole. */
	if (offset <= AT_PROBE_SIZE && AT_PROBE_SIZE - offset < part)
		dev->probe_seen = dev->probe_size;
}

void viommu_device_config_write(struct viommu_device *dev, uint32_t offset,
				const void *buf, uint32_t len)
{
	uint8_t value = len ? *(const uint8_t *)buf : 0;

	/* The driver MAY write bypass if BYPASS_CONFIG was negotiated, MUST write
	 * only 0 or 1, and MUST NOT write any other field. */
	if (!device_negotiated(dev, VIRTIO_IOMMU_F_BYPASS_CONFIG) ||
	    offset != AT_BYPASS || len != 1 || value > 1) {
		dev->counters.config_writes_ignored++;
		return;
	}
	if (space_get_bypass(dev->space) != value)
		space_set_bypass(dev->space, value);
}
