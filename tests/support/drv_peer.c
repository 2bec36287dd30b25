/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "drv_peer.h"

#include <errno.h>
#include <sched.h>

#define VERSION_1  (1ull << 32)
#define PACKED	   (1ull << 34)
#define INDIRECT   (1ull << 28)
#define EVENT_IDX  (1ull << 29)
#define IOMMU_BITS (0x77ull) /* all but the old BYPASS */

/* ---- platform ---- */

static void *peer_alloc(void *opaque, size_t len, size_t align)
{
	struct peer *peer = opaque;
	void *p = NULL;

	if (__atomic_add_fetch(&peer->allocs, 1, __ATOMIC_RELAXED) == peer->fail_alloc)
		return NULL;
	assert_int_equal(posix_memalign(&p, align < sizeof(p) ? sizeof(p) : align, len),
			 0);
	memset(p, 0xa5, len);
	__atomic_add_fetch(&peer->live, (long)len, __ATOMIC_RELAXED);
	return p;
}

static void peer_free(void *opaque, void *p, size_t len)
{
	struct peer *peer = opaque;

	assert_non_null(p);
	memset(p, 0x5a, len);
	__atomic_sub_fetch(&peer->live, (long)len, __ATOMIC_RELAXED);
	free(p);
}

static void *peer_alloc_shared(void *opaque, size_t len, size_t align, uint64_t *pa)
{
	struct peer *peer = opaque;
	uint8_t *p = peer_alloc(opaque, len, align);

	if (!p)
		return NULL;
	for (unsigned i = 0; i < PEER_SHARED; i++) {
		if (peer->shared[i].p)
			continue;
		peer->shared[i].p = p;
		peer->shared[i].len = len;
		*pa = (uintptr_t)p;
		return p;
	}
	fail_msg("too much shared memory");
	return NULL;
}

static void peer_free_shared(void *opaque, void *p, size_t len)
{
	struct peer *peer = opaque;

	for (unsigned i = 0; i < PEER_SHARED; i++) {
		if (peer->shared[i].p != p)
			continue;
		assert_int_equal(peer->shared[i].len, len);
		peer->shared[i].p = NULL;
		peer_free(opaque, p, len);
		return;
	}
	fail_msg("not shared memory");
}

static uint64_t peer_virt_to_phys(void *opaque, const void *p)
{
	(void)opaque;
	return (uintptr_t)p;
}

static void peer_lock_init(void *opaque, struct viommu_drv_lock *lock)
{
	_Static_assert(sizeof(pthread_mutex_t) <= sizeof(*lock), "a mutex fits");
	(void)opaque;
	assert_int_equal(pthread_mutex_init((pthread_mutex_t *)lock, NULL), 0);
}

static uintptr_t peer_lock(void *opaque, struct viommu_drv_lock *lock)
{
	(void)opaque;
	/* Ends a test that takes a lock twice, where a kernel would hang. */
	if (pthread_mutex_trylock((pthread_mutex_t *)lock)) {
		if (!((struct peer *)opaque)->threaded)
			abort();
		pthread_mutex_lock((pthread_mutex_t *)lock);
	}
	return 0x10c4;
}

static void peer_unlock(void *opaque, struct viommu_drv_lock *lock, uintptr_t state)
{
	(void)opaque;
	if (state != 0x10c4 || pthread_mutex_unlock((pthread_mutex_t *)lock))
		abort();
}

static unsigned peer_cpu(void *opaque)
{
	return ((struct peer *)opaque)->cpu;
}

