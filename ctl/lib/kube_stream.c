// SPDX-License-Identifier: GPL-2.0-only
/*
 * Theory of operation
 * -------------------
 * Bytes go through a scanner that knows JSON's brackets, strings and commas, no more: it copies what is
 * kept into a buffer, and passes over the rest. What it copied of one object is then read by yajl as any
 * other JSON (value.h), which finds whatever is wrong in it. yajl alone would not do: it collects a
 * string as a whole before it tells of it, 5 MB of an annotation too.
 *
 * The scanner has a stack of levels, one for each object or list whose members it chooses among. Below
 * these it only counts brackets, keeping or dropping all. Example, a watch of Pods:
 *
 *	{"type":"ADDED","object":{"metadata":{"name":"web","managedFields":[{...}]},"status":{...}}}
 *	^ level 0, fields of an event       ^ level 2, fields of metadata
 *	                         ^ level 1, of a Pod       ^ not named there: dropped, brackets counted
 *
 * leaves {"type":"ADDED","object":{"metadata":{"name":"web"}...}}. When level 0 is closed, the buffer is
 * one event; it is read, handed on, and emptied. In a list that happens at the end of each element of level
 * 1, "items", and the buffer is cut back to what the list had before it. Where items begin, what the buffer
 * holds is the list's head, if its metadata is there: of its own kinds the API server writes it first. Lists of
 * custom resources have their fields sorted (apiVersion, items, kind, metadata): then the head is handed on at the end.
 *
 * An object that yajl refuses (U+0000 in a text, say) is scanned once more, out of the buffer, for its name
 * alone, so that it can be told which one it was.
 */
#include "ctl/lib/kube_stream.h"

#include <stdio.h>
#include <string.h>

#include "ctl/lib/alloc.h"

#define MAX_LEVELS 16 /* an event's containers' ports are at 7; what lies deeper is kept whole */
#define MAX_KEY 512
#define USUAL_BYTES (64u << 10) /* a buffer that has become larger is let go */

enum expect {
	FIRST_KEY, /* or the end */
	KEY,
	COLON,
	FIRST_VALUE, /* of a list, or the end */
	VALUE,
	COMMA, /* or the end */
};

struct level {
	bool is_list;
	bool handed_on; /* its elements are handed on */
	enum expect expect;
	const struct kube_field *fields; /* NULL: everything of each member */
	size_t kept; /* members so far */
	const struct kube_field *below; /* of the member at hand */
	bool keep; /* the member at hand */
};

/* Where the scanner is inside the member at hand. */
enum inside {
	BETWEEN, /* of a level: see expect */
	IN_KEY,
	IN_WHOLE, /* a value that is kept or dropped with all it has */
	IN_SCALAR, /* a number, true, false, null */
};

struct kube_stream {
	enum kube_stream_form form;
	const struct kube_field *root; /* of what the stream consists of */
	const struct kube_field *items; /* of each item of a list */
	struct kube_field event[3]; /* a watch's root */
	const struct kube_stream_ops *ops;
	void *ctx;

	struct level levels[MAX_LEVELS];
	unsigned int depth; /* levels in use */
	enum inside inside;
	size_t brackets; /* IN_WHOLE: open ones; 0: a string alone */
	bool in_string; /* IN_WHOLE */
	bool escaped; /* the byte before was a backslash */
	char key[MAX_KEY];
	size_t key_len; /* MAX_KEY: longer */

	char *buf; /* what is kept */
	size_t len, cap;
	size_t start; /* of the item at hand; 0 outside */
	const char *trouble; /* why the object at hand cannot be whole; NULL: it is */
	bool again; /* it looks for the name of what could not be read: there is no third time */
	bool listed; /* its items have begun */
	bool headed; /* the list's head was handed on */
	bool ended; /* the list is complete */
	struct sluice_arena arena;
};

/* ---- which fields ---- */

static const struct kube_field annotations[] = {
	/* The mark of a watch that began with all objects. */
	{ "k8s.io/initial-events-end" },
	/* When what an EndpointSlice tells of happened. */
	{ "endpoints.kubernetes.io/last-change-trigger-time" },
	{ NULL },
};

