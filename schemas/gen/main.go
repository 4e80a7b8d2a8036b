// Command gen writes the Go code of the protobuf contracts: `go generate ./schemas`.
// It compiles them in-process, so that nobody needs protoc.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if err := generate("proto", "sekishov1"); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func generate(root, out string) error {
	paths, err := filepath.Glob(filepath.Join(root, "sekisho/v1/*.proto"))
	if err != nil {
		return fmt.Errorf("list contracts: %w", err)
	}
	sort.Strings(paths)
	names := make([]string, len(paths))
	for i, p := range paths {
		if names[i], err = filepath.Rel(root, p); err != nil {
			return fmt.Errorf("name contract: %w", err)
		}
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return fmt.Errorf("compile contracts: %w", err)
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: proto.String("paths=source_relative")}
	for _, f := range files {
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	plugin, err := protogen.Options{}.New(request)
	if err != nil {
		return fmt.Errorf("plan code: %w", err)
	}
	for _, f := range plugin.Files {
		if f.Generate {
			internal_gengo.GenerateFile(plugin, f)
		}
	}
	response := plugin.Response()
	if response.Error != nil {
		return fmt.Errorf("write code: %s", response.GetError())
	}
	for _, f := range response.File {
		if err := os.WriteFile(filepath.Join(out, filepath.Base(f.GetName())), []byte(f.GetContent()), 0o644); err != nil {
			return fmt.Errorf("write code: %w", err)
		}
	}
	return nil
}
