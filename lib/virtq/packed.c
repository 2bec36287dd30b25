/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Packed virtqueues, device side (VIRTIO 1.4, "Packed Virtqueues"). */
#include "virtq/ring.h"

/* A place in the ring: entry and wrap counter of the lap. */
struct place {
	uint16_t idx;
	bool wrap;
};

static void step(const struct viommu_virtq *vq, struct place *at, uint32_t entries)
{
	uint32_t idx = at->idx + entries;

	if (idx >= vq->cfg.size) {
		idx -= vq->cfg.size;
		at->wrap = !at->wrap;
	}
	at->idx = (uint16_t)idx;
}

static uint64_t entry_addr(const struct viommu_virtq *vq, uint16_t idx)
{
	return vq->cfg.desc + (uint64_t)idx * RING_DESC_LEN;
}

static uint16_t *flags_word(struct viommu_virtq *vq, uint16_t idx)
{
	return word_at(vq, &vq->desc, entry_addr(vq, idx) + PACKED_FLAGS,
		       sizeof(uint16_t));
}

/* An entry that is not one aligned piece: its flags have to be one, or they
 * could not be read at once. The rest comes bytewise. */
static int read_scattered(struct viommu_virtq *vq, uint16_t idx, struct ring_desc *out)
{
	uint64_t addr = entry_addr(vq, idx);
	const uint16_t *flags = vq->desc.len ? flags_word(vq, idx) : NULL;

	if (!flags)
		return err(EFAULT, "descriptor ring out of reach");
	/* Pairs as in read_entry(). */
	out->hi = le16(load_acquire(flags));
	if (window_copy(vq, &vq->desc, addr, &out->addr, 8) ||
	    window_copy(vq, &vq->desc, addr + PACKED_LEN, &out->len, 4) ||
	    window_copy(vq, &vq->desc, addr + PACKED_ID, &out->lo, 2))
		return err(EFAULT, "descriptor ring out of reach");
	out->addr = le64(out->addr);
	out->len = le32(out->len);
	out->lo = le16(out->lo);
	return 0;
}

/* A ring entry, each word fetched once, the flags first. 0; -EFAULT. */
static int read_entry(struct viommu_virtq *vq, uint16_t idx, struct ring_desc *out)
{
	const uint8_t *p = window_at(vq, &vq->desc, entry_addr(vq, idx), RING_DESC_LEN);

	if (unlikely(!p || ((uintptr_t)p & 7)))
		return read_scattered(vq, idx, out);
	/* Acquire pairs with the driver's release store of a head's flags: all
	 * that follows is read after it. Otherwise the rest of the entry could
	 * be that of an earlier lap. */
	out->hi = le16(load_acquire((const uint16_t *)(p + PACKED_FLAGS)));
	out->addr = le64(load_relaxed((const uint64_t *)p));
	out->len = le32(load_relaxed((const uint32_t *)(p + PACKED_LEN)));
	out->lo = le16(load_relaxed((const uint16_t *)(p + PACKED_ID)));
	return 0;
}

/* An indirect table is taken from first to last; only WRITE counts in it. */
static void walk_indirect(struct chain_walk *walk, const struct ring_desc *head)
{
	struct viommu_ring_window table;
	struct ring_desc desc;
	const uint8_t *whole;

	walk->error = walk_table(walk, head, &table, &whole);
	for (uint32_t off = 0; !walk->error && off < head->len; off += RING_DESC_LEN) {
		/* Empty buffers do not count as buffers, but as steps. */
		if (off == VIOMMU_VIRTQ_CHAIN_MAX * RING_DESC_LEN)
			walk->error = err(EBADMSG, "indirect table is too long");
		else if (whole)
			desc_fetch((const void *)(whole + off), &desc);
		else if (desc_read(walk->vq, &table, head->addr + off, &desc))
			walk->error = err(EBADMSG, "indirect table out of reach");
		if (walk->error)
			break;
		if (desc.hi & RING_F_INDIRECT)
			walk->error = err(EBADMSG, "indirect table inside another");
		else
			walk_add(walk, desc.addr, desc.len, desc.hi & RING_F_WRITE);
	}
}

