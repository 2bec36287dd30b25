/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A PCI function with its socket and the guest memory that comes through it;
 * what the IOMMU and the endpoints have in common.
 */
#ifndef DAEMON_FUNCTION_H
#define DAEMON_FUNCTION_H

#include <stdatomic.h>

#include <viommu/mem.h>
#include <viommu/pci.h>
#include <viommu/vfio_user.h>

#include "faults.h"
#include "limits.h"
#include "log.h"
#include "problem.h"

/* What all functions of a process share. Outlives them. */
struct host {
	struct log *log;
	struct faults faults;
	atomic_int clients; /* VMMs connected, over all functions */
	int gone_fd;	    /* eventfd, written when the last one has gone */
	bool sealed_only;   /* memory that a VMM could cut off is refused */
};
/* Result: 0, or what eventfd(2) gave. */
int host_init(struct host *host, struct log *log);
void host_close(struct host *host);

/* What the function's owner wants to hear, on the thread that drives it. */
struct function_ops {
	/* DEVICE_RESET, or the VMM has gone. The function itself is reset. */
	void (*reset)(void *opaque, bool gone);
};

struct function {
	char name[DAEMON_NAME_LEN];
	char path[108]; /* of the socket; "" until it listens */
	struct host *host;
	struct viommu_mem *mem;
	struct viommu_vfu *vfu; /* NULL until it listens */
	const struct function_ops *ops;
	void *opaque;
};

/* name, host, ops and opaque are set. Result: 0, -ENOMEM. */
int function_init(struct function *function);
/* Serves pci on DIR/NAME.sock, open to whom mode says. */
bool function_listen(struct function *function, struct viommu_pci *pci, const char *dir,
		     unsigned mode, struct problem *problem);
/* Ends the connection; the next client may come. reason: static. */
void function_refuse(struct function *function, const char *reason);
/* Ends the connection for good. The memory stays until function_close(). */
void function_hang_up(struct function *function);
void function_close(struct function *function);

/* For struct loop_member_ops. */
unsigned function_messages(struct function *function);
int function_message_fd(const struct function *function);

#endif
