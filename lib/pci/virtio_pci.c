/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A modern virtio device as a PCI function (VIRTIO 1.4, "Virtio Over PCI Bus"). */
#include <string.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/log.h"
#include "base/probe.h"
#include "pci/virtio_internal.h"

#define ISR_QUEUE  1u
#define ISR_CONFIG 2u

/* ---- interrupts ---- */

/* "ISR status capability": the configuration bit is set in any case, the queue bit
 * if MSI-X is disabled. DPDK looks at the first with MSI-X on. */
static void send_irq(struct viommu_virtio_pci *vp, uint16_t vector, uint8_t isr)
{
	if (viommu_pci_msix_enabled(vp->pci)) {
		vp->isr |= isr & ISR_CONFIG;
		if (vector != VIRTIO_NO_VECTOR)
			viommu_pci_raise_msix(vp->pci, vector);
		return;
	}
	vp->isr |= isr;
	viommu_pci_set_intx(vp->pci, true);
}

/* "Device Status Field": no used buffer notification before DRIVER_OK; "Virtqueue
 * Reset": none for a queue that was reset. */
void viommu_virtio_pci_queue_irq(struct viommu_virtio_pci *vp, unsigned queue)
{
	if (queue >= vp->cfg.queues_nr || !vp->queue[queue].enabled ||
	    vp->driver != DRIVER_SERVED)
		return;
	vp->stats.irqs[queue]++;
	(void)PROBE2(notify, vp->cfg.virtio_id, queue);
	send_irq(vp, vp->queue[queue].vector, ISR_QUEUE);
}

void viommu_virtio_pci_config_irq(struct viommu_virtio_pci *vp)
{
	/* The driver compares generations around its reads, so one step is
	 * enough until it has read again; then 256 changes cannot look like none. */
	if (vp->config_read) {
		vp->generation++;
		vp->config_read = false;
	}
	/* Who does not master the bus yet learns of it then; who has left is not to
	 * hear of it when the next one does. */
	if (!(vp->status & STATUS_DRIVER_OK) || vp->driver == DRIVER_LEFT)
		return;
	vp->stats.config_irqs++;
	send_irq(vp, vp->config_vector, ISR_CONFIG);
}

void viommu_virtio_pci_needs_reset(struct viommu_virtio_pci *vp)
{
	vp->status |= STATUS_NEEDS_RESET;
	viommu_virtio_pci_config_irq(vp);
}

/* ---- BAR 0 ---- */

/* Reading clears the register and takes the pin back, in that one access. */
static uint64_t read_isr(struct viommu_virtio_pci *vp)
{
	uint8_t isr = vp->isr;

	vp->isr = 0;
	viommu_pci_set_intx(vp->pci, false);
	return isr;
}

/* Bytes of [offset, offset + len) that the device has; 0: none. */
static unsigned config_inside(const struct viommu_virtio_pci *vp, unsigned offset,
			      unsigned len)
{
	if (offset >= vp->cfg.config_len)
		return 0;
	return len < vp->cfg.config_len - offset ? len : vp->cfg.config_len - offset;
}

static uint64_t read_device_config(struct viommu_virtio_pci *vp, unsigned offset,
				   unsigned len)
{
	uint64_t value = 0;
	unsigned nr = config_inside(vp, offset, len);

	vp->config_read = true;
	if (nr && vp->ops.config_read)
		vp->ops.config_read(vp->opaque, offset, &value, nr);
	return le64(value);
}

static void write_device_config(struct viommu_virtio_pci *vp, unsigned offset,
				unsigned len, uint64_t value)
{
	unsigned nr = config_inside(vp, offset, len);

	value = le64(value);
	if (nr && vp->ops.config_write)
		vp->ops.config_write(vp->opaque, offset, &value, nr);
}

/* Which queue is kicked follows from the address alone; what the driver writes
 * there is the same number (NOTIFICATION_DATA is not offered). */
static void write_notify(struct viommu_virtio_pci *vp, unsigned offset)
{
	unsigned queue = offset / VIRTIO_NOTIFY_SCALE;

	if (queue >= vp->cfg.queues_nr || !vp->queue[queue].enabled ||
	    vp->driver != DRIVER_SERVED) {
		vp->stats.kicks_ignored++;
		return;
	}
	vp->stats.kicks[queue]++;
	(void)PROBE2(kick, vp->cfg.virtio_id, queue);
	if (vp->ops.notify)
		vp->ops.notify(vp->opaque, queue);
}

static uint64_t bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len)
{
	struct viommu_virtio_pci *vp = opaque;
	unsigned at = (unsigned)offset & (REGION_LEN - 1);

	if (bar != VIRTIO_BAR)
		return 0;
	switch (offset - at) {
	case REGION_COMMON:
		return common_read(vp, at, len);
	case REGION_ISR:
		return at < ISR_LEN ? read_isr(vp) : 0;
	case REGION_DEVICE:
		return read_device_config(vp, at, len);
	default: /* the notify region has nothing to read */
		return 0;
	}
}

