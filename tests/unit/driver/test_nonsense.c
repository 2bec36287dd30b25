/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A device that answers nonsense: ids that are not out, given back twice, lengths
 * of no reply, replies that were never written. Whoever waits gets -EIO, the
 * queue is quarantined, and a reset makes it serve again; in each ring format.
 * All requests have an OK of earlier days in their place: it must not count.
 */
#include <errno.h>

#include "drv_peer.h"

#define RW	 (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define PACKED	 (1ull << 34)
#define INDIRECT (1ull << 28)
#define PAGE	 0x1000ull
#define OWN	 0x40000000ull /* mapped by address; the allocator starts below */

struct fixture {
	struct peer *peer;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	uint64_t page;	/* mapped by the DMA calls */
	unsigned calls; /* of the script since the last reset */
};

static int map_own(struct fixture *f, unsigned i)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	uint64_t at = OWN + i * PAGE;
	int r = viommu_drv_map(f->domain, at, at + PAGE - 1, 0, RW, &batch);
	int sync = viommu_drv_sync(f->peer->drv, &batch);

	return r ? r : sync;
}

static int unmap_own(struct fixture *f, unsigned i)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	uint64_t at = OWN + i * PAGE;
	int r = viommu_drv_unmap(f->domain, at, at + PAGE - 1, &batch);
	int sync = viommu_drv_sync(f->peer->drv, &batch);

	return r < 0 ? r : sync;
}

/* Every request of the ring has been used, and was answered with OK. */
static void leave_ok_everywhere(struct fixture *f)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;

	for (uint64_t at = OWN; at < OWN + 300 * PAGE; at += PAGE)
		assert_int_equal(
			viommu_drv_map(f->domain, at, at + PAGE - 1, 0, RW, &batch), 0);
	assert_int_equal(viommu_drv_sync(f->peer->drv, &batch), 0);
	assert_int_equal(viommu_drv_unmap(f->domain, OWN, OWN + 299 * PAGE - 1, &batch),
			 299);
	assert_int_equal(viommu_drv_sync(f->peer->drv, &batch), 0);
}

/* A device that is stalled and kicked gives back what it gave back last. */
static void (*peer_kick)(void *opaque, uint16_t index);

static void kick(void *opaque, uint16_t index)
{
	struct peer *peer = opaque;

	if (peer->stalled)
		peer_give_back(peer, index, peer->last_id[index], 4);
	else
		peer_kick(opaque, index);
}

static struct fixture setup(unsigned format)
{
	const struct viommu_drv_domain_config config = {.iova_last = OWN - 1};
	/* A device that is not heard ends the test, not the day. */
	const struct viommu_drv_config soon = {.request_timeout_ns = 1000000};
	struct fixture f = {.peer = peer_create()};

	f.peer->tick_ns = 100;
	peer_kick = f.peer->transport.kick;
	f.peer->transport.kick = kick;
	f.peer->offered |= format == 2 ? PACKED : 0;
	f.peer->offered &= format == 1 ? ~INDIRECT : ~0ull;
	assert_int_equal(peer_start(f.peer, &soon), 0);
	f.ep = peer_endpoint(f.peer, 8);
	f.domain = peer_domain(f.peer, &config);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0x5000, PAGE, RW, &f.page), 0);
	leave_ok_everywhere(&f);
	return f;
}

static void teardown(struct fixture *f)
{
	peer_end(f->peer, f->ep, f->domain);
}

/* ---- what the device does ---- */

enum kind {
	UNTOUCHED,	/* the length of a reply, and nothing written */
	NO_SUCH_STATUS, /* the first value that the standard does not define */
	SHORT,		/* ends before the status does: 1 to 3 bytes */
	LONG,		/* more bytes than there was room for */
	OTHER_ID,	/* in range and not out */
	ID_BEYOND_ALL,	/* out of range */
	KINDS
};

static void talk_nonsense(struct peer *peer, const struct peer_request *req,
			  struct peer_reply *reply)
{
	enum kind kind = *(enum kind *)peer->script_arg;

