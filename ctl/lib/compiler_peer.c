// SPDX-License-Identifier: GPL-2.0-only
/*
 * Peer classes
 * ------------
 * The rules in use ask questions about addresses (atoms): "is it a pod of namespace shop with
 * app=web?", "is it in 10.0.0.0/8 but not in 10.1.0.0/16?", "to which number does it resolve the
 * port named http?". Two addresses with the same answers are in the same class, so a ruleset only
 * has to know classes. An address whose class is already there needs no ruleset to change.
 *
 * Which addresses: every pod's, as an exact prefix, every prefix that an ipBlock names, as cidr
 * or as except, and, while a rule asks for nodes, the addresses of those that it finds: such a
 * question is treated as an ipBlock that consists of them. The data plane takes the longest prefix that holds an address. That is right,
 * because between one of these prefixes and the longer ones inside it no ipBlock has an edge:
 * all addresses that find prefix P answer all ipBlocks alike. Example: ipBlock 10.0.0.0/8 except
 * 10.1.0.0/16 makes peers 10.0.0.0/8 (yes) and 10.1.0.0/16 (no); a pod 10.1.2.3/32 says no to it
 * and answers the selectors on top.
 *
 * Which selectors an address has to be asked: each selector stands in one bucket, by a label that
 * it cannot match without, and by its namespace. A pod looks into the buckets of its own labels:
 * with 25 policies in each of 40 tenants that is some ten selectors instead of all thousand.
 *
 * The number of a class is a hash of its questions' texts and answers, so it is the same after a
 * restart, and a restarted controller finds nothing to change.
 */
#include "ctl/lib/compiler_internal.h"

/* With more new questions about pods than this, everybody is asked everything instead of one by one. */
#define ASK_ALL 16

enum bucket_kind { BUCKET_NS_PAIR, BUCKET_NS, BUCKET_PAIR, BUCKET_NAMESPACE_PAIR, BUCKET_REST };

static uint64_t bucket_key(enum bucket_kind kind, const char *ns, uint64_t pair)
{
	return sluice_hash_text(sluice_hash_bytes(kind, &pair, sizeof(pair)), ns);
}

/* ---- atoms ---- */

static int compare_cidrs(const void *x, const void *y)
{
	const struct sluice_cidr *a = x, *b = y;
	int c = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	return c ? c : (int)a->plen - (int)b->plen;
}

/* A policy may have thousands of ipBlocks: no stream for those. */
static char *block_text(const struct atom *a)
{
	struct sluice_cidr *except = sluice_memdup(a->except, a->n_except * sizeof(*except));
	char *text = sluice_zalloc((a->n_except + 1) * (SLUICE_ADDR_TEXT + 8)), *p;
	size_t i;

	memcpy(text, "block ", 6);
	sluice_cidr_format(&a->cidr, text + 6);
	p = text + strlen(text);
	if (a->n_except)
		qsort(except, a->n_except, sizeof(*except), compare_cidrs);
	for (i = 0; i < a->n_except; i++) {
		if (i && !compare_cidrs(&except[i - 1], &except[i]))
			continue;
		memcpy(p, " -", 2);
		sluice_cidr_format(&except[i], p + 2);
		p += strlen(p);
	}
	free(except);
	return text;
}

static char *atom_text(const struct atom *a)
{
	char *text = NULL, *pods, *namespaces;
	int len = 0;

	switch (a->type) {
	case ATOM_SELECTOR:
		pods = sluice_selector_text(&a->pods);
		namespaces = sluice_selector_text(&a->namespaces);
		if (a->ns)
			len = asprintf(&text, "pods in %s: %s", a->ns, pods);
		else
			len = asprintf(&text, "pods in [%s]: %s", namespaces, pods);
		free(pods);
		free(namespaces);
		break;
	case ATOM_BLOCK:
		return block_text(a);
	case ATOM_NODES:
		pods = sluice_selector_text(&a->nodes);
		len = asprintf(&text, "nodes: %s", pods);
		free(pods);
		break;
	case ATOM_PORT:
		len = asprintf(&text, "port %u %s", a->proto, a->port_name);
		break;
	}
	return sluice_alloc_check(len < 0 ? NULL : text);
}

