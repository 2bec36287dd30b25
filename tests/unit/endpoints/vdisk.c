/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "vdisk.h"

#include "virtio_regs.h"

#define BIT(n)	    (1ull << (n))

#define AREA_DRIVER 0x4000u
#define AREA_DEVICE 0x8000u
#define AREA_LEN    0x10000u

static uint64_t get(struct vdisk *v, unsigned at, unsigned len)
{
	return guest_reg(v->g, 0, v->common + at, len);
}

static void set(struct vdisk *v, unsigned at, unsigned len, uint64_t value)
{
	guest_set_reg(v->g, 0, v->common + at, len, value);
}

static unsigned find_region(struct vdisk *v, unsigned type)
{
	unsigned cap = 0;

	while ((cap = guest_find_cap(v->g, CAP_VENDOR, cap)) != 0)
		if (guest_config(v->g, cap + 3, 1) == type) {
			assert_int_equal(guest_config(v->g, cap + 4, 1), 0);
			return (unsigned)guest_config(v->g, cap + 8, 4);
		}
	fail();
	return 0;
}

void vdisk_map(struct vdisk *v)
{
	assert_int_equal(guest_map(v->g, 0, VDISK_DATA, RW), 0);
	assert_int_equal(guest_map(v->g, VDISK_DATA, VDISK_RO - VDISK_DATA, RW), 0);
	assert_int_equal(guest_map(v->g, VDISK_RO, VDISK_HOLE - VDISK_RO, R), 0);
}

struct vdisk *vdisk_plug(const char *options, struct vdisk_shape shape)
{
	struct vdisk *v = calloc(1, sizeof(*v));
	char text[256];

	/* Not offered behind an IOMMU unless it is asked for. */
	snprintf(text, sizeof(text), "%s%s", options,
		 shape.indirect ? ",indirect=on" : "");
	v->shape = shape;
	if (!v->shape.queues)
		v->shape.queues = 1;
	v->g = guest_create(shape.iommu);
	vdisk_map(v);
	assert_int_equal(guest_endpoint(v->g, "blk", text), 0);
	v->common = find_region(v, 1);
	v->notify = find_region(v, 2);
	v->device = find_region(v, 4);
	return v;
}

uint64_t vdisk_offered(struct vdisk *v)
{
	uint64_t f;

	set(v, DEVICE_FEATURE_SELECT, 4, 0);
	f = get(v, DEVICE_FEATURE, 4);
	set(v, DEVICE_FEATURE_SELECT, 4, 1);
	return f | get(v, DEVICE_FEATURE, 4) << 32;
}

