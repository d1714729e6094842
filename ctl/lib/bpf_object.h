/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The eBPF variant's programs and maps in the kernel: found, made, replaced, attached, removed.
 *
 * Theory of operation
 * -------------------
 * What is pinned is the state: <root>/net-<cookie of the network namespace>/ holds
 *
 *	<map>			every map under its name
 *	prog-<program>		every program
 *	link-<ifindex>-in|out	its attachments by tcx; where the kernel has none, a clsact filter with handle
 *				SLUICE_BPF_HANDLE stands instead, which needs no pin
 *	link-cgroup-<hook>	its attachments to a cgroup
 *	build-<hash>		a directory: the object file that the programs are from
 *
 * One process at a time may write, the one that holds the lock on /run/sluice/bpf-<cookie>.lock; its pid
 * stands in that file. When it goes, nothing on the wire changes.
 *
 * Opening finds one of these:
 *
 *	nothing		Everything is made under new-<cookie>, which becomes net-<cookie> by one rename(): half a
 *			directory is never ours.
 *	our build	Programs and attachments are taken as they are.
 *	another build	The programs are loaded with the maps that are there, and verified, before
 *			anything changes. Then the timer is started with the new callback, each attachment is
 *			given the new program by one atomic exchange, the pins are exchanged, and at last
 *			build-<hash>. Cut short anywhere, it is found to be another build again, and done again.
 *	anything else	Refused: another SLUICE_BPF_LAYOUT, a map whose definition differs, a pin that is missing.
 *			What is attached goes on with what it has.
 *
 * The names of pins have no dots: bpffs keeps those for itself.
 *
 * One thread; libbpf's messages are caught by a hook that belongs to the whole process.
 */
#ifndef SLUICE_CTL_LIB_BPF_OBJECT_H
#define SLUICE_CTL_LIB_BPF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/layout.h"
#include "ctl/lib/bpf_map.h"
#include "ctl/lib/err.h"

/* X(symbol, name, pin of its cgroup link or NULL, enum bpf_attach_type) */
#define SLUICE_BPF_PROGS(X)                                                            \
	X(POD, sluice_pod, NULL, 0)                                                    \
	X(UPLINK, sluice_uplink, NULL, 0)                                              \
	X(TO_POD, sluice_to_pod, NULL, 0)                                              \
	X(START, sluice_start, NULL, 0)                                                \
	X(CONNECT4, sluice_connect4, "link-cgroup-connect4", BPF_CGROUP_INET4_CONNECT) \
	X(CONNECT6, sluice_connect6, "link-cgroup-connect6", BPF_CGROUP_INET6_CONNECT) \
	X(SENDMSG4, sluice_sendmsg4, "link-cgroup-sendmsg4", BPF_CGROUP_UDP4_SENDMSG)  \
	X(SENDMSG6, sluice_sendmsg6, "link-cgroup-sendmsg6", BPF_CGROUP_UDP6_SENDMSG)  \
	X(RECVMSG4, sluice_recvmsg4, "link-cgroup-recvmsg4", BPF_CGROUP_UDP4_RECVMSG)  \
	X(RECVMSG6, sluice_recvmsg6, "link-cgroup-recvmsg6", BPF_CGROUP_UDP6_RECVMSG)  \
	X(GETPEERNAME4, sluice_getpeername4, "link-cgroup-getpeername4",               \
	  BPF_CGROUP_INET4_GETPEERNAME)                                                \
	X(GETPEERNAME6, sluice_getpeername6, "link-cgroup-getpeername6",               \
	  BPF_CGROUP_INET6_GETPEERNAME)

enum sluice_bpf_prog_id {
#define X(sym, name, link, type) SLUICE_BPF_PROG_##sym,
	SLUICE_BPF_PROGS(X)
#undef X
		SLUICE_BPF_PROG_COUNT
};

/* Of our clsact filters: first of their priority. */
#define SLUICE_BPF_HANDLE 0x511ce
#define SLUICE_BPF_PRIORITY 1

#define SLUICE_BPF_PATH 256

/*
 * Where pins are: SLUICE_BPF_DIR, or what the environment's SLUICE_BPF_DIR says: the name of a directory on
 * a bpffs (it is made if it is not there).
 */
const char *sluice_bpf_root(void);
/* The cookie of the network namespace that we are in. */
int sluice_bpf_cookie(uint64_t *cookie, struct sluice_err *err);
/* <root>/net-<cookie> */
void sluice_bpf_path(uint64_t cookie, char path[SLUICE_BPF_PATH]);
/* Does this network namespace have pins of ours? */
bool sluice_bpf_is_there(void);

