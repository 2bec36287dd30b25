/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "device_kit.h"

#include <errno.h>

#include "base/atomic.h"
#include "device/device.h"

static void note_wake(void *opaque)
{
	/* any thread; a counter, no pair */
	add_relaxed(&((struct device_kit *)opaque)->wakes, 1);
}

static uint64_t read_clock(void *opaque)
{
	return ((struct device_kit *)opaque)->now_ns;
}

static void note_config(void *opaque)
{
	((struct device_kit *)opaque)->config_changes++;
}

static void note_needs_reset(void *opaque)
{
	((struct device_kit *)opaque)->needs_resets++;
}

static void note_fault(void *opaque, const struct viommu_fault_info *fault)
{
	struct device_kit *kit = opaque;

	kit->faults_told++;
	kit->last_fault = *fault;
}

static void keep_log(void *opaque, enum viommu_log_level level, const char *msg)
{
	struct device_kit *kit = opaque;

	(void)level;
	kit->log_nr++;
	snprintf(kit->log, sizeof(kit->log), "%s", msg);
}

int device_kit_create(struct device_kit *kit, const struct viommu_device_config *config)
{
	static const struct viommu_device_ops ops = {
		.wake = note_wake,
		.now_ns = read_clock,
		.config_changed = note_config,
		.needs_reset = note_needs_reset,
		.fault = note_fault,
	};
	static const struct viommu_device_config defaults;
	struct viommu_log log = {keep_log, kit, VIOMMU_LOG_DEBUG};

	return viommu_device_create(config ? config : &defaults, &ops, kit, &kit->ta.ops,
				    &log, &kit->dev);
}

int device_kit_try(struct device_kit *kit, const struct viommu_device_config *config)
{
	*kit = (struct device_kit){.now_ns = 1000000000};
	test_alloc_init(&kit->ta);
	return device_kit_create(kit, config);
}

void device_kit_init(struct device_kit *kit, const struct viommu_device_config *config)
{
	uint64_t offered;

	assert_int_equal(device_kit_try(kit, config), 0);
	offered = viommu_device_features(kit->dev);
	assert_int_equal(viommu_device_set_features(kit->dev, offered), 0);
}

void device_kit_done(struct device_kit *kit)
{
	viommu_device_destroy(kit->dev);
	assert_int_equal(kit->ta.live, 0);
}

struct viommu_endpoint *device_kit_endpoint(struct device_kit *kit, uint32_t id,
					    const struct viommu_resv *resv, unsigned nr)
{
	struct viommu_endpoint_config config = {.id = id, .resv = resv, .resv_nr = nr};
	struct viommu_endpoint *ep = NULL;

	assert_int_equal(viommu_endpoint_add(kit->dev, &config, &ep), 0);
	return ep;
}

size_t device_kit_raw(struct device_kit *kit, const void *in, size_t in_len, void *out,
		      size_t out_len)
{
	struct iovec iov[2] = {{(void *)(uintptr_t)in, in_len}, {out, out_len}};

	memset(out, 0xee, out_len);
	assert_int_equal(
		viommu_device_request(kit->dev, &iov[0], 1, &iov[1], 1, &kit->written),
		0);
	return kit->written;
}

/* Kept for a request that is parked and asked for again. */
static struct iovec pending_in, pending_out;
static uint8_t pending_bytes[PROTO_REQUEST_MAX], pending_tail[PROTO_TAIL_LEN];

int device_kit_request(struct device_kit *kit, const struct proto_request *req)
{
	int r;

	memset(pending_tail, 0xee, sizeof(pending_tail));
	pending_in.iov_base = pending_bytes;
	pending_in.iov_len = proto_encode_request(pending_bytes, req);
	pending_out = (struct iovec){pending_tail, sizeof(pending_tail)};
	r = viommu_device_request(kit->dev, &pending_in, 1, &pending_out, 1,
				  &kit->written);
	if (r)
		return r;
	if (!kit->written)
		return UNANSWERED;
	assert_int_equal(kit->written, PROTO_TAIL_LEN);
	assert_memory_equal(pending_tail + 1, ((uint8_t[3]){0}), 3);
	return proto_decode_tail(pending_tail);
}

int kit_attach(struct device_kit *kit, uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	return device_kit_request(kit,
				  &(struct proto_request){.type = VIRTIO_IOMMU_T_ATTACH,
							  .domain = domain,
							  .endpoint = endpoint,
							  .flags = flags});
}

int kit_detach(struct device_kit *kit, uint32_t domain, uint32_t endpoint)
{
	return device_kit_request(kit,
				  &(struct proto_request){.type = VIRTIO_IOMMU_T_DETACH,
							  .domain = domain,
							  .endpoint = endpoint});
}

int kit_map(struct device_kit *kit, uint32_t domain, uint64_t start, uint64_t last,
	    uint64_t gpa, uint32_t flags)
{
	return device_kit_request(kit, &(struct proto_request){.type = VIRTIO_IOMMU_T_MAP,
							       .domain = domain,
							       .start = start,
							       .last = last,
							       .gpa = gpa,
							       .flags = flags});
}

