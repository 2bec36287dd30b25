/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_file.h"
#include "limits.h"
#include "value.h"

struct parser {
	const char *file;
	unsigned line;
	char where[512];		 /* "FILE:LINE" */
	char section[DAEMON_NAME_LEN];	 /* "" before the first one */
	char name[DAEMON_NAME_LEN];	 /* "" if the section has none */
	char text[DAEMON_VALUE_LEN * 2]; /* the line, cut apart in place */
	const struct config_handler *handler;
	struct problem *problem;
};

static char *trim(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = 0;
	return text;
}

static bool parse_section(struct parser *parser, char *text)
{
	char *end = strchr(text, ']'), *name;

	if (!end || end[1])
		return problem_set(parser->problem,
				   "%s: a section ends with ]; write [iommu] or "
				   "[endpoint NAME]",
				   parser->where);
	*end = 0;
	text = trim(text + 1);
	name = text + strcspn(text, " \t");
	if (*name) {
		*name++ = 0;
		name = trim(name);
	}
	if (!value_name(text, sizeof(parser->section)) ||
	    (*name && !value_name(name, sizeof(parser->name))))
		return problem_set(parser->problem,
				   "%s: section names are made of at most %u letters, "
				   "digits, '-', '_' and '.'; write [iommu] or "
				   "[endpoint NAME]",
				   parser->where, DAEMON_NAME_LEN - 1);
	snprintf(parser->section, sizeof(parser->section), "%s", text);
	snprintf(parser->name, sizeof(parser->name), "%s", name);
	return true;
}

/* Takes the quotes off; NULL with the problem if one is missing. */
static char *unquote(struct parser *parser, char *text)
{
	size_t len = strlen(text);

	if (text[0] != '"')
		return text;
	if (len < 2 || text[len - 1] != '"') {
		problem_set(parser->problem,
			    "%s: the value starts with \" and does not end with it",
			    parser->where);
		return NULL;
	}
	text[len - 1] = 0;
	return text + 1;
}

static bool parse_setting(struct parser *parser, char *text)
{
	char *equals = strchr(text, '='), *key, *value;
	struct setting setting;

	if (!equals)
		return problem_set(parser->problem,
				   "%s: \"%.40s\" is no setting; write key = value, or # "
				   "for a comment",
				   parser->where, text);
	*equals = 0;
	key = trim(text);
	value = unquote(parser, trim(equals + 1));
	if (!value)
		return false;
	setting = (struct setting){.where = parser->where,
				   .section = parser->section,
				   .name = parser->name,
				   .key = key,
				   .value = value};
	return parser->handler->set(parser->handler->opaque, &setting, parser->problem);
}

static bool parse_line(struct parser *parser, const char *start, size_t len)
{
	char *text;

	if (memchr(start, 0, len))
		return problem_set(parser->problem, "%s: a zero byte: this is no text",
				   parser->where);
	if (len >= sizeof(parser->text))
		return problem_set(parser->problem, "%s: longer than %zu bytes",
				   parser->where, sizeof(parser->text) - 1);
	memcpy(parser->text, start, len);
	parser->text[len] = 0;
	text = trim(parser->text);
	if (!*text || *text == '#' || *text == ';')
		return true;
	if (*text == '[')
		return parse_section(parser, text);
	return parse_setting(parser, text);
}

bool config_parse(const char *file, const char *text, size_t len,
		  const struct config_handler *handler, struct problem *problem)
{
	struct parser parser = {.file = file, .handler = handler, .problem = problem};
	const char *end = text + len, *stop;

	while (text < end) {
		if (++parser.line > DAEMON_CONFIG_LINES_MAX)
			return problem_set(problem, "%s: more than %u lines", file,
					   DAEMON_CONFIG_LINES_MAX);
		snprintf(parser.where, sizeof(parser.where), "%.400s:%u", file,
			 parser.line);
		stop = memchr(text, '\n', (size_t)(end - text));
		if (!stop)
			stop = end;
		if (!parse_line(&parser, text, (size_t)(stop - text)))
			return false;
		text = stop + 1;
	}
	return true;
}

/* Reads up to room bytes; -1 on error. */
static ssize_t read_all(int fd, char *buf, size_t room)
{
	size_t len = 0;
	ssize_t n;

	while (len < room) {
		n = read(fd, buf + len, room - len);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

bool config_read(const char *file, const struct config_handler *handler,
		 struct problem *problem)
{
	size_t room = DAEMON_CONFIG_FILE_LEN_MAX + 1;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char *text;
	ssize_t len;
	bool ok;

	if (fd < 0)
		return problem_set(problem, "--config %s: %s", file, strerror(errno));
	text = malloc(room);
	len = text ? read_all(fd, text, room) : -1;
	close(fd);
	if (len < 0)
		ok = problem_set(problem, "--config %s: cannot be read: %s", file,
				 strerror(errno));
	else if ((size_t)len == room)
		ok = problem_set(problem, "--config %s: larger than %u bytes", file,
				 DAEMON_CONFIG_FILE_LEN_MAX);
	else
		ok = config_parse(file, text, (size_t)len, handler, problem);
	free(text);
	return ok;
}
