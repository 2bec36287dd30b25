/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What other implementations of this device do and should not: each test is named
 * after who does what, and checks that we do not.
 */
#include <errno.h>

#include "dma_kit.h"

#define R	VIRTIO_IOMMU_MAP_F_READ
#define W	VIRTIO_IOMMU_MAP_F_WRITE
#define MMIO	VIRTIO_IOMMU_MAP_F_MMIO
#define F(name) (1ull << VIRTIO_IOMMU_F_##name)

/* Endpoint 1 in domain 1, endpoint 2 nowhere. */
static struct viommu_endpoint *start(struct dma_kit *d,
				     const struct viommu_device_config *config)
{
	struct viommu_endpoint *ep;

	dma_kit_init(d, config);
	ep = device_kit_endpoint(&d->kit, 1, NULL, 0);
	device_kit_endpoint(&d->kit, 2, NULL, 0);
	assert_int_equal(kit_attach(&d->kit, 1, 1, 0), 0);
	return ep;
}

/* ---- QEMU ---- */

static void qemu_answers_unknown_types(void **state)
{
	uint8_t in[24] = {0x42}, out[4];
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(device_kit_raw(&d.kit, in, sizeof(in), out, sizeof(out)), 0);
	assert_memory_equal(out, ((uint8_t[4]){0xee, 0xee, 0xee, 0xee}), 4);
	dma_kit_done(&d);
}

static void qemu_breaks_the_device_on_a_short_request(void **state)
{
	uint8_t in[24] = {VIRTIO_IOMMU_T_ATTACH}, out[4];
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	for (size_t len = 0; len < 4; len++) {
		assert_int_equal(device_kit_raw(&d.kit, in, len, out, 4), 0);
		assert_int_equal(device_kit_raw(&d.kit, in, 20, out, len), 0);
	}
	assert_int_equal(d.kit.needs_resets, 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, R), 0); /* still at work */
	dma_kit_done(&d);
}

static void qemu_ignores_reserved_of_attach(void **state)
{
	uint8_t in[20] = {VIRTIO_IOMMU_T_ATTACH, 0, 0, 0, 2, 0, 0, 0, 2}, out[4];
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	in[19] = 1;
	assert_int_equal(device_kit_raw(&d.kit, in, sizeof(in), out, 4), 4);
	assert_int_equal(out[0], VIRTIO_IOMMU_S_INVAL);
	dma_kit_done(&d);
}

static void qemu_takes_the_bypass_flag_without_its_feature(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(viommu_device_set_features(d.kit.dev, F(MAP_UNMAP)), 0);
	assert_int_equal(kit_attach(&d.kit, 2, 2, VIRTIO_IOMMU_ATTACH_F_BYPASS), -EINVAL);
	dma_kit_done(&d);
}

static void qemu_maps_off_the_granule(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0x800, 0x17ff, 0, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0x800, R), -ERANGE);
	dma_kit_done(&d);
}

static void qemu_maps_outside_the_input_range(void **state)
{
	struct viommu_device_config config = {.input_start = 0x10000,
					      .input_last = 0x1ffff};
	struct dma_kit d;

	(void)state;
	start(&d, &config);
	assert_int_equal(kit_map(&d.kit, 1, 0xf000, 0x10fff, 0, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0x1f000, 0x20fff, 0, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0x10000, 0x1ffff, 0, R), 0);
	dma_kit_done(&d);
}

static void qemu_maps_ranges_that_end_before_they_start(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0x2000, 0x1fff, 0, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0x2000, 0xfff, 0, R), -ERANGE);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x2000, 0xfff), -ERANGE);
	dma_kit_done(&d);
}

static void qemu_maps_past_the_end_of_guest_physical_space(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0x1fff, 0xfffffffffffff000, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0xfffffffffffff000, R), 0);
	dma_kit_done(&d);
}

static void qemu_maps_over_reserved_regions(void **state)
{
	struct viommu_resv msi = {0xfee00000, 0xfeefffff, VIOMMU_RESV_MSI};
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	device_kit_endpoint(&d.kit, 3, &msi, 1);
	assert_int_equal(kit_attach(&d.kit, 3, 3, 0), 0);
	assert_int_equal(kit_map(&d.kit, 3, 0xfee00000, 0xfee00fff, 0, R), -EINVAL);
	dma_kit_done(&d);
}

