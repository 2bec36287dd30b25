/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The virtio block endpoint: its life, its queues and its turns. */
#include <stdio.h>
#include <time.h>

#include "endpoints/blk/internal.h"
#include "endpoints/options.h"
#include "endpoints/types.h"
#include "endpoints/util.h"

static struct blk *to_blk(struct endpoint *ep)
{
	return container_of(ep, struct blk, ep);
}

/* ---- requests ---- */

struct request *request_get(struct blk *blk)
{
	struct request *req = blk->free;

	if (req) {
		blk->free = req->next;
		req->state = REQUEST_POPPED;
	}
	return req;
}

/* Back to the pool, without having been counted. */
static void unget(struct blk *blk, struct request *req)
{
	req->state = REQUEST_FREE;
	req->next = blk->free;
	blk->free = req;
}

void request_put(struct blk *blk, struct request *req)
{
	if (req->state != REQUEST_LOST) {
		req->queue->inflight--;
		blk->inflight--;
	}
	unget(blk, req);
}

static void io_done(void *opaque, struct block_io *io, int res)
{
	request_done(opaque, container_of(io, struct request, io), res);
}

/* ---- queues ---- */

void queue_push(struct blk *blk, struct queue *q, const struct viommu_chain *chain,
		uint32_t len)
{
	if (viommu_virtq_push(&q->vq, chain, len)) {
		blk->stats.lost++;
		q->stalled = true;
		return;
	}
	q->dirty = true;
}

/* What pop could not make a request of. false: no use to go on. */
static bool handle_bad_pop(struct blk *blk, struct queue *q, struct request *req, int r)
{
	struct viommu_chain chain = req->chain;

	unget(blk, req);
	if (r == -EBADMSG || r == -E2BIG) {
		blk->stats.malformed++;
		queue_push(blk, q, &chain, 0);
		return true;
	}
	if (r == 0)
		return false;
	/* Ring memory out of reach, or a ring that makes no sense: the next kick
	 * tries again, so that no turn in between records the same fault. */
	q->stalled = true;
	blk->broken |= r == -EIO;
	return false;
}

/* Takes up to `budget` chains. Inside a section. Result: how many. */
static unsigned take(struct blk *blk, struct queue *q, unsigned budget)
{
	struct request *req;
	unsigned nr = 0;
	int r;

	viommu_virtq_disable_notify(&q->vq);
	for (; nr < budget && (req = request_get(blk)) != NULL; nr++) {
		r = viommu_virtq_pop(&q->vq, &req->chain, req->bufs, blk->bufs_max);
		if (unlikely(r <= 0)) {
			if (!handle_bad_pop(blk, q, req, r))
				break;
			continue;
		}
		req->queue = q;
		q->inflight++;
		blk->inflight++;
		request_begin(blk, req);
	}
	if (blk->inflight > blk->stats.inflight_peak)
		blk->stats.inflight_peak = blk->inflight;
	return nr;
}

/*
 * Whether to look at the ring. One that is armed is left alone: the driver may
 * have given its memory away (firmware does, and then the guest's IOMMU driver
 * takes over), and looking would be an access that nobody asked for.
 */
static bool is_watched(const struct queue *q)
{
	return q->enabled && !q->armed && !q->stalled;
}

/* All queues, beginning with another one each turn. */
static unsigned take_all(struct blk *blk, unsigned budget, bool *more)
{
	unsigned nr = 0, n;

	for (unsigned i = 0; i < blk->queues_nr; i++) {
		struct queue *q = &blk->queue[(blk->first_queue + i) % blk->queues_nr];

		if (!is_watched(q))
			continue;
		n = take(blk, q, budget);
		*more |= n == budget;
		nr += n;
	}
	if (++blk->first_queue >= blk->queues_nr)
		blk->first_queue = 0;
	return nr;
}

static void begin_section(struct blk *blk)
{
	viommu_dma_begin(blk->dma);
	for (unsigned i = 0; i < blk->queues_nr; i++)
		if (blk->queue[i].enabled)
			viommu_virtq_begin(&blk->queue[i].vq);
}

