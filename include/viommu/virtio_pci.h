/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/virtio_pci.h - a modern virtio device as a PCI function (VIRTIO 1.4,
 * "Virtio Over PCI Bus"). The device itself is given as ops.
 *
 * Threads: one thread per device at a time.
 */
#ifndef VIOMMU_VIRTIO_PCI_H
#define VIOMMU_VIRTIO_PCI_H

#include <viommu/base.h>
#include <viommu/pci.h>
#include <viommu/virtq.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_virtio_pci;

#define VIOMMU_VIRTIO_QUEUES_MAX	   64
#define VIOMMU_VIRTIO_F_RING_INDIRECT_DESC 28
#define VIOMMU_VIRTIO_F_RING_EVENT_IDX	   29
#define VIOMMU_VIRTIO_F_VERSION_1	   32
#define VIOMMU_VIRTIO_F_ACCESS_PLATFORM	   33
#define VIOMMU_VIRTIO_F_RING_PACKED	   34
#define VIOMMU_VIRTIO_F_RING_RESET	   40

/*
 * The device. features, set_features, queue_enable, queue_disable and reset are
 * needed, the others may be NULL. No callback may call back into the transport,
 * except to raise an interrupt.
 */
struct viommu_virtio_ops {
	/* Device features offered (bits 0-23, 50-127 low 64 only, and what of
	 * the transport bits 24-43 the device wants to offer: INDIRECT_DESC,
	 * EVENT_IDX, RING_RESET). VERSION_1 is added by the transport,
	 * ACCESS_PLATFORM and RING_PACKED by the configuration. */
	uint64_t (*features)(void *opaque);
	/* FEATURES_OK, after the transport's own checks: a subset of the offer,
	 * with VERSION_1. Non-zero: refused, FEATURES_OK is not set. */
	int (*set_features)(void *opaque, uint64_t features);
	/* Inside config_len; any alignment. */
	void (*config_read)(void *opaque, uint32_t offset, void *buf, uint32_t len);
	void (*config_write)(void *opaque, uint32_t offset, const void *buf,
			     uint32_t len);
	/* queue_enable written 1, with the ring the driver set up. Non-zero:
	 * queue_enable stays 0. The ring configuration is validated by
	 * viommu_virtq_init, which the device calls with its own memory. */
	int (*queue_enable)(void *opaque, unsigned queue,
			    const struct viommu_virtq_config *ring);
	void (*queue_disable)(void *opaque, unsigned queue); /* reset, or RING_RESET */
	/* A kick of an enabled queue, never before driver_ok. */
	void (*notify)(void *opaque, unsigned queue);
	/* DRIVER_OK is set and the driver masters the bus: the rings may be used from
	 * now on; look at all of them. */
	void (*driver_ok)(void *opaque);
	/* After driver_ok the driver took bus mastering away: it has left, and its
	 * rings' memory may be somebody else's. Called while the command register is
	 * written, instead of queue_disable of each queue: all are disabled at once,
	 * so that what ends with one is written to none. After that no op is called
	 * but config_read, config_write and features, until reset. NULL:
	 * queue_disable of each, in order. */
	void (*driver_left)(void *opaque);
	void (*reset)(void *opaque); /* status 0, FLR or bus reset; after
				      * queue_disable of all enabled queues */
};

struct viommu_virtio_pci_config {
	uint16_t virtio_id; /* 23: IOMMU, 2: block */
	uint8_t class_code, subclass, prog_if;
	uint16_t queues_nr;   /* 1 .. VIOMMU_VIRTIO_QUEUES_MAX */
	uint16_t queue_size;  /* largest offered; a power of two */
	uint32_t config_len;  /* bytes of device configuration space, <= 4096 */
	bool access_platform; /* offered, and refused when not accepted */
	bool packed;	      /* offer RING_PACKED */
};

/*
 * The function has BAR 0 (registers, 16 KiB) and BAR 1 (MSI-X, one vector a
 * queue and one for configuration changes), INTx and function level reset.
 * Result: 0, -EINVAL (field named in the log), -ENOMEM.
 */
VIOMMU_API int viommu_virtio_pci_create(const struct viommu_virtio_pci_config *config,
					const struct viommu_virtio_ops *ops, void *opaque,
					const struct viommu_alloc *alloc,
					const struct viommu_log *log,
					struct viommu_virtio_pci **out);
/* Calls no ops. NULL is allowed. */
VIOMMU_API void viommu_virtio_pci_destroy(struct viommu_virtio_pci *vp);

/* The PCI function, owned by vp. */
VIOMMU_API struct viommu_pci *viommu_virtio_pci_function(struct viommu_virtio_pci *vp);

/*
 * Interrupts: of a queue, and of a configuration change (which also moves the
 * configuration generation on). Nothing is sent for a queue that is not enabled or
 * before driver_ok, for a configuration change before DRIVER_OK, and for either
 * after driver_left. Whether the driver wants an interrupt for used buffers is the
 * ring's business (viommu_virtq_publish).
 */
VIOMMU_API void viommu_virtio_pci_queue_irq(struct viommu_virtio_pci *vp, unsigned queue);
VIOMMU_API void viommu_virtio_pci_config_irq(struct viommu_virtio_pci *vp);
/* Sets DEVICE_NEEDS_RESET and says so with a configuration interrupt. */
VIOMMU_API void viommu_virtio_pci_needs_reset(struct viommu_virtio_pci *vp);

/* The device status byte, and the features accepted (0 before FEATURES_OK). */
VIOMMU_API uint8_t viommu_virtio_pci_status(const struct viommu_virtio_pci *vp);
VIOMMU_API uint64_t viommu_virtio_pci_features(const struct viommu_virtio_pci *vp);

struct viommu_virtio_pci_stats {
	uint64_t kicks[VIOMMU_VIRTIO_QUEUES_MAX];
	uint64_t irqs[VIOMMU_VIRTIO_QUEUES_MAX];
	uint64_t config_irqs, resets;
	uint64_t kicks_ignored; /* before driver_ok, or of no enabled queue */
};
VIOMMU_API void viommu_virtio_pci_get_stats(const struct viommu_virtio_pci *vp,
					    struct viommu_virtio_pci_stats *out);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_VIRTIO_PCI_H */
