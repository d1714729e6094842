// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
)

// Bodies at least so large are compressed for whoever asks for that, as the API server does it.
const gzipFrom = 128 << 10

const gzipLevel = 1 // the API server's

const firstRevision = 1000000

// An API server of nothing but list and watch, for clusters larger than a machine of tests can hold one of: objects are made once at the
// start, and served from memory. Watches stream the initial objects where they are asked to.
type replay struct {
	c        cluster
	rate     int
	sets     map[string]*objectSet // by the last part of the path
	revision atomic.Int64
	pods     *objectSet
	bytes    atomic.Int64 // bodies of answers, compressed where they were
}

type objectSet struct {
	kind    kind
	json    [][]byte
	mu      sync.Mutex
	watches map[chan []byte]bool
}

func (r *replay) prepare() error {
	r.sets = map[string]*objectSet{"clusternetworkpolicies": {kind: kind{apiVersion: "policy.networking.k8s.io/v1alpha2", kind: "ClusterNetworkPolicy"}, watches: map[chan []byte]bool{}}}
	r.revision.Store(firstRevision)
	for _, k := range r.c.kinds() {
		set := &objectSet{kind: k, watches: map[chan []byte]bool{}, json: make([][]byte, k.number)}
		for i := range k.number {
			text, err := encode(k.object(i), firstRevision)
			if err != nil {
				return err
			}
			set.json[i] = text
		}
		r.sets[k.resource] = set
	}
	r.pods = r.sets["pods"]
	return nil
}

// With the revision at the place where the server writes it.
func encode(object runtime.Object, revision int64) ([]byte, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return []byte(strings.Replace(string(text), `"metadata":{`, fmt.Sprintf(`"metadata":{"resourceVersion":"%d",`, revision), 1)), nil
}

