/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Life of the driver: reset, negotiation, queues, and the way out of a
 * quarantine ("General Initialization And Device Operation"). */
#include "drv.h"

#include "virtio.h"

#define DEFAULT_TIMEOUT_NS (10ull * 1000 * 1000 * 1000)
#define DEFAULT_QUEUE_SIZE 256u
#define DEFAULT_EVENTS_NR  32u
/* Readings of a configuration that keeps changing. */
#define CONFIG_TRIES 64u
/* virtqueue number of a request queue; its event queue comes behind it. */
#define REQUEST_QUEUE(i) (2u * (i))

void *drv_alloc(const struct viommu_drv *drv, size_t len)
{
	void *p = drv->platform.alloc(drv->platform_opaque, len, CACHE_LINE);

	if (p)
		drv_zero(p, len);
	return p;
}

void drv_free(const struct viommu_drv *drv, void *p, size_t len)
{
	if (p)
		drv->platform.free(drv->platform_opaque, p, len);
}

void drv_relax(const struct viommu_drv *drv, unsigned spins)
{
	if (drv->platform.relax)
		drv->platform.relax(drv->platform_opaque, spins);
	else
		cpu_relax();
}

void drv_zero(void *p, size_t len)
{
	__builtin_memset(p, 0, len);
}

void drv_copy(void *to, const void *from, size_t len)
{
	__builtin_memcpy(to, from, len);
}

static void set_status(struct viommu_drv *drv, uint8_t bits)
{
	uint8_t status = drv->transport.get_status(drv->transport_opaque);

	drv->transport.set_status(drv->transport_opaque, status | bits);
}

/* 0: the device uses no memory of the driver's any more. */
static int reset_device(struct viommu_drv *drv)
{
	struct drv_wait wait = {0};

	drv->stuck = true;
	drv->transport.set_status(drv->transport_opaque, 0);
	while (drv->transport.get_status(drv->transport_opaque) != 0)
		if (drv_wait_turn(drv, &wait))
			return err(ETIMEDOUT, "the device does not finish its reset");
	drv->stuck = false;
	return 0;
}

static uint64_t wanted_features(const struct viommu_drv *drv)
{
	const struct viommu_drv_config *config = &drv->config;
	uint64_t bits =
		1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
		1ull << VIRTIO_F_ORDER_PLATFORM | 1ull << VIRTIO_IOMMU_F_INPUT_RANGE |
		1ull << VIRTIO_IOMMU_F_DOMAIN_RANGE | 1ull << VIRTIO_IOMMU_F_PROBE |
		1ull << VIRTIO_IOMMU_F_MMIO | 1ull << VIRTIO_IOMMU_F_BYPASS_CONFIG;

	/* Not VIRTIO_IOMMU_F_BYPASS: it would open unattached endpoints. */
	if (!config->no_map_unmap)
		bits |= 1ull << VIRTIO_IOMMU_F_MAP_UNMAP;
	if (!config->no_packed)
		bits |= 1ull << VIRTIO_F_RING_PACKED;
	if (!config->no_indirect)
		bits |= 1ull << VIRTIO_F_INDIRECT_DESC;
	if (!config->no_event_idx)
		bits |= 1ull << VIRTIO_F_EVENT_IDX;
	return bits;
}

static uint64_t choose_features(const struct viommu_drv *drv, uint64_t offered)
{
	uint64_t features = offered & wanted_features(drv);

	/* In a packed ring both descriptors of a request are in one cache line;
	 * a table would be another one to fetch. */
	if (features >> VIRTIO_F_RING_PACKED & 1)
		features &= ~(1ull << VIRTIO_F_INDIRECT_DESC);
	return features;
}

static bool has_all(uint64_t features, uint64_t bits)
{
	return (features & bits) == bits;
}

