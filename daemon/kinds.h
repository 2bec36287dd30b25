/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The kinds of endpoint the daemon can serve, and the keys each understands. */
#ifndef DAEMON_KINDS_H
#define DAEMON_KINDS_H

#include "settings.h"

/* Checks type and params. The problem lists what there is. */
bool kinds_check(const struct endpoint_settings *endpoint, const char *where,
		 struct problem *problem);

/* What of enum sandbox_needs it takes to serve it. */
unsigned kinds_needs(const struct endpoint_settings *endpoint);

#endif
