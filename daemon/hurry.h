/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * When a thread goes before others. A virtual CPU spins until its request to the IOMMU
 * is answered, so while such requests come the thread that answers them is scheduled
 * with real-time priority, the lowest there is. Never for long without a pause: what
 * else wants its processor gets a tenth of it, and at once, not after the second for
 * which the kernel's own limit lets it wait.
 *
 * Not a nice value: Linux multiplies a task's load by its weight, so a thread of nice -15
 * that is busy for a tenth of the time weighs three virtual CPUs, and both of two end up
 * on the other core.
 *
 * Used by the thread it is about; hurry_allow() before there is one. The caller brings
 * the time.
 */
#ifndef DAEMON_HURRY_H
#define DAEMON_HURRY_H

#include <stdbool.h>
#include <stdint.h>

/* After the last urgent work it goes on for so long. */
#define HURRY_CALM_NS 20000000u
/* Without a sleep it goes first for so long, and then with the others for a while. */
#define HURRY_STRETCH_NS 10000000u
#define HURRY_PAUSE_NS	 1000000u

struct hurry {
	bool allowed, on;
	int calm; /* the scheduling policy otherwise: SCHED_OTHER or as we began */
	uint64_t urgent_ns; /* when there was urgent work last; 0: never */
	uint64_t since_ns;  /* when the stretch began; 0: with the next look */
	uint64_t pause_ns;  /* until when it goes with the others */
};

/* Whether the calling thread may go first, by capability or by RLIMIT_RTPRIO. Result:
 * 0, or -errno and the thread never will. Leaves the thread as it was. */
int hurry_allow(struct hurry *hurry);

/* A look at `now` found urgent work, or not: sets the priority. */
void hurry_look(struct hurry *hurry, bool urgent, uint64_t now);

/* The thread has slept: a new stretch. */
void hurry_slept(struct hurry *hurry);

#endif
