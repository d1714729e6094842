// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a set of files keeps a model in step
 * ----------------------------------------
 * Each file has a table of the objects it gives now. Reading it again makes a new table; what
 * cannot be read is carried over from the old one (see manifest.h). Then every key in either table
 * is settled: among the files that give this key, the last one in order wins, and its object goes
 * to the model, which tells nobody if nothing changed; a key that no file gives any more is
 * deleted. Example: a.yaml and b.yaml both give Pod shop/web. b's counts, with a warning. When it
 * leaves b, a's is applied, without b's ever being missed.
 *
 * A text is cut at lines that begin with "---" before YAML sees it, as kubectl does: broken syntax
 * costs one document and not the rest of the file.
 */
#include "ctl/lib/manifest.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/manifest_yaml.h"
#include "ctl/lib/map.h"

#define MAX_FOLDER_DEPTH 16
#define MAX_LIST_DEPTH 4 /* a List in a List in a List */

struct problem {
	unsigned int line;
	char *message;
	bool warning;
};

struct problems {
	struct problem *v;
	size_t n, cap;
};

struct file {
	char *path;
	size_t root; /* order: root first, path second */
	struct sluice_map objects; /* key -> struct sluice_object, with one reference */
	struct problems problems;
	size_t ignored;
	bool seen; /* by the refresh that is running */
	bool loaded;
	struct stat st; /* of the content that was read */
};

struct root {
	char *path;
	bool text; /* no file: given by load_text */
	char *problem; /* why it cannot be looked at */
};

/* Who gives one key. */
struct claim {
	struct file **files; /* sorted: the last one wins */
	size_t n, cap;
};

struct sluice_manifests {
	struct sluice_model *model;
	struct root *roots;
	size_t n_roots, cap_roots;
	struct sluice_map files; /* path -> struct file */
	struct sluice_map claims; /* key -> struct claim */
	size_t n_contested; /* keys that more than one file gives */
	unsigned long version; /* of the problems: counts up when they may have changed */
	unsigned long shown_version; /* of those below */
	struct sluice_manifest_problem *shown;
	size_t n_shown, cap_shown;
};

/* ---- reading one text ---- */

struct reading {
	const char *name;
	struct sluice_arena arena; /* of the document at hand */
	const struct sluice_manifest_reader *reader;
};

/* What an item leaves out of what its list says of it: those of a PodList have no kind. */
static struct sluice_value complete_item(struct reading *r, const struct sluice_value *item,
					 const char *kind, size_t kind_len, const char *api)
{
	struct sluice_value out = *item;
	struct sluice_member *m;

	if (!kind_len || item->type != SLUICE_VALUE_OBJECT || sluice_value_get(item, "kind"))
		return out;
	m = sluice_arena_get(&r->arena, (item->n + 2) * sizeof(*m));
	if (item->n)
		memcpy(m, item->members, item->n * sizeof(*m));
	out.members = m;
	m[out.n++] = (struct sluice_member){
		"kind",
		4,
		{ .type = SLUICE_VALUE_TEXT,
		  .line = item->line,
		  .n = kind_len,
		  .text = sluice_arena_text(&r->arena, kind, kind_len) },
	};
	if (api && !sluice_value_get(item, "apiVersion"))
		m[out.n++] = (struct sluice_member){
			"apiVersion",
			10,
			{ .type = SLUICE_VALUE_TEXT,
			  .line = item->line,
			  .n = strlen(api),
			  .text = api },
		};
	return out;
}