struct sluice_bpf_options {
	uint64_t budget; /* bytes for connections, when maps are made; 0: an eighth of the memory */
	const char *cgroup; /* whose processes reach services; NULL: the root of cgroup2 */
	const void *elf; /* the object file; NULL: the one that is built in */
	size_t elf_size;
	bool clsact; /* also where the kernel has tcx: for tests */
};

struct sluice_bpf {
	char dir[SLUICE_BPF_PATH];
	uint64_t cookie;
	int lock;
	bool fresh; /* everything was made anew */
	bool replaced; /* the programs were */
	bool tcx; /* else clsact */
	char *warning; /* what does not work on this machine; or NULL */
	struct sluice_bpf_map maps[SLUICE_BPF_MAP_COUNT];
	struct sluice_bpf_control *control; /* in our memory, writable */
	int progs[SLUICE_BPF_PROG_COUNT];
	uint32_t prog_ids[SLUICE_BPF_PROG_COUNT];
	int grace_outer, grace_inner; /* maps for sluice_bpf_grace() */
	void *segments[2][SLUICE_BPF_SEGMENTS]; /* bpf_conns.c: those that have been mapped */
};

/*
 * Errors, besides those of the system calls:
 *	EBUSY		another process writes
 *	EPERM		a capability is missing, or the kernel is locked down
 *	EPROTONOSUPPORT	maps of another layout
 *	EUCLEAN		a pin is missing, or is something else
 *	EACCES, EINVAL	the kernel's verifier refuses a program; the message has the end of its log
 */
int sluice_bpf_open(struct sluice_bpf *bpf, const struct sluice_bpf_options *options,
		    struct sluice_err *err);
/* Everything in the kernel stays. Also of one that was never opened, if zeroed. */
void sluice_bpf_close(struct sluice_bpf *bpf);

/* What the programs on an interface make of it. */
enum sluice_bpf_role {
	SLUICE_BPF_ROLE_NONE, /* none of ours */
	SLUICE_BPF_ROLE_POD,
	SLUICE_BPF_ROLE_UPLINK,
};

/*
 * Puts the role's programs in place of whatever of ours is there. ENODEV: there is no such interface.
 *
 * The kernel waits for a grace period, holding RTNL, for each program that it attaches by tcx: 25 ms for a pod,
 * where clsact takes half a millisecond. quick: a new interface gets a clsact filter first, with the same effect, and
 * sluice_bpf_attach_well() exchanges it when there is time. Where both are, tcx comes first, and is the only one that
 * is asked: there is no moment without a program, or with two.
 */
int sluice_bpf_attach(struct sluice_bpf *bpf, uint32_t ifindex, enum sluice_bpf_role role,
		      bool quick, struct sluice_err *err);
/* Could it be exchanged? */
bool sluice_bpf_is_quick(const struct sluice_bpf *bpf, uint32_t ifindex);
int sluice_bpf_attach_well(struct sluice_bpf *bpf, uint32_t ifindex, struct sluice_err *err);
/* By what is at its ingress. */
enum sluice_bpf_role sluice_bpf_role(const struct sluice_bpf *bpf, uint32_t ifindex);
/* Removes the pins of interfaces that are gone. */
void sluice_bpf_tidy(const struct sluice_bpf *bpf);

struct sluice_bpf_removed {
	unsigned int attachments;
	unsigned int programs;
	unsigned int maps;
};

/*
 * Detaches and unpins everything of this network namespace; nothing there is no error. EBUSY: a process
 * still writes.
 */
int sluice_bpf_remove(struct sluice_bpf_removed *removed, struct sluice_err *err);

/* Loads everything that is built in, for the verifier to look at, and lets it go. */
int sluice_bpf_try(struct sluice_err *err);
/* Is there a bpffs for pins, or could one be mounted? Changes nothing. */
int sluice_bpf_pins_possible(struct sluice_err *err);

/* Waits until no program runs any more that was running when it was called. */
int sluice_bpf_grace(struct sluice_bpf *bpf, struct sluice_err *err);

/* The capabilities that we need and do not have, "CAP_X, CAP_Y"; to be freed. NULL: none. */
char *sluice_bpf_missing_caps(void);
/* Where cgroup2 is mounted, to be freed; or NULL. */
char *sluice_bpf_cgroup2(void);
/* Does the kernel have tcx? prog: of type sched_cls. */
bool sluice_bpf_has_tcx(int prog);

#endif
