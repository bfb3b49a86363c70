//! Messages of a server.

use codecs::flv::{AudioTagHeader, VideoTagHeader};
use codecs::rtmp::command::parse_data;
use codecs::rtmp::message::{AggregateMessages, Control, MessageHeader, MessageKind, UserControl};

use super::client::Client;
use super::event::{ClientEvent, Media, MediaHeader};
use crate::Error;
use crate::session::rtmp::limit::{amf_limits, limit_of};
use crate::session::rtmp::server::EVENTS_MAX;

impl Client {
    pub(super) fn message(&mut self, header: &MessageHeader, body: &[u8]) -> Result<(), Error> {
        match header.kind {
            MessageKind::SetChunkSize
            | MessageKind::Abort
            | MessageKind::Acknowledgement
            | MessageKind::WindowAckSize
            | MessageKind::SetPeerBandwidth => self.controlled(header.kind, body),
            MessageKind::UserControl => {
                match UserControl::parse(body)? {
                    UserControl::PingRequest(time) => {
                        self.user_control(UserControl::PingResponse(time));
                    }
                    UserControl::StreamEof(_) => self.events.push_back(ClientEvent::StreamEof),
                    _ => {}
                }
                Ok(())
            }
            MessageKind::CommandAmf0 => self.commanded(body, false),
            MessageKind::CommandAmf3 => self.commanded(body, true),
            MessageKind::DataAmf0 | MessageKind::DataAmf3 => {
                let amf3 = header.kind == MessageKind::DataAmf3;
                let values = parse_data(body, &amf_limits(&self.limits), amf3).map_err(limit_of)?;
                let timestamp = header.timestamp;
                self.events.push_back(ClientEvent::Data { values, timestamp });
                Ok(())
            }
            MessageKind::Aggregate => {
                // As many as the queue has room for in one go: a probe looks at samples.
                let room = EVENTS_MAX.saturating_sub(self.events.len());
                for message in AggregateMessages::new(body, header).take(room) {
                    let (header, body) = message?;
                    if matches!(header.kind, MessageKind::Audio | MessageKind::Video) {
                        self.media(&header, body);
                    }
                }
                Ok(())
            }
            MessageKind::Audio | MessageKind::Video => {
                self.media(header, body);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn media(&mut self, header: &MessageHeader, body: &[u8]) {
        let timestamp = header.timestamp;
        let header = match header.kind {
            MessageKind::Audio => AudioTagHeader::parse(body).map(MediaHeader::Audio),
            _ => VideoTagHeader::parse(body).map(MediaHeader::Video),
        };
        let header = header.unwrap_or(MediaHeader::Unknown);
        // CONTROL: what a probe looks at; no player is fed from here.
        self.events.push_back(ClientEvent::Media(Media { timestamp, header, body: body.to_vec() }));
    }

    fn controlled(&mut self, kind: MessageKind, body: &[u8]) -> Result<(), Error> {
        match Control::parse(kind, body)? {
            Control::SetChunkSize(bytes) => self.reader.set_chunk_size(bytes)?,
            Control::Abort(csid) => {
                self.reader.abort(csid);
                self.partial.retain(|(partial, _)| *partial != csid);
            }
            Control::Acknowledgement(_) => {}
            Control::WindowAckSize(bytes) => self.window.set_size(bytes),
            Control::SetPeerBandwidth { size, .. } => self.control(Control::WindowAckSize(size)),
        }
        Ok(())
    }
}
