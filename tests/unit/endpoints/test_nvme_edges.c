/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* NVMe commands at the edges of the standard: namespaces, lists and descriptors that
 * make no sense, and queues, shutdowns and resets at bad moments. */
#include "nvme_host.h"

#define DNR	  NVME_DNR
#define LAST_PAGE 0xfffffffffffff000ull
#define MEM	  "backend=mem,size=8M,queues=4"

static uint32_t csts(struct host *h)
{
	return (uint32_t)guest_reg(h->g, 0, NVME_REG_CSTS, 4);
}

static void set_cc(struct host *h, uint32_t value)
{
	guest_set_reg(h->g, 0, NVME_REG_CC, 4, value);
}

static struct host make(const char *options)
{
	struct host h = host_create(true, options);

	host_add_queue(&h, 1);
	return h;
}

static uint16_t admin(struct host *h, struct nvme_cmd cmd)
{
	return host_command(h, 0, cmd, NULL);
}

/* ---- namespaces ---- */

static void namespaces_are_checked(void **state)
{
	static const uint32_t none[] = {0, 2, 8, 9, 0x80000000u, NVME_NSID_ALL - 1};
	static const uint8_t op[] = {NVME_IO_READ,	   NVME_IO_WRITE, NVME_IO_COMPARE,
				     NVME_IO_WRITE_ZEROES, NVME_IO_DSM,	  NVME_IO_FLUSH};
	struct host h = make(MEM);
	struct nvme_cmd cmd = {0};

	(void)state;
	host_prp(&h, &cmd, 0, 512);
	for (unsigned i = 0; i < ARRAY_LEN(op); i++) {
		cmd.opcode = op[i];
		for (unsigned j = 0; j < ARRAY_LEN(none); j++) {
			cmd.nsid = htole32(none[j]);
			assert_int_equal(host_command(&h, 1, cmd, NULL),
					 DNR | NVME_INVALID_NSID);
		}
		/* All of them: only a flush can. */
		cmd.nsid = htole32(NVME_NSID_ALL);
		assert_int_equal(host_command(&h, 1, cmd, NULL),
				 op[i] == NVME_IO_FLUSH ? 0 : DNR | NVME_INVALID_NSID);
		cmd.nsid = htole32(1);
		assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	}
	host_destroy(&h);
}

/* Ranges of all commands that have one, at the end and across it, with sums that
 * do not fit 64 bits. */
static void ranges_do_not_wrap(void **state)
{
	static const uint8_t op[] = {NVME_IO_READ, NVME_IO_WRITE, NVME_IO_COMPARE,
				     NVME_IO_WRITE_ZEROES};
	static const uint64_t lba[] = {16384,	  16377,      ~0ull,
				       ~0ull - 6, 1ull << 55, 1ull << 63};
	struct host h = make(MEM);
	struct nvme_cmd dsm = {.opcode = NVME_IO_DSM, .nsid = htole32(1)};
	uint64_t *range = guest_at(h.g, HOST_DATA);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(op); i++) {
		for (unsigned j = 0; j < ARRAY_LEN(lba); j++)
			assert_int_equal(host_rw(&h, op[i], lba[j], 8, 0),
					 DNR | NVME_LBA_RANGE);
		assert_int_equal(host_rw(&h, op[i], 16376, 8, 0), 0);
	}
	dsm.cdw11 = htole32(1u << 2);
	dsm.cdw10 = htole32(1); /* two: the second is wrong */
	host_prp(&h, &dsm, 0, 32);
	memset(range, 0, 32);
	range[0] = htole64(8ull << 32);
	range[2] = htole64(8ull << 32);
	for (unsigned j = 0; j < ARRAY_LEN(lba); j++) {
		range[3] = htole64(lba[j]);
		assert_int_equal(host_command(&h, 1, dsm, NULL), DNR | NVME_LBA_RANGE);
	}
	range[2] = htole64(0xffffffffull << 32);
	range[3] = htole64(1);
	assert_int_equal(host_command(&h, 1, dsm, NULL), DNR | NVME_LBA_RANGE);
	range[2] = 0; /* an empty one is none */
	assert_int_equal(host_command(&h, 1, dsm, NULL), 0);
	/* As many as there can be. */
	memset(range, 0, 4096);
	dsm.cdw10 = htole32(0xff);
	host_prp(&h, &dsm, 0, 4096);
	assert_int_equal(host_command(&h, 1, dsm, NULL), 0);
	host_destroy(&h);
}

