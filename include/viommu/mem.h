/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/mem.h - the guest-memory table: guest-physical ranges and where they
 * are mapped in this process.
 *
 * Memory comes and goes while a VM runs: firmware remaps it several times, a
 * reset does it again, memory is hot-plugged. The table is replaced as a whole;
 * a reader sees the old or the new one, never a mixture.
 *
 * Threads: control side, serialised with the other calls on the same table and
 * with creation of DMA contexts on it. DMA contexts read it at any time.
 */
#ifndef VIOMMU_MEM_H
#define VIOMMU_MEM_H

#include <viommu/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_mem;

/* The region may be read but never written by a device (ROM). */
#define VIOMMU_MEM_READONLY (1u << 0)

/* Result: 0, -ENOMEM. */
VIOMMU_API int viommu_mem_create(const struct viommu_alloc *alloc,
				 struct viommu_mem **out);

/* Every DMA context on the table must be gone. NULL is allowed. */
VIOMMU_API void viommu_mem_destroy(struct viommu_mem *mem);

/*
 * Adds [gpa, gpa + len). hva may be NULL: the range is known but out of reach
 * (a VMM that kept its ROM to itself); accesses to it fail like accesses to no
 * memory at all, and are counted apart.
 * Result: 0, -EINVAL (len 0, wraps around, unknown flag), -EEXIST (overlaps a
 * region), -ENOSPC (VIOMMU_MEM_REGIONS_MAX reached), -ENOMEM.
 */
VIOMMU_API int viommu_mem_add(struct viommu_mem *mem, uint64_t gpa, uint64_t len,
			      void *hva, unsigned flags);

/*
 * Takes out the region that was added as exactly [gpa, gpa + len).
 * 0: nobody can reach it any more, the caller may unmap it.
 * -EINPROGRESS: new accesses cannot reach it, but transfers still hold pages
 * of it; ask viommu_mem_busy() until it says false before unmapping.
 * -ENOENT: no such region, nothing changed. -ENOMEM: nothing changed.
 */
VIOMMU_API int viommu_mem_remove(struct viommu_mem *mem, uint64_t gpa, uint64_t len);

/* Whether transfers still hold pages of a region that was removed. */
VIOMMU_API bool viommu_mem_busy(struct viommu_mem *mem, uint64_t gpa, uint64_t len);

/* One region of the table, by index. -ENOENT past the last one. */
struct viommu_mem_region {
	uint64_t gpa, len;
	void *hva;
	unsigned flags;
};
VIOMMU_API int viommu_mem_region(const struct viommu_mem *mem, unsigned index,
				 struct viommu_mem_region *out);

/*
 * Dirty tracking: from now on each 4 KiB guest page that a device writes in
 * the region at exactly [gpa, gpa + len) sets its bit (bit n of word n / 64 for
 * page n of the region; set atomically, relaxed). The bitmap belongs to the
 * caller, who must keep it until a call with NULL returned. While no region is
 * tracked a device pays one branch for each release of pages, and a miss of the
 * IOTLB one more.
 * On return no device writes under the setting before it any more, and what
 * was written before can be read. Pages held for writing are marked when they are
 * released: those too that were held already when tracking was switched on, whole;
 * not those released before. The bits are set before the pages cease to count as
 * held (`held` of viommu_dma_get_stats(), viommu_mem_busy()), but maybe after the
 * reply to an UNMAP that waited for them: who wants all bits waits for `held` to be
 * 0 first.
 * Result: 0, -ENOENT, -ENOMEM.
 */
VIOMMU_API int viommu_mem_set_dirty_bitmap(struct viommu_mem *mem, uint64_t gpa,
					   uint64_t len, uint64_t *bitmap);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_MEM_H */
