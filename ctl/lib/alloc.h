/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Allocation for the model and the compiler: it succeeds or ends the program.
 *
 * Why: with Linux's overcommit malloc() fails for absurd sizes only, the state on the wire lives in
 * the kernel, and a restarted sluiced loses nothing. A half-built model would be worse.
 */
#ifndef SLUICE_CTL_LIB_ALLOC_H
#define SLUICE_CTL_LIB_ALLOC_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void *sluice_alloc_check(void *p)
{
	if (!p) {
		fputs("sluice: out of memory\n", stderr);
		abort();
	}
	return p;
}

static inline void *sluice_zalloc(size_t size)
{
	return sluice_alloc_check(calloc(1, size ? size : 1));
}

static inline void *sluice_realloc(void *p, size_t n, size_t each)
{
	if (!n || !each)
		n = each = 1;
	return sluice_alloc_check(reallocarray(p, n, each));
}

static inline char *sluice_strdup(const char *s)
{
	return sluice_alloc_check(strdup(s));
}

static inline void *sluice_memdup(const void *p, size_t n)
{
	void *copy = sluice_zalloc(n);

	if (n)
		memcpy(copy, p, n);
	return copy;
}

/*
 * Growable arrays: "T *v; size_t n_v, cap_v;". Makes room for one more element; the new element's
 * bytes are not set. Growth is by half, so that n appends cost O(n).
 */
#define sluice_grow(v, n, cap)                                          \
	do {                                                            \
		if ((n) >= (cap)) {                                     \
			(cap) = (cap) + ((cap) >> 1) + 4;               \
			(v) = sluice_realloc((v), (cap), sizeof(*(v))); \
		}                                                       \
	} while (0)

#endif
