//! Mode: how requests are judged.

use dataplane::control::{AuthorizeRequest, Grant, Verdict};

/// How publishers and players are judged: a closed set, one arm per way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everybody may, under the name that they asked for.
    #[default]
    Open,
}

impl Mode {
    /// The verdict on `request`.
    #[must_use]
    pub fn judge(self, request: &AuthorizeRequest) -> Verdict {
        match self {
            Self::Open => Verdict::Allow(Grant::to(request.stream.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::control::{Intent, Protocol};
    use dataplane::ids::{Secret, SessionId, StreamName};

    #[test]
    fn open_allows_everybody_under_the_name_asked_for() {
        let stream = StreamName::parse("news/one").unwrap();
        let request = AuthorizeRequest {
            session: SessionId(1),
            intent: Intent::Publish,
            protocol: Protocol::Rtmp,
            tls: false,
            stream: stream.clone(),
            key: Secret::default(),
            query: Secret::default(),
            url: "rtmp://h/news/one".into(),
            referer: None,
            peer: "192.0.2.1:5".parse().unwrap(),
            local: "192.0.2.2:1935".parse().unwrap(),
            agent: "test".into(),
        };
        assert_eq!(Mode::Open.judge(&request), Verdict::Allow(Grant::to(stream)));
    }
}
