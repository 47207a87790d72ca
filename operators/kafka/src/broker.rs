//! An Apache Kafka broker for tests and benchmarks, run by `broker/broker.sh`.
//!
//! The script, and with it the JVM, lives only as long as its standard input is open: when this process ends, however it
//! does, the system closes the pipe, and the broker goes with its data. Needs Java 17 and Maven; the script installs
//! them where it can and says what to install where it can't.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use crate::error::KafkaError;

/// The script, where this crate was built.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/broker/broker.sh");
/// Brokers to test against instead of ones of our own.
const BROKERS_VARIABLE: &str = "THALWEG_TEST_BROKERS";

/// A broker, with the data of its own life only.
pub struct Broker {
    brokers: String,
    sasl_brokers: Option<String>,
    script: Option<Script>,
}

struct Script {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Broker {
    /// Starts a broker on free ports and waits until it is ready: 3 s, and once some more to fetch it with Maven.
    ///
    /// # Errors
    /// [`KafkaError::Broker`], after messages of the script on standard error.
    pub fn start() -> Result<Broker, KafkaError> {
        let failed = |error: std::io::Error| broker_error(format!("can't be started: {error}"));
        let mut child = Command::new(SCRIPT)
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let commands = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| broker_error("has no output".to_owned()))?;
        let mut script = Script { child, commands, answers: BufReader::new(answers) };
        let answer = script.answer()?;
        match answer.split_whitespace().collect::<Vec<_>>()[..] {
            ["ready", brokers, sasl_brokers, _] => Ok(Broker {
                brokers: brokers.to_owned(),
                sasl_brokers: Some(sasl_brokers.to_owned()),
                script: Some(script),
            }),
            _ => Err(broker_error(format!("did not get ready, but said \"{answer}\""))),
        }
    }

    /// One broker for all tests of a process, ended with it. That of `THALWEG_TEST_BROKERS` where this is set.
    ///
    /// # Errors
    /// [`KafkaError::Broker`] as from [`Broker::start`]; every call fails then, without trying again.
    pub fn shared() -> Result<&'static Broker, KafkaError> {
        static SHARED: OnceLock<Result<Broker, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match std::env::var(BROKERS_VARIABLE) {
            Ok(brokers) => Ok(Broker { brokers, sasl_brokers: None, script: None }),
            Err(_) => Broker::start().map_err(|error| error.to_string()),
        });
        shared.as_ref().map_err(|error| broker_error(format!("did not start: {error}")))
    }

    /// `host:port` for clients.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// `host:port` for clients that log in by SASL/PLAIN over plain text, as user "reader" with password "river"; `None`
    /// for a broker that isn't our own.
    pub fn sasl_brokers(&self) -> Option<&str> {
        self.sasl_brokers.as_deref()
    }

    /// Stops the broker in an orderly way and starts it again, at the same address with the same data.
    ///
    /// # Errors
    /// [`KafkaError::Broker`]: also if the broker isn't our own.
    pub fn restart(&mut self) -> Result<(), KafkaError> {
        self.tell("stop", "stopped")?;
        self.resume()
    }

    /// Ends the broker without warning, as a crash would. [`Broker::resume`] starts it again.
    ///
    /// # Errors
    /// [`KafkaError::Broker`]: also if the broker isn't our own.
    pub fn kill(&mut self) -> Result<(), KafkaError> {
        self.tell("kill", "stopped")
    }

    /// Starts the broker again after [`Broker::kill`].
    ///
    /// # Errors
    /// [`KafkaError::Broker`]: also if the broker isn't our own.
    pub fn resume(&mut self) -> Result<(), KafkaError> {
        self.tell("start", "ready")
    }

    fn tell(&mut self, command: &str, expected: &str) -> Result<(), KafkaError> {
        let Some(script) = &mut self.script else {
            return Err(broker_error(format!(
                "is that of {BROKERS_VARIABLE}: it can't be told to {command}"
            )));
        };
        let pipe = script.commands.as_mut().ok_or_else(|| broker_error("has ended".to_owned()))?;
        writeln!(pipe, "{command}")
            .map_err(|error| broker_error(format!("can't be told to {command}: {error}")))?;
        let answer = script.answer()?;
        if answer.split_whitespace().next() == Some(expected) {
            return Ok(());
        }
        Err(broker_error(format!("was told to {command}, but said \"{answer}\"")))
    }
}

impl Script {
    fn answer(&mut self) -> Result<String, KafkaError> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err(broker_error("ended".to_owned())),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(broker_error(format!("can't be heard: {error}"))),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // The end of its input tells the script to clear up.
        self.commands = None;
        if let Err(error) = self.child.wait() {
            tracing::warn!("the test broker's script can't be waited for: {error}");
        }
    }
}

fn broker_error(detail: String) -> KafkaError {
    KafkaError::Broker { detail, script: SCRIPT.to_owned() }
}
