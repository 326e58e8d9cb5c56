//! The command line.

mod accounts;
mod config;
mod doctor;
mod grant_key;
mod healthcheck;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::{Config, Tls};
use crate::{Server, demo, descriptors, huge_pages, service, telemetry};

/// Swiftwater: live streaming with sub-second latency. RTMP and WHIP in, WebRTC and Low-Latency HLS out.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Serve),
    /// Publish a built-in moving picture by RTMP, to see the whole path without an encoder.
    Demo(Demo),
    /// Make and change accounts.
    User {
        #[command(flatten)]
        place: accounts::Place,
        #[command(subcommand)]
        command: accounts::User,
    },
    /// Make and change channels.
    Channel {
        #[command(flatten)]
        place: accounts::Place,
        #[command(subcommand)]
        command: accounts::Channel,
    },
    /// Make, rotate and revoke stream keys.
    Key {
        #[command(flatten)]
        place: accounts::Place,
        #[command(subcommand)]
        command: accounts::Key,
    },
    /// Make and revoke API tokens.
    Token {
        #[command(flatten)]
        place: accounts::Place,
        #[command(subcommand)]
        command: accounts::Token,
    },
    /// Rotate and revoke the keys that sign grants to watch.
    GrantKey {
        #[command(flatten)]
        place: accounts::Place,
        #[command(subcommand)]
        command: grant_key::GrantKey,
    },
    /// Copy the database (SQLite) to a file, also while the server runs.
    Backup {
        #[command(flatten)]
        place: accounts::Place,
        /// A file that does not exist yet.
        to: PathBuf,
    },
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Look at this machine: ports, addresses, clock, limits, disk, database. To be run before the server, with its
    /// configuration.
    Doctor(doctor::Doctor),
    /// Succeed if the server on this machine is healthy.
    Healthcheck(config::Source),
    /// The same as `config check`.
    #[command(hide = true)]
    Check(config::Source),
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file; see swiftwater.example.toml.
    #[arg(long, short, env = "SWIFTWATER_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port of pages, API, WHIP, WHEP and HLS.
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Address and port of RTMP.
    #[arg(long)]
    rtmp: Option<SocketAddr>,
    /// The one port of WebRTC, by UDP and TCP.
    #[arg(long)]
    rtc_port: Option<u16>,
    /// An address that viewers can reach, if this machine does not know it (NAT, Docker). Repeatable.
    #[arg(long)]
    announce: Vec<IpAddr>,
    /// HTTPS.
    #[arg(long, value_enum)]
    tls: Option<Tls>,
    /// Directory for everything that is kept.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Also publish the built-in moving picture on the channel `demo`.
    #[arg(long)]
    demo: bool,
}

#[derive(Debug, Args)]
struct Demo {
    /// Where to publish.
    #[arg(long, default_value = "rtmp://127.0.0.1:1935/live")]
    url: String,
    /// The stream key.
    #[arg(long, env = "SWIFTWATER_STREAM_KEY", hide_env_values = true)]
    key: String,
    /// Seconds between keyframes.
    #[arg(long, default_value_t = 2)]
    gop: u32,
}

/// Runs the command to its end. Ctrl-C and SIGTERM stop it gracefully.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let code = match cli.command {
        Command::Serve(serve) => match serve.into_config() {
            Ok(config) => runtime.block_on(serve_until_signal(config)),
            Err(error) => fail(&error.to_string()),
        },
        Command::Demo(args) => {
            telemetry::init(&crate::config::Log::default());
            runtime.block_on(demo_until_signal(args))
        }
        Command::Config(command) => config::run(&command),
        Command::Doctor(doctor) => runtime.block_on(doctor::run(&doctor)),
        Command::Healthcheck(source) => healthcheck::run(&source),
        Command::Check(source) => config::check(&source),
        Command::User { place, command } => finish(runtime.block_on(accounts::user(place, command))),
        Command::Channel { place, command } => finish(runtime.block_on(accounts::channel(place, command))),
        Command::Key { place, command } => finish(runtime.block_on(accounts::key(place, command))),
        Command::Token { place, command } => finish(runtime.block_on(accounts::token(place, command))),
        Command::GrantKey { place, command } => finish(runtime.block_on(grant_key::run(place, command))),
        Command::Backup { place, to } => finish(runtime.block_on(accounts::backup(place, to))),
    };
    // What still waits for a disk that stands still does not keep the process.
    runtime.shutdown_background();
    code
}

fn finish(result: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

impl Serve {
    /// Flags over environment over file over defaults.
    fn into_config(self) -> Result<Config, crate::config::Error> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(http) = self.http {
            config.http.listen = http;
        }
        if let Some(rtmp) = self.rtmp {
            config.rtmp.listen = rtmp;
        }
        if let Some(port) = self.rtc_port {
            config.rtc.port = port;
        }
        if !self.announce.is_empty() {
            config.rtc.announce = self.announce.iter().map(IpAddr::to_string).collect();
        }
        if let Some(tls) = self.tls {
            config.http.tls = tls;
        }
        if let Some(data) = self.data {
            config.data.dir = data;
        }
        config.demo |= self.demo;
        Ok(config)
    }
}

async fn serve_until_signal(config: Config) -> ExitCode {
    telemetry::init(&config.log);
    huge_pages::forgo();
    descriptors::raise();
    let server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => return fail(&error.to_string()),
    };
    for line in server.greeting() {
        info!("{line}");
    }
    service::notify(service::READY);
    signal().await;
    service::notify(service::STOPPING);
    info!("stopping: viewers are told, files are closed");
    server.stop().await;
    ExitCode::SUCCESS
}

async fn demo_until_signal(args: Demo) -> ExitCode {
    let shutdown = CancellationToken::new();
    let options = demo::Options {
        url: args.url,
        key: args.key.into(),
        gop_seconds: args.gop,
        ..demo::Options::default()
    };
    tokio::select! {
        result = demo::run(options, shutdown.clone()) => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        () = signal() => {
            shutdown.cancel();
            ExitCode::SUCCESS
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}

/// Writes to standard output, where the answer of a command belongs.
fn say(text: &str) {
    // A reader that has gone (`| head`) is no error.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

fn fail(text: &str) -> ExitCode {
    error!("{text}");
    // The log may not be up yet; an operator must see this line in any case.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("swiftwater: {text}\n").as_bytes());
    ExitCode::FAILURE
}