/* That one is no deviation; what counts is that such a mapping gives nothing. */
static void qemu_maps_without_flags(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, 0), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_READ), -EFAULT);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_WRITE), -EFAULT);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, R), -EINVAL);
	dma_kit_done(&d);
}

static void qemu_removes_part_of_a_refused_unmap(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0x0000, 0x0fff, 0, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x2fff, 0, R), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, 0x1fff), -ERANGE);
	assert_int_equal(kit_mappings_nr(&d.kit), 2);
	dma_kit_done(&d);
}

static void qemu_lets_a_guest_map_without_limit(void **state)
{
	struct viommu_device_config config = {.max_mappings = 3};
	struct dma_kit d;

	(void)state;
	start(&d, &config);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(kit_map(&d.kit, 1, i << 12, (i << 12) + 0xfff, 0, R),
				 i < 3 ? 0 : -ENOMEM);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, 0xfff), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x3000, 0x3fff, 0, R), 0);
	dma_kit_done(&d);
}

/* It looks up [addr, addr + 1] for an access of any length. */
static void qemu_looks_at_two_bytes_of_an_access(void **state)
{
	struct viommu_endpoint *ep;
	struct viommu_dma *dma;
	struct dma_kit d;
	uint8_t buf[16];

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, R), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0xfff, VIOMMU_READ), 0); /* last byte */
	assert_int_equal(dma_kit_access(&d, ep, 0x1000, VIOMMU_READ), -EFAULT);
	assert_int_equal(viommu_dma_create(ep, d.mem, &d.kit.ta.ops, NULL, NULL, &dma),
			 0);
	assert_int_equal(viommu_dma_read(dma, 0xff0, buf, 16), 0);
	assert_int_equal(viommu_dma_read(dma, 0xff1, buf, 16), -EFAULT);
	viommu_dma_destroy(dma);
	dma_kit_done(&d);
}

static void qemu_reports_faults_without_their_direction(void **state)
{
	struct viommu_endpoint *ep;
	struct proto_fault fault;
	struct dma_kit d;
	uint8_t event[24];

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(dma_kit_access(&d, ep, 0x5000, VIOMMU_WRITE), -EFAULT);
	assert_true(viommu_device_next_event(d.kit.dev, event));
	assert_int_equal(proto_decode_fault(event, 24, &fault), 0);
	assert_int_equal(fault.flags,
			 VIRTIO_IOMMU_FAULT_F_WRITE | VIRTIO_IOMMU_FAULT_F_ADDRESS);
	dma_kit_done(&d);
}

static void qemu_loses_faults_without_a_buffer(void **state)
{
	struct kit_transfer small = {.out_len = 8}, fits = {.out_len = 24};
	struct kit_ring_kind kind = {.size = 4};
	struct rng rng = rng_init(1);
	struct viommu_endpoint *ep;
	struct kit_ring ring;
	struct dma_kit d;

	(void)state;
	ep = start(&d, NULL);
	kit_ring_init(&ring, &d.kit, VIOMMU_QUEUE_EVENT, kind);
	assert_int_equal(dma_kit_access(&d, ep, 0x5000, VIOMMU_READ), -EFAULT);
	assert_int_equal(viommu_device_process(d.kit.dev, 4), 0);
	/* nor does a buffer that is too small break anything */
	assert_int_equal(kit_ring_add(&ring, &small, &rng, 1), 0);
	assert_int_equal(kit_ring_add(&ring, &fits, &rng, 1), 0);
	drvq_publish(&ring.q);
	assert_true(viommu_device_process(d.kit.dev, 4) & VIOMMU_WORK_DONE);
	assert_int_equal(kit_ring_collect(&ring), 2);
	assert_true(small.used == 0 && fits.used == 24);
	assert_int_equal(d.kit.needs_resets, 0);
	kit_ring_done(&ring, &d.kit, VIOMMU_QUEUE_EVENT);
	dma_kit_done(&d);
}