static uint64_t peer_now(void *opaque)
{
	struct peer *peer = opaque;
	struct timespec now;

	if (!peer->real_clock)
		return __atomic_add_fetch(&peer->now_ns, peer->tick_ns, __ATOMIC_RELAXED);
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void peer_relax(void *opaque, unsigned spins)
{
	struct peer *peer = opaque;

	(void)spins;
	if (peer->threaded)
		sched_yield();
	else
		peer_work(peer);
}

static int peer_timer_arm(void *opaque, struct viommu_drv_timer *timer, uint64_t delay_ns)
{
	struct peer *peer = opaque;
	int r = -1;

	pthread_mutex_lock(&peer->lock);
	for (unsigned i = 0; !peer->no_timer && r && i < PEER_TIMERS; i++) {
		if (peer->timers[i].timer && peer->timers[i].timer != timer)
			continue;
		peer->timers[i].timer = timer;
		peer->timers[i].due_ns = peer_now(peer) + delay_ns;
		r = 0;
	}
	pthread_mutex_unlock(&peer->lock);
	return r;
}

static void peer_timer_cancel(void *opaque, struct viommu_drv_timer *timer)
{
	struct peer *peer = opaque;

	pthread_mutex_lock(&peer->lock);
	for (unsigned i = 0; i < PEER_TIMERS; i++)
		if (peer->timers[i].timer == timer)
			peer->timers[i] = (struct peer_timer){NULL, 0};
	pthread_mutex_unlock(&peer->lock);
}

void peer_run_timers(struct peer *peer)
{
	for (unsigned i = 0; i < PEER_TIMERS; i++) {
		struct peer_timer *t = &peer->timers[i];
		struct viommu_drv_timer *due = NULL;

		pthread_mutex_lock(&peer->lock);
		if (t->timer && t->due_ns && t->due_ns <= peer_now(peer)) {
			due = t->timer;
			t->due_ns = 0;
		}
		pthread_mutex_unlock(&peer->lock);
		if (due)
			viommu_drv_timer(due);
	}
}

/* ---- transport ---- */

static uint64_t get_features(void *opaque)
{
	return ((struct peer *)opaque)->offered;
}

static void set_features(void *opaque, uint64_t features)
{
	((struct peer *)opaque)->accepted = features;
}

static uint8_t get_status(void *opaque)
{
	return ((struct peer *)opaque)->status;
}

static void reset_device(struct peer *peer)
{
	peer->resets++;
	peer->mappings_nr = 0;
	peer->endpoints_nr = 0;
	memset(peer->ready, 0, sizeof(peer->ready));
	memset(peer->held_nr, 0, sizeof(peer->held_nr));
}

static void set_status(void *opaque, uint8_t status)
{
	struct peer *peer = opaque;

	if (!status && peer->stuck_reset)
		return;
	pthread_mutex_lock(&peer->device_lock);
	if (!status)
		reset_device(peer);
	if (status & 8 && peer->refuse_features)
		status &= (uint8_t)~8u;
	peer->status = status;
	pthread_mutex_unlock(&peer->device_lock);
}

static void config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	struct peer *peer = opaque;

	assert_true(len <= 8 && offset + len <= sizeof(peer->config));
	peer->bypass_reads += offset <= offsetof(struct virtio_iommu_config, bypass) &&
			      offset + len > offsetof(struct virtio_iommu_config, bypass);
	memcpy(buf, (uint8_t *)&peer->config + offset, len);
}

static void config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	struct peer *peer = opaque;

	assert_true(peer->config_writes_nr < 16);
	peer->config_writes[peer->config_writes_nr].offset = offset;
	peer->config_writes[peer->config_writes_nr].len = len;
	peer->config_writes[peer->config_writes_nr++].value = *(const uint8_t *)buf;
}

static uint32_t config_generation(void *opaque)
{
	struct peer *peer = opaque;

	return peer->config_moves ? peer->generation++ : peer->generation;
}

static uint16_t queue_max(void *opaque, uint16_t index)
{
	return index < PEER_QUEUES ? ((struct peer *)opaque)->queue_max[index] : 0;
}

/* All ring memory is shared memory. */
static int ring_map(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
		    struct viommu_span *out)
{
	struct peer *peer = opaque;

	(void)perm;
	for (unsigned i = 0; i < PEER_SHARED; i++) {
		uint64_t at = (uintptr_t)peer->shared[i].p;

		if (!at || addr < at || addr - at >= peer->shared[i].len)
			continue;
		out->hva = (void *)(uintptr_t)addr;
		out->len = peer->shared[i].len - (addr - at);
		if (out->len > len)
			out->len = len;
		return 0;
	}
	return -EFAULT;
}

