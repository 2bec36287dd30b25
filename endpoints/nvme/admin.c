/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The admin command set (NVMe 1.4, section 5), except what has its own file. */
#include "endpoints/nvme/nvme.h"

static uint16_t cdw_low(uint32_t cdw)
{
	return (uint16_t)le32toh(cdw);
}

static uint16_t cdw_high(uint32_t cdw)
{
	return (uint16_t)(le32toh(cdw) >> 16);
}

/* Queues of the driver's are numbered from 1 to what Number of Queues granted
 * (all that there are, if it never asked). */
static bool id_is_valid(const struct nvme *n, unsigned id)
{
	unsigned max = n->queues_granted ? n->queues_granted : n->opt.queues;

	return id >= 1 && id <= max;
}

static uint16_t check_new_queue(struct nvme *n, const struct nvme_cmd *cmd,
				unsigned entry_len)
{
	uint32_t len = cdw_high(cmd->cdw10) + 1u;
	uint64_t iova = le64toh(cmd->prp1);

	if (len < 2 || len > n->opt.queue_len)
		return NVME_QUEUE_SIZE_INVALID | NVME_DNR;
	if (!(le32toh(cmd->cdw11) & 1)) /* CAP.CQR: physically contiguous */
		return NVME_FIELD_REFUSED;
	if (iova % NVME_PAGE)
		return NVME_PRP_OFFSET_INVALID | NVME_DNR;
	return nvme_queue_wraps(iova, len, entry_len) ? NVME_FIELD_REFUSED : NVME_OK;
}

static uint16_t create_cq(struct nvme *n, const struct nvme_cmd *cmd)
{
	unsigned id = cdw_low(cmd->cdw10);
	uint16_t vector = cdw_high(cmd->cdw11);
	uint16_t status;

	if (!id_is_valid(n, id) || n->cq[id].live)
		return NVME_QID_INVALID | NVME_DNR;
	status = check_new_queue(n, cmd, sizeof(struct nvme_cqe));
	if (status)
		return status;
	/* 0 is the pin too. */
	if (vector && (vector >= viommu_pci_get_config(n->ep.function)->msix_nr ||
		       !viommu_pci_msix_enabled(n->ep.function)))
		return NVME_VECTOR_INVALID | NVME_DNR;
	nvme_cq_init(n, id, le64toh(cmd->prp1), cdw_high(cmd->cdw10) + 1u);
	n->cq[id].vector = vector;
	n->cq[id].irq_enabled = le32toh(cmd->cdw11) >> 1 & 1;
	return NVME_OK;
}

static uint16_t create_sq(struct nvme *n, const struct nvme_cmd *cmd)
{
	unsigned id = cdw_low(cmd->cdw10), cq = cdw_high(cmd->cdw11);
	uint16_t status;

	if (!id_is_valid(n, id) || n->sq[id].live)
		return NVME_QID_INVALID | NVME_DNR;
	if (!id_is_valid(n, cq))
		return NVME_QID_INVALID | NVME_DNR;
	if (!n->cq[cq].live)
		return NVME_CQ_INVALID | NVME_DNR;
	status = check_new_queue(n, cmd, sizeof(struct nvme_cmd));
	if (!status)
		nvme_sq_init(n, id, le64toh(cmd->prp1), cdw_high(cmd->cdw10) + 1u,
			     (uint16_t)cq);
	return status;
}

/* Commands under way end first; those not fetched, and those that wait for room in the
 * completion queue, are never answered: the driver takes them for aborted and may use
 * the queue's number again. */
static uint16_t delete_sq(struct nvme *n, const struct nvme_cmd *cmd)
{
	unsigned id = cdw_low(cmd->cdw10);

	if (!id || id > NVME_IO_QUEUES_MAX || !n->sq[id].live)
		return NVME_QID_INVALID | NVME_DNR;
	if (n->sq[id].under_way)
		nvme_io_drain(n, &n->sq[id]);
	nvme_cq_forget(n, &n->cq[n->sq[id].cq], &n->sq[id]);
	n->cq[n->sq[id].cq].users--;
	n->sq[id] = (struct nvme_sq){0};
	return NVME_OK;
}

static uint16_t delete_cq(struct nvme *n, const struct nvme_cmd *cmd)
{
	unsigned id = cdw_low(cmd->cdw10);

	if (!id || id > NVME_IO_QUEUES_MAX || !n->cq[id].live)
		return NVME_QID_INVALID | NVME_DNR;
	if (n->cq[id].users)
		return NVME_QUEUE_DELETION_INVALID | NVME_DNR;
	nvme_cq_forget(n, &n->cq[id], NULL);
	n->cq[id] = (struct nvme_cq){0};
	nvme_update_intx(n);
	return NVME_OK;
}

