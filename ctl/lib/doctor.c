// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/doctor.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <glob.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_limits.h"
#include "ctl/lib/bpf_object.h"
#include "ctl/lib/interfaces.h"
#include "ctl/lib/nl.h"

__attribute__((format(printf, 5, 6))) static void find(struct sluice_doctor *d,
						       enum sluice_finding_level level,
						       const char *name, const char *remedy,
						       const char *fmt, ...)
{
	struct sluice_finding *f;
	va_list ap;

	sluice_grow(d->findings, d->n, d->cap);
	f = &d->findings[d->n++];
	*f = (struct sluice_finding){ .level = level, .name = name, .remedy = remedy };
	va_start(ap, fmt);
	if (vasprintf(&f->text, fmt, ap) < 0)
		sluice_alloc_check(NULL);
	va_end(ap);
}

const char *sluice_finding_level_name(enum sluice_finding_level level)
{
	static const char *const names[] = {
		[SLUICE_FINDING_OK] = "ok",
		[SLUICE_FINDING_NOTE] = "note",
		[SLUICE_FINDING_WARNING] = "warning",
		[SLUICE_FINDING_PROBLEM] = "problem",
	};

	return names[level];
}

/* The first bytes of a file, without what is behind the first line; false: it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool good = f && fgets(line, (int)size, f);

	if (f)
		fclose(f);
	if (good)
		line[strcspn(line, "\n")] = 0;
	return good;
}

static bool any_file(const char *pattern)
{
	glob_t found;
	bool any = !glob(pattern, GLOB_NOSORT, NULL, &found);

	globfree(&found);
	return any;
}

/* The module ******************************************************************************/

static void look_for_lockdown(struct sluice_doctor *d)
{
	char line[128], *at;

	if (!read_line("/sys/kernel/security/lockdown", line, sizeof(line))) {
		find(d, SLUICE_FINDING_OK, "lockdown", NULL,
		     "this kernel does not lock itself down");
		return;
	}
	at = strchr(line, '[');
	if (at)
		at[strcspn(at, "]")] = 0;
	if (!at || !strcmp(at, "[none"))
		find(d, SLUICE_FINDING_OK, "lockdown", NULL, "the kernel is not locked down");
	else
		find(d, SLUICE_FINDING_NOTE, "lockdown",
		     "sign the module with a key that the firmware or the machine owner's list (mokutil) "
		     "has; eBPF needs none",
		     "the kernel is locked down (%s): it takes signed modules alone", at + 1);
}

static void look_for_secure_boot(struct sluice_doctor *d)
{
	static const char path[] = "/sys/firmware/efi/efivars/"
				   "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
	unsigned char bytes[5] = { 0 };
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(bytes, 1, sizeof(bytes), f) : 0;

	if (f)
		fclose(f);
	if (n == sizeof(bytes) && bytes[4])
		find(d, SLUICE_FINDING_NOTE, "secure-boot",
		     "enrol the key that DKMS signs with: mokutil --import /var/lib/dkms/mok.pub",
		     "Secure Boot is on: a module that DKMS built has to be signed by a key that is "
		     "enrolled");
	else
		find(d, SLUICE_FINDING_OK, "secure-boot", NULL, "%s",
		     access("/sys/firmware/efi", F_OK) ? "the machine was not booted by UEFI" :
							 "Secure Boot is off");
}

/* Is there a file of the module for this kernel? */
static bool is_installed(const char *release)
{
	char path[256], line[1024];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", release);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, ":")] = 0;
		found = strstr(line, "/sluice.ko");
	}
	if (f)
		fclose(f);
	return found;
}

