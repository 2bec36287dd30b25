/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The NVMe controller against a driver that writes what it likes into queues,
 * commands, lists, doorbells and registers, resets it when it likes, and whose
 * memory comes and goes. Queues 1 and 2 have shadow doorbells in half of the
 * runs.
 *
 * Invariants: no access outside of guest memory (address sanitizer); no request
 * is lost or in two places; with nothing under way no page is held; after a
 * reset nothing is under way.
 */
#include "input.h"

#include <string.h>

#include <viommu/dma.h>
#include <viommu/mem.h>
#include <viommu/pci.h>

#include "endpoints/nvme/nvme.h"

#define GPA	    0x10000ull /* two regions with a hole between them */
#define REGION_LEN  0x10000u
#define REGION_STEP 0x12000u
#define PAGES	    (REGION_LEN / NVME_PAGE)
#define QUEUES	    3u	/* admin and two of I/O */
#define ENTRIES	    16u /* of each */
/* Pages of the first region. */
#define SQ_PAGE(id) (id)
#define CQ_PAGE(id) (QUEUES + (id))
#define SHADOW_PAGE (2 * QUEUES)
#define EVENT_PAGE  (2 * QUEUES + 1)
#define LIST_PAGE   (2 * QUEUES + 2) /* PRP lists and SGLs, two pages */

struct state {
	struct input in;
	struct viommu_alloc alloc;
	struct viommu_mem *mem;
	struct endpoint *ep;
	uint8_t *ram[2];
	uint32_t tail[QUEUES], head[QUEUES];
	bool present; /* the second region */
	bool shadow;
	unsigned steps;
};

/* The array of requests is megabytes: one is kept from input to input, as
 * mapping it anew takes longer than all the rest. */
#define REQUESTS_LEN (NVME_REQUESTS_NR * sizeof(struct nvme_request))
static void *requests;

static void *fuzz_alloc(void *opaque, size_t len, size_t align)
{
	(void)opaque;
	if (len == REQUESTS_LEN && requests)
		return requests;
	if (len == REQUESTS_LEN)
		return requests = aligned_alloc(align, len);
	return aligned_alloc(align, (len + align - 1) / align * align);
}

static void fuzz_free(void *opaque, void *p, size_t len)
{
	(void)opaque;
	if (len != REQUESTS_LEN)
		free(p);
}

static void set(struct state *s, uint64_t at, unsigned len, uint64_t value)
{
	viommu_pci_bar_write(s->ep->function, 0, at, &value, len);
}

static uint64_t page_gpa(unsigned page)
{
	return GPA + page * NVME_PAGE;
}

/* ---- a driver that does it right ---- */

static void put(struct state *s, unsigned queue, const struct nvme_cmd *cmd)
{
	memcpy(s->ram[0] + SQ_PAGE(queue) * NVME_PAGE + s->tail[queue] * sizeof(*cmd),
	       cmd, sizeof(*cmd));
	s->tail[queue] = (s->tail[queue] + 1) % ENTRIES;
}

static void ring(struct state *s, unsigned queue)
{
	if (s->shadow && queue)
		memcpy(s->ram[0] + SHADOW_PAGE * NVME_PAGE + queue * 8, &s->tail[queue],
		       4);
	else
		set(s, NVME_REG_DBS + queue * 8, 4, s->tail[queue]);
}

/* All completions up to now are seen. */
static void take(struct state *s, unsigned queue)
{
	struct nvme *n = to_nvme(s->ep);

	s->head[queue] = n->cq[queue].tail % ENTRIES;
	if (s->shadow && queue)
		memcpy(s->ram[0] + SHADOW_PAGE * NVME_PAGE + queue * 8 + 4,
		       &s->head[queue], 4);
	else
		set(s, NVME_REG_DBS + queue * 8 + 4, 4, s->head[queue]);
}

static void command(struct state *s, struct nvme_cmd cmd)
{
	put(s, 0, &cmd);
	ring(s, 0);
	endpoint_poll(s->ep, 4);
	take(s, 0);
}

