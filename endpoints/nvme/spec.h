/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What NVM Express 1.4 fixes: registers, opcodes, status values, structures as
 * they stand in memory. All little-endian.
 */
#ifndef ENDPOINTS_NVME_SPEC_H
#define ENDPOINTS_NVME_SPEC_H

#include <stdint.h>

/* Controller registers (section 3.1). */
#define NVME_REG_CAP		 0x00
#define NVME_REG_VS		 0x08
#define NVME_REG_INTMS		 0x0c
#define NVME_REG_INTMC		 0x10
#define NVME_REG_CC		 0x14
#define NVME_REG_CSTS		 0x1c
#define NVME_REG_NSSR		 0x20
#define NVME_REG_AQA		 0x24
#define NVME_REG_ASQ		 0x28
#define NVME_REG_ACQ		 0x30
#define NVME_REG_DBS		 0x1000

#define NVME_VS_1_4		 0x00010400u

#define NVME_CC_EN		 (1u << 0)
#define NVME_CC_CSS(cc)		 (((cc) >> 4) & 0x7)
#define NVME_CC_MPS(cc)		 (((cc) >> 7) & 0xf)
#define NVME_CC_AMS(cc)		 (((cc) >> 11) & 0x7)
#define NVME_CC_SHN(cc)		 (((cc) >> 14) & 0x3)
#define NVME_CC_IOSQES(cc)	 (((cc) >> 16) & 0xf)
#define NVME_CC_IOCQES(cc)	 (((cc) >> 20) & 0xf)

#define NVME_CSTS_RDY		 (1u << 0)
#define NVME_CSTS_CFS		 (1u << 1)
#define NVME_CSTS_SHST_OCCURRING (1u << 2)
#define NVME_CSTS_SHST_COMPLETE	 (2u << 2)
#define NVME_CSTS_SHST_MASK	 (3u << 2)

/* A submission queue entry (section 4.2) and a completion (4.6). */
struct nvme_sgl {
	uint64_t addr;
	uint32_t len;
	uint8_t reserved[3];
	uint8_t type; /* type in the upper, subtype in the lower half */
};
#define NVME_SGL_DATA	    0x0
#define NVME_SGL_BIT_BUCKET 0x1
#define NVME_SGL_SEGMENT    0x2
#define NVME_SGL_LAST	    0x3

