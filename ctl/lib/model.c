// SPDX-License-Identifier: GPL-2.0-only
/*
 * The store. Every object hangs in a table by (namespace, name), in the list of its kind and
 * namespace, and an EndpointSlice also in the list of its service; each change costs O(1).
 */
#include "ctl/lib/model.h"

#include "ctl/lib/alloc.h"
#include "ctl/lib/map.h"
#include "ctl/lib/name_key.h"

#define MAX_LISTENERS 4

struct link {
	struct link *prev, *next;
	struct record *rec;
};

struct record {
	struct sluice_object *o;
	struct link in_ns;
	struct link in_service; /* EndpointSlices of a service */
};

struct sluice_model {
	struct sluice_map by_name[SLUICE_KIND_COUNT]; /* "ns\0name" -> record */
	struct sluice_map by_ns[SLUICE_KIND_COUNT]; /* "ns" -> list head */
	struct sluice_map by_service; /* "ns\0service" -> list head */
	struct sluice_map implied; /* "ns" -> labels of a namespace without an object */
	struct {
		sluice_model_listener fn;
		void *ctx;
	} listeners[MAX_LISTENERS];
	size_t n_listeners;
};

const char *sluice_kind_name(enum sluice_kind kind)
{
	static const char *const names[] = {
#define X(sym, kind, api, namespaced, word) kind,
		SLUICE_KINDS(X)
#undef X
	};

	return names[kind];
}

const char *sluice_kind_word(enum sluice_kind kind)
{
	static const char *const words[] = {
#define X(sym, kind, api, namespaced, word) word,
		SLUICE_KINDS(X)
#undef X
	};

	return words[kind];
}

const char *sluice_kind_api(enum sluice_kind kind)
{
	static const char *const versions[] = {
#define X(sym, kind, api, namespaced, word) api,
		SLUICE_KINDS(X)
#undef X
	};

	return versions[kind];
}

bool sluice_kind_namespaced(enum sluice_kind kind)
{
	static const bool values[] = {
#define X(sym, kind, api, namespaced, word) namespaced,
		SLUICE_KINDS(X)
#undef X
	};

	return values[kind];
}

struct sluice_model *sluice_model_new(void)
{
	return sluice_zalloc(sizeof(struct sluice_model));
}

static void free_record(void *value)
{
	struct record *rec = value;

	sluice_object_put(rec->o);
	free(rec);
}

static void free_labels(void *value)
{
	sluice_labels_clear(value);
	free(value);
}

void sluice_model_free(struct sluice_model *model)
{
	int i;

	if (!model)
		return;
	for (i = 0; i < SLUICE_KIND_COUNT; i++) {
		sluice_map_clear(&model->by_name[i], free_record);
		sluice_map_clear(&model->by_ns[i], free);
	}
	sluice_map_clear(&model->by_service, free);
	sluice_map_clear(&model->implied, free_labels);
	free(model);
}

void sluice_model_listen(struct sluice_model *model, sluice_model_listener fn, void *ctx)
{
	if (model->n_listeners == MAX_LISTENERS)
		abort();
	model->listeners[model->n_listeners].fn = fn;
	model->listeners[model->n_listeners].ctx = ctx;
	model->n_listeners++;
}

void sluice_model_unlisten(struct sluice_model *model, sluice_model_listener fn, void *ctx)
{
	size_t i, n = 0;

	for (i = 0; i < model->n_listeners; i++)
		if (model->listeners[i].fn != fn || model->listeners[i].ctx != ctx)
			model->listeners[n++] = model->listeners[i];
	model->n_listeners = n;
}

static void tell(struct sluice_model *model, const struct sluice_object *before,
		 const struct sluice_object *after)
{
	size_t i;

	for (i = 0; i < model->n_listeners; i++)
		model->listeners[i].fn(model->listeners[i].ctx, before, after);
}

static void link_add(struct sluice_map *lists, const void *key, size_t len, struct link *link,
		     struct record *rec)
{
	struct link **head = (struct link **)sluice_map_slot(lists, key, len);

	if (!*head) {
		*head = sluice_zalloc(sizeof(**head));
		(*head)->prev = (*head)->next = *head;
	}
	link->rec = rec;
	link->next = (*head)->next;
	link->prev = *head;
	link->next->prev = link;
	(*head)->next = link;
}

static void link_del(struct sluice_map *lists, const void *key, size_t len, struct link *link)
{
	struct link *head = sluice_map_get(lists, key, len);

	if (!link->next)
		return;
	link->prev->next = link->next;
	link->next->prev = link->prev;
	memset(link, 0, sizeof(*link));
	if (head->next == head)
		free(sluice_map_del(lists, key, len));
}

static bool is_slice(const struct sluice_object *o)
{
	return o->kind == SLUICE_KIND_ENDPOINT_SLICE;
}

static void slice_link(struct sluice_model *model, struct record *rec, bool add)
{
	struct name_key k;

	if (!is_slice(rec->o) || !*sluice_to_slice(rec->o)->service ||
	    !make_name_key(&k, rec->o->ns, sluice_to_slice(rec->o)->service))
		return;
	if (add)
		link_add(&model->by_service, k.text, k.len, &rec->in_service, rec);
	else
		link_del(&model->by_service, k.text, k.len, &rec->in_service);
}

/* The same content at another place: only the places are taken over. */
static void adopt_place(struct sluice_object *old, struct sluice_object *o)
{
	char *file = old->file;
	size_t d, i;

	old->line = o->line;
	old->file = o->file;
	o->file = file;
	if (!sluice_kind_is_policy(o->kind))
		return;
	for (d = 0; d < 2; d++) {
		struct sluice_policy *a = (struct sluice_policy *)old;
		struct sluice_policy *b = (struct sluice_policy *)o;

		for (i = 0; i < a->n_rules[d] && i < b->n_rules[d]; i++)
			a->rules[d][i].line = b->rules[d][i].line;
	}
}

