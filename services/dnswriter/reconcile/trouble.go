package reconcile

import "time"

// trouble is what is known of a server that is away: it cannot be reached, or it
// answers but carries out no changes, like one whose disk is full. Each has its
// own end: that reads succeed does not mean that changes do.
type trouble struct {
	unreached int       // calls in a row that were not answered
	unclear   int       // changes in a row that ended unclear
	until     time.Time // before that, no name is handed out
}

// away is how many calls in a row have to fail until the server counts as away
// and not the name as odd.
const away = 3

func (t trouble) serious() bool { return max(t.unreached, t.unclear) >= away }

// answered notes that the server was reached, that it carried out a change or
// refused to, or both. It returns whether it was away and is no more. When it can
// be reached again, all names that waited for that go on.
func (q *queue) answered(reached, changes bool) (back bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.trouble
	if reached {
		q.trouble.unreached = 0
	}
	if changes {
		q.trouble.unclear = 0
	}
	if !before.serious() {
		return false
	}
	if reached && before.unreached >= away {
		var waiting []*item
		for _, it := range q.delayed {
			if it.unserved {
				waiting = append(waiting, it)
			}
		}
		for _, it := range waiting {
			q.ready(it)
		}
	}
	q.wake()
	return !q.trouble.serious()
}

// unanswered notes that the server did not answer a call, or that it is unclear
// what became of a change. It wishes to be left alone for a time, 0 if it does not
// say so. It returns whether that is the call with which it counts as away.
func (q *queue) unanswered(unclear bool, wish time.Duration) (nowAway bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wasAway := q.trouble.serious()
	failures := &q.trouble.unreached
	if unclear {
		failures = &q.trouble.unclear
	}
	*failures++
	q.trouble.until = time.Now().Add(max(wish, pause(*failures-away+1, time.Second/4, 5*time.Second)))
	return !wasAway && q.trouble.serious()
}
