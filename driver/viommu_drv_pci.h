/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu_drv_pci.h - the virtio-pci transport (VIRTIO 1.4, "Virtio Over PCI
 * Bus"; modern devices only) for viommu_drv.h. The caller knows how to reach
 * the function's configuration space and BARs, which are assigned already.
 */
#ifndef VIOMMU_DRV_PCI_H
#define VIOMMU_DRV_PCI_H

#include "viommu_drv.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VIOMMU_DRV_PCI_VENDOR	 0x1af4u
#define VIOMMU_DRV_PCI_DEVICE	 0x1057u
#define VIOMMU_DRV_PCI_NO_VECTOR 0xffffu

/* Accesses of 1, 2 or 4 bytes, naturally aligned, in host order. May be called
 * with locks of the driver held. An access to a BAR lies in a structure that the
 * function announced; whether the BAR is that long is for the callee to check. */
struct viommu_drv_pci_ops {
	uint32_t (*config_read)(void *opaque, unsigned offset, unsigned len);
	void (*config_write)(void *opaque, unsigned offset, uint32_t value, unsigned len);
	uint32_t (*bar_read)(void *opaque, unsigned bar, uint64_t offset, unsigned len);
	void (*bar_write)(void *opaque, unsigned bar, uint64_t offset, uint32_t value,
			  unsigned len);
};

/* A structure in a BAR, from a capability. */
struct viommu_drv_pci_window {
	uint8_t bar;
	uint32_t offset, len; /* bytes */
};

#define VIOMMU_DRV_PCI_QUEUES 32u

/* The caller's memory; fields are internal but for the vector. Must outlive the
 * driver. */
struct viommu_drv_pci {
	struct viommu_drv_pci_ops ops;
	void *opaque;
	struct viommu_drv_pci_window common, notify, device;
	uint32_t notify_multiplier;
	uint32_t notify_offset[VIOMMU_DRV_PCI_QUEUES]; /* in the BAR */
	/* MSI-X vector of the event queue; VIOMMU_DRV_PCI_NO_VECTOR after init.
	 * Set it before viommu_drv_create(). */
	uint16_t event_vector;
};

/*
 * Finds the virtio structures and switches memory and bus mastering on. Result:
 * 0; -ENODEV: not a virtio-iommu, or not a modern one; -EIO: its capabilities
 * make no sense. Control.
 */
int viommu_drv_pci_init(struct viommu_drv_pci *pci, const struct viommu_drv_pci_ops *ops,
			void *opaque);

/* What viommu_drv_create() wants, with `pci` as its opaque. */
extern const struct viommu_drv_transport viommu_drv_pci_transport;

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_DRV_PCI_H */