static void create_queues(struct state *s, unsigned id)
{
	command(s, (struct nvme_cmd){.opcode = NVME_ADMIN_CREATE_CQ,
				     .prp1 = page_gpa(CQ_PAGE(id)),
				     .cdw10 = id | (ENTRIES - 1) << 16,
				     .cdw11 = 3});
	command(s, (struct nvme_cmd){.opcode = NVME_ADMIN_CREATE_SQ,
				     .prp1 = page_gpa(SQ_PAGE(id)),
				     .cdw10 = id | (ENTRIES - 1) << 16,
				     .cdw11 = 1 | id << 16});
}

static void set_up_driver(struct state *s)
{
	uint32_t mastering = 6;

	memset(s->ram[0], 0, LIST_PAGE * NVME_PAGE);
	memset(s->tail, 0, sizeof(s->tail));
	memset(s->head, 0, sizeof(s->head));
	viommu_pci_config_write(s->ep->function, 4, &mastering, 2);
	set(s, NVME_REG_CC, 4, 0);
	set(s, NVME_REG_AQA, 4, (ENTRIES - 1) * 0x10001u);
	set(s, NVME_REG_ASQ, 8, page_gpa(SQ_PAGE(0)));
	set(s, NVME_REG_ACQ, 8, page_gpa(CQ_PAGE(0)));
	set(s, NVME_REG_CC, 4, NVME_CC_EN | 6u << 16 | 4u << 20);
	if (s->shadow)
		command(s, (struct nvme_cmd){.opcode = NVME_ADMIN_DBBUF_CONFIG,
					     .prp1 = page_gpa(SHADOW_PAGE),
					     .prp2 = page_gpa(EVENT_PAGE)});
	create_queues(s, 1);
	create_queues(s, 2);
}

static struct state *make(const uint8_t *data, size_t len)
{
	static const char *const disks[] = {
		"backend=mem,size=64K,queues=4,queue-size=16,ns3=null:1M",
		"backend=null,size=1M,queues=4,queue-size=16,block-size=4096",
		"backend=mem,size=64K,queues=4,queue-size=16,read-only=on,ns2=mem:8K",
		"backend=null,size=1M,queues=4,queue-size=16,read-zeroes=on,sgl=off"};
	struct state *s = calloc(1, sizeof(*s));
	struct endpoint_env env;
	uint8_t kind;

	s->in = (struct input){data, len};
	s->alloc = (struct viommu_alloc){fuzz_alloc, fuzz_free, NULL};
	FUZZ_CHECK(!viommu_mem_create(&s->alloc, &s->mem));
	for (unsigned i = 0; i < 2; i++) {
		s->ram[i] = calloc(1, REGION_LEN);
		FUZZ_CHECK(!viommu_mem_add(s->mem, GPA + i * REGION_STEP, REGION_LEN,
					   s->ram[i], 0));
	}
	s->present = true;
	kind = input_u8(&s->in);
	s->shadow = kind & 4;
	env = (struct endpoint_env){.name = "f", .mem = s->mem, .alloc = &s->alloc};
	FUZZ_CHECK(!endpoint_create("nvme", &env, disks[kind & 3], &s->ep));
	set_up_driver(s);
	return s;
}

static void finish(struct state *s)
{
	endpoint_destroy(s->ep);
	viommu_mem_destroy(s->mem);
	free(s->ram[0]);
	free(s->ram[1]);
	free(s);
}

/* ---- one that does not ---- */

/* An address that may well be memory. */
static uint64_t some_address(struct state *s)
{
	uint8_t kind = input_u8(&s->in);
	uint64_t page = page_gpa(kind % (2 * PAGES + 3));

	if (kind < 160)
		return page;
	if (kind < 200)
		return page_gpa(LIST_PAGE) + 8 * (kind % 4) + (kind & 8 ? 4080 : 0);
	if (kind < 240)
		return page + input_u8(&s->in) * 4;
	return kind == 255 ? input_u64(&s->in) : page + input_u16(&s->in);
}

static struct nvme_sgl some_sgl(struct state *s)
{
	static const uint32_t usual[] = {512, 16, 32, 4096, 0, 48, 1024, 8};
	uint8_t kind = input_u8(&s->in);
	struct nvme_sgl d = {.addr = some_address(s), .len = usual[kind & 7]};

	d.type = (uint8_t)((kind >> 3 & 3) << 4);
	if (kind >= 224)
		d.type = input_u8(&s->in);
	if (kind >= 192)
		d.len = input_u32(&s->in);
	return d;
}

