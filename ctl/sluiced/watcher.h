/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Watches the manifests by inotify: the directories given and those below them, and the directories
 * of the files given (an editor replaces a file by renaming another over it, which a watch of the
 * file itself would not outlive).
 *
 * A file that was closed after writing, renamed or removed is looked at at once, alone: a change of one
 * object costs what that file costs, however many others there are. After that the watcher settles for
 * 50 ms, and whatever changes meanwhile is looked at together: a deployment writes many files. What is
 * open for writing is left alone until it is closed, so that half a file is not taken for all of it, but
 * for a second at most: there are programs that never close. What cannot be told by one file's name (directories,
 * links, lost events) has everything looked at, by time and size, also after 50 ms.
 */
#ifndef SLUICED_WATCHER_H
#define SLUICED_WATCHER_H

#include "ctl/lib/err.h"
#include "ctl/lib/map.h"
#include "ctl/lib/loop.h"

struct controller;

struct watcher {
	struct watch watch;
	struct timer settle; /* armed: what changes waits for it */
	struct controller *controller;
	struct sluice_map directories; /* watch descriptor -> path; "": known by two paths */
	struct sluice_map changed; /* path -> how many settlings it waits */
	bool all; /* everything waits */
};

int watcher_init(struct watcher *w, struct controller *c, struct sluice_err *err);
void watcher_exit(struct watcher *w);

#endif
