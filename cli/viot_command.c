/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "commands.h"
#include "viot.h"

/* clang-format off */
static const char help[] =
"Usage: viommu viot [--iommu FUNCTION] --endpoint FIRST[-LAST][=EP]... --output FILE\n"
"\n"
"Writes the ACPI table that tells a guest on x86 which PCI functions are behind the\n"
"virtio-iommu, for QEMU's -acpitable file=FILE.\n"
"\n"
"  --iommu FUNCTION      where the VM has the virtio-iommu (3)\n"
"  --endpoint F[-L][=EP] functions behind it, ends included; may be repeated. EP is\n"
"                        the number viommud knows the first one by (ep=); left out,\n"
"                        it is bus << 8 | device << 3 | function\n"
"  -o, --output FILE     the table; - for standard output\n"
"\n"
"FUNCTION is [BUS:]DEVICE[.FUNCTION] in hexadecimal: 4 is 00:04.0, number 0x20.\n"
"List exactly the functions that viommud serves: any other device in a range would\n"
"be programmed with addresses that only viommud can translate.\n"
"\n"
"Example: viommu viot --iommu 3 --endpoint 4 --endpoint 5=0x100 -o viot.bin\n";
/* clang-format on */

struct options {
	const char *iommu, *output;
	struct arg_list endpoints;
	bool help;
};

static bool parse_ranges(const struct options *options, struct viot_range *ranges)
{
	unsigned i;

	for (i = 0; i < options->endpoints.nr; i++)
		if (!viot_parse_range(options->endpoints.item[i], &ranges[i]))
			return args_refuse("viot",
					   "--endpoint %s is not FIRST[-LAST][=EP]; try "
					   "--endpoint 4 or --endpoint 4-5=0x20",
					   options->endpoints.item[i]);
	return true;
}

static int write_table(const char *path, const uint8_t *table, size_t len)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "wb") : stdout;
	bool bad;

	if (!file) {
		args_refuse("viot", "--output %s: %s", path, strerror(errno));
		return STATUS_FAILED;
	}
	bad = fwrite(table, 1, len, file) != len;
	bad |= file == stdout ? fflush(file) != 0 : fclose(file) != 0;
	if (bad)
		args_refuse("viot", "--output %s: %s", path, strerror(errno));
	return bad ? STATUS_FAILED : STATUS_OK;
}

static int write_viot(const struct options *options)
{
	struct viot_range ranges[ARGS_LIST_MAX];
	uint8_t table[VIOT_LEN_MAX] = {0};
	uint16_t iommu;

	if (!viot_parse_bdf(options->iommu, &iommu)) {
		args_refuse("viot", "--iommu %s is no PCI function; try --iommu 3",
			    options->iommu);
		return STATUS_USE;
	}
	if (!options->endpoints.nr) {
		args_refuse("viot", "--endpoint is missing; try --endpoint 4");
		return STATUS_USE;
	}
	if (!options->output) {
		args_refuse("viot", "--output is missing; try --output viot.bin");
		return STATUS_USE;
	}
	if (!parse_ranges(options, ranges))
		return STATUS_USE;
	return write_table(options->output, table,
			   viot_write(table, iommu, ranges, options->endpoints.nr));
}

int command_viot(int argc, char **argv)
{
	struct options options = {.iommu = "3"};
	const struct arg table[] = {
		{"iommu", ARG_TEXT, &options.iommu, "3"},
		{"endpoint", ARG_LIST, &options.endpoints, "4"},
		{"output", ARG_TEXT, &options.output, "viot.bin"},
		{"help", ARG_FLAG, &options.help, NULL},
		{0},
	};
	struct args_rest rest;

	if (!args_parse("viot", argc, argv, table, &rest))
		return STATUS_USE;
	if (options.help) {
		fputs(help, stdout);
		return STATUS_OK;
	}
	if (rest.nr) {
		args_refuse("viot", "%s: what is that? Options start with --",
			    rest.item[0]);
		return STATUS_USE;
	}
	return write_viot(&options);
}
