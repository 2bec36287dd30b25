/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "until.h"

static volatile sig_atomic_t ended;

void until_end(int number)
{
	(void)number;
	ended = 1;
}

void until_catch(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	/* No SA_RESTART: waiting ends. */
	struct sigaction action = {.sa_handler = until_end}, old;
	unsigned i;

	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (!sigaction(ends[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(ends[i], &action, NULL);
}

bool until_ended(void)
{
	return ended;
}

bool until_rest(double seconds)
{
	struct timespec left = {.tv_sec = (time_t)seconds};

	left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
	while (!ended && nanosleep(&left, &left) && errno == EINTR)
		;
	return !ended;
}
