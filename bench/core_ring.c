/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "core.h"

struct ring_result measure_ring(void)
{
	return (struct ring_result){0};
}
