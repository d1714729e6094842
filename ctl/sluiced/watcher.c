// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/watcher.h"

#include <dirent.h>
#include <libgen.h>
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
#define MAX_DEPTH 32

#define CHANGES                                                                           \
	(IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | \
	 IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

static void watch_directory(struct watcher *w, const char *path, int depth)
{
	struct dirent *entry;
	char *below;
	DIR *dir;

	/* Adding one that is watched already does nothing. */
	if (inotify_add_watch(w->watch.fd, path, CHANGES) < 0) {
		if (errno == ENOSPC)
			log_warning(
				"too many directories to watch: raise fs.inotify.max_user_watches, "
				"or send SIGHUP after changes",
				"directory", path);
		return;
	}
	dir = depth < MAX_DEPTH ? opendir(path) : NULL;
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		struct stat st;

		if (entry->d_name[0] == '.' ||
		    (entry->d_type != DT_DIR && entry->d_type != DT_LNK &&
		     entry->d_type != DT_UNKNOWN))
			continue;
		if (asprintf(&below, "%s/%s", path, entry->d_name) < 0)
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
		const char *path = options->manifests[i];
		struct stat st;

		if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
			watch_directory(w, path, 0);
		} else {
			char *copy = sluice_strdup(path);

			watch_directory(w, dirname(copy), MAX_DEPTH);
			free(copy);
		}
	}
}

static void settle(struct timer *timer)
{
	struct watcher *w = container_of(timer, struct watcher, settle);

	/* First the watches: what appears in a new directory from now on is seen. */
	watch_all(w);
	controller_refresh(w->controller);
}

static void on_change(struct watch *watch, uint32_t events)
{
	struct watcher *w = container_of(watch, struct watcher, watch);
	char buf[16384];

	(void)events;
	while (read(watch->fd, buf, sizeof(buf)) > 0)
		;
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
	loop_arm(c->loop, &w->settle, 0);
	ret = loop_add(c->loop, &w->watch, EPOLLIN, err);
	if (ret)
		watcher_exit(w);
	return ret;
}

void watcher_exit(struct watcher *w)
{
	loop_disarm(w->controller->loop, &w->settle);
	close(w->watch.fd);
}
