/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The connection: listening, partial messages, descriptors in the stream, floods,
 * clients that come, go and do not read. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- listening ---- */

static int bind_at(const char *path, bool listening)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	if (listening)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void test_path_in_use(void **state)
{
	struct fixture *f = *state;
	struct viommu_vfu *other = NULL;

	assert_int_equal(create_server(f, "other", f->pci, f->mem, &other), -EADDRINUSE);
	pump(f); /* the probe was no client */
	assert_int_equal(f->connected + f->disconnected, 0);
	reconnect(f);
}

static void test_stale_path_is_replaced(void **state)
{
	struct fixture *f = *state;

	viommu_vfu_destroy(f->vfu);
	close(bind_at(f->path, true)); /* its server is gone, the path is not */
	assert_int_equal(access(f->path, F_OK), 0);
	assert_int_equal(create_server(f, "test", f->pci, f->mem, &f->vfu), 0);
	reconnect(f);
}

static void test_a_file_is_not_replaced(void **state)
{
	struct fixture *f = *state;
	struct viommu_vfu *other = NULL;
	int fd;

	viommu_vfu_destroy(f->vfu);
	fd = open(f->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(create_server(f, "other", f->pci, f->mem, &other), -EADDRINUSE);
	assert_int_equal(unlink(f->path), 0); /* still there */
	assert_int_equal(create_server(f, "test", f->pci, f->mem, &f->vfu), 0);
}

static void test_only_our_path_is_unlinked(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(unlink(f->path), 0);
	fd = bind_at(f->path, true);
	viommu_vfu_destroy(f->vfu);
	assert_int_equal(access(f->path, F_OK), 0);
	close(fd);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(create_server(f, "test", f->pci, f->mem, &f->vfu), 0);
}

static int create_with(struct fixture *f, const struct viommu_vfu_config *config,
		       struct viommu_vfu **out)
{
	return viommu_vfu_create(config, f->pci, f->mem, NULL, NULL, &f->ta.ops, &f->log,
				 out);
}

static void test_listening_descriptor(void **state)
{
	struct fixture *f = *state;
	struct viommu_vfu_config config = {.listen_fd = -1};
	struct viommu_vfu *other = NULL;
	char path[128];

	assert_int_equal(create_with(f, &config, &other), -EINVAL);
	config.listen_fd = 1000; /* not open */
	assert_int_equal(create_with(f, &config, &other), -EINVAL);
	snprintf(path, sizeof(path), "%s/other", f->dir);
	config.listen_fd = bind_at(path, true);
	/* On failure it stays ours. */
	test_alloc_fail(&f->ta, 2);
	assert_int_equal(create_with(f, &config, &other), -ENOMEM);
	test_alloc_fail(&f->ta, 0);
	assert_int_not_equal(fcntl(config.listen_fd, F_GETFD), -1);
	assert_int_equal(create_with(f, &config, &other), 0);
	viommu_vfu_destroy(other);
	assert_int_equal(fcntl(config.listen_fd, F_GETFD), -1); /* consumed */
	assert_int_equal(unlink(path), 0); /* the path was not the server's */
	/* The function's interrupts are the first server's again. */
	viommu_vfu_destroy(f->vfu);
	assert_int_equal(create_server(f, "test", f->pci, f->mem, &f->vfu), 0);
}

static void test_creation_failures(void **state)
{
	struct fixture *f = *state;
	struct viommu_vfu *other = NULL;
	char long_path[200];
	struct viommu_vfu_config config = {.path = long_path, .listen_fd = -1};
	unsigned long nth;
	int r = -ENOMEM;

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = 0;
	assert_int_equal(create_with(f, &config, &other), -EINVAL);
	config.path = "/nonexistent/socket";
	assert_int_equal(create_with(f, &config, &other), -ENOENT);
	viommu_vfu_destroy(f->vfu);
	for (nth = 1; r; nth++) {
		test_alloc_fail(&f->ta, nth);
		r = create_server(f, "test", f->pci, f->mem, &f->vfu);
		assert_true(!r || r == -ENOMEM);
		assert_int_equal(access(f->path, F_OK), r ? -1 : 0);
	}
	assert_true(nth > 3);
	test_alloc_fail(&f->ta, 0);
	viommu_vfu_destroy(NULL);
}

/* ---- clients ---- */

static void test_second_client(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	struct vfu_client other = {.fd = -1, .pump = pump, .opaque = f};
	struct viommu_vfu_stats s;

	for (int i = 0; i < 5; i++) {
		assert_int_equal(vfu_client_connect(&other, f->path), 0);
		pump(f);
		assert_int_equal(vfu_client_recv(&other, &reply), -EPIPE);
		vfu_client_close(&other);
	}
	assert_int_equal(logged(f, "another was refused"), 1);
	viommu_vfu_get_stats(f->vfu, &s);
	assert_int_equal(s.refused_clients, 5);
	assert_int_equal(s.connections, 1);
	assert_int_equal(vfu_client_reset(&f->c), 0); /* the first is unharmed */
}

static void test_reconnect(void **state)
{
	struct fixture *f = *state;
	uint16_t command = 6;
	int ram = ram_create(RAM_LEN), before = count_fds();

	for (int i = 0; i < 20; i++) {
		int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		assert_int_equal(vfu_client_dma_map(&f->c, 0, RAM_LEN, ram, 0, 3), 0);
		assert_int_equal(
			vfu_client_set_irqs(&f->c, VFU_IRQ_MSIX, 0x24, 3, 1, &efd, 1), 0);
		assert_int_equal(
			vfu_client_set_irqs(&f->c, VFU_IRQ_INTX, 0x24, 0, 1, &efd, 1), 0);
		assert_int_equal(
			vfu_client_write(&f->c, VFU_REGION_CONFIG, 4, &command, 2), 0);
		close(efd);
		reconnect(f); /* without a word, as QEMU leaves */
		assert_int_equal(f->disconnected, (unsigned)i + 1);
		assert_int_equal(f->resets, (unsigned)i + 1);
		assert_string_equal(f->reason, "the client closed it");
		assert_false(viommu_pci_bus_master(f->pci));
		assert_int_equal(count_fds(), before);
	}
	close(ram);
}

/* The VMM is restarted so fast that its end and its new beginning are seen in one
 * turn: the new client is no second client. */
static void test_replaced_at_once(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	struct viommu_vfu_stats s;

	for (unsigned i = 0; i < 20; i++) {
		for (unsigned j = 0; j < i; j++) /* not even read yet */
			vfu_client_write_posted(&f->c, 0, 4 * j, "abcd", 4);
		vfu_client_close(&f->c);
		assert_int_equal(vfu_client_connect(&f->c, f->path), 0);
		assert_true(
			vfu_client_send(&f->c, VFU_VERSION, 0, "\0\0\0\0", 4, NULL, 0));
		for (int turn = 0; turn < 50 && readable(f); turn++)
			viommu_vfu_process(f->vfu, 1 + i % 3);
		assert_int_equal(vfu_client_recv(&f->c, &reply), 1);
		assert_int_equal(f->disconnected, i + 1);
	}
	viommu_vfu_get_stats(f->vfu, &s);
	assert_int_equal(s.refused_clients, 0);
}

static void test_client_dies_in_a_message(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC), before = count_fds();

	assert_true(vfu_client_send_raw(&f->c, "\1\0\2\0\60\0\0\0\0\0", 10, &fd, 1));
	pump(f);
	vfu_client_close(&f->c);
	pump(f);
	assert_int_equal(count_fds(), before - 1 - 1); /* both ends of the connection */
	assert_string_equal(f->reason, "the client closed it amid a message");
	close(fd);
	reconnect(f);
}

