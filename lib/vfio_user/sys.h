/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The only place of the server that looks at errno: what the system call just
 * made failed with. */
#ifndef VIOMMU_LIB_VFU_SYS_H
#define VIOMMU_LIB_VFU_SYS_H

#include "base/err.h"

static inline int sys_errno(void)
{
	return errno;
}

/* As err(), with the value of the system call that just failed. */
#define sys_err(reason) err(sys_errno(), (reason))

#endif
