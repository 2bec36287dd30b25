/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Pages in use by transfers that outlive a section. */
#include "base/err.h"
#include "base/limits.h"
#include "dma/dma_context.h"

/* One hold more, of a mapping that had `generation`. -EAGAIN: it is being removed,
 * or was: nobody waits for this hold. The section that is open orders the hold
 * before the check of any removal that makes the region unreachable. */
static int hold_mapping(struct viommu_mapping *m, uint32_t generation)
{
	/* Pairs with kill_one(): either the removal sees the hold, or we see the
	 * generation it gave the mapping. */
	uint32_t old = add_acq_rel(&m->state, 1);
	int rc = 0;

	if ((old & MAPPING_HOLDS) >= LIMIT_MAPPING_HOLDS)
		rc = err(E2BIG, "too many holds of one mapping");
	else if ((generation & 1) || load_relaxed(&m->generation) != generation)
		rc = err(EAGAIN, "the mapping is being removed");
	if (unlikely(rc))
		sub_release(&m->state, 1); /* never held */
	return rc;
}

/* In bypass too: the attachment and the region are held. */
static void count_held(struct viommu_dma *dma, const struct viommu_hold *hold, int by)
{
	uint32_t *held = &dma->ctx.held[hold->attachment & 1];

	/* Pairs with the acquire of the attachment's end: the transfer is over. */
	store_release(held, *held + (uint32_t)by);
}

static void count_region_held(struct viommu_dma *dma, const struct viommu_hold *hold,
			      int by)
{
	uint32_t *held = &dma->region_held[hold->region];

	/* Both pair with acquires, in slot_held() of the memory table and of who
	 * reads the counter: the transfer is over and what it wrote is marked. */
	store_release(held, *held + (uint32_t)by);
	store_release(&dma->held, dma->held + (uint64_t)(int64_t)by);
}

/* Whether the last hold of sg covers the new one too. */
static bool joins(struct viommu_hold *prev, const struct viommu_hold *next)
{
	if (prev->mapping != next->mapping || prev->region != next->region ||
	    prev->attachment != next->attachment || !prev->dirty_len != !next->dirty_len)
		return false;
	if (prev->dirty_len && prev->dirty_gpa + prev->dirty_len != next->dirty_gpa)
		return false;
	prev->dirty_len += next->dirty_len;
	return true;
}

static int add_hold(struct viommu_dma *dma, struct viommu_sg *sg,
		    const struct viommu_hold *next, uint32_t generation)
{
	int rc = 0;

	if (sg->hold_nr && joins(&sg->hold[sg->hold_nr - 1], next))
		return 0;
	if (sg->hold_nr == sg->hold_max)
		return err(E2BIG, "hold array is full");
	if (next->mapping)
		rc = hold_mapping(next->mapping, generation);
	if (rc)
		return rc;
	count_held(dma, next, 1);
	count_region_held(dma, next, 1);
	sg->hold[sg->hold_nr++] = *next;
	return 0;
}

static int add_iov(struct viommu_sg *sg, void *hva, uint64_t len)
{
	struct iovec *prev = sg->iov_nr ? &sg->iov[sg->iov_nr - 1] : NULL;

	if (prev && (char *)prev->iov_base + prev->iov_len == hva) {
		prev->iov_len += len;
		return 0;
	}
	if (sg->iov_nr == sg->iov_max)
		return err(E2BIG, "iovec array is full");
	sg->iov[sg->iov_nr++] = (struct iovec){hva, len};
	return 0;
}

/* The first piece of [iova, iova + len); *done: its bytes. -EAGAIN: what was found
 * is being removed. */
static int try_piece(struct viommu_dma *dma, uint64_t iova, uint64_t len, unsigned perm,
		     struct viommu_sg *sg, uint64_t *done)
{
	const struct viommu_dma_entry *e = tlb_reach_one(dma, iova, perm);
	struct viommu_hold hold;
	uint64_t offset;
	int rc;

	if (!e)
		return err(EFAULT, "access blocked");
	offset = iova - e->iova;
	*done = len < e->size - offset ? len : e->size - offset;
	hold = (struct viommu_hold){
		.mapping = entry_mapping(e),
		.dirty_gpa = perm & VIOMMU_WRITE ? e->gpa + offset : 0,
		.dirty_len = perm & VIOMMU_WRITE ? *done : 0,
		.region = entry_region(e)->slot,
		.attachment = dma->attachment,
	};
	rc = add_hold(dma, sg, &hold, e->generation);
	return rc ? rc : add_iov(sg, e->hva + offset, *done);
}

#define TRIES 3u /* a mapping goes, another comes, and so on */

static int get_piece(struct viommu_dma *dma, uint64_t iova, uint64_t len, unsigned perm,
		     struct viommu_sg *sg, uint64_t *done)
{
	for (unsigned i = 0; i < TRIES; i++) {
		int rc = try_piece(dma, iova, len, perm, sg, done);

		if (likely(rc != -EAGAIN))
			return rc;
	}
	dma_blocked(dma, iova, perm);
	return err(EFAULT, "mappings come and go");
}

/* Returns whether a removal may be waiting for just this one. */
static bool release(struct viommu_dma *dma, const struct viommu_hold *hold)
{
	uint32_t old;

	count_held(dma, hold, -1);
	if (!hold->mapping)
		return false; /* release_down_to() tells who waits for the context */
	/* Pairs with the acquires of the removal: the transfer is over. */
	old = sub_release(&hold->mapping->state, 1);
	return (old & (MAPPING_WAITED | MAPPING_HOLDS)) == (MAPPING_WAITED | 1);
}

