/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Domains: attach and detach, and the record of mappings. The record says what
 * the device should have; requests for one domain enter the ring in the order
 * in which the record changed, because both happen under the domain's lock.
 */
#include "drv.h"

/* Wire flags have the same values. */
#define MAP_FLAGS (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE | VIOMMU_DRV_MMIO)

static uint32_t next_id(const struct viommu_drv *drv, uint32_t id)
{
	return id < drv->limits.domain_first || id >= drv->limits.domain_last
		       ? drv->limits.domain_first
		       : id + 1;
}

static bool has_id(const struct viommu_drv_domain *domain, uint32_t id)
{
	while (domain && domain->id != id)
		domain = domain->next;
	return domain;
}

static bool id_used(const struct viommu_drv *drv, uint32_t id)
{
	return has_id(drv->domains, id) || has_id(drv->retired, id);
}

/* A number that no domain has; the last one freed comes late. */
static int choose_id(struct viommu_drv *drv, uint32_t *id)
{
	uint32_t first = drv->next_domain, try;

	if (first < drv->limits.domain_first || first > drv->limits.domain_last)
		first = drv->limits.domain_first;
	/* Ends soon: among one more than there are numbers in use one is free,
	 * unless the range is smaller than that. */
	try = first;
	do {
		if (!id_used(drv, try)) {
			*id = try;
			drv->next_domain = next_id(drv, try);
			return 0;
		}
		try = next_id(drv, try);
	} while (try != first);
	return err(ENOSPC, "domain numbers");
}

static int check_config(const struct viommu_drv *drv,
			const struct viommu_drv_domain_config *config)
{
	if (config->bypass && !drv_has(drv, VIRTIO_IOMMU_F_BYPASS_CONFIG))
		return err(EOPNOTSUPP, "bypass domains need BYPASS_CONFIG");
	if (!config->bypass && !drv_has(drv, VIRTIO_IOMMU_F_MAP_UNMAP))
		return err(EOPNOTSUPP, "mappings need MAP_UNMAP");
	if (config->mode > VIOMMU_DRV_LAZY_SINGLE ||
	    config->flush_entries > LIMIT_DRV_FLUSH_ENTRIES ||
	    config->iova_first > config->iova_last)
		return err(EINVAL, "domain configuration");
	return 0;
}

int viommu_drv_domain_create(struct viommu_drv *drv,
			     const struct viommu_drv_domain_config *config,
			     struct viommu_drv_domain **out)
{
	const struct viommu_drv_domain_config none = {0};
	struct viommu_drv_domain *domain;
	int r;

	if (!config)
		config = &none;
	r = check_config(drv, config);
	if (r)
		return r;
	domain = drv_alloc(drv, sizeof(*domain));
	if (!domain)
		return err(ENOMEM, "domain");
	domain->drv = drv;
	domain->bypass = config->bypass;
	drv_lock_init(drv, &domain->lock);
	drv_tree_init(&domain->mappings, &drv->platform, drv->platform_opaque);
	drv_tree_init(&domain->resv, &drv->platform, drv->platform_opaque);
	r = choose_id(drv, &domain->id);
	if (!r)
		r = drv_dma_init(domain, config);
	if (r) {
		drv_free(drv, domain, sizeof(*domain));
		return r;
	}
	domain->reqq = &drv->reqq[domain->id % drv->reqq_nr];
	domain->next = drv->domains;
	drv->domains = domain;
	*out = domain;
	return 0;
}

void viommu_drv_domain_destroy(struct viommu_drv_domain *domain)
{
	struct viommu_drv_domain **link;
	struct viommu_drv *drv;

	if (!domain)
		return;
	drv = domain->drv;
	for (link = &drv->domains; *link != domain; link = &(*link)->next)
		;
	*link = domain->next;
	drv_dma_fini(domain);
	drv_tree_fini(&domain->mappings);
	drv_tree_fini(&domain->resv);
	if (domain->ghosts_nr) {
		/* In another domain of that number, its mappings would be open to
		 * them: the shell keeps it, which takes no memory that could be
		 * missing. */
		domain->next = drv->retired;
		drv->retired = domain;
		return;
	}
	drv_free(drv, domain, sizeof(*domain));
}

