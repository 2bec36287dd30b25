/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Start, requests, batches, and a device that stalls or talks nonsense. */
#include <errno.h>

#include "drv_peer.h"

#include <base/limits.h>

#define RW (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)

/* A started driver with one endpoint in one domain. */
struct fixture {
	struct peer *peer;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
};

static struct fixture setup_with(const struct viommu_drv_config *config, uint64_t without)
{
	struct fixture f = {.peer = peer_create()};

	f.peer->offered &= ~without;
	assert_int_equal(peer_start(f.peer, config), 0);
	f.ep = peer_endpoint(f.peer, 8);
	f.domain = peer_domain(f.peer, NULL);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
	return f;
}

static struct fixture setup(void)
{
	return setup_with(NULL, 0);
}

static void teardown(struct fixture *f)
{
	viommu_drv_endpoint_destroy(f->ep);
	viommu_drv_domain_destroy(f->domain);
	assert_int_equal(f->peer->wrong, 0);
	peer_destroy(f->peer);
}

static int map_page(struct fixture *f, uint64_t iova, struct viommu_drv_batch *batch)
{
	return viommu_drv_map(f->domain, iova, iova + 0xfff, 0x100000 + iova, RW, batch);
}

static void batch_is_one_kick(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup();
	unsigned kicks = f.peer->kicks[0];
	uint64_t pa;

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(map_page(&f, i * 0x2000, &batch), 0);
	assert_int_equal(f.peer->kicks[0], kicks);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_MAP), 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(f.peer->kicks[0], kicks + 1);
	assert_int_equal(peer_mapped(f.peer, viommu_drv_domain_id(f.domain)), 100);
	assert_int_equal(viommu_drv_lookup(f.domain, 0x4123, &pa), 0);
	assert_int_equal(pa, 0x104123);
	assert_int_equal(viommu_drv_lookup(f.domain, 0x3000, &pa), -ENOENT);
	/* One UNMAP for all of them, holes included. */
	assert_int_equal(viommu_drv_unmap(f.domain, 0, UINT64_MAX, &batch), 100);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 1);
	assert_int_equal(peer_mapped(f.peer, viommu_drv_domain_id(f.domain)), 0);
	teardown(&f);
}

/* More requests than the ring holds, in each ring format. */
static void batch_beyond_the_ring(void **state)
{
	const uint64_t packed = 1ull << 34, indirect = 1ull << 28, event = 1ull << 29;
	const uint64_t without[] = {0, packed, indirect, event,
				    packed | indirect | event};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
		struct fixture f = {.peer = peer_create()};

		f.peer->offered |= packed;
		f.peer->offered &= ~without[i];
		assert_int_equal(peer_start(f.peer, NULL), 0);
		f.ep = peer_endpoint(f.peer, 8);
		f.domain = peer_domain(f.peer, NULL);
		assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
		for (uint64_t n = 0; n < 1500; n++)
			assert_int_equal(map_page(&f, n * 0x1000, &batch), 0);
		assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
		assert_int_equal(peer_mapped(f.peer, viommu_drv_domain_id(f.domain)),
				 1500);
		assert_int_equal(viommu_drv_unmap(f.domain, 0, 1500 * 0x1000 - 1, &batch),
				 1500);
		assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
		teardown(&f);
	}
}

