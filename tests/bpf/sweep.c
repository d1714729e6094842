// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sweeper, on tables that are made here: what expires, dies, is forgotten and is evicted; and the events that
 * tell of it.
 *
 *	sweep OBJECT [SEED]
 *	sweep OBJECT --cost CONNECTIONS		what a round over so many takes
 */
#include <sys/mman.h>

#include "bpf/layout.h"
#include "object.h"
#include "uapi/sluice.h"

#define BUCKETS 1024
#define SECOND 954 /* ticks */
#define HOUR (3600U * SECOND)

struct table {
	__u32 family;
	__u32 capacity;
	char *segments[SLUICE_BPF_SEGMENTS]; /* mapped */
	__u32 n_segments;
	size_t object_size;
	__u32 *heads; /* mapped */
	__u32 buckets;
	struct sluice_bpf_table *t;
	int sweep_fd;
};

static struct sluice_bpf_control *control;
static __u32 buckets = BUCKETS;

static __u32 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (__u32)(((__u64)ts.tv_sec * 1000000000 + ts.tv_nsec) >> 20);
}

static void *map_memory(int fd, size_t size)
{
	void *p = mmap(NULL, (size + 4095) & ~4095UL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		bail("mapping a map: %s", strerror(errno));
	return p;
}

static void add_segment(struct table *t)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "segment", 4, t->object_size,
				SLUICE_BPF_SEGMENT, &opts);

	if (fd < 0)
		bail("a segment: %s", strerror(errno));
	put(t->family == SLUICE_IPV4 ? "conns4" : "conns6", &t->n_segments, &fd);
	t->segments[t->n_segments++] = map_memory(fd, t->object_size * SLUICE_BPF_SEGMENT);
	close(fd);
}

static struct sluice_bpf_conn *conn(const struct table *t, __u32 index)
{
	return (void *)(t->segments[index >> SLUICE_BPF_SEGMENT_BITS] +
			(index & (SLUICE_BPF_SEGMENT - 1)) * t->object_size);
}

/* Empty, all objects on the free list. */
static void reset(struct table *t, __u32 segments)
{
	struct sluice_bpf_sweeper none = {};
	__u32 i, zero = 0;

	while (t->n_segments < segments)
		add_segment(t);
	t->capacity = segments * SLUICE_BPF_SEGMENT;
	for (i = 0; i < segments; i++)
		memset(t->segments[i], 0, t->object_size * SLUICE_BPF_SEGMENT);
	memset(t->heads, 0, t->buckets * sizeof(*t->heads));
	for (i = 0; i + 1 < t->capacity; i++)
		conn(t, i)->next[0] = sluice_bpf_ref(i + 1, 0);
	*t->t = (struct sluice_bpf_table){
		.free = 1ULL << 32 | sluice_bpf_ref(0, 0),
		.capacity = t->capacity,
		.limit = t->capacity,
		.bucket_mask = t->buckets - 1,
	};
	put("timers", &zero, &none);
}

static void open_table(struct table *t, __u32 family)
{
	t->family = family;
	t->object_size = family == SLUICE_IPV4 ? sizeof(struct sluice_bpf_conn4) :
						 sizeof(struct sluice_bpf_conn6);
	t->buckets = buckets;
	t->heads = map_memory(map(family == SLUICE_IPV4 ? "buckets4" : "buckets6"),
			      buckets * sizeof(__u32));
	t->t = &control->table[family == SLUICE_IPV6];
	t->sweep_fd = program(family == SLUICE_IPV4 ? "sweep4" : "sweep6");
}

static __u32 *head_of(const struct table *t, __u32 index, __u32 dir)
{
	__u32 hash;

	if (t->family == SLUICE_IPV4)
		hash = sluice_bpf_hash4(&((struct sluice_bpf_conn4 *)conn(t, index))->key[dir],
					control->secret);
	else
		hash = sluice_bpf_hash6(&((struct sluice_bpf_conn6 *)conn(t, index))->key[dir],
					control->secret);
	return &t->heads[hash & (t->buckets - 1)];
}

static void insert(struct table *t, __u32 index, __u32 dir)
{
	__u32 *head = head_of(t, index, dir);

	conn(t, index)->next[dir] = *head;
	*head = sluice_bpf_ref(index, dir);
}

