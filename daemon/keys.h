/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Settings by name: a table says where each goes, what it takes and what the
 * message says when it takes something else.
 */
#ifndef DAEMON_KEYS_H
#define DAEMON_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "problem.h"

enum key_kind {
	KEY_NUMBER, /* uint32_t */
	KEY_COUNT,  /* uint32_t; "auto" is SETTINGS_AUTO */
	KEY_SIZE,   /* uint64_t */
	KEY_SWITCH, /* bool */
	KEY_NEGATE, /* bool, set to the opposite */
	KEY_NAME,   /* char[DAEMON_NAME_LEN] */
	KEY_TEXT,   /* char *, replaced */
	KEY_POLL,   /* struct poll_settings */
	KEY_LEVEL,  /* enum viommu_log_level */
	KEY_OCTAL,  /* uint32_t */
	KEY_FD,	    /* int */
};

struct key {
	const char *name;
	enum key_kind kind;
	size_t offset;	    /* of the field in the struct it sets */
	size_t set_offset;  /* of a bool that says it was given; 0: none */
	uint64_t min, max;  /* numbers and sizes */
	bool pow2;	    /* numbers and sizes: powers of two only */
	const char *expect; /* "a number from 1 to 16" */
	const char *sample; /* a value that works */
};

const struct key *key_find(const struct key *keys, unsigned nr, const char *name);

/* Sets the field of base. The problem: "WHERE: NAME=VALUE: not EXPECT; ...". */
bool key_set(const struct key *key, void *base, const char *where, const char *value,
	     struct problem *problem);

/* The problem of an unknown name; lists what there is. */
bool key_unknown(const struct key *keys, unsigned nr, const char *where, const char *name,
		 struct problem *problem);

#endif