static void test_client_that_never_speaks(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vfu_client_connect(&f->c, f->path), 0);
	pump(f);
	assert_false(readable(f));
	vfu_client_close(&f->c);
	pump(f);
	assert_int_equal(f->connected + f->disconnected + f->resets, 0);
	reconnect(f);
}

static void test_destroy_while_connected(void **state)
{
	struct fixture *f = *state;
	int ram = ram_create(RAM_LEN);
	struct viommu_mem_region region;

	assert_int_equal(vfu_client_dma_map(&f->c, 0, RAM_LEN, ram, 0, 3), 0);
	close(ram);
	viommu_vfu_destroy(f->vfu);
	assert_int_equal(f->resets, 1);
	assert_int_equal(f->disconnected, 0);
	assert_int_equal(viommu_mem_region(f->mem, 0, &region), -ENOENT);
	vfu_client_close(&f->c);
	assert_int_equal(create_server(f, "test", f->pci, f->mem, &f->vfu), 0);
}

static void test_several_functions(void **state)
{
	struct fixture *f = *state;
	struct viommu_pci *pci[4];
	struct viommu_mem *mem[4];
	struct viommu_vfu *vfu[4];
	struct vfu_client c[4];
	char main_path[96], path[4][128];
	int ram = ram_create(RAM_LEN);

	strcpy(main_path, f->path);
	for (int i = 0; i < 4; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/f%d", f->dir, i);
		strcpy(f->path, path[i]);
		pci[i] = create_function(f);
		assert_int_equal(viommu_mem_create(&f->ta.ops, &mem[i]), 0);
		assert_int_equal(create_server(f, "f", pci[i], mem[i], &vfu[i]), 0);
		c[i] = (struct vfu_client){.fd = -1};
		assert_int_equal(vfu_client_connect(&c[i], path[i]), 0);
		assert_true(
			vfu_client_send(&c[i], VFU_VERSION, 0, "\0\0\0\0", 4, NULL, 0));
		const struct vfu_dma_map d = {32, 3, 0, (uint64_t)i << 20, RAM_LEN};

		assert_true(
			vfu_client_send(&c[i], VFU_DMA_MAP, 0, &d, sizeof(d), &ram, 1));
	}
	for (int i = 3; i >= 0; i--)
		assert_int_equal(viommu_vfu_process(vfu[i], 10), 2);
	for (int i = 0; i < 4; i++) {
		struct viommu_mem_region r;

		assert_int_equal(viommu_mem_region(mem[i], 0, &r), 0);
		assert_int_equal(r.gpa, (uint64_t)i << 20);
		vfu_client_close(&c[i]);
		viommu_vfu_destroy(vfu[i]);
		viommu_mem_destroy(mem[i]);
		viommu_pci_destroy(pci[i]);
	}
	strcpy(f->path, main_path);
	close(ram);
}

