/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The driver side of virtqueues: what both formats share. Freestanding.
 *
 * Slots: one for each descriptor of a split ring, or each buffer id of a packed
 * one. Those not in use form a list through `next`. A slot at which a chain
 * starts has nr != 0; only such a slot can be given back by the device.
 */
#include "virtq/driver_impl.h"

/* VIRTIO 1.4, "The Virtqueue Descriptor Table": no chain above 2^32 bytes. */
#define CHAIN_LEN_MAX (1ull << 32)

static bool misaligned(const void *p, uintptr_t align)
{
	return !p || ((uintptr_t)p & (align - 1));
}

static int check_config(const struct drvq_config *cfg)
{
	if (!cfg->size || cfg->size > DRVQ_SIZE_MAX)
		return err(EINVAL, "queue size out of range");
	if (!cfg->packed && !is_pow2(cfg->size))
		return err(EINVAL, "size of a split queue is no power of two");
	if (misaligned(cfg->desc, 16) || misaligned(cfg->driver, 4) ||
	    misaligned(cfg->device, 4) || !cfg->slots)
		return err(EINVAL, "ring area missing or misaligned");
	if (cfg->table_nr > DRVQ_SIZE_MAX)
		return err(EINVAL, "indirect tables too long");
	if (cfg->table_nr && misaligned(cfg->tables, 16))
		return err(EINVAL, "indirect tables missing or misaligned");
	return 0;
}

int drvq_init(struct drvq *q, const struct drvq_config *cfg)
{
	int r = check_config(cfg);

	if (r)
		return r;
	*q = (struct drvq){.cfg = *cfg, .free_nr = cfg->size, .notify = true};
	q->avail_wrap = q->used_wrap = true;
	for (uint16_t i = 0; i < cfg->size; i++) {
		cfg->slots[i] = (struct drvq_slot){.next = i + 1};
		if (i + 1 == cfg->size)
			cfg->slots[i].next = SLOT_NONE;
	}
	return 0;
}

uint16_t slot_take(struct drvq *q)
{
	uint16_t id = q->free_head;

	q->free_head = q->cfg.slots[id].next;
	return id;
}

void slot_put(struct drvq *q, uint16_t id)
{
	q->cfg.slots[id].nr = 0;
	q->cfg.slots[id].next = q->free_head;
	q->free_head = id;
}

int queue_break(struct drvq *q, const char *reason)
{
	q->broken = true;
	return err(EIO, reason);
}

/* The chain's ring entries and slots are free again. */
static void release(struct drvq *q, uint16_t id)
{
	q->free_nr += q->cfg.slots[id].nr;
	q->out_nr--;
	if (q->cfg.packed)
		slot_put(q, id);
	else
		drvq_split_release(q, id);
}

int chain_end(struct drvq *q, uint32_t id, uint32_t len, struct drvq_used *used)
{
	struct drvq_slot *slot;

	if (id >= q->cfg.size)
		return queue_break(q, "used id out of range");
	slot = &q->cfg.slots[id];
	if (!slot->nr)
		return queue_break(q, "used id is not out");
	if (len > slot->writable_len)
		return queue_break(q, "used length over the writable part");
	*used = (struct drvq_used){slot->cookie, len};
	release(q, (uint16_t)id);
	return 0;
}

/* Sums up bufs [from, to); over CHAIN_LEN_MAX stays over it. */
static uint64_t total(const struct drvq_buf *bufs, unsigned from, unsigned to)
{
	uint64_t len = 0;

	for (unsigned i = from; i < to; i++)
		len += bufs[i].len;
	return len;
}

static int check_chain(const struct drvq *q, unsigned readable_nr, unsigned writable_nr)
{
	unsigned most = q->cfg.table_nr > q->cfg.size ? q->cfg.table_nr : q->cfg.size;

	if (readable_nr > most || writable_nr > most || readable_nr + writable_nr > most)
		return err(EINVAL, "more buffers than ring and table can hold");
	if (!(readable_nr + writable_nr))
		return err(EINVAL, "chain without a buffer");
	return 0;
}

int drvq_add(struct drvq *q, const struct drvq_buf *bufs, unsigned readable_nr,
	     unsigned writable_nr, void *cookie)
{
	struct drvq_chain chain = {bufs, readable_nr, readable_nr + writable_nr, false};
	uint64_t writable_len;
	uint16_t id, entries;
	int r;

	if (q->broken)
		return err(EIO, "the queue is broken");
	r = check_chain(q, readable_nr, writable_nr);
	if (r)
		return r;
	writable_len = total(bufs, readable_nr, chain.nr);
	if (total(bufs, 0, readable_nr) + writable_len > CHAIN_LEN_MAX)
		return err(EINVAL, "chain is longer than 2^32 bytes");
	chain.indirect = chain.nr > 1 && chain.nr <= q->cfg.table_nr;
	entries = chain.indirect ? 1 : (uint16_t)chain.nr;
	if (entries > q->free_nr)
		return err(ENOSPC, "no free ring entries");
	id = slot_take(q);
	q->cfg.slots[id].cookie = cookie;
	q->cfg.slots[id].writable_len = writable_len;
	q->cfg.slots[id].nr = entries;
	q->free_nr -= entries;
	q->out_nr++;
	if (q->cfg.packed)
		drvq_packed_add(q, &chain, id);
	else
		drvq_split_add(q, &chain, id);
	return 0;
}

bool drvq_publish(struct drvq *q)
{
	if (q->broken)
		return false;
	return q->cfg.packed ? drvq_packed_publish(q) : drvq_split_publish(q);
}

int drvq_poll(struct drvq *q, struct drvq_used *used)
{
	if (q->broken)
		return err(EIO, "the queue is broken");
	return q->cfg.packed ? drvq_packed_poll(q, used) : drvq_split_poll(q, used);
}

bool drvq_has_used(const struct drvq *q)
{
	if (q->broken)
		return true;
	return q->cfg.packed ? drvq_packed_has_used(q) : drvq_split_has_used(q);
}

static void set_notify(struct drvq *q, bool on)
{
	q->notify = on;
	if (q->cfg.packed)
		drvq_packed_notify(q, on);
	else
		drvq_split_notify(q, on);
}

void drvq_disable_notify(struct drvq *q)
{
	if (q->notify)
		set_notify(q, false);
}

bool drvq_enable_notify(struct drvq *q)
{
	set_notify(q, true);
	/* Pairs with the full barrier in the device between showing used entries
	 * and reading whether to interrupt. Without it both could miss the
	 * other's store and the interrupt would never come. */
	fence_full();
	return drvq_has_used(q);
}

int drvq_take_back(struct drvq *q, void **cookie)
{
	for (uint16_t id = 0; q->out_nr && id < q->cfg.size; id++) {
		if (q->cfg.slots[id].nr) {
			*cookie = q->cfg.slots[id].cookie;
			q->broken = true; /* positions in the ring are void */
			release(q, id);
			return 1;
		}
	}
	return 0;
}
