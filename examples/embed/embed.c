/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A virtio-iommu, a device behind it and the driver for both, in one process and
 * one thread. What a VMM does is in "the host", what an operating system does in
 * "the guest"; "the bus" would be PCI. Guest-physical addresses are pointers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <viommu/device.h>
#include <viommu/dma.h>
#include <viommu_drv.h>

#define MEMORY_LEN  (4u << 20)
#define ENDPOINT_ID 8

static uint8_t memory[MEMORY_LEN] __attribute__((aligned(4096))); /* the guest's */
static size_t memory_used;
/* clang-format off */ /* a trivial function is a line */
/* ---- the host ---- */

static struct host {
	struct viommu_device *iommu;
	struct viommu_mem *mem;
	struct viommu_endpoint *ep;
	struct viommu_dma *dma; /* how the device behind the IOMMU reaches memory */
	struct viommu_virtq vq[VIOMMU_QUEUES_NR];
	uint64_t features;
	uint8_t status;
} host; /* a VMM with several devices uses `opaque` instead */

static void *host_alloc(void *opaque, size_t len, size_t align)
{
	return aligned_alloc(align, (len + align - 1) & ~(align - 1));
}

static void host_free(void *opaque, void *p, size_t len) { free(p); }
static uint64_t now_ns(void *opaque)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Something came up outside of process(). Here it is called all the time. */
static void wake(void *opaque) {}
/* The rings are reached by address, checked against the guest's memory. */
static int map_ring(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
		    struct viommu_span *out)
{
	uint64_t offset = addr - (uintptr_t)memory;

	if (offset >= MEMORY_LEN)
		return -EFAULT;
	out->hva = memory + offset;
	out->len = len < MEMORY_LEN - offset ? len : MEMORY_LEN - offset;
	return 0;
}

static int host_start(void)
{
	static const struct viommu_alloc alloc = {host_alloc, host_free, NULL};
	static const struct viommu_device_ops ops = {.wake = wake, .now_ns = now_ns};
	const struct viommu_device_config config = {0}; /* good defaults */
	const struct viommu_endpoint_config endpoint = {.id = ENDPOINT_ID};
	int r;

	if ((r = viommu_device_create(&config, &ops, NULL, &alloc, NULL, &host.iommu)) ||
	    (r = viommu_mem_create(&alloc, &host.mem)) ||
	    (r = viommu_mem_add(host.mem, (uintptr_t)memory, MEMORY_LEN, memory, 0)) ||
	    (r = viommu_endpoint_add(host.iommu, &endpoint, &host.ep)))
		return r;
	return viommu_dma_create(host.ep, host.mem, &alloc, NULL, NULL, &host.dma);
}

/* ---- the bus ---- */

/* The transport adds VERSION_1, indirect descriptors, event index. */
static uint64_t get_features(void *opaque)
{
	return viommu_device_features(host.iommu) | 1ull << 32 | 1ull << 28 | 1ull << 29;
}

static void set_features(void *opaque, uint64_t features) { host.features = features; }
static uint8_t get_status(void *opaque) { return host.status; }
static void set_status(void *opaque, uint8_t status)
{
	if (!status)
		viommu_device_reset(host.iommu);
	else if (status & ~host.status & 8 && /* FEATURES_OK, if the device agrees */
		 viommu_device_set_features(host.iommu, host.features & 0xffffff))
		status &= (uint8_t)~8u;
	host.status = status;
}

static void config_read(void *opaque, uint32_t at, void *buf, uint32_t len)
{
	viommu_device_config_read(host.iommu, at, buf, len);
}

static void config_write(void *opaque, uint32_t at, const void *buf, uint32_t len)
{
	viommu_device_config_write(host.iommu, at, buf, len);
}

