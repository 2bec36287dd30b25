/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Submission and completion queues (NVMe 1.4, section 4.1), shadow doorbells
 * (5.7, Doorbell Buffer Config) and interrupts.
 *
 * Shadow doorbells: the driver stores its tails and heads in memory and writes
 * the register only when it passes the event index that we left there. While we
 * poll, the event indexes stay behind, so no write comes; nvme_queues_arm()
 * moves them up and looks again before a sleep.
 *
 * Everything in queue memory is read once and never trusted.
 */
#include "endpoints/nvme/nvme.h"

static void raise_top(struct nvme *n, unsigned id)
{
	if (id > n->top)
		n->top = id;
}

void nvme_sq_init(struct nvme *n, unsigned id, uint64_t iova, uint32_t len, uint16_t cq)
{
	n->sq[id] = (struct nvme_sq){
		.live = true, .id = (uint16_t)id, .cq = cq, .len = len, .iova = iova};
	n->cq[cq].users++;
	raise_top(n, id);
}

void nvme_cq_init(struct nvme *n, unsigned id, uint64_t iova, uint32_t len)
{
	n->cq[id] = (struct nvme_cq){.live = true,
				     .irq_enabled = true,
				     .id = (uint16_t)id,
				     .phase = 1,
				     .len = len,
				     .iova = iova};
	raise_top(n, id);
}

/* ---- doorbells ---- */

/* Values for queue `id` in the shadow and event index buffers: 4 bytes each,
 * submission tail then completion head (CAP.DSTRD is 0). */
static uint64_t shadow_offset(unsigned id, bool completion)
{
	return id * 8ull + (completion ? 4 : 0);
}

/* Inside a section. NULL: out of reach. */
static uint32_t *shadow_word(struct nvme *n, uint64_t iova, unsigned perm)
{
	struct viommu_span span;

	if (viommu_dma_translate(n->dma, iova, 4, perm, &span) || span.len < 4)
		return NULL;
	return span.hva;
}

/* The driver's page is gone: looking again at each turn would only be a fault each
 * time. What it stored there last is lost to us, so it is told to reset. */
static void lose_shadow(struct nvme *n)
{
	n->shadow = false;
	nvme_event(n, NVME_EVENT_INTERNAL_ERROR);
	endpoint_log(n->ep.env.log, VIOMMU_LOG_WARN,
		     "%s: the shadow doorbells are out of the device's reach; it looks "
		     "at its registers only",
		     n->ep.name);
}

/* The admin queue keeps its registers (as drivers do). */
static bool has_shadow(const struct nvme *n, unsigned id)
{
	return n->shadow && id;
}

bool nvme_shadow_set(struct nvme *n, uint64_t shadow, uint64_t event)
{
	bool reached;

	viommu_dma_begin(n->dma);
	reached = shadow_word(n, shadow, VIOMMU_READ) &&
		  shadow_word(n, event, VIOMMU_WRITE);
	viommu_dma_end(n->dma);
	if (!reached)
		return false;
	n->shadow_iova = shadow;
	n->event_iova = event;
	n->shadow = true;
	return true;
}

/* The driver's latest value of a doorbell. */
static bool read_shadow(struct nvme *n, unsigned id, bool completion, uint32_t *out)
{
	uint32_t *word = shadow_word(n, n->shadow_iova + shadow_offset(id, completion),
				     VIOMMU_READ);

	if (!word) {
		lose_shadow(n);
		return false;
	}
	/* Pairs with the driver's barrier between filling entries and storing
	 * the doorbell: without it we could read an entry from before. */
	*out = le32toh(__atomic_load_n(word, __ATOMIC_ACQUIRE));
	return true;
}

static void write_event_index(struct nvme *n, unsigned id, bool completion,
			      uint32_t value)
{
	uint32_t *word = shadow_word(n, n->event_iova + shadow_offset(id, completion),
				     VIOMMU_WRITE);

	if (word)
		__atomic_store_n(word, htole32(value), __ATOMIC_RELAXED);
	else
		lose_shadow(n);
}

