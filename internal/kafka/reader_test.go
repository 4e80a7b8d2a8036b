package kafka_test

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sekisho/sekisho/internal/kafka"
)

// batch is a record batch as compaction leaves it: it covers base to last, and holds what is left of that.
type batch struct {
	base, last int64
	offsets    []int64
}

func (b batch) encode() []byte {
	var records []byte
	for _, offset := range b.offsets {
		rec := kmsg.Record{OffsetDelta: int32(offset - b.base), Key: []byte("k"), Value: []byte(strconv.FormatInt(offset, 10))}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1) // the length is one byte as long as it is zero
		records = rec.AppendTo(records)
	}
	rb := kmsg.RecordBatch{
		FirstOffset: b.base, Magic: 2, LastOffsetDelta: int32(b.last - b.base), ProducerID: -1, ProducerEpoch: -1,
		FirstSequence: -1, NumRecords: int32(len(b.offsets)), Records: records,
		FirstTimestamp: 1, MaxTimestamp: 1,
	}
	raw := rb.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// compacted is a broker whose only partition holds exactly these batches. It counts the fetches.
func compacted(t *testing.T, end int64, log ...batch) (*kafka.Cluster, *atomic.Int64) {
	t.Helper()
	server, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		server.KeepControl()
		asked := req.(*kmsg.ListOffsetsRequest).Topics[0].Partitions[0]
		rp := kmsg.NewListOffsetsResponseTopicPartition()
		rp.Timestamp = asked.Timestamp
		if rp.Offset = 0; asked.Timestamp == -1 {
			rp.Offset = end
		}
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic, rt.Partitions = "state", append(rt.Partitions, rp)
		res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		res.Topics = append(res.Topics, rt)
		return res, nil, true
	})
	fetches := new(atomic.Int64)
	server.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		server.KeepControl()
		fetches.Add(1)
		asked := req.(*kmsg.FetchRequest).Topics[0].Partitions[0]
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.HighWatermark, rp.LastStableOffset = end, end
		for _, b := range log { // the first batch that reaches the offset, and more while there is room
			if b.last < asked.FetchOffset {
				continue
			}
			raw := b.encode()
			if len(rp.RecordBatches) > 0 && len(rp.RecordBatches)+len(raw) > int(asked.PartitionMaxBytes) {
				break
			}
			rp.RecordBatches = append(rp.RecordBatches, raw...)
		}
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.Partitions = "state", append(rt.Partitions, rp)
		res := req.ResponseKind().(*kmsg.FetchResponse)
		res.Topics = append(res.Topics, rt)
		return res, nil, true
	})
	return open(t, server.ListenAddrs()[0]), fetches
}

