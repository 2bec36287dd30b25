/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Options of a subcommand: --name VALUE, --name=VALUE, --flag. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>

/* Values of an option that may be repeated; one more is refused. */
#define ARGS_LIST_MAX 32u

enum arg_kind {
	ARG_FLAG, /* bool */
	ARG_TEXT, /* const char * */
	ARG_LIST, /* struct arg_list */
};

struct arg_list {
	const char *item[ARGS_LIST_MAX];
	unsigned nr;
};

struct arg {
	const char *name; /* NULL ends the table */
	enum arg_kind kind;
	void *to;
	const char *sample; /* a value that works, for messages */
};

struct args_rest {
	char **item; /* what is no option, or follows "--" */
	int nr;
	bool dashes; /* there was a "--" */
};

/* command: for messages. false: a message was printed. */
bool args_parse(const char *command, int argc, char **argv, const struct arg *table,
		struct args_rest *rest);

/* Prints "viommu COMMAND: ..." to standard error. Always false. */
bool args_refuse(const char *command, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
