// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/event.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/map.h"
#include "ctl/lib/model.h"
#include "ctl/lib/timestamp.h"
#include "ctl/sluiced/condition.h"
#include "ctl/sluiced/log.h"
#include "ctl/sluiced/retry.h"

#define DELAY_MS 2000
#define DELAY_RANDOM_MS 3000
#define REPEAT_MS (30 * 60000)
#define FORGET_MS (60 * 60000) /* the API server's own default */
#define COUNT_MS 10000 /* between two counts of one series */
#define BURST 25
#define TOKEN_MS 5000
#define PROBLEMS_MAX 1000
#define NOTE_MAX 1024 /* bytes; the API server's limit */
#define NAME_MAX_LEN 253

static const char *const reasons[] = {
#define X(sym, reason, action) reason,
	EVENT_REASONS(X)
#undef X
};

static const char *const actions[] = {
#define X(sym, reason, action) action,
	EVENT_REASONS(X)
#undef X
};

struct problem {
	enum event_reason reason;
	enum sluice_kind kind;
	char *ns; /* "" where the kind has none */
	char *name;
	char *note;
	char *uid; /* of the object; NULL: not asked yet; "": it has none */
	bool everywhere;
	bool stands;
	bool seen; /* since reporter_begin() */
	bool ours; /* we have created its Event */
	unsigned int times; /* that it came, or was told again: the series' count */
	unsigned int asked; /* of these, what the last request says */
	unsigned int told; /* and what the API server has */
	int64_t due; /* loop_now(); 0: nothing is to be told */
	int64_t ended; /* when it stopped standing */
	int64_t backoff;
};

struct reporter {
	struct loop *loop;
	struct kube_client *client;
	const char *node;
	struct conditions *conditions;
	struct sluice_map problems; /* reason and text -> struct problem */
	struct timer timer;
	struct kube_call *call; /* NULL: none is under way */
	struct problem *asked; /* what it is about */
	int64_t tokens_at; /* when the bucket would be empty, were it asked for nothing more */
	struct reporter_stats stats;
};

/* Texts ***********************************************************************************/

/* "Kind namespace/name: ...", or without a namespace. False: it begins with something else. */
static bool split(const char *text, struct problem *p)
{
	const char *space = strchr(text, ' '), *slash, *name, *end;

	if (!space)
		return false;
	for (p->kind = 0; p->kind < SLUICE_KIND_COUNT; p->kind++)
		if (strlen(sluice_kind_name(p->kind)) == (size_t)(space - text) &&
		    !strncmp(sluice_kind_name(p->kind), text, space - text))
			break;
	name = space + 1;
	end = name + strcspn(name, ": ");
	if (p->kind == SLUICE_KIND_COUNT || !*end)
		return false;
	slash = memchr(name, '/', end - name);
	p->ns = sluice_alloc_check(strndup(name, slash ? slash - name : 0));
	name = slash ? slash + 1 : name;
	p->name = sluice_alloc_check(strndup(name, end - name));
	return true;
}

/* Cut at the end of a character. */
static char *make_note(const char *text)
{
	size_t n = strlen(text);

	if (n > NOTE_MAX)
		for (n = NOTE_MAX; n && ((unsigned char)text[n] & 0xc0) == 0x80;)
			n--;
	return sluice_alloc_check(strndup(text, n));
}

/* FNV-1a: the same on every node and with every version. */
static uint64_t hash(uint64_t h, const char *text)
{
	do
		h = (h ^ (unsigned char)*text) * 0x100000001b3ULL;
	while (*text++);
	return h;
}

/* The object's name, cut if need be, and 16 digits. */
static void event_name(const struct problem *p, char name[NAME_MAX_LEN + 1])
{
	uint64_t h = hash(0xcbf29ce484222325ULL, sluice_kind_name(p->kind));
	int n = strnlen(p->name, NAME_MAX_LEN - 17);

	h = hash(hash(hash(hash(h, p->ns), p->name), reasons[p->reason]), p->note);
	while (n && (p->name[n - 1] == '.' || p->name[n - 1] == '-'))
		n--;
	snprintf(name, NAME_MAX_LEN + 1, "%.*s%s%016llx", n, p->name, n ? "." : "",
		 (unsigned long long)h);
}

/* Events about what has no namespace are in "default". */
static const char *event_namespace(const struct problem *p)
{
	return *p->ns ? p->ns : "default";
}

static char *events_path(const struct problem *p, bool one)
{
	char name[NAME_MAX_LEN + 1] = "", *path;

	if (one)
		event_name(p, name);
	if (asprintf(&path, "/apis/events.k8s.io/v1/namespaces/%s/events%s%s", event_namespace(p),
		     one ? "/" : "", name) < 0)
		sluice_alloc_check(NULL);
	return path;
}

