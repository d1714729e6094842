// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/kube_reflector.h"

#include <stdio.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/name_key.h"

#define PIECE 500 /* objects of a list at once, as client-go asks for */
/* The server ends a watch when its time is over; one that outlives it by so much has lost its server. */
#define WATCH_GRACE 30000
/* A watch that ends sooner, and has said nothing, is not asked for again at once. */
#define WATCH_SHORT 1000
/* A watch that lived so long shows that the server does. */
#define WATCH_HEALTHY 5000
#define N_EXCHANGES (sizeof((struct kube_reflector *)0)->exchanges / sizeof(struct kube_exchange))
#define MAX_REFUSALS 1000 /* that are remembered; more are counted alone */

const struct kube_timing kube_timing = {
	.backoff_min = 800,
	.backoff_max = 30000,
	.absent_max = 60000,
	.list_silence = 30000,
	.watch_silence = 180000,
	.watch_least = 300000,
};

static const char *const landmarks[] = { "default", "kube-system" };
#define ALL_LANDMARKS 3u

static void step(struct kube_reflector *r);

static void set_text(char **slot, const char *text)
{
	char *copy = text ? sluice_strdup(text) : NULL;

	free(*slot);
	*slot = copy;
}

static void note(struct kube_reflector *r, enum kube_note level, const char *what,
		 const char *detail)
{
	r->ops->note(r->ctx, level, r->kind, what, detail);
}

static void set_well(struct kube_reflector *r)
{
	if (!r->problem)
		return;
	set_text(&r->problem, NULL);
	note(r, KUBE_INFO, "the API server answers again", NULL);
}

/* ---- ending and trying again ---- */

static void end_exchange(struct kube_exchange *x)
{
	for (size_t i = 0; i < x->n_held; i++)
		sluice_object_put(x->held[i]);
	x->n_held = 0;
	kube_stream_free(x->stream);
	x->stream = NULL;
}

static void end_calls(struct kube_reflector *r)
{
	for (size_t i = 0; i < N_EXCHANGES; i++) {
		struct kube_exchange *x = &r->exchanges[i];

		if (x->call)
			kube_client_cancel(x->call);
		x->call = NULL;
		end_exchange(x);
	}
	loop_disarm(r->loop, &r->silence);
}

static void end_list(struct kube_reflector *r)
{
	sluice_map_clear(&r->seen, NULL);
	set_text(&r->list_version, NULL);
	set_text(&r->next, NULL);
	r->continued = false;
	r->sweeping = r->unnamed = false;
	r->n_listed = 0;
	r->landmarks = 0;
}

/* How long to wait now. As much again at random: 5,000 nodes lose the same server at the same moment. */
static int64_t back_off(struct kube_reflector *r, int64_t most)
{
	r->backoff = r->backoff ? r->backoff * 2 : r->timing->backoff_min;
	if (r->backoff > most)
		r->backoff = most;
	return r->backoff + arc4random_uniform(r->backoff);
}

/* Not to be called while the stream is being fed. */
static void fail(struct kube_reflector *r, const char *why, int64_t retry_after)
{
	int64_t delay = back_off(r, r->timing->backoff_max);

	end_calls(r);
	end_list(r);
	r->phase = KUBE_WAITING;
	r->errors++;
	if (delay < retry_after)
		delay = retry_after + arc4random_uniform(retry_after / 2 + 1);
	/* The same again and again is told once, and as long as it stands by status. */
	if (!r->problem || strcmp(r->problem, why))
		note(r, KUBE_WARNING, "trouble with the API server; what is known stays", why);
	set_text(&r->problem, why);
	loop_arm(r->loop, &r->retry, delay);
}

static void on_retry(struct timer *timer)
{
	step(container_of(timer, struct kube_reflector, retry));
}

static void on_silence(struct timer *timer)
{
	struct kube_reflector *r = container_of(timer, struct kube_reflector, silence);
	bool listing = r->phase == KUBE_LISTING;
	char text[80];

	snprintf(text, sizeof(text), "the %s was silent for %lld s", listing ? "list" : "watch",
		 (long long)((loop_now() - r->heard) / 1000));
	/* Servers that do not know such lists may take them for a watch that waits for news. */
	if (listing && r->list_form == KUBE_LIST_STREAMED)
		r->list_form = KUBE_LIST_WHOLE;
	fail(r, text, 0);
}