/* Inside a section: the bitmap cannot be taken away. */
static void mark_written(struct viommu_dma *dma, const struct viommu_hold *hold)
{
	const struct mem_region *r = mem_find(mem_table(dma->mem), hold->dirty_gpa);
	uint64_t offset;

	if (!r || r->slot != hold->region || !r->dirty)
		return;
	offset = hold->dirty_gpa - r->gpa;
	mem_mark_pages(r->dirty, offset >> MEM_PAGE_LG2,
		       (offset + hold->dirty_len - 1) >> MEM_PAGE_LG2);
}

static void mark_holds(struct viommu_dma *dma, const struct viommu_hold *hold,
		       unsigned nr)
{
	bool entered = dma_enter(dma);

	for (unsigned i = 0; i < nr; i++)
		if (hold[i].dirty_len)
			mark_written(dma, &hold[i]);
	dma_exit(dma, entered);
}

/* Releases holds down to `nr`; tells a removal that waits. written: what they were
 * taken for was done. Sections may be open. */
static void release_down_to(struct viommu_dma *dma, struct viommu_sg *sg, unsigned nr,
			    bool written)
{
	bool tell = false;

	for (unsigned i = nr; i < sg->hold_nr; i++)
		tell |= release(dma, &sg->hold[i]);
	/* Pairs with the fence in endpoint_wait_holds(): either it sees our
	 * holds gone, or we see that it waits. Pairs with the one in the memory
	 * table's publish() too: either who switches tracking on sees what was
	 * written, or we see that writes are tracked. */
	fence_full();
	if (unlikely(load_relaxed(&dma->mem->tracked)) && written)
		mark_holds(dma, &sg->hold[nr], sg->hold_nr - nr);
	while (sg->hold_nr > nr)
		count_region_held(dma, &sg->hold[--sg->hold_nr], -1);
	if (unlikely(tell || load_relaxed(&dma->ctx.waited)))
		context_released(&dma->ctx);
}

/* What get must put back when it fails. */
struct mark {
	struct viommu_sg sg;
	struct iovec iov;
	struct viommu_hold hold;
};

static struct mark take_mark(const struct viommu_sg *sg)
{
	struct mark mark = {.sg = *sg};

	if (sg->iov_nr)
		mark.iov = sg->iov[sg->iov_nr - 1];
	if (sg->hold_nr)
		mark.hold = sg->hold[sg->hold_nr - 1];
	return mark;
}

static void undo(struct viommu_dma *dma, struct viommu_sg *sg, const struct mark *mark)
{
	release_down_to(dma, sg, mark->sg.hold_nr, false);
	*sg = mark->sg;
	if (sg->iov_nr)
		sg->iov[sg->iov_nr - 1] = mark->iov;
	if (sg->hold_nr)
		sg->hold[sg->hold_nr - 1] = mark->hold;
}

static int get_pieces(struct viommu_dma *dma, uint64_t iova, uint64_t len, unsigned perm,
		      struct viommu_sg *sg)
{
	uint64_t done;

	if (wraps(iova, len)) {
		dma_blocked(dma, iova, perm);
		return err(EFAULT, "access wraps around");
	}
	for (; len; iova += done, len -= done, sg->len += done) {
		int rc = get_piece(dma, iova, len, perm, sg, &done);

		if (rc)
			return rc;
	}
	return 0;
}

int viommu_dma_get(struct viommu_dma *dma, uint64_t iova, uint64_t len, unsigned perm,
		   struct viommu_sg *sg)
{
	struct mark mark = take_mark(sg);
	bool entered = dma_enter(dma);
	int rc = get_pieces(dma, iova, len, perm, sg);

	if (rc)
		undo(dma, sg, &mark);
	dma_exit(dma, entered);
	return rc;
}

/* Segments of one permission from seg[*at] on: to the end of sg, joined with each
 * other only. *at: the first one that is not done. */
static int get_run(struct viommu_dma *dma, const struct viommu_dma_seg *seg, unsigned nr,
		   unsigned *at, struct viommu_sg *sg)
{
	struct viommu_sg run = {
		.iov = sg->iov + sg->iov_nr,
		.iov_max = sg->iov_max - sg->iov_nr,
		.hold = sg->hold + sg->hold_nr,
		.hold_max = sg->hold_max - sg->hold_nr,
	};
	unsigned i = *at, perm = seg[i].perm;
	int rc = 0;

	for (; i < nr && seg[i].perm == perm; i++) {
		rc = get_pieces(dma, seg[i].iova, seg[i].len, perm, &run);
		if (unlikely(rc))
			break;
	}
	*at = i;
	sg->iov_nr += run.iov_nr;
	sg->hold_nr += run.hold_nr;
	sg->len += run.len;
	return rc;
}

int viommu_dma_get_batch(struct viommu_dma *dma, const struct viommu_dma_seg *seg,
			 unsigned nr, struct viommu_sg *sg, unsigned *failed)
{
	struct mark mark = take_mark(sg);
	bool entered = dma_enter(dma);
	unsigned at = 0;
	int rc = 0;

	while (at < nr && !rc)
		rc = get_run(dma, seg, nr, &at, sg);
	if (unlikely(rc)) {
		undo(dma, sg, &mark);
		*failed = at;
	}
	dma_exit(dma, entered);
	return rc;
}

void viommu_dma_put(struct viommu_dma *dma, struct viommu_sg *sg)
{
	release_down_to(dma, sg, 0, true);
	sg->iov_nr = 0;
	sg->len = 0;
}
