/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Requests from a ring or from plain buffers, in order and within a budget. */
#include <string.h>

#include "base/atomic.h"
#include "base/err.h"
#include "base/log.h"
#include "device/device.h"

int viommu_device_set_queue(struct viommu_device *dev, unsigned queue,
			    struct viommu_virtq *vq)
{
	struct parked *p = &dev->parked;

	if (queue >= VIOMMU_QUEUES_NR)
		return err(EINVAL, "no such queue");
	dev->queue[queue] = vq;
	dev->broken[queue] = false;
	/* the ring the parked request came from is gone, and its reply with it */
	if (queue == VIOMMU_QUEUE_REQUEST && p->from_ring)
		request_abandon(dev);
	if (queue == VIOMMU_QUEUE_REQUEST)
		dev->batch.left_ns = 0;
	return 0;
}

void device_report_broken(struct viommu_device *dev, unsigned queue)
{
	if (dev->broken[queue])
		return;
	dev->broken[queue] = true;
	log_warn(&dev->log, "the driver broke the %s queue; it has to reset the device",
		 queue == VIOMMU_QUEUE_REQUEST ? "request" : "event");
	if (dev->ops.needs_reset)
		dev->ops.needs_reset(dev->opaque);
}

/* Gives a chain back, or keeps it for the next turn. */
static bool give_back(struct viommu_device *dev, const struct viommu_chain *chain,
		      uint32_t used)
{
	struct viommu_virtq *vq = dev->queue[VIOMMU_QUEUE_REQUEST];
	struct parked *p = &dev->parked;

	if (!viommu_virtq_push(vq, chain, used))
		return true;
	*p = (struct parked){.phase = PARK_PUSH, .from_ring = true, .used = used};
	p->chain = *chain;
	return false;
}

/* The request parked by an earlier turn. false: the queue has to wait. */
static bool finish_parked(struct viommu_device *dev, unsigned *work)
{
	struct viommu_virtq *vq = dev->queue[VIOMMU_QUEUE_REQUEST];
	struct parked *p = &dev->parked;
	struct viommu_chain chain = p->chain;
	uint32_t used = p->used;

	if (p->phase == PARK_NONE)
		return true;
	if (!p->from_ring)
		return false;
	if (p->phase == PARK_HOLD) {
		if (request_finish(dev, &vq->mem, &used))
			return false;
		batch_late(dev, p);
	}
	p->phase = PARK_NONE;
	if (!give_back(dev, &chain, used))
		return false;
	*work |= VIOMMU_WORK_DONE;
	return true;
}

/* The next request of the ring. false: none, or the queue has to wait. */
static bool serve_one(struct viommu_device *dev)
{
	struct viommu_virtq *vq = dev->queue[VIOMMU_QUEUE_REQUEST];
	struct viommu_chain chain;
	struct message msg = {.mem = &vq->mem};
	uint32_t used = 0;
	int r = viommu_virtq_pop(vq, &chain, dev->bufs, ARRAY_LEN(dev->bufs));

	if (r == -EIO)
		device_report_broken(dev, VIOMMU_QUEUE_REQUEST);
	if (r == 0 || r == -EFAULT || r == -EIO)
		return false;
	if (!dev->batch.found_ns)
		batch_open(dev);
	if (r < 0) { /* a chain that cannot be walked: the driver's mistake */
		request_unanswered(dev, NULL);
		return give_back(dev, &chain, 0);
	}
	msg.readable = dev->bufs;
	msg.readable_nr = chain.readable_nr;
	msg.writable = dev->bufs + chain.readable_nr;
	msg.writable_nr = chain.buf_nr - chain.readable_nr;
	msg.writable_len = chain.writable_len;
	if (request_handle(dev, &msg, &used)) {
		dev->parked.from_ring = true;
		dev->parked.found_ns = dev->batch.found_ns;
		dev->parked.chain = chain;
		return false;
	}
	return give_back(dev, &chain, used);
}

