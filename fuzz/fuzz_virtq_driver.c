/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Driver side of virtqueues against a device that writes whatever it likes into
 * all memory it shares with the driver.
 *
 * Invariants: no access outside of the areas; a chain comes back at most once and
 * with no more bytes than it has room for; once broken, broken for good; at the
 * end everything that is out can be taken back, once.
 */
#include "input.h"

#include <errno.h>
#include <string.h>

#include "virtq/driver.h"

#define SIZE_LIMIT  64u
#define TABLE_LIMIT 8u

struct chain {
	bool out;
	uint64_t writable_len;
};

struct state {
	struct input in;
	struct drvq q;
	struct drvq_config cfg;
	size_t lens[4];	   /* of the shared areas */
	uint8_t *areas[4]; /* desc, driver, device, tables */
	struct chain chains[SIZE_LIMIT];
	unsigned out_nr;
	bool broken;
};

static uint8_t *area(struct state *s, unsigned i, size_t len)
{
	s->lens[i] = len;
	s->areas[i] = aligned_alloc(16, (len + 15) & ~(size_t)15);
	FUZZ_CHECK(s->areas[i]);
	memset(s->areas[i], 0, (len + 15) & ~(size_t)15);
	return s->areas[i];
}

static void start(struct state *s)
{
	uint8_t flags = input_u8(&s->in);
	uint16_t size = 1 + input_u8(&s->in) % SIZE_LIMIT;

	s->cfg.packed = flags & 1;
	s->cfg.event_idx = flags & 2;
	while (!s->cfg.packed && (size & (size - 1)))
		size &= size - 1;
	s->cfg.size = size;
	s->cfg.desc = area(s, 0, drvq_desc_len(size));
	s->cfg.driver = area(s, 1, drvq_driver_len(size, s->cfg.packed));
	s->cfg.device = area(s, 2, drvq_device_len(size, s->cfg.packed));
	s->cfg.table_nr = flags & 4 ? TABLE_LIMIT : 0;
	s->cfg.tables = area(s, 3, drvq_tables_len(size, TABLE_LIMIT));
	s->cfg.tables_dma = 0x1000;
	s->cfg.slots = malloc(size * sizeof(*s->cfg.slots));
	FUZZ_CHECK(!drvq_init(&s->q, &s->cfg));
}

static void add(struct state *s)
{
	struct drvq_buf bufs[TABLE_LIMIT + 2];
	unsigned nr = input_u8(&s->in) % (TABLE_LIMIT + 3), i = 0;
	unsigned readable = input_u8(&s->in) % (nr + 1);
	uint64_t writable_len = 0;

	while (i < SIZE_LIMIT && s->chains[i].out)
		i++;
	if (i == SIZE_LIMIT)
		return;
	for (unsigned b = 0; b < nr; b++) {
		bufs[b] = (struct drvq_buf){input_u16(&s->in), input_u16(&s->in)};
		if (b >= readable)
			writable_len += bufs[b].len;
	}
	if (drvq_add(&s->q, bufs, readable, nr - readable, &s->chains[i]))
		return;
	FUZZ_CHECK(!s->broken);
	s->chains[i] = (struct chain){true, writable_len};
	s->out_nr++;
}

static void poll_used(struct state *s)
{
	struct drvq_used used;
	struct chain *chain;
	int r = drvq_poll(&s->q, &used);

	FUZZ_CHECK(r == 1 || r == 0 || r == -EIO);
	FUZZ_CHECK(!s->broken || r == -EIO);
	s->broken = r == -EIO;
	if (r != 1)
		return;
	chain = used.cookie;
	FUZZ_CHECK(chain->out && used.len <= chain->writable_len);
	chain->out = false;
	s->out_nr--;
	FUZZ_CHECK(drvq_out_nr(&s->q) == s->out_nr);
}

/* The device gives something back, more or less as it should. */
static void give_back(struct state *s)
{
	uint32_t id = input_u8(&s->in), len = input_u8(&s->in);
	uint16_t flags = input_u16(&s->in), idx = s->q.next_used, id16 = (uint16_t)id;
	uint8_t *entry;

	if (s->cfg.packed) {
		entry = s->areas[0] + 16 * (idx % s->cfg.size);
		if (flags & 4)
			flags = packed_used_flags(s->q.used_wrap) | (flags & 2);
		memcpy(entry + 8, &len, 4);
		memcpy(entry + 12, &id16, 2);
		memcpy(entry + 14, &flags, 2);
		return;
	}
	entry = s->areas[2] + 4 + 8 * (idx % s->cfg.size);
	memcpy(entry, &id, 4);
	memcpy(entry + 4, &len, 4);
	idx += flags & 4 ? 1 : flags;
	memcpy(s->areas[2] + 2, &idx, 2);
}

static void scribble(struct state *s)
{
	unsigned which = input_u8(&s->in) & 3;
	uint32_t value = input_u32(&s->in);
	size_t off = input_u16(&s->in) % (s->lens[which] - 1);

	memcpy(s->areas[which] + off, &value, off + 4 <= s->lens[which] ? 4 : 1);
}

static void step(struct state *s)
{
	switch (input_u8(&s->in) % 9) {
	case 0:
	case 1:
		add(s);
		break;
	case 2:
		drvq_publish(&s->q);
		break;
	case 3:
	case 4:
		poll_used(s);
		break;
	case 5:
		drvq_enable_notify(&s->q);
		break;
	case 6:
		drvq_disable_notify(&s->q);
		break;
	case 7:
		give_back(s);
		break;
	default:
		scribble(s);
	}
	FUZZ_CHECK(drvq_out_nr(&s->q) == s->out_nr);
	FUZZ_CHECK(drvq_free_nr(&s->q) <= s->cfg.size);
}

/* As after a reset of the device. */
static void finish(struct state *s)
{
	void *cookie;

	while (drvq_take_back(&s->q, &cookie) == 1) {
		struct chain *chain = cookie;

		FUZZ_CHECK(chain->out);
		chain->out = false;
		s->out_nr--;
	}
	FUZZ_CHECK(!s->out_nr && drvq_free_nr(&s->q) == s->cfg.size);
	for (unsigned i = 0; i < 4; i++)
		free(s->areas[i]);
	free(s->cfg.slots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return 0;
	s->in = (struct input){data, len};
	start(s);
	while (s->in.len)
		step(s);
	finish(s);
	free(s);
	return 0;
}
