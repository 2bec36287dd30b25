/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"

struct command {
	const char *name;
	json_t *(*run)(struct server *server, json_t *request, struct problem *problem);
	const char *args; /* names of the keys it takes, blank-separated */
	const char *help;
};

/* ---- arguments ---- */

/* An integer in [0, max]; absent: *out stays. */
static bool get_number(json_t *request, const char *key, uint32_t max, uint32_t *out,
		       struct problem *problem)
{
	json_t *value = json_object_get(request, key);

	if (!value)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > max)
		return problem_set(problem, "\"%s\" is not a number from 0 to %u", key,
				   max);
	*out = (uint32_t)json_integer_value(value);
	return true;
}

/* A string; NULL with the problem if it is absent, no string or too long. */
static const char *get_text(json_t *request, const char *key, const char *sample,
			    struct problem *problem)
{
	const char *text = json_string_value(json_object_get(request, key));

	if (text && strlen(text) < DAEMON_VALUE_LEN)
		return text;
	problem_set(problem, "\"%s\" is missing or no string; try \"%s\": \"%s\"", key,
		    key, sample);
	return NULL;
}

static json_t *done(bool ok)
{
	return ok ? json_object() : NULL;
}

/* ---- looking inside ---- */

static json_t *run_stat(struct server *server, json_t *request, struct problem *problem)
{
	(void)request;
	return server_stat(server, problem);
}

static json_t *run_endpoints(struct server *server, json_t *request,
			     struct problem *problem)
{
	(void)request;
	return server_endpoints(server, problem);
}

static json_t *run_domains(struct server *server, json_t *request,
			   struct problem *problem)
{
	(void)request;
	return server_domains(server, problem);
}

static json_t *run_mappings(struct server *server, json_t *request,
			    struct problem *problem)
{
	struct mapping_query query = {.max = 100};

	query.one_domain = json_object_get(request, "domain") != NULL;
	if (!get_number(request, "domain", UINT32_MAX, &query.domain, problem) ||
	    !get_number(request, "skip", UINT32_MAX, &query.skip, problem) ||
	    !get_number(request, "limit", DAEMON_LIST_MAX, &query.max, problem))
		return NULL;
	return server_mappings(server, &query, problem);
}

static json_t *run_faults(struct server *server, json_t *request, struct problem *problem)
{
	uint32_t limit = DAEMON_FAULTS_KEPT;

	if (!get_number(request, "limit", DAEMON_FAULTS_KEPT, &limit, problem))
		return NULL;
	return faults_json(&server->host.faults, limit, now_ns());
}

/* Absent: *out stays. */
static bool get_filter_texts(json_t *request, struct trace_filter *filter,
			     struct problem *problem)
{
	const char *text;

	if (json_object_get(request, "types")) {
		text = get_text(request, "types", "map,unmap,fault", problem);
		if (!text || !trace_parse_types(text, filter, problem))
			return false;
	}
	if (json_object_get(request, "status")) {
		text = get_text(request, "status", "failed", problem);
		if (!text || !trace_parse_status(text, &filter->status, problem))
			return false;
	}
	return true;
}

static json_t *run_trace(struct server *server, json_t *request, struct problem *problem)
{
	struct trace_filter filter = {
		.types = (1u << VIOMMU_REQUEST_TYPES_NR) - 1,
		.faults = true,
		.status = TRACE_ANY_STATUS,
	};

	filter.one_domain = json_object_get(request, "domain") != NULL;
	filter.one_endpoint = json_object_get(request, "endpoint") != NULL;
	if (!get_number(request, "domain", UINT32_MAX, &filter.domain, problem) ||
	    !get_number(request, "endpoint", UINT32_MAX, &filter.endpoint, problem) ||
	    !get_filter_texts(request, &filter, problem))
		return NULL;
	/* A fault has no domain and no status. */
	if ((filter.one_domain || filter.status != TRACE_ANY_STATUS) &&
	    !json_object_get(request, "types"))
		filter.faults = false;
	if (!server_trace(server, &filter, problem))
		return NULL;
	return json_pack("{s:I,s:I}", "now_ns", (json_int_t)now_ns(), "wall_ns",
			 (json_int_t)wall_ns());
}

static json_t *run_trace_stop(struct server *server, json_t *request,
			      struct problem *problem)
{
	(void)request;
	if (traces_end(&server->traces, server->client))
		return json_object();
	problem_set(problem, "this connection has no trace");
	return NULL;
}

static json_t *run_version(struct server *server, json_t *request,
			   struct problem *problem)
{
	(void)server;
	(void)request;
	(void)problem;
	return json_pack("{s:s}", "version", viommu_version());
}

