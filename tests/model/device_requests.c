/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Random requests, valid, nearly valid and garbage, against the naive oracle:
 * through plain buffers and through split and packed rings, cut at random places.
 * After each rejected request the saved state is byte for byte what it was, and
 * at all times domains, mappings and translations are those of the oracle.
 */
#include <errno.h>
#include <stddef.h>

#include <viommu/dma.h>

#include "base/compiler.h"
#include "device_kit.h"

#define PAGE	    0x1000ull
#define PAGES	    64u
#define RAM_LEN	    (2 * PAGES * PAGE)
#define PROBE_ROOM  96u
#define STEPS	    4000u
#define BATCH	    8u
#define ENDPOINT_NR 5u

enum lane { LANE_PLAIN, LANE_SPLIT, LANE_PACKED, LANES_NR };

struct model {
	enum lane lane;
	struct device_kit kit;
	struct naive naive;
	struct viommu_mem *mem;
	uint8_t *ram;
	struct viommu_endpoint *ep[ENDPOINT_NR];
	struct viommu_dma *dma[ENDPOINT_NR];
	struct kit_ring ring;
	struct rng rng;
	unsigned answered, rejected, timed_out;
	/* Pages in use by a transfer of one endpoint, or none. */
	struct viommu_dma *holder;
	struct iovec iov[4];
	struct viommu_hold hold[4];
	struct viommu_sg sg;
};

/* What has to come back. */
struct expected {
	uint32_t used;
	int status;
};

static const struct viommu_resv resv_of_3 = {40 * PAGE, 42 * PAGE - 1, VIOMMU_RESV_MSI};
static const struct viommu_resv resv_of_4[2] = {
	{10 * PAGE, 11 * PAGE - 1, VIOMMU_RESV_RESERVED},
	{20 * PAGE, 20 * PAGE + 7, VIOMMU_RESV_RESERVED},
};

static void add_endpoint(struct model *m, uint32_t id, const struct viommu_resv *resv,
			 unsigned nr)
{
	struct naive_endpoint *n = &m->naive.endpoint[id];

	m->ep[id] = device_kit_endpoint(&m->kit, id, resv, nr);
	*n = (struct naive_endpoint){.id = id, .resv_nr = nr};
	for (unsigned i = 0; i < nr; i++)
		n->resv[i] = (struct proto_resv_mem){(uint8_t)resv[i].kind, resv[i].start,
						     resv[i].last};
	m->naive.endpoint_nr++;
	assert_int_equal(viommu_dma_create(m->ep[id], m->mem, &m->kit.ta.ops, NULL, NULL,
					   &m->dma[id]),
			 0);
}

static void give_ring(struct model *m)
{
	struct kit_ring_kind kind = {
		.size = 256,
		.packed = m->lane == LANE_PACKED,
		.event_idx = rng_chance(&m->rng, 50),
		.indirect = rng_chance(&m->rng, 50),
	};

	if (m->lane != LANE_PLAIN)
		kit_ring_init(&m->ring, &m->kit, VIOMMU_QUEUE_REQUEST, kind);
}

static void take_ring(struct model *m)
{
	if (m->lane != LANE_PLAIN)
		kit_ring_done(&m->ring, &m->kit, VIOMMU_QUEUE_REQUEST);
}

static void begin(struct model *m, enum lane lane, uint64_t seed)
{
	struct viommu_device_config config = {.input_last = PAGES * PAGE - 1,
					      .domain_first = 1,
					      .domain_last = 6,
					      .probe_size = PROBE_ROOM,
					      .max_mappings = 40,
					      .max_domains = 3,
					      .fault_rate = 1000000};

	m->lane = lane;
	m->rng = rng_init(seed + lane);
	m->answered = m->rejected = m->timed_out = 0;
	device_kit_init(&m->kit, &config);
	m->naive = (struct naive){.features = viommu_device_features(m->kit.dev),
				  .granule = PAGE,
				  .input_last = config.input_last,
				  .domain_first = 1,
				  .domain_last = 6,
				  .max_mappings = 40,
				  .max_domains = 3};
	m->ram = calloc(1, RAM_LEN);
	assert_int_equal(viommu_mem_create(&m->kit.ta.ops, &m->mem), 0);
	assert_int_equal(viommu_mem_add(m->mem, 0, RAM_LEN, m->ram, 0), 0);
	for (uint32_t id = 0; id < 3; id++)
		add_endpoint(m, id, NULL, 0);
	add_endpoint(m, 3, &resv_of_3, 1);
	add_endpoint(m, 4, resv_of_4, 2);
	give_ring(m);
}

