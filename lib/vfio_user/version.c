/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * VERSION: protocol 0.0 and the capabilities. The client's JSON is checked for
 * form, to a bounded depth, and for the two keys that matter to the reply;
 * everything else in it is ignored, as the protocol asks.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "vfio_user/vfu_internal.h"

struct json {
	const char *at, *end;
	unsigned depth;
	struct vfu_caps *caps;
};

/* A string without its quotes; escapes are left in. */
struct text {
	const char *at;
	size_t len;
};

static bool is_text(const struct text *t, const char *s)
{
	return t->len == strlen(s) && !memcmp(t->at, s, t->len);
}

static void skip_space(struct json *j)
{
	while (j->at < j->end &&
	       (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
		j->at++;
}

/* Takes the character c, after white space. */
static bool take(struct json *j, char c)
{
	skip_space(j);
	if (j->at == j->end || *j->at != c)
		return false;
	j->at++;
	return true;
}

static bool take_string(struct json *j, struct text *out)
{
	if (!take(j, '"'))
		return false;
	out->at = j->at;
	while (j->at < j->end && *j->at != '"') {
		if ((unsigned char)*j->at < 0x20)
			return false;
		if (*j->at == '\\')
			j->at++; /* what follows is no end, whatever it is */
		if (j->at < j->end)
			j->at++;
	}
	out->len = (size_t)(j->at - out->at);
	return take(j, '"');
}

/* A number, true, false or null: one run of their characters. */
static bool take_scalar(struct json *j, struct text *out)
{
	static const char chars[] = "+-.0123456789Eaeflnrstu";

	skip_space(j);
	out->at = j->at;
	while (j->at < j->end && *j->at && strchr(chars, *j->at))
		j->at++;
	out->len = (size_t)(j->at - out->at);
	if (!out->len)
		return false;
	return (*out->at >= '0' && *out->at <= '9') || *out->at == '-' ||
	       is_text(out, "true") || is_text(out, "false") || is_text(out, "null");
}

static bool take_value(struct json *j, const struct text *key, bool in_caps);

static bool take_object(struct json *j, bool is_caps)
{
	struct text key;

	if (take(j, '}'))
		return true;
	do {
		if (!take_string(j, &key) || !take(j, ':') ||
		    !take_value(j, &key, is_caps))
			return false;
	} while (take(j, ','));
	return take(j, '}');
}

static bool take_array(struct json *j)
{
	if (take(j, ']'))
		return true;
	do {
		if (!take_value(j, NULL, false))
			return false;
	} while (take(j, ','));
	return take(j, ']');
}

static void note(struct json *j, const struct text *key, const struct text *value)
{
	if (is_text(key, "write_multiple"))
		j->caps->write_multiple = is_text(value, "true");
	else if (is_text(key, "max_dma_maps"))
		j->caps->max_dma_maps = true;
}

/* key: the member's, NULL in an array; in_caps: a member of "capabilities". The
 * depth is what bounds the recursion. */
static bool take_value(struct json *j, const struct text *key, bool in_caps)
{
	struct text value;
	bool ok;

	if (j->depth == LIMIT_VFU_JSON_DEPTH)
		return false;
	j->depth++;
	skip_space(j);
	if (take(j, '{')) {
		ok = take_object(j, j->depth == 2 && is_text(key, "capabilities"));
	} else if (take(j, '[')) {
		ok = take_array(j);
	} else if (j->at < j->end && *j->at == '"') {
		ok = take_string(j, &value);
	} else {
		ok = take_scalar(j, &value);
		if (ok && in_caps)
			note(j, key, &value);
	}
	j->depth--;
	return ok;
}

int vfu_caps_parse(const char *json, unsigned len, struct vfu_caps *out)
{
	struct json j = {.at = json, .end = json + len, .caps = out};

	skip_space(&j);
	if (j.at == j.end || *j.at != '{')
		return err(EINVAL, "version data is not an object");
	if (!take_value(&j, NULL, false))
		return err(EINVAL, "malformed version data");
	skip_space(&j);
	return j.at == j.end ? 0 : err(EINVAL, "something after the version data");
}

/* The NUL is part of the reply. */
static int write_reply(struct viommu_vfu *vfu, const struct vfu_caps *caps)
{
	static const struct vfu_version version = {0, 0};
	char *to = vfu_reply(vfu);
	int len;

	memcpy(to, &version, sizeof(version));
	len = snprintf(to + sizeof(version), 256,
		       "{\"capabilities\":{\"max_msg_fds\":%u,\"max_data_xfer_size\":%u",
		       LIMIT_VFU_MSG_FDS, LIMIT_VFU_DATA_LEN);
	to += sizeof(version) + (size_t)len;
	/* No capability that the client did not propose. */
	if (caps->max_dma_maps)
		to += snprintf(to, 64, ",\"max_dma_maps\":%u", LIMIT_VFU_DMA_MAPS);
	if (caps->write_multiple)
		to += snprintf(to, 64, ",\"write_multiple\":true");
	to += snprintf(to, 8, "}}") + 1;
	return (int)(to - (char *)vfu_reply(vfu));
}

int vfu_handle_version(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	const char *json = (const char *)m->payload + sizeof(struct vfu_version);
	unsigned len = m->len - (unsigned)sizeof(struct vfu_version);
	struct vfu_caps caps = {0};
	struct vfu_version v;

	memcpy(&v, m->payload, sizeof(v));
	if (vfu->conn.negotiated)
		return vfu_drop(vfu, "a second VERSION");
	if (v.major)
		return vfu_drop(vfu, "an unknown major version of the protocol");
	if (len && json[len - 1])
		return vfu_drop(vfu, "VERSION data without a terminating NUL");
	if (len && vfu_caps_parse(json, (unsigned)strlen(json), &caps) < 0)
		return vfu_drop(vfu, "VERSION with malformed JSON");
	vfu->conn.negotiated = true;
	log_debug(vfu->log, "%s: a client connected (protocol %u.%u).", vfu->name,
		  v.major, v.minor);
	if (vfu->ops.connected)
		vfu->ops.connected(vfu->opaque);
	return write_reply(vfu, &caps);
}
