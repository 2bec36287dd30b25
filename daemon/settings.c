/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_file.h"
#include "keys.h"
#include "kinds.h"
#include "settings.h"
#include "value.h"

#define ARRAY_LEN(a)	  (sizeof(a) / sizeof((a)[0]))
#define FIELD(type, name) offsetof(struct type, name)

/* The window in which x86 turns writes into interrupts: a device's write there
 * never reaches memory, so it must not be used for anything else. */
#define X86_MSI_FIRST 0xfee00000ull
#define X86_MSI_LAST  0xfeefffffull

#define POLL_EXPECT   "auto or a number of microseconds from 0 to 100000"

static const struct key daemon_keys[] = {
	{.name = "socket-dir",
	 .kind = KEY_TEXT,
	 .offset = FIELD(settings, socket_dir),
	 .expect = "a folder",
	 .sample = "/run/viommu"},
	{.name = "control",
	 .kind = KEY_TEXT,
	 .offset = FIELD(settings, control),
	 .expect = "a path",
	 .sample = "/run/viommu/control.sock"},
	{.name = "socket-mode",
	 .kind = KEY_OCTAL,
	 .offset = FIELD(settings, socket_mode),
	 .max = 0777,
	 .expect = "octal permissions",
	 .sample = "0600"},
	{.name = "threads",
	 .kind = KEY_COUNT,
	 .offset = FIELD(settings, threads),
	 .max = DAEMON_THREADS_MAX,
	 .expect = "auto or a number from 0 to 16",
	 .sample = "auto"},
	{.name = "priority",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(settings, priority),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "no-priority",
	 .kind = KEY_NEGATE,
	 .offset = FIELD(settings, priority),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "poll-us",
	 .kind = KEY_POLL,
	 .offset = FIELD(settings, poll),
	 .expect = POLL_EXPECT,
	 .sample = "auto"},
	{.name = "user",
	 .kind = KEY_TEXT,
	 .offset = FIELD(settings, user),
	 .expect = "a user's name",
	 .sample = "nobody"},
	{.name = "log-level",
	 .kind = KEY_LEVEL,
	 .offset = FIELD(settings, log_level),
	 .expect = "error, warn, info or debug",
	 .sample = "info"},
	{.name = "sealed-only",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(settings, sealed_only),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "seccomp",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(settings, seccomp),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "no-seccomp",
	 .kind = KEY_NEGATE,
	 .offset = FIELD(settings, seccomp),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "exit-with-vm",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(settings, exit_with_vm),
	 .expect = "on or off",
	 .sample = "on"},
};

/* Only on the command line. */
static const struct key command_keys[] = {
	{.name = "ready-fd",
	 .kind = KEY_FD,
	 .offset = FIELD(settings, ready_fd),
	 .min = 3,
	 .max = 1023,
	 .expect = "an open descriptor from 3 to 1023",
	 .sample = "3"},
	{.name = "check",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(settings, check),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "help",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(settings, help),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "version",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(settings, version),
	 .expect = "on or off",
	 .sample = "on"},
};

static const struct key iommu_keys[] = {
	{.name = "id",
	 .kind = KEY_NAME,
	 .offset = FIELD(iommu_settings, id),
	 .expect = "a name of letters, digits, '-', '_' and '.'",
	 .sample = "iommu"},
	{.name = "granule",
	 .kind = KEY_SIZE,
	 .offset = FIELD(iommu_settings, granule),
	 .min = 1,
	 .max = 64 << 10,
	 .pow2 = true,
	 .expect = "a power of two from 1 to 64k",
	 .sample = "4k"},
	{.name = "bypass",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(iommu_settings, bypass),
	 .expect = "on or off",
	 .sample = "off"},
	{.name = "packed",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(iommu_settings, packed),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "indirect",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(iommu_settings, indirect),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "input-bits",
	 .kind = KEY_NUMBER,
	 .offset = FIELD(iommu_settings, input_bits),
	 .min = 32,
	 .max = 64,
	 .expect = "a number from 32 to 64",
	 .sample = "48"},
	{.name = "queue-size",
	 .kind = KEY_NUMBER,
	 .offset = FIELD(iommu_settings, queue_size),
	 .min = 2,
	 .max = VIOMMU_VIRTQ_SIZE_MAX,
	 .pow2 = true,
	 .expect = "a power of two from 2 to 1024",
	 .sample = "256"},
	{.name = "max-mappings",
	 .kind = KEY_NUMBER,
	 .offset = FIELD(iommu_settings, max_mappings),
	 .min = 1,
	 .max = 4u << 20,
	 .expect = "a number from 1 to 4194304",
	 .sample = "1048576"},
	{.name = "max-domains",
	 .kind = KEY_NUMBER,
	 .offset = FIELD(iommu_settings, max_domains),
	 .min = 1,
	 .max = 65536,
	 .expect = "a number from 1 to 65536",
	 .sample = "256"},
	{.name = "fault-rate",
	 .kind = KEY_NUMBER,
	 .offset = FIELD(iommu_settings, fault_rate),
	 .min = 1,
	 .max = 1000000,
	 .expect = "a number of events a second from 1 to 1000000",
	 .sample = "100"},
	{.name = "hold-timeout-ms",
	 .kind = KEY_NUMBER,
	 .offset = FIELD(iommu_settings, hold_timeout_ms),
	 .min = 1,
	 .max = 600000,
	 .expect = "a number of milliseconds from 1 to 600000",
	 .sample = "2000"},
	{.name = "poll-us",
	 .kind = KEY_POLL,
	 .offset = FIELD(iommu_settings, poll),
	 .set_offset = FIELD(iommu_settings, poll_set),
	 .expect = POLL_EXPECT,
	 .sample = "auto"},
};

