/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "drv.h"

#define UNIT_LG2_MIN 12u
/* Devices that reach 32 bits only are common, so that is tried first. */
#define WINDOW_LAST 0xffffffffull
/* No alignment beyond a giant page. */
#define ALIGN_MAX (1ull << 30)

static uint64_t unit(const struct drv_iova *iova)
{
	return 1ull << iova->unit_lg2;
}

/* The order of the smallest power of two of units that holds len. */
static unsigned order_of(const struct drv_iova *iova, uint64_t len)
{
	uint64_t units = (len - 1) >> iova->unit_lg2;

	return units ? 64 - (unsigned)__builtin_clzll(units) : 0;
}

uint64_t drv_iova_size(const struct drv_iova *iova, uint64_t len)
{
	unsigned order = order_of(iova, len);

	if (order < IOVA_ORDERS)
		return unit(iova) << order;
	return ((len - 1) | (unit(iova) - 1)) + 1;
}

int drv_iova_init(struct drv_iova *iova, const struct viommu_drv *drv, uint64_t first,
		  uint64_t last)
{
	struct drv_range all;
	unsigned cpus_nr = drv->platform.cpus_nr;

	iova->drv = drv;
	iova->unit_lg2 = (unsigned)__builtin_ctzll(drv->limits.granule);
	if (iova->unit_lg2 < UNIT_LG2_MIN)
		iova->unit_lg2 = UNIT_LG2_MIN;
	/* Whole units; never 0, which many drivers take for "none". */
	if (!first)
		first = 1;
	first = ((first - 1) | (unit(iova) - 1)) + 1;
	last = ((last + 1) & -unit(iova)) - 1;
	if (!first || first > last)
		return err(EINVAL, "no room for addresses");
	iova->first = iova->next = first;
	iova->last = last;
	iova->window_last =
		last < WINDOW_LAST || first > WINDOW_LAST ? last : WINDOW_LAST;
	drv_lock_init(drv, &iova->lock);
	drv_tree_init(&iova->free, &drv->platform, drv->platform_opaque);
	iova->cpu = drv_alloc(drv, cpus_nr * sizeof(*iova->cpu));
	if (!iova->cpu)
		return err(ENOMEM, "address stocks");
	for (unsigned i = 0; i < cpus_nr; i++)
		drv_lock_init(drv, &iova->cpu[i].lock);
	all = (struct drv_range){.start = first, .last = last};
	return drv_tree_insert(&iova->free, &all);
}

void drv_iova_fini(struct drv_iova *iova)
{
	if (!iova->drv)
		return;
	drv_free(iova->drv, iova->cpu, iova->drv->platform.cpus_nr * sizeof(*iova->cpu));
	if (iova->free.platform)
		drv_tree_fini(&iova->free);
}

struct drv_iova_cpu *drv_iova_this_cpu(struct drv_iova *iova)
{
	const struct viommu_drv_platform *p = &iova->drv->platform;
	unsigned cpu = p->cpu ? p->cpu(iova->drv->platform_opaque) : 0;

	return &iova->cpu[cpu < p->cpus_nr ? cpu : 0];
}

/* ---- the tree; iova->lock held ---- */

/* Takes [start, last] out of a free range that holds it. */
static int carve(struct drv_iova *iova, struct drv_range *range, uint64_t start,
		 uint64_t last)
{
	struct drv_range rest = {.start = last + 1, .last = range->last};
	int r;

	if (range->start == start && range->last == last) {
		drv_tree_remove(&iova->free, start, last, NULL);
	} else if (range->start == start) {
		range->start = last + 1;
	} else if (range->last == last) {
		range->last = start - 1;
	} else {
		r = drv_tree_reserve(&iova->free);
		if (r)
			return r;
		range->last = start - 1;
		/* Cannot fail: there is memory, and nothing overlaps. */
		return drv_tree_insert(&iova->free, &rest);
	}
	return 0;
}

