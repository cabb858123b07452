// Command pricecast-broker is the Kafka-protocol broker of a machine that has no Kafka: one process, loopback only,
// durable in one folder. It is franz-go's kfake, which speaks groups, transactions and retention; what is added here
// is what makes a server of it: settings, a lock on the folder, health, and an orderly end.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// exitConfig (EX_CONFIG) says that a setting is wrong: starting again is useless.
const exitConfig = 78

type settings struct {
	port, healthPort, partitions int
	dataDir                      string
	cleanInterval                time.Duration
	untilStdinCloses             bool
}

func main() {
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	code := exitConfig
	if err == nil {
		code, err = 1, serve(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pricecast-embedded-broker:", err)
		os.Exit(code)
	}
}

// parse reads the flags; each one's default comes from the environment.
func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("pricecast-embedded-broker", flag.ContinueOnError)
	flags.StringVar(&s.dataDir, "data-dir", os.Getenv("BROKER_DATA_DIR"),
		"folder that keeps topics, offsets and transactions (BROKER_DATA_DIR); empty: memory only")
	var problems []error
	number := func(target *int, name, variable string, fallback, highest int, usage string) {
		if text := os.Getenv(variable); text != "" {
			value, err := strconv.Atoi(text)
			if err != nil || value < 0 || value > highest {
				problems = append(problems, fmt.Errorf("%s: %q is not a number from 0 to %d", variable, text, highest))
			}
			fallback = value
		}
		flags.IntVar(target, name, fallback, usage+" ("+variable+")")
	}
	number(&s.port, "port", "BROKER_PORT", 0, 65535, "loopback port; 0 takes a free one")
	number(&s.healthPort, "health-port", "HTTP_PORT", 0, 65535, "loopback port of /healthz and /readyz; 0 takes a free one")
	number(&s.partitions, "partitions", "BROKER_PARTITIONS", 1, 10000, "partitions of a topic that is made without a number")
	flags.DurationVar(&s.cleanInterval, "clean-interval", 5*time.Minute, "how often retention and compaction run")
	flags.BoolVar(&s.untilStdinCloses, "until-stdin-closes", false, "end with the process that holds the other end of stdin")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.partitions < 1 {
		problems = append(problems, fmt.Errorf("partitions: %d, must be at least 1", s.partitions))
	}
	if flags.NArg() > 0 {
		problems = append(problems, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	return s, errors.Join(problems...)
}

// serve runs the broker until SIGTERM or SIGINT, then writes its state and returns.
func serve(s settings) (err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if s.untilStdinCloses {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			signals <- syscall.SIGTERM
		}()
	}

	options := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("pricecast-embedded"),
		kfake.DefaultNumPartitions(s.partitions),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelWarn)),
		kfake.BrokerConfigs(map[string]string{
			// A replay carries the timestamps of years ago: only a topic that asks for retention gets it.
			"log.retention.ms":       "-1",
			"log.cleaner.backoff.ms": strconv.FormatInt(s.cleanInterval.Milliseconds(), 10),
		}),
	}
	if s.dataDir != "" {
		unlock, err := lock(s.dataDir)
		if err != nil {
			return err
		}
		defer unlock()
		options = append(options, kfake.DataDir(s.dataDir))
		clean, err := markDirty(s.dataDir)
		if err != nil {
			return err
		}
		if !clean {
			if err := recoverTransactions(options); err != nil {
				return fmt.Errorf("recover the data in %q after a crash: %w", s.dataDir, err)
			}
		}
	}
	if s.port != 0 {
		options = append(options, kfake.Ports(s.port))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return fmt.Errorf("start on 127.0.0.1:%d with data in %q: %w", s.port, s.dataDir, err)
	}
	defer func() {
		cluster.Close()
		if s.dataDir != "" {
			err = errors.Join(err, markClean(s.dataDir))
		}
	}()
	keepMadeTopics(cluster)
	address := cluster.ListenAddrs()[0]

	health, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.healthPort)))
	if err != nil {
		return fmt.Errorf("listen for health: %w", err)
	}
	server := &http.Server{Handler: answer(cluster, address), ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(health) //nolint:errcheck // it ends when it is closed
	defer server.Close()    //nolint:errcheck // the process ends

	ready, _ := json.Marshal(map[string]string{"address": address, "health": health.Addr().String(), "data_dir": s.dataDir})
	fmt.Println(string(ready))
	<-signals
	return nil
}

// keepMadeTopics creates the topics that a request for metadata asks to make. kfake itself would make them as well, but
// not write them down before the next change to a topic: after a crash their messages would be lost.
func keepMadeTopics(cluster *kfake.Cluster) {
	cluster.ControlKey(int16(kmsg.Metadata), func(request kmsg.Request) (kmsg.Response, error, bool) {
		metadata := request.(*kmsg.MetadataRequest)
		for _, topic := range metadata.Topics {
			if metadata.AllowAutoTopicCreation && topic.Topic != nil && cluster.TopicInfo(*topic.Topic) == nil {
				// A refusal, of a name that may not be one, is for kfake to answer.
				_ = cluster.CreateTopic(*topic.Topic, -1, nil)
			}
		}
		return nil, nil, false
	})
}

// lock makes sure that no second broker writes into the same folder. The lock ends with the process.
func lock(dataDir string) (func(), error) {
	if err := os.MkdirAll(dataDir, 0o755); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	path := filepath.Join(dataDir, "broker.lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the data folder's lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("data folder %q is in use by another broker: stop it or name another folder", dataDir)
	}
	return func() { file.Close() }, nil
}

// answer gives health the same paths and shape as the services': /healthz, /readyz.
// The broker handles all requests in one loop; it is healthy while that loop turns.
func answer(cluster *kfake.Cluster, address string) http.Handler {
	report := func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		turned := make(chan struct{})
		go func() { cluster.ListenAddrs(); close(turned) }()
		problems := map[string]string{}
		status := http.StatusOK
		select {
		case <-turned:
		case <-ctx.Done():
			problems["loop"] = "the broker has not handled a request for 5 s"
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{ //nolint:errcheck // the caller went away
			"ok": len(problems) == 0, "problems": problems, "info": map[string]string{"address": address},
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", report)
	mux.HandleFunc("GET /readyz", report)
	return mux
}
