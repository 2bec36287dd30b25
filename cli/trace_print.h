/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* An event of a trace as a line for people. */
#ifndef CLI_TRACE_PRINT_H
#define CLI_TRACE_PRINT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

/* wall_ns: what to add to time_ns to get the time of day; utc: in that zone. */
void trace_print(FILE *out, json_t *event, int64_t wall_ns, bool utc);

#endif
