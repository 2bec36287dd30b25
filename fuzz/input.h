/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Fuzz input as a stream of numbers; after its end there are only zeroes. */
#ifndef VIOMMU_FUZZ_INPUT_H
#define VIOMMU_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct input {
	const uint8_t *data;
	size_t len; /* bytes left */
};

static inline uint8_t input_u8(struct input *in)
{
	if (!in->len)
		return 0;
	in->len--;
	return *in->data++;
}

static inline uint16_t input_u16(struct input *in)
{
	uint16_t low = input_u8(in);

	return (uint16_t)(low | input_u8(in) << 8);
}

static inline uint32_t input_u32(struct input *in)
{
	uint32_t low = input_u16(in);

	return low | (uint32_t)input_u16(in) << 16;
}

static inline uint64_t input_u64(struct input *in)
{
	uint64_t low = input_u32(in);

	return low | (uint64_t)input_u32(in) << 32;
}

/* 0 .. n - 1 */
static inline uint32_t input_below(struct input *in, uint32_t n)
{
	return input_u16(in) % n;
}

/* What must hold; unlike assert() it stays in every build. */
#define FUZZ_CHECK(condition)                                                            \
	do {                                                                             \
		if (!(condition)) {                                                      \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,       \
				#condition);                                             \
			abort();                                                         \
		}                                                                        \
	} while (0)

/* libFuzzer's entry point; every target defines it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
