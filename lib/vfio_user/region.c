/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The function's regions: what there is, reads, writes, reset. */
#include <string.h>

#include "base/err.h"
#include "vfio_user/vfu_internal.h"

/* 0: there is no such region; accesses to it are refused by their range. */
static uint64_t region_len(const struct viommu_vfu *vfu, uint32_t region)
{
	if (region <= VFU_REGION_BAR5)
		return viommu_pci_get_config(vfu->pci)->bar[region].len;
	return region == VFU_REGION_CONFIG ? VIOMMU_PCI_CONFIG_LEN : 0;
}

int vfu_handle_get_info(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	struct vfu_device_info info;

	memcpy(&info, m->payload, sizeof(info));
	if (info.argsz < sizeof(info))
		return err(EINVAL, "argsz");
	info = (struct vfu_device_info){
		.argsz = sizeof(info),
		.flags = VFU_DEVICE_RESETTABLE | VFU_DEVICE_PCI,
		.regions_nr = VFU_REGIONS_NR,
		.irqs_nr = VFU_IRQS_NR,
	};
	memcpy(vfu_reply(vfu), &info, sizeof(info));
	/* QEMU has mapped all memory by now. */
	vfu_dma_check_shared(vfu, false);
	return sizeof(info);
}

int vfu_handle_region_info(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	struct vfu_region_info info;

	memcpy(&info, m->payload, sizeof(info));
	if (info.argsz < sizeof(info) || info.index >= VFU_REGIONS_NR)
		return err(EINVAL, "argsz or index");
	info = (struct vfu_region_info){
		.argsz = sizeof(info),
		.index = info.index,
		.size = region_len(vfu, info.index),
	};
	if (info.size)
		info.flags = VFU_REGION_CAN_READ | VFU_REGION_CAN_WRITE;
	memcpy(vfu_reply(vfu), &info, sizeof(info));
	return sizeof(info);
}

static int check_access(const struct viommu_vfu *vfu, const struct vfu_region_access *a)
{
	uint64_t len = region_len(vfu, a->region);

	if (!a->count || a->count > LIMIT_VFU_DATA_LEN)
		return err(EINVAL, "count");
	if (a->offset > len || a->count > len - a->offset)
		return err(EINVAL, "outside the region");
	return 0;
}

int vfu_handle_region_read(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	struct vfu_region_access a;
	uint8_t *to = vfu_reply(vfu);
	int r;

	memcpy(&a, m->payload, sizeof(a));
	r = check_access(vfu, &a);
	if (r < 0)
		return r;
	memcpy(to, &a, sizeof(a));
	to += sizeof(a);
	if (a.region == VFU_REGION_CONFIG)
		viommu_pci_config_read(vfu->pci, (unsigned)a.offset, to, a.count);
	else
		r = viommu_pci_bar_read(vfu->pci, a.region, a.offset, to, a.count);
	return r < 0 ? r : (int)(sizeof(a) + a.count);
}

static void write_config(struct viommu_vfu *vfu, const struct vfu_region_access *a,
			 const uint8_t *data)
{
	bool before = viommu_pci_bus_master(vfu->pci);

	viommu_pci_config_write(vfu->pci, (unsigned)a->offset, data, a->count);
	/* A VMM that shares nothing maps nothing: the last chance to say so. */
	if (!before && viommu_pci_bus_master(vfu->pci))
		vfu_dma_check_shared(vfu, true);
}

static int write_region(struct viommu_vfu *vfu, const struct vfu_region_access *a,
			const uint8_t *data)
{
	int r = check_access(vfu, a);

	if (r < 0)
		return r;
	if (a->region != VFU_REGION_CONFIG)
		return viommu_pci_bar_write(vfu->pci, a->region, a->offset, data,
					    a->count);
	write_config(vfu, a, data);
	return 0;
}

/* The hot one: a kick. With NO_REPLY nothing goes back, also if it is refused. */
int vfu_handle_region_write(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	struct vfu_region_access a;
	int r;

	memcpy(&a, m->payload, sizeof(a));
	if (a.count != m->len - sizeof(a))
		return vfu_drop(vfu, "a REGION_WRITE whose data is not what it counts");
	if (m->hdr.flags & VFU_FLAG_NO_REPLY)
		vfu->stats.posted_writes++;
	r = write_region(vfu, &a, m->payload + sizeof(a));
	if (r < 0)
		return r;
	memcpy(vfu_reply(vfu), &a, sizeof(a));
	return sizeof(a);
}

/* Writes in order, up to the first that cannot be; the reply counts them. */
int vfu_handle_region_write_multi(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	const uint8_t *at = m->payload + sizeof(uint64_t);
	unsigned room = m->len - (unsigned)sizeof(uint64_t);
	struct vfu_region_write1 w;
	uint64_t nr, done;

	memcpy(&nr, m->payload, sizeof(nr));
	if (nr > LIMIT_VFU_WRITES || nr * sizeof(w) != room)
		return vfu_drop(vfu,
				"a REGION_WRITE_MULTI of another length than it counts");
	for (done = 0; done < nr; done++, at += sizeof(w)) {
		struct vfu_region_access a;

		memcpy(&w, at, sizeof(w));
		a = (struct vfu_region_access){w.offset, w.region, w.count};
		if (w.count > sizeof(w.data) || write_region(vfu, &a, w.data) < 0) {
			vfu->stats.refused++;
			break;
		}
		if (m->hdr.flags & VFU_FLAG_NO_REPLY)
			vfu->stats.posted_writes++;
	}
	memcpy(vfu_reply(vfu), &done, sizeof(done));
	return sizeof(done);
}

/* What the VMM means is a reset of the machine, not of this function alone (that
 * is FLR, a configuration write). The client's eventfds and memory stay. */
int vfu_handle_reset(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	(void)m;
	viommu_pci_reset(vfu->pci);
	if (vfu->ops.system_reset)
		vfu->ops.system_reset(vfu->opaque);
	return 0;
}
