/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * MSI-X (PCI Local Bus Specification 3.0, 6.8.2). A vfio-user client keeps table
 * and masks on its side; an embedding VMM uses the ones here.
 */
#include <string.h>

#include "base/compiler.h"
#include "base/err.h"
#include "pci/pci_internal.h"

#define ENTRY_MASKED 1u

static uint64_t table_len(const struct viommu_pci_config *cfg)
{
	return (uint64_t)cfg->msix_nr * MSIX_ENTRY_LEN;
}

static uint64_t pba_len(const struct viommu_pci_config *cfg)
{
	return (uint64_t)(cfg->msix_nr + 63) / 64 * 8;
}

static uint64_t pba_start(const struct viommu_pci_config *cfg)
{
	return cfg->bar[cfg->msix_bar].len / 2;
}

int msix_check(const struct viommu_pci_config *cfg)
{
	uint64_t len;

	if (!cfg->msix_nr)
		return 0;
	if (cfg->msix_nr > VIOMMU_PCI_MSIX_MAX)
		return err(EINVAL, "too many MSI-X vectors");
	if (cfg->msix_bar >= VIOMMU_PCI_BARS_NR)
		return err(EINVAL, "no such MSI-X BAR");
	len = cfg->bar[cfg->msix_bar].len;
	if (table_len(cfg) > len / 2 || pba_len(cfg) > len / 2)
		return err(EINVAL, "MSI-X table does not fit half its BAR");
	if (len / 2 > UINT32_MAX)
		return err(EINVAL, "PBA out of reach of its capability");
	return 0;
}

int viommu_pci_drop_msix(struct viommu_pci *pci)
{
	if (!pci->msix_cap)
		return 0;
	if (!pci->cfg.intx)
		return err(EINVAL, "no other interrupt is left");
	pci_drop_cap(pci, pci->msix_cap, MSIX_BODY_LEN);
	pci->msix_cap = 0;
	pci->cfg.msix_nr = 0;
	return 0;
}

void msix_reset(struct viommu_pci *pci)
{
	memset(pci->pba, 0, sizeof(pci->pba));
	for (unsigned i = 0; i < VIOMMU_PCI_MSIX_MAX; i++)
		pci->msix[i] = (struct msix_entry){.control = ENTRY_MASKED};
}

static uint16_t control(const struct viommu_pci *pci)
{
	return pci->msix_cap ? pci_get16(&pci->config[pci->msix_cap + MSIX_CONTROL]) : 0;
}

bool viommu_pci_msix_enabled(const struct viommu_pci *pci)
{
	return control(pci) & MSIX_CONTROL_ENABLE;
}

static bool is_pending(const struct viommu_pci *pci, unsigned vector)
{
	return pci->pba[vector / 64] >> (vector % 64) & 1;
}

static void set_pending(struct viommu_pci *pci, unsigned vector, bool pending)
{
	uint64_t bit = 1ull << (vector % 64);

	if (pending)
		pci->pba[vector / 64] |= bit;
	else
		pci->pba[vector / 64] &= ~bit;
}

/* The function mask masks every vector, whatever its own bit says. */
static bool is_masked(const struct viommu_pci *pci, unsigned vector)
{
	return control(pci) & MSIX_CONTROL_MASK_ALL ||
	       pci->msix[vector].control & ENTRY_MASKED;
}

/* A message is a write to memory: not without bus mastering. */
static bool may_send(const struct viommu_pci *pci, unsigned vector)
{
	return viommu_pci_bus_master(pci) &&
	       (pci->irq.keeps_msix_table || !is_masked(pci, vector));
}

void viommu_pci_raise_msix(struct viommu_pci *pci, unsigned vector)
{
	if (vector >= pci->cfg.msix_nr || !viommu_pci_msix_enabled(pci))
		return;
	if (!may_send(pci, vector)) {
		set_pending(pci, vector, true);
		return;
	}
	if (pci->irq.msix)
		pci->irq.msix(pci->irq_opaque, vector);
}

