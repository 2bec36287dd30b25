/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The NVMe controller: registers, queues, commands, and what hostile drivers and
 * missing mappings make of them. */
#include "nvme_host.h"

#include <endian.h>
#include <errno.h>
#include <unistd.h>

#define DNR 0x4000u
#define MEM "backend=mem,size=8M,queues=4,queue-size=64"

static struct host make(void)
{
	struct host h = host_create(true, MEM);

	host_add_queue(&h, 1);
	return h;
}

static uint32_t csts(struct host *h)
{
	return (uint32_t)guest_reg(h->g, 0, NVME_REG_CSTS, 4);
}

static uint16_t admin(struct host *h, uint8_t opcode, uint32_t cdw10, uint32_t cdw11,
		      uint32_t *result)
{
	struct nvme_cmd cmd = {.opcode = opcode,
			       .cdw10 = htole32(cdw10),
			       .cdw11 = htole32(cdw11),
			       .prp1 = htole64(guest_iova(h->g, HOST_PAGE))};

	return host_command(h, 0, cmd, result);
}

static uint16_t identify(struct host *h, uint8_t cns, uint32_t nsid)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_IDENTIFY,
			       .nsid = htole32(nsid),
			       .cdw10 = htole32(cns),
			       .prp1 = htole64(guest_iova(h->g, HOST_PAGE))};

	return host_command(h, 0, cmd, NULL);
}

static uint16_t get_log(struct host *h, uint8_t id, uint32_t nsid)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_GET_LOG_PAGE,
			       .nsid = htole32(nsid),
			       .cdw10 = htole32(id | 127u << 16),
			       .prp1 = htole64(guest_iova(h->g, HOST_PAGE))};

	return host_command(h, 0, cmd, NULL);
}

static const uint8_t *page(struct host *h)
{
	return guest_at(h->g, HOST_PAGE);
}

static uint32_t page32(struct host *h, unsigned at)
{
	uint32_t v;

	memcpy(&v, page(h) + at, 4);
	return le32toh(v);
}

static void fill(struct host *h, uint64_t offset, uint32_t len, unsigned seed)
{
	uint8_t *p = (uint8_t *)guest_at(h->g, HOST_DATA) + offset;

	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 509 + seed);
}

/* ---- registers ---- */

static void registers_look_like_nvme(void **state)
{
	struct host h = make();
	uint64_t cap = guest_reg(h.g, 0, NVME_REG_CAP, 8);

	(void)state;
	assert_int_equal(guest_config(h.g, 9, 3), 0x010802);
	assert_int_equal(cap & 0xffff, 63);
	assert_true(cap & 1u << 16);
	assert_true(cap >> 37 & 1);
	assert_int_equal(guest_reg(h.g, 0, NVME_REG_CAP + 4, 4), cap >> 32);
	assert_int_equal(guest_reg(h.g, 0, NVME_REG_VS, 4), 0x10400);
	guest_set_reg(h.g, 0, NVME_REG_ASQ, 8, 0);
	assert_int_equal(guest_reg(h.g, 0, NVME_REG_ASQ, 8), guest_iova(h.g, HOST_ASQ));
	host_destroy(&h);
}

static void a_wrong_configuration_is_fatal_until_reset(void **state)
{
	static const uint32_t wrong[] = {1u << 7, 1u << 4, 1u << 11, 5u << 16, 3u << 20};
	struct host h = make();

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
		assert_int_equal(csts(&h), 0);
		guest_set_reg(h.g, 0, NVME_REG_CC, 4, NVME_CC_EN | wrong[i]);
		assert_int_equal(csts(&h), NVME_CSTS_CFS);
	}
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
	host_enable(&h);
	assert_int_equal(identify(&h, NVME_CNS_CONTROLLER, 0), 0);
	host_destroy(&h);
}

static void shutdown_is_reported(void **state)
{
	struct host h = make();
	uint32_t cc = (uint32_t)guest_reg(h.g, 0, NVME_REG_CC, 4);

	(void)state;
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, cc | 1u << 14);
	assert_int_equal(csts(&h), NVME_CSTS_RDY | NVME_CSTS_SHST_COMPLETE);
	host_destroy(&h);
}

/* ---- admin ---- */

static void identify_describes_controller_and_namespaces(void **state)
{
	struct host h = host_create(true, MEM ",ns3=null:16M,serial=ABC");

	(void)state;
	assert_int_equal(identify(&h, NVME_CNS_CONTROLLER, 0), 0);
	assert_memory_equal(page(&h) + 4, "ABC                 ", 20);
	assert_int_equal(page(&h)[77], NVME_MDTS);
	assert_int_equal(page32(&h, 516), 3);
	assert_int_equal(page(&h)[512], 0x66);
	assert_int_equal(page(&h)[513], 0x44);
	assert_int_equal(identify(&h, NVME_CNS_ACTIVE_LIST, 0), 0);
	assert_int_equal(page32(&h, 0), 1);
	assert_int_equal(page32(&h, 4), 3);
	assert_int_equal(page32(&h, 8), 0);
	assert_int_equal(identify(&h, NVME_CNS_ACTIVE_LIST, 1), 0);
	assert_int_equal(page32(&h, 0), 3);
	assert_int_equal(identify(&h, NVME_CNS_NAMESPACE, 1), 0);
	assert_int_equal(page32(&h, 0), 16384);
	assert_int_equal(page(&h)[130], 9);
	assert_int_equal(identify(&h, NVME_CNS_NAMESPACE, 2), 0);
	assert_int_equal(page32(&h, 0), 0);
	assert_int_equal(identify(&h, NVME_CNS_DESCRIPTORS, 3), 0);
	assert_int_equal(page(&h)[0], 3);
	assert_int_equal(page(&h)[1], 16);
	host_destroy(&h);
}

