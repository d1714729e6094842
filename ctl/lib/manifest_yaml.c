// SPDX-License-Identifier: GPL-2.0-only
/*
 * YAML as Kubernetes reads it: converted to JSON with the types that YAML 1.1 gives to plain
 * scalars (go-yaml v2 under sigs.k8s.io/yaml): "yes" and "on" are booleans, 010 is 8, ~ is null,
 * and 2001-01-01 stays text. Quoted scalars are strings.
 *
 * What could be used against the reader is bounded: depth, and what aliases expand to. An alias
 * shares the json_t of its anchor, so it costs no memory, but whoever walks the tree walks it again
 * each time: nine levels of nine aliases are 387 million values. So the weight of each anchored
 * value is kept (the number of values in it, aliases written out), and a document whose aliases
 * weigh more than SLUICE_MANIFEST_MAX_ALIASED is refused. An alias inside its own anchor names
 * something that is not complete and is refused as unknown.
 */
#include "ctl/lib/manifest_yaml.h"

#include <ctype.h>
#include <math.h>
#include <yaml.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/manifest.h"
#include "ctl/lib/map.h"

static size_t lines_find(const struct sluice_lines *lines, const json_t *value)
{
	size_t i = ((uintptr_t)value >> 4) * 0x9e3779b97f4a7c15ULL >> 20;

	for (i &= lines->cap - 1; lines->v[i].value; i = (i + 1) & (lines->cap - 1))
		if (lines->v[i].value == value)
			break;
	return i;
}

void sluice_lines_set(struct sluice_lines *lines, const json_t *value, unsigned int line)
{
	size_t i;

	if (!json_is_object(value) && !json_is_array(value) && !json_is_string(value) &&
	    !json_is_number(value))
		return;
	if (lines->n * 2 >= lines->cap) {
		struct sluice_lines bigger = { NULL, lines->n, lines->cap ? lines->cap * 2 : 256 };

		bigger.v = sluice_zalloc(bigger.cap * sizeof(*bigger.v));
		for (i = 0; i < lines->cap; i++)
			if (lines->v[i].value)
				bigger.v[lines_find(&bigger, lines->v[i].value)] = lines->v[i];
		free(lines->v);
		*lines = bigger;
	}
	i = lines_find(lines, value);
	if (!lines->v[i].value)
		lines->n++;
	lines->v[i].value = value;
	lines->v[i].line = line;
}

unsigned int sluice_lines_get(const struct sluice_lines *lines, const json_t *value)
{
	return lines->cap ? lines->v[lines_find(lines, value)].line : 0;
}

void sluice_lines_clear(struct sluice_lines *lines)
{
	free(lines->v);
	memset(lines, 0, sizeof(*lines));
}

/* ---- YAML ---- */

struct anchor {
	json_t *value;
	size_t weight;
};

struct yaml_reader {
	yaml_parser_t parser;
	unsigned int first_line;
	struct sluice_lines *lines;
	struct sluice_map anchors; /* name -> struct anchor */
	size_t aliased; /* values that aliases added to this document */
	unsigned int *err_line;
	struct sluice_err *err;
};

static void free_anchor(void *value)
{
	struct anchor *a = value;

	json_decref(a->value);
	free(a);
}

static unsigned int event_line(const struct yaml_reader *r, const yaml_event_t *e)
{
	return r->first_line + e->start_mark.line;
}

__attribute__((format(printf, 3, 4))) static json_t *
yaml_fail(struct yaml_reader *r, unsigned int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sluice_err_vset(r->err, EINVAL, fmt, ap);
	va_end(ap);
	*r->err_line = line;
	return NULL;
}

static bool next_event(struct yaml_reader *r, yaml_event_t *e)
{
	if (yaml_parser_parse(&r->parser, e))
		return true;
	yaml_fail(r, r->first_line + r->parser.problem_mark.line, "not YAML: %s%s%s",
		  r->parser.problem ? r->parser.problem : "unreadable",
		  r->parser.context ? ", " : "", r->parser.context ? r->parser.context : "");
	return false;
}

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(s, *words))
			return true;
	return false;
}

/* Digits of one base, with '_' between them; false if there is anything else or too much. */
static bool parse_digits(const char *s, int base, bool negative, json_int_t *out)
{
	unsigned long long n = 0;
	bool any = false;

	for (; *s; s++) {
		int digit;

		if (*s == '_')
			continue;
		digit = isdigit((unsigned char)*s)  ? *s - '0' :
			isxdigit((unsigned char)*s) ? tolower((unsigned char)*s) - 'a' + 10 :
						      99;
		if (digit >= base || __builtin_mul_overflow(n, base, &n) ||
		    __builtin_add_overflow(n, digit, &n))
			return false;
		any = true;
	}
	if (!any || n > (unsigned long long)INT64_MAX)
		return false;
	*out = negative ? -(json_int_t)n : (json_int_t)n;
	return true;
}

