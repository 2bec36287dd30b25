/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* viommud as a program, with a VMM of the test's own. Argument: the program. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpus.h"
#include "guest_kit.h"
#include "limits.h"
#include "sched_kit.h"
#include <viommu/proto.h>
#include <viommu/virtio_pci.h>

#include "test.h"

#define RW 3u

static const char *program;
static const char *const usual[] = {"--no-seccomp",
				    "--iommu",
				    "bypass=off",
				    "--endpoint",
				    "dmatest,id=dma,ep=0x28",
				    "--endpoint",
				    "blk,id=disk,ep=0x20,backend=mem,size=1M",
				    NULL};

static bool exists(const struct viommud *d, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", d->dir, name);
	return !access(path, F_OK);
}

/* Ended as asked, and the sockets are gone. */
static void end_well(struct viommud *d, int signal_nr)
{
	int status = viommud_end(d, signal_nr);

	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("viommud: wait status %#x", status);
	if (rmdir(d->dir))
		fail_msg("%s: %s", d->dir, strerror(errno));
}

static void boot(struct viommud *d, struct guest *g, const char *const *options)
{
	viommud_start(d, program, options);
	guest_start(g, d);
}

static void shut(struct viommud *d, struct guest *g)
{
	guest_kill(g);
	end_well(d, SIGTERM);
}

/* Maps, does DMA, is refused where nothing is mapped. */
static void use(struct guest *g)
{
	assert_int_equal(guest_attach(g, 1, 0x28), VIRTIO_IOMMU_S_OK);
	assert_int_equal(guest_map(g, 1, 0x100000, 0x100fff, 0x20000, RW),
			 VIRTIO_IOMMU_S_OK);
	assert_int_equal(guest_fill(g, 0x100000, 4096, 0x5a), 0);
	assert_int_equal(g->ram[0x20000], 0x5a);
	assert_int_equal(g->ram[0x20fff], 0x5a);
	assert_int_equal(g->ram[0x21000], 0);
	assert_int_equal(guest_fill(g, 0x200000, 16, 0x5b), EFAULT);
	assert_int_equal(guest_fill(g, 0x20000, 16, 0x5b), EFAULT);
	assert_int_equal(g->ram[0x20000], 0x5a);
}

static void guards_memory(void **state)
{
	struct viommud d;
	struct guest g;
	json_t *reply, *fault;

	(void)state;
	boot(&d, &g, usual);
	/* Not attached to anything, and bypass is off. */
	assert_int_equal(guest_fill(&g, 0x20000, 16, 1), EFAULT);
	use(&g);
	assert_int_equal(viommud_stat(&d, "iommu.requests.map.ok"), 1);
	assert_int_equal(viommud_stat(&d, "iommu.mappings"), 1);
	assert_int_equal(viommud_stat(&d, "iommu.faults.mapping"), 2);
	assert_int_equal(
		viommud_number(&d, "{\"command\":\"domains\"}", "result.1.bytes"), 4096);
	reply = viommud_ask(&d, "{\"command\":\"faults\"}");
	assert_int_equal(json_array_size(json_object_get(reply, "result")), 3);
	fault = json_array_get(json_object_get(reply, "result"), 1);
	assert_string_equal(json_string_value(json_object_get(fault, "address")),
			    "0x200000");
	assert_string_equal(json_string_value(json_object_get(fault, "access")), "w");
	assert_int_equal(json_integer_value(json_object_get(fault, "endpoint")), 0x28);
	json_decref(reply);
	assert_int_equal(guest_unmap(&g, 1, 0x100000, 0x100fff), VIRTIO_IOMMU_S_OK);
	assert_int_equal(guest_fill(&g, 0x100000, 16, 1), EFAULT);
	assert_int_equal(viommud_stat(&d, "iommu.mappings"), 0);
	shut(&d, &g);
}

/* The features that the IOMMU offers (VIRTIO 1.4, "Common configuration"). */
static uint64_t offered(struct guest *g)
{
	uint32_t word[2];

	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(vfu_client_write(&g->iommu, 0, g->common, &i, 4), 0);
		assert_true(vfu_client_read(&g->iommu, 0, g->common + 4, &word[i], 4) >=
			    0);
	}
	return word[0] | (uint64_t)word[1] << 32;
}

