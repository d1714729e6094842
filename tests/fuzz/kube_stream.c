// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any bytes as the answer to a list or a watch. The first byte says which, of which kind, and in how large
 * pieces it comes. Nothing may crash or leak; in pieces it must be what it is as a whole; every object is
 * decoded as well. Where yajl can read all of it at once, each item must be what is left of it there without
 * the fields that are not kept.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/kube_stream.h"
#include "ctl/lib/selector.h"

#define MAX_LEVELS 16
#define MAX_ITEMS 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint64_t hash[MAX_ITEMS]; /* of each object; 0: refused */
	size_t n, refused;
	unsigned int heads;
	int ret;
};

static int take(void *ctx, const struct sluice_value *value, struct sluice_err *err)
{
	struct seen *seen = ctx;
	struct sluice_object *o = NULL;

	(void)err;
	sluice_object_decode(value, NULL, &o, NULL, NULL);
	sluice_object_put(o);
	sluice_object_decode(sluice_value_get(value, "object") ?: value, NULL, &o, NULL, NULL);
	sluice_object_put(o);
	if (seen->n < MAX_ITEMS)
		seen->hash[seen->n++] = sluice_value_hash(1, value);
	return 0;
}

static int take_refused(void *ctx, const struct sluice_value *value, const char *why,
			struct sluice_err *err)
{
	struct seen *seen = ctx;

	(void)err;
	if (!*why)
		abort();
	if (seen->n < MAX_ITEMS)
		seen->hash[seen->n++] = value ? sluice_value_hash(0, value) : 0;
	seen->refused++;
	return 0;
}

static int take_head(void *ctx, const struct sluice_value *value, struct sluice_err *err)
{
	struct seen *seen = ctx;

	(void)err;
	seen->heads++;
	return value->type == SLUICE_VALUE_OBJECT ? 0 : -1;
}

static void run(enum kube_stream_form form, enum sluice_kind kind, const char *data, size_t size,
		size_t piece, struct seen *seen)
{
	static const struct kube_stream_ops ops = { take_head, take, take_refused };
	struct kube_stream *s = kube_stream_new(form, kube_fields(kind), &ops, seen);
	SLUICE_ERR(err);

	memset(seen, 0, sizeof(*seen));
	for (size_t at = 0; at < size && !seen->ret; at += piece)
		seen->ret =
			kube_stream_feed(s, data + at, size - at < piece ? size - at : piece, &err);
	if (!seen->ret)
		seen->ret = kube_stream_end(s, &err);
	if (!seen->ret != !err.code)
		abort();
	kube_stream_free(s);
}

static const struct kube_field *find(const struct kube_field *fields, const char *key)
{
	for (; fields->name; fields++)
		if (!strcmp(fields->name, "*") || !strcmp(fields->name, key))
			return fields->leave_out ? NULL : fields;
	return NULL;
}

/* What the stream should leave of a value: the slow way. */
static struct sluice_value prune(struct sluice_arena *arena, const struct sluice_value *v,
				 const struct kube_field *fields, unsigned int depth)
{
	struct sluice_value out = *v;
	struct sluice_member *members;
	struct sluice_value *items;

	if (!fields || depth >= MAX_LEVELS)
		return out;
	if (v->type == SLUICE_VALUE_LIST) {
		items = sluice_arena_get(arena, v->n * sizeof(*items));
		for (size_t i = 0; i < v->n; i++)
			items[i] = prune(arena, &v->items[i], fields, depth + 1);
		out.items = items;
	} else if (v->type == SLUICE_VALUE_OBJECT) {
		members = sluice_arena_get(arena, v->n * sizeof(*members));
		out.n = 0;
		for (size_t i = 0; i < v->n; i++) {
			const struct kube_field *f = find(fields, v->members[i].key);

			if (!f)
				continue;
			members[out.n] = v->members[i];
			members[out.n++].value =
				prune(arena, &v->members[i].value, f->below, depth + 1);
		}
		out.members = members;
	}
	return out;
}

static void compare(enum sluice_kind kind, const char *data, size_t size, const struct seen *seen)
{
	struct sluice_arena arena = { 0 };
	const char *p = data, *end = data + size;
	const struct sluice_value *items;
	struct sluice_value root, pruned;
	unsigned int line = 1;

	/* Names of fields are compared as they are written. */
	if (memchr(data, '\\', size) || sluice_json_read(&arena, &p, end, &line, &root, NULL))
		goto clear;
	while (p < end && strchr(" \t\r\n", *p) && *p)
		p++;
	items = sluice_value_get(&root, "items");
	if (p < end || !items || items->type != SLUICE_VALUE_LIST || items->n > MAX_ITEMS)
		goto clear;
	if (seen->refused && size > 512) /* a name that is too long */
		goto clear;
	if (seen->ret || seen->heads != 1 || seen->n != items->n)
		abort();
	for (size_t i = 0; i < items->n; i++) {
		pruned = prune(&arena, &items->items[i], kube_fields(kind), 2);
		if (sluice_value_hash(1, &pruned) != seen->hash[i])
			abort();
	}
clear:
	sluice_arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct seen whole, pieces;
	const char *data = (const char *)bytes + 1;
	enum kube_stream_form form;
	enum sluice_kind kind;

	if (!size--)
		return 0;
	form = bytes[0] & 1 ? KUBE_WATCH : KUBE_LIST;
	kind = (bytes[0] >> 1 & 7) % SLUICE_KIND_COUNT;
	run(form, kind, data, size, size ?: 1, &whole);
	run(form, kind, data, size, 1 + (bytes[0] >> 4), &pieces);
	if (memcmp(&whole, &pieces, sizeof(whole)))
		abort();
	if (form == KUBE_LIST)
		compare(kind, data, size, &whole);
	return 0;
}
