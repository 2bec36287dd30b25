/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The guest-memory table. A change makes a new table, publishes it, and waits
 * for the sections that may use the old one. */
#include <string.h>

#include "base/err.h"
#include "dma/dma_context.h"

static size_t table_len(uint32_t room)
{
	return sizeof(struct mem_table) + room * sizeof(struct mem_region);
}

static struct mem_table *table_new(struct viommu_mem *mem, uint32_t room)
{
	struct mem_table *table =
		mem->alloc.alloc(mem->alloc.opaque, table_len(room), CACHE_LINE);

	if (table) {
		table->nr = 0;
		table->room = room;
	}
	return table;
}

static void table_free(struct viommu_mem *mem, struct mem_table *table)
{
	mem->alloc.free(mem->alloc.opaque, table, table_len(table->room));
}

int viommu_mem_create(const struct viommu_alloc *alloc, struct viommu_mem **out)
{
	struct viommu_mem *mem = alloc->alloc(alloc->opaque, sizeof(*mem), CACHE_LINE);

	if (!mem)
		return err(ENOMEM, "no memory for a memory table");
	memset(mem, 0, sizeof(*mem));
	mem->alloc = *alloc;
	list_init(&mem->contexts);
	mem->table = table_new(mem, 0);
	if (!mem->table) {
		alloc->free(alloc->opaque, mem, sizeof(*mem));
		return err(ENOMEM, "no memory for a memory table");
	}
	*out = mem;
	return 0;
}

void viommu_mem_destroy(struct viommu_mem *mem)
{
	struct viommu_alloc alloc;

	if (!mem)
		return;
	table_free(mem, mem->table);
	alloc = mem->alloc;
	alloc.free(alloc.opaque, mem, sizeof(*mem));
}

const struct mem_region *mem_find(const struct mem_table *table, uint64_t gpa)
{
	uint32_t low = 0, high = table->nr;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (table->region[middle].last < gpa)
			low = middle + 1;
		else
			high = middle;
	}
	return low < table->nr && table->region[low].gpa <= gpa ? &table->region[low]
								: NULL;
}

static bool table_tracks(const struct mem_table *table)
{
	for (uint32_t i = 0; i < table->nr; i++)
		if (table->region[i].dirty)
			return true;
	return false;
}

/* The new table becomes the table; the old one is freed when nobody uses it. */
static void publish(struct viommu_mem *mem, struct mem_table *table)
{
	struct mem_table *old = mem->table;
	bool tracks = table_tracks(table);
	struct viommu_dma *dma;

	/* Relaxed, ordered by the fence below: who lets go of pages after that
	 * marks them; what was written before is seen when we return. */
	if (tracks)
		store_relaxed(&mem->tracked, true);
	/* Pairs with mem_table(): the contents are there. */
	store_release(&mem->table, table);
	list_for_each (dma, &mem->contexts, in_mem) {
		/* Pairs with the acquire in viommu_dma_begin(): who sees the
		 * epoch forgets what it cached of the old table. */
		store_release(&dma->ctx.mem_epoch, dma->ctx.mem_epoch + 1);
	}
	section_fence();
	list_for_each (dma, &mem->contexts, in_mem)
		section_wait(&dma->ctx.section);
	store_relaxed(&mem->tracked, tracks); /* nobody marks for `old` now */
	table_free(mem, old);
}

/* ---- slots ---- */

static bool slot_held(const struct viommu_mem *mem, uint32_t slot)
{
	const struct viommu_dma *dma;

	list_for_each (dma, &mem->contexts, in_mem) {
		/* Pairs with the release that drops a hold: the transfer is over. */
		if (load_acquire(&dma->region_held[slot]))
			return true;
	}
	return false;
}

static void slot_free(struct viommu_mem *mem, uint32_t slot)
{
	mem->slots[slot / 64] &= ~(1ull << slot % 64);
	mem->leaving[slot].len = 0;
}

/* Frees the slots of removed regions that were let go. */
static void slots_reap(struct viommu_mem *mem)
{
	for (uint32_t slot = 0; slot < LIMIT_MEM_REGIONS; slot++)
		if (mem->leaving[slot].len && !slot_held(mem, slot))
			slot_free(mem, slot);
}

/* LIMIT_MEM_REGIONS: none is free. */
static uint32_t slot_find(const struct viommu_mem *mem)
{
	for (uint32_t i = 0; i < LIMIT_MEM_REGIONS / 64; i++)
		if (~mem->slots[i])
			return i * 64 + (uint32_t)__builtin_ctzll(~mem->slots[i]);
	return LIMIT_MEM_REGIONS;
}

/* ---- changes ---- */

static bool meets_region(const struct mem_table *table, uint64_t gpa, uint64_t last)
{
	for (uint32_t i = 0; i < table->nr; i++)
		if (table->region[i].gpa <= last && table->region[i].last >= gpa)
			return true;
	return false;
}

