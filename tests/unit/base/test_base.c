/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Lists, pools, messages, errors, and small things. */
#include <errno.h>

#include "test.h"
#include "test_alloc.h"

#include "base/compiler.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/pool.h"

/* ---- errors and small things ---- */

static void err_is_negative(void **state)
{
	(void)state;
	assert_int_equal(err(EINVAL, "reason"), -EINVAL);
	assert_int_equal(err(ENOMEM, "reason"), -ENOMEM);
}

static void powers_of_two(void **state)
{
	(void)state;
	assert_false(is_pow2(0));
	assert_false(is_pow2(3));
	assert_false(is_pow2(UINT64_MAX));
	for (unsigned i = 0; i < 64; i++)
		assert_true(is_pow2(1ull << i));
}

static void little_endian(void **state)
{
	uint64_t v = le64(0x0102030405060708);
	const uint8_t *p = (const uint8_t *)&v;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(p[i], 8 - i);
	assert_int_equal(le16(le16(0x1234)), 0x1234);
	assert_int_equal(le32(le32(0x12345678)), 0x12345678);
}

/* ---- lists ---- */

struct item {
	int value;
	struct list node;
};

static void list_keeps_order(void **state)
{
	struct item items[5], *item;
	struct list head;
	int expected = 0;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	list_for_each (item, &head, node)
		fail();
	for (int i = 0; i < 5; i++) {
		items[i].value = i;
		list_add(&head, &items[i].node);
	}
	assert_ptr_equal(list_first(&head, struct item, node), &items[0]);
	list_for_each (item, &head, node)
		assert_int_equal(item->value, expected++);
	assert_int_equal(expected, 5);
}

static void list_delete_while_walking(void **state)
{
	struct item items[6], *item, *tmp;
	struct list head;
	int left = 0;

	(void)state;
	list_init(&head);
	for (int i = 0; i < 6; i++) {
		items[i].value = i;
		list_add(&head, &items[i].node);
	}
	list_for_each_safe (item, tmp, &head, node) {
		if (item->value % 2)
			continue;
		list_del(&item->node);
		list_del(&item->node); /* harmless */
		item->value = -1;
	}
	list_for_each (item, &head, node) {
		assert_int_equal(item->value % 2, 1);
		left++;
	}
	assert_int_equal(left, 3);
	list_for_each_safe (item, tmp, &head, node)
		list_del(&item->node);
	assert_true(list_empty(&head));
}

/* ---- pools ---- */

static void pool_gives_what_was_reserved(void **state)
{
	static const uint32_t lens[] = {8, 24, 64, 100, 8192};
	struct test_alloc ta;

	(void)state;
	for (unsigned l = 0; l < 5; l++) {
		struct pool pool;
		unsigned long calls;

		test_alloc_init(&ta);
		pool_init(&pool, &ta.ops, lens[l], 8);
		assert_null(pool_take(&pool));
		assert_int_equal(pool_reserve(&pool, 1000), 0);
		calls = ta.calls;
		for (unsigned i = 0; i < 1000; i++) {
			char *object = pool_take(&pool);

			assert_non_null(object);
			assert_int_equal((uintptr_t)object % 8, 0);
			for (uint32_t b = sizeof(void *); b < lens[l]; b++)
				assert_int_equal(object[b], 0);
			memset(object, 0xff, lens[l]); /* seen if two overlap */
		}
		assert_int_equal(ta.calls, calls);
		pool_destroy(&pool);
		assert_int_equal(ta.live, 0);
	}
}

static void pool_counts_to_the_last_object(void **state)
{
	struct test_alloc ta;
	struct pool pool;
	uint32_t nr;

	(void)state;
	test_alloc_init(&ta);
	pool_init(&pool, &ta.ops, 48, 16);
	assert_int_equal(pool_reserve(&pool, 1), 0);
	for (unsigned turn = 0; turn < 3; turn++) {
		void *some[3];

		for (nr = pool.free_nr; nr; nr--)
			assert_non_null(some[nr % 3] = pool_take(&pool));
		assert_null(pool_take(&pool));
		for (unsigned i = 0; i < 3; i++)
			pool_give(&pool, some[i]);
		assert_int_equal(pool.free_nr, 3);
		assert_int_equal(pool_reserve(&pool, 4), 0); /* beside the free ones */
	}
	pool_destroy(&pool);
	assert_int_equal(ta.live_len, 0);
}

static void pool_without_memory(void **state)
{
	struct test_alloc ta;
	struct pool pool;

	(void)state;
	test_alloc_init(&ta);
	pool_init(&pool, &ta.ops, 64, 64);
	test_alloc_fail(&ta, 1);
	assert_int_equal(pool_reserve(&pool, 1), -ENOMEM);
	assert_null(pool_take(&pool));
	/* In the middle of growing: what came stays and can be taken. */
	test_alloc_fail(&ta, 3);
	assert_int_equal(pool_reserve(&pool, 100000), -ENOMEM);
	assert_true(pool.free_nr > 0);
	assert_non_null(pool_take(&pool));
	test_alloc_fail(&ta, 0);
	assert_int_equal(pool_reserve(&pool, 100000), 0);
	pool_destroy(&pool);
	assert_int_equal(ta.live, 0);
	pool_destroy(&pool); /* empty: nothing to give back */
}

/* ---- messages ---- */

struct heard {
	unsigned nr;
	char line[LOG_LINE_MAX + 8];
};

static void sink(void *opaque, enum viommu_log_level level, const char *msg)
{
	struct heard *heard = opaque;

	(void)level;
	heard->nr++;
	snprintf(heard->line, sizeof(heard->line), "%s", msg);
}

static void log_by_level(void **state)
{
	struct heard heard = {0};
	struct viommu_log log = {sink, &heard, VIOMMU_LOG_WARN}, none = {0};

	(void)state;
	log_error(&log, "%s %d", "one", 1);
	assert_string_equal(heard.line, "one 1");
	log_warn(&log, "two");
	log_info(&log, "three");
	log_debug(&log, "four");
	assert_int_equal(heard.nr, 2);
	log_error(NULL, "nobody");
	log_error(&none, "nobody");
	assert_int_equal(heard.nr, 2);
}

static void log_line_at_its_longest(void **state)
{
	struct heard heard = {0};
	struct viommu_log log = {sink, &heard, VIOMMU_LOG_DEBUG};
	char text[LOG_LINE_MAX + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[LOG_LINE_MAX - 1] = '\0';
	log_info(&log, "%s", text);
	assert_int_equal(strlen(heard.line), LOG_LINE_MAX - 1);
	text[LOG_LINE_MAX - 1] = 'x';
	text[LOG_LINE_MAX] = '\0';
	log_info(&log, "%s", text);
	assert_int_equal(strlen(heard.line), LOG_LINE_MAX - 1);
}

static void version_is_three_numbers(void **state)
{
	unsigned a, b, c;

	(void)state;
	assert_int_equal(sscanf(viommu_version(), "%u.%u.%u", &a, &b, &c), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_is_negative),
		cmocka_unit_test(powers_of_two),
		cmocka_unit_test(little_endian),
		cmocka_unit_test(list_keeps_order),
		cmocka_unit_test(list_delete_while_walking),
		cmocka_unit_test(pool_gives_what_was_reserved),
		cmocka_unit_test(pool_counts_to_the_last_object),
		cmocka_unit_test(pool_without_memory),
		cmocka_unit_test(log_by_level),
		cmocka_unit_test(log_line_at_its_longest),
		cmocka_unit_test(version_is_three_numbers),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
