//! What the application says of recording is done, where the node is told how.

use super::application::Application;
use super::stage::{node_with, url};
use crate::clip::{Clip, SECONDS};
use crate::publisher::Publisher;
use crate::recordings::{finished, path, probe};
use crate::server::{Backend, Folder};

#[test]
fn a_publication_is_recorded_that_the_application_wants_recorded() {
    let application = Application::start(4..=9);
    let policy = [("GRANDSTAND_RECORDING__POLICY", "flv")];
    for more in [&policy[..], &[]] {
        let node = node_with(Backend::Auto, &application, Folder::new(), more);
        Publisher::ffmpeg(Clip::H264, &url(&node, "cam7", "right-7")).finish();
        let files = finished(&node, more.len());
        for file in &files {
            assert_eq!(probe(&path(file)).0, u64::from(SECONDS) * 30);
        }
        node.stop();
    }
}
