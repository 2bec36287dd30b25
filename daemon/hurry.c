/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <sched.h>

#include "hurry.h"

/* Of the calling thread: on Linux that is what 0 means. */
static int set_policy(int policy)
{
	struct sched_param param = {.sched_priority = policy == SCHED_RR};

	return sched_setscheduler(0, policy, &param) ? -errno : 0;
}

int hurry_allow(struct hurry *hurry)
{
	int r;

	hurry->calm = sched_getscheduler(0);
	if (hurry->calm < 0)
		return -errno;
	/* Whoever started us has set more than we would. */
	if (hurry->calm == SCHED_RR || hurry->calm == SCHED_FIFO)
		return -EALREADY;
	r = set_policy(SCHED_RR);
	if (!r)
		r = set_policy(hurry->calm);
	hurry->allowed = !r;
	return r;
}

/* Whether it is to go first from now on. */
static bool wanted(struct hurry *hurry, uint64_t now)
{
	if (!hurry->urgent_ns || now - hurry->urgent_ns > HURRY_CALM_NS ||
	    now < hurry->pause_ns)
		return false;
	if (!hurry->on || !hurry->since_ns)
		hurry->since_ns = now;
	if (now - hurry->since_ns < HURRY_STRETCH_NS)
		return true;
	hurry->pause_ns = now + HURRY_PAUSE_NS;
	return false;
}

void hurry_look(struct hurry *hurry, bool urgent, uint64_t now)
{
	bool on;

	if (!hurry->allowed)
		return;
	if (urgent)
		hurry->urgent_ns = now;
	on = wanted(hurry, now);
	if (on == hurry->on)
		return;
	hurry->on = on;
	/* Refused once, refused always. */
	hurry->allowed = !set_policy(on ? SCHED_RR : hurry->calm);
}

void hurry_slept(struct hurry *hurry)
{
	hurry->since_ns = 0;
}
