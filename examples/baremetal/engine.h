/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A device that copies between guest memory and a buffer of its own. */
#ifndef BAREMETAL_ENGINE_H
#define BAREMETAL_ENGINE_H

#include "machine.h"

/* What dmatest calls an access that the IOMMU blocked. */
#define ENGINE_BLOCKED 14

struct engine {
	const char *name;
	struct pci_function pci;
	uint64_t dma_last; /* highest address it can put out */
	/* Guest memory to buffer and back; len <= 4096. 0; negative: the device
	 * noticed an error; not every one can. */
	int (*read)(struct engine *engine, uint64_t iova, uint64_t len);
	int (*write)(struct engine *engine, uint64_t iova, uint64_t len);
	bool notices_errors;
};

/* Finds a DMA engine: dmatest, or QEMU's edu. */
bool engine_find(struct engine *engine);

#endif
