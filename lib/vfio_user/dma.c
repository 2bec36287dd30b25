/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Guest memory: what the client maps goes into the memory table. A file is
 * mapped only as far as it reaches, so that no access can end in SIGBUS, as long
 * as nobody cuts it off later (viommu_vfu_config.sealed_only).
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/log.h"
#include "vfio_user/sys.h"
#include "vfio_user/vfu_internal.h"

#define PAGE_LEN    4096u
#define GRANULE_MAX (1ull << 30) /* largest huge page */
/* A region without a file that is larger than display memory ever is, is RAM. */
#define PRIVATE_RAM_LEN (512ull << 20)

int vfu_dma_init(struct viommu_vfu *vfu)
{
	size_t len = LIMIT_VFU_DMA_MAPS * sizeof(struct vfu_map);

	vfu->dma.map = vfu->alloc.alloc(vfu->alloc.opaque, len, _Alignof(struct vfu_map));
	return vfu->dma.map ? 0 : err(ENOMEM, "DMA maps");
}

/* ---- mapping ---- */

/* Pipes, sockets and eventfds cannot be mapped; a device (DAX) has no length to
 * compare with, and its driver refuses what it does not have. */
static int check_file(const struct viommu_vfu *vfu, int fd, const struct vfu_dma_map *d,
		      struct stat *st)
{
	if (fstat(fd, st) < 0 || (!S_ISREG(st->st_mode) && !S_ISCHR(st->st_mode)))
		return err(EINVAL, "not a file that can be mapped");
	if (d->offset % PAGE_LEN || d->offset > INT64_MAX ||
	    d->size > INT64_MAX - d->offset)
		return err(EINVAL, "offset not aligned or out of range");
	if (S_ISREG(st->st_mode) && d->offset + d->size > (uint64_t)st->st_size)
		return err(EINVAL, "the file is shorter than the map");
	if (vfu->sealed_only) {
		int seals = fcntl(fd, F_GET_SEALS);

		if (seals < 0 || !(seals & F_SEAL_SHRINK))
			return err(EPERM, "the file is not sealed against shrinking");
	}
	return 0;
}

/*
 * Files of huge pages can only be mapped in whole pages, and the RAM of a PC is
 * cut at 640 KiB: the mapping is widened to the file's own granule.
 */
static int map_file(struct viommu_vfu *vfu, int fd, const struct vfu_dma_map *d,
		    struct vfu_map *map)
{
	int prot = PROT_READ | (d->flags & VFU_DMA_MAP_WRITE ? PROT_WRITE : 0);
	uint64_t granule, start;
	struct stat st;
	int r = check_file(vfu, fd, d, &st);

	if (r < 0)
		return r;
	granule = (uint64_t)st.st_blksize;
	if (!is_pow2(granule) || granule < PAGE_LEN || granule > GRANULE_MAX)
		granule = PAGE_LEN;
	start = d->offset & ~(granule - 1);
	map->base_len = ((d->offset + d->size + granule - 1) & ~(granule - 1)) - start;
	if (map->base_len > SIZE_MAX)
		return err(ENOMEM, "longer than the address space");
	map->base = mmap(NULL, map->base_len, prot, MAP_SHARED | MAP_NORESERVE, fd,
			 (off_t)start);
	if (map->base == MAP_FAILED) {
		map->base = NULL;
		return sys_err("mmap");
	}
	madvise(map->base, map->base_len, MADV_DONTDUMP);
	return (int)(d->offset - start); /* less than GRANULE_MAX */
}

static void count_ram(struct vfu_dma *dma, const struct vfu_map *map, bool add)
{
	uint64_t *len = map->base ? &dma->shared_len : &dma->private_len;

	if (map->base || map->private)
		*len += add ? map->len : -map->len;
}

static int check_map(const struct viommu_vfu *vfu, const struct vfu_dma_map *d)
{
	const uint32_t both = VFU_DMA_MAP_READ | VFU_DMA_MAP_WRITE;

	if (d->argsz < sizeof(*d))
		return err(EINVAL, "argsz");
	if (!(d->flags & both) || d->flags & ~both)
		return err(EINVAL, "flags");
	if (!d->size || d->addr % PAGE_LEN || d->size % PAGE_LEN ||
	    d->addr + (d->size - 1) < d->addr)
		return err(EINVAL, "empty, unaligned or wraps around");
	if (vfu->dma.nr == LIMIT_VFU_DMA_MAPS)
		return err(ENOSPC, "too many DMA maps");
	return 0;
}

static void complain(struct viommu_vfu *vfu)
{
	if (vfu->dma.complained)
		return;
	vfu->dma.complained = true;
	log_error(
		vfu->log,
		"%.20s: guest memory is not shared, devices cannot reach it. Start QEMU "
		"with -object memory-backend-memfd,id=mem,size=SIZE,share=on -machine "
		"memory-backend=mem, Cloud Hypervisor with --memory size=SIZE,shared=on.",
		vfu->name);
}