static void walk_entry(struct chain_walk *walk, const struct ring_desc *desc, bool first)
{
	if (walk->error)
		return; /* only the end of the list is looked for */
	if (!(desc->hi & RING_F_INDIRECT))
		walk_add(walk, desc->addr, desc->len, desc->hi & RING_F_WRITE);
	else if (!first || (desc->hi & RING_F_NEXT))
		walk->error = err(EBADMSG, "indirect descriptor in a list");
	else
		walk_indirect(walk, desc);
}

/* The entry that the reply will be written to: as a rule the one just read, whose
 * line the driver's core has. It arrives while the request is looked at. */
static void prefetch_used(struct viommu_virtq *vq)
{
	const void *p = window_at(vq, &vq->desc, entry_addr(vq, vq->used_idx), 1);

	if (likely(p))
		prefetch_write(p);
}

/*
 * Walks a list to its end, broken or not, so that all of its entries are given
 * back together. *at goes behind it. 1, 0: nothing there, -EFAULT. Bounded by the
 * entries that are not out.
 */
static int walk_list(struct chain_walk *walk, struct place *at)
{
	struct viommu_virtq *vq = walk->vq;
	struct viommu_chain *chain = walk->chain;
	uint16_t room = vq->cfg.size - vq->in_flight;
	struct ring_desc desc;

	do {
		bool first = !chain->ring_slots;

		if (chain->ring_slots == room) {
			walk->error = err(EBADMSG, "list is longer than the ring");
			return 1;
		}
		if (read_entry(vq, at->idx, &desc))
			return err(EFAULT, "descriptor ring out of reach");
		if (!packed_is_avail(desc.hi, at->wrap)) {
			if (first)
				return 0;
			/* The head goes last: all others should be there. */
			walk->error = err(EBADMSG, "list ends in a used entry");
			return 1;
		}
		if (first)
			prefetch_used(vq);
		chain->id = desc.lo; /* the last one of the list counts */
		chain->ring_slots++;
		walk_entry(walk, &desc, first);
		step(vq, at, 1);
	} while (desc.hi & RING_F_NEXT);
	return 1;
}

int packed_pop(struct viommu_virtq *vq, struct chain_walk *walk)
{
	struct place at = {vq->avail_idx, vq->avail_wrap};
	int r;

	if (unlikely(vq->in_flight == vq->cfg.size)) {
		if (!packed_has_work(vq))
			return 0;
		vq->broken = true;
		return err(EIO, "entry made available while it is out");
	}
	r = walk_list(walk, &at);
	if (r <= 0)
		return r;
	vq->avail_idx = at.idx;
	vq->avail_wrap = at.wrap;
	vq->in_flight += walk->chain->ring_slots;
	return walk->error ? walk->error : 1;
}

void packed_unpop(struct viommu_virtq *vq, uint16_t slots)
{
	if (slots > vq->avail_idx) {
		vq->avail_idx += vq->cfg.size;
		vq->avail_wrap = !vq->avail_wrap;
	}
	vq->avail_idx -= slots;
	vq->in_flight -= slots;
}

/*
 * A used entry goes to the first place of those given back. The flags of the
 * first entry of a batch are left to packed_publish(): before that store the
 * driver looks at none of the others.
 */
