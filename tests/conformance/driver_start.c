/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The driver's features, configuration, start, and what all requests share. Each
 * test is named after the statement in statements.json that it checks. */
#include <errno.h>

#include "drv_peer.h"

#define RW	      (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define BIT(n)	      (1ull << (n))
#define BYPASS_OFFSET 36u

/* A domain with an attached endpoint. */
static struct viommu_drv_domain *attached(struct peer *peer,
					  struct viommu_drv_endpoint **ep)
{
	struct viommu_drv_domain *domain = peer_domain(peer, NULL);

	*ep = peer_endpoint(peer, 5);
	assert_int_equal(viommu_drv_attach(domain, *ep), 0);
	return domain;
}

static void done(struct peer *peer, struct viommu_drv_domain *domain,
		 struct viommu_drv_endpoint *ep)
{
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	viommu_drv_domain_destroy(domain);
	assert_int_equal(peer->wrong, 0);
	peer_destroy(peer);
}

static int map(struct viommu_drv_domain *domain, struct peer *peer, uint64_t start,
	       uint64_t last)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	int r = viommu_drv_map(domain, start, last, start, RW, &batch);

	return r ? r : viommu_drv_sync(peer->drv, &batch);
}

static void driver_features_01(void **state)
{
	const uint64_t should = BIT(VIRTIO_IOMMU_F_INPUT_RANGE) |
				BIT(VIRTIO_IOMMU_F_DOMAIN_RANGE) |
				BIT(VIRTIO_IOMMU_F_PROBE);
	struct peer *peer = peer_create_started();

	(void)state;
	assert_int_equal(peer->accepted & should, should);
	assert_int_equal(viommu_drv_features(peer->drv), peer->accepted);
	peer_destroy(peer);
	/* And never what was not offered, or opens unattached endpoints. */
	peer = peer_create();
	peer->offered = (peer->offered & ~should) | BIT(VIRTIO_IOMMU_F_BYPASS);
	assert_int_equal(peer_start(peer, NULL), 0);
	assert_int_equal(peer->accepted & (should | BIT(VIRTIO_IOMMU_F_BYPASS)), 0);
	peer_destroy(peer);
}

static void driver_config_01(void **state)
{
	for (unsigned bypass = 0; bypass < 2; bypass++) {
		const struct viommu_drv_config config = {.take_bypass = true,
							 .bypass = bypass};
		struct peer *peer = peer_create();

		(void)state;
		assert_int_equal(peer_start(peer, &config), 0);
		assert_int_equal(peer->config_writes_nr, 1);
		assert_int_equal(peer->config_writes[0].offset, BYPASS_OFFSET);
		assert_int_equal(peer->config_writes[0].len, 1);
		assert_int_equal(peer->config_writes[0].value, bypass);
		peer_destroy(peer);
		peer = peer_create();
		peer->offered &= ~BIT(VIRTIO_IOMMU_F_BYPASS_CONFIG);
		assert_int_equal(peer_start(peer, &config), 0);
		assert_int_equal(peer->config_writes_nr, 0);
		peer_destroy(peer);
	}
}

/* A whole life, resets included, writes the bypass byte and nothing else. */
static void whole_life(struct peer *peer)
{
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain = attached(peer, &ep);

	assert_int_equal(map(domain, peer, 0x1000, 0x1fff), 0);
	assert_int_equal(viommu_drv_reset(peer->drv), 0);
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	viommu_drv_domain_destroy(domain);
}

static void driver_config_02(void **state)
{
	const struct viommu_drv_config config = {.take_bypass = true, .bypass = true};
	struct peer *peer = peer_create();

	(void)state;
	assert_int_equal(peer_start(peer, &config), 0);
	whole_life(peer);
	assert_true(peer->config_writes_nr > 1);
	for (unsigned i = 0; i < peer->config_writes_nr; i++) {
		assert_int_equal(peer->config_writes[i].offset, BYPASS_OFFSET);
		assert_int_equal(peer->config_writes[i].len, 1);
	}
	peer_destroy(peer);
	peer = peer_create_started();
	whole_life(peer);
	assert_int_equal(peer->config_writes_nr, 0);
	peer_destroy(peer);
}