static const struct kube_field metadata[] = {
	{ "name" },
	{ "namespace" },
	{ "uid" },
	{ "labels" },
	{ "resourceVersion" },
	{ "generation" },
	{ "annotations", annotations },
	{ "creationTimestamp" },
	{ "deletionTimestamp" },
	{ NULL },
};

static const struct kube_field container[] = { { "ports" }, { "restartPolicy" }, { NULL } };
static const struct kube_field pod_spec[] = {
	{ "nodeName" },
	{ "hostNetwork" },
	{ "containers", container },
	{ "initContainers", container },
	{ NULL },
};
static const struct kube_field condition[] = { { "type" }, { "status" }, { NULL } };
static const struct kube_field pod_status[] = {
	{ "phase" }, { "podIP" }, { "podIPs" }, { "conditions", condition }, { NULL },
};
static const struct kube_field node_spec[] = { { "podCIDR" }, { "podCIDRs" }, { NULL } };
static const struct kube_field node_status[] = { { "addresses" }, { NULL } };

/* Event streams carry Status objects too: kind, reason, message and code; their status is a string. */
#define STATUS_OBJECT { "kind" }, { "apiVersion" }, { "reason" }, { "message" }, { "code" }
static const struct kube_field pod[] = {
	STATUS_OBJECT, { "metadata", metadata }, { "spec", pod_spec }, { "status", pod_status },
	{ NULL },
};
static const struct kube_field node[] = {
	STATUS_OBJECT, { "metadata", metadata }, { "spec", node_spec }, { "status", node_status },
	{ NULL },
};

/* Of the others nearly all is read, a NetworkPolicy strictly. */
static const struct kube_field service_status[] = {
	{ .name = "conditions", .leave_out = true },
	{ "*" },
	{ NULL },
};
static const struct kube_field other[] = {
	{ "metadata", metadata },
	{ "status", service_status },
	{ "*" },
	{ NULL },
};

const struct kube_field *kube_fields(enum sluice_kind kind)
{
	switch (kind) {
	case SLUICE_KIND_POD:
		return pod;
	case SLUICE_KIND_NODE:
		return node;
	default:
		return other;
	}
}

static const struct kube_field list_metadata[] = {
	{ "resourceVersion" },
	{ "continue" },
	{ NULL },
};
/* Where the items are; each is kept by the stream's own table. */
static const struct kube_field items[] = { { NULL } };
static const struct kube_field list[] = {
	{ "kind" }, { "apiVersion" }, { "metadata", list_metadata }, { "items", items }, { NULL },
};
static const struct kube_field identity_metadata[] = {
	{ "name" },
	{ "namespace" },
	{ "resourceVersion" },
	{ NULL },
};
static const struct kube_field identity[] = {
	{ "kind" },
	{ "metadata", identity_metadata },
	{ NULL },
};

/* NULL: it is not kept. */
static const struct kube_field *find_field(const struct kube_field *fields, const char *key,
					   size_t len)
{
	for (; fields->name; fields++) {
		if (!strcmp(fields->name, "*"))
			return fields;
		if (strlen(fields->name) == len && !memcmp(fields->name, key, len))
			return fields->leave_out ? NULL : fields;
	}
	return NULL;
}

/* ---- the buffer ---- */

static void keep_bytes(struct kube_stream *s, const char *bytes, size_t n)
{
	if (s->trouble)
		return;
	if (n > KUBE_OBJECT_MAX - s->len) {
		s->trouble = "it is larger than 4 MiB";
		return;
	}
	if (s->len + n > s->cap) {
		s->cap = s->len + n + (s->cap >> 1) + 4096;
		s->buf = sluice_realloc(s->buf, s->cap, 1);
	}
	memcpy(s->buf + s->len, bytes, n);
	s->len += n;
}

