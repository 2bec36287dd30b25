/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "virtio_guest.h"

#include <string.h>

/* Common configuration, at the start of BAR 0, and the notification area. */
enum {
	FEATURE_SELECT = 8,
	FEATURE = 12,
	STATUS = 20,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_ENABLE = 28,
	QUEUE_DESC = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
	QUEUE_RESET = 58,
	NOTIFY = 0x3000,
};

static void *take_memory(void *opaque, size_t len, size_t align)
{
	(void)opaque;
	return aligned_alloc(align, (len + align - 1) / align * align);
}

static void give_memory(void *opaque, void *p, size_t len)
{
	(void)opaque;
	(void)len;
	free(p);
}

static void set(struct guest *g, uint64_t at, unsigned len, uint64_t value)
{
	viommu_pci_bar_write(g->ep->function, 0, at, &value, len);
}

static void set_ring(struct guest *g, unsigned q, uint64_t desc, uint64_t driver,
		     uint64_t device)
{
	set(g, QUEUE_SELECT, 2, q);
	set(g, QUEUE_SIZE, 2, RING_ENTRIES);
	set(g, QUEUE_DESC, 8, desc);
	set(g, QUEUE_DRIVER, 8, driver);
	set(g, QUEUE_DEVICE, 8, device);
	set(g, QUEUE_ENABLE, 2, 1);
	g->next[q] = 0;
}

void guest_boot(struct guest *g, const char *type, const char *options)
{
	struct endpoint_env env;

	g->alloc = (struct viommu_alloc){take_memory, give_memory, NULL};
	FUZZ_CHECK(!viommu_mem_create(&g->alloc, &g->mem));
	for (unsigned i = 0; i < 2; i++) {
		g->ram[i] = calloc(1, REGION_LEN);
		FUZZ_CHECK(!viommu_mem_add(g->mem, GPA + i * REGION_STEP, REGION_LEN,
					   g->ram[i], 0));
	}
	g->present = true;
	env = (struct endpoint_env){.name = "f", .mem = g->mem, .alloc = &g->alloc};
	FUZZ_CHECK(!endpoint_create(type, &env, options, &g->ep));
}

void guest_halt(struct guest *g)
{
	endpoint_destroy(g->ep);
	viommu_mem_destroy(g->mem);
	free(g->ram[0]);
	free(g->ram[1]);
}

void guest_start(struct guest *g, uint64_t features, unsigned queues)
{
	uint32_t command = 6; /* memory, bus master */

	features |= BIT(VIOMMU_VIRTIO_F_VERSION_1) |
		    BIT(VIOMMU_VIRTIO_F_ACCESS_PLATFORM) |
		    (uint64_t)g->packed << VIOMMU_VIRTIO_F_RING_PACKED;
	viommu_pci_config_write(g->ep->function, 4, &command, 2);
	set(g, STATUS, 1, 3);
	set(g, FEATURE_SELECT, 4, 0);
	set(g, FEATURE, 4, (uint32_t)features);
	set(g, FEATURE_SELECT, 4, 1);
	set(g, FEATURE, 4, features >> 32);
	set(g, STATUS, 1, 11);
	for (unsigned q = 0; q < queues; q++)
		set_ring(g, q, GPA + RING_OFF(q), GPA + RING_OFF(q) + DRIVER_OFF,
			 GPA + RING_OFF(q) + DEVICE_OFF);
	set(g, STATUS, 1, 15);
}

void guest_reset(struct guest *g)
{
	endpoint_reset(g->ep);
	memset(g->ram[0], 0, OWN_OFF);
}

/* ---- what a driver does, more or less ---- */

uint16_t guest_next(const struct guest *g, unsigned q)
{
	return g->next[q] % RING_ENTRIES;
}

void guest_put(struct guest *g, unsigned q, uint64_t addr, uint32_t len, uint16_t flags)
{
	uint16_t i = guest_next(g, q), other = (uint16_t)((i + 1) % RING_ENTRIES);
	uint8_t *desc = g->ram[0] + RING_OFF(q) + 16 * i;

	/* AVAIL and USED of packed descriptors are bits 7 and 15. */
	if (g->packed) {
		flags |= g->next[q] / RING_ENTRIES & 1 ? 0x8000 : 0x80;
		other = i;
	}
	memcpy(desc, &addr, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, g->packed ? &other : &flags, 2);
	memcpy(desc + 14, g->packed ? &flags : &other, 2);
	g->next[q]++;
}

