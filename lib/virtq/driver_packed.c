/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Packed virtqueues, driver side (VIRTIO 1.4, "Packed Virtqueues"). */
#include "virtq/driver_impl.h"

static uint16_t *flags_word(const struct drvq *q, uint16_t idx)
{
	return at_offset(q->cfg.desc, (uint64_t)idx * RING_DESC_LEN + PACKED_FLAGS);
}

static void step(const struct drvq *q, uint16_t *idx, bool *wrap, uint32_t entries)
{
	uint32_t to = *idx + entries;

	if (to >= q->cfg.size) {
		to -= q->cfg.size;
		*wrap = !*wrap;
	}
	*idx = (uint16_t)to;
}

/*
 * Writes the next ring entry. The flags of the first one of a batch are left to
 * drvq_packed_publish(): before that store the device looks at none of them.
 */
static void entry_write(struct drvq *q, struct ring_desc desc)
{
	uint32_t *words = at_offset(q->cfg.desc, (uint64_t)q->next_avail * RING_DESC_LEN);

	desc.hi |= packed_avail_flags(q->avail_wrap);
	if (q->pending_slots) {
		desc_write(q->cfg.desc, q->next_avail, desc);
	} else {
		/* All three ordered by drvq_packed_publish(). */
		store_relaxed((uint64_t *)words, le64(desc.addr));
		store_relaxed(&words[2], le32(desc.len));
		store_relaxed((uint16_t *)&words[3], le16(desc.lo));
		q->pending_head = q->next_avail;
		q->pending_flags = desc.hi;
	}
	q->pending_slots++;
	step(q, &q->next_avail, &q->avail_wrap, 1);
}

static void add_table(struct drvq *q, const struct drvq_chain *chain, uint16_t id)
{
	uint64_t offset = table_offset(q, id);
	void *table = at_offset(q->cfg.tables, offset);

	for (unsigned i = 0; i < chain->nr; i++)
		desc_write(table, i,
			   (struct ring_desc){
				   .addr = chain->bufs[i].addr,
				   .len = chain->bufs[i].len,
				   .hi = buf_flags(chain, i),
			   });
	entry_write(q, (struct ring_desc){
			       .addr = q->cfg.tables_dma + offset,
			       .len = chain->nr * RING_DESC_LEN,
			       .lo = id,
			       .hi = RING_F_INDIRECT,
		       });
}

void drvq_packed_add(struct drvq *q, const struct drvq_chain *chain, uint16_t id)
{
	if (chain->indirect) {
		add_table(q, chain, id);
		return;
	}
	for (unsigned i = 0; i < chain->nr; i++)
		entry_write(q, (struct ring_desc){
				       .addr = chain->bufs[i].addr,
				       .len = chain->bufs[i].len,
				       .lo = id,
				       .hi = buf_flags(chain, i) |
					     (i + 1 == chain->nr ? 0 : RING_F_NEXT),
			       });
}

bool drvq_packed_publish(struct drvq *q)
{
	uint16_t slots = q->pending_slots;
	uint32_t event;

	if (!slots)
		return false;
	/* Release pairs with the device's acquire of these flags: it sees the
	 * entry, those behind it, tables and buffers. */
	store_release(flags_word(q, q->pending_head), le16(q->pending_flags));
	q->pending_slots = 0;
	/* Pairs with the full barrier in the device between writing its event
	 * suppression and looking at the ring once more. Without it both could
	 * miss the other's store and the chains would wait for the next kick. */
	fence_full();
	/* Ordered by that barrier. */
	event = le32(load_relaxed((uint32_t *)q->cfg.device));
	switch (event >> 16 & 3) {
	case PACKED_EVENT_OFF:
		return false;
	case PACKED_EVENT_DESC:
		return !q->cfg.event_idx ||
		       packed_event_hit((uint16_t)event, q->next_avail, q->avail_wrap,
					slots, q->cfg.size);
	default:
		return true;
	}
}

bool drvq_packed_has_used(const struct drvq *q)
{
	/* A hint: drvq_packed_poll() loads them again and orders what follows. */
	return packed_is_used(le16(load_relaxed(flags_word(q, q->next_used))),
			      q->used_wrap);
}

/* Where the next interrupt is wanted: at the next used entry, or not at all. */
static void store_event(struct drvq *q, bool on)
{
	uint32_t event = (uint32_t)PACKED_EVENT_OFF << 16;

	if (on && q->cfg.event_idx)
		event = (uint32_t)PACKED_EVENT_DESC << 16 | q->next_used |
			(q->used_wrap ? PACKED_EVENT_WRAP : 0);
	else if (on)
		event = (uint32_t)PACKED_EVENT_ENABLE << 16;
	/* One store, so that the device never sees half of it. Ordered before the
	 * look at the ring by drvq_enable_notify(). */
	store_relaxed((uint32_t *)q->cfg.driver, le32(event));
}

int drvq_packed_poll(struct drvq *q, struct drvq_used *used)
{
	const uint32_t *words =
		at_offset(q->cfg.desc, (uint64_t)q->next_used * RING_DESC_LEN);
	/* Acquire pairs with the device's release of the flags: the entry and what
	 * the device wrote into buffers are read after it. */
	uint16_t flags = le16(load_acquire(flags_word(q, q->next_used)));
	uint16_t id, slots;
	uint32_t len;
	int r;

	if (!packed_is_used(flags, q->used_wrap))
		return 0;
	/* Once each: the device may go on changing them. Ordered by the acquire. */
	id = le16(load_relaxed((const uint16_t *)&words[3]));
	len = le32(load_relaxed(&words[2]));
	if (id >= q->cfg.size)
		return queue_break(q, "used id out of range");
	/* Without WRITE the length is reserved; some devices fill it in anyway. */
	if (!(flags & RING_F_WRITE) && len > q->cfg.slots[id].writable_len)
		len = 0;
	slots = q->cfg.slots[id].nr;
	r = chain_end(q, id, len, used);
	if (r)
		return r;
	step(q, &q->next_used, &q->used_wrap, slots);
	if (q->cfg.event_idx && q->notify)
		store_event(q, true);
	return 1;
}

void drvq_packed_notify(struct drvq *q, bool on)
{
	store_event(q, on);
}
