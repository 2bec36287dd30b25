/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "nvme_host.h"

#include <endian.h>

static void init_queue(struct host *h, unsigned id)
{
	h->queue[id] = (struct host_queue){.id = id, .len = HOST_QUEUE_LEN, .phase = 1};
}

static uint64_t sq_at(unsigned id)
{
	return id ? HOST_SQ + id * 0x10000u : HOST_ASQ;
}

static uint64_t cq_at(unsigned id)
{
	return id ? HOST_CQ + id * 0x10000u : HOST_ACQ;
}

void host_enable(struct host *h)
{
	struct guest *g = h->g;

	memset(guest_at(g, HOST_ACQ), 0, 4096);
	init_queue(h, 0);
	guest_set_reg(g, 0, NVME_REG_AQA, 4, (HOST_QUEUE_LEN - 1) * 0x10001u);
	guest_set_reg(g, 0, NVME_REG_ASQ, 8, guest_iova(g, HOST_ASQ));
	guest_set_reg(g, 0, NVME_REG_ACQ, 8, guest_iova(g, HOST_ACQ));
	guest_set_reg(g, 0, NVME_REG_CC, 4, NVME_CC_EN | 6u << 16 | 4u << 20);
	assert_int_equal(guest_reg(g, 0, NVME_REG_CSTS, 4), NVME_CSTS_RDY);
}

struct host host_create(bool with_iommu, const char *options)
{
	struct host h = {.g = guest_create(with_iommu)};

	assert_int_equal(guest_endpoint(h.g, "nvme", options), 0);
	assert_int_equal(guest_map(h.g, 0, GUEST_LEN, RW), 0);
	host_enable(&h);
	return h;
}

void host_destroy(struct host *h)
{
	guest_destroy(h->g);
}

void host_add_queue(struct host *h, unsigned id)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_CREATE_CQ};

	init_queue(h, id);
	memset(guest_at(h->g, cq_at(id)), 0, 4096);
	cmd.cdw10 = htole32(id | (HOST_QUEUE_LEN - 1) << 16);
	cmd.cdw11 = htole32(1 | 2 | id << 16);
	cmd.prp1 = htole64(guest_iova(h->g, cq_at(id)));
	assert_int_equal(host_command(h, 0, cmd, NULL), 0);
	cmd.opcode = NVME_ADMIN_CREATE_SQ;
	cmd.cdw11 = htole32(1 | id << 16);
	cmd.prp1 = htole64(guest_iova(h->g, sq_at(id)));
	assert_int_equal(host_command(h, 0, cmd, NULL), 0);
}

uint16_t host_put(struct host *h, unsigned queue, struct nvme_cmd cmd)
{
	struct host_queue *q = &h->queue[queue];

	cmd.cid = htole16(q->next_cid++);
	memcpy((uint8_t *)guest_at(h->g, sq_at(queue)) + q->sq_tail * 64, &cmd, 64);
	q->sq_tail = (q->sq_tail + 1) % q->len;
	return le16toh(cmd.cid);
}

void host_ring(struct host *h, unsigned queue)
{
	struct host_queue *q = &h->queue[queue];

	if (q->shadow)
		((uint32_t *)guest_at(h->g, HOST_SHADOW))[queue * 2] =
			htole32(q->sq_tail);
	else
		guest_set_reg(h->g, 0, NVME_REG_DBS + queue * 8, 4, q->sq_tail);
}

void host_overfill(struct host *h, unsigned queue, struct nvme_cmd cmd)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < HOST_QUEUE_LEN - 1; i++)
			host_put(h, queue, cmd);
		host_ring(h, queue);
		guest_run(h->g, 100);
	}
}

bool host_take(struct host *h, unsigned queue, struct nvme_cqe *out)
{
	struct host_queue *q = &h->queue[queue];

	memcpy(out, (uint8_t *)guest_at(h->g, cq_at(queue)) + q->cq_head * 16, 16);
	if ((le16toh(out->status) & 1) != q->phase)
		return false;
	if (++q->cq_head == q->len) {
		q->cq_head = 0;
		q->phase ^= 1;
	}
	if (q->shadow)
		((uint32_t *)guest_at(h->g, HOST_SHADOW))[queue * 2 + 1] =
			htole32(q->cq_head);
	else
		guest_set_reg(h->g, 0, NVME_REG_DBS + queue * 8 + 4, 4, q->cq_head);
	return true;
}

uint16_t host_command(struct host *h, unsigned queue, struct nvme_cmd cmd,
		      uint32_t *result)
{
	uint16_t cid = host_put(h, queue, cmd);
	struct nvme_cqe cqe = {0};

	host_ring(h, queue);
	guest_run(h->g, 5000);
	assert_true(host_take(h, queue, &cqe));
	assert_int_equal(le16toh(cqe.cid), cid);
	assert_int_equal(le16toh(cqe.sq_id), queue);
	assert_int_equal(le16toh(cqe.sq_head), h->queue[queue].sq_tail);
	if (result)
		*result = le32toh(cqe.dw0);
	return le16toh(cqe.status) >> 1;
}

void host_prp(struct host *h, struct nvme_cmd *cmd, uint64_t offset, uint32_t len)
{
	uint64_t at = HOST_DATA + offset, end = at + len;
	uint64_t *list = guest_at(h->g, HOST_LIST);
	unsigned nr = 0;

	cmd->prp1 = htole64(guest_iova(h->g, at));
	at = (at / 4096 + 1) * 4096;
	cmd->prp2 = at < end ? htole64(guest_iova(h->g, at)) : 0;
	if (at + 4096 >= end)
		return;
	for (; at < end; at += 4096)
		list[nr++] = htole64(guest_iova(h->g, at));
	cmd->prp2 = htole64(guest_iova(h->g, HOST_LIST));
}

uint16_t host_rw(struct host *h, uint8_t opcode, uint64_t lba, uint32_t blocks,
		 uint64_t offset)
{
	struct nvme_cmd cmd = {.opcode = opcode, .nsid = htole32(1)};

	cmd.cdw10 = htole32((uint32_t)lba);
	cmd.cdw11 = htole32((uint32_t)(lba >> 32));
	cmd.cdw12 = htole32(blocks - 1);
	host_prp(h, &cmd, offset, blocks * 512);
	return host_command(h, 1, cmd, NULL);
}
