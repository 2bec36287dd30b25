/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The request queue: requests are taken, written, posted, published together
 * and waited for. What the device says is believed only as far as it was asked:
 * a reply is for a request that is out, has the length of a reply, and a status
 * that exists. Anything else quarantines the queue.
 */
#include "drv.h"

#include "proto/proto.h"

/* Requests after which a device that polls is shown what there is, so that it
 * works while the rest is being written. */
#define EARLY_NR 4u
/* Spins between two looks at the clock. */
#define SPINS_PER_CLOCK 64u
/* What a reply holds before the device writes it: no device means it. Without
 * it the OK of an earlier request in the same place could be taken for an answer
 * to a request that the device has not looked at. */
#define STATUS_NONE 0xffu

bool drv_wait_turn(const struct viommu_drv *drv, struct drv_wait *wait)
{
	drv_relax(drv, wait->spins++);
	if (wait->spins % SPINS_PER_CLOCK)
		return false;
	if (!wait->deadline) {
		wait->deadline = drv_now(drv) + drv->config.request_timeout_ns;
		return false;
	}
	return drv_now(drv) >= wait->deadline;
}

int drv_reqq_init(struct drv_reqq *rq, struct viommu_drv *drv, uint16_t index)
{
	int r;

	rq->drv = drv;
	drv_lock_init(drv, &rq->lock);
	r = drv_ring_alloc(drv, &rq->ring, index, drv->config.queue_size,
			   sizeof(struct drv_wire));
	if (r)
		return r;
	rq->requests_nr = rq->ring.table_nr ? rq->ring.size : rq->ring.size / 2;
	if (!rq->requests_nr)
		return err(ENODEV, "the request queue is too small");
	rq->requests = drv_alloc(drv, rq->requests_nr * sizeof(*rq->requests));
	if (!rq->requests)
		return err(ENOMEM, "requests");
	return 0;
}

static void put_request(struct drv_reqq *rq, struct drv_request *req)
{
	req->batch = NULL;
	req->next = rq->free;
	rq->free = req;
}

int drv_reqq_start(struct drv_reqq *rq)
{
	uintptr_t state = drv_lock(rq->drv, &rq->lock);
	int r = drv_ring_start(rq->drv, &rq->ring);

	rq->free = NULL;
	for (unsigned i = rq->requests_nr; i-- > 0;)
		put_request(rq, &rq->requests[i]);
	/* Replies are polled for. */
	if (!r)
		drvq_disable_notify(&rq->ring.q);
	rq->told = rq->polled = rq->kick_due = false;
	rq->hidden_nr = 0;
	/* Pairs with nothing: readers that see the old value only fail late. */
	store_relaxed(&rq->broken, r);
	drv_unlock(rq->drv, &rq->lock, state);
	return r;
}

void drv_reqq_fini(struct drv_reqq *rq)
{
	if (!rq->drv)
		return;
	drv_free(rq->drv, rq->requests, rq->requests_nr * sizeof(*rq->requests));
	drv_ring_free(rq->drv, &rq->ring);
}

/* Lock held. Ends a request for whoever waits for it. */
static void finish(struct drv_request *req, int error)
{
	struct viommu_drv_batch *batch = req->batch;

	if (!batch)
		return;
	req->batch = NULL;
	if (error && !batch->error) {
		store_relaxed(&batch->error, error);
		batch->fail_start = req->start;
		batch->fail_last = req->last;
	}
	/* Pairs with the acquire in batch_done(): who sees 0 sees the error,
	 * and may take the batch away, so this is the last access. */
	store_release(&batch->pending, batch->pending - 1);
}

static bool batch_done(const struct viommu_drv_batch *batch)
{
	/* Pairs with the release in finish(): the error is there when it is 0. */
	return load_acquire(&batch->pending) == 0;
}

/* Lock held. Requests that are out stay out: the device may still write their
 * replies, so they are not free before a reset. */
static void quarantine(struct drv_reqq *rq, int error)
{
	if (rq->broken)
		return;
	store_relaxed(&rq->broken, error);
	for (unsigned i = 0; i < rq->requests_nr; i++)
		finish(&rq->requests[i], error);
}

