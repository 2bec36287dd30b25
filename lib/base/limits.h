/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Every limit of the library, with what happens when it is hit. Each is tested
 * at the limit and one past it (tests/unit, tests/conformance).
 */
#ifndef VIOMMU_LIB_LIMITS_H
#define VIOMMU_LIB_LIMITS_H

/* Domains and mappings: the request is answered NOMEM. */
#define LIMIT_DOMAINS  65536u
#define LIMIT_MAPPINGS (4u << 20) /* a device, all domains */
/* Endpoints and aliases of a device: viommu_endpoint_add() gives -ENOSPC. */
#define LIMIT_ENDPOINTS	       4096u
#define LIMIT_ENDPOINT_ALIASES 8u
/* Reserved regions of one endpoint: -ENOSPC. */
#define LIMIT_RESV_REGIONS 1024u
/* config.probe_size of a device: room for that many RESV_MEM properties; more
 * is refused at creation. The floor spares a driver a change of configuration
 * when an endpoint with a few more regions joins. */
#define LIMIT_PROBE_SIZE     (LIMIT_RESV_REGIONS * 24u)
#define LIMIT_PROBE_SIZE_MIN 24u
#define PROBE_SIZE_FLOOR     512u
/* DMA contexts of one endpoint: viommu_dma_create() gives -ENOSPC. */
#define LIMIT_DMA_CONTEXTS 64u
/* Holds of one mapping by all transfers: viommu_dma_get() gives -E2BIG. */
#define LIMIT_MAPPING_HOLDS (1u << 27)
/* Regions in a guest-memory table: viommu_mem_add() gives -ENOSPC. */
#define LIMIT_MEM_REGIONS 1024u
/* Faults recorded and not yet reported: dropped and counted. */
#define LIMIT_FAULTS_PENDING 256u
/* Log lines that a guest's mistakes can cause in one virtio function: further
 * ones are not logged. */
#define LIMIT_GUEST_LOG_LINES 64u
/* Endpoints that can have used some of their fault rate within the last second;
 * faults of others are held back (counted) meanwhile. */
#define LIMIT_FAULT_SOURCES 256u
/* Fault events a second an endpoint: more is refused at creation. */
#define LIMIT_FAULT_RATE 1000000u
/* vfio-user, a connection. A longer message, more descriptors with a message or
 * JSON nested deeper: the connection ends. */
#define LIMIT_VFU_DATA_LEN   65536u			/* of one region access */
#define LIMIT_VFU_MSG_LEN    (32u + LIMIT_VFU_DATA_LEN) /* headers included */
#define LIMIT_VFU_MSG_FDS    16u
#define LIMIT_VFU_JSON_DEPTH 8u
/* Writes in one REGION_WRITE_MULTI: the connection ends. */
#define LIMIT_VFU_WRITES 200u
/* DMA maps at a time: further ones are answered ENOSPC. */
#define LIMIT_VFU_DMA_MAPS LIMIT_MEM_REGIONS

/* The guest driver. Bytes of PROBE's properties that a device may ask room for:
 * viommu_drv_endpoint_create() gives -EIO; so it does for more regions. */
#define LIMIT_DRV_PROBE_SIZE   65536u
#define LIMIT_DRV_RESV_REGIONS 1024u
/* CPUs and request queues: viommu_drv_create() gives -EINVAL. */
#define LIMIT_DRV_CPUS		 1024u
#define LIMIT_DRV_REQUEST_QUEUES 16u
/* Entries of a flush queue: -EINVAL. */
#define LIMIT_DRV_FLUSH_ENTRIES (1u << 20)

#endif
