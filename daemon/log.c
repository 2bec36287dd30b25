/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define NS_PER_S 1000000000ull

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* One write a line, so that lines of several threads do not mix. */
static void sink(void *opaque, enum viommu_log_level level, const char *msg)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	struct log *log = opaque;
	uint64_t ms = (now_ns() - log->start_ns) / 1000000;
	char line[1200];
	int len;
	ssize_t n;

	len = snprintf(line, sizeof(line) - 1, "viommud %llu.%03llu %s: %s",
		       (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000),
		       names[level], msg);
	if (len < 0)
		return;
	if ((size_t)len > sizeof(line) - 2)
		len = (int)sizeof(line) - 2;
	line[len] = '\n';
	/* There is nowhere to report a log that cannot be written. */
	n = write(log->fd, line, (size_t)len + 1);
	(void)n;
}

void log_init(struct log *log, int fd, enum viommu_log_level level)
{
	*log = (struct log){
		.sink = {.sink = sink, .opaque = log, .max_level = level},
		.fd = fd,
		.start_ns = now_ns(),
	};
}

/* The level is one aligned word; the library reads it plainly, and a message
 * more or less does not matter. */
void log_set_level(struct log *log, enum viommu_log_level level)
{
	__atomic_store_n(&log->sink.max_level, level, __ATOMIC_RELAXED);
}

enum viommu_log_level log_level(const struct log *log)
{
	return __atomic_load_n(&log->sink.max_level, __ATOMIC_RELAXED);
}

void log_write(struct log *log, enum viommu_log_level level, const char *fmt, ...)
{
	char msg[1000];
	va_list args;

	if (level > log_level(log))
		return;
	va_start(args, fmt);
	vsnprintf(msg, sizeof(msg), fmt, args);
	va_end(args);
	sink(log, level, msg);
}
