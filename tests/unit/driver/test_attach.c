/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Attach, move and detach when the device refuses a part of it, is slow, or does
 * not answer: afterwards the record says what the device has. */
#include <errno.h>

#include "drv_peer.h"

#define RW    (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define PAGE  0x1000ull
#define PAGES 40u

struct fixture {
	struct peer *peer;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *old, *new; /* each with PAGES mappings */
};

static void fill(struct fixture *f, struct viommu_drv_domain *domain)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;

	for (uint64_t at = 0; at < PAGES * PAGE; at += PAGE)
		assert_int_equal(
			viommu_drv_map(domain, at, at + PAGE - 1, at, RW, &batch), 0);
	assert_int_equal(viommu_drv_sync(f->peer->drv, &batch), 0);
}

static struct fixture setup(void)
{
	const struct viommu_drv_config soon = {.request_timeout_ns = 1000000};
	struct fixture f = {.peer = peer_create()};

	f.peer->tick_ns = 100;
	assert_int_equal(peer_start(f.peer, &soon), 0);
	f.ep = peer_endpoint(f.peer, 8);
	f.old = peer_domain(f.peer, NULL);
	f.new = peer_domain(f.peer, NULL);
	fill(&f, f.old);
	fill(&f, f.new);
	return f;
}

static void teardown(struct fixture *f)
{
	if (f->ep)
		assert_int_equal(viommu_drv_endpoint_destroy(f->ep), 0);
	viommu_drv_domain_destroy(f->old);
	viommu_drv_domain_destroy(f->new);
	assert_int_equal(f->peer->wrong, 0);
	peer_destroy(f->peer);
}

/* The record and the device say: attached to `domain`, with all its mappings. */
static void expect(struct fixture *f, struct viommu_drv_domain *domain)
{
	assert_ptr_equal(viommu_drv_endpoint_domain(f->ep), domain);
	assert_int_equal(f->peer->endpoints_nr, domain ? 1 : 0);
	assert_int_equal(f->peer->mappings_nr, domain ? PAGES : 0);
	if (domain)
		assert_int_equal(f->peer->endpoints[0].domain,
				 viommu_drv_domain_id(domain));
}

/* The requests of a type that are refused: the nth and those after it. */
static uint8_t refused_type;
static unsigned refused_from;

static void refuse(struct peer *peer, const struct peer_request *req,
		   struct peer_reply *reply)
{
	(void)peer;
	if (req->type == refused_type && !refused_from)
		reply->status = VIRTIO_IOMMU_S_NOMEM;
	else if (req->type == refused_type)
		refused_from--;
}

/* A device that has no room for the mapping forgets it, too. */
static void refuse_maps(struct peer *peer, const struct peer_request *req,
			struct peer_reply *reply)
{
	refuse(peer, req, reply);
	if (req->type == VIRTIO_IOMMU_T_MAP && reply->status)
		peer->mappings_nr--;
}

static void a_device_that_cannot_move(void **state)
{
	struct fixture f = setup();

	(void)state;
	f.peer->cannot_move = true;
	assert_int_equal(viommu_drv_attach(f.old, f.ep), 0);
	expect(&f, f.old);
	assert_int_equal(viommu_drv_attach(f.new, f.ep), 0);
	expect(&f, f.new);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_DETACH), 1);
	teardown(&f);
}

static void endpoints_that_are_not_known(void **state)
{
	const struct viommu_drv_endpoint_config config = {.id = 9};
	struct fixture f = setup();
	struct viommu_drv_endpoint *ep;

	(void)state;
	f.peer->unknown_endpoints = true;
	assert_int_equal(viommu_drv_endpoint_create(f.peer->drv, &config, &ep), -ENOENT);
	assert_int_equal(viommu_drv_attach(f.old, f.ep), -ENOENT);
	expect(&f, NULL);
	f.peer->unknown_endpoints = false;
	assert_int_equal(viommu_drv_attach(f.old, f.ep), 0);
	/* It is unplugged in the device's view: nothing moves. */
	f.peer->unknown_endpoints = true;
	assert_int_equal(viommu_drv_attach(f.new, f.ep), -ENOENT);
	expect(&f, f.old);
	teardown(&f);
}

