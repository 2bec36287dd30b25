/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "crowd.h"
#include "log.h"
#include "loop.h"

/* Pieces of work a member may do before the others get their turn. */
#define BUDGET 64
/* Sockets are looked at once in so many rounds, and after each sleep. */
#define ROUNDS_PER_MESSAGES 64
/* Descriptors of one sleep. A member that finds no room is looked after every
 * millisecond instead. */
#define FDS_MAX 256

enum call_state { CALL_QUEUED, CALL_DONE, CALL_ABANDONED };

struct call {
	void (*fn)(void *arg);
	void (*drop)(void *arg);
	void *arg;
	enum call_state state;
	struct call *next;
};

struct loop {
	char name[16];
	pthread_t thread;
	bool running; /* the thread exists; owned by whoever starts and stops */
	int wake_fd;

	/* protects calls, their state, opened and stopping; nothing is called
	 * with it held */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a call's state, or opened */
	struct call *calls;
	bool begun, opened, stopping;

	atomic_bool woken;  /* something besides descriptors wants a round */
	atomic_bool asleep; /* wakers must write wake_fd */

	/* the thread's own */
	struct loop_member *members;
	struct loop_stats stats;
	bool watching;	    /* between two pieces of work, awake */
	bool idled;	    /* the last round had no work */
	unsigned round;	    /* since the sockets were looked at */
	unsigned left;	    /* LOOP_* bits that the sockets' last look left */
	uint64_t turn_ns;   /* when this round's work began */
	uint64_t looked_ns; /* when the last look found nothing; 0: it did */
	struct hurry hurry;
	struct crowd crowd;
};

int loop_create(const char *name, bool automatic, uint32_t poll_us, struct loop **out)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	pthread_condattr_t attr;

	if (!loop)
		return -ENOMEM;
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		free(loop);
		return -errno;
	}
	snprintf(loop->name, sizeof(loop->name), "%s", name);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&loop->changed, &attr);
	pthread_condattr_destroy(&attr);
	policy_init(&loop->stats.policy, automatic, poll_us);
	crowd_open(&loop->crowd, CROWD_LOAD, (unsigned)get_nprocs());
	*out = loop;
	return 0;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	crowd_close(&loop->crowd);
	close(loop->wake_fd);
	pthread_cond_destroy(&loop->changed);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

void loop_add(struct loop *loop, struct loop_member *member)
{
	member->next = loop->members;
	loop->members = member;
}

void loop_remove(struct loop *loop, struct loop_member *member)
{
	struct loop_member **at = &loop->members;

	while (*at && *at != member)
		at = &(*at)->next;
	if (*at)
		*at = member->next;
}

void loop_set_policy(struct loop *loop, bool automatic, uint32_t poll_us)
{
	struct policy *policy = &loop->stats.policy, old = *policy;

	policy_init(policy, automatic, poll_us);
	policy->polls = old.polls;
	policy->found = old.found;
	policy->missed = old.missed;
	policy->sleeps = old.sleeps;
}

void loop_set_hurry(struct loop *loop, const struct hurry *hurry)
{
	loop->hurry = *hurry;
}

void loop_get_stats(const struct loop *loop, struct loop_stats *out)
{
	*out = loop->stats;
}

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t n;

	/* Pairs with go_to_sleep(): either it sees woken, or we see asleep. */
	atomic_store(&loop->woken, true);
	if (!atomic_load(&loop->asleep))
		return;
	/* Fails only when the counter is full: then a wake-up is under way. */
	n = write(loop->wake_fd, &one, sizeof(one));
	(void)n;
}

/* ---- calls from other threads ---- */

static void push_call(struct loop *loop, struct call *call)
{
	struct call **at = &loop->calls;

	while (*at)
		at = &(*at)->next;
	*at = call;
}

static void deadline_in(struct timespec *ts, unsigned ms)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_sec += ms / 1000;
	ts->tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_nsec -= 1000000000;
		ts->tv_sec++;
	}
}

/* Waits for the call, gives it up in time. The lock is held. */
static bool wait_call(struct loop *loop, struct call *call, unsigned timeout_ms)
{
	struct timespec until;
	int r = 0;

	deadline_in(&until, timeout_ms);
	while (call->state == CALL_QUEUED && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&loop->changed, &loop->lock, &until);
	if (call->state == CALL_DONE)
		return true;
	call->state = CALL_ABANDONED;
	return false;
}

