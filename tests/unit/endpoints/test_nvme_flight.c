/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The NVMe controller with commands under way, on disks that answer when the
 * test says so. */
#include "nvme_host.h"

#include <endian.h>
#include <errno.h>
#include <unistd.h>

#include "endpoints/block/internal.h"

#define MEM "backend=mem,size=8M,queues=4,queue-size=64"

static struct {
	unsigned started[NVME_NAMESPACES_MAX], flushes, cancels;
	bool at_once; /* answers with a kick */
	struct block_list list;
} slow;

static struct nvme *nvme_of(struct host *h)
{
	return to_nvme(h->g->ep);
}

static void answer(struct block *b)
{
	struct block_io *io;

	while ((io = block_list_pop(&slow.list)) != NULL) {
		io->result = 0;
		block_list_push(&b->finished, io);
	}
}

static void slow_start(struct block *b, struct block_io *io)
{
	const struct nvme *n = b->opaque;

	for (unsigned i = 0; i < NVME_NAMESPACES_MAX; i++)
		slow.started[i] += n->ns[i].block == b;
	slow.flushes += io->op == BLOCK_FLUSH;
	block_list_push(&slow.list, io);
}

static void slow_kick(struct block *b)
{
	if (slow.at_once)
		answer(b);
}

static void slow_cancel(struct block *b, struct block_io *io)
{
	(void)b;
	(void)io;
	slow.cancels++;
}

static void slow_wait(struct block *b, unsigned timeout_ms)
{
	(void)b;
	usleep(timeout_ms > 5 ? 5000 : timeout_ms * 1000);
}

static const struct block_engine slow_engine = {
	.name = "slow",
	.start = slow_start,
	.kick = slow_kick,
	.cancel = slow_cancel,
	.wait = slow_wait,
};

static struct host make(const char *options)
{
	struct host h = host_create(true, options);
	struct nvme *n = nvme_of(&h);

	memset(&slow, 0, sizeof(slow));
	for (unsigned i = 0; i < NVME_NAMESPACES_MAX; i++) {
		if (n->ns[i].block)
			n->ns[i].block->engine = &slow_engine;
	}
	host_add_queue(&h, 1);
	return h;
}

static uint32_t csts(struct host *h)
{
	return (uint32_t)guest_reg(h->g, 0, NVME_REG_CSTS, 4);
}

static void put_read(struct host *h, uint32_t blocks)
{
	struct nvme_cmd cmd = {.opcode = NVME_IO_READ, .nsid = htole32(1)};

	cmd.cdw12 = htole32(blocks - 1);
	host_prp(h, &cmd, 0, blocks * 512);
	host_put(h, 1, cmd);
	host_ring(h, 1);
	endpoint_poll(h->g->ep, 64);
}

static void a_flush_of_all_takes_all(void **state)
{
	struct host h = make(MEM ",ns2=mem:1M,ns5=null:1M");
	struct nvme_cmd cmd = {.opcode = NVME_IO_FLUSH, .nsid = htole32(NVME_NSID_ALL)};

	(void)state;
	slow.at_once = true;
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	assert_int_equal(slow.started[0], 1);
	assert_int_equal(slow.started[1], 1);
	assert_int_equal(slow.started[4], 1);
	cmd.nsid = htole32(2);
	assert_int_equal(host_command(&h, 1, cmd, NULL), 0);
	assert_int_equal(slow.started[1], 2);
	assert_int_equal(slow.flushes, 4);
	host_destroy(&h);
}

static void a_shutdown_flushes_before_it_is_complete(void **state)
{
	struct host h = make(MEM ",ns2=mem:1M");
	uint32_t cc = (uint32_t)guest_reg(h.g, 0, NVME_REG_CC, 4);
	struct nvme *n = nvme_of(&h);

	(void)state;
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, cc | 1u << 14);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(csts(&h), NVME_CSTS_RDY | NVME_CSTS_SHST_OCCURRING);
		assert_int_equal(slow.flushes, i + 1);
		answer(n->ns[i].block);
		endpoint_poll(h.g->ep, 64);
	}
	assert_int_equal(csts(&h), NVME_CSTS_RDY | NVME_CSTS_SHST_COMPLETE);
	host_destroy(&h);
}

