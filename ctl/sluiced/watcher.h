/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Watches the manifests by inotify: the directories given and those below them, and the directories
 * of the files given (an editor replaces a file by renaming another over it, which a watch of the
 * file itself would not outlive).
 *
 * An event says only that something may have changed: 50 ms after the first one (a deployment
 * writes many files at once) the manifests are looked at, and what is unchanged is not read again.
 */
#ifndef SLUICED_WATCHER_H
#define SLUICED_WATCHER_H

#include "ctl/lib/err.h"
#include "ctl/sluiced/loop.h"

struct controller;

struct watcher {
	struct watch watch;
	struct timer settle;
	struct controller *controller;
};

int watcher_init(struct watcher *w, struct controller *c, struct sluice_err *err);
void watcher_exit(struct watcher *w);

#endif
