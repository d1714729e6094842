# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A real Kubernetes cluster of two nodes on one machine, with Sluice ($dataplane) and nothing else. Sourced by tests/e2e/run,
# inside namespaces (mounts, processes, network) whose end is the end of all of it.
#
#   +--- node-1 ------------------------+      +--- node-2 ---------------+
#   | eth0 10.0.0.1/24                  |------| eth0 10.0.0.2/24         |
#   | etcd, kube-apiserver, controller  | veth | containerd, kubelet      |
#   | manager, scheduler, CoreDNS       |      | sluiced, sluice-cni      |
#   | containerd, kubelet               |      |                          |
#   | sluiced, sluice-cni               |      |                          |
#   +-----+-----------------------------+      +------+-------------------+
#       pods 10.1.0.0/24                            pods 10.1.1.0/24           services 10.96.0.0/12, DNS 10.96.0.10
#
# Each box is a network namespace with cgroups of its own: /sluice-e2e/node-N of each hierarchy that the machine has. The
# processes of a node are in it, so that sluiced's cgroup programs are attached there and not to the root.
# A namespace is entered by nsenter: `ip netns exec` would hide the cgroups.
#
# The module is in the kernel of a guest (tests/integration/vm), and there all of this is as well.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/integration/module.sh
. "$TOP/tests/integration/module.sh"
STATE=/run/e2e # a tmpfs of the run's own
LOGS=$TOP/build/log/e2e
IMAGES=$TOP/build/e2e/images
NODES=(1 2)
CLUSTER_CIDR=10.1.0.0/16
DNS=10.96.0.10
API=10.0.0.1
PLANE=$STATE/plane # of tests/kube/control_plane.py
export KUBECONFIG=$PLANE/kubeconfig
# Under emulation all that waits here waits longer.
SLOWER=1
[ -z "${SLUICE_KERNEL:-}" ] || SLOWER=10

### Cgroups ##################################################################################

# The hierarchies: one (cgroup2), or several (version 1) with a cgroup2 beside them.
cgroup_roots() {
	findmnt --noheadings --types cgroup,cgroup2 --output TARGET
}

cgroup2_root() {
	findmnt --noheadings --first-only --types cgroup2 --output TARGET
}

cgroups_up() {
	local root n controller file
	for root in $(cgroup_roots); do
		for n in "${NODES[@]}"; do
			mkdir -p "$root/sluice-e2e/node-$n"
		done
	done
	for file in cpuset.cpus cpuset.mems; do # empty ones take no process
		root=/sys/fs/cgroup/cpuset
		[ -e "$root/$file" ] || continue
		for n in sluice-e2e "${NODES[@]/#/sluice-e2e/node-}"; do
			cat "$root/$file" >"$root/$n/$file"
		done
	done
	root=$(cgroup2_root)
	for n in "${NODES[@]}"; do
		mkdir -p "$root/sluice-e2e/node-$n/host"
	done
	for controller in $(cat "$root/cgroup.controllers"); do
		for n in "" /sluice-e2e "${NODES[@]/#//sluice-e2e/node-}"; do
			echo "+$controller" >"$root$n/cgroup.subtree_control"
		done
	done
}

# Ends what runs in them. The kernel takes its time to bury the last process.
cgroups_down() {
	local root tries folder
	root=$(cgroup2_root)/sluice-e2e
	[ ! -e "$root" ] || echo 1 >"$root/cgroup.kill"
	for root in $(cgroup_roots); do
		for ((tries = 0; tries < 50; tries++)); do
			[ -e "$root/sluice-e2e" ] || break
			while read -r folder; do
				rmdir "$folder" 2>/dev/null || true
			done < <(find "$root/sluice-e2e" -depth -type d)
			sleep 0.1
		done
		[ ! -e "$root/sluice-e2e" ] || return 1
	done
}

### Processes ################################################################################

# on NODE COMMAND...: in its namespace and cgroup
on() {
	local node=$1
	shift
	(
		echo "$BASHPID" >"$(cgroup2_root)/sluice-e2e/node-$node/host/cgroup.procs"
		exec nsenter --net="/run/netns/node-$node" "$@"
	)
}

# start NODE NAME COMMAND...: in the background; what it says is in build/log/e2e/node-N.NAME
start() {
	local node=$1 name=$2
	shift 2
	on "$node" "$@" >"$LOGS/node-$node.$name" 2>&1 </dev/null &
}

