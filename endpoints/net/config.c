/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Features and configuration space (VIRTIO 1.4, "Network Device"). */
#include "endpoints/net/internal.h"

_Static_assert(sizeof(struct virtio_net_config) == 12, "no padding");
_Static_assert(sizeof(struct virtio_net_hdr) == 12, "no padding");

/* "Feature bit requirements": what makes no sense without another one. */
static const struct {
	uint64_t bit, needs;
} requirements[] = {
	{BIT(VIRTIO_NET_F_HOST_TSO4), BIT(VIRTIO_NET_F_CSUM)},
	{BIT(VIRTIO_NET_F_HOST_TSO6), BIT(VIRTIO_NET_F_CSUM)},
	{BIT(VIRTIO_NET_F_HOST_USO), BIT(VIRTIO_NET_F_CSUM)},
	{BIT(VIRTIO_NET_F_GUEST_TSO4), BIT(VIRTIO_NET_F_GUEST_CSUM)},
	{BIT(VIRTIO_NET_F_GUEST_TSO6), BIT(VIRTIO_NET_F_GUEST_CSUM)},
	{BIT(VIRTIO_NET_F_GUEST_USO4), BIT(VIRTIO_NET_F_GUEST_CSUM)},
	{BIT(VIRTIO_NET_F_GUEST_USO6), BIT(VIRTIO_NET_F_GUEST_CSUM)},
	{BIT(VIRTIO_NET_F_CTRL_RX), BIT(VIRTIO_NET_F_CTRL_VQ)},
	{BIT(VIRTIO_NET_F_CTRL_RX_EXTRA), BIT(VIRTIO_NET_F_CTRL_VQ)},
	{BIT(VIRTIO_NET_F_CTRL_VLAN), BIT(VIRTIO_NET_F_CTRL_VQ)},
	{BIT(VIRTIO_NET_F_CTRL_MAC_ADDR), BIT(VIRTIO_NET_F_CTRL_VQ)},
	{BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS), BIT(VIRTIO_NET_F_CTRL_VQ)},
	{BIT(VIRTIO_NET_F_GUEST_ANNOUNCE), BIT(VIRTIO_NET_F_CTRL_VQ)},
	{BIT(VIRTIO_NET_F_MQ), BIT(VIRTIO_NET_F_CTRL_VQ)},
};

#define OFFLOADS_GUEST                                                                   \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |                   \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) |                    \
	 BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6))
#define OFFLOADS_HOST                                                                    \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |                          \
	 BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |                      \
	 BIT(VIRTIO_NET_F_HOST_USO))

uint64_t net_offloads_mask(void)
{
	return OFFLOADS_GUEST;
}

static const struct net *const_net(const struct virtio_dev *dev)
{
	return container_of(dev, const struct net, virtio);
}

uint64_t net_features(const struct virtio_dev *dev)
{
	const struct net *net = const_net(dev);
	uint64_t f = VIRTIO_RING_FEATURES | BIT(VIRTIO_NET_F_MTU) |
		     BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
		     BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
		     BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT(VIRTIO_NET_F_CTRL_VLAN) |
		     BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);

	if (net->offload)
		f |= OFFLOADS_GUEST | OFFLOADS_HOST |
		     BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (net->indirect)
		f |= BIT(VIOMMU_VIRTIO_F_RING_INDIRECT_DESC);
	if (net->mergeable)
		f |= BIT(VIRTIO_NET_F_MRG_RXBUF);
	if (net->pairs > 1)
		f |= BIT(VIRTIO_NET_F_MQ);
	return f;
}

void net_state_changed(struct net *net)
{
	net->state.running = net->virtio.driver_ok && net->link_up;
	if (net->backend && net->backend->ops->changed)
		net->backend->ops->changed(net->backend);
}

/* A bit that lacks what it needs counts as not accepted. */
uint64_t net_accept(struct virtio_dev *dev, uint64_t features)
{
	struct net *net = virtio_to_net(dev);

	for (unsigned i = 0; i < ARRAY_LEN(requirements); i++)
		if (!(features & requirements[i].needs))
			features &= ~requirements[i].bit;
	net->state.offloads = features & OFFLOADS_GUEST;
	/* VLANs are filtered from the first one the driver names. */
	net->filter.all_vlans = !(features & BIT(VIRTIO_NET_F_CTRL_VLAN));
	return features;
}

void net_config(const struct virtio_dev *dev, void *config)
{
	const struct net *net = const_net(dev);
	uint16_t status = (uint16_t)((net->link_up ? VIRTIO_NET_S_LINK_UP : 0) |
				     (net->announce ? VIRTIO_NET_S_ANNOUNCE : 0));
	struct virtio_net_config *c = config;

	memcpy(c->mac, net->filter.mac, sizeof(c->mac));
	c->status = htole16(status);
	c->max_virtqueue_pairs = htole16((uint16_t)net->pairs);
	c->mtu = htole16((uint16_t)net->state.mtu);
}
