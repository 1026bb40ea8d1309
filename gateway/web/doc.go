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
package web
