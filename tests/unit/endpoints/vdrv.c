/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "vdrv.h"

#include "virtio_regs.h"

static uint64_t get(struct vdrv *v, unsigned at, unsigned len)
{
	return guest_reg(v->g, 0, v->common + at, len);
}

static void set(struct vdrv *v, unsigned at, unsigned len, uint64_t value)
{
	guest_set_reg(v->g, 0, v->common + at, len, value);
}

static unsigned find_region(struct vdrv *v, unsigned type)
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

void vdrv_boot(struct vdrv *v, struct vdrv_shape shape)
{
	v->shape = shape;
	if (!v->shape.queues)
		v->shape.queues = 1;
	v->g = guest_create(shape.iommu);
}

void vdrv_plug(struct vdrv *v, const char *type, const char *options)
{
	assert_int_equal(guest_endpoint(v->g, type, options), 0);
	v->common = find_region(v, 1);
	v->notify = find_region(v, 2);
	v->device = find_region(v, 4);
}

void vdrv_unplug(struct vdrv *v)
{
	guest_destroy(v->g);
}

uint64_t vdrv_offered(struct vdrv *v)
{
	uint64_t f;

	set(v, DEVICE_FEATURE_SELECT, 4, 0);
	f = get(v, DEVICE_FEATURE, 4);
	set(v, DEVICE_FEATURE_SELECT, 4, 1);
	return f | get(v, DEVICE_FEATURE, 4) << 32;
}

static void choose_features(struct vdrv *v)
{
	v->features = vdrv_offered(v) & ~v->shape.without;
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

static void init_queue(struct vdrv *v, unsigned i)
{
	uint64_t base = guest_iova(v->g, VDRV_RING(i));
	const struct drvq_config cfg = {
		.size = VDRV_SIZE,
		.packed = v->shape.packed,
		.event_idx = v->shape.event_idx,
		.desc = guest_at(v->g, VDRV_RING(i)),
		.driver = guest_at(v->g, VDRV_RING(i) + VDRV_AREA_DRIVER),
		.device = guest_at(v->g, VDRV_RING(i) + VDRV_AREA_DEVICE),
		.slots = v->slots[i],
		.tables = guest_at(v->g, VDRV_TABLE(i)),
		.tables_dma = guest_iova(v->g, VDRV_TABLE(i)),
		.table_nr = v->shape.indirect ? VDRV_AREA_LEN / 16 / VDRV_SIZE : 0,
	};

	memset(guest_at(v->g, VDRV_RING(i)), 0, VDRV_AREA_LEN);
	assert_int_equal(drvq_init(&v->q[i], &cfg), 0);
	set(v, QUEUE_SELECT, 2, i);
	set(v, QUEUE_SIZE, 2, VDRV_SIZE);
	set(v, QUEUE_VECTOR, 2, 1 + i);
	set(v, QUEUE_DESC, 8, base);
	set(v, QUEUE_DRIVER, 8, base + VDRV_AREA_DRIVER);
	set(v, QUEUE_DEVICE, 8, base + VDRV_AREA_DEVICE);
	set(v, QUEUE_ENABLE, 2, 1);
	assert_int_equal(get(v, QUEUE_ENABLE, 2), 1);
}

void vdrv_init(struct vdrv *v, unsigned queues_nr)
{
	choose_features(v);
	v->queues_nr = queues_nr;
	set(v, CONFIG_VECTOR, 2, 0);
	for (unsigned i = 0; i < queues_nr; i++)
		init_queue(v, i);
	set(v, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

void vdrv_reset(struct vdrv *v)
{
	set(v, DEVICE_STATUS, 1, 0);
	assert_int_equal(get(v, DEVICE_STATUS, 1), 0);
}

void vdrv_reset_queue(struct vdrv *v, unsigned queue)
{
	set(v, QUEUE_SELECT, 2, queue);
	set(v, QUEUE_RESET, 2, 1);
	assert_int_equal(get(v, QUEUE_RESET, 2), 0);
	init_queue(v, queue);
}

uint8_t vdrv_status(struct vdrv *v)
{
	return (uint8_t)get(v, DEVICE_STATUS, 1);
}

bool vdrv_needs_reset(struct vdrv *v)
{
	return vdrv_status(v) & NEEDS_RESET;
}

uint64_t vdrv_config(struct vdrv *v, unsigned offset, unsigned len)
{
	return guest_reg(v->g, 0, v->device + offset, len);
}

void vdrv_set_config(struct vdrv *v, unsigned offset, unsigned len, uint64_t value)
{
	guest_set_reg(v->g, 0, v->device + offset, len, value);
}

void vdrv_kick(struct vdrv *v, unsigned queue)
{
	guest_set_reg(v->g, 0, v->notify + queue * NOTIFY_SCALE, 2, queue);
}

void vdrv_add(struct vdrv *v, unsigned queue, const struct vdrv_part *parts,
	      unsigned readable_nr, unsigned writable_nr, void *cookie)
{
	struct drvq_buf bufs[VDRV_SIZE];

	assert_in_range(readable_nr + writable_nr, 1, VDRV_SIZE);
	for (unsigned i = 0; i < readable_nr + writable_nr; i++) {
		bufs[i].addr = guest_iova(v->g, parts[i].offset);
		bufs[i].len = parts[i].len;
	}
	assert_int_equal(drvq_add(&v->q[queue], bufs, readable_nr, writable_nr, cookie),
			 0);
}

void vdrv_publish(struct vdrv *v, unsigned queue)
{
	if (drvq_publish(&v->q[queue]))
		vdrv_kick(v, queue);
}
