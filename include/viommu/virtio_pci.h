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

struct viommu_virtio_ops {
	/* Device features offered (bits 0-23, 50-127 low 64 only, and what of
	 * the transport bits 24-43 the device wants to offer). VERSION_1 is
	 * added by the transport. */
	uint64_t (*features)(void *opaque);
	/* FEATURES_OK. Non-zero: refused, FEATURES_OK is not set. */
	int (*set_features)(void *opaque, uint64_t features);
	void (*config_read)(void *opaque, uint32_t offset, void *buf, uint32_t len);
	void (*config_write)(void *opaque, uint32_t offset, const void *buf,
			     uint32_t len);
	/* queue_enable written 1, with the ring the driver set up. Non-zero:
	 * queue_enable stays 0. The ring configuration is validated by
	 * viommu_virtq_init, which the device calls with its own memory. */
	int (*queue_enable)(void *opaque, unsigned queue,
			    const struct viommu_virtq_config *ring);
	void (*queue_disable)(void *opaque, unsigned queue); /* reset, or RING_RESET */
	void (*notify)(void *opaque, unsigned queue);	     /* a kick */
	void (*driver_ok)(void *opaque);
	void (*reset)(void *opaque); /* status 0, FLR or bus reset; after
				      * queue_disable of all queues */
};

struct viommu_virtio_pci_config {
	uint16_t virtio_id; /* 23: IOMMU, 2: block */
	uint8_t class_code, subclass, prog_if;
	uint16_t queues_nr;
	uint16_t queue_size;  /* largest offered */
	uint32_t config_len;  /* bytes of device configuration space */
	bool access_platform; /* offered, and refused when not accepted */
	bool packed;	      /* offer RING_PACKED */
};

VIOMMU_API int viommu_virtio_pci_create(const struct viommu_virtio_pci_config *config,
					const struct viommu_virtio_ops *ops, void *opaque,
					const struct viommu_alloc *alloc,
					const struct viommu_log *log,
					struct viommu_virtio_pci **out);
VIOMMU_API void viommu_virtio_pci_destroy(struct viommu_virtio_pci *vp);

/* The PCI function, owned by vp. */
VIOMMU_API struct viommu_pci *viommu_virtio_pci_function(struct viommu_virtio_pci *vp);

/* Interrupts: of a queue, and of a configuration change (which also moves the
 * configuration generation on). */
VIOMMU_API void viommu_virtio_pci_queue_irq(struct viommu_virtio_pci *vp, unsigned queue);
VIOMMU_API void viommu_virtio_pci_config_irq(struct viommu_virtio_pci *vp);
/* Sets DEVICE_NEEDS_RESET and says so. */
VIOMMU_API void viommu_virtio_pci_needs_reset(struct viommu_virtio_pci *vp);

/* Ring positions are asked for at save; see virtq.h. */
VIOMMU_API uint8_t viommu_virtio_pci_status(const struct viommu_virtio_pci *vp);
VIOMMU_API uint64_t viommu_virtio_pci_features(const struct viommu_virtio_pci *vp);

struct viommu_virtio_pci_stats {
	uint64_t kicks[VIOMMU_VIRTIO_QUEUES_MAX];
	uint64_t irqs[VIOMMU_VIRTIO_QUEUES_MAX];
	uint64_t config_irqs, resets;
};
VIOMMU_API void viommu_virtio_pci_get_stats(const struct viommu_virtio_pci *vp,
					    struct viommu_virtio_pci_stats *out);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_VIRTIO_PCI_H */
