/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "json.h"

/* Requests of one client in a turn, so that none starves the others. */
#define REQUESTS_PER_TURN 8
/* Events are taken in pieces of this many bytes. */
#define EVENTS_LEN 16384

struct client {
	int fd;	     /* -1: the place is free */
	bool ending; /* closed as soon as the replies are out */
	size_t in_len;
	char in[DAEMON_REQUEST_LEN_MAX + 1]; /* one byte more than a line may have */
	char *out;			     /* replies not yet sent; owned */
	size_t out_len, out_sent;
	int passed[DAEMON_PASSED_MAX]; /* descriptors not yet used; owned */
	unsigned passed_nr;
};

struct control {
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int fd;
	struct control_config config; /* path is not ours */
	struct client clients[DAEMON_CLIENTS_MAX];
};

/* ---- the socket ---- */

/* Whether somebody answers there. */
static bool is_served(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served;

	if (fd < 0)
		return true;
	served = !connect(fd, (const struct sockaddr *)address, sizeof(*address)) ||
		 errno == EAGAIN;
	close(fd);
	return served;
}

static bool listen_at(struct control *control, unsigned mode, struct problem *problem)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memcpy(address.sun_path, control->path, sizeof(address.sun_path));
	if (!access(control->path, F_OK)) {
		if (is_served(&address))
			return problem_set(problem,
					   "--control %s: another process serves this "
					   "socket; stop it or choose another path",
					   control->path);
		unlink(control->path);
	}
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0 ||
	    bind(control->fd, (const struct sockaddr *)&address, sizeof(address)) ||
	    chmod(control->path, mode) || listen(control->fd, DAEMON_CLIENTS_MAX))
		return problem_set(problem, "--control %s: cannot listen: %s",
				   control->path, strerror(errno));
	return true;
}

bool control_create(const struct control_config *config, struct control **out,
		    struct problem *problem)
{
	const char *path = config->path;
	struct control *control;
	unsigned i;

	if (strlen(path) >= sizeof(control->path))
		return problem_set(problem,
				   "--control %.64s...: longer than the %zu bytes the "
				   "system allows; choose a shorter path",
				   path, sizeof(control->path) - 1);
	control = calloc(1, sizeof(*control));
	if (!control)
		return problem_set(problem, "out of memory");
	memcpy(control->path, path, strlen(path) + 1);
	control->fd = -1;
	control->config = *config;
	for (i = 0; i < DAEMON_CLIENTS_MAX; i++)
		control->clients[i].fd = -1;
	if (!listen_at(control, config->mode, problem)) {
		if (control->fd >= 0)
			close(control->fd);
		free(control);
		return false;
	}
	*out = control;
	return true;
}

/* Closes the first nr of the descriptors that came. */
static void close_passed(struct client *client, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		close(client->passed[i]);
	client->passed_nr -= nr;
	memmove(client->passed, client->passed + nr,
		client->passed_nr * sizeof(client->passed[0]));
}

static void drop(struct control *control, struct client *client)
{
	if (control->config.gone)
		control->config.gone(control->config.opaque,
				     (unsigned)(client - control->clients));
	/* Before the client hears of its end. */
	close_passed(client, client->passed_nr);
	close(client->fd);
	free(client->out);
	client->fd = -1;
	client->ending = false;
	client->in_len = 0;
	client->out = NULL;
	client->out_len = 0;
	client->out_sent = 0;
}

void control_destroy(struct control *control)
{
	unsigned i;

	if (!control)
		return;
	for (i = 0; i < DAEMON_CLIENTS_MAX; i++)
		if (control->clients[i].fd >= 0)
			drop(control, &control->clients[i]);
	close(control->fd);
	unlink(control->path);
	free(control);
}

/* ---- replies ---- */

/* Sends what the socket takes now. */
static void flush(struct control *control, struct client *client)
{
	ssize_t n;

	while (client->out_sent < client->out_len) {
		n = send(client->fd, client->out + client->out_sent,
			 client->out_len - client->out_sent, MSG_NOSIGNAL);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				drop(control, client);
			return;
		}
		client->out_sent += (size_t)n;
	}
	client->out_len = 0;
	client->out_sent = 0;
	if (client->ending)
		drop(control, client);
}

