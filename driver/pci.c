/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* virtio-pci, modern ("Virtio Over PCI Bus"). What the function says of itself
 * is checked: offsets stay inside the structures it announced. */
#include "viommu_drv_pci.h"

#include "base/compiler.h"
#include "base/err.h"

/* PCI configuration space. */
#define PCI_VENDOR	   0x00u
#define PCI_DEVICE	   0x02u
#define PCI_COMMAND	   0x04u
#define PCI_COMMAND_MEMORY 0x2u
#define PCI_COMMAND_MASTER 0x4u
#define PCI_STATUS	   0x06u
#define PCI_STATUS_CAPS	   0x10u
#define PCI_CAP_PTR	   0x34u
#define PCI_CAP_VENDOR	   0x09u
#define PCI_BARS_NR	   6u
#define PCI_CONFIG_LEN	   0x100u
/* Capabilities that fit into 192 bytes: a longer list is a loop. */
#define PCI_CAPS_MAX 48u

/* struct virtio_pci_cap */
#define CAP_NEXT	1u
#define CAP_LEN		2u
#define CAP_TYPE	3u
#define CAP_BAR		4u
#define CAP_OFFSET	8u
#define CAP_LENGTH	12u
#define CAP_MULTIPLIER	16u
#define CAP_NOTIFY_LEN	20u
#define CAP_TYPE_COMMON 1u
#define CAP_TYPE_NOTIFY 2u
#define CAP_TYPE_DEVICE 4u

/* struct virtio_pci_common_cfg */
#define COMMON_DEVICE_SELECT 0u
#define COMMON_DEVICE_BITS   4u
#define COMMON_DRIVER_SELECT 8u
#define COMMON_DRIVER_BITS   12u
#define COMMON_QUEUES_NR     18u
#define COMMON_STATUS	     20u
#define COMMON_GENERATION    21u
#define COMMON_QUEUE_SELECT  22u
#define COMMON_QUEUE_SIZE    24u
#define COMMON_QUEUE_VECTOR  26u
#define COMMON_QUEUE_ENABLE  28u
#define COMMON_QUEUE_NOTIFY  30u
#define COMMON_QUEUE_DESC    32u
#define COMMON_QUEUE_DRIVER  40u
#define COMMON_QUEUE_DEVICE  48u
#define COMMON_LEN	     56u

#define EVENT_QUEUE	     1u

static uint32_t config_read(const struct viommu_drv_pci *pci, unsigned offset,
			    unsigned len)
{
	return pci->ops.config_read(pci->opaque, offset, len);
}

static uint32_t common_read(const struct viommu_drv_pci *pci, unsigned offset,
			    unsigned len)
{
	return pci->ops.bar_read(pci->opaque, pci->common.bar,
				 (uint64_t)pci->common.offset + offset, len);
}

static void common_write(const struct viommu_drv_pci *pci, unsigned offset,
			 uint32_t value, unsigned len)
{
	pci->ops.bar_write(pci->opaque, pci->common.bar,
			   (uint64_t)pci->common.offset + offset, value, len);
}

static void common_write64(const struct viommu_drv_pci *pci, unsigned offset,
			   uint64_t value)
{
	common_write(pci, offset, (uint32_t)value, 4);
	common_write(pci, offset + 4, (uint32_t)(value >> 32), 4);
}

/* ---- capabilities ---- */

/* Takes a structure over; of several of a kind the first counts. */
static void take_window(const struct viommu_drv_pci *pci, unsigned cap,
			struct viommu_drv_pci_window *window)
{
	uint8_t bar = config_read(pci, cap + CAP_BAR, 1);

	if (window->len || bar >= PCI_BARS_NR)
		return;
	window->bar = bar;
	window->offset = config_read(pci, cap + CAP_OFFSET, 4);
	window->len = config_read(pci, cap + CAP_LENGTH, 4);
}

