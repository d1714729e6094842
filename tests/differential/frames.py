# SPDX-License-Identifier: GPL-2.0-only
"""Random frames for the differential test: what node1 meets on its interfaces. Most belong to a conversation between two
ends, in an order that makes sense; one in four is spoilt in some way that a receiver has to notice, or has not.

From (seed, case) alone. Cases come in pairs: the odd one has the conversations of the even one before it, which go on
under its own, new manifests; so connections are judged again, and cut."""

import random
import struct

import generate
from generate import ADDRESSES, NODES, OUTSIDE, PODS

TCP, UDP, ICMP, ICMPV6, SCTP = 6, 17, 1, 58, 132
NUMBERS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}
SYN, ACK, PSH, FIN, RST, URG = 2, 16, 8, 1, 4, 32
CONVERSATIONS = 40  # a case
LOCAL = [pod for pod in PODS if pod[2] == 1]
NET = "net"  # the place of all that comes by the uplink
STRANGE = ("10.244.1.99", "10.244.2.77", "198.51.100.9", "127.0.0.1", "0.0.0.1", "224.0.0.9", "255.255.255.255",
           "169.254.7.7", "10.96.7.1", "10.96.7.200"), \
          ("fd00:10:244:1::99", "fd00:10:244:2::77", "2001:db8:99::9", "::1", "::", "ff02::1", "ff0e::9", "fe80::7",
           "fd00:96::7:1", "fd00:96::7:200")
# A header of options that ask for nothing: the stack must not have an opinion of them.
PADN = b"\x01\x04\0\0\0\0"


