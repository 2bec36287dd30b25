/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* System calls beyond the list, by the kind of build (daemon/meson.build). */
#ifndef DAEMON_SANDBOX_EXTRA_H
#define DAEMON_SANDBOX_EXTRA_H

extern const int sandbox_extra_calls[];
extern const unsigned sandbox_extra_calls_nr;

/* The filter is about to be switched on. */
void sandbox_extra_prepare(void);

#endif
