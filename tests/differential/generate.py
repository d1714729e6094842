# SPDX-License-Identifier: GPL-2.0-only
"""Random clusters for the differential test: what pods there are is always the same, their labels and ports, services
and policies are a case's own. From (seed, case) alone, so that a case can be made again."""

import ipaddress
import random

# namespace, name, node; addresses follow from the order in which the CNI plugin gives them away.
PODS = (("red", "a", 1), ("red", "b", 2), ("red", "c", 1), ("blue", "a", 2), ("blue", "b", 1), ("green", "a", 2))
NAMESPACES = ("red", "blue", "green")
OUTSIDE = ("203.0.113.7", "2001:db8:113::7")
NODES = (("192.168.1.2", "fd00:192:168:1::2"), ("192.168.2.2", "fd00:192:168:2::2"))
# Servers listen on these in every pod, whatever the case says about ports. Names are given to some of them.
PORTS = (("TCP", 80), ("TCP", 81), ("TCP", 8080), ("UDP", 53), ("UDP", 80))
PORT_NAMES = ("web", "alt", "dns")
LABELS = {"app": ("x", "y", "z"), "tier": ("front", "back")}
TEAMS = ("one", "two")
PROBES = 40  # a case
FIRST_PORT = 20000
CASES = 1000  # with ports of their own: a connection is known by its ports


def addresses():
    """(namespace, name) -> (IPv4, IPv6)"""
    given, last = {}, {1: 1, 2: 1}
    for namespace, name, node in PODS:
        last[node] += 1
        given[namespace, name] = ("10.244.%d.%d" % (node, last[node]), "fd00:10:244:%d::%x" % (node, last[node]))
    return given


ADDRESSES = addresses()
NODE_OF = {(namespace, name): node for namespace, name, node in PODS}


