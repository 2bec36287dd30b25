/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A viommud, sandbox and all, and scripted VMMs: the path of a real one up to
 * requests answered through a ring in shared memory, VMMs that die, come back and
 * misbehave, several at once. argv[1] is the daemon.
 */
#include "test.h"
#include "vfu_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <viommu/proto.h>

enum { FUNCTIONS = 3, RAM_LEN = 16 << 20, CONFIG = VFU_REGION_CONFIG, RING = 8 };

static const char *daemon_path;
static const char *const names[FUNCTIONS] = {"iommu", "disk", "dma"};

struct fixture {
	char dir[64], path[FUNCTIONS][96];
	pid_t pid;
};

/* A VMM with one function, its memory, and a ring in it. */
struct vmm {
	struct vfu_client c;
	int ram_fd, efd;
	uint8_t *ram;
	uint16_t avail;
};

/* ---- the daemon ---- */

static void exec_daemon(const struct fixture *f, int ready)
{
	char fd[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(fd, sizeof(fd), "%d", ready);
	/* A sanitizer's run time makes calls that the filter does not know. */
	execl(daemon_path, daemon_path, "--socket-dir", f->dir, "--ready-fd", fd,
	      "--log-level", "error", "--iommu", "id=iommu", "--endpoint",
	      "blk,id=disk,ep=0x20,backend=mem,size=1M", "--endpoint",
	      "dmatest,id=dma,ep=0x28", getenv("VIOMMU_NO_SECCOMP"), (char *)NULL);
	_exit(127);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct pollfd p = {.events = POLLIN};
	char word[8] = "";
	int ready[2];

	strcpy(f->dir, "/tmp/viommu-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	for (int i = 0; i < FUNCTIONS; i++)
		snprintf(f->path[i], sizeof(f->path[i]), "%s/%s.sock", f->dir, names[i]);
	assert_int_equal(pipe(ready), 0);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (!f->pid)
		exec_daemon(f, ready[1]);
	close(ready[1]);
	p.fd = ready[0];
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(read(ready[0], word, 5) == 5 && !strcmp(word, "ready"));
	close(ready[0]);
	*state = f;
	return 0;
}

/* It must still be there, and end on SIGTERM with status 0. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	int status = -1;

	assert_int_equal(waitpid(f->pid, &status, WNOHANG), 0);
	kill(f->pid, SIGTERM);
	for (int i = 0; i < 500 && waitpid(f->pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (int i = 0; i < FUNCTIONS; i++)
		assert_int_not_equal(access(f->path[i], F_OK), 0);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* ---- a VMM ---- */

/* The daemon ends connections in its own time. */
static void connect_vmm(struct vmm *v, const char *path)
{
	int r = -EPIPE;

	*v = (struct vmm){.c.fd = -1};
	for (int i = 0; i < 100 && r < 0; i++) {
		vfu_client_close(&v->c);
		assert_int_equal(vfu_client_connect(&v->c, path), 0);
		r = vfu_client_version(&v->c, vfu_client_qemu_json);
		if (r < 0)
			usleep(10000);
	}
	assert_true(r > 0);
	v->ram_fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(v->ram_fd, RAM_LEN), 0);
	v->ram = mmap(NULL, RAM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, v->ram_fd, 0);
	assert_ptr_not_equal(v->ram, MAP_FAILED);
	v->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(vfu_client_dma_map(&v->c, 0, RAM_LEN, v->ram_fd, 0, 3), 0);
}

static void close_vmm(struct vmm *v)
{
	vfu_client_close(&v->c);
	munmap(v->ram, RAM_LEN);
	close(v->ram_fd);
	close(v->efd);
}

static uint64_t rd(struct vmm *v, uint32_t region, uint64_t offset, uint32_t len)
{
	uint64_t value = 0;

	assert_int_equal(vfu_client_read(&v->c, region, offset, &value, len), 0);
	return value;
}

static void wr(struct vmm *v, uint32_t region, uint64_t offset, uint32_t len,
	       uint64_t value)
{
	assert_int_equal(vfu_client_write(&v->c, region, offset, &value, len), 0);
}

static void post(struct vmm *v, uint64_t offset, uint32_t len, uint64_t value)
{
	assert_true(vfu_client_write_posted(&v->c, 0, offset, &value, len));
}

static void enable_msix(struct vmm *v)
{
	uint64_t at = rd(v, CONFIG, 0x34, 1);

	while (rd(v, CONFIG, at, 1) != 0x11)
		at = rd(v, CONFIG, at + 1, 1);
	wr(v, CONFIG, at + 2, 2, 0x8000);
	assert_int_equal(vfu_client_set_irqs(&v->c, VFU_IRQ_MSIX, 0x24, 0, 1, &v->efd, 1),
			 0);
}

/* ---- a driver of the IOMMU, as short as it can be ---- */

/* Ring areas and buffers in guest memory. */
enum { DESC = 0x1000, AVAIL = 0x2000, USED = 0x3000, REQUEST = 0x4000, REPLY = 0x5000 };

static void start_iommu(struct vmm *v)
{
	wr(v, CONFIG, 4, 2, 6);
	enable_msix(v);
	post(v, 0x14, 1, 0);
	assert_int_equal(rd(v, 0, 0x14, 1), 0);
	post(v, 0x14, 1, 3);
	for (uint32_t i = 0; i < 2; i++) {
		post(v, 0x08, 4, i);
		post(v, 0x0c, 4, i ? 1 : 1u << VIRTIO_IOMMU_F_MAP_UNMAP);
	}
	post(v, 0x14, 1, 0xb);
	assert_int_equal(rd(v, 0, 0x14, 1), 0xb);
	post(v, 0x16, 2, 0);
	post(v, 0x18, 2, RING);
	post(v, 0x1a, 2, 0);
	post(v, 0x20, 8, DESC);
	post(v, 0x28, 8, AVAIL);
	post(v, 0x30, 8, USED);
	post(v, 0x1c, 2, 1);
	post(v, 0x14, 1, 0xf);
	assert_int_equal(rd(v, 0, 0x14, 1), 0xf);
}

static uint16_t used_idx(const struct vmm *v)
{
	return __atomic_load_n((uint16_t *)(v->ram + USED + 2), __ATOMIC_ACQUIRE);
}

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* One request through the ring; the status of the reply. */
static unsigned request(struct vmm *v, const void *head, uint32_t len)
{
	const struct desc d[2] = {{REQUEST, len, 1, 1}, {REPLY, 4, 2, 0}};
	uint16_t slot = v->avail % RING, zero = 0;
	uint32_t used_len;

	memcpy(v->ram + REQUEST, head, len);
	memset(v->ram + REPLY, 0xff, 4);
	memcpy(v->ram + DESC, d, sizeof(d));
	memcpy(v->ram + AVAIL + 4 + 2 * slot, &zero, 2);
	__atomic_store_n((uint16_t *)(v->ram + AVAIL + 2), ++v->avail, __ATOMIC_RELEASE);
	post(v, 0x3000, 2, 0);
	for (int i = 0; i < 5000 && used_idx(v) != v->avail; i++)
		usleep(1000);
	assert_int_equal(used_idx(v), v->avail);
	memcpy(&used_len, v->ram + USED + 4 + 8 * slot + 4, 4);
	assert_int_equal(used_len, 4);
	return v->ram[REPLY];
}

static void expect_interrupt(struct vmm *v)
{
	struct pollfd p = {.fd = v->efd, .events = POLLIN};
	uint64_t count;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(v->efd, &count, 8), 8);
}

