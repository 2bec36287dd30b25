/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Fault events: VIRTIO 1.4, "IOMMU Device" / "Fault reporting". */
#include "base/err.h"
#include "proto/bytes.h"
#include "proto/proto.h"

#define AT(field) offsetof(struct virtio_iommu_fault, field)
#define DEFINED_FLAGS                                                                    \
	(VIRTIO_IOMMU_FAULT_F_READ | VIRTIO_IOMMU_FAULT_F_WRITE |                        \
	 VIRTIO_IOMMU_FAULT_F_ADDRESS)

_Static_assert(sizeof(struct virtio_iommu_fault) == PROTO_FAULT_LEN, "fault");

void proto_encode_fault(uint8_t buf[PROTO_FAULT_LEN], const struct proto_fault *in)
{
	uint32_t flags = in->flags & DEFINED_FLAGS;

	__builtin_memset(buf, 0, PROTO_FAULT_LEN);
	buf[AT(reason)] = in->reason;
	put_le32(buf + AT(flags), flags);
	put_le32(buf + AT(endpoint), in->endpoint);
	if (flags & VIRTIO_IOMMU_FAULT_F_ADDRESS)
		put_le64(buf + AT(address), in->address);
}

int proto_decode_fault(const uint8_t *buf, size_t len, struct proto_fault *out)
{
	if (len < PROTO_FAULT_LEN)
		return err(EBADMSG, "fault report too short");
	if (any_set(buf + AT(reserved), 3))
		return err(EBADMSG, "fault report with reserved bytes set");
	out->reason = buf[AT(reason)];
	if (out->reason > VIRTIO_IOMMU_FAULT_R_MAPPING)
		out->reason = VIRTIO_IOMMU_FAULT_R_UNKNOWN;
	out->flags = get_le32(buf + AT(flags)) & DEFINED_FLAGS;
	out->endpoint = get_le32(buf + AT(endpoint));
	out->address = 0;
	if (out->flags & VIRTIO_IOMMU_FAULT_F_ADDRESS)
		out->address = get_le64(buf + AT(address));
	return 0;
}
