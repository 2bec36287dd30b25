/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Looking inside a viommud that serves a guest: histograms, traces and their readers,
 * good and bad. Arguments: viommud, viommu. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <viommu/proto.h>

#include "endpoints/nvme/spec.h"
#include "guest_kit.h"
#include "limits.h"
#include "test.h"

#define RW 3u

static const char *viommud, *viommu;
static const char *const usual[] = {
	"--no-seccomp",		  "--iommu", "bypass=off", "--endpoint",
	"dmatest,id=dma,ep=0x28", NULL};

/* A connection of its own to the control socket. */
struct reader {
	int fd;
	size_t len;
	char buf[1 << 16];
};

static void reader_open(struct reader *r, const struct viommud *d)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	r->len = 0;
	r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", d->dir);
	assert_int_equal(connect(r->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void reader_say(struct reader *r, const char *text)
{
	assert_int_equal(send(r->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	assert_int_equal(send(r->fd, "\n", 1, MSG_NOSIGNAL), 1);
}

/* The next line, a new reference; NULL: the connection has ended, or nothing came in
 * so many ms. */
static json_t *reader_line(struct reader *r, int timeout_ms)
{
	struct pollfd wait = {.fd = r->fd, .events = POLLIN};
	json_t *json;
	char *end;
	ssize_t n;

	while (!(end = memchr(r->buf, '\n', r->len))) {
		if (poll(&wait, 1, timeout_ms) <= 0)
			return NULL;
		n = recv(r->fd, r->buf + r->len, sizeof(r->buf) - r->len, 0);
		if (n <= 0)
			return NULL;
		r->len += (size_t)n;
	}
	json = json_loadb(r->buf, (size_t)(end - r->buf), 0, NULL);
	assert_non_null(json);
	r->len -= (size_t)(end + 1 - r->buf);
	memmove(r->buf, end + 1, r->len);
	return json;
}

static void reader_ask(struct reader *r, const char *request, bool good)
{
	json_t *reply;

	reader_say(r, request);
	/* Events may come before it. */
	while ((reply = reader_line(r, 10000)) != NULL && json_object_get(reply, "event"))
		json_decref(reply);
	assert_non_null(reply);
	if (json_is_true(json_object_get(reply, "ok")) != good)
		fail_msg("%s: %s", request, json_dumps(reply, 0));
	json_decref(reply);
}

/* The next event; its member as text, "" if it has none. */
static const char *reader_event(struct reader *r, const char *member)
{
	static char text[64];
	json_t *event = reader_line(r, 10000), *value;

	assert_non_null(event);
	value = json_object_get(event, member);
	if (json_is_integer(value))
		snprintf(text, sizeof(text), "%lld",
			 (long long)json_integer_value(value));
	else
		snprintf(text, sizeof(text), "%s", value ? json_string_value(value) : "");
	json_decref(event);
	return text;
}

static void end_well(struct viommud *d)
{
	int status = viommud_end(d, SIGTERM);

	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("viommud: wait status %#x", status);
	if (rmdir(d->dir))
		fail_msg("%s: %s", d->dir, strerror(errno));
}

static void map_some(struct guest *g, unsigned nr)
{
	for (uint64_t i = 0; i < nr; i++) {
		assert_int_equal(guest_map(g, 1, 0x100000, 0x100fff, 0x20000, RW),
				 VIRTIO_IOMMU_S_OK);
		assert_int_equal(guest_unmap(g, 1, 0x100000, 0x100fff),
				 VIRTIO_IOMMU_S_OK);
	}
}

static void histograms(void **state)
{
	struct viommud d;
	struct guest g;

	(void)state;
	viommud_start(&d, viommud, usual);
	guest_start(&g, &d);
	assert_int_equal(guest_attach(&g, 1, 0x28), VIRTIO_IOMMU_S_OK);
	map_some(&g, 50);
	assert_int_equal(viommud_stat(&d, "iommu.latency_ns.map.nr"), 50);
	assert_int_equal(viommud_stat(&d, "iommu.latency_ns.attach.nr"), 1);
	assert_int_equal(viommud_stat(&d, "iommu.batch.nr"), 101);
	assert_true(viommud_stat(&d, "iommu.latency_ns.map.max") > 0);
	guest_kill(&g);
	end_well(&d);
}

/* All a guest does, told to two that want different things. */
static void two_readers(const char *const *options)
{
	static struct reader all, some;
	struct viommud d;
	struct guest g;

	viommud_start(&d, viommud, options);
	guest_start(&g, &d);
	reader_open(&all, &d);
	reader_open(&some, &d);
	reader_ask(&all, "{\"command\":\"trace\"}", true);
	reader_ask(&some, "{\"command\":\"trace\",\"types\":\"unmap,fault\"}", true);
	assert_int_equal(guest_attach(&g, 1, 0x28), VIRTIO_IOMMU_S_OK);
	map_some(&g, 1);
	assert_int_equal(guest_fill(&g, 0x200000, 16, 1), EFAULT);
	assert_string_equal(reader_event(&all, "type"), "attach");
	assert_string_equal(reader_event(&all, "gpa"), "0x20000");
	assert_string_equal(reader_event(&all, "last"), "0x100fff");
	assert_string_equal(reader_event(&all, "address"), "0x200000");
	assert_string_equal(reader_event(&some, "start"), "0x100000");
	assert_string_equal(reader_event(&some, "reason"), "mapping");
	/* One ends its trace and still has its connection. */
	reader_ask(&some, "{\"command\":\"trace-stop\"}", true);
	reader_ask(&some, "{\"command\":\"trace-stop\"}", false);
	assert_int_equal(guest_map(&g, 9, 0, 0xfff, 0, RW), VIRTIO_IOMMU_S_NOENT);
	assert_string_equal(reader_event(&all, "status"), "noent");
	assert_null(reader_line(&some, 100));
	/* The other dies; the guest does not notice. */
	close(all.fd);
	map_some(&g, 5);
	close(some.fd);
	guest_kill(&g);
	end_well(&d);
}

static void readers(void **state)
{
	(void)state;
	two_readers(usual);
}

static void readers_behind_the_filter(void **state)
{
	(void)state;
	/* Looking for leaks takes calls that the filter forbids. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	two_readers(usual + 1);
}

/* One that does not read loses events, and is told how many; nobody waits for it. */
static void slow_reader(void **state)
{
	static struct reader slow, quick;
	unsigned long long seen = 0, lost = 0;
	struct viommud d;
	struct guest g;
	json_t *event;

	(void)state;
	viommud_start(&d, viommud, usual);
	guest_start(&g, &d);
	reader_open(&slow, &d);
	reader_ask(&slow, "{\"command\":\"trace\"}", true);
	assert_int_equal(guest_attach(&g, 1, 0x28), VIRTIO_IOMMU_S_OK);
	map_some(&g, DAEMON_TRACE_EVENTS);
	reader_open(&quick, &d);
	reader_ask(&quick, "{\"command\":\"trace\"}", true);
	map_some(&g, 1);
	assert_string_equal(reader_event(&quick, "type"), "map");
	while (seen + lost < 2 * DAEMON_TRACE_EVENTS + 3) {
		event = reader_line(&slow, 10000);
		assert_non_null(event);
		if (json_object_get(event, "requests"))
			lost += (unsigned long long)json_integer_value(
				json_object_get(event, "requests"));
		else
			seen++;
		json_decref(event);
	}
	assert_true(lost > 0);
	assert_true(seen >= DAEMON_TRACE_EVENTS);
	assert_int_equal(seen + lost, 2 * DAEMON_TRACE_EVENTS + 3);
	close(slow.fd);
	close(quick.fd);
	guest_kill(&g);
	end_well(&d);
}

static void limits_and_nonsense(void **state)
{
	static const char *const bad[] = {
		"{\"command\":\"trace\",\"types\":\"mapp\"}",
		"{\"command\":\"trace\",\"types\":\"\"}",
		"{\"command\":\"trace\",\"types\":7}",
		"{\"command\":\"trace\",\"types\":[\"map\"]}",
		"{\"command\":\"trace\",\"status\":\"good\"}",
		"{\"command\":\"trace\",\"domain\":-1}",
		"{\"command\":\"trace\",\"domain\":4294967296}",
		"{\"command\":\"trace\",\"endpoint\":\"disk0\"}",
		"{\"command\":\"trace\",\"colour\":\"red\"}",
		"{\"command\":\"trace-stop\",\"all\":true}",
		"{\"command\":\"trace-stop\"}",
	};
	static struct reader r[DAEMON_TRACES_MAX + 1];
	struct viommud d;

	(void)state;
	viommud_start(&d, viommud, usual);
	for (unsigned i = 0; i <= DAEMON_TRACES_MAX; i++)
		reader_open(&r[i], &d);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		reader_ask(&r[0], bad[i], false);
	for (unsigned i = 0; i < DAEMON_TRACES_MAX; i++)
		reader_ask(&r[i], "{\"command\":\"trace\",\"endpoint\":40}", true);
	reader_ask(&r[0], "{\"command\":\"trace\"}", false);
	reader_ask(&r[DAEMON_TRACES_MAX], "{\"command\":\"trace\"}", false);
	/* One that dies makes room, if not at once. */
	close(r[2].fd);
	for (unsigned i = 0; i < 200; i++) {
		json_t *reply;

		reader_say(&r[DAEMON_TRACES_MAX], "{\"command\":\"trace\"}");
		reply = reader_line(&r[DAEMON_TRACES_MAX], 10000);
		if (json_is_true(json_object_get(reply, "ok")))
			i = 1000;
		json_decref(reply);
		usleep(10000);
		if (i == 199)
			fail_msg("the place of a dead reader is not given away");
	}
	/* viommud dies. */
	viommud_end(&d, SIGKILL);
	assert_null(reader_line(&r[0], 10000));
	for (unsigned i = 0; i <= DAEMON_TRACES_MAX; i++)
		if (i != 2)
			close(r[i].fd);
}

/* ---- viommu itself ---- */

/* Starts it; *out is what it says, errors included. */
static pid_t start_viommu(const struct viommud *d, const char *const *args, int *out)
{
	const char *argv[16] = {viommu, args[0], "--control"};
	char path[80];
	int fds[2];
	pid_t pid;
	unsigned i = 0;

	snprintf(path, sizeof(path), "%s/control", d->dir);
	argv[3] = path;
	while (args[++i])
		argv[3 + i] = args[i];
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		execv(viommu, (char *const *)argv);
		_exit(99);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

/* All it said; its exit status, or -1. */
static int finish_viommu(pid_t pid, int out, char *text, size_t room)
{
	size_t len = 0;
	int status;
	ssize_t n;

	while ((n = read(out, text + len, room - len - 1)) > 0)
		len += (size_t)n;
	text[len] = 0;
	close(out);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void wait_for_trace(struct guest *g, int out)
{
	struct pollfd wait = {.fd = out, .events = POLLIN};

	/* Until it is there nothing is told. */
	for (unsigned i = 0; i < 500 && poll(&wait, 1, 20) <= 0; i++)
		map_some(g, 1);
}

static void expect_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in:\n%s", part, text);
}

/* ---- an NVMe controller in place of dmatest ---- */

#define NVME_ASQ 0x100000u
#define NVME_ACQ 0x101000u
#define NVME_SQ	 0x102000u
#define NVME_CQ	 0x103000u
#define NVME_LEN 16u

static void nvme_put(struct guest *g, uint64_t offset, uint64_t value, uint32_t len)
{
	assert_true(vfu_client_write(&g->dma, VFU_REGION_BAR0, offset, &value, len) >= 0);
}

/* The command that is the nth of its queue (0: admin); waits for its completion. */
static void nvme_do(struct guest *g, unsigned queue, unsigned n, struct nvme_cmd cmd)
{
	uint8_t *sq = g->ram + (queue ? NVME_SQ : NVME_ASQ) + n % NVME_LEN * 64;
	struct nvme_cqe *cqe =
		(void *)(g->ram + (queue ? NVME_CQ : NVME_ACQ) + n % NVME_LEN * 16);
	unsigned phase = !(n / NVME_LEN & 1), tries = 10000;

	cmd.cid = (uint16_t)n;
	memcpy(sq, &cmd, sizeof(cmd));
	nvme_put(g, NVME_REG_DBS + queue * 8, (n + 1) % NVME_LEN, 4);
	while ((__atomic_load_n(&cqe->status, __ATOMIC_ACQUIRE) & 1) != phase && tries--)
		usleep(1000);
	assert_int_equal(cqe->status, phase);
	nvme_put(g, NVME_REG_DBS + queue * 8 + 4, (n + 1) % NVME_LEN, 4);
}

static void nvme_enable(struct guest *g)
{
	nvme_put(g, NVME_REG_AQA, (NVME_LEN - 1) * 0x10001u, 4);
	nvme_put(g, NVME_REG_ASQ, NVME_ASQ, 8);
	nvme_put(g, NVME_REG_ACQ, NVME_ACQ, 8);
	nvme_put(g, NVME_REG_CC, NVME_CC_EN | 6u << 16 | 4u << 20, 4);
	nvme_do(g, 0, 0,
		(struct nvme_cmd){.opcode = NVME_ADMIN_CREATE_CQ,
				  .prp1 = NVME_CQ,
				  .cdw10 = 1 | (NVME_LEN - 1) << 16,
				  .cdw11 = 1});
	nvme_do(g, 0, 1,
		(struct nvme_cmd){.opcode = NVME_ADMIN_CREATE_SQ,
				  .prp1 = NVME_SQ,
				  .cdw10 = 1 | (NVME_LEN - 1) << 16,
				  .cdw11 = 1 | 1 << 16});
}

/* So many reads and writes are counted as so many, in every picture. */
static void io_latency(void **state)
{
	static const char *const options[] = {"--no-seccomp", "--endpoint",
					      "nvme,id=dma,ep=0x28,backend=null,size=1M",
					      NULL};
	struct nvme_cmd read = {.opcode = NVME_IO_READ, .nsid = 1, .prp1 = 0x200000};
	static const char *const stat[] = {"stat", NULL};
	char text[16384];
	struct viommud d;
	struct guest g;
	pid_t pid;
	int out;

	(void)state;
	viommud_start(&d, viommud, options);
	guest_start(&g, &d);
	nvme_enable(&g);
	for (unsigned i = 0; i < 40; i++) {
		read.opcode = i % 4 ? NVME_IO_READ : NVME_IO_WRITE;
		nvme_do(&g, 1, i, read);
	}
	assert_int_equal(viommud_stat(&d, "endpoints.0.latency_ns.read.nr"), 30);
	assert_int_equal(viommud_stat(&d, "endpoints.0.latency_ns.write.nr"), 10);
	assert_true(viommud_stat(&d, "endpoints.0.latency_ns.read.max") > 0);
	pid = start_viommu(&d, stat, &out);
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 0);
	expect_in(text, "\nI/O latency ");
	expect_in(text, "\ndma read                   30 ");
	expect_in(text, "\ndma write                  10 ");
	guest_kill(&g);
	end_well(&d);
}

static void program(void **state)
{
	static const char *const trace[] = {"trace", "--count", "2",   "--endpoint",
					    "dma",   "--type",	"map", NULL};
	static const char *const json[] = {"trace",   "--faults", "--json",
					   "--count", "1",	  NULL};
	static const char *const timed[] = {"trace", "--for", "0.2", NULL};
	static const char *const unknown[] = {"trace", "--endpoint", "tape", NULL};
	static const char *const stat[] = {"stat", NULL};
	static const char *const top[] = {"top", "-n", "2", "--delay", "0.1", NULL};
	static const char *const watch[] = {"top", "--delay", "0.1", NULL};
	static const char *const endless[] = {"trace", NULL};
	char text[16384];
	struct viommud d;
	struct guest g;
	pid_t pid, watching;
	int out, watched, status;

	(void)state;
	viommud_start(&d, viommud, usual);
	guest_start(&g, &d);
	assert_int_equal(guest_attach(&g, 1, 0x28), VIRTIO_IOMMU_S_OK);
	pid = start_viommu(&d, trace, &out);
	wait_for_trace(&g, out);
	map_some(&g, 1);
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 0);
	expect_in(text, " map     domain 1 0x100000-0x100fff to 0x20000 rw");
	pid = start_viommu(&d, json, &out);
	for (unsigned i = 0; i < 100; i++) {
		struct pollfd wait = {.fd = out, .events = POLLIN};

		guest_fill(&g, 0x200000, 16, 1);
		if (poll(&wait, 1, 20) > 0)
			break;
	}
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 0);
	expect_in(text, "\"address\":\"0x200000\"}\n");
	pid = start_viommu(&d, timed, &out);
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 0);
	pid = start_viommu(&d, unknown, &out);
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 1);
	expect_in(text, "tape");
	pid = start_viommu(&d, stat, &out);
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 0);
	expect_in(text, "p99");
	expect_in(text, "batch size");
	pid = start_viommu(&d, top, &out);
	map_some(&g, 20);
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 0);
	expect_in(text, "a second     map unmap");
	expect_in(text, "\ndma          dmatest");
	/* Ctrl-C is a good end; viommud's death is not. */
	pid = start_viommu(&d, endless, &out);
	wait_for_trace(&g, out);
	kill(pid, SIGINT);
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 0);
	pid = start_viommu(&d, endless, &out);
	wait_for_trace(&g, out);
	watching = start_viommu(&d, watch, &watched);
	assert_true(read(watched, text, sizeof(text)) > 0);
	viommud_end(&d, SIGKILL);
	assert_int_equal(finish_viommu(pid, out, text, sizeof(text)), 1);
	expect_in(text, "viommud has ended");
	assert_int_equal(waitpid(watching, &status, 0), watching);
	assert_int_equal(WEXITSTATUS(status), 1);
	close(watched);
	guest_kill(&g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histograms),
		cmocka_unit_test(readers),
		cmocka_unit_test(slow_reader),
		cmocka_unit_test(limits_and_nonsense),
		cmocka_unit_test(io_latency),
		cmocka_unit_test(program),
		cmocka_unit_test(readers_behind_the_filter),
	};

	if (argc < 3)
		return 77;
	viommud = argv[1];
	viommu = argv[2];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