static void look_for_module(struct sluice_doctor *d, const char *release)
{
	char line[64] = "", pattern[256];
	struct sluice_nl nl;
	bool installed = is_installed(release);

	if (!sluice_nl_open_module(&nl, NULL)) {
		sluice_nl_close(&nl);
		d->module_answers = true;
		find(d, SLUICE_FINDING_OK, "module", NULL, "loaded");
		return;
	}
	if (access("/proc/modules", F_OK)) {
		find(d, SLUICE_FINDING_NOTE, "module", NULL, "this kernel takes no modules");
		return;
	}
	if (read_line("/proc/sys/kernel/modules_disabled", line, sizeof(line)) && *line == '1') {
		find(d, SLUICE_FINDING_NOTE, "module",
		     "load it earlier at boot, before kernel.modules_disabled is set",
		     "not loaded, and loading modules has been switched off until the next boot");
		return;
	}
	if (installed) {
		d->module_can_load = true;
		find(d, SLUICE_FINDING_NOTE, "module", "modprobe sluice",
		     "not loaded, but installed for this kernel");
		return;
	}
	snprintf(pattern, sizeof(pattern), "/var/lib/dkms/sluice/*/%s", release);
	if (any_file(pattern))
		find(d, SLUICE_FINDING_NOTE, "module", "dkms install sluice",
		     "built by DKMS for this kernel, but not installed");
	else if (any_file("/var/lib/dkms/sluice/*"))
		find(d, SLUICE_FINDING_NOTE, "module",
		     "install this kernel's headers, then: dkms autoinstall",
		     "known to DKMS, but not built for this kernel");
	else
		find(d, SLUICE_FINDING_NOTE, "module", "make dkms",
		     "neither loaded nor installed for this kernel");
}

/* eBPF ************************************************************************************/

static void look_for_rights(struct sluice_doctor *d)
{
	char *caps = sluice_bpf_missing_caps();

	if (caps)
		find(d, SLUICE_FINDING_PROBLEM, "capabilities",
		     "run as root in the initial user namespace", "we lack %s", caps);
	else
		find(d, SLUICE_FINDING_OK, "capabilities", NULL,
		     "CAP_SYS_ADMIN and CAP_NET_ADMIN are there");
	free(caps);
}

/* A program that returns 0; a file descriptor, or a negative errno. */
static int load_nothing(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "sluice_doctor", "GPL", insns, 2, NULL);

	return fd < 0 ? -errno : fd;
}

static void look_for_helper(struct sluice_doctor *d, const char *name, enum bpf_prog_type type,
			    enum bpf_func_id id, const char *since)
{
	if (libbpf_probe_bpf_helper(type, id, NULL) > 0)
		find(d, SLUICE_FINDING_OK, name, NULL, "there");
	else
		find(d, SLUICE_FINDING_PROBLEM, name, "a newer kernel, or the module",
		     "not there: it came with Linux %s", since);
}

static void look_for_features(struct sluice_doctor *d)
{
	static const struct {
		const char *name;
		enum bpf_prog_type type;
		enum bpf_func_id id;
		const char *since;
	} helpers[] = {
		{ "bpf-loop", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_loop, "5.17" },
		{ "timers", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_timer_init, "5.15" },
		{ "ring-buffers", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_ringbuf_reserve, "5.8" },
		{ "redirect-peer", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_redirect_peer, "5.10" },
		{ "redirect-neighbour", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_redirect_neigh, "5.10" },
		{ "namespace-cookie", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_netns_cookie,
		  "5.7" },
	};
	int fd = load_nothing();

	if (fd < 0) {
		find(d, SLUICE_FINDING_PROBLEM, "bpf",
		     fd == -EPERM ? "run as root in the initial user namespace" :
				    "a kernel with CONFIG_BPF_SYSCALL, or the module",
		     "the kernel loads no program: %s", strerror(-fd));
		return;
	}
	find(d, SLUICE_FINDING_OK, "bpf", NULL, "the kernel loads programs");
	d->tcx = sluice_bpf_has_tcx(fd);
	close(fd);
	if (d->tcx)
		find(d, SLUICE_FINDING_OK, "tcx", NULL, "there");
	else
		find(d, SLUICE_FINDING_NOTE, "tcx", NULL,
		     "not there (it came with Linux 6.6): clsact is used instead");
	for (size_t i = 0; i < sizeof(helpers) / sizeof(helpers[0]); i++)
		look_for_helper(d, helpers[i].name, helpers[i].type, helpers[i].id,
				helpers[i].since);
	if (access("/sys/kernel/btf/vmlinux", F_OK))
		find(d, SLUICE_FINDING_NOTE, "btf", NULL,
		     "the kernel does not describe its types; Sluice's programs do not ask for them");
	else
		find(d, SLUICE_FINDING_OK, "btf", NULL, "there");
}

