/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Small things that endpoints share. */
#ifndef ENDPOINTS_UTIL_H
#define ENDPOINTS_UTIL_H

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include <viommu/base.h>

#define likely(x)			__builtin_expect(!!(x), 1)
#define unlikely(x)			__builtin_expect(!!(x), 0)
#define ARRAY_LEN(a)			(sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Formats and hands on a message, if the level is wanted. */
void endpoint_log(const struct viommu_log *log, enum viommu_log_level level,
		  const char *fmt, ...) VIOMMU_PRINTF(3, 4);

/* Logs an error and gives -value: `return endpoint_err(log, EINVAL, "...")`. */
int endpoint_err(const struct viommu_log *log, int value, const char *fmt, ...)
	VIOMMU_PRINTF(3, 4);

/* CLOCK_MONOTONIC. */
static inline uint64_t endpoint_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* Zeroed memory, or NULL. */
void *endpoint_alloc(const struct viommu_alloc *alloc, size_t len, size_t align);
static inline void endpoint_free(const struct viommu_alloc *alloc, void *p, size_t len)
{
	if (p)
		alloc->free(alloc->opaque, p, len);
}

/*
 * A flag that one thread raises and another one takes down. Release and acquire
 * pair with each other: who sees the flag sees what was written before it.
 */
static inline void flag_set(bool *flag, bool value)
{
	__atomic_store_n(flag, value, __ATOMIC_RELEASE);
}
static inline bool flag_test(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

/* Fills in the common head; the type's create calls it first. */
struct endpoint;
struct endpoint_env;
struct endpoint_type;
void endpoint_init(struct endpoint *ep, const struct endpoint_type *type,
		   const struct endpoint_env *env);

#endif /* ENDPOINTS_UTIL_H */
