// Package config turns one YAML file into a typed, validated [Config], and
// holds the [Directory]: number -> mailbox, out of the file, a CSV file that is
// read again when it changes, or a service that is asked by HTTP.
//
// In: the file's bytes, the environment, secret files. Out: a Config whose
// parts are the option types of the rooms themselves, or all mistakes at once,
// each with line, column and what was expected. A part that has a Validate
// method is asked for its mistakes: errors joined, of which each tells its
// setting. It knows no channel by name:
// channel.Table gives the options to fill in.
//
// Where things are:
//
//	config, channel, retention     the types of the file
//	syntax, decode, scalar, field  the file read beside the types
//	check, problem                 what is wrong with it
//	example                        the commented example
//	directory, index, pattern      whose mailbox a number is
//	sheet, service, answers        … by a CSV file, by a service
//	contacts, vcard, blocked       what a mailbox knows of its callers
//	reload, standing               what a running gateway takes over, how it stands
//
// The types' tags carry what the reader and the commented example need:
//
//	yaml      the key
//	help      the comment in the example
//	example   a value for the example, where there is no default
//	enum      the values allowed, separated by |
//	required  "true": must be there
//	secret    "true": inline, ${ENV}, or KEY_file; never printed
//	path      "true": a relative path counts from the file's folder
//	least     the shortest duration allowed
//	hidden    of an embedded struct: its keys, separated by |, that have no
//	          effect here, so that the example leaves them out
package config