void drv_domain_free_retired(struct viommu_drv *drv)
{
	struct viommu_drv_domain *domain;

	while ((domain = drv->retired)) {
		drv->retired = domain->next;
		drv_free(drv, domain, sizeof(*domain));
	}
}

uint32_t viommu_drv_domain_id(const struct viommu_drv_domain *domain)
{
	return domain->id;
}

/* ---- mappings ---- */

/* Lock held. Whether the device has, or is getting, what starts at `start`. */
static bool told(const struct viommu_drv_domain *domain, uint64_t start)
{
	return domain->told_all || start < domain->told_below;
}

static void post_map(struct viommu_drv_domain *domain, struct drv_request *req,
		     const struct drv_range *range, struct viommu_drv_batch *batch)
{
	struct drv_wire *wire = drv_reqq_wire(domain->reqq, req);

	req->type = VIRTIO_IOMMU_T_MAP;
	req->start = range->start;
	req->last = range->last;
	wire->map = (struct virtio_iommu_req_map){
		.head.type = VIRTIO_IOMMU_T_MAP,
		.domain = le32(domain->id),
		.virt_start = le64(range->start),
		.virt_last = le64(range->last),
		.phys_start = le64(range->pa),
		.flags = le32(range->flags & MAP_FLAGS),
	};
	drv_reqq_post(domain->reqq, req, sizeof(wire->map), batch);
}

static void post_unmap(struct viommu_drv_domain *domain, struct drv_request *req,
		       uint64_t start, uint64_t last, struct viommu_drv_batch *batch)
{
	struct drv_wire *wire = drv_reqq_wire(domain->reqq, req);

	req->type = VIRTIO_IOMMU_T_UNMAP;
	req->start = start;
	req->last = last;
	wire->unmap = (struct virtio_iommu_req_unmap){
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = le32(domain->id),
		.virt_start = le64(start),
		.virt_last = le64(last),
	};
	drv_reqq_post(domain->reqq, req, sizeof(wire->unmap), batch);
}

static int check_flags(const struct viommu_drv *drv, unsigned flags)
{
	if (!(flags & (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)) || flags & ~MAP_FLAGS)
		return err(EINVAL, "no permission, or an unknown flag");
	if (flags & VIOMMU_DRV_MMIO && !drv_has(drv, VIRTIO_IOMMU_F_MMIO))
		return err(EOPNOTSUPP, "MMIO was not negotiated");
	return 0;
}

static int check_range(const struct viommu_drv *drv, const struct drv_range *range)
{
	uint64_t low = drv->limits.granule - 1;

	if (range->last <= range->start)
		return err(EINVAL, "last <= start");
	if ((range->start | (range->last + 1) | range->pa) & low)
		return err(ERANGE, "not aligned to the granule");
	if (range->pa + (range->last - range->start) < range->pa)
		return err(ERANGE, "pa wraps around");
	if (range->start < drv->limits.input_start ||
	    range->last > drv->limits.input_last)
		return err(ERANGE, "outside the input range");
	return 0;
}

static int join_batch(struct viommu_drv_domain *domain, struct viommu_drv_batch *batch)
{
	if (domain->bypass)
		return err(EINVAL, "a bypass domain has no mappings");
	if (batch->domain && batch->domain != domain)
		return err(EINVAL, "the batch is another domain's");
	batch->domain = domain;
	return 0;
}

static int map_locked(struct viommu_drv_domain *domain, const struct drv_range *range,
		      struct viommu_drv_batch *batch)
{
	const struct drv_range *resv = drv_tree_find(&domain->resv, range->start);
	bool send = told(domain, range->start);
	struct drv_request *req = NULL;
	int r = 0;

	if (resv && resv->start <= range->last)
		return err(EBUSY, "in a reserved region");
	if (send)
		r = drv_reqq_take(domain->reqq, &req);
	else if (domain->endpoints_nr)
		/* A replay tells it, but for one that a failed reset ended. */
		r = load_relaxed(&domain->reqq->broken);
	if (r)
		return r;
	r = drv_tree_insert(&domain->mappings, range);
	if (!send)
		return r;
	if (r)
		drv_reqq_untake(domain->reqq, req);
	else
		post_map(domain, req, range, batch);
	return r;
}

