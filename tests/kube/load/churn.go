// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const writers = 16

func client(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	return kubernetes.NewForConfig(config)
}

// Changes pods at a steady rate, in four ways by turns: one gets another label that policies select by; one is deleted; that one is
// created anew; and given its address. Each is one write, and one event at whoever watches pods.
func churn(c cluster, kubeconfig string, rate int, seconds float64) error {
	api, err := client(kubeconfig)
	if err != nil {
		return err
	}
	var done, failed atomic.Int64
	var first sync.Once
	var why error
	work := make(chan int, 4*writers)
	var all sync.WaitGroup
	for range writers {
		all.Add(1)
		go func() {
			defer all.Done()
			for turn := range work {
				// Pods of node 0 are left alone: their ends would be the runtime's to tell.
				i := turn * 7 % c.pods
				if i%c.nodes == 0 {
					i++
				}
				for _, write := range changes(c, api, i, turn) {
					if err := write(); err != nil {
						failed.Add(1)
						first.Do(func() { why = err })
					}
					done.Add(1)
				}
			}
		}()
	}
	began := time.Now()
	for turn := 0; ; turn++ {
		due := began.Add(time.Duration(float64(turn) * 4 / float64(rate) * float64(time.Second)))
		if due.Sub(began).Seconds() >= seconds {
			break
		}
		time.Sleep(time.Until(due))
		work <- turn
	}
	close(work)
	all.Wait()
	fmt.Printf("{\"changes\": %d, \"failed\": %d, \"seconds\": %.2f}\n", done.Load(), failed.Load(), time.Since(began).Seconds())
	if why != nil {
		return fmt.Errorf("%d writes failed, the first one: %w", failed.Load(), why)
	}
	return nil
}

func changes(c cluster, api *kubernetes.Clientset, i, turn int) []func() error {
	ctx := context.Background()
	pods := api.CoreV1().Pods(tenantName(i))
	now := int64(0)
	return []func() error{
		func() error {
			role := []string{"front", "back", "none"}[turn%3]
			_, err := pods.Patch(ctx, podName(i), types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"role":"%s"}}}`, role), meta.PatchOptions{})
			return err
		},
		func() error {
			return pods.Delete(ctx, podName(i), meta.DeleteOptions{GracePeriodSeconds: &now})
		},
		func() error {
			pod := c.pod(i)
			pod.UID, pod.ManagedFields, pod.Status = "", nil, core.PodStatus{}
			_, err := pods.Create(ctx, pod, meta.CreateOptions{})
			return err
		},
		func() error {
			pod := c.pod(i)
			pod.UID, pod.ManagedFields = "", nil
			_, err := pods.UpdateStatus(ctx, pod, meta.UpdateOptions{})
			return err
		},
	}
}
