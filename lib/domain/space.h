/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Inside lib/domain: what its sources share. Control side throughout. */
#ifndef VIOMMU_LIB_SPACE_H
#define VIOMMU_LIB_SPACE_H

#include "base/limits.h"
#include "base/list.h"
#include "base/pool.h"
#include "domain/context.h"
#include "domain/domain.h"
#include "domain/range_tree.h"

struct domain {
	struct view view; /* first: contexts point here */
	uint32_t id;
	uint32_t endpoints_nr;
	uint32_t mappings_nr;
	uint32_t mirrors_nr; /* contexts that want to hear of mappings */
	struct list endpoints;
	/* Replaced nodes of the tree that wait for the sections seen when they
	 * were moved here; what is replaced later gathers in view.tree.limbo. */
	struct range_limbo closed;
	/* Reserved regions of all endpoints, merged and sorted; owned. */
	struct viommu_resv *resv;
	unsigned resv_nr;
	unsigned resv_room; /* regions the allocation has room for */
};

struct viommu_endpoint {
	struct space *space;
	uint32_t id;
	uint32_t aliases_nr;
	uint32_t alias[LIMIT_ENDPOINT_ALIASES];
	struct domain *domain; /* NULL: unattached */
	struct list in_domain, contexts;
	uint32_t contexts_nr;
	struct viommu_resv *resv; /* sorted, owned */
	unsigned resv_nr;
	uint64_t faults;       /* any thread, relaxed */
	uint64_t hits, misses; /* of contexts that are gone */
};

struct space {
	struct space_config cfg;
	struct space_ops ops;
	void *opaque;
	void *owner;
	struct viommu_alloc alloc;
	const struct viommu_log *log;
	struct range_pools nodes;
	struct pool mappings;
	struct range_tree domains;   /* by id */
	struct range_tree endpoints; /* by id, aliases too */
	struct domain *recent;	     /* the domain found last */
	/* Where mappings were removed for which nobody waited yet, and how many;
	 * NULL: there are none. */
	struct domain *unsettled;
	uint32_t unsettled_nr;
	struct space_counts counts;
	/* Removed mappings that transfers still hold, linked through gpa:
	 * those of the removal under way, and those nobody waits for, which are
	 * looked at in turn: `lost_seen` are those that were, this time round. */
	struct viommu_mapping *pending, *lost, *lost_seen;
	uint32_t lost_nr;    /* in both lists */
	uint32_t let_go;     /* any thread: a removed mapping was let go */
	struct list waiting; /* contexts whose holds a removal waits for */
};

static inline void *space_alloc(struct space *s, size_t len)
{
	return s->alloc.alloc(s->alloc.opaque, len, CACHE_LINE);
}

static inline void space_free(struct space *s, void *p, size_t len)
{
	if (p)
		s->alloc.free(s->alloc.opaque, p, len);
}

struct domain *domain_find_slow(struct space *s, uint32_t id);
static inline struct domain *domain_find(struct space *s, uint32_t id)
{
	return likely(s->recent && s->recent->id == id) ? s->recent
							: domain_find_slow(s, id);
}
/* *out is a domain without endpoints. 0, -ENOSPC, -ENOMEM. */
int domain_create(struct space *s, uint32_t id, bool bypass, struct domain **out);
/* No endpoint, no mapping. */
void domain_destroy(struct space *s, struct domain *d);
/* Whether [start, last] meets a reserved region of an endpoint in the domain. */
bool domain_reserved(const struct domain *d, uint64_t start, uint64_t last);
/* Gets room for the regions of `more` too; 0, -ENOMEM. */
int domain_resv_reserve(struct space *s, struct domain *d,
			const struct viommu_endpoint *more);
/* Merges the regions of the endpoints anew; the room is there. */
void domain_resv_rebuild(struct domain *d);

/* ---- removals ---- */

/* Waits until no context of the domain's endpoints is in a section that was
 * open, for what was made unreachable before. */
void domain_wait_sections(struct domain *d);
void endpoint_wait_sections(struct viommu_endpoint *ep);
/* Gives the endpoint's contexts a new view and has them forget all cached
 * translations; the caller waits for sections. leaves: holds taken from now on
 * are counted apart from those taken before. */
void endpoint_set_view(struct viommu_endpoint *ep, const struct view *view, bool leaves);
const struct view *endpoint_view(const struct viommu_endpoint *ep);

/* Removes the domain's mappings that start in [start, last], waits for sections,
 * frees what nobody holds. What is held: to `pending` with revoke callbacks if
 * `wait`, else to `lost`. Returns how many mappings. */
uint32_t domain_remove(struct space *s, struct domain *d, uint64_t start, uint64_t last,
		       bool wait);
/* Has all contexts forget what they cached: a generation came round. */
void space_flush_contexts(struct space *s);
/* Gives back nodes that no reader looks at any more. */
static inline void space_settle_nodes(struct space *s, struct range_limbo *limbo)
{
	if (unlikely(s->nodes.wrapped))
		space_flush_contexts(s);
	range_limbo_settle(limbo, &s->nodes);
}
/* Frees replaced nodes if all contexts were seen outside; never waits for it. */
void domain_poll_limbo(struct space *s, struct domain *d);

/* A context's endpoint has entered or has left the domain: mirrors are told. */
void context_enter_domain(struct context *ctx, struct domain *d);
void context_exit_domain(struct context *ctx, struct domain *d);

/* Has a removal wait for what the endpoint's contexts hold; they are revoked. */
void endpoint_wait_holds(struct viommu_endpoint *ep);
/* Looks at LOST_STEPS lost mappings, whatever their number, and frees those that
 * were let go: each request does that much. */
#define LOST_STEPS 8u
void space_reap_some(struct space *s);
static inline void space_reap(struct space *s)
{
	if (unlikely(s->lost_nr))
		space_reap_some(s);
}
/* 0 or -EINPROGRESS. */
int space_removal_result(struct space *s);

#endif
