/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* How long requests took, and who is told of them; on a clock that the test moves. */
#include <errno.h>

#include "base/compiler.h"
#include "device/device.h"
#include "device_kit.h"

#define TOLD_MAX 16

struct fixture {
	struct device_kit kit;
	struct kit_ring ring;
	struct rng rng;
	struct kit_transfer t[64];
	struct viommu_request_info told[TOLD_MAX];
	unsigned told_nr;
};

static void note(void *opaque, const struct viommu_request_info *info)
{
	struct fixture *f = opaque;

	assert_true(f->told_nr < TOLD_MAX);
	f->told[f->told_nr++] = *info;
	f->kit.now_ns += 100; /* time goes on between two of a batch */
}

static void start(struct fixture *f)
{
	*f = (struct fixture){0};
	device_kit_init(&f->kit, NULL);
	f->rng = rng_init(5);
	device_kit_endpoint(&f->kit, 1, NULL, 0);
	assert_int_equal(kit_attach(&f->kit, 1, 1, 0), 0);
	kit_ring_init(&f->ring, &f->kit, VIOMMU_QUEUE_REQUEST,
		      (struct kit_ring_kind){.size = 64});
}

static void finish(struct fixture *f)
{
	kit_ring_done(&f->ring, &f->kit, VIOMMU_QUEUE_REQUEST);
	device_kit_done(&f->kit);
}

static void add(struct fixture *f, unsigned i, uint8_t type)
{
	struct proto_request req = {.type = type,
				    .domain = 1,
				    .start = (uint64_t)i << 12,
				    .last = ((uint64_t)i << 12) + 0xfff,
				    .gpa = 0x5000,
				    .flags = VIRTIO_IOMMU_MAP_F_READ};

	if (type == VIRTIO_IOMMU_T_UNMAP)
		req.gpa = req.flags = 0;
	f->t[i] = (struct kit_transfer){.out_len = PROTO_TAIL_LEN};
	f->t[i].in_len = proto_encode_request(f->t[i].in, &req);
	assert_int_equal(kit_ring_add(&f->ring, &f->t[i], &f->rng, 1), 0);
}

static struct viommu_device_histograms histograms(struct fixture *f)
{
	struct viommu_device_histograms h;

	viommu_device_get_histograms(f->kit.dev, &h);
	return h;
}

static void batches_by_type(void **state)
{
	struct viommu_device_histograms h;
	struct fixture f;

	(void)state;
	start(&f);
	h = histograms(&f); /* plain requests are not in there */
	assert_int_equal(h.batch.nr, 0);
	for (unsigned i = 0; i < 3; i++)
		add(&f, i, VIRTIO_IOMMU_T_MAP);
	add(&f, 3, VIRTIO_IOMMU_T_UNMAP);
	drvq_publish(&f.ring.q);
	viommu_device_process(f.kit.dev, 64);
	viommu_device_process(f.kit.dev, 64); /* nothing to do is no batch */
	h = histograms(&f);
	assert_int_equal(h.batch.nr, 1);
	assert_int_equal(h.batch.max, 4);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_MAP].nr, 3);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_UNMAP].nr, 1);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_ATTACH].nr, 0);
	assert_int_equal(kit_ring_collect(&f.ring), 4);
	finish(&f);
}

/* What a call leaves in the ring waits from that call's end on. */
static void left_over(void **state)
{
	struct viommu_device_histograms h;
	struct fixture f;

	(void)state;
	start(&f);
	add(&f, 0, VIRTIO_IOMMU_T_MAP);
	add(&f, 1, VIRTIO_IOMMU_T_MAP);
	drvq_publish(&f.ring.q);
	assert_true(viommu_device_process(f.kit.dev, 1) & VIOMMU_WORK_MORE);
	f.kit.now_ns += 5000;
	viommu_device_process(f.kit.dev, 1);
	h = histograms(&f);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_MAP].max, 5000);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_MAP].sum, 5000);
	/* A later one does not. */
	f.kit.now_ns += 7000;
	add(&f, 2, VIRTIO_IOMMU_T_MAP);
	drvq_publish(&f.ring.q);
	viommu_device_process(f.kit.dev, 1);
	h = histograms(&f);
	assert_int_equal(h.latency_ns[VIRTIO_IOMMU_T_MAP].max, 5000);
	assert_int_equal(h.batch.nr, 3);
	kit_ring_collect(&f.ring);
	finish(&f);
}

