// Package channel holds the chat services, one file each, and one table of
// them.
package channel
