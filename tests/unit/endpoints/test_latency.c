/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* How long I/O took: what is counted as what, how often, from when to when. */
#include "nvme_host.h"
#include "vdisk.h"
#include "vnic.h"

#include "endpoints/latency.h"

#define SECOND 1000000000ull

static struct latency l;

static uint64_t at(enum latency_kind kind, unsigned permille)
{
	return viommu_histogram_at(&l.kind[kind].ns, permille);
}

/* ---- alone ---- */

static void nothing(void **state)
{
	(void)state;
	l = (struct latency){0};
	latency_publish(&l);
	latency_add(&l, 7);
	assert_int_equal(l.kind[LATENCY_READ].ns.nr, 0);
	assert_int_equal(at(LATENCY_READ, 500), 0);
	assert_int_equal(at(LATENCY_READ, 990), 0);
}

static void one_of_each(void **state)
{
	(void)state;
	l = (struct latency){0};
	latency_done(&l, LATENCY_READ, 100);
	assert_true(l.waiting);
	/* Not before it is published. */
	assert_int_equal(l.kind[LATENCY_READ].ns.nr, 0);
	latency_done(&l, LATENCY_WRITE, 40);
	latency_add(&l, 107);
	assert_false(l.waiting);
	assert_int_equal(l.kind[LATENCY_READ].ns.nr, 1);
	assert_int_equal(at(LATENCY_READ, 1), 7);
	assert_int_equal(at(LATENCY_READ, 500), 7);
	assert_int_equal(at(LATENCY_READ, 990), 7);
	assert_int_equal(l.kind[LATENCY_READ].ns.max, 7);
	assert_int_equal(l.kind[LATENCY_WRITE].ns.max, 67);
	assert_int_equal(l.kind[LATENCY_OTHER].ns.nr, 0);
}

/* The last bucket takes all that is larger, and the maximum is exact. A clock that
 * goes back is survived. */
static void edges(void **state)
{
	(void)state;
	l = (struct latency){0};
	latency_done(&l, LATENCY_OTHER, 1);
	latency_add(&l, UINT64_MAX);
	assert_int_equal(l.kind[LATENCY_OTHER].ns.bucket[VIOMMU_HISTOGRAM_BUCKETS - 1],
			 1);
	assert_int_equal(at(LATENCY_OTHER, 500), UINT64_MAX - 1);
	latency_done(&l, LATENCY_READ, 10);
	latency_add(&l, 9);
	latency_done(&l, LATENCY_READ, 9);
	latency_add(&l, 9);
	assert_int_equal(l.kind[LATENCY_READ].ns.bucket[0], 2);
	assert_int_equal(at(LATENCY_READ, 990), 0);
}

/* What was taken together is added together; so many turns wait for one reading of
 * the clock, and at one more nothing is lost. */
static void runs(void **state)
{
	const struct viommu_histogram *h = &l.kind[LATENCY_READ].ns;

	(void)state;
	l = (struct latency){0};
	for (uint64_t turn = 0; turn < LATENCY_RUNS_MAX; turn++)
		for (unsigned i = 0; i < 64; i++)
			latency_done(&l, LATENCY_READ, turn);
	assert_int_equal(h->nr, 0);
	latency_add(&l, 1000);
	assert_int_equal(h->nr, LATENCY_RUNS_MAX * 64);
	assert_int_equal(h->max, 1000);
	assert_int_equal(h->sum,
			 LATENCY_RUNS_MAX * 64 * 1000 -
				 64 * LATENCY_RUNS_MAX * (LATENCY_RUNS_MAX - 1) / 2);
	for (uint64_t turn = 0; turn <= LATENCY_RUNS_MAX; turn++)
		latency_done(&l, LATENCY_READ, turn);
	assert_int_equal(h->nr, LATENCY_RUNS_MAX * 65);
	latency_add(&l, 1000);
	assert_int_equal(h->nr, LATENCY_RUNS_MAX * 65 + 1);
	/* A reset: nobody was told. */
	latency_done(&l, LATENCY_READ, 3);
	latency_forget(&l);
	latency_add(&l, 1000);
	assert_int_equal(h->nr, LATENCY_RUNS_MAX * 65 + 1);
}

