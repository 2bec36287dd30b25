/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the CPU quotas of control groups are worth, with groups of the test's own. */
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpus.h"
#include "test.h"

static char dir[] = "/tmp/viommu-test-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* cpus_quota() or cpus_usable(), here. */
static unsigned ask(unsigned (*fn)(const char *membership, const char *root))
{
	char membership[64], root[64];

	snprintf(membership, sizeof(membership), "%s/self", dir);
	snprintf(root, sizeof(root), "%s/root", dir);
	return fn(membership, root);
}

static unsigned quota(void)
{
	return ask(cpus_quota);
}

static const char *const folders[] = {"", "/root", "/root/a", "/root/a/b"};

static int set_up(void **state)
{
	char path[64];

	(void)state;
	strcpy(dir, "/tmp/viommu-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (unsigned i = 1; i < 4; i++) {
		snprintf(path, sizeof(path), "%s%s", dir, folders[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	put("self", "1:name=systemd:/x\n0::/a/b\n");
	return 0;
}

static int tear_down(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/self", dir);
	unlink(path);
	for (unsigned i = 4; i--;) {
		snprintf(path, sizeof(path), "%s%s/cpu.max", dir, folders[i]);
		unlink(path);
		snprintf(path, sizeof(path), "%s%s", dir, folders[i]);
		rmdir(path);
	}
	return 0;
}

static void good(void **state)
{
	(void)state;
	assert_int_equal(cpus_parse_quota("150000 100000\n"), 2);
	assert_int_equal(cpus_parse_quota("200000 100000\n"), 2);
	assert_int_equal(cpus_parse_quota("200001 100000\n"), 3);
	assert_int_equal(cpus_parse_quota("1000 100000"), 1);
	assert_int_equal(cpus_parse_quota("4294967294 1"), CPUS_ANY - 1);
	assert_int_equal(cpus_parse_quota("max 100000\n"), CPUS_ANY);
}

static void malformed(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"max",
		"150000",
		"150000\n",
		"150000 ",
		"150000 x",
		"x 100000",
		"-1 100000",
		"150000 -100000",
		"0x10 100000",
		"1.5 1",
		"0 100000",
		"150000 0",
		"150000 100000 7",
		"150000 100000x",
		"4294967295 1",
		"18446744073709551616 18446744073709551615",
		"150000 18446744073709551616",
		"100000000000000000000000000000 100000",
		"150000 100000000000000000000000000000",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (cpus_parse_quota(bad[i]) != CPUS_ANY)
			fail_msg("\"%s\" is taken for a quota", bad[i]);
}

static void none(void **state)
{
	(void)state;
	assert_int_equal(quota(), CPUS_ANY);
	put("root/a/b/cpu.max", "max 100000\n");
	put("root/a/cpu.max", "");
	put("root/cpu.max", "two hundred\n");
	assert_int_equal(quota(), CPUS_ANY);
	put("self", "");
	assert_int_equal(quota(), CPUS_ANY);
}

/* The tightest counts, wherever it is. */
static void nested(void **state)
{
	(void)state;
	put("root/a/b/cpu.max", "150000 100000\n");
	assert_int_equal(quota(), 2);
	put("root/a/cpu.max", "400000 100000\n");
	assert_int_equal(quota(), 2);
	put("root/a/cpu.max", "50000 100000\n");
	assert_int_equal(quota(), 1);
	put("root/a/cpu.max", "max 100000\n");
	put("root/a/b/cpu.max", "max 100000\n");
	put("root/cpu.max", "300000 100000\n");
	assert_int_equal(quota(), 3);
}

/* A container: its own group is mounted as the root, under whatever name. */
static void container(void **state)
{
	(void)state;
	put("root/cpu.max", "100000 100000\n");
	put("root/a/cpu.max", "300000 100000\n");
	put("self", "0::/\n");
	assert_int_equal(quota(), 1);
	put("self", "0::/docker/0123456789abcdef\n");
	assert_int_equal(quota(), 1);
	put("root/cpu.max", "max 100000\n");
	put("self", "0::/a/gone (deleted)\n");
	assert_int_equal(quota(), 3);
	/* No such groups, or no file: the root is all there is to ask. */
	put("self", "4:cpu,cpuacct:/a\n");
	assert_int_equal(quota(), CPUS_ANY);
	put("root/cpu.max", "200000 100000\n");
	assert_int_equal(cpus_quota("/nowhere/self", "/nowhere"), CPUS_ANY);
	assert_int_equal(quota(), 2);
}

/* Longer than any path: no limit of that group, and no harm. */
static void long_path(void **state)
{
	static char text[3 * 4096] = "0::/a/";

	(void)state;
	memset(text + 6, 'x', sizeof(text) - 7);
	put("self", text);
	put("root/a/cpu.max", "200000 100000\n");
	put("root/cpu.max", "400000 100000\n");
	assert_int_equal(quota(), 2);
}

static unsigned usable(void)
{
	return ask(cpus_usable);
}

/* The quota counts where it is less than what the affinity mask allows. */
static void the_less(void **state)
{
	cpu_set_t all, one;
	unsigned nr;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	nr = (unsigned)CPU_COUNT(&all);
	assert_int_equal(usable(), nr);
	put("root/a/cpu.max", "100000000 100000\n");
	assert_int_equal(usable(), nr < 1000 ? nr : 1000);
	put("root/a/cpu.max", "50000 100000\n");
	assert_int_equal(usable(), 1);
	put("root/a/cpu.max", "200000 100000\n");
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(usable(), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(malformed),
		TEST(none),
		TEST(nested),
		TEST(container),
		TEST(long_path),
		TEST(the_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
