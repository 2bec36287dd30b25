/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "memory.h"
#include "served.h"

/* Transfers under way end when the host's storage answers; looked at each ms. */
#define QUIET_TRIES 30000u

_Static_assert(ENDPOINT_DONE == LOOP_DONE && ENDPOINT_MORE == LOOP_MORE,
	       "a turn's result is passed on as it is");

/* ---- for the loop ---- */

static unsigned messages(void *opaque)
{
	struct served *served = opaque;

	return function_messages(&served->function);
}

static int message_fd(void *opaque)
{
	struct served *served = opaque;

	return function_message_fd(&served->function);
}

static unsigned work(void *opaque, unsigned budget)
{
	struct served *served = opaque;

	return endpoint_poll(served->endpoint, budget);
}

static bool arm(void *opaque)
{
	struct served *served = opaque;

	return endpoint_arm(served->endpoint);
}

static unsigned fds(void *opaque, struct pollfd *fd, unsigned max)
{
	struct served *served = opaque;
	int nr = endpoint_fds(served->endpoint, fd, max);

	return nr > 0 ? (unsigned)nr : 0;
}

static int timeout_ms(void *opaque)
{
	struct served *served = opaque;

	return endpoint_timeout_ms(served->endpoint);
}

static const struct loop_member_ops member_ops = {
	.messages = messages,
	.message_fd = message_fd,
	.work = work,
	.arm = arm,
	.fds = fds,
	.timeout_ms = timeout_ms,
};

static void wake(void *opaque)
{
	struct served *served = opaque;

	loop_wake(served->loop);
}

static uint64_t turn_ns(void *opaque)
{
	struct served *served = opaque;

	return loop_turn_ns(served->loop);
}

/* The server has reset the function already; its cached translations go too. */
static void on_reset(void *opaque, bool gone)
{
	struct served *served = opaque;

	(void)gone;
	if (served->port)
		iommu_want_reset(served->iommu, served->port);
}

static const struct function_ops function_ops = {.reset = on_reset};

/* ---- making one ---- */

static void log_sink(void *opaque, enum viommu_log_level level, const char *msg)
{
	struct served *served = opaque;

	if (served->refused && level == VIOMMU_LOG_ERROR)
		problem_set(served->refused, "%s", msg);
	else
		log_write(served->function.host->log, level, "%s", msg);
}

static bool make_endpoint(struct served *served, struct problem *problem)
{
	struct endpoint_env env = {
		.name = served->function.name,
		.iommu = served->port ? iommu_port_endpoint(served->port) : NULL,
		.mem = served->function.mem,
		.alloc = &memory_alloc,
		.log = &served->sink,
		.wake = wake,
		.turn_ns = turn_ns,
		.opaque = served,
	};
	int r;

	problem->text[0] = 0;
	served->refused = problem;
	r = endpoint_create(served->settings.type, &env, served->settings.params,
			    &served->endpoint);
	served->refused = NULL;
	if (r && !problem->text[0])
		problem_set(problem, "endpoint %s: cannot be made: %s",
			    served->function.name, strerror(-r));
	return !r;
}

static bool make_parts(struct served *served, struct problem *problem)
{
	int r = function_init(&served->function);

	if (r)
		return problem_set(problem, "endpoint %s: %s", served->function.name,
				   strerror(-r));
	if (served->settings.iommu &&
	    !iommu_add_port(served->iommu, &served->settings, &served->port, problem))
		return false;
	if (!make_endpoint(served, problem))
		return false;
	if (!served->settings.msix && viommu_pci_drop_msix(served->endpoint->function))
		return problem_set(problem,
				   "endpoint %s: msix=off: %s has no other interrupt",
				   served->function.name, served->settings.type);
	return true;
}

bool served_create(const struct endpoint_settings *settings, struct iommu *iommu,
		   struct host *host, struct served **out, struct problem *problem)
{
	struct served *served = calloc(1, sizeof(*served));

	if (!served)
		return problem_set(problem, "out of memory");
	served->settings = *settings;
	served->iommu = iommu;
	served->sink = (struct viommu_log){
		.sink = log_sink, .opaque = served, .max_level = log_level(host->log)};
	served->function =
		(struct function){.host = host, .ops = &function_ops, .opaque = served};
	snprintf(served->function.name, sizeof(served->function.name), "%s",
		 settings->id);
	served->member = (struct loop_member){.ops = &member_ops, .opaque = served};
	if (!make_parts(served, problem)) {
		served_destroy(served);
		return false;
	}
	*out = served;
	return true;
}

void served_destroy(struct served *served)
{
	if (!served)
		return;
	function_hang_up(&served->function);
	endpoint_destroy(served->endpoint);
	if (served->port)
		iommu_remove_port(served->iommu, served->port);
	function_close(&served->function);
	free(served);
}

bool served_listen(struct served *served, const char *dir, unsigned mode,
		   struct problem *problem)
{
	return function_listen(&served->function, served->endpoint->function, dir, mode,
			       problem);
}

void served_quiet(struct served *served)
{
	struct timespec ms = {.tv_nsec = 1000000};
	unsigned tries = QUIET_TRIES;

	endpoint_reset(served->endpoint);
	while (endpoint_busy(served->endpoint) && tries--) {
		endpoint_poll(served->endpoint, 64);
		nanosleep(&ms, NULL);
	}
	function_hang_up(&served->function);
}

void served_set_log_level(struct served *served, enum viommu_log_level level)
{
	__atomic_store_n(&served->sink.max_level, level, __ATOMIC_RELAXED);
}

/* ---- looking inside ---- */

static void put_counter(void *opaque, const char *name, uint64_t value)
{
	json_put(opaque, name, value);
}

static void put_latency(void *opaque, const char *name, const struct viommu_histogram *h)
{
	if (h->nr)
		json_object_set_new(opaque, name, json_histogram(h));
}

json_t *served_stat(struct served *served)
{
	json_t *out = json_object(), *counters = json_object(), *latency = json_object();

	json_object_set_new(out, "id", json_string(served->function.name));
	json_object_set_new(out, "type", json_string(served->settings.type));
	if (served->port)
		json_put(out, "ep", served->settings.ep);
	json_object_set_new(out, "thread", json_string(loop_name(served->loop)));
	json_object_set_new(out, "iommu", json_boolean(served->port != NULL));
	endpoint_stats(served->endpoint, put_counter, counters);
	json_object_set_new(out, "counters", counters);
	endpoint_latencies(served->endpoint, put_latency, latency);
	json_object_set_new(out, "latency_ns", latency);
	json_object_set_new(out, "socket", json_socket(&served->function));
	return out;
}
