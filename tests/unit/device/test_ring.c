/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Requests and events through rings: budget, batches, notification, and memory
 * that is out of reach. Over the real domain layer. */
#include <errno.h>

#include "base/compiler.h"
#include "device/device.h"
#include "device_kit.h"
#include "ring_kit.h"

struct fixture {
	struct device_kit kit;
	struct kit_ring ring;
	struct rng rng;
	struct kit_transfer t[64];
};

static void start(struct fixture *f, struct kit_ring_kind kind)
{
	device_kit_init(&f->kit, NULL);
	f->rng = rng_init(3);
	device_kit_endpoint(&f->kit, 1, NULL, 0);
	assert_int_equal(kit_attach(&f->kit, 1, 1, 0), 0);
	kit_ring_init(&f->ring, &f->kit, VIOMMU_QUEUE_REQUEST, kind);
}

static void finish(struct fixture *f)
{
	kit_ring_done(&f->ring, &f->kit, VIOMMU_QUEUE_REQUEST);
	device_kit_done(&f->kit);
}

static void add_map(struct fixture *f, unsigned i)
{
	struct proto_request req = {.type = VIRTIO_IOMMU_T_MAP,
				    .domain = 1,
				    .start = (uint64_t)i << 12,
				    .last = ((uint64_t)i << 12) + 0xfff,
				    .flags = VIRTIO_IOMMU_MAP_F_READ};

	f->t[i] = (struct kit_transfer){.out_len = PROTO_TAIL_LEN};
	f->t[i].in_len = proto_encode_request(f->t[i].in, &req);
	assert_int_equal(kit_ring_add(&f->ring, &f->t[i], &f->rng, 1), 0);
}

static void budget_is_kept(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, (struct kit_ring_kind){.size = 64});
	for (unsigned i = 0; i < 10; i++)
		add_map(&f, i);
	drvq_publish(&f.ring.q);
	assert_int_equal(viommu_device_process(f.kit.dev, 0) & ~VIOMMU_WORK_MORE, 0);
	for (unsigned i = 0; i < 3; i++) {
		unsigned work = viommu_device_process(f.kit.dev, 4);

		assert_true(work & VIOMMU_WORK_DONE);
		assert_int_equal(!!(work & VIOMMU_WORK_MORE), i < 2);
		assert_int_equal(kit_ring_collect(&f.ring), i < 2 ? 4 : 2);
	}
	assert_int_equal(viommu_device_process(f.kit.dev, 4), 0);
	assert_int_equal(kit_mappings_nr(&f.kit), 10);
	finish(&f);
}

/* However many requests: one interrupt, or none if the driver wants none. */
static void one_notification_a_batch(void **state)
{
	struct fixture f;

	(void)state;
	for (int packed = 0; packed < 2; packed++) {
		start(&f, (struct kit_ring_kind){.size = 64, .packed = packed});
		for (unsigned i = 0; i < 20; i++)
			add_map(&f, i);
		drvq_publish(&f.ring.q);
		assert_int_equal(viommu_device_process(f.kit.dev, 64),
				 VIOMMU_WORK_DONE | VIOMMU_WORK_NOTIFY_REQUEST);
		drvq_disable_notify(&f.ring.q);
		assert_int_equal(kit_ring_collect(&f.ring), 20);
		for (unsigned i = 20; i < 25; i++)
			add_map(&f, i);
		drvq_publish(&f.ring.q);
		assert_int_equal(viommu_device_process(f.kit.dev, 64), VIOMMU_WORK_DONE);
		assert_int_equal(kit_ring_collect(&f.ring), 5);
		finish(&f);
	}
}

/* A full ring of 256 requests, as the Linux driver fills it in lazy mode. */
static void full_ring(void **state)
{
	static struct kit_transfer t[256];
	struct proto_request req = {.type = VIRTIO_IOMMU_T_MAP, .domain = 1};
	struct fixture f;

	(void)state;
	start(&f, (struct kit_ring_kind){.size = 256, .indirect = true});
	for (unsigned i = 0; i < 256; i++) {
		req.start = (uint64_t)i << 12;
		req.last = req.start + 0xfff;
		t[i] = (struct kit_transfer){.out_len = PROTO_TAIL_LEN};
		t[i].in_len = proto_encode_request(t[i].in, &req);
		assert_int_equal(kit_ring_add(&f.ring, &t[i], &f.rng, 1), 0);
	}
	drvq_publish(&f.ring.q);
	assert_true(viommu_device_process(f.kit.dev, 256) & VIOMMU_WORK_DONE);
	assert_int_equal(kit_ring_collect(&f.ring), 256);
	assert_int_equal(kit_mappings_nr(&f.kit), 256);
	finish(&f);
}