/* Lock held. What map and unmap do to the record and the ring; -EAGAIN: it changed
 * nothing, there is no room. */
typedef int change_step(struct viommu_drv_domain *domain, const struct drv_range *range,
			struct viommu_drv_batch *batch);

/* Does the step, and waits without the lock while the ring is full. */
static int change(struct viommu_drv_domain *domain, change_step *step,
		  const struct drv_range *range, struct viommu_drv_batch *batch)
{
	int r;

	do {
		uintptr_t state = drv_lock(domain->drv, &domain->lock);

		r = step(domain, range, batch);
		drv_unlock(domain->drv, &domain->lock, state);
		if (r != -EAGAIN)
			break;
		r = drv_reqq_wait_room(domain->reqq);
	} while (!r);
	return r;
}

int viommu_drv_map(struct viommu_drv_domain *domain, uint64_t start, uint64_t last,
		   uint64_t pa, unsigned flags, struct viommu_drv_batch *batch)
{
	struct drv_range range = {.start = start, .last = last, .pa = pa, .flags = flags};
	struct viommu_drv *drv = domain->drv;
	int r = join_batch(domain, batch);

	if (!r)
		r = check_flags(drv, flags);
	if (!r)
		r = check_range(drv, &range);
	return r ? r : change(domain, map_locked, &range, batch);
}

/* The request covers whole mappings from the first to the last one
 * and so never cuts one, whatever was asked for. */
static int unmap_locked(struct viommu_drv_domain *domain, const struct drv_range *range,
			struct viommu_drv_batch *batch)
{
	const struct drv_range *first = drv_tree_find(&domain->mappings, range->start);
	uint64_t start, last = range->last, nr, end;
	struct drv_request *req = NULL;
	int r = 0;

	if (!first || first->start > last)
		return 0;
	start = first->start;
	/* What is one mapping, and that is most, is not looked for again. */
	if ((start < range->start || first->last != last) &&
	    drv_tree_cuts(&domain->mappings, range->start, last))
		return err(ERANGE, "would cut a mapping");
	if (told(domain, start))
		r = drv_reqq_take(domain->reqq, &req);
	if (r == -EAGAIN)
		return r;
	/* Forgotten also if the queue is quarantined: a reset must not bring
	 * them back. */
	nr = drv_tree_remove(&domain->mappings, start, last, &end);
	if (r)
		return r;
	if (req)
		post_unmap(domain, req, start, end, batch);
	return nr > INT32_MAX ? INT32_MAX : (int)nr;
}

int viommu_drv_unmap(struct viommu_drv_domain *domain, uint64_t start, uint64_t last,
		     struct viommu_drv_batch *batch)
{
	const struct drv_range range = {.start = start, .last = last};
	int r = join_batch(domain, batch);

	if (!r && last < start)
		r = err(EINVAL, "last < start");
	return r ? r : change(domain, unmap_locked, &range, batch);
}

int viommu_drv_sync(struct viommu_drv *drv, struct viommu_drv_batch *batch)
{
	int r = 0;

	(void)drv;
	if (batch->domain)
		r = drv_reqq_sync(batch->domain->reqq, batch);
	batch->domain = NULL;
	batch->error = 0;
	return r;
}

int viommu_drv_lookup(struct viommu_drv_domain *domain, uint64_t iova, uint64_t *pa)
{
	uintptr_t state = drv_lock(domain->drv, &domain->lock);
	const struct drv_range *range = drv_tree_find(&domain->mappings, iova);
	bool found = range && range->start <= iova;

	if (found)
		*pa = range->pa + (iova - range->start);
	drv_unlock(domain->drv, &domain->lock, state);
	return found ? 0 : err(ENOENT, "not mapped");
}

/* ---- attach and detach ---- */

static int take_for_control(struct viommu_drv_domain *domain, struct drv_request **req)
{
	int r;

	while ((r = drv_reqq_take(domain->reqq, req)) == -EAGAIN) {
		r = drv_reqq_wait_room(domain->reqq);
		if (r)
			break;
	}
	return r;
}