/* Something was heard. */
static void arm_silence(struct kube_reflector *r)
{
	r->heard = loop_now();
	if (r->phase == KUBE_LISTING)
		loop_arm(r->loop, &r->silence, r->timing->list_silence);
	else if (r->bookmarks)
		loop_arm(r->loop, &r->silence, r->timing->watch_silence);
	else
		loop_disarm(r->loop, &r->silence);
}

/* ---- refusals ---- */

static void forget_refusal(struct kube_reflector *r, const char *ns, const char *name)
{
	char key[330], *why;
	int n;

	if (!r->refusals.n)
		return;
	n = snprintf(key, sizeof(key), "%s%s%s", ns, *ns ? "/" : "", name);
	why = sluice_map_del(&r->refusals, key, n);
	r->refusals_version += !!why;
	free(why);
}

static void remember_refusal(struct kube_reflector *r, const char *ns, const char *name,
			     const char *why)
{
	char key[330];
	char **slot;
	int n;

	r->refused++;
	n = snprintf(key, sizeof(key), "%.63s%s%.253s", ns, *ns ? "/" : "", name);
	slot = sluice_map_get(&r->refusals, key, n);
	if (slot && !strcmp((char *)slot, why))
		return;
	note(r, KUBE_ERROR, "an object is refused", why);
	if (!slot && r->refusals.n >= MAX_REFUSALS)
		return;
	slot = (char **)sluice_map_slot(&r->refusals, key, n);
	set_text(slot, why);
	r->refusals_version++;
}

/* ---- objects ---- */

struct identity {
	const char *name; /* NULL: none */
	const char *ns;
	const char *version; /* or "" */
};

static struct identity identify(const struct sluice_value *object)
{
	const struct sluice_value *meta = sluice_value_get(object, "metadata");

	return (struct identity){ sluice_value_text(meta, "name"),
				  sluice_value_text(meta, "namespace") ?: "",
				  sluice_value_text(meta, "resourceVersion") ?: "" };
}

static bool is_own_node(const struct kube_reflector *r, const char *name)
{
	return r->kind == SLUICE_KIND_NODE && !strcmp(name, r->node);
}

static void see(struct kube_reflector *r, const char *ns, const char *name)
{
	struct name_key k;

	if (r->phase != KUBE_LISTING)
		return;
	r->n_listed++;
	for (size_t i = 0; r->kind == SLUICE_KIND_NAMESPACE && i < 2; i++)
		if (!strcmp(name, landmarks[i]))
			r->landmarks |= 1u << i;
	if (r->sweeping && make_name_key(&k, ns, name))
		*sluice_map_slot(&r->seen, k.text, k.len) = r;
}

/* The items of a PodList have no kind of their own. */
static struct sluice_value with_kind(const struct kube_reflector *r,
				     const struct sluice_value *item, struct sluice_member *members)
{
	struct sluice_value out = *item;

	memcpy(members, item->members, item->n * sizeof(*members));
	out.members = members;
	if (!sluice_value_get(item, "kind"))
		members[out.n++] = (struct sluice_member){
			"kind",
			4,
			{ .type = SLUICE_VALUE_TEXT,
			  .n = strlen(sluice_kind_name(r->kind)),
			  .text = sluice_kind_name(r->kind) },
		};
	if (!sluice_value_get(item, "apiVersion"))
		members[out.n++] = (struct sluice_member){
			"apiVersion",
			10,
			{ .type = SLUICE_VALUE_TEXT,
			  .n = strlen(sluice_kind_api(r->kind)),
			  .text = sluice_kind_api(r->kind) },
		};
	return out;
}

static void refuse(struct kube_reflector *r, const struct identity *id, const char *why)
{
	if (id->name)
		see(r, id->ns, id->name);
	else
		r->unnamed = true;
	remember_refusal(r, id->ns, id->name ?: "", why);
}

static void take(struct kube_reflector *r, struct sluice_object *o)
{
	forget_refusal(r, o->ns, o->name);
	if (sluice_model_apply(r->model, o))
		r->ops->changed(r->ctx);
}

