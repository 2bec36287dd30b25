/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * dmatest: reads, writes, fills, sums and copies guest memory at any iova, holds
 * pages, raises interrupts. Commands run inside the register write, so a guest
 * that reads the status afterwards finds them finished.
 */
#include "endpoints/dmatest.h"

#include <viommu/dma.h>

#include "endpoints/options.h"
#include "endpoints/types.h"
#include "endpoints/util.h"

/* Bytes moved in one DMA section: an UNMAP waits for no more than this. */
#define SECTION_LEN 0x10000u

struct registers {
	uint32_t scratch, status, error, vector, commands;
	uint64_t iova, iova2, len, pattern;
	uint64_t result, done, fault;
};

struct stats {
	uint64_t commands, errors, blocked, bytes, interrupts, resets;
};

struct dmatest {
	struct endpoint ep;
	struct viommu_dma *dma;
	struct registers reg;
	struct viommu_sg held; /* arrays below */
	struct iovec held_iov[DMATEST_HOLDS_MAX];
	struct viommu_hold held_hold[DMATEST_HOLDS_MAX];
	struct stats stats;
	uint8_t buffer[DMATEST_BUFFER_LEN];
};

static struct dmatest *to_dmatest(struct endpoint *ep)
{
	return container_of(ep, struct dmatest, ep);
}

/* Handles one contiguous piece; d->reg.done bytes came before it. */
typedef void piece_fn(struct dmatest *d, uint8_t *hva, uint64_t len);

static void piece_read(struct dmatest *d, uint8_t *hva, uint64_t len)
{
	memcpy(d->buffer + d->reg.done, hva, len);
}

static void piece_write(struct dmatest *d, uint8_t *hva, uint64_t len)
{
	memcpy(hva, d->buffer + d->reg.done, len);
}

static void piece_fill(struct dmatest *d, uint8_t *hva, uint64_t len)
{
	memset(hva, (int)(d->reg.pattern & 0xff), len);
}

static void piece_sum(struct dmatest *d, uint8_t *hva, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		d->reg.result += hva[i];
}

static uint64_t piece_len(const struct registers *r)
{
	uint64_t left = r->len - r->done;

	return left < SECTION_LEN ? left : SECTION_LEN;
}

/* Inside a section. Notes where the access was blocked. */
static int translate(struct dmatest *d, uint64_t iova, uint64_t len, unsigned perm,
		     struct viommu_span *span)
{
	int r = viommu_dma_translate(d->dma, iova, len, perm, span);

	if (r)
		d->reg.fault = iova;
	return r;
}

/* All of [iova, iova + len), piece by piece, as far as it is reachable. */
static int each_piece(struct dmatest *d, unsigned perm, piece_fn *fn)
{
	struct registers *r = &d->reg;
	struct viommu_span span;
	int e = 0;

	while (!e && r->done < r->len) {
		viommu_dma_begin(d->dma);
		e = translate(d, r->iova + r->done, piece_len(r), perm, &span);
		if (!e) {
			fn(d, span.hva, span.len);
			r->done += span.len;
		}
		viommu_dma_end(d->dma);
	}
	return e;
}

static int copy_piece(struct dmatest *d)
{
	struct registers *r = &d->reg;
	struct viommu_span from, to;
	int e;

	e = translate(d, r->iova + r->done, piece_len(r), VIOMMU_READ, &from);
	if (e)
		return e;
	e = translate(d, r->iova2 + r->done, from.len, VIOMMU_WRITE, &to);
	if (e)
		return e;
	memmove(to.hva, from.hva, to.len);
	r->done += to.len;
	return 0;
}

static int copy(struct dmatest *d)
{
	int e = 0;

	while (!e && d->reg.done < d->reg.len) {
		viommu_dma_begin(d->dma);
		e = copy_piece(d);
		viommu_dma_end(d->dma);
	}
	return e;
}

static void raise_vector(struct dmatest *d, uint32_t vector)
{
	d->stats.interrupts++;
	viommu_pci_raise_msix(d->ep.function, vector);
}

static int raise(struct dmatest *d)
{
	if (d->reg.pattern >= DMATEST_VECTORS_NR)
		return -EINVAL;
	raise_vector(d, (uint32_t)d->reg.pattern);
	return 0;
}

/* pattern: VIOMMU_READ, VIOMMU_WRITE or both; neither means READ. */
static int hold(struct dmatest *d)
{
	unsigned perm = d->reg.pattern & (VIOMMU_READ | VIOMMU_WRITE);
	int r = viommu_dma_get(d->dma, d->reg.iova, d->reg.len, perm ? perm : VIOMMU_READ,
			       &d->held);

	if (r == -E2BIG)
		return -ERANGE;
	if (r)
		d->reg.fault = d->reg.iova;
	else
		d->reg.done = d->reg.len;
	return r;
}

