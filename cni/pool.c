// SPDX-License-Identifier: GPL-2.0-only
#include "cni/pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni/fault.h"

#define NEW "new"
/* Two names of at most NAME_MAX; anything longer was not written by us. */
#define OWNER_MAX 1024

static int make_directories(const char *path, struct sluice_err *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return sluice_err_errno(err, ENAMETOOLONG, "%s", path);
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, i == len ? 0700 : 0755) && errno != EEXIST)
			return sluice_err_errno(err, errno, "mkdir %s", part);
	}
	return 0;
}

int cni_pool_open(struct cni_pool *pool, const char *data_dir, const char *network, bool create,
		  struct sluice_err *err)
{
	int ret;

	*pool = (struct cni_pool)CNI_POOL_INIT;
	if (asprintf(&pool->path, "%s/%s", data_dir, network) < 0) {
		pool->path = NULL;
		return sluice_err_set(err, ENOMEM, "out of memory");
	}
	if (create) {
		ret = make_directories(pool->path, err);
		if (ret)
			goto fail;
	}
	pool->dir = open(pool->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool->dir < 0) {
		if (!create && (errno == ENOENT || errno == ENAMETOOLONG))
			return 0;
		ret = sluice_err_errno(err, errno, "open %s", pool->path);
		goto fail;
	}
	pool->lock = openat(pool->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (pool->lock < 0) {
		ret = sluice_err_errno(err, errno, "open %s/lock", pool->path);
		goto fail;
	}
	while (flock(pool->lock, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		ret = sluice_err_errno(err, errno, "lock %s/lock", pool->path);
		goto fail;
	}
	return 0;
fail:
	cni_pool_close(pool);
	return ret;
}

void cni_pool_close(struct cni_pool *pool)
{
	if (pool->lock >= 0)
		close(pool->lock);
	if (pool->dir >= 0)
		close(pool->dir);
	free(pool->path);
	*pool = (struct cni_pool)CNI_POOL_INIT;
}

static int sync_directory(struct cni_pool *pool, struct sluice_err *err)
{
	return fsync(pool->dir) ? sluice_err_errno(err, errno, "fsync %s", pool->path) : 0;
}

/* What an ADD that was killed left of its reservation: whoever holds the lock finds nobody writing it. */
static int remove_new(struct cni_pool *pool, struct sluice_err *err)
{
	if (unlinkat(pool->dir, NEW, 0) && errno != ENOENT)
		return sluice_err_errno(err, errno, "unlink %s/" NEW, pool->path);
	return 0;
}

/* Write the file "new" with this content, safe on disk. */
static int write_new(struct cni_pool *pool, const char *text, struct sluice_err *err)
{
	size_t len = strlen(text), done = 0;
	int fd, ret;

	ret = remove_new(pool, err);
	if (ret)
		return ret;
	fd = openat(pool->dir, NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return sluice_err_errno(err, errno, "create %s/" NEW, pool->path);
	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto fail;
		done += n;
	}
	if (fsync(fd))
		goto fail;
	close(fd);
	return 0;
fail:
	sluice_err_errno(err, errno, "write %s/" NEW, pool->path);
	close(fd);
	unlinkat(pool->dir, NEW, 0);
	return -EIO;
}

/* Read a small file; -ENOENT when there is none (err untouched). */
static int read_file(struct cni_pool *pool, const char *name, char *buf, size_t size,
		     struct sluice_err *err)
{
	int fd = openat(pool->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t done = 0;
	ssize_t n = 0;

	if (fd < 0)
		return errno == ENOENT ?
			       -ENOENT :
			       sluice_err_errno(err, errno, "open %s/%s", pool->path, name);
	while (done < size - 1) {
		n = read(fd, buf + done, size - 1 - done);
		if (n == 0)
			break;
		if (n > 0)
			done += n;
		else if (errno != EINTR)
			break;
	}
	buf[done] = '\0';
	if (n < 0) {
		int ret = sluice_err_errno(err, errno, "read %s/%s", pool->path, name);

		close(fd);
		return ret;
	}
	close(fd);
	return 0;
}

/* Split "id\nifname\n" in place; false when it is not that. */
static bool parse_owner(char *text, struct cni_attachment *owner)
{
	char *first = strchr(text, '\n');
	char *second = first ? strchr(first + 1, '\n') : NULL;

	if (!second || first == text || second == first + 1 || second[1])
		return false;
	*first = *second = '\0';
	owner->container_id = text;
	owner->ifname = first + 1;
	return true;
}

static const char *last_name(int family)
{
	return family == AF_INET ? "last.4" : "last.6";
}

/*
 * The search: a cursor that visits every usable address of a family once, from the one after
 * "last" around to "last" itself.
 */
struct cursor {
	const struct cni_address *cidrs;
	size_t n_cidrs;
	int family;
	size_t at; /* index of the CIDR the address is in */
	struct cni_address address;
	struct cni_address stop; /* visited first: met again means all were */
	bool started;
};

/* Go to the first address of the next CIDR of the family. There is one: the caller knows. */
static void cursor_next_cidr(struct cursor *c)
{
	struct cni_address last;

	do {
		c->at = (c->at + 1) % c->n_cidrs;
	} while (c->cidrs[c->at].family != c->family);
	cni_address_usable(&c->cidrs[c->at], &c->address, &last);
}

static void cursor_advance(struct cursor *c)
{
	struct cni_address first, last;

	cni_address_usable(&c->cidrs[c->at], &first, &last);
	if (cni_address_compare(&c->address, &last) >= 0)
		cursor_next_cidr(c);
	else
		cni_address_increment(&c->address);
}

static void cursor_init(struct cni_pool *pool, struct cursor *c, const struct cni_address *cidrs,
			size_t n_cidrs, int family)
{
	char text[CNI_ADDRESS_TEXT] = "";
	struct cni_address last, low, high;

	*c = (struct cursor){ cidrs, n_cidrs, family, n_cidrs - 1, { 0 }, { 0 }, false };
	cursor_next_cidr(c);
	if (pool->dir < 0 || read_file(pool, last_name(family), text, sizeof(text), NULL))
		return;
	if (cni_address_parse(&last, text, NULL) || last.family != family)
		return;
	for (size_t i = 0; i < n_cidrs; i++) {
		if (cidrs[i].family != family)
			continue;
		cni_address_usable(&cidrs[i], &low, &high);
		if (cni_address_compare(&last, &low) < 0 || cni_address_compare(&last, &high) > 0)
			continue;
		c->at = i;
		c->address = last;
		cursor_advance(c);
		return;
	}
}

/* The next address to try; false when all were. */
static bool cursor_visit(struct cursor *c, struct cni_address *address)
{
	if (!c->started) {
		c->started = true;
		c->stop = c->address;
	} else {
		cursor_advance(c);
		if (cni_address_equal(&c->address, &c->stop))
			return false;
	}
	*address = c->address;
	return true;
}

static int no_room(int family, struct sluice_err *err)
{
	return sluice_err_set(err, ENOSPC, "no free IPv%d address in podCIDRs",
			      family == AF_INET ? 4 : 6);
}

/* Files that are not reservations have names that are no addresses. */
static bool is_reservation(const char *name)
{
	struct cni_address a;

	return !strchr(name, '/') && !cni_address_parse(&a, name, NULL);
}

/*
 * Call fn for every reservation; owner is NULL where the file does not name one. It stops where fn
 * returns non-zero and returns that.
 */
static int for_each(struct cni_pool *pool,
		    int (*fn)(struct cni_pool *pool, const char *name,
			      const struct cni_attachment *owner, void *arg,
			      struct sluice_err *err),
		    void *arg, struct sluice_err * err)
{
	char text[OWNER_MAX];
	struct dirent *entry;
	int fd, ret = 0;
	DIR *dir;

	if (pool->dir < 0)
		return 0;
	fd = openat(pool->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		ret = sluice_err_errno(err, errno, "list %s", pool->path);
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (!ret && (errno = 0, entry = readdir(dir))) {
		struct cni_attachment owner;

		if (!is_reservation(entry->d_name))
			continue;
		ret = read_file(pool, entry->d_name, text, sizeof(text), err);
		if (ret) {
			if (ret == -ENOENT)
				ret = sluice_err_set(err, ENOENT, "%s/%s vanished", pool->path,
						     entry->d_name);
			break;
		}
		ret = fn(pool, entry->d_name, parse_owner(text, &owner) ? &owner : NULL, arg, err);
	}
	if (!ret && errno)
		ret = sluice_err_errno(err, errno, "list %s", pool->path);
	closedir(dir);
	return ret;
}

static int refuse_owner(struct cni_pool *pool, const char *name, const struct cni_attachment *owner,
			void *arg, struct sluice_err *err)
{
	const struct cni_attachment *wanted = arg;

	(void)pool;
	if (!owner || !cni_attachment_equal(owner, wanted))
		return 0;
	return sluice_err_set(err, EEXIST, "%s of container %s holds %s already", wanted->ifname,
			      wanted->container_id, name);
}

/* Link "new" to the first free address of the family. */
static int reserve_one(struct cni_pool *pool, const struct cni_address *cidrs, size_t n_cidrs,
		       int family, struct cni_address *address, struct sluice_err *err)
{
	char name[CNI_ADDRESS_TEXT];
	struct cursor c;

	cursor_init(pool, &c, cidrs, n_cidrs, family);
	while (cursor_visit(&c, address)) {
		if (!linkat(pool->dir, NEW, pool->dir, cni_address_text(address, name), 0))
			return 0;
		if (errno != EEXIST)
			return sluice_err_errno(err, errno, "reserve %s/%s", pool->path, name);
	}
	return no_room(family, err);
}

static int remember_last(struct cni_pool *pool, const struct cni_address *address,
			 struct sluice_err *err)
{
	char text[CNI_ADDRESS_TEXT];
	int ret;

	ret = write_new(pool, cni_address_text(address, text), err);
	if (ret)
		return ret;
	if (renameat(pool->dir, NEW, pool->dir, last_name(address->family)))
		return sluice_err_errno(err, errno, "rename %s/%s", pool->path,
					last_name(address->family));
	return 0;
}

int cni_pool_reserve(struct cni_pool *pool, const struct cni_address *cidrs, size_t n_cidrs,
		     const struct cni_attachment *owner, struct cni_address addresses[2],
		     size_t *n_addresses, struct sluice_err *err)
{
	static const int families[] = { AF_INET, AF_INET6 };
	char text[OWNER_MAX], name[CNI_ADDRESS_TEXT];
	int ret;

	*n_addresses = 0;
	ret = for_each(pool, refuse_owner, (void *)owner, err);
	if (ret)
		return ret;
	if (snprintf(text, sizeof(text), "%s\n%s\n", owner->container_id, owner->ifname) >=
	    (int)sizeof(text))
		return sluice_err_set(err, ENAMETOOLONG, "the container id is too long");
	ret = write_new(pool, text, err);
	if (!ret && cni_fault("pool-new"))
		ret = sluice_err_set(err, EIO, "fault injected");
	for (size_t f = 0; f < 2 && !ret; f++) {
		bool wanted = false;

		for (size_t i = 0; i < n_cidrs; i++)
			wanted |= cidrs[i].family == families[f];
		if (!wanted)
			continue;
		ret = reserve_one(pool, cidrs, n_cidrs, families[f], &addresses[*n_addresses], err);
		if (ret)
			break;
		++*n_addresses;
		if (cni_fault(families[f] == AF_INET ? "pool-linked-4" : "pool-linked-6"))
			ret = sluice_err_set(err, EIO, "fault injected");
	}
	if (!ret)
		ret = remove_new(pool, err);
	for (size_t i = 0; i < *n_addresses && !ret; i++)
		ret = remember_last(pool, &addresses[i], err);
	if (!ret && cni_fault("pool-last"))
		ret = sluice_err_set(err, EIO, "fault injected");
	if (!ret)
		ret = sync_directory(pool, err);
	if (!ret)
		return 0;

	for (size_t i = 0; i < *n_addresses; i++)
		unlinkat(pool->dir, cni_address_text(&addresses[i], name), 0);
	remove_new(pool, NULL);
	*n_addresses = 0;
	return ret;
}

int cni_pool_has_room(struct cni_pool *pool, const struct cni_address *cidrs, size_t n_cidrs,
		      struct sluice_err *err)
{
	bool done[2] = { false, false };

	if (pool->dir < 0)
		return 0;
	for (size_t i = 0; i < n_cidrs; i++) {
		bool *seen = &done[cidrs[i].family == AF_INET6];
		char name[CNI_ADDRESS_TEXT];
		struct cni_address address;
		bool room = false;
		struct cursor c;

		if (*seen)
			continue;
		*seen = true;
		cursor_init(pool, &c, cidrs, n_cidrs, cidrs[i].family);
		while (!room && cursor_visit(&c, &address))
			room = faccessat(pool->dir, cni_address_text(&address, name), F_OK, 0);
		if (!room)
			return no_room(cidrs[i].family, err);
	}
	return 0;
}

int cni_pool_check(struct cni_pool *pool, const struct cni_address *address,
		   const struct cni_attachment *owner, struct sluice_err *err)
{
	char name[CNI_ADDRESS_TEXT], text[OWNER_MAX];
	struct cni_attachment holder;
	int ret;

	cni_address_text(address, name);
	ret = pool->dir < 0 ? -ENOENT : read_file(pool, name, text, sizeof(text), err);
	if (ret == -ENOENT)
		return sluice_err_set(err, ENOENT, "%s is not reserved in %s", name, pool->path);
	if (ret)
		return ret;
	if (!parse_owner(text, &holder))
		return sluice_err_set(err, EEXIST, "%s/%s does not name its owner", pool->path,
				      name);
	if (!cni_attachment_equal(&holder, owner))
		return sluice_err_set(err, EEXIST, "%s is reserved for %s of container %s", name,
				      holder.ifname, holder.container_id);
	return 0;
}

static int release_owner(struct cni_pool *pool, const char *name,
			 const struct cni_attachment *owner, void *arg, struct sluice_err *err)
{
	if (!owner || !cni_attachment_equal(owner, arg))
		return 0;
	if (unlinkat(pool->dir, name, 0) && errno != ENOENT)
		return sluice_err_errno(err, errno, "release %s/%s", pool->path, name);
	return 0;
}

int cni_pool_release(struct cni_pool *pool, const struct cni_attachment *owner,
		     struct sluice_err *err)
{
	int ret;

	if (pool->dir < 0)
		return 0;
	ret = for_each(pool, release_owner, (void *)owner, err);
	if (!ret)
		ret = remove_new(pool, err);
	return ret ? ret : sync_directory(pool, err);
}

struct sweep {
	const struct cni_attachment *keep;
	size_t n_keep;
	struct sluice_err *err; /* the first */
};

static int release_unlisted(struct cni_pool *pool, const char *name,
			    const struct cni_attachment *owner, void *arg, struct sluice_err *err)
{
	struct sweep *sweep = arg;

	(void)err;
	if (owner && cni_attachment_listed(owner, sweep->keep, sweep->n_keep))
		return 0;
	if (unlinkat(pool->dir, name, 0) && errno != ENOENT && !sluice_err_is_set(sweep->err))
		sluice_err_errno(sweep->err, errno, "release %s/%s", pool->path, name);
	return 0;
}

int cni_pool_sweep(struct cni_pool *pool, const struct cni_attachment *keep, size_t n_keep,
		   struct sluice_err *err)
{
	SLUICE_ERR(first);
	struct sweep sweep = { keep, n_keep, &first };
	int ret;

	if (pool->dir < 0)
		return 0;
	ret = for_each(pool, release_unlisted, &sweep, err);
	if (ret)
		return ret;
	remove_new(pool, sluice_err_is_set(&first) ? NULL : &first);
	if (sluice_err_is_set(&first))
		return sluice_err_move(err, &first);
	return sync_directory(pool, err);
}
