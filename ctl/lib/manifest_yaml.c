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

static size_t index_find(const struct sluice_lines *lines, const json_t *value)
{
	size_t i = ((uintptr_t)value >> 4) * 0x9e3779b97f4a7c15ULL >> 20;

	for (i &= lines->n_index - 1; lines->index[i]; i = (i + 1) & (lines->n_index - 1))
		if (lines->v[lines->index[i] - 1].value == value)
			break;
	return i;
}

static void index_lines(struct sluice_lines *lines)
{
	size_t i;

	for (lines->n_index = 16; lines->n_index < 2 * lines->n; lines->n_index *= 2)
		;
	lines->index = sluice_zalloc(lines->n_index * sizeof(*lines->index));
	for (i = 0; i < lines->n; i++)
		lines->index[index_find(lines, lines->v[i].value)] = i + 1;
}

static void drop_index(struct sluice_lines *lines)
{
	free(lines->index);
	lines->index = NULL;
	lines->n_index = 0;
}

void sluice_lines_set(struct sluice_lines *lines, const json_t *value, unsigned int line)
{
	if (!json_is_object(value) && !json_is_array(value) && !json_is_string(value) &&
	    !json_is_number(value))
		return;
	if (lines->n_index)
		drop_index(lines);
	sluice_grow(lines->v, lines->n, lines->cap);
	lines->v[lines->n++] = (struct sluice_line){ value, line };
}

static void walk_json(struct sluice_lines *lines);

unsigned int sluice_lines_get(struct sluice_lines *lines, const json_t *value)
{
	size_t i;

	if (lines->text)
		walk_json(lines);
	if (!lines->n)
		return 0;
	if (!lines->n_index)
		index_lines(lines);
	i = lines->index[index_find(lines, value)];
	return i ? lines->v[i - 1].line : 0;
}

void sluice_lines_reset(struct sluice_lines *lines)
{
	drop_index(lines);
	lines->n = 0;
	lines->text = NULL;
}

