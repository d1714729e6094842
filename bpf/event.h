/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events: what happens to connections, for those who listen (layout.h, "monitors").
 *
 * Whoever has something to tell asks sluice_events_wanted() first, which costs two loads, and builds a request
 * only then. Each event has one number, taken from control.event_seq, in whichever rings it goes: a gap in the
 * numbers that a monitor reads is what it missed, and its place says how many found its ring full.
 */
#ifndef SLUICE_BPF_EVENT_H
#define SLUICE_BPF_EVENT_H

#include <bpf/bpf_helpers.h>

#include "bpf/clock.h"
#include "bpf/layout.h"
#include "bpf/maps.h"
#include "uapi/sluice.h"

/* What an event says. In a map's value, or on the stack of who has 200 bytes to spare. */
struct sluice_event_request {
	struct sluice_tuple tuple[2]; /* original, reply */
	__u8 type; /* enum sluice_event_type */
	__u8 family;
	__u16 pad;
	__u32 pad2;
	struct sluice_bpf_conn conn; /* a copy */
};

/*
 * Is a time that a monitor set still to come? Not 0, which nobody set, and not further ahead than a
 * monitor may set it: the clock wraps after 52 days, and then a time that is long past looks like one to come.
 */
static __always_inline bool sluice_monitor_waits(__u32 until, __u32 now)
{
	return until && until - now - 1 < SLUICE_BPF_MONITOR_AHEAD;
}

static __always_inline bool sluice_events_wanted(const struct sluice_bpf_control *c)
{
	__u32 until = *(const volatile __u32 *)&c->monitor_until;

	return until && sluice_monitor_waits(until, sluice_bpf_ticks());
}

static __always_inline void sluice_event_lost(struct sluice_bpf_monitor *m)
{
	struct sluice_bpf_stats *s;
	__u32 zero = 0;

	__sync_fetch_and_add(&m->lost, 1);
	s = bpf_map_lookup_elem(&stats, &zero);
	if (s)
		s->events_lost++;
}

/*
 * Into each ring whose place has not run out. Returns 0, also where nobody listens; -1 without a request.
 * Any context, timers too.
 */
__attribute__((noinline)) int sluice_event_send(struct sluice_event_request *q)
{
	__u32 zero = 0, now = sluice_bpf_ticks(), sequence, place;
	struct sluice_bpf_control *c;
	__u64 time;

	c = bpf_map_lookup_elem(&control, &zero);
	if (!q || !c)
		return -1;
	sequence = __sync_fetch_and_add(&c->event_seq, 1);
	time = bpf_ktime_get_ns();
	for (place = 0; place < SLUICE_BPF_MONITORS; place++) {
		__u32 key = place;
		struct sluice_bpf_monitor *m = bpf_map_lookup_elem(&monitor_until, &key);
		struct sluice_bpf_event *e;
		void *ring;

		if (!m || !sluice_monitor_waits(m->until, now))
			continue;
		ring = bpf_map_lookup_elem(&monitors, &key);
		if (!ring) {
			sluice_event_lost(m);
			continue;
		}
		e = bpf_ringbuf_reserve(ring, sizeof(*e), 0);
		if (!e) {
			sluice_event_lost(m);
			continue;
		}
		e->sequence = sequence;
		e->type = q->type;
		e->family = q->family;
		e->pad = 0;
		e->time = time;
		e->conn = q->conn;
		e->tuple[0] = q->tuple[0];
		e->tuple[1] = q->tuple[1];
		bpf_ringbuf_submit(e, 0);
	}
	return 0;
}

#endif
