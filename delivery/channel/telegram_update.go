package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// telegramUpdate is what Telegram tells, as far as it is of interest (Update).
type telegramUpdate struct {
	ID      int64             `json:"update_id"`
	Message *telegramHeard    `json:"message"`
	Member  *telegramStanding `json:"my_chat_member"`
}

// telegramHeard is a message to the bot (Message).
type telegramHeard struct {
	Chat    telegramPlace `json:"chat"`
	Topic   int64         `json:"message_thread_id"`
	InTopic bool          `json:"is_topic_message"`
	From    struct {
		Bot      bool   `json:"is_bot"`
		Language string `json:"language_code"`
	} `json:"from"`
	Text      string `json:"text"`
	MigrateTo int64  `json:"migrate_to_chat_id"`
}

// telegramStanding is how the bot stands in a chat now (ChatMemberUpdated).
type telegramStanding struct {
	Chat telegramPlace `json:"chat"`
	Now  struct {
		Status string `json:"status"`
	} `json:"new_chat_member"`
}

// telegramPlace is a chat (Chat).
type telegramPlace struct {
	ID   int64  `json:"id"`
	Type string `json:"type"`
}

func (c telegramPlace) private() bool { return c.Type == "private" }

// telegramUpdates are the kinds of updates that are asked for.
func telegramUpdates() []string { return []string{"message", "my_chat_member"} }

var errUpdate = errors.New("this is no update of the Bot API")

// parseUpdate reads one update. What is not of interest may look as it likes;
// the id is valid beside an error too, unless it is 0.
func parseUpdate(body []byte) (u telegramUpdate, err error) {
	if json.Unmarshal(body, &u) != nil || u.ID <= 0 {
		err = errUpdate // the cause could hold what somebody wrote
	}
	u.ID = max(0, u.ID)
	return u, err
}

// rememberUpdate is longer than Telegram keeps an update that was not taken.
const rememberUpdate = 48 * time.Hour

// hear acts on an update once, however often it comes. Its errors are the
// store's: the update must come again.
func (t *telegram) hear(ctx context.Context, u telegramUpdate) error {
	key := "update/" + strconv.FormatInt(u.ID, 10)
	added, err := t.env.Memory.Add(ctx, delivery.Entry{Key: key, Value: []byte("heard"), For: rememberUpdate})
	if err != nil {
		return fmt.Errorf("keeping that an update was heard: %w", err)
	}
	if !added {
		return nil
	}
	if err := t.act(ctx, u); err != nil {
		t.forget(context.WithoutCancel(ctx), key)
		return err
	}
	return nil
}

func (t *telegram) act(ctx context.Context, u telegramUpdate) error {
	if u.Member != nil && (u.Member.Now.Status == "kicked" || u.Member.Now.Status == "left") {
		return t.unlink(ctx, chatOf(u.Member.Chat.ID))
	}
	m := u.Message
	switch {
	case m == nil || m.From.Bot || m.Chat.ID == 0:
		return nil
	case m.MigrateTo != 0:
		t.moved(ctx, "", chatOf(m.Chat.ID), chatOf(m.MigrateTo))
		return nil
	}
	name, argument, err := t.command(ctx, m)
	if err != nil {
		return err
	}
	switch {
	case name == "start" && argument != "":
		return t.link(ctx, m, argument)
	case name == "stop":
		return t.stop(ctx, m)
	case name != "" || m.Chat.private():
		return t.help(ctx, m)
	}
	return nil
}

// command is what a message tells the bot to do, "" for nothing. In groups only
// what names the bot is meant for it: /stop@NAME.
func (t *telegram) command(ctx context.Context, m *telegramHeard) (name, argument string, err error) {
	word, rest, _ := strings.Cut(m.Text, " ")
	if !strings.HasPrefix(word, "/") {
		return "", "", nil
	}
	name, whom, named := strings.Cut(word[1:], "@")
	if !named && !m.Chat.private() {
		return "", "", nil
	}
	if named {
		self, err := t.botName(ctx)
		if err != nil || !strings.EqualFold(whom, self) {
			return "", "", err
		}
	}
	return strings.ToLower(name), strings.TrimSpace(rest), nil
}

// telegramCode is what a code can be, see [delivery.Chats].
var telegramCode = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// link binds the chat to the mailbox of a code. Whatever is wrong with the
// code, the answer is the same.
func (t *telegram) link(ctx context.Context, m *telegramHeard, code string) error {
	words := text.For(m.From.Language)
	mailbox, err := "", delivery.ErrNotFound
	if t.env.Chats != nil && telegramCode.MatchString(code) {
		mailbox, err = t.env.Chats.Link(ctx, code, string(chatOf(m.Chat.ID)))
	}
	switch {
	case errors.Is(err, delivery.ErrNotFound):
		t.say(ctx, m, words.BadCode)
		return nil
	case err != nil:
		return fmt.Errorf("linking a chat: %w", err)
	}
	stop := words.StopWord
	if !m.Chat.private() {
		self, _ := t.botName(ctx) // known: the command named it
		stop = strings.ReplaceAll(stop, "/stop", "/stop@"+self)
	}
	t.say(ctx, m, fmt.Sprintf(words.Linked, text.Display(mailbox))+"\n"+stop)
	return nil
}

func (t *telegram) stop(ctx context.Context, m *telegramHeard) error {
	if err := t.unlink(ctx, chatOf(m.Chat.ID)); err != nil {
		return err
	}
	t.say(ctx, m, text.For(m.From.Language).Unlinked)
	return nil
}

// unlink ends the links to a chat, also those by the id it had before it moved.
func (t *telegram) unlink(ctx context.Context, chat telegramChat) error {
	if t.env.Chats == nil {
		return nil
	}
	before, err := t.recall(ctx, cameKey(chat))
	if err != nil {
		return err
	}
	for _, address := range []string{string(chat), before} {
		if address == "" {
			continue
		}
		if _, err := t.env.Chats.Unlink(ctx, address); err != nil {
			return fmt.Errorf("ending a chat's links: %w", err)
		}
	}
	return nil
}

// helpEvery keeps the bot from being made to talk.
const helpEvery = time.Minute

// help says what the bot is for.
func (t *telegram) help(ctx context.Context, m *telegramHeard) error {
	first, err := t.env.Memory.Add(ctx, delivery.Entry{Key: "help/" + string(chatOf(m.Chat.ID)), Value: []byte("said"), For: helpEvery})
	if err != nil {
		return fmt.Errorf("keeping that help was given: %w", err)
	}
	if first {
		t.say(ctx, m, text.For(m.From.Language).Help)
	}
	return nil
}

// sayWithin is how long one person's answer may keep the others waiting.
const sayWithin = 10 * time.Second

// say answers a message. What it answers has been done, so that an answer that
// does not get through is only logged.
func (t *telegram) say(ctx context.Context, m *telegramHeard, words string) {
	answer := struct {
		Chat  telegramChat `json:"chat_id"`
		Topic int64        `json:"message_thread_id,omitempty"`
		Text  string       `json:"text"`
	}{Chat: chatOf(m.Chat.ID), Text: words}
	if m.InTopic {
		answer.Topic = m.Topic
	}
	ctx, cancel := context.WithTimeout(ctx, sayWithin)
	defer cancel()
	err := t.turn(ctx, answer.Chat)
	if err == nil {
		_, err = t.call(ctx, "sendMessage", answer, nil, delivery.Note{})
	}
	if err != nil {
		t.env.Log.Warn("a person's message to the bot is not answered", "channel", t.env.Name, "error", plainly(err))
	}
}