/* Publishes each queue once. Result: bit n: queue n wants an interrupt. */
static uint64_t publish_all(struct blk *blk)
{
	uint64_t irqs = 0;

	for (unsigned i = 0; i < blk->queues_nr; i++) {
		struct queue *q = &blk->queue[i];

		if (!q->dirty)
			continue;
		q->dirty = false;
		if (viommu_virtq_publish(&q->vq))
			irqs |= 1ull << i;
	}
	return irqs;
}

static void interrupt(struct blk *blk, uint64_t irqs)
{
	for (unsigned i = 0; irqs; i++, irqs >>= 1) {
		if (!(irqs & 1))
			continue;
		blk->stats.interrupts++;
		viommu_virtio_pci_queue_irq(blk->vp, i);
	}
	if (unlikely(blk->broken)) {
		blk->broken = false;
		viommu_virtio_pci_needs_reset(blk->vp);
	}
}

/* A function that may not master the bus reads no ring. */
static bool may_take(const struct blk *blk)
{
	return blk->running && viommu_pci_bus_master(blk->ep.function);
}

/* One turn; budget 0: completions only. */
static unsigned turn(struct blk *blk, unsigned budget)
{
	bool more = false;
	unsigned done;
	uint64_t irqs;

	block_settle(blk->block);
	begin_section(blk);
	done = block_reap(blk->block);
	if (budget && may_take(blk))
		done += take_all(blk, budget, &more);
	irqs = publish_all(blk);
	viommu_dma_end(blk->dma);
	interrupt(blk, irqs);
	block_kick(blk->block);
	more |= block_has_more(blk->block);
	return (done ? ENDPOINT_DONE : 0) | (more ? ENDPOINT_MORE : 0);
}

/* ---- pages taken away while held ---- */

/* Control side: only notes it; the endpoint's thread cancels. */
static void revoke(void *opaque, uint64_t start, uint64_t last)
{
	struct blk *blk = opaque;
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
	block_disarm(blk->block);
	if (unlikely(flag_test(&blk->revokes.pending)))
		cancel_revoked(blk);
	return turn(blk, budget ? budget : 1);
}

/* true: something came up meanwhile. */
static bool arm_queue(struct queue *q)
{
	q->armed = !viommu_virtq_enable_notify(&q->vq);
	return !q->armed;
}

