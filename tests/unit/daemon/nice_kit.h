/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What this process may do to nice values: not every root may lower one. */
#ifndef VIOMMU_TESTS_NICE_KIT_H
#define VIOMMU_TESTS_NICE_KIT_H

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

/* Whether a process like this one may go to `first` and then to `second`. */
static inline bool may_set_nice(int first, int second)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(setpriority(PRIO_PROCESS, 0, first) ||
		      setpriority(PRIO_PROCESS, 0, second));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

#endif