static void rings_as_asked(void **state)
{
	static const char *const bare[] = {"--iommu", "bypass=off,packed=off,indirect=on",
					   "--endpoint", "dmatest,id=dma,ep=0x28", NULL};
	const uint64_t indirect = 1ull << VIOMMU_VIRTIO_F_RING_INDIRECT_DESC;
	const uint64_t packed = 1ull << VIOMMU_VIRTIO_F_RING_PACKED;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct viommud d;
		struct guest g;

		boot(&d, &g, i ? bare : usual);
		assert_int_equal(offered(&g) & (indirect | packed),
				 i ? indirect : packed);
		use(&g);
		shut(&d, &g);
	}
}

/* Without a word from the old VMM a new one finds everything as at the start. */
static void next_vm(void **state)
{
	struct viommud d;
	struct guest g;
	unsigned i;

	(void)state;
	viommud_start(&d, program, usual);
	for (i = 1; i <= 5; i++) {
		guest_start(&g, &d);
		assert_int_equal(guest_fill(&g, 0x20000, 16, 1), EFAULT);
		use(&g);
		guest_kill(&g);
	}
	/* Which takes a moment to be seen. */
	for (i = 0; i < 100 && viommud_stat(&d, "iommu.mappings"); i++)
		usleep(10000);
	assert_true(i < 100);
	assert_int_equal(viommud_stat(&d, "iommu.socket.connections"), 5);
	end_well(&d, SIGTERM);
}

/* Everything that was the IOMMU driver's. */
#define DRIVER_LEN 0x20000u

static const struct virtio_iommu_req_attach detach_it = {
	.head.type = VIRTIO_IOMMU_T_DETACH, .domain = 1, .endpoint = 0x28};

/* Long enough for a turn that should not do anything. */
static void let_it_turn(struct guest *g)
{
	uint32_t word;

	for (unsigned i = 0; i < 20; i++) {
		assert_true(vfu_client_read(&g->iommu, VFU_REGION_CONFIG, 0, &word, 4) >=
			    0);
		usleep(2000);
	}
}

/* A driver that takes bus mastering away has left: nothing of its rings is looked at
 * or written, also when the next one masters the bus, until that one resets the
 * device. What it mapped stays, and so does what it did not. */
static void a_driver_without_bus_mastering_is_gone(void **state)
{
	static uint8_t before[DRIVER_LEN];
	struct viommud d;
	struct guest g;
	unsigned used;

	(void)state;
	boot(&d, &g, usual);
	use(&g);
	used = guest_used(&g);
	guest_bus_master(&g, false);
	let_it_turn(&g);
	guest_post_event(&g);
	guest_send(&g, &detach_it, sizeof(detach_it));
	memcpy(before, g.ram, sizeof(before));
	for (unsigned on = 0; on < 2; on++) {
		assert_int_equal(guest_fill(&g, 0x100000, 4096, 0x77), 0);
		assert_int_equal(guest_fill(&g, 0x200000, 16, 0x5b), EFAULT);
		let_it_turn(&g);
		assert_int_equal(guest_used(&g), used);
		assert_memory_equal(g.ram, before, sizeof(before));
		guest_bus_master(&g, true);
	}
	guest_drive(&g);
	use(&g);
	assert_int_equal(guest_request(&g, &detach_it, sizeof(detach_it)),
			 VIRTIO_IOMMU_S_OK);
	shut(&d, &g);
}

/* However short it was. */
static void a_driver_that_left_for_a_moment_is_gone(void **state)
{
	static uint8_t before[DRIVER_LEN];
	struct viommud d;
	struct guest g;
	unsigned used;

	(void)state;
	boot(&d, &g, usual);
	use(&g);
	used = guest_used(&g);
	guest_bus_master_blinks(&g);
	guest_post_event(&g);
	guest_send(&g, &detach_it, sizeof(detach_it));
	memcpy(before, g.ram, sizeof(before));
	assert_int_equal(guest_fill(&g, 0x100000, 4096, 0x77), 0);
	assert_int_equal(guest_fill(&g, 0x200000, 16, 0x5b), EFAULT);
	let_it_turn(&g);
	assert_int_equal(guest_used(&g), used);
	assert_memory_equal(g.ram, before, sizeof(before));
	guest_drive(&g);
	use(&g);
	shut(&d, &g);
}