/* ---- the stream ---- */

/* A DMA_MAP, a SET_IRQS with three eventfds and a posted write, as bytes. */
struct script {
	uint8_t bytes[256];
	size_t len, irqs_at, write_at; /* where the second and third message begin */
};

static void append(struct script *s, uint16_t command, uint32_t flags,
		   const void *payload, size_t len)
{
	const struct vfu_header h = {1, command, (uint32_t)(16 + len), flags, 0};

	memcpy(s->bytes + s->len, &h, 16);
	memcpy(s->bytes + s->len + 16, payload, len);
	s->len += 16 + len;
}

static struct script make_script(void)
{
	const struct vfu_dma_map map = {32, 3, 0, 0x10000, RAM_LEN};
	const struct vfu_irq_set set = {20, 0x24, VFU_IRQ_MSIX, 5, 3};
	const uint8_t write[17] = {0x40, [12] = 1, [16] = 0x5a};
	struct script s = {.len = 0};

	append(&s, VFU_DMA_MAP, 0, &map, sizeof(map));
	s.irqs_at = s.len;
	append(&s, VFU_SET_IRQS, 0, &set, sizeof(set));
	s.write_at = s.len;
	append(&s, VFU_REGION_WRITE, VFU_FLAG_NO_REPLY, write, sizeof(write));
	return s;
}

static void check_script(struct fixture *f)
{
	static struct vfu_client_reply reply;
	struct viommu_mem_region r;

	pump(f);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vfu_client_recv(&f->c, &reply), 1);
		assert_int_equal(reply.hdr.flags, VFU_TYPE_REPLY);
	}
	assert_int_equal(vfu_client_recv(&f->c, &reply), 0);
	assert_int_equal(viommu_mem_region(f->mem, 0, &r), 0);
	assert_non_null(r.hva);
	assert_int_equal(f->regs[0x40], 0x5a);
	assert_int_equal(vfu_client_set_irqs(&f->c, VFU_IRQ_MSIX, 0x21, 5, 3, NULL, 0),
			 0);
}

/* The script cut at every place, its descriptors sent with any byte of the message
 * they belong to; the server runs between the parts, or not. */
static void run_split(struct fixture *f, size_t part, size_t ram_at, size_t irqs_at,
		      bool run)
{
	struct script s = make_script();
	int ram = ram_create(RAM_LEN), efd[3], before = count_fds();
	uint64_t count;

	for (int i = 0; i < 3; i++)
		efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (size_t at = 0, len; at < s.len; at += len) {
		bool has_ram, has_irqs;

		len = part < s.len - at ? part : s.len - at;
		has_ram = ram_at >= at && ram_at < at + len;
		has_irqs = irqs_at >= at && irqs_at < at + len;
		assert_false(has_ram && has_irqs);
		assert_true(vfu_client_send_raw(&f->c, s.bytes + at, len,
						has_ram ? &ram : efd,
						has_ram	   ? 1
						: has_irqs ? 3
							   : 0));
		if (run)
			pump(f);
	}
	check_script(f);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(read(efd[i], &count, 8), 8);
		close(efd[i]);
	}
	reconnect(f);
	assert_int_equal(count_fds(), before);
	close(ram);
}