static void unpack(struct reading *r, const struct sluice_value *doc, unsigned int depth)
{
	const char *kind = sluice_value_text(doc, "kind"),
		   *api = sluice_value_text(doc, "apiVersion");
	const struct sluice_value *items = sluice_value_get(doc, "items");
	size_t len = kind ? strlen(kind) : 0, i;

	if (doc->type == SLUICE_VALUE_NULL)
		return;
	if (len < 4 || strcmp(kind + len - 4, "List") ||
	    (items && items->type != SLUICE_VALUE_LIST && items->type != SLUICE_VALUE_NULL)) {
		r->reader->object(r->reader->ctx, doc);
		return;
	}
	if (depth >= MAX_LIST_DEPTH) {
		r->reader->problem(r->reader->ctx, doc->line, "lists in lists, too deep");
		return;
	}
	for (i = 0; items && items->type == SLUICE_VALUE_LIST && i < items->n; i++) {
		struct sluice_value item = complete_item(r, &items->items[i], kind, len - 4, api);

		unpack(r, &item, depth + 1);
	}
}

static void read_document(void *ctx, const struct sluice_value *doc)
{
	struct reading *r = ctx;

	unpack(r, doc, 0);
	/* Anchors of YAML end with their document too. */
	sluice_arena_reset(&r->arena);
}

/* All values of the text, to the first that is broken. */
static int read_json(struct reading *r, const char *p, const char *end, unsigned int *line,
		     struct sluice_err *err)
{
	for (;;) {
		struct sluice_value doc;

		for (; p < end && strchr(" \t\r\n", *p) && *p; p++)
			*line += *p == '\n';
		if (p == end)
			return 0;
		if (sluice_json_read(&r->arena, &p, end, line, &doc, err)) {
			sluice_arena_reset(&r->arena);
			return -EINVAL;
		}
		read_document(r, &doc);
	}
}

/* Nothing but blanks, comments and directives? */
static bool is_blank(const char *p, const char *end)
{
	while (p < end) {
		const char *eol = memchr(p, '\n', end - p);

		while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
			p++;
		if (p < end && *p != '\n' && *p != '#' && *p != '%')
			return false;
		if (!eol)
			break;
		p = eol + 1;
	}
	return true;
}

static void read_part(struct reading *r, const char *p, const char *end, unsigned int line)
{
	size_t n = strlen(r->name);
	bool json_only = n > 5 && !strcmp(r->name + n - 5, ".json");
	const char *start = p;
	unsigned int err_line = line;
	int ret;

	if (is_blank(p, end))
		return;
	while (p < end && strchr(" \t\r\n", *p))
		p++;
	if (p < end && (*p == '{' || *p == '[' || json_only)) {
		SLUICE_ERR(err);

		ret = read_json(r, start, end, &err_line, &err);
		if (!ret)
			return;
		/* A YAML flow mapping begins with '{' too; JSON's words are better for JSON. */
		if (json_only || (size_t)(end - p) < 2 || p[1] == '"' || err_line > line + 1 ||
		    strchr("\n\r\t", p[1])) {
			r->reader->problem(r->reader->ctx, err_line, sluice_err_msg(&err));
			return;
		}
	}
	{
		SLUICE_ERR(err);

		ret = sluice_yaml_read(&r->arena, start, end - start, line, read_document, r,
				       &err_line, &err);
		if (ret)
			r->reader->problem(r->reader->ctx, err_line, sluice_err_msg(&err));
	}
}

void sluice_manifest_read(const char *name, const char *text, size_t len,
			  const struct sluice_manifest_reader *reader)
{
	struct reading r = { .name = name, .reader = reader };
	const char *p = text, *end = text + len, *part;
	unsigned int line = 1, part_line = 1;

	if (len >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	part = p;
	while (p < end) {
		const char *eol = memchr(p, '\n', end - p);
		const char *stop = eol ? eol : end;

		if (stop - p >= 3 && !memcmp(p, "---", 3) &&
		    (stop - p == 3 || strchr(" \t\r", p[3]))) {
			read_part(&r, part, p, part_line);
			part = p;
			part_line = line;
			/* "--- # frontend" alone is a cut; "--- {a: b}" begins a document. */
			if (is_blank(p + 3, stop)) {
				part = eol ? eol + 1 : end;
				part_line = line + 1;
			}
		}
		line++;
		p = eol ? eol + 1 : end;
	}
	read_part(&r, part, end, part_line);
	sluice_arena_clear(&r.arena);
}

/* ---- the set ---- */

struct sluice_manifests *sluice_manifests_new(struct sluice_model *model)
{
	struct sluice_manifests *set = sluice_zalloc(sizeof(*set));

	set->model = model;
	set->version = 1;
	return set;
}

static void put_object(void *value)
{
	sluice_object_put(value);
}

static void clear_problems(struct problems *p)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		free(p->v[i].message);
	free(p->v);
	memset(p, 0, sizeof(*p));
}

