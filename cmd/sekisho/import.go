package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
)

// consentImport hands acts that were recorded elsewhere to the collector, as a server with a write key.
type consentImport struct {
	File     string `arg:"" help:"CSV with a header (cookie_id, device_id, user_id, purpose, state, time; also id, policy_version, language, method, actor, text_hash), or JSON Lines with the same names." type:"existingfile"`
	Site     string `help:"The site." required:""`
	KeyFile  string `help:"File with a write key of the site. Needed unless --dry-run." type:"path" placeholder:"FILE"`
	DryRun   bool   `help:"Check every line and send nothing."`
	Language string `name:"lang" help:"Language of acts that name none." default:"ja"`
}

// importStates are the states of an imported act, and the list of the act each of them is.
var importStates = map[string]string{"granted": "granted", "refused": "refused", "withdrawn": "withdrawn", "renewed": "renewed", "expired": "expired"}

// importColumns are the names that a line may have.
var importColumns = []string{
	"id", "cookie_id", "device_id", "user_id", "purpose", "state", "time", "policy_version", "language", "method", "actor", "text_hash",
}

// Run implements the command.
func (c consentImport) Run(ctx context.Context, cfg *config.Config) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	where, ok := sites.Get(c.Site)
	if !ok {
		return fmt.Errorf("import consent: site %s is not registered", c.Site)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("import consent: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	lines, err := readLines(f, filepath.Ext(c.File) == ".csv")
	if err != nil {
		return fmt.Errorf("import consent: %w", err)
	}
	acts := make([]map[string]any, 0, len(lines))
	faults, states := 0, map[string]int{}
	for i, line := range lines {
		act, state, err := c.act(line, where, policies, time.Now())
		if err != nil {
			faults++
			fmt.Fprintf(os.Stderr, "record %d: %v\n", i+1, err)
			continue
		}
		acts = append(acts, act)
		states[state]++
	}
	fmt.Printf("%d records: %d good %v, %d faulty\n", len(lines), len(acts), states, faults)
	if faults > 0 {
		return errors.New("import consent: nothing is sent while a record is faulty")
	}
	if c.DryRun {
		return nil
	}
	if c.KeyFile == "" {
		return errors.New("import consent: a write key is needed (--key-file)")
	}
	key, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return fmt.Errorf("import consent: %w", err)
	}
	return sendActs(ctx, cfg.Collector.URL, strings.TrimSpace(string(key)), acts, os.Stderr)
}

// readLines reads the records of a file by their columns' names.
func readLines(r io.Reader, isCSV bool) ([]map[string]string, error) {
	var all []map[string]string
	if isCSV {
		in := csv.NewReader(r)
		header, err := in.Read()
		if err != nil {
			return nil, errors.New("the file has no header")
		}
		for _, name := range header {
			if !slices.Contains(importColumns, name) {
				return nil, errors.New("the header has a column that an act does not have; it may have " + strings.Join(importColumns, ", "))
			}
		}
		for {
			values, err := in.Read()
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			if err != nil {
				return nil, fmt.Errorf("record %d is no CSV", len(all)+1)
			}
			line := map[string]string{}
			for i, name := range header {
				line[name] = values[i]
			}
			all = append(all, line)
		}
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var line map[string]string
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("record %d is no JSON object of texts", len(all)+1)
		}
		for name := range line {
			if !slices.Contains(importColumns, name) {
				return nil, fmt.Errorf("record %d has a name that an act does not have", len(all)+1)
			}
		}
		all = append(all, line)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	return all, nil
}

// act makes the act of a record, or says what is wrong with it without repeating any of it.
func (c consentImport) act(line map[string]string, where *site.Site, policies *policy.Register, now time.Time) (map[string]any, string, error) {
	at, err := time.Parse(time.RFC3339, line["time"])
	if err != nil || at.After(now) {
		return nil, "", errors.New("time: not a timestamp (RFC 3339) of the past")
	}
	pack, ok := policies.At(where.Policy, at)
	if v := line["policy_version"]; v != "" {
		pack, ok = policies.Version(v)
		ok = ok && pack.ID == where.Policy
	}
	if !ok {
		return nil, "", errors.New("policy_version: no version of the site's policy, or none was in force at that time")
	}
	purpose, ok := pack.Purpose(line["purpose"])
	if !ok {
		return nil, "", errors.New("purpose: not one of the policy")
	}
	list, ok := importStates[line["state"]]
	if !ok {
		return nil, "", errors.New("state: not granted, refused, withdrawn, renewed or expired")
	}
	if list == "expired" && purpose.Basis[where.Jurisdiction] != core.Consent {
		return nil, "", errors.New("state: the purpose rests on no consent, so none can expire")
	}
	subject := map[string]string{}
	for _, name := range []string{"cookie_id", "device_id", "user_id"} {
		switch v := line[name]; {
		case len(v) > 128:
			return nil, "", errors.New(name + ": longer than 128 characters")
		case v != "":
			subject[name] = v
		}
	}
	if len(subject) == 0 {
		return nil, "", errors.New("no identifier: cookie_id, device_id or user_id is required")
	}
	id := line["id"]
	if id == "" { // the same record imported again is the same act
		parts := []string{where.ID, subject["cookie_id"], subject["device_id"], subject["user_id"], purpose.ID, list, strconv.FormatInt(at.UnixMicro(), 10)}
		id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(strings.Join(parts, "\x00"))).String()
	} else if _, err := uuid.Parse(id); err != nil {
		return nil, "", errors.New("id: not a UUID")
	}
	act := map[string]any{
		"id": id, "site": where.ID, "subject": subject, "policy_version": pack.Version, "time": at.UnixMilli(), list: []string{purpose.ID},
		"source": "import", "method": "document", "language": c.Language,
	}
	for _, name := range []string{"language", "method", "actor", "text_hash"} {
		if v := line[name]; v != "" {
			act[name] = v
		}
	}
	return act, list, nil
}

// sendActs posts the acts one after another, so that a subject's keep their order. A busy collector is asked again.
func sendActs(ctx context.Context, collector, key string, acts []map[string]any, progress io.Writer) error {
	client := &http.Client{Timeout: 30 * time.Second}
	told := time.Now()
	for i, act := range acts {
		body, err := json.Marshal(act)
		if err != nil {
			return fmt.Errorf("import consent: %w", err)
		}
		for attempt := 1; ; attempt++ {
			status, err := postAct(ctx, client, collector, key, body)
			if err == nil && status == http.StatusAccepted {
				break
			}
			if err == nil && status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
				return fmt.Errorf("import consent: the collector answered %d to record %d; %d are taken, and the same file imported again records none twice", status, i+1, i)
			}
			if attempt == 6 || ctx.Err() != nil {
				return fmt.Errorf("import consent: the collector did not take record %d; %d are taken, and the same file imported again records none twice", i+1, i)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(attempt) * time.Second):
			}
		}
		if time.Since(told) > 2*time.Second || i+1 == len(acts) {
			told = time.Now()
			fmt.Fprintf(progress, "imported %d of %d acts\n", i+1, len(acts))
		}
	}
	return nil
}

func postAct(ctx context.Context, client *http.Client, collector, key string, body []byte) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(collector, "/")+"/v1/consent?wait=0", bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the collector's URL is no URL")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sekisho-Write-Key", key)
	res, err := client.Do(r)
	if err != nil {
		return 0, fmt.Errorf("post act: %w", err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Body.Close()
}
