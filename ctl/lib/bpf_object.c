// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/bpf_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <mntent.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "build/bpf/sluice.skel.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_conns.h"
#include "ctl/lib/selector.h"

/* Newer than the headers that we may be built with: include/uapi/linux/bpf.h, asm-generic/socket.h. */
#define TCX_INGRESS 46
#define TCX_EGRESS 47
#define TCX_FIRST \
	(1U       \
	 << 3) /* BPF_F_BEFORE: in front of all others, for nobody may see what a closed pod sends */
#define NETNS_COOKIE 71 /* SO_NETNS_COOKIE */

/* struct bpf_link_info as of 6.6, which says where a tcx link stands. */
struct link_info {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad;
	union {
		struct {
			uint32_t ifindex; /* 0: the interface is gone */
			uint32_t attach_type;
		} tcx;
		struct {
			uint64_t cgroup_id; /* 0: the cgroup is gone */
			uint32_t attach_type;
		} cgroup;
		char room[64];
	};
};

/* By bit of enum sluice_bpf_prog_id. */
static const struct {
	const char *name;
	const char *link;
	int type;
} progs[] = {
#define X(sym, name, link, type) [SLUICE_BPF_PROG_##sym] = { #name, link, type },
	SLUICE_BPF_PROGS(X)
#undef X
};

/* The kernel keeps 15 characters of a program's name. */
#define PROG_NAME_LEN 15

/* Names *******************************************************************************/

const char *sluice_bpf_root(void)
{
	const char *root = getenv("SLUICE_BPF_DIR");

	return root && *root ? root : SLUICE_BPF_DIR;
}

int sluice_bpf_cookie(uint64_t *cookie, struct sluice_err *err)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*cookie);
	int ret = 0;

	if (fd < 0)
		return sluice_err_errno(err, errno, "socket");
	if (getsockopt(fd, SOL_SOCKET, NETNS_COOKIE, cookie, &len))
		ret = sluice_err_errno(err, errno, "the cookie of the network namespace");
	close(fd);
	return ret;
}

static void place(uint64_t cookie, const char *what, char path[SLUICE_BPF_PATH])
{
	snprintf(path, SLUICE_BPF_PATH, "%s/%s-%llu", sluice_bpf_root(), what,
		 (unsigned long long)cookie);
}

void sluice_bpf_path(uint64_t cookie, char path[SLUICE_BPF_PATH])
{
	place(cookie, "net", path);
}

bool sluice_bpf_is_there(void)
{
	char path[SLUICE_BPF_PATH];
	uint64_t cookie;

	if (sluice_bpf_cookie(&cookie, NULL))
		return false;
	sluice_bpf_path(cookie, path);
	return !access(path, F_OK);
}

/* "<dir>/<name>"; the pieces are ours, and fit. */
static const char *pin(const char *dir, const char *name, char path[SLUICE_BPF_PATH + 64])
{
	snprintf(path, SLUICE_BPF_PATH + 64, "%s/%s", dir, name);
	return path;
}

static void prog_pin(int id, char name[64])
{
	snprintf(name, 64, "prog-%s", progs[id].name);
}

static void link_pin(uint32_t ifindex, bool out, char name[64])
{
	snprintf(name, 64, "link-%u-%s", ifindex, out ? "out" : "in");
}

/* The interface of such a name; 0: it is another name. */
static uint32_t link_ifindex(const char *name, bool *out)
{
	char check[64];
	uint32_t ifindex;

	if (strncmp(name, "link-", 5) || !isdigit((unsigned char)name[5]))
		return 0;
	ifindex = strtoul(name + 5, NULL, 10);
	for (int i = 0; i < 2; i++) {
		link_pin(ifindex, i, check);
		*out = i;
		if (!strcmp(check, name))
			return ifindex;
	}
	return 0;
}

/* The machine *************************************************************************/

char *sluice_bpf_missing_caps(void)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = { { CAP_SYS_ADMIN, "CAP_SYS_ADMIN" }, { CAP_NET_ADMIN, "CAP_NET_ADMIN" } };
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { 0 };
	char *text = NULL, *longer;

	if (syscall(SYS_capget, &header, data))
		return NULL;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (data[needed[i].cap / 32].effective & 1U << needed[i].cap % 32)
			continue;
		if (asprintf(&longer, "%s%s%s", text ? text : "", text ? ", " : "",
			     needed[i].name) < 0)
			sluice_alloc_check(NULL);
		free(text);
		text = longer;
	}
	return text;
}

