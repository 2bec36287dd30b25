/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Guest memory as clients bring it and take it away. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define GIB (1ull << 30)

static int map(struct fixture *f, uint64_t addr, uint64_t size, int fd, uint64_t offset)
{
	return vfu_client_dma_map(&f->c, addr, size, fd, offset, 3);
}

static int unmap(struct fixture *f, uint64_t addr, uint64_t size)
{
	return vfu_client_dma_unmap(&f->c, addr, size, 0);
}

static unsigned regions(struct fixture *f)
{
	struct viommu_mem_region r;
	unsigned nr = 0;

	while (!viommu_mem_region(f->mem, nr, &r))
		nr++;
	return nr;
}

static struct viommu_dma *dma_create(struct fixture *f)
{
	struct viommu_dma *dma;

	assert_int_equal(viommu_dma_create(NULL, f->mem, &f->ta.ops, NULL, NULL, &dma),
			 0);
	return dma;
}

static void test_map_and_unmap(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN), before = count_fds();
	struct viommu_dma *dma = dma_create(f);
	struct viommu_vfu_stats s;
	char buf[8];

	ram_write(ram, 0x3000, "low", 4);
	ram_write(ram, 0x80000, "high", 5);
	assert_int_equal(map(f, 0, 0x80000, ram, 0), 0);
	/* Above 4 GiB, at an offset of the same file. */
	assert_int_equal(map(f, 4 * GIB, 0x80000, ram, 0x80000), 0);
	assert_int_equal(count_fds(), before); /* the file is not kept open */
	assert_int_equal(viommu_dma_read(dma, 0x3000, buf, 4), 0);
	assert_string_equal(buf, "low");
	assert_int_equal(viommu_dma_read(dma, 4 * GIB, buf, 5), 0);
	assert_string_equal(buf, "high");
	assert_int_equal(viommu_dma_write(dma, 4 * GIB, "HIGH", 5), 0);
	assert_int_equal(pread(ram, buf, 5, 0x80000), 5);
	assert_string_equal(buf, "HIGH");
	assert_int_equal(viommu_dma_read(dma, 0x80000, buf, 1), -EFAULT);
	assert_int_equal(unmap(f, 0, 0x80000), 0);
	assert_int_equal(viommu_dma_read(dma, 0x3000, buf, 4), -EFAULT);
	assert_int_equal(viommu_dma_read(dma, 4 * GIB, buf, 5), 0);
	viommu_vfu_get_stats(f->vfu, &s);
	assert_int_equal(s.dma_maps, 2);
	assert_int_equal(s.dma_unmaps, 1);
	viommu_dma_destroy(dma);
	close(ram);
}

static void test_firmware_churn(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);

	for (int i = 0; i < 50; i++) {
		assert_int_equal(map(f, 0, 0xa0000, ram, 0), 0);
		assert_int_equal(map(f, 0xa0000, 0x60000, ram, 0xa0000), 0);
		assert_int_equal(unmap(f, 0xa0000, 0x60000), 0);
		/* A ROM in its place, read-only and without a file. */
		assert_int_equal(vfu_client_dma_map(&f->c, 0xc0000, 0x20000, -1, 0, 1),
				 0);
		assert_int_equal(map(f, 0xe0000, 0x20000, ram, 0xe0000), 0);
		assert_int_equal(regions(f), 3);
		assert_int_equal(unmap(f, 0xc0000, 0x20000), 0);
		assert_int_equal(unmap(f, 0, 0xa0000), 0);
		assert_int_equal(unmap(f, 0xe0000, 0x20000), 0);
		assert_int_equal(regions(f), 0);
	}
	assert_int_equal(logged(f, "guest memory is not shared"), 0);
	close(ram);
}

static void test_unmap_all(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);

	assert_int_equal(vfu_client_dma_unmap(&f->c, 0, 0, VFU_DMA_UNMAP_ALL), 0);
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(map(f, i << 20, 4096, i % 2 ? ram : -1, i << 12), 0);
	assert_int_equal(vfu_client_dma_unmap(&f->c, 0, 0, VFU_DMA_UNMAP_ALL), 0);
	assert_int_equal(regions(f), 0);
	close(ram);
}

