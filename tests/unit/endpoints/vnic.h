/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A virtio-net driver for tests, and frames to send, with a naive checksum that
 * shares nothing with the device's. */
#ifndef VIOMMU_TESTS_VNIC_H
#define VIOMMU_TESTS_VNIC_H

#include "vdrv.h"

#include "endpoints/net/proto.h"

#define VNIC_FRAME  66000u
#define VNIC_HEADER 12u
#define VNIC_MAC    "52:54:00:01:02:03"

/* Offsets in guest memory; [0, VNIC_HOLE) is mapped, what is behind is not. */
#define VNIC_CONTROL VDRV_OWN2
#define VNIC_TX	     VDRV_DATA
#define VNIC_TX_LEN  0x700000ull
#define VNIC_RX	     0x800000ull
#define VNIC_HOLE    0xf00000ull

struct vnic_buffer { /* what a used entry is about */
	uint64_t offset;
	uint32_t len;
	bool used;
};

struct vnic {
	struct vdrv drv;
	uint64_t next_tx, next_rx; /* where the next buffer goes */
	struct vnic_buffer buffers[4096];
	unsigned next_buffer;
};

struct vnic *vnic_create(const char *options, struct vdrv_shape shape);
/* The same in two steps. */
struct vnic *vnic_plug(const char *options, struct vdrv_shape shape);
void vnic_init(struct vnic *v);
void vnic_destroy(struct vnic *v);

/* Any chain; nothing is kicked. */
struct vnic_buffer *vnic_add(struct vnic *v, unsigned queue,
			     const struct vdrv_part *parts, unsigned readable_nr,
			     unsigned writable_nr);

/* nr receive buffers of len bytes, cut into `cuts` descriptors each. */
void vnic_post(struct vnic *v, unsigned pair, unsigned nr, uint32_t len, unsigned cuts);

/* A frame with its header, in guest memory cut into pieces of `piece` bytes (0:
 * header and frame); kicks and runs the device. */
void vnic_send(struct vnic *v, unsigned pair, const struct virtio_net_hdr *header,
	       const void *frame, size_t len, size_t piece);
/* Takes what the device has sent. */
void vnic_reap(struct vnic *v, unsigned pair);
/* Runs the device for up to ms (0: one round); the next frame's length, 0: none. */
size_t vnic_receive(struct vnic *v, unsigned pair, struct virtio_net_hdr *header,
		    uint8_t *frame, unsigned ms);
/* A small frame to an address, sent on the first pair; whether it comes back. */
bool vnic_comes_back(struct vnic *v, const uint8_t *mac, unsigned vlan);
/* The ack; 0xff: none. */
uint8_t vnic_control(struct vnic *v, uint8_t class, uint8_t command, const void *data,
		     size_t len);

/* ---- frames ---- */

struct vnic_flow {
	uint8_t to[6], from[6];
	bool ipv6, udp;
	uint32_t src, dst; /* the last 4 bytes of an IPv6 address */
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags; /* of TCP */
	unsigned vlans;
	const uint8_t *options; /* of TCP */
	unsigned options_len;
};

/* Ethernet to payload; checksums right, or (partial) the pseudo header's sum.
 * Result: bytes in all; *l4: where the TCP or UDP header is. */
size_t vnic_build(uint8_t *frame, const struct vnic_flow *flow, const void *payload,
		  size_t len, bool partial, unsigned *l4);
/* The header for a partial one; gso_size 0: one frame. */
struct virtio_net_hdr vnic_header(const struct vnic_flow *flow, unsigned l4,
				  unsigned gso_size);
/* Whether IP's and TCP's or UDP's checksums are right, computed one byte at a time. */
bool vnic_sums_right(const uint8_t *frame, size_t len);
/* Where the payload of such a frame is. */
size_t vnic_payload(const uint8_t *frame, size_t len, size_t *payload_len);
unsigned vnic_l4(const uint8_t *frame);

#endif
