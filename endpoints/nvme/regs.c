/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Registers (NVMe 1.4, section 3): capabilities, configuration, doorbells.
 * Reserved offsets read as zero and ignore writes; an access of 8 bytes is two
 * of 4, lower first.
 */
#include "endpoints/nvme/nvme.h"

/* Time the driver gives us to become ready, in units of 500 ms. */
#define CAP_TIMEOUT 20ull

static uint64_t capabilities(const struct nvme *n)
{
	return (uint64_t)(n->opt.queue_len - 1) | 1ull << 16 /* CQR */ |
	       CAP_TIMEOUT << 24 | 1ull << 37 /* CSS: NVM command set */;
}

static uint32_t read_dword(struct nvme *n, uint64_t offset)
{
	switch (offset) {
	case NVME_REG_CAP:
		return (uint32_t)capabilities(n);
	case NVME_REG_CAP + 4:
		return (uint32_t)(capabilities(n) >> 32);
	case NVME_REG_VS:
		return NVME_VS_1_4;
	case NVME_REG_INTMS:
	case NVME_REG_INTMC:
		return n->intm;
	case NVME_REG_CC:
		return n->cc;
	case NVME_REG_CSTS:
		return n->csts;
	case NVME_REG_AQA:
		return n->aqa;
	case NVME_REG_ASQ:
		return (uint32_t)n->asq;
	case NVME_REG_ASQ + 4:
		return (uint32_t)(n->asq >> 32);
	case NVME_REG_ACQ:
		return (uint32_t)n->acq;
	case NVME_REG_ACQ + 4:
		return (uint32_t)(n->acq >> 32);
	default:
		return 0;
	}
}

uint64_t nvme_bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len)
{
	struct nvme *n = opaque;
	uint64_t value;

	(void)bar;
	if (len == 8)
		return read_dword(n, offset) | (uint64_t)read_dword(n, offset + 4) << 32;
	value = read_dword(n, offset & ~3ull) >> (offset & 3) * 8;
	return len == 4 ? value : value & ((1ull << len * 8) - 1);
}

void nvme_fatal(struct nvme *n, const char *why)
{
	if (n->csts & NVME_CSTS_CFS)
		return;
	n->csts |= NVME_CSTS_CFS;
	n->stats.fatal++;
	endpoint_log(n->ep.env.log, VIOMMU_LOG_WARN,
		     "%s: controller fatal status: %s; the driver has to reset it",
		     n->ep.name, why);
}

/* Queues and transfers gone; what a controller reset leaves is left. */
static void disable(struct nvme *n)
{
	nvme_io_drain(n, NULL);
	for (unsigned i = 0; i <= NVME_IO_QUEUES_MAX; i++) {
		n->sq[i] = (struct nvme_sq){0};
		n->cq[i] = (struct nvme_cq){0};
	}
	n->top = n->next_sq = n->batching = 0;
	latency_forget(&n->latency);
	nvme_requests_init(n);
	n->aer_nr = n->event_nr = 0;
	n->event_masked = 0;
	n->queues_granted = 0;
	n->shadow = false;
	n->csts = 0;
	n->enable_due = false;
	n->intm = 0;
	n->stats.resets++;
	nvme_features_reset(n);
	nvme_update_intx(n);
}

void nvme_reset(struct nvme *n)
{
	disable(n);
	n->cc = n->aqa = 0;
	n->asq = n->acq = 0;
}

/* NULL: the configuration can be enabled. */
static const char *refusal(const struct nvme *n)
{
	if (NVME_CC_CSS(n->cc) != 0)
		return "CC.CSS names a command set that is not there";
	if (NVME_CC_MPS(n->cc) != 0)
		return "CC.MPS: only 4 KiB pages are supported";
	if (NVME_CC_AMS(n->cc) != 0)
		return "CC.AMS: only round robin is supported";
	if (NVME_CC_IOSQES(n->cc) && NVME_CC_IOSQES(n->cc) != 6)
		return "CC.IOSQES is not 6";
	if (NVME_CC_IOCQES(n->cc) && NVME_CC_IOCQES(n->cc) != 4)
		return "CC.IOCQES is not 4";
	if ((n->asq | n->acq) & (NVME_PAGE - 1))
		return "ASQ or ACQ is not aligned to a page";
	if (!(n->aqa & 0xfff) || !(n->aqa >> 16 & 0xfff))
		return "AQA: a queue needs two entries";
	if (nvme_queue_wraps(n->asq, (n->aqa & 0xfff) + 1, sizeof(struct nvme_cmd)) ||
	    nvme_queue_wraps(n->acq, (n->aqa >> 16) + 1, sizeof(struct nvme_cqe)))
		return "ASQ or ACQ: the queue goes beyond the last address";
	return NULL;
}

