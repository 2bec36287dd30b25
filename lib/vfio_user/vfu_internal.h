/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the files of the vfio-user server share. */
#ifndef VIOMMU_LIB_VFU_INTERNAL_H
#define VIOMMU_LIB_VFU_INTERNAL_H

#include <sys/types.h>

#include <viommu/vfio_user.h>

#include "base/limits.h"
#include "vfio_user/wire.h"

/* What each descriptor in the epoll set stands for. */
enum vfu_event {
	VFU_EVENT_LISTEN = 1,
	VFU_EVENT_CLIENT,
	VFU_EVENT_MORE,	  /* complete messages are left in the buffer */
	VFU_EVENT_UNMASK, /* the client's INTx unmask eventfd */
};

/*
 * Descriptors that arrived with bytes of the stream. The kernel ends a read
 * behind the bytes that carried descriptors, so they belong to the message that
 * holds the last byte read (conn.c says more).
 */
struct vfu_fds {
	uint64_t pos; /* stream offset of that byte */
	unsigned nr;
	int fd[LIMIT_VFU_MSG_FDS];
};

#define VFU_RX_LEN (2 * LIMIT_VFU_MSG_LEN)

/* The connection: one client, or none (fd -1). */
struct vfu_conn {
	int fd;
	unsigned watched;	/* epoll events asked for, 0: not in the set */
	bool negotiated;	/* VERSION is done */
	bool eof;		/* the client went on its own */
	bool drained;		/* the last read took all there was */
	uint64_t pos;		/* stream offset of rx[head] */
	unsigned head, tail;	/* unread bytes in rx */
	unsigned tx_at, tx_len; /* bytes of tx not sent yet: [tx_at, tx_len) */
	struct vfu_fds fds[2];	/* in stream order; nr 0: none */
	uint8_t rx[VFU_RX_LEN];
	uint8_t tx[LIMIT_VFU_MSG_LEN];
};

/* A command being handled. Descriptors left in fd[] are closed afterwards; a
 * handler that keeps one overwrites it with -1. */
struct vfu_msg {
	struct vfu_header hdr;
	const uint8_t *payload;
	unsigned len; /* bytes of payload */
	int fd[LIMIT_VFU_MSG_FDS];
	unsigned fd_nr;
};

/* What the client mapped. */
struct vfu_map {
	uint64_t gpa, len;
	uint8_t *base;	   /* of the mmap, NULL: came without a descriptor */
	uint64_t base_len; /* of the mmap */
	bool private;	   /* writable, but out of reach: no descriptor */
	bool leaving;	   /* out of the table, transfers still hold pages */
};

struct vfu_dma {
	struct vfu_map *map; /* LIMIT_VFU_DMA_MAPS of them, nr in use */
	unsigned nr;
	uint64_t shared_len, private_len; /* bytes of RAM by reachability */
	bool complained; /* about memory out of reach; once a connection */
};

struct vfu_irq_state {
	int intx_fd, unmask_fd; /* the client's eventfds, -1: none */
	bool intx_level;	/* the pin, as the function drives it */
	bool intx_masked;	/* masks itself when it fires */
	int msix_fd[VIOMMU_PCI_MSIX_MAX];
	uint64_t msix_lost[VIOMMU_PCI_MSIX_MAX / 64]; /* raised without an eventfd */
};

struct viommu_vfu {
	char name[64];
	struct viommu_pci *pci;
	struct viommu_mem *mem;
	struct viommu_vfu_ops ops;
	void *opaque;
	struct viommu_alloc alloc;
	const struct viommu_log *log;
	bool sealed_only;