/* ---- changing ---- */

static json_t *run_log_level(struct server *server, json_t *request,
			     struct problem *problem)
{
	const char *text = get_text(request, "level", "debug", problem);
	enum viommu_log_level level;

	if (!text)
		return NULL;
	if (!settings_log_level(text, &level)) {
		problem_set(problem, "level=%.32s is not error, warn, info or debug",
			    text);
		return NULL;
	}
	server_set_log_level(server, level);
	return json_object();
}

static json_t *run_poll(struct server *server, json_t *request, struct problem *problem)
{
	json_t *us = json_object_get(request, "us"), *which;
	const char *text = json_string_value(us);
	struct poll_settings poll;
	char number[24];

	if (json_is_integer(us)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(us));
		text = number;
	}
	if (!text || !settings_poll(text, &poll)) {
		problem_set(problem, "\"us\" is neither \"auto\" nor a number of "
				     "microseconds from 0 to 100000");
		return NULL;
	}
	which = json_object_get(request, "threads");
	if (which && !json_is_string(which)) {
		problem_set(problem,
			    "\"threads\" is no string; try \"threads\": \"all\"");
		return NULL;
	}
	return done(server_set_poll(server, which ? json_string_value(which) : "all",
				    &poll, problem));
}

/* The value of a parameter, in "key=value,key=value"; NULL: absent. */
static char *find_param(char *params, const char *key)
{
	size_t len = strlen(key);

	for (char *p = params; *p; p++) {
		if (!strncmp(p, key, len) && p[len] == '=')
			return p + len + 1;
		/* Past the comma that ends the value; two are one of its own. */
		while (*p && (*p != ',' || p[1] == ','))
			p += *p == ',' ? 2 : 1;
		if (!*p)
			break;
	}
	return NULL;
}

/*
 * fd=0 is the first descriptor that came with the request, whatever its number is
 * here: a client must not name one of viommud's own.
 */
static bool name_descriptors(struct endpoint_settings *settings, json_t *list,
			     struct problem *problem)
{
	char *value = find_param(settings->params, "fd"), *rest, text[64];
	unsigned i, nr = (unsigned)json_array_size(list);
	size_t len, used = 0;

	if (!value && !nr)
		return true;
	rest = value ? value + strcspn(value, ",") : NULL;
	for (i = 0; i < nr; i++)
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "%s%d", i ? "+" : "",
			(int)json_integer_value(json_array_get(list, i)));
	len = rest ? strlen(rest) + 1 : 0;
	if (!nr || !rest || strncmp(value, nr == 2 ? "0+1" : "0", nr == 2 ? 3 : 1) ||
	    rest != value + (nr == 2 ? 3 : 1) || nr > 2 ||
	    (strcmp(settings->type, "blk") && strcmp(settings->type, "nvme")) ||
	    (size_t)(value - settings->params) + used + len > sizeof(settings->params))
		return problem_set(problem,
				   "endpoint %s: a disk takes fd=0 with one "
				   "descriptor, fd=0+1 with two",
				   settings->id);
	memmove(value + used, rest, len);
	memcpy(value, text, used);
	return true;
}

static json_t *run_add(struct server *server, json_t *request, struct problem *problem)
{
	const char *text = get_text(request, "endpoint",
				    "blk,id=disk1,ep=0x28,path=disk.img", problem);
	struct endpoint_settings settings;

	if (!text || !settings_endpoint(&settings, "endpoint", text, problem) ||
	    !settings_validate_endpoint(&settings, problem) ||
	    !name_descriptors(&settings, json_object_get(request, "descriptors"),
			      problem) ||
	    !server_add(server, &settings, problem))
		return NULL;
	return json_pack("{s:o}", "socket",
			 json_text(server_find(server, settings.id)->function.path));
}

static json_t *run_remove(struct server *server, json_t *request, struct problem *problem)
{
	const char *id = get_text(request, "endpoint", "disk1", problem);

	return done(id && server_remove(server, id, problem));
}

static json_t *run_control(struct server *server, json_t *request,
			   struct problem *problem)
{
	const char *id = get_text(request, "endpoint", "disk0", problem);
	const char *verb = id ? get_text(request, "verb", "resize", problem) : NULL;
	json_t *args = json_object_get(request, "args");
	const char *text = args ? json_string_value(args) : "";

	if (!verb)
		return NULL;
	if (!text || strlen(text) >= DAEMON_VALUE_LEN ||
	    strlen(verb) >= DAEMON_NAME_LEN) {
		problem_set(problem, "\"args\" is no string, or too long; try \"args\": "
				     "\"size=20G\"");
		return NULL;
	}
	return done(server_control(server, id, verb, text, problem));
}

