/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Little-endian integers in byte buffers of any alignment. Freestanding. */
#ifndef VIOMMU_LIB_PROTO_BYTES_H
#define VIOMMU_LIB_PROTO_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

static inline uint16_t get_le16(const uint8_t *p)
{
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return le16(v);
}

static inline uint32_t get_le32(const uint8_t *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return le32(v);
}

static inline uint64_t get_le64(const uint8_t *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return le64(v);
}

static inline void put_le16(uint8_t *p, uint16_t v)
{
	v = le16(v);
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
	v = le32(v);
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
	v = le64(v);
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline bool any_set(const uint8_t *p, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= p[i];
	return any != 0;
}

#endif