struct atom *compiler_atom_get(struct sluice_compiler *c, const struct atom *like)
{
	char *text = atom_text(like);
	struct atom **slot = (struct atom **)sluice_map_slot(&c->atoms, text, strlen(text)), *a;

	if (*slot) {
		free(text);
		(*slot)->refs++;
		return *slot;
	}
	a = sluice_zalloc(sizeof(*a));
	*slot = a;
	a->type = like->type;
	a->refs = 1;
	a->text = text;
	a->serial = c->next_serial++;
	a->hash = sluice_hash_text(0, text);
	a->ns = like->ns ? sluice_strdup(like->ns) : NULL;
	sluice_selector_copy(&a->namespaces, &like->namespaces);
	sluice_selector_copy(&a->pods, &like->pods);
	a->cidr = like->cidr;
	a->except = sluice_memdup(like->except, like->n_except * sizeof(*like->except));
	a->n_except = like->n_except;
	sluice_selector_copy(&a->nodes, &like->nodes);
	a->port_name = like->port_name ? sluice_strdup(like->port_name) : NULL;
	a->proto = like->proto;
	a->fresh = true;
	list_add(&c->fresh_atoms, a);
	return a;
}

void compiler_atom_put(struct sluice_compiler *c, struct atom *a)
{
	if (--a->refs || a->loose)
		return;
	a->loose = true;
	list_add(&c->loose_atoms, a);
}

static void free_atom(void *value)
{
	struct atom *a = value;

	sluice_selector_clear(&a->namespaces);
	sluice_selector_clear(&a->pods);
	sluice_selector_clear(&a->nodes);
	free(a->except);
	free(a->node_addrs);
	free(a->port_name);
	free(a->ns);
	free(a->text);
	free(a->classes);
	free(a);
}

/* ---- peers ---- */

#define PEER_KEY 18

static void peer_key(const struct sluice_cidr *p, unsigned char *key)
{
	memcpy(key, &p->addr, 16);
	key[16] = p->plen;
	key[17] = p->family;
}

static void make_stale(struct sluice_compiler *c, struct peer *p)
{
	if (p->unclassified)
		return;
	p->unclassified = true;
	list_add(&c->stale_peers, p);
}

static struct peer *get_peer(struct sluice_compiler *c, const struct sluice_cidr *prefix)
{
	unsigned char key[PEER_KEY];
	struct peer **slot;

	peer_key(prefix, key);
	slot = (struct peer **)sluice_map_slot(&c->peers, key, sizeof(key));
	if (!*slot) {
		*slot = sluice_zalloc(sizeof(**slot));
		(*slot)->prefix = *prefix;
	}
	make_stale(c, *slot);
	return *slot;
}

static unsigned int *prefix_count(struct sluice_compiler *c, const struct sluice_cidr *p)
{
	return &c->prefix_lengths[p->family == SLUICE_IPV6][p->plen];
}

static void use_prefix(struct sluice_compiler *c, struct atom *a, const struct sluice_cidr *prefix,
		       bool except)
{
	struct peer *p = get_peer(c, prefix);

	p->blocks = sluice_realloc(p->blocks, p->n_blocks + 1, sizeof(*p->blocks));
	p->blocks[p->n_blocks++] = (struct block_use){ a, except };
	++*prefix_count(c, prefix);
}

static void unuse_prefix(struct sluice_compiler *c, struct atom *a,
			 const struct sluice_cidr *prefix)
{
	struct peer *p = get_peer(c, prefix);
	size_t i, n = 0;

	for (i = 0; i < p->n_blocks; i++) {
		if (p->blocks[i].atom == a)
			--*prefix_count(c, prefix);
		else
			p->blocks[n++] = p->blocks[i];
	}
	p->n_blocks = n;
}