static void release(struct dmatest *d)
{
	if (d->held.hold_nr || d->held.iov_nr)
		viommu_dma_put(d->dma, &d->held);
}

static bool moves_memory(uint32_t command)
{
	return command != DMATEST_RAISE && command != DMATEST_RELEASE;
}

/* What can be said before any memory is touched: 0 or -errno. */
static int check(const struct dmatest *d, uint32_t command)
{
	const struct registers *r = &d->reg;

	if (command < DMATEST_READ || command > DMATEST_RELEASE)
		return -EINVAL;
	/* A function that may not master the bus has nothing to release but what
	 * it took before, and that must be possible. */
	if (command != DMATEST_RELEASE && !viommu_pci_bus_master(d->ep.function))
		return -EACCES;
	if (!moves_memory(command))
		return 0;
	if (r->len > DMATEST_LEN_MAX ||
	    (command <= DMATEST_WRITE && r->len > DMATEST_BUFFER_LEN))
		return -ERANGE;
	if (r->len && (r->iova + (r->len - 1) < r->iova ||
		       (command == DMATEST_COPY && r->iova2 + (r->len - 1) < r->iova2)))
		return -ERANGE;
	return 0;
}

static int execute(struct dmatest *d, uint32_t command)
{
	switch (command) {
	case DMATEST_READ:
		return each_piece(d, VIOMMU_READ, piece_read);
	case DMATEST_WRITE:
		return each_piece(d, VIOMMU_WRITE, piece_write);
	case DMATEST_FILL:
		return each_piece(d, VIOMMU_WRITE, piece_fill);
	case DMATEST_SUM:
		return each_piece(d, VIOMMU_READ, piece_sum);
	case DMATEST_COPY:
		return copy(d);
	case DMATEST_RAISE:
		return raise(d);
	case DMATEST_HOLD:
		return hold(d);
	default:
		release(d);
		return 0;
	}
}

static void run(struct dmatest *d, uint32_t command)
{
	struct registers *r = &d->reg;
	int e;

	r->result = r->done = r->fault = 0;
	e = check(d, command);
	if (!e)
		e = execute(d, command);
	r->error = (uint32_t)-e;
	r->status = e ? DMATEST_ERROR : DMATEST_DONE;
	r->commands++;
	d->stats.commands++;
	d->stats.errors += e != 0;
	d->stats.blocked += e == -EFAULT;
	d->stats.bytes += r->done;
	if (r->vector < DMATEST_VECTORS_NR)
		raise_vector(d, r->vector);
}

/* ---- registers, in aligned slots of eight bytes ---- */

static uint64_t pair(uint32_t low, uint32_t high)
{
	return low | (uint64_t)high << 32;
}

static uint64_t read_slot(const struct registers *r, uint64_t slot)
{
	switch (slot) {
	case DMATEST_REG_MAGIC:
		return pair(DMATEST_MAGIC, DMATEST_VERSION);
	case DMATEST_REG_FEATURES:
		return pair(0, r->scratch);
	case DMATEST_REG_IOVA:
		return r->iova;
	case DMATEST_REG_IOVA2:
		return r->iova2;
	case DMATEST_REG_LEN:
		return r->len;
	case DMATEST_REG_PATTERN:
		return r->pattern;
	case DMATEST_REG_COMMAND:
		return pair(0, r->status);
	case DMATEST_REG_ERROR:
		return r->error;
	case DMATEST_REG_RESULT:
		return r->result;
	case DMATEST_REG_DONE:
		return r->done;
	case DMATEST_REG_FAULT:
		return r->fault;
	case DMATEST_REG_COMMANDS:
		return pair(r->commands, r->vector);
	default:
		return 0;
	}
}

static void merge(uint64_t *reg, uint64_t mask, uint64_t value)
{
	*reg = (*reg & ~mask) | (value & mask);
}

static void merge_high(uint32_t *reg, uint64_t mask, uint64_t value)
{
	*reg = (*reg & ~(uint32_t)(mask >> 32)) | (uint32_t)((value & mask) >> 32);
}

static void write_slot(struct dmatest *d, uint64_t slot, uint64_t mask, uint64_t value)
{
	struct registers *r = &d->reg;

	switch (slot) {
	case DMATEST_REG_FEATURES:
		merge_high(&r->scratch, mask, value);
		break;
	case DMATEST_REG_IOVA:
		merge(&r->iova, mask, value);
		break;
	case DMATEST_REG_IOVA2:
		merge(&r->iova2, mask, value);
		break;
	case DMATEST_REG_LEN:
		merge(&r->len, mask, value);
		break;
	case DMATEST_REG_PATTERN:
		merge(&r->pattern, mask, value);
		break;
	case DMATEST_REG_COMMAND:
		if ((uint32_t)mask == UINT32_MAX) /* parts of a command are none */
			run(d, (uint32_t)value);
		break;
	case DMATEST_REG_COMMANDS:
		merge_high(&r->vector, mask, value);
		break;
	}
}

