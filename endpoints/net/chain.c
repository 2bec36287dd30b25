/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The bytes of a chain's buffers, all through the DMA interface. */
#include "endpoints/net/internal.h"

/* Skips `offset` bytes: *skip of buffer i are behind it. Result: i. */
static unsigned seek(const struct viommu_virtq_buf *bufs, unsigned nr, size_t offset,
		     size_t *skip)
{
	unsigned i = 0;

	while (i < nr && offset >= bufs[i].len)
		offset -= bufs[i++].len;
	*skip = offset;
	return i;
}

int chain_read(struct net *net, const struct viommu_virtq_buf *bufs, unsigned nr,
	       size_t offset, void *buf, size_t len)
{
	size_t skip, n;
	unsigned i = seek(bufs, nr, offset, &skip);
	uint8_t *to = buf;

	for (; len && i < nr; i++, skip = 0) {
		n = bufs[i].len - skip < len ? bufs[i].len - skip : len;
		if (viommu_dma_read(net->virtio.dma, bufs[i].addr + skip, to, n))
			return -EFAULT;
		to += n;
		len -= n;
	}
	return len ? -EINVAL : 0;
}

int chain_map(struct net *net, const struct viommu_virtq_buf *bufs, unsigned nr,
	      size_t offset, struct iovec *iov, unsigned max)
{
	size_t skip;
	unsigned i = seek(bufs, nr, offset, &skip), used = 0;
	int r;

	for (; i < nr; i++, skip = 0) {
		r = viommu_dma_sg(net->virtio.dma, bufs[i].addr + skip,
				  bufs[i].len - skip, VIOMMU_READ, iov + used,
				  max - used);
		if (r < 0)
			return r;
		used += (unsigned)r;
	}
	return (int)used;
}

#define BATCH 16u /* buffers translated at once */

/* On failure what was held stays in sg. */
int chain_hold(struct net *net, const struct viommu_virtq_buf *bufs, unsigned nr,
	       size_t offset, struct viommu_sg *sg)
{
	struct viommu_dma_seg seg[BATCH];
	size_t skip;
	unsigned i = seek(bufs, nr, offset, &skip), failed, n;
	int r = 0;

	while (i < nr && !r) {
		for (n = 0; n < BATCH && i < nr; n++, i++, skip = 0)
			seg[n] = (struct viommu_dma_seg){bufs[i].addr + skip,
							 bufs[i].len - skip, VIOMMU_READ};
		r = viommu_dma_get_batch(net->virtio.dma, seg, n, sg, &failed);
	}
	return r;
}

/* Writes len bytes at an address; src is moved on. */
static int write_some(struct net *net, uint64_t addr, size_t len, struct iovec *src)
{
	struct viommu_span piece;

	while (len) {
		if (viommu_dma_translate(net->virtio.dma, addr, len, VIOMMU_WRITE,
					 &piece))
			return -EFAULT;
		/* On the loopback a driver may have one buffer for both. */
		memmove(piece.hva, src->iov_base, piece.len);
		src->iov_base = (uint8_t *)src->iov_base + piece.len;
		src->iov_len -= piece.len;
		addr += piece.len;
		len -= piece.len;
	}
	return 0;
}

int chain_write(struct net *net, const struct viommu_virtq_buf *bufs, unsigned nr,
		const struct iovec *src, unsigned src_nr)
{
	struct iovec from = {NULL, 0};
	uint64_t done = 0; /* of buffer i */
	unsigned i = 0;
	size_t n;

	for (;;) {
		while (!from.iov_len && src_nr) {
			from = *src++;
			src_nr--;
		}
		if (!from.iov_len || i == nr)
			return 0;
		n = bufs[i].len - done < from.iov_len ? bufs[i].len - done : from.iov_len;
		if (write_some(net, bufs[i].addr + done, n, &from))
			return -EFAULT;
		done += n;
		if (done == bufs[i].len) {
			i++;
			done = 0;
		}
	}
}