static int negotiate(struct viommu_drv *drv)
{
	uint64_t offered, needed = 1ull << VIRTIO_F_VERSION_1;

	set_status(drv, VIRTIO_STATUS_ACKNOWLEDGE);
	set_status(drv, VIRTIO_STATUS_DRIVER);
	offered = drv->transport.get_features(drv->transport_opaque);
	/* "drivers verify MAP_UNMAP": without it there are only bypass domains. */
	needed |= drv->config.no_map_unmap ? 1ull << VIRTIO_IOMMU_F_BYPASS_CONFIG
					   : 1ull << VIRTIO_IOMMU_F_MAP_UNMAP;
	if (!has_all(offered, needed))
		return err(ENODEV, "VERSION_1 or MAP_UNMAP is not offered");
	/* After a reset all that hangs on the features stands already. */
	if (drv->features && !has_all(offered, drv->features))
		return err(EIO, "the device offers less than before its reset");
	if (!drv->features)
		drv->features = choose_features(drv, offered);
	drv->transport.set_features(drv->transport_opaque, drv->features);
	set_status(drv, VIRTIO_STATUS_FEATURES_OK);
	if (!(drv->transport.get_status(drv->transport_opaque) &
	      VIRTIO_STATUS_FEATURES_OK))
		return err(ENODEV, "the device refuses the features");
	return 0;
}

/* The configuration as of one generation. */
static int read_config(struct viommu_drv *drv, struct virtio_iommu_config *config)
{
	const struct viommu_drv_transport *t = &drv->transport;
	void *to = drv->transport_opaque;

	for (unsigned i = 0; i < CONFIG_TRIES; i++) {
		uint32_t generation = t->config_generation(to);

		t->config_read(to, offsetof(struct virtio_iommu_config, page_size_mask),
			       &config->page_size_mask, 8);
		t->config_read(to, offsetof(struct virtio_iommu_config, input_start),
			       &config->input_start, 8);
		t->config_read(to, offsetof(struct virtio_iommu_config, input_last),
			       &config->input_last, 8);
		t->config_read(to, offsetof(struct virtio_iommu_config, domain_first),
			       &config->domain_first, 4);
		t->config_read(to, offsetof(struct virtio_iommu_config, domain_last),
			       &config->domain_last, 4);
		t->config_read(to, offsetof(struct virtio_iommu_config, probe_size),
			       &config->probe_size, 4);
		if (t->config_generation(to) == generation)
			return 0;
	}
	return err(EIO, "the configuration does not keep still");
}

/* The device's limits, checked, ranges in whole granules. */
static int decode_limits(const struct viommu_drv *drv,
			 const struct virtio_iommu_config *config, struct drv_limits *out)
{
	uint64_t mask = le64(config->page_size_mask), low = (mask & -mask) - 1;

	*out = (struct drv_limits){.granule = mask & -mask,
				   .input_last = UINT64_MAX,
				   .domain_last = UINT32_MAX};
	if (drv_has(drv, VIRTIO_IOMMU_F_INPUT_RANGE)) {
		out->input_start = le64(config->input_start);
		out->input_last = le64(config->input_last);
	}
	if (drv_has(drv, VIRTIO_IOMMU_F_DOMAIN_RANGE)) {
		out->domain_first = le32(config->domain_first);
		out->domain_last = le32(config->domain_last);
	}
	if (!mask || out->domain_first > out->domain_last ||
	    out->input_start > out->input_last)
		return err(EIO, "no page size, or an empty range");
	if (out->input_start & low)
		out->input_start = (out->input_start | low) + 1;
	if ((out->input_last & low) != low)
		out->input_last = (out->input_last & ~low) - 1;
	/* Room for a page at least. */
	if (out->input_start > out->input_last ||
	    out->input_last - out->input_start < low || out->granule > 1ull << 62)
		return err(EIO, "the input range has no whole page");
	return 0;
}

/* Takes the limits over. A reset must not change them, and data calls read them
 * meanwhile, so then they are only compared. */
static int accept_limits(struct viommu_drv *drv, const struct virtio_iommu_config *config)
{
	const struct drv_limits *old = &drv->limits;
	struct drv_limits limits;
	int r = decode_limits(drv, config, &limits);

	if (r)
		return r;
	if (!old->granule) {
		drv->limits = limits;
		return 0;
	}
	if (limits.granule != old->granule || limits.input_start != old->input_start ||
	    limits.input_last != old->input_last ||
	    limits.domain_first != old->domain_first ||
	    limits.domain_last != old->domain_last)
		return err(EIO, "the limits changed in a reset");
	return 0;
}

static void free_probe(struct viommu_drv *drv)
{
	/* A request that timed out, and no reset since: the device may write. */
	if (drv->probe && !drv->stuck)
		drv->platform.free_shared(drv->platform_opaque, drv->probe,
					  drv->probe_len);
	drv->probe = NULL;
}

