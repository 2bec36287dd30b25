/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Options of endpoints: what is understood, and what refusals say. */
#include "test.h"

#include <errno.h>

#include "endpoints/options.h"

struct kit {
	struct options o;
	char said[512]; /* the last message */
	struct viommu_log log;
};

static void sink(void *opaque, enum viommu_log_level level, const char *msg)
{
	struct kit *k = opaque;

	(void)level;
	snprintf(k->said, sizeof(k->said), "%s", msg);
}

static struct kit *make(void)
{
	struct kit *k = calloc(1, sizeof(*k));

	k->log = (struct viommu_log){sink, k, VIOMMU_LOG_DEBUG};
	return k;
}

static void parses_keys_and_values(void **state)
{
	struct kit *k = make();

	(void)state;
	assert_int_equal(
		options_parse(&k->o, "disk0", "path=/a,,b,queues=4,discard", &k->log), 0);
	assert_string_equal(options_get(&k->o, "path"), "/a,b");
	assert_string_equal(options_get(&k->o, "queues"), "4");
	assert_string_equal(options_get(&k->o, "discard"), "on");
	assert_null(options_get(&k->o, "size"));
	assert_int_equal(options_parse(&k->o, "disk0", NULL, &k->log), 0);
	assert_int_equal(k->o.nr, 0);
	free(k);
}

static void refuses_nonsense(void **state)
{
	static const char *const bad[] = {"=1", "a=1,a=2", "a=1,,=2,=3"};
	struct kit *k = make();

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		k->said[0] = '\0';
		assert_int_equal(options_parse(&k->o, "disk0", bad[i], &k->log), -EINVAL);
		assert_non_null(strstr(k->said, "disk0"));
	}
	free(k);
}

static void limits_number_and_length(void **state)
{
	struct kit *k = make();
	char text[OPTIONS_TEXT_MAX + 1];
	size_t at = 0;

	(void)state;
	for (unsigned i = 0; i < OPTIONS_MAX; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "k%u=1,", i);
	text[at - 1] = '\0';
	assert_int_equal(options_parse(&k->o, "x", text, &k->log), 0);
	strcat(text, ",more=1");
	assert_int_equal(options_parse(&k->o, "x", text, &k->log), -EINVAL);

	memset(text, 'a', sizeof(text));
	text[OPTIONS_TEXT_MAX - 1] = '\0';
	assert_int_equal(options_parse(&k->o, "x", text, &k->log), 0);
	text[OPTIONS_TEXT_MAX - 1] = 'a';
	text[OPTIONS_TEXT_MAX] = '\0';
	assert_int_equal(options_parse(&k->o, "x", text, &k->log), -EINVAL);
	free(k);
}

static void unknown_option_is_named(void **state)
{
	static const struct endpoint_option known[] = {
		{"path", "", ""}, {"size", "", ""}, {NULL, NULL, NULL}};
	struct kit *k = make();

	(void)state;
	assert_int_equal(options_parse(&k->o, "d", "path=x,siez=1", &k->log), 0);
	assert_int_equal(options_check(&k->o, known), -EINVAL);
	assert_non_null(strstr(k->said, "'siez'"));
	assert_non_null(strstr(k->said, "path, size"));
	free(k);
}

static void sizes(void **state)
{
	struct kit *k = make();
	uint64_t v = 7;

	(void)state;
	options_parse(&k->o, "d", "a=512,b=20G,c=1k,d=1x,e=,f=99999999999T,g=2KB,h=3",
		      &k->log);
	assert_int_equal(options_size(&k->o, "none", 0, 1, &v), 0);
	assert_int_equal(v, 7);
	assert_int_equal(options_size(&k->o, "a", 512, 512, &v), 0);
	assert_int_equal(v, 512);
	assert_int_equal(options_size(&k->o, "b", 0, UINT64_MAX, &v), 0);
	assert_true(v == 20ull << 30);
	assert_int_equal(options_size(&k->o, "c", 0, UINT64_MAX, &v), 0);
	assert_int_equal(v, 1024);
	for (const char *bad = "defg"; *bad; bad++) {
		char key[2] = {*bad, 0};

		assert_int_equal(options_size(&k->o, key, 0, UINT64_MAX, &v), -EINVAL);
	}
	assert_int_equal(options_size(&k->o, "h", 4, 9, &v), -EINVAL);
	assert_int_equal(options_size(&k->o, "h", 1, 2, &v), -EINVAL);
	assert_int_equal(v, 1024);
	free(k);
}

static void numbers_and_choices(void **state)
{
	static const char *const names[] = {"auto", "uring", NULL};
	struct kit *k = make();
	unsigned n = 1, c = 0;
	bool b = true;

	(void)state;
	options_parse(&k->o, "d",
		      "n=64,m=65,h=0x4,no=off,yes=on,word=maybe,io=uring,x=zap", &k->log);
	assert_int_equal(options_uint(&k->o, "n", 1, 64, &n), 0);
	assert_int_equal(n, 64);
	assert_int_equal(options_uint(&k->o, "m", 1, 64, &n), -EINVAL);
	assert_int_equal(options_uint(&k->o, "h", 1, 64, &n), -EINVAL);
	assert_int_equal(options_bool(&k->o, "none", &b), 0);
	assert_true(b);
	assert_int_equal(options_bool(&k->o, "no", &b), 0);
	assert_false(b);
	assert_int_equal(options_bool(&k->o, "yes", &b), 0);
	assert_true(b);
	assert_int_equal(options_bool(&k->o, "word", &b), -EINVAL);
	assert_int_equal(options_choice(&k->o, "io", names, &c), 0);
	assert_int_equal(c, 1);
	assert_int_equal(options_choice(&k->o, "x", names, &c), -EINVAL);
	assert_non_null(strstr(k->said, "auto, uring"));
	free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_keys_and_values),
		cmocka_unit_test(refuses_nonsense),
		cmocka_unit_test(limits_number_and_length),
		cmocka_unit_test(unknown_option_is_named),
		cmocka_unit_test(sizes),
		cmocka_unit_test(numbers_and_choices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
