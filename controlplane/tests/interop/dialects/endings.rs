//! What is told at once when a publisher is lost, and what is told when its stream is over.

use super::application::{Application, Request};
use crate::clip::Clip;
use crate::http_flv::get;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};

/// An application that is a coordinator's and one of nginx-rtmp at once.
#[test]
fn publish_done_is_told_at_once_and_stream_closed_after_the_grace() {
    let application = Application::start(|_| "200 OK\r\n\r\n".to_owned());
    let addr = application.addr;
    let config = format!(
        "[auth.callback]\ndialect = \"nginx-rtmp\"\nurl = \"http://{addr}/asked\"\n\
         [coordinator]\nevent_callback_url = \"http://{addr}/events\"\n\
         [[hooks]]\nid = \"app\"\ntype = \"http\"\ndialect = \"nginx-rtmp\"\n\
         target = \"http://{addr}/told\"\ncalls = [\"publish_done\"]\n"
    );
    // An application that is asked and told takes memory of its own.
    let options = Options { config, memory_max: 640 << 20, ..Options::on(Backend::Auto) };
    let folder = Folder::new();
    let mut command = options.command(&folder);
    command.env("GRANDSTAND_AUTH__PUBLISH", "callback").env("GRANDSTAND_AUTH__PLAY", "open");
    command.env("GRANDSTAND_SESSION__URL", "name");
    let server = Server::run(&mut command, folder);
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("cam"));
    let event = |kind: &'static str| move |seen: &Request| seen.header("x-event-type") == kind;
    application.wait(event("stream-available"));
    publisher.kill();
    let done = application.wait(|seen| seen.field("call") == "publish_done");
    assert_eq!((done.field("name"), done.line.as_str()), ("cam", "POST /told HTTP/1.1"));
    let told = application.seen();
    assert!(!told.iter().any(event("stream-closed")), "the stream waits for its publisher");
    let playlist = get(server.http, "/cam/index.m3u8", "");
    assert_eq!(playlist.0, 200, "and is played meanwhile");
    application.wait(event("stream-closed"));
}