# keep NODE NAME COMMAND...: started, and again whenever it ends. The controller manager and the scheduler give up if the API
# server does not answer within 30 s; in a cluster of people kubelet starts them again.
keep() {
	local node=$1 name=$2
	shift 2
	while true; do
		on "$node" "$@" || true
		sleep 1
	done >"$LOGS/node-$node.$name" 2>&1 </dev/null &
}

kubectl() {
	on 1 "$DIR/kubectl" "$@"
}

# wait_for SECONDS COMMAND...: until it succeeds, so many seconds of an unemulated machine at most
wait_for() {
	local until=$((SECONDS + $1 * SLOWER))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || {
			echo "e2e: gave up waiting for: $*" >&2
			return 1
		}
		sleep 0.5
	done
}

### The control plane ########################################################################

network_up() {
	local n other
	mkdir -p /run/netns
	for n in "${NODES[@]}"; do
		ip netns add "node-$n"
	done
	ip link add eth0 netns node-1 type veth peer name eth0 netns node-2
	for n in "${NODES[@]}"; do
		other=$((3 - n))
		ip -n "node-$n" -batch - <<-END
			link set lo up
			link set eth0 up
			addr add 10.0.0.$n/24 dev eth0
			route add default via 10.0.0.$other
			route add 10.1.$((other - 1)).0/24 via 10.0.0.$other
		END
	done
}

control_plane_up() {
	local name
	mkdir $PLANE
	for name in etcd kube-apiserver; do # what they say stays
		ln -s "$LOGS/node-1.$name" "$PLANE/$name.log"
	done
	on 1 "$TOP/tests/kube/control_plane.py" start $PLANE --address "$API" --bin "$DIR" >/dev/null
	keep 1 kube-controller-manager "$DIR/kube-controller-manager" --kubeconfig="$KUBECONFIG" \
		--service-account-private-key-file=$PLANE/accounts.key --root-ca-file=$PLANE/ca.crt \
		--allocate-node-cidrs --cluster-cidr=$CLUSTER_CIDR --leader-elect=false \
		--node-monitor-grace-period=$((50 * SLOWER))s
	keep 1 kube-scheduler "$DIR/kube-scheduler" --kubeconfig="$KUBECONFIG" --leader-elect=false
	dns_up
	account_up
}

# What sluiced may do is what a DaemonSet of deploy/ gives it. kubectl and the tests are the administrator.
account_up() {
	local token
	kubectl apply -f "$TOP/deploy/cluster/rbac.yaml" >/dev/null
	token=$(kubectl -n kube-system create token sluice --duration 24h)
	jq --arg token "$token" '.users[].user = {token: $token}' "$KUBECONFIG" >$PLANE/sluice.kubeconfig
}

# CoreDNS as a process of node-1, behind the service that kubelet tells pods of.
dns_up() {
	cat >$STATE/Corefile <<-END
		.:53 {
			bind $API
			errors
			kubernetes cluster.local in-addr.arpa ip6.arpa {
				kubeconfig $KUBECONFIG
			}
			cache 5
		}
	END
	start 1 coredns "$DIR/coredns" -conf $STATE/Corefile
	kubectl apply -f - >/dev/null <<-END
		apiVersion: v1
		kind: Service
		metadata: {name: kube-dns, namespace: kube-system}
		spec:
		  clusterIP: $DNS
		  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
		---
		apiVersion: discovery.k8s.io/v1
		kind: EndpointSlice
		metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
		addressType: IPv4
		ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
		endpoints: [{addresses: ["$API"], conditions: {ready: true}}]
	END
}

### Nodes ####################################################################################

# The images that the tests ask for, made of what is here: nothing is pulled. Their names are those that Kubernetes 1.37's
# tests ask for. Made before a guest boots: a compiler and gzip are slow in there.
images_up() {
	rm -rf "$IMAGES"
	mkdir -p "$IMAGES"
	gcc -static -O2 -x c - -o "$IMAGES/pause" <<-END
		#include <unistd.h>
		int main(void) { for (;;) pause(); }
	END
	"$TOP/tests/e2e/image" localhost/pause:1 "$IMAGES/pause.tar" /pause="$IMAGES/pause"
	"$TOP/tests/e2e/image" "registry.k8s.io/e2e-test-images/agnhost:$(cat "$DIR/agnhost.version")" \
		"$IMAGES/agnhost.tar" /agnhost="$DIR/agnhost" /bin/sh=/bin/dash /bin/busybox=/bin/busybox \
		/bin/curl="$(command -v curl)" /bin/nc="$(command -v nc)" /bin/dig="$(command -v dig)" \
		/bin/wget="$(command -v wget)"
	"$TOP/tests/e2e/image" registry.k8s.io/e2e-test-images/busybox:1.37.0-2 "$IMAGES/busybox.tar" \
		/bin/busybox=/bin/busybox
}

