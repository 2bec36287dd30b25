/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The C library's memory for the library's objects. */
#ifndef DAEMON_MEMORY_H
#define DAEMON_MEMORY_H

#include <viommu/base.h>

extern const struct viommu_alloc memory_alloc;

#endif
