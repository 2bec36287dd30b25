/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Birth, death, resets and features of a device. */
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "device/device.h"

#define BIT_ULL(n) (1ull << (n))
/* BYPASS is superseded: a new device SHOULD NOT offer it, and never together with
 * BYPASS_CONFIG. */
#define FEATURES_KNOWN VIOMMU_DEVICE_FEATURES_DEFAULT
/* Bits of the device type; 24-43 belong to queues and transport (VIRTIO 1.4,
 * "Feature Bits"), which the embedder negotiates. */
#define FEATURES_DEVICE	       (0x0000000000ffffffull | 0xfffc000000000000ull)

#define PAGE_SIZE_MASK_DEFAULT 0xfffffffffffff000ull
#define HOLD_TIMEOUT_MS	       2000u
#define FAULT_RATE	       100u

static void fill_in(struct viommu_device_config *c)
{
	c->features = c->features ? c->features : VIOMMU_DEVICE_FEATURES_DEFAULT;
	c->page_size_mask =
		c->page_size_mask ? c->page_size_mask : PAGE_SIZE_MASK_DEFAULT;
	if (!c->input_start && !c->input_last)
		c->input_last = UINT64_MAX;
	if (!c->domain_first && !c->domain_last)
		c->domain_last = UINT32_MAX;
	c->hold_timeout_ms = c->hold_timeout_ms ? c->hold_timeout_ms : HOLD_TIMEOUT_MS;
	c->max_mappings = c->max_mappings ? c->max_mappings : LIMIT_MAPPINGS;
	c->max_domains = c->max_domains ? c->max_domains : LIMIT_DOMAINS;
	c->max_endpoints = c->max_endpoints ? c->max_endpoints : LIMIT_ENDPOINTS;
	c->fault_rate = c->fault_rate ? c->fault_rate : FAULT_RATE;
}

static const char *bad_range(const struct viommu_device_config *c)
{
	if (c->input_start > c->input_last)
		return "input_start is beyond input_last";
	if (c->domain_first > c->domain_last)
		return "domain_first is beyond domain_last";
	if (!(c->features & BIT_ULL(VIRTIO_IOMMU_F_INPUT_RANGE)) &&
	    (c->input_start || c->input_last != UINT64_MAX))
		return "input_start, input_last need the feature INPUT_RANGE";
	if (!(c->features & BIT_ULL(VIRTIO_IOMMU_F_DOMAIN_RANGE)) &&
	    (c->domain_first || c->domain_last != UINT32_MAX))
		return "domain_first, domain_last need the feature DOMAIN_RANGE";
	return NULL;
}

static const char *bad_quota(const struct viommu_device_config *c)
{
	if (c->max_mappings > LIMIT_MAPPINGS)
		return "max_mappings is over the limit";
	if (c->max_domains > LIMIT_DOMAINS)
		return "max_domains is over the limit";
	if (c->max_endpoints > LIMIT_ENDPOINTS)
		return "max_endpoints is over the limit";
	if (c->fault_rate > LIMIT_FAULT_RATE)
		return "fault_rate is over the limit";
	return NULL;
}

static const char *bad_field(const struct viommu_device_config *c)
{
	const char *bad;

	if (c->features & ~FEATURES_KNOWN)
		return "features has a bit that this device does not know or not offer";
	if (c->boot_bypass && !(c->features & BIT_ULL(VIRTIO_IOMMU_F_BYPASS_CONFIG)))
		return "boot_bypass needs the feature BYPASS_CONFIG";
	if (c->probe_size &&
	    (c->probe_size < LIMIT_PROBE_SIZE_MIN || c->probe_size > LIMIT_PROBE_SIZE))
		return "probe_size is out of bounds";
	bad = bad_range(c);
	return bad ? bad : bad_quota(c);
}