class Case(generate.Case):
    """Manifests in which every service has one backend at most, so that its choice is not one."""

    even = None  # the last one, which the odd one after it need not make again

    def __init__(self, seed, number):
        self.picks = {}  # (address, protocol, port) -> (pod, port), or None
        super().__init__(seed, number)
        rng = random.Random("%s/frames/%d" % (seed, number))
        if number % 2:
            even = self.even if self.even and (self.even.seed, self.even.number) == (seed, number - 1) else Case(seed, number - 1)
            self.talks = even.talks
        else:
            self.seed = seed
            Case.even = self
            self.talks = [Conversation(rng, self, number // 2 % 500 * CONVERSATIONS + n) for n in range(CONVERSATIONS)]
        self.frames = frames(self.talks, rng)  # [(place, family, packet, the client's port in its conversation)]

    def pod(self, namespace, name, node):
        super().pod(namespace, name, node)
        self.manifests["pod-%s-%s.yaml" % (namespace, name)]["metadata"]["labels"]["name"] = name

    def service(self, number):
        super().service(number)
        namespace, name, node = pod = self.random.choice(PODS)
        service = self.manifests["service-s%d.yaml" % number]
        service["metadata"]["namespace"] = namespace
        spec = service["spec"]
        spec["selector"] = {"name": name}
        spec["ports"].append({"name": "s", "port": 1500, "protocol": "SCTP", "targetPort": self.random.choice((1500, 1501))})
        object_ = self.manifests["pod-%s-%s.yaml" % (namespace, name)]
        ready = object_["status"]["conditions"][0]["status"] == "True"
        for port in spec["ports"]:
            target = port["targetPort"]
            if isinstance(target, str):
                named = [p["containerPort"] for p in object_["spec"]["containers"][0]["ports"]
                         if p.get("name") == target and p["protocol"] == port["protocol"]]
                target = named[0] if named else None
            for ip in spec["clusterIPs"]:
                self.picks[ip, NUMBERS[port["protocol"]], port["port"]] = (pod, target) if ready and target else None

    def probe(self, source_port):
        pass

    def lines(self):
        """For packets.c."""
        return ["%s %d %s" % (place, family, packet.hex()) for place, family, packet, _ in self.frames]


def packed(ip):
    if ":" not in ip:
        return bytes(int(part) for part in ip.split("."))
    head, _, tail = ip.partition("::")
    front = [int(word, 16) for word in head.split(":") if word]
    back = [int(word, 16) for word in tail.split(":") if word]
    return struct.pack("!8H", *(front + [0] * (8 - len(front) - len(back)) + back))


def fold(data, start=0):
    """One's complement sum of 16-bit words, not yet inverted."""
    if len(data) % 2:
        data += b"\0"
    total = start + sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def put16(data, at, value):
    data[at:at + 2] = struct.pack("!H", value & 0xffff)


MTU = 1500
CHECK_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}


def seal(segment, src, dst, proto):
    """The transport's checksum, made right."""
    if proto in CHECK_AT and len(segment) >= CHECK_AT[proto] + 2:
        put16(segment, CHECK_AT[proto], 0)
        start = 0
        if proto != ICMP:
            start = fold(packed(src) + packed(dst)) + proto + len(segment)
        value = 0xffff ^ fold(bytes(segment), start)
        put16(segment, CHECK_AT[proto], value or 0xffff)
    return segment


def ip_packet(src, dst, proto, segment, ttl=64, ident=1, options=b"", fragment=0, extensions=()):
    if ":" in src:
        chain, following = b"", proto
        for kind, body in reversed(extensions):
            units = (len(body) + 2) // 4 - 2 if kind == 51 else (len(body) + 2) // 8 - 1
            chain = bytes((following, units & 255)) + body + chain
            following = kind
        rest = chain + bytes(segment)
        return bytearray(struct.pack("!IHBB", 6 << 28, len(rest), following, ttl) + packed(src) + packed(dst) + rest)
    header = bytearray(struct.pack("!BBHHHBBH", 0x40 | (5 + len(options) // 4), 0, 20 + len(options) + len(segment),
                                   ident, fragment, ttl, proto, 0) + packed(src) + packed(dst) + options)
    put16(header, 10, 0xffff ^ fold(bytes(header)))
    return header + segment


def seal_ip(packet):
    length = min((packet[0] & 15) * 4, len(packet))
    put16(packet, 10, 0)
    put16(packet, 10, 0xffff ^ fold(bytes(packet[:length])))


class End:
    def __init__(self, place, ip, port):
        self.place, self.ip, self.port = place, ip, port


class Conversation:
    """asked: whom the client talks to; answering: who that is. A node's own begins at "node>POD"."""

    def __init__(self, rng, case, number):
        self.rng = rng
        family = self.family = rng.randrange(2)
        form = rng.random()
        if form < 0.66:
            pod = rng.choice(LOCAL)
            self.client = End("%s.%s" % pod[:2], ADDRESSES[pod[:2]][family], 0)
        elif form < 0.76:
            pod = rng.choice([pod for pod in PODS if pod[2] == 2])
            self.client = End(NET, ADDRESSES[pod[:2]][family], 0)
        elif form < 0.9:
            self.client = End(NET, OUTSIDE[family], 0)
        elif form < 0.95:
            self.client = End(NET, NODES[1][family], 0)
        else:
            self.client = End("node", NODES[0][family], 0)
        self.proto = rng.choice((TCP,) * 10 + (UDP,) * 6 + ((ICMP, ICMPV6)[family],) * 3 + (SCTP,) * 2 + (47,))
        self.client.port = 20000 + number
        self.asked = End(None, None, rng.choice((80, 81, 8080, 53)))
        self.choose(case)
        self.seq = [rng.randrange(1 << 32), rng.randrange(1 << 32)]
        self.ident = rng.randrange(1 << 16)
        self.last = None

    def choose(self, case):
        rng, family = self.rng, self.family
        if self.client.place == "node":
            pod = rng.choice(LOCAL)
            self.asked.ip = ADDRESSES[pod[:2]][family]
            self.client.place = "node>%s.%s" % pod[:2]
            self.answering = End("%s.%s" % pod[:2], self.asked.ip, self.asked.port)
            return
        form = rng.random()
        services = [key for key in case.picks if (":" in key[0]) == bool(family)]
        if form < 0.4 and services:
            ip, proto, port = rng.choice(services)
            self.proto, self.asked.ip, self.asked.port = proto, ip, port
            if rng.random() < 0.05:
                self.asked.port = 9  # which it does not have
            pick = case.picks.get((ip, proto, self.asked.port))
            if pick:
                pod, port = pick
                back = ADDRESSES[pod[:2]][family]
                self.answering = End("%s.%s" % pod[:2] if pod[2] == 1 else NET, back, port)
                if back == self.client.ip or (self.client.ip == OUTSIDE[family] or self.client.ip == NODES[1][family]) and \
                        pod[2] == 2:
                    self.seen = NODES[0][family]  # it is masqueraded
                return
        elif form < 0.7:
            pod = rng.choice(LOCAL)
            self.asked.ip = ADDRESSES[pod[:2]][family]
            self.answering = End("%s.%s" % pod[:2], self.asked.ip, self.asked.port)
            return
        elif form < 0.85:
            self.asked.ip = rng.choice([ADDRESSES[pod[:2]][family] for pod in PODS if pod[2] == 2] + [OUTSIDE[family]])
        elif form < 0.93:
            self.asked.ip = NODES[rng.randrange(2)][family]
        else:
            self.asked.ip = rng.choice(STRANGE[family])
        self.answering = End(NET, self.asked.ip, self.asked.port)

    seen = None  # the client's address, as the answering end has it

    def segment(self, reply, flags, payload=b""):
        """The transport's bytes and both addresses, as they are where they start."""
        rng = self.rng
        if reply:
            src, dst = self.answering, End(None, self.seen or self.client.ip, self.client.port)
        else:
            src, dst = self.client, self.asked
        if self.proto == TCP:
            options = b""
            if flags & SYN and rng.random() < 0.7:
                options = rng.choice((b"\x02\x04\x05\xb4\x01\x03\x03\x07", b"\x03\x03\x0e\x00", b"\x02\x04\x05\xb4",
                                      b"\x03\x03\xff\x01", b"\x05\xff\x01\x03", b"\x03\x02\x01\x01", b"\x00\x03\x03\x05"))
            data = bytearray(struct.pack("!HHIIBBHHH", src.port, dst.port, self.seq[reply] & 0xffffffff,
                                         self.seq[not reply] & 0xffffffff if flags & ACK else 0,
                                         (5 + len(options) // 4) << 4, flags, rng.choice((0, 512, 65535)), 0, 0)
                             + options + payload)
            self.seq[reply] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        elif self.proto == UDP:
            data = bytearray(struct.pack("!HHHH", src.port, dst.port, 8 + len(payload), 0) + payload)
        elif self.proto == SCTP:
            data = bytearray(struct.pack("!HHII", src.port, dst.port, 7, 0) + bytes((flags, 0, 0, 16)) + bytes(12) + payload)
        elif self.proto in (ICMP, ICMPV6):
            kind = {(ICMP, 0): 8, (ICMP, 1): 0, (ICMPV6, 0): 128, (ICMPV6, 1): 129}[self.proto, reply]
            if flags & 0x80:
                kind = rng.choice((13, 14, 17, 9, 10, 42)) if self.proto == ICMP else rng.choice((133, 135, 136, 143, 138, 200))
            data = bytearray(struct.pack("!BBHHH", kind, 0, 0, self.client.port, 1) + payload)
        else:
            data = bytearray(payload)
        return src, dst, seal(data, src.ip, dst.ip, self.proto)

    def packet(self, reply, flags, size=0):
        """(place, packet)"""
        payload = bytes(self.rng.randrange(256) for _ in range(size))
        src, dst, data = self.segment(reply, flags, payload)
        self.ident += 1
        return src.place, ip_packet(src.ip, dst.ip, self.proto, data, ident=self.ident & 0xffff)

    def script(self):
        """[(reply, flags, bytes of payload)]"""
        rng = self.rng
        if self.proto == TCP:
            steps = [(0, SYN, 0), (1, SYN | ACK, 0), (0, ACK, 0), (0, ACK | PSH, 9), (1, ACK | PSH, 33), (0, ACK, 0)]
            steps += rng.choice(([], [(0, FIN | ACK, 0), (1, FIN | ACK, 0), (0, ACK, 0)],
                                 [(1, FIN | ACK, 0), (0, ACK, 0), (0, FIN | ACK, 0), (1, ACK, 0)],
                                 [(rng.randrange(2), RST, 0)], [(rng.randrange(2), RST | ACK, 0)],
                                 [(0, FIN | ACK, 0), (1, FIN | ACK, 0), (0, ACK, 0), (0, SYN, 0), (1, SYN | ACK, 0)]))
            if rng.random() < 0.3:
                steps.insert(rng.randrange(len(steps) + 1), (rng.randrange(2), rng.randrange(256), rng.randrange(3)))
        elif self.proto == SCTP:
            steps = [(0, 1, 0), (1, 2, 0), (0, 10, 0), (1, 11, 0), (0, 0, 4), (1, 3, 0), (0, 7, 0), (1, 8, 0), (0, 14, 0)]
            if rng.random() < 0.3:
                steps.insert(rng.randrange(len(steps)), (rng.randrange(2), rng.choice((0, 6, 9, 3, 192, 255)), 0))
        else:
            steps = [(rng.random() < 0.4, 0, rng.choice((0, 1, 8, 33, 1200))) for _ in range(rng.randint(1, 6))]
            steps[0] = (rng.random() < 0.1, 0, 5)
            if self.proto in (ICMP, ICMPV6) and rng.random() < 0.2:
                steps.append((0, 0x80, 8))
        if rng.random() < 0.15:  # it starts in the middle
            steps = steps[rng.randrange(len(steps)):]
        elif rng.random() < 0.1:
            rng.shuffle(steps)
        return [(int(reply), flags, size) for reply, flags, size in steps]


class Spoiler:
    """Each changes a packet of a conversation; some return others in its place."""

    def __init__(self, rng):
        self.rng = rng

    def spoil(self, talk, place, packet):
        """[(place, packet)]"""
        v6 = packet[0] >> 4 == 6
        name = self.rng.choice(self.BOTH + (self.ONLY6 if v6 else self.ONLY4))
        changed = getattr(self, name)(talk, place, packet, 40 if v6 else (packet[0] & 15) * 4, v6)
        return changed if isinstance(changed, list) else [(place, changed)]

    BOTH = ("sum", "ttl", "cut", "length", "flip", "flags", "elsewhere", "source", "padding", "error", "error", "error",
            "fragment", "again", "lengths", "version", "protocol")
    ONLY4 = ("ip_sum", "options", "ihl", "no_sum")
    ONLY6 = ("extensions", "extensions", "long_extension", "no_sum")

    def sum(self, talk, _place, packet, l4, _v6):
        at = l4 + CHECK_AT.get(talk.proto, 8)
        if at + 2 <= len(packet):
            packet[at + self.rng.randrange(2)] ^= self.rng.randrange(1, 256)
        return packet

    def ttl(self, _talk, _place, packet, _l4, v6):
        packet[7 if v6 else 8] = self.rng.choice((0, 1, 1, 2, 255))
        if not v6:
            seal_ip(packet)
        return packet

    def cut(self, _talk, _place, packet, _l4, v6):
        least = 40 if v6 else 20  # with less, no program is run by the kernel
        return packet[:self.rng.randint(least, len(packet))]

    def length(self, _talk, _place, packet, _l4, v6):
        put16(packet, 4 if v6 else 2, self.rng.choice((0, 8, 20, 27, 40, len(packet) + 1, len(packet) - 1, 65535)))
        if not v6:
            seal_ip(packet)
        return packet

    def flip(self, _talk, _place, packet, _l4, v6):
        for _ in range(self.rng.randint(1, 3)):
            packet[self.rng.randrange(len(packet))] ^= 1 << self.rng.randrange(8)
        if not v6 and self.rng.random() < 0.7:
            packet[0] = 0x40 | packet[0] & 15
            seal_ip(packet)
        return packet

    def flags(self, talk, _place, packet, l4, _v6):
        if talk.proto in (TCP, SCTP) and len(packet) > l4 + 13:
            packet[l4 + (13 if talk.proto == TCP else 12)] = self.rng.randrange(256)
            self.reseal(talk, packet, l4)
        return packet

    def reseal(self, talk, packet, l4):
        v6 = packet[0] >> 4 == 6
        ends = packet[8:40] if v6 else packet[12:20]
        at = l4 + CHECK_AT.get(talk.proto, 0)
        if talk.proto not in CHECK_AT or len(packet) < at + 2:
            return
        put16(packet, at, 0)
        start = 0 if talk.proto == ICMP else fold(bytes(ends)) + talk.proto + len(packet) - l4
        put16(packet, at, (0xffff ^ fold(bytes(packet[l4:]), start)) or 0xffff)

    def elsewhere(self, _talk, place, packet, _l4, _v6):
        places = [NET] + ["%s.%s" % pod[:2] for pod in LOCAL]
        return [(self.rng.choice([p for p in places if p != place]) if not place.startswith("node") else place, packet)]

    def source(self, talk, _place, packet, _l4, v6):
        ip = packed(self.rng.choice(STRANGE[v6] + tuple(ips[v6] for ips in ADDRESSES.values())))
        if v6:
            packet[8:24] = ip
        else:
            packet[12:16] = ip
            seal_ip(packet)
        self.reseal(talk, packet, 40 if v6 else (packet[0] & 15) * 4)
        return packet

    def padding(self, _talk, _place, packet, _l4, _v6):
        return packet + bytes(self.rng.randrange(256) for _ in range(self.rng.randint(1, 9)))

    def again(self, _talk, place, packet, _l4, _v6):
        return [(place, packet), (place, bytearray(packet))]

    def lengths(self, talk, _place, packet, l4, _v6):
        if talk.proto == TCP and len(packet) > l4 + 12:
            packet[l4 + 12] = self.rng.choice((0, 4, 6, 15)) << 4
        elif talk.proto == UDP and len(packet) >= l4 + 8:
            put16(packet, l4 + 4, self.rng.choice((0, 7, 8, 9, len(packet) - l4 + 1, 65535)))
        self.reseal(talk, packet, l4)
        return packet

    def version(self, _talk, _place, packet, _l4, _v6):
        packet[0] = self.rng.choice((0, 5, 7, 15)) << 4 | packet[0] & 15
        return packet

    def protocol(self, _talk, _place, packet, _l4, v6):
        packet[6 if v6 else 9] = self.rng.choice((2, 41, 47, 50, 58, 59, 89, 132, 136, 255, 1, 6, 17))
        if not v6:
            seal_ip(packet)
        return packet

    def ip_sum(self, _talk, _place, packet, _l4, _v6):
        packet[10 + self.rng.randrange(2)] ^= self.rng.randrange(1, 256)
        return packet

    def no_sum(self, talk, _place, packet, l4, _v6):
        if talk.proto == UDP and len(packet) >= l4 + 8:
            put16(packet, l4 + 6, 0)
        return packet

    def options(self, _talk, _place, packet, l4, _v6):
        words = self.rng.randint(1, 10)
        packet = packet[:20] + b"\x01" * (4 * words) + packet[l4:]
        packet[0] = 0x45 + words
        put16(packet, 2, len(packet))
        seal_ip(packet)
        return packet

    def ihl(self, _talk, _place, packet, _l4, _v6):
        packet[0] = 0x40 | self.rng.choice((0, 1, 4, 6, 15))
        seal_ip(packet)
        return packet

    def chain(self, packet, kinds):
        rest, following = b"", packet[6]
        for kind in reversed(kinds):
            if kind == 43:
                body = b"\x00\x00\0\0\0\0"  # type 0, nothing left to visit
            elif kind == 51:
                body = bytes(10)
            else:
                body = PADN
            units = (len(body) + 2) // 4 - 2 if kind == 51 else (len(body) + 2) // 8 - 1
            rest = bytes((following, units)) + body + rest
            following = kind
        packet = packet[:40] + rest + packet[40:]
        packet[6] = following
        put16(packet, 4, len(packet) - 40)
        return packet

    def extensions(self, _talk, _place, packet, _l4, _v6):
        return self.chain(packet, [self.rng.choice((60, 60, 51, 43)) for _ in range(self.rng.randint(1, 10))])

    def long_extension(self, _talk, _place, packet, _l4, _v6):
        units = self.rng.choice((5, 20, 26, 27, 28, 40, 100))
        body = b"\x01" + bytes((min(units * 8 + 4, 255),)) + bytes(units * 8 + 4)
        rest = bytes((packet[6], units)) + body
        packet = packet[:40] + rest[:8 * (units + 1)] + packet[40:]
        packet[6] = 60
        put16(packet, 4, len(packet) - 40)
        return packet

    def fragment(self, _talk, _place, packet, _l4, v6):
        """One of those that the packet would be, or one that is all of it; not all, as nobody waits for them here."""
        offset, more = self.rng.choice(((0, 1), (0, 1), (8, 0), (64, 1), (0, 0), (8191, 0)))
        if v6:
            header = bytes((packet[6], 0)) + struct.pack("!HI", offset << 3 | more, self.rng.randrange(1 << 32))
            packet = packet[:40] + header + packet[40:]
            packet[6] = 44
            put16(packet, 4, len(packet) - 40)
        else:
            put16(packet, 4, self.rng.randrange(1 << 16))
            put16(packet, 6, more << 13 | offset)
            seal_ip(packet)
        return packet

    def error(self, talk, place, packet, _l4, v6):
        """In its place an error about one of the conversation, by its receiver or a router on the way; or by somebody who has
        no part in it."""
        rng = self.rng
        reply = rng.randrange(2)
        # As it arrives at the one who complains.
        if reply:  # about an answer: what the client has
            complains, src, dst = talk.client, talk.asked, talk.client
        else:
            complains, src, dst = talk.answering, End(None, talk.seen or talk.client.ip, talk.client.port), talk.answering
        if rng.random() < 0.1:
            src, dst = dst, src
        _, _, data = talk.segment(reply, ACK if talk.proto == TCP else 0, bytes(rng.choice((0, 8, 100))))
        if talk.proto in (TCP, UDP, SCTP):
            data[0:4] = struct.pack("!HH", src.port, dst.port)
            seal(data, src.ip, dst.ip, talk.proto)
        inner = ip_packet(src.ip, dst.ip, talk.proto, data, ttl=rng.choice((1, 63)), ident=7)
        if not v6 and rng.random() < 0.1:
            put16(inner, 6, rng.choice((0x2000, 0x2008, 8)))
            seal_ip(inner)
        inner = inner[:rng.choice((len(inner), len(inner), (40 if v6 else 20) + 8, (40 if v6 else 20) + 7, 19, 0))]
        kinds = ((1, rng.randrange(8)), (2, 0), (3, 0), (4, 1), (100, 0)) if v6 else \
            ((3, rng.randrange(16)), (11, 0), (12, 0), (5, 1), (4, 0))
        kind, code = rng.choice(kinds)
        message = bytearray(struct.pack("!BBHI", kind, code, 0, rng.choice((0, 1280)))) + inner
        place = complains.place
        by = complains.ip
        if rng.random() < 0.3 and not place.startswith("node"):
            place, by = NET, ("192.168.1.1", "fd00:192:168:1::1")[v6]
        elif rng.random() < 0.1:
            place = rng.choice([NET] + ["%s.%s" % pod[:2] for pod in LOCAL])
        if place.startswith("node"):
            return packet
        proto = ICMPV6 if v6 else ICMP
        seal(message, by, src.ip, proto)
        if rng.random() < 0.15:
            message[2 + rng.randrange(len(message) - 2)] ^= 1 << rng.randrange(8)
        wrapped = ip_packet(by, src.ip, proto, message, ident=9)
        return [(place, wrapped)]


def frames(talks, rng):
    """Their packets, in the order of each, mixed."""
    spoiler = Spoiler(rng)
    steps = []
    for n, talk in enumerate(talks):
        talk.rng = rng
        script = talk.script()
        steps += zip(sorted(rng.random() for _ in script), [n] * len(script), script)
    made = []
    for _, n, (reply, flags, size) in sorted(steps, key=lambda step: step[:2]):
        talk = talks[n]
        place, packet = talk.packet(reply, flags, size)
        of_node = place.startswith("node")
        spoilt = rng.random() < 0.25 and not of_node
        # No card takes a longer one.
        made += [(where, 6 if talk.family else 4, bytes(what), talk.client.port)
                 for where, what in (spoiler.spoil(talk, place, packet) if spoilt else [(place, packet)]) if len(what) <= MTU]
    return made
