/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The only place that names memory orders. Every use says in a comment which
 * access it pairs with and what goes wrong without it.
 */
#ifndef VIOMMU_LIB_ATOMIC_H
#define VIOMMU_LIB_ATOMIC_H

#define load_relaxed(p)	    __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p)	    __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define exchange_full(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define add_relaxed(p, v)   __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define add_acquire(p, v)   __atomic_fetch_add((p), (v), __ATOMIC_ACQUIRE)
#define add_acq_rel(p, v)   __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define sub_release(p, v)   __atomic_fetch_sub((p), (v), __ATOMIC_RELEASE)
#define or_relaxed(p, v)    __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define or_full(p, v)	    __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
/* Stores `desired` if *p is *expected; else loads it into *expected. */
#define cas_relaxed(p, expected, desired)                                                \
	__atomic_compare_exchange_n((p), (expected), (desired), false, __ATOMIC_RELAXED, \
				    __ATOMIC_RELAXED)
#define fence_full()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#endif
