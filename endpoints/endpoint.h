/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * endpoints/endpoint.h - what all emulated devices behind the IOMMU have in
 * common, seen by the program that serves them (the daemon, a VMM, a test).
 *
 * An endpoint is a PCI function plus the work behind it. The program routes
 * configuration, BAR and interrupt traffic to endpoint->function and calls the
 * functions below from its event loop:
 *
 *     for (;;) {
 *             work = handle socket messages;
 *             work |= endpoint_poll(ep, 64) & (ENDPOINT_DONE | ENDPOINT_MORE);
 *             if (work || still inside the polling time)
 *                     continue;
 *             if (endpoint_arm(ep))
 *                     continue;
 *             poll(socket, wake descriptor, endpoint_fds(ep), endpoint_timeout_ms(ep));
 *     }
 *
 * Threads: one thread drives an endpoint: its function's accesses (and so the
 * server's socket) and every call here. Exceptions: endpoint_create() and
 * endpoint_destroy() are control side of the IOMMU device (viommu/base.h), with
 * the thread not running; env.wake is called by the endpoint on any thread.
 */
#ifndef ENDPOINTS_ENDPOINT_H
#define ENDPOINTS_ENDPOINT_H

#include <poll.h>

#include <viommu/base.h>
#include <viommu/device.h>
#include <viommu/histogram.h>
#include <viommu/mem.h>
#include <viommu/pci.h>

struct endpoint;
struct options; /* endpoints/options.h */

/* What an endpoint is given. Copied; what it points to outlives the endpoint. */
struct endpoint_env {
	const char *name;	       /* for messages, copied */
	struct viommu_endpoint *iommu; /* NULL: no IOMMU, DMA addresses are
					* guest-physical */
	struct viommu_mem *mem;
	const struct viommu_alloc *alloc;
	const struct viommu_log *log;
	/* There is something for endpoint_poll() that no descriptor of
	 * endpoint_fds() tells (pages were revoked). Must end a sleep that is
	 * going on or about to start. Any thread. May be NULL (tests). */
	void (*wake)(void *opaque);
	/* When this turn of the endpoint's thread began, CLOCK_MONOTONIC: I/O that it
	 * takes counts from then. NULL: each endpoint_poll() reads the clock. */
	uint64_t (*turn_ns)(void *opaque);
	void *opaque;
};

/* Result of a turn, or'ed. */
#define ENDPOINT_DONE (1u << 0) /* something was done */
#define ENDPOINT_MORE (1u << 1) /* the budget was used up: poll again */

/* Gets name and value of each counter, in a fixed order. Names are static:
 * lower case, words joined by '_'. */
typedef void endpoint_stat_fn(void *opaque, const char *name, uint64_t value);
/* The same for how long a kind of I/O took, in ns; the histogram is valid during the
 * call. */
typedef void endpoint_latency_fn(void *opaque, const char *name,
				 const struct viommu_histogram *h);

/* One option of a kind of endpoint, for --help. */
struct endpoint_option {
	const char *name; /* left of '='; NULL ends a table */
	const char *arg;  /* what the value looks like: "PATH", "on|off" */
	const char *help; /* one line: meaning and default */
};

/* A kind of endpoint. All but the optional functions are set. */
struct endpoint_type {
	const char *name;    /* as on the command line: "blk" */
	const char *summary; /* one line for --help */
	const struct endpoint_option *options;

	/* Options are checked to be known ones. Result: as endpoint_create(). */
	int (*create)(const struct endpoint_env *env, const struct options *options,
		      struct endpoint **out);
	void (*destroy)(struct endpoint *ep);

	unsigned (*poll)(struct endpoint *ep, unsigned budget);		   /* optional */
	bool (*arm)(struct endpoint *ep);				   /* optional */
	int (*fds)(struct endpoint *ep, struct pollfd *fds, unsigned max); /* optional */
	int (*timeout_ms)(struct endpoint *ep);				   /* optional */
	bool (*busy)(struct endpoint *ep);				   /* optional */
	bool (*blocks)(struct endpoint *ep);				   /* optional */
	int (*control)(struct endpoint *ep, const char *verb,
		       const struct options *args); /* optional */
	void (*stats)(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque);
	void (*latencies)(struct endpoint *ep, endpoint_latency_fn *visit,
			  void *opaque); /* optional */
};

/* The head of every endpoint's own struct. Read-only for users. */
struct endpoint {
	const struct endpoint_type *type;
	struct viommu_pci *function; /* owned by the endpoint */
	struct endpoint_env env;
	char name[32]; /* env.name points here */
};

/* All kinds, ends with NULL. */
extern const struct endpoint_type *const endpoint_types[];
/* NULL: no such kind. */
const struct endpoint_type *endpoint_type_find(const char *name);

/*
 * Makes an endpoint of kind `type` from "key=value,key=value" (a comma in a
 * value is written twice; NULL: no options). Files are opened here, so that the
 * caller may drop privileges afterwards.
 * Result: 0; -EINVAL: unknown kind, option or value (the log says which, and
 * what would be right); -ENOMEM; what open(2) and its like gave.
 */
int endpoint_create(const char *type, const struct endpoint_env *env, const char *options,
		    struct endpoint **out);
/* Waits for transfers under way. NULL is allowed. */
void endpoint_destroy(struct endpoint *ep);

/*
 * One turn: takes what the driver made available (up to about `budget`
 * requests), handles what completed, publishes and interrupts at most once a
 * queue. Never sleeps. Result: ENDPOINT_* bits; 0: there was nothing to do.
 */
unsigned endpoint_poll(struct endpoint *ep, unsigned budget);

/*
 * Before going to sleep: asks the driver to notify and completions to signal
 * their descriptor. true: something came up meanwhile, poll instead. The next
 * endpoint_poll() takes it back.
 */
bool endpoint_arm(struct endpoint *ep);

/* Descriptors that end a sleep, asked for before each one; the endpoint's own,
 * to be polled, never read, by the caller. Result: number written, <= max. */
int endpoint_fds(struct endpoint *ep, struct pollfd *fds, unsigned max);
#define ENDPOINT_FDS_MAX 64

/* The longest sleep, -1: no limit. */
int endpoint_timeout_ms(struct endpoint *ep);

/* Whether transfers are under way. */
bool endpoint_busy(struct endpoint *ep);

/* Whether a turn may wait for the host's storage: not for a thread that others need. */
bool endpoint_blocks(struct endpoint *ep);

/* As if the function had been reset: queues are off, transfers have ended. */
void endpoint_reset(struct endpoint *ep);

/*
 * A command of the operator, e.g. "resize" with "size=20G" (options as for
 * creation, may be NULL). Result: 0; -EOPNOTSUPP: no such command; -EINVAL and
 * others as the command documents (docs/endpoints.md).
 */
int endpoint_control(struct endpoint *ep, const char *verb, const char *args);

void endpoint_stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque);
/* How long I/O took (docs/tracing.md); nothing for kinds that do not count it. */
void endpoint_latencies(struct endpoint *ep, endpoint_latency_fn *visit, void *opaque);

#endif /* ENDPOINTS_ENDPOINT_H */
