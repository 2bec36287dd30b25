/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The device side of virtqueues: what both formats share, and the choice. */
#include "base/limits.h"
#include "virtq/ring.h"

static bool area_ok(uint64_t base, uint64_t len, uint64_t align)
{
	return !(base & (align - 1)) && base + (len - 1) >= base;
}

/* Alignments: VIRTIO 1.4, "Virtqueues" of either format. */
static int check_areas(const struct viommu_virtq_config *cfg)
{
	uint64_t driver_len = ring_driver_len(cfg->size, cfg->packed, cfg->event_idx);
	uint64_t device_len = ring_device_len(cfg->size, cfg->packed, cfg->event_idx);

	if (!area_ok(cfg->desc, ring_desc_len(cfg->size), 16))
		return err(EINVAL, "descriptor area misaligned or wraps around");
	if (!area_ok(cfg->driver, driver_len, cfg->packed ? 4 : 2))
		return err(EINVAL, "driver area misaligned or wraps around");
	if (!area_ok(cfg->device, device_len, 4))
		return err(EINVAL, "device area misaligned or wraps around");
	return 0;
}

int viommu_virtq_init(struct viommu_virtq *vq, const struct viommu_virtq_config *cfg,
		      struct viommu_ring_mem mem)
{
	int r;

	if (!cfg->size || cfg->size > VIOMMU_VIRTQ_SIZE_MAX)
		return err(EINVAL, "queue size out of range");
	if (!cfg->packed && !is_pow2(cfg->size))
		return err(EINVAL, "size of a split queue is no power of two");
	r = check_areas(cfg);
	if (r)
		return r;
	*vq = (struct viommu_virtq){.cfg = *cfg, .mem = mem};
	vq->desc = window_init(cfg->desc, ring_desc_len(cfg->size),
			       cfg->packed ? VIOMMU_READ | VIOMMU_WRITE : VIOMMU_READ);
	vq->driver = window_init(cfg->driver,
				 ring_driver_len(cfg->size, cfg->packed, cfg->event_idx),
				 VIOMMU_READ);
	vq->device = window_init(cfg->device,
				 ring_device_len(cfg->size, cfg->packed, cfg->event_idx),
				 VIOMMU_WRITE);
	vq->avail_wrap = vq->used_wrap = true;
	return 0;
}

void viommu_virtq_begin(struct viommu_virtq *vq)
{
	vq->desc.len = vq->driver.len = vq->device.len = 0;
	vq->unreached = false;
}

int viommu_virtq_pop(struct viommu_virtq *vq, struct viommu_chain *chain,
		     struct viommu_virtq_buf *bufs, unsigned max)
{
	struct chain_walk walk = {.vq = vq, .chain = chain, .bufs = bufs, .max = max};

	if (vq->broken)
		return err(EIO, "the ring is broken");
	*chain = (struct viommu_chain){0};
	return vq->cfg.packed ? packed_pop(vq, &walk) : split_pop(vq, &walk);
}

void viommu_virtq_unpop(struct viommu_virtq *vq, const struct viommu_chain *chain)
{
	if (chain->ring_slots > vq->in_flight)
		return;
	if (vq->cfg.packed)
		packed_unpop(vq, chain->ring_slots);
	else
		split_unpop(vq);
}

int viommu_virtq_push(struct viommu_virtq *vq, const struct viommu_chain *chain,
		      uint32_t len)
{
	if (!chain->ring_slots || chain->ring_slots > vq->in_flight)
		return err(EINVAL, "chain was not popped from this ring");
	if (vq->cfg.packed)
		return packed_push(vq, chain, len);
	return split_push(vq, chain->id, len);
}

bool viommu_virtq_publish(struct viommu_virtq *vq)
{
	return vq->cfg.packed ? packed_publish(vq) : split_publish(vq);
}

bool viommu_virtq_has_work(struct viommu_virtq *vq)
{
	if (vq->broken)
		return false;
	return vq->cfg.packed ? packed_has_work(vq) : split_has_work(vq);
}

void viommu_virtq_disable_notify(struct viommu_virtq *vq)
{
	if (vq->notify_state == NOTIFY_OFF)
		return;
	if (vq->cfg.packed)
		packed_disable_notify(vq);
	else
		split_disable_notify(vq);
}

bool viommu_virtq_enable_notify(struct viommu_virtq *vq)
{
	bool armed = vq->cfg.packed ? packed_arm_notify(vq) : split_arm_notify(vq);

	if (!armed)
		return false;
	/* Pairs with the full barrier in the driver between making chains
	 * available and reading whether to notify. Without it both could miss
	 * the other's store and the chain would wait for the next one. */
	fence_full();
	return viommu_virtq_has_work(vq);
}

void viommu_virtq_save(const struct viommu_virtq *vq, struct viommu_virtq_state *out)
{
	*out = (struct viommu_virtq_state){
		.avail_idx = vq->avail_idx,
		.used_idx = vq->used_idx,
		.avail_wrap = vq->avail_wrap,
		.used_wrap = vq->used_wrap,
	};
}

int viommu_virtq_restore(struct viommu_virtq *vq, const struct viommu_virtq_state *state)
{
	/* Nothing was out, so both positions are the same. */
	if (state->avail_idx != state->used_idx || state->avail_wrap != state->used_wrap)
		return err(EINVAL, "positions saved with chains out");
	if (vq->cfg.packed && state->avail_idx >= vq->cfg.size)
		return err(EINVAL, "position outside of the ring");
	if (!vq->cfg.packed && !state->avail_wrap)
		return err(EINVAL, "wrap counter of a split ring");
	vq->avail_idx = vq->used_idx = state->avail_idx;
	vq->avail_wrap = vq->used_wrap = state->avail_wrap;
	vq->seen_idx = vq->published_idx = state->avail_idx;
	vq->in_flight = vq->pending_slots = 0;
	vq->broken = false;
	vq->notify_state = NOTIFY_UNKNOWN;
	return 0;
}