static void enable(struct nvme *n)
{
	const char *why = refusal(n);

	if (why) {
		nvme_fatal(n, why);
		return;
	}
	/* A write from before the reset must not come after one from now on. */
	n->enable_due = n->lost > 0;
	if (n->enable_due)
		return;
	nvme_cq_init(n, 0, n->acq, (n->aqa >> 16 & 0xfff) + 1);
	nvme_sq_init(n, 0, n->asq, (n->aqa & 0xfff) + 1, 0);
	n->csts |= NVME_CSTS_RDY;
}

void nvme_enable_late(struct nvme *n)
{
	if (n->enable_due && !n->lost)
		enable(n);
}

static void write_cc(struct nvme *n, uint32_t value)
{
	uint32_t old = n->cc;

	n->cc = value;
	if (!(old & NVME_CC_EN) && value & NVME_CC_EN)
		enable(n);
	else if (old & NVME_CC_EN && !(value & NVME_CC_EN))
		disable(n);
	if (NVME_CC_SHN(value) && !NVME_CC_SHN(old)) {
		nvme_io_drain(n, NULL);
		nvme_io_shutdown(n);
	} else if (!NVME_CC_SHN(value)) {
		n->csts &= ~NVME_CSTS_SHST_MASK;
	}
}

static void set_low(uint64_t *reg, uint32_t value)
{
	*reg = (*reg & ~0xffffffffull) | value;
}

static void set_high(uint64_t *reg, uint32_t value)
{
	*reg = (*reg & 0xffffffffull) | (uint64_t)value << 32;
}

static void write_doorbell(struct nvme *n, uint64_t offset, uint32_t value)
{
	unsigned index = (unsigned)((offset - NVME_REG_DBS) / 4);

	n->stats.doorbells++;
	if (!(n->csts & NVME_CSTS_RDY))
		return;
	if (index & 1)
		nvme_cq_doorbell(n, index / 2, value);
	else
		nvme_sq_doorbell(n, index / 2, value);
}

static void write_queue_register(struct nvme *n, uint64_t offset, uint32_t value)
{
	if (n->cc & NVME_CC_EN)
		return; /* the standard leaves it undefined: ignored */
	switch (offset) {
	case NVME_REG_AQA:
		n->aqa = value & 0x0fff0fff;
		break;
	case NVME_REG_ASQ:
		set_low(&n->asq, value & ~(NVME_PAGE - 1));
		break;
	case NVME_REG_ASQ + 4:
		set_high(&n->asq, value);
		break;
	case NVME_REG_ACQ:
		set_low(&n->acq, value & ~(NVME_PAGE - 1));
		break;
	case NVME_REG_ACQ + 4:
		set_high(&n->acq, value);
		break;
	}
}

static void write_dword(struct nvme *n, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case NVME_REG_INTMS:
		n->intm |= value;
		nvme_update_intx(n);
		break;
	case NVME_REG_INTMC:
		n->intm &= ~value;
		nvme_update_intx(n);
		break;
	case NVME_REG_CC:
		write_cc(n, value);
		break;
	default:
		if (offset >= NVME_REG_DBS)
			write_doorbell(n, offset, value);
		else
			write_queue_register(n, offset, value);
	}
}

void nvme_bar_write(void *opaque, unsigned bar, uint64_t offset, unsigned len,
		    uint64_t value)
{
	(void)bar;
	if (len < 4)
		return; /* registers take whole words */
	write_dword(opaque, offset, (uint32_t)value);
	/* The upper half of a 64-bit write; doorbells are words of their own. */
	if (len == 8 && offset < NVME_REG_DBS)
		write_dword(opaque, offset + 4, (uint32_t)(value >> 32));
}
