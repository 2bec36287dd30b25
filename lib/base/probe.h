/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Static probes (USDT): a nop each until somebody attaches. VIOMMU_SDT is set
 * by the build where <sys/sdt.h> exists; freestanding builds have none. Listed in
 * docs/tracing.md. */
#ifndef VIOMMU_LIB_PROBE_H
#define VIOMMU_LIB_PROBE_H

#ifdef VIOMMU_SDT
#include <sys/sdt.h>
#define PROBE1(name, a)                                                                  \
	({                                                                               \
		DTRACE_PROBE1(viommu, name, a);                                          \
		0;                                                                       \
	})
#define PROBE2(name, a, b)                                                               \
	({                                                                               \
		DTRACE_PROBE2(viommu, name, a, b);                                       \
		0;                                                                       \
	})
#define PROBE3(name, a, b, c)                                                            \
	({                                                                               \
		DTRACE_PROBE3(viommu, name, a, b, c);                                    \
		0;                                                                       \
	})
#define PROBE4(name, a, b, c, d)                                                         \
	({                                                                               \
		DTRACE_PROBE4(viommu, name, a, b, c, d);                                 \
		0;                                                                       \
	})
#define PROBE5(name, a, b, c, d, e)                                                      \
	({                                                                               \
		DTRACE_PROBE5(viommu, name, a, b, c, d, e);                              \
		0;                                                                       \
	})
#else
#define PROBE1(name, a)		 ((void)(a), 0)
#define PROBE2(name, a, b)	 ((void)(a), (void)(b), 0)
#define PROBE3(name, a, b, c)	 ((void)(a), (void)(b), (void)(c), 0)
#define PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d), 0)
#define PROBE5(name, a, b, c, d, e)                                                      \
	((void)(a), (void)(b), (void)(c), (void)(d), (void)(e), 0)
#endif

#endif
