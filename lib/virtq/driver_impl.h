/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Inside of the driver side: what split and packed rings do differently. */
#ifndef VIOMMU_LIB_VIRTQ_DRIVER_IMPL_H
#define VIOMMU_LIB_VIRTQ_DRIVER_IMPL_H

#include "base/atomic.h"
#include "base/err.h"
#include "virtq/driver.h"

/* End of the list of free slots. */
#define SLOT_NONE 0xffffu

static inline void *at_offset(void *area, uint64_t offset)
{
	return (char *)area + offset;
}

/* A chain to be added; all limits were checked. */
struct drvq_chain {
	const struct drvq_buf *bufs;
	unsigned readable_nr, nr; /* of them; all */
	bool indirect;
};

/* Descriptor flags of buffer i, NEXT not included. */
static inline uint16_t buf_flags(const struct drvq_chain *chain, unsigned i)
{
	return i < chain->readable_nr ? 0 : RING_F_WRITE;
}

/* The table of the chain that starts at slot `id`. */
static inline uint64_t table_offset(const struct drvq *q, uint16_t id)
{
	return (uint64_t)id * q->cfg.table_nr * RING_DESC_LEN;
}

/* Writes a descriptor; lo and hi as in struct ring_desc. */
static inline void desc_write(void *area, uint32_t i, struct ring_desc desc)
{
	uint64_t *p = at_offset(area, (uint64_t)i * RING_DESC_LEN);

	/* Both ordered before the device's reads by the release of drvq_publish(). */
	store_relaxed(&p[0], le64(desc.addr));
	store_relaxed(&p[1],
		      le64(desc.len | (uint64_t)desc.lo << 32 | (uint64_t)desc.hi << 48));
}

/* Takes the first free slot for a chain. */
uint16_t slot_take(struct drvq *q);
void slot_put(struct drvq *q, uint16_t id);

/* Checks what the device gave back and ends the chain: used->cookie and len.
 * 0; -EIO, with the queue broken. */
int chain_end(struct drvq *q, uint32_t id, uint32_t len, struct drvq_used *used);
int queue_break(struct drvq *q, const char *reason);

void drvq_split_add(struct drvq *q, const struct drvq_chain *chain, uint16_t id);
void drvq_split_release(struct drvq *q, uint16_t id);
bool drvq_split_publish(struct drvq *q);
bool drvq_split_has_used(const struct drvq *q);
int drvq_split_poll(struct drvq *q, struct drvq_used *used);
void drvq_split_notify(struct drvq *q, bool on);

void drvq_packed_add(struct drvq *q, const struct drvq_chain *chain, uint16_t id);
bool drvq_packed_publish(struct drvq *q);
bool drvq_packed_has_used(const struct drvq *q);
int drvq_packed_poll(struct drvq *q, struct drvq_used *used);
void drvq_packed_notify(struct drvq *q, bool on);

#endif
