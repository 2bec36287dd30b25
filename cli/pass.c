/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pass.h"

/* Bytes up to the comma that ends an item; two commas are one of the value's. */
static size_t item_len(const char *item)
{
	size_t len = 0;

	while (item[len] && (item[len] != ',' || item[len + 1] == ','))
		len += item[len] == ',' ? 2 : 1;
	return len;
}

/* The item "KEY=..."; NULL: there is none. */
static const char *find_item(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (;;) {
		if (!strncmp(text, key, len) && text[len] == '=')
			return text;
		text += item_len(text);
		if (!*text++)
			return NULL;
	}
}

static bool item_is(const char *text, const char *key, const char *value)
{
	const char *item = find_item(text, key);
	size_t at = strlen(key) + 1;

	return item && item_len(item) == at + strlen(value) &&
	       !memcmp(item + at, value, strlen(value));
}

static bool fail(struct passed *passed, const char *path)
{
	snprintf(passed->error, sizeof(passed->error), "path=%.128s: %s", path,
		 strerror(errno));
	pass_close(passed);
	return false;
}

/* A FIFO would wait for a writer: O_NONBLOCK has no meaning for what a disk can be
 * on, and viommud refuses the rest. */
static bool open_all(struct passed *passed, const char *endpoint, const char *path)
{
	bool read_only = item_is(endpoint, "read-only", "on");
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK, fd;

	if (item_is(endpoint, "cache", "none")) {
		fd = open(path, flags | O_DIRECT);
		if (fd < 0 && errno == EINVAL) /* viommud goes without, too */
			fd = open(path, flags);
		if (fd < 0)
			return fail(passed, path);
		passed->fd[passed->nr++] = fd;
	}
	fd = open(path, flags);
	if (fd < 0)
		return fail(passed, path);
	passed->fd[passed->nr++] = fd;
	return true;
}

/* The value of an item with its commas single. */
static bool item_value(const char *item, char *out, size_t room)
{
	const char *end = item + item_len(item), *p = strchr(item, '=') + 1;
	size_t len = 0;

	for (; p < end && len + 1 < room; p += *p == ',' ? 2 : 1)
		out[len++] = *p;
	out[len] = 0;
	return p == end;
}

bool pass_open(struct passed *passed, const char *endpoint, char *out, size_t room)
{
	const char *item = find_item(endpoint, "path");
	char path[1024];
	int n;

	*passed = (struct passed){0};
	if (item && (!item_value(item, path, sizeof(path)) ||
		     !open_all(passed, endpoint, path))) {
		if (!passed->error[0])
			snprintf(passed->error, sizeof(passed->error),
				 "path=%.64s...: too long", path);
		return false;
	}
	if (item)
		n = snprintf(out, room, "%.*sfd=%s%s", (int)(item - endpoint), endpoint,
			     passed->nr == 2 ? "0+1" : "0", item + item_len(item));
	else
		n = snprintf(out, room, "%s", endpoint);
	if (n >= 0 && (size_t)n < room)
		return true;
	snprintf(passed->error, sizeof(passed->error), "the endpoint is too long");
	pass_close(passed);
	return false;
}

void pass_close(struct passed *passed)
{
	while (passed->nr)
		close(passed->fd[--passed->nr]);
}