/* Linux leaves a namespace out whose identifier it knows already. */
static void long_serials_make_different_identifiers(void **state)
{
	uint8_t first[16], second[16];
	struct host h = host_create(true, MEM ",serial=a-rather-long-name-1");

	(void)state;
	assert_int_equal(identify(&h, NVME_CNS_DESCRIPTORS, 1), 0);
	memcpy(first, page(&h) + 4, 16);
	host_destroy(&h);
	h = host_create(true, MEM ",serial=a-rather-long-name-2");
	assert_int_equal(identify(&h, NVME_CNS_DESCRIPTORS, 1), 0);
	memcpy(second, page(&h) + 4, 16);
	assert_memory_not_equal(first, second, 16);
	host_destroy(&h);
}

static void identify_refuses_what_is_not_there(void **state)
{
	struct host h = make();

	(void)state;
	assert_int_equal(identify(&h, NVME_CNS_NAMESPACE, 0), DNR | NVME_INVALID_NSID);
	assert_int_equal(identify(&h, NVME_CNS_NAMESPACE, 4), DNR | NVME_INVALID_NSID);
	assert_int_equal(identify(&h, NVME_CNS_NAMESPACE, 0xffffffff),
			 DNR | NVME_INVALID_NSID);
	assert_int_equal(identify(&h, NVME_CNS_ACTIVE_LIST, 0xfffffffe),
			 DNR | NVME_INVALID_NSID);
	assert_int_equal(identify(&h, NVME_CNS_DESCRIPTORS, 2), DNR | NVME_INVALID_NSID);
	assert_int_equal(identify(&h, 0x7f, 0), DNR | NVME_INVALID_FIELD);
	assert_int_equal(admin(&h, 0x80, 0, 0, NULL),
			 DNR | NVME_INVALID_OPCODE); /* format */
	assert_int_equal(admin(&h, 0x7f, 0, 0, NULL), DNR | NVME_INVALID_OPCODE);
	host_destroy(&h);
}

static void queues_are_checked(void **state)
{
	struct host h = make();
	const uint32_t len = 7u << 16;

	(void)state;
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 0 | len, 1, NULL),
			 DNR | NVME_QID_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 1 | len, 1, NULL),
			 DNR | NVME_QID_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 5 | len, 1, NULL),
			 DNR | NVME_QID_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 2, 1, NULL),
			 DNR | NVME_QUEUE_SIZE_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 2 | 64u << 16, 1, NULL),
			 DNR | NVME_QUEUE_SIZE_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 2 | 63u << 16, 1, NULL), 0);
	assert_int_equal(admin(&h, NVME_ADMIN_DELETE_CQ, 2, 0, NULL), 0);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 2 | len, 0, NULL),
			 DNR | NVME_INVALID_FIELD);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 2 | len, 1 | 5u << 16, NULL),
			 DNR | NVME_VECTOR_INVALID);
	/* Without MSI-X all queues share the pin, which is vector 0. */
	assert_int_equal(viommu_pci_drop_msix(h.g->ep->function), 0);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 2 | len, 1 | 1u << 16, NULL),
			 DNR | NVME_VECTOR_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_CQ, 2 | len, 1, NULL), 0);
	assert_int_equal(admin(&h, NVME_ADMIN_DELETE_CQ, 2, 0, NULL), 0);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_SQ, 2 | len, 1 | 3u << 16, NULL),
			 DNR | NVME_CQ_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_SQ, 2 | len, 1, NULL),
			 DNR | NVME_QID_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_CREATE_SQ, 2 | len, 1 | 5u << 16, NULL),
			 DNR | NVME_QID_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_DELETE_CQ, 1, 0, NULL),
			 DNR | NVME_QUEUE_DELETION_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_DELETE_SQ, 3, 0, NULL),
			 DNR | NVME_QID_INVALID);
	assert_int_equal(admin(&h, NVME_ADMIN_DELETE_SQ, 1, 0, NULL), 0);
	assert_int_equal(admin(&h, NVME_ADMIN_DELETE_CQ, 1, 0, NULL), 0);
	host_destroy(&h);
}

