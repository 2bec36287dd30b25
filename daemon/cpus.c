/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "cpus.h"
#include "value.h"

/* Of a line of either file; a longer one is no limit. */
#define LINE_LEN 4096

unsigned cpus_parse_quota(const char *text)
{
	char quota_text[24], period_text[24], more;
	uint64_t quota, period, nr;

	if (sscanf(text, "%23[0-9] %23[0-9] %c", quota_text, period_text, &more) != 2 ||
	    !value_number(quota_text, &quota) || !value_number(period_text, &period) ||
	    !quota || !period)
		return CPUS_ANY;
	nr = quota / period + (quota % period != 0);
	return nr < CPUS_ANY ? (unsigned)nr : CPUS_ANY;
}

/* The first line that begins so, without that and its end. false: there is none. */
static bool read_line(const char *path, const char *start, char line[LINE_LEN])
{
	size_t len = strlen(start);
	FILE *file = fopen(path, "re");
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, LINE_LEN, file))
		found = !strncmp(line, start, len);
	fclose(file);
	if (!found)
		return false;
	line[strcspn(line, "\n")] = '\0';
	memmove(line, line + len, strlen(line + len) + 1);
	return true;
}

static unsigned group_quota(const char *root, const char *group)
{
	char path[2 * LINE_LEN], line[LINE_LEN];
	int len = snprintf(path, sizeof(path), "%s%s/cpu.max", root, group);

	if (len < 0 || (size_t)len >= sizeof(path) || !read_line(path, "", line))
		return CPUS_ANY;
	return cpus_parse_quota(line);
}

unsigned cpus_quota(const char *membership, const char *root)
{
	unsigned least = CPUS_ANY, quota;
	char group[LINE_LEN], *end;

	/* In a container the path may be that of the host, and the root the group. */
	if (!read_line(membership, "0::", group))
		group[0] = '\0';
	do {
		quota = group_quota(root, group);
		least = quota < least ? quota : least;
		end = strrchr(group, '/');
		if (end)
			*end = '\0';
	} while (end);
	return least;
}

unsigned cpus_usable(const char *membership, const char *root)
{
	unsigned nr = CPUS_ANY, quota = cpus_quota(membership, root);
	cpu_set_t cpus;

	/* It fails where there are very many. */
	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		nr = (unsigned)CPU_COUNT(&cpus);
	return quota < nr ? quota : nr;
}
