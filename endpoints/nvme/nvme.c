/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The NVMe controller as an endpoint: options, namespaces, turns. */
#include "endpoints/nvme/nvme.h"

#include <stdio.h>

#include "endpoints/options.h"

#define NVME_VENDOR    0x494fu
#define NVME_DEVICE    0x0de1u
#define NVME_BAR_LEN   0x4000u
#define MSIX_BAR       4u
#define DEFAULT_QUEUES 16u
#define DEFAULT_BLOCK  512u

static const struct endpoint_option nvme_options[] = {
	BLOCK_OPTIONS,
	{"ns2", "PATH|mem:SIZE|null:SIZE", "a second namespace; ns3 to ns8 likewise"},
	{"ns3", "...", ""},
	{"ns4", "...", ""},
	{"ns5", "...", ""},
	{"ns6", "...", ""},
	{"ns7", "...", ""},
	{"ns8", "...", ""},
	{"queues", "N", "pairs of I/O queues, 1 to 64 (default: 16)"},
	{"queue-size", "N", "entries a queue, 2 to 1024 (default: 1024)"},
	{"block-size", "512|4096", "bytes of a logical block (default: 512)"},
	{"serial", "TEXT", "serial number, up to 20 characters (default: the name)"},
	{"shadow-doorbells", "on|off",
	 "let drivers submit without a register write (default: on)"},
	{"interrupt-batch", "on|off",
	 "one interrupt for several completions when that pays (default: on)"},
	{"sgl", "on|off", "scatter gather lists beside PRP (default: on)"},
	{NULL, NULL, NULL},
};

/* What the namespaces lie on; a `break` goes on with the next. */
#define for_each_block(n, b)                                                             \
	for (unsigned i_ = 0; i_ < NVME_NAMESPACES_MAX; i_++)                            \
		for (struct block *b = (n)->ns[i_].block; b; b = NULL)

/* ---- namespaces ---- */

static int add_namespace(struct nvme *n, unsigned nsid, const struct options *options)
{
	struct nvme_namespace *ns = &n->ns[nsid - 1];
	int r = block_open(options, n->ep.env.alloc, NVME_REQUESTS_NR, nvme_io_done, n,
			   &ns->block);

	if (r)
		return r;
	ns->id = nsid;
	ns->lba_lg2 = (uint8_t)__builtin_ctz(n->opt.block_len);
	ns->blocks = block_info(ns->block)->capacity >> ns->lba_lg2;
	if (!ns->blocks)
		return endpoint_err(n->ep.env.log, EINVAL,
				    "%s: namespace %u holds no block of %u bytes",
				    n->ep.name, nsid, n->opt.block_len);
	return 0;
}

/* "mem:1G" -> "backend=mem,size=1G"; anything else is a path. */
static int namespace_text(const char *spec, char *text, size_t room)
{
	const char *colon = strchr(spec, ':');
	int len;

	if (!strncmp(spec, "mem:", 4) || !strncmp(spec, "null:", 5))
		len = snprintf(text, room, "backend=%.*s,size=%s", (int)(colon - spec),
			       spec, colon + 1);
	else
		len = snprintf(text, room, "path=%s", spec);
	return len < 0 || (size_t)len >= room ? -EINVAL : 0;
}

static int add_namespaces(struct nvme *n, const struct options *options)
{
	int r = add_namespace(n, 1, options);

	for (unsigned id = 2; !r && id <= NVME_NAMESPACES_MAX; id++) {
		char key[8], text[OPTIONS_TEXT_MAX];
		struct options own;
		const char *spec;

		snprintf(key, sizeof(key), "ns%u", id);
		spec = options_get(options, key);
		if (!spec)
			continue;
		if (namespace_text(spec, text, sizeof(text)))
			return endpoint_err(n->ep.env.log, EINVAL, "%s: %s is too long",
					    n->ep.name, key);
		r = options_parse(&own, n->ep.name, text, n->ep.env.log);
		if (!r)
			r = add_namespace(n, id, &own);
	}
	return r;
}

/* ---- creation ---- */

