/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "run.h"
#include "viot.h"

/* ---- words ---- */

void words_add(struct words *words, const char *fmt, ...)
{
	va_list list;
	char *word = NULL;

	va_start(list, fmt);
	if (vasprintf(&word, fmt, list) < 0)
		word = NULL;
	va_end(list);
	if (!word || words->nr == RUN_ARGV_MAX) {
		words->full = true;
		free(word);
		return;
	}
	words->word[words->nr++] = word;
	words->word[words->nr] = NULL;
}

void words_free(struct words *words)
{
	while (words->nr)
		free(words->word[--words->nr]);
	words->word[0] = NULL;
}

/* ---- devices ---- */

/* The next slot and the endpoint's number that comes with it. */
static struct run_device *new_device(struct run_plan *plan, const char *kind)
{
	struct run_device *device;

	if (plan->devices_nr == RUN_DEVICES_MAX) {
		args_refuse("run", "more than %u devices; the root bus has no more slots",
			    RUN_DEVICES_MAX);
		return NULL;
	}
	device = &plan->device[plan->devices_nr];
	device->slot = RUN_FIRST_SLOT + plan->devices_nr;
	snprintf(device->id, sizeof(device->id), "%s%u", kind, plan->devices_nr++);
	return device;
}

static bool describe(struct run_device *device, const char *type, bool no_iommu,
		     const char *rest)
{
	char head[80];
	int n;

	if (no_iommu)
		snprintf(head, sizeof(head), "%s,id=%s,iommu=off", type, device->id);
	else
		snprintf(head, sizeof(head), "%s,id=%s,ep=0x%x", type, device->id,
			 device->slot << 3);
	n = snprintf(device->endpoint, sizeof(device->endpoint), "%s%s", head, rest);
	if (n < 0 || (size_t)n >= sizeof(device->endpoint))
		return args_refuse("run", "--disk: longer than %zu bytes",
				   sizeof(device->endpoint) - sizeof(head));
	return true;
}

/* Bytes up to the first comma that is not doubled. */
static size_t first_item(const char *text)
{
	size_t len = 0;

	while (text[len] && (text[len] != ',' || text[len + 1] == ','))
		len += text[len] == ',' ? 2 : 1;
	return len;
}

static bool add_disk(struct run_plan *plan, const char *text, bool no_iommu)
{
	struct run_device *device = new_device(plan, "disk");
	size_t len = first_item(text);
	const char *format = ",path=%.*s%s";
	char rest[1100];
	int n;

	if (!device)
		return false;
	if (!strncmp(text, "null:", 5))
		format = ",backend=null,size=%.*s%s";
	else if (!strncmp(text, "mem:", 4))
		format = ",backend=mem,size=%.*s%s";
	if (format[1] == 'b') {
		n = (int)(strchr(text, ':') + 1 - text);
		text += n;
		len -= (size_t)n;
	}
	if (!len)
		return args_refuse("run",
				   "--disk: what is missing; try --disk disk.img or "
				   "--disk null:1G");
	n = snprintf(rest, sizeof(rest), format, (int)len, text, text + len);
	if (n < 0 || (size_t)n >= sizeof(rest))
		return args_refuse("run", "--disk: longer than %zu bytes",
				   sizeof(rest) - 100);
	return describe(device, "blk", no_iommu, rest);
}

bool run_plan_devices(struct run_plan *plan, const struct run_options *options)
{
	struct run_device *device;
	unsigned i;

	if (options->disk_image &&
	    !add_disk(plan, options->disk_image, options->no_iommu))
		return false;
	for (i = 0; i < options->disks.nr; i++)
		if (!add_disk(plan, options->disks.item[i], options->no_iommu))
			return false;
	if (!options->dmatest)
		return true;
	device = new_device(plan, "dmatest");
	return device && describe(device, "dmatest", options->no_iommu, "");
}

unsigned run_plan_viot(const struct run_plan *plan, uint8_t *out)
{
	struct viot_range ranges[RUN_DEVICES_MAX];
	unsigned i;

	for (i = 0; i < plan->devices_nr; i++) {
		ranges[i].first = (uint16_t)(plan->device[i].slot << 3);
		ranges[i].last = ranges[i].first;
		ranges[i].ep = ranges[i].first;
	}
	return (unsigned)viot_write(out, RUN_IOMMU_SLOT << 3, ranges, plan->devices_nr);
}

/* ---- viommud's command ---- */

static void add_pair(struct words *words, const char *option, const char *value)
{
	if (!value)
		return;
	words_add(words, "%s", option);
	words_add(words, "%s", value);
}

