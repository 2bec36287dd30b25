/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Wire format of the network device (VIRTIO 1.4, "Network Device"), little-endian. */
#ifndef ENDPOINTS_NET_PROTO_H
#define ENDPOINTS_NET_PROTO_H

#include <stdint.h>

#define VIRTIO_ID_NET			 1

#define VIRTIO_NET_F_CSUM		 0
#define VIRTIO_NET_F_GUEST_CSUM		 1
#define VIRTIO_NET_F_CTRL_GUEST_OFFLOADS 2
#define VIRTIO_NET_F_MTU		 3
#define VIRTIO_NET_F_MAC		 5
#define VIRTIO_NET_F_GUEST_TSO4		 7
#define VIRTIO_NET_F_GUEST_TSO6		 8
#define VIRTIO_NET_F_GUEST_ECN		 9
#define VIRTIO_NET_F_HOST_TSO4		 11
#define VIRTIO_NET_F_HOST_TSO6		 12
#define VIRTIO_NET_F_HOST_ECN		 13
#define VIRTIO_NET_F_MRG_RXBUF		 15
#define VIRTIO_NET_F_STATUS		 16
#define VIRTIO_NET_F_CTRL_VQ		 17
#define VIRTIO_NET_F_CTRL_RX		 18
#define VIRTIO_NET_F_CTRL_VLAN		 19
#define VIRTIO_NET_F_CTRL_RX_EXTRA	 20
#define VIRTIO_NET_F_GUEST_ANNOUNCE	 21
#define VIRTIO_NET_F_MQ			 22
#define VIRTIO_NET_F_CTRL_MAC_ADDR	 23
#define VIRTIO_NET_F_GUEST_USO4		 54
#define VIRTIO_NET_F_GUEST_USO6		 55
#define VIRTIO_NET_F_HOST_USO		 56

/* Of the status field of the configuration space. */
#define VIRTIO_NET_S_LINK_UP	    1u
#define VIRTIO_NET_S_ANNOUNCE	    2u

#define VIRTIO_NET_HDR_F_NEEDS_CSUM 1u
#define VIRTIO_NET_HDR_F_DATA_VALID 2u

#define VIRTIO_NET_HDR_GSO_NONE	    0u
#define VIRTIO_NET_HDR_GSO_TCPV4    1u
#define VIRTIO_NET_HDR_GSO_TCPV6    4u
#define VIRTIO_NET_HDR_GSO_UDP_L4   5u
#define VIRTIO_NET_HDR_GSO_ECN	    0x80u

/* Before every frame, both ways. */
struct virtio_net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

struct virtio_net_config {
	uint8_t mac[6];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
	uint16_t mtu;
};

/* Control queue: class, command, data; then one byte of ack for the device. */
#define VIRTIO_NET_OK			   0
#define VIRTIO_NET_ERR			   1

#define VIRTIO_NET_CTRL_RX		   0
#define VIRTIO_NET_CTRL_RX_PROMISC	   0
#define VIRTIO_NET_CTRL_RX_ALLMULTI	   1
#define VIRTIO_NET_CTRL_RX_ALLUNI	   2
#define VIRTIO_NET_CTRL_RX_NOMULTI	   3
#define VIRTIO_NET_CTRL_RX_NOUNI	   4
#define VIRTIO_NET_CTRL_RX_NOBCAST	   5
#define VIRTIO_NET_CTRL_MAC		   1
#define VIRTIO_NET_CTRL_MAC_TABLE_SET	   0
#define VIRTIO_NET_CTRL_MAC_ADDR_SET	   1
#define VIRTIO_NET_CTRL_VLAN		   2
#define VIRTIO_NET_CTRL_VLAN_ADD	   0
#define VIRTIO_NET_CTRL_VLAN_DEL	   1
#define VIRTIO_NET_CTRL_ANNOUNCE	   3
#define VIRTIO_NET_CTRL_ANNOUNCE_ACK	   0
#define VIRTIO_NET_CTRL_MQ		   4
#define VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET	   0
#define VIRTIO_NET_CTRL_GUEST_OFFLOADS	   5
#define VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET 0

#endif /* ENDPOINTS_NET_PROTO_H */