static void nothing_to_tell(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup();
	struct viommu_drv_domain *idle = peer_domain(f.peer, NULL);
	unsigned kicks = f.peer->kicks[0];

	(void)state;
	assert_int_equal(viommu_drv_map(idle, 0x1000, 0x1fff, 0x5000, RW, &batch), 0);
	assert_int_equal(viommu_drv_map(idle, 0x4000, 0x5fff, 0x9000, RW, &batch), 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(viommu_drv_unmap(idle, 0x4000, 0x5fff, &batch), 1);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(f.peer->kicks[0], kicks);
	/* The first endpoint makes the rest known; the old domain is gone. */
	assert_int_equal(viommu_drv_attach(idle, f.ep), 0);
	assert_int_equal(peer_mapped(f.peer, viommu_drv_domain_id(idle)), 1);
	assert_int_equal(viommu_drv_unmap(idle, 0x1000, 0x1fff, &batch), 1);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(viommu_drv_unmap(idle, 0x1000, 0x1fff, &batch), 0);
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	viommu_drv_domain_destroy(idle);
	teardown(&f);
}

static void arguments(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup();
	struct viommu_drv_domain *d = f.domain, *other = peer_domain(f.peer, NULL);

	(void)state;
	assert_int_equal(viommu_drv_map(d, 0x1000, 0x1000, 0, RW, &batch), -EINVAL);
	assert_int_equal(viommu_drv_map(d, 0x1000, 0x1ffe, 0, RW, &batch), -ERANGE);
	assert_int_equal(viommu_drv_map(d, 0x1001, 0x1fff, 0, RW, &batch), -ERANGE);
	assert_int_equal(viommu_drv_map(d, 0x1000, 0x1fff, 8, RW, &batch), -ERANGE);
	assert_int_equal(viommu_drv_map(d, 0x1000, 0x1fff, 0, 0, &batch), -EINVAL);
	assert_int_equal(viommu_drv_map(d, 0x1000, 0x1fff, 0, 8 | RW, &batch), -EINVAL);
	assert_int_equal(
		viommu_drv_map(d, 0x1000, 0x2fff, UINT64_MAX - 0xfff, RW, &batch),
		-ERANGE);
	assert_int_equal(
		viommu_drv_map(d, 1ull << 48, (1ull << 48) + 0xfff, 0, RW, &batch),
		-ERANGE);
	assert_int_equal(map_page(&f, 0x1000, &batch), 0);
	assert_int_equal(map_page(&f, 0x1000, &batch), -EEXIST);
	assert_int_equal(viommu_drv_map(other, 0, 0xfff, 0, RW, &batch), -EINVAL);
	assert_int_equal(viommu_drv_map(d, 0x10000, 0x1ffff, 0, RW, &batch), 0);
	assert_int_equal(viommu_drv_unmap(d, 0x11000, 0x1ffff, &batch), -ERANGE);
	assert_int_equal(viommu_drv_unmap(d, 0, 0x11fff, &batch), -ERANGE);
	assert_int_equal(viommu_drv_unmap(d, 5, 4, &batch), -EINVAL);
	assert_int_equal(viommu_drv_unmap(d, 0, 0x1ffff, &batch), 2);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	viommu_drv_domain_destroy(other);
	teardown(&f);
}

/* Fails the MAP at script_arg with each status in turn. */
static void fail_one(struct peer *peer, const struct peer_request *req,
		     struct peer_reply *reply)
{
	const struct virtio_iommu_req_map *map = (const void *)req->bytes;
	const uint8_t *status = peer->script_arg;

	if (req->type == VIRTIO_IOMMU_T_MAP && map->virt_start == 0x7000) {
		reply->status = *status;
		peer->mappings_nr--;
	}
}

static void statuses_reach_the_caller(void **state)
{
	static const int expected[] = {0,	-EIO,	 -EOPNOTSUPP, -EREMOTEIO, -EINVAL,
				       -ERANGE, -ENOENT, -EFAULT,     -ENOMEM};
	struct fixture f = setup();
	uint8_t status;

	(void)state;
	f.peer->script = fail_one;
	f.peer->script_arg = &status;
	for (status = 1; status < 9; status++) {
		struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;

		for (uint64_t i = 0; i < 20; i++)
			assert_int_equal(map_page(&f, i * 0x1000, &batch), 0);
		assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), expected[status]);
		assert_int_equal(batch.fail_start, 0x7000);
		assert_int_equal(batch.fail_last, 0x7fff);
		assert_int_equal(viommu_drv_unmap(f.domain, 0, 0xfffff, &batch), 20);
		assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	}
	assert_int_equal(viommu_drv_health(f.peer->drv), 0);
	teardown(&f);
}

/* ---- time ---- */

