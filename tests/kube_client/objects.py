# SPDX-License-Identifier: GPL-2.0-only
"""Kubernetes objects as an API server has them, managed fields and all, for the fake one."""

import ipaddress


def metadata(name, namespace=None, labels=None, **more):
    """With what makes up most of an object, and nobody reads."""
    return {"name": name, **({"namespace": namespace} if namespace else {}), "uid": "6f1d1d4e-0000-4000-8000-" + f"{abs(hash(name)):012x}"[:12],
            "labels": labels or {}, "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": {"example.test/note": "a note\nwith \"quotes\" and \\ and \u00e9"},
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                               "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
                               "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {}}}], **more}


def namespace(name, **labels):
    return {"metadata": metadata(name, labels={"kubernetes.io/metadata.name": name, **labels}),
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


def node(name, ip="192.0.2.1", pod_cidr="10.1.0.0/24"):
    return {"metadata": metadata(name), "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
            "status": {"addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}],
                       "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-02T03:04:05Z"}],
                       "images": [{"names": ["registry.test/image@sha256:" + "0" * 64], "sizeBytes": 1000}] * 20}}


def pod(name, ns="shop", ip="10.1.0.5", node_name="node1", labels=None, port=8080, **status):
    return {"metadata": metadata(name, ns, labels or {"app": "web"}, ownerReferences=[
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "0", "controller": True}]),
            "spec": {"nodeName": node_name, "restartPolicy": "Always", "serviceAccountName": "default",
                     "volumes": [{"name": "kube-api-access", "projected": {"sources": [{"serviceAccountToken": {
                         "expirationSeconds": 3607, "path": "token"}}]}}],
                     "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
                     "containers": [{"name": "web", "image": "registry.test/web:1", "env": [{"name": "A", "value": "b"}] * 10,
                                     "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
                                     "resources": {"limits": {"cpu": "1"}}, "imagePullPolicy": "IfNotPresent",
                                     "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets"}]}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.0.2.1", "qosClass": "Burstable",
                       "conditions": [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}
                                      for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                                                   "PodScheduled")],
                       "containerStatuses": [{"name": "web", "ready": True, "restartCount": 0, "started": True,
                                              "image": "registry.test/web:1", "containerID": "containerd://" + "0" * 64,
                                              "imageID": "registry.test/web@sha256:" + "0" * 64,
                                              "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}], **status}}


def service(name="web", ns="shop", ip="10.96.0.1", port=80):
    return {"metadata": metadata(name, ns), "spec": {
        "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "selector": {"app": name},
        "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": "http"}]}, "status": {"loadBalancer": {}}}


def endpoint_slice(service_name="web", ns="shop", addresses=("10.1.0.5",), suffix="abcde", port=8080):
    return {"metadata": metadata(f"{service_name}-{suffix}", ns, {"kubernetes.io/service-name": service_name,
                                                                 "endpointslice.kubernetes.io/managed-by": "test"}),
            "addressType": "IPv4", "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "nodeName": "node1",
                           "conditions": {"ready": True, "serving": True, "terminating": False},
                           "targetRef": {"kind": "Pod", "namespace": ns, "name": "p" + address}} for address in addresses]}


def policy(name="web", ns="shop", app="web", peer="client", port=8080):
    return {"metadata": metadata(name, ns), "spec": {
        "podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": peer}}}], "ports": [{"protocol": "TCP", "port": port}]}]}}


def cluster_policy(name="tenants", team="a"):
    return {"metadata": metadata(name), "spec": {
        "tier": "Admin", "priority": 10, "subject": {"namespaces": {"matchLabels": {"team": team}}},
        "ingress": [{"name": "others", "action": "Deny", "from": [{"namespaces": {}}]}]}}


def small_cluster(api):
    for name in ("default", "kube-system", "shop"):
        api.put("namespaces", namespace(name))
    api.put("nodes", node("node1"))
    api.put("pods", pod("web"))
    api.put("services", service())
    api.put("endpointslices", endpoint_slice())
    api.put("networkpolicies", policy())
    api.put("clusternetworkpolicies", cluster_policy())


def large_cluster(api, pods, services, policies, nodes=300, endpoints=5):
    """As the issue of scale has it: namespaces of 160 pods, each service with some of them."""
    first = int(ipaddress.ip_address("10.128.0.0"))
    address = [str(ipaddress.ip_address(first + i)) for i in range(pods)]
    namespaces = max(pods // 160, 1)
    for name in ("default", "kube-system", *(f"ns{i}" for i in range(namespaces))):
        api.put("namespaces", namespace(name, team=name), silent=True)
    for i in range(nodes):
        api.put("nodes", node("node1" if not i else f"node{i + 1}", str(ipaddress.ip_address(0xc0000200 + i)),
                              f"10.{128 + i // 256}.{i % 256}.0/24"), silent=True)
    for i in range(pods):
        api.put("pods", pod(f"app{i % 40}-6c5b7d9f4-{i:05}", f"ns{i % namespaces}", address[i], f"node{i % nodes + 1}",
                            {"app": f"app{i // namespaces % 40}", "pod-template-hash": "6c5b7d9f4", "tier": f"t{i % 3}"}), silent=True)
    for i in range(services):
        ns = i % namespaces
        api.put("services", service(f"svc{i}", f"ns{ns}", str(ipaddress.ip_address(0x0a600000 + i + 1))), silent=True)
        # Pods of the namespace: every namespaces-th one.
        backends = [address[(ns + namespaces * (i // namespaces + k)) % pods] for k in range(endpoints)]
        api.put("endpointslices", endpoint_slice(f"svc{i}", f"ns{ns}", backends), silent=True)
    for i in range(policies):
        api.put("networkpolicies", policy(f"policy{i}", f"ns{i % namespaces}", f"app{i // namespaces % 40}",
                                          f"app{(i // namespaces + 1) % 40}"), silent=True)