/* ---- lists ---- */

static void the_second_prp_is_checked(void **state)
{
	static const uint64_t wrong[] = {1, 4, 8, 2048, 4095};
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_IO_READ, .nsid = htole32(1)};

	(void)state;
	cmd.cdw12 = htole32(15); /* two pages: no list */
	host_prp(&h, &cmd, 0, 8192);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
		host_prp(&h, &cmd, 0, 8192);
		cmd.prp2 |= htole64(wrong[i]);
		assert_int_equal(host_command(&h, 1, cmd, NULL),
				 DNR | NVME_PRP_OFFSET_INVALID);
	}
	/* Not looked at when one page is enough. */
	cmd.cdw12 = htole32(7);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	host_destroy(&h);
}

/* Pages that follow each other around the end of the address space are not one
 * piece, and nothing is reached. */
static void addresses_do_not_wrap(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_IO_WRITE, .nsid = htole32(1)};

	(void)state;
	cmd.cdw12 = htole32(15);
	cmd.prp1 = htole64(0xfffffffffffff000ull);
	cmd.prp2 = 0;
	assert_int_equal(host_command(&h, 1, cmd, NULL), NVME_DATA_TRANSFER_ERROR);
	cmd.flags = 1 << 6;
	cmd.sgl = (struct nvme_sgl){.addr = htole64(0xffffffffffffff00ull),
				    .len = htole32(8192)};
	assert_int_equal(host_command(&h, 1, cmd, NULL), NVME_DATA_TRANSFER_ERROR);
	cmd.sgl.type = NVME_SGL_LAST << 4;
	cmd.sgl.len = htole32(4096);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_INVALID_SGL_SEGMENT);
	host_destroy(&h);
}

/* The last page and the first are two pages like any others. */
static void the_end_and_the_start_are_two_pages(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_IO_WRITE, .nsid = htole32(1)};
	struct nvme_sgl *list = guest_at(h.g, HOST_LIST);
	struct nvme_sgl *split = guest_at(h.g, HOST_DATA + NVME_PAGE - 16);

	(void)state;
	assert_int_equal(guest_map_at(h.g, LAST_PAGE, HOST_DATA, NVME_PAGE, RW), 0);
	assert_int_equal(guest_map_at(h.g, 0, HOST_DATA + 0x2000, NVME_PAGE, RW), 0);
	memset(guest_at(h.g, HOST_DATA), 0x11, NVME_PAGE);
	memset(guest_at(h.g, HOST_DATA + 0x2000), 0x22, NVME_PAGE);
	cmd.cdw12 = htole32(15);
	cmd.prp1 = htole64(LAST_PAGE);
	cmd.prp2 = 0;
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 16, 0x10000), 0);
	assert_memory_equal(guest_at(h.g, HOST_DATA + 0x10000), guest_at(h.g, HOST_DATA),
			    NVME_PAGE);
	assert_memory_equal(guest_at(h.g, HOST_DATA + 0x11000),
			    guest_at(h.g, HOST_DATA + 0x2000), NVME_PAGE);
	/* One piece of data, or a list, cannot go on from the one to the other. */
	cmd.flags = 1 << 6;
	cmd.sgl = (struct nvme_sgl){.addr = htole64(LAST_PAGE), .len = htole32(8192)};
	assert_int_equal(host_command(&h, 1, cmd, NULL), NVME_DATA_TRANSFER_ERROR);
	cmd.sgl = (struct nvme_sgl){.addr = htole64(UINT64_MAX - 15),
				    .len = htole32(32),
				    .type = NVME_SGL_LAST << 4};
	list[0] = (struct nvme_sgl){.addr = htole64(guest_iova(h.g, HOST_DATA)),
				    .len = htole32(4096)};
	*split = list[0];
	memcpy(guest_at(h.g, HOST_DATA + 0x2000), list, 16);
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_INVALID_SGL_SEGMENT);
	cmd.sgl.len = htole32(16);
	cmd.cdw12 = htole32(7);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	host_destroy(&h);
}