static void features_are_kept_until_reset(void **state)
{
	struct host h = host_create(true, MEM);
	uint32_t v;

	(void)state;
	assert_int_equal(admin(&h, NVME_ADMIN_SET_FEATURES, 7, 7 | 7u << 16, &v), 0);
	assert_int_equal(v, 3 | 3u << 16);
	assert_int_equal(admin(&h, NVME_ADMIN_SET_FEATURES, 6, 0, NULL), 0);
	assert_int_equal(admin(&h, NVME_ADMIN_GET_FEATURES, 6, 0, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(admin(&h, NVME_ADMIN_GET_FEATURES, 6 | 1u << 8, 0, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(admin(&h, NVME_ADMIN_SET_FEATURES, 6 | 1u << 31, 0, NULL),
			 DNR | NVME_FEATURE_NOT_SAVEABLE);
	assert_int_equal(admin(&h, NVME_ADMIN_GET_FEATURES, 0x55, 0, &v),
			 DNR | NVME_INVALID_FIELD);
	assert_int_equal(admin(&h, NVME_ADMIN_SET_FEATURES, 7, 0xffff, NULL),
			 DNR | NVME_INVALID_FIELD);
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
	host_enable(&h);
	assert_int_equal(admin(&h, NVME_ADMIN_GET_FEATURES, 6, 0, &v), 0);
	assert_int_equal(v, 1);
	host_destroy(&h);
}

static void logs_can_be_read_in_parts(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_GET_LOG_PAGE,
			       .nsid = htole32(NVME_NSID_ALL),
			       .prp1 = htole64(guest_iova(h.g, HOST_PAGE))};

	(void)state;
	assert_int_equal(host_rw(&h, NVME_IO_READ, 1 << 20, 1, 0), DNR | NVME_LBA_RANGE);
	cmd.cdw10 = htole32(NVME_LOG_ERROR | 15u << 16);
	assert_int_equal(host_command(&h, 0, cmd, NULL), 0);
	assert_int_equal(page(&h)[0], 1);
	assert_int_equal(page(&h)[8], 1); /* queue */
	assert_int_equal(page32(&h, 16), 1 << 20);
	cmd.cdw10 = htole32(NVME_LOG_SMART | 127u << 16);
	assert_int_equal(host_command(&h, 0, cmd, NULL), 0);
	assert_int_equal(page(&h)[3], 100);
	assert_int_equal(page(&h)[176], 1);
	cmd.cdw12 = htole32(176);
	cmd.cdw10 = htole32(NVME_LOG_SMART | 0u << 16);
	assert_int_equal(host_command(&h, 0, cmd, NULL), 0);
	assert_int_equal(page(&h)[0], 1);
	cmd.cdw12 = htole32(516);
	assert_int_equal(host_command(&h, 0, cmd, NULL), DNR | NVME_INVALID_FIELD);
	cmd.cdw12 = 0;
	cmd.cdw10 = htole32(0x99);
	assert_int_equal(host_command(&h, 0, cmd, NULL), DNR | NVME_LOG_PAGE_INVALID);
	host_destroy(&h);
}

static void events_are_reported_once_until_read(void **state)
{
	struct host h = make();
	struct nvme_cmd aer = {.opcode = NVME_ADMIN_ASYNC_EVENT};
	struct nvme_cqe cqe;

	(void)state;
	/* Nobody has asked for notices. */
	assert_int_equal(endpoint_control(h.g->ep, "resize", "size=6M"), 0);
	assert_int_equal(admin(&h, NVME_ADMIN_SET_FEATURES, NVME_FEAT_ASYNC_EVENTS,
			       NVME_AEC_NS_CHANGED, NULL),
			 0);
	host_put(&h, 0, aer);
	host_put(&h, 0, aer);
	host_ring(&h, 0);
	guest_run(h.g, 100);
	assert_false(host_take(&h, 0, &cqe));
	assert_int_equal(endpoint_control(h.g->ep, "resize", "size=4M"), 0);
	guest_run(h.g, 100);
	assert_true(host_take(&h, 0, &cqe));
	assert_int_equal(le32toh(cqe.dw0), NVME_EVENT_NS_CHANGED);
	assert_int_equal(endpoint_control(h.g->ep, "resize", "size=2M"), 0);
	guest_run(h.g, 100);
	assert_false(host_take(&h, 0, &cqe));
	assert_int_equal(identify(&h, NVME_CNS_NAMESPACE, 1), 0);
	assert_int_equal(page32(&h, 0), 4096);
	host_destroy(&h);
}

static void a_log_that_does_not_arrive_is_kept(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_GET_LOG_PAGE,
			       .nsid = htole32(NVME_NSID_ALL),
			       .cdw10 = htole32(NVME_LOG_CHANGED_NS | 1023u << 16)};

	(void)state;
	assert_int_equal(endpoint_control(h.g->ep, "resize", "size=4M"), 0);
	cmd.prp1 = htole64(0x1000);
	assert_int_equal(host_command(&h, 0, cmd, NULL), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(get_log(&h, NVME_LOG_CHANGED_NS, 0), 0);
	assert_int_equal(page32(&h, 0), 1);
	assert_int_equal(get_log(&h, NVME_LOG_CHANGED_NS, 0), 0);
	assert_int_equal(page32(&h, 0), 0);
	host_destroy(&h);
}

static void a_temperature_threshold_is_watched(void **state)
{
	struct host h = make();
	struct nvme_cmd aer = {.opcode = NVME_ADMIN_ASYNC_EVENT};
	struct nvme_cqe cqe;

	(void)state;
	assert_int_equal(admin(&h, NVME_ADMIN_SET_FEATURES, NVME_FEAT_ASYNC_EVENTS,
			       NVME_AEC_TEMPERATURE, NULL),
			 0);
	host_put(&h, 0, aer);
	host_ring(&h, 0);
	assert_int_equal(get_log(&h, NVME_LOG_SMART, NVME_NSID_ALL), 0);
	assert_int_equal(page(&h)[0], 0);
	assert_int_equal(admin(&h, NVME_ADMIN_SET_FEATURES, NVME_FEAT_TEMPERATURE,
			       NVME_TEMPERATURE, NULL),
			 0);
	assert_true(host_take(&h, 0, &cqe));
	assert_int_equal(le32toh(cqe.dw0), NVME_EVENT_TEMPERATURE);
	assert_int_equal(get_log(&h, NVME_LOG_SMART, 0), 0);
	assert_int_equal(page(&h)[0], 2);
	assert_int_equal(get_log(&h, NVME_LOG_SMART, 1), DNR | NVME_INVALID_FIELD);
	assert_int_equal(admin(&h, NVME_ADMIN_SET_FEATURES, NVME_FEAT_ERROR_RECOVERY,
			       1u << 16, NULL),
			 DNR | NVME_INVALID_FIELD);
	host_destroy(&h);
}

static void the_fifth_event_request_is_one_too_many(void **state)
{
	struct host h = make();
	struct nvme_cmd aer = {.opcode = NVME_ADMIN_ASYNC_EVENT};
	struct nvme_cqe cqe;

	(void)state;
	for (unsigned i = 0; i <= NVME_AERS_MAX; i++)
		host_put(&h, 0, aer);
	host_ring(&h, 0);
	guest_run(h.g, 100);
	assert_true(host_take(&h, 0, &cqe));
	assert_int_equal(le16toh(cqe.status) >> 1, DNR | NVME_AER_LIMIT);
	assert_false(host_take(&h, 0, &cqe));
	host_destroy(&h);
}

static void an_event_request_can_be_aborted(void **state)
{
	struct host h = make();
	struct nvme_cmd aer = {.opcode = NVME_ADMIN_ASYNC_EVENT};
	struct nvme_cmd abort = {.opcode = NVME_ADMIN_ABORT};
	uint16_t cid = host_put(&h, 0, aer);
	struct nvme_cqe cqe;

	(void)state;
	host_ring(&h, 0);
	abort.cdw10 = htole32((uint32_t)cid << 16);
	host_put(&h, 0, abort);
	host_ring(&h, 0);
	guest_run(h.g, 100);
	assert_true(host_take(&h, 0, &cqe));
	assert_int_equal(le16toh(cqe.cid), cid);
	assert_int_equal(le16toh(cqe.status) >> 1, NVME_ABORT_REQUESTED);
	assert_true(host_take(&h, 0, &cqe));
	assert_int_equal(le32toh(cqe.dw0), 0);
	host_destroy(&h);
}

/* ---- I/O ---- */

static void data_comes_back(void **state)
{
	static const uint32_t blocks[] = {1, 7, 8, 9, 16, 17, 64, 1000, 1024};
	static const uint32_t shift[] = {0, 512, 4, 3584};
	struct host h = make();

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		for (unsigned j = 0; j < 4; j++) {
			uint32_t len = blocks[i] * 512;
			uint8_t *data = guest_at(h.g, HOST_DATA);

			fill(&h, shift[j], len, i + j);
			assert_int_equal(
				host_rw(&h, NVME_IO_WRITE, 3, blocks[i], shift[j]), 0);
			assert_int_equal(host_rw(&h, NVME_IO_READ, 3, blocks[i],
						 0x200000 + shift[3 - j]),
					 0);
			assert_memory_equal(data + shift[j],
					    data + 0x200000 + shift[3 - j], len);
			assert_int_equal(
				host_rw(&h, NVME_IO_COMPARE, 3, blocks[i], shift[j]), 0);
			data[shift[j] + len - 1] ^= 1;
			assert_int_equal(
				host_rw(&h, NVME_IO_COMPARE, 3, blocks[i], shift[j]),
				NVME_COMPARE_FAILURE);
		}
	}
	assert_int_equal(h.g->irqs[1] > 0, 1);
	host_destroy(&h);
}

/* A disk that is nowhere, and reads as zeroes if asked to. */
static void nothing_reads_as_zeroes(void **state)
{
	struct host h = host_create(true, "backend=null,size=1M,read-zeroes=on");
	uint8_t *p = guest_at(h.g, HOST_DATA);

	(void)state;
	host_add_queue(&h, 1);
	memset(p, 0x5a, 65536);
	assert_int_equal(host_rw(&h, NVME_IO_WRITE, 0, 64, 512), 0);
	assert_int_equal(host_rw(&h, NVME_IO_COMPARE, 0, 64, 512), NVME_COMPARE_FAILURE);
	assert_int_equal(p[512], 0x5a);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 64, 512), 0);
	assert_int_equal(p[511], 0x5a);
	for (unsigned i = 512; i < 512 + 32768; i++)
		assert_int_equal(p[i], 0);
	assert_int_equal(p[512 + 32768], 0x5a);
	assert_int_equal(host_rw(&h, NVME_IO_COMPARE, 0, 64, 512), 0);
	host_destroy(&h);
}