static void driver_config_03(void **state)
{
	struct viommu_drv_config config = {.take_bypass = true};
	struct peer *peer = peer_create();
	uint8_t odd = 0x81;

	(void)state;
	/* Whatever the caller's bool holds. */
	config.bypass = odd;
	assert_int_equal(peer_start(peer, &config), 0);
	assert_int_equal(peer->config_writes[0].value, 1);
	peer_destroy(peer);
}

static void driver_config_04(void **state)
{
	struct peer *peer = peer_create();

	(void)state;
	/* It never reads the byte, so no bit of it can count. */
	peer->config.bypass = 0xfe;
	assert_int_equal(peer_start(peer, NULL), 0);
	whole_life(peer);
	assert_true(peer->log_nr > 0);
	assert_int_equal(peer->bypass_reads, 0);
	peer_destroy(peer);
}

static void driver_init_01(void **state)
{
	const struct viommu_drv_config config = {.no_map_unmap = true};
	const struct viommu_drv_domain_config bypass = {.bypass = true};
	struct peer *peer = peer_create();
	struct viommu_drv_domain *domain;

	(void)state;
	assert_int_equal(peer_start(peer, &config), 0);
	assert_int_equal(peer->accepted & BIT(VIRTIO_IOMMU_F_MAP_UNMAP), 0);
	assert_int_equal(viommu_drv_domain_create(peer->drv, NULL, &domain), -EOPNOTSUPP);
	viommu_drv_domain_destroy(peer_domain(peer, &bypass));
	peer_destroy(peer);
	/* Without MAP_UNMAP it fails gracefully. */
	peer = peer_create();
	peer->offered &= ~BIT(VIRTIO_IOMMU_F_MAP_UNMAP);
	assert_int_equal(peer_start(peer, NULL), -ENODEV);
	peer_destroy(peer);
}

static void driver_init_02(void **state)
{
	struct peer *peer = peer_create_started();
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain = attached(peer, &ep);
	const struct virtio_iommu_req_probe *req;

	(void)state;
	assert_int_equal(peer->log[0].type, VIRTIO_IOMMU_T_PROBE);
	assert_int_equal(peer->log[1].type, VIRTIO_IOMMU_T_ATTACH);
	req = (const void *)peer->log[0].bytes;
	assert_int_equal(req->endpoint, 5);
	done(peer, domain, ep);
	peer = peer_create();
	peer->offered &= ~BIT(VIRTIO_IOMMU_F_PROBE);
	assert_int_equal(peer_start(peer, NULL), 0);
	domain = attached(peer, &ep);
	assert_int_equal(peer_count(peer, VIRTIO_IOMMU_T_PROBE), 0);
	done(peer, domain, ep);
}

static void driver_ops_01(void **state)
{
	struct peer *peer = peer_create_started();

	(void)state;
	whole_life(peer);
	for (unsigned i = 0; i < peer->log_nr; i++)
		assert_memory_equal(peer->log[i].bytes + 1, "\0\0", 3);
	peer_destroy(peer);
}

/* And notes the types it was done for. */
static void set_reserved(struct peer *peer, const struct peer_request *req,
			 struct peer_reply *reply)
{
	unsigned *types = peer->script_arg;

	*types |= 1u << req->type;
	memset(reply->reserved, 0xff, sizeof(reply->reserved));
}

static void refuse_map(struct peer *peer, const struct peer_request *req,
		       struct peer_reply *reply)
{
	set_reserved(peer, req, reply);
	if (req->type != VIRTIO_IOMMU_T_MAP)
		return;
	reply->status = VIRTIO_IOMMU_S_NOMEM;
	peer->mappings_nr--;
}

static void driver_ops_02(void **state)
{
	const unsigned all = 1u << VIRTIO_IOMMU_T_ATTACH | 1u << VIRTIO_IOMMU_T_DETACH |
			     1u << VIRTIO_IOMMU_T_MAP | 1u << VIRTIO_IOMMU_T_UNMAP |
			     1u << VIRTIO_IOMMU_T_PROBE;
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct peer *peer = peer_create_started();
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	unsigned types = 0;

	(void)state;
	peer->script_arg = &types;
	peer->script = set_reserved;
	whole_life(peer);
	domain = attached(peer, &ep);
	assert_int_equal(map(domain, peer, 0x1000, 0x1fff), 0);
	assert_int_equal(viommu_drv_unmap(domain, 0x1000, 0x1fff, &batch), 1);
	assert_int_equal(viommu_drv_sync(peer->drv, &batch), 0);
	assert_int_equal(types, all);
	/* Nor do they hide a failure. */
	peer->script = refuse_map;
	assert_int_equal(map(domain, peer, 0x1000, 0x1fff), -ENOMEM);
	peer->script = set_reserved;
	assert_int_equal(viommu_drv_health(peer->drv), 0);
	done(peer, domain, ep);
}