static void bar_write(void *opaque, unsigned bar, uint64_t offset, unsigned len,
		      uint64_t value)
{
	struct viommu_virtio_pci *vp = opaque;
	unsigned at = (unsigned)offset & (REGION_LEN - 1);

	if (bar != VIRTIO_BAR)
		return;
	switch (offset - at) {
	case REGION_COMMON:
		common_write(vp, at, len, value);
		break;
	case REGION_DEVICE:
		write_device_config(vp, at, len, value);
		break;
	case REGION_NOTIFY:
		write_notify(vp, at);
		break;
	default: /* the ISR cannot be written */
		break;
	}
}

static void function_reset(void *opaque)
{
	transport_reset(opaque);
}

static void command_changed(void *opaque, uint16_t command)
{
	(void)command;
	transport_follow_driver(opaque);
}

/* ---- capabilities ---- */

/* The body of struct virtio_pci_cap, after the two bytes of every capability. */
enum { CAP_LEN = 0, CAP_TYPE = 1, CAP_BAR = 2, CAP_OFFSET = 6, CAP_LENGTH = 10 };
enum { CAP_BODY_LEN = 14, CAP_EXTRA_LEN = 4, WINDOW_DATA = 16 };
enum { TYPE_COMMON = 1, TYPE_NOTIFY, TYPE_ISR, TYPE_DEVICE, TYPE_WINDOW };

static int add_cap(struct viommu_virtio_pci *vp, uint8_t type, uint32_t offset,
		   uint32_t length)
{
	uint8_t body[CAP_BODY_LEN + CAP_EXTRA_LEN] = {0}, mask[sizeof(body)] = {0};
	unsigned len = CAP_BODY_LEN;

	if (type == TYPE_NOTIFY || type == TYPE_WINDOW)
		len += CAP_EXTRA_LEN;
	body[CAP_LEN] = (uint8_t)(len + 2);
	body[CAP_TYPE] = type;
	body[CAP_BAR] = VIRTIO_BAR;
	pci_put32(&body[CAP_OFFSET], offset);
	pci_put32(&body[CAP_LENGTH], length);
	if (type == TYPE_NOTIFY)
		pci_put32(&body[CAP_BODY_LEN], VIRTIO_NOTIFY_SCALE);
	if (type == TYPE_WINDOW) {
		mask[CAP_BAR] = 0xff;
		memset(&mask[CAP_OFFSET], 0xff, sizeof(mask) - CAP_OFFSET);
	}
	return viommu_pci_add_cap(vp->pci, PCI_CAP_VENDOR, body, mask, len);
}

static uint32_t get32(const uint8_t *field)
{
	return pci_get16(field) | (uint32_t)pci_get16(field + 2) << 16;
}

/*
 * "PCI configuration access capability": BAR accesses through configuration
 * space. length is 1, 2 or 4 and offset a multiple of it, or nothing happens.
 */
static bool window_target(const struct viommu_virtio_pci *vp, unsigned *bar,
			  uint32_t *offset, uint32_t *len)
{
	const uint8_t *cap = &vp->pci->config[vp->window_cap + 2];

	*bar = cap[CAP_BAR];
	*offset = get32(&cap[CAP_OFFSET]);
	*len = get32(&cap[CAP_LENGTH]);
	return (*len == 1 || *len == 2 || *len == 4) && *offset % *len == 0;
}

static void window_read(void *opaque)
{
	struct viommu_virtio_pci *vp = opaque;
	uint32_t offset, len;
	unsigned bar;

	/* Out of range: the data register keeps what it had. */
	if (window_target(vp, &bar, &offset, &len))
		viommu_pci_bar_read(vp->pci, bar, offset,
				    &vp->pci->config[vp->window_cap + WINDOW_DATA], len);
}

static void window_write(void *opaque)
{
	struct viommu_virtio_pci *vp = opaque;
	uint32_t offset, len;
	unsigned bar;

	if (window_target(vp, &bar, &offset, &len))
		viommu_pci_bar_write(vp->pci, bar, offset,
				     &vp->pci->config[vp->window_cap + WINDOW_DATA], len);
}