static void ranges_and_lengths_are_checked(void **state)
{
	struct host h = make();

	(void)state;
	assert_int_equal(host_rw(&h, NVME_IO_READ, 16383, 1, 0), 0);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 16383, 2, 0), DNR | NVME_LBA_RANGE);
	assert_int_equal(host_rw(&h, NVME_IO_READ, ~0ull, 1, 0), DNR | NVME_LBA_RANGE);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1025, 0), DNR | NVME_INVALID_FIELD);
	assert_int_equal(host_rw(&h, 0x7e, 0, 1, 0), DNR | NVME_INVALID_OPCODE);
	host_destroy(&h);
}

static void zeroes_and_discards(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {.opcode = NVME_IO_DSM, .nsid = htole32(1)};
	uint32_t *range = guest_at(h.g, HOST_PAGE);
	uint8_t *data = guest_at(h.g, HOST_DATA);

	(void)state;
	fill(&h, 0, 64 * 512, 1);
	assert_int_equal(host_rw(&h, NVME_IO_WRITE, 0, 64, 0), 0);
	assert_int_equal(host_rw(&h, NVME_IO_WRITE_ZEROES, 8, 8, 0), 0);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 64, 0x100000), 0);
	assert_memory_equal(data, data + 0x100000, 8 * 512);
	for (unsigned i = 8 * 512; i < 16 * 512; i++)
		assert_int_equal(data[0x100000 + i], 0);
	assert_memory_equal(data + 16 * 512, data + 0x100000 + 16 * 512, 48 * 512);

	memset(range, 0, 4096);
	range[1] = htole32(8), range[2] = htole32(16);
	range[5] = htole32(8), range[6] = htole32(32);
	cmd.prp1 = htole64(guest_iova(h.g, HOST_PAGE));
	cmd.cdw10 = htole32(1);
	cmd.cdw11 = htole32(4);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 32, 8, 0x100000), 0);
	assert_int_equal(data[0x100000 + 100], 0);
	range[6] = htole32(16380);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_LBA_RANGE);
	cmd = (struct nvme_cmd){.opcode = NVME_IO_FLUSH, .nsid = htole32(NVME_NSID_ALL)};
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	cmd.nsid = htole32(7);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_INVALID_NSID);
	host_destroy(&h);
}

