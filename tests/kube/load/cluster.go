// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A cluster whose every object follows from its number, so that a server can be filled with it, and whoever needs an object of it
// can name it. Pod i runs on node i mod nodes, in tenant i mod tenants, and is of app i / tenants mod apps.
type cluster struct {
	nodes, pods, services, endpoints, policies int
}

const (
	tenants = 40
	apps    = 20
)

var epoch = meta.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))

func nodeName(i int) string   { return fmt.Sprintf("node-%d", i) }
func tenantName(i int) string { return fmt.Sprintf("tenant-%d", i%tenants) }
func appName(i int) string    { return fmt.Sprintf("app-%d", i/tenants%apps) }

// As a Deployment's ReplicaSet names them.
func podName(i int) string { return fmt.Sprintf("%s-7d4b9c8f6-%05d", appName(i), i) }

func podAddress(i int) string { return fmt.Sprintf("10.%d.%d.%d", 128+i>>16, i>>8&255, i&255) }

func serviceAddress(i int) string {
	return fmt.Sprintf("10.%d.%d.%d", 96+(i+256)>>16, (i+256)>>8&255, i&255)
}

func uid(kind string, i int) types.UID {
	return types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", len(kind)<<24|int(kind[0])<<16|int(kind[1])<<8, i))
}

func objectMeta(kind, namespace, name string, i int, labels map[string]string, fields string) meta.ObjectMeta {
	return meta.ObjectMeta{
		Namespace: namespace, Name: name, Labels: labels, UID: uid(kind, i), CreationTimestamp: epoch, Generation: 1,
		ManagedFields: []meta.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", Time: &epoch,
			FieldsType: "FieldsV1", FieldsV1: &meta.FieldsV1{Raw: []byte(fields)}}},
	}
}

func (c cluster) namespace(i int) *core.Namespace {
	name := fmt.Sprintf("tenant-%d", i)
	if i >= tenants {
		name = []string{"default", "kube-system"}[i-tenants] // which every cluster has
	}
	labels := map[string]string{"kubernetes.io/metadata.name": name, "stage": []string{"live", "test"}[i%2]}
	return &core.Namespace{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: objectMeta("Namespace", "", name, i, labels, `{"f:metadata":{}}`),
		Spec: core.NamespaceSpec{Finalizers: []core.FinalizerName{core.FinalizerKubernetes}}, Status: core.NamespaceStatus{Phase: core.NamespaceActive}}
}

func (c cluster) node(i int) *core.Node {
	name := nodeName(i)
	labels := map[string]string{"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": fmt.Sprintf("zone-%d", i%3)}
	var images []core.ContainerImage // what makes a Node large
	for k := range 50 {
		images = append(images, core.ContainerImage{SizeBytes: 12345678, Names: []string{
			fmt.Sprintf("registry.test/team/image-%d@sha256:%064x", k, k), fmt.Sprintf("registry.test/team/image-%d:v1.%d", k, k)}})
	}
	return &core.Node{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: objectMeta("Node", "", name, i, labels, `{"f:metadata":{},"f:spec":{}}`),
		Spec: core.NodeSpec{PodCIDR: fmt.Sprintf("10.%d.%d.0/24", 128+i>>8, i&255), PodCIDRs: []string{fmt.Sprintf("10.%d.%d.0/24", 128+i>>8, i&255)}},
		Status: core.NodeStatus{Addresses: []core.NodeAddress{{Type: core.NodeInternalIP, Address: fmt.Sprintf("172.16.%d.%d", i>>8, i&255)}}, Images: images,
			Conditions: []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue, LastHeartbeatTime: epoch, LastTransitionTime: epoch, Reason: "KubeletReady"}}}}
}

// The fields that a kubelet and a controller are said to own, as a server keeps them.
var podFields = `{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{},"f:role":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"0\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:env":{".":{}` +
	strings.Repeat(`,"k:{\"name\":\"SETTING\"}":{".":{},"f:name":{},"f:value":{}}`, 6) + `},"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}}},"f:name":{},"f:ports":{".":{}},"f:resources":{".":{},"f:limits":{},"f:requests":{}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:restartPolicy":{},"f:schedulerName":{},"f:terminationGracePeriodSeconds":{}}}`

