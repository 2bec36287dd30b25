/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The virtio block endpoint's requests, turns, and what ends them early. */
#include "endpoints/blk/internal.h"
#include "endpoints/types.h"

/* ---- requests ---- */

/* NULL: all under way. */
static struct request *get_request(struct blk *blk)
{
	struct request *req = blk->free;

	if (req) {
		blk->free = req->next;
		req->state = REQUEST_POPPED;
	}
	return req;
}

void request_unget(struct blk *blk, struct request *req)
{
	req->state = REQUEST_FREE;
	req->next = blk->free;
	blk->free = req;
}

void request_put(struct blk *blk, struct request *req)
{
	if (req->state != REQUEST_LOST) {
		blk->queue_inflight[req->queue->index]--;
		blk->inflight--;
	}
	request_unget(blk, req);
}

/* ---- turns ---- */

/* Takes up to `budget` chains. Inside a section. Result: how many. */
static unsigned take(struct blk *blk, struct virtio_queue *q, unsigned budget)
{
	enum virtio_popped popped;
	struct request *req;
	unsigned nr = 0;

	viommu_virtq_disable_notify(&q->vq);
	for (; nr < budget && (req = get_request(blk)) != NULL; nr++) {
		popped = virtio_pop(&blk->virtio, q, &req->chain, req->bufs,
				    blk->bufs_max);
		if (unlikely(popped != VIRTIO_TAKEN)) {
			request_unget(blk, req);
			if (popped == VIRTIO_NONE)
				break;
			continue;
		}
		req->queue = q;
		blk->queue_inflight[q->index]++;
		blk->inflight++;
		request_begin(blk, req);
	}
	if (blk->inflight > blk->stats.inflight_peak)
		blk->stats.inflight_peak = blk->inflight;
	return nr;
}

/* All queues, beginning with another one each turn. */
static unsigned take_all(struct blk *blk, unsigned budget, bool *more)
{
	unsigned nr = 0, n;

	for (unsigned i = 0; i < blk->queues_nr; i++) {
		struct virtio_queue *q =
			&blk->virtio.queue[(blk->first_queue + i) % blk->queues_nr];

		if (!virtio_is_watched(q))
			continue;
		n = take(blk, q, budget);
		*more |= n == budget;
		nr += n;
	}
	if (++blk->first_queue >= blk->queues_nr)
		blk->first_queue = 0;
	return nr;
}

/* One turn; budget 0: completions only. */
static unsigned turn(struct blk *blk, unsigned budget)
{
	bool more = false;
	unsigned done;

	block_settle(blk->block);
	virtio_begin(&blk->virtio);
	done = block_reap(blk->block);
	if (budget && virtio_may_run(&blk->virtio))
		done += take_all(blk, budget, &more);
	virtio_finish(&blk->virtio);
	latency_publish(&blk->latency);
	block_kick(blk->block);
	more |= block_has_more(blk->block);
	return (done ? ENDPOINT_DONE : 0) | (more ? ENDPOINT_MORE : 0);
}

/* ---- pages taken away while held ---- */

/* Control side: only notes it; the endpoint's thread cancels. */
static void revoke(void *opaque, uint64_t start, uint64_t last)
{
	struct blk *blk = virtio_to_blk(opaque);
	struct revokes *rv = &blk->revokes;

	pthread_mutex_lock(&rv->lock);
	if (rv->nr < BLK_REVOKES_MAX)
		rv->range[rv->nr] = (struct revoked){start, last};
	if (rv->nr <= BLK_REVOKES_MAX)
		rv->nr++;
	flag_set(&rv->pending, true);
	pthread_mutex_unlock(&rv->lock);
	if (blk->ep.env.wake)
		blk->ep.env.wake(blk->ep.env.opaque);
}

/* Takes the noted ranges, so that the control side never waits for the search. */
static unsigned take_revokes(struct revokes *rv, struct revoked *out)
{
	unsigned nr;

	pthread_mutex_lock(&rv->lock);
	nr = rv->nr;
	memcpy(out, rv->range, sizeof(rv->range));
	rv->nr = 0;
	flag_set(&rv->pending, false);
	pthread_mutex_unlock(&rv->lock);
	return nr;
}

static bool is_revoked(const struct request *req, const struct revoked *range,
		       unsigned nr)
{
	if (nr > BLK_REVOKES_MAX)
		return true;
	for (unsigned i = 0; i < nr; i++)
		if (request_overlaps(req, range[i].start, range[i].last))
			return true;
	return false;
}

static void cancel_revoked(struct blk *blk)
{
	struct revoked range[BLK_REVOKES_MAX];
	unsigned nr = take_revokes(&blk->revokes, range);

	for (unsigned i = 0; i < blk->inflight_max; i++) {
		struct request *req = &blk->request[i];

		if (req->state == REQUEST_STARTED && is_revoked(req, range, nr))
			block_cancel(blk->block, &req->io);
	}
}

/* ---- the event loop's side ---- */

