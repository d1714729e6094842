# SPDX-License-Identifier: GPL-2.0-only
"""A generic netlink client of its own: no line of it is shared with the kernel module or with ctl/.

Numbers and types of commands and attributes come from uapi/sluice.yaml. An attribute set is a dictionary of
the spec's names: encode("peer", {"addr": "10.0.0.0", "plen": 8, "class": 7}). Values are, by their type there:

    u8, u16, u32, u64   an int; the spec tells the byte order
    string              a str, which gets its closing NUL
    binary              bytes; encode takes an address as a str too
    nest                a dictionary; or bytes, put in as they are, to send what is not right
    multi-attr          a list of any of these

What it decodes must be in the spec and of the right length, or it raises.
"""

import errno
import os
import socket
import struct

import yaml

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
with open(os.path.join(TOP, "uapi", "sluice.yaml")) as spec_file:
    SPEC = yaml.load(spec_file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))

# linux/netlink.h, linux/genetlink.h
NETLINK_GENERIC = 16
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_ACK_TLVS = 0x200
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3fff
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2

MESSAGE_HEADER = struct.Struct("=IHHII")
GENERIC_HEADER = struct.Struct("=BBH")
ATTRIBUTE_HEADER = struct.Struct("=HH")
LARGEST_DATAGRAM = 1 << 18
ANSWER_SECONDS = 60

INTEGERS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}


class Attribute:
    def __init__(self, number, spec):
        self.number = number
        self.name = spec["name"]
        self.type = spec["type"]
        self.multi = spec.get("multi-attr", False)
        self.nested = spec.get("nested-attributes")
        self.integer = None
        if self.type in INTEGERS:
            order = ">" if spec.get("byte-order") == "big-endian" else "="
            self.integer = struct.Struct(order + INTEGERS[self.type])


class AttributeSet:
    def __init__(self, spec):
        attributes = [Attribute(number, entry) for number, entry in enumerate(spec["attributes"], 1)]
        self.by_name = {attribute.name: attribute for attribute in attributes}
        self.by_number = {attribute.number: attribute for attribute in attributes}


SETS = {spec["name"]: AttributeSet(spec) for spec in SPEC["attribute-sets"]}
COMMANDS = {spec["name"]: number for number, spec in enumerate(SPEC["operations"]["list"], 1)}
DEFINITIONS = {spec["name"]: spec for spec in SPEC["definitions"]}


def constant(name, entry=None):
    """The value of a constant, or of an entry of an enum or of flags."""
    definition = DEFINITIONS[name]
    if entry is None:
        return definition["value"]
    names = [word if isinstance(word, str) else word["name"] for word in definition["entries"]]
    index = names.index(entry)
    return 1 << index if definition["type"] == "flags" else index