static int queue_setup(void *opaque, const struct viommu_drv_queue_setup *setup)
{
	struct peer *peer = opaque;
	struct viommu_virtq_config cfg = {
		.size = setup->size,
		.packed = peer->accepted & PACKED,
		.event_idx = peer->accepted & EVENT_IDX,
		.indirect = peer->accepted & INDIRECT,
		.desc = setup->desc,
		.driver = setup->driver,
		.device = setup->device,
	};
	int r;

	if (peer->queue_error)
		return peer->queue_error;
	assert_true(setup->index < PEER_QUEUES);
	assert_true(setup->size <= peer->queue_max[setup->index]);
	pthread_mutex_lock(&peer->device_lock);
	peer->setup[setup->index] = *setup;
	peer->ready[setup->index] = true;
	r = viommu_virtq_init(&peer->vq[setup->index], &cfg,
			      (struct viommu_ring_mem){ring_map, peer});
	pthread_mutex_unlock(&peer->device_lock);
	return r;
}

static void kick(void *opaque, uint16_t index)
{
	struct peer *peer = opaque;

	assert_true(index < PEER_QUEUES);
	__atomic_add_fetch(&peer->kicks[index], 1, __ATOMIC_RELAXED);
	if (!peer->threaded)
		peer_work(peer);
}

/* ---- the model ---- */

static int find_endpoint(const struct peer *peer, uint32_t id)
{
	for (unsigned i = 0; i < peer->endpoints_nr; i++)
		if (peer->endpoints[i].id == id)
			return (int)i;
	return -1;
}

/* 0: no such domain; 1: there is; 2: in bypass. */
static int domain_kind(const struct peer *peer, uint32_t domain)
{
	for (unsigned i = 0; i < peer->endpoints_nr; i++)
		if (peer->endpoints[i].domain == domain)
			return peer->endpoints[i].bypass ? 2 : 1;
	return 0;
}

static void leave(struct peer *peer, unsigned i)
{
	uint32_t domain = peer->endpoints[i].domain;
	unsigned kept = 0;

	peer->endpoints[i] = peer->endpoints[--peer->endpoints_nr];
	if (domain_kind(peer, domain))
		return;
	for (unsigned m = 0; m < peer->mappings_nr; m++)
		if (peer->mappings[m].domain != domain)
			peer->mappings[kept++] = peer->mappings[m];
	peer->mappings_nr = kept;
}

static uint8_t answer_attach(struct peer *peer, const struct virtio_iommu_req_attach *req)
{
	int i = find_endpoint(peer, req->endpoint);
	int kind = domain_kind(peer, req->domain);
	bool bypass = req->flags & VIRTIO_IOMMU_ATTACH_F_BYPASS;

	if (memcmp(req->reserved, "\0\0\0", 4) || req->flags > 1 ||
	    (kind && (kind == 2) != bypass))
		return peer->wrong++, VIRTIO_IOMMU_S_INVAL;
	if (peer->unknown_endpoints)
		return VIRTIO_IOMMU_S_NOENT;
	if (i >= 0 && peer->cannot_move)
		return VIRTIO_IOMMU_S_UNSUPP;
	if (i >= 0)
		leave(peer, (unsigned)i);
	assert_true(peer->endpoints_nr < PEER_ENDPOINTS);
	peer->endpoints[peer->endpoints_nr].id = req->endpoint;
	peer->endpoints[peer->endpoints_nr].domain = req->domain;
	peer->endpoints[peer->endpoints_nr++].bypass = bypass;
	return VIRTIO_IOMMU_S_OK;
}

static uint8_t answer_detach(struct peer *peer, const struct virtio_iommu_req_detach *req)
{
	int i = find_endpoint(peer, req->endpoint);

	if (i < 0 || peer->endpoints[i].domain != req->domain ||
	    memcmp(req->reserved, "\0\0\0\0\0\0\0", 8))
		return peer->wrong++, VIRTIO_IOMMU_S_INVAL;
	leave(peer, (unsigned)i);
	return VIRTIO_IOMMU_S_OK;
}

