/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A guest without an operating system. It finds a virtio-iommu and a DMA engine
 * on PCI, drives both with the guest driver library, checks that data arrives,
 * that what is unmapped is out of reach and that faults are reported, measures
 * strict and lazy mapping, and ends QEMU with its verdict:
 *     qemu ... -kernel baremetal -device isa-debug-exit,iobase=0xf4,iosize=4
 * exits with 33 if all is well, with 35 if not.
 */
#include <viommu_drv.h>
#include <viommu_drv_pci.h>

#include "engine.h"

enum { EXIT_GOOD = 16, EXIT_BAD = 17 };

#define PAGE	4096u
#define RW	(VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define ROUNDS	1000u
#define WARM_UP 64u

struct world {
	struct viommu_drv_pci pci; /* transport of the IOMMU */
	struct pci_function iommu;
	struct engine engine;
	struct viommu_drv *drv;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	struct viommu_drv_timer *timer; /* armed; NULL: not */
	uint64_t timer_due;
	struct viommu_drv_fault fault; /* the last one */
	unsigned faults_nr, checks_nr, failed_nr;
	uint8_t *page; /* the buffer DMA goes to; physical is virtual here */
};

/* ---- the driver's platform ---- */

static void *alloc(void *opaque, size_t len, size_t align)
{
	(void)opaque;
	return heap_alloc(len, align);
}

/* The heap only grows: this program makes its objects once. */
static void give_back(void *opaque, void *p, size_t len)
{
	(void)opaque;
	(void)p;
	(void)len;
}

static void *alloc_shared(void *opaque, size_t len, size_t align, uint64_t *pa)
{
	void *p = alloc(opaque, len, align);

	*pa = (uint64_t)p;
	return p;
}

static uint64_t virt_to_phys(void *opaque, const void *p)
{
	(void)opaque;
	return (uint64_t)p;
}

static uint64_t now_ns(void *opaque)
{
	(void)opaque;
	return time_ns();
}

/* There are no interrupts: the program looks at the clock now and then. */
static int timer_arm(void *opaque, struct viommu_drv_timer *timer, uint64_t delay_ns)
{
	struct world *w = opaque;

	w->timer = timer;
	w->timer_due = time_ns() + delay_ns;
	return 0;
}

static void timer_cancel(void *opaque, struct viommu_drv_timer *timer)
{
	struct world *w = opaque;

	(void)timer;
	w->timer = NULL;
}

static void run_timer(struct world *w)
{
	struct viommu_drv_timer *timer = w->timer;

	if (!timer || time_ns() < w->timer_due)
		return;
	w->timer = NULL;
	viommu_drv_timer(timer);
}

static const struct viommu_drv_platform platform = {
	.alloc = alloc,
	.free = give_back,
	.alloc_shared = alloc_shared,
	.free_shared = give_back,
	.virt_to_phys = virt_to_phys,
	.now_ns = now_ns,
	.timer_arm = timer_arm,
	.timer_cancel = timer_cancel,
};

/* ---- its PCI access ---- */

static uint32_t config_read(void *opaque, unsigned offset, unsigned len)
{
	return pci_read(((struct world *)opaque)->iommu.bdf, offset, len);
}

static void config_write(void *opaque, unsigned offset, uint32_t value, unsigned len)
{
	pci_write(((struct world *)opaque)->iommu.bdf, offset, value, len);
}

static uint32_t bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len)
{
	uint64_t addr = ((struct world *)opaque)->iommu.bar[bar] + offset;

	if (len == 1)
		return *(volatile uint8_t *)addr;
	return len == 2 ? *(volatile uint16_t *)addr : *(volatile uint32_t *)addr;
}

static void bar_write(void *opaque, unsigned bar, uint64_t offset, uint32_t value,
		      unsigned len)
{
	uint64_t addr = ((struct world *)opaque)->iommu.bar[bar] + offset;

	if (len == 1)
		*(volatile uint8_t *)addr = (uint8_t)value;
	else if (len == 2)
		*(volatile uint16_t *)addr = (uint16_t)value;
	else
		*(volatile uint32_t *)addr = value;
}

static const struct viommu_drv_pci_ops pci_ops = {config_read, config_write, bar_read,
						  bar_write};

static void on_fault(void *opaque, const struct viommu_drv_fault *fault)
{
	struct world *w = opaque;

	w->fault = *fault;
	w->faults_nr++;
}

static const struct viommu_drv_events events = {.fault = on_fault};

/* ---- checks ---- */