static void stall_times_out(void **state)
{
	const struct viommu_drv_config config = {.request_timeout_ns = 1000000};
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup_with(&config, 0);
	uint64_t before;

	(void)state;
	assert_int_equal(map_page(&f, 0x1000, &batch), 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	f.peer->stalled = true;
	f.peer->tick_ns = 1000;
	before = f.peer->now_ns;
	assert_int_equal(map_page(&f, 0x2000, &batch), 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), -ETIMEDOUT);
	assert_in_range(f.peer->now_ns - before, 1000000, 1100000);
	assert_int_equal(f.peer->quarantined_nr, 1);
	assert_int_equal(f.peer->quarantine_error, -ETIMEDOUT);
	assert_int_equal(viommu_drv_health(f.peer->drv), -ETIMEDOUT);
	/* No more waiting: the queue is quarantined. */
	before = f.peer->now_ns;
	assert_int_equal(map_page(&f, 0x3000, &batch), -ETIMEDOUT);
	assert_int_equal(viommu_drv_unmap(f.domain, 0x1000, 0x1fff, &batch), -ETIMEDOUT);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_true(f.peer->now_ns - before < 10000);
	/* A reset heals: 0x1000 was given up, 0x2000 is recorded. */
	f.peer->stalled = false;
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	assert_int_equal(viommu_drv_health(f.peer->drv), 0);
	assert_null(peer_lookup(f.peer, viommu_drv_domain_id(f.domain), 0x1000));
	assert_non_null(peer_lookup(f.peer, viommu_drv_domain_id(f.domain), 0x2000));
	assert_int_equal(map_page(&f, 0x3000, &batch), 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	teardown(&f);
}

/* The wait for room in a full ring is bounded too. */
static void stall_with_a_full_ring(void **state)
{
	const struct viommu_drv_config config = {.request_timeout_ns = 1000000,
						 .queue_size = 8};
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup_with(&config, 0);
	uint64_t iova = 0;
	int r;

	(void)state;
	f.peer->stalled = true;
	f.peer->tick_ns = 1000;
	while (!(r = map_page(&f, iova, &batch)))
		iova += 0x1000;
	assert_int_equal(r, -ETIMEDOUT);
	assert_int_equal(iova, 8 * 0x1000);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), -ETIMEDOUT);
	f.peer->stalled = false;
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	teardown(&f);
}

/* A late answer, after the time-out, changes nothing. */
static void late_answer(void **state)
{
	const struct viommu_drv_config config = {.request_timeout_ns = 1000000};
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup_with(&config, 0);

	(void)state;
	f.peer->stalled = true;
	f.peer->tick_ns = 1000;
	assert_int_equal(map_page(&f, 0x2000, &batch), 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), -ETIMEDOUT);
	memset(&batch, 0xee, sizeof(batch));
	f.peer->stalled = false;
	peer_work(f.peer);
	assert_int_equal(viommu_drv_health(f.peer->drv), -ETIMEDOUT);
	for (unsigned i = 0; i < sizeof(batch); i++)
		assert_int_equal(((uint8_t *)&batch)[i], 0xee);
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	teardown(&f);
}

static void reset_that_never_ends(void **state)
{
	const struct viommu_drv_config config = {.request_timeout_ns = 1000000};
	struct peer *peer = peer_create();

	(void)state;
	peer->tick_ns = 1000;
	assert_int_equal(peer_start(peer, &config), 0);
	peer->stuck_reset = true;
	assert_int_equal(viommu_drv_reset(peer->drv), -ETIMEDOUT);
	/* Shared memory is not given back: the device may still use it. */
	peer_destroy(peer);
	peer = peer_create();
	peer->tick_ns = 1000;
	peer->status = 15;
	peer->stuck_reset = true;
	assert_int_equal(peer_start(peer, &config), -ETIMEDOUT);
	peer_destroy(peer);
}

/* ---- nonsense ---- */

static void nonsense(struct fixture *f, void (*spoil)(struct fixture *))
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;

	f->peer->stalled = true;
	assert_int_equal(map_page(f, 0x2000, &batch), 0);
	spoil(f);
	assert_int_equal(viommu_drv_sync(f->peer->drv, &batch), -EIO);
	assert_int_equal(viommu_drv_health(f->peer->drv), -EIO);
	assert_int_equal(f->peer->quarantine_error, -EIO);
	assert_int_equal(map_page(f, 0x3000, &batch), -EIO);
	f->peer->stalled = false;
	assert_int_equal(viommu_drv_reset(f->peer->drv), 0);
	assert_int_equal(map_page(f, 0x3000, &batch), 0);
	assert_int_equal(viommu_drv_unmap(f->domain, 0, 0xffff, &batch), 2);
	assert_int_equal(viommu_drv_sync(f->peer->drv, &batch), 0);
}

/* Puts an entry into the split used ring of the request queue. */
static void used_entry(struct fixture *f, uint32_t id, uint32_t len, uint16_t step)
{
	uint8_t *ring = (uint8_t *)(uintptr_t)f->peer->setup[0].device;
	uint16_t idx, size = f->peer->setup[0].size;

	memcpy(&idx, ring + 2, 2);
	memcpy(ring + 4 + 8 * (idx % size), &id, 4);
	memcpy(ring + 8 + 8 * (idx % size), &len, 4);
	idx = (uint16_t)(idx + step);
	memcpy(ring + 2, &idx, 2);
}

