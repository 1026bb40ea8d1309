package channel

import (
	"strings"

	"github.com/afterbeep/afterbeep/delivery"
)

// telegramFault says what a refusal means: of the code, and with the words in
// its description. The first line that fits counts.
type telegramFault struct {
	first, last int
	words       string // in lower case; "" for any
	outcome     delivery.Outcome
	remedy      remedy
	credentials bool
	hint        string // what to do about it
}

// remedy is what can be done at once about a refusal.
type remedy int

const (
	noRemedy   remedy = iota
	moveChat          // the group has a new id
	sendAudio         // the person takes no voice messages
	newTopic          // the topic is gone
	noTopics          // the bot may not make one
	chatClosed        // to the bot: its links end
	dropHook          // a webhook keeps updates from being asked for
)

// telegramFaults are the documented refusals and those that the API's own
// server (tdlib/telegram-bot-api) is known to give. A failure of the service
// may hide that the message went out, and nothing tells a repeat: unknown.
var telegramFaults = []telegramFault{
	{400, 400, "voice_messages_forbidden", delivery.Dead, sendAudio, false, "the person takes no voice messages"},
	{400, 400, "message thread not found", delivery.Dead, newTopic, false, "the forum has no such topic; mend the target's address"},
	{400, 400, "topic_", delivery.Dead, newTopic, false, "the topic is closed or deleted; mend the target's address"}, // _closed, _deleted, _id_invalid
	{400, 400, "to create a topic", delivery.Dead, noTopics, false, "make the bot an administrator of the group who may manage topics"},
	{400, 400, "not a forum", delivery.Dead, noTopics, false, "the group has no topics"},
	{400, 400, "upgraded to a supergroup", delivery.Dead, moveChat, false, "the group has a new id; mend the target's address"},
	{400, 400, "chat not found", delivery.Dead, noRemedy, false, "the bot does not know this chat: the person must send /start to the bot, or add it to the group; then redrive the note"},
	{400, 400, "peer_id_invalid", delivery.Dead, noRemedy, false, "the bot does not know this chat: the person must send /start to the bot, or add it to the group; then redrive the note"},
	{400, 400, "rights", delivery.Dead, noRemedy, false, "the bot may not send this to the chat; let its members send voice messages, or make the bot an administrator"},
	{400, 400, "_forbidden", delivery.Dead, noRemedy, false, "the bot may not send this to the chat; let its members send voice messages, or make the bot an administrator"},
	{400, 400, "admin_required", delivery.Dead, noRemedy, false, "the bot may not send this to the chat; make it an administrator"},
	{400, 400, "too big", delivery.Dead, noRemedy, false, "the file is too large for Telegram"},
	{401, 401, "", delivery.Retry, noRemedy, true, "the service refuses the token; see token, @BotFather shows it"},
	{403, 403, "rights", delivery.Dead, noRemedy, false, "the bot may not send this to the chat; make it an administrator"},
	{403, 403, "_forbidden", delivery.Dead, noRemedy, false, "the bot may not send this to the chat; make it an administrator"},
	{403, 403, "", delivery.Dead, chatClosed, false, "the person has blocked the bot or it was taken out of the group; the person must start it again, or add it and link the chat anew"},
	{404, 404, "", delivery.Retry, noRemedy, true, "the service knows no bot of this token; see token, @BotFather shows it"},
	{408, 408, "", delivery.Retry, noRemedy, false, ""},
	{409, 409, "webhook", delivery.Retry, dropHook, false, "a webhook is set"},
	{409, 409, "", delivery.Retry, noRemedy, false, "another program asks for the updates of the same bot; give it a bot of its own"},
	{413, 413, "", delivery.Dead, noRemedy, false, "the file is too large for the service"},
	{425, 425, "", delivery.Retry, noRemedy, false, ""},
	{429, 429, "", delivery.Retry, noRemedy, false, ""},
	{300, 399, "", delivery.Dead, noRemedy, false, "redirects are not followed; see api_url"},
	{400, 499, "", delivery.Dead, noRemedy, false, "the service does not want this note"},
	{503, 503, "", delivery.Retry, noRemedy, false, ""}, // it was not taken
	{500, 599, "", delivery.Unknown, noRemedy, false, ""},
}

func findTelegram(said telegramAnswer) telegramFault {
	words := strings.ToLower(said.Description)
	if said.Parameters.MigrateTo != 0 {
		words = "upgraded to a supergroup"
	}
	for _, f := range telegramFaults {
		if f.first <= said.Code && said.Code <= f.last && strings.Contains(words, f.words) {
			return f
		}
	}
	return telegramFault{outcome: delivery.Dead, hint: "this is no status that the service documents"}
}

// telegramError is an answer of the service that says no.
type telegramError struct {
	*delivery.SendError
	fault   telegramFault
	movedTo int64  // the group's new id, 0 for none
	said    string // the service's words, without secrets, numbers and names
}

// Unwrap returns what it means for the note.
func (r *telegramError) Unwrap() error { return r.SendError }
