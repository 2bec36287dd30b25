/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The control socket with viommud's own commands behind it, against clients that
 * send any lines, whole or in parts, pass any descriptors and go when they like.
 * The server's threads do not run: what a command asks of one is done at once.
 *
 * Invariants: as many replies as there were lines, each with a result or an error
 * in words; nothing but JSON comes back; no descriptor is lost; endpoints that a
 * client added can be removed. No file is opened and no interface made: what could
 * is refused before it gets that far.
 */
#include "input.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "commands.h"
#include "control.h"
#include "server.h"

enum { CLIENTS = 3, FDS = 6, STEPS_MAX = 100, LINE_MAX_LEN = 2048 };

struct peer {
	int fd;		     /* -1: not there */
	unsigned long lines; /* complete ones that were sent, empty ones left out */
	unsigned long replies;
	size_t in_line; /* bytes sent since the last newline */
	bool over;	/* the server may have ended it: lines are not counted */
	char in[1 << 16];
	size_t in_len;
};

struct state {
	struct input in;
	struct settings *settings;
	struct log log;
	struct server *server;
	struct control *control;
	struct peer peer[CLIENTS];
	int fd[FDS]; /* what a client has to pass */
};

static char folder[] = "/tmp/viommu-fuzz-XXXXXX";

static void remove_folder(void)
{
	rmdir(folder);
}

/* A folder for sockets, and a working folder in which there is nothing and nothing
 * can be made: names in requests lead nowhere. */
static void set_up_once(void)
{
	static bool done;
	char void_path[sizeof(folder) + 2];

	if (done)
		return;
	done = true;
	FUZZ_CHECK(mkdtemp(folder));
	snprintf(void_path, sizeof(void_path), "%s/v", folder);
	FUZZ_CHECK(!mkdir(void_path, 0700) && !chdir(void_path) && !rmdir(void_path));
	atexit(remove_folder);
	json_object_seed(1);
}

/* ---- the server ---- */

/* Whether an endpoint could reach beyond this process. */
static bool reaches_out(json_t *request)
{
	static const char *const words[] = {"/", "tap", "hostfwd"};
	const char *text = json_string_value(json_object_get(request, "endpoint"));
	unsigned i;

	for (i = 0; text && i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(text, words[i]))
			return true;
	return false;
}

static json_t *execute(void *opaque, unsigned client, const char *command,
		       json_t *request, struct problem *problem)
{
	json_t *result;

	if (reaches_out(request)) {
		problem_set(problem, "not here");
		return NULL;
	}
	result = commands_execute(opaque, client, command, request, problem);
	FUZZ_CHECK(result || problem->text[0]);
	return result;
}

static void create_server(struct state *s)
{
	static char control[sizeof(folder) + 2];
	/* clang-format off */
	char *argv[] = {
		"viommud", "--socket-dir", folder, "--control", control, "--threads", "1",
		"--iommu", "max-mappings=64,max-domains=8,queue-size=16",
		"--endpoint", "dmatest,id=t,ep=1",
		"--endpoint", "blk,id=d,ep=2,backend=mem,size=1M,queue-size=16,in-flight=1",
	};
	/* clang-format on */
	struct control_config config = {.path = control,
					.mode = 0600,
					.execute = execute,
					.events = server_events,
					.gone = server_client_gone,
					.log = &s->log};
	struct problem problem = {0};

	snprintf(control, sizeof(control), "%s/c", folder);
	log_init(&s->log, -1, VIOMMU_LOG_ERROR);
	FUZZ_CHECK(settings_parse(sizeof(argv) / sizeof(argv[0]), argv, &s->settings,
				  &problem));
	FUZZ_CHECK(server_create(s->settings, &s->log, &s->server, &problem));
	FUZZ_CHECK(server_listen(s->server, &problem));
	config.opaque = s->server;
	FUZZ_CHECK(control_create(&config, &s->control, &problem));
}

static void create_fds(struct state *s)
{
	int pipes[2];

	s->fd[0] = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	FUZZ_CHECK(!ftruncate(s->fd[0], 1 << 16));
	s->fd[1] = memfd_create("empty", MFD_CLOEXEC);
	s->fd[2] = eventfd(0, EFD_CLOEXEC);
	FUZZ_CHECK(!pipe2(pipes, O_CLOEXEC));
	s->fd[3] = pipes[0];
	s->fd[4] = pipes[1];
	s->fd[5] = open("/", O_RDONLY | O_CLOEXEC);
}

/* The lowest free descriptor: it moves if one is lost below it. */
static int next_fd(void)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);

	FUZZ_CHECK(fd >= 0);
	close(fd);
	return fd;
}

/* Whether there was anything to do. */
static bool serve(struct state *s)
{
	struct pollfd fds[CONTROL_FDS_MAX];
	unsigned nr = control_fds(s->control, fds);
	bool found = poll(fds, nr, 0) > 0;

	control_serve(s->control, fds, nr);
	s->server->stopping = false;
	return found;
}

/* ---- clients ---- */