int kit_unmap(struct device_kit *kit, uint32_t domain, uint64_t start, uint64_t last)
{
	return device_kit_request(kit,
				  &(struct proto_request){.type = VIRTIO_IOMMU_T_UNMAP,
							  .domain = domain,
							  .start = start,
							  .last = last});
}

int device_kit_probe(struct device_kit *kit, uint32_t endpoint, uint8_t *properties,
		     uint32_t room)
{
	struct proto_request req = {.type = VIRTIO_IOMMU_T_PROBE, .endpoint = endpoint};
	uint8_t in[PROTO_REQUEST_MAX], *out = malloc(room + PROTO_TAIL_LEN);
	size_t len = proto_encode_request(in, &req);
	int r = UNANSWERED;

	if (device_kit_raw(kit, in, len, out, room + PROTO_TAIL_LEN)) {
		assert_int_equal(kit->written, room + PROTO_TAIL_LEN);
		r = proto_decode_tail(out + room);
	}
	memcpy(properties, out, room);
	free(out);
	return r;
}

struct kit_blob device_kit_save(struct device_kit *kit)
{
	struct kit_blob blob = {0};

	assert_int_equal(viommu_device_save(kit->dev, NULL, &blob.len), -ENOSPC);
	blob.bytes = malloc(blob.len);
	assert_int_equal(viommu_device_save(kit->dev, blob.bytes, &blob.len), 0);
	return blob;
}

bool kit_blob_equal(struct kit_blob a, struct kit_blob b)
{
	return a.len == b.len && !memcmp(a.bytes, b.bytes, a.len);
}

struct viommu_device_stats device_kit_stats(struct device_kit *kit)
{
	struct viommu_device_stats stats;

	viommu_device_get_stats(kit->dev, &stats);
	return stats;
}

uint64_t kit_mappings_nr(struct device_kit *kit)
{
	return device_kit_stats(kit).mappings;
}

static size_t round_up(uint64_t len)
{
	return (size_t)((len + 63) & ~63ull);
}

void kit_ring_init(struct kit_ring *ring, struct device_kit *kit, unsigned queue,
		   struct kit_ring_kind kind)
{
	size_t desc = round_up(drvq_desc_len(kind.size));
	size_t driver = round_up(drvq_driver_len(kind.size, kind.packed));
	size_t device = round_up(drvq_device_len(kind.size, kind.packed));
	struct viommu_virtq_config dev_cfg = {.size = kind.size,
					      .packed = kind.packed,
					      .event_idx = kind.event_idx,
					      .indirect = kind.indirect};
	struct drvq_config cfg = {.size = kind.size,
				  .packed = kind.packed,
				  .event_idx = kind.event_idx,
				  .slots = ring->slots};

	memset(ring, 0, sizeof(*ring));
	ring->areas = aligned_alloc(64, desc + driver + device);
	memset(ring->areas, 0, desc + driver + device);
	cfg.desc = ring->areas;
	cfg.driver = ring->areas + desc;
	cfg.device = ring->areas + desc + driver;
	if (kind.indirect) {
		ring->tables = aligned_alloc(64, drvq_tables_len(kind.size, 64));
		cfg.tables = ring->tables;
		cfg.tables_dma = (uintptr_t)ring->tables;
		cfg.table_nr = 64;
	}
	dev_cfg.desc = (uintptr_t)cfg.desc;
	dev_cfg.driver = (uintptr_t)cfg.driver;
	dev_cfg.device = (uintptr_t)cfg.device;
	assert_int_equal(drvq_init(&ring->q, &cfg), 0);
	assert_int_equal(viommu_virtq_init(&ring->vq, &dev_cfg, identity_mem), 0);
	assert_int_equal(viommu_device_set_queue(kit->dev, queue, &ring->vq), 0);
}

void kit_ring_done(struct kit_ring *ring, struct device_kit *kit, unsigned queue)
{
	assert_int_equal(viommu_device_set_queue(kit->dev, queue, NULL), 0);
	free(ring->areas);
	free(ring->tables);
}

/* Cuts len bytes into 1 .. parts buffers, empty ones not among them. */
static unsigned cut(struct drvq_buf *bufs, uint8_t *at, size_t len, struct rng *rng,
		    unsigned parts)
{
	unsigned nr = 0;

	while (len) {
		size_t part = len;

		if (nr + 1 < parts && len > 1)
			part = 1 + rng_below(rng, len);
		bufs[nr++] = (struct drvq_buf){(uintptr_t)at, (uint32_t)part};
		at += part;
		len -= part;
	}
	return nr;
}

int kit_ring_add(struct kit_ring *ring, struct kit_transfer *t, struct rng *rng,
		 unsigned parts)
{
	unsigned in_nr = cut(t->bufs, t->in, t->in_len, rng, parts);
	unsigned out_nr = cut(t->bufs + in_nr, t->out, t->out_len, rng, parts);

	t->done = false;
	return drvq_add(&ring->q, t->bufs, in_nr, out_nr, t);
}

unsigned kit_ring_collect(struct kit_ring *ring)
{
	struct drvq_used used;
	unsigned nr = 0;
	int r;

	while ((r = drvq_poll(&ring->q, &used)) > 0) {
		struct kit_transfer *t = used.cookie;

		t->done = true;
		t->used = used.len;
		nr++;
	}
	assert_int_equal(r, 0);
	return nr;
}
