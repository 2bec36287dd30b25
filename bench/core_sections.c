/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * bench_core_sections: what it costs a reader to be seen, and a writer to wait
 * for readers, with our sections and with two flavours of a user-space RCU
 * library. The reader is outside while the writer's cost is taken.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>

#include "base/atomic.h"
#include "base/section.h"
#include "core.h"

#define OPS	2000000u
#define WAITS	2000u
#define ROUNDS	7u
#define READERS 3u /* idle ones that are waited for */

static struct section section[READERS + 1];
static uint64_t word = 1;
static bool stop;
static unsigned ready; /* atomic */

static double sections(void)
{
	uint64_t start = cpu_ns();

	for (unsigned i = 0; i < OPS; i++) {
		section_open(&section[0]);
		keep(load_relaxed(&word)); /* what it is all for */
		section_close(&section[0]);
	}
	return (double)(cpu_ns() - start) / OPS;
}

static double memb(void)
{
	uint64_t start = cpu_ns();

	for (unsigned i = 0; i < OPS; i++) {
		urcu_memb_read_lock();
		keep(load_relaxed(&word));
		urcu_memb_read_unlock();
	}
	return (double)(cpu_ns() - start) / OPS;
}

/* A quiescent state after each use: what a thread that may sleep has to do. */
static double qsbr(void)
{
	uint64_t start = cpu_ns();

	for (unsigned i = 0; i < OPS; i++) {
		urcu_qsbr_thread_online();
		keep(load_relaxed(&word));
		urcu_qsbr_thread_offline();
	}
	return (double)(cpu_ns() - start) / OPS;
}

static void wait_sections(void)
{
	section_fence();
	for (unsigned i = 0; i <= READERS; i++)
		section_wait(&section[i]);
}

static void wait_memb(void)
{
	urcu_memb_synchronize_rcu();
}

static void wait_qsbr(void)
{
	urcu_qsbr_synchronize_rcu();
}

/* Wall time: a grace period sleeps. */
static double waits(void (*wait)(void))
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < WAITS; i++)
		wait();
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) /
	       WAITS;
}

/* A reader that has nothing to do: known to the library, outside. */
static void *idle(void *arg)
{
	(void)arg;
	urcu_memb_register_thread();
	urcu_qsbr_register_thread();
	urcu_qsbr_thread_offline();
	add_relaxed(&ready, 1); /* a counter, no pair */
	while (!load_relaxed(&stop))
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	urcu_qsbr_unregister_thread();
	urcu_memb_unregister_thread();
	return NULL;
}

static void print(const char *name, double (*read)(void), void (*wait)(void))
{
	double r[ROUNDS], w[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		r[i] = read();
		w[i] = waits(wait);
	}
	printf("%-12s reader %7.2f ns in and out, writer %10.1f ns a wait\n", name,
	       median(r, ROUNDS), median(w, ROUNDS));
}

int main(void)
{
	pthread_t thread[READERS];

	urcu_memb_register_thread();
	urcu_qsbr_register_thread();
	for (unsigned i = 0; i < READERS; i++)
		pthread_create(&thread[i], NULL, idle, NULL);
	while (load_relaxed(&ready) != READERS)
		cpu_relax();
	print("sections", sections, wait_sections);
	urcu_qsbr_thread_offline();
	print("urcu memb", memb, wait_memb);
	print("urcu qsbr", qsbr, wait_qsbr);
	store_relaxed(&stop, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(thread[i], NULL);
	urcu_qsbr_unregister_thread();
	urcu_memb_unregister_thread();
	return 0;
}
