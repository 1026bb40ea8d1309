package channel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// waRelaxations are where the published schema (v23.0) refuses what the
// provider documents, or says less than he does. at is a path in
// components/schemas.
var waRelaxations = []struct {
	at     string
	change func(part map[string]any)
	why    string
}{
	{"TextMessage", sayUnevaluated, "additionalProperties: false inside allOf forbids what the other half asks for; unevaluatedProperties says what is meant"},
	{"AudioMessage", sayUnevaluated, "as TextMessage"},
	{"VideoMessage", sayUnevaluated, "as TextMessage"},
	{"TemplateMessage", sayUnevaluated, "it allows anything, so that no misspelt key would be found"},
	{"BaseMessageProperties/properties", set("biz_opaque_callback_data", map[string]any{"type": "string", "maxLength": 512}), "documented for all messages, and published for calls alone"},
	{"BaseMessageProperties/properties", set("recipient", map[string]any{"type": "string", "pattern": `^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$`}), "business-scoped user ids came in 2026"},
	{"BaseMessageProperties/properties/to", set("pattern", `^[1-9][0-9]{6,14}$`), "a business-scoped user id in it would be dropped without a word"},
	{"BaseMessageProperties", toOrRecipient, "business-scoped user ids came in 2026: to or recipient"},
	{"AudioMessage/allOf/1/properties/audio", sayOnly("id", "voice"), "voice is documented and missing"},
	{"VideoMessage/allOf/1/properties/video", sayOnly("id", "caption"), "the caption stands in MediaObject_1, which the message does not name"},
	{"TextMessage/allOf/1/properties/text/properties/body", set("maxLength", 4096), "documented, and in TextMessage_1"},
	{"LanguageObject", set("required", []any{"code"}), "policy has one value and is optional in the documentation and in its own examples"},
	{"TemplateComponent/properties/index", without("pattern"), "the pattern refuses 0, the first button, its own example"},
	{"ButtonComponent/allOf/1/properties/index", without("pattern"), "as TemplateComponent"},
	{"Statuses/properties/status/enum", nil, "played is documented since March 2026"},
	{"Statuses", set("required", []any{"id", "status", "timestamp"}), "recipient_id is left out for users without a number"},
}

func set(key string, value any) func(map[string]any) {
	return func(part map[string]any) { part[key] = value }
}

func without(key string) func(map[string]any) {
	return func(part map[string]any) { delete(part, key) }
}

func sayUnevaluated(part map[string]any) {
	for _, half := range part["allOf"].([]any) {
		delete(half.(map[string]any), "additionalProperties")
	}
	part["unevaluatedProperties"] = false
}

func sayOnly(key, more string) func(map[string]any) {
	return func(part map[string]any) {
		delete(part, "$ref")
		kind := map[string]any{"type": "string"}
		if more == "voice" {
			kind = map[string]any{"const": true}
		}
		part["type"], part["additionalProperties"] = "object", false
		part["properties"] = map[string]any{key: map[string]any{"type": "string"}, more: kind}
		part["required"] = []any{key, more}
	}
}

func toOrRecipient(part map[string]any) {
	part["required"] = []any{"messaging_product", "recipient_type", "type"}
	part["oneOf"] = []any{map[string]any{"required": []any{"to"}}, map[string]any{"required": []any{"recipient"}}}
}

// waSchemas are the published schemas, relaxed, by their names.
type waSchemas map[string]*jsonschema.Schema

// waNames are the schemas that the tests hold something against.
var waNames = []string{
	"TextMessage", "AudioMessage", "VideoMessage", "TemplateMessage",
	"BodyComponent", "ButtonComponent", "TextParameter", "ButtonPayloadParameter",
	"MessageResponsePayload", "ErrorResponse", "StatusMessageValue",
}

// waLoaded holds them: they are large, and read once.
var waLoaded struct {
	sync.Once
	found waSchemas
	err   error
}

