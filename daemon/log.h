/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Messages of the daemon and of the library, one line each, on a descriptor. */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdint.h>

#include <viommu/base.h>

struct log {
	struct viommu_log sink; /* for the library's objects */
	int fd;			/* not owned */
	uint64_t start_ns;	/* monotonic; lines show seconds since */
};

void log_init(struct log *log, int fd, enum viommu_log_level level);
/* Any thread; takes effect with the next message. */
void log_set_level(struct log *log, enum viommu_log_level level);
enum viommu_log_level log_level(const struct log *log);

void log_write(struct log *log, enum viommu_log_level level, const char *fmt, ...)
	VIOMMU_PRINTF(3, 4);

/* Monotonic time. */
uint64_t now_ns(void);
/* As the wall has it, since 1970. */
uint64_t wall_ns(void);

#endif
