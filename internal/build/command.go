package build

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/version"
)

// NewCommand is heddle-build's command line: one verb for each container of a build's pod.
func NewCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "heddle-build",
		Short: "Build a contract's image, inside a build's pod",
		Long: "heddle-build is what runs in the pod of a ChaincodeBuild, as three containers in turn: fetch gets the source,\n" +
			"compile runs the recipe of its language, push makes the image and pushes it.",
		Example: "  heddle-build fetch --registry https://registry:5000 --repository trade/sources --digest sha256:… --size 1234\n" +
			"  heddle-build compile --language Go\n" +
			"  heddle-build push --registry https://registry:5000 --image registry:5000/trade/asset --source-digest sha256:…",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(fetchCommand(), compileCommand(), pushCommand())
	return root
}

func registryFlags(c *cobra.Command, r *Registry) {
	c.Flags().StringVar(&r.URL, "registry", "", "the registry, https://HOST:PORT")
	c.Flags().StringVar(&r.CA, "ca", specs.BuildTrust+"/ca.crt", "certificates that verify the registry")
	must(c, "registry")
}

// must marks flags that have to be given. An unknown name would be a mistake that every test of the command shows.
func must(c *cobra.Command, names ...string) {
	for _, name := range names {
		if err := c.MarkFlagRequired(name); err != nil {
			c.PreRunE = func(*cobra.Command, []string) error { return err }
		}
	}
}

func fetchCommand() *cobra.Command {
	var o FetchOptions
	c := &cobra.Command{
		Use: "fetch", Short: "Wait for a source, check it and unpack it", Args: cobra.NoArgs,
		Example: "  heddle-build fetch --registry https://registry:5000 --repository trade/sources --digest sha256:… --size 1234 --wait 10m",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Output = cmd.OutOrStdout()
			return Fetch(cmd.Context(), o)
		},
	}
	registryFlags(c, &o.Registry)
	c.Flags().StringVar(&o.Repository, "repository", "", "repository of sources, NAMESPACE/sources")
	c.Flags().StringVar(&o.Digest, "digest", "", "digest of the source, sha256:…")
	c.Flags().Int64Var(&o.Size, "size", 0, "size of the source in bytes")
	c.Flags().StringVar(&o.Into, "into", specs.BuildWork+"/src", "folder to unpack into")
	c.Flags().DurationVar(&o.Wait, "wait", 10*time.Minute, "how long the upload may take to come")
	must(c, "repository", "digest", "size")
	return c
}

func compileCommand() *cobra.Command {
	var o CompileOptions
	c := &cobra.Command{
		Use: "compile", Short: "Compile a source by the recipe of its language", Args: cobra.NoArgs,
		Long: "compile leaves layers, a log and result.json for push. It ends with 0 when the source is at fault: push reports that.",
		Example: "  heddle-build compile --language Go\n" +
			"  heddle-build compile --language TypeScript --path contracts/asset",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() == 0 {
				return errors.New("compile: a build runs code of its source's author and does not do so as root: run it as another user")
			}
			o.Output, o.Getenv = cmd.OutOrStdout(), os.Getenv
			return Compile(cmd.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Language, "language", "", "Go, JavaScript, TypeScript, Java or Binary")
	c.Flags().StringVar(&o.Source, "source", specs.BuildWork+"/src", "the unpacked source")
	c.Flags().StringVar(&o.Path, "path", "", "folder in the source that is built; the source's root unless given")
	c.Flags().StringVar(&o.Out, "out", specs.BuildWork+"/out", "folder for the result, on the file system of the source")
	c.Flags().StringVar(&o.Cache, "cache", specs.BuildCache, "folder that is kept between builds")
	must(c, "language")
	return c
}

func pushCommand() *cobra.Command {
	var o PushOptions
	c := &cobra.Command{
		Use: "push", Short: "Make the image of what compile left, and push it", Args: cobra.NoArgs,
		Long: "push makes the image, the list of components, the provenance and the archive of indexes, pushes them with the log,\n" +
			"and writes the build's result. It ends with 1 when there is no image.",
		Example: "  heddle-build push --registry https://registry:5000 --image registry:5000/trade/asset --source-digest sha256:…",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Output = cmd.OutOrStdout()
			if err := Push(cmd.Context(), o); err != nil {
				return fmt.Errorf("push: %w", err)
			}
			return nil
		},
	}
	registryFlags(c, &o.Registry)
	c.Flags().StringVar(&o.Out, "out", specs.BuildWork+"/out", "folder that compile left")
	c.Flags().StringVar(&o.Image, "image", "", "name of the image, HOST:PORT/NAMESPACE/BUILD")
	c.Flags().StringVar(&o.KeyDir, "key-dir", specs.BuildKey, "folder with the files username and password")
	c.Flags().StringVar(&o.Share, "share", "/usr/local/share/heddle", "folder of base layers")
	c.Flags().StringVar(&o.SourceDigest, "source-digest", "", "digest of the source, for the provenance")
	c.Flags().StringVar(&o.Language, "language", "", "language of the source, for the provenance")
	c.Flags().StringVar(&o.Path, "path", "", "folder in the source that was built, for the provenance")
	c.Flags().StringVar(&o.Result, "result", "/dev/termination-log", "file for the build's result")
	must(c, "image", "source-digest")
	return c
}
