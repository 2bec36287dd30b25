/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The virtio disk as a driver sees it: features, requests, what it refuses. */
#include "vdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "endpoints/blk/internal.h"

#define MEM_DISK     "backend=mem,size=8M"
#define DISK_SECTORS (8u << 11)

static const struct vdrv_shape plain = {0};
static const struct vdrv_shape behind_iommu = {.iommu = true, .indirect = true};

/* ---- features and configuration space ---- */

static void config_space_tells_the_limits(void **state)
{
	struct vdisk *v = vdisk_create("backend=null,size=1G,queues=4,queue-size=128",
				       (struct vdrv_shape){.iommu = true, .queues = 4});

	(void)state;
	assert_int_equal(guest_config(v->drv.g, 0, 4), 0x10421af4);
	assert_int_equal(vdrv_config(&v->drv, 0, 8), 2u << 20); /* capacity */
	assert_int_equal(vdrv_config(&v->drv, 8, 4), 0);	/* size_max */
	assert_int_equal(vdrv_config(&v->drv, 12, 4), 126);	/* seg_max */
	assert_int_equal(vdrv_config(&v->drv, 20, 4), 512);	/* blk_size */
	assert_int_equal(vdrv_config(&v->drv, 32, 1), 1);	/* writeback */
	assert_int_equal(vdrv_config(&v->drv, 34, 2), 4);	/* num_queues */
	assert_int_equal(vdrv_config(&v->drv, 36, 4), BLK_DISCARD_SECTORS);
	assert_int_equal(vdrv_config(&v->drv, 40, 4), BLK_SEGMENTS_MAX);
	assert_int_equal(vdrv_config(&v->drv, 44, 4), 1);
	assert_int_equal(vdrv_config(&v->drv, 48, 4), BLK_ZEROES_SECTORS);
	assert_int_equal(vdrv_config(&v->drv, 52, 4), BLK_SEGMENTS_MAX);
	assert_int_equal(vdrv_config(&v->drv, 56, 1), 1); /* may unmap */
	assert_int_equal(vdrv_config(&v->drv, 60, 4), 0); /* past the end */
	vdisk_destroy(v);
}

static void features_follow_the_options(void **state)
{
	struct vdisk *v = vdisk_plug(MEM_DISK ",read-only=on", plain);
	uint64_t f = vdrv_offered(&v->drv);

	(void)state;
	assert_true(f & BIT(VIRTIO_BLK_F_RO));
	assert_false(f & BIT(VIRTIO_BLK_F_DISCARD));
	assert_false(f & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_false(f & BIT(VIRTIO_BLK_F_MQ));
	vdisk_destroy(v);

	v = vdisk_plug(MEM_DISK ",discard=off,queues=2,packed=off", plain);
	f = vdrv_offered(&v->drv);
	assert_false(f & BIT(VIRTIO_BLK_F_DISCARD));
	assert_true(f & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_true(f & BIT(VIRTIO_BLK_F_MQ));
	assert_false(f & BIT(34));
	assert_true(f & BIT(33)); /* ACCESS_PLATFORM, also without an IOMMU */
	vdisk_destroy(v);
}

static void indirect_tables_are_offered_where_they_cost_nothing(void **state)
{
	struct vdisk *v = vdisk_plug(MEM_DISK, plain);

	(void)state;
	assert_true(vdrv_offered(&v->drv) & BIT(28));
	assert_int_equal(vdrv_config(&v->drv, 12, 4), BLK_SEG_MAX);
	vdisk_destroy(v);
	v = vdisk_plug(MEM_DISK, (struct vdrv_shape){.iommu = true});
	assert_false(vdrv_offered(&v->drv) & BIT(28));
	assert_int_equal(vdrv_config(&v->drv, 12, 4), BLK_SEG_MAX);
	assert_int_equal(guest_reg(v->drv.g, 0, v->drv.common + 24, 2),
			 1024); /* queue_size */
	vdisk_destroy(v);
	v = vdisk_plug(MEM_DISK ",queue-size=64", behind_iommu);
	assert_true(vdrv_offered(&v->drv) & BIT(28));
	assert_int_equal(vdrv_config(&v->drv, 12, 4), 62);
	vdisk_destroy(v);
}

static void wrong_options_are_refused(void **state)
{
	static const char *const bad[] = {
		MEM_DISK ",queues=0",
		MEM_DISK ",queues=65",
		MEM_DISK ",queue-size=3",
		MEM_DISK ",queue-size=2048",
		MEM_DISK ",in-flight=0",
		MEM_DISK ",in-flight=1025",
		MEM_DISK ",colour=blue",
		MEM_DISK ",serial=123456789012345678901",
		MEM_DISK ",queue-size=96",
		"",
		NULL,
	};
	struct guest *g = guest_create(true);

	(void)state;
	for (unsigned i = 0; bad[i]; i++) {
		g->said[0] = '\0';
		assert_int_equal(guest_endpoint(g, "blk", bad[i]), -EINVAL);
		assert_non_null(strstr(g->said, "dev0:"));
	}
	assert_int_equal(guest_endpoint(g, "blob", NULL), -EINVAL);
	assert_int_equal(guest_endpoint(g, "blk", MEM_DISK ",queues=64,in-flight=1024"),
			 0);
	guest_destroy(g);
}

static void creation_survives_lack_of_memory(void **state)
{
	(void)state;
	guest_check_lack_of_memory("blk", MEM_DISK);
}

/* ---- requests ---- */

static void fill(struct vdisk *v, uint64_t offset, size_t len, uint8_t seed)
{
	uint8_t *p = guest_at(v->drv.g, offset);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed + i * 13 + (i >> 9));
}

static bool same(struct vdisk *v, uint64_t a, uint64_t b, size_t len)
{
	return !memcmp(guest_at(v->drv.g, a), guest_at(v->drv.g, b), len);
}

static void write_and_read_back(struct vdisk *v)
{
	uint64_t a = VDISK_DATA, b = VDISK_DATA + (2 << 20);
	uint32_t used = 7;

	fill(v, a, 128 << 10, 3);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_OUT, 9, a, 128 << 10, &used),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_FLUSH, 0, 0, 0, &used),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_IN, 9, b, 128 << 10, &used),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(used, (128 << 10) + 1);
	assert_true(same(v, a, b, 128 << 10));
	/* At an address that no direct I/O takes. */
	assert_int_equal(vdisk_read(v, 10, b + 7, 1024), VIRTIO_BLK_S_OK);
	assert_true(same(v, a + 512, b + 7, 1024));
}

