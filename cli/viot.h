/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The ACPI table that tells a guest which PCI functions are behind which
 * virtio-iommu: "Virtual I/O Translation Table", ACPI 6.5. A pure function.
 */
#ifndef CLI_VIOT_H
#define CLI_VIOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIOT_RANGES_MAX 64u
#define VIOT_LEN_MAX	(48u + 16u + 24u * VIOT_RANGES_MAX)

/* PCI functions first..last (bus << 8 | device << 3 | function) of segment 0;
 * the first has the endpoint number ep, the next ep + 1 and so on. */
struct viot_range {
	uint16_t first, last;
	uint32_t ep;
};

/* Writes the table; its length. room >= VIOT_LEN_MAX, nr <= VIOT_RANGES_MAX. */
size_t viot_write(uint8_t *out, uint16_t iommu, const struct viot_range *ranges,
		  unsigned nr);

/* "[BUS:]DEVICE[.FUNCTION]", hexadecimal: "3", "4.1", "01:00.0". */
bool viot_parse_bdf(const char *text, uint16_t *out);
/* "FIRST[-LAST][=EP]"; without =EP the number is the function's. */
bool viot_parse_range(const char *text, struct viot_range *out);

#endif
