/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Restoring: the whole blob is checked before the first record is applied. What
 * only struct space can tell (does it fit the granule, the quota, the reserved
 * regions) comes up while applying, and then everything is taken back.
 */
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "device/device.h"
#include "device/state.h"
#include "proto/bytes.h"

#define EP_FLAGS_KNOWN (STATE_EP_ATTACHED | STATE_EP_BYPASS)
#define MAP_FLAGS_KNOWN                                                                  \
	(VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE | VIRTIO_IOMMU_MAP_F_MMIO)

struct restore {
	struct viommu_device *dev;
	const uint8_t *endpoint; /* first record */
	const uint8_t *mapping;	 /* first record */
	uint64_t endpoint_nr, mapping_nr;
	uint64_t features;
	uint32_t probe_size, probe_seen;
	bool bypass;
};

static int refuse(const struct viommu_device *dev, int error, const char *reason)
{
	log_error(&dev->log, "the saved state is refused: %s", reason);
	return err(error, reason);
}

/* CRC with its own field taken as zero. */
static uint32_t checksum(const uint8_t *buf, size_t len)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32_le(0, buf, STATE_AT_CRC);

	crc = crc32_le(crc, zero, sizeof(zero));
	return crc32_le(crc, buf + STATE_AT_CRC + 4, len - STATE_AT_CRC - 4);
}

static int check_frame(const struct viommu_device *dev, const uint8_t *buf, size_t len)
{
	if (len < STATE_HEAD_LEN)
		return refuse(dev, EINVAL, "it is cut off");
	if (memcmp(buf + STATE_AT_MAGIC, STATE_MAGIC, 8))
		return refuse(dev, EINVAL, "it is no state of a virtio-iommu");
	if (get_le32(buf + STATE_AT_VERSION) != STATE_VERSION)
		return refuse(dev, EOPNOTSUPP, "its version is not known");
	if (get_le64(buf + STATE_AT_LEN) != len)
		return refuse(dev, EINVAL, "its length is not what it says");
	if (get_le32(buf + STATE_AT_CRC) != checksum(buf, len))
		return refuse(dev, EINVAL, "its checksum is wrong");
	return 0;
}

/* Where the records are; the counts must give the length exactly. */
static int check_counts(struct restore *r, const uint8_t *buf, size_t len)
{
	uint64_t rest = len - STATE_HEAD_LEN;

	r->endpoint_nr = get_le32(buf + STATE_AT_ENDPOINTS);
	r->mapping_nr = get_le64(buf + STATE_AT_MAPPINGS);
	if (r->endpoint_nr > rest / STATE_ENDPOINT_LEN)
		return refuse(r->dev, EINVAL, "endpoints reach over its end");
	r->endpoint = buf + STATE_HEAD_LEN;
	rest -= r->endpoint_nr * STATE_ENDPOINT_LEN;
	if (rest % STATE_MAPPING_LEN || r->mapping_nr != rest / STATE_MAPPING_LEN)
		return refuse(r->dev, EINVAL, "mappings do not end where it ends");
	r->mapping = r->endpoint + r->endpoint_nr * STATE_ENDPOINT_LEN;
	return 0;
}

static int check_head(struct restore *r, const uint8_t *buf)
{
	const struct viommu_device *dev = r->dev;
	uint32_t bypass = get_le32(buf + STATE_AT_BYPASS);

	r->features = get_le64(buf + STATE_AT_FEATURES);
	r->probe_size = get_le32(buf + STATE_AT_PROBE_SIZE);
	r->probe_seen = get_le32(buf + STATE_AT_PROBE_SEEN);
	r->bypass = bypass;
	if (bypass > 1)
		return refuse(dev, EINVAL, "bypass is neither 0 nor 1");
	if (r->probe_size > LIMIT_PROBE_SIZE || r->probe_seen > r->probe_size)
		return refuse(dev, EINVAL, "probe_size is out of bounds");
	if (r->features & ~dev->cfg.features)
		return refuse(dev, ERANGE, "it has features this device does not offer");
	if (bypass && !device_offers(dev, VIRTIO_IOMMU_F_BYPASS_CONFIG))
		return refuse(dev, ERANGE, "it has bypass on, which is not offered here");
	if (!device_offers(dev, VIRTIO_IOMMU_F_PROBE) != !r->probe_size ||
	    (dev->probe_fixed && r->probe_size != dev->probe_size))
		return refuse(dev, ERANGE, "its probe_size is not this device's");
	return 0;
}