static void every_ring_and_backend_moves_data(void **state)
{
	char path[] = "/tmp/viommu-blk-XXXXXX", text[96];
	static const char *const kinds[] = {"path=%s", "path=%s,cache=none",
					    "path=%s,io=sync", MEM_DISK};
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 8 << 20), 0);
	for (unsigned i = 0; i < 4 * 16; i++) {
		const struct vdrv_shape shape = {.iommu = i & 1,
						 .packed = i >> 1 & 1,
						 .event_idx = i >> 2 & 1,
						 .indirect = i >> 3 & 1};
		struct vdisk *v;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), kinds[i >> 4], path);
#pragma GCC diagnostic pop
		v = vdisk_create(text, shape);
		write_and_read_back(v);
		assert_int_equal(guest_stat(v->drv.g, "errors"), 0);
		vdisk_destroy(v);
	}
	close(fd);
	unlink(path);
}

static void null_checks_but_moves_nothing(void **state)
{
	struct vdisk *v = vdisk_create("backend=null,size=8M", behind_iommu);

	(void)state;
	fill(v, VDISK_DATA, 4096, 1);
	fill(v, VDISK_DATA + 4096, 4096, 1);
	assert_int_equal(vdisk_read(v, 0, VDISK_DATA, 4096), VIRTIO_BLK_S_OK);
	assert_true(same(v, VDISK_DATA, VDISK_DATA + 4096, 4096));
	assert_int_equal(vdisk_read(v, 0, VDISK_HOLE, 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_write(v, 0, VDISK_HOLE, 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(guest_faults(v->drv.g, NULL), 2);
	assert_int_equal(guest_stat(v->drv.g, "blocked"), 2);
	vdisk_destroy(v);

	v = vdisk_create("backend=null,size=8M,read-zeroes=on", behind_iommu);
	fill(v, VDISK_DATA, 4096, 1);
	assert_int_equal(vdisk_read(v, 0, VDISK_DATA, 4096), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(((uint8_t *)guest_at(v->drv.g, VDISK_DATA))[i], 0);
	vdisk_destroy(v);
}

static void get_id_gives_the_serial(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK ",serial=12345678901234567890", plain);
	char *at = guest_at(v->drv.g, VDISK_DATA);
	uint32_t used;

	(void)state;
	memset(at, 'x', 64);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_GET_ID, 0, VDISK_DATA, 20, &used),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(used, 21);
	assert_memory_equal(at, "12345678901234567890x", 21);
	/* Less room, and more. */
	memset(at, 'x', 64);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_GET_ID, 0, VDISK_DATA, 5, &used),
			 VIRTIO_BLK_S_OK);
	assert_memory_equal(at, "12345x", 6);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_GET_ID, 0, VDISK_DATA, 40, &used),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(used, 20);
	assert_memory_equal(at, "12345678901234567890x", 21);
	vdisk_destroy(v);

	v = vdisk_create(MEM_DISK, plain);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_GET_ID, 0, VDISK_DATA, 20, &used), 0);
	assert_memory_equal(guest_at(v->drv.g, VDISK_DATA),
			    "dev0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	vdisk_destroy(v);
}

