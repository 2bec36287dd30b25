/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "args.h"
#include "find.h"
#include "process.h"
#include "run.h"

#define QEMU_NAME   "qemu-system-x86_64"
#define QUESTION_MS 20000u
#define TCG	    "tcg,thread=multi"

/* A path relative to the folder of this program; false: it is not there. */
static bool beside(const char *relative, int mode, char *path, size_t room)
{
	char self[512];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	int n;

	if (len <= 0)
		return false;
	self[len] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = 0;
	n = snprintf(path, room, "%s/%s", self, relative);
	return n > 0 && (size_t)n < room && !access(path, mode);
}

/* A program of $PATH. */
static bool in_path(const char *name, char *path, size_t room)
{
	const char *at = getenv("PATH");
	size_t len;
	int n;

	while (at && *at) {
		len = strcspn(at, ":");
		n = snprintf(path, room, "%.*s/%s", (int)len, at, name);
		if (n > 0 && (size_t)n < room && !access(path, X_OK))
			return true;
		at += len + (at[len] == ':');
	}
	return false;
}

static bool take(const char *given, char *path, size_t room)
{
	if (!strchr(given, '/'))
		return in_path(given, path, room);
	if (strlen(given) >= room || access(given, X_OK))
		return false;
	memcpy(path, given, strlen(given) + 1);
	return true;
}

bool find_beside_viommud(char *path, size_t room)
{
	return beside("viommud", X_OK, path, room) ||
	       beside("../daemon/viommud", X_OK, path, room) ||
	       beside("../sbin/viommud", X_OK, path, room);
}

bool find_viommud(const char *given, char *path, size_t room)
{
	if (given)
		return take(given, path, room) ||
		       args_refuse("run", "--viommud %s: no program that can be started",
				   given);
	return find_beside_viommud(path, room) || in_path("viommud", path, room) ||
	       args_refuse("run", "viommud is neither beside this program nor in $PATH; "
				  "say where: --viommud PATH");
}

bool find_bench(char *path, size_t room)
{
	const char *set = getenv("VIOMMU_BENCH");

	if (set && set[0])
		return take(set, path, room) ||
		       args_refuse("bench",
				   "VIOMMU_BENCH=%s: no program that can be started",
				   set);
	return beside("../libexec/viommu/tools/bench-guest", X_OK, path, room) ||
	       beside("../../../tools/bench-guest", X_OK, path, room) ||
	       args_refuse("bench",
			   "the benchmark is neither installed beside this program "
			   "nor in a source tree around it; VIOMMU_BENCH=PATH says "
			   "where tools/bench-guest is");
}

/* ---- QEMU ---- */

static bool locate_qemu(const char *given, char *path, size_t room)
{
	const char *set = getenv("VIOMMU_QEMU");

	if (given)
		return take(given, path, room) ||
		       args_refuse("run", "--qemu %s: no program that can be started",
				   given);
	if (set && set[0])
		return take(set, path, room) ||
		       args_refuse("run",
				   "VIOMMU_QEMU=%s: no program that can be started", set);
	return beside("../../lab/qemu", X_OK, path, room) ||
	       in_path(QEMU_NAME, path, room) ||
	       args_refuse("run", "there is no " QEMU_NAME " in $PATH; install QEMU 10.1 "
				  "or newer, try tools/lab/prepare, or say where: --qemu "
				  "PATH");
}

bool find_qemu(const char *given, char *path, size_t room)
{
	char text[4096];
	char *version_argv[] = {path, "--version", NULL};
	char *device_argv[] = {path, "-device", "vfio-user-pci,help", NULL};
	unsigned version;

	if (!locate_qemu(given, path, room))
		return false;
	process_output(version_argv, text, sizeof(text), QUESTION_MS);
	version = run_qemu_version(text);
	if (!version)
		return args_refuse("run",
				   "--qemu: %s does not answer --version as QEMU "
				   "does; try tools/lab/prepare or --qemu PATH",
				   path);
	if (version < RUN_QEMU_MIN)
		return args_refuse("run",
				   "--qemu: QEMU %u.%u found at %s; viommu needs 10.1 or "
				   "newer with vfio-user-pci; try tools/lab/prepare or "
				   "--qemu PATH",
				   version / 100, version % 100, path);
	if (process_output(device_argv, text, sizeof(text), QUESTION_MS))
		return args_refuse("run",
				   "--qemu: %s was built without vfio-user-pci; try "
				   "tools/lab/prepare or --qemu PATH",
				   path);
	return true;
}

/* ---- accelerator ---- */

/* The lab has tried which one boots a kernel here: /dev/kvm may exist and still
 * not run one. */
static const char *lab_accel(void)
{
	const char *found = NULL, *accel;
	char path[640];
	json_t *known;

	if (!beside("../../lab/accel", R_OK, path, sizeof(path)))
		return NULL;
	known = json_load_file(path, 0, NULL);
	accel = json_string_value(json_object_get(known, "accel"));
	if (accel)
		found = strncmp(accel, "tcg", 3) ? "kvm" : TCG;
	json_decref(known);
	return found;
}

const char *find_accel(const char *wish)
{
	const char *known;

	if (!strcmp(wish, "kvm"))
		return "kvm";
	if (!strcmp(wish, "tcg"))
		return TCG;
	known = lab_accel();
	if (known)
		return known;
	return access("/dev/kvm", R_OK | W_OK) ? TCG : "kvm";
}
