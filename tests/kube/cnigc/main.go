// SPDX-License-Identifier: GPL-2.0-only

// cnigc asks for what a container runtime asks for, and cnitool does not: a garbage collection that names what is valid.
//
//	NETCONFPATH=DIRECTORY CNI_PATH=DIRECTORY:... cnigc NETWORK [CONTAINER-ID]...
//
// The containers named keep their attachment eth0; all others of the network lose theirs.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

func collect(network string, containers []string) error {
	list, err := libcni.LoadNetworkConf(os.Getenv("NETCONFPATH"), network)
	if err != nil {
		return err
	}
	valid := []types.GCAttachment{}
	for _, id := range containers {
		valid = append(valid, types.GCAttachment{ContainerID: id, IfName: "eth0"})
	}
	client := libcni.NewCNIConfig(filepath.SplitList(os.Getenv("CNI_PATH")), nil)
	return client.GCNetworkList(context.Background(), list, &libcni.GCArgs{ValidAttachments: valid})
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: cnigc NETWORK [CONTAINER-ID]...")
		os.Exit(2)
	}
	if err := collect(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