static void requests_out_of_range_are_refused(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, plain);
	uint32_t used;

	(void)state;
	assert_int_equal(vdisk_read(v, DISK_SECTORS - 1, VDISK_DATA, 512), 0);
	assert_int_equal(vdisk_read(v, DISK_SECTORS - 1, VDISK_DATA, 1024),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_write(v, DISK_SECTORS, VDISK_DATA, 512),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_read(v, UINT64_MAX, VDISK_DATA, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_read(v, UINT64_MAX / 512 + 1, VDISK_DATA, 512),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_IN, 0, VDISK_DATA, 511, &used),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(used, 0); /* nothing is there from the start on */
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_OUT, 0, VDISK_DATA, 513, &used),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(used, 1);
	/* Nothing to move is nothing wrong. */
	assert_int_equal(vdisk_read(v, DISK_SECTORS, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(guest_stat(v->drv.g, "errors"), 6);
	vdisk_destroy(v);
}

static void data_at_the_limit_and_past_it(void **state)
{
	struct vdisk *v = vdisk_create("backend=null,size=1G", plain);
	struct vdrv_part parts[9];
	struct vdisk_req req;

	(void)state;
	for (unsigned i = 0; i < 9; i++)
		parts[i] = (struct vdrv_part){VDISK_DATA, BLK_DATA_MAX / 8};
	vdisk_send(v, 0, &req, VIRTIO_BLK_T_OUT, 0, parts, 8, false);
	assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_OK);
	parts[8].len = 512;
	vdisk_send(v, 0, &req, VIRTIO_BLK_T_OUT, 0, parts, 9, false);
	assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_IOERR);
	vdisk_destroy(v);
}

static void read_only_disk_stays_as_it_is(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK ",read-only=on", plain);

	(void)state;
	assert_int_equal(vdisk_write(v, 0, VDISK_DATA, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_DISCARD, 0, VDISK_DATA, 16, NULL),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_WRITE_ZEROES, 0, VDISK_DATA, 16, NULL),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_read(v, 0, VDISK_DATA, 512), VIRTIO_BLK_S_OK);
	vdisk_destroy(v);
}

static void unknown_types_are_unsupported(void **state)
{
	static const uint32_t types[] = {2, 3, 5, 7, 9, 10, 12, 14, 99, UINT32_MAX};
	struct vdisk *v = vdisk_create(MEM_DISK, plain);

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(vdisk_do(v, types[i], 0, VDISK_DATA, 512, NULL),
				 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(guest_stat(v->drv.g, "unsupported"), 10);
	vdisk_destroy(v);
}

/* ---- DISCARD and WRITE_ZEROES ---- */

static struct virtio_blk_segment *segments(struct vdisk *v)
{
	return guest_at(v->drv.g, VDISK_DATA + (1 << 20));
}

static uint8_t send_segments(struct vdisk *v, uint32_t type, unsigned nr)
{
	return vdisk_do(v, type, 0, VDISK_DATA + (1 << 20), nr * 16, NULL);
}

static void zeroes_and_discards_segments(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, behind_iommu);
	struct virtio_blk_segment *s = segments(v);
	uint8_t *p = guest_at(v->drv.g, VDISK_DATA);

	(void)state;
	memset(p, 0xee, 64 << 10);
	assert_int_equal(vdisk_write(v, 0, VDISK_DATA, 64 << 10), 0);
	s[0] = (struct virtio_blk_segment){1, 2, 0};
	s[1] = (struct virtio_blk_segment){50, 0, 0}; /* empty */
	s[2] = (struct virtio_blk_segment){10, 20, VIRTIO_BLK_ZEROES_F_UNMAP};
	s[3] = (struct virtio_blk_segment){50, 0, 0};
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_WRITE_ZEROES, 4), 0);
	s[0] = (struct virtio_blk_segment){100, 8, 0};
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, 1), 0);
	s[0].sectors_nr = 0;
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, 1), 0);
	assert_int_equal(vdisk_read(v, 0, VDISK_DATA, 64 << 10), 0);
	for (unsigned i = 0; i < 128; i++) {
		bool zero =
			(i >= 1 && i < 3) || (i >= 10 && i < 30) || (i >= 100 && i < 108);

		assert_int_equal(p[i * 512], zero ? 0 : 0xee);
		assert_int_equal(p[i * 512 + 511], zero ? 0 : 0xee);
	}
	assert_int_equal(guest_stat(v->drv.g, "discards"), 2);
	assert_int_equal(guest_stat(v->drv.g, "write_zeroes"), 1);
	vdisk_destroy(v);
}

