// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/bpf_answer.h"

#include <bpf/bpf.h>
#include <ifaddrs.h>
#include <linux/genetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_answer_internal.h"

/* The longest answer: a service, an attribute of 64 KiB. */
#define ANSWER_BYTES (72U << 10)

/* Elements that one system call copies; doubled where a chain of a hash map is longer. */
#define BATCH 256

/* A map of another layout than this build's is not read: sizes tell, beside control.layout. */
static const struct layout {
	size_t key;
	size_t value;
	bool locked; /* its values hold a spin lock */
} layouts[SLUICE_BPF_MAP_COUNT] = {
#define MAP(id, k, v, locked) [SLUICE_BPF_MAP_##id] = { sizeof(k), sizeof(v), locked }
	MAP(CONTROL, uint32_t, struct sluice_bpf_control, false),
	MAP(SERVICES, struct sluice_service_key, struct sluice_bpf_service, true),
	MAP(VIPS, struct sluice_bpf_addr_key, struct sluice_bpf_number, true),
	MAP(BACKENDS, struct sluice_bpf_backend_key, struct sluice_bpf_backend, false),
	MAP(BACKEND_REFS, struct sluice_bpf_backend_ref, uint32_t, false),
	MAP(ADDRS, struct sluice_bpf_addr_key, struct sluice_bpf_number, true),
	MAP(HOSTS, struct sluice_bpf_addr_key, struct sluice_bpf_number, true),
	MAP(PREFIXES4, struct sluice_bpf_prefix4, struct sluice_bpf_class, false),
	MAP(PREFIXES6, struct sluice_bpf_prefix6, struct sluice_bpf_class, false),
	MAP(ENDPOINTS, uint32_t, struct sluice_bpf_endpoint, true),
	MAP(UPLINKS, uint32_t, uint32_t, false),
	MAP(RULESETS, uint32_t, uint32_t, false),
	MAP(SERVICE_INFO, struct sluice_service_key, struct sluice_bpf_service_info, false),
	MAP(PEER_INFO, struct sluice_bpf_peer_key, struct sluice_bpf_peer_info, false),
	MAP(RULE_INFO, uint32_t, struct sluice_bpf_rule_info, false),
	MAP(RULESET_INFO, uint32_t, struct sluice_bpf_ruleset_info, false),
	MAP(ENDPOINT_INFO, uint32_t, struct sluice_bpf_endpoint_info, false),
	MAP(CONNS4, uint32_t, uint32_t, false),
	MAP(CONNS6, uint32_t, uint32_t, false),
	MAP(BUCKETS4, uint32_t, struct sluice_bpf_buckets, false),
	MAP(BUCKETS6, uint32_t, struct sluice_bpf_buckets, false),
	MAP(STATS, uint32_t, struct sluice_bpf_stats, false),
	MAP(MONITORS, uint32_t, uint32_t, false),
	MAP(MONITOR_UNTIL, uint32_t, struct sluice_bpf_monitor, false),
	MAP(SOCKETS, struct sluice_bpf_socket_key, struct sluice_bpf_socket, false),
#undef MAP
};

static int map_error(const struct sluice_bpf_map *map, struct sluice_err *err)
{
	return sluice_err_errno(err, errno, "map %s", map->name);
}

const struct sluice_bpf_map *sluice_bpf_answer_map(struct sluice_bpf_answerer *a,
						   enum sluice_bpf_which_map id,
						   struct sluice_err *err)
{
	struct sluice_bpf_map *map = &a->maps[id];
	const struct layout *layout = &layouts[id];
	int ret;
	SLUICE_ERR(why);

	if (map->fd >= 0)
		return map;
	ret = sluice_bpf_map_open(map, a->dir, sluice_bpf_map_name(id), &why);
	if (ret == -ENOENT) {
		sluice_err_set(err, EPROTO,
			       "map %s/%s is missing, others are there: somebody removed it; start "
			       "sluiced again, which says what to do",
			       a->dir, map->name);
		return NULL;
	}
	if (ret == -EPERM)
		sluice_err_set(err, EPERM, "%s (it takes root, or CAP_NET_ADMIN and CAP_SYS_ADMIN)",
			       sluice_err_msg(&why));
	else if (ret)
		sluice_err_move(err, &why);
	if (ret)
		return NULL;
	if (map->key_size == layout->key && map->value_size == layout->value)
		return map;
	sluice_err_set(
		err, EPROTO,
		"map %s/%s is of another layout: its keys and values take %u and %u bytes, here "
		"they are %zu and %zu; use the sluicectl and sluiced of one version",
		a->dir, map->name, map->key_size, map->value_size, layout->key, layout->value);
	sluice_bpf_map_close(map);
	return NULL;
}

