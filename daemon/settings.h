/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What viommud was asked to do, from the command line and from configuration
 * files, which use the same names:
 *
 *     --threads 2                       threads = 2
 *     --iommu granule=4k,bypass=off     [iommu]
 *                                       granule = 4k
 *                                       bypass = off
 *     --endpoint blk,id=disk0,ep=0x20   [endpoint disk0]
 *                                       type = blk
 *                                       ep = 0x20
 *
 * A file takes effect where --config stands; what comes later wins. Nothing
 * here opens a device or a socket, so that --check can validate anywhere.
 */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include <viommu/base.h>
#include <viommu/device.h>

#include "config_file.h"
#include "limits.h"
#include "problem.h"

/* How long a thread watches rings after work, before it asks for kicks. */
struct poll_settings {
	bool automatic;	 /* follows the gaps between requests, up to max_us */
	uint32_t max_us; /* microseconds; 0: never */
};

struct iommu_settings {
	char id[DAEMON_NAME_LEN];	    /* names the socket */
	uint64_t granule;		    /* bytes, a power of two */
	bool bypass;			    /* config.bypass at start and system reset */
	bool packed;			    /* offer packed rings */
	bool indirect;			    /* offer indirect descriptors */
	uint32_t input_bits;		    /* width of an iova */
	uint32_t queue_size;		    /* entries of the largest ring offered */
	uint32_t max_mappings, max_domains; /* 0: the library's maximum */
	uint32_t fault_rate;		    /* events a second an endpoint */
	uint32_t hold_timeout_ms;
	struct poll_settings poll;
	bool poll_set; /* else: as for the daemon */
};

struct endpoint_settings {
	char type[DAEMON_NAME_LEN]; /* "blk", "dmatest": see kinds.h */
	char id[DAEMON_NAME_LEN];   /* names the socket */
	uint32_t ep;		    /* the IOMMU's number for it */
	bool ep_set;
	bool iommu; /* false: reaches guest memory untranslated */
	bool untrusted;
	bool msix; /* false: INTx is the only interrupt */
	struct viommu_resv resv[DAEMON_RESV_MAX];
	unsigned resv_nr;
	bool resv_set; /* else: the x86 MSI window */
	/* What only the endpoint's own code understands, for endpoint_create():
	 * "key=value,key=value", a comma in a value written twice. */
	char params[DAEMON_PARAMS_LEN];
};

#define SETTINGS_AUTO UINT32_MAX

struct settings {
	char *socket_dir; /* owned; never NULL after settings_parse() */
	char *control;	  /* owned; path of the control socket or NULL */
	char *user;	  /* owned; NULL: stay who we are */
	uint32_t socket_mode;
	uint32_t threads; /* for endpoints, or SETTINGS_AUTO; 0: the IOMMU's */
	bool priority;	  /* the IOMMU's thread goes before others, if we may */
	struct poll_settings poll;
	enum viommu_log_level log_level;
	bool sealed_only; /* refuse memory that the VMM could cut off */
	bool seccomp, exit_with_vm, check, help, version;
	int ready_fd; /* gets "ready\n" when all sockets listen; -1: none */
	struct iommu_settings iommu;
	struct endpoint_settings endpoints[DAEMON_ENDPOINTS_MAX];
	unsigned endpoints_nr;
};

/* false: the problem names option, value and remedy. *out must be freed in
 * both cases. */
bool settings_parse(int argc, char **argv, struct settings **out,
		    struct problem *problem);
void settings_free(struct settings *settings);

/* One setting as a configuration file has it, section "" (the daemon's own),
 * "iommu" or "endpoint". A setting_fn; opaque is the struct settings. */
bool settings_set(void *opaque, const struct setting *setting, struct problem *problem);

/* An endpoint as after --endpoint: "blk,id=disk0,ep=0x20,path=disk.img"; a
 * comma inside a value is written twice. */
bool settings_endpoint(struct endpoint_settings *out, const char *where, const char *text,
		       struct problem *problem);

/* What only the whole tells: ids given twice, no endpoint, a missing ep. */
bool settings_validate(struct settings *settings, struct problem *problem);
bool settings_validate_endpoint(struct endpoint_settings *endpoint,
				struct problem *problem);

/* What "auto" goes up to. A guest's CPU spins for the reply of a request to the
 * IOMMU; for an endpoint's it does something else meanwhile. */
#define POLL_AUTO_IOMMU_US    500u
#define POLL_AUTO_ENDPOINT_US 50u

/* "auto" (up to POLL_AUTO_IOMMU_US) or a number of microseconds. */
bool settings_poll(const char *text, struct poll_settings *out);
bool settings_log_level(const char *text, enum viommu_log_level *out);

/* What --help prints. */
extern const char settings_help[];

#endif
