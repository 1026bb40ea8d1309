// Package web is everything the gateway says over HTTP: the inbox page and its
// API, the page of one note, signed links to media, what chat services call back,
// health and metrics.
//
// In: notes, read from the store. Out: pages and files, the marks that a recipient
// leaves on notes, and codes that link chats. The pages in page/ are plain HTML,
// CSS and ES modules, served as they lie there; what the inbox says comes from
// package text, in the mailbox's language.
//
// A mailbox is reached by its secret link or with the admin token, a note by a
// signed link that expires, a channel's callback by its name; whatever else
// is asked for gets one and the same 404, so that no answer tells a wrong guess
// from a near one. No address that was asked for is ever logged, only the route.
//
// # The inbox's API
//
// Below the page's own address, /inbox/TOKEN or /admin/inbox/MAILBOX:
//
//	GET    /notes?before=ID&limit=N    notes, newest first
//	POST   /notes/ID/read, /played     marks one
//	GET    /notes/ID/media             its file
//	GET    /events                     when to read the notes again, as server-sent events
//	GET    /chats                      the channels that offer to link a chat, and whether one is linked; never which
//	POST   /chats/CHANNEL/code         a one-time code that links a chat, with its link and QR code; 429 after ten in a minute
//	DELETE /chats/CHANNEL              ends the link
//
// # The admin's API
//
// With the admin token as `Authorization: Bearer TOKEN`; MAILBOX is its number as
// the directory writes it, percent-encoded:
//
//	GET    /admin/api/mailboxes/MAILBOX/export   a zip of its notes, with notes.json and audio/ID.ogg; 404 when it has none
//	DELETE /admin/api/mailboxes/MAILBOX/notes    erases them; the proof is JSON, see delivery.Erasure
package web
