/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the driver strings together must make sense: readable buffers first, a
 * bounded number of them, at most 2^32 bytes in all, no buffer that wraps around
 * the end of the address space.
 */
#include "virtq/ring.h"

/* VIRTIO 1.4, "The Virtqueue Descriptor Table": no chain above 2^32 bytes. */
#define CHAIN_LEN_MAX (1ull << 32)

static int check(const struct viommu_chain *chain, uint64_t addr, uint32_t len,
		 bool writable)
{
	if (!writable && chain->buf_nr > chain->readable_nr)
		return err(EBADMSG, "readable buffer after a writable one");
	if (chain->buf_nr == VIOMMU_VIRTQ_CHAIN_MAX)
		return err(EBADMSG, "too many buffers in a chain");
	if (addr + (len - 1) < addr)
		return err(EBADMSG, "buffer wraps around the address space");
	if (chain->readable_len + chain->writable_len + len > CHAIN_LEN_MAX)
		return err(EBADMSG, "chain is longer than 2^32 bytes");
	return 0;
}

void walk_add(struct chain_walk *walk, uint64_t addr, uint32_t len, bool writable)
{
	struct viommu_chain *chain = walk->chain;
	int r;

	if (!len)
		return; /* legal, and nothing to move */
	r = check(chain, addr, len, writable);
	if (unlikely(r)) {
		walk->error = r;
		return;
	}
	if (unlikely(chain->buf_nr >= walk->max)) {
		walk->error = err(E2BIG, "more buffers than the device takes");
		return;
	}
	walk->bufs[chain->buf_nr++] = (struct viommu_virtq_buf){addr, len, writable};
	if (writable) {
		chain->writable_len += len;
	} else {
		chain->readable_nr++;
		chain->readable_len += len;
	}
}

int walk_table(struct chain_walk *walk, const struct ring_desc *desc,
	       struct viommu_ring_window *table)
{
	if (!walk->vq->cfg.indirect)
		return err(EBADMSG, "indirect descriptors were not negotiated");
	if (!desc->len || desc->len % RING_DESC_LEN)
		return err(EBADMSG, "indirect table of a broken length");
	if (desc->addr + (desc->len - 1) < desc->addr)
		return err(EBADMSG, "indirect table wraps around the address space");
	*table = window_init(desc->addr, desc->len, VIOMMU_READ);
	return 0;
}
