/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The registers of dmatest, a PCI function that does the DMA a guest program
 * tells it to. BAR0, little-endian; docs/endpoints.md is the reference.
 * Freestanding: guest programs include it too.
 */
#ifndef ENDPOINTS_DMATEST_H
#define ENDPOINTS_DMATEST_H

#define DMATEST_VENDOR	     0x494f
#define DMATEST_DEVICE	     0x0dc8
#define DMATEST_BAR_LEN	     0x20000u
#define DMATEST_VECTORS_NR   4u

#define DMATEST_REG_MAGIC    0x00     /* RO u32 */
#define DMATEST_REG_VERSION  0x04     /* RO u32 */
#define DMATEST_REG_FEATURES 0x08     /* RO u32 */
#define DMATEST_REG_SCRATCH  0x0c     /* RW u32 */
#define DMATEST_REG_IOVA     0x10     /* RW u64 */
#define DMATEST_REG_IOVA2    0x18     /* RW u64: destination of COPY */
#define DMATEST_REG_LEN	     0x20     /* RW u64: bytes */
#define DMATEST_REG_PATTERN  0x28     /* RW u64: fill value, vector, permission */
#define DMATEST_REG_COMMAND  0x30     /* WO u32 */
#define DMATEST_REG_STATUS   0x34     /* RO u32 */
#define DMATEST_REG_ERROR    0x38     /* RO u32: 0 or a positive errno */
#define DMATEST_REG_RESULT   0x40     /* RO u64 */
#define DMATEST_REG_DONE     0x48     /* RO u64: bytes done */
#define DMATEST_REG_FAULT    0x50     /* RO u64: first iova that was blocked */
#define DMATEST_REG_COMMANDS 0x58     /* RO u32: commands completed */
#define DMATEST_REG_VECTOR   0x5c     /* RW u32: raised on completion */
#define DMATEST_BUFFER	     0x10000u /* the device's own memory */

#define DMATEST_MAGIC	     0x54414d44u /* "DMAT" */
#define DMATEST_VERSION	     1u
#define DMATEST_NO_VECTOR    0xffffffffu
#define DMATEST_BUFFER_LEN   0x10000u  /* limit of READ and WRITE */
#define DMATEST_LEN_MAX	     0x100000u /* limit of the others */
#define DMATEST_HOLDS_MAX    64u       /* pieces held at a time */

enum dmatest_command {
	DMATEST_READ = 1, /* guest memory to the buffer */
	DMATEST_WRITE,	  /* the buffer to guest memory */
	DMATEST_FILL,	  /* guest memory with pattern's low byte */
	DMATEST_SUM,	  /* adds up the bytes of guest memory */
	DMATEST_COPY,	  /* iova to iova2, in ascending order */
	DMATEST_RAISE,	  /* MSI-X vector `pattern` */
	DMATEST_HOLD,	  /* pins guest memory until RELEASE */
	DMATEST_RELEASE,
};

enum dmatest_status { DMATEST_IDLE, DMATEST_BUSY, DMATEST_DONE, DMATEST_ERROR };

#endif /* ENDPOINTS_DMATEST_H */