static char *object_path(const struct problem *p)
{
	const char *api = sluice_kind_api(p->kind);
	char *path;

	if (asprintf(&path, "/api%s/%s%s%s/%s/%s", strchr(api, '/') ? "s" : "", api,
		     *p->ns ? "/namespaces/" : "", p->ns, sluice_kind_word(p->kind), p->name) < 0)
		sluice_alloc_check(NULL);
	return path;
}

static char *dump(json_t *json)
{
	char *text = sluice_alloc_check(json_dumps(sluice_alloc_check(json), JSON_COMPACT));

	json_decref(json);
	return text;
}

static char *new_event(const struct reporter *r, const struct problem *p)
{
	char name[NAME_MAX_LEN + 1], time[SLUICE_TIMESTAMP_TEXT];
	json_t *regarding, *note;

	event_name(p, name);
	sluice_timestamp_format(sluice_timestamp_now(), time);
	regarding = json_pack("{s:s, s:s, s:s, s:s*, s:s*}", "apiVersion", sluice_kind_api(p->kind),
			      "kind", sluice_kind_name(p->kind), "name", p->name, "namespace",
			      *p->ns ? p->ns : NULL, "uid", p->uid && *p->uid ? p->uid : NULL);
	note = json_string(p->note) ?: json_string("it cannot be said in UTF-8");
	return dump(json_pack("{s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}",
			      "apiVersion", "events.k8s.io/v1", "kind", "Event", "metadata", "name",
			      name, "namespace", event_namespace(p), "type", "Warning", "eventTime",
			      time, "reportingController", EVENT_CONTROLLER, "reportingInstance",
			      r->node, "reason", reasons[p->reason], "action", actions[p->reason],
			      "regarding", regarding, "note", note));
}

static char *new_count(const struct problem *p)
{
	char time[SLUICE_TIMESTAMP_TEXT];

	return dump(json_pack("{s:{s:I, s:s}}", "series", "count", (json_int_t)p->times,
			      "lastObservedTime",
			      sluice_timestamp_format(sluice_timestamp_now(), time)));
}

/* Requests ********************************************************************************/

static void arm(struct reporter *r);

static void ask(struct reporter *r, struct problem *p, const char *method, char *path,
		const char *type, char *body,
		void (*done)(void *ctx, const struct kube_answer *answer))
{
	int64_t now = loop_now();

	r->asked = p;
	r->tokens_at = (r->tokens_at > now ? r->tokens_at : now) + TOKEN_MS;
	r->call = kube_client_request(r->client,
				      &(struct kube_request){ .method = method,
							      .path = path,
							      .content_type = type,
							      .body = body,
							      .body_len = body ? strlen(body) : 0,
							      .done = done,
							      .ctx = r });
	free(path);
	free(body);
}

static struct problem *answered(struct reporter *r)
{
	struct problem *p = r->asked;

	r->call = NULL;
	r->asked = NULL;
	return p;
}

/* What cannot be told now: later, by what the server says. */
static void put_off(struct reporter *r, struct problem *p, const struct kube_answer *answer)
{
	r->stats.failed++;
	log_debug("cannot tell of a problem by an Event", "object", p->name, "error",
		  answer->error);
	p->due = retry_is_refused(answer) ? retry_refused() : retry_failed(&p->backoff, answer);
}

/* It may have come back while the request was under way. */
static void told(struct problem *p)
{
	p->told = p->asked;
	p->backoff = 0;
	p->due = p->ours && p->times != p->told ? retry_in(COUNT_MS, 0) :
						  retry_in(REPEAT_MS, REPEAT_MS / 4);
}

static void on_created(void *ctx, const struct kube_answer *answer)
{
	struct reporter *r = ctx;
	struct problem *p = answered(r);

	if (kube_answer_ok(answer)) {
		r->stats.created++;
		p->ours = true;
		told(p);
	} else if (answer->status == 409) {
		r->stats.known++;
		told(p);
	} else {
		put_off(r, p, answer);
	}
	arm(r);
}

static void create(struct reporter *r, struct problem *p)
{
	p->times = p->asked = 1;
	ask(r, p, "POST", events_path(p, false), "application/json", new_event(r, p), on_created);
}

static void on_counted(void *ctx, const struct kube_answer *answer)
{
	struct reporter *r = ctx;
	struct problem *p = answered(r);

	if (kube_answer_ok(answer)) {
		r->stats.counted++;
		told(p);
	} else if (answer->status == 404) {
		p->ours = false;
		p->due = loop_now();
	} else {
		put_off(r, p, answer);
	}
	arm(r);
}

/* The object's uid is what kubectl describe finds its Events by. */
static void on_object(void *ctx, const struct kube_answer *answer)
{
	struct reporter *r = ctx;
	struct problem *p = answered(r);
	const char *uid;
	json_t *json;

	if (kube_answer_ok(answer)) {
		json = json_loadb(answer->body, answer->len, 0, NULL);
		uid = json_string_value(json_object_get(json_object_get(json, "metadata"), "uid"));
		p->uid = sluice_strdup(uid ?: "");
		json_decref(json);
	} else if (answer->status == 403) { /* then without */
		p->uid = sluice_strdup("");
	} else if (answer->status == 404) { /* it is gone; the problem will be, soon */
		p->due = retry_in(RETRY_MAX_MS, 0);
	} else {
		put_off(r, p, answer);
	}
	arm(r);
}

