/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Rings, readers and filters. */
#include <stdlib.h>
#include <string.h>

#include <viommu/proto.h>

#include "names.h"
#include "trace.h"
#include "trace_json.h"

/* ---- filters ---- */

static bool parse_type(const char *name, size_t len, struct trace_filter *filter)
{
	unsigned i;

	if (len == 5 && !memcmp(name, "fault", 5)) {
		filter->faults = true;
		return true;
	}
	for (i = 0; i < VIOMMU_REQUEST_TYPES_NR; i++)
		if (strlen(name_request(i)) == len &&
		    !memcmp(name_request(i), name, len)) {
			filter->types |= 1u << i;
			return true;
		}
	return false;
}

bool trace_parse_types(const char *text, struct trace_filter *filter,
		       struct problem *problem)
{
	size_t len;

	filter->types = 0;
	filter->faults = false;
	for (;; text += len + 1) {
		len = strcspn(text, ",");
		if (!parse_type(text, len, filter))
			return problem_set(problem,
					   "\"types\": %.*s is none of attach, detach, "
					   "map, unmap, probe, unknown, fault",
					   len < 32 ? (int)len : 32, text);
		if (!text[len])
			return true;
	}
}

bool trace_parse_status(const char *text, int *status, struct problem *problem)
{
	unsigned i;

	if (!strcmp(text, "any")) {
		*status = TRACE_ANY_STATUS;
		return true;
	}
	if (!strcmp(text, "failed")) {
		*status = TRACE_NOT_OK;
		return true;
	}
	for (i = 0; i < VIOMMU_STATUS_NR; i++)
		if (!strcmp(text, name_status(i))) {
			*status = (int)i;
			return true;
		}
	return problem_set(problem,
			   "\"status\": %.32s is none of any, ok, failed, ioerr, unsupp, "
			   "deverr, inval, range, noent, fault, nomem",
			   text);
}

static bool went_well(const struct viommu_request_info *info)
{
	return info->answered && !info->status; /* OK is zero */
}

static bool status_fits(const struct trace_filter *filter,
			const struct viommu_request_info *info)
{
	if (filter->status == TRACE_ANY_STATUS)
		return true;
	if (filter->status == TRACE_NOT_OK)
		return !went_well(info);
	return info->answered && info->status == filter->status;
}

static bool names_endpoint(const struct viommu_request_info *info)
{
	return info->type == VIRTIO_IOMMU_T_ATTACH ||
	       info->type == VIRTIO_IOMMU_T_DETACH || info->type == VIRTIO_IOMMU_T_PROBE;
}

/* A MAP or UNMAP is an endpoint's while it is attached to the domain. */
static bool endpoint_fits(const struct trace_ring *ring,
			  const struct viommu_request_info *info)
{
	if (names_endpoint(info))
		return info->endpoint == ring->filter.endpoint;
	return info->type && ring->attached && info->domain == ring->attached_to;
}

static bool fits(const struct trace_ring *ring, const struct viommu_request_info *info)
{
	const struct trace_filter *filter = &ring->filter;

	if (!(filter->types & 1u << info->type) || !status_fits(filter, info))
		return false;
	if (filter->one_domain && (info->domain != filter->domain || !info->type ||
				   info->type == VIRTIO_IOMMU_T_PROBE))
		return false;
	return !filter->one_endpoint || endpoint_fits(ring, info);
}

/* The endpoint goes from domain to domain. */
static void follow(struct trace_ring *ring, const struct viommu_request_info *info)
{
	if (!names_endpoint(info) || info->type == VIRTIO_IOMMU_T_PROBE ||
	    info->endpoint != ring->filter.endpoint || !went_well(info))
		return;
	ring->attached = info->type == VIRTIO_IOMMU_T_ATTACH;
	ring->attached_to = info->domain;
}

/* ---- the IOMMU's thread ---- */

void trace_ring_begin(struct trace_ring *ring, const struct trace_filter *filter,
		      const uint32_t *attached)
{
	ring->filter = *filter;
	ring->attached = attached != NULL;
	ring->attached_to = attached ? *attached : 0;
	atomic_store(&ring->wanted, true);
}

static void put(struct trace_ring *ring, const struct viommu_request_info *info)
{
	/* Its own, and written by nobody else. */
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	/* Acquire: pairs with drop_first(), which has read the place by then. */
	if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) ==
	    DAEMON_TRACE_EVENTS) {
		atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
		return;
	}
	ring->events[head % DAEMON_TRACE_EVENTS] = *info;
	/* Release: pairs with first(): the place is filled in. */
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

bool traces_add(struct traces *traces, const struct viommu_request_info *info)
{
	bool any = false;
	unsigned i;

	for (i = 0; i < DAEMON_TRACES_MAX; i++) {
		struct trace_ring *ring = &traces->ring[i];

		/* A word for itself: what it was set with is this thread's. */
		if (!atomic_load_explicit(&ring->wanted, memory_order_relaxed))
			continue;
		any = true;
		if (ring->filter.one_endpoint)
			follow(ring, info);
		if (fits(ring, info))
			put(ring, info);
	}
	return any;
}

