package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GetConditions returns a pointer to the conditions in the Network's status.
func (n *Network) GetConditions() *[]metav1.Condition { return &n.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (n *Network) SetObservedGeneration(g int64) { n.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the Organization's status.
func (o *Organization) GetConditions() *[]metav1.Condition { return &o.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (o *Organization) SetObservedGeneration(g int64) { o.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the Orderer's status.
func (o *Orderer) GetConditions() *[]metav1.Condition { return &o.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (o *Orderer) SetObservedGeneration(g int64) { o.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the Peer's status.
func (p *Peer) GetConditions() *[]metav1.Condition { return &p.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (p *Peer) SetObservedGeneration(g int64) { p.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the Channel's status.
func (c *Channel) GetConditions() *[]metav1.Condition { return &c.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (c *Channel) SetObservedGeneration(g int64) { c.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the Chaincode's status.
func (c *Chaincode) GetConditions() *[]metav1.Condition { return &c.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (c *Chaincode) SetObservedGeneration(g int64) { c.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the Identity's status.
func (i *Identity) GetConditions() *[]metav1.Condition { return &i.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (i *Identity) SetObservedGeneration(g int64) { i.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the ChaincodeBuild's status.
func (b *ChaincodeBuild) GetConditions() *[]metav1.Condition { return &b.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (b *ChaincodeBuild) SetObservedGeneration(g int64) { b.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the Site's status.
func (s *Site) GetConditions() *[]metav1.Condition { return &s.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (s *Site) SetObservedGeneration(g int64) { s.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the SiteInvite's status.
func (i *SiteInvite) GetConditions() *[]metav1.Condition { return &i.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (i *SiteInvite) SetObservedGeneration(g int64) { i.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the SiteLink's status.
func (l *SiteLink) GetConditions() *[]metav1.Condition { return &l.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (l *SiteLink) SetObservedGeneration(g int64) { l.Status.ObservedGeneration = g }

// IsRevoked tells whether the partnership is over by this site's word, or by the partner's, which the operator writes
// into the spec.
func (l *SiteLink) IsRevoked() bool { return l.Spec.Partnership == PartnershipRevoked }

// GetConditions returns a pointer to the conditions in the NodeExport's status.
func (e *NodeExport) GetConditions() *[]metav1.Condition { return &e.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (e *NodeExport) SetObservedGeneration(g int64) { e.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the NodeImport's status.
func (i *NodeImport) GetConditions() *[]metav1.Condition { return &i.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (i *NodeImport) SetObservedGeneration(g int64) { i.Status.ObservedGeneration = g }

// GetConditions returns a pointer to the conditions in the Proposal's status.
func (p *Proposal) GetConditions() *[]metav1.Condition { return &p.Status.Conditions }

// SetObservedGeneration notes the generation that the status speaks of.
func (p *Proposal) SetObservedGeneration(g int64) { p.Status.ObservedGeneration = g }
