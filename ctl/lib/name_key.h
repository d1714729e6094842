/* SPDX-License-Identifier: GPL-2.0-only */
/* What maps of namespaced objects are keyed by, in the model and in the compiler. */
#ifndef SLUICE_CTL_LIB_NAME_KEY_H
#define SLUICE_CTL_LIB_NAME_KEY_H

#include <stdbool.h>
#include <string.h>

/* "namespace\0name": 63 and 253 characters at most. */
struct name_key {
	char text[63 + 1 + 253 + 1];
	size_t len;
};

/* false: too long, which no valid name is. */
static inline bool make_name_key(struct name_key *k, const char *ns, const char *name)
{
	size_t a = strlen(ns), b = strlen(name);

	if (a + 1 + b > sizeof(k->text))
		return false;
	memcpy(k->text, ns, a + 1);
	memcpy(k->text + a + 1, name, b);
	k->len = a + 1 + b;
	return true;
}

#endif
