/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Pieces of replies that several commands share. */
#ifndef DAEMON_JSON_H
#define DAEMON_JSON_H

#include <jansson.h>

#include <viommu/histogram.h>
#include <viommu/virtio_pci.h>

#include "function.h"
#include "loop.h"

/* A counter. JSON integers are signed: what is larger is cut. */
void json_put(json_t *object, const char *key, uint64_t value);
/* Any text: JSON takes UTF-8 only, so in one that is none each byte beyond ASCII
 * becomes a question mark. */
json_t *json_text(const char *text);
/* Addresses are strings, "0xfee00000": not every reader has 64-bit numbers. */
json_t *json_address(uint64_t address);

/* {"nr": 7, "sum": 90, "max": 30, "buckets": [[8, 9, 5], [28, 31, 2]]}: from, to
 * (included) and how many. */
json_t *json_histogram(const struct viommu_histogram *h);

/* [{"kicks": 1, "irqs": 2}, ...] */
json_t *json_virtio_queues(const struct viommu_virtio_pci_stats *stats, unsigned nr);
json_t *json_socket(const struct function *function);
json_t *json_loop(const struct loop *loop);

#endif
