/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Each kind of malformed or refused message. A malformed one ends the connection
 * with a reason, closes what came with it, and the next client is served. */
#include "fixture.h"

#include <sys/eventfd.h>
#include <unistd.h>

static void send_header(struct fixture *f, uint16_t command, uint32_t size,
			uint32_t flags)
{
	const struct vfu_header h = {
		.id = 7, .command = command, .size = size, .flags = flags};

	assert_true(vfu_client_send_raw(&f->c, &h, sizeof(h), NULL, 0));
}

static void test_header_sizes(void **state)
{
	struct fixture *f = *state;

	for (uint32_t size = 0; size < 16; size++) {
		send_header(f, VFU_DEVICE_RESET, size, 0);
		expect_dropped(f, "shorter than its header");
	}
	send_header(f, VFU_REGION_WRITE, UINT32_MAX, 0);
	expect_dropped(f, "longer than the limit");
}

static void test_message_length_limit(void **state)
{
	static uint8_t payload[LIMIT_VFU_MSG_LEN];
	struct fixture *f = *state;

	/* At the limit: a write of LIMIT_VFU_DATA_LEN bytes, which no BAR has. */
	const struct vfu_region_access a = {0, 0, LIMIT_VFU_DATA_LEN};

	memcpy(payload, &a, sizeof(a));
	assert_int_equal(vfu_client_call(&f->c, VFU_REGION_WRITE, payload,
					 sizeof(a) + LIMIT_VFU_DATA_LEN, NULL, 0, NULL),
			 -EINVAL);
	send_header(f, VFU_REGION_WRITE, LIMIT_VFU_MSG_LEN, 0);
	pump(f);
	assert_true(viommu_vfu_is_connected(f->vfu));
	reconnect(f);
	send_header(f, VFU_REGION_WRITE, LIMIT_VFU_MSG_LEN + 1, 0);
	expect_dropped(f, "longer than the limit");
}

static void test_header_flags(void **state)
{
	struct fixture *f = *state;

	send_header(f, VFU_DMA_READ, 16, VFU_TYPE_REPLY);
	expect_dropped(f, "a reply");
	send_header(f, VFU_DEVICE_RESET, 16, 2);
	expect_dropped(f, "type or flags");
	send_header(f, VFU_DEVICE_RESET, 16, VFU_FLAG_ERROR);
	expect_dropped(f, "type or flags");
	send_header(f, VFU_DEVICE_RESET, 16, 0x40);
	expect_dropped(f, "type or flags");
	send_header(f, VFU_DEVICE_RESET, 16, 0x80000000);
	expect_dropped(f, "type or flags");
	assert_int_equal(f->resets, 5); /* by the ends of connections only */
}

/* A payload of every length around the right one, for each command. */
static void test_payload_lengths(void **state)
{
	static const struct {
		uint16_t command;
		unsigned len;
	} exact[] = {
		{VFU_DMA_MAP, 32},	   {VFU_DMA_UNMAP, 24},
		{VFU_DEVICE_GET_INFO, 16}, {VFU_GET_REGION_INFO, 32},
		{VFU_GET_IRQ_INFO, 16},	   {VFU_REGION_READ, 16},
		{VFU_DEVICE_RESET, 0},
	};
	static const uint8_t payload[64];
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++) {
		for (unsigned len = 0; len <= exact[i].len + 1; len++) {
			if (len == exact[i].len)
				continue;
			assert_true(vfu_client_send(&f->c, exact[i].command, 0, payload,
						    len, NULL, 0));
			expect_dropped(f, "wrong length for its command");
		}
	}
}

static void test_payload_too_short(void **state)
{
	static const uint8_t payload[64];
	struct fixture *f = *state;

	for (unsigned len = 0; len < 20; len++) {
		assert_true(
			vfu_client_send(&f->c, VFU_SET_IRQS, 0, payload, len, NULL, 0));
		expect_dropped(f, "wrong length for its command");
	}
	for (unsigned len = 0; len < 16; len++) {
		assert_true(vfu_client_send(&f->c, VFU_REGION_WRITE, 0, payload, len,
					    NULL, 0));
		expect_dropped(f, "wrong length for its command");
	}
	for (unsigned len = 0; len < 8; len++) {
		assert_true(vfu_client_send(&f->c, VFU_REGION_WRITE_MULTI, 0, payload,
					    len, NULL, 0));
		expect_dropped(f, "wrong length for its command");
	}
}

