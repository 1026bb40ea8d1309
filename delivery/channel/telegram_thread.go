package channel

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// How long the channel remembers what it can learn anew.
const (
	rememberForum   = 24 * time.Hour       // whether a chat has topics
	rememberRefused = time.Hour            // that the bot may not make them
	rememberVoice   = 24 * time.Hour       // that a person takes no voice messages
	rememberThread  = 180 * 24 * time.Hour // the topic of a caller or the last message, since it was used
)

func movedKey(chat telegramChat) string  { return "moved/" + string(chat) }
func cameKey(chat telegramChat) string   { return "came/" + string(chat) }
func forumKey(chat telegramChat) string  { return "forum/" + string(chat) }
func silentKey(chat telegramChat) string { return "no-voice/" + string(chat) }

// telegramThread names a thread within a chat: a mailbox's calls of one caller.
func telegramThread(kind string, to telegramTarget, n delivery.Note) string {
	where := string(to.chat)
	if to.fixed {
		where += "/" + strconv.FormatInt(to.topic, 10)
	}
	return strings.Join([]string{kind, where, n.Recipient.Number, cmp.Or(n.Caller.Number, n.Caller.Name)}, "\n")
}

// remember keeps a value that came with a note, which does not depend on it.
func (t *telegram) remember(ctx context.Context, n delivery.Note, key, value string, span time.Duration) {
	t.env.remember(ctx, delivery.Entry{Key: key, Value: []byte(value), For: span, Mailbox: n.Recipient.Number, Note: n.ID})
}

// moved keeps a group's new id, and the old one for its links; the zero note
// where none brought it up.
func (t *telegram) moved(ctx context.Context, n delivery.Note, from, to telegramChat) {
	t.remember(ctx, n, movedKey(from), string(to), 0)
	t.remember(ctx, n, cameKey(to), string(from), 0)
}

// telegramReply makes a message a reply (ReplyParameters).
type telegramReply struct {
	Message int64 `json:"message_id"`
	Anyway  bool  `json:"allow_sending_without_reply"`
}

// thread gives a message its place: the caller's topic where the chat is a
// forum, elsewhere below the caller's last message. Private callers are not
// taken for one another.
func (t *telegram) thread(ctx context.Context, m *telegramSend, to telegramTarget, n delivery.Note) error {
	m.Topic, m.Reply = to.topic, nil
	if !to.fixed {
		topic, err := t.topic(ctx, to, n)
		if err != nil || topic != 0 {
			m.Topic = topic
			return err
		}
	}
	if n.Caller.Private {
		return nil
	}
	last, err := t.env.recall(ctx, telegramThread("last", to, n))
	if id, bad := strconv.ParseInt(last, 10, 64); bad == nil {
		m.Reply = &telegramReply{Message: id, Anyway: true}
	}
	return err
}

// topic is the caller's topic, made where there is none yet; 0 where the chat
// is no forum, or the bot may not make topics.
func (t *telegram) topic(ctx context.Context, to telegramTarget, n delivery.Note) (int64, error) {
	if forum, err := t.forum(ctx, to.chat, n); err != nil || !forum {
		return 0, err
	}
	key := telegramThread("topic", to, n)
	known, err := t.env.recall(ctx, key)
	if err != nil {
		return 0, err
	}
	if id, err := strconv.ParseInt(known, 10, 64); err == nil {
		return id, nil
	}
	var made struct {
		ID int64 `json:"message_thread_id"`
	}
	err = t.aside(ctx, "createForumTopic", map[string]any{"chat_id": to.chat, "name": topicName(n)}, &made, n)
	if refused := (*telegramError)(nil); errors.As(err, &refused) && refused.fault.remedy == noTopics {
		t.env.Log.Warn("the bot may not make topics in a forum: notes go to its general one; let it manage topics", "note_id", n.ID)
		t.remember(ctx, n, forumKey(to.chat), "no", rememberRefused)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	t.remember(ctx, n, key, strconv.FormatInt(made.ID, 10), rememberThread) // also when the note itself is late
	return made.ID, nil
}

// forum says whether a chat has topics.
func (t *telegram) forum(ctx context.Context, chat telegramChat, n delivery.Note) (bool, error) {
	if !chat.shared() {
		return false, nil
	}
	known, err := t.env.recall(ctx, forumKey(chat))
	if err != nil || known != "" {
		return known == "yes", err
	}
	var got struct {
		Forum bool `json:"is_forum"`
	}
	if err := t.aside(ctx, "getChat", map[string]any{"chat_id": chat}, &got, n); err != nil {
		return false, err
	}
	answer := "no"
	if got.Forum {
		answer = "yes"
	}
	t.remember(ctx, n, forumKey(chat), answer, rememberForum)
	return got.Forum, nil
}

// keep remembers where a message went, for the next one of the caller.
func (t *telegram) keep(ctx context.Context, m telegramSend, to telegramTarget, n delivery.Note, id int64) {
	switch {
	case m.Topic != 0 && !to.fixed:
		t.remember(ctx, n, telegramThread("topic", to, n), strconv.FormatInt(m.Topic, 10), rememberThread)
	case id != 0 && !n.Caller.Private:
		t.remember(ctx, n, telegramThread("last", to, n), strconv.FormatInt(id, 10), rememberThread)
	}
}

// messageID is the id of a message that was sent, 0 when the answer broke off.
func messageID(result json.RawMessage) int64 {
	var m struct {
		ID int64 `json:"message_id"`
	}
	_ = json.Unmarshal(result, &m) // the message is sent, whatever is said of it
	return m.ID
}
