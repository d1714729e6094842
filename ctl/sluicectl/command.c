// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluicectl/command.h"

#include <string.h>

#include "ctl/sluicectl/conn.h"
#include "ctl/sluicectl/trace.h"

const struct option_spec common_options[] = {
	{ "output", "FORMAT", "text (the default) or json; -o for short", "text json" },
	{ "help", NULL, "this text; -h for short", NULL },
	{ 0 },
};

static const struct option_spec status_options[] = {
	{ "socket", "PATH",
	  "the unix socket of sluiced (default $SLUICE_SOCKET, else "
	  "/run/sluice/sluiced.sock)",
	  NULL },
	{ 0 },
};

static const struct option_spec list_options[] = { CONN_FILTER_OPTIONS,
						   CONN_VERDICT_OPTION,
						   { 0 } };

static const struct option_spec flush_options[] = { CONN_FILTER_OPTIONS, { 0 } };

static const struct option_spec stats_options[] = {
	{ "all", NULL, "also the reasons that dropped nothing", NULL },
	{ 0 },
};

static const struct option_spec monitor_options[] = {
	{ "type", "TYPE", "new, denied or closed alone", "new denied closed" },
	{ "count", "N", "ends after so many events", NULL },
	CONN_FILTER_OPTIONS,
	CONN_VERDICT_OPTION,
	{ 0 },
};

static const struct option_spec help_options[] = {
	{ "man", NULL, "the manual page, for man(1)", NULL },
	{ 0 },
};

