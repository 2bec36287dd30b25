/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * How long an endpoint's I/O takes: from the beginning of the turn that took it off
 * the ring (env.turn_ns, a time that the thread has read anyway) to when its
 * completion was published. The clock is read once more in a turn in which
 * something completed, not for each I/O: what completes in one turn waits for that
 * reading, and what was taken together is added together.
 *
 * Threads: the endpoint's. Others get copies made there.
 */
#ifndef ENDPOINTS_LATENCY_H
#define ENDPOINTS_LATENCY_H

#include <viommu/histogram.h>

#include "endpoints/endpoint.h"
#include "endpoints/util.h"

/* Turns that I/O of one kind which completes together was taken in; more cost a
 * reading of the clock. */
#define LATENCY_RUNS_MAX 16u

enum latency_kind { LATENCY_READ, LATENCY_WRITE, LATENCY_OTHER, LATENCY_KINDS_NR };

struct latency_run {
	uint64_t from_ns;
	uint32_t nr;
};

struct latency_one {
	struct latency_run *last; /* NULL: none waits */
	struct latency_run run[LATENCY_RUNS_MAX];
	struct viommu_histogram ns;
};

/* Zeroed at the start. */
struct latency {
	uint64_t turn_ns; /* when this turn began: what it takes counts from then */
	unsigned waiting; /* bit n: of kind n some are */
	struct latency_one kind[LATENCY_KINDS_NR];
};

/* A turn of the endpoint begins. */
static inline void latency_turn(struct latency *l, const struct endpoint *ep)
{
	l->turn_ns =
		ep->env.turn_ns ? ep->env.turn_ns(ep->env.opaque) : endpoint_now_ns();
}

void latency_begin_run(struct latency *l, enum latency_kind kind, uint64_t from_ns);

/* One taken in the turn that began at from_ns is complete. */
static inline void latency_done(struct latency *l, enum latency_kind kind,
				uint64_t from_ns)
{
	struct latency_run *run = l->kind[kind].last;

	if (likely(run && run->from_ns == from_ns))
		run->nr++;
	else
		latency_begin_run(l, kind, from_ns);
}

/* What completed, if anything, is published at now_ns. */
void latency_add(struct latency *l, uint64_t now_ns);
static inline void latency_publish(struct latency *l)
{
	if (l->waiting)
		latency_add(l, endpoint_now_ns());
}

/* A reset: what completed is told to nobody. */
void latency_forget(struct latency *l);

/* For struct endpoint_type: names[kind], NULL: the endpoint has none of these. */
void latency_visit(const struct latency *l, const char *const names[LATENCY_KINDS_NR],
		   endpoint_latency_fn *visit, void *opaque);
/* The names of a disk. */
extern const char *const latency_disk_names[LATENCY_KINDS_NR];

#endif /* ENDPOINTS_LATENCY_H */