/* ---- endpoints ---- */

struct wanted {
	const char *name;
	struct viommu_histogram h;
	bool found;
};

static void find(void *opaque, const char *name, const struct viommu_histogram *h)
{
	struct wanted *w = opaque;

	if (strcmp(name, w->name))
		return;
	w->h = *h;
	w->found = true;
}

static struct viommu_histogram of(struct guest *g, const char *name)
{
	struct wanted w = {.name = name};

	endpoint_latencies(g->ep, find, &w);
	if (!w.found)
		fail_msg("no latency of %s", name);
	return w.h;
}

static uint64_t fastest(struct guest *g, const char *name)
{
	struct viommu_histogram h = of(g, name);

	return viommu_histogram_at(&h, 1);
}

/* A turn that has lasted a second already. */
static uint64_t a_second_ago(void *opaque)
{
	(void)opaque;
	return endpoint_now_ns() - SECOND;
}

static void nvme(void **state)
{
	struct host h = host_create(true, "backend=mem,size=1M");
	struct nvme_cmd flush = {.opcode = NVME_IO_FLUSH, .nsid = htole32(1)};

	(void)state;
	host_add_queue(&h, 1);
	h.g->ep->env.turn_ns = a_second_ago;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(host_rw(&h, NVME_IO_READ, i, 1, 0), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(host_rw(&h, NVME_IO_WRITE, i, 1, 0), 0);
	assert_int_equal(host_command(&h, 1, flush, NULL), 0);
	/* Those that are refused take their time too. */
	assert_int_not_equal(host_rw(&h, NVME_IO_READ, 1 << 20, 1, 0), 0);
	assert_int_equal(of(h.g, "read").nr, 21);
	assert_true(fastest(h.g, "read") >= SECOND);
	assert_int_equal(of(h.g, "write").nr, 3);
	assert_int_equal(of(h.g, "other").nr, 1);
	host_destroy(&h);
}

static void blk(void **state)
{
	struct vdisk *v =
		vdisk_create("backend=mem,size=1M", (struct vdrv_shape){.iommu = true});
	struct guest *g = v->drv.g;

	(void)state;
	g->ep->env.turn_ns = a_second_ago;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(vdisk_read(v, i, VDISK_DATA, 512), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vdisk_write(v, i, VDISK_DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(vdisk_do(v, VIRTIO_BLK_T_FLUSH, 0, 0, 0, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(vdisk_do(v, 77, 0, 0, 0, NULL), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(of(g, "read").nr, 20);
	assert_true(fastest(g, "read") >= SECOND);
	assert_int_equal(of(g, "write").nr, 3);
	assert_int_equal(of(g, "other").nr, 2);
	vdisk_destroy(v);
}

static void net(const char *options)
{
	struct vnic *v = vnic_create(options, (struct vdrv_shape){.iommu = true});
	struct virtio_net_hdr header = {0};
	uint8_t frame[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54};

	v->drv.g->ep->env.turn_ns = a_second_ago;
	for (unsigned i = 0; i < 20; i++)
		vnic_send(v, 0, &header, frame, sizeof(frame), 0);
	assert_int_equal(of(v->drv.g, "tx").nr, 20);
	assert_true(fastest(v->drv.g, "tx") >= SECOND);
	vnic_destroy(v);
}

/* Sent inside the section, and from a copy behind it. */
static void nets(void **state)
{
	(void)state;
	net("backend=null");
	net("backend=user");
}

/* Kinds without any tell nothing. */
static void dmatest(void **state)
{
	struct guest *g = guest_create(false);
	struct wanted w = {.name = "read"};

	(void)state;
	assert_int_equal(guest_endpoint(g, "dmatest", NULL), 0);
	endpoint_latencies(g->ep, find, &w);
	assert_false(w.found);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing), cmocka_unit_test(one_of_each),
		cmocka_unit_test(edges),   cmocka_unit_test(runs),
		cmocka_unit_test(nvme),	   cmocka_unit_test(blk),
		cmocka_unit_test(nets),	   cmocka_unit_test(dmatest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
