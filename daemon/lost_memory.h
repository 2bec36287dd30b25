/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A VMM may cut off the file behind guest memory while it is mapped here (not a
 * sealed one, see --sealed-only). An access to what is gone would end the process
 * by SIGBUS. Instead it finds zeroes, and the main thread is told.
 */
#ifndef DAEMON_LOST_MEMORY_H
#define DAEMON_LOST_MEMORY_H

#include "problem.h"

/* To be called once, before the filter is on. *fd: an eventfd that is readable
 * after each such access; stays open. */
bool lost_memory_watch(int *fd, struct problem *problem);

#endif
