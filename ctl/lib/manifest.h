/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The manifest source: files of Kubernetes objects, YAML or JSON.
 *
 * A file holds any number of YAML documents and concatenated JSON values; List kinds are unpacked.
 * A set remembers which file gave which object and keeps a model in step:
 *
 * - Good objects are applied, bad ones reported ("file:line", the object, the path of the field).
 * - A bad object keeps its previous good version from that file, if there was one.
 * - While a part of a file cannot be read so far that its objects can be named (broken syntax, no
 *   metadata.name), nothing that the file gave before is removed: it may be in that part.
 * - An object given twice: the last one counts (order: that of the files' paths, or the order in
 *   which they were named, then the place in the file), with a warning.
 *
 * One thread owns a set.
 */
#ifndef SLUICE_CTL_LIB_MANIFEST_H
#define SLUICE_CTL_LIB_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/lib/err.h"
#include "ctl/lib/model.h"

/* A larger file is refused. 16,000 pods as the API server prints them are about 100 MB. */
#define SLUICE_MANIFEST_MAX_BYTES (512u << 20)
/* Values that YAML aliases may add to one document, counted as if each were written out. */
#define SLUICE_MANIFEST_MAX_ALIASED 1000000

struct sluice_manifests;

struct sluice_manifest_problem {
	const char *source; /* "file:line" */
	const char *message;
	bool warning; /* what was asked for was done all the same */
};

struct sluice_manifests *sluice_manifests_new(struct sluice_model *model);
void sluice_manifests_free(struct sluice_manifests *set);

/*
 * Reads a file, or the *.yaml, *.yml and *.json files of a directory and of those below it. Names
 * that start with a dot are left out, links are followed: a mounted ConfigMap is read once. Returns
 * an error only if path itself cannot be read; what is wrong inside files is a problem, see below.
 */
int sluice_manifests_load(struct sluice_manifests *set, const char *path, struct sluice_err *err);
/* As if a file of that name had this content. */
void sluice_manifests_load_text(struct sluice_manifests *set, const char *name, const char *text,
				size_t len);
/* The file is gone: so are its objects. */
void sluice_manifests_remove(struct sluice_manifests *set, const char *path);
/*
 * Looks again at everything that sluice_manifests_load() was ever given: files that are new or
 * changed (inode, size, time) are read, those of vanished files removed. A file that exists and
 * cannot be read keeps its objects. Returns whether anything was read or removed.
 */
bool sluice_manifests_refresh(struct sluice_manifests *set);

/*
 * Looks again at the one file of this path, for whoever was told that it changed: it is read whatever
 * its inode, size and time say, and its objects removed if it is gone. *done is false if that is not
 * enough to tell what happened (a directory, a path below none that was loaded): refresh. Returns
 * whether anything was read or removed.
 */
bool sluice_manifests_refresh_file(struct sluice_manifests *set, const char *path, bool *done);

/* Changes whenever the problems may have. */
unsigned long sluice_manifests_problems_version(const struct sluice_manifests *set);
/* The problems that stand now, in the files' order; owned by the set, valid until asked again. */
const struct sluice_manifest_problem *sluice_manifests_problems(struct sluice_manifests *set,
								size_t *n);
/* How many objects of kinds without meaning here (Deployment, ConfigMap, ...) were left out. */
size_t sluice_manifests_ignored(const struct sluice_manifests *set);

/*
 * Parses one text into values without decoding them: what the set does first. Calls object for each
 * object (List kinds unpacked), which may not keep the value, and problem for each part that cannot be
 * read. name tells JSON from YAML, where it has an ending.
 */
struct sluice_manifest_reader {
	void *ctx;
	void (*object)(void *ctx, const struct sluice_value *value);
	void (*problem)(void *ctx, unsigned int line, const char *message);
};
void sluice_manifest_read(const char *name, const char *text, size_t len,
			  const struct sluice_manifest_reader *reader);

#endif
