/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Identify (NVMe 1.4, section 5.15): structures built byte by byte, at the
 * offsets of figures 245 (namespace) and 247 (controller). */
#include <stdio.h>

#include "endpoints/nvme/nvme.h"

static void put16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* ASCII, padded with spaces. */
static void put_text(uint8_t *p, const char *text, size_t room)
{
	size_t len = strnlen(text, room);

	memset(p, ' ', room);
	memcpy(p, text, len);
}

static unsigned highest_nsid(const struct nvme *n)
{
	unsigned id = 0;

	for (unsigned i = 0; i < NVME_NAMESPACES_MAX; i++) {
		if (n->ns[i].block)
			id = i + 1;
	}
	return id;
}

/* FNV-1a over a text, from a start of its own. */
static uint64_t hash_text(const char *text, uint64_t hash)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ull;
	return hash;
}

static void put_controller_head(const struct nvme *n, uint8_t *p)
{
	const struct viommu_pci_config *pci = viommu_pci_get_config(n->ep.function);

	put16(p + 0, pci->vendor);
	put16(p + 2, pci->subvendor);
	put_text(p + 4, n->opt.serial, 20);
	put_text(p + 24, n->opt.model, 40);
	put_text(p + 64, viommu_version(), 8);
	p[72] = 6; /* RAB: recommended arbitration burst */
	p[77] = NVME_MDTS;
	put16(p + 78, 1); /* CNTLID */
	put32(p + 80, NVME_VS_1_4);
	put32(p + 92, NVME_AEC_NS_CHANGED); /* OAES */
	p[111] = 1;			    /* CNTRLTYPE: I/O controller */
}

static void put_controller(const struct nvme *n, uint8_t *p)
{
	put_controller_head(n, p);
	put16(p + 256, n->opt.shadow_doorbells ? 1u << 8 : 0); /* OACS */
	p[258] = NVME_ABORTS_MAX - 1;
	p[259] = NVME_AERS_MAX - 1;
	p[260] = 1 << 1 | 1;	  /* FRMW: one slot, read-only */
	p[261] = 1 << 1 | 1 << 2; /* LPA: effects log, offsets */
	p[262] = NVME_ERROR_LOG_NR - 1;
	put16(p + 266, 343); /* WCTEMP, kelvin */
	put16(p + 268, 373); /* CCTEMP */
	p[512] = 6 | 6 << 4; /* SQES */
	p[513] = 4 | 4 << 4; /* CQES */
	put32(p + 516, highest_nsid(n));
	/* ONCS: Compare, Dataset Management, Write Zeroes, Select of features. */
	put16(p + 520, 1u << 0 | 1u << 2 | 1u << 3 | 1u << 4);
	put16(p + 522, 0);   /* FUSES: no fused operations */
	p[525] = 1 | 3 << 1; /* VWC: there is a cache; Flush takes all namespaces */
	put16(p + 526, 0);   /* AWUN: one block */
	/* SGLS: SGLs without alignment, buffers longer than the data. */
	put32(p + 536, n->opt.sgl ? 1u | 1u << 18 : 0);
	snprintf((char *)p + 768, 256, "nqn.2026-11.org.viommu:nvme:%s", n->opt.serial);
	put16(p + 2048, 100); /* power state 0: 1 W, in hundredths */
}

static void put_namespace(const struct nvme_namespace *ns, uint8_t *p)
{
	const struct block_info *info = block_info(ns->block);

	put64(p + 0, ns->blocks);
	put64(p + 8, ns->blocks);
	put64(p + 16, ns->blocks);
	p[24] = (info->discard ? 1 : 0) | 1 << 4; /* thin; the fields below count */
	p[25] = 0;				  /* one LBA format */
	if (!info->null || info->read_zeroes) /* DLFEAT: deallocated reads as zeroes, */
		p[33] = (uint8_t)(1 | (info->zero_unmap ? 1 << 3
							: 0)); /* and by Write Zeroes */
	if (info->physical > 1u << ns->lba_lg2) {
		put16(p + 64, (uint16_t)((info->physical >> ns->lba_lg2) - 1)); /* NPWG */
		put16(p + 66, (uint16_t)((info->physical >> ns->lba_lg2) - 1)); /* NPWA */
	}
	p[99] = info->read_only ? 1 : 0; /* NSATTR: write protected */
	p[130] = ns->lba_lg2;		 /* LBA format 0 */
}

static void put_descriptors(const struct nvme *n, const struct nvme_namespace *ns,
			    uint8_t *p)
{
	/* Linux refuses a namespace whose identifier it knows from another. */
	p[0] = 3; /* NIDT: UUID */
	p[1] = 16;
	put64(p + 4, hash_text(n->opt.serial, 0xcbf29ce484222325ull));
	put64(p + 12, hash_text(n->opt.serial, 0x84222325cbf29ce4ull));
	put32(p + 16, ns->id);
	p[10] = (p[10] & 0x0f) | 0x80; /* version 8: vendor's own */
	p[12] = (p[12] & 0x3f) | 0x80;
}

static void put_active_list(const struct nvme *n, uint32_t above, uint8_t *p)
{
	for (unsigned i = 0; i < NVME_NAMESPACES_MAX; i++) {
		if (n->ns[i].block && n->ns[i].id > above) {
			put32(p, n->ns[i].id);
			p += 4;
		}
	}
}

static uint16_t build(struct nvme *n, uint8_t cns, uint32_t nsid)
{
	struct nvme_namespace *ns = nvme_ns(n, nsid);

	switch (cns) {
	case NVME_CNS_NAMESPACE:
		if (nsid == NVME_NSID_ALL || (!ns && (!nsid || nsid > highest_nsid(n))))
			return NVME_INVALID_NSID | NVME_DNR;
		if (ns) /* an inactive one is all zeroes */
			put_namespace(ns, n->page);
		return NVME_OK;
	case NVME_CNS_CONTROLLER:
		put_controller(n, n->page);
		return NVME_OK;
	case NVME_CNS_ACTIVE_LIST:
		if (nsid >= NVME_NSID_ALL - 1)
			return NVME_INVALID_NSID | NVME_DNR;
		put_active_list(n, nsid, n->page);
		return NVME_OK;
	case NVME_CNS_DESCRIPTORS:
		if (!ns)
			return NVME_INVALID_NSID | NVME_DNR;
		put_descriptors(n, ns, n->page);
		return NVME_OK;
	default:
		return NVME_FIELD_REFUSED;
	}
}

uint16_t nvme_identify(struct nvme *n, struct nvme_request *rq)
{
	uint16_t status;

	memset(n->page, 0, sizeof(n->page));
	status = build(n, le32toh(rq->cmd.cdw10) & 0xff, le32toh(rq->cmd.nsid));
	return status ? status : nvme_data_to_guest(n, rq, n->page, sizeof(n->page));
}
