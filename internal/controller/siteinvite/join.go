package siteinvite

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/pki"
)

var _ link.Invitations = &Reconciler{}

// Invited tells whether a code may be used. It reads from the cache alone and compares with every invitation, so that a
// guess costs little and its time tells nothing.
func (r *Reconciler) Invited(ctx context.Context, code string) error {
	_, err := r.find(ctx, code)
	return err
}

func (r *Reconciler) find(ctx context.Context, code string) (*v1alpha1.SiteInvite, error) {
	var all v1alpha1.SiteInviteList
	if err := r.opts.Client.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	var found *v1alpha1.SiteInvite
	for i := range all.Items {
		if link.MatchCode(code, all.Items[i].Spec.CodeHash) && all.Items[i].DeletionTimestamp.IsZero() {
			found = &all.Items[i]
		}
	}
	if found == nil {
		return nil, link.Refuse(link.RefusedCode, "There is no such invitation: ask for a new one")
	}
	return found, r.usable(found)
}

func (r *Reconciler) usable(i *v1alpha1.SiteInvite) error {
	if i.Annotations[v1alpha1.AnnotationVoid] != "" {
		return link.Refuse(link.RefusedVoid, "The invitation is void, since somebody else used it too or the digits did not match: ask for a new one")
	}
	if i.Annotations[v1alpha1.AnnotationJoiner] == "" && !r.opts.Now().Before(i.Spec.ExpiresAt.Time) {
		return link.Refuse(link.RefusedExpired, "The invitation has expired: ask for a new one")
	}
	return nil
}

// claimTries bounds how often a claim that met another writer is tried again.
const claimTries = 5

// Join takes in the first site that uses a code. The order matters: its key is fixed in the invitation, then the nonce is
// made, and with it the digits; whoever comes with another key voids the invitation.
func (r *Reconciler) Join(ctx context.Context, j *link.Joiner) ([]byte, error) {
	cached, err := r.find(ctx, j.Code)
	if err != nil {
		return nil, err
	}
	for range claimTries {
		invite := &v1alpha1.SiteInvite{}
		if err := r.opts.Reader.Get(ctx, client.ObjectKeyFromObject(cached), invite); err != nil {
			if missing(err) {
				return nil, link.Refuse(link.RefusedCode, "There is no such invitation: ask for a new one")
			}
			return nil, fmt.Errorf("read SiteInvite: %w", err)
		}
		if invite.UID != cached.UID {
			return nil, link.Refuse(link.RefusedCode, "There is no such invitation: ask for a new one")
		}
		if err := r.usable(invite); err != nil {
			return nil, err
		}
		err := r.claim(ctx, invite, j)
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return r.settle(ctx, invite, j)
	}
	return nil, link.Refuse(link.RefusedBusy, "The invitation is being used at this moment: try again")
}

// claim fixes the joining site's key, or voids the invitation if it is another one than the first.
func (r *Reconciler) claim(ctx context.Context, invite *v1alpha1.SiteInvite, j *link.Joiner) error {
	mine := j.SiteID + " " + link.Pin(j.CA)
	switch invite.Annotations[v1alpha1.AnnotationJoiner] {
	case mine:
		return nil
	case "":
		if err := r.free(ctx, invite, j); err != nil {
			return err
		}
		ctrl.LoggerFrom(ctx).Info("Site uses invitation", "invite", invite.Name, "site", j.SiteID)
		return r.apply.Mark(ctx, invite, v1alpha1.AnnotationJoiner, mine)
	}
	if err := r.apply.Mark(ctx, invite, v1alpha1.AnnotationVoid, "its code was used twice, the second time by a site that calls itself "+j.SiteID); err != nil {
		return err
	}
	ctrl.LoggerFrom(ctx).Info("Invitation is void", "invite", invite.Name, "site", j.SiteID)
	r.event(invite, corev1.EventTypeWarning, v1alpha1.ReasonInviteVoid, "A second site used the code: it calls itself "+j.SiteID)
	return link.Refuse(link.RefusedVoid, "Another site has used the invitation: it is void, ask for a new one")
}

func (r *Reconciler) event(invite *v1alpha1.SiteInvite, kind, reason, text string) {
	if r.opts.Recorder != nil {
		r.opts.Recorder.Eventf(invite, nil, kind, reason, "Join", "%s", text)
	}
}

// free tells whether neither the invitation's name nor the site is taken by another SiteLink.
func (r *Reconciler) free(ctx context.Context, invite *v1alpha1.SiteInvite, j *link.Joiner) error {
	var all v1alpha1.SiteLinkList
	if err := r.opts.Reader.List(ctx, &all); err != nil {
		return fmt.Errorf("list SiteLinks: %w", err)
	}
	for i := range all.Items {
		l := &all.Items[i]
		if l.Name == invite.Name {
			return link.Refuse(link.RefusedConflict, "The inviting site has a partner of the invitation's name already: ask for another invitation")
		}
		if l.Spec.SiteID == j.SiteID && !l.IsRevoked() {
			return link.Refuse(link.RefusedConflict, "The two sites are partners already, or have an invitation under way")
		}
	}
	return nil
}

// settle makes the SiteLink, or finds the one that was made when the same site asked before.
func (r *Reconciler) settle(ctx context.Context, invite *v1alpha1.SiteInvite, j *link.Joiner) ([]byte, error) {
	have := &v1alpha1.SiteLink{}
	err := r.opts.Reader.Get(ctx, client.ObjectKey{Name: invite.Name}, have)
	if err == nil {
		return nonceOf(invite, have)
	}
	if !missing(err) {
		return nil, fmt.Errorf("read SiteLink %q: %w", invite.Name, err)
	}
	if invite.Status.UsedBy != "" {
		return nil, link.Refuse(link.RefusedUsed, "The inviting site has taken the partnership away again: ask for a new invitation")
	}
	self, err := r.opts.Self(ctx)
	if err != nil {
		return nil, err
	}
	nonce, err := link.NewNonce()
	if err != nil {
		return nil, err
	}
	made := &v1alpha1.SiteLink{
		ObjectMeta: metav1.ObjectMeta{Name: invite.Name, Annotations: map[string]string{
			v1alpha1.AnnotationInvite: string(invite.UID),
			v1alpha1.AnnotationNonce:  hex.EncodeToString(nonce),
			v1alpha1.AnnotationCheck:  link.Check(j.Code, self.CA.Cert, j.CA, nonce),
		}},
		Spec: v1alpha1.SiteLinkSpec{
			SiteID: j.SiteID, DisplayName: j.DisplayName, Endpoints: j.Endpoints, CACertificates: string(pki.EncodeCerts(j.CA)),
		},
	}
	if _, err := r.apply.CreateOnce(ctx, nil, made); err != nil {
		return nil, err
	}
	// Another call of the same site may have been first.
	return nonceOf(invite, made)
}

func nonceOf(invite *v1alpha1.SiteInvite, l *v1alpha1.SiteLink) ([]byte, error) {
	if !ours(invite, l) {
		return nil, link.Refuse(link.RefusedConflict, "The inviting site has a partner of the invitation's name already: ask for another invitation")
	}
	if l.IsRevoked() {
		return nil, link.Refuse(link.RefusedVoid, "The inviting site has ended the partnership: ask for a new invitation")
	}
	nonce, err := hex.DecodeString(l.Annotations[v1alpha1.AnnotationNonce])
	if err != nil || len(nonce) == 0 {
		return nil, errors.New("read nonce: the SiteLink has none")
	}
	return nonce, nil
}
