/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Requests whose pages are held, over a domain layer that does as it is told. */
#include <errno.h>

#include "device/device.h"
#include "device_kit.h"
#include "fake_space.h"

#define MS 1000000ull

struct fixture {
	struct device_kit kit;
	struct space *space;
	struct kit_ring ring;
	struct rng rng;
	struct kit_transfer t[4];
};

static void start(struct fixture *f, bool with_ring)
{
	struct kit_ring_kind kind = {.size = 32};

	device_kit_init(&f->kit, NULL);
	f->space = f->kit.dev->space;
	f->rng = rng_init(1);
	device_kit_endpoint(&f->kit, 1, NULL, 0);
	assert_int_equal(kit_attach(&f->kit, 1, 1, 0), 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(kit_map(&f->kit, 1, i << 12, (i << 12) + 0xfff, 0, 3),
				 0);
	if (with_ring)
		kit_ring_init(&f->ring, &f->kit, VIOMMU_QUEUE_REQUEST, kind);
}

/* Adds UNMAP of page i. */
static void add_unmap(struct fixture *f, unsigned i, unsigned parts)
{
	struct proto_request req = {.type = VIRTIO_IOMMU_T_UNMAP,
				    .domain = 1,
				    .start = (uint64_t)i << 12,
				    .last = ((uint64_t)i << 12) + 0xfff};
	struct kit_transfer *t = &f->t[i];

	*t = (struct kit_transfer){.out_len = PROTO_TAIL_LEN};
	memset(t->out, 0xee, sizeof(t->out));
	t->in_len = proto_encode_request(t->in, &req);
	assert_int_equal(kit_ring_add(&f->ring, t, &f->rng, parts), 0);
	drvq_publish(&f->ring.q);
}

static void plain_buffers(void **state)
{
	struct iovec in, out;
	uint8_t bytes[PROTO_REQUEST_MAX], tail[4] = {0xee, 0xee, 0xee, 0xee};
	struct proto_request req = {
		.type = VIRTIO_IOMMU_T_DETACH, .domain = 1, .endpoint = 1};
	struct fixture f;
	size_t written = 99;

	(void)state;
	start(&f, false);
	f.space->hold = true;
	in = (struct iovec){bytes, proto_encode_request(bytes, &req)};
	out = (struct iovec){tail, 4};
	assert_int_equal(viommu_device_request(f.kit.dev, &in, 1, &out, 1, &written),
			 -EINPROGRESS);
	assert_int_equal(viommu_device_request(f.kit.dev, &in, 1, &out, 1, &written),
			 -EINPROGRESS);
	assert_int_equal(kit_attach(&f.kit, 1, 1, 0), -EBUSY);
	assert_int_equal(viommu_device_save(f.kit.dev, NULL, &written), -EBUSY);
	assert_int_equal(f.kit.wakes, 0);
	fake_space_release(f.space);
	assert_int_equal(f.kit.wakes, 1);
	assert_int_equal(viommu_device_request(f.kit.dev, &in, 1, &out, 1, &written), 0);
	assert_int_equal(written, 4);
	assert_memory_equal(tail, ((uint8_t[4]){0}), 4);
	assert_int_equal(device_kit_stats(&f.kit).parked, 1);
	assert_int_equal(kit_attach(&f.kit, 1, 1, 0), 0);
	device_kit_done(&f.kit);
}

/* Empty buffers before and amid the tail take no part in it. */
static void empty_buffers(void **state)
{
	struct proto_request req = {
		.type = VIRTIO_IOMMU_T_DETACH, .domain = 1, .endpoint = 1};
	uint8_t bytes[PROTO_REQUEST_MAX], tail[4] = {0xee, 0xee, 0xee, 0xee};
	struct iovec in = {bytes, proto_encode_request(bytes, &req)};
	struct iovec out[5] = {{NULL, 0}, {tail, 1}, {NULL, 0}, {NULL, 0}, {tail + 1, 3}};
	struct fixture f;
	size_t written;

	(void)state;
	start(&f, false);
	f.space->hold = true;
	assert_int_equal(viommu_device_request(f.kit.dev, &in, 1, out, 5, &written),
			 -EINPROGRESS);
	fake_space_release(f.space);
	assert_int_equal(viommu_device_request(f.kit.dev, &in, 1, out, 5, &written), 0);
	assert_int_equal(written, 4);
	assert_memory_equal(tail, ((uint8_t[4]){0}), 4);
	device_kit_done(&f.kit);
}

static void note_request(void *opaque, const struct viommu_request_info *info)
{
	*(struct viommu_request_info *)opaque = *info;
}

/* Waiting is part of the latency, also for those behind it, and told. */
static void latency(void **state)
{
	struct viommu_device_histograms h;
	struct viommu_request_info told = {0};
	struct fixture f;

	(void)state;
	start(&f, true);
	viommu_device_set_trace(f.kit.dev, note_request, &told);
	f.space->hold = true;
	add_unmap(&f, 2, 1);
	add_unmap(&f, 3, 1);
	viommu_device_process(f.kit.dev, 8);
	viommu_device_get_histograms(f.kit.dev, &h);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_UNMAP].nr, 0);
	assert_int_equal(told.time_ns, 0);
	f.kit.now_ns += 300000;
	f.space->hold = false;
	fake_space_release(f.space);
	viommu_device_process(f.kit.dev, 1);
	viommu_device_get_histograms(f.kit.dev, &h);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_UNMAP].nr, 2);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_UNMAP].sum, 600000);
	assert_int_equal(told.start, 0x3000);
	viommu_device_set_trace(f.kit.dev, NULL, NULL);
	kit_ring_collect(&f.ring);
	kit_ring_done(&f.ring, &f.kit, VIOMMU_QUEUE_REQUEST);
	device_kit_done(&f.kit);
}

