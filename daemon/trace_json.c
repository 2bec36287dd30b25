/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include <viommu/proto.h>

#include "names.h"
#include "trace_json.h"

/* A line that is being written. */
struct line {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *fmt,
						      ...)
{
	va_list list;
	int n;

	va_start(list, fmt);
	n = vsnprintf(line->at, line->left, fmt, list);
	va_end(list);
	if (n < 0)
		return;
	if ((size_t)n >= line->left) /* TRACE_LINE_LEN_MAX says that this cannot be */
		n = line->left ? (int)line->left - 1 : 0;
	line->at += n;
	line->left -= (size_t)n;
}

static void add_range(struct line *line, const struct viommu_request_info *info)
{
	add(line, ",\"start\":\"0x%" PRIx64 "\",\"last\":\"0x%" PRIx64 "\"", info->start,
	    info->last);
	if (info->type != VIRTIO_IOMMU_T_MAP)
		return;
	add(line, ",\"gpa\":\"0x%" PRIx64 "\",\"flags\":\"%s%s%s\"", info->gpa,
	    info->flags & VIRTIO_IOMMU_MAP_F_READ ? "r" : "",
	    info->flags & VIRTIO_IOMMU_MAP_F_WRITE ? "w" : "",
	    info->flags & VIRTIO_IOMMU_MAP_F_MMIO ? "m" : "");
}

static void add_subject(struct line *line, const struct viommu_request_info *info)
{
	switch (info->type) {
	case VIRTIO_IOMMU_T_ATTACH:
	case VIRTIO_IOMMU_T_DETACH:
		add(line, ",\"domain\":%u,\"endpoint\":%u", info->domain, info->endpoint);
		if (info->type == VIRTIO_IOMMU_T_ATTACH)
			add(line, ",\"flags\":\"%s\"",
			    info->flags & VIRTIO_IOMMU_ATTACH_F_BYPASS ? "bypass" : "");
		break;
	case VIRTIO_IOMMU_T_MAP:
	case VIRTIO_IOMMU_T_UNMAP:
		add(line, ",\"domain\":%u", info->domain);
		add_range(line, info);
		break;
	case VIRTIO_IOMMU_T_PROBE:
		add(line, ",\"endpoint\":%u", info->endpoint);
		break;
	default:
		break;
	}
}

size_t trace_request_json(char *buf, size_t room, const struct viommu_request_info *info)
{
	struct line line = {buf, room};

	add(&line, "{\"event\":\"request\",\"time_ns\":%" PRIu64 ",\"type\":\"%s\"",
	    info->time_ns, name_request(info->type));
	add_subject(&line, info);
	add(&line, ",\"status\":\"%s\",\"duration_ns\":%" PRIu64,
	    info->answered ? name_status(info->status) : "unanswered", info->duration_ns);
	if (info->parked)
		add(&line, ",\"parked\":true");
	add(&line, "}\n");
	return (size_t)(line.at - buf);
}

size_t trace_fault_json(char *buf, size_t room, const struct fault *fault)
{
	struct line line = {buf, room};

	add(&line,
	    "{\"event\":\"fault\",\"time_ns\":%" PRIu64
	    ",\"endpoint\":%u,\"reason\":\"%s\",\"access\":\"%s%s\"",
	    fault->time_ns, fault->endpoint, name_reason(fault->reason),
	    fault->flags & VIRTIO_IOMMU_FAULT_F_READ ? "r" : "",
	    fault->flags & VIRTIO_IOMMU_FAULT_F_WRITE ? "w" : "");
	if (fault->flags & VIRTIO_IOMMU_FAULT_F_ADDRESS)
		add(&line, ",\"address\":\"0x%" PRIx64 "\"", fault->address);
	add(&line, "}\n");
	return (size_t)(line.at - buf);
}

size_t trace_dropped_json(char *buf, size_t room, uint64_t requests, uint64_t faults)
{
	struct line line = {buf, room};

	add(&line,
	    "{\"event\":\"dropped\",\"requests\":%" PRIu64 ",\"faults\":%" PRIu64 "}\n",
	    requests, faults);
	return (size_t)(line.at - buf);
}
