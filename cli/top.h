/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * viommu top in three parts: top.c asks daemons and obeys keys, top_view.c makes
 * rates of two samples and draws them, top_screen.c is the terminal.
 */
#ifndef CLI_TOP_H
#define CLI_TOP_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#define TOP_DAEMONS_MAX	  16u
#define TOP_ENDPOINTS_MAX 256u /* of all daemons; further ones are not shown */
#define TOP_COLS_MAX	  512u

/* Two results of `stat`, the older one first. */
struct top_sample {
	const char *name;     /* of the daemon, for people */
	json_t *before, *now; /* either may be NULL: not asked yet, or gone */
	double seconds;	      /* between them */
};

enum top_sort {
	TOP_BY_IO,
	TOP_BY_BYTES,
	TOP_BY_TRANSLATIONS,
	TOP_BY_FAULTS,
	TOP_BY_NAME,
	TOP_SORTS_NR
};

struct top_look {
	enum top_sort sort;
	bool paused, help;
	double delay;
	unsigned rows, cols; /* rows 0: as many as there are */
	const char *clock;   /* "14:03:22" */
};

/* Draws it: lines that end with "\n", none longer than look->cols, at most
 * look->rows of them. */
void top_draw(FILE *out, const struct top_look *look, const struct top_sample *samples,
	      unsigned nr);
const char *top_sort_name(enum top_sort sort);

/* ---- the terminal ---- */

/* Takes it over; false: it cannot be. It is given back by top_screen_close(), and by
 * signals that end the program. */
bool top_screen_open(void);
void top_screen_close(void);
void top_screen_size(unsigned *rows, unsigned *cols);
/* Shows text, a whole picture, in place of what was there. */
void top_screen_show(const char *text, size_t len);
/* A key, 0: none came in that time or something happened; -1: end. */
int top_screen_key(int timeout_ms);

#endif
