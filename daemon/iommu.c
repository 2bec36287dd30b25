/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/device.h>
#include <viommu/dma.h>
#include <viommu/proto.h>
#include <viommu/virtio_pci.h>

#include "iommu.h"
#include "iommu_internal.h"
#include "memory.h"

#define VIRTIO_ID_IOMMU 23
/* PCI class: base system peripheral, IOMMU. */
#define PCI_CLASS_SYSTEM   0x08
#define PCI_SUBCLASS_IOMMU 0x06
#define IOMMU_CONFIG_LEN   sizeof(struct virtio_iommu_config)
/* Feature bits that belong to rings and transport (VIRTIO 1.4, "Reserved
 * Feature Bits"); the device must not see them. */
#define TRANSPORT_FEATURES (((1ull << 20) - 1) << 24)
/* Between two looks at a request that waits for held pages. */
#define PARKED_NS 1000000u

/* ---- what the device asks of us ---- */

static void on_wake(void *opaque)
{
	struct iommu *iommu = opaque;

	/* Pairs with wanted(): the reason is there before the flag. */
	atomic_store(&iommu->woken, true);
	loop_wake(iommu->loop);
}

static uint64_t on_now_ns(void *opaque)
{
	(void)opaque;
	return now_ns();
}

static uint64_t on_turn_ns(void *opaque)
{
	struct iommu *iommu = opaque;

	return loop_turn_ns(iommu->loop);
}

static void on_config_changed(void *opaque)
{
	struct iommu *iommu = opaque;

	if (iommu->virtio)
		viommu_virtio_pci_config_irq(iommu->virtio);
}

static void on_needs_reset(void *opaque)
{
	struct iommu *iommu = opaque;

	viommu_virtio_pci_needs_reset(iommu->virtio);
}

static void on_fault(void *opaque, const struct viommu_fault_info *info)
{
	struct iommu *iommu = opaque;
	struct fault fault = {.time_ns = now_ns(),
			      .address = info->address,
			      .endpoint = info->endpoint,
			      .reason = info->reason,
			      .flags = info->flags};

	faults_add(&iommu->function.host->faults, &fault);
}

static const struct viommu_device_ops device_ops = {
	.fault = on_fault,
	.wake = on_wake,
	.now_ns = on_now_ns,
	.turn_ns = on_turn_ns,
	.config_changed = on_config_changed,
	.needs_reset = on_needs_reset,
};

/* ---- what the transport asks of us ---- */

static uint64_t get_features(void *opaque)
{
	struct iommu *iommu = opaque;

	return viommu_device_features(iommu->device) |
	       (uint64_t)iommu->indirect << VIOMMU_VIRTIO_F_RING_INDIRECT_DESC |
	       1ull << VIOMMU_VIRTIO_F_RING_EVENT_IDX;
}

static int set_features(void *opaque, uint64_t features)
{
	struct iommu *iommu = opaque;

	return viommu_device_set_features(iommu->device, features & ~TRANSPORT_FEATURES);
}

static void read_config(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	struct iommu *iommu = opaque;

	viommu_device_config_read(iommu->device, offset, buf, len);
}

static void write_config(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	struct iommu *iommu = opaque;

	viommu_device_config_write(iommu->device, offset, buf, len);
}

static int queue_enable(void *opaque, unsigned queue,
			const struct viommu_virtq_config *ring)
{
	struct iommu *iommu = opaque;
	int r;

	r = viommu_virtq_init(&iommu->queue[queue], ring,
			      viommu_ring_mem_dma(iommu->dma));
	if (!r)
		r = viommu_device_set_queue(iommu->device, queue, &iommu->queue[queue]);
	if (!r)
		iommu->enabled[queue] = true;
	return r;
}

static void queue_disable(void *opaque, unsigned queue)
{
	struct iommu *iommu = opaque;

	viommu_device_set_queue(iommu->device, queue, NULL);
	iommu->enabled[queue] = false;
}

/* A kick has done its work by ending the sleep: work() looks at the rings. */
static void notify(void *opaque, unsigned queue)
{
	struct iommu *iommu = opaque;

	iommu->kicked |= 1u << queue;
}

/* Kicks until now were not told: both rings may have something. */
static void driver_ok(void *opaque)
{
	struct iommu *iommu = opaque;

	iommu->driver_ok = true;
	iommu->kicked = (1u << VIOMMU_QUEUES_NR) - 1;
	log_write(iommu->function.host->log, VIOMMU_LOG_INFO,
		  "%s: the guest's driver is up", iommu->function.name);
}

static void device_reset(void *opaque)
{
	struct iommu *iommu = opaque;

	iommu->driver_ok = false;
	viommu_device_reset(iommu->device);
}

/* A driver that has left (driver_left) takes its queues with it and no more: what it
 * mapped stays until the next one's reset, for devices may be at work there. */
static const struct viommu_virtio_ops virtio_ops = {
	.features = get_features,
	.set_features = set_features,
	.config_read = read_config,
	.config_write = write_config,
	.queue_enable = queue_enable,
	.queue_disable = queue_disable,
	.notify = notify,
	.driver_ok = driver_ok,
	.reset = device_reset,
};

