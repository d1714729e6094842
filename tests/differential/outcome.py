# SPDX-License-Identifier: GPL-2.0-only
"""What became of frames on each data plane, and whether it is the same: what was counted, by reason; what left, byte by
byte; what the table of connections holds. And the same as core/ says in userspace.

Where the eBPF variant differs by a limit that ctl/lib/bpf_limits.h lists, the difference must be the one listed: nothing
leaves. A conversation that has met one is another one from there on, and is compared with core/ alone."""

import collections
import ipaddress
import json

import frames
import generate

# By frames.py, which are all that it makes.
FIRST_CLIENT_PORT, LAST_CLIENT_PORT = 20000, 20000 + 500 * frames.CONVERSATIONS
PORTS, ICMP_ERROR = 0x01, 0x04  # SLUICE_PACKET_*
# A guest takes its time: what has less than this left may be over there, and not here.
SECONDS_LEFT = 60
MOMENTARY = ("timeout", "age")
POD_PLACE = {ip: "%s.%s" % pod[:2] for pod in frames.LOCAL for ip in generate.ADDRESSES[pod[:2]]}
PROTOCOLS = {number: name for name, number in frames.NUMBERS.items()}
POLICY = ("policy-deny", "default-deny", "no-endpoints", "service-port", "policy-allow", "no-policy", "self")


def trim(packet):
    """Without what is behind the packet in its frame, which the stack takes off."""
    v6 = packet[0] >> 4 == 6
    return packet[:int.from_bytes(packet[4:6] if v6 else packet[2:4], "big") + 40 * v6]


def take_hop(packet):
    """As a router would."""
    packet = bytearray(packet)
    if packet[0] >> 4 == 6:
        packet[7] -= 1
    else:
        packet[8] -= 1
        frames.seal_ip(packet)
    return bytes(packet)


def counted(line):
    """Its counters, without what follows from the moment; and the reason it was dropped for, or None."""
    reasons = [name[5:] for name in line["counters"] if name.startswith("drop ")]
    # A negative entry may have ended in between; then there is a new one.
    counters = {name: n for name, n in line["counters"].items() if name not in ("misses", "created", "cut") or not reasons}
    return counters, reasons[0] if reasons else None


def is_sum_right(packet):
    """The transport's; of a packet without options."""
    packet = trim(packet)
    v6 = packet[0] >> 4 == 6
    ends, l4, proto = (packet[8:40], 40, packet[6]) if v6 else (packet[12:20], 20, packet[9])
    start = 0 if proto == frames.ICMP else frames.fold(ends) + proto + len(packet) - l4
    return frames.fold(packet[l4:], start) == 0xffff


def has_options(packet):
    return packet[6] not in frames.CHECK_AT and packet[6] != frames.SCTP if packet[0] >> 4 == 6 else packet[0] & 15 > 5


def is_whole(packet):
    """An "atomic" fragment (RFC 6946)?"""
    return packet[0] >> 4 == 6 and packet[6] == 44 and not packet[42] | packet[43]


def is_unanswered(packet):
    """Is it for somebody on the uplink's own link, where only the router is? The module waits for that neighbour."""
    family, (start, end) = (1, (24, 40)) if packet[0] >> 4 == 6 else (0, (16, 20))
    return ipaddress.ip_address(packet[start:end]) in ipaddress.ip_network(
        "%s/%d" % (generate.NODES[0][family], (24, 64)[family]), strict=False)


def is_fast(counters):
    return "fast_pod" in counters or "fast_uplink" in counters


def describe_answer(packet):
    """A reset, or an unreachable: all of it that the two data planes make alike; and whether its sums are right, which the
    kernel's, from the module, are only when the card has finished them."""
    v6 = packet[0] >> 4 == 6
    src, dst = (packet[8:24], packet[24:40]) if v6 else (packet[12:16], packet[16:20])
    l4, proto = (40, packet[6]) if v6 else ((packet[0] & 15) * 4, packet[9])
    what = bytes(packet[l4:])
    start = 0 if proto == frames.ICMP else frames.fold(src + dst) + proto + len(what)
    right = frames.fold(what, start) == 0xffff and (v6 or frames.fold(bytes(packet[:l4])) == 0xffff)
    if proto == frames.TCP:
        return (proto, src, dst, what[:14]), right  # without the window
    # What is quoted: the network header and 8 bytes, of those that quote more.
    quoted = what[8:8 + (40 if v6 else 20) + 8]
    return (proto, src, dst, what[:2], quoted), right


