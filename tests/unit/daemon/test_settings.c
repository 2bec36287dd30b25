/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Command line and configuration files: what is taken, and what each refusal
 * says: the option, the value and what to write instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "settings.h"
#include "test.h"

static struct problem problem;

/* Parses a command line of blank-separated words. */
static struct settings *parse(const char *line, bool expect)
{
	static char copy[8192];
	char *argv[256] = {"viommud"}, *save = NULL;
	struct settings *settings;
	int argc = 1;
	bool ok;

	snprintf(copy, sizeof(copy), "%s", line);
	for (argv[argc] = strtok_r(copy, " ", &save); argv[argc] && argc < 255;
	     argv[argc] = strtok_r(NULL, " ", &save))
		argc++;
	memset(&problem, 0, sizeof(problem));
	ok = settings_parse(argc, argv, &settings, &problem);
	if (ok != expect)
		fail_msg("%s: %s", line, problem.text);
	return settings;
}

/* The refusal must hold each of the words. */
static void refuse(const char *line, const char *a, const char *b, const char *c)
{
	const char *words[] = {a, b, c};
	unsigned i;

	settings_free(parse(line, false));
	for (i = 0; i < 3; i++)
		if (words[i] && !strstr(problem.text, words[i]))
			fail_msg("%s\n  said: %s\n  without: %s", line, problem.text,
				 words[i]);
	assert_null(strchr(problem.text, '\n'));
}

static void defaults(void **state)
{
	struct settings *s = parse("", true);

	(void)state;
	assert_string_equal(s->socket_dir, ".");
	assert_null(s->control);
	assert_int_equal(s->threads, SETTINGS_AUTO);
	assert_true(s->priority);
	assert_true(s->seccomp);
	assert_true(s->poll.automatic);
	assert_int_equal(s->iommu.granule, 4096);
	assert_int_equal(s->iommu.input_bits, 64);
	assert_true(s->iommu.bypass);
	assert_true(s->iommu.packed);
	assert_false(s->iommu.indirect);
	assert_int_equal(s->iommu.queue_size, 512);
	assert_int_equal(s->endpoints_nr, 0);
	settings_free(s);
}

static void command_line(void **state)
{
	struct settings *s = parse(
		"--socket-dir /run/x --control=/run/x/c --threads 3 --poll-us 50 "
		"--no-seccomp --log-level debug --exit-with-vm --socket-mode 660 "
		"--iommu "
		"id=mmu,granule=64k,bypass=off,input-bits=48,packed=off,indirect=on,"
		"poll-us=0 "
		"--endpoint blk,id=disk0,ep=0x20,backend=null,size=1G "
		"--endpoint dmatest,id=dma0,iommu=off",
		true);

	(void)state;
	assert_string_equal(s->socket_dir, "/run/x");
	assert_string_equal(s->control, "/run/x/c");
	assert_int_equal(s->threads, 3);
	assert_int_equal(s->socket_mode, 0660);
	assert_false(s->poll.automatic);
	assert_int_equal(s->poll.max_us, 50);
	assert_false(s->seccomp);
	assert_true(s->exit_with_vm);
	assert_int_equal(s->log_level, VIOMMU_LOG_DEBUG);
	assert_string_equal(s->iommu.id, "mmu");
	assert_int_equal(s->iommu.granule, 65536);
	assert_false(s->iommu.bypass);
	assert_false(s->iommu.packed);
	assert_true(s->iommu.indirect);
	assert_int_equal(s->iommu.input_bits, 48);
	assert_int_equal(s->iommu.poll.max_us, 0);
	assert_int_equal(s->endpoints_nr, 2);
	assert_string_equal(s->endpoints[0].type, "blk");
	assert_int_equal(s->endpoints[0].ep, 0x20);
	assert_string_equal(s->endpoints[0].params, "backend=null,size=1G");
	assert_int_equal(s->endpoints[0].resv_nr, 1);
	assert_int_equal(s->endpoints[0].resv[0].start, 0xfee00000);
	assert_int_equal(s->endpoints[0].resv[0].last, 0xfeefffff);
	assert_int_equal(s->endpoints[0].resv[0].kind, VIOMMU_RESV_MSI);
	assert_false(s->endpoints[1].iommu);
	settings_free(s);
}