static void commands_the_disk_lost_keep_the_controller_off(void **state)
{
	struct host h = make(MEM);
	struct nvme *n = nvme_of(&h);
	uint64_t data = HOST_DATA & ~0xfffull;

	(void)state;
	n->drain_ms = 20;
	put_read(&h, 8);
	put_read(&h, 8);
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
	assert_non_null(strstr(h.g->said, "has not answered 2 requests"));
	assert_int_equal(slow.cancels, 2);
	assert_int_equal(csts(&h), 0);
	assert_true(endpoint_busy(h.g->ep));
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, NVME_CC_EN | 6u << 16 | 4u << 20);
	assert_int_equal(csts(&h), 0);
	/* The pages are the disk's until it answers. */
	assert_int_equal(guest_unmap(h.g, 0, GUEST_LEN), GUEST_PARKED);
	answer(n->ns[0].block);
	endpoint_poll(h.g->ep, 64);
	assert_int_equal(guest_unpark(h.g), VIRTIO_IOMMU_S_OK);
	assert_false(endpoint_busy(h.g->ep));
	assert_int_equal(csts(&h), NVME_CSTS_RDY);
	assert_int_equal(guest_map(h.g, data, GUEST_LEN - data, RW), 0);
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
	assert_int_equal(guest_map(h.g, 0, data, RW), 0);
	host_enable(&h);
	host_add_queue(&h, 1);
	slow.at_once = true;
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 8, 0), 0);
	host_destroy(&h);
}

static void put_read_on(struct host *h, unsigned queue)
{
	struct nvme_cmd cmd = {.opcode = NVME_IO_READ, .nsid = htole32(1)};

	host_prp(h, &cmd, 0, 512);
	host_put(h, queue, cmd);
	host_ring(h, queue);
	endpoint_poll(h->g->ep, 64);
}

/* A queue that is deleted ends its own commands, and waits for no others. */
static void deleting_a_queue_leaves_others_alone(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_DELETE_SQ, .cdw10 = htole32(1)};
	struct host h = make(MEM);
	struct nvme *n = nvme_of(&h);
	struct nvme_cqe cqe;

	(void)state;
	host_add_queue(&h, 2);
	n->drain_ms = 20;
	put_read_on(&h, 2);
	/* Nothing of its own is under way: nothing is waited for. */
	assert_int_equal(host_command(&h, 0, cmd, NULL), 0);
	assert_int_equal(slow.cancels, 0);
	cmd.opcode = NVME_ADMIN_DELETE_CQ;
	assert_int_equal(host_command(&h, 0, cmd, NULL), 0);
	host_add_queue(&h, 1);
	put_read_on(&h, 1);
	cmd.opcode = NVME_ADMIN_DELETE_SQ;
	assert_int_equal(host_command(&h, 0, cmd, NULL), 0);
	assert_int_equal(slow.cancels, 1);
	assert_int_equal(n->lost, 1);
	assert_non_null(strstr(h.g->said, "has not answered 1 requests"));
	answer(n->ns[0].block);
	endpoint_poll(h.g->ep, 64);
	assert_int_equal(n->lost, 0);
	assert_true(host_take(&h, 2, &cqe));
	assert_int_equal(le16toh(cqe.status) >> 1, 0);
	assert_false(host_take(&h, 1, &cqe));
	assert_false(endpoint_busy(h.g->ep));
	host_destroy(&h);
}

/* As many commands as there are requests, and more: the rest stays queued. */
static void commands_beyond_the_limit_wait(void **state)
{
	struct host h = make("backend=mem,size=8M,queues=4");
	struct nvme *n = nvme_of(&h);
	struct nvme_cqe cqe;

	(void)state;
	for (unsigned i = 0; i < NVME_REQUESTS_NR - 1; i++) {
		struct nvme_request *rq = n->free;

		assert_non_null(rq);
		n->free = rq->next;
	}
	assert_null(n->free);
	put_read(&h, 8);
	assert_null(slow.list.first);
	nvme_request_free(n, &n->request[0]);
	endpoint_poll(h.g->ep, 64);
	assert_non_null(slow.list.first);
	answer(n->ns[0].block);
	endpoint_poll(h.g->ep, 64);
	assert_true(host_take(&h, 1, &cqe));
	assert_int_equal(le16toh(cqe.status) >> 1, 0);
	host_destroy(&h);
}

