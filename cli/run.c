/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "commands.h"
#include "find.h"
#include "folder.h"
#include "process.h"
#include "run.h"
#include "viot.h"

/* How long helpers may take. */
#define READY_MS   20000
#define QUIT_MS	   3000u
#define VIOMMUD_MS 5000u

struct run {
	struct run_options options;
	struct run_plan plan;
	char qemu_path[512], viommud_path[640];
	int lock_fd; /* of the private folder; -1: it is not made */
	struct process viommud, qemu;
	int log_fd;    /* viommud's messages; -1: here */
	int signal_fd; /* SIGINT, SIGTERM, SIGHUP, SIGCHLD */
	struct termios terminal;
	bool terminal_saved;
};

/* ---- the private folder ---- */

static bool make_dir(struct run *run)
{
	struct run_plan *plan = &run->plan;
	int n = snprintf(plan->dir, sizeof(plan->dir), "%s/viommu-%s-XXXXXX",
			 client_runtime_base(), run->options.name);

	/* A socket's path has 107 bytes; ours add up to 24. */
	if (n < 0 || (size_t)n >= sizeof(plan->dir))
		return args_refuse("run",
				   "XDG_RUNTIME_DIR is too long for sockets in it; "
				   "unset it");
	folder_clean(client_runtime_base());
	run->lock_fd = folder_create(plan->dir);
	return run->lock_fd >= 0 ||
	       args_refuse("run", "%s: %s", plan->dir, strerror(-run->lock_fd));
}

static bool write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t n;

	if (fd < 0)
		return args_refuse("run", "%s: %s", path, strerror(errno));
	n = write(fd, data, len);
	close(fd);
	return n == (ssize_t)len || args_refuse("run", "%s: %s", path, strerror(errno));
}

static bool write_viot(struct run *run)
{
	uint8_t table[VIOT_LEN_MAX];
	unsigned len = run_plan_viot(&run->plan, table);
	char path[128];

	snprintf(path, sizeof(path), "%s/viot.bin", run->plan.dir);
	return run->options.no_iommu || write_file(path, table, len);
}

static bool append_file(int out, const char *path)
{
	char buf[65536];
	int in = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (in >= 0)
		while ((n = read(in, buf, sizeof(buf))) > 0)
			if (write(out, buf, (size_t)n) != n) {
				n = -1;
				break;
			}
	if (n < 0)
		args_refuse("run", "--initrd %s: %s", path, strerror(errno));
	if (in >= 0)
		close(in);
	return n == 0;
}

/* The kernel takes several archives in one file, each at a multiple of 4. */
static bool join_initrds(struct run *run)
{
	const struct arg_list *list = &run->options.initrds;
	char *path;
	bool ok = true;
	unsigned i;
	int fd;

	if (asprintf(&path, "%s/initrd", run->plan.dir) < 0)
		return args_refuse("run", "out of memory");
	run->plan.initrd = path;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return args_refuse("run", "%s: %s", path, strerror(errno));
	for (i = 0; ok && i < list->nr; i++) {
		ok = append_file(fd, list->item[i]);
		if (ok && ftruncate(fd, (lseek(fd, 0, SEEK_END) + 3) & ~3l))
			ok = args_refuse("run", "%s: %s", path, strerror(errno));
		lseek(fd, 0, SEEK_END);
	}
	close(fd);
	return ok;
}

static bool plan_initrd(struct run *run)
{
	const struct arg_list *list = &run->options.initrds;

	if (list->nr > 1 && !run->options.dry_run)
		return join_initrds(run);
	if (list->nr)
		run->plan.initrd = strdup(list->item[0]);
	return true;
}

/* ---- viommud ---- */

/* The end of its log, which says why it did not start. */
static void show_log(struct run *run)
{
	char text[2048];
	off_t end;
	ssize_t n;

	if (run->log_fd < 0)
		return;
	end = lseek(run->log_fd, 0, SEEK_END);
	n = pread(run->log_fd, text, sizeof(text) - 1,
		  end > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : 0);
	if (n <= 0)
		return;
	text[n] = 0;
	fprintf(stderr, "%s%s", text, text[n - 1] == '\n' ? "" : "\n");
}