static void bad_doorbell(struct nvme *n, bool queue_exists)
{
	nvme_event(n, queue_exists ? NVME_EVENT_INVALID_DOORBELL
				   : NVME_EVENT_INVALID_REGISTER);
}

void nvme_sq_doorbell(struct nvme *n, unsigned id, uint32_t tail)
{
	struct nvme_sq *sq = &n->sq[id <= NVME_IO_QUEUES_MAX ? id : 0];

	if (id > NVME_IO_QUEUES_MAX || !sq->live || tail >= sq->len) {
		bad_doorbell(n, id <= NVME_IO_QUEUES_MAX && sq->live);
		return;
	}
	sq->tail = tail;
}

static void post_parked(struct nvme *n, struct nvme_cq *cq);

static void take_head(struct nvme *n, struct nvme_cq *cq, uint32_t head)
{
	cq->head = head;
	post_parked(n, cq);
	nvme_update_intx(n);
}

void nvme_cq_doorbell(struct nvme *n, unsigned id, uint32_t head)
{
	struct nvme_cq *cq = &n->cq[id <= NVME_IO_QUEUES_MAX ? id : 0];

	if (id > NVME_IO_QUEUES_MAX || !cq->live || head >= cq->len) {
		bad_doorbell(n, id <= NVME_IO_QUEUES_MAX && cq->live);
		return;
	}
	viommu_dma_begin(n->dma);
	take_head(n, cq, head);
	viommu_dma_end(n->dma);
}

/* Inside a section: looks at the shadows, if there are any. */
static void refresh_tail(struct nvme *n, struct nvme_sq *sq)
{
	uint32_t tail;

	if (!has_shadow(n, sq->id) || !read_shadow(n, sq->id, false, &tail))
		return;
	n->stats.shadow_polls++;
	if (tail < sq->len)
		sq->tail = tail;
	else
		bad_doorbell(n, true);
}

static void refresh_head(struct nvme *n, struct nvme_cq *cq)
{
	uint32_t head;

	if (!has_shadow(n, cq->id) || !read_shadow(n, cq->id, true, &head))
		return;
	if (head < cq->len)
		cq->head = head;
	else
		bad_doorbell(n, true);
}

/* ---- completions ---- */

static bool cq_full(const struct nvme_cq *cq)
{
	return (cq->tail + 1) % cq->len == cq->head;
}

/* Without bus mastering nothing is written: a driver that is gone may have left its
 * queue's memory to somebody else. */
static bool can_post(const struct nvme *n, const struct nvme_cq *cq)
{
	return !cq_full(cq) && viommu_pci_bus_master(n->ep.function);
}

/* Inside a section. */
static bool write_entry(struct nvme *n, struct nvme_cq *cq, const struct nvme_request *rq)
{
	struct viommu_span span;
	uint64_t *entry;
	uint64_t low = htole64(rq->result);
	uint64_t high = htole64((uint64_t)rq->sq->head | (uint64_t)rq->sq_id << 16 |
				(uint64_t)rq->cid << 32 |
				(uint64_t)(uint16_t)(rq->status << 1 | cq->phase) << 48);

	if (viommu_dma_translate(n->dma, cq->iova + cq->tail * 16ull, 16, VIOMMU_WRITE,
				 &span) ||
	    span.len < 16)
		return false;
	entry = span.hva;
	__atomic_store_n(&entry[0], low, __ATOMIC_RELAXED);
	/* The phase bit is in the upper half: pairs with the driver's load of
	 * it, which must not be seen before the rest of the entry. */
	__atomic_store_n(&entry[1], high, __ATOMIC_RELEASE);
	return true;
}

void nvme_request_free(struct nvme *n, struct nvme_request *rq)
{
	rq->next = n->free;
	n->free = rq;
}

