/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Frames from the guest: from the ring to the back end. */
#include "endpoints/net/internal.h"

/* ---- what a back end cannot do ---- */

static uint64_t gso_bit(uint8_t gso_type)
{
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return BIT(VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return BIT(VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return BIT(VIRTIO_NET_F_HOST_USO);
	default:
		return 0;
	}
}

/* What the other side must do with the frame: bits of net_backend.takes. */
static uint64_t asks(const struct net_meta *meta)
{
	uint64_t bits = gso_bit(meta->gso_type);

	if (meta->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		bits |= BIT(VIRTIO_NET_F_CSUM);
	if (meta->gso_type & VIRTIO_NET_HDR_GSO_ECN)
		bits |= BIT(VIRTIO_NET_F_HOST_ECN);
	return bits;
}

static bool is_tcp_series(uint8_t gso_type)
{
	return gso_bit(gso_type) &
	       (BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6));
}

static void hand_over(struct net *net, unsigned pair, struct net_frame *frame)
{
	size_t len = frame->len;

	if (net->backend->ops->send(net->backend, pair, frame)) {
		net->stats.tx_frames++;
		net->stats.tx_bytes += len;
	} else {
		net->stats.tx_dropped++;
	}
}

/* A copy as it is, in one piece. */
static void hand_over_flat(struct net *net, unsigned pair, const struct net_meta *meta,
			   uint8_t *bytes, size_t len)
{
	struct iovec iov[2] = {{0}, {bytes, len}};
	struct net_frame frame = {.meta = *meta, .iov = iov + 1, .iov_nr = 1, .len = len};

	hand_over(net, pair, &frame);
}

/* Where a segment is put together: behind all copies. */
static uint8_t *segment_place(struct net *net)
{
	return net->arena + NET_SECTION_LEN + NET_FRAME_MAX;
}

/* Whether the back end takes a series as one frame with right checksums. */
static bool takes_whole(const struct net *net, const struct net_meta *meta)
{
	return net->backend->ops->whole_tcp && is_tcp_series(meta->gso_type);
}

/* What cutting a frame will cost, beyond copying it. */
static size_t cut_cost(const struct net *net, const struct net_slot *slot)
{
	const struct net_meta *meta = &slot->meta;

	if (!meta->gso_type || !(asks(meta) & ~net->backend->takes) ||
	    takes_whole(net, meta))
		return 0;
	return slot->len / meta->gso_size * NET_SEGMENT_LEN;
}

/* A series as single frames, or as one long one with right checksums. */
static void send_series(struct net *net, const struct net_slot *slot)
{
	bool whole = takes_whole(net, &slot->meta);
	static const struct net_meta plain = {0};
	struct segmenter *s = &net->tx_cut;
	uint8_t *to = whole ? slot->copy : segment_place(net);
	struct iovec part[2];

	if (!segment_begin(s, slot->copy, slot->len, slot->meta.gso_type,
			   whole ? 0 : slot->meta.gso_size)) {
		net->virtio.stats.malformed++;
		return;
	}
	net->stats.segmented += !whole;
	net->stats.checksums += whole;
	while (segment_next(s, part)) {
		memcpy(to, part[0].iov_base, part[0].iov_len);
		if (!whole)
			memcpy(to + part[0].iov_len, part[1].iov_base, part[1].iov_len);
		hand_over_flat(net, slot->pair, &plain, to,
			       part[0].iov_len + part[1].iov_len);
	}
}

static void send_copy(struct net *net, struct net_slot *slot)
{
	uint64_t missing = asks(&slot->meta) & ~net->backend->takes;

	if (net->state.pairs > 1)
		net->flow_pair[offload_flow_hash(slot->copy, slot->len) & 0xff] =
			(uint8_t)slot->pair;
	if (slot->meta.gso_type && missing) {
		send_series(net, slot);
		return;
	}
	if (missing) {
		offload_checksum(slot->copy, slot->len, &slot->meta);
		net->stats.checksums++;
		slot->meta = (struct net_meta){0};
	}
	hand_over_flat(net, slot->pair, &slot->meta, slot->copy, slot->len);
}

static void send_held(struct net *net, const struct net_slot *slot)
{
	struct viommu_sg sg = {
		.iov = net->tx_iov + 1,
		.iov_max = NET_IOV_MAX,
		.hold = net->tx_hold,
		.hold_max = NET_IOV_MAX,
	};
	struct net_frame frame = {.meta = slot->meta, .iov = sg.iov, .len = slot->len};
	int r = chain_hold(net, slot->bufs, slot->chain.readable_nr, NET_HEADER_LEN, &sg);

	if (likely(!r)) {
		frame.iov_nr = sg.iov_nr;
		hand_over(net, slot->pair, &frame);
	} else if (r == -EFAULT) {
		net->stats.blocked++;
	} else {
		net->virtio.stats.malformed++;
	}
	if (sg.iov_nr)
		viommu_dma_put(net->virtio.dma, &sg);
}

unsigned tx_send(struct net *net)
{
	unsigned held = 0;

	for (unsigned i = 0; i < net->slots_nr; i++) {
		struct net_slot *slot = &net->slot[i];

		if (slot->copy) {
			send_copy(net, slot);
		} else {
			send_held(net, slot);
			held++;
		}
	}
	return held;
}

static void give_back(struct net *net, const struct net_slot *slot)
{
	virtio_push(&net->virtio, slot->queue, &slot->chain, 0);
	latency_done(&net->latency, LATENCY_WRITE, net->latency.turn_ns);
}

void tx_give_back(struct net *net)
{
	for (unsigned i = 0; i < net->slots_nr; i++)
		if (!net->slot[i].copy)
			give_back(net, &net->slot[i]);
	net->slots_nr = 0;
	net->arena_len = 0;
}

/* ---- from the ring ---- */

/* The header, checked; what means nothing without a flag is cleared. */
static int read_header(struct net *net, struct net_slot *slot)
{
	struct virtio_net_hdr header;
	struct net_meta *meta = &slot->meta;
	int r = chain_read(net, slot->bufs, slot->chain.readable_nr, 0, &header,
			   sizeof(header));

	if (r)
		return r;
	if (slot->chain.readable_len - sizeof(header) > NET_FRAME_MAX)
		return -EINVAL;
	slot->len = (size_t)slot->chain.readable_len - sizeof(header);
	*meta = (struct net_meta){
		.flags = header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = header.gso_type,
		.hdr_len = le16toh(header.hdr_len),
		.gso_size = le16toh(header.gso_size),
		.csum_start = le16toh(header.csum_start),
		.csum_offset = le16toh(header.csum_offset),
	};
	if (!offload_check(meta, slot->len, net->virtio.features))
		return -EINVAL;
	if (!meta->flags)
		*meta = (struct net_meta){0};
	if (!meta->gso_type)
		meta->gso_size = 0;
	if (meta->hdr_len > slot->len)
		meta->hdr_len = (uint16_t)slot->len;
	return 0;
}

static int send_inside(struct net *net, struct net_slot *slot)
{
	struct net_frame frame = {
		.meta = slot->meta, .iov = net->tx_iov + 1, .len = slot->len};
	int nr = chain_map(net, slot->bufs, slot->chain.readable_nr, NET_HEADER_LEN,
			   frame.iov, NET_IOV_MAX);

	if (nr < 0)
		return nr;
	frame.iov_nr = (unsigned)nr;
	net->section_len += slot->len;
	hand_over(net, slot->pair, &frame);
	return 0;
}

static int copy_frame(struct net *net, struct net_slot *slot)
{
	uint8_t *to = net->arena + net->arena_len;
	int r = chain_read(net, slot->bufs, slot->chain.readable_nr, NET_HEADER_LEN, to,
			   slot->len);

	if (r)
		return r;
	slot->copy = to;
	net->arena_len += slot->len;
	net->section_len += slot->len + cut_cost(net, slot);
	net->slots_nr++;
	return 0;
}

static bool is_kept(const struct net *net, const struct net_slot *slot)
{
	return net->backend->ops->handover == NET_HELD &&
	       !(asks(&slot->meta) & ~net->backend->takes);
}

/* Result: 0; -EFAULT: out of reach; else it makes no sense. */
static int take_frame(struct net *net, struct net_slot *slot)
{
	int r = read_header(net, slot);

	if (r)
		return r;
	if (unlikely(!net->state.running)) {
		net->stats.tx_dropped++;
		return 0;
	}
	if (net->backend->ops->handover == NET_INSIDE)
		return send_inside(net, slot);
	slot->copy = NULL;
	if (!is_kept(net, slot))
		return copy_frame(net, slot);
	net->slots_nr++;
	return 0;
}

static void take_chain(struct net *net, struct net_slot *slot)
{
	unsigned before = net->slots_nr;
	int r = take_frame(net, slot);

	if (unlikely(r == -EFAULT))
		net->stats.blocked++;
	else if (unlikely(r))
		net->virtio.stats.malformed++;
	/* What is held is given back when it has been sent. */
	if (net->slots_nr == before || slot->copy)
		give_back(net, slot);
}

static bool has_room(const struct net *net)
{
	return net->slots_nr < NET_SLOTS_MAX && net->section_len < NET_SECTION_LEN;
}

unsigned tx_take(struct net *net, unsigned pair, unsigned budget, bool *more)
{
	struct virtio_queue *q = net_tx(net, pair);
	enum virtio_popped popped;
	struct net_slot *slot;
	unsigned nr = 0;

	viommu_virtq_disable_notify(&q->vq);
	for (; nr < budget && has_room(net); nr++) {
		slot = &net->slot[net->slots_nr];
		slot->queue = q;
		slot->pair = pair;
		popped = virtio_pop(&net->virtio, q, &slot->chain, slot->bufs,
				    net->bufs_max);
		if (popped == VIRTIO_NONE)
			return nr;
		if (likely(popped == VIRTIO_TAKEN))
			take_chain(net, slot);
	}
	*more = true;
	return nr;
}
