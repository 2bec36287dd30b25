/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Back ends for measuring: every frame comes back, or none does. */
#include "endpoints/net/backend.h"
#include "endpoints/net/proto.h"
#include "endpoints/util.h"

#define BIT(n) (1ull << (n))

static int open_any(const struct net_host *host, const struct net_backend_ops *ops,
		    struct net_backend **out)
{
	struct net_backend *b =
		endpoint_alloc(host->alloc, sizeof(*b), _Alignof(struct net_backend));

	if (!b)
		return endpoint_err(host->log, ENOMEM, "%s: out of memory", host->name);
	b->ops = ops;
	b->host = host;
	b->takes = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
		   BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |
		   BIT(VIRTIO_NET_F_HOST_USO);
	*out = b;
	return 0;
}

static int open_loopback(const struct net_host *host, const struct options *options,
			 struct net_backend **out)
{
	(void)options;
	return open_any(host, &net_loopback, out);
}

static int open_null(const struct net_host *host, const struct options *options,
		     struct net_backend **out)
{
	(void)options;
	return open_any(host, &net_null, out);
}

static void close_any(struct net_backend *b)
{
	endpoint_free(b->host->alloc, b, sizeof(*b));
}

static bool send_back(struct net_backend *b, unsigned pair, struct net_frame *frame)
{
	b->host->receive(b->host->opaque, (int)pair, frame);
	return true;
}

static bool send_nowhere(struct net_backend *b, unsigned pair, struct net_frame *frame)
{
	(void)b;
	(void)pair;
	(void)frame;
	return true;
}

const struct net_backend_ops net_loopback = {
	.name = "loopback",
	.handover = NET_INSIDE,
	.open = open_loopback,
	.close = close_any,
	.send = send_back,
};

const struct net_backend_ops net_null = {
	.name = "null",
	.handover = NET_INSIDE,
	.open = open_null,
	.close = close_any,
	.send = send_nowhere,
};
