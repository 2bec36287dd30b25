/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Split virtqueues, driver side (VIRTIO 1.4, "Split Virtqueues"). */
#include "virtq/driver_impl.h"

static uint32_t slot_of(const struct drvq *q, uint16_t idx)
{
	return idx & (q->cfg.size - 1u);
}

static uint16_t *avail_word(const struct drvq *q, uint64_t offset)
{
	return at_offset(q->cfg.driver, offset);
}

static uint16_t *used_word(const struct drvq *q, uint64_t offset)
{
	return at_offset(q->cfg.device, offset);
}

static uint16_t *used_event(const struct drvq *q)
{
	return avail_word(q, SPLIT_ENTRIES + (uint64_t)q->cfg.size * SPLIT_AVAIL_LEN);
}

static uint16_t *avail_event(const struct drvq *q)
{
	return used_word(q, SPLIT_ENTRIES + (uint64_t)q->cfg.size * SPLIT_USED_LEN);
}

static void add_table(struct drvq *q, const struct drvq_chain *chain, uint16_t id)
{
	uint64_t offset = table_offset(q, id);
	void *table = at_offset(q->cfg.tables, offset);

	for (unsigned i = 0; i < chain->nr; i++) {
		bool last = i + 1 == chain->nr;

		desc_write(table, i,
			   (struct ring_desc){
				   .addr = chain->bufs[i].addr,
				   .len = chain->bufs[i].len,
				   .lo = buf_flags(chain, i) | (last ? 0 : RING_F_NEXT),
				   .hi = last ? 0 : (uint16_t)(i + 1),
			   });
	}
	desc_write(q->cfg.desc, id,
		   (struct ring_desc){
			   .addr = q->cfg.tables_dma + offset,
			   .len = chain->nr * RING_DESC_LEN,
			   .lo = RING_F_INDIRECT,
		   });
}

/* One descriptor a buffer. The chain's slots stay linked through `next`. */
static void add_list(struct drvq *q, const struct drvq_chain *chain, uint16_t id)
{
	uint16_t at = id;

	for (unsigned i = 0; i < chain->nr; i++) {
		bool last = i + 1 == chain->nr;
		uint16_t next = last ? 0 : slot_take(q);

		desc_write(q->cfg.desc, at,
			   (struct ring_desc){
				   .addr = chain->bufs[i].addr,
				   .len = chain->bufs[i].len,
				   .lo = buf_flags(chain, i) | (last ? 0 : RING_F_NEXT),
				   .hi = next,
			   });
		q->cfg.slots[at].next = last ? SLOT_NONE : next;
		at = next;
	}
}

void drvq_split_add(struct drvq *q, const struct drvq_chain *chain, uint16_t id)
{
	uint64_t entry = SPLIT_ENTRIES + slot_of(q, q->next_avail) * SPLIT_AVAIL_LEN;

	if (chain->indirect)
		add_table(q, chain, id);
	else
		add_list(q, chain, id);
	/* Ordered before the device's read by drvq_split_publish(). */
	store_relaxed(avail_word(q, entry), le16(id));
	q->next_avail++;
}

/* Gives the slots of a chain back, as many as it was made of. */
void drvq_split_release(struct drvq *q, uint16_t id)
{
	uint16_t nr = q->cfg.slots[id].nr;

	for (uint16_t at = id; nr; nr--) {
		uint16_t next = q->cfg.slots[at].next;

		slot_put(q, at);
		at = next;
	}
}

bool drvq_split_publish(struct drvq *q)
{
	uint16_t old = q->published;

	if (q->next_avail == old)
		return false;
	/* Release pairs with the device's acquire of the index: it sees the
	 * entries, descriptors and buffers. */
	store_release(avail_word(q, SPLIT_IDX), le16(q->next_avail));
	q->published = q->next_avail;
	/* Pairs with the full barrier in the device between asking for kicks and
	 * looking at the index once more. Without it both could miss the other's
	 * store and the chains would wait for the next kick. */
	fence_full();
	/* Both loads are ordered by that barrier. */
	if (q->cfg.event_idx)
		return split_event_hit(le16(load_relaxed(avail_event(q))), q->next_avail,
				       old);
	return !(le16(load_relaxed(used_word(q, SPLIT_FLAGS))) & SPLIT_F_NO_EVENT);
}

bool drvq_split_has_used(const struct drvq *q)
{
	/* A hint: drvq_split_poll() loads it again and orders what follows. */
	return le16(load_relaxed(used_word(q, SPLIT_IDX))) != q->next_used;
}

/* Event index: the next used entry shall interrupt, or one that is far away. */
static void store_used_event(struct drvq *q)
{
	/* Ordered before the look at the ring by drvq_enable_notify(); where
	 * drvq_split_poll() calls this, by the next enable. */
	store_relaxed(used_event(q), le16(q->next_used + (q->notify ? 0 : 0x8000)));
}

int drvq_split_poll(struct drvq *q, struct drvq_used *used)
{
	uint64_t entry = SPLIT_ENTRIES + slot_of(q, q->next_used) * SPLIT_USED_LEN;
	const uint32_t *p = at_offset(q->cfg.device, entry);
	/* Acquire pairs with the device's release of the index: the entry and
	 * what the device wrote into buffers are read after it. */
	uint16_t idx = le16(load_acquire(used_word(q, SPLIT_IDX)));
	int r;

	if (idx == q->next_used)
		return 0;
	if ((uint16_t)(idx - q->next_used) > q->out_nr)
		return queue_break(q, "used index beyond what is out");
	/* Once each: the device may go on changing them. Ordered by the acquire. */
	r = chain_end(q, le32(load_relaxed(&p[0])), le32(load_relaxed(&p[1])), used);
	if (r)
		return r;
	q->next_used++;
	if (q->cfg.event_idx && q->notify)
		store_used_event(q);
	return 1;
}

void drvq_split_notify(struct drvq *q, bool on)
{
	if (q->cfg.event_idx)
		store_used_event(q);
	else
		/* As in store_used_event(). */
		store_relaxed(avail_word(q, SPLIT_FLAGS),
			      le16(on ? 0 : SPLIT_F_NO_EVENT));
}