static bool linked(const struct table *t, __u32 index, __u32 dir)
{
	__u32 ref = *head_of(t, index, dir), n = 0;

	while (ref && n++ < 10000000) {
		if (ref == sluice_bpf_ref(index, dir))
			return true;
		ref = conn(t, sluice_bpf_ref_index(ref))->next[sluice_bpf_ref_dir(ref)];
	}
	return false;
}

/* Entries in all chains. */
static __u32 entries(const struct table *t)
{
	__u32 i, n = 0;

	for (i = 0; i < t->buckets; i++) {
		__u32 ref = t->heads[i];

		for (; ref && n < 1000000; n++)
			ref = conn(t, sluice_bpf_ref_index(ref))->next[sluice_bpf_ref_dir(ref)];
	}
	return n;
}

static __u32 free_objects(const struct table *t)
{
	__u32 ref = (__u32)t->t->free, n = 0;

	for (; ref && n <= t->capacity; n++)
		ref = conn(t, sluice_bpf_ref_index(ref))->next[0];
	return n;
}

/* A connection of an age of an hour, its last packet "silent" ticks ago. */
static __u32 make(struct table *t, __u8 state, __u32 silent, __u32 bits)
{
	__u32 ref = (__u32)t->t->free, index = sluice_bpf_ref_index(ref), dir;
	struct sluice_bpf_conn *c = conn(t, index);

	t->t->free = ((t->t->free >> 32) + 1) << 32 | c->next[0];
	t->t->used++;
	t->t->alive++;
	memset(c, 0, t->object_size);
	for (dir = 0; dir < 2; dir++) {
		if (t->family == SLUICE_IPV4) {
			struct sluice_bpf_key4 *k = &((struct sluice_bpf_conn4 *)c)->key[dir];

			k->src = htonl(0x0a000000 + index);
			k->dst = htonl(0x0a600000 + dir);
			k->sport = htons(1000 + dir);
			k->dport = htons(80);
			k->proto = 6;
		} else {
			struct sluice_bpf_key6 *k = &((struct sluice_bpf_conn6 *)c)->key[dir];

			k->src[3] = htonl(index);
			k->dst[0] = htonl(0xfd000000 + dir);
			k->sport = htons(1000 + dir);
			k->dport = htons(80);
			k->proto = 6;
		}
	}
	c->state = state;
	c->created = now() - HOUR;
	c->last_seen = now() - silent;
	c->packets[0] = index;
	c->bits = SLUICE_BPF_LIVE | bits;
	if (!(bits & SLUICE_BPF_DENIED))
		insert(t, index, 1);
	insert(t, index, 0);
	return index;
}

/* Once over all objects; how many ticks that took. */
static int sweep_round(struct table *t)
{
	int n = 0;

	do {
		run(t->sweep_fd, 1, NULL);
		n++;
	} while (t->t->hand < t->t->capacity && n < 100000);
	return n;
}

/* The time passes for those in limbo. */
static void age_limbo(struct table *t)
{
	__u32 i;

	for (i = 0; i < t->capacity; i++)
		if (conn(t, i)->bits & SLUICE_BPF_LIMBO)
			conn(t, i)->last_seen -= 2 * SECOND;
}

static struct sluice_bpf_stats sum_stats(void)
{
	int n = libbpf_num_possible_cpus(), i;
	struct sluice_bpf_stats *s = calloc(n, sizeof(*s)), sum = { 0 };
	__u32 zero = 0, k;

	bpf_map_lookup_elem(map("stats"), &zero, s);
	for (i = 0; i < n; i++) {
		sum.expired += s[i].expired;
		sum.events_lost += s[i].events_lost;
		for (k = 0; k < SLUICE_EVICT_COUNT; k++)
			sum.evicted[k] += s[i].evicted[k];
	}
	free(s);
	return sum;
}

static const char *name_of(const struct table *t)
{
	return t->family == SLUICE_IPV4 ? "IPv4" : "IPv6";
}

