/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <string.h>

#include "endpoints/endpoint.h"
#include "kinds.h"
#include "sandbox.h"

static size_t append(char *buf, size_t room, size_t used, const char *name)
{
	if (used >= room)
		return used;
	return used +
	       (size_t)snprintf(buf + used, room - used, "%s%s", used ? ", " : "", name);
}

static bool unknown_type(const struct endpoint_settings *endpoint, const char *where,
			 struct problem *problem)
{
	char list[256] = "";
	size_t used = 0;
	unsigned i;

	for (i = 0; endpoint_types[i]; i++)
		used = append(list, sizeof(list), used, endpoint_types[i]->name);
	return problem_set(problem, "%s: type=%s is no kind of endpoint; there are: %s",
			   where, endpoint->type[0] ? endpoint->type : "(none)", list);
}

static bool unknown_key(const struct endpoint_type *type, const char *where,
			const char *key, size_t len, struct problem *problem)
{
	const struct endpoint_option *option;
	char list[400] = "";
	size_t used = 0;

	for (option = type->options; option->name; option++)
		used = append(list, sizeof(list), used, option->name);
	return problem_set(
		problem,
		"%s: there is no setting \"%.*s\" for %s; there are: type, id, "
		"ep, iommu, msix, untrusted, resv%s%s",
		where, (int)(len < 64 ? len : 64), key, type->name, used ? ", " : "",
		list);
}

static bool key_known(const struct endpoint_type *type, const char *key, size_t len)
{
	const struct endpoint_option *option;

	for (option = type->options; option->name; option++)
		if (strlen(option->name) == len && !memcmp(option->name, key, len))
			return true;
	return false;
}

/* Past the value at p: a comma ends it, two are one of the value's own. */
static const char *skip_value(const char *p)
{
	for (; *p; p++) {
		if (*p == ',' && p[1] != ',')
			return p + 1;
		p += *p == ',';
	}
	return p;
}

bool kinds_check(const struct endpoint_settings *endpoint, const char *where,
		 struct problem *problem)
{
	const struct endpoint_type *type = endpoint_type_find(endpoint->type);
	const char *p = endpoint->params;
	size_t len;

	if (!type)
		return unknown_type(endpoint, where, problem);
	while (*p) {
		len = strcspn(p, "=,");
		if (!key_known(type, p, len))
			return unknown_key(type, where, p, len, problem);
		p = skip_value(p);
	}
	return true;
}

unsigned kinds_needs(const struct endpoint_settings *endpoint)
{
	const char *p = endpoint->params;
	unsigned needs = SANDBOX_INTERNET; /* the default back end's */

	if (strcmp(endpoint->type, "net"))
		return 0;
	for (; *p; p = skip_value(p)) {
		if (strncmp(p, "backend=", 8))
			continue;
		p += 8;
		needs = 0;
		if (!strncmp(p, "user", 4))
			needs = SANDBOX_INTERNET;
		else if (!strncmp(p, "tap", 3))
			needs = SANDBOX_TAP;
	}
	return needs;
}
