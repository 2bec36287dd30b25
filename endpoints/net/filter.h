/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Which frames a guest wants to see (VIRTIO 1.4, "Setting Up Receive Filtering"). */
#ifndef ENDPOINTS_NET_FILTER_H
#define ENDPOINTS_NET_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_MACS_MAX  64u /* in each table; a longer one lets all of its kind pass */
#define NET_VLANS_MAX 4096u
#define NET_PEEK_LEN  18u /* bytes of a frame that a filter looks at */

struct net_macs {
	unsigned nr;   /* <= NET_MACS_MAX */
	bool overflow; /* the driver has more: all pass */
	uint8_t mac[NET_MACS_MAX][6];
};

struct net_filter {
	uint8_t mac[6]; /* the device's own */
	/* The modes of VIRTIO_NET_CTRL_RX, by command. */
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	struct net_macs uni, multi;
	bool all_vlans; /* the driver does not filter them */
	uint64_t vlan[NET_VLANS_MAX / 64];
};

/* As after a reset: everything passes. */
void filter_reset(struct net_filter *f, const uint8_t mac[6]);
/* command: VIRTIO_NET_CTRL_RX_*. false: no such mode. */
bool filter_set_mode(struct net_filter *f, unsigned command, bool on);
/* id < NET_VLANS_MAX */
void filter_set_vlan(struct net_filter *f, unsigned id, bool on);
/* peek: the frame's first NET_PEEK_LEN bytes, zeroes behind its end.
 * Bytes in front of the packet: Ethernet's header and up to two VLAN tags. */
size_t filter_header_len(const uint8_t *peek);
bool filter_passes(const struct net_filter *f, const uint8_t *peek);

#endif /* ENDPOINTS_NET_FILTER_H */