static void take_held(struct kube_exchange *x)
{
	for (size_t i = 0; i < x->n_held; i++) {
		take(x->reflector, x->held[i]);
		sluice_object_put(x->held[i]);
	}
	x->n_held = 0;
}

static void apply(struct kube_exchange *x, const struct sluice_value *value)
{
	struct kube_reflector *r = x->reflector;
	struct identity id = identify(value);
	struct sluice_object *o = NULL;
	struct sluice_member *members;
	struct sluice_value whole;
	SLUICE_ERR(err);

	r->events++;
	if (value->type != SLUICE_VALUE_OBJECT) {
		refuse(r, &id, "it is not an object");
		return;
	}
	members = sluice_zalloc((value->n + 2) * sizeof(*members));
	whole = with_kind(r, value, members);
	if (!sluice_object_decode(&whole, NULL, &o, NULL, &err) && o->kind != r->kind)
		sluice_err_set(&err, EINVAL, "%s %s%s%s: kind: is not the %s that was asked for",
			       sluice_kind_name(o->kind), o->ns, *o->ns ? "/" : "", o->name,
			       sluice_kind_name(r->kind));
	free(members);
	if (err.code) {
		refuse(r, &id, sluice_err_msg(&err));
	} else {
		see(r, o->ns, o->name);
		o->line = 0; /* of a stream: says nothing to anybody */
		if (x->headless) {
			sluice_grow(x->held, x->n_held, x->cap_held);
			x->held[x->n_held++] = sluice_object_get(o);
		} else {
			take(r, o);
		}
	}
	sluice_object_put(o);
}

static void delete(struct kube_reflector *r, const char *ns, const char *name)
{
	struct name_key k;

	r->events++;
	forget_refusal(r, ns, name);
	if (r->sweeping && make_name_key(&k, ns, name))
		sluice_map_del(&r->seen, k.text, k.len);
	if (is_own_node(r, name)) {
		note(r, KUBE_WARNING, "this node's Node was deleted; what is known of it stays",
		     name);
		return;
	}
	if (sluice_model_delete(r->model, r->kind, ns, name))
		r->ops->changed(r->ctx);
}

/* ---- lists ---- */

/*
 * Is a older than b? Only numbers can be compared, which Kubernetes promises for its own kinds; they have
 * no leading zeros.
 */
static bool is_older(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	if (a[strspn(a, "0123456789")] || b[strspn(b, "0123456789")])
		return false;
	return n != m ? n < m : strcmp(a, b) < 0;
}

static int check_version(const struct kube_reflector *r, const char *version,
			 struct sluice_err *err)
{
	if (!version || !*version)
		return sluice_err_set(err, EINVAL, "the list has no metadata.resourceVersion");
	if (r->version && is_older(version, r->version))
		return sluice_err_set(
			err, ESTALE,
			"the list is of resourceVersion %.40s, older than %.40s, which was "
			"seen before",
			version, r->version);
	return 0;
}

static int on_head(void *ctx, const struct sluice_value *list, struct sluice_err *err)
{
	const struct sluice_value *meta = sluice_value_get(list, "metadata");
	const char *kind = sluice_value_text(list, "kind") ?: "";
	const char *version = sluice_value_text(meta, "resourceVersion");
	const char *next = sluice_value_text(meta, "continue"), *name;
	struct kube_exchange *x = ctx;
	struct kube_reflector *r = x->reflector;
	size_t len;
	int ret;

	name = sluice_kind_name(r->kind);
	len = strlen(name);
	if (strncmp(kind, name, len) || strcmp(kind + len, "List"))
		return sluice_err_set(err, EINVAL, "the answer is a \"%.60s\", not a %sList", kind,
				      name);
	ret = check_version(r, version, err);
	if (ret)
		return ret;
	set_text(&r->list_version, version);
	set_text(&r->next, next && *next ? next : NULL);
	x->headless = false;
	take_held(x);
	return 0;
}

static int on_item(void *ctx, const struct sluice_value *value, struct sluice_err *err)
{
	(void)err;
	apply(ctx, value);
	return 0;
}