static void finish(struct model *m)
{
	take_ring(m);
	for (unsigned i = 0; i < ENDPOINT_NR; i++)
		viommu_dma_destroy(m->dma[i]);
	assert_int_equal(viommu_mem_remove(m->mem, 0, RAM_LEN), 0);
	viommu_mem_destroy(m->mem);
	free(m->ram);
	device_kit_done(&m->kit);
}

/* ---- requests ---- */

static uint64_t some_address(struct model *m)
{
	uint64_t a = rng_below(&m->rng, PAGES + 1) * PAGE;

	if (rng_chance(&m->rng, 3))
		a += rng_below(&m->rng, PAGE);
	if (rng_chance(&m->rng, 2))
		a = 0 - a;
	return a;
}

static void some_range(struct model *m, struct proto_request *req)
{
	req->start = some_address(m);
	req->last = req->start + (1 + rng_below(&m->rng, 4)) * PAGE - 1;
	if (rng_chance(&m->rng, 20)) /* larger */
		req->last = req->start + rng_below(&m->rng, PAGES) * PAGE - 1;
	if (rng_chance(&m->rng, 5)) /* anything */
		req->last = some_address(m) - rng_below(&m->rng, 2);
}

static struct proto_request some_request(struct model *m)
{
	static const uint8_t types[] = {1, 1, 2, 3, 3, 3, 3, 3, 4, 4, 5};
	struct proto_request req = {.type = types[rng_below(&m->rng, sizeof(types))]};

	req.domain = (uint32_t)rng_below(&m->rng, 8);
	req.endpoint = (uint32_t)rng_below(&m->rng, ENDPOINT_NR + 1);
	some_range(m, &req);
	req.gpa = some_address(m);
	if (req.type == VIRTIO_IOMMU_T_ATTACH)
		req.flags = rng_chance(&m->rng, 20);
	else
		req.flags = (uint32_t)rng_below(&m->rng, 8);
	if (rng_chance(&m->rng, 2))
		req.flags |= 1u << rng_below(&m->rng, 32);
	return req;
}

/* Bytes of a request: as they should be, damaged, cut off, or garbage. */
static void fill(struct model *m, struct kit_transfer *t)
{
	struct proto_request req = some_request(m);

	memset(t, 0, sizeof(*t));
	memset(t->out, 0xee, sizeof(t->out));
	t->in_len = proto_encode_request(t->in, &req);
	t->out_len = PROTO_TAIL_LEN;
	if (req.type == VIRTIO_IOMMU_T_PROBE)
		t->out_len += PROBE_ROOM;
	if (rng_chance(&m->rng, 5))
		t->in[rng_below(&m->rng, t->in_len)] = (uint8_t)rng_next(&m->rng);
	if (rng_chance(&m->rng, 3))
		t->in_len = rng_below(&m->rng, t->in_len + 8);
	if (rng_chance(&m->rng, 3))
		t->out_len = rng_below(&m->rng, 128);
	if (rng_chance(&m->rng, 2))
		for (size_t i = 0; i < t->in_len; i++)
			t->in[i] = (uint8_t)rng_next(&m->rng);
	if (!t->in_len && !t->out_len)
		t->out_len = 1; /* no driver can send nothing */
}

/* ---- the oracle, from bytes ---- */

static uint64_t get(const uint8_t *p, unsigned len)
{
	uint64_t v = 0;

	while (len--)
		v = v << 8 | p[len];
	return v;
}

