/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The network endpoint's options and life. */
#include <stdio.h>

#include "endpoints/net/internal.h"
#include "endpoints/types.h"

const struct endpoint_option net_options[] = {
	NET_BACKEND_OPTIONS,
	{"mac", "XX:XX:XX:XX:XX:XX", "the card's address (default: made from its name)"},
	{"mtu", "N", "68 to 65535 (default: 1500)"},
	{"queues", "N", "queue pairs, 1 to 31 (default: 1)"},
	{"queue-size", "N", "entries of a queue, a power of two (default: 256)"},
	{"offload", "on|off", "checksums and segmentation left to us (default: on)"},
	{"mergeable", "on|off", "frames may spread over receive buffers (default: on)"},
	{"packed", "on|off", "offer packed rings (default: on)"},
	{"indirect", "on|off", "offer indirect descriptors (default: on)"},
	{NULL, NULL, NULL},
};

/* ---- options ---- */

/* Locally administered, in the range that QEMU's cards are in; the rest is a hash
 * of the name (FNV-1a), so that it stays the same. */
static void make_mac(struct net *net)
{
	static const uint8_t prefix[3] = {0x52, 0x54, 0x00};
	uint32_t hash = 2166136261u;

	for (const char *c = net->ep.name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	memcpy(net->mac, prefix, sizeof(prefix));
	net->mac[3] = (uint8_t)(hash >> 16);
	net->mac[4] = (uint8_t)(hash >> 8);
	net->mac[5] = (uint8_t)hash;
}

static int parse_mac(struct net *net, const struct options *o)
{
	const char *text = options_get(o, "mac");
	unsigned b[6];
	char end;

	make_mac(net);
	if (!text)
		return 0;
	if (strlen(text) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4],
		   &b[5], &end) != 6 ||
	    (b[0] & 1))
		return endpoint_err(o->log, EINVAL,
				    "%s: mac=%s is no address of one card; write e.g. "
				    "52:54:00:12:34:56",
				    o->who, text);
	for (unsigned i = 0; i < 6; i++)
		net->mac[i] = (uint8_t)b[i];
	return 0;
}

static int parse_sizes(struct net *net, const struct options *o)
{
	int r;

	net->pairs = 1;
	net->virtio.queue_size = 256;
	net->state.mtu = 1500;
	r = options_uint(o, "queues", 1, NET_PAIRS_MAX, &net->pairs);
	if (!r)
		r = virtio_parse(&net->virtio, o);
	if (!r)
		r = options_uint(o, "mtu", NET_MTU_MIN, NET_MTU_MAX, &net->state.mtu);
	/* "A driver MUST NOT create a chain longer than the queue." */
	net->bufs_max = net->virtio.queue_size;
	return r;
}

static int parse(struct net *net, const struct options *o)
{
	int r = parse_sizes(net, o);

	net->mergeable = net->offload = net->indirect = net->link_up = true;
	net->state.pairs = 1;
	if (!r)
		r = parse_mac(net, o);
	if (!r)
		r = options_bool(o, "mergeable", &net->mergeable);
	if (!r)
		r = options_bool(o, "offload", &net->offload);
	if (!r)
		r = options_bool(o, "indirect", &net->indirect);
	return r;
}

/* ---- memory ---- */

/* Every array there is: where the pointer is, and how long. */
struct array {
	size_t field; /* offset of the pointer in struct net */
	size_t len;   /* bytes; 0: not needed */
};
#define ARRAYS_NR   11
#define ARRAY(f, n) ((struct array){offsetof(struct net, f), (n) * sizeof(*net->f)})

static void list_arrays(const struct net *net, struct array list[ARRAYS_NR])
{
	enum net_handover handover =
		net->backend ? net->backend->ops->handover : NET_INSIDE;
	/* Frames in one piece, and one segment behind them. */
	size_t arena = handover == NET_INSIDE ? 0 : NET_SECTION_LEN + 2 * NET_FRAME_MAX;
	bool waits = net->backend && net->backend->ops->poll;
	const struct array all[ARRAYS_NR] = {
		ARRAY(slot, NET_SLOTS_MAX + 1),
		ARRAY(slot_bufs, (size_t)(NET_SLOTS_MAX + 1) * net->bufs_max),
		ARRAY(arena, arena),
		ARRAY(tx_iov, NET_IOV_MAX + 1),
		ARRAY(tx_hold, handover == NET_HELD ? NET_IOV_MAX : 0),
		ARRAY(rack, net->pairs),
		ARRAY(rx_chain, (size_t)net->pairs * net->virtio.queue_size),
		ARRAY(rx_buf, (size_t)net->pairs * net_rack_bufs(net)),
		ARRAY(flat, NET_FRAME_MAX),
		ARRAY(backlog.bytes, waits ? NET_BACKLOG_LEN : 0),
		ARRAY(backlog.frame, waits ? NET_BACKLOG_FRAMES : 0),
	};

	memcpy(list, all, sizeof(all));
}