static bool open_log(struct run *run)
{
	char path[128];

	run->log_fd = -1;
	if (run->options.verbose)
		return true;
	snprintf(path, sizeof(path), "%s/viommud.log", run->plan.dir);
	run->log_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	return run->log_fd >= 0 || args_refuse("run", "%s: %s", path, strerror(errno));
}

/* Waits for "ready"; false: it has ended or takes too long. */
static bool wait_ready(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char text[8];

	return poll(&wait, 1, READY_MS) == 1 && read(fd, text, sizeof(text)) > 0;
}

static void explain_end(const struct process *process, const char *name)
{
	if (WIFSIGNALED(process->status))
		args_refuse(
			"run", "%s was killed by signal %d (%s)%s", name,
			WTERMSIG(process->status), strsignal(WTERMSIG(process->status)),
			WTERMSIG(process->status) == SIGSYS
				? ": its system call filter; see the kernel's log, or "
				  "--no-seccomp"
				: "");
	else
		args_refuse("run", "%s ended with status %d", name,
			    WEXITSTATUS(process->status));
}

static bool start_viommud(struct run *run)
{
	struct spawn spawn = {.argv = run->plan.viommud_argv.word,
			      .own_group = true,
			      .out_fd = run->log_fd,
			      .death = SIGTERM};
	int r = process_start(&run->viommud, &spawn);

	if (r)
		return args_refuse("run", "%s: %s", run->plan.viommud, strerror(-r));
	return true;
}

/* ready: the pipe it writes to; closed here. */
static bool bring_up_viommud(struct run *run, int ready[2])
{
	bool ok = open_log(run) && start_viommud(run);

	close(ready[1]);
	if (ok && !wait_ready(ready[0])) {
		show_log(run);
		if (process_wait(&run->viommud, 1000))
			explain_end(&run->viommud, "viommud");
		else
			args_refuse("run", "viommud is not ready after %d s",
				    READY_MS / 1000);
		ok = false;
	}
	close(ready[0]);
	return ok;
}

/* ---- QEMU and the wait ---- */

static void save_terminal(struct run *run)
{
	run->terminal_saved = !tcgetattr(STDIN_FILENO, &run->terminal);
}

/* QEMU sets it raw, and does not set it back when it is killed. */
static void restore_terminal(struct run *run)
{
	if (run->terminal_saved)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &run->terminal);
}

static bool start_qemu(struct run *run)
{
	struct spawn spawn = {
		.argv = run->plan.qemu_argv.word, .out_fd = -1, .death = SIGKILL};
	int r;

	save_terminal(run);
	r = process_start(&run->qemu, &spawn);
	return !r || args_refuse("run", "--qemu %s: %s", run->plan.qemu, strerror(-r));
}

static bool watch_signals(struct run *run)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return run->signal_fd >= 0 || args_refuse("run", "signalfd: %s", strerror(errno));
}

/* A signal that asks us to end; 0: none (children may have ended). */
static int next_signal(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signal_fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			return (int)info.ssi_signo;
	return 0;
}

static int qemu_status(struct run *run)
{
	if (WIFEXITED(run->qemu.status) && !WEXITSTATUS(run->qemu.status))
		return STATUS_OK;
	explain_end(&run->qemu, "QEMU");
	return STATUS_FAILED;
}

/* Milliseconds left of --timeout; -1: no limit. */
static int time_left(const struct run *run, const struct timespec *start)
{
	struct timespec now;
	long long left;

	if (!run->options.timeout)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	left = atoll(run->options.timeout) * 1000ll -
	       (now.tv_sec - start->tv_sec) * 1000ll -
	       (now.tv_nsec - start->tv_nsec) / 1000000;
	if (left <= 0)
		return 0;
	return left > 1000000 ? 1000000 : (int)left;
}