static void unclaim_peers(struct pod *pod)
{
	size_t i, k, n;

	for (i = 0; i < pod->n_peers; i++) {
		struct peer *p = pod->peers[i];

		for (k = n = 0; k < p->n_pods; k++)
			if (p->pods[k] != pod)
				p->pods[n++] = p->pods[k];
		p->n_pods = n;
	}
	free(pod->peers);
	pod->peers = NULL;
	pod->n_peers = 0;
}

void compiler_peer_pod(struct sluice_compiler *c, struct pod *pod)
{
	struct sluice_dp_addr *addrs;
	size_t n, i;

	for (i = 0; i < pod->n_peers; i++)
		make_stale(c, pod->peers[i]);
	unclaim_peers(pod);
	addrs = compiler_pod_addrs(c, pod, &n);
	pod->peers = sluice_zalloc(n * sizeof(*pod->peers));
	for (i = 0; i < n; i++) {
		struct sluice_cidr prefix = { addrs[i].addr, sluice_family_bits(addrs[i].family),
					      addrs[i].family };
		struct peer *p = get_peer(c, &prefix);

		p->pods = sluice_realloc(p->pods, p->n_pods + 1, sizeof(*p->pods));
		p->pods[p->n_pods++] = pod;
		pod->peers[pod->n_peers++] = p;
	}
	free(addrs);
}

struct walk {
	struct sluice_compiler *c;
	const struct atom *atom;
};

static bool stale_pod(void *ctx, const struct sluice_object *o)
{
	struct walk *w = ctx;
	const struct atom *a = w->atom;
	struct pod *pod = compiler_find_pod(w->c, o->ns, o->name);
	uint16_t port;
	size_t i;

	if (!pod || !pod->n_peers)
		return true;
	if (a && a->type == ATOM_PORT &&
	    !sluice_pod_port_number(sluice_to_pod(o), a->port_name, a->proto, &port))
		return true;
	if (a && a->type == ATOM_SELECTOR &&
	    (!sluice_selector_matches(&a->pods, &o->labels) ||
	     (!a->ns && !sluice_selector_matches(&a->namespaces, sluice_model_namespace_labels(
									 w->c->model, o->ns)))))
		return true;
	for (i = 0; i < pod->n_peers; i++)
		make_stale(w->c, pod->peers[i]);
	return true;
}

void compiler_peer_namespace(struct sluice_compiler *c, const char *ns)
{
	struct walk w = { c, NULL };

	sluice_model_each(c->model, SLUICE_KIND_POD, ns, stale_pod, &w);
}

/* ---- questions come and go ---- */

static void classes_changed(struct sluice_compiler *c, struct atom *a)
{
	if (a->changed)
		return;
	a->changed = true;
	list_add(&c->changed_atoms, a);
}

static void bucket_of(struct atom *a)
{
	const char *key, *value;
	bool pair = sluice_selector_pair(&a->pods, &key, &value);

	if (pair)
		a->bucket = bucket_key(a->ns ? BUCKET_NS_PAIR : BUCKET_PAIR, a->ns ? a->ns : "",
				       sluice_label_pair_hash(key, value));
	else if (a->ns)
		a->bucket = bucket_key(BUCKET_NS, a->ns, 0);
	else if (sluice_selector_pair(&a->namespaces, &key, &value))
		a->bucket =
			bucket_key(BUCKET_NAMESPACE_PAIR, "", sluice_label_pair_hash(key, value));
	else
		a->bucket = bucket_key(BUCKET_REST, "", 0);
}

static void port_key(const char *name, uint8_t proto, char *key, size_t *len)
{
	*len = snprintf(key, 32, "%u %s", proto, name);
}

struct node_walk {
	struct sluice_compiler *c;
	struct atom *atom;
};