static void take_cap(struct viommu_drv_pci *pci, unsigned cap)
{
	switch (config_read(pci, cap + CAP_TYPE, 1)) {
	case CAP_TYPE_COMMON:
		take_window(pci, cap, &pci->common);
		break;
	case CAP_TYPE_NOTIFY:
		if (cap > PCI_CONFIG_LEN - CAP_NOTIFY_LEN)
			break;
		if (!pci->notify.len)
			pci->notify_multiplier =
				config_read(pci, cap + CAP_MULTIPLIER, 4);
		take_window(pci, cap, &pci->notify);
		break;
	case CAP_TYPE_DEVICE:
		take_window(pci, cap, &pci->device);
		break;
	}
}

static int walk_caps(struct viommu_drv_pci *pci)
{
	unsigned cap;

	if (!(config_read(pci, PCI_STATUS, 2) & PCI_STATUS_CAPS))
		return err(ENODEV, "no capabilities");
	cap = config_read(pci, PCI_CAP_PTR, 1) & ~3u;
	for (unsigned i = 0; cap; i++) {
		if (i == PCI_CAPS_MAX || cap < 0x40 || cap > 0xf0)
			return err(EIO, "the list of capabilities makes no sense");
		if (config_read(pci, cap, 1) == PCI_CAP_VENDOR)
			take_cap(pci, cap);
		cap = config_read(pci, cap + CAP_NEXT, 1) & ~3u;
	}
	return 0;
}

/* Whether accesses in it are aligned, and its end is a number of 32 bits. */
static bool is_sound(const struct viommu_drv_pci_window *window, uint32_t align)
{
	return !(window->offset & (align - 1)) &&
	       window->len - 1 <= UINT32_MAX - window->offset;
}

static int check_windows(const struct viommu_drv_pci *pci)
{
	if (!pci->common.len || !pci->notify.len || !pci->device.len)
		return err(ENODEV, "not a modern virtio device");
	if (pci->common.len < COMMON_LEN)
		return err(EIO, "the common configuration is too short");
	if (!is_sound(&pci->common, 4) || !is_sound(&pci->notify, 2) ||
	    !is_sound(&pci->device, 4))
		return err(EIO, "a structure is not aligned, or ends past 4 GiB");
	return 0;
}

int viommu_drv_pci_init(struct viommu_drv_pci *pci, const struct viommu_drv_pci_ops *ops,
			void *opaque)
{
	uint32_t command;
	int r;

	*pci = (struct viommu_drv_pci){
		.ops = *ops,
		.opaque = opaque,
		.event_vector = VIOMMU_DRV_PCI_NO_VECTOR,
	};
	if (config_read(pci, PCI_VENDOR, 2) != VIOMMU_DRV_PCI_VENDOR ||
	    config_read(pci, PCI_DEVICE, 2) != VIOMMU_DRV_PCI_DEVICE)
		return err(ENODEV, "not a virtio-iommu");
	r = walk_caps(pci);
	if (!r)
		r = check_windows(pci);
	if (r)
		return r;
	command = config_read(pci, PCI_COMMAND, 2);
	pci->ops.config_write(opaque, PCI_COMMAND,
			      command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	return 0;
}

/* ---- transport ---- */

static uint64_t get_features(void *opaque)
{
	const struct viommu_drv_pci *pci = opaque;
	uint64_t features;

	common_write(pci, COMMON_DEVICE_SELECT, 1, 4);
	features = (uint64_t)common_read(pci, COMMON_DEVICE_BITS, 4) << 32;
	common_write(pci, COMMON_DEVICE_SELECT, 0, 4);
	return features | common_read(pci, COMMON_DEVICE_BITS, 4);
}

static void set_features(void *opaque, uint64_t features)
{
	const struct viommu_drv_pci *pci = opaque;

	common_write(pci, COMMON_DRIVER_SELECT, 0, 4);
	common_write(pci, COMMON_DRIVER_BITS, (uint32_t)features, 4);
	common_write(pci, COMMON_DRIVER_SELECT, 1, 4);
	common_write(pci, COMMON_DRIVER_BITS, (uint32_t)(features >> 32), 4);
}

static uint8_t get_status(void *opaque)
{
	return common_read(opaque, COMMON_STATUS, 1);
}

static void set_status(void *opaque, uint8_t status)
{
	common_write(opaque, COMMON_STATUS, status, 1);
}

static bool in_device_config(const struct viommu_drv_pci *pci, uint32_t offset,
			     uint32_t len)
{
	return offset <= pci->device.len && len <= pci->device.len - offset;
}

/* The widest access the standard allows for a field is 32 bits here. What lies
 * past the end reads as zero. */
static void device_config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	const struct viommu_drv_pci *pci = opaque;
	uint64_t at = (uint64_t)pci->device.offset + offset;
	uint32_t part = len > 4 ? 4 : len;
	uint8_t *to = buf;

	for (uint32_t done = 0; done < len; done += part) {
		uint32_t value = 0;

		if (in_device_config(pci, offset + done, part))
			value = pci->ops.bar_read(pci->opaque, pci->device.bar, at + done,
						  part);
		value = le32(value);
		__builtin_memcpy(to + done, &value, part);
	}
}

