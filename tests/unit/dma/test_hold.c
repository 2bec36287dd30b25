/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Pages in use: what removals wait for, revocation, giving up, pushed mode. */
#include "core_kit.h"

#include "domain/space.h"

#include "dma/dma_context.h"

#define EP     8u
#define DOMAIN 1u
#define ARRAY  8u

static struct core_kit k;
static struct viommu_endpoint *ep;
static struct viommu_dma *dma;

/* A device: what it holds, and what it was told. */
struct device {
	struct iovec iov[ARRAY];
	struct viommu_hold hold[ARRAY];
	struct viommu_sg sg;
	unsigned revokes, maps, unmaps;
	uint64_t start, last, gpa; /* of the last call */
	unsigned perm;
	bool put_on_revoke;
};
static struct device dev;

static void on_revoke(void *opaque, uint64_t start, uint64_t last)
{
	struct device *d = opaque;

	d->revokes++;
	d->start = start;
	d->last = last;
	if (d->put_on_revoke)
		viommu_dma_put(dma, &d->sg);
}

static void on_map(void *opaque, uint64_t start, uint64_t last, uint64_t gpa,
		   unsigned perm)
{
	struct device *d = opaque;

	d->maps++;
	d->start = start;
	d->last = last;
	d->gpa = gpa;
	d->perm = perm;
}

static void on_unmap(void *opaque, uint64_t start, uint64_t last)
{
	struct device *d = opaque;

	d->unmaps++;
	d->start = start;
	d->last = last;
}

static const struct viommu_dma_ops revoking = {.revoke = on_revoke};
static const struct viommu_dma_ops mirror = {.map = on_map, .unmap = on_unmap};

static void reset_sg(struct device *d)
{
	d->sg = (struct viommu_sg){d->iov, 0, ARRAY, d->hold, 0, ARRAY, 0};
}

/* Pages 1..9 of the domain are pages 1..9 of memory, each a mapping. */
static void begin(const struct space_config *cfg)
{
	memset(&dev, 0, sizeof(dev));
	reset_sg(&dev);
	core_kit_init(&k, cfg);
	ep = core_kit_endpoint(&k, EP);
	dma = core_kit_dma(&k, ep, &revoking, &dev);
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	for (uint64_t i = 1; i < 10; i++)
		assert_int_equal(space_map(k.space, DOMAIN, i << 12, (i << 12) + 0xfff,
					   CORE_RAM_GPA + (i << 12), 3),
				 0);
}

static void end(void)
{
	struct viommu_dma_stats stats;

	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.held, 0);
	viommu_dma_destroy(dma);
	core_kit_done(&k);
}

static int get(uint64_t iova, uint64_t len)
{
	return viommu_dma_get(dma, iova, len, CORE_RW, &dev.sg);
}

static void get_and_put(void **state)
{
	struct viommu_dma_stats stats;

	(void)state;
	begin(NULL);
	assert_int_equal(get(0x1800, 0x1000), 0);
	assert_int_equal(get(0x5000, 0x10), 0);
	assert_int_equal(dev.sg.iov_nr, 2); /* the first two pages are adjacent */
	assert_int_equal(dev.sg.hold_nr, 3);
	assert_int_equal(dev.sg.len, 0x1010);
	assert_ptr_equal(dev.iov[1].iov_base, k.ram + 0x5000);
	assert_int_equal(get(0x5010, 0x10), 0); /* same mapping: same hold */
	assert_int_equal(dev.sg.hold_nr, 3);
	assert_int_equal(dev.sg.iov_nr, 2);
	assert_int_equal(get(0x5800, 0), 0);
	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.held, 3);
	viommu_dma_put(dma, &dev.sg);
	assert_int_equal(dev.sg.hold_nr + dev.sg.iov_nr + dev.sg.len, 0);
	/* nothing is held: nothing waits */
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), 0);
	assert_int_equal(dev.revokes, 0);
	end();
}

static void same_sg(const struct device *before)
{
	assert_memory_equal(&before->sg, &dev.sg, sizeof(dev.sg));
	assert_memory_equal(before->iov, dev.iov, dev.sg.iov_nr * sizeof(dev.iov[0]));
	assert_memory_equal(before->hold, dev.hold, dev.sg.hold_nr * sizeof(dev.hold[0]));
}