static void malformed_sgls_are_refused(void **state)
{
	static const struct {
		uint32_t len;	 /* of the only segment */
		uint8_t segment; /* its type and subtype */
		uint32_t data_len;
		uint8_t data; /* of its only descriptor */
		uint16_t status;
	} table[] = {
		{16, NVME_SGL_LAST << 4, 512, 0x00, 0},
		{16, NVME_SGL_SEGMENT << 4, 512, 0x00, 0},
		{16, NVME_SGL_LAST << 4, 511, 0x00, DNR | NVME_SGL_LENGTH_INVALID},
		{16, NVME_SGL_LAST << 4, 513, 0x00, 0},
		{16, NVME_SGL_LAST << 4, UINT32_MAX, 0x00, 0},
		{16, NVME_SGL_LAST << 4, 0, 0x00, DNR | NVME_SGL_LENGTH_INVALID},
		{0, NVME_SGL_LAST << 4, 512, 0x00, DNR | NVME_INVALID_SGL_SEGMENT},
		{15, NVME_SGL_LAST << 4, 512, 0x00, DNR | NVME_INVALID_SGL_SEGMENT},
		{17, NVME_SGL_LAST << 4, 512, 0x00, DNR | NVME_INVALID_SGL_SEGMENT},
		{16, NVME_SGL_LAST << 4 | 1, 512, 0x00, DNR | NVME_INVALID_SGL_SEGMENT},
		{16, NVME_SGL_LAST << 4, 512, 0x01, DNR | NVME_SGL_TYPE_INVALID},
		{16, NVME_SGL_LAST << 4, 512, 0x0f, DNR | NVME_SGL_TYPE_INVALID},
		{16, NVME_SGL_LAST << 4, 512, NVME_SGL_BIT_BUCKET << 4,
		 DNR | NVME_SGL_TYPE_INVALID},
		{16, NVME_SGL_LAST << 4, 512, 0x40, DNR | NVME_SGL_TYPE_INVALID},
		{16, NVME_SGL_LAST << 4, 512, 0xf0, DNR | NVME_SGL_TYPE_INVALID},
		{16, NVME_SGL_LAST << 4, 16, NVME_SGL_LAST << 4,
		 DNR | NVME_INVALID_SGL_SEGMENT},
		{32, NVME_SGL_SEGMENT << 4, 16, NVME_SGL_LAST << 4,
		 DNR | NVME_INVALID_SGL_SEGMENT},
	};
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_IO_READ, .nsid = htole32(1)};
	struct nvme_sgl *list = guest_at(h.g, HOST_LIST);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		memset(list, 0, 64);
		list[0] = (struct nvme_sgl){.addr = htole64(guest_iova(h.g, HOST_DATA)),
					    .len = htole32(table[i].data_len),
					    .type = table[i].data};
		cmd.flags = 1 << 6;
		cmd.sgl = (struct nvme_sgl){.addr = htole64(guest_iova(h.g, HOST_LIST)),
					    .len = htole32(table[i].len),
					    .type = table[i].segment};
		if (host_command(&h, 1, cmd, NULL) != table[i].status)
			fail_msg("row %u", i);
		/* The kind that the standard reserves, and admin commands. */
		cmd.flags = 3 << 6;
		assert_int_equal(host_command(&h, 1, cmd, NULL),
				 DNR | NVME_INVALID_FIELD);
	}
	cmd.opcode = NVME_ADMIN_IDENTIFY;
	cmd.flags = 1 << 6;
	assert_int_equal(admin(&h, cmd), DNR | NVME_INVALID_FIELD);
	host_destroy(&h);
	h = make(MEM ",sgl=off");
	cmd.opcode = NVME_IO_READ;
	assert_int_equal(host_command(&h, 1, cmd, NULL), DNR | NVME_INVALID_FIELD);
	host_destroy(&h);
}

/* ---- admin ---- */

