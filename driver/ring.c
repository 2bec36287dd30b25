/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Memory and life of one ring; the ring itself is virtq/driver.h. */
#include "drv.h"

#include "virtio.h"

/* A request is one readable and one writable buffer. */
#define TABLE_NR 2u

static uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

/* Where each part of the shared memory starts. Parts that different sides write
 * do not share a cache line. */
struct layout {
	uint64_t driver, device, tables, extra, end;
};

static struct layout ring_layout(const struct drv_ring *ring, size_t extra_each)
{
	struct layout at;

	at.driver = align_up(drvq_desc_len(ring->size), CACHE_LINE);
	at.device = align_up(at.driver + drvq_driver_len(ring->size, ring->packed),
			     CACHE_LINE);
	at.tables = align_up(at.device + drvq_device_len(ring->size, ring->packed),
			     CACHE_LINE);
	at.extra = align_up(at.tables + drvq_tables_len(ring->size, ring->table_nr),
			    CACHE_LINE);
	at.end = at.extra + extra_each * ring->size;
	return at;
}

int drv_ring_alloc(struct viommu_drv *drv, struct drv_ring *ring, uint16_t index,
		   uint16_t size, size_t extra_each)
{
	uint16_t max = drv->transport.queue_max(drv->transport_opaque, index);
	struct layout at;

	if (!max)
		return err(ENODEV, "a queue is missing");
	if (max > DRVQ_SIZE_MAX)
		max = DRVQ_SIZE_MAX;
	if (size > max)
		size = max;
	while (!is_pow2(size))
		size &= size - 1;
	ring->index = index;
	ring->size = size;
	ring->packed = drv_has(drv, VIRTIO_F_RING_PACKED);
	ring->table_nr = drv_has(drv, VIRTIO_F_INDIRECT_DESC) ? TABLE_NR : 0;
	at = ring_layout(ring, extra_each);
	ring->mem_len = at.end;
	ring->extra = at.extra;
	ring->slots = drv_alloc(drv, size * sizeof(*ring->slots));
	ring->mem = drv->platform.alloc_shared(drv->platform_opaque, ring->mem_len,
					       CACHE_LINE, &ring->mem_pa);
	if (!ring->slots || !ring->mem)
		return err(ENOMEM, "ring memory");
	return 0;
}

int drv_ring_start(struct viommu_drv *drv, struct drv_ring *ring)
{
	struct layout at = ring_layout(ring, 0);
	uint8_t *mem = ring->mem;
	struct drvq_config cfg = {
		.size = ring->size,
		.packed = ring->packed,
		.event_idx = drv_has(drv, VIRTIO_F_EVENT_IDX),
		.desc = mem,
		.driver = mem + at.driver,
		.device = mem + at.device,
		.slots = ring->slots,
		.tables = mem + at.tables,
		.tables_dma = ring->mem_pa + at.tables,
		.table_nr = ring->table_nr,
	};
	struct viommu_drv_queue_setup setup = {
		.index = ring->index,
		.size = ring->size,
		.desc = ring->mem_pa,
		.driver = ring->mem_pa + at.driver,
		.device = ring->mem_pa + at.device,
	};
	int r;

	drv_zero(ring->mem, ring->mem_len);
	r = drvq_init(&ring->q, &cfg);
	if (r)
		return r;
	return drv->transport.queue_setup(drv->transport_opaque, &setup);
}

void drv_ring_free(struct viommu_drv *drv, struct drv_ring *ring)
{
	drv_free(drv, ring->slots, ring->size * sizeof(*ring->slots));
	/* A device that was not seen to stop may still write there. */
	if (ring->mem && !drv->stuck)
		drv->platform.free_shared(drv->platform_opaque, ring->mem, ring->mem_len);
	ring->slots = NULL;
	ring->mem = NULL;
}

bool drv_ring_publish(struct viommu_drv *drv, struct drv_ring *ring)
{
	bool kick = drvq_publish(&ring->q);

	if (drv->platform.device_barrier)
		drv->platform.device_barrier(drv->platform_opaque);
	return kick;
}

void drv_ring_kick(struct viommu_drv *drv, struct drv_ring *ring)
{
	drv->transport.kick(drv->transport_opaque, ring->index);
}