class FrameComparison:
    what = "frames"

    def __init__(self, seed, ask_core):
        self.seed = seed
        self.ask_core = ask_core
        self.count = collections.Counter()  # by plane: frames, compared with core
        self.pairs = 0  # frames, compared with each other
        self.connections = 0  # likewise
        self.kinds = collections.Counter()
        self.differences = []
        # Client ports (the two ends, of those without) of conversations that have met a limit, or may have come to an end on
        # one data plane alone,
        self.strange = set()
        # and of those that had a packet denied: the negative entry lives for five seconds, as a guest is slow hardly any
        # packet there. As long as it is there, a packet the other way that starts nothing is known, and so is an error.
        self.denied = set()

    def differ(self, case, number, what, got, wanted):
        place, family, packet, _ = case.frames[number]
        self.differences.append("seed %s case %04d frame %d: %s, %s: %s\n  frame:  %s\n  got:    %s\n  wanted: %s" % (
            self.seed, case.number, number, place, "IPv%d" % family, what, packet.hex(), got, wanted))

    def case(self, case, planes):
        lines = {plane.name: [json.loads(line) for line in plane.answers["frames", case.number]] for plane in planes}
        tables = {plane.name: json.loads("\n".join(plane.read("frames", "%04d.connections" % case.number))) for plane in planes}
        if not case.number % 2:
            self.strange, self.denied = set(), set()
        for plane in planes:
            if len(lines[plane.name]) != len(case.frames):
                self.differences.append("seed %s case %04d: %s has %d answers for %d frames" % (
                    self.seed, case.number, plane.name, len(lines[plane.name]), len(case.frames)))
                return
            self.with_core(case, plane.name, lines[plane.name])
        if len(planes) == 2:
            one, other = planes[0].name, planes[1].name
            for number, (of_module, of_bpf) in enumerate(zip(lines[one], lines[other])):
                self.with_each_other(case, number, of_module, of_bpf)
            self.tables(case, tables[one], tables[other])
        for table in tables.values():
            for conn in table:
                if conn["timeout"] < SECONDS_LEFT and conn["state"] != "denied":
                    # Without ports, the conversation is known by its two ends.
                    self.strange |= set(client_ports(conn)) or {frozenset((conn["original"]["src"], conn["original"]["dst"]))}

    def with_core(self, case, name, lines):
        asked = []
        for number, line in enumerate(lines):
            self.count[name] += 1
            counters, reason = counted(line)
            parse = line["window"] if name == "bpf" else line["parse"]
            if parse in ("malformed", "bad-checksum", "unsupported"):
                self.kinds["drop " + parse] += 1
                if line["counters"] != {"drop " + parse: 1} or line["sent"]:
                    self.differ(case, number, "%s and core's parser" % name, line, {"drop " + parse: 1})
            elif line["parse"] == "fragment":
                self.kinds["fragment"] += 1
                # One that is the whole packet needs no other to be reassembled.
                leaves = line["sent"] and not (name == "module" and is_whole(case.frames[number][2]))
                if leaves or (line["stack"] and not self.is_foreign(case, number)) or \
                        (not line["counters"].get("fragments") and reason != "fragment"):
                    self.differ(case, number, "%s and core's parser" % name, line, "a fragment, of which nothing leaves")
            else:
                self.kinds["drop " + reason if reason else " ".join(sorted(counters)) or "nothing counted"] += 1
            own = [ip for ip, pod in POD_PLACE.items() if pod == case.frames[number][0]]
            if own and line["tuple"] and line["tuple"][0] not in own and not line["tuple"][6] & ICMP_ERROR and not reason and \
                    (line["sent"] or "foreign" not in line["counters"]):
                self.differ(case, number, "%s lets another's address through" % name, line, "a drop")
            if line["stack"] and line["mark"] != ("stack" in counters) and not case.frames[number][0].startswith("node"):
                self.differ(case, number, "%s marks what it has not judged, or does not mark what it has" % name, line, counters)
            if len(line["sent"]) > 1:
                self.differ(case, number, "%s sends more than one" % name, line, "one at most")
            if line["expected"] is not None:
                got, wanted = bytes.fromhex(line["sent"][0][1]), bytes.fromhex(line["expected"])
                if got != (wanted if is_fast(counters) else trim(wanted)):
                    self.differ(case, number, "%s and core's translation" % name, got.hex(), wanted.hex())
            question = self.question(case, number, line)
            if question:
                asked.append((number, line, question))
        answers = self.ask_core(case, [question for _, _, question in asked])
        for (number, line, question), answer in zip(asked, answers):
            _, reason = counted(line)
            self.kinds["core: %s %s" % (answer["verdict"], answer["reason"])] += 1
            if reason is None and answer["verdict"] != "allow" or reason is not None and answer["reason"] != reason:
                self.differ(case, number, "%s and core's verdict" % name, line["counters"], (question, answer))

    def is_foreign(self, case, number):
        """By its addresses alone: may the stack have it, whatever it is?"""
        place, family, packet, _ = case.frames[number]
        dst = ipaddress.ip_address(packet[24:40] if family == 6 else packet[16:20])
        if place != frames.NET:
            return dst.is_multicast or str(dst) == "255.255.255.255" or (family == 6 and dst.is_link_local)
        return str(dst) not in POD_PLACE and str(dst) not in [ip for ip, _, _ in case.picks]

    def question(self, case, number, line):
        """To core, about a connection's first packet whose two ends are here, or one is the world; else None."""
        place, _, packet, _ = case.frames[number]
        _, reason = counted(line)
        if not line["tuple"] or not line["counters"].get("misses") or reason not in (None,) + POLICY:
            return None
        src, dst, proto, _, dport, _, flags = line["tuple"]
        if proto not in PROTOCOLS or not flags & PORTS:
            return None
        l4 = 40 if packet[0] >> 4 == 6 else (packet[0] & 15) * 4
        if packet[0] >> 4 == 6 and packet[6] != proto:
            return None  # behind extension headers
        if proto == frames.TCP and packet[l4 + 13] & (frames.SYN | frames.ACK | frames.RST | frames.FIN) != frames.SYN:
            return None
        family = int(":" in src)
        if place != (frames.NET if src == generate.OUTSIDE[family] else POD_PLACE.get(src)):
            return None
        pick = case.picks.get((dst, proto, dport))
        is_service = dst in [ip for ip, _, _ in case.picks]
        if is_service and not pick and place == frames.NET and (dst, proto, dport) not in case.picks:
            return None  # from outside it is nobody's
        if pick:
            dst, dport = generate.ADDRESSES[pick[0][:2]][family], pick[1]
        if not is_service and dst != generate.OUTSIDE[family] or pick:
            if dst not in POD_PLACE:
                return None  # whose ingress policy is another node's
        return {"from": src, "to": dst, "protocol": PROTOCOLS[proto], "port": dport}

    def limit(self, packet, line, of_bpf):
        """The listed limit that the variant has met with this frame, or None."""
        if line["parse"] == "fragment":
            return "Fragments"
        if line["parse"] != line["window"]:
            return "Long header chains"
        if line["tuple"] and line["tuple"][2] == frames.SCTP and of_bpf["counters"].get("drop unsupported"):
            return "SCTP through services"
        if counted(line)[1] and counted(line) == counted(of_bpf) and bool(line["sent"]) != bool(of_bpf["sent"]) and \
                (has_options(packet) if line["sent"] else not is_sum_right(packet)):
            return "Refusals"
        return None

    def with_each_other(self, case, number, of_module, of_bpf):
        place, _, packet, client_port = case.frames[number]
        limit = self.limit(packet, of_module, of_bpf)
        if limit:
            self.kinds["limit: " + limit] += 1
            if limit == "Refusals":
                return
            self.strange.add(client_port)
            # Not ours, it is the stack's, as it is, on both.
            as_it_is = of_bpf["stack"] == packet.hex() and "foreign" in of_bpf["counters"]
            if of_bpf["sent"] or (of_bpf["stack"] is not None and not as_it_is):
                self.differ(case, number, "bpf lets through what it cannot do: " + limit, of_bpf, of_module)
            return
        ends = of_bpf["tuple"]
        if client_port in self.strange or (ends and not ends[6] & PORTS and frozenset(ends[:2]) in self.strange):
            return
        # Without ports and identifiers one conversation between two ends is all of them.
        flow = frozenset(ends[:2]) if ends and not (ends[6] & ICMP_ERROR or ends[3] or ends[4]) else client_port
        self.pairs += 1
        counters, reason = counted(of_module)
        both = set(of_module["counters"]) ^ set(of_bpf["counters"])
        if flow in self.denied and (both & {"drop no-connection"} or
                                    (both and ends and ends[6] & ICMP_ERROR)):
            self.kinds["in the way of a denied one"] += 1
            self.strange.add(flow)
            return
        if reason in POLICY:
            self.denied.add(flow)
        if (counters, reason) != counted(of_bpf):
            self.differ(case, number, "module and bpf count", of_bpf, of_module)
            return
        if counters.get("remapped"):  # to a port of each one's own choice
            self.strange.add(client_port)
            return
        arrived = [(where, bytes.fromhex(what)) for where, what in of_module["sent"]]
        made = [bytes.fromhex(what) for _, what in of_bpf["sent"]]
        if reason:
            ours, theirs = [describe_answer(what) for what in made], [describe_answer(what) for _, what in arrived]
            if [what for what, _ in ours] != [what for what, _ in theirs] or not all(right for _, right in ours) or \
                    [where for where, _ in arrived] != [place] * len(arrived):
                self.differ(case, number, "module and bpf answer", of_bpf, of_module)
        elif is_fast(counters) and len(made) == 1 and not arrived and is_unanswered(made[0]):
            self.kinds["no neighbour"] += 1
        elif is_fast(counters):
            if [what for _, what in arrived] != made or len(made) != 1:
                self.differ(case, number, "module and bpf send", of_bpf, of_module)
            else:
                self.goes_to(case, number, arrived[0])
        elif arrived and place.startswith("node"):
            if [what for _, what in arrived] != made:
                self.differ(case, number, "module and bpf send", of_bpf, of_module)
        elif arrived:
            # The stack carried it on, as the module gave it to it; what the variant gives it must have come to the same.
            if [what for _, what in arrived] != [trim(take_hop(bytes.fromhex(of_bpf["stack"])))]:
                self.differ(case, number, "module and bpf hand to the stack", of_bpf, of_module)

    def goes_to(self, case, number, arrived):
        where, what = arrived
        dst = str(ipaddress.ip_address(what[24:40] if what[0] >> 4 == 6 else what[16:20]))
        if where != POD_PLACE.get(dst, frames.NET):
            self.differ(case, number, "the module sends to %s" % dst, where, POD_PLACE.get(dst, frames.NET))

    def tables(self, case, of_module, of_bpf):
        one, other = ({key(conn): conn for conn in table} for table in (of_module, of_bpf))
        for tuple_ in sorted(set(one) | set(other)):
            conns = [table.get(tuple_) for table in (one, other)]
            there = [conn for conn in conns if conn]
            ports = client_ports(there[0])
            if self.strange.intersection(ports) or (self.strange and not ports):
                continue
            if len(there) == 1 and (there[0]["timeout"] < SECONDS_LEFT or there[0]["state"] == "denied"):
                continue
            self.connections += 1
            module, bpf = (conn and {k: v for k, v in conn.items() if k not in MOMENTARY} for conn in conns)
            if module != bpf:
                self.differences.append("seed %s case %04d: entries of module and bpf\n  got:    %s\n  wanted: %s" % (
                    self.seed, case.number, json.dumps(bpf), json.dumps(module)))


def key(conn):
    start = conn["original"]
    return conn["protocol"], start["src"], start["dst"], start["sport"], start["dport"]


def client_ports(conn):
    return [port for side in ("original", "reply") if conn[side] for port in (conn[side]["sport"], conn[side]["dport"])
            if FIRST_CLIENT_PORT <= port < LAST_CLIENT_PORT]
