/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Every error is born in err(): `return err(EINVAL, "virt_last < virt_start");`
 * gives -EINVAL and passes a static probe (viommu:error) with file, line, value
 * and reason, so that "why was this refused" can be answered on a running
 * system without a log line on the path.
 */
#ifndef VIOMMU_LIB_ERR_H
#define VIOMMU_LIB_ERR_H

#include "base/errno.h"

#include "base/probe.h"

#define err(value, reason)                                                               \
	((void)PROBE4(error, __FILE__, __LINE__, (value), (reason)), -(value))

#endif
