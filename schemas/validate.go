package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Validate holds a YAML or JSON document against one of the embedded JSON Schemas. The error names every place that
// breaks it, by JSON Pointer.
func Validate(schema string, document []byte) error {
	var value any
	if err := yaml.Unmarshal(document, &value); err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	// Through JSON, so that the validator sees JSON's types.
	plain, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	source, err := JSON.ReadFile("json/" + schema)
	if err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(source))
	if err != nil {
		return fmt.Errorf("read schema %s: %w", schema, err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(schema, parsed); err != nil {
		return fmt.Errorf("add schema %s: %w", schema, err)
	}
	compiled, err := compiler.Compile(schema)
	if err != nil {
		return fmt.Errorf("compile schema %s: %w", schema, err)
	}
	var invalid *jsonschema.ValidationError
	if err := compiled.Validate(instance); errors.As(err, &invalid) {
		return errors.Join(leaves(invalid, message.NewPrinter(language.English))...)
	} else if err != nil {
		return fmt.Errorf("validate document: %w", err)
	}
	return nil
}

func leaves(e *jsonschema.ValidationError, p *message.Printer) []error {
	if len(e.Causes) == 0 {
		return []error{fmt.Errorf("/%s: %s", strings.Join(e.InstanceLocation, "/"), e.ErrorKind.LocalizedString(p))}
	}
	var all []error
	for _, c := range e.Causes {
		all = append(all, leaves(c, p)...)
	}
	return all
}