static void **pointer_of(struct net *net, const struct array *a)
{
	return (void **)(void *)((char *)net + a->field);
}

static int make_arrays(struct net *net)
{
	struct array list[ARRAYS_NR];

	list_arrays(net, list);
	for (unsigned i = 0; i < ARRAYS_NR; i++) {
		void *p;

		if (!list[i].len)
			continue;
		p = endpoint_alloc(net->ep.env.alloc, list[i].len, 64);
		if (!p)
			return endpoint_err(net->ep.env.log, ENOMEM, "%s: out of memory",
					    net->ep.name);
		*pointer_of(net, &list[i]) = p;
	}
	for (unsigned i = 0; i <= NET_SLOTS_MAX; i++)
		net->slot[i].bufs = net->slot_bufs + (size_t)i * net->bufs_max;
	for (unsigned i = 0; i < net->pairs; i++) {
		net->rack[i].chain = net->rx_chain + (size_t)i * net->virtio.queue_size;
		net->rack[i].buf = net->rx_buf + (size_t)i * net_rack_bufs(net);
	}
	return 0;
}

static void free_arrays(struct net *net)
{
	struct array list[ARRAYS_NR];

	list_arrays(net, list);
	for (unsigned i = 0; i < ARRAYS_NR; i++)
		endpoint_free(net->ep.env.alloc, *pointer_of(net, &list[i]), list[i].len);
}

/* ---- life ---- */

static void receive(void *opaque, int pair, struct net_frame *frame)
{
	rx_frame(opaque, pair, frame);
}

static void receive_begin(void *opaque)
{
	net_begin(opaque);
}

static void receive_end(void *opaque)
{
	net_end(opaque);
}

static bool may_receive(void *opaque)
{
	return rx_may(opaque);
}

static int open_backend(struct net *net, const struct options *o)
{
	static const char *const names[] = {"user", "tap", "loopback", "null", NULL};
	static const struct net_backend_ops *const kinds[] = {&net_user, &net_tap,
							      &net_loopback, &net_null};
	unsigned kind = 0;
	int r = options_choice(o, "backend", names, &kind);

	if (r)
		return r;
	net->host = (struct net_host){
		.name = net->ep.name,
		.alloc = net->ep.env.alloc,
		.log = net->ep.env.log,
		.state = &net->state,
		.pairs = net->pairs,
		.receive = receive,
		.receive_begin = receive_begin,
		.receive_end = receive_end,
		.may_receive = may_receive,
		.opaque = net,
	};
	return kinds[kind]->open(&net->host, o, &net->backend);
}

static int set_up(struct net *net, const struct options *o)
{
	struct virtio_identity identity = {
		.virtio_id = VIRTIO_ID_NET,
		.class_code = 0x02, /* network, Ethernet */
		.config_len = sizeof(struct virtio_net_config),
	};
	int r = parse(net, o);

	if (!r)
		r = open_backend(net, o);
	if (r)
		return r;
	filter_reset(&net->filter, net->mac);
	identity.queues_nr = net_queues_nr(net);
	r = make_arrays(net);
	return r ? r : virtio_create(&net->virtio, &net->ep, &identity, &net_virtio_ops);
}

void net_destroy(struct endpoint *ep)
{
	struct net *net = to_net(ep);

	virtio_destroy(&net->virtio);
	free_arrays(net);
	if (net->backend)
		net->backend->ops->close(net->backend);
	endpoint_free(ep->env.alloc, net, sizeof(*net));
}

int net_create(const struct endpoint_env *env, const struct options *options,
	       struct endpoint **out)
{
	struct net *net = endpoint_alloc(env->alloc, sizeof(*net), 64);
	int r;

	if (!net)
		return endpoint_err(env->log, ENOMEM, "%s: out of memory", env->name);
	endpoint_init(&net->ep, &endpoint_net, env);
	r = set_up(net, options);
	if (r) {
		net_destroy(&net->ep);
		return r;
	}
	endpoint_log(env->log, VIOMMU_LOG_INFO,
		     "%s: %02x:%02x:%02x:%02x:%02x:%02x on %s, %u queue pairs of %u",
		     net->ep.name, net->mac[0], net->mac[1], net->mac[2], net->mac[3],
		     net->mac[4], net->mac[5], net->backend->ops->name, net->pairs,
		     net->virtio.queue_size);
	*out = &net->ep;
	return 0;
}