static void test_life(struct table *t)
{
	__u32 alive, silent, dying, young, denied;
	struct sluice_bpf_stats before = sum_stats(), after;

	reset(t, 1);
	alive = make(t, SLUICE_STATE_TCP_ESTABLISHED, HOUR, 0);
	silent = make(t, SLUICE_STATE_REPLIED, 121 * SECOND, 0);
	dying = make(t, SLUICE_STATE_TCP_ESTABLISHED, 0, SLUICE_BPF_DYING);
	t->t->alive--;
	young = make(t, SLUICE_STATE_TCP_ESTABLISHED, 0, SLUICE_BPF_DYING);
	t->t->alive--;
	conn(t, young)->created = now();
	denied = make(t, SLUICE_STATE_DENIED, 6 * SECOND, SLUICE_BPF_DENIED);
	sweep_round(t);
	after = sum_stats();
	ok(conn(t, alive)->bits == SLUICE_BPF_LIVE && linked(t, alive, 0) && linked(t, alive, 1),
	   "%s: who may be silent for longer stays", name_of(t));
	ok(conn(t, silent)->bits == SLUICE_BPF_LIMBO && !linked(t, silent, 0) &&
		   !linked(t, silent, 1),
	   "%s: who was silent for too long leaves the table", name_of(t));
	ok(conn(t, denied)->bits == SLUICE_BPF_LIMBO && !linked(t, denied, 0),
	   "%s: and so does a negative entry", name_of(t));
	ok(conn(t, dying)->bits == SLUICE_BPF_LIMBO && !linked(t, dying, 0) && !linked(t, dying, 1),
	   "%s: who was killed leaves the table", name_of(t));
	ok(conn(t, young)->bits == (SLUICE_BPF_LIVE | SLUICE_BPF_DYING) && linked(t, young, 0),
	   "%s: but not in the first second of its life", name_of(t));
	is_u64(entries(t), 4, "%s: nobody else is in the chains", name_of(t));
	is_u64(after.expired - before.expired, 2, "%s: two have expired", name_of(t));
	is_u64(t->t->alive, 1, "%s: one is alive", name_of(t));
	is_u64(t->t->used, 5, "%s: all objects are in use", name_of(t));
	sweep_round(t);
	is_u64(t->t->used, 5, "%s: also a moment later", name_of(t));
	age_limbo(t);
	sweep_round(t);
	is_u64(t->t->used, 2, "%s: after a second three are free", name_of(t));
	ok(!conn(t, silent)->bits && free_objects(t) == t->capacity - 2, "%s: on the free list",
	   name_of(t));
}

/* Long chains, out of which some go: the others are all still found. */
static void test_chains(struct table *t)
{
	enum { N = 6000 };
	static __u32 index[N];
	static bool goes[N];
	__u32 round, i, left = 0;

	for (round = 0; round < 6; round++) {
		__u32 one_in = 1 + tap_below(4), kept = 0, ticks = 0;

		reset(t, 1);
		for (i = 0; i < N; i++) {
			goes[i] = tap_one_in(one_in);
			kept += !goes[i];
			index[i] = make(t, SLUICE_STATE_REPLIED,
					goes[i] ? 200 * SECOND : tap_below(100 * SECOND), 0);
		}
		/* A tick buries so many and no more. */
		while (t->t->alive > kept && ticks++ < 200)
			run(t->sweep_fd, 1, NULL);
		for (i = 0; i < N; i++) {
			bool want = !goes[i];

			check(linked(t, index[i], 0) == want && linked(t, index[i], 1) == want,
			      "one that %s is %s", want ? "lives" : "died",
			      want ? "not found" : "found");
		}
		check(entries(t) == 2 * kept, "%u entries, expected %u", entries(t), 2 * kept);
		check(ticks >= (N - kept) / 260, "more than 256 and three in a tick");
		age_limbo(t);
		for (i = 0; i < 100; i++)
			run(t->sweep_fd, 1, NULL);
		check(t->t->used == kept && free_objects(t) == t->capacity - kept,
		      "%u used, %u free", t->t->used, free_objects(t));
		left += kept;
	}
	ok_checks("%s: out of long chains any may go (%u stayed)", name_of(t), left);
}

static __u32 alive_in(const struct table *t, __u8 state)
{
	__u32 i, n = 0;

	for (i = 0; i < t->capacity; i++)
		n += conn(t, i)->state == state && conn(t, i)->bits == SLUICE_BPF_LIVE;
	return n;
}

