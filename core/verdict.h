/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Verdicts and reasons: the one list of each. Their names are what sluicectl, /proc, events and
 * the batch form of trace print, so they are an interface: add at the end, never rename.
 */
#ifndef SLUICE_CORE_VERDICT_H
#define SLUICE_CORE_VERDICT_H

#include "env.h"

/* X(symbol, name) */
#define SLUICE_VERDICTS(X)                                                                       \
	X(NONE, "none") /* nothing decided yet, or not our packet: the stack has it untouched */ \
	X(ALLOW, "allow")                                                                        \
	X(DENY, "deny") /* dropped without an answer */                                          \
	X(REJECT, "reject") /* dropped, and answered by a TCP reset or ICMP port unreachable */

enum sluice_verdict {
#define X(sym, name) SLUICE_VERDICT_##sym,
	SLUICE_VERDICTS(X)
#undef X
		SLUICE_VERDICT_COUNT
};

/* X(symbol, name, help). Every packet that Sluice drops counts under exactly one of these. */
#define SLUICE_REASONS(X)                                                                         \
	X(NONE, "none", "nothing decided")                                                        \
	X(NO_POLICY, "no-policy", "no policy selects the pod in this direction")                  \
	X(POLICY_ALLOW, "policy-allow", "a policy rule allows it")                                \
	X(POLICY_DENY, "policy-deny", "a policy rule denies it")                                  \
	X(DEFAULT_DENY, "default-deny", "a policy isolates the pod and no rule allows it")        \
	X(NODE, "node", "a node and its own pods always reach each other")                        \
	X(SELF, "self", "a pod always reaches itself")                                            \
	X(NO_ENDPOINTS, "no-endpoints", "the service has no ready endpoint")                      \
	X(ENDPOINT_CLOSED, "endpoint-closed", "the pod's rulesets are not in place yet")          \
	X(SPOOFED_SOURCE, "spoofed-source", "the pod sent from an address that is not its own")   \
	X(MARTIAN, "martian", "a source or destination address that cannot be on the wire")       \
	X(MALFORMED, "malformed", "truncated or inconsistent headers")                            \
	X(BAD_CHECKSUM, "bad-checksum",                                                           \
	  "the checksum of an IPv4 header, or of an ICMP error to translate, is wrong")           \
	X(TCP_FLAGS, "tcp-flags", "a combination of TCP flags that no sender makes")              \
	X(NO_CONNECTION, "no-connection",                                                         \
	  "a TCP or SCTP packet that neither belongs to nor may open a connection")               \
	X(ICMP_UNRELATED, "icmp-unrelated", "an ICMP error about a connection that is not known") \
	X(BACKEND_GONE, "backend-gone", "the connection's backend left its service")              \
	X(TABLE_FULL, "table-full", "the memory budget is used by established connections")       \
	X(NO_MEMORY, "no-memory", "an allocation failed")                                         \
	X(NO_PORTS, "no-ports", "no free source port towards the backend")                        \
	X(TTL_EXCEEDED, "ttl-exceeded", "time to live or hop limit reached zero")                 \
	X(NO_ROUTE, "no-route", "no route to the destination")                                    \
	X(FRAGMENT, "fragment", "a fragment that could not be reassembled")                       \
	X(SERVICE_PORT, "service-port", "a service address, but no such port")                    \
	X(UNSUPPORTED, "unsupported", "a header chain that is not understood")

enum sluice_reason {
#define X(sym, name, help) SLUICE_REASON_##sym,
	SLUICE_REASONS(X)
#undef X
		SLUICE_REASON_COUNT
};

#ifndef __bpf__
static inline const char *sluice_verdict_name(__u32 verdict)
{
	switch (verdict) {
#define X(sym, name)               \
	case SLUICE_VERDICT_##sym: \
		return name;
		SLUICE_VERDICTS(X)
#undef X
	}
	return "unknown";
}

static inline const char *sluice_reason_name(__u32 reason)
{
	switch (reason) {
#define X(sym, name, help)        \
	case SLUICE_REASON_##sym: \
		return name;
		SLUICE_REASONS(X)
#undef X
	}
	return "unknown";
}

static inline const char *sluice_reason_help(__u32 reason)
{
	switch (reason) {
#define X(sym, name, help)        \
	case SLUICE_REASON_##sym: \
		return help;
		SLUICE_REASONS(X)
#undef X
	}
	return "unknown";
}
#endif

#endif