static void spoil_id(struct fixture *f)
{
	used_entry(f, 77, 4, 1);
}
static void spoil_big_id(struct fixture *f)
{
	used_entry(f, 0xffffffff, 4, 1);
}
static void spoil_len(struct fixture *f)
{
	/* The id of the first request after a start. */
	for (uint32_t id = 0; id < f->peer->setup[0].size; id++)
		used_entry(f, id, 0x10000, 1);
}
static void spoil_idx(struct fixture *f)
{
	used_entry(f, 0, 4, 300);
}

static void nonsense_quarantines(void **state)
{
	struct fixture f = setup();

	(void)state;
	nonsense(&f, spoil_id);
	nonsense(&f, spoil_big_id);
	nonsense(&f, spoil_len);
	nonsense(&f, spoil_idx);
	teardown(&f);
}

/* ---- start ---- */

static void start_is_refused(void **state)
{
	static const struct {
		uint64_t offered;
		int expected;
	} cases[] = {
		{0x77, -ENODEV},			/* no VERSION_1 */
		{1ull << 32 | (0x77 & ~4ull), -ENODEV}, /* no MAP_UNMAP */
		{1ull << 32 | 4, 0},
	};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct peer *peer = peer_create();

		peer->offered = cases[i].offered;
		assert_int_equal(peer_start(peer, NULL), cases[i].expected);
		if (cases[i].expected)
			assert_int_equal(peer->status, 128);
		peer_destroy(peer);
	}
}

static void start_with_a_strange_device(void **state)
{
	struct peer *peer;

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		static const int expected[] = {-ENODEV, -EIO,	 -EIO, -EIO,  -EIO,
					       -ENODEV, -ENODEV, -EIO, -EBADF};

		peer = peer_create();
		peer->refuse_features = i == 0;
		if (i == 1)
			peer->config.page_size_mask = 0;
		if (i == 2)
			peer->config.input_start = 1ull << 50;
		if (i == 3)
			peer->config.domain_first = 70000;
		peer->config_moves = i == 4;
		if (i == 5)
			peer->queue_max[0] = 0;
		if (i == 6)
			peer->queue_max[1] = 0;
		if (i == 7) {
			peer->config.input_start = 0x1001;
			peer->config.input_last = 0x2ffe;
		}
		if (i == 8)
			peer->queue_error = -EBADF;
		assert_int_equal(peer_start(peer, NULL), expected[i]);
		peer_destroy(peer);
	}
}

static void limits(void **state)
{
	struct peer *peer = peer_create();

	(void)state;
	peer->platform.cpus_nr = LIMIT_DRV_CPUS + 1;
	assert_int_equal(peer_start(peer, NULL), -EINVAL);
	peer->platform.cpus_nr = LIMIT_DRV_CPUS;
	peer->transport.request_queues_nr = LIMIT_DRV_REQUEST_QUEUES + 1;
	assert_int_equal(peer_start(peer, NULL), -EINVAL);
	peer->transport.request_queues_nr = LIMIT_DRV_REQUEST_QUEUES;
	assert_int_equal(peer_start(peer, NULL), -ENODEV); /* it has two */
	peer->transport.request_queues_nr = 0;
	peer->transport.kick = NULL;
	assert_int_equal(peer_start(peer, NULL), -EINVAL);
	peer_destroy(peer);
}

/* Each allocation of the start fails in turn. */
static void start_without_memory(void **state)
{
	unsigned nth;

	(void)state;
	for (nth = 1;; nth++) {
		struct peer *peer = peer_create();
		int r;

		peer->fail_alloc = nth;
		r = peer_start(peer, NULL);
		if (!r) {
			peer_destroy(peer);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		peer_destroy(peer);
	}
	assert_true(nth > 5);
}

/* Two request queues, two domains with an endpoint each. */
struct queues {
	struct peer *peer;
	struct viommu_drv_domain *domain[2];
	struct viommu_drv_endpoint *ep[2];
};

static struct queues setup_queues(void)
{
	const struct viommu_drv_config soon = {.request_timeout_ns = 1000000};
	struct queues q = {.peer = peer_create()};

	q.peer->tick_ns = 100;
	q.peer->queue_max[2] = q.peer->queue_max[3] = 64;
	q.peer->transport.request_queues_nr = 2;
	assert_int_equal(peer_start(q.peer, &soon), 0);
	for (unsigned i = 0; i < 2; i++) {
		q.ep[i] = peer_endpoint(q.peer, i + 1);
		q.domain[i] = peer_domain(q.peer, NULL);
		assert_int_equal(viommu_drv_attach(q.domain[i], q.ep[i]), 0);
	}
	return q;
}

static void teardown_queues(struct queues *q)
{
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(viommu_drv_endpoint_destroy(q->ep[i]), 0);
		viommu_drv_domain_destroy(q->domain[i]);
	}
	assert_int_equal(q->peer->wrong, 0);
	peer_destroy(q->peer);
}

