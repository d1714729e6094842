# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A cluster of two nodes in one machine, and words to talk about it. Sourced by every scenario, by the demo and by
# the soak test; they run as root inside a guest (tests/integration/vm) or in namespaces (tests/integration/native).
#
#                      +-------------------- net: a router -------------------+
#                      | n1 192.168.1.1         x0 203.0.113.1   n2 192.168.2.1 |
#                      | fd00:192:168:1::1   2001:db8:113::1  fd00:192:168:2::1 |
#                      +---+-------------------------+---------------------+--+
#                          |                         |                     |
#   +---- node1 -----------+--+        +-- ext ------+--+      +-----------+--- node2 ----+
#   | up0 192.168.1.2         |        | x0 203.0.113.7 |      |      up0 192.168.2.2     |
#   |     fd00:192:168:1::2   |        | the world      |      |      fd00:192:168:2::2   |
#   |  sluiced, slXXXX ...    |        +----------------+      |  sluiced, slXXXX ...     |
#   +---+---------------+-----+                                +---+----------------------+
#       | eth0          | eth0                                     | eth0
#     pod ns.a        pod ns.b                                   pod ns.c
#     10.244.1.2      10.244.1.3      pods: 10.244.N.0/24        10.244.2.2
#     fd00:10:244:1::2                and fd00:10:244:N::/64     fd00:10:244:2::2
#
# Each box is a network namespace. A pod's namespace is named after it: pod "shop/api" lives in shop.api.
# All nodes read the manifests in $MANIFESTS; the "kubelet" below puts the pods' addresses there.

shopt -s extglob
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/integration/module.sh
. "$TOP/tests/integration/module.sh"
BIN=${SLUICE_BIN:-$TOP/build/bin}
TOOLS=$TOP/build/tests/tools
RUN=/run/sluice
MANIFESTS=$RUN/manifests
WORK=$RUN/work
SCENARIO=${0##*/}
NODES=(node1 node2)
DATAPLANE=${SLUICE_DATAPLANE:-module} # or bpf

if [ -z "${SLUICE_KERNEL:-}${SLUICE_NATIVE:-}" ]; then
	echo "$SCENARIO: runs in a guest (tests/integration/vm) or in namespaces (tests/integration/native)" >&2
	exit 2
fi

# The debug kernel is some five times slower than the others: everything that waits, waits longer there.
SLOWER=1
[ "${SLUICE_KERNEL:-}" != debug ] || SLOWER=4
export PROBE_TIMEOUT=$((2000 * SLOWER))

declare -A IP4 IP6	     # addresses of pods, by "namespace/name", and of nodes, by name
declare -A NODE_OF	     # where a pod runs
declare -A RESULT	     # of its ADD, which the runtime hands back to CHECK and DEL
declare -A CONTROLLER	     # process ids, by node
declare -A CONTROLLER_OPTIONS # more of them, by node
declare -A BACKGROUND	     # process ids of flows and sniffers, by name
SERVERS=()		     # process ids of echo servers
CHECKS=0 FAILED=0 SETTLED=0

### Results: TAP #############################################################################

ok() {
	CHECKS=$((CHECKS + 1))
	echo "ok $CHECKS - $SCENARIO: $*"
}

not_ok() {
	CHECKS=$((CHECKS + 1)) FAILED=$((FAILED + 1))
	echo "not ok $CHECKS - $SCENARIO: $*"
}

note() {
	local text=$*
	echo "# ${text//$'\n'/$'\n'# }"
}

# skip WHAT WHY: it cannot be asked here
skip() {
	CHECKS=$((CHECKS + 1))
	echo "ok $CHECKS - $SCENARIO: $1 # SKIP $2"
}

# check WHAT COMMAND...: the command succeeds.
check() {
	local what=$1 output
	shift
	if output=$("$@" 2>&1); then
		ok "$what"
	else
		not_ok "$what"
		note "failed: $*"
		[ -z "$output" ] || note "${output:0:4000}"
	fi
}

# refuse WHAT COMMAND...: the command fails.
refuse() {
	local what=$1 output
	shift
	if output=$("$@" 2>&1); then
		not_ok "$what"
		note "succeeded, and should not have: $*"
		[ -z "$output" ] || note "${output:0:4000}"
	else
		ok "$what"
	fi
}

# is WHAT GOT WANTED
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1"
		note "got:    $2"
		note "wanted: $3"
	fi
}

