//! ffmpeg, which may not complain.

use std::path::Path;
use std::process::Command;

use crate::flv_file::FlvFile;

fn run(program: &str, before: &str, file: &Path, after: &str) -> (String, String) {
    let mut command = Command::new(program);
    command.args(before.split_whitespace()).arg(file).args(after.split_whitespace());
    let output = command.output().expect("ffmpeg is there: run .ci/setup");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{program}: {stderr}");
    (stdout, stderr)
}

/// Decodes without a single warning, and gives what was written to standard output.
fn decode(file: &FlvFile, after: &str) -> String {
    file.written(|path| {
        let before = "-nostdin -v warning -err_detect explode -i";
        let (stdout, stderr) = run("ffmpeg", before, path, after);
        assert_eq!(stderr, "");
        stdout
    })
}

/// A hash of each picture.
pub(crate) fn frame_sums(file: &FlvFile) -> Vec<String> {
    let sums = decode(file, "-map 0:v -fps_mode passthrough -f framemd5 -");
    let of_line = |line: &str| line.rsplit(',').next().unwrap().trim().to_owned();
    sums.lines().filter(|line| !line.starts_with('#')).map(of_line).collect()
}

/// Whether each frame is a keyframe and an I picture, or neither.
pub(crate) fn keyframes(file: &FlvFile) -> Vec<bool> {
    let before = "-v warning -select_streams v -show_entries frame=key_frame,pict_type -of csv";
    let (stdout, stderr) = file.written(|path| run("ffprobe", before, path, ""));
    assert_eq!(stderr, "");
    let is_key = |line: &str| match line.trim_end_matches(',').trim_end_matches("side_data") {
        line if line.starts_with("frame,1,I") => true,
        line if line.starts_with("frame,0,P") => false,
        other => panic!("{other}"),
    };
    stdout.lines().filter(|line| !line.is_empty()).map(is_key).collect()
}

/// Samples of each channel of the sound.
pub(crate) fn samples(file: &FlvFile) -> usize {
    let sums = decode(file, "-map 0:a -f framecrc -");
    let count = |line: &str| line.split(',').nth(3).unwrap().trim().parse::<usize>().unwrap();
    sums.lines().filter(|line| !line.starts_with('#')).map(count).sum()
}

/// The mean volume of the sound in decibels.
pub(crate) fn loudness(file: &FlvFile) -> f64 {
    let (_, stderr) = file.written(|path| {
        run("ffmpeg", "-nostdin -hide_banner -i", path, "-map 0:a -af volumedetect -f null -")
    });
    let (_, rest) = stderr.split_once("mean_volume: ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}