static void unanswered(void **state)
{
	struct viommu_device_histograms h;
	struct fixture f;

	(void)state;
	start(&f);
	viommu_device_set_trace(f.kit.dev, note, &f);
	f.t[0] = (struct kit_transfer){.in = {0xff}, .in_len = 4, .out_len = 4};
	assert_int_equal(kit_ring_add(&f.ring, &f.t[0], &f.rng, 1), 0);
	drvq_publish(&f.ring.q);
	viommu_device_process(f.kit.dev, 8);
	h = histograms(&f);
	assert_int_equal(h.latency_ns[0].nr, 1);
	assert_int_equal(f.told_nr, 1);
	assert_int_equal(f.told[0].type, 0);
	assert_false(f.told[0].answered);
	kit_ring_collect(&f.ring);
	finish(&f);
}

static void tells(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	viommu_device_set_trace(f.kit.dev, note, &f);
	add(&f, 2, VIRTIO_IOMMU_T_MAP);
	add(&f, 3, VIRTIO_IOMMU_T_UNMAP);
	add(&f, 4, VIRTIO_IOMMU_T_MAP);
	drvq_publish(&f.ring.q);
	viommu_device_process(f.kit.dev, 8);
	assert_int_equal(f.told_nr, 3);
	assert_int_equal(f.told[0].type, VIRTIO_IOMMU_T_MAP);
	assert_int_equal(f.told[0].domain, 1);
	assert_int_equal(f.told[0].start, 0x2000);
	assert_int_equal(f.told[0].last, 0x2fff);
	assert_int_equal(f.told[0].gpa, 0x5000);
	assert_int_equal(f.told[0].flags, VIRTIO_IOMMU_MAP_F_READ);
	assert_true(f.told[0].answered);
	assert_int_equal(f.told[0].status, VIRTIO_IOMMU_S_OK);
	assert_int_equal(f.told[1].type, VIRTIO_IOMMU_T_UNMAP);
	/* Each from the reply before. */
	assert_int_equal(f.told[1].duration_ns, 100);
	assert_int_equal(f.told[2].duration_ns, 100);
	/* Refused; plain; then nobody listens any more. */
	assert_int_equal(kit_map(&f.kit, 9, 0, 0xfff, 0, 1), -ENOENT);
	assert_int_equal(f.told[3].status, VIRTIO_IOMMU_S_NOENT);
	assert_int_equal(f.told[3].domain, 9);
	assert_int_equal(f.told[3].duration_ns, 0);
	viommu_device_set_trace(f.kit.dev, NULL, NULL);
	assert_int_equal(kit_unmap(&f.kit, 1, 0, UINT64_MAX), 0);
	assert_int_equal(f.told_nr, 4);
	kit_ring_collect(&f.ring);
	finish(&f);
}

/* The whole 64-bit range: each value is in its bucket, buckets follow each other. */
static void buckets(void **state)
{
	struct viommu_histogram h = {0};

	(void)state;
	for (unsigned i = 0; i < VIOMMU_HISTOGRAM_BUCKETS; i++) {
		uint64_t first = viommu_histogram_first(i);

		assert_int_equal(viommu_histogram_bucket(first), i);
		if (i)
			assert_int_equal(viommu_histogram_bucket(first - 1), i - 1);
		if (i >= 8) /* a quarter of the value at most */
			assert_true((viommu_histogram_first(i + 1) - first) * 4 <= first);
	}
	assert_int_equal(viommu_histogram_bucket(UINT64_MAX),
			 VIOMMU_HISTOGRAM_BUCKETS - 1);
	assert_int_equal(viommu_histogram_at(&h, 500), 0);
	viommu_histogram_add(&h, UINT64_MAX, 1);
	assert_int_equal(viommu_histogram_at(&h, 500), UINT64_MAX);
}

static void percentiles(void **state)
{
	struct viommu_histogram h = {0};

	(void)state;
	for (uint64_t v = 1; v <= 1000; v++)
		viommu_histogram_add(&h, v, 1);
	assert_int_equal(h.nr, 1000);
	assert_int_equal(h.sum, 500500);
	assert_in_range(viommu_histogram_at(&h, 500), 500, 640);
	assert_in_range(viommu_histogram_at(&h, 990), 990, 1000);
	assert_int_equal(viommu_histogram_at(&h, 1000), 1000);
	assert_int_equal(viommu_histogram_at(&h, 1), 1);
	h = (struct viommu_histogram){0};
	viommu_histogram_add(&h, 3, 99);
	viommu_histogram_add(&h, 1000, 1);
	assert_int_equal(viommu_histogram_at(&h, 990), 3);
	assert_int_equal(viommu_histogram_at(&h, 991), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_by_type), cmocka_unit_test(left_over),
		cmocka_unit_test(unanswered),	   cmocka_unit_test(tells),
		cmocka_unit_test(buckets),	   cmocka_unit_test(percentiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
