package channel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/afterbeep/afterbeep/delivery"
)

// waAbout is what the service says of a phone number.
type waAbout struct {
	Number string `json:"display_phone_number"`
	Name   string `json:"verified_name"`
	Health struct {
		CanSend  string `json:"can_send_message"` // AVAILABLE, LIMITED or BLOCKED
		Entities []struct {
			Type   string `json:"entity_type"` // PHONE_NUMBER, WABA, BUSINESS, APP
			ID     string `json:"id"`
			Errors []struct {
				Description string `json:"error_description"`
				Solution    string `json:"possible_solution"`
			} `json:"errors"`
		} `json:"entities"`
	} `json:"health_status"`
}

func (w *whatsapp) about(ctx context.Context) (about waAbout, err error) {
	address := w.url(w.o.PhoneNumberID)
	address.RawQuery = "fields=display_phone_number,verified_name,quality_rating,health_status"
	return about, w.get(ctx, address, &about)
}

// Check proves that the token may send for the number, and that the template
// can be used, as far as the token may see it.
func (w *whatsapp) Check(ctx context.Context) error {
	about, err := w.about(ctx)
	if err != nil {
		return err
	}
	account := ""
	for _, e := range about.Health.Entities {
		if e.Type == "WABA" {
			account = e.ID
		}
		if about.Health.CanSend == "BLOCKED" && len(e.Errors) > 0 {
			return fmt.Errorf("the service lets this number send nothing: %s %s", w.redact.excerpt([]byte(e.Errors[0].Description), delivery.Note{}), w.redact.excerpt([]byte(e.Errors[0].Solution), delivery.Note{}))
		}
	}
	switch {
	case about.Health.CanSend == "BLOCKED":
		return errors.New("the service lets this number send nothing; see WhatsApp Manager")
	case w.o.Template == nil || !graphID.MatchString(account):
		return nil
	}
	return w.checkTemplate(ctx, account)
}

// waTemplates are an account's templates of one name, one a language.
type waTemplates struct {
	Data []struct {
		Name       string `json:"name"`
		Status     string `json:"status"`
		Language   string `json:"language"`
		Components []struct {
			Type    string `json:"type"`
			Text    string `json:"text"`
			Buttons []struct {
				Type string `json:"type"`
			} `json:"buttons"`
		} `json:"components"`
	} `json:"data"`
}

func (w *whatsapp) checkTemplate(ctx context.Context, account string) error {
	address := w.url(account, "message_templates")
	query := address.Query()
	query.Set("name", w.o.Template.Name)
	query.Set("fields", "name,status,language,components")
	address.RawQuery = query.Encode()
	var all waTemplates
	if w.get(ctx, address, &all) != nil {
		return nil //nolint:nilerr // to send, a token need not be allowed to read templates
	}
	for _, t := range all.Data {
		if t.Name != w.o.Template.Name || t.Language != w.o.Template.Language {
			continue
		}
		if t.Status != "APPROVED" {
			return fmt.Errorf("template: it is %s, not APPROVED; see WhatsApp Manager", w.redact.excerpt([]byte(t.Status), delivery.Note{}))
		}
		var body string
		var buttons []string
		for _, c := range t.Components {
			if c.Type == "BODY" {
				body = c.Text
			}
			for _, b := range c.Buttons {
				buttons = append(buttons, b.Type)
			}
		}
		if !strings.Contains(body, "{{1}}") || !strings.Contains(body, "{{2}}") || strings.Contains(body, "{{3}}") ||
			len(buttons) != 1 || buttons[0] != "QUICK_REPLY" {
			return errors.New("template: " + waTemplateHint)
		}
		return nil
	}
	return fmt.Errorf("template: the account has none named %s in the language %s; see WhatsApp Manager", w.o.Template.Name, w.o.Template.Language)
}
