/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "vblk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE	   4096u
#define RING_PAGES 3
#define QUEUE_MAX  64
#define WAIT_MS	   5000
/* Where things are from VBLK_RING_IOVA on. */
#define AVAIL_AT	 0x800
#define USED_AT		 PAGE
#define HEADER_AT	 (2 * PAGE)
#define STATUS_AT	 (2 * PAGE + 64)

#define COMMON(b, field) ((b)->common + offsetof(struct virtio_pci_common_cfg, field))

static void set8(volatile uint8_t *at, uint8_t value)
{
	*at = value;
}

static void set16(volatile uint8_t *at, uint16_t value)
{
	*(volatile uint16_t *)at = value;
}

static void set32(volatile uint8_t *at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static uint16_t get16(volatile uint8_t *at)
{
	return *(volatile uint16_t *)at;
}

static uint32_t get32(volatile uint8_t *at)
{
	return *(volatile uint32_t *)at;
}

static void set64(volatile uint8_t *at, uint64_t value)
{
	set32(at, (uint32_t)value);
	set32(at + 4, (uint32_t)(value >> 32));
}

/* Maps what one vendor capability points to. */
static int take_capability(struct vblk *b, const struct virtio_pci_cap *cap)
{
	volatile uint8_t *bar = vfio_bar(b->v, cap->bar, cap->offset + cap->length);

	if (!bar)
		return -EIO;
	bar += cap->offset;
	if (cap->cfg_type == VIRTIO_PCI_CAP_COMMON_CFG)
		b->common = bar;
	else if (cap->cfg_type == VIRTIO_PCI_CAP_DEVICE_CFG)
		b->config = bar;
	else
		b->notify = bar; /* of queue 0: start_queue() checks */
	return 0;
}

static int find_structures(struct vblk *b)
{
	struct virtio_pci_cap cap;
	uint8_t at = 0;
	int hops;

	if (vfio_config_read(b->v, 0x34, &at, 1))
		return -EIO;
	for (hops = 0; at >= 0x40 && hops < 48; hops++, at = cap.cap_next) {
		if (vfio_config_read(b->v, at, &cap, sizeof(cap)))
			return -EIO;
		if (cap.cap_vndr != 9)
			continue;
		switch (cap.cfg_type) {
		case VIRTIO_PCI_CAP_COMMON_CFG:
		case VIRTIO_PCI_CAP_NOTIFY_CFG:
		case VIRTIO_PCI_CAP_DEVICE_CFG:
			if (take_capability(b, &cap))
				return -EIO;
		}
	}
	return b->common && b->notify && b->config ? 0 : -ENODEV;
}

static int negotiate(struct vblk *b)
{
	const uint64_t wanted = 1ull << VIRTIO_F_VERSION_1 |
				1ull << VIRTIO_F_ACCESS_PLATFORM |
				1ull << VIRTIO_BLK_F_FLUSH;
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint64_t offered;

	set8(COMMON(b, device_status), 0);
	while (*COMMON(b, device_status))
		usleep(100);
	set8(COMMON(b, device_status), status);
	set32(COMMON(b, device_feature_select), 0);
	offered = get32(COMMON(b, device_feature));
	set32(COMMON(b, device_feature_select), 1);
	offered |= (uint64_t)get32(COMMON(b, device_feature)) << 32;
	b->features = offered & wanted;
	set32(COMMON(b, guest_feature_select), 0);
	set32(COMMON(b, guest_feature), (uint32_t)b->features);
	set32(COMMON(b, guest_feature_select), 1);
	set32(COMMON(b, guest_feature), (uint32_t)(b->features >> 32));
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	set8(COMMON(b, device_status), status);
	return *COMMON(b, device_status) & VIRTIO_CONFIG_S_FEATURES_OK ? 0 : -EPROTO;
}

static int start_queue(struct vblk *b)
{
	uint16_t size;

	set16(COMMON(b, queue_select), 0);
	size = get16(COMMON(b, queue_size));
	if (!size || get16(COMMON(b, queue_notify_off)))
		return -ENODEV;
	b->queue_size = size < QUEUE_MAX ? size : QUEUE_MAX;
	set16(COMMON(b, queue_size), b->queue_size);
	set64(COMMON(b, queue_desc_lo), VBLK_RING_IOVA);
	set64(COMMON(b, queue_avail_lo), VBLK_RING_IOVA + AVAIL_AT);
	set64(COMMON(b, queue_used_lo), VBLK_RING_IOVA + USED_AT);
	set16(COMMON(b, queue_enable), 1);
	set8(COMMON(b, device_status),
	     VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
		     VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	return 0;
}

int vblk_open(struct vblk *b, struct vfio *v)
{
	int ret;

	*b = (struct vblk){.v = v};
	if (posix_memalign((void **)&b->ring, PAGE, RING_PAGES * PAGE))
		return -ENOMEM;
	memset(b->ring, 0, RING_PAGES * PAGE);
	ret = vfio_enable(v);
	if (!ret)
		ret = find_structures(b);
	if (!ret)
		ret = vfio_map(v, b->ring, VBLK_RING_IOVA, RING_PAGES * PAGE, VFIO_RW);
	return ret ? ret : vblk_restart(b);
}

int vblk_restart(struct vblk *b)
{
	int ret = negotiate(b);

	memset(b->ring, 0, RING_PAGES * PAGE);
	b->avail = 0;
	return ret ? ret : start_queue(b);
}

uint64_t vblk_sectors(struct vblk *b)
{
	return get32(b->config) | (uint64_t)get32(b->config + 4) << 32;
}

static void put_desc(struct vblk *b, uint16_t at, uint64_t iova, uint32_t len,
		     uint16_t flags)
{
	struct vring_desc *desc = (struct vring_desc *)b->ring + at;

	desc->addr = iova;
	desc->len = len;
	desc->flags = flags;
	desc->next = (uint16_t)(at + 1);
}

static void submit(struct vblk *b, uint16_t head, uint16_t step)
{
	struct vring_avail *avail = (struct vring_avail *)(b->ring + AVAIL_AT);

	avail->ring[b->avail % b->queue_size] = head;
	b->avail = (uint16_t)(b->avail + step);
	/* The device must see the entry before the index that publishes it. */
	__atomic_store_n(&avail->idx, b->avail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	set16(b->notify, 0);
}

static int wait_used(struct vblk *b)
{
	struct vring_used *used = (struct vring_used *)(b->ring + USED_AT);
	unsigned int spent;

	for (spent = 0; spent < WAIT_MS * 10; spent++) {
		/* Pairs with the device's release of the index after the entry. */
		if (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == b->avail)
			return b->ring[STATUS_AT];
		if (*COMMON(b, device_status) & VIRTIO_CONFIG_S_NEEDS_RESET)
			return -EPIPE;
		usleep(100);
	}
	return -ETIMEDOUT;
}

int vblk_request(struct vblk *b, uint32_t type, uint64_t sector, uint64_t iova,
		 uint32_t len)
{
	struct virtio_blk_outhdr *header = (void *)(b->ring + HEADER_AT);
	uint16_t data = VRING_DESC_F_NEXT, at = 1;

	*header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	b->ring[STATUS_AT] = 0xff;
	put_desc(b, 0, VBLK_RING_IOVA + HEADER_AT, sizeof(*header), VRING_DESC_F_NEXT);
	if (type == VBLK_READ)
		data |= VRING_DESC_F_WRITE;
	if (len)
		put_desc(b, at++, iova, len, data);
	put_desc(b, at, VBLK_RING_IOVA + STATUS_AT, 1, VRING_DESC_F_WRITE);
	submit(b, 0, 1);
	return wait_used(b);
}

void vblk_put_desc(struct vblk *b, uint16_t at, struct vblk_desc desc)
{
	put_desc(b, at, desc.iova, desc.len, desc.flags);
	((struct vring_desc *)b->ring)[at].next = desc.next;
}

int vblk_offer(struct vblk *b, uint16_t head, uint16_t step)
{
	b->ring[STATUS_AT] = 0xff;
	submit(b, head, step);
	return wait_used(b);
}

void vblk_stop(struct vblk *b)
{
	set8(COMMON(b, device_status), 0);
	vfio_unmap(b->v, VBLK_RING_IOVA, RING_PAGES * PAGE);
	free(b->ring);
}