/* The object that began at "start" has been dealt with. */
static void cut_back(struct kube_stream *s, size_t start)
{
	s->len = start;
	s->trouble = NULL;
	sluice_arena_reset(&s->arena);
	if (s->cap <= USUAL_BYTES)
		return;
	sluice_arena_clear(&s->arena);
	s->cap = start + 1;
	s->buf = sluice_realloc(s->buf, s->cap, 1);
}

static int read_value(struct kube_stream *s, size_t start, struct sluice_value *out,
		      struct sluice_err *err)
{
	const char *p = s->buf + start, *end = s->buf + s->len;
	unsigned int line = 1;
	int ret;

	if (s->trouble)
		return sluice_err_set(err, E2BIG, "%s", s->trouble);
	ret = sluice_json_read(&s->arena, &p, end, &line, out, err);
	if (!ret && p != end)
		ret = sluice_err_set(err, EINVAL, "not JSON: something follows it");
	return ret;
}

static struct kube_stream *new_stream(enum kube_stream_form form, const struct kube_field *root,
				      const struct kube_stream_ops *ops, void *ctx)
{
	struct kube_stream *s = sluice_zalloc(sizeof(*s));

	s->form = form;
	s->root = root;
	s->ops = ops;
	s->ctx = ctx;
	return s;
}

/* What is left of an object that cannot be read: its name. */
struct refusal {
	struct kube_stream *stream;
	const char *why;
	bool told;
};

static int refuse_named(void *ctx, const struct sluice_value *value, struct sluice_err *err)
{
	struct refusal *r = ctx;

	r->told = true;
	return r->stream->ops->refused(r->stream->ctx, value, r->why, err);
}

/* Not even that: kube_stream_feed() fails, and refuse() goes on. */
static int refuse_unnamed(void *ctx, const struct sluice_value *value, const char *why,
			  struct sluice_err *err)
{
	(void)ctx;
	(void)value;
	return sluice_err_set(err, EINVAL, "%s", why);
}

static int refuse(struct kube_stream *s, size_t start, const char *why, struct sluice_err *err)
{
	static const struct kube_stream_ops ops = { .object = refuse_named,
						    .refused = refuse_unnamed };
	static const struct kube_field event[] = { { "type" }, { "object", identity }, { NULL } };
	struct refusal r = { s, why };
	struct kube_stream *again;
	int ret;
	SLUICE_ERR(problem);

	/* Whatever the buffer holds, it is one object: a watch's root, in the scanner's words. */
	if (s->again)
		return s->ops->refused(s->ctx, NULL, why, err);
	again = new_stream(KUBE_WATCH, s->form == KUBE_WATCH ? event : identity, &ops, &r);
	again->again = true;
	ret = kube_stream_feed(again, s->buf + start, s->len - start, &problem);
	kube_stream_free(again);
	if (!r.told)
		return s->ops->refused(s->ctx, NULL, why, err);
	return ret ? sluice_err_move(err, &problem) : 0;
}

/* The object that began at "start" is complete. */
static int hand_on(struct kube_stream *s, size_t start, struct sluice_err *err)
{
	struct sluice_value value;
	int ret;
	SLUICE_ERR(why);

	ret = read_value(s, start, &value, &why) ? refuse(s, start, sluice_err_msg(&why), err) :
						   s->ops->object(s->ctx, &value, err);
	cut_back(s, start);
	return ret;
}

/* What the list has beside its items: all of it at the end, else what stands before them, if that is enough. */
static int hand_on_head(struct kube_stream *s, const char *rest, struct sluice_err *err)
{
	bool end = !*rest;
	const struct sluice_value *at;
	size_t len = s->len;
	struct sluice_value value;
	int ret;

	keep_bytes(s, rest, strlen(rest));
	ret = read_value(s, 0, &value, err);
	at = ret ? NULL : sluice_value_get(&value, "items");
	if (!ret && !(at && (at->type == SLUICE_VALUE_LIST || at->type == SLUICE_VALUE_NULL)))
		ret = sluice_err_set(err, EINVAL, "this is not a list of objects");
	s->headed = end || sluice_value_get(ret ? NULL : &value, "metadata");
	if (!ret && s->headed)
		ret = s->ops->head(s->ctx, &value, err);
	cut_back(s, len);
	return ret;
}

