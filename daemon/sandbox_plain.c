/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* A build without a sanitizer: nothing beyond the list. */
#include "sandbox_extra.h"

const int sandbox_extra_calls[1] = {0};
const unsigned sandbox_extra_calls_nr = 0;

void sandbox_extra_prepare(void)
{
}
