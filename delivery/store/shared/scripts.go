package shared

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var sources embed.FS

// scripts are the operations that are more than one command.
type scripts struct {
	beat, asserted, leave, recall               *redis.Script
	publish, claim, renew, finish, giveback     *redis.Script
	redrive, mark, erase, retire, take, nextDue *redis.Script
	jobs, rebody, withdraw                      *redis.Script
	report, find, proclaim                      *redis.Script
	remember, forget, disown                    *redis.Script
	recollect, unrecord, shown, whole           *redis.Script
}

// loadScripts puts lua/common.lua before each of the others.
func loadScripts(from fs.ReadFileFS) (s scripts, err error) {
	common, err := from.ReadFile("lua/common.lua")
	if err != nil {
		return s, err
	}
	for name, into := range map[string]**redis.Script{
		"beat": &s.beat, "asserted": &s.asserted, "leave": &s.leave, "recall": &s.recall,
		"publish": &s.publish, "claim": &s.claim, "renew": &s.renew, "finish": &s.finish, "giveback": &s.giveback,
		"redrive": &s.redrive, "mark": &s.mark, "erase": &s.erase, "retire": &s.retire, "take": &s.take, "due": &s.nextDue,
		"jobs": &s.jobs, "rebody": &s.rebody, "withdraw": &s.withdraw, "report": &s.report, "find": &s.find, "proclaim": &s.proclaim,
		"remember": &s.remember, "forget": &s.forget, "disown": &s.disown, "recollect": &s.recollect, "unrecord": &s.unrecord,
		"shown": &s.shown, "whole": &s.whole,
	} {
		body, err := from.ReadFile("lua/" + name + ".lua")
		if err != nil {
			return s, fmt.Errorf("the script %s: %w", name, err)
		}
		*into = redis.NewScript(string(common) + "\n" + string(body))
	}
	return s, nil
}
