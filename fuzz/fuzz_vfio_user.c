/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A vfio-user server with a virtio function behind it, against a client that sends
 * any sequence of messages, well formed or not, whole or in parts, with any
 * descriptors, while transfers hold guest memory and interrupts are raised.
 *
 * Invariants: no descriptor is lost; every reply has the form of one, and a
 * well-formed command gets exactly one unless it asked for none; a memory region
 * that is in the table can be touched; nothing is left of a client that went.
 */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <viommu/dma.h>
#include <viommu/vfio_user.h>
#include <viommu/virtio_pci.h>

#include "vfio_user/wire.h"

enum { RAM_LEN = 1 << 16, QUEUES = 3, FDS = 5, STEPS_MAX = 200 };

struct state {
	struct input in;
	struct viommu_virtio_pci *vp;
	struct viommu_mem *mem;
	struct viommu_vfu *vfu;
	struct sockaddr_un addr;
	socklen_t addr_len;
	int client;
	int fd[FDS]; /* what the client has to send */
	bool odd;    /* something malformed was sent: replies are not counted */
	unsigned asked, answered;
	bool negotiated;
	unsigned connected, disconnected;
	bool enabled[QUEUES];
	struct viommu_dma *dma;
	struct iovec iov;
	struct viommu_hold hold;
	struct viommu_sg sg;
};

/* ---- the device ---- */

static uint64_t features(void *opaque)
{
	(void)opaque;
	return 1ull << 28 | 1ull << 29 | 1ull << 40;
}

static int set_features(void *opaque, uint64_t value)
{
	(void)opaque;
	return value & 1ull << 28 ? -1 : 0;
}

static int queue_enable(void *opaque, unsigned queue,
			const struct viommu_virtq_config *ring)
{
	struct state *s = opaque;

	FUZZ_CHECK(queue < QUEUES && !s->enabled[queue] && ring->size);
	s->enabled[queue] = true;
	return 0;
}

static void queue_disable(void *opaque, unsigned queue)
{
	struct state *s = opaque;

	FUZZ_CHECK(queue < QUEUES && s->enabled[queue]);
	s->enabled[queue] = false;
}

static void notify(void *opaque, unsigned queue)
{
	struct state *s = opaque;

	FUZZ_CHECK(queue < QUEUES && s->enabled[queue]);
	viommu_virtio_pci_queue_irq(s->vp, queue);
}

static void reset(void *opaque)
{
	struct state *s = opaque;

	for (int i = 0; i < QUEUES; i++)
		FUZZ_CHECK(!s->enabled[i]);
}

static void on_connected(void *opaque)
{
	((struct state *)opaque)->connected++;
}

static void on_disconnected(void *opaque, const char *reason)
{
	struct state *s = opaque;
	struct viommu_mem_region r;

	FUZZ_CHECK(reason && *reason);
	FUZZ_CHECK(++s->disconnected == s->connected);
	FUZZ_CHECK(viommu_mem_region(s->mem, 0, &r) == -ENOENT);
	/* NEEDS_RESET may have been set since, by the device. */
	FUZZ_CHECK(!(viommu_virtio_pci_status(s->vp) & ~0x40u));
}

/* ---- set-up ---- */

static void *heap_alloc(void *opaque, size_t len, size_t align)
{
	(void)opaque;
	return aligned_alloc(align < 8 ? 8 : align, (len + align + 7) / align * align);
}

static void heap_free(void *opaque, void *p, size_t len)
{
	(void)opaque;
	(void)len;
	free(p);
}

static const struct viommu_alloc heap = {heap_alloc, heap_free, NULL};

