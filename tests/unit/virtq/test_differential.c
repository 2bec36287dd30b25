/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Device side against driver side: random chains, completed out of order, over
 * every format, with and without indirect tables and event indices, in memory of
 * one and of many pieces, sizes from 1 to the limit, until every index wrapped.
 * What the device pops is what the driver added, what the driver polls is what
 * the device pushed, nobody sees what was not published, and nobody sleeps while
 * there is work.
 */
#include "ring_kit.h"

#include "virtq/driver.h"

#define BUFS_MAX 24u

struct job {
	bool used;
	unsigned readable_nr, nr;
	struct drvq_buf bufs[BUFS_MAX];
	uint64_t writable_len;
	bool popped;
	struct viommu_chain chain;
	bool pushed;
	uint32_t pushed_len;
};

struct run {
	struct rng rng;
	struct kit *kit;
	struct drvq q;
	uint8_t *areas, *tables;
	struct drvq_slot slots[DRVQ_SIZE_MAX];
	struct job jobs[DRVQ_SIZE_MAX];
	uint16_t order[DRVQ_SIZE_MAX]; /* jobs added and not popped, oldest first */
	unsigned order_nr, published_nr;
	unsigned popped_nr, pushed_nr, shown_nr;
	bool device_asleep, driver_asleep, kicked, interrupted;
	unsigned long chains, sleeps;
};

static struct drvq_config driver_config(struct run *run, uint16_t table_nr)
{
	struct kit *kit = run->kit;
	struct kit_piece *piece = &kit->pieces[0];

	/* The driver's areas are plain pointers; the device may see them in
	 * pieces, which then are neighbours in one allocation. */
	return (struct drvq_config){
		.size = kit->cfg.size,
		.packed = kit->cfg.packed,
		.event_idx = kit->cfg.event_idx,
		.desc = piece->hva + (KIT_DESC - KIT_BASE),
		.driver = piece->hva + (KIT_DRIVER - KIT_BASE),
		.device = piece->hva + (KIT_DEVICE - KIT_BASE),
		.slots = run->slots,
		.tables = piece->hva + (KIT_TABLES - KIT_BASE),
		.tables_dma = KIT_TABLES,
		.table_nr = table_nr,
	};
}

/* Cuts what the device sees of the one allocation into pieces. */
static void cut(struct kit *kit, uint64_t piece)
{
	uint8_t *hva = kit->pieces[0].hva;

	if (!piece)
		return;
	kit->pieces_nr = 0;
	kit->piece_len = piece;
	for (uint64_t off = 0; off < KIT_LEN; off += piece)
		kit->pieces[kit->pieces_nr++] =
			(struct kit_piece){KIT_BASE + off, piece, hva + off, false};
}

static void add(struct run *run)
{
	unsigned i = 0, r;
	struct job *job;

	while (run->jobs[i].used)
		if (++i == run->kit->cfg.size)
			return;
	job = &run->jobs[i];
	*job = (struct job){.nr = 1 + (unsigned)rng_below(&run->rng, BUFS_MAX)};
	if (rng_chance(&run->rng, 70))
		job->nr = 1 + (unsigned)rng_below(&run->rng, 3);
	job->readable_nr = (unsigned)rng_below(&run->rng, job->nr + 1);
	for (unsigned b = 0; b < job->nr; b++) {
		job->bufs[b].addr = rng_next(&run->rng) >> 1;
		job->bufs[b].len = (uint32_t)rng_below(&run->rng, 1u << 20);
		if (b >= job->readable_nr)
			job->writable_len += job->bufs[b].len;
	}
	r = (unsigned)-drvq_add(&run->q, job->bufs, job->readable_nr,
				job->nr - job->readable_nr, job);
	if (r)
		return; /* full, or more buffers than a tiny ring can hold */
	job->used = true;
	run->order[run->order_nr++] = (uint16_t)i;
	run->chains++;
}