static json_t *run_resize(struct server *server, json_t *request, struct problem *problem)
{
	const char *id = get_text(request, "endpoint", "disk0", problem);
	json_t *size = json_object_get(request, "size");
	char args[DAEMON_NAME_LEN + 16];
	int len;

	if (!id)
		return NULL;
	if (json_is_integer(size))
		len = snprintf(args, sizeof(args), "size=%" JSON_INTEGER_FORMAT,
			       json_integer_value(size));
	else
		len = snprintf(args, sizeof(args), "size=%s",
			       json_is_string(size) ? json_string_value(size) : "");
	if (!size || len < 0 || (size_t)len >= sizeof(args) || strchr(args, ',')) {
		problem_set(problem,
			    "\"size\" is missing or no size; try \"size\": \"20G\"");
		return NULL;
	}
	return done(server_control(server, id, "resize", args, problem));
}

static json_t *run_shutdown(struct server *server, json_t *request,
			    struct problem *problem)
{
	(void)request;
	(void)problem;
	server->stopping = true;
	return json_object();
}

static json_t *run_help(struct server *server, json_t *request, struct problem *problem);

static const struct command commands[] = {
	{"help", run_help, "", "what there is"},
	{"version", run_version, "", "of viommud"},
	{"stat", run_stat, "", "all counters"},
	{"endpoints", run_endpoints, "", "endpoints with their counters"},
	{"domains", run_domains, "", "domains with endpoints and sums of mappings"},
	{"mappings", run_mappings, "domain skip limit", "mappings, at most limit (100)"},
	{"faults", run_faults, "limit", "the latest faults, oldest first"},
	{"trace", run_trace, "types status domain endpoint",
	 "requests and faults as they happen, one line each, until trace-stop"},
	{"trace-stop", run_trace_stop, "", "no more of them"},
	{"log-level", run_log_level, "level", "error, warn, info or debug"},
	{"poll", run_poll, "us threads",
	 "how long rings are watched: \"auto\" or microseconds; threads: \"iommu\", "
	 "\"endpoints\" or \"all\""},
	{"add-endpoint", run_add, "endpoint descriptors",
	 "as after --endpoint; fd=0 for a file that is passed"},
	{"remove-endpoint", run_remove, "endpoint", "by its id"},
	{"endpoint-control", run_control, "endpoint verb args",
	 "a command of the endpoint's own, e.g. resize with size=20G"},
	{"resize", run_resize, "endpoint size", "a disk, e.g. \"20G\""},
	{"shutdown", run_shutdown, "", "ends viommud"},
};

#define COMMANDS_NR (sizeof(commands) / sizeof(commands[0]))

static json_t *run_help(struct server *server, json_t *request, struct problem *problem)
{
	json_t *out = json_object();
	unsigned i;

	(void)server;
	(void)request;
	(void)problem;
	for (i = 0; i < COMMANDS_NR; i++)
		json_object_set_new(out, commands[i].name,
				    json_pack("{s:s,s:s}", "takes", commands[i].args,
					      "does", commands[i].help));
	return out;
}

/* Whether word is one of a blank-separated list. */
static bool listed(const char *list, const char *word)
{
	size_t len = strlen(word);
	const char *p;

	for (p = list; (p = strstr(p, word)) != NULL; p += len)
		if ((p == list || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	return false;
}

/* A mistyped key must not pass for a default. */
static bool check_keys(const struct command *command, json_t *request,
		       struct problem *problem)
{
	const char *key;
	json_t *value;

	json_object_foreach(request, key, value)
	{
		if (!strcmp(key, "command") || !strcmp(key, "id") || !*key ||
		    listed(command->args, key))
			continue;
		return problem_set(problem, "%s takes no \"%.32s\"; it takes: %s",
				   command->name, key,
				   command->args[0] ? command->args : "nothing");
	}
	return true;
}

json_t *commands_execute(void *opaque, unsigned client, const char *command,
			 json_t *request, struct problem *problem)
{
	struct server *server = opaque;
	unsigned i;

	server->client = client;
	for (i = 0; i < COMMANDS_NR; i++)
		if (!strcmp(commands[i].name, command)) {
			if (!check_keys(&commands[i], request, problem))
				return NULL;
			return commands[i].run(server, request, problem);
		}
	problem_set(problem, "there is no command \"%.32s\"; try {\"command\": \"help\"}",
		    command);
	return NULL;
}
