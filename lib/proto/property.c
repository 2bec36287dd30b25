/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* PROBE properties: VIRTIO 1.4, "IOMMU Device" / "PROBE properties". */
#include "base/err.h"
#include "proto/bytes.h"
#include "proto/proto.h"

#define AT(field) offsetof(struct virtio_iommu_probe_resv_mem, field)

_Static_assert(sizeof(struct virtio_iommu_probe_resv_mem) == PROTO_RESV_MEM_LEN,
	       "RESV_MEM");

size_t proto_encode_resv_mem(uint8_t *buf, size_t room, const struct proto_resv_mem *in)
{
	if (room < PROTO_RESV_MEM_LEN)
		return 0;
	__builtin_memset(buf, 0, PROTO_RESV_MEM_LEN);
	put_le16(buf + AT(head.type), VIRTIO_IOMMU_PROBE_T_RESV_MEM);
	/* length counts what follows the header (MUST) */
	put_le16(buf + AT(head.len), PROTO_RESV_MEM_LEN - PROTO_PROPERTY_HEAD);
	buf[AT(subtype)] = in->subtype;
	put_le64(buf + AT(start), in->start);
	put_le64(buf + AT(last), in->last);
	return PROTO_RESV_MEM_LEN;
}

int proto_next_property(const uint8_t *buf, size_t len, size_t *offset,
			struct proto_property *out)
{
	size_t at = *offset;
	uint16_t type, value_len;

	if (at >= len || len - at < PROTO_PROPERTY_HEAD)
		return 0;
	type = get_le16(buf + at);
	value_len = get_le16(buf + at + 2);
	if (!(type & VIRTIO_IOMMU_PROBE_T_MASK))
		return 0;
	at += PROTO_PROPERTY_HEAD;
	if (value_len > len - at)
		return err(EBADMSG, "property reaches over the end of the list");
	*out = (struct proto_property){
		.type = type & VIRTIO_IOMMU_PROBE_T_MASK,
		.reserved_set = type & ~VIRTIO_IOMMU_PROBE_T_MASK,
		.value = buf + at,
		.len = value_len,
	};
	*offset = at + value_len;
	return 1;
}

int proto_decode_resv_mem(const struct proto_property *property,
			  struct proto_resv_mem *out)
{
	const uint8_t *value = property->value;

	if (property->len < PROTO_RESV_MEM_LEN - PROTO_PROPERTY_HEAD)
		return err(EBADMSG, "RESV_MEM property too short");
	out->subtype = value[AT(subtype) - PROTO_PROPERTY_HEAD];
	out->start = get_le64(value + AT(start) - PROTO_PROPERTY_HEAD);
	out->last = get_le64(value + AT(last) - PROTO_PROPERTY_HEAD);
	if (out->subtype > VIRTIO_IOMMU_RESV_MEM_T_MSI)
		out->subtype = VIRTIO_IOMMU_RESV_MEM_T_RESERVED;
	if (out->start > out->last)
		return err(EBADMSG, "RESV_MEM start > end");
	return 0;
}
