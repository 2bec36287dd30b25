/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Small things every file may use. Freestanding. */
#ifndef VIOMMU_LIB_COMPILER_H
#define VIOMMU_LIB_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x)			__builtin_expect(!!(x), 1)
#define unlikely(x)			__builtin_expect(!!(x), 0)
#define ARRAY_LEN(a)			(sizeof(a) / sizeof((a)[0]))
#define CACHE_LINE			64
#define cache_aligned			__attribute__((aligned(CACHE_LINE)))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Little-endian wire fields. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint16_t le16(uint16_t v)
{
	return v;
}
static inline uint32_t le32(uint32_t v)
{
	return v;
}
static inline uint64_t le64(uint64_t v)
{
	return v;
}
#else
static inline uint16_t le16(uint16_t v)
{
	return __builtin_bswap16(v);
}
static inline uint32_t le32(uint32_t v)
{
	return __builtin_bswap32(v);
}
static inline uint64_t le64(uint64_t v)
{
	return __builtin_bswap64(v);
}
#endif

/*
 * Fetches the cache line of *p so that it can be written. Where another core has it, a
 * load would fetch a copy and the store after it go there once more. Only a hint:
 * any address will do.
 */
static inline void prefetch_write(const void *p)
{
#if defined(__x86_64__)
	/* gcc's builtin makes it a plain prefetch unless told that the CPU knows
	 * this one; a CPU that does not takes it for a no-op. */
	__asm__("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

#endif