/* What ends while bus mastering is off is told when it is on again. */
static void completions_wait_for_bus_mastering(void **state)
{
	struct host h = make(MEM);
	static uint8_t before[4096];
	void *cq = guest_at(h.g, HOST_CQ + 0x10000);
	struct nvme_cqe cqe;

	(void)state;
	put_read(&h, 8);
	put_read(&h, 8);
	guest_bus_master(h.g, false);
	memcpy(before, cq, sizeof(before));
	answer(nvme_of(&h)->ns[0].block);
	guest_run(h.g, 10);
	/* A doorbell does not make it write either. */
	guest_set_reg(h.g, 0, NVME_REG_DBS + 12, 4, h.queue[1].cq_head);
	guest_run(h.g, 10);
	assert_memory_equal(before, cq, sizeof(before));
	assert_int_equal(h.g->irqs[1], 0);
	guest_bus_master(h.g, true);
	guest_run(h.g, 10);
	assert_true(host_take(&h, 1, &cqe));
	assert_true(host_take(&h, 1, &cqe));
	assert_false(host_take(&h, 1, &cqe));
	assert_int_not_equal(h.g->irqs[1], 0);
	host_destroy(&h);
}

/* One fault says that a completion queue is gone, not one for each command. */
static void a_lost_completion_queue_is_one_fault(void **state)
{
	struct host h = make(MEM);
	const uint64_t cq = HOST_CQ + 0x10000;

	(void)state;
	assert_int_equal(guest_unmap(h.g, 0, GUEST_LEN), 0);
	assert_int_equal(guest_map(h.g, 0, cq, RW), 0);
	assert_int_equal(guest_map(h.g, HOST_DATA, GUEST_LEN - HOST_DATA, RW), 0);
	for (unsigned i = 0; i < HOST_QUEUE_LEN - 1; i++)
		put_read(&h, 8);
	assert_int_equal(guest_faults(h.g, NULL), 0);
	answer(nvme_of(&h)->ns[0].block);
	guest_run(h.g, 10);
	assert_int_equal(csts(&h), NVME_CSTS_RDY | NVME_CSTS_CFS);
	assert_int_equal(guest_faults(h.g, NULL), 1);
	assert_false(endpoint_busy(h.g->ep));
	assert_int_equal(guest_map(h.g, cq, HOST_DATA - cq, RW), 0);
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
	host_enable(&h);
	host_add_queue(&h, 1);
	slow.at_once = true;
	assert_int_equal(host_rw(&h, NVME_IO_READ, 0, 8, 0), 0);
	host_destroy(&h);
}

/* A reset comes between two ranges: the next one, begun since, is cancelled too. */
static void what_a_reset_begins_is_cancelled(void **state)
{
	struct host h = make(MEM);
	struct nvme_cmd cmd = {.opcode = NVME_IO_DSM, .nsid = htole32(1)};
	uint64_t *range = guest_at(h.g, HOST_DATA);
	struct nvme *n = nvme_of(&h);

	(void)state;
	n->drain_ms = 20;
	range[0] = range[2] = htole64(8ull << 32);
	range[1] = range[3] = 0;
	cmd.cdw10 = htole32(1);
	cmd.cdw11 = htole32(1u << 2);
	host_prp(&h, &cmd, 0, 32);
	host_put(&h, 1, cmd);
	host_ring(&h, 1);
	endpoint_poll(h.g->ep, 64);
	answer(n->ns[0].block);
	guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
	assert_int_equal(slow.started[0], 2);
	assert_int_equal(slow.cancels, 2);
	answer(n->ns[0].block);
	endpoint_poll(h.g->ep, 64);
	assert_false(endpoint_busy(h.g->ep));
	host_destroy(&h);
}

/* ---- much to do, in parts ---- */

#define LARGE "backend=mem,size=512M,block-size=4096,queues=4"