static bool use_node(void *ctx, const struct sluice_object *o)
{
	const struct sluice_node *node = (const struct sluice_node *)o;
	struct node_walk *w = ctx;
	struct atom *a = w->atom;
	size_t i;

	if (!sluice_selector_matches(&a->nodes, &o->labels))
		return true;
	for (i = 0; i < node->n_addrs; i++) {
		struct sluice_cidr exact = { node->addrs[i].addr,
					     sluice_family_bits(node->addrs[i].family),
					     node->addrs[i].family };

		use_prefix(w->c, a, &exact, false);
		sluice_grow(a->node_addrs, a->n_node_addrs, a->cap_node_addrs);
		a->node_addrs[a->n_node_addrs++] = exact;
	}
	return true;
}

static void use_nodes(struct sluice_compiler *c, struct atom *a)
{
	struct node_walk w = { c, a };

	sluice_model_each(c->model, SLUICE_KIND_NODE, NULL, use_node, &w);
}

static void unuse_nodes(struct sluice_compiler *c, struct atom *a)
{
	size_t i;

	for (i = 0; i < a->n_node_addrs; i++)
		unuse_prefix(c, a, &a->node_addrs[i]);
	a->n_node_addrs = 0;
}

void compiler_peer_nodes(struct sluice_compiler *c)
{
	size_t i;

	for (i = 0; i < c->node_atoms.n; i++) {
		unuse_nodes(c, c->node_atoms.v[i]);
		use_nodes(c, c->node_atoms.v[i]);
	}
}

static void index_atom(struct sluice_compiler *c, struct atom *a)
{
	struct list **slot;
	char key[32];
	size_t len, i;

	switch (a->type) {
	case ATOM_SELECTOR:
		bucket_of(a);
		slot = (struct list **)sluice_map_slot(&c->selector_index, &a->bucket,
						       sizeof(a->bucket));
		if (!*slot)
			*slot = sluice_zalloc(sizeof(**slot));
		list_add(*slot, a);
		break;
	case ATOM_BLOCK:
		use_prefix(c, a, &a->cidr, false);
		for (i = 0; i < a->n_except; i++)
			use_prefix(c, a, &a->except[i], true);
		break;
	case ATOM_NODES:
		list_add(&c->node_atoms, a);
		use_nodes(c, a);
		break;
	case ATOM_PORT:
		port_key(a->port_name, a->proto, key, &len);
		*sluice_map_slot(&c->port_index, key, len) = a;
		break;
	}
}

static void unindex_atom(struct sluice_compiler *c, struct atom *a)
{
	struct list *bucket;
	char key[32];
	size_t len, i;

	switch (a->type) {
	case ATOM_SELECTOR:
		bucket = sluice_map_get(&c->selector_index, &a->bucket, sizeof(a->bucket));
		list_remove(bucket, a);
		if (!bucket->n) {
			sluice_map_del(&c->selector_index, &a->bucket, sizeof(a->bucket));
			list_clear(bucket);
			free(bucket);
		}
		break;
	case ATOM_BLOCK:
		unuse_prefix(c, a, &a->cidr);
		for (i = 0; i < a->n_except; i++)
			unuse_prefix(c, a, &a->except[i]);
		break;
	case ATOM_NODES:
		list_remove(&c->node_atoms, a);
		unuse_nodes(c, a);
		break;
	case ATOM_PORT:
		port_key(a->port_name, a->proto, key, &len);
		sluice_map_del(&c->port_index, key, len);
		break;
	}
}

static void stale_all(struct sluice_compiler *c)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&c->peers, &it); e; e = sluice_map_next(&it))
		make_stale(c, e->value);
}

static bool has_fresh_block(const struct peer *p)
{
	size_t i;

	for (i = 0; p && i < p->n_blocks; i++)
		if (p->blocks[i].atom->fresh)
			return true;
	return false;
}

