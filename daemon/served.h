/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * An emulated device on a socket of its own: its place at the IOMMU, its guest
 * memory, the endpoint itself.
 *
 * Threads: served_create() and served_destroy() run on the IOMMU's thread, with
 * the endpoint not on its loop; the others on the endpoint's thread.
 */
#ifndef DAEMON_SERVED_H
#define DAEMON_SERVED_H

#include <jansson.h>

#include "endpoints/endpoint.h"
#include "function.h"
#include "iommu.h"
#include "loop.h"
#include "settings.h"

struct served {
	struct function function;
	struct endpoint_settings settings;
	/* The endpoint's messages come through here: while it is being made,
	 * errors go to `refused`, so that the one who asked reads them. */
	struct viommu_log sink;
	struct problem *refused;
	struct iommu *iommu;
	struct iommu_port *port; /* NULL: iommu=off */
	struct endpoint *endpoint;
	struct loop *loop; /* the thread that drives it */
	struct loop_member member;
};

/* What the endpoint's constructor logs as an error becomes the problem. The caller sets
 * loop. */
bool served_create(const struct endpoint_settings *settings, struct iommu *iommu,
		   struct host *host, struct served **out, struct problem *problem);
/* Off its loop, see served_quiet(). NULL is allowed. */
void served_destroy(struct served *served);

/* Serves DIR/ID.sock. */
bool served_listen(struct served *served, const char *dir, unsigned mode,
		   struct problem *problem);
/* Ends the connection and waits for transfers under way. */
void served_quiet(struct served *served);

/* What the log has been set to. Any thread. */
void served_set_log_level(struct served *served, enum viommu_log_level level);

/* A new reference. */
json_t *served_stat(struct served *served);

#endif
