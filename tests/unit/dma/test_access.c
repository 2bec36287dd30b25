/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Which bytes a device reaches, exactly, and how blocked accesses are reported. */
#include "core_kit.h"

#include <viommu/virtq.h>

static struct core_kit k;
static struct viommu_endpoint *ep;
static struct viommu_dma *dma;

#define EP     8u
#define DOMAIN 1u
#define PAGE   0x1000ull

#define R      VIRTIO_IOMMU_FAULT_F_READ
#define W      VIRTIO_IOMMU_FAULT_F_WRITE

static void map(uint64_t start, uint64_t last, uint64_t gpa, uint32_t perm)
{
	assert_int_equal(space_map(k.space, DOMAIN, start, last, gpa, perm), 0);
}

static void begin(uint64_t granule)
{
	const struct space_config cfg = {.granule = granule, .input_last = UINT64_MAX};

	core_kit_init(&k, &cfg);
	for (unsigned i = 0; i < CORE_RAM_LEN; i++)
		k.ram[i] = (uint8_t)(i * 7 + (i >> 8));
	ep = core_kit_endpoint(&k, EP);
	dma = core_kit_dma(&k, ep, NULL, NULL);
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
}

static void end(void)
{
	viommu_dma_destroy(dma);
	core_kit_done(&k);
}

static int read_byte(uint64_t iova)
{
	uint8_t byte;
	int rc = viommu_dma_read(dma, iova, &byte, 1);

	return rc ? rc : byte;
}

static int write_byte(uint64_t iova, uint8_t byte)
{
	return viommu_dma_write(dma, iova, &byte, 1);
}

/* The byte before, the first, the last, the one behind; twice: a miss, a hit. */
static void edges(uint64_t start, uint64_t last, uint64_t offset)
{
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(read_byte(start - 1), -EFAULT);
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, start - 1);
		assert_int_equal(read_byte(start), k.ram[offset]);
		assert_int_equal(read_byte(last), k.ram[offset + last - start]);
		assert_int_equal(read_byte(last + 1), -EFAULT);
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, last + 1);
	}
}

static unsigned changed_bytes(const uint8_t *before)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < CORE_RAM_LEN; i++)
		nr += before[i] != k.ram[i];
	return nr;
}

/* The same for WRITE: each byte that may be written is, and no other one changes. */
static void write_edges(uint64_t start, uint64_t last, uint64_t offset)
{
	static uint8_t before[CORE_RAM_LEN];
	const uint8_t other = (uint8_t)~k.ram[offset];
	const uint8_t other_last = (uint8_t)~k.ram[offset + last - start];

	memcpy(before, k.ram, sizeof(before));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(write_byte(start - 1, 1), -EFAULT);
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, W, start - 1);
		assert_int_equal(write_byte(last + 1, 1), -EFAULT);
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, W, last + 1);
	}
	assert_int_equal(changed_bytes(before), 0);
	assert_int_equal(write_byte(start, other), 0);
	assert_int_equal(k.ram[offset], other);
	assert_int_equal(changed_bytes(before), 1);
	assert_int_equal(write_byte(last, other_last), 0);
	assert_int_equal(k.ram[offset + last - start], other_last);
	assert_int_equal(changed_bytes(before), start == last ? 1 : 2);
}

static void write_edges_are_exact(void **state)
{
	(void)state;
	begin(1);
	map(0x5000, 0x5fff, CORE_RAM_GPA, CORE_RW);
	write_edges(0x5000, 0x5fff, 0);
	map(0x7001, 0x7005, CORE_RAM_GPA + 0x2003, VIOMMU_WRITE);
	write_edges(0x7001, 0x7005, 0x2003);
	assert_int_equal(read_byte(0x7001), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, 0x7001);
	map(0x9007, 0x9007, CORE_RAM_GPA + 0x3077, CORE_RW);
	write_edges(0x9007, 0x9007, 0x3077);
	end();
}

/* Writes over two mappings, into a hole, and into one that is read-only: bytes up to
 * the first blocked one may be written, none from there on. */
