/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "stream.h"

bool stream_has(const struct stream *stream)
{
	return memchr(stream->buf + stream->from, '\n', stream->len) != NULL;
}

static char *take(struct stream *stream)
{
	char *line = stream->buf + stream->from;
	char *end = memchr(line, '\n', stream->len);

	if (!end)
		return NULL;
	*end = 0;
	stream->from += (size_t)(end - line) + 1;
	stream->len -= (size_t)(end - line) + 1;
	return line;
}

enum stream_result stream_next(struct stream *stream, int timeout_ms, char **line)
{
	struct pollfd wait = {.fd = stream->fd, .events = POLLIN};
	ssize_t n;

	*line = take(stream);
	if (*line)
		return STREAM_LINE;
	memmove(stream->buf, stream->buf + stream->from, stream->len);
	stream->from = 0;
	if (stream->len == sizeof(stream->buf))
		return STREAM_ENDED; /* no line of viommud's is that long */
	if (poll(&wait, 1, timeout_ms) <= 0)
		return STREAM_NOTHING;
	n = recv(stream->fd, stream->buf + stream->len, sizeof(stream->buf) - stream->len,
		 0);
	if (n < 0 && errno == EINTR)
		return STREAM_NOTHING;
	if (n <= 0)
		return STREAM_ENDED;
	stream->len += (size_t)n;
	*line = take(stream);
	return *line ? STREAM_LINE : STREAM_NOTHING;
}