static void make_many(struct table *t, __u8 state, __u32 n)
{
	while (n--)
		make(t, state, 0, 0);
}

static void is_left(struct table *t, __u32 closing, __u32 unreplied, __u32 idle, __u32 established,
		    const char *when)
{
	__u32 c = alive_in(t, SLUICE_STATE_TCP_TIME_WAIT), u = alive_in(t, SLUICE_STATE_UNREPLIED);
	__u32 i = alive_in(t, SLUICE_STATE_REPLIED), e = alive_in(t, SLUICE_STATE_TCP_ESTABLISHED);

	if (!ok(c == closing && u == unreplied && i == idle && e == established, "%s: %s",
		name_of(t), when))
		diag("left: %u closing, %u unreplied, %u idle, %u established", c, u, i, e);
}

static void test_eviction(struct table *t)
{
	struct sluice_bpf_stats before = sum_stats(), after;
	int i;

	reset(t, 1);
	/* Mixed, so that the order is not that of the objects. */
	for (i = 0; i < 100; i++) {
		make_many(t, SLUICE_STATE_TCP_ESTABLISHED, 10);
		make_many(t, SLUICE_STATE_REPLIED, 4);
		make_many(t, SLUICE_STATE_UNREPLIED, 3);
		make_many(t, SLUICE_STATE_TCP_TIME_WAIT, 1);
	}
	t->t->limit = 1920; /* less a sixteenth: 1,800 */
	for (i = 0; i < 3; i++)
		sweep_round(t);
	is_left(t, 100, 300, 400, 1000, "nobody goes while there is room");
	t->t->limit = 1824; /* 1,710 */
	for (i = 0; i < 3; i++)
		sweep_round(t);
	is_left(t, 10, 300, 400, 1000, "closing ones go first");
	t->t->limit = 1600; /* 1,500 */
	for (i = 0; i < 3; i++)
		sweep_round(t);
	is_left(t, 0, 100, 400, 1000, "then unreplied ones");
	t->t->limit = 1280; /* 1,200 */
	for (i = 0; i < 3; i++)
		sweep_round(t);
	is_left(t, 0, 0, 200, 1000, "then idle ones");
	t->t->limit = 640;
	for (i = 0; i < 3; i++)
		sweep_round(t);
	is_left(t, 0, 0, 0, 1000, "never the established");
	after = sum_stats();
	ok(after.evicted[SLUICE_EVICT_CLOSING] - before.evicted[SLUICE_EVICT_CLOSING] == 100 &&
		   after.evicted[SLUICE_EVICT_UNREPLIED] - before.evicted[SLUICE_EVICT_UNREPLIED] ==
			   300 &&
		   after.evicted[SLUICE_EVICT_IDLE] - before.evicted[SLUICE_EVICT_IDLE] == 400 &&
		   after.evicted[SLUICE_EVICT_ESTABLISHED] ==
			   before.evicted[SLUICE_EVICT_ESTABLISHED],
	   "%s: they are counted by class", name_of(t));
	is_u64(t->t->alive, 1000, "%s: 1,000 are alive", name_of(t));

	/* A free list that runs dry under a budget that would allow more. */
	reset(t, 1);
	make_many(t, SLUICE_STATE_TCP_ESTABLISHED, 10000);
	make_many(t, SLUICE_STATE_UNREPLIED, 6000);
	for (i = 0; i < 3; i++)
		sweep_round(t);
	is_u64(t->t->alive, SLUICE_BPF_SEGMENT - SLUICE_BPF_SEGMENT / 16,
	       "%s: a sixteenth of the table is kept free", name_of(t));
	t->t->limit = 1000000;
	make_many(t, SLUICE_STATE_UNREPLIED, 300);
	for (i = 0; i < 3; i++)
		sweep_round(t);
	is_u64(t->t->alive, SLUICE_BPF_SEGMENT - SLUICE_BPF_SEGMENT / 16 + 300,
	       "%s: less of one that may grow", name_of(t));
}

static __u32 received, first_sequence, last_sequence, gaps;
static struct sluice_bpf_event last_event;