class Case:
    def __init__(self, seed, number):
        self.random = random.Random("%s/%d" % (seed, number))
        self.number = number
        self.manifests = {}  # file name -> object
        self.services = []
        self.probes = []
        for namespace in NAMESPACES:
            self.namespace(namespace)
        for namespace, name, node in PODS:
            self.pod(namespace, name, node)
        for n in range(self.random.randint(1, 5)):
            self.service(n)
        for n in range(self.random.choice((0, 1, 2, 3, 5, 8, 13))):
            self.policy(n)
        for n in range(self.random.choice((0, 0, 1, 2, 4))):
            self.cluster_policy(n)
        for n in range(PROBES):
            self.probe(FIRST_PORT + number % CASES * PROBES + n)

    def lines(self):
        """For tools/probe."""
        return ["%s %s %s %d sport=%d" % (p["from"], p["protocol"].lower(), p["to"], p["port"], p["sport"]) for p in self.probes]

    def some(self, things, most=None):
        """A few of them, in their order."""
        count = self.random.randint(1, most or len(things))
        chosen = set(self.random.sample(range(len(things)), min(count, len(things))))
        return [thing for n, thing in enumerate(things) if n in chosen]

    def labels(self):
        return {key: self.random.choice(values) for key, values in LABELS.items() if self.random.random() < 0.7}

    def namespace(self, name):
        labels = {"kubernetes.io/metadata.name": name}
        if self.random.random() < 0.7:
            labels["team"] = self.random.choice(TEAMS)
        self.manifests["namespace-%s.yaml" % name] = {
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}

    def pod(self, namespace, name, node):
        ports, names = [], list(PORT_NAMES)
        for protocol, port in self.some(PORTS):
            ports.append({"containerPort": port, "protocol": protocol})
            if names and self.random.random() < 0.6:
                ports[-1]["name"] = names.pop(self.random.randrange(len(names)))
        ips = ADDRESSES[namespace, name]
        self.manifests["pod-%s-%s.yaml" % (namespace, name)] = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "labels": self.labels()},
            "spec": {"nodeName": "node%d" % node, "containers": [{"name": "main", "ports": ports}]},
            "status": {"phase": "Running", "podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips],
                       "conditions": [{"type": "Ready", "status": self.random.choice(("True", "True", "True", "False"))}]}}

    def service(self, number):
        ips = ["10.96.7.%d" % (number + 1), "fd00:96::7:%d" % (number + 1)]
        namespace, pod, _ = self.random.choice(PODS)
        name, labels = "s%d" % number, self.manifests["pod-%s-%s.yaml" % (namespace, pod)]["metadata"]["labels"]
        # A pod's own labels, or some of them; now and then anybody's, which may be nobody's.
        selector = {key: labels[key] for key in self.some(sorted(labels))} if labels else {}
        if not selector or self.random.random() < 0.15:
            selector = {"app": self.random.choice(LABELS["app"])}
        ports = []
        for n, (protocol, port) in enumerate(self.some(PORTS, 3)):
            ports.append({"name": "p%d" % n, "port": 1000 + n, "protocol": protocol,
                          "targetPort": self.random.choice((port, port, port, self.random.choice(PORT_NAMES)))})
        self.services.append((ips, ports))
        self.manifests["service-%s.yaml" % name] = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": ips[0], "clusterIPs": ips, "ipFamilyPolicy": "PreferDualStack",
                     "selector": selector, "ports": ports}}

    def selector(self, table):
        form = self.random.random()
        if form < 0.2:
            return {}
        key = self.random.choice(list(table))
        values = table[key]
        if form < 0.7:
            return {"matchLabels": {key: self.random.choice(values)}}
        operator = self.random.choice(("In", "NotIn", "Exists", "DoesNotExist"))
        expression = {"key": key, "operator": operator}
        if operator.endswith("In"):
            expression["values"] = self.some(values)
        return {"matchExpressions": [expression]}

    def block(self):
        family = self.random.randrange(2)
        address = ipaddress.ip_address(self.random.choice(list(ADDRESSES.values()) + [OUTSIDE])[family])
        most = address.max_prefixlen
        length = self.random.choice((0, most // 4, most // 2, most - 8, most - 4, most - 1, most))
        block = {"cidr": str(ipaddress.ip_network((address, length), strict=False))}
        if length < most - 1 and self.random.random() < 0.5:
            inner = self.random.randint(length + 1, most)
            within = ipaddress.ip_address(self.random.choice(list(ADDRESSES.values()) + [OUTSIDE])[family])
            network = ipaddress.ip_network((within, inner), strict=False)
            if network.subnet_of(ipaddress.ip_network(block["cidr"])):
                block["except"] = [str(network)]
        return block

    def peer(self):
        form = self.random.random()
        if form < 0.3:
            return {"ipBlock": self.block()}
        peer = {}
        if form < 0.8:
            peer["podSelector"] = self.selector(LABELS)
        if form > 0.55:
            peer["namespaceSelector"] = self.selector(
                {"team": TEAMS, "kubernetes.io/metadata.name": NAMESPACES})
        return peer

    def rule(self, peers):
        rule = {}
        if self.random.random() < 0.85:
            rule[peers] = [self.peer() for _ in range(self.random.randint(1, 3))]
        if self.random.random() < 0.5:
            rule["ports"] = []
            for protocol, port in self.some(PORTS, 2):
                entry = {"protocol": protocol}
                form = self.random.random()
                if form < 0.25:
                    entry["port"] = self.random.choice(PORT_NAMES)
                elif form < 0.75:
                    entry["port"] = port
                elif form < 0.9:
                    entry["port"] = self.random.randint(1, port)
                    entry["endPort"] = self.random.randint(entry["port"], 9000)
                rule["ports"].append(entry)
        return rule

    def policy(self, number):
        spec = {"podSelector": self.selector(LABELS), "policyTypes": self.some(("Ingress", "Egress"))}
        for kind, peers in (("Ingress", "from"), ("Egress", "to")):
            if kind in spec["policyTypes"] and self.random.random() < 0.85:
                spec[kind.lower()] = [self.rule(peers) for _ in range(self.random.randint(0, 4))]
        self.manifests["policy-%d.yaml" % number] = {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": self.random.choice(NAMESPACES), "name": "p%d" % number}, "spec": spec}

    def pods_peer(self):
        """What a ClusterNetworkPolicy selects by, its subject and its peers."""
        namespaces = self.selector({"team": TEAMS, "kubernetes.io/metadata.name": NAMESPACES})
        if self.random.random() < 0.5:
            return {"namespaces": namespaces}
        return {"pods": {"namespaceSelector": namespaces, "podSelector": self.selector(LABELS)}}

    def cluster_rule(self, peers):
        rule = {"action": self.random.choice(("Accept", "Deny", "Pass")), peers: []}
        for _ in range(self.random.randint(1, 3)):
            form = self.random.random()
            if peers == "to" and form < 0.4:
                rule[peers].append({"networks": [self.block()["cidr"] for _ in range(self.random.randint(1, 2))]})
            elif peers == "to" and form < 0.5:
                rule[peers].append({"nodes": {}})
            else:
                rule[peers].append(self.pods_peer())
        if self.random.random() < 0.5:
            rule["protocols"] = []
            for protocol, port in self.some(PORTS, 2):
                form = self.random.random()
                if form < 0.25:
                    rule["protocols"].append({"destinationNamedPort": self.random.choice(PORT_NAMES)})
                    continue
                number = {"number": port}
                if form > 0.75:
                    number = {"range": {"start": self.random.randint(1, port), "end": self.random.randint(port + 1, 9000)}}
                rule["protocols"].append({protocol.lower(): {"destinationPort": number}})
        return rule

    def cluster_policy(self, number):
        spec = {"tier": self.random.choice(("Admin", "Baseline")), "priority": self.random.randint(0, 3), "subject": self.pods_peer()}
        for kind, peers in (("ingress", "from"), ("egress", "to")):
            if self.random.random() < 0.7:
                spec[kind] = [self.cluster_rule(peers) for _ in range(self.random.randint(1, 4))]
        self.manifests["cluster-policy-%d.yaml" % number] = {
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": "c%d" % number},
            "spec": spec}

    def probe(self, source_port):
        """from: where its packets start; source: that one's address; to, protocol, port: where they go."""
        family = self.random.randrange(2)
        form = self.random.random()
        if form < 0.8:
            pod = self.random.choice(PODS)
            start, source = "%s.%s" % pod[:2], ADDRESSES[pod[:2]][family]
        elif form < 0.9:
            start, source = "ext", OUTSIDE[family]
        else:
            node = self.random.randrange(2)
            start, source = "node%d" % (node + 1), NODES[node][family]
        # The world has no route to services.
        if start != "ext" and self.random.random() < 0.4:
            ips, ports = self.random.choice(self.services)
            port = self.random.choice(ports)
            to, protocol, number = ips[family], port["protocol"], port["port"]
        else:
            to = self.random.choice([ips[family] for ips in ADDRESSES.values() if ips[family] != source])
            protocol, number = self.random.choice(PORTS)
        self.probes.append({"from": start, "source": source, "sport": source_port, "to": to, "protocol": protocol,
                            "port": number})