static bool in_buffer(unsigned bar, uint64_t offset, unsigned len)
{
	return bar == 0 && offset >= DMATEST_BUFFER &&
	       offset - DMATEST_BUFFER <= DMATEST_BUFFER_LEN - len;
}

static uint64_t len_mask(unsigned len)
{
	return len >= 8 ? UINT64_MAX : (1ull << 8 * len) - 1;
}

static uint64_t bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len)
{
	struct dmatest *d = opaque;
	uint64_t v = 0;

	if (in_buffer(bar, offset, len)) {
		memcpy(&v, d->buffer + (offset - DMATEST_BUFFER), len);
		return le64toh(v);
	}
	if (bar != 0)
		return 0;
	v = read_slot(&d->reg, offset & ~7ull);
	return v >> 8 * (offset & 7) & len_mask(len);
}

static void bar_write(void *opaque, unsigned bar, uint64_t offset, unsigned len,
		      uint64_t value)
{
	struct dmatest *d = opaque;
	unsigned shift = 8 * (offset & 7);

	if (in_buffer(bar, offset, len)) {
		value = htole64(value);
		memcpy(d->buffer + (offset - DMATEST_BUFFER), &value, len);
	} else if (bar == 0) {
		write_slot(d, offset & ~7ull, len_mask(len) << shift, value << shift);
	}
}

static void clear(struct dmatest *d)
{
	release(d);
	memset(&d->reg, 0, sizeof(d->reg));
	memset(d->buffer, 0, sizeof(d->buffer));
	d->reg.vector = DMATEST_NO_VECTOR;
}

static void reset(void *opaque)
{
	struct dmatest *d = opaque;

	clear(d);
	d->stats.resets++;
}

/* ---- life ---- */

static const struct viommu_pci_config pci_config = {
	.vendor = DMATEST_VENDOR,
	.device = DMATEST_DEVICE,
	.subvendor = DMATEST_VENDOR,
	.subdevice = DMATEST_DEVICE,
	.revision = DMATEST_VERSION,
	.class_code = 0xff,
	.bar = {[0] = {.len = DMATEST_BAR_LEN}, [1] = {.len = 4096}},
	.msix_nr = DMATEST_VECTORS_NR,
	.msix_bar = 1,
	.flr = true,
};

static const struct viommu_pci_ops pci_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.reset = reset,
};

static void destroy(struct endpoint *ep)
{
	struct dmatest *d = to_dmatest(ep);
	const struct viommu_alloc *alloc = ep->env.alloc;

	if (d->dma)
		release(d);
	viommu_dma_destroy(d->dma);
	viommu_pci_destroy(ep->function);
	endpoint_free(alloc, d, sizeof(*d));
}

static int create(const struct endpoint_env *env, const struct options *options,
		  struct endpoint **out)
{
	struct dmatest *d =
		endpoint_alloc(env->alloc, sizeof(*d), _Alignof(struct dmatest));
	int r;

	(void)options;
	if (!d)
		return endpoint_err(env->log, ENOMEM, "%s: out of memory", env->name);
	endpoint_init(&d->ep, &endpoint_dmatest, env);
	d->held.iov = d->held_iov;
	d->held.hold = d->held_hold;
	d->held.iov_max = d->held.hold_max = DMATEST_HOLDS_MAX;
	d->reg.vector = DMATEST_NO_VECTOR;
	r = viommu_dma_create(env->iommu, env->mem, env->alloc, NULL, NULL, &d->dma);
	if (!r)
		r = viommu_pci_create(&pci_config, &pci_ops, d, env->alloc, env->log,
				      &d->ep.function);
	if (r) {
		destroy(&d->ep);
		return r;
	}
	*out = &d->ep;
	return 0;
}

static void stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque)
{
	struct dmatest *d = to_dmatest(ep);
	const struct stats *s = &d->stats;

	visit(opaque, "commands", s->commands);
	visit(opaque, "errors", s->errors);
	visit(opaque, "blocked", s->blocked);
	visit(opaque, "bytes", s->bytes);
	visit(opaque, "interrupts", s->interrupts);
	visit(opaque, "resets", s->resets);
	visit(opaque, "held", d->held.hold_nr);
}

static const struct endpoint_option option_table[] = {{NULL, NULL, NULL}};

const struct endpoint_type endpoint_dmatest = {
	.name = "dmatest",
	.summary = "a PCI function that does the DMA a guest program tells it to",
	.options = option_table,
	.create = create,
	.destroy = destroy,
	.stats = stats,
};