/* Called whenever what held it back may have gone; without effect otherwise. */
static void deliver_pending(struct viommu_pci *pci, unsigned vector)
{
	if (!is_pending(pci, vector) || !viommu_pci_msix_enabled(pci) ||
	    !may_send(pci, vector))
		return;
	set_pending(pci, vector, false);
	if (pci->irq.msix)
		pci->irq.msix(pci->irq_opaque, vector);
}

static void tell_changed(struct viommu_pci *pci, unsigned vector)
{
	if (pci->irq.msix_changed)
		pci->irq.msix_changed(pci->irq_opaque, vector);
}

void msix_control_changed(struct viommu_pci *pci)
{
	/* MSI-X on takes the pin away, MSI-X off gives it back. */
	pci_update_intx(pci);
	for (unsigned i = 0; i < pci->cfg.msix_nr; i++) {
		tell_changed(pci, i);
		deliver_pending(pci, i);
	}
}

void msix_master_changed(struct viommu_pci *pci)
{
	for (unsigned i = 0; i < pci->cfg.msix_nr; i++)
		deliver_pending(pci, i);
}

int viommu_pci_msix_get(const struct viommu_pci *pci, unsigned vector,
			struct viommu_pci_msix_entry *out)
{
	const struct msix_entry *e;

	if (vector >= pci->cfg.msix_nr)
		return err(EINVAL, "no such MSI-X vector");
	e = &pci->msix[vector];
	*out = (struct viommu_pci_msix_entry){
		.address = e->address,
		.data = e->data,
		.masked = is_masked(pci, vector) || !viommu_pci_msix_enabled(pci),
		.pending = is_pending(pci, vector),
	};
	return 0;
}

/* ---- table and PBA in the BAR ---- */

bool msix_owns(const struct viommu_pci *pci, unsigned bar, uint64_t offset)
{
	const struct viommu_pci_config *cfg = &pci->cfg;

	if (!cfg->msix_nr || bar != cfg->msix_bar)
		return false;
	return offset < table_len(cfg) ||
	       (offset >= pba_start(cfg) && offset - pba_start(cfg) < pba_len(cfg));
}

/* Entries in wire format, so that any part of one can be read or written. */
static void entry_to_bytes(const struct msix_entry *e, uint8_t bytes[MSIX_ENTRY_LEN])
{
	pci_put32(&bytes[0], (uint32_t)e->address);
	pci_put32(&bytes[4], (uint32_t)(e->address >> 32));
	pci_put32(&bytes[8], e->data);
	pci_put32(&bytes[12], e->control);
}

static uint32_t get32(const uint8_t *field)
{
	return pci_get16(field) | (uint32_t)pci_get16(field + 2) << 16;
}

uint64_t msix_read(const struct viommu_pci *pci, uint64_t offset, unsigned len)
{
	uint8_t bytes[MSIX_ENTRY_LEN];
	uint64_t value = 0;

	if (offset < table_len(&pci->cfg)) {
		entry_to_bytes(&pci->msix[offset / MSIX_ENTRY_LEN], bytes);
		memcpy(&value, &bytes[offset % MSIX_ENTRY_LEN], len);
		return le64(value);
	}
	offset -= pba_start(&pci->cfg);
	return pci->pba[offset / 8] >> (offset % 8 * 8);
}

/* The PBA is read-only (6.8.2.10). */
void msix_write(struct viommu_pci *pci, uint64_t offset, unsigned len, uint64_t value)
{
	unsigned vector = (unsigned)(offset / MSIX_ENTRY_LEN);
	uint8_t bytes[MSIX_ENTRY_LEN];
	struct msix_entry *e;

	if (offset >= table_len(&pci->cfg))
		return;
	e = &pci->msix[vector];
	entry_to_bytes(e, bytes);
	value = le64(value);
	memcpy(&bytes[offset % MSIX_ENTRY_LEN], &value, len);
	e->address = (get32(&bytes[0]) & ~3u) | (uint64_t)get32(&bytes[4]) << 32;
	e->data = get32(&bytes[8]);
	e->control = get32(&bytes[12]) & ENTRY_MASKED;
	tell_changed(pci, vector);
	deliver_pending(pci, vector);
}
