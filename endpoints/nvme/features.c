/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Get Features and Set Features (NVMe 1.4, sections 5.13 and 5.21). */
#include "endpoints/nvme/nvme.h"

/* Kelvin: a warning at 70 degrees Celsius, as we never get there. */
#define TEMPERATURE_OVER 343u

enum select { SELECT_CURRENT, SELECT_DEFAULT, SELECT_SAVED, SELECT_CAPABILITIES };

#define CAPABILITY_CHANGEABLE (1u << 2)

void nvme_features_reset(struct nvme *n)
{
	n->feat_arbitration = 7; /* no burst limit */
	n->feat_temperature[0] = TEMPERATURE_OVER;
	n->feat_temperature[1] = 0;
	n->feat_error_recovery = 0;
	n->feat_coalescing = 0;
	n->feat_atomicity = 0;
	n->feat_async_events = 0;
	n->feat_power = 0;
	n->write_cache = true;
}

static uint32_t queues_result(const struct nvme *n)
{
	uint32_t zero_based = (n->queues_granted ? n->queues_granted : n->opt.queues) - 1;

	return zero_based | zero_based << 16;
}

/* The threshold a Temperature Threshold command names; NULL: none of ours. */
static uint32_t *threshold(struct nvme *n, uint32_t cdw11)
{
	unsigned sensor = cdw11 >> 16 & 0xf, kind = cdw11 >> 20 & 3;

	return sensor == 0 && kind < 2 ? &n->feat_temperature[kind] : NULL;
}

static uint16_t current(struct nvme *n, uint8_t id, uint32_t cdw11, uint32_t *out)
{
	switch (id) {
	case NVME_FEAT_ARBITRATION:
		*out = n->feat_arbitration;
		return NVME_OK;
	case NVME_FEAT_POWER:
		*out = n->feat_power;
		return NVME_OK;
	case NVME_FEAT_TEMPERATURE:
		*out = threshold(n, cdw11) ? *threshold(n, cdw11) : 0;
		return threshold(n, cdw11) ? NVME_OK : NVME_FIELD_REFUSED;
	case NVME_FEAT_ERROR_RECOVERY:
		*out = n->feat_error_recovery;
		return NVME_OK;
	case NVME_FEAT_WRITE_CACHE:
		*out = n->write_cache;
		return NVME_OK;
	case NVME_FEAT_QUEUES:
		*out = queues_result(n);
		return NVME_OK;
	case NVME_FEAT_COALESCING:
		*out = n->feat_coalescing;
		return NVME_OK;
	case NVME_FEAT_VECTOR:
		*out = cdw11 & 0xffff;
		return (cdw11 & 0xffff) <= n->opt.queues ? NVME_OK : NVME_FIELD_REFUSED;
	case NVME_FEAT_ATOMICITY:
		*out = n->feat_atomicity;
		return NVME_OK;
	case NVME_FEAT_ASYNC_EVENTS:
		*out = n->feat_async_events;
		return NVME_OK;
	default:
		return NVME_FIELD_REFUSED;
	}
}

/* Defaults are what the current values were after a reset. */
static uint16_t defaults(struct nvme *n, uint8_t id, uint32_t cdw11, uint32_t *out)
{
	static const uint32_t value[] = {
		[NVME_FEAT_ARBITRATION] = 7,
		[NVME_FEAT_WRITE_CACHE] = 1,
	};
	uint16_t status = current(n, id, cdw11, out);

	if (status || id == NVME_FEAT_QUEUES || id == NVME_FEAT_VECTOR)
		return status;
	*out = id < ARRAY_LEN(value) ? value[id] : 0;
	if (id == NVME_FEAT_TEMPERATURE && !(cdw11 >> 20 & 3))
		*out = TEMPERATURE_OVER;
	return NVME_OK;
}

