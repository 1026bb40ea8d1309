package channel

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/afterbeep/afterbeep/delivery/text"
)

// botAPI is the published description of the Bot API.
type botAPI struct {
	Methods map[string]struct {
		Returns []string   `json:"returns"`
		Fields  []botField `json:"fields"`
	} `json:"methods"`
	Types map[string]struct {
		Fields   []botField `json:"fields"`
		Subtypes []string   `json:"subtypes"`
	} `json:"types"`
}

type botField struct {
	Name        string   `json:"name"`
	Types       []string `json:"types"`
	Required    bool     `json:"required"`
	Description string   `json:"description"`
}

// readBotAPI reads the description, once; nil where it is not to be had.
func readBotAPI(t *testing.T) *botAPI {
	t.Helper()
	folder, ok := specs(t)
	if !ok {
		return nil
	}
	parsedBotAPI.once.Do(func() {
		body, err := os.ReadFile(filepath.Join(folder, "telegram-bot-api-10.1.json"))
		parsedBotAPI.err = errors.Join(err, json.Unmarshal(body, &parsedBotAPI.api))
	})
	if parsedBotAPI.err != nil {
		t.Fatal(parsedBotAPI.err)
	}
	return &parsedBotAPI.api
}

var parsedBotAPI struct {
	once sync.Once
	api  botAPI
	err  error
}

// sentFile stands for a file in the parameters of a request.
type sentFile struct {
	name, mime string
	body       []byte
}

// params checks the parameters of a method.
func (api *botAPI) params(method string, params map[string]any) error {
	m, ok := api.Methods[method]
	if !ok {
		return fmt.Errorf("there is no method %q", method)
	}
	return api.fields(method, m.Fields, params)
}

// result checks what a method returns.
func (api *botAPI) result(method string, result any) error {
	return api.value(method+" returns", api.Methods[method].Returns, result)
}

func (api *botAPI) fields(at string, fields []botField, got map[string]any) error {
	var wrong []error
	for _, f := range fields {
		value, ok := got[f.Name]
		switch {
		case ok:
			wrong = append(wrong, api.value(at+"."+f.Name, f.Types, value), described(at+"."+f.Name, f, value))
		case f.Required:
			wrong = append(wrong, fmt.Errorf("%s.%s is missing", at, f.Name))
		}
	}
	for name := range got {
		if !slices.ContainsFunc(fields, func(f botField) bool { return f.Name == name }) {
			wrong = append(wrong, fmt.Errorf("%s has no %s", at, name))
		}
	}
	return errors.Join(wrong...)
}