static int take_event(void *ctx, void *data, size_t size)
{
	(void)ctx;
	if (size != sizeof(last_event))
		bail("an event of %zu bytes", size);
	memcpy(&last_event, data, size);
	if (!received++)
		first_sequence = last_event.sequence;
	else if (last_event.sequence != last_sequence + 1)
		gaps++;
	last_sequence = last_event.sequence;
	return 0;
}

static struct ring_buffer *monitor(__u32 place)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "monitor", 0, 0, SLUICE_BPF_MONITOR_BYTES,
				NULL);
	struct sluice_bpf_monitor m = { .until = now() + 2 * SECOND };

	if (fd < 0)
		bail("a ring: %s", strerror(errno));
	put("monitors", &place, &fd);
	put("monitor_until", &place, &m);
	control->monitor_until = m.until;
	received = gaps = 0;
	return ring_buffer__new(fd, take_event, NULL, NULL);
}

static __u32 lost(__u32 place)
{
	struct sluice_bpf_monitor m;

	bpf_map_lookup_elem(map("monitor_until"), &place, &m);
	return m.lost;
}

static void test_events(struct table *t)
{
	enum { MANY = 6000 };
	struct sluice_bpf_stats before = sum_stats(), after;
	struct ring_buffer *ring, *other;
	struct sluice_bpf_monitor m;
	__u32 i, sequence, place = 2, got;

	reset(t, 1);
	for (i = 0; i < 10; i++)
		make(t, SLUICE_STATE_REPLIED, 121 * SECOND, i == 5 ? SLUICE_BPF_DENIED : 0);
	sequence = control->event_seq;
	sweep_round(t);
	is_u64(control->event_seq, sequence, "%s: without a monitor nothing is told", name_of(t));

	reset(t, 1);
	for (i = 0; i < 10; i++)
		make(t, SLUICE_STATE_REPLIED, 121 * SECOND, i == 5 ? SLUICE_BPF_DENIED : 0);
	ring = monitor(place);
	sweep_round(t);
	ring_buffer__consume(ring);
	is_u64(received, 9, "%s: the end of each but the negative entry is told", name_of(t));
	ok(first_sequence == sequence && !gaps, "%s: in order", name_of(t));
	ok(last_event.type == SLUICE_EVENT_CLOSED && last_event.family == t->family &&
		   last_event.conn.packets[0] == 9 &&
		   last_event.conn.state == SLUICE_STATE_REPLIED &&
		   last_event.tuple[0].family == t->family && last_event.tuple[0].proto == 6 &&
		   last_event.tuple[1].sport == htons(1001),
	   "%s: with what was known of it", name_of(t));

	/* Two monitors, one of which does not read. */
	reset(t, 1);
	for (i = 0; i < MANY; i++)
		make(t, SLUICE_STATE_REPLIED, 121 * SECOND, 0);
	other = monitor(0);
	while (t->t->alive) {
		run(t->sweep_fd, 1, NULL);
		ring_buffer__consume(ring);
	}
	after = sum_stats();
	ok(received == MANY && !gaps, "%s: who reads in time misses nothing", name_of(t));
	received = gaps = 0;
	ring_buffer__consume(other);
	got = received;
	ok(got && got < MANY && lost(0) == MANY - got, "%s: what found a ring full is counted (%u)",
	   name_of(t), lost(0));
	is_u64(after.events_lost - before.events_lost, MANY - got, "%s: in the statistics, too",
	       name_of(t));
	is_u64(lost(place), 0, "%s: each for itself", name_of(t));

	/* Its time is over: nothing more comes, also when the clock has gone half round. */
	for (i = 0; i < 2; i++) {
		m = (struct sluice_bpf_monitor){ .until = now() + (i ? 0x7fffffff : -1U) };
		put("monitor_until", &place, &m);
		m.until = 0;
		got = 0;
		put("monitor_until", &got, &m);
		reset(t, 1);
		make(t, SLUICE_STATE_REPLIED, 121 * SECOND, 0);
		received = 0;
		sweep_round(t);
		ring_buffer__consume(ring);
		is_u64(received, 0, "%s: a place that has run out gets nothing", name_of(t));
	}
	control->monitor_until = 0;
	ring_buffer__free(ring);
	ring_buffer__free(other);
}

