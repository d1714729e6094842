// SPDX-License-Identifier: GPL-2.0-only

// CoreDNS with the plugins that a test cluster's Corefile names. All of its plugins bring the clients of five clouds: three times
// the modules, several minutes of compiling.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
)

func main() { coremain.Run() }