/* No lock held. Tells the owner, once. */
static void tell_quarantine(struct drv_reqq *rq)
{
	uintptr_t state = drv_lock(rq->drv, &rq->lock);
	bool tell = rq->broken && !rq->told;

	rq->told |= tell;
	drv_unlock(rq->drv, &rq->lock, state);
	if (tell && rq->drv->ops.quarantined)
		rq->drv->ops.quarantined(rq->drv->ops_opaque, load_relaxed(&rq->broken));
}

void drv_reqq_quarantine(struct drv_reqq *rq, int error)
{
	uintptr_t state = drv_lock(rq->drv, &rq->lock);

	quarantine(rq, error);
	rq->told = true; /* the owner asked for it */
	drv_unlock(rq->drv, &rq->lock, state);
}

/* 0 or what the device says; -EPROTO: no reply looks like this. */
static int reply_error(const struct drv_request *req, uint32_t len)
{
	/* VIRTIO 1.4, IOMMU device, operations: so a request is refused. */
	if (!len)
		return err(EIO, "the device has no answer to this request");
	if (len != req->writable_len)
		return err(EPROTO, "the reply ends before its status");
	/* The device can change the status at any time: one fetch. The ring's
	 * acquire of the used entry comes before it. */
	return proto_status_to_errno(load_relaxed(req->status));
}

/* Lock held. Ends one request by what its reply says. */
static void reap_one(struct drv_reqq *rq, const struct drvq_used *used)
{
	struct drv_request *req = used->cookie;
	int error = reply_error(req, used->len);

	if (error)
		drv_count(&rq->failed, 1);
	if (error != -EPROTO) {
		finish(req, error);
		put_request(rq, req);
		return;
	}
	/* It stays out: a device that gave it back too early may still use it.
	 * First, so that the batch tells its range. */
	finish(req, err(EIO, "the reply was never written, or makes no sense"));
	quarantine(rq, -EIO);
}

/* Takes all replies that are there. true: there were some. */
static bool reap(struct drv_reqq *rq)
{
	uintptr_t state = drv_lock(rq->drv, &rq->lock);
	struct drvq_used used;
	bool any = false;
	int r = 0;

	/* Bounded: no more than are out can come back. */
	while (!rq->broken && (r = drvq_poll(&rq->ring.q, &used)) > 0) {
		reap_one(rq, &used);
		any = true;
	}
	if (r < 0)
		quarantine(rq, err(EIO, "the used ring makes no sense"));
	drv_unlock(rq->drv, &rq->lock, state);
	return any;
}

int drv_reqq_take(struct drv_reqq *rq, struct drv_request **req)
{
	uintptr_t state = drv_lock(rq->drv, &rq->lock);
	int r = rq->broken;

	*req = rq->free;
	if (!r && !*req)
		r = -EAGAIN; /* the usual way to say "full": not an error */
	if (!r)
		rq->free = (*req)->next;
	drv_unlock(rq->drv, &rq->lock, state);
	return r;
}

void drv_reqq_untake(struct drv_reqq *rq, struct drv_request *req)
{
	uintptr_t state = drv_lock(rq->drv, &rq->lock);

	put_request(rq, req);
	drv_unlock(rq->drv, &rq->lock, state);
}

static uint64_t wire_offset(const struct drv_reqq *rq, const struct drv_request *req)
{
	return rq->ring.extra + (uint64_t)(req - rq->requests) * sizeof(struct drv_wire);
}

struct drv_wire *drv_reqq_wire(struct drv_reqq *rq, struct drv_request *req)
{
	return (struct drv_wire *)((uint8_t *)rq->ring.mem + wire_offset(rq, req));
}

/* Lock held. A request whose place in the ring is certain. */
static void add(struct drv_reqq *rq, struct drv_request *req, const struct drvq_buf *bufs,
		struct viommu_drv_batch *batch)
{
	int r;

	req->batch = batch;
	req->writable_len = bufs[1].len;
	/* Pairs with finish(), which is under the same lock. */
	store_relaxed(&batch->pending, batch->pending + 1);
	r = rq->broken ? rq->broken : drvq_add(&rq->ring.q, bufs, 1, 1, req);
	if (r) {
		finish(req, r);
		put_request(rq, req);
		return;
	}
	drv_count(&rq->posted, 1);
	if (++rq->hidden_nr >= EARLY_NR && rq->polled) {
		rq->kick_due |= drv_ring_publish(rq->drv, &rq->ring);
		rq->hidden_nr = 0;
	}
}

