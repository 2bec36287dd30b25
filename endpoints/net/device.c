/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The network endpoint's queues and turns. */
#include "endpoints/net/internal.h"
#include "endpoints/types.h"
#include "endpoints/util.h"

static enum net_role role_of(const struct net *net, unsigned index)
{
	if (index == net_control_index(net))
		return ROLE_CONTROL;
	if (index / 2 >= net->pairs ||
	    (index >= 2 && !(net->features & BIT(VIRTIO_NET_F_MQ))))
		return ROLE_NONE;
	return index & 1 ? ROLE_TX : ROLE_RX;
}

/* ---- queues ---- */

void net_push(struct net *net, struct net_queue *q, const struct viommu_chain *chain,
	      uint32_t len)
{
	if (viommu_virtq_push(&q->vq, chain, len)) {
		net->stats.lost++;
		q->stalled = true;
		return;
	}
	q->dirty = true;
}

bool net_bad_pop(struct net *net, struct net_queue *q, const struct viommu_chain *chain,
		 int r)
{
	if (r == -EBADMSG || r == -E2BIG) {
		net->stats.malformed++;
		net_push(net, q, chain, 0);
		return true;
	}
	if (r == 0)
		return false;
	/* Ring memory out of reach, or a ring that makes no sense: the next kick
	 * tries again, so that no turn in between records the same fault. */
	q->stalled = true;
	net->broken |= r == -EIO;
	return false;
}

void net_begin(struct net *net)
{
	viommu_dma_begin(net->dma);
	net->in_section = true;
	net->section_len = 0;
	for (unsigned i = 0; i < net_queues_nr(net); i++)
		if (net->queue[i].enabled)
			viommu_virtq_begin(&net->queue[i].vq);
}

void net_end(struct net *net)
{
	net->in_section = false;
	viommu_dma_end(net->dma);
}

/* Publishes each queue once. Result: bit n: queue n wants an interrupt. */
static uint64_t publish_all(struct net *net)
{
	uint64_t irqs = 0;

	for (unsigned i = 0; i < net_queues_nr(net); i++) {
		struct net_queue *q = &net->queue[i];

		if (!q->dirty)
			continue;
		q->dirty = false;
		if (viommu_virtq_publish(&q->vq))
			irqs |= 1ull << i;
	}
	return irqs;
}

static bool is_dirty(const struct net *net)
{
	for (unsigned i = 0; i < net_queues_nr(net); i++)
		if (net->queue[i].dirty)
			return true;
	return false;
}

/* Ends a section of a turn. */
static void finish(struct net *net)
{
	uint64_t irqs = publish_all(net);

	net_end(net);
	for (unsigned i = 0; irqs; i++, irqs >>= 1) {
		if (!(irqs & 1))
			continue;
		net->stats.interrupts++;
		viommu_virtio_pci_queue_irq(net->vp, i);
	}
	if (unlikely(net->broken)) {
		net->broken = false;
		viommu_virtio_pci_needs_reset(net->vp);
	}
}

/* ---- turns ---- */

/* A function that may not master the bus reads no ring. */
bool net_may_run(const struct net *net)
{
	return net->driver_ok && viommu_pci_bus_master(net->ep.function);
}

/*
 * Whether to look at a ring. One that is armed is left alone: the driver may have
 * given its memory away (firmware does, and then the guest's IOMMU driver takes
 * over), and looking would be an access that nobody asked for.
 */
bool net_is_watched(const struct net_queue *q)
{
	return q->enabled && !q->armed && !q->stalled;
}

/* All send queues, beginning with another one each turn. */
static unsigned take_all(struct net *net, unsigned budget, bool *more)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < net->pairs; i++) {
		unsigned pair = (net->first_pair + i) % net->pairs;

		if (net_is_watched(net_tx(net, pair)) &&
		    role_of(net, 2 * pair + 1) == ROLE_TX)
			nr += tx_take(net, pair, budget, more);
	}
	if (++net->first_pair >= net->pairs)
		net->first_pair = 0;
	return nr;
}

static unsigned turn(struct net *net, unsigned budget)
{
	const struct net_backend_ops *ops = net->backend->ops;
	bool more = false;
	unsigned done = 0, held;

	if (net_may_run(net)) {
		net_begin(net);
		done = control_take(net, &more);
		done += rx_flush(net);
		done += take_all(net, budget, &more);
		finish(net);
	}
	held = tx_send(net);
	if (ops->poll)
		done += ops->poll(net->backend, budget, &more);
	if (held || is_dirty(net)) {
		net_begin(net);
		tx_give_back(net);
		finish(net);
	} else {
		tx_give_back(net);
	}
	return (done ? ENDPOINT_DONE : 0) | (more ? ENDPOINT_MORE : 0);
}