static void write_spans_and_holes(void **state)
{
	static const uint8_t before[CORE_RAM_LEN];
	static const uint64_t blocked[] = {0x3000, 0x6000};
	uint8_t buf[64];

	(void)state;
	begin(1);
	map(0x1000, 0x1fff, CORE_RAM_GPA + 2 * PAGE, CORE_RW);
	map(0x2000, 0x2fff, CORE_RAM_GPA + 7 * PAGE, VIOMMU_WRITE);
	map(0x5000, 0x5fff, CORE_RAM_GPA + 9 * PAGE, CORE_RW);
	map(0x6000, 0x6fff, CORE_RAM_GPA + 10 * PAGE, VIOMMU_READ);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(0x80 | i);
	memset(k.ram, 0, CORE_RAM_LEN);
	assert_int_equal(viommu_dma_write(dma, 0x1fe0, buf, 64), 0);
	assert_memory_equal(k.ram + 2 * PAGE + 0xfe0, buf, 32);
	assert_memory_equal(k.ram + 7 * PAGE, buf + 32, 32);
	assert_int_equal(changed_bytes(before), 64); /* and nothing else */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t end_offset = (i ? 10 : 8) * PAGE;

		memset(k.ram, 0, CORE_RAM_LEN);
		assert_int_equal(viommu_dma_write(dma, blocked[i] - 10, buf, 64),
				 -EFAULT);
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, W, blocked[i]);
		memcpy(k.ram + end_offset - 10, before, 10);
		assert_int_equal(changed_bytes(before), 0);
	}
	end();
}

static void edges_are_exact(void **state)
{
	(void)state;
	begin(1);
	map(0x5000, 0x5fff, CORE_RAM_GPA, CORE_RW);
	edges(0x5000, 0x5fff, 0);
	map(0x7001, 0x7005, CORE_RAM_GPA + 3, CORE_RW);
	edges(0x7001, 0x7005, 3);
	map(0x9007, 0x9007, CORE_RAM_GPA + 77, CORE_RW);
	edges(0x9007, 0x9007, 77);
	end();
}

static void end_of_the_space(void **state)
{
	uint8_t buf[4];

	(void)state;
	begin(1);
	map(UINT64_MAX, UINT64_MAX, CORE_RAM_GPA + 5, CORE_RW);
	assert_int_equal(read_byte(UINT64_MAX), k.ram[5]);
	assert_int_equal(read_byte(UINT64_MAX - 1), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, UINT64_MAX - 1);
	/* past the end: blocked as a whole */
	assert_int_equal(viommu_dma_read(dma, UINT64_MAX, buf, 2), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, UINT64_MAX);
	map(0, UINT64_MAX - 1, 0, CORE_RW);
	assert_int_equal(read_byte(CORE_RAM_GPA + 9), k.ram[9]);
	assert_int_equal(viommu_dma_read(dma, UINT64_MAX - 1, buf, 4), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, UINT64_MAX - 1);
	end();
}

static void permissions(void **state)
{
	static const uint32_t perm[] = {0, VIOMMU_READ, VIOMMU_WRITE, CORE_RW};

	(void)state;
	begin(4096);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t iova = 0x10000 + i * PAGE;
		uint64_t gpa = CORE_RAM_GPA + i * PAGE;

		map(iova, iova + PAGE - 1, gpa, perm[i]);
		if (perm[i] & VIOMMU_READ) {
			assert_int_equal(read_byte(iova + 3), k.ram[i * PAGE + 3]);
		} else {
			assert_int_equal(read_byte(iova + 3), -EFAULT);
			core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R,
					      iova + 3);
		}
		if (perm[i] & VIOMMU_WRITE) {
			assert_int_equal(write_byte(iova + 4, 0xab), 0);
			assert_int_equal(k.ram[i * PAGE + 4], 0xab);
		} else {
			assert_int_equal(write_byte(iova + 4, 0xab), -EFAULT);
			core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, W,
					      iova + 4);
		}
	}
	end();
}