/* ---- what the socket tells ---- */

/* A VMM's reset is the system's; so is its end. */
static void system_reset(void *opaque, bool gone)
{
	struct iommu *iommu = opaque;

	(void)gone;
	viommu_device_system_reset(iommu->device);
}

static const struct function_ops function_ops = {.reset = system_reset};

/* ---- work ---- */

static void reset_ports(struct iommu *iommu)
{
	struct iommu_port *port;

	/* Pairs with iommu_want_reset(): the port's flag is set before this one. */
	if (!atomic_load(&iommu->resets_wanted) ||
	    !atomic_exchange(&iommu->resets_wanted, false))
		return;
	for (port = iommu->ports; port; port = port->next)
		if (atomic_exchange(&port->reset_wanted, false))
			viommu_endpoint_reset(port->endpoint);
}

static bool may_run(const struct iommu *iommu)
{
	return iommu->driver_ok && iommu->enabled[VIOMMU_QUEUE_REQUEST];
}

/* Whether process() has something to do; inside a section. */
static bool wanted(struct iommu *iommu)
{
	/* Pairs with on_wake(): cleared before the work, so that a reason that
	 * comes up during it is not lost. */
	if (atomic_load(&iommu->woken)) {
		atomic_store(&iommu->woken, false);
		return true;
	}
	if (iommu->kicked) {
		iommu->kicked = 0;
		return true;
	}
	if (iommu->parked_ns)
		return now_ns() - iommu->parked_ns >= PARKED_NS;
	return viommu_virtq_has_work(&iommu->queue[VIOMMU_QUEUE_REQUEST]);
}

static unsigned finish(struct iommu *iommu, unsigned r)
{
	unsigned found = 0;

	if (r & VIOMMU_WORK_NOTIFY_REQUEST)
		viommu_virtio_pci_queue_irq(iommu->virtio, VIOMMU_QUEUE_REQUEST);
	if (r & VIOMMU_WORK_NOTIFY_EVENT)
		viommu_virtio_pci_queue_irq(iommu->virtio, VIOMMU_QUEUE_EVENT);
	iommu->parked_ns = r & VIOMMU_WORK_PARKED ? now_ns() : 0;
	if (r & VIOMMU_WORK_DONE)
		found |= LOOP_DONE | LOOP_URGENT;
	if (r & VIOMMU_WORK_MORE)
		found |= LOOP_MORE;
	return found;
}

static unsigned work(void *opaque, unsigned budget)
{
	struct iommu *iommu = opaque;
	struct viommu_virtq *vq = &iommu->queue[VIOMMU_QUEUE_REQUEST];
	unsigned r = 0;
	bool ran = false;

	reset_ports(iommu);
	if (!may_run(iommu))
		return 0;
	viommu_dma_begin(iommu->dma);
	viommu_virtq_begin(vq);
	if (iommu->armed)
		viommu_virtq_disable_notify(vq);
	iommu->armed = false;
	if (wanted(iommu)) {
		r = viommu_device_process(iommu->device, budget);
		ran = true;
	}
	viommu_dma_end(iommu->dma);
	if (ran)
		r = finish(iommu, r);
	return r | (iommu->parked_ns ? LOOP_SOON : 0);
}

static bool arm(void *opaque)
{
	struct iommu *iommu = opaque;
	struct viommu_virtq *vq = &iommu->queue[VIOMMU_QUEUE_REQUEST];
	bool found = false;

	if (!may_run(iommu))
		return false;
	viommu_dma_begin(iommu->dma);
	viommu_virtq_begin(vq);
	/* A parked queue takes nothing new: no reason to stay awake. */
	if (viommu_virtq_enable_notify(vq))
		found = !iommu->parked_ns;
	viommu_dma_end(iommu->dma);
	iommu->armed = true;
	return found;
}

static unsigned messages(void *opaque)
{
	struct iommu *iommu = opaque;

	return function_messages(&iommu->function);
}

static int message_fd(void *opaque)
{
	struct iommu *iommu = opaque;

	return function_message_fd(&iommu->function);
}

static unsigned no_fds(void *opaque, struct pollfd *fds, unsigned max)
{
	(void)opaque;
	(void)fds;
	(void)max;
	return 0;
}

static int no_timeout(void *opaque)
{
	(void)opaque;
	return -1;
}

static const struct loop_member_ops member_ops = {
	.messages = messages,
	.message_fd = message_fd,
	.work = work,
	.arm = arm,
	.fds = no_fds,
	.timeout_ms = no_timeout,
};

/* ---- making one ---- */

static uint64_t last_input(unsigned bits)
{
	return bits >= 64 ? UINT64_MAX : (1ull << bits) - 1;
}

static int make_device(struct iommu *iommu, const struct iommu_settings *settings)
{
	struct viommu_device_config config = {
		/* All ones above the granule: a driver then sends one request
		 * for a run of any length. */
		.page_size_mask = ~(settings->granule - 1),
		.input_last = last_input(settings->input_bits),
		.boot_bypass = settings->bypass,
		.hold_timeout_ms = settings->hold_timeout_ms,
		.max_mappings = settings->max_mappings,
		.max_domains = settings->max_domains,
		.fault_rate = settings->fault_rate,
	};

	return viommu_device_create(&config, &device_ops, iommu, &memory_alloc,
				    &iommu->function.host->log->sink, &iommu->device);
}

