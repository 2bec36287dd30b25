/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"
#include "sandbox_extra.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

bool sandbox_limits(struct problem *problem)
{
	struct rlimit none = {0, 0};

	umask(0077);
	if (setrlimit(RLIMIT_CORE, &none))
		return problem_set(problem, "RLIMIT_CORE: %s", strerror(errno));
	return true;
}

/* ---- privileges ---- */

/* In the calling thread. */
static bool drop_capabilities(bool keep_nice, struct problem *problem)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if ((keep_nice &&
	     capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_NICE)) ||
	    capng_apply(CAPNG_SELECT_CAPS))
		return problem_set(problem, "capabilities cannot be dropped");
	return true;
}

static bool become(const char *user, struct problem *problem)
{
	const struct passwd *entry;

	errno = 0;
	entry = getpwnam(user);
	if (!entry)
		return problem_set(problem,
				   "--user %s: there is no such user; name one, or leave "
				   "--user out to stay who you are",
				   user);
	if (geteuid() == entry->pw_uid && geteuid())
		return true;
	if (geteuid())
		return problem_set(problem,
				   "--user %s: only root can become another user; start "
				   "viommud as root, or leave --user out",
				   user);
	if (setgroups(0, NULL) ||
	    setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) ||
	    setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid))
		return problem_set(problem, "--user %s: %s", user, strerror(errno));
	return true;
}

bool sandbox_drop_privileges(const char *user, bool keep_nice, struct problem *problem)
{
	/* What no program we might start could get back. Needs CAP_SETPCAP, so it
	 * comes first; who lacks that can start nothing with capabilities. */
	capng_clear(CAPNG_SELECT_BOTH);
	capng_apply(CAPNG_SELECT_BOUNDS);
	prctl(PR_SET_KEEPCAPS, keep_nice, 0, 0, 0);
	if (user && !become(user, problem))
		return false;
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	if (!drop_capabilities(keep_nice, problem))
		return false;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return problem_set(problem, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
	return true;
}

bool sandbox_drop_nice(struct problem *problem)
{
	return drop_capabilities(false, problem);
}

/* ---- system calls ---- */

/* Memory, threads and time; the C library's own needs. */
static const int basic_calls[] = {
	SCMP_SYS(brk),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(futex),
	SCMP_SYS(getpid),
	SCMP_SYS(getrandom),
	SCMP_SYS(gettid),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(madvise),
	SCMP_SYS(membarrier),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(nanosleep),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sched_yield),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(sigaltstack),
};

/* Sockets, files that are open already, and waiting. */
static const int io_calls[] = {
	SCMP_SYS(accept4),	  SCMP_SYS(bind),	    SCMP_SYS(chmod),
	SCMP_SYS(close),	  SCMP_SYS(connect),	    SCMP_SYS(dup),
	SCMP_SYS(epoll_create1),  SCMP_SYS(epoll_ctl),	    SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_wait),	  SCMP_SYS(eventfd2),	    SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),	  SCMP_SYS(access),	    SCMP_SYS(fallocate),
	SCMP_SYS(fdatasync),	  SCMP_SYS(flock),	    SCMP_SYS(fstat),
	SCMP_SYS(fsync),	  SCMP_SYS(ftruncate),	    SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),	  SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
	SCMP_SYS(io_uring_setup), SCMP_SYS(listen),	    SCMP_SYS(lseek),
	SCMP_SYS(newfstatat),	  SCMP_SYS(poll),	    SCMP_SYS(ppoll),
	SCMP_SYS(pread64),	  SCMP_SYS(preadv),	    SCMP_SYS(preadv2),
	SCMP_SYS(pwrite64),	  SCMP_SYS(pwritev),	    SCMP_SYS(pwritev2),
	SCMP_SYS(read),		  SCMP_SYS(readv),	    SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),	  SCMP_SYS(sendmsg),	    SCMP_SYS(sendto),
	SCMP_SYS(setsockopt),	  SCMP_SYS(shutdown),	    SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),	  SCMP_SYS(write),	    SCMP_SYS(writev),
};

/* What a library may try and can live without. */
static const int refused_calls[] = {
	SCMP_SYS(open),	    SCMP_SYS(openat),	  SCMP_SYS(openat2),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(statx),
};

/* Of user-mode networking, sockets apart. */
static const int internet_calls[] = {
	SCMP_SYS(accept),
	SCMP_SYS(getpeername),
};
#define FIONREAD_IOCTL 0x541b

/* Of a TAP device: what the guest takes, and how many queues it uses. */
static const uint32_t tap_ioctls[] = {
	0x400454d0, /* TUNSETOFFLOAD */
	0x400454d9, /* TUNSETQUEUE */
};

/* ioctl: sizes of block devices, and discard. */
static const uint32_t ioctls[] = {
	0x80081272, /* BLKGETSIZE64 */
	0x1268,	    /* BLKSSZGET */
	0x127b,	    /* BLKPBSZGET */
	0x1277,	    /* BLKDISCARD */
	0x127f,	    /* BLKZEROOUT */
};

static const int fcntls[] = {
	1,    /* F_GETFD */
	2,    /* F_SETFD */
	3,    /* F_GETFL */
	4,    /* F_SETFL */
	1030, /* F_DUPFD_CLOEXEC */
	1034, /* F_GET_SEALS */
};

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, unsigned nr)
{
	unsigned i;
	int r = 0;

	for (i = 0; !r && i < nr; i++)
		r = seccomp_rule_add(filter, action, calls[i], 0);
	return r;
}

