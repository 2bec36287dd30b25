/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The byte stream of a connection: reads as much as there is at once, cuts it
 * into messages, and knows which descriptors belong to which.
 *
 * Descriptors and bytes. A client sends a message and its descriptors with one
 * sendmsg(). A read may begin with earlier bytes that carried none, but the
 * kernel ends it behind the bytes that came with descriptors, and never joins
 * two such groups. So what a read returns as SCM_RIGHTS belongs to the message
 * that the last byte of that read is part of: the message just begun, if the
 * client sends header and body apart.
 */
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "vfio_user/sys.h"
#include "vfio_user/vfu_internal.h"

#define HEADER_LEN ((unsigned)sizeof(struct vfu_header))

void vfu_close_fds(int *fd, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

void vfu_conn_init(struct vfu_conn *conn)
{
	/* The buffers are left as they are: nothing reads past what came. */
	conn->fd = -1;
	conn->watched = 0;
	conn->negotiated = conn->eof = conn->drained = false;
	conn->pos = 0;
	conn->head = conn->tail = 0;
	conn->tx_at = conn->tx_len = 0;
	conn->fds[0].nr = conn->fds[1].nr = 0;
}

void vfu_conn_open(struct viommu_vfu *vfu, int fd)
{
	vfu_conn_init(&vfu->conn);
	vfu->conn.fd = fd;
	vfu_conn_watch(vfu, EPOLLIN);
}

void vfu_conn_close(struct viommu_vfu *vfu)
{
	struct vfu_conn *conn = &vfu->conn;

	if (conn->fd < 0)
		return;
	vfu_conn_watch(vfu, 0);
	close(conn->fd);
	for (unsigned i = 0; i < 2; i++)
		vfu_close_fds(conn->fds[i].fd, conn->fds[i].nr);
	vfu_conn_init(conn);
}

void vfu_conn_watch(struct viommu_vfu *vfu, unsigned events)
{
	struct epoll_event ev = {.events = events, .data.u32 = VFU_EVENT_CLIENT};
	struct vfu_conn *conn = &vfu->conn;
	int op = EPOLL_CTL_MOD;

	if (events == conn->watched)
		return;
	if (!events)
		op = EPOLL_CTL_DEL;
	else if (!conn->watched)
		op = EPOLL_CTL_ADD;
	epoll_ctl(vfu->epoll_fd, op, conn->fd, &ev);
	conn->watched = events;
}

/* ---- messages ---- */

/* Checked as soon as the header is there, before the rest of the message is waited
 * for: a size that can never be ends the connection at once. */
static int check_header(struct viommu_vfu *vfu, const struct vfu_header *h)
{
	if (h->size < HEADER_LEN)
		return vfu_drop(vfu, "a message shorter than its header");
	if (h->size > LIMIT_VFU_MSG_LEN)
		return vfu_drop(vfu, "a message longer than the limit");
	if ((h->flags & VFU_TYPE_MASK) == VFU_TYPE_REPLY)
		return vfu_drop(vfu, "a reply, though nothing was asked");
	if (h->flags & ~VFU_FLAG_NO_REPLY)
		return vfu_drop(vfu, "a message with unknown type or flags");
	return 0;
}

int vfu_conn_complete(struct viommu_vfu *vfu)
{
	struct vfu_conn *conn = &vfu->conn;
	unsigned have = conn->tail - conn->head;
	struct vfu_header h;

	if (have < HEADER_LEN)
		return 0;
	memcpy(&h, &conn->rx[conn->head], sizeof(h));
	if (check_header(vfu, &h) < 0)
		return err(EPROTO, "bad header");
	return have < h.size ? 0 : (int)h.size;
}

/* Hands over the descriptors that belong to the message that ends before stream
 * offset `end`. */
static void take_fds(struct vfu_conn *conn, uint64_t end, struct vfu_msg *m)
{
	struct vfu_fds *first = &conn->fds[0];

	m->fd_nr = 0;
	if (!first->nr || first->pos >= end)
		return;
	memcpy(m->fd, first->fd, first->nr * sizeof(first->fd[0]));
	m->fd_nr = first->nr;
	conn->fds[0] = conn->fds[1];
	conn->fds[1].nr = 0;
}

void vfu_conn_take(struct viommu_vfu *vfu, unsigned size, struct vfu_msg *m)
{
	struct vfu_conn *conn = &vfu->conn;

	memcpy(&m->hdr, &conn->rx[conn->head], sizeof(m->hdr));
	m->payload = &conn->rx[conn->head + HEADER_LEN];
	m->len = size - HEADER_LEN;
	conn->head += size;
	conn->pos += size;
	take_fds(conn, conn->pos, m);
}

/* ---- reading ---- */

/* Whether a stream offset lies in the message at the head of the buffer, which
 * is not complete or has just become so. */
static bool in_head_message(const struct vfu_conn *conn, uint64_t pos)
{
	struct vfu_header h;

	if (conn->tail - conn->head < HEADER_LEN)
		return true;
	memcpy(&h, &conn->rx[conn->head], sizeof(h));
	return pos - conn->pos < h.size;
}

/*
 * Keeps the descriptors of a read. Reads happen only while no complete message
 * is left, so there are at most two owners at a time: the message at the head,
 * and a later one that this read began.
 */
static int keep_fds(struct viommu_vfu *vfu, const int *fd, unsigned nr)
{
	struct vfu_conn *conn = &vfu->conn;
	uint64_t pos = conn->pos + (conn->tail - conn->head) - 1;
	struct vfu_fds *to = &conn->fds[0];

	if (to->nr && !in_head_message(conn, pos))
		to = &conn->fds[1];
	if (nr > LIMIT_VFU_MSG_FDS - to->nr)
		return vfu_drop(vfu, "too many descriptors with one message");
	memcpy(&to->fd[to->nr], fd, nr * sizeof(*fd));
	to->nr += nr;
	to->pos = pos;
	return 0;
}

/* The descriptors of a read, at most LIMIT_VFU_MSG_FDS: there is no room for
 * more, and the kernel closes those. */
static unsigned collect_fds(struct msghdr *mh, int fd[LIMIT_VFU_MSG_FDS])
{
	struct cmsghdr *c;
	unsigned nr = 0;

	for (c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(&fd[nr], CMSG_DATA(c), len);
		nr += (unsigned)(len / sizeof(int));
	}
	return nr;
}

/* What is left of the buffer must hold the longest message; then every message that
 * is begun can be completed in place. */
static void make_room(struct vfu_conn *conn)
{
	unsigned len = conn->tail - conn->head;

	if (len && VFU_RX_LEN - conn->tail >= LIMIT_VFU_MSG_LEN)
		return;
	memmove(conn->rx, &conn->rx[conn->head], len);
	conn->head = 0;
	conn->tail = len;
}

static int account(struct viommu_vfu *vfu, struct msghdr *mh, size_t len)
{
	int fd[LIMIT_VFU_MSG_FDS];
	unsigned nr = collect_fds(mh, fd);
	struct vfu_conn *conn = &vfu->conn;

	conn->tail += (unsigned)len;
	/* A read that was cut short behind descriptors says nothing about what
	 * is queued behind them. */
	conn->drained = !nr && len < mh->msg_iov->iov_len;
	if (mh->msg_flags & MSG_CTRUNC)
		vfu_drop(vfu, "more descriptors than one message can have");
	if (!vfu->drop && (!nr || !keep_fds(vfu, fd, nr)))
		return 1;
	vfu_close_fds(fd, nr);
	return err(EPROTO, "descriptors");
}

int vfu_conn_receive(struct viommu_vfu *vfu)
{
	struct vfu_conn *conn = &vfu->conn;
	union {
		char buf[CMSG_SPACE(LIMIT_VFU_MSG_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n;

	make_room(conn);
	iov.iov_base = &conn->rx[conn->tail];
	iov.iov_len = VFU_RX_LEN - conn->tail;
	n = recvmsg(conn->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return sys_errno() == EAGAIN || sys_errno() == EINTR
			       ? 0
			       : vfu_drop(vfu, "the connection broke");
	if (!n)
		conn->eof = true;
	if (!n)
		return vfu_drop(vfu, conn->head == conn->tail
					     ? "the client closed it"
					     : "the client closed it amid a message");
	return account(vfu, &mh, (size_t)n);
}

/* ---- writing ---- */

int vfu_conn_send(struct viommu_vfu *vfu, unsigned len)
{
	vfu->conn.tx_at = 0;
	vfu->conn.tx_len = len;
	return vfu_conn_flush(vfu);
}

/*
 * While a reply is stuck because the client does not read, nothing of it is
 * handled: there is never more than one reply to keep.
 */
int vfu_conn_flush(struct viommu_vfu *vfu)
{
	struct vfu_conn *conn = &vfu->conn;

	while (conn->tx_at < conn->tx_len) {
		ssize_t n = send(conn->fd, &conn->tx[conn->tx_at],
				 conn->tx_len - conn->tx_at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && sys_errno() != EAGAIN && sys_errno() != EINTR)
			return vfu_drop(vfu, "the connection broke");
		if (n <= 0) {
			vfu_conn_watch(vfu, EPOLLOUT);
			return 0;
		}
		conn->tx_at += (unsigned)n;
	}
	conn->tx_at = conn->tx_len = 0;
	vfu_conn_watch(vfu, EPOLLIN);
	return 0;
}