static void bad_segments_are_refused_whole(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, plain);
	struct virtio_blk_segment *s = segments(v);
	const struct virtio_blk_segment good = {0, 1, 0};

	(void)state;
	fill(v, VDISK_DATA, 512, 9);
	assert_int_equal(vdisk_write(v, 0, VDISK_DATA, 512), 0);
	for (unsigned i = 0; i <= BLK_SEGMENTS_MAX; i++)
		s[i] = good;
	/* The second one is wrong: the first one is not executed either. */
	s[1].flags = 2;
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_WRITE_ZEROES, 2),
			 VIRTIO_BLK_S_UNSUPP);
	s[1].flags = VIRTIO_BLK_ZEROES_F_UNMAP;
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, 2), VIRTIO_BLK_S_UNSUPP);
	s[1] = (struct virtio_blk_segment){DISK_SECTORS, 1, 0};
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_WRITE_ZEROES, 2),
			 VIRTIO_BLK_S_IOERR);
	s[1] = (struct virtio_blk_segment){UINT64_MAX, 2, 0};
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, 2), VIRTIO_BLK_S_IOERR);
	s[1] = good;
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, BLK_SEGMENTS_MAX + 1),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_DISCARD, 0, VDISK_DATA, 24, NULL),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(vdisk_read(v, 0, VDISK_DATA + 4096, 512), 0);
	assert_true(same(v, VDISK_DATA, VDISK_DATA + 4096, 512));
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, BLK_SEGMENTS_MAX), 0);
	vdisk_destroy(v);
}

static void segment_lengths_at_the_limit_and_past_it(void **state)
{
	struct vdisk *v = vdisk_create("backend=null,size=4G", plain);
	struct virtio_blk_segment *s = segments(v);

	(void)state;
	*s = (struct virtio_blk_segment){0, BLK_DISCARD_SECTORS, 0};
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, 1), 0);
	s->sectors_nr++;
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, 1), VIRTIO_BLK_S_IOERR);
	s->sectors_nr = BLK_ZEROES_SECTORS;
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_WRITE_ZEROES, 1), 0);
	s->sectors_nr++;
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_WRITE_ZEROES, 1),
			 VIRTIO_BLK_S_IOERR);
	vdisk_destroy(v);

	v = vdisk_create(MEM_DISK ",discard=off", plain);
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_DISCARD, 1), VIRTIO_BLK_S_UNSUPP);
	vdisk_destroy(v);
}

/* ---- any layout of descriptors ---- */

static void heads_and_statuses_may_be_torn(void **state)
{
	struct vdisk *v = vdisk_create(
		MEM_DISK, (struct vdrv_shape){.iommu = true, .indirect = true});
	struct vdrv_part parts[40];
	struct vdisk_req req;
	unsigned nr;

	(void)state;
	fill(v, VDISK_DATA, 1024, 5);
	/* OUT: the head in pieces of `cut`, its end together with data. */
	for (unsigned cut = 1; cut <= 16; cut++) {
		vdisk_prepare(v, &req, VIRTIO_BLK_T_OUT, cut * 2);
		memcpy(guest_at(v->drv.g, req.head + 4096 * 16),
		       guest_at(v->drv.g, req.head), 16);
		nr = 0;
		for (unsigned at = 0; at < 16; at += cut) {
			unsigned len = 16 - at < cut ? 16 - at : cut;

			parts[nr++] = (struct vdrv_part){req.head + at, len};
		}
		parts[nr++] = (struct vdrv_part){VDISK_DATA, 100};
		parts[nr++] = (struct vdrv_part){VDISK_DATA + 100, 924};
		parts[nr] = (struct vdrv_part){req.status, 1};
		vdisk_send_raw(v, 0, &req, parts, nr, 1);
		assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_OK);
		/* IN: data and status in one buffer, cut anywhere. */
		vdisk_prepare(v, &req, VIRTIO_BLK_T_IN, cut * 2);
		req.status = VDISK_DATA + 0x10000 + 1024;
		parts[0] = (struct vdrv_part){req.head, 16};
		parts[1] = (struct vdrv_part){VDISK_DATA + 0x10000, 1025 - cut};
		parts[2] = (struct vdrv_part){VDISK_DATA + 0x10000 + 1025 - cut, cut};
		memset(guest_at(v->drv.g, VDISK_DATA + 0x10000), 0xff, 1025);
		vdisk_send_raw(v, 0, &req, parts, 1, 2);
		assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_OK);
		assert_int_equal(req.len, 1025);
		assert_true(same(v, VDISK_DATA, VDISK_DATA + 0x10000, 1024));
	}
	vdisk_destroy(v);
}