static const struct key endpoint_keys[] = {
	{.name = "type",
	 .kind = KEY_NAME,
	 .offset = FIELD(endpoint_settings, type),
	 .expect = "a kind of endpoint",
	 .sample = "blk"},
	{.name = "id",
	 .kind = KEY_NAME,
	 .offset = FIELD(endpoint_settings, id),
	 .expect = "a name of letters, digits, '-', '_' and '.'",
	 .sample = "disk0"},
	{.name = "ep",
	 .kind = KEY_NUMBER,
	 .offset = FIELD(endpoint_settings, ep),
	 .set_offset = FIELD(endpoint_settings, ep_set),
	 .max = UINT32_MAX,
	 .expect = "a number of 32 bits",
	 .sample = "0x20"},
	{.name = "iommu",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(endpoint_settings, iommu),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "msix",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(endpoint_settings, msix),
	 .expect = "on or off",
	 .sample = "on"},
	{.name = "untrusted",
	 .kind = KEY_SWITCH,
	 .offset = FIELD(endpoint_settings, untrusted),
	 .expect = "on or off",
	 .sample = "on"},
};

bool settings_poll(const char *text, struct poll_settings *out)
{
	uint64_t us;

	if (!strcmp(text, "auto")) {
		*out = (struct poll_settings){.automatic = true,
					      .max_us = POLL_AUTO_IOMMU_US};
		return true;
	}
	if (!value_number(text, &us) || us > DAEMON_POLL_US_MAX)
		return false;
	*out = (struct poll_settings){.max_us = (uint32_t)us};
	return true;
}

static const char *const level_names[] = {
	[VIOMMU_LOG_ERROR] = "error",
	[VIOMMU_LOG_WARN] = "warn",
	[VIOMMU_LOG_INFO] = "info",
	[VIOMMU_LOG_DEBUG] = "debug",
};

bool settings_log_level(const char *text, enum viommu_log_level *out)
{
	unsigned i;

	for (i = 0; i < ARRAY_LEN(level_names); i++)
		if (!strcmp(text, level_names[i])) {
			*out = (enum viommu_log_level)i;
			return true;
		}
	return false;
}

/* ---- endpoints ---- */

/* none, or [msi:|reserved:]FIRST-LAST; more with more resv= settings. */
static bool add_resv(struct endpoint_settings *endpoint, const char *where,
		     const char *value, struct problem *problem)
{
	struct viommu_resv resv = {.kind = VIOMMU_RESV_RESERVED};
	const char *range = value;

	endpoint->resv_set = true;
	if (!strcmp(value, "none"))
		return true;
	if (!strncmp(value, "msi:", 4)) {
		resv.kind = VIOMMU_RESV_MSI;
		range += 4;
	} else if (!strncmp(value, "reserved:", 9)) {
		range += 9;
	}
	if (!value_range(range, &resv.start, &resv.last))
		return problem_set(
			problem,
			"%s: resv=%.64s is no region; try "
			"resv=msi:0xfee00000-0xfeefffff, "
			"resv=reserved:FIRST-LAST (ends included) or resv=none",
			where, value);
	if (endpoint->resv_nr == DAEMON_RESV_MAX)
		return problem_set(problem, "%s: resv: more than %u regions", where,
				   DAEMON_RESV_MAX);
	endpoint->resv[endpoint->resv_nr++] = resv;
	return true;
}

