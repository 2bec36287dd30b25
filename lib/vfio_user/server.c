/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The vfio-user server: creation, the turn of the loop, dispatch, the end of a
 * connection. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/log.h"
#include "vfio_user/sys.h"
#include "vfio_user/vfu_internal.h"

#define HEADER_LEN	((unsigned)sizeof(struct vfu_header))
#define WAIT_IS_LONG_NS 2000000000u

int vfu_drop(struct viommu_vfu *vfu, const char *reason)
{
	if (!vfu->drop)
		vfu->drop = reason;
	return err(EPROTO, reason);
}

void *vfu_reply(struct viommu_vfu *vfu)
{
	return vfu->conn.tx + HEADER_LEN;
}

/* ---- dispatch ---- */

struct command {
	const char *name;
	uint32_t min_len, max_len; /* of the payload */
	unsigned max_fds;
	/* NULL: known, and not supported here */
	int (*handle)(struct viommu_vfu *vfu, struct vfu_msg *m);
};

#define PAYLOAD_MAX   (LIMIT_VFU_MSG_LEN - HEADER_LEN)
#define EXACTLY(type) sizeof(type), sizeof(type)

static const struct command commands[] = {
	[VFU_VERSION] = {"VERSION", sizeof(struct vfu_version), PAYLOAD_MAX, 0,
			 vfu_handle_version},
	[VFU_DMA_MAP] = {"DMA_MAP", EXACTLY(struct vfu_dma_map), 1, vfu_handle_dma_map},
	[VFU_DMA_UNMAP] = {"DMA_UNMAP", EXACTLY(struct vfu_dma_unmap), 0,
			   vfu_handle_dma_unmap},
	[VFU_DEVICE_GET_INFO] = {"DEVICE_GET_INFO", EXACTLY(struct vfu_device_info), 0,
				 vfu_handle_get_info},
	[VFU_GET_REGION_INFO] = {"DEVICE_GET_REGION_INFO",
				 EXACTLY(struct vfu_region_info), 0,
				 vfu_handle_region_info},
	[VFU_GET_IRQ_INFO] = {"DEVICE_GET_IRQ_INFO", EXACTLY(struct vfu_irq_info), 0,
			      vfu_handle_irq_info},
	[VFU_SET_IRQS] = {"DEVICE_SET_IRQS", sizeof(struct vfu_irq_set),
			  sizeof(struct vfu_irq_set) + VIOMMU_PCI_MSIX_MAX,
			  LIMIT_VFU_MSG_FDS, vfu_handle_set_irqs},
	[VFU_REGION_READ] = {"REGION_READ", EXACTLY(struct vfu_region_access), 0,
			     vfu_handle_region_read},
	[VFU_REGION_WRITE] = {"REGION_WRITE", sizeof(struct vfu_region_access),
			      PAYLOAD_MAX, 0, vfu_handle_region_write},
	[VFU_DEVICE_RESET] = {"DEVICE_RESET", 0, 0, 0, vfu_handle_reset},
	[VFU_REGION_WRITE_MULTI] = {"REGION_WRITE_MULTI", sizeof(uint64_t), PAYLOAD_MAX,
				    0, vfu_handle_region_write_multi},
};

/* A command that is not served is refused before its length and descriptors are
 * looked at: newer clients may know more of it than we do. */
static int handle(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	const struct command *c = NULL;

	if (m->hdr.command < ARRAY_LEN(commands))
		c = &commands[m->hdr.command];
	if (!vfu->conn.negotiated && m->hdr.command != VFU_VERSION)
		return vfu_drop(vfu, "a command before VERSION");
	if (!c || !c->handle)
		return err(EOPNOTSUPP, "command not supported");
	if (m->len < c->min_len || m->len > c->max_len)
		return vfu_drop(vfu, "a message of the wrong length for its command");
	if (m->fd_nr > c->max_fds)
		return vfu_drop(vfu, "descriptors that the command does not take");
	return c->handle(vfu, m);
}

static const char *command_name(uint16_t command)
{
	const char *name = NULL;

	if (command < ARRAY_LEN(commands))
		name = commands[command].name;
	return name ? name : "an unsupported command";
}

