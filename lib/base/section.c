/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "base/section.h"

#include <sched.h>

#define SPINS_BEFORE_YIELD 256u

void section_fence(void)
{
	/* Pairs with the fence in section_open(), see there. */
	fence_full();
}

/* The reader may have been preempted inside its section: after a while leave
 * the processor to it. */
void section_wait_slow(const struct section *s, uint32_t seen)
{
	unsigned turn = 0;

	while (!section_passed(s, seen)) {
		if (turn < SPINS_BEFORE_YIELD) {
			turn++;
			cpu_relax();
		} else {
			sched_yield();
		}
	}
}
