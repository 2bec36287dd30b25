/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Messages to the sink that the embedder gave; nothing without one. */
#ifndef VIOMMU_LIB_LOG_H
#define VIOMMU_LIB_LOG_H

#include <viommu/base.h>

/* One whole sentence without a newline; cut after LOG_LINE_MAX - 1 bytes. log
 * may be NULL. Not for hot paths: it formats when the level is wanted. */
#define LOG_LINE_MAX 256
void log_write(const struct viommu_log *log, enum viommu_log_level level, const char *fmt,
	       ...) VIOMMU_PRINTF(3, 4);

#define log_error(log, ...) log_write((log), VIOMMU_LOG_ERROR, __VA_ARGS__)
#define log_warn(log, ...)  log_write((log), VIOMMU_LOG_WARN, __VA_ARGS__)
#define log_info(log, ...)  log_write((log), VIOMMU_LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_write((log), VIOMMU_LOG_DEBUG, __VA_ARGS__)

#endif
