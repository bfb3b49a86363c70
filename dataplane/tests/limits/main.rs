//! Every limit, broken by one peer while others publish and play.

#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod connections;
mod http;
mod inputs;
#[path = "../node/mod.rs"]
mod node;
mod rtmp;
mod tls;
mod websocket;
#[path = "../witness/mod.rs"]
mod witness;

use dataplane::config::{AddrRange, Config, HlsSession, LimitId};
use dataplane::control::{Grant, Verdict};
use node::{FlvPlayer, Player, Publisher, RtmpPlayer, Server, assert_contiguous};
use witness::{WITNESS_CONNECTIONS, Witness, grown};

on_both_backends! {
    each_limit_is_broken_by_its_peer_alone
    strangers_leave_room_for_those_who_come_to_play
}

/// Many hold as much as they may: those who ask for more are closed, and nobody else is.
fn strangers_leave_room_for_those_who_come_to_play(mut config: Config) {
    const STRANGERS: usize = 400;
    config.limits.set(LimitId::BufferBytesMax, 1 << 20);
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    let strangers = http::heads_that_do_not_end(&server, STRANGERS);
    let closed = |totals: &node::Totals| totals.limit(LimitId::BufferBytesMax);
    let met = server.control.until("most are closed", |totals| closed(totals) > 150);
    let held = met.sum(|c| c.buffer_bytes);
    assert!((300 << 10..=1 << 20).contains(&held), "{held} bytes are held");
    let mut newcomers: Vec<_> = (0..8)
        .map(|_| (RtmpPlayer::start(server.rtmp, "good"), FlvPlayer::start(server.http, "good")))
        .collect();
    let late = Publisher::start(server.rtmp, "late").send_frames(10);
    assert_eq!(late, 10);
    witness.works();
    let newest = witness.publisher.next_number() - 1;
    for (rtmp, flv) in &mut newcomers {
        assert_contiguous(&rtmp.items_to_video(newest));
        assert_contiguous(&flv.items_to_video(newest));
    }
    drop(strangers);
    let gone = |totals: &node::Totals| totals.sum(|c| c.buffer_bytes) < 100 << 10;
    server.control.until("what they held is given back", gone);
    witness.works();
}

fn each_limit_is_broken_by_its_peer_alone(config: Config) {
    for &limit in LimitId::ALL {
        let mut config = node::with_tls(config.clone());
        tighten(&mut config, limit);
        let server = Server::start(config);
        leave_unanswered(&server, "parked");
        let mut witness = Witness::start(&server);
        let before = server.control.snapshot();
        assert_eq!(grown(&before, &before), [], "{}", limit.name());
        let expected = break_limit(limit, &server);
        server.control.until(limit.name(), |totals| totals.limit(limit) == expected);
        witness.works();
        let alone = |totals: &node::Totals| totals.sum(|c| c.connections) == WITNESS_CONNECTIONS;
        let after = server.control.until("the breaker is gone", alone);
        assert_eq!(grown(&before, &after), [(limit, expected)]);
        assert_eq!(after.sum(|c| c.panics), 0);
        witness.works();
    }
}

/// The smallest value that the witness can live with.
fn tighten(config: &mut Config, limit: LimitId) {
    use LimitId as L;
    // What comes from another loopback address is a stranger.
    config.limits.exempt = vec![AddrRange { addr: "127.0.0.1".parse().unwrap(), bits: 32 }];
    let value = match limit {
        L::ConnectionsMax => WITNESS_CONNECTIONS,
        L::ConnectionsPerIpMax | L::ConnectionsPerPrefixMax | L::HalfOpenPerIpMax => 2,
        L::ConnectsPerIpMax | L::ConnectsPerPrefixMax => 1,
        L::StreamsMax | L::IdlePlayersMax | L::IdlePlayersPerIpMax => 1,
        L::EgressBpsMax => 7_000_000,
        L::PlayersMax | L::TracksMax | L::RtmpStreamsMax => 2,
        L::RtmpChunkStreamsMax => 8,
        L::RtmpMessageBytesMax => 4_096,
        L::RtmpCommandBytesMax => 1_024,
        L::RtmpPartialBytesMax => 20_000,
        L::RtmpPartialBytesPreauthMax => 10_000,
        L::RtmpMessagesPerSecondMax => 300,
        L::RtmpChunksPerSecondMax => 500,
        L::RtmpControlPerSecondMax => 50,
        L::AmfDepthMax => 8,
        L::AmfElementsMax => 32,
        L::HttpHeadBytesMax => 512,
        L::HttpHeadersMax => 8,
        L::HttpRequestsMax => 3,
        L::HttpPipelineBytesMax => 200,
        L::HlsWaitersMax | L::HlsViewersMax | L::HlsViewersPerIpMax => 1,
        L::WebsocketMessageBytesMax => 500,
        L::WebsocketFramesPerSecondMax => 20,
        // Of two shards together; nobody but the breaker holds an eighth of what is left.
        L::BufferBytesMax => 512 << 10,
        L::InputBufferBytesMax => 512 << 10,
        L::ReplyBytesMax => 3_500,
        L::ParkedBytesMax => 1_000,
        L::TlsHandshakesMax => 1,
        L::TlsPendingBytesMax => 2_000,
    };
    config.limits.set(limit, value);
    if limit == L::InputBufferBytesMax {
        config.reactor.datagram_buffers = 4;
    }
    if matches!(limit, L::HlsViewersMax | L::HlsViewersPerIpMax) {
        config.stream.hls.session = HlsSession::Token;
    }
    if matches!(limit, L::RtmpMessagesPerSecondMax | L::ReplyBytesMax) {
        // Control messages break it, and have a limit of their own.
        config.limits.set(L::RtmpControlPerSecondMax, 1 << 20);
    }
}