static void aborts_are_answered(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_ABORT};
	struct nvme_cqe cqe;
	uint32_t result = 0;

	(void)state;
	/* Nothing of that number; a queue that is not there. */
	cmd.cdw10 = htole32(0xabcd0001);
	assert_int_equal(host_command(&h, 0, cmd, &result), 0);
	assert_int_equal(result, 1);
	cmd.cdw10 = htole32(0xabcd0002);
	assert_int_equal(host_command(&h, 0, cmd, NULL), DNR | NVME_INVALID_FIELD);
	cmd.cdw10 = htole32(0xabcdffff);
	assert_int_equal(host_command(&h, 0, cmd, NULL), DNR | NVME_INVALID_FIELD);
	/* More than the limit at a time: all are answered at once, none is over it. */
	cmd.cdw10 = 0;
	for (unsigned i = 0; i < NVME_ABORTS_MAX + 2; i++)
		host_put(&h, 0, cmd);
	host_ring(&h, 0);
	guest_run(h.g, 100);
	for (unsigned i = 0; i < NVME_ABORTS_MAX + 2; i++) {
		assert_true(host_take(&h, 0, &cqe));
		assert_int_equal(le16toh(cqe.status) >> 1, 0);
	}
	host_destroy(&h);
}

/* ---- addresses of queues ---- */

/* A queue of so many entries on the last page of the address space. */
static uint16_t create_at_the_end(struct host *h, uint8_t opcode, uint32_t entries)
{
	struct nvme_cmd cmd = {.opcode = opcode,
			       .cdw10 = htole32(2 | (entries - 1) << 16),
			       .cdw11 = htole32(1 | 1u << 16),
			       .prp1 = htole64(LAST_PAGE)};

	return admin(h, cmd);
}

/* A queue that would go on at address 0 is refused; one that ends with the last
 * byte is as good as any that cannot be reached. */
static void queues_do_not_wrap(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.cdw10 = htole32(2)};
	const uint32_t cq = NVME_PAGE / 16, sq = NVME_PAGE / 64;

	(void)state;
	for (uint32_t n = cq + 1; n <= 4 * cq; n *= 2)
		assert_int_equal(create_at_the_end(&h, NVME_ADMIN_CREATE_CQ, n),
				 DNR | NVME_INVALID_FIELD);
	for (uint32_t n = sq + 1; n <= 4 * cq; n *= 2)
		assert_int_equal(create_at_the_end(&h, NVME_ADMIN_CREATE_SQ, n),
				 DNR | NVME_INVALID_FIELD);
	assert_int_equal(create_at_the_end(&h, NVME_ADMIN_CREATE_CQ, cq), 0);
	assert_int_equal(create_at_the_end(&h, NVME_ADMIN_CREATE_SQ, sq), 0);
	cmd.opcode = NVME_ADMIN_DELETE_SQ;
	assert_int_equal(admin(&h, cmd), 0);
	cmd.opcode = NVME_ADMIN_DELETE_CQ;
	assert_int_equal(admin(&h, cmd), 0);
	assert_int_equal(guest_faults(h.g, NULL), 0);
	host_destroy(&h);
}

static void admin_queues_do_not_wrap(void **state)
{
	static const struct {
		bool sq, cq; /* on the last page */
		uint32_t sq_len, cq_len, csts;
	} table[] = {
		{true, false, 65, 8, NVME_CSTS_CFS},
		{true, false, 4096, 8, NVME_CSTS_CFS},
		{false, true, 8, 257, NVME_CSTS_CFS},
		{false, true, 8, 4096, NVME_CSTS_CFS},
		{true, false, 64, 257, NVME_CSTS_RDY},
		{false, true, 65, 256, NVME_CSTS_RDY},
	};
	struct host h = make(MEM);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		set_cc(&h, 0);
		guest_set_reg(h.g, 0, NVME_REG_ASQ, 8,
			      table[i].sq ? LAST_PAGE : guest_iova(h.g, HOST_ASQ));
		guest_set_reg(h.g, 0, NVME_REG_ACQ, 8,
			      table[i].cq ? LAST_PAGE : guest_iova(h.g, HOST_ACQ));
		guest_set_reg(h.g, 0, NVME_REG_AQA, 4,
			      (table[i].sq_len - 1) | (table[i].cq_len - 1) << 16);
		set_cc(&h, NVME_CC_EN);
		if (csts(&h) != table[i].csts)
			fail_msg("row %u", i);
		guest_run(h.g, 10);
	}
	assert_int_equal(guest_faults(h.g, NULL), 0);
	set_cc(&h, 0);
	host_enable(&h);
	host_destroy(&h);
}

/* ---- shadow doorbells ---- */

static uint16_t set_shadow(struct host *h, uint64_t shadow, uint64_t event)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_DBBUF_CONFIG,
			       .prp1 = htole64(shadow),
			       .prp2 = htole64(event)};

	return admin(h, cmd);
}