/* Of a problem that is due: its next request. */
static void tell(struct reporter *r, struct problem *p)
{
	if (p->ours) {
		if (p->times == p->told) /* half an hour is over */
			p->times++;
		p->asked = p->times;
		ask(r, p, "PATCH", events_path(p, true), "application/merge-patch+json",
		    new_count(p), on_counted);
	} else if (!p->uid) {
		ask(r, p, "GET", object_path(p), NULL, NULL, on_object);
	} else {
		create(r, p);
	}
}

/* Time ************************************************************************************/

static void free_problem(void *value)
{
	struct problem *p = value;

	free(p->ns);
	free(p->name);
	free(p->note);
	free(p->uid);
	free(p);
}

/* The one that is due first; those that ended long ago are forgotten. */
static struct problem *first_due(struct reporter *r)
{
	struct problem *first = NULL;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&r->problems, &it); e; e = sluice_map_next(&it)) {
		struct problem *p = e->value;

		if (!p->stands && p != r->asked && loop_now() - p->ended > FORGET_MS)
			free_problem(sluice_map_del(&r->problems, e->key, e->len));
		else if (p->stands && p->due && (!first || p->due < first->due))
			first = p;
	}
	return first;
}

static void arm(struct reporter *r)
{
	const struct problem *p = r->call ? NULL : first_due(r);
	int64_t now = loop_now(), at;

	loop_disarm(r->loop, &r->timer);
	if (!p)
		return;
	at = r->tokens_at - BURST * TOKEN_MS;
	if (at < p->due)
		at = p->due;
	loop_arm(r->loop, &r->timer, at > now ? at - now : 0);
}

static void on_timer(struct timer *timer)
{
	struct reporter *r = container_of(timer, struct reporter, timer);
	struct problem *p = first_due(r);

	if (p && p->due <= loop_now())
		tell(r, p);
	else
		arm(r);
}

/* What stands *****************************************************************************/

void reporter_begin(struct reporter *r)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&r->problems, &it); e; e = sluice_map_next(&it))
		((struct problem *)e->value)->seen = false;
}

void reporter_add(struct reporter *r, enum event_reason reason, const char *text, bool everywhere)
{
	struct problem parsed = { .reason = reason }, *p;
	size_t len = strlen(text) + 2;
	char *key = sluice_zalloc(len);

	key[0] = 'a' + reason;
	memcpy(key + 1, text, len - 1);
	p = sluice_map_get(&r->problems, key, len);
	if (!p && r->problems.n >= PROBLEMS_MAX) {
		r->stats.left_out++;
	} else if (!p && split(text, &parsed)) {
		p = sluice_memdup(&parsed, sizeof(parsed));
		p->note = make_note(text);
		*sluice_map_slot(&r->problems, key, len) = p;
	}
	free(key);
	if (!p)
		return;
	p->seen = true;
	p->everywhere = everywhere;
	if (p->stands)
		return;
	/* It comes, or comes back: then it may be another object of that name, too. */
	p->stands = true;
	p->times++;
	if (!p->ours) {
		free(p->uid);
		p->uid = NULL;
	}
	p->due = p->told ? retry_in(COUNT_MS, 0) : retry_in(DELAY_MS, DELAY_RANDOM_MS);
}

/* A condition is its object's own: what it says need not begin with the name. */
static const char *without_object(const struct problem *p)
{
	const char *end = strstr(p->note, ": ");

	return end ? end + 2 : p->note;
}

void reporter_end(struct reporter *r)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	conditions_begin(r->conditions);
	for (e = sluice_map_first(&r->problems, &it); e; e = sluice_map_next(&it)) {
		struct problem *p = e->value;

		if (p->seen && p->everywhere && p->kind == SLUICE_KIND_CLUSTER_NETWORK_POLICY)
			conditions_add(r->conditions, p->name, reasons[p->reason],
				       without_object(p));
		if (p->seen || !p->stands)
			continue;
		p->stands = false;
		p->ended = loop_now();
	}
	conditions_end(r->conditions);
	arm(r);
}

void reporter_stats(const struct reporter *r, struct reporter_stats *stats)
{
	*stats = r->stats;
}

struct reporter *reporter_new(struct loop *loop, struct kube_client *client, const char *node,
			      struct conditions *conditions)
{
	struct reporter *r = sluice_zalloc(sizeof(*r));

	r->loop = loop;
	r->client = client;
	r->node = node;
	r->conditions = conditions;
	r->timer.expired = on_timer;
	return r;
}

void reporter_free(struct reporter *r)
{
	if (!r)
		return;
	if (r->call)
		kube_client_cancel(r->call);
	loop_disarm(r->loop, &r->timer);
	sluice_map_clear(&r->problems, free_problem);
	free(r);
}
