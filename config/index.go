package config

import (
	"cmp"
	"slices"
	"strings"
)

// index finds mailboxes by number: a look-up costs the same for one as for a
// hundred thousand. It does not change once it is made.
type index struct {
	mailboxes []Mailbox
	exact     map[string]int // by the number
	wild      map[string]int // by what stands before the *
	ranges    []numberRange  // by compareRange; none overlaps another
}

// numberRange is a mailbox that stands for the numbers from first to last.
type numberRange struct {
	first, last string // of one length: their order is that of the numbers
	mailbox     int
}

// newIndex indexes mailboxes, each of which has numbers of its own: taken is
// told of those that do not, by their places. nil tells nobody.
func newIndex(mailboxes []Mailbox, taken func(later, earlier int)) *index {
	x := &index{mailboxes: mailboxes, exact: make(map[string]int, len(mailboxes)), wild: map[string]int{}}
	if taken == nil {
		taken = func(int, int) {}
	}
	for i, m := range mailboxes {
		p, _ := parsePattern(m.Number) // what is wrong with it is told elsewhere
		names, key := x.exact, m.Number
		switch {
		case p.first != "":
			x.ranges = append(x.ranges, numberRange{p.first, p.last, i})
			continue
		case p.wild:
			names, key = x.wild, p.prefix
		}
		if earlier, ok := names[key]; ok {
			taken(i, earlier)
			continue
		}
		names[key] = i
	}
	slices.SortFunc(x.ranges, func(a, b numberRange) int { return compareRange(a, b.first) })
	for i := 1; i < len(x.ranges); i++ {
		if a, b := x.ranges[i-1], x.ranges[i]; a.reaches(b.first) {
			taken(max(a.mailbox, b.mailbox), min(a.mailbox, b.mailbox))
		}
	}
	return x
}

// compareRange compares where a range begins with a number: shorter ones first.
func compareRange(r numberRange, number string) int {
	return cmp.Or(cmp.Compare(len(r.first), len(number)), strings.Compare(r.first, number))
}

// reaches says whether a range that begins at the number or before it goes as
// far.
func (r numberRange) reaches(number string) bool {
	return len(r.last) == len(number) && number <= r.last
}

// byNumber is the mailbox that is the number's own; nil for none.
func (x *index) byNumber(number string) *Mailbox {
	if i, ok := x.exact[number]; ok {
		return &x.mailboxes[i]
	}
	return nil
}

// byPattern is the mailbox of a range or a wildcard that stands for the
// number: the range, else the longest wildcard; nil for none.
func (x *index) byPattern(number string) *Mailbox {
	if !isDigits(number) {
		return nil
	}
	i, begins := slices.BinarySearchFunc(x.ranges, number, compareRange)
	if !begins {
		i-- // the last one that begins before the number
	}
	if i >= 0 && x.ranges[i].reaches(number) {
		return x.own(x.ranges[i].mailbox, number)
	}
	for n := len(number); n >= 0 && len(x.wild) > 0; n-- {
		if i, ok := x.wild[number[:n]]; ok {
			return x.own(i, number)
		}
	}
	return nil
}

// own is the mailbox of one of the numbers that the i-th stands for.
func (x *index) own(i int, number string) *Mailbox {
	m := x.mailboxes[i]
	m.Number = number
	return &m
}
