package sip

import "strings"

// What is said of a caller's number, as Caller.Trust.
const (
	trustVerified = "verified"
	trustDoubtful = "doubtful"
)

// verstats are the values of verstat (3GPP TS 24.229 section 7.2A.20). Carriers
// add the level of attestation (ATIS-1000074 section 5.2.4): B and C vouch for
// no number.
var verstats = map[string]string{
	"tn-validation-passed":   trustVerified,
	"tn-validation-passed-a": trustVerified,
	"tn-validation-failed":   trustDoubtful,
	"tn-validation-failed-a": trustDoubtful,
	"tn-validation-failed-b": trustDoubtful,
	"tn-validation-failed-c": trustDoubtful,
}

// trustIn tells what the identities say of a number: the network puts verstat
// into one of those that carry it. Of two that disagree, the worse counts.
func trustIn(number, country string, headers ...[]address) string {
	trust := ""
	for _, identities := range headers {
		for _, a := range identities {
			if a.uri.number(country) != number && a.uri.user != number {
				continue
			}
			if v := verstats[strings.ToLower(a.verstat())]; v == trustDoubtful || trust == "" {
				trust = v
			}
		}
	}
	return trust
}

// verstat is a parameter of the telephone number, before the @ of a SIP URI.
// Some carriers write it behind the host.
func (a address) verstat() string {
	if v, ok := a.uri.userParams.get("verstat"); ok {
		return v
	}
	return a.uri.param("verstat")
}