static void test_byte_by_byte(void **state)
{
	struct script s = make_script();

	for (int run = 0; run < 2; run++) {
		run_split(*state, 1, 0, s.irqs_at, run);
		run_split(*state, 1, 20, s.irqs_at + 15, run);
		run_split(*state, 1, s.irqs_at - 1, s.write_at - 1, run);
	}
}

static void test_any_split(void **state)
{
	struct script s = make_script();

	/* As long as the last byte of a part is in the message that its
	 * descriptors are for, which one sendmsg() a message makes sure of. */
	for (size_t part = 2; part < 48; part++) {
		size_t first = (s.irqs_at - 1) / part * part;
		size_t second = (s.write_at - 1) / part * part;

		if (first + part > s.irqs_at)
			first -= part;
		if (second + part > s.write_at)
			second -= part;
		if (second + part <= s.irqs_at)
			continue;
		run_split(*state, part, first, second, part % 2);
		run_split(*state, part, first, second, part % 3);
	}
}

/* Message after message, each with descriptors, all queued before one is read. */
static void test_descriptors_queue_up(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	int efd[VECTORS], before = count_fds();
	uint64_t count;

	for (unsigned i = 0; i < VECTORS; i++) {
		const struct vfu_irq_set s = {20, 0x24, VFU_IRQ_MSIX, i, 1};

		efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_true(vfu_client_write_posted(&f->c, 0, i, "a", 1));
		assert_true(vfu_client_send(&f->c, VFU_SET_IRQS, 0, &s, sizeof(s),
					    &efd[i], 1));
		assert_true(vfu_client_write_posted(&f->c, 0, i, "b", 1));
	}
	pump(f);
	for (unsigned i = 0; i < VECTORS; i++) {
		assert_int_equal(vfu_client_recv(&f->c, &reply), 1);
		assert_int_equal(reply.hdr.flags, VFU_TYPE_REPLY);
	}
	assert_int_equal(f->writes, 2 * VECTORS);
	for (unsigned i = 0; i < VECTORS; i++) {
		assert_int_equal(
			vfu_client_set_irqs(&f->c, VFU_IRQ_MSIX, 0x21, i, 1, NULL, 0), 0);
		for (unsigned j = 0; j < VECTORS; j++)
			assert_int_equal(read(efd[j], &count, 8), i == j ? 8 : -1);
	}
	for (unsigned i = 0; i < VECTORS; i++)
		close(efd[i]);
	reconnect(f);
	assert_int_equal(count_fds(), before);
}

static void test_flood_with_budget(void **state)
{
	enum { FLOOD = 3000 };
	struct fixture *f = *state;
	unsigned sent = 0, handled = 0, turns = 0;
	struct viommu_vfu_stats s;

	fcntl(f->c.fd, F_SETFL, O_NONBLOCK);
	while (handled < FLOOD) {
		/* As many as the socket takes; then one turn of the server. */
		while (sent < FLOOD &&
		       vfu_client_write_posted(&f->c, 0, sent % 64 * 4, "kick", 4))
			sent++;
		assert_true(readable(f)); /* also for what is only in its buffer */
		int nr = viommu_vfu_process(f->vfu, 16);

		assert_in_range(nr, 1, 16);
		handled += (unsigned)nr;
		turns++;
	}
	assert_int_equal(handled, FLOOD);
	assert_true(turns >= FLOOD / 16);
	assert_int_equal(f->writes, FLOOD);
	for (unsigned n = FLOOD - 512; n < FLOOD; n++) /* the last ones, in order */
		assert_int_equal(f->write_order[n % 512], n % 64 * 4);
	assert_int_equal(viommu_vfu_process(f->vfu, 16), 0);
	assert_false(readable(f));
	viommu_vfu_get_stats(f->vfu, &s);
	assert_int_equal(s.posted_writes, FLOOD);
	fcntl(f->c.fd, F_SETFL, 0);
}

