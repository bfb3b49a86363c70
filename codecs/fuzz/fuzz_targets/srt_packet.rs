//! SRT datagrams: headers, control packets, handshakes with their extensions, key material.
#![no_main]

use std::sync::LazyLock;

use codecs::srt::{
    Control, DataHeader, Extension, ExtensionType, Extensions, HEADER_BYTES, Handshake, Header,
    HsExtension, KEY_MATERIAL_BYTES_MAX, KeyEncryptionKey, KeyLength, KeyMaterial, KeyState,
    Passphrase, PayloadCipher, StreamKey, StreamRequest, decode_stream_id,
};
use codecs::writer::Writer;
use libfuzzer_sys::fuzz_target;

fn extension(extension: &Extension<'_>) {
    match extension.kind {
        ExtensionType::HsRequest | ExtensionType::HsResponse => {
            let _ = HsExtension::parse(extension.body);
        }
        ExtensionType::KmRequest | ExtensionType::KmResponse => key_material(extension.body),
        ExtensionType::StreamId => {
            if let Ok(text) = decode_stream_id(extension.body) {
                let _ = StreamRequest::parse(&text);
            }
        }
        _ => {
            let _ = extension.is_text(b"live");
        }
    }
}

fn key_material(body: &[u8]) {
    let _ = KeyState::parse(body);
    if let Ok(material) = KeyMaterial::parse(body) {
        for length in [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256] {
            let opened = keys(length).open(&material);
            assert!(opened.is_none() || material.length == length, "a key of another length");
        }
        assert!(body.len() <= KEY_MATERIAL_BYTES_MAX);
        assert!(material.wrapped.len() >= 8 + material.length.bytes());
    }
}

/// Keys that wrap keys, derived once: that takes long.
fn keys(length: KeyLength) -> &'static KeyEncryptionKey {
    static KEYS: LazyLock<[KeyEncryptionKey; 3]> = LazyLock::new(|| {
        let passphrase = Passphrase::new(b"passphrase of a stream").expect("its length is legal");
        let salt = 0xa0a1_a2a3_a4a5_a6a7_a8a9_aaab_acad_aeaf_u128.to_be_bytes();
        [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256]
            .map(|length| passphrase.derive(&salt, length))
    });
    &KEYS[length.bytes() / 8 - 2]
}

fn control(control: Control<'_>) {
    match control {
        Control::Handshake(body) => {
            let Ok((handshake, rest)) = Handshake::parse(body) else { return };
            let mut written = [0; codecs::srt::HANDSHAKE_BYTES];
            handshake.encode(&mut Writer::new(&mut written));
            assert_eq!(written, body[..body.len() - rest.len()], "one form for each handshake");
            Extensions::new(rest).flatten().for_each(|read| extension(&read));
        }
        Control::Nak(ranges) => {
            for range in ranges.flatten() {
                assert!(range.last.since(range.first) >= 0);
            }
        }
        Control::DropRequest(request) => assert!(request.last.since(request.first) >= 0),
        Control::KeyRequest(body) | Control::KeyResponse(body) => key_material(body),
        _ => {}
    }
}

fn data(header: &DataHeader, head: &[u8], body: &[u8]) {
    let mut written = [0; HEADER_BYTES];
    header.encode(&mut Writer::new(&mut written));
    assert_eq!(written, head, "one form for each header");
    let mut payload = body.to_vec();
    let key = StreamKey::new(&[7; 16]).expect("16 bytes");
    let cipher = PayloadCipher::new(&key, &[9; 16]);
    cipher.apply(header.sequence, &mut payload);
    cipher.apply(header.sequence, &mut payload);
    assert_eq!(payload, body);
}

fuzz_target!(|input: &[u8]| {
    let Ok(header) = Header::parse(input) else { return };
    let (head, body) = input.split_at(HEADER_BYTES);
    match header {
        Header::Data(header) => data(&header, head, body),
        Header::Control(header) => {
            if let Ok(read) = Control::parse(&header, body) {
                control(read);
            }
        }
    }
});
