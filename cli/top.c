/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* viommu top: what daemons do, live. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "args.h"
#include "client.h"
#include "commands.h"
#include "top.h"
#include "until.h"

/* clang-format off */
static const char help[] =
"Usage: viommu top [OPTION...]\n"
"\n"
"Shows live what running viommuds do: requests by kind, how long they take, kicks and\n"
"interrupts; of each endpoint I/O, how long it takes, bytes, translations and how many of\n"
"them hit, faults.\n"
"\n"
"  --control PATH  as given to viommud, may be repeated; left out: those of all\n"
"                  `viommu run`s\n"
"  --name NAME     of these the one that was started with --name NAME\n"
"  --delay S       seconds between two looks (1)\n"
"  --sort BY       io, bytes, translations, faults, name\n"
"  --batch         pictures one after another, as it is when this is no terminal,\n"
"                  or one that can only add lines (TERM=dumb)\n"
"  -n, --count N   ends after N pictures\n"
"\n"
"Keys: q end, space pause, s sort by something else, d other delay, ? help\n"
"\n"
"Examples\n"
"  viommu top\n"
"  viommu top --batch -n 10 --delay 5 >> log\n";
/* clang-format on */

struct options {
	struct arg_list control;
	const char *name, *delay, *sort, *count;
	bool batch, help;
};

/* One daemon that is watched. */
struct watched {
	char path[CLIENT_PATH_LEN];
	char name[64];
	struct client client; /* fd -1: it has ended */
	json_t *before, *now; /* owned; NULL: not asked yet */
	double before_s, now_s;
};

struct top {
	struct watched daemon[TOP_DAEMONS_MAX];
	unsigned nr;
	struct top_look look;
	unsigned long pictures; /* left; 0: no end */
	char error[384];	/* what the last one that ended said */
};

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- which ---- */

/* ".../viommu-NAME-XXXXXX/control.sock" is NAME; else the file, or its folder. */
static void name_daemon(const char *path, char name[64])
{
	const char *file = strrchr(path, '/'), *dir = file;
	int len;

	file = file ? file + 1 : path;
	if (strncmp(file, "control", 7) || file - 1 <= path || !dir) {
		snprintf(name, 64, "%s", file);
		return;
	}
	while (dir > path && dir[-1] != '/')
		dir--;
	len = (int)(file - 1 - dir);
	if (len > 14 && !strncmp(dir, "viommu-", 7) && dir[len - 7] == '-') {
		dir += 7;
		len -= 14;
	}
	snprintf(name, 64, "%.*s", len, dir);
}

static bool add(struct top *top, const char *path)
{
	struct watched *w = &top->daemon[top->nr];

	if (top->nr == TOP_DAEMONS_MAX)
		return args_refuse("top",
				   "more than %u daemons; name some with --control",
				   TOP_DAEMONS_MAX);
	if (strlen(path) >= sizeof(w->path))
		return args_refuse("top", "--control %.64s...: too long", path);
	memcpy(w->path, path, strlen(path) + 1);
	name_daemon(path, w->name);
	if (!client_open(&w->client, path))
		return args_refuse("top", "%s", w->client.error);
	top->nr++;
	return true;
}

static bool find_all(struct top *top, const char *name)
{
	static char paths[TOP_DAEMONS_MAX][CLIENT_PATH_LEN];
	unsigned nr = client_find_all(paths, TOP_DAEMONS_MAX), i;
	char found[64];

	for (i = 0; i < nr; i++) {
		name_daemon(paths[i], found);
		if ((!name || !strcmp(name, found)) && !add(top, paths[i]))
			return false;
	}
	if (top->nr)
		return true;
	return name ? args_refuse("top",
				  "--name %s: no `viommu run` of that name is "
				  "running",
				  name)
		    : args_refuse("top", "no `viommu run` is running; give --control "
					 "PATH, as given to viommud");
}

static bool open_all(struct top *top, const struct options *options)
{
	unsigned i;

	if (!options->control.nr)
		return find_all(top, options->name);
	for (i = 0; i < options->control.nr; i++)
		if (!add(top, options->control.item[i]))
			return false;
	return true;
}

static void close_all(struct top *top)
{
	unsigned i;

	for (i = 0; i < top->nr; i++) {
		client_close(&top->daemon[i].client);
		json_decref(top->daemon[i].before);
		json_decref(top->daemon[i].now);
	}
}

/* ---- samples ---- */

static void look_at(struct top *top, struct watched *w)
{
	json_t *stat;

	if (w->client.fd < 0)
		return;
	stat = client_call(&w->client, json_pack("{s:s}", "command", "stat"));
	json_decref(w->before);
	w->before = w->now;
	w->before_s = w->now_s;
	w->now = stat;
	w->now_s = seconds_now();
	if (stat || until_ended())
		return;
	snprintf(top->error, sizeof(top->error), "%s: %s", w->name, w->client.error);
	client_close(&w->client);
}

/* Whether any of them is left. */
static bool look(struct top *top)
{
	bool any = false;
	unsigned i;

	for (i = 0; i < top->nr; i++) {
		look_at(top, &top->daemon[i]);
		any |= top->daemon[i].now != NULL;
	}
	return any;
}

/* None is left; or the user wants no more. */
static int no_more(void)
{
	return until_ended() ? STATUS_OK : STATUS_FAILED;
}

static void draw(struct top *top, FILE *out)
{
	struct top_sample samples[TOP_DAEMONS_MAX];
	time_t now = time(NULL);
	char text[16] = "";
	struct tm tm;
	unsigned i;

	if (localtime_r(&now, &tm))
		strftime(text, sizeof(text), "%H:%M:%S", &tm);
	for (i = 0; i < top->nr; i++) {
		struct watched *w = &top->daemon[i];

		samples[i] = (struct top_sample){.name = w->name,
						 .before = w->before,
						 .now = w->now,
						 .seconds = w->now_s - w->before_s};
	}
	top->look.clock = text;
	top_draw(out, &top->look, samples, top->nr);
}

