/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "vfu_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_TIMEOUT_MS 5000
#define PUMPS_MAX	 1000

const char vfu_client_qemu_json[] =
	"{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, "
	"\"max_dma_maps\": 65535, \"max_data_xfer_size\": 1048576, "
	"\"migration\": {\"pgsize\": 4096, \"max_bitmap_size\": 268435456}, "
	"\"write_multiple\": true}}";
const char vfu_client_ch_json[] =
	"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576,"
	"\"migration\":{\"pgsize\":4096}}}";

int vfu_client_connect(struct vfu_client *c, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	/* A server that does not read must not hang the test. */
	const struct timeval limit = {.tv_sec = REPLY_TIMEOUT_MS / 1000};

	if (strlen(path) >= sizeof(sa.sun_path))
		return -EINVAL;
	strcpy(sa.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int r = -errno;

		vfu_client_close(c);
		return r;
	}
	return 0;
}

void vfu_client_close(struct vfu_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

bool vfu_client_send_raw(struct vfu_client *c, const void *bytes, size_t len,
			 const int *fds, unsigned fd_nr)
{
	union {
		char buf[CMSG_SPACE(VFU_CLIENT_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cm;

	if (fd_nr) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(fd_nr * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(fd_nr * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, fd_nr * sizeof(int));
	}
	return sendmsg(c->fd, &mh, MSG_NOSIGNAL) == (ssize_t)len;
}

bool vfu_client_send(struct vfu_client *c, uint16_t command, uint32_t flags,
		     const void *payload, size_t len, const int *fds, unsigned fd_nr)
{
	uint8_t bytes[1 << 17];
	struct vfu_header h = {
		.id = c->id++,
		.command = command,
		.size = (uint32_t)(sizeof(h) + len),
		.flags = flags,
	};

	if (len > sizeof(bytes) - sizeof(h))
		return false;
	memcpy(bytes, &h, sizeof(h));
	if (len)
		memcpy(bytes + sizeof(h), payload, len);
	return vfu_client_send_raw(c, bytes, sizeof(h) + len, fds, fd_nr);
}

/* All of buf, of which the first byte is there. */
static bool recv_all(struct vfu_client *c, void *buf, size_t len)
{
	return !len || recv(c->fd, buf, len, MSG_WAITALL) == (ssize_t)len;
}

int vfu_client_recv(struct vfu_client *c, struct vfu_client_reply *reply)
{
	uint8_t first;
	ssize_t n = recv(c->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0 || !recv_all(c, &reply->hdr, sizeof(reply->hdr)))
		return -EPIPE;
	reply->len = reply->hdr.size - (unsigned)sizeof(reply->hdr);
	if (reply->hdr.size < sizeof(reply->hdr) || reply->len > sizeof(reply->data) ||
	    !recv_all(c, reply->data, reply->len))
		return -EPIPE;
	return 1;
}

static int await(struct vfu_client *c, struct vfu_client_reply *reply)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	int r = 0;

	if (!c->pump) {
		if (poll(&p, 1, REPLY_TIMEOUT_MS) > 0)
			r = vfu_client_recv(c, reply);
		return r ? r : -ETIMEDOUT;
	}
	for (int i = 0; i < PUMPS_MAX && !r; i++) {
		c->pump(c->opaque);
		r = vfu_client_recv(c, reply);
	}
	return r ? r : -ETIMEDOUT;
}

int vfu_client_call(struct vfu_client *c, uint16_t command, const void *payload,
		    size_t len, const int *fds, unsigned fd_nr,
		    struct vfu_client_reply *reply)
{
	static struct vfu_client_reply unused;
	uint16_t id = c->id;
	int r;

	if (!reply)
		reply = &unused;
	if (!vfu_client_send(c, command, 0, payload, len, fds, fd_nr))
		return -EPIPE;
	r = await(c, reply);
	if (r < 0)
		return r;
	if (reply->hdr.id != id || reply->hdr.command != command ||
	    (reply->hdr.flags & VFU_TYPE_MASK) != VFU_TYPE_REPLY)
		return -EBADMSG;
	if (reply->hdr.flags & VFU_FLAG_ERROR)
		return reply->len ? -EBADMSG : -(int)reply->hdr.error;
	return (int)reply->len;
}

/* For a reply that must have a fixed length, copied out. */
static int call_for(struct vfu_client *c, uint16_t command, const void *payload,
		    size_t len, void *out, unsigned out_len)
{
	static struct vfu_client_reply reply;
	int r = vfu_client_call(c, command, payload, len, NULL, 0, &reply);

	if (r < 0)
		return r;
	if ((unsigned)r != out_len)
		return -EBADMSG;
	if (out)
		memcpy(out, reply.data, out_len);
	return 0;
}

int vfu_client_version(struct vfu_client *c, const char *json)
{
	uint8_t payload[1024] = {0};
	size_t len = sizeof(struct vfu_version);

	if (json) {
		memcpy(payload + len, json, strlen(json) + 1);
		len += strlen(json) + 1;
	}
	return vfu_client_call(c, VFU_VERSION, payload, len, NULL, 0, NULL);
}

int vfu_client_dma_map(struct vfu_client *c, uint64_t addr, uint64_t size, int fd,
		       uint64_t offset, uint32_t flags)
{
	const struct vfu_dma_map d = {sizeof(d), flags, offset, addr, size};

	return vfu_client_call(c, VFU_DMA_MAP, &d, sizeof(d), &fd, fd >= 0, NULL);
}

int vfu_client_dma_unmap(struct vfu_client *c, uint64_t addr, uint64_t size,
			 uint32_t flags)
{
	const struct vfu_dma_unmap d = {sizeof(d), flags, addr, size};
	struct vfu_dma_unmap echo;
	int r = call_for(c, VFU_DMA_UNMAP, &d, sizeof(d), &echo, sizeof(echo));

	return r < 0 || !memcmp(&d, &echo, sizeof(d)) ? r : -EBADMSG;
}

int vfu_client_device_info(struct vfu_client *c, struct vfu_device_info *out)
{
	const struct vfu_device_info d = {.argsz = sizeof(d)};

	return call_for(c, VFU_DEVICE_GET_INFO, &d, sizeof(d), out, sizeof(*out));
}

int vfu_client_region_info(struct vfu_client *c, uint32_t index,
			   struct vfu_region_info *out)
{
	const struct vfu_region_info d = {.argsz = sizeof(d), .index = index};

	return call_for(c, VFU_GET_REGION_INFO, &d, sizeof(d), out, sizeof(*out));
}

int vfu_client_irq_info(struct vfu_client *c, uint32_t index, struct vfu_irq_info *out)
{
	const struct vfu_irq_info d = {.argsz = sizeof(d), .index = index};

	return call_for(c, VFU_GET_IRQ_INFO, &d, sizeof(d), out, sizeof(*out));
}

int vfu_client_set_irqs(struct vfu_client *c, uint32_t index, uint32_t flags,
			uint32_t start, uint32_t count, const int *fds, unsigned fd_nr)
{
	const struct vfu_irq_set s = {sizeof(s), flags, index, start, count};

	return vfu_client_call(c, VFU_SET_IRQS, &s, sizeof(s), fds, fd_nr, NULL);
}

int vfu_client_read(struct vfu_client *c, uint32_t region, uint64_t offset, void *buf,
		    uint32_t len)
{
	static struct vfu_client_reply reply;
	const struct vfu_region_access a = {offset, region, len};
	int r = vfu_client_call(c, VFU_REGION_READ, &a, sizeof(a), NULL, 0, &reply);

	if (r < 0)
		return r;
	if ((unsigned)r != sizeof(a) + len || memcmp(reply.data, &a, sizeof(a)) != 0)
		return -EBADMSG;
	memcpy(buf, reply.data + sizeof(a), len);
	return 0;
}

static size_t write_payload(uint8_t *to, uint32_t region, uint64_t offset,
			    const void *buf, uint32_t len)
{
	const struct vfu_region_access a = {offset, region, len};

	memcpy(to, &a, sizeof(a));
	memcpy(to + sizeof(a), buf, len);
	return sizeof(a) + len;
}

int vfu_client_write(struct vfu_client *c, uint32_t region, uint64_t offset,
		     const void *buf, uint32_t len)
{
	uint8_t payload[1 << 17];
	struct vfu_region_access echo;
	size_t nr = write_payload(payload, region, offset, buf, len);
	int r = call_for(c, VFU_REGION_WRITE, payload, nr, &echo, sizeof(echo));

	return r < 0 || !memcmp(&echo, payload, sizeof(echo)) ? r : -EBADMSG;
}

bool vfu_client_write_posted(struct vfu_client *c, uint32_t region, uint64_t offset,
			     const void *buf, uint32_t len)
{
	uint8_t payload[1 << 17];
	size_t nr = write_payload(payload, region, offset, buf, len);

	return vfu_client_send(c, VFU_REGION_WRITE, VFU_FLAG_NO_REPLY, payload, nr, NULL,
			       0);
}

int vfu_client_reset(struct vfu_client *c)
{
	return vfu_client_call(c, VFU_DEVICE_RESET, NULL, 0, NULL, 0, NULL);
}