/* The memory-type flag does not allow anything. */
static void mmio_flag_is_no_permission(void **state)
{
	(void)state;
	begin(4096);
	map(0x1000, 0x1fff, CORE_RAM_GPA, VIRTIO_IOMMU_MAP_F_MMIO);
	assert_int_equal(read_byte(0x1000), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, 0x1000);
	end();
}

static void spans_and_holes(void **state)
{
	uint8_t buf[3 * PAGE];
	struct iovec iov[4];

	(void)state;
	begin(4096);
	map(0x1000, 0x1fff, CORE_RAM_GPA + 2 * PAGE, CORE_RW);
	map(0x2000, 0x2fff, CORE_RAM_GPA + 3 * PAGE, CORE_RW);	   /* goes on */
	map(0x3000, 0x3fff, CORE_RAM_GPA + 9 * PAGE, VIOMMU_READ); /* elsewhere */
	assert_int_equal(viommu_dma_read(dma, 0x1800, buf, 2 * PAGE), 0);
	assert_memory_equal(buf, k.ram + 2 * PAGE + 0x800, PAGE + 0x800);
	assert_memory_equal(buf + PAGE + 0x800, k.ram + 9 * PAGE, 0x800);
	viommu_dma_begin(dma);
	assert_int_equal(viommu_dma_sg(dma, 0x1800, 2 * PAGE, VIOMMU_READ, iov, 4), 2);
	assert_ptr_equal(iov[0].iov_base, k.ram + 2 * PAGE + 0x800);
	assert_int_equal(iov[0].iov_len, PAGE + 0x800);
	assert_int_equal(iov[1].iov_len, 0x800);
	assert_int_equal(viommu_dma_sg(dma, 0x1800, 2 * PAGE, VIOMMU_READ, iov, 1),
			 -E2BIG);
	assert_int_equal(viommu_dma_sg(dma, 0x1800, 0, VIOMMU_READ, iov, 0), 0);
	assert_int_equal(k.faults_nr, 0);
	/* the first blocked byte is named: a permission, then a hole */
	assert_int_equal(viommu_dma_sg(dma, 0x2ffe, 4, VIOMMU_WRITE, iov, 4), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, W, 0x3000);
	assert_int_equal(viommu_dma_sg(dma, 0x3ff0, 32, VIOMMU_READ, iov, 4), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, 0x4000);
	assert_int_equal(viommu_dma_sg(dma, UINT64_MAX, 2, VIOMMU_READ, iov, 4), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, UINT64_MAX);
	viommu_dma_end(dma);
	end();
}

#define NONE 99u

static int sg_batch(const struct viommu_dma_seg *seg, unsigned nr, struct iovec *iov,
		    unsigned max, unsigned *failed)
{
	int r;

	*failed = NONE;
	viommu_dma_begin(dma);
	r = viommu_dma_sg_batch(dma, seg, nr, iov, max, failed);
	viommu_dma_end(dma);
	return r;
}

