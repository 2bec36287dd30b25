/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Names of VIRTIO 1.4 that are not the IOMMU device's own. */
#ifndef VIOMMU_DRV_VIRTIO_H
#define VIOMMU_DRV_VIRTIO_H

/* "Device Status Field". */
#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER	  2u
#define VIRTIO_STATUS_DRIVER_OK	  4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED	  128u

/* "Reserved Feature Bits". */
#define VIRTIO_F_INDIRECT_DESC	 28
#define VIRTIO_F_EVENT_IDX	 29
#define VIRTIO_F_VERSION_1	 32
#define VIRTIO_F_ACCESS_PLATFORM 33
#define VIRTIO_F_RING_PACKED	 34
#define VIRTIO_F_ORDER_PLATFORM	 36

#endif