/* ---- pictures one after another ---- */

static int run_batch(struct top *top)
{
	unsigned rows;

	top->look.cols = 132;
	if (isatty(STDOUT_FILENO))
		top_screen_size(&rows, &top->look.cols);
	if (!look(top))
		return no_more();
	for (;;) {
		if (!until_rest(top->look.delay))
			return STATUS_OK;
		if (!look(top))
			return no_more();
		draw(top, stdout);
		if (fflush(stdout))
			return STATUS_FAILED;
		if (top->pictures && !--top->pictures)
			return STATUS_OK;
		putchar('\n');
	}
}

/* ---- on a terminal ---- */

static void redraw(struct top *top)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	top_screen_size(&top->look.rows, &top->look.cols);
	draw(top, out);
	fclose(out);
	top_screen_show(text, len);
	free(text);
}

static void change_delay(struct top_look *look)
{
	static const double delays[] = {0.5, 1, 2, 5, 10};
	unsigned i = 0;

	while (i < 5 && delays[i] <= look->delay)
		i++;
	look->delay = delays[i % 5];
}

/* false: end. */
static bool obey(struct top *top, int key)
{
	struct top_look *look = &top->look;

	if (key < 0 || key == 'q' || key == 'Q')
		return false;
	if (look->help && key) {
		look->help = false;
		return true;
	}
	switch (key) {
	case ' ':
		look->paused = !look->paused;
		break;
	case 's':
		look->sort = (look->sort + 1) % TOP_SORTS_NR;
		break;
	case 'd':
		change_delay(look);
		break;
	case '?':
	case 'h':
		look->help = true;
		break;
	default:
		break;
	}
	return true;
}

static int watch(struct top *top)
{
	double next_s = seconds_now() + 0.25, left; /* soon, for the first rates */
	int key;

	for (;;) {
		redraw(top);
		left = next_s - seconds_now();
		key = top_screen_key(left > 0 ? (int)(left * 1000) + 1 : 0);
		if (!obey(top, key))
			return STATUS_OK;
		if (seconds_now() < next_s)
			continue;
		next_s = seconds_now() + top->look.delay;
		if (top->look.paused)
			continue;
		if (top->pictures && !--top->pictures)
			return STATUS_OK;
		if (!look(top))
			return no_more();
	}
}

static int run_screen(struct top *top)
{
	int status;

	if (!look(top))
		return no_more();
	if (!top_screen_open()) {
		args_refuse("top", "this is no terminal; try --batch");
		return STATUS_FAILED;
	}
	status = watch(top);
	top_screen_close();
	return status;
}

/* ---- options ---- */

static bool parse_sort(const char *text, enum top_sort *out)
{
	static const char *const names[TOP_SORTS_NR] = {"io", "bytes", "translations",
							"faults", "name"};
	unsigned i;

	for (i = 0; text && i < TOP_SORTS_NR; i++)
		if (!strcmp(text, names[i])) {
			*out = i;
			return true;
		}
	return !text || args_refuse("top",
				    "--sort %s is none of io, bytes, translations, "
				    "faults, name",
				    text);
}

static bool check(const struct options *options, struct top *top)
{
	char *end;

	top->look.delay = options->delay ? strtod(options->delay, &end) : 1;
	if (options->delay &&
	    (*end || !(top->look.delay >= 0.05 && top->look.delay <= 86400)))
		return args_refuse("top",
				   "--delay %s is no number of seconds from 0.05 to "
				   "86400; try --delay 1",
				   options->delay);
	if (options->count) {
		top->pictures = strtoul(options->count, &end, 10);
		if (!top->pictures || *end || options->count[0] == '-')
			return args_refuse(
				"top", "--count %s is no number of pictures; try -n 5",
				options->count);
	}
	if (options->name && options->control.nr)
		return args_refuse("top", "--name and --control: one of them");
	return parse_sort(options->sort, &top->look.sort);
}

/* Whether there is a terminal that takes pictures, and keys. */
static bool has_screen(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && term && term[0] &&
	       strcmp(term, "dumb");
}

int command_top(int argc, char **argv)
{
	static struct top top;
	struct options options = {0};
	const struct arg table[] = {
		{"control", ARG_LIST, &options.control, "/run/vm1/control.sock"},
		{"name", ARG_TEXT, &options.name, "vm1"},
		{"delay", ARG_TEXT, &options.delay, "1"},
		{"sort", ARG_TEXT, &options.sort, "bytes"},
		{"count", ARG_TEXT, &options.count, "5"},
		{"batch", ARG_FLAG, &options.batch, NULL},
		{"help", ARG_FLAG, &options.help, NULL},
		{0},
	};
	struct args_rest rest;
	int status = STATUS_FAILED;

	if (!args_parse("top", argc, argv, table, &rest))
		return STATUS_USE;
	if (options.help) {
		fputs(help, stdout);
		return STATUS_OK;
	}
	if (rest.nr) {
		args_refuse("top", "%s: what is that? Options start with --",
			    rest.item[0]);
		return STATUS_USE;
	}
	if (!check(&options, &top))
		return STATUS_USE;
	if (open_all(&top, &options)) {
		until_catch();
		status = options.batch || !has_screen() ? run_batch(&top)
							: run_screen(&top);
	}
	if (status && top.error[0]) /* now that the terminal is as it was */
		args_refuse("top", "%s", top.error);
	close_all(&top);
	return status;
}
