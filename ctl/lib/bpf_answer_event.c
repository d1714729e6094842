// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events. A listener puts a ring buffer of its own into a free place of "monitors" and says until when it will
 * surely be read, and says so again each second while it waits; layout.h has the other half.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_answer_internal.h"

/* Two seconds in ticks, and how often that is renewed. */
#define LEASE_TICKS 1907
#define RENEW_MS 1000

struct sluice_bpf_events {
	struct sluice_bpf_control *control; /* mapped, for writing */
	struct sluice_bpf_monitor *places; /* SLUICE_BPF_MONITORS of them, likewise */
	uint32_t place;
	bool has_place;
	int ring_fd; /* -1: none */
	struct ring_buffer *ring;
	uint32_t renewed; /* ticks */
	/* While the ring is read: */
	struct sluice_bpf_request r;
	int64_t real_time; /* nanoseconds that CLOCK_REALTIME is ahead of CLOCK_MONOTONIC */
};

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A lease that is past, or was never given out; as programs see it. */
static bool is_past(uint32_t until, uint32_t now)
{
	return !until || until - now - 1 >= SLUICE_BPF_MONITOR_AHEAD;
}

/* Zero says "never": the one moment in 52 days that would be it is the tick before. */
static uint32_t lease_end(uint32_t now)
{
	return now + LEASE_TICKS ?: UINT32_MAX;
}

static void renew(struct sluice_bpf_events *e)
{
	uint32_t now = sluice_bpf_answer_now();

	__atomic_store_n(&e->places[e->place].until, lease_end(now), __ATOMIC_RELEASE);
	__atomic_store_n(&e->control->monitor_until, lease_end(now), __ATOMIC_RELEASE);
	e->renewed = now;
}

static int take_place(struct sluice_bpf_events *e, struct sluice_err *err)
{
	uint32_t now = sluice_bpf_answer_now();

	for (uint32_t i = 0; i < SLUICE_BPF_MONITORS; i++) {
		uint32_t until = __atomic_load_n(&e->places[i].until, __ATOMIC_ACQUIRE);

		if (!is_past(until, now) ||
		    !__atomic_compare_exchange_n(&e->places[i].until, &until, lease_end(now), false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		e->place = i;
		e->has_place = true;
		return 0;
	}
	return sluice_err_set(err, EBUSY, "%u listen to the events already, and more cannot",
			      SLUICE_BPF_MONITORS);
}

/* One event as an answer. Returns a negative number to end reading. */
static int take_event(void *ctx, void *data, size_t size)
{
	const struct sluice_bpf_event *event = data;
	struct sluice_bpf_events *e = ctx;
	struct sluice_nl_event o;

	if (size < sizeof(*event))
		return sluice_err_set(e->r.err, EPROTO, "an event of %zu bytes", size);
	o = (struct sluice_nl_event){
		.type = event->type,
		.sequence = event->sequence,
		.time = event->time + (uint64_t)e->real_time,
	};
	/* As of the event: it may have waited in the ring. */
	sluice_bpf_conn_view(&event->conn, event->tuple, (uint32_t)(event->time >> 20), &o.conn);
	return sluice_bpf_answer_send(&e->r,
				      sluice_nl_put_event(sluice_bpf_answer_start(e->r.a), &o));
}

static int start(struct sluice_bpf_answerer *a, struct sluice_bpf_events *e, struct sluice_err *err)
{
	const struct sluice_bpf_map *monitors =
		sluice_bpf_answer_map(a, SLUICE_BPF_MAP_MONITORS, err);
	int ret;

	if (!monitors)
		return -EPROTO;
	e->control =
		sluice_bpf_answer_memory(a, SLUICE_BPF_MAP_CONTROL, sizeof(*e->control), true, err);
	if (!e->control)
		return -EPROTO;
	e->places = sluice_bpf_answer_memory(a, SLUICE_BPF_MAP_MONITOR_UNTIL,
					     SLUICE_BPF_MONITORS * sizeof(*e->places), true, err);
	if (!e->places)
		return -EPROTO;
	e->ring_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "sluice_monitor", 0, 0,
				    SLUICE_BPF_MONITOR_BYTES, NULL);
	if (e->ring_fd < 0)
		return sluice_err_errno(err, errno, "create a ring buffer");
	e->ring = ring_buffer__new(e->ring_fd, take_event, e, NULL);
	if (!e->ring)
		return sluice_err_errno(err, errno, "read a ring buffer");
	ret = take_place(e, err);
	if (ret)
		return ret;
	if (bpf_map_update_elem(monitors->fd, &e->place, &e->ring_fd, BPF_ANY))
		return sluice_err_errno(err, errno, "map %s: put a ring buffer into it",
					monitors->name);
	__atomic_store_n(&e->places[e->place].lost, 0, __ATOMIC_RELAXED);
	renew(e);
	return 0;
}

int sluice_bpf_answer_subscribe(struct sluice_bpf_answerer *a, struct sluice_err *err)
{
	int ret;

	sluice_bpf_answer_unsubscribe(a);
	a->events = sluice_zalloc(sizeof(*a->events));
	a->events->ring_fd = -1;
	ret = start(a, a->events, err);
	if (ret)
		sluice_bpf_answer_unsubscribe(a);
	return ret;
}

void sluice_bpf_answer_unsubscribe(struct sluice_bpf_answerer *a)
{
	struct sluice_bpf_events *e = a->events;

	if (!e)
		return;
	if (e->has_place) {
		/* The ring first: whoever takes the place next finds it empty. */
		bpf_map_delete_elem(a->maps[SLUICE_BPF_MAP_MONITORS].fd, &e->place);
		__atomic_store_n(&e->places[e->place].until, 0, __ATOMIC_RELEASE);
	}
	ring_buffer__free(e->ring);
	if (e->ring_fd >= 0)
		close(e->ring_fd);
	if (e->places)
		munmap(e->places, sluice_bpf_map_pages(SLUICE_BPF_MONITORS * sizeof(*e->places)));
	if (e->control)
		munmap(e->control, sluice_bpf_map_pages(sizeof(*e->control)));
	free(e);
	a->events = NULL;
}

int sluice_bpf_answer_receive(struct sluice_bpf_answerer *a, sluice_nl_handler handle, void *arg,
			      struct sluice_err *err)
{
	struct sluice_bpf_events *e = a->events;
	int n;

	if (!e)
		return sluice_err_set(err, EINVAL, "receive comes after subscribe");
	e->r = (struct sluice_bpf_request){ .a = a, .handle = handle, .arg = arg, .err = err };
	do {
		if (sluice_bpf_answer_now() - e->renewed >= LEASE_TICKS / 4)
			renew(e);
		e->real_time = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_MONOTONIC);
		n = ring_buffer__poll(e->ring, RENEW_MS);
	} while (!n || n == -EINTR);
	if (n < 0 && !sluice_err_is_set(err))
		return sluice_err_errno(err, -n, "wait for events");
	return n < 0 ? n : 0;
}
