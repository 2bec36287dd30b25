/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Configuration space of a function: header, capabilities, reads and writes. */
#include <string.h>

#include "base/compiler.h"
#include "base/err.h"
#include "pci/pci_internal.h"

uint16_t pci_get16(const uint8_t *field)
{
	return (uint16_t)(field[0] | field[1] << 8);
}

void pci_put16(uint8_t *field, uint16_t value)
{
	field[0] = (uint8_t)value;
	field[1] = (uint8_t)(value >> 8);
}

void pci_put32(uint8_t *field, uint32_t value)
{
	pci_put16(field, (uint16_t)value);
	pci_put16(field + 2, (uint16_t)(value >> 16));
}

/* Bits below the length are fixed at zero, which is how the guest sizes a BAR. */
static void init_bar(struct viommu_pci *pci, unsigned i)
{
	const struct viommu_pci_bar *bar = &pci->cfg.bar[i];
	unsigned at = PCI_BAR_0 + 4 * i;
	uint64_t mask = ~(bar->len - 1);

	if (!bar->len)
		return;
	pci_put32(&pci->config[at], (bar->mem64 ? PCI_BAR_MEM64 : 0) |
					    (bar->prefetchable ? PCI_BAR_PREFETCH : 0));
	pci_put32(&pci->writable[at], (uint32_t)mask);
	if (bar->mem64)
		pci_put32(&pci->writable[at + 4], (uint32_t)(mask >> 32));
}

