/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "guest_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <viommu/proto.h>

#include "endpoints/dmatest.h"
#include "test.h"

/* ---- viommud ---- */

#define ARGV_MAX 40

static void exec_viommud(const char *program, const struct viommud *d, int ready_fd,
			 const char *const *options)
{
	char control[64], ready[16];
	const char *argv[ARGV_MAX] = {program,	   "--socket-dir", d->dir,
				      "--control", control,	   "--ready-fd",
				      ready,	   "--log-level",  "error"};
	int argc = 9;

	snprintf(control, sizeof(control), "%s/control", d->dir);
	snprintf(ready, sizeof(ready), "%d", ready_fd);
	while (*options && argc < ARGV_MAX - 1)
		argv[argc++] = *options++;
	execv(program, (char *const *)argv);
	_exit(127);
}

static int connect_control(const struct viommud *d)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", d->dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

void viommud_start(struct viommud *d, const char *program, const char *const *options)
{
	char said[8] = "";
	int ready[2];

	strcpy(d->dir, "/tmp/viommud-test-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	assert_int_equal(pipe(ready), 0);
	d->pid = fork();
	if (!d->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		exec_viommud(program, d, ready[1], options);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], said, sizeof(said)), 6);
	assert_string_equal(said, "ready\n");
	close(ready[0]);
	d->control = connect_control(d);
}

int viommud_end(struct viommud *d, int signal_nr)
{
	unsigned tries = 3000;
	int status;

	if (d->control >= 0)
		close(d->control);
	if (signal_nr)
		kill(d->pid, signal_nr);
	while (!waitpid(d->pid, &status, WNOHANG)) {
		usleep(5000);
		if (!tries--) {
			kill(d->pid, SIGKILL);
			fail_msg("viommud does not end");
		}
	}
	return status;
}

json_t *viommud_ask(struct viommud *d, const char *request)
{
	static char reply[1 << 20];
	size_t len = 0;
	json_t *json;
	ssize_t n;

	assert_int_equal(write(d->control, request, strlen(request)), strlen(request));
	assert_int_equal(write(d->control, "\n", 1), 1);
	while (!len || reply[len - 1] != '\n') {
		n = read(d->control, reply + len, sizeof(reply) - len - 1);
		assert_true(n > 0);
		len += (size_t)n;
	}
	reply[len] = 0;
	json = json_loads(reply, 0, NULL);
	assert_non_null(json);
	return json;
}

/* The value at "a.b.3.c": keys of objects, indices of arrays. */
static json_t *walk(json_t *at, const char *path)
{
	char key[64];
	size_t len;

	while (at && *path) {
		len = strcspn(path, ".");
		snprintf(key, sizeof(key), "%.*s", (int)len, path);
		if (json_is_array(at))
			at = json_array_get(at, (size_t)atoi(key));
		else
			at = json_object_get(at, key);
		path += len + (path[len] == '.');
	}
	return at;
}

long long viommud_number(struct viommud *d, const char *request, const char *path)
{
	json_t *reply = viommud_ask(d, request), *value = walk(reply, path);
	long long number;

	if (!json_is_integer(value))
		fail_msg("%s: no %s in %s", request, path, json_dumps(reply, 0));
	number = json_integer_value(value);
	json_decref(reply);
	return number;
}

long long viommud_stat(struct viommud *d, const char *path)
{
	char whole[96];

	snprintf(whole, sizeof(whole), "result.%s", path);
	return viommud_number(d, "{\"command\":\"stat\"}", whole);
}

/* ---- the guest's side ---- */

#define BAR0	    VFU_REGION_BAR0
#define CONFIG	    VFU_REGION_CONFIG
#define QUEUE_LEN   8u
#define DESC	    0x1000u
#define AVAIL	    0x2000u
#define USED	    0x3000u
#define EVENT_RINGS 0x3000u /* the event queue's are so much further on */
#define REQUEST_AT  0x10000u
#define TAIL_AT	    0x11000u
#define EVENT_AT    0x12000u

/* Offsets in the common configuration (VIRTIO 1.4, "Common configuration
 * structure layout"). */
enum {
	COMMON_GF_SELECT = 0x08,
	COMMON_GF = 0x0c,
	COMMON_STATUS = 0x14,
	COMMON_Q_SELECT = 0x16,
	COMMON_Q_SIZE = 0x18,
	COMMON_Q_ENABLE = 0x1c,
	COMMON_Q_DESC = 0x20,
	COMMON_Q_DRIVER = 0x28,
	COMMON_Q_DEVICE = 0x30,
};

static void put(struct guest *g, uint32_t offset, uint64_t value, uint32_t len)
{
	assert_int_equal(
		vfu_client_write(&g->iommu, BAR0, g->common + offset, &value, len), 0);
}

