/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Events as lines of JSON, written without a tree: there may be many. */
#ifndef DAEMON_TRACE_JSON_H
#define DAEMON_TRACE_JSON_H

#include <stddef.h>

#include <viommu/device.h>

#include "faults.h"

/* Room that is enough for any of them. */
#define TRACE_LINE_LEN_MAX 512u

/* A line with its newline; bytes written. */
size_t trace_request_json(char *buf, size_t room, const struct viommu_request_info *info);
size_t trace_fault_json(char *buf, size_t room, const struct fault *fault);
size_t trace_dropped_json(char *buf, size_t room, uint64_t requests, uint64_t faults);

#endif