static void check(struct world *w, bool good, const char *what)
{
	w->checks_nr++;
	w->failed_nr += !good;
	print("%s %s\n", good ? "ok    " : "NOT OK", what);
}

static void fill(uint8_t *page, unsigned seed)
{
	for (unsigned i = 0; i < PAGE; i++)
		page[i] = (uint8_t)(i * 7 + seed + (i >> 8));
}

static bool filled(const uint8_t *page, unsigned seed)
{
	for (unsigned i = 0; i < PAGE; i++)
		if (page[i] != (uint8_t)(i * 7 + seed + (i >> 8)))
			return false;
	return true;
}

/* Waits a while for a fault at iova. */
static bool fault_arrives(struct world *w, uint64_t iova)
{
	uint64_t start = time_ns();
	bool arrived = false;

	while (!arrived && time_ns() - start < 1000000000ull) {
		arrived = viommu_drv_poll_events(w->drv) > 0 &&
			  w->fault.endpoint == w->engine.pci.bdf &&
			  (!(w->fault.flags & VIOMMU_DRV_FAULT_ADDRESS) ||
			   (w->fault.address & ~(uint64_t)(PAGE - 1)) == iova);
	}
	/* A burst of accesses is a burst of faults. */
	while (viommu_drv_poll_events(w->drv) > 0)
		;
	return arrived;
}

/* A round trip: guest memory, device buffer, other guest memory. */
static void check_data(struct world *w)
{
	struct engine *e = &w->engine;
	uint8_t *target = heap_alloc(PAGE, PAGE);
	uint64_t from = 0, to = 0;
	int r;

	fill(w->page, 1);
	fill(target, 99);
	r = viommu_drv_dma_map_virt(w->ep, w->page, PAGE, VIOMMU_DRV_READ, &from);
	if (!r)
		r = viommu_drv_dma_map_virt(w->ep, target, PAGE, VIOMMU_DRV_WRITE, &to);
	check(w, !r, "two pages are mapped");
	check(w, from != (uint64_t)w->page && from + PAGE - 1 <= e->dma_last,
	      "the address is the driver's choice, within reach");
	check(w, !e->read(e, from, PAGE) && !e->write(e, to, PAGE), "the engine copies");
	check(w, filled(target, 1), "the data arrives");
	check(w, !viommu_drv_poll_events(w->drv), "no fault is reported");

	fill(w->page, 5);
	r = e->write(e, from, PAGE);
	check(w, e->notices_errors ? r == -ENGINE_BLOCKED : !r,
	      "a write to a page mapped for reading is refused");
	check(w, filled(w->page, 5), "the page is as it was");
	check(w, fault_arrives(w, from), "the fault is reported");

	check(w, !viommu_drv_dma_unmap(w->ep, from, PAGE), "the page is unmapped");
	r = e->read(e, from, PAGE);
	check(w, !e->notices_errors || r == -ENGINE_BLOCKED, "reading it is refused");
	check(w, fault_arrives(w, from), "the fault is reported");
	check(w, !viommu_drv_dma_unmap(w->ep, to, PAGE), "the other page is unmapped");
	fill(target, 3);
	(void)e->write(e, to, PAGE);
	check(w, filled(target, 3), "a write after the unmap changes nothing");
	check(w, fault_arrives(w, to), "the fault is reported");
}

static void check_detach(struct world *w)
{
	struct engine *e = &w->engine;
	uint64_t iova = 0;

	check(w, !viommu_drv_dma_map_virt(w->ep, w->page, PAGE, RW, &iova),
	      "a page is mapped");
	check(w, !viommu_drv_reset(w->drv), "the IOMMU is reset and set up again");
	fill(w->page, 21);
	check(w, !e->read(e, iova, PAGE), "the mapping is still there");
	fill(w->page, 22);
	check(w, !e->write(e, iova, PAGE) && filled(w->page, 21), "and serves");
	check(w, !viommu_drv_dma_unmap(w->ep, iova, PAGE), "it is unmapped");
	check(w, !viommu_drv_detach(w->ep), "the engine is detached");
	fill(w->page, 23);
	(void)e->write(e, iova, PAGE);
	check(w, filled(w->page, 23), "and reaches nothing");
	check(w, fault_arrives(w, iova), "the fault is reported");
	check(w, !viommu_drv_attach(w->domain, w->ep), "it is attached again");
}

/* ---- measuring ---- */

