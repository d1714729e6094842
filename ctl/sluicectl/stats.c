// SPDX-License-Identifier: GPL-2.0-only
/* stats: what packets met. ct stats: what connections did. */
#include "ctl/lib/nl_query.h"
#include "ctl/sluicectl/command.h"
#include "ctl/sluicectl/output.h"

typedef unsigned long long ull;

static json_t *stats_json(const struct sluice_nl_stats *s)
{
	json_t *drops = json_object(), *evicted = json_object();

	for (int i = 1; i < SLUICE_REASON_COUNT; i++)
		json_object_set_new(drops, sluice_reason_name(i), json_integer(s->drops[i]));
	if (s->drops_unknown)
		json_object_set_new(drops, "unknown", json_integer(s->drops_unknown));
	for (int i = 0; i < SLUICE_EVICT_COUNT; i++)
		json_object_set_new(evicted, sluice_evict_name(i), json_integer(s->evicted[i]));
	return json_pack(
		"{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I}",
		"drops", drops, "hits", (json_int_t)s->hits, "misses", (json_int_t)s->misses,
		"fastPod", (json_int_t)s->fast_pod, "fastUplink", (json_int_t)s->fast_uplink,
		"stack", (json_int_t)s->stack, "foreign", (json_int_t)s->foreign, "fragments",
		(json_int_t)s->fragments, "created", (json_int_t)s->created, "expired",
		(json_int_t)s->expired, "evicted", evicted, "rejudged", (json_int_t)s->rejudged,
		"cut", (json_int_t)s->cut, "remapped", (json_int_t)s->remapped, "eventsLost",
		(json_int_t)s->events_lost);
}

static void print_counter(const char *name, uint64_t value, const char *help)
{
	printf("%-18s %14llu  %s\n", name, (ull)value, help);
}

static void print_drops(const struct sluice_nl_stats *s, bool all)
{
	bool any = false;

	puts("Packets dropped, by reason:");
	for (int i = 1; i < SLUICE_REASON_COUNT; i++) {
		if (!s->drops[i] && !all)
			continue;
		print_counter(sluice_reason_name(i), s->drops[i], sluice_reason_help(i));
		any = true;
	}
	if (s->drops_unknown)
		print_counter("unknown", s->drops_unknown, "reasons of a newer data plane");
	else if (!any)
		puts("none");
}

int run_stats(const struct invocation *inv, struct sluice_err *err)
{
	struct sluice_nl_stats s;
	struct sluice_nl nl;
	int ret;

	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	ret = sluice_nl_query_stats(&nl, &s, err);
	sluice_nl_close(&nl);
	if (ret)
		return ret;
	if (inv->json) {
		json_print(stats_json(&s));
		return 0;
	}
	print_drops(&s, option_given(inv, "all"));
	puts("\nPackets:");
	print_counter("hits", s.hits, "of known connections");
	print_counter("misses", s.misses, "first packets");
	print_counter("fast-pod", s.fast_pod, "delivered straight into a pod");
	print_counter("fast-uplink", s.fast_uplink, "sent by the cached route");
	print_counter("stack", s.stack, "handed to the stack, handled");
	print_counter("foreign", s.foreign, "handed to the stack untouched: not ours");
	print_counter("fragments", s.fragments, "sent to reassembly");
	print_counter("events-lost", s.events_lost, "events that could not be built or sent");
	return 0;
}

int run_ct_stats(const struct invocation *inv, struct sluice_err *err)
{
	struct sluice_nl_kernel info;
	struct sluice_nl_stats s;
	struct sluice_nl nl;
	char used[32], budget[32];
	json_t *evicted;
	int ret;

	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	ret = sluice_nl_query_info(&nl, &info, err);
	if (!ret)
		ret = sluice_nl_query_stats(&nl, &s, err);
	sluice_nl_close(&nl);
	if (ret)
		return ret;
	if (inv->json) {
		evicted = json_object();
		for (int i = 0; i < SLUICE_EVICT_COUNT; i++)
			json_object_set_new(evicted, sluice_evict_name(i),
					    json_integer(s.evicted[i]));
		json_print(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I}",
				     "connections", (json_int_t)info.info.conns, "bytes",
				     (json_int_t)info.info.conn_bytes, "budget",
				     (json_int_t)info.info.conn_budget, "buckets",
				     (json_int_t)info.info.buckets, "created",
				     (json_int_t)s.created, "expired", (json_int_t)s.expired,
				     "evicted", evicted, "rejudged", (json_int_t)s.rejudged, "cut",
				     (json_int_t)s.cut, "remapped", (json_int_t)s.remapped,
				     "refused", (json_int_t)s.drops[SLUICE_REASON_TABLE_FULL]));
		return 0;
	}
	printf("%u connections, %s of %s, %u buckets\n", info.info.conns,
	       bytes_text(used, info.info.conn_bytes), bytes_text(budget, info.info.conn_budget),
	       info.info.buckets);
	print_counter("created", s.created, "connections");
	print_counter("expired", s.expired, "silent for too long");
	for (int i = 0; i < SLUICE_EVICT_ESTABLISHED; i++) {
		char name[32];

		snprintf(name, sizeof(name), "evicted-%s", sluice_evict_name(i));
		print_counter(name, s.evicted[i],
			      "made room for new ones, the budget being used up");
	}
	print_counter("refused", s.drops[SLUICE_REASON_TABLE_FULL],
		      sluice_reason_help(SLUICE_REASON_TABLE_FULL));
	print_counter("rejudged", s.rejudged, "judged again after a policy change");
	print_counter("cut", s.cut, "of these, no longer allowed");
	print_counter("remapped", s.remapped, "source ports changed");
	return 0;
}