static void prp_lists_are_checked(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {.opcode = NVME_IO_READ, .nsid = htole32(1)};
	uint64_t *list = guest_at(h.g, HOST_LIST);

	(void)state;
	cmd.cdw12 = htole32(31);
	host_prp(&h, &cmd, 0, 32 * 512);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	list[1] |= htole64(8);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_PRP_OFFSET_INVALID);
	host_prp(&h, &cmd, 0, 32 * 512);
	cmd.prp2 |= htole64(4);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_PRP_OFFSET_INVALID);
	host_prp(&h, &cmd, 0, 32 * 512);
	cmd.prp1 |= htole64(2);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_PRP_OFFSET_INVALID);
	/* The list starts at a page's last entry: the rest is on the next page. */
	host_prp(&h, &cmd, 0, 32 * 512);
	list[511] = htole64(guest_iova(h.g, HOST_LIST) + 4096);
	for (unsigned i = 0; i < 3; i++)
		list[512 + i] = list[i];
	cmd.prp2 = htole64(guest_iova(h.g, HOST_LIST) + 511 * 8);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	/* A list that only points to itself ends. */
	list[511] = htole64(guest_iova(h.g, HOST_LIST) + 511 * 8);
	assert_int_not_equal(host_command(&h, 1, cmd, NULL), 0);
	host_destroy(&h);
}

static struct nvme_sgl sgl(uint64_t iova, uint32_t len, uint8_t type)
{
	return (struct nvme_sgl){
		.addr = htole64(iova), .len = htole32(len), .type = (uint8_t)(type << 4)};
}

static void sgls_describe_the_same_data(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {
		.opcode = NVME_IO_READ, .flags = 1 << 6, .nsid = htole32(1)};
	struct nvme_sgl *list = guest_at(h.g, HOST_LIST);
	uint64_t data = guest_iova(h.g, HOST_DATA) + 0x100000;
	uint8_t *at = guest_at(h.g, HOST_DATA);

	(void)state;
	fill(&h, 0, 4096, 9);
	assert_int_equal(host_rw(&h, NVME_IO_WRITE, 0, 8, 0), 0);
	cmd.cdw12 = htole32(7);
	cmd.sgl = sgl(data, 4096, NVME_SGL_DATA);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	assert_memory_equal(at, at + 0x100000, 4096);

	list[0] = sgl(data + 8192, 1000, NVME_SGL_DATA);
	list[1] = sgl(guest_iova(h.g, HOST_LIST) + 64, 32, NVME_SGL_LAST);
	list[4] = sgl(data + 16384, 3000, NVME_SGL_DATA);
	list[5] = sgl(data + 32768, 500, NVME_SGL_DATA);
	cmd.sgl = sgl(guest_iova(h.g, HOST_LIST), 32, NVME_SGL_SEGMENT);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	assert_memory_equal(at, at + 0x100000 + 8192, 1000);
	assert_memory_equal(at + 1000, at + 0x100000 + 16384, 3000);
	assert_memory_equal(at + 4000, at + 0x100000 + 32768, 96);

	list[5].len = htole32(95);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_SGL_LENGTH_INVALID);
	list[5] = sgl(0, 96, 5);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_SGL_TYPE_INVALID);
	list[0] = sgl(guest_iova(h.g, HOST_LIST), 32, NVME_SGL_SEGMENT);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_INVALID_SGL_SEGMENT);
	/* A chain of segments without end. */
	list[0] = sgl(guest_iova(h.g, HOST_LIST), 16, NVME_SGL_SEGMENT);
	cmd.sgl = list[0];
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_INVALID_SGL_COUNT);
	host_destroy(&h);
}

