// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/value.h"

#include <math.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/selector.h"

/* ---- arenas ---- */

#define FIRST_BLOCK (64u << 10)
#define ALIGNMENT 16

struct sluice_arena_block {
	struct sluice_arena_block *next;
	size_t size, used; /* of bytes */
	_Alignas(ALIGNMENT) unsigned char bytes[];
};

static struct sluice_arena_block *add_block(struct sluice_arena *arena, size_t least)
{
	size_t size = arena->blocks ? arena->blocks->size * 2 : FIRST_BLOCK;
	struct sluice_arena_block *b;

	while (size < least)
		size *= 2;
	b = sluice_alloc_check(malloc(sizeof(*b) + size));
	b->size = size;
	b->used = 0;
	b->next = arena->blocks;
	arena->blocks = b;
	return b;
}

void *sluice_arena_get(struct sluice_arena *arena, size_t size)
{
	struct sluice_arena_block *b = arena->blocks;
	void *p;

	size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (!b || size > b->size - b->used)
		b = add_block(arena, size);
	p = b->bytes + b->used;
	b->used += size;
	return p;
}

char *sluice_arena_text(struct sluice_arena *arena, const char *text, size_t len)
{
	char *copy = sluice_arena_get(arena, len + 1);

	memcpy(copy, text, len);
	copy[len] = 0;
	return copy;
}

static void free_blocks(struct sluice_arena_block *b)
{
	while (b) {
		struct sluice_arena_block *next = b->next;

		free(b);
		b = next;
	}
}

void sluice_arena_reset(struct sluice_arena *arena)
{
	if (!arena->blocks)
		return;
	/* The last one is the largest. */
	free_blocks(arena->blocks->next);
	arena->blocks->next = NULL;
	arena->blocks->used = 0;
}

void sluice_arena_clear(struct sluice_arena *arena)
{
	free_blocks(arena->blocks);
	arena->blocks = NULL;
}

/* ---- values ---- */

const struct sluice_value *sluice_value_get(const struct sluice_value *object, const char *key)
{
	size_t len = strlen(key), i;

	if (!object || object->type != SLUICE_VALUE_OBJECT)
		return NULL;
	/* Objects of Kubernetes have some ten members. */
	for (i = 0; i < object->n; i++)
		if (object->members[i].key_len == len && !memcmp(object->members[i].key, key, len))
			return &object->members[i].value;
	return NULL;
}

const char *sluice_value_text(const struct sluice_value *object, const char *key)
{
	const struct sluice_value *v = sluice_value_get(object, key);

	return v && v->type == SLUICE_VALUE_TEXT ? v->text : NULL;
}

uint64_t sluice_value_hash(uint64_t seed, const struct sluice_value *v)
{
	uint64_t h, sum = 0;
	uint8_t type;
	size_t i;

	if (!v)
		return sluice_hash_text(seed, "absent");
	type = v->type;
	h = sluice_hash_bytes(seed, &type, 1);
	switch (v->type) {
	case SLUICE_VALUE_NULL:
		return h;
	case SLUICE_VALUE_BOOLEAN:
		return sluice_hash_bytes(h, &v->boolean, sizeof(v->boolean));
	case SLUICE_VALUE_INTEGER:
		return sluice_hash_bytes(h, &v->integer, sizeof(v->integer));
	case SLUICE_VALUE_REAL:
		return sluice_hash_bytes(h, &v->real, sizeof(v->real));
	case SLUICE_VALUE_TEXT:
		return sluice_hash_bytes(h, v->text, v->n);
	case SLUICE_VALUE_LIST:
		for (i = 0; i < v->n; i++)
			h = sluice_value_hash(h, &v->items[i]);
		return sluice_hash_bytes(h, &v->n, sizeof(v->n));
	case SLUICE_VALUE_OBJECT:
		for (i = 0; i < v->n; i++)
			sum += sluice_value_hash(sluice_hash_bytes(h, v->members[i].key,
								   v->members[i].key_len),
						 &v->members[i].value);
		return sluice_hash_bytes(h, &sum, sizeof(sum));
	}
	return h;
}

/* ---- collecting ---- */