static void qemu_lets_accesses_to_the_msi_region_through(void **state)
{
	struct viommu_resv msi = {RAM_GPA, RAM_GPA + 0xfff, VIOMMU_RESV_MSI};
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	ep = device_kit_endpoint(&d.kit, 3, &msi, 1);
	assert_int_equal(kit_attach(&d.kit, 3, 3, 0), 0);
	assert_int_equal(dma_kit_access(&d, ep, RAM_GPA, VIOMMU_WRITE), -EFAULT);
	assert_int_equal(d.ram[0], 0);
	dma_kit_done(&d);
}

static void count_map(void *opaque, uint64_t first, uint64_t last, uint64_t gpa,
		      unsigned perm)
{
	(void)first;
	(void)last;
	(void)gpa;
	(void)perm;
	++*(unsigned *)opaque;
}

static void qemu_hides_mmio_mappings_from_listeners(void **state)
{
	struct viommu_dma_ops ops = {.map = count_map};
	struct viommu_endpoint *ep;
	struct viommu_dma *dma;
	struct dma_kit d;
	unsigned seen = 0;

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(viommu_dma_create(ep, d.mem, &d.kit.ta.ops, &ops, &seen, &dma),
			 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, R | W | MMIO), 0);
	assert_int_equal(seen, 1);
	viommu_dma_destroy(dma);
	dma_kit_done(&d);
}

static void qemu_has_16_bits_of_endpoint_id(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	device_kit_endpoint(&d.kit, 0x10001, NULL, 0);
	device_kit_endpoint(&d.kit, UINT32_MAX, NULL, 0);
	assert_int_equal(kit_attach(&d.kit, 2, 0x10001, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 3, UINT32_MAX, 0), 0);
	assert_int_equal(kit_detach(&d.kit, 2, 1), -EINVAL); /* not the same */
	assert_int_equal(kit_attach(&d.kit, 3, 0x20001, 0), -ENOENT);
	dma_kit_done(&d);
}

static void qemu_breaks_the_device_on_a_bad_bypass_write(void **state)
{
	static const uint8_t two = 2, one = 1;
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	viommu_device_config_write(d.kit.dev, 36, &two, 1);
	assert_int_equal(viommu_device_set_features(d.kit.dev, F(MAP_UNMAP)), 0);
	viommu_device_config_write(d.kit.dev, 36, &one, 1);
	assert_int_equal(device_kit_stats(&d.kit).config_writes_ignored, 2);
	assert_int_equal(d.kit.needs_resets, 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, R), 0);
	dma_kit_done(&d);
}

/* ---- Cloud Hypervisor ---- */

static void cloud_hypervisor_starts_in_bypass_and_says_it_does_not(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;
	uint8_t bypass = 9;

	(void)state;
	dma_kit_init(&d, NULL);
	ep = device_kit_endpoint(&d.kit, 1, NULL, 0);
	viommu_device_config_read(d.kit.dev, 36, &bypass, 1);
	assert_int_equal(bypass, 0);
	assert_int_equal(dma_kit_access(&d, ep, RAM_GPA, VIOMMU_READ), -EFAULT);
	dma_kit_done(&d);
}

static void cloud_hypervisor_keeps_domains_over_a_reset(void **state)
{
	struct viommu_endpoint *ep;
	struct viommu_dma *dma;
	struct dma_kit d;
	uint8_t byte;

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(viommu_dma_create(ep, d.mem, &d.kit.ta.ops, NULL, NULL, &dma),
			 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, R), 0);
	assert_int_equal(viommu_dma_read(dma, 0, &byte, 1), 0);
	viommu_device_reset(d.kit.dev);
	assert_int_equal(viommu_dma_read(dma, 0, &byte, 1), -EFAULT);
	assert_int_equal(device_kit_stats(&d.kit).domains, 0);
	assert_int_equal(kit_mappings_nr(&d.kit), 0);
	viommu_dma_destroy(dma);
	dma_kit_done(&d);
}

static void cloud_hypervisor_attaches_and_detaches_anything(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(kit_attach(&d.kit, 1, 7, 0), -ENOENT);
	assert_int_equal(kit_detach(&d.kit, 1, 7), -ENOENT);
	assert_int_equal(kit_detach(&d.kit, 9, 1), -EINVAL);
	dma_kit_done(&d);
}

