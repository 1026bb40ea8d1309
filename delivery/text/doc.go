// Package text holds what recipients read, in their language and at their local
// time: one table, one row a language. Channels and pages put it into the form
// that their service wants.
package text