static void regions(void **state)
{
	struct settings *s = parse("--endpoint dmatest,id=a,ep=1,resv=none "
				   "--endpoint dmatest,id=b,ep=2,resv=msi:0x1000-0x1fff,"
				   "resv=reserved:0-0xfff,resv=8192-8193",
				   true);

	(void)state;
	assert_int_equal(s->endpoints[0].resv_nr, 0);
	assert_int_equal(s->endpoints[1].resv_nr, 3);
	assert_int_equal(s->endpoints[1].resv[0].kind, VIOMMU_RESV_MSI);
	assert_int_equal(s->endpoints[1].resv[1].last, 0xfff);
	assert_int_equal(s->endpoints[1].resv[2].kind, VIOMMU_RESV_RESERVED);
	settings_free(s);
}

static void commas(void **state)
{
	struct settings *s =
		parse("--endpoint blk,id=d,ep=1,file=a,,b.img,serial=x", true);

	(void)state;
	assert_string_equal(s->endpoints[0].params, "path=a,,b.img,serial=x");
	settings_free(s);
}

static void refusals(void **state)
{
	(void)state;
	refuse("--treads 2", "--treads", "--help", NULL);
	refuse("threads", "threads", "--help", NULL);
	refuse("--threads", "--threads", "missing", NULL);
	refuse("--threads -1", "--threads", "=-1", "from 0 to 16");
	refuse("--threads 17", "--threads", "=17", "try threads=auto");
	refuse("--threads many", "--threads", "many", "number");
	refuse("--poll-us sometimes", "--poll-us", "sometimes", "auto");
	refuse("--poll-us 100001", "--poll-us", "100001", "100000");
	refuse("--log-level loud", "--log-level", "loud", "debug");
	refuse("--socket-mode 999", "--socket-mode", "999", "0600");
	refuse("--check=maybe", "--check", "maybe", "on or off");
	refuse("--iommu granule=3k", "--iommu", "granule=3k", "granule=4k");
	refuse("--iommu granule=128k", "--iommu", "128k", "64k");
	refuse("--iommu input-bits=31", "input-bits=31", "32 to 64", NULL);
	refuse("--iommu input-bits=65", "input-bits=65", "32 to 64", NULL);
	refuse("--iommu queue-size=100", "queue-size=100", "power of two", NULL);
	refuse("--iommu colour=red", "--iommu", "colour", "granule");
	refuse("--iommu id=a/b", "--iommu", "a/b", "letters");
	refuse("--config /does/not/exist", "--config", "/does/not/exist", "No such file");
}

static void endpoint_refusals(void **state)
{
	(void)state;
	refuse("--endpoint id=disk0", "--endpoint", "kind", "blk");
	refuse("--endpoint blk,ep=1", "blk", "id is missing", "id=disk0");
	refuse("--endpoint blk,id=d", "endpoint d", "ep is missing", "iommu=off");
	refuse("--endpoint tape,id=d,ep=1", "type=tape", "blk", "dmatest");
	refuse("--endpoint dmatest,id=d,ep=1,speed=9", "speed", "dmatest", "resv");
	refuse("--endpoint dmatest,id=d,ep=4294967296", "ep=4294967296", "32 bits",
	       "0x20");
	refuse("--endpoint dmatest,id=d,ep=1,resv=5", "resv=5", "msi:", "none");
	refuse("--endpoint dmatest,id=d,ep=1,resv=6-5", "resv=6-5", NULL, NULL);
	refuse("--endpoint dmatest,id=d,ep=1 --endpoint dmatest,id=d,ep=2", "endpoint d",
	       "twice", NULL);
	refuse("--endpoint dmatest,id=d,ep=1 --endpoint dmatest,id=e,ep=1", "endpoint e",
	       "ep=0x1", "endpoint d");
	refuse("--endpoint dmatest,id=iommu,ep=1", "endpoint iommu", "the IOMMU's", NULL);
}

/* ---- limits: at the limit, and one past it ---- */

