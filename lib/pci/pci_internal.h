/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the files of lib/pci share about a function. */
#ifndef VIOMMU_LIB_PCI_INTERNAL_H
#define VIOMMU_LIB_PCI_INTERNAL_H

#include <viommu/pci.h>

/* Configuration space, PCI Local Bus Specification 3.0, chapter 6. */
enum {
	PCI_VENDOR_ID = 0x00,
	PCI_DEVICE_ID = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION_ID = 0x08,
	PCI_CLASS_PROG = 0x09,
	PCI_SUBCLASS = 0x0a,
	PCI_CLASS = 0x0b,
	PCI_CACHE_LINE_SIZE = 0x0c,
	PCI_BAR_0 = 0x10,
	PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
	PCI_SUBSYSTEM_ID = 0x2e,
	PCI_CAPABILITY_LIST = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
	PCI_FIRST_CAP = 0x40,
	PCI_CAPS_END = 0x100,
};
#define PCI_COMMAND_MEMORY	 0x0002u
#define PCI_COMMAND_MASTER	 0x0004u
#define PCI_COMMAND_PARITY	 0x0040u
#define PCI_COMMAND_SERR	 0x0100u
#define PCI_COMMAND_INTX_DISABLE 0x0400u
#define PCI_STATUS_INTERRUPT	 0x0008u
#define PCI_STATUS_CAP_LIST	 0x0010u
#define PCI_BAR_MEM64		 0x4u
#define PCI_BAR_PREFETCH	 0x8u

#define PCI_CAP_VENDOR		 0x09
#define PCI_CAP_PCIE		 0x10
#define PCI_CAP_MSIX		 0x11

/* MSI-X, section 6.8.2. Offsets inside the capability. */
#define MSIX_CONTROL	      2
#define MSIX_CONTROL_MASK_ALL 0x4000u
#define MSIX_CONTROL_ENABLE   0x8000u
#define MSIX_ENTRY_LEN	      16u
#define MSIX_BODY_LEN	      10u /* after the two bytes of a header */

/* PCI Express Base 5.0, section 7.5.3. Offsets inside the capability. */
#define PCIE_DEVCTL	8
#define PCIE_DEVCTL_FLR 0x8000u

struct msix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

/*
 * A dword of configuration space behind which something else lies (the data
 * register of virtio's PCI configuration access capability). read is called
 * before a read that touches it and fills config[]; write after a write.
 */
struct pci_window {
	unsigned offset; /* 0: none */
	void (*read)(void *opaque);
	void (*write)(void *opaque);
	void *opaque;
};

struct viommu_pci {
	struct viommu_pci_config cfg;
	struct viommu_pci_ops ops;
	void *opaque; /* the device's, for ops */
	struct viommu_alloc alloc;
	const struct viommu_log *log;
	struct viommu_pci_irq_ops irq; /* zeroes: nobody */
	void *irq_opaque;
	unsigned next_cap;	     /* offset where the next capability goes */
	unsigned last_cap_link;	     /* offset of the byte that will point to it */
	unsigned msix_cap, pcie_cap; /* offsets, 0: absent */
	bool intx_level;	     /* what the device asks for */
	bool intx_pin;		     /* what the transport was told */
	struct pci_window window;
	uint64_t pba[VIOMMU_PCI_MSIX_MAX / 64]; /* pending bits */
	struct msix_entry msix[VIOMMU_PCI_MSIX_MAX];
	uint8_t config[VIOMMU_PCI_CONFIG_LEN];
	uint8_t writable[VIOMMU_PCI_CONFIG_LEN]; /* bits the guest may change */
	uint8_t initial[VIOMMU_PCI_CONFIG_LEN];	 /* config after reset */
};

/* Fields of configuration space; little-endian whatever the host is. */
uint16_t pci_get16(const uint8_t *field);
void pci_put16(uint8_t *field, uint16_t value);
void pci_put32(uint8_t *field, uint32_t value);

/* config.c: the header and the built-in capabilities. 0, -EINVAL, -ENOSPC. */
int pci_config_init(struct viommu_pci *pci);
/* Takes a capability of body_len bytes out of the list; its place stays unused. */
void pci_drop_cap(struct viommu_pci *pci, unsigned cap, unsigned body_len);
/* Recomputes status bit and pin from level, command register and MSI-X. */
void pci_update_intx(struct viommu_pci *pci);

/* msix.c */
int msix_check(const struct viommu_pci_config *cfg);
void msix_reset(struct viommu_pci *pci);
/* The control word changed: the pin, and what became deliverable, follow. */
void msix_control_changed(struct viommu_pci *pci);
/* Bus mastering changed. */
void msix_master_changed(struct viommu_pci *pci);
/* Whether an aligned access of up to 8 bytes lies in the table or the PBA. */
bool msix_owns(const struct viommu_pci *pci, unsigned bar, uint64_t offset);
uint64_t msix_read(const struct viommu_pci *pci, uint64_t offset, unsigned len);
void msix_write(struct viommu_pci *pci, uint64_t offset, unsigned len, uint64_t value);

#endif
