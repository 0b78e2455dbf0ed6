package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// EachOf calls f for every item of a list until it returns an error.
func EachOf(list client.ObjectList, f func(client.Object) error) error {
	return meta.EachListItem(list, func(o runtime.Object) error {
		c, ok := o.(client.Object)
		if !ok {
			return fmt.Errorf("read item of %T: unexpected type %T", list, o)
		}
		return f(c)
	})
}
