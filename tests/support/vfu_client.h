/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A vfio-user client that a test scripts: it can say everything that a VMM says,
 * in any order, and everything that one should not.
 */
#ifndef TESTS_VFU_CLIENT_H
#define TESTS_VFU_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio_user/wire.h"

#define VFU_CLIENT_FDS 64

struct vfu_client {
	int fd;	     /* -1: not connected */
	uint16_t id; /* of the next message */
	/* Lets the server run while a reply is awaited; NULL: it runs elsewhere,
	 * and the client waits up to 5 s as QEMU does. */
	void (*pump)(void *opaque);
	void *opaque;
};

struct vfu_client_reply {
	struct vfu_header hdr;
	uint8_t data[1 << 17];
	unsigned len; /* bytes of data */
};

/* 0, -errno. */
int vfu_client_connect(struct vfu_client *c, const char *path);
void vfu_client_close(struct vfu_client *c);

/* Bytes as they are, with descriptors. false: the server is gone. */
bool vfu_client_send_raw(struct vfu_client *c, const void *bytes, size_t len,
			 const int *fds, unsigned fd_nr);
/* One message in one sendmsg(). */
bool vfu_client_send(struct vfu_client *c, uint16_t command, uint32_t flags,
		     const void *payload, size_t len, const int *fds, unsigned fd_nr);
/* 1: a reply. 0: none is there. -EPIPE: the server closed the connection. */
int vfu_client_recv(struct vfu_client *c, struct vfu_client_reply *reply);

/* Sends and waits. Length of the reply's payload (in reply->data, reply may be
 * NULL), -errno of an error reply, -EPIPE, -ETIMEDOUT. */
int vfu_client_call(struct vfu_client *c, uint16_t command, const void *payload,
		    size_t len, const int *fds, unsigned fd_nr,
		    struct vfu_client_reply *reply);

/* The messages a VMM sends. 0 or as vfu_client_call(). */
int vfu_client_version(struct vfu_client *c, const char *json);
int vfu_client_dma_map(struct vfu_client *c, uint64_t addr, uint64_t size, int fd,
		       uint64_t offset, uint32_t flags);
int vfu_client_dma_unmap(struct vfu_client *c, uint64_t addr, uint64_t size,
			 uint32_t flags);
int vfu_client_device_info(struct vfu_client *c, struct vfu_device_info *out);
int vfu_client_region_info(struct vfu_client *c, uint32_t index,
			   struct vfu_region_info *out);
int vfu_client_irq_info(struct vfu_client *c, uint32_t index, struct vfu_irq_info *out);
int vfu_client_set_irqs(struct vfu_client *c, uint32_t index, uint32_t flags,
			uint32_t start, uint32_t count, const int *fds, unsigned fd_nr);
int vfu_client_read(struct vfu_client *c, uint32_t region, uint64_t offset, void *buf,
		    uint32_t len);
int vfu_client_write(struct vfu_client *c, uint32_t region, uint64_t offset,
		     const void *buf, uint32_t len);
bool vfu_client_write_posted(struct vfu_client *c, uint32_t region, uint64_t offset,
			     const void *buf, uint32_t len);
int vfu_client_reset(struct vfu_client *c);

/* What QEMU 11.1 and Cloud Hypervisor send with VERSION. */
extern const char vfu_client_qemu_json[];
extern const char vfu_client_ch_json[];

#endif
