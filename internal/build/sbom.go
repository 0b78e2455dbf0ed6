package build

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"heddle.dev/heddle/internal/version"
)

// component is one thing that an image holds.
type component struct {
	name, version, license string
	// purl names it in all the world: its ecosystem, name and version.
	purl string
	// sha512 is the digest of its archive, in hexadecimal digits, if it is known.
	sha512 string
}

// lockLimit bounds npm's list of what it installed.
const lockLimit = 32 << 20

// components lists what a build's result is made of.
func components(out *os.Root, c *Compiled) ([]component, error) {
	if c.Base == "node" {
		return nodeComponents(out)
	}
	program := path.Join(layerFolder, "0", programPath)
	if !isFile(out, program) {
		return nil, nil
	}
	file, err := out.Open(program)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	defer file.Close()
	info, err := buildinfo.Read(file)
	if err != nil {
		return nil, nil // a program in another language lists nothing
	}
	found := []component{{name: "stdlib", version: strings.TrimPrefix(info.GoVersion, "go"), purl: "pkg:golang/stdlib@" + strings.TrimPrefix(info.GoVersion, "go")}}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		found = append(found, component{name: module.Path, version: module.Version, purl: "pkg:golang/" + module.Path + "@" + module.Version})
	}
	return found, nil
}

// nodeComponents reads the list that npm leaves in node_modules.
func nodeComponents(out *os.Root) ([]component, error) {
	name := path.Join(layerFolder, "0", appPath, modules, ".package-lock.json")
	raw, err := readFile(out, name, lockLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read npm's list: %w", err)
	}
	var lock struct {
		Packages map[string]struct {
			Name      string `json:"name"`
			Version   string `json:"version"`
			Integrity string `json:"integrity"`
			License   any    `json:"license"`
			Link      bool   `json:"link"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(raw, &lock); err != nil {
		return nil, fmt.Errorf("read npm's list: %w", err)
	}
	var found []component
	for place, p := range lock.Packages {
		if p.Link {
			continue
		}
		c := component{name: p.Name, version: p.Version}
		if c.name == "" {
			c.name = place[strings.LastIndex("/"+place, modules+"/")+len(modules):]
		}
		c.license, _ = p.License.(string)
		if sum, ok := strings.CutPrefix(p.Integrity, "sha512-"); ok {
			if decoded, err := base64.StdEncoding.DecodeString(sum); err == nil {
				c.sha512 = hex.EncodeToString(decoded)
			}
		}
		c.purl = "pkg:npm/" + strings.Replace(c.name, "@", "%40", 1) + "@" + c.version
		found = append(found, c)
	}
	return found, nil
}

// These are the parts of SPDX 2.3 that are used.
type (
	spdxDocument struct {
		Version       string             `json:"spdxVersion"`
		DataLicense   string             `json:"dataLicense"`
		ID            string             `json:"SPDXID"`
		Name          string             `json:"name"`
		Namespace     string             `json:"documentNamespace"`
		Creation      spdxCreation       `json:"creationInfo"`
		Packages      []spdxPackage      `json:"packages"`
		Relationships []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		Name             string         `json:"name"`
		ID               string         `json:"SPDXID"`
		Version          string         `json:"versionInfo,omitempty"`
		DownloadLocation string         `json:"downloadLocation"`
		FilesAnalyzed    bool           `json:"filesAnalyzed"`
		LicenseConcluded string         `json:"licenseConcluded"`
		LicenseDeclared  string         `json:"licenseDeclared"`
		Copyright        string         `json:"copyrightText"`
		Checksums        []spdxChecksum `json:"checksums,omitempty"`
		References       []spdxRef      `json:"externalRefs,omitempty"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	}
)

const noAssertion = "NOASSERTION"

// bill writes the list of components of an image. It has no time and no random name: the same image has the same list.
func bill(imageName, digest string, parts []component) ([]byte, error) {
	slices.SortFunc(parts, func(a, b component) int { return strings.Compare(a.purl, b.purl) })
	parts = slices.Compact(parts)
	const root = "SPDXRef-Image"
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: imageName,
		Namespace: "https://heddle.dev/spdx/" + strings.TrimPrefix(digest, "sha256:"),
		Creation:  spdxCreation{Created: "1970-01-01T00:00:00Z", Creators: []string{"Tool: heddle-build-" + version.Version}},
		Packages: []spdxPackage{{
			Name: imageName, ID: root, Version: digest, DownloadLocation: noAssertion, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, Copyright: noAssertion,
			Checksums: []spdxChecksum{{"SHA256", strings.TrimPrefix(digest, "sha256:")}},
		}},
		Relationships: []spdxRelationship{{"SPDXRef-DOCUMENT", "DESCRIBES", root}},
	}
	license := regexp.MustCompile(`^[A-Za-z0-9.+-]+$`)
	for i, part := range parts {
		p := spdxPackage{
			Name: part.name, ID: fmt.Sprintf("SPDXRef-Package-%d", i+1), Version: part.version,
			DownloadLocation: noAssertion, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, Copyright: noAssertion,
			References: []spdxRef{{"PACKAGE-MANAGER", "purl", part.purl}},
		}
		if license.MatchString(part.license) {
			p.LicenseDeclared = part.license
		}
		if part.sha512 != "" {
			p.Checksums = []spdxChecksum{{"SHA512", part.sha512}}
		}
		doc.Packages = append(doc.Packages, p)
		doc.Relationships = append(doc.Relationships, spdxRelationship{root, "CONTAINS", p.ID})
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode list of components: %w", err)
	}
	return encoded, nil
}
