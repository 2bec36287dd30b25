/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The operator's side of the virtio block endpoint: commands and counters. */
#include "endpoints/blk/internal.h"
#include "endpoints/options.h"

/* "resize": takes the file's size over; "resize" with size=: sets it. */
static int resize(struct blk *blk, const struct options *args)
{
	static const struct endpoint_option known[] = {{"size", NULL, NULL}, {0}};
	uint64_t size = 0, before = blk->info->capacity;
	int r = options_check(args, known);

	if (!r)
		r = options_size(args, "size", BLOCK_SECTOR, 1ull << 60, &size);
	if (!r)
		r = block_resize(blk->block, size);
	if (!r && blk->info->capacity != before)
		virtio_config_changed(&blk->virtio);
	return r;
}

int blk_command(struct endpoint *ep, const char *verb, const struct options *args)
{
	if (!strcmp(verb, "resize"))
		return resize(to_blk(ep), args);
	return endpoint_err(ep->env.log, EOPNOTSUPP,
			    "%s: no command '%s'; there is: resize", ep->name, verb);
}

void blk_visit_latencies(struct endpoint *ep, endpoint_latency_fn *visit, void *opaque)
{
	latency_visit(&to_blk(ep)->latency, latency_disk_names, visit, opaque);
}

void blk_visit_stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque)
{
	const struct blk *blk = to_blk(ep);
	const struct blk_stats *s = &blk->stats;
	const struct virtio_stats *v = &blk->virtio.stats;
	const struct {
		const char *name;
		uint64_t value;
	} table[] = {
		{"reads", s->reads},
		{"writes", s->writes},
		{"flushes", s->flushes},
		{"get_ids", s->get_ids},
		{"discards", s->discards},
		{"write_zeroes", s->write_zeroes},
		{"unsupported", s->unknown},
		{"read_bytes", s->read_bytes},
		{"write_bytes", s->write_bytes},
		{"errors", s->errors},
		{"blocked", s->blocked},
		{"malformed", v->malformed},
		{"lost", v->lost},
		{"cancelled", s->cancelled},
		{"in_flight", blk->inflight + blk->lost},
		{"in_flight_peak", s->inflight_peak},
		{"kicks", v->kicks},
		{"interrupts", v->interrupts},
		{"polls", s->polls},
		{"resets", v->resets},
		{"capacity_bytes", blk->info->capacity},
	};

	for (unsigned i = 0; i < ARRAY_LEN(table); i++)
		visit(opaque, table[i].name, table[i].value);
}
