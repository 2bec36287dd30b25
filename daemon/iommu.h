/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The virtio-iommu function: the library's device on a virtio-pci transport on
 * a socket, driven by one loop.
 *
 * Threads: all but iommu_wake() and iommu_want_reset() run on the loop's
 * thread, or while it does not run. That thread is the device's control side.
 */
#ifndef DAEMON_IOMMU_H
#define DAEMON_IOMMU_H

#include <jansson.h>

#include "function.h"
#include "loop.h"
#include "settings.h"
#include "trace.h"

struct iommu;

/* Result: true, or the problem. All pointers but settings outlive the IOMMU. */
bool iommu_create(const struct iommu_settings *settings, struct loop *loop,
		  struct host *host, struct iommu **out, struct problem *problem);
/* Endpoints are gone. NULL is allowed. */
void iommu_destroy(struct iommu *iommu);

/* For function_refuse(), on the IOMMU's thread. */
struct function *iommu_function(struct iommu *iommu);
/* Serves DIR/ID.sock. */
bool iommu_listen(struct iommu *iommu, const char *dir, unsigned mode,
		  struct problem *problem);

/* The place of an endpoint at the IOMMU. */
struct iommu_port;
bool iommu_add_port(struct iommu *iommu, const struct endpoint_settings *settings,
		    struct iommu_port **out, struct problem *problem);
void iommu_remove_port(struct iommu *iommu, struct iommu_port *port);
struct viommu_endpoint *iommu_port_endpoint(const struct iommu_port *port);
/* The device behind it was reset; told to the IOMMU on its own thread. Any
 * thread. */
void iommu_want_reset(struct iommu *iommu, struct iommu_port *port);

/* ---- looking inside ---- */

/* Begins to tell a trace of requests; traces outlive the IOMMU. */
void iommu_trace(struct iommu *iommu, struct traces *traces, unsigned place,
		 const struct trace_filter *filter);

/* New references. NULL: out of memory. */
json_t *iommu_stat(struct iommu *iommu);
json_t *iommu_domains(struct iommu *iommu);
/* Endpoints as the IOMMU knows them, by number ("32": {...}). */
json_t *iommu_endpoints(struct iommu *iommu);

struct mapping_query {
	bool one_domain;
	uint32_t domain;
	uint32_t skip, max; /* list entries */
};
/* {"mappings": [...], "more": bool} */
json_t *iommu_mappings(struct iommu *iommu, const struct mapping_query *query);

#endif