static void a_slow_device(void **state)
{
	struct fixture f = setup();

	(void)state;
	f.peer->answer_limit = 1;
	assert_int_equal(viommu_drv_attach(f.old, f.ep), 0);
	expect(&f, f.old);
	assert_int_equal(viommu_drv_attach(f.new, f.ep), 0);
	expect(&f, f.new);
	teardown(&f);
}

/* No room for the new domain's mappings: back to the old one, or to none. */
static void mappings_that_are_refused(void **state)
{
	(void)state;
	for (unsigned from = 0; from < PAGES; from += 13) {
		struct fixture f = setup();

		refused_type = VIRTIO_IOMMU_T_MAP;
		refused_from = from;
		f.peer->script = refuse_maps;
		assert_int_equal(viommu_drv_attach(f.new, f.ep), -ENOMEM);
		expect(&f, NULL);
		f.peer->script = NULL;
		assert_int_equal(viommu_drv_attach(f.old, f.ep), 0);
		refused_from = from;
		f.peer->script = refuse_maps;
		assert_int_equal(viommu_drv_attach(f.new, f.ep), -ENOMEM);
		/* The old domain's mappings are refused as well. */
		expect(&f, NULL);
		teardown(&f);
	}
}

static bool refuse_detach; /* DETACH, beside MAP */

static void refuse_both(struct peer *peer, const struct peer_request *req,
			struct peer_reply *reply)
{
	refuse_maps(peer, req, reply);
	if (req->type != VIRTIO_IOMMU_T_DETACH || !refuse_detach)
		return;
	/* The model has let go of it: take that back. */
	reply->status = VIRTIO_IOMMU_S_DEVERR;
	peer->endpoints[0].id = 8;
	peer->endpoints[0].bypass = false;
	peer->endpoints_nr = 1;
	peer->mappings_nr = 0;
}

/* And the device does not let go of it: it is still there, and so is a page that
 * was told. An unmap must not say that nobody can reach it. */
static void a_detach_that_is_refused_too(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup();

	(void)state;
	refused_type = VIRTIO_IOMMU_T_MAP;
	refused_from = 5;
	refuse_detach = true;
	f.peer->script = refuse_both;
	assert_int_equal(viommu_drv_attach(f.new, f.ep), -ENOMEM);
	assert_ptr_equal(viommu_drv_endpoint_domain(f.ep), f.new);
	f.peer->script = NULL;
	assert_int_equal(viommu_drv_unmap(f.new, 0, PAGE - 1, &batch), 1);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 1);
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	teardown(&f);
}

static void drop_type(struct peer *peer, const struct peer_request *req,
		      struct peer_reply *reply)
{
	(void)peer;
	reply->drop = req->type == refused_type && !refused_from;
	if (req->type == refused_type && refused_from)
		refused_from--;
}

/* Requests that are never answered, in each step of a move and of a detach: time
 * is up, and a reset makes device and record one again. */
static void no_answer(void **state)
{
	static const uint8_t types[] = {VIRTIO_IOMMU_T_ATTACH, VIRTIO_IOMMU_T_MAP,
					VIRTIO_IOMMU_T_DETACH};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct fixture f = setup();
		struct viommu_drv_domain *where;

		f.peer->cannot_move = true;
		assert_int_equal(viommu_drv_attach(f.old, f.ep), 0);
		refused_type = types[i];
		refused_from = i == 0 ? 1 : 0;
		f.peer->script = drop_type;
		/* A move that times out while it detaches was not possible. */
		assert_int_equal(viommu_drv_attach(f.new, f.ep),
				 i == 2 ? -EOPNOTSUPP : -ETIMEDOUT);
		assert_int_equal(viommu_drv_health(f.peer->drv), -ETIMEDOUT);
		f.peer->script = NULL;
		where = viommu_drv_endpoint_domain(f.ep);
		assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
		assert_ptr_equal(viommu_drv_endpoint_domain(f.ep), where);
		expect(&f, where);
		assert_int_equal(viommu_drv_attach(f.new, f.ep), 0);
		expect(&f, f.new);
		teardown(&f);
	}
}