void guest_offer(struct guest *g, unsigned q, uint16_t head)
{
	uint8_t *avail = g->ram[0] + RING_OFF(q) + DRIVER_OFF;
	uint16_t idx;

	if (g->packed)
		return;
	memcpy(&idx, avail + 2, 2);
	memcpy(avail + 4 + 2 * (idx % RING_ENTRIES), &head, 2);
	idx++;
	memcpy(avail + 2, &idx, 2);
}

void guest_kick(struct guest *g, unsigned q)
{
	set(g, NOTIFY + 4 * q, 2, q);
}

/* ---- what none does ---- */

void guest_scribble(struct guest *g)
{
	uint64_t value = input_u64(&g->in);
	uint16_t at = input_u16(&g->in) % (REGION_LEN - 8);

	memcpy(g->ram[0] + at, &value, 8);
}

void guest_touch_register(struct guest *g)
{
	static const unsigned lens[] = {1, 2, 4, 8};
	uint8_t kind = input_u8(&g->in);
	unsigned len = lens[kind & 3];
	uint64_t at = input_u16(&g->in) & 0x7fff, value = input_u64(&g->in);

	if (kind & 4)
		viommu_pci_bar_read(g->ep->function, 0, at, &value, len);
	else
		viommu_pci_bar_write(g->ep->function, 0, at, &value, len);
}

void guest_touch_config(struct guest *g)
{
	uint32_t value = input_u32(&g->in);

	viommu_pci_config_write(g->ep->function, input_u8(&g->in), &value, 4);
}

void guest_move_memory(struct guest *g)
{
	uint64_t gpa = GPA + REGION_STEP;

	if (!g->present) {
		g->present = !viommu_mem_add(g->mem, gpa, REGION_LEN, g->ram[1], 0);
		return;
	}
	/* Memory that is held stays; nothing else can be wrong here. */
	viommu_mem_remove(g->mem, gpa, REGION_LEN);
	while (viommu_mem_busy(g->mem, gpa, REGION_LEN))
		endpoint_poll(g->ep, 4);
	g->present = false;
}

/* Where a ring's area may be: in place, in memory that goes, at its end, in the
 * hole, or anywhere. */
static uint64_t some_area(struct guest *g, uint64_t usual)
{
	uint16_t more = input_u16(&g->in);

	switch (more & 7) {
	case 0:
		return GPA + REGION_STEP + (more >> 4 & 0xff0);
	case 1:
		return GPA + REGION_LEN - (more >> 8);
	case 2:
		return GPA + REGION_LEN + (more >> 8) * 16;
	case 3:
		return input_u64(&g->in);
	default:
		return usual;
	}
}

static void move_ring(struct guest *g, unsigned q)
{
	uint64_t at = GPA + RING_OFF(q);
	uint64_t desc = some_area(g, at), driver = some_area(g, at + DRIVER_OFF);

	set(g, QUEUE_SELECT, 2, q);
	set(g, QUEUE_RESET, 2, 1);
	set_ring(g, q, desc, driver, some_area(g, at + DEVICE_OFF));
}

void guest_break_ring(struct guest *g)
{
	uint8_t kind = input_u8(&g->in), i = input_u8(&g->in) % RING_ENTRIES;
	unsigned q = (kind >> 4) % RINGS;
	uint8_t *ring = g->ram[0] + RING_OFF(q);
	uint16_t value = input_u16(&g->in);

	switch (kind & 7) {
	case 0: /* the available index, or a packed ring's event offset */
		memcpy(ring + DRIVER_OFF + 2, &value, 2);
		break;
	case 1: /* what is available, or what the driver wants to hear */
		memcpy(ring + DRIVER_OFF + 4 + 2 * i, &value, 2);
		break;
	case 2: /* flags, split */
		memcpy(ring + 16 * i + 12, &value, 2);
		break;
	case 3: /* next, or flags, packed */
		memcpy(ring + 16 * i + 14, &value, 2);
		break;
	case 4: /* an indirect table, of whatever is there */
		guest_put(g, q, GPA + value % REGION_LEN, 16u * i, INDIRECT);
		guest_offer(g, q, (uint16_t)(g->next[q] - 1) % RING_ENTRIES);
		break;
	case 5: /* what only the device writes */
		memcpy(ring + DEVICE_OFF + 2 * i, &value, 2);
		break;
	default:
		move_ring(g, q);
	}
	guest_kick(g, q);
}

void guest_wait(struct guest *g)
{
	if (g->dev->retry_ms)
		g->dev->retry_ms = 1;
}
