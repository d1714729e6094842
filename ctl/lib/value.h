/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The values of JSON, as manifests are read into them: JSON here, YAML in manifest_yaml.c.
 *
 * A reader's tree, written once and read a few times: no reference counts, no hash table in each
 * object, the line beside each value, and all of it in an arena that is let go at once. Parsing is
 * libyaml's and yajl's, which both report events. docs/architecture.md says why it is not jansson, which
 * speaks everywhere else.
 *
 * Values belong to their arena. Text ends in a NUL, and has none inside; it is UTF-8.
 */
#ifndef SLUICE_CTL_LIB_VALUE_H
#define SLUICE_CTL_LIB_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/err.h"

/* Nesting deeper than this is refused; Kubernetes objects stay below 20. */
#define SLUICE_VALUE_MAX_DEPTH 100

enum sluice_value_type {
	SLUICE_VALUE_NULL,
	SLUICE_VALUE_BOOLEAN,
	SLUICE_VALUE_INTEGER,
	SLUICE_VALUE_REAL,
	SLUICE_VALUE_TEXT,
	SLUICE_VALUE_LIST,
	SLUICE_VALUE_OBJECT,
};

struct sluice_value {
	enum sluice_value_type type;
	unsigned int line;
	size_t n; /* bytes of a text, items of a list, members of an object */
	union {
		bool boolean;
		int64_t integer;
		double real;
		const char *text;
		const struct sluice_value *items;
		const struct sluice_member *members; /* in the order of the text, no key twice */
	};
};

struct sluice_member {
	const char *key;
	size_t key_len;
	struct sluice_value value;
};

/* Memory that is given out in pieces and taken back as a whole. All zero is an empty one. */
struct sluice_arena {
	struct sluice_arena_block *blocks; /* the first is the one in use */
};

/* Aligned for anything. The bytes are not set. */
void *sluice_arena_get(struct sluice_arena *arena, size_t size);
char *sluice_arena_text(struct sluice_arena *arena, const char *text, size_t len);
/* Takes everything back, and keeps the largest piece for what comes. */
void sluice_arena_reset(struct sluice_arena *arena);
void sluice_arena_clear(struct sluice_arena *arena);

/* The value of a key; NULL if there is none, or the value is no object, or NULL. */
const struct sluice_value *sluice_value_get(const struct sluice_value *object, const char *key);
/* The text of a key; NULL if it has none. */
const char *sluice_value_text(const struct sluice_value *object, const char *key);

/* Equal for equal values whatever the order of an object's members. v may be NULL. */
uint64_t sluice_value_hash(uint64_t seed, const struct sluice_value *v);

/*
 * Values that are being collected, innermost last: their number is known at the end. What a list or
 * an object had since "base" is moved into the arena, and makes one value.
 */
struct sluice_value_stack {
	struct sluice_member *v; /* keys are NULL in lists */
	size_t n, cap;
};

struct sluice_member *sluice_value_push(struct sluice_value_stack *stack);
/* A key that an object has had twice since base, or NULL. */
const char *sluice_value_duplicate(const struct sluice_value_stack *stack, size_t base);
void sluice_value_take_list(struct sluice_arena *arena, struct sluice_value_stack *stack,
			    size_t base, struct sluice_value *out);
void sluice_value_take_object(struct sluice_arena *arena, struct sluice_value_stack *stack,
			      size_t base, struct sluice_value *out);

/*
 * Reads the JSON value that *p begins with, after white space, and moves *p behind it and *line to
 * that place. EINVAL: *line is where the error is; the message does not name it. Integers have 64 bits,
 * without the least one; half of a surrogate pair is read as "?".
 */
int sluice_json_read(struct sluice_arena *arena, const char **p, const char *end,
		     unsigned int *line, struct sluice_value *out, struct sluice_err *err);

#endif
