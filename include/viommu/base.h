/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/base.h - what every other public header builds on.
 *
 * Conventions of the whole interface
 *
 *   Errors     A call that can fail returns 0 (or a count) on success and a
 *              negative errno value on failure. The values a call can return
 *              are listed with it. The C library's errno is never used.
 *   Addresses  An iova is what a device puts on the bus, a gpa is an address
 *              in guest-physical memory, an hva is a pointer in this process.
 *              Ranges of iova and gpa are closed, [start, last], where the wire
 *              format has closed ranges, so that the last byte of the 64-bit
 *              space can be named; lengths (_len) are in bytes.
 *   Ownership  Objects come in create/destroy pairs. destroy(NULL) is allowed.
 *              What a call takes over on success stays the caller's on failure.
 *   Threads    Nothing here starts a thread, blocks, or keeps state outside the
 *              objects handed out. All calls on one device, and on what hangs
 *              off it, are serialised by the caller ("control side"), with one
 *              exception: the calls of viommu/dma.h that take a struct
 *              viommu_dma may run on any thread at any time, one thread per
 *              struct viommu_dma ("DMA side").
 *   Callbacks  Are called with no lock held. Unless said otherwise a callback
 *              must not call back into the object that called it.
 */
#ifndef VIOMMU_BASE_H
#define VIOMMU_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Marks what the shared library exports. */
#define VIOMMU_API		  __attribute__((visibility("default")))
#define VIOMMU_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Access permissions of a mapping, and the kind of an access. Wire values of
 * VIRTIO_IOMMU_MAP_F_READ/WRITE. */
#define VIOMMU_READ  (1u << 0)
#define VIOMMU_WRITE (1u << 1)

/*
 * Where memory comes from. alloc returns memory aligned to `align` (a power of
 * two) or NULL; free gets back exactly what was asked for. Both may be called
 * on the control side only. Never called on the paths that translate, pop,
 * push, map, unmap or invalidate once an object has grown to its size.
 */
struct viommu_alloc {
	void *(*alloc)(void *opaque, size_t len, size_t align);
	void (*free)(void *opaque, void *p, size_t len);
	void *opaque;
};

enum viommu_log_level {
	VIOMMU_LOG_ERROR, /* the service is impaired; somebody should act */
	VIOMMU_LOG_WARN,  /* a peer did something wrong and was refused */
	VIOMMU_LOG_INFO,  /* life cycle: connected, reset, attached */
	VIOMMU_LOG_DEBUG, /* one line a request */
};

/*
 * Where messages go: whole sentences without a newline. NULL sink: dropped.
 * May be called from any thread that calls into the object.
 */
struct viommu_log {
	void (*sink)(void *opaque, enum viommu_log_level level, const char *msg);
	void *opaque;
	enum viommu_log_level max_level; /* finer messages are not formatted */
};

/* The library's version, "major.minor.patch". Any thread. */
VIOMMU_API const char *viommu_version(void);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_BASE_H */
