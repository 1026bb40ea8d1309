package sip

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"

	sipmsg "github.com/emiago/sipgo/sip"
)

// tag is the To tag this side gives to a dialog. It depends on the request
// alone, so every copy of an INVITE, its CANCEL and all their responses carry
// the same one without anything being looked up (RFC 3261 sections 8.2.7 and 9.2).
type tag struct {
	request uint64 // Call-ID, From tag, CSeq number: the same in all forks of an INVITE
	branch  uint64 // and the top Via: one way the request took
}

// tagOf hashes what names a request. Requests without a Via, a CSeq, a
// Call-ID, a To or a From tag have none.
func tagOf(seed maphash.Seed, req *sipmsg.Request) (t tag, ok bool) {
	via, cseq, id, from := req.Via(), req.CSeq(), req.CallID(), req.From()
	if via == nil || cseq == nil || id == nil || from == nil || req.To() == nil {
		return tag{}, false
	}
	fromTag, ok := from.Params.Get("tag")
	if !ok || fromTag == "" {
		return tag{}, false
	}
	branch, _ := via.Params.Get("branch")

	var h maphash.Hash
	h.SetSeed(seed)
	write := func(s string) {
		_, _ = h.WriteString(s) // a hash never fails
		_ = h.WriteByte(0)
	}
	var number [8]byte
	write(id.Value())
	write(fromTag)
	_, _ = h.Write(binary.BigEndian.AppendUint32(number[:0], cseq.SeqNo))
	t.request = h.Sum64()
	write(branch)
	write(via.Host)
	_, _ = h.Write(binary.BigEndian.AppendUint64(number[:0], uint64(via.Port)))
	t.branch = h.Sum64()
	return t, true
}

// String writes 32 hexadecimal digits.
func (t tag) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], t.request)
	binary.BigEndian.PutUint64(b[8:], t.branch)
	return hex.EncodeToString(b[:])
}

// parseTag reads a tag this side gave out; any other is not ok.
func parseTag(s string) (t tag, ok bool) {
	var b [16]byte
	if len(s) != 2*len(b) {
		return tag{}, false
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return tag{}, false
	}
	return tag{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, true
}
