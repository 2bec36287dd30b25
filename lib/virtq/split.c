/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Split virtqueues, device side (VIRTIO 1.4, "Split Virtqueues"). */
#include "virtq/ring.h"

static uint64_t slot_of(const struct viommu_virtq *vq, uint16_t idx)
{
	return idx & (vq->cfg.size - 1u);
}

static uint16_t *avail_word(struct viommu_virtq *vq, uint64_t offset)
{
	return word_at(vq, &vq->driver, vq->cfg.driver + offset, sizeof(uint16_t));
}

static uint16_t *used_word(struct viommu_virtq *vq, uint64_t offset)
{
	return word_at(vq, &vq->device, vq->cfg.device + offset, sizeof(uint16_t));
}

/* The driver's index, checked. 1: there is more, 0, -errno. */
static int look(struct viommu_virtq *vq)
{
	const uint16_t *p = avail_word(vq, SPLIT_IDX);
	uint16_t idx;

	if (!p)
		return err(EFAULT, "available index out of reach");
	/* Acquire pairs with the driver's barrier between filling descriptors
	 * and entries and storing the index: they are read after it. */
	idx = le16(load_acquire(p));
	/* Every chain takes at least one descriptor until it is published. */
	if ((uint16_t)(idx - vq->published_idx) > vq->cfg.size) {
		vq->broken = true;
		return err(EIO, "available index jumped past the size");
	}
	/* Going backwards, even behind what was taken, is such a jump as well. */
	if ((uint16_t)(idx - vq->avail_idx) > vq->cfg.size) {
		vq->broken = true;
		return err(EIO, "available index went backwards");
	}
	vq->seen_idx = idx;
	return idx != vq->avail_idx;
}

/* The table a walk is in. */
struct table {
	struct viommu_ring_window *window;
	struct viommu_ring_window indirect; /* window points here inside one */
	const uint8_t *whole;		    /* all of it, if it is one piece */
	uint32_t entries_nr;
};

static int table_read(struct viommu_virtq *vq, const struct table *table, uint32_t i,
		      struct ring_desc *out)
{
	uint64_t off = (uint64_t)i * RING_DESC_LEN;

	if (unlikely(!table->whole))
		return desc_read(vq, table->window, table->window->base + off, out);
	desc_fetch((const void *)(table->whole + off), out);
	return 0;
}

/* Goes from a descriptor to the table it points to; 0 or -EBADMSG. */
static int enter_table(struct chain_walk *walk, const struct ring_desc *desc,
		       struct table *table)
{
	int r;

	if (table->window == &table->indirect)
		return err(EBADMSG, "indirect table inside an indirect table");
	if (desc->lo & RING_F_NEXT)
		return err(EBADMSG, "indirect descriptor with NEXT");
	r = walk_table(walk, desc, &table->indirect, &table->whole);
	if (r)
		return r;
	table->window = &table->indirect;
	table->entries_nr = desc->len / RING_DESC_LEN;
	return 0;
}

/*
 * Walks from `head` on; what is wrong goes into walk->error. Each table can be
 * walked for as many steps as it has entries: one more means a loop. -EFAULT:
 * the ring's own table is out of reach.
 */
static int walk_chain(struct chain_walk *walk, uint16_t head)
{
	struct viommu_virtq *vq = walk->vq;
	struct table table;
	struct ring_desc desc;
	uint32_t i = head, steps = 0;

	table.window = &vq->desc;
	table.whole = window_whole(vq, table.window);
	table.entries_nr = vq->cfg.size;
	if (!table.window->len)
		return err(EFAULT, "descriptor table out of reach");

	while (!walk->error) {
		if (i >= table.entries_nr) {
			walk->error = err(EBADMSG, "descriptor index out of range");
		} else if (steps == table.entries_nr || steps == VIOMMU_VIRTQ_CHAIN_MAX) {
			walk->error = err(EBADMSG, "chain loops or is too long");
		} else if (table_read(vq, &table, i, &desc)) {
			if (table.window == &vq->desc)
				return err(EFAULT, "descriptor table out of reach");
			walk->error = err(EBADMSG, "indirect table out of reach");
		} else if (desc.lo & RING_F_INDIRECT) {
			walk->error = enter_table(walk, &desc, &table);
			i = steps = 0;
		} else {
			walk_add(walk, desc.addr, desc.len, desc.lo & RING_F_WRITE);
			if (!(desc.lo & RING_F_NEXT))
				break;
			i = desc.hi;
			steps++;
		}
	}
	return 0;
}

/* The entry that the reply will be written to, and the index: the driver's core has
 * their lines. They arrive while the request is looked at. */
static void prefetch_used(struct viommu_virtq *vq)
{
	uint64_t offset = SPLIT_ENTRIES + slot_of(vq, vq->used_idx) * SPLIT_USED_LEN;
	const uint8_t *whole = window_whole(vq, &vq->device);

	if (likely(whole)) {
		prefetch_write(whole + offset);
		prefetch_write(whole + SPLIT_IDX);
	}
}

