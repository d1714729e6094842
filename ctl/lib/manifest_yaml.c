// SPDX-License-Identifier: GPL-2.0-only
/*
 * YAML as Kubernetes reads it: converted to JSON with the types that YAML 1.1 gives to plain
 * scalars (go-yaml v2 under sigs.k8s.io/yaml): "yes" and "on" are booleans, 010 is 8, ~ is null,
 * and 2001-01-01 stays text. Quoted scalars are strings.
 *
 * What could be used against the reader is bounded: depth, and what aliases expand to. An alias
 * shares what its anchor has, so it costs no memory, but whoever walks the tree walks it again
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

struct anchor {
	struct sluice_value value;
	size_t weight;
};

struct yaml_reader {
	yaml_parser_t parser;
	unsigned int first_line;
	struct sluice_arena *arena;
	struct sluice_value_stack stack;
	struct sluice_map anchors; /* name -> struct anchor */
	size_t aliased; /* values that aliases added to this document */
	unsigned int *err_line;
	struct sluice_err *err;
};

static unsigned int event_line(const struct yaml_reader *r, const yaml_event_t *e)
{
	return r->first_line + e->start_mark.line;
}

__attribute__((format(printf, 3, 4))) static bool fail(struct yaml_reader *r, unsigned int line,
						       const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sluice_err_vset(r->err, EINVAL, fmt, ap);
	va_end(ap);
	*r->err_line = line;
	return false;
}

static bool next_event(struct yaml_reader *r, yaml_event_t *e)
{
	if (yaml_parser_parse(&r->parser, e))
		return true;
	return fail(r, r->first_line + r->parser.problem_mark.line, "not YAML: %s%s%s",
		    r->parser.problem ? r->parser.problem : "unreadable",
		    r->parser.context ? ", " : "", r->parser.context ? r->parser.context : "");
}

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(s, *words))
			return true;
	return false;
}

/* Digits of one base, with '_' between them; false if there is anything else or too much. */
static bool parse_digits(const char *s, int base, bool negative, int64_t *out)
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
	*out = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool parse_int(const char *s, int64_t *out)
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

/* What a plain scalar is if it is no text; false: it is. */
static bool plain_scalar(const char *s, struct sluice_value *out)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", "y",  "Y",	 "yes",
					     "Yes",  "YES",  "on",   "On", "ON", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", "n",	"N",   "no",
					      "No",    "NO",	"off",	 "Off", "OFF", NULL };

	/* Which letters they begin with, as most words do not: five words in six end here. */
	if (*s && !strchr("~nNtTyYoOfF-+.0123456789", *s))
		return false;
	if (one_of(s, nulls)) {
		out->type = SLUICE_VALUE_NULL;
		return true;
	}
	if (one_of(s, trues) || one_of(s, falses)) {
		out->type = SLUICE_VALUE_BOOLEAN;
		out->boolean = one_of(s, trues);
		return true;
	}
	if (parse_int(s, &out->integer)) {
		out->type = SLUICE_VALUE_INTEGER;
		return true;
	}
	if (parse_float(s, &out->real)) {
		out->type = SLUICE_VALUE_REAL;
		return true;
	}
	return false;
}

static bool scalar(struct yaml_reader *r, const yaml_event_t *e, struct sluice_value *out)
{
	const char *s = (const char *)e->data.scalar.value;
	const char *tag = (const char *)e->data.scalar.tag;
	size_t len = e->data.scalar.length;
	bool is_text = tag && (!strcmp(tag, YAML_STR_TAG) || !strcmp(tag, "!"));

	if (strlen(s) != len)
		return fail(r, event_line(r, e), "a scalar has a NUL character in it");
	if (tag && !is_text && strcmp(tag, YAML_INT_TAG) && strcmp(tag, YAML_BOOL_TAG) &&
	    strcmp(tag, YAML_NULL_TAG) && strcmp(tag, YAML_FLOAT_TAG))
		return fail(r, event_line(r, e), "tag %.60s is not understood", tag);
	out->line = event_line(r, e);
	if (!is_text && (tag || e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) &&
	    plain_scalar(s, out))
		return true;
	if (tag && !is_text)
		return fail(r, event_line(r, e), "\"%.40s\" is not of type %.60s", s, tag);
	/* libyaml lets only UTF-8 through. */
	out->type = SLUICE_VALUE_TEXT;
	out->n = len;
	out->text = sluice_arena_text(r->arena, s, len);
	return true;
}

