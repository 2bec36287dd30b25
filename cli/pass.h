/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Files for a viommud that cannot open any: they are opened here, with the rights
 * of whoever asks, and passed over the control socket.
 */
#ifndef CLI_PASS_H
#define CLI_PASS_H

#include <stdbool.h>
#include <stddef.h>

#define PASS_FDS_MAX 2u

struct passed {
	int fd[PASS_FDS_MAX];
	unsigned nr;
	char error[256]; /* why it failed */
};

/* Opens the path= of an endpoint as after --endpoint, if it has one; out is the
 * same text with fd= in its place. false: see error. */
bool pass_open(struct passed *passed, const char *endpoint, char *out, size_t room);
void pass_close(struct passed *passed);

#endif