static void head_and_data_in_one_buffer(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, plain);
	struct virtio_blk_head head = {.type = VIRTIO_BLK_T_OUT, .sector = 4};
	struct vdrv_part parts[2];
	struct vdisk_req req;

	(void)state;
	vdisk_prepare(v, &req, VIRTIO_BLK_T_OUT, 0);
	fill(v, VDISK_DATA, 16 + 512, 1);
	memcpy(guest_at(v->drv.g, VDISK_DATA), &head, 16);
	parts[0] = (struct vdrv_part){VDISK_DATA, 16 + 512};
	parts[1] = (struct vdrv_part){req.status, 1};
	vdisk_send_raw(v, 0, &req, parts, 1, 1);
	assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_OK);
	assert_int_equal(vdisk_read(v, 4, VDISK_DATA + 4096, 512), VIRTIO_BLK_S_OK);
	assert_true(same(v, VDISK_DATA + 16, VDISK_DATA + 4096, 512));
	vdisk_destroy(v);
}

static void malformed_requests_come_back(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, plain);
	struct vdrv_part parts[2];
	struct vdisk_req req;

	(void)state;
	/* No status: nothing can be said. */
	vdisk_prepare(v, &req, VIRTIO_BLK_T_FLUSH, 0);
	parts[0] = (struct vdrv_part){req.head, 16};
	vdisk_send_raw(v, 0, &req, parts, 1, 0);
	assert_int_equal(vdisk_finish(v, &req), 0xff);
	assert_int_equal(req.len, 0);
	/* A head that is too short, or none. */
	vdisk_prepare(v, &req, VIRTIO_BLK_T_FLUSH, 0);
	parts[0] = (struct vdrv_part){req.head, 15};
	parts[1] = (struct vdrv_part){req.status, 1};
	vdisk_send_raw(v, 0, &req, parts, 1, 1);
	assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_IOERR);
	vdisk_prepare(v, &req, VIRTIO_BLK_T_FLUSH, 0);
	parts[0] = (struct vdrv_part){req.status, 1};
	vdisk_send_raw(v, 0, &req, parts, 0, 1);
	assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_IOERR);
	assert_int_equal(guest_stat(v->drv.g, "malformed"), 1);
	assert_int_equal(vdisk_read(v, 0, VDISK_DATA, 512), VIRTIO_BLK_S_OK);
	vdisk_destroy(v);
}

/* ---- what the IOMMU does not let through ---- */

