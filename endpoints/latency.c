/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/latency.h"

const char *const latency_disk_names[LATENCY_KINDS_NR] = {
	[LATENCY_READ] = "read", [LATENCY_WRITE] = "write", [LATENCY_OTHER] = "other"};

static void add_runs(struct latency_one *one, uint64_t now_ns)
{
	for (struct latency_run *run = one->run; run <= one->last; run++)
		viommu_histogram_add(&one->ns,
				     now_ns > run->from_ns ? now_ns - run->from_ns : 0,
				     run->nr);
	one->last = NULL;
}

void latency_begin_run(struct latency *l, enum latency_kind kind, uint64_t from_ns)
{
	struct latency_one *one = &l->kind[kind];

	if (one->last == &one->run[LATENCY_RUNS_MAX - 1])
		add_runs(one, endpoint_now_ns());
	one->last = one->last ? one->last + 1 : one->run;
	*one->last = (struct latency_run){from_ns, 1};
	l->waiting |= 1u << kind;
}

void latency_add(struct latency *l, uint64_t now_ns)
{
	for (; l->waiting; l->waiting &= l->waiting - 1)
		add_runs(&l->kind[__builtin_ctz(l->waiting)], now_ns);
}

void latency_forget(struct latency *l)
{
	for (unsigned i = 0; i < LATENCY_KINDS_NR; i++)
		l->kind[i].last = NULL;
	l->waiting = 0;
}

void latency_visit(const struct latency *l, const char *const names[LATENCY_KINDS_NR],
		   endpoint_latency_fn *visit, void *opaque)
{
	for (unsigned i = 0; i < LATENCY_KINDS_NR; i++)
		if (names[i])
			visit(opaque, names[i], &l->kind[i].ns);
}
