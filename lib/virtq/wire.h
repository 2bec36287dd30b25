/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The layout of rings in memory (VIRTIO 1.4, "Split Virtqueues", "Packed
 * Virtqueues"), for both sides. Everything is little-endian. Freestanding.
 */
#ifndef VIOMMU_LIB_VIRTQ_WIRE_H
#define VIOMMU_LIB_VIRTQ_WIRE_H

#include "base/compiler.h"

/*
 * A descriptor, 16 bytes in both formats: le64 address, le32 length, and two
 * 16-bit words whose meaning differs. As read from memory, in host order.
 */
struct ring_desc {
	uint64_t addr; /* of the buffer, in the ring memory's addresses */
	uint32_t len;  /* bytes */
	uint16_t lo;   /* split: flags; packed: buffer id */
	uint16_t hi;   /* split: next; packed: flags */
};
#define RING_DESC_LEN 16u

/* Descriptor flags; NEXT, WRITE and INDIRECT are the same in both formats. */
#define RING_F_NEXT	(1u << 0)
#define RING_F_WRITE	(1u << 1)
#define RING_F_INDIRECT (1u << 2)
#define RING_F_AVAIL	(1u << 7)
#define RING_F_USED	(1u << 15)

/* Split: offsets in the available and the used ring. Flag bit 0 of either
 * says "do not notify me"; the event index lies behind the entries. */
#define SPLIT_FLAGS	 0u
#define SPLIT_IDX	 2u
#define SPLIT_ENTRIES	 4u
#define SPLIT_AVAIL_LEN	 2u
#define SPLIT_USED_LEN	 8u
#define SPLIT_F_NO_EVENT 1u

/* Packed: offsets in a descriptor, and the event suppression structure (le16
 * position with its wrap counter in bit 15, le16 kind), which is read and
 * written as one le32. */
#define PACKED_LEN	    8u
#define PACKED_ID	    12u
#define PACKED_FLAGS	    14u
#define PACKED_EVENT_LEN    4u
#define PACKED_EVENT_ENABLE 0u
#define PACKED_EVENT_OFF    1u
#define PACKED_EVENT_DESC   2u
#define PACKED_EVENT_WRAP   (1u << 15)

/* Bytes of the three areas. */
static inline uint64_t ring_desc_len(uint32_t size)
{
	return (uint64_t)size * RING_DESC_LEN;
}
static inline uint64_t ring_driver_len(uint32_t size, bool packed, bool event_idx)
{
	if (packed)
		return PACKED_EVENT_LEN;
	return SPLIT_ENTRIES + (uint64_t)size * SPLIT_AVAIL_LEN + (event_idx ? 2 : 0);
}
static inline uint64_t ring_device_len(uint32_t size, bool packed, bool event_idx)
{
	if (packed)
		return PACKED_EVENT_LEN;
	return SPLIT_ENTRIES + (uint64_t)size * SPLIT_USED_LEN + (event_idx ? 2 : 0);
}

/*
 * Split: whether passing from index `old` to `new` steps over `event`, all of
 * them free-running ("Available/Used Buffer Notification Suppression").
 */
static inline bool split_event_hit(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

/*
 * Packed: whether going on `slots` entries up to position `pos` in the lap
 * `wrap` steps over the event word, which names a place in this lap or the
 * one before.
 */
static inline bool packed_event_hit(uint16_t event, uint16_t pos, bool wrap,
				    uint32_t slots, uint32_t size)
{
	int32_t at = event & ~PACKED_EVENT_WRAP;
	int32_t new = pos, old = (int32_t)pos - (int32_t)slots;

	if (!!(event & PACKED_EVENT_WRAP) != wrap)
		at -= (int32_t)size;
	return old <= at && at < new;
}

/* Packed: the flags that mark a descriptor available / used in the lap `wrap`. */
static inline uint16_t packed_avail_flags(bool wrap)
{
	return wrap ? RING_F_AVAIL : RING_F_USED;
}
static inline uint16_t packed_used_flags(bool wrap)
{
	return wrap ? RING_F_AVAIL | RING_F_USED : 0;
}
static inline bool packed_is_avail(uint16_t flags, bool wrap)
{
	return (flags & (RING_F_AVAIL | RING_F_USED)) == packed_avail_flags(wrap);
}
static inline bool packed_is_used(uint16_t flags, bool wrap)
{
	return (flags & (RING_F_AVAIL | RING_F_USED)) == packed_used_flags(wrap);
}

#endif
