/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Traces: filters, rings that fill up, readers that are slow, one thread that writes
 * and one that reads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>
#include <viommu/proto.h>

#include "test.h"
#include "trace.h"
#include "trace_json.h"

struct fixture {
	struct traces traces;
	struct faults faults;
	char text[16384];
};

static const struct trace_filter everything = {
	.types = 0x3f, .status = TRACE_ANY_STATUS, .faults = true};

static struct fixture *start(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	faults_init(&f->faults);
	return f;
}

static void finish(struct fixture *f)
{
	traces_free(&f->traces);
	free(f);
}

/* As the server does it; the place. */
static unsigned subscribe(struct fixture *f, unsigned client,
			  const struct trace_filter *filter)
{
	struct problem problem = {0};
	int place = traces_find_place(&f->traces, client, &problem);

	assert_true(place >= 0);
	trace_ring_begin(&f->traces.ring[place], filter, NULL);
	traces_begin(&f->traces, (unsigned)place, client, filter, &f->faults);
	return (unsigned)place;
}

static const char *take(struct fixture *f, unsigned client)
{
	size_t len =
		traces_take(&f->traces, client, &f->faults, f->text, sizeof(f->text) - 1);

	f->text[len] = 0;
	return f->text;
}

static struct viommu_request_info map_of(uint32_t domain)
{
	return (struct viommu_request_info){.time_ns = 1000,
					    .duration_ns = 70,
					    .type = VIRTIO_IOMMU_T_MAP,
					    .domain = domain,
					    .start = 0x1000,
					    .last = 0x1fff,
					    .gpa = 0x8000,
					    .flags = 3,
					    .answered = true};
}

static struct viommu_request_info attach_of(uint32_t domain, uint32_t endpoint)
{
	return (struct viommu_request_info){.type = VIRTIO_IOMMU_T_ATTACH,
					    .domain = domain,
					    .endpoint = endpoint,
					    .answered = true};
}

static void lines(void **state)
{
	struct fixture *f = start();
	struct viommu_request_info info = map_of(7);
	struct fault fault = {.time_ns = 500,
			      .address = 0x2000,
			      .endpoint = 8,
			      .reason = VIRTIO_IOMMU_FAULT_R_MAPPING,
			      .flags = VIRTIO_IOMMU_FAULT_F_WRITE |
				       VIRTIO_IOMMU_FAULT_F_ADDRESS};

	(void)state;
	assert_false(traces_add(&f->traces, &info)); /* nobody wants it */
	subscribe(f, 2, &everything);
	assert_true(traces_any(&f->traces));
	assert_true(traces_add(&f->traces, &info));
	faults_add(&f->faults, &fault);
	assert_string_equal(take(f, 1), "");
	assert_string_equal(
		take(f, 2),
		"{\"event\":\"fault\",\"time_ns\":500,\"endpoint\":8,\"reason\":"
		"\"mapping\",\"access\":\"w\",\"address\":\"0x2000\"}\n"
		"{\"event\":\"request\",\"time_ns\":1000,\"type\":\"map\",\"domain\":7,"
		"\"start\":\"0x1000\",\"last\":\"0x1fff\",\"gpa\":\"0x8000\",\"flags\":"
		"\"rw\",\"status\":\"ok\",\"duration_ns\":70}\n");
	assert_string_equal(take(f, 2), "");
	info.answered = false;
	info.type = 0;
	traces_add(&f->traces, &info);
	assert_string_equal(
		take(f, 2),
		"{\"event\":\"request\",\"time_ns\":1000,\"type\":\"unknown\","
		"\"status\":\"unanswered\",\"duration_ns\":70}\n");
	assert_true(traces_end(&f->traces, 2));
	assert_false(traces_end(&f->traces, 2));
	assert_false(traces_add(&f->traces, &info));
	finish(f);
}

/* The longest line of each kind fits. */
static void line_length(void **state)
{
	struct viommu_request_info info;
	struct fault fault;
	char text[4096];

	(void)state;
	memset(&info, 0xff, sizeof(info));
	info.answered = info.parked = true;
	info.status = VIRTIO_IOMMU_S_UNSUPP;
	for (info.type = 0; info.type < VIOMMU_REQUEST_TYPES_NR; info.type++)
		assert_true(trace_request_json(text, sizeof(text), &info) <
			    TRACE_LINE_LEN_MAX);
	memset(&fault, 0xff, sizeof(fault));
	assert_true(trace_fault_json(text, sizeof(text), &fault) < TRACE_LINE_LEN_MAX);
	assert_true(trace_dropped_json(text, sizeof(text), UINT64_MAX, UINT64_MAX) <
		    TRACE_LINE_LEN_MAX);
}

