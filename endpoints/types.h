/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The kinds of endpoint there are; endpoint.c lists them. */
#ifndef ENDPOINTS_TYPES_H
#define ENDPOINTS_TYPES_H

#include "endpoints/endpoint.h"

extern const struct endpoint_type endpoint_blk;
extern const struct endpoint_type endpoint_dmatest;
extern const struct endpoint_type endpoint_net;
extern const struct endpoint_type endpoint_nvme;

#endif /* ENDPOINTS_TYPES_H */
