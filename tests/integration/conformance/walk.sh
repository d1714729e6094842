# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
# Walks a file of conformance anchors with real packets. Sourced by scenarios, after lib.sh.

# Policy is judged by the same code of core/ whatever the kernel, so one kernel walks all cases and the other
# every third of them. ANCHORS_EVERY=1 walks all.
[ "${SLUICE_KERNEL:-}" != 6.1 ] || ANCHORS_EVERY=${ANCHORS_EVERY:-3}

# walk FILE: attaches the pods, one after the other to either node, and takes the steps of ./plan.
walk() {
	local anchors=$1 plan=$TOP/tests/integration/conformance/plan
	local name ports verb a b i=0 node wrong namespaces files without='' arguments=()
	"$plan" pods "$anchors" >"$WORK/anchors.pods"
	mapfile -t namespaces < <(sed 's/\/.*//' "$WORK/anchors.pods" | sort -u)
	namespace "${namespaces[@]}"
	while read -r name ports; do
		i=$((i + 1))
		node=node$((i % 2 + 1))
		pod $node "$name" ""
		echo "$name ${IP4[$name]} ${IP6[$name]}" >>"$WORK/anchors.addresses"
		# shellcheck disable=SC2086 # ports is a list
		servers_of "$name" $ports
		[ -z "$ports" ] || arguments+=("${SERVERS_OF[@]}")
	done <"$WORK/anchors.pods"
	ip -n ext addr add 93.184.216.34/32 dev x0
	ip -n ext addr add 2001:db8:93::34/128 dev x0
	ip -n net route add 93.184.216.34/32 via 203.0.113.7
	ip -n net route add 2001:db8:93::34/128 via 2001:db8:113::7
	{
		echo "external/client 203.0.113.7 2001:db8:113::7"
		echo "external/example 93.184.216.34 2001:db8:93::34"
	} >>"$WORK/anchors.addresses"
	SERVERS+=("$("$TOOLS/echo" "${arguments[@]}" --name external/example --netns ext tcp/80)")
	mkdir "$WORK/anchors"
	! kernel_lacks sctp || without=sctp
	"$plan" steps "$anchors" "$WORK/anchors.addresses" "$WORK/anchors" "${ANCHORS_EVERY:-1}" $without \
		>"$WORK/anchors.steps"
	while IFS=$'\t' read -r verb a b; do
		case $verb in
		write) manifest "$a" <<<"$b" ;;
		remove)
			IFS=$'\t' read -r -a files <<<"$a"$'\t'"$b"
			unmanifest "${files[@]}"
			;;
		check)
			settle
			# What is denied takes the whole timeout: a short one first, the usual one in doubt.
			wrong=$(PROBE_TIMEOUT=$((500 * SLOWER)) verdicts "$WORK/anchors/$a")
			[ -z "$wrong" ] || wrong=$(verdicts "$WORK/anchors/$a")
			is "$b" "$wrong" ""
			;;
		skip) skip "$b" "this kernel has no ${a^^}" ;;
		reported) check "refused: $b" wait_for 10 complains "$a" ;;
		accepted)
			settle
			refuse "accepted: $b" complains "$a"
			;;
		esac
	done <"$WORK/anchors.steps"
}

complains() { # complains FILE: the controllers report an error in this manifest
	ctl node1 status -o json | grep -Fq "$1"
}

# verdicts BASE: asks BASE.probes and prints what is not as BASE.wanted says
verdicts() {
	local answers wanted names i
	mapfile -t answers < <("$TOOLS/probe" --batch <"$1.probes")
	mapfile -t wanted <"$1.wanted"
	mapfile -t names <"$1.names"
	for i in "${!wanted[@]}"; do
		[[ "${answers[i]:-nothing} " == "${wanted[i]} "* ]] ||
			echo "${names[i]}: got ${answers[i]:-nothing}, wanted ${wanted[i]}"
	done
}
