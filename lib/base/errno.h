/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The error values the library uses. Freestanding builds have no errno.h; they
 * get the same numbers, so that objects of both kinds can be mixed. */
#ifndef VIOMMU_LIB_ERRNO_H
#define VIOMMU_LIB_ERRNO_H

#if __STDC_HOSTED__
#include <errno.h>
#else
#define ENOENT	    2
#define EIO	    5
#define ENXIO	    6
#define E2BIG	    7
#define EAGAIN	    11
#define ENOMEM	    12
#define EFAULT	    14
#define EBUSY	    16
#define EEXIST	    17
#define ENODEV	    19
#define EINVAL	    22
#define ENOSPC	    28
#define ERANGE	    34
#define ENODATA	    61
#define EPROTO	    71
#define EBADMSG	    74
#define EOPNOTSUPP  95
#define EALREADY    114
#define ETIMEDOUT   110
#define EINPROGRESS 115
#define EREMOTEIO   121
#define ECANCELED   125
#endif

#endif
