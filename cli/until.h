/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Until Ctrl-C: programs that go on until they are told to end do so in order. */
#ifndef CLI_UNTIL_H
#define CLI_UNTIL_H

#include <stdbool.h>

/* From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT interrupt waiting and set a mark
 * instead of ending the program; those that are ignored (nohup) still are. */
void until_catch(void);
/* As if one of them had come; a signal's handler. */
void until_end(int number);
/* Whether one of them came. */
bool until_ended(void);
/* Sleeps; false: one of them came. */
bool until_rest(double seconds);

#endif
