/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Faults: recorded on any thread without a lock, reported by the control side.
 *
 * The queue. A producer first takes a unit of room (at most as many as there
 * are cells), then a ticket; tickets are consumed in order, so the cell of ticket
 * t is free once t - NR was consumed, and that holds because room is given back
 * only after. `ready` tells the consumer that the cell of its next ticket has
 * been filled in.
 */
#include "base/atomic.h"
#include "base/err.h"
#include "device/device.h"

#define US_PER_SECOND 1000000u

enum { TAKEN, OVER_RATE, NOT_MINE };

/*
 * A word says whose it is and up to when its rate is used. One that is zero (never
 * used) or lies in the past says nothing, so its place is anybody's. The clock is
 * modulo 2^32 us: a word left alone for 71 minutes may for two seconds look like
 * one in use, which delays an event and harms nothing. Two seconds, not one,
 * because the clocks of two threads may be a little apart.
 */
static int take_from(uint64_t *word, uint32_t endpoint, uint32_t step, uint32_t now,
		     bool claim)
{
	/* relaxed, both: the word is all there is, it guards no other memory */
	uint64_t old = load_relaxed(word), new;

	do {
		uint32_t used = (uint32_t)old - now;
		bool idle = !old || !used || used > 2 * US_PER_SECOND;

		if (idle ? !claim : old >> 32 != endpoint)
			return NOT_MINE;
		if (idle)
			used = 0;
		if (used > US_PER_SECOND - step)
			return OVER_RATE;
		new = (uint64_t)endpoint << 32 | (uint32_t)(now + used + step);
	} while (!cas_relaxed(word, &old, new));
	return TAKEN;
}

/* Takes one event out of the rate of the endpoint, which may use a second's worth
 * at once. Threads of one endpoint look for a place in the same order, so they
 * meet in the same one. */
static bool take_rate(struct fault_queue *q, uint32_t endpoint, uint32_t rate,
		      uint32_t now)
{
	uint32_t step = US_PER_SECOND / rate;
	uint32_t first = endpoint * 2654435761u;

	for (unsigned i = 0; i < 2 * LIMIT_FAULT_SOURCES; i++) {
		uint64_t *word = &q->source[(first + i) % LIMIT_FAULT_SOURCES];
		int r = take_from(word, endpoint, step, now, i >= LIMIT_FAULT_SOURCES);

		if (r != NOT_MINE)
			return r == TAKEN;
	}
	return false;
}

static int enqueue(struct fault_queue *q, const struct proto_fault *fault)
{
	struct fault_cell *cell;
	uint64_t ticket;

	/* acquire: pairs with the release in fault_queue_drop(); see the ticket */
	if (add_acquire(&q->room_taken, 1) >= LIMIT_FAULTS_PENDING) {
		/* release: as in fault_queue_drop(), keeps the chain of units */
		sub_release(&q->room_taken, 1);
		return err(ENOSPC, "too many faults not yet reported");
	}
	/* acquire and release: pairs with itself in the producers before and after.
	 * Of the producers with tickets up to ours one at least took its unit after
	 * the drop that freed our cell; it need not be us. Without this we could
	 * write the cell while the consumer still reads it. */
	ticket = add_acq_rel(&q->next, 1);
	cell = &q->cell[ticket % LIMIT_FAULTS_PENDING];
	cell->fault = *fault;
	/* release: pairs with the acquire in fault_queue_peek(); without it the
	 * consumer could read a cell half filled in */
	store_release(&cell->ready, ticket + 1);
	return 0;
}

int fault_queue_put(struct fault_queue *q, const struct proto_fault *fault, uint32_t rate,
		    uint64_t now_ns)
{
	if (!take_rate(q, fault->endpoint, rate, (uint32_t)(now_ns / 1000)))
		return err(EAGAIN, "endpoint is over its rate of fault events");
	return enqueue(q, fault);
}

const struct proto_fault *fault_queue_peek(struct fault_queue *q)
{
	struct fault_cell *cell = &q->cell[q->head % LIMIT_FAULTS_PENDING];

	/* acquire: pairs with the release in enqueue() */
	return load_acquire(&cell->ready) == q->head + 1 ? &cell->fault : NULL;
}

void fault_queue_drop(struct fault_queue *q)
{
	q->head++;
	/* release: pairs with the acquire in enqueue(): the cell is read no more */
	sub_release(&q->room_taken, 1);
}

void device_wake(struct viommu_device *dev)
{
	/* full: pairs with the exchange in viommu_device_process(). Either this
	 * one finds 0 and wakes, or process comes after it and sees what was
	 * put down before; without it a fault could wait for the next one. */
	if (!exchange_full(&dev->woken, 1) && dev->ops.wake)
		dev->ops.wake(dev->opaque);
}

