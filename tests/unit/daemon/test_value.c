/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Numbers, sizes, switches, ranges and names as people write them. */
#include <string.h>

#include "test.h"
#include "value.h"

static void numbers(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_true(value_number("0", &v) && v == 0);
	assert_true(value_number("0x20", &v) && v == 0x20);
	assert_true(value_number("18446744073709551615", &v) && v == UINT64_MAX);
	v = 7;
	assert_false(value_number("18446744073709551616", &v));
	assert_false(value_number("", &v));
	assert_false(value_number("0x", &v));
	assert_false(value_number("-1", &v));
	assert_false(value_number(" 1", &v));
	assert_false(value_number("1 ", &v));
	assert_false(value_number("12k", &v));
	assert_int_equal(v, 7);
}

static void sizes(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_true(value_size("4k", &v) && v == 4096);
	assert_true(value_size("1G", &v) && v == 1ull << 30);
	assert_true(value_size("3", &v) && v == 3);
	assert_true(value_size("16777215T", &v) && v == 16777215ull << 40);
	assert_false(value_size("16777216T", &v));
	assert_false(value_size("4kk", &v));
	assert_false(value_size("4P", &v));
	assert_false(value_size("k", &v));
}

static void switches(void **state)
{
	bool v = false;

	(void)state;
	assert_true(value_switch("", &v) && v);
	assert_true(value_switch("off", &v) && !v);
	assert_true(value_switch("Yes", &v) && v);
	assert_true(value_switch("0", &v) && !v);
	assert_false(value_switch("2", &v));
	assert_false(value_switch("onn", &v));
}

static void ranges(void **state)
{
	uint64_t first, last;

	(void)state;
	assert_true(value_range("0xfee00000-0xfeefffff", &first, &last));
	assert_int_equal(first, 0xfee00000);
	assert_int_equal(last, 0xfeefffff);
	assert_true(value_range("5-5", &first, &last));
	assert_false(value_range("6-5", &first, &last));
	assert_false(value_range("5", &first, &last));
	assert_false(value_range("5-", &first, &last));
	assert_false(value_range("5-6-7", &first, &last));
}

static void names(void **state)
{
	(void)state;
	assert_true(value_name("disk0", 32));
	assert_true(value_name("a.b_c-d", 32));
	assert_true(value_name("1234567", 8));
	assert_false(value_name("12345678", 8));
	assert_false(value_name("", 8));
	assert_false(value_name("..", 8));
	assert_false(value_name("-a", 8));
	assert_false(value_name("a/b", 8));
	assert_false(value_name("a b", 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),  cmocka_unit_test(sizes),
		cmocka_unit_test(switches), cmocka_unit_test(ranges),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