static int check_endpoint(const struct restore *r, uint64_t index)
{
	const struct viommu_device *dev = r->dev;
	const uint8_t *at = r->endpoint + index * STATE_ENDPOINT_LEN;
	uint32_t id = get_le32(at), domain = get_le32(at + 4), flags = get_le32(at + 8);

	if (index && id <= get_le32(at - STATE_ENDPOINT_LEN))
		return refuse(dev, EINVAL, "endpoints are out of order");
	if (flags & ~EP_FLAGS_KNOWN || flags == STATE_EP_BYPASS)
		return refuse(dev, EINVAL, "an endpoint has unknown flags");
	if (!space_endpoint_find(dev->space, id)) {
		log_error(&dev->log, "the saved state has endpoint %u, this device not",
			  id);
		return err(ENOENT, "endpoint missing");
	}
	if (!(flags & STATE_EP_ATTACHED))
		return 0;
	if (domain < dev->cfg.domain_first || domain > dev->cfg.domain_last)
		return refuse(dev, ERANGE, "a domain is outside domain_range");
	return 0;
}

static int check_mapping(const struct restore *r, uint64_t index)
{
	const uint8_t *at = r->mapping + index * STATE_MAPPING_LEN;
	const uint8_t *before = at - STATE_MAPPING_LEN;
	uint32_t domain = get_le32(at);

	if (get_le32(at + 4) & ~MAP_FLAGS_KNOWN)
		return refuse(r->dev, EINVAL, "a mapping has unknown flags");
	if (get_le64(at + 16) < get_le64(at + 8))
		return refuse(r->dev, EINVAL, "a mapping ends before it starts");
	if (!index || domain > get_le32(before))
		return 0;
	if (domain < get_le32(before) || get_le64(at + 8) <= get_le64(before + 16))
		return refuse(r->dev, EINVAL, "mappings overlap or are out of order");
	return 0;
}

static int check_records(const struct restore *r)
{
	int error = 0;

	for (uint64_t i = 0; i < r->endpoint_nr && !error; i++)
		error = check_endpoint(r, i);
	for (uint64_t i = 0; i < r->mapping_nr && !error; i++)
		error = check_mapping(r, i);
	return error;
}

static int apply_endpoints(const struct restore *r)
{
	for (uint64_t i = 0; i < r->endpoint_nr; i++) {
		const uint8_t *at = r->endpoint + i * STATE_ENDPOINT_LEN;
		uint32_t flags = get_le32(at + 8);
		int error;

		if (!(flags & STATE_EP_ATTACHED))
			continue;
		error = space_attach(r->dev->space, get_le32(at + 4), get_le32(at),
				     flags & STATE_EP_BYPASS);
		if (error == -ENOMEM)
			return error;
		if (error == -EINPROGRESS) { /* as a reset, it does not wait */
			space_give_up(r->dev->space);
			continue;
		}
		if (error == -EINVAL)
			return refuse(r->dev, EINVAL, "a domain is bypass and is not");
		if (error)
			return refuse(r->dev, ERANGE, "an endpoint cannot be attached");
	}
	return 0;
}

static int apply_mappings(const struct restore *r)
{
	for (uint64_t i = 0; i < r->mapping_nr; i++) {
		const uint8_t *at = r->mapping + i * STATE_MAPPING_LEN;
		int error =
			space_map(r->dev->space, get_le32(at), get_le64(at + 8),
				  get_le64(at + 16), get_le64(at + 24), get_le32(at + 4));

		if (error == -ENOMEM)
			return error;
		if (error == -ENOENT)
			return refuse(r->dev, EINVAL, "a mapping has no domain");
		if (error)
			return refuse(r->dev, ERANGE, "a mapping does not fit here");
	}
	return 0;
}

static int check(struct restore *r, const uint8_t *buf, size_t len)
{
	int error = check_frame(r->dev, buf, len);

	if (!error)
		error = check_counts(r, buf, len);
	if (!error)
		error = check_head(r, buf);
	return error ? error : check_records(r);
}

static void apply_head(const struct restore *r)
{
	struct viommu_device *dev = r->dev;

	dev->features = r->features;
	space_set_bypass(dev->space, r->bypass);
	dev->probe_seen = r->probe_seen;
	if (dev->probe_size < r->probe_size)
		dev->probe_size = r->probe_size;
	/* Endpoints here need more than the driver was told. */
	if (dev->probe_size > r->probe_size && dev->ops.config_changed)
		dev->ops.config_changed(dev->opaque);
}

int viommu_device_restore(struct viommu_device *dev, const void *buf, size_t len)
{
	struct restore r = {.dev = dev};
	int error;

	viommu_device_system_reset(dev);
	error = check(&r, buf, len);
	if (!error)
		error = apply_endpoints(&r);
	if (!error)
		error = apply_mappings(&r);
	if (error) {
		viommu_device_system_reset(dev);
		return error;
	}
	(void)space_refill(dev->space); /* as after requests */
	apply_head(&r);
	return 0;
}
