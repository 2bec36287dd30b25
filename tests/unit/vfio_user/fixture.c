/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "fixture.h"

#include <dirent.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the function: BAR 0 is memory ---- */

static uint64_t bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len)
{
	struct fixture *f = opaque;
	uint64_t value = 0;

	if (bar == 0)
		memcpy(&value, f->regs + offset, len);
	return value;
}

static void bar_write(void *opaque, unsigned bar, uint64_t offset, unsigned len,
		      uint64_t value)
{
	struct fixture *f = opaque;

	if (bar != 0)
		return;
	memcpy(f->regs + offset, &value, len);
	f->write_order[f->writes++ % 512] = offset;
}

static void reset(void *opaque)
{
	((struct fixture *)opaque)->resets++;
}

struct viommu_pci *create_function(struct fixture *f)
{
	static const struct viommu_pci_config config = {
		.vendor = 0x1234,
		.device = 0x5678,
		.class_code = 0xff,
		.bar[0].len = BAR0_LEN,
		.bar[1].len = 4096,
		.msix_nr = VECTORS,
		.msix_bar = 1,
		.intx = true,
		.flr = true,
	};
	static const struct viommu_pci_ops ops = {bar_read, bar_write, reset, NULL};
	struct viommu_pci *pci;

	assert_int_equal(viommu_pci_create(&config, &ops, f, &f->ta.ops, &f->log, &pci),
			 0);
	return pci;
}

/* ---- ears ---- */

static void on_log(void *opaque, enum viommu_log_level level, const char *msg)
{
	struct fixture *f = opaque;
	size_t at = strlen(f->lines);

	(void)level;
	if (at + strlen(msg) + 2 > sizeof(f->lines))
		at = 0;
	snprintf(f->lines + at, sizeof(f->lines) - at, "%s\n", msg);
}

static void on_connected(void *opaque)
{
	((struct fixture *)opaque)->connected++;
}

static void on_disconnected(void *opaque, const char *reason)
{
	struct fixture *f = opaque;
	struct viommu_mem_region region;

	/* Memory, interrupts and state are gone by now. */
	assert_int_equal(viommu_mem_region(f->mem, 0, &region), -ENOENT);
	assert_false(viommu_pci_msix_enabled(f->pci));
	f->disconnected++;
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
}

static void on_system_reset(void *opaque)
{
	((struct fixture *)opaque)->system_resets++;
}

unsigned logged(const struct fixture *f, const char *words)
{
	unsigned nr = 0;

	for (const char *at = f->lines; (at = strstr(at, words)); at++)
		nr++;
	return nr;
}

int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int nr = 0;

	assert_non_null(d);
	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

bool readable(struct fixture *f)
{
	struct pollfd p = {.fd = viommu_vfu_fd(f->vfu), .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* ---- server and client ---- */

void pump(void *opaque)
{
	struct fixture *f = opaque;

	for (int i = 0; i < 100 && readable(f); i++)
		viommu_vfu_process(f->vfu, 64);
}

int create_server(struct fixture *f, const char *name, struct viommu_pci *pci,
		  struct viommu_mem *mem, struct viommu_vfu **out)
{
	static const struct viommu_vfu_ops ops = {
		.connected = on_connected,
		.disconnected = on_disconnected,
		.system_reset = on_system_reset,
	};
	struct viommu_vfu_config config = {
		.name = name, .path = f->path, .listen_fd = -1};

	return viommu_vfu_create(&config, pci, mem, &ops, f, &f->ta.ops, &f->log, out);
}

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fds_before = count_fds();
	test_alloc_init(&f->ta);
	f->log = (struct viommu_log){on_log, f, VIOMMU_LOG_DEBUG};
	strcpy(f->dir, "/tmp/viommu-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	f->pci = create_function(f);
	assert_int_equal(viommu_mem_create(&f->ta.ops, &f->mem), 0);
	assert_int_equal(create_server(f, "test", f->pci, f->mem, &f->vfu), 0);
	f->c = (struct vfu_client){.fd = -1, .pump = pump, .opaque = f};
	*state = f;
	return 0;
}

int setup_connected(void **state)
{
	setup(state);
	reconnect(*state);
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	vfu_client_close(&f->c);
	viommu_vfu_destroy(f->vfu);
	assert_int_not_equal(access(f->path, F_OK), 0);
	rmdir(f->dir);
	viommu_mem_destroy(f->mem);
	viommu_pci_destroy(f->pci);
	assert_int_equal(f->ta.live, 0);
	assert_int_equal(count_fds(), f->fds_before);
	free(f);
	return 0;
}

void reconnect(struct fixture *f)
{
	unsigned before = f->connected;

	vfu_client_close(&f->c);
	pump(f);
	assert_int_equal(vfu_client_connect(&f->c, f->path), 0);
	assert_true(vfu_client_version(&f->c, vfu_client_qemu_json) > 0);
	assert_int_equal(f->connected, before + 1);
	assert_true(viommu_vfu_is_connected(f->vfu));
}

void expect_dropped(struct fixture *f, const char *words)
{
	static struct vfu_client_reply reply;
	int r = 0;

	for (int i = 0; i < 10 && r >= 0; i++) {
		pump(f);
		r = vfu_client_recv(&f->c, &reply);
	}
	if (r != -EPIPE || f->disconnected != f->connected || !strstr(f->reason, words))
		fail_msg("expected an end of the connection with \"%s\", had \"%s\"",
			 words, f->reason);
	assert_true(logged(f, words) >= 1);
	reconnect(f);
}

/* ---- memory ---- */

int ram_create(uint64_t len)
{
	int fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	return fd;
}

void ram_write(int fd, uint64_t offset, const void *buf, size_t len)
{
	assert_int_equal(pwrite(fd, buf, len, (off_t)offset), len);
}