static void endpoint_limit(void **state)
{
	char line[64 * 40 + 100] = "";
	size_t len = 0;
	unsigned i;

	(void)state;
	for (i = 0; i < DAEMON_ENDPOINTS_MAX; i++)
		len += (size_t)snprintf(line + len, sizeof(line) - len,
					"--endpoint dmatest,id=d%u,ep=%u ", i, i);
	settings_free(parse(line, true));
	snprintf(line + len, sizeof(line) - len, "--endpoint dmatest,id=e,ep=999");
	refuse(line, "64", "second viommud", NULL);
}

static void resv_limit(void **state)
{
	char line[1024];
	size_t len = (size_t)snprintf(line, sizeof(line), "--endpoint dmatest,id=d,ep=1");
	unsigned i;

	(void)state;
	for (i = 0; i < DAEMON_RESV_MAX; i++)
		len += (size_t)snprintf(line + len, sizeof(line) - len, ",resv=%u-%u", i,
					i);
	settings_free(parse(line, true));
	snprintf(line + len, sizeof(line) - len, ",resv=99-99");
	refuse(line, "16", NULL, NULL);
}

static void length_limits(void **state)
{
	char line[DAEMON_PARAMS_LEN + 200], *at;

	(void)state;
	/* A name of the longest length, and one more. */
	settings_free(parse("--iommu id=1234567890123456789012345678901", true));
	_Static_assert(DAEMON_NAME_LEN == 32, "the names here have 31 and 32 bytes");
	refuse("--iommu id=12345678901234567890123456789012", "id=", "letters", NULL);
	/* A value of the longest length, and one more. */
	at = line + sprintf(line, "--socket-dir ");
	memset(at, 'x', DAEMON_VALUE_LEN);
	at[DAEMON_VALUE_LEN - 1] = 0;
	settings_free(parse(line, true));
	at[DAEMON_VALUE_LEN - 1] = 'x';
	at[DAEMON_VALUE_LEN] = 0;
	refuse(line, "--socket-dir", NULL, NULL);
	/* All settings of an endpoint together. */
	at = line + sprintf(line, "--endpoint blk,id=d,ep=1,path=");
	memset(at, 'x', 1000);
	at += 1000;
	at += sprintf(at, ",serial=");
	memset(at, 'y', 1000);
	at += 1000;
	*at = 0;
	settings_free(parse(line, true));
	sprintf(at, ",io=%031d,cache=%031d", 1, 1);
	refuse(line, "2047 bytes", NULL, NULL);
	assert_int_equal(DAEMON_PARAMS_LEN, 2048);
	refuse("--poll-us 100001", "100000", NULL, NULL);
	assert_int_equal(DAEMON_POLL_US_MAX, 100000);
	assert_int_equal(DAEMON_THREADS_MAX, 16);
}

/* ---- files ---- */

static struct settings *fresh(void)
{
	return parse("", true);
}

static bool read_text(struct settings *s, const char *text, size_t len)
{
	struct config_handler handler = {.set = settings_set, .opaque = s};

	memset(&problem, 0, sizeof(problem));
	return config_parse("vm.conf", text, len, &handler, &problem);
}

static void file(void **state)
{
	static const char text[] = "# a comment\n"
				   "; another\n"
				   "socket-dir = /run/vm\n"
				   "  threads=2  \r\n"
				   "no-seccomp = on\n"
				   "\n"
				   "[iommu]\n"
				   "bypass = off\n"
				   "[ endpoint  disk0 ]\n"
				   "type = blk\n"
				   "file = \" a b.img\"\n"
				   "ep = 0x20\n"
				   "[endpoint dma0]\n"
				   "type = dmatest\n"
				   "[endpoint disk0]\n"
				   "untrusted = on";
	struct settings *s = fresh();

	(void)state;
	assert_true(read_text(s, text, sizeof(text) - 1));
	assert_string_equal(s->socket_dir, "/run/vm");
	assert_int_equal(s->threads, 2);
	assert_false(s->seccomp);
	assert_false(s->iommu.bypass);
	assert_int_equal(s->endpoints_nr, 2);
	assert_string_equal(s->endpoints[0].id, "disk0");
	assert_string_equal(s->endpoints[0].params, "path= a b.img");
	assert_true(s->endpoints[0].untrusted);
	assert_string_equal(s->endpoints[1].type, "dmatest");
	settings_free(s);
}

