/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* viommud's counters for people. */
#ifndef CLI_STAT_PRINT_H
#define CLI_STAT_PRINT_H

#include <stdio.h>

#include <jansson.h>

void stat_print(FILE *out, json_t *stat);
void stat_print_faults(FILE *out, json_t *faults);

#endif
