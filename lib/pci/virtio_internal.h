/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the files of the virtio-pci transport share. */
#ifndef VIOMMU_LIB_VIRTIO_INTERNAL_H
#define VIOMMU_LIB_VIRTIO_INTERNAL_H

#include <viommu/virtio_pci.h>

#include "pci/pci_internal.h"

/* Device status bits (VIRTIO 1.4, "Device Status Field"). */
#define STATUS_ACKNOWLEDGE  0x01u
#define STATUS_DRIVER	    0x02u
#define STATUS_DRIVER_OK    0x04u
#define STATUS_FEATURES_OK  0x08u
#define STATUS_NEEDS_RESET  0x40u
#define STATUS_FAILED	    0x80u

#define VIRTIO_NO_VECTOR    0xffffu
#define VIRTIO_NOTIFY_SCALE 4u /* notify_off_multiplier */

/* Layout of BAR 0. */
enum {
	REGION_COMMON = 0x0000,
	REGION_ISR = 0x1000,
	REGION_DEVICE = 0x2000,
	REGION_NOTIFY = 0x3000,
	REGION_LEN = 0x1000,
	VIRTIO_BAR = 0,
	VIRTIO_BAR_LEN = 0x4000,
	VIRTIO_MSIX_BAR = 1,
	VIRTIO_MSIX_BAR_LEN = 0x1000,
	ISR_LEN = 1,
};

struct virtio_queue {
	uint16_t size;	 /* what the driver made of it, entries */
	uint16_t vector; /* VIRTIO_NO_VECTOR: none */
	bool enabled;
	uint64_t desc, driver, device; /* in the device's DMA addresses */
};

/* 128 feature bits can be selected; only the low 64 are ever offered. */
#define FEATURE_WORDS 4u

enum driver_state {
	DRIVER_AWAITED, /* DRIVER_OK or bus mastering is missing */
	DRIVER_SERVED,
	DRIVER_LEFT, /* it took bus mastering away: until a reset */
};

struct viommu_virtio_pci {
	struct viommu_virtio_pci_config cfg;
	struct viommu_virtio_ops ops;
	void *opaque; /* the device's, for ops */
	struct viommu_alloc alloc;
	const struct viommu_log *log;
	struct viommu_pci *pci;

	uint32_t device_feature_select, driver_feature_select;
	uint32_t driver_features[FEATURE_WORDS];
	uint16_t config_vector;
	uint8_t status;
	enum driver_state driver;
	uint8_t generation; /* config_generation */
	bool config_read;   /* the driver read configuration at this generation */
	uint8_t isr;	    /* bit 0: queue, bit 1: configuration */
	uint16_t queue_select;
	unsigned complaints; /* log lines the guest has caused */
	unsigned window_cap; /* offset of the configuration access capability */
	struct virtio_queue queue[VIOMMU_VIRTIO_QUEUES_MAX];
	struct viommu_virtio_pci_stats stats;
};

/* virtio_common.c: the common configuration structure, any access inside it. */
uint64_t common_read(struct viommu_virtio_pci *vp, unsigned offset, unsigned len);
void common_write(struct viommu_virtio_pci *vp, unsigned offset, unsigned len,
		  uint64_t value);
/* Bytes of it that exist; what lies behind reads as zero. */
unsigned common_len(void);
/* Registers and queues as after power-on; enabled queues are disabled. */
void transport_init(struct viommu_virtio_pci *vp);
/* The same, and tells the device. */
void transport_reset(struct viommu_virtio_pci *vp);
/* DRIVER_OK or bus mastering may have changed: tells the device what that means. */
void transport_follow_driver(struct viommu_virtio_pci *vp);
bool feature_accepted(const struct viommu_virtio_pci *vp, unsigned bit);

#endif