char *sluice_bpf_cgroup2(void)
{
	FILE *mounts = setmntent("/proc/mounts", "r");
	struct mntent *m;
	char *path = NULL;

	while (mounts && !path && (m = getmntent(mounts)))
		if (!strcmp(m->mnt_type, "cgroup2"))
			path = sluice_strdup(m->mnt_dir);
	if (mounts)
		endmntent(mounts);
	return path;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

#define MOUNT_POINT "/sys/fs/bpf"

/* Is the directory of pins below the place where everybody has their bpffs? */
static bool is_default_mount(void)
{
	const char *root = sluice_bpf_root();

	return !strncmp(root, MOUNT_POINT "/", strlen(MOUNT_POINT) + 1);
}

/* The directory of pins of all namespaces. */
static int make_root(struct sluice_err *err)
{
	const char *root = sluice_bpf_root();

	if (strlen(root) > SLUICE_BPF_PATH - 64)
		return sluice_err_set(err, ENAMETOOLONG,
				      "%s: too long a name for a directory of pins", root);
	if (is_default_mount() && !is_bpffs(MOUNT_POINT) &&
	    mount("bpf", MOUNT_POINT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return sluice_err_errno(err, errno, "mount a bpffs at %s", MOUNT_POINT);
	if (mkdir(root, 0700) && errno != EEXIST)
		return sluice_err_errno(err, errno, "make the directory %s", root);
	if (!is_bpffs(root))
		return sluice_err_set(err, ENOTDIR,
				      "%s is not on a bpffs (mount -t bpf bpf DIRECTORY)", root);
	return 0;
}

int sluice_bpf_pins_possible(struct sluice_err *err)
{
	char *parent = sluice_strdup(sluice_bpf_root()), *slash = strrchr(parent, '/');
	bool there;

	if (slash)
		*slash = 0;
	there = is_bpffs(sluice_bpf_root()) || is_bpffs(parent) ||
		(is_default_mount() && !access(MOUNT_POINT, W_OK));
	free(parent);
	return there ? 0 : sluice_err_set(err, ENOTDIR, "%s is not on a bpffs", sluice_bpf_root());
}

#define LOCK_DIR "/run/sluice"

static void lock_path(uint64_t cookie, char path[64])
{
	snprintf(path, 64, LOCK_DIR "/bpf-%llu.lock", (unsigned long long)cookie);
}

/* Whoever removes everything removes the file as well: is the one that was locked still it? */
static bool is_current(int fd, const char *path)
{
	struct stat mine, there;

	return !fstat(fd, &mine) && !stat(path, &there) && mine.st_dev == there.st_dev &&
	       mine.st_ino == there.st_ino;
}

static int take_lock(struct sluice_bpf *bpf, struct sluice_err *err)
{
	char path[64], pid[32] = "";
	ssize_t n;

	mkdir(LOCK_DIR, 0755);
	lock_path(bpf->cookie, path);
	for (;;) {
		bpf->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (bpf->lock < 0)
			return sluice_err_errno(err, errno, "open %s", path);
		if (flock(bpf->lock, LOCK_EX | LOCK_NB))
			break;
		if (is_current(bpf->lock, path)) {
			n = snprintf(pid, sizeof(pid), "%d\n", getpid());
			if (ftruncate(bpf->lock, 0) || pwrite(bpf->lock, pid, n, 0) != n)
				return sluice_err_errno(err, errno, "write %s", path);
			return 0;
		}
		close(bpf->lock);
	}
	if (errno != EWOULDBLOCK)
		return sluice_err_errno(err, errno, "lock %s", path);
	n = pread(bpf->lock, pid, sizeof(pid) - 1, 0);
	pid[n > 0 ? n : 0] = 0;
	pid[strcspn(pid, "\n")] = 0;
	return sluice_err_set(
		err, EBUSY,
		"process %s writes the BPF maps of this network namespace; end it first",
		*pid ? pid : "(unknown)");
}

/* libbpf ******************************************************************************/

/* What libbpf said since it was last emptied. */
static char *said;
static size_t said_len;

static int hear(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char *text, *longer;
	int n;

	if (level == LIBBPF_DEBUG)
		return 0;
	n = vasprintf(&text, fmt, ap);
	if (n < 0)
		return 0;
	longer = realloc(said, said_len + n + 1);
	if (longer) {
		said = longer;
		memcpy(said + said_len, text, n + 1);
		said_len += n;
	}
	free(text);
	return n;
}

static void forget(void)
{
	free(said);
	said = NULL;
	said_len = 0;
}

#define LOG_LINES 6

/* The last lines before end, joined by "; ", without what the verifier counted. To be freed. */
static char *last_lines(char *begin, char *end)
{
	char *lines[LOG_LINES] = { 0 }, *text = NULL;
	size_t n = 0, len;
	FILE *f;

	while (n < LOG_LINES && end > begin) {
		char *line = end;

		while (line > begin && line[-1] != '\n')
			line--;
		*end = 0;
		end = line > begin ? line - 1 : begin;
		if (*line && strncmp(line, "processed ", 10) &&
		    strncmp(line, "verification time", 17) && strncmp(line, "stack depth", 11))
			lines[n++] = line;
		if (line == begin)
			break;
	}
	f = sluice_alloc_check(open_memstream(&text, &len));
	while (n-- > 0)
		fprintf(f, "%s%s", lines[n], n ? "; " : "");
	fclose(f);
	return sluice_alloc_check(text);
}

/* Why loading failed: what the verifier said, else what libbpf said last. */
static int load_failed(int code, struct sluice_err *err)
{
	static const char begin_mark[] = "-- BEGIN PROG LOAD LOG --\n";
	char *log = said ? strstr(said, begin_mark) : NULL, *end, *prog, *text, *caps;
	int ret;

	if (log) {
		prog = strstr(said, "prog '");
		prog = prog && prog < log ? prog + 6 : NULL;
		if (prog)
			prog[strcspn(prog, "'")] = 0;
		log += sizeof(begin_mark) - 1;
		end = strstr(log, "-- END PROG LOAD LOG --");
		text = last_lines(log, end ? end : log + strlen(log));
		ret = sluice_err_set(
			err, code,
			"the kernel's verifier refuses the program %s: %s (this build does "
			"not fit this kernel; what was attached before stays)",
			prog ? prog : "", text);
		free(text);
		return ret;
	}
	caps = sluice_bpf_missing_caps();
	if (code == EPERM) {
		ret = sluice_err_set(err, code, "the kernel lets us load no BPF program: %s%s",
				     caps ? "we lack " :
					    "it is locked down, or we are in a user "
					    "namespace (sluicectl doctor)",
				     caps ? caps : "");
		free(caps);
		return ret;
	}
	free(caps);
	text = said ? last_lines(said, said + said_len) : sluice_strdup("");
	ret = sluice_err_errno(err, code, "load the BPF programs (%s)", text);
	free(text);
	return ret;
}

/* Maps ********************************************************************************/

static bool is_buckets(const char *name)
{
	return !strcmp(name, "buckets4") || !strcmp(name, "buckets6");
}

static bool is_shared(const char *name)
{
	for (int i = 0; i < SLUICE_BPF_MAP_COUNT; i++)
		if (!strcmp(sluice_bpf_map_name(i), name))
			return true;
	return false;
}

static int half_removed(const char *dir, const char *name, struct sluice_err *err)
{
	return sluice_err_set(
		err, EUCLEAN,
		"%s is incomplete: %s is missing; \"sluicectl bpf remove\" takes away the "
		"rest, connections included",
		dir, name);
}

static int open_maps(struct sluice_bpf *bpf, struct sluice_err *err)
{
	for (int i = 0; i < SLUICE_BPF_MAP_COUNT; i++) {
		const char *name = sluice_bpf_map_name(i);
		int ret = sluice_bpf_map_open(&bpf->maps[i], bpf->dir, name, err);

		if (ret == -ENOENT)
			return half_removed(bpf->dir, name, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* Before anything else is believed of these maps. */
static int check_layout(const struct sluice_bpf *bpf, struct sluice_err *err)
{
	const struct sluice_bpf_map *map = &bpf->maps[SLUICE_BPF_MAP_CONTROL];
	uint32_t zero = 0, layout = 0;
	char *value =
		sluice_zalloc(map->value_size < sizeof(layout) ? sizeof(layout) : map->value_size);
	int ret = 0;

	if (map->key_size != sizeof(zero) || bpf_map_lookup_elem(map->fd, &zero, value))
		ret = sluice_err_set(err, EUCLEAN, "%s/control is not a map of Sluice's", bpf->dir);
	else
		memcpy(&layout, value, sizeof(layout));
	free(value);
	if (!ret && layout != SLUICE_BPF_LAYOUT)
		ret = sluice_err_set(
			err, EPROTONOSUPPORT,
			"the maps in %s have layout %u, and this build knows layout %u: run the "
			"build that made them, or begin anew with \"sluicectl bpf remove\", "
			"which ends all connections",
			bpf->dir, layout, SLUICE_BPF_LAYOUT);
	return ret;
}

static int check_definition(const char *dir, const struct bpf_map *wanted,
			    const struct sluice_bpf_map *map, struct sluice_err *err)
{
	if (map->type == bpf_map__type(wanted) && map->key_size == bpf_map__key_size(wanted) &&
	    map->value_size == bpf_map__value_size(wanted) &&
	    map->flags == bpf_map__map_flags(wanted) &&
	    (is_buckets(map->name) || map->max_entries == bpf_map__max_entries(wanted)))
		return 0;
	return sluice_err_set(
		err, EPROTONOSUPPORT,
		"map %s in %s is not what this build defines: run the build that made it, or "
		"begin anew with \"sluicectl bpf remove\", which ends all connections",
		map->name, dir);
}

static int check_definitions(const struct sluice_bpf *bpf, struct bpf_object *object,
			     struct sluice_err *err)
{
	int ret = 0;

	for (int i = 0; i < SLUICE_BPF_MAP_COUNT && !ret; i++) {
		const struct bpf_map *wanted =
			bpf_object__find_map_by_name(object, bpf->maps[i].name);

		if (!wanted)
			return sluice_err_set(err, EINVAL, "the BPF object has no map %s",
					      bpf->maps[i].name);
		ret = check_definition(bpf->dir, wanted, &bpf->maps[i], err);
	}
	return ret;
}

/* The object's maps become those that are pinned. One that userspace does not know may be a new build's. */
static int reuse_maps(const struct sluice_bpf *bpf, struct bpf_object *object,
		      struct sluice_err *err)
{
	struct bpf_map *map;
	int ret = 0;

	bpf_object__for_each_map(map, object)
	{
		struct sluice_bpf_map there;

		if (bpf_map__is_internal(map))
			continue; /* constants of the programs: they go with them */
		ret = sluice_bpf_map_open(&there, bpf->dir, bpf_map__name(map), err);
		if (ret == -ENOENT && !is_shared(bpf_map__name(map)))
			continue;
		if (!ret)
			ret = check_definition(bpf->dir, map, &there, err);
		if (!ret && bpf_map__reuse_fd(map, there.fd))
			ret = sluice_err_errno(err, errno, "map %s", there.name);
		sluice_bpf_map_close(&there);
		if (ret)
			return ret;
	}
	return 0;
}

/* Those that are not pinned there yet. */
static int pin_maps(const char *dir, struct bpf_object *object, struct sluice_err *err)
{
	char path[SLUICE_BPF_PATH + 64];
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__is_internal(map))
			continue;
		pin(dir, bpf_map__name(map), path);
		if (bpf_obj_pin(bpf_map__fd(map), path) && errno != EEXIST)
			return sluice_err_errno(err, errno, "pin %s", path);
	}
	return 0;
}

/* Pins ********************************************************************************/

static void marker(uint64_t build, char name[64])
{
	snprintf(name, 64, "build-%016llx", (unsigned long long)build);
}

static uint64_t build_of(const struct sluice_bpf_options *options)
{
	return sluice_hash_bytes(SLUICE_BPF_LAYOUT, options->elf, options->elf_size);
}

/* Calls visit with each name in the directory; names may go on the way. */
static void for_each_pin(const char *dir, void (*visit)(const char *name, void *arg), void *arg)
{
	char **names = NULL;
	size_t n = 0, cap = 0;
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		sluice_grow(names, n, cap);
		names[n++] = sluice_strdup(e->d_name);
	}
	if (d)
		closedir(d);
	for (size_t i = 0; i < n; i++) {
		visit(names[i], arg);
		free(names[i]);
	}
	free(names);
}

static int link_info(int fd, struct link_info *info)
{
	uint32_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &len);
}

static uint32_t prog_id(int fd, char name[PROG_NAME_LEN + 1])
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return 0;
	if (name)
		snprintf(name, PROG_NAME_LEN + 1, "%.*s", PROG_NAME_LEN, info.name);
	return info.id;
}

/* Which of ours a program is by its name, whatever build it is from; -1: none. */
static int which_prog(uint32_t id)
{
	char name[PROG_NAME_LEN + 1] = "";
	int fd = bpf_prog_get_fd_by_id(id), which = -1;

	if (fd < 0)
		return -1;
	prog_id(fd, name);
	close(fd);
	/* Only those of tc are asked for, whose names are whole. */
	for (int i = 0; i < SLUICE_BPF_PROG_COUNT; i++)
		if (!strcmp(progs[i].name, name))
			which = i;
	return which;
}

/* Attachments *************************************************************************/

bool sluice_bpf_has_tcx(int prog)
{
	/* There is no such interface; only a kernel that knows the type comes to look for it. */
	int fd = bpf_link_create(prog, INT32_MAX, (enum bpf_attach_type)TCX_INGRESS, NULL);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno == ENODEV;
}

static int attach_error(uint32_t ifindex, int code, struct sluice_err *err)
{
	if (code == ENODEV)
		return sluice_err_set(err, ENODEV, "there is no interface %u", ifindex);
	return sluice_err_errno(err, code, "attach to interface %u", ifindex);
}

static int update_link(int link, int prog)
{
	return bpf_link_update(link, prog, NULL) ? -errno : 0;
}

static int attach_tcx(struct sluice_bpf *bpf, int which, uint32_t ifindex, bool out,
		      struct sluice_err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = TCX_FIRST);
	char name[64], path[SLUICE_BPF_PATH + 64];
	struct link_info info;
	int fd, ret = 0;

	link_pin(ifindex, out, name);
	pin(bpf->dir, name, path);
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		if (!link_info(fd, &info) && info.tcx.ifindex == ifindex) {
			if (info.prog_id != bpf->prog_ids[which])
				ret = update_link(fd, bpf->progs[which]);
			close(fd);
			return ret ? attach_error(ifindex, -ret, err) : 0;
		}
		/* An interface that had this number before. */
		close(fd);
		unlink(path);
	}
	fd = bpf_link_create(bpf->progs[which], (int)ifindex,
			     (enum bpf_attach_type)(out ? TCX_EGRESS : TCX_INGRESS), &opts);
	if (fd < 0)
		return attach_error(ifindex, errno, err);
	if (bpf_obj_pin(fd, path))
		ret = sluice_err_errno(err, errno, "pin %s", path);
	close(fd);
	return ret;
}

