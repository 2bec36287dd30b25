/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What operators read in place of the standard's numbers. */
#ifndef DAEMON_NAMES_H
#define DAEMON_NAMES_H

#include <stdint.h>

/* Below VIOMMU_REQUEST_TYPES_NR: "unknown", "attach", ... */
const char *name_request(unsigned type);
/* Below VIOMMU_STATUS_NR: "ok", "ioerr", ... */
const char *name_status(unsigned status);
/* Any: "domain" (attached to none), "mapping" (none that allows it), "unknown". */
const char *name_reason(uint32_t reason);

#endif
