/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* viommu trace: requests and faults as they happen. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "args.h"
#include "client.h"
#include "commands.h"
#include "stream.h"
#include "trace_print.h"
#include "until.h"

/* clang-format off */
static const char help[] =
"Usage: viommu trace [OPTION...]\n"
"\n"
"Shows requests of the guest's driver and faults as they happen, until Ctrl-C. The\n"
"daemon never waits for this program: what is not read in time is lost, and said so.\n"
"\n"
"  --type LIST     attach, detach, map, unmap, probe, unknown, fault; with commas\n"
"  --faults        the same as --type fault\n"
"  --status WHICH  ok, failed, or a status: inval, range, noent, nomem, ...\n"
"  --domain N      requests for this domain\n"
"  --endpoint WHAT those that name it (id or number), its faults, and MAP and UNMAP in\n"
"                  the domain it is attached to\n"
"  --count N       ends after N lines\n"
"  --for SECONDS   ends after that time\n"
"  --json          lines as they come from the daemon (docs/control-protocol.md)\n"
"  --utc           not the time of this place\n"
"  --control PATH  as given to viommud; left out: that of the only `viommu run`\n"
"\n"
"Examples\n"
"  viommu trace --type map,unmap --endpoint disk0 --count 20\n"
"  viommu trace --faults\n"
"  viommu trace --status failed --json --for 60 | jq .type\n";
/* clang-format on */

struct options {
	const char *control, *type, *status, *domain, *endpoint, *count, *seconds;
	bool faults, json, utc, help;
	/* the same, as numbers */
	unsigned long long count_nr; /* 0: no end */
	double seconds_nr;	     /* 0: no end */
};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the request ---- */

/* A whole number from 0 to 2^32 - 1. */
static bool parse_number(const char *text, uint32_t *out)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || !*text || *end || *text == '-' || value > UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

/* The number of an endpoint that was given by its id. */
static bool find_endpoint(struct client *client, const char *id, uint32_t *out)
{
	json_t *list = client_call(client, json_pack("{s:s}", "command", "endpoints"));
	json_t *one, *ep = NULL;
	const char *name;
	size_t i;

	if (!list)
		return args_refuse("trace", "%s", client->error);
	for (i = 0; !ep && (one = json_array_get(list, i)) != NULL; i++) {
		name = json_string_value(json_object_get(one, "id"));
		if (name && !strcmp(name, id))
			ep = json_object_get(one, "ep");
	}
	if (ep)
		*out = (uint32_t)json_integer_value(ep);
	json_decref(list);
	return ep || args_refuse("trace",
				 "--endpoint %s: none behind the IOMMU is called that; "
				 "viommu stat lists them",
				 id);
}

static bool add_places(const struct options *options, struct client *client,
		       json_t *request)
{
	uint32_t number = 0;

	if (options->domain) {
		parse_number(options->domain, &number);
		json_object_set_new(request, "domain", json_integer(number));
	}
	if (options->endpoint) {
		if (!parse_number(options->endpoint, &number) &&
		    !find_endpoint(client, options->endpoint, &number))
			return false;
		json_object_set_new(request, "endpoint", json_integer(number));
	}
	return true;
}

static json_t *make_request(const struct options *options, struct client *client)
{
	json_t *request = json_pack("{s:s}", "command", "trace");

	if (options->faults)
		json_object_set_new(request, "types", json_string("fault"));
	else if (options->type)
		json_object_set_new(request, "types", json_string(options->type));
	if (options->status)
		json_object_set_new(request, "status", json_string(options->status));
	if (add_places(options, client, request))
		return request;
	json_decref(request);
	return NULL;
}

/* ---- lines ---- */

/* Whether it was one that counts. */
static bool show(const struct options *options, char *line, int64_t wall_ns)
{
	json_t *event;

	if (options->json) {
		puts(line);
		return !strstr(line, "\"event\":\"dropped\"");
	}
	event = json_loads(line, 0, NULL);
	if (!event)
		return false;
	trace_print(stdout, event, wall_ns, options->utc);
	json_decref(event);
	return !strstr(line, "\"event\":\"dropped\"");
}

