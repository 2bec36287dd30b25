/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* lib/proto: every function against bytes written out by hand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "proto/proto.h"

static void status_is_one_to_one(void **state)
{
	static const int errnos[] = {0,	     EIO,    EOPNOTSUPP, EREMOTEIO, EINVAL,
				     ERANGE, ENOENT, EFAULT,	 ENOMEM};

	(void)state;
	assert_int_equal(ARRAY_LEN(errnos), PROTO_STATUS_NR);
	for (uint8_t s = 0; s < PROTO_STATUS_NR; s++) {
		assert_int_equal(proto_status_to_errno(s), -errnos[s]);
		assert_int_equal(proto_errno_to_status(-errnos[s]), s);
	}
}

static void status_of_other_values(void **state)
{
	(void)state;
	for (unsigned s = PROTO_STATUS_NR; s < 256; s++)
		assert_int_equal(proto_status_to_errno((uint8_t)s), -EPROTO);
	assert_int_equal(proto_errno_to_status(-ENOSPC), VIRTIO_IOMMU_S_NOMEM);
	assert_int_equal(proto_errno_to_status(-EBUSY), VIRTIO_IOMMU_S_DEVERR);
	assert_int_equal(proto_errno_to_status(EINVAL), VIRTIO_IOMMU_S_DEVERR);
}

static const uint8_t map_bytes[36] = {
	3,    0xaa, 0xbb, 0xcc,				/* head: reserved is ignored */
	0x04, 0x03, 0x02, 0x01,				/* domain */
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* virt_start */
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* virt_end */
	0x00, 0x10, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, /* phys_start */
	0x07, 0x00, 0x00, 0x80,				/* flags */
};

static void decodes_map(void **state)
{
	struct proto_request r;

	(void)state;
	assert_int_equal(proto_decode_request(map_bytes, sizeof(map_bytes), &r), 0);
	assert_int_equal(r.type, VIRTIO_IOMMU_T_MAP);
	assert_int_equal(r.domain, 0x01020304);
	assert_true(r.start == 0x0102030405060708ull && r.last == UINT64_MAX);
	assert_true(r.gpa == 0x100001000ull);
	assert_int_equal(r.flags, 0x80000007);
	assert_false(r.reserved_set);
	assert_int_equal(r.endpoint, 0);
}

static void decodes_the_others(void **state)
{
	static const uint8_t attach[20] = {1, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 1};
	static const uint8_t detach[20] = {2, 0, 0, 0, 5, 0, 0, 0, 9, 1};
	static const uint8_t unmap[28] = {4, 0, 0, 0, 6, 0, 0, 0, 0, 1, 0, 0,
					  0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0};
	static const uint8_t probe[72] = {5, 0, 0, 0, 0x34, 0x12};
	struct proto_request r;

	(void)state;
	assert_int_equal(proto_decode_request(attach, sizeof(attach), &r), 0);
	assert_true(r.domain == 5 && r.endpoint == 9 && r.flags == 1);
	assert_int_equal(proto_decode_request(detach, sizeof(detach), &r), 0);
	assert_true(r.domain == 5 && r.endpoint == 0x109 && r.flags == 0);
	assert_int_equal(proto_decode_request(unmap, sizeof(unmap), &r), 0);
	assert_true(r.domain == 6 && r.start == 0x100 && r.last == 0x200);
	assert_int_equal(proto_decode_request(probe, sizeof(probe), &r), 0);
	assert_true(r.endpoint == 0x1234 && !r.reserved_set);
}

/* Each reserved byte of each body is seen, and no byte of the head is. */
static void sees_reserved_bytes(void **state)
{
	static const struct {
		uint8_t type, first, nr;
	} reserved[] = {{1, 16, 4}, {2, 12, 8}, {4, 24, 4}, {5, 8, 64}};
	struct proto_request r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
		size_t len = proto_request_len(reserved[i].type);

		for (size_t at = 1; at < len; at++) {
			uint8_t buf[PROTO_REQUEST_MAX] = {reserved[i].type};
			size_t past = (size_t)reserved[i].first + reserved[i].nr;

			buf[at] = 0x40;
			assert_int_equal(proto_decode_request(buf, len, &r), 0);
			assert_int_equal(r.reserved_set,
					 at >= reserved[i].first && at < past);
		}
	}
}

static void refuses_short_requests(void **state)
{
	uint8_t buf[PROTO_REQUEST_MAX] = {0};
	struct proto_request r;

	(void)state;
	for (size_t len = 0; len < PROTO_HEAD_LEN; len++)
		assert_int_equal(proto_decode_request(buf, len, &r), -EBADMSG);
	for (uint8_t type = 1; type < PROTO_TYPES_NR; type++) {
		size_t need = proto_request_len(type);

		buf[0] = type;
		for (size_t len = PROTO_HEAD_LEN; len < need; len++) {
			assert_int_equal(proto_decode_request(buf, len, &r), -EINVAL);
			assert_int_equal(r.type, type);
		}
		assert_int_equal(proto_decode_request(buf, need, &r), 0);
	}
}

