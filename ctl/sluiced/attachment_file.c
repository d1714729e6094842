// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/attachment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/lib/address.h"
#include "ctl/lib/alloc.h"
#include "uapi/sluice.h"

/* Saving **********************************************************************************/

/* NULL: one of the names is not UTF-8. */
static json_t *to_json(const struct attachment *a)
{
	const char *slash = strrchr(a->container, '/');
	size_t id_len = slash ? (size_t)(slash - a->container) : strlen(a->container);
	char text[SLUICE_ADDR_TEXT];
	json_t *ips = json_array();

	for (size_t i = 0; i < a->n_addrs; i++)
		json_array_append_new(ips, json_string(sluice_address_format(
						   &a->addrs[i].addr, a->addrs[i].family, text)));
	return json_pack("{s:s, s:s, s:s%, s:s, s:s, s:I, s:o}", "namespace", a->ns, "pod", a->pod,
			 "containerID", a->container, id_len, "ifname", slash ? slash + 1 : "",
			 "hostIfname", a->ifname, "ifindex", (json_int_t)a->ifindex, "ips", ips);
}

static int write_json(const json_t *json, const char *path, struct sluice_err *err)
{
	int fd, ret = 0;

	/* What a killed one left is not written into: whoever made it may have it open. */
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return sluice_err_errno(err, errno, "open %s", path);
	errno = 0;
	if (json_dumpfd(json, fd, JSON_INDENT(1)))
		ret = sluice_err_errno(err, errno ? errno : EIO, "write %s", path);
	if (close(fd) && !ret)
		ret = sluice_err_errno(err, errno, "write %s", path);
	return ret;
}

int attachments_save(const struct attachments *table, const char *path, struct sluice_err *err)
{
	json_t *json = json_array();
	char *temp = NULL;
	int ret = 0;

	for (size_t i = 0; i < table->n && !ret; i++)
		if (json_array_append_new(json, to_json(table->v[i])))
			ret = sluice_err_set(err, EILSEQ,
					     "write %s: a name of interface %u is not UTF-8", path,
					     table->v[i]->ifindex);
	if (ret)
		goto put;
	if (asprintf(&temp, "%s.new", path) < 0)
		sluice_alloc_check(NULL);
	ret = write_json(json, temp, err);
	if (!ret && rename(temp, path))
		ret = sluice_err_errno(err, errno, "rename %s to %s", temp, path);
	if (ret)
		unlink(temp);
	free(temp);
put:
	json_decref(json);
	return ret;
}

/* Loading *********************************************************************************/

/* NULL: the field is missing, not a string, or has max bytes or more. */
static const char *text_of(const json_t *json, const char *name, size_t max, const char **bad)
{
	const json_t *value = json_object_get(json, name);
	const char *text = json_string_value(value);

	if (text && json_string_length(value) == strlen(text) && strlen(text) < max)
		return text;
	*bad = name;
	return NULL;
}

/* Adds one; returns the name of the field that is missing or wrong, or NULL. */
static const char *add_json(struct attachments *table, const json_t *json)
{
	const json_t *ifindex = json_object_get(json, "ifindex"),
		     *ips = json_object_get(json, "ips");
	struct sluice_dp_addr addrs[SLUICE_MAX_ENDPOINT_ADDRS];
	struct attachment a = { .addrs = addrs, .n_addrs = json_array_size(ips) };
	const char *id, *ifname, *bad = NULL;

	a.ns = (char *)text_of(json, "namespace", SLUICE_NAME_LEN, &bad);
	a.pod = (char *)text_of(json, "pod", SLUICE_NAME_LEN, &bad);
	id = text_of(json, "containerID", SLUICE_NAME_LEN, &bad);
	ifname = text_of(json, "ifname", IF_NAMESIZE, &bad);
	a.ifname = (char *)text_of(json, "hostIfname", IF_NAMESIZE, &bad);
	if (bad)
		return bad;
	if (!*a.ns != !*a.pod || strlen(a.ns) + 1 + strlen(a.pod) >= SLUICE_NAME_LEN)
		return "pod";
	if (strchr(a.ns, '/'))
		return "namespace";
	if (strlen(id) + 1 + strlen(ifname) >= SLUICE_NAME_LEN)
		return "containerID";
	if (!json_is_integer(ifindex) || json_integer_value(ifindex) <= 0 ||
	    json_integer_value(ifindex) > INT32_MAX)
		return "ifindex";
	a.ifindex = json_integer_value(ifindex);
	if (!json_is_array(ips) || a.n_addrs > SLUICE_MAX_ENDPOINT_ADDRS)
		return "ips";
	for (size_t i = 0; i < a.n_addrs; i++) {
		const char *text = json_string_value(json_array_get(ips, i));

		if (!text || !sluice_address_parse(text, &addrs[i]))
			return "ips";
	}
	if (asprintf(&a.container, "%s%s%s", id, *ifname ? "/" : "", ifname) < 0)
		sluice_alloc_check(NULL);
	/* The table's rule; a file of ours has none twice. */
	if (attachments_by_ifindex(table, a.ifindex))
		bad = "ifindex";
	else if (*a.container && attachments_by_container(table, a.container))
		bad = "containerID";
	else
		attachments_add(table, &a);
	free(a.container);
	return bad;
}

int attachments_load(struct attachments *table, const char *path, struct sluice_err *err)
{
	/* Not blocking: a FIFO in its place must not hold up the start. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret = 0;
	json_error_t why;
	struct stat st;
	json_t *json, *value;
	size_t i;

	if (fd < 0)
		return errno == ENOENT ? 0 : sluice_err_errno(err, errno, "open");
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return sluice_err_set(err, EINVAL, "not a regular file");
	}
	json = json_loadfd(fd, JSON_REJECT_DUPLICATES, &why);
	close(fd);
	if (!json)
		return sluice_err_set(err, EINVAL, "not JSON: %s (at byte %d)", why.text,
				      why.position);
	if (!json_is_array(json))
		ret = sluice_err_set(err, EINVAL, "not a JSON array");
	json_array_foreach(json, i, value) {
		const char *bad = add_json(table, value);

		if (bad) {
			ret = sluice_err_set(err, EINVAL, "entry %zu: \"%s\" is missing or wrong",
					     i, bad);
			attachments_clear(table);
			break;
		}
	}
	json_decref(json);
	return ret;
}