int sluice_bpf_answer_find(struct sluice_bpf_answerer *a, enum sluice_bpf_which_map id,
			   const void *key, void *value, struct sluice_err *err)
{
	const struct sluice_bpf_map *map = sluice_bpf_answer_map(a, id, err);

	if (!map)
		return -EPROTO;
	if (!bpf_map_lookup_elem_flags(map->fd, key, value, layouts[id].locked ? BPF_F_LOCK : 0))
		return 0;
	return errno == ENOENT ? -ENOENT : map_error(map, err);
}

int sluice_bpf_answer_each(struct sluice_bpf_request *r, enum sluice_bpf_which_map id,
			   int (*each)(struct sluice_bpf_request *r, const void *key,
				       const void *value, void *arg),
			   void *arg)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = layouts[id].locked ? BPF_F_LOCK : 0);
	const struct sluice_bpf_map *map = sluice_bpf_answer_map(r->a, id, r->err);
	uint32_t room = BATCH, n, in, out;
	char *keys = NULL, *values = NULL;
	bool first = true, more = true;
	int ret = 0;

	if (!map)
		return -EPROTO;
	while (more && !ret) {
		if (!keys) {
			keys = sluice_realloc(NULL, room, map->key_size);
			values = sluice_realloc(NULL, room, map->value_size);
		}
		n = room;
		if (bpf_map_lookup_batch(map->fd, first ? NULL : &in, &out, keys, values, &n,
					 &opts)) {
			if (errno == ENOSPC) { /* one chain is longer than that */
				free(keys);
				free(values);
				keys = values = NULL;
				room *= 2;
				continue;
			}
			if (errno != ENOENT) {
				ret = map_error(map, r->err);
				break;
			}
			more = false;
		}
		for (uint32_t i = 0; i < n && !ret; i++)
			ret = each(r, keys + i * map->key_size, values + i * map->value_size, arg);
		in = out;
		first = false;
	}
	free(keys);
	free(values);
	return ret;
}

int sluice_bpf_answer_inner(struct sluice_bpf_answerer *a, enum sluice_bpf_which_map id,
			    uint32_t place, struct sluice_err *err)
{
	const struct sluice_bpf_map *map = sluice_bpf_answer_map(a, id, err);
	int fd;

	if (!map)
		return -EPROTO;
	fd = sluice_bpf_map_inner(map, place, err);
	if (fd == -ENOENT)
		sluice_err_clear(err);
	return fd;
}

void *sluice_bpf_answer_memory(struct sluice_bpf_answerer *a, enum sluice_bpf_which_map id,
			       size_t size, bool write, struct sluice_err *err)
{
	const struct sluice_bpf_map *map = sluice_bpf_answer_map(a, id, err);

	return map ? sluice_bpf_map_memory(map->fd, size, write, map->name, err) : NULL;
}

uint32_t sluice_bpf_answer_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)(((uint64_t)t.tv_sec * 1000000000 + t.tv_nsec) >> 20);
}

int sluice_bpf_answer_number(struct sluice_bpf_request *r, enum sluice_bpf_which_map id,
			     const struct sluice_addr *addr, uint8_t family, uint32_t *value)
{
	struct sluice_bpf_addr_key key = { .addr = *addr, .family = family };
	struct sluice_bpf_number number;
	int version, ret = sluice_bpf_answer_find(r->a, id, &key, &number, r->err);

	*value = SLUICE_BPF_ABSENT;
	if (ret == -ENOENT)
		return 0;
	if (ret)
		return ret;
	version = sluice_bpf_version(&number.since, r->revision);
	if (version >= 0)
		*value = number.v[version];
	return 0;
}

