/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The control socket: lines of JSON, one request a line, one reply a line, in
 * order. docs/control-protocol.md is the reference.
 *
 *     {"command": "stat", "id": 1}
 *     {"id": 1, "ok": true, "result": {...}}
 *     {"id": 1, "ok": false, "error": "..."}
 *
 * Between replies there may be events, lines that a client asked for before.
 *
 * Knows nothing of what the commands do. One thread.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <poll.h>

#include <jansson.h>

#include "limits.h"
#include "log.h"
#include "problem.h"

struct control;

/* Executes a request. client: below DAEMON_CLIENTS_MAX. Result: a new reference, or
 * NULL with the problem. */
typedef json_t *control_fn(void *opaque, unsigned client, const char *command,
			   json_t *request, struct problem *problem);

struct control_config {
	const char *path; /* an old socket there that nobody serves is replaced */
	unsigned mode;	  /* who may connect: they may do everything */
	control_fn *execute;
	/* Writes whole lines that a client gets unasked; bytes written, 0: there are
	 * none. Not asked while the client has much to read. */
	size_t (*events)(void *opaque, unsigned client, char *buf, size_t room);
	/* A client has gone; its number may be another's soon. May be NULL. */
	void (*gone)(void *opaque, unsigned client);
	void *opaque;
	struct log *log;
};

/* Listens. */
bool control_create(const struct control_config *config, struct control **out,
		    struct problem *problem);
/* Removes the socket. NULL is allowed. */
void control_destroy(struct control *control);

/* What to wait for; number written, at most CONTROL_FDS_MAX. */
#define CONTROL_FDS_MAX (DAEMON_CLIENTS_MAX + 1)
unsigned control_fds(const struct control *control, struct pollfd *fds);
/* Hands events to clients. Not needed without any. */
void control_push(struct control *control);
/* Serves what poll(2) said about them. */
void control_serve(struct control *control, const struct pollfd *fds, unsigned nr);

#endif
