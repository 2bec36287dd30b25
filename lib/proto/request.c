/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Requests: VIRTIO 1.4, "IOMMU Device" / "Device operations". */
#include "base/compiler.h"
#include "base/err.h"
#include "proto/bytes.h"
#include "proto/proto.h"

_Static_assert(sizeof(struct virtio_iommu_config) == PROTO_CONFIG_LEN, "config");
_Static_assert(sizeof(struct virtio_iommu_req_head) == PROTO_HEAD_LEN, "head");
_Static_assert(sizeof(struct virtio_iommu_req_tail) == PROTO_TAIL_LEN, "tail");
_Static_assert(sizeof(struct virtio_iommu_req_attach) == 20, "ATTACH");
_Static_assert(sizeof(struct virtio_iommu_req_detach) == 20, "DETACH");
_Static_assert(sizeof(struct virtio_iommu_req_map) == 36, "MAP");
_Static_assert(sizeof(struct virtio_iommu_req_unmap) == 28, "UNMAP");
_Static_assert(sizeof(struct virtio_iommu_req_probe) == PROTO_REQUEST_MAX, "PROBE");

#define AT_ATTACH(field) offsetof(struct virtio_iommu_req_attach, field)
#define AT_DETACH(field) offsetof(struct virtio_iommu_req_detach, field)
#define AT_MAP(field)	 offsetof(struct virtio_iommu_req_map, field)
#define AT_UNMAP(field)	 offsetof(struct virtio_iommu_req_unmap, field)
#define AT_PROBE(field)	 offsetof(struct virtio_iommu_req_probe, field)

size_t proto_request_len(uint8_t type)
{
	static const uint8_t len[PROTO_TYPES_NR] = {
		[VIRTIO_IOMMU_T_ATTACH] = sizeof(struct virtio_iommu_req_attach),
		[VIRTIO_IOMMU_T_DETACH] = sizeof(struct virtio_iommu_req_detach),
		[VIRTIO_IOMMU_T_MAP] = sizeof(struct virtio_iommu_req_map),
		[VIRTIO_IOMMU_T_UNMAP] = sizeof(struct virtio_iommu_req_unmap),
		[VIRTIO_IOMMU_T_PROBE] = sizeof(struct virtio_iommu_req_probe),
	};

	return type < PROTO_TYPES_NR ? len[type] : 0;
}

static void decode_attach(const uint8_t *buf, struct proto_request *out)
{
	out->domain = get_le32(buf + AT_ATTACH(domain));
	out->endpoint = get_le32(buf + AT_ATTACH(endpoint));
	out->flags = get_le32(buf + AT_ATTACH(flags));
	out->reserved_set = any_set(buf + AT_ATTACH(reserved), 4);
}

static void decode_detach(const uint8_t *buf, struct proto_request *out)
{
	out->domain = get_le32(buf + AT_DETACH(domain));
	out->endpoint = get_le32(buf + AT_DETACH(endpoint));
	out->reserved_set = any_set(buf + AT_DETACH(reserved), 8);
}

static void decode_map(const uint8_t *buf, struct proto_request *out)
{
	out->domain = get_le32(buf + AT_MAP(domain));
	out->start = get_le64(buf + AT_MAP(virt_start));
	out->last = get_le64(buf + AT_MAP(virt_last));
	out->gpa = get_le64(buf + AT_MAP(phys_start));
	out->flags = get_le32(buf + AT_MAP(flags));
}

static void decode_unmap(const uint8_t *buf, struct proto_request *out)
{
	out->domain = get_le32(buf + AT_UNMAP(domain));
	out->start = get_le64(buf + AT_UNMAP(virt_start));
	out->last = get_le64(buf + AT_UNMAP(virt_last));
	out->reserved_set = any_set(buf + AT_UNMAP(reserved), 4);
}

static void decode_probe(const uint8_t *buf, struct proto_request *out)
{
	out->endpoint = get_le32(buf + AT_PROBE(endpoint));
	out->reserved_set = any_set(buf + AT_PROBE(reserved), 64);
}

int proto_decode_request(const uint8_t *buf, size_t len, struct proto_request *out)
{
	static void (*const decode[PROTO_TYPES_NR])(const uint8_t *,
						    struct proto_request *) = {
		[VIRTIO_IOMMU_T_ATTACH] = decode_attach,
		[VIRTIO_IOMMU_T_DETACH] = decode_detach,
		[VIRTIO_IOMMU_T_MAP] = decode_map,
		[VIRTIO_IOMMU_T_UNMAP] = decode_unmap,
		[VIRTIO_IOMMU_T_PROBE] = decode_probe,
	};

	*out = (struct proto_request){0};
	if (len < PROTO_HEAD_LEN)
		return err(EBADMSG, "request without a head");
	if (!proto_request_len(buf[0]))
		return err(EOPNOTSUPP, "request of unknown type");
	out->type = buf[0];
	if (len < proto_request_len(out->type))
		return err(EINVAL, "request shorter than its type");
	decode[out->type](buf, out);
	return 0;
}

size_t proto_encode_request(uint8_t buf[PROTO_REQUEST_MAX],
			    const struct proto_request *req)
{
	__builtin_memset(buf, 0, PROTO_REQUEST_MAX);
	buf[0] = req->type;
	switch (req->type) {
	case VIRTIO_IOMMU_T_ATTACH:
		put_le32(buf + AT_ATTACH(flags), req->flags);
		__attribute__((fallthrough)); /* domain, endpoint: as DETACH */
	case VIRTIO_IOMMU_T_DETACH:
		put_le32(buf + AT_DETACH(domain), req->domain);
		put_le32(buf + AT_DETACH(endpoint), req->endpoint);
		break;
	case VIRTIO_IOMMU_T_MAP:
		put_le64(buf + AT_MAP(phys_start), req->gpa);
		put_le32(buf + AT_MAP(flags), req->flags);
		__attribute__((fallthrough)); /* domain, range: as UNMAP */
	case VIRTIO_IOMMU_T_UNMAP:
		put_le32(buf + AT_UNMAP(domain), req->domain);
		put_le64(buf + AT_UNMAP(virt_start), req->start);
		put_le64(buf + AT_UNMAP(virt_last), req->last);
		break;
	case VIRTIO_IOMMU_T_PROBE:
		put_le32(buf + AT_PROBE(endpoint), req->endpoint);
		break;
	}
	return proto_request_len(req->type);
}

void proto_encode_tail(uint8_t buf[PROTO_TAIL_LEN], int error)
{
	put_le32(buf, 0);
	buf[0] = proto_errno_to_status(error);
}

int proto_decode_tail(const uint8_t buf[PROTO_TAIL_LEN])
{
	return proto_status_to_errno(buf[0]);
}