static bool passes(const struct trace_filter *filter,
		   const struct viommu_request_info *info)
{
	struct fixture *f = start();
	bool passed;

	subscribe(f, 0, filter);
	traces_add(&f->traces, info);
	passed = take(f, 0)[0] != 0;
	finish(f);
	return passed;
}

static void filters(void **state)
{
	struct trace_filter filter = everything;
	struct viommu_request_info info = map_of(7);

	(void)state;
	assert_true(passes(&filter, &info));
	filter.types = 1u << VIRTIO_IOMMU_T_UNMAP;
	assert_false(passes(&filter, &info));
	filter.types = 1u << VIRTIO_IOMMU_T_MAP;
	assert_true(passes(&filter, &info));
	filter.status = TRACE_NOT_OK;
	assert_false(passes(&filter, &info));
	info.status = VIRTIO_IOMMU_S_INVAL;
	assert_true(passes(&filter, &info));
	filter.status = VIRTIO_IOMMU_S_INVAL;
	assert_true(passes(&filter, &info));
	filter.status = VIRTIO_IOMMU_S_OK;
	assert_false(passes(&filter, &info));
	info.status = VIRTIO_IOMMU_S_OK;
	info.answered = false;
	assert_false(passes(&filter, &info));
	filter = everything;
	filter.one_domain = true;
	filter.domain = 8;
	assert_false(passes(&filter, &info));
	filter.domain = 7;
	assert_true(passes(&filter, &info));
}

/* MAP names no endpoint: those of the domain it is in count. */
static void follows_endpoint(void **state)
{
	struct trace_filter filter = everything;
	struct fixture *f = start();
	struct viommu_request_info map = map_of(7), attach = attach_of(7, 5);

	(void)state;
	filter.one_endpoint = true;
	filter.endpoint = 5;
	subscribe(f, 0, &filter);
	traces_add(&f->traces, &map);
	assert_string_equal(take(f, 0), "");
	traces_add(&f->traces, &attach);
	traces_add(&f->traces, &map);
	assert_non_null(strstr(take(f, 0), "\"attach\""));
	assert_non_null(strstr(f->text, "\"map\""));
	attach.endpoint = 6;
	attach.domain = 9;
	traces_add(&f->traces, &attach); /* another's */
	traces_add(&f->traces, &map);
	assert_null(strstr(take(f, 0), "\"attach\""));
	assert_non_null(strstr(f->text, "\"map\""));
	attach.type = VIRTIO_IOMMU_T_DETACH;
	attach.endpoint = 5;
	traces_add(&f->traces, &attach);
	take(f, 0);
	traces_add(&f->traces, &map);
	assert_string_equal(take(f, 0), "");
	finish(f);
}

static void parsing(void **state)
{
	static const char *const bad[] = {"",	       "mapp", "map,",	    ",map",
					  "map unmap", "MAP",  "map,,unmap"};
	struct trace_filter filter;
	struct problem problem;
	int status;

	(void)state;
	assert_true(trace_parse_types("map,unmap", &filter, &problem));
	assert_int_equal(filter.types,
			 1u << VIRTIO_IOMMU_T_MAP | 1u << VIRTIO_IOMMU_T_UNMAP);
	assert_false(filter.faults);
	assert_true(trace_parse_types("fault", &filter, &problem));
	assert_int_equal(filter.types, 0);
	assert_true(filter.faults);
	assert_true(trace_parse_types("unknown,probe,attach,detach", &filter, &problem));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(trace_parse_types(bad[i], &filter, &problem));
	assert_true(trace_parse_status("failed", &status, &problem));
	assert_int_equal(status, TRACE_NOT_OK);
	assert_true(trace_parse_status("nomem", &status, &problem));
	assert_int_equal(status, VIRTIO_IOMMU_S_NOMEM);
	assert_false(trace_parse_status("okay", &status, &problem));
	assert_non_null(strstr(problem.text, "okay"));
}

/* Who wants faults only gets none of the requests that an earlier reader left. */
static void leftovers(void **state)
{
	struct trace_filter faults = {.status = TRACE_ANY_STATUS, .faults = true};
	struct fixture *f = start();
	struct viommu_request_info info = map_of(7);
	unsigned place = subscribe(f, 1, &everything);

	(void)state;
	traces_add(&f->traces, &info);
	traces_end(&f->traces, 1);
	/* Without the IOMMU's thread, which empties the ring for others. */
	traces_begin(&f->traces, place, 2, &faults, &f->faults);
	assert_string_equal(take(f, 2), "");
	finish(f);
}

