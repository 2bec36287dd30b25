/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the main thread asks of the others, when they do not answer in time. A thread is
 * made to wait for the test, so that an answer comes too late however slow or fast the
 * machine is.
 */
#include <pthread.h>
#include <unistd.h>

#include "server.h"
#include "test.h"

#define DISK "blk,id=disk,ep=0x30,backend=null,size=1M"

static char dir[] = "/tmp/viommu-test-XXXXXX";

struct fixture {
	struct settings *settings;
	struct log log;
	struct server *server;
	struct problem problem;
};

static int set_up(void **state)
{
	static char *argv[] = {
		"viommud", "--socket-dir",  dir,	  "--threads",
		"1",	   "--no-priority", "--endpoint", "dmatest,id=dma,ep=0x28"};
	struct fixture *f = calloc(1, sizeof(*f));

	log_init(&f->log, STDERR_FILENO, VIOMMU_LOG_ERROR);
	if (!settings_parse(sizeof(argv) / sizeof(argv[0]), argv, &f->settings,
			    &f->problem) ||
	    !server_create(f->settings, &f->log, &f->server, &f->problem) ||
	    !server_listen(f->server, &f->problem) ||
	    !server_start(f->server, &f->problem))
		fail_msg("%s", f->problem.text);
	assert_int_equal(f->server->call_timeout_ms, DAEMON_CALL_TIMEOUT_MS);
	server_open(f->server);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	server_destroy(f->server);
	settings_free(f->settings);
	free(f);
	return 0;
}

/* ---- a thread that does not answer ---- */

struct block {
	struct fixture *f;
	struct loop *loop;
	int entered[2], release[2];
	pthread_t caller;
};

static void wait_for_test(void *arg)
{
	struct block *b = *(struct block **)arg;
	char c = 0;

	assert_int_equal(write(b->entered[1], &c, 1), 1);
	assert_int_equal(read(b->release[0], &c, 1), 1);
}

static void *call_it(void *opaque)
{
	struct block **arg = malloc(sizeof(*arg));
	struct block *b = opaque;

	*arg = b;
	assert_true(loop_call(b->loop, wait_for_test, arg, free, 60000));
	free(arg);
	return NULL;
}

/* From here until it is let go the thread answers nobody. */
static void block_thread(struct block *b, struct fixture *f, struct loop *loop)
{
	char c;

	*b = (struct block){.f = f, .loop = loop};
	assert_int_equal(pipe(b->entered), 0);
	assert_int_equal(pipe(b->release), 0);
	assert_int_equal(pthread_create(&b->caller, NULL, call_it, b), 0);
	assert_int_equal(read(b->entered[0], &c, 1), 1);
	f->server->call_timeout_ms = 1;
	f->problem.text[0] = 0;
}

/* What was asked of the thread meanwhile is done before what is asked now. */
static void let_go(struct block *b)
{
	char c = 0;

	b->f->server->call_timeout_ms = 60000;
	assert_int_equal(write(b->release[1], &c, 1), 1);
	pthread_join(b->caller, NULL);
	for (unsigned i = 0; i < 2; i++) {
		close(b->entered[i]);
		close(b->release[i]);
	}
}

/* The asker has been told why. */
static void expect_late(const struct fixture *f, bool answered)
{
	assert_false(answered);
	assert_non_null(strstr(f->problem.text, "has not answered for 1 ms"));
}

/* ---- the tests ---- */

static bool add_disk(struct fixture *f)
{
	struct endpoint_settings settings;

	assert_true(settings_endpoint(&settings, "endpoint", DISK, &f->problem));
	assert_true(settings_validate_endpoint(&settings, &f->problem));
	return server_add(f->server, &settings, &f->problem);
}

static bool disk_listens(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/disk.sock", dir);
	return !access(path, F_OK);
}

static size_t endpoints(struct fixture *f)
{
	json_t *list = server_endpoints(f->server, &f->problem);
	size_t nr = json_array_size(list);

	if (!list)
		fail_msg("%s", f->problem.text);
	json_decref(list);
	return nr;
}