/* Nothing happens before, whatever the bus was on the way there. */
static void a_driver_masters_the_bus_late(void **state)
{
	static uint8_t before[DRIVER_LEN];
	struct viommud d;
	struct guest g;

	(void)state;
	boot(&d, &g, usual);
	use(&g);
	guest_bus_master(&g, false);
	guest_drive(&g);
	let_it_turn(&g);
	guest_send(&g, &detach_it, sizeof(detach_it));
	memcpy(before, g.ram, sizeof(before));
	let_it_turn(&g);
	assert_int_equal(guest_used(&g), 0);
	assert_memory_equal(g.ram, before, sizeof(before));
	guest_bus_master(&g, true);
	assert_int_equal(guest_answer(&g), VIRTIO_IOMMU_S_INVAL);
	use(&g);
	shut(&d, &g);
}

/* VIRTIO 1.4, "Device Status Field": the device MUST NOT consume buffers before. */
static void nothing_is_taken_before_driver_ok(void **state)
{
	struct viommud d;
	struct guest g;

	(void)state;
	boot(&d, &g, usual);
	guest_prepare(&g);
	guest_send(&g, &detach_it, sizeof(detach_it));
	let_it_turn(&g);
	assert_int_equal(guest_used(&g), 0);
	guest_driver_ok(&g);
	assert_int_equal(guest_answer(&g), VIRTIO_IOMMU_S_INVAL);
	shut(&d, &g);
}

static void many_requests(void **state)
{
	struct viommud d;
	struct guest g;
	uint64_t i;

	(void)state;
	boot(&d, &g, usual);
	assert_int_equal(guest_attach(&g, 7, 0x28), VIRTIO_IOMMU_S_OK);
	for (i = 0; i < 300; i++)
		assert_int_equal(
			guest_map(&g, 7, i << 12, (i << 12) + 0xfff, i << 12, RW),
			VIRTIO_IOMMU_S_OK);
	assert_int_equal(
		viommud_number(&d, "{\"command\":\"domains\"}", "result.7.mappings"),
		300);
	assert_int_equal(
		viommud_number(&d, "{\"command\":\"mappings\",\"skip\":299,\"limit\":9}",
			       "result.mappings.0.domain"),
		7);
	assert_int_equal(guest_unmap(&g, 7, 0, UINT64_MAX), VIRTIO_IOMMU_S_OK);
	guest_kill(&g);
	end_well(&d, SIGINT);
}

/* Each request, and words its error must hold (NULL: it must succeed). */
static void check_answers(struct viommud *d, const char *const (*table)[2], unsigned nr)
{
	const char *error;
	json_t *reply;
	unsigned i;

	for (i = 0; i < nr; i++) {
		reply = viommud_ask(d, table[i][0]);
		error = json_string_value(json_object_get(reply, "error"));
		if (table[i][1] ? !error || !strstr(error, table[i][1]) : error != NULL)
			fail_msg("%s: %s", table[i][0], error ? error : "ok");
		json_decref(reply);
	}
}

