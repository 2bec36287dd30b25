/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "ring_kit.h"

#include "virtq/wire.h"

static struct kit_piece *find(struct kit *kit, uint64_t addr)
{
	uint64_t i = (addr - KIT_BASE) / kit->piece_len;

	return addr - KIT_BASE < KIT_LEN ? &kit->pieces[i] : NULL;
}

static int map(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
	       struct viommu_span *out)
{
	struct kit *kit = opaque;
	struct kit_piece *piece = find(kit, addr);
	uint64_t off;

	assert_true(perm);
	assert_true(len > 0);
	kit->maps++;
	if (!piece || piece->hidden)
		return -14; /* -EFAULT */
	off = addr - piece->addr;
	out->hva = piece->hva + off;
	out->len = piece->len - off < len ? piece->len - off : len;
	return 0;
}

struct viommu_ring_mem kit_mem(struct kit *kit)
{
	return (struct viommu_ring_mem){map, kit};
}

struct kit *kit_create(uint64_t piece)
{
	struct kit *kit = calloc(1, sizeof(*kit));

	assert_non_null(kit);
	kit->piece_len = piece ? piece : KIT_LEN;
	piece = kit->piece_len;
	for (uint64_t off = 0; off < KIT_LEN; off += piece) {
		struct kit_piece *p = &kit->pieces[kit->pieces_nr++];

		assert_true(kit->pieces_nr <= KIT_PIECES_NR);
		p->addr = KIT_BASE + off;
		p->len = KIT_LEN - off < piece ? KIT_LEN - off : piece;
		p->hva = calloc(1, p->len);
		assert_non_null(p->hva);
	}
	return kit;
}

void kit_destroy(struct kit *kit)
{
	for (unsigned i = 0; i < kit->pieces_nr; i++)
		free(kit->pieces[i].hva);
	free(kit);
}

static void zero(struct kit *kit, uint64_t addr, uint64_t len)
{
	while (len) {
		struct kit_piece *piece = find(kit, addr);
		uint64_t off = addr - piece->addr, part = piece->len - off;

		if (part > len)
			part = len;
		memset(piece->hva + off, 0, part);
		addr += part;
		len -= part;
	}
}

void kit_ring(struct kit *kit, uint16_t size, bool packed, bool event_idx, bool indirect)
{
	zero(kit, KIT_DESC, KIT_TABLES - KIT_DESC);
	kit->cfg = (struct viommu_virtq_config){
		.size = size,
		.packed = packed,
		.event_idx = event_idx,
		.indirect = indirect,
		.desc = KIT_DESC,
		.driver = KIT_DRIVER,
		.device = KIT_DEVICE,
	};
	kit->next = 0;
	kit->wrap = true;
	assert_int_equal(viommu_virtq_init(&kit->vq, &kit->cfg, kit_mem(kit)), 0);
}

struct kit *kit_create_ring(uint16_t size, bool packed, bool event_idx, bool indirect)
{
	struct kit *kit = kit_create(0);

	kit_ring(kit, size, packed, event_idx, indirect);
	return kit;
}

void kit_hide(struct kit *kit, uint64_t addr, uint64_t len, bool hidden)
{
	for (unsigned i = 0; i < kit->pieces_nr; i++) {
		struct kit_piece *piece = &kit->pieces[i];

		if (piece->addr < addr + len && addr < piece->addr + piece->len)
			piece->hidden = hidden;
	}
}

static uint8_t *byte_at(struct kit *kit, uint64_t addr)
{
	struct kit_piece *piece = find(kit, addr);

	assert_non_null(piece);
	return &piece->hva[addr - piece->addr];
}

void kit_write(struct kit *kit, uint64_t addr, const void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		*byte_at(kit, addr + i) = ((const uint8_t *)buf)[i];
}

void kit_read(struct kit *kit, uint64_t addr, void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = *byte_at(kit, addr + i);
}

uint64_t kit_get(struct kit *kit, uint64_t addr, unsigned len)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < len; i++)
		value |= (uint64_t)*byte_at(kit, addr + i) << (8 * i);
	return value;
}

void kit_put(struct kit *kit, uint64_t addr, unsigned len, uint64_t value)
{
	for (unsigned i = 0; i < len; i++)
		*byte_at(kit, addr + i) = (uint8_t)(value >> (8 * i));
}

void kit_desc(struct kit *kit, uint64_t table, unsigned i, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next)
{
	kit_put(kit, table + 16ull * i, 8, addr);
	kit_put(kit, table + 16ull * i + 8, 4, len);
	kit_put(kit, table + 16ull * i + 12, 2, flags);
	kit_put(kit, table + 16ull * i + 14, 2, next);
}

void kit_avail(struct kit *kit, uint16_t head)
{
	kit_put(kit, KIT_DRIVER + 4 + 2ull * (kit->next % kit->cfg.size), 2, head);
	kit->next++;
	kit_put(kit, KIT_DRIVER + 2, 2, kit->next);
}

uint16_t kit_used_idx(struct kit *kit)
{
	return (uint16_t)kit_get(kit, KIT_DEVICE + 2, 2);
}

void kit_used(struct kit *kit, uint16_t i, uint32_t *id, uint32_t *len)
{
	uint64_t at = KIT_DEVICE + 4 + 8ull * (i % kit->cfg.size);

	*id = (uint32_t)kit_get(kit, at, 4);
	*len = (uint32_t)kit_get(kit, at + 4, 4);
}

uint64_t kit_used_event(struct kit *kit)
{
	return KIT_DRIVER + 4 + 2ull * kit->cfg.size;
}

uint64_t kit_avail_event(struct kit *kit)
{
	return KIT_DEVICE + 4 + 8ull * kit->cfg.size;
}

void kit_packed(struct kit *kit, uint64_t addr, uint32_t len, uint16_t id, uint32_t flags)
{
	if (!(flags & KIT_RAW))
		flags |= kit->wrap ? RING_F_AVAIL : RING_F_USED;
	kit_desc(kit, KIT_DESC, kit->next, addr, len, id, (uint16_t)flags);
	if (++kit->next == kit->cfg.size) {
		kit->next = 0;
		kit->wrap = !kit->wrap;
	}
}

uint16_t kit_packed_flags(struct kit *kit, unsigned i)
{
	return (uint16_t)kit_get(kit, KIT_DESC + 16ull * i + 14, 2);
}

void kit_chain(struct kit *kit, uint16_t id, unsigned readable, unsigned writable)
{
	unsigned nr = readable + writable;

	for (unsigned i = 0; i < nr; i++) {
		uint16_t flags = (i < readable ? 0 : RING_F_WRITE) |
				 (i + 1 < nr ? RING_F_NEXT : 0);

		if (kit->cfg.packed)
			kit_packed(kit, KIT_DATA + 16ull * i, 16, id, flags);
		else
			kit_desc(kit, KIT_DESC, (id + i) % kit->cfg.size,
				 KIT_DATA + 16ull * i, 16, flags,
				 (uint16_t)((id + i + 1) % kit->cfg.size));
	}
	if (!kit->cfg.packed)
		kit_avail(kit, id);
}