static bool parse_int(const char *s, json_int_t *out)
{
	bool negative = *s == '-';

	if (*s == '-' || *s == '+')
		s++;
	if (!isdigit((unsigned char)*s))
		return false;
	if (s[0] == '0' && s[1] == 'x')
		return parse_digits(s + 2, 16, negative, out);
	if (s[0] == '0' && s[1] == 'b')
		return parse_digits(s + 2, 2, negative, out);
	if (s[0] == '0' && s[1] == 'o')
		return parse_digits(s + 2, 8, negative, out);
	if (s[0] == '0' && s[1])
		return parse_digits(s + 1, 8, negative, out);
	return parse_digits(s, 10, negative, out);
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool parse_float(const char *s, double *out)
{
	const char *p = s;
	size_t before, after = 0;

	if (*p == '-' || *p == '+')
		p++;
	before = strspn(p, "0123456789");
	p += before;
	if (*p == '.') {
		after = strspn(p + 1, "0123456789");
		p += 1 + after;
	}
	if (!before && !after)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		if (*p == '-' || *p == '+')
			p++;
		if (!isdigit((unsigned char)*p))
			return false;
		p += strspn(p, "0123456789");
	}
	if (*p)
		return false;
	*out = strtod(s, NULL);
	return isfinite(*out);
}

static json_t *plain_scalar(const char *s)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", "y",  "Y",	 "yes",
					     "Yes",  "YES",  "on",   "On", "ON", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", "n",	"N",   "no",
					      "No",    "NO",	"off",	 "Off", "OFF", NULL };
	json_int_t n;
	double f;

	if (one_of(s, nulls))
		return json_null();
	if (one_of(s, trues))
		return json_true();
	if (one_of(s, falses))
		return json_false();
	if (parse_int(s, &n))
		return json_integer(n);
	if (parse_float(s, &f))
		return json_real(f);
	return NULL;
}

static json_t *scalar(struct yaml_reader *r, const yaml_event_t *e)
{
	const char *s = (const char *)e->data.scalar.value;
	const char *tag = (const char *)e->data.scalar.tag;
	size_t len = e->data.scalar.length;
	bool is_string = tag && (!strcmp(tag, YAML_STR_TAG) || !strcmp(tag, "!"));
	json_t *v = NULL;

	if (strlen(s) != len)
		return yaml_fail(r, event_line(r, e), "a scalar has a NUL character in it");
	if (tag && !is_string && strcmp(tag, YAML_INT_TAG) && strcmp(tag, YAML_BOOL_TAG) &&
	    strcmp(tag, YAML_NULL_TAG) && strcmp(tag, YAML_FLOAT_TAG))
		return yaml_fail(r, event_line(r, e), "tag %.60s is not understood", tag);
	if (!is_string && (tag || e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE))
		v = plain_scalar(s);
	if (!v && tag && !is_string)
		return yaml_fail(r, event_line(r, e), "\"%.40s\" is not of type %.60s", s, tag);
	if (!v)
		v = json_stringn(s, len);
	if (!v)
		return yaml_fail(r, event_line(r, e), "a scalar is not UTF-8");
	return v;
}

static json_t *node(struct yaml_reader *r, const yaml_event_t *e, unsigned int depth,
		    size_t *weight);

static bool anchor(struct yaml_reader *r, const yaml_char_t *name, json_t *value, size_t weight)
{
	struct anchor **slot, *a;

	if (!name)
		return true;
	slot = (struct anchor **)sluice_map_slot(&r->anchors, name, strlen((const char *)name));
	if (*slot)
		free_anchor(*slot);
	a = sluice_zalloc(sizeof(*a));
	a->value = json_incref(value);
	a->weight = weight;
	*slot = a;
	return true;
}

static json_t *sequence(struct yaml_reader *r, const yaml_event_t *start, unsigned int depth,
			size_t *weight)
{
	json_t *list = json_array();

	for (;;) {
		yaml_event_t e;
		json_t *v;

		if (!next_event(r, &e))
			break;
		if (e.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&e);
			sluice_lines_set(r->lines, list, event_line(r, start));
			return list;
		}
		v = node(r, &e, depth + 1, weight);
		yaml_event_delete(&e);
		if (!v)
			break;
		json_array_append_new(list, v);
	}
	json_decref(list);
	return NULL;
}