static void no_such_queue(void **state)
{
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	assert_int_equal(viommu_device_set_queue(kit.dev, VIOMMU_QUEUES_NR, NULL),
			 -EINVAL);
	assert_int_equal(viommu_device_process(kit.dev, 8), 0);
	device_kit_done(&kit);
}

static void too_many_plain_buffers(void **state)
{
	static struct iovec iov[VIOMMU_VIRTQ_CHAIN_MAX + 1];
	uint8_t in[20] = {VIRTIO_IOMMU_T_ATTACH}, out[4];
	struct device_kit kit;
	size_t written = 0;

	(void)state;
	device_kit_init(&kit, NULL);
	iov[VIOMMU_VIRTQ_CHAIN_MAX - 2] = (struct iovec){in, 20};
	iov[VIOMMU_VIRTQ_CHAIN_MAX - 1] = (struct iovec){out, 4};
	/* empty buffers in front are fine, as many as a chain may have */
	assert_int_equal(viommu_device_request(kit.dev, iov, VIOMMU_VIRTQ_CHAIN_MAX - 1,
					       &iov[VIOMMU_VIRTQ_CHAIN_MAX - 1], 1,
					       &written),
			 0);
	assert_int_equal(written, 4);
	assert_int_equal(out[0], VIRTIO_IOMMU_S_NOENT);
	assert_int_equal(viommu_device_request(kit.dev, iov, VIOMMU_VIRTQ_CHAIN_MAX,
					       &iov[VIOMMU_VIRTQ_CHAIN_MAX - 1], 1,
					       &written),
			 -E2BIG);
	device_kit_done(&kit);
}

/* ---- memory in pieces, some of them out of reach ---- */

#define REQUEST_AT KIT_DATA
#define TAIL_AT	   (KIT_DATA + 0x1000)

struct far {
	struct device_kit kit;
	struct kit *ring;
};

static void start_far(struct far *f, uint64_t piece)
{
	struct proto_request req = {
		.type = VIRTIO_IOMMU_T_MAP, .domain = 1, .last = 0xfff, .flags = 1};
	uint8_t in[PROTO_REQUEST_MAX];
	size_t len = proto_encode_request(in, &req);

	device_kit_init(&f->kit, NULL);
	device_kit_endpoint(&f->kit, 1, NULL, 0);
	assert_int_equal(kit_attach(&f->kit, 1, 1, 0), 0);
	f->ring = kit_create(piece);
	kit_ring(f->ring, 8, false, false, false);
	assert_int_equal(
		viommu_device_set_queue(f->kit.dev, VIOMMU_QUEUE_REQUEST, &f->ring->vq),
		0);
	kit_write(f->ring, REQUEST_AT, in, len);
	kit_put(f->ring, TAIL_AT, 4, 0xeeeeeeee);
	kit_desc(f->ring, KIT_DESC, 0, REQUEST_AT, (uint32_t)len, 1, 1);
	kit_desc(f->ring, KIT_DESC, 1, TAIL_AT, 4, 2, 0);
	kit_avail(f->ring, 0);
}

static void finish_far(struct far *f)
{
	viommu_device_set_queue(f->kit.dev, VIOMMU_QUEUE_REQUEST, NULL);
	kit_destroy(f->ring);
	device_kit_done(&f->kit);
}

static void expect_used(struct far *f, uint32_t want)
{
	uint32_t id, len;

	assert_int_equal(kit_used_idx(f->ring), 1);
	kit_used(f->ring, 0, &id, &len);
	assert_int_equal(len, want);
}