	int epoll_fd, listen_fd, more_fd;
	int spare_fd;	     /* given up to accept and refuse when descriptors run out */
	bool listening;	     /* listen_fd is in the epoll set */
	bool more;	     /* more_fd is readable */
	bool refused;	     /* a second client was logged during this connection */
	bool draining;	     /* client gone, its memory still held */
	bool parked;	     /* the reply in conn.tx waits for memory */
	unsigned parked_len; /* bytes of that reply, 0: none wanted */
	uint64_t wait_ns;    /* parked or draining since; 0: the delay was logged */
	bool announced;	     /* the client that went had been told of (connected) */
	char *path;	     /* bound by us, with NUL; NULL: descriptor given */
	dev_t path_dev;	     /* to unlink only what we made */
	ino_t path_ino;
	const char *drop; /* reason to end the connection, set by a handler */
	struct vfu_irq_state irq;
	struct vfu_dma dma;
	struct viommu_vfu_stats stats;
	struct vfu_conn conn;
};

/* Marks the connection for its end; for a handler's return. */
int vfu_drop(struct viommu_vfu *vfu, const char *reason);
/* Where a handler puts its reply's payload; room for LIMIT_VFU_MSG_LEN less the
 * header. */
void *vfu_reply(struct viommu_vfu *vfu);
void vfu_close_fds(int *fd, unsigned nr);

/* listen.c */
int vfu_listen(struct viommu_vfu *vfu, const struct viommu_vfu_config *config);
void vfu_unlisten(struct viommu_vfu *vfu);
/* In the epoll set or not. */
void vfu_watch_listen(struct viommu_vfu *vfu, bool on);
/* Takes the next client (true), or refuses it if there is one. */
bool vfu_accept(struct viommu_vfu *vfu);

/* conn.c */
void vfu_conn_init(struct vfu_conn *conn);
void vfu_conn_open(struct viommu_vfu *vfu, int fd);
void vfu_conn_close(struct viommu_vfu *vfu);
/* Sets the epoll events to wait for; 0: none, not even a hang-up. */
void vfu_conn_watch(struct viommu_vfu *vfu, unsigned events);
/* Bytes of the complete message at the head of the buffer; 0: there is none;
 * -EPROTO: there never will be (vfu->drop says why). */
int vfu_conn_complete(struct viommu_vfu *vfu);
/* Takes that message off. Its payload stays valid until the next receive. */
void vfu_conn_take(struct viommu_vfu *vfu, unsigned size, struct vfu_msg *m);
/* Reads what there is. 1: something came, 0: nothing now, -EPROTO: over. */
int vfu_conn_receive(struct viommu_vfu *vfu);
/* Sends conn.tx[0 .. len), now or when the client reads. 0, -EPROTO. */
int vfu_conn_send(struct viommu_vfu *vfu, unsigned len);
int vfu_conn_flush(struct viommu_vfu *vfu);

/* version.c: checks the client's JSON; sets what it proposed. 0, -EINVAL. */
struct vfu_caps {
	bool write_multiple, max_dma_maps; /* proposed */
};
int vfu_caps_parse(const char *json, unsigned len, struct vfu_caps *out);

/* Handlers: length of the reply's payload, -errno for an error reply, or
 * vfu_drop(). DMA_UNMAP: -EINPROGRESS parks the reply (vfu->parked_len). */
int vfu_handle_version(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_dma_map(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_dma_unmap(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_get_info(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_region_info(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_irq_info(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_set_irqs(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_region_read(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_region_write(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_region_write_multi(struct viommu_vfu *vfu, struct vfu_msg *m);
int vfu_handle_reset(struct viommu_vfu *vfu, struct vfu_msg *m);

/* dma.c */
int vfu_dma_init(struct viommu_vfu *vfu);
void vfu_dma_fini(struct viommu_vfu *vfu);
/* Takes everything out of the table. */
void vfu_dma_forget(struct viommu_vfu *vfu);
/* Whether memory that left the table is still held; unmaps what is not. */
bool vfu_dma_leaving(struct viommu_vfu *vfu);
/* Says once a connection that guest RAM is out of reach, if it is. At the
 * latest when the guest lets the function access memory (started). */
void vfu_dma_check_shared(struct viommu_vfu *vfu, bool started);

/* irq.c */
void vfu_irq_init(struct viommu_vfu *vfu);
/* Closes all of the client's eventfds. */
void vfu_irq_forget(struct viommu_vfu *vfu);
/* The client's unmask eventfd is readable. */
void vfu_irq_unmask_event(struct viommu_vfu *vfu);

#endif
