/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <viommu/device.h>
#include <viommu/proto.h>

#include "names.h"

const char *name_request(unsigned type)
{
	static const char *const names[VIOMMU_REQUEST_TYPES_NR] = {
		"unknown", "attach", "detach", "map", "unmap", "probe",
	};

	return names[type];
}

const char *name_status(unsigned status)
{
	static const char *const names[VIOMMU_STATUS_NR] = {
		"ok",	 "ioerr", "unsupp", "deverr", "inval",
		"range", "noent", "fault",  "nomem",
	};

	return names[status];
}

const char *name_reason(uint32_t reason)
{
	switch (reason) {
	case VIRTIO_IOMMU_FAULT_R_DOMAIN:
		return "domain";
	case VIRTIO_IOMMU_FAULT_R_MAPPING:
		return "mapping";
	default:
		return "unknown";
	}
}
