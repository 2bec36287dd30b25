/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The event queue: fault reports of the device ("Fault reporting"). */
#include "drv.h"

#include "proto/proto.h"

/* A buffer for one report; the device does not share cache lines. */
struct event_room {
	struct virtio_iommu_fault fault;
	uint8_t unused[8];
};

int drv_events_init(struct viommu_drv *drv)
{
	/* The first event queue; others stay empty. */
	drv_lock_init(drv, &drv->events.lock);
	return drv_ring_alloc(drv, &drv->events.ring, 1, drv->config.events_nr,
			      sizeof(struct event_room));
}

void drv_events_fini(struct viommu_drv *drv)
{
	drv_ring_free(drv, &drv->events.ring);
}

static struct event_room *room_at(struct drv_ring *ring, unsigned i)
{
	return (struct event_room *)((uint8_t *)ring->mem + ring->extra) + i;
}

/* Lock held. Gives one buffer to the device. */
static int give(struct drv_ring *ring, struct event_room *room)
{
	uint64_t offset = (uint64_t)((uint8_t *)room - (uint8_t *)ring->mem);
	struct drvq_buf buf = {ring->mem_pa + offset, sizeof(room->fault)};

	return drvq_add(&ring->q, &buf, 0, 1, room);
}

int drv_events_prepare(struct viommu_drv *drv)
{
	struct drv_events *events = &drv->events;
	uintptr_t state = drv_lock(drv, &events->lock);
	int r;

	events->closed = true;
	r = drv_ring_start(drv, &events->ring);
	drv_unlock(drv, &events->lock, state);
	return r;
}

void drv_events_start(struct viommu_drv *drv)
{
	struct drv_events *events = &drv->events;
	uintptr_t state = drv_lock(drv, &events->lock);
	bool kick;
	int r = 0;

	for (unsigned i = 0; !r && i < events->ring.size; i++)
		r = give(&events->ring, room_at(&events->ring, i));
	events->closed = r != 0;
	kick = !r && drv_ring_publish(drv, &events->ring);
	drv_unlock(drv, &events->lock, state);
	if (kick)
		drv_ring_kick(drv, &events->ring);
}

/* The report in the driver's terms. false: to be ignored. */
static bool decode(const uint8_t *wire, uint32_t len, struct viommu_drv_fault *fault)
{
	static const enum viommu_drv_fault_reason reason_of[] = {
		[VIRTIO_IOMMU_FAULT_R_UNKNOWN] = VIOMMU_DRV_FAULT_UNKNOWN,
		[VIRTIO_IOMMU_FAULT_R_DOMAIN] = VIOMMU_DRV_FAULT_DOMAIN,
		[VIRTIO_IOMMU_FAULT_R_MAPPING] = VIOMMU_DRV_FAULT_MAPPING,
	};
	struct proto_fault in;

	if (proto_decode_fault(wire, len, &in))
		return false;
	*fault = (struct viommu_drv_fault){
		.reason = reason_of[in.reason],
		.endpoint = in.endpoint,
		.address = in.address,
	};
	if (in.flags & VIRTIO_IOMMU_FAULT_F_READ)
		fault->flags |= VIOMMU_DRV_FAULT_READ;
	if (in.flags & VIRTIO_IOMMU_FAULT_F_WRITE)
		fault->flags |= VIOMMU_DRV_FAULT_WRITE;
	if (in.flags & VIRTIO_IOMMU_FAULT_F_ADDRESS)
		fault->flags |= VIOMMU_DRV_FAULT_ADDRESS;
	return true;
}

/* Takes one event: 1, with *valid; 0: none; -EIO. */
static int take(struct viommu_drv *drv, struct viommu_drv_fault *fault, bool *valid)
{
	struct drv_events *events = &drv->events;
	uintptr_t state = drv_lock(drv, &events->lock);
	uint8_t wire[PROTO_FAULT_LEN];
	struct drvq_used used;
	int r = events->closed ? -EIO : drvq_poll(&events->ring.q, &used);

	if (r > 0) {
		const struct event_room *room = used.cookie;

		/* Copied once; the device may change it meanwhile. */
		drv_copy(wire, &room->fault, sizeof(wire));
		*valid = decode(wire, used.len, fault);
		drv_count(*valid ? &events->faults : &events->bad, 1);
		if (give(&events->ring, used.cookie))
			r = err(EIO, "no room for an event buffer");
	}
	if (r < 0)
		events->closed = true;
	drv_unlock(drv, &events->lock, state);
	return r;
}

static void publish(struct viommu_drv *drv)
{
	struct drv_events *events = &drv->events;
	uintptr_t state = drv_lock(drv, &events->lock);
	bool kick = !events->closed && drv_ring_publish(drv, &events->ring);

	drv_unlock(drv, &events->lock, state);
	if (kick)
		drv_ring_kick(drv, &events->ring);
}

int viommu_drv_poll_events(struct viommu_drv *drv)
{
	struct viommu_drv_fault fault;
	unsigned taken = 0;
	int nr = 0, r = 0;
	bool valid;

	/* One ring at most, so that a flood of faults does not keep the caller. */
	while (taken < drv->events.ring.size && (r = take(drv, &fault, &valid)) > 0) {
		taken++;
		if (!valid)
			continue;
		nr++;
		if (drv->ops.fault)
			drv->ops.fault(drv->ops_opaque, &fault);
	}
	if (taken)
		publish(drv);
	return r < 0 ? r : nr;
}
