/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The latest faults, with their time, for whoever asks later. Any thread. */
#ifndef DAEMON_FAULTS_H
#define DAEMON_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "limits.h"

struct fault {
	uint64_t time_ns; /* monotonic */
	uint64_t address;
	uint32_t endpoint;
	uint32_t reason, flags; /* VIRTIO_IOMMU_FAULT_* */
};

struct faults {
	atomic_flag lock; /* protects the rest; held for a few loads and stores,
			   * as faults come from inside of DMA sections */
	uint64_t nr;	  /* recorded ever; the next one's place is nr % kept */
	struct fault kept[DAEMON_FAULTS_KEPT];
};

void faults_init(struct faults *faults);
void faults_add(struct faults *faults, const struct fault *fault);
/* The latest max of them, oldest first; number written. */
unsigned faults_get(struct faults *faults, struct fault *out, unsigned max);

/* Faults recorded ever: the number of the next one. */
uint64_t faults_nr(struct faults *faults);
/* Fault number *at, or the oldest one kept after it: then *at moves on to it and
 * *missed counts those passed over. false: there is none yet. */
bool faults_next(struct faults *faults, uint64_t *at, struct fault *out,
		 uint64_t *missed);

/* A new reference: [{"age_ms": 12, "endpoint": 32, "address": "0x1000", ...}] */
json_t *faults_json(struct faults *faults, unsigned max, uint64_t now_ns);

#endif
