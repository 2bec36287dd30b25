/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Who is told of requests and faults as they happen, and of which.
 *
 * Each reader has a ring that the IOMMU's thread fills and the main thread empties
 * now and then. Full: the event is dropped and counted, nobody waits. Faults are
 * taken from struct faults, which keeps the latest ones.
 *
 * Threads: as said at each function; a ring's memory stays until the end, so none
 * has to wait for another.
 */
#ifndef DAEMON_TRACE_H
#define DAEMON_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/device.h>

#include "faults.h"
#include "limits.h"
#include "problem.h"

enum { TRACE_ANY_STATUS = -1, TRACE_NOT_OK = -2 };

struct trace_filter {
	unsigned types; /* requests: bits by type, bit 0: unknown ones */
	int status;	/* VIRTIO_IOMMU_S_*, or TRACE_* */
	bool faults;
	bool one_domain, one_endpoint;
	uint32_t domain, endpoint;
};

struct trace_ring {
	/* The IOMMU's thread. */
	struct trace_filter filter;
	bool attached; /* filter.endpoint, to this domain */
	uint32_t attached_to;

	atomic_bool wanted; /* set by the IOMMU's thread, cleared by any */
	/* Written by the IOMMU's thread. */
	_Atomic uint64_t head, dropped;
	_Atomic uint64_t tail; /* written by the main thread */
	struct viommu_request_info
		*events; /* DAEMON_TRACE_EVENTS; main thread makes it */
};

/* The main thread's. */
struct trace_reader {
	bool used;
	unsigned client;
	struct trace_filter filter;
	uint64_t dropped_told;
	uint64_t next_fault; /* number of the next one to look at */
};

struct traces {
	struct trace_ring ring[DAEMON_TRACES_MAX];
	struct trace_reader reader[DAEMON_TRACES_MAX]; /* reader i reads ring i */
};

/* "map,unmap,fault" and the like into filter->types and ->faults. */
bool trace_parse_types(const char *text, struct trace_filter *filter,
		       struct problem *problem);
/* A status by name, "failed" (any but ok) or "any". */
bool trace_parse_status(const char *text, int *status, struct problem *problem);

/* ---- main thread ---- */

void traces_free(struct traces *traces);
/* A free place with its memory; -1 with the problem. */
int traces_find_place(struct traces *traces, unsigned client, struct problem *problem);
/* Takes the place: from now on its events are the client's. */
void traces_begin(struct traces *traces, unsigned place, unsigned client,
		  const struct trace_filter *filter, struct faults *faults);
/* The client wants no more; nothing happens if it has none. true: it had. */
bool traces_end(struct traces *traces, unsigned client);
bool traces_any(const struct traces *traces);
/* Lines of JSON for a client, as many as there are and fit; bytes written. */
size_t traces_take(struct traces *traces, unsigned client, struct faults *faults,
		   char *buf, size_t room);

/* ---- the IOMMU's thread ---- */

/* Begins to fill a ring. attached: where filter->endpoint is now, if it is. */
void trace_ring_begin(struct trace_ring *ring, const struct trace_filter *filter,
		      const uint32_t *attached);
/* Whether anybody wants any. */
bool traces_add(struct traces *traces, const struct viommu_request_info *info);

#endif
