/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Configuration space: VIRTIO 1.4, "IOMMU Device" / "Device configuration
 * layout". */
#include "proto/bytes.h"
#include "proto/proto.h"

#define AT(field) offsetof(struct virtio_iommu_config, field)

void proto_encode_config(uint8_t buf[PROTO_CONFIG_LEN],
			 const struct virtio_iommu_config *in)
{
	__builtin_memset(buf, 0, PROTO_CONFIG_LEN);
	put_le64(buf + AT(page_size_mask), in->page_size_mask);
	put_le64(buf + AT(input_start), in->input_start);
	put_le64(buf + AT(input_last), in->input_last);
	put_le32(buf + AT(domain_first), in->domain_first);
	put_le32(buf + AT(domain_last), in->domain_last);
	put_le32(buf + AT(probe_size), in->probe_size);
	buf[AT(bypass)] = in->bypass;
}

void proto_decode_config(const uint8_t buf[PROTO_CONFIG_LEN],
			 struct virtio_iommu_config *out)
{
	*out = (struct virtio_iommu_config){
		.page_size_mask = get_le64(buf + AT(page_size_mask)),
		.input_start = get_le64(buf + AT(input_start)),
		.input_last = get_le64(buf + AT(input_last)),
		.domain_first = get_le32(buf + AT(domain_first)),
		.domain_last = get_le32(buf + AT(domain_last)),
		.probe_size = get_le32(buf + AT(probe_size)),
		.bypass = buf[AT(bypass)],
	};
}