static void sgl_descriptors_are_limited(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {
		.opcode = NVME_IO_READ, .flags = 1 << 6, .nsid = htole32(1)};
	struct nvme_sgl *list = guest_at(h.g, HOST_DATA);

	(void)state;
	memset(list, 0, (NVME_SGL_ENTRIES_MAX + 1) * sizeof(*list));
	cmd.sgl =
		sgl(guest_iova(h.g, HOST_DATA), NVME_SGL_ENTRIES_MAX * 16, NVME_SGL_LAST);
	list[NVME_SGL_ENTRIES_MAX - 1] =
		sgl(guest_iova(h.g, HOST_DATA) + 0x100000, 512, NVME_SGL_DATA);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	cmd.sgl.len = htole32((NVME_SGL_ENTRIES_MAX + 1) * 16);
	list[NVME_SGL_ENTRIES_MAX] = list[NVME_SGL_ENTRIES_MAX - 1];
	list[NVME_SGL_ENTRIES_MAX - 1].len = 0;
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_INVALID_SGL_COUNT);
	/* More pieces than a transfer can have: one each. */
	cmd.sgl.len = htole32(1024 * 16);
	cmd.cdw12 = htole32(1023);
	for (unsigned i = 0; i < 1024; i++)
		list[i] = sgl(guest_iova(h.g, HOST_DATA) + 0x100000 + i % 2 * 4096, 512,
			      NVME_SGL_DATA);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_INVALID_SGL_COUNT);
	host_destroy(&h);
}

/* ---- the IOMMU between ---- */

static void nothing_is_fetched_without_bus_mastering(void **state)
{
	struct host h = make();
	struct nvme_cqe cqe;

	(void)state;
	guest_bus_master(h.g, false);
	host_put(&h, 1, (struct nvme_cmd){.opcode = NVME_IO_FLUSH, .nsid = htole32(1)});
	host_ring(&h, 1);
	guest_run(h.g, 50);
	assert_false(host_take(&h, 1, &cqe));
	guest_bus_master(h.g, true);
	guest_run(h.g, 50);
	assert_true(host_take(&h, 1, &cqe));
	host_destroy(&h);
}

static void an_unmapped_buffer_fails_its_command_only(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {.opcode = NVME_IO_READ, .nsid = htole32(1)};
	struct virtio_iommu_fault fault;

	(void)state;
	cmd.prp1 = htole64(0x1000);
	assert_int_equal(host_command(&h, 1, cmd, NULL), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(guest_faults(h.g, &fault), 1);
	assert_true(le64toh(fault.address) == 0x1000);
	assert_int_equal(csts(&h), NVME_CSTS_RDY);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
	host_destroy(&h);
}

static void an_unmapped_queue_is_fatal_until_reset(void **state)
{
	struct host h = make();
	struct nvme_cqe cqe;

	(void)state;
	assert_int_equal(guest_unmap(h.g, 0, GUEST_LEN), 0);
	host_put(&h, 1, (struct nvme_cmd){.opcode = NVME_IO_FLUSH, .nsid = htole32(1)});
	host_ring(&h, 1);
	guest_run(h.g, 100);
	assert_int_equal(csts(&h), NVME_CSTS_RDY | NVME_CSTS_CFS);
	assert_false(host_take(&h, 1, &cqe));
	assert_int_equal(guest_map(h.g, 0, GUEST_LEN, RW), 0);
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
	host_enable(&h);
	host_add_queue(&h, 1);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
	host_destroy(&h);
}

/* ---- rings ---- */

static void a_full_completion_queue_waits(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {.opcode = NVME_IO_FLUSH, .nsid = htole32(1)};
	uint8_t *cq = guest_at(h.g, HOST_CQ + 0x10000);
	unsigned there = 0;

	(void)state;
	host_overfill(&h, 1, cmd);
	for (unsigned i = 0; i < HOST_QUEUE_LEN; i++)
		there += cq[i * 16 + 14] & 1;
	assert_int_equal(there, HOST_QUEUE_LEN - 1);
	for (unsigned i = 0; i < 2 * (HOST_QUEUE_LEN - 1); i++) {
		struct nvme_cqe cqe;

		assert_true(host_take(&h, 1, &cqe));
		guest_run(h.g, 10);
	}
	host_destroy(&h);
}

static void shadow_doorbells_replace_the_register(void **state)
{
	struct host h = make();
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_DBBUF_CONFIG};
	volatile uint32_t *event = guest_at(h.g, HOST_EVENT);
	uint64_t before;

	(void)state;
	cmd.prp1 = htole64(guest_iova(h.g, HOST_SHADOW));
	cmd.prp2 = htole64(guest_iova(h.g, HOST_EVENT) + 4);
	assert_int_equal(host_command(&h, 0, cmd, NULL), DNR | NVME_INVALID_FIELD);
	cmd.prp2 = htole64(guest_iova(h.g, HOST_EVENT));
	assert_int_equal(host_command(&h, 0, cmd, NULL), 0);
	h.queue[1].shadow = true;
	before = guest_stat(h.g, "kicks");
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(host_rw(&h, NVME_IO_READ, i, 8, 0), 0);
	assert_int_equal(guest_stat(h.g, "kicks"), before);
	/* Before a sleep the device asks for a write at the next entry. */
	assert_int_equal(le32toh(event[2]), h.queue[1].sq_tail);
	((uint32_t *)guest_at(h.g, HOST_SHADOW))[2] = htole32(HOST_QUEUE_LEN);
	guest_run(h.g, 10);
	assert_int_equal(csts(&h), NVME_CSTS_RDY);
	host_destroy(&h);
}