static enum latency_kind kind_of(const struct nvme_request *rq)
{
	if (rq->cmd.opcode == NVME_IO_READ)
		return LATENCY_READ;
	return rq->cmd.opcode == NVME_IO_WRITE ? LATENCY_WRITE : LATENCY_OTHER;
}

/* Inside a section; there is room. */
static void post(struct nvme *n, struct nvme_cq *cq, struct nvme_request *rq)
{
	/* A queue that is out of reach is one fault: the reset drops the rest. */
	if (n->csts & NVME_CSTS_CFS || !write_entry(n, cq, rq)) {
		nvme_fatal(n, "a completion queue is out of the device's reach");
		nvme_request_free(n, rq);
		return;
	}
	if (++cq->tail == cq->len) {
		cq->tail = 0;
		cq->phase ^= 1;
	}
	cq->posted++;
	n->completed = true;
	if (likely(rq->sq_id)) /* of admin commands, events wait for ever */
		latency_done(&n->latency, kind_of(rq), rq->taken_ns);
	nvme_request_free(n, rq);
}

static void park(struct nvme *n, struct nvme_cq *cq, struct nvme_request *rq)
{
	n->parked++;
	if (!cq->parked)
		cq->parked_end = &cq->parked;
	rq->next = NULL;
	*cq->parked_end = rq;
	cq->parked_end = &rq->next;
}

static void post_parked(struct nvme *n, struct nvme_cq *cq)
{
	while (cq->parked && can_post(n, cq)) {
		struct nvme_request *rq = cq->parked;

		n->parked--;
		cq->parked = rq->next;
		post(n, cq, rq);
	}
}

void nvme_cq_forget(struct nvme *n, struct nvme_cq *cq, const struct nvme_sq *sq)
{
	struct nvme_request *rq = cq->parked, *next;

	cq->parked = NULL;
	for (; rq; rq = next) {
		next = rq->next;
		n->parked--;
		if (sq && rq->sq != sq)
			park(n, cq, rq);
		else
			nvme_request_free(n, rq);
	}
}

/* Inside a section. */
static void complete_in_section(struct nvme *n, struct nvme_request *rq)
{
	struct nvme_cq *cq = &n->cq[rq->cq_id];

	rq->sq->under_way--;
	if (rq->status) {
		n->stats.errors++;
		nvme_log_error(n, rq, rq->status);
	}
	if (cq_full(cq))
		refresh_head(n, cq);
	if (cq->parked || !can_post(n, cq))
		park(n, cq, rq);
	else
		post(n, cq, rq);
}

void nvme_request_complete(struct nvme *n, struct nvme_request *rq)
{
	nvme_data_release(n, rq);
	viommu_dma_begin(n->dma);
	complete_in_section(n, rq);
	viommu_dma_end(n->dma);
}

/* ---- interrupts ---- */

static bool uses_pin(const struct nvme *n)
{
	return !viommu_pci_msix_enabled(n->ep.function);
}

/* INTx: asserted while an unmasked queue has entries the driver has not seen. */
void nvme_update_intx(struct nvme *n)
{
	bool want = false;

	if (!uses_pin(n))
		return;
	for (unsigned i = 0; i <= n->top; i++) {
		const struct nvme_cq *cq = &n->cq[i];

		want |= cq->live && cq->irq_enabled && cq->head != cq->tail &&
			!(n->intm & 1);
	}
	viommu_pci_set_intx(n->ep.function, want);
}

/* Whether the turn's completions, or those of earlier ones, are told now. */
static bool batch_due(struct nvme *n, struct nvme_cq *cq, bool intx, uint64_t now)
{
	if (!cq->id || intx || !n->opt.batch)
		return true;
	if (cq->posted)
		nvme_batch_add(&cq->batch, cq->posted, now);
	return nvme_batch_due(&cq->batch, now);
}

