// Package channel holds the chat services and one table of them.
//
// In: a parcel, which is one attempt at one target. Out: a receipt, or a
// *delivery.SendError that says whether the note may be sent again. What the
// services tell later, by callback, poll or sync, becomes a delivery.Report.
//
// A service is SERVICE.go, its settings and what it is to the gateway, and for a
// larger one SERVICE_thing.go beside it:
//
//	telegram  Telegram Bot API 10.1           https://core.telegram.org/bots/api
//	whatsapp  WhatsApp Cloud API v23.0        https://developers.facebook.com/docs/whatsapp/cloud-api
//	matrix    Client-Server API 1.11, with    https://spec.matrix.org/v1.11/client-server-api/
//	          MSC1767 and MSC3245 (voice messages); encryption by the tag goolm
//	mail      RFC 6409 (submission), 5321, 5322, 2045, 1870, 3834, 4954, 8314
//	sms       an operator's HTTP gateway; 3GPP TS 23.038 (alphabets), 23.040
//	webhook   Standard Webhooks 1.0           https://www.standardwebhooks.com
//	operator  the same, for who runs the gateway; no mailbox delivers to it
//	inbox     the gateway's own page
//
// What they have in common:
//
//	table.go   the types, their settings, what the gateway gives them
//	http.go    requests made once, what a lost answer means, tables of statuses (RFC 9110)
//	guard.go   no connection to an inside address without leave (RFC 6890)
//	redact.go  no secret, number or name in what is logged or kept
//	form.go    bodies of requests: JSON, multipart/form-data (RFC 7578)
//	parcel.go  the note's file, and links to it
//	memory.go  what a channel remembers, what it does once
//	chat.go    chats that mailboxes link to themselves
//	hook.go    signed posts of webhook and operator
//
// A new service is a file with its settings (an [Options]) and its channel (a
// [delivery.Channel]), a row in [Table], and a subject for the suite of tests in
// suite_test.go. The settings' tags are its part of the file, of the example and
// of the docs; what else it can do it says by its methods, those that Options
// lists and those of delivery's small interfaces. Nothing outside this package
// knows a service, but for the pages' icons.
package channel
