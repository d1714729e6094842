/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the eBPF variant lacks beside the module: the one list, from which sluicectl doctor and README.md's table
 * are made (tests/loader/cli compares them). It never fails open: what it cannot do it drops, with a counted reason,
 * or leaves to the stack where that changes nothing for policy.
 */
#ifndef SLUICE_CTL_LIB_BPF_LIMITS_H
#define SLUICE_CTL_LIB_BPF_LIMITS_H

/* Where a limit holds. */
enum sluice_bpf_where {
	SLUICE_BPF_ALWAYS,
	SLUICE_BPF_WITHOUT_TCX, /* kernels before 6.6 */
	SLUICE_BPF_WITHOUT_CGROUP2, /* not mounted */
	SLUICE_BPF_WITHOUT_JIT, /* switched off */
};

/* X(what is limited, what happens, where) */
#define SLUICE_BPF_LIMITS(X)                                                                        \
	X("Fragments", "dropped, reason fragment; the module reassembles them", SLUICE_BPF_ALWAYS)  \
	X("Long header chains",                                                                     \
	  "extension headers beyond what the programs look at are dropped, reason unsupported",     \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("Refusals",                                                                               \
	  "of packets with options or extension headers are not answered; of others they are, "     \
	  "also where the packet's checksum is wrong",                                              \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("SCTP through services",                                                                  \
	  "dropped, reason unsupported, where a port would change: no program can make SCTP's "     \
	  "checksum",                                                                               \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("The node's own connections",                                                             \
	  "reach services by their sockets: by connect, sendmsg and recvmsg, of TCP and UDP alone", \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("Connected UDP sockets of the node",                                                      \
	  "go on to the backend that they were connected to, also when it has left its service",    \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("Errors of the node's stack",                                                             \
	  "(too big, time exceeded) about a packet whose source was translated do not find its "    \
	  "sender",                                                                                 \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("Routes", "are kept for a second, with their MTU", SLUICE_BPF_ALWAYS)                     \
	X("Interfaces without Ethernet frames",                                                     \
	  "(WireGuard, tun) are refused as uplinks and as pods' interfaces", SLUICE_BPF_ALWAYS)     \
	X("Room in a full table",                                                                   \
	  "is made ahead, a sixteenth of it; a flood that is faster has new connections refused "   \
	  "for a second, reason table-full",                                                        \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("The least budget", "is 6 MB: an array of 16,384 connections for each family",            \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("Processes outside of cgroup2", "do not reach services: cgroup2 is not mounted",          \
	  SLUICE_BPF_WITHOUT_CGROUP2)                                                               \
	X("Programs of others at ingress",                                                          \
	  "may be put before ours: this kernel has no tcx, and clsact knows only priorities",       \
	  SLUICE_BPF_WITHOUT_TCX)                                                                   \
	X("Speed", "programs are interpreted, some ten times slower: the JIT is off",               \
	  SLUICE_BPF_WITHOUT_JIT)                                                                   \
	X("The number of buckets",                                                                  \
	  "is set when the maps are made; a larger budget later makes chains longer",               \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("Objects",                                                                                \
	  "65,536 services with 524,288 backends, 4,096 endpoints, 64 uplinks, 65,535 rulesets, "   \
	  "262,144 prefixes and as many single addresses, 16.7 million connections of each "        \
	  "family: what is more is refused by name",                                                \
	  SLUICE_BPF_ALWAYS)                                                                        \
	X("Monitors", "four may listen at a time", SLUICE_BPF_ALWAYS)                               \
	X("/proc/net/sluice", "is the module's; sluicectl shows the same", SLUICE_BPF_ALWAYS)

#endif
