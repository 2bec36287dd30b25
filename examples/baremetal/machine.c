/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "machine.h"

#include <stdarg.h>

/* Identity-mapped by boot.S. */
#define REACH	  (512ull << 30)
#define HEAP_LEN  (16u << 20)
#define SERIAL	  0x3f8
#define PCI_INDEX 0xcf8
#define PCI_DATA  0xcfc
/* Where BARs go that firmware left out of reach: below the I/O APIC on q35. */
#define BAR_WINDOW 0xf0000000u

static uint8_t heap[HEAP_LEN] __attribute__((aligned(4096)));
static size_t heap_used;
static uint64_t tsc_khz, tsc_start;

static void out8(uint16_t port, uint8_t value)
{
	__asm__ __volatile__("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ __volatile__("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void out32(uint16_t port, uint32_t value)
{
	__asm__ __volatile__("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ __volatile__("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* ---- serial line ---- */

void serial_init(void)
{
	out8(SERIAL + 1, 0);	/* no interrupts */
	out8(SERIAL + 3, 0x80); /* divisor 1: 115200 */
	out8(SERIAL + 0, 1);
	out8(SERIAL + 1, 0);
	out8(SERIAL + 3, 3); /* 8n1 */
	out8(SERIAL + 2, 7);
}

static void put(char c)
{
	while (!(in8(SERIAL + 5) & 0x20))
		;
	out8(SERIAL, (uint8_t)c);
}

static void put_padded(const char *s, unsigned width, bool left)
{
	unsigned len = 0;

	while (s[len])
		len++;
	for (unsigned i = len; !left && i < width; i++)
		put(' ');
	while (*s)
		put(*s++);
	for (unsigned i = len; left && i < width; i++)
		put(' ');
}

static const char *digits(uint64_t value, unsigned base, bool negative, char buf[24])
{
	char *p = buf + 23;

	*p = 0;
	do
		*--p = "0123456789abcdef"[value % base];
	while (value /= base);
	if (negative)
		*--p = '-';
	return p;
}

static const char *next_number(va_list *ap, char kind, bool wide, char buf[24])
{
	int64_t number;

	if (kind == 'd') {
		number = wide ? va_arg(*ap, long long) : va_arg(*ap, int);
		return digits((uint64_t)(number < 0 ? -number : number), 10, number < 0,
			      buf);
	}
	return digits(wide ? va_arg(*ap, unsigned long long) : va_arg(*ap, unsigned),
		      kind == 'x' ? 16 : 10, false, buf);
}

/* One conversion; returns what follows it. */
static const char *convert(const char *f, va_list *ap)
{
	bool left = *f == '-', wide = false;
	unsigned width = 0;
	char buf[24];

	f += left;
	while (*f >= '0' && *f <= '9')
		width = width * 10 + (unsigned)(*f++ - '0');
	for (; *f == 'l'; f++)
		wide = true;
	put_padded(*f == 's' ? va_arg(*ap, const char *) : next_number(ap, *f, wide, buf),
		   width, left);
	return f + 1;
}

void print(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	while (*format) {
		if (*format == '%')
			format = convert(format + 1, &ap);
		else
			put(*format++);
	}
	va_end(ap);
}

/* ---- time ---- */

void time_init(void)
{
	const unsigned ms = 20, pit_hz = 1193182;
	uint16_t count = (uint16_t)(pit_hz * ms / 1000);
	uint64_t start;

	/* Channel 2 counts down once; bit 5 of port 0x61 is its output. */
	out8(0x61, (in8(0x61) & (uint8_t)~2u) | 1);
	out8(0x43, 0xb0);
	out8(0x42, count & 0xff);
	out8(0x42, count >> 8);
	start = read_tsc();
	while (!(in8(0x61) & 0x20))
		;
	tsc_khz = (read_tsc() - start) / ms;
	if (!tsc_khz)
		tsc_khz = 1;
	tsc_start = read_tsc();
}

uint64_t time_ns(void)
{
	uint64_t ticks = read_tsc() - tsc_start;

	return ticks / tsc_khz * 1000000 + ticks % tsc_khz * 1000000 / tsc_khz;
}

uint64_t time_tsc_khz(void)
{
	return tsc_khz;
}

/* ---- memory ---- */

void *heap_alloc(size_t len, size_t align)
{
	size_t start = (heap_used + align - 1) & ~(align - 1);

	if (start > HEAP_LEN || len > HEAP_LEN - start)
		return NULL;
	heap_used = start + len;
	return heap + start;
}

/* ---- PCI ---- */

static void select(uint16_t bdf, unsigned offset)
{
	out32(PCI_INDEX, 0x80000000u | (uint32_t)bdf << 8 | (offset & 0xfc));
}

uint32_t pci_read(uint16_t bdf, unsigned offset, unsigned len)
{
	uint32_t value;

	select(bdf, offset);
	value = in32(PCI_DATA) >> (8 * (offset & 3));
	return len == 4 ? value : value & ((1u << (8 * len)) - 1);
}

void pci_write(uint16_t bdf, unsigned offset, uint32_t value, unsigned len)
{
	unsigned shift = 8 * (offset & 3);
	uint32_t mask = len == 4 ? ~0u : ((1u << (8 * len)) - 1) << shift, old;

	select(bdf, offset);
	old = in32(PCI_DATA);
	out32(PCI_DATA, (old & ~mask) | (value << shift & mask));
}

/* Gives a BAR that firmware left out of reach a place of its own. */
static uint64_t place_bar(uint16_t bdf, unsigned offset, bool wide)
{
	static uint32_t next = BAR_WINDOW;
	uint32_t size;

	pci_write(bdf, offset, ~0u, 4);
	size = ~(pci_read(bdf, offset, 4) & ~0xfu) + 1;
	next = (next + size - 1) & ~(size - 1);
	pci_write(bdf, offset, next, 4);
	if (wide)
		pci_write(bdf, offset + 4, 0, 4);
	next += size;
	return next - size;
}

static void read_bars(struct pci_function *f)
{
	for (unsigned i = 0; i < 6; i++) {
		unsigned offset = 0x10 + 4 * i;
		uint32_t low = pci_read(f->bdf, offset, 4);
		bool wide = (low & 6) == 4;

		if (low & 1 || (!wide && !(low & ~0xfu)))
			continue;
		f->bar[i] = low & ~0xfu;
		if (wide)
			f->bar[i] |= (uint64_t)pci_read(f->bdf, offset + 4, 4) << 32;
		if (!f->bar[i] || f->bar[i] >= REACH)
			f->bar[i] = place_bar(f->bdf, offset, wide);
		i += wide;
	}
}

bool pci_find(uint16_t vendor, uint16_t device, bool master, struct pci_function *out)
{
	for (uint16_t bdf = 0; bdf < 256; bdf++) {
		if (pci_read(bdf, 0, 4) != ((uint32_t)device << 16 | vendor))
			continue;
		*out = (struct pci_function){.bdf = bdf};
		read_bars(out);
		pci_write(bdf, 4, pci_read(bdf, 4, 2) | 2u | (master ? 4u : 0), 2);
		return true;
	}
	return false;
}