bool sluice_model_apply(struct sluice_model *model, struct sluice_object *o)
{
	struct sluice_object *old = NULL;
	struct record **slot, *rec;
	struct name_key k;

	if (!make_name_key(&k, o->ns, o->name))
		return false;
	slot = (struct record **)sluice_map_slot(&model->by_name[o->kind], k.text, k.len);
	rec = *slot;
	if (rec) {
		old = rec->o;
		if (old == o)
			return false;
		if (old->hash == o->hash) {
			if (o->refs == 1)
				adopt_place(old, o);
			return false;
		}
		slice_link(model, rec, false);
	} else {
		rec = sluice_zalloc(sizeof(*rec));
		*slot = rec;
		link_add(&model->by_ns[o->kind], o->ns, strlen(o->ns), &rec->in_ns, rec);
	}
	rec->o = sluice_object_get(o);
	slice_link(model, rec, true);
	tell(model, old, o);
	sluice_object_put(old);
	return true;
}

bool sluice_model_delete(struct sluice_model *model, enum sluice_kind kind, const char *ns,
			 const char *name)
{
	struct sluice_object *old;
	struct record *rec;
	struct name_key k;

	if (!make_name_key(&k, ns, name))
		return false;
	rec = sluice_map_get(&model->by_name[kind], k.text, k.len);
	if (!rec)
		return false;
	old = rec->o;
	slice_link(model, rec, false);
	link_del(&model->by_ns[kind], ns, strlen(ns), &rec->in_ns);
	sluice_map_del(&model->by_name[kind], k.text, k.len);
	free(rec);
	tell(model, old, NULL);
	sluice_object_put(old);
	return true;
}

const struct sluice_object *sluice_model_find(const struct sluice_model *model,
					      enum sluice_kind kind, const char *ns,
					      const char *name)
{
	struct record *rec;
	struct name_key k;

	if (!make_name_key(&k, ns, name))
		return NULL;
	rec = sluice_map_get(&model->by_name[kind], k.text, k.len);
	return rec ? rec->o : NULL;
}

const struct sluice_pod *sluice_model_pod(const struct sluice_model *model, const char *ns,
					  const char *name)
{
	return sluice_to_pod(sluice_model_find(model, SLUICE_KIND_POD, ns, name));
}

const struct sluice_labels *sluice_model_namespace_labels(struct sluice_model *model,
							  const char *ns)
{
	const struct sluice_object *o = sluice_model_find(model, SLUICE_KIND_NAMESPACE, "", ns);
	struct sluice_labels **implied;

	if (o)
		return &o->labels;
	implied = (struct sluice_labels **)sluice_map_slot(&model->implied, ns, strlen(ns));
	if (!*implied) {
		*implied = sluice_zalloc(sizeof(**implied));
		sluice_labels_add(*implied, "kubernetes.io/metadata.name", ns);
	}
	return *implied;
}

size_t sluice_model_count(const struct sluice_model *model, enum sluice_kind kind)
{
	return model->by_name[kind].n;
}

static void each_link(const struct link *head, bool (*fn)(void *ctx, const struct sluice_object *o),
		      void *ctx)
{
	const struct link *l;

	for (l = head ? head->next : NULL; l && l != head; l = l->next)
		if (!fn(ctx, l->rec->o))
			return;
}

void sluice_model_each(const struct sluice_model *model, enum sluice_kind kind, const char *ns,
		       bool (*fn)(void *ctx, const struct sluice_object *o), void *ctx)
{
	struct sluice_map_iter it;
	struct sluice_map_entry *e;

	if (ns) {
		each_link(sluice_map_get(&model->by_ns[kind], ns, strlen(ns)), fn, ctx);
		return;
	}
	for (e = sluice_map_first(&model->by_name[kind], &it); e; e = sluice_map_next(&it))
		if (!fn(ctx, ((struct record *)e->value)->o))
			return;
}

void sluice_model_each_slice(const struct sluice_model *model, const char *ns, const char *service,
			     bool (*fn)(void *ctx, const struct sluice_object *o), void *ctx)
{
	struct name_key k;

	if (make_name_key(&k, ns, service))
		each_link(sluice_map_get(&model->by_service, k.text, k.len), fn, ctx);
}

bool sluice_pod_port_number(const struct sluice_pod *pod, const char *name, uint8_t proto,
			    uint16_t *port)
{
	size_t i;

	for (i = 0; i < pod->n_ports; i++) {
		if (pod->ports[i].proto != proto || strcmp(pod->ports[i].name, name))
			continue;
		*port = pod->ports[i].port;
		return true;
	}
	return false;
}

void sluice_service_made_up_ips(const struct sluice_service *svc, struct sluice_dp_addr out[2])
{
	uint64_t h = sluice_hash_text(sluice_hash_text(0, svc->o.ns), svc->o.name);

	memset(out, 0, 2 * sizeof(*out));
	out[0].family = SLUICE_IPV4;
	out[0].addr.w[0] = sluice_htonl(0xf0000000U | (uint32_t)h >> 4);
	out[1].family = SLUICE_IPV6;
	out[1].addr.w[0] = sluice_htonl(0x01000000U);
	out[1].addr.w[2] = sluice_htonl(h >> 32);
	out[1].addr.w[3] = sluice_htonl((uint32_t)h);
}
