// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/selector.h"

#include <ctype.h>

#include "ctl/lib/alloc.h"

/* FNV-1a over words would be weak in its low bits; this is wyhash's mixing step on 8-byte words. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p =
		(unsigned __int128)(a ^ 0xa0761d6478bd642fULL) * (b ^ 0xe7037ed1a0b428dbULL);

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t sluice_hash_bytes(uint64_t seed, const void *p, size_t len)
{
	const unsigned char *c = p;
	uint64_t h = mix(seed, len), w;

	for (; len >= 8; len -= 8, c += 8) {
		memcpy(&w, c, 8);
		h = mix(h, w);
	}
	if (len) {
		w = 0;
		memcpy(&w, c, len);
		h = mix(h, w);
	}
	return mix(h, 0x9e3779b97f4a7c15ULL);
}

uint64_t sluice_hash_text(uint64_t seed, const char *s)
{
	return sluice_hash_bytes(seed, s, strlen(s));
}

static uint64_t key_hash(const char *key)
{
	return sluice_hash_text(1, key);
}

uint64_t sluice_label_pair_hash(const char *key, const char *value)
{
	return sluice_hash_text(key_hash(key), value);
}

void sluice_labels_add(struct sluice_labels *labels, const char *key, const char *value)
{
	struct sluice_label *l = NULL;
	size_t i;

	for (i = 0; i < labels->n; i++)
		if (!strcmp(labels->v[i].key, key))
			l = &labels->v[i];
	if (l) {
		free(l->value);
	} else {
		labels->v = sluice_realloc(labels->v, labels->n + 1, sizeof(*labels->v));
		l = &labels->v[labels->n++];
		l->key = sluice_strdup(key);
		l->key_hash = key_hash(key);
	}
	l->value = sluice_strdup(value);
	l->pair_hash = sluice_label_pair_hash(key, value);
}

static const struct sluice_label *find(const struct sluice_labels *labels, const char *key,
				       uint64_t hash)
{
	size_t i;

	for (i = 0; i < labels->n; i++)
		if (labels->v[i].key_hash == hash && !strcmp(labels->v[i].key, key))
			return &labels->v[i];
	return NULL;
}

const char *sluice_labels_get(const struct sluice_labels *labels, const char *key)
{
	const struct sluice_label *l = find(labels, key, key_hash(key));

	return l ? l->value : NULL;
}

void sluice_labels_clear(struct sluice_labels *labels)
{
	size_t i;

	for (i = 0; i < labels->n; i++) {
		free(labels->v[i].key);
		free(labels->v[i].value);
	}
	free(labels->v);
	memset(labels, 0, sizeof(*labels));
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void sluice_selector_add(struct sluice_selector *sel, const char *key, enum sluice_selector_op op,
			 char *const *values, size_t n_values)
{
	struct sluice_requirement *r;
	size_t i;

	sel->v = sluice_realloc(sel->v, sel->n + 1, sizeof(*sel->v));
	r = &sel->v[sel->n++];
	memset(r, 0, sizeof(*r));
	r->key = sluice_strdup(key);
	r->key_hash = key_hash(key);
	r->op = op;
	r->values = sluice_zalloc(n_values * sizeof(*r->values));
	for (i = 0; i < n_values; i++)
		r->values[i] = sluice_strdup(values[i]);
	r->n_values = n_values;
	if (n_values)
		qsort(r->values, n_values, sizeof(*r->values), compare_text);
}

static int compare_requirements(const void *x, const void *y)
{
	const struct sluice_requirement *a = x, *b = y;
	int c = strcmp(a->key, b->key);
	size_t i;

	if (!c)
		c = (int)a->op - (int)b->op;
	if (!c)
		c = a->n_values < b->n_values ? -1 : a->n_values > b->n_values;
	for (i = 0; !c && i < a->n_values; i++)
		c = strcmp(a->values[i], b->values[i]);
	return c;
}

void sluice_selector_seal(struct sluice_selector *sel)
{
	if (sel->n)
		qsort(sel->v, sel->n, sizeof(*sel->v), compare_requirements);
}

void sluice_selector_copy(struct sluice_selector *dst, const struct sluice_selector *src)
{
	size_t i;

	memset(dst, 0, sizeof(*dst));
	for (i = 0; i < src->n; i++)
		sluice_selector_add(dst, src->v[i].key, src->v[i].op, src->v[i].values,
				    src->v[i].n_values);
}

void sluice_selector_clear(struct sluice_selector *sel)
{
	size_t i, k;

	for (i = 0; i < sel->n; i++) {
		for (k = 0; k < sel->v[i].n_values; k++)
			free(sel->v[i].values[k]);
		free(sel->v[i].values);
		free(sel->v[i].key);
	}
	free(sel->v);
	memset(sel, 0, sizeof(*sel));
}

static bool has_value(const struct sluice_requirement *r, const char *value)
{
	size_t i;

	for (i = 0; i < r->n_values; i++)
		if (!strcmp(r->values[i], value))
			return true;
	return false;
}

bool sluice_selector_matches(const struct sluice_selector *sel, const struct sluice_labels *labels)
{
	size_t i;

	for (i = 0; i < sel->n; i++) {
		const struct sluice_requirement *r = &sel->v[i];
		const struct sluice_label *l = find(labels, r->key, r->key_hash);
		bool ok = false;

		switch (r->op) {
		case SLUICE_OP_IN:
			ok = l && has_value(r, l->value);
			break;
		case SLUICE_OP_NOT_IN:
			ok = !l || !has_value(r, l->value);
			break;
		case SLUICE_OP_EXISTS:
			ok = l;
			break;
		case SLUICE_OP_NOT_EXISTS:
			ok = !l;
			break;
		}
		if (!ok)
			return false;
	}
	return true;
}

bool sluice_selector_pair(const struct sluice_selector *sel, const char **key, const char **value)
{
	size_t i;

	for (i = 0; i < sel->n; i++) {
		if (sel->v[i].op != SLUICE_OP_IN || sel->v[i].n_values != 1)
			continue;
		*key = sel->v[i].key;
		*value = sel->v[i].values[0];
		return true;
	}
	return false;
}

char *sluice_selector_text(const struct sluice_selector *sel)
{
	char *text = NULL;
	size_t len = 0, i, k;
	FILE *f = sluice_alloc_check(open_memstream(&text, &len));

	for (i = 0; i < sel->n; i++) {
		const struct sluice_requirement *r = &sel->v[i];

		if (i)
			fputc(',', f);
		if (r->op == SLUICE_OP_NOT_EXISTS)
			fputc('!', f);
		fputs(r->key, f);
		if (r->op == SLUICE_OP_IN && r->n_values == 1) {
			fprintf(f, "=%s", r->values[0]);
		} else if (r->op == SLUICE_OP_IN || r->op == SLUICE_OP_NOT_IN) {
			fputs(r->op == SLUICE_OP_IN ? " in (" : " notin (", f);
			for (k = 0; k < r->n_values; k++)
				fprintf(f, "%s%s", k ? "," : "", r->values[k]);
			fputc(')', f);
		}
	}
	fclose(f);
	return sluice_alloc_check(text);
}

/* [A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?, up to 63 */
static const char *name_problem(const char *s, size_t n)
{
	size_t i;

	if (!n)
		return "its name part is empty";
	if (n > 63)
		return "its name part is longer than 63 characters";
	for (i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
			return "only letters, digits, '-', '_' and '.' are allowed";
	if (!isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
		return "it must begin and end with a letter or digit";
	return NULL;
}

const char *sluice_label_key_problem(const char *key)
{
	const char *slash = strchr(key, '/'), *p;

	if (!slash)
		return name_problem(key, strlen(key));
	if (slash == key || slash - key > 253)
		return "its prefix must have 1 to 253 characters";
	/* A DNS subdomain: labels of [a-z0-9]([-a-z0-9]*[a-z0-9])? joined by dots. */
	for (p = key; p < slash; p++) {
		bool edge = p == key || p + 1 == slash || p[-1] == '.' || p[1] == '.';

		if (*p == '.' ? edge && (p == key || p + 1 == slash || p[-1] == '.') :
				!(islower((unsigned char)*p) || isdigit((unsigned char)*p) ||
				  (*p == '-' && !edge)))
			return "its prefix is not a DNS subdomain";
	}
	return name_problem(slash + 1, strlen(slash + 1));
}

const char *sluice_label_value_problem(const char *value)
{
	const char *problem;

	if (!*value)
		return NULL;
	problem = name_problem(value, strlen(value));
	return problem && strlen(value) > 63 ? "it is longer than 63 characters" : problem;
}