static void raise_interrupt(struct nvme *n, const struct nvme_cq *cq, bool intx)
{
	n->stats.interrupts += cq->irq_enabled;
	if (!intx && cq->irq_enabled)
		viommu_pci_raise_msix(n->ep.function, cq->vector);
}

static void interrupt(struct nvme *n, struct nvme_cq *cq, bool intx, uint64_t now)
{
	if (!cq->posted && !cq->batch.nr)
		return;
	if (batch_due(n, cq, intx, now))
		raise_interrupt(n, cq, intx);
	cq->posted = 0;
	n->batching += cq->batch.nr != 0;
}

void nvme_queues_interrupt(struct nvme *n)
{
	uint64_t now;
	bool intx;

	if (!n->completed && !n->batching)
		return;
	n->completed = false;
	n->batching = 0;
	intx = uses_pin(n);
	now = endpoint_now_ns();
	latency_add(&n->latency, now);
	for (unsigned i = 0; i <= n->top; i++)
		interrupt(n, &n->cq[i], intx, now);
	if (intx)
		nvme_update_intx(n);
}

void nvme_queues_tell(struct nvme *n)
{
	if (!n->batching)
		return;
	n->batching = 0;
	for (unsigned i = 0; i <= n->top; i++)
		if (nvme_batch_end(&n->cq[i].batch))
			raise_interrupt(n, &n->cq[i], uses_pin(n));
}

/* ---- commands ---- */

/* Inside a section. The command is copied once. */
static bool fetch(struct nvme *n, const struct nvme_sq *sq, struct nvme_cmd *out)
{
	struct viommu_span span;

	if (viommu_dma_translate(n->dma, sq->iova + sq->head * 64ull, sizeof(*out),
				 VIOMMU_READ, &span) ||
	    span.len < sizeof(*out)) {
		nvme_fatal(n, "a submission queue is out of the device's reach");
		return false;
	}
	memcpy(out, span.hva, sizeof(*out));
	return true;
}

static uint16_t execute(struct nvme *n, struct nvme_request *rq)
{
	if (NVME_CMD_FUSE(rq->cmd.flags))
		return NVME_INVALID_FIELD | NVME_DNR;
	return rq->sq->id ? nvme_io_command(n, rq) : nvme_admin_command(n, rq);
}

static void prepare(struct nvme *n, struct nvme_request *rq, struct nvme_sq *sq)
{
	rq->sq = sq;
	rq->sq_id = sq->id;
	rq->cq_id = sq->cq;
	rq->ns = NULL;
	rq->cid = le16toh(rq->cmd.cid);
	rq->taken_ns = n->latency.turn_ns;
	rq->status = NVME_OK;
	rq->result = 0;
	rq->started = rq->compare = false;
	rq->flush_next = NVME_NAMESPACES_MAX;
	rq->dsm_next = rq->dsm_nr = 0;
	rq->nvme = n;
}

/* Takes one command. false: none taken. */
static bool take(struct nvme *n, struct nvme_sq *sq)
{
	struct nvme_request *rq = n->free;
	uint32_t head = sq->head;
	uint16_t status;
	bool fetched;

	if (!rq)
		return false;
	viommu_dma_begin(n->dma);
	fetched = fetch(n, sq, &rq->cmd);
	viommu_dma_end(n->dma);
	if (!fetched)
		return false;
	n->free = rq->next;
	prepare(n, rq, sq);
	sq->head = (head + 1) % sq->len;
	sq->under_way++;
	status = execute(n, rq);
	if (status == NVME_RETRY) {
		sq->head = head;
		sq->under_way--;
		nvme_request_free(n, rq);
		return false;
	}
	if (status != NVME_PENDING) {
		rq->status = status;
		nvme_request_complete(n, rq);
	}
	return true;
}