/* From here on queue 1's doorbells are in memory. */
static void use_shadow(struct host *h)
{
	uint32_t *shadow = guest_at(h->g, HOST_SHADOW);

	shadow[2] = htole32(h->queue[1].sq_tail);
	shadow[3] = htole32(h->queue[1].cq_head);
	assert_int_equal(set_shadow(h, guest_iova(h->g, HOST_SHADOW),
				    guest_iova(h->g, HOST_EVENT)),
			 0);
	h->queue[1].shadow = true;
}

/* The page at `offset` gets a mapping of its own. */
static void map_page_alone(struct host *h, uint64_t offset, uint32_t flags)
{
	uint64_t end = offset + NVME_PAGE;

	assert_int_equal(guest_unmap(h->g, 0, GUEST_LEN), 0);
	assert_int_equal(guest_map(h->g, 0, offset, RW), 0);
	assert_int_equal(guest_map(h->g, offset, NVME_PAGE, flags), 0);
	assert_int_equal(guest_map(h->g, end, GUEST_LEN - end, RW), 0);
}

/* Shadow doorbells that cannot be reached are refused: nothing changes. */
static void shadow_doorbells_out_of_reach(void **state)
{
	static const uint64_t far[] = {0, 0x123000, LAST_PAGE};
	struct host h = make(MEM);
	uint64_t shadow = guest_iova(h.g, HOST_SHADOW);
	uint64_t event = guest_iova(h.g, HOST_EVENT);

	(void)state;
	assert_int_equal(set_shadow(&h, shadow + 8, event), DNR | NVME_INVALID_FIELD);
	for (unsigned in_use = 0; in_use < 2; in_use++) {
		if (in_use)
			use_shadow(&h);
		for (unsigned i = 0; i < ARRAY_LEN(far); i++) {
			assert_int_equal(set_shadow(&h, far[i], event),
					 NVME_DATA_TRANSFER_ERROR);
			assert_int_equal(set_shadow(&h, shadow, far[i]),
					 NVME_DATA_TRANSFER_ERROR);
			assert_int_equal(guest_faults(h.g, NULL), 2);
			assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
		}
	}
	/* The device writes one of the two only. */
	h.queue[1].shadow = false;
	map_page_alone(&h, HOST_EVENT, R);
	assert_int_equal(set_shadow(&h, shadow, event), NVME_DATA_TRANSFER_ERROR);
	map_page_alone(&h, HOST_SHADOW, R);
	assert_int_equal(set_shadow(&h, shadow, event), 0);
	host_destroy(&h);
	h = make(MEM ",shadow-doorbells=off");
	assert_int_equal(set_shadow(&h, shadow, event), DNR | NVME_INVALID_OPCODE);
	host_destroy(&h);
}

/* As an event loop that never gets to sleep: guest_run() would stop. */
static void look_often(struct host *h)
{
	for (unsigned i = 0; i < 50; i++) {
		endpoint_poll(h->g->ep, 64);
		endpoint_arm(h->g->ep);
	}
}

/* A driver that takes away the page of its shadow doorbells hears of it once, in the
 * device's event and in the IOMMU's; the registers go on. */
static void shadow_doorbells_that_go_are_told_once(void **state)
{
	static const uint64_t page[] = {HOST_SHADOW, HOST_EVENT};
	struct nvme_cmd aer = {.opcode = NVME_ADMIN_ASYNC_EVENT};
	struct virtio_iommu_fault fault;
	struct nvme_cqe cqe;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(page); i++) {
		struct host h = make(MEM);

		map_page_alone(&h, page[i], RW);
		use_shadow(&h);
		host_put(&h, 0, aer);
		host_ring(&h, 0);
		assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
		assert_int_equal(guest_unmap(h.g, page[i], NVME_PAGE), 0);
		assert_int_equal(guest_faults(h.g, NULL), 0);
		look_often(&h);
		assert_int_equal(guest_faults(h.g, &fault), 1);
		assert_true(le64toh(fault.address) - guest_iova(h.g, page[i]) <
			    NVME_PAGE);
		assert_non_null(strstr(h.g->said, "shadow doorbells"));
		assert_true(host_take(&h, 0, &cqe));
		assert_int_equal(le32toh(cqe.dw0), NVME_EVENT_INTERNAL_ERROR);
		h.queue[1].shadow = false;
		assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
		look_often(&h);
		assert_int_equal(guest_faults(h.g, NULL), 0);
		assert_int_equal(csts(&h), NVME_CSTS_RDY);
		/* A page that is there again can be used again. */
		assert_int_equal(guest_map(h.g, page[i], NVME_PAGE, RW), 0);
		use_shadow(&h);
		assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
		host_destroy(&h);
	}
}