static int wait_guest(struct run *run)
{
	struct pollfd wait = {.fd = run->signal_fd, .events = POLLIN};
	struct timespec start;
	int left, got;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		if (process_ended(&run->qemu))
			return qemu_status(run);
		if (process_ended(&run->viommud)) {
			show_log(run);
			explain_end(&run->viommud, "viommud");
			return STATUS_FAILED;
		}
		left = time_left(run, &start);
		if (!left) {
			args_refuse("run", "--timeout %s: the guest is still running",
				    run->options.timeout);
			return STATUS_FAILED;
		}
		poll(&wait, 1, left);
		got = next_signal(run);
		if (got) {
			args_refuse("run", "stopped by signal %d (%s)", got,
				    strsignal(got));
			return STATUS_FAILED;
		}
	}
}

/* ---- all of it ---- */

static int start_all(struct run *run)
{
	int ready[2];

	if (!make_dir(run) || !plan_initrd(run) || !write_viot(run))
		return STATUS_FAILED;
	if (pipe(ready) || fcntl(ready[0], F_SETFD, FD_CLOEXEC))
		return STATUS_FAILED;
	if (!run_plan_commands(&run->plan, &run->options, ready[1])) {
		close(ready[0]);
		close(ready[1]);
		return STATUS_USE;
	}
	if (!bring_up_viommud(run, ready) || !start_qemu(run))
		return STATUS_FAILED;
	return STATUS_OK;
}

static void clean_up(struct run *run)
{
	process_stop(&run->qemu, QUIT_MS);
	process_stop(&run->viommud, VIOMMUD_MS);
	process_kill_orphans();
	restore_terminal(run);
	if (run->lock_fd >= 0) {
		folder_remove(run->plan.dir);
		close(run->lock_fd);
	}
	if (run->log_fd >= 0)
		close(run->log_fd);
	if (run->signal_fd >= 0)
		close(run->signal_fd);
}

static void print_words(const struct words *words)
{
	unsigned i;
	const char *p;

	for (i = 0; i < words->nr; i++) {
		fputs(i ? " " : "", stdout);
		if (words->word[i][0] &&
		    !strpbrk(words->word[i], " \t\"'{}$&;|<>*?()\\`")) {
			fputs(words->word[i], stdout);
			continue;
		}
		putchar('\'');
		for (p = words->word[i]; *p; p++)
			*p == '\'' ? fputs("'\\''", stdout) : putchar(*p);
		putchar('\'');
	}
	putchar('\n');
}

static int dry_run(struct run *run)
{
	snprintf(run->plan.dir, sizeof(run->plan.dir), "DIR");
	if (!plan_initrd(run) || !run_plan_commands(&run->plan, &run->options, -1))
		return STATUS_USE;
	print_words(&run->plan.viommud_argv);
	print_words(&run->plan.qemu_argv);
	return STATUS_OK;
}

static int run_all(struct run *run)
{
	int status;

	if (!watch_signals(run))
		return STATUS_FAILED;
	process_adopt_orphans();
	status = start_all(run);
	if (status == STATUS_OK)
		status = wait_guest(run);
	clean_up(run);
	return status;
}

int command_run(int argc, char **argv)
{
	struct run run = {.lock_fd = -1, .log_fd = -1, .signal_fd = -1};
	int status = run_options_parse(argc, argv, &run.options);

	if (status)
		return status;
	if (run.options.help) {
		fputs(run_help, stdout);
		return STATUS_OK;
	}
	if (!run_plan_devices(&run.plan, &run.options))
		return STATUS_USE;
	if (!find_viommud(run.options.viommud, run.viommud_path,
			  sizeof(run.viommud_path)) ||
	    !find_qemu(run.options.qemu, run.qemu_path, sizeof(run.qemu_path)))
		return STATUS_MISSING;
	run.plan.qemu = run.qemu_path;
	run.plan.viommud = run.viommud_path;
	run.plan.accel = find_accel(run.options.accel);
	status = run.options.dry_run ? dry_run(&run) : run_all(&run);
	run_plan_free(&run.plan);
	return status;
}