static void init_header(struct viommu_pci *pci)
{
	const struct viommu_pci_config *cfg = &pci->cfg;
	uint8_t *config = pci->config;

	pci_put16(&config[PCI_VENDOR_ID], cfg->vendor);
	pci_put16(&config[PCI_DEVICE_ID], cfg->device);
	pci_put16(&config[PCI_SUBSYSTEM_VENDOR_ID], cfg->subvendor);
	pci_put16(&config[PCI_SUBSYSTEM_ID], cfg->subdevice);
	config[PCI_REVISION_ID] = cfg->revision;
	config[PCI_CLASS_PROG] = cfg->prog_if;
	config[PCI_SUBCLASS] = cfg->subclass;
	config[PCI_CLASS] = cfg->class_code;
	config[PCI_INTERRUPT_PIN] = cfg->intx ? 1 : 0; /* INTA# */
	pci_put16(&pci->writable[PCI_COMMAND],
		  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
			  PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	pci->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	pci->writable[PCI_INTERRUPT_LINE] = 0xff;
	for (unsigned i = 0; i < VIOMMU_PCI_BARS_NR; i++)
		init_bar(pci, i);
	pci->next_cap = PCI_FIRST_CAP;
	pci->last_cap_link = PCI_CAPABILITY_LIST;
}

/* MSI-X: the table at offset 0 of its BAR, the PBA in the middle. */
static int add_msix(struct viommu_pci *pci)
{
	uint8_t body[MSIX_BODY_LEN] = {0}, mask[MSIX_BODY_LEN] = {0};
	const struct viommu_pci_config *cfg = &pci->cfg;
	int at;

	pci_put16(&body[0], (uint16_t)(cfg->msix_nr - 1));
	pci_put32(&body[2], cfg->msix_bar);
	pci_put32(&body[6], (uint32_t)(cfg->bar[cfg->msix_bar].len / 2) | cfg->msix_bar);
	pci_put16(&mask[0], MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL);
	at = viommu_pci_add_cap(pci, PCI_CAP_MSIX, body, mask, sizeof(body));
	if (at < 0)
		return at;
	pci->msix_cap = (unsigned)at;
	return 0;
}

/* PCI Express, version 2, endpoint, 2.5 GT/s x1, with function level reset. */
static int add_pcie(struct viommu_pci *pci)
{
	enum {
		FLAGS = 0,
		DEVCAP = 2,
		DEVCTL = 6,
		LNKCAP = 10,
		LNKSTA = 16,
		LNKCAP2 = 42
	};
	uint8_t body[58] = {0}, mask[58] = {0};
	int at;

	pci_put16(&body[FLAGS], 2);
	pci_put32(&body[DEVCAP], 1u << 28 | 1u << 15); /* FLR, role-based errors */
	pci_put32(&body[LNKCAP], 1u << 4 | 1);
	pci_put16(&body[LNKSTA], 1u << 4 | 1);
	pci_put32(&body[LNKCAP2], 1u << 1);
	/* Payload and read request sizes and the enable bits are the guest's to
	 * keep; they change nothing here. */
	pci_put16(&mask[DEVCTL], 0xffff);
	at = viommu_pci_add_cap(pci, PCI_CAP_PCIE, body, mask, sizeof(body));
	if (at < 0)
		return at;
	pci->pcie_cap = (unsigned)at;
	return 0;
}

int pci_config_init(struct viommu_pci *pci)
{
	int r = 0;

	init_header(pci);
	memcpy(pci->initial, pci->config, sizeof(pci->initial));
	if (pci->cfg.msix_nr)
		r = add_msix(pci);
	if (!r && pci->cfg.flr)
		r = add_pcie(pci);
	return r;
}

/* Capabilities are chained in the order in which they are added; `initial` follows
 * config, so that they are still there after a reset. */
int viommu_pci_add_cap(struct viommu_pci *pci, uint8_t id, const void *body,
		       const void *write_mask, unsigned len)
{
	unsigned at = pci->next_cap;

	if (!len)
		return err(EINVAL, "capability without a body");
	if (len > PCI_CAPS_END || at + 2 + len > PCI_CAPS_END)
		return err(ENOSPC, "capability does not fit below 0x100");
	pci->config[at] = id;
	pci->config[at + 1] = 0;
	memcpy(&pci->config[at + 2], body, len);
	if (write_mask)
		memcpy(&pci->writable[at + 2], write_mask, len);
	memcpy(&pci->initial[at], &pci->config[at], 2 + len);

	pci->config[pci->last_cap_link] = (uint8_t)at;
	pci->initial[pci->last_cap_link] = (uint8_t)at;
	pci->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	pci->initial[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	pci->last_cap_link = at + 1;
	pci->next_cap = (at + 2 + len + 3) & ~3u;
	return (int)at;
}

void pci_drop_cap(struct viommu_pci *pci, unsigned cap, unsigned body_len)
{
	unsigned link = PCI_CAPABILITY_LIST;

	/* The list is ours: it has the capability, and an end. */
	while (pci->config[link] != cap)
		link = pci->config[link] + 1u;
	pci->config[link] = pci->initial[link] = pci->config[cap + 1];
	if (pci->last_cap_link == cap + 1)
		pci->last_cap_link = link;
	if (!pci->config[PCI_CAPABILITY_LIST]) {
		pci->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_CAP_LIST;
		pci->initial[PCI_STATUS] &= (uint8_t)~PCI_STATUS_CAP_LIST;
	}
	memset(&pci->config[cap], 0, 2 + body_len);
	memset(&pci->initial[cap], 0, 2 + body_len);
	memset(&pci->writable[cap], 0, 2 + body_len);
}

/* ---- accesses ---- */

static bool touches(unsigned offset, unsigned len, unsigned field, unsigned field_len)
{
	return offset < field + field_len && field < offset + len;
}

/* How much of [offset, offset + len) lies inside configuration space. */
static unsigned inside(unsigned offset, unsigned len)
{
	if (offset >= VIOMMU_PCI_CONFIG_LEN)
		return 0;
	return len < VIOMMU_PCI_CONFIG_LEN - offset ? len
						    : VIOMMU_PCI_CONFIG_LEN - offset;
}

void viommu_pci_config_read(struct viommu_pci *pci, unsigned offset, void *buf,
			    unsigned len)
{
	unsigned nr = inside(offset, len);
	const struct pci_window *w = &pci->window;

	memset((uint8_t *)buf + nr, 0xff, len - nr);
	if (!nr)
		return;
	if (w->offset && touches(offset, nr, w->offset, 4))
		w->read(w->opaque);
	memcpy(buf, &pci->config[offset], nr);
}

/* The device hears of changes only, not of every write: drivers write the command
 * register again and again while they size BARs. */
static void command_written(struct viommu_pci *pci, uint16_t old)
{
	uint16_t now = pci_get16(&pci->config[PCI_COMMAND]);

	pci_update_intx(pci);
	if ((now ^ old) & PCI_COMMAND_MASTER)
		msix_master_changed(pci);
	if (now != old && pci->ops.command_changed)
		pci->ops.command_changed(pci->opaque, now);
}

/* Initiate Function Level Reset always reads as zero (PCIe 5.0, 7.5.3.4). */
static void devctl_written(struct viommu_pci *pci)
{
	uint8_t *field = &pci->config[pci->pcie_cap + PCIE_DEVCTL];

	if (!(pci_get16(field) & PCIE_DEVCTL_FLR))
		return;
	pci_put16(field, pci_get16(field) & ~PCIE_DEVCTL_FLR);
	viommu_pci_reset(pci);
}

/*
 * One rule for every register: the writable bits take the new value, byte by byte.
 * What follows from that is done afterwards, and a function level reset last, since
 * it undoes the rest.
 */
void viommu_pci_config_write(struct viommu_pci *pci, unsigned offset, const void *buf,
			     unsigned len)
{
	uint16_t old_command = pci_get16(&pci->config[PCI_COMMAND]);
	const struct pci_window *w = &pci->window;
	const uint8_t *from = buf;
	unsigned nr = inside(offset, len);

	if (!nr)
		return;
	for (unsigned i = 0; i < nr; i++) {
		uint8_t mask = pci->writable[offset + i];
		uint8_t *to = &pci->config[offset + i];

		*to = (uint8_t)((*to & ~mask) | (from[i] & mask));
	}
	if (touches(offset, nr, PCI_COMMAND, 2))
		command_written(pci, old_command);
	if (pci->msix_cap && touches(offset, nr, pci->msix_cap + MSIX_CONTROL, 2))
		msix_control_changed(pci);
	if (w->offset && touches(offset, nr, w->offset, 4))
		w->write(w->opaque);
	if (pci->pcie_cap && touches(offset, nr, pci->pcie_cap + PCIE_DEVCTL, 2))
		devctl_written(pci);
}