static void cloud_hypervisor_ignores_permissions(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0x0000, 0x0fff, RAM_GPA, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, RAM_GPA, W), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_WRITE), -EFAULT);
	assert_int_equal(dma_kit_access(&d, ep, 0x1000, VIOMMU_READ), -EFAULT);
	assert_int_equal(d.ram[0], 0);
	dma_kit_done(&d);
}

/* One buffer a byte, on either side. */
static void cloud_hypervisor_wants_one_descriptor_for_the_body(void **state)
{
	struct proto_request req = {
		.type = VIRTIO_IOMMU_T_MAP, .domain = 1, .last = 0xfff, .flags = R};
	struct kit_ring_kind kind = {.size = 64};
	struct kit_transfer t = {.out_len = 4};
	struct kit_ring ring;
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	kit_ring_init(&ring, &d.kit, VIOMMU_QUEUE_REQUEST, kind);
	t.in_len = proto_encode_request(t.in, &req);
	for (unsigned i = 0; i < t.in_len + 4; i++) {
		uint8_t *at = i < t.in_len ? &t.in[i] : &t.out[i - t.in_len];

		t.bufs[i] = (struct drvq_buf){(uintptr_t)at, 1};
	}
	assert_int_equal(drvq_add(&ring.q, t.bufs, (unsigned)t.in_len, 4, &t), 0);
	drvq_publish(&ring.q);
	viommu_device_process(d.kit.dev, 4);
	assert_int_equal(kit_ring_collect(&ring), 1);
	assert_true(t.used == 4 && !t.out[0] && !t.out[4]);
	assert_int_equal(kit_mappings_nr(&d.kit), 1);
	kit_ring_done(&ring, &d.kit, VIOMMU_QUEUE_REQUEST);
	dma_kit_done(&d);
}

static void cloud_hypervisor_refuses_buffers_with_room_to_spare(void **state)
{
	uint8_t in[64] = {VIRTIO_IOMMU_T_ATTACH, 0, 0, 0, 1, 0, 0, 0, 2}, out[16];
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(device_kit_raw(&d.kit, in, sizeof(in), out, sizeof(out)), 4);
	assert_memory_equal(out, ((uint8_t[6]){0, 0, 0, 0, 0xee, 0xee}), 6);
	dma_kit_done(&d);
}

static void cloud_hypervisor_never_reports_a_fault(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;
	uint8_t event[24];

	(void)state;
	ep = start(&d, NULL);
	dma_kit_access(&d, ep, 0, VIOMMU_READ);
	assert_int_equal(d.kit.wakes, 1);
	assert_true(viommu_device_next_event(d.kit.dev, event));
	dma_kit_done(&d);
}

static void cloud_hypervisor_has_one_reserved_region(void **state)
{
	struct viommu_resv resv[40];
	struct proto_property property;
	uint8_t properties[40 * 24], size[4];
	size_t at = 0, nr = 0;
	struct dma_kit d;

	(void)state;
	for (uint64_t i = 0; i < 40; i++)
		resv[i] =
			(struct viommu_resv){i << 20, (i << 20) + 0xfff,
					     i ? VIOMMU_RESV_RESERVED : VIOMMU_RESV_MSI};
	start(&d, NULL);
	viommu_device_config_read(d.kit.dev, 32, size, 4);
	assert_int_equal(size[0] | size[1] << 8, 512);
	device_kit_endpoint(&d.kit, 3, resv, 40);
	assert_int_equal(d.kit.config_changes, 1);
	/* A driver that has not heard of it yet still gets what fits. */
	assert_int_equal(device_kit_probe(&d.kit, 1, properties, 512), 0);
	assert_int_equal(device_kit_probe(&d.kit, 3, properties, 512), -EINVAL);
	viommu_device_config_read(d.kit.dev, 32, size, 4);
	assert_int_equal(size[0] | size[1] << 8, 40 * 24);
	assert_int_equal(device_kit_probe(&d.kit, 1, properties, 512), -EINVAL);
	assert_int_equal(device_kit_probe(&d.kit, 3, properties, 40 * 24), 0);
	while (proto_next_property(properties, sizeof(properties), &at, &property) == 1)
		nr++;
	assert_int_equal(nr, 40);
	dma_kit_done(&d);
}

