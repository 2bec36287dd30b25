/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

static unsigned long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long long)now.tv_sec * 1000 +
	       (unsigned long long)now.tv_nsec / 1000000;
}

static void sleep_ms(unsigned ms)
{
	struct timespec pause = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&pause, NULL);
}

/* ---- starting ---- */

/* In the child. Does not return. */
static void become(const struct spawn *spawn, pid_t parent, int report_fd)
{
	sigset_t none;
	int error;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (spawn->own_group)
		setpgid(0, 0);
	if (spawn->death) {
		prctl(PR_SET_PDEATHSIG, spawn->death);
		if (getppid() != parent)
			_exit(1); /* the parent has died before it could count */
	}
	if (spawn->out_fd >= 0 && (dup2(spawn->out_fd, STDOUT_FILENO) < 0 ||
				   dup2(spawn->out_fd, STDERR_FILENO) < 0))
		goto failed;
	execvp(spawn->argv[0], spawn->argv);
failed:
	error = errno;
	if (write(report_fd, &error, sizeof(error)) < 0)
		_exit(127);
	_exit(127);
}

int process_start(struct process *process, const struct spawn *spawn)
{
	pid_t parent = getpid(), pid;
	int report[2], error = 0;
	ssize_t n;

	if (pipe2(report, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid == 0)
		become(spawn, parent, report[1]);
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		return -errno;
	}
	/* Ends without a word when the program has taken over. */
	n = read(report[0], &error, sizeof(error));
	close(report[0]);
	if (n == sizeof(error)) {
		waitpid(pid, NULL, 0);
		return -error;
	}
	process->pid = pid;
	process->status = 0;
	return 0;
}

/* ---- ending ---- */

bool process_ended(struct process *process)
{
	if (!process->pid)
		return true;
	if (waitpid(process->pid, &process->status, WNOHANG) != process->pid)
		return false;
	process->pid = 0;
	return true;
}

bool process_wait(struct process *process, unsigned ms)
{
	unsigned long long end = now_ms() + ms;

	while (!process_ended(process)) {
		if (now_ms() >= end)
			return false;
		sleep_ms(5);
	}
	return true;
}

void process_stop(struct process *process, unsigned ms)
{
	if (process_ended(process))
		return;
	kill(process->pid, SIGTERM);
	if (process_wait(process, ms))
		return;
	kill(process->pid, SIGKILL);
	while (!process_wait(process, 1000))
		;
}

/* ---- what others left behind ---- */

void process_adopt_orphans(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void process_kill_orphans(void)
{
	char path[64], *at, text[4096];
	unsigned tries;
	size_t len;
	FILE *file;
	long pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	/* A killed process leaves its own children to us: look again. */
	for (tries = 0; tries < 100; tries++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		file = fopen(path, "re");
		if (!file)
			return;
		len = fread(text, 1, sizeof(text) - 1, file);
		fclose(file);
		text[len] = 0;
		if (!len)
			return;
		for (at = text; (pid = strtol(at, &at, 10)) > 0;)
			kill((pid_t)pid, SIGKILL);
		sleep_ms(10);
	}
}

/* ---- reading ---- */

static void read_until(int fd, char *buf, unsigned room, unsigned long long end)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	unsigned len = 0;
	char spare[512];
	ssize_t n;

	buf[0] = 0;
	while (now_ms() < end) {
		if (poll(&wait, 1, (int)(end - now_ms())) <= 0)
			continue;
		if (len + 1 < room)
			n = read(fd, buf + len, room - len - 1);
		else
			n = read(fd, spare, sizeof(spare));
		if (n <= 0)
			return;
		if (len + 1 < room)
			len += (unsigned)n;
		buf[len] = 0;
	}
}

int process_output(char *const *argv, char *buf, unsigned room, unsigned ms)
{
	unsigned long long end = now_ms() + ms;
	struct spawn spawn = {.argv = argv, .death = SIGKILL};
	struct process process = {0};
	int fds[2], r;

	buf[0] = 0;
	if (pipe2(fds, O_CLOEXEC))
		return -1;
	spawn.out_fd = fds[1];
	r = process_start(&process, &spawn);
	close(fds[1]);
	if (!r)
		read_until(fds[0], buf, room, end);
	close(fds[0]);
	if (r)
		return -1;
	if (!process_wait(&process, 1000)) {
		process_stop(&process, 0);
		return -1;
	}
	return WIFEXITED(process.status) ? WEXITSTATUS(process.status) : -1;
}