/* Checks and completes the caller's configuration. 0, -EINVAL (logged). */
static int check_config(const struct viommu_device_config *in,
			const struct viommu_log *log, struct viommu_device_config *out)
{
	const char *bad;

	*out = *in;
	fill_in(out);
	bad = bad_field(out);
	if (!bad)
		return 0;
	log_error(log, "virtio-iommu configuration: %s", bad);
	return err(EINVAL, bad);
}

/* A control call that waited for a hold may go on. Any thread. */
static void hold_released(void *opaque)
{
	device_wake(opaque);
}

static int create_space(struct viommu_device *dev)
{
	static const struct space_ops ops = {fault_record, hold_released};
	const struct viommu_device_config *c = &dev->cfg;
	struct space_config cfg = {
		.granule = c->page_size_mask & -c->page_size_mask,
		.input_start = c->input_start,
		.input_last = c->input_last,
		.bypass = c->boot_bypass,
		.max_mappings = c->max_mappings,
		.max_domains = c->max_domains,
		.max_endpoints = c->max_endpoints,
	};
	int r = space_create(&cfg, &ops, dev, &dev->alloc, &dev->log, &dev->space);

	if (!r)
		space_set_owner(dev->space, dev);
	return r;
}

static void set_up(struct viommu_device *dev)
{
	if (!device_offers(dev, VIRTIO_IOMMU_F_PROBE))
		return;
	dev->probe_fixed = dev->cfg.probe_size != 0;
	dev->probe_size = dev->probe_fixed ? dev->cfg.probe_size : PROBE_SIZE_FLOOR;
}

int viommu_device_create(const struct viommu_device_config *config,
			 const struct viommu_device_ops *ops, void *opaque,
			 const struct viommu_alloc *alloc, const struct viommu_log *log,
			 struct viommu_device **out)
{
	struct viommu_device_config cfg;
	struct viommu_device *dev;
	int r = check_config(config, log, &cfg);

	if (r)
		return r;
	if (!ops || !ops->now_ns) {
		log_error(log, "virtio-iommu: now_ns is needed");
		return err(EINVAL, "now_ns is needed");
	}
	dev = alloc->alloc(alloc->opaque, sizeof(*dev), _Alignof(struct viommu_device));
	if (!dev)
		return err(ENOMEM, "device");
	memset(dev, 0, sizeof(*dev));
	dev->cfg = cfg;
	dev->ops = *ops;
	dev->opaque = opaque;
	dev->alloc = *alloc;
	if (log)
		dev->log = *log;
	set_up(dev);
	r = create_space(dev);
	if (r) {
		alloc->free(alloc->opaque, dev, sizeof(*dev));
		return r;
	}
	*out = dev;
	return 0;
}

void viommu_device_destroy(struct viommu_device *dev)
{
	struct viommu_alloc alloc;

	if (!dev)
		return;
	alloc = dev->alloc;
	request_abandon(dev);
	space_destroy(dev->space);
	alloc.free(alloc.opaque, dev, sizeof(*dev));
}

uint64_t viommu_device_features(const struct viommu_device *dev)
{
	return dev->cfg.features;
}

int viommu_device_set_features(struct viommu_device *dev, uint64_t features)
{
	features &= FEATURES_DEVICE;
	if (features & ~dev->cfg.features)
		return err(EINVAL, "the driver accepts a feature that was not offered");
	dev->features = features;
	return 0;
}

void viommu_device_reset(struct viommu_device *dev)
{
	request_abandon(dev);
	for (unsigned i = 0; i < VIOMMU_QUEUES_NR; i++)
		viommu_device_set_queue(dev, i, NULL);
	/* Held pages stay pinned, but nobody is answered for them. */
	if (space_reset(dev->space) == -EINPROGRESS)
		space_give_up(dev->space);
	fault_abandon(dev); /* they were for the driver that is gone */
	dev->features = 0;
	dev->probe_seen = 0;
	dev->impatient = false;
}

void viommu_device_system_reset(struct viommu_device *dev)
{
	viommu_device_reset(dev);
	space_set_bypass(dev->space, dev->cfg.boot_bypass);
}