/* A command that clears 256 MiB, begun and not finished. */
static struct host begin_zeroes(uint8_t opcode)
{
	struct host h = host_create(true, LARGE);
	struct nvme_cmd cmd = {.opcode = opcode, .nsid = htole32(1)};
	uint64_t *range = guest_at(h.g, HOST_DATA);

	host_add_queue(&h, 1);
	memset(nvme_of(&h)->ns[0].block->ram, 0x5a, 300u << 20);
	if (opcode == NVME_IO_DSM) {
		range[0] = htole64(1ull << 32); /* one block, then the rest */
		range[1] = 0;
		range[2] = htole64(65535ull << 32);
		range[3] = htole64(1);
		cmd.cdw10 = htole32(1);
		cmd.cdw11 = htole32(1u << 2);
		host_prp(&h, &cmd, 0, 32);
	} else {
		cmd.cdw12 = htole32(65535);
	}
	host_put(&h, 1, cmd);
	host_ring(&h, 1);
	endpoint_poll(h.g->ep, 64);
	endpoint_poll(h.g->ep, 64);
	return h;
}

/* One command does not keep the thread from other endpoints. */
static void much_to_clear_takes_turns(void **state)
{
	static const uint8_t op[] = {NVME_IO_WRITE_ZEROES, NVME_IO_DSM};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(op); i++) {
		struct host h = begin_zeroes(op[i]);
		const uint8_t *ram = nvme_of(&h)->ns[0].block->ram;
		struct nvme_cqe cqe;
		unsigned turns = 2;

		assert_false(host_take(&h, 1, &cqe));
		assert_true(endpoint_busy(h.g->ep));
		assert_true(endpoint_arm(h.g->ep));
		while (turns < 1000 && !host_take(&h, 1, &cqe)) {
			assert_int_equal(ram[(256u << 20) - 1], 0x5a);
			assert_true(endpoint_poll(h.g->ep, 64) &
				    (ENDPOINT_MORE | ENDPOINT_DONE));
			turns++;
		}
		assert_int_equal(le16toh(cqe.status) >> 1, 0);
		assert_in_range(turns, (256u << 20) / BLOCK_KICK_LEN,
				(256u << 20) / BLOCK_KICK_LEN + 2);
		assert_int_equal(ram[(256u << 20) - 1], 0);
		assert_int_equal(ram[256u << 20], 0x5a);
		host_destroy(&h);
	}
}

/* A reset, or the end of its queue, in the middle: the rest is left as it is. */
static void much_to_clear_ends_with_its_queue(void **state)
{
	static const uint8_t op[] = {NVME_IO_WRITE_ZEROES, NVME_IO_DSM};
	struct nvme_cmd cmd = {.opcode = NVME_ADMIN_DELETE_SQ, .cdw10 = htole32(1)};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct host h = begin_zeroes(op[i / 2]);
		const uint8_t *ram = nvme_of(&h)->ns[0].block->ram;

		if (i % 2) {
			assert_int_equal(host_command(&h, 0, cmd, NULL), 0);
		} else {
			guest_set_reg(h.g, 0, NVME_REG_CC, 4, 0);
			assert_false(endpoint_busy(h.g->ep));
			host_enable(&h);
		}
		assert_int_equal(nvme_of(&h)->lost, 0);
		assert_int_equal(ram[4096], 0);
		guest_run(h.g, 10);
		assert_int_equal(ram[(256u << 20) - 1], 0x5a);
		host_destroy(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flush_of_all_takes_all),
		cmocka_unit_test(a_shutdown_flushes_before_it_is_complete),
		cmocka_unit_test(commands_the_disk_lost_keep_the_controller_off),
		cmocka_unit_test(deleting_a_queue_leaves_others_alone),
		cmocka_unit_test(commands_beyond_the_limit_wait),
		cmocka_unit_test(completions_wait_for_bus_mastering),
		cmocka_unit_test(a_lost_completion_queue_is_one_fault),
		cmocka_unit_test(what_a_reset_begins_is_cancelled),
		cmocka_unit_test(much_to_clear_takes_turns),
		cmocka_unit_test(much_to_clear_ends_with_its_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