/* An event that comes up on the way to sleep is told before it. */
static void no_event_is_slept_over(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd aer = {.opcode = NVME_ADMIN_ASYNC_EVENT};

	(void)state;
	use_shadow(&h);
	host_put(&h, 0, aer);
	host_ring(&h, 0);
	guest_run(h.g, 100);
	assert_false(endpoint_arm(h.g->ep));
	((uint32_t *)guest_at(h.g, HOST_SHADOW))[2] = htole32(HOST_QUEUE_LEN);
	assert_true(endpoint_arm(h.g->ep));
	host_destroy(&h);
}

static bool is_asserted(struct host *h)
{
	return guest_config(h->g, 0x06, 2) & 1u << 3; /* PCI status: interrupt */
}

static void interrupts_on_the_pin(struct host *h)
{
	unsigned cap = guest_find_cap(h->g, 0x11, 0);

	guest_set_config(h->g, cap + 2, 2, guest_config(h->g, cap + 2, 2) & ~0x8000u);
}

/* The pin falls when the driver has seen all there is, also when it says so in
 * memory; before a sleep it is asked to write the register. */
static void the_pin_falls_with_a_shadow_doorbell(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_IO_FLUSH, .nsid = htole32(1)};
	uint32_t *event = guest_at(h.g, HOST_EVENT);
	struct nvme_cqe cqe;

	(void)state;
	use_shadow(&h);
	interrupts_on_the_pin(&h);
	for (unsigned i = 0; i < 3 * HOST_QUEUE_LEN; i++) {
		assert_false(is_asserted(&h));
		host_put(&h, 1, cmd);
		host_put(&h, 1, cmd);
		host_ring(&h, 1);
		guest_run(h.g, 100);
		assert_true(is_asserted(&h));
		assert_int_equal(le32toh(event[3]), h.queue[1].cq_head);
		assert_true(host_take(&h, 1, &cqe));
		endpoint_poll(h.g->ep, 64);
		assert_true(is_asserted(&h));
		assert_true(host_take(&h, 1, &cqe));
		/* While it watches, and on its way to sleep. */
		if (i % 2)
			endpoint_arm(h.g->ep);
		else
			endpoint_poll(h.g->ep, 64);
	}
	host_destroy(&h);
}

/* After a shutdown there is nothing to look for: a driver that comes next, in another
 * domain, finds the controller on and has not disabled it yet. */
static void shadow_doorbells_end_with_a_shutdown(void **state)
{
	struct host h = make(MEM);
	const uint32_t on = NVME_CC_EN | 6u << 16 | 4u << 20;

	(void)state;
	use_shadow(&h);
	set_cc(&h, on | 1u << 14);
	assert_int_equal(csts(&h), NVME_CSTS_RDY | NVME_CSTS_SHST_COMPLETE);
	assert_int_equal(guest_unmap(h.g, 0, GUEST_LEN), 0);
	look_often(&h);
	assert_int_equal(guest_faults(h.g, NULL), 0);
	host_destroy(&h);
}

/* A submission queue on a completion queue that is there. */
static void create_sq(struct host *h, unsigned id, unsigned cq)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_CREATE_SQ,
			       .cdw10 = htole32(id | (HOST_QUEUE_LEN - 1) << 16),
			       .cdw11 = htole32(1 | cq << 16),
			       .prp1 = htole64(guest_iova(h->g, HOST_SQ + id * 0x10000))};

	assert_int_equal(admin(h, cmd), 0);
	h->queue[id].len = HOST_QUEUE_LEN;
	h->queue[id].sq_tail = 0;
}

/* What waits for room when its submission queue is deleted is never told: the
 * driver may use the number again for another queue's commands. */