/* What a thread may change its scheduling to; see daemon/hurry.h. */
static const int policies[] = {SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_RR};

/* Calls that are fine with some arguments only. */
static int add_checked(scmp_filter_ctx filter)
{
	unsigned i;
	int r;

	/* Memory, but never code. */
	r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!r)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!r)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
	for (i = 0; !r && i < ARRAY_LEN(policies); i++) /* the calling thread's own */
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sched_setscheduler),
				     2, SCMP_A0(SCMP_CMP_EQ, 0, 0),
				     SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)policies[i], 0));
	for (i = 0; !r && i < ARRAY_LEN(fcntls); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
				     SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)fcntls[i], 0));
	return r;
}

static int add_ioctls(scmp_filter_ctx filter, const uint32_t *list, unsigned nr)
{
	int r = 0;

	for (unsigned i = 0; !r && i < nr; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, list[i]));
	return r;
}

/* Streams and datagrams, or a refusal that a library can live with. */
static int add_family(scmp_filter_ctx filter, int family, bool allowed)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	int r = 0;

	if (!allowed)
		return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket),
					1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family, 0));
	for (unsigned i = 0; !r && i < ARRAY_LEN(types); i++)
		r = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family, 0),
			SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, (scmp_datum_t)types[i]));
	return r;
}

static int add_network(scmp_filter_ctx filter, unsigned needs)
{
	static const uint32_t fionread = FIONREAD_IOCTL;
	bool internet = needs & SANDBOX_INTERNET;
	int r = add_family(filter, AF_INET, internet);

	if (!r)
		r = add_family(filter, AF_INET6, internet);
	if (!r && internet)
		r = add_all(filter, SCMP_ACT_ALLOW, internet_calls,
			    ARRAY_LEN(internet_calls));
	if (!r && internet)
		r = add_ioctls(filter, &fionread, 1);
	if (!r && (needs & SANDBOX_TAP))
		r = add_ioctls(filter, tap_ioctls, ARRAY_LEN(tap_ioctls));
	return r;
}

static int add_rules(scmp_filter_ctx filter, unsigned needs)
{
	int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	if (!r)
		r = add_all(filter, SCMP_ACT_ALLOW, basic_calls, ARRAY_LEN(basic_calls));
	if (!r)
		r = add_all(filter, SCMP_ACT_ALLOW, io_calls, ARRAY_LEN(io_calls));
	if (!r)
		r = add_all(filter, SCMP_ACT_ALLOW, sandbox_extra_calls,
			    sandbox_extra_calls_nr);
	if (!r)
		r = add_all(filter, SCMP_ACT_ERRNO(EACCES), refused_calls,
			    ARRAY_LEN(refused_calls));
	if (!r)
		r = add_checked(filter);
	if (!r)
		r = add_ioctls(filter, ioctls, ARRAY_LEN(ioctls));
	return r ? r : add_network(filter, needs);
}

/* Appends a number in decimal; no library call is safe in a signal handler. */
static char *put_number(char *at, unsigned v)
{
	char digits[12];
	unsigned nr = 0;

	do {
		digits[nr++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (nr)
		*at++ = digits[--nr];
	return at;
}

static char *put_text(char *at, const char *text)
{
	size_t len = strlen(text);

	memcpy(at, text, len);
	return at + len;
}

/* Where the handler writes; set once, before the filter is on. */
static int handler_fd = 2;

/*
 * The filter's signal cannot be blocked, and its handler cannot be replaced, as
 * rt_sigaction is not on the list. The handler is for one time: a second
 * forbidden call ends the process by the signal's default.
 */
static void on_forbidden(int signal_nr, siginfo_t *info, void *context)
{
	char line[200], *at = line;
	ssize_t n;

	(void)signal_nr;
	(void)context;
	at = put_text(at, "viommud error: system call ");
	at = put_number(at, (unsigned)info->si_syscall);
	at = put_text(at, " is not on the list of the system call filter; ending. If "
			  "nobody attacks, report it; --no-seccomp goes without.\n");
	n = write(handler_fd, line, (size_t)(at - line));
	(void)n;
	syscall(SYS_getppid); /* not on the list either, whatever its arguments */
	_exit(1);
}

static bool set_handler(int log_fd, struct problem *problem)
{
	struct sigaction action = {.sa_sigaction = on_forbidden,
				   .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER};

	handler_fd = log_fd;
	if (sigaction(SIGSYS, &action, NULL))
		return problem_set(problem, "SIGSYS: %s", strerror(errno));
	return true;
}

bool sandbox_filter(int log_fd, unsigned needs, struct problem *problem)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int r;

	if (!filter)
		return problem_set(problem, "the system call filter cannot be made");
	if (!set_handler(log_fd, problem)) {
		seccomp_release(filter);
		return false;
	}
	sandbox_extra_prepare();
	r = add_rules(filter, needs);
	if (!r)
		r = seccomp_load(filter);
	seccomp_release(filter);
	if (r)
		return problem_set(problem,
				   "the system call filter cannot be switched on: %s; "
				   "--no-seccomp goes without it",
				   strerror(-r));
	return true;
}