static void look_for_mounts(struct sluice_doctor *d)
{
	char *cgroup = sluice_bpf_cgroup2();
	SLUICE_ERR(err);

	d->cgroup2 = cgroup;
	if (cgroup)
		find(d, SLUICE_FINDING_OK, "cgroup2", NULL, "mounted at %s", cgroup);
	else
		find(d, SLUICE_FINDING_WARNING, "cgroup2",
		     "mount -t cgroup2 none /sys/fs/cgroup/unified",
		     "not mounted: with eBPF, processes of the node do not reach services");
	free(cgroup);
	if (sluice_bpf_pins_possible(&err))
		find(d, SLUICE_FINDING_PROBLEM, "bpffs", "mount -t bpf bpf /sys/fs/bpf", "%s",
		     sluice_err_msg(&err));
	else
		find(d, SLUICE_FINDING_OK, "bpffs", NULL, "pins go to %s", sluice_bpf_root());
}

static void look_for_jit(struct sluice_doctor *d)
{
	char line[32];

	d->jit = !read_line("/proc/sys/net/core/bpf_jit_enable", line, sizeof(line)) ||
		 *line != '0';
	if (d->jit)
		find(d, SLUICE_FINDING_OK, "jit", NULL, "on");
	else
		find(d, SLUICE_FINDING_WARNING, "jit", "sysctl net.core.bpf_jit_enable=1",
		     "off: programs are interpreted");
}

/* All of ours, into a kernel that verifies them, and away again: the one probe that cannot be wrong. */
static void try_programs(struct sluice_doctor *d)
{
	SLUICE_ERR(err);

	if (!sluice_bpf_try(&err)) {
		d->bpf_works = true;
		find(d, SLUICE_FINDING_OK, "programs", NULL,
		     "the kernel takes all of Sluice's programs");
	} else {
		find(d, SLUICE_FINDING_PROBLEM, "programs", "another kernel, or the module", "%s",
		     sluice_err_msg(&err));
	}
}

/* The network *****************************************************************************/

static void look_for_forwarding(struct sluice_doctor *d)
{
	static const struct {
		const char *family, *path;
	} families[] = {
		{ "IPv4", "/proc/sys/net/ipv4/ip_forward" },
		{ "IPv6", "/proc/sys/net/ipv6/conf/all/forwarding" },
	};
	const char *off = NULL;
	bool both = false;
	char line[32];

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		if (!read_line(families[i].path, line, sizeof(line)) || *line != '0')
			continue;
		both = off;
		off = families[i].family;
	}
	if (off)
		find(d, SLUICE_FINDING_WARNING, "forwarding",
		     "sysctl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
		     "off for %s: what the kernel carries for pods is dropped; with eBPF, all that "
		     "leaves by an uplink is",
		     both ? "IPv4 and IPv6" : off);
	else
		find(d, SLUICE_FINDING_OK, "forwarding", NULL, "on");
}