static void test_unmap_refused(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);

	assert_int_equal(map(f, 0x10000, 0x20000, ram, 0), 0);
	assert_int_equal(unmap(f, 0x10000, 0x10000), -ENOENT);
	assert_int_equal(unmap(f, 0x20000, 0x10000), -ENOENT);
	assert_int_equal(unmap(f, 0, 0x40000), -ENOENT);
	assert_int_equal(unmap(f, 0x10000, 0), -ENOENT);
	assert_int_equal(vfu_client_dma_unmap(&f->c, 0x10000, 0x20000, 1), -EOPNOTSUPP);
	assert_int_equal(vfu_client_dma_unmap(&f->c, 0x10000, 0x20000, 4), -EOPNOTSUPP);
	assert_int_equal(regions(f), 1);
	assert_int_equal(unmap(f, 0x10000, 0x20000), 0);
	assert_int_equal(unmap(f, 0x10000, 0x20000), -ENOENT);
	close(ram);
}

static void test_map_refused(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN), before = count_fds();

	assert_int_equal(map(f, 0, 0, ram, 0), -EINVAL);
	assert_int_equal(map(f, 0x800, 0x1000, ram, 0), -EINVAL);
	assert_int_equal(map(f, 0, 0x800, ram, 0), -EINVAL);
	assert_int_equal(map(f, 0, 0x1000, ram, 0x800), -EINVAL);
	assert_int_equal(map(f, UINT64_MAX - 0xfff, 0x2000, -1, 0), -EINVAL);
	assert_int_equal(vfu_client_dma_map(&f->c, 0, 4096, ram, 0, 0), -EINVAL);
	assert_int_equal(vfu_client_dma_map(&f->c, 0, 4096, ram, 0, 7), -EINVAL);
	assert_int_equal(map(f, 0, 0x2000, ram, 0), 0);
	assert_int_equal(map(f, 0x1000, 0x1000, ram, 0), -EEXIST);
	assert_int_equal(map(f, 0, 0x2000, ram, 0), -EEXIST);
	assert_int_equal(regions(f), 1);
	assert_int_equal(count_fds(), before);
	/* The last page of the address space can be mapped. */
	assert_int_equal(map(f, UINT64_MAX - 0xfff, 0x1000, ram, 0), 0);
	close(ram);
}

/* What lies behind the end of the file would be SIGBUS. */
static void test_file_shorter_than_map(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);

	assert_int_equal(map(f, 0, RAM_LEN, ram, 0x1000), -EINVAL);
	assert_int_equal(map(f, 0, RAM_LEN + 0x1000, ram, 0), -EINVAL);
	assert_int_equal(map(f, 0, 0x1000, ram, RAM_LEN), -EINVAL);
	assert_int_equal(map(f, 0, 0x1000, ram, UINT64_MAX - 0xfff), -EINVAL);
	assert_int_equal(map(f, 0, 0x1000, ram, 1ull << 63), -EINVAL);
	assert_int_equal(map(f, 0, 1ull << 62, ram, 1ull << 62), -EINVAL);
	assert_int_equal(map(f, 0, UINT64_MAX - 0xfff, ram, 0x1000), -EINVAL);
	assert_int_equal(map(f, 0, 0x1000, ram, RAM_LEN - 0x1000), 0);
	close(ram);
}

static void test_files_that_cannot_be_mapped(void **state)
{
	struct fixture *f = *state;
	int pipes[2], ram, before;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	before = count_fds();
	assert_int_equal(map(f, 0, 0x1000, pipes[0], 0), -EINVAL);
	assert_int_equal(map(f, 0, 0x1000, f->c.fd, 0), -EINVAL);
	assert_int_equal(count_fds(), before);
	close(pipes[0]);
	close(pipes[1]);
	/* Writable wanted, sealed against it. */
	ram = ram_create(RAM_LEN);
	assert_int_equal(fcntl(ram, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(map(f, 0, 0x1000, ram, 0), -EPERM);
	assert_int_equal(vfu_client_dma_map(&f->c, 0, 0x1000, ram, 0, 1), 0);
	close(ram);
}

static void test_read_only(void **state)
{
	struct fixture *f = *state;
	struct viommu_dma *dma = dma_create(f);
	int ram = ram_create(RAM_LEN);
	char buf[4];

	ram_write(ram, 0, "rom", 4);
	assert_int_equal(vfu_client_dma_map(&f->c, 0xc0000, 0x20000, ram, 0, 1), 0);
	assert_int_equal(viommu_dma_read(dma, 0xc0000, buf, 4), 0);
	assert_string_equal(buf, "rom");
	assert_int_equal(viommu_dma_write(dma, 0xc0000, "abc", 4), -EFAULT);
	/* ROM without a file: known, out of reach, no complaint. */
	assert_int_equal(vfu_client_dma_map(&f->c, 0xfffc0000, 0x40000, -1, 0, 1), 0);
	assert_int_equal(viommu_dma_read(dma, 0xfffc0000, buf, 4), -EFAULT);
	assert_int_equal(logged(f, "not shared"), 0);
	viommu_dma_destroy(dma);
	close(ram);
}

static void test_sealed_only(void **state)
{
	struct fixture *f = *state;
	struct viommu_vfu_config config = {
		.path = f->path, .listen_fd = -1, .sealed_only = true};
	int ram = ram_create(RAM_LEN);

	viommu_vfu_destroy(f->vfu);
	assert_int_equal(viommu_vfu_create(&config, f->pci, f->mem, NULL, NULL,
					   &f->ta.ops, &f->log, &f->vfu),
			 0);
	assert_int_equal(vfu_client_connect(&f->c, f->path), 0);
	assert_true(vfu_client_version(&f->c, NULL) > 0);
	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), -EPERM);
	assert_int_equal(fcntl(ram, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), 0);
	close(ram);
}

