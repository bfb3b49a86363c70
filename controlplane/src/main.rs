//! The `grandstand` program.

use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use controlplane::Error;
use controlplane::cli::{Cli, HELP};
use controlplane::{check, probe, server, sign, stream_key, top};

fn main() -> ExitCode {
    match Cli::parse(std::env::args_os().skip(1)).and_then(run) {
        Ok(status) => status,
        Err(error) => {
            // Nobody can be told that standard error is closed.
            let _ = writeln!(std::io::stderr(), "grandstand: {error}");
            ExitCode::from(error.status())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Error> {
    let text = match cli {
        Cli::Serve { config } => return server::serve(config),
        Cli::Check { config } => {
            let (loaded, plan) = server::configure(config)?;
            check::report(&loaded, &plan)
        }
        Cli::ConfigInit { path, force } => {
            check::init(&path, force)?;
            format!("{}: written; start with `grandstand --config {0}`\n", path.display())
        }
        Cli::KeyMake => stream_key::make()?,
        Cli::KeyHash => stream_key::hash(std::io::stdin().lock())?,
        Cli::Sign(args) => {
            let (loaded, plan) = server::configure(args.config.clone())?;
            sign::sign(&args, &loaded, &plan.node.listeners, SystemTime::now())?
        }
        Cli::Probe(args) => return probe::probe(&args),
        Cli::Top(args) => return top::top(&args),
        Cli::Version => concat!("grandstand ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
        Cli::Help => HELP.to_owned(),
    };
    // A reader that closed the pipe has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}