/* r: length of the reply's payload, or a negative error value. */
static void write_header(struct viommu_vfu *vfu, const struct vfu_header *request, int r)
{
	struct vfu_header h = {
		.id = request->id,
		.command = request->command,
		.size = HEADER_LEN + (r < 0 ? 0 : (unsigned)r),
		.flags = VFU_TYPE_REPLY | (r < 0 ? VFU_FLAG_ERROR : 0),
		.error = r < 0 ? (uint32_t)-r : 0,
	};

	memcpy(vfu->conn.tx, &h, sizeof(h));
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The reply is ready and waits; messages behind it wait too, to keep their
 * order, and no socket is watched: only time or a release moves us on. */
static void park(struct viommu_vfu *vfu, const struct vfu_header *request)
{
	write_header(vfu, request, (int)vfu->parked_len);
	vfu->parked_len += HEADER_LEN;
	if (request->flags & VFU_FLAG_NO_REPLY)
		vfu->parked_len = 0;
	vfu->parked = true;
	vfu->wait_ns = now_ns();
	vfu_conn_watch(vfu, 0);
	vfu_watch_listen(vfu, false);
}

static void answer(struct viommu_vfu *vfu, const struct vfu_header *request, int r)
{
	if (r == -EINPROGRESS) {
		park(vfu, request);
		return;
	}
	if (r < 0) {
		vfu->stats.refused++;
		log_debug(vfu->log, "%s: %s was refused (error %d).", vfu->name,
			  command_name(request->command), -r);
	}
	if (request->flags & VFU_FLAG_NO_REPLY)
		return;
	write_header(vfu, request, r);
	vfu_conn_send(vfu, HEADER_LEN + (r < 0 ? 0 : (unsigned)r));
}

static void handle_next(struct viommu_vfu *vfu, unsigned size)
{
	struct vfu_msg m;
	int r;

	vfu_conn_take(vfu, size, &m);
	vfu->stats.messages++;
	r = handle(vfu, &m);
	vfu_close_fds(m.fd, m.fd_nr);
	if (!vfu->drop)
		answer(vfu, &m.hdr, r);
}

/* ---- the end of a connection ---- */

static void finish_disconnect(struct viommu_vfu *vfu)
{
	const char *reason = vfu->drop;

	vfu->draining = false;
	vfu->drop = NULL;
	vfu->dma.complained = false;
	vfu_watch_listen(vfu, true);
	if (vfu->announced && vfu->ops.disconnected)
		vfu->ops.disconnected(vfu->opaque, reason);
	vfu->announced = false;
}

/* The next client waits in the backlog until all memory of this one is let go. */
static void disconnect(struct viommu_vfu *vfu)
{
	enum viommu_log_level level = VIOMMU_LOG_WARN;

	vfu->announced = vfu->conn.negotiated;
	/* Who cares for the normal course of things has the callbacks. */
	if (vfu->conn.eof)
		level = VIOMMU_LOG_DEBUG;
	else
		vfu->stats.protocol_errors++;
	log_write(vfu->log, level, "%s: connection ended: %s.", vfu->name, vfu->drop);
	vfu_conn_close(vfu);
	if (vfu->announced)
		viommu_pci_reset(vfu->pci);
	vfu_irq_forget(vfu);
	vfu_dma_forget(vfu);
	if (!vfu->dma.nr) {
		finish_disconnect(vfu);
		return;
	}
	vfu->draining = true;
	vfu->wait_ns = now_ns();
	vfu_watch_listen(vfu, false);
}

/* ---- waiting for memory ---- */

static void complain_of_wait(struct viommu_vfu *vfu)
{
	if (!vfu->wait_ns || now_ns() - vfu->wait_ns < WAIT_IS_LONG_NS)
		return;
	vfu->wait_ns = 0;
	log_warn(vfu->log,
		 "%s: transfers have held guest memory for 2 s that the VMM %s.",
		 vfu->name, vfu->draining ? "left behind" : "takes away");
}

/* Whether something still waits. */
static bool still_waiting(struct viommu_vfu *vfu)
{
	if (vfu->draining)
		vfu_dma_forget(vfu); /* what memory ran out for, the last time */
	if (vfu_dma_leaving(vfu) || (vfu->draining && vfu->dma.nr)) {
		complain_of_wait(vfu);
		return true;
	}
	if (vfu->draining) {
		finish_disconnect(vfu);
		return false;
	}
	vfu->parked = false;
	vfu_conn_watch(vfu, EPOLLIN);
	vfu_watch_listen(vfu, true);
	if (vfu->parked_len)
		vfu_conn_send(vfu, vfu->parked_len);
	return false;
}

/* ---- the turn of the loop ---- */

/* Keeps our descriptor readable while messages wait in the buffer, of which the
 * socket knows nothing any more. */
static void set_more(struct viommu_vfu *vfu, bool more)
{
	uint64_t count = 1;
	ssize_t n;

	if (more == vfu->more)
		return;
	n = more ? write(vfu->more_fd, &count, sizeof(count))
		 : read(vfu->more_fd, &count, sizeof(count));
	if (n == sizeof(count))
		vfu->more = more;
}

/* What has happened: VFU_EVENT_CLIENT and VFU_EVENT_LISTEN, as bits. */
static unsigned take_events(struct viommu_vfu *vfu)
{
	struct epoll_event ev[4];
	int nr = epoll_wait(vfu->epoll_fd, ev, ARRAY_LEN(ev), 0);
	unsigned seen = 0;

	for (int i = 0; i < nr; i++) {
		uint32_t what = ev[i].data.u32;

		if (what == VFU_EVENT_UNMASK)
			vfu_irq_unmask_event(vfu);
		else /* what is left in the buffer is the client's too */
			seen |= 1u << (what == VFU_EVENT_MORE ? VFU_EVENT_CLIENT : what);
	}
	return seen;
}

/* Not while a reply waits, for memory or for the client to read: what is behind it
 * must not overtake it. */
static bool may_go_on(const struct viommu_vfu *vfu)
{
	return !vfu->drop && !vfu->parked && !vfu->conn.tx_len;
}

/*
 * Handles what the buffer has, then what the socket has, until the budget is used
 * up. A read that took less than there was room for has emptied the socket, so one
 * system call serves any number of small messages.
 */
static unsigned serve(struct viommu_vfu *vfu, unsigned budget)
{
	unsigned nr = 0;

	vfu->conn.drained = false;
	if (vfu->conn.tx_len)
		vfu_conn_flush(vfu);
	while (nr < budget && may_go_on(vfu)) {
		int size = vfu_conn_complete(vfu);

		if (size > 0) {
			handle_next(vfu, (unsigned)size);
			nr++;
		} else if (size < 0 || vfu->conn.drained || vfu_conn_receive(vfu) <= 0) {
			break;
		}
	}
	set_more(vfu, nr == budget && may_go_on(vfu) && vfu->conn.head != vfu->conn.tail);
	return nr;
}

static unsigned take_turn(struct viommu_vfu *vfu, unsigned budget)
{
	unsigned nr = serve(vfu, budget);

	if (vfu->drop) {
		set_more(vfu, false);
		disconnect(vfu);
	}
	return nr;
}

void viommu_vfu_hang_up(struct viommu_vfu *vfu, const char *reason)
{
	if (vfu->conn.fd < 0)
		return;
	vfu_drop(vfu, reason);
	vfu->parked = false;
	set_more(vfu, false);
	disconnect(vfu);
}

int viommu_vfu_process(struct viommu_vfu *vfu, unsigned budget)
{
	unsigned seen = take_events(vfu), nr = 0;

	if (vfu->parked || vfu->draining) {
		if (still_waiting(vfu))
			return err(EAGAIN, "guest memory is still held");
		seen |= 1u << VFU_EVENT_CLIENT | 1u << VFU_EVENT_LISTEN;
	}
	/* The old client first: it may turn out to be gone. */
	if (vfu->conn.fd >= 0 && seen & 1u << VFU_EVENT_CLIENT)
		nr = take_turn(vfu, budget);
	if (seen & 1u << VFU_EVENT_LISTEN && vfu_accept(vfu))
		nr += take_turn(vfu, budget - nr);
	return vfu->parked || vfu->draining ? err(EAGAIN, "guest memory is held")
					    : (int)nr;
}

/* ---- creation ---- */

static int add_event(struct viommu_vfu *vfu, int fd, uint32_t what)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = what};

	return epoll_ctl(vfu->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? sys_err("epoll_ctl")
								    : 0;
}

