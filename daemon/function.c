/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "function.h"
#include "loop.h"
#include "memory.h"

/* Messages of one socket in a turn, so that no VMM starves another function's. */
#define MESSAGES_PER_TURN 64

int host_init(struct host *host, struct log *log)
{
	host->log = log;
	faults_init(&host->faults);
	atomic_init(&host->clients, 0);
	host->gone_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return host->gone_fd < 0 ? -errno : 0;
}

void host_close(struct host *host)
{
	if (host->gone_fd >= 0)
		close(host->gone_fd);
}

static void on_connect(void *opaque)
{
	struct function *function = opaque;

	atomic_fetch_add(&function->host->clients, 1);
	log_write(function->host->log, VIOMMU_LOG_INFO, "%s: connected", function->name);
}

static void on_disconnect(void *opaque, const char *reason)
{
	struct function *function = opaque;
	uint64_t one = 1;
	ssize_t n;

	log_write(function->host->log, VIOMMU_LOG_INFO, "%s: disconnected: %s",
		  function->name, reason ? reason : "the client has gone");
	function->ops->reset(function->opaque, true);
	if (atomic_fetch_sub(&function->host->clients, 1) == 1) {
		n = write(function->host->gone_fd, &one, sizeof(one));
		(void)n;
	}
}

static void on_reset(void *opaque)
{
	struct function *function = opaque;

	log_write(function->host->log, VIOMMU_LOG_DEBUG, "%s: reset", function->name);
	function->ops->reset(function->opaque, false);
}

int function_init(struct function *function)
{
	function->vfu = NULL;
	function->path[0] = 0;
	return viommu_mem_create(&memory_alloc, &function->mem);
}

bool function_listen(struct function *function, struct viommu_pci *pci, const char *dir,
		     unsigned mode, struct problem *problem)
{
	static const struct viommu_vfu_ops ops = {.connected = on_connect,
						  .disconnected = on_disconnect,
						  .system_reset = on_reset};
	struct viommu_vfu_config config = {.name = function->name, .listen_fd = -1};
	char path[sizeof(function->path)];
	int r = snprintf(path, sizeof(path), "%s/%s.sock", dir, function->name);

	if (r < 0 || (size_t)r >= sizeof(path))
		return problem_set(problem,
				   "--socket-dir %s: the socket's path would be longer "
				   "than the %zu bytes the system allows; choose a "
				   "shorter one",
				   dir, sizeof(path) - 1);
	config.path = path;
	config.sealed_only = function->host->sealed_only;
	r = viommu_vfu_create(&config, pci, function->mem, &ops, function, &memory_alloc,
			      &function->host->log->sink, &function->vfu);
	if (r == -EADDRINUSE)
		return problem_set(problem,
				   "%s: another process serves this socket; stop it or "
				   "choose another --socket-dir",
				   path);
	if (r)
		return problem_set(problem,
				   "%s: cannot listen: %s; --socket-dir names "
				   "the folder",
				   path, strerror(-r));
	if (chmod(path, mode))
		return problem_set(problem, "%s: chmod: %s", path, strerror(errno));
	memcpy(function->path, path, sizeof(path));
	return true;
}

void function_refuse(struct function *function, const char *reason)
{
	if (function->vfu)
		viommu_vfu_hang_up(function->vfu, reason);
}

void function_hang_up(struct function *function)
{
	viommu_vfu_destroy(function->vfu);
	function->vfu = NULL;
}

void function_close(struct function *function)
{
	function_hang_up(function);
	viommu_mem_destroy(function->mem);
	function->mem = NULL;
}

unsigned function_messages(struct function *function)
{
	int r;

	if (!function->vfu)
		return 0;
	r = viommu_vfu_process(function->vfu, MESSAGES_PER_TURN);
	if (r == -EAGAIN)
		return LOOP_SOON;
	return r >= MESSAGES_PER_TURN ? LOOP_MORE : 0;
}

int function_message_fd(const struct function *function)
{
	return function->vfu ? viommu_vfu_fd(function->vfu) : -1;
}