/* A mapping that begins inside a huge page is widened to whole ones; what the
 * device sees begins where it should. */
static void test_huge_page_file(void **state)
{
	enum { HUGE_LEN = 2 << 20 };
	struct fixture *f = *state;
	struct viommu_dma *dma = dma_create(f);
	int ram = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	char buf[4] = "";
	char *hva;

	if (ram < 0 || ftruncate(ram, HUGE_LEN) < 0)
		skip();
	hva = mmap(NULL, HUGE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, ram, 0);
	if (hva == MAP_FAILED) { /* none are set aside on this machine */
		close(ram);
		viommu_dma_destroy(dma);
		return;
	}
	strcpy(hva + 0xc0000, "hi");
	munmap(hva, HUGE_LEN);
	assert_int_equal(map(f, 0xc0000, HUGE_LEN - 0xc0000, ram, 0xc0000), 0);
	assert_int_equal(viommu_dma_read(dma, 0xc0000, buf, 3), 0);
	assert_string_equal(buf, "hi");
	viommu_dma_destroy(dma);
	close(ram);
}

static void test_limit(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);

	for (uint64_t i = 0; i < LIMIT_VFU_DMA_MAPS; i++)
		assert_int_equal(map(f, i << 20, 4096, ram, 0), 0);
	assert_int_equal(map(f, 1ull << 40, 4096, ram, 0), -ENOSPC);
	assert_int_equal(unmap(f, 5 << 20, 4096), 0);
	assert_int_equal(map(f, 1ull << 40, 4096, ram, 0), 0);
	assert_int_equal(map(f, 1ull << 41, 4096, ram, 0), -ENOSPC);
	reconnect(f);
	assert_int_equal(regions(f), 0);
	close(ram);
}

/* ---- memory that is not shared ---- */

static void test_private_ram_is_told_once(void **state)
{
	struct fixture *f = *state;
	struct vfu_device_info info;
	uint16_t command = 6;

	/* QEMU with -m 2G and nothing else. */
	assert_int_equal(map(f, 0, 0xa0000, -1, 0), 0);
	assert_int_equal(vfu_client_dma_map(&f->c, 0xc0000, 0x40000, -1, 0, 1), 0);
	assert_int_equal(map(f, 0x100000, 2 * GIB - 0x100000, -1, 0), 0);
	assert_int_equal(vfu_client_device_info(&f->c, &info), 0);
	assert_int_equal(vfu_client_write(&f->c, VFU_REGION_CONFIG, 4, &command, 2), 0);
	assert_int_equal(unmap(f, 0x100000, 2 * GIB - 0x100000), 0);
	assert_int_equal(map(f, 0x100000, 2 * GIB - 0x100000, -1, 0), 0);
	assert_int_equal(logged(f, "memory-backend-memfd,id=mem,size=SIZE,share=on"), 1);
	assert_int_equal(logged(f, "-machine memory-backend=mem"), 1);
	assert_int_equal(logged(f, "--memory size=SIZE,shared=on."), 1);
	/* The next client is told again. */
	reconnect(f);
	assert_int_equal(map(f, 0x100000, 2 * GIB, -1, 0), 0);
	assert_int_equal(logged(f, "guest memory is not shared"), 2);
}