func TestGapsOfCompactionAreSteppedOver(t *testing.T) {
	for name, tt := range map[string]struct {
		end  int64
		log  []batch
		want int // records
	}{
		"the last batch has lost its last record":           {10, []batch{{0, 9, []int64{0, 5}}}, 2},
		"the last batch has lost all its records":           {1000, []batch{{0, 9, []int64{0, 9}}, {10, 999, nil}}, 2},
		"a long empty batch before the last":                {1_000_003, []batch{{0, 0, []int64{0}}, {1, 999_999, nil}, {1_000_000, 1_000_002, []int64{1_000_001}}}, 2},
		"empty batches one after another":                   {40, []batch{{0, 9, nil}, {10, 12, nil}, {13, 13, nil}, {14, 39, nil}}, 0},
		"a gap without any batch in the middle":             {30, []batch{{0, 0, []int64{0}}, {20, 29, []int64{25}}}, 2},
		"no batch at all up to the end":                     {50, []batch{{0, 9, []int64{0, 1}}}, 2},
		"nothing left in the whole log":                     {50, nil, 0},
		"an empty batch of one offset at the very end":      {2, []batch{{0, 0, []int64{0}}, {1, 1, nil}}, 1},
		"an empty batch that a record follows at the end":   {12, []batch{{0, 10, nil}, {11, 11, []int64{11}}}, 1},
		"a batch that begins before it is asked for":        {6, []batch{{0, 5, []int64{0, 1, 2, 3, 4, 5}}}, 6},
		"a record after a gap in its own batch":             {100, []batch{{0, 99, []int64{99}}}, 1},
		"an end that lies far past a batch of many offsets": {1 << 40, []batch{{0, 1 << 30, []int64{7}}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, maxBytes := range []int{1, 1 << 20} { // one batch a fetch, and all at once
				c, fetches := compacted(t, tt.end, tt.log...)
				tail, err := kafka.NewTail(c, kafka.TailConfig{
					Topic: "state", Progress: progress(t),
					Reader: kafka.ReaderConfig{MaxBytes: maxBytes, MaxWait: time.Millisecond},
				})
				if err != nil {
					t.Fatal(err)
				}
				last, n := int64(-1), 0
				err = tail.Restore(timeout(t, 20*time.Second), func(r kafka.Record) error {
					if r.Offset <= last || string(r.Value) != strconv.FormatInt(r.Offset, 10) {
						t.Errorf("offset %d after %d holds %q", r.Offset, last, r.Value)
					}
					last = r.Offset
					n++
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if n != tt.want {
					t.Errorf("maxBytes %d: %d records, want %d", maxBytes, n, tt.want)
				}
				if fetches.Load() > 150 {
					t.Errorf("maxBytes %d: %d fetches: the search is not logarithmic", maxBytes, fetches.Load())
				}
			}
		})
	}
}

func TestAReaderGoesOnFromItsPosition(t *testing.T) {
	c, _ := compacted(t, 6, batch{0, 5, []int64{0, 1, 2, 3, 4, 5}})
	r := kafka.NewReader(c, "state", 0, 3, kafka.ReaderConfig{MaxWait: time.Millisecond})
	b, err := r.Fetch(timeout(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Records) != 3 || b.Records[0].Offset != 3 || b.Next != 6 || b.HighWatermark != 6 || r.Position() != 6 {
		t.Errorf("batch = %+v, want the records from 3 to 5", b)
	}
}

// Retention may move the log's start again between the moment a reader asks where it is and the fetch from there.
func TestAReaderThatRetentionOvertakesTwiceAsksAgain(t *testing.T) {
	server, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	log := batch{0, 9, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}
	var start atomic.Int64
	server.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		server.KeepControl()
		asked := req.(*kmsg.ListOffsetsRequest).Topics[0].Partitions[0]
		rp := kmsg.NewListOffsetsResponseTopicPartition()
		rp.Timestamp = asked.Timestamp
		if rp.Offset = log.last + 1; asked.Timestamp == -2 {
			rp.Offset = start.Load()
			start.Store(min(rp.Offset+4, 8)) // the next segment goes as soon as the answer has left
		}
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic, rt.Partitions = "state", append(rt.Partitions, rp)
		res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		res.Topics = append(res.Topics, rt)
		return res, nil, true
	})
	server.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		server.KeepControl()
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.HighWatermark, rp.LastStableOffset = log.last+1, log.last+1
		if req.(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset < start.Load() {
			rp.ErrorCode = 1 // OFFSET_OUT_OF_RANGE
		} else {
			rp.RecordBatches = log.encode()
		}
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.Partitions = "state", append(rt.Partitions, rp)
		res := req.ResponseKind().(*kmsg.FetchResponse)
		res.Topics = append(res.Topics, rt)
		return res, nil, true
	})
	start.Store(4)
	r := kafka.NewReader(open(t, server.ListenAddrs()[0]), "state", 0, 0, kafka.ReaderConfig{MaxWait: time.Millisecond})
	b, err := r.Fetch(timeout(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if b.Lost != 8 || len(b.Records) != 2 || b.Records[0].Offset != 8 || r.Position() != 10 {
		t.Errorf("batch = %+v, position %d, want 8 lost and the records 8 and 9", b, r.Position())
	}
}
