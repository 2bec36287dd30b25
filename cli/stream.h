/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Lines that come from a viommud unasked. */
#ifndef CLI_STREAM_H
#define CLI_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#define STREAM_LINE_MAX 65536u

struct stream {
	int fd;
	size_t from, len; /* of what was received and not yet taken, in buf */
	char buf[STREAM_LINE_MAX];
};

enum stream_result {
	STREAM_LINE,	/* *line is one, without its end; good until the next call */
	STREAM_NOTHING, /* in the time given, or a signal came */
	STREAM_ENDED
};

/* Waits up to timeout_ms (-1: for ever) for a line. */
enum stream_result stream_next(struct stream *stream, int timeout_ms, char **line);
/* Whether a line can be had without waiting. */
bool stream_has(const struct stream *stream);

#endif
