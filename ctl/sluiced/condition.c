// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/condition.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/map.h"
#include "ctl/lib/model.h"
#include "ctl/lib/timestamp.h"
#include "ctl/sluiced/log.h"
#include "ctl/sluiced/retry.h"

#define DELAY_MS 2000
#define DELAY_RANDOM_MS 30000
#define BURST 25
#define TOKEN_MS 1000
#define POLICIES_A_PIECE \
	50 /* a policy's 25 rules of each direction are some 20 kB; an answer may be 1 MiB */
#define MESSAGE_MAX 32000 /* bytes; the API's limit is 32,768 */

#define KIND SLUICE_KIND_CLUSTER_NETWORK_POLICY

struct text {
	char *reason;
	char *text;
};

struct policy {
	char *name;
	struct text *texts; /* its problems, since conditions_begin() */
	size_t n, cap;
	char *reason; /* what its condition has to say; NULL: there must be none */
	char *message;
	bool told; /* the API server has that */
	int64_t due; /* loop_now(); counts while it is not told */
	int64_t backoff;
};

struct conditions {
	struct loop *loop;
	struct kube_client *client;
	struct sluice_map policies; /* name -> struct policy: of those that have or had a problem */
	struct timer timer;
	struct kube_call *call; /* NULL: none is under way */
	char *asked; /* the name of the policy that it is about; NULL: all */
	bool has_looked; /* or begun to */
	bool looks; /* it has to be asked what was told before this process */
	char *next; /* where that goes on */
	int64_t look_due;
	int64_t look_backoff;
	int64_t tokens_at; /* when the bucket would be empty, were it asked for nothing more */
	struct conditions_stats stats;
};

/* Policies ********************************************************************************/

static void drop_texts(struct policy *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->texts[i].reason);
		free(p->texts[i].text);
	}
	p->n = 0;
}

static void free_policy(void *value)
{
	struct policy *p = value;

	drop_texts(p);
	free(p->texts);
	free(p->name);
	free(p->reason);
	free(p->message);
	free(p);
}

static struct policy *find(const struct conditions *c, const char *name)
{
	return sluice_map_get(&c->policies, name, strlen(name));
}

static struct policy *find_or_add(struct conditions *c, const char *name)
{
	struct policy **slot = (struct policy **)sluice_map_slot(&c->policies, name, strlen(name));

	if (!*slot) {
		*slot = sluice_zalloc(sizeof(**slot));
		(*slot)->name = sluice_strdup(name);
		(*slot)->told = true; /* that there is none */
	}
	return *slot;
}

/* What could not be asked or told: later, by what the server says. */
static int64_t put_off(struct conditions *c, int64_t *backoff, const struct kube_answer *answer)
{
	c->stats.failed++;
	log_debug("cannot tell of a problem by a condition", "object", c->asked, "error",
		  answer->error);
	if (retry_is_refused(answer) && answer->status != 409)
		return retry_refused();
	return retry_failed(backoff, answer);
}

/* Requests ********************************************************************************/

static void arm(struct conditions *c);

/* policy: its name, NULL for all. query: with its "?". body: taken over. */
static void ask(struct conditions *c, const char *policy, const char *sub, const char *query,
		char *body, void (*done)(void *ctx, const struct kube_answer *answer))
{
	char *name = policy ? kube_escape(policy) : NULL, *path;
	int64_t now = loop_now();

	if (asprintf(&path, "/apis/%s/%s%s%s%s%s", sluice_kind_api(KIND), sluice_kind_word(KIND),
		     name ? "/" : "", name ?: "", sub, query) < 0)
		sluice_alloc_check(NULL);
	c->asked = policy ? sluice_strdup(policy) : NULL;
	c->tokens_at = (c->tokens_at > now ? c->tokens_at : now) + TOKEN_MS;
	c->call = kube_client_request(
		c->client, &(struct kube_request){
				   .method = body ? "PATCH" : "GET",
				   .path = path,
				   .content_type = body ? "application/apply-patch+yaml" : NULL,
				   .body = body,
				   .body_len = body ? strlen(body) : 0,
				   .done = done,
				   .ctx = c });
	free(name);
	free(path);
	free(body);
}

/* The policy that was asked about, or NULL: it is not one that we know any more. */
static struct policy *answered(struct conditions *c)
{
	struct policy *p = c->asked ? find(c, c->asked) : NULL;

	c->call = NULL;
	return p;
}

static void over(struct conditions *c)
{
	free(c->asked);
	c->asked = NULL;
	arm(c);
}

static const json_t *condition_of(const json_t *object)
{
	const json_t *conditions = json_object_get(json_object_get(object, "status"), "conditions"),
		     *one;
	size_t i;

	json_array_foreach(conditions, i, one) {
		const char *type = json_string_value(json_object_get(one, "type"));

		if (type && !strcmp(type, CONDITION_TYPE))
			return one;
	}
	return NULL;
}

