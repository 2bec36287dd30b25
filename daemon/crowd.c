/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crowd.h"

/* Weight of a sample: 1/32. */
#define SCORE_SHIFT 5
/* Above the one share it is crowded, below the other no longer. */
#define SCORE_MANY (CROWD_SCORE_MAX / 8 * 5)
#define SCORE_FEW  (CROWD_SCORE_MAX / 8 * 3)

void crowd_open(struct crowd *crowd, const char *load, unsigned cpus)
{
	*crowd = (struct crowd){.fd = open(load, O_RDONLY | O_CLOEXEC), .cpus = cpus};
}

void crowd_close(struct crowd *crowd)
{
	if (crowd->fd >= 0)
		close(crowd->fd);
	crowd->fd = -1;
}

unsigned crowd_parse(const char *text)
{
	unsigned long nr;
	unsigned word;
	char *end;

	for (word = 0; word < 3; word++) {
		text = strchr(text, ' ');
		if (!text)
			return 0;
		text++;
	}
	if (*text < '0' || *text > '9')
		return 0;
	nr = strtoul(text, &end, 10);
	return *end == '/' && nr <= 1u << 22 ? (unsigned)nr : 0;
}

static unsigned read_runnable(const struct crowd *crowd)
{
	char text[128];
	ssize_t n = pread(crowd->fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return crowd_parse(text);
}

bool crowd_look(struct crowd *crowd, uint64_t now)
{
	if (crowd->fd < 0 || now < crowd->next_ns)
		return crowd->is;
	crowd->next_ns = now + CROWD_SAMPLE_NS;
	crowd->score -= crowd->score >> SCORE_SHIFT;
	/* The one that asks runs too. */
	if (read_runnable(crowd) > crowd->cpus)
		crowd->score += CROWD_SCORE_MAX >> SCORE_SHIFT;
	if (crowd->score > SCORE_MANY)
		crowd->is = true;
	else if (crowd->score < SCORE_FEW)
		crowd->is = false;
	return crowd->is;
}
