/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Whether others want all CPUs, with a kernel and a clock of our own. */
#include <stdio.h>
#include <unistd.h>

#include "crowd.h"
#include "test.h"

struct host {
	char path[32];
	FILE *load;
	struct crowd crowd;
	uint64_t now;
};

/* That many threads want to run. */
static void say(struct host *h, unsigned runnable)
{
	assert_int_equal(ftruncate(fileno(h->load), 0), 0);
	rewind(h->load);
	assert_true(fprintf(h->load, "0.55 0.33 0.11 %u/187 4711\n", runnable) > 0);
	assert_int_equal(fflush(h->load), 0);
}

static void start(struct host *h, unsigned cpus)
{
	int fd;

	*h = (struct host){.path = "/tmp/crowd-XXXXXX", .now = 1000000000};
	fd = mkstemp(h->path);
	assert_true(fd >= 0);
	h->load = fdopen(fd, "w");
	assert_non_null(h->load);
	say(h, 1);
	crowd_open(&h->crowd, h->path, cpus);
	assert_true(h->crowd.fd >= 0);
}

static void stop(struct host *h)
{
	crowd_close(&h->crowd);
	crowd_close(&h->crowd);
	assert_int_equal(fclose(h->load), 0);
	assert_int_equal(unlink(h->path), 0);
}

static bool look(struct host *h, unsigned times)
{
	bool is = false;

	while (times--) {
		h->now += CROWD_SAMPLE_NS;
		is = crowd_look(&h->crowd, h->now);
	}
	return is;
}

/* We are one of those that run: two others are enough for two CPUs. */
static void others_count(void **state)
{
	struct host h;

	(void)state;
	start(&h, 2);
	say(&h, 2);
	assert_false(look(&h, 500));
	say(&h, 3);
	assert_true(look(&h, 500));
	say(&h, 2);
	assert_false(look(&h, 500));
	stop(&h);
}

/* A few samples change nothing, whichever way. */
static void slow_to_change(void **state)
{
	struct host h;

	(void)state;
	start(&h, 2);
	say(&h, 9);
	assert_false(look(&h, 15));
	assert_true(look(&h, 500));
	say(&h, 1);
	assert_true(look(&h, 15));
	assert_false(look(&h, 500));
	/* Half of them: what it was before it stays. */
	for (unsigned i = 0; i < 500; i++) {
		say(&h, i % 2 ? 9 : 1);
		assert_false(look(&h, 1));
	}
	stop(&h);
}

/* Looks between two samples cost nothing and say the same. */
static void samples_are_rare(void **state)
{
	struct host h;

	(void)state;
	start(&h, 2);
	look(&h, 1);
	say(&h, 9);
	for (unsigned i = 0; i < 1000; i++)
		assert_false(crowd_look(&h.crowd, h.now + CROWD_SAMPLE_NS - 1));
	assert_int_equal(h.crowd.score, 0);
	crowd_look(&h.crowd, h.now + CROWD_SAMPLE_NS);
	assert_int_not_equal(h.crowd.score, 0);
	stop(&h);
}

static void not_known(void **state)
{
	struct crowd crowd;

	(void)state;
	crowd_open(&crowd, "/tmp/no/such/file", 1);
	for (uint64_t now = 0; now < 1000; now++)
		assert_false(crowd_look(&crowd, now * CROWD_SAMPLE_NS));
	crowd_close(&crowd);
}

static void parses(void **state)
{
	static const char *const nothing[] = {
		"",
		"\n",
		"1",
		"0.1 0.2 0.3",
		"0.1 0.2 0.3 ",
		"0.1 0.2 0.3 7",
		"0.1 0.2 0.3 7 8",
		"0.1 0.2 0.3 -7/8 9",
		"0.1 0.2 0.3 x/8 9",
		"0.1 0.2 0.3 /8 9",
		"0.1 0.2 0.3 +7/8 9",
		"0.1 0.2 0.3  7/8 9",
		"0.1 0.2 7/8 4711",
		"0.1 0.2 0.3 4294967295/8 9",
		"0.1 0.2 0.3 99999999999999999999999999/8 9",
	};

	(void)state;
	assert_int_equal(crowd_parse("0.55 0.33 0.11 3/187 4711\n"), 3);
	assert_int_equal(crowd_parse("100.00 90.00 80.00 1024/65536 1"), 1024);
	for (unsigned i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
		assert_int_equal(crowd_parse(nothing[i]), 0);
}

/* The kernel's own file: this thread runs. */
static void kernel(void **state)
{
	char text[128] = "";
	FILE *load = fopen(CROWD_LOAD, "r");

	(void)state;
	assert_non_null(load);
	assert_non_null(fgets(text, sizeof(text), load));
	fclose(load);
	assert_int_not_equal(crowd_parse(text), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_count),	    cmocka_unit_test(slow_to_change),
		cmocka_unit_test(samples_are_rare), cmocka_unit_test(not_known),
		cmocka_unit_test(parses),	    cmocka_unit_test(kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