static int wait_ms(const struct options *options, double end_s)
{
	double left = end_s - now_s();

	if (!options->seconds_nr)
		return 1000;
	return left <= 0 ? 0 : left > 1 ? 1000 : (int)(left * 1000) + 1;
}

static int follow(const struct options *options, struct client *client, int64_t wall_ns)
{
	double end_s = now_s() + options->seconds_nr;
	unsigned long long seen = 0;
	static struct stream stream;
	enum stream_result r;
	char *line;

	stream = (struct stream){.fd = client->fd};
	while (!until_ended() && !(options->seconds_nr && now_s() >= end_s)) {
		r = stream_next(&stream, wait_ms(options, end_s), &line);
		if (r == STREAM_ENDED) {
			fflush(stdout);
			args_refuse("trace", "viommud has ended");
			return STATUS_FAILED;
		}
		if (r == STREAM_LINE)
			seen += show(options, line, wall_ns);
		if (!stream_has(&stream) && fflush(stdout))
			return STATUS_FAILED;
		if (options->count_nr && seen >= options->count_nr)
			break;
	}
	return fflush(stdout) ? STATUS_FAILED : STATUS_OK;
}

static int run(const struct options *options, struct client *client)
{
	json_t *request = make_request(options, client), *result;
	int64_t wall_ns;

	if (!request)
		return STATUS_FAILED;
	result = client_call(client, request);
	if (!result) {
		args_refuse("trace", "%s", client->error);
		return STATUS_FAILED;
	}
	wall_ns = json_integer_value(json_object_get(result, "wall_ns")) -
		  json_integer_value(json_object_get(result, "now_ns"));
	json_decref(result);
	until_catch();
	return follow(options, client, wall_ns);
}

/* ---- options ---- */

static bool check(struct options *options)
{
	uint32_t domain;
	char *end;

	if (options->faults && options->type)
		return args_refuse("trace",
				   "--faults and --type: one of them; try --type "
				   "map,fault");
	if (options->domain && !parse_number(options->domain, &domain))
		return args_refuse("trace", "--domain %s is no number; try --domain 1",
				   options->domain);
	if (options->count) {
		errno = 0;
		options->count_nr = strtoull(options->count, &end, 10);
		if (errno || !options->count_nr || *end || options->count[0] == '-')
			return args_refuse(
				"trace",
				"--count %s is no number of lines; try --count "
				"20",
				options->count);
	}
	if (options->seconds) {
		options->seconds_nr = strtod(options->seconds, &end);
		if (*end || !(options->seconds_nr > 0 && options->seconds_nr < 1e9))
			return args_refuse("trace",
					   "--for %s is no number of seconds; try --for "
					   "10",
					   options->seconds);
	}
	return true;
}

int command_trace(int argc, char **argv)
{
	struct options options = {0};
	const struct arg table[] = {
		{"control", ARG_TEXT, &options.control, "/run/vm1/control.sock"},
		{"type", ARG_TEXT, &options.type, "map,unmap"},
		{"faults", ARG_FLAG, &options.faults, NULL},
		{"status", ARG_TEXT, &options.status, "failed"},
		{"domain", ARG_TEXT, &options.domain, "1"},
		{"endpoint", ARG_TEXT, &options.endpoint, "disk0"},
		{"count", ARG_TEXT, &options.count, "20"},
		{"for", ARG_TEXT, &options.seconds, "10"},
		{"json", ARG_FLAG, &options.json, NULL},
		{"utc", ARG_FLAG, &options.utc, NULL},
		{"help", ARG_FLAG, &options.help, NULL},
		{0},
	};
	struct args_rest rest;
	struct client client;
	int status;

	if (!args_parse("trace", argc, argv, table, &rest))
		return STATUS_USE;
	if (options.help) {
		fputs(help, stdout);
		return STATUS_OK;
	}
	if (rest.nr) {
		args_refuse("trace", "%s: what is that? Options start with --",
			    rest.item[0]);
		return STATUS_USE;
	}
	if (!check(&options))
		return STATUS_USE;
	status = client_open_or_find(&client, "trace", options.control);
	if (status)
		return status;
	status = run(&options, &client);
	client_close(&client);
	return status;
}
