/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Frames to the guest: who wants them, in what form, and into which buffers. */
#include "endpoints/net/internal.h"
#include "endpoints/util.h"

/* Whether a frame found its place; LATER: there may be buffers another time. */
enum placed { PLACED, PLACED_LATER, PLACED_NEVER };

/* Chains taken for one frame, in net->rx_chain, and their buffers. */
struct gather {
	unsigned chains_nr, bufs_nr;
	unsigned slots; /* ring entries of the chains */
	unsigned bad;	/* chains that had to be given back among them */
	uint64_t room;	/* bytes */
};

/* ---- buffers ---- */

/* A chain is popped: notes its writable buffers. false: it has none. */
static bool add_chain(struct net *net, struct gather *g)
{
	const struct viommu_chain *chain = &net->rx_chain[g->chains_nr];
	struct viommu_virtq_buf *bufs = net->rx_buf + g->bufs_nr;
	unsigned nr = (unsigned)chain->buf_nr - chain->readable_nr;

	if (!chain->writable_len)
		return false;
	memmove(bufs, bufs + chain->readable_nr, nr * sizeof(*bufs));
	g->bufs_nr += nr;
	g->room += chain->writable_len;
	g->slots += chain->ring_slots;
	g->chains_nr++;
	return true;
}

/* The frame does not come: the chains stay the driver's offer, unless others were
 * given back since, for then the ring has moved on. */
static enum placed give_up(struct net *net, struct net_queue *q, struct gather *g,
			   enum placed why)
{
	while (g->chains_nr--) {
		if (g->bad)
			net_push(net, q, &net->rx_chain[g->chains_nr], 0);
		else
			viommu_virtq_unpop(&q->vq, &net->rx_chain[g->chains_nr]);
	}
	return why;
}

static enum placed take_chain(struct net *net, struct net_queue *q, struct gather *g)
{
	struct viommu_chain *chain = &net->rx_chain[g->chains_nr];
	unsigned max = NET_RX_BUFS_MAX - g->bufs_nr;
	int r = viommu_virtq_pop(&q->vq, chain, net->rx_buf + g->bufs_nr,
				 max < net->bufs_max ? max : net->bufs_max);

	if (likely(r > 0 && add_chain(net, g)))
		return PLACED;
	if (net_bad_pop(net, q, chain, r > 0 ? -EBADMSG : r))
		return ++g->bad > q->vq.cfg.size ? PLACED_NEVER : PLACED;
	q->starved = true;
	/* All that the ring can hold is not enough. */
	return g->slots >= q->vq.cfg.size ? PLACED_NEVER : PLACED_LATER;
}

static enum placed gather_chains(struct net *net, struct net_queue *q, uint64_t need,
				 struct gather *g)
{
	unsigned max =
		net->features & BIT(VIRTIO_NET_F_MRG_RXBUF) ? NET_RX_CHAINS_MAX : 1;
	enum placed r;

	*g = (struct gather){0};
	while (g->room < need) {
		r = g->chains_nr == max ? PLACED_NEVER : take_chain(net, q, g);
		if (r != PLACED)
			return give_up(net, q, g, r);
	}
	return PLACED;
}

static void push_chains(struct net *net, struct net_queue *q, const struct gather *g,
			uint64_t len)
{
	for (unsigned i = 0; i < g->chains_nr; i++) {
		const struct viommu_chain *chain = &net->rx_chain[i];
		uint64_t n = len < chain->writable_len ? len : chain->writable_len;

		net_push(net, q, chain, (uint32_t)n);
		len -= n;
	}
}

/* "If VIRTIO_NET_F_MRG_RXBUF was not negotiated, num_buffers is 1." */
static struct virtio_net_hdr make_header(const struct net_meta *meta, unsigned chains_nr)
{
	return (struct virtio_net_hdr){
		.flags = meta->flags,
		.gso_type = meta->gso_type,
		.hdr_len = htole16(meta->hdr_len),
		.gso_size = htole16(meta->gso_size),
		.csum_start = htole16(meta->csum_start),
		.csum_offset = htole16(meta->csum_offset),
		.num_buffers = htole16((uint16_t)chains_nr),
	};
}

/* Inside a section. */
static enum placed place(struct net *net, struct net_queue *q, struct net_frame *frame)
{
	uint64_t need = NET_HEADER_LEN + frame->len;
	struct virtio_net_hdr header;
	enum placed r = PLACED_LATER;
	struct gather g;

	if (!q->enabled || q->stalled)
		return r;
	r = gather_chains(net, q, need, &g);
	if (r != PLACED)
		return r;
	header = make_header(&frame->meta, g.chains_nr);
	frame->iov[-1] = (struct iovec){&header, sizeof(header)};
	if (unlikely(chain_write(net, net->rx_buf, g.bufs_nr, frame->iov - 1,
				 frame->iov_nr + 1))) {
		/* Given back unused: no header was seen, so no frame was. */
		push_chains(net, q, &g, 0);
		net->stats.blocked++;
		return PLACED;
	}
	push_chains(net, q, &g, need);
	net->section_len += frame->len;
	net->stats.rx_frames++;
	net->stats.rx_bytes += frame->len;
	net->stats.rx_merged += g.chains_nr > 1;
	return PLACED;
}

/* Places it, or lets it wait behind those that wait already. */
static void deliver(struct net *net, unsigned pair, struct net_frame *frame)
{
	enum placed r = PLACED_LATER;

	if (!net->backlog.nr)
		r = place(net, net_rx(net, pair), frame);
	if (likely(r == PLACED))
		return;
	if (r == PLACED_NEVER)
		net->stats.rx_too_big++;
	else if (backlog_put(&net->backlog, (int)pair, frame))
		net->stats.rx_backlog++;
	else
		net->stats.rx_dropped++;
}