static void looks(struct fixture *f, struct loop *loop)
{
	struct block b;

	block_thread(&b, f, loop);
	/* More than once: each answer has its own late end. */
	for (unsigned i = 0; i < 3; i++)
		expect_late(f, server_stat(f->server, &f->problem) != NULL);
	expect_late(f, server_endpoints(f->server, &f->problem) != NULL);
	let_go(&b);
	assert_int_equal(endpoints(f), 1);
}

static void look_too_late(void **state)
{
	struct fixture *f = *state;

	looks(f, f->server->iommu_loop);
	looks(f, f->server->loops[0]);
}

/* One that was made when nobody waited any more is not there, and in nobody's way. */
static void add_too_late(void **state)
{
	struct fixture *f = *state;
	struct block b;

	block_thread(&b, f, f->server->iommu_loop);
	expect_late(f, add_disk(f));
	expect_late(f, add_disk(f));
	let_go(&b);
	assert_int_equal(endpoints(f), 1);
	assert_false(disk_listens());
	if (!add_disk(f))
		fail_msg("%s", f->problem.text);
	assert_int_equal(endpoints(f), 2);
	assert_true(disk_listens());
}

/* One that cannot be made is gone already. */
static void refused_too_late(void **state)
{
	struct fixture *f = *state;
	struct block b;

	f->settings->socket_dir[1] ^= 1; /* there is no such folder */
	block_thread(&b, f, f->server->iommu_loop);
	expect_late(f, add_disk(f));
	let_go(&b);
	assert_false(add_disk(f));
	f->settings->socket_dir[1] ^= 1;
	assert_int_equal(endpoints(f), 1);
	assert_true(add_disk(f));
}

/* The end comes before the answer is looked at. */
static void end_too_late(void **state)
{
	struct fixture *f = *state;
	struct block b;

	block_thread(&b, f, f->server->iommu_loop);
	expect_late(f, add_disk(f));
	let_go(&b);
}

/* It is made and listed, and joins its thread when that has time. */
static void join_too_late(void **state)
{
	struct fixture *f = *state;
	struct block b;

	block_thread(&b, f, f->server->loops[0]);
	f->server->call_timeout_ms = 100;
	/* Until the making of it is in time. */
	while (!server_find(f->server, "disk"))
		assert_false(add_disk(f));
	let_go(&b);
	assert_int_equal(endpoints(f), 2);
	assert_true(server_remove(f->server, "disk", &f->problem));
	assert_int_equal(endpoints(f), 1);
}

/* Asked again, it goes. */
static void remove_too_late(void **state)
{
	struct fixture *f = *state;
	struct block b;

	assert_true(add_disk(f));
	block_thread(&b, f, f->server->loops[0]);
	expect_late(f, server_remove(f->server, "disk", &f->problem));
	expect_late(f,
		    server_control(f->server, "disk", "resize", "size=2M", &f->problem));
	let_go(&b);
	assert_int_equal(endpoints(f), 2);
	if (!server_remove(f->server, "disk", &f->problem))
		fail_msg("%s", f->problem.text);
	assert_int_equal(endpoints(f), 1);
	assert_false(disk_listens());
	assert_true(add_disk(f));
}

/* Its ring is filled for nobody otherwise. */
static void trace_too_late(void **state)
{
	struct trace_filter filter = {.types = 1, .status = TRACE_ANY_STATUS};
	struct fixture *f = *state;
	struct traces *traces = &f->server->traces;
	struct block b;

	block_thread(&b, f, f->server->iommu_loop);
	expect_late(f, server_trace(f->server, &filter, &f->problem));
	assert_false(traces_any(traces));
	let_go(&b);
	assert_int_equal(endpoints(f), 1);
	assert_false(atomic_load(&traces->ring[0].wanted));
	assert_true(server_trace(f->server, &filter, &f->problem));
	assert_true(atomic_load(&traces->ring[0].wanted));
	server_client_gone(f->server, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(look_too_late),  TEST(add_too_late),  TEST(refused_too_late),
		TEST(end_too_late),   TEST(join_too_late), TEST(remove_too_late),
		TEST(trace_too_late),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