static void buffers_span_memory_regions(void **state)
{
	struct far f;

	(void)state;
	start_far(&f, 0x1000);
	/* the request lies over the edge of two pieces of memory */
	for (unsigned cut = 1; cut < 36; cut++) {
		uint8_t in[36];

		kit_read(f.ring, REQUEST_AT, in, sizeof(in));
		in[17] = (uint8_t)(cut << 4 | 0xf); /* page cut modulo 16 */
		in[16] = 0xff;
		in[9] = (uint8_t)(cut << 4);
		in[8] = 0;
		kit_write(f.ring, TAIL_AT - cut, in, sizeof(in));
		kit_desc(f.ring, KIT_DESC, 0, TAIL_AT - cut, 36, 1, 1);
		kit_desc(f.ring, KIT_DESC, 1, KIT_DATA + 0x3000 - cut % 4, 4, 2, 0);
		if (cut > 1)
			kit_avail(f.ring, 0);
		assert_true(viommu_device_process(f.kit.dev, 1) & VIOMMU_WORK_DONE);
		assert_int_equal(kit_get(f.ring, KIT_DATA + 0x3000 - cut % 4, 4),
				 cut <= 16 ? 0 : VIRTIO_IOMMU_S_INVAL);
	}
	assert_int_equal(kit_mappings_nr(&f.kit), 16);
	finish_far(&f);
}

/* What cannot be answered is not done. */
static void reply_out_of_reach(void **state)
{
	struct far f;

	(void)state;
	start_far(&f, 0x1000);
	kit_hide(f.ring, TAIL_AT, 4, true);
	assert_true(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_DONE);
	expect_used(&f, 0);
	assert_int_equal(kit_mappings_nr(&f.kit), 0);
	assert_int_equal(device_kit_stats(&f.kit).unanswered, 1);
	finish_far(&f);
}

static void request_out_of_reach(void **state)
{
	struct far f;

	(void)state;
	start_far(&f, 0x1000);
	kit_hide(f.ring, REQUEST_AT, 4, true);
	assert_true(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_DONE);
	expect_used(&f, 0);
	assert_int_equal(kit_get(f.ring, TAIL_AT, 4), 0xeeeeeeee);
	finish_far(&f);
}

/* Executed once; given back when the used ring is there again. */
static void used_ring_out_of_reach(void **state)
{
	struct far f;

	(void)state;
	start_far(&f, 0x1000);
	kit_hide(f.ring, KIT_DEVICE, 4, true);
	assert_true(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_PARKED);
	assert_true(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_PARKED);
	assert_int_equal(kit_map(&f.kit, 1, 0x1000, 0x1fff, 0, 1), -EBUSY);
	kit_hide(f.ring, KIT_DEVICE, 4, false);
	assert_false(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_PARKED);
	expect_used(&f, 4);
	assert_int_equal(kit_get(f.ring, TAIL_AT, 4), 0);
	assert_int_equal(kit_mappings_nr(&f.kit), 1);
	finish_far(&f);
}

/* A chain that cannot be walked goes back with length 0, and the next one works;
 * only a ring that is beyond sense asks for a reset, and asks once. */
static void bad_chains_and_bad_rings(void **state)
{
	struct far f;

	(void)state;
	start_far(&f, 0);
	kit_desc(f.ring, KIT_DESC, 2, REQUEST_AT, 36, 1, 2); /* a loop */
	kit_avail(f.ring, 2);
	kit_avail(f.ring, 7777); /* no such descriptor */
	kit_desc(f.ring, KIT_DESC, 4, TAIL_AT, 4, 3, 5);
	kit_desc(f.ring, KIT_DESC, 5, REQUEST_AT, 36, 0, 0); /* wrong order */
	kit_avail(f.ring, 4);
	assert_true(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_DONE);
	assert_int_equal(kit_used_idx(f.ring), 4);
	for (uint16_t i = 1; i < 4; i++) {
		uint32_t id, len;

		kit_used(f.ring, i, &id, &len);
		assert_int_equal(len, 0);
	}
	assert_int_equal(f.kit.needs_resets, 0);
	assert_int_equal(kit_mappings_nr(&f.kit), 1);
	kit_put(f.ring, KIT_DRIVER + 2, 2, 1000); /* index beyond the ring */
	viommu_device_process(f.kit.dev, 8);
	viommu_device_process(f.kit.dev, 8);
	assert_int_equal(f.kit.needs_resets, 1);
	finish_far(&f);
}

static void probe_out_of_reach(void **state)
{
	struct proto_request req = {.type = VIRTIO_IOMMU_T_PROBE, .endpoint = 1};
	uint8_t in[PROTO_REQUEST_MAX];
	struct far f;

	(void)state;
	start_far(&f, 0x1000);
	proto_encode_request(in, &req);
	kit_write(f.ring, REQUEST_AT, in, sizeof(in));
	kit_desc(f.ring, KIT_DESC, 0, REQUEST_AT, sizeof(in), 1, 1);
	kit_desc(f.ring, KIT_DESC, 1, TAIL_AT, 516, 2, 0);
	kit_hide(f.ring, TAIL_AT, 4, true);
	assert_true(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_DONE);
	expect_used(&f, 0);
	finish_far(&f);
}

