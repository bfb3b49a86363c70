//! Chunks: one second of a 2 Mb/s stream read and written, at the chunk sizes that peers use.

use std::hint::black_box;

use benches::{FRAME_BYTES, FRAMES, one_second};
use codecs::rtmp::chunk_reader::{ChunkLimits, ChunkReader};
use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::message::{Csid, MessageHeader, MessageKind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rtmp_chunk_read");
    for chunk_bytes in [128, 4096, 60_000] {
        let bytes = one_second(chunk_bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(chunk_bytes.to_string(), |bencher| {
            bencher.iter(|| {
                let mut reader = ChunkReader::new(ChunkLimits::default());
                reader.set_chunk_size(chunk_bytes).expect("a legal chunk size");
                let (mut rest, mut whole) = (bytes.as_slice(), 0);
                while let (taken, Some(fragment)) = reader.feed(rest).expect("our own chunks") {
                    rest = &rest[taken..];
                    whole += u32::from(fragment.last);
                }
                assert_eq!(black_box(whole), 2 * FRAMES);
            });
        });
    }
    group.finish();
}

fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rtmp_chunk_write");
    let body = vec![0x27; FRAME_BYTES];
    let len = u32::try_from(FRAME_BYTES).expect("a frame is short");
    let (csid, kind) = (Csid::VIDEO, MessageKind::Video);
    let header = MessageHeader { csid, timestamp: 0x0100_0000, len, kind, msid: 1 };
    group.throughput(Throughput::Bytes(FRAME_BYTES as u64));
    group.bench_function("60000", |bencher| {
        let mut out = Vec::with_capacity(2 * FRAME_BYTES);
        bencher.iter(|| {
            out.clear();
            frame_message(&header, black_box(&body), 60_000, &mut out);
        });
    });
    group.finish();
}

criterion_group!(chunks, read, write);
criterion_main!(chunks);
