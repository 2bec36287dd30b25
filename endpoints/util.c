/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/util.h"

#include <stdio.h>

#include "endpoints/endpoint.h"

static void vlog(const struct viommu_log *log, enum viommu_log_level level,
		 const char *fmt, va_list ap)
{
	char msg[512];

	if (!log || !log->sink || level > log->max_level)
		return;
	vsnprintf(msg, sizeof(msg), fmt, ap);
	log->sink(log->opaque, level, msg);
}

void endpoint_log(const struct viommu_log *log, enum viommu_log_level level,
		  const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(log, level, fmt, ap);
	va_end(ap);
}

int endpoint_err(const struct viommu_log *log, int value, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(log, VIOMMU_LOG_ERROR, fmt, ap);
	va_end(ap);
	return -value;
}

void *endpoint_alloc(const struct viommu_alloc *alloc, size_t len, size_t align)
{
	void *p = alloc->alloc(alloc->opaque, len, align);

	if (p)
		memset(p, 0, len);
	return p;
}

void endpoint_init(struct endpoint *ep, const struct endpoint_type *type,
		   const struct endpoint_env *env)
{
	ep->type = type;
	ep->env = *env;
	snprintf(ep->name, sizeof(ep->name), "%s", env->name ? env->name : type->name);
	ep->env.name = ep->name;
}
