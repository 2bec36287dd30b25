/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the main thread asks of the others while they run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "server.h"

/* One question to one thread. Made with malloc(), as loop_call() wants. */
struct task {
	struct server *server;
	struct served *served;
	struct served *made; /* that the server does not list yet */
	struct loop *loop;
	json_t *(*ask)(struct task *task); /* NULL: `run` is set instead */
	bool (*run)(struct task *task);
	struct mapping_query query;
	const char *reason; /* static */
	struct endpoint_settings settings;
	struct poll_settings poll;
	struct trace_filter filter;
	unsigned place;		 /* of the trace */
	struct trace_ring *ring; /* the same, once it is filled */
	char verb[DAEMON_NAME_LEN], args[DAEMON_VALUE_LEN];
	json_t *json; /* ask's answer */
	bool ok;      /* run's answer */
	struct problem problem;
};

static void run_task(void *arg)
{
	struct task *task = arg;

	if (task->ask)
		task->json = task->ask(task);
	else
		task->ok = task->run(task);
}

/* An answer that came too late, on the thread that gave it. What it changed stays
 * changed, and shows in stat; what nobody would ever find again goes. */
static void drop_task(void *arg)
{
	struct task *task = arg;

	served_destroy(task->made);
	if (task->ring)
		atomic_store(&task->ring->wanted, false);
	json_decref(task->json);
	free(task);
}

static struct task *new_task(struct server *server, struct loop *loop)
{
	struct task *task = calloc(1, sizeof(*task));

	if (task) {
		task->server = server;
		task->loop = loop;
	}
	return task;
}

/* Runs it on its loop. false: the task is gone, the problem is set. */
static bool call(struct task *task, struct problem *problem)
{
	unsigned timeout_ms;

	if (!task)
		return problem_set(problem, "out of memory");
	timeout_ms = task->server->call_timeout_ms;
	if (loop_call(task->loop, run_task, task, drop_task, timeout_ms))
		return true;
	return problem_set(problem,
			   "a thread of viommud has not answered for %u ms; it may be "
			   "waiting for storage, ask again later",
			   timeout_ms);
}

/* Runs it and hands its answer on. */
static json_t *call_json(struct task *task, struct problem *problem)
{
	json_t *json;

	if (!call(task, problem))
		return NULL;
	json = task->json;
	free(task);
	if (!json)
		problem_set(problem, "out of memory");
	return json;
}

static bool call_bool(struct task *task, struct problem *problem)
{
	bool ok;

	if (!call(task, problem))
		return false;
	ok = task->ok;
	if (!ok)
		*problem = task->problem;
	free(task);
	return ok;
}

/* ---- looking inside ---- */

static json_t *ask_iommu(struct task *task)
{
	return iommu_stat(task->server->iommu);
}

static json_t *ask_iommu_endpoints(struct task *task)
{
	return iommu_endpoints(task->server->iommu);
}

static json_t *ask_domains(struct task *task)
{
	return iommu_domains(task->server->iommu);
}

static json_t *ask_mappings(struct task *task)
{
	return iommu_mappings(task->server->iommu, &task->query);
}

static json_t *ask_loop(struct task *task)
{
	return json_loop(task->loop);
}

static json_t *ask_served(struct task *task)
{
	return served_stat(task->served);
}

static json_t *ask_iommu_loop(struct server *server, json_t *(*ask)(struct task *task),
			      struct problem *problem)
{
	struct task *task = new_task(server, server->iommu_loop);

	if (task)
		task->ask = ask;
	return call_json(task, problem);
}

/* Adds to an endpoint's entry what the IOMMU knows of it. */
static void join(json_t *one, json_t *known)
{
	json_t *ep = json_object_get(one, "ep");
	char key[16];

	if (!ep)
		return;
	snprintf(key, sizeof(key), "%u", (unsigned)json_integer_value(ep));
	json_object_update_missing(one, json_object_get(known, key));
}

json_t *server_endpoints(struct server *server, struct problem *problem)
{
	json_t *known = ask_iommu_loop(server, ask_iommu_endpoints, problem);
	json_t *out = json_array(), *one;
	struct task *task;
	unsigned i;

	for (i = 0; known && i < server->served_nr; i++) {
		task = new_task(server, server->served[i]->loop);
		if (task) {
			task->served = server->served[i];
			task->ask = ask_served;
		}
		one = call_json(task, problem);
		if (!one)
			break;
		join(one, known);
		json_array_append_new(out, one);
	}
	if (known && i == server->served_nr) {
		json_decref(known);
		return out;
	}
	json_decref(known);
	json_decref(out);
	return NULL;
}