sluiced_up() { # NODE
	local data=$STATE/node-$1
	start "$1" sluiced "$TOP/build/bin/sluiced" --node "node-$1" --kubeconfig $PLANE/sluice.kubeconfig --dataplane "$dataplane" \
		--cgroup "$(cgroup2_root)/sluice-e2e/node-$1" --socket "$data/sluiced.sock"
}

# The plugin beside the reference ones that a node of people has: sluice-cni attaches, portmap maps host ports.
cni_up() { # NODE
	local data=$STATE/node-$1
	mkdir -p "$data/cni/bin" "$data/cni/conf"
	cp "$TOP/build/bin/sluice-cni" "$DIR/cni/loopback" "$DIR/cni/portmap" "$data/cni/bin"
	cat >"$data/cni/conf/10-sluice.conflist" <<-END
		{"cniVersion": "1.0.0", "name": "sluice", "plugins": [
		 {"type": "sluice-cni", "podCIDRs": ["10.1.$(($1 - 1)).0/24"], "dataDir": "$data/ipam", "socket": "$data/sluiced.sock"},
		 {"type": "portmap", "capabilities": {"portMappings": true}}]}
	END
}

containerd_up() { # NODE
	local data=$STATE/node-$1 image
	cat >"$data/containerd.toml" <<-END
		version = 3
		root = "$data/containerd"
		state = "$data/containerd-state"
		[grpc]
		address = "$data/containerd.sock"
		[plugins.'io.containerd.cri.v1.images'.pinned_images]
		sandbox = "localhost/pause:1"
		[plugins.'io.containerd.cri.v1.runtime']
		restrict_oom_score_adj = true
		[plugins.'io.containerd.cri.v1.runtime'.cni]
		bin_dirs = ["$data/cni/bin"]
		conf_dir = "$data/cni/conf"
		[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
		runtime_type = "io.containerd.runc.v2"
	END
	start "$1" containerd "$DIR/containerd" -c "$data/containerd.toml"
	wait_for 60 "$DIR/ctr" -a "$data/containerd.sock" version
	for image in "$IMAGES"/*.tar; do
		"$DIR/ctr" -a "$data/containerd.sock" -n k8s.io images import --local "$image" >>"$LOGS/node-$1.images" 2>&1
	done
}

kubelet_up() { # NODE
	local data=$STATE/node-$1
	echo 'nameserver 127.0.0.1' >"$data/resolv.conf"
	cat >"$data/kubelet.yaml" <<-END
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		failCgroupV1: false
		cgroupDriver: cgroupfs
		cgroupRoot: /sluice-e2e/node-$1
		enforceNodeAllocatable: []
		failSwapOn: false
		localStorageCapacityIsolation: false
		containerRuntimeEndpoint: unix://$data/containerd.sock
		authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
		authorization: {mode: AlwaysAllow}
		podLogsDir: $data/logs
		resolvConf: $data/resolv.conf
		clusterDNS: ["$DNS"]
		clusterDomain: cluster.local
		evictionHard: {memory.available: "100Mi"}
		maxPods: 250
	END
	start "$1" kubelet "$DIR/kubelet" --config="$data/kubelet.yaml" --kubeconfig="$KUBECONFIG" \
		--hostname-override="node-$1" --node-ip="10.0.0.$1" --root-dir="$data/kubelet" --cert-dir="$data/certs" -v=2
}

# Pods can be put there: a node that is ready has taints until the controller manager has seen it.
nodes_ready() {
	kubectl get nodes -o json | jq --exit-status --argjson nodes ${#NODES[@]} '[.items[] | select(.spec.taints == null) |
		.status.conditions[] | select(.type == "Ready" and .status == "True")] | length == $nodes'
}

cluster_up() {
	local n
	network_up
	control_plane_up
	for n in "${NODES[@]}"; do
		cni_up "$n"
		sluiced_up "$n"
		containerd_up "$n"
		kubelet_up "$n"
	done
	wait_for 180 nodes_ready
}
