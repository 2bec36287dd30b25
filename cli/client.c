/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "args.h"
#include "client.h"
#include "commands.h"
#include "until.h"

#define TIMEOUT_MS    10000
#define REPLY_LEN_MAX (8u << 20)

bool client_open(struct client *client, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	client->error[0] = 0;
	if (strlen(path) >= sizeof(address.sun_path)) {
		snprintf(client->error, sizeof(client->error),
			 "--control %.64s...: too long for a socket", path);
		return false;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd >= 0 &&
	    !connect(client->fd, (const struct sockaddr *)&address, sizeof(address)))
		return true;
	snprintf(client->error, sizeof(client->error),
		 "--control %s: %s; is viommud running with --control %s?", path,
		 strerror(errno), path);
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	return false;
}

void client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

static bool send_all(int fd, const char *text, size_t len)
{
	ssize_t n;

	while (len) {
		n = send(fd, text, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* Waits for more to read; a signal ends that only if it is to end the program. */
static bool wait_more(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	int r;

	do
		r = poll(&wait, 1, TIMEOUT_MS);
	while (r < 0 && errno == EINTR && !until_ended());
	return r > 0;
}

/* Reads up to the end of a line; malloc()ed, or NULL. */
static char *receive_line(int fd)
{
	size_t len = 0, room = 0;
	char *buf = NULL, *more;
	ssize_t n;

	while (len < REPLY_LEN_MAX) {
		if (len + 1 >= room) {
			room = room ? room * 2 : 4096;
			more = realloc(buf, room);
			if (!more)
				break;
			buf = more;
		}
		if (!wait_more(fd))
			break;
		n = recv(fd, buf + len, room - len - 1, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
		buf[len] = 0;
		if (buf[len - 1] == '\n')
			return buf;
	}
	free(buf);
	return NULL;
}

/* The result of a reply (consumed). */
static json_t *take_result(struct client *client, json_t *reply)
{
	json_t *result = json_incref(json_object_get(reply, "result"));
	const char *error = json_string_value(json_object_get(reply, "error"));

	if (!json_is_true(json_object_get(reply, "ok")) || !result) {
		snprintf(client->error, sizeof(client->error), "viommud: %s",
			 error ? error : "a reply that makes no sense");
		json_decref(result);
		result = NULL;
	}
	json_decref(reply);
	return result;
}

/* The first byte of a request, with the descriptors. */
static bool send_fds(int fd, const char *text, const int *fds, unsigned nr)
{
	_Alignas(struct cmsghdr) char space[CMSG_SPACE(CLIENT_FDS_MAX * sizeof(int))] = {
		0};
	struct iovec iov = {(void *)text, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space,
			     .msg_controllen = CMSG_SPACE(nr * sizeof(int))};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(head), fds, nr * sizeof(int));
	return sendmsg(fd, &msg, MSG_NOSIGNAL) == 1;
}

json_t *client_call(struct client *client, json_t *request)
{
	return client_call_with(client, request, NULL, 0);
}

json_t *client_call_with(struct client *client, json_t *request, const int *fds,
			 unsigned nr)
{
	char *text = json_dumps(request, JSON_COMPACT), *line = NULL;
	json_t *reply = NULL;

	json_decref(request);
	if (text && (!nr || send_fds(client->fd, text, fds, nr)) &&
	    send_all(client->fd, text + (nr > 0), strlen(text) - (nr > 0)) &&
	    send_all(client->fd, "\n", 1))
		line = receive_line(client->fd);
	free(text);
	if (line)
		reply = json_loads(line, 0, NULL);
	free(line);
	if (reply)
		return take_result(client, reply);
	snprintf(client->error, sizeof(client->error),
		 "viommud gave no answer within %d s, or has ended", TIMEOUT_MS / 1000);
	return NULL;
}

const char *client_runtime_base(void)
{
	const char *base = getenv("XDG_RUNTIME_DIR");

	return base && base[0] == '/' && !access(base, W_OK) ? base : "/tmp";
}

/* Whether somebody listens there. */
static bool answers(const char *path)
{
	struct client client;
	bool ok = client_open(&client, path);

	if (ok)
		client_close(&client);
	return ok;
}

static bool pick(const glob_t *found, char *path, size_t room, char *error,
		 size_t error_room)
{
	const char *only = NULL;
	size_t i, nr = 0;

	for (i = 0; i < found->gl_pathc; i++)
		if (answers(found->gl_pathv[i])) {
			only = found->gl_pathv[i];
			nr++;
		}
	if (nr == 1 && strlen(only) < room) {
		memcpy(path, only, strlen(only) + 1);
		return true;
	}
	snprintf(error, error_room,
		 nr ? "%zu virtual machines are running; say which: --control "
		      "DIR/control.sock"
		    : "no `viommu run` is running (%zu found); give --control PATH, as "
		      "given to viommud",
		 nr);
	return false;
}

unsigned client_find_all(char (*paths)[CLIENT_PATH_LEN], unsigned max)
{
	const char *set = getenv("VIOMMU_CONTROL");
	char pattern[256];
	glob_t found = {0};
	unsigned nr = 0;
	size_t i;

	if (set && set[0] && strlen(set) < CLIENT_PATH_LEN && max) {
		memcpy(paths[0], set, strlen(set) + 1);
		return 1;
	}
	snprintf(pattern, sizeof(pattern), "%s/viommu-*/control.sock",
		 client_runtime_base());
	glob(pattern, 0, NULL, &found);
	for (i = 0; i < found.gl_pathc && nr < max; i++) {
		const char *path = found.gl_pathv[i];

		if (strlen(path) < CLIENT_PATH_LEN && answers(path))
			memcpy(paths[nr++], path, strlen(path) + 1);
	}
	globfree(&found);
	return nr;
}

int client_open_or_find(struct client *client, const char *command, const char *path)
{
	char found[CLIENT_PATH_LEN], error[256];

	if (!path) {
		if (!client_find(found, sizeof(found), error, sizeof(error))) {
			args_refuse(command, "%s", error);
			return STATUS_FAILED;
		}
		path = found;
	}
	if (client_open(client, path))
		return STATUS_OK;
	args_refuse(command, "%s", client->error);
	return STATUS_FAILED;
}

bool client_find(char *path, size_t room, char *error, size_t error_room)
{
	const char *set = getenv("VIOMMU_CONTROL");
	char pattern[256];
	glob_t found = {0};
	bool ok;

	if (set && set[0] && strlen(set) < room) {
		memcpy(path, set, strlen(set) + 1);
		return true;
	}
	snprintf(pattern, sizeof(pattern), "%s/viommu-*/control.sock",
		 client_runtime_base());
	glob(pattern, 0, NULL, &found);
	ok = pick(&found, path, room, error, error_room);
	globfree(&found);
	return ok;
}
