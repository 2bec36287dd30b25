/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the sandbox forbids, tried by children. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cap-ng.h>

#include "sandbox.h"
#include "sched_kit.h"
#include "test.h"

/* Runs try() in a child behind the filter; its wait status. What the child says
 * on its log comes to `said`. */
static unsigned needs;

static int behind_filter(int (*try)(void), char *said, size_t room)
{
	struct problem problem;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		if (!sandbox_filter(fds[1], needs, &problem))
			_exit(99);
		/* _exit() may be more than one call under a sanitizer. */
		syscall(SYS_exit_group, try());
	}
	close(fds[1]);
	n = read(fds[0], said, room - 1);
	said[n > 0 ? n : 0] = 0;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void dies(int (*try)(void))
{
	char said[256];
	int status = behind_filter(try, said, sizeof(said));

	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		fail_msg("status %#x, said: %s", status, said);
	assert_non_null(strstr(said, "system call "));
	assert_non_null(strstr(said, "--no-seccomp"));
}

static void lives(int (*try)(void))
{
	char said[256];
	int status = behind_filter(try, said, sizeof(said));

	assert_string_equal(said, "");
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int set_policy(pid_t pid, int policy, int priority)
{
	struct sched_param param = {.sched_priority = priority};

	return sched_setscheduler(pid, policy, &param);
}

static int try_others_policy(void)
{
	return set_policy(1, SCHED_OTHER, 0);
}

static int try_fifo(void)
{
	return set_policy(0, SCHED_FIFO, 1);
}

static int try_own_policy(void)
{
	return set_policy(0, SCHED_OTHER, 0);
}

static int try_nice(void)
{
	return setpriority(PRIO_PROCESS, 0, 0);
}

static int try_schedule(void)
{
	uint32_t attr[12] = {sizeof(attr)};

	return (int)syscall(SYS_sched_setattr, 1, attr, 0);
}

static int try_execve(void)
{
	char *argv[] = {"/bin/true", NULL};

	return (int)syscall(SYS_execve, argv[0], argv, NULL);
}

static int no_internet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) != -1 || errno != EACCES ||
	       socket(AF_INET6, SOCK_DGRAM, 0) != -1 || errno != EACCES;
}

static int use_internet(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), n;

	return fd < 0 || ioctl(fd, FIONREAD, &n) || socket(AF_INET6, SOCK_DGRAM, 0) < 0;
}

static int try_raw(void)
{
	return socket(AF_INET, SOCK_RAW, 1);
}

static int try_packet(void)
{
	return socket(AF_PACKET, SOCK_DGRAM, 0);
}

static int try_tap(void)
{
	return ioctl(0, 0x400454d0, 0) != -1;
}

static int try_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED;
}

static int try_ptrace(void)
{
	return (int)syscall(SYS_ptrace, 0, 0, 0, 0);
}

static int try_fork(void)
{
	return (int)syscall(SYS_fork);
}

static int try_handler(void)
{
	struct sigaction action = {.sa_handler = SIG_IGN};

	return (int)syscall(SYS_rt_sigaction, SIGSYS, &action, NULL, 8);
}

static int try_setuid(void)
{
	return (int)syscall(SYS_setuid, 0);
}

static int try_ioctl(void)
{
	return (int)syscall(SYS_ioctl, 0, 0x5413, 0); /* TIOCGWINSZ */
}

static void forbidden(void **state)
{
	(void)state;
	dies(try_execve);
	dies(try_others_policy);
	dies(try_fifo);
	dies(try_nice);
	dies(try_schedule);
	dies(try_packet);
	dies(try_tap);
	dies(try_code);
	dies(try_ptrace);
	dies(try_fork);
	dies(try_handler);
	dies(try_setuid);
	dies(try_ioctl);
}

static int open_file(void)
{
	return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY) != -1 ||
	       errno != EACCES;
}

static int use_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	return p == MAP_FAILED || munmap(p, 4096);
}

static int use_sockets(void)
{
	int pair[2] = {socket(AF_UNIX, SOCK_STREAM, 0), -1};

	return pair[0] < 0 || close(pair[0]);
}

