// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/conflist.h"

#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/sluiced/log.h"

#define PLUGIN "sluice-cni"
#define FILE_MAX (1L << 20)

/* The runtime would refuse it long after we have said that the node is ready. */
static int check(const struct conflist *l, struct sluice_err *err)
{
	const json_t *plugins, *plugin, *type;
	json_error_t error;
	bool ours = false;
	json_t *json;
	size_t i;

	json = json_loadb(l->text, l->len, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		return sluice_err_set(err, EINVAL, "line %d: %s", error.line, error.text);
	plugins = json_object_get(json, "plugins");
	json_array_foreach((json_t *)plugins, i, plugin) {
		type = json_object_get(plugin, "type");
		ours |= json_is_string(type) && !strcmp(json_string_value(type), PLUGIN);
	}
	json_decref(json);
	return ours ? 0 : sluice_err_set(err, EINVAL, "\"plugins\" does not hold " PLUGIN);
}

static int read_all(struct conflist *l, const char *name, struct sluice_err *err)
{
	FILE *file = fopen(name, "re");
	int ret = 0;

	if (!file)
		return sluice_err_errno(err, errno, "open");
	l->text = sluice_zalloc(FILE_MAX);
	l->len = fread(l->text, 1, FILE_MAX, file);
	if (ferror(file))
		ret = sluice_err_errno(err, errno, "read");
	else if (l->len == FILE_MAX)
		ret = sluice_err_set(err, EFBIG, "%ld bytes or more", FILE_MAX);
	fclose(file);
	return ret;
}

int conflist_init(struct conflist *l, const char *file, const char *dir, struct sluice_err *err)
{
	char *copy, *base;
	int ret;

	*l = (struct conflist){ 0 };
	if (!file)
		return 0;
	ret = read_all(l, file, err);
	if (!ret)
		ret = check(l, err);
	if (ret) {
		conflist_exit(l);
		return sluice_err_prefix(err, "%s", file);
	}
	l->text = sluice_realloc(l->text, l->len, 1);
	copy = sluice_strdup(file);
	base = basename(copy);
	if (asprintf(&l->place, "%s/%s", dir, base) < 0 ||
	    asprintf(&l->beside, "%s/.%s.new", dir, base) < 0)
		sluice_alloc_check(NULL);
	free(copy);
	return 0;
}

void conflist_exit(struct conflist *l)
{
	free(l->text);
	free(l->place);
	free(l->beside);
	*l = (struct conflist){ 0 };
}

static int write_all(const struct conflist *l, struct sluice_err *err)
{
	int fd = open(l->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t n;
	int ret = 0;

	if (fd < 0)
		return sluice_err_errno(err, errno, "open %s", l->beside);
	n = write(fd, l->text, l->len);
	if (n != (ssize_t)l->len || fsync(fd))
		ret = sluice_err_errno(err, n < 0 || n == (ssize_t)l->len ? errno : ENOSPC,
				       "write %s", l->beside);
	close(fd);
	if (!ret && rename(l->beside, l->place))
		ret = sluice_err_errno(err, errno, "rename to %s", l->place);
	if (ret)
		unlink(l->beside);
	return ret;
}

void conflist_install(struct conflist *l)
{
	SLUICE_ERR(err);

	if (!l->text || l->installed || l->ended)
		return;
	if (!write_all(l, &err)) {
		l->installed = true;
		log_info("the CNI configuration is in place", "file", l->place);
		return;
	}
	/* Tried again with the next transaction. */
	if (!l->told)
		log_error("cannot install the CNI configuration", "error", sluice_err_msg(&err));
	l->told = true;
}

void conflist_remove(struct conflist *l)
{
	if (!l->text || l->ended)
		return;
	l->ended = true;
	/* Also one that an earlier sluiced left behind. */
	if (!unlink(l->place))
		log_info("removed the CNI configuration", "file", l->place);
	else if (errno != ENOENT)
		log_error("cannot remove the CNI configuration", "file", l->place, "error",
			  strerror(errno));
}
