/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The NVM command set (NVMe 1.4, section 6): guest pages are held, block I/O is
 * started on them, the command is completed when it is done. */
#include <time.h>

#include "endpoints/nvme/nvme.h"

#define CDW12_FUA	 (1u << 30)
#define CDW12_DEALLOCATE (1u << 25)

static uint64_t start_lba(const struct nvme_cmd *cmd)
{
	return le32toh(cmd->cdw10) | (uint64_t)le32toh(cmd->cdw11) << 32;
}

static uint32_t blocks_nr(const struct nvme_cmd *cmd)
{
	return (le32toh(cmd->cdw12) & 0xffff) + 1;
}

static uint16_t check_range(const struct nvme_namespace *ns, uint64_t lba, uint64_t nr)
{
	return lba > ns->blocks || nr > ns->blocks - lba ? NVME_LBA_RANGE | NVME_DNR
							 : NVME_OK;
}

static uint16_t start(struct nvme *n, struct nvme_request *rq, enum block_op op)
{
	rq->io.op = op;
	rq->started = true;
	n->under_way++;
	block_start(rq->ns->block, &rq->io);
	return NVME_PENDING;
}

static void set_range(struct nvme_request *rq, uint64_t lba, uint64_t nr)
{
	rq->io = (struct block_io){
		.offset = lba << rq->ns->lba_lg2,
		.len = nr << rq->ns->lba_lg2,
		.iov = rq->iov,
		.iov_nr = rq->sg.iov_nr,
	};
}

static void count(struct nvme *n, struct nvme_request *rq, enum block_op op, uint64_t len)
{
	if (op == BLOCK_READ) {
		n->stats.reads++;
		n->stats.bytes_read += len;
		rq->ns->reads++;
		rq->ns->read_units += len / 512;
	} else {
		n->stats.writes++;
		n->stats.bytes_written += len;
		rq->ns->writes++;
		rq->ns->written_units += len / 512;
	}
}

static bool moves_nothing(const struct nvme_namespace *ns)
{
	const struct block_info *info = block_info(ns->block);

	return info->null && !info->read_zeroes;
}

static uint16_t read_write(struct nvme *n, struct nvme_request *rq, enum block_op op)
{
	const struct nvme_cmd *cmd = &rq->cmd;
	uint64_t nr = blocks_nr(cmd), len = nr << rq->ns->lba_lg2;
	uint16_t status = check_range(rq->ns, start_lba(cmd), nr);

	if (status)
		return status;
	if (len > NVME_TRANSFER_MAX)
		return NVME_FIELD_REFUSED;
	if (op == BLOCK_WRITE && block_info(rq->ns->block)->read_only)
		return NVME_NS_WRITE_PROTECTED | NVME_DNR;
	status = nvme_data_hold(n, rq, (uint32_t)len,
				op == BLOCK_READ ? VIOMMU_WRITE : VIOMMU_READ);
	if (status)
		return status;
	count(n, rq, op, len);
	if (moves_nothing(rq->ns)) {
		nvme_data_release(n, rq);
		return NVME_OK;
	}
	set_range(rq, start_lba(cmd), nr);
	rq->io.durable =
		op == BLOCK_WRITE && (!n->write_cache || le32toh(cmd->cdw12) & CDW12_FUA);
	return start(n, rq, op);
}

/* Flushes the next of the namespaces that are to be; NVME_OK: none is left. */
static uint16_t flush_step(struct nvme *n, struct nvme_request *rq)
{
	while (rq->flush_next < NVME_NAMESPACES_MAX) {
		rq->ns = &n->ns[rq->flush_next++];
		if (!rq->ns->block)
			continue;
		rq->io = (struct block_io){0};
		return start(n, rq, BLOCK_FLUSH);
	}
	return NVME_OK;
}

static uint16_t flush(struct nvme *n, struct nvme_request *rq)
{
	n->stats.flushes++;
	if (!rq->ns) { /* all */
		rq->flush_next = 0;
		return flush_step(n, rq);
	}
	rq->io = (struct block_io){0};
	return start(n, rq, BLOCK_FLUSH);
}

static uint16_t write_zeroes(struct nvme *n, struct nvme_request *rq)
{
	uint64_t nr = blocks_nr(&rq->cmd);
	uint16_t status = check_range(rq->ns, start_lba(&rq->cmd), nr);

	if (status)
		return status;
	if (block_info(rq->ns->block)->read_only)
		return NVME_NS_WRITE_PROTECTED | NVME_DNR;
	n->stats.others++;
	set_range(rq, start_lba(&rq->cmd), nr);
	rq->io.iov = NULL;
	rq->io.may_unmap = le32toh(rq->cmd.cdw12) & CDW12_DEALLOCATE;
	rq->io.durable = !n->write_cache || le32toh(rq->cmd.cdw12) & CDW12_FUA;
	return start(n, rq, BLOCK_ZEROES);
}

/* ---- Compare: into the bounce buffer, then against the guest's bytes ---- */