static void free_file(void *value)
{
	struct file *file = value;

	sluice_map_clear(&file->objects, put_object);
	clear_problems(&file->problems);
	free(file->path);
	free(file);
}

static void free_claim(void *value)
{
	free(((struct claim *)value)->files);
	free(value);
}

static void clear_shown(struct sluice_manifests *set)
{
	size_t i;

	for (i = 0; i < set->n_shown; i++) {
		free((char *)set->shown[i].source);
		free((char *)set->shown[i].message);
	}
	set->n_shown = 0;
}

void sluice_manifests_free(struct sluice_manifests *set)
{
	size_t i;

	if (!set)
		return;
	clear_shown(set);
	free(set->shown);
	for (i = 0; i < set->n_roots; i++) {
		free(set->roots[i].path);
		free(set->roots[i].problem);
	}
	free(set->roots);
	sluice_map_clear(&set->claims, free_claim);
	sluice_map_clear(&set->files, free_file);
	free(set);
}

struct key {
	char text[1 + 64 + 254];
	size_t len;
};

static bool make_key(struct key *k, enum sluice_kind kind, const char *ns, const char *name)
{
	size_t a = strlen(ns), b = strlen(name);

	if (a > 63 || b > 253)
		return false;
	k->text[0] = kind;
	memcpy(k->text + 1, ns, a + 1);
	memcpy(k->text + 1 + a + 1, name, b);
	k->len = 1 + a + 1 + b;
	return true;
}

static int compare_files(const struct file *a, const struct file *b)
{
	if (a->root != b->root)
		return a->root < b->root ? -1 : 1;
	return strcmp(a->path, b->path);
}

static void claim(struct sluice_manifests *set, const void *key, size_t len, struct file *file)
{
	struct claim **slot = (struct claim **)sluice_map_slot(&set->claims, key, len), *c;
	size_t i;

	if (!*slot)
		*slot = sluice_zalloc(sizeof(**slot));
	c = *slot;
	for (i = 0; i < c->n; i++) {
		if (c->files[i] != file)
			continue;
		/* Its line may have changed, which the problem tells. */
		if (c->n > 1)
			set->version++;
		return;
	}
	sluice_grow(c->files, c->n, c->cap);
	for (i = c->n++; i && compare_files(c->files[i - 1], file) > 0; i--)
		c->files[i] = c->files[i - 1];
	c->files[i] = file;
	if (c->n == 2)
		set->n_contested++;
	if (c->n > 1)
		set->version++;
}

static void unclaim(struct sluice_manifests *set, const void *key, size_t len, struct file *file)
{
	struct claim *c = sluice_map_get(&set->claims, key, len);
	size_t i, n = 0;

	if (!c)
		return;
	for (i = 0; i < c->n; i++)
		if (c->files[i] != file)
			c->files[n++] = c->files[i];
	if (c->n > 1)
		set->version++;
	if (c->n == 2 && n == 1)
		set->n_contested--;
	c->n = n;
	if (!n) {
		sluice_map_del(&set->claims, key, len);
		free_claim(c);
	}
}

/* The winner's object goes to the model, or nobody's. */
static void settle(struct sluice_manifests *set, const unsigned char *key, size_t len)
{
	struct claim *c = sluice_map_get(&set->claims, key, len);
	char name[254] = "";
	const char *ns = (const char *)key + 1;
	size_t n;

	if (c) {
		sluice_model_apply(set->model,
				   sluice_map_get(&c->files[c->n - 1]->objects, key, len));
		return;
	}
	n = len - 1 - strlen(ns) - 1;
	memcpy(name, key + len - n, n);
	sluice_model_delete(set->model, key[0], ns, name);
}