static int take_slot(struct viommu_mem *mem, uint32_t *slot)
{
	*slot = slot_find(mem);
	if (*slot == LIMIT_MEM_REGIONS) {
		slots_reap(mem);
		*slot = slot_find(mem);
	}
	return *slot == LIMIT_MEM_REGIONS ? err(ENOSPC, "too many memory regions") : 0;
}

static void insert_region(struct mem_table *to, const struct mem_table *from,
			  const struct mem_region *region)
{
	uint32_t i = 0;

	for (; i < from->nr && from->region[i].gpa < region->gpa; i++)
		to->region[to->nr++] = from->region[i];
	to->region[to->nr++] = *region;
	for (; i < from->nr; i++)
		to->region[to->nr++] = from->region[i];
}

int viommu_mem_add(struct viommu_mem *mem, uint64_t gpa, uint64_t len, void *hva,
		   unsigned flags)
{
	struct mem_region region = {.gpa = gpa, .hva = hva, .flags = flags};
	struct mem_table *table;
	int rc;

	if (!len || gpa > UINT64_MAX - (len - 1))
		return err(EINVAL, "memory region is empty or wraps around");
	if (flags & ~VIOMMU_MEM_READONLY)
		return err(EINVAL, "unknown flag of a memory region");
	region.last = gpa + (len - 1);
	if (meets_region(mem->table, gpa, region.last))
		return err(EEXIST, "memory regions overlap");
	rc = take_slot(mem, &region.slot);
	if (rc)
		return rc;
	table = table_new(mem, mem->table->nr + 1);
	if (!table)
		return err(ENOMEM, "no memory for a memory table");
	insert_region(table, mem->table, &region);
	mem->slots[region.slot / 64] |= 1ull << region.slot % 64;
	publish(mem, table);
	return 0;
}

/* Index of the region that is exactly [gpa, gpa + len); table->nr: none. */
static uint32_t find_exact(const struct mem_table *table, uint64_t gpa, uint64_t len)
{
	uint32_t i = 0;

	while (i < table->nr &&
	       (table->region[i].gpa != gpa || table->region[i].last - gpa != len - 1))
		i++;
	return i;
}

int viommu_mem_remove(struct viommu_mem *mem, uint64_t gpa, uint64_t len)
{
	uint32_t index = find_exact(mem->table, gpa, len), slot;
	struct mem_table *table;

	if (index == mem->table->nr)
		return err(ENOENT, "no such memory region");
	table = table_new(mem, mem->table->nr - 1);
	if (!table)
		return err(ENOMEM, "no memory for a memory table");
	for (uint32_t i = 0; i < mem->table->nr; i++)
		if (i != index)
			table->region[table->nr++] = mem->table->region[i];
	slot = mem->table->region[index].slot;
	publish(mem, table);
	if (!slot_held(mem, slot)) {
		slot_free(mem, slot);
		return 0;
	}
	mem->leaving[slot] = (struct mem_leaving){gpa, len};
	return err(EINPROGRESS, "transfers hold pages of the region");
}

bool viommu_mem_busy(struct viommu_mem *mem, uint64_t gpa, uint64_t len)
{
	bool busy = false;

	for (uint32_t slot = 0; slot < LIMIT_MEM_REGIONS; slot++) {
		const struct mem_leaving *leaving = &mem->leaving[slot];

		if (!leaving->len || leaving->gpa != gpa || leaving->len != len)
			continue;
		if (slot_held(mem, slot))
			busy = true;
		else
			slot_free(mem, slot);
	}
	return busy;
}

int viommu_mem_region(const struct viommu_mem *mem, unsigned index,
		      struct viommu_mem_region *out)
{
	const struct mem_region *region;

	if (index >= mem->table->nr)
		return err(ENOENT, "past the last memory region");
	region = &mem->table->region[index];
	*out = (struct viommu_mem_region){
		.gpa = region->gpa,
		.len = region->last - region->gpa + 1,
		.hva = region->hva,
		.flags = region->flags,
	};
	return 0;
}

/* ---- dirty tracking ---- */

int viommu_mem_set_dirty_bitmap(struct viommu_mem *mem, uint64_t gpa, uint64_t len,
				uint64_t *bitmap)
{
	uint32_t index = find_exact(mem->table, gpa, len);
	struct mem_table *table;

	if (index == mem->table->nr)
		return err(ENOENT, "no such memory region");
	table = table_new(mem, mem->table->nr);
	if (!table)
		return err(ENOMEM, "no memory for a memory table");
	for (uint32_t i = 0; i < mem->table->nr; i++)
		table->region[table->nr++] = mem->table->region[i];
	table->region[index].dirty = bitmap;
	publish(mem, table);
	return 0;
}

void mem_mark_pages(uint64_t *dirty, uint64_t first, uint64_t last)
{
	for (uint64_t page = first; page <= last;) {
		uint64_t word = page / 64;
		uint64_t end = last / 64 == word ? last % 64 : 63;
		uint64_t bits = (~0ull >> (63 - end)) & (~0ull << page % 64);

		/* Pairs with the atomic fetch of whoever harvests the bitmap:
		 * who takes a bit sees what was written before it was set. */
		or_full(&dirty[word], bits);
		page = (word + 1) * 64;
	}
}
