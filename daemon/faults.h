/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The latest faults, with their time, for whoever asks later. Any thread. */
#ifndef DAEMON_FAULTS_H
#define DAEMON_FAULTS_H

#include <stdatomic.h>
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

/* A new reference: [{"age_ms": 12, "endpoint": 32, "address": "0x1000", ...}] */
json_t *faults_json(struct faults *faults, unsigned max, uint64_t now_ns);

#endif
