//! `undercroft` without a subcommand: the demonstration image that was built into this program.

use crate::outcome::Outcome;
use crate::run;
use crate::session;
use crate::settings::Settings;

/// The image; build.rs builds it from tests/bare_metal/demo.
const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo.elf"));

/// Boots it with standard input and output as its serial port.
pub fn run() -> Outcome {
    match session::build_from_image(IMAGE, "") {
        Ok(mut machine) => run::to_the_end(&mut machine, &Settings::default()),
        Err(error) => run::unusable(error),
    }
}