static void leave(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->lines = p->replies = 0;
	p->in_line = p->in_len = 0;
	p->over = false;
}

static void join(struct state *s, struct peer *p)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	leave(p);
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/c", folder);
	/* The backlog may be full. */
	if (connect(p->fd, (struct sockaddr *)&address, sizeof(address)))
		leave(p);
	(void)s;
}

static void count_lines(struct peer *p, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != '\n') {
			p->in_line++;
			p->over |= p->in_line > DAEMON_REQUEST_LEN_MAX;
			continue;
		}
		p->lines += p->in_line != 0;
		p->in_line = 0;
	}
}

static void say(struct peer *p, const char *bytes, size_t len)
{
	ssize_t n = p->fd < 0 ? 0 : send(p->fd, bytes, len, MSG_NOSIGNAL);

	if (n > 0)
		count_lines(p, bytes, (size_t)n);
}

/* One byte of a line, with descriptors. */
static void pass(struct state *s, struct peer *p, char byte)
{
	uint8_t kind = input_u8(&s->in);
	unsigned nr = 1 + (kind & 7) % FDS, first = kind >> 4;
	_Alignas(struct cmsghdr) char space[CMSG_SPACE(FDS * sizeof(int))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space,
			     .msg_controllen = CMSG_SPACE(nr * sizeof(int))};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	if (p->fd < 0)
		return;
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(nr * sizeof(int));
	for (unsigned i = 0; i < nr; i++)
		memcpy(CMSG_DATA(head) + i * sizeof(int), &s->fd[(first + i) % FDS],
		       sizeof(int));
	if (sendmsg(p->fd, &msg, MSG_NOSIGNAL) == 1)
		count_lines(p, &byte, 1);
	p->over = true; /* for too many of them it is disconnected */
}

static void check_line(struct peer *p, const char *line, size_t len)
{
	json_t *reply = json_loadb(line, len, 0, NULL),
	       *ok = json_object_get(reply, "ok");

	FUZZ_CHECK(json_is_object(reply));
	if (json_object_get(reply, "event")) {
		FUZZ_CHECK(!ok);
	} else {
		FUZZ_CHECK(json_is_boolean(ok));
		if (json_is_true(ok))
			FUZZ_CHECK(json_object_get(reply, "result"));
		else
			FUZZ_CHECK(json_string_length(json_object_get(reply, "error")));
		p->replies++;
	}
	json_decref(reply);
}

static void hear(struct peer *p)
{
	ssize_t n = 0;
	char *end;

	if (p->fd < 0)
		return;
	n = recv(p->fd, p->in + p->in_len, sizeof(p->in) - p->in_len, 0);
	p->over |= !n;
	p->in_len += n > 0 ? (size_t)n : 0;
	while ((end = memchr(p->in, '\n', p->in_len)) != NULL) {
		check_line(p, p->in, (size_t)(end - p->in));
		p->in_len -= (size_t)(end + 1 - p->in);
		memmove(p->in, end + 1, p->in_len);
	}
	FUZZ_CHECK(p->in_len < sizeof(p->in));
	FUZZ_CHECK(p->over || p->replies <= p->lines);
}

/* ---- lines ---- */

struct line {
	char text[LINE_MAX_LEN];
	size_t len;
};

static void add(struct line *line, const char *text)
{
	size_t len = strlen(text);

	if (line->len + len > sizeof(line->text))
		return;
	memcpy(line->text + line->len, text, len);
	line->len += len;
}

#define PICK(s, table)                                                                   \
	((table)[input_u8(&(s)->in) % (sizeof(table) / sizeof((table)[0]))])

static void add_endpoint(struct state *s, struct line *line)
{
	static const char *const kinds[] = {
		"blk,in-flight=1",
		"blk,in-flight=1",
		"nvme,queues=1,queue-size=4",
		"net,queue-size=4",
		"dmatest",
		"blk",
		"what",
		"",
	};
	static const char *const settings[] = {
		",id=x",
		",id=y",
		",ep=3",
		",ep=4",
		",ep=1",
		",fd=0",
		",fd=0+1",
		",fd=1",
		",backend=mem",
		",size=1M",
		",backend=null",
		",backend=loopback",
		",queues=2",
		",iommu=off",
		",untrusted",
		",resv=msi:0x1000-0x1fff",
		",read-only",
		",cache=none",
		",msix=off",
		",serial=a,,b",
		",path=x",
		",ns2=mem:1M",
		",backend=user",
		",resv=none",
		",id=d",
		"=",
		",size=0xffffffffffffffff",
		",io=sync",
	};

	add(line, "\"");
	add(line, PICK(s, kinds));
	for (unsigned nr = input_u8(&s->in) % 8; nr; nr--)
		add(line, PICK(s, settings));
	add(line, "\"");
}