static void allowed(void **state)
{
	(void)state;
	lives(try_own_policy);
	lives(open_file);
	lives(use_memory);
	lives(use_sockets);
	lives(no_internet);
}

/* What some endpoints need, and no more. */
static void on_demand(void **state)
{
	(void)state;
	needs = SANDBOX_INTERNET;
	lives(use_internet);
	lives(open_file);
	dies(try_raw);
	dies(try_packet);
	dies(try_tap);
	needs = SANDBOX_TAP;
	lives(try_tap);
	lives(no_internet);
	needs = 0;
}

/* The filter holds in threads that were there before it. */
static int thread_pipe[2];

static void *wait_and_try(void *arg)
{
	char c;

	(void)arg;
	if (read(thread_pipe[0], &c, 1) == 1)
		try_ptrace();
	return NULL;
}

static void all_threads(void **state)
{
	struct problem problem;
	pthread_t thread;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(thread_pipe), 0);
	pid = fork();
	if (!pid) {
		int null = open("/dev/null", O_WRONLY);

		pthread_create(&thread, NULL, wait_and_try, NULL);
		if (!sandbox_filter(null, 0, &problem) ||
		    write(thread_pipe[1], "x", 1) != 1)
			_exit(99);
		for (;;)
			sleep(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	close(thread_pipe[0]);
	close(thread_pipe[1]);
}

/* ---- privileges ---- */

static int drop_to_nobody(void)
{
	struct problem problem;

	if (!sandbox_drop_privileges("nobody", false, &problem))
		return 1;
	if (!getuid() || !geteuid() || !getgid() || !getegid())
		return 2;
	capng_get_caps_process();
	if (capng_have_capabilities(CAPNG_SELECT_BOTH) != CAPNG_NONE)
		return 3;
	return setuid(0) ? 0 : 4;
}

static int drop_in_place(void)
{
	struct problem problem;

	if (!sandbox_drop_privileges(NULL, false, &problem))
		return 1;
	capng_get_caps_process();
	return capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE ? 2 : 0;
}

/* One capability is left, for this thread's own scheduling, and goes when told to. */
static int keep_nice(void)
{
	struct problem problem;

	if (!sandbox_drop_privileges("nobody", true, &problem))
		return 1;
	if (!getuid())
		return 2;
	capng_get_caps_process();
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_NICE) ||
	    capng_have_capability(CAPNG_PERMITTED, CAP_SETUID) || !setuid(0))
		return 3;
	if (set_policy(0, SCHED_RR, 1) || set_policy(0, SCHED_OTHER, 0))
		return 4;
	if (!sandbox_drop_nice(&problem))
		return 5;
	capng_get_caps_process();
	if (capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return 6;
	return set_policy(0, SCHED_RR, 1) ? 0 : 7;
}

static int limits(void)
{
	struct problem problem;
	struct rlimit limit;

	if (!sandbox_limits(&problem) || getrlimit(RLIMIT_CORE, &limit))
		return 1;
	return limit.rlim_cur || limit.rlim_max;
}

static int in_child(int (*try)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(try());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void privileges(void **state)
{
	struct problem problem;

	(void)state;
	assert_int_equal(in_child(drop_in_place), 0);
	assert_int_equal(in_child(limits), 0);
	assert_false(sandbox_drop_privileges("no-such-user-here", false, &problem));
	assert_non_null(strstr(problem.text, "--user no-such-user-here"));
	if (geteuid()) {
		assert_false(sandbox_drop_privileges("root", false, &problem));
		assert_non_null(strstr(problem.text, "only root"));
		return;
	}
	assert_int_equal(in_child(drop_to_nobody), 0);
	capng_get_caps_process();
	if (capng_have_capability(CAPNG_PERMITTED, CAP_SYS_NICE) &&
	    first_policy() == SCHED_RR)
		assert_int_equal(in_child(keep_nice), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forbidden),  cmocka_unit_test(allowed),
		cmocka_unit_test(on_demand),  cmocka_unit_test(all_threads),
		cmocka_unit_test(privileges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
