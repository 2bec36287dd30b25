/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The common configuration structure (VIRTIO 1.4, "Common configuration
 * structure layout"). A guest may access any bytes of it with any width, so each
 * access works on an image of the whole structure: a read copies from it, a write
 * merges into it and then applies every field that was touched.
 */
#include <string.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "pci/virtio_internal.h"

struct common_cfg {
	uint32_t device_feature_select;
	uint32_t device_feature;
	uint32_t driver_feature_select;
	uint32_t driver_feature;
	uint16_t config_msix_vector;
	uint16_t num_queues;
	uint8_t device_status;
	uint8_t config_generation;
	uint16_t queue_select;
	uint16_t queue_size;
	uint16_t queue_msix_vector;
	uint16_t queue_enable;
	uint16_t queue_notify_off;
	uint64_t queue_desc;
	uint64_t queue_driver;
	uint64_t queue_device;
	uint16_t queue_notify_data; /* needs NOTIF_CONFIG_DATA, never offered */
	uint16_t queue_reset;
	uint32_t reserved;
};
#define COMMON_LEN offsetof(struct common_cfg, reserved)

unsigned common_len(void)
{
	return COMMON_LEN;
}

static uint64_t offered(const struct viommu_virtio_pci *vp)
{
	uint64_t features = vp->ops.features(vp->opaque);

	features |= 1ull << VIOMMU_VIRTIO_F_VERSION_1;
	if (vp->cfg.access_platform)
		features |= 1ull << VIOMMU_VIRTIO_F_ACCESS_PLATFORM;
	if (vp->cfg.packed)
		features |= 1ull << VIOMMU_VIRTIO_F_RING_PACKED;
	return features;
}

/* NULL: the driver selected a queue that does not exist; its fields read as zero
 * and its vector as NO_VECTOR. */
static struct virtio_queue *selected(struct viommu_virtio_pci *vp)
{
	return vp->queue_select < vp->cfg.queues_nr ? &vp->queue[vp->queue_select] : NULL;
}

static void fill_queue(struct viommu_virtio_pci *vp, struct common_cfg *c)
{
	const struct virtio_queue *q = selected(vp);

	c->queue_msix_vector = VIRTIO_NO_VECTOR;
	if (!q)
		return;
	c->queue_size = q->size;
	c->queue_msix_vector = q->vector;
	c->queue_enable = q->enabled;
	c->queue_notify_off = vp->queue_select;
	c->queue_desc = q->desc;
	c->queue_driver = q->driver;
	c->queue_device = q->device;
}

static void fill(struct viommu_virtio_pci *vp, struct common_cfg *c)
{
	*c = (struct common_cfg){
		.device_feature_select = vp->device_feature_select,
		.driver_feature_select = vp->driver_feature_select,
		.config_msix_vector = vp->config_vector,
		.num_queues = vp->cfg.queues_nr,
		.device_status = vp->status,
		.config_generation = vp->generation,
		.queue_select = vp->queue_select,
	};
	if (vp->device_feature_select < 2)
		c->device_feature =
			(uint32_t)(offered(vp) >> (32 * vp->device_feature_select));
	if (vp->driver_feature_select < FEATURE_WORDS)
		c->driver_feature = vp->driver_features[vp->driver_feature_select];
	fill_queue(vp, c);
}

/* To and from the wire's byte order; its own inverse. */
static void swap_image(struct common_cfg *c)
{
	c->device_feature_select = le32(c->device_feature_select);
	c->device_feature = le32(c->device_feature);
	c->driver_feature_select = le32(c->driver_feature_select);
	c->driver_feature = le32(c->driver_feature);
	c->config_msix_vector = le16(c->config_msix_vector);
	c->num_queues = le16(c->num_queues);
	c->queue_select = le16(c->queue_select);
	c->queue_size = le16(c->queue_size);
	c->queue_msix_vector = le16(c->queue_msix_vector);
	c->queue_enable = le16(c->queue_enable);
	c->queue_notify_off = le16(c->queue_notify_off);
	c->queue_desc = le64(c->queue_desc);
	c->queue_driver = le64(c->queue_driver);
	c->queue_device = le64(c->queue_device);
	c->queue_reset = le16(c->queue_reset);
}

uint64_t common_read(struct viommu_virtio_pci *vp, unsigned offset, unsigned len)
{
	struct common_cfg image;
	uint64_t value = 0;

	if (offset >= COMMON_LEN)
		return 0;
	fill(vp, &image);
	swap_image(&image);
	if (len > COMMON_LEN - offset)
		len = COMMON_LEN - offset;
	memcpy(&value, (uint8_t *)&image + offset, len);
	return le64(value);
}

/* ---- features and status ---- */

/* Of the low 64 bits; check_features() refuses any other. */
static uint64_t accepted(const struct viommu_virtio_pci *vp)
{
	return vp->driver_features[0] | (uint64_t)vp->driver_features[1] << 32;
}

bool feature_accepted(const struct viommu_virtio_pci *vp, unsigned bit)
{
	return vp->status & STATUS_FEATURES_OK && accepted(vp) >> bit & 1;
}

static int check_features(const struct viommu_virtio_pci *vp)
{
	uint64_t want = accepted(vp);

	if (vp->driver_features[2] || vp->driver_features[3] || want & ~offered(vp))
		return err(EINVAL, "driver accepted a feature that was not offered");
	if (!(want >> VIOMMU_VIRTIO_F_VERSION_1 & 1))
		return err(EINVAL, "driver did not accept VERSION_1");
	/* "Reserved Feature Bits": a device MAY fail to operate without it. One
	 * behind an IOMMU could not reach what the driver's addresses name. */
	if (vp->cfg.access_platform && !(want >> VIOMMU_VIRTIO_F_ACCESS_PLATFORM & 1))
		return err(EINVAL, "driver did not accept ACCESS_PLATFORM");
	if (vp->ops.set_features(vp->opaque, want))
		return err(EINVAL, "device refused the features");
	return 0;
}

/* The queue's state goes first, so that an interrupt that the device raises from
 * queue_disable finds a queue that is not enabled. */
static void reset_queue(struct viommu_virtio_pci *vp, unsigned i)
{
	bool was_enabled = vp->queue[i].enabled;

	vp->queue[i] = (struct virtio_queue){
		.size = vp->cfg.queue_size,
		.vector = VIRTIO_NO_VECTOR,
	};
	if (was_enabled)
		vp->ops.queue_disable(vp->opaque, i);
}

void transport_init(struct viommu_virtio_pci *vp)
{
	/* First, so that nothing below can interrupt the driver any more. */
	vp->status = 0;
	vp->driver = DRIVER_AWAITED;
	for (unsigned i = 0; i < vp->cfg.queues_nr; i++)
		reset_queue(vp, i);
	vp->device_feature_select = 0;
	vp->driver_feature_select = 0;
	memset(vp->driver_features, 0, sizeof(vp->driver_features));
	vp->config_vector = VIRTIO_NO_VECTOR;
	vp->queue_select = 0;
	vp->isr = 0;
	viommu_pci_set_intx(vp->pci, false);
}

void transport_reset(struct viommu_virtio_pci *vp)
{
	vp->stats.resets++;
	transport_init(vp);
	vp->ops.reset(vp->opaque);
}

/* What the guest does wrong is logged so often and no more. */
static bool may_complain(struct viommu_virtio_pci *vp)
{
	return vp->complaints < LIMIT_GUEST_LOG_LINES && ++vp->complaints;
}

/* ---- who is served ---- */

static void lose_driver(struct viommu_virtio_pci *vp)
{
	/* First, so that nothing below can interrupt whoever masters the bus next. */
	vp->driver = DRIVER_LEFT;
	if (vp->ops.driver_left) {
		for (unsigned i = 0; i < vp->cfg.queues_nr; i++)
			vp->queue[i].enabled = false;
		vp->ops.driver_left(vp->opaque);
	}
	for (unsigned i = 0; i < vp->cfg.queues_nr; i++)
		reset_queue(vp, i);
	if (may_complain(vp))
		log_info(vp->log,
			 "virtio device %u: the driver took bus mastering away; its "
			 "rings are left alone until a reset.",
			 vp->cfg.virtio_id);
}

/*
 * Rings are memory: they are not touched without bus mastering. A driver may master
 * the bus after DRIVER_OK (some firmware does). One that takes it away after that has
 * left: Linux before 6.15 does no more to a virtio device before it starts another
 * kernel (kexec), and that one masters the bus first and resets the device then. By
 * that time the rings' memory may be somebody else's, so only the reset ends it.
 */
void transport_follow_driver(struct viommu_virtio_pci *vp)
{
	bool master = viommu_pci_bus_master(vp->pci);

	if (vp->driver == DRIVER_SERVED && !master) {
		lose_driver(vp);
	} else if (vp->driver == DRIVER_AWAITED && master &&
		   vp->status & STATUS_DRIVER_OK) {
		vp->driver = DRIVER_SERVED;
		if (vp->ops.driver_ok)
			vp->ops.driver_ok(vp->opaque);
	}
}

/* ---- status ---- */

/*
 * The driver only ever adds bits ("Device Status Field": it MUST NOT clear one
 * without a reset); a bit it drops stays set. NEEDS_RESET is the device's.
 */
static void write_status(struct viommu_virtio_pci *vp, uint8_t value)
{
	uint8_t added = value & (uint8_t)~vp->status;

	if (!value) {
		transport_reset(vp);
		return;
	}
	vp->status |= added & (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FAILED);
	if (added & STATUS_FEATURES_OK) {
		if (!check_features(vp))
			vp->status |= STATUS_FEATURES_OK;
		else if (may_complain(vp))
			log_info(vp->log,
				 "virtio device %u: features %#llx of %#llx refused.",
				 vp->cfg.virtio_id, (unsigned long long)accepted(vp),
				 (unsigned long long)offered(vp));
	}
	if (added & STATUS_DRIVER_OK && vp->status & STATUS_FEATURES_OK) {
		vp->status |= STATUS_DRIVER_OK;
		transport_follow_driver(vp);
	}
}

static void write_driver_feature(struct viommu_virtio_pci *vp, uint32_t value)
{
	/* Settled with FEATURES_OK. Words that do not exist have no bits to
	 * accept; a driver that tries shows it in words 2 and 3 at the latest. */
	if (vp->status & STATUS_FEATURES_OK || vp->driver_feature_select >= FEATURE_WORDS)
		return;
	vp->driver_features[vp->driver_feature_select] = value;
}

/* A vector that cannot be had reads back as NO_VECTOR. */
static uint16_t map_vector(const struct viommu_virtio_pci *vp, uint16_t value)
{
	return value <= vp->cfg.queues_nr ? value : VIRTIO_NO_VECTOR;
}

/* ---- queues ---- */

/* "The driver MAY reduce it": a size that cannot be is ignored, and read back. */
static void write_queue_size(struct viommu_virtio_pci *vp, struct virtio_queue *q,
			     uint16_t value)
{
	if (!value || value > vp->cfg.queue_size)
		return;
	if (!feature_accepted(vp, VIOMMU_VIRTIO_F_RING_PACKED) && !is_pow2(value))
		return;
	q->size = value;
}

static void enable_queue(struct viommu_virtio_pci *vp, struct virtio_queue *q)
{
	const struct viommu_virtq_config ring = {
		.size = q->size,
		.packed = feature_accepted(vp, VIOMMU_VIRTIO_F_RING_PACKED),
		.event_idx = feature_accepted(vp, VIOMMU_VIRTIO_F_RING_EVENT_IDX),
		.indirect = feature_accepted(vp, VIOMMU_VIRTIO_F_RING_INDIRECT_DESC),
		.desc = q->desc,
		.driver = q->driver,
		.device = q->device,
	};

	/* Before FEATURES_OK the ring's format is not settled. */
	if (q->enabled || !(vp->status & STATUS_FEATURES_OK) || vp->driver == DRIVER_LEFT)
		return;
	q->enabled = !vp->ops.queue_enable(vp->opaque, vp->queue_select, &ring);
	if (!q->enabled && may_complain(vp))
		log_warn(vp->log, "virtio device %u: queue %u cannot be enabled.",
			 vp->cfg.virtio_id, vp->queue_select);
}

/* ---- writes ---- */

#define TOUCHED(field)                                                                   \
	(offset < offsetof(struct common_cfg, field) +                                   \
			  sizeof(((struct common_cfg *)0)->field) &&                     \
	 offsetof(struct common_cfg, field) < offset + len)

/* The ring of an enabled queue is fixed until it is reset. */
static void apply_ring(struct virtio_queue *q, const struct common_cfg *c,
		       unsigned offset, unsigned len)
{
	if (q->enabled)
		return;
	if (TOUCHED(queue_desc))
		q->desc = c->queue_desc;
	if (TOUCHED(queue_driver))
		q->driver = c->queue_driver;
	if (TOUCHED(queue_device))
		q->device = c->queue_device;
}

static void apply_queue(struct viommu_virtio_pci *vp, const struct common_cfg *c,
			unsigned offset, unsigned len)
{
	struct virtio_queue *q = selected(vp);

	if (!q)
		return;
	if (TOUCHED(queue_size) && !q->enabled)
		write_queue_size(vp, q, c->queue_size);
	if (TOUCHED(queue_msix_vector))
		q->vector = map_vector(vp, c->queue_msix_vector);
	apply_ring(q, c, offset, len);
	if (TOUCHED(queue_enable) && c->queue_enable == 1)
		enable_queue(vp, q);
	if (TOUCHED(queue_reset) && c->queue_reset == 1 &&
	    feature_accepted(vp, VIOMMU_VIRTIO_F_RING_RESET))
		reset_queue(vp, vp->queue_select);
}

void common_write(struct viommu_virtio_pci *vp, unsigned offset, unsigned len,
		  uint64_t value)
{
	struct common_cfg c;

	if (offset >= COMMON_LEN)
		return;
	if (len > COMMON_LEN - offset)
		len = COMMON_LEN - offset;
	fill(vp, &c);
	swap_image(&c);
	value = le64(value);
	memcpy((uint8_t *)&c + offset, &value, len);
	swap_image(&c);

	if (TOUCHED(device_feature_select))
		vp->device_feature_select = c.device_feature_select;
	if (TOUCHED(driver_feature_select))
		vp->driver_feature_select = c.driver_feature_select;
	if (TOUCHED(driver_feature))
		write_driver_feature(vp, c.driver_feature);
	if (TOUCHED(config_msix_vector))
		vp->config_vector = map_vector(vp, c.config_msix_vector);
	if (TOUCHED(device_status))
		write_status(vp, c.device_status);
	if (TOUCHED(queue_select))
		vp->queue_select = c.queue_select;
	if (offset + len > offsetof(struct common_cfg, queue_size))
		apply_queue(vp, &c, offset, len);
}
