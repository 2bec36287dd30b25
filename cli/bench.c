/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* viommu bench: hands over to the program that boots and measures guests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "commands.h"
#include "find.h"

#define BENCH_ARGS_MAX 128

int command_bench(int argc, char **argv)
{
	char script[1024], viommud[1024], *run[BENCH_ARGS_MAX + 3];
	int i;

	if (argc > BENCH_ARGS_MAX) {
		args_refuse("bench", "more than %d arguments", BENCH_ARGS_MAX);
		return STATUS_USE;
	}
	if (!find_bench(script, sizeof(script)))
		return STATUS_MISSING;
	/* One that is not here is missed only by the rows that need it. */
	if (find_beside_viommud(viommud, sizeof(viommud)))
		setenv("VIOMMUD", viommud, 0);
	run[0] = "python3";
	run[1] = script;
	for (i = 0; i < argc; i++)
		run[i + 2] = argv[i];
	run[argc + 2] = NULL;
	execvp(run[0], run);
	args_refuse("bench", "python3 cannot be started; install Python 3.11 or newer");
	return STATUS_MISSING;
}
