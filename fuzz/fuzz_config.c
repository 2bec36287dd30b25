/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommud's configuration files, of any bytes, as far as the settings they make.
 *
 * Invariants: a file that is refused says why, in words and with the place; one
 * that is taken leaves every setting within its limits; what was set is freed.
 */
#include "input.h"

#include <string.h>

#include "settings.h"

/* The file's name is part of every message. */
#define NAME "f"

static void check_endpoint(const struct endpoint_settings *e)
{
	FUZZ_CHECK(memchr(e->type, 0, sizeof(e->type)) && e->type[0]);
	FUZZ_CHECK(memchr(e->id, 0, sizeof(e->id)) && e->id[0]);
	FUZZ_CHECK(memchr(e->params, 0, sizeof(e->params)));
	FUZZ_CHECK(e->resv_nr <= DAEMON_RESV_MAX);
	for (unsigned i = 0; i < e->resv_nr; i++)
		FUZZ_CHECK(e->resv[i].start <= e->resv[i].last);
}

static void check(const struct settings *s)
{
	const struct iommu_settings *iommu = &s->iommu;

	FUZZ_CHECK((s->threads <= DAEMON_THREADS_MAX || s->threads == SETTINGS_AUTO) &&
		   s->socket_mode <= 0777);
	FUZZ_CHECK(s->poll.max_us <= DAEMON_POLL_US_MAX);
	FUZZ_CHECK(!iommu->granule || !(iommu->granule & (iommu->granule - 1)));
	FUZZ_CHECK(iommu->granule <= 64 << 10 && iommu->input_bits <= 64);
	FUZZ_CHECK(iommu->queue_size <= VIOMMU_VIRTQ_SIZE_MAX);
	FUZZ_CHECK(s->endpoints_nr <= DAEMON_ENDPOINTS_MAX);
	for (unsigned i = 0; i < s->endpoints_nr; i++)
		check_endpoint(&s->endpoints[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct settings *s = calloc(1, sizeof(*s));
	const struct config_handler handler = {settings_set, s};
	struct problem problem = {0};

	if (!config_parse(NAME, (const char *)data, len, &handler, &problem))
		FUZZ_CHECK(!strncmp(problem.text, NAME ":", 2));
	else if (!settings_validate(s, &problem))
		FUZZ_CHECK(problem.text[0]);
	else
		check(s);
	settings_free(s);
	return 0;
}
