/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The virtio block endpoint's options, memory and life. */
#include "endpoints/blk/internal.h"
#include "endpoints/options.h"
#include "endpoints/types.h"

const struct endpoint_option blk_options[] = {
	BLOCK_OPTIONS,
	{"serial", "TEXT", "what GET_ID tells, up to 20 bytes (default: the name)"},
	{"queues", "N", "1 to 64 (default: 1)"},
	{"queue-size", "N",
	 "entries of a queue, a power of two (default: 1024 behind the IOMMU, else 256)"},
	{"in-flight", "N", "requests under way at a time, 1 to 1024 (default: 256)"},
	{"packed", "on|off", "offer packed rings (default: on)"},
	{"indirect", "on|off",
	 "offer indirect descriptors (default: off behind the IOMMU, where each would be "
	 "mapped and unmapped; else on)"},
	{NULL, NULL, NULL},
};

/* ---- options ---- */

static int parse_serial(struct blk *blk, const struct options *o)
{
	const char *serial = options_get(o, "serial");

	if (serial && strlen(serial) > VIRTIO_BLK_ID_LEN)
		return endpoint_err(o->log, EINVAL, "%s: serial is longer than %d bytes",
				    o->who, VIRTIO_BLK_ID_LEN);
	if (!serial)
		serial = blk->ep.name;
	/* Padded with NUL; one of 20 bytes or more has none. */
	memcpy(blk->serial, serial, strnlen(serial, sizeof(blk->serial)));
	return 0;
}

/*
 * Linux maps and unmaps the indirect table of each request: behind an IOMMU that
 * is one request in four for 4 KiB of data. Rings are larger there instead.
 */
static int parse(struct blk *blk, const struct options *o)
{
	bool behind_iommu = blk->ep.env.iommu;
	int r;

	blk->queues_nr = 1;
	blk->virtio.queue_size = behind_iommu ? 1024 : 256;
	blk->inflight_max = 256;
	blk->drain_ms = BLK_DRAIN_MS;
	blk->indirect = !behind_iommu;
	r = options_uint(o, "queues", 1, VIOMMU_VIRTIO_QUEUES_MAX, &blk->queues_nr);
	if (!r)
		r = virtio_parse(&blk->virtio, o);
	if (!r)
		r = options_uint(o, "in-flight", 1, BLK_INFLIGHT_MAX, &blk->inflight_max);
	if (!r)
		r = options_bool(o, "indirect", &blk->indirect);
	if (!r)
		r = parse_serial(blk, o);
	/* "A driver MUST NOT create a chain longer than the queue." */
	blk->bufs_max = blk->virtio.queue_size;
	return r;
}

/* ---- memory ---- */

static size_t bufs_len(const struct blk *blk)
{
	return (size_t)blk->inflight_max * blk->bufs_max * sizeof(*blk->bufs);
}

static size_t pieces_nr(const struct blk *blk)
{
	return (size_t)blk->inflight_max * BLK_PIECES_MAX;
}

static void free_requests(struct blk *blk)
{
	const struct viommu_alloc *alloc = blk->ep.env.alloc;

	endpoint_free(alloc, blk->request, blk->inflight_max * sizeof(*blk->request));
	endpoint_free(alloc, blk->bufs, bufs_len(blk));
	endpoint_free(alloc, blk->iovs, pieces_nr(blk) * sizeof(*blk->iovs));
	endpoint_free(alloc, blk->holds, pieces_nr(blk) * sizeof(*blk->holds));
}

static void link_requests(struct blk *blk)
{
	for (unsigned i = blk->inflight_max; i-- > 0;) {
		struct request *req = &blk->request[i];

		req->bufs = blk->bufs + (size_t)i * blk->bufs_max;
		req->sg.iov = blk->iovs + (size_t)i * BLK_PIECES_MAX;
		req->sg.hold = blk->holds + (size_t)i * BLK_PIECES_MAX;
		req->sg.iov_max = req->sg.hold_max = BLK_PIECES_MAX;
		request_unget(blk, req);
	}
}

static int make_requests(struct blk *blk)
{
	const struct viommu_alloc *alloc = blk->ep.env.alloc;

	blk->request =
		endpoint_alloc(alloc, blk->inflight_max * sizeof(*blk->request), 64);
	blk->bufs = endpoint_alloc(alloc, bufs_len(blk), 64);
	blk->iovs = endpoint_alloc(alloc, pieces_nr(blk) * sizeof(*blk->iovs), 64);
	blk->holds = endpoint_alloc(alloc, pieces_nr(blk) * sizeof(*blk->holds), 64);
	if (!blk->request || !blk->bufs || !blk->iovs || !blk->holds)
		return endpoint_err(blk->ep.env.log, ENOMEM, "%s: out of memory",
				    blk->ep.name);
	link_requests(blk);
	return 0;
}

/* ---- life ---- */

static void io_done(void *opaque, struct block_io *io, int res)
{
	request_done(opaque, container_of(io, struct request, io), res);
}

static int set_up(struct blk *blk, const struct options *o)
{
	struct virtio_identity identity = {
		.virtio_id = VIRTIO_ID_BLOCK,
		.class_code = 0x01, /* mass storage, SCSI */
		.config_len = 60,
	};
	int r = parse(blk, o);

	if (!r)
		r = block_open(o, blk->ep.env.alloc, blk->inflight_max, io_done, blk,
			       &blk->block);
	if (r)
		return r;
	blk->info = block_info(blk->block);
	identity.queues_nr = blk->queues_nr;
	r = make_requests(blk);
	return r ? r : virtio_create(&blk->virtio, &blk->ep, &identity, &blk_virtio_ops);
}

void blk_destroy(struct endpoint *ep)
{
	struct blk *blk = to_blk(ep);
	const struct viommu_alloc *alloc = ep->env.alloc;

	if (blk->virtio.vp)
		blk_stop(blk);
	virtio_destroy(&blk->virtio);
	block_close(blk->block);
	free_requests(blk);
	pthread_mutex_destroy(&blk->revokes.lock);
	endpoint_free(alloc, blk, sizeof(*blk));
}

int blk_create(const struct endpoint_env *env, const struct options *options,
	       struct endpoint **out)
{
	struct blk *blk = endpoint_alloc(env->alloc, sizeof(*blk), 64);
	int r;

	if (!blk)
		return endpoint_err(env->log, ENOMEM, "%s: out of memory", env->name);
	endpoint_init(&blk->ep, &endpoint_blk, env);
	pthread_mutex_init(&blk->revokes.lock, NULL);
	r = set_up(blk, options);
	if (r) {
		blk_destroy(&blk->ep);
		return r;
	}
	endpoint_log(env->log, VIOMMU_LOG_INFO, "%s: %llu MiB, %s, %u queues of %u",
		     blk->ep.name, (unsigned long long)blk->info->capacity >> 20,
		     blk->info->engine, blk->queues_nr, blk->virtio.queue_size);
	*out = &blk->ep;
	return 0;
}
