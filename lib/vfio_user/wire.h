/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The vfio-user protocol, version 0.0, on the wire. Host byte order: both ends
 * are on one machine. Structures are copied out of the receive buffer, never
 * pointed at.
 */
#ifndef VIOMMU_LIB_VFU_WIRE_H
#define VIOMMU_LIB_VFU_WIRE_H

#include <stdint.h>

enum vfu_command {
	VFU_VERSION = 1,
	VFU_DMA_MAP = 2,
	VFU_DMA_UNMAP = 3,
	VFU_DEVICE_GET_INFO = 4,
	VFU_GET_REGION_INFO = 5,
	VFU_GET_REGION_IO_FDS = 6,
	VFU_GET_IRQ_INFO = 7,
	VFU_SET_IRQS = 8,
	VFU_REGION_READ = 9,
	VFU_REGION_WRITE = 10,
	VFU_DMA_READ = 11,  /* server to client */
	VFU_DMA_WRITE = 12, /* server to client */
	VFU_DEVICE_RESET = 13,
	VFU_REGION_WRITE_MULTI = 15,
	VFU_DEVICE_FEATURE = 16,
	VFU_MIG_DATA_READ = 17,
	VFU_MIG_DATA_WRITE = 18,
};

#define VFU_TYPE_MASK	  0xfu
#define VFU_TYPE_COMMAND  0x0u
#define VFU_TYPE_REPLY	  0x1u
#define VFU_FLAG_NO_REPLY 0x10u
#define VFU_FLAG_ERROR	  0x20u

struct vfu_header {
	uint16_t id;	  /* the sender's, echoed in the reply */
	uint16_t command; /* enum vfu_command */
	uint32_t size;	  /* bytes, this header included */
	uint32_t flags;
	uint32_t error; /* errno, in a reply with VFU_FLAG_ERROR */
};

struct vfu_version {
	uint16_t major, minor; /* JSON with a NUL follows, or nothing */
};

#define VFU_DMA_MAP_READ  1u
#define VFU_DMA_MAP_WRITE 2u
struct vfu_dma_map {
	uint32_t argsz, flags;
	uint64_t offset; /* into the file that comes with the message */
	uint64_t addr, size;
};

#define VFU_DMA_UNMAP_ALL 2u
struct vfu_dma_unmap {
	uint32_t argsz, flags;
	uint64_t addr, size;
};

#define VFU_DEVICE_RESETTABLE 1u
#define VFU_DEVICE_PCI	      2u
struct vfu_device_info {
	uint32_t argsz, flags, regions_nr, irqs_nr;
};

#define VFU_REGION_CAN_READ  1u
#define VFU_REGION_CAN_WRITE 2u
enum vfu_region { /* VFIO_PCI_*_REGION_INDEX of <linux/vfio.h> */
		  VFU_REGION_BAR0 = 0,
		  VFU_REGION_BAR5 = 5,
		  VFU_REGION_ROM = 6,
		  VFU_REGION_CONFIG = 7,
		  VFU_REGION_VGA = 8,
		  VFU_REGIONS_NR = 9,
};
struct vfu_region_info {
	uint32_t argsz, flags, index, cap_offset;
	uint64_t size, offset;
};

#define VFU_IRQ_EVENTFD	   1u
#define VFU_IRQ_MASKABLE   2u
#define VFU_IRQ_AUTOMASKED 4u
#define VFU_IRQ_NORESIZE   8u
enum vfu_irq { /* VFIO_PCI_*_IRQ_INDEX of <linux/vfio.h> */
	       VFU_IRQ_INTX = 0,
	       VFU_IRQ_MSI = 1,
	       VFU_IRQ_MSIX = 2,
	       VFU_IRQ_ERR = 3,
	       VFU_IRQ_REQ = 4,
	       VFU_IRQS_NR = 5,
};
struct vfu_irq_info {
	uint32_t argsz, flags, index, count;
};

#define VFU_IRQ_SET_DATA_NONE	   0x01u
#define VFU_IRQ_SET_DATA_BOOL	   0x02u
#define VFU_IRQ_SET_DATA_EVENTFD   0x04u
#define VFU_IRQ_SET_DATA_MASK	   0x07u
#define VFU_IRQ_SET_ACTION_MASK	   0x08u
#define VFU_IRQ_SET_ACTION_UNMASK  0x10u
#define VFU_IRQ_SET_ACTION_TRIGGER 0x20u
#define VFU_IRQ_SET_ACTIONS	   0x38u
struct vfu_irq_set {
	uint32_t argsz, flags, index, start, count; /* bools may follow */
};

struct vfu_region_access {
	uint64_t offset;
	uint32_t region, count; /* data follows in a write and in a read's reply */
};

/* REGION_WRITE_MULTI: a u64 count, then so many of these. */
struct vfu_region_write1 {
	uint64_t offset;
	uint32_t region, count; /* count: 1 .. 8 */
	uint8_t data[8];
};

#endif
