//! `swiftwater config`: whether the configuration can be used, and what it comes to.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{fail, say};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the configuration and say whether it can be used.
    Check(Source),
    /// Write out every setting as it is in force: file, environment and defaults together. Secrets are not shown.
    Print(Source),
}

#[derive(Debug, Args)]
pub(super) struct Source {
    /// Configuration file; see swiftwater.example.toml.
    #[arg(long, short, env = "SWIFTWATER_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

impl Source {
    /// Reads and checks it.
    pub(super) fn load(&self) -> Result<Config, crate::config::Error> {
        let config = Config::load(self.config.as_deref())?;
        config.validate()?;
        Ok(config)
    }
}

pub(super) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Check(source) => check(source),
        Command::Print(source) => match source.load() {
            Ok(config) => match toml::to_string(&config) {
                Ok(text) => {
                    say(&text);
                    ExitCode::SUCCESS
                }
                Err(error) => fail(&format!("the configuration cannot be written as TOML: {error}")),
            },
            Err(error) => fail(&error.to_string()),
        },
    }
}

pub(super) fn check(source: &Source) -> ExitCode {
    match source.load() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format, Toml};

    use super::*;

    #[test]
    fn what_is_printed_has_every_setting_and_no_secret() {
        let text = r#"
            [[channels]]
            name = "ana"
            keys = ["s3cret-key"]
            [hooks]
            on_publish = ["https://me:s3cret-password@api.example/start?token=s3cret-token"]
            [[rtc.ice_servers]]
            urls = ["turn:turn.example:3478"]
            secret = "s3cret-turn"
        "#;
        let config: Config = Figment::from(Toml::string(text)).extract().expect("readable");
        let printed = toml::to_string(&config).expect("TOML");
        assert!(!printed.contains("s3cret"), "{printed}");
        for shown in
            ["name = \"ana\"", "https://api.example/start?…", "timeout_ms = 3000", "connections_max = 256"]
        {
            assert!(printed.contains(shown), "{shown} in {printed}");
        }
        let defaults = toml::to_string(&Config::default()).expect("TOML");
        let read: Config =
            Figment::from(Toml::string(&defaults)).extract().expect("what is printed can be read");
        assert_eq!(format!("{read:?}"), format!("{:?}", Config::default()));
    }
}