static void some_data(struct state *s, struct nvme_cmd *cmd, uint8_t kind)
{
	if (kind & 1) {
		cmd->flags = (uint8_t)(kind & 0xc3);
		cmd->sgl = some_sgl(s);
	} else {
		cmd->prp1 = some_address(s);
		cmd->prp2 = some_address(s);
	}
}

static uint32_t some_word(struct state *s)
{
	uint8_t kind = input_u8(&s->in);

	return kind == 255 ? input_u32(&s->in) : kind;
}

static void io_command(struct state *s, unsigned queue)
{
	static const uint8_t usual[] = {
		NVME_IO_READ,	      NVME_IO_WRITE,   NVME_IO_FLUSH, NVME_IO_DSM,
		NVME_IO_WRITE_ZEROES, NVME_IO_COMPARE, NVME_IO_WRITE, NVME_IO_READ};
	uint8_t op = input_u8(&s->in), kind = input_u8(&s->in);
	struct nvme_cmd cmd = {.opcode = usual[op & 7], .cid = kind, .nsid = 1};

	if (op >= 224)
		cmd.opcode = input_u8(&s->in);
	if (op & 32)
		cmd.nsid = (uint32_t)(input_u8(&s->in) % 12 - 1);
	some_data(s, &cmd, kind);
	cmd.cdw10 = some_word(s);
	cmd.cdw11 = cmd.opcode == NVME_IO_DSM ? 4 : op & 16 ? some_word(s) : 0;
	cmd.cdw12 = some_word(s);
	put(s, queue, &cmd);
}

static void admin_command(struct state *s)
{
	static const uint8_t usual[] = {
		NVME_ADMIN_IDENTIFY,	 NVME_ADMIN_GET_LOG_PAGE, NVME_ADMIN_SET_FEATURES,
		NVME_ADMIN_GET_FEATURES, NVME_ADMIN_ASYNC_EVENT,  NVME_ADMIN_ABORT,
		NVME_ADMIN_DELETE_SQ,	 NVME_ADMIN_DELETE_CQ,	  NVME_ADMIN_CREATE_SQ,
		NVME_ADMIN_CREATE_CQ,	 NVME_ADMIN_DBBUF_CONFIG, NVME_ADMIN_IDENTIFY};
	uint8_t op = input_u8(&s->in), kind = input_u8(&s->in);
	struct nvme_cmd cmd = {.opcode = usual[op % 12],
			       .cid = kind,
			       .nsid = input_u8(&s->in) % 12u - 1};

	if (op >= 240)
		cmd.opcode = input_u8(&s->in);
	some_data(s, &cmd, kind & 8 ? kind : 0);
	cmd.cdw10 = some_word(s) | some_word(s) << 16;
	cmd.cdw11 = some_word(s) | some_word(s) << 16;
	cmd.cdw12 = op & 128 ? some_word(s) : 0;
	put(s, 0, &cmd);
}

static void write_list(struct state *s)
{
	uint8_t i = input_u8(&s->in);
	uint8_t *at = s->ram[0] + LIST_PAGE * NVME_PAGE + (i & 31) * 16;

	if (i & 32)
		at += 2 * NVME_PAGE - 32 * 16;
	else if (i & 64)
		at += NVME_PAGE - 32 * 16;
	if (i & 128) {
		struct nvme_sgl d = some_sgl(s);

		memcpy(at, &d, sizeof(d));
	} else {
		uint64_t entry[2] = {some_address(s), some_address(s)};

		memcpy(at, entry, sizeof(entry));
	}
}

static void scribble(struct state *s)
{
	uint64_t value = input_u64(&s->in);
	uint16_t at = input_u16(&s->in) % (REGION_LEN - 8);

	memcpy(s->ram[0] + at, &value, 8);
}

static void touch_register(struct state *s)
{
	static const unsigned lens[] = {1, 2, 4, 8};
	uint8_t kind = input_u8(&s->in);
	unsigned len = lens[kind & 3];
	uint64_t at = input_u8(&s->in) & 0x3f, value = 0;

	if (kind & 16)
		at = NVME_REG_DBS + (at & 0x3c);
	else if (kind & 32)
		at = input_u16(&s->in) & 0x3fff;
	value = kind & 64 ? input_u64(&s->in) : input_u8(&s->in);
	if (kind & 4)
		viommu_pci_bar_read(s->ep->function, 0, at, &value, len);
	else
		viommu_pci_bar_write(s->ep->function, 0, at, &value, len);
}

