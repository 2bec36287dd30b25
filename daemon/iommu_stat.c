/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The IOMMU's state as JSON. */
#include <stdio.h>
#include <viommu/proto.h>

#include "iommu.h"
#include "iommu_internal.h"
#include "json.h"
#include "names.h"

/* {"map": {"total": 7, "ok": 6, "inval": 1}, ...}; zeroes are left out. */
static json_t *requests_json(const struct viommu_device_stats *stats)
{
	json_t *all = json_object(), *one;
	unsigned type, status;
	uint64_t total;

	for (type = 0; type < VIOMMU_REQUEST_TYPES_NR; type++) {
		one = json_object();
		total = 0;
		for (status = 0; status < VIOMMU_STATUS_NR; status++) {
			total += stats->requests[type][status];
			if (stats->requests[type][status])
				json_put(one, name_status(status),
					 stats->requests[type][status]);
		}
		json_put(one, "total", total);
		json_object_set_new(all, name_request(type), one);
	}
	json_put(all, "unanswered", stats->unanswered);
	return all;
}

static json_t *fault_counts(const struct viommu_device_stats *stats)
{
	json_t *faults = json_object();

	json_put(faults, "unknown", stats->faults[VIRTIO_IOMMU_FAULT_R_UNKNOWN]);
	json_put(faults, "domain", stats->faults[VIRTIO_IOMMU_FAULT_R_DOMAIN]);
	json_put(faults, "mapping", stats->faults[VIRTIO_IOMMU_FAULT_R_MAPPING]);
	json_put(faults, "total", stats->faults[0] + stats->faults[1] + stats->faults[2]);
	json_put(faults, "events_sent", stats->events_sent);
	json_put(faults, "events_dropped", stats->events_dropped);
	json_put(faults, "events_limited", stats->events_limited);
	return faults;
}

static void put_device(json_t *out, const struct viommu_device_stats *stats)
{
	json_put(out, "domains", stats->domains);
	json_put(out, "endpoints", stats->endpoints);
	json_put(out, "mappings", stats->mappings);
	json_put(out, "mapped_bytes", stats->mapped_bytes);
	json_object_set_new(out, "requests", requests_json(stats));
	json_object_set_new(out, "faults", fault_counts(stats));
	json_put(out, "parked", stats->parked);
	json_put(out, "hold_timeouts", stats->hold_timeouts);
	json_put(out, "config_writes_ignored", stats->config_writes_ignored);
}

/* {"map": {...}}; types of which there was none are left out. */
static json_t *latency_json(const struct viommu_device_histograms *h)
{
	json_t *out = json_object();
	unsigned type;

	for (type = 0; type < VIOMMU_REQUEST_TYPES_NR; type++)
		if (h->latency_ns[type].nr)
			json_object_set_new(out, name_request(type),
					    json_histogram(&h->latency_ns[type]));
	return out;
}

json_t *iommu_stat(struct iommu *iommu)
{
	struct viommu_device_histograms histograms;
	struct viommu_virtio_pci_stats virtio;
	struct viommu_device_stats device;
	json_t *out = json_object();

	viommu_device_get_stats(iommu->device, &device);
	viommu_virtio_pci_get_stats(iommu->virtio, &virtio);
	json_object_set_new(out, "id", json_string(iommu->function.name));
	put_device(out, &device);
	viommu_device_get_histograms(iommu->device, &histograms);
	json_object_set_new(out, "latency_ns", latency_json(&histograms));
	json_object_set_new(out, "batch", json_histogram(&histograms.batch));
	json_object_set_new(out, "queues", json_virtio_queues(&virtio, VIOMMU_QUEUES_NR));
	json_object_set_new(out, "socket", json_socket(&iommu->function));
	json_object_set_new(out, "poll", json_loop(iommu->loop));
	return out;
}

/* ---- endpoints and domains ---- */