struct sluice_member *sluice_value_push(struct sluice_value_stack *stack)
{
	sluice_grow(stack->v, stack->n, stack->cap);
	return memset(&stack->v[stack->n++], 0, sizeof(*stack->v));
}

static int compare_keys(const void *x, const void *y)
{
	const struct sluice_member *a = *(const struct sluice_member *const *)x;
	const struct sluice_member *b = *(const struct sluice_member *const *)y;

	return strcmp(a->key, b->key);
}

const char *sluice_value_duplicate(const struct sluice_value_stack *stack, size_t base)
{
	const struct sluice_member *members = stack->n > base ? stack->v + base : NULL;
	size_t n = stack->n - base;
	const struct sluice_member **sorted;
	const char *found = NULL;
	size_t i, k;

	if (n <= 16) {
		for (i = 1; i < n; i++)
			for (k = 0; k < i; k++)
				if (members[i].key_len == members[k].key_len &&
				    !memcmp(members[i].key, members[k].key, members[i].key_len))
					return members[i].key;
		return NULL;
	}
	sorted = sluice_zalloc(n * sizeof(*sorted));
	for (i = 0; i < n; i++)
		sorted[i] = &members[i];
	qsort(sorted, n, sizeof(*sorted), compare_keys);
	for (i = 1; i < n && !found; i++)
		if (!strcmp(sorted[i - 1]->key, sorted[i]->key))
			found = sorted[i]->key;
	free(sorted);
	return found;
}

void sluice_value_take_list(struct sluice_arena *arena, struct sluice_value_stack *stack,
			    size_t base, struct sluice_value *out)
{
	size_t n = stack->n - base, i;
	struct sluice_value *items = sluice_arena_get(arena, n * sizeof(*items));

	for (i = 0; i < n; i++)
		items[i] = stack->v[base + i].value;
	stack->n = base;
	out->type = SLUICE_VALUE_LIST;
	out->n = n;
	out->items = items;
}

void sluice_value_take_object(struct sluice_arena *arena, struct sluice_value_stack *stack,
			      size_t base, struct sluice_value *out)
{
	size_t n = stack->n - base;
	struct sluice_member *members = sluice_arena_get(arena, n * sizeof(*members));

	if (n)
		memcpy(members, stack->v + base, n * sizeof(*members));
	stack->n = base;
	out->type = SLUICE_VALUE_OBJECT;
	out->n = n;
	out->members = members;
}

/* ---- JSON ---- */

struct json {
	struct sluice_arena *arena;
	const char *p, *end;
	unsigned int line;
	unsigned int depth;
	struct sluice_value_stack stack;
	struct sluice_err *err;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct json *j, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sluice_err_vset(j->err, EINVAL, fmt, ap);
	va_end(ap);
	sluice_err_prefix(j->err, "not JSON");
	return false;
}

/* The next character that is no white space; 0 at the end. A NUL in the text is none that JSON has. */
static char look(struct json *j)
{
	for (; j->p < j->end; j->p++) {
		switch (*j->p) {
		case '\n':
			j->line++;
			continue;
		case ' ':
		case '\t':
		case '\r':
			continue;
		}
		return *j->p;
	}
	return 0;
}

static bool unexpected(struct json *j, const char *wanted)
{
	if (j->p >= j->end)
		return fail(j, "it ends where %s should be", wanted);
	return fail(j, "%s expected near '%.*s'", wanted,
		    (int)(j->end - j->p < 16 ? j->end - j->p : 16), j->p);
}