/* ---- form ---- */

static bool takes_gso(uint64_t offloads, uint8_t gso_type)
{
	if ((gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	    !(offloads & BIT(VIRTIO_NET_F_GUEST_ECN)))
		return false;
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return offloads & BIT(VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return offloads & BIT(VIRTIO_NET_F_GUEST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		/* It may be either IP version; drivers take both or neither. */
		return offloads & BIT(VIRTIO_NET_F_GUEST_USO4) &&
		       offloads & BIT(VIRTIO_NET_F_GUEST_USO6);
	default:
		return true;
	}
}

/* In one piece, in net->flat. */
static void flatten(struct net *net, const struct net_frame *frame)
{
	uint8_t *at = net->flat;

	for (unsigned i = 0; i < frame->iov_nr; i++) {
		memcpy(at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += frame->iov[i].iov_len;
	}
}

static void deliver_cut(struct net *net, unsigned pair, const struct net_frame *frame)
{
	bool sums = net->state.offloads & BIT(VIRTIO_NET_F_GUEST_CSUM);
	struct iovec iov[3];
	struct net_frame part = {
		.meta.flags = sums ? VIRTIO_NET_HDR_F_DATA_VALID : 0,
		.iov = iov + 1,
		.iov_nr = 2,
	};

	flatten(net, frame);
	if (!segment_begin(&net->rx_cut, net->flat, frame->len, frame->meta.gso_type,
			   frame->meta.gso_size)) {
		net->stats.malformed++;
		return;
	}
	net->stats.segmented++;
	while (segment_next(&net->rx_cut, part.iov)) {
		part.len = part.iov[0].iov_len + part.iov[1].iov_len;
		deliver(net, pair, &part);
	}
}

static void deliver_summed(struct net *net, unsigned pair, const struct net_frame *frame)
{
	struct iovec iov[2];
	struct net_frame whole = {.iov = iov + 1, .iov_nr = 1, .len = frame->len};

	flatten(net, frame);
	offload_checksum(net->flat, frame->len, &frame->meta);
	net->stats.checksums++;
	iov[1] = (struct iovec){net->flat, frame->len};
	deliver(net, pair, &whole);
}

/* In the form that the guest takes. Inside a section. */
static void deliver_as_wanted(struct net *net, unsigned pair, struct net_frame *frame)
{
	uint64_t offloads = net->state.offloads;

	if (frame->meta.gso_type && !takes_gso(offloads, frame->meta.gso_type)) {
		deliver_cut(net, pair, frame);
	} else if (offloads & BIT(VIRTIO_NET_F_GUEST_CSUM)) {
		deliver(net, pair, frame);
	} else if (frame->meta.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		deliver_summed(net, pair, frame);
	} else {
		frame->meta = (struct net_meta){0};
		deliver(net, pair, frame);
	}
}

/* ---- who it is for ---- */

static void peek(const struct net_frame *frame, uint8_t *buf, size_t len)
{
	size_t done = 0, n;

	memset(buf, 0, len);
	for (unsigned i = 0; i < frame->iov_nr && done < len; i++, done += n) {
		n = frame->iov[i].iov_len < len - done ? frame->iov[i].iov_len
						       : len - done;
		memcpy(buf + done, frame->iov[i].iov_base, n);
	}
}

/* The pair that the flow was last sent on. */
static unsigned steer(struct net *net, int pair, const struct net_frame *frame)
{
	if (net->state.pairs == 1)
		return 0;
	if (pair < 0)
		pair = net->flow_pair[offload_flow_hash(frame->iov[0].iov_base,
							frame->iov[0].iov_len) &
				      0xff];
	return (unsigned)pair < net->state.pairs ? (unsigned)pair : 0;
}

static bool is_wanted(struct net *net, const struct net_frame *frame)
{
	uint8_t head[NET_PEEK_LEN];

	if (unlikely(!net->state.running || !net_may_run(net) ||
		     frame->len < NET_ETH_LEN || frame->len > NET_FRAME_MAX)) {
		net->stats.rx_dropped++;
		return false;
	}
	peek(frame, head, sizeof(head));
	if (filter_passes(&net->filter, head))
		return true;
	net->stats.rx_filtered++;
	return false;
}

void rx_frame(struct net *net, int pair, struct net_frame *frame)
{
	bool open = !net->in_section;

	if (!is_wanted(net, frame))
		return;
	if (open)
		net_begin(net);
	deliver_as_wanted(net, steer(net, pair, frame), frame);
	if (open)
		net_end(net);
}

/* ---- what waited ---- */

static enum placed place_waiting(struct net *net, const struct net_waiting *w)
{
	struct iovec iov[2] = {{0}, {net->backlog.bytes + w->offset, w->len}};
	struct net_frame frame = {
		.meta = w->meta, .iov = iov + 1, .iov_nr = 1, .len = w->len};

	return place(net, net_rx(net, (unsigned)w->pair), &frame);
}

unsigned rx_flush(struct net *net)
{
	const struct net_waiting *w;
	unsigned nr = 0;
	enum placed r;

	while (net->section_len < NET_SECTION_LEN &&
	       (w = backlog_first(&net->backlog)) != NULL) {
		r = place_waiting(net, w);
		if (r == PLACED_LATER)
			break;
		net->stats.rx_too_big += r == PLACED_NEVER;
		backlog_drop_first(&net->backlog);
		nr++;
	}
	return nr;
}

bool rx_may(const struct net *net)
{
	return net->state.running && !net->backlog.nr;
}