/* ---- the event queue ---- */

/* Records a fault of endpoint 1, which has access to nothing. */
static void fault(struct device_kit *kit)
{
	struct space_fault f = {.endpoint = 1, .reason = VIRTIO_IOMMU_FAULT_R_MAPPING};

	fault_record(kit->dev, &f);
}

static void start_events(struct far *f)
{
	start_far(f, 0x1000);
	viommu_device_set_queue(f->kit.dev, VIOMMU_QUEUE_REQUEST, NULL);
	kit_ring(f->ring, 8, false, false, false);
	viommu_device_set_queue(f->kit.dev, VIOMMU_QUEUE_EVENT, &f->ring->vq);
	kit_desc(f->ring, KIT_DESC, 0, TAIL_AT, 24, 2, 0);
	kit_avail(f->ring, 0);
	fault(&f->kit);
}

static void finish_events(struct far *f)
{
	viommu_device_set_queue(f->kit.dev, VIOMMU_QUEUE_EVENT, NULL);
	finish_far(f);
}

/* The report is not lost, and the buffer is not used up. */
static void event_used_ring_out_of_reach(void **state)
{
	struct far f;

	(void)state;
	start_events(&f);
	kit_hide(f.ring, KIT_DEVICE, 4, true);
	assert_int_equal(viommu_device_process(f.kit.dev, 8), 0);
	assert_int_equal(device_kit_stats(&f.kit).events_sent, 0);
	kit_hide(f.ring, KIT_DEVICE, 4, false);
	assert_true(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_DONE);
	expect_used(&f, 24);
	assert_int_equal(device_kit_stats(&f.kit).events_sent, 1);
	finish_events(&f);
}

static void event_buffer_out_of_reach(void **state)
{
	struct far f;

	(void)state;
	start_events(&f);
	kit_hide(f.ring, TAIL_AT, 4, true);
	assert_true(viommu_device_process(f.kit.dev, 8) & VIOMMU_WORK_DONE);
	expect_used(&f, 0);
	assert_int_equal(device_kit_stats(&f.kit).events_sent, 0); /* it waits */
	finish_events(&f);
}

static void event_ring_broken(void **state)
{
	struct far f;

	(void)state;
	start_events(&f);
	kit_put(f.ring, KIT_DRIVER + 2, 2, 1000);
	assert_int_equal(viommu_device_process(f.kit.dev, 8), 0);
	assert_int_equal(viommu_device_process(f.kit.dev, 8), 0);
	assert_int_equal(f.kit.needs_resets, 1);
	assert_non_null(strstr(f.kit.log, "event queue"));
	finish_events(&f);
}

static void event_budget(void **state)
{
	struct far f;

	(void)state;
	start_events(&f);
	for (uint16_t i = 1; i < 4; i++) {
		kit_desc(f.ring, KIT_DESC, i, TAIL_AT + 32 * i, 24, 2, 0);
		kit_avail(f.ring, i);
		fault(&f.kit);
	}
	assert_true(viommu_device_process(f.kit.dev, 2) & VIOMMU_WORK_MORE);
	assert_int_equal(kit_used_idx(f.ring), 2);
	assert_false(viommu_device_process(f.kit.dev, 2) & VIOMMU_WORK_MORE);
	assert_int_equal(kit_used_idx(f.ring), 4);
	finish_events(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(budget_is_kept),
		cmocka_unit_test(one_notification_a_batch),
		cmocka_unit_test(full_ring),
		cmocka_unit_test(no_such_queue),
		cmocka_unit_test(too_many_plain_buffers),
		cmocka_unit_test(buffers_span_memory_regions),
		cmocka_unit_test(reply_out_of_reach),
		cmocka_unit_test(request_out_of_reach),
		cmocka_unit_test(used_ring_out_of_reach),
		cmocka_unit_test(bad_chains_and_bad_rings),
		cmocka_unit_test(probe_out_of_reach),
		cmocka_unit_test(event_used_ring_out_of_reach),
		cmocka_unit_test(event_buffer_out_of_reach),
		cmocka_unit_test(event_ring_broken),
		cmocka_unit_test(event_budget),
	};

	return cmocka_run_group_tests_name("device rings", tests, NULL, NULL);
}