static uint8_t config8(struct vfu_client *c, uint32_t offset)
{
	uint8_t v = 0;

	assert_true(vfu_client_read(c, CONFIG, offset, &v, 1) >= 0);
	return v;
}

/* Where virtio structures are: vendor capabilities of the configuration space. */
static void find_structures(struct guest *g)
{
	uint32_t at = config8(&g->iommu, 0x34), offset;

	for (; at; at = config8(&g->iommu, at + 1)) {
		if (config8(&g->iommu, at) != 9)
			continue;
		assert_true(vfu_client_read(&g->iommu, CONFIG, at + 8, &offset, 4) >= 0);
		if (config8(&g->iommu, at + 3) == 1)
			g->common = offset;
		else if (config8(&g->iommu, at + 3) == 2)
			g->notify = offset;
		else if (config8(&g->iommu, at + 3) == 4)
			g->device = offset;
	}
}

static void set_queue(struct guest *g, unsigned queue, uint64_t at)
{
	put(g, COMMON_Q_SELECT, queue, 2);
	put(g, COMMON_Q_SIZE, QUEUE_LEN, 2);
	put(g, COMMON_Q_DESC, at + DESC, 8);
	put(g, COMMON_Q_DRIVER, at + AVAIL, 8);
	put(g, COMMON_Q_DEVICE, at + USED, 8);
	put(g, COMMON_Q_ENABLE, 1, 2);
}

enum { COMMAND_OFF = 2, COMMAND_ON = 6 }; /* memory, and bus master */

static void set_bus_master(struct vfu_client *c, bool on)
{
	uint16_t command = on ? COMMAND_ON : COMMAND_OFF;

	assert_true(vfu_client_write(c, CONFIG, 4, &command, 2) >= 0);
}

void guest_bus_master(struct guest *g, bool on)
{
	set_bus_master(&g->iommu, on);
}

void guest_bus_master_blinks(struct guest *g)
{
	const struct {
		uint64_t nr;
		struct vfu_region_write1 w[2];
	} m = {2, {{4, CONFIG, 2, {COMMAND_OFF}}, {4, CONFIG, 2, {COMMAND_ON}}}};

	assert_int_equal(vfu_client_call(&g->iommu, VFU_REGION_WRITE_MULTI, &m, sizeof(m),
					 NULL, 0, NULL),
			 sizeof(m.nr));
}

void guest_prepare(struct guest *g)
{
	put(g, COMMON_STATUS, 0, 1);
	memset(g->ram, 0, REQUEST_AT);
	put(g, COMMON_STATUS, 1, 1);
	put(g, COMMON_STATUS, 3, 1);
	put(g, COMMON_GF_SELECT, 0, 4);
	put(g, COMMON_GF, 1u << VIRTIO_IOMMU_F_MAP_UNMAP, 4);
	put(g, COMMON_GF_SELECT, 1, 4);
	put(g, COMMON_GF, 1, 4); /* VERSION_1 */
	put(g, COMMON_STATUS, 0xb, 1);
	set_queue(g, 0, 0);
	set_queue(g, 1, EVENT_RINGS);
	g->avail = g->event_avail = 0;
}

void guest_drive(struct guest *g)
{
	guest_prepare(g);
	guest_driver_ok(g);
}

void guest_driver_ok(struct guest *g)
{
	put(g, COMMON_STATUS, 0xf, 1);
}

static void join(struct guest *g, struct vfu_client *c, const char *dir, const char *name)
{
	char path[64];

	*c = (struct vfu_client){.fd = -1};
	snprintf(path, sizeof(path), "%s/%s.sock", dir, name);
	assert_true(vfu_client_connect(c, path) >= 0);
	assert_true(vfu_client_version(c, vfu_client_qemu_json) >= 0);
	assert_true(vfu_client_dma_map(c, 0, GUEST_RAM_LEN, g->memfd, 0, 3) >= 0);
	assert_true(vfu_client_reset(c) >= 0);
}

void guest_start(struct guest *g, const struct viommud *d)
{
	memset(g, 0, sizeof(*g));
	g->memfd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(g->memfd, GUEST_RAM_LEN), 0);
	g->ram = mmap(NULL, GUEST_RAM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, g->memfd,
		      0);
	assert_ptr_not_equal(g->ram, MAP_FAILED);
	join(g, &g->iommu, d->dir, "iommu");
	join(g, &g->dma, d->dir, "dma");
	find_structures(g);
	guest_bus_master(g, true);
	set_bus_master(&g->dma, true);
	guest_drive(g);
}