static bool arm(struct endpoint *ep)
{
	struct blk *blk = to_blk(ep);
	bool work = flag_test(&blk->revokes.pending);

	/* Without a free request only a completion makes a difference, and it
	 * signals the descriptor. */
	if (may_take(blk) && blk->free) {
		begin_section(blk);
		for (unsigned i = 0; i < blk->queues_nr; i++)
			if (is_watched(&blk->queue[i]))
				work |= arm_queue(&blk->queue[i]);
		viommu_dma_end(blk->dma);
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

static bool busy(struct endpoint *ep)
{
	struct blk *blk = to_blk(ep);

	return blk->inflight || blk->lost;
}

/* ---- virtio ---- */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void cancel_queue(struct blk *blk, const struct queue *q)
{
	for (unsigned i = 0; i < blk->inflight_max; i++) {
		struct request *req = &blk->request[i];

		if (req->state == REQUEST_STARTED && req->queue == q)
			block_cancel(blk->block, &req->io);
	}
}

/* The disk did not answer in time: its requests no longer belong to a queue. */
static void lose_queue(struct blk *blk, struct queue *q)
{
	for (unsigned i = 0; i < blk->inflight_max; i++) {
		struct request *req = &blk->request[i];

		if (req->state != REQUEST_STARTED || req->queue != q)
			continue;
		req->state = REQUEST_LOST;
		q->inflight--;
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
static void drain(struct blk *blk, struct queue *q)
{
	uint64_t end = now_ms() + (blk->lost ? 0 : blk->drain_ms), now;

	cancel_queue(blk, q);
	while (q->inflight) {
		turn(blk, 0);
		now = now_ms();
		if (!q->inflight)
			break;
		if (now >= end) {
			lose_queue(blk, q);
			break;
		}
		block_wait(blk->block, (unsigned)(end - now));
	}
}

static int queue_enable(void *opaque, unsigned index,
			const struct viommu_virtq_config *ring)
{
	struct blk *blk = opaque;
	struct queue *q = &blk->queue[index];
	int r;

	if (blk->lost)
		return endpoint_err(blk->ep.env.log, EBUSY,
				    "%s: the disk still has %u requests from before the "
				    "reset",
				    blk->ep.name, blk->lost);
	r = viommu_virtq_init(&q->vq, ring, viommu_ring_mem_dma(blk->dma));
	if (r)
		return endpoint_err(blk->ep.env.log, -r,
				    "%s: the driver set up queue %u wrongly",
				    blk->ep.name, index);
	q->stalled = q->armed = q->dirty = false;
	q->enabled = true;
	return 0;
}

/* On return nothing of the queue's touches guest memory any more, but for
 * requests that the disk has lost (they are logged). */
static void queue_disable(void *opaque, unsigned index)
{
	struct blk *blk = opaque;
	struct queue *q = &blk->queue[index];

	q->enabled = false;
	q->dirty = false;
	drain(blk, q);
}

static void notify(void *opaque, unsigned index)
{
	struct blk *blk = opaque;

	blk->stats.kicks++;
	blk->queue[index].stalled = blk->queue[index].armed = false;
}

static void driver_ok(void *opaque)
{
	((struct blk *)opaque)->running = true;
}

static void reset(void *opaque)
{
	struct blk *blk = opaque;

	blk->running = false;
	blk->broken = false;
	blk_set_features(blk, 0);
	blk->stats.resets++;
}

static uint64_t features(void *opaque)
{
	return blk_features(opaque);
}

static int set_features(void *opaque, uint64_t f)
{
	blk_set_features(opaque, f);
	return 0;
}

static void config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	blk_config_read(opaque, offset, buf, len);
}

static void config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	blk_config_write(opaque, offset, buf, len);
}

static const struct viommu_virtio_ops virtio_ops = {
	.features = features,
	.set_features = set_features,
	.config_read = config_read,
	.config_write = config_write,
	.queue_enable = queue_enable,
	.queue_disable = queue_disable,
	.notify = notify,
	.driver_ok = driver_ok,
	.reset = reset,
};

/* ---- life ---- */

static int make_function(struct blk *blk)
{
	const struct endpoint_env *env = &blk->ep.env;
	const struct viommu_virtio_pci_config config = {
		.virtio_id = VIRTIO_ID_BLOCK,
		.class_code = 0x01, /* mass storage, SCSI */
		.queues_nr = (uint16_t)blk->queues_nr,
		.queue_size = (uint16_t)blk->queue_size,
		.config_len = 60,
		.access_platform = env->iommu != NULL,
		.packed = blk->packed,
	};
	int r = viommu_virtio_pci_create(&config, &virtio_ops, blk, env->alloc, env->log,
					 &blk->vp);

	if (!r)
		blk->ep.function = viommu_virtio_pci_function(blk->vp);
	return r;
}

static size_t bufs_len(const struct blk *blk)
{
	return (size_t)blk->inflight_max * blk->bufs_max * sizeof(*blk->bufs);
}

static size_t pieces_nr(const struct blk *blk)
{
	return (size_t)blk->inflight_max * BLK_PIECES_MAX;
}

static void free_requests(struct blk *blk)
{
	const struct viommu_alloc *alloc = blk->ep.env.alloc;

	endpoint_free(alloc, blk->queue, blk->queues_nr * sizeof(*blk->queue));
	endpoint_free(alloc, blk->request, blk->inflight_max * sizeof(*blk->request));
	endpoint_free(alloc, blk->bufs, bufs_len(blk));
	endpoint_free(alloc, blk->iovs, pieces_nr(blk) * sizeof(*blk->iovs));
	endpoint_free(alloc, blk->holds, pieces_nr(blk) * sizeof(*blk->holds));
}

static void link_requests(struct blk *blk)
{
	for (unsigned i = blk->inflight_max; i-- > 0;) {
		struct request *req = &blk->request[i];

		req->bufs = blk->bufs + (size_t)i * blk->bufs_max;
		req->sg.iov = blk->iovs + (size_t)i * BLK_PIECES_MAX;
		req->sg.hold = blk->holds + (size_t)i * BLK_PIECES_MAX;
		req->sg.iov_max = req->sg.hold_max = BLK_PIECES_MAX;
		unget(blk, req);
	}
	for (unsigned i = 0; i < blk->queues_nr; i++) {
		blk->queue[i].blk = blk;
		blk->queue[i].index = (uint16_t)i;
	}
}

static int make_requests(struct blk *blk)
{
	const struct viommu_alloc *alloc = blk->ep.env.alloc;

	blk->queue = endpoint_alloc(alloc, blk->queues_nr * sizeof(*blk->queue), 64);
	blk->request =
		endpoint_alloc(alloc, blk->inflight_max * sizeof(*blk->request), 64);
	blk->bufs = endpoint_alloc(alloc, bufs_len(blk), 64);
	blk->iovs = endpoint_alloc(alloc, pieces_nr(blk) * sizeof(*blk->iovs), 64);
	blk->holds = endpoint_alloc(alloc, pieces_nr(blk) * sizeof(*blk->holds), 64);
	if (!blk->queue || !blk->request || !blk->bufs || !blk->iovs || !blk->holds)
		return endpoint_err(blk->ep.env.log, ENOMEM, "%s: out of memory",
				    blk->ep.name);
	link_requests(blk);
	return 0;
}

/*
 * Linux maps and unmaps the indirect table of each request: behind an IOMMU that
 * is one request in four for 4 KiB of data. Rings are larger there instead.
 */
static int parse(struct blk *blk, const struct options *o)
{
	const char *serial = options_get(o, "serial");
	bool behind_iommu = blk->ep.env.iommu;
	int r;

	blk->queues_nr = 1;
	blk->queue_size = behind_iommu ? 1024 : 256;
	blk->inflight_max = 256;
	blk->drain_ms = BLK_DRAIN_MS;
	blk->packed = true;
	blk->indirect = !behind_iommu;
	r = options_uint(o, "queues", 1, VIOMMU_VIRTIO_QUEUES_MAX, &blk->queues_nr);
	if (!r)
		r = options_uint(o, "queue-size", 4, VIOMMU_VIRTQ_SIZE_MAX,
				 &blk->queue_size);
	if (!r)
		r = options_uint(o, "in-flight", 1, BLK_INFLIGHT_MAX, &blk->inflight_max);
	if (!r)
		r = options_bool(o, "packed", &blk->packed);
	if (!r)
		r = options_bool(o, "indirect", &blk->indirect);
	if (r)
		return r;
	if (blk->queue_size & (blk->queue_size - 1))
		return endpoint_err(
			o->log, EINVAL,
			"%s: queue-size=%u is no power of two; write e.g. 256", o->who,
			blk->queue_size);
	if (serial && strlen(serial) > VIRTIO_BLK_ID_LEN)
		return endpoint_err(o->log, EINVAL, "%s: serial is longer than %d bytes",
				    o->who, VIRTIO_BLK_ID_LEN);
	if (!serial)
		serial = blk->ep.name;
	/* Padded with NUL; one of 20 bytes or more has none. */
	memcpy(blk->serial, serial, strnlen(serial, sizeof(blk->serial)));
	/* "A driver MUST NOT create a chain longer than the queue." */
	blk->bufs_max = blk->queue_size;
	return 0;
}

static const struct viommu_dma_ops dma_ops = {.revoke = revoke};

static int set_up(struct blk *blk, const struct options *o)
{
	const struct endpoint_env *env = &blk->ep.env;
	int r = parse(blk, o);

	if (!r)
		r = block_open(o, env->alloc, blk->inflight_max, io_done, blk,
			       &blk->block);
	if (r)
		return r;
	blk->info = block_info(blk->block);
	r = make_requests(blk);
	if (!r)
		r = viommu_dma_create(env->iommu, env->mem, env->alloc, &dma_ops, blk,
				      &blk->dma);
	if (!r)
		r = make_function(blk);
	return r;
}

static void stop(struct blk *blk)
{
	for (unsigned i = 0; i < blk->queues_nr; i++)
		if (blk->queue[i].enabled)
			queue_disable(blk, i);
	/* Memory that the disk still writes to cannot be given up. */
	while (blk->lost) {
		block_wait(blk->block, 1000);
		turn(blk, 0);
	}
}

static void destroy(struct endpoint *ep)
{
	struct blk *blk = to_blk(ep);
	const struct viommu_alloc *alloc = ep->env.alloc;

	if (blk->vp)
		stop(blk);
	viommu_virtio_pci_destroy(blk->vp);
	viommu_dma_destroy(blk->dma);
	block_close(blk->block);
	free_requests(blk);
	pthread_mutex_destroy(&blk->revokes.lock);
	endpoint_free(alloc, blk, sizeof(*blk));
}

static int create(const struct endpoint_env *env, const struct options *options,
		  struct endpoint **out)
{
	struct blk *blk = endpoint_alloc(env->alloc, sizeof(*blk), 64);
	int r;

	if (!blk)
		return endpoint_err(env->log, ENOMEM, "%s: out of memory", env->name);
	endpoint_init(&blk->ep, &endpoint_blk, env);
	pthread_mutex_init(&blk->revokes.lock, NULL);
	r = set_up(blk, options);
	if (r) {
		destroy(&blk->ep);
		return r;
	}
	endpoint_log(env->log, VIOMMU_LOG_INFO, "%s: %llu MiB, %s, %u queues of %u",
		     blk->ep.name, (unsigned long long)blk->info->capacity >> 20,
		     blk->info->engine, blk->queues_nr, blk->queue_size);
	*out = &blk->ep;
	return 0;
}

/* ---- the operator's side ---- */

/* "resize": takes the file's size over; "resize" with size=: sets it. */
static int resize(struct blk *blk, const struct options *args)
{
	static const struct endpoint_option known[] = {{"size", NULL, NULL}, {0}};
	uint64_t size = 0, before = blk->info->capacity;
	int r = options_check(args, known);

	if (!r)
		r = options_size(args, "size", BLOCK_SECTOR, 1ull << 60, &size);
	if (!r)
		r = block_resize(blk->block, size);
	if (!r && blk->info->capacity != before)
		viommu_virtio_pci_config_irq(blk->vp);
	return r;
}

static int control(struct endpoint *ep, const char *verb, const struct options *args)
{
	if (!strcmp(verb, "resize"))
		return resize(to_blk(ep), args);
	return endpoint_err(ep->env.log, EOPNOTSUPP,
			    "%s: no command '%s'; there is: resize", ep->name, verb);
}

static void stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque)
{
	const struct blk *blk = to_blk(ep);
	const struct blk_stats *s = &blk->stats;
	const struct {
		const char *name;
		uint64_t value;
	} table[] = {
		{"reads", s->reads},
		{"writes", s->writes},
		{"flushes", s->flushes},
		{"get_ids", s->get_ids},
		{"discards", s->discards},
		{"write_zeroes", s->write_zeroes},
		{"unsupported", s->unknown},
		{"read_bytes", s->read_bytes},
		{"write_bytes", s->write_bytes},
		{"errors", s->errors},
		{"blocked", s->blocked},
		{"malformed", s->malformed},
		{"lost", s->lost},
		{"cancelled", s->cancelled},
		{"in_flight", blk->inflight + blk->lost},
		{"in_flight_peak", s->inflight_peak},
		{"kicks", s->kicks},
		{"interrupts", s->interrupts},
		{"polls", s->polls},
		{"resets", s->resets},
		{"capacity_bytes", blk->info->capacity},
	};

	for (unsigned i = 0; i < ARRAY_LEN(table); i++)
		visit(opaque, table[i].name, table[i].value);
}

static const struct endpoint_option option_table[] = {
	BLOCK_OPTIONS,
	{"serial", "TEXT", "what GET_ID tells, up to 20 bytes (default: the name)"},
	{"queues", "N", "1 to 64 (default: 1)"},
	{"queue-size", "N",
	 "entries of a queue, a power of two (default: 1024 behind the IOMMU, else 256)"},
	{"in-flight", "N", "requests under way at a time, 1 to 1024 (default: 256)"},
	{"packed", "on|off", "offer packed rings (default: on)"},
	{"indirect", "on|off",
	 "offer indirect descriptors (default: off behind the IOMMU, where each would be "
	 "mapped and unmapped; else on)"},
	{NULL, NULL, NULL},
};

const struct endpoint_type endpoint_blk = {
	.name = "blk",
	.summary = "virtio disk on a file, a block device, memory or nothing",
	.options = option_table,
	.create = create,
	.destroy = destroy,
	.poll = poll_blk,
	.arm = arm,
	.fds = fds,
	.busy = busy,
	.control = control,
	.stats = stats,
};
