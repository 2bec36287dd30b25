/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

void json_put(json_t *object, const char *key, uint64_t value)
{
	if (value > INT64_MAX)
		value = INT64_MAX;
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

json_t *json_text(const char *text)
{
	json_t *out = json_string(text);
	char *copy, *p;

	if (out)
		return out;
	copy = strdup(text);
	for (p = copy; p && *p; p++)
		if ((unsigned char)*p > 127)
			*p = '?';
	out = json_string(copy);
	free(copy);
	return out;
}

json_t *json_address(uint64_t address)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	return json_string(text);
}

json_t *json_histogram(const struct viommu_histogram *h)
{
	json_t *out = json_object(), *buckets = json_array();
	uint64_t from, to;
	unsigned i;

	json_put(out, "nr", h->nr);
	json_put(out, "sum", h->sum);
	json_put(out, "max", h->max);
	for (i = 0; i < VIOMMU_HISTOGRAM_BUCKETS; i++) {
		if (!h->bucket[i])
			continue;
		from = viommu_histogram_first(i);
		to = viommu_histogram_first(i + 1) - 1;
		if (i + 1 == VIOMMU_HISTOGRAM_BUCKETS && to < h->max)
			to = h->max;
		json_array_append_new(buckets, json_pack("[I,I,I]", (json_int_t)from,
							 (json_int_t)to,
							 (json_int_t)h->bucket[i]));
	}
	json_object_set_new(out, "buckets", buckets);
	return out;
}

json_t *json_virtio_queues(const struct viommu_virtio_pci_stats *stats, unsigned nr)
{
	json_t *queues = json_array(), *one;
	unsigned i;

	for (i = 0; i < nr; i++) {
		one = json_object();
		json_put(one, "kicks", stats->kicks[i]);
		json_put(one, "irqs", stats->irqs[i]);
		json_array_append_new(queues, one);
	}
	return queues;
}

json_t *json_socket(const struct function *function)
{
	struct viommu_vfu_stats stats = {0};
	json_t *out = json_object();

	if (function->vfu)
		viommu_vfu_get_stats(function->vfu, &stats);
	json_object_set_new(out, "path", json_text(function->path));
	json_object_set_new(
		out, "connected",
		json_boolean(function->vfu && viommu_vfu_is_connected(function->vfu)));
	json_put(out, "connections", stats.connections);
	json_put(out, "messages", stats.messages);
	json_put(out, "posted_writes", stats.posted_writes);
	json_put(out, "protocol_errors", stats.protocol_errors);
	json_put(out, "dma_maps", stats.dma_maps);
	json_put(out, "dma_unmaps", stats.dma_unmaps);
	json_put(out, "irqs", stats.irqs);
	return out;
}

json_t *json_loop(const struct loop *loop)
{
	struct loop_stats stats;
	json_t *out = json_object();

	loop_get_stats(loop, &stats);
	json_object_set_new(out, "policy",
			    json_string(stats.policy.automatic ? "auto" : "fixed"));
	json_put(out, "max_us", stats.policy.max_ns / 1000);
	json_object_set_new(out, "crowded", json_boolean(stats.policy.crowded));
	json_put(out, "window_ns", policy_window(&stats.policy));
	json_put(out, "gap_ns", stats.policy.gap_ns);
	json_put(out, "polls", stats.policy.polls);
	json_put(out, "found", stats.policy.found);
	json_put(out, "missed", stats.policy.missed);
	json_put(out, "sleeps", stats.policy.sleeps);
	json_put(out, "wakes", stats.wakes);
	json_put(out, "turns", stats.turns);
	json_put(out, "watched_us", stats.watched_ns / 1000);
	json_put(out, "busy_us", stats.busy_ns / 1000);
	return out;
}