static int tc_query(uint32_t ifindex, bool out, uint32_t *id)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = out ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SLUICE_BPF_HANDLE,
		    .priority = SLUICE_BPF_PRIORITY);
	int ret = bpf_tc_query(&hook, &opts);

	*id = ret ? 0 : opts.prog_id;
	return ret;
}

static int attach_clsact(struct sluice_bpf *bpf, int which, uint32_t ifindex, bool out,
			 struct sluice_err *err)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = out ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SLUICE_BPF_HANDLE, .priority = SLUICE_BPF_PRIORITY,
		    .prog_fd = bpf->progs[which], .flags = BPF_TC_F_REPLACE);
	uint32_t id;
	int ret;

	if (!tc_query(ifindex, out, &id) && id == bpf->prog_ids[which])
		return 0;
	ret = bpf_tc_hook_create(&hook);
	if (!ret || ret == -EEXIST)
		ret = bpf_tc_attach(&hook, &opts);
	return ret ? attach_error(ifindex, -ret, err) : 0;
}

/* Is there a link of ours at this side of the interface? */
static bool has_link(const struct sluice_bpf *bpf, uint32_t ifindex, bool out)
{
	char name[64], path[SLUICE_BPF_PATH + 64];
	struct link_info info;
	bool has = false;
	int fd;

	link_pin(ifindex, out, name);
	fd = bpf_obj_get(pin(bpf->dir, name, path));
	if (fd < 0)
		return false;
	has = !link_info(fd, &info) && info.tcx.ifindex == ifindex;
	close(fd);
	return has;
}

