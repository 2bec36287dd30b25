/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Everything viommud serves: one IOMMU with its thread, endpoints on that or
 * others. Used by the main thread only; what belongs to another thread is
 * reached with loop_call().
 */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include <jansson.h>

#include "iommu.h"
#include "served.h"
#include "settings.h"

struct server {
	const struct settings *settings;
	struct host host;
	struct loop *iommu_loop;
	struct loop *loops[DAEMON_THREADS_MAX]; /* endpoints'; none: the IOMMU's */
	unsigned loops_nr, next_loop;
	bool keep_nice; /* the IOMMU's thread needs CAP_SYS_NICE */
	bool shared; /* endpoints are on the IOMMU's thread: all, or unless they block */
	struct iommu *iommu;
	struct served *served[DAEMON_ENDPOINTS_MAX];
	unsigned served_nr;
	struct traces traces;
	unsigned client;	  /* who asked, while a command is executed */
	bool stopping;		  /* a client asked for the end */
	unsigned call_timeout_ms; /* what a thread is waited for */
};

/* Makes everything, opens files, no sockets yet. settings and log outlive the
 * server. On failure there is nothing to destroy. */
bool server_create(const struct settings *settings, struct log *log, struct server **out,
		   struct problem *problem);
bool server_listen(struct server *server, struct problem *problem);
/* Lets the IOMMU's thread go before others, which server_start() leaves to it alone;
 * before rights are given up, but for those that keep_nice says. Goes on without if it
 * is not allowed. */
void server_raise(struct server *server);
/* Starts the threads; they wait for server_open(). */
bool server_start(struct server *server, struct problem *problem);
void server_open(struct server *server);
/* Stops the threads if they run. NULL is allowed. */
void server_destroy(struct server *server);

/* How long a thread of endpoints watches at most. */
unsigned endpoint_poll_us(const struct poll_settings *poll);

/* An endpoint that knows its thread and is not yet driven by it. */
bool server_make(struct server *server, const struct endpoint_settings *settings,
		 struct served **out, struct problem *problem);

struct served *server_find(struct server *server, const char *id);

/* ---- while it runs ---- */

/* Problem: a thread that does not answer, or what the call itself refused. */
bool server_add(struct server *server, const struct endpoint_settings *settings,
		struct problem *problem);
bool server_remove(struct server *server, const char *id, struct problem *problem);
bool server_control(struct server *server, const char *id, const char *verb,
		    const char *args, struct problem *problem);
/* which: "iommu", "endpoints" or "all". */
bool server_set_poll(struct server *server, const char *which,
		     const struct poll_settings *poll, struct problem *problem);
/* Ends all connections; the next VMM may come. reason: static. */
void server_refuse_all(struct server *server, const char *reason);
void server_set_log_level(struct server *server, enum viommu_log_level level);

/* The asking client gets events from now on. */
bool server_trace(struct server *server, const struct trace_filter *filter,
		  struct problem *problem);
/* For struct control_config. */
size_t server_events(void *opaque, unsigned client, char *buf, size_t room);
void server_client_gone(void *opaque, unsigned client);

/* New references, or NULL with the problem. */
json_t *server_stat(struct server *server, struct problem *problem);
json_t *server_endpoints(struct server *server, struct problem *problem);
json_t *server_domains(struct server *server, struct problem *problem);
json_t *server_mappings(struct server *server, const struct mapping_query *query,
			struct problem *problem);

#endif
