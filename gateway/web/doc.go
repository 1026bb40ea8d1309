// Package web is everything the gateway says over HTTP: the inbox page and its
// API, signed links to media, health and metrics.
//
// In: notes, read from the store. Out: pages and files, and the marks that a
// recipient leaves on notes. The page in page/ is plain HTML, CSS and ES modules,
// served as it lies there.
//
// A mailbox is reached by its secret link or with the admin token; whatever else
// is asked for gets one and the same 404, so that no answer tells a wrong guess
// from a near one. No address that was asked for is ever logged, only the route.
//
// # The admin's API
//
// With the admin token as `Authorization: Bearer TOKEN`; MAILBOX is its number as
// the directory writes it, percent-encoded:
//
//	GET    /admin/api/mailboxes/MAILBOX/export   a zip of its notes, with notes.json and audio/ID.ogg; 404 when it has none
//	DELETE /admin/api/mailboxes/MAILBOX/notes    erases them; the proof is JSON, see delivery.Erasure
package web