/* ---- crosvm ---- */

static void crosvm_has_no_bypass_domains(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(kit_attach(&d.kit, 2, 1, VIRTIO_IOMMU_ATTACH_F_BYPASS), 0);
	assert_int_equal(dma_kit_access(&d, ep, RAM_GPA, VIOMMU_WRITE), 0);
	assert_int_equal(d.ram[0], 0x77);
	dma_kit_done(&d);
}

/* Whatever is mapped can be read there. */
static void crosvm_ignores_the_read_flag(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, W), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, RAM_GPA, 0), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_WRITE), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_READ), -EFAULT);
	assert_int_equal(dma_kit_access(&d, ep, 0x1000, VIOMMU_READ), -EFAULT);
	dma_kit_done(&d);
}

static void crosvm_refuses_a_mapping_of_one_byte(void **state)
{
	struct viommu_device_config config = {.page_size_mask = 1};
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d, &config);
	assert_int_equal(kit_map(&d.kit, 1, 5, 5, RAM_GPA, R), 0);
	assert_int_equal(dma_kit_access(&d, ep, 5, VIOMMU_READ), 0);
	assert_int_equal(dma_kit_access(&d, ep, 4, VIOMMU_READ), -EFAULT);
	assert_int_equal(dma_kit_access(&d, ep, 6, VIOMMU_READ), -EFAULT);
	dma_kit_done(&d);
}

static void crosvm_cannot_map_all_of_the_space(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0, UINT64_MAX, 0, R | W), 0);
	assert_int_equal(dma_kit_access(&d, ep, RAM_GPA, VIOMMU_WRITE), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, UINT64_MAX - 1), -ERANGE);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, UINT64_MAX), 0);
	dma_kit_done(&d);
}

static void crosvm_forgets_all_but_the_last_endpoint(void **state)
{
	struct viommu_endpoint *one, *two;
	struct dma_kit d;

	(void)state;
	dma_kit_init(&d, NULL);
	one = device_kit_endpoint(&d.kit, 1, NULL, 0);
	two = device_kit_endpoint(&d.kit, 2, NULL, 0);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, R), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 2, 0), 0);
	assert_int_equal(dma_kit_access(&d, two, 0, VIOMMU_READ), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, RAM_GPA, R), 0);
	assert_int_equal(dma_kit_access(&d, one, 0x1000, VIOMMU_READ), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, 0xfff), 0);
	assert_int_equal(dma_kit_access(&d, one, 0, VIOMMU_READ), -EFAULT);
	assert_int_equal(dma_kit_access(&d, two, 0, VIOMMU_READ), -EFAULT);
	dma_kit_done(&d);
}

static void crosvm_cannot_detach_one_of_several(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(kit_attach(&d.kit, 1, 2, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, R), 0);
	assert_int_equal(kit_detach(&d.kit, 1, 1), 0);
	assert_int_equal(kit_mappings_nr(&d.kit), 1);
	assert_int_equal(kit_detach(&d.kit, 1, 2), 0);
	assert_int_equal(kit_mappings_nr(&d.kit), 0);
	dma_kit_done(&d);
}

/* It waits for exported memory without an end; and the Gunyah device replies before
 * the invalidation is through. We reply when the pages are let go, or say after a
 * bounded time that they were not. */
static void crosvm_waits_for_ever_and_gunyah_not_at_all(void **state)
{
	struct iovec iov[4];
	struct viommu_hold hold[4];
	struct viommu_sg sg = {.iov = iov, .iov_max = 4, .hold = hold, .hold_max = 4};
	struct viommu_endpoint *ep;
	struct viommu_dma *dma;
	struct dma_kit d;

	(void)state;
	ep = start(&d, NULL);
	assert_int_equal(viommu_dma_create(ep, d.mem, &d.kit.ta.ops, NULL, NULL, &dma),
			 0);
	for (int give_up = 0; give_up < 2; give_up++) {
		assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, R), 0);
		assert_int_equal(viommu_dma_get(dma, 0, 16, VIOMMU_READ, &sg), 0);
		assert_int_equal(kit_unmap(&d.kit, 1, 0, 0xfff), -EINPROGRESS);
		assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_READ), -EFAULT);
		if (give_up)
			d.kit.now_ns += 2000000000ull;
		else
			viommu_dma_put(dma, &sg);
		assert_int_equal(kit_unmap(&d.kit, 1, 0, 0xfff),
				 give_up ? -EREMOTEIO : 0);
		assert_int_equal(device_kit_stats(&d.kit).hold_timeouts, give_up);
	}
	viommu_dma_put(dma, &sg);
	viommu_dma_destroy(dma);
	dma_kit_done(&d);
}

