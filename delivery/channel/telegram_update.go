package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	if u.Member != nil { // can be done twice: a crash must not lose it
		return t.act(ctx, u)
	}
	key := "update/" + strconv.FormatInt(u.ID, 10)
	return t.env.once(ctx, delivery.Entry{Key: key, Value: []byte("heard"), For: rememberUpdate}, func() error {
		return t.act(ctx, u)
	})
}

func (t *telegram) act(ctx context.Context, u telegramUpdate) error {
	if u.Member != nil && (u.Member.Now.Status == "kicked" || u.Member.Now.Status == "left") {
		_, err := t.unlink(ctx, chatOf(u.Member.Chat.ID))
		return err
	}
	m := u.Message
	switch {
	case m == nil || m.From.Bot || m.Chat.ID == 0:
		return nil
	case m.MigrateTo != 0:
		t.moved(ctx, delivery.Note{}, chatOf(m.Chat.ID), chatOf(m.MigrateTo))
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

// link links the chat to the mailbox of a code.
func (t *telegram) link(ctx context.Context, m *telegramHeard, code string) error {
	stop := stopWord
	if !m.Chat.private() {
		self, _ := t.botName(ctx) // known: the command named it
		stop += "@" + self
	}
	_, answer, err := t.env.link(ctx, m.From.Language, code, string(chatOf(m.Chat.ID)), stop)
	if err == nil && answer != "" {
		t.say(ctx, m, answer)
	}
	return err
}

// stop ends what was linked. What comes here by the configuration goes on, and
// nobody is told that it does not.
func (t *telegram) stop(ctx context.Context, m *telegramHeard) error {
	ended, err := t.unlink(ctx, chatOf(m.Chat.ID))
	if err != nil {
		return err
	}
	if ended == 0 {
		return t.help(ctx, m)
	}
	t.say(ctx, m, text.For(m.From.Language).Unlinked)
	return nil
}

// unlink ends the links to a chat, also those by the id it had before it moved,
// and says how many there were.
func (t *telegram) unlink(ctx context.Context, chat telegramChat) (ended int, err error) {
	addresses := []string{string(chat)}
	before, err := t.env.recall(ctx, cameKey(chat))
	if err != nil {
		return 0, err
	}
	if before != "" {
		addresses = append(addresses, before)
	}
	return t.env.unlink(ctx, addresses...)
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
		t.env.Log.Warn("a person's message to the bot is not answered", "error", plainly(err))
	}
}
