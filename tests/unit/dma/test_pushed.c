/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Pushed mode: what a context that mirrors mappings was told is at every moment what
 * its endpoint's domain has, whoever maps, unmaps, attaches, detaches or joins.
 */
#include "core_kit.h"

#define EPS	 3u
#define DOMAINS	 2u
#define PAGES	 24u
#define MIRRORS	 4u
#define SHADOW	 64u
#define BYPASSED 7u /* a bypass domain */

struct shadow {
	uint64_t start, last, gpa;
	unsigned perm;
};

/* A device that keeps a table of its own (a physical IOMMU's, say). */
struct mirror {
	struct viommu_dma *dma; /* NULL: there is none */
	unsigned ep;
	struct shadow have[SHADOW];
	unsigned nr, maps, unmaps;
};

static struct core_kit k;
static struct viommu_endpoint *ep[EPS];
static int domain[EPS]; /* -1: none */
static struct mirror mirrors[MIRRORS];

static void on_map(void *opaque, uint64_t start, uint64_t last, uint64_t gpa,
		   unsigned perm)
{
	struct mirror *m = opaque;

	m->maps++;
	for (unsigned i = 0; i < m->nr; i++) /* a table has room for one only */
		assert_true(m->have[i].last < start || last < m->have[i].start);
	assert_true(m->nr < SHADOW);
	m->have[m->nr++] = (struct shadow){start, last, gpa, perm};
}

/* Takes out what is inside; nothing may be cut. */
static void on_unmap(void *opaque, uint64_t start, uint64_t last)
{
	struct mirror *m = opaque;
	unsigned left = 0;

	m->unmaps++;
	for (unsigned i = 0; i < m->nr; i++) {
		struct shadow *s = &m->have[i];

		if (s->last < start || last < s->start) {
			m->have[left++] = *s;
			continue;
		}
		assert_true(s->start >= start && s->last <= last);
	}
	m->nr = left;
}

static const struct viommu_dma_ops both = {.map = on_map, .unmap = on_unmap};

static void begin(void)
{
	core_kit_init(&k, NULL);
	memset(mirrors, 0, sizeof(mirrors));
	for (unsigned i = 0; i < EPS; i++) {
		ep[i] = core_kit_endpoint(&k, 10 + i);
		domain[i] = -1;
	}
}

static void join(struct mirror *m, unsigned endpoint)
{
	*m = (struct mirror){.ep = endpoint};
	m->dma = core_kit_dma(&k, ep[endpoint], &both, m);
}

static void part(struct mirror *m)
{
	viommu_dma_destroy(m->dma);
	m->dma = NULL;
}

static void end(void)
{
	for (unsigned i = 0; i < MIRRORS; i++)
		part(&mirrors[i]);
	core_kit_done(&k);
}

/* Looks a mapping up in the mirrors of its domain's endpoints. */
static bool look_up(void *opaque, const struct viommu_mapping_info *info)
{
	unsigned *seen = opaque; /* by mirror */

	for (unsigned i = 0; i < MIRRORS; i++) {
		const struct mirror *m = &mirrors[i];
		unsigned found = 0;

		if (!m->dma || domain[m->ep] != (int)info->domain)
			continue;
		for (unsigned j = 0; j < m->nr; j++)
			found += m->have[j].start == info->start &&
				 m->have[j].last == info->last &&
				 m->have[j].gpa == info->gpa &&
				 m->have[j].perm == (info->flags & CORE_RW);
		assert_int_equal(found, 1);
		seen[i]++;
	}
	return true;
}

static void same(void)
{
	unsigned seen[MIRRORS] = {0};

	space_visit_mappings(k.space, look_up, seen);
	for (unsigned i = 0; i < MIRRORS; i++)
		if (mirrors[i].dma)
			assert_int_equal(mirrors[i].nr, seen[i]);
}

static void attach(unsigned endpoint, int to)
{
	int from = domain[endpoint];

	if (to >= 0)
		assert_int_equal(
			space_attach(k.space, (uint32_t)to, 10 + endpoint, false), 0);
	else if (from >= 0)
		assert_int_equal(space_detach(k.space, (uint32_t)from, 10 + endpoint), 0);
	domain[endpoint] = to;
	space_settle(k.space);
	same();
}

static int map(unsigned d, uint64_t page, uint64_t nr, uint32_t flags)
{
	return space_map(k.space, d, page << 12, ((page + nr) << 12) - 1, page << 14,
			 flags);
}

/* ATTACH to a domain that has mappings brings them all, DETACH takes them away at
 * once, a move does both, and who is in the domain already hears nothing. */
