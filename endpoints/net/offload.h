/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Checksums and segmentation in software, for where one side of the network
 * endpoint leaves to the other what it cannot do. Pure functions over frames; a
 * frame is whatever a guest made of it.
 */
#ifndef ENDPOINTS_NET_OFFLOAD_H
#define ENDPOINTS_NET_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Limits, each with a test at it and one past it. */
#define NET_ETH_LEN	14u    /* shorter frames are malformed */
#define NET_FRAME_MAX	65608u /* two VLAN tags, IPv6 and 64 KiB - 1 behind it */
#define NET_HEADERS_MAX 256u   /* up to the payload: no offload if longer */
#define NET_EXTENSIONS	8u     /* IPv6 extension headers looked at */
/* Segments of one frame: malformed. Linux makes none shorter than 8 bytes of TCP (a
 * maximum segment size of 48, options of 40), and frames of 64 KiB of those. */
#define NET_SEGMENTS_MAX (NET_FRAME_MAX / 8)

/* What goes with a frame beyond its bytes: the virtio header in host order. */
struct net_meta {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

/* Where things are in a frame, in bytes from its start. */
struct net_layout {
	uint16_t l3, l4, payload; /* l4 0: no TCP or UDP header, payload unset */
	uint8_t protocol;	  /* IPPROTO_* behind the IP headers */
	bool ipv6;
	size_t end; /* of the IP packet; Ethernet padding lies behind it */
};

/* Ones' complement sum of bytes that begin at an even place of what is summed, and
 * its folding; in memory order, so nothing is ever swapped. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t len);
uint16_t checksum_fold(uint64_t sum);

/* false: no IP packet that is whole and in its proper form. */
bool offload_parse(const uint8_t *frame, size_t len, struct net_layout *out);

/*
 * Whether a frame of `len` bytes with this header makes sense to a device where
 * `features` are in force (VIRTIO_NET_F_CSUM, HOST_*).
 */
bool offload_check(const struct net_meta *meta, size_t len, uint64_t features);

/* NEEDS_CSUM, done: meta as offload_check() accepted it. */
void offload_checksum(uint8_t *frame, size_t len, const struct net_meta *meta);

/* Cuts a frame into smaller ones. The frame must not change meanwhile. */
struct segmenter {
	const uint8_t *frame;
	struct net_layout at;
	size_t size;	/* payload bytes of a segment */
	size_t done;	/* payload bytes given out */
	unsigned index; /* of the next segment */
	uint8_t head[NET_HEADERS_MAX];
};

/* size 0: as few segments as IP allows. false: what gso_type says is not what the
 * frame is, or too many segments. */
bool segment_begin(struct segmenter *s, const uint8_t *frame, size_t len,
		   uint8_t gso_type, size_t size);
/* The next one: headers (with all checksums) and payload, good until the next
 * call. false: that was all. */
bool segment_next(struct segmenter *s, struct iovec out[2]);

/* Cuts an IP packet into fragments. The frame must not change meanwhile. */
struct fragmenter {
	const uint8_t *frame;
	size_t l3, start, end; /* the packet, what is cut, and its end */
	size_t size;	       /* bytes of a fragment behind its headers */
	size_t done;	       /* bytes given out */
	bool ipv6;
	uint32_t id; /* of an IPv6 packet */
	uint8_t head[NET_HEADERS_MAX];
};

/* id: another one for each IPv6 packet. false: it fits, may not be cut, is a
 * fragment itself, or no IP packet. */
bool fragment_begin(struct fragmenter *f, const uint8_t *frame, size_t len, unsigned mtu,
		    uint32_t id);
/* As segment_next(). */
bool fragment_next(struct fragmenter *f, struct iovec out[2]);

/*
 * What to tell a guest about a frame whose checksums are known to be right: that
 * they are, or, for a TCP packet longer than `mtu`, how to take it as a series of
 * segments. `head` gets a copy of the first *head_len bytes, which the guest is
 * to see in place of them (0: none).
 */
void offload_describe(const uint8_t *frame, size_t len, unsigned mtu,
		      struct net_meta *meta, uint8_t head[NET_HEADERS_MAX],
		      size_t *head_len);

/* A TCP SYN that names its maximum segment size gets `mss` instead, if larger. */
void offload_raise_mss(uint8_t *frame, size_t len, bool ipv6, uint16_t mss);

/* Whether user-mode networking may open a socket for this frame: UDP, ICMP, or the
 * first of a TCP connection. */
bool offload_opens_flow(const uint8_t *frame, size_t len);

/* The same for both directions of a TCP or UDP flow; 0: none. */
uint32_t offload_flow_hash(const uint8_t *frame, size_t len);

#endif /* ENDPOINTS_NET_OFFLOAD_H */