/* Block I/O is too short-lived to be worth aborting; an event request is. */
static uint16_t abort_command(struct nvme *n, struct nvme_request *rq)
{
	uint16_t sq = cdw_low(rq->cmd.cdw10), cid = cdw_high(rq->cmd.cdw10);

	if (sq > NVME_IO_QUEUES_MAX || !n->sq[sq].live)
		return NVME_FIELD_REFUSED;
	rq->result = 1; /* not aborted */
	for (unsigned i = 0; !sq && i < n->aer_nr; i++) {
		struct nvme_request *aer = n->aer[i];

		if (aer->cid != cid)
			continue;
		n->aer[i] = n->aer[--n->aer_nr];
		aer->status = NVME_ABORT_REQUESTED;
		nvme_request_complete(n, aer);
		rq->result = 0;
		break;
	}
	return NVME_OK;
}

/* ---- asynchronous events ---- */

static uint16_t async_event(struct nvme *n, struct nvme_request *rq)
{
	if (n->aer_nr == NVME_AERS_MAX)
		return NVME_AER_LIMIT | NVME_DNR;
	n->aer[n->aer_nr++] = rq;
	nvme_events_report(n);
	return NVME_PENDING;
}

/* A type that was reported is masked until its log page is read (5.2). */
void nvme_events_report(struct nvme *n)
{
	unsigned kept = 0;

	if (!nvme_is_running(n))
		return;
	for (unsigned i = 0; i < n->event_nr; i++) {
		uint32_t type = n->event[i] & 7;
		struct nvme_request *rq;

		if (!n->aer_nr || n->event_masked & 1u << type) {
			n->event[kept++] = n->event[i];
			continue;
		}
		n->event_masked |= 1u << type;
		rq = n->aer[--n->aer_nr];
		rq->result = n->event[i];
		nvme_request_complete(n, rq);
	}
	n->event_nr = kept;
}

static bool is_wanted(const struct nvme *n, uint32_t event)
{
	if (event == NVME_EVENT_NS_CHANGED)
		return n->feat_async_events & NVME_AEC_NS_CHANGED;
	if (event == NVME_EVENT_TEMPERATURE)
		return n->feat_async_events & NVME_AEC_TEMPERATURE;
	return true; /* errors always are */
}

void nvme_event(struct nvme *n, uint32_t event)
{
	if (!is_wanted(n, event))
		return;
	for (unsigned i = 0; i < n->event_nr; i++) {
		if (n->event[i] == event)
			return;
	}
	if (n->event_nr < NVME_EVENTS_MAX)
		n->event[n->event_nr++] = event;
}

/* ---- shadow doorbells ---- */

static uint16_t dbbuf_config(struct nvme *n, const struct nvme_cmd *cmd)
{
	uint64_t shadow = le64toh(cmd->prp1), event = le64toh(cmd->prp2);

	if (!n->opt.shadow_doorbells)
		return NVME_INVALID_OPCODE | NVME_DNR;
	if (shadow % NVME_PAGE || event % NVME_PAGE)
		return NVME_FIELD_REFUSED;
	return nvme_shadow_set(n, shadow, event) ? NVME_OK : NVME_DATA_TRANSFER_ERROR;
}

uint16_t nvme_admin_command(struct nvme *n, struct nvme_request *rq)
{
	const struct nvme_cmd *cmd = &rq->cmd;

	n->stats.admin++;
	if (NVME_CMD_PSDT(cmd->flags))
		return NVME_FIELD_REFUSED; /* PRPs only, for admin commands over PCIe */
	switch (cmd->opcode) {
	case NVME_ADMIN_DELETE_SQ:
		return delete_sq(n, cmd);
	case NVME_ADMIN_CREATE_SQ:
		return create_sq(n, cmd);
	case NVME_ADMIN_GET_LOG_PAGE:
		return nvme_get_log_page(n, rq);
	case NVME_ADMIN_DELETE_CQ:
		return delete_cq(n, cmd);
	case NVME_ADMIN_CREATE_CQ:
		return create_cq(n, cmd);
	case NVME_ADMIN_IDENTIFY:
		return nvme_identify(n, rq);
	case NVME_ADMIN_ABORT:
		return abort_command(n, rq);
	case NVME_ADMIN_SET_FEATURES:
		return nvme_set_features(n, rq);
	case NVME_ADMIN_GET_FEATURES:
		return nvme_get_features(n, rq);
	case NVME_ADMIN_ASYNC_EVENT:
		return async_event(n, rq);
	case NVME_ADMIN_DBBUF_CONFIG:
		return dbbuf_config(n, cmd);
	default:
		return NVME_INVALID_OPCODE | NVME_DNR;
	}
}