static void check_popped(struct job *job, const struct viommu_chain *chain,
			 const struct viommu_virtq_buf *bufs)
{
	unsigned at = 0, readable = 0;

	for (unsigned b = 0; b < job->nr; b++) {
		if (!job->bufs[b].len)
			continue;
		assert_int_equal(bufs[at].addr, job->bufs[b].addr);
		assert_int_equal(bufs[at].len, job->bufs[b].len);
		assert_int_equal(bufs[at].writable, b >= job->readable_nr);
		readable += b < job->readable_nr;
		at++;
	}
	assert_int_equal(chain->buf_nr, at);
	assert_int_equal(chain->readable_nr, readable);
	assert_int_equal(chain->writable_len, job->writable_len);
}

static void pop(struct run *run)
{
	struct viommu_virtq_buf bufs[BUFS_MAX];
	struct viommu_chain chain, again;
	struct job *job;
	int r = viommu_virtq_pop(&run->kit->vq, &chain, bufs, BUFS_MAX);

	if (!run->published_nr) {
		assert_int_equal(r, 0);
		return;
	}
	assert_int_equal(r, 1);
	if (rng_chance(&run->rng, 10)) {
		viommu_virtq_unpop(&run->kit->vq, &chain);
		assert_int_equal(viommu_virtq_pop(&run->kit->vq, &again, bufs, BUFS_MAX),
				 1);
		assert_memory_equal(&chain, &again, sizeof(chain));
	}
	job = &run->jobs[run->order[0]];
	memmove(run->order, run->order + 1, --run->order_nr * sizeof(run->order[0]));
	run->published_nr--;
	check_popped(job, &chain, bufs);
	job->popped = true;
	job->chain = chain;
	run->popped_nr++;
}

/* Any chain that is popped, not the oldest. */
static void push(struct run *run)
{
	unsigned from = (unsigned)rng_below(&run->rng, run->kit->cfg.size);

	for (unsigned n = 0; n < run->kit->cfg.size; n++) {
		struct job *job = &run->jobs[(from + n) % run->kit->cfg.size];

		if (!job->used || !job->popped || job->pushed)
			continue;
		job->pushed_len = (uint32_t)rng_below(&run->rng, job->writable_len + 1);
		assert_int_equal(
			viommu_virtq_push(&run->kit->vq, &job->chain, job->pushed_len),
			0);
		job->pushed = true;
		run->popped_nr--;
		run->pushed_nr++;
		return;
	}
}

static void show(struct run *run)
{
	if (viommu_virtq_publish(&run->kit->vq))
		run->interrupted = true;
	run->shown_nr += run->pushed_nr;
	run->pushed_nr = 0;
}

static void poll_used(struct run *run)
{
	struct drvq_used used;
	int r = drvq_poll(&run->q, &used);
	struct job *job = used.cookie;

	assert_int_equal(r, run->shown_nr ? 1 : 0);
	if (!r)
		return;
	assert_true(job->used && job->pushed);
	assert_int_equal(used.len, job->pushed_len);
	job->used = false;
	run->shown_nr--;
}

static void sleep_device(struct run *run)
{
	run->kicked = false;
	run->device_asleep = !viommu_virtq_enable_notify(&run->kit->vq);
	assert_int_equal(run->device_asleep, !run->published_nr);
	run->sleeps++;
}

static void sleep_driver(struct run *run)
{
	run->interrupted = false;
	run->driver_asleep = !drvq_enable_notify(&run->q);
	assert_int_equal(run->driver_asleep, !run->shown_nr);
}

static void publish(struct run *run)
{
	if (drvq_publish(&run->q))
		run->kicked = true;
	run->published_nr = run->order_nr;
}