static json_t *server_threads(struct server *server, struct problem *problem)
{
	json_t *out = json_array(), *one;
	struct task *task;
	unsigned i;

	for (i = 0; i < server->loops_nr; i++) {
		task = new_task(server, server->loops[i]);
		if (task)
			task->ask = ask_loop;
		one = call_json(task, problem);
		if (!one) {
			json_decref(out);
			return NULL;
		}
		json_array_append_new(out, one);
	}
	return out;
}

json_t *server_stat(struct server *server, struct problem *problem)
{
	json_t *iommu = NULL, *endpoints = NULL, *threads = NULL;

	iommu = ask_iommu_loop(server, ask_iommu, problem);
	if (iommu)
		endpoints = server_endpoints(server, problem);
	if (endpoints)
		threads = server_threads(server, problem);
	if (threads)
		return json_pack(
			"{s:s,s:I,s:o,s:o,s:o}", "version", viommu_version(), "uptime_ms",
			(json_int_t)((now_ns() - server->host.log->start_ns) / 1000000),
			"iommu", iommu, "endpoints", endpoints, "threads", threads);
	json_decref(iommu);
	json_decref(endpoints);
	return NULL;
}

json_t *server_domains(struct server *server, struct problem *problem)
{
	return ask_iommu_loop(server, ask_domains, problem);
}

json_t *server_mappings(struct server *server, const struct mapping_query *query,
			struct problem *problem)
{
	struct task *task = new_task(server, server->iommu_loop);

	if (task) {
		task->ask = ask_mappings;
		task->query = *query;
	}
	return call_json(task, problem);
}

/* ---- traces ---- */

static bool run_trace(struct task *task)
{
	struct traces *traces = &task->server->traces;

	iommu_trace(task->server->iommu, traces, task->place, &task->filter);
	task->ring = &traces->ring[task->place];
	/* What an earlier reader left: until the task is done nobody reads it. */
	atomic_store(&task->ring->tail, atomic_load(&task->ring->head));
	return true;
}

bool server_trace(struct server *server, const struct trace_filter *filter,
		  struct problem *problem)
{
	int place = traces_find_place(&server->traces, server->client, problem);
	struct task *task = NULL;

	if (place < 0)
		return false;
	if (filter->types) {
		task = new_task(server, server->iommu_loop);
		if (task) {
			task->run = run_trace;
			task->place = (unsigned)place;
			task->filter = *filter;
		}
		if (!call_bool(task, problem))
			return false;
	}
	traces_begin(&server->traces, (unsigned)place, server->client, filter,
		     &server->host.faults);
	return true;
}

size_t server_events(void *opaque, unsigned client, char *buf, size_t room)
{
	struct server *server = opaque;

	return traces_take(&server->traces, client, &server->host.faults, buf, room);
}

void server_client_gone(void *opaque, unsigned client)
{
	struct server *server = opaque;

	traces_end(&server->traces, client);
}

/* ---- changing ---- */

static bool run_create(struct task *task)
{
	struct server *server = task->server;

	if (!server_make(server, &task->settings, &task->made, &task->problem))
		return false;
	if (served_listen(task->made, server->settings->socket_dir,
			  server->settings->socket_mode, &task->problem))
		return true;
	served_destroy(task->made);
	task->made = NULL;
	return false;
}

static bool run_join(struct task *task)
{
	loop_add(task->loop, &task->served->member);
	return true;
}

static bool check_new(struct server *server, const struct endpoint_settings *settings,
		      struct problem *problem)
{
	if (server->served_nr == DAEMON_ENDPOINTS_MAX)
		return problem_set(problem,
				   "there are %u endpoints, the most one viommud "
				   "serves; start a second one",
				   DAEMON_ENDPOINTS_MAX);
	if (server_find(server, settings->id) ||
	    !strcmp(settings->id, server->settings->iommu.id))
		return problem_set(problem,
				   "endpoint %s: the id is in use; choose another, or "
				   "remove-endpoint first",
				   settings->id);
	return true;
}

bool server_add(struct server *server, const struct endpoint_settings *settings,
		struct problem *problem)
{
	struct served *served;
	struct task *task;

