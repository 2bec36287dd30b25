/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The baseline: GLib trees under one recursive mutex. Endpoints and domains are
 * found by id first; a mapping is two heap objects, an interval and what it maps
 * to; intervals compare equal when they overlap.
 */
#include <glib.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "core.h"

struct interval {
	uint64_t low, high;
};
struct target {
	uint64_t gpa;
	uint32_t flags;
};
struct domain {
	uint32_t id;
	GTree *mappings;
};
struct endpoint {
	uint32_t id;
	struct domain *domain;
};
struct baseline {
	pthread_mutex_t mutex;
	GTree *domains, *endpoints;
	size_t before; /* heap in use */
};

#define DOMAIN	 1u
#define ENDPOINT 8u

static gint compare_intervals(gconstpointer a, gconstpointer b, gpointer unused)
{
	const struct interval *x = a, *y = b;

	(void)unused;
	if (x->high < y->low)
		return -1;
	return y->high < x->low;
}

static gint compare_ids(gconstpointer a, gconstpointer b, gpointer unused)
{
	unsigned x = GPOINTER_TO_UINT(a), y = GPOINTER_TO_UINT(b);

	(void)unused;
	return (x > y) - (x < y);
}

static void add_ids(struct baseline *b)
{
	struct domain *d = g_new0(struct domain, 1);

	d->id = DOMAIN;
	d->mappings = g_tree_new_full(compare_intervals, NULL, g_free, g_free);
	g_tree_insert(b->domains, GUINT_TO_POINTER(DOMAIN), d);
	for (unsigned id = ENDPOINT; id < ENDPOINT + 4; id++) {
		struct endpoint *ep = g_new0(struct endpoint, 1);

		ep->id = id;
		ep->domain = d;
		g_tree_insert(b->endpoints, GUINT_TO_POINTER(id), ep);
	}
}

static void *create(void)
{
	struct baseline *b = g_new0(struct baseline, 1);
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&b->mutex, &attr);
	b->domains = g_tree_new_full(compare_ids, NULL, NULL, NULL);
	b->endpoints = g_tree_new_full(compare_ids, NULL, NULL, g_free);
	add_ids(b);
	b->before = mallinfo2().uordblks;
	return b;
}

static void destroy(void *t)
{
	struct baseline *b = t;
	struct domain *d = g_tree_lookup(b->domains, GUINT_TO_POINTER(DOMAIN));

	g_tree_destroy(d->mappings);
	g_free(d);
	g_tree_destroy(b->domains);
	g_tree_destroy(b->endpoints);
	pthread_mutex_destroy(&b->mutex);
	g_free(b);
}

static void map(void *t, uint64_t iova, uint64_t gpa)
{
	struct baseline *b = t;
	struct interval *interval;
	struct target *target;
	struct domain *d;

	pthread_mutex_lock(&b->mutex);
	d = g_tree_lookup(b->domains, GUINT_TO_POINTER(DOMAIN));
	interval = g_new0(struct interval, 1);
	interval->low = iova;
	interval->high = iova + (1u << PAGE_LG2) - 1;
	if (g_tree_lookup(d->mappings, interval)) {
		g_free(interval);
	} else {
		target = g_new0(struct target, 1);
		target->gpa = gpa;
		target->flags = VIOMMU_READ | VIOMMU_WRITE;
		g_tree_insert(d->mappings, interval, target);
	}
	pthread_mutex_unlock(&b->mutex);
}

static void unmap(void *t, uint64_t iova)
{
	struct baseline *b = t;
	struct interval interval = {iova, iova + (1u << PAGE_LG2) - 1};
	gpointer key, value;
	struct domain *d;

	pthread_mutex_lock(&b->mutex);
	d = g_tree_lookup(b->domains, GUINT_TO_POINTER(DOMAIN));
	while (g_tree_lookup_extended(d->mappings, &interval, &key, &value))
		g_tree_remove(d->mappings, key);
	pthread_mutex_unlock(&b->mutex);
}

static uint64_t lookup(void *t, uint64_t iova)
{
	struct baseline *b = t;
	struct interval interval = {iova, iova + 1};
	gpointer key, value;
	struct endpoint *ep;
	uint64_t out = UINT64_MAX;

	pthread_mutex_lock(&b->mutex);
	ep = g_tree_lookup(b->endpoints, GUINT_TO_POINTER(ENDPOINT));
	if (ep && ep->domain &&
	    g_tree_lookup_extended(ep->domain->mappings, &interval, &key, &value)) {
		const struct target *target = value;

		if (target->flags & VIOMMU_READ)
			out = iova - ((struct interval *)key)->low + target->gpa;
	}
	pthread_mutex_unlock(&b->mutex);
	return out;
}

static size_t bytes(void *t)
{
	struct baseline *b = t;

	return mallinfo2().uordblks - b->before;
}

const struct table table_gtree = {"GTree", create, destroy, map, unmap, lookup, bytes};
