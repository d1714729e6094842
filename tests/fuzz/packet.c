// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes from anywhere as a packet. The parser is given ever larger windows, as it asks for them, each
 * in memory of its own size; what it says in the end must be what it says of the whole. Then the
 * state machine takes the packet in, and a rewrite of it and back leaves a checksum alone.
 *
 * The first byte picks the family, the second how many bytes the driver pads or cut off.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/nat.h"
#include "core/plain.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static void expect(int good)
{
	if (!good)
		abort();
}

static int parse(const uint8_t *data, uint32_t len, uint32_t wire, uint8_t family,
		 struct sluice_packet *pkt)
{
	uint8_t *window = malloc(len ? len : 1);
	int ret;

	memcpy(window, data, len);
	memset(pkt, 0, sizeof(*pkt));
	ret = sluice_packet_parse(window, len, wire, family, pkt);
	free(window);
	return ret;
}

static void use(const struct sluice_packet *pkt)
{
	struct sluice_tuple inv, back;
	struct sluice_nat_delta there, again;
	struct sluice_tcp_dir tcp[2];
	uint8_t state, i;
	uint16_t sum;

	expect(pkt->tuple.family == SLUICE_IPV4 || pkt->tuple.family == SLUICE_IPV6);
	expect(!pkt->tuple.pad);
	if (pkt->flags & SLUICE_PACKET_ICMP_ERROR)
		expect(pkt->inner.family == pkt->tuple.family && !pkt->inner.pad &&
		       pkt->inner_l4_off > pkt->inner_off && pkt->inner_off > pkt->l4_off);
	sluice_tuple_invert(&inv, &pkt->tuple);
	sluice_tuple_invert(&back, &inv);
	expect(sluice_tuple_equal(&back, &pkt->tuple));

	sluice_nat_delta(&pkt->tuple, &inv, &there);
	sluice_nat_delta(&inv, &pkt->tuple, &again);
	sum = sluice_csum_apply(0x1234, sluice_csum_add(there.addr, there.port));
	expect(sluice_csum_apply(sum, sluice_csum_add(again.addr, again.port)) == 0x1234);

	state = sluice_state_first(pkt->tuple.proto, &pkt->l4, tcp);
	for (i = 0; state && i < 4; i++) {
		state = sluice_state_next(pkt->tuple.proto, state, i & 1, tcp, &pkt->l4);
		expect(state > SLUICE_STATE_NONE && state < SLUICE_STATE_COUNT);
		expect(sluice_state_timeout(state) > 0);
	}
}

/* The short cut says what the parser says, of the packets that it is for. */
static void use_plain(const uint8_t *data, uint32_t wire, uint8_t family, int parsed,
		      const struct sluice_packet *pkt)
{
	struct sluice_plain pl = { 0 };
	struct sluice_packet same;
	bool plain = family == SLUICE_IPV4 ? sluice_plain4(data, wire, wire, &pl) :
					     sluice_plain6(data, wire, wire, &pl);

	if (!plain)
		return;
	expect(parsed == SLUICE_PARSE_OK && pkt->l4_off == (family == SLUICE_IPV4 ? 20 : 40));
	memset(&same, 0, sizeof(same));
	sluice_plain_packet(data, family, &pl, &same);
	same.need = pkt->need; /* says how far the parser had to look */
	expect(!memcmp(&same, pkt, sizeof(same)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sluice_packet whole, pkt;
	uint32_t wire, len = 0, tries;
	uint8_t family;
	int want, ret;

	if (size < 2 || size > 4096)
		return 0;
	family = data[0] & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
	data += 2;
	wire = (uint32_t)size - 2;

	want = parse(data, wire, wire, family, &whole);
	expect(want != SLUICE_PARSE_MORE); /* there is no more */
	for (tries = 0; tries < 32; tries++) {
		ret = parse(data, len, wire, family, &pkt);
		if (ret != SLUICE_PARSE_MORE)
			break;
		expect(pkt.need > len && pkt.need <= wire);
		len = pkt.need;
	}
	expect(ret == want);
	use_plain(data, wire, family, want, &whole);
	if (ret != SLUICE_PARSE_OK)
		return 0;
	expect(!memcmp(&pkt.tuple, &whole.tuple, sizeof(pkt.tuple)));
	expect(!memcmp(&pkt.inner, &whole.inner, sizeof(pkt.inner)));
	expect(!memcmp(&pkt.l4, &whole.l4, sizeof(pkt.l4)));
	expect(pkt.l4_off <= wire && pkt.port == whole.port && pkt.flags == whole.flags);
	use(&pkt);
	return 0;
}

/* Lengths and the IPv4 checksum are made right in most inputs: random ones never are. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint8_t *p = data + 2;
	uint32_t sum = 0, i, ihl;

	size = LLVMFuzzerMutate(data, size, max_size);
	if (size < 2 + 40 || seed % 4 == 0)
		return size;
	if (data[0] & 1) {
		p[0] = 0x40 | (p[0] & 15);
		if ((p[0] & 15) < 5)
			p[0] = 0x45;
		ihl = (p[0] & 15) * 4u;
		if (size < 2 + ihl)
			return size;
		p[2] = (size - 2) >> 8;
		p[3] = (uint8_t)(size - 2);
		if (seed % 8)
			p[6] = p[7] = 0;
		p[10] = p[11] = 0;
		for (i = 0; i < ihl; i += 2)
			sum += p[i] << 8 | p[i + 1];
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		p[10] = (uint8_t)~(sum >> 8);
		p[11] = (uint8_t)~sum;
	} else {
		p[0] = 0x60;
		p[4] = (size - 42) >> 8;
		p[5] = (uint8_t)(size - 42);
	}
	return size;
}