static void create_server(struct state *s)
{
	static const struct viommu_virtio_ops ops = {
		.features = features,
		.set_features = set_features,
		.queue_enable = queue_enable,
		.queue_disable = queue_disable,
		.notify = notify,
		.reset = reset,
	};
	static const struct viommu_virtio_pci_config config = {
		.virtio_id = 23, .queues_nr = QUEUES, .queue_size = 64};
	static const struct viommu_vfu_ops vfu_ops = {on_connected, on_disconnected,
						      NULL};
	struct viommu_vfu_config vfu_config = {
		.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	struct sockaddr_un any = {.sun_family = AF_UNIX};

	FUZZ_CHECK(!bind(vfu_config.listen_fd, (struct sockaddr *)&any,
			 sizeof(sa_family_t)));
	FUZZ_CHECK(!listen(vfu_config.listen_fd, 4));
	s->addr_len = sizeof(s->addr);
	FUZZ_CHECK(!getsockname(vfu_config.listen_fd, (struct sockaddr *)&s->addr,
				&s->addr_len));
	FUZZ_CHECK(!viommu_virtio_pci_create(&config, &ops, s, &heap, NULL, &s->vp));
	FUZZ_CHECK(!viommu_mem_create(&heap, &s->mem));
	FUZZ_CHECK(!viommu_dma_create(NULL, s->mem, &heap, NULL, NULL, &s->dma));
	FUZZ_CHECK(!viommu_vfu_create(&vfu_config, viommu_virtio_pci_function(s->vp),
				      s->mem, &vfu_ops, s, &heap, NULL, &s->vfu));
	s->sg = (struct viommu_sg){
		.iov = &s->iov, .iov_max = 1, .hold = &s->hold, .hold_max = 1};
}

static void create_fds(struct state *s)
{
	int pipes[2];

	s->fd[0] = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	FUZZ_CHECK(!ftruncate(s->fd[0], RAM_LEN));
	s->fd[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->fd[2] = eventfd(0, EFD_CLOEXEC);
	FUZZ_CHECK(!pipe2(pipes, O_CLOEXEC));
	s->fd[3] = pipes[0];
	s->fd[4] = pipes[1];
}

/* The lowest free descriptor: it moves if one is lost below it. */
static int next_fd(void)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);

	FUZZ_CHECK(fd >= 0);
	close(fd);
	return fd;
}

/* ---- the client ---- */

static void connect_client(struct state *s)
{
	if (s->client >= 0)
		close(s->client);
	s->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The backlog may be full of clients before us: then there is none. */
	if (connect(s->client, (struct sockaddr *)&s->addr, s->addr_len) < 0) {
		close(s->client);
		s->client = -1;
	}
	s->odd = s->negotiated = false;
	s->asked = s->answered = 0;
}

