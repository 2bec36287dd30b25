/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Whether the host's other threads can keep all of its CPUs busy: then whoever watches
 * takes a CPU from somebody, as likely as not from the guest. Sampled from the number of
 * threads that want to run, as the kernel tells, at most once a millisecond.
 *
 * One thread uses it, running while it looks. The caller brings the time.
 */
#ifndef DAEMON_CROWD_H
#define DAEMON_CROWD_H

#include <stdbool.h>
#include <stdint.h>

/* Where the kernel tells. */
#define CROWD_LOAD "/proc/loadavg"
/* Between two samples. */
#define CROWD_SAMPLE_NS 1000000u

struct crowd {
	int fd;		  /* below 0: not known, so never crowded */
	unsigned cpus;	  /* of the host */
	uint64_t next_ns; /* when to sample again */
	unsigned score;	  /* share of the last samples that were, of CROWD_SCORE_MAX */
	bool is;
};

#define CROWD_SCORE_MAX 65536u

/* Opens the file `load` with its numbers: before the sandbox closes. */
void crowd_open(struct crowd *crowd, const char *load, unsigned cpus);
void crowd_close(struct crowd *crowd);

/* Whether it is crowded at `now`; samples if it is time. It takes a good many samples of
 * one kind to change that. */
bool crowd_look(struct crowd *crowd, uint64_t now);

/* How many threads a text says want to run, "0.55 0.33 0.11 RUNNABLE/ALL PID". 0: it does
 * not say. */
unsigned crowd_parse(const char *text);

#endif
