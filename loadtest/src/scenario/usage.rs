//! What the command line says of itself.

/// What `--help` prints.
pub const USAGE: &str = "\
grandstand-load: a load generator for live streams

  grandstand-load                 publish rtmp://127.0.0.1:1935/live/load, play it 1000 times
                                  for 10 s, print players held, p99 latency and lost frames
  grandstand-load publish --url rtmp[s]://HOST[:PORT]/APP/NAME[?QUERY]
  grandstand-load play    --url URL
  grandstand-load fanout  --url URL [--server-pid PID]
  grandstand-load mirror  --url http://HOST[:PORT]/NAME/index.m3u8 --into DIR
                                  keep a copy of a stream's playlists and segments in a folder
  grandstand-load check-ts FILE | -
                                  judge an MPEG transport stream by TR 101 290 priorities 1 and 2;
                                  ends with 1 if a rule is broken

URL of a player:     rtmp[s]://HOST[:PORT]/APP/NAME      RTMP
                     http[s]://HOST[:PORT]/NAME.flv      FLV over HTTP
                     ws[s]://HOST[:PORT]/NAME.flv        FLV over WebSocket
                     http[s]://HOST[:PORT]/NAME.ts       MPEG-TS over HTTP
                     http[s]://HOST[:PORT]/NAME/index.m3u8   HLS, as a player follows it
publish, fanout:
  --streams N        streams, named NAME-0 and so on if more than one    [1]
  --size WxH         width and height of the pictures                    [1280x720]
  --bitrate RATE     bits per second of each, such as 800k or 2M         [2M]
  --fps N            frames per second                                   [30]
  --gop TIME         from keyframe to keyframe, such as 2s               [2s]
  --audio            add a sound track
publish, mirror:
  --duration TIME    how long; without it until interrupted
play, fanout:
  --players N[,N..]  players; fanout takes several numbers               [1000]
  --streams N        streams that the players take turns with            [1]
  --ramp N           players that connect in a second                    [500]
  --sampled N        players that check every frame                      [10]
  --hold             players of HLS ask for one playlist and keep their connection
play:
  --duration TIME    how long to watch once all play                     [10s]
fanout:
  --window TIME      the same, for each number of players                [10s]
  --server-pid PID   measure CPU and memory of this process
  --softirq-cpu N    add the time of ksoftirqd of this CPU
  --publish-url URL  where to publish                                    [--url, if rtmp]
  --no-publish       somebody else publishes
publish, play, fanout:
  --tls-ca FILE      believe certificates of these authorities (PEM)     [the system's]
  --tls-insecure     believe any certificate
check-ts:
  --pid-period TIME  how long a PID of a PMT may be silent               [5s]
everywhere:
  --json FILE        write the results there
  --cpu N            stay on this CPU
";