static void driver_step(struct run *run)
{
	if (run->driver_asleep) {
		assert_true(run->interrupted || !run->shown_nr);
		if (!run->interrupted)
			return;
		run->driver_asleep = false;
		if (rng_chance(&run->rng, 50))
			drvq_disable_notify(&run->q);
	}
	switch (rng_below(&run->rng, 8)) {
	case 0:
	case 1:
	case 2:
		add(run);
		break;
	case 3:
		publish(run);
		break;
	case 4:
		publish(run);
		sleep_driver(run);
		break;
	default:
		poll_used(run);
	}
}

static void device_step(struct run *run)
{
	assert_int_equal(viommu_virtq_has_work(&run->kit->vq), run->published_nr > 0);
	if (run->device_asleep) {
		assert_true(run->kicked || !run->published_nr);
		if (!run->kicked)
			return;
		run->device_asleep = false;
		if (rng_chance(&run->rng, 50))
			viommu_virtq_disable_notify(&run->kit->vq);
	}
	if (rng_chance(&run->rng, 20))
		viommu_virtq_begin(&run->kit->vq);
	switch (rng_below(&run->rng, 8)) {
	case 0:
	case 1:
	case 2:
		pop(run);
		break;
	case 3:
		show(run);
		break;
	case 4:
		show(run);
		sleep_device(run);
		break;
	default:
		push(run);
	}
}

/* Both asleep: with nothing to do, or the next kick is lost. */
static void wake(struct run *run)
{
	if (!run->device_asleep || !run->driver_asleep)
		return;
	if (run->kicked || run->interrupted)
		return;
	assert_int_equal(run->published_nr, 0);
	assert_int_equal(run->shown_nr, 0);
	run->driver_asleep = run->device_asleep = false;
}

/* At rest a saved position must do as well as the ring itself. */
static void move_ring(struct run *run)
{
	struct viommu_virtq_state state;

	if (run->popped_nr || run->pushed_nr)
		return;
	viommu_virtq_save(&run->kit->vq, &state);
	assert_int_equal(
		viommu_virtq_init(&run->kit->vq, &run->kit->cfg, kit_mem(run->kit)), 0);
	assert_int_equal(viommu_virtq_restore(&run->kit->vq, &state), 0);
	run->device_asleep = false;
}

static void run_one(struct run *run, uint64_t seed, uint16_t size, bool packed)
{
	struct rng rng = rng_init(seed);
	static const uint64_t pieces[] = {0, 4096, 1024};
	static const uint16_t tables[] = {0, 0, 8, BUFS_MAX};
	uint16_t table_nr = tables[rng_below(&rng, 4)];
	uint64_t piece = pieces[rng_below(&rng, 3)];
	struct drvq_config cfg;
	unsigned long steps = 20000;

	memset(run, 0, sizeof(*run));
	run->rng = rng;
	run->kit = kit_create_ring(size, packed, rng_chance(&run->rng, 50), table_nr > 0);
	cfg = driver_config(run, table_nr);
	cut(run->kit, piece);
	assert_int_equal(drvq_init(&run->q, &cfg), 0);
	while (steps--) {
		if (rng_chance(&run->rng, 50))
			driver_step(run);
		else
			device_step(run);
		wake(run);
		if (rng_chance(&run->rng, 1))
			move_ring(run);
	}
	assert_true(run->chains > size || size > 256);
	run->kit->pieces_nr = 1; /* one allocation again */
	kit_destroy(run->kit);
}

static void all_sizes(bool packed)
{
	static const uint16_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 256, 777, 1024};
	struct run *run = calloc(1, sizeof(*run));
	uint64_t seed = test_seed();

	assert_non_null(run);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (!packed && (sizes[i] & (sizes[i] - 1)))
			continue;
		for (unsigned round = 0; round < 8; round++)
			run_one(run, seed + i * 100 + round, sizes[i], packed);
	}
	free(run);
}

static void split_matches(void **state)
{
	(void)state;
	all_sizes(false);
}

static void packed_matches(void **state)
{
	(void)state;
	all_sizes(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_matches),
		cmocka_unit_test(packed_matches),
	};

	return cmocka_run_group_tests_name("virtq differential", tests, NULL, NULL);
}
