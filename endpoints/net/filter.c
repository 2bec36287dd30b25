/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/net/filter.h"

#include "endpoints/net/proto.h"
#include "endpoints/util.h"

#define MAC_LEN	      6u
#define MAC_MULTICAST 1u /* in the first byte */
#define VLAN_HIGH     0x81u
#define SVLAN_HIGH    0x88u
#define SVLAN_LOW     0xa8u
#define VLAN_ID_MASK  0xfffu

void filter_reset(struct net_filter *f, const uint8_t mac[6])
{
	memset(f, 0, sizeof(*f));
	memcpy(f->mac, mac, sizeof(f->mac));
	f->promisc = true;
	f->all_vlans = true;
}

bool filter_set_mode(struct net_filter *f, unsigned command, bool on)
{
	bool *const modes[] = {&f->promisc, &f->allmulti, &f->alluni,
			       &f->nomulti, &f->nouni,	  &f->nobcast};

	if (command >= ARRAY_LEN(modes))
		return false;
	*modes[command] = on;
	return true;
}

void filter_set_vlan(struct net_filter *f, unsigned id, bool on)
{
	if (on)
		f->vlan[id / 64] |= 1ull << id % 64;
	else
		f->vlan[id / 64] &= ~(1ull << id % 64);
}

static bool has(const struct net_macs *t, const uint8_t *mac)
{
	for (unsigned i = 0; i < t->nr; i++)
		if (!memcmp(t->mac[i], mac, MAC_LEN))
			return true;
	return t->overflow;
}

static bool is_tag(const uint8_t *type)
{
	return (type[0] == VLAN_HIGH && !type[1]) ||
	       (type[0] == SVLAN_HIGH && type[1] == SVLAN_LOW);
}

size_t filter_header_len(const uint8_t *peek)
{
	size_t len = 14;

	while (len <= NET_PEEK_LEN && is_tag(peek + len - 2))
		len += 4;
	return len;
}

static bool vlan_passes(const struct net_filter *f, const uint8_t *peek)
{
	unsigned id = (unsigned)(peek[14] << 8 | peek[15]) & VLAN_ID_MASK;

	if (f->all_vlans || peek[12] != VLAN_HIGH || peek[13])
		return true;
	return f->vlan[id / 64] >> id % 64 & 1;
}

static bool mac_passes(const struct net_filter *f, const uint8_t *mac)
{
	static const uint8_t broadcast[MAC_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (!memcmp(mac, broadcast, MAC_LEN))
		return !f->nobcast;
	if (mac[0] & MAC_MULTICAST)
		return !f->nomulti && (f->allmulti || has(&f->multi, mac));
	if (f->nouni)
		return false;
	return f->alluni || !memcmp(mac, f->mac, MAC_LEN) || has(&f->uni, mac);
}

bool filter_passes(const struct net_filter *f, const uint8_t *peek)
{
	return vlan_passes(f, peek) && (f->promisc || mac_passes(f, peek));
}
