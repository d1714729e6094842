/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What comes as "Content-Encoding: gzip", as it comes: any number of gzip members one after the other. The
 * API server makes one of each watch event, and libcurl (7.88) takes the second for an error.
 */
#ifndef SLUICE_CTL_LIB_KUBE_GUNZIP_H
#define SLUICE_CTL_LIB_KUBE_GUNZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/lib/err.h"

struct kube_gunzip;

struct kube_gunzip *kube_gunzip_new(void);
void kube_gunzip_free(struct kube_gunzip *g);
/*
 * Hands on what these bytes are, in pieces of 16 KiB at most. out() returns false to end it. EINVAL: this
 * is not gzip; ECANCELED: out() did.
 */
int kube_gunzip_feed(struct kube_gunzip *g, const char *data, size_t len,
		     bool (*out)(void *ctx, const char *data, size_t len), void *ctx,
		     struct sluice_err *err);

#endif