static bool overlaps(const struct peer_mapping *m, uint32_t domain, uint64_t start,
		     uint64_t last)
{
	return m->domain == domain && m->start <= last && m->last >= start;
}

static uint8_t answer_map(struct peer *peer, const struct virtio_iommu_req_map *req)
{
	uint64_t low = (peer->config.page_size_mask & -peer->config.page_size_mask) - 1;

	if (domain_kind(peer, req->domain) != 1 || req->virt_last <= req->virt_start ||
	    req->flags & ~7u ||
	    ((req->virt_start | (req->virt_last + 1) | req->phys_start) & low))
		return peer->wrong++, VIRTIO_IOMMU_S_INVAL;
	for (unsigned m = 0; m < peer->mappings_nr; m++)
		if (overlaps(&peer->mappings[m], req->domain, req->virt_start,
			     req->virt_last))
			return peer->wrong++, VIRTIO_IOMMU_S_INVAL;
	if (peer->mappings_nr == PEER_MAPPINGS)
		return VIRTIO_IOMMU_S_NOMEM;
	peer->mappings[peer->mappings_nr++] =
		(struct peer_mapping){req->domain, req->flags, req->virt_start,
				      req->virt_last, req->phys_start};
	return VIRTIO_IOMMU_S_OK;
}

static uint8_t answer_unmap(struct peer *peer, const struct virtio_iommu_req_unmap *req)
{
	unsigned kept = 0;

	if (domain_kind(peer, req->domain) != 1 || req->virt_last < req->virt_start ||
	    memcmp(req->reserved, "\0\0\0", 4))
		return peer->wrong++, VIRTIO_IOMMU_S_INVAL;
	for (unsigned m = 0; m < peer->mappings_nr; m++)
		if (overlaps(&peer->mappings[m], req->domain, req->virt_start,
			     req->virt_last) &&
		    (peer->mappings[m].start < req->virt_start ||
		     peer->mappings[m].last > req->virt_last))
			return peer->wrong++, VIRTIO_IOMMU_S_RANGE;
	for (unsigned m = 0; m < peer->mappings_nr; m++)
		if (!overlaps(&peer->mappings[m], req->domain, req->virt_start,
			      req->virt_last))
			peer->mappings[kept++] = peer->mappings[m];
	peer->mappings_nr = kept;
	return VIRTIO_IOMMU_S_OK;
}

static uint8_t answer(struct peer *peer, const struct peer_request *req)
{
	static const uint32_t in_len[] = {
		[1] = 20, [2] = 20, [3] = 36, [4] = 28, [5] = 72};

	if (req->type < 1 || req->type > 5 || req->in_len != in_len[req->type] ||
	    req->bytes[1] || req->bytes[2] || req->bytes[3])
		return peer->wrong++, VIRTIO_IOMMU_S_INVAL;
	if (peer->blind &&
	    (req->type == VIRTIO_IOMMU_T_MAP || req->type == VIRTIO_IOMMU_T_UNMAP))
		return VIRTIO_IOMMU_S_OK;
	switch (req->type) {
	case VIRTIO_IOMMU_T_ATTACH:
		return answer_attach(peer, (const void *)req->bytes);
	case VIRTIO_IOMMU_T_DETACH:
		return answer_detach(peer, (const void *)req->bytes);
	case VIRTIO_IOMMU_T_MAP:
		return answer_map(peer, (const void *)req->bytes);
	case VIRTIO_IOMMU_T_UNMAP:
		return answer_unmap(peer, (const void *)req->bytes);
	default:
		return peer->unknown_endpoints ? VIRTIO_IOMMU_S_NOENT : VIRTIO_IOMMU_S_OK;
	}
}

/* ---- the device's turn ---- */

static void gather(struct peer *peer, const struct viommu_virtq_buf *bufs,
		   const struct viommu_chain *chain, struct peer_request *req)
{
	memset(req, 0, sizeof(*req));
	for (unsigned i = 0; i < chain->readable_nr; i++) {
		struct viommu_span span = {0};

		assert_int_equal(ring_map(peer, bufs[i].addr, bufs[i].len, 1, &span), 0);
		assert_int_equal(span.len, bufs[i].len);
		assert_true(req->in_len + bufs[i].len <= sizeof(req->bytes));
		memcpy(req->bytes + req->in_len, span.hva, bufs[i].len);
		req->in_len += bufs[i].len;
	}
	req->out_len = (uint32_t)chain->writable_len;
	req->type = req->bytes[0];
}