const struct command commands[] = {
	{ .name = "status",
	  .args = "",
	  .summary = "show whether the controller and the data plane are well",
	  .text = "Shows what sluiced holds and reports as wrong, which data plane runs (the kernel "
		  "module or the eBPF variant), and what it holds. The exit "
		  "status is 0 only if the controller is ready: a full state of its has been "
		  "committed to the kernel.",
	  .options = status_options,
	  .run = run_status },
	{ .name = "get services",
	  .args = "",
	  .summary = "list the services and their backends",
	  .text = "One line for each address, port and protocol of a service, as this node balances "
		  "it. A service without backends refuses connections.",
	  .run = run_get_services },
	{ .name = "get endpoints",
	  .args = "",
	  .summary = "list the pods that are attached to this node",
	  .text = "A closed endpoint passes nothing: its rulesets are not in place yet, or its pod is "
		  "not known (any more). The numbers are those of its rulesets; where there is none, "
		  "no policy selects the pod in that direction.",
	  .run = run_get_endpoints },
	{ .name = "get policies",
	  .args = "",
	  .summary = "list the policies in force on this node",
	  .text = "Policies that select a pod of this node, with their rules, the rulesets that these "
		  "are part of, and the endpoints that obey them.",
	  .run = run_get_policies },
	{ .name = "get peers",
	  .args = "",
	  .summary = "list the prefixes that policies tell apart",
	  .text = "Addresses of one class are treated alike by every policy.",
	  .run = run_get_peers },
	{ .name = "get rules",
	  .args = "",
	  .summary = "list the rules and their ids",
	  .text = "A rule is named by its policy and its place in it, counted from 0, and by its own "
		  "name, if a ClusterNetworkPolicy gives it one; a ClusterNetworkPolicy has no "
		  "namespace before its name. The rule default-deny closes the list of all the "
		  "NetworkPolicies that isolate a pod.",
	  .run = run_get_rules },
	{ .name = "get rulesets",
	  .args = "",
	  .summary = "list the compiled rulesets",
	  .text = "Endpoints that the same policies select share a ruleset.",
	  .run = run_get_rulesets },
	{ .name = "get uplinks",
	  .args = "",
	  .summary = "list the interfaces towards other nodes",
	  .text = "Packets that arrive on other interfaces are left to the kernel's own stack.",
	  .run = run_get_uplinks },
	{ .name = "ct list",
	  .args = "",
	  .summary = "list connections",
	  .text = "One line a connection: protocol, state, seconds until it expires if it stays "
		  "silent, then its two directions as packets arrive, verdict, reason, and the rules "
		  "that decided. The options narrow the list; they speak of the original direction.",
	  .options = list_options,
	  .run = run_ct_list },
	{ .name = "ct flush",
	  .args = "",
	  .summary = "forget connections",
	  .text = "Without options, all of them. The next packet of a forgotten connection is judged "
		  "anew; through a service it may meet another backend.",
	  .options = flush_options,
	  .run = run_ct_flush },
	{ .name = "ct stats",
	  .args = "",
	  .summary = "show the size and the history of the connection table",
	  .text = "Connections, the memory that they use and may use, and how many were created, "
		  "expired, evicted, refused, judged again and cut.",
	  .run = run_ct_stats },
	{ .name = "ct save",
	  .args = "[FILE]",
	  .max_args = 1,
	  .summary = "write all connections to a file",
	  .text = "The file (- or none: standard output) is a JSON array, one object a connection, "
		  "for ct restore. Denied ones are left out.",
	  .run = run_ct_save },
	{ .name = "ct restore",
	  .args = "[FILE]",
	  .max_args = 1,
	  .summary = "put saved connections back",
	  .text = "Reads what ct save wrote (- or no file: standard input), after the module was "
		  "loaded anew and the controller is ready. Connections that exist already are "
		  "skipped. Policy judges each of them again, on its next packet.",
	  .run = run_ct_restore },
	{ .name = "stats",
	  .args = "",
	  .summary = "show the packets dropped by reason, and other counters",
	  .text = "Every packet that Sluice drops is counted under exactly one reason.",
	  .options = stats_options,
	  .run = run_stats },
	{ .name = "monitor",
	  .args = "",
	  .summary = "show connections as they are opened, denied and closed",
	  .text = "Runs until it is interrupted. With -o json, one object a line. Events that were "
		  "lost because this program was too slow are counted on standard error.",
	  .options = monitor_options,
	  .run = run_monitor },
	{ .name = "trace",
	  .args = "",
	  .summary = "explain what would happen to a packet",
	  .text = "Tells the verdict on the first packet of a connection, the policy and the rule "
		  "behind it in both directions, the service and the backend. No packet is sent. With "
		  "--manifests it answers offline, from Kubernetes objects, by the same compiler and "
		  "the same code as in the kernel; without, it asks the running data plane of this "
		  "node, whose view is that of its own pods.",
	  .options = trace_options,
	  .run = run_trace },
	{ .name = "doctor",
	  .args = "",
	  .summary = "show which data plane can run on this machine, and what it lacks",
	  .text = "Looks at the kernel, its configuration, Secure Boot, lockdown, and at others who handle "
		  "packets; tries the features of eBPF that Sluice needs, and loads its programs once "
		  "without attaching them. Tells what sluiced --dataplane=auto would choose in this "
		  "network namespace. The exit status is 0 if one of the two can run.",
	  .run = run_doctor },
	{ .name = "bpf remove",
	  .args = "",
	  .summary = "detach and remove the eBPF variant from this network namespace",
	  .text = "Detaches all of Sluice's programs and removes its maps, connections included; from then "
		  "on nothing is enforced. Refused while a sluiced writes them. Does not ask.",
	  .run = run_bpf_remove },
	{ .name = "help",
	  .args = "[COMMAND]...",
	  .max_args = 2,
	  .summary = "show this text, or that of a command",
	  .text = "The same as --help.",
	  .options = help_options,
	  .run = run_help },
	{ 0 },
};

const char *option_value(const struct invocation *inv, const char *name)
{
	for (size_t i = inv->n_uses; i-- > 0;)
		if (!strcmp(inv->uses[i].spec->name, name))
			return inv->uses[i].value;
	return NULL;
}
