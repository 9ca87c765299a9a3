package verify

import (
	"container/heap"
	"time"
)

// queue holds the changes that are to be asked for, by the time when.
type queue []*change

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push is for package heap.
func (q *queue) Push(x any) {
	c := x.(*change)
	c.at = len(*q)
	*q = append(*q, c)
}

// Pop is for package heap.
func (q *queue) Pop() any {
	old := *q
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	c.at = -1
	return c
}

// put has a change asked for at its time.
func (q *queue) put(c *change, due time.Time) {
	c.due = due
	if c.at >= 0 {
		heap.Fix(q, c.at)
		return
	}
	heap.Push(q, c)
}

// take takes a change out, if it is in.
func (q *queue) take(c *change) {
	if c.at >= 0 {
		heap.Remove(q, c.at)
	}
}
