/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int fail(const char *what)
{
	int err = errno ? errno : EIO;

	fprintf(stderr, "vfio: %s: %s\n", what, strerror(err));
	return -err;
}

/* The IOMMU group of a function, or -1. */
static int group_of(const char *address)
{
	char link[128], path[256];
	ssize_t len;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", address);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return -1;
	path[len] = 0;
	return atoi(strrchr(path, '/') + 1);
}

static int open_group(struct vfio *v, const char *address)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};
	int number = group_of(address);
	char path[64];

	if (number < 0)
		return fail("no IOMMU group");
	snprintf(path, sizeof(path), "/dev/vfio/%d", number);
	v->group = open(path, O_RDWR | O_CLOEXEC);
	if (v->group < 0)
		return fail(path);
	if (ioctl(v->group, VFIO_GROUP_GET_STATUS, &status))
		return fail("group status");
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
		errno = EBUSY;
		return fail("group has devices of other drivers");
	}
	return 0;
}

int vfio_open(struct vfio *v, const char *address)
{
	int ret;

	v->group = v->device = -1;
	v->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (v->container < 0)
		return fail("/dev/vfio/vfio");
	ret = open_group(v, address);
	if (ret)
		return ret;
	if (ioctl(v->group, VFIO_GROUP_SET_CONTAINER, &v->container))
		return fail("set container");
	if (ioctl(v->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return fail("type1 (allow_unsafe_interrupts?)");
	v->device = ioctl(v->group, VFIO_GROUP_GET_DEVICE_FD, address);
	return v->device < 0 ? fail("get device") : 0;
}

void vfio_close(struct vfio *v)
{
	if (v->device >= 0)
		close(v->device);
	if (v->group >= 0)
		close(v->group);
	if (v->container >= 0)
		close(v->container);
	v->device = v->group = v->container = -1;
}

int vfio_map(struct vfio *v, void *va, uint64_t iova, uint64_t len, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (uintptr_t)va,
		.iova = iova,
		.size = len,
	};

	return ioctl(v->container, VFIO_IOMMU_MAP_DMA, &map) ? fail("map") : 0;
}

int vfio_unmap(struct vfio *v, uint64_t iova, uint64_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = len,
	};

	if (ioctl(v->container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		return fail("unmap");
	return unmap.size == len ? 0 : -EIO;
}

static int region(struct vfio *v, unsigned int index, struct vfio_region_info *info)
{
	*info = (struct vfio_region_info){.argsz = sizeof(*info), .index = index};
	return ioctl(v->device, VFIO_DEVICE_GET_REGION_INFO, info) ? fail("region") : 0;
}

volatile void *vfio_bar(struct vfio *v, unsigned int bar, size_t len)
{
	struct vfio_region_info info;
	void *va;

	if (region(v, VFIO_PCI_BAR0_REGION_INDEX + bar, &info) || info.size < len)
		return NULL;
	va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, v->device,
		  (off_t)info.offset);
	if (va == MAP_FAILED) {
		fail("mmap of a BAR");
		return NULL;
	}
	return va;
}

int vfio_config_read(struct vfio *v, unsigned int offset, void *data, size_t len)
{
	struct vfio_region_info info;
	int ret = region(v, VFIO_PCI_CONFIG_REGION_INDEX, &info);

	if (ret)
		return ret;
	if (pread(v->device, data, len, (off_t)(info.offset + offset)) != (ssize_t)len)
		return fail("config read");
	return 0;
}

int vfio_config_write(struct vfio *v, unsigned int offset, const void *data, size_t len)
{
	struct vfio_region_info info;
	int ret = region(v, VFIO_PCI_CONFIG_REGION_INDEX, &info);

	if (ret)
		return ret;
	if (pwrite(v->device, data, len, (off_t)(info.offset + offset)) != (ssize_t)len)
		return fail("config write");
	return 0;
}

int vfio_enable(struct vfio *v)
{
	uint16_t command;
	int ret = vfio_config_read(v, 4, &command, 2);

	if (ret)
		return ret;
	command |= 2 | 4; /* memory, bus master */
	return vfio_config_write(v, 4, &command, 2);
}

int vfio_msix(struct vfio *v, const int *fds, unsigned int nr)
{
	struct vfio_irq_set *set = calloc(1, sizeof(*set) + nr * sizeof(int));
	int ret;

	if (!set)
		return -ENOMEM;
	set->argsz = sizeof(*set) + nr * sizeof(int);
	set->flags = VFIO_IRQ_SET_ACTION_TRIGGER;
	set->flags |= nr ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE;
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = nr;
	if (nr)
		memcpy(set->data, fds, nr * sizeof(int));
	ret = ioctl(v->device, VFIO_DEVICE_SET_IRQS, set) ? fail("MSI-X") : 0;
	free(set);
	return ret;
}

int vfio_reset(struct vfio *v)
{
	return ioctl(v->device, VFIO_DEVICE_RESET) ? fail("reset") : 0;
}