/* Appends text with its commas doubled. false: no room. */
static bool append(char *buf, size_t room, size_t *len, const char *text)
{
	for (; *text; text++) {
		if (*len + 3 > room)
			return false;
		if (*text == ',')
			buf[(*len)++] = ',';
		buf[(*len)++] = *text;
	}
	buf[*len] = 0;
	return true;
}

static bool add_param(struct endpoint_settings *endpoint, const char *where,
		      const char *key, const char *value, struct problem *problem)
{
	size_t len = strlen(endpoint->params), room = sizeof(endpoint->params);

	if (len && len + 1 < room)
		endpoint->params[len++] = ',';
	if (!append(endpoint->params, room, &len, key) || len + 2 > room)
		goto full;
	endpoint->params[len++] = '=';
	if (append(endpoint->params, room, &len, *value ? value : "on"))
		return true;
full:
	return problem_set(problem, "%s: settings of more than %u bytes for one endpoint",
			   where, DAEMON_PARAMS_LEN - 1);
}

static bool endpoint_set(struct endpoint_settings *endpoint,
			 const struct setting *setting, struct problem *problem)
{
	const char *where = setting->where, *value = setting->value;
	const struct key *key =
		key_find(endpoint_keys, ARRAY_LEN(endpoint_keys), setting->key);

	if (key)
		return key_set(key, endpoint, where, value, problem);
	if (!strcmp(setting->key, "resv"))
		return add_resv(endpoint, where, value, problem);
	/* The endpoint's own name for it is path. */
	if (!strcmp(setting->key, "file"))
		return add_param(endpoint, where, "path", value, problem);
	return add_param(endpoint, where, setting->key, value, problem);
}

/* Cuts the next "key=value" off *text into buf; ",," stands for a comma. */
static bool next_item(const char **text, char *buf, size_t room)
{
	const char *p = *text;
	size_t len = 0;

	for (; *p; p++) {
		if (*p == ',') {
			if (p[1] != ',')
				break;
			p++;
		}
		if (len + 1 == room)
			return false;
		buf[len++] = *p;
	}
	buf[len] = 0;
	*text = *p ? p + 1 : p;
	return true;
}

/* Calls set for each key=value of a list. */
static bool each_item(const char *text, const char *where, setting_fn *set, void *opaque,
		      struct problem *problem)
{
	struct setting setting = {.where = where, .section = "", .name = ""};
	char item[DAEMON_VALUE_LEN], *equals;

	while (*text) {
		if (!next_item(&text, item, sizeof(item)))
			return problem_set(problem, "%s: a setting of more than %u bytes",
					   where, DAEMON_VALUE_LEN - 1);
		equals = strchr(item, '=');
		if (equals)
			*equals++ = 0;
		setting.key = item;
		setting.value = equals ? equals : "";
		if (!set(opaque, &setting, problem))
			return false;
	}
	return true;
}

static bool set_endpoint_item(void *opaque, const struct setting *setting,
			      struct problem *problem)
{
	return endpoint_set(opaque, setting, problem);
}

bool settings_endpoint(struct endpoint_settings *out, const char *where, const char *text,
		       struct problem *problem)
{
	size_t len = strcspn(text, ",");

	*out = (struct endpoint_settings){.iommu = true, .msix = true};
	if (!len || len >= sizeof(out->type) || memchr(text, '=', len))
		return problem_set(problem,
				   "%s %.64s: starts with the kind of endpoint; try "
				   "%s blk,id=disk0,ep=0x20,path=disk.img",
				   where, text, where);
	memcpy(out->type, text, len);
	text += len + (text[len] == ',');
	return each_item(text, where, set_endpoint_item, out, problem);
}

static struct endpoint_settings *find_endpoint(struct settings *settings, const char *id)
{
	unsigned i;

	for (i = 0; i < settings->endpoints_nr; i++)
		if (!strcmp(settings->endpoints[i].id, id))
			return &settings->endpoints[i];
	return NULL;
}

static struct endpoint_settings *new_endpoint(struct settings *settings,
					      const char *where, struct problem *problem)
{
	struct endpoint_settings *endpoint;

	if (settings->endpoints_nr == DAEMON_ENDPOINTS_MAX) {
		problem_set(problem, "%s: more than %u endpoints; start a second viommud",
			    where, DAEMON_ENDPOINTS_MAX);
		return NULL;
	}
	endpoint = &settings->endpoints[settings->endpoints_nr++];
	*endpoint = (struct endpoint_settings){.iommu = true, .msix = true};
	return endpoint;
}

/* ---- a setting of a file ---- */