/* What one reading of a file found. */
struct loading {
	struct file *file;
	struct sluice_map objects;
	struct problems problems;
	struct sluice_map bad; /* keys of objects that were refused */
	size_t ignored;
	bool unnamed; /* something was refused that cannot be named */
};

__attribute__((format(printf, 4, 5))) static void add_problem(struct problems *p, unsigned int line,
							      bool warning, const char *fmt, ...)
{
	struct problem *out;
	va_list ap;

	sluice_grow(p->v, p->n, p->cap);
	out = &p->v[p->n++];
	out->line = line;
	out->warning = warning;
	va_start(ap, fmt);
	if (vasprintf(&out->message, fmt, ap) < 0)
		sluice_alloc_check(NULL);
	va_end(ap);
}

/* Kinds that belong in the same files and say nothing about packets. */
static bool is_ignored_kind(const char *kind)
{
	static const char *const known[] = {
		"APIService",
		"CertificateSigningRequest",
		"ClusterRole",
		"ClusterRoleBinding",
		"ConfigMap",
		"ControllerRevision",
		"CronJob",
		"CSIDriver",
		"CSINode",
		"CSIStorageCapacity",
		"CustomResourceDefinition",
		"DaemonSet",
		"Deployment",
		"Event",
		"FlowSchema",
		"HorizontalPodAutoscaler",
		"Ingress",
		"IngressClass",
		"IPAddress",
		"Job",
		"Kustomization",
		"Lease",
		"LimitRange",
		"MutatingWebhookConfiguration",
		"PersistentVolume",
		"PersistentVolumeClaim",
		"PodDisruptionBudget",
		"PodTemplate",
		"PriorityClass",
		"PriorityLevelConfiguration",
		"ReplicaSet",
		"ReplicationController",
		"ResourceQuota",
		"Role",
		"RoleBinding",
		"RuntimeClass",
		"Secret",
		"ServiceAccount",
		"ServiceCIDR",
		"StatefulSet",
		"StorageClass",
		"ValidatingAdmissionPolicy",
		"ValidatingAdmissionPolicyBinding",
		"ValidatingWebhookConfiguration",
		"VolumeAttachment",
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(known[i], kind))
			return true;
	return false;
}

/* The key of an object that did not decode, as far as it can be made out. */
static bool key_of_value(struct key *k, const struct sluice_value *value)
{
	const struct sluice_value *meta = sluice_value_get(value, "metadata");
	const char *kind = sluice_value_text(value, "kind");
	const char *name = sluice_value_text(meta, "name");
	const char *ns = sluice_value_text(meta, "namespace");
	int i;

	if (!kind || !name)
		return false;
	for (i = 0; i < SLUICE_KIND_COUNT; i++) {
		if (strcmp(sluice_kind_name(i), kind))
			continue;
		if (!sluice_kind_namespaced(i))
			ns = "";
		else if (!ns || !*ns)
			ns = "default";
		return make_key(k, i, ns, name);
	}
	return false;
}

