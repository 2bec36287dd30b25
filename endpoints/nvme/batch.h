/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * How many completions of a queue share an interrupt. Pure: the caller brings
 * the time.
 *
 * An interrupt costs the VMM a wake-up and the guest more than a small command
 * does, so a guest that keeps submitting while completions wait is served better
 * by one for several. A guest that submits nothing before it has heard of the
 * last command is not: the first wait in vain ends the batching, and it is tried
 * again only after ever more interrupts.
 */
#ifndef ENDPOINTS_NVME_BATCH_H
#define ENDPOINTS_NVME_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#define NVME_BATCH_MAX	  8u	   /* completions an interrupt */
#define NVME_BATCH_GAP_NS 200000u  /* nothing more for so long: do not wait on */
#define NVME_BATCH_AGE_NS 1000000u /* nobody waits longer */
/* Interrupts before a larger batch is tried: at first, and between what. */
#define NVME_BATCH_TRY_FIRST 16u
#define NVME_BATCH_TRY_MIN   4u
#define NVME_BATCH_TRY_MAX   1024u

/* Zeroed: an interrupt for each. */
struct nvme_batch {
	unsigned nr;		    /* completions without an interrupt */
	unsigned extra;		    /* waited for, beyond the first */
	unsigned try_in, try_every; /* interrupts until the next growth; then */
	uint64_t first_ns, last_ns; /* when the oldest and the latest came */
};

/* nr completions were posted. */
void nvme_batch_add(struct nvme_batch *b, unsigned nr, uint64_t now);
/* Whether to interrupt now; then nothing waits any more. */
bool nvme_batch_due(struct nvme_batch *b, uint64_t now);

#endif