static void batch_joins_and_keeps_apart(void **state)
{
	const struct viommu_dma_seg seg[] = {
		{0x1800, 0x800, VIOMMU_READ},  {0x5000, 0, VIOMMU_READ},
		{0x2000, 0x1800, VIOMMU_READ}, {0x3800, 0x100, VIOMMU_WRITE},
		{0x3900, 0x100, VIOMMU_WRITE}, {0x1000, 1, VIOMMU_WRITE},
		{0x1001, 1, CORE_RW},
	};
	struct iovec iov[8];
	unsigned failed;

	(void)state;
	begin(4096);
	map(0x1000, 0x1fff, CORE_RAM_GPA + 2 * PAGE, CORE_RW);
	map(0x2000, 0x3fff, CORE_RAM_GPA + 3 * PAGE, CORE_RW);
	assert_int_equal(sg_batch(seg, 7, iov, 8, &failed), 4);
	/* over two mappings and an empty one that is mapped nowhere */
	assert_ptr_equal(iov[0].iov_base, k.ram + 2 * PAGE + 0x800);
	assert_int_equal(iov[0].iov_len, 0x2000);
	/* adjacent in memory, but for writing */
	assert_ptr_equal(iov[1].iov_base, k.ram + 4 * PAGE + 0x800);
	assert_int_equal(iov[1].iov_len, 0x200);
	assert_ptr_equal(iov[2].iov_base, k.ram + 2 * PAGE);
	assert_int_equal(iov[2].iov_len, 1);
	assert_ptr_equal(iov[3].iov_base, k.ram + 2 * PAGE + 1);
	assert_int_equal(failed, NONE);
	/* the limit and one past it */
	assert_int_equal(sg_batch(seg, 7, iov, 4, &failed), 4);
	assert_int_equal(sg_batch(seg, 7, iov, 3, &failed), -E2BIG);
	assert_int_equal(failed, 6);
	assert_int_equal(sg_batch(seg, 7, iov, 1, &failed), -E2BIG);
	assert_int_equal(failed, 3);
	assert_int_equal(sg_batch(seg, 0, iov, 0, &failed), 0);
	assert_int_equal(sg_batch(seg + 1, 1, iov, 0, &failed), 0);
	assert_int_equal(failed, NONE);
	assert_int_equal(k.faults_nr, 0);
	end();
}

static void batch_names_what_failed(void **state)
{
	struct viommu_dma_seg seg[] = {
		{0x1000, 0x1000, VIOMMU_READ},
		{0x3ff0, 0x10, VIOMMU_READ},
		{0x1ff0, 0x11, VIOMMU_READ}, /* a hole is behind it */
		{0x9000, 1, VIOMMU_READ},    /* not looked at */
	};
	struct iovec iov[4];
	unsigned failed;

	(void)state;
	begin(4096);
	map(0x1000, 0x1fff, CORE_RAM_GPA, CORE_RW);
	map(0x3000, 0x3fff, CORE_RAM_GPA + PAGE, VIOMMU_READ);
	assert_int_equal(sg_batch(seg, 4, iov, 4, &failed), -EFAULT);
	assert_int_equal(failed, 2);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, 0x2000);
	seg[1].perm = CORE_RW;
	assert_int_equal(sg_batch(seg, 4, iov, 4, &failed), -EFAULT);
	assert_int_equal(failed, 1);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R | W, 0x3ff0);
	seg[0].iova = UINT64_MAX;
	assert_int_equal(sg_batch(seg, 4, iov, 4, &failed), -EFAULT);
	assert_int_equal(failed, 0);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, UINT64_MAX);
	end();
}

static void translate_gives_pieces(void **state)
{
	struct viommu_ring_mem ring_mem;
	struct viommu_span span;

	(void)state;
	begin(4096);
	map(0x1000, 0x2fff, CORE_RAM_GPA, CORE_RW);
	ring_mem = viommu_ring_mem_dma(dma);
	viommu_dma_begin(dma);
	for (unsigned i = 0; i < 3; i++) {
		int (*reach)(struct viommu_dma *, uint64_t, uint64_t, unsigned,
			     struct viommu_span *) =
			i == 1 ? viommu_dma_reach : viommu_dma_translate;

		assert_int_equal(reach(dma, 0x1ffc, 8, VIOMMU_READ, &span), 0);
		assert_int_equal(span.len, 8);
		assert_ptr_equal(span.hva, k.ram + 0xffc);
		assert_int_equal(reach(dma, 0x2ffc, 8, CORE_RW, &span), 0);
		assert_int_equal(span.len, 4);
		assert_int_equal(reach(dma, 0x1000, UINT64_MAX, CORE_RW, &span), 0);
		assert_int_equal(span.len, 0x2000);
		span.len = 77;
		assert_int_equal(reach(dma, 0x3000, 1, VIOMMU_READ, &span), -EFAULT);
		assert_int_equal(span.len, 77); /* not written */
	}
	assert_int_equal(ring_mem.map(ring_mem.opaque, 0x2ffc, 8, CORE_RW, &span), 0);
	assert_int_equal(span.len, 4);
	viommu_dma_end(dma);
	end();
}

