// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/bpf_conns.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static const enum sluice_bpf_which_map conn_maps[2] = { SLUICE_BPF_MAP_CONNS4,
							SLUICE_BPF_MAP_CONNS6 };
static const size_t sizes[2] = { sizeof(struct sluice_bpf_conn4), sizeof(struct sluice_bpf_conn6) };

#define MOST (SLUICE_BPF_SEGMENTS * SLUICE_BPF_SEGMENT) /* objects of a family */
#define FEWEST_HEADS 1024U

uint64_t sluice_bpf_default_budget(void)
{
	struct sysinfo info;

	return sysinfo(&info) ? 256ULL << 20 : (uint64_t)info.totalram * info.mem_unit / 8;
}

uint32_t sluice_bpf_heads(uint64_t budget, int table)
{
	uint64_t conns = budget / (sizes[table] + sizeof(uint32_t));
	uint32_t heads = FEWEST_HEADS;

	while (heads < conns && heads < MOST)
		heads <<= 1;
	return heads;
}

static uint64_t bucket_bytes(const struct sluice_bpf_control *control)
{
	return ((uint64_t)control->table[0].bucket_mask + control->table[1].bucket_mask + 2) *
	       sizeof(uint32_t);
}

uint64_t sluice_bpf_conn_bytes(const struct sluice_bpf_control *control)
{
	return bucket_bytes(control) + control->table[0].capacity * sizes[0] +
	       control->table[1].capacity * sizes[1];
}

/*
 * Programs read limits for each new connection: what one was or what it will be, either is good. A limit
 * ends with a segment, so that a family that may not grow any further finds itself at its limit, and not without
 * free objects below it. Where the first segments are more than the budget, each family has its share of them.
 */
static void set_limits(struct sluice_bpf_control *control)
{
	uint64_t budget = __atomic_load_n(&control->budget, __ATOMIC_RELAXED);
	uint64_t buckets = bucket_bytes(control), bytes = sluice_bpf_conn_bytes(control) - buckets;
	uint64_t room = budget > buckets ? budget - buckets : 0;

	for (int i = 0; i < 2; i++) {
		struct sluice_bpf_table *t = &control->table[i];
		uint64_t limit = t->capacity;

		if (room < bytes)
			limit = limit * room / bytes;
		else
			limit += (room - bytes) / (SLUICE_BPF_SEGMENT * sizes[i]) *
				 SLUICE_BPF_SEGMENT;
		/* One at least, so that there is something to evict. */
		limit = limit < 1 ? 1 : limit > MOST ? MOST : limit;
		__atomic_store_n(&t->limit, (uint32_t)limit, __ATOMIC_RELAXED);
	}
}

int sluice_bpf_set_budget(struct sluice_bpf_control *control, uint64_t budget,
			  struct sluice_err *err)
{
	if (!budget)
		return sluice_err_set(err, EINVAL, "a budget of nothing");
	__atomic_store_n(&control->budget, budget, __ATOMIC_RELAXED);
	set_limits(control);
	return 0;
}

/* Growth **********************************************************************************/

/* The memory of a segment; NULL with err set. */
static void *segment_memory(struct sluice_bpf *bpf, int table, uint32_t segment,
			    struct sluice_err *err)
{
	const struct sluice_bpf_map *map = &bpf->maps[conn_maps[table]];
	void *memory = bpf->segments[table][segment];
	int fd;

	if (memory)
		return memory;
	fd = sluice_bpf_map_inner(map, segment, err);
	if (fd < 0)
		return NULL;
	memory = sluice_bpf_map_memory(fd, SLUICE_BPF_SEGMENT * sizes[table], true, map->name, err);
	close(fd);
	bpf->segments[table][segment] = memory;
	return memory;
}

static struct sluice_bpf_conn *object(void *memory, int table, uint32_t i)
{
	return (void *)((char *)memory + i * sizes[table]);
}

/*
 * Hands the objects of a segment, which are linked up already but for the last one, to the programs. They pop
 * at the same time. The count beside the reference makes a swap fail for whoever slept meanwhile.
 */
