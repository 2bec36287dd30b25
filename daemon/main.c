/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* viommud: options, sandbox, and the main thread's wait for signals and clients. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "commands.h"
#include "control.h"
#include "kinds.h"
#include "lost_memory.h"
#include "sandbox.h"
#include "server.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USE = 2 };

struct program {
	struct settings *settings;
	struct log log;
	struct server *server;
	struct control *control; /* NULL: no control socket */
	int signal_fd;		 /* SIGTERM, SIGINT, SIGHUP */
	int lost_fd;		 /* guest memory was cut off; -1: not watched */
};

static int complain(const struct problem *problem, int status)
{
	fprintf(stderr, "viommud: %s\n", problem->text);
	return status;
}

/* ---- --help ---- */

static size_t append(char *buf, size_t room, size_t used, const char *a, const char *b,
		     const char *c)
{
	int n;

	if (used >= room)
		return used;
	n = snprintf(buf + used, room - used, "      %-18s%s%s\n", a, b, c);
	return used + (n > 0 ? (size_t)n : 0);
}

static void print_help(void)
{
	const struct endpoint_option *option;
	char kinds[8192] = "", left[64];
	size_t used = 0;
	unsigned i;

	for (i = 0; endpoint_types[i]; i++) {
		used = append(kinds, sizeof(kinds), used, endpoint_types[i]->name,
			      endpoint_types[i]->summary, "");
		for (option = endpoint_types[i]->options; option->name; option++) {
			snprintf(left, sizeof(left), "  %s=%s", option->name,
				 option->arg);
			used = append(kinds, sizeof(kinds), used, left, " ",
				      option->help);
		}
	}
	printf(settings_help, kinds);
}

/* ---- running ---- */

static bool block_signals(struct program *program, struct problem *problem)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* Before threads exist: they inherit it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	program->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (program->signal_fd < 0)
		return problem_set(problem, "signalfd: %s", strerror(errno));
	return true;
}

static bool open_control(struct program *program, struct problem *problem)
{
	struct control_config config = {.path = program->settings->control,
					.mode = program->settings->socket_mode,
					.execute = commands_execute,
					.events = server_events,
					.gone = server_client_gone,
					.opaque = program->server,
					.log = &program->log};

	if (!config.path)
		return true;
	return control_create(&config, &program->control, problem);
}

static bool set_filter(struct program *program, struct problem *problem)
{
	const struct settings *settings = program->settings;
	unsigned needs = 0;

	for (unsigned i = 0; i < settings->endpoints_nr; i++)
		needs |= kinds_needs(&settings->endpoints[i]);
	return sandbox_filter(program->log.fd, needs, problem);
}

/* What needs rights. */
static bool take(struct program *program, struct problem *problem)
{
	const struct settings *settings = program->settings;

	if (!sandbox_limits(problem) || !block_signals(program, problem) ||
	    !lost_memory_watch(&program->lost_fd, problem) ||
	    !server_create(settings, &program->log, &program->server, problem) ||
	    !server_listen(program->server, problem) || !open_control(program, problem))
		return false;
	server_raise(program->server);
	return true;
}

/* In this order: what needs rights first, then give them up, then serve. */
static bool set_up(struct program *program, struct problem *problem)
{
	const struct settings *settings = program->settings;

	return take(program, problem) &&
	       sandbox_drop_privileges(settings->user, program->server->keep_nice,
				       problem) &&
	       server_start(program->server, problem) &&
	       (!settings->seccomp || set_filter(program, problem));
}

static void say_ready(struct program *program)
{
	int fd = program->settings->ready_fd;
	ssize_t n;

	log_write(&program->log, VIOMMU_LOG_INFO, "ready: %u endpoints, %s",
		  program->server->served_nr, program->settings->socket_dir);
	if (fd < 0)
		return;
	n = write(fd, "ready\n", 6);
	(void)n; /* whoever asked may have gone; the sockets are there */
	close(fd);
}

/* Whether the last VMM has gone and nobody came since. */
static bool vm_has_gone(struct program *program)
{
	uint64_t count;
	ssize_t n = read(program->server->host.gone_fd, &count, sizeof(count));

	return n == sizeof(count) && program->settings->exit_with_vm &&
	       !atomic_load(&program->server->host.clients);
}

/* viommud serves one VM: what its VMM took away is gone for all its devices. */
static void refuse_vmm(struct program *program)
{
	uint64_t count;
	ssize_t n = read(program->lost_fd, &count, sizeof(count));

	if (n != sizeof(count))
		return;
	log_write(&program->log, VIOMMU_LOG_ERROR,
		  "the VMM has cut off memory of the guest that it had shared; its "
		  "connections are ended. --sealed-only refuses such memory");
	server_refuse_all(program->server, "guest memory was cut off");
}

static void serve(struct program *program)
{
	struct pollfd fds[3 + CONTROL_FDS_MAX];
	unsigned nr;
	bool tracing;

	while (!program->server->stopping) {
		fds[0] = (struct pollfd){.fd = program->signal_fd, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = program->server->host.gone_fd,
					 .events = POLLIN};
		fds[2] = (struct pollfd){.fd = program->lost_fd, .events = POLLIN};
		nr = 3;
		if (program->control)
			nr += control_fds(program->control, fds + 3);
		tracing = program->control && traces_any(&program->server->traces);
		if (poll(fds, nr, tracing ? DAEMON_TRACE_TICK_MS : -1) < 0)
			continue;
		if (tracing)
			control_push(program->control);
		if (fds[0].revents)
			break;
		if ((fds[1].revents & POLLIN) && vm_has_gone(program))
			break;
		if (fds[2].revents & POLLIN)
			refuse_vmm(program);
		if (program->control)
			control_serve(program->control, fds + 3, nr - 3);
	}
	log_write(&program->log, VIOMMU_LOG_INFO, "ending");
}

static void clean_up(struct program *program)
{
	control_destroy(program->control);
	server_destroy(program->server);
	if (program->signal_fd >= 0)
		close(program->signal_fd);
	if (program->lost_fd >= 0)
		close(program->lost_fd);
}

/* Opens what would be opened, except sockets. */
static int check(struct program *program)
{
	struct problem problem = {0};

	if (!server_create(program->settings, &program->log, &program->server, &problem))
		return complain(&problem, EXIT_USE);
	printf("viommud: the options are good: %u endpoint%s\n",
	       program->server->served_nr, program->server->served_nr == 1 ? "" : "s");
	clean_up(program);
	return EXIT_OK;
}

static int run(struct program *program)
{
	struct problem problem = {0};
	int status = EXIT_OK;

	/* Its seed comes from a file that will be out of reach. */
	json_object_seed(0);
	log_init(&program->log, STDERR_FILENO, program->settings->log_level);
	if (program->settings->check)
		return check(program);
	if (set_up(program, &problem)) {
		server_open(program->server);
		say_ready(program);
		serve(program);
	} else {
		status = complain(&problem, EXIT_FAILED);
	}
	clean_up(program);
	return status;
}

int main(int argc, char **argv)
{
	struct program program = {.signal_fd = -1, .lost_fd = -1};
	struct problem problem = {0};
	int status = EXIT_OK;

	if (!settings_parse(argc, argv, &program.settings, &problem))
		status = complain(&problem, EXIT_USE);
	else if (program.settings->help)
		print_help();
	else if (program.settings->version)
		printf("viommud %s\n", viommu_version());
	else
		status = run(&program);
	settings_free(program.settings);
	return status;
}
