/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/vfio_user.h - serves a PCI function to a VMM over a vfio-user socket
 * (protocol 0.0, as QEMU 10.1+ and Cloud Hypervisor speak it).
 *
 * One server: one function, one listening socket, one client at a time. When
 * the client goes, its memory is forgotten, the function is reset, and the next
 * client may come. A malformed message ends the connection with a logged
 * reason, never the process.
 *
 * The server never blocks: poll viommu_vfu_fd() for input, then call
 * viommu_vfu_process().
 *
 * Threads: one thread per server at a time; different servers are independent.
 */
#ifndef VIOMMU_VFIO_USER_H
#define VIOMMU_VFIO_USER_H

#include <viommu/base.h>
#include <viommu/mem.h>
#include <viommu/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_vfu;

struct viommu_vfu_config {
	const char *name; /* for messages, e.g. "iommu"; copied */
	/* A path to listen on (an existing socket there that nobody serves is
	 * replaced), or a listening descriptor, consumed on success. */
	const char *path;
	int listen_fd; /* -1: use path */
	/* Refuse guest memory that the VMM could cut off under our feet, which
	 * would end the process with SIGBUS: only files sealed with F_SEAL_SHRINK
	 * (QEMU's memory-backend-memfd is, by default). */
	bool sealed_only;
};

/* All optional. None may call back into the server. */
struct viommu_vfu_ops {
	/* The client has negotiated the protocol. */
	void (*connected)(void *opaque);
	/* After memory, interrupts and the function's state are gone; once for
	 * each connected. reason: for people; valid during the call. */
	void (*disconnected)(void *opaque, const char *reason);
	/* The VMM's reset of the function (DEVICE_RESET). The function itself
	 * is reset by the server through viommu_pci_reset(). */
	void (*system_reset)(void *opaque);
};

/*
 * pci and mem stay the caller's and must outlive the server. The server fills
 * and empties mem with what the VMM maps.
 * Result: 0, -EINVAL, -ENOMEM, -EADDRINUSE (somebody serves that path), or what
 * socket(2), bind(2), listen(2) gave.
 */
VIOMMU_API int viommu_vfu_create(const struct viommu_vfu_config *config,
				 struct viommu_pci *pci, struct viommu_mem *mem,
				 const struct viommu_vfu_ops *ops, void *opaque,
				 const struct viommu_alloc *alloc,
				 const struct viommu_log *log, struct viommu_vfu **out);
/*
 * Ends the connection (without a call of disconnected), resets the function if
 * there was one, and unlinks the path. Guest memory that transfers still hold
 * stays mapped until the process ends; end them first. NULL is allowed.
 */
VIOMMU_API void viommu_vfu_destroy(struct viommu_vfu *vfu);

/* A descriptor that is readable when there is something to process. Stays the
 * server's; the same for its whole life. */
VIOMMU_API int viommu_vfu_fd(const struct viommu_vfu *vfu);

/*
 * Handles up to `budget` messages. Result: number handled (0: nothing to do,
 * though a client may have come or gone), or -EAGAIN: a reply, or the end of a
 * connection, waits for guest memory to be released: call again in a
 * millisecond or when transfers have finished; the descriptor does not say so.
 * If the budget was used up and messages are left, the descriptor stays
 * readable. A client gives up on a reply after 5 s (QEMU).
 */
VIOMMU_API int viommu_vfu_process(struct viommu_vfu *vfu, unsigned budget);

/* Ends the connection, if there is one, as a malformed message would; reason: for
 * people, static. The next client may come. */
VIOMMU_API void viommu_vfu_hang_up(struct viommu_vfu *vfu, const char *reason);

/* Whether there is a client that has negotiated the protocol. */
VIOMMU_API bool viommu_vfu_is_connected(const struct viommu_vfu *vfu);

struct viommu_vfu_stats {
	uint64_t messages, posted_writes, connections, protocol_errors;
	uint64_t dma_maps, dma_unmaps, irqs;
	uint64_t refused;	  /* answered with an error, or posted and bad */
	uint64_t refused_clients; /* came while there was one */
};
VIOMMU_API void viommu_vfu_get_stats(const struct viommu_vfu *vfu,
				     struct viommu_vfu_stats *out);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_VFIO_USER_H */