static void control(void **state)
{
	static const char *const table[][2] = {
		{"{\"command\":\"help\"}", NULL},
		{"{\"command\":\"version\"}", NULL},
		{"{\"command\":\"endpoints\"}", NULL},
		{"{\"command\":\"faults\",\"limit\":0}", NULL},
		{"{\"command\":\"faults\",\"limit\":256}", NULL},
		{"{\"command\":\"faults\",\"limit\":257}", "from 0 to 256"},
		{"{\"command\":\"mappings\",\"limit\":4096}", NULL},
		{"{\"command\":\"mappings\",\"limit\":4097}", "from 0 to 4096"},
		{"{\"command\":\"mappings\",\"domain\":-1}", "\"domain\""},
		{"{\"command\":\"log-level\",\"level\":\"warn\"}", NULL},
		{"{\"command\":\"log-level\",\"level\":\"loud\"}", "loud"},
		{"{\"command\":\"poll\",\"us\":\"auto\"}", NULL},
		{"{\"command\":\"poll\",\"us\":50,\"threads\":\"iommu\"}", NULL},
		{"{\"command\":\"poll\",\"us\":-1}", "microseconds"},
		{"{\"command\":\"poll\",\"us\":1,\"threads\":3}", "\"threads\""},
		{"{\"command\":\"poll\",\"us\":1,\"threads\":\"some\"}", "some"},
		{"{\"command\":\"resize\",\"endpoint\":\"disk\",\"size\":\"2M\"}", NULL},
		{"{\"command\":\"resize\",\"endpoint\":\"disk\"}", "size"},
		{"{\"command\":\"resize\",\"endpoint\":\"dma\",\"size\":\"2M\"}", "dma"},
		{"{\"command\":\"resize\",\"endpoint\":\"none\",\"size\":1}", "none"},
		{"{\"command\":\"endpoint-control\",\"endpoint\":\"disk\"}", "verb"},
		{"{\"command\":\"endpoint-control\",\"endpoint\":\"disk\",\"verb\":"
		 "\"x\"}",
		 "x"},
		{"{\"command\":\"remove-endpoint\",\"endpoint\":\"none\"}", "none"},
		{"{\"command\":\"add-endpoint\",\"endpoint\":\"tape,id=t,ep=9\"}",
		 "tape"},
		{"{\"command\":\"add-endpoint\",\"endpoint\":\"dmatest,id=dma,ep=9\"}",
		 "in use"},
		{"{\"command\":\"add-endpoint\",\"endpoint\":\"dmatest,id=t,ep=0x28\"}",
		 "is taken"},
		{"{\"command\":\"stat\",\"colour\":1}", "colour"},
		{"{\"command\":\"dance\"}", "dance"},
	};
	struct viommud d;

	(void)state;
	_Static_assert(DAEMON_FAULTS_KEPT == 256 && DAEMON_LIST_MAX == 4096,
		       "the limits above");
	viommud_start(&d, program, usual);
	check_answers(&d, table, sizeof(table) / sizeof(table[0]));
	assert_int_equal(viommud_number(&d, "{\"command\":\"endpoints\"}",
					"result.1.counters.capacity_bytes"),
			 2 << 20);
	json_decref(viommud_ask(&d, "{\"command\":\"shutdown\"}"));
	end_well(&d, 0);
}

/* The first byte of a request, with descriptors. */
static void send_with(struct viommud *d, const char *request, const int *fds, unsigned nr)
{
	_Alignas(struct cmsghdr) char space[CMSG_SPACE(8 * sizeof(int))] = {0};
	struct iovec iov = {(void *)request, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space,
			     .msg_controllen = CMSG_SPACE(nr * sizeof(int))};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(head), fds, nr * sizeof(int));
	assert_int_equal(sendmsg(d->control, &msg, 0), 1);
}

/* Sends a request with descriptors; the reply. */
static json_t *ask_with(struct viommud *d, const char *request, const int *fds,
			unsigned nr)
{
	send_with(d, request, fds, nr);
	return viommud_ask(d, request + 1);
}

static void check_with(struct viommud *d, const char *request, const int *fds,
		       unsigned nr, const char *error)
{
	json_t *reply = ask_with(d, request, fds, nr);
	const char *said = json_string_value(json_object_get(reply, "error"));

	if (error ? !said || !strstr(said, error) : said != NULL)
		fail_msg("%s: %s", request, said ? said : "no error");
	json_decref(reply);
}

