/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "driver_rig.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/atomic.h"

/* Spins before a waiting thread gives its CPU to others. */
#define SPINS_BEFORE_YIELD 2000u
/* Requests and operations between two looks at the other kind of work. */
#define REQUESTS_A_TURN 64u

static __thread unsigned this_cpu;

/* What each look at the clock adds to it, if there is no device thread. */
#define ALONE_TICK_NS 100u
static uint64_t alone_ns; /* 0: there is one */

uint64_t rig_now(void)
{
	struct timespec t;

	if (alone_ns)
		return alone_ns += ALONE_TICK_NS;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

const uint64_t *rig_clock(void)
{
	return &alone_ns;
}

void rig_set_cpu(unsigned cpu)
{
	this_cpu = cpu;
}

void rig_pin(unsigned host_cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(host_cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* ---- host ---- */

static void *host_alloc(void *opaque, size_t len, size_t align)
{
	void *p = NULL;

	(void)opaque;
	return posix_memalign(&p, align < sizeof(p) ? sizeof(p) : align, len) ? NULL : p;
}

static void host_free(void *opaque, void *p, size_t len)
{
	(void)opaque;
	(void)len;
	free(p);
}

static uint64_t host_now(void *opaque)
{
	(void)opaque;
	return rig_now();
}

/* The device thread polls. */
static void host_wake(void *opaque)
{
	(void)opaque;
}

static int map_ring(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
		    struct viommu_span *out)
{
	struct rig *rig = opaque;

	(void)perm;
	if (addr >= RIG_MEMORY_LEN)
		return -EFAULT;
	out->hva = rig->memory + addr;
	out->len = len < RIG_MEMORY_LEN - addr ? len : RIG_MEMORY_LEN - addr;
	return 0;
}

/* The IOMMU's requests, if there are any: one look at the ring when not. */
static void serve_iommu(struct rig *rig)
{
	if (rig->status & 4 && viommu_virtq_has_work(&rig->vq[VIOMMU_QUEUE_REQUEST]))
		viommu_device_process(rig->iommu, REQUESTS_A_TURN);
}

/* Copies the pieces of one operation to the disk: real data, larger than caches.
 * One thread is IOMMU and disk here, so the IOMMU's turn comes after each page. */
static int write_disk(struct rig *rig, const struct rig_command *c)
{
	int r = 0;

	for (uint32_t i = 0; !r && i < c->pieces_nr; i++) {
		if (rig->disk_at + c->len > RIG_DISK_LEN)
			rig->disk_at = 0;
		r = viommu_dma_read(rig->dma, c->iova[i], rig->disk + rig->disk_at,
				    c->len);
		rig->disk_at += c->len;
		serve_iommu(rig);
	}
	return r;
}

static void serve_disk(struct rig *rig, struct rig_ring *ring)
{
	/* Pairs with the release in the bench's post(): the command is whole. */
	uint32_t posted = load_acquire(&ring->posted), done = ring->done;
	struct rig_command *c = &ring->command[done % RIG_RING];

	if (posted == done)
		return;
	c->status = write_disk(rig, c);
	/* Pairs with the acquire in the bench's reap(): the status is there. */
	store_release(&ring->done, done + 1);
}

static void serve_pause(struct rig *rig)
{
	store_release(&rig->paused, 1);	  /* pairs with device_pause() */
	while (load_acquire(&rig->pause)) /* pairs with device_resume() */
		sched_yield();
	store_release(&rig->paused, 0);
}

static void device_turn(struct rig *rig)
{
	serve_iommu(rig);
	for (unsigned i = 0; i < RIG_THREADS_MAX; i++)
		serve_disk(rig, &rig->ring[i]);
}

static void *device_thread(void *opaque)
{
	struct rig *rig = opaque;

	rig_pin(1);
	while (load_relaxed(&rig->running)) {
		if (load_acquire(&rig->pause))
			serve_pause(rig);
		device_turn(rig);
	}
	return NULL;
}

/* The device's turn if it has no thread. */
static bool turn_alone(struct rig *rig)
{
	if (!rig->alone)
		return false;
	store_relaxed(&rig->side, 1);
	device_turn(rig);
	store_relaxed(&rig->side, 0);
	return true;
}

void rig_idle(struct rig *rig)
{
	if (!turn_alone(rig))
		sched_yield();
}

/* Control calls of the device from another thread. */
static void device_pause(struct rig *rig)
{
	if (!load_relaxed(&rig->running))
		return;
	store_release(&rig->pause, 1);
	while (!load_acquire(&rig->paused))
		sched_yield();
}

static void device_resume(struct rig *rig)
{
	store_release(&rig->pause, 0);
	while (load_relaxed(&rig->running) && load_acquire(&rig->paused))
		sched_yield();
}

/* ---- the bus ---- */

static uint64_t get_features(void *opaque)
{
	return viommu_device_features(((struct rig *)opaque)->iommu) | 1ull << 32 |
	       1ull << 28 | 1ull << 29 | 1ull << 34;
}

static void set_features(void *opaque, uint64_t features)
{
	((struct rig *)opaque)->features = features;
}

static uint8_t get_status(void *opaque)
{
	return ((struct rig *)opaque)->status;
}

static void set_status(void *opaque, uint8_t status)
{
	struct rig *rig = opaque;

	device_pause(rig);
	if (!status)
		viommu_device_reset(rig->iommu);
	if (status & ~rig->status & 8 &&
	    viommu_device_set_features(rig->iommu, rig->features & 0xffffff))
		status &= (uint8_t)~8u;
	rig->status = status;
	device_resume(rig);
}

static void config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	viommu_device_config_read(((struct rig *)opaque)->iommu, offset, buf, len);
}

static void config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	viommu_device_config_write(((struct rig *)opaque)->iommu, offset, buf, len);
}

static uint32_t config_generation(void *opaque)
{
	(void)opaque;
	return 0;
}

static uint16_t queue_max(void *opaque, uint16_t index)
{
	(void)opaque;
	return index < VIOMMU_QUEUES_NR ? 256 : 0;
}

static int queue_setup(void *opaque, const struct viommu_drv_queue_setup *s)
{
	const struct viommu_virtq_config config = {
		.size = s->size,
		.packed = ((struct rig *)opaque)->features >> 34 & 1,
		.event_idx = ((struct rig *)opaque)->features >> 29 & 1,
		.indirect = ((struct rig *)opaque)->features >> 28 & 1,
		.desc = s->desc,
		.driver = s->driver,
		.device = s->device,
	};
	struct rig *rig = opaque;
	struct viommu_virtq *vq = &rig->vq[s->index];
	int r;

	device_pause(rig);
	r = viommu_virtq_init(vq, &config, (struct viommu_ring_mem){map_ring, rig});
	if (!r)
		r = viommu_device_set_queue(rig->iommu, s->index, vq);
	/* The device polls: no kicks. */
	viommu_virtq_disable_notify(vq);
	device_resume(rig);
	return r;
}

static void kick(void *opaque, uint16_t index)
{
	(void)opaque;
	(void)index;
}

static const struct viommu_drv_transport transport = {
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.config_read = config_read,
	.config_write = config_write,
	.config_generation = config_generation,
	.queue_max = queue_max,
	.queue_setup = queue_setup,
	.kick = kick,
};

/* ---- guest ---- */

static void spin_lock(uint32_t *lock)
{
	/* Pairs with the release in spin_unlock(): what the last owner wrote. */
	for (unsigned spins = 0; __atomic_exchange_n(lock, 1u, __ATOMIC_ACQUIRE);)
		while (load_relaxed(lock))
			if (++spins % 256 == 0)
				sched_yield();
			else
				cpu_relax();
}

static void spin_unlock(uint32_t *lock)
{
	store_release(lock, 0u); /* pairs with spin_lock() */
}

static uintptr_t guest_lock(void *opaque, struct viommu_drv_lock *lock)
{
	(void)opaque;
	spin_lock((uint32_t *)lock);
	return 0;
}

static void guest_unlock(void *opaque, struct viommu_drv_lock *lock, uintptr_t state)
{
	(void)opaque;
	(void)state;
	spin_unlock((uint32_t *)lock);
}

static unsigned guest_cpu(void *opaque)
{
	(void)opaque;
	return this_cpu;
}

static void guest_relax(void *opaque, unsigned spins)
{
	if (turn_alone(opaque))
		return;
	if (spins > SPINS_BEFORE_YIELD)
		sched_yield();
	else
		cpu_relax();
}

static int guest_timer_arm(void *opaque, struct viommu_drv_timer *timer,
			   uint64_t delay_ns)
{
	struct rig *rig = opaque;

	spin_lock(&rig->timer_lock);
	rig->timer = timer;
	store_relaxed(&rig->timer_due, rig_now() + delay_ns);
	spin_unlock(&rig->timer_lock);
	return 0;
}

static void guest_timer_cancel(void *opaque, struct viommu_drv_timer *timer)
{
	struct rig *rig = opaque;

	(void)timer;
	spin_lock(&rig->timer_lock);
	rig->timer = NULL;
	store_relaxed(&rig->timer_due, 0);
	spin_unlock(&rig->timer_lock);
}

void rig_tick(struct rig *rig)
{
	uint64_t due = load_relaxed(&rig->timer_due);
	struct viommu_drv_timer *timer = NULL;

	if (!due || rig_now() < due)
		return;
	spin_lock(&rig->timer_lock);
	if (rig->timer_due == due) {
		timer = rig->timer;
		store_relaxed(&rig->timer_due, 0);
	}
	spin_unlock(&rig->timer_lock);
	if (timer)
		viommu_drv_timer(timer);
}

uint64_t rig_memory(struct rig *rig, size_t len, size_t align)
{
	uint64_t at = (rig->memory_used + align - 1) & ~(align - 1);

	if (at > RIG_MEMORY_LEN || len > RIG_MEMORY_LEN - at)
		abort();
	rig->memory_used = at + len;
	return at;
}

static void *guest_alloc_shared(void *opaque, size_t len, size_t align, uint64_t *pa)
{
	struct rig *rig = opaque;

	*pa = rig_memory(rig, len, align);
	return rig->memory + *pa;
}

static void guest_free_shared(void *opaque, void *p, size_t len)
{
	(void)opaque;
	(void)p;
	(void)len;
}

static const struct viommu_drv_platform platform = {
	.alloc = host_alloc,
	.free = host_free,
	.alloc_shared = guest_alloc_shared,
	.free_shared = guest_free_shared,
	.lock = guest_lock,
	.unlock = guest_unlock,
	.cpu = guest_cpu,
	.cpus_nr = RIG_THREADS_MAX,
	.now_ns = host_now,
	.relax = guest_relax,
	.timer_arm = guest_timer_arm,
	.timer_cancel = guest_timer_cancel,
};

/* ---- a line that goes to and fro ---- */

#define HOPS 1000000u /* round trips */

static uint32_t ball __attribute__((aligned(64)));

/* Both orders pair with the other side's: no more than the line's own. */
static void play(uint32_t from)
{
	for (uint32_t i = from; i < 2 * HOPS; i += 2) {
		while (load_acquire(&ball) != i)
			cpu_relax();
		store_release(&ball, i + 1);
	}
}

static void *answer(void *unused)
{
	rig_pin(1);
	play(1);
	return unused;
}

double rig_hop_ns(void)
{
	pthread_t other;
	uint64_t start;

	store_relaxed(&ball, 0);
	rig_pin(0);
	if (pthread_create(&other, NULL, answer, NULL))
		abort();
	start = rig_now();
	play(0);
	pthread_join(other, NULL);
	return (double)(rig_now() - start) / (2.0 * HOPS);
}

/* ---- life ---- */

/* fill: with what is no zero page. */
static uint8_t *map_memory(size_t len, bool fill)
{
	uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	(void)madvise(p, len, MADV_HUGEPAGE);
	if (fill)
		memset(p, 0x77, len);
	return p;
}

static int start_host(struct rig *rig)
{
	static const struct viommu_alloc alloc = {host_alloc, host_free, NULL};
	static const struct viommu_device_ops ops = {.wake = host_wake,
						     .now_ns = host_now};
	const struct viommu_device_config config = {0};
	const struct viommu_endpoint_config endpoint = {.id = 8};
	int r = viommu_device_create(&config, &ops, rig, &alloc, NULL, &rig->iommu);

	if (!r)
		r = viommu_mem_create(&alloc, &rig->mem);
	if (!r)
		r = viommu_mem_add(rig->mem, 0, RIG_MEMORY_LEN, rig->memory, 0);
	if (!r)
		r = viommu_endpoint_add(rig->iommu, &endpoint, &rig->ep);
	if (!r)
		r = viommu_dma_create(rig->ep, rig->mem, &alloc, NULL, NULL,
				      &rig->dma_behind);
	if (!r)
		r = viommu_dma_create(NULL, rig->mem, &alloc, NULL, NULL,
				      &rig->dma_direct);
	rig->dma = rig->dma_behind;
	return r;
}

static pthread_t device;

struct rig *rig_create(bool split, bool alone)
{
	const struct viommu_drv_endpoint_config endpoint = {.id = 8};
	const struct viommu_drv_config config = {.no_packed = split};
	struct rig *rig = aligned_alloc(64, sizeof(*rig));

	if (!rig)
		abort();
	memset(rig, 0, sizeof(*rig));
	rig->memory = map_memory(RIG_MEMORY_LEN, !alone);
	rig->disk = map_memory(RIG_DISK_LEN, !alone);
	/* Page 0 stays unused: 0 is no address. */
	rig->memory_used = 4096;
	if (start_host(rig))
		abort();
	rig->alone = alone;
	alone_ns = alone;
	store_relaxed(&rig->running, !alone);
	if ((!alone && pthread_create(&device, NULL, device_thread, rig)) ||
	    viommu_drv_create(&platform, rig, &transport, rig, &config, &rig->drv) ||
	    viommu_drv_endpoint_create(rig->drv, &endpoint, &rig->drv_ep))
		abort();
	return rig;
}

void rig_destroy(struct rig *rig)
{
	viommu_drv_endpoint_destroy(rig->drv_ep);
	viommu_drv_destroy(rig->drv);
	if (exchange_full(&rig->running, 0u))
		pthread_join(device, NULL);
	viommu_dma_destroy(rig->dma_behind);
	viommu_dma_destroy(rig->dma_direct);
	viommu_endpoint_remove(rig->ep);
	viommu_mem_destroy(rig->mem);
	viommu_device_destroy(rig->iommu);
	munmap(rig->memory, RIG_MEMORY_LEN);
	munmap(rig->disk, RIG_DISK_LEN);
	free(rig);
}
