/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The driver side of virtqueues, split and packed. Freestanding: no C library,
 * no allocation; the caller gives all memory.
 *
 * The device is not trusted. What the driver has to remember is kept in `slots`,
 * which the device cannot reach, and nothing is read back from memory that the
 * device can write but used entries, each word once and checked.
 *
 * Use:
 *     drvq_init(&q, &config);
 *     while (more)
 *             drvq_add(&q, bufs, readable_nr, writable_nr, cookie);
 *     if (drvq_publish(&q))
 *             kick the device;
 *     while ((r = drvq_poll(&q, &used)) > 0)
 *             complete(used.cookie, used.len);
 *     if (r < 0)
 *             the device is out of its mind: reset it, then drvq_take_back();
 *
 * Threads: one at a time per queue. Ring memory must be coherent for device and
 * CPU; orders are those of base/atomic.h (ordinary memory).
 */
#ifndef VIOMMU_LIB_VIRTQ_DRIVER_H
#define VIOMMU_LIB_VIRTQ_DRIVER_H

#include "virtq/wire.h"

/* Entries of a ring, and descriptors of a table. */
#define DRVQ_SIZE_MAX 1024u

/* A buffer as the device sees it. */
struct drvq_buf {
	uint64_t addr; /* device (DMA) address */
	uint32_t len;  /* bytes */
};

/* What is remembered of a descriptor (split) or a buffer id (packed); private. */
struct drvq_slot {
	void *cookie;	       /* caller's, of the chain that starts here */
	uint64_t writable_len; /* bytes the device may write, all of the chain */
	uint16_t next;	       /* next free one, or next of the chain (split) */
	uint16_t nr;	       /* ring entries of the chain; 0: no chain starts here */
};

/* All pointers are the caller's and stay valid until the queue is not used any
 * more. Areas must be zeroed before drvq_init() and aligned to 16 (desc) and 4
 * (driver, device) bytes. */
struct drvq_config {
	uint16_t size; /* split: a power of two */
	bool packed, event_idx;
	void *desc;		 /* drvq_desc_len() bytes */
	void *driver;		 /* drvq_driver_len() bytes */
	void *device;		 /* drvq_device_len() bytes */
	struct drvq_slot *slots; /* `size` of them, in private memory */
	/* Indirect descriptors, if negotiated: `size` tables of `table_nr`
	 * descriptors, 16 bytes each, aligned to 16. table_nr 0: none. */
	void *tables;
	uint64_t tables_dma; /* device address of tables */
	uint16_t table_nr;
};

/* Bytes of each area, room for event indices included. */
static inline uint64_t drvq_desc_len(uint16_t size)
{
	return ring_desc_len(size);
}
static inline uint64_t drvq_driver_len(uint16_t size, bool packed)
{
	return ring_driver_len(size, packed, true);
}
static inline uint64_t drvq_device_len(uint16_t size, bool packed)
{
	return ring_device_len(size, packed, true);
}
static inline uint64_t drvq_tables_len(uint16_t size, uint16_t table_nr)
{
	return (uint64_t)size * table_nr * RING_DESC_LEN;
}

/* Private. */
struct drvq {
	struct drvq_config cfg;
	uint16_t free_head;	/* first free slot */
	uint16_t free_nr;	/* free ring entries */
	uint16_t out_nr;	/* chains the device has not given back */
	uint16_t next_avail;	/* split: free-running index; packed: position */
	uint16_t next_used;	/* likewise */
	uint16_t published;	/* split: next_avail when last published */
	uint16_t pending_slots; /* packed: entries added since last published */
	uint16_t pending_head;	/* packed: position of the first of them */
	uint16_t pending_flags; /* packed: its flags, stored by publish */
	bool avail_wrap, used_wrap, pending_wrap; /* packed */
	bool notify;				  /* used notifications are asked for */
	bool broken; /* the device broke the rules; only take_back helps */
};

/* 0; -EINVAL: size 0, not a power of two (split), over DRVQ_SIZE_MAX, an area
 * missing or misaligned, or table_nr over DRVQ_SIZE_MAX. Used notifications
 * start switched on, as the standard has it for zeroed memory. */
int drvq_init(struct drvq *q, const struct drvq_config *cfg);

/*
 * Adds a chain: readable_nr buffers that the device reads, then writable_nr that
 * it writes. It uses one ring entry with an indirect table (taken when there are
 * tables and more than one buffer, and it fits), else one for each buffer. The
 * device sees nothing before drvq_publish(). cookie comes back with the used
 * entry. Buffers stay the device's until then.
 * 0; -ENOSPC: no room now (publish and poll first); -EINVAL: no buffer, or more
 * than ring and table can ever hold, or more than 2^32 bytes; -EIO: broken.
 */
int drvq_add(struct drvq *q, const struct drvq_buf *bufs, unsigned readable_nr,
	     unsigned writable_nr, void *cookie);

/* Shows the device all that was added since, with one store. true: the device
 * asks to be notified. */
bool drvq_publish(struct drvq *q);

struct drvq_used {
	void *cookie;
	uint32_t len; /* bytes written, at most the writable part of the chain */
};

/*
 * Takes the next used chain. 1: taken. 0: none now. -EIO: the device broke the
 * rules (id that is not out, given back twice, more bytes than there was room,
 * index beyond what is out); nothing is taken and the queue is broken for good.
 */
int drvq_poll(struct drvq *q, struct drvq_used *used);

/* Whether drvq_poll() has something to say (one load). */
bool drvq_has_used(const struct drvq *q);

/* Asks the device (not) to interrupt. enable returns true if something was used
 * meanwhile: poll again, no interrupt will come for it. */
void drvq_disable_notify(struct drvq *q);
bool drvq_enable_notify(struct drvq *q);

/* Ring entries that are free: a chain of that many buffers fits. */
static inline unsigned drvq_free_nr(const struct drvq *q)
{
	return q->free_nr;
}
/* Chains that are with the device or added and not published. */
static inline unsigned drvq_out_nr(const struct drvq *q)
{
	return q->out_nr;
}

/*
 * After the device was reset (it reaches no buffer any more): takes back one
 * chain that is out, in no particular order. 1: *cookie is set. 0: none is left;
 * zero the areas and call drvq_init() to use the ring again.
 */
int drvq_take_back(struct drvq *q, void **cookie);

#endif
