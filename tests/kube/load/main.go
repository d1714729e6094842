// SPDX-License-Identifier: GPL-2.0-only

// Load for a control plane: a cluster of any size, its changes, and how long they take to the kernel. tests/kube/scale runs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

const usage = `usage: load VERB [FLAG]...
  fill    write the cluster into etcd, for an API server that starts afterwards
  churn   change pods at a steady rate through the API server
  probe   change one pod again and again, and tell how long each change takes into the kernel's maps
  replay  serve lists and watches of the cluster, without an API server
load VERB -h lists the flags of one.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var c cluster
	flags.IntVar(&c.nodes, "nodes", 300, "")
	flags.IntVar(&c.pods, "pods", 16000, "")
	flags.IntVar(&c.services, "services", 5000, "each with one EndpointSlice")
	flags.IntVar(&c.endpoints, "endpoints", 5, "of each service")
	flags.IntVar(&c.policies, "policies", 1000, "")
	etcdURL := flags.String("etcd", "http://127.0.0.1:2379", "fill: where etcd is")
	kubeconfig := flags.String("kubeconfig", "", "churn, probe: who we are")
	rate := flags.Int("rate", 100, "churn, replay: changes of pods a second")
	seconds := flags.Float64("seconds", 60, "churn: how long")
	root := flags.String("bpf", "/sys/fs/bpf/sluice", "probe: where the maps are pinned")
	number := flags.Int("n", 300, "probe: how many changes")
	interval := flags.Duration("interval", 100*time.Millisecond, "probe: between two changes, on average")
	listen := flags.String("listen", "127.0.0.1:6443", "replay: address and port")
	certificate := flags.String("cert", "server.crt", "replay: file")
	key := flags.String("key", "server.key", "replay: file")
	_ = flags.Parse(os.Args[2:])
	var err error
	switch os.Args[1] {
	case "fill":
		err = fill(c, *etcdURL)
	case "churn":
		err = churn(c, *kubeconfig, *rate, *seconds)
	case "probe":
		err = probe(c, *kubeconfig, *root, *number, *interval)
	case "replay":
		err = serve(c, *listen, *certificate, *key, *rate)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