static void tell_owner(struct viommu_device *dev, const struct proto_fault *fault)
{
	struct viommu_fault_info info = {.endpoint = fault->endpoint,
					 .reason = fault->reason,
					 .flags = fault->flags,
					 .address = fault->address};

	if (dev->ops.fault)
		dev->ops.fault(dev->opaque, &info);
}

void fault_record(void *opaque, const struct space_fault *f)
{
	struct viommu_device *dev = opaque;
	struct device_counters *c = &dev->counters;
	struct proto_fault fault = {f->reason, f->flags, f->endpoint, f->address};
	int r;

	if (fault.reason >= ARRAY_LEN(c->fault))
		fault.reason = VIRTIO_IOMMU_FAULT_R_UNKNOWN;
	(void)PROBE3(fault, fault.endpoint, fault.address, fault.reason);
	/* relaxed, here and below: counters, read for their value alone */
	add_relaxed(&c->fault[fault.reason], 1);
	r = fault_queue_put(&dev->faults, &fault, dev->cfg.fault_rate,
			    dev->ops.now_ns(dev->opaque));
	if (!r) {
		device_wake(dev);
		tell_owner(dev, &fault);
	} else if (r == -EAGAIN) {
		add_relaxed(&c->events_limited, 1);
	} else {
		add_relaxed(&c->events_dropped, 1);
	}
}

static void drop_event(struct viommu_device *dev)
{
	fault_queue_drop(&dev->faults);
	add_relaxed(&dev->counters.events_dropped, 1); /* relaxed: a counter */
}

/* The next fault of an endpoint that is still there (a report SHOULD name a valid
 * one); NULL: none. */
static const struct proto_fault *next_fault(struct viommu_device *dev)
{
	const struct proto_fault *fault;

	while ((fault = fault_queue_peek(&dev->faults))) {
		if (space_endpoint_find(dev->space, fault->endpoint))
			return fault;
		drop_event(dev);
	}
	return NULL;
}

void fault_abandon(struct viommu_device *dev)
{
	while (fault_queue_peek(&dev->faults))
		drop_event(dev);
}

bool viommu_device_next_event(struct viommu_device *dev, uint8_t event[24])
{
	const struct proto_fault *fault = next_fault(dev);

	if (!fault)
		return false;
	proto_encode_fault(event, fault);
	fault_queue_drop(&dev->faults);
	dev->counters.events_sent++;
	return true;
}

/* Writes the fault into the chain; the used length. A report is never spread
 * over several chains: one that is too small, or cannot be reached, goes back
 * with length 0 (no shorter report was ever defined). */
static uint32_t write_event(struct viommu_device *dev, const struct viommu_chain *chain,
			    const struct proto_fault *fault)
{
	const struct viommu_virtq *vq = dev->queue[VIOMMU_QUEUE_EVENT];
	struct message msg = {
		.mem = &vq->mem,
		.writable = dev->bufs + chain->readable_nr,
		.writable_nr = chain->buf_nr - chain->readable_nr,
		.writable_len = chain->writable_len,
	};
	struct message_cursor at = {.msg = &msg};
	uint8_t event[PROTO_FAULT_LEN];

	if (msg.writable_len < PROTO_FAULT_LEN || message_check(&msg, PROTO_FAULT_LEN))
		return 0;
	proto_encode_fault(event, fault);
	return message_write(&at, event, sizeof(event)) ? 0 : PROTO_FAULT_LEN;
}

unsigned fault_report(struct viommu_device *dev, unsigned *budget)
{
	struct viommu_virtq *vq = dev->queue[VIOMMU_QUEUE_EVENT];
	const struct proto_fault *fault;
	struct viommu_chain chain;
	unsigned work = 0;

	while (*budget && (fault = next_fault(dev))) {
		int r = viommu_virtq_pop(vq, &chain, dev->bufs, ARRAY_LEN(dev->bufs));
		uint32_t used = 0;

		if (r == -EIO)
			device_report_broken(dev, VIOMMU_QUEUE_EVENT);
		if (r == 0 || r == -EFAULT || r == -EIO)
			break; /* faults wait for buffers */
		if (r > 0)
			used = write_event(dev, &chain, fault);
		if (viommu_virtq_push(vq, &chain, used)) {
			viommu_virtq_unpop(vq, &chain);
			break;
		}
		--*budget;
		work = VIOMMU_WORK_DONE;
		if (!used)
			continue;
		fault_queue_drop(&dev->faults);
		dev->counters.events_sent++;
	}
	if (work && viommu_virtq_publish(vq))
		work |= VIOMMU_WORK_NOTIFY_EVENT;
	return work;
}
