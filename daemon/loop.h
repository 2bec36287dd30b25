/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A thread that drives PCI functions: it handles their socket messages, lets
 * them work, watches their rings for as long as the policy says, asks for
 * notification and sleeps.
 *
 * Other threads reach what a loop drives only through loop_call(): a function
 * that runs on the loop's thread between two turns.
 */
#ifndef DAEMON_LOOP_H
#define DAEMON_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "hurry.h"
#include "policy.h"

struct loop;

/* Result of a turn, or'ed. */
#define LOOP_DONE   (1u << 0) /* something was done */
#define LOOP_MORE   (1u << 1) /* there is more: come back at once */
#define LOOP_SOON   (1u << 2) /* waits for something: come back in a millisecond */
#define LOOP_URGENT (1u << 3) /* with DONE: a CPU of the guest has waited for it */

/* What a loop drives. All run on its thread. */
struct loop_member_ops {
	/* Messages of the socket, without blocking: LOOP_* bits. */
	unsigned (*messages)(void *opaque);
	/* The descriptor that is readable when there are messages. */
	int (*message_fd)(void *opaque);
	/* One turn of work: LOOP_* bits, 0 if there was nothing. */
	unsigned (*work)(void *opaque, unsigned budget);
	/* Before a sleep: asks to be notified. true: something came up. */
	bool (*arm)(void *opaque);
	/* More descriptors that end a sleep; number written. */
	unsigned (*fds)(void *opaque, struct pollfd *fds, unsigned max);
	int (*timeout_ms)(void *opaque); /* of the sleep; -1: no limit */
};

struct loop_member {
	const struct loop_member_ops *ops;
	void *opaque;
	struct loop_member *next; /* the loop's */
};

struct loop_stats {
	struct policy policy;	      /* window, estimate, polls, found, sleeps */
	uint64_t turns, wakes;	      /* rounds; wake-ups by other threads */
	uint64_t watched_ns, busy_ns; /* spent watching in vain / working */
};

/* name: of the thread, at most 15 bytes. poll: as settings_poll() gives.
 * Result: 0, -ENOMEM, or what eventfd(2) gave. */
int loop_create(const char *name, bool automatic, uint32_t poll_us, struct loop **out);
/* Stopped, members removed. NULL is allowed. */
void loop_destroy(struct loop *loop);

/* The thread goes before others while there is work that is LOOP_URGENT, if hurry_allow()
 * said that it may. Before loop_start(). */
void loop_set_hurry(struct loop *loop, const struct hurry *hurry);

/* Starts the thread, which waits for loop_open(): all it needs to begin is done
 * when this returns. Result: 0, -errno. */
int loop_start(struct loop *loop);
/* Lets the thread begin. */
void loop_open(struct loop *loop);
/* Ends the thread and waits for it. */
void loop_stop(struct loop *loop);

/* On the loop's thread, or while it does not run. */
void loop_add(struct loop *loop, struct loop_member *member);
void loop_remove(struct loop *loop, struct loop_member *member);
void loop_set_policy(struct loop *loop, bool automatic, uint32_t poll_us);
void loop_get_stats(const struct loop *loop, struct loop_stats *out);

/* As given to loop_create(). Any thread. */
const char *loop_name(const struct loop *loop);

/* When this round's work began, as now_ns(). On the loop's thread, from work(). */
uint64_t loop_turn_ns(const struct loop *loop);

/* Ends a sleep that is going on or about to start. Any thread. */
void loop_wake(struct loop *loop);

/*
 * Runs fn(arg) on the loop's thread and waits for it, timeout_ms at most.
 * Directly if the loop does not run. arg must be malloc()ed and is handed back
 * in the end: true: fn has run, arg is the caller's again. false: the thread
 * did not answer; arg now belongs to the loop, which gives it to drop() after
 * running fn.
 */
bool loop_call(struct loop *loop, void (*fn)(void *arg), void *arg,
	       void (*drop)(void *arg), unsigned timeout_ms);

#endif
