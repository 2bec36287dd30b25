/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * lib/domain/domain.h over the naive model, for tests of the device that want to
 * decide how the domain layer answers. A program links either this or the real
 * one (this one by naming fake_space.c among its sources).
 */
#ifndef TESTS_FAKE_SPACE_H
#define TESTS_FAKE_SPACE_H

#include "domain/domain.h"
#include "naive.h"

struct viommu_endpoint {
	struct space *space;
	struct viommu_resv resv[NAIVE_RESV];
	unsigned resv_nr;
	uint32_t id;
};

struct space {
	struct naive model;
	struct viommu_endpoint endpoint[NAIVE_ENDPOINTS];
	struct space_ops ops;
	void *opaque, *owner;
	struct viommu_alloc alloc;
	/* Knobs of the test. */
	int fail;     /* not 0: the next attach, detach, map or unmap gives this */
	bool hold;    /* removals find pages held */
	bool pending; /* one does */
	uint64_t give_ups, resets;
};

/* The holds are released. */
void fake_space_release(struct space *s);
void fake_space_fault(struct space *s, uint32_t endpoint, uint64_t address,
		      uint8_t reason);

#endif