int sluice_bpf_node_addrs_load(struct sluice_bpf_node_addrs *addrs, struct sluice_err *err)
{
	struct ifaddrs *all, *i;
	size_t cap = 0;

	*addrs = (struct sluice_bpf_node_addrs){ 0 };
	if (getifaddrs(&all))
		return sluice_err_errno(err, errno, "list the node's addresses");
	for (i = all; i; i = i->ifa_next) {
		struct sluice_dp_addr addr = { 0 };

		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET) {
			addr.family = SLUICE_IPV4;
			addr.addr.w[0] = ((const struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr;
		} else if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6) {
			addr.family = SLUICE_IPV6;
			memcpy(&addr.addr, &((const struct sockaddr_in6 *)i->ifa_addr)->sin6_addr,
			       sizeof(addr.addr));
		} else {
			continue;
		}
		sluice_grow(addrs->v, addrs->n, cap);
		addrs->v[addrs->n++] = addr;
	}
	freeifaddrs(all);
	return 0;
}

bool sluice_bpf_node_has(const struct sluice_bpf_node_addrs *addrs, const struct sluice_addr *addr,
			 uint8_t family)
{
	for (size_t i = 0; i < addrs->n; i++)
		if (addrs->v[i].family == family && sluice_addr_equal(&addrs->v[i].addr, addr))
			return true;
	return false;
}

void sluice_bpf_node_addrs_clear(struct sluice_bpf_node_addrs *addrs)
{
	free(addrs->v);
	*addrs = (struct sluice_bpf_node_addrs){ 0 };
}

/* Opening ********************************************************************************/

static int open_control(struct sluice_bpf_answerer *a, struct sluice_err *err)
{
	a->control = sluice_bpf_answer_memory(a, SLUICE_BPF_MAP_CONTROL, sizeof(*a->control), false,
					      err);
	if (!a->control)
		return -EPROTO;
	if (a->control->layout == SLUICE_BPF_LAYOUT)
		return 0;
	return sluice_err_set(
		err, EPROTO,
		"the maps in %s are of layout %u, this program knows layout %u: use the "
		"sluicectl and sluiced of one version",
		a->dir, a->control->layout, SLUICE_BPF_LAYOUT);
}

int sluice_bpf_answer_open(struct sluice_bpf_answerer **answerer, struct sluice_err *err)
{
	struct sluice_bpf_answerer *a;
	char dir[SLUICE_BPF_PATH];
	uint64_t cookie;
	int ret;

	*answerer = NULL;
	if (sluice_bpf_cookie(&cookie, NULL)) /* 5.13 and older give none: nor maps of ours */
		return 0;
	sluice_bpf_path(cookie, dir);
	if (access(dir, F_OK)) {
		if (errno == EACCES)
			return sluice_err_errno(err, EACCES, "%s", dir);
		return 0;
	}

	a = sluice_zalloc(sizeof(*a));
	memcpy(a->dir, dir, sizeof(dir));
	for (size_t i = 0; i < SLUICE_BPF_MAP_COUNT; i++)
		a->maps[i].fd = -1;
	a->msg = nlmsg_alloc_size(NLMSG_HDRLEN + GENL_HDRLEN + ANSWER_BYTES);
	ret = a->msg ? open_control(a, err) : sluice_err_set(err, ENOMEM, "out of memory");
	if (ret) {
		sluice_bpf_answer_close(a);
		return err ? -err->code : ret;
	}
	*answerer = a;
	return 0;
}

void sluice_bpf_answer_close(struct sluice_bpf_answerer *a)
{
	if (!a)
		return;
	sluice_bpf_answer_unsubscribe(a);
	sluice_bpf_answer_close_tables(a);
	if (a->control)
		munmap((void *)a->control, sluice_bpf_map_pages(sizeof(*a->control)));
	for (size_t i = 0; i < SLUICE_BPF_MAP_COUNT; i++)
		sluice_bpf_map_close(&a->maps[i]);
	nlmsg_free(a->msg);
	free(a);
}

/* Answering ******************************************************************************/

struct nl_msg *sluice_bpf_answer_start(struct sluice_bpf_answerer *a)
{
	nlmsg_hdr(a->msg)->nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	return a->msg;
}