/* What to look for: up to `nr` pieces of `size` bytes, adjacent. */
struct want {
	uint64_t size, align;
	unsigned nr; /* in: at most, out: taken */
};

static int search(struct drv_iova *iova, struct want *want, uint64_t from, uint64_t to,
		  uint64_t *out)
{
	struct drv_range *range = drv_tree_find(&iova->free, from);

	while (range && range->start <= to) {
		uint64_t low = range->start > from ? range->start : from;
		uint64_t last = range->last < to ? range->last : to;
		uint64_t start = ((low - 1) | (want->align - 1)) + 1;

		if (start >= low && start <= last && last - start >= want->size - 1) {
			uint64_t fit = (last - start - (want->size - 1)) / want->size + 1;

			if (fit < want->nr)
				want->nr = (unsigned)fit;
			*out = start;
			iova->next = start + want->nr * want->size;
			return carve(iova, range, start, iova->next - 1);
		}
		range = range->last == UINT64_MAX
				? NULL
				: drv_tree_find(&iova->free, range->last + 1);
	}
	return err(ENOSPC, "not in this part");
}

static int take_locked(struct drv_iova *iova, struct want *want, uint64_t limit,
		       uint64_t *out)
{
	int r;

	for (;;) {
		uint64_t to = iova->window_last < limit ? iova->window_last : limit;

		r = -ENOSPC;
		if (iova->next > iova->first && iova->next <= to)
			r = search(iova, want, iova->next, to, out);
		if (r == -ENOSPC)
			r = search(iova, want, iova->first, to, out);
		if (r != -ENOSPC || to == limit || iova->window_last >= iova->last)
			return r;
		iova->window_last = iova->window_last > iova->last / 2
					    ? iova->last
					    : 2 * iova->window_last + 1;
	}
}

static int take(struct drv_iova *iova, struct want *want, uint64_t limit, uint64_t *out)
{
	uintptr_t state = drv_lock(iova->drv, &iova->lock);
	int r = take_locked(iova, want, limit < iova->last ? limit : iova->last, out);

	drv_unlock(iova->drv, &iova->lock, state);
	return r;
}

static int give_locked(struct drv_iova *iova, uint64_t start, uint64_t last)
{
	struct drv_range range = {.start = start, .last = last};
	struct drv_range *before, *after;
	int r = drv_tree_reserve(&iova->free);

	before = drv_tree_find(&iova->free, start - 1);
	after = last == UINT64_MAX ? NULL : drv_tree_find(&iova->free, last + 1);
	if (after && after->start == last + 1) {
		range.last = after->last;
		/* Without memory it stays apart, if it can join `before`. */
		if (!r) {
			drv_tree_remove(&iova->free, after->start, after->last, NULL);
			before = drv_tree_find(&iova->free, start - 1);
		} else {
			range.last = last;
		}
	}
	if (before && before->last == start - 1) {
		before->last = range.last;
		return 0;
	}
	return r ? r : drv_tree_insert(&iova->free, &range);
}

void drv_iova_free_range(struct drv_iova *iova, uint64_t start, uint64_t last)
{
	uintptr_t state = drv_lock(iova->drv, &iova->lock);

	if (give_locked(iova, start, last))
		iova->lost += last - start + 1;
	drv_unlock(iova->drv, &iova->lock, state);
}

/* ---- stocks ---- */

/* One address of 2^order units from the CPU's stock, which is filled up. */
static int alloc_stock(struct drv_iova *iova, unsigned order, uint64_t limit,
		       uint64_t *start)
{
	struct drv_iova_cpu *cpu = drv_iova_this_cpu(iova);
	uintptr_t state = drv_lock(iova->drv, &cpu->lock);
	uint64_t size = unit(iova) << order;
	struct want want = {.size = size, .align = size, .nr = IOVA_RUN};
	uint32_t nr = cpu->stock[order].stack_nr;
	int r = 0;

	if (nr) {
		*start = cpu->stock[order].stack[nr - 1];
		if (*start + size - 1 <= limit)
			cpu->stock[order].stack_nr--;
		else
			r = -ENOSPC;
		goto out;
	}
	if (!cpu->stock[order].run_nr) {
		r = take(iova, &want, UINT64_MAX, &cpu->stock[order].next);
		cpu->stock[order].run_nr = r ? 0 : want.nr;
	}
	*start = cpu->stock[order].next;
	if (!r && *start + size - 1 > limit)
		r = -ENOSPC;
	if (!r) {
		cpu->stock[order].next += size;
		cpu->stock[order].run_nr--;
	}
out:
	drv_unlock(iova->drv, &cpu->lock, state);
	return r;
}

