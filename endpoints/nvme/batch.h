/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * How many completions of a queue share an interrupt. Pure: the caller brings
 * the time.
 *
 * An interrupt costs the VMM a wake-up and the guest more than a small command
 * does, so a guest that keeps submitting while completions wait is served better
 * by one for several. A guest that submits nothing before it has heard of the
 * last command is not.
 *
 * So: wait for one more after a number of interrupts that came with all that was
 * waited for. Two waits in vain, one after the other, halve what is waited for; a
 * single one may be a CPU of the guest that was away for a moment. What has failed is
 * tried again ever later, what has proved right ever sooner.
 */
#ifndef ENDPOINTS_NVME_BATCH_H
#define ENDPOINTS_NVME_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#define NVME_BATCH_MAX	  8u	   /* completions an interrupt */
#define NVME_BATCH_GAP_NS 200000u  /* nothing more for so long: do not wait on */
#define NVME_BATCH_AGE_NS 1000000u /* nobody waits longer */
/* Interrupts before a larger batch is tried: between these two. */
#define NVME_BATCH_TRY_MIN   4u
#define NVME_BATCH_TRY_SHIFT 10u /* TRY_MIN << that */

/* Zeroed: an interrupt for each. */
struct nvme_batch {
	unsigned nr;	/* completions without an interrupt */
	unsigned extra; /* waited for, beyond the first */
	unsigned good;	/* waits since that changed that were not in vain */
	unsigned vain;	/* latest waits that were */
	uint8_t patience[NVME_BATCH_MAX]; /* of each extra: good ones before the next,
					   * as a shift of TRY_MIN */
	uint64_t first_ns, last_ns;	  /* when the oldest and the latest came */
};

/* nr completions were posted. */
void nvme_batch_add(struct nvme_batch *b, unsigned nr, uint64_t now);
/* Whether to interrupt now; then nothing waits any more. */
bool nvme_batch_due(struct nvme_batch *b, uint64_t now);
/* The same when nobody will look for more. */
bool nvme_batch_end(struct nvme_batch *b);

#endif