static bool set_daemon(struct settings *settings, const struct setting *setting,
		       struct problem *problem)
{
	const struct key *key =
		key_find(daemon_keys, ARRAY_LEN(daemon_keys), setting->key);

	if (!key)
		return key_unknown(daemon_keys, ARRAY_LEN(daemon_keys), setting->where,
				   setting->key, problem);
	return key_set(key, settings, setting->where, setting->value, problem);
}

static bool set_iommu(void *opaque, const struct setting *setting,
		      struct problem *problem)
{
	const struct key *key = key_find(iommu_keys, ARRAY_LEN(iommu_keys), setting->key);
	struct settings *settings = opaque;

	if (!key)
		return key_unknown(iommu_keys, ARRAY_LEN(iommu_keys), setting->where,
				   setting->key, problem);
	return key_set(key, &settings->iommu, setting->where, setting->value, problem);
}

static bool set_in_endpoint(struct settings *settings, const struct setting *setting,
			    struct problem *problem)
{
	struct endpoint_settings *endpoint;
	const char *id = setting->name, *where = setting->where;

	if (!id[0])
		return problem_set(problem,
				   "%s: the section has no name; write [endpoint disk0]",
				   where);
	endpoint = find_endpoint(settings, id);
	if (!endpoint) {
		endpoint = new_endpoint(settings, where, problem);
		if (!endpoint)
			return false;
		snprintf(endpoint->id, sizeof(endpoint->id), "%s", id);
	}
	if (!strcmp(setting->key, "id"))
		return problem_set(problem,
				   "%s: id is the section's name already: [endpoint %s]",
				   where, id);
	return endpoint_set(endpoint, setting, problem);
}

bool settings_set(void *opaque, const struct setting *setting, struct problem *problem)
{
	const char *section = setting->section;

	if (!strcmp(section, "endpoint"))
		return set_in_endpoint(opaque, setting, problem);
	if (setting->name[0])
		return problem_set(problem, "%s: [%s] takes no name", setting->where,
				   section);
	if (!strcmp(section, "iommu"))
		return set_iommu(opaque, setting, problem);
	if (section[0])
		return problem_set(problem,
				   "%s: there is no section [%s]; there are [iommu] and "
				   "[endpoint NAME]",
				   setting->where, section);
	return set_daemon(opaque, setting, problem);
}

/* ---- the command line ---- */

static bool command_endpoint(struct settings *settings, const char *value,
			     struct problem *problem)
{
	struct endpoint_settings *endpoint;

	endpoint = new_endpoint(settings, "--endpoint", problem);
	return endpoint && settings_endpoint(endpoint, "--endpoint", value, problem);
}

static bool command_config(struct settings *settings, const char *value,
			   struct problem *problem)
{
	struct config_handler handler = {.set = settings_set, .opaque = settings};

	return config_read(value, &handler, problem);
}

/* The options that take more than one value. */
static bool set_compound(struct settings *settings, const char *name, const char *value,
			 struct problem *problem)
{
	if (!strcmp(name, "endpoint"))
		return command_endpoint(settings, value, problem);
	if (!strcmp(name, "config"))
		return command_config(settings, value, problem);
	return each_item(value, "--iommu", set_iommu, settings, problem);
}

static const struct key *find_command_key(const char *name)
{
	const struct key *key = key_find(daemon_keys, ARRAY_LEN(daemon_keys), name);

	return key ? key : key_find(command_keys, ARRAY_LEN(command_keys), name);
}

static bool is_compound(const char *name)
{
	return !strcmp(name, "iommu") || !strcmp(name, "endpoint") ||
	       !strcmp(name, "config");
}

static bool set_command(struct settings *settings, const char *name, const char *value,
			struct problem *problem)
{
	const struct key *key = find_command_key(name);
	char where[DAEMON_NAME_LEN + 16];

	if (is_compound(name))
		return set_compound(settings, name, value, problem);
	snprintf(where, sizeof(where), "--%s", name);
	return key_set(key, settings, where, value, problem);
}

/* Splits "--name=value" into name and value; value NULL if there is no '='. */
static bool split_option(const char *arg, char name[DAEMON_NAME_LEN], const char **value)
{
	size_t len = strcspn(arg + 2, "=");

	if (strncmp(arg, "--", 2) || !len || len >= DAEMON_NAME_LEN)
		return false;
	memcpy(name, arg + 2, len);
	name[len] = 0;
	*value = arg[2 + len] ? arg + 2 + len + 1 : NULL;
	return true;
}

static bool wants_value(const char *name)
{
	const struct key *key = find_command_key(name);

	return !key || (key->kind != KEY_SWITCH && key->kind != KEY_NEGATE);
}

