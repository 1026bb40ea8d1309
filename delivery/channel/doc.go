// Package channel holds the chat services, one file each, and one table of
// them.
//
// In: a parcel, which is one attempt at one target. Out: a receipt, or a
// *delivery.SendError that says whether the note may be sent again. What an
// answer means stands in one table of statuses a channel; what is common to the
// services over HTTP (the guard against private addresses, what a lost answer
// means, Retry-After, redaction) stands in http.go, guard.go and redact.go, and
// to the webhooks in hook.go. The operator's webhook is no type of the table:
// mailboxes cannot deliver to it.
//
// E-mail speaks SMTP: mail.go holds the settings, mail_message.go the message,
// mail_session.go the session and what each reply means.
//
// RFC 9110 (HTTP), RFC 7578 (multipart/form-data), RFC 6890 (special-purpose
// addresses), Standard Webhooks 1.0, Telegram Bot API 10.1, WhatsApp Cloud API
// v23.0, Matrix Client-Server API 1.11 with MSC1767 and MSC3245 (voice
// messages); RFC 5321 and 6409 (mail submission), 5322 and 2045 (messages), 3834
// (what programs send), 4954 (AUTH), 8314 (TLS); 3GPP TS 23.038 (SMS alphabets).
package channel