static void use_nothing(struct peer *peer, const struct peer_request *req,
			struct peer_reply *reply)
{
	(void)peer;
	if (req->type == VIRTIO_IOMMU_T_UNMAP || req->type == VIRTIO_IOMMU_T_DETACH)
		reply->used = 0;
}

static void driver_ops_03(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct peer *peer = peer_create_started();
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain = attached(peer, &ep);

	(void)state;
	assert_int_equal(map(domain, peer, 0x1000, 0x1fff), 0);
	peer->script = use_nothing;
	assert_int_equal(viommu_drv_unmap(domain, 0x1000, 0x1fff, &batch), 1);
	assert_int_equal(viommu_drv_sync(peer->drv, &batch), -EIO);
	assert_int_equal(viommu_drv_detach(ep), -EIO);
	assert_int_equal(viommu_drv_health(peer->drv), 0);
	peer->script = NULL;
	assert_int_equal(viommu_drv_reset(peer->drv), 0);
	done(peer, domain, ep);
}

static void driver_ops_04(void **state)
{
	struct peer *peer = peer_create();
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	uint64_t iova;

	(void)state;
	peer->config.input_start = 0x100000;
	peer->config.input_last = 0x1fffff;
	assert_int_equal(peer_start(peer, NULL), 0);
	domain = attached(peer, &ep);
	assert_int_equal(map(domain, peer, 0xff000, 0x100fff), -ERANGE);
	assert_int_equal(map(domain, peer, 0x1ff000, 0x200fff), -ERANGE);
	assert_int_equal(map(domain, peer, 0x100000, 0x100fff), 0);
	assert_int_equal(map(domain, peer, 0x1ff000, 0x1fffff), 0);
	while (!viommu_drv_dma_map(ep, 0, 0x3000, RW, &iova) ||
	       !viommu_drv_dma_map(ep, 0, 1, RW, &iova))
		;
	for (unsigned i = 0; i < peer->mappings_nr; i++)
		assert_true(peer->mappings[i].start >= 0x100000 &&
			    peer->mappings[i].last <= 0x1fffff);
	done(peer, domain, ep);
}

static void driver_ops_05(void **state)
{
	struct viommu_drv_domain *domain[3], *more;
	struct peer *peer = peer_create();
	struct viommu_drv_endpoint *ep;

	(void)state;
	peer->config.domain_first = 7;
	peer->config.domain_last = 9;
	assert_int_equal(peer_start(peer, NULL), 0);
	ep = peer_endpoint(peer, 1);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 3; i++) {
			domain[i] = peer_domain(peer, NULL);
			assert_in_range(viommu_drv_domain_id(domain[i]), 7, 9);
			assert_int_equal(viommu_drv_attach(domain[i], ep), 0);
		}
		assert_int_equal(viommu_drv_domain_create(peer->drv, NULL, &more),
				 -ENOSPC);
		assert_int_equal(viommu_drv_detach(ep), 0);
		for (unsigned i = 0; i < 3; i++)
			viommu_drv_domain_destroy(domain[i]);
	}
	for (unsigned i = 0; i < peer_count(peer, VIRTIO_IOMMU_T_ATTACH); i++) {
		const struct virtio_iommu_req_attach *req =
			(const void *)peer_nth(peer, VIRTIO_IOMMU_T_ATTACH, i)->bytes;

		assert_in_range(req->domain, 7, 9);
	}
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	peer_destroy(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(driver_features_01), cmocka_unit_test(driver_config_01),
		cmocka_unit_test(driver_config_02),   cmocka_unit_test(driver_config_03),
		cmocka_unit_test(driver_config_04),   cmocka_unit_test(driver_init_01),
		cmocka_unit_test(driver_init_02),     cmocka_unit_test(driver_ops_01),
		cmocka_unit_test(driver_ops_02),      cmocka_unit_test(driver_ops_03),
		cmocka_unit_test(driver_ops_04),      cmocka_unit_test(driver_ops_05),
	};

	return cmocka_run_group_tests_name("driver start", tests, NULL, NULL);
}