void sluice_lines_clear(struct sluice_lines *lines)
{
	drop_index(lines);
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
	const struct sluice_document_reader *reader;
	struct sluice_lines *lines;
	struct sluice_map anchors; /* name -> struct anchor */
	size_t aliased; /* values that aliases added to this document */
	const char *list_kind; /* the text is one list of this kind; or NULL */
	const char *list_api;
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

/* items: of a list at the top, each of which is handed on and let go. */
static json_t *sequence(struct yaml_reader *r, const yaml_event_t *start, unsigned int depth,
			bool items, size_t *weight)
{
	json_t *list = json_array();

	for (;;) {
		yaml_event_t e;
		unsigned int line;
		json_t *v;

		if (!next_event(r, &e))
			break;
		if (e.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&e);
			sluice_lines_set(r->lines, list, event_line(r, start));
			return list;
		}
		line = event_line(r, &e);
		if (items)
			sluice_lines_reset(r->lines);
		v = node(r, &e, depth + 1, weight);
		yaml_event_delete(&e);
		if (!v)
			break;
		if (items) {
			struct sluice_document doc = { v, line, r->list_kind, r->list_api };

			r->reader->document(r->reader->ctx, &doc);
			json_decref(v);
		} else {
			json_array_append_new(list, v);
		}
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
		if (depth == 1 && r->list_kind && e.type == YAML_SEQUENCE_START_EVENT &&
		    !strcmp(key, "items"))
			v = sequence(r, &e, depth + 1, true, weight);
		else
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
		v = sequence(r, e, depth, false, &own);
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

/*
 * The value of a plain "key: value" line of the mapping at the top, "" if there is none. Block style
 * alone, as kubectl prints it: other lists are read whole, which costs nothing but time.
 */
static void top_value(const char *p, const char *end, const char *key, char *out, size_t size)
{
	size_t n = strlen(key);

	*out = 0;
	while (p < end) {
		const char *eol = memchr(p, '\n', end - p);
		const char *stop = eol ? eol : end;

		if ((size_t)(stop - p) > n && !memcmp(p, key, n) && p[n] == ':') {
			for (p += n + 1; p < stop && (*p == ' ' || *p == '\t'); p++)
				;
			for (n = 0; p + n < stop && n + 1 < size && isgraph((unsigned char)p[n]) &&
				    !strchr("\"'&*!|>{[", p[n]);
			     n++)
				out[n] = p[n];
			out[n] = 0;
			return;
		}
		if (!eol)
			return;
		p = eol + 1;
	}
}

static bool ends_in_list(const char *kind)
{
	size_t n = strlen(kind);

	return n >= 4 && !strcmp(kind + n - 4, "List");
}

#define WORD 128 /* longest kind and apiVersion of a list whose items are read one by one */

int sluice_yaml_parse(const char *text, size_t len, unsigned int first_line,
		      const struct sluice_document_reader *reader, unsigned int *err_line,
		      struct sluice_err *err)
{
	SLUICE_ERR(own);
	struct yaml_reader r = { .first_line = first_line,
				 .reader = reader,
				 .lines = reader->lines,
				 .err_line = err_line,
				 .err = &own };
	char kind[WORD], api[WORD];
	bool end = false;

	*err_line = first_line;
	top_value(text, text + len, "kind", kind, sizeof(kind));
	if (ends_in_list(kind)) {
		top_value(text, text + len, "apiVersion", api, sizeof(api));
		r.list_kind = kind;
		r.list_api = api;
	}
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	while (!end) {
		struct sluice_document doc = { 0 };
		size_t weight = 0;
		yaml_event_t e;

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
			sluice_lines_reset(r.lines);
			doc.line = event_line(&r, &e);
			doc.value = node(&r, &e, 1, &weight);
			if (!doc.value)
				end = true;
			else if (!r.list_kind)
				reader->document(reader->ctx, &doc);
			json_decref(doc.value);
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

static void walk(struct json_walk *w, const json_t *v)
{
	const char *key;
	json_t *child;
	size_t i;

	skip_space(w);
	sluice_lines_set(w->lines, v, w->line);
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		w->p++;
		json_object_foreach((json_t *)v, key, child) {
			skip_space(w);
			skip_string(w);
			walk(w, child);
		}
		skip_space(w);
		w->p++;
		break;
	case JSON_ARRAY:
		w->p++;
		json_array_foreach((json_t *)v, i, child)
			walk(w, child);
		skip_space(w);
		w->p++;
		break;
	case JSON_STRING:
		skip_string(w);
		break;
	default:
		w->p += strcspn(w->p, " \t\r\n,:]}");
	}
}

static void walk_json(struct sluice_lines *lines)
{
	struct json_walk w = { lines->text, lines->first_line, lines };

	lines->text = NULL;
	walk(&w, lines->root);
}

/*
 * Finds the ends of values without reading them: brackets and strings are all that matters. Text that
 * is no JSON may pass; jansson looks at each part afterwards. NULL: it has no end.
 */
struct json_scan {
	const char *p, *end;
	unsigned int line;
};

static bool scan_space(struct json_scan *s)
{
	for (; s->p < s->end && isspace((unsigned char)*s->p); s->p++)
		s->line += *s->p == '\n';
	return s->p < s->end;
}

static bool scan_string(struct json_scan *s)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++) {
		if (*s->p == '\n')
			return false;
		if (*s->p == '\\')
			s->p++;
	}
	if (s->p >= s->end)
		return false;
	s->p++;
	return true;
}

static bool scan_value(struct json_scan *s)
{
	unsigned int depth = 0;

	if (!scan_space(s))
		return false;
	do {
		switch (*s->p) {
		case '{':
		case '[':
			/* An item stands two levels deep. */
			if (++depth > SLUICE_MANIFEST_MAX_DEPTH - 2)
				return false;
			s->p++;
			break;
		case '}':
		case ']':
			if (!depth)
				return false;
			depth--;
			s->p++;
			break;
		case '"':
			if (!scan_string(s))
				return false;
			break;
		case '\n':
			s->line++;
			s->p++;
			break;
		case ',':
		case ':':
			if (!depth)
				return false;
			s->p++;
			break;
		default:
			/* A number or a word ends at what may follow it. */
			for (s->p++; !depth && s->p < s->end && !strchr(" \t\r\n,:]}", *s->p);)
				s->p++;
		}
	} while (depth && s->p < s->end);
	return !depth;
}

/* A list at the top. */
struct json_list {
	struct json_scan items; /* behind the '[' */
	struct json_scan rest; /* from the ']' on */
	json_t *shell; /* the list without its items */
	const char *kind, *api;
};

/* Where the items of a list at the top are, if it is one. */
static bool find_items(struct json_scan *s, struct json_list *list)
{
	bool found = false;

	if (!scan_space(s) || *s->p++ != '{')
		return false;
	for (;;) {
		const char *key;
		bool items;

		if (!scan_space(s))
			return false;
		if (*s->p == '}')
			break;
		key = s->p;
		if (*key != '"' || !scan_string(s))
			return false;
		items = s->p - key == 7 && !memcmp(key, "\"items\"", 7);
		if (!scan_space(s) || *s->p++ != ':' || !scan_space(s))
			return false;
		if (items && (found || *s->p != '['))
			return false;
		if (items) {
			list->items = *s;
			list->items.p++;
		}
		if (!scan_value(s))
			return false;
		if (items) {
			list->rest = *s;
			list->rest.p--;
			found = true;
		}
		if (!scan_space(s))
			return false;
		if (*s->p == ',')
			s->p++;
		else if (*s->p != '}')
			return false;
	}
	s->p++;
	return found;
}

/* s moves behind the list; whatever is odd about it is left to the reader of whole documents. */
static bool find_list(struct json_scan *s, struct json_list *list)
{
	const char *start = s->p;
	size_t before, after;
	char *shell;

	if (!find_items(s, list))
		return false;
	before = list->items.p - start;
	after = s->p - list->rest.p;
	shell = sluice_zalloc(before + after);
	memcpy(shell, start, before);
	memcpy(shell + before, list->rest.p, after);
	list->shell = json_loadb(shell, before + after, JSON_REJECT_DUPLICATES, NULL);
	free(shell);
	list->kind = json_string_value(json_object_get(list->shell, "kind"));
	list->api = json_string_value(json_object_get(list->shell, "apiVersion"));
	if (!list->api)
		list->api = "";
	if (list->kind && ends_in_list(list->kind))
		return true;
	json_decref(list->shell);
	return false;
}

/* Reads one value that begins at p. Sets *end behind it. */
static json_t *load_json(const char *p, const char *limit, unsigned int line, const char **end,
			 unsigned int *err_line, struct sluice_err *err)
{
	json_error_t je;
	json_t *doc = json_loadb(p, limit - p, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &je);

	if (!doc) {
		*err_line = je.line > 0 ? line + je.line - 1 : line;
		sluice_err_set(err, EINVAL, "not JSON: %s", je.text);
		return NULL;
	}
	/* What jansson took is what counts. */
	*end = p + je.position;
	return doc;
}

static bool too_deep(const json_t *v, unsigned int depth)
{
	const char *key;
	json_t *child;
	size_t i;

	if (depth > SLUICE_MANIFEST_MAX_DEPTH)
		return true;
	if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, child)
			if (too_deep(child, depth + 1))
				return true;
	}
	json_array_foreach((json_t *)v, i, child)
		if (too_deep(child, depth + 1))
			return true;
	return false;
}

