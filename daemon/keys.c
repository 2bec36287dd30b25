/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "settings.h"
#include "value.h"

const struct key *key_find(const struct key *keys, unsigned nr, const char *name)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static bool in_range(const struct key *key, uint64_t v)
{
	if (v < key->min || v > key->max)
		return false;
	return !key->pow2 || !(v & (v - 1));
}

static bool set_number(const struct key *key, void *field, const char *value)
{
	uint64_t v;

	if (!value_number(value, &v) || !in_range(key, v))
		return false;
	*(uint32_t *)field = (uint32_t)v;
	return true;
}

static bool set_count(const struct key *key, void *field, const char *value)
{
	if (strcmp(value, "auto"))
		return set_number(key, field, value);
	*(uint32_t *)field = SETTINGS_AUTO;
	return true;
}

static bool set_size(const struct key *key, void *field, const char *value)
{
	uint64_t v;

	if (!value_size(value, &v) || !in_range(key, v))
		return false;
	*(uint64_t *)field = v;
	return true;
}

static bool set_octal(const struct key *key, void *field, const char *value)
{
	char *end;
	unsigned long v = strtoul(value, &end, 8);

	if (*end || end == value || !in_range(key, v))
		return false;
	*(uint32_t *)field = (uint32_t)v;
	return true;
}

static bool set_text(void *field, const char *value)
{
	char *copy;

	if (!value[0] || strlen(value) >= DAEMON_VALUE_LEN)
		return false;
	copy = strdup(value);
	if (!copy)
		return false;
	free(*(char **)field);
	*(char **)field = copy;
	return true;
}

static bool set_switch(const struct key *key, void *field, const char *value)
{
	bool on;

	if (!value_switch(value, &on))
		return false;
	*(bool *)field = key->kind == KEY_NEGATE ? !on : on;
	return true;
}

static bool set_fd(const struct key *key, void *field, const char *value)
{
	uint64_t v;

	if (!value_number(value, &v) || !in_range(key, v))
		return false;
	*(int *)field = (int)v;
	return true;
}

static bool set_field(const struct key *key, void *field, const char *value)
{
	switch (key->kind) {
	case KEY_NUMBER:
		return set_number(key, field, value);
	case KEY_COUNT:
		return set_count(key, field, value);
	case KEY_SIZE:
		return set_size(key, field, value);
	case KEY_SWITCH:
	case KEY_NEGATE:
		return set_switch(key, field, value);
	case KEY_NAME:
		if (!value_name(value, DAEMON_NAME_LEN))
			return false;
		memcpy(field, value, strlen(value) + 1);
		return true;
	case KEY_TEXT:
		return set_text(field, value);
	case KEY_POLL:
		return settings_poll(value, field);
	case KEY_LEVEL:
		return settings_log_level(value, field);
	case KEY_OCTAL:
		return set_octal(key, field, value);
	case KEY_FD:
		return set_fd(key, field, value);
	}
	return false;
}

bool key_set(const struct key *key, void *base, const char *where, const char *value,
	     struct problem *problem)
{
	if (!set_field(key, (char *)base + key->offset, value))
		return problem_set(problem, "%s: %s=%.64s is not %s; try %s=%s", where,
				   key->name, value, key->expect, key->name, key->sample);
	if (key->set_offset)
		*(bool *)((char *)base + key->set_offset) = true;
	return true;
}

bool key_unknown(const struct key *keys, unsigned nr, const char *where, const char *name,
		 struct problem *problem)
{
	char list[400] = "";
	size_t used = 0;
	unsigned i;

	for (i = 0; i < nr && used < sizeof(list) - 1; i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					 i ? ", " : "", keys[i].name);
	return problem_set(problem, "%s: there is no setting \"%.64s\"; there are: %s",
			   where, name, list);
}