int packed_push(struct viommu_virtq *vq, const struct viommu_chain *chain, uint32_t len)
{
	struct place at = {vq->used_idx, vq->used_wrap};
	uint64_t addr = entry_addr(vq, at.idx);
	uint32_t *len_word = word_at(vq, &vq->desc, addr + PACKED_LEN, sizeof(uint32_t));
	uint16_t *id_word = word_at(vq, &vq->desc, addr + PACKED_ID, sizeof(uint16_t));
	uint16_t *flags = flags_word(vq, at.idx);
	uint16_t value = packed_used_flags(at.wrap) | (len ? RING_F_WRITE : 0);

	if (!len_word || !id_word || !flags)
		return err(EFAULT, "descriptor ring out of reach");
	/* Both ordered before the driver's reads by packed_publish(). */
	store_relaxed(len_word, le32(len));
	store_relaxed(id_word, le16(chain->id));
	if (vq->pending_slots) {
		/* Likewise. */
		store_relaxed(flags, le16(value));
	} else {
		vq->pending_idx = at.idx;
		vq->pending_flags = value;
	}
	vq->pending_slots += chain->ring_slots;
	vq->in_flight -= chain->ring_slots;
	step(vq, &at, chain->ring_slots);
	vq->used_idx = at.idx;
	vq->used_wrap = at.wrap;
	return 0;
}

/* Whether the driver asks for an interrupt for the last `slots` entries. */
static bool wants_interrupt(struct viommu_virtq *vq, uint16_t slots)
{
	const uint32_t *word = word_at(vq, &vq->driver, vq->cfg.driver, PACKED_EVENT_LEN);
	uint32_t event;

	if (!word)
		return true; /* one interrupt too many does no harm */
	/* Ordered after the store of the flags by the caller's full barrier. */
	event = le32(load_relaxed(word));
	switch (event >> 16 & 3) {
	case PACKED_EVENT_OFF:
		return false;
	case PACKED_EVENT_DESC:
		if (vq->cfg.event_idx)
			return packed_event_hit((uint16_t)event, vq->used_idx,
						vq->used_wrap, slots, vq->cfg.size);
		return true;
	default:
		return true;
	}
}

bool packed_publish(struct viommu_virtq *vq)
{
	uint16_t slots = vq->pending_slots;
	uint16_t *flags;

	if (!slots)
		return false;
	flags = flags_word(vq, vq->pending_idx);
	if (!flags)
		return false;
	/* Release pairs with the driver's acquire of these flags: it sees the
	 * entry, those behind it and what was written into the buffers. */
	store_release(flags, le16(vq->pending_flags));
	vq->pending_slots = 0;
	/* Pairs with the full barrier in the driver between writing its event
	 * suppression and looking at the ring once more. Without it both could
	 * miss the other's store and the driver would sleep for ever. */
	fence_full();
	return wants_interrupt(vq, slots);
}

bool packed_has_work(struct viommu_virtq *vq)
{
	const uint16_t *flags = flags_word(vq, vq->avail_idx);

	/* A hint: packed_pop() loads them again and orders what follows. */
	return flags && packed_is_avail(le16(load_relaxed(flags)), vq->avail_wrap);
}

static bool store_event(struct viommu_virtq *vq, uint16_t at, uint16_t kind)
{
	uint32_t *word = word_at(vq, &vq->device, vq->cfg.device, PACKED_EVENT_LEN);

	if (!word)
		return false;
	/* One store, so that the driver never sees half of it. Ordered before
	 * the look at the ring by viommu_virtq_enable_notify(). */
	store_relaxed(word, le32(at | (uint32_t)kind << 16));
	return true;
}

void packed_disable_notify(struct viommu_virtq *vq)
{
	vq->notify_state =
		store_event(vq, 0, PACKED_EVENT_OFF) ? NOTIFY_OFF : NOTIFY_UNKNOWN;
}

bool packed_arm_notify(struct viommu_virtq *vq)
{
	bool done;

	if (vq->cfg.event_idx)
		done = store_event(
			vq, vq->avail_idx | (vq->avail_wrap ? PACKED_EVENT_WRAP : 0),
			PACKED_EVENT_DESC);
	else
		done = vq->notify_state == NOTIFY_ON ||
		       store_event(vq, 0, PACKED_EVENT_ENABLE);
	vq->notify_state = done ? NOTIFY_ON : NOTIFY_UNKNOWN;
	return done;
}