static unsigned poll_queue(struct nvme *n, struct nvme_sq *sq, unsigned budget)
{
	unsigned taken = 0;

	/* A command may end the controller or its own queue. */
	while (taken < budget && sq->live && sq->head != sq->tail &&
	       !(n->csts & NVME_CSTS_CFS) && take(n, sq))
		taken++;
	return taken;
}

static void refresh_all(struct nvme *n)
{
	bool pin = uses_pin(n);

	viommu_dma_begin(n->dma);
	for (unsigned i = 0; i <= n->top; i++) {
		if (n->sq[i].live)
			refresh_tail(n, &n->sq[i]);
		/* The pin falls with the last head, so that is looked for. */
		if (n->cq[i].live && (n->cq[i].parked || pin)) {
			refresh_head(n, &n->cq[i]);
			post_parked(n, &n->cq[i]);
		}
	}
	viommu_dma_end(n->dma);
	if (pin)
		nvme_update_intx(n);
}

/* A driver that has shut the controller down submits nothing more, and the pages of
 * its queues and shadow doorbells may go. */
bool nvme_is_running(const struct nvme *n)
{
	const uint32_t mask = NVME_CSTS_RDY | NVME_CSTS_CFS | NVME_CSTS_SHST_MASK;

	return (n->csts & mask) == NVME_CSTS_RDY && viommu_pci_bus_master(n->ep.function);
}

unsigned nvme_queues_poll(struct nvme *n, unsigned budget)
{
	unsigned taken = 0;

	if (!nvme_is_running(n))
		return 0;
	if (n->shadow || n->parked)
		refresh_all(n);
	for (unsigned i = 0; i <= n->top && taken < budget; i++) {
		struct nvme_sq *sq = &n->sq[(n->next_sq + i) % (n->top + 1)];

		if (sq->live)
			taken += poll_queue(n, sq, budget - taken);
	}
	n->next_sq = (n->next_sq + 1) % (n->top + 1);
	return taken;
}

/* Inside a section. true: there is something that can be taken or posted. */
static bool arm_queue(struct nvme *n, unsigned id, bool pin)
{
	struct nvme_sq *sq = &n->sq[id];
	struct nvme_cq *cq = &n->cq[id];
	bool work = false;

	if (sq->live && has_shadow(n, id)) {
		write_event_index(n, id, false, sq->tail);
		/* Pairs with the driver's barrier between its doorbell store and
		 * its load of the event index: one of us sees the other. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		refresh_tail(n, sq);
	}
	work = sq->live && sq->head != sq->tail && n->free && !n->bounce_user;
	if (cq->live && (cq->parked || pin) && has_shadow(n, id)) {
		write_event_index(n, id, true, cq->head);
		__atomic_thread_fence(__ATOMIC_SEQ_CST); /* as above */
		refresh_head(n, cq);
	}
	return work || (cq->parked && can_post(n, cq));
}

bool nvme_queues_arm(struct nvme *n)
{
	unsigned events = n->event_nr;
	bool work = false, pin = uses_pin(n);

	if (!nvme_is_running(n))
		return false;
	viommu_dma_begin(n->dma);
	for (unsigned i = 0; i <= n->top; i++)
		work |= arm_queue(n, i, pin);
	viommu_dma_end(n->dma);
	if (pin)
		nvme_update_intx(n);
	return work || n->event_nr != events;
}

void nvme_requests_init(struct nvme *n)
{
	n->free = NULL;
	n->parked = 0;
	for (unsigned i = 0; i < NVME_REQUESTS_NR; i++) {
		struct nvme_request *rq = &n->request[i];

		if (rq->lost)
			continue;
		rq->sg.iov = rq->iov;
		rq->sg.iov_max = NVME_PIECES_MAX;
		rq->sg.hold = rq->hold;
		rq->sg.hold_max = NVME_PIECES_MAX;
		if (i < NVME_REQUESTS_NR - 1)
			nvme_request_free(n, rq);
	}
}