# like WHAT GOT PATTERN: an extended regular expression, which one of the lines matches
like() {
	local line
	while IFS= read -r line; do
		if [[ $line =~ $3 ]]; then
			ok "$1"
			return
		fi
	done <<<"$2"
	not_ok "$1"
	note "got:             ${2:0:4000}"
	note "wanted to match: $3"
}

# at_least WHAT NUMBER MINIMUM
at_least() {
	if [ "${2:-0}" -ge "$3" ]; then
		ok "$1"
	else
		not_ok "$1"
		note "got $2, wanted at least $3"
	fi
}

# wait_for SECONDS COMMAND...: until it succeeds; fails when it was tried ten times for each second. Tries, not
# the clock: on a busy host a guest may stand still for most of a minute.
wait_for() {
	local tries=$(($1 * 10 * SLOWER))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		nap 0.1
	done
}

# nap SECONDS: sleep, without starting a program
exec {NAP}<> <(:)
nap() {
	read -r -t "$1" -u "$NAP" || true
}

# text <<END: what cat would print, without starting it
text() {
	local bytes
	IFS= read -r -d '' bytes || true
	printf '%s' "$bytes"
}

### Namespaces ###############################################################################

# on NODE COMMAND...: also net, ext, and pods as "namespace/name"
on() {
	local where=${1/\//.}
	shift
	"$TOOLS/netns" exec "$where" "$@"
}

ctl() { # ctl NODE ARGUMENTS...
	local node=$1
	shift
	SLUICE_SOCKET="$RUN/$node.sock" "$TOOLS/netns" exec "$node" "$BIN/sluicectl" "$@"
}

# gone NAMESPACE...: everything in it too
gone() {
	"$TOOLS/netns" del "$@"
}

topology_up() {
	local n
	mkdir -p "$MANIFESTS" "$WORK" "$RUN/pods"
	"$TOOLS/netns" add net ext node1 node2
	# Routers ask for neighbours from their link-local addresses, which wait two seconds for somebody
	# else to claim them. Nobody else is there.
	"$TOOLS/netns" set net node1 node2 net/ipv6/conf/all/accept_dad=0 net/ipv6/conf/default/accept_dad=0
	"$TOOLS/netns" set net net/ipv4/ip_forward=1 net/ipv6/conf/all/forwarding=1
	for n in 1 2; do
		ip -n net -batch - <<-END
			link add n$n type veth peer name up0 netns node$n
			link set n$n up
			addr add 192.168.$n.1/24 dev n$n
			addr add fd00:192:168:$n::1/64 dev n$n nodad
			route add 10.244.$n.0/24 via 192.168.$n.2
			route add fd00:10:244:$n::/64 via fd00:192:168:$n::2
		END
		ip -n "node$n" -batch - <<-END
			link set up0 up
			addr add 192.168.$n.2/24 dev up0
			addr add fd00:192:168:$n::2/64 dev up0 nodad
			route add default via 192.168.$n.1
			route add default via fd00:192:168:$n::1
		END
		IP4[node$n]=192.168.$n.2 IP6[node$n]=fd00:192:168:$n::2
		text >"$RUN/node$n.conf" <<-END
			{"cniVersion": "1.1.0", "name": "sluice", "type": "sluice-cni",
			 "podCIDRs": ["10.244.$n.0/24", "fd00:10:244:$n::/64"],
			 "dataDir": "$RUN/node$n", "socket": "$RUN/node$n.sock", "attachTimeout": $((15 * SLOWER))}
		END
	done
	ip -n net -batch - <<-END
		link add x0 type veth peer name x0 netns ext
		link set x0 up
		addr add 203.0.113.1/24 dev x0
		addr add 2001:db8:113::1/64 dev x0 nodad
	END
	ip -n ext -batch - <<-END
		link set x0 up
		addr add 203.0.113.7/24 dev x0
		addr add 2001:db8:113::7/64 dev x0 nodad
		route add default via 203.0.113.1
		route add default via 2001:db8:113::1
	END
	IP4[ext]=203.0.113.7 IP6[ext]=2001:db8:113::7
}

### The data plane ###########################################################################

# All that a scenario needs to know of which one it runs on. What the variant does otherwise is in BPF_LACKS.

module_unload() {
	rmmod sluice
}

PINS=/sys/fs/bpf/sluice

pins() { # pins NODE: where those of its programs and maps are
	echo "$PINS/net-$("$TOOLS/netns" cookie "$1")"
}

# A cgroup for each node's processes (tools/netns.h puts them there): cgroup programs are attached to these, never
# to the root. sluiced loads everything else.
cgroups_up() {
	local hierarchy own node
	if [ -z "${SLUICE_CGROUPS:-}" ]; then
		hierarchy=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)
		own=$(sed -n 's/^0::\/*//p' /proc/self/cgroup)
		export SLUICE_CGROUPS=$hierarchy/${own:+$own/}sluice-test
	fi
	for node in "${NODES[@]}"; do
		mkdir -p "$SLUICE_CGROUPS/$node"
	done
}