/* probe_size may grow when endpoints join, so it is read each time. */
int drv_probe_prepare(struct viommu_drv *drv, uint32_t *probe_size)
{
	struct virtio_iommu_config config;
	size_t len;
	int r;

	*probe_size = 0;
	if (!drv_has(drv, VIRTIO_IOMMU_F_PROBE))
		return 0;
	r = read_config(drv, &config);
	if (r)
		return r;
	*probe_size = le32(config.probe_size);
	if (*probe_size > LIMIT_DRV_PROBE_SIZE)
		return err(EIO, "probe_size is beyond all reason");
	/* The old buffer may be out with a request that was never answered. */
	r = viommu_drv_health(drv);
	if (r || !*probe_size)
		return r;
	len = sizeof(struct virtio_iommu_req_probe) + *probe_size +
	      sizeof(struct virtio_iommu_req_tail);
	if (drv->probe && drv->probe_len == len)
		return 0;
	free_probe(drv);
	drv->probe_len = len;
	drv->probe = drv->platform.alloc_shared(drv->platform_opaque, len, CACHE_LINE,
						&drv->probe_pa);
	return drv->probe ? 0 : err(ENOMEM, "probe buffer");
}

static int start_queues(struct viommu_drv *drv)
{
	int r = drv_events_prepare(drv);

	for (unsigned i = 0; !r && i < drv->reqq_nr; i++)
		r = drv_reqq_start(&drv->reqq[i]);
	return r;
}

static int init_queues(struct viommu_drv *drv)
{
	int r;

	drv->reqq = drv_alloc(drv, drv->reqq_nr * sizeof(*drv->reqq));
	if (!drv->reqq)
		return err(ENOMEM, "request queues");
	r = drv_events_init(drv);
	for (unsigned i = 0; !r && i < drv->reqq_nr; i++)
		r = drv_reqq_init(&drv->reqq[i], drv, REQUEST_QUEUE(i));
	return r;
}

static void take_bypass(struct viommu_drv *drv)
{
	uint8_t bypass = drv->config.bypass;

	/* VIRTIO 1.4, IOMMU device, configuration: only 0 and 1, and only with
	 * BYPASS_CONFIG. */
	if (drv->config.take_bypass && drv_has(drv, VIRTIO_IOMMU_F_BYPASS_CONFIG))
		drv->transport.config_write(drv->transport_opaque,
					    offsetof(struct virtio_iommu_config, bypass),
					    &bypass, 1);
}

/* From a device in any state to one that serves. */
static int bring_up(struct viommu_drv *drv, bool first)
{
	struct virtio_iommu_config config;
	int r = reset_device(drv);

	if (!r)
		r = negotiate(drv);
	if (!r)
		r = read_config(drv, &config);
	if (!r)
		r = accept_limits(drv, &config);
	if (!r && first)
		r = init_queues(drv);
	if (!r)
		r = start_queues(drv);
	if (r) {
		if (!drv->stuck)
			set_status(drv, VIRTIO_STATUS_FAILED);
		return r;
	}
	take_bypass(drv);
	set_status(drv, VIRTIO_STATUS_DRIVER_OK);
	drv_events_start(drv);
	return 0;
}

static bool platform_complete(const struct viommu_drv_platform *p)
{
	return p->alloc && p->free && p->alloc_shared && p->free_shared && p->now_ns &&
	       !p->lock == !p->unlock && (!p->timer_arm || p->timer_cancel);
}

static bool transport_complete(const struct viommu_drv_transport *t)
{
	return t->get_features && t->set_features && t->get_status && t->set_status &&
	       t->config_read && t->config_write && t->config_generation &&
	       t->queue_max && t->queue_setup && t->kick;
}

static void set_defaults(struct viommu_drv *drv)
{
	if (!drv->config.request_timeout_ns)
		drv->config.request_timeout_ns = DEFAULT_TIMEOUT_NS;
	if (!drv->config.queue_size)
		drv->config.queue_size = DEFAULT_QUEUE_SIZE;
	if (!drv->config.events_nr)
		drv->config.events_nr = DEFAULT_EVENTS_NR;
	if (!drv->platform.cpu || !drv->platform.cpus_nr)
		drv->platform.cpus_nr = 1;
	drv->reqq_nr = drv->transport.request_queues_nr;
	if (!drv->reqq_nr)
		drv->reqq_nr = 1;
}