	if (!check_new(server, settings, problem))
		return false;
	task = new_task(server, server->iommu_loop);
	if (task) {
		task->settings = *settings;
		task->run = run_create;
	}
	if (!call(task, problem))
		return false;
	served = task->made;
	if (!task->ok) {
		*problem = task->problem;
		free(task);
		return false;
	}
	free(task);
	server->served[server->served_nr++] = served;
	task = new_task(server, served->loop);
	if (task) {
		task->served = served;
		task->run = run_join;
	}
	return call_bool(task, problem);
}

static bool run_leave(struct task *task)
{
	loop_remove(task->loop, &task->served->member);
	served_quiet(task->served);
	return true;
}

static bool run_destroy(struct task *task)
{
	served_destroy(task->served);
	return true;
}

static void forget(struct server *server, struct served *served)
{
	unsigned i;

	for (i = 0; i < server->served_nr && server->served[i] != served; i++)
		;
	if (i < server->served_nr)
		server->served[i] = server->served[--server->served_nr];
}

static bool call_served(struct server *server, struct loop *loop, struct served *served,
			bool (*run)(struct task *task), struct problem *problem)
{
	struct task *task = new_task(server, loop);

	if (task) {
		task->served = served;
		task->run = run;
	}
	return call_bool(task, problem);
}

bool server_remove(struct server *server, const char *id, struct problem *problem)
{
	struct served *served = server_find(server, id);

	if (!served)
		return problem_set(problem, "there is no endpoint %s; see `endpoints`",
				   id);
	if (!call_served(server, served->loop, served, run_leave, problem))
		return false;
	forget(server, served);
	return call_served(server, server->iommu_loop, served, run_destroy, problem);
}

static bool run_refuse(struct task *task)
{
	function_refuse(task->served ? &task->served->function
				     : iommu_function(task->server->iommu),
			task->reason);
	return true;
}

void server_refuse_all(struct server *server, const char *reason)
{
	struct problem problem = {0};
	struct served *served;
	struct task *task;

	/* One more than there are endpoints: the IOMMU. */
	for (unsigned i = 0; i <= server->served_nr; i++) {
		served = i ? server->served[i - 1] : NULL;
		task = new_task(server, served ? served->loop : server->iommu_loop);
		if (task) {
			task->served = served;
			task->reason = reason;
			task->run = run_refuse;
		}
		if (!call_bool(task, &problem))
			log_write(server->host.log, VIOMMU_LOG_ERROR, "%s", problem.text);
	}
}

static bool run_control(struct task *task)
{
	int r;

	task->served->refused = &task->problem;
	r = endpoint_control(task->served->endpoint, task->verb, task->args);
	task->served->refused = NULL;
	if (r && !task->problem.text[0])
		problem_set(&task->problem, "%s %s: %s", task->served->function.name,
			    task->verb, strerror(-r));
	return !r;
}

bool server_control(struct server *server, const char *id, const char *verb,
		    const char *args, struct problem *problem)
{
	struct served *served = server_find(server, id);
	struct task *task;

	if (!served)
		return problem_set(problem, "there is no endpoint %s; see `endpoints`",
				   id);
	task = new_task(server, served->loop);
	if (task) {
		task->served = served;
		task->run = run_control;
		snprintf(task->verb, sizeof(task->verb), "%s", verb);
		snprintf(task->args, sizeof(task->args), "%s", args);
	}
	return call_bool(task, problem);
}

static bool run_poll(struct task *task)
{
	unsigned us = task->poll.max_us;

	if (task->loop != task->server->iommu_loop)
		us = endpoint_poll_us(&task->poll);
	loop_set_policy(task->loop, task->poll.automatic, us);
	return true;
}

static bool set_poll(struct server *server, struct loop *loop,
		     const struct poll_settings *poll, struct problem *problem)
{
	struct task *task = new_task(server, loop);

	if (task) {
		task->run = run_poll;
		task->poll = *poll;
	}
	return call_bool(task, problem);
}

bool server_set_poll(struct server *server, const char *which,
		     const struct poll_settings *poll, struct problem *problem)
{
	bool all = !strcmp(which, "all"), ok = true;
	unsigned i;

	if (!all && strcmp(which, "iommu") && strcmp(which, "endpoints"))
		return problem_set(problem,
				   "threads=%.32s is not iommu, endpoints or all", which);
	if (all || !strcmp(which, "iommu"))
		ok = set_poll(server, server->iommu_loop, poll, problem);
	if (all || !strcmp(which, "endpoints"))
		for (i = 0; ok && i < server->loops_nr; i++)
			ok = set_poll(server, server->loops[i], poll, problem);
	return ok;
}