	(void)req;
	reply->untouched = kind != NO_SUCH_STATUS;
	if (kind == NO_SUCH_STATUS)
		reply->status = VIRTIO_IOMMU_S_NOMEM + 1;
	if (kind == SHORT)
		reply->used = reply->used - 1;
	if (kind == LONG)
		reply->used = reply->used + 1;
	reply->other_id = kind == OTHER_ID || kind == ID_BEYOND_ALL;
	/* Only the last few requests are out. */
	reply->id = kind == OTHER_ID ? 200 : 0xffff;
}

/* ---- who waits ---- */

static int wait_map(struct fixture *f)
{
	return map_own(f, 0);
}
static int wait_unmap(struct fixture *f)
{
	return unmap_own(f, 299);
}
static int wait_dma_map(struct fixture *f)
{
	uint64_t iova;

	return viommu_drv_dma_map(f->ep, 0x9000, PAGE, RW, &iova);
}
static int wait_dma_unmap(struct fixture *f)
{
	return viommu_drv_dma_unmap(f->ep, f->page, PAGE);
}
static int wait_flush(struct fixture *f)
{
	int r;

	/* The other mode than the fixture's. */
	f->peer->script = NULL;
	assert_int_equal(viommu_drv_domain_set_mode(f->domain, VIOMMU_DRV_LAZY_CPU, 0, 0),
			 VIOMMU_DRV_LAZY_CPU);
	assert_int_equal(viommu_drv_dma_unmap(f->ep, f->page, PAGE), 0);
	f->peer->script = talk_nonsense;
	r = viommu_drv_dma_flush(f->domain);
	assert_int_equal(f->peer->flush_failed_bytes, PAGE);
	return r;
}
static int wait_detach(struct fixture *f)
{
	return viommu_drv_detach(f->ep);
}
static int wait_probe(struct fixture *f)
{
	const struct viommu_drv_endpoint_config config = {.id = 99};
	struct viommu_drv_endpoint *ep;

	return viommu_drv_endpoint_create(f->peer->drv, &config, &ep);
}

static int (*const waiters[])(struct fixture *) = {
	wait_map,   wait_unmap,	 wait_dma_map, wait_dma_unmap,
	wait_flush, wait_detach, wait_probe,
};
#define WAITERS (sizeof(waiters) / sizeof(waiters[0]))

static void expect_quarantine(struct fixture *f)
{
	uint64_t iova;

	assert_int_equal(viommu_drv_health(f->peer->drv), -EIO);
	assert_int_equal(f->peer->quarantined_nr, 1);
	assert_int_equal(f->peer->quarantine_error, -EIO);
	assert_int_equal(map_own(f, 400), -EIO);
	assert_int_equal(viommu_drv_dma_map(f->ep, 0, 1, RW, &iova), -EIO);
}

static void reset_heals(struct fixture *f)
{
	f->peer->script = NULL;
	assert_int_equal(viommu_drv_reset(f->peer->drv), 0);
	assert_int_equal(viommu_drv_health(f->peer->drv), 0);
	assert_int_equal(map_own(f, 401), 0);
	assert_int_equal(unmap_own(f, 401), 0);
}

static void one_case(unsigned format, enum kind kind, unsigned waiter)
{
	struct fixture f = setup(format);
	int r;

	f.peer->script_arg = &kind;
	f.peer->script = talk_nonsense;
	r = waiters[waiter](&f);
	if (r != -EIO)
		fail_msg("format %u, nonsense %u, waiter %u: %d", format, kind, waiter,
			 r);
	expect_quarantine(&f);
	reset_heals(&f);
	teardown(&f);
}

static void whoever_waits_gets_eio(void **state)
{
	(void)state;
	for (unsigned format = 0; format < 3; format++)
		for (enum kind kind = 0; kind < KINDS; kind++)
			for (unsigned waiter = 0; waiter < WAITERS; waiter++)
				one_case(format, kind, waiter);
}