static uint16_t compare(struct nvme *n, struct nvme_request *rq)
{
	uint64_t nr = blocks_nr(&rq->cmd), len = nr << rq->ns->lba_lg2;
	uint16_t status = check_range(rq->ns, start_lba(&rq->cmd), nr);

	if (status)
		return status;
	if (len > NVME_TRANSFER_MAX)
		return NVME_FIELD_REFUSED;
	if (n->bounce_user)
		return NVME_RETRY;
	status = nvme_data_hold(n, rq, (uint32_t)len, VIOMMU_READ);
	if (status)
		return status;
	n->stats.others++;
	if (moves_nothing(rq->ns)) {
		nvme_data_release(n, rq);
		return NVME_OK; /* as a read would leave the guest's bytes */
	}
	n->bounce_user = rq;
	rq->compare = true;
	/* The held pages stay in rq->sg; one more iovec carries the read. */
	set_range(rq, start_lba(&rq->cmd), nr);
	n->bounce_iov = (struct iovec){n->bounce, len};
	rq->io.iov = &n->bounce_iov;
	rq->io.iov_nr = 1;
	return start(n, rq, BLOCK_READ);
}

static uint16_t finish_compare(struct nvme *n, struct nvme_request *rq)
{
	const uint8_t *at = n->bounce;

	n->bounce_user = NULL;
	for (unsigned i = 0; i < rq->sg.iov_nr; i++) {
		if (memcmp(at, rq->iov[i].iov_base, rq->iov[i].iov_len))
			return NVME_COMPARE_FAILURE;
		at += rq->iov[i].iov_len;
	}
	return NVME_OK;
}

/* ---- Dataset Management: discards, one range after the other ---- */

struct dsm_range {
	uint32_t attributes, blocks;
	uint64_t lba;
};

/* Starts the next discard; NVME_OK: none is left. */
static uint16_t dsm_step(struct nvme *n, struct nvme_request *rq)
{
	struct dsm_range r;

	while (rq->dsm_next < rq->dsm_nr) {
		memcpy(&r, n->bounce + rq->dsm_next++ * sizeof(r), sizeof(r));
		if (!r.blocks)
			continue;
		set_range(rq, le64toh(r.lba), le32toh(r.blocks));
		rq->io.iov = NULL;
		return start(n, rq, BLOCK_DISCARD);
	}
	n->bounce_user = NULL;
	return NVME_OK;
}

static uint16_t check_ranges(const struct nvme *n, const struct nvme_request *rq)
{
	struct dsm_range r;
	uint16_t status = NVME_OK;

	for (unsigned i = 0; i < rq->dsm_nr && !status; i++) {
		memcpy(&r, n->bounce + i * sizeof(r), sizeof(r));
		status = check_range(rq->ns, le64toh(r.lba), le32toh(r.blocks));
	}
	return status;
}

static uint16_t dataset_management(struct nvme *n, struct nvme_request *rq)
{
	unsigned nr = (le32toh(rq->cmd.cdw10) & 0xff) + 1;
	bool deallocate = le32toh(rq->cmd.cdw11) & 1u << 2;
	uint16_t status;

	if (n->bounce_user)
		return NVME_RETRY;
	status = nvme_data_from_guest(n, rq, n->bounce,
				      nr * (uint32_t)sizeof(struct dsm_range));
	rq->dsm_nr = (uint16_t)nr;
	if (!status)
		status = check_ranges(n, rq);
	if (status)
		return status;
	n->stats.others++;
	if (!deallocate || !block_info(rq->ns->block)->discard)
		return NVME_OK; /* hints we make no use of */
	if (block_info(rq->ns->block)->read_only)
		return NVME_NS_WRITE_PROTECTED | NVME_DNR;
	n->bounce_user = rq;
	return dsm_step(n, rq);
}

/* ---- shutdown ---- */

static struct nvme_request *shutdown_request(struct nvme *n)
{
	return &n->request[NVME_REQUESTS_NR - 1];
}

static void shutdown_done(struct nvme *n, uint16_t status)
{
	if (status)
		endpoint_log(n->ep.env.log, VIOMMU_LOG_WARN,
			     "%s: the flush of a shutdown failed", n->ep.name);
	if ((n->csts & NVME_CSTS_SHST_MASK) == NVME_CSTS_SHST_OCCURRING)
		n->csts ^= NVME_CSTS_SHST_OCCURRING | NVME_CSTS_SHST_COMPLETE;
}

void nvme_io_shutdown(struct nvme *n)
{
	struct nvme_request *rq = shutdown_request(n);
	uint16_t status;

	n->csts = (n->csts & ~NVME_CSTS_SHST_MASK) | NVME_CSTS_SHST_OCCURRING;
	if (rq->started) /* lost in an earlier one */
		return;
	rq->compare = false;
	rq->dsm_nr = 0;
	rq->flush_next = 0;
	status = flush_step(n, rq);
	if (status != NVME_PENDING)
		shutdown_done(n, status);
	/* Disks that are done at once are, to a driver that looks at once. */
	nvme_io_turn(n);
}

/* ---- completion ---- */