/* Gives one stock back to the tree. */
static void drain_stock(struct drv_iova *iova, struct drv_iova_cpu *cpu, unsigned order)
{
	uint64_t size = unit(iova) << order, next = cpu->stock[order].next;
	uint32_t nr = cpu->stock[order].run_nr;

	if (nr)
		drv_iova_free_range(iova, next, next + nr * size - 1);
	cpu->stock[order].run_nr = 0;
	for (unsigned i = 0; i < cpu->stock[order].stack_nr; i++) {
		uint64_t start = cpu->stock[order].stack[i];

		drv_iova_free_range(iova, start, start + size - 1);
	}
	cpu->stock[order].stack_nr = 0;
}

static void drain_stocks(struct drv_iova *iova)
{
	for (unsigned i = 0; i < iova->drv->platform.cpus_nr; i++) {
		struct drv_iova_cpu *cpu = &iova->cpu[i];
		uintptr_t state = drv_lock(iova->drv, &cpu->lock);

		for (unsigned order = 0; order < IOVA_ORDERS; order++)
			drain_stock(iova, cpu, order);
		drv_unlock(iova->drv, &cpu->lock, state);
	}
}

int drv_iova_alloc(struct drv_iova *iova, uint64_t len, uint64_t limit, uint64_t *start)
{
	unsigned order = order_of(iova, len);
	uint64_t size = drv_iova_size(iova, len);
	struct want want = {.size = size, .nr = 1};
	int r;

	if (!size || size < len)
		return err(ENOSPC, "longer than the address space");
	if (order < IOVA_ORDERS && !alloc_stock(iova, order, limit, start))
		return 0;
	want.align = 1ull << (63 - __builtin_clzll(size));
	if (want.align > ALIGN_MAX)
		want.align = ALIGN_MAX;
	r = take(iova, &want, limit, start);
	if (r != -ENOSPC)
		return r;
	/* What is missing may lie in stocks. */
	drain_stocks(iova);
	r = take(iova, &want, limit, start);
	return r == -ENOSPC ? err(ENOSPC, "addresses") : r;
}

void drv_iova_free(struct drv_iova *iova, uint64_t start, uint64_t len)
{
	unsigned order = order_of(iova, len);
	struct drv_iova_cpu *cpu = drv_iova_this_cpu(iova);
	bool kept = false;
	uintptr_t state;

	if (order < IOVA_ORDERS) {
		state = drv_lock(iova->drv, &cpu->lock);
		kept = cpu->stock[order].stack_nr < IOVA_STACK;
		if (kept)
			cpu->stock[order].stack[cpu->stock[order].stack_nr++] = start;
		drv_unlock(iova->drv, &cpu->lock, state);
	}
	if (!kept)
		drv_iova_free_range(iova, start, start + drv_iova_size(iova, len) - 1);
}

int drv_iova_reserve(struct drv_iova *iova, uint64_t start, uint64_t last)
{
	struct drv_range *range;
	uintptr_t state;
	int r = 0;

	start &= -unit(iova);
	last |= unit(iova) - 1;
	drain_stocks(iova);
	state = drv_lock(iova->drv, &iova->lock);
	while (!r && (range = drv_tree_find(&iova->free, start)) && range->start <= last)
		r = carve(iova, range, range->start > start ? range->start : start,
			  range->last < last ? range->last : last);
	drv_unlock(iova->drv, &iova->lock, state);
	return r;
}