func (c cluster) pod(i int) *core.Pod {
	var env []core.EnvVar
	for k := range 6 {
		env = append(env, core.EnvVar{Name: fmt.Sprintf("SETTING_%d", k), Value: "a value of moderate length"})
	}
	labels := map[string]string{"app": appName(i), "pod-template-hash": "7d4b9c8f6", "role": []string{"front", "back"}[i/(tenants*apps)%2]}
	probe := &core.Probe{ProbeHandler: core.ProbeHandler{HTTPGet: &core.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}}}
	mode, seconds := int32(0o644), int64(3607)
	pod := &core.Pod{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: objectMeta("Pod", tenantName(i), podName(i), i, labels, podFields),
		Spec: core.PodSpec{
			NodeName: nodeName(i % c.nodes), RestartPolicy: core.RestartPolicyAlways, DNSPolicy: core.DNSClusterFirst, SchedulerName: "default-scheduler",
			ServiceAccountName: "default",
			Containers: []core.Container{{Name: "main", Image: "registry.test/team/image:v1.2.3", Env: env, LivenessProbe: probe, ReadinessProbe: probe,
				Ports:                  []core.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: core.ProtocolTCP}},
				Resources:              core.ResourceRequirements{Requests: core.ResourceList{core.ResourceCPU: resource.MustParse("100m"), core.ResourceMemory: resource.MustParse("64Mi")}},
				VolumeMounts:           []core.VolumeMount{{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}},
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: core.TerminationMessageReadFile, ImagePullPolicy: core.PullIfNotPresent}},
			Volumes: []core.Volume{{Name: "token", VolumeSource: core.VolumeSource{Projected: &core.ProjectedVolumeSource{DefaultMode: &mode,
				Sources: []core.VolumeProjection{{ServiceAccountToken: &core.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: &seconds}}}}}}},
			Tolerations: []core.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: core.TolerationOpExists, Effect: core.TaintEffectNoExecute}},
		}}
	controller := true
	pod.OwnerReferences = []meta.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: appName(i) + "-7d4b9c8f6", UID: uid("ReplicaSet", i%800), Controller: &controller}}
	pod.Status = c.podStatus(i)
	return pod
}

func (c cluster) podStatus(i int) core.PodStatus {
	started := true
	status := core.PodStatus{Phase: core.PodRunning, PodIP: podAddress(i), PodIPs: []core.PodIP{{IP: podAddress(i)}}, StartTime: &epoch, QOSClass: core.PodQOSBurstable,
		ContainerStatuses: []core.ContainerStatus{{Name: "main", Ready: true, Started: &started, Image: "registry.test/team/image:v1.2.3",
			ImageID: fmt.Sprintf("registry.test/team/image@sha256:%064x", 1), ContainerID: fmt.Sprintf("containerd://%064x", i),
			State: core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: epoch}}}}}
	for _, kind := range []core.PodConditionType{core.PodReadyToStartContainers, core.PodInitialized, core.PodReady, core.ContainersReady, core.PodScheduled} {
		status.Conditions = append(status.Conditions, core.PodCondition{Type: kind, Status: core.ConditionTrue, LastTransitionTime: epoch})
	}
	return status
}

func serviceName(i int) string { return fmt.Sprintf("service-%d", i) }

func (c cluster) service(i int) *core.Service {
	policy, family := core.ServiceInternalTrafficPolicyCluster, core.IPFamilyPolicySingleStack
	return &core.Service{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: objectMeta("Service", tenantName(i), serviceName(i), i, map[string]string{"app": appName(i)}, `{"f:spec":{"f:ports":{},"f:selector":{}}}`),
		Spec: core.ServiceSpec{Type: core.ServiceTypeClusterIP, ClusterIP: serviceAddress(i), ClusterIPs: []string{serviceAddress(i)}, Selector: map[string]string{"app": appName(i)},
			InternalTrafficPolicy: &policy, IPFamilies: []core.IPFamily{core.IPv4Protocol}, IPFamilyPolicy: &family, SessionAffinity: core.ServiceAffinityNone,
			Ports: []core.ServicePort{{Name: "http", Protocol: core.ProtocolTCP, Port: 80, TargetPort: intstr.FromString("http")}}}}
}

