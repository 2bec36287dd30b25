/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "vdisk.h"

void vdisk_map(struct vdisk *v)
{
	struct guest *g = v->drv.g;

	assert_int_equal(guest_map(g, 0, VDISK_DATA, RW), 0);
	assert_int_equal(guest_map(g, VDISK_DATA, VDISK_RO - VDISK_DATA, RW), 0);
	assert_int_equal(guest_map(g, VDISK_RO, VDISK_HOLE - VDISK_RO, R), 0);
}

struct vdisk *vdisk_plug(const char *options, struct vdrv_shape shape)
{
	struct vdisk *v = calloc(1, sizeof(*v));
	char text[256];

	/* Not offered behind an IOMMU unless it is asked for. */
	snprintf(text, sizeof(text), "%s%s", options,
		 shape.indirect ? ",indirect=on" : "");
	vdrv_boot(&v->drv, shape);
	vdisk_map(v);
	vdrv_plug(&v->drv, "blk", text);
	return v;
}

void vdisk_init(struct vdisk *v)
{
	vdrv_init(&v->drv, v->drv.shape.queues);
}

struct vdisk *vdisk_create(const char *options, struct vdrv_shape shape)
{
	struct vdisk *v = vdisk_plug(options, shape);

	vdisk_init(v);
	return v;
}

void vdisk_destroy(struct vdisk *v)
{
	vdrv_unplug(&v->drv);
	free(v);
}

void vdisk_prepare(struct vdisk *v, struct vdisk_req *req, uint32_t type, uint64_t sector)
{
	struct virtio_blk_head head = {.type = type, .sector = sector};

	/* More than all rings hold: none is in use twice. */
	req->head = VDISK_HEADS + 64 * (v->next_head++ % 1024);
	req->status = req->head + 32;
	req->done = false;
	req->len = 0;
	memcpy(guest_at(v->drv.g, req->head), &head, sizeof(head));
	memset(guest_at(v->drv.g, req->status), 0xff, 1);
}

void vdisk_send_raw(struct vdisk *v, unsigned queue, struct vdisk_req *req,
		    const struct vdrv_part *parts, unsigned readable_nr,
		    unsigned writable_nr)
{
	req->done = false;
	vdrv_add(&v->drv, queue, parts, readable_nr, writable_nr, req);
	vdrv_publish(&v->drv, queue);
}

void vdisk_send(struct vdisk *v, unsigned queue, struct vdisk_req *req, uint32_t type,
		uint64_t sector, const struct vdrv_part *parts, unsigned parts_nr,
		bool writable)
{
	struct vdrv_part all[VDRV_SIZE];

	vdisk_prepare(v, req, type, sector);
	all[0] = (struct vdrv_part){req->head, 16};
	if (parts_nr)
		memcpy(all + 1, parts, parts_nr * sizeof(*parts));
	all[parts_nr + 1] = (struct vdrv_part){req->status, 1};
	vdisk_send_raw(v, queue, req, all, 1 + (writable ? 0 : parts_nr),
		       1 + (writable ? parts_nr : 0));
}

unsigned vdisk_collect(struct vdisk *v)
{
	struct drvq_used used;
	unsigned nr = 0;

	for (unsigned i = 0; i < v->drv.shape.queues; i++) {
		while (drvq_poll(&v->drv.q[i], &used) > 0) {
			struct vdisk_req *req = used.cookie;

			assert_false(req->done);
			req->done = true;
			req->len = used.len;
			nr++;
		}
		assert_false(v->drv.q[i].broken);
	}
	return nr;
}

uint8_t vdisk_finish(struct vdisk *v, struct vdisk_req *req)
{
	for (unsigned i = 0; i < 50 && !req->done; i++) {
		guest_run(v->drv.g, 100);
		vdisk_collect(v);
	}
	assert_true(req->done);
	return *(uint8_t *)guest_at(v->drv.g, req->status);
}

uint8_t vdisk_do(struct vdisk *v, uint32_t type, uint64_t sector, uint64_t offset,
		 uint32_t len, uint32_t *used)
{
	const struct vdrv_part part = {offset, len};
	struct vdisk_req req;
	uint8_t status;

	vdisk_send(v, 0, &req, type, sector, &part, len ? 1 : 0,
		   type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID);
	status = vdisk_finish(v, &req);
	if (used)
		*used = req.len;
	return status;
}