/* "<<": what the merged mappings have and this one has not, at its end. */
static bool merge(struct yaml_reader *r, json_t *map, json_t *from, unsigned int line)
{
	size_t i;
	json_t *v;

	if (json_is_object(from)) {
		json_object_update_missing(map, from);
		return true;
	}
	if (json_is_array(from)) {
		json_array_foreach(from, i, v) {
			if (!json_is_object(v))
				goto bad;
			json_object_update_missing(map, v);
		}
		return true;
	}
bad:
	yaml_fail(r, line, "\"<<\" takes a mapping or a list of mappings");
	return false;
}

/* JSON has string keys only; Kubernetes' converter turns the other scalars into text. */
static char *key_text(struct yaml_reader *r, const yaml_event_t *e, bool *is_merge)
{
	const char *s = (const char *)e->data.scalar.value;
	char *text = NULL;
	json_t *v;

	*is_merge = false;
	if (e->type != YAML_SCALAR_EVENT) {
		yaml_fail(r, event_line(r, e), "a key of a mapping must be a plain word");
		return NULL;
	}
	*is_merge = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !strcmp(s, "<<");
	v = scalar(r, e);
	if (!v)
		return NULL;
	if (json_is_true(v) || json_is_false(v))
		text = sluice_strdup(json_is_true(v) ? "true" : "false");
	else if (json_is_integer(v))
		sluice_alloc_check(asprintf(&text, "%lld", (long long)json_integer_value(v)) < 0 ?
					   NULL :
					   text);
	else if (json_is_null(v))
		text = sluice_strdup("null");
	else
		text = sluice_strdup(s);
	json_decref(v);
	return text;
}

static json_t *mapping(struct yaml_reader *r, const yaml_event_t *start, unsigned int depth,
		       size_t *weight)
{
	json_t *map = json_object(), *merged = json_array();

	for (;;) {
		unsigned int line;
		yaml_event_t e;
		bool is_merge;
		char *key;
		json_t *v;

		if (!next_event(r, &e))
			break;
		if (e.type == YAML_MAPPING_END_EVENT) {
			size_t i;

			yaml_event_delete(&e);
			json_array_foreach(merged, i, v)
				if (!merge(r, map, v, event_line(r, start)))
					goto fail;
			json_decref(merged);
			sluice_lines_set(r->lines, map, event_line(r, start));
			return map;
		}
		line = event_line(r, &e);
		key = key_text(r, &e, &is_merge);
		yaml_event_delete(&e);
		if (!key)
			break;
		if (!is_merge && json_object_get(map, key)) {
			yaml_fail(r, line, "key \"%.80s\" is given twice", key);
			free(key);
			break;
		}
		if (!next_event(r, &e)) {
			free(key);
			break;
		}
		v = node(r, &e, depth + 1, weight);
		yaml_event_delete(&e);
		if (!v) {
			free(key);
			break;
		}
		if (is_merge)
			json_array_append_new(merged, v);
		else if (json_object_set_new(map, key, v))
			yaml_fail(r, line, "a key is not UTF-8");
		free(key);
		if (sluice_err_is_set(r->err))
			break;
	}
fail:
	json_decref(merged);
	json_decref(map);
	return NULL;
}

/* One value, its start event already read. Adds the number of values in it to *weight. */
static json_t *node(struct yaml_reader *r, const yaml_event_t *e, unsigned int depth,
		    size_t *weight)
{
	const struct anchor *a;
	size_t own = 1;
	json_t *v;

	if (depth > SLUICE_MANIFEST_MAX_DEPTH)
		return yaml_fail(r, event_line(r, e), "nested more than %d levels deep",
				 SLUICE_MANIFEST_MAX_DEPTH);
	switch (e->type) {
	case YAML_ALIAS_EVENT:
		a = sluice_map_get(&r->anchors, e->data.alias.anchor,
				   strlen((const char *)e->data.alias.anchor));
		if (!a)
			return yaml_fail(r, event_line(r, e),
					 "alias *%.60s has no anchor before it",
					 (const char *)e->data.alias.anchor);
		r->aliased += a->weight;
		if (r->aliased > SLUICE_MANIFEST_MAX_ALIASED)
			return yaml_fail(r, event_line(r, e),
					 "aliases expand to more than %d values",
					 SLUICE_MANIFEST_MAX_ALIASED);
		*weight += a->weight;
		return json_incref(a->value);
	case YAML_SCALAR_EVENT:
		v = scalar(r, e);
		if (v) {
			sluice_lines_set(r->lines, v, event_line(r, e));
			anchor(r, e->data.scalar.anchor, v, own);
		}
		break;
	case YAML_SEQUENCE_START_EVENT:
		v = sequence(r, e, depth, &own);
		if (v)
			anchor(r, e->data.sequence_start.anchor, v, own);
		break;
	case YAML_MAPPING_START_EVENT:
		v = mapping(r, e, depth, &own);
		if (v)
			anchor(r, e->data.mapping_start.anchor, v, own);
		break;
	default:
		return yaml_fail(r, event_line(r, e), "not YAML: a value is missing");
	}
	*weight += own;
	return v;
}

