package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// After a crash kfake regards the transactions that were open as aborted, but writes no abort marker for them. Clients
// need that marker: without it librdkafka drops what the same producer commits next, and a second crash would turn the
// unfinished transaction into a committed one. So after a crash the markers are written here, on a port that nobody
// knows, before the broker opens its real one.

const (
	cleanFile             = "broker.clean" // exists while the folder was left in order
	transactionalBit      = 0x10
	controlBit            = 0x20
	fetchBytes            = 16 << 20
	consumerReplicaID     = -1
	outsideOfFetchSession = -1
)

// openTransaction is a producer whose last transaction in a partition has no marker.
type openTransaction struct {
	topic     string
	partition int32
	producer  int64
	epoch     int16
}

// markDirty notes that the folder is in use, and says whether its last use ended in order. A new folder did.
func markDirty(dataDir string) (clean bool, err error) {
	if _, err := os.Stat(filepath.Join(dataDir, "meta.json")); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	switch err := os.Remove(filepath.Join(dataDir, cleanFile)); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("note that the data folder is in use: %w", err)
	}
}

// markClean notes that the broker wrote its whole state.
func markClean(dataDir string) error {
	return os.WriteFile(filepath.Join(dataDir, cleanFile), nil, 0o644)
}

// recoverTransactions writes an abort marker for each transaction that a crash left open.
func recoverTransactions(options []kfake.Opt) error {
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return err
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := context.Background()
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, topic := range metadata.Topics {
		for _, partition := range topic.Partitions {
			open, err := findOpen(ctx, client, topic, partition)
			if err != nil {
				return fmt.Errorf("read %s[%d]: %w", *topic.Topic, partition.Partition, err)
			}
			for _, transaction := range open {
				if err := abort(ctx, client, partition.Leader, transaction); err != nil {
					return fmt.Errorf("abort a transaction of producer %d in %s[%d]: %w",
						transaction.producer, transaction.topic, transaction.partition, err)
				}
			}
		}
	}
	return nil
}

// findOpen reads the headers of a partition's batches and returns the transactions without a marker.
func findOpen(
	ctx context.Context, client *kgo.Client, topic kmsg.MetadataResponseTopic, in kmsg.MetadataResponseTopicPartition,
) (map[int64]openTransaction, error) {
	open := map[int64]openTransaction{}
	offset := int64(0)
	for {
		wanted := kmsg.NewFetchRequestTopicPartition()
		wanted.Partition, wanted.FetchOffset, wanted.PartitionMaxBytes = in.Partition, offset, fetchBytes
		request := kmsg.NewPtrFetchRequest()
		request.ReplicaID, request.SessionEpoch, request.MaxBytes = consumerReplicaID, outsideOfFetchSession, fetchBytes
		request.Topics = []kmsg.FetchRequestTopic{{
			Topic: *topic.Topic, TopicID: topic.TopicID, Partitions: []kmsg.FetchRequestTopicPartition{wanted},
		}}
		raw, err := client.Broker(int(in.Leader)).Request(ctx, request)
		if err != nil {
			return nil, err
		}
		response := raw.(*kmsg.FetchResponse)
		if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
			return nil, err
		}
		if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
			return nil, errors.New("the answer lacks the partition")
		}
		got := response.Topics[0].Partitions[0]
		if got.ErrorCode == kerr.OffsetOutOfRange.Code && offset < got.LogStartOffset {
			offset = got.LogStartOffset
			continue
		}
		if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
			return nil, err
		}
		before := offset
		for rest := got.RecordBatches; len(rest) > 0; {
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(rest); err != nil {
				break // the last batch of an answer may be cut
			}
			rest = rest[12+batch.Length:]
			offset = batch.FirstOffset + int64(batch.LastOffsetDelta) + 1
			switch {
			case batch.Attributes&controlBit != 0:
				delete(open, batch.ProducerID)
			case batch.Attributes&transactionalBit != 0:
				open[batch.ProducerID] = openTransaction{*topic.Topic, in.Partition, batch.ProducerID, batch.ProducerEpoch}
			}
		}
		if offset >= got.HighWatermark {
			return open, nil
		}
		if offset == before {
			return nil, fmt.Errorf("nothing at offset %d, though the log goes on to %d", offset, got.HighWatermark)
		}
	}
}

func abort(ctx context.Context, client *kgo.Client, leader int32, transaction openTransaction) error {
	topic := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	topic.Topic, topic.Partitions = transaction.topic, []int32{transaction.partition}
	marker := kmsg.NewWriteTxnMarkersRequestMarker()
	marker.ProducerID, marker.ProducerEpoch, marker.Committed = transaction.producer, transaction.epoch, false
	marker.Topics = append(marker.Topics, topic)
	request := kmsg.NewPtrWriteTxnMarkersRequest()
	request.Markers = append(request.Markers, marker)
	raw, err := client.Broker(int(leader)).Request(ctx, request)
	if err != nil {
		return err
	}
	for _, marker := range raw.(*kmsg.WriteTxnMarkersResponse).Markers {
		for _, topic := range marker.Topics {
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
