/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdlib.h>
#include <string.h>

#include "viot.h"

#define HEADER_LEN  36u
#define NODES_AT    48u /* also where the IOMMU's node is: it comes first */
#define CHECKSUM_AT 9u
#define RANGE_LEN   24u
#define IOMMU_LEN   16u
#define TYPE_RANGE  1u
#define TYPE_IOMMU  3u

static uint8_t *put(uint8_t *at, uint64_t value, unsigned len)
{
	while (len--) {
		*at++ = (uint8_t)value;
		value >>= 8;
	}
	return at;
}

static uint8_t *put_text(uint8_t *at, const char *text, unsigned len)
{
	memcpy(at, text, len);
	return at + len;
}

static uint8_t *put_header(uint8_t *at, size_t len)
{
	at = put_text(at, "VIOT", 4);
	at = put(at, len, 4);
	at = put(at, 0, 1); /* revision */
	at = put(at, 0, 1); /* checksum, see below */
	at = put_text(at, "VIOMMU", 6);
	at = put_text(at, "VIOMMUTB", 8);
	at = put(at, 1, 4); /* revision of this maker's table */
	at = put_text(at, "VIOM", 4);
	return put(at, 1, 4);
}

static uint8_t *put_iommu(uint8_t *at, uint16_t bdf)
{
	at = put(at, TYPE_IOMMU, 1);
	at = put(at, 0, 1);
	at = put(at, IOMMU_LEN, 2);
	at = put(at, 0, 2); /* segment */
	at = put(at, bdf, 2);
	return put(at, 0, 8);
}

static uint8_t *put_range(uint8_t *at, const struct viot_range *range)
{
	at = put(at, TYPE_RANGE, 1);
	at = put(at, 0, 1);
	at = put(at, RANGE_LEN, 2);
	at = put(at, range->ep, 4);
	at = put(at, 0, 2); /* first segment */
	at = put(at, 0, 2); /* last segment */
	at = put(at, range->first, 2);
	at = put(at, range->last, 2);
	at = put(at, NODES_AT, 2); /* the IOMMU's node */
	return put(at, 0, 6);
}

size_t viot_write(uint8_t *out, uint16_t iommu, const struct viot_range *ranges,
		  unsigned nr)
{
	size_t len = NODES_AT + IOMMU_LEN + (size_t)nr * RANGE_LEN, i;
	uint8_t *at = put_header(out, len), sum = 0;

	at = put(at, 1 + nr, 2);
	at = put(at, NODES_AT, 2);
	at = put(at, 0, 8);
	at = put_iommu(at, iommu);
	for (i = 0; i < nr; i++)
		at = put_range(at, &ranges[i]);
	/* All bytes of an ACPI table add up to zero. */
	for (i = 0; i < len; i++)
		sum = (uint8_t)(sum + out[i]);
	out[CHECKSUM_AT] = (uint8_t)-sum;
	return len;
}

/* Up to max, in hexadecimal; *end is what follows. */
static bool parse_hex(const char *text, unsigned long max, const char **end,
		      unsigned long *out)
{
	char *stop;

	if (!strchr("0123456789abcdefABCDEF", text[0]) || !text[0])
		return false;
	*out = strtoul(text, &stop, 16);
	*end = stop;
	return *out <= max;
}

/* *end is what follows. */
static bool scan_bdf(const char *text, const char **end, uint16_t *out)
{
	unsigned long bus = 0, device, function = 0;
	const char *colon = strchr(text, ':');

	/* A colon after a dash belongs to the end of a range. */
	if (colon && (size_t)(colon - text) < strcspn(text, "-=")) {
		if (!parse_hex(text, 0xff, end, &bus) || *end != colon)
			return false;
		text = colon + 1;
	}
	if (!parse_hex(text, 0x1f, end, &device))
		return false;
	if (**end == '.' && !parse_hex(*end + 1, 7, end, &function))
		return false;
	*out = (uint16_t)(bus << 8 | device << 3 | function);
	return true;
}

bool viot_parse_bdf(const char *text, uint16_t *out)
{
	const char *end;

	return scan_bdf(text, &end, out) && !*end;
}

bool viot_parse_range(const char *text, struct viot_range *out)
{
	struct viot_range range;
	unsigned long long ep;
	const char *end;
	char *stop;

	if (!scan_bdf(text, &end, &range.first))
		return false;
	range.last = range.first;
	if (*end == '-' && !scan_bdf(end + 1, &end, &range.last))
		return false;
	range.ep = range.first;
	if (*end == '=') {
		if (end[1] < '0' || end[1] > '9')
			return false;
		ep = strtoull(end + 1, &stop, 0);
		if (ep > UINT32_MAX)
			return false;
		range.ep = (uint32_t)ep;
		end = stop;
	}
	if (*end || range.last < range.first)
		return false;
	*out = range;
	return true;
}