static int attach_one(struct sluice_bpf *bpf, int which, uint32_t ifindex, bool out, bool quick,
		      struct sluice_err *err)
{
	uint32_t id;
	int ret;

	forget();
	/* A filter that is there stays until there is time. */
	quick = quick || !tc_query(ifindex, out, &id);
	ret = !bpf->tcx || (quick && !has_link(bpf, ifindex, out)) ?
		      attach_clsact(bpf, which, ifindex, out, err) :
		      attach_tcx(bpf, which, ifindex, out, err);
	forget();
	return ret;
}

static bool detach_clsact(uint32_t ifindex, bool out)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = out ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SLUICE_BPF_HANDLE,
		    .priority = SLUICE_BPF_PRIORITY);
	uint32_t id;
	bool was = !tc_query(ifindex, out, &id) && which_prog(id) >= 0 &&
		   !bpf_tc_detach(&hook, &opts);

	forget();
	return was;
}

/* Both kinds are looked for: a newer kernel may have come, or an older one. */
static bool detach(const char *dir, uint32_t ifindex, bool out)
{
	char name[64], path[SLUICE_BPF_PATH + 64];
	bool was = false;
	int fd;

	link_pin(ifindex, out, name);
	fd = bpf_obj_get(pin(dir, name, path));
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
		was = !unlink(path);
	}
	return detach_clsact(ifindex, out) || was;
}

int sluice_bpf_attach(struct sluice_bpf *bpf, uint32_t ifindex, enum sluice_bpf_role role,
		      bool quick, struct sluice_err *err)
{
	int ret = 0;

	if (role == SLUICE_BPF_ROLE_POD)
		ret = attach_one(bpf, SLUICE_BPF_PROG_TO_POD, ifindex, true, quick, err);
	else
		detach(bpf->dir, ifindex, true);
	if (ret)
		return ret;
	if (role == SLUICE_BPF_ROLE_NONE)
		detach(bpf->dir, ifindex, false);
	else
		ret = attach_one(bpf,
				 role == SLUICE_BPF_ROLE_POD ? SLUICE_BPF_PROG_POD :
							       SLUICE_BPF_PROG_UPLINK,
				 ifindex, false, quick, err);
	return ret;
}

