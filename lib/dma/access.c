/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Translation and copies inside sections. */
#include <string.h>

#include <viommu/virtq.h>

#include "base/err.h"
#include "dma/dma_context.h"

#define COPY_MAX (64u << 10) /* bytes copied in one section */

/* The first piece of [iova, iova + len). */
static inline bool reach_piece(struct viommu_dma *dma, uint64_t iova, uint64_t len,
			       unsigned perm, struct viommu_span *out)
{
	const struct viommu_dma_entry *e = tlb_reach(dma, iova, perm);
	uint64_t offset, left;

	if (unlikely(!e))
		return false;
	offset = iova - e->iova;
	left = e->size - offset;
	out->hva = e->hva + offset;
	out->len = len < left ? len : left;
	dma_wrote(dma, e, iova, out->len, perm);
	return true;
}

int viommu_dma_translate(struct viommu_dma *dma, uint64_t iova, uint64_t len,
			 unsigned perm, struct viommu_span *out)
{
	return likely(reach_piece(dma, iova, len, perm, out))
		       ? 0
		       : err(EFAULT, "translation blocked");
}

/* Appends to iov[0 .. *nr), joining what is adjacent. */
static bool append(struct iovec *iov, unsigned *nr, unsigned max,
		   const struct viommu_span *piece)
{
	struct iovec *prev = *nr ? &iov[*nr - 1] : NULL;

	if (prev && (char *)prev->iov_base + prev->iov_len == piece->hva) {
		prev->iov_len += piece->len;
		return true;
	}
	if (*nr == max)
		return false;
	iov[(*nr)++] = (struct iovec){piece->hva, piece->len};
	return true;
}

/* Appends to nr of at most max iovecs the pieces of one segment. */
static int append_range(struct viommu_dma *dma, struct viommu_dma_seg seg,
			struct iovec *iov, unsigned *nr, unsigned max)
{
	uint64_t iova = seg.iova, len = seg.len;
	unsigned perm = seg.perm;
	struct viommu_span piece;

	if (wraps(iova, len)) {
		dma_blocked(dma, iova, perm);
		return err(EFAULT, "access wraps around");
	}
	for (; len; iova += piece.len, len -= piece.len) {
		if (!reach_piece(dma, iova, len, perm, &piece))
			return err(EFAULT, "access blocked");
		if (!append(iov, nr, max, &piece))
			return err(E2BIG, "more pieces than iovecs");
	}
	return 0;
}

int viommu_dma_sg(struct viommu_dma *dma, uint64_t iova, uint64_t len, unsigned perm,
		  struct iovec *iov, unsigned max)
{
	unsigned nr = 0;
	int rc = append_range(dma, (struct viommu_dma_seg){iova, len, perm}, iov, &nr,
			      max);

	return rc ? rc : (int)nr;
}

int viommu_dma_sg_batch(struct viommu_dma *dma, const struct viommu_dma_seg *seg,
			unsigned nr, struct iovec *iov, unsigned max, unsigned *failed)
{
	unsigned done = 0, run = 0; /* iovecs; of those of the present permission */

	for (unsigned i = 0; i < nr; i++) {
		const struct viommu_dma_seg *s = &seg[i];
		int rc;

		if (i && s->perm != s[-1].perm) {
			done += run;
			run = 0;
		}
		rc = append_range(dma, *s, iov + done, &run, max - done);
		if (rc) {
			*failed = i;
			return rc;
		}
	}
	return (int)(done + run);
}

/* Inside a section, at most COPY_MAX bytes. from NULL: read into `to`. */
static int copy_chunk(struct viommu_dma *dma, uint64_t iova, void *to, const void *from,
		      size_t len)
{
	unsigned perm = from ? VIOMMU_WRITE : VIOMMU_READ;
	struct viommu_span piece;

	for (size_t done = 0; done < len; done += piece.len) {
		if (!reach_piece(dma, iova + done, len - done, perm, &piece))
			return err(EFAULT, "copy blocked");
		if (from)
			memcpy(piece.hva, (const char *)from + done, piece.len);
		else
			memcpy((char *)to + done, piece.hva, piece.len);
	}
	return 0;
}

static int copy(struct viommu_dma *dma, uint64_t iova, void *to, const void *from,
		size_t len)
{
	int rc = 0;

	if (wraps(iova, len)) {
		bool entered = dma_enter(dma);

		dma_blocked(dma, iova, from ? VIOMMU_WRITE : VIOMMU_READ);
		dma_exit(dma, entered);
		return err(EFAULT, "copy wraps around");
	}
	for (size_t done = 0; done < len && !rc; done += COPY_MAX) {
		size_t chunk = len - done < COPY_MAX ? len - done : COPY_MAX;
		bool entered = dma_enter(dma);

		rc = copy_chunk(dma, iova + done, to ? (char *)to + done : NULL,
				from ? (const char *)from + done : NULL, chunk);
		dma_exit(dma, entered);
	}
	return rc;
}

int viommu_dma_read(struct viommu_dma *dma, uint64_t iova, void *buf, size_t len)
{
	return copy(dma, iova, buf, NULL, len);
}

int viommu_dma_write(struct viommu_dma *dma, uint64_t iova, const void *buf, size_t len)
{
	return copy(dma, iova, NULL, buf, len);
}

static int map_ring(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
		    struct viommu_span *out)
{
	return viommu_dma_translate(opaque, addr, len, perm, out);
}

struct viommu_ring_mem viommu_ring_mem_dma(struct viommu_dma *dma)
{
	return (struct viommu_ring_mem){map_ring, dma};
}
