package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/sekisho/sekisho/internal/core"
)

// The errors a caller may want to tell apart, by errors.Is.
var (
	// ErrUnknownTopic: the topic is not there (yet). Retryable.
	ErrUnknownTopic = errors.New("topic is unknown")
	// ErrUnknownPartition: the topic has no such partition. Permanent.
	ErrUnknownPartition = errors.New("partition is unknown")
	// ErrPartitionCount: an existing topic has another partition count than asked. Permanent: routing by
	// subject would change, and with it the order of one subject's events.
	ErrPartitionCount = errors.New("topic exists with another partition count")
	// ErrTooLarge: a message or call exceeds a limit. Permanent.
	ErrTooLarge = errors.New("message is too large")
	// ErrQueueFull: no room in the producer's queue before the caller's time was up. Retryable; nothing was sent.
	ErrQueueFull = errors.New("producer queue is full")
	// ErrClosed: the producer is closed. Permanent; nothing was sent.
	ErrClosed = errors.New("producer is closed")
	// ErrFenced: the commit came from a member or generation that no longer owns the partition. Permanent: another
	// member reads on from the last commit.
	ErrFenced = errors.New("partition belongs to another generation of the group")
	// ErrTruncated: the log ends before the offset to read from, as after the loss of a broker's disk. Permanent:
	// a person decides what to do.
	ErrTruncated = errors.New("log ends before the offset to read")
)

// Failure is one message of a call that is not acknowledged.
type Failure struct {
	// Index is the message's position in the call.
	Index int
	// Err is why; core.IsRetryable tells whether to try again. A message that failed retryably MAY be stored.
	Err error
}

// ProduceError lists the messages of a Produce call that are not acknowledged. The others are.
type ProduceError struct{ Failed []Failure }

// Error implements error.
func (e *ProduceError) Error() string {
	return fmt.Sprintf("%d messages not acknowledged: %v", len(e.Failed), e.Failed[0].Err)
}

// Unwrap returns the causes. core.IsRetryable on the whole therefore means: at least one is worth repeating.
func (e *ProduceError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f.Err
	}
	return errs
}

// retryable tells whether the same request may succeed later. The broker's code decides where there is one; a refused
// certificate is permanent; any other fault is the network's.
func retryable(err error) bool {
	var code kafkago.Error
	var cert *tls.CertificateVerificationError
	switch {
	case err == nil:
		return false
	case errors.As(err, &code):
		switch code {
		case kafkago.Unknown, // the broker's own fault, a full disk for one
			kafkago.BrokerNotAvailable, kafkago.ReplicaNotAvailable, kafkago.RebalanceInProgress:
			return true
		}
		return code.Temporary()
	case errors.As(err, &cert):
		return false
	}
	for _, permanent := range []error{ErrUnknownPartition, ErrPartitionCount, ErrTooLarge, ErrClosed, ErrFenced, ErrTruncated} {
		if errors.Is(err, permanent) {
			return false
		}
	}
	return true
}

// classify marks a retryable error as such.
func classify(err error) error {
	if err == nil || core.IsRetryable(err) || !retryable(err) {
		return err
	}
	return core.Retryable{Err: err}
}

// poisoned tells whether the broker refused a batch because of records in it, so that the other records of the
// batch may be taken without them.
func poisoned(err error) bool {
	for _, code := range []kafkago.Error{
		kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.InvalidMessageSize,
		kafkago.InvalidRecord, kafkago.InvalidTimestamp,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// fenced tells whether the coordinator refused a commit because the member or its generation is past.
func fenced(err error) bool {
	for _, code := range []kafkago.Error{
		kafkago.IllegalGeneration, kafkago.UnknownMemberId, kafkago.FencedInstanceID, kafkago.RebalanceInProgress,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// quiet reduces a broker's refusal to its code: the message that comes with it may quote the request.
func quiet(err error) error {
	var code kafkago.Error
	if errors.As(err, &code) {
		return code
	}
	return err
}