bool sluice_bpf_is_quick(const struct sluice_bpf *bpf, uint32_t ifindex)
{
	uint32_t id;
	bool quick = bpf->tcx && (!tc_query(ifindex, false, &id) || !tc_query(ifindex, true, &id));

	forget();
	return quick;
}

int sluice_bpf_attach_well(struct sluice_bpf *bpf, uint32_t ifindex, struct sluice_err *err)
{
	for (int out = 0; out < 2; out++) {
		uint32_t id;
		int which = tc_query(ifindex, out, &id) ? -1 : which_prog(id), ret;

		if (which < 0)
			continue;
		ret = attach_tcx(bpf, which, ifindex, out, err);
		if (ret)
			return ret;
		detach_clsact(ifindex, out);
	}
	forget();
	return 0;
}

enum sluice_bpf_role sluice_bpf_role(const struct sluice_bpf *bpf, uint32_t ifindex)
{
	char name[64], path[SLUICE_BPF_PATH + 64];
	struct link_info info;
	uint32_t id = 0;
	int fd, which;

	link_pin(ifindex, false, name);
	fd = bpf_obj_get(pin(bpf->dir, name, path));
	if (fd >= 0) {
		if (!link_info(fd, &info) && info.tcx.ifindex == ifindex)
			id = info.prog_id;
		close(fd);
	} else {
		tc_query(ifindex, false, &id);
		forget();
	}
	which = id ? which_prog(id) : -1;
	return which == SLUICE_BPF_PROG_POD    ? SLUICE_BPF_ROLE_POD :
	       which == SLUICE_BPF_PROG_UPLINK ? SLUICE_BPF_ROLE_UPLINK :
						 SLUICE_BPF_ROLE_NONE;
}

static void tidy_one(const char *name, void *arg)
{
	char path[SLUICE_BPF_PATH + 64];
	const struct sluice_bpf *bpf = arg;
	struct link_info info;
	bool out;
	int fd;

	if (!link_ifindex(name, &out))
		return;
	fd = bpf_obj_get(pin(bpf->dir, name, path));
	if (fd < 0)
		return;
	if (!link_info(fd, &info) && !info.tcx.ifindex)
		unlink(path);
	close(fd);
}

void sluice_bpf_tidy(const struct sluice_bpf *bpf)
{
	for_each_pin(bpf->dir, tidy_one, (void *)bpf);
}

/* Cgroups *****************************************************************************/

static int attach_cgroup(struct sluice_bpf *bpf, int which, int cgroup, uint64_t id,
			 struct sluice_err *err)
{
	char path[SLUICE_BPF_PATH + 64];
	struct link_info info;
	int fd, ret = 0;

	pin(bpf->dir, progs[which].link, path);
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		if (!link_info(fd, &info) && info.cgroup.cgroup_id == id) {
			if (info.prog_id != bpf->prog_ids[which])
				ret = update_link(fd, bpf->progs[which]);
			close(fd);
			return ret ? sluice_err_errno(err, -ret, "replace %s", path) : 0;
		}
		/* Another cgroup is asked for now, or that one is gone. */
		bpf_link_detach(fd);
		close(fd);
		unlink(path);
	}
	fd = bpf_link_create(bpf->progs[which], cgroup, progs[which].type, NULL);
	if (fd < 0)
		return sluice_err_errno(err, errno, "attach %s", progs[which].name);
	if (bpf_obj_pin(fd, path))
		ret = sluice_err_errno(err, errno, "pin %s", path);
	close(fd);
	return ret;
}

static int attach_cgroups(struct sluice_bpf *bpf, const char *path, struct sluice_err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		ret = sluice_err_errno(err, errno, "open the cgroup %s", path);
	} else {
		for (int i = 0; i < SLUICE_BPF_PROG_COUNT && !ret; i++)
			if (progs[i].link)
				ret = attach_cgroup(bpf, i, fd, st.st_ino, err);
		if (ret)
			sluice_err_prefix(err, "cgroup %s", path);
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Without a cgroup, or where we may not attach to its root, pods have all they need. */
static int open_cgroup(struct sluice_bpf *bpf, const char *wanted, struct sluice_err *err)
{
	static const char effect[] = "processes of the node itself do not reach services";
	char *root;
	SLUICE_ERR(why);

	if (wanted)
		return attach_cgroups(bpf, wanted, err);
	root = sluice_bpf_cgroup2();
	if (!root)
		sluice_err_set(&why, ENOENT, "cgroup2 is not mounted: %s", effect);
	else if (attach_cgroups(bpf, root, &why))
		sluice_err_set(&why, EPERM, "%s: %s", sluice_err_msg(&why), effect);
	free(root);
	if (sluice_err_is_set(&why))
		bpf->warning = sluice_strdup(sluice_err_msg(&why));
	return 0;
}

/* Loading *****************************************************************************/

static struct bpf_object *open_elf(const struct sluice_bpf_options *options, struct sluice_err *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "sluice");
	struct bpf_object *object;

	object = bpf_object__open_mem(options->elf, options->elf_size, &opts);
	if (!object)
		sluice_err_errno(err, errno, "open the BPF object");
	return object;
}

/* Takes the programs of a loaded object. */
static int take_progs(struct sluice_bpf *bpf, struct bpf_object *object, struct sluice_err *err)
{
	for (int i = 0; i < SLUICE_BPF_PROG_COUNT; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(object, progs[i].name);
		int fd = p ? fcntl(bpf_program__fd(p), F_DUPFD_CLOEXEC, 0) : -1;

		if (fd < 0)
			return sluice_err_set(err, EINVAL, "the BPF object has no program %s",
					      progs[i].name);
		if (bpf->progs[i] >= 0)
			close(bpf->progs[i]);
		bpf->progs[i] = fd;
		bpf->prog_ids[i] = prog_id(fd, NULL);
	}
	return 0;
}

