package policy

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// lingering remembers pods whose object is gone while their sandbox is not.
//
// A pod that is deleted without grace leaves the API at once, and its processes a second or more later. The last that
// they send are the packets that close their connections: cut off, the other end would hold on to a connection to
// nobody and wait, in Fabric's case 20 s. So rules last as long as the address is given out, as they do where a
// cluster's network keeps them with the sandbox.
type lingering struct {
	leased map[types.UID]*corev1.Pod
}

// with returns the pods and those that linger.
func (l *lingering) with(pods []*corev1.Pod, leases []Lease) []*corev1.Pod {
	given := map[types.UID]bool{}
	for _, lease := range leases {
		given[lease.UID] = lease.UID != ""
	}
	now := map[types.UID]*corev1.Pod{}
	for _, pod := range pods {
		if given[pod.UID] {
			now[pod.UID] = pod
		}
	}
	for uid, pod := range l.leased {
		if given[uid] && now[uid] == nil {
			now[uid] = pod
			pods = append(pods[:len(pods):len(pods)], pod)
		}
	}
	l.leased = now
	return pods
}
