/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "guest.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define PCI_COMMAND	0x04
#define PCI_COMMAND_ON	0x0006 /* memory, bus master */
#define PCI_CAP_MSIX	0x11
#define MSIX_CONTROL_ON 0x8000
#define PCI_CAPS	0x34

static void sink(void *opaque, enum viommu_log_level level, const char *msg)
{
	struct guest *g = opaque;

	(void)level;
	snprintf(g->said, sizeof(g->said), "%s", msg);
}

static uint64_t now_ns(void *opaque)
{
	return ((struct guest *)opaque)->now_ns;
}

static void device_wake(void *opaque)
{
	(void)opaque;
}

static const struct viommu_device_ops device_ops = {
	.wake = device_wake,
	.now_ns = now_ns,
};

static unsigned status_of(int r, size_t written, const uint8_t out[4])
{
	if (r == -EINPROGRESS)
		return GUEST_PARKED;
	assert_int_equal(r, 0);
	assert_int_equal(written, 4);
	return out[0];
}

unsigned guest_unpark(struct guest *g)
{
	size_t written = 0;
	int r = viommu_device_request(g->dev, &g->in, 1, &g->out, 1, &written);

	return status_of(r, written, g->parked_out);
}

/* req without its tail, which is a buffer of its own. */
static unsigned request(struct guest *g, const void *req, size_t len)
{
	if (!g->dev)
		return VIRTIO_IOMMU_S_OK;
	g->in = (struct iovec){g->parked_in, len};
	g->out = (struct iovec){g->parked_out, 4};
	memcpy(g->parked_in, req, len);
	return guest_unpark(g);
}

static void attach(struct guest *g)
{
	const struct virtio_iommu_req_attach req = {
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.domain = GUEST_DOMAIN,
		.endpoint = GUEST_ENDPOINT,
	};

	assert_int_equal(request(g, &req, sizeof(req)), VIRTIO_IOMMU_S_OK);
}

unsigned guest_map_at(struct guest *g, uint64_t iova, uint64_t offset, uint64_t len,
		      uint32_t flags)
{
	const struct virtio_iommu_req_map req = {
		.head.type = VIRTIO_IOMMU_T_MAP,
		.domain = GUEST_DOMAIN,
		.virt_start = iova,
		.virt_last = iova + len - 1,
		.phys_start = GUEST_GPA + offset,
		.flags = flags,
	};

	return request(g, &req, sizeof(req));
}

unsigned guest_map(struct guest *g, uint64_t offset, uint64_t len, uint32_t flags)
{
	return guest_map_at(g, GUEST_IOVA + offset, offset, len, flags);
}

unsigned guest_unmap(struct guest *g, uint64_t offset, uint64_t len)
{
	const struct virtio_iommu_req_unmap req = {
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = GUEST_DOMAIN,
		.virt_start = GUEST_IOVA + offset,
		.virt_last = GUEST_IOVA + offset + len - 1,
	};

	return request(g, &req, sizeof(req));
}

unsigned guest_faults(struct guest *g, struct virtio_iommu_fault *last)
{
	struct virtio_iommu_fault fault;
	unsigned nr = 0;

	while (g->dev && viommu_device_next_event(g->dev, (uint8_t *)&fault)) {
		nr++;
		if (last)
			*last = fault;
	}
	return nr;
}

static void make_iommu(struct guest *g)
{
	const struct viommu_device_config config = {.fault_rate = 1000000};
	const struct viommu_endpoint_config ep = {.id = GUEST_ENDPOINT};

	assert_int_equal(viommu_device_create(&config, &device_ops, g, &g->alloc.ops,
					      &g->log, &g->dev),
			 0);
	assert_int_equal(
		viommu_device_set_features(g->dev, viommu_device_features(g->dev)), 0);
	assert_int_equal(viommu_endpoint_add(g->dev, &ep, &g->iommu), 0);
	attach(g);
}

struct guest *guest_create(bool with_iommu)
{
	struct guest *g = calloc(1, sizeof(*g));

