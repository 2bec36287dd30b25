/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The control socket's manners, with commands of the test's own. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "test.h"

static char dir[] = "/tmp/viommud-test-XXXXXX";
static char path[64];
static struct log log_to_nowhere;
static struct control *control;

static json_t *execute(void *opaque, unsigned client, const char *command,
		       json_t *request, struct problem *problem)
{
	char *big;
	json_t *result;

	(void)opaque;
	(void)client;
	if (!strcmp(command, "echo"))
		return json_incref(json_object_get(request, "text"));
	if (!strcmp(command, "big")) {
		big = calloc(1, 1 << 20);
		memset(big, 'x', (1 << 20) - 1);
		result = json_string(big);
		free(big);
		return result;
	}
	problem_set(problem,
		    !strcmp(command, "cut") ? "cut off in the middle: \xe2\x82"
					    : "there is no command %s",
		    command);
	return NULL;
}

#define EVENT_LEN 1000u

static unsigned events_left, events_taken;

/* One event a call, while there are some. */
static size_t events(void *opaque, unsigned client, char *buf, size_t room)
{
	(void)opaque;
	(void)client;
	if (!events_left || room < EVENT_LEN)
		return 0;
	events_left--;
	events_taken++;
	memset(buf, 'e', EVENT_LEN);
	return EVENT_LEN;
}

static int set_up(void **state)
{
	struct control_config config = {.path = path,
					.mode = 0600,
					.execute = execute,
					.events = events,
					.log = &log_to_nowhere};
	struct problem problem = {0};

	(void)state;
	log_init(&log_to_nowhere, -1, VIOMMU_LOG_ERROR);
	return !control_create(&config, &control, &problem);
}

static int tear_down(void **state)
{
	(void)state;
	control_destroy(control);
	assert_int_equal(access(path, F_OK), -1);
	return 0;
}

/* Serves until nothing happens. */
static void pump(void)
{
	struct pollfd fds[CONTROL_FDS_MAX];
	unsigned nr = control_fds(control, fds);

	while (poll(fds, nr, 20) > 0) {
		control_serve(control, fds, nr);
		nr = control_fds(control, fds);
	}
}

static int connect_client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What came back so far, as a string; "" if nothing. */
static const char *hear(int fd)
{
	static char buf[65536];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	buf[n > 0 ? n : 0] = 0;
	return buf;
}

static bool hung_up(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0;
}

static void expect(int fd, const char *request, const char *reply)
{
	say(fd, request);
	pump();
	assert_string_equal(hear(fd), reply);
}

static void requests(void **state)
{
	int fd = connect_client();

	(void)state;
	expect(fd, "{\"command\":\"echo\",\"text\":\"a\",\"id\":1}\n",
	       "{\"id\":1,\"ok\":true,\"result\":\"a\"}\n");
	expect(fd, "{\"id\":\"x\",\"command\":\"no\"}\n",
	       "{\"id\":\"x\",\"ok\":false,\"error\":\"there is no command no\"}\n");
	/* Empty lines are nothing; two requests at once are two replies in order. */
	expect(fd,
	       "\n\n{\"command\":\"echo\",\"text\":1}\n{\"command\":\"echo\",\"text\":2}"
	       "\n",
	       "{\"ok\":true,\"result\":1}\n{\"ok\":true,\"result\":2}\n");
	/* In pieces. */
	say(fd, "{\"command\":\"echo\",");
	pump();
	assert_string_equal(hear(fd), "");
	expect(fd, "\"text\":3}\n", "{\"ok\":true,\"result\":3}\n");
	close(fd);
}

static void malformed(void **state)
{
	static const char *const lines[] = {
		"hello\n",
		"{\n",
		"[1,2]\n",
		"3\n",
		"{\"command\":3}\n",
		"{}\n",
		"{\"command\":\"echo\",\"command\":\"echo\"}\n",
		"\x01\xff\n",
		"{\"command\":\"echo\",\"id\":{}}\n",
		"{\"command\":\"e\\u0000\"}\n",
	};
	int fd = connect_client();
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		say(fd, lines[i]);
		pump();
		assert_non_null(strstr(hear(fd), "{\"ok\":false,\"error\":\""));
	}
	/* Still served. */
	expect(fd, "{\"command\":\"echo\",\"text\":1}\n", "{\"ok\":true,\"result\":1}\n");
	close(fd);
}

/* A message that quotes a part of a request may end within a character, and a path
 * need not be UTF-8: JSON takes neither, and an error without words helps nobody. */
static void no_utf8(void **state)
{
	int fd = connect_client();

	(void)state;
	expect(fd, "{\"command\":\"cut\"}\n",
	       "{\"ok\":false,\"error\":\"cut off in the middle: ??\"}\n");
	expect(fd, "{\"command\":\"\xe2\x82\xac\"}\n",
	       "{\"ok\":false,\"error\":\"there is no command \xe2\x82\xac\"}\n");
	close(fd);
}

static void deep(void **state)
{
	int fd = connect_client();
	char line[DAEMON_REQUEST_LEN_MAX];

	(void)state;
	memset(line, '[', 10000);
	strcpy(line + 10000, "\n");
	say(fd, line);
	pump();
	assert_non_null(strstr(hear(fd), "\"ok\":false"));
	close(fd);
}

