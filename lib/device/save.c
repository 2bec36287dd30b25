/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <string.h>

#include "base/err.h"
#include "device/device.h"
#include "device/state.h"
#include "proto/bytes.h"

/* Counts records, and writes them too if there is a place. */
struct save {
	uint8_t *at; /* NULL: only count */
	uint64_t endpoints, mappings;
};

static bool save_endpoint(void *opaque, const struct viommu_endpoint_info *info)
{
	struct save *s = opaque;
	uint32_t flags = 0;

	s->endpoints++;
	if (!s->at)
		return true;
	if (info->attached)
		flags = STATE_EP_ATTACHED | (info->bypass ? STATE_EP_BYPASS : 0);
	put_le32(s->at, info->id);
	put_le32(s->at + 4, info->attached ? info->domain : 0);
	put_le32(s->at + 8, flags);
	s->at += STATE_ENDPOINT_LEN;
	return true;
}

static bool save_mapping(void *opaque, const struct viommu_mapping_info *info)
{
	struct save *s = opaque;

	s->mappings++;
	if (!s->at)
		return true;
	put_le32(s->at, info->domain);
	put_le32(s->at + 4, info->flags);
	put_le64(s->at + 8, info->start);
	put_le64(s->at + 16, info->last);
	put_le64(s->at + 24, info->gpa);
	s->at += STATE_MAPPING_LEN;
	return true;
}

static void save_records(struct viommu_device *dev, struct save *s)
{
	space_visit_endpoints(dev->space, save_endpoint, s);
	space_visit_mappings(dev->space, save_mapping, s);
}

static void save_head(const struct viommu_device *dev, const struct save *count,
		      uint64_t len, uint8_t *buf)
{
	memset(buf, 0, STATE_HEAD_LEN);
	memcpy(buf + STATE_AT_MAGIC, STATE_MAGIC, 8);
	put_le32(buf + STATE_AT_VERSION, STATE_VERSION);
	put_le64(buf + STATE_AT_LEN, len);
	put_le64(buf + STATE_AT_FEATURES, dev->features);
	put_le32(buf + STATE_AT_PROBE_SIZE, dev->probe_size);
	put_le32(buf + STATE_AT_PROBE_SEEN, dev->probe_seen);
	put_le32(buf + STATE_AT_ENDPOINTS, (uint32_t)count->endpoints);
	put_le32(buf + STATE_AT_BYPASS, space_get_bypass(dev->space));
	put_le64(buf + STATE_AT_MAPPINGS, count->mappings);
}

int viommu_device_save(struct viommu_device *dev, void *buf, size_t *len)
{
	struct save count = {0}, write = {0};
	uint64_t need;

	if (dev->parked.phase != PARK_NONE)
		return err(EBUSY, "a request is parked");
	save_records(dev, &count);
	need = STATE_HEAD_LEN + count.endpoints * STATE_ENDPOINT_LEN +
	       count.mappings * STATE_MAPPING_LEN;
	if (*len < need) {
		*len = (size_t)need;
		return err(ENOSPC, "no room for the state");
	}
	write.at = (uint8_t *)buf + STATE_HEAD_LEN;
	save_head(dev, &count, need, buf);
	save_records(dev, &write);
	*len = (size_t)need;
	put_le32((uint8_t *)buf + STATE_AT_CRC, crc32_le(0, buf, *len));
	return 0;
}