/* ---- the scanner ---- */

static int bad(struct kube_stream *s, char c, struct sluice_err *err)
{
	if ((unsigned char)c > ' ' && (unsigned char)c < 0x7f)
		return sluice_err_set(err, EINVAL, "not JSON: unexpected '%c' at depth %u", c,
				      s->depth);
	return sluice_err_set(err, EINVAL, "not JSON: unexpected byte 0x%02x at depth %u",
			      (unsigned char)c, s->depth);
}

static struct level *top(struct kube_stream *s)
{
	return &s->levels[s->depth - 1];
}

/* A value of the level at hand is complete. */
static int end_value(struct kube_stream *s, struct sluice_err *err)
{
	s->inside = BETWEEN;
	return top(s)->handed_on ? hand_on(s, s->start, err) : 0;
}

static int close_level(struct kube_stream *s, char c, struct sluice_err *err)
{
	if (c != (top(s)->is_list ? ']' : '}'))
		return bad(s, c, err);
	keep_bytes(s, &c, 1);
	if (--s->depth)
		return end_value(s, err);
	if (s->form == KUBE_WATCH)
		return hand_on(s, 0, err);
	s->ended = true;
	return s->headed ? 0 : hand_on_head(s, "", err);
}

static void open_level(struct kube_stream *s, char c, const struct kube_field *fields)
{
	s->levels[s->depth++] = (struct level){ .is_list = c == '[',
						.expect = c == '[' ? FIRST_VALUE : FIRST_KEY,
						.fields = fields };
	keep_bytes(s, &c, 1);
}

static int start_value(struct kube_stream *s, char c, struct sluice_err *err)
{
	struct level *l = top(s);
	const struct kube_field *below = l->is_list ? l->fields : l->below;

	l->expect = COMMA;
	if (l->handed_on)
		s->start = s->len;
	else if (l->is_list && l->kept++)
		keep_bytes(s, ",", 1);
	if (l->is_list)
		l->keep = true;

	if (below == items && c == '[' && l->keep) {
		if (s->listed)
			return sluice_err_set(err, EINVAL, "\"items\" is given twice");
		s->listed = true;
		open_level(s, c, s->items);
		top(s)->handed_on = true;
		return hand_on_head(s, "]}", err);
	}
	if ((c == '{' || c == '[') && l->keep && below && s->depth < MAX_LEVELS) {
		open_level(s, c, below);
		return 0;
	}
	if (!strchr("{[\"-0123456789tfn", c) || !c)
		return bad(s, c, err);
	if (l->keep)
		keep_bytes(s, &c, 1);
	s->inside = c == '{' || c == '[' || c == '"' ? IN_WHOLE : IN_SCALAR;
	s->brackets = c == '{' || c == '[';
	s->in_string = c == '"';
	s->escaped = false;
	return 0;
}

static void end_key(struct kube_stream *s)
{
	struct level *l = top(s);
	bool whole = s->key_len < MAX_KEY;
	const struct kube_field *f = find_field(l->fields, s->key, whole ? s->key_len : 0);

	s->inside = BETWEEN;
	l->expect = COLON;
	l->keep = f;
	l->below = f ? f->below : NULL;
	if (!f)
		return;
	keep_bytes(s, ",\"", l->kept ? 2 : 0);
	if (!l->kept++)
		keep_bytes(s, "\"", 1);
	keep_bytes(s, s->key, s->key_len);
	keep_bytes(s, "\":", 2);
	if (!whole)
		s->trouble = "a field's name is longer than 511 bytes";
}

