/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A small PCI function behind a vfio-user server, a client, and ears. */
#ifndef TESTS_VFIO_USER_FIXTURE_H
#define TESTS_VFIO_USER_FIXTURE_H

#include "test.h"
#include "test_alloc.h"
#include "vfu_client.h"

#include <errno.h>

#include <viommu/dma.h>
#include <viommu/mem.h>
#include <viommu/pci.h>
#include <viommu/vfio_user.h>

#include "base/limits.h"

enum { BAR0_LEN = 8192, VECTORS = 40, RAM_LEN = 1 << 20 };

struct fixture {
	struct test_alloc ta;
	struct viommu_log log;
	char lines[8192]; /* what was logged, a line each */
	struct viommu_pci *pci;
	struct viommu_mem *mem;
	struct viommu_vfu *vfu;
	struct vfu_client c;
	char dir[64], path[96];
	int fds_before; /* open descriptors before anything */
	/* What the server told us. */
	unsigned connected, disconnected, system_resets, resets;
	char reason[128];
	/* The function. */
	uint8_t regs[BAR0_LEN];
	unsigned writes;
	uint64_t write_order[512]; /* offsets, in order of arrival */
	bool reentered;
};

int setup(void **state);	   /* server, no client */
int setup_connected(void **state); /* and a client after VERSION */
int teardown(void **state);	   /* checks for leaks of memory and descriptors */

/* Another server of the same kind, in the same directory. */
int create_server(struct fixture *f, const char *name, struct viommu_pci *pci,
		  struct viommu_mem *mem, struct viommu_vfu **out);
struct viommu_pci *create_function(struct fixture *f);

/* Lets the server run until it has nothing to do. */
void pump(void *opaque);
/* A fresh client after VERSION in f->c; the last one is closed. */
void reconnect(struct fixture *f);
/* The server must have ended the connection, for a reason with these words, and
 * take the next client. */
void expect_dropped(struct fixture *f, const char *words);
/* How often these words were logged. */
unsigned logged(const struct fixture *f, const char *words);
int count_fds(void);
/* Whether the server's descriptor is readable. */
bool readable(struct fixture *f);

/* Guest memory that can be shared. */
int ram_create(uint64_t len);
void ram_write(int fd, uint64_t offset, const void *buf, size_t len);

#define CASE(name)	     cmocka_unit_test_setup_teardown(name, setup_connected, teardown)
#define CASE_NO_CLIENT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