static void plan_viommud(struct run_plan *plan, const struct run_options *options,
			 int ready_fd)
{
	struct words *words = &plan->viommud_argv;
	unsigned i;

	words_add(words, "%s", plan->viommud);
	add_pair(words, "--socket-dir", plan->dir);
	words_add(words, "--control");
	words_add(words, "%s/control.sock", plan->dir);
	if (ready_fd >= 0) {
		words_add(words, "--ready-fd");
		words_add(words, "%d", ready_fd);
	}
	add_pair(words, "--iommu", options->iommu);
	for (i = 0; i < plan->devices_nr; i++)
		add_pair(words, "--endpoint", plan->device[i].endpoint);
	add_pair(words, "--poll-us", options->poll_us);
	add_pair(words, "--threads", options->threads);
	add_pair(words, "--log-level", options->log_level);
	if (options->no_seccomp)
		words_add(words, "--no-seccomp");
}

/* ---- QEMU's command ---- */

static void add_function(struct run_plan *plan, const char *id, unsigned slot)
{
	char path[128], addr[8];
	json_t *device;
	char *text;

	snprintf(path, sizeof(path), "%s/%s.sock", plan->dir, id);
	snprintf(addr, sizeof(addr), "%x", slot);
	device = json_pack("{s:s,s:s,s:s,s:{s:s,s:s}}", "driver", "vfio-user-pci", "id",
			   id, "addr", addr, "socket", "path", path, "type", "unix");
	text = json_dumps(device, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(device);
	add_pair(&plan->qemu_argv, "-device", text);
	free(text);
}

static void plan_machine(struct run_plan *plan, const struct run_options *options)
{
	struct words *words = &plan->qemu_argv;

	words_add(words, "%s", plan->qemu);
	words_add(words, "-nodefaults");
	words_add(words, "-no-user-config");
	add_pair(words, "-name", options->name);
	add_pair(words, "-display", "none");
	add_pair(words, "-serial", "mon:stdio");
	add_pair(words, "-machine", "q35,memory-backend=mem");
	add_pair(words, "-accel", plan->accel);
	add_pair(words, "-cpu", options->cpu);
	add_pair(words, "-smp", options->cpus);
	add_pair(words, "-m", options->memory);
	words_add(words, "-object");
	/* Shared: viommud maps it. */
	words_add(words, "memory-backend-memfd,id=mem,size=%s,share=on", options->memory);
}

static void plan_boot(struct run_plan *plan, const struct run_options *options)
{
	struct words *words = &plan->qemu_argv;

	add_pair(words, "-bios", options->firmware);
	if (!options->kernel)
		return;
	add_pair(words, "-kernel", options->kernel);
	add_pair(words, "-initrd", plan->initrd);
	words_add(words, "-append");
	words_add(words, "console=ttyS0%s%s", options->append ? " " : "",
		  options->append ? options->append : "");
}

static void plan_qemu(struct run_plan *plan, const struct run_options *options)
{
	unsigned i;
	int j;

	plan_machine(plan, options);
	plan_boot(plan, options);
	if (!options->no_iommu) {
		words_add(&plan->qemu_argv, "-acpitable");
		words_add(&plan->qemu_argv, "file=%s/viot.bin", plan->dir);
		add_function(plan, "iommu", RUN_IOMMU_SLOT);
	}
	for (i = 0; i < plan->devices_nr; i++)
		add_function(plan, plan->device[i].id, plan->device[i].slot);
	for (j = 0; j < options->qemu_args.nr; j++)
		words_add(&plan->qemu_argv, "%s", options->qemu_args.item[j]);
}

bool run_plan_commands(struct run_plan *plan, const struct run_options *options,
		       int ready_fd)
{
	plan_viommud(plan, options, ready_fd);
	plan_qemu(plan, options);
	if (plan->viommud_argv.full || plan->qemu_argv.full)
		return args_refuse("run", "more than %u words for a command",
				   RUN_ARGV_MAX);
	return true;
}

void run_plan_free(struct run_plan *plan)
{
	words_free(&plan->viommud_argv);
	words_free(&plan->qemu_argv);
	free(plan->initrd);
	plan->initrd = NULL;
}

unsigned run_qemu_version(const char *text)
{
	const char *at = strstr(text, "version ");
	unsigned major, minor;

	if (!at || sscanf(at, "version %u.%u", &major, &minor) != 2 || minor > 99)
		return 0;
	return major * 100 + minor;
}