func loadWhatsApp(folder string) (waSchemas, error) {
	raw, err := os.ReadFile(filepath.Join(folder, "whatsapp-business-v23.0.yaml"))
	if err != nil {
		return nil, err
	}
	head, _, _ := bytes.Cut(raw, []byte("\npaths:\n")) // the greater part, and not needed
	var file map[string]any
	if err := yaml.Unmarshal(head, &file); err != nil {
		return nil, err
	}
	plain, err := json.Marshal(file["components"])
	if err != nil {
		return nil, err
	}
	components, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		return nil, err
	}
	all := components.(map[string]any)["schemas"].(map[string]any)
	for _, r := range waRelaxations {
		if err := relax(all, r.at, r.change); err != nil {
			return nil, err
		}
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("file:///whatsapp", map[string]any{"components": components}); err != nil {
		return nil, err
	}
	found := waSchemas{}
	for _, name := range waNames {
		if found[name], err = compiler.Compile("file:///whatsapp#/components/schemas/" + name); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// relax changes the part at a path; without a change, the list there goes.
func relax(all map[string]any, path string, change func(map[string]any)) error {
	steps := strings.Split(path, "/")
	var at any = all
	for i, step := range steps {
		switch part := at.(type) {
		case map[string]any:
			if i == len(steps)-1 && change == nil {
				delete(part, step)
				return nil
			}
			at = part[step]
		case []any:
			at = part[int(step[0]-'0')]
		}
		if at == nil {
			return fmt.Errorf("the published schema has no %s any more", path)
		}
	}
	change(at.(map[string]any))
	return nil
}

// whatsAppSchemas are the published schemas; nil where they are not to be had.
func whatsAppSchemas(t *testing.T) waSchemas {
	t.Helper()
	folder, ok := specs(t)
	if !ok {
		return nil
	}
	waLoaded.Do(func() { waLoaded.found, waLoaded.err = loadWhatsApp(folder) })
	if waLoaded.err != nil {
		t.Fatal(waLoaded.err)
	}
	return waLoaded.found
}

// holds says what a schema finds wrong with a JSON text.
func (s waSchemas) holds(name string, text []byte) error {
	if s == nil {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if err := s[name].Validate(value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// The schemas find what is wrong: else they would prove nothing.
func TestWhatsAppSchemasFindMistakes(t *testing.T) {
	s := whatsAppSchemas(t)
	if s == nil {
		t.Skip("the published schemas are not beside the repository (../shared/specs); set AFTERBEEP_SPECS to their folder")
	}
	const head = `{"messaging_product":"whatsapp","recipient_type":"individual","type":"audio",`
	for _, tc := range []struct {
		name, text string
		well       bool
	}{
		{"AudioMessage", head + `"to":"4930123456","audio":{"id":"1","voice":true}}`, true},
		{"AudioMessage", head + `"recipient":"DE.1349","audio":{"id":"1","voice":true},"biz_opaque_callback_data":"x"}`, true},
		{"AudioMessage", head + `"to":"DE.1349","audio":{"id":"1","voice":true}}`, false},
		{"AudioMessage", head + `"to":"+4930123456","audio":{"id":"1","voice":true}}`, false},
		{"AudioMessage", head + `"audio":{"id":"1","voice":true}}`, false},
		{"AudioMessage", head + `"to":"4930123456","audio":{"id":"1","caption":"no"}}`, false},
		{"AudioMessage", head + `"to":"4930123456","audio":{"id":"1","voice":true},"contxt":{}}`, false},
		{"AudioMessage", head + `"to":"4930123456","text":{"body":"x"}}`, false},
		{"ButtonComponent", `{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"x"}]}`, true},
		{"ButtonComponent", `{"type":"button","sub_type":"quick_reply","index":0,"parameters":[{"type":"payload"}]}`, false},
	} {
		if err := s.holds(tc.name, []byte(tc.text)); (err == nil) != tc.well {
			t.Errorf("%s %s: %v", tc.name, tc.text, err)
		}
	}
}
