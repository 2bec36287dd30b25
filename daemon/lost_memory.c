/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lost_memory.h"

#define PAGE_LEN 4096u

/* For the handler; set once. */
static int told_fd = -1;

/*
 * BUS_ADRERR: the address is mapped, and the file behind it does not reach there.
 * Guest memory is the only file that is mapped for data, so that a page of zeroes
 * in its place harms nobody else; it goes when the VMM's map goes. Where it cannot
 * be put (huge pages), or for any other bus error, the process ends.
 */
static void on_bus_error(int signal_nr, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE_LEN - 1);
	static const char text[] = "viommud error: SIGBUS; ending\n";
	uint64_t one = 1;
	int saved = errno;
	ssize_t n;

	(void)signal_nr;
	(void)context;
	if (info->si_code != BUS_ADRERR ||
	    mmap((void *)at, PAGE_LEN, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		n = write(STDERR_FILENO, text, sizeof(text) - 1);
		_exit(1);
	}
	n = write(told_fd, &one, sizeof(one));
	(void)n; /* full: it is readable */
	errno = saved;
}

bool lost_memory_watch(int *fd, struct problem *problem)
{
	struct sigaction action = {.sa_sigaction = on_bus_error,
				   .sa_flags = SA_SIGINFO | SA_RESTART};

	told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (told_fd < 0)
		return problem_set(problem, "no descriptors left");
	if (sigaction(SIGBUS, &action, NULL))
		return problem_set(problem, "SIGBUS: %s", strerror(errno));
	*fd = told_fd;
	return true;
}