static int map_in(const struct queues *q, unsigned i, uint64_t at)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	int r = viommu_drv_map(q->domain[i], at, at + 0xfff, 0, RW, &batch);
	int sync = viommu_drv_sync(q->peer->drv, &batch);

	return r ? r : sync;
}

/* All requests of a domain come by one queue, and the two use both. */
static void a_domain_stays_on_a_queue(void **state)
{
	struct queues q = setup_queues();
	int queue_of[2] = {-1, -1};

	(void)state;
	for (uint64_t at = 0; at < 200 * 0x1000; at += 0x1000)
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(map_in(&q, i, at), 0);
	/* A move is the new domain's request. */
	assert_int_equal(viommu_drv_attach(q.domain[0], q.ep[1]), 0);
	assert_int_equal(viommu_drv_attach(q.domain[1], q.ep[1]), 0);
	assert_int_equal(viommu_drv_detach(q.ep[0]), 0);
	assert_int_equal(viommu_drv_attach(q.domain[0], q.ep[0]), 0);
	for (unsigned n = 0; n < q.peer->log_nr; n++) {
		const struct peer_request *req = &q.peer->log[n];
		uint32_t id;

		if (req->type == VIRTIO_IOMMU_T_PROBE)
			continue;
		memcpy(&id, req->bytes + 4, 4);
		for (unsigned i = 0; i < 2; i++) {
			if (id != viommu_drv_domain_id(q.domain[i]))
				continue;
			if (queue_of[i] < 0)
				queue_of[i] = req->queue;
			assert_int_equal(req->queue, queue_of[i]);
		}
	}
	assert_int_equal(queue_of[0] + queue_of[1], 2);
	assert_int_not_equal(queue_of[0], queue_of[1]);
	teardown_queues(&q);
}

/* One that stalls is quarantined alone; the reset takes both. */
static void a_queue_that_stalls(void **state)
{
	struct queues q = setup_queues();
	unsigned slow = viommu_drv_domain_id(q.domain[0]) % 2 ? 0 : 1;

	(void)state;
	assert_int_equal(map_in(&q, 0, 0), 0);
	assert_int_equal(map_in(&q, 1, 0), 0);
	q.peer->stalled_queue = 2;
	assert_int_equal(map_in(&q, slow, 0x1000), -ETIMEDOUT);
	assert_int_equal(map_in(&q, !slow, 0x1000), 0);
	assert_int_equal(map_in(&q, slow, 0x2000), -ETIMEDOUT);
	assert_int_equal(viommu_drv_health(q.peer->drv), -ETIMEDOUT);
	assert_int_equal(q.peer->quarantined_nr, 1);
	q.peer->stalled_queue = 0;
	assert_int_equal(viommu_drv_reset(q.peer->drv), 0);
	assert_int_equal(viommu_drv_health(q.peer->drv), 0);
	/* Two of each: a mapping that was not answered is recorded. */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(peer_mapped(q.peer, viommu_drv_domain_id(q.domain[i])),
				 2);
	assert_int_equal(map_in(&q, slow, 0x2000), 0);
	teardown_queues(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batch_is_one_kick),
		cmocka_unit_test(batch_beyond_the_ring),
		cmocka_unit_test(nothing_to_tell),
		cmocka_unit_test(arguments),
		cmocka_unit_test(statuses_reach_the_caller),
		cmocka_unit_test(stall_times_out),
		cmocka_unit_test(stall_with_a_full_ring),
		cmocka_unit_test(late_answer),
		cmocka_unit_test(reset_that_never_ends),
		cmocka_unit_test(nonsense_quarantines),
		cmocka_unit_test(start_is_refused),
		cmocka_unit_test(start_with_a_strange_device),
		cmocka_unit_test(limits),
		cmocka_unit_test(start_without_memory),
		cmocka_unit_test(a_domain_stays_on_a_queue),
		cmocka_unit_test(a_queue_that_stalls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
