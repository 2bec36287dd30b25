/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/endpoint.h"

#include "endpoints/options.h"
#include "endpoints/types.h"
#include "endpoints/util.h"

const struct endpoint_type *const endpoint_types[] = {
	&endpoint_blk, &endpoint_nvme, &endpoint_dmatest, &endpoint_net, NULL,
};

const struct endpoint_type *endpoint_type_find(const char *name)
{
	for (unsigned i = 0; endpoint_types[i]; i++)
		if (!strcmp(endpoint_types[i]->name, name))
			return endpoint_types[i];
	return NULL;
}

/* Options are too large for a small stack: borrowed from the allocator. */
static struct options *borrow_options(const struct endpoint_env *env)
{
	return endpoint_alloc(env->alloc, sizeof(struct options),
			      _Alignof(struct options));
}

int endpoint_create(const char *type, const struct endpoint_env *env, const char *options,
		    struct endpoint **out)
{
	const struct endpoint_type *t = endpoint_type_find(type);
	struct options *o;
	int r;

	if (!t)
		return endpoint_err(env->log, EINVAL,
				    "%s: there is no kind of endpoint '%s'",
				    env->name ? env->name : "endpoint", type);
	o = borrow_options(env);
	if (!o)
		return endpoint_err(env->log, ENOMEM, "%s: out of memory", type);
	r = options_parse(o, env->name ? env->name : type, options, env->log);
	if (!r)
		r = options_check(o, t->options);
	if (!r)
		r = t->create(env, o, out);
	endpoint_free(env->alloc, o, sizeof(*o));
	return r;
}

void endpoint_destroy(struct endpoint *ep)
{
	if (ep)
		ep->type->destroy(ep);
}

unsigned endpoint_poll(struct endpoint *ep, unsigned budget)
{
	return ep->type->poll ? ep->type->poll(ep, budget) : 0;
}

bool endpoint_arm(struct endpoint *ep)
{
	return ep->type->arm ? ep->type->arm(ep) : false;
}

int endpoint_fds(struct endpoint *ep, struct pollfd *fds, unsigned max)
{
	return ep->type->fds ? ep->type->fds(ep, fds, max) : 0;
}

int endpoint_timeout_ms(struct endpoint *ep)
{
	return ep->type->timeout_ms ? ep->type->timeout_ms(ep) : -1;
}

bool endpoint_busy(struct endpoint *ep)
{
	return ep->type->busy ? ep->type->busy(ep) : false;
}

bool endpoint_blocks(struct endpoint *ep)
{
	return ep->type->blocks ? ep->type->blocks(ep) : false;
}

void endpoint_reset(struct endpoint *ep)
{
	viommu_pci_reset(ep->function);
}

int endpoint_control(struct endpoint *ep, const char *verb, const char *args)
{
	struct options *o;
	int r;

	if (!ep->type->control)
		return endpoint_err(ep->env.log, EOPNOTSUPP, "%s: no command '%s'",
				    ep->name, verb);
	o = borrow_options(&ep->env);
	if (!o)
		return endpoint_err(ep->env.log, ENOMEM, "%s: out of memory", ep->name);
	r = options_parse(o, ep->name, args, ep->env.log);
	if (!r)
		r = ep->type->control(ep, verb, o);
	endpoint_free(ep->env.alloc, o, sizeof(*o));
	return r;
}

void endpoint_stats(struct endpoint *ep, endpoint_stat_fn *visit, void *opaque)
{
	ep->type->stats(ep, visit, opaque);
}

void endpoint_latencies(struct endpoint *ep, endpoint_latency_fn *visit, void *opaque)
{
	if (ep->type->latencies)
		ep->type->latencies(ep, visit, opaque);
}