/* Is it inside of a new ipBlock? One look for each prefix length in use, however many blocks there are. */
static bool in_fresh_block(struct sluice_compiler *c, const struct peer *p)
{
	const unsigned int *lengths = c->prefix_lengths[p->prefix.family == SLUICE_IPV6];
	struct sluice_cidr up = p->prefix;
	unsigned char key[PEER_KEY];
	int plen;

	for (plen = p->prefix.plen; plen >= 0; plen--) {
		if (!lengths[plen])
			continue;
		up.plen = plen;
		sluice_addr_mask(&up.addr, plen);
		peer_key(&up, key);
		if (has_fresh_block(sluice_map_get(&c->peers, key, sizeof(key))))
			return true;
	}
	return false;
}

static bool is_in(const struct peer *p, const struct list *blocks)
{
	size_t i;

	for (i = 0; i < blocks->n; i++) {
		const struct atom *a = blocks->v[i];

		if (a->cidr.plen <= p->prefix.plen &&
		    sluice_cidr_contains(&a->cidr, &p->prefix.addr, p->prefix.family))
			return true;
	}
	return false;
}

static void stale_in_blocks(struct sluice_compiler *c, const struct list *blocks)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&c->peers, &it); e; e = sluice_map_next(&it)) {
		struct peer *p = e->value;

		if (p->unclassified)
			continue;
		if (blocks->n <= ASK_ALL ? is_in(p, blocks) : in_fresh_block(c, p))
			make_stale(c, p);
	}
}

static void ask_fresh(struct sluice_compiler *c)
{
	struct list blocks = { 0 };
	bool everybody;
	size_t i;

	for (i = 0; i < c->fresh_atoms.n; i++) {
		struct atom *a = c->fresh_atoms.v[i];

		index_atom(c, a);
		classes_changed(c, a);
		if (a->type == ATOM_BLOCK)
			list_add(&blocks, a);
	}
	everybody = c->fresh_atoms.n - blocks.n > ASK_ALL;
	if (everybody)
		stale_all(c);
	else if (blocks.n)
		stale_in_blocks(c, &blocks);
	for (i = 0; i < c->fresh_atoms.n; i++) {
		struct atom *a = c->fresh_atoms.v[i];
		struct walk w = { c, a };

		a->fresh = false;
		if (a->type != ATOM_BLOCK && a->type != ATOM_NODES && !everybody)
			sluice_model_each(c->model, SLUICE_KIND_POD, a->ns, stale_pod, &w);
	}
	c->fresh_atoms.n = 0;
	list_clear(&blocks);
}

/* Forgets the questions that nobody asks any more; those who said yes are to be asked again. */
static void drop_loose(struct sluice_compiler *c, struct list *dying)
{
	size_t i, k;

	for (i = 0; i < c->loose_atoms.n; i++) {
		struct atom *a = c->loose_atoms.v[i];

		a->loose = false;
		if (a->refs)
			continue;
		if (a->fresh)
			list_remove(&c->fresh_atoms, a);
		else
			unindex_atom(c, a);
		for (k = 0; k < a->n_classes; k++) {
			struct peer *p = a->classes[k].class->members;

			for (; p; p = p->next_member)
				make_stale(c, p);
		}
		sluice_map_del(&c->atoms, a->text, strlen(a->text));
		list_add(dying, a);
	}
	c->loose_atoms.n = 0;
}

/* ---- classes ---- */

struct answers {
	struct answer *v;
	size_t n, cap;
};

static void say(struct answers *s, struct atom *atom, uint32_t value)
{
	sluice_grow(s->v, s->n, s->cap);
	s->v[s->n++] = (struct answer){ atom, value };
}

static int compare_answers(const void *x, const void *y)
{
	const struct answer *a = x, *b = y;

	return a->atom->serial < b->atom->serial ? -1 : a->atom->serial > b->atom->serial;
}

static void answer_bucket(struct sluice_compiler *c, uint64_t key, const struct sluice_pod *pod,
			  const struct sluice_labels *namespace, struct answers *out)
{
	const struct list *bucket = sluice_map_get(&c->selector_index, &key, sizeof(key));
	size_t i;

	for (i = 0; bucket && i < bucket->n; i++) {
		struct atom *a = bucket->v[i];

		if (a->ns && strcmp(a->ns, pod->o.ns))
			continue;
		if (sluice_selector_matches(&a->pods, &pod->o.labels) &&
		    (a->ns || sluice_selector_matches(&a->namespaces, namespace)))
			say(out, a, 0);
	}
}

