/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Every limit of the daemon, with what happens when it is hit. Each is tested
 * at the limit and one past it (tests/unit/daemon).
 */
#ifndef DAEMON_LIMITS_H
#define DAEMON_LIMITS_H

/* Command line and configuration file: refused with a message. */
#define DAEMON_ENDPOINTS_MAX	   64u
#define DAEMON_THREADS_MAX	   16u
#define DAEMON_RESV_MAX		   16u	 /* reserved regions of one endpoint */
#define DAEMON_PARAMS_LEN	   2048u /* bytes of what an endpoint's own code reads */
#define DAEMON_NAME_LEN		   32u	 /* bytes of an id, with the NUL */
#define DAEMON_VALUE_LEN	   1024u /* bytes of a value, with the NUL */
#define DAEMON_CONFIG_FILE_LEN_MAX (256u << 10)
#define DAEMON_CONFIG_LINES_MAX	   4096u
#define DAEMON_POLL_US_MAX	   100000u

/* Control socket. One client more is told so and disconnected; a longer line
 * ends its connection with an error; a client that does not read its replies
 * is disconnected. */
#define DAEMON_CLIENTS_MAX	     16u
#define DAEMON_REQUEST_LEN_MAX	     (16u << 10)
#define DAEMON_REPLY_BACKLOG_LEN_MAX (4u << 20)
/* Descriptors that a client has passed and no request has used; with one more it
 * is disconnected. */
#define DAEMON_PASSED_MAX 4u
/* Mappings and faults one reply lists; "more" says that there are others. */
#define DAEMON_LIST_MAX	   4096u
#define DAEMON_FAULTS_KEPT 256u

/* Traces at a time: one more is refused. Requests one holds that were not read yet,
 * and bytes of events that wait for a client: what is more is dropped and counted. */
#define DAEMON_TRACES_MAX	 4u
#define DAEMON_TRACE_EVENTS	 8192u
#define DAEMON_EVENT_BACKLOG_LEN (64u << 10)
/* Between two looks at the traces, in ms; only while there are some. */
#define DAEMON_TRACE_TICK_MS 20

/* What the main thread waits for a worker thread to answer, in ms. */
#define DAEMON_CALL_TIMEOUT_MS 3000u

#endif
