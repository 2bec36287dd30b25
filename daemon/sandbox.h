/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What viommud may do once everything is open: nothing but serve. A guest or a
 * VMM that takes it over finds a process without privileges, files to open or
 * programs to start.
 */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

#include "problem.h"

/* No core files (they would hold guest memory), no rights for files made. */
bool sandbox_limits(struct problem *problem);

/* Becomes user (NULL: stays), gives up all capabilities for good, with keep_nice all but
 * CAP_SYS_NICE. To be called while there is one thread. */
bool sandbox_drop_privileges(const char *user, bool keep_nice, struct problem *problem);
/* The calling thread gives up that one too. One made before keeps it; behind the filter
 * that lets it change its own scheduling policy. */
bool sandbox_drop_nice(struct problem *problem);

/* What some endpoints need beyond the list, or'ed. */
enum sandbox_needs {
	SANDBOX_INTERNET = 1, /* sockets to anywhere: user-mode networking */
	SANDBOX_TAP = 2,      /* settings of a TAP device */
};

/*
 * From now on, in all threads, only the system calls of the list. Opening a
 * file, and a socket to anywhere unless it is among `needs`, fails with EACCES;
 * any other call ends the process with SIGSYS, after a line on log_fd that names
 * it.
 */
bool sandbox_filter(int log_fd, unsigned needs, struct problem *problem);

#endif