// value checks a value against types, one of which it must be of.
func (api *botAPI) value(at string, types []string, got any) error {
	var wrong []error
	for _, name := range types {
		err := api.one(at, name, got)
		if err == nil {
			return nil
		}
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

func (api *botAPI) one(at, name string, got any) error {
	if of, list := strings.CutPrefix(name, "Array of "); list {
		items, ok := got.([]any)
		if !ok {
			return fmt.Errorf("%s is %T, no %s", at, got, name)
		}
		var wrong []error
		for i, item := range items {
			wrong = append(wrong, api.one(fmt.Sprintf("%s[%d]", at, i), of, item))
		}
		return errors.Join(wrong...)
	}
	ok := false
	switch name {
	case "Integer":
		var n json.Number
		if n, ok = got.(json.Number); ok {
			_, err := strconv.ParseInt(n.String(), 10, 64)
			ok = err == nil
		}
	case "Float":
		_, ok = got.(json.Number)
	case "String":
		_, ok = got.(string)
	case "Boolean":
		_, ok = got.(bool)
	case "InputFile":
		_, ok = got.(sentFile)
	default:
		object, is := got.(map[string]any)
		kind, known := api.Types[name]
		if is && known && len(kind.Subtypes) > 0 {
			return api.value(at, kind.Subtypes, got)
		}
		if is && known {
			return api.fields(at, kind.Fields, object)
		}
	}
	if !ok {
		return fmt.Errorf("%s is %T, no %s", at, got, name)
	}
	return nil
}

var (
	describedLength = regexp.MustCompile(`(\d+)-(\d+) characters`)
	describedRange  = regexp.MustCompile(`Values between (\d+)-(\d+) are accepted`)
	describedAlways = regexp.MustCompile(`always "([a-z]+)"`)
)

// described checks what the description says in words alone: lengths, ranges
// and the few enumerations that are of interest.
func described(at string, f botField, got any) error {
	said, _ := got.(string)
	if within := describedLength.FindStringSubmatch(f.Description); within != nil && said != "" {
		least, _ := strconv.Atoi(within[1])
		most, _ := strconv.Atoi(within[2])
		if strings.Contains(f.Description, "after entities parsing") {
			parsed, err := parseHTML(said)
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			said = parsed
		}
		if n := text.Units(said); n < least || n > most {
			return fmt.Errorf("%s has %d characters, not %d to %d", at, n, least, most)
		}
	}
	if within := describedRange.FindStringSubmatch(f.Description); within != nil {
		n, _ := strconv.Atoi(fmt.Sprint(got))
		least, _ := strconv.Atoi(within[1])
		if most, _ := strconv.Atoi(within[2]); n < least || n > most {
			return fmt.Errorf("%s is %d, not %d to %d", at, n, least, most)
		}
	}
	if always := describedAlways.FindStringSubmatch(f.Description); always != nil && said != always[1] {
		return fmt.Errorf("%s is %q, not %q", at, said, always[1])
	}
	switch f.Name {
	case "parse_mode":
		if !slices.Contains([]string{"HTML", "MarkdownV2", "Markdown"}, said) {
			return fmt.Errorf("%s is %q", at, said)
		}
	case "secret_token":
		if strings.Trim(said, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return fmt.Errorf("%s has a character that is not allowed", at)
		}
	}
	return nil
}

var (
	htmlTag    = regexp.MustCompile(`</?b>`)
	htmlEntity = regexp.MustCompile(`^(amp|lt|gt|quot|#[0-9]+|#x[0-9a-fA-F]+);`)
)

// parseHTML is a text without its markup: bold alone, every other < and & being
// an entity ("HTML style" of the Bot API).
func parseHTML(marked string) (string, error) {
	if strings.Count(marked, "<b>") != strings.Count(marked, "</b>") {
		return "", errors.New("a tag is not closed")
	}
	marked = htmlTag.ReplaceAllString(marked, "")
	if strings.ContainsAny(marked, "<>") {
		return "", fmt.Errorf("< or > is no entity in %q", marked)
	}
	for _, part := range strings.Split(marked, "&")[1:] {
		if !htmlEntity.MatchString(part) {
			return "", fmt.Errorf("& begins no entity in %q", marked)
		}
	}
	return html.UnescapeString(marked), nil
}

// The description must be there for the requests to be held against it.
func TestTelegramDescription(t *testing.T) {
	api := readBotAPI(t)
	if api == nil {
		t.Skip("../shared/specs is not there: requests are not held against the published Bot API; set AFTERBEEP_SPECS to its folder")
	}
	for wrong, params := range map[string]map[string]any{
		"sendVoice.voice is missing":           {"chat_id": json.Number("1")},
		"sendMessage has no txt":               {"chat_id": json.Number("1"), "text": "x", "txt": "x"},
		"sendMessage.text is bool, no String":  {"chat_id": json.Number("1"), "text": true},
		"sendMessage.chat_id is float64":       {"chat_id": 1.5, "text": "x"},
		"sendMessage.parse_mode is \"html\"":   {"chat_id": json.Number("1"), "text": "x", "parse_mode": "html"},
		"sendMessage.text has 4097 characters": {"chat_id": json.Number("1"), "text": strings.Repeat("ü", 4097)},
		"< or > is no entity":                  {"chat_id": json.Number("1"), "text": "a<b"},
		"& begins no entity":                   {"chat_id": json.Number("1"), "text": "a & b"},
		"getUpdates.limit is 101":              {"limit": json.Number("101")},
		"ReplyParameters":                      {"chat_id": json.Number("1"), "text": "x", "reply_parameters": "5"},
		"there is no method \"sendvoice\"":     {},
	} {
		method, _, _ := strings.Cut(strings.TrimPrefix(wrong, "there is no method \""), ".")
		method, _, _ = strings.Cut(strings.Trim(method, "\""), " ")
		if _, known := api.Methods[method]; !known && !strings.HasPrefix(wrong, "there") {
			method = "sendMessage"
		}
		if err := api.params(method, params); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
