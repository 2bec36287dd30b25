/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What this process may do to its scheduling: not every root may. */
#ifndef VIOMMU_TESTS_SCHED_KIT_H
#define VIOMMU_TESTS_SCHED_KIT_H

#include <sched.h>

#include "test.h"

/* Gives the calling thread that policy, SCHED_RR with the lowest priority. */
static inline bool take_policy(int policy)
{
	struct sched_param param = {.sched_priority = policy == SCHED_RR};

	return !sched_setscheduler(0, policy, &param);
}

/* What a thread that may go first does: SCHED_RR if this process may have that, else
 * what it has. The calling thread is left as it was. */
static inline int first_policy(void)
{
	int own = sched_getscheduler(0);

	if (!take_policy(SCHED_RR))
		return own;
	assert_true(take_policy(own));
	return SCHED_RR;
}

#endif
