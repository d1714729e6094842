// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The maps of the eBPF variant, as bpf/layout.h has them; read by value, as the programs read them.
const (
	mapLayout     = 1
	controlLayout = 0 // offsets in struct sluice_bpf_control
	controlRev    = 4
	hostKeySize   = 20 // struct sluice_bpf_addr_key
	hostValueSize = 24 // struct sluice_bpf_number
	hostFamily    = 4  // SLUICE_IPV4
	absent        = 0xffffffff
	pollEvery     = 300 * time.Microsecond
	probeTimeout  = 10 * time.Second
	probeName     = "probe"
	probeAddress  = "10.191.255.254"
)

func openMap(path string) (int, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return 0, err
	}
	attr := struct {
		path      uint64
		fd, flags uint32
	}{path: uint64(uintptr(unsafe.Pointer(name)))}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_OBJ_GET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return 0, fmt.Errorf("%s: %w", path, errno)
	}
	return int(fd), nil
}

func lookUp(fd int, key, value []byte) error {
	attr := struct {
		fd, pad           uint32
		key, value, flags uint64
	}{fd: uint32(fd), key: uint64(uintptr(unsafe.Pointer(&key[0]))), value: uint64(uintptr(unsafe.Pointer(&value[0])))}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_LOOKUP_ELEM, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)); errno != 0 {
		return errno
	}
	return nil
}

type kernel struct{ control, hosts int }

func openKernel(root string) (*kernel, error) {
	directories, err := filepath.Glob(filepath.Join(root, "net-*"))
	if err != nil || len(directories) != 1 {
		return nil, fmt.Errorf("%s: %d data planes, not one", root, len(directories))
	}
	k := &kernel{}
	if k.control, err = openMap(filepath.Join(directories[0], "control")); err != nil {
		return nil, err
	}
	k.hosts, err = openMap(filepath.Join(directories[0], "hosts"))
	return k, err
}

// The class that a packet would find for the address now; absent without any.
func (k *kernel) class(address netip.Addr) (uint32, error) {
	control := make([]byte, 4096)
	if err := lookUp(k.control, make([]byte, 4), control); err != nil {
		return 0, err
	}
	if layout := binary.NativeEndian.Uint32(control[controlLayout:]); layout != mapLayout {
		return 0, fmt.Errorf("the maps have layout %d, this is for %d", layout, mapLayout)
	}
	key, value := make([]byte, hostKeySize), make([]byte, hostValueSize)
	copy(key, address.AsSlice())
	binary.NativeEndian.PutUint32(key[16:], hostFamily)
	if err := lookUp(k.hosts, key, value); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return absent, nil
		}
		return 0, err
	}
	// Read again: a commit between the two look-ups would show one state's value by the other's revision.
	revision := binary.NativeEndian.Uint32(control[controlRev:])
	again := make([]byte, 4096)
	if err := lookUp(k.control, make([]byte, 4), again); err != nil {
		return 0, err
	}
	if !bytes.Equal(control[controlRev:controlRev+4], again[controlRev:controlRev+4]) {
		return k.class(address)
	}
	var since, class [2]uint32
	for v := range 2 {
		since[v] = binary.NativeEndian.Uint32(value[4*v:])
		class[v] = binary.NativeEndian.Uint32(value[8+4*v:])
	}
	a, b := since[0] <= revision, since[1] <= revision
	switch {
	case a && (!b || since[0] > since[1]):
		return class[0], nil
	case b:
		return class[1], nil
	}
	return absent, nil
}

// Changes a label of a pod on another node, and looks into the kernel's maps until its address has another class there. The time
// counts from before the request is sent.
func probe(c cluster, kubeconfig, root string, number int, interval time.Duration) error {
	api, err := client(kubeconfig)
	if err != nil {
		return err
	}
	k, err := openKernel(root)
	if err != nil {
		return err
	}
	ctx := context.Background()
	pods := api.CoreV1().Pods(tenantName(0))
	now := int64(0)
	_ = pods.Delete(ctx, probeName, meta.DeleteOptions{GracePeriodSeconds: &now})
	pod := c.pod(1)
	pod.ObjectMeta = meta.ObjectMeta{Name: probeName, Namespace: tenantName(0), Labels: map[string]string{"app": appName(0), "role": "back"}}
	status := pod.Status
	pod.Status = core.PodStatus{}
	if pod, err = pods.Create(ctx, pod, meta.CreateOptions{}); err != nil {
		return err
	}
	pod.Status = status
	pod.Status.PodIP, pod.Status.PodIPs = probeAddress, []core.PodIP{{IP: probeAddress}}
	if _, err = pods.UpdateStatus(ctx, pod, meta.UpdateOptions{}); err != nil {
		return err
	}
	address := netip.MustParseAddr(probeAddress)
	before := uint32(absent)
	for began := time.Now(); before == absent; time.Sleep(10 * time.Millisecond) {
		if before, err = k.class(address); err != nil {
			return err
		}
		if time.Since(began) > probeTimeout {
			return errors.New("the probe's pod does not reach the kernel")
		}
	}
	var total, after []float64
	for n := range number {
		time.Sleep(interval/2 + time.Duration(rand.Int63n(int64(interval))))
		role := []string{"front", "back"}[n%2]
		began := time.Now()
		if _, err = pods.Patch(ctx, probeName, types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"role":"%s"}}}`, role), meta.PatchOptions{}); err != nil {
			return err
		}
		answered := time.Now()
		class := before
		for class == before {
			if class, err = k.class(address); err != nil {
				return err
			}
			if class == before {
				if time.Since(began) > probeTimeout {
					return fmt.Errorf("change %d does not reach the kernel", n)
				}
				time.Sleep(pollEvery)
			}
		}
		before = class
		total = append(total, time.Since(began).Seconds()*1000)
		after = append(after, time.Since(answered).Seconds()*1000)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"changes": number, "ms": percentiles(total), "msAfterAnswer": percentiles(after)})
}

func percentiles(v []float64) map[string]float64 {
	slices.Sort(v)
	at := func(p float64) float64 { return v[min(int(p*float64(len(v))), len(v)-1)] }
	return map[string]float64{"p50": at(0.5), "p99": at(0.99), "max": v[len(v)-1]}
}
