/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The wire format of the IOMMU device as pure functions: bytes to typed structs
 * and back, wire status to errno value and back. Freestanding, no state, no
 * alignment asked of any buffer. Both the device and the guest driver use it.
 *
 * Bytes given to a decoder are a private copy: nothing here reads shared memory
 * twice because nothing here reads shared memory.
 */
#ifndef VIOMMU_LIB_PROTO_H
#define VIOMMU_LIB_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/proto.h>

#define PROTO_HEAD_LEN	    4u	/* struct virtio_iommu_req_head */
#define PROTO_TAIL_LEN	    4u	/* struct virtio_iommu_req_tail */
#define PROTO_REQUEST_MAX   72u /* longest device-readable part: PROBE */
#define PROTO_CONFIG_LEN    40u /* struct virtio_iommu_config */
#define PROTO_FAULT_LEN	    24u /* struct virtio_iommu_fault */
#define PROTO_PROPERTY_HEAD 4u	/* struct virtio_iommu_probe_property */
#define PROTO_RESV_MEM_LEN  24u /* struct virtio_iommu_probe_resv_mem */
#define PROTO_STATUS_NR	    9u	/* VIRTIO_IOMMU_S_OK .. NOMEM */
#define PROTO_TYPES_NR	    6u	/* index 0: unknown; 1..5: VIRTIO_IOMMU_T_* */

/* ---- status ---- */

/*
 * 0 or the negative errno value a status stands for, one to one: OK 0, IOERR
 * -EIO, UNSUPP -EOPNOTSUPP, DEVERR -EREMOTEIO, INVAL -EINVAL, RANGE -ERANGE,
 * NOENT -ENOENT, FAULT -EFAULT, NOMEM -ENOMEM. A value that the standard does
 * not define gives -EPROTO.
 */
int proto_status_to_errno(uint8_t status);

/* The way back, from 0 or a negative errno value. A quota (-ENOSPC) is NOMEM on
 * the wire; a value without a status of its own is DEVERR. */
uint8_t proto_errno_to_status(int error);

/* ---- requests ---- */

/* A request in host byte order. A field that its type does not have is zero. */
struct proto_request {
	uint8_t type;	      /* VIRTIO_IOMMU_T_* */
	bool reserved_set;    /* a reserved byte of the body (not of the head) is set */
	uint32_t domain;      /* all but PROBE */
	uint32_t endpoint;    /* ATTACH, DETACH, PROBE */
	uint32_t flags;	      /* ATTACH: ATTACH_F_*, MAP: MAP_F_* */
	uint64_t start, last; /* MAP, UNMAP: iova, closed range */
	uint64_t gpa;	      /* MAP: phys_start */
};

/* Length in bytes of the device-readable part; 0: unknown type. */
size_t proto_request_len(uint8_t type);

/*
 * Decodes the device-readable part of a request. Bytes beyond what the type has
 * are ignored. 0; -EBADMSG: too short to have a head; -EOPNOTSUPP: unknown type;
 * -EINVAL: the head is there and its type known (out->type is set), the body is
 * too short.
 */
int proto_decode_request(const uint8_t *buf, size_t len, struct proto_request *out);

/* Encodes the device-readable part, reserved bytes zero; returns its length, 0
 * if the type is unknown. */
size_t proto_encode_request(uint8_t buf[PROTO_REQUEST_MAX],
			    const struct proto_request *req);

/* The tail: status for 0 or a negative errno value, reserved bytes zero. */
void proto_encode_tail(uint8_t buf[PROTO_TAIL_LEN], int error);
/* 0 or a negative errno value; reserved bytes are ignored (MUST). */
int proto_decode_tail(const uint8_t buf[PROTO_TAIL_LEN]);

/* ---- PROBE properties ---- */

struct proto_resv_mem {
	uint8_t subtype; /* VIRTIO_IOMMU_RESV_MEM_T_* */
	uint64_t start, last;
};
/* Appends a RESV_MEM property. Returns its length, 0 if `room` is too small. */
size_t proto_encode_resv_mem(uint8_t *buf, size_t room, const struct proto_resv_mem *in);

struct proto_property {
	uint16_t type;	      /* 12 bits */
	bool reserved_set;    /* the 4 reserved bits are not zero: ignore it (MUST) */
	const uint8_t *value; /* after the header */
	size_t len;	      /* bytes of value, inside the buffer */
};
/*
 * The property at *offset of the list in buf, and moves *offset to the next.
 * 1; 0: end of the list; -EBADMSG: the property reaches over the end.
 */
int proto_next_property(const uint8_t *buf, size_t len, size_t *offset,
			struct proto_property *out);
/* 0; -EBADMSG: too short for a RESV_MEM, or start > last. An unknown subtype is
 * handed out as RESERVED (SHOULD). */
int proto_decode_resv_mem(const struct proto_property *property,
			  struct proto_resv_mem *out);

/* ---- fault events ---- */

struct proto_fault {
	uint8_t reason; /* VIRTIO_IOMMU_FAULT_R_* */
	uint32_t flags; /* VIRTIO_IOMMU_FAULT_F_* */
	uint32_t endpoint;
	uint64_t address; /* valid if FAULT_F_ADDRESS */
};
/* Undefined flags and reserved fields are written as zero. */
void proto_encode_fault(uint8_t buf[PROTO_FAULT_LEN], const struct proto_fault *in);
/*
 * 0; -EBADMSG: shorter than a report, or its `reserved` is not zero: ignore it
 * (MUST). An unknown reason becomes UNKNOWN, undefined flags are taken out.
 */
int proto_decode_fault(const uint8_t *buf, size_t len, struct proto_fault *out);

/* ---- configuration space ---- */

void proto_encode_config(uint8_t buf[PROTO_CONFIG_LEN],
			 const struct virtio_iommu_config *in);
void proto_decode_config(const uint8_t buf[PROTO_CONFIG_LEN],
			 struct virtio_iommu_config *out);

#endif
