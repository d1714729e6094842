// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	etcd "go.etcd.io/etcd/client/v3"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

const putsATransaction = 100

// Writes the cluster where the API server keeps it, in the form that it writes itself: it takes 80 objects a second and connection, and each
// pod twice, etcd takes all of them in seconds. The server starts later, and finds them.
func fill(c cluster, url string) error {
	client, err := etcd.New(etcd.Config{Endpoints: []string{url}, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	began := time.Now()
	encoder := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	var puts []etcd.Op
	written := 0
	flush := func() error {
		_, err := client.Txn(context.Background()).Then(puts...).Commit()
		written += len(puts)
		puts = nil
		return err
	}
	put := func(key string, object runtime.Object) error {
		var value bytes.Buffer
		if err := encoder.Encode(object, &value); err != nil {
			return err
		}
		if puts = append(puts, etcd.OpPut("/registry/"+key, value.String())); len(puts) < putsATransaction {
			return nil
		}
		return flush()
	}
	for _, k := range c.kinds() {
		for i := range k.number {
			object := k.object(i)
			named := object.(meta.Object)
			key := k.registry + "/" + named.GetName()
			if named.GetNamespace() != "" {
				key = k.registry + "/" + named.GetNamespace() + "/" + named.GetName()
			}
			if err := put(key, object); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	// Without these the server would write them in its first minutes: who has which address.
	for i := range c.services {
		address := &networking.IPAddress{TypeMeta: meta.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "IPAddress"},
			ObjectMeta: objectMeta("IPAddress", "", serviceAddress(i), i, map[string]string{"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}, "{}"),
			Spec:       networking.IPAddressSpec{ParentRef: &networking.ParentReference{Resource: "services", Namespace: tenantName(i), Name: serviceName(i)}}}
		if err := put("ipaddresses/"+serviceAddress(i), address); err != nil {
			return err
		}
	}
	if len(puts) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	fmt.Printf("%d objects in %.1f s\n", written, time.Since(began).Seconds())
	return nil
}