static int on_refused_item(void *ctx, const struct sluice_value *value, const char *why,
			   struct sluice_err *err)
{
	struct identity id = identify(value);
	struct kube_exchange *x = ctx;
	struct kube_reflector *r = x->reflector;
	char *text;

	(void)err;
	r->events++;
	if (asprintf(&text, "%s %s%s%s: %s", sluice_kind_name(r->kind), id.ns, *id.ns ? "/" : "",
		     id.name ?: "(no name)", why) < 0)
		sluice_alloc_check(NULL);
	refuse(r, &id, text);
	free(text);
	return 0;
}

/* What a sweep removes; the model may not change while it is walked. */
struct sweep {
	struct kube_reflector *reflector;
	struct sluice_object **v;
	size_t n, cap;
};

static bool collect(void *ctx, const struct sluice_object *o)
{
	struct sweep *s = ctx;
	struct name_key k;

	if (!make_name_key(&k, o->ns, o->name) ||
	    sluice_map_get(&s->reflector->seen, k.text, k.len))
		return true;
	sluice_grow(s->v, s->n, s->cap);
	s->v[s->n++] = sluice_object_get((struct sluice_object *)o);
	return true;
}

static void sweep(struct kube_reflector *r)
{
	struct sweep s = { .reflector = r };

	sluice_model_each(r->model, r->kind, NULL, collect, &s);
	for (size_t i = 0; i < s.n; i++) {
		delete (r, s.v[i]->ns, s.v[i]->name);
		sluice_object_put(s.v[i]);
	}
	free(s.v);
}

/* Refusals of objects that are not there any more. */
static void sweep_refusals(struct kube_reflector *r)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&r->refusals, &it); e; e = sluice_map_next(&it)) {
		const char *key = (const char *)e->key, *slash = memchr(key, '/', e->len);
		size_t ns = slash ? slash - key : 0, name = slash ? e->len - ns - 1 : e->len;
		struct name_key k;

		memcpy(k.text, key, ns);
		k.text[ns] = '\0';
		memcpy(k.text + ns + 1, slash ? slash + 1 : key, name);
		k.len = ns + 1 + name;
		if (!sluice_map_get(&r->seen, k.text, k.len))
			free(sluice_map_del(&r->refusals, e->key, e->len));
	}
	r->refusals_version++;
}

/* All of it has come. */
static int finish_list(struct kube_reflector *r, const char *version, struct sluice_err *err)
{
	size_t n = sluice_model_count(r->model, r->kind);
	bool first = !r->synced;
	int ret = check_version(r, version, err);

	if (ret)
		return ret;
	if (r->kind == SLUICE_KIND_NAMESPACE && r->landmarks != ALL_LANDMARKS)
		return sluice_err_set(
			err, EINVAL,
			"a list of Namespaces without \"default\" and \"kube-system\", which "
			"every cluster has");
	if (r->sweeping && !r->n_listed && n && !r->unnamed && !r->doubt) {
		r->doubt = true;
		return sluice_err_set(
			err, EINVAL,
			"an empty list, where there were %zu; believed if it comes again", n);
	}
	r->doubt = false;
	set_text(&r->version, version);
	/* What could not be named may be any of those that are missing. */
	if (r->sweeping && !r->unnamed) {
		sweep(r);
		sweep_refusals(r);
	}
	end_list(r);
	r->want_list = false;
	r->list_form = KUBE_LIST_PIECES;
	r->backoff = 0;
	r->synced = true;
	if (r->absent)
		note(r, KUBE_INFO, "the cluster has this kind now", NULL);
	r->absent = false;
	set_well(r);
	if (first)
		r->ops->synced(r->ctx);
	return 0;
}

/* ---- watches ---- */

/* What came since the last version is not to be had any more. The server is well: no long wait. */
static void want_list(struct kube_reflector *r)
{
	r->want_list = true;
	r->backoff = 0;
}

static int on_error_event(struct kube_reflector *r, const struct sluice_value *status,
			  struct sluice_err *err)
{
	const struct sluice_value *code = sluice_value_get(status, "code");
	const char *reason = sluice_value_text(status, "reason") ?: "";
	const char *message = sluice_value_text(status, "message") ?: "no message";

