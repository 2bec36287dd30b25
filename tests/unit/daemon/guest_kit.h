/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A VMM and its guest, as far as viommud sees them: memory that is shared, a
 * connection to each function, a driver for the IOMMU's request queue, and
 * dmatest's registers. Runs viommud as a program.
 */
#ifndef TESTS_GUEST_KIT_H
#define TESTS_GUEST_KIT_H

#include <sys/types.h>

#include <jansson.h>

#include "vfu_client.h"

#define GUEST_RAM_LEN (16u << 20)

struct viommud {
	char dir[32];
	pid_t pid;
	int control; /* connected; -1: not */
};

/* Starts the program with options (NULL-terminated) and waits until it is ready.
 * Fails the test if it is not. */
void viommud_start(struct viommud *d, const char *program, const char *const *options);
/* Sends signal (0: none), waits for the end; its wait status. */
int viommud_end(struct viommud *d, int signal);
/* A request to its control socket; the whole reply, a new reference. */
json_t *viommud_ask(struct viommud *d, const char *request);
/* The same; an integer at a path like "result.iommu.mappings". */
long long viommud_number(struct viommud *d, const char *request, const char *path);
/* Of "stat": "iommu.mappings". */
long long viommud_stat(struct viommud *d, const char *path);

struct guest {
	int memfd;
	uint8_t *ram;
	struct vfu_client iommu, dma;
	uint32_t common, notify, device; /* offsets in the IOMMU's BAR 0 */
	uint16_t avail, event_avail;	 /* next indices of the queues */
};

/* Connects to d's iommu.sock and dma.sock, brings the IOMMU's driver up. */
void guest_start(struct guest *g, const struct viommud *d);
/* Of the IOMMU. */
void guest_bus_master(struct guest *g, bool on);
/* Off and on again in one message, so that no turn lies between. */
void guest_bus_master_blinks(struct guest *g);
/* Resets the IOMMU and brings its driver up, with empty rings. */
void guest_drive(struct guest *g);
/* Its two halves. */
void guest_prepare(struct guest *g);
void guest_driver_ok(struct guest *g);
/* As a killed VMM: the sockets close without a word. */
void guest_kill(struct guest *g);

/* One request of the IOMMU; its status, or -1: no answer in 10 s. in: the part
 * before the tail. */
int guest_request(struct guest *g, const void *in, uint32_t len);
/* Its two halves. */
void guest_send(struct guest *g, const void *in, uint32_t len);
int guest_answer(struct guest *g);
int guest_attach(struct guest *g, uint32_t domain, uint32_t ep);
int guest_map(struct guest *g, uint32_t domain, uint64_t first, uint64_t last,
	      uint64_t gpa, uint32_t flags);
int guest_unmap(struct guest *g, uint32_t domain, uint64_t first, uint64_t last);

/* A buffer for one fault event. */
void guest_post_event(struct guest *g);
/* The chains that the IOMMU has given back since the driver is up. */
unsigned guest_used(struct guest *g);

/* dmatest fills guest memory; 0, or its error (positive errno). */
int guest_fill(struct guest *g, uint64_t iova, uint64_t len, uint8_t pattern);

#endif