static bool node(struct yaml_reader *r, const yaml_event_t *e, unsigned int depth, size_t *weight,
		 struct sluice_value *out);

static void anchor(struct yaml_reader *r, const yaml_char_t *name, const struct sluice_value *value,
		   size_t weight)
{
	struct anchor **slot;

	if (!name)
		return;
	slot = (struct anchor **)sluice_map_slot(&r->anchors, name, strlen((const char *)name));
	if (!*slot)
		*slot = sluice_zalloc(sizeof(**slot));
	(*slot)->value = *value;
	(*slot)->weight = weight;
}

static bool sequence(struct yaml_reader *r, unsigned int depth, size_t *weight,
		     struct sluice_value *out)
{
	size_t base = r->stack.n;

	for (;;) {
		struct sluice_value v = { 0 };
		yaml_event_t e;
		bool good;

		if (!next_event(r, &e))
			return false;
		if (e.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&e);
			sluice_value_take_list(r->arena, &r->stack, base, out);
			return true;
		}
		good = node(r, &e, depth + 1, weight, &v);
		yaml_event_delete(&e);
		if (!good)
			return false;
		sluice_value_push(&r->stack)->value = v;
	}
}

static bool has_key(const struct sluice_value_stack *stack, size_t base,
		    const struct sluice_member *like)
{
	for (; base < stack->n; base++)
		if (stack->v[base].key_len == like->key_len &&
		    !memcmp(stack->v[base].key, like->key, like->key_len))
			return true;
	return false;
}

/* "<<": what the merged mappings have and this one has not, at its end. */
static bool merge(struct yaml_reader *r, size_t base, const struct sluice_value *from,
		  unsigned int line)
{
	size_t i;

	if (from->type == SLUICE_VALUE_LIST) {
		for (i = 0; i < from->n; i++)
			if (from->items[i].type != SLUICE_VALUE_OBJECT ||
			    !merge(r, base, &from->items[i], line))
				goto bad;
		return true;
	}
	if (from->type != SLUICE_VALUE_OBJECT)
		goto bad;
	/* It is walked, as if it were written out. */
	r->aliased += from->n;
	if (r->aliased > SLUICE_MANIFEST_MAX_ALIASED)
		return fail(r, line, "aliases expand to more than %d values",
			    SLUICE_MANIFEST_MAX_ALIASED);
	for (i = 0; i < from->n; i++)
		if (!has_key(&r->stack, base, &from->members[i]))
			*sluice_value_push(&r->stack) = from->members[i];
	return true;
bad:
	if (!sluice_err_is_set(r->err))
		fail(r, line, "\"<<\" takes a mapping or a list of mappings");
	return false;
}

/* JSON has string keys only; Kubernetes' converter turns the other scalars into text. */
static bool key_text(struct yaml_reader *r, const yaml_event_t *e, struct sluice_member *m,
		     bool *is_merge)
{
	const char *s = (const char *)e->data.scalar.value;
	struct sluice_value v = { 0 };
	char number[32];

	*is_merge = false;
	if (e->type != YAML_SCALAR_EVENT)
		return fail(r, event_line(r, e), "a key of a mapping must be a plain word");
	*is_merge = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !strcmp(s, "<<");
	if (!scalar(r, e, &v))
		return false;
	if (v.type == SLUICE_VALUE_BOOLEAN)
		s = v.boolean ? "true" : "false";
	else if (v.type == SLUICE_VALUE_NULL)
		s = "null";
	else if (v.type == SLUICE_VALUE_TEXT)
		s = v.text;
	if (v.type == SLUICE_VALUE_INTEGER) {
		snprintf(number, sizeof(number), "%lld", (long long)v.integer);
		s = number;
	}
	m->key_len = strlen(s);
	m->key = v.type == SLUICE_VALUE_TEXT ? s : sluice_arena_text(r->arena, s, m->key_len);
	return true;
}

/* The line of a key that is there twice. */
static unsigned int line_of_key(const struct sluice_value_stack *stack, size_t base,
				const char *key, unsigned int line)
{
	for (; base < stack->n; base++)
		if (!strcmp(stack->v[base].key, key) && stack->v[base].value.line > line)
			line = stack->v[base].value.line;
	return line;
}

