// Package codec holds the audio codecs, one file each, and one table of them.
package codec