static int open_fds(struct viommu_vfu *vfu)
{
	vfu->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (vfu->epoll_fd < 0)
		return sys_err("epoll_create1");
	vfu->more_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vfu->more_fd < 0)
		return sys_err("eventfd");
	vfu->spare_fd = fcntl(vfu->epoll_fd, F_DUPFD_CLOEXEC, 0);
	if (vfu->spare_fd < 0)
		return sys_err("F_DUPFD_CLOEXEC");
	return add_event(vfu, vfu->more_fd, VFU_EVENT_MORE);
}

/* Also after a failure in the middle of creation: what is not there is skipped. */
static void free_server(struct viommu_vfu *vfu)
{
	struct viommu_alloc alloc = vfu->alloc;
	int fd[] = {vfu->epoll_fd, vfu->more_fd, vfu->spare_fd};

	vfu_dma_fini(vfu);
	vfu_unlisten(vfu);
	vfu_close_fds(fd, ARRAY_LEN(fd));
	alloc.free(alloc.opaque, vfu, sizeof(*vfu));
}

static int open_server(struct viommu_vfu *vfu, const struct viommu_vfu_config *config)
{
	int r = open_fds(vfu);

	if (!r)
		r = vfu_dma_init(vfu);
	if (!r)
		r = vfu_listen(vfu, config);
	if (!r) {
		r = add_event(vfu, vfu->listen_fd, VFU_EVENT_LISTEN);
		vfu->listening = !r;
	}
	/* The caller's descriptor stays the caller's on failure. */
	if (r < 0 && config->listen_fd >= 0)
		vfu->listen_fd = -1;
	return r;
}

