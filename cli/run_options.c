/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "run.h"

/* clang-format off */
const char run_help[] =
"Usage: viommu run --kernel FILE [--initrd FILE]... [OPTION...] [-- QEMU OPTION...]\n"
"       viommu run --disk-image FILE [OPTION...] [-- QEMU OPTION...]\n"
"\n"
"Boots a virtual machine whose disks are behind a virtio-iommu: makes a private\n"
"folder, starts viommud there, writes the VIOT, starts QEMU with this terminal as\n"
"the guest's console, and cleans up when the guest powers off (or with Ctrl-A X, or\n"
"when this program is stopped).\n"
"\n"
"What to boot\n"
"  --kernel FILE         a Linux kernel (bzImage)\n"
"  --initrd FILE         its initramfs; more than one are put one after another\n"
"  --append WORDS        words for the kernel, after console=ttyS0\n"
"  --disk-image FILE     a raw disk image with a boot loader; is the first disk\n"
"  --firmware FILE       in place of QEMU's BIOS; for images that want UEFI: OVMF.fd\n"
"                        (code and variables in one file; what is set is not kept)\n"
"\n"
"Devices\n"
"  --disk WHAT[,KEY=VALUE...]   a virtio disk; may be repeated (/dev/vda, vdb, ...)\n"
"         FILE           a raw image or block device\n"
"         null:SIZE      takes all writes, reads zeroes: to measure the rest\n"
"         mem:SIZE       in memory\n"
"                        keys: those of `viommud --help` for blk\n"
"  --dmatest             a device that does the DMA a guest program tells it to\n"
"  --no-iommu            the same devices without an IOMMU, to compare\n"
"\n"
"The machine\n"
"  --memory SIZE         (1G)\n"
"  --cpus N              (2)\n"
"  --cpu MODEL           QEMU's name of it (max)\n"
"  --accel auto|kvm|tcg  (auto: KVM where /dev/kvm can be used)\n"
"  --qemu PATH           QEMU 10.1 or newer (the lab's, else qemu-system-x86_64)\n"
"  --name NAME           shows in the folder's name (vm)\n"
"  --timeout SECONDS     give up after that time\n"
"  -- OPTION...          more options for QEMU\n"
"\n"
"The IOMMU\n"
"  --iommu KEY=VALUE,... as `viommud --help` lists them, e.g. bypass=off\n"
"  --poll-us N|auto      how long rings are watched before the guest has to notify\n"
"  --threads N           for the devices\n"
"  --viommud PATH        the program (the one beside this one)\n"
"  --no-seccomp          let it do without its system call filter\n"
"  --log-level LEVEL     of viommud (info)\n"
"\n"
"Other\n"
"  --dry-run             print the two commands, start nothing\n"
"  --verbose             viommud's messages here, not in its log file\n"
"\n"
"Examples\n"
"  viommu run --kernel vmlinuz --initrd initrd.img --disk disk.img --append 'quiet'\n"
"  viommu run --disk-image debian.raw --memory 2G -- -netdev user,id=n \\\n"
"             -device virtio-net-pci,netdev=n\n"
"  viommu run --disk-image debian.raw --firmware /usr/share/ovmf/OVMF.fd\n"
"  viommu stat        (in another terminal)\n"
"\n"
"Exit status: 0 the guest ended by itself, 1 it or a helper failed, 2 wrong use, 77\n"
"something is missing here (QEMU, viommud, the kernel).\n";
/* clang-format on */

static bool is_size(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	if (!digits || digits > 9 || text[0] == '0')
		return false;
	return !text[digits] || (strchr("kKmMgGtT", text[digits]) && !text[digits + 1]);
}

static bool is_count(const char *text, unsigned max)
{
	unsigned long v = strtoul(text, NULL, 10);

	return strspn(text, "0123456789") == strlen(text) && v >= 1 && v <= max;
}

static bool is_name(const char *text)
{
	size_t len = strlen(text);

	return len && len <= 24 &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789-_") == len;
}