/* Memory only. */
static void tear_down(struct viommu_drv *drv)
{
	for (unsigned i = 0; drv->reqq && i < drv->reqq_nr; i++)
		drv_reqq_fini(&drv->reqq[i]);
	drv_free(drv, drv->reqq, drv->reqq_nr * sizeof(*drv->reqq));
	drv_events_fini(drv);
	free_probe(drv);
	drv_domain_free_retired(drv);
	drv->platform.free(drv->platform_opaque, drv, sizeof(*drv));
}

int viommu_drv_create(const struct viommu_drv_platform *platform, void *platform_opaque,
		      const struct viommu_drv_transport *transport,
		      void *transport_opaque, const struct viommu_drv_config *config,
		      struct viommu_drv **out)
{
	struct viommu_drv *drv;
	int r;

	if (!platform_complete(platform) || !transport_complete(transport) ||
	    platform->cpus_nr > LIMIT_DRV_CPUS ||
	    transport->request_queues_nr > LIMIT_DRV_REQUEST_QUEUES)
		return err(EINVAL, "a needed op is missing, or a limit passed");
	drv = platform->alloc(platform_opaque, sizeof(*drv), CACHE_LINE);
	if (!drv)
		return err(ENOMEM, "driver");
	drv_zero(drv, sizeof(*drv));
	drv->platform = *platform;
	drv->platform_opaque = platform_opaque;
	drv->transport = *transport;
	drv->transport_opaque = transport_opaque;
	if (config)
		drv->config = *config;
	set_defaults(drv);
	r = bring_up(drv, true);
	if (r) {
		if (!drv->stuck)
			reset_device(drv);
		if (!drv->stuck)
			set_status(drv, VIRTIO_STATUS_FAILED);
		tear_down(drv);
		return r;
	}
	*out = drv;
	return 0;
}

void viommu_drv_destroy(struct viommu_drv *drv)
{
	if (!drv)
		return;
	/* If that fails, what the device may reach is never given back. */
	(void)reset_device(drv);
	tear_down(drv);
}

void viommu_drv_set_events(struct viommu_drv *drv, const struct viommu_drv_events *events,
			   void *opaque)
{
	drv->ops = events ? *events : (struct viommu_drv_events){0};
	drv->ops_opaque = opaque;
}

static void quarantine_all(struct viommu_drv *drv, int error)
{
	for (unsigned i = 0; i < drv->reqq_nr; i++)
		drv_reqq_quarantine(&drv->reqq[i], error);
}

int viommu_drv_reset(struct viommu_drv *drv)
{
	struct viommu_drv_domain *domain;
	int r;

	quarantine_all(drv, err(EIO, "reset"));
	r = reset_device(drv);
	if (r)
		return r;
	drv_domain_free_retired(drv);
	/* Passes each domain's lock: nobody is between taking a request and
	 * posting it after this. */
	for (domain = drv->domains; domain; domain = domain->next)
		drv_domain_forget_told(domain);
	r = bring_up(drv, false);
	for (domain = drv->domains; !r && domain; domain = domain->next)
		r = drv_domain_rebuild(domain);
	if (r)
		quarantine_all(drv, -EIO);
	else
		drv_count(&drv->resets, 1);
	return r;
}

int viommu_drv_health(struct viommu_drv *drv)
{
	for (unsigned i = 0; i < drv->reqq_nr; i++) {
		int r = load_relaxed(&drv->reqq[i].broken);

		if (r)
			return r;
	}
	return 0;
}

uint64_t viommu_drv_features(const struct viommu_drv *drv)
{
	return drv->features;
}

uint64_t viommu_drv_granule(const struct viommu_drv *drv)
{
	return drv->limits.granule;
}

void viommu_drv_get_stats(struct viommu_drv *drv, struct viommu_drv_stats *out)
{
	*out = (struct viommu_drv_stats){
		.faults = load_relaxed(&drv->events.faults),
		.events_bad = load_relaxed(&drv->events.bad),
		.probe_bad = load_relaxed(&drv->probe_bad),
		.resets = load_relaxed(&drv->resets),
	};
	for (unsigned i = 0; i < drv->reqq_nr; i++) {
		const struct drv_reqq *rq = &drv->reqq[i];

		out->requests += load_relaxed(&rq->posted);
		out->maps += load_relaxed(&rq->maps);
		out->unmaps += load_relaxed(&rq->unmaps);
		out->notifications += load_relaxed(&rq->notifications);
		out->failed += load_relaxed(&rq->failed);
		out->syncs += load_relaxed(&rq->syncs);
	}
}