static int parse(struct nvme *n, const struct options *options)
{
	static const char *const sizes[] = {"512", "4096", NULL};
	const char *serial = options_get(options, "serial");
	unsigned size = 0;
	int r;

	n->opt = (struct nvme_options){.queues = DEFAULT_QUEUES,
				       .queue_len = NVME_QUEUE_LEN_MAX,
				       .shadow_doorbells = true,
				       .sgl = true,
				       .batch = true};
	snprintf(n->opt.serial, sizeof(n->opt.serial), "%.20s",
		 serial ? serial : n->ep.name);
	snprintf(n->opt.model, sizeof(n->opt.model), "viommu NVMe");
	r = options_uint(options, "queues", 1, NVME_IO_QUEUES_MAX, &n->opt.queues);
	if (!r)
		r = options_uint(options, "queue-size", 2, NVME_QUEUE_LEN_MAX,
				 &n->opt.queue_len);
	if (!r)
		r = options_choice(options, "block-size", sizes, &size);
	if (!r)
		r = options_bool(options, "shadow-doorbells", &n->opt.shadow_doorbells);
	if (!r)
		r = options_bool(options, "sgl", &n->opt.sgl);
	if (!r)
		r = options_bool(options, "interrupt-batch", &n->opt.batch);
	n->opt.block_len = size ? 4096 : DEFAULT_BLOCK;
	return r;
}

static void reset_function(void *opaque)
{
	nvme_reset(opaque);
}

static int create_function(struct nvme *n)
{
	static const struct viommu_pci_ops ops = {.bar_read = nvme_bar_read,
						  .bar_write = nvme_bar_write,
						  .reset = reset_function};
	struct viommu_pci_config config = {
		.vendor = NVME_VENDOR,
		.device = NVME_DEVICE,
		.subvendor = NVME_VENDOR,
		.subdevice = 1,
		.class_code = 0x01, /* mass storage */
		.subclass = 0x08,   /* non-volatile memory */
		.prog_if = 0x02,    /* NVMe I/O controller */
		.bar[0] = {.len = NVME_BAR_LEN, .mem64 = true},
		.bar[MSIX_BAR] = {.len = 0x1000},
		.msix_nr = (uint16_t)(n->opt.queues + 1),
		.msix_bar = MSIX_BAR,
		.intx = true,
		.flr = true,
	};

	if (config.msix_nr * 16u > config.bar[MSIX_BAR].len / 2)
		config.bar[MSIX_BAR].len *= 2;
	return viommu_pci_create(&config, &ops, n, n->ep.env.alloc, n->ep.env.log,
				 &n->ep.function);
}

static int allocate(struct nvme *n)
{
	n->request = endpoint_alloc(n->ep.env.alloc,
				    NVME_REQUESTS_NR * sizeof(*n->request), 64);
	n->bounce = endpoint_alloc(n->ep.env.alloc, NVME_TRANSFER_MAX, NVME_PAGE);
	return n->request && n->bounce ? 0 : -ENOMEM;
}

static bool nvme_busy(struct endpoint *ep)
{
	const struct nvme *n = to_nvme(ep);

	return n->under_way || n->lost;
}

static bool nvme_blocks(struct endpoint *ep)
{
	const struct nvme *n = to_nvme(ep);
	bool any = false;

	for_each_block (n, b)
		any |= block_info(b)->blocks;
	return any;
}

static void nvme_destroy(struct endpoint *ep)
{
	struct nvme *n = to_nvme(ep);
	struct viommu_alloc alloc = *ep->env.alloc;

	/* Memory that the disk still writes to cannot be given up. */
	while (n->request && nvme_busy(ep)) {
		nvme_io_drain(n, NULL);
		nvme_io_wait(n);
	}
	for_each_block (n, b)
		block_close(b);
	viommu_dma_destroy(n->dma);
	viommu_pci_destroy(ep->function);
	endpoint_free(&alloc, n->request, NVME_REQUESTS_NR * sizeof(*n->request));
	endpoint_free(&alloc, n->bounce, NVME_TRANSFER_MAX);
	endpoint_free(&alloc, n, sizeof(*n));
}

static void power_on(struct nvme *n)
{
	n->power_on_ns = endpoint_now_ns();
	n->drain_ms = NVME_DRAIN_MS;
	nvme_requests_init(n);
	nvme_features_reset(n);
}

static int nvme_create(const struct endpoint_env *env, const struct options *options,
		       struct endpoint **out)
{
	struct nvme *n = endpoint_alloc(env->alloc, sizeof(*n), 64);
	int r;

	if (!n)
		return -ENOMEM;
	endpoint_init(&n->ep, &endpoint_nvme, env);
	r = parse(n, options);
	if (!r)
		r = allocate(n);
	if (!r)
		r = viommu_dma_create(env->iommu, env->mem, env->alloc, NULL, NULL,
				      &n->dma);
	if (!r)
		r = create_function(n);
	if (!r)
		r = add_namespaces(n, options);
	if (r) {
		nvme_destroy(&n->ep);
		return r;
	}
	power_on(n);
	*out = &n->ep;
	return 0;
}

/* ---- turns ---- */

