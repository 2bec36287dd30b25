/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <string.h>

#include "policy.h"

/* Weight of a new gap: 1/8; of its distance from the estimate: 1/4. */
#define GAP_SHIFT 3
#define DEV_SHIFT 2
/* A pause counts as at most this many times the maximum, so that watching ends
 * when half of the gaps are long and not for a few that are, as when the guest's
 * CPU was taken away, and a handful of close requests bring it back. */
#define GAP_CLAMP 4
/* Watching pays as long as the mean gap is at most this many times the maximum: a
 * mean has close requests in it, and a kick costs far more than the look. */
#define GAP_WORTH 2

void policy_init(struct policy *policy, bool automatic, uint64_t max_us)
{
	memset(policy, 0, sizeof(*policy));
	policy->automatic = automatic;
	policy->max_ns = max_us * 1000;
	policy->gap_ns = policy->max_ns * GAP_CLAMP;
}

static void learn(struct policy *policy, uint64_t gap)
{
	uint64_t most = policy->max_ns * GAP_CLAMP, off;

	if (gap > most)
		gap = most;
	off = gap > policy->gap_ns ? gap - policy->gap_ns : policy->gap_ns - gap;
	policy->dev_ns =
		policy->dev_ns - (policy->dev_ns >> DEV_SHIFT) + (off >> DEV_SHIFT);
	policy->gap_ns =
		policy->gap_ns - (policy->gap_ns >> GAP_SHIFT) + (gap >> GAP_SHIFT);
}

void policy_work(struct policy *policy, uint64_t began, uint64_t ended, bool watching)
{
	uint64_t gap = began > policy->ended_ns ? began - policy->ended_ns : 0;

	if (policy->ended_ns && !(watching && gap < POLICY_GAP_MIN_NS))
		learn(policy, gap);
	policy->ended_ns = ended;
	if (watching)
		policy->found++;
}

void policy_more(struct policy *policy, uint64_t ended)
{
	policy->ended_ns = ended;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t policy_window(const struct policy *policy)
{
	uint64_t window = policy->gap_ns + policy->gap_ns / 4 + 4 * policy->dev_ns;
	uint64_t max = policy->max_ns, worth = policy->max_ns * GAP_WORTH;

	if (!policy->automatic)
		return policy->max_ns;
	if (policy->crowded) {
		max = less(max, POLICY_CROWDED_MAX_NS);
		worth = less(worth, POLICY_CROWDED_GAP_NS);
	}
	if (policy->gap_ns > worth)
		return 0;
	return less(window + POLICY_MIN_NS, max);
}

uint64_t policy_deadline(const struct policy *policy)
{
	uint64_t window = policy_window(policy);

	return window && policy->ended_ns ? policy->ended_ns + window : 0;
}

void policy_miss(struct policy *policy)
{
	policy->missed++;
}
