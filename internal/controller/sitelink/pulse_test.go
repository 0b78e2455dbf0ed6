package sitelink

import (
	"testing"

	"heddle.dev/heddle/internal/link"
)

// TestVerdicts: what is published of a partner after a row of answers.
func TestVerdicts(t *testing.T) {
	up := verdict{standing: link.Accepted}
	missed := verdict{reason: "Unreachable", text: "no answer in time"}
	hungUp := verdict{reason: "Unreachable", text: "hung up", hungUp: true}
	row := func(n int, v verdict) []verdict {
		out := make([]verdict, n)
		for i := range out {
			out[i] = v
		}
		return out
	}
	for name, c := range map[string]struct {
		answers []verdict
		want    verdict
		known   bool
		news    int
	}{
		"nothing yet":                  {},
		"an answer":                    {answers: row(5, up), want: up, known: true, news: 1},
		"two misses at first":          {answers: row(2, missed)},
		"three misses at first":        {answers: row(3, missed), want: missed, known: true, news: 1},
		"two misses":                   {answers: append(row(1, up), row(2, missed)...), want: up, known: true, news: 1},
		"three misses":                 {answers: append(row(1, up), row(9, missed)...), want: missed, known: true, news: 2},
		"misses with an answer":        {answers: append(append(row(2, missed), up), row(2, missed)...), want: up, known: true, news: 1},
		"hung up on from the start":    {answers: row(3, hungUp), want: hungUp, known: true, news: 1},
		"hung up on for a while":       {answers: append(row(1, up), row(hangUpsForDown, hungUp)...), want: up, known: true, news: 1},
		"hung up on for long":          {answers: append(row(1, up), row(hangUpsForDown+missesForDown, hungUp)...), want: hungUp, known: true, news: 2},
		"hung up on, then misses":      {answers: append(append(row(1, up), row(9, hungUp)...), row(3, missed)...), want: missed, known: true, news: 2},
		"hung up on, an answer, again": {answers: append(append(append(row(1, up), row(50, hungUp)...), up), row(50, hungUp)...), want: up, known: true, news: 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, h, news := newPulse(nil), &heart{}, 0
			for _, v := range c.answers {
				if p.note(h, v) {
					news++
				}
			}
			if h.verdict != c.want || h.known != c.known || news != c.news {
				t.Errorf("got %+v, known %t, after %d news; want %+v, %t, %d", h.verdict, h.known, news, c.want, c.known, c.news)
			}
		})
	}
}
