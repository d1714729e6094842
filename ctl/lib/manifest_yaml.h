/* SPDX-License-Identifier: GPL-2.0-only */
/* YAML to values. Used by manifest.c. */
#ifndef SLUICE_CTL_LIB_MANIFEST_YAML_H
#define SLUICE_CTL_LIB_MANIFEST_YAML_H

#include <stddef.h>

#include "ctl/lib/err.h"
#include "ctl/lib/value.h"

/*
 * Reads all documents of a text. first_line is the number of its first line. fn is called with each
 * document, whose memory is the arena's. On an error *err_line tells where; the documents before it have
 * been handed on.
 */
int sluice_yaml_read(struct sluice_arena *arena, const char *text, size_t len,
		     unsigned int first_line, void (*fn)(void *ctx, const struct sluice_value *doc),
		     void *ctx, unsigned int *err_line, struct sluice_err *err);

#endif