// The endpoints of service i are pods i, i + services, i + 2 services, …: spread over nodes, in other tenants as well, which no data plane minds.
func (c cluster) slice(i int) *discovery.EndpointSlice {
	name, protocol, port, yes, no := "http", core.ProtocolTCP, int32(8080), true, false
	slice := &discovery.EndpointSlice{TypeMeta: meta.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta:  objectMeta("EndpointSlice", tenantName(i), serviceName(i)+"-abcde", i, map[string]string{discovery.LabelServiceName: serviceName(i)}, `{"f:endpoints":{},"f:ports":{}}`),
		AddressType: discovery.AddressTypeIPv4, Ports: []discovery.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}}}
	for k := range c.endpoints {
		pod := (i + k*c.services) % c.pods
		node := nodeName(pod % c.nodes)
		slice.Endpoints = append(slice.Endpoints, discovery.Endpoint{Addresses: []string{podAddress(pod)}, NodeName: &node,
			Conditions: discovery.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
			TargetRef:  &core.ObjectReference{Kind: "Pod", Namespace: tenantName(pod), Name: podName(pod), UID: uid("Pod", pod)}})
	}
	return slice
}

// Policy i isolates one app of its tenant, and lets in another app, the front of every live tenant, and a network, each by ports.
func (c cluster) policy(i int) *networking.NetworkPolicy {
	tcp, http, metrics := core.ProtocolTCP, intstr.FromString("http"), intstr.FromInt32(9000)
	app := func(k int) meta.LabelSelector {
		return meta.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprintf("app-%d", k%apps)}}
	}
	other := app(i/tenants + 1)
	return &networking.NetworkPolicy{TypeMeta: meta.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: objectMeta("NetworkPolicy", tenantName(i), fmt.Sprintf("policy-%d", i), i, nil, `{"f:spec":{}}`),
		Spec: networking.NetworkPolicySpec{PodSelector: app(i / tenants), PolicyTypes: []networking.PolicyType{networking.PolicyTypeIngress},
			Ingress: []networking.NetworkPolicyIngressRule{
				{From: []networking.NetworkPolicyPeer{{PodSelector: &other}}, Ports: []networking.NetworkPolicyPort{{Protocol: &tcp, Port: &http}}},
				{From: []networking.NetworkPolicyPeer{{NamespaceSelector: &meta.LabelSelector{MatchLabels: map[string]string{"stage": "live"}},
					PodSelector: &meta.LabelSelector{MatchLabels: map[string]string{"role": "front"}}}}, Ports: []networking.NetworkPolicyPort{{Protocol: &tcp, Port: &metrics}}},
				{From: []networking.NetworkPolicyPeer{{IPBlock: &networking.IPBlock{CIDR: fmt.Sprintf("192.0.%d.0/24", i%256)}}}},
			}}}
}

// All objects of one kind, by number.
type kind struct {
	apiVersion, kind string
	resource         string // in paths of the API
	registry         string // etcd's prefix of it
	number           int
	object           func(i int) runtime.Object
}

func (c cluster) kinds() []kind {
	return []kind{
		{"v1", "Namespace", "namespaces", "namespaces", tenants + 2, func(i int) runtime.Object { return c.namespace(i) }},
		{"v1", "Node", "nodes", "minions", c.nodes, func(i int) runtime.Object { return c.node(i) }},
		{"v1", "Pod", "pods", "pods", c.pods, func(i int) runtime.Object { return c.pod(i) }},
		{"v1", "Service", "services", "services/specs", c.services, func(i int) runtime.Object { return c.service(i) }},
		{"discovery.k8s.io/v1", "EndpointSlice", "endpointslices", "endpointslices", c.services, func(i int) runtime.Object { return c.slice(i) }},
		{"networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "networkpolicies", c.policies, func(i int) runtime.Object { return c.policy(i) }},
	}
}
