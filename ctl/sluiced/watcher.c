// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/watcher.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/sluiced/controller.h"
#include "ctl/sluiced/log.h"

#define SETTLE_MS 50
#define PATIENCE \
	20 /* settlings that a file may stay open for writing before it is read all the same */
#define MAX_DEPTH 32

#define CHANGES                                                                           \
	(IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | \
	 IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct directory {
	char *prefix; /* before the names of its files, as the manifests know them */
	bool ambiguous; /* another prefix leads here too (a link): events do not tell which */
};

static void free_directory(void *value)
{
	struct directory *d = value;

	free(d->prefix);
	free(d);
}

static void remember(struct watcher *w, int wd, const char *prefix)
{
	struct directory **slot =
		(struct directory **)sluice_map_slot(&w->directories, &wd, sizeof(wd));

	if (!*slot) {
		*slot = sluice_zalloc(sizeof(**slot));
		(*slot)->prefix = sluice_strdup(prefix);
	} else if (strcmp((*slot)->prefix, prefix)) {
		(*slot)->ambiguous = true;
	}
}

/* prefix: its path with a slash, or nothing for the one we stand in. */
static void watch_directory(struct watcher *w, const char *prefix, int depth)
{
	const char *path = *prefix ? prefix : ".";
	struct dirent *entry;
	char *below;
	DIR *dir;
	/* Adding one that is watched already does nothing. */
	int wd = inotify_add_watch(w->watch.fd, path, CHANGES);

	if (wd < 0) {
		if (errno == ENOSPC)
			log_warning(
				"too many directories to watch: raise fs.inotify.max_user_watches, "
				"or send SIGHUP after changes",
				"directory", path);
		return;
	}
	remember(w, wd, prefix);
	dir = depth < MAX_DEPTH ? opendir(path) : NULL;
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		struct stat st;

		if (entry->d_name[0] == '.' ||
		    (entry->d_type != DT_DIR && entry->d_type != DT_LNK &&
		     entry->d_type != DT_UNKNOWN))
			continue;
		if (asprintf(&below, "%s%s/", prefix, entry->d_name) < 0)
			sluice_alloc_check(NULL);
		if (!stat(below, &st) && S_ISDIR(st.st_mode))
			watch_directory(w, below, depth + 1);
		free(below);
	}
	closedir(dir);
}

static void watch_all(struct watcher *w)
{
	const struct options *options = w->controller->options;

	for (size_t i = 0; i < options->n_manifests; i++) {
		const char *path = options->manifests[i], *slash;
		size_t n = strlen(path);
		struct stat st;
		char *prefix;

		/* As the manifests know it: without slashes at the end. */
		while (n > 1 && path[n - 1] == '/')
			n--;
		if (asprintf(&prefix, "%.*s/", (int)n, path) < 0)
			sluice_alloc_check(NULL);
		if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
			watch_directory(w, prefix, 0);
		} else {
			prefix[n] = '\0';
			slash = strrchr(prefix, '/');
			prefix[slash ? slash - prefix + 1 : 0] = '\0';
			watch_directory(w, prefix, MAX_DEPTH);
		}
		free(prefix);
	}
}

static void look_at_all(struct watcher *w)
{
	w->all = false;
	sluice_map_clear(&w->changed, NULL);
	/* First the watches: what appears in a new directory from now on is seen. */
	watch_all(w);
	controller_refresh(w->controller);
}

static void look_at_file(struct watcher *w, const char *path)
{
	if (!controller_refresh_file(w->controller, path))
		w->all = true;
}

static void wait_for(struct watcher *w, const char *path, uintptr_t settlings)
{
	uintptr_t *left = (uintptr_t *)sluice_map_slot(&w->changed, path, strlen(path) + 1);

	if (!*left || settlings < *left)
		*left = settlings;
}

static void settle(struct timer *timer)
{
	struct watcher *w = container_of(timer, struct watcher, settle);
	struct sluice_map changed = w->changed;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	if (!w->all && !changed.n)
		return;
	w->changed = (struct sluice_map){ 0 };
	for (e = sluice_map_first(&changed, &it); e && !w->all; e = sluice_map_next(&it)) {
		if ((uintptr_t)e->value > 1)
			wait_for(w, (const char *)e->key, (uintptr_t)e->value - 1);
		else
			look_at_file(w, (const char *)e->key);
	}
	sluice_map_clear(&changed, NULL);
	if (w->all)
		look_at_all(w);
	loop_arm(w->controller->loop, &w->settle, SETTLE_MS);
}

/* false: it takes a look at everything. */
static bool path_of(const struct watcher *w, const struct inotify_event *e, char *path, size_t size)
{
	const struct directory *d = sluice_map_get(&w->directories, &e->wd, sizeof(e->wd));

	if (!d || d->ambiguous || !e->len)
		return false;
	return (size_t)snprintf(path, size, "%s%s", d->prefix, e->name) < size;
}

static void take_event(struct watcher *w, const struct inotify_event *e)
{
	/* Others tell of half a file, which will be closed. */
	bool half =
		!(e->mask & (IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ATTRIB));
	char path[PATH_MAX];

	if (e->mask & IN_IGNORED) {
		struct directory *d = sluice_map_del(&w->directories, &e->wd, sizeof(e->wd));

		if (d)
			free_directory(d);
		return;
	}
	if (e->mask & (IN_ISDIR | IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF) ||
	    !path_of(w, e, path, sizeof(path))) {
		w->all = true;
	} else if (!half && !w->settle.at && !w->all) {
		sluice_map_del(&w->changed, path, strlen(path) + 1);
		look_at_file(w, path);
	} else {
		wait_for(w, path, half ? PATIENCE : 1);
	}
}

static void on_change(struct watch *watch, uint32_t events)
{
	struct watcher *w = container_of(watch, struct watcher, watch);
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t n;

	(void)events;
	while ((n = read(watch->fd, buf, sizeof(buf))) > 0) {
		const struct inotify_event *e;

		for (char *p = buf; p < buf + n; p += sizeof(*e) + e->len) {
			e = (const struct inotify_event *)p;
			take_event(w, e);
		}
	}
	/* Not armed anew by each event: a file that is written to all the time is read too. */
	if (!w->settle.at)
		loop_arm(w->controller->loop, &w->settle, SETTLE_MS);
}

int watcher_init(struct watcher *w, struct controller *c, struct sluice_err *err)
{
	int ret;

	*w = (struct watcher){ .controller = c };
	w->watch.ready = on_change;
	w->settle.expired = settle;
	w->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->watch.fd < 0)
		return sluice_err_errno(err, errno, "inotify");
	watch_all(w);
	/* Once more: something may have changed between the first look and the watches. */
	w->all = true;
	loop_arm(c->loop, &w->settle, 0);
	ret = loop_add(c->loop, &w->watch, EPOLLIN, err);
	if (ret)
		watcher_exit(w);
	return ret;
}

void watcher_exit(struct watcher *w)
{
	loop_disarm(w->controller->loop, &w->settle);
	sluice_map_clear(&w->directories, free_directory);
	sluice_map_clear(&w->changed, NULL);
	close(w->watch.fd);
}