static void answer_as_pod(struct sluice_compiler *c, const struct sluice_pod *pod,
			  struct answers *out)
{
	const struct sluice_labels *namespace = sluice_model_namespace_labels(c->model, pod->o.ns);
	const struct sluice_labels *labels = &pod->o.labels;
	char key[32];
	size_t i, len;

	answer_bucket(c, bucket_key(BUCKET_REST, "", 0), pod, namespace, out);
	answer_bucket(c, bucket_key(BUCKET_NS, pod->o.ns, 0), pod, namespace, out);
	for (i = 0; i < labels->n; i++) {
		uint64_t pair = labels->v[i].pair_hash;

		answer_bucket(c, bucket_key(BUCKET_NS_PAIR, pod->o.ns, pair), pod, namespace, out);
		answer_bucket(c, bucket_key(BUCKET_PAIR, "", pair), pod, namespace, out);
	}
	for (i = 0; i < namespace->n; i++)
		answer_bucket(c, bucket_key(BUCKET_NAMESPACE_PAIR, "", namespace->v[i].pair_hash),
			      pod, namespace, out);

	for (i = 0; i < pod->n_ports && c->port_index.n; i++) {
		const struct sluice_pod_port *p = &pod->ports[i];
		struct atom *a;
		uint16_t port;

		if (!*p->name)
			continue;
		port_key(p->name, p->proto, key, &len);
		a = sluice_map_get(&c->port_index, key, len);
		/* A name in two containers: the first counts. */
		if (!a || a->yes == c->round ||
		    !sluice_pod_port_number(pod, p->name, p->proto, &port))
			continue;
		a->yes = c->round;
		say(out, a, port);
	}
}

/* Every ipBlock whose cidr holds the prefix, unless one of its excepts does. */
static void answer_blocks(struct sluice_compiler *c, const struct sluice_cidr *prefix,
			  struct answers *out)
{
	const unsigned int *lengths = c->prefix_lengths[prefix->family == SLUICE_IPV6];
	size_t first = out->n, i, k, n;

	for (i = 0; i <= prefix->plen; i++) {
		struct sluice_cidr up = *prefix;
		unsigned char key[PEER_KEY];
		const struct peer *p;

		if (!lengths[i])
			continue;
		up.plen = i;
		sluice_addr_mask(&up.addr, i);
		peer_key(&up, key);
		p = sluice_map_get(&c->peers, key, sizeof(key));
		for (k = 0; p && k < p->n_blocks; k++) {
			struct atom *a = p->blocks[k].atom;

			if (p->blocks[k].except) {
				a->no = c->round;
			} else if (a->yes != c->round) {
				a->yes = c->round;
				say(out, a, 0);
			}
		}
	}
	for (i = n = first; i < out->n; i++)
		if (out->v[i].atom->no != c->round)
			out->v[n++] = out->v[i];
	out->n = n;
}

/* Which of the pods that claim an address has it. */
static const struct pod *owner(const struct peer *p)
{
	const struct pod *best = p->n_pods ? p->pods[0] : NULL;
	size_t i;

	for (i = 1; i < p->n_pods; i++)
		if (compiler_compare_pods(p->pods[i], best) > 0)
			best = p->pods[i];
	return best;
}

static uint32_t class_number(struct sluice_compiler *c, const struct answers *s)
{
	uint64_t sum = 0;
	uint32_t id;
	size_t i;

	for (i = 0; i < s->n; i++)
		sum += sluice_hash_bytes(s->v[i].atom->hash, &s->v[i].value, sizeof(s->v[i].value));
	sum = sluice_hash_bytes(0, &sum, sizeof(sum));
	for (id = sum ^ sum >> 32; !id || sluice_map_get(&c->class_ids, &id, sizeof(id)); id++)
		;
	return id;
}