/* guest_fill() by a child: the connection may end before the answer. */
static void fill_and_forget(struct guest *g, uint64_t iova, uint64_t len)
{
	pid_t pid = fork();

	if (!pid) {
		uint8_t go[4] = {3}; /* FILL */
		uint64_t args[4] = {iova, 0, len, 0x77};

		vfu_client_write(&g->dma, 0, 0x10, args, 8);
		vfu_client_write(&g->dma, 0, 0x20, args + 2, 8);
		vfu_client_write(&g->dma, 0, 0x30, go, 4);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* The file behind guest memory is cut off while it is in use. */
static void memory_is_cut_off(void **state)
{
	struct viommud d;
	struct guest g;
	unsigned i, round;

	(void)state;
	viommud_start(&d, program, usual + 1);
	for (round = 0; round < 2; round++) {
		guest_start(&g, &d);
		use(&g);
		assert_int_equal(guest_map(&g, 1, 0x800000, 0x8fffff, 0x800000, RW),
				 VIRTIO_IOMMU_S_OK);
		assert_int_equal(ftruncate(g.memfd, 0x400000), 0);
		fill_and_forget(&g, 0x800000, 0x100000);
		for (i = 0; i < 300 && viommud_stat(&d, "iommu.mappings"); i++)
			usleep(10000);
		assert_true(i < 300); /* the connections were ended */
		guest_kill(&g);
	}
	guest_start(&g, &d);
	use(&g);
	shut(&d, &g);
}

static void sealed_only(void **state)
{
	static const char *const options[] = {"--sealed-only", "--endpoint",
					      "dmatest,id=dma,ep=0x28", NULL};
	struct vfu_client client = {0};
	int ram = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct viommud d;
	char path[64];

	(void)state;
	assert_int_equal(ftruncate(ram, 1 << 20), 0);
	viommud_start(&d, program, options);
	snprintf(path, sizeof(path), "%s/dma.sock", d.dir);
	assert_true(vfu_client_connect(&client, path) >= 0);
	assert_true(vfu_client_version(&client, vfu_client_qemu_json) >= 0);
	assert_int_equal(vfu_client_dma_map(&client, 0, 1 << 20, ram, 0, 3), -EPERM);
	assert_int_equal(fcntl(ram, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(vfu_client_dma_map(&client, 0, 1 << 20, ram, 0, 3), 0);
	vfu_client_close(&client);
	close(ram);
	end_well(&d, SIGTERM);
}

static unsigned fds_of(const struct viommud *d)
{
	char path[40];
	unsigned nr = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)d->pid);
	dir = opendir(path);
	while (dir && readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

#define ADD "{\"command\":\"add-endpoint\",\"endpoint\":\""

/* Behind the filter viommud opens nothing: files come through the socket. */
static void files_are_passed(void **state)
{
	static const char *const filtered[] = {"--endpoint", "dmatest,id=dma,ep=0x28",
					       NULL};
	static const char *const table[][2] = {
		{ADD "blk,id=b,ep=1,path=/etc/hosts\"}", "/etc/hosts"},
		{ADD "blk,id=b,ep=1,fd=0\"}", "fd=0"},
		{ADD "blk,id=b,ep=1,fd=3\",\"descriptors\":1}", "0 came"},
		{ADD "blk,id=b,ep=1,fd=3\",\"descriptors\":[3]}", "descriptors"},
	};
	int disk = memfd_create("disk", MFD_CLOEXEC), more[DAEMON_PASSED_MAX], both[2];
	int pipes[2];
	char byte;
	struct viommud d;
	unsigned i, before;

	(void)state;
	assert_int_equal(ftruncate(disk, 1 << 20), 0);
	assert_int_equal(pipe(pipes), 0);
	viommud_start(&d, program, filtered);
	check_answers(&d, table, sizeof(table) / sizeof(table[0]));
	before = fds_of(&d);
	check_with(&d, ADD "blk,id=b,ep=1,fd=1\",\"descriptors\":1}", &disk, 1, "fd=0");
	check_with(&d, ADD "net,id=b,ep=1,fd=0\",\"descriptors\":1}", &disk, 1, "disk");
	check_with(&d, ADD "blk,id=b,ep=1,fd=0\",\"descriptors\":1}", pipes, 1,
		   "neither a file");
	both[0] = pipes[0];
	both[1] = disk;
	check_with(&d, ADD "blk,id=b,ep=1,cache=none,fd=0+1\",\"descriptors\":2}", both,
		   2, "neither a file");
	assert_int_equal(fds_of(&d), before);
	both[0] = disk;
	check_with(&d, ADD "blk,id=b,ep=1,fd=0,serial=a,,b\",\"descriptors\":1}", &disk,
		   1, NULL);
	assert_true(exists(&d, "b.sock"));
	check_with(&d, ADD "nvme,id=n,ep=2,cache=none,fd=0+1\",\"descriptors\":2}", both,
		   2, NULL);
	check_with(&d, "{\"command\":\"remove-endpoint\",\"endpoint\":\"b\"}", &disk, 1,
		   NULL);
	check_with(&d, "{\"command\":\"remove-endpoint\",\"endpoint\":\"n\"}", &disk, 1,
		   NULL);
	/* Those that no request has used wait, up to a limit; then the client goes
	 * and all of them with it. */
	assert_int_equal(fds_of(&d), before + 2);
	for (i = 0; i < DAEMON_PASSED_MAX; i++)
		more[i] = disk;
	check_with(&d, "{\"command\":\"version\"}", more, DAEMON_PASSED_MAX - 2, NULL);
	assert_int_equal(fds_of(&d), before + DAEMON_PASSED_MAX);
	send_with(&d, "{", more, 1);
	assert_int_equal(recv(d.control, &byte, 1, 0), 0);
	assert_int_equal(fds_of(&d), before - 1);
	close(disk);
	close(pipes[0]);
	close(pipes[1]);
	end_well(&d, SIGTERM);
}

static void hot_plug(void **state)
{
	static const char *const table[][2] = {
		{"{\"command\":\"add-endpoint\",\"endpoint\":"
		 "\"blk,id=more,ep=0x30,backend=null,size=1G\"}",
		 NULL},
		{"{\"command\":\"remove-endpoint\",\"endpoint\":\"dma\"}", NULL},
		{"{\"command\":\"add-endpoint\",\"endpoint\":\"dmatest,id=dma,ep=0x28\"}",
		 NULL},
	};
	struct viommud d;
	struct guest g;

	(void)state;
	boot(&d, &g, usual);
	use(&g);
	/* With a client that is connected and mappings that are in use. */
	check_answers(&d, table, 1);
	assert_true(exists(&d, "more.sock"));
	check_answers(&d, table + 1, 1);
	assert_false(exists(&d, "dma.sock"));
	guest_kill(&g);
	check_answers(&d, table + 2, 1);
	guest_start(&g, &d);
	use(&g);
	shut(&d, &g);
}

static void ends_with_the_vm(void **state)
{
	static const char *const options[] = {"--no-seccomp", "--exit-with-vm",
					      "--endpoint", "dmatest,id=dma,ep=0x28",
					      NULL};
	struct viommud d;
	struct guest g;

	(void)state;
	boot(&d, &g, options);
	guest_kill(&g);
	end_well(&d, 0);
}

static void many_endpoints(void **state)
{
	const char *options[2 * 10 + 6] = {"--no-seccomp", "--threads", "4"};
	char text[10][64];
	struct viommud d;
	struct guest g;
	unsigned i, n = 3;

	(void)state;
	for (i = 0; i < 10; i++) {
		snprintf(text[i], sizeof(text[i]),
			 "blk,id=d%u,ep=%u,backend=null,size=1G", i, i);
		options[n++] = "--endpoint";
		options[n++] = text[i];
	}
	options[n++] = "--endpoint";
	options[n] = "dmatest,id=dma,ep=0x28";
	boot(&d, &g, options);
	use(&g);
	assert_int_equal(viommud_stat(&d, "iommu.endpoints"), 11);
	shut(&d, &g);
}

/* Scheduling policy of the thread called so; not the first, which is the program's. */
static int policy_of(const struct viommud *d, const char *name)
{
	char path[300], comm[32];
	struct dirent *entry;
	int policy = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", d->pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		int tid = atoi(entry->d_name);
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", d->pid, tid);
		f = tid && tid != d->pid ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		assert_int_equal(fscanf(f, "%31[^\n]", comm), 1);
		fclose(f);
		if (!strcmp(comm, name))
			policy = sched_getscheduler(tid);
	}
	closedir(dir);
	return policy;
}

/* Only the IOMMU's thread, only while there are requests, and only if we may and are not
 * told otherwise; behind the filter, with the capabilities that are not wanted for it
 * gone. */
static void goes_before_others(const char *threads, const char *priority)
{
	const char *options[] = {
		"--threads", threads, priority, "--endpoint", "dmatest,id=dma,ep=0x28",
		NULL};
	int own = sched_getscheduler(0), first = own;
	unsigned tries = 2000;
	struct viommud d;
	struct guest g;

	if (!strcmp(priority, "--priority"))
		first = first_policy();
	boot(&d, &g, options);
	use(&g);
	do
		assert_int_equal(guest_attach(&g, 1, 0x28), VIRTIO_IOMMU_S_OK);
	while (policy_of(&d, "iommu") != first && --tries);
	assert_int_not_equal(tries, 0);
	assert_int_equal(policy_of(&d, "endpoints-0"), *threads == '0' ? -1 : own);
	assert_int_equal(sched_getscheduler(d.pid), own);
	/* Each answer is a look. */
	do {
		json_decref(viommud_ask(&d, "{\"command\":\"stat\"}"));
		usleep(2000);
	} while (policy_of(&d, "iommu") != own && --tries);
	assert_int_not_equal(tries, 0);
	shut(&d, &g);
}

static void goes_first(void **state)
{
	(void)state;
	goes_before_others("1", "--priority");
	goes_before_others("0", "--priority");
	goes_before_others("0", "--no-priority");
}

static void on_thread(struct viommud *d, unsigned endpoint, const char *thread)
{
	json_t *stat = viommud_ask(d, "{\"command\":\"stat\"}");
	json_t *list = json_object_get(json_object_get(stat, "result"), "endpoints");

	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(list, endpoint), "thread")),
			    thread);
	json_decref(stat);
}

