/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu/pci.h - a PCI(e) function: configuration space, capabilities, BARs,
 * interrupts. It knows nothing of who uses it; a VMM or the vfio-user server
 * (viommu/vfio_user.h) routes accesses here, and the function's own code
 * answers BAR accesses through ops.
 *
 * Threads: one thread per function at a time.
 */
#ifndef VIOMMU_PCI_H
#define VIOMMU_PCI_H

#include <viommu/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_pci;

#define VIOMMU_PCI_BARS_NR    6
#define VIOMMU_PCI_CONFIG_LEN 4096
#define VIOMMU_PCI_MSIX_MAX   256

struct viommu_pci_bar {
	uint64_t len; /* 0: absent; else a power of two >= 4096 */
	bool mem64;   /* takes the next BAR's place too */
	bool prefetchable;
};

struct viommu_pci_config {
	uint16_t vendor, device, subvendor, subdevice;
	uint8_t revision, prog_if, subclass, class_code;
	struct viommu_pci_bar bar[VIOMMU_PCI_BARS_NR];
	uint16_t msix_nr; /* 0: no MSI-X */
	uint8_t msix_bar; /* holds table (offset 0) and PBA (upper half) */
	bool intx;	  /* has an INTx pin */
	bool flr;	  /* PCIe capability with function level reset */
};

struct viommu_pci_ops {
	/* len is 1, 2, 4 or 8, naturally aligned, inside the BAR. The MSI-X
	 * table and PBA are answered before they get here. Needed if there is
	 * a BAR. */
	uint64_t (*bar_read)(void *opaque, unsigned bar, uint64_t offset, unsigned len);
	void (*bar_write)(void *opaque, unsigned bar, uint64_t offset, unsigned len,
			  uint64_t value);
	/* Function level reset, bus reset or the VMM's reset; configuration
	 * space and interrupts are reset already. May be NULL. */
	void (*reset)(void *opaque);
	/* The command register changed (bus master, memory enable); called during
	 * the write. Not called by a reset, which clears it. May be NULL. */
	void (*command_changed)(void *opaque, uint16_t command);
};

/* Who takes interrupts: the transport. Called on any thread that drives the
 * function; must not call back into it, viommu_pci_msix_get() excepted. */
struct viommu_pci_irq_ops {
	void (*msix)(void *opaque, unsigned vector);
	void (*intx)(void *opaque, bool asserted); /* edges of the pin */
	/* Address, data or mask of a vector changed. May be NULL. */
	void (*msix_changed)(void *opaque, unsigned vector);
	/* The transport keeps the MSI-X table itself (a vfio-user client does):
	 * masks of the table in the BAR are ignored, and nothing becomes pending
	 * but what waits for bus mastering. */
	bool keeps_msix_table;
};

/* What a transport needs to deliver a vector. */
struct viommu_pci_msix_entry {
	uint64_t address;
	uint32_t data;
	bool masked; /* by itself, by the function mask, or MSI-X is off */
	bool pending;
};

/* Result: 0, -EINVAL (field named in the log), -ENOMEM. */
VIOMMU_API int viommu_pci_create(const struct viommu_pci_config *config,
				 const struct viommu_pci_ops *ops, void *opaque,
				 const struct viommu_alloc *alloc,
				 const struct viommu_log *log, struct viommu_pci **out);
/* NULL is allowed. */
VIOMMU_API void viommu_pci_destroy(struct viommu_pci *pci);

/*
 * Appends a capability: the two header bytes and `len` bytes of body, which is
 * copied, with a mask of the bits that the guest may write (NULL: none). To be
 * called before the guest sees the function.
 * Result: its offset; -ENOSPC: does not fit below 0x100; -EINVAL: len is 0.
 */
VIOMMU_API int viommu_pci_add_cap(struct viommu_pci *pci, uint8_t id, const void *body,
				  const void *write_mask, unsigned len);

/*
 * Takes the MSI-X capability away; what is left is INTx. To be called before the
 * guest sees the function. Nothing happens if there is none.
 * Result: 0; -EINVAL: the function has no INTx pin.
 */
VIOMMU_API int viommu_pci_drop_msix(struct viommu_pci *pci);

/* As given at creation, msix_nr 0 after viommu_pci_drop_msix(); the function's. */
VIOMMU_API const struct viommu_pci_config *
viommu_pci_get_config(const struct viommu_pci *pci);

/* Configuration space, any offset and length inside 4096 bytes; what lies
 * outside reads as ones and ignores writes. */
VIOMMU_API void viommu_pci_config_read(struct viommu_pci *pci, unsigned offset, void *buf,
				       unsigned len);
VIOMMU_API void viommu_pci_config_write(struct viommu_pci *pci, unsigned offset,
					const void *buf, unsigned len);

/* BAR accesses of any length and alignment; split into aligned ones. -EINVAL:
 * no such BAR, or outside it. */
VIOMMU_API int viommu_pci_bar_read(struct viommu_pci *pci, unsigned bar, uint64_t offset,
				   void *buf, unsigned len);
VIOMMU_API int viommu_pci_bar_write(struct viommu_pci *pci, unsigned bar, uint64_t offset,
				    const void *buf, unsigned len);

/* Configuration space, MSI-X and the INTx pin as after power-on, then
 * ops->reset. Not to be called from ops. */
VIOMMU_API void viommu_pci_reset(struct viommu_pci *pci);
/* Whether the guest lets the function access memory. */
VIOMMU_API bool viommu_pci_bus_master(const struct viommu_pci *pci);

/* ops is copied; NULL: nobody takes interrupts. If the pin is asserted, the new
 * owner is told at once. */
VIOMMU_API void viommu_pci_set_irq_ops(struct viommu_pci *pci,
				       const struct viommu_pci_irq_ops *ops,
				       void *opaque);
/* Whether the guest has switched MSI-X on (else: INTx). */
VIOMMU_API bool viommu_pci_msix_enabled(const struct viommu_pci *pci);
/* A vector that is masked, or any without bus mastering (a message is a write to
 * memory), becomes pending and is delivered when that ends. With MSI-X off, or no
 * such vector, nothing happens. */
VIOMMU_API void viommu_pci_raise_msix(struct viommu_pci *pci, unsigned vector);
/* The level of the function's interrupt; shows in the status register, and on
 * the pin unless INTx is disabled or MSI-X is on. Ignored without a pin. */
VIOMMU_API void viommu_pci_set_intx(struct viommu_pci *pci, bool asserted);
/* What the guest wrote for a vector. Result: 0, -EINVAL (no such vector). */
VIOMMU_API int viommu_pci_msix_get(const struct viommu_pci *pci, unsigned vector,
				   struct viommu_pci_msix_entry *out);

#ifdef __cplusplus
}
#endif
#endif /* VIOMMU_PCI_H */
