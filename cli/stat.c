/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "client.h"
#include "commands.h"
#include "pass.h"
#include "stat_print.h"
#include "until.h"

/* clang-format off */
static const char stat_help[] =
"Usage: viommu stat [--json] [--watch] [--control PATH]\n"
"\n"
"Shows what a running viommud has counted: domains, mappings, requests by kind and\n"
"status, how long they took, faults; of each endpoint translations, messages, kicks and\n"
"how long I/O took; how well watching the rings pays.\n"
"\n"
"  --control PATH  as given to viommud; left out: that of the only `viommu run`\n"
"  --json          the counters as JSON (docs/control-protocol.md), faults included\n"
"  --watch         again every second, until Ctrl-C\n"
"  --interval S    the same every S seconds\n"
"\n"
"Examples\n"
"  viommu stat\n"
"  viommu stat --json --control /run/vm1/control.sock | jq .iommu.requests.map\n";
/* clang-format on */

/* clang-format off */
static const char control_help[] =
"Usage: viommu control [--control PATH] COMMAND [KEY=VALUE...]\n"
"\n"
"Sends one command to a running viommud and prints its answer as JSON.\n"
"\n"
"  viommu control help                          what there is\n"
"  viommu control endpoints\n"
"  viommu control mappings domain=1 limit=20\n"
"  viommu control faults\n"
"  viommu control poll us=0 threads=iommu       0: never watch; auto: as long as it pays\n"
"  viommu control add-endpoint endpoint=blk,id=disk1,ep=0x28,backend=null,size=1G\n"
"  viommu control remove-endpoint endpoint=disk1\n"
"  viommu control resize endpoint=disk0 size=20G\n"
"  viommu control log-level level=debug\n"
"  viommu control shutdown\n";
/* clang-format on */

struct options {
	const char *control, *interval;
	bool json, watch, help;
	double seconds; /* interval, as a number */
};

static json_t *call(struct client *client, const char *command)
{
	return client_call(client, json_pack("{s:s}", "command", command));
}

static void show(const struct options *options, json_t *stat, json_t *faults)
{
	if (options->json) {
		json_object_set(stat, "faults", faults);
		json_dumpf(stat, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
		putchar('\n');
		return;
	}
	if (options->watch && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	stat_print(stdout, stat);
	stat_print_faults(stdout, faults);
}

static int show_once(const struct options *options, struct client *client)
{
	json_t *stat = call(client, "stat"), *faults = NULL;

	if (stat)
		faults = call(client, "faults");
	if (faults)
		show(options, stat, faults);
	else if (!until_ended())
		args_refuse("stat", "%s", client->error);
	json_decref(stat);
	json_decref(faults);
	return faults && !fflush(stdout) ? STATUS_OK : STATUS_FAILED;
}

static int show_all(const struct options *options, struct client *client)
{
	int status;

	if (options->watch)
		until_catch();
	do {
		status = show_once(options, client);
		if (until_ended())
			return STATUS_OK;
		if (status || !options->watch)
			return status;
	} while (until_rest(options->seconds));
	return STATUS_OK;
}

static bool check(struct options *options)
{
	char *end;

	options->seconds = 1;
	if (!options->interval)
		return true;
	options->watch = true;
	options->seconds = strtod(options->interval, &end);
	return (!*end && options->seconds >= 0.05 && options->seconds <= 86400) ||
	       args_refuse("stat",
			   "--interval %s is no number of seconds from 0.05 to 86400; "
			   "try --interval 1",
			   options->interval);
}

int command_stat(int argc, char **argv)
{
	struct options options = {0};
	const struct arg table[] = {
		{"control", ARG_TEXT, &options.control, "/run/vm1/control.sock"},
		{"interval", ARG_TEXT, &options.interval, "1"},
		{"json", ARG_FLAG, &options.json, NULL},
		{"watch", ARG_FLAG, &options.watch, NULL},
		{"help", ARG_FLAG, &options.help, NULL},
		{0},
	};
	struct args_rest rest;
	struct client client;
	int status;

	if (!args_parse("stat", argc, argv, table, &rest))
		return STATUS_USE;
	if (options.help) {
		fputs(stat_help, stdout);
		return STATUS_OK;
	}
	if (rest.nr) {
		args_refuse("stat", "%s: what is that? Options start with --",
			    rest.item[0]);
		return STATUS_USE;
	}
	if (!check(&options))
		return STATUS_USE;
	status = client_open_or_find(&client, "stat", options.control);
	if (status)
		return status;
	status = show_all(&options, &client);
	client_close(&client);
	return status;
}

/* ---- viommu control ---- */

/* KEY=VALUE; a whole number becomes one. */
static bool add_argument(json_t *request, const char *text)
{
	const char *equals = strchr(text, '='), *value;
	char key[64], *end;
	long long number;

	if (!equals || equals == text || (size_t)(equals - text) >= sizeof(key))
		return args_refuse("control",
				   "%s is not KEY=VALUE; viommu control --help "
				   "shows examples",
				   text);
	memcpy(key, text, (size_t)(equals - text));
	key[equals - text] = 0;
	value = equals + 1;
	number = strtoll(value, &end, 0);
	if (*value && !*end)
		json_object_set_new(request, key, json_integer(number));
	else
		json_object_set_new(request, key, json_string(value));
	return true;
}

/* viommud cannot open files behind its filter: what an endpoint needs is opened
 * here. */
static bool open_files(json_t *request, struct passed *passed)
{
	const char *command = json_string_value(json_object_get(request, "command"));
	const char *endpoint = json_string_value(json_object_get(request, "endpoint"));
	char text[2048];

	passed->nr = 0;
	if (strcmp(command, "add-endpoint") || !endpoint)
		return true;
	if (!pass_open(passed, endpoint, text, sizeof(text)))
		return args_refuse("control", "%s", passed->error);
	json_object_set_new(request, "endpoint", json_string(text));
	if (passed->nr)
		json_object_set_new(request, "descriptors", json_integer(passed->nr));
	return true;
}

static int control(struct client *client, json_t *request)
{
	struct passed passed;
	json_t *result;

	if (!open_files(request, &passed)) {
		json_decref(request);
		return STATUS_FAILED;
	}
	result = client_call_with(client, request, passed.fd, passed.nr);
	pass_close(&passed);

	if (!result) {
		args_refuse("control", "%s", client->error);
		return STATUS_FAILED;
	}
	json_dumpf(result, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(result);
	return STATUS_OK;
}

static int run_control(const char *path, const struct args_rest *rest)
{
	json_t *request = json_pack("{s:s}", "command", rest->item[0]);
	struct client client;
	int i, status;

	for (i = 1; i < rest->nr; i++)
		if (!add_argument(request, rest->item[i])) {
			json_decref(request);
			return STATUS_USE;
		}
	status = client_open_or_find(&client, "control", path);
	if (status) {
		json_decref(request);
		return status;
	}
	status = control(&client, request);
	client_close(&client);
	return status;
}

int command_control(int argc, char **argv)
{
	const char *path = NULL;
	bool help = false;
	const struct arg table[] = {
		{"control", ARG_TEXT, &path, "/run/vm1/control.sock"},
		{"help", ARG_FLAG, &help, NULL},
		{0},
	};
	struct args_rest rest;

	if (!args_parse("control", argc, argv, table, &rest))
		return STATUS_USE;
	if (help) {
		fputs(control_help, stdout);
		return STATUS_OK;
	}
	if (!rest.nr) {
		args_refuse("control", "which command? viommu control help lists them");
		return STATUS_USE;
	}
	return run_control(path, &rest);
}