/* A request of the longest length, and one byte more. */
static void request_length(void **state)
{
	static char line[DAEMON_REQUEST_LEN_MAX + 2];
	int fd = connect_client(), len;

	(void)state;
	len = sprintf(line, "{\"command\":\"echo\",\"text\":1,\"pad\":\"");
	memset(line + len, 'x', (size_t)(DAEMON_REQUEST_LEN_MAX - 2 - len));
	strcpy(line + DAEMON_REQUEST_LEN_MAX - 2, "\"}\n");
	assert_int_equal(strlen(line), DAEMON_REQUEST_LEN_MAX + 1);
	expect(fd, line, "{\"ok\":true,\"result\":1}\n");
	memset(line, 'x', DAEMON_REQUEST_LEN_MAX + 1);
	line[DAEMON_REQUEST_LEN_MAX + 1] = 0;
	say(fd, line);
	pump();
	assert_non_null(strstr(hear(fd), "longer than 16384"));
	assert_true(hung_up(fd));
	close(fd);
}

/* As many clients as there may be, and one more. */
static void client_limit(void **state)
{
	int fds[DAEMON_CLIENTS_MAX], extra;
	unsigned i;

	(void)state;
	for (i = 0; i < DAEMON_CLIENTS_MAX; i++) {
		fds[i] = connect_client();
		pump();
	}
	extra = connect_client();
	pump();
	assert_non_null(strstr(hear(extra), "too many clients"));
	assert_true(hung_up(extra));
	close(extra);
	for (i = 0; i < DAEMON_CLIENTS_MAX; i++)
		expect(fds[i], "{\"command\":\"echo\",\"text\":1}\n",
		       "{\"ok\":true,\"result\":1}\n");
	/* A place that was given up can be had. */
	close(fds[3]);
	pump();
	fds[3] = connect_client();
	pump();
	expect(fds[3], "{\"command\":\"echo\",\"text\":1}\n",
	       "{\"ok\":true,\"result\":1}\n");
	for (i = 0; i < DAEMON_CLIENTS_MAX; i++)
		close(fds[i]);
	pump();
}

/* A client that asks and does not read holds up nobody, and is cut off when its
 * replies pile up. */
static void slow_client(void **state)
{
	int slow = connect_client(), other = connect_client();
	char requests[8 * 20] = "";
	unsigned i;

	(void)state;
	for (i = 0; i < 8; i++)
		strcat(requests, "{\"command\":\"big\"}\n");
	_Static_assert(DAEMON_REPLY_BACKLOG_LEN_MAX < 8 << 20, "eight are too much");
	say(slow, requests);
	pump();
	expect(other, "{\"command\":\"echo\",\"text\":1}\n",
	       "{\"ok\":true,\"result\":1}\n");
	/* What was sent before can still be read; then comes the end. */
	while (*hear(slow))
		;
	assert_true(hung_up(slow));
	close(slow);
	close(other);
	pump();
}

static void reads_late(void **state)
{
	int fd = connect_client();
	size_t total = 0;

	(void)state;
	say(fd, "{\"command\":\"big\"}\n{\"command\":\"big\"}\n");
	for (;;) {
		size_t n;

		pump();
		n = strlen(hear(fd));
		if (!n)
			break;
		total += n;
	}
	assert_int_equal(total,
			 2 * ((1 << 20) - 1 + strlen("{\"ok\":true,\"result\":\"\"}\n")));
	close(fd);
}

/* What the socket has taken: all that can be read while nobody serves. */
static size_t drain(int fd)
{
	static char buf[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		total += (size_t)n;
	return total;
}

/* Events of a client that does not read stay where they come from: what waits here is
 * at the limit or less than one event past it. */
static void events_not_read(void **state)
{
	size_t taken, sent, total;
	int fd = connect_client();

	(void)state;
	pump();
	events_left = 100000;
	events_taken = 0;
	for (unsigned i = 0; i < 10; i++)
		control_push(control);
	taken = (size_t)events_taken * EVENT_LEN;
	assert_true(events_left);
	sent = drain(fd);
	assert_in_range(taken - sent, DAEMON_EVENT_BACKLOG_LEN,
			DAEMON_EVENT_BACKLOG_LEN + EVENT_LEN - 1);
	/* Nothing is lost, and with room again there is more. */
	events_left = 100;
	for (total = sent; events_left; total += drain(fd)) {
		pump();
		control_push(control);
	}
	pump();
	total += drain(fd);
	assert_int_equal(total, taken + 100 * EVENT_LEN);
	close(fd);
	pump();
}

static void second_server(void **state)
{
	struct control_config config = {
		.path = path, .mode = 0600, .execute = execute, .log = &log_to_nowhere};
	struct problem problem = {0};
	struct control *other;
	struct stat st;

	(void)state;
	assert_false(control_create(&config, &other, &problem));
	assert_non_null(strstr(problem.text, "another process serves"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* One that a killed daemon left behind is replaced. */
	char left[80];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(left, sizeof(left), "%s/left", dir);
	strcpy(address.sun_path, left);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	config.path = left;
	assert_true(control_create(&config, &other, &problem));
	control_destroy(other);
}

static void long_path(void **state)
{
	char name[200];
	struct control_config config = {.path = name, .execute = execute};
	struct problem problem = {0};
	struct control *other;

	(void)state;
	memset(name, 'x', sizeof(name));
	name[108] = 0;
	assert_false(control_create(&config, &other, &problem));
	assert_non_null(strstr(problem.text, "107 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(malformed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_utf8, set_up, tear_down),
		cmocka_unit_test_setup_teardown(deep, set_up, tear_down),
		cmocka_unit_test_setup_teardown(request_length, set_up, tear_down),
		cmocka_unit_test_setup_teardown(client_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(slow_client, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reads_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(events_not_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(second_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(long_path, set_up, tear_down),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/control", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