static void test_timer(struct table *t)
{
	int i, ms = 0;

	reset(t, 1);
	for (i = 0; i < 1000; i++)
		make(t, SLUICE_STATE_REPLIED, i % 2 ? 200 * SECOND : 0, 0);
	is_u64(run(program("start"), 1, NULL), 0, "%s: the timer starts", name_of(t));
	while (__atomic_load_n(&t->t->used, __ATOMIC_RELAXED) > 500 && ms < 20000) {
		usleep(20000);
		ms += 20;
	}
	ok(t->t->used == 500 && t->t->alive == 500 && entries(t) == 1000,
	   "%s: it does the rest by itself (%d ms)", name_of(t), ms);
	is_u64(run(program("start"), 1, NULL), 0, "%s: it may be started again", name_of(t));
}

static void measure_rounds(struct table *t, __u32 n, const char *how)
{
	__u64 total = 0, ticks = 0, longest = 0;
	__u32 ns, i;

	for (i = 0; i < 3; i++) {
		total = ticks = longest = 0;
		t->t->hand = 0;
		while (t->t->hand < t->t->capacity) {
			run(t->sweep_fd, 1, &ns);
			total += ns;
			ticks++;
			longest = ns > longest ? ns : longest;
		}
	}
	printf("%u live connections among %u objects, %s: a round takes %.1f ms in %llu ticks, %.1f ns an "
	       "object, the longest tick %.1f us; %.2f %% of a processor\n",
	       n, t->capacity, how, total / 1e6, (unsigned long long)ticks,
	       (double)total / t->capacity, longest / 1e3, total / (ticks * 1e7) * 100);
}

static void measure(struct table *t, __u32 n)
{
	__u32 segments = (n + SLUICE_BPF_SEGMENT - 1) / SLUICE_BPF_SEGMENT, ns, i;
	__u64 total = 0, ticks = 0, longest = 0;

	reset(t, segments + segments / 2);
	make_many(t, SLUICE_STATE_TCP_ESTABLISHED, n);
	measure_rounds(t, n, "room enough");
	t->t->limit = n + n / 8;
	measure_rounds(t, n, "counted");
	/* All of them die at once. */
	for (i = 0; i < n; i++)
		conn(t, i)->last_seen -= 25 * HOUR;
	while (t->t->alive) {
		run(t->sweep_fd, 1, &ns);
		total += ns;
		ticks++;
		longest = ns > longest ? ns : longest;
	}
	printf("%u that expire: %.1f ns each, in %llu ticks, the longest %.1f us\n", n,
	       (double)total / n, (unsigned long long)ticks, longest / 1e3);
}

int main(int argc, char **argv)
{
	struct table tables[2] = { 0 };
	__u32 cost = 0;
	int i;

	if (argc < 2)
		return 2;
	if (argc > 3 && !strcmp(argv[2], "--cost"))
		cost = strtoul(argv[3], NULL, 0);
	else if (argc > 2)
		setenv("SEED", argv[2], 1);
	tap_seed();
	while (buckets < cost)
		buckets *= 2;
	object_open(argv[1]);
	bpf_map__set_max_entries(object_map("buckets4"), buckets / SLUICE_BPF_HEADS);
	bpf_map__set_max_entries(object_map("buckets6"), buckets / SLUICE_BPF_HEADS);
	object_load();
	control = map_memory(map("control"), sizeof(*control));
	control->layout = SLUICE_BPF_LAYOUT;
	control->secret[0] = tap_random() | 1;
	control->secret[1] = tap_random() | 1;
	for (i = 0; i < SLUICE_STATE_COUNT; i++)
		control->timeouts[i] = sluice_state_timeout(i) * SECOND;
	open_table(&tables[0], SLUICE_IPV4);
	open_table(&tables[1], SLUICE_IPV6);
	if (cost) {
		measure(&tables[0], cost);
		return 0;
	}
	for (i = 0; i < 2; i++) {
		test_life(&tables[i]);
		test_chains(&tables[i]);
		test_eviction(&tables[i]);
		test_events(&tables[i]);
	}
	for (i = 0; i < 2; i++)
		test_timer(&tables[i]);
	bpf_object__close(object);
	return done_testing();
}