/* A client that asks and never reads stops being served; nothing is lost. */
static void test_replies_not_read(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	const struct vfu_region_access a = {0, VFU_REGION_CONFIG, 4096};
	unsigned sent = 0, got = 0;

	fcntl(f->c.fd, F_SETFL, O_NONBLOCK);
	for (int idle = 0; idle < 3;) {
		if (vfu_client_send(&f->c, VFU_REGION_READ, 0, &a, sizeof(a), NULL, 0)) {
			sent++;
			idle = 0;
		} else {
			idle++;
		}
		viommu_vfu_process(f->vfu, 64);
	}
	assert_false(readable(f)); /* waits for the client, without spinning */
	assert_true(sent > 50);
	fcntl(f->c.fd, F_SETFL, 0);
	while (got < sent) {
		pump(f);
		assert_int_equal(vfu_client_recv(&f->c, &reply), 1);
		assert_int_equal(reply.len, 16 + 4096);
		got++;
	}
	assert_int_equal(vfu_client_reset(&f->c), 0);
	/* And one that goes while a reply is stuck. */
	fcntl(f->c.fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 400; i++) {
		vfu_client_send(&f->c, VFU_REGION_READ, 0, &a, sizeof(a), NULL, 0);
		viommu_vfu_process(f->vfu, 64);
	}
	reconnect(f);
}

static void test_random_stream(void **state)
{
	struct fixture *f = *state;
	struct rng r = rng_init(test_seed());
	int before = count_fds(), efd[4];
	uint8_t bytes[80];

	for (int i = 0; i < 4; i++)
		efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (int i = 0; i < 3000; i++) {
		struct vfu_header h = {0, (uint16_t)rng_below(&r, 20),
				       16 + (uint32_t)rng_below(&r, 64), 0, 0};

		for (size_t j = 0; j < sizeof(bytes); j++)
			bytes[j] = rng_chance(&r, 70) ? 0 : (uint8_t)rng_below(&r, 64);
		if (rng_chance(&r, 5))
			h.flags = (uint32_t)rng_below(&r, 64);
		memcpy(bytes, &h, 16);
		vfu_client_send_raw(&f->c, bytes, 1 + rng_below(&r, sizeof(bytes)), efd,
				    rng_chance(&r, 80) ? 0 : (unsigned)rng_below(&r, 5));
		if (rng_chance(&r, 50))
			pump(f);
		if (!viommu_vfu_is_connected(f->vfu))
			reconnect(f);
	}
	reconnect(f);
	for (int i = 0; i < 4; i++)
		close(efd[i]);
	assert_int_equal(count_fds(), before);
}

/* ---- out of descriptors ---- */

static void test_no_descriptors_left(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	struct vfu_client late = {.fd = -1, .pump = pump, .opaque = f};
	struct rlimit old, few;
	int ram = ram_create(RAM_LEN), top = dup(ram);

	vfu_client_close(&f->c);
	pump(f);
	assert_int_equal(vfu_client_connect(&late, f->path), 0);
	close(top);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = 3; /* the numbers in use are above: none can be had */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (int i = 0; i < 10; i++)
		viommu_vfu_process(f->vfu, 16);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	vfu_client_recv(&late, &reply);
	vfu_client_close(&late);
	pump(f);
	reconnect(f);
	/* Descriptors that do not fit end the connection. */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	const struct vfu_dma_map d = {32, 3, 0, 0, RAM_LEN};

	assert_true(vfu_client_send(&f->c, VFU_DMA_MAP, 0, &d, sizeof(d), &ram, 1));
	viommu_vfu_process(f->vfu, 16);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	expect_dropped(f, "more descriptors than");
	close(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE_NO_CLIENT(test_path_in_use),
		CASE_NO_CLIENT(test_stale_path_is_replaced),
		CASE_NO_CLIENT(test_a_file_is_not_replaced),
		CASE_NO_CLIENT(test_only_our_path_is_unlinked),
		CASE_NO_CLIENT(test_listening_descriptor),
		CASE_NO_CLIENT(test_creation_failures),
		CASE(test_second_client),
		CASE(test_reconnect),
		CASE(test_replaced_at_once),
		CASE(test_client_dies_in_a_message),
		CASE_NO_CLIENT(test_client_that_never_speaks),
		CASE(test_destroy_while_connected),
		CASE_NO_CLIENT(test_several_functions),
		CASE(test_byte_by_byte),
		CASE(test_any_split),
		CASE(test_descriptors_queue_up),
		CASE(test_flood_with_budget),
		CASE(test_replies_not_read),
		CASE(test_random_stream),
		CASE(test_no_descriptors_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