static void test_set_irqs_too_long(void **state)
{
	static uint8_t payload[20 + VIOMMU_PCI_MSIX_MAX + 1];
	struct fixture *f = *state;
	const struct vfu_irq_set s = {sizeof(payload), 0x22, VFU_IRQ_MSIX, 0,
				      VIOMMU_PCI_MSIX_MAX + 1};

	memcpy(payload, &s, sizeof(s));
	assert_true(vfu_client_send(&f->c, VFU_SET_IRQS, 0, payload, sizeof(payload),
				    NULL, 0));
	expect_dropped(f, "wrong length for its command");
}

static void test_before_version(void **state)
{
	struct fixture *f = *state;
	struct vfu_device_info info;

	assert_int_equal(vfu_client_connect(&f->c, f->path), 0);
	assert_int_equal(vfu_client_device_info(&f->c, &info), -EPIPE);
	assert_int_equal(f->connected, 0);
	assert_int_equal(f->disconnected, 0);
	assert_int_equal(logged(f, "before VERSION"), 1);
	assert_false(viommu_vfu_is_connected(f->vfu));
	reconnect(f);
}

static int send_version(struct fixture *f, uint16_t major, const char *json, size_t len)
{
	uint8_t payload[256];
	const struct vfu_version v = {major, 0};

	vfu_client_close(&f->c);
	pump(f);
	assert_int_equal(vfu_client_connect(&f->c, f->path), 0);
	memcpy(payload, &v, sizeof(v));
	memcpy(payload + sizeof(v), json, len);
	return vfu_client_call(&f->c, VFU_VERSION, payload, sizeof(v) + len, NULL, 0,
			       NULL);
}

static void test_bad_version(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send_version(f, 1, "{}", 3), -EPIPE);
	assert_int_equal(logged(f, "unknown major version"), 1);
	assert_int_equal(send_version(f, 0, "{}", 2), -EPIPE);
	assert_int_equal(logged(f, "without a terminating NUL"), 1);
	assert_int_equal(send_version(f, 0, "{]", 3), -EPIPE);
	assert_int_equal(send_version(f, 0, "", 1), -EPIPE);
	assert_int_equal(logged(f, "malformed JSON"), 2);
	assert_true(send_version(f, 0, "{}", 3) > 0);
	assert_true(send_version(f, 0, "", 0) > 0); /* the data is optional */
	assert_int_equal(vfu_client_version(&f->c, "{}"), -EPIPE);
	assert_int_equal(logged(f, "second VERSION"), 1);
}

static void test_version_reply(void **state)
{
	static struct vfu_client_reply reply;
	struct fixture *f = *state;
	const struct vfu_version v = {0, 1}; /* Cloud Hypervisor proposes 0.1 */
	struct vfu_version got;
	char *json = (char *)reply.data + sizeof(v);

	assert_int_equal(vfu_client_connect(&f->c, f->path), 0);
	assert_true(vfu_client_call(&f->c, VFU_VERSION, &v, sizeof(v), NULL, 0, &reply) >
		    0);
	memcpy(&got, reply.data, sizeof(got));
	assert_int_equal(got.major, 0);
	assert_int_equal(got.minor, 0);
	assert_int_equal(json[reply.len - sizeof(v) - 1], 0);
	assert_int_equal(strlen(json), reply.len - sizeof(v) - 1);
	assert_non_null(strstr(json, "\"max_msg_fds\":16"));
	assert_non_null(strstr(json, "\"max_data_xfer_size\":65536"));
	/* Nothing that was not proposed. */
	assert_null(strstr(json, "write_multiple"));
	assert_null(strstr(json, "max_dma_maps"));
}