static bool check_machine(const struct run_options *options)
{
	if (!is_size(options->memory))
		return args_refuse("run", "--memory %s is no size; try --memory 1G",
				   options->memory);
	if (!is_count(options->cpus, 255))
		return args_refuse(
			"run", "--cpus %s is not a number from 1 to 255; try --cpus 2",
			options->cpus);
	if (!is_name(options->name))
		return args_refuse("run",
				   "--name %s is not made of at most 24 letters, digits, "
				   "- and _; try --name vm1",
				   options->name);
	if (options->timeout && !is_count(options->timeout, 1000000))
		return args_refuse("run",
				   "--timeout %s is not a number of seconds; try "
				   "--timeout 60",
				   options->timeout);
	if (strcmp(options->accel, "auto") && strcmp(options->accel, "kvm") &&
	    strcmp(options->accel, "tcg"))
		return args_refuse("run", "--accel %s is not auto, kvm or tcg",
				   options->accel);
	return true;
}

static bool check_use(const struct run_options *options)
{
	if (options->qemu_args.nr && !options->qemu_args.dashes)
		return args_refuse("run",
				   "%s: what is that? Options start with --; options for "
				   "QEMU come after --",
				   options->qemu_args.item[0]);
	if (!options->kernel == !options->disk_image)
		return args_refuse("run",
				   "give either --kernel FILE or --disk-image FILE; "
				   "viommu run --help shows examples");
	if (!options->kernel && (options->initrds.nr || options->append))
		return args_refuse("run", "--initrd and --append need --kernel");
	if (options->no_iommu && options->iommu)
		return args_refuse("run", "--iommu and --no-iommu exclude each other");
	return check_machine(options);
}

static bool check_file(const char *option, const char *path)
{
	if (!path || !access(path, R_OK))
		return true;
	return args_refuse("run", "--%s %s: cannot be read; give the path of a file",
			   option, path);
}

static bool check_files(const struct run_options *options)
{
	unsigned i;

	for (i = 0; i < options->initrds.nr; i++)
		if (!check_file("initrd", options->initrds.item[i]))
			return false;
	return check_file("kernel", options->kernel) &&
	       check_file("firmware", options->firmware) &&
	       check_file("disk-image", options->disk_image);
}

int run_options_parse(int argc, char **argv, struct run_options *options)
{
	const struct arg table[] = {
		{"kernel", ARG_TEXT, &options->kernel, "vmlinuz"},
		{"initrd", ARG_LIST, &options->initrds, "initrd.img"},
		{"append", ARG_TEXT, &options->append, "quiet"},
		{"disk-image", ARG_TEXT, &options->disk_image, "debian.raw"},
		{"firmware", ARG_TEXT, &options->firmware, "/usr/share/ovmf/OVMF.fd"},
		{"disk", ARG_LIST, &options->disks, "disk.img"},
		{"dmatest", ARG_FLAG, &options->dmatest, NULL},
		{"no-iommu", ARG_FLAG, &options->no_iommu, NULL},
		{"memory", ARG_TEXT, &options->memory, "1G"},
		{"cpus", ARG_TEXT, &options->cpus, "2"},
		{"cpu", ARG_TEXT, &options->cpu, "max"},
		{"accel", ARG_TEXT, &options->accel, "auto"},
		{"qemu", ARG_TEXT, &options->qemu, "/usr/bin/qemu-system-x86_64"},
		{"name", ARG_TEXT, &options->name, "vm1"},
		{"timeout", ARG_TEXT, &options->timeout, "60"},
		{"iommu", ARG_TEXT, &options->iommu, "bypass=on"},
		{"poll-us", ARG_TEXT, &options->poll_us, "auto"},
		{"threads", ARG_TEXT, &options->threads, "auto"},
		{"viommud", ARG_TEXT, &options->viommud, "/usr/sbin/viommud"},
		{"no-seccomp", ARG_FLAG, &options->no_seccomp, NULL},
		{"log-level", ARG_TEXT, &options->log_level, "debug"},
		{"dry-run", ARG_FLAG, &options->dry_run, NULL},
		{"verbose", ARG_FLAG, &options->verbose, NULL},
		{"help", ARG_FLAG, &options->help, NULL},
		{0},
	};

	*options = (struct run_options){
		.memory = "1G", .cpus = "2", .cpu = "max", .accel = "auto", .name = "vm"};
	if (!args_parse("run", argc, argv, table, &options->qemu_args))
		return STATUS_USE;
	if (options->help)
		return STATUS_OK;
	if (!check_use(options))
		return STATUS_USE;
	return check_files(options) ? STATUS_OK : STATUS_MISSING;
}
