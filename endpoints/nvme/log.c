/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Get Log Page (NVMe 1.4, section 5.14). Pages are built whole in n->page and
 * handed out from the offset that was asked for. */
#include <time.h>

#include "endpoints/nvme/nvme.h"

#define ERROR_ENTRY_LEN 64u
#define SMART_LEN	512u
#define FIRMWARE_LEN	512u

static void put(uint8_t *p, uint64_t v, unsigned len)
{
	v = htole64(v);
	memcpy(p, &v, len);
}

void nvme_log_error(struct nvme *n, const struct nvme_request *rq, uint16_t status)
{
	struct nvme_error_entry *e = &n->error_log[n->error_count % NVME_ERROR_LOG_NR];

	*e = (struct nvme_error_entry){
		.count = ++n->error_count,
		.sq = rq->sq_id,
		.cid = rq->cid,
		.status = status,
		.nsid = le32toh(rq->cmd.nsid),
	};
	if (rq->sq_id)
		e->lba = le32toh(rq->cmd.cdw10) | (uint64_t)le32toh(rq->cmd.cdw11) << 32;
}

/* Newest first. */
static uint32_t build_error(const struct nvme *n, uint8_t *page)
{
	for (unsigned i = 0; i < NVME_ERROR_LOG_NR && i < n->error_count; i++) {
		const struct nvme_error_entry *e =
			&n->error_log[(n->error_count - 1 - i) % NVME_ERROR_LOG_NR];
		uint8_t *p = page + i * ERROR_ENTRY_LEN;

		put(p + 0, e->count, 8);
		put(p + 8, e->sq, 2);
		put(p + 10, e->cid, 2);
		put(p + 12, (uint64_t)e->status << 1, 2);
		put(p + 14, 0xffff, 2); /* where in the command: not known */
		put(p + 16, e->lba, 8);
		put(p + 24, e->nsid, 4);
	}
	return NVME_ERROR_LOG_NR * ERROR_ENTRY_LEN;
}

static uint64_t power_on_hours(const struct nvme *n)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec -
		n->power_on_ns) /
	       3600000000000ull;
}

/* Thousands of 512-byte units, rounded up. */
static uint64_t data_units(uint64_t sectors)
{
	return (sectors + 999) / 1000;
}

static uint32_t build_smart(const struct nvme *n, uint8_t *p)
{
	uint64_t read_units = 0, written_units = 0, reads = 0, writes = 0;

	for (unsigned i = 0; i < NVME_NAMESPACES_MAX; i++) {
		read_units += n->ns[i].read_units;
		written_units += n->ns[i].written_units;
		reads += n->ns[i].reads;
		writes += n->ns[i].writes;
	}
	p[0] = nvme_temperature_is_critical(n) ? 1 << 1 : 0;
	put(p + 1, NVME_TEMPERATURE, 2);
	p[3] = 100; /* spare, percent */
	p[4] = 10;  /* its threshold */
	put(p + 32, data_units(read_units), 8);
	put(p + 48, data_units(written_units), 8);
	put(p + 64, reads, 8);
	put(p + 80, writes, 8);
	put(p + 128, power_on_hours(n), 8);
	put(p + 176, n->error_count, 8);
	return SMART_LEN;
}

static uint32_t build_firmware(uint8_t *p)
{
	p[0] = 1; /* slot 1 is active */
	memset(p + 8, ' ', 8);
	memcpy(p + 8, viommu_version(), strnlen(viommu_version(), 8));
	return FIRMWARE_LEN;
}

static uint32_t build_changed(const struct nvme *n, uint8_t *p)
{
	for (unsigned i = 0; i < NVME_NAMESPACES_MAX; i++) {
		if (n->changed_ns & 1u << i) {
			put(p, i + 1, 4);
			p += 4;
		}
	}
	return NVME_PAGE;
}