static void refuses_unknown_types(void **state)
{
	uint8_t buf[PROTO_REQUEST_MAX] = {0};
	struct proto_request r;

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		if (type >= 1 && type < PROTO_TYPES_NR)
			continue;
		buf[0] = (uint8_t)type;
		assert_int_equal(proto_decode_request(buf, sizeof(buf), &r), -EOPNOTSUPP);
		assert_int_equal(proto_request_len((uint8_t)type), 0);
	}
}

static void encodes_what_it_decodes(void **state)
{
	(void)state;
	for (uint8_t type = 0; type < PROTO_TYPES_NR; type++) {
		struct proto_request in = {.type = type}, out;
		uint8_t buf[PROTO_REQUEST_MAX];

		in.domain = type == VIRTIO_IOMMU_T_PROBE ? 0 : 0x11223344;
		if (type <= VIRTIO_IOMMU_T_DETACH || type == VIRTIO_IOMMU_T_PROBE)
			in.endpoint = 0x55667788;
		if (type == VIRTIO_IOMMU_T_ATTACH || type == VIRTIO_IOMMU_T_MAP)
			in.flags = 0x80000001;
		if (type == VIRTIO_IOMMU_T_MAP || type == VIRTIO_IOMMU_T_UNMAP) {
			in.start = 0x1122334455667788ull;
			in.last = 0xff00ff00ff00ff00ull;
		}
		in.gpa = type == VIRTIO_IOMMU_T_MAP ? 0x0807060504030201ull : 0;
		assert_int_equal(proto_encode_request(buf, &in), proto_request_len(type));
		if (!type)
			continue;
		assert_int_equal(proto_decode_request(buf, sizeof(buf), &out), 0);
		assert_memory_equal(&in, &out, sizeof(in));
	}
}

static void tail_round_trip(void **state)
{
	uint8_t tail[PROTO_TAIL_LEN];

	(void)state;
	memset(tail, 0xff, sizeof(tail));
	proto_encode_tail(tail, -ERANGE);
	assert_memory_equal(tail, ((uint8_t[]){5, 0, 0, 0}), 4);
	tail[1] = tail[2] = tail[3] = 0xee;
	assert_int_equal(proto_decode_tail(tail), -ERANGE);
}

static void resv_mem_bytes(void **state)
{
	static const uint8_t want[24] = {1,    0,    20,   0,	 1, 0, 0, 0,
					 0x00, 0x00, 0xe0, 0xfe, 0, 0, 0, 0,
					 0xff, 0xff, 0xef, 0xfe, 0, 0, 0, 0};
	struct proto_resv_mem msi = {VIRTIO_IOMMU_RESV_MEM_T_MSI, 0xfee00000, 0xfeefffff};
	uint8_t buf[24];

	(void)state;
	memset(buf, 0x5a, sizeof(buf));
	assert_int_equal(proto_encode_resv_mem(buf, 23, &msi), 0);
	assert_int_equal(buf[0], 0x5a);
	assert_int_equal(proto_encode_resv_mem(buf, 24, &msi), 24);
	assert_memory_equal(buf, want, sizeof(want));
}

static void walks_properties(void **state)
{
	/* unknown type 7 with 3 bytes, reserved bits set on a type 1, RESV_MEM */
	uint8_t buf[64] = {7, 0, 3, 0, 1, 2, 3, 1, 0x10, 0, 0};
	struct proto_resv_mem in = {9, 0x1000, 0x1fff}, out;
	struct proto_property p;
	size_t at = 0;

	(void)state;
	assert_int_equal(proto_encode_resv_mem(buf + 11, 24, &in), 24);
	assert_int_equal(proto_next_property(buf, sizeof(buf), &at, &p), 1);
	assert_true(p.type == 7 && p.len == 3 && p.value == buf + 4 && !p.reserved_set);
	assert_int_equal(proto_decode_resv_mem(&p, &out), -EBADMSG);
	assert_int_equal(proto_next_property(buf, sizeof(buf), &at, &p), 1);
	assert_true(p.type == 1 && p.len == 0 && p.reserved_set);
	assert_int_equal(proto_next_property(buf, sizeof(buf), &at, &p), 1);
	assert_int_equal(proto_decode_resv_mem(&p, &out), 0);
	assert_true(out.start == 0x1000 && out.last == 0x1fff);
	assert_int_equal(out.subtype, VIRTIO_IOMMU_RESV_MEM_T_RESERVED);
	assert_int_equal(proto_next_property(buf, sizeof(buf), &at, &p), 0);
}