static void loading_object(void *ctx, const struct sluice_value *value)
{
	const char *kind = sluice_value_text(value, "kind");
	struct loading *l = ctx;
	struct sluice_object *o, **slot;
	unsigned int line = value->line;
	SLUICE_ERR(err);
	struct key k;
	int ret;

	if (kind && is_ignored_kind(kind)) {
		l->ignored++;
		return;
	}
	ret = sluice_object_decode(value, l->file->path, &o, &line, &err);
	if (ret == -ENOTSUP && !strstr(kind, "NetworkPolicy")) {
		/* Some other program's resource. */
		add_problem(&l->problems, line, true, "%.100s: this kind is not known, left out",
			    kind);
		l->ignored++;
		return;
	}
	if (ret) {
		add_problem(&l->problems, line, false, "%s", sluice_err_msg(&err));
		if (ret == -ENOTSUP)
			return;
		if (key_of_value(&k, value))
			*sluice_map_slot(&l->bad, k.text, k.len) = l;
		else
			l->unnamed = true;
		return;
	}
	if (!make_key(&k, o->kind, o->ns, o->name)) {
		sluice_object_put(o);
		return;
	}
	slot = (struct sluice_object **)sluice_map_slot(&l->objects, k.text, k.len);
	if (*slot) {
		add_problem(&l->problems, line, true,
			    "%s %s%s%s: given before in line %u; this one counts",
			    sluice_kind_name(o->kind), o->ns, *o->ns ? "/" : "", o->name,
			    (*slot)->line);
		sluice_object_put(*slot);
	}
	*slot = o;
}

static void loading_problem(void *ctx, unsigned int line, const char *message)
{
	struct loading *l = ctx;

	add_problem(&l->problems, line, false, "%s", message);
	l->unnamed = true;
}

/* Puts what was read in the place of what the file gave before. */
static void finish_loading(struct sluice_manifests *set, struct loading *l)
{
	struct file *file = l->file;
	struct sluice_map old = file->objects;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&old, &it); e; e = sluice_map_next(&it)) {
		void **slot;

		if (!l->unnamed && !sluice_map_get(&l->bad, e->key, e->len))
			continue;
		slot = sluice_map_slot(&l->objects, e->key, e->len);
		if (!*slot)
			*slot = sluice_object_get(e->value);
	}
	if (file->problems.n || l->problems.n)
		set->version++;
	file->objects = l->objects;
	clear_problems(&file->problems);
	file->problems = l->problems;
	file->ignored = l->ignored;
	file->loaded = true;
	for (e = sluice_map_first(&old, &it); e; e = sluice_map_next(&it)) {
		if (sluice_map_get(&file->objects, e->key, e->len))
			continue;
		unclaim(set, e->key, e->len, file);
		settle(set, e->key, e->len);
	}
	for (e = sluice_map_first(&file->objects, &it); e; e = sluice_map_next(&it)) {
		claim(set, e->key, e->len, file);
		settle(set, e->key, e->len);
	}
	sluice_map_clear(&old, put_object);
	sluice_map_clear(&l->bad, NULL);
}

static void load_text(struct sluice_manifests *set, struct file *file, const char *text, size_t len)
{
	struct loading l = { .file = file };
	struct sluice_manifest_reader reader = { &l, loading_object, loading_problem };

	sluice_manifest_read(file->path, text, len, &reader);
	finish_loading(set, &l);
}

static struct file *get_file(struct sluice_manifests *set, const char *path, size_t root)
{
	struct file **slot = (struct file **)sluice_map_slot(&set->files, path, strlen(path));

	if (!*slot) {
		*slot = sluice_zalloc(sizeof(**slot));
		(*slot)->path = sluice_strdup(path);
		(*slot)->root = root;
	}
	return *slot;
}

static size_t add_root(struct sluice_manifests *set, const char *path, bool text)
{
	size_t i;

	for (i = 0; i < set->n_roots; i++)
		if (!strcmp(set->roots[i].path, path))
			return i;
	sluice_grow(set->roots, set->n_roots, set->cap_roots);
	memset(&set->roots[i], 0, sizeof(set->roots[i]));
	set->roots[i].path = sluice_strdup(path);
	set->roots[i].text = text;
	return set->n_roots++;
}

void sluice_manifests_load_text(struct sluice_manifests *set, const char *name, const char *text,
				size_t len)
{
	load_text(set, get_file(set, name, add_root(set, name, true)), text, len);
}

/* A file that cannot be read keeps what it gave; the reason becomes its problem. */
static void unreadable(struct sluice_manifests *set, struct file *file, const char *message)
{
	set->version++;
	clear_problems(&file->problems);
	add_problem(&file->problems, 0, false, "%s", message);
	memset(&file->st, 0, sizeof(file->st));
}

