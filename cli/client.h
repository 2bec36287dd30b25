/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Talks to a viommud over its control socket (docs/control-protocol.md). */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct client {
	int fd;
	char error[256]; /* why a call failed; a whole sentence */
};

/* false: see error. */
bool client_open(struct client *client, const char *path);
void client_close(struct client *client);

/* Sends a request (consumed) and waits up to 10 s. A new reference to the
 * result, or NULL: see error. */
json_t *client_call(struct client *client, json_t *request);
/* The same, passing nr <= CLIENT_FDS_MAX descriptors; they stay the caller's. */
#define CLIENT_FDS_MAX 4u
json_t *client_call_with(struct client *client, json_t *request, const int *fds,
			 unsigned nr);

/*
 * Where the control socket is when nobody says: $VIOMMU_CONTROL, or that of the
 * only `viommu run` of this user. false: *error says what to give.
 */
bool client_find(char *path, size_t room, char *error, size_t error_room);

/* Opens the one at path, or the one that can be found (NULL). STATUS_OK, or
 * STATUS_FAILED with a message to standard error. */
int client_open_or_find(struct client *client, const char *command, const char *path);

/* Paths of all that answer, of $VIOMMU_CONTROL or of this user's `viommu run`; at
 * most max are written. Result: how many. */
#define CLIENT_PATH_LEN 256
unsigned client_find_all(char (*paths)[CLIENT_PATH_LEN], unsigned max);

/* The folder under which `viommu run` makes its own. */
const char *client_runtime_base(void);

#endif
