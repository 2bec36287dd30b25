/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/net/offload.h"

#include <netinet/in.h>

#include "endpoints/net/proto.h"
#include "endpoints/util.h"

#define BIT(n)		   (1ull << (n))

#define ETHERTYPE_IPV4	   0x0800u
#define ETHERTYPE_IPV6	   0x86ddu
#define ETHERTYPE_VLAN	   0x8100u
#define ETHERTYPE_SVLAN	   0x88a8u
#define VLAN_TAG_LEN	   4u
#define VLAN_TAGS_MAX	   2u

#define IPV4_LEN	   20u
#define IPV4_TOTAL	   2u /* places in the header */
#define IPV4_ID		   4u
#define IPV4_FRAGMENT	   6u
#define IPV4_MF		   0x2000u
#define IPV4_PROTOCOL	   9u
#define IPV4_CHECKSUM	   10u
#define IPV4_ADDRESSES	   12u
#define IPV6_LEN	   40u
#define IPV6_PAYLOAD	   4u
#define IPV6_NEXT	   6u
#define IPV6_ADDRESSES	   8u
#define IPV6_FRAGMENT_LEN  8u /* a header of its own */

#define TCP_LEN		   20u
#define TCP_SEQUENCE	   4u
#define TCP_OFFSET	   12u
#define TCP_FLAGS	   13u
#define TCP_CHECKSUM	   16u
#define TCP_FIN		   0x01u
#define TCP_SYN		   0x02u
#define TCP_PSH		   0x08u
#define TCP_ACK		   0x10u
#define TCP_CWR		   0x80u
#define TCP_OPTION_MSS	   2u
#define TCP_OPTION_MSS_LEN 4u
#define UDP_LEN		   8u
#define UDP_LENGTH	   4u
#define UDP_CHECKSUM	   6u

#define IP_PACKET_MAX	   65535u

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* A sum or checksum in memory order. */
static uint16_t load_sum(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void store_sum(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* ---- checksums ---- */

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t word;

	/* 2^32 words fit the accumulator. */
	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	word = 0;
	memcpy(&word, p, len);
	return sum + word;
}

uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* UDP says "no checksum" with 0, and its complement for a sum of 0. */
static uint16_t finish_sum(uint64_t sum, bool udp)
{
	uint16_t v = (uint16_t)~checksum_fold(sum);

	return !v && udp ? 0xffff : v;
}

void offload_checksum(uint8_t *frame, size_t len, const struct net_meta *meta)
{
	/* The field holds the sum of the pseudo header and is summed too. */
	uint64_t sum = checksum_add(0, frame + meta->csum_start, len - meta->csum_start);

	store_sum(frame + meta->csum_start + meta->csum_offset,
		  finish_sum(sum, meta->csum_offset == UDP_CHECKSUM));
}

/* Of the pseudo header, for l4_len bytes of TCP or UDP. */
static uint64_t pseudo_sum(const uint8_t *frame, const struct net_layout *at,
			   size_t l4_len)
{
	const uint8_t *ip = frame + at->l3;
	uint8_t tail[8] = {0};

	put16(tail, l4_len >> 16);
	put16(tail + 2, l4_len);
	tail[7] = at->protocol;
	return checksum_add(at->ipv6 ? checksum_add(0, ip + IPV6_ADDRESSES, 32)
				     : checksum_add(0, ip + IPV4_ADDRESSES, 8),
			    tail, sizeof(tail));
}

/* ---- parsing ---- */

static bool parse_l4(const uint8_t *frame, struct net_layout *at, size_t l4)
{
	size_t room = at->end - l4, header;

	if (at->protocol == IPPROTO_TCP) {
		if (room < TCP_LEN)
			return false;
		header = (size_t)(frame[l4 + TCP_OFFSET] >> 4) * 4;
		if (header < TCP_LEN)
			return false;
	} else if (at->protocol == IPPROTO_UDP) {
		header = UDP_LEN;
	} else {
		return true;
	}
	if (header > room || l4 + header > NET_HEADERS_MAX)
		return false;
	at->l4 = (uint16_t)l4;
	at->payload = (uint16_t)(l4 + header);
	return true;
}

static bool parse_ipv4(const uint8_t *frame, size_t len, struct net_layout *at)
{
	const uint8_t *ip = frame + at->l3;
	size_t header, total;

	if (len - at->l3 < IPV4_LEN || ip[0] >> 4 != 4)
		return false;
	header = (size_t)(ip[0] & 15) * 4;
	total = get16(ip + IPV4_TOTAL);
	if (header < IPV4_LEN || total < header || total > len - at->l3)
		return false;
	at->end = at->l3 + total;
	at->protocol = ip[IPV4_PROTOCOL];
	/* A fragment: what follows need not be a header. */
	if (get16(ip + IPV4_FRAGMENT) & 0x3fff)
		return true;
	return parse_l4(frame, at, at->l3 + header);
}

static bool is_extension(uint8_t next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
	       next == IPPROTO_DSTOPTS;
}

static bool parse_ipv6(const uint8_t *frame, size_t len, struct net_layout *at)
{
	const uint8_t *ip = frame + at->l3;
	size_t l4 = at->l3 + IPV6_LEN;

	if (len < l4 || ip[0] >> 4 != 6)
		return false;
	at->ipv6 = true;
	at->end = l4 + get16(ip + IPV6_PAYLOAD);
	if (at->end > len)
		return false;
	at->protocol = ip[IPV6_NEXT];
	for (unsigned i = 0; is_extension(at->protocol); i++) {
		if (i == NET_EXTENSIONS || at->end - l4 < 8)
			return false;
		at->protocol = frame[l4];
		l4 += ((size_t)frame[l4 + 1] + 1) * 8;
		if (l4 > at->end)
			return false;
	}
	return parse_l4(frame, at, l4);
}

bool offload_parse(const uint8_t *frame, size_t len, struct net_layout *out)
{
	struct net_layout at = {.l3 = NET_ETH_LEN};
	bool good = false;
	uint16_t type;

	if (len < NET_ETH_LEN)
		return false;
	type = get16(frame + 12);
	for (unsigned i = 0; i < VLAN_TAGS_MAX; i++) {
		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_SVLAN)
			break;
		if (len < (size_t)at.l3 + VLAN_TAG_LEN)
			return false;
		type = get16(frame + at.l3 + 2);
		at.l3 = (uint16_t)(at.l3 + VLAN_TAG_LEN);
	}
	if (type == ETHERTYPE_IPV4)
		good = parse_ipv4(frame, len, &at);
	else if (type == ETHERTYPE_IPV6)
		good = parse_ipv6(frame, len, &at);
	if (good)
		*out = at;
	return good;
}