static void choose_features(struct vdisk *v)
{
	v->features = vdisk_offered(v);
	if (!v->shape.packed)
		v->features &= ~BIT(34);
	if (!v->shape.event_idx)
		v->features &= ~BIT(29);
	if (!v->shape.indirect)
		v->features &= ~BIT(28);
	set(v, DRIVER_FEATURE_SELECT, 4, 0);
	set(v, DRIVER_FEATURE, 4, (uint32_t)v->features);
	set(v, DRIVER_FEATURE_SELECT, 4, 1);
	set(v, DRIVER_FEATURE, 4, v->features >> 32);
	set(v, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	assert_int_not_equal(get(v, DEVICE_STATUS, 1) & FEATURES_OK, 0);
}

static void init_queue(struct vdisk *v, unsigned i)
{
	uint64_t base = guest_iova(v->g, VDISK_RING(i));
	const struct drvq_config cfg = {
		.size = VDISK_SIZE,
		.packed = v->shape.packed,
		.event_idx = v->shape.event_idx,
		.desc = guest_at(v->g, VDISK_RING(i)),
		.driver = guest_at(v->g, VDISK_RING(i) + AREA_DRIVER),
		.device = guest_at(v->g, VDISK_RING(i) + AREA_DEVICE),
		.slots = v->slots[i],
		.tables = guest_at(v->g, VDISK_TABLE(i)),
		.tables_dma = guest_iova(v->g, VDISK_TABLE(i)),
		.table_nr = v->shape.indirect ? AREA_LEN / 16 / VDISK_SIZE : 0,
	};

	memset(guest_at(v->g, VDISK_RING(i)), 0, AREA_LEN);
	assert_int_equal(drvq_init(&v->q[i], &cfg), 0);
	set(v, QUEUE_SELECT, 2, i);
	set(v, QUEUE_SIZE, 2, VDISK_SIZE);
	set(v, QUEUE_VECTOR, 2, 1 + i);
	set(v, QUEUE_DESC, 8, base);
	set(v, QUEUE_DRIVER, 8, base + AREA_DRIVER);
	set(v, QUEUE_DEVICE, 8, base + AREA_DEVICE);
	set(v, QUEUE_ENABLE, 2, 1);
	assert_int_equal(get(v, QUEUE_ENABLE, 2), 1);
}

void vdisk_init(struct vdisk *v)
{
	choose_features(v);
	set(v, CONFIG_VECTOR, 2, 0);
	for (unsigned i = 0; i < v->shape.queues; i++)
		init_queue(v, i);
	set(v, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

struct vdisk *vdisk_create(const char *options, struct vdisk_shape shape)
{
	struct vdisk *v = vdisk_plug(options, shape);

	vdisk_init(v);
	return v;
}

void vdisk_destroy(struct vdisk *v)
{
	guest_destroy(v->g);
	free(v);
}

void vdisk_reset(struct vdisk *v)
{
	set(v, DEVICE_STATUS, 1, 0);
	assert_int_equal(get(v, DEVICE_STATUS, 1), 0);
}

uint8_t vdisk_status(struct vdisk *v)
{
	return (uint8_t)get(v, DEVICE_STATUS, 1);
}

void vdisk_prepare(struct vdisk *v, struct vdisk_req *req, uint32_t type, uint64_t sector)
{
	struct virtio_blk_head head = {.type = type, .sector = sector};

	/* More than all rings hold: none is in use twice. */
	req->head = VDISK_HEADS + 64 * (v->next_head++ % 1024);
	req->status = req->head + 32;
	req->done = false;
	req->len = 0;
	memcpy(guest_at(v->g, req->head), &head, sizeof(head));
	memset(guest_at(v->g, req->status), 0xff, 1);
}

void vdisk_kick(struct vdisk *v, unsigned queue)
{
	guest_set_reg(v->g, 0, v->notify + queue * NOTIFY_SCALE, 2, queue);
}

void vdisk_send_raw(struct vdisk *v, unsigned queue, struct vdisk_req *req,
		    const struct vdisk_part *parts, unsigned readable_nr,
		    unsigned writable_nr)
{
	struct drvq_buf bufs[VDISK_SIZE];

	assert_in_range(readable_nr + writable_nr, 1, VDISK_SIZE);
	for (unsigned i = 0; i < readable_nr + writable_nr; i++) {
		bufs[i].addr = guest_iova(v->g, parts[i].offset);
		bufs[i].len = parts[i].len;
	}
	req->done = false;
	assert_int_equal(drvq_add(&v->q[queue], bufs, readable_nr, writable_nr, req), 0);
	if (drvq_publish(&v->q[queue]))
		vdisk_kick(v, queue);
}

void vdisk_send(struct vdisk *v, unsigned queue, struct vdisk_req *req, uint32_t type,
		uint64_t sector, const struct vdisk_part *parts, unsigned parts_nr,
		bool writable)
{
	struct vdisk_part all[VDISK_SIZE];

	vdisk_prepare(v, req, type, sector);
	all[0] = (struct vdisk_part){req->head, 16};
	if (parts_nr)
		memcpy(all + 1, parts, parts_nr * sizeof(*parts));
	all[parts_nr + 1] = (struct vdisk_part){req->status, 1};
	vdisk_send_raw(v, queue, req, all, 1 + (writable ? 0 : parts_nr),
		       1 + (writable ? parts_nr : 0));
}

unsigned vdisk_collect(struct vdisk *v)
{
	struct drvq_used used;
	unsigned nr = 0;

	for (unsigned i = 0; i < v->shape.queues; i++) {
		while (drvq_poll(&v->q[i], &used) > 0) {
			struct vdisk_req *req = used.cookie;

			assert_false(req->done);
			req->done = true;
			req->len = used.len;
			nr++;
		}
		assert_false(v->q[i].broken);
	}
	return nr;
}

uint8_t vdisk_finish(struct vdisk *v, struct vdisk_req *req)
{
	for (unsigned i = 0; i < 50 && !req->done; i++) {
		guest_run(v->g, 100);
		vdisk_collect(v);
	}
	assert_true(req->done);
	return *(uint8_t *)guest_at(v->g, req->status);
}

uint8_t vdisk_do(struct vdisk *v, uint32_t type, uint64_t sector, uint64_t offset,
		 uint32_t len, uint32_t *used)
{
	const struct vdisk_part part = {offset, len};
	struct vdisk_req req;
	uint8_t status;

	vdisk_send(v, 0, &req, type, sector, &part, len ? 1 : 0,
		   type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID);
	status = vdisk_finish(v, &req);
	if (used)
		*used = req.len;
	return status;
}

uint64_t vdisk_config(struct vdisk *v, unsigned offset, unsigned len)
{
	return guest_reg(v->g, 0, v->device + offset, len);
}

void vdisk_set_config(struct vdisk *v, unsigned offset, unsigned len, uint64_t value)
{
	guest_set_reg(v->g, 0, v->device + offset, len, value);
}