static void a_deleted_queue_tells_nothing_later(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_IO_FLUSH, .nsid = htole32(1)};
	struct nvme_cmd sq = {.opcode = NVME_ADMIN_DELETE_SQ, .cdw10 = htole32(1)};
	struct nvme_cqe cqe;
	unsigned told = 0, others = 0;

	(void)state;
	host_overfill(&h, 1, cmd);
	/* So do some of another one on the same completion queue. */
	create_sq(&h, 2, 1);
	for (unsigned i = 0; i < 3; i++)
		host_put(&h, 2, cmd);
	host_ring(&h, 2);
	guest_run(h.g, 100);
	assert_int_equal(admin(&h, sq), 0);
	while (host_take(&h, 1, &cqe)) {
		told += le16toh(cqe.sq_id) == 1;
		others += le16toh(cqe.sq_id) == 2;
		guest_run(h.g, 10);
	}
	assert_int_equal(told, HOST_QUEUE_LEN - 1);
	assert_int_equal(others, 3);
	/* The same number again. */
	create_sq(&h, 1, 1);
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
	host_destroy(&h);
}

/* ---- shutdown and reset ---- */

static void a_shutdown_ends_with_a_restart(void **state)
{
	static const uint32_t how[] = {1u << 14, 2u << 14};
	struct host h = make(MEM);
	const uint32_t on = NVME_CC_EN | 6u << 16 | 4u << 20;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		set_cc(&h, on | how[i % 2]);
		assert_int_equal(csts(&h), NVME_CSTS_RDY | NVME_CSTS_SHST_COMPLETE);
		/* Said again, it stays complete; taken back with the controller on. */
		set_cc(&h, on | how[i % 2]);
		assert_int_equal(csts(&h), NVME_CSTS_RDY | NVME_CSTS_SHST_COMPLETE);
		if (i < 2) {
			set_cc(&h, on);
			assert_int_equal(csts(&h), NVME_CSTS_RDY);
		}
		set_cc(&h, 0);
		assert_int_equal(csts(&h), 0);
		host_enable(&h);
		host_add_queue(&h, 1);
		assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
	}
	/* Disabled in the same write, and before it was ever on. */
	set_cc(&h, 1u << 14);
	assert_int_equal(csts(&h), NVME_CSTS_SHST_COMPLETE);
	set_cc(&h, 0);
	host_enable(&h);
	host_destroy(&h);
}

/* A driver that has shut the controller down submits nothing; what a doorbell
 * says all the same, or said late, is not fetched. */
static void nothing_is_fetched_after_a_shutdown(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_IO_FLUSH, .nsid = htole32(1)};
	const uint32_t on = NVME_CC_EN | 6u << 16 | 4u << 20;
	struct nvme_cqe cqe;

	(void)state;
	host_put(&h, 1, cmd);
	host_ring(&h, 1);
	set_cc(&h, on | 1u << 14);
	guest_run(h.g, 10);
	assert_false(host_take(&h, 1, &cqe));
	set_cc(&h, on);
	guest_run(h.g, 10);
	assert_true(host_take(&h, 1, &cqe));
	host_destroy(&h);
}

/* An operator's event finds a controller that its driver has left, shut down or
 * without bus mastering: nothing is written, the driver's memory is no longer its
 * queue. */
static void no_event_is_told_to_a_driver_that_left(void **state)
{
	struct nvme_cmd aer = {.opcode = NVME_ADMIN_ASYNC_EVENT};
	struct nvme_cmd wanted = {.opcode = NVME_ADMIN_SET_FEATURES,
				  .cdw10 = htole32(NVME_FEAT_ASYNC_EVENTS),
				  .cdw11 = htole32(NVME_AEC_NS_CHANGED)};
	const uint32_t on = NVME_CC_EN | 6u << 16 | 4u << 20;
	struct nvme_cqe cqe;

	(void)state;
	for (unsigned shut = 0; shut < 2; shut++) {
		struct host h = make(MEM);

		assert_int_equal(admin(&h, wanted), 0);
		host_put(&h, 0, aer);
		host_ring(&h, 0);
		guest_run(h.g, 10);
		if (shut)
			set_cc(&h, on | 1u << 14);
		else
			guest_bus_master(h.g, false);
		assert_int_equal(endpoint_control(h.g->ep, "resize", "size=4M"), 0);
		guest_run(h.g, 10);
		assert_false(host_take(&h, 0, &cqe));
		if (shut)
			set_cc(&h, on);
		else
			guest_bus_master(h.g, true);
		guest_run(h.g, 10);
		assert_true(host_take(&h, 0, &cqe));
		assert_int_equal(le32toh(cqe.dw0), NVME_EVENT_NS_CHANGED);
		host_destroy(&h);
	}
}

