/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/nvme/batch.h"

void nvme_batch_add(struct nvme_batch *b, unsigned nr, uint64_t now)
{
	if (!b->nr)
		b->first_ns = now;
	b->nr += nr;
	b->last_ns = now;
}

static unsigned clamp(unsigned value, unsigned min, unsigned max)
{
	if (value < min)
		return min;
	return value < max ? value : max;
}

/* As many came as were waited for. */
static void grow(struct nvme_batch *b)
{
	if (!b->try_every)
		b->try_every = b->try_in = NVME_BATCH_TRY_FIRST;
	if (b->try_in > 1) {
		b->try_in--;
		return;
	}
	/* The last growth paid: the next one comes sooner. */
	if (b->extra)
		b->try_every =
			clamp(b->try_every / 2, NVME_BATCH_TRY_MIN, NVME_BATCH_TRY_MAX);
	if (b->extra + 1 < NVME_BATCH_MAX)
		b->extra++;
	b->try_in = b->try_every;
}

/* The guest was waiting for us. */
static void shrink(struct nvme_batch *b)
{
	b->extra /= 2;
	b->try_every = clamp(b->try_every * 2, NVME_BATCH_TRY_MIN, NVME_BATCH_TRY_MAX);
	b->try_in = b->try_every;
}

bool nvme_batch_due(struct nvme_batch *b, uint64_t now)
{
	if (!b->nr)
		return false;
	if (b->nr > b->extra)
		grow(b);
	else if (now - b->last_ns >= NVME_BATCH_GAP_NS ||
		 now - b->first_ns >= NVME_BATCH_AGE_NS)
		shrink(b);
	else
		return false;
	b->nr = 0;
	return true;
}