static void sort(uint64_t *v, unsigned nr)
{
	for (unsigned i = 1; i < nr; i++) {
		uint64_t x = v[i];
		unsigned k = i;

		for (; k > 0 && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
	}
}

static void print_row(const char *mode, const char *what, uint64_t *cycles)
{
	sort(cycles, ROUNDS);
	print("%-8s %-8s %8llu %8llu %8llu\n", mode, what,
	      (unsigned long long)cycles[ROUNDS / 100],
	      (unsigned long long)cycles[ROUNDS / 2],
	      (unsigned long long)cycles[ROUNDS - ROUNDS / 100]);
}

static void measure(struct world *w, const char *name, enum viommu_drv_mode mode)
{
	static uint64_t maps[ROUNDS + WARM_UP], unmaps[ROUNDS + WARM_UP];
	bool good = viommu_drv_domain_set_mode(w->domain, mode, 0, 0) == (int)mode;

	for (unsigned i = 0; good && i < ROUNDS + WARM_UP; i++) {
		uint64_t t0 = read_tsc(), t1, iova;

		good = !viommu_drv_dma_map_virt(w->ep, w->page, PAGE, RW, &iova);
		t1 = read_tsc();
		good = good && !viommu_drv_dma_unmap(w->ep, iova, PAGE);
		maps[i] = t1 - t0;
		unmaps[i] = read_tsc() - t1;
		run_timer(w);
	}
	print_row(name, "map", maps + WARM_UP);
	print_row(name, "unmap", unmaps + WARM_UP);
	check(w, good, "each map and unmap succeeded");
	check(w, viommu_drv_domain_set_mode(w->domain, VIOMMU_DRV_STRICT, 0, 0) == 0,
	      "nothing is left to flush");
}

static void measure_all(struct world *w)
{
	struct viommu_drv_stats stats;

	print("\ncycles of the time-stamp counter at %llu MHz, one page\n",
	      (unsigned long long)time_tsc_khz() / 1000);
	print("%-8s %-8s %8s %8s %8s\n", "mode", "call", "1 %", "median", "99 %");
	measure(w, "strict", VIOMMU_DRV_STRICT);
	measure(w, "lazy", VIOMMU_DRV_LAZY_CPU);
	viommu_drv_get_stats(w->drv, &stats);
	print("%llu maps, %llu unmaps, %llu notifications, %llu failed, %llu faults\n\n",
	      (unsigned long long)stats.maps, (unsigned long long)stats.unmaps,
	      (unsigned long long)stats.notifications, (unsigned long long)stats.failed,
	      (unsigned long long)stats.faults);
}

/* ---- start ---- */

static bool set_up(struct world *w)
{
	/* What is not attached is blocked, not let through. */
	const struct viommu_drv_config config = {.take_bypass = true};
	struct viommu_drv_endpoint_config endpoint = {0};
	int r;

	check(w, pci_find(VIOMMU_DRV_PCI_VENDOR, VIOMMU_DRV_PCI_DEVICE, true, &w->iommu),
	      "a virtio-iommu is on the bus");
	check(w, engine_find(&w->engine), "a DMA engine is on the bus");
	if (w->failed_nr)
		return false;
	r = viommu_drv_pci_init(&w->pci, &pci_ops, w);
	if (!r)
		r = viommu_drv_create(&platform, w, &viommu_drv_pci_transport, &w->pci,
				      &config, &w->drv);
	check(w, !r, "the driver starts");
	if (r)
		return false;
	viommu_drv_set_events(w->drv, &events, w);
	endpoint.id = w->engine.pci.bdf;
	endpoint.dma_last = w->engine.dma_last;
	r = viommu_drv_endpoint_create(w->drv, &endpoint, &w->ep);
	if (!r)
		r = viommu_drv_domain_create(w->drv, NULL, &w->domain);
	if (!r)
		r = viommu_drv_attach(w->domain, w->ep);
	check(w, !r, "the engine is attached to a domain");
	print("virtio-iommu at %x, %s at %x, features %llx, error %d\n", w->iommu.bdf,
	      w->engine.name, w->engine.pci.bdf,
	      (unsigned long long)viommu_drv_features(w->drv), r);
	return !r;
}

int main(void);
int main(void)
{
	static struct world world;

	serial_init();
	time_init();
	print("\nbaremetal: virtio-iommu without an operating system\n");
	world.page = heap_alloc(PAGE, PAGE);
	if (set_up(&world)) {
		check_data(&world);
		check_detach(&world);
		measure_all(&world);
	}
	print("baremetal: %u checks, %u failed\n", world.checks_nr, world.failed_nr);
	return world.failed_nr ? EXIT_BAD : EXIT_GOOD;
}
