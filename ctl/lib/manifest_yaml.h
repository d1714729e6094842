/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * YAML and JSON to json_t, with the lines on which values stand. Used by manifest.c.
 */
#ifndef SLUICE_CTL_LIB_MANIFEST_YAML_H
#define SLUICE_CTL_LIB_MANIFEST_YAML_H

#include <jansson.h>
#include <stddef.h>

#include "ctl/lib/err.h"

/*
 * Value -> line, beside the tree, for a json_t has no room. true, false and null are shared
 * singletons in jansson and have no line; their parents do.
 */
struct sluice_lines {
	struct {
		const json_t *value;
		unsigned int line;
	} *v;
	size_t n, cap; /* cap: 0 or a power of two */
};

void sluice_lines_set(struct sluice_lines *lines, const json_t *value, unsigned int line);
/* 0 when not known. */
unsigned int sluice_lines_get(const struct sluice_lines *lines, const json_t *value);
void sluice_lines_clear(struct sluice_lines *lines);

/*
 * Reads all YAML documents, or all concatenated JSON values, of a text. first_line is the number of
 * its first line. fn is called with each document; it may not keep the value without a reference.
 * On an error *err_line tells where.
 */
int sluice_yaml_parse(const char *text, size_t len, unsigned int first_line,
		      struct sluice_lines *lines, void (*fn)(void *ctx, json_t *doc), void *ctx,
		      unsigned int *err_line, struct sluice_err *err);
int sluice_json_parse(const char *text, size_t len, unsigned int first_line,
		      struct sluice_lines *lines, void (*fn)(void *ctx, json_t *doc), void *ctx,
		      unsigned int *err_line, struct sluice_err *err);

#endif