static int send_attach(struct viommu_drv_domain *domain, struct viommu_drv_endpoint *ep)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct drv_request *req;
	struct drv_wire *wire;
	int r = take_for_control(domain, &req);

	if (r)
		return r;
	wire = drv_reqq_wire(domain->reqq, req);
	req->type = VIRTIO_IOMMU_T_ATTACH;
	req->start = req->last = 0;
	wire->attach = (struct virtio_iommu_req_attach){
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.domain = le32(domain->id),
		.endpoint = le32(ep->id),
		.flags = le32(domain->bypass ? VIRTIO_IOMMU_ATTACH_F_BYPASS : 0),
	};
	drv_reqq_post(domain->reqq, req, sizeof(wire->attach), &batch);
	return drv_reqq_sync(domain->reqq, &batch);
}

static int send_detach(struct viommu_drv_domain *domain, struct viommu_drv_endpoint *ep)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct drv_request *req;
	struct drv_wire *wire;
	int r = take_for_control(domain, &req);

	if (r)
		return r;
	wire = drv_reqq_wire(domain->reqq, req);
	req->type = VIRTIO_IOMMU_T_DETACH;
	req->start = req->last = 0;
	wire->detach = (struct virtio_iommu_req_detach){
		.head.type = VIRTIO_IOMMU_T_DETACH,
		.domain = le32(domain->id),
		.endpoint = le32(ep->id),
	};
	drv_reqq_post(domain->reqq, req, sizeof(wire->detach), &batch);
	return drv_reqq_sync(domain->reqq, &batch);
}

static void link_endpoint(struct viommu_drv_domain *domain,
			  struct viommu_drv_endpoint *ep)
{
	uintptr_t state = drv_lock(domain->drv, &domain->lock);

	domain->endpoints_nr++;
	domain->untrusted_nr += ep->untrusted;
	drv_unlock(domain->drv, &domain->lock, state);
	/* Pairs with the acquire in dma.c: who sees the domain sees it ready. */
	store_release(&ep->domain, domain);
}

void drv_domain_unlink(struct viommu_drv_endpoint *ep, bool gone)
{
	struct viommu_drv_domain *domain = ep->domain;
	uintptr_t state = drv_lock(domain->drv, &domain->lock);

	domain->untrusted_nr -= ep->untrusted;
	domain->ghosts_nr += !gone;
	if (!--domain->endpoints_nr && !domain->ghosts_nr) {
		/* The device forgets a domain that nothing is attached to. */
		domain->told_all = false;
		domain->told_below = 0;
	}
	drv_unlock(domain->drv, &domain->lock, state);
	store_relaxed(&ep->domain, NULL);
}

/* One step of the replay: 1: a request was posted; 0: all is told; else as
 * drv_reqq_take(). */
static int replay_one(struct viommu_drv_domain *domain, struct viommu_drv_batch *batch)
{
	const struct drv_range *range =
		drv_tree_find(&domain->mappings, domain->told_below);
	struct drv_request *req;
	int r;

	/* One that reaches over the mark was told when it was made. */
	if (range && range->start < domain->told_below)
		range = range->last == UINT64_MAX
				? NULL
				: drv_tree_find(&domain->mappings, range->last + 1);
	if (!range) {
		domain->told_all = true;
		return 0;
	}
	r = drv_reqq_take(domain->reqq, &req);
	if (r)
		return r;
	post_map(domain, req, range, batch);
	domain->told_all = range->last == UINT64_MAX;
	domain->told_below = range->last + 1;
	return !domain->told_all;
}

/* Tells the device all mappings; others may map and unmap meanwhile. */
static int replay(struct viommu_drv_domain *domain)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	int r, sync;

	do {
		uintptr_t state = drv_lock(domain->drv, &domain->lock);

		r = domain->bypass || domain->told_all ? 0 : replay_one(domain, &batch);
		drv_unlock(domain->drv, &domain->lock, state);
		if (r == -EAGAIN) {
			r = drv_reqq_wait_room(domain->reqq);
			if (!r)
				r = 1;
		}
	} while (r > 0 && !load_relaxed(&batch.error));
	sync = drv_reqq_sync(domain->reqq, &batch);
	return r < 0 ? r : sync;
}

