/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* viommu: the command line. */
#include <stdio.h>
#include <string.h>

#include <viommu/base.h>

#include "commands.h"

/* clang-format off */
static const char help[] =
"Usage: viommu COMMAND [OPTION...]\n"
"\n"
"A virtual machine whose devices reach only the memory that the guest has mapped for\n"
"them: a virtio-iommu, and disks behind it, for QEMU and Cloud Hypervisor.\n"
"\n"
"  run       boot a guest with protected devices\n"
"  stat      show what a running viommud has counted\n"
"  top       the same live, by endpoint\n"
"  trace     show requests and faults as they happen\n"
"  control   send a command to a running viommud: add a disk, resize it, list mappings\n"
"  bench     measure guests behind our IOMMU and QEMU's: one table, one page\n"
"  viot      write the ACPI table that tells a guest what is behind the IOMMU\n"
"  version   print the version\n"
"  help      this text; `viommu COMMAND --help` has options and examples\n"
"\n"
"To start with\n"
"  viommu run --kernel vmlinuz --initrd initrd.img --disk null:1G\n"
"  viommu stat        in another terminal\n"
"\n"
"To start the parts by hand, or from a VM manager: viommud --help.\n"
"\n"
"Exit status: 0 done, 1 failed, 2 wrong use, 77 something named is missing here.\n";
/* clang-format on */

static int command_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs(help, stdout);
	return STATUS_OK;
}

static int command_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("viommu %s\n", viommu_version());
	return STATUS_OK;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"run", command_run},		{"stat", command_stat},
	{"top", command_top},		{"trace", command_trace},
	{"control", command_control},	{"viot", command_viot},
	{"bench", command_bench},	{"version", command_version},
	{"--version", command_version}, {"help", command_help},
	{"--help", command_help},	{"-h", command_help},
};

int main(int argc, char **argv)
{
	unsigned i;

	if (argc < 2) {
		fputs(help, stderr);
		return STATUS_USE;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 2, argv + 2);
	fprintf(stderr, "viommu %s: there is no such command; viommu help lists them\n",
		argv[1]);
	return STATUS_USE;
}