/* One byte between the values of a level. */
static int between(struct kube_stream *s, char c, struct sluice_err *err)
{
	struct level *l;

	if (c == ' ' || c == '\n' || c == '\t' || c == '\r')
		return 0;
	if (!s->depth) {
		if (c != '{' || s->ended)
			return bad(s, c, err);
		open_level(s, c, s->root);
		return 0;
	}
	l = top(s);
	switch (l->expect) {
	case FIRST_KEY:
	case KEY:
		if (c == '}' && l->expect == FIRST_KEY)
			return close_level(s, c, err);
		if (c != '"')
			return bad(s, c, err);
		s->inside = IN_KEY;
		s->key_len = 0;
		s->escaped = false;
		return 0;
	case COLON:
		if (c != ':')
			return bad(s, c, err);
		l->expect = VALUE;
		return 0;
	case FIRST_VALUE:
		if (c == ']')
			return close_level(s, c, err);
		return start_value(s, c, err);
	case VALUE:
		return start_value(s, c, err);
	case COMMA:
		if (c != ',')
			return close_level(s, c, err);
		l->expect = l->is_list ? VALUE : KEY;
		return 0;
	}
	return 0;
}

/* Each of these takes bytes as long as they belong to what it is inside of. */

static const char *in_key(struct kube_stream *s, const char *p, const char *end)
{
	for (; p < end; p++) {
		if (*p == '"' && !s->escaped) {
			end_key(s);
			return p + 1;
		}
		s->escaped = !s->escaped && *p == '\\';
		if (s->key_len < MAX_KEY)
			s->key[s->key_len++] = *p;
	}
	return p;
}

static const char *in_string(struct kube_stream *s, const char *p, const char *end)
{
	for (; p < end; p++) {
		if (s->escaped) {
			s->escaped = false;
		} else if (*p == '\\') {
			s->escaped = true;
		} else if (*p == '"') {
			s->in_string = false;
			return p + 1;
		}
	}
	return p;
}

/* *done: it is complete. */
static const char *in_whole(struct kube_stream *s, const char *p, const char *end, bool *done)
{
	*done = false;
	while (p < end) {
		if (s->in_string) {
			p = in_string(s, p, end);
			*done = !s->in_string && !s->brackets;
		} else {
			char c = *p++;

			if (c == '"') {
				s->in_string = true;
			} else if (c == '{' || c == '[') {
				s->brackets++;
			} else if (c == '}' || c == ']') {
				s->brackets--;
				*done = !s->brackets;
			}
		}
		if (*done)
			break;
	}
	return p;
}

static const char *in_scalar(const char *p, const char *end, bool *done)
{
	while (p < end && !strchr(",]} \t\r\n", *p))
		p++;
	/* It ends before a byte that is not its own; a NUL is nobody's. */
	*done = p < end;
	return p;
}

int kube_stream_feed(struct kube_stream *s, const char *p, size_t len, struct sluice_err *err)
{
	const char *end = p + len, *from;
	bool done;
	int ret = 0;

	while (p < end && !ret) {
		from = p;
		switch (s->inside) {
		case BETWEEN:
			ret = between(s, *p++, err);
			break;
		case IN_KEY:
			p = in_key(s, p, end);
			break;
		case IN_WHOLE:
		case IN_SCALAR:
			p = s->inside == IN_WHOLE ? in_whole(s, p, end, &done) :
						    in_scalar(p, end, &done);
			if (top(s)->keep)
				keep_bytes(s, from, p - from);
			if (done)
				ret = end_value(s, err);
			break;
		}
	}
	return ret;
}

int kube_stream_end(struct kube_stream *s, struct sluice_err *err)
{
	if (s->form == KUBE_LIST && !s->ended)
		return sluice_err_set(err, EINVAL, "the list ends before its end");
	if (s->depth)
		return sluice_err_set(err, EINVAL, "the stream ends within an event");
	return 0;
}

struct kube_stream *kube_stream_new(enum kube_stream_form form, const struct kube_field *fields,
				    const struct kube_stream_ops *ops, void *ctx)
{
	struct kube_stream *s = new_stream(form, list, ops, ctx);

	s->items = fields;
	if (form == KUBE_WATCH) {
		s->event[0] = (struct kube_field){ "type" };
		s->event[1] = (struct kube_field){ "object", fields };
		s->root = s->event;
	}
	return s;
}

void kube_stream_free(struct kube_stream *s)
{
	if (!s)
		return;
	sluice_arena_clear(&s->arena);
	free(s->buf);
	free(s);
}