bool loop_call(struct loop *loop, void (*fn)(void *arg), void *arg,
	       void (*drop)(void *arg), unsigned timeout_ms)
{
	struct call *call;
	bool done;

	if (!loop->running || pthread_equal(loop->thread, pthread_self())) {
		fn(arg);
		return true;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		drop(arg);
		return false;
	}
	*call = (struct call){.fn = fn, .drop = drop, .arg = arg, .state = CALL_QUEUED};
	pthread_mutex_lock(&loop->lock);
	push_call(loop, call);
	pthread_mutex_unlock(&loop->lock);
	loop_wake(loop);
	pthread_mutex_lock(&loop->lock);
	done = wait_call(loop, call, timeout_ms);
	pthread_mutex_unlock(&loop->lock);
	if (done)
		free(call);
	return done;
}

static struct call *pop_call(struct loop *loop)
{
	struct call *call;

	pthread_mutex_lock(&loop->lock);
	call = loop->calls;
	if (call)
		loop->calls = call->next;
	pthread_mutex_unlock(&loop->lock);
	return call;
}

static void finish_call(struct loop *loop, struct call *call)
{
	bool abandoned;

	pthread_mutex_lock(&loop->lock);
	abandoned = call->state == CALL_ABANDONED;
	call->state = CALL_DONE;
	pthread_cond_broadcast(&loop->changed);
	pthread_mutex_unlock(&loop->lock);
	/* Otherwise it is the caller's from here on. */
	if (abandoned) {
		call->drop(call->arg);
		free(call);
	}
}

static void run_calls(struct loop *loop)
{
	struct call *call;

	while ((call = pop_call(loop)) != NULL) {
		call->fn(call->arg);
		finish_call(loop, call);
	}
}

/* ---- the thread ---- */

static unsigned do_messages(struct loop *loop)
{
	struct loop_member *member, *next;
	unsigned found = 0;

	for (member = loop->members; member; member = next) {
		next = member->next;
		found |= member->ops->messages(member->opaque);
	}
	return found;
}

static unsigned do_work(struct loop *loop)
{
	struct loop_member *member;
	unsigned found = 0;

	for (member = loop->members; member; member = member->next)
		found |= member->ops->work(member->opaque, BUDGET);
	return found;
}

/*
 * Between two looks. No sched_yield(): that gives away the rest of a time slice,
 * and a guest's CPU that spins for our reply keeps the processor for that long.
 * Measured with two virtual CPUs on two cores, 4 KiB I/O, strict: 430 IOPS with
 * it, 5600 to 10000 without.
 */
static void relax(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#elif defined(__aarch64__)
		__asm__ __volatile__("yield");
#endif
	}
}

static bool arm_all(struct loop *loop)
{
	struct loop_member *member;
	bool found = false;

	for (member = loop->members; member; member = member->next)
		found |= member->ops->arm(member->opaque);
	return found;
}

static int earlier(int a, int b)
{
	if (a < 0)
		return b;
	return b < 0 || a < b ? a : b;
}

/* All that ends a sleep; *timeout is the shortest wish. */
static unsigned gather_fds(struct loop *loop, struct pollfd *fds, int *timeout)
{
	struct loop_member *member;
	unsigned nr = 0;

	fds[nr++] = (struct pollfd){.fd = loop->wake_fd, .events = POLLIN};
	for (member = loop->members; member; member = member->next) {
		*timeout = earlier(*timeout, member->ops->timeout_ms(member->opaque));
		if (nr == FDS_MAX) {
			*timeout = earlier(*timeout, 1);
			continue;
		}
		fds[nr++] = (struct pollfd){.fd = member->ops->message_fd(member->opaque),
					    .events = POLLIN};
		nr += member->ops->fds(member->opaque, fds + nr, FDS_MAX - nr);
	}
	return nr;
}

static void go_to_sleep(struct loop *loop, int timeout)
{
	struct pollfd fds[FDS_MAX];
	unsigned nr = gather_fds(loop, fds, &timeout);
	uint64_t count;
	ssize_t n;

	/* Pairs with loop_wake(): a waker that misses asleep has set woken. */
	atomic_store(&loop->asleep, true);
	if (!atomic_load(&loop->woken)) {
		loop->stats.policy.sleeps++;
		poll(fds, nr, timeout);
	}
	atomic_store(&loop->asleep, false);
	hurry_slept(&loop->hurry);
	loop->stats.policy.crowded = crowd_look(&loop->crowd, now_ns());
	if (fds[0].revents & POLLIN) {
		n = read(loop->wake_fd, &count, sizeof(count));
		(void)n;
	}
}

/* Sleeps unless something came up while notification was being asked for. */
static void rest(struct loop *loop, unsigned found)
{
	if (loop->watching)
		policy_miss(&loop->stats.policy);
	loop->watching = false;
	if (arm_all(loop))
		return;
	go_to_sleep(loop, found & LOOP_SOON ? 1 : -1);
	loop->round = 0;
}