static void put_reply(struct peer *peer, const struct viommu_virtq_buf *buf,
		      const struct peer_request *req, const struct peer_reply *reply)
{
	uint32_t props = req->out_len - 4;
	uint8_t *out = (uint8_t *)(uintptr_t)buf->addr;

	assert_true(req->out_len >= 4 && buf->len == req->out_len);
	if (req->type == VIRTIO_IOMMU_T_PROBE)
		memcpy(out, peer->props, props < PEER_PROPS_LEN ? props : PEER_PROPS_LEN);
	out[props] = reply->status;
	memcpy(out + props + 1, reply->reserved, 3);
}

/* As often as the device likes: the ring's own count is made to agree. */
static void push(struct peer *peer, unsigned queue, uint16_t id, uint16_t slots,
		 uint32_t len)
{
	const struct viommu_chain chain = {.id = id, .ring_slots = slots};
	struct viommu_virtq *vq = &peer->vq[queue];

	if (vq->in_flight < slots)
		vq->in_flight = slots;
	assert_int_equal(viommu_virtq_push(vq, &chain, len), 0);
	peer->last_id[queue] = id;
}

void peer_give_back(struct peer *peer, unsigned queue, uint16_t id, uint32_t len)
{
	pthread_mutex_lock(&peer->device_lock);
	viommu_virtq_begin(&peer->vq[queue]);
	/* A request takes two entries of a packed ring. */
	push(peer, queue, id, peer->accepted & PACKED ? 2 : 1, len);
	viommu_virtq_publish(&peer->vq[queue]);
	pthread_mutex_unlock(&peer->device_lock);
}

static void serve(struct peer *peer, unsigned queue, const struct viommu_chain *chain,
		  const struct viommu_virtq_buf *bufs)
{
	struct peer_request req;
	struct peer_reply reply = {0};

	gather(peer, bufs, chain, &req);
	req.queue = (uint8_t)queue;
	if (!peer->silent_log) {
		assert_true(peer->log_nr < PEER_LOG);
		peer->log[peer->log_nr++] = req;
	}
	reply.status = answer(peer, &req);
	reply.used = req.out_len;
	if (peer->script)
		peer->script(peer, &req, &reply);
	if (reply.drop)
		return;
	if (!reply.untouched)
		put_reply(peer, &bufs[chain->readable_nr], &req, &reply);
	if (!reply.other_id)
		reply.id = chain->id;
	for (unsigned times = 0; times < (reply.twice ? 2 : 1); times++)
		push(peer, queue, reply.id, chain->ring_slots, reply.used);
}

/* Answers one of `nr` requests, any one. */
static void serve_any(struct peer *peer, unsigned queue, struct peer_taken *some,
		      unsigned nr)
{
	unsigned pick = peer->shuffle ? (unsigned)rng_below(peer->shuffle, nr) : 0;

	serve(peer, queue, &some[pick].chain, some[pick].bufs);
	some[pick] = some[nr - 1];
}

/* A device that answers in any order keeps some UNMAPs for later turns. */
static bool hold_back(struct peer *peer, unsigned queue, const struct peer_taken *one)
{
	const uint8_t *type = (const uint8_t *)(uintptr_t)one->bufs[0].addr;

	if (!peer->shuffle || peer->held_nr[queue] == PEER_TAKEN ||
	    *type != VIRTIO_IOMMU_T_UNMAP || !rng_chance(peer->shuffle, 70))
		return false;
	peer->held[queue][peer->held_nr[queue]++] = *one;
	return true;
}

