package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
)

// attributes is the content of the extension in which Fabric's certificates
// carry attributes.
type attributes struct {
	Attrs map[string]string `json:"attrs"`
}

// attributesOID is where fabric-ca puts attributes and contracts look for them.
func attributesOID() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 3, 4, 5, 6, 7, 8, 1}
}

func attributesExtension(attrs map[string]string) (pkix.Extension, error) {
	raw, err := json.Marshal(attributes{attrs})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encode attributes: %w", err)
	}
	return pkix.Extension{Id: attributesOID(), Value: raw}, nil
}

// AttributesOf reads the attributes of an enrolment certificate; nil if it has
// none.
func AttributesOf(cert *x509.Certificate) map[string]string {
	for _, e := range cert.Extensions {
		var content attributes
		if e.Id.Equal(attributesOID()) && json.Unmarshal(e.Value, &content) == nil {
			return content.Attrs
		}
	}
	return nil
}
