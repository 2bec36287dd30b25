/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The network endpoint's queues and turns. */
#include "endpoints/net/internal.h"
#include "endpoints/types.h"

static enum net_role role_of(const struct net *net, unsigned index)
{
	if (index == net_control_index(net))
		return ROLE_CONTROL;
	if (index / 2 >= net->pairs ||
	    (index >= 2 && !(net->virtio.features & BIT(VIRTIO_NET_F_MQ))))
		return ROLE_NONE;
	return index & 1 ? ROLE_TX : ROLE_RX;
}

/* ---- sections ---- */

void net_begin(struct net *net)
{
	virtio_begin(&net->virtio);
	net->in_section = true;
	net->section_len = 0;
}

void net_end(struct net *net)
{
	net->in_section = false;
	virtio_end(&net->virtio);
}

/* Ends a section of a turn. */
static void finish(struct net *net)
{
	net->in_section = false;
	virtio_finish(&net->virtio);
	latency_publish(&net->latency);
}

/* ---- turns ---- */

/* All send queues, beginning with another one each turn. */
static unsigned take_all(struct net *net, unsigned budget, bool *more)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < net->pairs; i++) {
		unsigned pair = (net->first_pair + i) % net->pairs;

		if (virtio_is_watched(net_tx(net, pair)) &&
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

	if (virtio_may_run(&net->virtio)) {
		net_begin(net);
		done = control_take(net, &more);
		done += rx_flush(net);
		done += take_all(net, budget, &more);
		finish(net);
	}
	held = tx_send(net);
	if (ops->poll)
		done += ops->poll(net->backend, budget, &more);
	if (held || net->virtio.dirty) {
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
	latency_turn(&net->latency, ep);
	virtio_turn(&net->virtio);
	return turn(net, budget ? budget : 1);
}

/* true: something came up meanwhile. Receive buffers matter only to a pair that
 * had none. */
static bool arm_queue(struct net *net, struct virtio_queue *q)
{
	enum net_role role = role_of(net, q->index);
	bool *starved = role == ROLE_RX ? &net->rack[q->index / 2].starved : NULL;
	bool work;

	if (!virtio_is_watched(q) || role == ROLE_NONE || (starved && !*starved))
		return false;
	work = virtio_arm_queue(&net->virtio, q);
	if (work && starved)
		*starved = false;
	return work;
}

static bool arm(struct endpoint *ep)
{
	struct net *net = to_net(ep);
	bool work = false;

	if (!virtio_may_run(&net->virtio))
		return false;
	net_begin(net);
	for (unsigned i = 0; i < net_queues_nr(net); i++)
		work |= arm_queue(net, &net->virtio.queue[i]);
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
	int ms = b->ops->timeout_ms ? b->ops->timeout_ms(b) : -1;
	int retry = virtio_timeout_ms(&to_net(ep)->virtio);

	return ms < 0 || (retry >= 0 && retry < ms) ? retry : ms;
}

/* ---- virtio ---- */

/* Between turns nothing is held, so nothing has to be waited for. What waits for
 * the queue's buffers waits for nothing now. */
static void queue_off(struct virtio_dev *dev, struct virtio_queue *q)
{
	struct net *net = virtio_to_net(dev);

	if (role_of(net, q->index) == ROLE_RX) {
		rx_forget(net, q->index / 2);
		rx_drop_waiting(net);
	}
}

static void changed(struct virtio_dev *dev)
{
	struct net *net = virtio_to_net(dev);

	if (!dev->driver_ok) {
		net->announce = false;
		net->state.pairs = 1;
		filter_reset(&net->filter, net->mac);
		backlog_clear(&net->backlog);
		memset(net->flow_pair, 0, sizeof(net->flow_pair));
	}
	net_state_changed(net);
}

const struct virtio_ops net_virtio_ops = {
	.features = net_features,
	.accept = net_accept,
	.config = net_config,
	.queue_off = queue_off,
	.changed = changed,
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
	.latencies = net_visit_latencies,
};
