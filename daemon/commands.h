/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the control socket's commands do: docs/control-protocol.md. */
#ifndef DAEMON_COMMANDS_H
#define DAEMON_COMMANDS_H

#include "server.h"

/* A control_fn; opaque is a struct server. */
json_t *commands_execute(void *opaque, unsigned client, const char *command,
			 json_t *request, struct problem *problem);

#endif