static void failed_get_changes_nothing(void **state)
{
	struct device before;

	(void)state;
	begin(NULL);
	assert_int_equal(get(0x7000, 0x800), 0);
	before = dev;
	assert_int_equal(get(0x7800, 0x3000), -EFAULT); /* page 10 is not mapped */
	same_sg(&before);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, 3, 0xa000);
	assert_int_equal(get(UINT64_MAX, 2), -EFAULT);
	same_sg(&before);
	dev.sg.hold_max = 2;
	before = dev;
	assert_int_equal(get(0x7800, 0x2800), -E2BIG);
	same_sg(&before);
	dev.sg.hold_max = ARRAY;
	dev.sg.iov_max = 1;
	before = dev;
	assert_int_equal(get(0x5000, 0x10), -E2BIG);
	same_sg(&before);
	viommu_dma_put(dma, &dev.sg);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), 0);
	end();
}

/* A batch is held as a whole or not at all. */
static void batches(void **state)
{
	struct viommu_dma_seg seg[] = {
		{0x1800, 0x800, VIOMMU_READ},
		{0x2000, 0, VIOMMU_READ},
		{0x3000, 0x1000, CORE_RW},
		{0x4000, 0x10, CORE_RW},
	};
	struct viommu_dma_stats stats;
	unsigned failed = 99;
	struct device before;

	(void)state;
	begin(NULL);
	assert_int_equal(get(0x7000, 0x800), 0);
	before = dev;
	seg[3].iova = 0xa000; /* not mapped */
	assert_int_equal(viommu_dma_get_batch(dma, seg, 4, &dev.sg, &failed), -EFAULT);
	assert_int_equal(failed, 3);
	same_sg(&before);
	core_kit_expect_fault(&k, VIRTIO_IOMMU_FAULT_R_MAPPING, 3, 0xa000);
	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.held, 1);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x3000, 0x3fff), 0);
	seg[3].iova = 0x4000;
	assert_int_equal(viommu_dma_get_batch(dma, seg, 4, &dev.sg, &failed), -EFAULT);
	assert_int_equal(failed, 2);
	seg[2].iova = 0x2000;
	failed = 99;
	assert_int_equal(viommu_dma_get_batch(dma, seg, 0, &dev.sg, &failed), 0);
	same_sg(&before);
	/* one array, then the other, is full */
	dev.sg.hold_max = 3;
	assert_int_equal(viommu_dma_get_batch(dma, seg, 4, &dev.sg, &failed), -E2BIG);
	assert_int_equal(failed, 3);
	dev.sg.hold_max = 4;
	dev.sg.iov_max = 2;
	assert_int_equal(viommu_dma_get_batch(dma, seg, 4, &dev.sg, &failed), -E2BIG);
	assert_int_equal(failed, 2);
	dev.sg.iov_max = ARRAY;
	assert_int_equal(viommu_dma_get_batch(dma, seg, 4, &dev.sg, &failed), 0);
	assert_int_equal(dev.sg.hold_nr, 4);
	assert_int_equal(dev.sg.len, 0x800 + 0x800 + 0x1000 + 0x10);
	/* each of them keeps its UNMAP waiting */
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x4000, 0x4fff), -EINPROGRESS);
	viommu_dma_put(dma, &dev.sg);
	assert_false(space_pending(k.space));
	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.held, 0);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), 0);
	end();
}

static void unmap_waits_for_what_is_held(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(get(0x2000, 0x1000), 0);
	/* others do not wait */
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x1000, 0x1fff), 0);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x3000, 0x4fff), 0);
	assert_int_equal(dev.revokes, 0);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x2000, 0x5fff), -EINPROGRESS);
	assert_int_equal(dev.revokes, 1);
	assert_int_equal(dev.start, 0x2000);
	assert_int_equal(dev.last, 0x2fff);
	assert_true(space_pending(k.space));
	/* unreachable at once, for everything new */
	assert_int_equal(viommu_dma_read(dma, 0x2000, &dev.start, 1), -EFAULT);
	assert_int_equal(space_map(k.space, DOMAIN, 0x2000, 0x2fff, CORE_RAM_GPA, 3), 0);
	assert_int_equal(k.released_nr, 0);
	viommu_dma_put(dma, &dev.sg);
	assert_int_equal(k.released_nr, 1);
	assert_false(space_pending(k.space));
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x2000, 0x2fff), 0);
	end();
}

