/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/nvme/batch.h"

void nvme_batch_add(struct nvme_batch *b, unsigned nr, uint64_t now)
{
	if (!b->nr)
		b->first_ns = now;
	b->nr += nr;
	b->last_ns = now;
}

/* As many came as were waited for. */
static void grow(struct nvme_batch *b)
{
	b->vain = 0;
	if (++b->good < NVME_BATCH_TRY_MIN << b->patience[b->extra])
		return;
	b->good = 0;
	if (b->extra && b->patience[b->extra - 1])
		b->patience[b->extra - 1]--;
	if (b->extra + 1 < NVME_BATCH_MAX)
		b->extra++;
}

/* The guest was waiting for us, or elsewhere. */
static void shrink(struct nvme_batch *b)
{
	if (!b->vain++)
		return;
	b->vain = b->good = 0;
	b->extra /= 2;
	if (b->patience[b->extra] < NVME_BATCH_TRY_SHIFT)
		b->patience[b->extra]++;
}

bool nvme_batch_end(struct nvme_batch *b)
{
	if (!b->nr)
		return false;
	shrink(b);
	b->nr = 0;
	return true;
}

bool nvme_batch_due(struct nvme_batch *b, uint64_t now)
{
	if (!b->nr)
		return false;
	if (b->nr > b->extra) {
		grow(b);
		b->nr = 0;
		return true;
	}
	return (now - b->last_ns >= NVME_BATCH_GAP_NS ||
		now - b->first_ns >= NVME_BATCH_AGE_NS) &&
	       nvme_batch_end(b);
}