static void refuse_file(const char *text, const char *where, const char *word)
{
	struct settings *s = fresh();

	assert_false(read_text(s, text, strlen(text)));
	if (!strstr(problem.text, where) || !strstr(problem.text, word))
		fail_msg("said: %s\nwithout: %s, %s", problem.text, where, word);
	settings_free(s);
}

static void file_refusals(void **state)
{
	struct settings *s = fresh();

	(void)state;
	refuse_file("\nthreads = 99\n", "vm.conf:2", "from 0 to 16");
	refuse_file("nonsense\n", "vm.conf:1", "key = value");
	refuse_file("[iommu\n", "vm.conf:1", "]");
	refuse_file("[iommu] x\n", "vm.conf:1", "]");
	refuse_file("[iommu two]\nbypass = on\n", "vm.conf:2", "takes no name");
	refuse_file("[disk]\nx = y\n", "vm.conf:2", "[endpoint NAME]");
	refuse_file("[endpoint]\ntype = blk\n", "vm.conf:2", "[endpoint disk0]");
	refuse_file("[endpoint a]\nid = b\n", "vm.conf:2", "section's name");
	refuse_file("[endpoint a/b]\n", "vm.conf:1", "letters");
	refuse_file("socket-dir = \"x\n", "vm.conf:1", "\"");
	refuse_file("iommu = x\n", "vm.conf:1", "socket-dir");
	refuse_file("ready-fd = 3\n", "vm.conf:1", "no setting");
	assert_false(read_text(s, "a\0b", 3));
	assert_non_null(strstr(problem.text, "zero byte"));
	settings_free(s);
}

static void file_limits(void **state)
{
	size_t len = DAEMON_CONFIG_LINES_MAX, i;
	char *text = malloc(DAEMON_CONFIG_FILE_LEN_MAX + 1);
	char path[] = "/tmp/viommud-test-XXXXXX";
	struct config_handler handler = {.set = settings_set};
	int fd = mkstemp(path);

	(void)state;
	handler.opaque = fresh();
	memset(text, '\n', len + 1);
	assert_true(read_text(handler.opaque, text, len));
	assert_false(read_text(handler.opaque, text, len + 1));
	assert_non_null(strstr(problem.text, "4096 lines"));
	/* Bytes of a file: long comments. */
	memset(text, '#', DAEMON_CONFIG_FILE_LEN_MAX + 1);
	for (i = 999; i < DAEMON_CONFIG_FILE_LEN_MAX; i += 1000)
		text[i] = '\n';
	assert_int_equal(write(fd, text, DAEMON_CONFIG_FILE_LEN_MAX),
			 DAEMON_CONFIG_FILE_LEN_MAX);
	assert_true(config_read(path, &handler, &problem));
	assert_int_equal(write(fd, "#", 1), 1);
	assert_false(config_read(path, &handler, &problem));
	assert_non_null(strstr(problem.text, "larger than"));
	close(fd);
	unlink(path);
	free(text);
	settings_free(handler.opaque);
}

static void later_wins(void **state)
{
	char path[] = "/tmp/viommud-test-XXXXXX", line[128];
	static const char text[] = "threads = 5\npoll-us = 7\n";
	int fd = mkstemp(path);
	struct settings *s;

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	snprintf(line, sizeof(line), "--threads 2 --config %s --poll-us 9", path);
	s = parse(line, true);
	assert_int_equal(s->threads, 5);
	assert_int_equal(s->poll.max_us, 9);
	assert_int_equal(s->iommu.poll.max_us, 9);
	settings_free(s);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),	  cmocka_unit_test(command_line),
		cmocka_unit_test(regions),	  cmocka_unit_test(commas),
		cmocka_unit_test(refusals),	  cmocka_unit_test(endpoint_refusals),
		cmocka_unit_test(endpoint_limit), cmocka_unit_test(resv_limit),
		cmocka_unit_test(length_limits),  cmocka_unit_test(file),
		cmocka_unit_test(file_refusals),  cmocka_unit_test(file_limits),
		cmocka_unit_test(later_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
