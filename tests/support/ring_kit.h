/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A ring in memory that is cut into pieces, and a driver made of single stores:
 * tests put there what they like, right or wrong. Each piece is an allocation of
 * its own, so that the address sanitizer sees an access beyond it.
 */
#ifndef VIOMMU_TESTS_RING_KIT_H
#define VIOMMU_TESTS_RING_KIT_H

#include <viommu/virtq.h>

#include "test.h"

#define KIT_BASE      0x100000000ull /* where the memory starts */
#define KIT_LEN	      0x100000ull
#define KIT_PIECES_NR 4096u

/* Places in it; the areas of a ring of any size fit. */
#define KIT_DESC   (KIT_BASE + 0x1000)
#define KIT_DRIVER (KIT_BASE + 0x10000)
#define KIT_DEVICE (KIT_BASE + 0x20000)
#define KIT_TABLES (KIT_BASE + 0x40000)
#define KIT_DATA   (KIT_BASE + 0x80000)

struct kit_piece {
	uint64_t addr, len;
	uint8_t *hva;
	bool hidden; /* out of reach */
};

struct kit {
	struct kit_piece pieces[KIT_PIECES_NR];
	unsigned pieces_nr;
	uint64_t piece_len; /* of all but perhaps the last */
	unsigned maps;	    /* calls of map */
	struct viommu_virtq vq;
	struct viommu_virtq_config cfg;
	/* The driver's view: where it adds next. Split: index; packed: position. */
	uint16_t next;
	bool wrap;
};

/* Memory in pieces of `piece` bytes (0: one piece), zeroed. */
struct kit *kit_create(uint64_t piece);
void kit_destroy(struct kit *kit);
/* A ring in it, initialised; the areas are zeroed. */
void kit_ring(struct kit *kit, uint16_t size, bool packed, bool event_idx, bool indirect);
/* Both at once, and memory of one piece. */
struct kit *kit_create_ring(uint16_t size, bool packed, bool event_idx, bool indirect);

struct viommu_ring_mem kit_mem(struct kit *kit);
/* Puts pieces that hold [addr, addr + len) out of reach, or back. */
void kit_hide(struct kit *kit, uint64_t addr, uint64_t len, bool hidden);

/* Little-endian access to the memory, over pieces. */
void kit_write(struct kit *kit, uint64_t addr, const void *buf, size_t len);
void kit_read(struct kit *kit, uint64_t addr, void *buf, size_t len);
uint64_t kit_get(struct kit *kit, uint64_t addr, unsigned len);
void kit_put(struct kit *kit, uint64_t addr, unsigned len, uint64_t value);

/* ---- split, by hand ---- */
void kit_desc(struct kit *kit, uint64_t table, unsigned i, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next);
/* Puts a head into the available ring and moves the index on. */
void kit_avail(struct kit *kit, uint16_t head);
uint16_t kit_used_idx(struct kit *kit);
/* Entry i of the used ring. */
void kit_used(struct kit *kit, uint16_t i, uint32_t *id, uint32_t *len);
uint64_t kit_used_event(struct kit *kit);  /* address */
uint64_t kit_avail_event(struct kit *kit); /* address */

/* ---- packed, by hand ---- */
/* The next entry, available unless `flags` has KIT_RAW. */
#define KIT_RAW 0x10000u
void kit_packed(struct kit *kit, uint64_t addr, uint32_t len, uint16_t id,
		uint32_t flags);
uint16_t kit_packed_flags(struct kit *kit, unsigned i);

/* A chain of `readable` and `writable` buffers of 16 bytes, format and all, in
 * entries from the driver's place on; head or id is `id`. */
void kit_chain(struct kit *kit, uint16_t id, unsigned readable, unsigned writable);

#endif
