package main

import (
	"context"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/sip"
)

// tls reads the certificate, as serve does at its start. What serve starts
// with, but peers will stumble over, is a warning.
func (c *checker) tls(context.Context) {
	if c.cfg.SIP.TLS == (sip.TLS{}) {
		return
	}
	about, mend, err := sip.InspectTLS(c.cfg.SIP, time.Now())
	if err != nil {
		c.say(markFail, "sip.tls", "%s", strings.TrimPrefix(err.Error(), "sip.tls: "))
		return
	}
	for _, what := range mend {
		c.say(markWarn, "sip.tls", "%s", what)
	}
	if len(mend) == 0 {
		c.say(markOK, "sip.tls", "a certificate for %s", about)
	}
}