static void check_still_works(struct vdisk *v)
{
	assert_int_equal(vdisk_write(v, 3, VDISK_DATA, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(vdisk_read(v, 3, VDISK_DATA, 4096), VIRTIO_BLK_S_OK);
}

static void unmapped_buffers_fail_alone(void **state)
{
	static const char *const kinds[] = {MEM_DISK, "backend=null,size=8M"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct vdisk *v = vdisk_create(kinds[i], behind_iommu);
		struct virtio_iommu_fault fault;
		struct vdisk_req bad, good;
		const struct vdrv_part hole = {VDISK_HOLE, 512};
		const struct vdrv_part fine = {VDISK_DATA, 512};

		vdisk_send(v, 0, &bad, VIRTIO_BLK_T_IN, 0, &hole, 1, true);
		vdisk_send(v, 0, &good, VIRTIO_BLK_T_IN, 0, &fine, 1, true);
		assert_int_equal(vdisk_finish(v, &bad), VIRTIO_BLK_S_IOERR);
		assert_int_equal(vdisk_finish(v, &good), VIRTIO_BLK_S_OK);
		assert_int_equal(guest_faults(v->drv.g, &fault), 1);
		assert_true(fault.address == guest_iova(v->drv.g, VDISK_HOLE));
		assert_int_equal(fault.flags & VIRTIO_IOMMU_FAULT_F_WRITE,
				 VIRTIO_IOMMU_FAULT_F_WRITE);
		/* The last page of it only. */
		assert_int_equal(vdisk_write(v, 0, VDISK_HOLE - 4096, 8192),
				 VIRTIO_BLK_S_IOERR);
		check_still_works(v);
		vdisk_destroy(v);
	}
}

static void permissions_are_kept(void **state)
{
	static const char *const kinds[] = {MEM_DISK, "backend=null,size=8M"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct vdisk *v = vdisk_create(kinds[i], behind_iommu);

		assert_int_equal(vdisk_read(v, 0, VDISK_RO, 512), VIRTIO_BLK_S_IOERR);
		assert_int_equal(vdisk_write(v, 0, VDISK_RO, 512), VIRTIO_BLK_S_OK);
		assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_GET_ID, 0, VDISK_RO, 20, NULL),
				 VIRTIO_BLK_S_IOERR);
		check_still_works(v);
		vdisk_destroy(v);
	}
}

static void unreachable_status_gives_length_zero(void **state)
{
	static const uint64_t places[] = {VDISK_HOLE, VDISK_RO};
	struct vdisk *v = vdisk_create(MEM_DISK, behind_iommu);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct vdrv_part parts[3] = {{0, 16}, {VDISK_DATA, 512}, {places[i], 1}};
		struct vdisk_req req;

		vdisk_prepare(v, &req, VIRTIO_BLK_T_IN, 0);
		parts[0].offset = req.head;
		vdisk_send_raw(v, 0, &req, parts, 1, 2);
		assert_int_equal(vdisk_finish(v, &req), 0xff);
		assert_int_equal(req.len, 0);
		assert_int_equal(guest_faults(v->drv.g, NULL), 1);
	}
	check_still_works(v);
	vdisk_destroy(v);
}

static void unreachable_heads_and_tables(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, behind_iommu);
	struct vdrv_part parts[2] = {{VDISK_HOLE, 16}, {0, 1}};
	struct vdisk_req req;

	(void)state;
	vdisk_prepare(v, &req, VIRTIO_BLK_T_FLUSH, 0);
	parts[1].offset = req.status;
	vdisk_send_raw(v, 0, &req, parts, 1, 1);
	assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_IOERR);
	/* An indirect table out of reach: given back, length 0. */
	v->drv.q[0].cfg.tables_dma = guest_iova(v->drv.g, VDISK_HOLE);
	vdisk_prepare(v, &req, VIRTIO_BLK_T_FLUSH, 0);
	parts[0].offset = req.head;
	vdisk_send_raw(v, 0, &req, parts, 1, 1);
	assert_int_equal(vdisk_finish(v, &req), 0xff);
	assert_int_equal(req.len, 0);
	v->drv.q[0].cfg.tables_dma = guest_iova(v->drv.g, VDRV_TABLE(0));
	check_still_works(v);
	vdisk_destroy(v);
}

static void guest_physical_addresses_are_no_way_around(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, behind_iommu);
	struct vdrv_part part = {GUEST_GPA - GUEST_IOVA + VDISK_DATA, 512};
	struct vdisk_req req;

	(void)state;
	vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
	assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_IOERR);
	vdisk_destroy(v);
}

/* One that masters the bus late; what the operator did meanwhile it learns then. */
static void no_bus_master_no_dma(void **state)
{
	struct vdisk *v = vdisk_plug(MEM_DISK, plain);
	const struct vdrv_part part = {VDISK_DATA, 512};
	struct vdisk_req req;

	(void)state;
	guest_bus_master(v->drv.g, false);
	vdisk_init(v);
	vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
	assert_int_equal(endpoint_control(v->drv.g->ep, "resize", "size=4M"), 0);
	guest_run(v->drv.g, 20);
	assert_int_equal(vdisk_collect(v), 0);
	assert_int_equal(v->drv.g->irqs[0], 0);
	guest_bus_master(v->drv.g, true);
	assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_OK);
	guest_run(v->drv.g, 20);
	assert_int_equal(v->drv.g->irqs[0], 1);
	vdisk_destroy(v);
}

/* ---- interrupts and accounting ---- */