/* ---- the in-kernel vhost-iommu draft ---- */

static void vhost_iommu_reports_the_whole_buffer_as_written(void **state)
{
	uint8_t in[20] = {VIRTIO_IOMMU_T_DETACH, 0, 0, 0, 1, 0, 0, 0, 1}, out[64];
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(device_kit_raw(&d.kit, in, sizeof(in), out, sizeof(out)), 4);
	dma_kit_done(&d);
}

static void vhost_iommu_calls_a_cut_mapping_invalid(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d, NULL);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0x1fff, 0, R), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x1000, 0x1fff), -ERANGE);
	assert_int_equal(kit_mappings_nr(&d.kit), 1);
	dma_kit_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_answers_unknown_types),
		cmocka_unit_test(qemu_breaks_the_device_on_a_short_request),
		cmocka_unit_test(qemu_ignores_reserved_of_attach),
		cmocka_unit_test(qemu_takes_the_bypass_flag_without_its_feature),
		cmocka_unit_test(qemu_maps_off_the_granule),
		cmocka_unit_test(qemu_maps_outside_the_input_range),
		cmocka_unit_test(qemu_maps_ranges_that_end_before_they_start),
		cmocka_unit_test(qemu_maps_past_the_end_of_guest_physical_space),
		cmocka_unit_test(qemu_maps_over_reserved_regions),
		cmocka_unit_test(qemu_maps_without_flags),
		cmocka_unit_test(qemu_removes_part_of_a_refused_unmap),
		cmocka_unit_test(qemu_lets_a_guest_map_without_limit),
		cmocka_unit_test(qemu_looks_at_two_bytes_of_an_access),
		cmocka_unit_test(qemu_reports_faults_without_their_direction),
		cmocka_unit_test(qemu_loses_faults_without_a_buffer),
		cmocka_unit_test(qemu_lets_accesses_to_the_msi_region_through),
		cmocka_unit_test(qemu_hides_mmio_mappings_from_listeners),
		cmocka_unit_test(qemu_has_16_bits_of_endpoint_id),
		cmocka_unit_test(qemu_breaks_the_device_on_a_bad_bypass_write),
		cmocka_unit_test(cloud_hypervisor_starts_in_bypass_and_says_it_does_not),
		cmocka_unit_test(cloud_hypervisor_keeps_domains_over_a_reset),
		cmocka_unit_test(cloud_hypervisor_attaches_and_detaches_anything),
		cmocka_unit_test(cloud_hypervisor_ignores_permissions),
		cmocka_unit_test(cloud_hypervisor_wants_one_descriptor_for_the_body),
		cmocka_unit_test(cloud_hypervisor_refuses_buffers_with_room_to_spare),
		cmocka_unit_test(cloud_hypervisor_never_reports_a_fault),
		cmocka_unit_test(cloud_hypervisor_has_one_reserved_region),
		cmocka_unit_test(crosvm_has_no_bypass_domains),
		cmocka_unit_test(crosvm_ignores_the_read_flag),
		cmocka_unit_test(crosvm_refuses_a_mapping_of_one_byte),
		cmocka_unit_test(crosvm_cannot_map_all_of_the_space),
		cmocka_unit_test(crosvm_forgets_all_but_the_last_endpoint),
		cmocka_unit_test(crosvm_cannot_detach_one_of_several),
		cmocka_unit_test(crosvm_waits_for_ever_and_gunyah_not_at_all),
		cmocka_unit_test(vhost_iommu_reports_the_whole_buffer_as_written),
		cmocka_unit_test(vhost_iommu_calls_a_cut_mapping_invalid),
	};

	return cmocka_run_group_tests_name("others get wrong", tests, NULL, NULL);
}
