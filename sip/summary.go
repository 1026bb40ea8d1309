package sip

import (
	"fmt"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

const (
	eventSummary = "message-summary"                    // the event package (RFC 3842 section 3.1)
	typeSummary  = "application/simple-message-summary" // its body
)

// Messages is what the message lamp of a mailbox tells.
type Messages struct {
	New int // neither read nor played
	Old int
}

// summary writes the messages of an account, a SIP URI (RFC 3842 section 5.2).
func summary(account string, m Messages) []byte {
	waiting := "no"
	if m.New > 0 {
		waiting = "yes"
	}
	return fmt.Appendf(nil, "Messages-Waiting: %s\r\nMessage-Account: %s\r\nVoice-Message: %d/%d (0/0)\r\n", waiting, account, m.New, m.Old)
}

// mailboxMark stands for the mailbox in Trunk.MWI.
const mailboxMark = "{mailbox}"

// lampURI is the address at which a trunk is told of a mailbox.
func lampURI(template, mailbox string) (uri sipmsg.Uri, err error) {
	user, _, _ := strings.Cut(template, "@")
	if strings.Contains(user, mailboxMark) && strings.Count(template, mailboxMark) == 1 {
		err = sipmsg.ParseUri(strings.Replace(template, mailboxMark, escapeUser(mailbox), 1), &uri)
		network, _ := hop(uri, "udp")
		if err == nil && uri.Scheme == "sip" && uri.Host != "" && (network == "udp" || network == "tcp") {
			return uri, nil
		}
	}
	return uri, fmt.Errorf("expected the address of a mailbox, like sip:%s@192.0.2.10:5060 or sip:%s@pbx.example.com;transport=tcp, not %q", mailboxMark, mailboxMark, template)
}