/* ---- the main thread ---- */

void traces_free(struct traces *traces)
{
	unsigned i;

	for (i = 0; i < DAEMON_TRACES_MAX; i++)
		free(traces->ring[i].events);
}

static int place_of(const struct traces *traces, unsigned client)
{
	unsigned i;

	for (i = 0; i < DAEMON_TRACES_MAX; i++)
		if (traces->reader[i].used && traces->reader[i].client == client)
			return (int)i;
	return -1;
}

int traces_find_place(struct traces *traces, unsigned client, struct problem *problem)
{
	struct trace_ring *ring;
	unsigned i = 0;

	if (place_of(traces, client) >= 0) {
		problem_set(problem,
			    "this connection has a trace; \"trace-stop\" ends it");
		return -1;
	}
	while (i < DAEMON_TRACES_MAX && traces->reader[i].used)
		i++;
	if (i == DAEMON_TRACES_MAX) {
		problem_set(problem, "there are %u traces, the most at a time; end one",
			    DAEMON_TRACES_MAX);
		return -1;
	}
	ring = &traces->ring[i];
	if (!ring->events)
		ring->events = calloc(DAEMON_TRACE_EVENTS, sizeof(*ring->events));
	if (ring->events)
		return (int)i;
	problem_set(problem, "out of memory");
	return -1;
}

void traces_begin(struct traces *traces, unsigned place, unsigned client,
		  const struct trace_filter *filter, struct faults *faults)
{
	traces->reader[place] = (struct trace_reader){
		.used = true,
		.client = client,
		.filter = *filter,
		.dropped_told = atomic_load(&traces->ring[place].dropped),
		.next_fault = faults_nr(faults),
	};
}

bool traces_end(struct traces *traces, unsigned client)
{
	int place = place_of(traces, client);

	if (place < 0)
		return false;
	atomic_store(&traces->ring[place].wanted, false);
	traces->reader[place].used = false;
	return true;
}

bool traces_any(const struct traces *traces)
{
	unsigned i;

	for (i = 0; i < DAEMON_TRACES_MAX; i++)
		if (traces->reader[i].used)
			return true;
	return false;
}

/* The oldest event, or NULL. */
static const struct viommu_request_info *first(struct trace_ring *ring)
{
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	/* Acquire: pairs with put(). */
	if (atomic_load_explicit(&ring->head, memory_order_acquire) == tail)
		return NULL;
	return &ring->events[tail % DAEMON_TRACE_EVENTS];
}

static void drop_first(struct trace_ring *ring)
{
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	/* Release: pairs with put(). */
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}

/* The oldest fault that the reader wants; what it does not want is passed over. */
static bool first_fault(struct trace_reader *reader, struct faults *faults,
			struct fault *fault, uint64_t *missed)
{
	const struct trace_filter *filter = &reader->filter;

	if (!filter->faults)
		return false;
	while (faults_next(faults, &reader->next_fault, fault, missed)) {
		if (!filter->one_endpoint || fault->endpoint == filter->endpoint)
			return true;
		reader->next_fault++;
	}
	return false;
}

static size_t tell_dropped(struct trace_reader *reader, struct trace_ring *ring,
			   uint64_t faults_missed, char *buf, size_t room)
{
	uint64_t dropped = atomic_load_explicit(&ring->dropped, memory_order_relaxed);
	uint64_t news = dropped - reader->dropped_told;

	if (!news && !faults_missed)
		return 0;
	reader->dropped_told = dropped;
	return trace_dropped_json(buf, room, news, faults_missed);
}

size_t traces_take(struct traces *traces, unsigned client, struct faults *faults,
		   char *buf, size_t room)
{
	int place = place_of(traces, client);
	const struct viommu_request_info *request;
	struct trace_reader *reader;
	struct trace_ring *ring;
	uint64_t missed = 0;
	struct fault fault;
	size_t len = 0;
	bool faulted;

	if (place < 0)
		return 0;
	reader = &traces->reader[place];
	ring = &traces->ring[place];
	while (room - len >= 2 * TRACE_LINE_LEN_MAX) {
		request = reader->filter.types ? first(ring) : NULL;
		faulted = first_fault(reader, faults, &fault, &missed);
		if (faulted && (!request || fault.time_ns < request->time_ns)) {
			len += trace_fault_json(buf + len, room - len, &fault);
			reader->next_fault++;
		} else if (request) {
			len += trace_request_json(buf + len, room - len, request);
			drop_first(ring);
		} else {
			break;
		}
	}
	return len + tell_dropped(reader, ring, missed, buf + len, room - len);
}
