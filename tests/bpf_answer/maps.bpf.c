// SPDX-License-Identifier: GPL-2.0-only
/*
 * All maps of the eBPF variant, for a test that fills them by hand, and the one thing that only a program can do:
 * put an event into the rings of whoever listens.
 */
#include "bpf/layout.h" /* before libbpf's helpers, which want the types */
#include "bpf/maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_bpf_event);
} test_event SEC(".maps");

SEC("tc")
int test_emit(struct __sk_buff *skb)
{
	struct sluice_bpf_event *event;
	__u32 zero = 0, place;
	int sent = 0;
	void *ring;

	(void)skb;
	event = bpf_map_lookup_elem(&test_event, &zero);
	if (!event)
		return -1;
	for (place = 0; place < SLUICE_BPF_MONITORS; place++) {
		__u32 i = place;

		ring = bpf_map_lookup_elem(&monitors, &i);
		if (ring && !bpf_ringbuf_output(ring, event, sizeof(*event), 0))
			sent++;
	}
	return sent;
}

char _license[] SEC("license") = "GPL";