static size_t first_room(const struct stat *st)
{
	return st->st_size < SLUICE_MANIFEST_MAX_BYTES ? st->st_size + 4096 : 4096;
}

static char *slurp(const char *path, struct stat *st, size_t *len, struct sluice_err *err)
{
	char *text = NULL;
	size_t n = 0, cap = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		sluice_err_errno(err, errno, "cannot open");
		return NULL;
	}
	if (fstat(fd, st)) {
		sluice_err_errno(err, errno, "cannot stat");
		goto fail;
	}
	if (S_ISDIR(st->st_mode)) {
		sluice_err_set(err, EISDIR, "is a directory");
		goto fail;
	}
	for (;;) {
		ssize_t got;

		/* Its size is but a hint: it may be written to right now. */
		if (n + 1 >= cap) {
			cap = cap ? cap * 2 : first_room(st);
			text = sluice_realloc(text, cap, 1);
		}
		got = read(fd, text + n, cap - n - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			sluice_err_errno(err, errno, "cannot read");
			goto fail;
		}
		if (!got)
			break;
		n += got;
		if (n > SLUICE_MANIFEST_MAX_BYTES) {
			sluice_err_set(err, EFBIG, "is larger than %u MiB",
				       SLUICE_MANIFEST_MAX_BYTES >> 20);
			goto fail;
		}
	}
	close(fd);
	text[n] = 0;
	*len = n;
	return text;
fail:
	close(fd);
	free(text);
	return NULL;
}

static bool same_content(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Returns whether it was read. */
static bool read_file(struct sluice_manifests *set, struct file *file)
{
	struct stat st;
	SLUICE_ERR(err);
	size_t len;
	char *text = slurp(file->path, &st, &len, &err);

	if (!text) {
		unreadable(set, file, sluice_err_msg(&err));
		return false;
	}
	load_text(set, file, text, len);
	file->st = st;
	free(text);
	return true;
}

static bool load_file(struct sluice_manifests *set, const char *path, size_t root)
{
	struct file *file = get_file(set, path, root);
	struct stat st;

	file->seen = true;
	if (file->loaded && !stat(path, &st) && same_content(&st, &file->st))
		return false;
	return read_file(set, file);
}

static bool is_manifest_name(const char *name)
{
	static const char *const ends[] = { ".yaml", ".yml", ".json" };
	size_t n = strlen(name), i;

	for (i = 0; i < 3; i++)
		if (n > strlen(ends[i]) && !strcmp(name + n - strlen(ends[i]), ends[i]))
			return true;
	return false;
}

/* Files below a folder that cannot be listed now count as seen: they keep their objects. */
static void mark_below(struct sluice_manifests *set, const char *folder)
{
	size_t n = strlen(folder);
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&set->files, &it); e; e = sluice_map_next(&it)) {
		struct file *file = e->value;

		if (!strncmp(file->path, folder, n) && file->path[n] == '/')
			file->seen = true;
	}
}

static bool load_folder(struct sluice_manifests *set, const char *path, size_t root, int depth,
			struct sluice_err *err)
{
	DIR *dir = depth < MAX_FOLDER_DEPTH ? opendir(path) : NULL;
	bool changed = false;
	struct dirent *de;

	if (!dir) {
		mark_below(set, path);
		sluice_err_errno(err, depth < MAX_FOLDER_DEPTH ? errno : ELOOP, "%s", path);
		return false;
	}
	while ((de = readdir(dir))) {
		struct stat st;
		char *name;

		if (de->d_name[0] == '.')
			continue;
		if (asprintf(&name, "%s/%s", path, de->d_name) < 0)
			sluice_alloc_check(NULL);
		if (stat(name, &st))
			memset(&st, 0, sizeof(st)); /* load_file() says why */
		if (S_ISDIR(st.st_mode))
			changed |= load_folder(set, name, root, depth + 1, err);
		else if (is_manifest_name(name) && (!st.st_mode || S_ISREG(st.st_mode)))
			changed |= load_file(set, name, root);
		free(name);
	}
	closedir(dir);
	return changed;
}

