/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Where a command's data is in guest memory: physical region pages (NVMe 1.4,
 * section 4.3) and scatter gather lists (4.4).
 *
 * Both are walked the same way: each piece goes to a sink, which holds its pages
 * or copies bytes. Adjacent pieces are joined first, so that a transfer that is
 * contiguous to the device costs one look-up, not one a page.
 */
#include "endpoints/nvme/nvme.h"

struct walk {
	struct nvme *n;
	struct nvme_request *rq;
	uint32_t left; /* bytes still to be described */
	unsigned perm; /* hold */
	uint8_t *buf;  /* copy: moves on with each piece */
	bool hold, to_guest;
	unsigned sgl_nr;   /* descriptors read */
	uint64_t run_iova; /* joined and not yet handed on */
	uint64_t run_len;
};

/* PRPs cannot have too many pieces: each is a page. */
static uint16_t piece_status(int r)
{
	return r == -E2BIG ? NVME_INVALID_SGL_COUNT : NVME_DATA_TRANSFER_ERROR;
}

static uint16_t flush_run(struct walk *w)
{
	uint64_t iova = w->run_iova, len = w->run_len;
	int r;

	if (!len)
		return NVME_OK;
	w->run_len = 0;
	if (w->hold) {
		r = viommu_dma_get(w->n->dma, iova, len, w->perm, &w->rq->sg);
	} else {
		r = w->to_guest ? viommu_dma_write(w->n->dma, iova, w->buf, len)
				: viommu_dma_read(w->n->dma, iova, w->buf, len);
		w->buf += len;
	}
	if (r)
		w->n->stats.blocked++;
	return r ? piece_status(r) : NVME_OK;
}

static uint16_t add_piece(struct walk *w, uint64_t iova, uint64_t len)
{
	uint16_t status = NVME_OK;

	/* The first page is not next to the last one. */
	if (w->run_len && iova && w->run_iova + w->run_len == iova) {
		w->run_len += len;
	} else {
		status = flush_run(w);
		w->run_iova = iova;
		w->run_len = len;
	}
	w->left -= (uint32_t)len;
	return status;
}

/* ---- PRP ---- */

#define PRP_LIST_CHUNK 64u /* entries copied at a time */

/* Entries of one list page from `iova` on; *next: the list that follows, or 0. */
static uint16_t walk_prp_page(struct walk *w, uint64_t iova, uint64_t *next)
{
	uint64_t entry[PRP_LIST_CHUNK];
	unsigned room = (unsigned)((NVME_PAGE - iova % NVME_PAGE) / 8);
	uint16_t status = NVME_OK;

	*next = 0;
	while (w->left && room && !status) {
		unsigned want = (w->left + NVME_PAGE - 1) / NVME_PAGE;
		unsigned nr = want < room ? want : room;

		if (nr > PRP_LIST_CHUNK)
			nr = PRP_LIST_CHUNK;
		if (viommu_dma_read(w->n->dma, iova, entry, nr * 8))
			return NVME_DATA_TRANSFER_ERROR;
		for (unsigned i = 0; i < nr && !status; i++) {
			uint64_t at = le64toh(entry[i]);

			/* The last entry of a full page points to the next list. */
			if (room - i == 1 && w->left > NVME_PAGE) {
				*next = at;
				return at % 8 ? NVME_PRP_OFFSET_INVALID : NVME_OK;
			}
			if (at % NVME_PAGE)
				return NVME_PRP_OFFSET_INVALID;
			status = add_piece(w, at,
					   w->left < NVME_PAGE ? w->left : NVME_PAGE);
		}
		iova += nr * 8;
		room -= nr;
	}
	return status;
}

static uint16_t walk_prp(struct walk *w)
{
	uint64_t prp1 = le64toh(w->rq->cmd.prp1), prp2 = le64toh(w->rq->cmd.prp2);
	uint64_t first = NVME_PAGE - prp1 % NVME_PAGE;
	uint16_t status;

	if (prp1 % 4)
		return NVME_PRP_OFFSET_INVALID;
	status = add_piece(w, prp1, w->left < first ? w->left : first);
	if (status || !w->left)
		return status;
	if (w->left <= NVME_PAGE) {
		if (prp2 % NVME_PAGE)
			return NVME_PRP_OFFSET_INVALID;
		return add_piece(w, prp2, w->left);
	}
	if (prp2 % 8)
		return NVME_PRP_OFFSET_INVALID;
	/* Each page of the list describes at least one page, except when it
	 * starts at its last entry: bounded by twice the pages of a transfer. */
	for (unsigned i = 0; i < 2 * NVME_PIECES_MAX && w->left && !status; i++) {
		uint64_t next;

		status = walk_prp_page(w, prp2, &next);
		if (!status && w->left && !next)
			return NVME_PRP_OFFSET_INVALID;
		prp2 = next;
	}
	return status ? status : w->left ? NVME_INVALID_FIELD : NVME_OK;
}

