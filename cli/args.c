/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "args.h"

bool args_refuse(const char *command, const char *fmt, ...)
{
	va_list list;

	fprintf(stderr, "viommu %s: ", command);
	va_start(list, fmt);
	vfprintf(stderr, fmt, list);
	va_end(list);
	fputc('\n', stderr);
	return false;
}

static const struct arg *find(const struct arg *table, const char *name, size_t len)
{
	for (; table->name; table++)
		if (strlen(table->name) == len && !memcmp(table->name, name, len))
			return table;
	return NULL;
}

static bool store(const char *command, const struct arg *arg, const char *value)
{
	struct arg_list *list = arg->to;

	if (arg->kind == ARG_FLAG) {
		*(bool *)arg->to = true;
	} else if (arg->kind == ARG_TEXT) {
		*(const char **)arg->to = value;
	} else {
		if (list->nr == ARGS_LIST_MAX)
			return args_refuse(command, "--%s: more than %u of them",
					   arg->name, ARGS_LIST_MAX);
		list->item[list->nr++] = value;
	}
	return true;
}

/* One option; *used is how many words it took. */
static bool parse_one(const char *command, char **argv, int left, const struct arg *table,
		      int *used)
{
	const char *name = argv[0] + 2, *value = NULL;
	size_t len = strcspn(name, "=");
	const struct arg *arg = find(table, name, len);

	*used = 1;
	if (!arg)
		return args_refuse(command,
				   "%s: there is no such option; viommu %s --help "
				   "lists them",
				   argv[0], command);
	if (name[len])
		value = name + len + 1;
	if (arg->kind == ARG_FLAG) {
		if (value)
			return args_refuse(command, "--%s takes no value", arg->name);
		return store(command, arg, NULL);
	}
	if (!value) {
		if (left < 2)
			return args_refuse(command,
					   "--%s: the value is missing, e.g. --%s %s",
					   arg->name, arg->name, arg->sample);
		value = argv[1];
		*used = 2;
	}
	return store(command, arg, value);
}

bool args_parse(const char *command, int argc, char **argv, const struct arg *table,
		struct args_rest *rest)
{
	int i = 0, used;

	*rest = (struct args_rest){.item = argv};
	while (i < argc) {
		if (!strcmp(argv[i], "--")) {
			rest->dashes = true;
			for (i++; i < argc; i++)
				rest->item[rest->nr++] = argv[i];
			break;
		}
		if (!strcmp(argv[i], "-h"))
			argv[i] = "--help";
		else if (!strcmp(argv[i], "-o"))
			argv[i] = "--output";
		else if (!strcmp(argv[i], "-n"))
			argv[i] = "--count";
		if (strncmp(argv[i], "--", 2)) {
			rest->item[rest->nr++] = argv[i++];
			continue;
		}
		if (!parse_one(command, argv + i, argc - i, table, &used))
			return false;
		i += used;
	}
	return true;
}
