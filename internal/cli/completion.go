package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// completionTimeout keeps a dead cluster from hanging the shell.
const completionTimeout = 2 * time.Second

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeNetworks offers the cluster's networks for the first n arguments.
func (a *app) completeNetworks(n int) completer {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.networkNames(c.Context(), prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) networkNames(ctx context.Context, prefix string) []string {
	var list v1alpha1.NetworkList
	if !a.completionList(ctx, &list) {
		return nil
	}
	var names []string
	for i := range list.Items {
		if strings.HasPrefix(list.Items[i].Name, prefix) {
			names = append(names, list.Items[i].Name)
		}
	}
	return names
}

// completionList reads a list; completion has no place for an error, so nothing is offered then.
func (a *app) completionList(ctx context.Context, list client.ObjectList, opts ...client.ListOption) bool {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	cl, err := a.connect()
	if err != nil {
		return false
	}
	return cl.List(ctx, list, opts...) == nil
}

// completeContracts offers NETWORK/CHANNEL/CONTRACT part by part.
func (a *app) completeContracts(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	parts := strings.Split(prefix, "/")
	var out []string
	switch len(parts) {
	case 1:
		for _, n := range a.networkNames(c.Context(), parts[0]) {
			out = append(out, n+"/")
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	case 2:
		var list v1alpha1.ChannelList
		a.completionList(c.Context(), &list, client.InNamespace(parts[0]))
		for i := range list.Items {
			if strings.HasPrefix(list.Items[i].Name, parts[1]) {
				out = append(out, parts[0]+"/"+list.Items[i].Name+"/")
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	case 3:
		var list v1alpha1.ChaincodeList
		a.completionList(c.Context(), &list, client.InNamespace(parts[0]))
		for i := range list.Items {
			s := list.Items[i].Spec
			if s.Channel == parts[1] && strings.HasPrefix(s.ChaincodeName, parts[2]) {
				out = append(out, parts[0]+"/"+parts[1]+"/"+s.ChaincodeName)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeOrganizations offers the organisations of the network that network names.
func (a *app) completeOrganizations(network func(args []string) string) completer {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		var list v1alpha1.OrganizationList
		ns := network(args)
		if ns == "" || !a.completionList(c.Context(), &list, client.InNamespace(ns)) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for i := range list.Items {
			if strings.HasPrefix(list.Items[i].Name, prefix) {
				names = append(names, list.Items[i].Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
