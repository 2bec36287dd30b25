/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The virtio disk on a thread of its own while the guest's IOMMU driver maps and
 * unmaps on another: each page is unmapped right after its request, or, now and
 * then, while it is under way.
 */
#include "vdisk.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUNDS 400u
#define PAGES  8u

struct loop {
	struct vdisk *v;
	pthread_t thread;
	int eventfd;
	bool stop, kicked; /* atomic */
};

static void loop_wake(void *opaque)
{
	struct loop *l = opaque;
	uint64_t one = 1;

	assert_int_equal(write(l->eventfd, &one, sizeof(one)), sizeof(one));
}

static void sleep_a_while(struct loop *l)
{
	struct pollfd fds[ENDPOINT_FDS_MAX + 1] = {{.fd = l->eventfd, .events = POLLIN}};
	int nr = endpoint_fds(l->v->drv.g->ep, fds + 1, ENDPOINT_FDS_MAX);
	uint64_t count;

	poll(fds, (nfds_t)nr + 1, 100);
	if (fds[0].revents)
		assert_int_equal(read(l->eventfd, &count, sizeof(count)), sizeof(count));
}

/* As the daemon's: accesses, turns, sleep. */
static void *run_loop(void *arg)
{
	struct loop *l = arg;

	while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
		if (__atomic_exchange_n(&l->kicked, false, __ATOMIC_ACQ_REL))
			vdrv_kick(&l->v->drv, 0);
		if (endpoint_poll(l->v->drv.g->ep, 64) || endpoint_arm(l->v->drv.g->ep))
			continue;
		sleep_a_while(l);
	}
	return NULL;
}

static void kick(struct loop *l)
{
	__atomic_store_n(&l->kicked, true, __ATOMIC_RELEASE);
	loop_wake(l);
}

static void send_read(struct loop *l, struct vdisk_req *req, uint64_t offset)
{
	struct vdisk *v = l->v;
	struct drvq_buf bufs[3];

	vdisk_prepare(v, req, VIRTIO_BLK_T_IN, 0);
	bufs[0] = (struct drvq_buf){guest_iova(v->drv.g, req->head), 16};
	bufs[1] = (struct drvq_buf){guest_iova(v->drv.g, offset), 4096};
	bufs[2] = (struct drvq_buf){guest_iova(v->drv.g, req->status), 1};
	assert_int_equal(drvq_add(&v->drv.q[0], bufs, 1, 2, req), 0);
	if (drvq_publish(&v->drv.q[0]))
		kick(l);
}

/* At most some seconds. */
static void wait_for(struct vdisk *v, const struct vdisk_req *req)
{
	for (unsigned i = 0; i < 20000 && !req->done; i++) {
		if (!vdisk_collect(v))
			usleep(200);
	}
	assert_true(req->done);
}

static unsigned unmap(struct vdisk *v, uint64_t offset)
{
	unsigned r = guest_unmap(v->drv.g, offset, 4096);

	for (unsigned i = 0; r == GUEST_PARKED && i < 20000; i++) {
		usleep(100);
		r = guest_unpark(v->drv.g);
	}
	return r;
}

static void round_of_pages(struct loop *l, struct rng *rng)
{
	struct vdisk *v = l->v;
	struct vdisk_req reqs[PAGES];
	bool early[PAGES];

	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t at = VDISK_HOLE + i * 4096ull;

		assert_int_equal(guest_map(v->drv.g, at, 4096, RW), 0);
		send_read(l, &reqs[i], at);
		early[i] = rng_chance(rng, 20);
		if (early[i])
			assert_int_equal(unmap(v, at), VIRTIO_IOMMU_S_OK);
	}
	for (unsigned i = 0; i < PAGES; i++) {
		uint8_t *status = guest_at(v->drv.g, reqs[i].status);

		wait_for(v, &reqs[i]);
		assert_true(*status == VIRTIO_BLK_S_OK ||
			    (early[i] && *status == VIRTIO_BLK_S_IOERR));
		if (!early[i])
			assert_int_equal(unmap(v, VDISK_HOLE + i * 4096ull),
					 VIRTIO_IOMMU_S_OK);
	}
}

static void run(const char *options, struct vdrv_shape shape)
{
	struct loop l = {.v = vdisk_create(options, shape)};
	struct rng rng = rng_init(test_seed());

	l.eventfd = eventfd(0, EFD_NONBLOCK);
	l.v->drv.g->wake = loop_wake;
	l.v->drv.g->wake_opaque = &l;
	assert_int_equal(pthread_create(&l.thread, NULL, run_loop, &l), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		round_of_pages(&l, &rng);
	__atomic_store_n(&l.stop, true, __ATOMIC_RELEASE);
	loop_wake(&l);
	pthread_join(l.thread, NULL);
	vdisk_destroy(l.v);
	close(l.eventfd);
}

static void on_memory(void **state)
{
	(void)state;
	run("backend=mem,size=1M", (struct vdrv_shape){.iommu = true, .indirect = true});
}

static void on_nothing_with_a_packed_ring(void **state)
{
	(void)state;
	run("backend=null,size=1M",
	    (struct vdrv_shape){.iommu = true, .packed = true, .event_idx = true});
}

static void on_a_file(void **state)
{
	char path[] = "/tmp/viommu-blk-XXXXXX", text[64];
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	snprintf(text, sizeof(text), "path=%s", path);
	run(text, (struct vdrv_shape){.iommu = true, .event_idx = true});
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_memory),
		cmocka_unit_test(on_nothing_with_a_packed_ring),
		cmocka_unit_test(on_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