static void time_out_is_deverr(void **state)
{
	struct fixture f;
	unsigned work;

	(void)state;
	start(&f, true);
	f.space->hold = true;
	add_unmap(&f, 0, 1);
	work = viommu_device_process(f.kit.dev, 16);
	assert_int_equal(work, VIOMMU_WORK_PARKED);
	f.kit.now_ns += 2000 * MS - 1;
	assert_int_equal(viommu_device_process(f.kit.dev, 16), VIOMMU_WORK_PARKED);
	assert_int_equal(kit_ring_collect(&f.ring), 0);
	f.kit.now_ns += 1;
	work = viommu_device_process(f.kit.dev, 16);
	assert_int_equal(work & ~VIOMMU_WORK_NOTIFY_REQUEST, VIOMMU_WORK_DONE);
	assert_int_equal(kit_ring_collect(&f.ring), 1);
	assert_int_equal(f.t[0].used, 4);
	assert_int_equal(f.t[0].out[0], VIRTIO_IOMMU_S_DEVERR);
	assert_int_equal(device_kit_stats(&f.kit).hold_timeouts, 1);
	assert_int_equal(f.kit.needs_resets, 0);
	kit_ring_done(&f.ring, &f.kit, VIOMMU_QUEUE_REQUEST);
	device_kit_done(&f.kit);
}

/* A guest that removes many mappings of a lost transfer waits once, not for each. */
static void a_second_time_out_comes_sooner(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, true);
	f.space->hold = true;
	for (unsigned i = 0; i < 3; i++)
		add_unmap(&f, i, 1);
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	f.kit.now_ns += 2000 * MS;
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	assert_int_equal(kit_ring_collect(&f.ring), 1);
	f.kit.now_ns += 20 * MS - 1;
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	assert_int_equal(kit_ring_collect(&f.ring), 0);
	f.kit.now_ns += 1;
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	assert_int_equal(kit_ring_collect(&f.ring), 1);
	/* The third is released in time: the whole time again for the next one. */
	fake_space_release(f.space);
	(void)viommu_device_process(f.kit.dev, 16);
	assert_int_equal(kit_ring_collect(&f.ring), 1);
	assert_int_equal(f.t[2].out[0], VIRTIO_IOMMU_S_OK);
	add_unmap(&f, 3, 1);
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	f.kit.now_ns += 1999 * MS;
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	assert_int_equal(kit_ring_collect(&f.ring), 0);
	fake_space_release(f.space);
	(void)viommu_device_process(f.kit.dev, 16);
	assert_int_equal(kit_ring_collect(&f.ring), 1);
	kit_ring_done(&f.ring, &f.kit, VIOMMU_QUEUE_REQUEST);
	device_kit_done(&f.kit);
}

/* What comes after a parked request waits for it, in any split of the tail. */
static void order_is_kept(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned parts = 1; parts <= 4; parts++) {
		start(&f, true);
		f.space->hold = true;
		add_unmap(&f, 0, parts);
		add_unmap(&f, 1, parts);
		add_unmap(&f, 2, parts);
		assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
		assert_int_equal(kit_ring_collect(&f.ring), 0);
		assert_int_equal(kit_mappings_nr(&f.kit), 3);
		fake_space_release(f.space);
		f.space->hold = false;
		assert_false(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
		assert_int_equal(kit_ring_collect(&f.ring), 3);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(f.t[i].used, 4);
			assert_memory_equal(f.t[i].out, ((uint8_t[5]){0, 0, 0, 0, 0xee}),
					    5);
		}
		kit_ring_done(&f.ring, &f.kit, VIOMMU_QUEUE_REQUEST);
		device_kit_done(&f.kit);
	}
}

