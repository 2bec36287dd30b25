/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <string.h>

#include <viommu/proto.h>

#include "faults.h"
#include "json.h"
#include "names.h"

void faults_init(struct faults *faults)
{
	memset(faults, 0, sizeof(*faults));
	atomic_flag_clear(&faults->lock);
}

static void lock(struct faults *faults)
{
	/* Pairs with unlock(). */
	while (atomic_flag_test_and_set_explicit(&faults->lock, memory_order_acquire))
		;
}

static void unlock(struct faults *faults)
{
	atomic_flag_clear_explicit(&faults->lock, memory_order_release);
}

void faults_add(struct faults *faults, const struct fault *fault)
{
	lock(faults);
	faults->kept[faults->nr++ % DAEMON_FAULTS_KEPT] = *fault;
	unlock(faults);
}

unsigned faults_get(struct faults *faults, struct fault *out, unsigned max)
{
	uint64_t at;
	unsigned nr, i;

	lock(faults);
	nr = faults->nr < DAEMON_FAULTS_KEPT ? (unsigned)faults->nr : DAEMON_FAULTS_KEPT;
	if (nr > max)
		nr = max;
	at = faults->nr - nr;
	for (i = 0; i < nr; i++)
		out[i] = faults->kept[(at + i) % DAEMON_FAULTS_KEPT];
	unlock(faults);
	return nr;
}

uint64_t faults_nr(struct faults *faults)
{
	uint64_t nr;

	lock(faults);
	nr = faults->nr;
	unlock(faults);
	return nr;
}

bool faults_next(struct faults *faults, uint64_t *at, struct fault *out, uint64_t *missed)
{
	uint64_t behind;

	lock(faults);
	behind = faults->nr - *at;
	if (behind > DAEMON_FAULTS_KEPT) {
		*missed += behind - DAEMON_FAULTS_KEPT;
		*at += behind - DAEMON_FAULTS_KEPT;
	}
	if (behind)
		*out = faults->kept[*at % DAEMON_FAULTS_KEPT];
	unlock(faults);
	return behind;
}

static json_t *fault_json(const struct fault *fault, uint64_t now_ns)
{
	json_t *one = json_object();
	char access[3];

	snprintf(access, sizeof(access), "%s%s",
		 fault->flags & VIRTIO_IOMMU_FAULT_F_READ ? "r" : "",
		 fault->flags & VIRTIO_IOMMU_FAULT_F_WRITE ? "w" : "");
	json_put(one, "age_ms",
		 now_ns > fault->time_ns ? (now_ns - fault->time_ns) / 1000000 : 0);
	json_put(one, "endpoint", fault->endpoint);
	json_object_set_new(one, "reason", json_string(name_reason(fault->reason)));
	json_object_set_new(one, "access", json_string(access));
	if (fault->flags & VIRTIO_IOMMU_FAULT_F_ADDRESS)
		json_object_set_new(one, "address", json_address(fault->address));
	return one;
}

json_t *faults_json(struct faults *faults, unsigned max, uint64_t now_ns)
{
	struct fault list[DAEMON_FAULTS_KEPT];
	unsigned nr = faults_get(faults, list,
				 max < DAEMON_FAULTS_KEPT ? max : DAEMON_FAULTS_KEPT);
	json_t *out = json_array();
	unsigned i;

	for (i = 0; i < nr; i++)
		json_array_append_new(out, fault_json(&list[i], now_ns));
	return out;
}