static unsigned reap(struct nvme *n)
{
	unsigned done = 0;

	for_each_block (n, b)
		done += block_reap(b);
	return done;
}

static void each_block(struct nvme *n, void (*fn)(struct block *))
{
	for_each_block (n, b)
		fn(b);
}

static bool blocks_have_more(const struct nvme *n)
{
	bool more = false;

	for_each_block (n, b)
		more |= block_has_more(b);
	return more;
}

static unsigned nvme_poll(struct endpoint *ep, unsigned budget)
{
	struct nvme *n = to_nvme(ep);
	unsigned done, taken;

	latency_turn(&n->latency, ep);
	each_block(n, block_disarm);
	if (nvme_busy(ep))
		each_block(n, block_settle);
	done = reap(n);
	nvme_enable_late(n);
	taken = nvme_queues_poll(n, budget);
	each_block(n, block_kick);
	done += reap(n);
	nvme_events_report(n);
	nvme_queues_interrupt(n);
	return (done || taken ? ENDPOINT_DONE : 0) |
	       (taken >= budget || blocks_have_more(n) ? ENDPOINT_MORE : 0);
}

static bool nvme_arm(struct endpoint *ep)
{
	struct nvme *n = to_nvme(ep);
	bool work = nvme_queues_arm(n);

	for_each_block (n, b)
		work |= block_arm(b);
	if (!work)
		nvme_queues_tell(n);
	return work;
}

static int nvme_fds(struct endpoint *ep, struct pollfd *fds, unsigned max)
{
	struct nvme *n = to_nvme(ep);
	unsigned nr = 0;

	for_each_block (n, b) {
		int fd = block_fd(b);

		if (fd >= 0 && nr < max)
			fds[nr++] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	return (int)nr;
}

/* "resize" nsid=N,size=SIZE: the driver hears of it by an event. */
static int nvme_control(struct endpoint *ep, const char *verb, const struct options *args)
{
	struct nvme *n = to_nvme(ep);
	struct nvme_namespace *ns;
	unsigned nsid = 1;
	uint64_t size = 0;
	int r;

	if (strcmp(verb, "resize"))
		return -EOPNOTSUPP;
	r = options_uint(args, "nsid", 1, NVME_NAMESPACES_MAX, &nsid);
	if (!r)
		r = options_size(args, "size", 0, INT64_MAX, &size);
	ns = r ? NULL : nvme_ns(n, nsid);
	if (!r && !ns)
		r = -EINVAL;
	if (!r)
		r = block_resize(ns->block, size);
	if (r)
		return r;
	ns->blocks = block_info(ns->block)->capacity >> ns->lba_lg2;
	n->changed_ns |= 1u << (nsid - 1);
	nvme_event(n, NVME_EVENT_NS_CHANGED);
	if (n->ep.env.wake)
		n->ep.env.wake(n->ep.env.opaque);
	return 0;
}

static void nvme_stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque)
{
	const struct nvme *n = to_nvme(ep);
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{"reads", n->stats.reads},
		{"writes", n->stats.writes},
		{"flushes", n->stats.flushes},
		{"others", n->stats.others},
		{"admin", n->stats.admin},
		{"bytes_read", n->stats.bytes_read},
		{"bytes_written", n->stats.bytes_written},
		{"errors", n->stats.errors},
		{"blocked", n->stats.blocked},
		{"kicks", n->stats.doorbells},
		{"shadow_polls", n->stats.shadow_polls},
		{"interrupts", n->stats.interrupts},
		{"resets", n->stats.resets},
		{"fatal", n->stats.fatal},
		{"lost", n->lost},
		{"in_flight", n->under_way + n->lost},
	};
	struct viommu_dma_stats dma;

	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		visit(opaque, all[i].name, all[i].value);
	viommu_dma_get_stats(n->dma, &dma);
	visit(opaque, "iotlb_hits", dma.hits);
	visit(opaque, "iotlb_misses", dma.misses);
	visit(opaque, "faults", dma.faults);
}

static void nvme_latencies(struct endpoint *ep, endpoint_latency_fn *visit, void *opaque)
{
	latency_visit(&to_nvme(ep)->latency, latency_disk_names, visit, opaque);
}

const struct endpoint_type endpoint_nvme = {
	.name = "nvme",
	.summary = "NVMe 1.4 controller on files, block devices, memory or nothing",
	.options = nvme_options,
	.create = nvme_create,
	.destroy = nvme_destroy,
	.poll = nvme_poll,
	.arm = nvme_arm,
	.fds = nvme_fds,
	.busy = nvme_busy,
	.blocks = nvme_blocks,
	.control = nvme_control,
	.stats = nvme_stats,
	.latencies = nvme_latencies,
};