static void work_queue(struct peer *peer, unsigned index)
{
	struct viommu_virtq *vq = &peer->vq[index];
	unsigned done = 0, taken;

	if (!peer->ready[index] || peer->stalled || !(peer->status & 4) ||
	    (peer->stalled_queue && peer->stalled_queue == index))
		return;
	viommu_virtq_begin(vq);
	if (peer->held_nr[index] && rng_chance(peer->shuffle, 10))
		serve_any(peer, index, peer->held[index], peer->held_nr[index]--);
	do {
		struct peer_taken some[PEER_TAKEN];
		unsigned most = peer->shuffle ? PEER_TAKEN : 1;

		for (taken = 0; taken < most;) {
			if ((peer->answer_limit && done++ == peer->answer_limit) ||
			    viommu_virtq_pop(vq, &some[taken].chain, some[taken].bufs,
					     PEER_BUFS) != 1)
				break;
			taken += !hold_back(peer, index, &some[taken]);
		}
		for (unsigned i = taken; i > 0; i--)
			serve_any(peer, index, some, i);
	} while (taken);
	viommu_virtq_publish(vq);
	/* What came meanwhile is found when the driver waits. */
	(void)viommu_virtq_enable_notify(vq);
}

void peer_work(struct peer *peer)
{
	pthread_mutex_lock(&peer->device_lock);
	for (unsigned i = 0; i < PEER_QUEUES; i += 2)
		work_queue(peer, i);
	pthread_mutex_unlock(&peer->device_lock);
}

bool peer_send_event(struct peer *peer, const void *bytes, size_t bytes_len, uint32_t len)
{
	struct viommu_virtq *vq = &peer->vq[1];
	struct viommu_virtq_buf bufs[8];
	struct viommu_chain chain;

	viommu_virtq_begin(vq);
	if (viommu_virtq_pop(vq, &chain, bufs, 8) != 1)
		return false;
	assert_int_equal(bufs[0].len, 24);
	memcpy((void *)(uintptr_t)bufs[0].addr, bytes, bytes_len);
	assert_int_equal(viommu_virtq_push(vq, &chain, len), 0);
	viommu_virtq_publish(vq);
	return true;
}

/* ---- looking ---- */

size_t peer_add_prop(struct peer *peer, size_t at, uint16_t type, uint16_t len,
		     const void *value)
{
	memcpy(peer->props + at, &type, 2);
	memcpy(peer->props + at + 2, &len, 2);
	if (value)
		memcpy(peer->props + at + 4, value, len);
	return at + 4 + len;
}

size_t peer_add_resv(struct peer *peer, size_t at, uint8_t subtype, uint64_t start,
		     uint64_t last)
{
	uint8_t value[20] = {subtype};

	memcpy(value + 4, &start, 8);
	memcpy(value + 12, &last, 8);
	return peer_add_prop(peer, at, VIRTIO_IOMMU_PROBE_T_RESV_MEM, sizeof(value),
			     value);
}

unsigned peer_count(const struct peer *peer, uint8_t type)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < peer->log_nr; i++)
		nr += peer->log[i].type == type;
	return nr;
}

const struct peer_request *peer_nth(const struct peer *peer, uint8_t type, unsigned n)
{
	for (unsigned i = 0; i < peer->log_nr; i++)
		if (peer->log[i].type == type && !n--)
			return &peer->log[i];
	fail_msg("no such request");
	return NULL;
}

const struct peer_mapping *peer_lookup(struct peer *peer, uint32_t domain, uint64_t iova)
{
	for (unsigned m = 0; m < peer->mappings_nr; m++)
		if (overlaps(&peer->mappings[m], domain, iova, iova))
			return &peer->mappings[m];
	return NULL;
}

unsigned peer_mapped(struct peer *peer, uint32_t domain)
{
	unsigned nr = 0;

	for (unsigned m = 0; m < peer->mappings_nr; m++)
		nr += peer->mappings[m].domain == domain;
	return nr;
}

/* ---- events of the driver ---- */

static void on_fault(void *opaque, const struct viommu_drv_fault *fault)
{
	struct peer *peer = opaque;

	if (peer->faults_nr < 64)
		peer->faults[peer->faults_nr++] = *fault;
}