dataplane_up() {
	case $DATAPLANE in
	module) module_load ;;
	bpf) cgroups_up ;;
	esac
}

# Removes it, and fails if that cannot be done. Controllers and pods may be there.
dataplane_down() {
	local node
	case $DATAPLANE in
	module) ! grep -q '^sluice ' /proc/modules || module_unload ;;
	bpf)
		for node in "${NODES[@]}"; do
			[ ! -e "/run/netns/$node" ] || ctl "$node" bpf remove >/dev/null || return 1
		done
		rm -rf "$PINS" # of namespaces that are gone
		for node in "${NODES[@]}"; do
			[ ! -e "$SLUICE_CGROUPS/$node" ] || wait_for 5 rmdir "$SLUICE_CGROUPS/$node" || return 1
		done
		;;
	esac
}

# Everything that the kernel holds is gone, and there again, empty.
dataplane_reload() {
	local node
	case $DATAPLANE in
	module)
		module_unload
		module_load
		;;
	bpf)
		for node in "${NODES[@]}"; do
			controller_kill "$node"
			ctl "$node" bpf remove >/dev/null
		done
		controllers_up
		;;
	esac
}

# What the eBPF variant cannot do, or does otherwise, by design; README.md and sluicectl doctor list the same.
declare -A BPF_LACKS=(
	[fragments]="fragments are refused"
	[sctp-ports]="SCTP is refused by a service that changes the port, which its checksum covers"
	[small-budget]="the least that connections take is an array of 16,384 for each family, 6 MB with their hash"
	[eviction-at-once]="a sixteenth of the connections is kept free ahead of need; a flood that is faster is refused"
	[routes-at-once]="routes are kept for a second"
	[translated-errors]="what the node's stack has to say of a packet whose source was translated does not find its sender"
	[node-sctp]="SCTP of the node itself is not translated: no hook sees its connect()"
	[node-icmp]="the node's own sockets are refused by the system call, not by a packet"
)

# lacks WHAT: is that so on the data plane at hand?
lacks() {
	[ -n "${BPF_LACKS[$1]:-}" ] || { note "nobody lacks \"$1\""; exit 1; }
	[ "$DATAPLANE" = bpf ]
}

# kernel_lacks PROTOCOL: of all that is used here, kernels may have been built without SCTP.
kernel_lacks() {
	[ "$1" = sctp ] || return 1
	[ -n "$KERNEL_SCTP" ] || KERNEL_SCTP=$("$TOOLS/probe" --timeout 50 - sctp 127.0.0.1 9)
	[[ $KERNEL_SCTP == "broken socket"* ]]
}
KERNEL_SCTP= # the answer

