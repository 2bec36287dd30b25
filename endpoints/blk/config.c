/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Features and configuration space (VIRTIO 1.4, "Block Device"). */
#include "endpoints/blk/internal.h"

_Static_assert(sizeof(struct virtio_blk_config) == VIRTIO_CONFIG_MAX,
	       "60 bytes and padding");

static const struct blk *const_blk(const struct virtio_dev *dev)
{
	return container_of(dev, const struct blk, virtio);
}

uint64_t blk_features(const struct virtio_dev *dev)
{
	const struct blk *blk = const_blk(dev);
	uint64_t f = VIRTIO_RING_FEATURES | BIT(VIRTIO_BLK_F_SEG_MAX) |
		     BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY) |
		     BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE);

	if (blk->indirect)
		f |= BIT(VIOMMU_VIRTIO_F_RING_INDIRECT_DESC);
	if (blk->queues_nr > 1)
		f |= BIT(VIRTIO_BLK_F_MQ);
	if (blk->info->read_only)
		return f | BIT(VIRTIO_BLK_F_RO);
	if (blk->info->discard)
		f |= BIT(VIRTIO_BLK_F_DISCARD);
	return f | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
}

/*
 * "If VIRTIO_BLK_F_CONFIG_WCE is not negotiated: writeback if FLUSH is, else
 * writethrough. If CONFIG_WCE is and FLUSH is not, the device MUST initialize
 * writeback to 0": both come down to FLUSH.
 */
uint64_t blk_accept(struct virtio_dev *dev, uint64_t features)
{
	virtio_to_blk(dev)->writeback = features & BIT(VIRTIO_BLK_F_FLUSH);
	return features;
}

static uint8_t lg2(uint32_t ratio)
{
	uint8_t n = 0;

	while (ratio >>= 1)
		n++;
	return n;
}

static void fill_limits(const struct blk *blk, struct virtio_blk_config *c)
{
	const struct block_info *info = blk->info;

	if (info->read_only)
		return;
	if (info->discard) {
		c->max_discard_sectors = htole32(BLK_DISCARD_SECTORS);
		c->max_discard_seg = htole32(BLK_SEGMENTS_MAX);
		c->discard_sector_alignment = htole32(info->physical / BLOCK_SECTOR);
	}
	c->max_write_zeroes_sectors = htole32(BLK_ZEROES_SECTORS);
	c->max_write_zeroes_seg = htole32(BLK_SEGMENTS_MAX);
	c->write_zeroes_may_unmap = info->zero_unmap;
}

void blk_config(const struct virtio_dev *dev, void *config)
{
	const struct blk *blk = const_blk(dev);
	const struct block_info *info = blk->info;
	struct virtio_blk_config *c = config;
	/* Header and status take a descriptor each. */
	uint32_t seg_max = dev->queue_size - 2;

	*c = (struct virtio_blk_config){
		.capacity = htole64(info->capacity / BLOCK_SECTOR),
		.seg_max = htole32(seg_max < BLK_SEG_MAX ? seg_max : BLK_SEG_MAX),
		.blk_size = htole32(info->logical),
		.physical_block_exp = lg2(info->physical / info->logical),
		.min_io_size = htole16((uint16_t)(info->physical / info->logical)),
		.opt_io_size = htole32(info->optimal / info->logical),
		.writeback = blk->writeback,
		.num_queues = htole16((uint16_t)blk->queues_nr),
	};
	fill_limits(blk, c);
}

/* Only writeback may be written, and only after CONFIG_WCE; it is a byte, and
 * takes effect for requests that come after. */
void blk_config_write(struct virtio_dev *dev, uint32_t offset, const void *buf,
		      uint32_t len)
{
	uint32_t at = offsetof(struct virtio_blk_config, writeback);

	if (!(dev->features & BIT(VIRTIO_BLK_F_CONFIG_WCE)))
		return;
	if (offset <= at && len > at - offset)
		virtio_to_blk(dev)->writeback = ((const uint8_t *)buf)[at - offset] & 1;
}