	if ((code && code->type == SLUICE_VALUE_INTEGER && code->integer == 410) ||
	    !strcmp(reason, "Expired") || !strcmp(reason, "Gone"))
		want_list(r);
	return sluice_err_set(err, EIO, "the watch ended with an error: %.400s", message);
}

static int on_bookmark(struct kube_reflector *r, const struct sluice_value *object,
		       const char *version, struct sluice_err *err)
{
	const struct sluice_value *notes =
		sluice_value_get(sluice_value_get(object, "metadata"), "annotations");
	const char *end = sluice_value_text(notes, "k8s.io/initial-events-end");
	int ret;

	r->bookmarks = true;
	if (r->phase != KUBE_LISTING) {
		if (*version)
			set_text(&r->version, version);
		return 0;
	}
	if (!end || strcmp(end, "true"))
		return 0;
	ret = finish_list(r, version, err);
	if (ret)
		return ret;
	/* The same answer goes on as a watch. */
	r->phase = KUBE_WATCHING;
	r->watches++;
	return 0;
}

static int on_event(void *ctx, const struct sluice_value *event, struct sluice_err *err)
{
	const char *type = sluice_value_text(event, "type") ?: "";
	const struct sluice_value *object = sluice_value_get(event, "object");
	struct identity id = identify(object);
	struct kube_exchange *x = ctx;
	struct kube_reflector *r = x->reflector;

	if (!object)
		return sluice_err_set(err, EINVAL, "an event without an object");
	if (!strcmp(type, "ERROR"))
		return on_error_event(r, object, err);
	r->n_events++;
	r->backoff = 0;
	if (!strcmp(type, "BOOKMARK"))
		return on_bookmark(r, object, id.version, err);
	if (!strcmp(type, "ADDED") || !strcmp(type, "MODIFIED"))
		apply(x, object);
	else if (!strcmp(type, "DELETED") && id.name)
		delete (r, id.ns, id.name);
	else
		return sluice_err_set(err, EINVAL, "an event of type \"%.40s\"%s", type,
				      id.name ? "" : " without a name");
	/* Initial events come in any order. */
	if (r->phase == KUBE_WATCHING && *id.version)
		set_text(&r->version, id.version);
	return 0;
}

static int on_refused_event(void *ctx, const struct sluice_value *event, const char *why,
			    struct sluice_err *err)
{
	const char *type = sluice_value_text(event, "type") ?: "";
	const struct sluice_value *object = sluice_value_get(event, "object");
	struct identity id = identify(object);
	struct kube_exchange *x = ctx;
	struct kube_reflector *r = x->reflector;

	r->n_events++;
	/* That it is gone can be believed whatever else it says. */
	if (!strcmp(type, "DELETED") && id.name)
		delete (r, id.ns, id.name);
	else
		on_refused_item(ctx, object, why, err);
	if (r->phase == KUBE_WATCHING && *id.version)
		set_text(&r->version, id.version);
	return 0;
}

/* ---- kinds that not every cluster has ---- */

static bool is_optional(enum sluice_kind kind)
{
	return kind == SLUICE_KIND_CLUSTER_NETWORK_POLICY;
}

static void become_absent(struct kube_reflector *r)
{
	bool first = !r->synced;

	end_calls(r);
	end_list(r);
	sluice_map_clear(&r->refusals, free);
	r->refusals_version++;
	r->phase = KUBE_ABSENT;
	r->want_list = true;
	r->synced = true;
	if (!r->absent)
		note(r, KUBE_INFO, "the cluster does not have this kind", NULL);
	r->absent = true;
	set_well(r);
	loop_arm(r->loop, &r->retry, back_off(r, r->timing->absent_max));
	if (first)
		r->ops->synced(r->ctx);
}

/* ---- requests ---- */

static const struct kube_stream_ops list_ops = {
	.head = on_head,
	.object = on_item,
	.refused = on_refused_item,
};

static const struct kube_stream_ops watch_ops = {
	.object = on_event,
	.refused = on_refused_event,
};

static void list_piece(struct kube_reflector *r, struct kube_exchange *x);

static struct kube_exchange *free_exchange(struct kube_reflector *r)
{
	for (size_t i = 0; i < N_EXCHANGES; i++)
		if (!r->exchanges[i].stream)
			return &r->exchanges[i];
	return NULL;
}