static void put_from_revoke(void **state)
{
	(void)state;
	begin(NULL);
	dev.put_on_revoke = true;
	assert_int_equal(get(0x2000, 0x2000), 0);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), 0);
	assert_int_equal(dev.revokes, 1); /* it held nothing when 0x3000 was told */
	assert_false(space_pending(k.space));
	assert_int_equal(get(0x2000, 1), -EFAULT);
	end();
}

static void detach_waits_for_the_endpoint_only(void **state)
{
	struct device dev2 = {0};
	struct viommu_dma *dma2;

	(void)state;
	begin(NULL);
	dma2 = core_kit_dma(&k, core_kit_endpoint(&k, 9), &revoking, &dev2);
	reset_sg(&dev2);
	assert_int_equal(space_attach(k.space, DOMAIN, 9, false), 0);
	assert_int_equal(viommu_dma_get(dma2, 0x2000, 1, VIOMMU_READ, &dev2.sg), 0);
	/* dma holds nothing; the mapping is held by the other endpoint */
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	assert_int_equal(get(0x2000, 1), 0);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), -EINPROGRESS);
	assert_int_equal(dev.revokes, 1);
	assert_int_equal(dev2.revokes, 0);
	viommu_dma_put(dma2, &dev2.sg);
	assert_true(space_pending(k.space));
	viommu_dma_put(dma, &dev.sg);
	assert_false(space_pending(k.space));
	assert_int_equal(k.released_nr, 1);
	viommu_dma_destroy(dma2);
	end();
}

/* New holds, taken in the next domain, do not keep a detach waiting. */
static void attach_elsewhere_waits_for_old_holds(void **state)
{
	struct device next = {0};

	(void)state;
	begin(NULL);
	reset_sg(&next);
	core_kit_endpoint(&k, 9);
	assert_int_equal(space_attach(k.space, 2, 9, false), 0);
	assert_int_equal(space_map(k.space, 2, 0, 0xfff, CORE_RAM_GPA, 3), 0);
	assert_int_equal(get(0x2000, 1), 0);
	assert_int_equal(space_attach(k.space, 2, EP, false), -EINPROGRESS);
	assert_int_equal(viommu_dma_get(dma, 0, 1, VIOMMU_READ, &next.sg), 0);
	assert_true(space_pending(k.space));
	viommu_dma_put(dma, &dev.sg);
	assert_false(space_pending(k.space));
	viommu_dma_put(dma, &next.sg);
	end();
}

static void giving_up(void **state)
{
	const struct space_config cfg = {
		.granule = 4096, .input_last = UINT64_MAX, .max_mappings = 9};

	(void)state;
	begin(&cfg);
	assert_int_equal(get(0x2000, 1), 0);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), -EINPROGRESS);
	space_give_up(k.space);
	assert_false(space_pending(k.space));
	assert_int_equal(core_kit_counts(&k).hold_timeouts, 1);
	assert_int_equal(core_kit_counts(&k).mappings, 0);
	/* what is held stays pinned, and in the quota */
	for (uint64_t i = 1; i < 9; i++)
		assert_int_equal(space_map(k.space, DOMAIN, i << 12, (i << 12) + 0xfff,
					   CORE_RAM_GPA, 3),
				 0);
	assert_int_equal(space_map(k.space, DOMAIN, 0x9000, 0x9fff, CORE_RAM_GPA, 3),
			 -ENOMEM);
	viommu_dma_put(dma, &dev.sg);
	assert_int_equal(space_map(k.space, DOMAIN, 0x9000, 0x9fff, CORE_RAM_GPA, 3), 0);
	space_give_up(k.space); /* nothing to give up */
	assert_int_equal(core_kit_counts(&k).hold_timeouts, 1);
	end();
}

#define LOST 100u

