/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <string.h>
#include <time.h>

#include "histogram.h"
#include "trace_print.h"

static long long number(json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *text(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static void print_time(FILE *out, int64_t ns, bool utc)
{
	time_t s = (time_t)(ns / 1000000000);
	char day[32];
	struct tm tm;

	if (!(utc ? gmtime_r(&s, &tm) : localtime_r(&s, &tm)) ||
	    !strftime(day, sizeof(day), "%H:%M:%S", &tm))
		strcpy(day, "--:--:--");
	fprintf(out, "%s.%06lld ", day, (long long)(ns % 1000000000 / 1000));
}

/* What the request is about, in one column. */
static void subject(json_t *event, char *out, size_t room)
{
	const char *type = text(event, "type");

	if (!strcmp(type, "map"))
		snprintf(out, room, "domain %lld %s-%s to %s %s", number(event, "domain"),
			 text(event, "start"), text(event, "last"), text(event, "gpa"),
			 text(event, "flags"));
	else if (!strcmp(type, "unmap"))
		snprintf(out, room, "domain %lld %s-%s", number(event, "domain"),
			 text(event, "start"), text(event, "last"));
	else if (!strcmp(type, "attach") || !strcmp(type, "detach"))
		snprintf(out, room, "domain %lld endpoint 0x%llx %s",
			 number(event, "domain"), number(event, "endpoint"),
			 text(event, "flags"));
	else if (!strcmp(type, "probe"))
		snprintf(out, room, "endpoint 0x%llx", number(event, "endpoint"));
	else
		out[0] = 0;
}

static void print_request(FILE *out, json_t *event)
{
	char about[160], took[FORMAT_LEN];

	subject(event, about, sizeof(about));
	fprintf(out, "%-7s %-58s %-10s %8s%s\n", text(event, "type"), about,
		text(event, "status"),
		format_ns((uint64_t)number(event, "duration_ns"), took),
		json_is_true(json_object_get(event, "parked"))
			? " waited for pages in use"
			: "");
}

static void print_fault(FILE *out, json_t *event)
{
	const char *access = text(event, "access");
	char about[160];

	snprintf(about, sizeof(about), "endpoint 0x%llx %s %s", number(event, "endpoint"),
		 !strcmp(access, "w")	? "writes"
		 : !strcmp(access, "r") ? "reads"
					: "accesses",
		 text(event, "address"));
	fprintf(out, "%-7s %-58s no %s\n", "fault", about, text(event, "reason"));
}

void trace_print(FILE *out, json_t *event, int64_t wall_ns, bool utc)
{
	const char *kind = text(event, "event");

	if (!strcmp(kind, "dropped")) {
		fprintf(out,
			"                lost    %lld requests and %lld faults: more "
			"than "
			"was read in time\n",
			number(event, "requests"), number(event, "faults"));
		return;
	}
	if (strcmp(kind, "request") && strcmp(kind, "fault"))
		return; /* a kind that this program does not know */
	print_time(out, number(event, "time_ns") + wall_ns, utc);
	if (!strcmp(kind, "fault"))
		print_fault(out, event);
	else
		print_request(out, event);
}