static void touch_config(struct state *s)
{
	uint32_t value = input_u32(&s->in);

	viommu_pci_config_write(s->ep->function, input_u8(&s->in), &value, 4);
}

/* The VMM takes the second region away or gives it back. */
static void move_memory(struct state *s)
{
	uint64_t gpa = GPA + REGION_STEP;

	if (!s->present) {
		s->present = !viommu_mem_add(s->mem, gpa, REGION_LEN, s->ram[1], 0);
		return;
	}
	viommu_mem_remove(s->mem, gpa, REGION_LEN);
	while (viommu_mem_busy(s->mem, gpa, REGION_LEN))
		endpoint_poll(s->ep, 4);
	s->present = false;
}

static void reset(struct state *s, bool function)
{
	if (function)
		endpoint_reset(s->ep);
	else
		set(s, NVME_REG_CC, 4, 0);
	FUZZ_CHECK(!endpoint_busy(s->ep));
	set_up_driver(s);
}

/* ---- what must hold ---- */

/* Every request is free, under way, parked, an event request, or the one for
 * shutdowns: once. */
static void check_requests(const struct nvme *n)
{
	unsigned nr = 1 + n->aer_nr, under_way = 0, parked;

	for (const struct nvme_request *rq = n->free; rq; rq = rq->next)
		FUZZ_CHECK(++nr <= NVME_REQUESTS_NR && !rq->started);
	parked = nr;
	for (unsigned i = 0; i <= NVME_IO_QUEUES_MAX; i++) {
		for (const struct nvme_request *rq = n->cq[i].parked; rq; rq = rq->next)
			FUZZ_CHECK(++nr <= NVME_REQUESTS_NR && !rq->started);
	}
	FUZZ_CHECK(nr - parked == n->parked);
	for (unsigned i = 0; i < NVME_REQUESTS_NR; i++)
		under_way += n->request[i].started;
	FUZZ_CHECK(under_way == n->under_way && !n->lost);
	nr += under_way - n->request[NVME_REQUESTS_NR - 1].started;
	FUZZ_CHECK(nr == NVME_REQUESTS_NR);
}

static void check(struct state *s)
{
	const struct nvme *n = to_nvme(s->ep);
	struct viommu_dma_stats stats;
	unsigned users = 0, live = 0;

	viommu_dma_get_stats(n->dma, &stats);
	FUZZ_CHECK(n->under_way || !stats.held);
	FUZZ_CHECK(n->under_way || !n->bounce_user);
	if (!(s->steps++ & 15)) /* it walks a thousand of them */
		check_requests(n);
	for (unsigned i = 0; i <= NVME_IO_QUEUES_MAX; i++) {
		const struct nvme_sq *sq = &n->sq[i];

		FUZZ_CHECK(!sq->live || (n->cq[sq->cq].live && sq->head < sq->len &&
					 sq->tail < sq->len));
		users += n->cq[i].users;
		live += sq->live;
	}
	FUZZ_CHECK(users == live);
}

static void step(struct state *s, uint8_t op)
{
	unsigned queue = (op >> 4) % QUEUES;

	switch (op & 15) {
	case 0:
		touch_register(s);
		break;
	case 1:
		if (op & 16)
			touch_config(s);
		else
			move_memory(s);
		break;
	case 2:
		reset(s, op & 16);
		break;
	case 3:
		scribble(s);
		break;
	case 4:
		endpoint_arm(s->ep);
		break;
	case 5:
		endpoint_control(s->ep, "resize", op & 16 ? "size=32K" : "size=64K");
		break;
	case 6:
	case 7:
		admin_command(s);
		break;
	case 8:
		write_list(s);
		break;
	case 9:
		ring(s, queue);
		break;
	case 10:
		take(s, queue);
		break;
	case 11:
	case 12:
		ring(s, queue);
		endpoint_poll(s->ep, op >> 4);
		break;
	default:
		io_command(s, 1 + (op >> 4 & 1));
	}
	check(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct state *s = make(data, len);

	while (s->in.len)
		step(s, input_u8(&s->in));
	for (unsigned i = 0; i < 100 && endpoint_busy(s->ep); i++) {
		endpoint_poll(s->ep, 4);
		check(s);
	}
	finish(s);
	return 0;
}