static void attach_brings_what_is_there(void **state)
{
	(void)state;
	begin();
	join(&mirrors[0], 0);
	join(&mirrors[1], 1);
	attach(0, 0);
	assert_int_equal(mirrors[0].maps, 0);
	for (unsigned i = 0; i < 20; i++) /* more than a leaf */
		assert_int_equal(map(0, i, 1, i % 3 + 1), 0);
	assert_int_equal(space_map(k.space, 0, UINT64_MAX - 0xfff, UINT64_MAX, 0, 3), 0);
	same();
	assert_int_equal(mirrors[1].maps, 0);
	attach(1, 0);
	assert_int_equal(mirrors[1].maps, 21);
	assert_int_equal(mirrors[0].maps, 21);
	assert_int_equal(mirrors[1].unmaps, 0);
	attach(1, 0); /* again: nothing changes */
	assert_int_equal(mirrors[1].maps, 21);
	attach(1, -1);
	assert_int_equal(mirrors[1].nr, 0);
	assert_int_equal(mirrors[1].unmaps, 1);
	assert_int_equal(mirrors[0].nr, 21);
	attach(1, 1);
	assert_int_equal(map(1, 3, 4, 3), 0);
	attach(1, 0);
	assert_int_equal(mirrors[1].nr, 21);
	attach(0, 1); /* a new domain of that name: 1 went with its last endpoint */
	assert_int_equal(mirrors[0].nr, 0);
	end();
}

/* A context that joins the endpoint later, and one that leaves before the others. */
static void contexts_come_and_go(void **state)
{
	(void)state;
	begin();
	attach(0, 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(map(0, 2 * i, 2, 3), 0);
	join(&mirrors[0], 0);
	assert_int_equal(mirrors[0].maps, 5);
	join(&mirrors[1], 0);
	part(&mirrors[0]);
	assert_int_equal(map(0, 20, 1, 3), 0);
	assert_int_equal(mirrors[0].maps, 5);
	same();
	part(&mirrors[1]);
	assert_int_equal(core_kit_unmap(&k, 0, 0, UINT64_MAX), 0);
	assert_int_equal(mirrors[1].unmaps, 0);
	join(&mirrors[2], 0);
	assert_int_equal(mirrors[2].maps, 0);
	end();
}

/* UNMAPs that are settled later: nobody is answered before the mirrors were told,
 * and a MAP of the same address comes after it. */
static void batches(void **state)
{
	(void)state;
	begin();
	attach(0, 0);
	join(&mirrors[0], 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(map(0, i, 1, 3), 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(
			space_unmap_later(k.space, 0, i << 12, (i << 12) + 0xfff), 0);
	space_settle(k.space);
	same();
	assert_int_equal(mirrors[0].nr, 4);
	assert_int_equal(space_unmap_later(k.space, 0, 0x5000, 0x5fff), 0);
	assert_int_equal(map(0, 5, 1, 1), 0);
	same();
	assert_int_equal(space_unmap_later(k.space, 0, 0x6000, 0x6fff), 0);
	join(&mirrors[1], 0); /* must not hear of what is going */
	space_settle(k.space);
	same();
	end();
}

/* Nothing is mapped in bypass: nothing is told; nor is there by a reset. */
static void bypass_and_reset(void **state)
{
	(void)state;
	begin();
	join(&mirrors[0], 0);
	attach(0, 0);
	assert_int_equal(map(0, 1, 1, 3), 0);
	assert_int_equal(space_attach(k.space, BYPASSED, 10, true), 0);
	domain[0] = BYPASSED;
	same();
	assert_int_equal(mirrors[0].nr, 0);
	attach(0, 0);
	assert_int_equal(map(0, 1, 1, 3), 0);
	space_endpoint_reset(ep[0]);
	same();
	assert_int_equal(mirrors[0].nr, 1);
	assert_int_equal(space_reset(k.space), 0);
	domain[0] = -1;
	same();
	assert_int_equal(mirrors[0].nr, 0);
	end();
}

static void at_random(void **state)
{
	struct rng rng = rng_init(test_seed());

	(void)state;
	begin();
	for (unsigned n = 0; n < 4000; n++) {
		unsigned what = (unsigned)rng_below(&rng, 100);
		unsigned d = (unsigned)rng_below(&rng, DOMAINS);
		uint64_t page = rng_below(&rng, PAGES), nr = 1 + rng_below(&rng, 3);
		struct mirror *m = &mirrors[rng_below(&rng, MIRRORS)];

		if (what < 55)
			(void)map(d, page, nr, (uint32_t)rng_below(&rng, 4));
		else if (what < 75)
			(void)core_kit_unmap(&k, d, page << 12, ((page + nr) << 12) - 1);
		else if (what < 90)
			(void)space_unmap_later(k.space, d, page << 12,
						((page + nr) << 12) - 1);
		else if (what < 95)
			attach((unsigned)rng_below(&rng, EPS),
			       (int)rng_below(&rng, DOMAINS + 1) - 1);
		else if (m->dma)
			part(m);
		else
			join(m, (unsigned)rng_below(&rng, EPS));
		if (rng_chance(&rng, 30)) {
			space_settle(k.space);
			same();
		}
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attach_brings_what_is_there),
		cmocka_unit_test(contexts_come_and_go),
		cmocka_unit_test(batches),
		cmocka_unit_test(bypass_and_reset),
		cmocka_unit_test(at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