void guest_kill(struct guest *g)
{
	vfu_client_close(&g->iommu);
	vfu_client_close(&g->dma);
	munmap(g->ram, GUEST_RAM_LEN);
	close(g->memfd);
}

static void put_desc(struct guest *g, uint64_t rings, unsigned i, uint64_t addr,
		     uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *desc = g->ram + rings + DESC + 16 * i;

	memcpy(desc, &addr, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, &flags, 2);
	memcpy(desc + 14, &next, 2);
}

/* Makes the chain that begins at the descriptor available. */
static void offer(struct guest *g, uint64_t rings, uint16_t head, uint16_t *avail)
{
	memcpy(g->ram + rings + AVAIL + 4 + 2 * (*avail % QUEUE_LEN), &head, 2);
	++*avail;
	__atomic_store_n((uint16_t *)(g->ram + rings + AVAIL + 2), *avail,
			 __ATOMIC_SEQ_CST);
}

static uint16_t used_index(struct guest *g, uint64_t rings)
{
	return __atomic_load_n((uint16_t *)(g->ram + rings + USED + 2), __ATOMIC_ACQUIRE);
}

unsigned guest_used(struct guest *g)
{
	return used_index(g, 0) + used_index(g, EVENT_RINGS);
}

void guest_send(struct guest *g, const void *in, uint32_t len)
{
	uint16_t kick = 0;

	memcpy(g->ram + REQUEST_AT, in, len);
	memset(g->ram + TAIL_AT, 0xff, 4);
	put_desc(g, 0, 0, REQUEST_AT, len, 1, 1);
	put_desc(g, 0, 1, TAIL_AT, 4, 2, 0);
	offer(g, 0, 0, &g->avail);
	/* Unless the device watches the ring: VIRTQ_USED_F_NO_NOTIFY. */
	if (!(__atomic_load_n((uint16_t *)(g->ram + USED), __ATOMIC_SEQ_CST) & 1))
		vfu_client_write_posted(&g->iommu, BAR0, g->notify, &kick, 2);
}

int guest_answer(struct guest *g)
{
	unsigned tries = 10000;

	while (used_index(g, 0) != g->avail && tries--)
		usleep(1000);
	return used_index(g, 0) == g->avail ? g->ram[TAIL_AT] : -1;
}

int guest_request(struct guest *g, const void *in, uint32_t len)
{
	guest_send(g, in, len);
	return guest_answer(g);
}

void guest_post_event(struct guest *g)
{
	put_desc(g, EVENT_RINGS, 0, EVENT_AT, sizeof(struct virtio_iommu_fault), 2, 0);
	offer(g, EVENT_RINGS, 0, &g->event_avail);
}

int guest_attach(struct guest *g, uint32_t domain, uint32_t ep)
{
	struct virtio_iommu_req_attach req = {
		.head.type = VIRTIO_IOMMU_T_ATTACH, .domain = domain, .endpoint = ep};

	return guest_request(g, &req, sizeof(req));
}

int guest_map(struct guest *g, uint32_t domain, uint64_t first, uint64_t last,
	      uint64_t gpa, uint32_t flags)
{
	struct virtio_iommu_req_map req = {.head.type = VIRTIO_IOMMU_T_MAP,
					   .domain = domain,
					   .virt_start = first,
					   .virt_last = last,
					   .phys_start = gpa,
					   .flags = flags};

	return guest_request(g, &req, sizeof(req));
}

int guest_unmap(struct guest *g, uint32_t domain, uint64_t first, uint64_t last)
{
	struct virtio_iommu_req_unmap req = {.head.type = VIRTIO_IOMMU_T_UNMAP,
					     .domain = domain,
					     .virt_start = first,
					     .virt_last = last};

	return guest_request(g, &req, sizeof(req));
}

static void put_register(struct guest *g, uint32_t offset, uint64_t value, uint32_t len)
{
	assert_true(vfu_client_write(&g->dma, BAR0, offset, &value, len) >= 0);
}

static uint32_t get_register(struct guest *g, uint32_t offset)
{
	uint32_t v = 0;

	assert_true(vfu_client_read(&g->dma, BAR0, offset, &v, 4) >= 0);
	return v;
}

int guest_fill(struct guest *g, uint64_t iova, uint64_t len, uint8_t pattern)
{
	unsigned tries = 10000;

	put_register(g, DMATEST_REG_IOVA, iova, 8);
	put_register(g, DMATEST_REG_LEN, len, 8);
	put_register(g, DMATEST_REG_PATTERN, pattern, 8);
	put_register(g, DMATEST_REG_COMMAND, DMATEST_FILL, 4);
	while (get_register(g, DMATEST_REG_STATUS) < DMATEST_DONE && tries--)
		usleep(1000);
	return (int)get_register(g, DMATEST_REG_ERROR);
}