void drv_reqq_post(struct drv_reqq *rq, struct drv_request *req, uint32_t readable_len,
		   struct viommu_drv_batch *batch)
{
	uint64_t pa = rq->ring.mem_pa + wire_offset(rq, req);
	struct drv_wire *wire = drv_reqq_wire(rq, req);
	struct drvq_buf bufs[2] = {
		{pa, readable_len},
		{pa + offsetof(struct drv_wire, tail), sizeof(wire->tail)},
	};
	uintptr_t state;

	wire->tail = (struct virtio_iommu_req_tail){.status = STATUS_NONE};
	req->status = &wire->tail.status;
	state = drv_lock(rq->drv, &rq->lock);
	add(rq, req, bufs, batch);
	if (req->type == VIRTIO_IOMMU_T_MAP)
		drv_count(&rq->maps, 1);
	else if (req->type == VIRTIO_IOMMU_T_UNMAP)
		drv_count(&rq->unmaps, 1);
	drv_unlock(rq->drv, &rq->lock, state);
}

/* Shows the device what was posted. */
static void publish(struct drv_reqq *rq)
{
	uintptr_t state = drv_lock(rq->drv, &rq->lock);
	bool kick = false;

	if (!rq->broken && (rq->hidden_nr || rq->kick_due)) {
		kick = drv_ring_publish(rq->drv, &rq->ring) || rq->kick_due;
		rq->polled = !kick;
		rq->kick_due = false;
		rq->hidden_nr = 0;
	}
	if (kick)
		drv_count(&rq->notifications, 1);
	drv_unlock(rq->drv, &rq->lock, state);
	if (kick)
		drv_ring_kick(rq->drv, &rq->ring);
}

static int time_out(struct drv_reqq *rq)
{
	uintptr_t state = drv_lock(rq->drv, &rq->lock);
	int r;

	quarantine(rq, err(ETIMEDOUT, "the device does not answer"));
	r = rq->broken;
	drv_unlock(rq->drv, &rq->lock, state);
	tell_quarantine(rq);
	return r;
}

int drv_reqq_wait_room(struct drv_reqq *rq)
{
	struct drv_wait wait = {0};

	publish(rq);
	while (!reap(rq)) {
		int r = load_relaxed(&rq->broken);
		uintptr_t state;
		bool room;

		if (r) {
			tell_quarantine(rq);
			return r;
		}
		/* Another thread may have taken the replies. */
		state = drv_lock(rq->drv, &rq->lock);
		room = rq->free;
		drv_unlock(rq->drv, &rq->lock, state);
		if (room)
			return 0;
		if (drv_wait_turn(rq->drv, &wait))
			return time_out(rq);
	}
	return 0;
}

int drv_reqq_sync(struct drv_reqq *rq, struct viommu_drv_batch *batch)
{
	struct drv_wait wait = {0};

	if (!batch_done(batch)) {
		publish(rq);
		/* Shared by threads, so not a plain count. */
		add_relaxed(&rq->syncs, 1);
	}
	while (!batch_done(batch)) {
		if (reap(rq))
			continue;
		if (drv_wait_turn(rq->drv, &wait))
			time_out(rq);
	}
	if (load_relaxed(&rq->broken))
		tell_quarantine(rq);
	return batch->error;
}

int drv_reqq_probe(struct drv_reqq *rq, uint32_t readable_len, uint32_t writable_len)
{
	struct viommu_drv *drv = rq->drv;
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct drvq_buf bufs[2] = {{drv->probe_pa, readable_len},
				   {drv->probe_pa + readable_len, writable_len}};
	uint8_t *status = (uint8_t *)drv->probe + readable_len + writable_len -
			  sizeof(struct virtio_iommu_req_tail);
	struct drv_request *req;
	uintptr_t state;
	int r;

	while ((r = drv_reqq_take(rq, &req)) == -EAGAIN) {
		r = drv_reqq_wait_room(rq);
		if (r)
			return r;
	}
	if (r)
		return r;
	req->start = 0;
	req->last = 0;
	*status = STATUS_NONE;
	req->status = status;
	state = drv_lock(drv, &rq->lock);
	add(rq, req, bufs, &batch);
	drv_unlock(drv, &rq->lock, state);
	return drv_reqq_sync(rq, &batch);
}
