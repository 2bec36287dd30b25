/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * How many CPUs viommud can keep busy: those that it may run on, or what the quotas of
 * its control groups are worth, whichever is less. In a container with a quota the
 * first alone is the whole host.
 */
#ifndef DAEMON_CPUS_H
#define DAEMON_CPUS_H

#include <stdint.h>

/* No limit is known. */
#define CPUS_ANY UINT32_MAX

/* Where the kernel tells. */
#define CPUS_MEMBERSHIP "/proc/self/cgroup"
#define CPUS_GROUPS	"/sys/fs/cgroup"

/* Opens files: before the sandbox closes. */
unsigned cpus_usable(const char *membership, const char *root);

/* ---- its parts ---- */

/* What a cpu.max says (control groups, version 2), "QUOTA PERIOD" or "max PERIOD", in
 * CPUs, rounded up. CPUS_ANY: it is no limit, or no such text. */
unsigned cpus_parse_quota(const char *text);

/* The tightest quota from the group that the file `membership` names up to `root`, where
 * the groups are mounted. What cannot be read is no limit. */
unsigned cpus_quota(const char *membership, const char *root);

#endif
