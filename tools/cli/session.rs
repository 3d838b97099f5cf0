//! The one place that knows the machine's own interface: builds a machine from settings and shows it as a `Session`.

use crate::drive::{Session, Stop};
use crate::settings::Settings;
use anyhow::{Result, bail};
use std::io::Write;

/// A machine. There is none in this build, so there is no value of this type.
pub enum MachineSession {}

/// Builds the machine that the settings describe, or restores it.
pub fn build(_settings: &Settings) -> Result<MachineSession> {
    bail!("this build holds no machine")
}

/// Builds a machine that boots an image that lies in memory.
pub fn build_from_image(_image: &[u8], _append: &str) -> Result<MachineSession> {
    bail!("this build holds no machine")
}

impl MachineSession {
    /// The machine's own figures, as names and values.
    pub fn stats(&self) -> Vec<(String, String)> {
        match *self {}
    }
}

impl Session for MachineSession {
    fn instructions(&self) -> u64 {
        match *self {}
    }

    fn run(&mut self, _until: u64) -> Stop {
        match *self {}
    }

    fn take_serial_output(&mut self) -> Vec<u8> {
        match *self {}
    }

    fn push_serial_input(&mut self, _bytes: &[u8]) {
        match *self {}
    }

    fn state_hash(&self) -> String {
        match *self {}
    }

    fn save(&self, _writer: &mut dyn Write) -> Result<()> {
        match *self {}
    }
}