static void unattached_is_blocked(void **state)
{
	(void)state;
	begin(4096);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	assert_int_equal(write_byte(CORE_RAM_GPA, 1), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_DOMAIN, W, CORE_RAM_GPA);
	assert_int_equal(k.fault.endpoint, EP);
	end();
}

static void bypass_is_identity(void **state)
{
	struct viommu_dma_stats stats;
	struct viommu_dma *bare;
	uint8_t byte;

	(void)state;
	begin(4096);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	space_set_bypass(k.space, true);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(read_byte(CORE_RAM_GPA + 5), k.ram[5]);
		assert_int_equal(read_byte(CORE_RAM_GPA - 1), -EFAULT);
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_UNKNOWN, R,
				      CORE_RAM_GPA - 1);
		assert_int_equal(read_byte(CORE_RAM_GPA + CORE_RAM_LEN), -EFAULT);
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_UNKNOWN, R,
				      CORE_RAM_GPA + CORE_RAM_LEN);
		/* the second time through a bypass domain */
		space_set_bypass(k.space, false);
		assert_int_equal(space_attach(k.space, 2, EP, true), 0);
	}
	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.hits + stats.misses, 0);
	assert_int_equal(stats.bypassed, 2);
	assert_int_equal(stats.faults, 0);
	assert_int_equal(stats.no_memory, 4);
	bare = core_kit_dma(&k, NULL, NULL, NULL);
	assert_int_equal(viommu_dma_read(bare, CORE_RAM_GPA + 6, &byte, 1), 0);
	assert_int_equal(byte, k.ram[6]);
	assert_int_equal(viommu_dma_read(bare, 0, &byte, 1), -EFAULT);
	assert_int_equal(k.faults_nr, 0); /* nobody to tell */
	viommu_dma_destroy(bare);
	end();
}

static void counters(void **state)
{
	struct viommu_dma_stats stats;

	(void)state;
	begin(4096);
	map(0x1000, 0x1fff, CORE_RAM_GPA, VIOMMU_READ);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(read_byte(0x1000 + i), k.ram[i]);
	assert_int_equal(write_byte(0x1000, 0), -EFAULT);
	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.hits, 9);
	assert_int_equal(stats.misses, 1);
	assert_int_equal(stats.faults, 1);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	space_set_bypass(k.space, true);
	assert_int_equal(read_byte(CORE_RAM_GPA), k.ram[0]);
	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.hits, 9);
	assert_int_equal(stats.bypassed, 1);
	end();
}

/* Memory that is split, read-only, out of reach or missing under a mapping. */
static void regions_under_a_mapping(void **state)
{
	static uint8_t rom[PAGE];
	struct viommu_dma_stats stats;
	struct iovec iov[4];

	(void)state;
	begin(4096);
	memset(rom, 0x5a, sizeof(rom));
	assert_int_equal(viommu_mem_add(k.mem, CORE_RAM_GPA + CORE_RAM_LEN, PAGE, rom,
					VIOMMU_MEM_READONLY),
			 0);
	assert_int_equal(
		viommu_mem_add(k.mem, CORE_RAM_GPA + CORE_RAM_LEN + PAGE, PAGE, NULL, 0),
		0);
	map(0, 0x3fff, CORE_RAM_GPA + CORE_RAM_LEN - PAGE, CORE_RW);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(read_byte(0xfff), k.ram[CORE_RAM_LEN - 1]);
		assert_int_equal(read_byte(0x1000), 0x5a);
		assert_int_equal(write_byte(0xfff, 9), 0);
		assert_int_equal(write_byte(0x1000, 9), -EFAULT);
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_UNKNOWN, W, 0x1000);
		assert_int_equal(read_byte(0x2000), -EFAULT); /* no hva */
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_UNKNOWN, R, 0x2000);
		assert_int_equal(read_byte(0x3000), -EFAULT); /* nothing */
		core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_UNKNOWN, R, 0x3000);
	}
	assert_int_equal(rom[0], 0x5a);
	viommu_dma_begin(dma);
	assert_int_equal(viommu_dma_sg(dma, 0x800, PAGE, VIOMMU_READ, iov, 4), 2);
	viommu_dma_end(dma);
	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.no_memory, 6);
	assert_int_equal(stats.faults, 0);
	end();
}

