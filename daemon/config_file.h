/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Configuration files: `key = value`, `[section]`, `[section NAME]`, comments
 * from # or ; at the start of a line, values optionally in double quotes.
 */
#ifndef DAEMON_CONFIG_FILE_H
#define DAEMON_CONFIG_FILE_H

#include <stddef.h>

#include "problem.h"

/* One `key = value`, and where it stands. */
struct setting {
	const char *where;   /* "FILE:LINE" or "--option", for messages */
	const char *section; /* "" before the first one */
	const char *name;    /* of the section, or "" */
	const char *key, *value;
};

/* false ends the reading, with the problem set. */
typedef bool setting_fn(void *opaque, const struct setting *setting,
			struct problem *problem);

struct config_handler {
	setting_fn *set;
	void *opaque;
};

/* Parses len bytes of text; file is for messages. */
bool config_parse(const char *file, const char *text, size_t len,
		  const struct config_handler *handler, struct problem *problem);
/* Reads and parses a file of at most DAEMON_CONFIG_FILE_LEN_MAX bytes. */
bool config_read(const char *file, const struct config_handler *handler,
		 struct problem *problem);

#endif