/* The next piece of a list, if there is one, and not too many are under way. */
static void ask_ahead(struct kube_reflector *r)
{
	struct kube_exchange *x = r->next ? free_exchange(r) : NULL;

	if (x)
		list_piece(r, x);
}

static void on_data(void *ctx, const char *data, size_t len)
{
	struct kube_exchange *x = ctx;
	struct kube_reflector *r = x->reflector;
	SLUICE_ERR(err);

	if (r->phase == KUBE_WATCHING)
		set_well(r); /* it listens to us, if it says nothing for long */
	if (kube_stream_feed(x->stream, data, len, &err)) {
		fail(r, sluice_err_msg(&err), 0);
		return;
	}
	arm_silence(r);
	ask_ahead(r);
}

static void on_list_done(struct kube_exchange *x)
{
	struct kube_reflector *r = x->reflector;
	SLUICE_ERR(err);

	if (kube_stream_end(x->stream, &err)) {
		fail(r, sluice_err_msg(&err), 0);
		return;
	}
	end_exchange(x);
	ask_ahead(r);
	if (r->exchanges[0].stream || r->exchanges[1].stream)
		return;
	if (finish_list(r, r->list_version, &err)) {
		fail(r, sluice_err_msg(&err), 0);
		return;
	}
	end_calls(r);
	step(r);
}

static void on_watch_done(struct kube_exchange *x)
{
	struct kube_reflector *r = x->reflector;
	int64_t lived = loop_now() - r->began;
	SLUICE_ERR(err);

	if (kube_stream_end(x->stream, &err)) {
		fail(r, sluice_err_msg(&err), 0);
	} else if (r->phase == KUBE_LISTING) {
		fail(r, "the watch ended before its initial events did", 0);
	} else if (lived < WATCH_SHORT && !r->n_events) {
		fail(r, "the watch ended at once", 0);
	} else {
		if (lived > WATCH_HEALTHY)
			r->backoff = 0;
		end_calls(r);
		step(r);
	}
}

static void on_failure(struct kube_reflector *r, const struct kube_answer *answer)
{
	bool streamed = r->phase == KUBE_LISTING && r->list_form == KUBE_LIST_STREAMED;
	const char *why = NULL;

	/* Servers before 1.27 and those without the feature say so. */
	if (streamed && (answer->status == 400 || answer->status == 422)) {
		r->list_form = KUBE_LIST_WHOLE;
		why = "the API server does not stream lists";
	} else if (answer->status == 410 && r->continued) {
		r->list_form = KUBE_LIST_STREAMED;
		why = "the list has expired between two of its pieces";
	} else if (answer->status == 410) {
		want_list(r);
	}
	if (why) {
		note(r, KUBE_INFO, why, answer->error);
		end_calls(r);
		end_list(r);
		step(r);
		return;
	}
	if (answer->status == 404 && is_optional(r->kind) &&
	    !sluice_model_count(r->model, r->kind)) {
		become_absent(r);
		return;
	}
	if (loop_now() - r->began > WATCH_HEALTHY && r->phase == KUBE_WATCHING)
		r->backoff = 0;
	fail(r, answer->error, answer->retry_after);
}

static void on_done(void *ctx, const struct kube_answer *answer)
{
	struct kube_exchange *x = ctx;
	struct kube_reflector *r = x->reflector;

	x->call = NULL;
	if (!kube_answer_ok(answer))
		on_failure(r, answer);
	else if (r->phase == KUBE_LISTING && r->list_form != KUBE_LIST_STREAMED)
		on_list_done(x);
	else
		on_watch_done(x);
}

/* query: to be freed here. */
static void request(struct kube_reflector *r, struct kube_exchange *x, enum kube_stream_form form,
		    char *query, int64_t timeout)
{
	char *path;

	if (asprintf(&path, "%s%s", r->path, query) < 0)
		sluice_alloc_check(NULL);
	r->n_events = 0;
	x->headless = form == KUBE_LIST;
	r->began = r->heard = loop_now();
	x->stream = kube_stream_new(form, kube_fields(r->kind),
				    form == KUBE_LIST ? &list_ops : &watch_ops, x);
	x->call = kube_client_request(r->client, &(struct kube_request){ .path = path,
									 .timeout = timeout,
									 .data = on_data,
									 .done = on_done,
									 .ctx = x });
	arm_silence(r);
	free(path);
	free(query);
}

