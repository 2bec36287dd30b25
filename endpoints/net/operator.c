/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The operator's side of the network endpoint: commands and counters. */
#include "endpoints/net/internal.h"

/* "link" with state=on|off: plugs the cable in or out. */
static int set_link(struct net *net, const struct options *args)
{
	static const struct endpoint_option known[] = {{"state", NULL, NULL}, {0}};
	bool up = true;
	int r = options_check(args, known);

	if (!r)
		r = options_bool(args, "state", &up);
	if (r || up == net->link_up)
		return r;
	net->link_up = up;
	if (!up)
		rx_drop_waiting(net);
	/* Back on a cable, the neighbours may be others. */
	net->announce = up && (net->virtio.features & BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
	net_state_changed(net);
	virtio_config_changed(&net->virtio);
	return 0;
}

/* "announce": asks the guest to tell its neighbours where it is. */
static int announce(struct net *net, const struct options *args)
{
	static const struct endpoint_option known[] = {{0}};
	int r = options_check(args, known);

	if (r)
		return r;
	if (!net->virtio.driver_ok ||
	    !(net->virtio.features & BIT(VIRTIO_NET_F_GUEST_ANNOUNCE)))
		return endpoint_err(net->ep.env.log, EAGAIN,
				    "%s: the guest's driver cannot announce itself now",
				    net->ep.name);
	net->announce = true;
	virtio_config_changed(&net->virtio);
	return 0;
}

int net_command(struct endpoint *ep, const char *verb, const struct options *args)
{
	if (!strcmp(verb, "link"))
		return set_link(to_net(ep), args);
	if (!strcmp(verb, "announce"))
		return announce(to_net(ep), args);
	return endpoint_err(ep->env.log, EOPNOTSUPP,
			    "%s: no command '%s'; there are: link, announce", ep->name,
			    verb);
}

void net_visit_latencies(struct endpoint *ep, endpoint_latency_fn *visit, void *opaque)
{
	static const char *const names[LATENCY_KINDS_NR] = {[LATENCY_WRITE] = "tx"};

	latency_visit(&to_net(ep)->latency, names, visit, opaque);
}

void net_visit_stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque)
{
	const struct net *net = to_net(ep);
	const struct net_stats *s = &net->stats;
	const struct virtio_stats *v = &net->virtio.stats;
	const struct {
		const char *name;
		uint64_t value;
	} table[] = {
		{"tx_frames", s->tx_frames},
		{"tx_bytes", s->tx_bytes},
		{"rx_frames", s->rx_frames},
		{"rx_bytes", s->rx_bytes},
		{"tx_dropped", s->tx_dropped},
		{"rx_dropped", s->rx_dropped},
		{"rx_too_big", s->rx_too_big},
		{"rx_filtered", s->rx_filtered},
		{"rx_backlog", s->rx_backlog},
		{"rx_merged", s->rx_merged},
		{"checksums", s->checksums},
		{"segmented", s->segmented},
		{"blocked", s->blocked},
		{"malformed", v->malformed},
		{"lost", v->lost},
		{"commands", s->commands},
		{"commands_refused", s->commands_refused},
		{"kicks", v->kicks},
		{"interrupts", v->interrupts},
		{"polls", s->polls},
		{"resets", v->resets},
		{"queue_pairs", net->state.pairs},
		{"link_up", net->link_up},
	};

	for (unsigned i = 0; i < ARRAY_LEN(table); i++)
		visit(opaque, table[i].name, table[i].value);
	if (net->backend->ops->stats)
		net->backend->ops->stats(net->backend, visit, opaque);
}
