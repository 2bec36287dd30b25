/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What a sanitizer's run-time library calls, in builds with one only. */
#include <seccomp.h>
#include <stdbool.h>

#include "sandbox_extra.h"

const int sandbox_extra_calls[] = {
	SCMP_SYS(sched_getaffinity),	       /* a thread's end, a stack's limits */
	SCMP_SYS(prlimit64), SCMP_SYS(tgkill), /* abort() after a report */
};
const unsigned sandbox_extra_calls_nr =
	sizeof(sandbox_extra_calls) / sizeof(sandbox_extra_calls[0]);

static bool filtered;

void sandbox_extra_prepare(void)
{
	filtered = true;
}

/* Looked for by the leak checker, which starts a process and reads /proc: neither
 * is possible behind the filter. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return filtered;
}
