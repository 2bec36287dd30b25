/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/proto.h - the wire format of VIRTIO 1.4 "IOMMU Device".
 *
 * All fields are little-endian; structs are laid out as on the wire and have no
 * implicit padding. Freestanding: also used by the guest driver.
 */
#ifndef VIOMMU_PROTO_H
#define VIOMMU_PROTO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIRTIO_ID_IOMMU 23

/* Feature bits. */
#define VIRTIO_IOMMU_F_INPUT_RANGE   0
#define VIRTIO_IOMMU_F_DOMAIN_RANGE  1
#define VIRTIO_IOMMU_F_MAP_UNMAP     2
#define VIRTIO_IOMMU_F_BYPASS	     3
#define VIRTIO_IOMMU_F_PROBE	     4
#define VIRTIO_IOMMU_F_MMIO	     5
#define VIRTIO_IOMMU_F_BYPASS_CONFIG 6

/* Request types. */
#define VIRTIO_IOMMU_T_ATTACH 1
#define VIRTIO_IOMMU_T_DETACH 2
#define VIRTIO_IOMMU_T_MAP    3
#define VIRTIO_IOMMU_T_UNMAP  4
#define VIRTIO_IOMMU_T_PROBE  5

/* Status values. */
#define VIRTIO_IOMMU_S_OK		 0
#define VIRTIO_IOMMU_S_IOERR		 1
#define VIRTIO_IOMMU_S_UNSUPP		 2
#define VIRTIO_IOMMU_S_DEVERR		 3
#define VIRTIO_IOMMU_S_INVAL		 4
#define VIRTIO_IOMMU_S_RANGE		 5
#define VIRTIO_IOMMU_S_NOENT		 6
#define VIRTIO_IOMMU_S_FAULT		 7
#define VIRTIO_IOMMU_S_NOMEM		 8

#define VIRTIO_IOMMU_ATTACH_F_BYPASS	 (1u << 0)
#define VIRTIO_IOMMU_MAP_F_READ		 (1u << 0)
#define VIRTIO_IOMMU_MAP_F_WRITE	 (1u << 1)
#define VIRTIO_IOMMU_MAP_F_MMIO		 (1u << 2)

#define VIRTIO_IOMMU_PROBE_T_NONE	 0
#define VIRTIO_IOMMU_PROBE_T_RESV_MEM	 1
#define VIRTIO_IOMMU_PROBE_T_MASK	 0xfffu

#define VIRTIO_IOMMU_RESV_MEM_T_RESERVED 0
#define VIRTIO_IOMMU_RESV_MEM_T_MSI	 1

#define VIRTIO_IOMMU_FAULT_R_UNKNOWN	 0
#define VIRTIO_IOMMU_FAULT_R_DOMAIN	 1
#define VIRTIO_IOMMU_FAULT_R_MAPPING	 2
#define VIRTIO_IOMMU_FAULT_F_READ	 (1u << 0)
#define VIRTIO_IOMMU_FAULT_F_WRITE	 (1u << 1)
#define VIRTIO_IOMMU_FAULT_F_ADDRESS	 (1u << 8)

struct virtio_iommu_config {
	uint64_t page_size_mask;
	uint64_t input_start, input_last;
	uint32_t domain_first, domain_last;
	uint32_t probe_size;
	uint8_t bypass;
	uint8_t reserved[3];
};

struct virtio_iommu_req_head {
	uint8_t type;
	uint8_t reserved[3];
};
struct virtio_iommu_req_tail {
	uint8_t status;
	uint8_t reserved[3];
};

/* The device-readable part of each request; the tail follows, except after
 * PROBE, where probe_size bytes of properties come before the tail. */
struct virtio_iommu_req_attach {
	struct virtio_iommu_req_head head;
	uint32_t domain, endpoint, flags;
	uint8_t reserved[4];
};
struct virtio_iommu_req_detach {
	struct virtio_iommu_req_head head;
	uint32_t domain, endpoint;
	uint8_t reserved[8];
};
struct virtio_iommu_req_map {
	struct virtio_iommu_req_head head;
	uint32_t domain;
	uint64_t virt_start, virt_last, phys_start;
	uint32_t flags;
} __attribute__((packed));
struct virtio_iommu_req_unmap {
	struct virtio_iommu_req_head head;
	uint32_t domain;
	uint64_t virt_start, virt_last;
	uint8_t reserved[4];
} __attribute__((packed));
struct virtio_iommu_req_probe {
	struct virtio_iommu_req_head head;
	uint32_t endpoint;
	uint8_t reserved[64];
};

struct virtio_iommu_probe_property {
	uint16_t type, len; /* len: bytes after this header */
};
struct virtio_iommu_probe_resv_mem {
	struct virtio_iommu_probe_property head;
	uint8_t subtype;
	uint8_t reserved[3];
	uint64_t start, last;
};

struct virtio_iommu_fault {
	uint8_t reason;
	uint8_t reserved[3];
	uint32_t flags;
	uint32_t endpoint;
	uint8_t reserved1[4];
	uint64_t address;
};

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_PROTO_H */
