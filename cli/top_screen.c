/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The terminal of viommu top: plain ANSI sequences, no library. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "top.h"
#include "until.h"

/* Other screen, no cursor, no wrapping; and back. */
static const char enter[] = "\033[?1049h\033[?25l\033[?7l\033[2J";
static const char leave[] = "\033[?7h\033[?25h\033[?1049l";

static struct termios saved;
static volatile sig_atomic_t is_open;

static void put(const char *text, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(STDOUT_FILENO, text, len);
		if (n <= 0)
			return; /* the terminal has gone; so will we */
		text += n;
		len -= (size_t)n;
	}
}

void top_screen_close(void)
{
	if (!is_open)
		return;
	is_open = 0;
	put(leave, sizeof(leave) - 1);
	tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

static void on_resize(int number)
{
	(void)number; /* ends the waiting for a key: that is all */
}

/* Our own mistake: the terminal is put right (write and tcsetattr may be called
 * here), then it is as if nobody had caught it. */
static void on_crash(int number)
{
	top_screen_close();
	signal(number, SIG_DFL);
	raise(number);
}

static void catch (int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};

	sigaction(number, &action, NULL);
}

bool top_screen_open(void)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
	struct termios raw;
	unsigned i;

	if (tcgetattr(STDIN_FILENO, &saved))
		return false;
	catch (SIGPIPE, until_end); /* the main loop ends, and puts all right */
	for (i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		catch (crashes[i], on_crash);
	catch (SIGWINCH, on_resize);
	raw = saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* would leave the other screen behind */
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw))
		return false;
	is_open = 1;
	atexit(top_screen_close);
	put(enter, sizeof(enter) - 1);
	return true;
}

void top_screen_size(unsigned *rows, unsigned *cols)
{
	struct winsize size;

	*rows = 24;
	*cols = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
		return;
	*rows = size.ws_row;
	*cols = size.ws_col;
}

/* Each line is written over what was there, and the rest of it cleared: no flicker. */
void top_screen_show(const char *text, size_t len)
{
	const char *end = text + len, *line;

	put("\033[H", 3);
	while (text < end) {
		line = memchr(text, '\n', (size_t)(end - text));
		line = line ? line : end;
		put(text, (size_t)(line - text));
		/* No line feed behind the last one: that would scroll. */
		put("\033[K\r\n", line + 1 < end ? 5 : 3);
		text = line + 1;
	}
	put("\033[J", 3);
}

int top_screen_key(int timeout_ms)
{
	struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
	unsigned char key;

	if (until_ended())
		return -1;
	if (poll(&wait, 1, timeout_ms) <= 0)
		return until_ended() ? -1 : 0;
	if (read(STDIN_FILENO, &key, 1) != 1)
		return -1; /* the terminal has gone */
	return key ? key : ' ';
}