/* Guest-physical addresses above what a mapping's length lets them reach. */
static void huge_mapping(void **state)
{
	(void)state;
	begin(1);
	map(0, 1ull << 63, 0, CORE_RW);
	assert_int_equal(read_byte(CORE_RAM_GPA), k.ram[0]);
	assert_int_equal(read_byte(CORE_RAM_GPA - 1), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_UNKNOWN, R, CORE_RAM_GPA - 1);
	assert_int_equal(read_byte(1ull << 63), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_UNKNOWN, R, 1ull << 63);
	assert_int_equal(read_byte((1ull << 63) + 1), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, R, (1ull << 63) + 1);
	end();
}

/* Copies longer than one section take several; what was before the first byte
 * that cannot be reached may have been copied. */
static void long_copies(void **state)
{
	static uint8_t buf[300 << 10];

	(void)state;
	begin(4096);
	map(0, sizeof(buf) - 1, CORE_RAM_GPA, CORE_RW);
	assert_int_equal(viommu_dma_read(dma, 0, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, k.ram, sizeof(buf));
	memset(buf, 0x11, sizeof(buf));
	assert_int_equal(viommu_dma_write(dma, 3, buf, sizeof(buf) - 3), 0);
	assert_int_equal(k.ram[2], (uint8_t)(2 * 7));
	assert_int_equal(k.ram[3], 0x11);
	assert_int_equal(k.ram[sizeof(buf) - 1], 0x11);
	assert_int_equal(viommu_dma_write(dma, 4096, buf, sizeof(buf)), -EFAULT);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, W, sizeof(buf));
	assert_int_equal(viommu_dma_read(dma, 0, buf, 0), 0);
	/* inside a section of the caller's */
	viommu_dma_begin(dma);
	assert_int_equal(viommu_dma_read(dma, 0, buf, 16), 0);
	viommu_dma_end(dma);
	end();
}

static void context_limit(void **state)
{
	struct viommu_dma *all[LIMIT_DMA_CONTEXTS], *one_more;

	(void)state;
	begin(4096);
	all[0] = dma;
	for (unsigned i = 1; i < LIMIT_DMA_CONTEXTS; i++)
		all[i] = core_kit_dma(&k, ep, NULL, NULL);
	assert_int_equal(viommu_dma_create(ep, k.mem, &k.ta.ops, NULL, NULL, &one_more),
			 -ENOSPC);
	test_alloc_fail(&k.ta, 1);
	assert_int_equal(viommu_dma_create(NULL, k.mem, &k.ta.ops, NULL, NULL, &one_more),
			 -ENOMEM);
	for (unsigned i = 1; i < LIMIT_DMA_CONTEXTS; i++)
		viommu_dma_destroy(all[i]);
	viommu_dma_destroy(NULL);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges_are_exact),
		cmocka_unit_test(write_edges_are_exact),
		cmocka_unit_test(write_spans_and_holes),
		cmocka_unit_test(end_of_the_space),
		cmocka_unit_test(permissions),
		cmocka_unit_test(mmio_flag_is_no_permission),
		cmocka_unit_test(spans_and_holes),
		cmocka_unit_test(batch_joins_and_keeps_apart),
		cmocka_unit_test(batch_names_what_failed),
		cmocka_unit_test(translate_gives_pieces),
		cmocka_unit_test(unattached_is_blocked),
		cmocka_unit_test(bypass_is_identity),
		cmocka_unit_test(counters),
		cmocka_unit_test(regions_under_a_mapping),
		cmocka_unit_test(huge_mapping),
		cmocka_unit_test(long_copies),
		cmocka_unit_test(context_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
