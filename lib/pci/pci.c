/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A PCI function: creation, BAR routing, reset, interrupts. */
#include <string.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/log.h"
#include "pci/pci_internal.h"

#define BAR_LEN_MIN   4096ull
#define BAR32_LEN_MAX (1ull << 31)

/* A BAR is sized by the zeroes among its low address bits, so its length is a power
 * of two; 4 KiB keeps two functions from sharing a page. */
static int check_bar(const struct viommu_pci_config *cfg, unsigned i)
{
	const struct viommu_pci_bar *bar = &cfg->bar[i];

	if (!bar->len)
		return 0;
	if (!is_pow2(bar->len) || bar->len < BAR_LEN_MIN)
		return err(EINVAL, "BAR length is not a power of two >= 4096");
	if (!bar->mem64)
		return bar->len <= BAR32_LEN_MAX
			       ? 0
			       : err(EINVAL, "32-bit BAR longer than 2 GiB");
	if (i == VIOMMU_PCI_BARS_NR - 1 || cfg->bar[i + 1].len)
		return err(EINVAL, "64-bit BAR has no room for its upper half");
	return 0;
}

static int check_config(const struct viommu_pci_config *cfg,
			const struct viommu_pci_ops *ops, const struct viommu_log *log)
{
	for (unsigned i = 0; i < VIOMMU_PCI_BARS_NR; i++) {
		if (check_bar(cfg, i) < 0) {
			log_error(log, "PCI function: BAR %u has a bad length or type.",
				  i);
			return err(EINVAL, "bad BAR");
		}
		if (cfg->bar[i].len && (!ops->bar_read || !ops->bar_write))
			return err(EINVAL, "BAR without bar_read and bar_write");
	}
	if (msix_check(cfg) < 0) {
		log_error(log, "PCI function: MSI-X with %u vectors does not fit BAR %u.",
			  cfg->msix_nr, cfg->msix_bar);
		return err(EINVAL, "bad MSI-X");
	}
	return 0;
}

int viommu_pci_create(const struct viommu_pci_config *config,
		      const struct viommu_pci_ops *ops, void *opaque,
		      const struct viommu_alloc *alloc, const struct viommu_log *log,
		      struct viommu_pci **out)
{
	struct viommu_pci *pci;
	int r = check_config(config, ops, log);

	if (r < 0)
		return r;
	pci = alloc->alloc(alloc->opaque, sizeof(*pci), _Alignof(struct viommu_pci));
	if (!pci)
		return err(ENOMEM, "PCI function");
	memset(pci, 0, sizeof(*pci));
	pci->cfg = *config;
	pci->ops = *ops;
	pci->opaque = opaque;
	pci->alloc = *alloc;
	pci->log = log;
	r = pci_config_init(pci);
	if (r < 0) {
		viommu_pci_destroy(pci);
		return r;
	}
	msix_reset(pci);
	*out = pci;
	return 0;
}

void viommu_pci_destroy(struct viommu_pci *pci)
{
	struct viommu_alloc alloc;

	if (!pci)
		return;
	alloc = pci->alloc;
	alloc.free(alloc.opaque, pci, sizeof(*pci));
}

const struct viommu_pci_config *viommu_pci_get_config(const struct viommu_pci *pci)
{
	return &pci->cfg;
}

/* ---- BARs ---- */

/* The longest naturally aligned access that starts at offset. */
static unsigned piece_len(uint64_t offset, unsigned left)
{
	unsigned len = 8;

	while (len > left || (offset & (len - 1)))
		len /= 2;
	return len;
}

/* offset + len is not computed: it could wrap around. */
static int check_access(const struct viommu_pci *pci, unsigned bar, uint64_t offset,
			unsigned len)
{
	uint64_t bar_len;

	if (bar >= VIOMMU_PCI_BARS_NR)
		return err(EINVAL, "no such BAR");
	bar_len = pci->cfg.bar[bar].len;
	if (offset > bar_len || len > bar_len - offset)
		return err(EINVAL, "access outside the BAR");
	return 0;
}

/*
 * Accesses reach the device as the bus would make them: naturally aligned and of
 * at most 8 bytes. What a guest does with one odd access is then no new case for
 * any device. Values are little-endian on the bus, whatever the host is.
 */
int viommu_pci_bar_read(struct viommu_pci *pci, unsigned bar, uint64_t offset, void *buf,
			unsigned len)
{
	uint8_t *to = buf;
	int r = check_access(pci, bar, offset, len);

	if (r < 0)
		return r;
	while (len) {
		unsigned piece = piece_len(offset, len);
		uint64_t value =
			msix_owns(pci, bar, offset)
				? msix_read(pci, offset, piece)
				: pci->ops.bar_read(pci->opaque, bar, offset, piece);

		value = le64(value);
		memcpy(to, &value, piece);
		to += piece;
		offset += piece;
		len -= piece;
	}
	return 0;
}

int viommu_pci_bar_write(struct viommu_pci *pci, unsigned bar, uint64_t offset,
			 const void *buf, unsigned len)
{
	const uint8_t *from = buf;
	int r = check_access(pci, bar, offset, len);

	if (r < 0)
		return r;
	while (len) {
		unsigned piece = piece_len(offset, len);
		uint64_t value = 0;

		memcpy(&value, from, piece);
		value = le64(value);
		if (msix_owns(pci, bar, offset))
			msix_write(pci, offset, piece, value);
		else
			pci->ops.bar_write(pci->opaque, bar, offset, piece, value);
		from += piece;
		offset += piece;
		len -= piece;
	}
	return 0;
}

/* ---- reset and interrupts ---- */

void viommu_pci_reset(struct viommu_pci *pci)
{
	/* Configuration first: what the device does while it is reset cannot
	 * interrupt any more, and the transport learns that the pin fell. */
	memcpy(pci->config, pci->initial, sizeof(pci->config));
	msix_reset(pci);
	pci->intx_level = false;
	msix_control_changed(pci);
	if (pci->ops.reset)
		pci->ops.reset(pci->opaque);
}

bool viommu_pci_bus_master(const struct viommu_pci *pci)
{
	return pci_get16(&pci->config[PCI_COMMAND]) & PCI_COMMAND_MASTER;
}

void viommu_pci_set_irq_ops(struct viommu_pci *pci, const struct viommu_pci_irq_ops *ops,
			    void *opaque)
{
	pci->irq = ops ? *ops : (struct viommu_pci_irq_ops){0};
	pci->irq_opaque = opaque;
	if (pci->irq.intx && pci->intx_pin)
		pci->irq.intx(pci->irq_opaque, true);
}

void viommu_pci_set_intx(struct viommu_pci *pci, bool asserted)
{
	pci->intx_level = asserted && pci->cfg.intx;
	pci_update_intx(pci);
}

void pci_update_intx(struct viommu_pci *pci)
{
	uint16_t command = pci_get16(&pci->config[PCI_COMMAND]);
	uint16_t status = pci_get16(&pci->config[PCI_STATUS]);
	bool pin = pci->intx_level && !(command & PCI_COMMAND_INTX_DISABLE) &&
		   !viommu_pci_msix_enabled(pci);

	/* PCI 3.0, 6.2.3: the status bit does not depend on Interrupt Disable. */
	status = pci->intx_level ? status | PCI_STATUS_INTERRUPT
				 : status & ~PCI_STATUS_INTERRUPT;
	pci_put16(&pci->config[PCI_STATUS], status);
	if (pin == pci->intx_pin)
		return;
	pci->intx_pin = pin;
	if (pci->irq.intx)
		pci->irq.intx(pci->irq_opaque, pin);
}