static void wrong_doorbells_are_an_event(void **state)
{
	struct host h = make();
	struct nvme_cmd aer = {.opcode = NVME_ADMIN_ASYNC_EVENT};
	struct nvme_cmd log = {.opcode = NVME_ADMIN_GET_LOG_PAGE,
			       .cdw10 = htole32(NVME_LOG_ERROR)};
	struct nvme_cqe cqe;

	(void)state;
	host_put(&h, 0, aer);
	host_put(&h, 0, aer);
	host_ring(&h, 0);
	guest_set_reg(h.g, 0, NVME_REG_DBS + 8, 4, HOST_QUEUE_LEN);
	guest_run(h.g, 100);
	assert_true(host_take(&h, 0, &cqe));
	assert_int_equal(le32toh(cqe.dw0), NVME_EVENT_INVALID_DOORBELL);
	guest_set_reg(h.g, 0, NVME_REG_DBS + 8 * 60, 4, 1);
	log.prp1 = htole64(guest_iova(h.g, HOST_PAGE));
	host_put(&h, 0, log); /* which lets the next error be reported */
	host_ring(&h, 0);
	guest_run(h.g, 100);
	assert_true(host_take(&h, 0, &cqe));
	assert_int_equal(le32toh(cqe.dw0), NVME_EVENT_INVALID_REGISTER);
	assert_true(host_take(&h, 0, &cqe));
	guest_set_reg(h.g, 0, NVME_REG_DBS + 8 * 200, 4, 1);
	guest_set_reg(h.g, 0, NVME_REG_DBS + 12, 4, HOST_QUEUE_LEN);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
	host_destroy(&h);
}

/* As a driver does after a function reset. */
static void switch_msix_on(struct host *h)
{
	unsigned cap = guest_find_cap(h->g, 0x11, 0);

	guest_set_config(h->g, cap + 2, 2, guest_config(h->g, cap + 2, 2) | 0x8000);
	guest_bus_master(h->g, true);
}

static void reset_under_load_leaves_nothing(void **state)
{
	char path[] = "/tmp/viommu-nvme-XXXXXX", options[128];
	struct nvme_cmd cmd = {.opcode = NVME_IO_WRITE, .nsid = htole32(1)};
	int fd = mkstemp(path);
	struct host h;

	(void)state;
	assert_int_equal(ftruncate(fd, 8 << 20), 0);
	snprintf(options, sizeof(options), "path=%s,queues=4", path);
	h = host_create(true, options);
	unlink(path);
	close(fd);
	for (unsigned round = 0; round < 8; round++) {
		host_add_queue(&h, 1);
		cmd.cdw12 = htole32(127);
		host_prp(&h, &cmd, 0, 65536);
		for (unsigned i = 0; i < HOST_QUEUE_LEN - 1; i++)
			host_put(&h, 1, cmd);
		host_ring(&h, 1);
		endpoint_poll(h.g->ep, round);
		if (round % 2)
			guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
		else
			viommu_pci_reset(h.g->ep->function);
		assert_false(endpoint_busy(h.g->ep));
		assert_int_equal(guest_unmap(h.g, 0, GUEST_LEN), 0);
		assert_int_equal(guest_map(h.g, 0, GUEST_LEN, RW), 0);
		switch_msix_on(&h);
		host_enable(&h);
	}
	host_destroy(&h);
}

/* ---- limits ---- */

#define DEEP_SQ 0x10000u /* bytes of a submission queue of 1024 entries */
#define DEEP_CQ 0x4000u

static uint16_t deep_queue(struct host *h, uint8_t opcode, unsigned id, uint64_t at,
			   uint32_t len)
{
	struct nvme_cmd cmd = {
		.opcode = opcode,
		.cdw10 = htole32(id | (len - 1) << 16),
		.cdw11 = htole32(1 | (opcode == NVME_ADMIN_CREATE_SQ ? id << 16 : 0)),
		.prp1 = htole64(guest_iova(h->g, at))};

	return host_command(h, 0, cmd, NULL);
}

/* Fills the last queue pair with flushes and takes the completions. */
static void fill_deep_queue(struct host *h, unsigned id, uint64_t sq, uint64_t cq,
			    unsigned round)
{
	const struct nvme_cmd cmd = {.opcode = NVME_IO_FLUSH, .nsid = htole32(1)};
	uint32_t first = round * (NVME_QUEUE_LEN_MAX - 1), there = 0, at = 0;

	for (uint32_t i = 0; i < NVME_QUEUE_LEN_MAX - 1; i++) {
		at = (first + i) % NVME_QUEUE_LEN_MAX;
		memcpy((uint8_t *)guest_at(h->g, sq) + at * 64, &cmd, 64);
	}
	at = (at + 1) % NVME_QUEUE_LEN_MAX;
	guest_set_reg(h->g, 0, NVME_REG_DBS + id * 8, 4, at);
	guest_run(h->g, 1000);
	for (uint32_t i = 0; i < NVME_QUEUE_LEN_MAX - 1; i++) {
		uint32_t entry = (first + i) % NVME_QUEUE_LEN_MAX;
		unsigned pass = (first + i) / NVME_QUEUE_LEN_MAX;
		uint8_t status = ((uint8_t *)guest_at(h->g, cq))[entry * 16 + 14];

		there += status == !(pass & 1);
	}
	assert_int_equal(there, NVME_QUEUE_LEN_MAX - 1);
	guest_set_reg(h->g, 0, NVME_REG_DBS + id * 8 + 4, 4, at);
}

