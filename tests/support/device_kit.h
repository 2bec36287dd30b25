/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A device with a clock, a log and an allocator that a test controls, and a
 * driver for it: plain buffers or a real ring, any split of a request over
 * buffers.
 */
#ifndef TESTS_DEVICE_KIT_H
#define TESTS_DEVICE_KIT_H

#include <viommu/device.h>

#include "naive.h"
#include "proto/proto.h"
#include "test.h"
#include "test_alloc.h"
#include "virtq/driver.h"

/* Result of a request that came back with used length 0. */
#define UNANSWERED 1

struct device_kit {
	struct test_alloc ta;
	struct viommu_device *dev;
	uint64_t now_ns;
	unsigned wakes, config_changes, needs_resets; /* callbacks made */
	unsigned faults_told;			      /* the same */
	struct viommu_fault_info last_fault;
	char log[256]; /* last message */
	unsigned log_nr;
	size_t written; /* used length of the last request */
};

/* config NULL: the defaults. All that is offered is negotiated. */
void device_kit_init(struct device_kit *kit, const struct viommu_device_config *config);
/* 0 or the error of viommu_device_create(); negotiates nothing. */
int device_kit_try(struct device_kit *kit, const struct viommu_device_config *config);
/* As device_kit_try(), with clock and allocator as they are. */
int device_kit_create(struct device_kit *kit, const struct viommu_device_config *config);
/* Also checks that nothing was leaked. */
void device_kit_done(struct device_kit *kit);

struct viommu_endpoint *device_kit_endpoint(struct device_kit *kit, uint32_t id,
					    const struct viommu_resv *resv, unsigned nr);

/* Bytes through viommu_device_request(): the used length. `out` is filled with
 * 0xee first, so that what was not written shows. */
size_t device_kit_raw(struct device_kit *kit, const void *in, size_t in_len, void *out,
		      size_t out_len);
/* A typed request: 0 or -errno from the tail, -EINPROGRESS, or UNANSWERED. */
int device_kit_request(struct device_kit *kit, const struct proto_request *req);
int kit_attach(struct device_kit *kit, uint32_t domain, uint32_t endpoint,
	       uint32_t flags);
int kit_detach(struct device_kit *kit, uint32_t domain, uint32_t endpoint);
int kit_map(struct device_kit *kit, uint32_t domain, uint64_t start, uint64_t last,
	    uint64_t gpa, uint32_t flags);
int kit_unmap(struct device_kit *kit, uint32_t domain, uint64_t start, uint64_t last);
/* PROBE with an area of `room` bytes; as device_kit_request(). */
int device_kit_probe(struct device_kit *kit, uint32_t endpoint, uint8_t *properties,
		     uint32_t room);

/* The state as a saved blob, for comparison; the caller frees it. */
struct kit_blob {
	uint8_t *bytes;
	size_t len;
};
struct kit_blob device_kit_save(struct device_kit *kit);
bool kit_blob_equal(struct kit_blob a, struct kit_blob b);

struct viommu_device_stats device_kit_stats(struct device_kit *kit);
uint64_t kit_mappings_nr(struct device_kit *kit);

/* ---- rings ---- */

#define KIT_RING_MAX 256u
struct kit_ring {
	struct drvq q;		/* the driver's side */
	struct viommu_virtq vq; /* the device's side; addresses are pointers */
	struct drvq_slot slots[KIT_RING_MAX];
	uint8_t *areas, *tables; /* owned */
};
struct kit_ring_kind {
	uint16_t size;
	bool packed, event_idx, indirect;
};
/* Makes the ring and gives it to the device. */
void kit_ring_init(struct kit_ring *ring, struct device_kit *kit, unsigned queue,
		   struct kit_ring_kind kind);
/* Takes it away from the device and frees it. */
void kit_ring_done(struct kit_ring *ring, struct device_kit *kit, unsigned queue);

/* A request on its way through a ring, its buffers cut at random places. */
struct kit_transfer {
	uint8_t in[256], out[1024];
	size_t in_len, out_len;
	struct drvq_buf bufs[64];
	bool done;
	uint32_t used;
};
/* Cuts into at most `parts` buffers each; adds it, not yet published. */
int kit_ring_add(struct kit_ring *ring, struct kit_transfer *t, struct rng *rng,
		 unsigned parts);
/* Takes what came back; the number of transfers. */
unsigned kit_ring_collect(struct kit_ring *ring);

#endif