static void class_key(const struct answer *v, size_t n, uint64_t *key)
{
	size_t i;

	for (i = 0; i < n; i++) {
		key[2 * i] = v[i].atom->serial;
		key[2 * i + 1] = v[i].value;
	}
}

static struct class *get_class(struct sluice_compiler *c, struct answers *s)
{
	size_t bytes = s->n * 2 * sizeof(uint64_t), i;
	struct class **slot, *class;
	uint64_t *key;

	if (!s->n)
		return NULL;
	qsort(s->v, s->n, sizeof(*s->v), compare_answers);
	key = sluice_zalloc(bytes);
	class_key(s->v, s->n, key);
	slot = (struct class **)sluice_map_slot(&c->classes, key, bytes);
	free(key);
	if (*slot)
		return *slot;
	class = sluice_zalloc(sizeof(*class));
	*slot = class;
	class->id = class_number(c, s);
	*sluice_map_slot(&c->class_ids, &class->id, sizeof(class->id)) = class;
	class->answers = sluice_memdup(s->v, s->n * sizeof(*s->v));
	class->n_answers = s->n;
	for (i = 0; i < s->n; i++) {
		struct atom *a = s->v[i].atom;

		sluice_grow(a->classes, a->n_classes, a->cap_classes);
		a->classes[a->n_classes++] = (struct atom_class){ class, s->v[i].value };
		classes_changed(c, a);
	}
	return class;
}

static void leave_class(struct sluice_compiler *c, struct peer *p)
{
	struct class *class = p->class;

	if (!class)
		return;
	if (p->prev_member)
		p->prev_member->next_member = p->next_member;
	else
		class->members = p->next_member;
	if (p->next_member)
		p->next_member->prev_member = p->prev_member;
	p->next_member = p->prev_member = NULL;
	p->class = NULL;
	if (!--class->n_members && !class->maybe_dead) {
		class->maybe_dead = true;
		list_add(&c->dead_classes, class);
	}
}

static void join_class(struct peer *p, struct class *class)
{
	p->class = class;
	if (!class)
		return;
	p->next_member = class->members;
	if (class->members)
		class->members->prev_member = p;
	class->members = p;
	class->n_members++;
}

static void free_class(void *value)
{
	struct class *class = value;

	free(class->answers);
	free(class);
}

static void drop_dead_classes(struct sluice_compiler *c)
{
	size_t i, k, m;

	for (i = 0; i < c->dead_classes.n; i++) {
		struct class *class = c->dead_classes.v[i];
		uint64_t *key;

		class->maybe_dead = false;
		if (class->n_members)
			continue;
		for (k = 0; k < class->n_answers; k++) {
			struct atom *a = class->answers[k].atom;

			for (m = 0; m < a->n_classes && a->classes[m].class != class; m++)
				;
			a->classes[m] = a->classes[--a->n_classes];
			classes_changed(c, a);
		}
		key = sluice_zalloc(class->n_answers * 2 * sizeof(*key));
		class_key(class->answers, class->n_answers, key);
		sluice_map_del(&c->classes, key, class->n_answers * 2 * sizeof(*key));
		sluice_map_del(&c->class_ids, &class->id, sizeof(class->id));
		free(key);
		free_class(class);
	}
	c->dead_classes.n = 0;
}

static bool is_dead(const struct peer *p)
{
	return !p->n_pods && !p->n_blocks;
}

static void classify(struct sluice_compiler *c, struct peer *p, struct answers *scratch)
{
	const struct pod *pod = owner(p);
	struct class *class = NULL;

	if (!is_dead(p)) {
		scratch->n = 0;
		c->round++;
		answer_blocks(c, &p->prefix, scratch);
		if (pod)
			answer_as_pod(c, pod->o, scratch);
		class = get_class(c, scratch);
		c->stats.classified++;
	}
	if (p->class != class || !class) {
		leave_class(c, p);
		join_class(p, class);
	}
	if (!p->dirty) {
		p->dirty = true;
		list_add(&c->dirty_peers, p);
	}
}