static void bounds_properties(void **state)
{
	uint8_t buf[8] = {1, 0, 4, 0};
	struct proto_resv_mem in = {0, 2, 1}, out;
	uint8_t resv[24];
	struct proto_property p;
	size_t at = 0;

	(void)state;
	assert_int_equal(proto_next_property(buf, 8, &at, &p), 1);
	assert_int_equal(proto_next_property(buf, 8, &at, &p), 0);
	buf[2] = 5; /* one byte over the end */
	at = 0;
	assert_int_equal(proto_next_property(buf, 8, &at, &p), -EBADMSG);
	for (size_t len = 0; len < 4; len++) /* no room for a header: the end */
		assert_int_equal(proto_next_property(buf, len, &at, &p), 0);
	proto_encode_resv_mem(resv, 24, &in);
	assert_int_equal(proto_next_property(resv, 24, &at, &p), 1);
	assert_int_equal(proto_decode_resv_mem(&p, &out), -EBADMSG); /* start > end */
}

static void fault_bytes(void **state)
{
	static const uint8_t want[24] = {2,    0,    0,	   0,	 0x02, 0x01, 0,	   0,
					 0x34, 0x12, 0,	   0,	 0,    0,    0,	   0,
					 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01};
	struct proto_fault in = {2, 0xfffffe02, 0x1234, 0x0102030405060708ull}, out;
	uint8_t buf[24];

	(void)state;
	in.flags |= VIRTIO_IOMMU_FAULT_F_ADDRESS;
	memset(buf, 0xff, sizeof(buf));
	proto_encode_fault(buf, &in);
	assert_memory_equal(buf, want, sizeof(want));
	assert_int_equal(proto_decode_fault(buf, 24, &out), 0);
	assert_true(out.flags == 0x102 && out.endpoint == 0x1234 && out.reason == 2);
	assert_true(out.address == in.address);
	in.flags = VIRTIO_IOMMU_FAULT_F_READ; /* no address: none is told */
	proto_encode_fault(buf, &in);
	assert_memory_equal(buf + 16, ((uint8_t[8]){0}), 8);
}

static void fault_rules_of_the_driver(void **state)
{
	uint8_t buf[24] = {77, 0, 0, 0, 0xfc, 0, 0xff, 0xff, 1, 0, 0, 0, 9, 9, 9, 9};
	struct proto_fault out;

	(void)state;
	assert_int_equal(proto_decode_fault(buf, 23, &out), -EBADMSG);
	assert_int_equal(proto_decode_fault(buf, 24, &out), 0);
	assert_true(out.reason == VIRTIO_IOMMU_FAULT_R_UNKNOWN && out.flags == 0);
	for (int i = 1; i < 4; i++) {
		buf[i] = 1;
		assert_int_equal(proto_decode_fault(buf, 24, &out), -EBADMSG);
		buf[i] = 0;
	}
}

static void config_bytes(void **state)
{
	struct virtio_iommu_config in = {.page_size_mask = 0xfffffffffffff000ull,
					 .input_start = 1,
					 .input_last = 0x0102030405060708ull,
					 .domain_first = 2,
					 .domain_last = 0x11223344,
					 .probe_size = 0x200,
					 .bypass = 1};
	static const uint8_t want[40] = {
		0,    0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,    0,    0, 0, 0, 0,
		0,    0,    0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 2, 0, 0, 0,
		0x44, 0x33, 0x22, 0x11, 0,    2,    0,	  0,	1,    0,    0, 0,
	};
	struct virtio_iommu_config out;
	uint8_t buf[40];

	(void)state;
	proto_encode_config(buf, &in);
	assert_memory_equal(buf, want, sizeof(want));
	proto_decode_config(buf, &out);
	assert_memory_equal(&in, &out, sizeof(in));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_is_one_to_one),
		cmocka_unit_test(status_of_other_values),
		cmocka_unit_test(decodes_map),
		cmocka_unit_test(decodes_the_others),
		cmocka_unit_test(sees_reserved_bytes),
		cmocka_unit_test(refuses_short_requests),
		cmocka_unit_test(refuses_unknown_types),
		cmocka_unit_test(encodes_what_it_decodes),
		cmocka_unit_test(tail_round_trip),
		cmocka_unit_test(resv_mem_bytes),
		cmocka_unit_test(walks_properties),
		cmocka_unit_test(bounds_properties),
		cmocka_unit_test(fault_bytes),
		cmocka_unit_test(fault_rules_of_the_driver),
		cmocka_unit_test(config_bytes),
	};

	return cmocka_run_group_tests_name("proto", tests, NULL, NULL);
}