static void queues_may_be_many_and_deep(void **state)
{
	struct host h = host_create(true, "backend=mem,size=8M,queues=64");
	const unsigned last = NVME_IO_QUEUES_MAX;
	uint64_t at = HOST_DATA;

	(void)state;
	assert_int_equal(guest_reg(h.g, 0, NVME_REG_CAP, 8) & 0xffff,
			 NVME_QUEUE_LEN_MAX - 1);
	for (unsigned id = 1; id <= last; id++, at += DEEP_SQ + DEEP_CQ) {
		assert_int_equal(deep_queue(&h, NVME_ADMIN_CREATE_CQ, id, at + DEEP_SQ,
					    NVME_QUEUE_LEN_MAX),
				 0);
		assert_int_equal(
			deep_queue(&h, NVME_ADMIN_CREATE_SQ, id, at, NVME_QUEUE_LEN_MAX),
			0);
	}
	assert_int_equal(deep_queue(&h, NVME_ADMIN_CREATE_CQ, last + 1, at, 16),
			 DNR | NVME_QID_INVALID);
	at -= DEEP_SQ + DEEP_CQ;
	assert_int_equal(admin(&h, NVME_ADMIN_DELETE_SQ, last, 0, NULL), 0);
	assert_int_equal(
		deep_queue(&h, NVME_ADMIN_CREATE_SQ, last, at, NVME_QUEUE_LEN_MAX + 1),
		DNR | NVME_QUEUE_SIZE_INVALID);
	assert_int_equal(
		deep_queue(&h, NVME_ADMIN_CREATE_SQ, last, at, NVME_QUEUE_LEN_MAX), 0);
	for (unsigned round = 0; round < 3; round++)
		fill_deep_queue(&h, last, at, at + DEEP_SQ, round);
	host_destroy(&h);
}

static void the_error_log_keeps_the_newest(void **state)
{
	struct host h = make();

	(void)state;
	for (unsigned i = 0; i <= NVME_ERROR_LOG_NR; i++)
		assert_int_equal(host_rw(&h, NVME_IO_READ, (1 << 20) + i, 1, 0),
				 DNR | NVME_LBA_RANGE);
	assert_int_equal(get_log(&h, NVME_LOG_ERROR, NVME_NSID_ALL), 0);
	assert_int_equal(page32(&h, 0), NVME_ERROR_LOG_NR + 1);
	assert_int_equal(page32(&h, 16), (1 << 20) + NVME_ERROR_LOG_NR);
	/* The page that was asked for has 512 bytes: eight entries. */
	assert_int_equal(page32(&h, 7 * 64), NVME_ERROR_LOG_NR + 1 - 7);
	host_destroy(&h);
}

static void options_are_checked(void **state)
{
	static const char *const bad[] = {
		"backend=mem,size=8M,queues=0",
		"backend=mem,size=8M,queues=65",
		"backend=mem,size=8M,queue-size=1",
		"backend=mem,size=8M,queue-size=1025",
		"backend=mem,size=8M,block-size=777",
		"backend=mem,size=8M,ns2=mem:x",
		"backend=mem,size=8M,ns9=mem:1M",
		"backend=mem,size=1K,block-size=4096",
		"path=/nonexistent/disk",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct guest *g = guest_create(true);

		assert_true(guest_endpoint(g, "nvme", bad[i]) < 0);
		assert_int_not_equal(g->said[0], 0);
		guest_destroy(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_look_like_nvme),
		cmocka_unit_test(a_wrong_configuration_is_fatal_until_reset),
		cmocka_unit_test(shutdown_is_reported),
		cmocka_unit_test(identify_describes_controller_and_namespaces),
		cmocka_unit_test(long_serials_make_different_identifiers),
		cmocka_unit_test(identify_refuses_what_is_not_there),
		cmocka_unit_test(queues_are_checked),
		cmocka_unit_test(features_are_kept_until_reset),
		cmocka_unit_test(logs_can_be_read_in_parts),
		cmocka_unit_test(events_are_reported_once_until_read),
		cmocka_unit_test(a_log_that_does_not_arrive_is_kept),
		cmocka_unit_test(a_temperature_threshold_is_watched),
		cmocka_unit_test(the_fifth_event_request_is_one_too_many),
		cmocka_unit_test(an_event_request_can_be_aborted),
		cmocka_unit_test(data_comes_back),
		cmocka_unit_test(nothing_reads_as_zeroes),
		cmocka_unit_test(ranges_and_lengths_are_checked),
		cmocka_unit_test(zeroes_and_discards),
		cmocka_unit_test(prp_lists_are_checked),
		cmocka_unit_test(sgls_describe_the_same_data),
		cmocka_unit_test(sgl_descriptors_are_limited),
		cmocka_unit_test(nothing_is_fetched_without_bus_mastering),
		cmocka_unit_test(an_unmapped_buffer_fails_its_command_only),
		cmocka_unit_test(an_unmapped_queue_is_fatal_until_reset),
		cmocka_unit_test(a_full_completion_queue_waits),
		cmocka_unit_test(shadow_doorbells_replace_the_register),
		cmocka_unit_test(wrong_doorbells_are_an_event),
		cmocka_unit_test(reset_under_load_leaves_nothing),
		cmocka_unit_test(queues_may_be_many_and_deep),
		cmocka_unit_test(the_error_log_keeps_the_newest),
		cmocka_unit_test(options_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