/// Breaks a limit and sees the breaker refused; returns how often it was broken.
fn break_limit(limit: LimitId, server: &Server) -> u64 {
    use LimitId as L;
    match limit {
        L::ConnectionsMax => connections::one_too_many(server),
        L::ConnectionsPerIpMax => connections::one_too_many_of_an_address(server),
        L::ConnectionsPerPrefixMax => connections::one_too_many_of_a_prefix(server),
        L::HalfOpenPerIpMax => connections::one_too_many_half_open(server),
        L::ConnectsPerIpMax => connections::too_often_from_an_address(server),
        L::ConnectsPerPrefixMax => connections::too_often_from_a_prefix(server),
        L::StreamsMax => rtmp::one_stream_too_many(server),
        L::EgressBpsMax => connections::more_bits_than_may_be_owed(server),
        L::PlayersMax => connections::one_player_too_many(server),
        L::IdlePlayersMax => connections::one_player_too_many_that_waits(server),
        L::IdlePlayersPerIpMax => connections::one_player_too_many_of_an_address(server),
        L::TracksMax => rtmp::one_track_too_many(server),
        L::RtmpChunkStreamsMax => rtmp::many_chunk_streams(server),
        L::RtmpMessageBytesMax => rtmp::a_long_message(server),
        L::RtmpCommandBytesMax => rtmp::a_long_command(server),
        L::RtmpPartialBytesMax => rtmp::many_unfinished_media_messages(server),
        L::RtmpPartialBytesPreauthMax => rtmp::many_unfinished_commands(server),
        L::RtmpMessagesPerSecondMax => rtmp::a_flood_of_messages(server),
        L::RtmpChunksPerSecondMax => rtmp::a_flood_of_chunks(server),
        L::RtmpControlPerSecondMax => rtmp::a_flood_of_pings(server, 100),
        L::RtmpStreamsMax => rtmp::many_message_streams(server),
        L::AmfDepthMax => rtmp::deep_values(server),
        L::AmfElementsMax => rtmp::many_elements(server),
        L::HttpHeadBytesMax => http::a_long_head(server),
        L::HttpHeadersMax => http::many_header_fields(server),
        L::HttpRequestsMax => http::many_requests(server),
        L::HttpPipelineBytesMax => http::bytes_that_nobody_asked_for(server),
        L::HlsWaitersMax => http::more_viewers_than_may_wait(server),
        L::HlsViewersMax => http::one_viewer_too_many(server),
        L::HlsViewersPerIpMax => connections::one_viewer_too_many_of_an_address(server),
        L::WebsocketMessageBytesMax => websocket::long_messages(server),
        L::WebsocketFramesPerSecondMax => websocket::a_flood_of_frames(server),
        L::BufferBytesMax => rtmp::more_than_is_left(server),
        L::InputBufferBytesMax => inputs::one_buffer_too_many(server),
        L::ReplyBytesMax => rtmp::a_flood_of_pings(server, 400),
        L::ParkedBytesMax => rtmp::media_before_the_verdict(server),
        L::TlsHandshakesMax => tls::many_handshakes(server),
        L::TlsPendingBytesMax => tls::endless_handshake_messages(server),
    }
}

/// The control plane never answers questions for that stream.
fn leave_unanswered(server: &Server, name: &'static str) {
    server.control.judge(Box::new(move |request| {
        let allow = || Verdict::Allow(Grant::to(request.stream.clone()));
        (request.stream.as_str() != name).then(allow)
    }));
}