/* Descriptors where none belong: closed, and the connection with them. */
static void test_unexpected_fds(void **state)
{
	static const struct {
		uint16_t command;
		unsigned len, fds;
	} cases[] = {
		{VFU_VERSION, 4, 1},	      {VFU_DMA_MAP, 32, 2},
		{VFU_DMA_UNMAP, 24, 1},	      {VFU_DEVICE_GET_INFO, 16, 1},
		{VFU_GET_REGION_INFO, 32, 1}, {VFU_GET_IRQ_INFO, 16, 3},
		{VFU_REGION_READ, 16, 1},     {VFU_REGION_WRITE, 17, 1},
		{VFU_DEVICE_RESET, 0, 16},    {VFU_REGION_WRITE_MULTI, 8, 1},
	};
	static const uint8_t payload[64];
	struct fixture *f = *state;
	int fds[16], before;

	for (int i = 0; i < 16; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	before = count_fds();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(vfu_client_send(&f->c, cases[i].command, 0, payload,
					    cases[i].len, fds, cases[i].fds));
		expect_dropped(f, "descriptors that the command does not take");
		assert_int_equal(count_fds(), before);
	}
	/* With a command that is not supported they are just closed. */
	assert_int_equal(
		vfu_client_call(&f->c, VFU_DEVICE_FEATURE, payload, 8, fds, 5, NULL),
		-EOPNOTSUPP);
	assert_int_equal(count_fds(), before);
	for (int i = 0; i < 16; i++)
		close(fds[i]);
}