/* Display memory comes without a file too, but there is less of it than RAM. */
void vfu_dma_check_shared(struct viommu_vfu *vfu, bool started)
{
	const struct vfu_dma *dma = &vfu->dma;

	if (dma->private_len > dma->shared_len || (started && !dma->shared_len))
		complain(vfu);
}

/* The table is changed last: up to there a failure leaves nothing behind. */
int vfu_handle_dma_map(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	struct vfu_map map = {0};
	struct vfu_dma_map d;
	uint8_t *hva = NULL;
	unsigned flags;
	int r;

	memcpy(&d, m->payload, sizeof(d));
	r = check_map(vfu, &d);
	if (!r && m->fd_nr)
		r = map_file(vfu, m->fd[0], &d, &map);
	if (r < 0)
		return r;
	if (map.base)
		hva = map.base + r;
	map.gpa = d.addr;
	map.len = d.size;
	map.private = !map.base && d.flags & VFU_DMA_MAP_WRITE;
	flags = d.flags & VFU_DMA_MAP_WRITE ? 0 : VIOMMU_MEM_READONLY;
	r = viommu_mem_add(vfu->mem, d.addr, d.size, hva, flags);
	if (r < 0) {
		if (map.base)
			munmap(map.base, map.base_len);
		return r;
	}
	count_ram(&vfu->dma, &map, true);
	vfu->dma.map[vfu->dma.nr++] = map;
	vfu->stats.dma_maps++;
	if (map.private && map.len > PRIVATE_RAM_LEN)
		complain(vfu);
	return 0;
}

/* ---- unmapping ---- */

/* Nobody reaches it any more. The last map takes its place. */
static void release(struct vfu_dma *dma, unsigned i)
{
	struct vfu_map *map = &dma->map[i];

	if (map->base)
		munmap(map->base, map->base_len);
	*map = dma->map[--dma->nr];
}

/* 0: gone. -EINPROGRESS: leaving. -ENOMEM: still there. */
static int remove_map(struct viommu_vfu *vfu, unsigned i)
{
	struct vfu_map *map = &vfu->dma.map[i];
	int r = viommu_mem_remove(vfu->mem, map->gpa, map->len);

	if (r && r != -EINPROGRESS)
		return r;
	count_ram(&vfu->dma, map, false);
	map->leaving = r;
	if (!r)
		release(&vfu->dma, i);
	return r;
}

void vfu_dma_forget(struct viommu_vfu *vfu)
{
	/* From the last, so that those that move have had their turn. */
	for (unsigned i = vfu->dma.nr; i--;)
		if (!vfu->dma.map[i].leaving)
			remove_map(vfu, i);
}

bool vfu_dma_leaving(struct viommu_vfu *vfu)
{
	struct vfu_dma *dma = &vfu->dma;
	bool left = false;

	for (unsigned i = dma->nr; i--;) {
		if (!dma->map[i].leaving)
			continue;
		if (viommu_mem_busy(vfu->mem, dma->map[i].gpa, dma->map[i].len))
			left = true;
		else
			release(dma, i);
	}
	return left;
}

/* The protocol asks for exactly what one DMA_MAP made; a part of it, or more than
 * one, is refused. */
static int unmap_one(struct viommu_vfu *vfu, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < vfu->dma.nr; i++)
		if (vfu->dma.map[i].gpa == gpa && vfu->dma.map[i].len == len)
			return remove_map(vfu, i);
	return err(ENOENT, "no such DMA map");
}

static int unmap_all(struct viommu_vfu *vfu)
{
	vfu_dma_forget(vfu);
	for (unsigned i = 0; i < vfu->dma.nr; i++)
		if (!vfu->dma.map[i].leaving)
			return err(ENOMEM, "not all maps could be removed");
	return vfu->dma.nr ? -EINPROGRESS : 0;
}

/* The reply, an echo, says that nothing of it is in use any more. */
int vfu_handle_dma_unmap(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	struct vfu_dma_unmap d;
	int r;

	memcpy(&d, m->payload, sizeof(d));
	if (d.argsz < sizeof(d))
		return err(EINVAL, "argsz");
	if (d.flags & ~VFU_DMA_UNMAP_ALL)
		return err(EOPNOTSUPP, "flags");
	r = d.flags & VFU_DMA_UNMAP_ALL ? unmap_all(vfu) : unmap_one(vfu, d.addr, d.size);
	if (r && r != -EINPROGRESS)
		return r;
	vfu->stats.dma_unmaps++;
	memcpy(vfu_reply(vfu), &d, sizeof(d));
	vfu->parked_len = sizeof(d);
	return r ? r : (int)sizeof(d);
}

void vfu_dma_fini(struct viommu_vfu *vfu)
{
	struct vfu_dma *dma = &vfu->dma;

	if (!dma->map)
		return;
	vfu_dma_forget(vfu);
	if (vfu_dma_leaving(vfu) || dma->nr)
		log_warn(vfu->log,
			 "%s: destroyed while transfers hold guest memory; it stays "
			 "mapped.",
			 vfu->name);
	vfu->alloc.free(vfu->alloc.opaque, dma->map,
			LIMIT_VFU_DMA_MAPS * sizeof(struct vfu_map));
	dma->map = NULL;
}