### The controller ###########################################################################

controller_start() { # controller_start NODE [ARGUMENTS...]
	local node=$1
	shift
	# shellcheck disable=SC2086 # several words
	set -- ${CONTROLLER_OPTIONS[$node]:-} "$@"
	[ "$DATAPLANE" = module ] || set -- --dataplane "$DATAPLANE" --cgroup "$SLUICE_CGROUPS/$node" "$@"
	"$TOOLS/netns" exec "$node" "$BIN/sluiced" --node "$node" --manifests "$MANIFESTS" \
		--socket "$RUN/$node.sock" --uplink up0 "$@" >>"$WORK/sluiced.$node" 2>&1 </dev/null &
	CONTROLLER[$node]=$!
}

controller_ready() {
	ctl "$1" status >/dev/null 2>&1
}

controller_kill() { # controller_kill NODE [SIGNAL]
	local pid=${CONTROLLER[$1]:-}
	[ -n "$pid" ] || return 0
	kill "-${2:-KILL}" "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	unset "CONTROLLER[$1]"
}

controllers_up() {
	local node
	for node in "${NODES[@]}"; do
		controller_start "$node"
	done
	for node in "${NODES[@]}"; do
		wait_for 20 controller_ready "$node" || {
			note "sluiced on $node does not become ready:"
			note "$(tail -n 30 "$WORK/sluiced.$node")"
			return 1
		}
	done
}

cluster_up() {
	trap finish EXIT
	trap 'exit 130' INT TERM
	topology_up
	namespace default kube-system
	node_objects
	dataplane_up
	controllers_up
}

### Kubernetes ###############################################################################

# manifest FILE <<END: puts it there at once, so that nobody reads half of it.
manifest() {
	"$TOOLS/put" "$MANIFESTS/$1"
}

unmanifest() { # unmanifest FILE...
	local file
	for file; do
		rm -f "${MANIFESTS:?}/$file"
	done
}

namespace() { # namespace NAME...
	local ns
	for ns; do
		manifest "namespace-$ns.yaml" <<-END
			apiVersion: v1
			kind: Namespace
			metadata:
			  name: "$ns" # quoted: to YAML, y is not a name
			  labels: {kubernetes.io/metadata.name: "$ns"}
		END
	done
}

node_objects() {
	local n
	for n in 1 2; do
		manifest "node-node$n.yaml" <<-END
			apiVersion: v1
			kind: Node
			metadata:
			  name: node$n
			spec:
			  podCIDRs: [10.244.$n.0/24, "fd00:10:244:$n::/64"]
			status:
			  addresses:
			  - {type: InternalIP, address: 192.168.$n.2}
			  - {type: InternalIP, address: "fd00:192:168:$n::2"}
		END
	done
}

# holds NODE KIND TEXT: does the JSON of "sluicectl get KIND" there have that text? absent: it has not. Both fail
# if there is no answer.
holds() {
	local json
	json=$(ctl "$1" get "$2" -o json) && [[ $json == *"$3"* ]]
}

absent() {
	local json
	json=$(ctl "$1" get "$2" -o json) && [[ $json != *"$3"* ]]
}

# settled NODE: hundreds of times in a guest, where sluicectl takes 0.2 s; a file of its controller's namespace nothing.
settled() {
	local port=$((10000 + SETTLED))
	case $DATAPLANE in
	module) [[ $(<"/proc/${CONTROLLER[$1]}/net/sluice/services") == *"10.96.255.254:$port "* ]] ;;
	bpf) holds "$1" services "\"10.96.255.254\",\"port\":$port," ;;
	esac
}

# Waits until every node's kernel holds all that is in $MANIFESTS now: a service written last, under a
# port number never used before, has arrived there.
settle() {
	local node
	SETTLED=$((SETTLED + 1))
	manifest zz-settle.yaml <<-END
		apiVersion: v1
		kind: Service
		metadata: {namespace: default, name: settle}
		spec:
		  clusterIP: 10.96.255.254
		  clusterIPs: [10.96.255.254]
		  ports: [{port: $((10000 + SETTLED))}]
	END
	for node in "${NODES[@]}"; do
		wait_for 10 settled "$node" || { note "$node has not taken in the manifests"; return 1; }
	done
}