static void hand_on(const struct sluice_document_reader *reader, const struct sluice_document *doc,
		    const char *text)
{
	struct sluice_lines *lines = reader->lines;

	sluice_lines_reset(lines);
	lines->text = text;
	lines->root = doc->value;
	lines->first_line = doc->line;
	reader->document(reader->ctx, doc);
	sluice_lines_reset(lines);
}

/* jansson finds the end of an item itself; of a broken one it is looked for. */
static bool read_item(struct json_scan *s, const struct json_list *list,
		      const struct sluice_document_reader *reader)
{
	struct sluice_document doc = { NULL, s->line, list->kind, list->api };
	const char *end = NULL;
	unsigned int line;
	SLUICE_ERR(own);

	doc.value = load_json(s->p, list->rest.p, doc.line, &end, &line, &own);
	if (!doc.value) {
		reader->broken(reader->ctx, line, sluice_err_msg(&own));
		return scan_value(s);
	}
	hand_on(reader, &doc, s->p);
	json_decref(doc.value);
	while ((s->p = memchr(s->p, '\n', end - s->p))) {
		s->line++;
		s->p++;
	}
	s->p = end;
	return true;
}

static int read_items(struct json_list *list, const struct sluice_document_reader *reader,
		      unsigned int *err_line, struct sluice_err *err)
{
	struct json_scan s = list->items;

	scan_space(&s);
	while (s.p < list->rest.p) {
		if (!read_item(&s, list, reader))
			break;
		scan_space(&s);
		if (s.p == list->rest.p)
			return 0;
		if (*s.p++ != ',')
			break;
		scan_space(&s);
		if (s.p == list->rest.p)
			break; /* a comma, and nothing behind it */
	}
	if (s.p == list->rest.p && s.p[-1] != ',')
		return 0; /* no items at all */
	*err_line = s.line;
	return sluice_err_set(err, EINVAL, "not JSON: the items of a list stand between commas");
}

int sluice_json_parse(const char *text, size_t len, unsigned int first_line,
		      const struct sluice_document_reader *reader, unsigned int *err_line,
		      struct sluice_err *err)
{
	struct json_scan s = { text, text + len, first_line };

	while (scan_space(&s)) {
		struct json_scan behind = s;
		struct sluice_document doc = { .line = s.line };
		struct json_list list = { 0 };
		const char *end;
		bool deep;

		if (find_list(&behind, &list)) {
			int ret = read_items(&list, reader, err_line, err);

			json_decref(list.shell);
			if (ret)
				return ret;
			s = behind;
			continue;
		}
		*err_line = s.line;
		doc.value = load_json(s.p, s.end, s.line, &end, err_line, err);
		if (!doc.value)
			return -EINVAL;
		deep = too_deep(doc.value, 1);
		if (!deep)
			hand_on(reader, &doc, s.p);
		json_decref(doc.value);
		if (deep)
			return sluice_err_set(err, EINVAL, "nested more than %d levels deep",
					      SLUICE_MANIFEST_MAX_DEPTH);
		for (; s.p < end; s.p++)
			s.line += *s.p == '\n';
	}
	return 0;
}