int sluice_bpf_answer_send(struct sluice_bpf_request *r, bool good)
{
	struct nlmsghdr *hdr = nlmsg_hdr(r->a->msg);
	struct nlattr *attrs[SLUICE_A_MAX + 1];

	if (!good)
		return sluice_err_set(r->err, EMSGSIZE, "an object is too large for an answer");
	if (!r->handle)
		return 0;
	if (nla_parse(attrs, SLUICE_A_MAX, (void *)((char *)nlmsg_data(hdr) + GENL_HDRLEN),
		      nlmsg_datalen(hdr) - GENL_HDRLEN, NULL))
		return sluice_err_set(r->err, ENOMEM, "out of memory");
	return r->handle(attrs, r->arg, r->err);
}

bool sluice_bpf_answer_outdated(const struct sluice_bpf_request *r)
{
	return __atomic_load_n(&r->a->control->revision, __ATOMIC_ACQUIRE) != r->revision;
}

int sluice_bpf_answer_refuse(struct sluice_bpf_request *r, const struct nlattr *attr, int code,
			     const char *why)
{
	return sluice_nl_refuse(r->hdr, attr, code, why, r->err);
}

static int refuse_writing(struct sluice_bpf_request *r)
{
	return sluice_bpf_answer_refuse(
		r, NULL, EOPNOTSUPP,
		"the eBPF data plane runs here: its state is written to its maps, by sluiced alone");
}

static int (*const answers[SLUICE_CMD_MAX + 1])(struct sluice_bpf_request *r) = {
	[SLUICE_CMD_GET_INFO] = sluice_bpf_answer_info,
	[SLUICE_CMD_BEGIN] = refuse_writing,
	[SLUICE_CMD_UPDATE] = refuse_writing,
	[SLUICE_CMD_DELETE] = refuse_writing,
	[SLUICE_CMD_COMMIT] = refuse_writing,
	[SLUICE_CMD_ABORT] = refuse_writing,
	[SLUICE_CMD_GET_SERVICE] = sluice_bpf_answer_services,
	[SLUICE_CMD_GET_PEER] = sluice_bpf_answer_peers,
	[SLUICE_CMD_GET_RULE] = sluice_bpf_answer_rules,
	[SLUICE_CMD_GET_RULESET] = sluice_bpf_answer_rulesets,
	[SLUICE_CMD_GET_ENDPOINT] = sluice_bpf_answer_endpoints,
	[SLUICE_CMD_GET_UPLINK] = sluice_bpf_answer_uplinks,
	[SLUICE_CMD_GET_CONN] = sluice_bpf_answer_conns,
	[SLUICE_CMD_FLUSH_CONN] = sluice_bpf_answer_flush,
	[SLUICE_CMD_SET_CONN] = sluice_bpf_answer_restore,
	[SLUICE_CMD_GET_STATS] = sluice_bpf_answer_stats,
	[SLUICE_CMD_SET_CONFIG] = sluice_bpf_answer_config,
	[SLUICE_CMD_TRACE] = sluice_bpf_answer_trace,
};

int sluice_bpf_answer(struct sluice_bpf_answerer *a, const struct nlmsghdr *request,
		      sluice_nl_handler handle, void *arg, bool *interrupted,
		      struct sluice_err *err)
{
	const struct genlmsghdr *genl = nlmsg_data(request);
	struct sluice_bpf_request r = {
		.a = a,
		.hdr = request,
		.revision = __atomic_load_n(&a->control->revision, __ATOMIC_ACQUIRE),
		.handle = handle,
		.arg = arg,
		.err = err,
	};
	int ret;

	if (nla_parse(r.attrs, SLUICE_A_MAX, (void *)((char *)genl + GENL_HDRLEN),
		      nlmsg_datalen(request) - GENL_HDRLEN, NULL))
		return sluice_err_set(err, ENOMEM, "out of memory");
	if (genl->cmd > SLUICE_CMD_MAX || !answers[genl->cmd])
		return sluice_bpf_answer_refuse(&r, NULL, EOPNOTSUPP, "there is no such command");
	ret = answers[genl->cmd](&r);
	if (sluice_bpf_answer_outdated(&r))
		*interrupted = true;
	return ret > 0 ? 0 : ret;
}