static void device_config_write(void *opaque, uint32_t offset, const void *buf,
				uint32_t len)
{
	const struct viommu_drv_pci *pci = opaque;
	uint32_t value = 0;

	if (len > 4 || !in_device_config(pci, offset, len))
		return;
	__builtin_memcpy(&value, buf, len);
	pci->ops.bar_write(pci->opaque, pci->device.bar,
			   (uint64_t)pci->device.offset + offset, le32(value), len);
}

static uint32_t config_generation(void *opaque)
{
	return common_read(opaque, COMMON_GENERATION, 1);
}

static uint16_t queue_max(void *opaque, uint16_t index)
{
	if (index >= common_read(opaque, COMMON_QUEUES_NR, 2) ||
	    index >= VIOMMU_DRV_PCI_QUEUES)
		return 0;
	common_write(opaque, COMMON_QUEUE_SELECT, index, 2);
	return common_read(opaque, COMMON_QUEUE_SIZE, 2);
}

static int find_doorbell(struct viommu_drv_pci *pci, uint16_t index)
{
	uint64_t at = (uint64_t)common_read(pci, COMMON_QUEUE_NOTIFY, 2) *
		      pci->notify_multiplier;

	if (at + 2 > pci->notify.len || at & 1)
		return err(EIO, "a doorbell is odd or lies outside its structure");
	pci->notify_offset[index] = pci->notify.offset + (uint32_t)at;
	return 0;
}

static int queue_setup(void *opaque, const struct viommu_drv_queue_setup *setup)
{
	struct viommu_drv_pci *pci = opaque;
	uint16_t vector = setup->index == EVENT_QUEUE ? pci->event_vector
						      : VIOMMU_DRV_PCI_NO_VECTOR;
	int r;

	if (queue_max(pci, setup->index) < setup->size)
		return err(EIO, "the queue became smaller");
	r = find_doorbell(pci, setup->index);
	if (r)
		return r;
	common_write(pci, COMMON_QUEUE_SIZE, setup->size, 2);
	common_write(pci, COMMON_QUEUE_VECTOR, vector, 2);
	common_write64(pci, COMMON_QUEUE_DESC, setup->desc);
	common_write64(pci, COMMON_QUEUE_DRIVER, setup->driver);
	common_write64(pci, COMMON_QUEUE_DEVICE, setup->device);
	common_write(pci, COMMON_QUEUE_ENABLE, 1, 2);
	return 0;
}

static void kick(void *opaque, uint16_t index)
{
	const struct viommu_drv_pci *pci = opaque;

	pci->ops.bar_write(pci->opaque, pci->notify.bar, pci->notify_offset[index], index,
			   2);
}

const struct viommu_drv_transport viommu_drv_pci_transport = {
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.config_read = device_config_read,
	.config_write = device_config_write,
	.config_generation = config_generation,
	.queue_max = queue_max,
	.queue_setup = queue_setup,
	.kick = kick,
};