static uint32_t build_effects(const struct nvme *n, uint8_t *p)
{
	static const uint8_t admin[] = {NVME_ADMIN_DELETE_SQ,	 NVME_ADMIN_CREATE_SQ,
					NVME_ADMIN_GET_LOG_PAGE, NVME_ADMIN_DELETE_CQ,
					NVME_ADMIN_CREATE_CQ,	 NVME_ADMIN_IDENTIFY,
					NVME_ADMIN_ABORT,	 NVME_ADMIN_SET_FEATURES,
					NVME_ADMIN_GET_FEATURES, NVME_ADMIN_ASYNC_EVENT};
	static const uint8_t io[] = {NVME_IO_FLUSH, NVME_IO_READ, NVME_IO_COMPARE};
	static const uint8_t io_write[] = {NVME_IO_WRITE, NVME_IO_WRITE_ZEROES,
					   NVME_IO_DSM};

	for (unsigned i = 0; i < ARRAY_LEN(admin); i++)
		p[admin[i] * 4u] = 1; /* supported */
	if (n->opt.shadow_doorbells)
		p[NVME_ADMIN_DBBUF_CONFIG * 4u] = 1;
	for (unsigned i = 0; i < ARRAY_LEN(io); i++)
		p[1024 + io[i] * 4u] = 1;
	for (unsigned i = 0; i < ARRAY_LEN(io_write); i++)
		p[1024 + io_write[i] * 4u] = 1 | 1 << 1; /* changes content */
	return NVME_PAGE;
}

/* Length of the page; 0: there is no such page. */
static uint32_t build(struct nvme *n, uint8_t id)
{
	memset(n->page, 0, sizeof(n->page));
	switch (id) {
	case NVME_LOG_ERROR:
		return build_error(n, n->page);
	case NVME_LOG_SMART:
		return build_smart(n, n->page);
	case NVME_LOG_FIRMWARE:
		return build_firmware(n->page);
	case NVME_LOG_CHANGED_NS:
		return build_changed(n, n->page);
	case NVME_LOG_EFFECTS:
		return build_effects(n, n->page);
	default:
		return 0;
	}
}

/* Reading a page lets its events be reported again, unless asked not to, and
 * clears what it lists as changed. */
static void unmask_events(struct nvme *n, uint8_t id, bool retain)
{
	if (retain)
		return;
	if (id == NVME_LOG_ERROR) {
		n->event_masked &= ~1u; /* type 0: error status */
	} else if (id == NVME_LOG_SMART) {
		n->event_masked &= ~(1u << 1);
	} else if (id == NVME_LOG_CHANGED_NS) {
		n->event_masked &= ~(1u << 2); /* type 2: notice */
		n->changed_ns = 0;
	}
	nvme_events_report(n);
}

uint16_t nvme_get_log_page(struct nvme *n, struct nvme_request *rq)
{
	uint32_t cdw10 = le32toh(rq->cmd.cdw10), cdw11 = le32toh(rq->cmd.cdw11);
	uint64_t dwords = (cdw10 >> 16 | (uint64_t)(cdw11 & 0xffff) << 16) + 1;
	uint64_t offset = le32toh(rq->cmd.cdw12) | (uint64_t)le32toh(rq->cmd.cdw13) << 32;
	uint32_t len = build(n, cdw10 & 0xff), nsid = le32toh(rq->cmd.nsid);
	uint16_t status;

	if (!len)
		return NVME_LOG_PAGE_INVALID | NVME_DNR;
	if ((cdw10 & 0xff) == NVME_LOG_SMART && nsid && nsid != NVME_NSID_ALL)
		return NVME_FIELD_REFUSED; /* LPA: not per namespace */
	if (offset % 4 || offset > len)
		return NVME_FIELD_REFUSED;
	if (dwords * 4 < len - offset)
		len = (uint32_t)(offset + dwords * 4);
	status = nvme_data_to_guest(n, rq, n->page + offset, (uint32_t)(len - offset));
	if (!status)
		unmask_events(n, cdw10 & 0xff, cdw10 >> 15 & 1);
	return status;
}