/* As sluiced finds them, without --uplink. */
static void look_for_uplinks(struct sluice_doctor *d)
{
	struct sluice_interfaces uplinks = { 0 };
	char bare[8 * IF_NAMESIZE] = "", name[IF_NAMESIZE];

	if (!sluice_interfaces_of_default_routes(&uplinks) || !uplinks.n) {
		find(d, SLUICE_FINDING_NOTE, "uplinks", "sluiced --uplink",
		     "no default route tells which interfaces lead to other nodes");
	} else {
		for (size_t i = 0; i < uplinks.n; i++)
			if (!sluice_interface_has_frames(uplinks.v[i]) &&
			    if_indextoname(uplinks.v[i], name) &&
			    strlen(bare) + strlen(name) + 2 < sizeof(bare))
				sprintf(bare + strlen(bare), " %s", name);
		if (*bare)
			find(d, SLUICE_FINDING_WARNING, "uplinks",
			     "the module, or another --uplink",
			     "without Ethernet frames, which eBPF does not take:%s", bare);
		else
			find(d, SLUICE_FINDING_OK, "uplinks", NULL, "%zu, of Ethernet", uplinks.n);
	}
	free(uplinks.v);
}

/* Others **********************************************************************************/

struct chains {
	bool kube_proxy;
	bool calico;
};

static void note_chain(struct chains *c, const char *table, const char *chain)
{
	c->kube_proxy |= !strcmp(chain, "KUBE-SERVICES") || !strcmp(table, "kube-proxy");
	c->calico |= !strncmp(chain, "cali-", 5);
}

static int on_chain(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	struct nlattr *table = nlmsg_find_attr(hdr, sizeof(struct nfgenmsg), NFTA_CHAIN_TABLE);
	struct nlattr *chain = nlmsg_find_attr(hdr, sizeof(struct nfgenmsg), NFTA_CHAIN_NAME);

	if (table && chain)
		note_chain(arg, nla_get_string(table), nla_get_string(chain));
	return NL_OK;
}

/* nf_tables, and iptables over it; the older iptables is asked by its own program, where its table is there. */
static void list_chains(struct chains *c)
{
	struct nfgenmsg request = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
	struct nl_sock *sock = nl_socket_alloc();
	char line[256];
	FILE *f;

	if (sock && !nl_connect(sock, NETLINK_NETFILTER)) {
		nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_chain, c);
		if (nl_send_simple(sock, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_DUMP,
				   &request, sizeof(request)) >= 0)
			nl_recvmsgs_default(sock);
	}
	if (sock)
		nl_socket_free(sock);
	if (!read_line("/proc/net/ip_tables_names", line, sizeof(line)))
		return;
	f = popen("iptables-legacy-save -t nat 2>/dev/null", "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \n")] = 0;
		if (*line == ':')
			note_chain(c, "nat", line + 1);
	}
	if (f)
		pclose(f);
}

/* Programs of others, by how they name them. */
static void list_programs(bool *cilium, bool *calico)
{
	struct bpf_prog_info info;
	uint32_t id = 0, len;
	int fd;

	while (!bpf_prog_get_next_id(id, &id)) {
		fd = bpf_prog_get_fd_by_id(id);
		if (fd < 0)
			continue;
		memset(&info, 0, sizeof(info));
		len = sizeof(info);
		if (!bpf_obj_get_info_by_fd(fd, &info, &len)) {
			*cilium |= !strncmp(info.name, "cil_", 4);
			*calico |= !strncmp(info.name, "cali_", 5) ||
				   !strncmp(info.name, "calico_", 7);
		}
		close(fd);
	}
}

