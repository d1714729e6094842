/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Labels and label selectors (meta/v1 LabelSelector, and the plain map that Services use).
 *
 * Both are immutable once built. A selector is a list of requirements that must all hold; an empty
 * list matches everything. Each label carries hashes of its key and of its key and value, so that
 * nearly every comparison that fails does so without looking at text.
 */
#ifndef SLUICE_CTL_LIB_SELECTOR_H
#define SLUICE_CTL_LIB_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sluice_label {
	char *key;
	char *value;
	uint64_t key_hash;
	uint64_t pair_hash;
};

struct sluice_labels {
	struct sluice_label *v;
	size_t n;
};

enum sluice_selector_op {
	SLUICE_OP_IN,
	SLUICE_OP_NOT_IN,
	SLUICE_OP_EXISTS,
	SLUICE_OP_NOT_EXISTS,
};

struct sluice_requirement {
	char *key;
	uint64_t key_hash;
	enum sluice_selector_op op;
	char **values; /* sorted */
	size_t n_values;
};

struct sluice_selector {
	struct sluice_requirement *v; /* sorted by key, op, values: equal selectors have equal text */
	size_t n;
};

uint64_t sluice_hash_bytes(uint64_t seed, const void *p, size_t len);
uint64_t sluice_hash_text(uint64_t seed, const char *s);
uint64_t sluice_label_pair_hash(const char *key, const char *value);

/* Copies. The value of a key that is already there is replaced. */
void sluice_labels_add(struct sluice_labels *labels, const char *key, const char *value);
const char *sluice_labels_get(const struct sluice_labels *labels, const char *key);
void sluice_labels_clear(struct sluice_labels *labels);

void sluice_selector_add(struct sluice_selector *sel, const char *key, enum sluice_selector_op op,
			 char *const *values, size_t n_values);
/* To be called once, after the last add and before any of the functions below. */
void sluice_selector_seal(struct sluice_selector *sel);
void sluice_selector_copy(struct sluice_selector *dst, const struct sluice_selector *src);
void sluice_selector_clear(struct sluice_selector *sel);
bool sluice_selector_matches(const struct sluice_selector *sel, const struct sluice_labels *labels);
/*
 * One label without which nothing matches: sets *key and *value, or returns false. Indexes of
 * selectors are built on it.
 */
bool sluice_selector_pair(const struct sluice_selector *sel, const char **key, const char **value);
/* Canonical text, "app=web,tier in (a,b),!old"; to be freed. "" for the empty selector. */
char *sluice_selector_text(const struct sluice_selector *sel);

/* Syntax of the API server. NULL, or what is wrong with it. */
const char *sluice_label_key_problem(const char *key);
const char *sluice_label_value_problem(const char *value);

#endif