static void use_iommu(struct vmm *v, unsigned rounds)
{
	const struct virtio_iommu_req_attach attach = {
		{VIRTIO_IOMMU_T_ATTACH, {0}}, 1, 0x20, 0, {0}};
	struct virtio_iommu_req_map map = {
		{VIRTIO_IOMMU_T_MAP, {0}}, 1, 0x10000, 0x10fff, 0x8000,
		VIRTIO_IOMMU_MAP_F_READ};
	struct virtio_iommu_req_unmap unmap = {
		{VIRTIO_IOMMU_T_UNMAP, {0}}, 1, 0x10000, 0x10fff, {0}};

	start_iommu(v);
	assert_int_equal(request(v, &attach, sizeof(attach)), VIRTIO_IOMMU_S_OK);
	expect_interrupt(v);
	for (unsigned i = 0; i < rounds; i++) {
		assert_int_equal(request(v, &map, sizeof(map)), VIRTIO_IOMMU_S_OK);
		assert_int_equal(request(v, &map, sizeof(map)), VIRTIO_IOMMU_S_INVAL);
		assert_int_equal(request(v, &unmap, sizeof(unmap)), VIRTIO_IOMMU_S_OK);
	}
}

/* ---- tests ---- */

static void test_requests(void **state)
{
	struct fixture *f = *state;
	struct vmm v;

	connect_vmm(&v, f->path[0]);
	use_iommu(&v, 50);
	assert_int_equal(vfu_client_reset(&v.c), 0);
	v.avail = 0;
	memset(v.ram, 0, 0x6000);
	use_iommu(&v, 5);
	close_vmm(&v);
}

/* Each time without a word, in the middle of things. */
static void test_vmm_dies_and_comes_back(void **state)
{
	struct fixture *f = *state;
	struct vmm v;

	for (int i = 0; i < 20; i++) {
		connect_vmm(&v, f->path[0]);
		use_iommu(&v, 1);
		post(&v, 0x3000, 2, 0);
		close_vmm(&v);
	}
}

