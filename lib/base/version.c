/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <viommu/base.h>

const char *viommu_version(void)
{
	return VIOMMU_VERSION;
}
