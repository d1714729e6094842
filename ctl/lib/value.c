// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/value.h"

#include <yajl/yajl_parse.h>

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

/* A list or an object that has begun and not ended. */
struct open_value {
	bool is_object;
	unsigned int line;
	size_t base; /* of its items or members on the stack */
	const char *key; /* of the member that comes next */
	size_t key_len;
};

struct json {
	yajl_handle yajl;
	struct sluice_arena *arena;
	struct sluice_value_stack stack;
	struct open_value open[SLUICE_VALUE_MAX_DEPTH];
	unsigned int depth;
	const char *counted; /* up to here line is right */
	const char *start;
	unsigned int line;
	struct sluice_value *out;
	struct sluice_err *err;
};

/* Counts lines up to where the parser is: behind a token, and no token has a line feed inside. */
static unsigned int count_lines(struct json *j)
{
	const char *here = j->start + yajl_get_bytes_consumed(j->yajl), *eol;

	while (j->counted < here && (eol = memchr(j->counted, '\n', here - j->counted))) {
		j->line++;
		j->counted = eol + 1;
	}
	j->counted = here;
	return j->line;
}

/* Where the next value belongs: an item, a member, or the whole. */
static struct sluice_value *place(struct json *j)
{
	const struct open_value *open = j->depth ? &j->open[j->depth - 1] : NULL;
	struct sluice_member *m;

	if (!open)
		return j->out;
	m = sluice_value_push(&j->stack);
	m->key = open->key;
	m->key_len = open->key_len;
	return &m->value;
}

static struct sluice_value *put(struct json *j, enum sluice_value_type type)
{
	struct sluice_value *v = place(j);

	v->type = type;
	v->line = count_lines(j);
	return v;
}

static int take_null(void *arg)
{
	put(arg, SLUICE_VALUE_NULL);
	return true;
}

static int take_boolean(void *arg, int boolean)
{
	put(arg, SLUICE_VALUE_BOOLEAN)->boolean = boolean;
	return true;
}

static int take_integer(void *arg, long long integer)
{
	put(arg, SLUICE_VALUE_INTEGER)->integer = integer;
	return true;
}

static int take_real(void *arg, double real)
{
	put(arg, SLUICE_VALUE_REAL)->real = real;
	return true;
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

/* What yajl lets pass and others of us could not print: it looks at the shape of UTF-8 alone. */
static bool check_text(struct json *j, const unsigned char *text, size_t len)
{
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = text[i] ? utf8_length(text + i, len - i) : 0;
		if (n)
			continue;
		sluice_err_set(j->err, EINVAL,
			       text[i] ? "not JSON: a string is not UTF-8" :
					 "not JSON: \\u0000 is not allowed");
		return false;
	}
	return true;
}

static int take_text(void *arg, const unsigned char *text, size_t len)
{
	struct json *j = arg;
	struct sluice_value *v;

	if (!check_text(j, text, len))
		return false;
	v = put(j, SLUICE_VALUE_TEXT);
	v->text = sluice_arena_text(j->arena, (const char *)text, len);
	v->n = len;
	return true;
}

static int take_key(void *arg, const unsigned char *text, size_t len)
{
	struct json *j = arg;
	struct open_value *open = &j->open[j->depth - 1];

	if (!check_text(j, text, len))
		return false;
	open->key = sluice_arena_text(j->arena, (const char *)text, len);
	open->key_len = len;
	return true;
}

static int open_value(struct json *j, bool is_object)
{
	if (j->depth == SLUICE_VALUE_MAX_DEPTH) {
		sluice_err_set(j->err, EINVAL, "nested more than %d levels deep",
			       SLUICE_VALUE_MAX_DEPTH);
		return false;
	}
	j->open[j->depth++] = (struct open_value){ .is_object = is_object,
						   .line = count_lines(j),
						   .base = j->stack.n };
	return true;
}

static int open_object(void *arg)
{
	return open_value(arg, true);
}

static int open_list(void *arg)
{
	return open_value(arg, false);
}

static int close_value(void *arg)
{
	struct json *j = arg;
	const struct open_value *open = &j->open[--j->depth];
	struct sluice_value v = { .line = open->line };
	const char *twice;

	if (open->is_object) {
		twice = sluice_value_duplicate(&j->stack, open->base);
		if (twice) {
			sluice_err_set(j->err, EINVAL, "not JSON: key \"%.80s\" is given twice",
				       twice);
			return false;
		}
		sluice_value_take_object(j->arena, &j->stack, open->base, &v);
	} else {
		sluice_value_take_list(j->arena, &j->stack, open->base, &v);
	}
	*place(j) = v;
	return true;
}

static const yajl_callbacks callbacks = {
	.yajl_null = take_null,
	.yajl_boolean = take_boolean,
	.yajl_integer = take_integer,
	.yajl_double = take_real,
	.yajl_string = take_text,
	.yajl_map_key = take_key,
	.yajl_start_map = open_object,
	.yajl_end_map = close_value,
	.yajl_start_array = open_list,
	.yajl_end_array = close_value,
};

/* What the parser says: "parse error: premature EOF" and a line feed. */
static void fail(struct json *j)
{
	unsigned char *text;

	if (sluice_err_is_set(j->err))
		return;
	text = sluice_alloc_check(yajl_get_error(j->yajl, 0, NULL, 0));
	sluice_err_set(j->err, EINVAL, "not JSON: %.*s", (int)strcspn((char *)text, "\n"), text);
	yajl_free_error(j->yajl, text);
}

int sluice_json_read(struct sluice_arena *arena, const char **p, const char *end,
		     unsigned int *line, struct sluice_value *out, struct sluice_err *err)
{
	struct json j = {
		.arena = arena, .counted = *p, .start = *p, .line = *line, .out = out, .err = err
	};
	bool good;

	memset(out, 0, sizeof(*out));
	j.yajl = sluice_alloc_check(yajl_alloc(&callbacks, NULL, &j));
	yajl_config(j.yajl, yajl_allow_trailing_garbage, 1);
	good = yajl_parse(j.yajl, (const unsigned char *)*p, end - *p) == yajl_status_ok;
	*line = count_lines(&j);
	*p += yajl_get_bytes_consumed(j.yajl);
	if (good) {
		/* A number at the end might have gone on. What is open is too short. */
		j.start = j.counted = " "; /* which yajl adds */
		good = yajl_complete_parse(j.yajl) == yajl_status_ok;
	}
	if (!good)
		fail(&j);
	yajl_free(j.yajl);
	free(j.stack.v);
	return good ? 0 : -EINVAL;
}