static bool any(const uint8_t *p, unsigned len)
{
	while (len--)
		if (*p++)
			return true;
	return false;
}

static struct proto_request parse(const uint8_t *in)
{
	struct proto_request req = {.type = in[0]};

	if (req.type == 5) {
		req.endpoint = (uint32_t)get(in + 4, 4);
		return req;
	}
	req.domain = (uint32_t)get(in + 4, 4);
	if (req.type == 1 || req.type == 2) {
		req.endpoint = (uint32_t)get(in + 8, 4);
		req.flags = req.type == 1 ? (uint32_t)get(in + 12, 4) : 0;
		req.reserved_set = req.type == 1 ? any(in + 16, 4) : any(in + 12, 8);
		return req;
	}
	req.start = get(in + 8, 8);
	req.last = get(in + 16, 8);
	if (req.type == 3) {
		req.gpa = get(in + 24, 8);
		req.flags = (uint32_t)get(in + 32, 4);
	}
	return req;
}

static struct expected expect_probe(struct model *m, const struct kit_transfer *t,
				    bool whole)
{
	uint32_t room = (uint32_t)t->out_len - PROTO_TAIL_LEN;
	struct proto_request req;

	if (room > PROBE_ROOM)
		room = PROBE_ROOM;
	if (!whole)
		return (struct expected){room + 4, -EINVAL};
	req = parse(t->in);
	if (naive_request(&m->naive, &req))
		return (struct expected){room + 4, -ENOENT};
	return (struct expected){room + 4, room < PROBE_ROOM ? -EINVAL : 0};
}

static struct expected expect(struct model *m, const struct kit_transfer *t)
{
	static const uint8_t len[] = {0, 20, 20, 36, 28, 72};
	struct proto_request req;
	uint8_t type = t->in[0];

	if (t->in_len < 4 || !type || type > 5 || t->out_len < 4)
		return (struct expected){0, 0};
	if (type == 5)
		return expect_probe(m, t, t->in_len >= 72);
	if (t->in_len < len[type])
		return (struct expected){4, -EINVAL};
	req = parse(t->in);
	return (struct expected){4, naive_request(&m->naive, &req)};
}

/* ---- comparison ---- */

struct seen {
	struct model *m;
	unsigned nr;
};

static bool check_mapping(void *opaque, const struct viommu_mapping_info *info)
{
	struct seen *s = opaque;
	const struct naive *n = &s->m->naive;

	s->nr++;
	for (unsigned i = 0; i < n->mapping_nr; i++) {
		const struct naive_mapping *m = &n->mapping[i];

		if (m->domain == info->domain && m->start == info->start &&
		    m->last == info->last && m->gpa == info->gpa &&
		    m->flags == info->flags)
			return true;
	}
	fail_msg("mapping %u: %llx-%llx is not the oracle's", info->domain,
		 (unsigned long long)info->start, (unsigned long long)info->last);
	return false;
}

static bool check_endpoint(void *opaque, const struct viommu_endpoint_info *info)
{
	struct seen *s = opaque;
	const struct naive_endpoint *n = &s->m->naive.endpoint[info->id];

	assert_int_equal(info->id, s->nr);
	s->nr++;
	assert_int_equal(info->attached, n->attached);
	if (n->attached)
		assert_int_equal(info->domain, n->domain);
	return true;
}

static void compare_state(struct model *m)
{
	struct viommu_device_stats stats = device_kit_stats(&m->kit);
	struct seen mappings = {.m = m}, endpoints = {.m = m};

	viommu_device_visit_mappings(m->kit.dev, check_mapping, &mappings);
	viommu_device_visit_endpoints(m->kit.dev, check_endpoint, &endpoints);
	assert_int_equal(mappings.nr, m->naive.mapping_nr);
	assert_int_equal(endpoints.nr, ENDPOINT_NR);
	assert_int_equal(stats.mappings, m->naive.mapping_nr);
	assert_int_equal(stats.domains, m->naive.domain_nr);
}

