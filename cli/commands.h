/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The subcommands of viommu. Each gets what follows its name; the result is the
 * program's exit status. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

enum {
	STATUS_OK = 0,
	STATUS_FAILED = 1,  /* what was asked for went wrong */
	STATUS_USE = 2,	    /* wrong use */
	STATUS_MISSING = 77 /* something named is not on this machine */
};

int command_run(int argc, char **argv);
int command_stat(int argc, char **argv);
int command_top(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_control(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_viot(int argc, char **argv);

#endif