/* On few CPUs endpoints share the IOMMU's thread, but for those that could make it wait
 * for storage; also those that come later. */
static void threads_by_cpus(void **state)
{
	const char *options[] = {
		"--no-seccomp",		  "--threads",	"auto", "--endpoint",
		"dmatest,id=dma,ep=0x28", "--endpoint", NULL,	NULL};
	char sync[128], path[] = "/tmp/viommu-test-XXXXXX";
	int fd = mkstemp(path);
	cpu_set_t all, few;
	struct viommud d;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	snprintf(sync, sizeof(sync), "blk,id=disk,ep=0x30,path=%s,io=sync", path);
	options[6] = sync;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&few);
	CPU_SET(sched_getcpu(), &few);
	assert_int_equal(sched_setaffinity(0, sizeof(few), &few), 0);
	viommud_start(&d, program, options);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	on_thread(&d, 0, "iommu");
	on_thread(&d, 1, "endpoints-0");
	json_decref(viommud_ask(&d, "{\"command\":\"add-endpoint\",\"endpoint\":"
				    "\"blk,id=more,ep=0x31,backend=null,size=1G\"}"));
	on_thread(&d, 2, "iommu");
	end_well(&d, SIGTERM);
	viommud_start(&d, program, options);
	on_thread(&d, 0,
		  cpus_usable(CPUS_MEMBERSHIP, CPUS_GROUPS) > 2 ? "endpoints-0"
								: "iommu");
	end_well(&d, SIGTERM);
	options[2] = "0";
	viommud_start(&d, program, options);
	on_thread(&d, 1, "iommu");
	end_well(&d, SIGTERM);
	close(fd);
	unlink(path);
}