static void test_fd_limit(void **state)
{
	struct fixture *f = *state;
	int fds[LIMIT_VFU_MSG_FDS + 1], before;
	uint8_t half[10] = {0};

	for (unsigned i = 0; i < LIMIT_VFU_MSG_FDS + 1; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	before = count_fds();
	assert_int_equal(vfu_client_set_irqs(&f->c, VFU_IRQ_MSIX, 0x24, 0,
					     LIMIT_VFU_MSG_FDS, fds, LIMIT_VFU_MSG_FDS),
			 0);
	assert_int_equal(count_fds(), before + (int)LIMIT_VFU_MSG_FDS);
	assert_int_equal(vfu_client_set_irqs(&f->c, VFU_IRQ_MSIX, 0x24, 0,
					     LIMIT_VFU_MSG_FDS + 1, fds,
					     LIMIT_VFU_MSG_FDS + 1),
			 -EPIPE);
	expect_dropped(f, "more descriptors than one message can have");
	assert_int_equal(count_fds(), before);
	/* The same number, in two parts of one message. */
	assert_true(vfu_client_send_raw(&f->c, half, 5, fds, LIMIT_VFU_MSG_FDS));
	pump(f);
	assert_int_equal(count_fds(), before + (int)LIMIT_VFU_MSG_FDS);
	assert_true(vfu_client_send_raw(&f->c, half, 5, fds, 1));
	expect_dropped(f, "too many descriptors with one message");
	assert_int_equal(count_fds(), before);
	for (unsigned i = 0; i < LIMIT_VFU_MSG_FDS + 1; i++)
		close(fds[i]);
}

static void test_unsupported_commands(void **state)
{
	static const uint8_t payload[64];
	struct fixture *f = *state;
	static const uint16_t commands[] = {
		0,
		VFU_GET_REGION_IO_FDS,
		VFU_DMA_READ,
		VFU_DMA_WRITE,
		14,
		VFU_DEVICE_FEATURE,
		VFU_MIG_DATA_READ,
		VFU_MIG_DATA_WRITE,
		19,
		0xffff,
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		unsigned len = (unsigned)(i * 7) % 64;

		assert_int_equal(
			vfu_client_call(&f->c, commands[i], payload, len, NULL, 0, NULL),
			-EOPNOTSUPP);
	}
	assert_true(viommu_vfu_is_connected(f->vfu));
}

static void test_argsz(void **state)
{
	struct fixture *f = *state;
	const struct vfu_dma_map map = {31, 3, 0, 0, 4096};
	const struct vfu_dma_unmap unmap = {23, 0, 0, 4096};
	const struct vfu_device_info info = {.argsz = 15};
	const struct vfu_region_info region = {.argsz = 31};
	const struct vfu_irq_info irq = {.argsz = 15};
	const struct vfu_irq_set set = {19, 0x21, 0, 0, 0};

#define REFUSED(command, x)                                                              \
	assert_int_equal(                                                                \
		vfu_client_call(&f->c, command, &(x), sizeof(x), NULL, 0, NULL),         \
		-EINVAL)
	REFUSED(VFU_DMA_MAP, map);
	REFUSED(VFU_DMA_UNMAP, unmap);
	REFUSED(VFU_DEVICE_GET_INFO, info);
	REFUSED(VFU_GET_REGION_INFO, region);
	REFUSED(VFU_GET_IRQ_INFO, irq);
	REFUSED(VFU_SET_IRQS, set);
}

static void test_info(void **state)
{
	static const uint64_t sizes[VFU_REGIONS_NR] = {
		[0] = BAR0_LEN, [1] = 4096, [VFU_REGION_CONFIG] = 4096};
	/* INTx masks itself; MSI-X and errors are set up as a whole. */
	static const uint32_t counts[VFU_IRQS_NR] = {1, 0, VECTORS, 1, 0};
	static const uint32_t flags[VFU_IRQS_NR] = {7, 0, 9, 9, 0};
	struct fixture *f = *state;
	struct vfu_device_info info;
	struct vfu_region_info region;
	struct vfu_irq_info irq;

	assert_int_equal(vfu_client_device_info(&f->c, &info), 0);
	assert_int_equal(info.argsz, 16);
	assert_int_equal(info.flags, VFU_DEVICE_PCI | VFU_DEVICE_RESETTABLE);
	assert_int_equal(info.regions_nr, 9);
	assert_int_equal(info.irqs_nr, 5);
	for (uint32_t i = 0; i < VFU_REGIONS_NR; i++) {
		assert_int_equal(vfu_client_region_info(&f->c, i, &region), 0);
		assert_int_equal(region.argsz, 32);
		assert_int_equal(region.index, i);
		assert_int_equal(region.size, sizes[i]);
		assert_int_equal(region.flags, sizes[i] ? 3 : 0);
		assert_int_equal(region.cap_offset, 0);
	}
	assert_int_equal(vfu_client_region_info(&f->c, VFU_REGIONS_NR, &region), -EINVAL);
	assert_int_equal(vfu_client_region_info(&f->c, UINT32_MAX, &region), -EINVAL);
	for (uint32_t i = 0; i < VFU_IRQS_NR; i++) {
		assert_int_equal(vfu_client_irq_info(&f->c, i, &irq), 0);
		assert_int_equal(irq.argsz, 16);
		assert_int_equal(irq.count, counts[i]);
		assert_int_equal(irq.flags, flags[i]);
	}
	assert_int_equal(vfu_client_irq_info(&f->c, VFU_IRQS_NR, &irq), -EINVAL);
}

static void test_region_access(void **state)
{
	struct fixture *f = *state;
	uint64_t value = 0x1122334455667788ull, got = 0;
	uint8_t config[4096];

	assert_int_equal(vfu_client_write(&f->c, 0, 0x100, &value, 8), 0);
	assert_int_equal(vfu_client_read(&f->c, 0, 0x102, &got, 4), 0);
	assert_int_equal(got, 0x33445566);
	assert_int_equal(vfu_client_read(&f->c, VFU_REGION_CONFIG, 0, config, 4096), 0);
	assert_int_equal(config[0], 0x34);
	assert_int_equal(config[3], 0x56);
	/* Outside, and nothing. */
	assert_int_equal(vfu_client_read(&f->c, 0, BAR0_LEN - 3, &got, 4), -EINVAL);
	assert_int_equal(vfu_client_read(&f->c, 0, UINT64_MAX, &got, 8), -EINVAL);
	assert_int_equal(vfu_client_read(&f->c, 0, 0, &got, 0), -EINVAL);
	assert_int_equal(vfu_client_read(&f->c, VFU_REGION_CONFIG, 4096, &got, 1),
			 -EINVAL);
	assert_int_equal(vfu_client_read(&f->c, VFU_REGION_ROM, 0, &got, 1), -EINVAL);
	assert_int_equal(vfu_client_read(&f->c, 3, 0, &got, 1), -EINVAL);
	assert_int_equal(vfu_client_read(&f->c, 9, 0, &got, 1), -EINVAL);
	assert_int_equal(vfu_client_read(&f->c, UINT32_MAX, 0, &got, 1), -EINVAL);
	assert_int_equal(vfu_client_write(&f->c, 0, BAR0_LEN, &value, 1), -EINVAL);
	assert_int_equal(vfu_client_write(&f->c, VFU_REGION_CONFIG, 4090, &value, 8),
			 -EINVAL);
	assert_int_equal(vfu_client_write(&f->c, 0, 0, &value, 0), -EINVAL);
	assert_true(viommu_vfu_is_connected(f->vfu));
}

static void test_read_length_limit(void **state)
{
	struct fixture *f = *state;
	struct vfu_region_access a = {0, 0, LIMIT_VFU_DATA_LEN + 1};

	assert_int_equal(
		vfu_client_call(&f->c, VFU_REGION_READ, &a, sizeof(a), NULL, 0, NULL),
		-EINVAL);
	a.count = UINT32_MAX;
	assert_int_equal(
		vfu_client_call(&f->c, VFU_REGION_READ, &a, sizeof(a), NULL, 0, NULL),
		-EINVAL);
}

static void test_write_count(void **state)
{
	struct fixture *f = *state;
	uint8_t payload[24] = {0};
	static const uint32_t counts[] = {0, 7, 9, UINT32_MAX};

	for (int i = 0; i < 4; i++) {
		const struct vfu_region_access a = {0, 0, counts[i]};

		memcpy(payload, &a, sizeof(a));
		assert_true(vfu_client_send(&f->c, VFU_REGION_WRITE, VFU_FLAG_NO_REPLY,
					    payload, sizeof(payload), NULL, 0));
		expect_dropped(f, "REGION_WRITE");
	}
	assert_int_equal(f->writes, 0);
}

struct multi {
	uint64_t nr;
	struct vfu_region_write1 w[LIMIT_VFU_WRITES + 1];
};

static struct multi make_multi(uint64_t nr)
{
	struct multi m = {.nr = nr};

	for (unsigned i = 0; i < LIMIT_VFU_WRITES + 1; i++)
		m.w[i] = (struct vfu_region_write1){
			.offset = 4 * i, .region = 0, .count = 4, .data = {(uint8_t)i}};
	return m;
}

static int call_multi(struct fixture *f, const struct multi *m, unsigned nr,
		      uint64_t *done)
{
	static struct vfu_client_reply reply;
	int r = vfu_client_call(&f->c, VFU_REGION_WRITE_MULTI, m,
				8 + nr * sizeof(m->w[0]), NULL, 0, &reply);

	if (r >= 0) {
		assert_int_equal(r, 8);
		memcpy(done, reply.data, 8);
	}
	return r;
}

static void test_write_multi(void **state)
{
	struct fixture *f = *state;
	struct multi m = make_multi(LIMIT_VFU_WRITES);
	struct viommu_vfu_stats s;
	uint64_t done = 0;

	assert_int_equal(call_multi(f, &m, LIMIT_VFU_WRITES, &done), 8);
	assert_int_equal(done, LIMIT_VFU_WRITES);
	assert_int_equal(f->writes, LIMIT_VFU_WRITES);
	for (unsigned i = 0; i < LIMIT_VFU_WRITES; i++) {
		assert_int_equal(f->write_order[i], 4 * i);
		assert_int_equal(f->regs[4 * i], (uint8_t)i);
	}
	/* In order up to the first that cannot be. */
	m.nr = 5;
	m.w[3].region = 5;
	assert_int_equal(call_multi(f, &m, 5, &done), 8);
	assert_int_equal(done, 3);
	m.w[1].count = 9;
	assert_int_equal(call_multi(f, &m, 5, &done), 8);
	assert_int_equal(done, 1);
	m.nr = 0;
	assert_int_equal(call_multi(f, &m, 0, &done), 8);
	assert_int_equal(done, 0);
	/* Posted: no reply. */
	m = make_multi(3);
	assert_true(vfu_client_send(&f->c, VFU_REGION_WRITE_MULTI, VFU_FLAG_NO_REPLY, &m,
				    8 + 3 * 24, NULL, 0));
	assert_int_equal(vfu_client_read(&f->c, 0, 0, &done, 1), 0);
	viommu_vfu_get_stats(f->vfu, &s);
	assert_int_equal(s.posted_writes, 3);
}

static void test_write_multi_malformed(void **state)
{
	struct fixture *f = *state;
	struct multi m = make_multi(LIMIT_VFU_WRITES + 1);
	uint64_t done;

	assert_int_equal(call_multi(f, &m, LIMIT_VFU_WRITES + 1, &done), -EPIPE);
	expect_dropped(f, "REGION_WRITE_MULTI");
	m.nr = 2;
	assert_int_equal(call_multi(f, &m, 3, &done), -EPIPE);
	expect_dropped(f, "REGION_WRITE_MULTI");
	/* 24 * nr wraps around to what is there. */
	m.nr = 0x2000000000000001ull;
	assert_int_equal(call_multi(f, &m, 1, &done), -EPIPE);
	expect_dropped(f, "REGION_WRITE_MULTI");
	assert_int_equal(f->writes, 0);
}

/* Nothing that is posted is answered, not even an error. */
static void test_no_reply(void **state)
{
	static struct vfu_client_reply reply;
	static const uint16_t commands[] = {
		VFU_DMA_MAP,   VFU_DEVICE_GET_INFO, VFU_GET_REGION_INFO, VFU_REGION_READ,
		VFU_DMA_UNMAP, VFU_DEVICE_RESET,    VFU_DEVICE_FEATURE};
	static const unsigned lens[] = {32, 16, 32, 16, 24, 0, 8};
	static const uint8_t payload[64];
	struct viommu_vfu_stats s;
	struct fixture *f = *state;

	for (int i = 0; i < 7; i++)
		assert_true(vfu_client_send(&f->c, commands[i], VFU_FLAG_NO_REPLY,
					    payload, lens[i], NULL, 0));
	vfu_client_write_posted(&f->c, 0, UINT64_MAX, "x", 1);
	pump(f);
	assert_int_equal(vfu_client_recv(&f->c, &reply), 0);
	assert_true(viommu_vfu_is_connected(f->vfu));
	assert_int_equal(f->resets, 1);
	viommu_vfu_get_stats(f->vfu, &s);
	assert_int_equal(s.messages, 9);
	assert_int_equal(s.refused, 7);
}

static void test_reset(void **state)
{
	struct fixture *f = *state;
	uint16_t command = 6;

	assert_int_equal(vfu_client_write(&f->c, VFU_REGION_CONFIG, 4, &command, 2), 0);
	assert_int_equal(vfu_client_reset(&f->c), 0);
	assert_int_equal(f->resets, 1);
	assert_int_equal(f->system_resets, 1);
	assert_int_equal(vfu_client_read(&f->c, VFU_REGION_CONFIG, 4, &command, 2), 0);
	assert_int_equal(command, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_header_sizes),
		CASE(test_message_length_limit),
		CASE(test_header_flags),
		CASE(test_payload_lengths),
		CASE(test_payload_too_short),
		CASE(test_set_irqs_too_long),
		CASE_NO_CLIENT(test_before_version),
		CASE_NO_CLIENT(test_bad_version),
		CASE_NO_CLIENT(test_version_reply),
		CASE(test_unexpected_fds),
		CASE(test_fd_limit),
		CASE(test_unsupported_commands),
		CASE(test_argsz),
		CASE(test_info),
		CASE(test_region_access),
		CASE(test_read_length_limit),
		CASE(test_write_count),
		CASE(test_write_multi),
		CASE(test_write_multi_malformed),
		CASE(test_no_reply),
		CASE(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