/* ---- SGL ---- */

static bool sgl_is_segment(const struct nvme_sgl *d)
{
	return d->type >> 4 == NVME_SGL_SEGMENT || d->type >> 4 == NVME_SGL_LAST;
}

/* A descriptor that names data. */
static uint16_t walk_sgl_data(struct walk *w, const struct nvme_sgl *d)
{
	uint64_t len = le32toh(d->len);

	if (d->type != NVME_SGL_DATA << 4)
		return NVME_SGL_TYPE_INVALID;
	if (len > w->left)
		len = w->left; /* longer than the transfer: the rest is not used */
	return len ? add_piece(w, le64toh(d->addr), len) : NVME_OK;
}

/* The descriptors of one segment; *d is replaced by the next segment's. */
static uint16_t walk_sgl_segment(struct walk *w, struct nvme_sgl *d, bool *more)
{
	unsigned nr = le32toh(d->len) / sizeof(*d);
	uint64_t iova = le64toh(d->addr);
	bool last = d->type >> 4 == NVME_SGL_LAST;
	uint16_t status = NVME_OK;

	*more = false;
	if (!nr || le32toh(d->len) % sizeof(*d) || d->type & 0xf ||
	    iova + (le32toh(d->len) - 1) < iova)
		return NVME_INVALID_SGL_SEGMENT;
	for (unsigned i = 0; i < nr && w->left && !status; i++) {
		/* Empty ones describe nothing: without a limit a segment of 4 GiB
		 * would keep us busy. */
		if (w->sgl_nr++ >= NVME_SGL_ENTRIES_MAX)
			return NVME_INVALID_SGL_COUNT;
		if (viommu_dma_read(w->n->dma, iova + i * sizeof(*d), d, sizeof(*d)))
			return NVME_DATA_TRANSFER_ERROR;
		if (sgl_is_segment(d)) {
			*more = true;
			return i + 1 != nr || last ? NVME_INVALID_SGL_SEGMENT : NVME_OK;
		}
		status = walk_sgl_data(w, d);
	}
	return status;
}

static uint16_t walk_sgl(struct walk *w)
{
	struct nvme_sgl d = w->rq->cmd.sgl;
	uint16_t status;
	bool more = true;

	if (!sgl_is_segment(&d)) {
		status = walk_sgl_data(w, &d);
		return status ? status : w->left ? NVME_SGL_LENGTH_INVALID : NVME_OK;
	}
	for (unsigned i = 0; i < NVME_SGL_SEGMENTS_MAX && more; i++) {
		status = walk_sgl_segment(w, &d, &more);
		if (status)
			return status;
	}
	if (more)
		return NVME_INVALID_SGL_COUNT;
	return w->left ? NVME_SGL_LENGTH_INVALID : NVME_OK;
}

/* ---- both ---- */

static uint16_t walk(struct walk *w)
{
	uint8_t kind = NVME_CMD_PSDT(w->rq->cmd.flags);
	uint16_t status;

	if (!w->left)
		return NVME_OK;
	if (w->left > NVME_TRANSFER_MAX || kind > 2 || (kind && !w->n->opt.sgl))
		return NVME_FIELD_REFUSED;
	status = kind ? walk_sgl(w) : walk_prp(w);
	if (!status)
		status = flush_run(w);
	/* Wrong lists stay wrong; pages may be mapped by the next time. */
	return status && status != NVME_DATA_TRANSFER_ERROR ? status | NVME_DNR : status;
}

uint16_t nvme_data_hold(struct nvme *n, struct nvme_request *rq, uint32_t len,
			unsigned perm)
{
	struct walk w = {.n = n, .rq = rq, .left = len, .perm = perm, .hold = true};
	uint16_t status = walk(&w);

	if (status)
		nvme_data_release(n, rq);
	return status;
}

uint16_t nvme_data_to_guest(struct nvme *n, struct nvme_request *rq, const void *buf,
			    uint32_t len)
{
	struct walk w = {
		.n = n, .rq = rq, .left = len, .buf = (void *)buf, .to_guest = true};

	return walk(&w);
}

uint16_t nvme_data_from_guest(struct nvme *n, struct nvme_request *rq, void *buf,
			      uint32_t len)
{
	struct walk w = {.n = n, .rq = rq, .left = len, .buf = buf};

	return walk(&w);
}

void nvme_data_release(struct nvme *n, struct nvme_request *rq)
{
	if (rq->sg.hold_nr || rq->sg.iov_nr)
		viommu_dma_put(n->dma, &rq->sg);
}