/* As many traces as there may be, and one more. */
static void trace_limit(void **state)
{
	struct fixture *f = start();
	struct problem problem = {0};
	struct viommu_request_info info = map_of(1);

	(void)state;
	for (unsigned i = 0; i < DAEMON_TRACES_MAX; i++)
		subscribe(f, i, &everything);
	assert_int_equal(traces_find_place(&f->traces, 9, &problem), -1);
	assert_non_null(strstr(problem.text, "the most at a time"));
	assert_int_equal(traces_find_place(&f->traces, 1, &problem), -1);
	assert_non_null(strstr(problem.text, "trace-stop"));
	traces_add(&f->traces, &info);
	for (unsigned i = 0; i < DAEMON_TRACES_MAX; i++)
		assert_non_null(strstr(take(f, i), "\"map\""));
	traces_end(&f->traces, 1);
	assert_int_equal(subscribe(f, 9, &everything), 1);
	assert_string_equal(take(f, 9), "");
	finish(f);
}

/* As many events as a ring holds, and one more. */
static void ring_limit(void **state)
{
	struct fixture *f = start();
	struct viommu_request_info info = map_of(1);
	unsigned nr = 0;
	const char *at;

	(void)state;
	subscribe(f, 0, &everything);
	for (unsigned i = 0; i < DAEMON_TRACE_EVENTS; i++)
		traces_add(&f->traces, &info);
	assert_int_equal(atomic_load(&f->traces.ring[0].dropped), 0);
	traces_add(&f->traces, &info);
	assert_int_equal(atomic_load(&f->traces.ring[0].dropped), 1);
	assert_non_null(strstr(take(f, 0), "\"dropped\",\"requests\":1,\"faults\":0}"));
	do
		for (at = f->text; (at = strstr(at, "\"map\"")) != NULL; at++)
			nr++;
	while (*take(f, 0));
	assert_int_equal(nr, DAEMON_TRACE_EVENTS);
	finish(f);
}

static void faults_missed(void **state)
{
	struct fixture *f = start();
	struct fault fault = {.endpoint = 1};

	(void)state;
	faults_add(&f->faults, &fault); /* before it began */
	subscribe(f, 0, &everything);
	assert_string_equal(take(f, 0), "");
	for (unsigned i = 0; i < DAEMON_FAULTS_KEPT + 3; i++)
		faults_add(&f->faults, &fault);
	assert_non_null(strstr(take(f, 0), "\"requests\":0,\"faults\":3}"));
	finish(f);
}

#define MANY 200000u

static void *produce(void *arg)
{
	struct fixture *f = arg;
	struct viommu_request_info info = map_of(1);

	for (unsigned i = 0; i < MANY; i++) {
		info.duration_ns = i;
		info.time_ns = i;
		traces_add(&f->traces, &info);
	}
	return NULL;
}

/* Two readers beside the writer, one that comes and goes: what is read is whole and in
 * order, and all that is missing is counted. */
static void two_threads(void **state)
{
	struct fixture *f = start();
	unsigned long long seen = 0, dropped = 0, last = 0, value;
	pthread_t thread;
	bool ended = false;
	char *at;

	(void)state;
	subscribe(f, 0, &everything);
	subscribe(f, 1, &everything);
	assert_int_equal(pthread_create(&thread, NULL, produce, f), 0);
	while (seen + dropped < MANY) {
		take(f, 1);
		if (!ended && seen > MANY / 50)
			ended = traces_end(&f->traces, 1);
		take(f, 0);
		for (at = f->text; *at; at = strchr(at, '\n') + 1) {
			if (sscanf(at, "{\"event\":\"dropped\",\"requests\":%llu",
				   &value) == 1) {
				dropped += value;
				continue;
			}
			assert_int_equal(
				sscanf(at, "{\"event\":\"request\",\"time_ns\":%llu,",
				       &value),
				1);
			assert_true(!seen || value > last);
			last = value;
			seen++;
		}
	}
	pthread_join(thread, NULL);
	assert_int_equal(seen + dropped, MANY);
	finish(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),       cmocka_unit_test(line_length),
		cmocka_unit_test(filters),     cmocka_unit_test(follows_endpoint),
		cmocka_unit_test(parsing),     cmocka_unit_test(trace_limit),
		cmocka_unit_test(ring_limit),  cmocka_unit_test(faults_missed),
		cmocka_unit_test(two_threads), cmocka_unit_test(leftovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