/* Attaches in the device and in the record; leaves the old domain if need be. */
static int join(struct viommu_drv_domain *domain, struct viommu_drv_endpoint *ep)
{
	int r = send_attach(domain, ep);

	if (r)
		return r;
	if (ep->domain)
		drv_domain_unlink(ep, true);
	link_endpoint(domain, ep);
	r = replay(domain);
	/* Half a domain is worse than none. If even this fails the endpoint may
	 * reach what was told, so the record must not say that it cannot. */
	if (r && !send_detach(domain, ep))
		drv_domain_unlink(ep, true);
	return r;
}

/* Adds the endpoint's reserved regions to the domain's. */
static int reserve_regions(struct viommu_drv_domain *domain,
			   const struct viommu_drv_endpoint *ep)
{
	uintptr_t state = drv_lock(domain->drv, &domain->lock);
	int r = 0;

	for (unsigned i = 0; !r && i < ep->resv_nr; i++) {
		const struct drv_range *range =
			drv_tree_find(&domain->mappings, ep->resv[i].start);

		if (range && range->start <= ep->resv[i].last)
			r = err(EBUSY, "a mapping lies in a reserved region");
	}
	for (unsigned i = 0; !r && i < ep->resv_nr; i++)
		r = drv_tree_unite(&domain->resv, ep->resv[i].start, ep->resv[i].last);
	drv_unlock(domain->drv, &domain->lock, state);
	return r;
}

/* VIRTIO 1.4, ATTACH: endpoints that cannot be isolated share a domain. */
static bool group_is_elsewhere(const struct viommu_drv_domain *domain,
			       const struct viommu_drv_endpoint *ep)
{
	const struct viommu_drv_endpoint *mate = ep->group ? ep->drv->endpoints : NULL;

	for (; mate; mate = mate->next)
		if (mate != ep && mate->group == ep->group && mate->domain &&
		    mate->domain != domain)
			return true;
	return false;
}

static int prepare(struct viommu_drv_domain *domain, struct viommu_drv_endpoint *ep)
{
	int r;

	if (domain->bypass)
		return 0;
	/* What was unmapped lazily is no business of the newcomer's. */
	r = ep->untrusted ? drv_dma_force_strict(domain) : viommu_drv_dma_flush(domain);
	if (!r)
		r = reserve_regions(domain, ep);
	for (unsigned i = 0; !r && i < ep->resv_nr; i++)
		r = drv_iova_reserve(&domain->dma.iova, ep->resv[i].start,
				     ep->resv[i].last);
	return r;
}

int viommu_drv_attach(struct viommu_drv_domain *domain, struct viommu_drv_endpoint *ep)
{
	struct viommu_drv_domain *old = ep->domain;
	int r;

	if (old == domain)
		return 0;
	if (domain->drv != ep->drv)
		return err(EINVAL, "of different drivers");
	if (group_is_elsewhere(domain, ep))
		return err(EBUSY, "its group is attached to another domain");
	r = prepare(domain, ep);
	if (r)
		return r;
	r = join(domain, ep);
	/* A device need not be able to move an endpoint. */
	if (r == -EOPNOTSUPP && ep->domain == old && old && !viommu_drv_detach(ep))
		r = join(domain, ep);
	if (r && old && ep->domain != old)
		(void)join(old, ep);
	return r;
}

int viommu_drv_detach(struct viommu_drv_endpoint *ep)
{
	int r;

	if (!ep->domain)
		return err(ENOENT, "not attached");
	r = send_detach(ep->domain, ep);
	if (!r)
		drv_domain_unlink(ep, true);
	return r;
}

/* ---- after a reset of the device ---- */

void drv_domain_forget_told(struct viommu_drv_domain *domain)
{
	uintptr_t state = drv_lock(domain->drv, &domain->lock);

	domain->told_all = false;
	domain->told_below = 0;
	domain->ghosts_nr = 0;
	drv_unlock(domain->drv, &domain->lock, state);
	/* Nothing is reachable any more: this sends nothing. */
	drv_dma_after_reset(domain);
}

int drv_domain_rebuild(struct viommu_drv_domain *domain)
{
	struct viommu_drv_endpoint *ep;
	int r = 0;

	for (ep = domain->drv->endpoints; !r && ep; ep = ep->next)
		if (ep->domain == domain)
			r = send_attach(domain, ep);
	if (!r && domain->endpoints_nr)
		r = replay(domain);
	return r;
}