static unsigned poll_blk(struct endpoint *ep, unsigned budget)
{
	struct blk *blk = to_blk(ep);

	blk->stats.polls++;
	latency_turn(&blk->latency, ep);
	block_disarm(blk->block);
	virtio_turn(&blk->virtio);
	if (unlikely(flag_test(&blk->revokes.pending)))
		cancel_revoked(blk);
	return turn(blk, budget ? budget : 1);
}

static bool arm(struct endpoint *ep)
{
	struct blk *blk = to_blk(ep);
	struct virtio_dev *dev = &blk->virtio;
	bool work = flag_test(&blk->revokes.pending);

	/* Without a free request only a completion makes a difference, and it
	 * signals the descriptor. */
	if (virtio_may_run(dev) && blk->free) {
		virtio_begin(dev);
		for (unsigned i = 0; i < blk->queues_nr; i++)
			if (virtio_is_watched(&dev->queue[i]))
				work |= virtio_arm_queue(dev, &dev->queue[i]);
		virtio_end(dev);
	}
	return block_arm(blk->block) || work;
}

static int fds(struct endpoint *ep, struct pollfd *out, unsigned max)
{
	int fd = block_fd(to_blk(ep)->block);

	if (fd < 0 || !max)
		return 0;
	out[0] = (struct pollfd){.fd = fd, .events = POLLIN};
	return 1;
}

static int timeout_ms(struct endpoint *ep)
{
	return virtio_timeout_ms(&to_blk(ep)->virtio);
}

static bool busy(struct endpoint *ep)
{
	struct blk *blk = to_blk(ep);

	return blk->inflight || blk->lost;
}

static bool blocks(struct endpoint *ep)
{
	return block_info(to_blk(ep)->block)->blocks;
}

/* ---- a queue goes ---- */

static void cancel_queue(struct blk *blk, const struct virtio_queue *q)
{
	for (unsigned i = 0; i < blk->inflight_max; i++) {
		struct request *req = &blk->request[i];

		if (req->state == REQUEST_STARTED && req->queue == q)
			block_cancel(blk->block, &req->io);
	}
}

/* The disk did not answer in time: its requests no longer belong to a queue. */
static void lose_queue(struct blk *blk, struct virtio_queue *q)
{
	for (unsigned i = 0; i < blk->inflight_max; i++) {
		struct request *req = &blk->request[i];

		if (req->state != REQUEST_STARTED || req->queue != q)
			continue;
		req->state = REQUEST_LOST;
		blk->queue_inflight[q->index]--;
		blk->inflight--;
		blk->lost++;
	}
	endpoint_log(blk->ep.env.log, VIOMMU_LOG_ERROR,
		     "%s: the disk has not answered %u requests for %u ms; the device "
		     "cannot be used before it does",
		     blk->ep.name, blk->lost, blk->drain_ms);
}

/* Until the disk has given back all of the queue's requests. A disk that has lost
 * another queue's is not waited for once more: a reset of all has one limit. */
static void drain(struct blk *blk, struct virtio_queue *q)
{
	uint64_t end = virtio_now_ms() + (blk->lost ? 0 : blk->drain_ms), now;

	cancel_queue(blk, q);
	while (blk->queue_inflight[q->index]) {
		turn(blk, 0);
		now = virtio_now_ms();
		if (!blk->queue_inflight[q->index])
			break;
		if (now >= end) {
			lose_queue(blk, q);
			break;
		}
		block_wait(blk->block, (unsigned)(end - now));
	}
}

static int queue_check(struct virtio_dev *dev)
{
	struct blk *blk = virtio_to_blk(dev);

	if (!blk->lost)
		return 0;
	return endpoint_err(blk->ep.env.log, EBUSY,
			    "%s: the disk still has %u requests from before the reset",
			    blk->ep.name, blk->lost);
}

/* Requests that the disk has lost still touch memory (they are logged). */
static void queue_off(struct virtio_dev *dev, struct virtio_queue *q)
{
	drain(virtio_to_blk(dev), q);
}

void blk_stop(struct blk *blk)
{
	for (unsigned i = 0; i < blk->queues_nr; i++)
		if (blk->virtio.queue[i].enabled)
			virtio_disable(&blk->virtio, i);
	/* Memory that the disk still writes to cannot be given up. */
	while (blk->lost) {
		block_wait(blk->block, 1000);
		turn(blk, 0);
	}
}

static const struct viommu_dma_ops dma_ops = {.revoke = revoke};

const struct virtio_ops blk_virtio_ops = {
	.features = blk_features,
	.accept = blk_accept,
	.config = blk_config,
	.config_write = blk_config_write,
	.queue_check = queue_check,
	.queue_off = queue_off,
	.dma = &dma_ops,
};

const struct endpoint_type endpoint_blk = {
	.name = "blk",
	.summary = "virtio disk on a file, a block device, memory or nothing",
	.options = blk_options,
	.create = blk_create,
	.destroy = blk_destroy,
	.poll = poll_blk,
	.arm = arm,
	.fds = fds,
	.timeout_ms = timeout_ms,
	.busy = busy,
	.blocks = blocks,
	.control = blk_command,
	.stats = blk_visit_stats,
	.latencies = blk_visit_latencies,
};