static bool says(const json_t *condition, const char *field, const char *text)
{
	const char *value = json_string_value(json_object_get(condition, field));

	return value && !strcmp(value, text);
}

/* Does the object's status say what it has to? */
static bool is_told(const struct policy *p, const json_t *object)
{
	const json_t *condition = condition_of(object);

	if (!p->reason || !condition)
		return !p->reason && !condition;
	return says(condition, "status", "True") && says(condition, "reason", p->reason) &&
	       says(condition, "message", p->message);
}

/* What is applied: our part of the status, which is the condition, or nothing. */
static char *new_status(const struct policy *p, const json_t *object)
{
	json_int_t generation = json_integer_value(
		json_object_get(json_object_get(object, "metadata"), "generation"));
	json_t *conditions = sluice_alloc_check(json_array()), *status;
	char time[SLUICE_TIMESTAMP_TEXT], *text;

	if (p->reason)
		json_array_append_new(
			conditions,
			sluice_alloc_check(
				json_pack("{s:s, s:s, s:s, s:o, s:s, s:I}", "type", CONDITION_TYPE,
					  "status", "True", "reason", p->reason, "message",
					  json_string(p->message) ?:
						  json_string("it cannot be said in UTF-8"),
					  "lastTransitionTime",
					  sluice_timestamp_format(sluice_timestamp_now(), time),
					  "observedGeneration", generation)));
	status = sluice_alloc_check(json_pack("{s:s, s:s, s:{s:s}, s:{s:o}}", "apiVersion",
					      sluice_kind_api(KIND), "kind", sluice_kind_name(KIND),
					      "metadata", "name", p->name, "status", "conditions",
					      conditions));
	text = sluice_alloc_check(json_dumps(status, JSON_COMPACT));
	json_decref(status);
	return text;
}

static void on_written(void *ctx, const struct kube_answer *answer)
{
	struct conditions *c = ctx;
	struct policy *p = answered(c);
	json_t *object;

	if (!p) {
		/* forgotten meanwhile */
	} else if (kube_answer_ok(answer)) {
		object = json_loadb(answer->body, answer->len, 0, NULL);
		/* It may have become another problem while the request was under way: then that is due. */
		p->told = is_told(p, object);
		if (!p->told &&
		    p->due <= loop_now()) /* its definition has no room for conditions */
			p->due = retry_refused();
		p->backoff = 0;
		if (p->reason)
			c->stats.written++;
		else
			c->stats.removed++;
		json_decref(object);
	} else if (answer->status == 404) { /* it is gone; its problems will be, soon */
		p->due = retry_in(RETRY_MAX_MS, 0);
	} else {
		p->due = put_off(c, &p->backoff, answer);
	}
	over(c);
}

static void on_policy(void *ctx, const struct kube_answer *answer)
{
	struct conditions *c = ctx;
	struct policy *p = answered(c);
	json_t *object = NULL;

	if (!p) {
		/* forgotten meanwhile */
	} else if (answer->status == 404) {
		p->told = !p->reason;
		p->due = retry_in(RETRY_MAX_MS, 0);
	} else if (!kube_answer_ok(answer)) {
		p->due = put_off(c, &p->backoff, answer);
	} else {
		object = json_loadb(answer->body, answer->len, 0, NULL);
		p->told = is_told(p, object);
		c->stats.known += p->told;
	}
	if (object && !p->told) {
		free(c->asked);
		ask(c, p->name, "/status", "?force=true&fieldManager=" CONDITION_MANAGER,
		    new_status(p, object), on_written);
		json_decref(object);
		return;
	}
	json_decref(object);
	over(c);
}

/* A piece of what others, or this node before it was started again, have told. */
static void on_policies(void *ctx, const struct kube_answer *answer)
{
	struct conditions *c = ctx;
	json_t *list, *one;
	struct policy *p;
	const char *more;
	size_t i;

	answered(c);
	if (answer->status == 404 ||
	    answer->status == 410) { /* the kind, or where we were in it, is gone */
		c->looks = answer->status == 410;
		free(c->next);
		c->next = NULL;
		over(c);
		return;
	}
	if (!kube_answer_ok(answer)) {
		c->look_due = put_off(c, &c->look_backoff, answer);
		over(c);
		return;
	}
	list = json_loadb(answer->body, answer->len, 0, NULL);
	json_array_foreach(json_object_get(list, "items"), i, one) {
		const char *name = json_string_value(
			json_object_get(json_object_get(one, "metadata"), "name"));

		if (!name || !condition_of(one) || find(c, name))
			continue;
		p = find_or_add(c, name);
		p->told = false;
		p->due = retry_in(DELAY_MS, DELAY_RANDOM_MS);
	}
	more = json_string_value(json_object_get(json_object_get(list, "metadata"), "continue"));
	free(c->next);
	c->next = more && *more ? kube_escape(more) : NULL;
	c->looks = c->next;
	json_decref(list);
	over(c);
}