/* CC.EN 1 -> 0 -> 1 with commands in all stages: not fetched, under way, waiting for
 * room. No completion comes after, and the queues begin anew. */
static void enabling_again_begins_anew(void **state)
{
	struct host h = make("backend=mem,size=8M,queues=4");
	struct nvme_cmd cmd = {.opcode = NVME_IO_READ, .nsid = htole32(1)};
	static uint8_t before[4096];
	void *cq = guest_at(h.g, HOST_CQ + 0x10000);

	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		host_prp(&h, &cmd, 0, 512);
		for (unsigned i = 0; i < HOST_QUEUE_LEN - 1; i++)
			host_put(&h, 1, cmd);
		host_ring(&h, 1);
		endpoint_poll(h.g->ep, round);
		set_cc(&h, 0);
		assert_int_equal(csts(&h), 0);
		assert_false(endpoint_busy(h.g->ep));
		memcpy(before, cq, sizeof(before));
		guest_run(h.g, 10);
		assert_memory_equal(before, cq, sizeof(before));
		/* Doorbells of a controller that is off are none. */
		host_ring(&h, 1);
		guest_run(h.g, 10);
		assert_memory_equal(before, cq, sizeof(before));
		host_enable(&h);
		host_ring(&h, 1);
		guest_run(h.g, 10);
		host_add_queue(&h, 1);
		assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 1, 0), 0);
	}
	assert_int_equal(csts(&h), NVME_CSTS_RDY);
	host_destroy(&h);
}

/* Nobody looks for more during a sleep, so what waits for others is told before it. */
static void what_waits_is_told_before_a_sleep(void **state)
{
	const struct nvme_cmd flush = {.opcode = NVME_IO_FLUSH, .nsid = htole32(1)};
	struct host h = host_create(true, "backend=null,size=1M");
	struct nvme *n = (struct nvme *)h.g->ep;
	uint64_t before;

	(void)state;
	host_add_queue(&h, 1);
	n->cq[1].batch.extra = 1;
	before = n->stats.interrupts;
	host_put(&h, 1, flush);
	host_ring(&h, 1);
	endpoint_poll(h.g->ep, 64);
	assert_int_equal(n->stats.interrupts, before);
	assert_false(endpoint_arm(h.g->ep));
	assert_int_equal(n->stats.interrupts, before + 1);
	assert_int_equal(endpoint_timeout_ms(h.g->ep), -1);
	assert_false(endpoint_arm(h.g->ep));
	endpoint_poll(h.g->ep, 64);
	assert_int_equal(n->stats.interrupts, before + 1);
	host_destroy(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(namespaces_are_checked),
		cmocka_unit_test(ranges_do_not_wrap),
		cmocka_unit_test(the_second_prp_is_checked),
		cmocka_unit_test(addresses_do_not_wrap),
		cmocka_unit_test(the_end_and_the_start_are_two_pages),
		cmocka_unit_test(malformed_sgls_are_refused),
		cmocka_unit_test(aborts_are_answered),
		cmocka_unit_test(queues_do_not_wrap),
		cmocka_unit_test(admin_queues_do_not_wrap),
		cmocka_unit_test(shadow_doorbells_out_of_reach),
		cmocka_unit_test(shadow_doorbells_that_go_are_told_once),
		cmocka_unit_test(no_event_is_slept_over),
		cmocka_unit_test(the_pin_falls_with_a_shadow_doorbell),
		cmocka_unit_test(shadow_doorbells_end_with_a_shutdown),
		cmocka_unit_test(a_deleted_queue_tells_nothing_later),
		cmocka_unit_test(a_shutdown_ends_with_a_restart),
		cmocka_unit_test(nothing_is_fetched_after_a_shutdown),
		cmocka_unit_test(no_event_is_told_to_a_driver_that_left),
		cmocka_unit_test(enabling_again_begins_anew),
		cmocka_unit_test(what_waits_is_told_before_a_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