/* Appends text. A client that lets replies pile up is disconnected. */
static void put(struct control *control, struct client *client, const char *text,
		size_t len)
{
	size_t need = client->out_len + len;
	char *out;

	if (need > DAEMON_REPLY_BACKLOG_LEN_MAX) {
		log_write(control->config.log, VIOMMU_LOG_WARN,
			  "control: a client does not read its replies; disconnected");
		drop(control, client);
		return;
	}
	out = realloc(client->out, need);
	if (!out) {
		drop(control, client);
		return;
	}
	memcpy(out + client->out_len, text, len);
	client->out = out;
	client->out_len = need;
}

/* Consumes result. */
static void reply(struct control *control, struct client *client, json_t *id,
		  json_t *result, const char *error)
{
	json_t *line = json_object();
	char *text;

	if (id)
		json_object_set(line, "id", id);
	json_object_set_new(line, "ok", json_boolean(result != NULL));
	if (result)
		json_object_set_new(line, "result", result);
	else
		json_object_set_new(line, "error", json_text(error));
	text = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(line);
	if (text)
		put(control, client, text, strlen(text));
	else
		drop(control, client);
	if (client->fd >= 0)
		put(control, client, "\n", 1);
	free(text);
}

/* ---- events ---- */

static void push_to(struct control *control, struct client *client)
{
	unsigned index = (unsigned)(client - control->clients);
	char buf[EVENTS_LEN];
	size_t len;

	while (client->fd >= 0 && !client->ending &&
	       client->out_len < DAEMON_EVENT_BACKLOG_LEN) {
		len = control->config.events(control->config.opaque, index, buf,
					     sizeof(buf));
		if (!len)
			break;
		put(control, client, buf, len);
		if (client->fd >= 0)
			flush(control, client);
	}
}

void control_push(struct control *control)
{
	unsigned i;

	for (i = 0; i < DAEMON_CLIENTS_MAX; i++)
		if (control->clients[i].fd >= 0)
			push_to(control, &control->clients[i]);
}

/* ---- requests ---- */

/* "descriptors": N becomes the list of the N that came first; how many were
 * taken. Commands never see a number that a client made up. */
static bool take_descriptors(struct client *client, json_t *request, unsigned *nr,
			     struct problem *problem)
{
	json_t *value = json_object_get(request, "descriptors"), *list;
	json_int_t want = json_integer_value(value);

	if (!value)
		return true;
	if (!json_is_integer(value) || want < 1 || want > client->passed_nr)
		return problem_set(problem,
				   "\"descriptors\" is how many descriptors come with "
				   "the request; %u came",
				   client->passed_nr);
	list = json_array();
	for (*nr = 0; *nr < want; ++*nr)
		json_array_append_new(list, json_integer(client->passed[*nr]));
	json_object_set_new(request, "descriptors", list);
	return true;
}

static void execute(struct control *control, struct client *client, const char *text,
		    size_t len)
{
	struct problem problem = {0};
	json_error_t error;
	json_t *request, *command, *id, *result = NULL;
	unsigned passed = 0;

	request = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	id = json_object_get(request, "id");
	command = json_object_get(request, "command");
	if (!request)
		problem_set(&problem, "no JSON: %s (at byte %d)", error.text,
			    error.position);
	else if (!json_is_object(request) || !json_is_string(command))
		problem_set(&problem, "a request is an object with a \"command\", e.g. "
				      "{\"command\": \"help\"}");
	else if (id && !json_is_integer(id) && !json_is_string(id))
		problem_set(&problem, "\"id\" is neither a number nor a string");
	else if (take_descriptors(client, request, &passed, &problem))
		result = control->config.execute(
			control->config.opaque, (unsigned)(client - control->clients),
			json_string_value(command), request, &problem);
	close_passed(client, passed);
	if (id && !json_is_integer(id) && !json_is_string(id))
		id = NULL;
	reply(control, client, id, result, problem.text);
	json_decref(request);
}

/* Executes complete lines. */
static void take_lines(struct control *control, struct client *client)
{
	unsigned budget = REQUESTS_PER_TURN;
	size_t start = 0, len;
	char *end;

	while (client->fd >= 0 && !client->ending && budget--) {
		len = client->in_len - start;
		end = memchr(client->in + start, '\n', len);
		if (!end)
			break;
		len = (size_t)(end - (client->in + start));
		if (len)
			execute(control, client, client->in + start, len);
		start += len + 1;
	}
	if (client->fd < 0)
		return;
	client->in_len -= start;
	memmove(client->in, client->in + start, client->in_len);
	if (!memchr(client->in, '\n', client->in_len) &&
	    client->in_len == sizeof(client->in)) {
		reply(control, client, NULL, NULL, "a request longer than 16384 bytes");
		/* Its place may be free by now: then it is the next client's. */
		client->ending = client->fd >= 0;
		client->in_len = 0;
	}
}