static void behind_the_filter(void **state)
{
	struct viommud d;
	struct guest g;

	(void)state;
	boot(&d, &g, usual + 1);
	use(&g);
	json_decref(viommud_ask(&d, "{\"command\":\"add-endpoint\",\"endpoint\":"
				    "\"blk,id=more,ep=0x30,backend=null,size=1G\"}"));
	assert_true(exists(&d, "more.sock"));
	/* A file cannot be opened any more, which is an error and no more. */
	json_decref(viommud_ask(&d, "{\"command\":\"add-endpoint\",\"endpoint\":"
				    "\"blk,id=file,ep=0x31,path=/etc/passwd\"}"));
	assert_false(exists(&d, "file.sock"));
	guest_kill(&g);
	guest_start(&g, &d);
	use(&g);
	shut(&d, &g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guards_memory),
		cmocka_unit_test(rings_as_asked),
		cmocka_unit_test(next_vm),
		cmocka_unit_test(a_driver_without_bus_mastering_is_gone),
		cmocka_unit_test(a_driver_that_left_for_a_moment_is_gone),
		cmocka_unit_test(a_driver_masters_the_bus_late),
		cmocka_unit_test(nothing_is_taken_before_driver_ok),
		cmocka_unit_test(many_requests),
		cmocka_unit_test(control),
		cmocka_unit_test(files_are_passed),
		cmocka_unit_test(memory_is_cut_off),
		cmocka_unit_test(sealed_only),
		cmocka_unit_test(hot_plug),
		cmocka_unit_test(ends_with_the_vm),
		cmocka_unit_test(many_endpoints),
		cmocka_unit_test(goes_first),
		cmocka_unit_test(threads_by_cpus),
		cmocka_unit_test(behind_the_filter),
	};

	if (argc < 2)
		return 77;
	program = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
