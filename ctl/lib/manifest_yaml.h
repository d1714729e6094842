/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * YAML and JSON to json_t, with the lines on which values stand. Used by manifest.c.
 */
#ifndef SLUICE_CTL_LIB_MANIFEST_YAML_H
#define SLUICE_CTL_LIB_MANIFEST_YAML_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/err.h"

/*
 * Value -> line, beside the tree, for a json_t has no room. true, false and null are shared
 * singletons in jansson and have no line; their parents do.
 *
 * Nearly nobody asks: only the messages about errors, and the rules of policies. So while a text is
 * read the pairs are only noted down (YAML), or not even that (JSON, whose text is walked again at
 * the first question), and they are indexed at the first question.
 */
struct sluice_lines {
	struct sluice_line {
		const json_t *value;
		unsigned int line;
	} *v; /* in the order of the text; of equal values the last counts */
	size_t n, cap;
	uint32_t *index; /* position in v plus one, 0: free; by hash of the value */
	size_t n_index; /* 0: not indexed; else a power of two */
	const char *text; /* JSON that is still to be walked beside root, or NULL */
	const json_t *root;
	unsigned int first_line; /* of text */
};

void sluice_lines_set(struct sluice_lines *lines, const json_t *value, unsigned int line);
/* 0 when not known. */
unsigned int sluice_lines_get(struct sluice_lines *lines, const json_t *value);
/* Forgets all, and keeps the memory. */
void sluice_lines_reset(struct sluice_lines *lines);
void sluice_lines_clear(struct sluice_lines *lines);

/* One document, or one item of a document of a kind that ends in "List". */
struct sluice_document {
	json_t *value;
	unsigned int line;
	const char *list_kind; /* "PodList"; NULL: it is no item */
	const char *list_api; /* the list's apiVersion, or "" */
};

/*
 * Reads all YAML documents, or all concatenated JSON values, of a text. first_line is the number of
 * its first line. fn is called with each document; it may not keep the value without a reference, and
 * lines are those of this document, until it returns.
 *
 * A list at the top is never in memory whole: its items are documents, each read, handed on and let
 * go before the next, which takes a fifth of the time and next to none of the memory.
 *
 * On an error *err_line tells where; the documents before it have been handed on. A broken item of a
 * JSON list does not hide those behind it: broken tells of it, and the others follow.
 */
struct sluice_document_reader {
	void *ctx;
	struct sluice_lines *lines;
	void (*document)(void *ctx, const struct sluice_document *doc);
	void (*broken)(void *ctx, unsigned int line, const char *message);
};

int sluice_yaml_parse(const char *text, size_t len, unsigned int first_line,
		      const struct sluice_document_reader *reader, unsigned int *err_line,
		      struct sluice_err *err);
int sluice_json_parse(const char *text, size_t len, unsigned int first_line,
		      const struct sluice_document_reader *reader, unsigned int *err_line,
		      struct sluice_err *err);

#endif