/* Requests cost no more for what was given up: each looks at a few in turn. */
static void many_lost(void **state)
{
	const struct space_config cfg = {
		.granule = 4096, .input_last = UINT64_MAX, .max_mappings = LOST + 10};
	struct viommu_hold hold[LOST];
	struct iovec iov[LOST];
	struct viommu_sg sg = {iov, 0, LOST, hold, 0, LOST, 0};
	uint32_t left;

	(void)state;
	begin(&cfg); /* 9 mappings are there */
	for (uint64_t i = 0; i < LOST; i++) {
		uint64_t iova = 0x100000 + (i << 12);

		assert_int_equal(space_map(k.space, DOMAIN, iova, iova + 0xfff,
					   CORE_RAM_GPA + (i << 12), 3),
				 0);
		assert_int_equal(viommu_dma_get(dma, iova, 1, VIOMMU_READ, &sg), 0);
	}
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x100000, UINT64_MAX), -EINPROGRESS);
	space_give_up(k.space);
	assert_int_equal(k.space->lost_nr, LOST);
	/* batches are batches still */
	assert_int_equal(space_unmap_later(k.space, DOMAIN, 0x1000, 0x1fff), 0);
	assert_non_null(k.space->unsettled);
	assert_int_equal(k.space->lost_nr, LOST);
	space_settle(k.space);
	viommu_dma_put(dma, &sg);
	for (left = LOST; left > 40; left -= LOST_STEPS) {
		assert_int_equal(k.space->lost_nr, left);
		assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, 0xfff), 0);
	}
	assert_int_equal(k.space->lost_nr, left);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	assert_int_equal(k.space->lost_nr, left - LOST_STEPS);
	/* a MAP that would fail for them looks at all */
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	left = k.space->lost_nr;
	for (uint64_t i = 0; i <= LOST + 10 - left; i++)
		assert_int_equal(space_map(k.space, DOMAIN, i << 12, (i << 12) + 0xfff,
					   CORE_RAM_GPA, 3),
				 0);
	assert_int_equal(k.space->lost_nr, 0);
	end();
}

static void giving_up_on_a_detach(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(get(0x2000, 1), 0);
	assert_int_equal(space_reset(k.space), -EINPROGRESS);
	space_give_up(k.space);
	assert_false(space_pending(k.space));
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	viommu_dma_put(dma, &dev.sg);
	end();
}

static void pushed_mode(void **state)
{
	struct viommu_dma *pushed;
	struct device other = {0};

	(void)state;
	begin(NULL);
	/* hears of what is there already */
	pushed = core_kit_dma(&k, ep, &mirror, &other);
	assert_int_equal(other.maps, 9);
	assert_int_equal(space_map(k.space, DOMAIN, 0x10000, 0x11fff, 0x5000,
				   VIRTIO_IOMMU_MAP_F_WRITE | VIRTIO_IOMMU_MAP_F_MMIO),
			 0);
	assert_int_equal(other.maps, 10);
	assert_int_equal(other.start, 0x10000);
	assert_int_equal(other.last, 0x11fff);
	assert_int_equal(other.gpa, 0x5000);
	assert_int_equal(other.perm, VIOMMU_WRITE);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x10000, 0x11fff), 0);
	assert_int_equal(other.unmaps, 1);
	assert_int_equal(other.last, 0x11fff);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	assert_int_equal(other.unmaps, 2);
	assert_int_equal(other.start, 0);
	assert_int_equal(other.last, UINT64_MAX);
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	assert_int_equal(space_map(k.space, DOMAIN, 0, 0xfff, 0, 3), 0);
	assert_int_equal(other.maps, 11);
	viommu_dma_destroy(pushed);
	assert_int_equal(space_map(k.space, DOMAIN, 0x1000, 0x1fff, 0, 3), 0);
	assert_int_equal(other.maps, 11);
	end();
}