/* How many bytes the UTF-8 sequence at p has; 0 if it is none: too long, a surrogate, beyond Unicode. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *p < 0x80 ? 1 :
		   *p < 0xc2 ? 0 :
		   *p < 0xe0 ? 2 :
		   *p < 0xf0 ? 3 :
		   *p < 0xf5 ? 4 :
			       0,
	       i;
	uint32_t c;

	if (n < 2)
		return n;
	if (n > left)
		return 0;
	c = *p & (0x7f >> n);
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

static size_t put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = 0xc0 | c >> 6;
		out[1] = 0x80 | (c & 0x3f);
		return 2;
	}
	if (c < 0x10000) {
		out[0] = 0xe0 | c >> 12;
		out[1] = 0x80 | (c >> 6 & 0x3f);
		out[2] = 0x80 | (c & 0x3f);
		return 3;
	}
	out[0] = 0xf0 | c >> 18;
	out[1] = 0x80 | (c >> 12 & 0x3f);
	out[2] = 0x80 | (c >> 6 & 0x3f);
	out[3] = 0x80 | (c & 0x3f);
	return 4;
}

static bool read_hex(struct json *j, uint32_t *out)
{
	int i;

	*out = 0;
	if (j->end - j->p < 4)
		return fail(j, "it ends inside of a \\u escape");
	for (i = 0; i < 4; i++) {
		char c = *j->p++;

		*out <<= 4;
		if (c >= '0' && c <= '9')
			*out |= c - '0';
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			*out |= (c | 32) - 'a' + 10;
		else
			return fail(j, "a \\u escape takes four hexadecimal digits");
	}
	return true;
}

/* What stands behind a backslash. */
static bool read_escape(struct json *j, char *out, size_t *n)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *known;
	uint32_t c, low;

	if (j->p >= j->end)
		return fail(j, "it ends inside of a string");
	known = *j->p ? strchr(from, *j->p) : NULL;
	if (known) {
		j->p++;
		*out = to[known - from];
		*n = 1;
		return true;
	}
	if (*j->p++ != 'u')
		return fail(j, "a backslash and '%c' mean nothing", j->p[-1]);
	if (!read_hex(j, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00) {
		if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
			return fail(j, "half a surrogate pair");
		j->p += 2;
		if (!read_hex(j, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(j, "half a surrogate pair");
		c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
	} else if (c >= 0xdc00 && c < 0xe000) {
		return fail(j, "half a surrogate pair");
	}
	if (!c)
		return fail(j, "\\u0000 is not allowed");
	*n = put_utf8(out, c);
	return true;
}

/* Behind the first quote. An escape is never shorter than what it means. */
static bool read_string(struct json *j, const char **text, size_t *len)
{
	const char *start = j->p, *p = start;
	size_t used = 0;
	char *out;

	/* Nearly always it holds nothing special. */
	while (p < j->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 &&
	       (unsigned char)*p < 0x80)
		p++;
	if (p < j->end && *p == '"') {
		*text = sluice_arena_text(j->arena, start, p - start);
		*len = p - start;
		j->p = p + 1;
		return true;
	}
	for (; p < j->end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	if (p >= j->end)
		return fail(j, "it ends inside of a string");
	out = sluice_arena_get(j->arena, p - start + 1);
	while (*j->p != '"') {
		unsigned char c = *j->p;
		size_t n = 0;

		if (c == '\\') {
			j->p++;
			if (!read_escape(j, out + used, &n))
				return false;
		} else {
			if (c < 0x20)
				return fail(j, "control character 0x%x in a string", c);
			n = utf8_length((const unsigned char *)j->p, j->end - j->p);
			if (!n)
				return fail(j, "a string is not UTF-8");
			memcpy(out + used, j->p, n);
			j->p += n;
		}
		used += n;
	}
	j->p++;
	out[used] = 0;
	*text = out;
	*len = used;
	return true;
}

static bool is_digit(const char *p, const char *end)
{
	return p < end && *p >= '0' && *p <= '9';
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)? */
static bool read_number(struct json *j, struct sluice_value *out)
{
	const char *start = j->p, *p = start;
	bool real = false;
	char *text;

	if (*p == '-')
		p++;
	if (!is_digit(p, j->end) || (*p == '0' && is_digit(p + 1, j->end)))
		return unexpected(j, "a value");
	while (is_digit(p, j->end))
		p++;
	if (p < j->end && *p == '.') {
		real = true;
		if (!is_digit(++p, j->end))
			return fail(j, "digits expected behind the point of a number");
		while (is_digit(p, j->end))
			p++;
	}
	if (p < j->end && (*p | 32) == 'e') {
		real = true;
		p++;
		if (p < j->end && (*p == '-' || *p == '+'))
			p++;
		if (!is_digit(p, j->end))
			return fail(j, "digits expected in the exponent of a number");
		while (is_digit(p, j->end))
			p++;
	}
	/* The text may end right behind it. */
	text = sluice_arena_text(j->arena, start, p - start);
	errno = 0;
	if (real) {
		out->type = SLUICE_VALUE_REAL;
		out->real = strtod(text, NULL);
		if (!isfinite(out->real))
			return fail(j, "number %.40s is too big", text);
	} else {
		out->type = SLUICE_VALUE_INTEGER;
		out->integer = strtoll(text, NULL, 10);
		if (errno)
			return fail(j, "number %.40s is too big", text);
	}
	j->p = p;
	return true;
}

static bool read_value(struct json *j, struct sluice_value *out);

static bool read_list(struct json *j, struct sluice_value *out)
{
	size_t base = j->stack.n;

	j->p++;
	if (look(j) != ']') {
		for (;;) {
			struct sluice_value v = { 0 };

			if (!read_value(j, &v))
				return false;
			sluice_value_push(&j->stack)->value = v;
			if (look(j) == ']')
				break;
			if (look(j) != ',')
				return unexpected(j, "',' or ']'");
			j->p++;
		}
	}
	j->p++;
	sluice_value_take_list(j->arena, &j->stack, base, out);
	return true;
}

static bool read_object(struct json *j, struct sluice_value *out)
{
	size_t base = j->stack.n;
	const char *twice;

	j->p++;
	if (look(j) != '}') {
		for (;;) {
			struct sluice_member m = { 0 };

			if (look(j) != '"')
				return unexpected(j, "a key");
			j->p++;
			if (!read_string(j, &m.key, &m.key_len))
				return false;
			if (look(j) != ':')
				return unexpected(j, "':'");
			j->p++;
			if (!read_value(j, &m.value))
				return false;
			*sluice_value_push(&j->stack) = m;
			if (look(j) == '}')
				break;
			if (look(j) != ',')
				return unexpected(j, "',' or '}'");
			j->p++;
		}
	}
	j->p++;
	twice = sluice_value_duplicate(&j->stack, base);
	if (twice)
		return fail(j, "key \"%.80s\" is given twice", twice);
	sluice_value_take_object(j->arena, &j->stack, base, out);
	return true;
}

static bool is_word(const struct json *j, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(j->end - j->p) >= n && !memcmp(j->p, word, n);
}

static bool read_nested(struct json *j, struct sluice_value *out, bool object)
{
	bool good;

	if (++j->depth > SLUICE_VALUE_MAX_DEPTH) {
		sluice_err_set(j->err, EINVAL, "nested more than %d levels deep",
			       SLUICE_VALUE_MAX_DEPTH);
		return false;
	}
	good = object ? read_object(j, out) : read_list(j, out);
	j->depth--;
	return good;
}

static bool read_value(struct json *j, struct sluice_value *out)
{
	char c = look(j);

	out->line = j->line;
	switch (c) {
	case '{':
		return read_nested(j, out, true);
	case '[':
		return read_nested(j, out, false);
	case '"':
		j->p++;
		out->type = SLUICE_VALUE_TEXT;
		return read_string(j, &out->text, &out->n);
	case 't':
	case 'f':
		out->type = SLUICE_VALUE_BOOLEAN;
		out->boolean = c == 't';
		if (!is_word(j, c == 't' ? "true" : "false"))
			break;
		j->p += c == 't' ? 4 : 5;
		return true;
	case 'n':
		out->type = SLUICE_VALUE_NULL;
		if (!is_word(j, "null"))
			break;
		j->p += 4;
		return true;
	case '-':
	case '0' ... '9':
		return read_number(j, out);
	}
	return unexpected(j, "a value");
}

int sluice_json_read(struct sluice_arena *arena, const char **p, const char *end,
		     unsigned int *line, struct sluice_value *out, struct sluice_err *err)
{
	struct json j = { .arena = arena, .p = *p, .end = end, .line = *line, .err = err };
	bool good;

	memset(out, 0, sizeof(*out));
	good = read_value(&j, out);
	*p = j.p;
	*line = j.line;
	free(j.stack.v);
	return good ? 0 : -EINVAL;
}
