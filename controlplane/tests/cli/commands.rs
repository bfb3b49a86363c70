//! Commands and start-up errors: one line that says what, where and the mend.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::program::{Dir, Server, failure, output};

#[test]
fn check_prints_the_shard_map_and_the_memory_table() {
    let dir = Dir::new("check");
    dir.write(
        "g.toml",
        "[auth]\nmode = \"open\"\n[[shards.pin]]\nstream = \"news/*\"\nshard = 1\n\
         [[listeners.rtmp.also]]\naddr = \"127.0.0.1:1937\"\nshards = [1]\nlatency = \"low\"\n",
    );
    let (code, out, err) = output(&mut dir.command(&["check", "--config", "g.toml"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in [
        "g.toml: valid\n",
        "news/*, and by hash\n",
        "\nrtmp      127.0.0.1:0     auto     all\n",
        "\nrtmp      127.0.0.1:1937  low      1\n",
        "\npages ",
        "\nbuffers ",
        "\nsend buffers ",
        "of limits.memory_max 1.0 GiB\n",
        "publishers are refused\n",
    ] {
        assert!(out.contains(part), "{part:?}\n{out}");
    }
}

#[test]
fn check_shows_which_variables_of_the_coordinators_family_are_used() {
    let dir = Dir::new("family");
    dir.write(".env", "# beside the program\nCOMMANDS_API_AUTH=Bearer\nHTTP_PORT=1\n");
    let mut command = dir.command(&["check"]);
    for (name, value) in [
        ("HTTP_PORT", "8000"),
        ("RTMP_PORT", "1940"),
        ("COMMANDS_API_AUTH_TOKEN", "hush"),
        ("KEY_VERIFICATION_URL", "http://127.0.0.1:9/verify"),
        ("KEY_VERIFICATION_URI", "x"),
        ("SSL_PORT", "443"),
    ] {
        command.env(name, value);
    }
    command.env_remove("GRANDSTAND_LISTENERS__CONTROL__ADDR");
    let (code, out, err) = output(&mut command);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in [
        "warning: SSL_PORT has no effect: ",
        "warning: there is no variable KEY_VERIFICATION_URI; the nearest is KEY_VERIFICATION_URL\n",
        "\nHTTP_PORT                listeners.control.addr = \"[::]:8000\"\n",
        "\nRTMP_PORT                none: GRANDSTAND_LISTENERS__RTMP__ADDR decides\n",
        "\nCOMMANDS_API_AUTH        coordinator.commands_auth = \"bearer\" (from .env)\n",
        "\nCOMMANDS_API_AUTH_TOKEN  coordinator.commands_token = (secret)\n",
        "\nKEY_VERIFICATION_URL     coordinator.key_verification_url = \"http://127.0.0.1:9/verify",
    ] {
        assert!(out.contains(part), "{part:?}\n{out}");
    }
    assert!(!out.contains("hush"), "{out}");
    dir.write(".env", "nonsense\n");
    let (code, out, _) = output(&mut dir.command(&["check"]));
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("warning: .env:1: no NAME=VALUE, and left out; "), "{out}");
    dir.write(".env", "HTTP_PORT=80\nRTMP_PORT='19'40\n");
    assert_eq!(
        failure(&mut dir.command(&["check"]), 1),
        "grandstand: .env:2: expected NAME=VALUE; mend the line, or begin it with # to leave it out"
    );
}

#[test]
fn config_init_writes_a_file_once_and_check_takes_it() {
    let dir = Dir::new("init");
    let (code, out, _) = output(&mut dir.command(&["config", "init"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("grandstand.toml: written;"), "{out}");
    assert_eq!(
        failure(&mut dir.command(&["config", "init"]), 1),
        "grandstand: cannot write grandstand.toml: file exists; --force replaces it"
    );
    dir.write("grandstand.toml", "broken");
    assert_eq!(output(&mut dir.command(&["config", "init", "--force"])).0, Some(0));
    let (code, out, _) = output(&mut dir.command(&["check"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("grandstand.toml: valid\n"), "{out}");
}

#[test]
fn wrong_words_and_wrong_keys_get_one_line() {
    let dir = Dir::new("wrong");
    assert_eq!(
        failure(&mut dir.command(&["serve"]), 2),
        "grandstand: `serve` is not understood here; `grandstand --help` lists what is understood"
    );
    dir.write("g.toml", "[auth]\nmode = \"open\"\n\n[egress]\nbatch_max_ms = 5\n");
    for args in [&["check", "--config", "g.toml"][..], &["--config", "g.toml"]] {
        assert_eq!(
            failure(&mut dir.command(args), 1),
            "grandstand: g.toml:5: there is no key egress.batch_max_ms; the nearest is \
             egress.batch_ms_max"
        );
    }
    assert_eq!(
        failure(dir.command(&["check"]).env("GRANDSTAND_LOG__LEVEL", "loud"), 1),
        "grandstand: GRANDSTAND_LOG__LEVEL: log.level: expected \"error\", \"warn\", \"info\", \
         \"debug\" or \"trace\", got \"loud\"; unset it for the default, \
         GRANDSTAND_LOG__LEVEL=\"info\""
    );
    let (code, out, _) = output(&mut dir.command(&["--version"]));
    assert_eq!((code, out), (Some(0), format!("grandstand {}\n", env!("CARGO_PKG_VERSION"))));
    assert!(output(&mut dir.command(&["--help"])).1.contains("usage:"));
}

#[test]
fn a_port_in_use_is_named_with_its_listener() {
    let dir = Dir::new("port");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = holder.local_addr().unwrap();
    for listener in ["rtmp", "http", "control"] {
        let name = format!("GRANDSTAND_LISTENERS__{}__ADDR", listener.to_uppercase());
        assert_eq!(
            failure(dir.command(&[]).env(name, addr.to_string()), 1),
            format!(
                "grandstand: cannot listen on {addr} for listeners.{listener}: address already in \
                 use; stop the process that holds it (`ss -ltnp 'sport = :{}'`) or change \
                 listeners.{listener}.addr",
                addr.port()
            )
        );
    }
}

#[test]
fn a_second_server_does_not_share_the_first_ones_port() {
    let dir = Dir::new("second");
    let first = Server::start(&mut dir.command(&[]));
    let addr = first.addr("rtmp").to_string();
    let line = failure(dir.command(&[]).env("GRANDSTAND_LISTENERS__RTMP__ADDR", addr), 1);
    assert!(line.contains("for listeners.rtmp: address already in use;"), "{line}");
}

/// Lets `command` run without a capability of the superuser, who has rights beyond every mode.
fn without_capability(command: &mut Command, capability: libc::c_ulong) {
    let drop = move || {
        // SAFETY: a plain system call between fork and exec; a user without capabilities gets an
        // error, and needs none of this.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: the closure makes one system call and touches no memory of the parent.
    unsafe { command.pre_exec(drop) };
}

#[test]
fn missing_permissions_are_named_with_their_mend() {
    const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
    const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
    let dir = Dir::new("permission");
    let closed = dir.0.join("closed");
    std::fs::create_dir(&closed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o500);
    std::fs::set_permissions(&closed, mode).unwrap();
    let mut command = dir.command(&[]);
    command.env("GRANDSTAND_DATA__DIR", "closed/data");
    without_capability(&mut command, CAP_DAC_OVERRIDE);
    assert_eq!(
        failure(&mut command, 1),
        "grandstand: cannot make the data directory closed/data: permission denied; allow this \
         user to use it, or name another path"
    );
    // Where the system gives every port to everybody there is no such error.
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u16>().unwrap() > 1 {
        let mut command = dir.command(&[]);
        command.env("GRANDSTAND_LISTENERS__RTMP__ADDR", "127.0.0.1:1");
        without_capability(&mut command, CAP_NET_BIND_SERVICE);
        let line = failure(&mut command, 1);
        assert!(line.contains("permission denied; `setcap cap_net_bind_service=+ep`"), "{line}");
    }
}

/// Lets `command` run with `files` file descriptors at most.
fn with_nofile(command: &mut Command, files: u64) {
    let limit = libc::rlimit { rlim_cur: files, rlim_max: files };
    let lower = move || {
        // SAFETY: the limit outlives the call, which only reads it.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and touches no memory of the parent.
    unsafe { command.pre_exec(lower) };
}

#[test]
fn too_few_files_are_named_with_their_mend() {
    let dir = Dir::new("nofile");
    let mut command = dir.command(&[]);
    with_nofile(&mut command, 100);
    assert_eq!(
        failure(&mut command, 1),
        "grandstand: cannot serve anybody: the limit of 100 open files (nofile) is below 141; \
         raise it with `ulimit -n 20000` or LimitNOFILE=20000"
    );
    let mut command = dir.command(&["check"]);
    command.env("GRANDSTAND_LIMITS__CONNECTIONS_MAX", "1000");
    with_nofile(&mut command, 1024);
    let line = failure(&mut command, 1);
    assert!(line.contains("1000 connections do not fit the limit of 1024 open files"), "{line}");
    let mut command = dir.command(&["check"]);
    with_nofile(&mut command, 1024);
    let (code, out, _) = output(&mut command);
    assert_eq!(code, Some(0));
    assert!(out.contains("note: limits.connections_max is 884, not 16000"), "{out}");
}

#[test]
fn a_probe_tells_tracks_and_times_or_why_not() {
    let dir = Dir::new("probe");
    let server = Server::start(&mut dir.command(&[]));
    let rtmp = server.addr("rtmp");
    let url = format!("rtmp://{rtmp}/live/demo?key=hidden");
    let (code, out, err) = output(&mut dir.command(&["probe", "--json", &url]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in [
        r#""kind":"video","id":0,"codec":"h264""#,
        r#""width":640,"height":360"#,
        r#""kind":"audio","id":0,"codec":"aac""#,
        r#""sample_rate":48000,"channels":2"#,
        r#""first_keyframe_ms":"#,
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    assert!(!out.contains("hidden") && !out.contains(r#""fps":null"#), "{out}");
    let url = format!("rtmp://{rtmp}/live/nobody");
    let line = failure(&mut dir.command(&["probe", &url]), 1);
    assert!(line.contains(": the server says NetStream.Play.StreamNotFound"), "{line}");
    for url in [format!("rtmp://{}/live/demo", server.addr("http")), format!("rtmps://{rtmp}/a/b")]
    {
        let line = failure(&mut dir.command(&["probe", "--timeout", "5", &url]), 1);
        assert!(line.ends_with("this port"), "{line}");
    }
    drop(server);
    let line = failure(&mut dir.command(&["probe", "rtmp://127.0.0.1:1/live/demo"]), 1);
    assert!(line.contains("connection refused; check that the server runs"), "{line}");
}