static void one_interrupt_a_turn(void **state)
{
	struct vdisk *v = vdisk_create("backend=null,size=8M", behind_iommu);
	const struct vdrv_part part = {VDISK_DATA, 512};
	struct vdisk_req reqs[32];
	unsigned before;

	(void)state;
	assert_int_equal(vdisk_read(v, 0, VDISK_DATA, 512), 0);
	before = v->drv.g->irqs[1];
	for (unsigned i = 0; i < 32; i++)
		vdisk_send(v, 0, &reqs[i], VIRTIO_BLK_T_IN, i, &part, 1, true);
	assert_int_equal(endpoint_poll(v->drv.g->ep, 64), ENDPOINT_DONE);
	assert_int_equal(vdisk_collect(v), 32);
	assert_int_equal(v->drv.g->irqs[1], before + 1);
	assert_int_equal(guest_stat(v->drv.g, "reads"), 33);
	assert_int_equal(guest_stat(v->drv.g, "read_bytes"), 33 * 512);
	assert_int_equal(guest_stat(v->drv.g, "interrupts"), before + 1);
	/* A quarter of the budget each time. */
	for (unsigned i = 0; i < 32; i++)
		vdisk_send(v, 0, &reqs[i], VIRTIO_BLK_T_IN, i, &part, 1, true);
	assert_int_equal(endpoint_poll(v->drv.g->ep, 8), ENDPOINT_DONE | ENDPOINT_MORE);
	assert_int_equal(vdisk_collect(v), 8);
	vdisk_destroy(v);
}

static void polling_takes_no_kicks(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const struct vdrv_shape shape = {.iommu = true,
						 .packed = i & 1,
						 .event_idx = i >> 1,
						 .indirect = true};
		struct vdisk *v = vdisk_create("backend=null,size=8M", shape);
		const struct vdrv_part part = {VDISK_DATA, 512};
		struct vdisk_req req;
		uint64_t kicks;

		/* Asleep: a kick is asked for. */
		guest_run(v->drv.g, 10);
		kicks = guest_stat(v->drv.g, "kicks");
		vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
		assert_int_equal(guest_stat(v->drv.g, "kicks"), kicks + 1);
		/* Watching: none is. */
		endpoint_poll(v->drv.g->ep, 64);
		vdisk_collect(v);
		endpoint_poll(v->drv.g->ep, 64);
		for (unsigned n = 0; n < 10; n++) {
			vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
			endpoint_poll(v->drv.g->ep, 64);
			assert_int_equal(vdisk_collect(v), 1);
		}
		assert_int_equal(guest_stat(v->drv.g, "kicks"), kicks + 1);
		/* Something that came before arming is not slept over. */
		vdisk_send(v, 0, &req, VIRTIO_BLK_T_IN, 0, &part, 1, true);
		assert_true(endpoint_arm(v->drv.g->ep));
		assert_int_equal(vdisk_finish(v, &req), VIRTIO_BLK_S_OK);
		vdisk_destroy(v);
	}
}

static void queues_are_served_apart(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct vdrv_shape shape = {
			.iommu = true, .packed = packed, .event_idx = true, .queues = 4};
		struct vdisk *v = vdisk_create("backend=mem,size=8M,queues=4", shape);
		const struct vdrv_part part = {VDISK_DATA, 512};
		struct vdisk_req reqs[4];

		for (unsigned q = 0; q < 4; q++)
			vdisk_send(v, q, &reqs[q], VIRTIO_BLK_T_OUT, q, &part, 1, false);
		for (unsigned q = 0; q < 4; q++) {
			assert_int_equal(vdisk_finish(v, &reqs[q]), VIRTIO_BLK_S_OK);
			assert_int_equal(v->drv.g->irqs[1 + q], 1);
		}
		vdisk_destroy(v);
	}
}

/* ---- durability, resize ---- */

static void writeback_follows_negotiation(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, plain);
	struct blk *blk = container_of(v->drv.g->ep, struct blk, ep);

	(void)state;
	assert_true(blk->writeback);
	vdrv_set_config(&v->drv, 32, 1, 0);
	assert_int_equal(vdrv_config(&v->drv, 32, 1), 0);
	assert_false(blk->writeback);
	vdrv_set_config(&v->drv, 32, 1, 1);
	assert_true(blk->writeback);
	vdrv_set_config(&v->drv, 0, 8, 1); /* capacity is not the driver's */
	assert_int_equal(vdrv_config(&v->drv, 0, 8), DISK_SECTORS);
	vdrv_reset(&v->drv);
	assert_false(blk->writeback);
	vdrv_set_config(&v->drv, 32, 1, 1); /* not negotiated */
	assert_false(blk->writeback);
	blk_accept(&blk->virtio, BIT(VIRTIO_BLK_F_CONFIG_WCE));
	assert_false(blk->writeback);
	blk_accept(&blk->virtio, BIT(VIRTIO_BLK_F_FLUSH));
	assert_true(blk->writeback);
	vdisk_destroy(v);
}

