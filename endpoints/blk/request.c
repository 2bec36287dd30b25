/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * From a chain to its status byte (VIRTIO 1.4, "Block Device" / "Device
 * Operation"). The header is the first 16 readable bytes, the status the last
 * writable byte, whatever the descriptors they are spread over.
 */
#include "endpoints/blk/internal.h"

/* ---- places in a chain ---- */

/* The next piece in one buffer. Needs cur->left > 0. */
static void cursor_piece(const struct request *req, struct cursor *cur, uint64_t *addr,
			 uint64_t *len)
{
	const struct viommu_virtq_buf *buf = &req->bufs[cur->buf];

	/* Ends: there are cur->left bytes in the buffers from here on. */
	while (buf->len == cur->skip) {
		buf = &req->bufs[++cur->buf];
		cur->skip = 0;
	}
	*addr = buf->addr + cur->skip;
	*len = buf->len - cur->skip;
	if (*len > cur->left)
		*len = cur->left;
}

static void cursor_advance(struct cursor *cur, uint64_t len)
{
	cur->skip += (uint32_t)len;
	cur->left -= len;
}

enum touch { CHECK_READ, CHECK_WRITE, COPY_IN, COPY_OUT, ZERO };

/*
 * Walks `len` bytes of guest memory from cur on: copies them to or from buf,
 * zeroes them, or only checks that they can be read or written. -EFAULT.
 */
static int touch(struct blk *blk, const struct request *req, struct cursor *cur,
		 void *buf, uint64_t len, enum touch how)
{
	unsigned perm = how == CHECK_READ || how == COPY_IN ? VIOMMU_READ : VIOMMU_WRITE;
	struct viommu_span span;
	uint64_t addr, n;
	uint8_t *p = buf;

	for (; len; len -= n) {
		cursor_piece(req, cur, &addr, &n);
		if (n > len)
			n = len;
		if (unlikely(viommu_dma_translate(blk->virtio.dma, addr, n, perm, &span)))
			return -EFAULT;
		n = span.len;
		if (how == COPY_IN)
			memcpy(p, span.hva, n);
		else if (how == COPY_OUT)
			memcpy(span.hva, p, n);
		else if (how == ZERO)
			memset(span.hva, 0, n);
		if (p)
			p += n;
		cursor_advance(cur, n);
	}
	return 0;
}

bool request_overlaps(const struct request *req, uint64_t start, uint64_t last)
{
	for (unsigned i = 0; i < req->chain.buf_nr; i++) {
		const struct viommu_virtq_buf *b = &req->bufs[i];

		if (b->len && b->addr <= last && b->addr + (b->len - 1) >= start)
			return true;
	}
	return false;
}

/* ---- answers ---- */

static bool write_status(struct blk *blk, const struct request *req, uint8_t status)
{
	struct viommu_span span;

	if (viommu_dma_translate(blk->virtio.dma, req->status_addr, 1, VIOMMU_WRITE,
				 &span))
		return false;
	*(uint8_t *)span.hva = status;
	return true;
}

/*
 * "The device MUST write at least len bytes, beginning at the first device-
 * writable buffer": the data that was written, and the status byte where nothing
 * lies between them.
 */
static uint32_t used_len(const struct request *req)
{
	uint64_t data = req->chain.writable_len - 1;
	uint64_t len = req->written == data ? data + 1 : req->written;

	return len > UINT32_MAX ? UINT32_MAX : (uint32_t)len;
}

static void finish(struct blk *blk, struct request *req, uint8_t status)
{
	uint32_t len = 0;

	if (unlikely(status != VIRTIO_BLK_S_OK)) {
		req->written = 0;
		blk->stats.errors += status == VIRTIO_BLK_S_IOERR;
		blk->stats.unknown += status == VIRTIO_BLK_S_UNSUPP;
	}
	if (likely(req->queue->enabled)) {
		if (likely(write_status(blk, req, status)))
			len = used_len(req);
		else
			blk->stats.blocked++;
		virtio_push(&blk->virtio, req->queue, &req->chain, len);
		latency_done(&blk->latency, req->kind, req->taken_ns);
	}
	request_put(blk, req);
}

static void finish_blocked(struct blk *blk, struct request *req)
{
	blk->stats.blocked++;
	finish(blk, req, VIRTIO_BLK_S_IOERR);
}

/* ---- what each type asks for ---- */

static bool in_range(const struct blk *blk, uint64_t sector, uint64_t len)
{
	uint64_t capacity = blk->info->capacity / BLOCK_SECTOR;

	return len % BLOCK_SECTOR == 0 && sector <= capacity &&
	       len / BLOCK_SECTOR <= capacity - sector;
}

static void issue(struct blk *blk, struct request *req);

/* Nothing moves, but what the driver must not reach is refused all the same. */
static void null_transfer(struct blk *blk, struct request *req, bool write)
{
	enum touch how = write ? CHECK_READ : CHECK_WRITE;

	if (!write && blk->info->read_zeroes)
		how = ZERO;
	if (unlikely(touch(blk, req, &req->data, NULL, req->data_len, how))) {
		finish_blocked(blk, req);
		return;
	}
	req->written = write ? 0 : req->data_len;
	finish(blk, req, VIRTIO_BLK_S_OK);
}

static void count_transfer(struct blk_stats *s, bool write, uint64_t len)
{
	if (write) {
		s->writes++;
		s->write_bytes += len;
	} else {
		s->reads++;
		s->read_bytes += len;
	}
}

static void begin_transfer(struct blk *blk, struct request *req, bool write)
{
	req->data_len = req->data.left;
	req->kind = write ? LATENCY_WRITE : LATENCY_READ;
	if (unlikely((write && blk->info->read_only) || req->data_len > BLK_DATA_MAX ||
		     !in_range(blk, req->sector, req->data_len))) {
		finish(blk, req, VIRTIO_BLK_S_IOERR);
		return;
	}
	count_transfer(&blk->stats, write, req->data_len);
	req->io.op = write ? BLOCK_WRITE : BLOCK_READ;
	req->io.durable = write && !blk->writeback;
	if (blk->info->null || !req->data_len)
		null_transfer(blk, req, write);
	else
		issue(blk, req);
}

static void begin_flush(struct blk *blk, struct request *req)
{
	blk->stats.flushes++;
	if (blk->info->null) {
		finish(blk, req, VIRTIO_BLK_S_OK);
		return;
	}
	req->io.op = BLOCK_FLUSH;
	issue(blk, req);
}

static void begin_get_id(struct blk *blk, struct request *req)
{
	uint64_t len =
		req->data.left < VIRTIO_BLK_ID_LEN ? req->data.left : VIRTIO_BLK_ID_LEN;

	blk->stats.get_ids++;
	if (touch(blk, req, &req->data, blk->serial, len, COPY_OUT)) {
		finish_blocked(blk, req);
		return;
	}
	req->written = len;
	finish(blk, req, VIRTIO_BLK_S_OK);
}

/* "The device MUST set the status byte to UNSUPP if any unknown flag is set; for
 * discard commands also if the unmap flag is set." */
static uint8_t check_segment(const struct blk *blk, const struct request *req,
			     const struct virtio_blk_segment *seg)
{
	bool discard = req->type == VIRTIO_BLK_T_DISCARD;

	if (seg->flags & ~(discard ? 0u : VIRTIO_BLK_ZEROES_F_UNMAP))
		return VIRTIO_BLK_S_UNSUPP;
	if (seg->sectors_nr > (discard ? BLK_DISCARD_SECTORS : BLK_ZEROES_SECTORS) ||
	    !in_range(blk, seg->sector, (uint64_t)seg->sectors_nr * BLOCK_SECTOR))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

/* Copies the segments in and checks them all before the first is executed. */
static uint8_t read_segments(struct blk *blk, struct request *req)
{
	uint64_t len = req->data.left;
	uint8_t status = VIRTIO_BLK_S_OK;

	if (!len || len % sizeof(req->segment[0]) || len > sizeof(req->segment))
		return VIRTIO_BLK_S_IOERR;
	if (touch(blk, req, &req->data, req->segment, len, COPY_IN)) {
		blk->stats.blocked++;
		return VIRTIO_BLK_S_IOERR;
	}
	req->segment_nr = (unsigned)(len / sizeof(req->segment[0]));
	req->segment_at = 0;
	for (unsigned i = 0; i < req->segment_nr && status == VIRTIO_BLK_S_OK; i++) {
		struct virtio_blk_segment *s = &req->segment[i];

		s->sector = le64toh(s->sector);
		s->sectors_nr = le32toh(s->sectors_nr);
		s->flags = le32toh(s->flags);
		status = check_segment(blk, req, s);
	}
	return status;
}

static void begin_segments(struct blk *blk, struct request *req, enum block_op op)
{
	uint8_t status =
		blk->info->read_only ? VIRTIO_BLK_S_IOERR : read_segments(blk, req);

	if (status != VIRTIO_BLK_S_OK || blk->info->null) {
		finish(blk, req, status);
		return;
	}
	req->io.op = op;
	issue(blk, req);
}

static void begin_discard(struct blk *blk, struct request *req)
{
	if (!blk->info->discard && !blk->info->read_only) {
		finish(blk, req, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	blk->stats.discards++;
	begin_segments(blk, req, BLOCK_DISCARD);
}

static void dispatch(struct blk *blk, struct request *req)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		begin_transfer(blk, req, false);
		break;
	case VIRTIO_BLK_T_OUT:
		begin_transfer(blk, req, true);
		break;
	case VIRTIO_BLK_T_FLUSH:
		begin_flush(blk, req);
		break;
	case VIRTIO_BLK_T_GET_ID:
		begin_get_id(blk, req);
		break;
	case VIRTIO_BLK_T_DISCARD:
		begin_discard(blk, req);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		blk->stats.write_zeroes++;
		begin_segments(blk, req, BLOCK_ZEROES);
		break;
	default:
		finish(blk, req, VIRTIO_BLK_S_UNSUPP);
	}
}

static bool data_is_writable(uint32_t type)
{
	return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

/* -EFAULT: the header cannot be read; -EINVAL: there is none. */
static int read_head(struct blk *blk, struct request *req)
{
	struct cursor cur = {.left = req->chain.readable_len};
	struct virtio_blk_head head;

	if (cur.left < sizeof(head))
		return -EINVAL;
	if (touch(blk, req, &cur, &head, sizeof(head), COPY_IN))
		return -EFAULT;
	req->type = le32toh(head.type);
	req->sector = le64toh(head.sector);
	if (data_is_writable(req->type))
		cur = (struct cursor){.buf = req->chain.readable_nr,
				      .left = req->chain.writable_len - 1};
	req->data = cur;
	return 0;
}

static uint64_t last_writable_byte(const struct request *req)
{
	unsigned i = req->chain.buf_nr - 1;

	while (!req->bufs[i].len)
		i--;
	return req->bufs[i].addr + (req->bufs[i].len - 1);
}

void request_begin(struct blk *blk, struct request *req)
{
	int r;

	req->written = 0;
	req->data_len = 0;
	req->segment_nr = 0;
	req->kind = LATENCY_OTHER;
	req->taken_ns = blk->latency.turn_ns;
	if (unlikely(!req->chain.writable_len)) {
		blk->virtio.stats.malformed++;
		virtio_push(&blk->virtio, req->queue, &req->chain, 0);
		request_put(blk, req);
		return;
	}
	req->status_addr = last_writable_byte(req);
	r = read_head(blk, req);
	if (likely(!r))
		dispatch(blk, req);
	else if (r == -EFAULT)
		finish_blocked(blk, req);
	else
		finish(blk, req, VIRTIO_BLK_S_IOERR);
}

/* ---- I/O ---- */

/* The arrays cannot take all of [addr, addr + len): as much as they can. */
static int hold_part(struct blk *blk, struct request *req, uint64_t addr, uint64_t len,
		     unsigned perm)
{
	int r = -E2BIG;

	while (r == -E2BIG && (len /= 2) > 0)
		r = viommu_dma_get(blk->virtio.dma, addr, len, perm, &req->sg);
	if (!r)
		cursor_advance(&req->data, len);
	return r == -E2BIG && req->sg.len ? 0 : r;
}

/* Holds the pages of what is left, or of as much as fits one system call. */
static int hold_data(struct blk *blk, struct request *req)
{
	unsigned perm = req->io.op == BLOCK_WRITE ? VIOMMU_READ : VIOMMU_WRITE;
	uint64_t addr, len;
	int r;

	while (req->data.left) {
		cursor_piece(req, &req->data, &addr, &len);
		r = viommu_dma_get(blk->virtio.dma, addr, len, perm, &req->sg);
		if (r == -E2BIG)
			return hold_part(blk, req, addr, len, perm);
		if (r)
			return r;
		cursor_advance(&req->data, len);
	}
	return 0;
}

static void release(struct blk *blk, struct request *req)
{
	if (req->sg.hold_nr || req->sg.iov_nr)
		viommu_dma_put(blk->virtio.dma, &req->sg);
}

static int prepare_transfer(struct blk *blk, struct request *req)
{
	uint64_t before = req->data_len - req->data.left;

	if (hold_data(blk, req)) {
		release(blk, req);
		return -EFAULT;
	}
	req->io.offset = req->sector * BLOCK_SECTOR + before;
	req->io.len = req->sg.len;
	req->io.iov = req->sg.iov;
	req->io.iov_nr = req->sg.iov_nr;
	return 0;
}

static void prepare_segment(struct blk *blk, struct request *req)
{
	const struct virtio_blk_segment *s = &req->segment[req->segment_at++];

	req->io.offset = s->sector * BLOCK_SECTOR;
	req->io.len = (uint64_t)s->sectors_nr * BLOCK_SECTOR;
	req->io.may_unmap =
		blk->info->zero_unmap && (s->flags & VIRTIO_BLK_ZEROES_F_UNMAP);
	req->io.durable = req->io.op == BLOCK_ZEROES && !blk->writeback;
}

static bool is_transfer(const struct request *req)
{
	return req->io.op == BLOCK_READ || req->io.op == BLOCK_WRITE;
}

/* Holds the pages of what comes next and starts it. */
static void issue(struct blk *blk, struct request *req)
{
	if (is_transfer(req) && prepare_transfer(blk, req)) {
		finish_blocked(blk, req);
		return;
	}
	/* Empty segments have nothing to do; the last one stands for all. */
	while (req->segment_at + 1 < req->segment_nr &&
	       !req->segment[req->segment_at].sectors_nr)
		req->segment_at++;
	if (req->segment_at < req->segment_nr)
		prepare_segment(blk, req);
	req->state = REQUEST_STARTED;
	block_start(blk->block, &req->io);
}

static bool has_more(const struct request *req)
{
	return is_transfer(req) ? req->data.left > 0 : req->segment_at < req->segment_nr;
}

static void forget_lost(struct blk *blk, struct request *req)
{
	blk->lost--;
	request_put(blk, req);
}

void request_done(struct blk *blk, struct request *req, int res)
{
	release(blk, req);
	if (unlikely(req->state == REQUEST_LOST)) {
		forget_lost(blk, req);
		return;
	}
	req->state = REQUEST_POPPED;
	blk->stats.cancelled += res == -ECANCELED;
	if (unlikely(!res && has_more(req) && req->queue->enabled)) {
		issue(blk, req);
		return;
	}
	if (!res && req->io.op == BLOCK_READ)
		req->written = req->data_len;
	finish(blk, req, res ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}