int sluice_yaml_parse(const char *text, size_t len, unsigned int first_line,
		      struct sluice_lines *lines, void (*fn)(void *ctx, json_t *doc), void *ctx,
		      unsigned int *err_line, struct sluice_err *err)
{
	SLUICE_ERR(own);
	struct yaml_reader r = {
		.first_line = first_line, .lines = lines, .err_line = err_line, .err = &own
	};
	bool end = false;

	*err_line = first_line;
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	while (!end) {
		size_t weight = 0;
		yaml_event_t e;
		json_t *doc;

		if (!next_event(&r, &e))
			break;
		switch (e.type) {
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		case YAML_DOCUMENT_START_EVENT:
			sluice_map_clear(&r.anchors, free_anchor);
			r.aliased = 0;
			break;
		case YAML_STREAM_END_EVENT:
			end = true;
			break;
		default:
			doc = node(&r, &e, 1, &weight);
			if (!doc)
				end = true;
			else
				fn(ctx, doc);
			json_decref(doc);
		}
		yaml_event_delete(&e);
	}
	sluice_map_clear(&r.anchors, free_anchor);
	yaml_parser_delete(&r.parser);
	return sluice_err_move(err, &own);
}

/* ---- JSON ---- */

/*
 * jansson tells no lines. But it has read the text, so the text is good, and it keeps the order of
 * an object's keys: a second walk over both, side by side, finds where each value stands.
 */
struct json_walk {
	const char *p;
	unsigned int line;
	struct sluice_lines *lines;
};

static void skip_space(struct json_walk *w)
{
	for (; isspace((unsigned char)*w->p) || *w->p == ',' || *w->p == ':'; w->p++)
		w->line += *w->p == '\n';
}

static void skip_string(struct json_walk *w)
{
	for (w->p++; *w->p != '"'; w->p++)
		if (*w->p == '\\')
			w->p++;
	w->p++;
}

static bool walk(struct json_walk *w, json_t *v, unsigned int depth)
{
	const char *key;
	json_t *child;
	size_t i;

	if (depth > SLUICE_MANIFEST_MAX_DEPTH)
		return false;
	skip_space(w);
	sluice_lines_set(w->lines, v, w->line);
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		w->p++;
		json_object_foreach(v, key, child) {
			skip_space(w);
			skip_string(w);
			if (!walk(w, child, depth + 1))
				return false;
		}
		skip_space(w);
		w->p++;
		break;
	case JSON_ARRAY:
		w->p++;
		json_array_foreach(v, i, child)
			if (!walk(w, child, depth + 1))
				return false;
		skip_space(w);
		w->p++;
		break;
	case JSON_STRING:
		skip_string(w);
		break;
	default:
		w->p += strcspn(w->p, " \t\r\n,:]}");
	}
	return true;
}

int sluice_json_parse(const char *text, size_t len, unsigned int first_line,
		      struct sluice_lines *lines, void (*fn)(void *ctx, json_t *doc), void *ctx,
		      unsigned int *err_line, struct sluice_err *err)
{
	struct json_walk w = { .p = text, .line = first_line, .lines = lines };
	const char *end = text + len;

	for (;;) {
		const char *start;
		json_error_t je;
		json_t *doc;

		for (; w.p < end && isspace((unsigned char)*w.p); w.p++)
			w.line += *w.p == '\n';
		if (w.p == end)
			return 0;
		start = w.p;
		*err_line = w.line;
		doc = json_loadb(start, end - start,
				 JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &je);
		if (!doc) {
			if (je.line > 0)
				*err_line = w.line + je.line - 1;
			return sluice_err_set(err, EINVAL, "not JSON: %s", je.text);
		}
		if (!walk(&w, doc, 1)) {
			*err_line = w.line;
			json_decref(doc);
			return sluice_err_set(err, EINVAL, "nested more than %d levels deep",
					      SLUICE_MANIFEST_MAX_DEPTH);
		}
		fn(ctx, doc);
		json_decref(doc);
		/* What jansson took is what counts. */
		w.p = start + je.position;
	}
}