/* The endpoint's object is gone, the device has not answered: what was mapped for
 * it may be reachable, and an unmap says so. */
static void destroyed_without_an_answer(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup();

	(void)state;
	assert_int_equal(viommu_drv_attach(f.old, f.ep), 0);
	refused_type = VIRTIO_IOMMU_T_DETACH;
	refused_from = 0;
	f.peer->script = drop_type;
	assert_int_equal(viommu_drv_endpoint_destroy(f.ep), -ETIMEDOUT);
	f.ep = NULL;
	f.peer->script = NULL;
	assert_int_equal(viommu_drv_unmap(f.old, 0, PAGE - 1, &batch), -ETIMEDOUT);
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	/* Now nobody can. */
	assert_int_equal(f.peer->endpoints_nr, 0);
	assert_int_equal(viommu_drv_unmap(f.old, PAGE, 2 * PAGE - 1, &batch), 1);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 0);
	teardown(&f);
}

/* The number of the next domain, which is not kept. -1: there is none. */
static long next_id(struct fixture *f)
{
	struct viommu_drv_domain *domain;
	int r = viommu_drv_domain_create(f->peer->drv, NULL, &domain);
	long id;

	if (r == -ENOSPC)
		return -1;
	assert_int_equal(r, 0);
	id = viommu_drv_domain_id(domain);
	viommu_drv_domain_destroy(domain);
	return id;
}

static struct fixture setup_four_numbers(void)
{
	struct fixture f = {.peer = peer_create()};

	f.peer->config.domain_first = 4;
	f.peer->config.domain_last = 7;
	assert_int_equal(peer_start(f.peer, NULL), 0);
	f.old = peer_domain(f.peer, NULL);
	f.new = peer_domain(f.peer, NULL);
	return f;
}

/* An endpoint that the device keeps in a domain, which then goes. */
static void leave_a_ghost(struct fixture *f, struct viommu_drv_domain **domain)
{
	f->ep = peer_endpoint(f->peer, 8);
	assert_int_equal(viommu_drv_attach(*domain, f->ep), 0);
	refused_type = VIRTIO_IOMMU_T_DETACH;
	refused_from = 0;
	f->peer->script = refuse;
	assert_int_equal(viommu_drv_endpoint_destroy(f->ep), -ENOMEM);
	f->ep = NULL;
	f->peer->script = NULL;
	viommu_drv_domain_destroy(*domain);
	*domain = NULL;
}

/* The number of a domain that the device may still have an endpoint in is not
 * another domain's before a reset: its mappings would be open to the endpoint. */
static void a_ghosts_number(void **state)
{
	struct fixture f = setup_four_numbers();

	(void)state;
	leave_a_ghost(&f, &f.old);
	for (unsigned i = 0; i < 8; i++)
		assert_in_range(next_id(&f), 6, 7);
	/* And there may be none left. */
	leave_a_ghost(&f, &f.new);
	f.old = peer_domain(f.peer, NULL);
	f.new = peer_domain(f.peer, NULL);
	assert_int_equal(next_id(&f), -1);
	viommu_drv_domain_destroy(f.old);
	viommu_drv_domain_destroy(f.new);
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	f.old = peer_domain(f.peer, NULL);
	f.new = peer_domain(f.peer, NULL);
	assert_in_range(next_id(&f), 4, 7);
	/* The driver goes while a number is retired. */
	leave_a_ghost(&f, &f.old);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_cannot_move),
		cmocka_unit_test(endpoints_that_are_not_known),
		cmocka_unit_test(a_slow_device),
		cmocka_unit_test(mappings_that_are_refused),
		cmocka_unit_test(a_detach_that_is_refused_too),
		cmocka_unit_test(no_answer),
		cmocka_unit_test(destroyed_without_an_answer),
		cmocka_unit_test(a_ghosts_number),
	};

	return cmocka_run_group_tests_name("driver attach", tests, NULL, NULL);
}
