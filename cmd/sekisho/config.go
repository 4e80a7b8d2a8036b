package main

import (
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/internal/config"
)

type configCommand struct {
	Check configCheck `cmd:"" help:"Say whether the configuration is valid; every fault is listed."`
	Print configPrint `cmd:"" help:"Print the configuration in force. Secrets are redacted."`
}

type configCheck struct{}

// Run implements the command. An invalid configuration does not get this far: parsing validates it.
func (configCheck) Run(cfg *config.Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if _, _, err := registries(cfg); err != nil {
		return err
	}
	fmt.Println("the configuration is valid")
	return nil
}

type configPrint struct{}

// Run implements the command.
func (configPrint) Run(cfg *config.Config) error {
	out := yaml.NewEncoder(os.Stdout)
	out.SetIndent(2)
	if err := out.Encode(cfg); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}