/* The count of holds of one mapping, at the limit and one past it. */
static void hold_limit(void **state)
{
	struct viommu_mapping *m;

	(void)state;
	begin(NULL);
	assert_int_equal(get(0x2000, 1), 0);
	m = dev.hold[0].mapping;
	m->state += LIMIT_MAPPING_HOLDS - 2;
	reset_sg(&dev);
	assert_int_equal(get(0x2000, 1), 0); /* the last one */
	dev.sg.hold_nr = 0;		     /* so that it does not join */
	assert_int_equal(get(0x2000, 1), -E2BIG);
	m->state -= LIMIT_MAPPING_HOLDS - 2;
	dev.sg.hold_nr = 1;
	viommu_dma_put(dma, &dev.sg);
	dev.sg.hold_nr = 1; /* the first one */
	viommu_dma_put(dma, &dev.sg);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), 0);
	end();
}

static void bypass_holds_no_mapping(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	space_set_bypass(k.space, true);
	assert_int_equal(get(CORE_RAM_GPA, 0x3000), 0);
	assert_int_equal(dev.sg.hold_nr, 1);
	assert_null(dev.hold[0].mapping);
	space_set_bypass(k.space, false);
	viommu_dma_put(dma, &dev.sg);
	end();
}

/* Bypass is access to all of memory: its end is that of what is held, too. */
static void detach_waits_for_bypass_holds(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(space_attach(k.space, 2, EP, true), 0);
	assert_int_equal(get(CORE_RAM_GPA, 0x3000), 0);
	assert_int_equal(space_detach(k.space, 2, EP), -EINPROGRESS);
	assert_int_equal(dev.revokes, 1);
	assert_int_equal(core_kit_counts(&k).domains, 0);
	assert_true(space_pending(k.space));
	viommu_dma_put(dma, &dev.sg);
	assert_int_equal(k.released_nr, 1);
	assert_false(space_pending(k.space));
	end();
}

/* Of an endpoint that was in no domain, and of one that moves. */
static void attach_waits_for_bypass_holds(void **state)
{
	struct device next = {0};

	(void)state;
	for (unsigned moves = 0; moves < 2; moves++) {
		begin(NULL);
		reset_sg(&next);
		core_kit_endpoint(&k, 9);
		assert_int_equal(space_attach(k.space, DOMAIN, 9, false), 0);
		assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
		space_set_bypass(k.space, !moves);
		if (moves)
			assert_int_equal(space_attach(k.space, 2, EP, true), 0);
		assert_int_equal(get(CORE_RAM_GPA, 0x3000), 0);
		assert_int_equal(space_attach(k.space, DOMAIN, EP, false), -EINPROGRESS);
		assert_int_equal(dev.revokes, 1);
		/* what is held in the new domain keeps nobody waiting */
		assert_int_equal(viommu_dma_get(dma, 0x2000, 1, CORE_RW, &next.sg), 0);
		assert_true(space_pending(k.space));
		viommu_dma_put(dma, &dev.sg);
		assert_false(space_pending(k.space));
		viommu_dma_put(dma, &next.sg);
		end();
	}
}

/* From bypass to bypass nothing ends that the endpoint could reach. */
static void attach_to_bypass_waits_for_nothing(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	space_set_bypass(k.space, true);
	assert_int_equal(get(CORE_RAM_GPA, 0x3000), 0);
	assert_int_equal(space_attach(k.space, 2, EP, true), 0);
	assert_int_equal(dev.revokes, 0);
	/* they are in the domain now, and keep its end waiting */
	assert_int_equal(space_detach(k.space, 2, EP), -EINPROGRESS);
	viommu_dma_put(dma, &dev.sg);
	assert_false(space_pending(k.space));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_and_put),
		cmocka_unit_test(failed_get_changes_nothing),
		cmocka_unit_test(batches),
		cmocka_unit_test(unmap_waits_for_what_is_held),
		cmocka_unit_test(put_from_revoke),
		cmocka_unit_test(detach_waits_for_the_endpoint_only),
		cmocka_unit_test(attach_elsewhere_waits_for_old_holds),
		cmocka_unit_test(giving_up),
		cmocka_unit_test(many_lost),
		cmocka_unit_test(giving_up_on_a_detach),
		cmocka_unit_test(pushed_mode),
		cmocka_unit_test(hold_limit),
		cmocka_unit_test(bypass_holds_no_mapping),
		cmocka_unit_test(detach_waits_for_bypass_holds),
		cmocka_unit_test(attach_waits_for_bypass_holds),
		cmocka_unit_test(attach_to_bypass_waits_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