static unsigned serve_requests(struct viommu_device *dev, unsigned budget)
{
	struct viommu_virtq *vq = dev->queue[VIOMMU_QUEUE_REQUEST];
	unsigned work = 0;

	viommu_virtq_begin(vq);
	if (finish_parked(dev, &work)) {
		while (budget && serve_one(dev)) {
			budget--;
			work |= VIOMMU_WORK_DONE;
		}
		if (!budget && viommu_virtq_has_work(vq))
			work |= VIOMMU_WORK_MORE;
	}
	/* No device reaches what was unmapped when the driver sees the replies;
	 * one wait for all of them. */
	space_settle(dev->space);
	/* One store for the whole batch, at most one notification; also what an
	 * earlier turn could not publish because memory was out of reach. */
	if (viommu_virtq_publish(vq))
		work |= VIOMMU_WORK_NOTIFY_REQUEST;
	if (dev->batch.found_ns)
		batch_close(dev,
			    work & VIOMMU_WORK_MORE || (dev->parked.phase != PARK_NONE &&
							viommu_virtq_has_work(vq)));
	return work;
}

static unsigned serve_events(struct viommu_device *dev, unsigned budget)
{
	struct viommu_virtq *vq = dev->queue[VIOMMU_QUEUE_EVENT];
	unsigned work;

	viommu_virtq_begin(vq);
	work = fault_report(dev, &budget);
	if (!budget && fault_queue_peek(&dev->faults) && viommu_virtq_has_work(vq))
		work |= VIOMMU_WORK_MORE;
	return work;
}

unsigned viommu_device_process(struct viommu_device *dev, unsigned budget)
{
	unsigned work = 0;

	/* full: pairs with the exchange in device_wake(): whoever finds 1 there
	 * has put down what the code below finds */
	exchange_full(&dev->woken, 0);
	if (dev->queue[VIOMMU_QUEUE_REQUEST])
		work |= serve_requests(dev, budget);
	if (dev->queue[VIOMMU_QUEUE_EVENT])
		work |= serve_events(dev, budget);
	/* Nobody waits now: the replies are out. Tried again by each call. */
	(void)space_refill(dev->space);
	if (dev->parked.phase != PARK_NONE)
		work |= VIOMMU_WORK_PARKED;
	return work;
}

static bool same_request(const struct parked *p, const struct iovec *in, unsigned in_nr,
			 const struct iovec *out, unsigned out_nr)
{
	return p->phase == PARK_HOLD && !p->from_ring && p->in == in &&
	       p->in_nr == in_nr && p->out == out && p->out_nr == out_nr;
}

/* Plain buffers as those of a chain in identity_mem; their bytes. */
static uint64_t add_buffers(struct viommu_virtq_buf *bufs, const struct iovec *iov,
			    unsigned nr)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < nr; i++) {
		size_t part = iov[i].iov_len;

		/* No request is near that size, so nobody misses the rest. */
		if (part > UINT32_MAX)
			part = UINT32_MAX;
		bufs[i] = (struct viommu_virtq_buf){
			.addr = (uintptr_t)iov[i].iov_base,
			.len = (uint32_t)part,
		};
		len += part;
	}
	return len;
}

int viommu_device_request(struct viommu_device *dev, const struct iovec *in,
			  unsigned in_nr, const struct iovec *out, unsigned out_nr,
			  size_t *written)
{
	struct message msg = {.mem = &identity_mem};
	struct parked *p = &dev->parked;
	uint32_t used = 0;
	int r;

	if (p->phase != PARK_NONE && !same_request(p, in, in_nr, out, out_nr))
		return err(EBUSY, "another request is parked");
	if (in_nr > ARRAY_LEN(dev->bufs) || out_nr > ARRAY_LEN(dev->bufs) - in_nr)
		return err(E2BIG, "more than VIOMMU_VIRTQ_CHAIN_MAX buffers");
	if (p->phase != PARK_NONE) {
		r = request_finish(dev, &identity_mem, &used);
	} else {
		add_buffers(dev->bufs, in, in_nr);
		msg.readable = dev->bufs;
		msg.readable_nr = in_nr;
		msg.writable = dev->bufs + in_nr;
		msg.writable_nr = out_nr;
		msg.writable_len = add_buffers(dev->bufs + in_nr, out, out_nr);
		if (unlikely(dev->tracer.fn))
			dev->tracer.from_ns = dev->ops.now_ns(dev->opaque);
		r = request_handle(dev, &msg, &used);
		space_settle(dev->space);
		if (r) {
			p->in = in;
			p->in_nr = in_nr;
			p->out = out;
			p->out_nr = out_nr;
		}
	}
	if (!r)
		*written = used;
	return r;
}
