/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Frames that wait for receive buffers, oldest first. */
#include "endpoints/net/internal.h"

/* Where len bytes fit without being split; NET_BACKLOG_LEN: nowhere. */
static uint32_t find_room(const struct net_backlog *b, size_t len)
{
	uint32_t head = b->nr ? b->frame[b->first].offset : 0;

	if (!b->nr)
		return 0;
	if (b->tail > head) {
		if (len <= NET_BACKLOG_LEN - b->tail)
			return b->tail;
		return len < head ? 0 : NET_BACKLOG_LEN;
	}
	/* Never up to the head: equal means that there is all the room. */
	return len < head - b->tail ? b->tail : NET_BACKLOG_LEN;
}

bool backlog_put(struct net_backlog *b, int pair, const struct net_frame *frame)
{
	struct net_waiting *w;
	uint8_t *at;

	if (!b->bytes || b->nr == NET_BACKLOG_FRAMES)
		return false;
	w = &b->frame[(b->first + b->nr) % NET_BACKLOG_FRAMES];
	w->offset = find_room(b, frame->len);
	if (w->offset == NET_BACKLOG_LEN)
		return false;
	w->len = (uint32_t)frame->len;
	w->pair = pair;
	w->meta = frame->meta;
	at = b->bytes + w->offset;
	for (unsigned i = 0; i < frame->iov_nr; i++) {
		memcpy(at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += frame->iov[i].iov_len;
	}
	b->tail = w->offset + w->len;
	b->nr++;
	return true;
}

void backlog_drop_first(struct net_backlog *b)
{
	b->first = (b->first + 1) % NET_BACKLOG_FRAMES;
	b->nr--;
}

void backlog_clear(struct net_backlog *b)
{
	b->first = b->nr = 0;
	b->tail = 0;
}
