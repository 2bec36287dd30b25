/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "base/log.h"

#include <stdio.h>

void log_write(const struct viommu_log *log, enum viommu_log_level level, const char *fmt,
	       ...)
{
	char line[LOG_LINE_MAX];
	va_list args;

	if (!log || !log->sink || level > log->max_level)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	log->sink(log->opaque, level, line);
}