static int load(struct bpf_object *object, struct sluice_err *err)
{
	int ret;

	forget();
	ret = bpf_object__load(object);
	if (ret)
		ret = load_failed(-ret, err);
	forget();
	return ret;
}

/* Starts the sweeper's timer, or gives it the callback of these programs. */
static int start(const struct sluice_bpf *bpf, struct sluice_err *err)
{
	char packet[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));

	if (bpf_prog_test_run_opts(bpf->progs[SLUICE_BPF_PROG_START], &opts))
		return sluice_err_errno(err, errno, "run the program sluice_start");
	if (opts.retval)
		return sluice_err_set(err, EIO,
				      "the program sluice_start did not start its timer (%d)",
				      (int)opts.retval);
	return 0;
}

/* Under another name first: rename() exchanges a pin, and leaves no moment without one. */
static int pin_progs(const struct sluice_bpf *bpf, const char *dir, struct sluice_err *err)
{
	char name[64], path[SLUICE_BPF_PATH + 64], fresh[SLUICE_BPF_PATH + 64];

	for (int i = 0; i < SLUICE_BPF_PROG_COUNT; i++) {
		prog_pin(i, name);
		pin(dir, name, path);
		pin(dir, "prog-new", fresh);
		unlink(fresh);
		if (bpf_obj_pin(bpf->progs[i], fresh) || rename(fresh, path))
			return sluice_err_errno(err, errno, "pin %s", path);
	}
	return 0;
}

static int open_progs(struct sluice_bpf *bpf, struct sluice_err *err)
{
	char name[64], path[SLUICE_BPF_PATH + 64];

	for (int i = 0; i < SLUICE_BPF_PROG_COUNT; i++) {
		prog_pin(i, name);
		bpf->progs[i] = bpf_obj_get(pin(bpf->dir, name, path));
		if (bpf->progs[i] < 0 && errno == ENOENT)
			return half_removed(bpf->dir, name, err);
		if (bpf->progs[i] < 0)
			return sluice_err_errno(err, errno, "%s", path);
		bpf->prog_ids[i] = prog_id(bpf->progs[i], NULL);
	}
	return 0;
}

/* Control *****************************************************************************/

static int map_control(struct sluice_bpf *bpf, struct sluice_err *err)
{
	bpf->control = sluice_bpf_map_memory(bpf->maps[SLUICE_BPF_MAP_CONTROL].fd,
					     sizeof(*bpf->control), true, "control", err);
	return bpf->control ? 0 : -ENOMEM;
}

static int fill_control(struct sluice_bpf *bpf, uint64_t budget, struct sluice_err *err)
{
	struct sluice_bpf_control *c = bpf->control;
	uint32_t added;
	int ret;

	c->netns_cookie = bpf->cookie;
	if (getrandom(c->secret, sizeof(c->secret), 0) != sizeof(c->secret))
		return sluice_err_errno(err, errno, "random numbers");
	c->secret[0] |= 1;
	c->secret[1] |= 1;
	_Static_assert(SLUICE_STATE_COUNT <= sizeof(c->timeouts) / sizeof(c->timeouts[0]),
		       "a timeout for each state");
	for (uint32_t i = 0; i < SLUICE_STATE_COUNT; i++)
		c->timeouts[i] = (uint32_t)(sluice_state_timeout(i) * 1000000000ULL >> 20);
	for (int i = 0; i < 2; i++)
		c->table[i].bucket_mask = sluice_bpf_heads(budget, i) - 1;
	/* Both families begin with a segment, also where the budget is smaller than that. */
	c->budget = UINT64_MAX / 2;
	c->table[0].limit = c->table[1].limit = SLUICE_BPF_SEGMENT;
	ret = sluice_bpf_conns_grow(bpf, &added, err);
	if (ret)
		return ret;
	c->layout = SLUICE_BPF_LAYOUT;
	return sluice_bpf_set_budget(c, budget, err);
}

/*
 * The kernel answers an update of a map of maps after a grace period: user space shall know then that
 * nobody uses the old inner map any more. So does ours, which nobody else uses. (In one by BPF_MAP_UPDATE_BATCH it
 * did not always.)
 */
int sluice_bpf_grace(struct sluice_bpf *bpf, struct sluice_err *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	uint32_t zero = 0;

	if (bpf->grace_inner < 0)
		bpf->grace_inner =
			bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_grace", 4, 4, 1, NULL);
	opts.inner_map_fd = bpf->grace_inner;
	if (bpf->grace_outer < 0)
		bpf->grace_outer =
			bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "sluice_grace", 4, 4, 1, &opts);
	if (bpf->grace_inner < 0 || bpf->grace_outer < 0 ||
	    bpf_map_update_elem(bpf->grace_outer, &zero, &bpf->grace_inner, 0))
		return sluice_err_errno(err, errno, "wait for running programs");
	return 0;
}

/* Removing ****************************************************************************/

struct removal {
	const char *dir;
	struct sluice_bpf_removed *removed;
	bool links; /* this round; the others come after them */
};

static void remove_pin(const char *name, void *arg)
{
	struct removal *r = arg;
	char path[SLUICE_BPF_PATH + 64];
	bool link = !strncmp(name, "link-", 5);
	int fd;

	if (link != r->links)
		return;
	pin(r->dir, name, path);
	if (link) {
		fd = bpf_obj_get(path);
		if (fd >= 0) {
			bpf_link_detach(fd);
			close(fd);
		}
	}
	if (!strncmp(name, "build-", 6)) {
		rmdir(path);
	} else if (!unlink(path)) {
		if (link)
			r->removed->attachments++;
		else if (!strncmp(name, "prog-", 5))
			r->removed->programs++;
		else
			r->removed->maps++;
	}
}

static void remove_filters(const char *dir, struct sluice_bpf_removed *removed)
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *i = all; i && i->if_index; i++)
		for (int out = 0; out < 2; out++)
			removed->attachments += detach(dir, i->if_index, out);
	if (all)
		if_freenameindex(all);
}

