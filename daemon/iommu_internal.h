/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What iommu.c and iommu_stat.c share. */
#ifndef DAEMON_IOMMU_INTERNAL_H
#define DAEMON_IOMMU_INTERNAL_H

#include <stdatomic.h>

#include <viommu/device.h>
#include <viommu/dma.h>
#include <viommu/virtio_pci.h>

#include "function.h"
#include "loop.h"
#include "trace.h"

struct iommu_port {
	struct viommu_endpoint *endpoint;
	atomic_bool reset_wanted; /* set by the endpoint's thread */
	struct iommu_port *next;
};

struct iommu {
	struct function function;
	struct loop *loop;
	struct loop_member member;
	struct viommu_device *device;
	struct viommu_virtio_pci *virtio;
	struct viommu_dma *dma; /* for the rings; no IOMMU before them */
	struct viommu_virtq queue[VIOMMU_QUEUES_NR];
	bool enabled[VIOMMU_QUEUES_NR];
	bool driver_ok;
	bool indirect;		   /* indirect descriptors are offered */
	bool armed;		   /* the driver was asked to notify */
	unsigned kicked;	   /* queues notified since the last turn, bits */
	uint64_t parked_ns;	   /* when a request was found waiting; 0: none */
	atomic_bool woken;	   /* the device asked for a turn */
	atomic_bool resets_wanted; /* some port's reset_wanted is set */
	struct iommu_port *ports;
	struct traces *traces; /* NULL before the first one */
};

#endif
