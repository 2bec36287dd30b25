/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the driver strings together must make sense: readable buffers first, a
 * bounded number of them, at most 2^32 bytes in all, no buffer that wraps around
 * the end of the address space.
 */
#include "virtq/ring.h"

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

void walk_refuse(struct chain_walk *walk, uint64_t addr, uint32_t len, bool writable)
{
	if (!len)
		return; /* legal, and nothing to move */
	walk->error = check(walk->chain, addr, len, writable);
	if (!walk->error)
		walk->error = err(E2BIG, "more buffers than the device takes");
}

int walk_table(struct chain_walk *walk, const struct ring_desc *desc,
	       struct viommu_ring_window *table, const uint8_t **whole)
{
	if (!walk->vq->cfg.indirect)
		return err(EBADMSG, "indirect descriptors were not negotiated");
	if (!desc->len || desc->len % RING_DESC_LEN)
		return err(EBADMSG, "indirect table of a broken length");
	if (desc->addr + (desc->len - 1) < desc->addr)
		return err(EBADMSG, "indirect table wraps around the address space");
	*table = window_init(desc->addr, desc->len, VIOMMU_READ);
	*whole = window_whole(walk->vq, table);
	if (!table->len)
		return err(EBADMSG, "indirect table out of reach");
	return 0;
}