static void push(struct sluice_bpf_table *t, uint32_t first, struct sluice_bpf_conn *last)
{
	__u64 head = __atomic_load_n(&t->free, __ATOMIC_RELAXED), next;

	do {
		last->next[0] = (uint32_t)head;
		next = ((head >> 32) + 1) << 32 | sluice_bpf_ref(first, 0);
	} while (!__atomic_compare_exchange_n(&t->free, &head, next, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
}

/*
 * The order matters if we are killed on the way. Before capacity says so, the segment's place is not
 * taken, and the next one to come puts another in it; between that and the push its objects would be lost, 2 to 3
 * MB until the maps are removed, but nothing would be used twice.
 */
static int add_segment(struct sluice_bpf *bpf, int table, struct sluice_err *err)
{
	const struct sluice_bpf_map *map = &bpf->maps[conn_maps[table]];
	struct sluice_bpf_table *t = &bpf->control->table[table];
	uint32_t segment = t->capacity >> SLUICE_BPF_SEGMENT_BITS, first = t->capacity, i;
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	void *memory;
	int fd, ret;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, table ? "segment6" : "segment4", sizeof(uint32_t),
			    sizes[table], SLUICE_BPF_SEGMENT, &opts);
	if (fd < 0)
		return sluice_err_errno(err, errno, "a segment of %u connections",
					SLUICE_BPF_SEGMENT);
	memory = sluice_bpf_map_memory(fd, SLUICE_BPF_SEGMENT * sizes[table], true, map->name, err);
	ret = memory ? sluice_bpf_map_write(map, &segment, &fd, 1, 0, err) : -ENOMEM;
	close(fd);
	if (ret) {
		if (memory)
			munmap(memory, sluice_bpf_map_pages(SLUICE_BPF_SEGMENT * sizes[table]));
		return ret;
	}
	bpf->segments[table][segment] = memory;
	for (i = 0; i + 1 < SLUICE_BPF_SEGMENT; i++)
		object(memory, table, i)->next[0] = sluice_bpf_ref(first + i + 1, 0);
	__atomic_store_n(&t->capacity, first + SLUICE_BPF_SEGMENT, __ATOMIC_SEQ_CST);
	push(t, first, object(memory, table, i));
	return 0;
}

static bool wants_more(const struct sluice_bpf_table *t)
{
	uint32_t capacity = t->capacity, used = __atomic_load_n(&t->used, __ATOMIC_RELAXED);
	uint32_t free = used < capacity ? capacity - used : 0;

	return (free < SLUICE_BPF_SEGMENT || free < capacity / 4) &&
	       capacity < __atomic_load_n(&t->limit, __ATOMIC_RELAXED) &&
	       capacity <= MOST - SLUICE_BPF_SEGMENT;
}

int sluice_bpf_conns_grow(struct sluice_bpf *bpf, uint32_t *added, struct sluice_err *err)
{
	int ret = 0;

	*added = 0;
	for (int table = 0; table < 2 && !ret; table++) {
		while (!ret && wants_more(&bpf->control->table[table])) {
			ret = add_segment(bpf, table, err);
			if (ret)
				break;
			*added += SLUICE_BPF_SEGMENT;
			set_limits(bpf->control);
		}
	}
	return ret;
}

/* Cutting *********************************************************************************/

static bool stands_on(const struct sluice_bpf_conn *c, const uint32_t *ifindexes, size_t n)
{
	for (int side = 0; side < 2; side++) {
		uint32_t where = __atomic_load_n(&c->side[side], __ATOMIC_RELAXED);

		if (where >> SLUICE_BPF_SIDE_SHIFT != SLUICE_BPF_SIDE_POD)
			continue;
		for (size_t i = 0; i < n; i++)
			if ((where & SLUICE_BPF_SIDE_IFINDEX) == ifindexes[i])
				return true;
	}
	return false;
}

/* As a packet that wants a connection gone: a bit, once; the sweeper does the rest. */
static bool kill_conn(struct sluice_bpf_table *t, struct sluice_bpf_conn *c)
{
	__u32 bits = __atomic_load_n(&c->bits, __ATOMIC_RELAXED);

	do {
		if (!(bits & SLUICE_BPF_LIVE) || bits & (SLUICE_BPF_DYING | SLUICE_BPF_LIMBO))
			return false;
	} while (!__atomic_compare_exchange_n(&c->bits, &bits, bits | SLUICE_BPF_DYING, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	__atomic_fetch_sub(&t->alive, 1, __ATOMIC_RELAXED);
	return true;
}

#define SLICE 64 /* segments */

bool sluice_bpf_conns_cut(struct sluice_bpf *bpf, struct sluice_bpf_walk *walk,
			  const uint32_t *ifindexes, size_t n, uint32_t *killed)
{
	for (int left = SLICE; walk->table < 2 && left > 0; left--) {
		struct sluice_bpf_table *t = &bpf->control->table[walk->table];
		void *memory;

		if (walk->segment >= t->capacity >> SLUICE_BPF_SEGMENT_BITS) {
			walk->table++;
			walk->segment = 0;
			continue;
		}
		memory = segment_memory(bpf, walk->table, walk->segment, NULL);
		for (uint32_t i = 0; memory && i < SLUICE_BPF_SEGMENT; i++) {
			struct sluice_bpf_conn *c = object(memory, walk->table, i);

			if (stands_on(c, ifindexes, n) && kill_conn(t, c))
				++*killed;
		}
		walk->segment++;
	}
	return walk->table == 2;
}

void sluice_bpf_conns_close(struct sluice_bpf *bpf)
{
	for (int table = 0; table < 2; table++) {
		for (uint32_t i = 0; i < SLUICE_BPF_SEGMENTS; i++) {
			if (bpf->segments[table][i])
				munmap(bpf->segments[table][i],
				       sluice_bpf_map_pages(SLUICE_BPF_SEGMENT * sizes[table]));
			bpf->segments[table][i] = NULL;
		}
	}
}
