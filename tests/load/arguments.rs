//! What the command line says.

use std::collections::HashMap;
use std::io::Write;

/// Pairs of `--name value`.
pub(crate) struct Arguments {
    pairs: HashMap<String, String>,
    usage: &'static str,
}

impl Arguments {
    /// Reads pairs; ends the process with `usage` if it is something else, or a name that is not in there.
    pub(crate) fn read(mut words: impl Iterator<Item = String>, usage: &'static str) -> Self {
        let mut arguments = Self { pairs: HashMap::new(), usage };
        while let Some(word) = words.next() {
            let known = usage.split([' ', '[', '\n']).any(|it| it == word);
            match (word.strip_prefix("--"), words.next()) {
                (Some(name), Some(value)) if known => drop(arguments.pairs.insert(name.to_owned(), value)),
                _ => arguments.refuse(&word),
            }
        }
        arguments
    }

    /// Says how it should be, and ends.
    pub(crate) fn refuse(&self, why: &str) -> ! {
        let _ = writeln!(std::io::stderr(), "{why}: {}", self.usage);
        std::process::exit(2)
    }

    pub(crate) fn maybe(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.maybe(name).unwrap_or_else(|| self.refuse(name)).to_owned()
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        match self.maybe(name) {
            Some(text) => text.parse().unwrap_or_else(|_| self.refuse(name)),
            None => default,
        }
    }

    /// Values with commas between.
    pub(crate) fn list<T: std::str::FromStr>(&self, name: &str) -> Vec<T> {
        let parts = self.text(name);
        parts.split(',').map(|part| part.parse().unwrap_or_else(|_| self.refuse(name))).collect()
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self.maybe(name), Some("yes" | "true" | "1"))
    }
}
