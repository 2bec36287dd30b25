/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu run: from options to a running guest. Three steps: what was asked
 * (run_options.c), what it takes (run_plan.c: devices and command lines, pure
 * text), doing it (run.c).
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "args.h"

#define RUN_DEVICES_MAX 27u /* slots 4 to 0x1e of the root bus */
#define RUN_ARGV_MAX	512u
#define RUN_IOMMU_SLOT	3u
#define RUN_FIRST_SLOT	4u

struct run_options {
	const char *kernel, *append, *disk_image, *firmware;
	struct arg_list initrds, disks;
	const char *memory, *cpus, *cpu, *accel, *name, *timeout;
	const char *qemu, *viommud;
	const char *iommu, *poll_us, *threads, *log_level; /* for viommud */
	bool dmatest, no_iommu, no_seccomp, verbose, dry_run, help;
	struct args_rest qemu_args; /* after "--" */
};

/* Result: an exit status; STATUS_OK: go on (or print the help). */
int run_options_parse(int argc, char **argv, struct run_options *options);
extern const char run_help[];

/* A list of words, each owned. */
struct words {
	char *word[RUN_ARGV_MAX + 1]; /* NULL at the end */
	unsigned nr;
	bool full; /* some did not fit, or memory was short */
};
void words_add(struct words *words, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void words_free(struct words *words);

struct run_device {
	char id[16];
	unsigned slot;	     /* of the root bus */
	char endpoint[1200]; /* as after viommud's --endpoint */
};

struct run_plan {
	char dir[80]; /* the private folder */
	struct run_device device[RUN_DEVICES_MAX];
	unsigned devices_nr;
	const char *qemu, *viommud; /* programs */
	const char *accel;
	char *initrd; /* one file, or NULL */
	struct words viommud_argv, qemu_argv;
};

/* The devices out of the options. false: a message was printed. */
bool run_plan_devices(struct run_plan *plan, const struct run_options *options);
/* The command lines; dir, qemu, viommud, accel and initrd are set. ready_fd: of
 * viommud, -1 for none. false: a message was printed. */
bool run_plan_commands(struct run_plan *plan, const struct run_options *options,
		       int ready_fd);
/* The guest's table. Its length; room as for viot_write(). */
unsigned run_plan_viot(const struct run_plan *plan, uint8_t *out);
void run_plan_free(struct run_plan *plan);

/* "QEMU emulator version 10.1.0 (...)": major * 100 + minor, or 0. */
unsigned run_qemu_version(const char *text);
#define RUN_QEMU_MIN 1001u

#endif