static uint32_t config_generation(void *opaque) { return 0; }
static uint16_t queue_max(void *opaque, uint16_t i) { return i < VIOMMU_QUEUES_NR ? 256 : 0; }
static int queue_setup(void *opaque, const struct viommu_drv_queue_setup *s)
{
	const struct viommu_virtq_config config = {
		.size = s->size, .event_idx = true, .indirect = true,
		.desc = s->desc, .driver = s->driver, .device = s->device};
	const struct viommu_ring_mem mem = {map_ring, NULL};
	int r = viommu_virtq_init(&host.vq[s->index], &config, mem);

	return r ? r : viommu_device_set_queue(host.iommu, s->index, &host.vq[s->index]);
}

/* With threads a kick would wake the device's; here it is the device's turn. */
static void kick(void *opaque, uint16_t index)
{
	do
		viommu_device_process(host.iommu, 256);
	while (viommu_virtq_enable_notify(&host.vq[VIOMMU_QUEUE_REQUEST]));
}

static const struct viommu_drv_transport bus = {
	get_features, set_features, get_status, set_status, config_read, config_write,
	config_generation, queue_max, queue_setup, kick, 0};

/* ---- the guest ---- */

static void *guest_alloc_shared(void *opaque, size_t len, size_t align, uint64_t *pa)
{
	size_t at = (memory_used + align - 1) & -align;

	if (at > MEMORY_LEN || len > MEMORY_LEN - at)
		return NULL;
	memory_used = at + len;
	*pa = (uintptr_t)(memory + at);
	return memory + at;
}

static void guest_free_shared(void *opaque, void *p, size_t len) {}
static void on_fault(void *opaque, const struct viommu_drv_fault *fault)
{
	printf("fault at %#llx\n", (unsigned long long)fault->address);
}

static int use(struct viommu_drv *drv)
{
	const struct viommu_drv_endpoint_config config = {.id = ENDPOINT_ID};
	const struct viommu_drv_events events = {.fault = on_fault};
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	uint64_t pa = 0, iova;
	char *page = guest_alloc_shared(NULL, 4096, 4096, &pa);
	int r = page ? 0 : -ENOMEM;

	viommu_drv_set_events(drv, &events, NULL);
	if (r || (r = viommu_drv_endpoint_create(drv, &config, &ep)) ||
	    (r = viommu_drv_domain_create(drv, NULL, &domain)) ||
	    (r = viommu_drv_attach(domain, ep)) ||
	    (r = viommu_drv_dma_map(ep, pa, 4096, VIOMMU_DRV_WRITE, &iova)))
		return r;
	/* The device behind the IOMMU writes to the address it was given. */
	r = viommu_dma_write(host.dma, iova, "hello", 6);
	printf("mapped at %#llx: %d, \"%s\"\n", (unsigned long long)iova, r, page);
	r = r ? r : viommu_drv_dma_unmap(ep, iova, 4096);
	if (r || viommu_dma_write(host.dma, iova, "again", 6) != -EFAULT)
		return r ? r : -EIO;
	printf("unmapped: write is blocked, memory says \"%s\"\n", page);
	viommu_device_process(host.iommu, 256); /* reports the fault */
	if (strcmp(page, "hello") != 0 || viommu_drv_poll_events(drv) != 1)
		return -EIO;
	r = viommu_drv_endpoint_destroy(ep);
	viommu_drv_domain_destroy(domain);
	return r;
}

int main(void)
{
	const struct viommu_drv_platform platform = {
		.alloc = host_alloc, .free = host_free, .now_ns = now_ns,
		.alloc_shared = guest_alloc_shared, .free_shared = guest_free_shared};
	struct viommu_drv *drv = NULL;
	int r = host_start();

	r = r ? r : viommu_drv_create(&platform, NULL, &bus, NULL, NULL, &drv);
	r = r ? r : use(drv);
	viommu_drv_destroy(drv);
	viommu_dma_destroy(host.dma);
	viommu_endpoint_remove(host.ep);
	viommu_mem_destroy(host.mem);
	viommu_device_destroy(host.iommu);
	return puts(r ? "failed" : "done") < 0 || r;
}