static void test_small_private_ram(void **state)
{
	struct fixture *f = *state;
	struct vfu_device_info info;

	assert_int_equal(map(f, 0, 256 << 20, -1, 0), 0);
	assert_int_equal(logged(f, "not shared"), 0);
	assert_int_equal(vfu_client_device_info(&f->c, &info), 0);
	assert_int_equal(logged(f, "not shared"), 1);
}

/* A display adapter's memory comes without a file, and is nothing to report. */
static void test_display_memory_is_no_ram(void **state)
{
	struct fixture *f = *state;
	struct vfu_device_info info;
	uint16_t command = 6;
	int ram = ram_create(256 << 20);

	assert_int_equal(map(f, 0, 256 << 20, ram, 0), 0);
	/* Also before the RAM is there again, when firmware moves things. */
	assert_int_equal(unmap(f, 0, 256 << 20), 0);
	assert_int_equal(map(f, 0xe0000000, 256 << 20, -1, 0), 0);
	assert_int_equal(map(f, 0, 256 << 20, ram, 0), 0);
	assert_int_equal(vfu_client_device_info(&f->c, &info), 0);
	assert_int_equal(vfu_client_write(&f->c, VFU_REGION_CONFIG, 4, &command, 2), 0);
	assert_int_equal(logged(f, "not shared"), 0);
	close(ram);
}

/* Cloud Hypervisor maps nothing at all then; the guest starts the function. */
static void test_no_memory_at_all(void **state)
{
	struct fixture *f = *state;
	struct vfu_device_info info;
	uint16_t command = 2;

	assert_int_equal(vfu_client_device_info(&f->c, &info), 0);
	assert_int_equal(vfu_client_write(&f->c, VFU_REGION_CONFIG, 4, &command, 2), 0);
	assert_int_equal(logged(f, "not shared"), 0);
	command = 6;
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			vfu_client_write(&f->c, VFU_REGION_CONFIG, 4, &command, 2), 0);
	assert_int_equal(logged(f, "not shared"), 1);
}

/* ---- memory that is held ---- */

struct held {
	struct viommu_dma *dma;
	struct iovec iov[4];
	struct viommu_hold hold[4];
	struct viommu_sg sg;
};

static void hold(struct fixture *f, struct held *h, uint64_t gpa)
{
	h->dma = dma_create(f);
	h->sg = (struct viommu_sg){
		.iov = h->iov, .iov_max = 4, .hold = h->hold, .hold_max = 4};
	assert_int_equal(viommu_dma_get(h->dma, gpa, 4096, VIOMMU_WRITE, &h->sg), 0);
}

static void release(struct held *h)
{
	viommu_dma_put(h->dma, &h->sg);
	viommu_dma_destroy(h->dma);
}

static void send_unmap(struct fixture *f, uint64_t addr, uint64_t size, uint32_t flags,
		       uint32_t msg_flags)
{
	const struct vfu_dma_unmap d = {24, flags, addr, size};

	assert_true(
		vfu_client_send(&f->c, VFU_DMA_UNMAP, msg_flags, &d, sizeof(d), NULL, 0));
}

static void test_unmap_waits_for_holds(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);
	struct vfu_client second = {.fd = -1};
	struct held h;

	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), 0);
	hold(f, &h, 0x5000);
	assert_int_equal(vfu_client_connect(&second, f->path), 0);
	send_unmap(f, 0, RAM_LEN, 0, 0);
	vfu_client_write_posted(&f->c, 0, 0x10, "x", 1); /* order is kept: waits too */
	for (int i = 0; i < 3; i++)
		assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	assert_false(readable(f)); /* nobody spins on it */
	assert_int_equal(vfu_client_recv(&f->c, &reply), 0);
	assert_int_equal(f->writes, 0);
	/* The transfer still goes to the guest's memory. */
	memcpy(h.iov[0].iov_base, "late", 4);
	assert_int_equal(pread(ram, reply.data, 4, 0x5000), 4);
	assert_memory_equal(reply.data, "late", 4);
	release(&h);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), 1);
	assert_int_equal(vfu_client_recv(&second, &reply), -EPIPE);
	vfu_client_close(&second);
	assert_int_equal(vfu_client_recv(&f->c, &reply), 1);
	assert_int_equal(reply.hdr.flags, VFU_TYPE_REPLY);
	assert_int_equal(reply.len, 24);
	assert_int_equal(f->writes, 1);
	/* The range can be mapped again. */
	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), 0);
	close(ram);
}

