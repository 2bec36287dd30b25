/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Wire status <-> errno value: the only place that knows both. */
#include "base/compiler.h"
#include "base/err.h"
#include "proto/proto.h"

/* One to one: Linux folds IOERR and DEVERR into one value, and then nobody can
 * tell a broken transport from a failed back end. */
static const int errno_of[PROTO_STATUS_NR] = {
	[VIRTIO_IOMMU_S_OK] = 0,
	[VIRTIO_IOMMU_S_IOERR] = EIO,
	[VIRTIO_IOMMU_S_UNSUPP] = EOPNOTSUPP,
	[VIRTIO_IOMMU_S_DEVERR] = EREMOTEIO,
	[VIRTIO_IOMMU_S_INVAL] = EINVAL,
	[VIRTIO_IOMMU_S_RANGE] = ERANGE,
	[VIRTIO_IOMMU_S_NOENT] = ENOENT,
	[VIRTIO_IOMMU_S_FAULT] = EFAULT,
	[VIRTIO_IOMMU_S_NOMEM] = ENOMEM,
};

int proto_status_to_errno(uint8_t status)
{
	if (status >= ARRAY_LEN(errno_of))
		return err(EPROTO, "status not defined by the standard");
	return -errno_of[status];
}

uint8_t proto_errno_to_status(int error)
{
	if (error == -ENOSPC)
		return VIRTIO_IOMMU_S_NOMEM;
	for (uint8_t status = 0; status < ARRAY_LEN(errno_of); status++) {
		if (-errno_of[status] == error)
			return status;
	}
	return VIRTIO_IOMMU_S_DEVERR;
}