static void writethrough_writes_are_durable(void **state)
{
	char path[] = "/tmp/viommu-blk-XXXXXX", text[64];
	int fd = mkstemp(path);
	struct vdisk *v;

	(void)state;
	assert_int_equal(ftruncate(fd, 8 << 20), 0);
	snprintf(text, sizeof(text), "path=%s", path);
	v = vdisk_create(text, plain);
	vdrv_set_config(&v->drv, 32, 1, 0);
	assert_int_equal(vdisk_write(v, 0, VDISK_DATA, 4096), VIRTIO_BLK_S_OK);
	segments(v)[0] = (struct virtio_blk_segment){8, 8, 0};
	assert_int_equal(send_segments(v, VIRTIO_BLK_T_WRITE_ZEROES, 1), VIRTIO_BLK_S_OK);
	vdisk_destroy(v);
	close(fd);
	unlink(path);
}

static void resize_is_told_to_the_driver(void **state)
{
	struct vdisk *v = vdisk_create(MEM_DISK, plain);

	(void)state;
	assert_int_equal(endpoint_control(v->drv.g->ep, "resize", "size=16M"), 0);
	assert_int_equal(v->drv.g->irqs[0], 1);
	assert_int_equal(vdrv_config(&v->drv, 0, 8), DISK_SECTORS * 2);
	assert_int_equal(vdisk_write(v, DISK_SECTORS, VDISK_DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(endpoint_control(v->drv.g->ep, "resize", "size=16M"), 0);
	assert_int_equal(v->drv.g->irqs[0], 1);
	assert_int_equal(endpoint_control(v->drv.g->ep, "resize", "size=1000"), -EINVAL);
	assert_int_equal(endpoint_control(v->drv.g->ep, "resize", "to=1M"), -EINVAL);
	assert_int_equal(endpoint_control(v->drv.g->ep, "explode", NULL), -EOPNOTSUPP);
	assert_int_equal(endpoint_control(v->drv.g->ep, "resize", "size=1M"), 0);
	assert_int_equal(vdisk_write(v, DISK_SECTORS, VDISK_DATA, 512),
			 VIRTIO_BLK_S_IOERR);
	vdisk_destroy(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_space_tells_the_limits),
		cmocka_unit_test(features_follow_the_options),
		cmocka_unit_test(indirect_tables_are_offered_where_they_cost_nothing),
		cmocka_unit_test(wrong_options_are_refused),
		cmocka_unit_test(creation_survives_lack_of_memory),
		cmocka_unit_test(every_ring_and_backend_moves_data),
		cmocka_unit_test(null_checks_but_moves_nothing),
		cmocka_unit_test(get_id_gives_the_serial),
		cmocka_unit_test(requests_out_of_range_are_refused),
		cmocka_unit_test(data_at_the_limit_and_past_it),
		cmocka_unit_test(read_only_disk_stays_as_it_is),
		cmocka_unit_test(unknown_types_are_unsupported),
		cmocka_unit_test(zeroes_and_discards_segments),
		cmocka_unit_test(bad_segments_are_refused_whole),
		cmocka_unit_test(segment_lengths_at_the_limit_and_past_it),
		cmocka_unit_test(heads_and_statuses_may_be_torn),
		cmocka_unit_test(head_and_data_in_one_buffer),
		cmocka_unit_test(malformed_requests_come_back),
		cmocka_unit_test(unmapped_buffers_fail_alone),
		cmocka_unit_test(permissions_are_kept),
		cmocka_unit_test(unreachable_status_gives_length_zero),
		cmocka_unit_test(unreachable_heads_and_tables),
		cmocka_unit_test(guest_physical_addresses_are_no_way_around),
		cmocka_unit_test(no_bus_master_no_dma),
		cmocka_unit_test(one_interrupt_a_turn),
		cmocka_unit_test(polling_takes_no_kicks),
		cmocka_unit_test(queues_are_served_apart),
		cmocka_unit_test(writeback_follows_negotiation),
		cmocka_unit_test(writethrough_writes_are_durable),
		cmocka_unit_test(resize_is_told_to_the_driver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
