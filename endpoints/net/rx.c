/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Frames to the guest: who wants them, in what form, and into which buffers. */
#include "endpoints/net/internal.h"

/* Whether a frame found its place; LATER: there may be buffers another time. */
enum placed { PLACED, PLACED_LATER, PLACED_NEVER };

/* ---- buffers ---- */

void rx_forget(struct net *net, unsigned pair)
{
	struct net_rack *k = &net->rack[pair];

	k->chains_nr = k->bufs_nr = k->slots = 0;
	k->room = 0;
	k->starved = false;
}

static unsigned bufs_of(const struct viommu_chain *chain)
{
	return (unsigned)chain->buf_nr - chain->readable_nr;
}

/* A chain is popped: notes its writable buffers. false: it has none. */
static bool add_chain(struct net_rack *k)
{
	const struct viommu_chain *chain = &k->chain[k->chains_nr];
	struct viommu_virtq_buf *bufs = k->buf + k->bufs_nr;

	if (!chain->writable_len)
		return false;
	if (unlikely(chain->readable_nr))
		memmove(bufs, bufs + chain->readable_nr, bufs_of(chain) * sizeof(*bufs));
	k->bufs_nr += bufs_of(chain);
	k->room += chain->writable_len;
	k->slots += chain->ring_slots;
	k->chains_nr++;
	return true;
}

/* One more chain for the rack; PLACED: there is one, or a bad one less. */
static enum placed take_chain(struct net *net, struct virtio_queue *q, struct net_rack *k)
{
	unsigned size = q->vq.cfg.size, left = net_rack_bufs(net) - k->bufs_nr;
	struct viommu_chain *chain = &k->chain[k->chains_nr];
	int r;

	/* All that the ring can hold is not enough. */
	if (k->slots >= size)
		return PLACED_NEVER;
	if (!virtio_is_watched(q))
		return PLACED_LATER;
	viommu_virtq_disable_notify(&q->vq);
	r = viommu_virtq_pop(&q->vq, chain, k->buf + k->bufs_nr,
			     left < net->bufs_max ? left : net->bufs_max);
	if (likely(r > 0 && add_chain(k)))
		return PLACED;
	if (r == -E2BIG && left < net->bufs_max) {
		viommu_virtq_unpop(&q->vq, chain);
		return PLACED_NEVER;
	}
	if (r && virtio_pop_failed(&net->virtio, q, chain, r > 0 ? -EBADMSG : r) ==
			 VIRTIO_REFUSED)
		return PLACED;
	k->starved = true;
	return PLACED_LATER;
}

/*
 * Fills the rack until it holds `need` bytes. Chains that are not enough stay
 * there for the next frame: were they given back to the ring, the driver would
 * not notify of those that come behind them.
 */
static enum placed gather(struct net *net, struct virtio_queue *q, struct net_rack *k,
			  uint64_t need)
{
	bool mergeable = net->virtio.features & BIT(VIRTIO_NET_F_MRG_RXBUF);
	unsigned tries = 2 * q->vq.cfg.size;
	enum placed r;

	while (k->room < need) {
		if (k->chains_nr && !mergeable)
			return PLACED_NEVER;
		r = tries-- ? take_chain(net, q, k) : PLACED_NEVER;
		if (r != PLACED)
			return r;
	}
	return PLACED;
}

/* How many of its chains hold `need` bytes. It has them. */
static unsigned count_chains(const struct net_rack *k, uint64_t need)
{
	unsigned nr = 1;

	for (uint64_t room = k->chain[0].writable_len; room < need; nr++)
		room += k->chain[nr].writable_len;
	return nr;
}