/* In the middle of a batch: what was answered before counts as answered, what
 * comes after does not. */
static void third_of_five(struct peer *peer, const struct peer_request *req,
			  struct peer_reply *reply)
{
	(void)req;
	reply->untouched = ++*(unsigned *)peer->script_arg == 3;
}

static void nonsense_inside_a_batch(void **state)
{
	(void)state;
	for (unsigned format = 0; format < 3; format++) {
		struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
		struct fixture f = setup(format);

		f.peer->script_arg = &f.calls;
		f.peer->script = third_of_five;
		for (uint64_t i = 0; i < 5; i++)
			assert_int_equal(viommu_drv_map(f.domain, i * PAGE + 0x100000,
							i * PAGE + 0x100fff, 0, RW,
							&batch),
					 0);
		assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), -EIO);
		assert_int_equal(batch.fail_start, 0x100000 + 2 * PAGE);
		assert_int_equal(batch.fail_last, 0x100fff + 2 * PAGE);
		expect_quarantine(&f);
		reset_heals(&f);
		teardown(&f);
	}
}

/* ---- twice ---- */

static void answer_twice(struct peer *peer, const struct peer_request *req,
			 struct peer_reply *reply)
{
	(void)peer;
	(void)req;
	reply->twice = true;
}

/* At once. In a packed ring the first answer stands alone and counts; a split ring
 * counts both before the driver looks at either. Nothing is believed after. */
static void given_back_twice(void **state)
{
	(void)state;
	for (unsigned format = 0; format < 3; format++) {
		struct fixture f = setup(format);

		f.peer->script = answer_twice;
		assert_int_equal(map_own(&f, 0), format == 2 ? 0 : -EIO);
		expect_quarantine(&f);
		reset_heals(&f);
		teardown(&f);
	}
}

/* Later, when its id and its place belong to a request that the device has not
 * even looked at. */
static void given_back_again_later(void **state)
{
	(void)state;
	for (unsigned format = 0; format < 3; format++)
		for (unsigned waiter = 0; waiter < WAITERS; waiter++) {
			struct fixture f = setup(format);

			if (waiters[waiter] == wait_flush ||
			    waiters[waiter] == wait_probe)
				goto next; /* need a device that works */
			assert_int_equal(map_own(&f, 1), 0);
			f.peer->stalled = true;
			assert_int_equal(waiters[waiter](&f), -EIO);
			expect_quarantine(&f);
			f.peer->stalled = false;
			reset_heals(&f);
		next:
			teardown(&f);
		}
}

/* ---- no nonsense ---- */

static void use_nothing(struct peer *peer, const struct peer_request *req,
			struct peer_reply *reply)
{
	(void)peer;
	(void)req;
	reply->untouched = true;
	reply->used = 0;
}

/* Length 0 is the standard's way to refuse a request: it fails, and that is all. */
static void length_0_is_a_refusal(void **state)
{
	(void)state;
	for (unsigned format = 0; format < 3; format++)
		for (unsigned waiter = 0; waiter < WAITERS; waiter++) {
			struct fixture f = setup(format);

			/* The model has detached it all the same. */
			if (waiters[waiter] != wait_flush &&
			    waiters[waiter] != wait_detach) {
				f.peer->script = use_nothing;
				assert_int_equal(waiters[waiter](&f), -EIO);
			}
			f.peer->script = NULL;
			assert_int_equal(viommu_drv_health(f.peer->drv), 0);
			assert_int_equal(f.peer->quarantined_nr, 0);
			assert_int_equal(map_own(&f, 20), 0);
			teardown(&f);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whoever_waits_gets_eio),
		cmocka_unit_test(nonsense_inside_a_batch),
		cmocka_unit_test(given_back_twice),
		cmocka_unit_test(given_back_again_later),
		cmocka_unit_test(length_0_is_a_refusal),
	};

	return cmocka_run_group_tests_name("driver nonsense", tests, NULL, NULL);
}