/* Nothing to do. Watches while the policy says so; else sleeps. */
static void idle(struct loop *loop, unsigned found, uint64_t now)
{
	struct policy *policy = &loop->stats.policy;

	loop->idled = true;
	/* Not right after work: that has woken others for a moment. */
	if (loop->watching)
		policy->crowded = crowd_look(&loop->crowd, now);
	if (now >= policy_deadline(policy)) {
		rest(loop, found);
		return;
	}
	if (!loop->watching)
		policy->polls++;
	loop->watching = true;
	loop->looked_ns = now;
	relax();
}

static void worked(struct loop *loop, uint64_t began)
{
	uint64_t ended = now_ns();

	if (loop->idled)
		policy_work(&loop->stats.policy, began, ended, loop->watching);
	else
		policy_more(&loop->stats.policy, ended);
	loop->stats.busy_ns += ended - began;
	loop->idled = false;
	loop->watching = false;
}

/* Answers loop_wake(). true: the loop is to end. */
static bool answer_wake(struct loop *loop)
{
	bool stopping;

	/* Pairs with loop_wake(): what was done before it is seen after this. */
	if (!atomic_load(&loop->woken))
		return false;
	atomic_store(&loop->woken, false);
	loop->stats.wakes++;
	run_calls(loop);
	pthread_mutex_lock(&loop->lock);
	stopping = loop->stopping;
	pthread_mutex_unlock(&loop->lock);
	return stopping;
}

static void look_at_sockets(struct loop *loop)
{
	if (loop->round++ % ROUNDS_PER_MESSAGES && !(loop->left & LOOP_MORE))
		return;
	loop->left = do_messages(loop);
}

static void run(struct loop *loop)
{
	unsigned found;
	uint64_t began;

	while (!answer_wake(loop)) {
		loop->stats.turns++;
		look_at_sockets(loop);
		began = now_ns();
		if (loop->looked_ns)
			loop->stats.watched_ns += began - loop->looked_ns;
		loop->looked_ns = 0;
		loop->turn_ns = began;
		found = do_work(loop);
		hurry_look(&loop->hurry, found & LOOP_URGENT, began);
		if (found & LOOP_DONE)
			worked(loop, began);
		else if (!((found | loop->left) & LOOP_MORE))
			idle(loop, found | loop->left, began);
	}
}

static void wait_open(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->begun = true;
	pthread_cond_broadcast(&loop->changed);
	while (!loop->opened)
		pthread_cond_wait(&loop->changed, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
}

/* As the kernel has it; the C library's headers may not. */
struct sched_wish {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

/*
 * Asks for short time slices (Linux 6.12 and newer): work here takes
 * microseconds, so when the CPU is shared we want it often and briefly: then a
 * wake-up preempts sooner.
 */
static void want_short_slices(void)
{
	struct sched_wish wish = {.size = sizeof(wish), .runtime_ns = 100000};

	/* Whoever started us so wants another policy. */
	if (sched_getscheduler(0) != SCHED_OTHER)
		return;
	wish.nice = getpriority(PRIO_PROCESS, 0);
	/* A kernel that cannot refuses, or does nothing. */
	syscall(SYS_sched_setattr, 0, &wish, 0);
}

const char *loop_name(const struct loop *loop)
{
	return loop->name;
}

uint64_t loop_turn_ns(const struct loop *loop)
{
	return loop->turn_ns;
}

static void *thread_main(void *arg)
{
	struct loop *loop = arg;

	want_short_slices();
	wait_open(loop);
	run(loop);
	run_calls(loop);
	return NULL;
}

int loop_start(struct loop *loop)
{
	int r = pthread_create(&loop->thread, NULL, thread_main, loop);

	if (r)
		return -r;
	pthread_setname_np(loop->thread, loop->name);
	loop->running = true;
	/* From now on it makes only the calls that the sandbox allows. */
	pthread_mutex_lock(&loop->lock);
	while (!loop->begun)
		pthread_cond_wait(&loop->changed, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
	return 0;
}

void loop_open(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->opened = true;
	pthread_cond_broadcast(&loop->changed);
	pthread_mutex_unlock(&loop->lock);
}

void loop_stop(struct loop *loop)
{
	if (!loop->running)
		return;
	loop_open(loop);
	pthread_mutex_lock(&loop->lock);
	loop->stopping = true;
	pthread_mutex_unlock(&loop->lock);
	loop_wake(loop);
	pthread_join(loop->thread, NULL);
	loop->running = false;
}
