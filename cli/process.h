/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Child processes that never outlive us. */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process {
	pid_t pid;  /* 0: not started, or reaped */
	int status; /* as of waitpid(2), once pid is 0 again */
};

struct spawn {
	char *const *argv;
	bool own_group; /* out of reach of the terminal's Ctrl-C */
	int out_fd;	/* its standard output and error; -1: ours */
	int death;	/* signal it gets if we die */
};

/* Result: 0, or -errno of what failed, execve(2) included. */
int process_start(struct process *process, const struct spawn *spawn);
/* Whether it has ended; does not wait. */
bool process_ended(struct process *process);
/* Waits for its end, at most ms. */
bool process_wait(struct process *process, unsigned ms);
/* SIGTERM, then after ms SIGKILL; waits for the end. Nothing if it has ended. */
void process_stop(struct process *process, unsigned ms);

/* Kills children that were started by ours and left behind. */
void process_adopt_orphans(void); /* once, at the start */
void process_kill_orphans(void);

/* Runs a program to its end, at most ms; its output goes to buf as a string.
 * Its exit status, or -1: no start, no end in time, or killed. */
int process_output(char *const *argv, char *buf, unsigned room, unsigned ms);

#endif
