/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * How long to watch the rings after work before asking to be notified. Pure:
 * the caller brings the time, so that tests use a clock of their own.
 *
 * A notification costs the guest an exit and a socket message, and us a sleep
 * and a wake-up; together tens of microseconds, which a guest that waits for
 * the reply spends spinning. Watching costs CPU time, which may be the guest's.
 * So: watch for about as long as the next request usually takes to come, if
 * that is short; not at all if it is long, or if too many are long.
 *
 *   gap     time from the end of one busy period to the start of the next, with
 *           its mean deviation, exponentially weighted, however the next one
 *           was found out about; but one that was watched through and is short
 *           lies within an I/O: Linux puts its requests into the ring one by one
 *   window  a bit more than gap + 4 deviations, at most max; zero if the gap is
 *           above twice the max
 *
 * Where that CPU time is the guest's for sure, because other threads would keep all CPUs
 * busy, watching costs what a kick costs after some 200 us: a longer gap is not worth it.
 */
#ifndef DAEMON_POLICY_H
#define DAEMON_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* The bit more, besides a quarter of the gap: what a wake-up varies by. */
#define POLICY_MIN_NS 10000u

/* Short. */
#define POLICY_GAP_MIN_NS 30000u

/* Where it is crowded: the longest mean gap that is watched for, and the longest window.
 */
#define POLICY_CROWDED_GAP_NS 200000u
#define POLICY_CROWDED_MAX_NS 250000u

struct policy {
	bool automatic;	   /* else: the window is always max_ns */
	bool crowded;	   /* watching takes a CPU from somebody (daemon/crowd.h) */
	uint64_t max_ns;   /* 0: never watch */
	uint64_t gap_ns;   /* the estimate */
	uint64_t dev_ns;   /* mean distance of a gap from it */
	uint64_t ended_ns; /* when work ended last; 0: never */
	/* Counters for stat: windows, those in which work came and not, sleeps. */
	uint64_t polls, found, missed, sleeps;
};

void policy_init(struct policy *policy, bool automatic, uint64_t max_us);

/* A busy period from began to ended followed an idle one. watching: it was seen
 * while watching, not told by a notification. */
void policy_work(struct policy *policy, uint64_t began, uint64_t ended, bool watching);

/* The busy period goes on. */
void policy_more(struct policy *policy, uint64_t ended);

/* Until when to watch, given that work ended as last told; 0: do not. */
uint64_t policy_deadline(const struct policy *policy);

/* The window went by and nothing came. The next work tells by how much. */
void policy_miss(struct policy *policy);

/* The window the next work would open, in ns. For stat. */
uint64_t policy_window(const struct policy *policy);

#endif