uint16_t nvme_get_features(struct nvme *n, struct nvme_request *rq)
{
	uint32_t cdw10 = le32toh(rq->cmd.cdw10), cdw11 = le32toh(rq->cmd.cdw11);
	uint8_t id = cdw10 & 0xff;
	uint16_t status;

	switch (cdw10 >> 8 & 7) {
	case SELECT_CURRENT:
		return current(n, id, cdw11, &rq->result);
	case SELECT_DEFAULT:
	case SELECT_SAVED: /* nothing is saveable: the defaults */
		return defaults(n, id, cdw11, &rq->result);
	case SELECT_CAPABILITIES:
		status = current(n, id, cdw11, &rq->result);
		rq->result = CAPABILITY_CHANGEABLE;
		return status;
	default:
		return NVME_FIELD_REFUSED;
	}
}

static uint16_t set_queues(struct nvme *n, uint32_t cdw11, uint32_t *result)
{
	uint32_t sq = cdw11 & 0xffff, cq = cdw11 >> 16;
	uint32_t want = (sq > cq ? sq : cq) + 1;

	if (sq == 0xffff || cq == 0xffff)
		return NVME_FIELD_REFUSED;
	for (unsigned i = 1; i <= NVME_IO_QUEUES_MAX; i++) {
		if (n->sq[i].live || n->cq[i].live)
			return NVME_SEQUENCE_ERROR | NVME_DNR;
	}
	n->queues_granted = (uint16_t)(want < n->opt.queues ? want : n->opt.queues);
	*result = queues_result(n);
	return NVME_OK;
}

bool nvme_temperature_is_critical(const struct nvme *n)
{
	return n->feat_temperature[0] <= NVME_TEMPERATURE ||
	       n->feat_temperature[1] >= NVME_TEMPERATURE;
}

static uint16_t set_threshold(struct nvme *n, uint32_t cdw11)
{
	uint32_t *t = threshold(n, cdw11);

	if (!t)
		return NVME_FIELD_REFUSED;
	*t = cdw11 & 0xffff;
	if (nvme_temperature_is_critical(n))
		nvme_event(n, NVME_EVENT_TEMPERATURE);
	return NVME_OK;
}

uint16_t nvme_set_features(struct nvme *n, struct nvme_request *rq)
{
	uint32_t cdw10 = le32toh(rq->cmd.cdw10), cdw11 = le32toh(rq->cmd.cdw11);

	if (cdw10 >> 31)
		return NVME_FEATURE_NOT_SAVEABLE | NVME_DNR;
	switch (cdw10 & 0xff) {
	case NVME_FEAT_ARBITRATION:
		n->feat_arbitration = cdw11;
		return NVME_OK;
	case NVME_FEAT_POWER: /* there is one power state */
		return cdw11 & 0x1f ? NVME_FIELD_REFUSED : NVME_OK;
	case NVME_FEAT_TEMPERATURE:
		return set_threshold(n, cdw11);
	case NVME_FEAT_ERROR_RECOVERY:
		if (cdw11 >> 16) /* DULBE: NSFEAT does not offer it */
			return NVME_FIELD_REFUSED;
		n->feat_error_recovery = cdw11 & 0xffff;
		return NVME_OK;
	case NVME_FEAT_WRITE_CACHE:
		n->write_cache = cdw11 & 1;
		return NVME_OK;
	case NVME_FEAT_QUEUES:
		return set_queues(n, cdw11, &rq->result);
	case NVME_FEAT_COALESCING: /* accepted; a turn is coalesced anyway */
		n->feat_coalescing = cdw11 & 0xffff;
		return NVME_OK;
	case NVME_FEAT_VECTOR:
		return (cdw11 & 0xffff) <= n->opt.queues ? NVME_OK : NVME_FIELD_REFUSED;
	case NVME_FEAT_ATOMICITY:
		n->feat_atomicity = cdw11 & 1;
		return NVME_OK;
	case NVME_FEAT_ASYNC_EVENTS:
		n->feat_async_events = cdw11;
		return NVME_OK;
	default:
		return NVME_FIELD_REFUSED;
	}
}