static void remove_dir(const char *dir, struct sluice_bpf_removed *removed)
{
	struct removal r = { .dir = dir, .removed = removed };

	for (int links = 1; links >= 0; links--) {
		r.links = links;
		for_each_pin(dir, remove_pin, &r);
	}
	rmdir(dir);
}

/* What somebody left who was killed while he made or removed a directory. */
static void remove_leftovers(uint64_t cookie)
{
	struct sluice_bpf_removed removed = { 0 };
	char path[SLUICE_BPF_PATH];

	place(cookie, "new", path);
	remove_dir(path, &removed);
	place(cookie, "old", path);
	remove_dir(path, &removed);
}

int sluice_bpf_remove(struct sluice_bpf_removed *removed, struct sluice_err *err)
{
	struct sluice_bpf bpf = { .lock = -1 };
	char old[SLUICE_BPF_PATH], lock[64];
	int ret = sluice_bpf_cookie(&bpf.cookie, err);

	*removed = (struct sluice_bpf_removed){ 0 };
	if (ret)
		return ret;
	sluice_bpf_path(bpf.cookie, bpf.dir);
	place(bpf.cookie, "old", old);
	if (access(bpf.dir, F_OK) && access(old, F_OK))
		return 0;
	libbpf_set_print(hear);
	ret = take_lock(&bpf, err);
	if (!ret) {
		remove_leftovers(bpf.cookie);
		/* Now at once: what is left by somebody who is killed on the way is not taken for a whole. */
		if (!rename(bpf.dir, old)) {
			remove_filters(old, removed);
			remove_dir(old, removed);
		}
		if (!access(old, F_OK))
			ret = sluice_err_errno(err, EBUSY, "remove %s", old);
		lock_path(bpf.cookie, lock);
		unlink(lock);
	}
	if (bpf.lock >= 0)
		close(bpf.lock);
	return ret;
}

/* Opening *****************************************************************************/

/* The maps of buckets have as many heads as a budget asks for. */
static int size_buckets(struct bpf_object *object, uint64_t budget, struct sluice_err *err)
{
	for (int i = 0; i < 2; i++) {
		struct bpf_map *map =
			bpf_object__find_map_by_name(object, i ? "buckets6" : "buckets4");

		if (!map ||
		    bpf_map__set_max_entries(map, sluice_bpf_heads(budget, i) / SLUICE_BPF_HEADS))
			return sluice_err_set(err, EINVAL, "the BPF object has no map buckets%d",
					      i ? 6 : 4);
	}
	return 0;
}

int sluice_bpf_try(struct sluice_err *err)
{
	struct sluice_bpf_options o = { 0 };
	libbpf_print_fn_t print = libbpf_set_print(hear);
	struct bpf_object *object;
	int ret;

	o.elf = sluice__elf_bytes(&o.elf_size);
	object = open_elf(&o, err);
	ret = object ? size_buckets(object, 1, err) : -EINVAL;
	if (!ret)
		ret = load(object, err);
	if (object)
		bpf_object__close(object);
	libbpf_set_print(print);
	return ret;
}

static int make(struct sluice_bpf *bpf, struct bpf_object *object,
		const struct sluice_bpf_options *options, struct sluice_err *err)
{
	uint64_t budget = options->budget ? options->budget : sluice_bpf_default_budget();
	char dir[SLUICE_BPF_PATH], name[64], path[SLUICE_BPF_PATH + 64];
	int ret;

	ret = size_buckets(object, budget, err);
	if (!ret)
		ret = load(object, err);
	if (ret)
		return ret;
	bpf->fresh = true;
	memcpy(dir, bpf->dir, sizeof(dir));
	place(bpf->cookie, "new", bpf->dir);
	if (mkdir(bpf->dir, 0700))
		return sluice_err_errno(err, errno, "make the directory %s", bpf->dir);
	ret = pin_maps(bpf->dir, object, err);
	if (!ret)
		ret = open_maps(bpf, err);
	if (!ret)
		ret = take_progs(bpf, object, err);
	if (!ret)
		ret = pin_progs(bpf, bpf->dir, err);
	if (!ret)
		ret = map_control(bpf, err);
	if (!ret)
		ret = fill_control(bpf, budget, err);
	if (!ret)
		ret = start(bpf, err);
	marker(build_of(options), name);
	if (!ret && mkdir(pin(bpf->dir, name, path), 0700))
		ret = sluice_err_errno(err, errno, "make %s", path);
	if (!ret && rename(bpf->dir, dir))
		ret = sluice_err_errno(err, errno, "rename %s to %s", bpf->dir, dir);
	memcpy(bpf->dir, dir, sizeof(dir));
	return ret;
}

struct exchange {
	struct sluice_bpf *bpf;
	struct sluice_err *err;
	int ret;
};

static void exchange_link(const char *name, void *arg)
{
	char path[SLUICE_BPF_PATH + 64];
	struct exchange *x = arg;
	struct link_info info;
	int fd, which = -1;
	bool out;

	if (x->ret || strncmp(name, "link-", 5))
		return;
	fd = bpf_obj_get(pin(x->bpf->dir, name, path));
	if (fd < 0 || link_info(fd, &info)) {
		x->ret = sluice_err_errno(x->err, errno, "%s", path);
		goto close;
	}
	for (int i = 0; i < SLUICE_BPF_PROG_COUNT; i++)
		if (progs[i].link && !strcmp(progs[i].link, name))
			which = info.cgroup.cgroup_id ? i : -1;
	if (link_ifindex(name, &out) && info.tcx.ifindex)
		which = which_prog(info.prog_id);
	if (which >= 0)
		x->ret = update_link(fd, x->bpf->progs[which]);
	/* It may go, or its interface, between one look and the next. */
	if (x->ret == -ENOLINK || x->ret == -ENODEV)
		x->ret = 0;
	if (x->ret)
		sluice_err_errno(x->err, -x->ret, "replace %s", path);
close:
	if (fd >= 0)
		close(fd);
}

