# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The words of the benchmark's guest scripts, on top of those of the integration tests: the same two
# nodes (tests/integration/lib.sh draws them), set up by Sluice or by one of its rivals.
#
#	b.client (eth0) -- host's end -- node1 -- host's end -- (eth0) b.server
#
# A system is brought up by `cluster` and then has, whatever it is: pods b/client and b/server, and those
# that were asked for; IP4[], IP6[], DEV[] (host's end) and MAC[] (as the pod sees it) of each; and
# services, number i at 10.96.(i / 250).(i % 250 + 1) port 80, backed by b/server port 9000, and one at
# 10.97.0.100 port 80, backed by b/far port 9000.

# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tests/integration/lib.sh"

BENCH=$TOP/bench
GENERATORS=$TOP/build/bench/tools
# What is waited for here is 50,000 services, and a second is 10^9 instructions.
SLOWER=30

declare -A DEV MAC	# of pods, by "namespace/name"
declare -A FLOOR	# what a generator costs by itself, by its name
COST=			# of what was measured last
SYSTEM=none		# what is up, and with how many services, rules and nodes
SHAPE=
COMMAND=		# that measures a result again, where it is not "bench/$SCENARIO $SYSTEM"

# state NODE FILE: /proc/net/sluice/FILE there, through its controller; it starts no program, which would be measured
state() {
	echo "$(<"/proc/${CONTROLLER[$1]:-none}/net/sluice/$2")"
}

# counter NODE NAME: of its stats
counter() {
	local name value number=0
	while read -r name value; do
		[ "$name" != "$2" ] || number=$value
	done <<<"$(state "$1" stats)"
	echo "$number"
}

# drops NODE REASON
drops() {
	counter "$1" "drop-$2"
}

finish() {
	local status=$?
	trap - EXIT INT TERM
	set +e
	if [ $status != 0 ]; then
		note "stopped with status $status"
		[[ $SYSTEM != sluice-* ]] || {
			note "$(tail -n 20 "$WORK"/sluiced.* 2>&1)"
			note "$(ctl node1 stats 2>&1)"
		}
	fi
	teardown
	exit $status
}

fail() {
	note "$*"
	exit 1
}

