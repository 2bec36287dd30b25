/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A virtio-pci transport with a device that notes what it is told, and a guest that
 * drives it through BARs and capabilities. */
#ifndef TESTS_VIRTIO_FIXTURE_H
#define TESTS_VIRTIO_FIXTURE_H

#include "test.h"
#include "test_alloc.h"

#include <viommu/virtio_pci.h>

enum { QUEUES = 3, QUEUE_SIZE = 256, CONFIG_LEN = 37 };

struct fixture {
	struct test_alloc ta;
	struct viommu_log log;
	struct viommu_virtio_pci *vp;
	struct viommu_pci *pci;
	uint64_t offer;
	int refuse_features, refuse_queue;
	uint64_t features; /* as given to set_features */
	uint8_t config[CONFIG_LEN];
	struct viommu_virtq_config ring[QUEUES];
	bool enabled[QUEUES];
	unsigned notified[QUEUES], driver_ok, left, resets, disables, lines;
	unsigned msix[QUEUES + 1];
	bool pin;
	/* Offsets in BAR 0 found through the capabilities. */
	unsigned common, isr, device, notify, notify_scale, window;
	unsigned common_len, device_len, notify_len;
};

extern const struct viommu_virtio_ops virtio_ops;
extern const struct viommu_virtio_pci_config virtio_config;

int setup(void **state);
int teardown(void **state);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* setup() does it with virtio_config and virtio_ops. */
void create_with(struct fixture *f, const struct viommu_virtio_pci_config *cfg,
		 const struct viommu_virtio_ops *ops);

/* ---- the guest ---- */

/* Fields of the common configuration. */
enum {
	DFSELECT = 0x00,
	DF = 0x04,
	GFSELECT = 0x08,
	GF = 0x0c,
	CVECTOR = 0x10,
	NUMQ = 0x12,
	STATUS = 0x14,
	GENERATION = 0x15,
	QSELECT = 0x16,
	QSIZE = 0x18,
	QVECTOR = 0x1a,
	QENABLE = 0x1c,
	QNOTIFY = 0x1e,
	QDESC = 0x20,
	QDRIVER = 0x28,
	QDEVICE = 0x30,
	QRESET = 0x3a,
};

/* What the driver has to accept. */
#define NEEDED (1ull << 32 | 1ull << 33)

uint64_t cfg_read(struct fixture *f, unsigned offset, unsigned len);
void cfg_write(struct fixture *f, unsigned offset, unsigned len, uint64_t value);
/* BAR 0 */
uint64_t rd(struct fixture *f, unsigned offset, unsigned len);
void wr(struct fixture *f, unsigned offset, unsigned len, uint64_t value);

void bus_master(struct fixture *f, bool on);
void enable_msix(struct fixture *f); /* masters the bus */
uint64_t offered_features(struct fixture *f);
void accept_features(struct fixture *f, uint64_t value);
/* From a reset to FEATURES_OK; masters the bus. Whether it stuck. */
bool negotiate(struct fixture *f, uint64_t value);
void enable(struct fixture *f, unsigned queue);
/* The same, all queues, and DRIVER_OK. */
void bring_up(struct fixture *f, uint64_t value);

#endif