static void test_unmap_all_waits_for_holds(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);
	struct held a, b;

	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(map(f, i << 20, 0x10000, ram, i << 16), 0);
	hold(f, &a, 1 << 20);
	hold(f, &b, 3 << 20);
	send_unmap(f, 0, 0, VFU_DMA_UNMAP_ALL, 0);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	assert_int_equal(regions(f), 0);
	release(&a);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	release(&b);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), 0);
	assert_int_equal(vfu_client_recv(&f->c, &reply), 1);
	/* Without a wish for a reply there is none, and things go on. */
	assert_int_equal(map(f, 0, 0x10000, ram, 0), 0);
	hold(f, &a, 0);
	send_unmap(f, 0, 0x10000, 0, VFU_FLAG_NO_REPLY);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	release(&a);
	assert_int_equal(vfu_client_reset(&f->c), -ETIMEDOUT); /* nobody called yet */
	assert_int_equal(viommu_vfu_process(f->vfu, 16), 1);
	assert_int_equal(vfu_client_recv(&f->c, &reply), 1);
	assert_int_equal(reply.hdr.command, VFU_DEVICE_RESET);
	close(ram);
}

static void test_disconnect_while_held(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);
	struct held h;

	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), 0);
	hold(f, &h, 0);
	vfu_client_close(&f->c);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	assert_int_equal(f->resets, 1);
	assert_int_equal(f->disconnected, 0);
	/* The next client waits; the memory stays until it is let go. */
	assert_int_equal(vfu_client_connect(&f->c, f->path), 0);
	assert_true(vfu_client_send(&f->c, VFU_VERSION, 0, "\0\0\0\0", 4, NULL, 0));
	assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	assert_false(readable(f));
	memset(h.iov[0].iov_base, 1, 4096);
	release(&h);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), 1);
	assert_int_equal(f->disconnected, 1);
	assert_int_equal(vfu_client_recv(&f->c, &reply), 1);
	assert_int_equal(f->connected, 2);
	close(ram);
}

static void test_client_goes_while_unmap_waits(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);
	struct held h;

	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), 0);
	hold(f, &h, 0);
	send_unmap(f, 0, RAM_LEN, 0, 0);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	vfu_client_close(&f->c);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	assert_false(readable(f));
	release(&h);
	pump(f);
	viommu_vfu_process(f->vfu, 16);
	assert_int_equal(f->disconnected, 1);
	reconnect(f);
	close(ram);
}

static void test_destroy_while_held(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);
	struct held h;
	void *page;

	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), 0);
	hold(f, &h, 0);
	page = h.iov[0].iov_base;
	viommu_vfu_destroy(f->vfu);
	assert_int_equal(logged(f, "it stays mapped"), 1);
	memset(page, 1, 4096); /* still there */
	release(&h);
	munmap(page, RAM_LEN); /* the test's own housekeeping */
	vfu_client_close(&f->c);
	assert_int_equal(create_server(f, "test", f->pci, f->mem, &f->vfu), 0);
	close(ram);
}

/* Out of memory: a map is refused whole, an unmap changes nothing. */
static void test_out_of_memory(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);

	test_alloc_fail(&f->ta, 1);
	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), -ENOMEM);
	assert_int_equal(map(f, 0, RAM_LEN, ram, 0), 0);
	test_alloc_fail(&f->ta, 1);
	assert_int_equal(unmap(f, 0, RAM_LEN), -ENOMEM);
	assert_int_equal(regions(f), 1);
	/* The end of a connection waits until there is memory. */
	vfu_client_close(&f->c);
	test_alloc_fail(&f->ta, 1);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), -EAGAIN);
	assert_int_equal(f->disconnected, 0);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), 0);
	assert_int_equal(f->disconnected, 1);
	close(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_map_and_unmap),
		CASE(test_firmware_churn),
		CASE(test_unmap_all),
		CASE(test_unmap_refused),
		CASE(test_map_refused),
		CASE(test_file_shorter_than_map),
		CASE(test_files_that_cannot_be_mapped),
		CASE(test_read_only),
		CASE_NO_CLIENT(test_sealed_only),
		CASE(test_huge_page_file),
		CASE(test_limit),
		CASE(test_private_ram_is_told_once),
		CASE(test_small_private_ram),
		CASE(test_display_memory_is_no_ram),
		CASE(test_no_memory_at_all),
		CASE(test_unmap_waits_for_holds),
		CASE(test_unmap_all_waits_for_holds),
		CASE(test_disconnect_while_held),
		CASE(test_client_goes_while_unmap_waits),
		CASE(test_destroy_while_held),
		CASE(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