/* Keeps the descriptors of a message. false: there are too many. */
static bool keep_passed(struct client *client, struct msghdr *msg)
{
	const struct cmsghdr *head;
	bool room = !(msg->msg_flags & MSG_CTRUNC);
	unsigned nr, i;
	int fd;

	for (head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, (void *)head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(fd));
		for (i = 0; i < nr; i++) {
			memcpy(&fd, CMSG_DATA(head) + i * sizeof(fd), sizeof(fd));
			if (client->passed_nr < DAEMON_PASSED_MAX) {
				client->passed[client->passed_nr++] = fd;
			} else {
				close(fd);
				room = false;
			}
		}
	}
	return room;
}

/* As recv(2). */
static ssize_t receive_bytes(struct control *control, struct client *client)
{
	_Alignas(struct cmsghdr) char space[CMSG_SPACE(DAEMON_PASSED_MAX * sizeof(int))];
	struct iovec iov = {client->in + client->in_len,
			    sizeof(client->in) - client->in_len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space,
			     .msg_controllen = sizeof(space)};
	ssize_t n = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC);

	if (n < 0 || keep_passed(client, &msg))
		return n;
	log_write(control->config.log, VIOMMU_LOG_WARN,
		  "control: a client passes more than %u descriptors; disconnected",
		  DAEMON_PASSED_MAX);
	return 0;
}

static void receive(struct control *control, struct client *client)
{
	ssize_t n;

	if (client->in_len < sizeof(client->in)) {
		n = receive_bytes(control, client);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			drop(control, client);
			return;
		}
		client->in_len += (size_t)n;
	}
	take_lines(control, client);
	if (client->fd >= 0)
		flush(control, client);
}

/* ---- clients ---- */

static struct client *free_place(struct control *control)
{
	unsigned i;

	for (i = 0; i < DAEMON_CLIENTS_MAX; i++)
		if (control->clients[i].fd < 0)
			return &control->clients[i];
	return NULL;
}

static void welcome(struct control *control)
{
	static const char full[] =
		"{\"ok\":false,\"error\":\"too many clients; close one\"}\n";
	struct client *client = free_place(control);
	int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return;
	if (client) {
		client->fd = fd;
		return;
	}
	n = send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL);
	(void)n; /* it is told if it can be told */
	close(fd);
}

unsigned control_fds(const struct control *control, struct pollfd *fds)
{
	const struct client *client;
	unsigned i, nr = 0;
	bool waiting;

	fds[nr++] = (struct pollfd){.fd = control->fd, .events = POLLIN};
	for (i = 0; i < DAEMON_CLIENTS_MAX; i++) {
		client = &control->clients[i];
		/* With replies unsent nothing more is taken from it. */
		waiting = client->out_len > 0;
		fds[nr++] = (struct pollfd){.fd = client->fd,
					    .events = waiting ? POLLOUT : POLLIN};
	}
	return nr;
}

static void serve_client(struct control *control, struct client *client, short revents)
{
	if (client->out_len) {
		if (revents & (POLLERR | POLLHUP))
			drop(control, client);
		else if (revents & POLLOUT)
			flush(control, client);
	} else if (revents) {
		receive(control, client);
	}
	/* Lines that were left over when the budget or the socket was full. */
	while (client->fd >= 0 && !client->out_len && !client->ending &&
	       memchr(client->in, '\n', client->in_len)) {
		take_lines(control, client);
		if (client->fd >= 0)
			flush(control, client);
	}
}

void control_serve(struct control *control, const struct pollfd *fds, unsigned nr)
{
	unsigned i;

	for (i = 1; i < nr && i <= DAEMON_CLIENTS_MAX; i++)
		if (fds[i].fd >= 0 && control->clients[i - 1].fd == fds[i].fd &&
		    fds[i].revents)
			serve_client(control, &control->clients[i - 1], fds[i].revents);
	if (fds[0].revents & POLLIN)
		welcome(control);
}