static bool is_gso_allowed(uint8_t gso_type, uint64_t features)
{
	if ((gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	    !(features & BIT(VIRTIO_NET_F_HOST_ECN)))
		return false;
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return features & BIT(VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return features & BIT(VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return features & BIT(VIRTIO_NET_F_HOST_USO);
	default:
		return false;
	}
}

bool offload_check(const struct net_meta *meta, size_t len, uint64_t features)
{
	bool sum = meta->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;

	if (len < NET_ETH_LEN || len > NET_FRAME_MAX)
		return false;
	if (sum &&
	    (!(features & BIT(VIRTIO_NET_F_CSUM)) || meta->csum_start < NET_ETH_LEN ||
	     (size_t)meta->csum_start + meta->csum_offset + 2 > len))
		return false;
	if (meta->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	/* "If gso_type differs from NONE, the driver MUST also set NEEDS_CSUM ...
	 * and MUST set gso_size". */
	return sum && meta->gso_size && len / meta->gso_size <= NET_SEGMENTS_MAX &&
	       is_gso_allowed(meta->gso_type, features);
}

/* ---- segmentation ---- */

static bool is_of_type(const struct net_layout *at, uint8_t gso_type)
{
	if (!at->l4)
		return false;
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return at->protocol == IPPROTO_TCP && !at->ipv6;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return at->protocol == IPPROTO_TCP && at->ipv6;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return at->protocol == IPPROTO_UDP;
	default:
		return false;
	}
}

bool segment_begin(struct segmenter *s, const uint8_t *frame, size_t len,
		   uint8_t gso_type, size_t size)
{
	size_t most;

	s->frame = frame;
	s->done = 0;
	s->index = 0;
	if (!offload_parse(frame, len, &s->at) || !is_of_type(&s->at, gso_type))
		return false;
	/* IPv6 counts what follows its header, IPv4 the header too. */
	most = IP_PACKET_MAX - (s->at.payload - s->at.l3 - (s->at.ipv6 ? IPV6_LEN : 0));
	s->size = size && size < most ? size : most;
	return (s->at.end - s->at.payload) / s->size <= NET_SEGMENTS_MAX;
}

static void sum_ipv4(uint8_t *ip)
{
	store_sum(ip + IPV4_CHECKSUM, 0);
	store_sum(ip + IPV4_CHECKSUM,
		  finish_sum(checksum_add(0, ip, (size_t)(ip[0] & 15) * 4), false));
}

static void write_ip(struct segmenter *s, size_t packet_len)
{
	uint8_t *ip = s->head + s->at.l3;

	if (s->at.ipv6) {
		put16(ip + IPV6_PAYLOAD, packet_len - IPV6_LEN);
		return;
	}
	put16(ip + IPV4_TOTAL, packet_len);
	put16(ip + IPV4_ID, get16(s->frame + s->at.l3 + IPV4_ID) + s->index);
	sum_ipv4(ip);
}

/* FIN and PSH go with the last segment, CWR with the first one. */
static void write_tcp(struct segmenter *s, bool last)
{
	uint8_t *tcp = s->head + s->at.l4;
	uint32_t sequence;

	memcpy(&sequence, s->frame + s->at.l4 + TCP_SEQUENCE, sizeof(sequence));
	sequence = htobe32(be32toh(sequence) + (uint32_t)s->done);
	memcpy(tcp + TCP_SEQUENCE, &sequence, sizeof(sequence));
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (s->index)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
}

static void write_l4(struct segmenter *s, const uint8_t *payload, size_t len, bool last)
{
	bool udp = s->at.protocol == IPPROTO_UDP;
	uint8_t *l4 = s->head + s->at.l4;
	size_t header = (size_t)(s->at.payload - s->at.l4);
	uint8_t *field = l4 + (udp ? UDP_CHECKSUM : TCP_CHECKSUM);
	uint64_t sum;

	if (udp)
		put16(l4 + UDP_LENGTH, header + len);
	else
		write_tcp(s, last);
	store_sum(field, 0);
	sum = pseudo_sum(s->head, &s->at, header + len);
	sum = checksum_add(sum, l4, header);
	store_sum(field, finish_sum(checksum_add(sum, payload, len), udp));
}

bool segment_next(struct segmenter *s, struct iovec out[2])
{
	const uint8_t *payload = s->frame + s->at.payload + s->done;
	size_t left = s->at.end - s->at.payload - s->done;
	size_t len = left < s->size ? left : s->size;

	/* A frame without payload is one segment too. */
	if (!left && s->index)
		return false;
	memcpy(s->head, s->frame, s->at.payload);
	write_ip(s, (size_t)(s->at.payload - s->at.l3) + len);
	write_l4(s, payload, len, len == left);
	out[0] = (struct iovec){s->head, s->at.payload};
	out[1] = (struct iovec){(void *)(uintptr_t)payload, len};
	s->done += len;
	s->index++;
	return true;
}

/* ---- fragments ---- */

bool fragment_begin(struct fragmenter *f, const uint8_t *frame, size_t len, unsigned mtu,
		    uint32_t id)
{
	size_t header, extra;
	struct net_layout at;

	if (!offload_parse(frame, len, &at) || at.end - at.l3 <= mtu)
		return false;
	header = at.ipv6 ? IPV6_LEN : (size_t)(frame[at.l3] & 15) * 4;
	extra = at.ipv6 ? IPV6_FRAGMENT_LEN : 0;
	if (header + extra + 8 > mtu ||
	    (at.ipv6 ? frame[at.l3 + IPV6_NEXT] == IPPROTO_FRAGMENT
		     : get16(frame + at.l3 + IPV4_FRAGMENT) != 0))
		return false;
	f->frame = frame;
	f->l3 = at.l3;
	f->start = at.l3 + header;
	f->end = at.end;
	f->size = (mtu - header - extra) & ~(size_t)7;
	f->done = 0;
	f->ipv6 = at.ipv6;
	f->id = htobe32(id);
	memcpy(f->head, frame, f->start);
	return true;
}

/* The IP header, and what says where the fragment belongs. Result: bytes of all
 * headers. */
static size_t write_fragment(struct fragmenter *f, size_t len, bool more)
{
	uint8_t *ip = f->head + f->l3, *own = f->head + f->start;

	if (!f->ipv6) {
		put16(ip + IPV4_TOTAL, f->start - f->l3 + len);
		put16(ip + IPV4_FRAGMENT, f->done / 8 | (more ? IPV4_MF : 0));
		sum_ipv4(ip);
		return f->start;
	}
	put16(ip + IPV6_PAYLOAD, IPV6_FRAGMENT_LEN + len);
	ip[IPV6_NEXT] = IPPROTO_FRAGMENT;
	own[0] = f->frame[f->l3 + IPV6_NEXT];
	own[1] = 0;
	put16(own + 2, f->done | more); /* a multiple of 8 */
	memcpy(own + 4, &f->id, sizeof(f->id));
	return f->start + IPV6_FRAGMENT_LEN;
}

bool fragment_next(struct fragmenter *f, struct iovec out[2])
{
	const uint8_t *from = f->frame + f->start + f->done;
	size_t left = f->end - f->start - f->done;
	size_t len = left < f->size ? left : f->size;

	if (!left)
		return false;
	out[0] = (struct iovec){f->head, write_fragment(f, len, len < left)};
	out[1] = (struct iovec){(void *)(uintptr_t)from, len};
	f->done += len;
	return true;
}

/* ---- frames of a back end that makes right checksums ---- */

static void describe_series(const struct net_layout *at, unsigned mtu,
			    struct net_meta *meta, uint8_t *head)
{
	size_t l4_len = at->end - at->l4;

	*meta = (struct net_meta){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type =
			at->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = at->payload,
		.gso_size = (uint16_t)(mtu - (unsigned)(at->payload - at->l3)),
		.csum_start = at->l4,
		.csum_offset = TCP_CHECKSUM,
	};
	store_sum(head + at->l4 + TCP_CHECKSUM,
		  checksum_fold(pseudo_sum(head, at, l4_len)));
}

void offload_describe(const uint8_t *frame, size_t len, unsigned mtu,
		      struct net_meta *meta, uint8_t head[NET_HEADERS_MAX],
		      size_t *head_len)
{
	struct net_layout at;

	*meta = (struct net_meta){0};
	*head_len = 0;
	if (!offload_parse(frame, len, &at) || !at.l4)
		return;
	meta->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	if (at.protocol != IPPROTO_TCP || len - at.l3 <= mtu ||
	    mtu <= (unsigned)(at.payload - at.l3))
		return;
	memcpy(head, frame, at.payload);
	*head_len = at.payload;
	describe_series(&at, mtu, meta, head);
}

/* ---- TCP's maximum segment size ---- */

/* The option's value, or NULL. */
static uint8_t *find_mss(uint8_t *option, const uint8_t *end)
{
	while (option < end && *option) {
		if (*option == 1) { /* padding */
			option++;
			continue;
		}
		if (end - option < 2 || option[1] < 2 || option[1] > end - option)
			return NULL;
		if (option[0] == TCP_OPTION_MSS)
			return option[1] == TCP_OPTION_MSS_LEN ? option + 2 : NULL;
		option += option[1];
	}
	return NULL;
}

/* Takes a new word's place in a checksum (RFC 1624, equation 3). The word may lie
 * at an odd place: then its bytes count the other way round. */
static void replace_word(uint8_t *field, uint8_t *word, uint16_t value, bool odd)
{
	uint16_t old = load_sum(word), new;

	put16(word, value);
	new = load_sum(word);
	if (odd) {
		old = __builtin_bswap16(old);
		new = __builtin_bswap16(new);
	}
	store_sum(field, (uint16_t)~checksum_fold((uint64_t)(uint16_t)~load_sum(field) +
						  (uint16_t)~old + new));
}

void offload_raise_mss(uint8_t *frame, size_t len, bool ipv6, uint16_t mss)
{
	struct net_layout at;
	uint8_t *tcp, *value;

	if (!offload_parse(frame, len, &at) || !at.l4 || at.protocol != IPPROTO_TCP ||
	    at.ipv6 != ipv6 || !(frame[at.l4 + TCP_FLAGS] & TCP_SYN))
		return;
	tcp = frame + at.l4;
	value = find_mss(tcp + TCP_LEN, frame + at.payload);
	if (value && get16(value) < mss)
		replace_word(tcp + TCP_CHECKSUM, value, mss, (value - tcp) & 1);
}

bool offload_opens_flow(const uint8_t *frame, size_t len)
{
	struct net_layout at;
	uint8_t flags;

	if (!offload_parse(frame, len, &at))
		return false;
	if (!at.l4 || at.protocol != IPPROTO_TCP)
		return true;
	flags = frame[at.l4 + TCP_FLAGS];
	return (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

uint32_t offload_flow_hash(const uint8_t *frame, size_t len)
{
	struct net_layout at;
	uint64_t sum;

	if (!offload_parse(frame, len, &at) || !at.l4)
		return 0;
	/* A sum does not know directions. */
	sum = at.ipv6 ? checksum_add(0, frame + at.l3 + IPV6_ADDRESSES, 32)
		      : checksum_add(0, frame + at.l3 + IPV4_ADDRESSES, 8);
	sum += (uint64_t)get16(frame + at.l4) + get16(frame + at.l4 + 2) + at.protocol;
	return (uint32_t)((sum * 0x9e3779b97f4a7c15u) >> 32) | 1;
}
