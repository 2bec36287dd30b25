/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cpus.h"
#include "sandbox.h"
#include "server.h"

/* On so many the endpoints have no thread of their own. */
#define CPUS_FEW 2

/* ---- making it ---- */

unsigned endpoint_poll_us(const struct poll_settings *poll)
{
	return poll->automatic ? POLL_AUTO_ENDPOINT_US : poll->max_us;
}

/*
 * A guest that has few CPUs to share with us is served by one thread: a second one
 * takes a virtual CPU's place when both have work, and what one of them has found the
 * other sleeps through.
 */
static bool few_cpus(void)
{
	return cpus_usable(CPUS_MEMBERSHIP, CPUS_GROUPS) <= CPUS_FEW;
}

static bool make_loops(struct server *server, struct problem *problem)
{
	const struct settings *settings = server->settings;
	const struct poll_settings *poll = &settings->iommu.poll;
	char name[32]; /* cut to what a thread may have */
	unsigned threads = settings->threads, i;
	int r;

	server->shared = !threads || (threads == SETTINGS_AUTO && few_cpus());
	if (threads == SETTINGS_AUTO)
		threads = 1; /* for those that must not share, if there are few */
	r = loop_create("iommu", poll->automatic, poll->max_us, &server->iommu_loop);
	poll = &settings->poll;
	for (i = 0; !r && i < threads; i++) {
		snprintf(name, sizeof(name), "endpoints-%u", i);
		r = loop_create(name, poll->automatic, endpoint_poll_us(poll),
				&server->loops[i]);
		if (!r)
			server->loops_nr++;
	}
	if (r)
		return problem_set(problem, "threads cannot be made: %s", strerror(-r));
	return true;
}

/* The thread of an endpoint. */
static struct loop *place(struct server *server, struct served *served)
{
	bool apart = !server->shared || endpoint_blocks(served->endpoint);

	if (!apart || !server->loops_nr)
		return server->iommu_loop;
	return server->loops[server->next_loop++ % server->loops_nr];
}

bool server_make(struct server *server, const struct endpoint_settings *settings,
		 struct served **out, struct problem *problem)
{
	if (!served_create(settings, server->iommu, &server->host, out, problem))
		return false;
	(*out)->loop = place(server, *out);
	return true;
}

static bool make_all(struct server *server, struct problem *problem)
{
	const struct settings *settings = server->settings;
	struct served *served;
	unsigned i;

	if (!make_loops(server, problem) ||
	    !iommu_create(&settings->iommu, server->iommu_loop, &server->host,
			  &server->iommu, problem))
		return false;
	for (i = 0; i < settings->endpoints_nr; i++) {
		if (!server_make(server, &settings->endpoints[i], &served, problem))
			return false;
		server->served[server->served_nr++] = served;
		loop_add(served->loop, &served->member);
	}
	return true;
}

bool server_create(const struct settings *settings, struct log *log, struct server **out,
		   struct problem *problem)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server)
		return problem_set(problem, "out of memory");
	server->settings = settings;
	server->call_timeout_ms = DAEMON_CALL_TIMEOUT_MS;
	server->host.sealed_only = settings->sealed_only;
	if (host_init(&server->host, log)) {
		free(server);
		return problem_set(problem, "no descriptors left");
	}
	if (!make_all(server, problem)) {
		server_destroy(server);
		return false;
	}
	*out = server;
	return true;
}

bool server_listen(struct server *server, struct problem *problem)
{
	const struct settings *settings = server->settings;
	unsigned i;

	if (!iommu_listen(server->iommu, settings->socket_dir, settings->socket_mode,
			  problem))
		return false;
	for (i = 0; i < server->served_nr; i++)
		if (!served_listen(server->served[i], settings->socket_dir,
				   settings->socket_mode, problem))
			return false;
	return true;
}

/* Whether a thread without capabilities may go first, now or from here on. */
static bool limit_allows(void)
{
	struct rlimit limit = {1, 1};

	/* If that is refused, it may be as high already. */
	setrlimit(RLIMIT_RTPRIO, &limit);
	return !getrlimit(RLIMIT_RTPRIO, &limit) && limit.rlim_cur;
}

void server_raise(struct server *server)
{
	struct hurry hurry = {.allowed = false};
	int r;

	if (!server->settings->priority)
		return;
	r = hurry_allow(&hurry);
	if (r) {
		log_write(server->host.log, VIOMMU_LOG_DEBUG,
			  "the IOMMU's thread cannot go before others: %s", strerror(-r));
		return;
	}
	loop_set_hurry(server->iommu_loop, &hurry);
	server->keep_nice = !limit_allows();
}

bool server_start(struct server *server, struct problem *problem)
{
	unsigned i;
	int r = loop_start(server->iommu_loop);

	/* It has inherited the right to go first; nobody else is to. */
	if (server->keep_nice && !sandbox_drop_nice(problem))
		return false;
	for (i = 0; !r && i < server->loops_nr; i++)
		r = loop_start(server->loops[i]);
	if (r)
		return problem_set(problem, "threads cannot be started: %s",
				   strerror(-r));
	return true;
}

void server_open(struct server *server)
{
	unsigned i;

	loop_open(server->iommu_loop);
	for (i = 0; i < server->loops_nr; i++)
		loop_open(server->loops[i]);
}

static void stop_loops(struct server *server)
{
	unsigned i;

	for (i = 0; i < server->loops_nr; i++)
		loop_stop(server->loops[i]);
	if (server->iommu_loop)
		loop_stop(server->iommu_loop);
}

void server_destroy(struct server *server)
{
	unsigned i;

	if (!server)
		return;
	stop_loops(server);
	for (i = 0; i < server->served_nr; i++) {
		loop_remove(server->served[i]->loop, &server->served[i]->member);
		served_quiet(server->served[i]);
		served_destroy(server->served[i]);
	}
	iommu_destroy(server->iommu);
	for (i = 0; i < server->loops_nr; i++)
		loop_destroy(server->loops[i]);
	loop_destroy(server->iommu_loop);
	host_close(&server->host);
	traces_free(&server->traces);
	free(server);
}

struct served *server_find(struct server *server, const char *id)
{
	unsigned i;

	for (i = 0; i < server->served_nr; i++)
		if (!strcmp(server->served[i]->function.name, id))
			return server->served[i];
	return NULL;
}

void server_set_log_level(struct server *server, enum viommu_log_level level)
{
	unsigned i;

	log_set_level(server->host.log, level);
	for (i = 0; i < server->served_nr; i++)
		served_set_log_level(server->served[i], level);
}
