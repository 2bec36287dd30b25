/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The saved state, version 1. All integers are little-endian.
 *
 *   0  u8[8] magic "viommuST"       32 u32 probe_size    (configuration space)
 *   8  u32   version: 1             36 u32 probe_seen    (last value read)
 *  12  u32   CRC-32 of the blob     40 u32 endpoints
 *            with this field zero   44 u32 bypass        (configuration space)
 *  16  u64   length of the blob     48 u64 mappings
 *  24  u64   features negotiated
 *  56  endpoints, ascending by id:       u32 id, domain, flags
 *      mappings, ascending by domain,    u32 domain, flags
 *      then start:                       u64 start, last, gpa
 *
 * Domains have no records: a domain is there because an endpoint is attached to
 * it. Recorded faults that were not reported yet are not part of the state.
 */
#ifndef VIOMMU_LIB_DEVICE_STATE_H
#define VIOMMU_LIB_DEVICE_STATE_H

#define STATE_MAGIC   "viommuST"
#define STATE_VERSION 1u

enum {
	STATE_AT_MAGIC = 0,
	STATE_AT_VERSION = 8,
	STATE_AT_CRC = 12,
	STATE_AT_LEN = 16,
	STATE_AT_FEATURES = 24,
	STATE_AT_PROBE_SIZE = 32,
	STATE_AT_PROBE_SEEN = 36,
	STATE_AT_ENDPOINTS = 40,
	STATE_AT_BYPASS = 44,
	STATE_AT_MAPPINGS = 48,
	STATE_HEAD_LEN = 56,
	STATE_ENDPOINT_LEN = 12,
	STATE_MAPPING_LEN = 32,
};

#define STATE_EP_ATTACHED (1u << 0) /* `domain` is valid */
#define STATE_EP_BYPASS	  (1u << 1) /* that domain is a bypass domain */

#endif