static uint16_t failure(const struct nvme_request *rq, int res)
{
	if (res == -ECANCELED)
		return NVME_ABORT_REQUESTED;
	if (res == -ENOSPC)
		return NVME_CAPACITY_EXCEEDED;
	return rq->io.op == BLOCK_READ ? NVME_READ_ERROR : NVME_WRITE_FAULT;
}

static uint16_t next_step(struct nvme *n, struct nvme_request *rq, int res)
{
	if (res)
		return failure(rq, res);
	if (rq->compare)
		return finish_compare(n, rq);
	return rq->dsm_nr ? dsm_step(n, rq) : flush_step(n, rq);
}

/* What a reset did not wait for has come after all; nobody waits for an answer. */
static void found(struct nvme *n, struct nvme_request *rq)
{
	bool shutdown = rq == shutdown_request(n);

	n->lost--;
	rq->lost = false;
	nvme_data_release(n, rq);
	if (shutdown)
		shutdown_done(n, NVME_OK);
	else
		nvme_request_free(n, rq);
}

void nvme_io_done(void *opaque, struct block_io *io, int res)
{
	struct nvme_request *rq = container_of(io, struct nvme_request, io);
	struct nvme *n = opaque;
	uint16_t status = NVME_OK;

	rq->started = false;
	if (!rq->lost) {
		n->under_way--;
		status = next_step(n, rq, res);
	}
	if (status == NVME_PENDING)
		return;
	if (n->bounce_user == rq)
		n->bounce_user = NULL;
	rq->status = status;
	if (rq->lost)
		found(n, rq);
	else if (rq == shutdown_request(n))
		shutdown_done(n, status);
	else
		nvme_request_complete(n, rq);
}

uint16_t nvme_io_command(struct nvme *n, struct nvme_request *rq)
{
	uint32_t nsid = le32toh(rq->cmd.nsid);

	rq->ns = nvme_ns(n, nsid);
	if (rq->cmd.opcode == NVME_IO_FLUSH && nsid == NVME_NSID_ALL)
		return flush(n, rq);
	if (!rq->ns)
		return NVME_INVALID_NSID | NVME_DNR;
	switch (rq->cmd.opcode) {
	case NVME_IO_FLUSH:
		return flush(n, rq);
	case NVME_IO_WRITE:
		return read_write(n, rq, BLOCK_WRITE);
	case NVME_IO_READ:
		return read_write(n, rq, BLOCK_READ);
	case NVME_IO_COMPARE:
		return compare(n, rq);
	case NVME_IO_WRITE_ZEROES:
		return write_zeroes(n, rq);
	case NVME_IO_DSM:
		return dataset_management(n, rq);
	default:
		return NVME_INVALID_OPCODE | NVME_DNR;
	}
}

/* ---- resets ---- */

#define DRAIN_WAIT_MS 50u

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Of one queue, or of all: NULL. */
static bool is_under_way(const struct nvme_request *rq, const struct nvme_sq *sq)
{
	return rq->started && !rq->lost && (!sq || rq->sq == sq);
}

static bool has_under_way(const struct nvme *n, const struct nvme_sq *sq)
{
	for (unsigned i = 0; n->under_way && i < NVME_REQUESTS_NR; i++) {
		if (is_under_way(&n->request[i], sq))
			return true;
	}
	return false;
}

static void cancel(struct nvme *n, const struct nvme_sq *sq)
{
	for (unsigned i = 0; n->under_way && i < NVME_REQUESTS_NR; i++) {
		struct nvme_request *rq = &n->request[i];

		if (is_under_way(rq, sq))
			block_cancel(rq->ns->block, &rq->io);
	}
}

static void lose(struct nvme *n, const struct nvme_sq *sq)
{
	for (unsigned i = 0; n->under_way && i < NVME_REQUESTS_NR; i++) {
		struct nvme_request *rq = &n->request[i];

		if (!is_under_way(rq, sq))
			continue;
		rq->lost = true;
		n->under_way--;
		n->lost++;
	}
	endpoint_log(n->ep.env.log, VIOMMU_LOG_ERROR,
		     "%s: the disk has not answered %u requests for %u ms; the "
		     "controller cannot be enabled before it does",
		     n->ep.name, n->lost, n->drain_ms);
}

void nvme_io_turn(struct nvme *n)
{
	for (unsigned i = 0; i < NVME_NAMESPACES_MAX; i++) {
		if (!n->ns[i].block)
			continue;
		block_kick(n->ns[i].block);
		block_reap(n->ns[i].block);
	}
}

void nvme_io_wait(struct nvme *n)
{
	for (unsigned i = 0; i < NVME_NAMESPACES_MAX; i++) {
		if (n->ns[i].block)
			block_wait(n->ns[i].block, DRAIN_WAIT_MS);
	}
}

void nvme_io_drain(struct nvme *n, const struct nvme_sq *sq)
{
	/* A disk that has lost something is not waited for once more. */
	uint64_t end = now_ms() + (n->lost ? 0 : n->drain_ms);

	for (;;) {
		/* Each time: a command may have begun its next part. */
		cancel(n, sq);
		nvme_io_turn(n);
		if (!has_under_way(n, sq))
			return;
		if (now_ms() >= end)
			break;
		nvme_io_wait(n);
	}
	lose(n, sq);
}