static void watch(struct kube_reflector *r)
{
	int64_t ms = r->timing->watch_least + arc4random_uniform(r->timing->watch_least);
	bool initial = r->phase == KUBE_LISTING;
	char *version = kube_escape(r->version ?: ""), *query;

	r->watches += !initial;
	if (asprintf(&query,
		     "watch=1&allowWatchBookmarks=true&timeoutSeconds=%lld&resourceVersion=%s%s",
		     (long long)(ms / 1000 ?: 1), version,
		     initial ? "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan" : "") <
	    0)
		sluice_alloc_check(NULL);
	free(version);
	request(r, &r->exchanges[0], KUBE_WATCH, query, ms + WATCH_GRACE);
}

static void list_piece(struct kube_reflector *r, struct kube_exchange *x)
{
	char *token = kube_escape(r->next ?: ""), *query;

	/* Without a resourceVersion it is the newest, never what an old cache has. */
	if (asprintf(&query, "limit=%d%s%s", r->list_form == KUBE_LIST_WHOLE ? 0 : PIECE,
		     *token ? "&continue=" : "", token) < 0)
		sluice_alloc_check(NULL);
	free(token);
	r->continued = r->next;
	set_text(&r->next, NULL);
	/* However long it takes, while it makes progress. */
	request(r, x, KUBE_LIST, query, 10 * 60000);
}

/* Nothing is under way: goes on. */
static void step(struct kube_reflector *r)
{
	if (r->version && !r->want_list) {
		r->phase = KUBE_WATCHING;
		watch(r);
		return;
	}
	r->phase = KUBE_LISTING;
	r->lists++;
	r->sweeping = sluice_model_count(r->model, r->kind) || r->refusals.n;
	if (r->list_form == KUBE_LIST_STREAMED)
		watch(r);
	else
		list_piece(r, &r->exchanges[0]);
}

/* ---- life ---- */

/*
 * What the server need not send: pods that have finished (whose addresses are free for others), and what
 * another proxy serves, or nobody, as kube-proxy has it.
 */
static const char *selector_of(enum sluice_kind kind)
{
	switch (kind) {
	case SLUICE_KIND_POD:
		return "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&";
	case SLUICE_KIND_SERVICE:
	case SLUICE_KIND_ENDPOINT_SLICE:
		return "labelSelector=%21service.kubernetes.io%2Fheadless%2C"
		       "%21service.kubernetes.io%2Fservice-proxy-name&";
	default:
		return "";
	}
}

void kube_reflector_init(struct kube_reflector *r, enum sluice_kind kind, struct loop *loop,
			 struct kube_client *client, struct sluice_model *model, const char *node,
			 const struct kube_timing *timing, const struct kube_reflector_ops *ops,
			 void *ctx)
{
	const char *api = sluice_kind_api(kind);

	*r = (struct kube_reflector){ .kind = kind,
				      .loop = loop,
				      .client = client,
				      .model = model,
				      .node = node,
				      .timing = timing ?: &kube_timing,
				      .ops = ops,
				      .ctx = ctx };
	for (size_t i = 0; i < N_EXCHANGES; i++)
		r->exchanges[i].reflector = r;
	r->retry.expired = on_retry;
	r->silence.expired = on_silence;
	if (asprintf(&r->path, "/%s/%s/%s?%s", strchr(api, '/') ? "apis" : "api", api,
		     sluice_kind_word(kind), selector_of(kind)) < 0)
		sluice_alloc_check(NULL);
}

void kube_reflector_start(struct kube_reflector *r)
{
	step(r);
}

void kube_reflector_exit(struct kube_reflector *r)
{
	end_calls(r);
	end_list(r);
	loop_disarm(r->loop, &r->retry);
	sluice_map_clear(&r->refusals, free);
	for (size_t i = 0; i < N_EXCHANGES; i++)
		free(r->exchanges[i].held);
	free(r->version);
	free(r->problem);
	free(r->path);
}