static int exchange_filters(struct sluice_bpf *bpf, struct sluice_err *err)
{
	struct if_nameindex *all = if_nameindex();
	int ret = 0;

	for (struct if_nameindex *i = all; i && i->if_index && !ret; i++) {
		for (int out = 0; out < 2 && !ret; out++) {
			uint32_t id;
			int which;

			if (tc_query(i->if_index, out, &id))
				continue;
			which = which_prog(id);
			if (which >= 0)
				ret = attach_clsact(bpf, which, i->if_index, out, err);
			if (ret == -ENODEV)
				ret = 0;
		}
	}
	if (all)
		if_freenameindex(all);
	forget();
	return ret;
}

static void remove_marker(const char *name, void *arg)
{
	char path[SLUICE_BPF_PATH + 64];

	if (!strncmp(name, "build-", 6))
		rmdir(pin(arg, name, path));
}

static int replace(struct sluice_bpf *bpf, struct bpf_object *object,
		   const struct sluice_bpf_options *options, struct sluice_err *err)
{
	struct exchange x = { .bpf = bpf, .err = err };
	char name[64], path[SLUICE_BPF_PATH + 64];
	int ret = reuse_maps(bpf, object, err);

	if (!ret)
		ret = load(object, err);
	if (!ret)
		ret = take_progs(bpf, object, err);
	if (!ret)
		ret = pin_maps(bpf->dir, object, err);
	if (ret)
		return ret;
	/* From here on it is done again from the beginning if it is cut short. */
	for_each_pin(bpf->dir, remove_marker, bpf->dir);
	ret = start(bpf, err);
	if (ret)
		return ret;
	for_each_pin(bpf->dir, exchange_link, &x);
	ret = x.ret;
	if (!ret)
		ret = exchange_filters(bpf, err);
	if (!ret)
		ret = pin_progs(bpf, bpf->dir, err);
	marker(build_of(options), name);
	if (!ret && mkdir(pin(bpf->dir, name, path), 0700))
		ret = sluice_err_errno(err, errno, "make %s", path);
	bpf->replaced = true;
	return ret;
}

static int take(struct sluice_bpf *bpf, struct bpf_object *object,
		const struct sluice_bpf_options *options, struct sluice_err *err)
{
	char name[64], path[SLUICE_BPF_PATH + 64];
	int ret = open_maps(bpf, err);

	if (!ret)
		ret = check_layout(bpf, err);
	if (!ret)
		ret = check_definitions(bpf, object, err);
	if (!ret)
		ret = map_control(bpf, err);
	if (ret)
		return ret;
	marker(build_of(options), name);
	if (!access(pin(bpf->dir, name, path), F_OK))
		return open_progs(bpf, err);
	return replace(bpf, object, options, err);
}

static int open_all(struct sluice_bpf *bpf, const struct sluice_bpf_options *options,
		    struct sluice_err *err)
{
	struct bpf_object *object;
	char *caps;
	int ret;

	caps = sluice_bpf_missing_caps();
	if (caps) {
		ret = sluice_err_set(err, EPERM, "the eBPF data plane needs %s", caps);
		free(caps);
		return ret;
	}
	ret = sluice_bpf_cookie(&bpf->cookie, err);
	if (!ret)
		ret = make_root(err);
	if (!ret)
		ret = take_lock(bpf, err);
	if (ret)
		return ret;
	sluice_bpf_path(bpf->cookie, bpf->dir);
	remove_leftovers(bpf->cookie);
	object = open_elf(options, err);
	if (!object)
		return -err->code;
	ret = access(bpf->dir, F_OK) ? make(bpf, object, options, err) :
				       take(bpf, object, options, err);
	bpf_object__close(object);
	if (ret)
		return ret;
	bpf->tcx = !options->clsact && sluice_bpf_has_tcx(bpf->progs[SLUICE_BPF_PROG_POD]);
	return open_cgroup(bpf, options->cgroup, err);
}

int sluice_bpf_open(struct sluice_bpf *bpf, const struct sluice_bpf_options *options,
		    struct sluice_err *err)
{
	struct sluice_bpf_options o = *options;
	int ret;

	*bpf = (struct sluice_bpf){ .lock = -1, .grace_inner = -1, .grace_outer = -1 };
	for (int i = 0; i < SLUICE_BPF_MAP_COUNT; i++)
		bpf->maps[i].fd = -1;
	for (int i = 0; i < SLUICE_BPF_PROG_COUNT; i++)
		bpf->progs[i] = -1;
	if (!o.elf)
		o.elf = sluice__elf_bytes(&o.elf_size);
	libbpf_set_print(hear);
	ret = open_all(bpf, &o, err);
	forget();
	if (!ret)
		return 0;
	if (bpf->fresh && bpf->lock >= 0)
		remove_leftovers(bpf->cookie);
	sluice_bpf_close(bpf);
	return ret;
}

void sluice_bpf_close(struct sluice_bpf *bpf)
{
	if (!*bpf->dir && bpf->lock <= 0)
		return;
	sluice_bpf_conns_close(bpf);
	if (bpf->control)
		munmap(bpf->control, sluice_bpf_map_pages(sizeof(*bpf->control)));
	bpf->control = NULL;
	for (int i = 0; i < SLUICE_BPF_MAP_COUNT; i++)
		sluice_bpf_map_close(&bpf->maps[i]);
	for (int i = 0; i < SLUICE_BPF_PROG_COUNT; i++) {
		if (bpf->progs[i] >= 0)
			close(bpf->progs[i]);
		bpf->progs[i] = -1;
	}
	if (bpf->grace_outer >= 0)
		close(bpf->grace_outer);
	if (bpf->grace_inner >= 0)
		close(bpf->grace_inner);
	if (bpf->lock >= 0)
		close(bpf->lock);
	bpf->lock = -1;
	free(bpf->warning);
	bpf->warning = NULL;
	bpf->dir[0] = 0;
}
