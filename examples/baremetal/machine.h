/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The machine without an operating system: ports, serial line, time, PCI. */
#ifndef BAREMETAL_MACHINE_H
#define BAREMETAL_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint64_t read_tsc(void)
{
	uint32_t low, high;

	__asm__ __volatile__("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* ---- serial line ---- */

void serial_init(void);
/* %s %d %u %x %llu %llx and widths, as in printf. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- time ---- */

/* Measures the time-stamp counter against the PIT. */
void time_init(void);
uint64_t time_ns(void);
uint64_t time_tsc_khz(void);

/* ---- memory: a heap that only grows ---- */

void *heap_alloc(size_t len, size_t align); /* NULL: used up */

/* ---- PCI bus 0 ---- */

struct pci_function {
	uint16_t bdf;
	uint64_t bar[6]; /* addresses; 0: none, or not memory */
};
uint32_t pci_read(uint16_t bdf, unsigned offset, unsigned len);
void pci_write(uint16_t bdf, unsigned offset, uint32_t value, unsigned len);
/* Finds a function, switches its memory on (and, if `master`, its DMA) and makes
 * sure that its BARs are in reach. */
bool pci_find(uint16_t vendor, uint16_t device, bool master, struct pci_function *out);

static inline uint32_t mmio_read32(uint64_t addr)
{
	return *(volatile uint32_t *)addr;
}
static inline void mmio_write32(uint64_t addr, uint32_t value)
{
	*(volatile uint32_t *)addr = value;
}
static inline uint64_t mmio_read64(uint64_t addr)
{
	return *(volatile uint64_t *)addr;
}
static inline void mmio_write64(uint64_t addr, uint64_t value)
{
	*(volatile uint64_t *)addr = value;
}

#endif