static void look_for_others(struct sluice_doctor *d)
{
	struct chains chains = { 0 };
	bool cilium = any_file("/sys/fs/bpf/tc/globals/cilium_*") || any_file("/sys/fs/bpf/cilium");
	bool calico = any_file("/sys/fs/bpf/tc/globals/cali_*"), any = false;
	char line[64];

	list_chains(&chains);
	list_programs(&cilium, &calico);
	if (chains.kube_proxy) {
		any = true;
		find(d, SLUICE_FINDING_WARNING, "kube-proxy",
		     "do not run it on this node; its chains go with kube-proxy --cleanup",
		     "its chains are here: the node's own packets to services are translated by both");
	}
	if (cilium) {
		any = true;
		find(d, SLUICE_FINDING_WARNING, "cilium",
		     "remove it from this node: cilium cleanup",
		     "its programs or maps are here: pods that it attached are its own");
	}
	if (calico || chains.calico) {
		any = true;
		find(d, SLUICE_FINDING_WARNING, "calico",
		     "remove it from this node, its chains and programs included",
		     "its chains or programs are here: they decide about the same packets");
	}
	if (read_line("/proc/sys/net/netfilter/nf_conntrack_count", line, sizeof(line)) &&
	    strcmp(line, "0")) {
		any = true;
		find(d, SLUICE_FINDING_NOTE, "nf-conntrack",
		     "nothing has to be done; without rules that ask for it, it costs nothing",
		     "the kernel's own connection tracking follows %s connections here", line);
	}
	if (!any)
		find(d, SLUICE_FINDING_OK, "others", NULL,
		     "nobody else handles pods' packets here");
}

static void look_for_pins(struct sluice_doctor *d)
{
	char path[SLUICE_BPF_PATH];
	uint64_t cookie;

	if (!sluice_bpf_is_there() || sluice_bpf_cookie(&cookie, NULL))
		return;
	sluice_bpf_path(cookie, path);
	if (d->module_answers)
		find(d, SLUICE_FINDING_WARNING, "pins",
		     "sluicectl bpf remove, or a sluiced that chooses the module does",
		     "the eBPF variant is attached in this network namespace, beside the module (%s)",
		     path);
	else
		find(d, SLUICE_FINDING_OK, "pins", NULL,
		     "the eBPF variant is attached in this network namespace (%s)", path);
}

void sluice_doctor_look(struct sluice_doctor *d)
{
	struct utsname name;
	libbpf_print_fn_t print = libbpf_set_print(NULL);

	*d = (struct sluice_doctor){ 0 };
	uname(&name);
	find(d, SLUICE_FINDING_OK, "kernel", NULL, "%s %s", name.release, name.machine);
	look_for_rights(d);
	look_for_module(d, name.release);
	look_for_secure_boot(d);
	look_for_lockdown(d);
	look_for_features(d);
	look_for_mounts(d);
	look_for_jit(d);
	try_programs(d);
	look_for_pins(d);
	look_for_forwarding(d);
	look_for_uplinks(d);
	look_for_others(d);
	libbpf_set_print(print);
}

void sluice_doctor_free(struct sluice_doctor *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->findings[i].text);
	free(d->findings);
	*d = (struct sluice_doctor){ 0 };
}

const char *sluice_doctor_choice(const struct sluice_doctor *d)
{
	return d->module_answers ? "module" : d->bpf_works ? "bpf" : NULL;
}

static bool holds(const struct sluice_doctor *d, enum sluice_bpf_where where)
{
	switch (where) {
	case SLUICE_BPF_ALWAYS:
		return true;
	case SLUICE_BPF_WITHOUT_TCX:
		return !d->tcx;
	case SLUICE_BPF_WITHOUT_CGROUP2:
		return !d->cgroup2;
	case SLUICE_BPF_WITHOUT_JIT:
		return !d->jit;
	}
	return true;
}

bool sluice_doctor_limit(const struct sluice_doctor *d, size_t i, struct sluice_bpf_limit *limit)
{
	static const struct {
		const char *what;
		const char *effect;
		enum sluice_bpf_where where;
	} limits[] = {
#define X(what, effect, where) { what, effect, where },
		SLUICE_BPF_LIMITS(X)
#undef X
	};

	if (i >= sizeof(limits) / sizeof(limits[0]))
		return false;
	*limit = (struct sluice_bpf_limit){ limits[i].what, limits[i].effect,
					    holds(d, limits[i].where) };
	return true;
}