static void compare_translation(struct model *m)
{
	uint32_t id = (uint32_t)rng_below(&m->rng, ENDPOINT_NR);
	uint64_t iova = some_address(m) + rng_below(&m->rng, PAGE);
	uint32_t perm = 1 + (uint32_t)rng_below(&m->rng, 3);
	struct naive_access want = naive_translate(&m->naive, id, iova, perm);
	bool there = want.allowed && want.gpa < RAM_LEN;
	struct viommu_span span;
	uint8_t event[24];

	viommu_dma_begin(m->dma[id]);
	assert_int_equal(viommu_dma_translate(m->dma[id], iova, 1, perm, &span),
			 there ? 0 : -EFAULT);
	if (there)
		assert_true((uint8_t *)span.hva - m->ram == (ptrdiff_t)want.gpa);
	viommu_dma_end(m->dma[id]);
	assert_int_equal(viommu_device_next_event(m->kit.dev, event), !there);
	if (there)
		return;
	/* allowed, and no memory: an error of its own */
	assert_int_equal(event[0],
			 want.allowed ? VIRTIO_IOMMU_FAULT_R_UNKNOWN : want.reason);
	assert_int_equal(get(event + 8, 4), id);
	assert_true(get(event + 16, 8) == iova);
	m->kit.now_ns += 1000000; /* nobody goes over the rate */
}

static void show(const struct kit_transfer *t, struct expected want)
{
	printf("request of %zu + %zu bytes:", t->in_len, t->out_len);
	for (size_t i = 0; i < t->in_len; i++)
		printf(i % 4 ? "%02x" : " %02x", t->in[i]);
	printf("\nused %u, expected %u with status %d\n", t->used, want.used,
	       want.status);
}

static void check_reply(struct model *m, const struct kit_transfer *t,
			struct expected want)
{
	uint32_t used = t->used;

	if (used != want.used)
		show(t, want);
	assert_int_equal(used, want.used);
	if (used) {
		const uint8_t *tail = t->out + used - PROTO_TAIL_LEN;

		if (proto_decode_tail(tail) != want.status)
			show(t, want);
		assert_int_equal(proto_decode_tail(tail), want.status);
		assert_memory_equal(tail + 1, ((uint8_t[3]){0}), 3);
	}
	for (size_t i = used; i < sizeof(t->out); i++)
		assert_int_equal(t->out[i], 0xee);
	m->answered++;
	m->rejected += !used || want.status;
}

/* ---- steps ---- */

static void step_plain(struct model *m)
{
	struct kit_transfer t;
	struct iovec in, out;
	struct expected want;
	struct kit_blob before, after;
	size_t written;

	fill(m, &t);
	want = expect(m, &t);
	in = (struct iovec){t.in, t.in_len};
	out = (struct iovec){t.out, t.out_len};
	before = device_kit_save(&m->kit);
	assert_int_equal(viommu_device_request(m->kit.dev, &in, 1, &out, 1, &written), 0);
	after = device_kit_save(&m->kit);
	t.used = (uint32_t)written;
	check_reply(m, &t, want);
	if (!t.used || want.status)
		assert_true(kit_blob_equal(before, after));
	free(before.bytes);
	free(after.bytes);
}

/* A transfer that may be in the way of what comes: from a mapping that is there. */
static void hold_something(struct model *m)
{
	const struct naive *n = &m->naive;
	const struct naive_mapping *mapping;
	uint8_t event[24];

	if (!n->mapping_nr)
		return;
	mapping = &n->mapping[rng_below(&m->rng, n->mapping_nr)];
	m->sg = (struct viommu_sg){
		.iov = m->iov, .iov_max = 4, .hold = m->hold, .hold_max = 4};
	for (unsigned i = 0; i < ENDPOINT_NR && !m->holder; i++) {
		if (!n->endpoint[i].attached || n->endpoint[i].domain != mapping->domain)
			continue;
		if (!viommu_dma_get(m->dma[i], mapping->start, PAGE, VIOMMU_READ, &m->sg))
			m->holder = m->dma[i];
		else
			viommu_device_next_event(m->kit.dev, event);
	}
}

