/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The IOMMU device as the standard reads, with arrays and linear searches: the
 * oracle of the model tests. It shares no code with lib/ but the wire structs.
 */
#ifndef TESTS_NAIVE_H
#define TESTS_NAIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/proto.h"

#define NAIVE_ENDPOINTS 16u
#define NAIVE_RESV	4u
#define NAIVE_DOMAINS	64u
#define NAIVE_MAPPINGS	4096u

struct naive_endpoint {
	uint32_t id;
	struct proto_resv_mem resv[NAIVE_RESV];
	unsigned resv_nr;
	bool attached;
	uint32_t domain; /* valid if attached */
};

struct naive_domain {
	uint32_t id;
	bool bypass;
};

struct naive_mapping {
	uint32_t domain, flags;
	uint64_t start, last, gpa;
};

struct naive {
	uint64_t features; /* negotiated */
	uint64_t granule, input_start, input_last;
	uint32_t domain_first, domain_last;
	unsigned max_mappings, max_domains;
	bool bypass; /* config.bypass */
	struct naive_endpoint endpoint[NAIVE_ENDPOINTS];
	unsigned endpoint_nr;
	struct naive_domain domain[NAIVE_DOMAINS];
	unsigned domain_nr;
	struct naive_mapping mapping[NAIVE_MAPPINGS]; /* in no order */
	unsigned mapping_nr;
};

/* 0 or the negative errno value of the status that the request has to get. */
int naive_request(struct naive *n, const struct proto_request *req);

/* How an access of an endpoint ends. */
struct naive_access {
	bool allowed;
	uint64_t gpa;	/* allowed: of the first byte */
	uint8_t reason; /* else: VIRTIO_IOMMU_FAULT_R_* */
};
struct naive_access naive_translate(const struct naive *n, uint32_t endpoint,
				    uint64_t iova, uint32_t perm);

void naive_reset(struct naive *n);

#endif