struct nvme_cmd {
	uint8_t opcode;
	uint8_t flags; /* fused: bits 0-1, data pointer kind: bits 6-7 */
	uint16_t cid;
	uint32_t nsid;
	uint32_t cdw2, cdw3;
	uint64_t mptr;
	union {
		struct {
			uint64_t prp1, prp2;
		};
		struct nvme_sgl sgl;
	};
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

struct nvme_cqe {
	uint32_t dw0, dw1;
	uint16_t sq_head, sq_id, cid;
	uint16_t status; /* bit 0: phase */
};

_Static_assert(sizeof(struct nvme_cmd) == 64, "NVMe 1.4, 4.2");
_Static_assert(sizeof(struct nvme_cqe) == 16, "NVMe 1.4, 4.6");

#define NVME_CMD_PSDT(flags) ((flags) >> 6)
#define NVME_CMD_FUSE(flags) ((flags)&3)
#define NVME_NSID_ALL	     0xffffffffu

enum nvme_admin_opcode {
	NVME_ADMIN_DELETE_SQ = 0x00,
	NVME_ADMIN_CREATE_SQ = 0x01,
	NVME_ADMIN_GET_LOG_PAGE = 0x02,
	NVME_ADMIN_DELETE_CQ = 0x04,
	NVME_ADMIN_CREATE_CQ = 0x05,
	NVME_ADMIN_IDENTIFY = 0x06,
	NVME_ADMIN_ABORT = 0x08,
	NVME_ADMIN_SET_FEATURES = 0x09,
	NVME_ADMIN_GET_FEATURES = 0x0a,
	NVME_ADMIN_ASYNC_EVENT = 0x0c,
	NVME_ADMIN_DBBUF_CONFIG = 0x7c,
};

enum nvme_io_opcode {
	NVME_IO_FLUSH = 0x00,
	NVME_IO_WRITE = 0x01,
	NVME_IO_READ = 0x02,
	NVME_IO_COMPARE = 0x05,
	NVME_IO_WRITE_ZEROES = 0x08,
	NVME_IO_DSM = 0x09,
};

/* Status values: type << 8 | code (section 4.6.1). */
enum nvme_status {
	NVME_OK = 0x000,
	NVME_INVALID_OPCODE = 0x001,
	NVME_INVALID_FIELD = 0x002,
	NVME_DATA_TRANSFER_ERROR = 0x004,
	NVME_INTERNAL_ERROR = 0x006,
	NVME_ABORT_REQUESTED = 0x007,
	NVME_ABORT_SQ_DELETED = 0x008,
	NVME_INVALID_NSID = 0x00b,
	NVME_SEQUENCE_ERROR = 0x00c,
	NVME_INVALID_SGL_SEGMENT = 0x00d,
	NVME_INVALID_SGL_COUNT = 0x00e,
	NVME_SGL_LENGTH_INVALID = 0x00f,
	NVME_SGL_TYPE_INVALID = 0x011,
	NVME_PRP_OFFSET_INVALID = 0x013,
	NVME_NS_WRITE_PROTECTED = 0x020,
	NVME_LBA_RANGE = 0x080,
	NVME_CAPACITY_EXCEEDED = 0x081,
	NVME_CQ_INVALID = 0x100,
	NVME_QID_INVALID = 0x101,
	NVME_QUEUE_SIZE_INVALID = 0x102,
	NVME_ABORT_LIMIT = 0x103,
	NVME_AER_LIMIT = 0x105,
	NVME_VECTOR_INVALID = 0x108,
	NVME_LOG_PAGE_INVALID = 0x109,
	NVME_QUEUE_DELETION_INVALID = 0x10c,
	NVME_FEATURE_NOT_SAVEABLE = 0x10d,
	NVME_FEATURE_NOT_CHANGEABLE = 0x10e,
	NVME_WRITE_FAULT = 0x280,
	NVME_READ_ERROR = 0x281,
	NVME_COMPARE_FAILURE = 0x285,
	NVME_DNR = 0x4000, /* do not retry; bit of the status field */
};

/* A field that will not be right the next time either. */
#define NVME_FIELD_REFUSED (NVME_INVALID_FIELD | NVME_DNR)

/* Identify (section 5.15). */
enum nvme_cns {
	NVME_CNS_NAMESPACE = 0x00,
	NVME_CNS_CONTROLLER = 0x01,
	NVME_CNS_ACTIVE_LIST = 0x02,
	NVME_CNS_DESCRIPTORS = 0x03,
};
#define NVME_IDENTIFY_LEN 4096u

enum nvme_log_page {
	NVME_LOG_ERROR = 0x01,
	NVME_LOG_SMART = 0x02,
	NVME_LOG_FIRMWARE = 0x03,
	NVME_LOG_CHANGED_NS = 0x04,
	NVME_LOG_EFFECTS = 0x05,
};

enum nvme_feature {
	NVME_FEAT_ARBITRATION = 0x01,
	NVME_FEAT_POWER = 0x02,
	NVME_FEAT_TEMPERATURE = 0x04,
	NVME_FEAT_ERROR_RECOVERY = 0x05,
	NVME_FEAT_WRITE_CACHE = 0x06,
	NVME_FEAT_QUEUES = 0x07,
	NVME_FEAT_COALESCING = 0x08,
	NVME_FEAT_VECTOR = 0x09,
	NVME_FEAT_ATOMICITY = 0x0a,
	NVME_FEAT_ASYNC_EVENTS = 0x0b,
};

/* Asynchronous events (section 5.2): type | info << 8 | log page << 16. */
#define NVME_EVENT_INVALID_REGISTER (0u | 0u << 8 | (uint32_t)NVME_LOG_ERROR << 16)
#define NVME_EVENT_INVALID_DOORBELL (0u | 1u << 8 | (uint32_t)NVME_LOG_ERROR << 16)
#define NVME_EVENT_INTERNAL_ERROR   (0u | 3u << 8 | (uint32_t)NVME_LOG_ERROR << 16)
#define NVME_EVENT_TEMPERATURE	    (1u | 1u << 8 | (uint32_t)NVME_LOG_SMART << 16)
#define NVME_EVENT_NS_CHANGED	    (2u | 0u << 8 | (uint32_t)NVME_LOG_CHANGED_NS << 16)

/* Asynchronous Event Configuration (figure 291): which of them are wanted. */
#define NVME_AEC_TEMPERATURE (1u << 1)
#define NVME_AEC_NS_CHANGED  (1u << 8)

#endif /* ENDPOINTS_NVME_SPEC_H */