/* Gives the first nr chains back with `len` bytes written into them. */
static void push_chains(struct net *net, struct virtio_queue *q, struct net_rack *k,
			unsigned nr, uint64_t len)
{
	unsigned bufs = 0;

	for (unsigned i = 0; i < nr; i++) {
		const struct viommu_chain *chain = &k->chain[i];
		uint64_t n = len < chain->writable_len ? len : chain->writable_len;

		virtio_push(&net->virtio, q, chain, (uint32_t)n);
		len -= n;
		bufs += bufs_of(chain);
		k->slots -= chain->ring_slots;
		k->room -= chain->writable_len;
	}
	k->chains_nr -= nr;
	k->bufs_nr -= bufs;
	if (k->chains_nr) {
		memmove(k->chain, k->chain + nr, k->chains_nr * sizeof(*k->chain));
		memmove(k->buf, k->buf + bufs, k->bufs_nr * sizeof(*k->buf));
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
static enum placed place(struct net *net, unsigned pair, struct net_frame *frame)
{
	uint64_t need = NET_HEADER_LEN + frame->len;
	struct virtio_queue *q = net_rx(net, pair);
	struct net_rack *k = &net->rack[pair];
	enum placed r = PLACED_LATER;
	struct virtio_net_hdr header;
	unsigned nr;

	if (!q->enabled || q->stalled)
		return r;
	r = gather(net, q, k, need);
	if (r != PLACED)
		return r;
	nr = count_chains(k, need);
	header = make_header(&frame->meta, nr);
	frame->iov[-1] = (struct iovec){&header, sizeof(header)};
	if (unlikely(chain_write(net, k->buf, k->bufs_nr, frame->iov - 1,
				 frame->iov_nr + 1))) {
		/* Given back as empty: there was no frame. */
		push_chains(net, q, k, nr, 0);
		net->stats.blocked++;
		return PLACED;
	}
	push_chains(net, q, k, nr, need);
	net->section_len += frame->len;
	net->stats.rx_frames++;
	net->stats.rx_bytes += frame->len;
	net->stats.rx_merged += nr > 1;
	return PLACED;
}

/* Places it, or lets it wait behind those that wait already. */
static void deliver(struct net *net, unsigned pair, struct net_frame *frame)
{
	enum placed r = PLACED_LATER;

	if (!net->backlog.nr)
		r = place(net, pair, frame);
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

/* "The device MUST NOT pass received packets that exceed mtu (plus low level
 * ethernet header length) size with gso_type NONE or ECN after VIRTIO_NET_F_MTU
 * has been successfully negotiated." */
static bool fits_mtu(const struct net *net, size_t len, size_t header_len)
{
	return len <= header_len + net->state.mtu ||
	       !(net->virtio.features & BIT(VIRTIO_NET_F_MTU));
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
		net->virtio.stats.malformed++;
		return;
	}
	net->stats.segmented++;
	while (segment_next(&net->rx_cut, part.iov)) {
		net->section_len += NET_SEGMENT_LEN;
		part.len = part.iov[0].iov_len + part.iov[1].iov_len;
		if (fits_mtu(net, part.len, net->rx_cut.at.l3))
			deliver(net, pair, &part);
		else
			net->stats.rx_too_big++;
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

	if (unlikely(!net->state.running || !virtio_may_run(&net->virtio) ||
		     frame->len < NET_ETH_LEN || frame->len > NET_FRAME_MAX)) {
		net->stats.rx_dropped++;
		return false;
	}
	peek(frame, head, sizeof(head));
	if (!filter_passes(&net->filter, head)) {
		net->stats.rx_filtered++;
		return false;
	}
	if (!frame->meta.gso_type &&
	    !fits_mtu(net, frame->len, filter_header_len(head))) {
		net->stats.rx_too_big++;
		return false;
	}
	return true;
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

/* On its pair, unless the driver has taken that out of use meanwhile. */
static enum placed place_waiting(struct net *net, const struct net_waiting *w)
{
	unsigned pair = (unsigned)w->pair < net->state.pairs ? (unsigned)w->pair : 0;
	struct iovec iov[2] = {{0}, {net->backlog.bytes + w->offset, w->len}};
	struct net_frame frame = {
		.meta = w->meta, .iov = iov + 1, .iov_nr = 1, .len = w->len};

	return place(net, pair, &frame);
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

void rx_drop_waiting(struct net *net)
{
	net->stats.rx_dropped += net->backlog.nr;
	backlog_clear(&net->backlog);
}

bool rx_may(const struct net *net)
{
	return net->state.running && !net->backlog.nr;
}