static void add_value(struct state *s, struct line *line)
{
	static const char *const values[] = {
		"\"t\"",
		"\"d\"",
		"\"x\"",
		"\"y\"",
		"1",
		"2",
		"0",
		"-1",
		"4096",
		"4294967296",
		"null",
		"true",
		"[]",
		"{}",
		"1.5",
		"\"auto\"",
		"\"all\"",
		"\"debug\"",
		"\"error\"",
		"\"map,fault\"",
		"\"failed\"",
		"\"ok\"",
		"\"resize\"",
		"\"size=64K\"",
		"\"2M\"",
		"\"\"",
		"\"iommu\"",
		"\"link\"",
		"\"state=down\"",
		"9223372036854775807",
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\\u00e9\\ud83d\\ude00\"",
		"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9\"",
	};

	add(line, PICK(s, values));
}

/* A request that is often a good one. */
static void add_request(struct state *s, struct line *line)
{
	static const char *const names[] = {
		"help",
		"version",
		"stat",
		"endpoints",
		"domains",
		"mappings",
		"faults",
		"trace",
		"trace-stop",
		"log-level",
		"poll",
		"add-endpoint",
		"add-endpoint",
		"remove-endpoint",
		"endpoint-control",
		"resize",
		"shutdown",
		"dance",
	};
	static const char *const keys[] = {
		"domain",   "skip",  "limit",	    "types",   "status",
		"endpoint", "level", "us",	    "threads", "verb",
		"args",	    "size",  "descriptors", "id",      "more",
	};

	add(line, "{\"command\":\"");
	add(line, PICK(s, names));
	add(line, "\"");
	for (unsigned nr = input_u8(&s->in) % 5; nr; nr--) {
		const char *key = PICK(s, keys);

		add(line, ",\"");
		add(line, key);
		add(line, "\":");
		if (!strcmp(key, "endpoint") && input_u8(&s->in) & 1)
			add_endpoint(s, line);
		else
			add_value(s, line);
	}
	add(line, "}\n");
}

static void send_request(struct state *s, struct peer *p)
{
	struct line line = {.len = 0};
	uint8_t how = input_u8(&s->in);
	size_t at;

	add_request(s, &line);
	if (how & 1)
		line.text[input_u16(&s->in) % line.len] = (char)input_u8(&s->in);
	at = how & 2 ? input_u16(&s->in) % line.len : 0;
	say(p, line.text, at);
	if (how & 2)
		serve(s);
	if ((how & 12) == 12)
		pass(s, p, line.text[at++]);
	say(p, line.text + at, line.len - at);
}

static void send_noise(struct state *s, struct peer *p)
{
	char bytes[256];
	size_t len = input_u8(&s->in);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)input_u8(&s->in);
	say(p, bytes, len);
}

/* Towards a line that is too long. */
static void send_blanks(struct peer *p)
{
	char bytes[4096];

	memset(bytes, ' ', sizeof(bytes));
	say(p, bytes, sizeof(bytes));
}

/* ---- the steps ---- */

static void record_fault(struct state *s)
{
	struct fault fault = {.address = input_u16(&s->in),
			      .endpoint = input_u8(&s->in) & 3,
			      .reason = input_u8(&s->in),
			      .flags = input_u8(&s->in)};

	faults_add(&s->server->host.faults, &fault);
}

static void settle(struct state *s)
{
	bool found = true;

	for (unsigned i = 0; found && i < 1000; i++) {
		found = serve(s);
		for (unsigned j = 0; j < CLIENTS; j++)
			hear(&s->peer[j]);
	}
	FUZZ_CHECK(!found);
	for (unsigned j = 0; j < CLIENTS; j++)
		FUZZ_CHECK(s->peer[j].over || s->peer[j].lines == s->peer[j].replies);
}

static void step(struct state *s)
{
	uint8_t op = input_u8(&s->in);
	struct peer *p = &s->peer[(op >> 4) % CLIENTS];

	switch (op & 15) {
	case 0:
		join(s, p);
		break;
	case 1:
		leave(p);
		break;
	case 2:
		send_noise(s, p);
		break;
	case 3:
		pass(s, p, ' ');
		break;
	case 4:
	case 5:
		serve(s);
		break;
	case 6:
		hear(p);
		break;
	case 7:
		control_push(s->control);
		break;
	case 8:
		record_fault(s);
		break;
	case 9:
		send_blanks(p);
		break;
	default:
		send_request(s, p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct state *s = calloc(1, sizeof(*s));
	int before;

	set_up_once();
	before = next_fd();
	s->in = (struct input){data, len};
	create_fds(s);
	create_server(s);
	for (unsigned i = 0; i < CLIENTS; i++)
		s->peer[i].fd = -1;
	join(s, &s->peer[0]);
	for (unsigned i = 0; i < STEPS_MAX && s->in.len; i++)
		step(s);
	settle(s);
	for (unsigned i = 0; i < CLIENTS; i++)
		leave(&s->peer[i]);
	control_destroy(s->control);
	server_destroy(s->server);
	settings_free(s->settings);
	for (unsigned i = 0; i < FDS; i++)
		close(s->fd[i]);
	FUZZ_CHECK(next_fd() == before);
	free(s);
	return 0;
}