static bool add_endpoint(void *opaque, const struct viommu_endpoint_info *info)
{
	json_t *one = json_object();
	char key[16];

	snprintf(key, sizeof(key), "%u", info->id);
	json_object_set_new(one, "attached", json_boolean(info->attached));
	json_object_set_new(one, "bypass", json_boolean(info->bypass));
	if (info->attached)
		json_put(one, "domain", info->domain);
	json_put(one, "faults", info->faults);
	json_put(one, "iotlb_hits", info->hits);
	json_put(one, "iotlb_misses", info->misses);
	return !json_object_set_new(opaque, key, one);
}

json_t *iommu_endpoints(struct iommu *iommu)
{
	json_t *out = json_object();

	viommu_device_visit_endpoints(iommu->device, add_endpoint, out);
	return out;
}

/* The entry of a domain in {"0": {...}}, made when new. */
static json_t *domain_entry(json_t *domains, uint32_t domain)
{
	char key[16];
	json_t *one;

	snprintf(key, sizeof(key), "%u", domain);
	one = json_object_get(domains, key);
	if (one)
		return one;
	one = json_pack("{s:[],s:i,s:i,s:b}", "endpoints", "mappings", 0, "bytes", 0,
			"bypass", 0);
	json_object_set_new(domains, key, one);
	return one;
}

static bool add_member(void *opaque, const struct viommu_endpoint_info *info)
{
	json_t *one;

	if (!info->attached)
		return true;
	one = domain_entry(opaque, info->domain);
	json_array_append_new(json_object_get(one, "endpoints"), json_integer(info->id));
	if (info->bypass)
		json_object_set_new(one, "bypass", json_true());
	return true;
}

/* Mappings come domain by domain: one sum at a time is enough. */
struct domain_sum {
	json_t *domains;
	uint32_t domain;
	uint64_t mappings, bytes;
};

static void flush_sum(struct domain_sum *sum)
{
	json_t *one;

	if (!sum->mappings)
		return;
	one = domain_entry(sum->domains, sum->domain);
	json_put(one, "mappings", sum->mappings);
	json_put(one, "bytes", sum->bytes);
	sum->mappings = 0;
	sum->bytes = 0;
}

static bool sum_mapping(void *opaque, const struct viommu_mapping_info *info)
{
	struct domain_sum *sum = opaque;

	if (info->domain != sum->domain)
		flush_sum(sum);
	sum->domain = info->domain;
	sum->mappings++;
	sum->bytes += info->last - info->start + 1;
	return true;
}

json_t *iommu_domains(struct iommu *iommu)
{
	struct domain_sum sum = {.domains = json_object()};

	viommu_device_visit_endpoints(iommu->device, add_member, sum.domains);
	viommu_device_visit_mappings(iommu->device, sum_mapping, &sum);
	flush_sum(&sum);
	return sum.domains;
}

struct mapping_list {
	const struct mapping_query *query;
	uint32_t seen;
	bool more;
	json_t *list;
};

static bool list_mapping(void *opaque, const struct viommu_mapping_info *info)
{
	struct mapping_list *list = opaque;
	char perm[4];

	if (list->query->one_domain && info->domain != list->query->domain)
		return true;
	if (list->seen++ < list->query->skip)
		return true;
	if (json_array_size(list->list) >= list->query->max) {
		list->more = true;
		return false;
	}
	snprintf(perm, sizeof(perm), "%s%s%s",
		 info->flags & VIRTIO_IOMMU_MAP_F_READ ? "r" : "",
		 info->flags & VIRTIO_IOMMU_MAP_F_WRITE ? "w" : "",
		 info->flags & VIRTIO_IOMMU_MAP_F_MMIO ? "m" : "");
	json_array_append_new(list->list,
			      json_pack("{s:I,s:o,s:o,s:o,s:s}", "domain",
					(json_int_t)info->domain, "start",
					json_address(info->start), "last",
					json_address(info->last), "gpa",
					json_address(info->gpa), "flags", perm));
	return true;
}

json_t *iommu_mappings(struct iommu *iommu, const struct mapping_query *query)
{
	struct mapping_list list = {.query = query, .list = json_array()};

	viommu_device_visit_mappings(iommu->device, list_mapping, &list);
	return json_pack("{s:o,s:b}", "mappings", list.list, "more", list.more);
}