static void let_go(struct model *m)
{
	if (m->holder)
		viommu_dma_put(m->holder, &m->sg);
	m->holder = NULL;
}

/* The queue waits for the transfer: it ends, or takes too long. */
static void end_wait(struct model *m, struct expected *parked)
{
	assert_non_null(m->holder);
	if (rng_chance(&m->rng, 70)) {
		let_go(m);
		return;
	}
	m->kit.now_ns += 2000000000ull;
	assert_int_equal(parked->status, 0); /* a refused one waits for nothing */
	parked->status = -EREMOTEIO;
	m->timed_out++;
}

static void step_ring(struct model *m)
{
	unsigned nr = 1 + (unsigned)rng_below(&m->rng, BATCH), done = 0;
	struct kit_transfer t[BATCH];
	struct expected want[BATCH];

	if (rng_chance(&m->rng, 50))
		hold_something(m);
	for (unsigned i = 0; i < nr; i++) {
		fill(m, &t[i]);
		want[i] = expect(m, &t[i]);
		assert_int_equal(kit_ring_add(&m->ring, &t[i], &m->rng,
					      1 + (unsigned)rng_below(&m->rng, 8)),
				 0);
	}
	drvq_publish(&m->ring.q);
	while (done < nr) {
		unsigned budget = 1 + (unsigned)rng_below(&m->rng, BATCH);
		unsigned work = viommu_device_process(m->kit.dev, budget);
		unsigned got = kit_ring_collect(&m->ring);

		assert_int_equal(!!(work & VIOMMU_WORK_DONE), got > 0);
		done += got;
		if (work & VIOMMU_WORK_PARKED)
			end_wait(m, &want[done]);
		else
			assert_int_equal(!!(work & VIOMMU_WORK_MORE), done < nr);
	}
	assert_int_equal(viommu_device_process(m->kit.dev, BATCH), 0);
	let_go(m);
	for (unsigned i = 0; i < nr; i++)
		check_reply(m, &t[i], want[i]);
}

static void step_others(struct model *m)
{
	uint8_t bypass = (uint8_t)rng_below(&m->rng, 2);
	struct kit_blob blob;

	switch (rng_below(&m->rng, 400)) {
	case 0:
		take_ring(m);
		viommu_device_reset(m->kit.dev);
		naive_reset(&m->naive);
		viommu_device_set_features(m->kit.dev, m->naive.features);
		give_ring(m);
		break;
	case 1: /* migrated */
		take_ring(m);
		blob = device_kit_save(&m->kit);
		assert_int_equal(viommu_device_restore(m->kit.dev, blob.bytes, blob.len),
				 0);
		free(blob.bytes);
		give_ring(m);
		break;
	case 2 ... 8:
		viommu_device_config_write(m->kit.dev, 36, &bypass, 1);
		m->naive.bypass = bypass;
		break;
	}
}

static void run(enum lane lane)
{
	static struct model m;

	begin(&m, lane, test_seed());
	for (unsigned i = 0; i < STEPS; i++) {
		if (lane == LANE_PLAIN)
			step_plain(&m);
		else
			step_ring(&m);
		step_others(&m);
		compare_state(&m);
		compare_translation(&m);
	}
	/* the mixture must keep doing both */
	assert_true(m.rejected > m.answered / 10);
	assert_true(m.answered - m.rejected > m.answered / 10);
	assert_true(lane == LANE_PLAIN || m.timed_out);
	printf("%u requests, %u rejected, %u timed out\n", m.answered, m.rejected,
	       m.timed_out);
	finish(&m);
}

static void plain_buffers(void **state)
{
	(void)state;
	run(LANE_PLAIN);
}

static void split_ring(void **state)
{
	(void)state;
	run(LANE_SPLIT);
}

static void packed_ring(void **state)
{
	(void)state;
	run(LANE_PACKED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_buffers),
		cmocka_unit_test(split_ring),
		cmocka_unit_test(packed_ring),
	};

	return cmocka_run_group_tests_name("device requests against the oracle", tests,
					   NULL, NULL);
}
