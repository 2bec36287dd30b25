/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The control queue (VIRTIO 1.4, "Control Virtqueue"). */
#include "endpoints/net/internal.h"

/* A command under way: what follows class and command, in its buffers. */
struct command {
	struct net *net;
	const struct viommu_virtq_buf *bufs;
	unsigned readable_nr;
	size_t at;   /* next byte to read */
	size_t left; /* bytes of data from there on */
	uint8_t class, command;
};

/* All of the next len bytes, or false. */
static bool read_data(struct command *c, void *buf, size_t len)
{
	if (c->left < len || chain_read(c->net, c->bufs, c->readable_nr, c->at, buf, len))
		return false;
	c->at += len;
	c->left -= len;
	return true;
}

static bool set_rx_mode(struct command *c)
{
	uint8_t on;
	bool extra = c->command > VIRTIO_NET_CTRL_RX_ALLMULTI;

	if (!(c->net->virtio.features &
	      BIT(extra ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX)))
		return false;
	if (c->left != sizeof(on) || !read_data(c, &on, sizeof(on)))
		return false;
	return filter_set_mode(&c->net->filter, c->command, on);
}

/* A count and as many addresses. */
static bool read_macs(struct command *c, struct net_macs *out)
{
	uint32_t nr;
	size_t len;

	if (!read_data(c, &nr, sizeof(nr)))
		return false;
	nr = le32toh(nr);
	if (nr > c->left / 6)
		return false;
	len = (size_t)nr * 6;
	out->overflow = nr > NET_MACS_MAX;
	out->nr = out->overflow ? 0 : nr;
	if (!out->overflow)
		return !len || read_data(c, out->mac, len);
	c->at += len;
	c->left -= len;
	return true;
}

static bool set_mac_tables(struct command *c)
{
	struct net_macs uni, multi;

	if (!(c->net->virtio.features & BIT(VIRTIO_NET_F_CTRL_RX)))
		return false;
	if (!read_macs(c, &uni) || !read_macs(c, &multi) || c->left)
		return false;
	c->net->filter.uni = uni;
	c->net->filter.multi = multi;
	return true;
}

static bool set_mac(struct command *c)
{
	uint8_t mac[6];

	if (c->command == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return set_mac_tables(c);
	if (c->command != VIRTIO_NET_CTRL_MAC_ADDR_SET ||
	    !(c->net->virtio.features & BIT(VIRTIO_NET_F_CTRL_MAC_ADDR)))
		return false;
	if (c->left != sizeof(mac) || !read_data(c, mac, sizeof(mac)))
		return false;
	memcpy(c->net->filter.mac, mac, sizeof(mac));
	return true;
}

static bool set_vlan(struct command *c)
{
	uint16_t id;

	if (!(c->net->virtio.features & BIT(VIRTIO_NET_F_CTRL_VLAN)) ||
	    c->command > VIRTIO_NET_CTRL_VLAN_DEL || c->left != sizeof(id) ||
	    !read_data(c, &id, sizeof(id)))
		return false;
	id = le16toh(id);
	if (id >= NET_VLANS_MAX)
		return false;
	filter_set_vlan(&c->net->filter, id, c->command == VIRTIO_NET_CTRL_VLAN_ADD);
	return true;
}

static bool acknowledge(struct command *c)
{
	if (!(c->net->virtio.features & BIT(VIRTIO_NET_F_GUEST_ANNOUNCE)) ||
	    c->command != VIRTIO_NET_CTRL_ANNOUNCE_ACK || c->left)
		return false;
	c->net->announce = false;
	return true;
}

static bool set_pairs(struct command *c)
{
	uint16_t pairs;

	if (!(c->net->virtio.features & BIT(VIRTIO_NET_F_MQ)) ||
	    c->command != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || c->left != sizeof(pairs) ||
	    !read_data(c, &pairs, sizeof(pairs)))
		return false;
	pairs = le16toh(pairs);
	if (!pairs || pairs > c->net->pairs)
		return false;
	c->net->state.pairs = pairs;
	net_state_changed(c->net);
	return true;
}

static bool set_offloads(struct command *c)
{
	struct net_state *state = &c->net->state;
	uint64_t offloads, wanted = c->net->virtio.features;

	if (!(wanted & BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) ||
	    c->command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    c->left != sizeof(offloads) || !read_data(c, &offloads, sizeof(offloads)))
		return false;
	offloads = le64toh(offloads);
	/* "A driver MUST NOT enable an offload for which the appropriate feature
	 * has not been negotiated." */
	if (offloads & ~(wanted & net_offloads_mask()))
		return false;
	state->offloads = offloads;
	/* What waits has the form of before. */
	rx_drop_waiting(c->net);
	net_state_changed(c->net);
	return true;
}

static bool execute(struct command *c)
{
	switch (c->class) {
	case VIRTIO_NET_CTRL_RX:
		return set_rx_mode(c);
	case VIRTIO_NET_CTRL_MAC:
		return set_mac(c);
	case VIRTIO_NET_CTRL_VLAN:
		return set_vlan(c);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return acknowledge(c);
	case VIRTIO_NET_CTRL_MQ:
		return set_pairs(c);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return set_offloads(c);
	default:
		return false;
	}
}

/* Result: bytes written, 0 if there is no place for the ack. */
static uint32_t handle(struct net *net, const struct viommu_chain *chain,
		       const struct viommu_virtq_buf *bufs)
{
	struct command c = {.net = net, .bufs = bufs, .readable_nr = chain->readable_nr};
	uint8_t head[2], ack = VIRTIO_NET_ERR;

	c.left = (size_t)chain->readable_len;
	if (!chain->writable_len) {
		net->virtio.stats.malformed++;
		return 0;
	}
	net->stats.commands++;
	if (read_data(&c, head, sizeof(head))) {
		c.class = head[0];
		c.command = head[1];
		ack = execute(&c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	}
	net->stats.commands_refused += ack == VIRTIO_NET_ERR;
	if (viommu_dma_write(net->virtio.dma, bufs[chain->readable_nr].addr, &ack, 1)) {
		net->stats.blocked++;
		return 0;
	}
	return 1;
}

unsigned control_take(struct net *net, bool *more)
{
	struct virtio_dev *dev = &net->virtio;
	struct virtio_queue *q = &dev->queue[net_control_index(net)];
	struct net_slot *scratch = &net->slot[net->slots_nr];
	enum virtio_popped popped;
	unsigned nr = 0;

	if (!virtio_is_watched(q) || !(dev->features & BIT(VIRTIO_NET_F_CTRL_VQ)))
		return 0;
	viommu_virtq_disable_notify(&q->vq);
	for (; nr < NET_CONTROL_MAX; nr++) {
		popped =
			virtio_pop(dev, q, &scratch->chain, scratch->bufs, net->bufs_max);
		if (popped == VIRTIO_NONE)
			return nr;
		if (popped == VIRTIO_TAKEN)
			virtio_push(dev, q, &scratch->chain,
				    handle(net, &scratch->chain, scratch->bufs));
	}
	*more = true;
	return nr;
}