static bool load_root(struct sluice_manifests *set, size_t i, struct sluice_err *err)
{
	const char *path = set->roots[i].path;
	struct stat st;

	if (stat(path, &st)) {
		int code = errno;

		if (code != ENOENT)
			mark_below(set, path);
		sluice_err_errno(err, code, "%s", path);
		return false;
	}
	if (S_ISDIR(st.st_mode))
		return load_folder(set, path, i, 0, err);
	return load_file(set, path, i);
}

static void set_root_problem(struct sluice_manifests *set, size_t i, const struct sluice_err *err)
{
	if (!err->code && !set->roots[i].problem)
		return;
	set->version++;
	free(set->roots[i].problem);
	set->roots[i].problem = err->code ? sluice_strdup(sluice_err_msg(err)) : NULL;
}

int sluice_manifests_load(struct sluice_manifests *set, const char *path, struct sluice_err *err)
{
	char *clean = sluice_strdup(path);
	SLUICE_ERR(own);
	size_t n = strlen(clean), i;
	struct file *file;

	while (n > 1 && clean[n - 1] == '/')
		clean[--n] = 0;
	i = add_root(set, clean, false);
	load_root(set, i, &own);
	file = sluice_map_get(&set->files, clean, n);
	free(clean);
	if (file && !file->loaded && file->problems.n)
		return sluice_err_set(err, EIO, "%s: %s", path, file->problems.v[0].message);
	set_root_problem(set, i, &own);
	return sluice_err_move(err, &own);
}

static void drop_file(struct sluice_manifests *set, struct file *file)
{
	struct loading nothing = { .file = file };

	finish_loading(set, &nothing);
	sluice_map_del(&set->files, file->path, strlen(file->path));
	free_file(file);
}

void sluice_manifests_remove(struct sluice_manifests *set, const char *path)
{
	struct file *file = sluice_map_get(&set->files, path, strlen(path));

	if (file)
		drop_file(set, file);
}

bool sluice_manifests_refresh(struct sluice_manifests *set)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	bool changed = false;
	size_t i;

	for (e = sluice_map_first(&set->files, &it); e; e = sluice_map_next(&it)) {
		struct file *file = e->value;

		file->seen = set->roots[file->root].text;
	}
	for (i = 0; i < set->n_roots; i++) {
		SLUICE_ERR(err);

		if (set->roots[i].text)
			continue;
		changed |= load_root(set, i, &err);
		set_root_problem(set, i, &err);
	}
	for (e = sluice_map_first(&set->files, &it); e; e = sluice_map_next(&it)) {
		struct file *file = e->value;

		if (file->seen)
			continue;
		drop_file(set, file);
		changed = true;
	}
	return changed;
}

/* Is it a file that a look into this root would find? */
static bool is_below(const struct root *root, const char *path)
{
	size_t n = strlen(root->path);
	const char *slash = strrchr(path, '/');
	int depth = -1;
	const char *p;

	if (root->text)
		return false;
	if (!strcmp(root->path, path))
		return true;
	if (strncmp(root->path, path, n) || path[n] != '/' || !is_manifest_name(slash + 1))
		return false;
	for (p = path + n; (p = strchr(p, '/')); p++, depth++)
		if (p[1] == '.')
			return false;
	return depth < MAX_FOLDER_DEPTH;
}

