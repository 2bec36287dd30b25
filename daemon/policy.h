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
 *           was found out about
 *   rest    when the CPU was taken away while watching, somebody else needs it: the
 *           guest, as likely as not. A thread that watches then gets it back
 *           only after a time slice, milliseconds, while one that sleeps is
 *           woken at once. So nothing is watched for 10 ms, and each time that
 *           it happens again soon for twice as long, up to POLICY_REST_MAX_NS
 *   window  a bit more than gap + 4 deviations, at most max; zero if the gap is
 *           above max
 */
#ifndef DAEMON_POLICY_H
#define DAEMON_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* The bit more, besides a quarter of the gap: what a wake-up varies by. */
#define POLICY_MIN_NS 10000u

/* To be without the CPU for so long while watching is to have lost it. */
#define POLICY_LOST_NS	   100000u
#define POLICY_REST_MIN_NS 10000000u
#define POLICY_REST_MAX_NS 640000000u

struct policy {
	bool automatic;	      /* else: the window is always max_ns */
	uint64_t max_ns;      /* 0: never watch */
	uint64_t gap_ns;      /* the estimate */
	uint64_t dev_ns;      /* mean distance of a gap from it */
	uint64_t ended_ns;    /* when work ended last; 0: never */
	uint64_t rest_ns;     /* length of the last rest; 0: none */
	uint64_t rest_end_ns; /* nothing is watched before */
	/* Counters for stat: windows, those in which work came and not, sleeps. */
	uint64_t polls, found, missed, sleeps, rests;
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

/* The CPU was offered to others while watching and came back after away_ns. */
void policy_away(struct policy *policy, uint64_t now, uint64_t away_ns);

/* The window the next work would open, in ns. For stat. */
uint64_t policy_window(const struct policy *policy);

#endif