	test_alloc_init(&g->alloc);
	g->log = (struct viommu_log){sink, g, VIOMMU_LOG_INFO};
	g->ram = mmap(NULL, GUEST_LEN, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(g->ram != MAP_FAILED);
	assert_int_equal(viommu_mem_create(&g->alloc.ops, &g->mem), 0);
	assert_int_equal(viommu_mem_add(g->mem, GUEST_GPA, GUEST_LEN, g->ram, 0), 0);
	if (with_iommu)
		make_iommu(g);
	return g;
}

void guest_destroy(struct guest *g)
{
	endpoint_destroy(g->ep);
	if (g->dev) {
		viommu_endpoint_remove(g->iommu);
		viommu_device_destroy(g->dev);
	}
	viommu_mem_destroy(g->mem);
	assert_int_equal(g->alloc.live, 0);
	munmap(g->ram, GUEST_LEN);
	free(g);
}

static void wake(void *opaque)
{
	struct guest *g = opaque;

	__atomic_fetch_add(&g->wakes, 1, __ATOMIC_RELAXED);
	if (g->wake)
		g->wake(g->wake_opaque);
}

static void msix(void *opaque, unsigned vector)
{
	struct guest *g = opaque;

	assert_in_range(vector, 0, GUEST_VECTORS - 1);
	g->irqs[vector]++;
}

static void intx(void *opaque, bool asserted)
{
	(void)opaque;
	(void)asserted;
}

static const struct viommu_pci_irq_ops irq_ops = {.msix = msix, .intx = intx};

/* Vectors are masked after a reset: table entry's control word 0 takes that off. */
static void unmask_vectors(struct guest *g)
{
	const struct viommu_pci_config *c = viommu_pci_get_config(g->ep->function);

	for (unsigned i = 0; i < c->msix_nr && i < GUEST_VECTORS; i++)
		guest_set_reg(g, c->msix_bar, i * 16 + 12, 4, 0);
}

static void switch_on(struct guest *g)
{
	unsigned cap = guest_find_cap(g, PCI_CAP_MSIX, 0);

	viommu_pci_set_irq_ops(g->ep->function, &irq_ops, g);
	assert_int_not_equal(cap, 0);
	guest_set_config(g, cap + 2, 2, guest_config(g, cap + 2, 2) | MSIX_CONTROL_ON);
	guest_bus_master(g, true);
	unmask_vectors(g);
}

int guest_endpoint(struct guest *g, const char *type, const char *options)
{
	const struct endpoint_env env = {
		.name = "dev0",
		.iommu = g->iommu,
		.mem = g->mem,
		.alloc = &g->alloc.ops,
		.log = &g->log,
		.wake = wake,
		.opaque = g,
	};
	int r = endpoint_create(type, &env, options, &g->ep);

	if (!r)
		switch_on(g);
	return r;
}

void guest_check_lack_of_memory(const char *type, const char *options)
{
	struct guest *g = guest_create(true);
	unsigned long live = g->alloc.live;
	int r = -1;

	for (unsigned long nth = 1; nth < 1000 && r; nth++) {
		test_alloc_fail(&g->alloc, nth);
		r = guest_endpoint(g, type, options);
		test_alloc_fail(&g->alloc, 0);
		if (r) {
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(g->alloc.live, live);
		}
	}
	assert_int_equal(r, 0);
	guest_destroy(g);
}

/* Little-endian hosts only, as the tests' other helpers. */
uint64_t guest_config(struct guest *g, unsigned offset, unsigned len)
{
	uint64_t v = 0;

	viommu_pci_config_read(g->ep->function, offset, &v, len);
	return v;
}

void guest_set_config(struct guest *g, unsigned offset, unsigned len, uint64_t value)
{
	viommu_pci_config_write(g->ep->function, offset, &value, len);
}

uint64_t guest_reg(struct guest *g, unsigned bar, uint64_t offset, unsigned len)
{
	uint64_t v = 0;

	assert_int_equal(viommu_pci_bar_read(g->ep->function, bar, offset, &v, len), 0);
	return v;
}

void guest_set_reg(struct guest *g, unsigned bar, uint64_t offset, unsigned len,
		   uint64_t value)
{
	assert_int_equal(viommu_pci_bar_write(g->ep->function, bar, offset, &value, len),
			 0);
}

void guest_bus_master(struct guest *g, bool on)
{
	guest_set_config(g, PCI_COMMAND, 2, on ? PCI_COMMAND_ON : PCI_COMMAND_ON & ~4);
}

unsigned guest_find_cap(struct guest *g, uint8_t id, unsigned after)
{
	unsigned at = (unsigned)guest_config(g, after ? after + 1 : PCI_CAPS, 1);

	for (unsigned i = 0; at && i < 48; i++) {
		if (guest_config(g, at, 1) == id)
			return at;
		at = (unsigned)guest_config(g, at + 1, 1);
	}
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

bool guest_run(struct guest *g, unsigned ms)
{
	uint64_t end = now_ms() + ms, now;
	struct pollfd fds[ENDPOINT_FDS_MAX];
	bool any = false;
	int nr, timer;

	for (;;) {
		unsigned did = endpoint_poll(g->ep, 64);

		any |= did & ENDPOINT_DONE;
		if (did || endpoint_arm(g->ep))
			continue;
		now = now_ms();
		nr = endpoint_fds(g->ep, fds, ENDPOINT_FDS_MAX);
		timer = endpoint_timeout_ms(g->ep);
		if (now >= end || (timer < 0 && (!endpoint_busy(g->ep) || !nr)))
			return any;
		if (timer < 0 || (uint64_t)timer > end - now)
			timer = (int)(end - now);
		poll(fds, (nfds_t)nr, timer);
	}
}

struct wanted {
	const char *name;
	uint64_t value;
	bool found;
};

static void visit(void *opaque, const char *name, uint64_t value)
{
	struct wanted *w = opaque;

	if (strcmp(name, w->name))
		return;
	w->value = value;
	w->found = true;
}

uint64_t guest_stat(struct guest *g, const char *name)
{
	struct wanted w = {.name = name};

	endpoint_stats(g->ep, visit, &w);
	assert_true(w.found);
	return w.value;
}
