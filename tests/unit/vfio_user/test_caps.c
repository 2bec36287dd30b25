/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The JSON of VERSION: form, depth, and the keys that matter. */
#include "fixture.h"

#include "vfio_user/vfu_internal.h"

static int parse(const char *json, struct vfu_caps *caps)
{
	/* From the heap, so that a read past the end is seen. */
	size_t len = strlen(json);
	char *copy = malloc(len ? len : 1);
	int r;

	memcpy(copy, json, len);
	*caps = (struct vfu_caps){0};
	r = vfu_caps_parse(copy, (unsigned)len, caps);
	free(copy);
	return r;
}

static void test_accepted(void **state)
{
	static const char *const good[] = {
		"{}",
		" {\n\t} \r",
		"{\"capabilities\":{}}",
		"{\"a\":1,\"b\":-2.5e+3,\"c\":true,\"d\":false,\"e\":null,\"f\":\"\"}",
		"{\"a\":[],\"b\":[1,[2,{\"c\":3}]],\"d\":{}}",
		"{\"a\\\"b\":\"c\\\\\",\"d\":\"\\u00e4}\"}",
		"{\"capabilities\":[\"write_multiple\",true]}",
	};
	struct vfu_caps caps;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (parse(good[i], &caps))
			fail_msg("refused: %s", good[i]);
	assert_false(caps.write_multiple);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"[]",
		"1",
		"\"a\"",
		"{",
		"}",
		"{{}}",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{\"a\":1 \"b\":2}",
		"{a:1}",
		"{\"a\":1}}",
		"{\"a\":1}x",
		"{\"a\":yes}",
		"{\"a\":tru}",
		"{\"a\":[1,]}",
		"{\"a\":[1",
		"{\"a\":\"",
		"{\"a\":\"\\",
		"{\"a\":\"\\\"}",
		"{\"a\":\"\n\"}",
		"{\"a",
		"{\"a\":+}",
		"{,}",
		"{\"a\":,}",
		"{\"a\":1:2}",
	};
	struct vfu_caps caps;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &caps) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
}

static void test_keys(void **state)
{
	struct vfu_caps caps;

	(void)state;
	assert_int_equal(parse(vfu_client_qemu_json, &caps), 0);
	assert_true(caps.write_multiple && caps.max_dma_maps);
	assert_int_equal(parse(vfu_client_ch_json, &caps), 0);
	assert_false(caps.write_multiple || caps.max_dma_maps);
	assert_int_equal(parse("{\"capabilities\":{\"write_multiple\":false}}", &caps),
			 0);
	assert_false(caps.write_multiple);
	/* Only where it belongs. */
	assert_int_equal(parse("{\"write_multiple\":true}", &caps), 0);
	assert_false(caps.write_multiple);
	assert_int_equal(
		parse("{\"x\":{\"capabilities\":{\"write_multiple\":true}}}", &caps), 0);
	assert_false(caps.write_multiple);
	assert_int_equal(
		parse("{\"capabilities\":{\"x\":{\"write_multiple\":true}}}", &caps), 0);
	assert_false(caps.write_multiple);
}

/* depth values inside one another, the outermost object counted. */
static int nested(unsigned depth)
{
	struct vfu_caps caps;
	char json[256] = "{\"a\":";

	for (unsigned i = 2; i < depth; i++)
		strcat(json, "[");
	strcat(json, "1");
	for (unsigned i = 2; i < depth; i++)
		strcat(json, "]");
	strcat(json, "}");
	return parse(json, &caps);
}

static void test_depth(void **state)
{
	(void)state;
	assert_int_equal(nested(LIMIT_VFU_JSON_DEPTH), 0);
	assert_int_equal(nested(LIMIT_VFU_JSON_DEPTH + 1), -EINVAL);
}

/* Each prefix of good JSON is refused without a read past its end. */
static void test_prefixes(void **state)
{
	char json[512];
	struct vfu_caps caps;

	(void)state;
	for (size_t len = 0; len < strlen(vfu_client_qemu_json); len++) {
		memcpy(json, vfu_client_qemu_json, len);
		json[len] = 0;
		assert_int_equal(parse(json, &caps), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_keys),	 cmocka_unit_test(test_depth),
		cmocka_unit_test(test_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
