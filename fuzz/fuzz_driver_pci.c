/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The guest driver's virtio-pci transport against a function whose configuration
 * space and registers say what they like.
 *
 * Invariants: every access has 1, 2 or 4 bytes, is aligned and lies inside the 256 bytes
 * of configuration space, or inside a structure that the function announced; what is read
 * of the device's configuration is all written, whatever its length.
 */
#include "input.h"

#include <string.h>

#include <viommu_drv_pci.h>

#define CONFIG_LEN 256u
#define STEPS_MAX  64u

struct state {
	struct input in;
	uint8_t config[CONFIG_LEN];
	struct viommu_drv_pci pci;
};

static void check_len(uint64_t offset, unsigned len)
{
	FUZZ_CHECK((len == 1 || len == 2 || len == 4) && !(offset & (len - 1)));
}

static uint32_t config_read(void *opaque, unsigned offset, unsigned len)
{
	struct state *s = opaque;
	uint32_t value = 0;

	check_len(offset, len);
	FUZZ_CHECK(offset < CONFIG_LEN && len <= CONFIG_LEN - offset);
	memcpy(&value, s->config + offset, len);
	return value;
}

static void config_write(void *opaque, unsigned offset, uint32_t value, unsigned len)
{
	(void)value;
	config_read(opaque, offset, len);
}

static bool inside(const struct viommu_drv_pci_window *w, unsigned bar, uint64_t offset,
		   unsigned len)
{
	return w->bar == bar && offset >= w->offset &&
	       offset + len <= (uint64_t)w->offset + w->len;
}

static void check_access(const struct state *s, unsigned bar, uint64_t offset,
			 unsigned len)
{
	check_len(offset, len);
	FUZZ_CHECK(bar < 6);
	FUZZ_CHECK(inside(&s->pci.common, bar, offset, len) ||
		   inside(&s->pci.notify, bar, offset, len) ||
		   inside(&s->pci.device, bar, offset, len));
}

static uint32_t bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len)
{
	struct state *s = opaque;

	check_access(s, bar, offset, len);
	return input_u32(&s->in) & (uint32_t)((1ull << 8 * len) - 1);
}

static void bar_write(void *opaque, unsigned bar, uint64_t offset, uint32_t value,
		      unsigned len)
{
	(void)value;
	check_access(opaque, bar, offset, len);
}

/* Often a virtio-iommu with three structures; always what the input makes of it. */
static void make_config(struct state *s)
{
	static const uint8_t types[] = {1, 2, 4, 3, 5};
	static const uint8_t head[] = {0xf4, 0x1a, 0x57, 0x10, 0, 0, 0x10, 0};
	unsigned nr = input_u8(&s->in) % 8, at = 0x40;

	memcpy(s->config, head, sizeof(head));
	s->config[0x34] = (uint8_t)at;
	for (unsigned i = 0; i < nr; i++, at += 24) {
		uint8_t cap[20] = {9, i + 1 < nr ? (uint8_t)(at + 24) : 0, 20,
				   types[input_u8(&s->in) % 5], input_u8(&s->in) & 7};

		for (unsigned j = 8; j < 20; j++)
			cap[j] = input_u8(&s->in);
		memcpy(s->config + at, cap, sizeof(cap));
	}
	for (nr = input_u8(&s->in) % 8; nr; nr--)
		s->config[input_u8(&s->in)] = input_u8(&s->in);
}

static void set_up_queue(struct state *s)
{
	struct viommu_drv_queue_setup setup = {
		.index = input_u8(&s->in) % VIOMMU_DRV_PCI_QUEUES, .size = 16};

	if (!viommu_drv_pci_transport.queue_setup(&s->pci, &setup))
		viommu_drv_pci_transport.kick(&s->pci, setup.index);
}

static void read_config(struct state *s)
{
	uint8_t buf[64];
	uint32_t offset = input_u32(&s->in), len = 1u << (input_u8(&s->in) & 3);

	if (input_u8(&s->in) & 1)
		offset &= 0x3c;
	offset &= ~(len - 1);
	memset(buf, 0xa5, sizeof(buf));
	viommu_drv_pci_transport.config_read(&s->pci, offset, buf, len);
	FUZZ_CHECK(buf[len] == 0xa5);
	viommu_drv_pci_transport.config_write(&s->pci, offset, buf, len);
}

static void step(struct state *s)
{
	const struct viommu_drv_transport *t = &viommu_drv_pci_transport;

	switch (input_u8(&s->in) & 7) {
	case 0:
		t->set_features(&s->pci, t->get_features(&s->pci));
		break;
	case 1:
		t->set_status(&s->pci, t->get_status(&s->pci));
		break;
	case 2:
		t->config_generation(&s->pci);
		break;
	case 3:
		t->queue_max(&s->pci, input_u16(&s->in));
		break;
	case 4:
	case 5:
		read_config(s);
		break;
	default:
		set_up_queue(s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct viommu_drv_pci_ops ops = {config_read, config_write, bar_read,
						      bar_write};
	struct state *s = calloc(1, sizeof(*s));

	s->in = (struct input){data, len};
	make_config(s);
	if (!viommu_drv_pci_init(&s->pci, &ops, s))
		for (unsigned i = 0; i < STEPS_MAX && s->in.len; i++)
			step(s);
	free(s);
	return 0;
}