/* ---- the event loop's side ---- */

static unsigned poll_net(struct endpoint *ep, unsigned budget)
{
	struct net *net = to_net(ep);

	net->stats.polls++;
	return turn(net, budget ? budget : 1);
}

/* true: something came up meanwhile. Receive buffers matter only to a queue that
 * had none. */
static bool arm_queue(struct net *net, unsigned index)
{
	struct net_queue *q = &net->queue[index];
	enum net_role role = role_of(net, index);

	if (!net_is_watched(q) || role == ROLE_NONE || (role == ROLE_RX && !q->starved))
		return false;
	q->armed = !viommu_virtq_enable_notify(&q->vq);
	q->starved = q->armed;
	return !q->armed;
}

static bool arm(struct endpoint *ep)
{
	struct net *net = to_net(ep);
	bool work = false;

	if (!net_may_run(net))
		return false;
	net_begin(net);
	for (unsigned i = 0; i < net_queues_nr(net); i++)
		work |= arm_queue(net, i);
	net_end(net);
	return work;
}

static int fds(struct endpoint *ep, struct pollfd *out, unsigned max)
{
	struct net_backend *b = to_net(ep)->backend;

	return b->ops->fds ? b->ops->fds(b, out, max) : 0;
}

static int timeout_ms(struct endpoint *ep)
{
	struct net_backend *b = to_net(ep)->backend;

	return b->ops->timeout_ms ? b->ops->timeout_ms(b) : -1;
}

/* ---- virtio ---- */

static int queue_enable(void *opaque, unsigned index,
			const struct viommu_virtq_config *ring)
{
	struct net *net = opaque;
	struct net_queue *q = &net->queue[index];
	int r = viommu_virtq_init(&q->vq, ring, viommu_ring_mem_dma(net->dma));

	if (r)
		return endpoint_err(net->ep.env.log, -r,
				    "%s: the driver set up queue %u wrongly",
				    net->ep.name, index);
	q->stalled = q->armed = q->dirty = q->starved = false;
	q->enabled = true;
	return 0;
}

/* Between turns nothing is held, so nothing has to be waited for. What waits for
 * the queue's buffers waits for nothing now. */
static void queue_disable(void *opaque, unsigned index)
{
	struct net *net = opaque;

	net->queue[index].enabled = false;
	net->queue[index].dirty = false;
	if (role_of(net, index) == ROLE_RX) {
		rx_forget(net, index / 2);
		net->stats.rx_dropped += net->backlog.nr;
		backlog_clear(&net->backlog);
	}
}

static void notify(void *opaque, unsigned index)
{
	struct net *net = opaque;

	net->stats.kicks++;
	net->queue[index].stalled = false;
	net->queue[index].armed = false;
	net->queue[index].starved = false;
}

static void driver_ok(void *opaque)
{
	struct net *net = opaque;

	net->driver_ok = true;
	net_state_changed(net);
}

static void reset(void *opaque)
{
	struct net *net = opaque;

	net->driver_ok = net->broken = net->announce = false;
	net->state.pairs = 1;
	filter_reset(&net->filter, net->mac);
	backlog_clear(&net->backlog);
	memset(net->flow_pair, 0, sizeof(net->flow_pair));
	net_set_features(net, 0);
	net->stats.resets++;
	net_state_changed(net);
}

static uint64_t features(void *opaque)
{
	return net_features(opaque);
}

static int set_features(void *opaque, uint64_t f)
{
	net_set_features(opaque, f);
	return 0;
}

static void config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	net_config_read(opaque, offset, buf, len);
}

const struct viommu_virtio_ops net_virtio_ops = {
	.features = features,
	.set_features = set_features,
	.config_read = config_read,
	.queue_enable = queue_enable,
	.queue_disable = queue_disable,
	.notify = notify,
	.driver_ok = driver_ok,
	.reset = reset,
};

const struct endpoint_type endpoint_net = {
	.name = "net",
	.summary = "virtio network card on user-mode networking, a TAP device, or itself",
	.options = net_options,
	.create = net_create,
	.destroy = net_destroy,
	.poll = poll_net,
	.arm = arm,
	.fds = fds,
	.timeout_ms = timeout_ms,
	.control = net_command,
	.stats = net_visit_stats,
};