static int make_virtio(struct iommu *iommu, const struct iommu_settings *settings)
{
	struct viommu_virtio_pci_config config = {
		.virtio_id = VIRTIO_ID_IOMMU,
		.class_code = PCI_CLASS_SYSTEM,
		.subclass = PCI_SUBCLASS_IOMMU,
		.queues_nr = VIOMMU_QUEUES_NR,
		.queue_size = (uint16_t)settings->queue_size,
		.config_len = IOMMU_CONFIG_LEN,
		.packed = settings->packed,
	};

	return viommu_virtio_pci_create(&config, &virtio_ops, iommu, &memory_alloc,
					&iommu->function.host->log->sink, &iommu->virtio);
}

static int make_parts(struct iommu *iommu, const struct iommu_settings *settings)
{
	int r = function_init(&iommu->function);

	iommu->indirect = settings->indirect;
	if (!r)
		r = make_device(iommu, settings);
	if (!r)
		r = viommu_dma_create(NULL, iommu->function.mem, &memory_alloc, NULL,
				      NULL, &iommu->dma);
	if (!r)
		r = make_virtio(iommu, settings);
	return r;
}

bool iommu_create(const struct iommu_settings *settings, struct loop *loop,
		  struct host *host, struct iommu **out, struct problem *problem)
{
	struct iommu *iommu = calloc(1, sizeof(*iommu));
	int r;

	if (!iommu)
		return problem_set(problem, "out of memory");
	iommu->loop = loop;
	iommu->function =
		(struct function){.host = host, .ops = &function_ops, .opaque = iommu};
	snprintf(iommu->function.name, sizeof(iommu->function.name), "%s", settings->id);
	iommu->member = (struct loop_member){.ops = &member_ops, .opaque = iommu};
	r = make_parts(iommu, settings);
	if (r) {
		iommu_destroy(iommu);
		return problem_set(problem, "--iommu %s: cannot be made: %s",
				   settings->id, strerror(-r));
	}
	loop_add(loop, &iommu->member);
	*out = iommu;
	return true;
}

void iommu_destroy(struct iommu *iommu)
{
	if (!iommu)
		return;
	loop_remove(iommu->loop, &iommu->member);
	function_hang_up(&iommu->function);
	viommu_virtio_pci_destroy(iommu->virtio);
	viommu_dma_destroy(iommu->dma);
	viommu_device_destroy(iommu->device);
	function_close(&iommu->function);
	free(iommu);
}

struct function *iommu_function(struct iommu *iommu)
{
	return &iommu->function;
}

bool iommu_listen(struct iommu *iommu, const char *dir, unsigned mode,
		  struct problem *problem)
{
	return function_listen(&iommu->function,
			       viommu_virtio_pci_function(iommu->virtio), dir, mode,
			       problem);
}

/* ---- ports ---- */

static bool explain_add(const struct endpoint_settings *settings, int r,
			struct problem *problem)
{
	if (r == -EEXIST)
		return problem_set(problem,
				   "endpoint %s: ep=%#x is taken; each endpoint needs a "
				   "number of its own",
				   settings->id, settings->ep);
	if (r == -EINVAL)
		return problem_set(problem,
				   "endpoint %s: resv: regions overlap, or there are two "
				   "of kind msi; give each part of the space one kind",
				   settings->id);
	return problem_set(problem, "endpoint %s: cannot join the IOMMU: %s",
			   settings->id, strerror(-r));
}

bool iommu_add_port(struct iommu *iommu, const struct endpoint_settings *settings,
		    struct iommu_port **out, struct problem *problem)
{
	struct viommu_endpoint_config config = {.id = settings->ep,
						.resv = settings->resv,
						.resv_nr = settings->resv_nr,
						.untrusted = settings->untrusted};
	struct iommu_port *port = calloc(1, sizeof(*port));
	int r;

	if (!port)
		return problem_set(problem, "out of memory");
	r = viommu_endpoint_add(iommu->device, &config, &port->endpoint);
	if (r) {
		free(port);
		return explain_add(settings, r, problem);
	}
	port->next = iommu->ports;
	iommu->ports = port;
	*out = port;
	return true;
}

void iommu_remove_port(struct iommu *iommu, struct iommu_port *port)
{
	struct iommu_port **at = &iommu->ports;

	while (*at && *at != port)
		at = &(*at)->next;
	if (*at)
		*at = port->next;
	viommu_endpoint_remove(port->endpoint);
	free(port);
}

struct viommu_endpoint *iommu_port_endpoint(const struct iommu_port *port)
{
	return port->endpoint;
}

void iommu_want_reset(struct iommu *iommu, struct iommu_port *port)
{
	/* Pairs with reset_ports(). */
	atomic_store(&port->reset_wanted, true);
	atomic_store(&iommu->resets_wanted, true);
	loop_wake(iommu->loop);
}