void compiler_peer_update(struct sluice_compiler *c)
{
	struct answers scratch = { 0 };
	struct list dying = { 0 };
	size_t i, n;

	drop_loose(c, &dying);
	ask_fresh(c);
	for (i = 0; i < c->stale_peers.n; i++) {
		struct peer *p = c->stale_peers.v[i];

		p->unclassified = false;
		classify(c, p, &scratch);
	}
	c->stale_peers.n = 0;
	free(scratch.v);
	drop_dead_classes(c);
	for (i = n = 0; i < c->changed_atoms.n; i++)
		if (((struct atom *)c->changed_atoms.v[i])->refs)
			c->changed_atoms.v[n++] = c->changed_atoms.v[i];
	c->changed_atoms.n = n;
	for (i = 0; i < dying.n; i++)
		free_atom(dying.v[i]);
	list_clear(&dying);
}

/* ---- to the data plane ---- */

static int send_peer(struct sluice_compiler *c, struct peer *p, struct sluice_dataplane *dp,
		     bool full, struct sluice_err *err)
{
	const struct pod *pod = owner(p);
	char name[64 + 254];
	struct sluice_dp_peer out = { p->prefix.addr, p->prefix.plen, p->prefix.family,
				      p->class ? p->class->id : 0, name };
	uint64_t hash;
	int ret;

	if (is_dead(p)) {
		if (full || !p->sent)
			return 0;
		c->stats.sent++;
		return dp->ops->del_peer(dp, &out, err);
	}
	if (pod)
		snprintf(name, sizeof(name), "%s/%s", pod->ns, pod->name);
	else
		sluice_cidr_format(&p->prefix, name);
	hash = sluice_hash_text(out.class, name);
	if (!full && p->sent && p->sent_hash == hash)
		return 0;
	c->stats.sent++;
	ret = dp->ops->set_peer(dp, &out, err);
	if (!ret) {
		p->sent = true;
		p->sent_hash = hash;
	}
	return ret;
}

int compiler_peer_send(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
		       struct sluice_err *err)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t i;
	int ret = 0;

	if (full) {
		for (e = sluice_map_first(&c->peers, &it); e && !ret; e = sluice_map_next(&it))
			ret = send_peer(c, e->value, dp, true, err);
		return ret;
	}
	for (i = 0; i < c->dirty_peers.n && !ret; i++)
		ret = send_peer(c, c->dirty_peers.v[i], dp, false, err);
	return ret;
}

static void free_peer(void *value)
{
	struct peer *p = value;

	free(p->pods);
	free(p->blocks);
	free(p);
}

void compiler_peer_sent(struct sluice_compiler *c)
{
	unsigned char key[PEER_KEY];
	size_t i;

	for (i = 0; i < c->dirty_peers.n; i++) {
		struct peer *p = c->dirty_peers.v[i];

		p->dirty = false;
		if (!is_dead(p))
			continue;
		peer_key(&p->prefix, key);
		sluice_map_del(&c->peers, key, sizeof(key));
		free_peer(p);
	}
	c->dirty_peers.n = 0;
}

static void free_bucket(void *value)
{
	list_clear(value);
	free(value);
}

void compiler_peer_free(struct sluice_compiler *c)
{
	/* Atoms that wait to be dropped are still in the map. */
	sluice_map_clear(&c->atoms, free_atom);
	sluice_map_clear(&c->classes, free_class);
	sluice_map_clear(&c->class_ids, NULL);
	sluice_map_clear(&c->peers, free_peer);
	sluice_map_clear(&c->selector_index, free_bucket);
	sluice_map_clear(&c->port_index, NULL);
	list_clear(&c->node_atoms);
	list_clear(&c->fresh_atoms);
	list_clear(&c->loose_atoms);
	list_clear(&c->changed_atoms);
	list_clear(&c->dead_classes);
	list_clear(&c->stale_peers);
	list_clear(&c->dirty_peers);
}