type counter struct {
	w     io.Writer
	bytes *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (r *replay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimSuffix(req.URL.Path, "/")
	set := r.sets[path[strings.LastIndexByte(path, '/')+1:]]
	out := counter{w, &r.bytes}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case path == "/bytes":
		fmt.Fprintln(w, r.bytes.Load())
	case path == "/version":
		fmt.Fprintln(out, `{"major":"1","minor":"37","gitVersion":"v1.37.2"}`)
	case req.Method != http.MethodGet:
		_, _ = io.Copy(io.Discard, req.Body) // events and conditions
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintln(out, `{}`)
	case set == nil:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(out, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","message":"%s is not replayed","code":404}`, path)
	case req.URL.Query().Get("watch") == "true" || req.URL.Query().Get("watch") == "1":
		r.watch(out, w, req, set)
	default:
		r.list(out, w, req, set)
	}
}

func (r *replay) selected(set *objectSet, req *http.Request) [][]byte {
	selector := req.URL.Query().Get("fieldSelector")
	name, ok := strings.CutPrefix(selector, "metadata.name=")
	if !ok {
		return set.json
	}
	var found [][]byte
	for _, text := range set.json {
		if strings.Contains(string(text[:min(len(text), 400)]), `"name":"`+name+`"`) {
			found = append(found, text)
		}
	}
	return found
}

func (r *replay) list(out io.Writer, w http.ResponseWriter, req *http.Request, set *objectSet) {
	query := req.URL.Query()
	objects := r.selected(set, req)
	from, _ := strconv.Atoi(query.Get("continue"))
	to := len(objects)
	limit, _ := strconv.Atoi(query.Get("limit"))
	next := ""
	if limit > 0 && from+limit < to {
		to = from + limit
		next = fmt.Sprintf(`,"continue":"%d","remainingItemCount":%d`, to, len(objects)-to)
	}
	size := 0
	for _, text := range objects[from:to] {
		size += len(text)
	}
	if size >= gzipFrom && strings.Contains(req.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(out, gzipLevel)
		defer z.Close()
		out = z
	}
	fmt.Fprintf(out, `{"kind":"%sList","apiVersion":"%s","metadata":{"resourceVersion":"%d"%s},"items":[`, set.kind.kind, set.kind.apiVersion, r.revision.Load(), next)
	for i, text := range objects[from:to] {
		if i > 0 {
			_, _ = out.Write([]byte{','})
		}
		_, _ = out.Write(text)
	}
	_, _ = out.Write([]byte("]}\n"))
}

func event(kind string, object []byte) []byte {
	return fmt.Appendf(make([]byte, 0, len(object)+40), "{\"type\":\"%s\",\"object\":%s}\n", kind, object)
}

func (r *replay) watch(out io.Writer, w http.ResponseWriter, req *http.Request, set *objectSet) {
	query := req.URL.Query()
	events := make(chan []byte, 10000)
	set.mu.Lock()
	set.watches[events] = true
	set.mu.Unlock()
	defer func() {
		set.mu.Lock()
		delete(set.watches, events)
		set.mu.Unlock()
	}()
	bookmark := func(annotations string) []byte {
		return event("BOOKMARK", fmt.Appendf(nil, `{"kind":"%s","apiVersion":"%s","metadata":{"resourceVersion":"%d"%s}}`, set.kind.kind, set.kind.apiVersion, r.revision.Load(), annotations))
	}
	// A watch that begins with all objects is compressed to its end, and each flush of it is a gzip member of its own.
	compressed := query.Get("sendInitialEvents") == "true" && strings.Contains(req.Header.Get("Accept-Encoding"), "gzip")
	if compressed {
		w.Header().Set("Content-Encoding", "gzip")
	}
	flusher := w.(http.Flusher)
	flusher.Flush()
	send := func(texts ...[]byte) error {
		to := io.Writer(out)
		defer flusher.Flush()
		if compressed {
			z, _ := gzip.NewWriterLevel(out, gzipLevel)
			defer z.Close()
			to = z
		}
		for _, text := range texts {
			if _, err := to.Write(text); err != nil {
				return err
			}
		}
		return nil
	}
	if query.Get("sendInitialEvents") == "true" {
		var initial [][]byte
		for _, text := range r.selected(set, req) {
			initial = append(initial, []byte(`{"type":"ADDED","object":`), text, []byte("}\n"))
		}
		if send(append(initial, bookmark(`,"annotations":{"k8s.io/initial-events-end":"true"}`))...) != nil {
			return
		}
	}
	seconds, _ := strconv.Atoi(query.Get("timeoutSeconds"))
	if seconds == 0 {
		seconds = 1800
	}
	end := time.After(time.Duration(seconds) * time.Second)
	marks := time.NewTicker(time.Minute)
	defer marks.Stop()
	for {
		var text []byte
		select {
		case text = <-events:
		case <-marks.C:
			text = bookmark("")
		case <-end:
			return
		case <-req.Context().Done():
			return
		}
		if send(text) != nil {
			return
		}
	}
}

// Every pod in its turn gets another role, the label that policies select by.
func (r *replay) churn() {
	began := time.Now()
	for n := 0; ; n++ {
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(r.rate))))
		i := n * 7 % r.c.pods
		pod := r.c.pod(i)
		pod.Labels["role"] = []string{"front", "back", "none"}[n%3]
		text, err := encode(pod, r.revision.Add(1))
		if err != nil {
			continue
		}
		r.pods.mu.Lock()
		r.pods.json[i] = text
		for events := range r.pods.watches {
			select {
			case events <- event("MODIFIED", text):
			default: // who is 10,000 behind has stopped reading
			}
		}
		r.pods.mu.Unlock()
	}
}

func serve(c cluster, address, certificate, key string, rate int) error {
	r := &replay{c: c, rate: rate}
	if err := r.prepare(); err != nil {
		return err
	}
	if rate > 0 {
		go r.churn()
	}
	return (&http.Server{Addr: address, Handler: r}).ListenAndServeTLS(certificate, key)
}