static bool mapping(struct yaml_reader *r, unsigned int line, unsigned int depth, size_t *weight,
		    struct sluice_value *out)
{
	struct sluice_value merged[8];
	size_t base = r->stack.n, n_merged = 0, i;
	const char *twice;

	for (;;) {
		struct sluice_member m = { 0 };
		bool is_merge, good;
		yaml_event_t e;

		if (!next_event(r, &e))
			return false;
		if (e.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&e);
			break;
		}
		good = key_text(r, &e, &m, &is_merge);
		yaml_event_delete(&e);
		if (!good || !next_event(r, &e))
			return false;
		good = node(r, &e, depth + 1, weight, &m.value);
		yaml_event_delete(&e);
		if (!good)
			return false;
		if (!is_merge)
			*sluice_value_push(&r->stack) = m;
		else if (n_merged < sizeof(merged) / sizeof(*merged))
			merged[n_merged++] = m.value;
		else
			return fail(r, line, "\"<<\" stands in a mapping too often");
	}
	twice = sluice_value_duplicate(&r->stack, base);
	if (twice)
		return fail(r, line_of_key(&r->stack, base, twice, line),
			    "key \"%.80s\" is given twice", twice);
	for (i = 0; i < n_merged; i++)
		if (!merge(r, base, &merged[i], line))
			return false;
	sluice_value_take_object(r->arena, &r->stack, base, out);
	return true;
}

/* One value, its start event already read. Adds the number of values in it to *weight. */
static bool node(struct yaml_reader *r, const yaml_event_t *e, unsigned int depth, size_t *weight,
		 struct sluice_value *out)
{
	const struct anchor *a;
	size_t own = 1;
	bool good;

	if (depth > SLUICE_VALUE_MAX_DEPTH)
		return fail(r, event_line(r, e), "nested more than %d levels deep",
			    SLUICE_VALUE_MAX_DEPTH);
	switch (e->type) {
	case YAML_ALIAS_EVENT:
		a = sluice_map_get(&r->anchors, e->data.alias.anchor,
				   strlen((const char *)e->data.alias.anchor));
		if (!a)
			return fail(r, event_line(r, e), "alias *%.60s has no anchor before it",
				    (const char *)e->data.alias.anchor);
		r->aliased += a->weight;
		if (r->aliased > SLUICE_MANIFEST_MAX_ALIASED)
			return fail(r, event_line(r, e), "aliases expand to more than %d values",
				    SLUICE_MANIFEST_MAX_ALIASED);
		*weight += a->weight;
		*out = a->value;
		return true;
	case YAML_SCALAR_EVENT:
		good = scalar(r, e, out);
		if (good)
			anchor(r, e->data.scalar.anchor, out, own);
		break;
	case YAML_SEQUENCE_START_EVENT:
		good = sequence(r, depth, &own, out);
		out->line = event_line(r, e);
		if (good)
			anchor(r, e->data.sequence_start.anchor, out, own);
		break;
	case YAML_MAPPING_START_EVENT:
		good = mapping(r, event_line(r, e), depth, &own, out);
		out->line = event_line(r, e);
		if (good)
			anchor(r, e->data.mapping_start.anchor, out, own);
		break;
	default:
		return fail(r, event_line(r, e), "not YAML: a value is missing");
	}
	*weight += own;
	return good;
}

int sluice_yaml_read(struct sluice_arena *arena, const char *text, size_t len,
		     unsigned int first_line, void (*fn)(void *ctx, const struct sluice_value *doc),
		     void *ctx, unsigned int *err_line, struct sluice_err *err)
{
	SLUICE_ERR(own);
	struct yaml_reader r = {
		.first_line = first_line, .arena = arena, .err_line = err_line, .err = &own
	};
	bool end = false;

	*err_line = first_line;
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	while (!end) {
		struct sluice_value doc = { 0 };
		size_t weight = 0;
		yaml_event_t e;

		if (!next_event(&r, &e))
			break;
		switch (e.type) {
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		case YAML_DOCUMENT_START_EVENT:
			sluice_map_clear(&r.anchors, free);
			r.aliased = 0;
			break;
		case YAML_STREAM_END_EVENT:
			end = true;
			break;
		default:
			if (node(&r, &e, 1, &weight, &doc))
				fn(ctx, &doc);
			else
				end = true;
		}
		yaml_event_delete(&e);
	}
	sluice_map_clear(&r.anchors, free);
	free(r.stack.v);
	yaml_parser_delete(&r.parser);
	return sluice_err_move(err, &own);
}