static bool parse_command(struct settings *settings, int argc, char **argv,
			  struct problem *problem)
{
	char name[DAEMON_NAME_LEN];
	const char *value;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h"))
			argv[i] = "--help";
		if (!split_option(argv[i], name, &value) ||
		    (!is_compound(name) && !find_command_key(name)))
			return problem_set(problem,
					   "%.64s: there is no such option; viommud "
					   "--help lists them",
					   argv[i]);
		if (!value && wants_value(name)) {
			if (i + 1 == argc)
				return problem_set(problem,
						   "--%s: the value is missing; viommud "
						   "--help shows one",
						   name);
			value = argv[++i];
		}
		if (!set_command(settings, name, value ? value : "", problem))
			return false;
	}
	return true;
}

static bool set_defaults(struct settings *settings)
{
	*settings = (struct settings){
		.threads = SETTINGS_AUTO,
		.priority = true,
		.socket_mode = 0600,
		.log_level = VIOMMU_LOG_INFO,
		.seccomp = true,
		.ready_fd = -1,
		.poll = {.automatic = true, .max_us = POLL_AUTO_IOMMU_US},
		.iommu = {.id = "iommu",
			  .bypass = true,
			  .granule = 4096,
			  .input_bits = 64,
			  .packed = true,
			  .indirect = false, /* a line less to fetch for a request */
			  .queue_size = 512, /* of which one takes two */
			  .fault_rate = 100,
			  .hold_timeout_ms = 2000},
	};
	settings->socket_dir = strdup(".");
	return settings->socket_dir;
}

bool settings_parse(int argc, char **argv, struct settings **out, struct problem *problem)
{
	struct settings *settings = calloc(1, sizeof(*settings));

	*out = settings;
	if (!settings || !set_defaults(settings))
		return problem_set(problem, "out of memory");
	if (!parse_command(settings, argc, argv, problem))
		return false;
	if (settings->help || settings->version)
		return true;
	return settings_validate(settings, problem);
}

void settings_free(struct settings *settings)
{
	if (!settings)
		return;
	free(settings->socket_dir);
	free(settings->control);
	free(settings->user);
	free(settings);
}

/* ---- the whole ---- */

bool settings_validate_endpoint(struct endpoint_settings *endpoint,
				struct problem *problem)
{
	char where[DAEMON_NAME_LEN + 16];

	if (!endpoint->id[0])
		return problem_set(problem,
				   "--endpoint %s: id is missing; it names the socket, "
				   "e.g. id=disk0",
				   endpoint->type);
	snprintf(where, sizeof(where), "endpoint %s", endpoint->id);
	if (!kinds_check(endpoint, where, problem))
		return false;
	if (endpoint->iommu && !endpoint->ep_set)
		return problem_set(
			problem,
			"%s: ep is missing: the IOMMU's number for it, as in "
			"the VIOT, e.g. ep=0x20 for 00:04.0; or give iommu=off",
			where);
	if (!endpoint->resv_set) {
		endpoint->resv[0] = (struct viommu_resv){.start = X86_MSI_FIRST,
							 .last = X86_MSI_LAST,
							 .kind = VIOMMU_RESV_MSI};
		endpoint->resv_nr = 1;
		endpoint->resv_set = true;
	}
	return true;
}

static bool check_pair(const struct endpoint_settings *a,
		       const struct endpoint_settings *b, struct problem *problem)
{
	if (!strcmp(a->id, b->id))
		return problem_set(
			problem, "endpoint %s: the id is given twice; each needs its own",
			a->id);
	if (a->iommu && b->iommu && a->ep == b->ep)
		return problem_set(problem,
				   "endpoint %s: ep=%#x is that of endpoint %s; each "
				   "needs its own, as in the VIOT",
				   b->id, b->ep, a->id);
	return true;
}

bool settings_validate(struct settings *settings, struct problem *problem)
{
	unsigned i, j;

	if (!settings->iommu.poll_set)
		settings->iommu.poll = settings->poll;
	for (i = 0; i < settings->endpoints_nr; i++) {
		if (!settings_validate_endpoint(&settings->endpoints[i], problem))
			return false;
		if (!strcmp(settings->endpoints[i].id, settings->iommu.id))
			return problem_set(problem,
					   "endpoint %s: the id is the IOMMU's; choose "
					   "another, or give --iommu id=NAME",
					   settings->iommu.id);
		for (j = 0; j < i; j++)
			if (!check_pair(&settings->endpoints[j], &settings->endpoints[i],
					problem))
				return false;
	}
	return true;
}