# service NAMESPACE/NAME ADDRESS[,ADDRESS] SELECTOR PORT... ; a PORT is [NAME:]PORT[>TARGET][/PROTOCOL];
# SELECTOR "-" is none.
service() {
	local key=$1 ips=$2 selector=$3 port name proto target
	shift 3
	{
		text <<-END
			apiVersion: v1
			kind: Service
			metadata: {namespace: "${key%/*}", name: "${key#*/}"}
			spec:
			  clusterIP: "${ips%%,*}"
			  clusterIPs: ["${ips/,/\", \"}"]
			  ipFamilyPolicy: PreferDualStack
		END
		[ "$selector" = - ] || echo "  selector: {${selector}}"
		echo "  ports:"
		for port; do
			proto=TCP name='' target=''
			[[ $port != */* ]] || proto=${port##*/} port=${port%/*}
			[[ $port != *:* ]] || name=${port%%:*} port=${port#*:}
			[[ $port != *">"* ]] || target=${port#*>} port=${port%>*}
			name=${name:-p$port-${proto,,}}
			echo "  - {name: $name, port: $port, protocol: ${proto^^}${target:+, targetPort: $target}}"
		done
	} | manifest "service-${key/\//-}.yaml"
}

# pod NODE NAMESPACE/NAME "LABEL: VALUE, ..." [PORT...]: makes a pod and attaches it. A PORT is
# [NAME:]PORT[/PROTOCOL], a containerPort.
pod() {
	pod_object "$@"
	pod_add "$2"
}

pod_object() {
	local node=$1 key=$2 labels=$3 port proto name
	shift 3
	{
		text <<-END
			apiVersion: v1
			kind: Pod
			metadata:
			  name: "${key#*/}"
			  namespace: "${key%/*}"
			  labels: {$labels}
			spec:
			  nodeName: $node
			  containers:
			  - name: main
		END
		[ $# = 0 ] || echo "    ports:"
		for port; do
			proto=TCP name=''
			[[ $port != */* ]] || proto=${port##*/} port=${port%/*}
			[[ $port != *:* ]] || name=${port%%:*} port=${port#*:}
			echo "    - {${name:+name: $name, }containerPort: $port, protocol: ${proto^^}}"
		done
	} >"$RUN/pods/${key/\//.}"
	pod_scheduled "$RUN/pods/${key/\//.}"
}

# What the scheduler leaves behind: the pod stands in the API, bound to a node, without addresses.
# pod_scheduled FILE: a manifest with one Pod, its status, if any, last; sets POD.
pod_scheduled() {
	local name='' ns=default node='' file=$1 line section='' object=''
	while IFS= read -r line; do
		[[ $line != status:* ]] || break
		object+=$line$'\n'
		[[ $line != [a-z]* ]] || section=${line%%:*}
		line=${line//\"/}
		case $section/$line in
		"metadata/  name: "*) name=${line#*: } ;;
		"metadata/  namespace: "*) ns=${line#*: } ;;
		"spec/  nodeName: "*) node=${line#*: } ;;
		esac
	done <"$file"
	POD=$ns/$name
	NODE_OF[$POD]=$node
	printf '%s' "$object" >"$RUN/pods/$ns.$name"
	manifest "pod-$ns-$name.yaml" <"$RUN/pods/$ns.$name"
}

# The runtime's part: a network namespace, and a call of the CNI plugin.
cni() { # cni COMMAND NAMESPACE/NAME
	local key=$2 node=${NODE_OF[$2]} config
	config=$(<"$RUN/$node.conf")
	[ -z "${RESULT[$key]:-}" ] || config="${config%\}}, \"prevResult\": ${RESULT[$key]}}"
	CNI_COMMAND="$1" CNI_CONTAINERID="c-${key/\//-}" CNI_IFNAME=eth0 \
		CNI_NETNS="/run/netns/${key/\//.}" CNI_PATH="$BIN" \
		CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=${key%/*};K8S_POD_NAME=${key#*/}" \
		"$TOOLS/netns" exec "$node" "$BIN/sluice-cni" <<<"$config"
}

pod_add() { # pod_add NAMESPACE/NAME: attach, and tell the cluster
	local key=$1 ns=${1/\//.} result line
	"$TOOLS/netns" add "$ns"
	if ! result=$(cni ADD "$key" 2>"$WORK/cni.stderr"); then
		note "ADD of $key: $result $(cat "$WORK/cni.stderr")"
		return 1
	fi
	RESULT[$key]=$result
	while [[ $result =~ '"address": '\"([^\"/]+)/ || $result =~ '"address":'\"([^\"/]+)/ ]]; do
		line=${BASH_REMATCH[1]}
		[[ $line == *:* ]] && IP6[$key]=$line || IP4[$key]=$line
		result=${result#*"${BASH_REMATCH[0]}"}
	done
	pod_status "$key"
}

# The kubelet's part. pod_status NAMESPACE/NAME [READY]: writes the pod's addresses and readiness.
pod_status() {
	local key=$1 ready=${2:-True}
	{
		echo "$(<"$RUN/pods/${key/\//.}")"
		text <<-END
			status:
			  phase: Running
			  podIP: ${IP4[$key]}
			  podIPs:
			  - ip: ${IP4[$key]}
			  - ip: "${IP6[$key]}"
			  conditions:
			  - {type: Ready, status: "$ready"}
		END
	} | manifest "pod-${key/\//-}.yaml"
}

pod_del() { # pod_del NAMESPACE/NAME
	local key=$1
	unmanifest "pod-${key/\//-}.yaml"
	cni DEL "$key"
	gone "${key/\//.}"
	unset "IP4[$key]" "IP6[$key]" "NODE_OF[$key]" "RESULT[$key]"
}

### Traffic ##################################################################################

# serve WHERE PROTO/PORT...: echo servers that answer with the name WHERE; see tools/echo.c
serve() {
	servers_of "$@"
	SERVERS+=("$("$TOOLS/echo" "${SERVERS_OF[@]}")")
}

# servers_of WHERE PROTO/PORT...: sets SERVERS_OF to the arguments of tools/echo for them, so far as the kernel can
servers_of() {
	local port
	SERVERS_OF=(--name "$1" --netns "${1/\//.}")
	shift
	for port; do
		kernel_lacks "${port%%/*}" || SERVERS_OF+=("$port")
	done
}

# unserve: all of them
unserve() {
	[ ${#SERVERS[@]} = 0 ] || kill "${SERVERS[@]}" 2>/dev/null || true
	SERVERS=()
}

# probe WHERE PROTO ADDRESS PORT [KEY=VALUE...]: one line, see tools/probe.c
probe() {
	local where=${1/\//.}
	shift
	"$TOOLS/probe" "$where" "$@"
}

# table PROTOCOL-COLUMN: reads a table for expects and spreads into TABLE, without empty lines and those that this
# kernel cannot ask, which count as skipped.
table() {
	local line words
	TABLE=()
	while IFS= read -r line; do
		[ -n "${line//[[:space:]]/}" ] || continue
		read -r -a words <<<"${line%%#*}"
		if kernel_lacks "${words[$1]}"; then
			skip "${line##*#*([[:space:]])}" "this kernel has no ${words[$1]^^}"
		else
			TABLE+=("$line")
		fi
	done
}

# expects [LIMIT=VERDICT] <<END: a table of probes that all run at once, and what is expected of each:
#	VERDICT FROM PROTO ADDRESS PORT [KEY=VALUE...] [# WHAT]
# VERDICT is the beginning of what tools/probe.c prints, with "_" for a blank. On a data plane that lacks LIMIT all
# of them get the other VERDICT instead.
expects() {
	local line words wanted otherwise='' because='' answer answers i=0
	if [ $# != 0 ] && lacks "${1%%=*}"; then
		otherwise=${1#*=} because=" [${BPF_LACKS[${1%%=*}]}]"
	fi
	table 2
	mapfile -t answers < <(for line in "${TABLE[@]}"; do
		read -r -a words <<<"${line%%#*}"
		echo "${words[1]/\//.} ${words[*]:2}"
	done | "$TOOLS/probe" --batch)
	for line in "${TABLE[@]}"; do
		read -r -a words <<<"${line%%#*}"
		wanted=${otherwise:-${words[0]}}
		wanted=${wanted//_/ }
		answer=${answers[i]:-nothing}
		i=$((i + 1))
		case $line in
		*#*) line=${line##*#*([[:space:]])} ;;
		*) line="${words[*]:1}: $wanted" ;;
		esac
		if [[ "$answer " == "$wanted "* ]]; then
			ok "$line$because"
		else
			not_ok "$line$because"
			note "asked: ${words[*]:1}"
			note "got: $answer, wanted: $wanted"
		fi
	done
}

# spreads <<END: a table of load balancing, all asked at once:
#	FROM PROTO ADDRESS PORT CLIENT BACKEND[,BACKEND...]	# WHAT
# 24 requests are all answered, by exactly these backends (two of them are both chosen but once in
# 8 million times), and each saw CLIENT as its client ("-": any).
spreads() {
	local line words answers verdict name client seen_by clients i=0 n
	local -A seen
	table 1
	mapfile -t answers < <(for line in "${TABLE[@]}"; do
		read -r -a words <<<"${line%%#*}"
		echo "${words[0]/\//.} ${words[*]:1:3} count=24"
	done | "$TOOLS/probe" --batch)
	for line in "${TABLE[@]}"; do
		read -r -a words <<<"${line%%#*}"
		seen=() seen_by='' clients=''
		for ((n = 24 * i; n < 24 * i + 24; n++)); do
			read -r verdict name client _ <<<"${answers[n]:-nothing}"
			[ "$verdict" = allow ] || name=${answers[n]:-nothing}
			seen[$name]=1
			[[ ",$clients," == *",${client:--},"* ]] || clients+=${clients:+,}${client:--}
		done
		# In the order of those wanted, then whoever else there was.
		for name in ${words[5]//,/ } "${!seen[@]}"; do
			[ -z "${seen[$name]:-}" ] || seen_by+=${seen_by:+,}$name
			unset "seen[$name]"
		done
		[ "${words[4]}" != - ] || clients=-
		is "${line##*# }" "$seen_by from $clients" "${words[5]} from ${words[4]}"
		i=$((i + 1))
	done
}

# background NAME COMMAND...: a program (not a function) that runs on and writes into $WORK/NAME;
# background_end NAME asks it to end and waits for that.
background() {
	local name=$1
	shift
	"$@" >"$WORK/$name" 2>&1 </dev/null &
	BACKGROUND[$name]=$!
}

background_end() {
	local pid=${BACKGROUND[$1]:-}
	[ -n "$pid" ] || return 0
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	unset "BACKGROUND[$1]"
}

# monitor NODE: starts sluicectl monitor there, which writes into $WORK/monitor; ends as monitor. It listens
# once it has seen the node ask one of its pods for an echo.
monitor() {
	local pod
	for pod in "${!NODE_OF[@]}"; do
		[ "${NODE_OF[$pod]}" != "$1" ] || break
	done
	SLUICE_SOCKET="$RUN/$1.sock" background monitor "$TOOLS/netns" exec "$1" "$BIN/sluicectl" monitor
	wait_for 10 seen_by_monitor "$1" icmp "${IP4[$pod]}" 0
}

seen_by_monitor() {
	probe "$@" && [ -s "$WORK/monitor" ]
}

# flow NAME WHERE ARGUMENTS...: starts tools/stream.c; flow_end NAME sets FLOW to its line.
flow() {
	local name=$1
	shift
	background "flow.$name" "$TOOLS/stream" "${@/\//.}"
}

flow_end() {
	background_end "flow.$1"
	FLOW=$(<"$WORK/flow.$1")
}

# flow_pause NAME, flow_resume NAME: its program sleeps
flow_pause() {
	kill -STOP "${BACKGROUND[flow.$1]}"
	nap 0.5 # for what is on its way
}

flow_resume() {
	kill -CONT "${BACKGROUND[flow.$1]}"
}

# lossless WHAT NAME: ends the flow; nothing was lost, and there was something to lose.
lossless() {
	flow_end "$2"
	like "$1" "$FLOW" '^sent=[0-9]{2,} received=[0-9]{2,} lost=0 .*retransmits=[0-9]+$'
	note "$FLOW"
}

# sniff NAME WHERE DEVICE: starts tools/sniff.c; sniffed NAME ends it and prints what it saw.
sniff() {
	background "sniff.$1" "$TOOLS/sniff" "${2/\//.}" "$3"
	wait_for 5 test -s "$WORK/sniff.$1"
}

sniffed() {
	background_end "sniff.$1"
	grep -v '^ready' "$WORK/sniff.$1" || true
}

# raw WHERE DEVICE MAC SHAPE SRC DST ...: see tools/raw.c
raw() {
	local where=${1/\//.}
	shift
	"$TOOLS/raw" "$where" "$@"
}

# The Ethernet address behind which a pod's gateway stands.
export GATEWAY=ee:ee:ee:ee:ee:ee

# counter NODE NAME: a number of the JSON of "sluicectl stats" there; ct.NAME: of "sluicectl ct stats"
counter() {
	local command=(stats) name=$2 json
	[[ $name != ct.* ]] || command=(ct stats) name=${name#ct.}
	json=$(ctl "$1" "${command[@]}" -o json)
	if [[ $json =~ \"$name\":\ *([0-9]+) ]]; then
		echo "${BASH_REMATCH[1]}"
	else
		note "sluicectl ${command[*]} knows no \"$name\"" >&2
	fi
}

# drops NODE REASON: how many packets the node dropped for it
drops() {
	counter "$1" "$2"
}

# counted NODE NAME NUMBER, dropped NODE REASON NUMBER: at least that many; for wait_for
counted() {
	[ "$(counter "$1" "$2")" -ge "$3" ]
}

dropped() {
	counted "$@"
}

### The end ##################################################################################

teardown() {
	local name ns namespaces=()
	for name in "${!BACKGROUND[@]}"; do
		kill -KILL "${BACKGROUND[$name]}" 2>/dev/null || true
		wait "${BACKGROUND[$name]}" 2>/dev/null || true
	done
	unserve
	for name in "${!CONTROLLER[@]}"; do
		controller_kill "$name" KILL
	done
	for ns in /run/netns/{net,ext,node1,node2,*.*}; do
		[ ! -e "$ns" ] || namespaces+=("${ns##*/}")
	done
	[ ${#namespaces[@]} = 0 ] || gone "${namespaces[@]}"
	wait 2>/dev/null || true
	dataplane_down || return 1
	rm -rf "${RUN:?}"
}

finish() {
	local status=$? node
	trap - EXIT INT TERM
	set +e
	[ $status = 0 ] || not_ok "runs to its end (stopped with status $status)"
	if [ $FAILED != 0 ]; then
		for node in "${NODES[@]}"; do
			note "--- sluiced on $node, last lines"
			note "$(tail -n 15 "$WORK/sluiced.$node" 2>&1)"
			note "--- $node sluicectl stats"
			note "$(ctl "$node" stats 2>&1)"
		done
	fi
	teardown 2>"/tmp/teardown.$$" || { not_ok "leaves nothing behind"; note "$(cat "/tmp/teardown.$$")"; }
	rm -f "/tmp/teardown.$$"
	echo "1..$CHECKS"
	[ $FAILED = 0 ] || exit 1
	exit 0
}