bool sluice_manifests_refresh_file(struct sluice_manifests *set, const char *path, bool *done)
{
	struct file *file = sluice_map_get(&set->files, path, strlen(path));
	struct stat st;
	size_t i;

	*done = true;
	if (stat(path, &st)) {
		/* Only what it gave can have changed; and a link to nowhere keeps that. */
		*done = errno == ENOENT && lstat(path, &st) && errno == ENOENT;
		if (!*done || !file)
			return false;
		/* A file that was named by itself is missed aloud. */
		*done = strcmp(set->roots[file->root].path, path);
		if (*done)
			drop_file(set, file);
		return *done;
	}
	if (!S_ISREG(st.st_mode)) {
		*done = false;
		return false;
	}
	for (i = 0; !file && i < set->n_roots; i++)
		if (is_below(&set->roots[i], path))
			file = get_file(set, path, i);
	/* Some other file, in a directory that is watched because of its neighbours. */
	if (!file)
		return false;
	return read_file(set, file);
}

/* ---- problems ---- */

unsigned long sluice_manifests_problems_version(const struct sluice_manifests *set)
{
	return set->version;
}

__attribute__((format(printf, 5, 6))) static void show(struct sluice_manifests *set,
						       const char *path, unsigned int line,
						       bool warning, const char *fmt, ...)
{
	struct sluice_manifest_problem *out;
	char *source, *message;
	va_list ap;

	sluice_grow(set->shown, set->n_shown, set->cap_shown);
	out = &set->shown[set->n_shown++];
	if ((line ? asprintf(&source, "%s:%u", path, line) : asprintf(&source, "%s", path)) < 0)
		sluice_alloc_check(NULL);
	va_start(ap, fmt);
	if (vasprintf(&message, fmt, ap) < 0)
		sluice_alloc_check(NULL);
	va_end(ap);
	out->source = source;
	out->message = message;
	out->warning = warning;
}

static int compare_file_pointers(const void *a, const void *b)
{
	return compare_files(*(struct file *const *)a, *(struct file *const *)b);
}

static void show_contested(struct sluice_manifests *set)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t i;

	if (!set->n_contested)
		return;
	for (e = sluice_map_first(&set->claims, &it); e; e = sluice_map_next(&it)) {
		struct claim *c = e->value;
		struct file *winner = c->files[c->n - 1];
		struct sluice_object *w = sluice_map_get(&winner->objects, e->key, e->len);

		for (i = 0; i + 1 < c->n; i++) {
			struct sluice_object *o =
				sluice_map_get(&c->files[i]->objects, e->key, e->len);

			show(set, c->files[i]->path, o->line, true,
			     "%s %s%s%s: given again in %s:%u, which counts",
			     sluice_kind_name(o->kind), o->ns, *o->ns ? "/" : "", o->name,
			     winner->path, w->line);
		}
	}
}

const struct sluice_manifest_problem *sluice_manifests_problems(struct sluice_manifests *set,
								size_t *n)
{
	size_t n_files = 0, i, k;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	struct file **files;

	*n = set->n_shown;
	if (set->shown_version == set->version)
		return set->shown;
	set->shown_version = set->version;
	files = sluice_zalloc((set->files.n + 1) * sizeof(*files));
	clear_shown(set);
	for (i = 0; i < set->n_roots; i++)
		if (set->roots[i].problem)
			show(set, set->roots[i].path, 0, false, "%s", set->roots[i].problem);
	for (e = sluice_map_first(&set->files, &it); e; e = sluice_map_next(&it))
		if (((struct file *)e->value)->problems.n)
			files[n_files++] = e->value;
	qsort(files, n_files, sizeof(*files), compare_file_pointers);
	for (i = 0; i < n_files; i++)
		for (k = 0; k < files[i]->problems.n; k++)
			show(set, files[i]->path, files[i]->problems.v[k].line,
			     files[i]->problems.v[k].warning, "%s",
			     files[i]->problems.v[k].message);
	free(files);
	show_contested(set);
	*n = set->n_shown;
	return set->shown;
}

size_t sluice_manifests_ignored(const struct sluice_manifests *set)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t n = 0;

	for (e = sluice_map_first(&set->files, &it); e; e = sluice_map_next(&it))
		n += ((struct file *)e->value)->ignored;
	return n;
}