# result SCENARIO METRIC UNIT VALUE [KEY VALUE...]
result() {
	local text command=${COMMAND:-bench/$SCENARIO $SYSTEM}
	[ "$SCENARIO" != packets ] || command+=" $1"
	printf -v text '"scenario": "%s", "system": "%s", "metric": "%s", "unit": "%s", "value": %s, "command": "%s"' \
		"$1" "$SYSTEM" "$2" "$3" "$4" "$command"
	shift 4
	while [ $# != 0 ]; do
		text+=", \"$1\": $2"
		shift 2
	done
	echo "RESULT {$text}"
}

minus() { # minus A B
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f\n", a - b }'
}

### Pods of systems that have no CNI plugin of their own #####################################

# As sluice-cni makes them: routes to the pod, a gateway that nobody owns, known neighbours.
plain_pod() { # plain_pod NODE NAMESPACE/NAME
	local node=$1 key=$2 ns=${2/\//.} n=${1#node} host=${2/\//-}
	PODS=$((PODS + 1))
	IP4[$key]=10.244.$n.$((PODS + 1)) IP6[$key]=fd00:10:244:$n::$((PODS + 1))
	DEV[$key]=$host MAC[$key]=ee:ee:ee:ee:ee:ee NODE_OF[$key]=$node
	"$TOOLS/netns" add "$ns"
	ip -n "$node" link add "$host" address ${MAC[$key]} type veth peer name eth0 netns "$ns"
	ip -n "$ns" -batch - <<-END
		link set eth0 address 02:00:00:00:00:0$PODS up
		addr add ${IP4[$key]}/32 dev eth0
		addr add ${IP6[$key]}/128 dev eth0 nodad
		route add 169.254.1.1 dev eth0
		route add default via 169.254.1.1
		neigh replace 169.254.1.1 lladdr ${MAC[$key]} dev eth0 nud permanent
		route add default via fe80::1 dev eth0
		neigh replace fe80::1 lladdr ${MAC[$key]} dev eth0 nud permanent
	END
	ip -n "$node" -batch - <<-END
		link set $host up
		route add ${IP4[$key]} dev $host
		route add ${IP6[$key]} dev $host
		neigh replace ${IP4[$key]} lladdr 02:00:00:00:00:0$PODS dev $host nud permanent
		neigh replace ${IP6[$key]} lladdr 02:00:00:00:00:0$PODS dev $host nud permanent
	END
}

plain_up() { # plain_up POD=NODE...
	local node pod
	topology_up
	PODS=0
	for node in node1 node2; do
		on $node sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	done
	for pod; do
		plain_pod "${pod#*=}" "${pod%=*}"
	done
}

### Systems ##################################################################################

# up_SYSTEM SERVICES RULES POD=NODE...; all but Sluice find the pods there
up_plain() { :; }

up_iptables() {
	modprobe -a iptable_nat iptable_filter
	if [ "$1" -le 100 ]; then
		rival_rules iptables 6 "$1" | on node1 ip6tables-legacy-restore
	fi
	rival_rules iptables 4 "$1" | on node1 iptables-legacy-restore
}

up_nftables() {
	rival_rules nftables 4 "$1" | on node1 nft -f -
	[ "$1" -gt 100 ] || rival_rules nftables 6 "$1" | on node1 nft -f -
}

up_nftables-flowtable() {
	up_nftables "$@"
	on node1 nft -f - <<-END
		table inet fastpath {
			flowtable ft {
				hook ingress priority 0
				devices = { ${DEV[b/client]}, ${DEV[b/server]}, up0 }
			}
			chain forward {
				type filter hook forward priority 0; policy accept;
				meta l4proto { tcp, udp } flow add @ft
			}
		}
	END
}

up_ipvs() {
	modprobe -a ip_vs ip_vs_rr nf_conntrack
	on node1 sysctl -qw net.ipv4.vs.conntrack=1
	ip -n node1 link add kube-ipvs0 up type dummy
	rival_rules ipvs-addresses 4 "$1" | ip -n node1 -batch -
	rival_rules ipvs 4 "$1" | on node1 ipvsadm -R
	if [ "$1" -le 100 ]; then
		rival_rules ipvs-addresses 6 "$1" | ip -n node1 -batch -
		rival_rules ipvs 6 "$1" | on node1 ipvsadm -R
	fi
}

# rival_rules KIND FAMILY SERVICES
rival_rules() {
	local backend=${IP4[b/server]} far=${IP4[b/far]:--}
	[ "$2" = 4 ] || backend=${IP6[b/server]} far=${IP6[b/far]:--}
	"$BENCH/rules" "$1" "$2" "$3" "$backend" "$far"
}

up_sluice-module() {
	DATAPLANE=module
	up_sluice "$@"
}

up_sluice-bpf() {
	DATAPLANE=bpf
	sysctl -qw net.core.bpf_jit_enable=1
	up_sluice "$@"
}

# Either data plane with the real controller and the real CNI plugin. Services and policies are there
# before the controller starts, as after a boot. A pod's label is its name without digits.
up_sluice() {
	local services=$1 rules=$2 pod key label
	shift 2
	NODES=(node1)
	[[ " $*" != *=node2* ]] || NODES+=(node2)
	namespace default kube-system b
	node_objects
	"$BENCH/rules" services 4 "$services" - - | manifest services.yaml
	[ "$rules" = 0 ] || "$BENCH/rules" policies 4 "$rules" - - | manifest policies.yaml
	dataplane_up
	controllers_up
	for pod; do
		key=${pod%=*} label=${pod%=*}
		label=${label#*/}
		pod "${pod#*=}" "$key" "app: ${label%%[0-9]*}"
	done
	settle
	for key in "${!NODE_OF[@]}"; do
		DEV[$key]=$(ip -n "${NODE_OF[$key]}" -j route get "${IP4[$key]}" | jq -r '.[0].dev')
		MAC[$key]=$GATEWAY
	done
}

choose() { # choose SYSTEM: which one `cluster` brings up
	WANTED=$1
}

# cluster SERVICES RULES [POD=NODE...]: the system chosen, in that shape; what is up already is kept.
cluster() {
	local shape="$1 services, $2 rules${3:+, ${*:3}}" pod
	local pods=(b/client=node1 b/server=node1 "${@:3}")
	[ "$SYSTEM $SHAPE" != "$WANTED $shape" ] || return 0
	cluster_down
	note "$WANTED: $shape"
	if [[ $WANTED = sluice-* ]]; then
		topology_up
	else
		plain_up "${pods[@]}"
	fi
	SYSTEM=$WANTED SHAPE=$shape
	"up_$WANTED" "$1" "$2" "${pods[@]}"
	for pod in "${pods[@]}"; do
		serve "${pod%=*}" udp/9000 tcp/9000
	done
}

cluster_down() {
	# For bench/profile: where everything was.
	[ -z "${SLUICE_OUT:-}" ] || cat /proc/kallsyms >"$SLUICE_OUT/kallsyms"
	[ "$SYSTEM" = none ] || teardown
	SYSTEM=none SHAPE=''
	NODE_OF=() IP4=() IP6=() DEV=() MAC=() RESULT=() CONTROLLER=() BACKGROUND=() SETTLED=0
}

# Where a client sends to reach service number i: its address, or the pod where services are unknown.
service_address() { # service_address I [FAMILY]
	if [ "$SYSTEM" = plain ]; then
		[ "${2:-4}" = 4 ] && echo "${IP4[b/server]}" || echo "${IP6[b/server]}"
	elif [ "${2:-4}" = 4 ]; then
		echo 10.96.$(($1 / 250)).$(($1 % 250 + 1))
	else
		printf 'fd00:96::%x:%x\n' $(($1 / 250)) $(($1 % 250 + 1))
	fi
}

service_port() {
	[ "$SYSTEM" = plain ] && echo 9000 || echo 80
}

### Measuring ################################################################################

# drop_at WHERE DEVICE: everything that arrives there is dropped, and counted.
drop_at() {
	tc -n "${1/\//.}" qdisc add dev "$2" clsact
	tc -n "${1/\//.}" filter add dev "$2" ingress matchall action drop
}

drop_no_more() {
	tc -n "${1/\//.}" qdisc del dev "$2" clsact
}

dropped_at() {
	tc -n "${1/\//.}" -s -j filter show dev "$2" ingress |
		jq '[.[].options.actions // [] | .[].stats.packets] | add'
}

# arrives WHERE DEVICE NUMBER COMMAND...: runs it; as many packets arrive there, and at
# most a few that a pod sends by itself (neighbour and router discovery, reports of groups).
arrives() {
	local where=$1 device=$2 number=$3 before
	shift 3
	before=$(dropped_at "$where" "$device")
	"$@"
	before=$(($(dropped_at "$where" "$device") - before))
	[ "$before" -ge "$number" ] && [ "$before" -le $((number + 10)) ] ||
		fail "$before of $number packets arrived at $where $device: $*"
}

# pktgen POD DST PORT COUNT [WORDS...]: sets COST, instructions a packet
pktgen() {
	local pod=$1 dst=$2 port=$3 count=$4 src=${IP4[$1]}
	shift 4
	[[ $dst != *:* ]] || src=${IP6[$pod]}
	pktgen_from "${pod/\//.}" eth0 "${MAC[$pod]}" "$src" "$dst" "$port" "$count" "$@"
}

pktgen_from() { # pktgen_from NETNS DEVICE MAC SRC DST PORT COUNT [WORDS...]
	local line
	line=$("$GENERATORS/pktgen" "$@")
	COST=${line% *}
}

# sender_start ARGUMENTS...: of tools/sender.c. sent COUNT: sets COST, instructions a packet.
sender_start() {
	local ready
	coproc SENDER { exec "$GENERATORS/sender" "$@"; }
	read -r ready <&"${SENDER[0]}" && [ "$ready" = ready ] || fail "sender $* does not become ready"
}

sent() {
	echo "$1" >&"${SENDER[1]}"
	read -r COST <&"${SENDER[0]}"
}

sender_end() {
	local pid=$SENDER_PID
	eval "exec ${SENDER[1]}>&-"
	wait "$pid"
}