def address_bytes(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def raw_attribute(number, payload):
    header = ATTRIBUTE_HEADER.pack(ATTRIBUTE_HEADER.size + len(payload), number)
    return header + payload + b"\0" * (-len(payload) % 4)


def encode_one(attribute, value):
    if attribute.type == "nest":
        payload = value if isinstance(value, bytes) else encode(attribute.nested, value)
        return raw_attribute(attribute.number | NLA_F_NESTED, payload)
    if attribute.integer:
        return raw_attribute(attribute.number, attribute.integer.pack(value))
    if attribute.type == "string":
        return raw_attribute(attribute.number, value.encode() + b"\0")
    return raw_attribute(attribute.number, address_bytes(value) if isinstance(value, str) else value)


def encode(set_name, values):
    attributes = SETS[set_name].by_name
    out = []
    for name, value in values.items():
        attribute = attributes[name]
        for one in value if isinstance(value, list) else [value]:
            out.append(encode_one(attribute, one))
    return b"".join(out)


def raw_attributes(data):
    """Pairs of number and payload."""
    offset = 0
    while offset < len(data):
        length, number = ATTRIBUTE_HEADER.unpack_from(data, offset)
        if length < ATTRIBUTE_HEADER.size or offset + length > len(data):
            raise ValueError("attribute %d of %d bytes at %d of %d" % (number, length, offset, len(data)))
        yield number & NLA_TYPE_MASK, data[offset + ATTRIBUTE_HEADER.size:offset + length]
        offset += (length + 3) & ~3


def decode_one(attribute, payload):
    if attribute.type == "nest":
        return decode(attribute.nested, payload)
    if attribute.integer:
        return attribute.integer.unpack(payload)[0]
    if attribute.type == "string":
        if not payload.endswith(b"\0"):
            raise ValueError("%s does not end in NUL" % attribute.name)
        return payload[:-1].decode()
    return payload


def decode(set_name, data):
    attributes = SETS[set_name].by_number
    values = {}
    for number, payload in raw_attributes(data):
        attribute = attributes[number]
        value = decode_one(attribute, payload)
        if attribute.multi:
            values.setdefault(attribute.name, []).append(value)
        else:
            values[attribute.name] = value
    return values


class Refused(Exception):
    """The kernel's error, with the text of its extended ack."""

    def __init__(self, number, text):
        super().__init__("%s: %s" % (errno.errorcode.get(number, number), text))
        self.errno = number
        self.text = text


class Client:
    """A socket of the network namespace it is opened in. Requests are bytes of encode("sluice", ...)."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self.socket.bind((0, 0))
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            self.socket.setsockopt(SOL_NETLINK, option, 1)
        self.socket.settimeout(ANSWER_SECONDS)
        self.sequence = 0
        self.interrupted = False  # the last dump, by a commit
        name = raw_attribute(CTRL_ATTR_FAMILY_NAME, SPEC["name"].encode() + b"\0")
        answer = self.exchange(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, name, NLM_F_ACK)[0]
        self.family = struct.unpack("=H", dict(raw_attributes(answer))[CTRL_ATTR_FAMILY_ID])[0]

    def close(self):
        self.socket.close()

    def exchange(self, family, command, payload, flags, reserved=0):
        """Sends one message; returns the attributes of each message of the answer, as bytes."""
        self.sequence += 1
        self.interrupted = False
        body = GENERIC_HEADER.pack(command, SPEC["version"], reserved) + payload
        header = MESSAGE_HEADER.pack(MESSAGE_HEADER.size + len(body), family, NLM_F_REQUEST | flags,
                                     self.sequence, 0)
        self.socket.send(header + body)
        answers = []
        while not self.receive(answers):
            pass
        return answers

    def receive(self, answers):
        """Takes one datagram in; returns whether it held the end of the answer."""
        data = self.socket.recv(LARGEST_DATAGRAM)
        offset = 0
        ended = False
        while offset < len(data):
            length, kind, flags, sequence, _ = MESSAGE_HEADER.unpack_from(data, offset)
            body = data[offset + MESSAGE_HEADER.size:offset + length]
            offset += (length + 3) & ~3
            if sequence != self.sequence:
                raise ValueError("an answer to %d instead of %d" % (sequence, self.sequence))
            if flags & NLM_F_DUMP_INTR:
                self.interrupted = True
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                self.judge(kind, flags, body)
                ended = True
            else:
                answers.append(body[GENERIC_HEADER.size:])
        return ended

    @staticmethod
    def judge(kind, flags, body):
        error = struct.unpack_from("=i", body)[0]
        if not error:
            return
        # In an ack the header of the message in question comes first.
        start = 4 if kind == NLMSG_DONE else 4 + MESSAGE_HEADER.size
        extended = dict(raw_attributes(body[start:])) if flags & NLM_F_ACK_TLVS else {}
        raise Refused(-error, extended.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode())

    def ask(self, command, payload=b"", reserved=0):
        """One request; returns the attributes of its answer."""
        answers = self.exchange(self.family, COMMANDS[command], payload, NLM_F_ACK, reserved)
        return decode("sluice", answers[0]) if answers else {}

    def messages(self, command, payload=b""):
        """A dump as it comes."""
        return self.exchange(self.family, COMMANDS[command], payload, NLM_F_DUMP)

    def dump(self, kind, payload=b""):
        """All objects of a kind: what is in their attributes."""
        objects = []
        for message in self.messages("get-" + kind, payload):
            (only,) = decode("sluice", message)[kind]
            objects.append(only)
        return objects

    def info(self):
        return self.ask("get-info")["info"]

    def begin(self):
        return self.ask("begin")["revision"]

    def update(self, *objects):
        self.ask("update", b"".join(objects))

    def delete(self, *objects):
        self.ask("delete", b"".join(objects))

    def commit(self, flags=0):
        return self.ask("commit", encode("sluice", {"flags": flags}) if flags else b"")["revision"]

    def abort(self):
        self.ask("abort")