static void reset_does_not_wait(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, true);
	f.space->hold = true;
	add_unmap(&f, 0, 1);
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	f.kit.dev->impatient = true;
	viommu_device_reset(f.kit.dev);
	assert_false(f.kit.dev->impatient); /* a new driver, a new chance */
	assert_int_equal(f.space->resets, 1);
	assert_int_equal(f.space->give_ups, 2); /* the request's, the reset's */
	assert_int_equal(viommu_device_process(f.kit.dev, 16), 0);
	f.space->hold = false;
	assert_int_equal(viommu_device_set_features(f.kit.dev, 4), 0);
	assert_int_equal(kit_attach(&f.kit, 1, 1, 0), 0);
	kit_ring_done(&f.ring, &f.kit, VIOMMU_QUEUE_REQUEST);
	device_kit_done(&f.kit);
}

static void ring_taken_away(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, true);
	f.space->hold = true;
	add_unmap(&f, 0, 1);
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	kit_ring_done(&f.ring, &f.kit, VIOMMU_QUEUE_REQUEST);
	assert_int_equal(viommu_device_process(f.kit.dev, 16), 0);
	f.space->hold = false;
	assert_int_equal(kit_unmap(&f.kit, 1, 0, 0xfff), 0);
	device_kit_done(&f.kit);
}

/* Faults are reported while a request is parked. */
static void faults_do_not_wait(void **state)
{
	struct kit_ring_kind kind = {.size = 4, .packed = true};
	struct kit_transfer t = {.out_len = PROTO_FAULT_LEN};
	struct kit_ring events;
	struct fixture f;
	unsigned work;

	(void)state;
	start(&f, true);
	kit_ring_init(&events, &f.kit, VIOMMU_QUEUE_EVENT, kind);
	assert_int_equal(kit_ring_add(&events, &t, &f.rng, 1), 0);
	drvq_publish(&events.q);
	f.space->hold = true;
	add_unmap(&f, 0, 1);
	assert_true(viommu_device_process(f.kit.dev, 16) & VIOMMU_WORK_PARKED);
	fake_space_fault(f.space, 1, 0x5000, VIRTIO_IOMMU_FAULT_R_MAPPING);
	assert_int_equal(f.kit.wakes, 1);
	work = viommu_device_process(f.kit.dev, 16);
	assert_int_equal(work, VIOMMU_WORK_PARKED | VIOMMU_WORK_DONE |
				       VIOMMU_WORK_NOTIFY_EVENT);
	assert_int_equal(kit_ring_collect(&events), 1);
	kit_ring_done(&events, &f.kit, VIOMMU_QUEUE_EVENT);
	kit_ring_done(&f.ring, &f.kit, VIOMMU_QUEUE_REQUEST);
	device_kit_done(&f.kit);
}

/* Each error of the domain layer has its status. */
static void errors_become_statuses(void **state)
{
	static const struct {
		int error, status;
	} rows[] = {{-EINVAL, -EINVAL},	 {-ENOENT, -ENOENT}, {-ERANGE, -ERANGE},
		    {-ENOMEM, -ENOMEM},	 {-ENOSPC, -ENOMEM}, {-EOPNOTSUPP, -EOPNOTSUPP},
		    {-EIO, -EIO},	 {-EFAULT, -EFAULT}, {-EREMOTEIO, -EREMOTEIO},
		    {-EBADF, -EREMOTEIO}};
	struct fixture f;

	(void)state;
	start(&f, false);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		f.space->fail = rows[i].error;
		assert_int_equal(kit_map(&f.kit, 1, 0x10000, 0x10fff, 0, 1),
				 rows[i].status);
		f.space->fail = rows[i].error;
		assert_int_equal(kit_unmap(&f.kit, 1, 0, 0xfff), rows[i].status);
	}
	device_kit_done(&f.kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_buffers),
		cmocka_unit_test(empty_buffers),
		cmocka_unit_test(latency),
		cmocka_unit_test(time_out_is_deverr),
		cmocka_unit_test(a_second_time_out_comes_sooner),
		cmocka_unit_test(order_is_kept),
		cmocka_unit_test(reset_does_not_wait),
		cmocka_unit_test(ring_taken_away),
		cmocka_unit_test(faults_do_not_wait),
		cmocka_unit_test(errors_become_statuses),
	};

	return cmocka_run_group_tests_name("device park", tests, NULL, NULL);
}