int split_pop(struct viommu_virtq *vq, struct chain_walk *walk)
{
	const uint16_t *entry;
	int r;

	if (vq->avail_idx == vq->seen_idx) {
		r = look(vq);
		if (r <= 0)
			return r;
	}
	entry = avail_word(vq,
			   SPLIT_ENTRIES + slot_of(vq, vq->avail_idx) * SPLIT_AVAIL_LEN);
	if (!entry)
		return err(EFAULT, "available ring out of reach");
	/* Ordered by the acquire in look(). */
	walk->chain->id = le16(load_relaxed(entry));
	walk->chain->ring_slots = 1;
	prefetch_used(vq);
	r = walk_chain(walk, walk->chain->id);
	if (r)
		return r;
	vq->avail_idx++;
	vq->in_flight++;
	return walk->error ? walk->error : 1;
}

void split_unpop(struct viommu_virtq *vq)
{
	vq->avail_idx--;
	vq->in_flight--;
}

int split_push(struct viommu_virtq *vq, uint16_t id, uint32_t len)
{
	uint64_t offset = SPLIT_ENTRIES + slot_of(vq, vq->used_idx) * SPLIT_USED_LEN;
	uint32_t *entry =
		word_at(vq, &vq->device, vq->cfg.device + offset, sizeof(uint32_t));
	uint32_t *entry_len =
		word_at(vq, &vq->device, vq->cfg.device + offset + 4, sizeof(uint32_t));

	if (!entry || !entry_len)
		return err(EFAULT, "used ring out of reach");
	/* Ordered before the driver's reads by the release in split_publish(). */
	store_relaxed(entry_len, le32(len));
	store_relaxed(entry, le32(id));
	vq->used_idx++;
	vq->in_flight--;
	return 0;
}

/* Whether the driver asks for an interrupt for the entries [old, used_idx). */
static bool wants_interrupt(struct viommu_virtq *vq, uint16_t old)
{
	const uint16_t *word;

	if (vq->cfg.event_idx)
		word = avail_word(vq, SPLIT_ENTRIES +
					      (uint64_t)vq->cfg.size * SPLIT_AVAIL_LEN);
	else
		word = avail_word(vq, SPLIT_FLAGS);
	if (!word)
		return true; /* one interrupt too many does no harm */
	if (vq->cfg.event_idx)
		return split_event_hit(le16(load_relaxed(word)), vq->used_idx, old);
	return !(le16(load_relaxed(word)) & SPLIT_F_NO_EVENT);
}

bool split_publish(struct viommu_virtq *vq)
{
	uint16_t old = vq->published_idx;
	uint16_t *idx;

	if (vq->used_idx == old)
		return false;
	idx = used_word(vq, SPLIT_IDX);
	if (!idx)
		return false;
	/* Release pairs with the driver's acquire of the index: it sees the
	 * entries and what was written into the buffers. */
	store_release(idx, le16(vq->used_idx));
	vq->published_idx = vq->used_idx;
	/* Pairs with the full barrier in the driver between asking for
	 * interrupts and looking at the index once more. Without it both could
	 * miss the other's store and the driver would sleep for ever. */
	fence_full();
	return wants_interrupt(vq, old);
}

bool split_has_work(struct viommu_virtq *vq)
{
	const uint16_t *p = avail_word(vq, SPLIT_IDX);

	/* A hint: split_pop() loads it again and orders what follows. */
	return p && le16(load_relaxed(p)) != vq->avail_idx;
}

static bool store_avail_event(struct viommu_virtq *vq, uint16_t idx)
{
	uint16_t *event =
		used_word(vq, SPLIT_ENTRIES + (uint64_t)vq->cfg.size * SPLIT_USED_LEN);

	if (!event)
		return false;
	/* Ordered before the look at the ring by viommu_virtq_enable_notify(). */
	store_relaxed(event, le16(idx));
	vq->armed_idx = idx;
	return true;
}

static bool store_used_flags(struct viommu_virtq *vq, uint16_t flags)
{
	uint16_t *word = used_word(vq, SPLIT_FLAGS);

	if (!word)
		return false;
	/* As in store_avail_event(). */
	store_relaxed(word, le16(flags));
	return true;
}

/* With event indices used.flags stays 0 ("Available Buffer Notification
 * Suppression"); it may be left over from another driver. */
static bool clear_flags_once(struct viommu_virtq *vq)
{
	return vq->notify_state != NOTIFY_UNKNOWN || store_used_flags(vq, 0);
}

void split_disable_notify(struct viommu_virtq *vq)
{
	bool done;

	if (!vq->cfg.event_idx)
		done = store_used_flags(vq, SPLIT_F_NO_EVENT);
	else if (vq->notify_state == NOTIFY_ON && vq->armed_idx != vq->avail_idx)
		done = true; /* the index was passed: no kick comes any more */
	else
		done = clear_flags_once(vq) &&
		       store_avail_event(vq, vq->avail_idx + 0x8000);
	vq->notify_state = done ? NOTIFY_OFF : NOTIFY_UNKNOWN;
}

bool split_arm_notify(struct viommu_virtq *vq)
{
	bool done;

	if (!vq->cfg.event_idx)
		done = vq->notify_state == NOTIFY_ON || store_used_flags(vq, 0);
	else if (vq->notify_state == NOTIFY_ON && vq->armed_idx == vq->avail_idx)
		done = true;
	else
		done = clear_flags_once(vq) && store_avail_event(vq, vq->avail_idx);
	vq->notify_state = done ? NOTIFY_ON : NOTIFY_UNKNOWN;
	return done;
}
