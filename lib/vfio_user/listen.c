/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The listening socket: a path that may be stale, one client at a time. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "vfio_user/sys.h"
#include "vfio_user/vfu_internal.h"

#define BACKLOG 4

/* A path that fills sun_path to the last byte has no NUL and is refused too. */
static int set_address(struct sockaddr_un *sa, const char *path)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(sa->sun_path))
		return err(EINVAL, "socket path too long");
	memcpy(sa->sun_path, path, strlen(path));
	return 0;
}

/* Whether the path is a socket whose server is gone. Anything else stays. */
static bool is_stale(const struct sockaddr_un *sa)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 &&
		sys_errno() == ECONNREFUSED;
	close(fd);
	return stale;
}

/* Two servers that find the same stale path at once can both replace it; the later
 * one has it then. Only a lock file could tell, and the folder has one owner. */
static int bind_path(int fd, const struct sockaddr_un *sa)
{
	const struct sockaddr *addr = (const struct sockaddr *)sa;

	if (!bind(fd, addr, sizeof(*sa)))
		return 0;
	if (sys_errno() != EADDRINUSE)
		return sys_err("bind");
	if (!is_stale(sa))
		return err(EADDRINUSE, "the path is in use");
	if (unlink(sa->sun_path) < 0 || bind(fd, addr, sizeof(*sa)) < 0)
		return sys_err("bind over a stale socket");
	return 0;
}

/* Remembers what was bound, so that only that is unlinked later. */
static int keep_path(struct viommu_vfu *vfu, const char *path)
{
	size_t len = strlen(path) + 1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return sys_err("lstat");
	vfu->path = vfu->alloc.alloc(vfu->alloc.opaque, len, 1);
	if (!vfu->path)
		return err(ENOMEM, "socket path");
	memcpy(vfu->path, path, len);
	vfu->path_dev = st.st_dev;
	vfu->path_ino = st.st_ino;
	return 0;
}

static int listen_path(struct viommu_vfu *vfu, const char *path)
{
	struct sockaddr_un sa;
	int r = set_address(&sa, path);

	if (r < 0)
		return r;
	vfu->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (vfu->listen_fd < 0)
		return sys_err("socket");
	r = bind_path(vfu->listen_fd, &sa);
	if (r < 0)
		return r;
	r = keep_path(vfu, path);
	if (r < 0) {
		unlink(path);
		return r;
	}
	if (listen(vfu->listen_fd, BACKLOG) < 0)
		return sys_err("listen");
	return 0;
}

int vfu_listen(struct viommu_vfu *vfu, const struct viommu_vfu_config *config)
{
	int flags;

	if (config->listen_fd < 0)
		return config->path ? listen_path(vfu, config->path)
				    : err(EINVAL, "neither path nor descriptor");
	flags = fcntl(config->listen_fd, F_GETFL);
	if (flags < 0 || fcntl(config->listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err(EINVAL, "bad listening descriptor");
	vfu->listen_fd = config->listen_fd;
	return 0;
}

/* Somebody may have put a socket of his own in our place meanwhile: that stays. */
void vfu_unlisten(struct viommu_vfu *vfu)
{
	struct stat st;

	if (vfu->listen_fd >= 0)
		close(vfu->listen_fd);
	vfu->listen_fd = -1;
	if (!vfu->path)
		return;
	if (!lstat(vfu->path, &st) && st.st_dev == vfu->path_dev &&
	    st.st_ino == vfu->path_ino)
		unlink(vfu->path);
	vfu->alloc.free(vfu->alloc.opaque, vfu->path, strlen(vfu->path) + 1);
	vfu->path = NULL;
}

void vfu_watch_listen(struct viommu_vfu *vfu, bool on)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = VFU_EVENT_LISTEN};

	if (on == vfu->listening)
		return;
	epoll_ctl(vfu->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, vfu->listen_fd, &ev);
	vfu->listening = on;
}

/*
 * Out of descriptors, the client in the backlog would keep the listening socket
 * readable for ever: the spare one is given up to take and drop it.
 */
static int accept_client(struct viommu_vfu *vfu)
{
	int fd = accept4(vfu->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 || (sys_errno() != EMFILE && sys_errno() != ENFILE))
		return fd;
	log_error(vfu->log, "%s: out of file descriptors, a client was turned away.",
		  vfu->name);
	close(vfu->spare_fd);
	fd = accept4(vfu->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	vfu->spare_fd = fcntl(vfu->epoll_fd, F_DUPFD_CLOEXEC, 0);
	return -1;
}

/* Whether the client has gone, though we have not read that far yet. */
static bool is_leaving(const struct viommu_vfu *vfu)
{
	struct pollfd p = {.fd = vfu->conn.fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0;
}

static void refuse(struct viommu_vfu *vfu, int fd)
{
	close(fd);
	vfu->stats.refused_clients++;
	if (!vfu->refused)
		log_warn(vfu->log, "%s: there is a client already, another was refused.",
			 vfu->name);
	vfu->refused = true;
}

bool vfu_accept(struct viommu_vfu *vfu)
{
	int fd;

	/* The backlog keeps the next one until the last one is done with. */
	if (vfu->parked || vfu->draining || (vfu->conn.fd >= 0 && is_leaving(vfu)))
		return false;
	fd = accept_client(vfu);
	if (fd < 0)
		return false;
	if (vfu->conn.fd >= 0) {
		refuse(vfu, fd);
		return false;
	}
	vfu->stats.connections++;
	vfu->refused = false;
	vfu_conn_open(vfu, fd);
	return true;
}
