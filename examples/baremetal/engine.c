/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "engine.h"

#define WAIT_NS 5000000000ull

/* ---- dmatest ---- */

#define DMATEST_MAGIC	0x54414d44u
#define DMATEST_IOVA	0x10
#define DMATEST_LEN	0x20
#define DMATEST_COMMAND 0x30
#define DMATEST_STATUS	0x34
#define DMATEST_ERROR	0x38
enum { DMATEST_READ = 1, DMATEST_WRITE = 2 };
enum { DMATEST_BUSY = 1, DMATEST_DONE = 2 };

static int dmatest_run(struct engine *e, unsigned command, uint64_t iova, uint64_t len)
{
	uint64_t regs = e->pci.bar[0], start = time_ns();
	uint32_t status;

	mmio_write64(regs + DMATEST_IOVA, iova);
	mmio_write64(regs + DMATEST_LEN, len);
	mmio_write32(regs + DMATEST_COMMAND, command);
	while ((status = mmio_read32(regs + DMATEST_STATUS)) <= DMATEST_BUSY)
		if (time_ns() - start > WAIT_NS)
			return -1;
	return status == DMATEST_DONE ? 0 : -(int)mmio_read32(regs + DMATEST_ERROR);
}

static int dmatest_read(struct engine *e, uint64_t iova, uint64_t len)
{
	return dmatest_run(e, DMATEST_READ, iova, len);
}

static int dmatest_write(struct engine *e, uint64_t iova, uint64_t len)
{
	return dmatest_run(e, DMATEST_WRITE, iova, len);
}

/* ---- edu ---- */

#define EDU_DMA_FROM	0x80
#define EDU_DMA_TO	0x88
#define EDU_DMA_LEN	0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_BUFFER	0x40000
#define EDU_REACH	0x0fffffff /* its DMA mask of 28 bits */
enum { EDU_START = 1, EDU_TO_MEMORY = 2 };

static int edu_run(struct engine *e, uint64_t from, uint64_t to, uint64_t len,
		   unsigned command)
{
	uint64_t regs = e->pci.bar[0], start = time_ns();

	mmio_write64(regs + EDU_DMA_FROM, from);
	mmio_write64(regs + EDU_DMA_TO, to);
	mmio_write64(regs + EDU_DMA_LEN, len);
	mmio_write64(regs + EDU_DMA_COMMAND, command | EDU_START);
	while (mmio_read64(regs + EDU_DMA_COMMAND) & EDU_START)
		if (time_ns() - start > WAIT_NS)
			return -1;
	return 0;
}

static int edu_read(struct engine *e, uint64_t iova, uint64_t len)
{
	return edu_run(e, iova, EDU_BUFFER, len, 0);
}

static int edu_write(struct engine *e, uint64_t iova, uint64_t len)
{
	return edu_run(e, EDU_BUFFER, iova, len, EDU_TO_MEMORY);
}

bool engine_find(struct engine *e)
{
	*e = (struct engine){
		.name = "dmatest",
		.dma_last = UINT64_MAX,
		.read = dmatest_read,
		.write = dmatest_write,
		.notices_errors = true,
	};
	if (pci_find(0x494f, 0x0dc8, true, &e->pci))
		return mmio_read32(e->pci.bar[0]) == DMATEST_MAGIC;
	*e = (struct engine){
		.name = "edu",
		.dma_last = EDU_REACH,
		.read = edu_read,
		.write = edu_write,
	};
	return pci_find(0x1234, 0x11e8, true, &e->pci);
}