int viommu_vfu_create(const struct viommu_vfu_config *config, struct viommu_pci *pci,
		      struct viommu_mem *mem, const struct viommu_vfu_ops *ops,
		      void *opaque, const struct viommu_alloc *alloc,
		      const struct viommu_log *log, struct viommu_vfu **out)
{
	struct viommu_vfu *vfu =
		alloc->alloc(alloc->opaque, sizeof(*vfu), _Alignof(struct viommu_vfu));
	int r;

	if (!vfu)
		return err(ENOMEM, "vfio-user server");
	/* The connection's buffers, behind all else, need no clearing. */
	memset(vfu, 0, offsetof(struct viommu_vfu, conn));
	vfu_conn_init(&vfu->conn);
	snprintf(vfu->name, sizeof(vfu->name), "%s",
		 config->name ? config->name : "vfio-user");
	vfu->pci = pci;
	vfu->mem = mem;
	if (ops)
		vfu->ops = *ops;
	vfu->opaque = opaque;
	vfu->alloc = *alloc;
	vfu->log = log;
	vfu->sealed_only = config->sealed_only;
	vfu->epoll_fd = vfu->listen_fd = vfu->more_fd = vfu->spare_fd = -1;
	r = open_server(vfu, config);
	if (r < 0) {
		free_server(vfu);
		return r;
	}
	vfu_irq_init(vfu);
	*out = vfu;
	return 0;
}

void viommu_vfu_destroy(struct viommu_vfu *vfu)
{
	if (!vfu)
		return;
	if (vfu->conn.fd >= 0 && vfu->conn.negotiated)
		viommu_pci_reset(vfu->pci);
	vfu_conn_close(vfu);
	vfu_irq_forget(vfu);
	viommu_pci_set_irq_ops(vfu->pci, NULL, NULL);
	free_server(vfu);
}

int viommu_vfu_fd(const struct viommu_vfu *vfu)
{
	return vfu->epoll_fd;
}

bool viommu_vfu_is_connected(const struct viommu_vfu *vfu)
{
	return vfu->conn.fd >= 0 && vfu->conn.negotiated;
}

void viommu_vfu_get_stats(const struct viommu_vfu *vfu, struct viommu_vfu_stats *out)
{
	*out = vfu->stats;
}