static void test_memory_comes_and_goes(void **state)
{
	struct fixture *f = *state;
	struct vmm v;

	connect_vmm(&v, f->path[0]);
	use_iommu(&v, 1);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(vfu_client_dma_unmap(&v.c, 0, RAM_LEN, 0), 0);
		/* A kick with no memory behind the ring harms nobody. */
		post(&v, 0x3000, 2, 0);
		assert_int_equal(vfu_client_dma_map(&v.c, 0, RAM_LEN, v.ram_fd, 0, 3), 0);
		assert_int_equal(
			vfu_client_dma_map(&v.c, 4ull << 30, RAM_LEN, v.ram_fd, 0, 3), 0);
		assert_int_equal(vfu_client_dma_unmap(&v.c, 4ull << 30, RAM_LEN, 0), 0);
	}
	/* The device may have asked for a reset meanwhile: then it gets one. */
	v.avail = 0;
	memset(v.ram, 0, 0x6000);
	use_iommu(&v, 1);
	close_vmm(&v);
}

static void test_malformed_messages(void **state)
{
	static const struct vfu_header bad[] = {
		{1, VFU_DMA_MAP, 15, 0, 0},	 {1, VFU_DMA_MAP, 0xffffffff, 0, 0},
		{1, VFU_DMA_MAP, 16, 0, 0},	 {1, VFU_REGION_READ, 16, 1, 0},
		{1, VFU_DEVICE_RESET, 16, 2, 0}, {1, VFU_VERSION, 20, 0, 0},
	};
	struct fixture *f = *state;
	struct vmm v;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (int function = 0; function < FUNCTIONS; function++) {
			static struct vfu_client_reply reply;
			struct pollfd p = {.events = POLLIN};
			uint8_t bytes[32] = {0};

			connect_vmm(&v, f->path[function]);
			memcpy(bytes, &bad[i], 16);
			assert_true(vfu_client_send_raw(&v.c, bytes, 20, &v.efd, 1));
			p.fd = v.c.fd;
			assert_int_equal(poll(&p, 1, 5000), 1);
			assert_int_equal(vfu_client_recv(&v.c, &reply), -EPIPE);
			close_vmm(&v);
		}
	}
	connect_vmm(&v, f->path[0]);
	use_iommu(&v, 1);
	close_vmm(&v);
}

static void test_all_functions_at_once(void **state)
{
	struct fixture *f = *state;
	struct vmm v[FUNCTIONS];
	struct vfu_device_info info;

	for (int i = 0; i < FUNCTIONS; i++)
		connect_vmm(&v[i], f->path[i]);
	use_iommu(&v[0], 1);
	for (int i = 0; i < FUNCTIONS; i++) {
		struct vfu_client second = {.fd = -1};

		assert_int_equal(vfu_client_device_info(&v[i].c, &info), 0);
		assert_int_equal(vfu_client_connect(&second, f->path[i]), 0);
		assert_int_equal(vfu_client_version(&second, NULL), -EPIPE);
		vfu_client_close(&second);
		assert_int_equal(vfu_client_reset(&v[i].c), 0);
	}
	for (int i = 0; i < FUNCTIONS; i++)
		close_vmm(&v[i]);
}

/* Whatever a guest and a VMM do to the registers, the daemon stays. */
static void test_random_accesses(void **state)
{
	struct fixture *f = *state;
	struct rng r = rng_init(test_seed());
	struct vmm v;

	for (int function = 0; function < FUNCTIONS; function++) {
		connect_vmm(&v, f->path[function]);
		for (int i = 0; i < 2000; i++) {
			uint64_t value =
				rng_chance(&r, 60) ? rng_below(&r, 16) : rng_next(&r);
			uint32_t len = 1u << rng_below(&r, 4);
			uint32_t region = rng_chance(&r, 80) ? 0 : CONFIG;
			uint64_t offset =
				region ? rng_below(&r, 0x100)
				       : rng_below(&r, 4) << 12 | rng_below(&r, 0x44);

			if (rng_chance(&r, 70))
				vfu_client_write_posted(&v.c, region, offset, &value,
							len);
			else
				vfu_client_read(&v.c, region, offset, &value, len);
		}
		assert_int_equal(vfu_client_reset(&v.c), 0);
		close_vmm(&v);
	}
	connect_vmm(&v, f->path[0]);
	use_iommu(&v, 1);
	close_vmm(&v);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(test_requests),
		CASE(test_vmm_dies_and_comes_back),
		CASE(test_memory_comes_and_goes),
		CASE(test_malformed_messages),
		CASE(test_all_functions_at_once),
		CASE(test_random_accesses),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s VIOMMUD\n", argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0); /* a killed test shows how far it came */
	daemon_path = argv[1];
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
