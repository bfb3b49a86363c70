//! What our writers frame, our readers return, however the bytes are cut on the way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use codecs::Error;
use codecs::rtmp::chunk_writer::{
    HEADER_LEN_MAX, encode_continuation, encode_first, extended_timestamp, frame_message,
};
use codecs::rtmp::{
    ChunkLimits, ChunkReader, ChunkWriter, Csid, Fragment, MessageHeader, MessageKind,
};
use codecs::writer::Writer;
use proptest::prelude::*;

type Message = (MessageHeader, Vec<u8>);

/// Reads all pieces and joins the fragments of each message.
fn read(chunk_size: u32, pieces: &[&[u8]]) -> Result<Vec<Message>, Error> {
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.set_chunk_size(chunk_size)?;
    let mut messages = Vec::new();
    let mut partial: Vec<Message> = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (used, fragment) = reader.feed(rest)?;
            rest = &rest[used..];
            let Some(Fragment { header, offset, data, last }) = fragment else {
                assert!(rest.is_empty(), "all is taken when there is no fragment");
                break;
            };
            if offset == 0 {
                partial.retain(|(other, _)| other.csid != header.csid);
                partial.push((header, Vec::new()));
            }
            let at = partial.iter().position(|(other, _)| other.csid == header.csid).unwrap();
            assert_eq!(partial[at].0, header, "one header for all fragments");
            assert_eq!(partial[at].1.len(), offset as usize, "no gap");
            partial[at].1.extend_from_slice(data);
            if last {
                messages.push(partial.swap_remove(at));
            }
        }
    }
    assert_eq!(reader.partial_bytes(), 0, "every message is complete");
    Ok(messages)
}

/// Cuts the bytes at the given places, in any order and with repetitions.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn csids() -> impl Strategy<Value = Csid> {
    prop::sample::select(&[2, 6, 63, 64, 319, 320, 65_599]).prop_map(|id| Csid::new(id).unwrap())
}

fn timestamps() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..1000, 0x00ff_fff0_u32..0x0100_0010, 0xffff_fff0_u32..=u32::MAX]
}

fn kinds() -> impl Strategy<Value = MessageKind> {
    any::<u8>().prop_map(MessageKind::from_wire)
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let body = prop::collection::vec(prop::sample::select(&[0_u8, 1, 0xff, 0xc6]), 0..400);
    let message = (csids(), timestamps(), kinds(), 0_u32..3, body);
    prop::collection::vec(
        message.prop_map(|(csid, timestamp, kind, msid, body)| {
            let len = u32::try_from(body.len()).unwrap();
            (MessageHeader { csid, timestamp, len, kind, msid }, body)
        }),
        1..12,
    )
}

/// The chunks of a message, one by one.
fn chunks((header, body): &Message, chunk_size: u32) -> Vec<Vec<u8>> {
    let mut pieces: Vec<&[u8]> = body.chunks(chunk_size as usize).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let mut chunks = Vec::new();
    for (index, piece) in pieces.into_iter().enumerate() {
        let mut head = [0; HEADER_LEN_MAX];
        let mut writer = Writer::new(&mut head);
        if index == 0 {
            encode_first(header, &mut writer);
        } else {
            encode_continuation(header.csid, extended_timestamp(header.timestamp), &mut writer);
        }
        let len = writer.written();
        chunks.push([&head[..len], piece].concat());
    }
    chunks
}

proptest! {
    #[test]
    fn framed_messages_return(
        messages in messages(),
        chunk_size in 1_u32..300,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut bytes = Vec::new();
        for (header, body) in &messages {
            frame_message(header, body, chunk_size, &mut bytes);
        }
        prop_assert_eq!(read(chunk_size, &cut(&bytes, &cuts)), Ok(messages));
    }

    #[test]
    fn compressed_messages_return(
        messages in messages(),
        chunk_size in 1_u32..300,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut writer = ChunkWriter::new();
        writer.set_chunk_size(chunk_size);
        let mut bytes = Vec::new();
        for (header, body) in &messages {
            writer.write(header, body, &mut bytes);
        }
        prop_assert_eq!(read(chunk_size, &cut(&bytes, &cuts)), Ok(messages));
    }

    #[test]
    fn interleaved_messages_return(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..7),
        timestamp in timestamps(),
        chunk_size in 1_u32..150,
        turns in prop::collection::vec(any::<prop::sample::Index>(), 0..400),
    ) {
        // One message on each chunk stream; the turns pick whose chunk is next.
        let messages: Vec<Message> = bodies.into_iter().zip(3..).map(|(body, id)| {
            let (csid, kind) = (Csid::new(id).unwrap(), MessageKind::Video);
            let len = u32::try_from(body.len()).unwrap();
            (MessageHeader { csid, timestamp, len, kind, msid: 1 }, body)
        }).collect();
        let mut queues: Vec<_> =
            messages.iter().map(|message| chunks(message, chunk_size).into_iter()).collect();
        let mut bytes = Vec::new();
        for turn in turns {
            let index = turn.index(queues.len());
            bytes.extend(queues[index].next().unwrap_or_default());
        }
        bytes.extend(queues.into_iter().flatten().flatten());
        let mut read = read(chunk_size, &[&bytes]).unwrap();
        read.sort_by_key(|(header, _)| header.csid);
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn compression_never_costs(messages in messages(), chunk_size in 1_u32..300) {
        let mut writer = ChunkWriter::new();
        writer.set_chunk_size(chunk_size);
        let (mut compressed, mut plain) = (Vec::new(), Vec::new());
        for (header, body) in &messages {
            writer.write(header, body, &mut compressed);
            frame_message(header, body, chunk_size, &mut plain);
        }
        prop_assert!(compressed.len() <= plain.len());
    }
}
