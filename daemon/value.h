/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Values as people write them: numbers (decimal or 0x...), sizes (4k, 1G),
 * switches (on, off), ranges. Pure functions. false: the text is no such value;
 * *out is not written.
 */
#ifndef DAEMON_VALUE_H
#define DAEMON_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool value_number(const char *text, uint64_t *out);
/* Bytes; k, M, G, T (of 1024) may follow, in either case. */
bool value_size(const char *text, uint64_t *out);
/* on, yes, true, 1, or "" (the bare option); off, no, false, 0. */
bool value_switch(const char *text, bool *out);
/* FIRST-LAST, both numbers, ends included, FIRST <= LAST. */
bool value_range(const char *text, uint64_t *first, uint64_t *last);
/* A name that may become part of a file name: letters, digits, '-', '_', '.',
 * not starting with '.' or '-', shorter than room bytes. */
bool value_name(const char *text, size_t room);

#endif
