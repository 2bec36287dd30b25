/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A PCI function owned by this process through VFIO type1. */
#ifndef GUEST_VFIO_H
#define GUEST_VFIO_H

#include <linux/vfio.h>
#include <stddef.h>
#include <stdint.h>

struct vfio {
	int container;
	int group;
	int device;
};

/* All return 0 or -errno and say on stderr what failed. */
int vfio_open(struct vfio *v, const char *address);
void vfio_close(struct vfio *v);
int vfio_map(struct vfio *v, void *va, uint64_t iova, uint64_t len, uint32_t flags);
int vfio_unmap(struct vfio *v, uint64_t iova, uint64_t len);
/* The first len bytes of a BAR, or NULL. */
volatile void *vfio_bar(struct vfio *v, unsigned int bar, size_t len);
int vfio_config_read(struct vfio *v, unsigned int offset, void *data, size_t len);
int vfio_config_write(struct vfio *v, unsigned int offset, const void *data, size_t len);
/* Lets the function decode memory and start DMA. */
int vfio_enable(struct vfio *v);
/* Vectors 0..nr-1 signal these eventfds; nr 0 turns MSI-X off. */
int vfio_msix(struct vfio *v, const int *fds, unsigned int nr);
int vfio_reset(struct vfio *v);

#define VFIO_RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

#endif