static bool send_bytes(struct state *s, const void *bytes, size_t len, unsigned fds)
{
	union {
		char buf[CMSG_SPACE(FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	unsigned first = fds >> 4 & 7, nr = fds & 7;
	struct cmsghdr *c;

	if (s->client < 0 || !len)
		return false;
	nr = nr > FDS ? 0 : nr;
	if (nr) {
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr * sizeof(int));
		for (unsigned i = 0; i < nr; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &s->fd[(first + i) % FDS],
			       sizeof(int));
	}
	return sendmsg(s->client, &mh, MSG_NOSIGNAL) == (ssize_t)len;
}

/* A number that is often a good one. */
static uint64_t some_number(struct state *s, uint64_t good)
{
	uint8_t how = input_u8(&s->in);

	if (how < 160)
		return good;
	if (how < 230)
		return (uint64_t)(how & 15) << (how >> 2 & 15);
	return input_u64(&s->in);
}

static unsigned make_access(struct state *s, uint8_t *to, unsigned data)
{
	static const uint64_t offsets[] = {0x14,   0x16,   0x1c, 0x0c,
					   0x3000, 0x1000, 0x3a, 4};
	uint64_t offset = offsets[input_u8(&s->in) % 8];
	struct vfu_region_access a = {
		.offset = some_number(s, offset),
		.region = (uint32_t)some_number(s, input_u8(&s->in) & 1 ? 7 : 0),
		.count = (uint32_t)some_number(s, 1u << (input_u8(&s->in) & 3)),
	};

	if (data && a.count > 64)
		a.count = 64;
	memcpy(to, &a, sizeof(a));
	for (unsigned i = 0; data && i < a.count; i++)
		to[sizeof(a) + i] = input_u8(&s->in);
	return (unsigned)sizeof(a) + (data ? a.count : 0);
}

static unsigned make_map(struct state *s, uint8_t *to)
{
	struct vfu_dma_map d = {
		.argsz = (uint32_t)some_number(s, sizeof(d)),
		.flags = (uint32_t)some_number(s, 3),
		.offset = some_number(s, 0),
		.addr = some_number(s, (uint64_t)(input_u8(&s->in) & 3) << 16),
		.size = some_number(s, RAM_LEN),
	};

	memcpy(to, &d, sizeof(d));
	return sizeof(d);
}

static unsigned make_unmap(struct state *s, uint8_t *to)
{
	struct vfu_dma_unmap d = {
		.argsz = (uint32_t)some_number(s, sizeof(d)),
		.flags = (uint32_t)some_number(s, 0),
		.addr = some_number(s, (uint64_t)(input_u8(&s->in) & 3) << 16),
		.size = some_number(s, RAM_LEN),
	};

	memcpy(to, &d, sizeof(d));
	return sizeof(d);
}

static unsigned make_irqs(struct state *s, uint8_t *to)
{
	static const uint32_t flags[] = {0x24, 0x21, 0x22, 0x11, 0x09, 0x14, 0x0c, 0x12};
	struct vfu_irq_set i = {
		.flags = (uint32_t)some_number(s, flags[input_u8(&s->in) & 7]),
		.index = (uint32_t)some_number(s, input_u8(&s->in) & 2),
		.start = (uint32_t)some_number(s, 0),
		.count = (uint32_t)some_number(s, 1),
	};
	unsigned extra = i.flags & 2 && i.count < 64 ? i.count : 0;

	i.argsz = (uint32_t)some_number(s, sizeof(i) + extra);
	memcpy(to, &i, sizeof(i));
	memset(to + sizeof(i), 1, extra);
	return (unsigned)sizeof(i) + extra;
}

static unsigned make_multi(struct state *s, uint8_t *to)
{
	uint64_t nr = input_u8(&s->in) & 7;
	unsigned len = (unsigned)(8 + nr * 24);

	for (unsigned i = 8; i < len; i++)
		to[i] = input_u8(&s->in);
	nr = some_number(s, nr);
	memcpy(to, &nr, sizeof(nr));
	return len;
}

static unsigned make_payload(struct state *s, uint16_t command, uint8_t *to)
{
	static const char version[] =
		"\0\0\0\0{\"capabilities\":{\"write_multiple\":true}}";

	switch (command) {
	case VFU_VERSION:
		memcpy(to, version, sizeof(version));
		to[input_u8(&s->in) % sizeof(version)] ^= input_u8(&s->in) & 1;
		return sizeof(version);
	case VFU_DMA_MAP:
		return make_map(s, to);
	case VFU_DMA_UNMAP:
		return make_unmap(s, to);
	case VFU_SET_IRQS:
		return make_irqs(s, to);
	case VFU_REGION_READ:
		return make_access(s, to, 0);
	case VFU_REGION_WRITE:
		return make_access(s, to, 1);
	case VFU_REGION_WRITE_MULTI:
		return make_multi(s, to);
	default: /* the infos begin with argsz; index is the third word */
		memset(to, 0, 32);
		to[0] = (uint8_t)some_number(s, 32);
		to[8] = input_u8(&s->in) & 15;
		if (command == VFU_DEVICE_RESET)
			return 0;
		return command == VFU_GET_REGION_INFO ? 32 : 16;
	}
}

static void send_message(struct state *s)
{
	static const uint16_t commands[] = {1, 2, 2, 3,	 3,  4,	 5,  6,	 7,  8,
					    8, 9, 9, 10, 10, 10, 13, 15, 16, 0xffff};
	struct vfu_header h = {
		.id = input_u8(&s->in),
		.command = commands[input_u8(&s->in) % 20],
		.flags = (uint32_t)some_number(s, input_u8(&s->in) & 1 ? 0x10 : 0),
	};
	uint8_t bytes[512];
	unsigned len, cut, fds;

	if (!s->negotiated)
		h.command = VFU_VERSION;
	s->negotiated = true;
	len = sizeof(h) + make_payload(s, h.command, bytes + sizeof(h));
	h.size = (uint32_t)some_number(s, len);
	s->odd |= h.size != len || h.flags & ~0x10u;
	memcpy(bytes, &h, sizeof(h));
	fds = input_u8(&s->in);
	cut = input_u8(&s->in);
	if (cut < len && cut) {
		s->odd |= !send_bytes(s, bytes, cut, fds);
		viommu_vfu_process(s->vfu, 1 + (cut & 1));
		s->odd |= !send_bytes(s, bytes + cut, len - cut, 0);
	} else {
		s->odd |= !send_bytes(s, bytes, len, fds);
	}
	s->asked += !(h.flags & 0x10);
}

static void send_noise(struct state *s)
{
	unsigned len = 1 + input_u8(&s->in) % 40;
	uint8_t bytes[40];

	for (unsigned i = 0; i < len; i++)
		bytes[i] = input_u8(&s->in);
	s->odd = true;
	send_bytes(s, bytes, len, input_u8(&s->in));
}

static void read_replies(struct state *s)
{
	uint8_t bytes[1 << 17];
	ssize_t n =
		s->client < 0 ? 0 : recv(s->client, bytes, sizeof(bytes), MSG_DONTWAIT);
	struct vfu_header h;

	for (ssize_t at = 0; at < n; at += h.size) {
		FUZZ_CHECK((size_t)(n - at) >= sizeof(h));
		memcpy(&h, bytes + at, sizeof(h));
		FUZZ_CHECK(h.size >= sizeof(h) && h.size <= (size_t)(n - at));
		FUZZ_CHECK(h.flags == VFU_TYPE_REPLY ||
			   (h.flags == (VFU_TYPE_REPLY | VFU_FLAG_ERROR) &&
			    h.size == sizeof(h) && h.error));
		s->answered++;
	}
	FUZZ_CHECK(s->odd || s->answered <= s->asked);
}

/* ---- the steps ---- */

static void release(struct state *s)
{
	viommu_dma_put(s->dma, &s->sg);
}

static void hold_page(struct state *s)
{
	uint64_t gpa = (uint64_t)(input_u8(&s->in) & 3) << 16;

	release(s);
	if (!viommu_dma_get(s->dma, gpa, 16, VIOMMU_READ | VIOMMU_WRITE, &s->sg))
		memset(s->iov.iov_base, 0xa5, 16);
}

static void touch_memory(struct state *s)
{
	struct viommu_mem_region r;

	for (unsigned i = 0; !viommu_mem_region(s->mem, i, &r); i++) {
		const volatile uint8_t *p = r.hva;

		FUZZ_CHECK(!p || r.len <= RAM_LEN);
		if (p)
			(void)(p[0] + p[r.len - 1]);
	}
}

static void settle(struct state *s)
{
	struct pollfd p = {.fd = viommu_vfu_fd(s->vfu), .events = POLLIN};

	release(s);
	viommu_vfu_process(s->vfu, 64); /* a reply may have waited for memory */
	for (int i = 0; i < 100 && poll(&p, 1, 0) == 1; i++) {
		viommu_vfu_process(s->vfu, 64);
		read_replies(s); /* the next may wait for room */
	}
	read_replies(s);
	FUZZ_CHECK(s->odd || !viommu_vfu_is_connected(s->vfu) || s->asked == s->answered);
}

static void step(struct state *s)
{
	int r;

	switch (input_u8(&s->in) & 15) {
	case 0:
		send_noise(s);
		break;
	case 1:
		r = viommu_vfu_process(s->vfu, 1 + (input_u8(&s->in) & 7));
		FUZZ_CHECK(r >= -EAGAIN && r <= 8 && (r >= 0 || r == -EAGAIN));
		break;
	case 2:
		read_replies(s);
		break;
	case 3:
		connect_client(s);
		break;
	case 4:
		hold_page(s);
		break;
	case 5:
		viommu_virtio_pci_config_irq(s->vp);
		viommu_virtio_pci_needs_reset(s->vp);
		break;
	case 6:
		touch_memory(s);
		break;
	case 7:
		settle(s);
		break;
	default:
		send_message(s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct state *s = calloc(1, sizeof(*s));
	int before = next_fd();

	s->in = (struct input){data, len};
	s->client = -1;
	create_fds(s);
	create_server(s);
	connect_client(s);
	for (int i = 0; i < STEPS_MAX && s->in.len; i++)
		step(s);
	settle(s);
	if (s->client >= 0)
		close(s->client);
	s->client = -1;
	for (int i = 0; i < 20; i++)
		viommu_vfu_process(s->vfu, 64);
	FUZZ_CHECK(s->connected == s->disconnected);
	viommu_vfu_destroy(s->vfu);
	viommu_dma_destroy(s->dma);
	viommu_mem_destroy(s->mem);
	viommu_virtio_pci_destroy(s->vp);
	for (int i = 0; i < FDS; i++)
		close(s->fd[i]);
	FUZZ_CHECK(next_fd() == before);
	free(s);
	return 0;
}