static void on_flush_failed(void *opaque, struct viommu_drv_domain *domain,
			    uint64_t start, uint64_t last, int error)
{
	struct peer *peer = opaque;

	assert_true(domain && error < 0);
	peer->flush_failed_nr++;
	peer->flush_failed_bytes += last - start + 1;
}

static void on_quarantined(void *opaque, int error)
{
	struct peer *peer = opaque;

	peer->quarantined_nr++;
	peer->quarantine_error = error;
}

/* ---- life ---- */

struct peer *peer_create(void)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	assert_non_null(peer);
	peer->log = calloc(PEER_LOG, sizeof(*peer->log));
	pthread_mutex_init(&peer->lock, NULL);
	pthread_mutex_init(&peer->device_lock, NULL);
	peer->offered = VERSION_1 | INDIRECT | EVENT_IDX | IOMMU_BITS;
	peer->config = (struct virtio_iommu_config){
		.page_size_mask = ~0xfffull,
		.input_last = (1ull << 48) - 1,
		.domain_last = 65535,
		.probe_size = PEER_PROPS_LEN,
	};
	peer->queue_max[0] = peer->queue_max[1] = 256;
	peer->now_ns = 1000;
	peer->tick_ns = 10;
	peer->platform = (struct viommu_drv_platform){
		.alloc = peer_alloc,
		.free = peer_free,
		.alloc_shared = peer_alloc_shared,
		.free_shared = peer_free_shared,
		.virt_to_phys = peer_virt_to_phys,
		.lock_init = peer_lock_init,
		.lock = peer_lock,
		.unlock = peer_unlock,
		.cpu = peer_cpu,
		.cpus_nr = 2,
		.now_ns = peer_now,
		.relax = peer_relax,
		.timer_arm = peer_timer_arm,
		.timer_cancel = peer_timer_cancel,
	};
	peer->transport = (struct viommu_drv_transport){
		.get_features = get_features,
		.set_features = set_features,
		.get_status = get_status,
		.set_status = set_status,
		.config_read = config_read,
		.config_write = config_write,
		.config_generation = config_generation,
		.queue_max = queue_max,
		.queue_setup = queue_setup,
		.kick = kick,
	};
	return peer;
}

int peer_start(struct peer *peer, const struct viommu_drv_config *config)
{
	const struct viommu_drv_events events = {
		.fault = on_fault,
		.flush_failed = on_flush_failed,
		.quarantined = on_quarantined,
	};
	int r = viommu_drv_create(&peer->platform, peer, &peer->transport, peer, config,
				  &peer->drv);

	if (!r)
		viommu_drv_set_events(peer->drv, &events, peer);
	else
		peer->drv = NULL;
	return r;
}

struct peer *peer_create_started(void)
{
	struct peer *peer = peer_create();

	assert_int_equal(peer_start(peer, NULL), 0);
	return peer;
}

void peer_destroy(struct peer *peer)
{
	viommu_drv_destroy(peer->drv);
	if (!peer->stuck_reset)
		assert_int_equal(peer->live, 0);
	for (unsigned i = 0; i < PEER_SHARED; i++)
		free(peer->shared[i].p);
	pthread_mutex_destroy(&peer->lock);
	pthread_mutex_destroy(&peer->device_lock);
	free(peer->log);
	free(peer);
}

void peer_end(struct peer *peer, struct viommu_drv_endpoint *ep,
	      struct viommu_drv_domain *domain)
{
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	viommu_drv_domain_destroy(domain);
	assert_int_equal(peer->wrong, 0);
	peer_destroy(peer);
}

struct viommu_drv_endpoint *peer_endpoint(struct peer *peer, uint32_t id)
{
	const struct viommu_drv_endpoint_config config = {.id = id};
	struct viommu_drv_endpoint *ep;

	assert_int_equal(viommu_drv_endpoint_create(peer->drv, &config, &ep), 0);
	return ep;
}

struct viommu_drv_domain *peer_domain(struct peer *peer,
				      const struct viommu_drv_domain_config *config)
{
	struct viommu_drv_domain *domain;

	assert_int_equal(viommu_drv_domain_create(peer->drv, config, &domain), 0);
	return domain;
}