static int add_caps(struct viommu_virtio_pci *vp)
{
	int window;

	if (add_cap(vp, TYPE_COMMON, REGION_COMMON, common_len()) < 0 ||
	    add_cap(vp, TYPE_ISR, REGION_ISR, ISR_LEN) < 0 ||
	    add_cap(vp, TYPE_NOTIFY, REGION_NOTIFY,
		    vp->cfg.queues_nr * VIRTIO_NOTIFY_SCALE) < 0)
		return err(ENOSPC, "virtio capabilities");
	if (vp->cfg.config_len &&
	    add_cap(vp, TYPE_DEVICE, REGION_DEVICE, vp->cfg.config_len) < 0)
		return err(ENOSPC, "virtio device capability");
	window = add_cap(vp, TYPE_WINDOW, 0, 0);
	if (window < 0)
		return window;
	vp->window_cap = (unsigned)window;
	vp->pci->window = (struct pci_window){
		.offset = vp->window_cap + WINDOW_DATA,
		.read = window_read,
		.write = window_write,
		.opaque = vp,
	};
	return 0;
}

/* ---- creation ---- */

static int check_config(const struct viommu_virtio_pci_config *cfg,
			const struct viommu_virtio_ops *ops, const struct viommu_log *log)
{
	const char *field = NULL;

	if (!cfg->queues_nr || cfg->queues_nr > VIOMMU_VIRTIO_QUEUES_MAX)
		field = "queues_nr";
	else if (!is_pow2(cfg->queue_size))
		field = "queue_size";
	else if (cfg->config_len > REGION_LEN)
		field = "config_len";
	else if (!ops->features || !ops->set_features || !ops->queue_enable ||
		 !ops->queue_disable || !ops->reset)
		field = "ops";
	if (!field)
		return 0;
	log_error(log, "virtio device %u: bad %s.", cfg->virtio_id, field);
	return err(EINVAL, "bad virtio-pci configuration");
}

static int create_function(struct viommu_virtio_pci *vp)
{
	const struct viommu_pci_config cfg = {
		.vendor = 0x1af4,
		.device = (uint16_t)(0x1040 + vp->cfg.virtio_id),
		.subvendor = 0x1af4,
		.subdevice = (uint16_t)(0x1040 + vp->cfg.virtio_id),
		.revision = 1, /* 1 or higher: not a transitional device */
		.prog_if = vp->cfg.prog_if,
		.subclass = vp->cfg.subclass,
		.class_code = vp->cfg.class_code,
		.bar[VIRTIO_BAR].len = VIRTIO_BAR_LEN,
		.bar[VIRTIO_MSIX_BAR].len = VIRTIO_MSIX_BAR_LEN,
		.msix_nr = (uint16_t)(vp->cfg.queues_nr + 1),
		.msix_bar = VIRTIO_MSIX_BAR,
		.intx = true,
		.flr = true,
	};
	static const struct viommu_pci_ops ops = {
		.bar_read = bar_read,
		.bar_write = bar_write,
		.reset = function_reset,
		.command_changed = command_changed,
	};

	return viommu_pci_create(&cfg, &ops, vp, &vp->alloc, vp->log, &vp->pci);
}

int viommu_virtio_pci_create(const struct viommu_virtio_pci_config *config,
			     const struct viommu_virtio_ops *ops, void *opaque,
			     const struct viommu_alloc *alloc,
			     const struct viommu_log *log, struct viommu_virtio_pci **out)
{
	struct viommu_virtio_pci *vp;
	int r = check_config(config, ops, log);

	if (r < 0)
		return r;
	vp = alloc->alloc(alloc->opaque, sizeof(*vp), _Alignof(struct viommu_virtio_pci));
	if (!vp)
		return err(ENOMEM, "virtio-pci transport");
	memset(vp, 0, sizeof(*vp));
	vp->cfg = *config;
	vp->ops = *ops;
	vp->opaque = opaque;
	vp->alloc = *alloc;
	vp->log = log;
	r = create_function(vp);
	if (!r)
		r = add_caps(vp);
	if (r < 0) {
		viommu_virtio_pci_destroy(vp);
		return r;
	}
	transport_init(vp);
	*out = vp;
	return 0;
}

void viommu_virtio_pci_destroy(struct viommu_virtio_pci *vp)
{
	struct viommu_alloc alloc;

	if (!vp)
		return;
	alloc = vp->alloc;
	viommu_pci_destroy(vp->pci);
	alloc.free(alloc.opaque, vp, sizeof(*vp));
}

struct viommu_pci *viommu_virtio_pci_function(struct viommu_virtio_pci *vp)
{
	return vp->pci;
}

uint8_t viommu_virtio_pci_status(const struct viommu_virtio_pci *vp)
{
	return vp->status;
}

uint64_t viommu_virtio_pci_features(const struct viommu_virtio_pci *vp)
{
	if (!(vp->status & STATUS_FEATURES_OK))
		return 0;
	return vp->driver_features[0] | (uint64_t)vp->driver_features[1] << 32;
}

void viommu_virtio_pci_get_stats(const struct viommu_virtio_pci *vp,
				 struct viommu_virtio_pci_stats *out)
{
	*out = vp->stats;
}