static void look(struct conditions *c)
{
	char *query;

	if (asprintf(&query, "?limit=%d%s%s", POLICIES_A_PIECE, c->next ? "&continue=" : "",
		     c->next ?: "") < 0)
		sluice_alloc_check(NULL);
	ask(c, NULL, "", query, NULL, on_policies);
	free(query);
}

/* Time ************************************************************************************/

/* The one that is due first; those that are well, and told so, are forgotten. */
static struct policy *first_due(struct conditions *c)
{
	struct policy *first = NULL;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&c->policies, &it); e; e = sluice_map_next(&it)) {
		struct policy *p = e->value;

		if (p->told && !p->reason)
			free_policy(sluice_map_del(&c->policies, e->key, e->len));
		else if (!p->told && (!first || p->due < first->due))
			first = p;
	}
	return first;
}

static void arm(struct conditions *c)
{
	const struct policy *p = c->call ? NULL : first_due(c);
	int64_t now = loop_now(), at = c->tokens_at - BURST * TOKEN_MS, due;

	loop_disarm(c->loop, &c->timer);
	if (c->call || (!p && !c->looks))
		return;
	due = !p || (c->looks && c->look_due < p->due) ? c->look_due : p->due;
	if (at < due)
		at = due;
	loop_arm(c->loop, &c->timer, at > now ? at - now : 0);
}

static void on_timer(struct timer *timer)
{
	struct conditions *c = container_of(timer, struct conditions, timer);
	struct policy *p = first_due(c);

	if (c->looks && c->look_due <= loop_now())
		look(c);
	else if (p && p->due <= loop_now())
		ask(c, p->name, "", "", NULL, on_policy);
	else
		arm(c);
}

/* What stands *****************************************************************************/

void conditions_begin(struct conditions *c)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&c->policies, &it); e; e = sluice_map_next(&it))
		drop_texts(e->value);
}

void conditions_add(struct conditions *c, const char *policy, const char *reason, const char *text)
{
	struct policy *p = find_or_add(c, policy);

	sluice_grow(p->texts, p->n, p->cap);
	p->texts[p->n++] = (struct text){ sluice_strdup(reason), sluice_strdup(text) };
}

static int compare(const void *va, const void *vb)
{
	const struct text *a = va, *b = vb;

	return strcmp(a->reason, b->reason) ?: strcmp(a->text, b->text);
}

/* All of them, a line each, as many as have room. To be freed. */
static char *message_of(const struct policy *p)
{
	size_t len = 0, i;
	char *message;

	for (i = 0; i < p->n; i++)
		len += strlen(p->texts[i].text) + 1;
	message = sluice_zalloc(len + 1);
	for (i = 0, len = 0; i < p->n; i++) {
		size_t n = strlen(p->texts[i].text);

		if (len + 1 + n > MESSAGE_MAX)
			break;
		if (i)
			message[len++] = '\n';
		memcpy(message + len, p->texts[i].text, n);
		len += n;
	}
	return message;
}

static bool differs(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) : a != b;
}

/* Its condition is made anew of its problems. */
static void settle(struct policy *p)
{
	char *reason = NULL, *message = NULL;

	if (p->n) {
		qsort(p->texts, p->n, sizeof(*p->texts), compare);
		reason = sluice_strdup(p->texts[0].reason);
		message = message_of(p);
	}
	if (differs(reason, p->reason) || differs(message, p->message)) {
		p->told = false;
		p->backoff = 0;
		p->due = retry_in(DELAY_MS, DELAY_RANDOM_MS);
	}
	free(p->reason);
	free(p->message);
	p->reason = reason;
	p->message = message;
	drop_texts(p);
}

void conditions_end(struct conditions *c)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&c->policies, &it); e; e = sluice_map_next(&it))
		settle(e->value);
	arm(c);
}

void conditions_look(struct conditions *c)
{
	if (c->has_looked)
		return;
	c->has_looked = c->looks = true;
	c->look_due = retry_in(DELAY_MS, DELAY_RANDOM_MS);
	arm(c);
}

void conditions_stats(const struct conditions *c, struct conditions_stats *stats)
{
	*stats = c->stats;
}

struct conditions *conditions_new(struct loop *loop, struct kube_client *client)
{
	struct conditions *c = sluice_zalloc(sizeof(*c));

	c->loop = loop;
	c->client = client;
	c->timer.expired = on_timer;
	return c;
}

void conditions_free(struct conditions *c)
{
	if (!c)
		return;
	if (c->call)
		kube_client_cancel(c->call);
	loop_disarm(c->loop, &c->timer);
	sluice_map_clear(&c->policies, free_policy);
	free(c->asked);
	free(c->next);
	free(c);
}
